//! TRANSACTION_PAYLOAD: a whole transaction in one event, compressed (`binlog_transaction_compression=ON`).
//!
//! Invariant: memory is bounded by one inner event and the compressor's window, whatever the payload claims; inner
//! events have no checksum, the outer one covers them. Format: `Transaction_payload_event` in MySQL's
//! libs/mysql/binlog/event.
//!
//! The window is no larger than the transaction, and up to level 19 of `binlog_transaction_compression_level_zstd` (3 is
//! the default) no larger than 8 MB. Levels 20, 21 and 22 look back over 32, 64 and 128 MB of a transaction that is so
//! large, and then no reader can do with less; `headwater check` says so, and what was needed is given back.

use super::bytes::{Bad, Bytes, Read, le_uint};
use super::header::HEADER_BYTES;
use super::{Core, DecodeError, Event, EventHeader, EventKind};
use headwater_model::limits::ROW_BYTES_MAX;
use std::fmt;
use zstd::stream::raw::{Decoder as Zstd, InBuffer, Operation, OutBuffer};

/// The largest window that is accepted: the server's highest compression level uses 2^27 bytes.
const WINDOW_LOG_MAX: u32 = 27;

/// The largest window of the compressor's ordinary levels. What a larger payload needed is given back after it.
pub(crate) const ORDINARY_WINDOW_BYTES: u64 = 8 << 20;

/// What zstd answers to a larger window.
const TOO_LARGE: &str = "too much memory";

/// Bytes that are decompressed at a time.
const STEP: usize = 64 << 10;

/// Bytes that the buffer keeps from one payload to the next; what a larger event needed is given back.
const KEEP_BYTES: usize = 256 << 10;

/// A compressed transaction. Read it with [`TransactionPayload::next_event`] until that answers `None`.
pub struct TransactionPayload<'a> {
    /// Length that the server declares for the events inside; a check, not a size to allocate.
    pub declared: u64,
    outer: EventHeader,
    core: &'a Core,
    scratch: &'a mut Scratch,
    rest: &'a [u8],
    compressed: bool,
    made: u64,
}

impl fmt::Debug for TransactionPayload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionPayload").field("declared", &self.declared).field("read", &self.made).finish()
    }
}

/// What is kept from one payload to the next, so that a stream of small ones allocates nothing.
#[derive(Default)]
pub(super) struct Scratch {
    zstd: Option<Zstd<'static>>,
    /// Decompressed bytes; those before `start` have been given out.
    plain: Vec<u8>,
    start: usize,
    /// The compressed stream stands between two frames, where it may end.
    between_frames: bool,
}

impl<'a> TransactionPayload<'a> {
    /// Fields: a packed type, a packed length, a value; type 0 ends, and the compressed events follow.
    pub(super) fn read(
        body: &mut Bytes<'a>,
        outer: EventHeader,
        core: &'a Core,
        scratch: &'a mut Scratch,
    ) -> Read<Self> {
        let (mut size, mut algorithm, mut declared) = (None, None, None);
        loop {
            let field = body.packed("field type")?;
            if field == 0 {
                break;
            }
            let mut value = Bytes(body.packed_bytes("field")?);
            match field {
                1 => size = Some(value.packed("payload size")?),
                2 => algorithm = Some(value.packed("compression algorithm")?),
                3 => declared = Some(value.packed("uncompressed size")?),
                _ => {}
            }
        }
        let rest = body.rest();
        if size != Some(rest.len() as u64) {
            return Err(Bad("payload size"));
        }
        let compressed = match algorithm {
            Some(0) => true,
            Some(255) => false,
            _ => return Err(Bad("compression algorithm: only ZSTD and NONE are known")),
        };
        scratch.begin(compressed)?;
        let declared = declared.unwrap_or(if compressed { 0 } else { rest.len() as u64 });
        Ok(TransactionPayload { declared, outer, core, scratch, rest, compressed, made: 0 })
    }

    /// The next event inside, `None` after the last. After an error nothing more can be read.
    pub fn next_event(&mut self) -> Result<Option<(EventHeader, Event<'_>)>, DecodeError> {
        let outer = self.outer;
        let malformed = |Bad(what)| DecodeError::Malformed { kind: outer.kind, position: outer.end_position, what };
        let Some(length) = self.fill_event().map_err(malformed)? else { return Ok(None) };
        let start = self.scratch.start;
        self.scratch.start += length;
        let raw = &self.scratch.plain[start..start + length];
        let header = EventHeader::read(raw).ok_or(Bad("inner event")).map_err(malformed)?;
        if matches!(header.kind, EventKind::TRANSACTION_PAYLOAD | EventKind::FORMAT_DESCRIPTION) {
            return Err(malformed(Bad("an inner event of a type that cannot stand inside a payload")));
        }
        let event = self.core.plain_event(&header, raw)?;
        Ok(Some((header, event)))
    }

    /// Makes the next whole event available at `scratch.start`; its length, or `None` at the end.
    fn fill_event(&mut self) -> Read<Option<usize>> {
        if !self.fill(HEADER_BYTES)? {
            return match self.scratch.available() {
                0 if self.made == self.declared => {
                    self.scratch.clear();
                    if self.declared > ORDINARY_WINDOW_BYTES {
                        self.scratch.zstd = None;
                    }
                    Ok(None)
                }
                0 => Err(Bad("uncompressed size")),
                _ => Err(Bad("inner event: cut off")),
            };
        }
        let start = self.scratch.start;
        let length = le_uint(&self.scratch.plain[start + 9..start + 13]) as usize;
        if !(HEADER_BYTES..=ROW_BYTES_MAX).contains(&length) {
            return Err(Bad("inner event: length"));
        }
        if self.fill(length)? { Ok(Some(length)) } else { Err(Bad("inner event: cut off")) }
    }

