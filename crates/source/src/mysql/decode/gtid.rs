//! MySQL's GTID events: the classic form, the tagged form of 8.3 and later, and the set at a file's head.
//!
//! Invariant: an absent time or length is 0, never a guess. Formats: `Gtid_event` and `Previous_gtids_event` of MySQL's
//! libs/mysql/binlog/event, and the serialization library's readme for the tagged form.

use super::bytes::{Bad, Bytes, Read};
use super::event::text;
use std::fmt;

/// The event that opens a MySQL transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gtid<'a> {
    /// Bit 0: the transaction may hold statement-format changes.
    pub flags: u8,
    /// UUID of the server that committed it first; zero where GTIDs are off.
    pub sid: [u8; 16],
    /// The tag, empty when none.
    pub tag: &'a str,
    /// Number within sid and tag; 0 where GTIDs are off.
    pub gno: u64,
    /// Logical clock: the last transaction it had to wait for.
    pub last_committed: i64,
    /// Logical clock: its own number.
    pub sequence_number: i64,
    /// Microseconds since the epoch when this server committed it.
    pub immediate_commit_us: u64,
    /// Microseconds since the epoch when the first server committed it.
    pub original_commit_us: u64,
    /// Bytes of the whole transaction in the log, this event included; uncompressed length is not known.
    pub transaction_length: u64,
    /// This server's version, as 80034.
    pub immediate_server_version: u32,
    /// The first server's version.
    pub original_server_version: u32,
}

/// `uuid:gno` or `uuid:tag:gno`.
impl fmt::Display for Gtid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_uuid(f, &self.sid)?;
        if !self.tag.is_empty() {
            write!(f, ":{}", self.tag)?;
        }
        write!(f, ":{}", self.gno)
    }
}

fn write_uuid(f: &mut fmt::Formatter<'_>, uuid: &[u8; 16]) -> fmt::Result {
    for (i, byte) in uuid.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            f.write_str("-")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

/// The classic form (types 33 and 34). Fields were added at the end over the years.
pub(super) fn gtid<'a>(body: &mut Bytes<'a>) -> Read<Gtid<'a>> {
    const LOGICAL_CLOCK: u8 = 2;
    const HAS_ORIGINAL: u64 = 1 << 55;
    const HAS_ORIGINAL_VERSION: u32 = 1 << 31;
    let mut gtid = Gtid {
        flags: body.u8("flags")?,
        sid: body.array("server UUID")?,
        gno: body.u64("transaction number")?,
        ..Gtid::default()
    };
    if body.is_empty() || body.u8("kind of logical clock")? != LOGICAL_CLOCK {
        return Ok(gtid);
    }
    gtid.last_committed = body.u64("logical clock")? as i64;
    gtid.sequence_number = body.u64("logical clock")? as i64;
    if body.is_empty() {
        return Ok(gtid);
    }
    let immediate = body.uint(7, "commit time")?;
    gtid.immediate_commit_us = immediate & !HAS_ORIGINAL;
    gtid.original_commit_us =
        if immediate & HAS_ORIGINAL != 0 { body.uint(7, "original commit time")? } else { immediate };
    if body.is_empty() {
        return Ok(gtid);
    }
    gtid.transaction_length = body.packed("transaction length")?;
    if body.is_empty() {
        return Ok(gtid);
    }
    let version = body.u32("server version")?;
    gtid.immediate_server_version = version & !HAS_ORIGINAL_VERSION;
    gtid.original_server_version =
        if version & HAS_ORIGINAL_VERSION != 0 { body.u32("original server version")? } else { version };
    // A commit group ticket may follow; it concerns group replication alone.
    Ok(gtid)
}

