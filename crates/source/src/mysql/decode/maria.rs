//! MariaDB's own events: its GTIDs, and the compressed forms of query and rows events.
//!
//! Invariant: a compressed body's claimed length is a check on what came out, never a size to allocate. Formats:
//! MariaDB's knowledge base (replication protocol) and sql/log_event.h.

use super::bytes::{Bad, Bytes, Read, be_uint};
use super::event::Xa;
use flate2::{Decompress, FlushDecompress, Status};
use std::fmt;

/// A MariaDB GTID, `domain-server-sequence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MariaGtid {
    /// Replication domain.
    pub domain: u32,
    /// Server that committed it first.
    pub server: u32,
    /// Number within the domain.
    pub sequence: u64,
}

impl fmt::Display for MariaGtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.domain, self.server, self.sequence)
    }
}

/// The event that opens a MariaDB transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MariaGtidEvent<'a> {
    /// Which.
    pub gtid: MariaGtid,
    /// `FL_*`; see the methods.
    pub flags: u8,
    /// Number of the group commit, if it was in one.
    pub commit_id: Option<u64>,
    /// The XA transaction that is prepared or completed.
    pub xid: Option<Xa<'a>>,
    /// `FL_EXTRA_*`.
    pub extra_flags: u8,
    /// Sequence of the START ALTER that this commits or rolls back.
    pub start_alter: Option<u64>,
    /// The session, where the server writes it (11.5 and later).
    pub thread: Option<u32>,
}

impl MariaGtidEvent<'_> {
    /// No COMMIT follows: the next event, a DDL statement or such, is the whole transaction.
    pub fn standalone(&self) -> bool {
        self.flags & 1 != 0
    }

    /// Everything in it can be rolled back.
    pub fn transactional(&self) -> bool {
        self.flags & 4 != 0
    }

    /// It holds DDL.
    pub fn ddl(&self) -> bool {
        self.flags & 32 != 0
    }

    /// XA PREPARE.
    pub fn prepares_xa(&self) -> bool {
        self.flags & 64 != 0
    }

    /// XA COMMIT or XA ROLLBACK.
    pub fn completes_xa(&self) -> bool {
        self.flags & 128 != 0
    }
}

pub(super) fn gtid<'a>(body: &mut Bytes<'a>, server: u32) -> Read<MariaGtidEvent<'a>> {
    const GROUP_COMMIT_ID: u8 = 2;
    const XA: u8 = 64 | 128;
    const MULTI_ENGINE: u8 = 1;
    const ALTER_END: u8 = 4 | 8;
    const THREAD: u8 = 16;
    let sequence = body.u64("sequence")?;
    let domain = body.u32("domain")?;
    let flags = body.u8("flags")?;
    let commit_id = if flags & GROUP_COMMIT_ID != 0 { Some(body.u64("commit id")?) } else { None };
    let xid = if flags & XA != 0 {
        let format = body.u32("XA format")?;
        let gtrid = usize::from(body.u8("length of the XA id")?);
        let bqual = usize::from(body.u8("length of the XA branch")?);
        Some(Xa::new(format, body.take(gtrid, "XA id")?, body.take(bqual, "XA branch")?)?)
    } else {
        None
    };
    // Zeros fill a short event up, so that a missing byte of extra flags and an absent one are the same.
    let extra_flags = if body.is_empty() { 0 } else { body.u8("extra flags")? };
    if extra_flags & MULTI_ENGINE != 0 {
        body.u8("number of engines")?;
    }
    let start_alter = if extra_flags & ALTER_END != 0 { Some(body.u64("sequence of START ALTER")?) } else { None };
    let thread = if extra_flags & THREAD != 0 { Some(body.u32("session")?) } else { None };
    let gtid = MariaGtid { domain, server, sequence };
    Ok(MariaGtidEvent { gtid, flags, commit_id, xid, extra_flags, start_alter, thread })
}

pub(super) fn gtid_list(body: &mut Bytes<'_>) -> Read<Vec<MariaGtid>> {
    // The upper four bits are flags.
    let count = body.u32("number of GTIDs")? & 0x0fff_ffff;
    let mut list = Vec::new();
    for _ in 0..count {
        let domain = body.u32("domain")?;
        let server = body.u32("server")?;
        list.push(MariaGtid { domain, server, sequence: body.u64("sequence")? });
    }
    Ok(list)
}

/// Appends what a compressed query or rows body holds. Its head is a byte (0x80, algorithm in bits 4 to 6, bytes of the
/// length in bits 0 to 2) and the length, big-endian; zlib is algorithm 0.
pub(super) fn inflate_body(compressed: &[u8], out: &mut Vec<u8>) -> Read<()> {
    let mut bytes = Bytes(compressed);
    let head = bytes.u8("head of the compressed body")?;
    if head & 0x80 == 0 || head & 0x70 != 0 {
        return Err(Bad("compression algorithm: only zlib is known"));
    }
    let width = usize::from(head & 7);
    if !(1..=4).contains(&width) {
        return Err(Bad("length of the compressed body"));
    }
    let length = be_uint(bytes.take(width, "length of the compressed body")?);
    inflate(bytes.rest(), true, length, out)
}

/// Appends what a value of a COMPRESSED column holds. Its head is a byte: 0 for bytes as they are, or 8 in bits 4 to 7
/// for zlib, bit 3 for a raw stream, bytes of the big-endian length in bits 0 to 2 (MariaDB's sql/field_comp.cc).
pub(super) fn inflate_column(value: &[u8], out: &mut Vec<u8>) -> Read<()> {
    let mut bytes = Bytes(value);
    if bytes.is_empty() {
        return Ok(());
    }
    let head = bytes.u8("head of the compressed value")?;
    match head >> 4 {
        0 => out.extend_from_slice(bytes.rest()),
        8 => {
            let length = be_uint(bytes.take(usize::from(head & 7), "length of the compressed value")?);
            inflate(bytes.rest(), head & 8 == 0, length, out)?;
        }
        _ => return Err(Bad("compression algorithm: only zlib is known")),
    }
    Ok(())
}

/// Bytes by which the output grows at first; later steps double it, up to what really came out.
const INFLATE_STEP: usize = 16 << 10;

fn inflate(input: &[u8], zlib_header: bool, length: u64, out: &mut Vec<u8>) -> Read<()> {
    const WRONG: Bad = Bad("compressed bytes");
    if length > headwater_model::limits::ROW_BYTES_MAX as u64 {
        return Err(Bad("a compressed body that claims more than a gigabyte"));
    }
    let start = out.len();
    let mut stream = Decompress::new(zlib_header);
    loop {
        let made = out.len() - start;
        if made as u64 > length {
            return Err(WRONG);
        }
        // One byte beyond the claim, so that a stream that lies is seen rather than cut.
        let left = usize::try_from(length - made as u64).map_err(|_| WRONG)?.saturating_add(1);
        out.reserve(left.min(made.max(INFLATE_STEP)));
        let read = usize::try_from(stream.total_in()).map_err(|_| WRONG)?;
        let rest = input.get(read..).ok_or(WRONG)?;
        let status = stream.decompress_vec(rest, out, FlushDecompress::None).map_err(|_| WRONG)?;
        match status {
            Status::StreamEnd => break,
            // Neither input taken nor output made: the stream is cut off.
            Status::Ok | Status::BufError if stream.total_out() == made as u64 && stream.total_in() == read as u64 => {
                return Err(WRONG);
            }
            Status::Ok | Status::BufError => {}
        }
    }
    if (out.len() - start) as u64 != length { Err(WRONG) } else { Ok(()) }
}
