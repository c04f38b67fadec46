//! Makes what is read fit a journal that a snapshot has not finished filling.
//!
//! A change to a row that the journal does not hold yet cannot stand as it is: an update would take back a row that no
//! follower was ever given. So the first change to such a row becomes a create of its newest image, or, when it is a
//! delete, nothing at all; the chunk that reads the row later leaves it out. What the log does not carry of such an image
//! is asked of the server. A table that is read *again* is compared with the rows that the journal has of it, so that only
//! what differs is written. Invariant: for every follower the journal is a well-formed history, in which each row is
//! created before it is updated or deleted.

use super::keys::{KnownKeys, TooManyKeys};
use headwater_model::change::{Change, Changes, Damaged};
use headwater_model::source::{HeldRow, HeldRows};
use headwater_model::{Error, Op, Result, Row, RowWriter, Schema, SnapshotMarker, TransactionBuilder, Value};
use std::collections::{HashMap, HashSet};

/// What the stream must know of tables under snapshot.
#[derive(Default)]
pub struct Tables {
    /// Tables that are being read in chunks, by the shape in which chunks are read.
    underway: HashMap<u32, Underway>,
    /// The shapes in which their rows may come from the log.
    shapes: HashMap<u32, Shape>,
    /// Tables whose rows already hold the changes at hand.
    pub suppressed: HashSet<u32>,
}

/// A shape of a table under snapshot.
struct Shape {
    /// In which its chunks are read.
    of: u32,
    /// Where the key's columns stand.
    key: Vec<u16>,
}

/// A table under snapshot, as the stream sees it.
pub struct Underway {
    /// Rows that the journal holds as of this snapshot.
    pub known: KnownKeys,
    /// For a table that is read again: the rows that the journal held before.
    pub held: Option<Box<dyn HeldRows>>,
    /// A row that is read again is told as one that was read.
    tells_again: bool,
}

/// Completes a row of which the log does not carry all, by the number of its schema; `None`: it is no longer there.
pub type Completed<'c> = dyn FnMut(u32, &Row<'_>) -> Result<Option<Vec<u8>>> + 'c;

