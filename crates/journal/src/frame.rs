//! The frame: the unit that is written, checked and read. Pure functions over bytes; no I/O.
//!
//! Invariant: a frame that decodes is exactly what was encoded for that place: header and payload are checksummed, the
//! header over its place too. Start at [`decode_frame`]; the byte layout is in docs/journal-format.md.

use crate::cursor::{u32_at, u64_at};
use crate::heads::{Head, Topic, TopicId, Update, Updates};
use crate::place::Place;

/// `HWJF` in little-endian order.
pub(crate) const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"HWJF");
/// The format version that this program writes and reads.
pub const FORMAT_VERSION: u8 = 1;
/// Bytes of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 80;
/// Frames begin at multiples of this.
pub(crate) const ALIGN: usize = 8;
pub(crate) const TABLE_ROW_BYTES: usize = 20;
pub(crate) const DIRECTORY_HEAD_BYTES: usize = 12;
pub(crate) const DIRECTORY_ROW_BYTES: usize = 12;
pub(crate) const SIDE_REFERENCE_BYTES: usize = 32;
const FLAG_DERIVED: u8 = 1;

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Zeros: nothing was written here.
    #[error("no frame begins here")]
    Empty,
    /// The bytes end before the frame does; this many are needed.
    #[error("the frame is cut off, {0} bytes are needed")]
    Short(usize),
    /// Something else.
    #[error("{0}")]
    Bad(&'static str),
    /// A newer program wrote it.
    #[error("the frame has format version {0}")]
    Version(u8),
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whole transactions.
    Whole,
    /// The commit of one transaction whose changes lie in a side segment.
    Side,
    /// A segment's head: all heads, topics and next offsets.
    SegmentHead,
}

/// How the body is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Plain,
    Lz4,
    Zstd,
}

impl Codec {
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Codec::Plain),
            1 => Some(Codec::Lz4),
            2 => Some(Codec::Zstd),
            _ => None,
        }
    }
}

/// The fixed fields at a frame's front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub kind: Kind,
    pub codec: Codec,
    pub derived: bool,
    pub length: u32,
    pub body_raw: u32,
    pub body_stored: u32,
    pub changes: u32,
    pub first_sequence: u64,
    pub time_us: u64,
    /// All before this place was known to be durable when the frame was written: the proof by which recovery tells
    /// damage from a torn tail.
    pub durable: Place,
    pub epoch: u32,
    pub transactions: u32,
    pub position_len: u32,
    pub heads_len: u32,
    pub table_rows: u32,
    pub directory_len: u32,
    pub payload_crc: u32,
}

impl FrameHeader {
    /// Bytes between the header and the body.
    pub fn meta_len(&self) -> u64 {
        let side = if self.kind == Kind::Side { SIDE_REFERENCE_BYTES as u64 } else { 0 };
        u64::from(self.position_len)
            + u64::from(self.heads_len)
            + u64::from(self.table_rows) * TABLE_ROW_BYTES as u64
            + side
            + u64::from(self.directory_len)
    }

    /// The whole frame's bytes, computed from its parts.
    pub fn computed_length(&self) -> u64 {
        (FRAME_HEADER_BYTES as u64 + self.meta_len() + u64::from(self.body_stored)).next_multiple_of(ALIGN as u64)
    }

    pub fn next_sequence(&self) -> u64 {
        self.first_sequence.saturating_add(u64::from(self.changes))
    }

