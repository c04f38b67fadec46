//! A table's rows by the journal, for a snapshot that looks for what became of each.
//!
//! Invariant: whatever a row was written with, it is handed out with the columns of the table's latest schema, because a
//! change has one schema for both of its images. Start at [`Held::take`].

use headwater_model::source::{HeldRow, HeldRows};
use headwater_model::{Error, Result, Row, RowWriter, Schema, Value};
use headwater_store::{Marks, StoredRow, View};
use std::collections::HashMap;
use std::sync::Arc;

/// The rows of one table, as of one moment.
pub struct Held {
    table: String,
    view: View,
    marks: Marks,
    /// `None`: the journal has never heard of the table.
    latest: Option<Arc<Schema>>,
    /// By the schema that a row was written with: where each column of the latest stands in it.
    places: HashMap<u32, Vec<Option<usize>>>,
}

impl Held {
    /// Of `table` in `view`; `generation` names the snapshot.
    pub fn new(view: View, table: &str, generation: u64) -> Result<Held> {
        let marks = view.marks(table, generation).map_err(refused)?;
        let latest = view.tables().get(table).cloned();
        Ok(Held { table: table.to_owned(), view, marks, latest, places: HashMap::new() })
    }

    fn hand_out(&mut self, stored: StoredRow) -> Result<HeldRow> {
        let latest = self.latest.as_ref().ok_or_else(|| damaged(&self.table))?;
        if stored.schema == latest.id {
            return Ok(HeldRow { schema: stored.schema, row: stored.row });
        }
        if !self.places.contains_key(&stored.schema) {
            let written = self.view.schema(stored.schema).ok_or_else(|| damaged(&self.table))?;
            self.places.insert(stored.schema, latest.places_in(written));
        }
        let places = &self.places[&stored.schema];
        let row = stored.row().ok_or_else(|| damaged(&self.table))?;
        let values: Vec<Value<'_>> = row.values().collect();
        let mut out = Vec::with_capacity(stored.row.len() + places.len());
        let mut writer = RowWriter::begin(&mut out, places.len());
        for place in places {
            writer.put(place.and_then(|place| values.get(place).copied()).unwrap_or(Value::Absent));
        }
        drop(writer);
        Ok(HeldRow { schema: latest.id, row: out })
    }
}

impl HeldRows for Held {
    fn take(&mut self, row: &Row<'_>) -> Result<Option<HeldRow>> {
        let Some((name, found)) = self.view.find(&self.table, row).map_err(refused)? else { return Ok(None) };
        let is_counted = self.latest.as_ref().is_some_and(|schema| schema.key.is_empty());
        let mark = self.marks.get(&name).map_err(refused)?;
        // What was marked before a restart may not have reached the journal, so it is handed out again.
        let found = match is_counted {
            true => found.filter(|found| found.count > mark.count),
            false => found.filter(|_| !mark.is_recent),
        };
        self.marks.mark(name, mark.count + 1).map_err(refused)?;
        found.map(|found| self.hand_out(found)).transpose()
    }

    fn keep(&mut self) -> Result<()> {
        self.marks.keep().map_err(refused)
    }

    fn unseen(&mut self, visit: &mut dyn FnMut(&HeldRow) -> Result<()>) -> Result<()> {
        for row in self.marks.unmarked(self.view.rows(&self.table)).map_err(refused)? {
            let row = row.map_err(refused)?;
            let count = row.count;
            let held = self.hand_out(row)?;
            for _ in 0..count {
                visit(&held)?;
            }
        }
        Ok(())
    }

    fn forget(&mut self) -> Result<()> {
        self.marks.forget().map_err(refused)
    }
}

fn refused(error: headwater_store::Error) -> Error {
    match error {
        headwater_store::Error::Storage { .. } => Error::reconnect("the row store refuses").source(error),
        _ => Error::stop("the row store refuses").source(error),
    }
}

fn damaged(table: &str) -> Error {
    Error::stop(format!("the row store holds a row of {table} that it cannot read"))
        .hint("Remove the source's folder below `store`; it is derived from the journal again.")
}