    /// Decompresses until `count` bytes are available; false when the payload ends before.
    fn fill(&mut self, count: usize) -> Read<bool> {
        while self.scratch.available() < count {
            if self.scratch.start > 0 {
                self.scratch.compact();
            }
            let made = if self.compressed { self.scratch.decompress(&mut self.rest)? } else { self.copy() };
            self.made += made as u64;
            if self.compressed && self.made > self.declared {
                return Err(Bad("uncompressed size"));
            }
            if made == 0 && self.rest.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn copy(&mut self) -> usize {
        let (head, tail) = self.rest.split_at(self.rest.len().min(STEP));
        self.scratch.plain.extend_from_slice(head);
        self.rest = tail;
        head.len()
    }
}

impl Scratch {
    fn begin(&mut self, compressed: bool) -> Read<()> {
        self.clear();
        self.between_frames = true;
        if !compressed {
            return Ok(());
        }
        const WHAT: Bad = Bad("compressed bytes");
        match &mut self.zstd {
            Some(zstd) => zstd.reinit().map_err(|_| WHAT),
            none => {
                let mut zstd = Zstd::new().map_err(|_| WHAT)?;
                zstd.set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(|_| WHAT)?;
                *none = Some(zstd);
                Ok(())
            }
        }
    }

    fn clear(&mut self) {
        self.plain.clear();
        self.plain.shrink_to(KEEP_BYTES);
        self.start = 0;
    }

    fn available(&self) -> usize {
        self.plain.len() - self.start
    }

    fn compact(&mut self) {
        self.plain.drain(..self.start);
        self.start = 0;
    }

    /// Appends up to [`STEP`] bytes and moves `input` past what they were made of.
    fn decompress(&mut self, input: &mut &[u8]) -> Read<usize> {
        const WHAT: Bad = Bad("compressed bytes");
        if input.is_empty() && self.between_frames {
            return Ok(0);
        }
        let zstd = self.zstd.as_mut().ok_or(WHAT)?;
        let before = self.plain.len();
        self.plain.resize(before + STEP, 0);
        let mut source = InBuffer::around(input);
        let mut target = OutBuffer::around(&mut self.plain[before..]);
        let result = zstd.run(&mut source, &mut target);
        let made = target.pos();
        let read = source.pos();
        self.plain.truncate(before + made);
        let damage = |error: std::io::Error| match error.to_string().contains(TOO_LARGE) {
            true => Bad("a compression window of more than 128 MB, which no server writes"),
            false => WHAT,
        };
        self.between_frames = result.map_err(damage)? == 0;
        *input = &input[read..];
        // Neither input taken nor output made: the stream is cut off.
        if made == 0 && read == 0 { Err(WHAT) } else { Ok(made) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ServerFlavor;
    use super::*;

    const XID_BYTES: usize = HEADER_BYTES + 8;

    /// Events that each end a transaction, one after the other.
    fn events(count: usize) -> Vec<u8> {
        let mut event = [0; XID_BYTES];
        event[4] = EventKind::XID.0;
        event[9..13].copy_from_slice(&(XID_BYTES as u32).to_le_bytes());
        event.repeat(count)
    }

    fn body(declared: u64, compressed: &[u8]) -> Vec<u8> {
        let field = |kind: u8, value: u64| [&[kind, 9, 0xfe][..], &value.to_le_bytes()].concat();
        [&field(2, 0)[..], &field(3, declared), &field(1, compressed.len() as u64), &[0], compressed].concat()
    }

    /// The number of events inside, and whether the decompressor is kept.
    fn read(declared: u64, compressed: &[u8]) -> Result<(usize, bool), String> {
        let body = body(declared, compressed);
        let core = Core { flavor: ServerFlavor::MySql, checksum: Some(false), short_table_id: false };
        let mut header = vec![0; HEADER_BYTES];
        header[4] = EventKind::TRANSACTION_PAYLOAD.0;
        let outer = EventHeader::read(&header).expect("a header");
        let mut scratch = Scratch::default();
        let mut payload = TransactionPayload::read(&mut Bytes(&body), outer, &core, &mut scratch)
            .map_err(|Bad(what)| what.to_owned())?;
        let mut count = 0;
        while payload.next_event().map_err(|error| error.to_string())?.is_some() {
            count += 1;
        }
        Ok((count, scratch.zstd.is_some()))
    }

    #[test]
    fn every_level_of_the_server_is_read_and_a_large_window_is_given_back() {
        let large = ORDINARY_WINDOW_BYTES as usize / XID_BYTES + 1;
        for (level, count, is_kept) in
            [(3, 10, true), (19, 10, true), (22, 10, true), (3, large, false), (22, large, false)]
        {
            let plain = events(count);
            let compressed = zstd::encode_all(&plain[..], level).expect("compressed");
            assert_eq!(read(plain.len() as u64, &compressed), Ok((count, is_kept)), "level {level}");
        }
    }

    #[test]
    fn a_window_that_no_server_writes_is_named() {
        // Frame_Header_Descriptor 0, then a Window_Descriptor of 2^28 bytes (RFC 8878, 3.1.1.1).
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, (28 - 10) << 3, 0x01, 0x00, 0x00];
        let error = read(1000, &frame).expect_err("refused");
        assert!(error.contains("128 MB"), "{error}");
    }
}
