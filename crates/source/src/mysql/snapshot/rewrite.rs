//! Makes a streamed transaction fit a journal that a snapshot has not finished filling.
//!
//! A change to a row that the journal does not hold yet cannot stand as it is: an update would take back a row that no
//! follower was ever given. So the first change to such a row becomes a create of its newest image, or, when it is a
//! delete, nothing at all; the chunk that reads the row later leaves it out. Invariant: for every follower the journal
//! is a well-formed history, in which each row is created before it is updated or deleted.

use super::keys::{KnownKeys, TooManyKeys};
use headwater_model::change::{Change, Damaged};
use headwater_model::{Op, Row, Schema, TransactionBuilder};
use std::collections::{HashMap, HashSet};

/// What the stream must know of tables under snapshot, by schema id.
#[derive(Default)]
pub struct Tables {
    /// Tables that are being read in chunks.
    pub underway: HashMap<u32, Underway>,
    /// Tables whose rows already hold the changes at hand.
    pub suppressed: HashSet<u32>,
}

/// A table under snapshot, as the stream sees it.
pub struct Underway {
    /// Rows that the journal holds.
    pub known: KnownKeys,
    /// The key's columns.
    pub key: Vec<u16>,
}

/// Why a transaction could not be rewritten.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// The bytes were not as the decoder writes them.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// Too much changed during the snapshot.
    #[error(transparent)]
    TooManyKeys(#[from] TooManyKeys),
}

/// Copies the changes of `from` into `into`, rewriting those of tables under snapshot. `key_changed` is asked of others.
pub fn rewrite(
    from: &TransactionBuilder,
    into: &mut TransactionBuilder,
    tables: &mut Tables,
    key_changed: &dyn Fn(&Change<'_>) -> bool,
) -> Result<(), RewriteError> {
    let mut statement = None;
    let mut keys = Keys::default();
    for change in headwater_model::change::Changes::new(from.items()) {
        let change = change?;
        if change.statement != statement {
            statement = change.statement;
            statement.inspect(|text| into.statement(text));
        }
        if tables.suppressed.contains(&change.schema) {
            continue;
        }
        match tables.underway.get_mut(&change.schema) {
            None => copy(&change, into, change.op, change.before, change.after, key_changed(&change)),
            Some(table) => {
                keys.read(&change, &table.key);
                rewrite_one(&change, into, table, &keys)?;
            }
        }
    }
    Ok(())
}

impl Tables {
    /// Whether a transaction touches a table under snapshot at all.
    pub fn concern(&self, changes: &TransactionBuilder) -> bool {
        let is_ours = |schema| self.underway.contains_key(schema) || self.suppressed.contains(schema);
        changes.tallies().iter().any(|tally| is_ours(&tally.schema))
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
        change.before.inspect(|row| row.encode_key(key, &mut self.before));
        change.after.inspect(|row| row.encode_key(key, &mut self.after));
    }
}

fn rewrite_one(
    change: &Change<'_>,
    into: &mut TransactionBuilder,
    table: &mut Underway,
    keys: &Keys,
) -> Result<(), TooManyKeys> {
    let (before, after) = (change.before, change.after);
    match change.op {
        Op::Create | Op::Read => {
            table.known.touch(&keys.after)?;
            copy(change, into, change.op, None, after, false);
        }
        Op::Update => {
            let held = table.known.contains(&keys.before);
            table.known.touch(&keys.before)?;
            table.known.touch(&keys.after)?;
            match held {
                true => copy(change, into, Op::Update, before, after, keys.before != keys.after),
                false => copy(change, into, Op::Create, None, after, false),
            }
        }
        Op::Delete => {
            let held = table.known.contains(&keys.before);
            table.known.touch(&keys.before)?;
            if held {
                copy(change, into, Op::Delete, before, None, false);
            }
        }
        Op::Truncate => copy(change, into, Op::Truncate, None, None, false),
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
    let out = match change.marker {
        Some(marker) => into.begin_read(change.schema, change.row, marker),
        None => into.begin(op, change.schema, change.place, change.row),
    };
    before.inspect(|row| row.encode(out));
    after.inspect(|row| row.encode(out));
    into.end(op, change.schema, key_changed);
}

impl Underway {
    /// For a table of this shape.
    pub fn new(schema: &Schema) -> Self {
        Underway { known: KnownKeys::new(schema), key: schema.key.clone() }
    }
}
