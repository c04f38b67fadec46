//! Kills of Headwater and of PostgreSQL, and power failures, at random moments, while transactions are large, rolled back in
//! part, prepared, and change rows without their values that are stored out of line.
//!
//! Invariant under test: nothing is lost, nothing is there twice, nothing appears that never was committed, and the slot is
//! never confirmed beyond what the journal has on disk. PostgreSQL itself tells what was committed, and in which order, by a
//! second slot that nobody touches. `HEADWATER_CRASH_KILLS` says how many kills there are. Start at [`kill_at_random`].

use crate::unlogged::{Shop, transaction};
use crate::world::LIMIT;
use headwater_journal::power;
use headwater_source::postgres::lsn::Lsn;
use headwater_source::postgres::position::Position;
use headwater_testkit::{Postgres, PostgresRelease, PostgresSession, postgres_releases, say, seed, wait_until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Kills over all releases, unless `HEADWATER_CRASH_KILLS` says otherwise.
const KILLS: u64 = 50;
/// How long a kill waits for a transaction that has not ended, and of a hundred kills those that must meet one.
const OPEN_LIMIT: Duration = Duration::from_secs(2);
const OPEN_PERCENT_MIN: u64 = 80;
const WORKERS: u64 = 3;
/// Prepared transactions that a writer leaves undecided at most.
const UNDECIDED_MAX: usize = 3;
/// How long a writer waits for the server to come back, or for the source to come near.
const PAUSE: Duration = Duration::from_millis(20);
const DATABASE: &str = "postgres";
/// Every transaction that is not tiny is sent while it is in progress.
const SERVER: &[&str] = &["logical_decoding_work_mem=64kB", "max_prepared_transactions=20"];
/// Milliseconds by which each fsync is late, so that there is something that is written and not on disk.
const LATE_FSYNC: &str = "journal::before_fsync=sleep(20)";

/// Whether so much was written and not confirmed that reading it would outlast the test.
const IS_BEHIND: &str = "select (pg_current_wal_insert_lsn() - confirmed_flush_lsn > 8000000)::int from pg_replication_slots \
    where slot_name = 'headwater_shop'";
const CONFIRMED: &str = "select confirmed_flush_lsn from pg_replication_slots where slot_name = 'headwater_shop'";
const OPEN: &str = "select count(*) from pg_stat_activity where backend_xid is not null";
/// What was committed, by the server's own slot: transactions in the order of their commits, with the changes of each by
/// table and operation.
const COMMITTED: &str = "select xid, what[1] || ' ' || what[2], count(*) from (
    select row_number() over () as number, xid::text, regexp_match(data, '^table (shop\\.\\w+): (INSERT|UPDATE|DELETE):') as what
      from pg_logical_slot_get_changes('witness', null, null, 'skip-empty-xacts', 'on')) changes
    where what is not null group by xid, what order by min(number)";

