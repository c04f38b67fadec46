//! The workers that read chunks, each on a connection and a thread of its own.
//!
//! Invariant: a chunk's `high` lies at or after every transaction whose effect its rows may show, so that whoever has
//! read the log up to there knows each row that was changed while the chunk was read.

use super::super::position::LogPlace;
use super::super::server::{identifier, log_end, place_of_snapshot, quoted};
use super::super::wire::{Connection, Error as WireError, Options as WireOptions, Param, Statement};
use super::bell::Bell;
use super::keys::Range;
use super::row::RowPlan;
use super::select::{after_params, chunk, key_params};
use headwater_model::{Error, Op, Result, Row, Schema, SnapshotMarker, TransactionBuilder, calendar};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Bytes of rows after which a chunk ends early.
const CHUNK_BYTES_MAX: usize = 4 << 20;
/// How long a worker waits before it looks again whether it is to end.
const POLL: Duration = Duration::from_millis(20);

/// How long until a process without a free descriptor tries again.
const SOCKET_WAIT: Duration = Duration::from_secs(1);

/// The server's error of a table that is not there.
const NO_SUCH_TABLE: u16 = 1146;
/// And of a database.
const NO_SUCH_DATABASE: u16 = 1049;

/// How often a snapshot that is older than what was streamed is begun anew before the connection is.
const FLOOR_TRIES_MAX: u32 = 250;

/// A stretch of a table that one worker reads, chunk by chunk.
#[derive(Clone)]
pub struct Job {
    /// The table's index.
    pub table: usize,
    /// The part's index.
    pub part: usize,
    /// The shape that its rows have.
    pub schema: Arc<Schema>,
    /// Read after this key.
    pub after: Option<Vec<u8>>,
    /// And up to this one.
    pub through: Option<Vec<u8>>,
    /// Chunks of an earlier generation are thrown away: the table was altered or truncated meanwhile.
    pub generation: u64,
    /// The table's newest generation.
    pub newest: Arc<AtomicU64>,
}

/// Rows that were read.
pub struct Chunk {
    /// Of which job.
    pub job: Job,
    /// What they cover.
    pub range: Range,
    /// Whether the part ends here.
    pub last: bool,
    /// The rows, as reads.
    pub rows: TransactionBuilder,
    /// The log's end after they were read.
    pub high: LogPlace,
    /// When they were read, microseconds since the epoch.
    pub read_us: i64,
    /// Dropped with the chunk, once it is written or thrown away: only then does its worker read the next one, so that
    /// a crash costs at most one chunk a worker.
    pub held: SyncSender<()>,
}

/// The server that a snapshot reads.
#[derive(Clone)]
pub struct Endpoint {
    /// The source's name, for its errors.
    pub source: String,
    /// How to reach it.
    pub options: WireOptions,
    /// Which of its hosts.
    pub host: usize,
}

/// What the workers share.
pub struct Work {
    jobs: Mutex<VecDeque<Job>>,
    bell: Condvar,
    stopping: AtomicBool,
    /// Rings when a chunk, or an error, was sent.
    pub sent: Bell,
    /// The server that is read.
    pub server: Endpoint,
    /// Rows of a chunk.
    pub chunk_rows: u32,
    /// Chunks are read at this place of the log or after it.
    floor: LogPlace,
}

impl Work {
    /// Nothing to do yet.
    pub fn new(server: Endpoint, chunk_rows: u32, floor: LogPlace) -> Result<Self> {
        let (jobs, bell, stopping) = (Mutex::default(), Condvar::new(), AtomicBool::new(false));
        let sent = Bell::new().map_err(|error| {
            let what = format!("source {}: no socket for the snapshot's workers", server.source);
            Error::retry_after(SOCKET_WAIT, what).source(error)
        })?;
        Ok(Work { jobs, bell, stopping, sent, server, chunk_rows, floor })
    }

    /// MariaDB: begins a consistent snapshot that shows all that was streamed; answers where it stands in the log.
    pub fn begin_at_floor(&self, connection: &mut Connection) -> Result<LogPlace> {
        let failed = |error| self.server.error(error);
        for _ in 0..FLOOR_TRIES_MAX {
            connection.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT").map_err(failed)?;
            let place = match place_of_snapshot(connection).map_err(failed)? {
                Some(place) => place,
                None => self.server.log_end(connection)?,
            };
            if place.reaches(&self.floor) {
                return Ok(place);
            }
            std::thread::park_timeout(POLL);
        }
        Err(Error::reconnect(format!("{} does not show yet all that is in its log", connection.peer())))
    }

