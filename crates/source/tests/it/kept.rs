//! An intake in memory: keeps positions, state, schemas and rows, and tells every change as a line of text.
//!
//! Invariant: whatever was appended is durable at once, unless the test holds it back. Start at [`Kept`].

use headwater_model::source::{Committed, HeldRow, HeldRows, Intake, SidePart, SourceReport, StateUpdate};
use headwater_model::{Change, Error, Op, Result, Row, Schema, TransactionBuilder, TransactionView};
use std::collections::{BTreeMap, BTreeSet};

/// What ends a run when it has arrived.
const MARKER: &str = "marker";

/// The intake.
#[derive(Default)]
pub struct Kept {
    pub position: Option<Vec<u8>>,
    pub state: BTreeMap<String, Vec<u8>>,
    pub schemas: BTreeMap<u32, Schema>,
    /// Every change in order, as text.
    pub lines: Vec<String>,
    /// What may be confirmed, where it is not all.
    pub durable: Option<Option<Vec<u8>>>,
    /// The snapshot that is asked for next.
    pub request: Option<Vec<String>>,
    /// The append with this number fails, counted down.
    pub fails_after: Option<u32>,
    /// Bytes that were put into side segments.
    pub spilled: usize,
    sides: BTreeMap<String, Vec<u8>>,
    /// Rows by table and key.
    rows: BTreeMap<String, BTreeMap<Vec<u8>, HeldRow>>,
    /// A row of the table `marker` has arrived, or nothing more is read.
    has_ended: bool,
    sequence: u64,
}

impl Kept {
    /// Forgets the lines, and that the end has come.
    pub fn again(&mut self) -> Vec<String> {
        self.has_ended = false;
        std::mem::take(&mut self.lines)
    }

    fn take(&mut self, transaction: &Committed<'_>, side: &[u8]) -> Result<()> {
        if let Some(left) = &mut self.fails_after {
            match left.checked_sub(1) {
                Some(less) => *left = less,
                None => return Err(Error::reconnect("the intake was told to fail")),
            }
        }
        for StateUpdate { key, value } in transaction.state {
            match value {
                Some(value) => self.state.insert(key.clone(), value.clone()),
                None => self.state.remove(key),
            };
        }
        for schema in transaction.schemas {
            self.schemas.insert(schema.id, schema.clone());
        }
        if !transaction.position.is_empty() {
            self.position = Some(transaction.position.to_vec());
        }
        let body = [transaction.header, side, transaction.changes.items()].concat();
        if body.is_empty() {
            return Ok(());
        }
        let view = TransactionView::decode(&body).expect("a whole body");
        for change in view.changes() {
            let change = change.expect("a whole change");
            self.sequence += 1;
            self.apply(&change);
        }
        Ok(())
    }

    fn apply(&mut self, change: &Change<'_>) {
        if let Some(message) = change.message {
            let content = String::from_utf8_lossy(message.content);
            let kind = if message.transactional { "m" } else { "free m" };
            return self.lines.push(format!("{kind} {}: {content}", message.prefix));
        }
        let schema = self.schemas[&change.schema].clone();
        let key = |row: Option<Row<'_>>| {
            let mut key = Vec::new();
            row.inspect(|row| match schema.key.is_empty() {
                true => row.encode(&mut key),
                false => row.encode_key(&schema.key, &mut key),
            });
            key
        };
        let rows = self.rows.entry(schema.full_name()).or_default();
        if change.op == Op::Truncate {
            rows.clear();
        }
        rows.remove(&key(change.before));
        if let Some(after) = change.after {
            let mut row = Vec::new();
            after.encode(&mut row);
            rows.insert(key(change.after), HeldRow { schema: schema.id, row });
        }
        self.has_ended |= schema.table == MARKER && change.op == Op::Create;
        if schema.table == MARKER {
            return;
        }
        let tell = |row: Option<Row<'_>>| {
            let columns = schema.columns.iter();
            let columns = row.iter().flat_map(Row::values).zip(columns);
            columns.map(|(value, column)| format!(" {}={value:?}", column.name)).collect::<String>()
        };
        let marker = change.marker.map(|marker| format!(" ({marker:?})")).unwrap_or_default();
        let before = change.before.map(|row| format!(" -{}", tell(Some(row)))).unwrap_or_default();
        let after = change.after.map(|row| format!(" +{}", tell(Some(row)))).unwrap_or_default();
        self.lines.push(format!("{} {}{marker}{before}{after}", change.op.letter(), schema.full_name()));
    }
}