    pub fn encode(&self, salt: u32) -> [u8; FRAME_HEADER_BYTES] {
        let mut out = [0; FRAME_HEADER_BYTES];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &FRAME_MAGIC.to_le_bytes());
        put(4, &[FORMAT_VERSION, self.kind as u8, self.codec as u8, if self.derived { FLAG_DERIVED } else { 0 }]);
        put(8, &self.length.to_le_bytes());
        put(12, &self.body_raw.to_le_bytes());
        put(16, &self.body_stored.to_le_bytes());
        put(20, &self.changes.to_le_bytes());
        put(24, &self.first_sequence.to_le_bytes());
        put(32, &self.time_us.to_le_bytes());
        put(40, &self.durable.0.to_le_bytes());
        put(48, &self.epoch.to_le_bytes());
        put(52, &self.transactions.to_le_bytes());
        put(56, &self.position_len.to_le_bytes());
        put(60, &self.heads_len.to_le_bytes());
        put(64, &self.table_rows.to_le_bytes());
        put(68, &self.directory_len.to_le_bytes());
        put(72, &self.payload_crc.to_le_bytes());
        let crc = header_crc(&out, salt);
        out[76..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads and checks the header alone.
    pub fn decode(bytes: &[u8], salt: u32) -> Result<Self, FrameError> {
        let Some(bytes) = bytes.get(..FRAME_HEADER_BYTES) else {
            // The end of a file, or zeros up to it.
            return Err(if bytes.iter().all(|byte| *byte == 0) {
                FrameError::Empty
            } else {
                FrameError::Short(FRAME_HEADER_BYTES)
            });
        };
        if u32_at(bytes, 0) != FRAME_MAGIC {
            let empty = bytes.iter().all(|byte| *byte == 0);
            return Err(if empty { FrameError::Empty } else { FrameError::Bad("the bytes are not a frame") });
        }
        if u32_at(bytes, 76) != header_crc(bytes, salt) {
            return Err(FrameError::Bad("the frame header's checksum does not match"));
        }
        if bytes[4] != FORMAT_VERSION {
            return Err(FrameError::Version(bytes[4]));
        }
        let kind = match bytes[5] {
            0 => Kind::Whole,
            1 => Kind::Side,
            2 => Kind::SegmentHead,
            _ => return Err(FrameError::Bad("the frame is of an unknown kind")),
        };
        let header = FrameHeader {
            kind,
            codec: Codec::from_byte(bytes[6]).ok_or(FrameError::Bad("the frame's compression is unknown"))?,
            derived: bytes[7] & FLAG_DERIVED != 0,
            length: u32_at(bytes, 8),
            body_raw: u32_at(bytes, 12),
            body_stored: u32_at(bytes, 16),
            changes: u32_at(bytes, 20),
            first_sequence: u64_at(bytes, 24),
            time_us: u64_at(bytes, 32),
            durable: Place(u64_at(bytes, 40)),
            epoch: u32_at(bytes, 48),
            transactions: u32_at(bytes, 52),
            position_len: u32_at(bytes, 56),
            heads_len: u32_at(bytes, 60),
            table_rows: u32_at(bytes, 64),
            directory_len: u32_at(bytes, 68),
            payload_crc: u32_at(bytes, 72),
        };
        if header.computed_length() != u64::from(header.length) {
            return Err(FrameError::Bad("the frame's parts do not add up to its length"));
        }
        Ok(header)
    }
}

fn header_crc(bytes: &[u8], salt: u32) -> u32 {
    crc32c::crc32c_append(salt, &bytes[..76])
}

/// Makes the checksums of `frame` right again, so that fuzzing and tests reach what lies behind them. Bytes that are too
/// short for a frame stay as they are.
pub fn reseal_frame(frame: &mut [u8], salt: u32) {
    if frame.len() < FRAME_HEADER_BYTES {
        return;
    }
    let length = (u32_at(frame, 8) as usize).clamp(FRAME_HEADER_BYTES, frame.len());
    let payload = crc32c::crc32c(&frame[FRAME_HEADER_BYTES..length]);
    frame[72..76].copy_from_slice(&payload.to_le_bytes());
    let crc = header_crc(frame, salt);
    frame[76..80].copy_from_slice(&crc.to_le_bytes());
}

/// Where the changes of a side transaction lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SideReference {
    pub number: u64,
    /// Bytes of the side file up to the end of the last part.
    pub length: u64,
    pub parts: u32,
    /// Checksum over the checksums of all parts.
    pub crc: u32,
}

impl SideReference {
    pub fn encode(&self) -> [u8; SIDE_REFERENCE_BYTES] {
        let mut out = [0; SIDE_REFERENCE_BYTES];
        out[..8].copy_from_slice(&self.number.to_le_bytes());
        out[8..16].copy_from_slice(&self.length.to_le_bytes());
        out[16..20].copy_from_slice(&self.parts.to_le_bytes());
        out[20..24].copy_from_slice(&self.crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Self {
        SideReference {
            number: u64_at(bytes, 0),
            length: u64_at(bytes, 8),
            parts: u32_at(bytes, 16),
            crc: u32_at(bytes, 20),
        }
    }
}

/// A range of offsets in one partition of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: u32,
    /// First offset.
    pub first: u64,
    /// How many.
    pub count: u32,
}

impl OffsetRange {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.topic.0.to_le_bytes());
        out.extend_from_slice(&self.partition.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
    }

    pub(crate) fn decode(row: &[u8]) -> Self {
        OffsetRange {
            topic: TopicId(u32_at(row, 0)),
            partition: u32_at(row, 4),
            first: u64_at(row, 8),
            count: u32_at(row, 16),
        }
    }
}

