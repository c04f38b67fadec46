//! Values that the log does not carry (PostgreSQL's unchanged TOAST values, and old rows where the replica identity is not
//! FULL), filled in on the way into the journal from the rows as they were.
//!
//! Only tables that somebody follows are filled, from the first change on that may need it. What was changed since the row
//! store was rolled lies in a store of its own, `recent`, so that a look-up sees what is not durable yet. Invariant: a value
//! is filled in from the row as it was just before the change, or not at all; those are counted. Start at
//! [`Unlogged::filled`].

use crate::intake::{damaged, unknown_schema};
use crate::options::TableFilter;
use crate::rows::Rows;
use crate::source::Shared;
use headwater_model::change::Changes;
use headwater_model::source::scratch_in;
use headwater_model::{Change, Error, Op, Result, Row, RowWriter, Schema, TransactionBuilder, Value};
use headwater_store::{RowStore, StoreOptions, StoredRow};
use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes that go into `recent` at once.
const COMMIT_BYTES: usize = 1 << 20;
/// Bytes of rows in `recent`, after which the row store is rolled to where the journal stands.
const RECENT_BYTES_MAX: usize = 8 << 20;

/// Fills the changes of one source.
pub struct Unlogged {
    rows: Arc<Rows>,
    /// Where `recent` lies.
    dir: PathBuf,
    /// What followers want.
    wanted: Vec<TableFilter>,
    schemas: HashMap<u32, Known>,
    recent: Option<Recent>,
    filled: TransactionBuilder,
    shared: Arc<Shared>,
}

struct Known {
    schema: Arc<Schema>,
    /// Somebody follows the table, and its rows can be told from one another.
    is_wanted: bool,
}

/// Rows that changed since the row store was rolled.
struct Recent {
    store: RowStore,
    bytes: usize,
}

impl Unlogged {
    /// For followers that want these tables.
    pub fn new(rows: Arc<Rows>, dir: PathBuf, wanted: Vec<TableFilter>, shared: Arc<Shared>) -> Unlogged {
        let (schemas, filled) = (HashMap::new(), TransactionBuilder::default());
        Unlogged { rows, dir, wanted, schemas, recent: None, filled, shared }
    }

    /// Learns a schema before the first change that bears it.
    pub fn learn(&mut self, schema: &Schema) -> Result<()> {
        let is_wanted = !schema.key.is_empty() && self.wanted.iter().any(|wants| wants(schema));
        self.schemas.insert(schema.id, Known { schema: Arc::new(schema.clone()), is_wanted });
        match &mut self.recent {
            Some(recent) => recent.store.learn(schema).map_err(|error| self.rows.refused(error)),
            None => Ok(()),
        }
    }

    /// The changes as they are to be written.
    pub fn filled<'c>(&'c mut self, changes: &'c TransactionBuilder) -> Result<&'c TransactionBuilder> {
        if self.concerns(changes) { self.fill(changes) } else { Ok(changes) }
    }

    /// A file without a name, on the disk of the journal.
    pub fn scratch(&self) -> Result<File> {
        scratch_in(self.dir.parent().unwrap_or(&self.dir))
    }

    /// Whether these changes have to be filled.
    pub fn concerns(&self, changes: &TransactionBuilder) -> bool {
        let wanted = |schema: u32| self.schemas.get(&schema).is_some_and(|known| known.is_wanted);
        let is_wanted = || changes.tallies().iter().any(|tally| wanted(tally.schema));
        (self.recent.is_some() || changes.is_partial()) && is_wanted()
    }

    /// Whether nothing has been filled yet, so that [`Self::begin`] has to be called when the rows are rolled.
    pub fn is_idle(&self) -> bool {
        self.recent.is_none()
    }

    /// Whether so much has changed since the rows were rolled that they should be again, between two transactions.
    pub fn is_full(&self) -> bool {
        self.recent.as_ref().is_some_and(|recent| recent.bytes >= RECENT_BYTES_MAX)
    }

    /// Rolls the row store over all that is in the journal, which is durable, and forgets what it holds then.
    pub fn begin(&mut self, end: u64) -> Result<()> {
        self.forget();
        self.rows.catch_up(end, &self.shared.stop)?;
        let failed = |error| self.rows.refused(error);
        let store = RowStore::open(&self.dir, StoreOptions::default()).map_err(failed)?;
        let mut recent = Recent { store, bytes: 0 };
        for known in self.schemas.values() {
            recent.store.learn(&known.schema).map_err(failed)?;
        }
        self.recent = Some(recent);
        Ok(())
    }

    /// Forgets what changed since the rows were rolled: part of it never happened, or is in the journal.
    pub fn forget(&mut self) {
        self.recent = None;
        // What cannot be removed is found out by who opens it next.
        let _ = std::fs::remove_dir_all(&self.dir);
    }

