//! The store itself: takes changes in the journal's order, and keeps the latest row of each key.
//!
//! Invariant: what [`RowStore::commit`] writes, rows and sequence, is one batch of the key-value store. Changes that were
//! applied and not committed are lost with the process, and the journal still has them. Start at [`RowStore::apply`].

use crate::error::{Error, Result};
use crate::key::{ALIKE_MAX, Name, Naming, table_prefix};
use crate::view::{Entry, StoredRow, View};
use fjall::compaction::Leveled;
use fjall::config::{BlockSizePolicy, PartitioningPolicy, PinningPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use headwater_model::{Change, JournalId, Op, Row, Schema};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where the sequence stands.
const SEQUENCE: &[u8] = b"sequence";
/// Where the journal's identity stands.
const JOURNAL: &[u8] = b"journal";
/// How the names of schemas begin.
const SCHEMA: &[u8] = b"schema/";
/// Rows that a truncate removes at once.
const TRUNCATE_ROWS: usize = 10_000;
/// Bytes of a sorted file; what is kept in memory while one is made grows with it.
const FILE_BYTES: u64 = 16 << 20;
/// Bytes of a block, which is what one row costs to read.
const BLOCK_BYTES: u32 = 8 << 10;
/// Memory for marks, and for what little there is beside rows: of blocks, and of what is not in files yet.
const MARK_BYTES: u64 = 1 << 20;
/// Files that may stay open.
const FILES_MAX: usize = 64;
/// Batches of rows that may wait to be sorted into a file, and how long before the disk is taken to be stuck.
const UNSORTED_MAX: usize = 2;
const SORT_MAX: Duration = Duration::from_secs(60);
/// How long closing may wait for rows to be sorted into files, and how often it looks.
const CLOSE_MAX: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(2);
/// The least that the key-value store takes for its own journal, which is disk, not memory.
const WRITE_AHEAD_BYTES: u64 = 64 << 20;

/// What a store may use. Both are memory.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Bytes of blocks that were read.
    pub cache_bytes: u64,
    /// Bytes of rows that are written and not yet sorted into a file; up to four times that under load.
    pub memtable_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions { cache_bytes: 4 << 20, memtable_bytes: 2 << 20 }
    }
}

/// The latest row per key of one source's tables.
pub struct RowStore {
    disk: Disk,
    meta: Keyspace,
    sequence: u64,
    journal: Option<JournalId>,
    schemas: HashMap<u32, Known>,
    /// By table, each way in which its rows were ever named.
    namings: HashMap<String, Vec<Naming>>,
    /// Rows as they are to be; `None`: removed.
    pending: HashMap<Vec<u8>, Option<Vec<u8>>>,
    pending_schemas: Vec<(u32, Vec<u8>)>,
    pending_bytes: usize,
    options: StoreOptions,
    /// Bytes committed since rows were last sorted into a file.
    unsorted_bytes: u64,
    /// Bytes committed while views are open.
    beside_views_bytes: u64,
}

/// The key-value store and the parts of it that readers use too.
#[derive(Clone)]
pub(crate) struct Disk {
    pub dir: Arc<PathBuf>,
    pub database: Database,
    pub rows: Keyspace,
    /// A store of its own, opened when it is needed: while a view of a store is open, all that is written to it stays in
    /// memory, and marks are written beside an open view.
    marks: Arc<Mutex<Option<MarkDisk>>>,
}

/// Where marks stand.
#[derive(Clone)]
pub(crate) struct MarkDisk {
    pub database: Database,
    pub marks: Keyspace,
}

struct Known {
    schema: Arc<Schema>,
    naming: Naming,
}

impl Disk {
    /// Where marks stand, opened by the first who asks.
    pub fn marks(&self) -> Result<MarkDisk> {
        let mut slot = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(marks) = &*slot {
            return Ok(marks.clone());
        }
        let open = || {
            let database = open_database(&self.dir.join("marks"), MARK_BYTES)?;
            let marks = database.keyspace("marks", || keyspace_options(MARK_BYTES))?;
            Ok(MarkDisk { database, marks })
        };
        let marks = open().map_err(|error| self.failed(error))?;
        *slot = Some(marks.clone());
        Ok(marks)
    }

