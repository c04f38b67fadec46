//! The frame being gathered: entries are copied straight into the buffers that are written.
//!
//! Invariant: in steady state an entry costs copies and two array look-ups per partition; no allocation, nothing per
//! change. Start at [`Pending::push`].

use crate::frame::{
    ALIGN, Codec, FRAME_HEADER_BYTES, FrameHeader, Kind, OffsetRange, SIDE_REFERENCE_BYTES, SideReference,
    TABLE_ROW_BYTES,
};
use crate::heads::{Head, put_head};
use crate::options::{Compression, Options};
use crate::place::Place;
use crate::topics::{Numbers, Offsets};
use std::io::IoSlice;

/// One transaction, or a change of named state, on its way into the journal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry<'a> {
    /// Sequence numbers it takes, one per change. 0 is fine for what changes only position or heads.
    pub changes: u32,
    /// The source's position after it; opaque. Empty: as before.
    pub position: &'a [u8],
    /// Its content, concatenated; opaque.
    pub body: &'a [&'a [u8]],
    /// Offsets it takes, per topic and partition.
    pub offsets: &'a [Offsets],
    /// Named state that changes with it.
    pub heads: &'a [Head<'a>],
    /// Not a function of the source's log alone: readable only once it is durable, like all that follows until then.
    pub derived: bool,
}

/// What a frame learns only when it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub time_us: u64,
    pub epoch: u32,
    pub durable: Place,
    pub salt: u32,
}

/// The buffers of one frame, kept from one to the next.
#[derive(Debug)]
pub(crate) struct Pending {
    kind: Kind,
    pub first_sequence: u64,
    pub changes: u32,
    transactions: u32,
    pub derived: bool,
    /// After the last entry; stays from frame to frame.
    pub position: Vec<u8>,
    position_moved: bool,
    pub updates: Vec<u8>,
    pub table: Vec<OffsetRange>,
    side: Option<SideReference>,
    directory: Vec<u8>,
    bodies: Vec<u8>,
    compressed: Vec<u8>,
    codec: Codec,
    /// Header and everything else before the bodies.
    meta: Vec<u8>,
}

impl Pending {
    pub fn new(kind: Kind, next_sequence: u64, position: Vec<u8>) -> Self {
        Pending {
            kind,
            first_sequence: next_sequence,
            changes: 0,
            transactions: 0,
            derived: false,
            position,
            position_moved: false,
            updates: Vec::new(),
            table: Vec::new(),
            side: None,
            directory: Vec::new(),
            bodies: Vec::new(),
            compressed: Vec::new(),
            codec: Codec::Plain,
            meta: Vec::new(),
        }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.transactions == 0 && self.updates.is_empty() && !self.position_moved
    }

    /// Bytes gathered.
    pub fn len(&self) -> usize {
        self.bodies.len() + self.directory.len() + self.updates.len()
    }

    /// Copies an entry in and gives it its numbers. The caller has checked its limits.
    pub fn push(&mut self, entry: &Entry<'_>, numbers: &mut Numbers) {
        self.changes += entry.changes;
        self.derived |= entry.derived;
        if !entry.position.is_empty() {
            self.position.clear();
            self.position.extend_from_slice(entry.position);
            self.position_moved = true;
        }
        for head in entry.heads {
            put_head(&mut self.updates, *head);
        }
        let before = self.bodies.len();
        for piece in entry.body {
            self.bodies.extend_from_slice(piece);
        }
        let length = self.bodies.len() - before;
        if length == 0 && entry.changes == 0 {
            // Position and heads are the frame's own; a transaction of nothing would only be noise to followers.
            return;
        }
        self.transactions += 1;
        self.directory.extend_from_slice(&(length as u32).to_le_bytes());
        self.directory.extend_from_slice(&entry.changes.to_le_bytes());
        self.directory.extend_from_slice(&(entry.offsets.len() as u32).to_le_bytes());
        for wanted in entry.offsets {
            numbers.take(wanted, &mut self.table, &mut self.directory);
        }
        numbers.next_sequence += u64::from(entry.changes);
    }

    /// Makes this the commit of a side transaction. Only for a frame that holds that one entry.
    pub fn set_side(&mut self, side: SideReference) {
        self.kind = Kind::Side;
        self.side = Some(side);
    }

    pub fn side(&self) -> Option<SideReference> {
        self.side
    }

    /// Compresses where it pays; answers the bytes that the whole frame will take.
    pub fn close(&mut self, options: &Options) -> u64 {
        self.codec = Codec::Plain;
        if self.bodies.len() >= options.compress_bytes_min.max(1) {
            self.codec = compress(options.compression, &self.bodies, &mut self.compressed);
        }
        self.header(None).computed_length()
    }