    /// The changes with what the log did not carry of the tables that are wanted.
    fn fill(&mut self, changes: &TransactionBuilder) -> Result<&TransactionBuilder> {
        self.filled.clear();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for change in Changes::new(changes.items()) {
            let change = change.map_err(damaged)?;
            if change.op == Op::Message {
                self.filled.copy(&change, [None, None], false);
                continue;
            }
            let known = self.schemas.get(&change.schema).ok_or_else(|| unknown_schema(change.schema))?;
            let (schema, is_wanted) = (known.schema.clone(), known.is_wanted);
            let key_changed = change.op == Op::Update && is_key_changed(&change, schema.record_key());
            if !is_wanted {
                self.filled.copy(&change, [change.before, change.after], key_changed);
                continue;
            }
            before.clear();
            after.clear();
            let rows = self.filled_rows(&change, &schema, [&mut before, &mut after])?;
            self.filled.copy(&change, rows, key_changed);
            let [before, after] = rows;
            self.remember(&Change { before, after, ..change })?;
        }
        Ok(&self.filled)
    }

    fn filled_rows<'r>(
        &mut self,
        change: &Change<'r>,
        schema: &Schema,
        [before, after]: [&'r mut Vec<u8>; 2],
    ) -> Result<[Option<Row<'r>>; 2]> {
        let is_partial = |row: &Option<Row<'_>>| row.is_some_and(|row| row.is_partial());
        if !is_partial(&change.before) && !is_partial(&change.after) {
            return Ok([change.before, change.after]);
        }
        // An old row without its key is the same row as the new one.
        let named =
            change.before.filter(|row| row.has(&schema.key)).or(change.after.filter(|row| row.has(&schema.key)));
        let Some((held, written)) = named.map(|row| self.latest(schema, &row)).transpose()?.flatten() else {
            self.missed(schema);
            return Ok([change.before, change.after]);
        };
        let known = held.row().ok_or_else(|| Error::stop(format!("a row of {} in the store", schema.full_name())))?;
        let places = schema.places_in(&written);
        let mut is_whole = true;
        let mut fill = |row: Option<Row<'r>>, known: &Row<'_>, places: &[Option<usize>], out: &'r mut Vec<u8>| {
            let row = row?;
            if !row.is_partial() {
                return Some(row);
            }
            is_whole &= row.encode_filled(known, places, out);
            Row::decode(&mut &out[..])
        };
        let filled_after = fill(change.after, &known, &places, after);
        let mut told = Vec::new();
        let filled_before = match places.contains(&None) {
            false => fill(change.before, &known, &places, before),
            true => {
                put_as_told(&known, &places, change.after, &mut told);
                let told = Row::decode(&mut &told[..]).unwrap_or(known);
                let places: Vec<Option<usize>> = (0..places.len()).map(Some).collect();
                fill(change.before, &told, &places, before)
            }
        };
        let rows = [filled_before, filled_after];
        if !is_whole {
            self.missed(schema);
        }
        Ok(rows)
    }

    /// A value stays unfilled, because nothing is known of the row.
    fn missed(&self, schema: &Schema) {
        let mut status = self.shared.status();
        status.unfilled_rows += 1;
        if status.unfilled_rows == 1 {
            tracing::warn!(
                source = %self.shared.name,
                table = schema.full_name(),
                "a row lacks values that the log did not carry, and it was never seen before; a snapshot would know it"
            );
        }
    }

    /// The row as it is now, and the schema that it was written with.
    fn latest(&self, schema: &Schema, row: &Row<'_>) -> Result<Option<(StoredRow, Arc<Schema>)>> {
        let Some(recent) = &self.recent else { return Ok(None) };
        match self.rows.latest_in(&recent.store, schema, row)? {
            Some(held) => Ok(Some(held)),
            None => self.rows.latest(schema, row),
        }
    }

    fn remember(&mut self, change: &Change<'_>) -> Result<()> {
        let Some(recent) = &mut self.recent else { return Ok(()) };
        let failed = |error| self.rows.refused(error);
        recent.store.apply(change, recent.store.sequence()).map_err(failed)?;
        let bytes = recent.store.pending_bytes();
        if bytes >= COMMIT_BYTES {
            recent.bytes += bytes;
            recent.store.commit(0).map_err(failed)?;
        }
        Ok(())
    }
}

/// The row as followers know it, in the shape of which `places` tells where its columns stood before. A column that came
/// later has its value in the `newer` row, or is NULL: it was never said that it had another.
fn put_as_told(known: &Row<'_>, places: &[Option<usize>], newer: Option<Row<'_>>, out: &mut Vec<u8>) {
    let known: Vec<Value<'_>> = known.values().collect();
    let mut writer = RowWriter::begin(out, places.len());
    for (column, place) in places.iter().enumerate() {
        let newer = || newer.and_then(|row| row.get(column)).filter(|value| *value != Value::Absent);
        let value = match place {
            Some(place) => known.get(*place).copied(),
            None => newer(),
        };
        writer.put(value.unwrap_or(Value::Null));
    }
}

/// Whether the update gives the row another key, as the log tells it.
fn is_key_changed(change: &Change<'_>, key: &[u16]) -> bool {
    let (Some(before), Some(after)) = (change.before, change.after) else { return false };
    before.values().any(|value| value != Value::Absent)
        && key.iter().any(|&column| before.get(usize::from(column)) != after.get(usize::from(column)))
}
