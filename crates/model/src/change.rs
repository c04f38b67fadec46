//! One change of one row, as it stands in a transaction's body.
//!
//! Layout: `length u32 LE` (of what follows), `kind u8`, `schema id`, `place in the log`, `row number` (varints), then
//! for a read its marker, then the rows: before (update, delete, what is read again), after (create, update, read). A reader that does not
//! follow the table skips the change by its length. A message has its flag, prefix and content in place of rows. Statements (`ROWS_QUERY`) stand between changes in the same form.

use crate::row::Row;
use crate::varint::{put_bytes, put_u64, take, take_array, take_bytes, take_str, take_u64};

/// What happened to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Inserted.
    Create,
    /// Updated; both images are there.
    Update,
    /// Deleted.
    Delete,
    /// Read by a snapshot.
    Read,
    /// The whole table was truncated.
    Truncate,
    /// No row: a message that was written into the log itself.
    Message,
}

/// A message that a client wrote into the log (PostgreSQL's `pg_logical_emit_message`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Whose message it is.
    pub prefix: &'a str,
    /// What it says.
    pub content: &'a [u8],
    /// Whether it was part of a transaction, or stands even if its transaction was rolled back.
    pub transactional: bool,
}

/// Which row of a snapshot this is; Debezium's `source.snapshot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotMarker {
    /// The first of the snapshot.
    First,
    /// The first of its table.
    FirstInDataCollection,
    /// Any other.
    True,
    /// The last of its table.
    LastInDataCollection,
    /// The last of the snapshot.
    Last,
    /// Of an incremental snapshot.
    Incremental,
}

/// A change, borrowed from a journal frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change<'a> {
    /// What happened.
    pub op: Op,
    /// The shape of its rows; 0 for a message, which has none.
    pub schema: u32,
    /// Byte position of the event it came in, within the transaction's log file, or its LSN; 0 for snapshots.
    pub place: u64,
    /// Number of the row within that event.
    pub row: u32,
    /// The statement that made it, when the log carries statements.
    pub statement: Option<&'a str>,
    /// For reads: which row of the snapshot. An update that has one is a row that a further snapshot read, and that was
    /// known already.
    pub marker: Option<SnapshotMarker>,
    /// The row as it was: updates and deletes.
    pub before: Option<Row<'a>>,
    /// The row as it is: creates, updates and reads.
    pub after: Option<Row<'a>>,
    /// Of [`Op::Message`] alone.
    pub message: Option<Message<'a>>,
}

impl Change<'_> {
    /// The change with what the log itself carried of its rows.
    pub fn as_logged(self) -> Self {
        Change { before: self.before.map(Row::as_logged), after: self.after.map(Row::as_logged), ..self }
    }
}

/// The row number of a truncate that no TRUNCATE wrote: the table was dropped or replaced, or a restart has emptied it.
pub const IMPLIED_TRUNCATE_ROW: u32 = u32::MAX;

/// Kind bytes of items. Part of the journal's format: numbers are never reused.
pub(crate) mod kind {
    pub const CREATE: u8 = 1;
    pub const UPDATE: u8 = 2;
    pub const DELETE: u8 = 3;
    pub const READ: u8 = 4;
    pub const TRUNCATE: u8 = 5;
    pub const MESSAGE: u8 = 6;
    /// A row that was known, read again by a further snapshot.
    pub const READ_AGAIN: u8 = 7;
    pub const STATEMENT: u8 = 16;
}

const MARKERS: [SnapshotMarker; 6] = [
    SnapshotMarker::First,
    SnapshotMarker::FirstInDataCollection,
    SnapshotMarker::True,
    SnapshotMarker::LastInDataCollection,
    SnapshotMarker::Last,
    SnapshotMarker::Incremental,
];

impl Op {
    fn kind(self) -> u8 {
        match self {
            Op::Create => kind::CREATE,
            Op::Update => kind::UPDATE,
            Op::Delete => kind::DELETE,
            Op::Read => kind::READ,
            Op::Truncate => kind::TRUNCATE,
            Op::Message => kind::MESSAGE,
        }
    }

    fn of_kind(byte: u8) -> Option<Op> {
        Some(match byte {
            kind::CREATE => Op::Create,
            kind::UPDATE => Op::Update,
            kind::DELETE => Op::Delete,
            kind::READ => Op::Read,
            kind::TRUNCATE => Op::Truncate,
            kind::MESSAGE => Op::Message,
            kind::READ_AGAIN => Op::Update,
            _ => return None,
        })
    }

    /// Debezium's one-letter name: c, u, d, r, t, m.
    pub fn letter(self) -> &'static str {
        match self {
            Op::Create => "c",
            Op::Update => "u",
            Op::Delete => "d",
            Op::Read => "r",
            Op::Truncate => "t",
            Op::Message => "m",
        }
    }
}

