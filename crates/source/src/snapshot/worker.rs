//! The workers that read chunks, each on a connection and a thread of its own.
//!
//! Invariant: a worker reads its next chunk only when the last one is in the journal's file, so that a crash costs each of
//! them at most one. Start at [`work`].

use super::bell::Bell;
use super::keys::Range;
use headwater_model::{Error, Result, Schema, TransactionBuilder, calendar};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Bytes of rows after which a chunk ends early.
pub const CHUNK_BYTES_MAX: usize = 4 << 20;
/// How long a worker waits before it looks again whether it is to end.
pub const POLL: Duration = Duration::from_millis(20);

/// How long until a process without a free descriptor tries again.
const SOCKET_WAIT: Duration = Duration::from_secs(1);

/// How the tables of one server are read in chunks.
pub trait Reader: Send + Sync + 'static {
    /// What it must know of a table beside the schema.
    type Table: Clone + Send + Sync;
    /// A connection to the server.
    type Connection;
    /// The place up to which the log has to be read before a chunk is written: at or after every transaction whose effect
    /// its rows may show, so that each row that was changed while it was read is known by then.
    type Mark: Send;

    /// Connects.
    fn connect(&self) -> Result<Self::Connection>;

    /// Makes ready for the chunks of another stretch.
    fn begin(&self, connection: &mut Self::Connection);

    /// Reads the rows of the job's stretch that come after the key `after`, as many as a chunk may have.
    fn read(
        &self,
        connection: &mut Self::Connection,
        job: &Job<Self::Table>,
        after: Option<&[u8]>,
    ) -> Result<Read<Self::Mark>>;
}

/// The rows of a chunk.
pub struct Read<M> {
    /// As reads.
    pub rows: TransactionBuilder,
    /// The key of the last one, unless the stretch ends here.
    pub last_key: Option<Vec<u8>>,
    /// Where the log stood.
    pub high: M,
}

/// A stretch of a table that one worker reads, chunk by chunk.
#[derive(Clone)]
pub struct Job<T> {
    /// The table's index.
    pub table: usize,
    /// The part's index.
    pub part: usize,
    /// The shape that its rows have.
    pub schema: Arc<Schema>,
    /// How it is read.
    pub of: T,
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
pub struct Chunk<R: Reader> {
    /// Of which job.
    pub job: Job<R::Table>,
    /// What they cover.
    pub range: Range,
    /// Whether the part ends here.
    pub last: bool,
    /// The rows, as reads.
    pub rows: TransactionBuilder,
    /// The log has to be read up to here before they are written.
    pub high: R::Mark,
    /// When they were read, microseconds since the epoch.
    pub read_us: i64,
    /// Dropped with the chunk, once it is written or thrown away: only then does its worker read the next one, so that
    /// a crash costs at most one chunk a worker.
    pub held: SyncSender<()>,
}

/// What the workers share.
pub struct Work<R: Reader> {
    jobs: Mutex<VecDeque<Job<R::Table>>>,
    bell: Condvar,
    stopping: AtomicBool,
    /// Rings when a chunk, or an error, was sent.
    pub sent: Bell,
    /// How tables are read.
    pub reader: R,
}

impl<R: Reader> Work<R> {
    /// Nothing to do yet; `source` is named in errors.
    pub fn new(source: &str, reader: R) -> Result<Self> {
        let (jobs, bell, stopping) = (Mutex::default(), Condvar::new(), AtomicBool::new(false));
        let sent = Bell::new().map_err(|error| {
            let what = format!("source {source}: no socket for the snapshot's workers");
            Error::retry_after(SOCKET_WAIT, what).source(error)
        })?;
        Ok(Work { jobs, bell, stopping, sent, reader })
    }

    /// Adds a job.
    pub fn push(&self, job: Job<R::Table>) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push_back(job);
        self.bell.notify_one();
    }

    /// Ends the workers.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.bell.notify_all();
    }

    fn next(&self) -> Option<Job<R::Table>> {
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
pub type Sent<R> = Result<Chunk<R>, (Job<<R as Reader>::Table>, Error)>;

/// A worker's life.
pub fn work<R: Reader>(work: &Work<R>, out: &SyncSender<Sent<R>>) {
    let mut connection = None;
    while let Some(job) = work.next() {
        if let Err(error) = read_part(work, &mut connection, &job, out) {
            connection = None;
            send(work, out, Err((job, error)));
        }
    }
}

fn read_part<R: Reader>(
    work: &Work<R>,
    held: &mut Option<R::Connection>,
    job: &Job<R::Table>,
    out: &SyncSender<Sent<R>>,
) -> Result<()> {
    let connection = match held {
        Some(connection) => connection,
        None => held.insert(work.reader.connect()?),
    };
    work.reader.begin(connection);
    let mut after = job.after.clone();
    loop {
        if job.newest.load(Ordering::Acquire) != job.generation || work.stopping.load(Ordering::Acquire) {
            return Ok(());
        }
        let (held, written) = sync_channel(0);
        let read = work.reader.read(connection, job, after.as_deref())?;
        let last = read.last_key.is_none();
        let range = Range { after, through: read.last_key.or_else(|| job.through.clone()) };
        after = range.through.clone();
        let (rows, high, read_us) = (read.rows, read.high, calendar::now_us());
        fail::fail_point!("snapshot::after_chunk_read");
        if !send(work, out, Ok(Chunk { job: job.clone(), range, last, rows, high, read_us, held })) || last {
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
fn send<R: Reader>(work: &Work<R>, out: &SyncSender<Sent<R>>, mut sent: Sent<R>) -> bool {
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
