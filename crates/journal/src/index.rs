//! What is where in one segment: sparse points by sequence, by time, and by (topic, partition, offset).
//!
//! Invariant: an index is derived; one that is missing or does not check is rebuilt from the frames. Its presence says
//! that the segment was closed after its fsync. Start at [`Index`].

use crate::cursor::{Cursor, put_prefixed, put_u32, put_u64};
use crate::frame::{Frame, OffsetRange};
use crate::heads::TopicId;
use crate::identity::JournalId;
use std::collections::BTreeMap;

const MAGIC: &[u8; 8] = b"HWINDEX1";
/// One point about every so many bytes; a reader looks through no more than this after a look-up.
const STRIDE_BYTES: u32 = 64 << 10;

/// A frame by sequence and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub at: u32,
    pub sequence: u64,
    pub time_us: u64,
}

/// One partition's offsets within the segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Track {
    /// Next offset when the segment begins.
    pub first: u64,
    /// Next offset after its last frame.
    pub next: u64,
    /// First offset of a frame, and the frame's place.
    pub points: Vec<(u64, u32)>,
}

/// The index of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// Where its frames end.
    pub end: u32,
    pub next_sequence: u64,
    pub last_time_us: u64,
    pub points: Vec<Point>,
    /// Frames that change heads.
    pub updates: Vec<u32>,
    /// Numbers of the side segments that its frames refer to.
    pub sides: Vec<u64>,
    pub tracks: BTreeMap<(TopicId, u32), Track>,
    /// The source's position after its last frame.
    pub position: Vec<u8>,
}

/// What the index wants to know of a frame.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub at: u32,
    pub length: u32,
    pub first_sequence: u64,
    pub changes: u32,
    pub time_us: u64,
    pub position: &'a [u8],
    pub has_updates: bool,
    pub side: Option<u64>,
}

impl<'a> Seen<'a> {
    pub fn of(at: u32, frame: &Frame<'a>) -> Self {
        Seen {
            at,
            length: frame.header.length,
            first_sequence: frame.first_sequence,
            changes: frame.changes,
            time_us: frame.time_us,
            position: frame.position(),
            has_updates: frame.has_updates(),
            side: frame.side().map(|side| side.number),
        }
    }
}

impl Index {
    /// Takes in the frame that follows the last one.
    pub fn observe(&mut self, seen: &Seen<'_>, offsets: impl Iterator<Item = OffsetRange>) {
        if self.points.last().is_none_or(|last| seen.at - last.at >= STRIDE_BYTES) {
            self.points.push(Point { at: seen.at, sequence: seen.first_sequence, time_us: seen.time_us });
        }
        if seen.has_updates {
            self.updates.push(seen.at);
        }
        self.sides.extend(seen.side);
        for range in offsets {
            let track = self.tracks.entry((range.topic, range.partition)).or_insert_with(|| Track {
                first: range.first,
                next: range.first,
                points: Vec::new(),
            });
            let due = track.points.last().is_none_or(|(_, at)| seen.at - at >= STRIDE_BYTES);
            if range.count > 0 && due {
                track.points.push((range.first, seen.at));
            }
            track.next = range.first + u64::from(range.count);
        }
        self.end = seen.at + seen.length;
        self.next_sequence = seen.first_sequence + u64::from(seen.changes);
        self.last_time_us = seen.time_us;
        self.position.clear();
        self.position.extend_from_slice(seen.position);
    }

    /// The last point at or before which the frame with change `sequence` cannot have ended.
    pub fn by_sequence(&self, sequence: u64) -> Option<u32> {
        // Frames without changes share a sequence with what follows, so step to the last point at or below it.
        let after = self.points.partition_point(|point| point.sequence <= sequence);
        self.points.get(after.saturating_sub(1)).map(|point| point.at)
    }

    /// The last point that is older than `time_us`, or the first.
    pub fn by_time(&self, time_us: u64) -> Option<u32> {
        let after = self.points.partition_point(|point| point.time_us < time_us);
        self.points.get(after.saturating_sub(1)).map(|point| point.at)
    }

    /// The last point of the partition at or before `offset`.
    pub fn by_offset(&self, topic: TopicId, partition: u32, offset: u64) -> Option<u32> {
        let track = self.tracks.get(&(topic, partition))?;
        let after = track.points.partition_point(|(first, _)| *first <= offset);
        track.points.get(after.checked_sub(1)?).map(|(_, at)| *at)
    }

    /// Next offsets of all partitions after the last frame.
    pub fn next_offsets(&self) -> impl Iterator<Item = OffsetRange> + '_ {
        self.tracks.iter().map(|((topic, partition), track)| OffsetRange {
            topic: *topic,
            partition: *partition,
            first: track.next,
            count: 0,
        })
    }

    pub fn encode(&self, id: JournalId, ordinal: u32) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&id.0);
        put_u32(&mut out, ordinal);
        put_u32(&mut out, self.end);
        put_u64(&mut out, self.next_sequence);
        put_u64(&mut out, self.last_time_us);
        put_prefixed(&mut out, &self.position);
        put_u32(&mut out, self.points.len() as u32);
        for point in &self.points {
            put_u32(&mut out, point.at);
            put_u64(&mut out, point.sequence);
            put_u64(&mut out, point.time_us);
        }
        put_u32(&mut out, self.updates.len() as u32);
        self.updates.iter().for_each(|at| put_u32(&mut out, *at));
        put_u32(&mut out, self.sides.len() as u32);
        self.sides.iter().for_each(|number| put_u64(&mut out, *number));
        put_u32(&mut out, self.tracks.len() as u32);
        for ((topic, partition), track) in &self.tracks {
            put_u32(&mut out, topic.0);
            put_u32(&mut out, *partition);
            put_u64(&mut out, track.first);
            put_u64(&mut out, track.next);
            put_u32(&mut out, track.points.len() as u32);
            for (first, at) in &track.points {
                put_u64(&mut out, *first);
                put_u32(&mut out, *at);
            }
        }
        let crc = crc32c::crc32c(&out);
        put_u32(&mut out, crc);
        out
    }

    /// `None`: not whole, or not this segment's; to be rebuilt.
    pub fn decode(bytes: &[u8], id: JournalId, ordinal: u32) -> Option<Self> {
        let (content, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut cursor = Cursor(content.strip_prefix(MAGIC)?);
        if cursor.array()? != id.0 || cursor.u32()? != ordinal {
            return None;
        }
        let mut index = Index {
            end: cursor.u32()?,
            next_sequence: cursor.u64()?,
            last_time_us: cursor.u64()?,
            position: cursor.prefixed()?.to_vec(),
            ..Index::default()
        };
        for _ in 0..cursor.u32()? {
            let point = Point { at: cursor.u32()?, sequence: cursor.u64()?, time_us: cursor.u64()? };
            index.points.push(point);
        }
        for _ in 0..cursor.u32()? {
            index.updates.push(cursor.u32()?);
        }
        for _ in 0..cursor.u32()? {
            index.sides.push(cursor.u64()?);
        }
        for _ in 0..cursor.u32()? {
            let key = (TopicId(cursor.u32()?), cursor.u32()?);
            let mut track = Track { first: cursor.u64()?, next: cursor.u64()?, points: Vec::new() };
            for _ in 0..cursor.u32()? {
                track.points.push((cursor.u64()?, cursor.u32()?));
            }
            index.tracks.insert(key, track);
        }
        cursor.0.is_empty().then_some(index)
    }
}