#[test]
fn random_kills_of_postgresql_and_its_reader_lose_and_double_nothing() {
    let seed = seed("kills of PostgreSQL");
    let releases = postgres_releases();
    let kills = std::env::var("HEADWATER_CRASH_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let each = kills.div_ceil(releases.len().max(1) as u64);
    for (release, seed) in releases.into_iter().zip(seed..) {
        kill_at_random(release, seed, each);
    }
}

fn kill_at_random(release: PostgresRelease, seed: u64, kills: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut shop = Shop::with(release, SERVER, ", transaction_bytes_max: 65536, status_interval: 100ms");
    shop.postgres.exec(
        DATABASE,
        "create table shop.ledger (id bigserial primary key, what text not null);
         select pg_create_logical_replication_slot('witness', 'test_decoding')",
    );
    shop.headwater.env("FAILPOINTS", LATE_FSYNC);
    shop.headwater.start().unwrap();
    let load = Load { ended: AtomicBool::new(false), committed: AtomicU64::new(0) };
    let mut seen = Seen::default();
    let shop = Mutex::new(shop);
    std::thread::scope(|scope| {
        let ends = Ends(&load);
        for worker in 0..WORKERS {
            let (load, shop) = (&load, &shop);
            scope.spawn(move || load.run(worker, seed, || lock(shop).postgres.session(DATABASE).ok()));
        }
        for kill in 0..kills {
            let grown = sequence(&lock(&shop)) + random.random_range(20..3_000);
            wait_until(LIMIT, "the journal to grow", || sequence(&lock(&shop)) >= grown)
                .unwrap_or_else(|error| panic!("{error}: {}", condition(&lock(&shop))));
            kill_one(&mut lock(&shop), kill, &mut seen);
        }
        drop(ends);
    });
    let mut shop = shop.into_inner().unwrap_or_else(PoisonError::into_inner);
    shop.headwater.env_remove("FAILPOINTS");
    decide_all(&shop.postgres);
    let ended = Instant::now();
    if let Err(error) = shop.headwater.run_ok(&["wait", "--timeout", "60s"]) {
        panic!("{error}\n{}", condition(&shop));
    }
    let waited = ended.elapsed();
    shop.assert_equal();
    let transactions = assert_journal_is_what_was_committed(&shop);
    let Seen { streamed, open, undecided, power_failures, lost_bytes, .. } = seen;
    let committed = load.committed.load(Ordering::Acquire);
    say(&format!(
        "{release}: {kills} kills, {open} in a transaction, {undecided} while one was prepared, {power_failures} with a power \
         failure that took {lost_bytes} bytes; {committed} scripts of the load, {streamed} transactions sent in progress; all \
         was there {waited:.1?} after the end; {transactions} transactions in the journal as PostgreSQL committed them; all equal"
    ));
    assert!(streamed > 0, "no transaction was sent while it was in progress");
    assert!(open * 100 >= kills * OPEN_PERCENT_MIN, "too few kills were inside a transaction");
    assert!(undecided > 0 && lost_bytes > 0, "nothing was prepared, or on its way to the disk");
}

/// What the kills met.
#[derive(Default)]
struct Seen {
    /// Transactions that were sent before they had ended, and how many of them the server's statistics counted last.
    streamed: u64,
    counted: u64,
    open: u64,
    undecided: u64,
    power_failures: u64,
    lost_bytes: u64,
}

/// Kills one or both, now; looks what the slot says, and starts them again.
fn kill_one(shop: &mut Shop, kill: u64, seen: &mut Seen) {
    let number = |sql: &str| shop.postgres.value(DATABASE, sql).parse::<u64>().unwrap();
    let counted = number("select coalesce(sum(stream_txns), 0) from pg_stat_replication_slots");
    // A crash of the server resets what it counts.
    seen.streamed += counted.checked_sub(seen.counted).unwrap_or(counted);
    seen.counted = counted;
    seen.undecided += u64::from(number("select count(*) from pg_prepared_xacts") > 0);
    seen.open += u64::from(wait_until(OPEN_LIMIT, "a transaction", || number(OPEN) > 0).is_ok());
    let (kills_headwater, kills_server, loses_power) = match kill % 5 {
        0 => (true, false, false),
        1 | 3 => (true, false, true),
        2 => (false, true, false),
        _ => (true, true, false),
    };
    if kills_headwater {
        shop.headwater.kill9();
    }
    // The end of the journal is looked at after this: a slot that is confirmed later would be later than that.
    let confirmed = shop.postgres.value(DATABASE, CONFIRMED);
    if kills_server {
        shop.postgres.kill9();
    }
    let folder = shop.headwater.data_dir().join("journal/shop");
    if loses_power {
        seen.lost_bytes += power::cut(&folder).unwrap();
        seen.power_failures += 1;
    }
    let end = Position::decode(&headwater_journal::info(&folder).unwrap().position).unwrap();
    assert!(
        confirmed.parse::<Lsn>().unwrap() <= end.lsn,
        "kill {kill}: the slot is confirmed up to {confirmed}, the journal ends at {end}"
    );
    if kills_server {
        // One of its processes may have been born in that moment; it ends by itself.
        wait_until(LIMIT, "PostgreSQL to start again", || shop.postgres.restart().is_ok()).unwrap();
    }
    if kills_headwater {
        shop.headwater.start().unwrap();
    }
}

/// Transactions by the number that PostgreSQL gave them, with their changes by table and operation.
type History = Vec<(String, BTreeMap<String, u64>)>;

/// Each transaction is in the journal once, in the order of commits, with as many changes of each table as were made.
/// Answers how many there are.
fn assert_journal_is_what_was_committed(shop: &Shop) -> usize {
    let mut committed = History::new();
    for row in shop.postgres.query(DATABASE, COMMITTED) {
        let [Some(xid), Some(what), Some(count)] = &row[..] else { panic!("a row of {} columns", row.len()) };
        add(&mut committed, xid, what, count.parse().unwrap());
    }
    let mut written = History::new();
    let tail = shop.headwater.run_ok(&["journal", "tail", "--output", "json"]).unwrap();
    for line in tail.lines() {
        let transaction: serde_json::Value = serde_json::from_str(line).unwrap();
        for (table, operations) in transaction["tables"].as_object().unwrap() {
            for (operation, count) in operations.as_object().unwrap() {
                let operation = match operation.as_str() {
                    "created" => "INSERT",
                    "updated" => "UPDATE",
                    "deleted" => "DELETE",
                    other => panic!("{other} in {line}"),
                };
                let xid = transaction["origin"]["xid"].to_string();
                add(&mut written, &xid, &format!("{table} {operation}"), count.as_u64().unwrap());
            }
        }
    }
    for (number, (written, committed)) in written.iter().zip(&committed).enumerate() {
        assert_eq!(written, committed, "transaction {number} of the journal, and of the server");
    }
    assert_eq!(written.len(), committed.len(), "transactions in the journal, and committed");
    written.len()
}

/// Adds changes to the last transaction, or to a new one.
fn add(history: &mut History, xid: &str, what: &str, count: u64) {
    if history.last().is_none_or(|(last, _)| last != xid) {
        history.push((xid.to_owned(), BTreeMap::new()));
    }
    if let Some((_, changes)) = history.last_mut() {
        *changes.entry(what.to_owned()).or_default() += count;
    }
}

/// What everybody is at, for a failure.
fn condition(shop: &Shop) -> String {
    let ask = |what: &str| {
        let sql = format!("select to_jsonb(asked) - 'query' from ({what}) asked");
        format!("{what}: {:?}", shop.postgres.try_query(DATABASE, &sql))
    };
    let asked = [
        "select *, pg_current_wal_insert_lsn() as now from pg_replication_slots",
        "select * from pg_stat_replication",
        "select * from pg_stat_activity where backend_type in ('client backend', 'walsender')",
        "select * from pg_prepared_xacts",
        "select * from pg_locks where not granted",
    ]
    .map(ask);
    let log = shop.headwater.log();
    let log = &log[log.len().saturating_sub(8_000)..];
    format!("{}\n{}\n{log}\n{}", shop.status(), asked.join("\n"), shop.postgres.log_tail())
}

fn sequence(shop: &Shop) -> u64 {
    shop.status()["sources"][0]["sequence"].as_u64().unwrap_or(0)
}

fn lock(shop: &Mutex<Shop>) -> MutexGuard<'_, Shop> {
    shop.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Decides what is prepared, by turns for and against.
fn decide_all(postgres: &Postgres) {
    for (number, row) in
        postgres.query(DATABASE, "select gid from pg_prepared_xacts order by gid").into_iter().enumerate()
    {
        let gid = row.into_iter().flatten().next().unwrap_or_default();
        let outcome = if number % 2 == 0 { "commit" } else { "rollback" };
        postgres.exec(DATABASE, &format!("{outcome} prepared '{gid}'"));
    }
}

/// Writers, until they are told to end.
struct Load {
    ended: AtomicBool,
    committed: AtomicU64,
}

impl Load {
    fn run(&self, worker: u64, seed: u64, open: impl Fn() -> Option<PostgresSession>) {
        let random = StdRng::seed_from_u64(seed + worker);
        let mut writer = Writer { worker, random, prepared: 0, undecided: Vec::new() };
        let mut session: Option<PostgresSession> = None;
        while !self.ended.load(Ordering::Acquire) {
            let Some(opened) = &mut session else {
                session = open().and_then(|mut new| writer.has_found_its_own(&mut new).then_some(new));
                std::thread::park_timeout(PAUSE);
                continue;
            };
            if opened.exec(IS_BEHIND).is_ok_and(|rows| rows.first().is_some_and(|row| row[0].as_deref() == Some("1"))) {
                std::thread::park_timeout(PAUSE);
                continue;
            }
            match opened.exec(&writer.statements()) {
                Ok(_) => drop(self.committed.fetch_add(1, Ordering::AcqRel)),
                // A duplicate key or a deadlock is part of the load; a lost connection is found out by the next statement.
                Err(_) if opened.exec("rollback").is_ok() && writer.has_found_its_own(opened) => {}
                Err(_) => session = None,
            }
        }
    }
}

/// Ends the load when it is dropped, also by a test that fails.
struct Ends<'l>(&'l Load);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
    }
}

