//! A source's row store: opened when somebody needs it, rolled forward from the journal, closed when it rests.
//!
//! Nothing on the source's way knows of it. It is needed before retention deletes a segment, to fill a follower whose
//! beginning the journal no longer holds, and to find out what a new snapshot no longer names. Invariant: it holds only
//! what is durable in the journal, and retention deletes only what is durable here. Start at [`Rows::roll`].

use crate::intake::{damaged, journal_error};
use crate::schemas;
use crate::stop::Stop;
use headwater_journal::{From, Item, Journal, Reader};
use headwater_model::change::Changes;
use headwater_model::{Error, JournalId, Result, Row, Schema, TransactionView};
use headwater_store::{RowStore, StoreOptions, StoredRow, View};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of rows that go into the store at once.
const COMMIT_BYTES: usize = 1 << 20;
/// How long one step of rolling keeps others from the store.
const STEP: Duration = Duration::from_millis(200);
/// Bytes that retention puts into the store while rows are being read: they stay in memory until that ends.
const BESIDE_VIEWS_MAX: u64 = 8 << 20;
/// How long the store stays open without use: it has threads and memory.
const REST_AFTER: Duration = Duration::from_secs(10);
/// When to try again after the store's disk refused.
const RETRY: Duration = Duration::from_secs(5);

/// The rows of one source's tables, as its journal has them.
pub struct Rows {
    source: String,
    dir: PathBuf,
    journal: Journal,
    open: Mutex<Option<Open>>,
    /// Everything below this is in the store and survives a power failure.
    kept: AtomicU64,
    /// The store is gone and the journal no longer holds its beginning.
    lost: AtomicBool,
}

struct Open {
    store: RowStore,
    /// Stands where the store does.
    reader: Option<Reader>,
    used: Instant,
}

impl Rows {
    /// Of the source named `source`, whose store lies in `dir`. Opens nothing.
    pub fn new(source: &str, dir: PathBuf, journal: Journal) -> Rows {
        let (open, kept, lost) = (Mutex::default(), AtomicU64::new(0), AtomicBool::new(false));
        Rows { source: source.to_owned(), dir, journal, open, kept, lost }
    }

    /// Everything below this need not be in the journal for the store's sake.
    pub fn kept(&self) -> u64 {
        self.kept.load(Ordering::Acquire)
    }

    /// Whether the store can never again hold all rows, so that the journal need not wait for it.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Rolls the store forward to `target`, or as far as is durable, for at most `limit`. Answers where it stands. Goes
    /// no further when that would cost much memory, because rows are being read: retention can wait for that.
    pub fn roll(&self, target: u64, limit: Duration) -> Result<u64> {
        let mut open = self.lock();
        let opened = self.opened(&mut open)?;
        if opened.store.beside_views_bytes() >= BESIDE_VIEWS_MAX {
            return Ok(opened.store.sequence());
        }
        self.roll_locked(&mut open, target, limit)
    }

    /// Makes what was rolled survive a power failure: retention may delete it then.
    pub fn checkpoint(&self) -> Result<()> {
        let mut open = self.lock();
        let opened = self.opened(&mut open)?;
        let (sequence, done) = (opened.store.sequence(), opened.store.checkpoint());
        done.map_err(|error| self.refused(error))?;
        self.kept.fetch_max(sequence, Ordering::AcqRel);
        Ok(())
    }

    /// The rows as of everything that can be read in the journal now, or a little later. `schemas` are known to the view
    /// too, where the store has come past the changes before them and not yet to them.
    pub fn view(&self, schemas: &[Schema], stop: &Stop) -> Result<View> {
        self.catch_up(self.journal.visible_sequence(), stop)?;
        // Another step may have ended in the middle of a transaction; what is durable ends after one.
        let mut open = self.lock();
        self.roll_locked(&mut open, self.journal.durable_sequence(), Duration::MAX)?;
        let store = &mut self.opened(&mut open)?.store;
        schemas.iter().try_for_each(|schema| store.learn(schema)).map_err(|error| self.refused(error))?;
        Ok(store.view())
    }

