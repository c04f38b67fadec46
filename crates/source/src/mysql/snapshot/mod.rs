//! Snapshots: tables are read in chunks while the log is being streamed, and neither waits for the other.
//!
//! Workers read chunks (`chunk.rs`); the stream's thread writes each into the journal once it has read the log up to the
//! chunk's high mark, leaving out the rows that the stream has touched (`keys.rs`), while `rewrite.rs` makes streamed
//! changes fit the rows that are not there yet. Invariant: whichever of stream and chunk comes first writes a row, and
//! the other yields; so the journal is a well-formed history at every moment. Start at [`Snapshot`].

mod bell;
mod chosen;
mod chunk;
mod keys;
mod markers;
mod rewrite;
mod row;
mod select;
mod state;
mod whole;

pub use chosen::Chosen;
pub use chunk::Endpoint;
pub use state::{TABLE_PREFIX, TableState};

use super::position::{Gtids, LogPlace, Position, file_number};
use super::server::read_lock;
use bell::Bell;
use chunk::{Chunk, Job, Sent, Work};
use headwater_model::calendar::now_us;
use headwater_model::change::{Change, Changes};
use headwater_model::source::{Committed, HeldRows, Intake, StateUpdate};
use headwater_model::transaction::put_header;
use headwater_model::{
    Error, Op, Origin, Result, Row, Schema, SnapshotMarker, TransactionBuilder, TransactionHeader, Type, Value,
};
use markers::{Ends, Place, marker};
use rewrite::{Underway, filled, rewrite, too_many};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread::JoinHandle;

/// Seconds that a transaction may be in the log and not yet visible; semi-synchronous replicas take that long.
const VISIBLE_MAX_S: u32 = 20;

/// Bytes of deletes that are appended at once.
const RETRACTION_BYTES_MAX: usize = 1 << 20;

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
    /// Where the journal stands: what a SELECT shows must be at least that new.
    pub floor: Position,
}

/// A snapshot that is being taken. Belongs to the stream's thread.
pub struct Snapshot {
    tables: Vec<Table>,
    stream: rewrite::Tables,
    /// Tables without a key, and the place of the log as of which each was read.
    read_as_of: HashMap<u32, (Arc<Schema>, LogPlace)>,
    work: Arc<Work>,
    chunks: Receiver<Sent>,
    pending: VecDeque<Chunk>,
    workers: Vec<JoinHandle<()>>,
    rewritten: TransactionBuilder,
    rows: u64,
    rows_estimate: u64,
}

struct Table {
    schema: Arc<Schema>,
    state: TableState,
    generation: Arc<AtomicU64>,
    /// Whether it is the last that has rows.
    is_last: bool,
    wrote_any: bool,
    /// The table was altered while it is read again: the rows that the journal holds are wanted in the new shape.
    reopen: bool,
}

impl Snapshot {
    /// Begins, or goes on with, the snapshot of those of the plan's tables that have not been read; `None` when all have.
    pub fn begin(plan: Plan, intake: &mut dyn Intake) -> Result<Option<Snapshot>> {
        // A worker holds one chunk at a time, or one error.
        let (sender, chunks) = sync_channel(usize::from(plan.workers));
        let mut snapshot = Snapshot {
            tables: Vec::new(),
            stream: rewrite::Tables::default(),
            read_as_of: HashMap::new(),
            work: Arc::new(Work::new(plan.server, plan.chunk_rows, plan.floor.place())?),
            chunks,
            pending: VecDeque::new(),
            workers: Vec::new(),
            rewritten: TransactionBuilder::default(),
            rows: 0,
            rows_estimate: 0,
        };
        let chosen = &plan.chosen;
        let ends = Ends::find(&snapshot.work.server, &plan.tables, chosen, intake)?;
        // What a query selects is in no order of ours either.
        let is_whole = |schema: &Arc<Schema>| schema.key.is_empty() || chosen.query(schema).is_some();
        let (whole, keyed): (Vec<_>, Vec<_>) = plan.tables.into_iter().partition(is_whole);
        snapshot.read_whole(whole, ends, chosen, intake)?;
        for schema in keyed {
            let reads_unread = chosen.reads(&schema);
            snapshot.add(schema, ends, usize::from(plan.workers), reads_unread, intake)?;
        }
        if snapshot.is_finished() {
            return Ok(None);
        }
        snapshot.know_what_is_written(intake)?;
        snapshot.wait_until_visible(&plan.floor)?;
        for number in 0..plan.workers {
            let (work, sender) = (snapshot.work.clone(), sender.clone());
            let thread = std::thread::Builder::new()
                .name(format!("snapshot-{number}"))
                .spawn(move || chunk::work(&work, &sender))
                .map_err(|error| Error::stop("no thread for the snapshot").source(error))?;
            snapshot.workers.push(thread);
        }
        Ok(Some(snapshot))
    }