struct Writer {
    worker: u64,
    random: StdRng,
    /// How many transactions it has named.
    prepared: u64,
    /// What it has prepared and not decided.
    undecided: Vec<String>,
}

impl Writer {
    /// Asks the server what is prepared: what happened to the last statement before a crash nobody has told.
    fn has_found_its_own(&mut self, session: &mut PostgresSession) -> bool {
        let found = session.exec(&format!("select gid from pg_prepared_xacts where gid like 'w{}-%'", self.worker));
        let rows = found.as_ref().map_or(&[][..], Vec::as_slice);
        self.undecided = rows.iter().flatten().flatten().cloned().collect();
        found.is_ok()
    }

    /// One transaction, or what becomes of a prepared one.
    fn statements(&mut self) -> String {
        let ledger = "insert into shop.ledger (what) values ('tx')";
        let small = transaction(&mut self.random);
        let body = small.rsplit_once(";\n").map_or("", |(body, _)| body);
        if self.random.random_ratio(1, 40) {
            // With it goes a record from which decoding may begin again, which the server otherwise makes every 15 s alone: each
            // start would have to decode everything since the first one.
            return "checkpoint".to_owned();
        }
        match self.random.random_range(0..10) {
            0 => self.large(ledger),
            1 => {
                let outcome = self.outcome();
                let gid = self.name();
                format!("{body}; {ledger}; prepare transaction '{gid}'; {outcome} prepared '{gid}'")
            }
            2 if self.undecided.len() < UNDECIDED_MAX => self.prepare(),
            3 if !self.undecided.is_empty() => {
                let outcome = self.outcome();
                let gid = self.undecided.swap_remove(self.random.random_range(0..self.undecided.len()));
                format!("{outcome} prepared '{gid}'")
            }
            4 => format!(
                "{body}; savepoint a; {ledger}; update shop.item set grp = grp + 1; rollback to a; {ledger}; commit"
            ),
            5 => format!("{body}; {ledger}; rollback"),
            _ => format!("{body}; {ledger}; commit"),
        }
    }

