//! A database that is a list of transactions, targets that are maps, and an engine between them.
//!
//! Invariant: a target applies a batch and its progress at once, as a transactional target does.

use headwater_engine::{
    Engine, EngineOptions, FromWhere, Laggard, SinkSpec, SinkStatus, SourceSpec, SourceStatus, TopicsSpec,
};
use headwater_journal::{Options, Retention};
use headwater_model::sink::{Batch, Connected, Event, Rejected, Sink, Written};
use headwater_model::source::{Committed, Intake, Probe, SidePart, Source, SourceReport};
use headwater_model::transaction::put_header;
use headwater_model::{
    Column, Error, Op, Origin, Progress, Result, Row, RowWriter, Schema, TransactionBuilder, TransactionHeader, Type,
    Value,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long a test waits for anything.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub const ITEMS: u32 = 1;
pub const LOGS: u32 = 2;
pub const OTHER: u32 = 3;
/// `items` with one more column.
pub const WIDER_ITEMS: u32 = 4;

pub fn schema(id: u32) -> Schema {
    let column = |name: &str| Column::new(name, Type::Int { bits: 64, unsigned: false }, "bigint");
    let (table, columns, key): (&str, &[&str], &[u16]) = match id {
        LOGS => ("logs", &["line"], &[]),
        OTHER => ("other", &["id"], &[0]),
        WIDER_ITEMS => ("items", &["id", "value", "more"], &[0]),
        _ => ("items", &["id", "value"], &[0]),
    };
    let columns = columns.iter().map(|name| column(name)).collect();
    Schema::new(id, "shop", table, columns, key.to_vec())
}

pub type Ints = Vec<i64>;

pub fn encode(row: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = RowWriter::begin(&mut out, row.len());
    row.iter().for_each(|value| writer.put(Value::Int(*value)));
    drop(writer);
    out
}

pub fn decode(row: Row<'_>) -> Ints {
    row.values().map(|value| if let Value::Int(int) = value { int } else { i64::MIN }).collect()
}

/// One change of a row.
#[derive(Clone, Debug)]
pub struct Change {
    pub table: u32,
    pub before: Option<Ints>,
    pub after: Option<Ints>,
}

/// A change of a row of `items`, from one value to another; 0 stands for "not there".
pub fn item(id: i64, before: i64, after: i64) -> Change {
    let row = |value| (value != 0).then(|| vec![id, value]);
    Change { table: ITEMS, before: row(before), after: row(after) }
}

/// What a database holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub items: BTreeMap<i64, i64>,
    pub logs: BTreeMap<i64, i64>,
    /// Rows gained less rows lost: a row that is applied twice shows.
    pub balance: i64,
}

impl Content {
    /// Compares, and shows the first differences only.
    #[track_caller]
    pub fn assert_is(&self, expected: &Content, what: &str) {
        if self == expected {
            return;
        }
        let only = |ours: &BTreeMap<i64, i64>, theirs: &BTreeMap<i64, i64>| -> Vec<(i64, i64)> {
            ours.iter().filter(|(id, value)| theirs.get(id) != Some(value)).map(|(a, b)| (*a, *b)).take(5).collect()
        };
        panic!(
            "{what}: items too many {:?}, too few {:?}; logs too many {:?}, too few {:?}; balance {} instead of {}",
            only(&self.items, &expected.items),
            only(&expected.items, &self.items),
            only(&self.logs, &expected.logs),
            only(&expected.logs, &self.logs),
            self.balance,
            expected.balance
        );
    }

    pub fn apply(&mut self, table: u32, before: Option<Ints>, after: Option<Ints>) {
        self.balance += i64::from(after.is_some()) - i64::from(before.is_some());
        for (row, step) in [(before, -1), (after, 1)] {
            let Some(row) = row else { continue };
            match (table, step) {
                (LOGS, step) => {
                    let count = self.logs.entry(row[0]).or_default();
                    *count += step;
                    if *count == 0 {
                        self.logs.remove(&row[0]);
                    }
                }
                (_, -1) => drop(self.items.remove(&row[0])),
                (_, _) => drop(self.items.insert(row[0], row[1])),
            }
        }
    }
}