    /// The row of `schema`'s table with the same key as `row`, as of where the store was rolled to, and the schema that it was
    /// written with.
    pub fn latest(&self, schema: &Schema, row: &Row<'_>) -> Result<Option<(StoredRow, Arc<Schema>)>> {
        let mut open = self.lock();
        let store = &mut self.opened(&mut open)?.store;
        store.learn(schema).map_err(|error| self.refused(error))?;
        self.latest_in(store, schema, row)
    }

    /// The same in another store of rows of this journal, which knows the schema.
    pub fn latest_in(
        &self,
        store: &RowStore,
        schema: &Schema,
        row: &Row<'_>,
    ) -> Result<Option<(StoredRow, Arc<Schema>)>> {
        let Some(held) = store.latest(schema.id, row).map_err(|error| self.refused(error))? else { return Ok(None) };
        match store.schema(held.schema) {
            Some(written) => Ok(Some((held, written.clone()))),
            None => Err(Error::stop(format!("a row of {} was written with an unknown schema", schema.full_name()))),
        }
    }

    /// Rolls the store forward to `end`, which is visible; waits until that is durable.
    pub fn catch_up(&self, end: u64, stop: &Stop) -> Result<()> {
        let stopped = || Error::reconnect(format!("source {}: stopped while its rows were gathered", self.source));
        while !self.journal.wait_durable(end, Instant::now() + STEP).map_err(journal_error)? {
            if stop.is_stopped() {
                return Err(stopped());
            }
        }
        while self.roll_locked(&mut self.lock(), end, STEP)? < end {
            if stop.is_stopped() {
                return Err(stopped());
            }
        }
        Ok(())
    }

    /// Closes the store when nobody has used it for a while.
    pub fn rest(&self) {
        let mut open = self.lock();
        if open.as_ref().is_some_and(|open| open.used.elapsed() >= REST_AFTER && !open.store.is_in_use()) {
            self.shut(&mut open);
        }
    }

    /// Closes the store.
    pub fn close(&self) {
        self.shut(&mut self.lock());
    }

    fn shut(&self, open: &mut Option<Open>) {
        if let Some(Err(error)) = open.take().map(|open| open.store.close()) {
            tracing::warn!(source = %self.source, %error, "the row store could not be closed in order");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn roll_locked(&self, slot: &mut Option<Open>, target: u64, limit: Duration) -> Result<u64> {
        let open = self.opened(slot)?;
        let (target, began) = (target.min(self.journal.durable_sequence()), Instant::now());
        let mut result = Ok(());
        while result.is_ok() && open.store.sequence() < target && began.elapsed() < limit {
            result = open.absorb(&self.journal, target, self);
        }
        let sequence = open.store.sequence();
        // The store may be in any state then; opening it again finds out.
        result.inspect_err(|_| *slot = None)?;
        Ok(sequence)
    }

    fn opened<'o>(&self, slot: &'o mut Option<Open>) -> Result<&'o mut Open> {
        if slot.is_none() {
            let store = self.open_store()?;
            self.kept.fetch_max(store.sequence(), Ordering::AcqRel);
            *slot = Some(Open { store, reader: None, used: Instant::now() });
        }
        let open = slot.as_mut().ok_or_else(|| Error::stop("the row store is not open"))?;
        open.used = Instant::now();
        Ok(open)
    }

