//! Snapshots of MySQL and MariaDB: tables with a key are read in chunks beside the stream ([`crate::snapshot`]), the others
//! whole while it waits (`whole.rs`).
//!
//! Invariant: a chunk's mark is a place of the binary log that lies at or after all that the chunk shows (`chunk.rs`). Start
//! at [`Snapshot`].

mod chunk;
mod row;
mod select;
mod whole;

pub use crate::snapshot::{Chosen, TABLE_PREFIX};
pub use chunk::Endpoint;

use super::position::{Gtids, LogPlace, Position, file_number};
use super::server::read_lock;
use crate::snapshot::{self, Bell, Ends, Range, Unread};
use chunk::Chunks;
use headwater_model::change::Change;
use headwater_model::source::Intake;
use headwater_model::{Error, Origin, Result, Schema, TransactionBuilder, Type, Value};
use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::sync::Arc;

/// Seconds that a transaction may be in the log and not yet visible; semi-synchronous replicas take that long.
const VISIBLE_MAX_S: u32 = 20;

/// How far the snapshot of a table is.
pub type TableState = snapshot::TableState<LogPlace>;

/// What a snapshot is told to do.
pub struct Plan {
    /// The server that is read.
    pub server: Endpoint,
    /// Rows of a chunk.
    pub chunk_rows: u32,
    /// Workers.
    pub workers: u16,
    /// The tables that are captured, in the order in which they are read: their schemas, which the journal knows already.
    pub tables: Vec<Arc<Schema>>,
    /// Which of them are read, and how.
    pub chosen: Chosen,
    /// A row that is read again is told as one that was read, whether it differs or not.
    pub tells_again: bool,
    /// Where the journal stands: what a SELECT shows must be at least that new.
    pub floor: Position,
}

/// A snapshot that is being taken. Belongs to the stream's thread.
pub struct Snapshot {
    chunks: snapshot::Snapshot<Chunks>,
    /// Tables without a key, and the place of the log as of which each was read.
    read_as_of: HashMap<u32, (Arc<Schema>, LogPlace)>,
    tells_again: bool,
}

impl Snapshot {
    /// Begins, or goes on with, the snapshot of those of the plan's tables that have not been read; `None` when all have.
    pub fn begin(plan: Plan, intake: &mut dyn Intake) -> Result<Option<Snapshot>> {
        let Plan { server, chunk_rows, workers, tables, chosen, tells_again, floor } = plan;
        let ends = find_ends(&server, &tables, &chosen, intake)?;
        let source = server.source.clone();
        let reader = Chunks { server, chunk_rows, floor: floor.place() };
        let chunks = snapshot::Snapshot::new(&source, reader, workers, tells_again)?;
        let mut snapshot = Snapshot { chunks, read_as_of: HashMap::new(), tells_again };
        // What a query selects is in no order of ours either.
        let is_whole = |schema: &Arc<Schema>| schema.key.is_empty() || chosen.query(schema).is_some();
        let (whole, keyed): (Vec<_>, Vec<_>) = tables.into_iter().partition(is_whole);
        snapshot.read_whole(whole, ends, &chosen, intake)?;
        for schema in keyed {
            let reads_unread = chosen.reads(&schema);
            snapshot.add(schema, ends, usize::from(workers), reads_unread, intake)?;
        }
        if snapshot.is_finished() {
            return Ok(None);
        }
        snapshot.wait_until_visible(&floor)?;
        snapshot.chunks.start(workers, intake)?;
        Ok(Some(snapshot))
    }

    /// Rings when [`Snapshot::poll`] may have something to write.
    pub fn bell(&self) -> &Bell {
        self.chunks.bell()
    }

    /// Whether every table is written.
    pub fn is_finished(&self) -> bool {
        self.read_as_of.is_empty() && self.chunks.is_finished()
    }

    /// Whether any of `tables`, each as `database.table`, is not finished, or changes are left out of it still.
    pub fn reads_any(&self, tables: &BTreeSet<String>) -> bool {
        let is_named = |schema: &Arc<Schema>| tables.contains(&schema.full_name());
        self.chunks.unfinished().any(is_named) || self.read_as_of.values().any(|(schema, _)| is_named(schema))
    }

    /// Rows written since this began, and about how many there are.
    pub fn rows(&self) -> (u64, u64) {
        self.chunks.rows()
    }