/// A database: its log, and what a test makes it do.
#[derive(Default)]
pub struct Database {
    log: Mutex<Vec<Vec<Change>>>,
    bell: Condvar,
    /// Transactions that a source may read; all, when `None`.
    gate: Mutex<Option<usize>>,
    pub ends_asked: AtomicUsize,
    pub away: AtomicBool,
    /// Whether the source was last told that it may append what is no function of the log.
    pub accepts_derived: AtomicBool,
    stop: AtomicBool,
    hook: Mutex<Option<Hook>>,
}

/// Something that a source does once with its journal.
pub type Hook = Box<dyn FnMut(&mut dyn Intake) -> Result<()> + Send>;

impl Database {
    pub fn commit(&self, changes: Vec<Change>) {
        self.log.lock().unwrap().push(changes);
        self.bell.notify_all();
    }

    /// Many transactions over both tables: rows come, change, change their key and go.
    pub fn load(&self, transactions: i64, seed: i64) {
        let mut content = self.content();
        for number in 0..transactions {
            let id = (number * 7 + seed) % 101 + 1;
            let value = content.items.get(&id).copied().unwrap_or(0);
            let next = if number % 5 == 4 { 0 } else { value + 1 };
            let mut changes = vec![item(id, value, next)];
            if value == 0 && next == 0 {
                changes.clear();
            }
            let line = number % 13;
            let gone = content.logs.contains_key(&line) && number % 3 == 0;
            let log = vec![line];
            changes.push(match gone {
                true => Change { table: LOGS, before: Some(log), after: None },
                false => Change { table: LOGS, before: None, after: Some(log) },
            });
            for change in &changes {
                content.apply(change.table, change.before.clone(), change.after.clone());
            }
            self.commit(changes);
        }
    }

    pub fn content(&self) -> Content {
        let mut content = Content::default();
        for change in self.log.lock().unwrap().iter().flatten().filter(|change| change.table != OTHER) {
            content.apply(change.table, change.before.clone(), change.after.clone());
        }
        content
    }

    /// Lets a source read only so many transactions.
    pub fn gate(&self, limit: Option<usize>) {
        *self.gate.lock().unwrap() = limit;
        self.bell.notify_all();
    }

    /// How many changes all transactions hold.
    pub fn changes(&self) -> u64 {
        self.log.lock().unwrap().iter().map(|changes| changes.len() as u64).sum()
    }

    pub fn len(&self) -> usize {
        self.log.lock().unwrap().len()
    }

    /// Has the source do something with its journal, between two transactions.
    pub fn once(&self, hook: Hook) {
        *self.hook.lock().unwrap() = Some(hook);
        self.bell.notify_all();
    }

    pub fn hook_is_done(&self) -> bool {
        self.hook.lock().unwrap().is_none()
    }
}

struct LogReader(Arc<Database>);

impl Source for LogReader {
    fn run(&mut self, intake: &mut dyn Intake) -> Result<()> {
        let database = &self.0;
        database.stop.store(false, Ordering::Release);
        let mut at = intake.position().map_or(0, |bytes| number(&bytes));
        loop {
            if let Some(hook) = database.hook.lock().unwrap().as_mut() {
                hook(intake)?;
            }
            *database.hook.lock().unwrap() = None;
            while let Some(changes) = database.next(at) {
                at += 1;
                append(intake, &changes, at)?;
                if intake.stopping() {
                    break;
                }
            }
            intake.flush()?;
            database.accepts_derived.store(intake.accepts_derived(), Ordering::Release);
            intake.report(SourceReport { phase: "streaming", ..SourceReport::default() });
            if intake.stopping() || database.stop.load(Ordering::Acquire) {
                return Ok(());
            }
            let log = database.log.lock().unwrap();
            drop(database.bell.wait_timeout(log, Duration::from_millis(5)).unwrap());
        }
    }

