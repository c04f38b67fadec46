//! Records: the buffer that they are written into, and what a record is made of.
//!
//! Invariant: [`Records`] keeps its memory from one change to the next, so that a steady stream allocates nothing. Start
//! at [`Records`].

use super::source::Common;
use headwater_model::{Change, TransactionHeader};
use std::ops::Range;
use std::sync::Arc;

/// The records of one change, or of several; reused.
#[derive(Debug, Default)]
pub struct Records {
    bytes: Vec<u8>,
    records: Vec<Spans>,
    headers: Vec<HeaderSpan>,
    /// Those that records have in common. They stay, because the next records will have them, too.
    contexts: Vec<Arc<Context>>,
    /// What the records of one transaction have in common.
    common: Common,
}

/// Headers that all records of a source have, with their values.
#[derive(Debug, Default)]
pub(crate) struct Context(pub Vec<(String, Vec<u8>)>);

/// Contexts that are kept at most; those of more sources than write into one buffer.
const CONTEXTS_KEPT_MAX: usize = 16;

/// One record, borrowed from [`Records`].
#[derive(Clone, Copy)]
pub struct Record<'a> {
    records: &'a Records,
    spans: &'a Spans,
}

/// Where a change stands, as far as its records tell.
#[derive(Debug)]
pub struct Place<'a> {
    /// Its transaction.
    pub header: &'a TransactionHeader<'a>,
    /// How many records the transaction made before it; with `provide.transaction.metadata` alone.
    pub order: Option<Order>,
}

/// The place of a record in its transaction; counted on with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Records of the transaction so far.
    pub total: u64,
    /// Records of this table among them.
    pub of_table: u64,
}

/// A change with all that its records show.
pub(crate) struct Event<'a, 'b> {
    pub change: &'a Change<'b>,
    pub header: &'a TransactionHeader<'a>,
    /// Of this record; counting from 1.
    pub order: Option<Order>,
    pub op: &'static str,
}

#[derive(Clone, Debug, Default)]
struct Spans {
    topic: Option<Arc<str>>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
    /// Where among them the context's headers stand, and whose they are.
    context: Option<(usize, usize)>,
}

#[derive(Clone, Debug)]
struct HeaderSpan {
    name: Arc<str>,
    value: Option<Range<usize>>,
}

impl Records {
    /// Forgets the records, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.headers.clear();
        if self.contexts.len() > CONTEXTS_KEPT_MAX {
            self.contexts.clear();
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The records, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        self.records.iter().map(|spans| Record { records: self, spans })
    }

    /// Begins a record; its parts follow.
    pub(crate) fn begin(&mut self) {
        let at = self.headers.len();
        self.records.push(Spans { headers: at..at, ..Spans::default() });
    }

    pub(crate) fn key(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let range = self.written(write);
        if let Some(record) = self.records.last_mut() {
            record.key = Some(range);
        }
    }

    pub(crate) fn value(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let range = self.written(write);
        if let Some(record) = self.records.last_mut() {
            record.value = Some(range);
        }
    }

    /// A value that shows where in the log its change stands.
    pub(crate) fn placed_value(&mut self, write: impl FnOnce(&mut Vec<u8>, &mut Common)) {
        let start = self.bytes.len();
        write(&mut self.bytes, &mut self.common);
        if let Some(record) = self.records.last_mut() {
            record.value = Some(start..self.bytes.len());
        }
    }

    pub(crate) fn header(&mut self, name: &Arc<str>, write: Option<impl FnOnce(&mut Vec<u8>)>) {
        let value = write.map(|write| self.written(write));
        self.headers.push(HeaderSpan { name: Arc::clone(name), value });
        if let Some(record) = self.records.last_mut() {
            record.headers.end = self.headers.len();
        }
    }

    /// Puts the headers of a context here.
    pub(crate) fn context(&mut self, context: &Arc<Context>) {
        if context.0.is_empty() {
            return;
        }
        let known = self.contexts.iter().rposition(|known| Arc::ptr_eq(known, context));
        let place = known.unwrap_or_else(|| {
            self.contexts.push(Arc::clone(context));
            self.contexts.len() - 1
        });
        if let Some(record) = self.records.last_mut() {
            record.context = Some((self.headers.len(), place));
        }
    }

    pub(crate) fn topic(&mut self, topic: &Arc<str>) {
        if let Some(record) = self.records.last_mut() {
            record.topic = Some(Arc::clone(topic));
        }
    }

    fn written(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
        let start = self.bytes.len();
        write(&mut self.bytes);
        start..self.bytes.len()
    }
}

impl<'a> Record<'a> {
    /// Its topic, where it is not the table's.
    pub fn topic(&self) -> Option<&'a str> {
        self.spans.topic.as_deref()
    }

    /// Its key; `None` for a null key.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.part(&self.spans.key)
    }

    /// Its value; `None` for a tombstone.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.part(&self.spans.value)
    }

    /// Its headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        let records = self.records;
        let Range { start, end } = self.spans.headers;
        let (split, context) = match self.spans.context {
            Some((split, place)) => (split, records.contexts[place].0.as_slice()),
            None => (end, [].as_slice()),
        };
        let own = |range: Range<usize>| {
            let values = |header: &'a HeaderSpan| header.value.clone().map(|range| &records.bytes[range]);
            records.headers[range].iter().map(move |header| (&*header.name, values(header)))
        };
        let context = context.iter().map(|(name, value)| (name.as_str(), Some(value.as_slice())));
        own(start..split).chain(context).chain(own(split..end))
    }

    fn part(&self, range: &Option<Range<usize>>) -> Option<&'a [u8]> {
        range.clone().map(|range| &self.records.bytes[range])
    }
}

impl Order {
    /// Counts one more record.
    pub(crate) fn next(&mut self) -> Order {
        self.total += 1;
        self.of_table += 1;
        *self
    }
}