    fn stored(&self) -> &[u8] {
        if self.codec == Codec::Plain { &self.bodies } else { &self.compressed }
    }

    fn header(&self, stamp: Option<Stamp>) -> FrameHeader {
        let mut header = FrameHeader {
            kind: self.kind,
            codec: self.codec,
            derived: self.derived,
            length: 0,
            body_raw: self.bodies.len() as u32,
            body_stored: self.stored().len() as u32,
            changes: self.changes,
            first_sequence: self.first_sequence,
            time_us: stamp.map_or(0, |stamp| stamp.time_us),
            durable: stamp.map_or(Place::default(), |stamp| stamp.durable),
            epoch: stamp.map_or(0, |stamp| stamp.epoch),
            transactions: self.transactions,
            position_len: self.position.len() as u32,
            heads_len: self.updates.len() as u32,
            table_rows: self.table.len() as u32,
            directory_len: self.directory.len() as u32,
            payload_crc: 0,
        };
        header.length = header.computed_length() as u32;
        header
    }

    /// Builds everything before the bodies. Call after [`Self::close`].
    pub fn stamp(&mut self, stamp: Stamp) -> FrameHeader {
        let mut header = self.header(Some(stamp));
        let mut meta = std::mem::take(&mut self.meta);
        meta.clear();
        meta.resize(FRAME_HEADER_BYTES, 0);
        meta.reserve(self.position.len() + self.updates.len() + self.directory.len() + SIDE_REFERENCE_BYTES);
        meta.extend_from_slice(&self.position);
        meta.extend_from_slice(&self.updates);
        meta.reserve(self.table.len() * TABLE_ROW_BYTES);
        self.table.iter().for_each(|row| row.encode(&mut meta));
        if let Some(side) = self.side {
            meta.extend_from_slice(&side.encode());
        }
        meta.extend_from_slice(&self.directory);
        let crc = crc32c::crc32c(&meta[FRAME_HEADER_BYTES..]);
        let crc = crc32c::crc32c_append(crc, self.stored());
        header.payload_crc = crc32c::crc32c_append(crc, padding(&header, meta.len() + self.stored().len()));
        meta[..FRAME_HEADER_BYTES].copy_from_slice(&header.encode(stamp.salt));
        self.meta = meta;
        header
    }

    /// The frame's bytes, after [`Self::stamp`].
    pub fn pieces(&self, header: &FrameHeader) -> [IoSlice<'_>; 3] {
        let stored = self.stored();
        let padding = padding(header, self.meta.len() + stored.len());
        [IoSlice::new(&self.meta), IoSlice::new(stored), IoSlice::new(padding)]
    }

    /// Begins the next frame, keeping the memory unless one frame was far larger than usual.
    pub fn clear(&mut self, usual_bytes: usize) {
        self.kind = Kind::Whole;
        self.first_sequence += u64::from(self.changes);
        (self.changes, self.transactions) = (0, 0);
        (self.derived, self.position_moved, self.side) = (false, false, None);
        self.updates.clear();
        self.table.clear();
        self.directory.clear();
        for buffer in [&mut self.bodies, &mut self.compressed, &mut self.meta] {
            buffer.clear();
            if buffer.capacity() > 4 * usual_bytes {
                *buffer = Vec::new();
            }
        }
    }
}

fn padding(header: &FrameHeader, length: usize) -> &'static [u8] {
    const ZEROS: [u8; ALIGN] = [0; ALIGN];
    &ZEROS[..header.length as usize - length]
}

/// Compresses `bytes` into `out`; stays plain when that would not make them smaller.
pub(crate) fn compress(compression: Compression, bytes: &[u8], out: &mut Vec<u8>) -> Codec {
    out.clear();
    let (codec, length) = match compression {
        Compression::None => return Codec::Plain,
        Compression::Lz4 => {
            out.resize(lz4_flex::block::get_maximum_output_size(bytes.len()), 0);
            (Codec::Lz4, lz4_flex::block::compress_into(bytes, out).ok())
        }
        Compression::Zstd(level) => {
            out.resize(zstd::zstd_safe::compress_bound(bytes.len()), 0);
            (Codec::Zstd, zstd::bulk::compress_to_buffer(bytes, out, level).ok())
        }
    };
    match length.filter(|length| *length < bytes.len()) {
        Some(length) => {
            out.truncate(length);
            codec
        }
        None => Codec::Plain,
    }
}