    fn stopper(&self) -> Box<dyn Fn() + Send + Sync> {
        let database = self.0.clone();
        Box::new(move || {
            database.stop.store(true, Ordering::Release);
            database.bell.notify_all();
        })
    }

    fn probe(&self) -> Arc<dyn Probe> {
        Arc::new(End(self.0.clone()))
    }
}

impl Database {
    fn next(&self, at: u64) -> Option<Vec<Change>> {
        let at = at as usize;
        let is_open = self.gate.lock().unwrap().is_none_or(|gate| at < gate);
        self.log.lock().unwrap().get(at).filter(|_| is_open).cloned()
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

/// Changes of a transaction that are kept in memory.
const PART: usize = 50;

pub fn append(intake: &mut dyn Intake, changes: &[Change], at: u64) -> Result<()> {
    let (known, _) = intake.schemas();
    let used: BTreeSet<u32> = changes.iter().map(|change| change.table).collect();
    let schemas: Vec<Schema> =
        used.into_iter().filter(|id| !known.iter().any(|known| known.id == *id)).map(schema).collect();
    let side = format!("transaction {at}");
    let mut builder = TransactionBuilder::default();
    let mut announced = schemas.is_empty();
    for (index, change) in changes.iter().enumerate() {
        let (op, rows) = match (&change.before, &change.after) {
            (None, None) => (Op::Truncate, vec![]),
            (None, Some(after)) => (Op::Create, vec![after]),
            (Some(before), Some(after)) => (Op::Update, vec![before, after]),
            (Some(before), None) => (Op::Delete, vec![before]),
        };
        let out = builder.begin(op, change.table, 0, 0);
        rows.iter().for_each(|row| out.extend_from_slice(&encode(row)));
        builder.end(op, change.table, false);
        if (index + 1) % PART == 0 {
            if !announced {
                commit(intake, &TransactionBuilder::default(), &schemas, at - 1, None)?;
                announced = true;
            }
            intake.spill(&SidePart { id: &side }, &builder)?;
            builder.clear();
        }
    }
    let schemas = if changes.len() >= PART { &[] } else { &schemas[..] };
    commit(intake, &builder, schemas, at, (changes.len() >= PART).then_some(&side[..]))
}

fn commit(
    intake: &mut dyn Intake,
    changes: &TransactionBuilder,
    schemas: &[Schema],
    at: u64,
    side: Option<&str>,
) -> Result<()> {
    let mut header = Vec::new();
    let now = 1_700_000_000_000_000;
    put_header(&mut header, &TransactionHeader { commit_us: now, receive_us: now, origin: Origin::Headwater });
    let position = at.to_be_bytes();
    let committed = Committed { header: &header, changes, position: &position, state: &[], schemas, derived: false };
    match side {
        Some(side) => intake.append_side(side, &committed),
        None => intake.append(&committed),
    }
}

struct End(Arc<Database>);

impl Probe for End {
    fn end(&self) -> Result<Vec<u8>> {
        self.0.ends_asked.fetch_add(1, Ordering::AcqRel);
        match self.0.away.load(Ordering::Acquire) {
            true => Err(Error::reconnect("the database is away")),
            false => Ok((self.0.len() as u64).to_be_bytes().to_vec()),
        }
    }

    fn reached(&self, position: &[u8], end: &[u8]) -> Result<bool> {
        Ok(number(position) >= number(end))
    }
}

/// A target, and what a test makes it do.
#[derive(Default)]
pub struct Target {
    pub state: Mutex<TargetState>,
    pub bell: Condvar,
}

#[derive(Default)]
pub struct TargetState {
    pub content: Content,
    pub progress: Option<Progress>,
    pub rejected: Vec<Rejected>,
    pub replayed: Option<u64>,
    /// The connection breaks once the next replay is applied.
    pub breaks_after_replay: bool,
    /// Ops in the order in which they came, one letter each.
    pub ops: String,
    pub clears: usize,
    pub connects: usize,
    pub writes: usize,
    /// Values of items that are refused.
    pub refuses: BTreeSet<i64>,
    /// Refuses by an error instead of an answer.
    pub refuses_by_error: bool,
    /// The connection breaks at this many writes from now.
    pub breaks_after: Option<usize>,
    pub away: bool,
    pub stops: bool,
    /// Writes wait while this is set.
    pub hangs: bool,
}

impl Target {
    pub fn new() -> Arc<Target> {
        Arc::default()
    }

    pub fn state(&self) -> MutexGuard<'_, TargetState> {
        self.state.lock().unwrap()
    }

    pub fn content(&self) -> Content {
        self.state().content.clone()
    }

    pub fn set(&self, change: impl FnOnce(&mut TargetState)) {
        change(&mut self.state());
        self.bell.notify_all();
    }
}

struct Writer(Arc<Target>);

impl TargetState {
    fn refused(&self, events: &[Event<'_>]) -> Vec<Rejected> {
        let mut parked: BTreeSet<i64> = BTreeSet::new();
        let mut rejected = Vec::new();
        for event in events.iter().filter(|event| event.schema.table == "items") {
            let Some(after) = event.change.after.map(decode) else { continue };
            if self.refuses.contains(&after[1]) || parked.contains(&after[0]) {
                parked.insert(after[0]);
                rejected.push(Rejected { sequence: event.sequence, reason: "it is refused".into() });
            }
        }
        rejected
    }
}

impl Sink for Writer {
    fn connect(&mut self) -> Result<Connected> {
        let mut state = self.0.state();
        state.connects += 1;
        if state.stops {
            return Err(Error::stop("the target wants a person"));
        }
        if state.away {
            return Err(Error::reconnect("the target is away"));
        }
        let (rejected, replayed) = (state.rejected.clone(), state.replayed);
        Ok(Connected { progress: state.progress, rejected, replayed, server: "memory".into() })
    }