/// The tagged form (type 42): numbered fields of the serialization library.
pub(super) fn gtid_tagged<'a>(body: &mut Bytes<'a>) -> Read<Gtid<'a>> {
    const LAST_KNOWN_FIELD: u64 = 11;
    let mut gtid = Gtid::default();
    let before = body.len();
    if varlen(body, "serialization version")? != 1 {
        return Err(Bad("serialization version: only 1 is known"));
    }
    // The size counts from the event's first byte; the server may have reserved more than it then needed.
    let size = usize::try_from(varlen(body, "message size")?).map_err(|_| Bad("message size"))?;
    let left = size.checked_sub(before - body.len()).ok_or(Bad("message size"))?;
    let body = &mut Bytes(body.take(left, "message size")?);
    if varlen(body, "last field that must be known")? > LAST_KNOWN_FIELD {
        return Err(Bad("a field that must be understood is unknown here"));
    }
    let (mut original, mut original_version) = (None, None);
    while !body.is_empty() {
        match varlen(body, "field number")? {
            0 => gtid.flags = varlen(body, "flags")? as u8,
            1 => {
                for byte in &mut gtid.sid {
                    *byte = u8::try_from(varlen(body, "server UUID")?).map_err(|_| Bad("server UUID"))?;
                }
            }
            2 => {
                let gno = signed(varlen(body, "transaction number")?);
                gtid.gno = u64::try_from(gno).map_err(|_| Bad("transaction number"))?;
            }
            3 => gtid.tag = tag(body)?,
            4 => gtid.last_committed = signed(varlen(body, "logical clock")?),
            5 => gtid.sequence_number = signed(varlen(body, "logical clock")?),
            6 => gtid.immediate_commit_us = varlen(body, "commit time")?,
            7 => original = Some(varlen(body, "original commit time")?),
            8 => gtid.transaction_length = varlen(body, "transaction length")?,
            9 => gtid.immediate_server_version = varlen(body, "server version")? as u32,
            10 => original_version = Some(varlen(body, "original server version")? as u32),
            11 => drop(varlen(body, "commit group ticket")?),
            // Fields are ordered; one that we need not know says nothing of its length, so nothing after it can be read.
            _ => break,
        }
    }
    gtid.original_commit_us = original.unwrap_or(gtid.immediate_commit_us);
    gtid.original_server_version = original_version.unwrap_or(gtid.immediate_server_version);
    Ok(gtid)
}

/// At most 32 characters: a letter or underscore, then digits too.
fn tag<'a>(body: &mut Bytes<'a>) -> Read<&'a str> {
    let length = varlen(body, "length of the tag")?;
    if length > 32 {
        return Err(Bad("a tag longer than 32 characters"));
    }
    let tag = body.take(length as usize, "tag")?;
    if !tag.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        return Err(Bad("tag"));
    }
    text(tag, "tag")
}

/// The serialization library's integer: trailing ones of the first byte count the bytes that follow it.
fn varlen(body: &mut Bytes<'_>, what: &'static str) -> Read<u64> {
    let first = body.u8(what)?;
    let more = first.trailing_ones() as usize;
    let rest = body.uint(more, what)?;
    // With seven or eight ones the first byte holds no bit of the number.
    Ok(if more >= 7 { rest } else { u64::from(first >> (more + 1)) | rest << (7 - more) })
}

/// The sign is the lowest bit; a negative number is stored as its complement.
fn signed(value: u64) -> i64 {
    let magnitude = (value >> 1) as i64;
    if value & 1 == 1 { !magnitude } else { magnitude }
}

/// The GTIDs in all files before this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreviousGtids<'a> {
    /// In the server's order.
    pub ranges: Vec<GtidRange<'a>>,
}

/// Consecutive GTIDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GtidRange<'a> {
    /// Server UUID.
    pub sid: [u8; 16],
    /// The tag, empty when none.
    pub tag: &'a str,
    /// First number.
    pub first: u64,
    /// Last number, included.
    pub last: u64,
}

/// `uuid:1-7,uuid:tag:1-2`, one range after another.
impl fmt::Display for PreviousGtids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.ranges.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write_uuid(f, &range.sid)?;
            if !range.tag.is_empty() {
                write!(f, ":{}", range.tag)?;
            }
            write!(f, ":{}-{}", range.first, range.last)?;
        }
        Ok(())
    }
}

/// A count, then for each server (and tag) its ranges. In the tagged form the count's first and last byte are 1.
pub(super) fn previous_gtids<'a>(body: &mut Bytes<'a>) -> Read<PreviousGtids<'a>> {
    let head = body.u64("number of servers")?;
    let (tagged, count) = match head >> 56 {
        0 => (false, head),
        1 => (true, head << 8 >> 16),
        _ => return Err(Bad("format of the GTID set")),
    };
    let mut ranges = Vec::new();
    for _ in 0..count {
        let sid = body.array("server UUID")?;
        let tag = if tagged { tag(body)? } else { "" };
        for _ in 0..body.u64("number of ranges")? {
            let first = body.u64("start of a range")?;
            let end = body.u64("end of a range")?;
            if first == 0 || end <= first {
                return Err(Bad("bounds of a range"));
            }
            ranges.push(GtidRange { sid, tag, first, last: end - 1 });
        }
    }
    Ok(PreviousGtids { ranges })
}
