//! The near end: a database that becomes transactions of changes.
//!
//! Invariant: a source never confirms a position to its database before the intake says it is durable.

use crate::change::Change;
use crate::error::{Error, Result};
use crate::row::Row;
use crate::schema::Schema;
use crate::transaction::TransactionBuilder;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// A database's change log. Runs on a thread of its own and blocks as it likes.
pub trait Source: Send {
    /// Reads the log from where `intake` stands and appends to it until told to stop. Answers `Ok` only after
    /// [`Intake::stopping`] was seen; an error's kind says whether the engine calls again.
    fn run(&mut self, intake: &mut dyn Intake) -> Result<()>;

    /// A handle with which another thread ends a blocking read of [`Self::run`] promptly.
    fn stopper(&self) -> Box<dyn Fn() + Send + Sync>;

    /// A way to ask the database where its log ends, from any thread, on a connection of its own.
    fn probe(&self) -> Arc<dyn Probe>;
}

/// Asks where the database's log ends now, so that a caller can wait until all that was committed has arrived.
pub trait Probe: Send + Sync {
    /// The position after the newest committed transaction, encoded as [`Committed::position`].
    fn end(&self) -> Result<Vec<u8>>;

    /// Whether a journal that stands at `position` holds everything up to `end`.
    fn reached(&self, position: &[u8], end: &[u8]) -> Result<bool>;
}

/// Named state that goes into the journal with a transaction: a catalog entry, the progress of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateUpdate {
    /// Its name, unique within the source.
    pub key: String,
    /// Its new content; `None` removes it.
    pub value: Option<Vec<u8>>,
}

/// One committed transaction on its way into the journal.
pub struct Committed<'a> {
    /// The header, as [`crate::transaction::put_header`] writes it.
    pub header: &'a [u8],
    /// The changes.
    pub changes: &'a TransactionBuilder,
    /// The source's position after it: all that a restart needs. Opaque to everyone else. Empty: it has not moved.
    pub position: &'a [u8],
    /// State that changes with it.
    pub state: &'a [StateUpdate],
    /// Schemas that its changes are the first to use.
    pub schemas: &'a [Schema],
    /// Not a function of the log alone (snapshot chunks): readable only once it is durable.
    pub derived: bool,
}

/// Which edges of its transaction a batch of changes holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edges {
    /// It begins with them.
    pub begin: bool,
    /// It ends with them.
    pub end: bool,
}

/// A transaction that is too large for memory, or not yet decided.
pub struct SidePart<'a> {
    /// Names the side segment; the same for all parts.
    pub id: &'a str,
}

/// A row as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// The table's latest schema when [`Intake::rows`] was called.
    pub schema: u32,
    /// The row, encoded as [`Row`] with the columns of that schema. A column that it was written without, because an
    /// `ALTER TABLE` added it later, is [`crate::Value::Absent`].
    pub row: Vec<u8>,
}

/// The rows that a table has by the journal, for a snapshot that is to find out what became of each. Frozen at the
/// moment of [`Intake::rows`]; later changes are not seen. Uses little memory, whatever the table's size.
pub trait HeldRows: Send {
    /// The row with the same key as `row`, which has the columns of the table's latest schema; it, or its absence, is
    /// marked as seen. Each row is handed out once: when it is asked for again, whoever took it has told the journal what
    /// became of it. A view that is opened after a restart begins anew with that.
    fn take(&mut self, row: &Row<'_>) -> Result<Option<HeldRow>>;

    /// Makes the marks survive a crash. Call it before appending the state that claims the rows as read; a row that is
    /// marked twice stays marked.
    fn keep(&mut self) -> Result<()>;

    /// Hands every row that was never taken to `visit`, in the order of the store.
    fn unseen(&mut self, visit: &mut dyn FnMut(&HeldRow) -> Result<()>) -> Result<()>;

    /// Forgets the marks: what they were for is in the journal.
    fn forget(&mut self) -> Result<()>;
}

/// The journal as a source sees it.
pub trait Intake {
    /// The position after the last durable transaction; `None` at the very first start.
    fn position(&self) -> Option<Vec<u8>>;

    /// State by key, as the last updates left it.
    fn state(&self, key: &str) -> Option<Vec<u8>>;

    /// All keys of the state that begin with `prefix`.
    fn state_keys(&self, prefix: &str) -> Vec<String>;