    /// Rings when [`Snapshot::poll`] may have something to write.
    pub fn bell(&self) -> &Bell {
        &self.work.sent
    }

    /// Whether every table is written.
    pub fn is_finished(&self) -> bool {
        self.read_as_of.is_empty() && self.tables.iter().all(|table| table.state.finished)
    }

    /// Whether any of `tables`, each as `database.table`, is not finished, or changes are left out of it still.
    pub fn reads_any(&self, tables: &BTreeSet<String>) -> bool {
        let is_named = |schema: &Schema| tables.contains(&schema.full_name());
        self.tables.iter().any(|table| !table.state.finished && is_named(&table.schema))
            || self.read_as_of.values().any(|(schema, _)| is_named(schema))
    }

    /// Rows written since this began, and about how many there are.
    pub fn rows(&self) -> (u64, u64) {
        (self.rows, self.rows_estimate.max(self.rows))
    }

    /// The changes of a streamed transaction as they must stand in the journal. It, or what is known of it, ends at
    /// `file` and `end`; `key_changed` tells of an update in any other table whether it changes the key.
    pub fn adjust<'a>(
        &'a mut self,
        changes: &'a TransactionBuilder,
        (file, end): (&str, u64),
        key_changed: &dyn Fn(&Change<'_>) -> bool,
    ) -> Result<&'a TransactionBuilder> {
        if !self.stream.concern(changes) {
            return Ok(changes);
        }
        let here = (file_number(file), end);
        self.stream.suppressed.clear();
        let holds = |as_of: &LogPlace| here <= (file_number(&as_of.file), as_of.offset);
        self.stream.suppressed.extend(self.read_as_of.iter().filter(|(_, (_, as_of))| holds(as_of)).map(|(id, _)| *id));
        self.rewritten.clear();
        rewrite(changes, &mut self.rewritten, &mut self.stream, key_changed)?;
        Ok(&self.rewritten)
    }

    /// The shapes of the tables that are not finished.
    pub fn shapes(&self) -> Vec<Arc<Schema>> {
        self.tables.iter().filter(|table| !table.state.finished).map(|table| table.schema.clone()).collect()
    }

    /// The table has another shape (`None`: it is gone), or was emptied: what was read of it and is not written yet is
    /// read again.
    pub fn table_changed(&mut self, old: u32, new: Option<&Arc<Schema>>) -> Result<()> {
        let Some(index) = self.tables.iter().position(|table| table.schema.id == old) else { return Ok(()) };
        let table = &mut self.tables[index];
        let generation = table.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let underway = self.stream.underway.remove(&old);
        self.pending.retain(|chunk| chunk.job.table != index);
        let Some(schema) = new else {
            table.state = TableState::done();
            return Ok(());
        };
        if key_names(&table.schema) != key_names(schema) {
            return Err(Error::stop(format!(
                "the key of {} changed while the table was being read",
                schema.full_name()
            ))
            .hint("Which of its rows were read cannot be known any more; run `headwater snapshot` for the table."));
        }
        table.schema = schema.clone();
        table.reopen = table.state.again;
        if let Some(mut underway) = underway.filter(|_| !table.state.finished) {
            underway.key.clone_from(&schema.key);
            self.stream.underway.insert(schema.id, underway);
            self.push_jobs(index, generation);
        }
        Ok(())
    }

    /// Writes the chunks for which the stream has come far enough. `read_to` is the place up to which it has read the log,
    /// between two transactions; `gtids` says the same for people.
    pub fn poll(&mut self, intake: &mut dyn Intake, read_to: &LogPlace, gtids: &dyn Display) -> Result<()> {
        self.work.sent.silence();
        loop {
            match self.chunks.try_recv() {
                Ok(Ok(chunk)) if self.is_current(&chunk.job) => self.pending.push_back(chunk),
                Ok(Err((job, error))) if self.is_current(&job) => return Err(error),
                Ok(_) => {}
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        self.read_as_of.retain(|_, (_, as_of)| !read_to.reaches(as_of));
        self.reopen(intake)?;
        while let Some(chunk) = self.pending.pop_front_if(|chunk| read_to.reaches(&chunk.high)) {
            if !intake.accepts_derived() {
                self.pending.push_front(chunk);
                break;
            }
            self.write(chunk, intake, gtids)?;
        }
        Ok(())
    }

    /// Waits until a SELECT shows all that was streamed: a transaction is in the log before it is visible.
    fn wait_until_visible(&self, floor: &Position) -> Result<()> {
        let server = &self.work.server;
        let statement = match &floor.gtids {
            // Its chunks are read at an exact place of the log, and wait for that.
            Gtids::MariaDb(_) => return Ok(()),
            Gtids::MySql(set) => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{set}', {VISIBLE_MAX_S})"),
            // The lock waits for the commits that are under way.
            Gtids::None => {
                let tables = self.tables.iter().filter(|table| !table.state.finished);
                read_lock(tables.map(|table| (&*table.schema.database, &*table.schema.table)))
            }
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

    fn reopen(&mut self, intake: &mut dyn Intake) -> Result<()> {
        for table in self.tables.iter_mut().filter(|table| table.reopen) {
            table.reopen = false;
            let Some(underway) = self.stream.underway.get_mut(&table.schema.id) else { continue };
            if let Some(mut held) = underway.held.take() {
                held.keep()?;
            }
            underway.held = Some(intake.rows(&table.schema.full_name(), table.state.began_at)?);
        }
        Ok(())
    }

    fn is_current(&self, job: &Job) -> bool {
        self.tables[job.table].generation.load(Ordering::Acquire) == job.generation
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
        let state = match TableState::read(intake, &schema) {
            None if !reads_unread => return Ok(()),
            Some(state) if state.finished => return Ok(()),
            Some(state) if !state.parts.is_empty() => state,
            asked_for => {
                let mut state = self.divide(&schema, workers, intake.next_sequence())?;
                state.again = asked_for.is_some_and(|state| state.again);
                state.first = place.first;
                remember(intake, TableState::key(&schema), &state)?;
                state
            }
        };
        let held = if state.again { Some(intake.rows(&schema.full_name(), state.began_at)?) } else { None };
        self.rows_estimate += self.work.server.rows_estimate(&schema)?;
        self.stream.underway.insert(schema.id, Underway::new(&schema, held));
        let (is_last, wrote_any) = (place.last, state.written().next().is_some());
        self.tables.push(Table { schema, state, generation: Arc::default(), is_last, wrote_any, reopen: false });
        self.push_jobs(self.tables.len() - 1, 0);
        Ok(())
    }

    /// Divides a table whose key is one integer into as many stretches as there are workers.
    fn divide(&self, schema: &Schema, workers: usize, began_at: u64) -> Result<TableState> {
        let [column] = schema.key[..] else { return Ok(TableState::begin(began_at)) };
        let Type::Int { unsigned, .. } = schema.columns[usize::from(column)].kind else {
            return Ok(TableState::begin(began_at));
        };
        let mut connection = self.work.server.connect()?;
        let bounds = self.work.server.key_bounds(&mut connection, schema)?;
        connection.close();
        let Some((low, high)) = bounds.filter(|(low, high)| high - low >= i128::from(self.work.chunk_rows)) else {
            return Ok(TableState::begin(began_at));
        };
        let cut = |part: usize| {
            let value = low + (high - low) * part as i128 / workers as i128;
            let mut key = Vec::new();
            if unsigned { Value::UInt(value as u64) } else { Value::Int(value as i64) }.encode(&mut key);
            Some(key)
        };
        let parts = (0..workers).map(|part| {
            let after = if part == 0 { None } else { cut(part) };
            let through = if part + 1 == workers { None } else { cut(part + 1) };
            keys::Range { after, through }
        });
        Ok(TableState::in_parts(began_at, parts.collect()))
    }

    fn push_jobs(&self, index: usize, generation: u64) {
        let table = &self.tables[index];
        for (part, state) in table.state.parts.iter().enumerate().filter(|(_, state)| !state.finished) {
            self.work.push(Job {
                table: index,
                part,
                schema: table.schema.clone(),
                after: state.done.clone().or_else(|| state.after.clone()),
                through: state.through.clone(),
                generation,
                newest: table.generation.clone(),
            });
        }
    }

    /// After a restart: which rows of unfinished tables the journal holds.
    fn know_what_is_written(&mut self, intake: &mut dyn Intake) -> Result<()> {
        for table in self.tables.iter().filter(|table| !table.state.finished) {
            let Some(underway) = self.stream.underway.get_mut(&table.schema.id) else { continue };
            for range in table.state.written() {
                underway.known.finish(range, std::iter::empty()).map_err(too_many)?;
            }
        }
        // Each from where it began: what was written of a table before may be the very thing that is read again.
        let begins: BTreeSet<u64> = self.tables.iter().map(|table| table.state.began_at).collect();
        begins.into_iter().try_for_each(|since| self.know_what_is_written_since(since, intake))
    }

    fn know_what_is_written_since(&mut self, since: u64, intake: &mut dyn Intake) -> Result<()> {
        let begun = self.tables.iter().filter(|table| table.state.began_at == since);
        let tables: HashMap<String, &Arc<Schema>> =
            begun.map(|table| (table.schema.full_name(), &table.schema)).collect();
        // By the shape that a change bears, which may be an earlier one of its table.
        let mut by_shape: HashMap<u32, Option<&Arc<Schema>>> = HashMap::new();
        let underway = &mut self.stream.underway;
        intake.changes_since(since, &mut |change: &Change<'_>, shape: &Schema| {
            let present = *by_shape.entry(shape.id).or_insert_with(|| tables.get(&shape.full_name()).copied());
            let Some(present) = present else { return Ok(()) };
            let Some(underway) = underway.get_mut(&present.id) else { return Ok(()) };
            [change.before, change.after].into_iter().flatten().try_for_each(|row| underway.touch(&row, shape, present))
        })
    }

    fn write(&mut self, chunk: Chunk, intake: &mut dyn Intake, gtids: &dyn Display) -> Result<()> {
        // `_held` lets the worker go on when this returns.
        let Chunk { job, range, last, rows, high, read_us, held: _held } = chunk;
        let table = &mut self.tables[job.table];
        table.state.advance(job.part, &range, last);
        let (table_ends, state) = (table.state.finished, table.state.encode());
        let Some(underway) = self.stream.underway.get_mut(&job.schema.id) else { return Ok(()) };

        self.rewritten.clear();
        let place = Place { first: table.state.first, last: table.is_last };
        let (opens, closes) = (!table.wrote_any, table_ends);
        let marker = |is_first, is_end| marker(place, opens && is_first, closes && is_end);
        write_rows(&rows, &job.schema, underway, range, marker, &mut self.rewritten)?;
        if let Some(held) = &mut underway.held {
            held.keep()?;
        }
        let written = self.rewritten.changes();
        self.rows += u64::from(written);
        table.wrote_any |= written > 0;
        let ended = if table_ends { self.stream.underway.remove(&job.schema.id) } else { None };
        let mut vanished = ended.and_then(|table| table.held);

        let mut header = Vec::new();
        put_header(
            &mut header,
            &TransactionHeader {
                commit_us: read_us,
                receive_us: now_us(),
                origin: Origin::BinlogSnapshot { file: &high.file, position: high.offset, gtid: &gtids.to_string() },
            },
        );
        if let Some(held) = &mut vanished {
            // First the chunk, without the state that says that all is done, then what no chunk has named.
            append(intake, &header, &self.rewritten, &[])?;
            self.rewritten.clear();
            retract(intake, &header, held.as_mut(), &mut self.rewritten)?;
        }
        let key = TableState::key(&job.schema);
        append(intake, &header, &self.rewritten, &[StateUpdate { key, value: Some(state) }])?;
        // Only what is in the file lets the worker read on: otherwise a crash could cost it this chunk and the next.
        intake.flush()?;
        if let Some(mut held) = vanished {
            held.forget()?;
        }
        fail::fail_point!("snapshot::after_chunk_append");
        Ok(())
    }
}

fn append(intake: &mut dyn Intake, header: &[u8], changes: &TransactionBuilder, state: &[StateUpdate]) -> Result<()> {
    intake.append(&Committed { header, changes, position: &[], state, schemas: &[], derived: true })
}

/// Deletes the rows that the journal holds and that no chunk has named; the last of the deletes stay in `changes`.
fn retract(
    intake: &mut dyn Intake,
    header: &[u8],
    held: &mut dyn HeldRows,
    changes: &mut TransactionBuilder,
) -> Result<()> {
    let mut deleted = 0u32;
    held.unseen(&mut |row| {
        let row = filled(row.clone(), None)?;
        changes.begin(Op::Delete, row.schema, 0, deleted).extend_from_slice(&row.row);
        changes.end(Op::Delete, row.schema, false);
        deleted = deleted.wrapping_add(1);
        if changes.len() >= RETRACTION_BYTES_MAX {
            append(intake, header, changes, &[])?;
            changes.clear();
        }
        Ok(())
    })
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.work.stop();
        // A worker that waits for room must find the channel closed.
        while self.chunks.try_recv().is_ok() {}
        self.workers.drain(..).for_each(|worker| drop(worker.join()));
    }
}

/// Writes the rows that the stream has not touched, with their markers: `marker` is asked of the chunk's first and last.
fn write_rows(
    rows: &TransactionBuilder,
    schema: &Schema,
    underway: &mut Underway,
    range: keys::Range,
    marker: impl Fn(bool, bool) -> SnapshotMarker,
    into: &mut TransactionBuilder,
) -> Result<()> {
    let (mut last, mut key, mut keys) = (None::<Row<'_>>, Vec::new(), Vec::new());
    // One row is held back, because only the end shows which is the last.
    for row in Changes::new(rows.items()).flatten().filter_map(|change| change.after) {
        key.clear();
        row.encode_key(&schema.key, &mut key);
        if underway.known.contains(&key) {
            continue;
        }
        if !underway.known.is_ordered() {
            keys.push(key.clone());
        }
        if let Some(earlier) = last.replace(row) {
            underway.write_read(&earlier, schema.id, marker(into.changes() == 0, false), into)?;
        }
    }
    if let Some(last) = last {
        underway.write_read(&last, schema.id, marker(into.changes() == 0, true), into)?;
    }
    underway.known.finish(range, keys.iter().map(Vec::as_slice)).map_err(too_many)
}

/// The names of the key's columns.
fn key_names(schema: &Schema) -> Vec<&str> {
    schema.key.iter().map(|&column| schema.columns[usize::from(column)].name.as_str()).collect()
}

fn remember(intake: &mut dyn Intake, key: String, state: &TableState) -> Result<()> {
    intake.append(&Committed {
        header: &[],
        changes: &TransactionBuilder::default(),
        position: &[],
        state: &[StateUpdate { key, value: Some(state.encode()) }],
        schemas: &[],
        derived: true,
    })
}
