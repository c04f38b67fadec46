//! Snapshots: tables are read in chunks while the log is being streamed, and neither waits for the other.
//!
//! Workers read chunks ([`worker`]); the stream's thread writes each into the journal once it has read the log up to the
//! chunk's mark, leaving out the rows that the stream has touched ([`keys`]), while [`rewrite`] makes streamed changes fit
//! the rows that are not there yet. What a chunk is and where the log stands then is each server's own ([`Reader`]).
//! Invariant: whichever of stream and chunk comes first writes a row, and the other yields; so the journal is a well-formed
//! history at every moment. Start at [`Snapshot`].

mod bell;
mod chosen;
mod keys;
mod markers;
mod rewrite;
mod state;
mod whole;
mod worker;

pub use bell::Bell;
pub use chosen::Chosen;
pub use keys::Range;
pub use markers::{Ends, Place, marker};
pub use rewrite::Completed;
pub use state::{TABLE_PREFIX, TableState};
pub use whole::{SIDE, WholeTable};
pub use worker::{CHUNK_BYTES_MAX, Job, POLL, Read, Reader};

use headwater_model::calendar::now_us;
use headwater_model::change::{Change, Changes};
use headwater_model::source::{Committed, HeldRows, Intake, StateUpdate};
use headwater_model::transaction::put_header;
use headwater_model::{Error, Op, Origin, Result, Row, Schema, SnapshotMarker, TransactionBuilder, TransactionHeader};
use rewrite::{Tables, Underway, filled, rewrite, too_many};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use worker::{Chunk, Sent, Work};

/// Bytes of deletes that are appended at once.
const RETRACTION_BYTES_MAX: usize = 1 << 20;

/// A snapshot that is being taken. Belongs to the stream's thread.
pub struct Snapshot<R: Reader> {
    tables: Vec<Table<R>>,
    stream: Tables,
    work: Arc<Work<R>>,
    sender: SyncSender<Sent<R>>,
    chunks: Receiver<Sent<R>>,
    pending: VecDeque<Chunk<R>>,
    workers: Vec<JoinHandle<()>>,
    rewritten: TransactionBuilder,
    tells_again: bool,
    rows: u64,
    rows_estimate: u64,
}

/// Hands the origin of a chunk that was read at a mark to what puts it down.
pub type PutOrigin<'o, M> = dyn FnMut(&M, &mut dyn FnMut(Origin<'_>)) + 'o;

/// A table that is to be read.
pub struct Unread<R: Reader> {
    /// Its shape.
    pub schema: Arc<Schema>,
    /// How it is read.
    pub of: R::Table,
    /// How far it is; its parts are what is read.
    pub state: TableState<R::Mark>,
    /// Whether it is the last that has rows.
    pub is_last: bool,
    /// Whether its keys compare here as they do in the server.
    pub is_ordered: bool,
    /// About how many rows it has.
    pub rows_estimate: u64,
}

struct Table<R: Reader> {
    schema: Arc<Schema>,
    of: R::Table,
    state: TableState<R::Mark>,
    generation: Arc<AtomicU64>,
    is_last: bool,
    wrote_any: bool,
    /// The table was altered while it is read again: the rows that the journal holds are wanted in the new shape.
    reopen: bool,
}

