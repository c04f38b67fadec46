//! Heads: named state (schemas, configurations, catalog, progress) and topics, that change atomically with a frame.
//!
//! Invariant: applying a frame's updates in order to the heads of its segment gives the heads after that frame. Start
//! at [`Heads`].
//!
//! On disk an update is: space u8 (0 head, 1 topic), key length u32, value length u32 (all ones: removed), key, value.

use crate::cursor::{Cursor, put_u32};
use crate::options::PARTITIONS_MAX;
use std::collections::BTreeMap;
use std::sync::Arc;

const SPACE_HEAD: u8 = 0;
const SPACE_TOPIC: u8 = 1;
const REMOVED: u32 = u32::MAX;

/// One update of named state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Its name.
    pub key: &'a [u8],
    /// Its new content; `None` removes it.
    pub value: Option<&'a [u8]>,
}

/// A topic's number in one journal, dense from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u32);

/// A registered topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its number.
    pub id: TopicId,
    /// Its name.
    pub name: String,
    /// How many partitions it has; may grow, never shrinks.
    pub partitions: u32,
}

/// All named state at one point of the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    entries: BTreeMap<Arc<[u8]>, Arc<[u8]>>,
    topics: Vec<Topic>,
}

impl Heads {
    /// The content of `key`.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(key).map(|value| &**value)
    }

    /// All, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Those whose key begins with `prefix`, in order.
    pub fn range<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.entries
            .range::<[u8], _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (&**key, &**value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Topics by number.
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    pub(crate) fn set(&mut self, head: Head<'_>) {
        match head.value {
            Some(value) => drop(self.entries.insert(head.key.into(), value.into())),
            None => drop(self.entries.remove(head.key)),
        }
    }

    pub(crate) fn set_topic(&mut self, topic: Topic) {
        let slot = topic.id.0 as usize;
        // Numbers are dense and given in order; a gap cannot pass the checksum of a frame we wrote.
        if slot == self.topics.len() {
            self.topics.push(topic);
        } else if let Some(old) = self.topics.get_mut(slot) {
            *old = topic;
        }
    }

    /// Applies the updates section of a frame.
    pub(crate) fn apply(&mut self, updates: Updates<'_>) {
        for update in updates {
            match update {
                Update::Head(head) => self.set(head),
                Update::Topic(topic) => self.set_topic(topic),
            }
        }
    }

    /// All of it as updates, for a segment's head.
    pub(crate) fn put_all(&self, out: &mut Vec<u8>) {
        for topic in &self.topics {
            put_topic(out, topic);
        }
        for (key, value) in self.iter() {
            put_head(out, Head { key, value: Some(value) });
        }
    }
}

/// One update as it stands in a frame.
#[derive(Clone, Debug)]
pub(crate) enum Update<'a> {
    Head(Head<'a>),
    Topic(Topic),
}

/// Iterates over a checked updates section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Updates<'a>(Cursor<'a>);

impl<'a> Updates<'a> {
    /// Checks that `section` is whole; `None` when it is not.
    pub fn checked(section: &'a [u8]) -> Option<Self> {
        let mut walk = Cursor(section);
        while !walk.0.is_empty() {
            take_update(&mut walk)?;
        }
        Some(Updates(Cursor(section)))
    }

    pub fn empty() -> Self {
        Updates(Cursor(&[]))
    }
}

impl<'a> Iterator for Updates<'a> {
    type Item = Update<'a>;

    fn next(&mut self) -> Option<Update<'a>> {
        if self.0.0.is_empty() { None } else { take_update(&mut self.0) }
    }
}

fn take_update<'a>(cursor: &mut Cursor<'a>) -> Option<Update<'a>> {
    let space = cursor.u8()?;
    let key_length = cursor.u32()?;
    let value_length = cursor.u32()?;
    let key = cursor.bytes(key_length as usize)?;
    let value = match value_length {
        REMOVED => None,
        length => Some(cursor.bytes(length as usize)?),
    };
    match (space, value) {
        (SPACE_HEAD, value) => Some(Update::Head(Head { key, value })),
        (SPACE_TOPIC, Some(value)) => {
            let mut value = Cursor(value);
            let id = TopicId(u32::from_le_bytes(key.try_into().ok()?));
            let partitions = value.u32()?;
            if !(1..=PARTITIONS_MAX).contains(&partitions) {
                return None;
            }
            let name = std::str::from_utf8(value.0).ok()?.to_owned();
            Some(Update::Topic(Topic { id, name, partitions }))
        }
        _ => None,
    }
}

pub(crate) fn put_head(out: &mut Vec<u8>, head: Head<'_>) {
    out.push(SPACE_HEAD);
    put_u32(out, head.key.len() as u32);
    put_u32(out, head.value.map_or(REMOVED, |value| value.len() as u32));
    out.extend_from_slice(head.key);
    out.extend_from_slice(head.value.unwrap_or_default());
}

pub(crate) fn put_topic(out: &mut Vec<u8>, topic: &Topic) {
    out.push(SPACE_TOPIC);
    put_u32(out, 4);
    put_u32(out, 4 + topic.name.len() as u32);
    put_u32(out, topic.id.0);
    put_u32(out, topic.partitions);
    out.extend_from_slice(topic.name.as_bytes());
}
