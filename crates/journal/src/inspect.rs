//! Looks into a journal's folder without changing it: a summary, and a check of every byte that matters.
//!
//! Invariant: takes no lock and writes nothing, so that it may look at a running journal and at a broken one. Start at
//! [`info`] and [`verify`].

use crate::error::{Error, Result};
use crate::frame::FrameError;
use crate::heads::Topic;
use crate::identity::{Epoch, Identity, JournalId};
use crate::layout::{Listing, SegmentHeader, segment_name, side_name};
use crate::place::Place;
use crate::reader::{From, Item, read_folder};
use crate::recover::proves_durable;
use crate::segment::{Segment, load_index, scan};
use std::fs::{self, File};
use std::path::Path;

/// One segment, as its index says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// File name.
    pub file: String,
    /// Sequence of its first change.
    pub first_sequence: u64,
    /// The sequence after its last.
    pub next_sequence: u64,
    /// Where its frames end.
    pub bytes: u64,
    /// When its last frame was written, µs since 1970.
    pub last_time_us: u64,
    /// Whether it is closed.
    pub closed: bool,
}

/// A summary of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Who it is.
    pub id: JournalId,
    /// Its starts, oldest first.
    pub epochs: Vec<Epoch>,
    /// Its segments, oldest first.
    pub segments: Vec<SegmentInfo>,
    /// First sequence kept.
    pub first_sequence: u64,
    /// The sequence after the last frame.
    pub next_sequence: u64,
    /// The source's position after the last frame; empty when there is none.
    pub position: Vec<u8>,
    /// Topics, each with first and next offset per partition.
    pub topics: Vec<(Topic, Vec<(u64, u64)>)>,
    /// Keys of all named state.
    pub head_keys: Vec<Vec<u8>>,
    /// Files of side segments, and their bytes.
    pub sides: Vec<(String, u64)>,
}

fn identity(dir: &Path) -> Result<Identity> {
    Identity::load(dir)?.ok_or_else(|| Error::Invalid(format!("there is no journal in {}", dir.display())))
}

/// Summarises the journal in `dir`. Closed segments are read by their index, the last one is scanned.
pub fn info(dir: &Path) -> Result<Info> {
    let identity = identity(dir)?;
    let listing = Listing::read(dir)?;
    let mut info = Info {
        id: identity.id,
        epochs: identity.epochs,
        segments: Vec::new(),
        first_sequence: listing.segments.first().map_or(0, |(_, first)| *first),
        next_sequence: 0,
        position: Vec::new(),
        topics: Vec::new(),
        head_keys: Vec::new(),
        sides: Vec::new(),
    };
    let mut first_offsets = None;
    for (ordinal, first_sequence) in &listing.segments {
        let is_last = listing.segments.last().is_some_and(|(last, _)| last == ordinal);
        let closed = load_index(dir, info.id, *ordinal).filter(|_| !is_last);
        let is_closed = closed.is_some();
        let index = match closed {
            Some(index) => index,
            None => {
                let scan = scan(dir, info.id, *ordinal, *first_sequence)?;
                info.head_keys = scan.heads.iter().map(|(key, _)| key.to_vec()).collect();
                info.topics = scan.heads.topics().iter().map(|topic| (topic.clone(), Vec::new())).collect();
                scan.index
            }
        };
        info.segments.push(SegmentInfo {
            file: segment_name(*ordinal, *first_sequence),
            first_sequence: *first_sequence,
            next_sequence: index.next_sequence,
            bytes: index.end.into(),
            last_time_us: index.last_time_us,
            closed: is_closed,
        });
        info.next_sequence = index.next_sequence;
        info.position.clone_from(&index.position);
        let first = first_offsets.get_or_insert_with(|| index.tracks.clone());
        for (topic, bounds) in &mut info.topics {
            *bounds = (0..topic.partitions)
                .map(|partition| {
                    let key = (topic.id, partition);
                    let next = index.tracks.get(&key).map_or(0, |track| track.next);
                    (first.get(&key).map_or(0, |track| track.first), next)
                })
                .collect();
        }
    }
    for number in listing.sides {
        let file = side_name(number);
        let bytes = fs::metadata(dir.join(&file)).map_or(0, |metadata| metadata.len());
        info.sides.push((file, bytes));
    }
    Ok(info)
}

/// What a complete check saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Segments read.
    pub segments: u64,
    /// Frames that check, heads of segments included.
    pub frames: u64,
    /// Transactions in them; one in a side segment counts once.
    pub transactions: u64,
    /// Changes in them.
    pub changes: u64,
    /// Parts of side segments that check.
    pub side_parts: u64,
    /// Bytes of frames.
    pub bytes: u64,
    /// Bytes after the last whole frame that the next start will cut off.
    pub torn_bytes: u64,
}

/// Reads every frame and every side segment that a frame refers to. The first damage is the error, with file and byte.
pub fn verify(dir: &Path) -> Result<Verified> {
    let id = identity(dir)?.id;
    let listing = Listing::read(dir)?;
    let mut verified = Verified::default();
    for (number, (ordinal, first_sequence)) in listing.segments.iter().enumerate() {
        let path = Segment::new(*ordinal, *first_sequence, 0, None).path(dir);
        load_header(&path, id, *ordinal, *first_sequence)?;
        let scan = scan(dir, id, *ordinal, *first_sequence)?;
        let at = u64::from(scan.end);
        verified.segments += 1;
        verified.frames += scan.frames;
        verified.bytes += at;
        match listing.segments.get(number + 1) {
            Some((next, next_first)) => {
                let next_path = Segment::new(*next, *next_first, 0, None).path(dir);
                let header = load_header(&next_path, id, *next, *next_first)?;
                if header.previous_end != scan.end || scan.index.next_sequence != *next_first {
                    return Err(Error::damaged(&path, at, scan.stop.to_string()));
                }
            }
            None if scan.stop != FrameError::Empty => {
                if proves_durable(&path, id, *ordinal, scan.end, Place::new(*ordinal, scan.end))? {
                    return Err(Error::damaged(&path, at, scan.stop.to_string()));
                }
                let length = fs::metadata(&path).map_err(|error| Error::io("read", &path, error))?.len();
                verified.torn_bytes = length - at;
            }
            None => {}
        }
    }
    // The frames check; what readers make of them, side segments included, must too.
    let mut reader = read_folder(dir, From::Earliest)?;
    while let Some(item) = reader.next()? {
        match item {
            Item::Frame(frame) => {
                verified.transactions += frame.transactions().count() as u64;
                verified.changes += u64::from(frame.changes);
            }
            Item::Part(part) => {
                verified.side_parts += 1;
                verified.changes += u64::from(part.changes);
                verified.transactions += u64::from(part.last);
            }
        }
    }
    Ok(verified)
}

fn load_header(path: &Path, id: JournalId, ordinal: u32, first_sequence: u64) -> Result<SegmentHeader> {
    let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
    let header = SegmentHeader::load(&file, path, id, ordinal, first_sequence)?;
    header.map_err(|what| Error::damaged(path, 0, what))
}
