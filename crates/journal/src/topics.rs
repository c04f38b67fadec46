//! Numbers given out by the writer: the next sequence, and the next offset of every topic and partition.
//!
//! Invariant: numbers are given once, in append order, and are a function of the entries alone. Start at [`Numbers`].

use crate::error::{Error, Result};
use crate::frame::OffsetRange;
use crate::heads::{Topic, TopicId};
use crate::options::{PARTITIONS_ALL_MAX, PARTITIONS_MAX};

/// How many offsets an entry takes in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// The topic, as [`crate::Writer::topic`] gave it.
    pub topic: TopicId,
    /// The partition, below the topic's count.
    pub partition: u32,
    /// How many.
    pub count: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Partition {
    next: u64,
    /// Row in the table of the pending frame; only meaningful while `frame` is the pending one.
    slot: u32,
    frame: u64,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    base: u32,
    partitions: u32,
}

/// The numbers of one journal. Lookups are two array accesses; nothing is hashed on the hot path.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    pub next_sequence: u64,
    spans: Vec<Span>,
    partitions: Vec<Partition>,
    /// Distinguishes pending frames from each other.
    frame: u64,
}

impl Numbers {
    pub fn new(next_sequence: u64, topics: &[Topic]) -> Self {
        let mut numbers = Numbers { next_sequence, spans: Vec::new(), partitions: Vec::new(), frame: 1 };
        topics.iter().for_each(|topic| numbers.set_topic(topic));
        numbers
    }

    /// Adds a topic, or gives it more partitions.
    pub fn set_topic(&mut self, topic: &Topic) {
        let base = self.partitions.len() as u32;
        let span = Span { base, partitions: topic.partitions };
        let slot = topic.id.0 as usize;
        if slot == self.spans.len() {
            self.spans.push(span);
            self.partitions.resize(base as usize + topic.partitions as usize, Partition::default());
        } else if let Some(old) = self.spans.get(slot).copied().filter(|old| old.partitions < topic.partitions) {
            // Partitions of a topic lie side by side, so a topic that grows moves to the end.
            let range = old.base as usize..(old.base + old.partitions) as usize;
            self.partitions.extend_from_within(range);
            self.partitions.resize(base as usize + topic.partitions as usize, Partition::default());
            self.spans[slot] = span;
        }
    }

    fn find(&self, topic: TopicId, partition: u32) -> Option<usize> {
        let span = self.spans.get(topic.0 as usize)?;
        (partition < span.partitions).then_some(span.base as usize + partition as usize)
    }

    pub fn next_offset(&self, topic: TopicId, partition: u32) -> u64 {
        self.find(topic, partition).map_or(0, |slot| self.partitions[slot].next)
    }

    /// Sets the next offset, as a recovered frame says it.
    pub fn recover(&mut self, range: OffsetRange) {
        if let Some(slot) = self.find(range.topic, range.partition) {
            self.partitions[slot].next = range.first + u64::from(range.count);
        }
    }

    /// Refuses partitions that do not exist, before anything is changed.
    pub fn check(&self, offsets: &[Offsets]) -> Result<()> {
        match offsets.iter().find(|wanted| self.find(wanted.topic, wanted.partition).is_none()) {
            None => Ok(()),
            Some(wanted) => Err(Error::Invalid(format!(
                "topic {} has no partition {}: register it first",
                wanted.topic.0, wanted.partition
            ))),
        }
    }

    /// Takes `count` offsets and writes (row of the frame's table, place relative to the row's first, count) to
    /// `directory`; the row is added when the pending frame has none for this partition.
    #[inline]
    pub fn take(&mut self, wanted: &Offsets, table: &mut Vec<OffsetRange>, directory: &mut Vec<u8>) {
        let Some(place) = self.find(wanted.topic, wanted.partition) else { return };
        let partition = &mut self.partitions[place];
        if partition.frame != self.frame {
            partition.frame = self.frame;
            partition.slot = table.len() as u32;
            table.push(OffsetRange {
                topic: wanted.topic,
                partition: wanted.partition,
                first: partition.next,
                count: 0,
            });
        }
        let row = &mut table[partition.slot as usize];
        directory.extend_from_slice(&partition.slot.to_le_bytes());
        directory.extend_from_slice(&row.count.to_le_bytes());
        directory.extend_from_slice(&wanted.count.to_le_bytes());
        row.count += wanted.count;
        partition.next += u64::from(wanted.count);
    }

    /// Begins another frame: rows of the old table are forgotten.
    pub fn begin_frame(&mut self) {
        self.frame += 1;
    }

    /// Next offsets of all partitions, for a segment's head.
    pub fn all(&self) -> impl Iterator<Item = OffsetRange> + '_ {
        self.spans.iter().enumerate().flat_map(move |(topic, span)| {
            (0..span.partitions).map(move |partition| OffsetRange {
                topic: TopicId(topic as u32),
                partition,
                first: self.partitions[(span.base + partition) as usize].next,
                count: 0,
            })
        })
    }
}

/// Partitions of `topics` together.
pub(crate) fn partitions_of<'a>(topics: impl IntoIterator<Item = &'a Topic>) -> u64 {
    topics.into_iter().map(|topic| u64::from(topic.partitions)).sum()
}

/// Checks a registration against what is there: `Ok(None)` when nothing changes.
pub(crate) fn register(topics: &[Topic], name: &str, partitions: u32) -> Result<(TopicId, Option<Topic>)> {
    if partitions == 0 || partitions > PARTITIONS_MAX {
        return Err(Error::Invalid(format!("topic {name:?} cannot have {partitions} partitions")));
    }
    let others = topics.iter().filter(|topic| topic.name != name);
    if partitions_of(others) + u64::from(partitions) > PARTITIONS_ALL_MAX {
        return Err(Error::Invalid(format!(
            "no room for the {partitions} partitions of topic {name:?}: a journal has at most {PARTITIONS_ALL_MAX}"
        )));
    }
    match topics.iter().find(|topic| topic.name == name) {
        Some(topic) if topic.partitions == partitions => Ok((topic.id, None)),
        Some(topic) if topic.partitions > partitions => Err(Error::Invalid(format!(
            "topic {name:?} has {} partitions and cannot shrink to {partitions}",
            topic.partitions
        ))),
        Some(topic) => Ok((topic.id, Some(Topic { partitions, ..topic.clone() }))),
        None => {
            let id = TopicId(topics.len() as u32);
            Ok((id, Some(Topic { id, name: name.to_owned(), partitions })))
        }
    }
}
