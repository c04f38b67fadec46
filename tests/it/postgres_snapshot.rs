//! Snapshots of PostgreSQL beside its stream: kills inside one, rows that change in every way before they are read, tables
//! that change their shape, and commits that are in the log and cannot be seen yet.
//!
//! Invariant: each row reaches the targets once, which counters prove. Start at [`kills_inside_a_snapshot_resume_it`].

use crate::failures::journal_is_good;
use crate::unlogged::Shop;
use crate::world::LIMIT;
use headwater_testkit::{Postgres, PostgresRelease, PostgresSession, postgres_releases, say, seed, wait_until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Rows of the snapshot that is killed, unless `HEADWATER_SNAPSHOT_ROWS` says otherwise.
const ROWS: u64 = 50_000;
/// It has so many chunks.
const CHUNKS: u64 = 50;
const WORKERS: u64 = 2;
const KILLS: u64 = 5;
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(600);
/// Resident memory of any life, VmHWM.
const MEMORY_KB_MAX: u64 = 100 << 10;
/// Rows of each table that is read one row at a time.
const FEW: u64 = 60;

/// As many items, whose notes lie out of line.
fn fill(shop: &Shop, rows: u64) {
    shop.exec(&format!(
        "insert into shop.item select n, 'S' || n % 7, n % 6, n / 100.0, repeat(md5(n::text), 10), '2024-01-01'
           from generate_series(1, {rows}) n;
         insert into shop.line select n, 1, n from generate_series(1, {rows}) n;
         insert into shop.unfollowed (v) select n from generate_series(1, 100) n"
    ));
}

fn state(shop: &Shop) -> String {
    shop.status()["sources"][0]["state"].as_str().unwrap_or_default().to_owned()
}

/// Changes rows anywhere, each in several ways; most updates leave the note, which lies out of line, as it is.
fn change(random: &mut StdRng, rows: u64) -> String {
    let id = |random: &mut StdRng| random.random_range(1..=rows);
    let (a, b, c) = (id(random), id(random), id(random));
    // Before all that is there: a chunk of nothing but rows that the stream has brought would not be seen in the journal.
    let new = -(random.random_range(1..rows) as i64);
    let what = match random.random_range(0..8) {
        0..3 => format!("update shop.item set grp = (grp + 1) % 6, price = price + 1 where id in ({a}, {b})"),
        3 => format!("update shop.item set note = repeat('z', 3000) where id = {a}"),
        4 => format!("delete from shop.item where id = {a}; delete from shop.line where item_id = {b}"),
        5 => format!(
            "update shop.item set id = {new} where id = {a} and not exists (select from shop.item where id = {new})"
        ),
        6 => format!(
            "insert into shop.item values ({new}, 'N', 1, 2, repeat('n', 3000), '2024-01-01') on conflict (id) do update set price = 3"
        ),
        _ => format!(
            "update shop.line set qty = qty + 1 where item_id between {c} and {c} + 20; update shop.line set no = 2 where item_id = {a}"
        ),
    };
    // At a pace that any reader keeps up with: a chunk is written when the stream has come to where it was read.
    format!("begin; {what}; insert into shop.unfollowed (v) values ('x'); commit; select pg_sleep(0.005)")
}

/// Changes until it is finished, over several sessions.
struct Load {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Load {
    fn over(postgres: &Postgres, seed: u64, sessions: u64, rows: u64) -> Load {
        let over = Arc::new(AtomicBool::new(false));
        let begin = |number| {
            let (mut session, over) = (postgres.session("postgres").unwrap(), over.clone());
            let mut random = StdRng::seed_from_u64(seed ^ number);
            std::thread::spawn(move || {
                let mut committed = 0;
                while !over.load(Ordering::Acquire) {
                    // Some meet another's key, or a deadlock; they are rolled back.
                    match session.exec(&change(&mut random, rows)) {
                        Ok(_) => committed += 1,
                        Err(_) => drop(session.exec("rollback")),
                    }
                }
                committed
            })
        };
        Load { threads: (0..sessions).map(begin).collect(), over }
    }

    fn finish(self) -> u64 {
        self.over.store(true, Ordering::Release);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    }
}

#[test]
fn kills_inside_a_snapshot_resume_it() {
    let seed = seed("kills inside PostgreSQL's snapshot");
    for (release, seed) in postgres_releases().into_iter().zip(seed..) {
        kill_inside(release, seed);
    }
}

fn kill_inside(release: PostgresRelease, seed: u64) {
    let rows = std::env::var("HEADWATER_SNAPSHOT_ROWS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROWS);
    let chunk = rows / CHUNKS;
    let source = format!(", chunk_rows: {chunk}, snapshot_workers: {WORKERS}");
    let mut shop = Shop::with(release, &["shared_preload_libraries=pg_stat_statements"], &source);
    shop.exec("create extension pg_stat_statements");
    fill(&shop, rows);
    let load = Load::over(&shop.postgres, seed, 2, rows);
    let mut random = StdRng::seed_from_u64(seed);
    let (mut inside, mut memory_kb, mut thrown_away) = (0, 0, 0);
    shop.headwater.launch().unwrap();
    for _ in 0..KILLS {
        let wanted = random.random_range(rows / 50..rows / 8);
        let before = sequence(&shop);
        wait_until(SNAPSHOT_LIMIT, "the snapshot to come on", || {
            sequence(&shop) >= before + wanted || state(&shop) == "streaming"
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", shop.headwater.log()));
        memory_kb = shop.headwater.memory_peak_kb().max(Some(memory_kb)).unwrap();
        inside += u64::from(state(&shop) == "snapshotting");
        shop.headwater.kill9();
        thrown_away = chunks_thrown_away(&shop);
        shop.headwater.launch().unwrap();
        wait_until(LIMIT, "the source to begin", || !state(&shop).is_empty() && state(&shop) != "connecting").unwrap();
    }
    wait_until(SNAPSHOT_LIMIT, "the snapshot to end", || state(&shop) == "streaming").unwrap();
    let committed = load.finish();
    shop.headwater.run_ok(&["wait", "--timeout", "600s"]).unwrap();
    shop.assert_equal();
    memory_kb = shop.headwater.memory_peak_kb().max(Some(memory_kb)).unwrap();
    say(&format!(
        "{release}: {inside} of {KILLS} kills inside a snapshot of twice {rows} rows, {committed} transactions beside it; \
         {thrown_away} chunks of {chunk} rows read again, {} allowed; {memory_kb} kB of memory; all equal",
        KILLS * WORKERS
    ));
    assert!(inside * 3 >= KILLS * 2, "too few kills were inside the snapshot");
    assert!(thrown_away <= KILLS * WORKERS, "more than a chunk a worker was read again at each start");
    assert!(memory_kb <= MEMORY_KB_MAX, "{memory_kb} kB of memory");
    journal_is_good(&shop.headwater);
}

fn sequence(shop: &Shop) -> u64 {
    shop.status()["sources"][0]["sequence"].as_u64().unwrap_or(0)
}

/// While Headwater is down: chunks that the server was asked for, less those that the journal has.
fn chunks_thrown_away(shop: &Shop) -> u64 {
    let running = "select count(*) from pg_stat_activity where usename = 'cdc' and backend_type = 'client backend'";
    wait_until(LIMIT, "the server to notice the kill", || shop.postgres.value("postgres", running) == "0").unwrap();
    let asked = "select coalesce(sum(calls), 0) from pg_stat_statements where query like 'SELECT % ORDER BY % LIMIT %'";
    let asked: u64 = shop.postgres.value("postgres", asked).parse().unwrap();
    let tail = shop.headwater.run_ok(&["journal", "tail", "--output", "json"]).unwrap();
    // One of them is the table without a key, which was not asked for in chunks.
    let written = tail.matches("\"snapshot_at\"").count() as u64;
    asked.saturating_sub(written.saturating_sub(1))
}

/// A shop whose first snapshot reads a row at a time, each of which takes a quarter of a second.
fn slowly_read(release: PostgresRelease, server: &[&str]) -> Shop {
    let mut shop = Shop::with(release, server, ", chunk_rows: 1, transaction_bytes_max: 65536");
    fill(&shop, FEW);
    shop.headwater.env("FAILPOINTS", "snapshot::after_chunk_read=sleep(250)");
    shop
}

/// Starts Headwater, which reads the tables.
#[track_caller]
fn begins(shop: &mut Shop) {
    shop.headwater.launch().unwrap();
    wait_until(LIMIT, "the snapshot to begin", || state(shop) == "snapshotting")
        .unwrap_or_else(|error| panic!("{error}\n{}", shop.headwater.log()));
}

/// All that is committed has been streamed and applied, and the tables are still being read.
#[track_caller]
fn is_read_beside(shop: &Shop, mark: u64) {
    let id = 1_000_000 + mark;
    shop.exec(&format!("insert into shop.line values ({id}, 1, 1)"));
    let arrived = || shop.redis.call(&["GET", &format!("lines:{id}")]).text().is_some();
    wait_until(LIMIT, "the last commit to arrive", arrived)
        .unwrap_or_else(|error| panic!("{error}\n{}", shop.headwater.log()));
    assert_eq!(state(shop), "snapshotting", "the snapshot was over too soon\n{}", shop.headwater.log());
}

/// Kills it, and lets it read on at full speed.
fn restarts_at_full_speed(shop: &mut Shop) {
    shop.headwater.kill9();
    shop.headwater.env_remove("FAILPOINTS");
    shop.headwater.start().unwrap();
}

#[test]
fn whatever_changes_before_it_is_read_is_there_once_and_whole() {
    const CHANGES: [(&str, &str); 8] = [
        (
            "values out of line that stay as they are",
            "update shop.item set grp = 7, price = price + 1000 where id > 20",
        ),
        (
            "rows that are gone before they are read",
            "delete from shop.item where id % 5 = 0; delete from shop.line where item_id % 5 = 0",
        ),
        ("keys that move behind what was read", "update shop.item set id = -id where id % 7 = 0"),
        ("keys that move ahead of it", "update shop.item set id = id + 500, note = 'moved' where id % 11 = 0"),
        (
            "a large transaction in progress",
            "begin; update shop.item set note = repeat('y', 20000) || id where id < 30;
           savepoint s; delete from shop.item; rollback to s; update shop.item set sku = 'L'; commit",
        ),
        (
            "rows that come back",
            "begin; delete from shop.item where id = 33; insert into shop.item values (33, 'B', 1, 1, 'back', '2024-01-01'); commit",
        ),
        (
            "a prepared transaction",
            "begin; update shop.line set qty = qty + 100; prepare transaction 'p'; commit prepared 'p'",
        ),
        (
            "a column more",
            "alter table shop.line add column extra int default 5; update shop.line set qty = qty + 7, extra = 6 where item_id % 3 = 0",
        ),
    ];
    for release in postgres_releases() {
        let server = ["logical_decoding_work_mem=64kB", "max_prepared_transactions=10"];
        let mut shop = slowly_read(release, &server);
        begins(&mut shop);
        for (mark, (what, sql)) in CHANGES.iter().enumerate() {
            shop.postgres.try_exec("postgres", sql).unwrap_or_else(|error| panic!("{what}: {error}"));
            is_read_beside(&shop, mark as u64);
        }
        // Over a kill it knows again what is written.
        shop.headwater.kill9();
        shop.exec("update shop.item set price = price + 1 where id % 2 = 0; delete from shop.item where id % 13 = 0");
        begins(&mut shop);
        is_read_beside(&shop, 100);
        restarts_at_full_speed(&mut shop);
        shop.assert_equal();
        journal_is_good(&shop.headwater);
    }
}

#[test]
fn tables_that_are_emptied_or_dropped_while_they_are_read_leave_nothing_behind() {
    for release in postgres_releases() {
        let mut shop = slowly_read(release, &[]);
        begins(&mut shop);
        shop.exec("truncate shop.item; insert into shop.item values (3, 'T', 2, 7, 'new', '2024-01-01')");
        is_read_beside(&shop, 0);
        shop.exec("drop table shop.unfollowed; create table shop.unfollowed (id serial primary key, v text)");
        is_read_beside(&shop, 1);
        restarts_at_full_speed(&mut shop);
        shop.assert_equal();
        journal_is_good(&shop.headwater);
    }
}

#[test]
fn the_stream_does_not_wait_and_no_transaction_stays_open() {
    for release in postgres_releases() {
        let mut shop = slowly_read(release, &[]);
        begins(&mut shop);
        for mark in 0..3 {
            // Neither does it hold back the vacuum between two chunks.
            let open = "select count(*) from pg_stat_activity where usename = 'cdc' and (state like 'idle in transaction%' \
                        or state = 'idle' and backend_xmin is not null)";
            let is_none_open = || shop.postgres.value("postgres", open) == "0";
            wait_until(LIMIT, "the snapshot's transactions to end", is_none_open).unwrap();
            is_read_beside(&shop, mark);
        }
        restarts_at_full_speed(&mut shop);
        shop.assert_equal();
    }
}

/// A standby that never answers: a commit is in the log, and nobody sees it until the wait is given up.
fn held_commit(shop: &Shop, sql: &str) -> PostgresSession {
    shop.exec("alter system set synchronous_standby_names = 'nobody'; select pg_reload_conf()");
    let is_held = || shop.postgres.value("postgres", "show synchronous_standby_names") == "nobody";
    wait_until(LIMIT, "the setting to be read", is_held).unwrap();
    let mut session = shop.postgres.session("postgres").unwrap();
    session.send(sql).unwrap();
    let waiting = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
    wait_until(LIMIT, "the commit to be held", || shop.postgres.value("postgres", waiting) == "1").unwrap();
    session
}

#[test]
fn a_commit_that_is_in_the_log_and_cannot_be_seen_yet_is_not_taken_back_by_a_snapshot() {
    for release in postgres_releases() {
        let mut shop = Shop::with(release, &[], "");
        fill(&shop, FEW);
        shop.headwater.start().unwrap();
        shop.assert_equal();
        let mut session = held_commit(
            &shop,
            "begin; update shop.item set price = 11, grp = 5 where id = 1; delete from shop.item where id = 2;
             insert into shop.line values (777, 1, 1); commit",
        );
        let arrived = || shop.redis.call(&["GET", "lines:777"]).text().is_some();
        wait_until(LIMIT, "the commit to be streamed", arrived).unwrap();
        assert_eq!(shop.postgres.value("postgres", "select count(*) from shop.item where id = 2"), "1");
        shop.headwater.run_ok(&["snapshot", "shop"]).unwrap();
        shop.exec("alter system reset synchronous_standby_names; select pg_reload_conf()");
        session.finish().unwrap();
        wait_until(LIMIT, "the snapshot to end", || state(&shop) == "streaming").unwrap();
        shop.assert_equal();
        journal_is_good(&shop.headwater);
    }
}

#[test]
fn keys_of_every_kind_are_read_in_chunks() {
    const KEYS: [(&str, &str); 9] = [
        ("uuid", "md5(n::text)::uuid"),
        ("text", "(n * 7919) % 1009 || 'ü''\\' || n"),
        ("numeric(12,3)", "n * 1.5 - 40"),
        ("date", "'2024-01-01'::date + n - 40"),
        ("timestamptz", "'1999-12-31 23:59:59.999999+00'::timestamptz + n * interval '7 hours'"),
        ("timestamp", "'0001-01-03 BC'::timestamp + n * interval '1 day'"),
        ("bytea", "decode(md5(n::text), 'hex')"),
        ("bigint", "(n - 50) * 100000000000"),
        ("varchar(10) collate \"C\"", "chr(33 + n % 90) || n"),
    ];
    for release in postgres_releases() {
        let mut shop = Shop::with(release, &[], ", chunk_rows: 7");
        for (number, (kind, value)) in KEYS.iter().enumerate() {
            shop.exec(&format!(
                "create table shop.key_{number} (k {kind}, second int, v text, primary key (k, second));
                 insert into shop.key_{number} select {value}, n % 3, n from generate_series(1, 100) n"
            ));
        }
        shop.exec("insert into shop.key_3 values ('infinity', 1, 'far'), ('-infinity', 1, 'long ago')");
        shop.headwater.start().unwrap();
        shop.headwater.run_ok(&["wait", "--timeout", "60s"]).unwrap();
        for (number, (kind, _)) in KEYS.iter().enumerate() {
            let topic = format!("shop.shop.key_{number}");
            let dump = shop.headwater.run_ok(&["topics", "dump", &topic]).unwrap();
            let read: std::collections::BTreeSet<String> = dump
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["value"]["after"].to_string())
                .collect();
            let rows = shop.postgres.value("postgres", &format!("select count(*) from shop.key_{number}"));
            assert_eq!((dump.lines().count(), read.len().to_string()), (read.len(), rows), "{kind}");
        }
    }
}