    fn write(&mut self, batch: &Batch<'_>) -> Result<Written> {
        let state = self.0.state();
        let mut state = self.0.bell.wait_while(state, |state| state.hangs).unwrap();
        state.writes += 1;
        if let Some(left) = &mut state.breaks_after {
            if *left == 0 {
                (state.breaks_after, state.away) = (None, true);
            } else {
                *left -= 1;
            }
        }
        if state.away {
            return Err(Error::reconnect("the target is away"));
        }
        let rejected = state.refused(batch.events);
        if state.refuses_by_error && !rejected.is_empty() {
            let sequences = rejected.iter().map(|row| row.sequence).collect();
            return Err(Error::reject_rows(sequences, "it is refused"));
        }
        for event in batch.events {
            if rejected.iter().any(|row| row.sequence == event.sequence) {
                continue;
            }
            let table = if event.schema.table == "logs" { LOGS } else { ITEMS };
            let op = event.change.op;
            state.ops.push_str(op.letter());
            if op == Op::Truncate {
                let gone = state.content.items.len() as i64;
                state.content.items.clear();
                state.content.balance -= gone;
            } else {
                state.content.apply(table, event.change.before.map(decode), event.change.after.map(decode));
            }
        }
        state.progress = Some(batch.progress);
        state.rejected.extend(rejected.clone());
        Ok(Written { durable: Some(batch.progress.sequence), rejected })
    }

    fn replay(&mut self, letter: &Event<'_>, progress: Progress) -> Result<Written> {
        let written = self.write(&Batch { events: &[*letter], progress })?;
        let mut state = self.0.state();
        if written.rejected.is_empty() {
            state.replayed = Some(letter.sequence);
        }
        match std::mem::take(&mut state.breaks_after_replay) {
            true => Err(Error::reconnect("the target is away")),
            false => Ok(written),
        }
    }