impl<'a> Change<'a> {
    /// The change as Debezium tells it: a row that a further snapshot read is one that was read, whatever was known of it.
    pub fn told(&self) -> Change<'a> {
        match self.marker.is_some() {
            true => Change { op: Op::Read, before: None, ..*self },
            false => *self,
        }
    }
}

/// Begins a change at the end of `out`; rows follow, then [`end_item`] with what this answers.
#[inline]
pub(crate) fn begin_change(out: &mut Vec<u8>, op: Op, schema: u32, place: u64, row: u32) -> usize {
    begin_kind(out, op.kind(), schema, place, row)
}

/// The same, for a row that is read again; its marker follows, then both rows.
pub(crate) fn begin_read_again(out: &mut Vec<u8>, schema: u32, row: u32) -> usize {
    begin_kind(out, kind::READ_AGAIN, schema, 0, row)
}

#[inline]
fn begin_kind(out: &mut Vec<u8>, kind: u8, schema: u32, place: u64, row: u32) -> usize {
    let start = begin_item(out, kind);
    put_u64(out, u64::from(schema));
    put_u64(out, place);
    put_u64(out, u64::from(row));
    start
}

pub(crate) fn put_marker(out: &mut Vec<u8>, marker: SnapshotMarker) {
    out.push(marker as u8);
}

pub(crate) fn put_message(out: &mut Vec<u8>, message: &Message<'_>) {
    out.push(u8::from(message.transactional));
    put_bytes(out, message.prefix.as_bytes());
    put_bytes(out, message.content);
}

/// Appends a statement that the changes after it, up to the next one, were made by.
pub(crate) fn put_statement(out: &mut Vec<u8>, text: &str) {
    let start = begin_item(out, kind::STATEMENT);
    put_bytes(out, text.as_bytes());
    end_item(out, start);
}

#[inline]
fn begin_item(out: &mut Vec<u8>, kind: u8) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    start
}

/// Fills in the length of the item that began at `start`.
#[inline]
pub(crate) fn end_item(out: &mut [u8], start: usize) {
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// The changes of a body, in order. Ends with `Err(Damaged)` when the bytes are not of this encoding.
#[derive(Clone)]
pub struct Changes<'a> {
    rest: &'a [u8],
    statement: Option<&'a str>,
}

/// The bytes are not changes: cut off, or of a later format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the body of a transaction cannot be read: it is damaged or of a later version; run `headwater journal verify`"
)]
pub struct Damaged;

impl<'a> Changes<'a> {
    /// Reads items from `bytes`, which begin at an item's start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Changes { rest: bytes, statement: None }
    }

    /// The next change whose schema `wanted` accepts; the others are skipped unread. `skipped` counts those.
    #[inline]
    pub fn next_wanted(
        &mut self,
        skipped: &mut u64,
        mut wanted: impl FnMut(u32) -> bool,
    ) -> Result<Option<Change<'a>>, Damaged> {
        while !self.rest.is_empty() {
            let length = take_array(&mut self.rest).map(u32::from_le_bytes).ok_or(Damaged)?;
            let mut item = take(&mut self.rest, length as usize).ok_or(Damaged)?;
            let kind = *item.split_off_first().ok_or(Damaged)?;
            if kind == kind::STATEMENT {
                self.statement = Some(take_str(&mut item).ok_or(Damaged)?);
                continue;
            }
            let op = Op::of_kind(kind).ok_or(Damaged)?;
            let schema = take_u64(&mut item).and_then(|id| u32::try_from(id).ok()).ok_or(Damaged)?;
            if !wanted(schema) {
                *skipped += 1;
                continue;
            }
            let is_read = matches!(kind, kind::READ | kind::READ_AGAIN);
            return read_change(op, schema, is_read, self.statement, item).ok_or(Damaged).map(Some);
        }
        Ok(None)
    }
}

impl<'a> Iterator for Changes<'a> {
    type Item = Result<Change<'a>, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        let change = self.next_wanted(&mut 0, |_| true).transpose();
        if matches!(change, Some(Err(_))) {
            self.rest = &[];
        }
        change
    }
}

fn read_change<'a>(
    op: Op,
    schema: u32,
    is_read: bool,
    statement: Option<&'a str>,
    mut item: &'a [u8],
) -> Option<Change<'a>> {
    let place = take_u64(&mut item)?;
    let row = u32::try_from(take_u64(&mut item)?).ok()?;
    let mut change =
        Change { op, schema, place, row, statement, marker: None, before: None, after: None, message: None };
    if is_read {
        change.marker = Some(*MARKERS.get(usize::from(*item.split_off_first()?))?);
    }
    if matches!(op, Op::Update | Op::Delete) {
        change.before = Some(Row::decode(&mut item)?);
    }
    if matches!(op, Op::Create | Op::Update | Op::Read) {
        change.after = Some(Row::decode(&mut item)?);
    }
    if op == Op::Message {
        let transactional = *item.split_off_first()? != 0;
        change.message = Some(Message { transactional, prefix: take_str(&mut item)?, content: take_bytes(&mut item)? });
    }
    item.is_empty().then_some(change)
}
