//! Collects what a journal holds into batches for a sink.
//!
//! A batch is whole transactions, copied out of the reader's buffer so that many small frames make one batch. Invariant:
//! `end` is one past the last change that was looked at, wanted or not, so that progress never stands still.

use crate::intake::{damaged, journal_error};
use crate::options::TableFilter;
use crate::schemas;
use headwater_journal::{Frame, Item, Reader};
use headwater_model::change::Changes;
use headwater_model::limits::{BATCH_BYTES_MAX, BATCH_CHANGES_MAX};
use headwater_model::sink::Event;
use headwater_model::transaction::TransactionView;
use headwater_model::{Error, Result, Schema, TransactionHeader};
use std::collections::HashMap;
use std::sync::Arc;

/// Every schema that the journal has named so far, and whether the follower wants its table.
pub struct Schemas {
    known: HashMap<u32, (Arc<Schema>, bool)>,
    filter: TableFilter,
}

impl Schemas {
    /// With the schemas that are valid where `reader` stands.
    pub fn new(filter: TableFilter, reader: &Reader) -> Result<Self> {
        let mut known = Schemas { known: HashMap::new(), filter };
        known.add(schemas::in_heads(reader.heads()))?;
        Ok(known)
    }

    /// Whether the table of this schema is wanted; `None`: the journal has never named it.
    #[inline]
    fn wants(&self, id: u32) -> Option<bool> {
        self.known.get(&id).map(|(_, wanted)| *wanted)
    }

    /// The schema with this id, if its table is wanted.
    #[inline]
    pub fn wanted(&self, id: u32) -> Option<&Arc<Schema>> {
        self.known.get(&id).filter(|(_, wanted)| *wanted).map(|(schema, _)| schema)
    }

    fn add(&mut self, mut schemas: impl Iterator<Item = Result<Schema>>) -> Result<()> {
        schemas.try_for_each(|schema| {
            let schema = schema?;
            let wanted = (self.filter)(&schema);
            self.known.insert(schema.id, (Arc::new(schema), wanted));
            Ok(())
        })
    }
}

/// Transactions on their way to a sink; reused from batch to batch.
#[derive(Default)]
pub struct Collected {
    bytes: Vec<u8>,
    transactions: Vec<Place>,
    changes: usize,
    /// One past the last change collected.
    pub end: u64,
}

/// Where a transaction, or a part of a large one, lies in `bytes`.
struct Place {
    first_sequence: u64,
    /// When it was written, microseconds since the epoch.
    written_us: i64,
    header: (usize, usize),
    items: (usize, usize),
}

impl Collected {
    /// Forgets everything; the next batch begins at `from`.
    pub fn clear(&mut self, from: u64) {
        self.bytes.clear();
        // A part of a large transaction is much larger than a batch; with many followers that would add up.
        self.bytes.shrink_to(2 * BATCH_BYTES_MAX);
        self.transactions.clear();
        self.changes = 0;
        self.end = from;
    }

    /// Takes from `reader` all that is there at once, up to a batch's limits.
    pub fn fill(&mut self, reader: &mut Reader, schemas: &mut Schemas) -> Result<()> {
        while self.bytes.len() < BATCH_BYTES_MAX && self.changes < BATCH_CHANGES_MAX {
            match reader.next().map_err(journal_error)? {
                None => break,
                Some(Item::Frame(frame)) => self.add_frame(&frame, schemas)?,
                Some(Item::Part(part)) => {
                    // Not only at the first part: a reader may begin at a later one.
                    schemas.add(schemas::in_frame(&part.frame))?;
                    let written_us = part.frame.time_us as i64;
                    self.add(part.first_sequence, part.changes, written_us, part.header, part.body);
                }
            }
        }
        Ok(())
    }

    fn add_frame(&mut self, frame: &Frame<'_>, schemas: &mut Schemas) -> Result<()> {
        schemas.add(schemas::in_frame(frame))?;
        let written_us = frame.time_us as i64;
        for transaction in frame.transactions() {
            // A frame may begin before the sequence that the reader was opened at.
            let past = transaction.first_sequence + u64::from(transaction.changes) <= self.end;
            if transaction.changes > 0 && !past {
                self.add(transaction.first_sequence, transaction.changes, written_us, transaction.body, &[]);
            }
        }
        Ok(())
    }

    fn add(&mut self, first_sequence: u64, changes: u32, written_us: i64, header: &[u8], items: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(header);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(items);
        let end = self.bytes.len();
        self.transactions.push(Place { first_sequence, written_us, header: (start, middle), items: (middle, end) });
        self.changes += changes as usize;
        self.end = self.end.max(first_sequence + u64::from(changes));
    }

    /// When the change with this sequence was written, microseconds since the epoch.
    pub fn written_us(&self, sequence: u64) -> i64 {
        let after = self.transactions.partition_point(|place| place.first_sequence <= sequence);
        after.checked_sub(1).map_or(0, |at| self.transactions[at].written_us)
    }

    /// The headers, which the events will borrow.
    pub fn headers(&self) -> Result<Vec<TransactionHeader<'_>>> {
        let view = |place: &Place| TransactionView::decode(&self.bytes[place.header.0..place.header.1]);
        self.transactions.iter().map(|place| Ok(view(place).map_err(damaged)?.header)).collect()
    }

    /// The changes from `from` on whose tables are wanted.
    pub fn events<'a>(
        &'a self,
        from: u64,
        headers: &'a [TransactionHeader<'a>],
        schemas: &'a Schemas,
    ) -> Result<Vec<Event<'a>>> {
        let mut events = Vec::with_capacity(self.changes);
        for (place, header) in self.transactions.iter().zip(headers) {
            let changes = match place.items.0 == place.items.1 {
                true => {
                    TransactionView::decode(&self.bytes[place.header.0..place.header.1]).map_err(damaged)?.changes()
                }
                false => Changes::new(&self.bytes[place.items.0..place.items.1]),
            };
            collect(changes, place.first_sequence, from, header, schemas, &mut events)?;
        }
        Ok(events)
    }
}

fn collect<'a>(
    mut changes: Changes<'a>,
    first_sequence: u64,
    from: u64,
    header: &'a TransactionHeader<'a>,
    schemas: &'a Schemas,
    events: &mut Vec<Event<'a>>,
) -> Result<()> {
    let mut sequence = first_sequence;
    loop {
        let mut skipped = 0;
        let mut unknown = None;
        let is_wanted = |schema| {
            schemas.wants(schema).unwrap_or_else(|| {
                unknown = Some(schema);
                false
            })
        };
        let next = changes.next_wanted(&mut skipped, is_wanted).map_err(damaged)?;
        sequence += skipped;
        if let Some(schema) = unknown {
            return Err(Error::stop(format!("a change before sequence {sequence} refers to schema {schema}"))
                .detail("The journal has never named it.")
                .hint("This is a defect; please report it with the output of `headwater journal verify`."));
        }
        let Some(change) = next else { return Ok(()) };
        if let Some(schema) = schemas.wanted(change.schema).filter(|_| sequence >= from) {
            events.push(Event { sequence, change, schema, header });
        }
        sequence += 1;
    }
}