    /// Adds a job.
    pub fn push(&self, job: Job) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push_back(job);
        self.bell.notify_one();
    }

    /// Ends the workers.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.bell.notify_all();
    }

    fn next(&self) -> Option<Job> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.stopping.load(Ordering::Acquire) {
                return None;
            }
            if let Some(job) = jobs.pop_front() {
                return Some(job);
            }
            jobs = self.bell.wait_timeout(jobs, POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What a worker sends: a chunk, or why its job cannot go on.
pub type Sent = Result<Chunk, (Job, Error)>;

/// A worker's life.
pub fn work(work: &Work, out: &SyncSender<Sent>) {
    let mut connection = None;
    while let Some(job) = work.next() {
        if let Err(error) = read_part(work, &mut connection, &job, out) {
            connection = None;
            send(work, out, Err((job, error)));
        }
    }
}

fn read_part(work: &Work, held: &mut Option<Connection>, job: &Job, out: &SyncSender<Sent>) -> Result<()> {
    let connection = match held {
        Some(connection) => connection,
        None => held.insert(work.server.connect()?),
    };
    let mut reading =
        Reading { work, after: job.after.clone(), first: None, next: None, limit: u64::from(work.chunk_rows) };
    loop {
        if job.newest.load(Ordering::Acquire) != job.generation || work.stopping.load(Ordering::Acquire) {
            return Ok(());
        }
        let (held, written) = sync_channel(0);
        let chunk = reading.chunk(connection, job, held)?;
        let last = chunk.last;
        reading.after.clone_from(&chunk.range.through);
        fail::fail_point!("snapshot::after_chunk_read");
        if !send(work, out, Ok(chunk)) || last {
            return Ok(());
        }
        while written.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
            if work.stopping.load(Ordering::Acquire) {
                return Ok(());
            }
        }
    }
}

