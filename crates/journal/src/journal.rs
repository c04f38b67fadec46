//! The handle that everyone but the writer has: how far the journal is, readers, retention.
//!
//! Invariant: nothing done here slows the writer down by more than a short lock. Start at [`Journal::reader`].

use crate::error::{Error, Result};
use crate::heads::{Topic, TopicId};
use crate::identity::{Epoch, JournalId, Standing};
use crate::reader::{From, Item, Reader};
use crate::retention::{self, RetentionReport};
use crate::shared::Shared;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How far a reader is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// About how many bytes of journal lie before it.
    pub bytes: u64,
    /// How long ago the first frame that it has not read was written.
    pub age: Duration,
}

/// A handle to an open journal; cheap to clone. It outlives the writer, but then nothing moves any more.
#[derive(Clone, Debug)]
pub struct Journal {
    shared: Arc<Shared>,
}

impl Journal {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Journal { shared }
    }

    /// Who this journal is.
    pub fn id(&self) -> JournalId {
        self.shared.identity.id
    }

    /// The number of this start.
    pub fn epoch(&self) -> u32 {
        self.shared.identity.epoch()
    }

    /// All starts that are remembered, oldest first.
    pub fn epochs(&self) -> &[Epoch] {
        &self.shared.identity.epochs
    }

    /// The first sequence that is kept.
    pub fn first_sequence(&self) -> u64 {
        self.shared.first_sequence()
    }

    /// The sequence that a reader comes to when it has read all there is to read now.
    pub fn visible_sequence(&self) -> u64 {
        self.shared.visible_sequence()
    }

    /// The sequence after the last frame written.
    pub fn written_sequence(&self) -> u64 {
        self.shared.written_sequence()
    }

    /// All below this survives a power failure.
    pub fn durable_sequence(&self) -> u64 {
        self.shared.durable_sequence()
    }

    /// The source's position after the last durable frame: may be confirmed to the source.
    pub fn durable_position(&self) -> Option<Vec<u8>> {
        let marks = self.shared.marks();
        Some(marks.durable.position.clone()).filter(|position| !position.is_empty())
    }

    /// Waits until a change at or after `beyond` is visible; answers the visible sequence, at the deadline too.
    pub fn wait_visible(&self, beyond: u64, deadline: Instant) -> Result<u64> {
        self.shared.wait_visible(deadline, |_, sequence| sequence > beyond)?;
        Ok(self.visible_sequence())
    }

    /// Waits until all below `sequence` is durable. `false`: the deadline came first.
    pub fn wait_durable(&self, sequence: u64, deadline: Instant) -> Result<bool> {
        self.shared.wait_durable(Some(deadline), |durable| durable.sequence >= sequence)
    }

    /// A reader of its own, with its own buffer.
    pub fn reader(&self, from: From) -> Result<Reader> {
        Reader::live(Arc::clone(&self.shared), from)
    }

    /// How a follower's progress, kept at its target, stands to this journal.
    pub fn classify(&self, id: JournalId, epoch: u32, sequence: u64) -> Standing {
        let bounds = (self.first_sequence(), self.visible_sequence());
        self.shared.identity.classify(id, epoch, sequence, bounds.0, bounds.1)
    }

    /// Topics in the order of their numbers.
    pub fn topics(&self) -> Vec<Topic> {
        self.shared.topics.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// First offset kept, and next offset written, of a partition.
    pub fn topic_bounds(&self, topic: TopicId, partition: u32) -> Result<(u64, u64)> {
        let segments = self.shared.segments();
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return Ok((0, 0)) };
        let (dir, id) = (&self.shared.dir, self.id());
        let key = (topic, partition);
        let first = first.with_index(dir, id, |index| index.tracks.get(&key).map_or(0, |track| track.first))?;
        let next = last.with_index(dir, id, |index| index.tracks.get(&key).map_or(0, |track| track.next))?;
        Ok((first, next))
    }

    /// Deletes whole segments that are due and that no follower needs: `needed` is the next sequence of the slowest, or
    /// `None` when there are none.
    pub fn apply_retention(&self, needed: Option<u64>) -> Result<RetentionReport> {
        retention::apply(&self.shared, needed)
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        let segments = self.shared.segments();
        let active = self.shared.marks().written.place;
        segments.iter().map(|segment| u64::from(segment.end().unwrap_or(active.at()))).sum()
    }

    /// How far a reader that wants `from` next is behind the end.
    pub fn lag(&self, from: u64) -> Result<Lag> {
        let mut reader = self.reader(From::Sequence(from))?;
        let time_us = match reader.next()? {
            None => return Ok(Lag::default()),
            Some(Item::Frame(frame)) => frame.time_us,
            Some(Item::Part(part)) => part.frame.time_us,
        };
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        let age = Duration::from_micros(now_us.saturating_sub(time_us));
        let (segments, written) = (self.shared.segments(), self.written_sequence());
        let ends = segments.iter().skip(1).map(|segment| segment.first_sequence).chain([written]);
        let mut bytes = 0;
        for (segment, next) in segments.iter().zip(ends) {
            let size = u64::from(segment.end().unwrap_or(self.shared.marks().written.place.at()));
            let changes = (next - segment.first_sequence).max(1);
            // Within a segment changes are taken to be of one size.
            let behind = next.saturating_sub(from.max(segment.first_sequence));
            bytes += (u128::from(size) * u128::from(behind) / u128::from(changes)) as u64;
        }
        Ok(Lag { bytes, age })
    }

    /// Why nothing is written any more, when that is so.
    pub fn failure(&self) -> Option<Error> {
        self.shared.marks().failure.clone()
    }
}