/// A checked frame. Borrows the bytes it was read from.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Sequence of its first change.
    pub first_sequence: u64,
    /// How many changes, one sequence number each.
    pub changes: u32,
    /// When it was written, µs since 1970; never goes back.
    pub time_us: u64,
    /// The start of the writer's process under which it was written.
    pub epoch: u32,
    /// Whether it holds something that is not a function of the source's log alone.
    pub derived: bool,
    pub(crate) header: FrameHeader,
    position: &'a [u8],
    updates: Updates<'a>,
    table: &'a [u8],
    side: &'a [u8],
    directory: &'a [u8],
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The source's position after its last transaction.
    pub fn position(&self) -> &'a [u8] {
        self.position
    }

    /// The sequence that follows.
    pub fn next_sequence(&self) -> u64 {
        self.header.next_sequence()
    }

    /// Named state that changes with it. Apply before its transactions.
    pub fn heads(&self) -> impl Iterator<Item = Head<'a>> + use<'a> {
        self.updates.filter_map(|update| match update {
            Update::Head(head) => Some(head),
            Update::Topic(_) => None,
        })
    }

    /// Topics that it is the first to know, or whose partitions grew.
    pub fn new_topics(&self) -> impl Iterator<Item = Topic> + use<'a> {
        self.updates.filter_map(|update| match update {
            Update::Topic(topic) => Some(topic),
            Update::Head(_) => None,
        })
    }

    /// The offsets that its transactions take together.
    pub fn offsets(&self) -> impl Iterator<Item = OffsetRange> + use<'a> {
        self.table.chunks_exact(TABLE_ROW_BYTES).map(OffsetRange::decode)
    }

    /// Its transactions, in commit order.
    pub fn transactions(&self) -> Transactions<'a> {
        Transactions {
            next_sequence: self.first_sequence,
            table: self.table,
            directory: self.directory,
            body: self.body,
        }
    }

    pub(crate) fn updates(&self) -> Updates<'a> {
        self.updates
    }

    pub(crate) fn has_updates(&self) -> bool {
        self.header.heads_len > 0
    }

    pub(crate) fn side(&self) -> Option<SideReference> {
        (!self.side.is_empty()).then(|| SideReference::decode(self.side))
    }

    pub(crate) fn whole_body(&self) -> &'a [u8] {
        self.body
    }
}

/// One transaction of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Transaction<'a> {
    /// Sequence of its first change.
    pub first_sequence: u64,
    /// How many changes.
    pub changes: u32,
    /// The bytes given at append.
    pub body: &'a [u8],
    pub(crate) table: &'a [u8],
    pub(crate) rows: &'a [u8],
}

impl<'a> Transaction<'a> {
    /// The offsets it takes, per topic and partition, in the order they were given.
    pub fn offsets(&self) -> impl Iterator<Item = OffsetRange> + use<'a> {
        let table = self.table;
        self.rows.chunks_exact(DIRECTORY_ROW_BYTES).map(move |row| {
            let slot = u32_at(row, 0) as usize * TABLE_ROW_BYTES;
            let mut range = OffsetRange::decode(&table[slot..slot + TABLE_ROW_BYTES]);
            range.first += u64::from(u32_at(row, 4));
            range.count = u32_at(row, 8);
            range
        })
    }
}

/// Iterates over a frame's transactions.
#[derive(Clone, Copy, Debug)]
pub struct Transactions<'a> {
    next_sequence: u64,
    table: &'a [u8],
    directory: &'a [u8],
    body: &'a [u8],
}

impl<'a> Iterator for Transactions<'a> {
    type Item = Transaction<'a>;

    fn next(&mut self) -> Option<Transaction<'a>> {
        if self.directory.is_empty() {
            return None;
        }
        // The directory was checked as a whole when the frame was decoded.
        let (body_len, changes) = (u32_at(self.directory, 0) as usize, u32_at(self.directory, 4));
        let rows_len = u32_at(self.directory, 8) as usize * DIRECTORY_ROW_BYTES;
        let (rows, directory) = self.directory[DIRECTORY_HEAD_BYTES..].split_at(rows_len);
        let (body, rest) = self.body.split_at(body_len);
        let transaction = Transaction { first_sequence: self.next_sequence, changes, body, table: self.table, rows };
        self.next_sequence += u64::from(changes);
        (self.directory, self.body) = (directory, rest);
        Some(transaction)
    }
}