    fn flush(&mut self) -> Result<Written> {
        if self.0.state().away { Err(Error::reconnect("the target is away")) } else { Ok(Written::default()) }
    }

    fn rejected_are_kept(&mut self, through: u64) -> Result<()> {
        self.0.state().rejected.retain(|row| row.sequence > through);
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        let mut state = self.0.state();
        state.clears += 1;
        state.content = Content::default();
        (state.progress, state.rejected, state.replayed) = (None, Vec::new(), None);
        state.ops.clear();
        Ok(())
    }
}

/// An engine over one database, and what it is started with.
pub struct World {
    pub folder: PathBuf,
    pub database: Arc<Database>,
    pub targets: Vec<(&'static str, Arc<Target>)>,
    pub options: EngineOptions,
    pub from: FromWhere,
    _kept: Option<tempfile::TempDir>,
}

impl World {
    /// With one target for each name. Retention deletes all that nobody needs.
    pub fn new(names: &[&'static str]) -> World {
        let kept = tempfile::tempdir().unwrap();
        let folder = kept.path().to_owned();
        World {
            database: Arc::default(),
            targets: names.iter().map(|name| (*name, Target::new())).collect(),
            options: options(&folder),
            from: FromWhere::Snapshot,
            folder,
            _kept: Some(kept),
        }
    }

    pub fn target(&self, name: &str) -> &Arc<Target> {
        &self.targets.iter().find(|(known, _)| *known == name).unwrap().1
    }

    pub fn start(&self) -> Running<'_> {
        let database = self.database.clone();
        let source = SourceSpec {
            name: "db".into(),
            topics: TopicsSpec::default(),
            build: Arc::new(move || Ok(Box::new(LogReader(database.clone())))),
        };
        let sink = |(name, target): &(&'static str, Arc<Target>)| {
            let target = target.clone();
            SinkSpec {
                name: (*name).into(),
                source: "db".into(),
                tables: Arc::new(|schema: &Schema| schema.table != "other"),
                from: self.from,
                build: Arc::new(move || Ok(Box::new(Writer(target.clone())))),
            }
        };
        let sinks: Vec<SinkSpec> = self.targets.iter().map(sink).collect();
        Running { engine: Engine::start(&self.options, &[source], &sinks).unwrap(), world: self }
    }
}

pub fn options(folder: &Path) -> EngineOptions {
    EngineOptions {
        data_dir: folder.to_owned(),
        journal: Options {
            segment_bytes: 4096,
            frame_bytes_max: 1024,
            retention: Retention {
                bytes: Some(1),
                age: None,
                keep_bytes: 0,
                keep_age: Duration::ZERO,
                hold_bytes_max: None,
            },
            ..Options::default()
        },
        laggard: Laggard::StopSource,
    }
}

/// An engine that runs.
pub struct Running<'w> {
    pub engine: Engine,
    world: &'w World,
}

impl Running<'_> {
    /// Waits until every sink has applied everything, and compares.
    #[track_caller]
    pub fn all_arrives(&self) {
        self.engine.wait(DEADLINE).unwrap();
        for (name, target) in &self.world.targets {
            target.content().assert_is(&self.world.database.content(), name);
        }
    }

    pub fn source(&self) -> SourceStatus {
        self.engine.status().sources.remove(0)
    }

    pub fn sink(&self, name: &str) -> SinkStatus {
        self.engine.status().sinks.into_iter().find(|sink| sink.name == name).unwrap()
    }

    /// Waits until retention has deleted the journal's beginning.
    #[track_caller]
    pub fn is_trimmed(&self) {
        eventually("the journal is trimmed", || self.source().first_sequence > 0);
    }
}

/// Waits for a condition; a test that has to wait too long fails.
#[track_caller]
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