    pub fn failed(&self, error: fjall::Error) -> Error {
        Error::Storage { dir: self.dir.to_path_buf(), source: Box::new(error) }
    }

    pub fn damaged(&self, what: &'static str) -> Error {
        Error::Damaged { dir: self.dir.to_path_buf(), what }
    }
}

impl RowStore {
    /// Opens the store in `dir`, or makes an empty one. Takes threads and memory until it is dropped.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<RowStore> {
        let failed = |error| Error::Storage { dir: dir.to_owned(), source: Box::new(error) };
        let database = open_database(&dir.join("rows"), options.cache_bytes).map_err(failed)?;
        let keyspace =
            |name, memtable_bytes| database.keyspace(name, || keyspace_options(memtable_bytes)).map_err(failed);
        let (rows, meta) = (keyspace("rows", options.memtable_bytes)?, keyspace("meta", MARK_BYTES)?);
        let disk = Disk { dir: Arc::new(dir.to_owned()), database, rows, marks: Arc::default() };
        let mut store = RowStore {
            disk,
            meta,
            sequence: 0,
            journal: None,
            schemas: HashMap::new(),
            namings: HashMap::new(),
            pending: HashMap::new(),
            pending_schemas: Vec::new(),
            pending_bytes: 0,
            options,
            unsorted_bytes: 0,
            beside_views_bytes: 0,
        };
        store.load()?;
        Ok(store)
    }

    fn load(&mut self) -> Result<()> {
        let failed = |error| self.disk.failed(error);
        if let Some(bytes) = self.meta.get(SEQUENCE).map_err(failed)? {
            let bytes: [u8; 8] = (&*bytes).try_into().map_err(|_| self.disk.damaged("sequence"))?;
            self.sequence = u64::from_be_bytes(bytes);
        }
        if let Some(bytes) = self.meta.get(JOURNAL).map_err(failed)? {
            let bytes: [u8; 16] = (&*bytes).try_into().map_err(|_| self.disk.damaged("journal's identity"))?;
            self.journal = Some(JournalId(bytes));
        }
        let mut schemas = Vec::new();
        for entry in self.meta.prefix(SCHEMA) {
            let bytes = entry.value().map_err(failed)?;
            let schema: Schema = serde_json::from_slice(&bytes).map_err(|_| self.disk.damaged("schema"))?;
            schemas.push(schema);
        }
        // In the order in which they came, so that a table's last is its latest.
        schemas.sort_by_key(|schema| schema.id);
        schemas.into_iter().for_each(|schema| self.remember(schema));
        Ok(())
    }

    /// The journal that the rows are of; `None` while the store is empty.
    pub fn journal(&self) -> Option<JournalId> {
        self.journal
    }

    /// Every change below this is in the rows, and no other.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Learns a schema before the first change that bears it. Learning one twice does nothing.
    pub fn learn(&mut self, schema: &Schema) -> Result<()> {
        if self.schemas.get(&schema.id).is_some_and(|known| *known.schema == *schema) {
            return Ok(());
        }
        let bytes = serde_json::to_vec(schema).map_err(|_| self.disk.damaged("schema"))?;
        self.pending_bytes += bytes.len();
        self.pending_schemas.push((schema.id, bytes));
        self.remember(schema.clone());
        Ok(())
    }

    fn remember(&mut self, schema: Schema) {
        let naming = Naming::of(&schema);
        let namings = self.namings.entry(naming.table.clone()).or_default();
        if !namings.iter().any(|known| known.is_same(&naming)) {
            namings.push(naming.clone());
        }
        self.schemas.insert(schema.id, Known { schema: Arc::new(schema), naming });
    }

    /// Applies the change with this sequence. Kept in memory until [`Self::commit`]; a truncate commits what came
    /// before it.
    pub fn apply(&mut self, change: &Change<'_>, sequence: u64) -> Result<()> {
        let known = self.schemas.get(&change.schema).ok_or(Error::UnknownSchema(change.schema))?;
        let (schema, naming) = (known.schema.clone(), known.naming.clone());
        if change.op == Op::Truncate {
            self.commit(sequence)?;
            return self.truncate(&naming.table);
        }
        // An old row without its key is the same row as the new one.
        let before = change.before.filter(|before| naming.is_counted || before.has(&schema.key)).or(change.after);
        let mut filled = Vec::new();
        let after = match change.after.filter(|after| !naming.is_counted && after.is_partial()) {
            None => change.after,
            Some(after) => self.filled(&after, before.as_ref(), &schema, &mut filled)?,
        };
        let (change, row) = (Change { before: change.before.and(before), ..*change }, after);
        let after = row.as_ref().map(|after| naming.name(after)).transpose()?;
        if let Some(before) = &change.before {
            let name = naming.name(before)?;
            let is_former = self.has_former(&naming) && !self.holds(&name, before, &naming)?;
            if is_former {
                self.remove_former(before, &schema, &naming)?;
            } else if naming.is_counted || after.as_ref() != Some(&name) {
                self.remove(name, before, &naming)?;
            }
        }
        match row.as_ref().zip(after) {
            Some((row, name)) => self.put(name, row, change.schema, sequence, &naming),
            None => Ok(()),
        }
    }

    /// The row as it was before, with what the log did not carry of the new one taken from it.
    fn filled<'f>(
        &self,
        after: &Row<'f>,
        before: Option<&Row<'_>>,
        schema: &Schema,
        out: &'f mut Vec<u8>,
    ) -> Result<Option<Row<'f>>> {
        let Some(held) = self.latest(schema.id, before.unwrap_or(after))? else { return Ok(Some(*after)) };
        let (Some(written), Some(known)) = (self.schemas.get(&held.schema), held.row()) else {
            return Ok(Some(*after));
        };
        after.encode_filled(&known, &schema.places_in(&written.schema), out);
        Ok(Row::decode(&mut &out[..]))
    }

    /// The row with the same key as `row`, which has the columns of `schema`, as it is now; `None` for a table without a
    /// key.
    pub fn latest(&self, schema: u32, row: &Row<'_>) -> Result<Option<StoredRow>> {
        let known = self.schemas.get(&schema).ok_or(Error::UnknownSchema(schema))?;
        if known.naming.is_counted {
            return Ok(None);
        }
        let formers = self.namings.get(&known.naming.table).into_iter().flatten();
        let formers = formers.filter(|other| !other.is_same(&known.naming) && !other.is_counted);
        for naming in
            std::iter::once(known.naming.clone()).chain(formers.filter_map(|former| former.over(&known.schema)))
        {
            if let Some(bytes) = self.get(&exact(naming.name(row)?))? {
                return self.decode(&bytes).map(|entry| Some(StoredRow::of(entry)));
            }
        }
        Ok(None)
    }

    /// The schema with this number, if it has been learnt.
    pub fn schema(&self, id: u32) -> Option<&Arc<Schema>> {
        self.schemas.get(&id).map(|known| &known.schema)
    }

    /// Bytes that wait for [`Self::commit`].
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Writes what was applied: from now on every change below `sequence` is in the rows. Survives a kill, and a power
    /// failure after [`Self::checkpoint`].
    pub fn commit(&mut self, sequence: u64) -> Result<()> {
        let mut batch = self.disk.database.batch();
        for (name, row) in self.pending.drain() {
            match row {
                Some(row) => batch.insert(&self.disk.rows, name, row),
                None => batch.remove(&self.disk.rows, name),
            }
        }
        for (id, bytes) in self.pending_schemas.drain(..) {
            batch.insert(&self.meta, [SCHEMA, &id.to_be_bytes()].concat(), bytes);
        }
        batch.insert(&self.meta, SEQUENCE, sequence.to_be_bytes());
        let bytes = std::mem::take(&mut self.pending_bytes) as u64;
        batch.commit().map_err(|error| self.disk.failed(error))?;
        self.sequence = sequence;
        self.unsorted_bytes += bytes;
        self.beside_views_bytes = if self.is_in_use() { self.beside_views_bytes + bytes } else { 0 };
        if self.unsorted_bytes >= self.options.memtable_bytes { self.sort() } else { Ok(()) }
    }

    /// Has the rows that are in memory sorted into a file, and waits while too many wait for that. The key-value store
    /// would do so by itself only when its one thread has time, and memory would grow until then.
    fn sort(&mut self) -> Result<()> {
        self.unsorted_bytes = 0;
        self.disk.rows.rotate_memtable().map_err(|error| self.disk.failed(error))?;
        let deadline = Instant::now() + SORT_MAX;
        while self.disk.rows.sealed_memtable_count() > UNSORTED_MAX {
            if Instant::now() >= deadline {
                let stuck = std::io::Error::new(std::io::ErrorKind::TimedOut, "sorting rows into files does not end");
                return Err(self.disk.failed(stuck.into()));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Says which journal the rows are of. Before the first change.
    pub fn belong_to(&mut self, journal: JournalId) -> Result<()> {
        self.meta.insert(JOURNAL, journal.0).map_err(|error| self.disk.failed(error))?;
        self.journal = Some(journal);
        Ok(())
    }

    /// Makes all that was committed survive a power failure.
    pub fn checkpoint(&self) -> Result<()> {
        self.disk.database.persist(PersistMode::SyncAll).map_err(|error| self.disk.failed(error))
    }

    /// Whether a view or marks of it are still in use: the folder would stay locked, and what is written stays in memory.
    pub fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.disk.dir) > 1
    }

    /// Bytes that were committed while views are open, and that stay in memory until they are closed.
    pub fn beside_views_bytes(&self) -> u64 {
        if self.is_in_use() { self.beside_views_bytes } else { 0 }
    }

    /// Closes the store, so that opening it again has little to replay. Only a disk that refuses lets it give up on that,
    /// after a second.
    pub fn close(self) -> Result<()> {
        self.checkpoint()?;
        let deadline = Instant::now() + CLOSE_MAX;
        for keyspace in [&self.disk.rows, &self.meta] {
            keyspace.rotate_memtable().map_err(|error| self.disk.failed(error))?;
            while keyspace.sealed_memtable_count() > 0 && Instant::now() < deadline {
                std::thread::sleep(POLL);
            }
        }
        Ok(())
    }

    /// The rows as of [`Self::sequence`], which later commits do not change.
    pub fn view(&self) -> View {
        let schemas = self.schemas.iter().map(|(id, known)| (*id, known.schema.clone())).collect();
        View::new(self.disk.clone(), self.sequence, schemas)
    }

    fn truncate(&mut self, table: &str) -> Result<()> {
        let prefix = table_prefix(table);
        loop {
            let mut batch = self.disk.database.batch();
            for entry in self.disk.rows.prefix(&prefix).take(TRUNCATE_ROWS) {
                batch.remove(&self.disk.rows, entry.key().map_err(|error| self.disk.failed(error))?);
            }
            if batch.is_empty() {
                return Ok(());
            }
            batch.commit().map_err(|error| self.disk.failed(error))?;
        }
    }

    /// Whether the table's rows were ever named in another way.
    fn has_former(&self, naming: &Naming) -> bool {
        self.namings.get(&naming.table).is_some_and(|namings| namings.len() > 1)
    }

    fn holds(&self, name: &Name, row: &Row<'_>, naming: &Naming) -> Result<bool> {
        match name {
            Name::Exact(name) => Ok(self.get(name)?.is_some()),
            Name::Among(_) => Ok(self.find(name.clone(), row, naming)?.1 > 0),
        }
    }

    /// Rows that were written when the table had another key stand under another name.
    fn remove_former(&mut self, row: &Row<'_>, schema: &Schema, naming: &Naming) -> Result<()> {
        let namings = self.namings.get(&naming.table).into_iter().flatten();
        let formers = namings.filter(|other| !other.is_same(naming)).filter_map(|other| other.over(schema));
        for former in formers.collect::<Vec<_>>() {
            let name = former.name(row)?;
            if self.holds(&name, row, &former)? {
                return self.remove(name, row, &former);
            }
        }
        Ok(())
    }

    fn put(&mut self, name: Name, row: &Row<'_>, schema: u32, sequence: u64, naming: &Naming) -> Result<()> {
        let (name, count) = match naming.is_counted {
            false => (exact(name), 1),
            true => {
                let (name, held) = self.find(name, row, naming)?;
                (name, held + 1)
            }
        };
        self.keep(name, Some(Entry { schema, sequence, count }.encode(row)));
        Ok(())
    }

    fn remove(&mut self, name: Name, row: &Row<'_>, naming: &Naming) -> Result<()> {
        if !naming.is_counted {
            self.keep(exact(name), None);
            return Ok(());
        }
        let is_exact = matches!(name, Name::Exact(_));
        let (name, held) = self.find(name, row, naming)?;
        let left = held.saturating_sub(1);
        if left == 0 && is_exact {
            self.keep(name, None);
        } else if held > 0 {
            // Of rows that share a digest an empty place stays, so that those behind it are still found.
            let Some(bytes) = self.get(&name)? else { return Ok(()) };
            let (entry, row) = self.decode(&bytes)?;
            let bytes = Entry { count: left, ..entry }.encode(&row);
            self.keep(name, Some(bytes));
        }
        Ok(())
    }

    /// Where a row without a key stands or is to stand, and how often it is there.
    fn find(&self, name: Name, row: &Row<'_>, naming: &Naming) -> Result<(Vec<u8>, u64)> {
        let mut name = match name {
            Name::Among(name) => name,
            Name::Exact(name) => {
                let held = self.get(&name)?;
                let count = held.map(|bytes| self.decode(&bytes).map(|(entry, _)| entry.count)).transpose()?;
                return Ok((name, count.unwrap_or(0)));
            }
        };
        for number in 0..=ALIKE_MAX {
            name.push(number);
            let Some(bytes) = self.get(&name)? else { return Ok((name, 0)) };
            let (entry, held) = self.decode(&bytes)?;
            if naming.is_same_row(&held, row) {
                return Ok((name, entry.count));
            }
            name.pop();
        }
        Err(self.disk.damaged("row: too many others have its digest"))
    }

    fn decode<'b>(&self, bytes: &'b [u8]) -> Result<(Entry, Row<'b>)> {
        Entry::decode(bytes).ok_or_else(|| self.disk.damaged("row"))
    }

    fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Some(pending) = self.pending.get(name) {
            return Ok(pending.clone());
        }
        let held = self.disk.rows.get(name).map_err(|error| self.disk.failed(error))?;
        Ok(held.map(|bytes| bytes.to_vec()))
    }

    fn keep(&mut self, name: Vec<u8>, row: Option<Vec<u8>>) {
        self.pending_bytes += name.len() + row.as_ref().map_or(0, Vec::len);
        self.pending.insert(name, row);
    }
}

fn open_database(dir: &Path, cache_bytes: u64) -> fjall::Result<Database> {
    Database::builder(dir)
        .cache_size(cache_bytes)
        .worker_threads(1)
        .max_cached_files(Some(FILES_MAX))
        .max_journaling_size(WRITE_AHEAD_BYTES)
        .open()
}

/// Everything is small rather than fast: the store must fit beside what the process is for.
fn keyspace_options(memtable_bytes: u64) -> KeyspaceCreateOptions {
    let small_files = Leveled::default().with_table_target_size(FILE_BYTES);
    KeyspaceCreateOptions::default()
        .max_memtable_size(memtable_bytes)
        .compaction_strategy(Arc::new(small_files))
        .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
        .index_block_pinning_policy(PinningPolicy::all(false))
        .filter_block_pinning_policy(PinningPolicy::all(false))
        .index_block_partitioning_policy(PartitioningPolicy::all(true))
        .filter_block_partitioning_policy(PartitioningPolicy::all(true))
}

/// Only rows without a key are named by digests.
fn exact(name: Name) -> Vec<u8> {
    match name {
        Name::Exact(name) | Name::Among(name) => name,
    }
}
