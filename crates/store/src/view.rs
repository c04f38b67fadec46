//! The rows as they were at one sequence, for readers that take their time.
//!
//! Invariant: a view never changes, whatever is committed meanwhile. Start at [`View::rows`].

use crate::error::Result;
use crate::key::{Name, Naming, table_prefix};
use crate::marks::Marks;
use crate::store::Disk;
use fjall::{Readable, Snapshot};
use headwater_model::varint::{put_u64, take_u64};
use headwater_model::{Row, Schema};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What stands beside a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub schema: u32,
    pub sequence: u64,
    /// How often the row is there; above one only in tables without a key.
    pub count: u64,
}

impl Entry {
    pub fn encode(self, row: &Row<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        put_u64(&mut out, u64::from(self.schema));
        put_u64(&mut out, self.sequence);
        put_u64(&mut out, self.count);
        row.encode(&mut out);
        out
    }

    pub fn decode(mut bytes: &[u8]) -> Option<(Entry, Row<'_>)> {
        let schema = u32::try_from(take_u64(&mut bytes)?).ok()?;
        let entry = Entry { schema, sequence: take_u64(&mut bytes)?, count: take_u64(&mut bytes)? };
        let row = Row::decode(&mut bytes)?;
        bytes.is_empty().then_some((entry, row))
    }
}

/// A row as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// The schema that it was written with.
    pub schema: u32,
    /// The change that wrote it.
    pub sequence: u64,
    /// How often it is there; above one only in tables without a key.
    pub count: u64,
    /// The row, encoded.
    pub row: Vec<u8>,
}

impl StoredRow {
    pub(crate) fn of((entry, row): (Entry, Row<'_>)) -> StoredRow {
        let mut bytes = Vec::new();
        row.encode(&mut bytes);
        StoredRow { schema: entry.schema, sequence: entry.sequence, count: entry.count, row: bytes }
    }

    /// The row itself. `None`: its bytes are damaged.
    pub fn row(&self) -> Option<Row<'_>> {
        Row::decode(&mut &self.row[..])
    }
}

/// The rows as of one sequence.
pub struct View {
    disk: Disk,
    snapshot: Snapshot,
    sequence: u64,
    schemas: HashMap<u32, Arc<Schema>>,
    latest: BTreeMap<String, Arc<Schema>>,
    /// By table, how its rows are named by the latest schema, and then how they were named before.
    namings: HashMap<String, Vec<Naming>>,
}

impl View {
    pub(crate) fn new(disk: Disk, sequence: u64, schemas: HashMap<u32, Arc<Schema>>) -> View {
        let mut latest: BTreeMap<String, Arc<Schema>> = BTreeMap::new();
        for schema in schemas.values() {
            let held = latest.entry(schema.full_name()).or_insert_with(|| schema.clone());
            if held.id < schema.id {
                held.clone_from(schema);
            }
        }
        let snapshot = disk.database.snapshot();
        let namings = latest.iter().map(|(table, latest)| (table.clone(), namings(latest, &schemas))).collect();
        View { disk, snapshot, sequence, schemas, latest, namings }
    }

    /// The first sequence that is not in it.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The latest schema of each table, by `database.table`.
    pub fn tables(&self) -> &BTreeMap<String, Arc<Schema>> {
        &self.latest
    }

    /// The schema that a row was written with.
    pub fn schema(&self, id: u32) -> Option<&Arc<Schema>> {
        self.schemas.get(&id)
    }

    /// The rows of `table`, in the order of their encoded keys.
    pub fn rows(&self, table: &str) -> StoredRows {
        let rows = self.snapshot.prefix(&self.disk.rows, table_prefix(table));
        StoredRows { disk: self.disk.clone(), rows }
    }

    /// How many rows `table` has. Reads them all.
    pub fn count(&self, table: &str) -> Result<u64> {
        self.rows(table).map(|row| row.map(|(_, row)| row.count)).sum()
    }

    /// The name of `row`, which has the columns of the table's latest schema, and the row that is held under it. A row
    /// that was written when the table had another key is found by that. `None`: there is no such table.
    pub fn find(&self, table: &str, row: &Row<'_>) -> Result<Option<(Vec<u8>, Option<StoredRow>)>> {
        let mut own = None;
        for naming in self.namings.get(table).into_iter().flatten() {
            match self.look(naming.name(row)?, row, naming)? {
                (name, Some(found)) => return Ok(Some((name, Some(found)))),
                (name, None) => own = own.or(Some((name, None))),
            }
        }
        Ok(own)
    }

    /// Marks on rows that were seen, made under `generation`.
    pub fn marks(&self, table: &str, generation: u64) -> Result<Marks> {
        Marks::open(self.disk.clone(), table, generation)
    }

    fn look(&self, name: Name, row: &Row<'_>, naming: &Naming) -> Result<(Vec<u8>, Option<StoredRow>)> {
        let mut name = match name {
            Name::Exact(name) => {
                let found = self.get(&name)?;
                return Ok((name, found));
            }
            Name::Among(name) => name,
        };
        for number in 0..=crate::key::ALIKE_MAX {
            name.push(number);
            let Some(found) = self.get(&name)? else { break };
            if found.row().is_some_and(|held| naming.is_same_row(&held, row)) {
                return Ok((name, Some(found)));
            }
            name.pop();
        }
        Ok((name, None))
    }

    fn get(&self, name: &[u8]) -> Result<Option<StoredRow>> {
        let Some(bytes) = self.snapshot.get(&self.disk.rows, name).map_err(|error| self.disk.failed(error))? else {
            return Ok(None);
        };
        let entry = Entry::decode(&bytes).ok_or_else(|| self.disk.damaged("row"))?;
        Ok(Some(StoredRow::of(entry)))
    }
}

/// How rows of a table are named: by its latest schema first.
fn namings(latest: &Schema, schemas: &HashMap<u32, Arc<Schema>>) -> Vec<Naming> {
    let mut namings = vec![Naming::of(latest)];
    let is_same_table = |schema: &&Arc<Schema>| schema.table == latest.table && schema.database == latest.database;
    for schema in schemas.values().filter(is_same_table) {
        if let Some(former) = Naming::of(schema).over(latest)
            && !namings.iter().any(|known| known.is_same(&former))
        {
            namings.push(former);
        }
    }
    namings
}

/// Rows of a table, each with its name.
pub struct StoredRows {
    disk: Disk,
    rows: fjall::Iter,
}

impl Iterator for StoredRows {
    type Item = Result<(Vec<u8>, StoredRow)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (name, bytes) = match self.rows.next()?.into_inner() {
                Ok(pair) => pair,
                Err(error) => return Some(Err(self.disk.failed(error))),
            };
            match Entry::decode(&bytes) {
                None => return Some(Err(self.disk.damaged("row"))),
                // The empty place of a row that is gone.
                Some((Entry { count: 0, .. }, _)) => {}
                Some(entry) => return Some(Ok((name.to_vec(), StoredRow::of(entry)))),
            }
        }
    }
}
