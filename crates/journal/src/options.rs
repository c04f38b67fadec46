//! Everything about a journal that can be chosen, with its default and its unit.
//!
//! Invariant: no option changes how existing bytes are read. Start at [`Options`].

use crate::disk::Probe;
use crate::identity::JournalId;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of one entry or part: a row of the largest size, with room for its transaction's header.
pub const ENTRY_BYTES_MAX: usize = (1 << 30) + (16 << 20);
/// Bytes of one head update: more than any schema, less than what would make every segment's head a burden.
pub const HEAD_BYTES_MAX: usize = 64 << 20;
/// Bytes of a position.
pub const POSITION_BYTES_MAX: usize = 1 << 20;
/// Partitions of one topic.
pub const PARTITIONS_MAX: u32 = 65_536;
/// Partitions of all topics together.
pub const PARTITIONS_ALL_MAX: u64 = 1 << 20;
/// Bytes of a side segment's name.
pub const SIDE_ID_BYTES_MAX: usize = 1024;
/// Largest `segment_bytes`; places inside a segment are 32 bits wide.
pub const SEGMENT_BYTES_MAX: u32 = 1 << 30;
/// A new journal's first segment, zeroed while it is opened; small, because that is waited for.
pub(crate) const FIRST_SEGMENT_BYTES: u32 = 4 << 20;

/// How a frame's bodies are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// LZ4: about 2 ns a byte less disk traffic for almost no CPU.
    Lz4,
    /// Zstandard at this level.
    Zstd(i32),
}

/// When old segments go.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Delete the oldest segments while the journal is larger than this, in bytes.
    pub bytes: Option<u64>,
    /// Delete segments whose newest frame is older than this.
    pub age: Option<Duration>,
    /// What stays behind the slowest follower: this many bytes, …
    pub keep_bytes: u64,
    /// … or all that is younger than this, whichever is less.
    pub keep_age: Duration,
    /// How many bytes beyond what is due may be held back for the slowest follower before it is reported.
    pub hold_bytes_max: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        Retention {
            bytes: Some(1 << 30),
            age: None,
            keep_bytes: 1 << 30,
            keep_age: Duration::from_secs(3600),
            hold_bytes_max: None,
        }
    }
}

/// How a journal behaves. All sizes in bytes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size at which a segment is closed and the next begun.
    pub segment_bytes: u32,
    /// Bodies gathered before `append` flushes by itself; also about what a reader's buffer needs.
    pub frame_bytes_max: usize,
    /// A flush waits while more than this is written and not yet durable.
    pub unsynced_bytes_max: u64,
    /// The next segment is zeroed ahead only while one takes at least twice this to fill: zeros make an fsync several
    /// times faster, and in a bulk load, where the fsync is not what counts, they are every byte written twice.
    pub zero_ahead_pace: Duration,
    /// Compression of bodies.
    pub compression: Compression,
    /// Frames with smaller bodies than this are not compressed.
    pub compress_bytes_min: usize,
    /// Make all frames readable only once they are durable.
    pub durable_only: bool,
    /// When old segments go.
    pub retention: Retention,
    /// Keep the file `durable-mark` up to date, from which [`crate::power::cut`] makes a power failure. For tests.
    pub record_durable: bool,
    /// Microseconds since 1970; replaced by tests.
    pub clock_us: fn() -> u64,
    /// Identity for a new journal; drawn at random when absent. For tests.
    pub new_id: Option<JournalId>,
    /// Sees, and may refuse, every change to the disk. For tests.
    pub probe: Option<Arc<dyn Probe>>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: 64 << 20,
            frame_bytes_max: 256 << 10,
            unsynced_bytes_max: 64 << 20,
            zero_ahead_pace: Duration::from_secs(1),
            compression: Compression::None,
            compress_bytes_min: 4096,
            durable_only: false,
            retention: Retention::default(),
            record_durable: false,
            clock_us: system_clock_us,
            new_id: None,
            probe: None,
        }
    }
}

impl Options {
    pub(crate) fn segment_bytes(&self) -> u32 {
        self.segment_bytes.clamp(4096, SEGMENT_BYTES_MAX)
    }
}

fn system_clock_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}