/// Blocks until there is room, so that no more chunks are in memory than the channel holds.
fn send(work: &Work, out: &SyncSender<Sent>, mut sent: Sent) -> bool {
    loop {
        match out.try_send(sent) {
            Ok(()) => {
                work.sent.ring();
                return true;
            }
            Err(TrySendError::Disconnected(_)) => return false,
            Err(TrySendError::Full(again)) if work.stopping.load(Ordering::Acquire) => {
                drop(again);
                return false;
            }
            Err(TrySendError::Full(again)) => sent = again,
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

impl Endpoint {
    /// A connection whose values read as the log's do.
    pub fn connect(&self) -> Result<Connection> {
        let mut connection = Connection::connect(&self.options, self.host).map_err(|error| self.error(error))?;
        // An empty SQL mode keeps CHAR as it is stored; UTC makes TIMESTAMP what it is in the log.
        let isolation = if connection.server().is_mariadb { "tx_isolation" } else { "transaction_isolation" };
        let session = format!("SET SESSION sql_mode = '', time_zone = '+00:00', {isolation} = 'REPEATABLE-READ'");
        connection.execute(&session).map_err(|error| self.error(error))?;
        Ok(connection)
    }

    /// Where the log ends now.
    pub fn log_end(&self, connection: &mut Connection) -> Result<LogPlace> {
        log_end(connection).map_err(|error| self.error(error))
    }

    /// The smallest and the largest key of a table whose key is one integer column; `None` when it is empty.
    pub fn key_bounds(&self, connection: &mut Connection, schema: &Schema) -> Result<Option<(i128, i128)>> {
        let key = identifier(&schema.columns[usize::from(schema.key[0])].name);
        let table = format!("{}.{}", identifier(&schema.database), identifier(&schema.table));
        let bounds = connection.query(&format!("SELECT MIN({key}) AS low, MAX({key}) AS high FROM {table}"));
        let bounds = bounds.map_err(|error| self.error(error))?;
        let number = |name| bounds.text(0, name).and_then(|text| text.parse().ok());
        Ok(number("low").zip(number("high")))
    }

    /// Whether a table, or what is selected in its place, has any row. One that is gone has none.
    pub fn has_rows(&self, connection: &mut Connection, schema: &Schema, query: Option<&str>) -> Result<bool> {
        let table = match query {
            None => format!("{}.{}", identifier(&schema.database), identifier(&schema.table)),
            Some(query) => format!("({query}) AS selected"),
        };
        match connection.query(&format!("SELECT 1 FROM {table} LIMIT 1")) {
            Ok(found) => Ok(found.first_text().is_some()),
            Err(error)
                if error.server().is_some_and(|error| matches!(error.code, NO_SUCH_TABLE | NO_SUCH_DATABASE)) =>
            {
                Ok(false)
            }
            Err(error) => Err(self.error(error)),
        }
    }

    /// About how many rows a table has.
    pub fn rows_estimate(&self, schema: &Schema) -> Result<u64> {
        let mut connection = self.connect()?;
        let sql = format!(
            "SELECT TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
            quoted(&schema.database),
            quoted(&schema.table)
        );
        let rows = connection.query(&sql).map_err(|error| self.error(error))?;
        Ok(rows.first_text().and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// What the engine does about an error of the connection.
    pub fn error(&self, error: WireError) -> Error {
        super::super::failure::of_connection(&self.source, error)
    }
}

/// A part that is being read.
struct Reading<'a> {
    work: &'a Work,
    after: Option<Vec<u8>>,
    first: Option<Statement>,
    next: Option<Statement>,
    limit: u64,
}

impl Reading<'_> {
    fn chunk(&mut self, connection: &mut Connection, job: &Job, held: SyncSender<()>) -> Result<Chunk> {
        let is_mariadb = connection.server().is_mariadb;
        let mut high = LogPlace::default();
        if is_mariadb {
            // Its consistent snapshot stands at one exact place of the log, so that place is the high mark.
            high = self.work.begin_at_floor(connection)?;
        }
        let (rows, range, last) = self.read(connection, job)?;
        match is_mariadb {
            true => drop(connection.execute("COMMIT").map_err(|error| self.work.server.error(error))?),
            false => high = self.work.server.log_end(connection)?,
        }
        Ok(Chunk { job: job.clone(), range, last, rows, high, read_us: calendar::now_us(), held })
    }

    fn read(&mut self, connection: &mut Connection, job: &Job) -> Result<(TransactionBuilder, Range, bool)> {
        let schema = &*job.schema;
        let after = self.after.as_deref().map(|key| bound(schema, key)).transpose()?.unwrap_or_default();
        let through = job.through.as_deref().map(|key| bound(schema, key)).transpose()?.unwrap_or_default();
        let mut params: Vec<Param<'_>> = if after.is_empty() { Vec::new() } else { after_params(&after) };
        params.extend(through.iter().map(super::select::KeyParam::as_param));

        let kept = if after.is_empty() { &mut self.first } else { &mut self.next };
        let statement = match kept {
            Some(statement) => statement,
            None => {
                // One row more than a chunk has shows whether another chunk follows.
                let sql = chunk(schema, !after.is_empty(), !through.is_empty(), self.limit + 1);
                kept.insert(connection.prepare(&sql).map_err(|error| self.work.server.error(error))?)
            }
        };
        let mut rows =
            connection.execute_prepared(statement, &params).map_err(|error| self.work.server.error(error))?;
        let plan = RowPlan::new(schema, rows.columns());
        let (mut read, mut count, mut more) = (TransactionBuilder::default(), 0u64, false);
        let mut last_row = 0;
        while let Some(packet) = rows.next_row().map_err(|error| self.work.server.error(error))? {
            if count == self.limit || read.len() >= CHUNK_BYTES_MAX {
                more = true;
                continue;
            }
            let out = read.begin_read(schema.id, count as u32, SnapshotMarker::True);
            last_row = out.len();
            if let Err((column, what)) = plan.transcode(packet, out) {
                return Err(bad_row(schema, column, what));
            }
            read.end(Op::Read, schema.id, false);
            count += 1;
        }
        let through = match more {
            true => Some(last_key(schema, &read.items()[last_row..])?),
            false => job.through.clone(),
        };
        Ok((read, Range { after: self.after.clone(), through }, !more))
    }
}

fn bound(schema: &Schema, key: &[u8]) -> Result<Vec<super::select::KeyParam>> {
    key_params(schema, key).ok_or_else(|| {
        Error::stop(format!("the snapshot of {} cannot go on", schema.full_name()))
            .detail("The key of its last chunk does not fit the table's key")
            .hint("Take the snapshot again: headwater snapshot SOURCE TABLE.")
    })
}

fn last_key(schema: &Schema, mut row: &[u8]) -> Result<Vec<u8>> {
    let row = Row::decode(&mut row).ok_or_else(|| bad_row(schema, 0, "the row cannot be read back"))?;
    let mut key = Vec::new();
    row.encode_key(&schema.key, &mut key);
    Ok(key)
}

/// A row that does not fit its table.
pub fn bad_row(schema: &Schema, column: usize, what: &str) -> Error {
    let name = schema.columns.iter().filter(|column| !column.excluded).nth(column).map_or("?", |column| &column.name);
    Error::stop(format!("the snapshot of {} cannot read column {name}: {what}", schema.full_name()))
        .hint("Leave the column out with exclude_columns, and report this with the column's type.")
}