impl Intake for Kept {
    fn position(&self) -> Option<Vec<u8>> {
        self.position.clone()
    }

    fn state(&self, key: &str) -> Option<Vec<u8>> {
        self.state.get(key).cloned()
    }

    fn state_keys(&self, prefix: &str) -> Vec<String> {
        self.state.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    fn schemas(&self) -> (Vec<Schema>, u32) {
        let mut latest = BTreeMap::new();
        for schema in self.schemas.values() {
            latest.insert(schema.full_name(), schema.clone());
        }
        (latest.into_values().collect(), self.schemas.keys().last().map_or(1, |last| last + 1))
    }

    fn append(&mut self, transaction: &Committed<'_>) -> Result<()> {
        self.take(transaction, &[])
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn spill(&mut self, part: &SidePart<'_>, changes: &TransactionBuilder) -> Result<()> {
        self.spilled += changes.len();
        self.sides.entry(part.id.to_owned()).or_default().extend_from_slice(changes.items());
        Ok(())
    }

    fn append_side(&mut self, id: &str, transaction: &Committed<'_>) -> Result<()> {
        let side = self.sides.remove(id).expect("a side segment");
        self.take(transaction, &side)
    }

    fn abort_side(&mut self, id: &str) -> Result<()> {
        self.sides.remove(id);
        Ok(())
    }

    fn prepare_side(&mut self, id: &str, transaction: &Committed<'_>) -> Result<()> {
        self.spill(&SidePart { id }, transaction.changes)
    }

    fn sides(&self) -> Vec<String> {
        self.sides.keys().cloned().collect()
    }

    fn accepts_derived(&self) -> bool {
        true
    }

    fn next_sequence(&self) -> u64 {
        self.sequence
    }

    fn changes_since(&mut self, _: u64, _: &mut dyn FnMut(&Change<'_>, &Schema) -> Result<()>) -> Result<()> {
        Ok(())
    }

    fn rows(&mut self, table: &str, _: u64) -> Result<Box<dyn HeldRows>> {
        let schema = self.schemas().0.into_iter().find(|schema| schema.full_name() == table).expect("a table");
        let rows = self.rows.get(table).cloned().unwrap_or_default();
        Ok(Box::new(Held { key: schema.key, rows, seen: BTreeSet::new() }))
    }

    fn snapshot_request(&mut self) -> Option<Vec<String>> {
        self.request.take()
    }

    fn has_snapshot_request(&self) -> bool {
        self.request.is_some()
    }

    fn durable_position(&self) -> Option<Vec<u8>> {
        self.durable.clone().unwrap_or_else(|| self.position.clone())
    }

    fn stopping(&self) -> bool {
        // What is read beside the stream belongs to the run.
        let is_unread = |value: &Vec<u8>| {
            let state: serde_json::Value = serde_json::from_slice(value).unwrap_or_default();
            state["finished"] == false
        };
        let mut tables = self.state.iter().filter(|(key, _)| key.starts_with("snapshot/"));
        self.has_ended && !tables.any(|(_, value)| is_unread(value))
    }

    fn report(&mut self, report: SourceReport) {
        self.has_ended |= report.phase == "finished";
    }
}

struct Held {
    key: Vec<u16>,
    rows: BTreeMap<Vec<u8>, HeldRow>,
    seen: BTreeSet<Vec<u8>>,
}

impl HeldRows for Held {
    fn take(&mut self, row: &Row<'_>) -> Result<Option<HeldRow>> {
        let mut key = Vec::new();
        match self.key.is_empty() {
            true => row.encode(&mut key),
            false => row.encode_key(&self.key, &mut key),
        }
        let held = self.rows.get(&key).cloned();
        Ok(held.filter(|_| self.seen.insert(key)))
    }

    fn keep(&mut self) -> Result<()> {
        Ok(())
    }

    fn unseen(&mut self, visit: &mut dyn FnMut(&HeldRow) -> Result<()>) -> Result<()> {
        self.rows.iter().filter(|(key, _)| !self.seen.contains(*key)).try_for_each(|(_, row)| visit(row))
    }

    fn forget(&mut self) -> Result<()> {
        Ok(())
    }
}
