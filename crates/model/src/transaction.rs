//! A whole transaction: how a source builds one, and how a reader sees it.
//!
//! Invariant: a body is a length-prefixed header and then items, so the header can be read without the changes, and the
//! items of a transaction too large for memory can stand elsewhere, in parts that begin at an item.

use crate::change::{
    Change, Changes, Damaged, Message, Op, SnapshotMarker, begin_change, begin_read_again, end_item, put_marker,
    put_message, put_statement,
};
use crate::header::TransactionHeader;
use crate::row::Row;
use crate::varint::{put_u64, take_bytes};

/// How many changes of each sort a transaction holds for one schema: all that numbering its topic records needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The schema; 0 for messages.
    pub schema: u32,
    /// Creates.
    pub creates: u32,
    /// Rows read by a snapshot.
    pub reads: u32,
    /// Updates that keep the key.
    pub updates: u32,
    /// Deletes.
    pub deletes: u32,
    /// Updates that change the key.
    pub key_changes: u32,
    /// Truncates.
    pub truncates: u32,
    /// Messages.
    pub messages: u32,
}

/// Collects the changes of a transaction; reused from one to the next, so that a steady stream allocates nothing.
#[derive(Debug, Default)]
pub struct TransactionBuilder {
    items: Vec<u8>,
    open: Option<usize>,
    changes: u32,
    tallies: Vec<Tally>,
    is_partial: bool,
}

impl TransactionBuilder {
    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.items.clear();
        self.open = None;
        self.changes = 0;
        self.tallies.clear();
        self.is_partial = false;
    }

    /// Says that there are changes of a table of whose old rows, or unchanged values, the log does not carry all.
    pub fn set_partial(&mut self) {
        self.is_partial = true;
    }

    /// Whether the log carries less than all of the rows of a table that is changed here.
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Appends a change again, with these rows. `key_changed` as for [`Self::end`].
    pub fn copy(&mut self, change: &Change<'_>, rows: [Option<Row<'_>>; 2], key_changed: bool) {
        if let Some(message) = &change.message {
            return self.message(change.place, message);
        }
        let out = match change.marker {
            Some(marker) if change.op == Op::Update => self.begin_read_again(change.schema, change.row, marker),
            Some(marker) => self.begin_read(change.schema, change.row, marker),
            None => self.begin(change.op, change.schema, change.place, change.row),
        };
        rows.into_iter().flatten().for_each(|row| row.encode(out));
        self.end(if change.marker.is_some() { Op::Read } else { change.op }, change.schema, key_changed);
    }

    /// Appends the statement that made the changes that follow.
    pub fn statement(&mut self, text: &str) {
        put_statement(&mut self.items, text);
    }

    /// Begins a change and gives the buffer for its rows: before for updates and deletes, then after for creates,
    /// updates and reads. Call [`Self::end`] when they are written.
    #[inline]
    pub fn begin(&mut self, op: Op, schema: u32, place: u64, row: u32) -> &mut Vec<u8> {
        debug_assert!(self.open.is_none(), "a change was begun before the last one was ended");
        self.open = Some(begin_change(&mut self.items, op, schema, place, row));
        &mut self.items
    }

    /// Begins a row read by a snapshot.
    pub fn begin_read(&mut self, schema: u32, row: u32, marker: SnapshotMarker) -> &mut Vec<u8> {
        self.begin(Op::Read, schema, 0, row);
        put_marker(&mut self.items, marker);
        &mut self.items
    }

    /// Begins a row that was known, read again by a further snapshot: before and after follow. It counts as a read.
    pub fn begin_read_again(&mut self, schema: u32, row: u32, marker: SnapshotMarker) -> &mut Vec<u8> {
        debug_assert!(self.open.is_none(), "a change was begun before the last one was ended");
        self.open = Some(begin_read_again(&mut self.items, schema, row));
        put_marker(&mut self.items, marker);
        &mut self.items
    }

    /// Appends a message that stands at `place` of the log.
    pub fn message(&mut self, place: u64, message: &Message<'_>) {
        self.begin(Op::Message, 0, place, 0);
        put_message(&mut self.items, message);
        self.end(Op::Message, 0, false);
    }

    /// Ends the change that was begun. `key_changed`: an update after which the row has another key.
    #[inline]
    pub fn end(&mut self, op: Op, schema: u32, key_changed: bool) {
        let Some(start) = self.open.take() else {
            debug_assert!(false, "no change was begun");
            return;
        };
        end_item(&mut self.items, start);
        self.changes += 1;
        let tally = match self.tallies.last_mut() {
            Some(last) if last.schema == schema => last,
            _ => {
                self.tallies.push(Tally { schema, ..Tally::default() });
                self.tallies.last_mut().expect("one was just pushed")
            }
        };
        match op {
            Op::Create => tally.creates += 1,
            Op::Read => tally.reads += 1,
            Op::Update if key_changed => tally.key_changes += 1,
            Op::Update => tally.updates += 1,
            Op::Delete => tally.deletes += 1,
            Op::Truncate => tally.truncates += 1,
            Op::Message => tally.messages += 1,
        }
    }

    /// Takes back the change that was begun, after a decode error or a filter.
    pub fn abandon(&mut self) {
        if let Some(start) = self.open.take() {
            self.items.truncate(start);
        }
    }

    /// Bytes of the changes so far.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing was put in.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Number of changes.
    pub fn changes(&self) -> u32 {
        self.changes
    }

    /// Counts by schema; a schema may stand more than once.
    pub fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    /// The items alone, for a part of a large transaction.
    pub fn items(&self) -> &[u8] {
        &self.items
    }
}

/// Appends a transaction's header in the form that bodies begin with.
pub fn put_header(out: &mut Vec<u8>, header: &TransactionHeader<'_>) {
    let start = out.len();
    header.encode(out);
    let length = out.len() - start;
    put_u64(out, length as u64);
    // The length comes first: it is at most three bytes, so moving it is cheaper than encoding twice.
    let prefix = out.len() - start - length;
    out[start..].rotate_right(prefix);
}

/// A transaction borrowed from a journal frame.
#[derive(Clone)]
pub struct TransactionView<'a> {
    /// Who, when, where.
    pub header: TransactionHeader<'a>,
    items: &'a [u8],
}

impl<'a> TransactionView<'a> {
    /// Reads the header of a body; the changes are read as they are asked for.
    pub fn decode(mut body: &'a [u8]) -> Result<Self, Damaged> {
        let mut header = take_bytes(&mut body).ok_or(Damaged)?;
        let header = TransactionHeader::decode(&mut header).ok_or(Damaged)?;
        Ok(TransactionView { header, items: body })
    }

    /// The changes, in order.
    pub fn changes(&self) -> Changes<'a> {
        Changes::new(self.items)
    }
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