    /// The changes of a streamed transaction as they must stand in the journal. It, or what is known of it, ends at
    /// `file` and `end`; `key_changed` tells of an update whether it changes the key.
    pub fn adjust<'a>(
        &'a mut self,
        changes: &'a TransactionBuilder,
        (file, end): (&str, u64),
        key_changed: &dyn Fn(&Change<'_>) -> bool,
    ) -> Result<&'a TransactionBuilder> {
        let here = (file_number(file), end);
        let holds = |as_of: &LogPlace| here <= (file_number(&as_of.file), as_of.offset);
        let suppressed = self.read_as_of.iter().filter(|(_, (_, as_of))| holds(as_of)).map(|(id, _)| *id);
        // A log that does not carry rows whole is refused.
        self.chunks.adjust(changes, suppressed, key_changed, &mut |_, _| Ok(None))
    }

    /// The shapes of the tables that are not finished.
    pub fn shapes(&self) -> Vec<Arc<Schema>> {
        self.chunks.unfinished().cloned().collect()
    }

    /// The table has another shape (`None`: it is gone): what was read of it and is not written yet is read again.
    pub fn table_changed(&mut self, old: u32, new: Option<&Arc<Schema>>) -> Result<()> {
        self.chunks.table_changed(old, new)
    }

    /// The table with this shape was emptied: what was read of it and is not written yet is gone.
    pub fn emptied(&mut self, schema: u32) {
        self.chunks.emptied(schema);
    }

    /// Writes the chunks for which the stream has come far enough. `read_to` is the place up to which it has read the log,
    /// between two transactions; `gtids` says the same for people.
    pub fn poll(&mut self, intake: &mut dyn Intake, read_to: &LogPlace, gtids: &dyn Display) -> Result<()> {
        self.read_as_of.retain(|_, (_, as_of)| !read_to.reaches(as_of));
        self.chunks.poll(intake, &|high| read_to.reaches(high), &mut |high, put| {
            put(Origin::BinlogSnapshot { file: &high.file, position: high.offset, gtid: &gtids.to_string() });
        })
    }

    /// Waits until a SELECT shows all that was streamed: a transaction is in the log before it is visible.
    fn wait_until_visible(&self, floor: &Position) -> Result<()> {
        let server = &self.chunks.reader().server;
        let statement = match &floor.gtids {
            // Its chunks are read at an exact place of the log, and wait for that.
            Gtids::MariaDb(_) => return Ok(()),
            Gtids::MySql(set) => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{set}', {VISIBLE_MAX_S})"),
            // The lock waits for the commits that are under way.
            Gtids::None => read_lock(self.chunks.unfinished().map(|table| (&*table.database, &*table.table))),
        };
        let mut connection = server.connect()?;
        let result = connection.query(&statement).map_err(|error| server.error(error))?;
        connection.close();
        match result.first_text() {
            Some("1") => Err(Error::reconnect(format!(
                "after {VISIBLE_MAX_S} s the server has not made visible all that is in its log"
            ))),
            _ => Ok(()),
        }
    }

    fn add(
        &mut self,
        schema: Arc<Schema>,
        ends: Ends,
        workers: usize,
        reads_unread: bool,
        intake: &mut dyn Intake,
    ) -> Result<()> {
        let place = ends.place(schema.id);
        let known = TableState::read(intake, &schema);
        if known.as_ref().map_or(!reads_unread, |state| state.finished) {
            return Ok(());
        }
        let rows_estimate = self.chunks.reader().server.rows_estimate(&schema)?;
        let state = match known {
            Some(state) if !state.parts.is_empty() => state,
            asked_for => {
                let again = asked_for.is_some_and(|state| state.again);
                let parts = self.divide(&schema, workers, rows_estimate)?;
                let state = TableState::unread(&schema.database, &schema.table, again);
                let state = TableState { first: place.first, ..state.in_parts(&schema, intake.next_sequence(), parts) };
                snapshot::remember(intake, &schema, &state)?;
                state
            }
        };
        let is_ordered = is_ordered(&schema);
        self.chunks.add(Unread { schema, of: (), state, is_last: place.last, is_ordered, rows_estimate }, intake)
    }

    /// Divides a table whose key is one integer into as many stretches as there are workers.
    fn divide(&self, schema: &Schema, workers: usize, rows_estimate: u64) -> Result<Vec<Range>> {
        let whole = || Ok(vec![Range { after: None, through: None }]);
        let [column] = schema.key[..] else { return whole() };
        let Type::Int { unsigned, .. } = schema.columns[usize::from(column)].kind else { return whole() };
        let reader = self.chunks.reader();
        if rows_estimate <= u64::from(reader.chunk_rows) {
            return whole();
        }
        let mut connection = reader.server.connect()?;
        let bounds = reader.server.key_bounds(&mut connection, schema)?;
        connection.close();
        let value = |value: i128| if unsigned { Value::UInt(value as u64) } else { Value::Int(value as i64) };
        match bounds.filter(|(low, high)| high - low >= i128::from(reader.chunk_rows)) {
            None => whole(),
            Some(bounds) => Ok(Range::divided(bounds, workers, value)),
        }
    }
}

fn find_ends(server: &Endpoint, tables: &[Arc<Schema>], chosen: &Chosen, intake: &dyn Intake) -> Result<Ends> {
    let unread = tables.iter().filter_map(|schema| match TableState::read(intake, schema) {
        None => chosen.reads(schema).then_some((&**schema, false)),
        Some(state) => (!state.finished).then_some((&**schema, !state.parts.is_empty())),
    });
    let unread: Vec<(&Schema, bool)> = unread.collect();
    if unread.is_empty() {
        return Ok(Ends::default());
    }
    let mut connection = server.connect()?;
    let ends = Ends::find(&unread, |schema| server.has_rows(&mut connection, schema, chosen.query(schema)))?;
    connection.close();
    Ok(ends)
}

/// Whether keys of this table compare here as they do in the server. Text does not: its order is the collation's.
fn is_ordered(schema: &Schema) -> bool {
    let is_ordered = |kind: &Type| {
        matches!(
            kind,
            Type::Int { .. } | Type::Date | Type::DateTime { .. } | Type::Timestamp { .. } | Type::Bytes { .. }
        )
    };
    schema.key.iter().all(|&column| is_ordered(&schema.columns[usize::from(column)].kind))
}
