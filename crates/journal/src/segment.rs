//! One segment as readers, retention and recovery know it: its place in the order, its end, and its index on demand.
//!
//! Invariant: a segment can be read alone: its first frame repeats all heads, topics and next offsets. Start at
//! [`Segment::with_index`].

use crate::error::Result;
use crate::frame::FrameError;
use crate::heads::Heads;
use crate::identity::JournalId;
use crate::index::{Index, Seen};
use crate::layout::{SEGMENT_HEADER_BYTES, index_name, segment_name};
use crate::window::{Stop, Window};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// The end of a segment that is still written to.
pub(crate) const OPEN: u32 = u32::MAX;
/// Where the first frame of a segment lies.
pub(crate) const FIRST_FRAME: u32 = SEGMENT_HEADER_BYTES as u32;

/// One segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub ordinal: u32,
    pub first_sequence: u64,
    end: AtomicU32,
    /// Kept while the segment is written to; else read from its file when it is asked for.
    index: Mutex<Option<Index>>,
}

impl Segment {
    pub fn new(ordinal: u32, first_sequence: u64, end: u32, index: Option<Index>) -> Self {
        Segment { ordinal, first_sequence, end: AtomicU32::new(end), index: Mutex::new(index) }
    }

    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(segment_name(self.ordinal, self.first_sequence))
    }

    /// Where its frames end; `None` while it is written to.
    pub fn end(&self) -> Option<u32> {
        Some(self.end.load(Ordering::Acquire)).filter(|end| *end != OPEN)
    }

    /// No frame follows. Called before a place in the next segment is published.
    pub fn close(&self, end: u32) {
        self.end.store(end, Ordering::Release);
    }

    /// The writer takes in a frame.
    pub fn observe(&self, observe: impl FnOnce(&mut Index)) {
        observe(self.index.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default());
    }

    /// Gives the index: from memory, from its file, or rebuilt.
    pub fn with_index<R>(&self, dir: &Path, id: JournalId, read: impl FnOnce(&Index) -> R) -> Result<R> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if index.is_none() {
            *index = Some(match load_index(dir, id, self.ordinal) {
                Some(index) => index,
                None => scan(dir, id, self.ordinal, self.first_sequence)?.index,
            });
        }
        Ok(read(index.get_or_insert_default()))
    }

    /// Forgets the index; its file has it.
    pub fn forget_index(&self) {
        *self.index.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The index's bytes, if it is in memory.
    pub fn encode_index(&self, id: JournalId) -> Option<Vec<u8>> {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.as_ref().map(|index| index.encode(id, self.ordinal))
    }
}

/// The index file of a segment, if it is there and checks.
pub(crate) fn load_index(dir: &Path, id: JournalId, ordinal: u32) -> Option<Index> {
    let bytes = fs::read(dir.join(index_name(ordinal))).ok()?;
    Index::decode(&bytes, id, ordinal)
}

/// What walking over all frames of a segment found.
#[derive(Debug)]
pub(crate) struct Scan {
    pub index: Index,
    /// Heads and topics after the last whole frame.
    pub heads: Heads,
    /// Where the first thing that is no frame lies, and why it is none.
    pub end: u32,
    pub stop: FrameError,
    pub frames: u64,
}

/// Walks over the frames of a segment, checking each, up to the first place where there is none.
pub(crate) fn scan(dir: &Path, id: JournalId, ordinal: u32, first_sequence: u64) -> Result<Scan> {
    let mut window = Window::open(dir.join(segment_name(ordinal, first_sequence)), ordinal, id)?;
    let limit = window.length()?;
    let mut scan = Scan {
        index: Index { end: FIRST_FRAME, next_sequence: first_sequence, ..Index::default() },
        heads: Heads::default(),
        end: FIRST_FRAME,
        stop: FrameError::Empty,
        frames: 0,
    };
    loop {
        match window.frame(scan.end, limit) {
            Ok(frame) if frame.first_sequence != scan.index.next_sequence => {
                scan.stop = FrameError::Bad("the frame's sequence does not follow the one before it");
                return Ok(scan);
            }
            Ok(frame) => {
                scan.heads.apply(frame.updates());
                scan.index.observe(&Seen::of(scan.end, &frame), frame.offsets());
                scan.end = scan.index.end;
                scan.frames += 1;
            }
            Err(Stop::Failed(error)) => return Err(error),
            Err(stop @ Stop::Bad(FrameError::Version(_))) => return Err(stop.damage(&window.path, scan.end)),
            Err(Stop::Bad(stop)) => {
                scan.stop = stop;
                return Ok(scan);
            }
        }
    }
}

/// Heads and topics as they stand before the frame at `before`.
pub(crate) fn heads_before(window: &mut Window, updates: &[u32], before: u32, limit: u64) -> Result<Heads> {
    let mut heads = Heads::default();
    for at in updates.iter().copied().take_while(|at| *at < before) {
        heads.apply(window.expect_frame(at, limit)?.updates());
    }
    Ok(heads)
}