    /// The latest schema of every table, and the next free schema id.
    fn schemas(&self) -> (Vec<Schema>, u32);

    /// Appends a whole transaction. Blocks while too much is written and not yet durable.
    fn append(&mut self, transaction: &Committed<'_>) -> Result<()>;

    /// Whether transactions are shown as the original's log tells them: those without changes too, and only the edges that it
    /// tells of.
    fn shows_told_edges(&self) -> bool {
        false
    }

    /// Appends a whole transaction of which the log tells these edges. Where it makes no difference, this is
    /// [`append`](Self::append).
    fn append_told(&mut self, transaction: &Committed<'_>, _edges: Edges) -> Result<()> {
        self.append(transaction)
    }

    /// Makes all that was appended visible, and begins to make it durable; heartbeats are appended first, when it is time.
    /// Call when the log has nothing more to read at once, also when nothing was appended; it is called by itself when a
    /// frame is full.
    fn flush(&mut self) -> Result<()>;

    /// Moves the changes collected so far into the side segment `part.id`, opening it when it is new.
    fn spill(&mut self, part: &SidePart<'_>, changes: &TransactionBuilder) -> Result<()>;

    /// Appends a transaction whose changes lie in a side segment; what `transaction.changes` still holds is its end.
    fn append_side(&mut self, id: &str, transaction: &Committed<'_>) -> Result<()>;

    /// Drops a side segment whose transaction was rolled back.
    fn abort_side(&mut self, id: &str) -> Result<()>;

    /// Marks a side segment as prepared, so that it survives a restart, and remembers `position` as having seen it.
    fn prepare_side(&mut self, id: &str, transaction: &Committed<'_>) -> Result<()>;

    /// The side segments that are open or survived a restart, by id.
    fn sides(&self) -> Vec<String>;

    /// An empty file without a name, which is gone when it is dropped, for what is not decided yet.
    fn scratch(&mut self) -> Result<File> {
        scratch_in(&std::env::temp_dir())
    }

    /// Whether derived transactions may be appended now. They may not while a follower is ahead of us after a power
    /// failure, because the log must first be read again exactly as it was.
    fn accepts_derived(&self) -> bool;

    /// The sequence that the next change gets.
    fn next_sequence(&self) -> u64;

    /// Makes everything durable, then hands every change from `sequence` on to `visit`, each with the schema that it was
    /// written with. For a source that starts again in the middle of a snapshot and must know which rows the journal holds.
    fn changes_since(&mut self, sequence: u64, visit: &mut dyn FnMut(&Change<'_>, &Schema) -> Result<()>)
    -> Result<()>;

    /// The rows of `table` (`database.table`), as of all that was appended so far; flushes, and waits until that is
    /// durable. Marks made under the same `generation` of the table's snapshot are still there after a restart, those
    /// of another one are forgotten.
    fn rows(&mut self, table: &str, generation: u64) -> Result<Box<dyn HeldRows>>;

    /// The next snapshot that a user asked for: patterns of tables, empty for all.
    fn snapshot_request(&mut self) -> Option<Vec<String>>;

    /// Whether [`Self::snapshot_request`] would answer one.
    fn has_snapshot_request(&self) -> bool;

    /// The position that is durable by now; what may be confirmed to the database.
    fn durable_position(&self) -> Option<Vec<u8>>;

    /// Whether the source is to end.
    fn stopping(&self) -> bool;

    /// Tells the status page how things stand: `state` is one of connecting, snapshotting, streaming, finished; `lag_us` is the
    /// age of the newest event read.
    fn report(&mut self, report: SourceReport);
}

/// An empty file without a name in `folder`, which is made where it is not there.
pub fn scratch_in(folder: &Path) -> Result<File> {
    // Two threads never share a name, and a process that is killed here leaves an empty file that the next one replaces.
    let path = folder.join(format!("headwater-{}-{:?}", std::process::id(), std::thread::current().id()));
    let open = || {
        std::fs::create_dir_all(folder)?;
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    };
    open().map_err(|error: std::io::Error| {
        Error::reconnect(format!("no file can be made in {}", folder.display())).source(error)
    })
}

/// What a source tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceReport {
    /// connecting, snapshotting, streaming, finished.
    pub phase: &'static str,
    /// The server and its version.
    pub server: String,
    /// Its position, for people.
    pub position: String,
    /// Rows read by the snapshot so far, and an estimate of all.
    pub snapshot_rows: Option<(u64, u64)>,
}
