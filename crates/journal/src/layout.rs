//! The names in a journal's folder, the header of a segment file, and the lock.
//!
//! Invariant: segment ordinals are contiguous; a name that is not ours is left alone. Start at [`Listing::read`].

use crate::cursor::{u32_at, u64_at};
use crate::error::{Error, Result};
use crate::identity::JournalId;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

pub(crate) const LOCK: &str = "lock";
pub(crate) const IDENTITY: &str = "journal";
/// A segment file that is being zeroed ahead of its use.
pub(crate) const NEXT: &str = "next";
pub(crate) const DURABLE_MARK: &str = "durable-mark";

const SEGMENT_MAGIC: &[u8; 8] = b"HWSEGMNT";
const SEGMENT_VERSION: u32 = 1;
/// Bytes of a segment file's header; the first frame follows.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;

pub(crate) fn segment_name(ordinal: u32, first_sequence: u64) -> String {
    format!("{ordinal:010}-{first_sequence:020}.segment")
}

pub(crate) fn index_name(ordinal: u32) -> String {
    format!("{ordinal:010}.index")
}

pub(crate) fn side_name(number: u64) -> String {
    format!("{number:012}.side")
}

/// A side segment on its way out: renamed first, so that a crash between two deletions cannot revive it.
pub(crate) fn dropped_side_name(number: u64) -> String {
    format!("{number:012}.drop")
}

/// What a journal's folder holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// Ordinal and first sequence, in order.
    pub segments: Vec<(u32, u64)>,
    pub indexes: Vec<u32>,
    pub sides: Vec<u64>,
    pub dropped_sides: Vec<u64>,
}

impl Listing {
    pub fn read(dir: &Path) -> Result<Self> {
        let failed = |error| Error::io("list", dir, error);
        let mut listing = Listing::default();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if let Some(name) = name.to_str() {
                listing.sort_in(name);
            }
        }
        listing.segments.sort_unstable();
        listing.sides.sort_unstable();
        if let Some(pair) = listing.segments.windows(2).find(|pair| pair[1].0 != pair[0].0 + 1) {
            let file = dir.join(segment_name(pair[1].0, pair[1].1));
            let what = format!("segment {} is missing before it", pair[1].0 - 1);
            return Err(Error::damaged(&file, 0, what));
        }
        Ok(listing)
    }

    fn sort_in(&mut self, name: &str) {
        let Some((stem, kind)) = name.rsplit_once('.') else { return };
        match kind {
            "segment" => {
                if let Some((ordinal, first)) = stem.split_once('-')
                    && let (Ok(ordinal), Ok(first)) = (ordinal.parse(), first.parse())
                {
                    self.segments.push((ordinal, first));
                }
            }
            "index" => self.indexes.extend(stem.parse::<u32>()),
            "side" => self.sides.extend(stem.parse::<u64>()),
            "drop" => self.dropped_sides.extend(stem.parse::<u64>()),
            _ => {}
        }
    }
}

/// The header of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub ordinal: u32,
    pub id: JournalId,
    pub first_sequence: u64,
    pub time_us: u64,
    /// Where the frames of the segment before it end, so that a lost end is noticed; 0 for the first.
    pub previous_end: u32,
    pub epoch: u32,
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut out = [0; SEGMENT_HEADER_BYTES];
        out[..8].copy_from_slice(SEGMENT_MAGIC);
        out[8..12].copy_from_slice(&SEGMENT_VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.ordinal.to_le_bytes());
        out[16..32].copy_from_slice(&self.id.0);
        out[32..40].copy_from_slice(&self.first_sequence.to_le_bytes());
        out[40..48].copy_from_slice(&self.time_us.to_le_bytes());
        out[48..52].copy_from_slice(&self.previous_end.to_le_bytes());
        out[52..56].copy_from_slice(&self.epoch.to_le_bytes());
        let crc = crc32c::crc32c(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads and checks the header; `Err` says what is wrong.
    pub fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Self, &'static str> {
        if crc32c::crc32c(&bytes[..60]) != u32_at(bytes, 60) || &bytes[..8] != SEGMENT_MAGIC {
            return Err("the segment's header does not check");
        }
        if u32_at(bytes, 8) != SEGMENT_VERSION {
            return Err("the segment is of a newer format version");
        }
        let mut id = JournalId([0; 16]);
        id.0.copy_from_slice(&bytes[16..32]);
        Ok(SegmentHeader {
            ordinal: u32_at(bytes, 12),
            id,
            first_sequence: u64_at(bytes, 32),
            time_us: u64_at(bytes, 40),
            previous_end: u32_at(bytes, 48),
            epoch: u32_at(bytes, 52),
        })
    }

    /// Reads the header of an open segment file. `Ok(Err(..))`: it is not there, or not whole, or another's.
    pub fn load(
        file: &File,
        path: &Path,
        id: JournalId,
        ordinal: u32,
        first_sequence: u64,
    ) -> Result<Result<Self, &'static str>> {
        use std::os::unix::fs::FileExt;
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        match file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Err("the segment's header is cut off"));
            }
            Err(error) => return Err(Error::io("read", path, error)),
            Ok(()) => {}
        }
        Ok(SegmentHeader::decode(&bytes).and_then(|header| {
            let ours = header.id == id && header.ordinal == ordinal && header.first_sequence == first_sequence;
            if ours { Ok(header) } else { Err("the segment's header belongs to another segment") }
        }))
    }
}

/// Holds the journal's folder for this process.
#[derive(Debug)]
pub(crate) struct Lock(#[allow(dead_code)] File);

impl Lock {
    /// Takes the lock or names the process that has it. The kernel releases it when the process ends, however it ends.
    pub fn take(dir: &Path) -> Result<Self> {
        let path = dir.join(LOCK);
        let failed = |error| Error::io("open", &path, error);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let _ = file.take(32).read_to_string(&mut pid);
                let pid = if pid.is_empty() { "unknown".into() } else { pid.trim().to_owned() };
                return Err(Error::Locked { dir: dir.to_owned(), pid });
            }
            Err(errno) => return Err(Error::io("lock", &path, errno.into())),
        }
        let pid = format!("{}\n", std::process::id());
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(pid.as_bytes()));
        written.map_err(|error| Error::io("write", &path, error))?;
        Ok(Lock(file))
    }
}