/// Checks and opens the frame at the front of `bytes`. `scratch` receives the bodies when they are compressed; it grows
/// with what is really there, not with what the header claims. Pure, and safe on any bytes.
pub fn decode_frame<'a>(bytes: &'a [u8], salt: u32, scratch: &'a mut Vec<u8>) -> Result<Frame<'a>, FrameError> {
    let header = FrameHeader::decode(bytes, salt)?;
    let Some(payload) = bytes.get(FRAME_HEADER_BYTES..header.length as usize) else {
        return Err(FrameError::Short(header.length as usize));
    };
    if crc32c::crc32c(payload) != header.payload_crc {
        return Err(FrameError::Bad("the frame's checksum does not match"));
    }
    let (position, rest) = payload.split_at(header.position_len as usize);
    let (heads, rest) = rest.split_at(header.heads_len as usize);
    let (table, rest) = rest.split_at(header.table_rows as usize * TABLE_ROW_BYTES);
    let (side, rest) = rest.split_at(if header.kind == Kind::Side { SIDE_REFERENCE_BYTES } else { 0 });
    let (directory, rest) = rest.split_at(header.directory_len as usize);
    let stored = &rest[..header.body_stored as usize];
    let updates = Updates::checked(heads).ok_or(FrameError::Bad("the frame's heads do not decode"))?;
    let body = decompress(header.codec, stored, header.body_raw as usize, scratch)
        .ok_or(FrameError::Bad("the frame's bodies do not decompress"))?;
    check_directory(&header, table, directory, body.len())?;
    let FrameHeader { first_sequence, changes, time_us, epoch, derived, .. } = header;
    Ok(Frame {
        first_sequence,
        changes,
        time_us,
        epoch,
        derived,
        header,
        position,
        updates,
        table,
        side,
        directory,
        body,
    })
}

/// Everything that [`Transactions`] later takes for granted.
fn check_directory(header: &FrameHeader, table: &[u8], directory: &[u8], body_len: usize) -> Result<(), FrameError> {
    const BAD: FrameError = FrameError::Bad("the frame's directory does not add up");
    let ranges: Vec<_> = table.chunks_exact(TABLE_ROW_BYTES).map(OffsetRange::decode).collect();
    if ranges.iter().any(|range| range.first.checked_add(range.count.into()).is_none()) {
        return Err(BAD);
    }
    // Each takes offsets within those that the frame takes of its partition.
    let is_within = |row: &[u8]| {
        let end = u64::from(u32_at(row, 4)) + u64::from(u32_at(row, 8));
        ranges.get(u32_at(row, 0) as usize).is_some_and(|range| end <= range.count.into())
    };
    let (mut rest, mut bodies, mut changes, mut transactions) = (directory, 0u64, 0u64, 0u32);
    while !rest.is_empty() {
        if rest.len() < DIRECTORY_HEAD_BYTES {
            return Err(BAD);
        }
        bodies += u64::from(u32_at(rest, 0));
        changes += u64::from(u32_at(rest, 4));
        let rows_len = u64::from(u32_at(rest, 8)) * DIRECTORY_ROW_BYTES as u64;
        let rows = rest.get(DIRECTORY_HEAD_BYTES..).filter(|rows| rows.len() as u64 >= rows_len).ok_or(BAD)?;
        let (rows, next) = rows.split_at(rows_len as usize);
        if !rows.chunks_exact(DIRECTORY_ROW_BYTES).all(is_within) {
            return Err(BAD);
        }
        transactions += 1;
        rest = next;
    }
    let sequence_fits = header.first_sequence.checked_add(changes).is_some();
    let whole =
        bodies == body_len as u64 && changes == u64::from(header.changes) && transactions == header.transactions;
    if whole && sequence_fits { Ok(()) } else { Err(BAD) }
}

/// The plain bytes of `stored`; `None` when they are not exactly `raw` bytes.
pub(crate) fn decompress<'a>(codec: Codec, stored: &'a [u8], raw: usize, scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    /// LZ4 cannot shrink by more than 255 times, so a larger claim is refused before memory is taken for it.
    const LZ4_RATIO_MAX: usize = 255;
    match codec {
        Codec::Plain => (stored.len() == raw).then_some(stored),
        Codec::Lz4 => {
            if raw > stored.len().saturating_mul(LZ4_RATIO_MAX) {
                return None;
            }
            scratch.resize(raw.max(scratch.len()), 0);
            let length = lz4_flex::block::decompress_into(stored, &mut scratch[..raw]).ok()?;
            (length == raw).then(|| &scratch[..raw])
        }
        Codec::Zstd => {
            use std::io::Read;
            scratch.clear();
            let decoder = zstd::stream::read::Decoder::with_buffer(stored).ok()?;
            decoder.take(raw as u64 + 1).read_to_end(scratch).ok()?;
            (scratch.len() == raw).then_some(&scratch[..])
        }
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