    fn name(&mut self) -> String {
        self.prepared += 1;
        format!("w{}-{}", self.worker, self.prepared)
    }

    fn outcome(&mut self) -> &'static str {
        if self.random.random_ratio(1, 3) { "rollback" } else { "commit" }
    }

    /// One that stays prepared for a while, over kills. It locks nothing that others want.
    fn prepare(&mut self) -> String {
        let rows = if self.random.random_ratio(1, 2) { 1 } else { self.random.random_range(300..1_500) };
        let gid = self.name();
        self.undecided.push(gid.clone());
        format!(
            "begin; insert into shop.ledger (what) select repeat('p', 200) from generate_series(1, {rows}); savepoint a;
             insert into shop.ledger (what) select repeat('q', 200) from generate_series(1, {rows}); rollback to a;
             insert into shop.ledger (what) values ('end'); prepare transaction '{gid}'"
        )
    }

    /// One that is sent while it is in progress, parts of which are rolled back.
    fn large(&mut self, ledger: &str) -> String {
        let from = 10_000 * (self.worker + 1);
        let rows = |from: u64, count: u64| {
            format!(
                "insert into shop.line select i, 1, 7 from generate_series({from}, {}) i on conflict (item_id, no) do update \
                 set qty = shop.line.qty + 1",
                from + count
            )
        };
        let random = &mut self.random;
        let mut sql = format!("begin; {}", rows(from, random.random_range(1_000..2_000)));
        for _ in 0..random.random_range(1..4) {
            let back = if random.random_ratio(2, 3) { "rollback to a" } else { "release a" };
            sql.push_str(&format!(
                "; savepoint a; delete from shop.line where item_id between {from} and {}; savepoint b; {}; rollback to b; {}; {back}",
                from + 300,
                rows(from + 2_000, random.random_range(1..1_500)),
                rows(from + 4_000, random.random_range(1..800)),
            ));
        }
        let end = if random.random_ratio(1, 4) { "rollback" } else { "commit" };
        format!("{sql}; {ledger}; {end}")
    }
}