    fn open_store(&self) -> Result<RowStore> {
        let (id, first) = (JournalId(self.journal.id().0), self.journal.first_sequence());
        let mut store = match RowStore::open(&self.dir, StoreOptions::default()) {
            Ok(store) => store,
            Err(error) if first == 0 && self.dir.exists() => {
                tracing::warn!(source = %self.source, %error, "the row store cannot be opened; it is derived anew");
                self.start_over()?
            }
            Err(error) => return Err(self.refused(error)),
        };
        let is_ours = store.journal().is_none_or(|held| held == id);
        if !is_ours || store.sequence() > self.journal.durable_sequence() {
            tracing::warn!(source = %self.source, "the row store is of another journal; it is derived anew");
            drop(store);
            store = self.start_over()?;
        }
        if store.sequence() < first {
            self.lost.store(true, Ordering::Release);
            return Err(Error::stop(format!("the row store of source {} does not reach back far enough", self.source))
                .detail(format!("It stands at sequence {}, and the journal begins at {first}.", store.sequence()))
                .hint(format!(
                    "The rows have to be read from the database again: stop Headwater, move the journal's folder away, \
                     and start it. The folder of the store is {}.",
                    self.dir.display()
                )));
        }
        if store.journal().is_none() {
            store.belong_to(id).map_err(|error| self.refused(error))?;
        }
        store.checkpoint().map_err(|error| self.refused(error))?;
        Ok(store)
    }

    fn start_over(&self) -> Result<RowStore> {
        remove(&self.dir).map_err(|error| {
            Error::retry_after(RETRY, format!("{} cannot be removed", self.dir.display())).source(error)
        })?;
        RowStore::open(&self.dir, StoreOptions::default()).map_err(|error| self.refused(error))
    }

    /// What the engine does about an error of the store.
    pub fn refused(&self, error: headwater_store::Error) -> Error {
        let what = format!("the row store of source {}", self.source);
        match error {
            headwater_store::Error::Storage { .. } => Error::retry_after(RETRY, what).source(error),
            _ => Error::stop(what).source(error),
        }
    }
}

fn remove(dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl Open {
    /// Takes about [`COMMIT_BYTES`] of changes out of the journal, up to `target`, into the store.
    fn absorb(&mut self, journal: &Journal, target: u64, rows: &Rows) -> Result<()> {
        let store = &mut self.store;
        let from = store.sequence();
        let mut next = from;
        if self.reader.is_none() {
            let mut reader = journal.reader(From::Sequence(from)).map_err(journal_error)?;
            let heads = reader.take_heads();
            learn(store, schemas::in_heads(&heads), rows)?;
            self.reader = Some(reader);
        }
        let Some(reader) = &mut self.reader else { return Ok(()) };
        while next < target && store.pending_bytes() < COMMIT_BYTES {
            match reader.next().map_err(journal_error)? {
                None => break,
                Some(Item::Frame(frame)) => {
                    learn(store, schemas::in_frame(&frame), rows)?;
                    for transaction in frame.transactions() {
                        let changes = TransactionView::decode(transaction.body).map_err(damaged)?.changes();
                        fold(store, changes, transaction.first_sequence, from, rows)?;
                        next = next.max(transaction.first_sequence + u64::from(transaction.changes));
                    }
                }
                Some(Item::Part(part)) => {
                    learn(store, schemas::in_frame(&part.frame), rows)?;
                    fold(store, Changes::new(part.body), part.first_sequence, from, rows)?;
                    next = next.max(part.first_sequence + u64::from(part.changes));
                }
            }
        }
        if next == from {
            return Err(Error::retry_after(RETRY, format!("the journal gave nothing at sequence {from}")));
        }
        store.commit(next).map_err(|error| rows.refused(error))
    }
}

fn learn(store: &mut RowStore, mut schemas: impl Iterator<Item = Result<Schema>>, rows: &Rows) -> Result<()> {
    schemas.try_for_each(|schema| store.learn(&schema?).map_err(|error| rows.refused(error)))
}

/// Applies the changes from sequence `from` on; a frame may begin before it.
fn fold(store: &mut RowStore, changes: Changes<'_>, first: u64, from: u64, rows: &Rows) -> Result<()> {
    for (change, sequence) in changes.zip(first..) {
        let change = change.map_err(damaged)?;
        if sequence >= from {
            store.apply(&change, sequence).map_err(|error| rows.refused(error))?;
        }
    }
    Ok(())
}