impl<R: Reader> Snapshot<R>
where
    R::Mark: Serialize,
{
    /// Of no table yet, for so many workers. `source` is named in errors; `tells_again`: a row that is read again is told as
    /// one that was read, whether it differs or not.
    pub fn new(source: &str, reader: R, workers: u16, tells_again: bool) -> Result<Self> {
        // A worker holds one chunk at a time, or one error.
        let (sender, chunks) = sync_channel(usize::from(workers));
        Ok(Snapshot {
            tables: Vec::new(),
            stream: Tables::default(),
            work: Arc::new(Work::new(source, reader)?),
            sender,
            chunks,
            pending: VecDeque::new(),
            workers: Vec::new(),
            rewritten: TransactionBuilder::default(),
            tells_again,
            rows: 0,
            rows_estimate: 0,
        })
    }

    /// How tables are read.
    pub fn reader(&self) -> &R {
        &self.work.reader
    }

    /// Adds a table. Its state is in the journal already.
    pub fn add(&mut self, unread: Unread<R>, intake: &mut dyn Intake) -> Result<()> {
        let Unread { schema, of, state, is_last, is_ordered, rows_estimate } = unread;
        let held = if state.again { Some(intake.rows(&schema.full_name(), state.began_at)?) } else { None };
        self.rows_estimate += rows_estimate;
        self.stream.insert(&schema, Underway::new(is_ordered, held, self.tells_again));
        let wrote_any = state.written().next().is_some();
        self.tables.push(Table { schema, of, state, generation: Arc::default(), is_last, wrote_any, reopen: false });
        self.push_jobs(self.tables.len() - 1, 0);
        Ok(())
    }

    /// Begins, or goes on with, reading the tables that were added.
    pub fn start(&mut self, workers: u16, intake: &mut dyn Intake) -> Result<()> {
        self.know_what_is_written(intake)?;
        for number in 0..workers {
            let (work, sender) = (self.work.clone(), self.sender.clone());
            let thread = std::thread::Builder::new()
                .name(format!("snapshot-{number}"))
                .spawn(move || worker::work(&work, &sender))
                .map_err(|error| Error::stop("no thread for the snapshot").source(error))?;
            self.workers.push(thread);
        }
        Ok(())
    }

    /// Rings when [`Snapshot::poll`] may have something to write.
    pub fn bell(&self) -> &Bell {
        &self.work.sent
    }

    /// Whether chunks wait for the stream.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether every table is written.
    pub fn is_finished(&self) -> bool {
        self.tables.iter().all(|table| table.state.finished)
    }

    /// The tables that are not finished.
    pub fn unfinished(&self) -> impl Iterator<Item = &Arc<Schema>> {
        self.tables.iter().filter(|table| !table.state.finished).map(|table| &table.schema)
    }

    /// Rows written since this began, and about how many there are.
    pub fn rows(&self) -> (u64, u64) {
        (self.rows, self.rows_estimate.max(self.rows))
    }

    /// Rows were written by somebody else.
    pub fn count(&mut self, rows: u64) {
        self.rows += rows;
    }

    /// The changes of a streamed transaction as they must stand in the journal; those of the tables in `suppressed` are left
    /// out. `key_changed` tells of an update whether it changes the key, `complete` completes a row of which the log does not
    /// carry all.
    pub fn adjust<'a>(
        &'a mut self,
        changes: &'a TransactionBuilder,
        suppressed: impl IntoIterator<Item = u32>,
        key_changed: &dyn Fn(&Change<'_>) -> bool,
        complete: &mut Completed<'_>,
    ) -> Result<&'a TransactionBuilder> {
        self.stream.suppressed.clear();
        self.stream.suppressed.extend(suppressed);
        if !self.stream.concern(changes) {
            return Ok(changes);
        }
        self.rewritten.clear();
        rewrite(changes, &mut self.rewritten, &mut self.stream, key_changed, complete)?;
        Ok(&self.rewritten)
    }

    /// Rows of the table whose shape is `of` come in the shape `schema`, too.
    pub fn also(&mut self, of: u32, schema: &Schema) {
        self.stream.also(of, schema);
    }

    /// The table has another shape (`None`: it is gone): what was read of it and is not written yet is read again.
    pub fn table_changed(&mut self, old: u32, new: Option<&Arc<Schema>>) -> Result<()> {
        let Some(index) = self.tables.iter().position(|table| table.schema.id == old) else { return Ok(()) };
        let table = &mut self.tables[index];
        let generation = table.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let underway = self.stream.remove(old);
        self.pending.retain(|chunk| chunk.job.table != index);
        let Some(schema) = new else {
            table.state = TableState::done(&table.schema.database, &table.schema.table);
            return Ok(());
        };
        if table.schema.key_names().ne(schema.key_names()) {
            return Err(Error::stop(format!(
                "the key of {} changed while the table was being read",
                schema.full_name()
            ))
            .hint("Which of its rows were read cannot be known any more; run `headwater snapshot` for the table."));
        }
        table.schema = schema.clone();
        table.reopen = table.state.again;
        if let Some(underway) = underway.filter(|_| !table.state.finished) {
            self.stream.insert(schema, underway);
            self.push_jobs(index, generation);
        }
        Ok(())
    }

    /// The table with this shape was emptied: what was read of it and is not written yet is read again.
    pub fn emptied(&mut self, schema: u32) {
        let Some(index) = self.tables.iter().position(|table| table.schema.id == schema) else { return };
        let table = &mut self.tables[index];
        let generation = table.generation.fetch_add(1, Ordering::AcqRel) + 1;
        table.reopen = table.state.again;
        self.pending.retain(|chunk| chunk.job.table != index);
        self.push_jobs(index, generation);
    }

    /// Writes the chunks for which the stream has come far enough, which `is_reached` tells by their marks; `origin` puts down
    /// where in the log such a chunk stands.
    pub fn poll(
        &mut self,
        intake: &mut dyn Intake,
        is_reached: &dyn Fn(&R::Mark) -> bool,
        origin: &mut PutOrigin<'_, R::Mark>,
    ) -> Result<()> {
        self.work.sent.silence();
        loop {
            match self.chunks.try_recv() {
                Ok(Ok(chunk)) if self.is_current(&chunk.job) => self.pending.push_back(chunk),
                Ok(Err((job, error))) if self.is_current(&job) => return Err(error),
                Ok(_) => {}
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        self.reopen(intake)?;
        while let Some(chunk) = self.pending.pop_front_if(|chunk| is_reached(&chunk.high)) {
            if !intake.accepts_derived() {
                self.pending.push_front(chunk);
                break;
            }
            self.write(chunk, intake, origin)?;
        }
        Ok(())
    }

    fn reopen(&mut self, intake: &mut dyn Intake) -> Result<()> {
        for table in self.tables.iter_mut().filter(|table| table.reopen) {
            table.reopen = false;
            let Some(underway) = self.stream.underway(table.schema.id) else { continue };
            if let Some(mut held) = underway.held.take() {
                held.keep()?;
            }
            underway.held = Some(intake.rows(&table.schema.full_name(), table.state.began_at)?);
        }
        Ok(())
    }

    fn is_current(&self, job: &Job<R::Table>) -> bool {
        self.tables[job.table].generation.load(Ordering::Acquire) == job.generation
    }

    fn push_jobs(&self, index: usize, generation: u64) {
        let table = &self.tables[index];
        for (part, state) in table.state.parts.iter().enumerate().filter(|(_, state)| !state.finished) {
            self.work.push(Job {
                table: index,
                part,
                schema: table.schema.clone(),
                of: table.of.clone(),
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
            let Some(underway) = self.stream.underway(table.schema.id) else { continue };
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
        let stream = &mut self.stream;
        intake.changes_since(since, &mut |change: &Change<'_>, shape: &Schema| {
            let present = *by_shape.entry(shape.id).or_insert_with(|| tables.get(&shape.full_name()).copied());
            let Some(present) = present else { return Ok(()) };
            let Some(underway) = stream.underway(present.id) else { return Ok(()) };
            [change.before, change.after].into_iter().flatten().try_for_each(|row| underway.touch(&row, shape, present))
        })
    }

    fn write(&mut self, chunk: Chunk<R>, intake: &mut dyn Intake, origin: &mut PutOrigin<'_, R::Mark>) -> Result<()> {
        // `_held` lets the worker go on when this returns.
        let Chunk { job, range, last, rows, high, read_us, held: _held } = chunk;
        let table = &mut self.tables[job.table];
        table.state.advance(job.part, &range, last);
        let (table_ends, state) = (table.state.finished, table.state.encode());
        let Some(underway) = self.stream.underway(job.schema.id) else { return Ok(()) };

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
        let ended = if table_ends { self.stream.remove(job.schema.id) } else { None };
        let mut vanished = ended.and_then(|table| table.held);

        let mut header = Vec::new();
        let mut put = |origin: Origin<'_>| {
            put_header(&mut header, &TransactionHeader { commit_us: read_us, receive_us: now_us(), origin });
        };
        origin(&high, &mut put);
        if let Some(held) = &mut vanished {
            // First the chunk, without the state that says that all is done, then what no chunk has named.
            append(intake, &header, &self.rewritten, &[])?;
            self.rewritten.clear();
            retract(intake, &header, held.as_mut(), &mut self.rewritten)?;
        }
        let key = TableState::<R::Mark>::key(&job.schema);
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

impl<R: Reader> Drop for Snapshot<R> {
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
    range: Range,
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

/// The encoded key of an encoded row.
pub fn last_key(schema: &Schema, mut row: &[u8]) -> Result<Vec<u8>> {
    let row = Row::decode(&mut row)
        .ok_or_else(|| Error::stop(format!("a row of {} cannot be read back", schema.full_name())))?;
    let mut key = Vec::new();
    row.encode_key(&schema.key, &mut key);
    Ok(key)
}

/// Puts a table's state into the journal.
pub fn remember<M: Serialize>(intake: &mut dyn Intake, schema: &Schema, state: &TableState<M>) -> Result<()> {
    let value = Some(state.encode());
    append(intake, &[], &TransactionBuilder::default(), &[StateUpdate { key: TableState::<M>::key(schema), value }])
}