/// Copies the changes of `from` into `into`, rewriting those of tables under snapshot. `key_changed` is asked of updates.
pub fn rewrite(
    from: &TransactionBuilder,
    into: &mut TransactionBuilder,
    tables: &mut Tables,
    key_changed: &dyn Fn(&Change<'_>) -> bool,
    complete: &mut Completed<'_>,
) -> Result<()> {
    if from.is_partial() {
        into.set_partial();
    }
    let mut statement = None;
    let mut keys = Keys::default();
    for change in Changes::new(from.items()) {
        let change = change.map_err(unreadable)?;
        if change.statement != statement {
            statement = change.statement;
            statement.inspect(|text| into.statement(text));
        }
        if tables.suppressed.contains(&change.schema) {
            continue;
        }
        let shape = tables.shapes.get(&change.schema);
        match shape.and_then(|shape| Some((shape, tables.underway.get_mut(&shape.of)?))) {
            None => copy(&change, into, change.op, change.before, change.after, key_changed(&change)),
            Some((shape, table)) => {
                keys.read(&change, &shape.key);
                rewrite_one(&change, into, table, &keys, key_changed, complete)?;
            }
        }
    }
    Ok(())
}

impl Tables {
    /// A table whose chunks are read in this shape.
    pub fn insert(&mut self, schema: &Schema, table: Underway) {
        self.underway.insert(schema.id, table);
        self.also(schema.id, schema);
    }

    /// Rows of the table come in the shape `schema`, too.
    pub fn also(&mut self, of: u32, schema: &Schema) {
        self.shapes.insert(schema.id, Shape { of, key: schema.key.clone() });
    }

    /// The table whose chunks are read in the shape `id`.
    pub fn underway(&mut self, id: u32) -> Option<&mut Underway> {
        self.underway.get_mut(&id)
    }

    /// The table is no longer under snapshot, or not in this shape.
    pub fn remove(&mut self, id: u32) -> Option<Underway> {
        self.shapes.retain(|_, shape| shape.of != id);
        self.underway.remove(&id)
    }

    /// Whether a transaction touches a table under snapshot at all.
    pub fn concern(&self, changes: &TransactionBuilder) -> bool {
        let is_ours = |schema| self.shapes.contains_key(schema) || self.suppressed.contains(schema);
        changes.tallies().iter().any(|tally| is_ours(&tally.schema))
    }
}

impl Underway {
    /// Of which nothing is known yet. Its keys compare here as they do in the server (`is_ordered`), or do not.
    pub fn new(is_ordered: bool, held: Option<Box<dyn HeldRows>>, tells_again: bool) -> Self {
        Underway { known: KnownKeys::new(is_ordered), held, tells_again }
    }

    /// The stream, before a restart, wrote this row of the table, which had the shape `shape` then and has `present` now.
    pub fn touch(&mut self, row: &Row<'_>, shape: &Schema, present: &Schema) -> Result<()> {
        // An old row without its key is the same row as the new one.
        if !row.has(&shape.key) {
            return Ok(());
        }
        let mut key = Vec::new();
        row.encode_key(&shape.key, &mut key);
        self.known.touch(&key).map_err(too_many)?;
        if self.held.is_none() || shape.id == present.id {
            return self.take(Some(*row)).map(drop);
        }
        let values: Vec<Value<'_>> = row.values().collect();
        let mut bytes = Vec::new();
        let mut moved = RowWriter::begin(&mut bytes, present.columns.len());
        for column in &present.columns {
            let value = shape.column(&column.name).and_then(|(place, _)| values.get(place).copied());
            moved.put(value.unwrap_or(Value::Null));
        }
        drop(moved);
        self.take(Row::decode(&mut &bytes[..])).map(drop)
    }

    /// The row that the journal held before under the key of `row`.
    fn take(&mut self, row: Option<Row<'_>>) -> Result<Option<HeldRow>> {
        let (Some(held), Some(row)) = (&mut self.held, row) else { return Ok(None) };
        held.take(&row)?.map(|held| filled(held, Some(row))).transpose()
    }

    /// Writes a row that a chunk read: as new, as an update of the row that the journal held, or not at all when the two
    /// are the same.
    pub fn write_read(
        &mut self,
        row: &Row<'_>,
        schema: u32,
        marker: SnapshotMarker,
        into: &mut TransactionBuilder,
    ) -> Result<()> {
        let number = into.changes();
        match self.take(Some(*row))? {
            None => {
                let out = into.begin_read(schema, number, marker);
                row.encode(out);
                into.end(Op::Read, schema, false);
            }
            Some(held) if self.tells_again => {
                let out = into.begin_read_again(schema, number, marker);
                out.extend_from_slice(&held.row);
                row.encode(out);
                into.end(Op::Read, schema, false);
            }
            Some(held) => {
                let mut read = Vec::new();
                row.encode(&mut read);
                if held.row != read {
                    let out = into.begin(Op::Update, schema, 0, number);
                    out.extend_from_slice(&held.row);
                    out.extend_from_slice(&read);
                    into.end(Op::Update, schema, false);
                }
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Keys {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Keys {
    fn read(&mut self, change: &Change<'_>, key: &[u16]) {
        self.before.clear();
        self.after.clear();
        change.after.inspect(|row| row.encode_key(key, &mut self.after));
        match change.before {
            Some(row) if row.has(key) => row.encode_key(key, &mut self.before),
            // An old row without its key is the same row as the new one.
            _ => self.before.extend_from_slice(&self.after),
        }
    }
}

fn rewrite_one(
    change: &Change<'_>,
    into: &mut TransactionBuilder,
    table: &mut Underway,
    keys: &Keys,
    key_changed: &dyn Fn(&Change<'_>) -> bool,
    complete: &mut Completed<'_>,
) -> Result<()> {
    let (before, after) = (change.before, change.after);
    if change.op == Op::Truncate {
        copy(change, into, Op::Truncate, None, None, false);
        return Ok(());
    }
    let is_moved = keys.before != keys.after;
    // What the journal held under either key, if this is the first that is heard of it. Also where a chunk has been: it did
    // not name a row that was gone by then, and that row must not be taken for this one at the end.
    let was_known = before.is_some() && table.known.contains(&keys.before);
    let old = table.take(before.and(if is_moved || after.is_none() { before } else { after }))?;
    let in_the_way = table.take(after.filter(|_| before.is_none() || is_moved))?;
    let is_new = !was_known && old.is_none() && in_the_way.is_none();
    let mut completed = None;
    if let Some(row) = after.filter(|row| is_new && row.is_partial()) {
        completed = complete(change.schema, &row)?;
        if completed.is_none() {
            // It is gone by now, of which the log will tell; only a chunk that is older than this may know its old key.
            return if is_moved { table.known.touch(&keys.before).map_err(too_many) } else { Ok(()) };
        }
    }
    for key in [before.map(|_| &keys.before), after.map(|_| &keys.after)].into_iter().flatten() {
        table.known.touch(key).map_err(too_many)?;
    }
    let after = completed.as_ref().and_then(|row| Row::decode(&mut &row[..])).or(after);
    let old_row = old.as_ref().map(row_of).transpose()?;
    let stale = in_the_way.as_ref().map(row_of).transpose()?;
    let before = if was_known { before } else { old_row };
    match (before, after, stale) {
        (Some(before), Some(after), stale) => {
            stale.inspect(|row| copy(change, into, Op::Delete, Some(*row), None, false));
            let key_changed = if was_known { key_changed(change) } else { is_moved };
            copy(change, into, Op::Update, Some(before), Some(after), key_changed);
        }
        (None, Some(after), Some(stale)) => copy(change, into, Op::Update, Some(stale), Some(after), false),
        (None, Some(after), None) => copy(change, into, Op::Create, None, Some(after), false),
        (Some(before), None, _) => copy(change, into, Op::Delete, Some(before), None, false),
        (None, None, _) => {}
    }
    Ok(())
}

fn copy(
    change: &Change<'_>,
    into: &mut TransactionBuilder,
    op: Op,
    before: Option<Row<'_>>,
    after: Option<Row<'_>>,
    key_changed: bool,
) {
    let marker = change.marker.filter(|_| op == Op::Read);
    into.copy(&Change { op, marker, ..*change }, [before, after], key_changed);
}

/// A held row in which columns that came later have the values of `newer`, or NULL: to a follower it was never said that
/// they had others.
pub fn filled(held: HeldRow, newer: Option<Row<'_>>) -> Result<HeldRow> {
    let old = row_of(&held)?;
    if old.values().all(|value| value != Value::Absent) {
        return Ok(held);
    }
    let mut bytes = Vec::new();
    let mut row = RowWriter::begin(&mut bytes, old.len());
    let mut newer = newer.iter().flat_map(Row::values);
    for value in old.values() {
        let newer = newer.next().unwrap_or(Value::Null);
        row.put(if value == Value::Absent { newer } else { value });
    }
    drop(row);
    Ok(HeldRow { schema: held.schema, row: bytes })
}

/// A held row's values.
pub fn row_of(held: &HeldRow) -> Result<Row<'_>> {
    Row::decode(&mut &held.row[..]).ok_or_else(|| unreadable(Damaged))
}

fn unreadable(error: Damaged) -> Error {
    Error::stop("a change that a snapshot is to fit in").source(error)
}

/// More was changed during a snapshot than is remembered.
pub fn too_many(error: TooManyKeys) -> Error {
    Error::stop("the snapshot cannot go on while so much changes")
        .hint("Take it when the table is calmer, or leave the table out.")
        .source(error)
}
