//! Kills. Whatever is killed, whenever: nothing is lost, nothing is there twice, nothing appears that never was.
//!
//! `HEADWATER_CRASH_KILLS` says how many kills the long form makes, `HEADWATER_SNAPSHOT_ROWS` how large the snapshot is in
//! which it is killed. Each kill is at a moment that the seed decides, or at the first one after it when there is something
//! to lose; how many were is printed, and judged.

use crate::world::{LIMIT, Load, World};
use headwater_testkit::{Flavor, flavors, say, seed, wait_until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

/// Kills over all servers, unless `HEADWATER_CRASH_KILLS` says otherwise.
const KILLS: u64 = 51;
/// How long a kill waits for work that is not acknowledged.
const OPEN_LIMIT: Duration = Duration::from_secs(2);
/// Of a hundred kills, those that must meet work that is not acknowledged.
const OPEN_PERCENT_MIN: u64 = 80;

/// Rows of the snapshot, unless `HEADWATER_SNAPSHOT_ROWS` says otherwise.
const SNAPSHOT_ROWS: u64 = 100_000;
/// The snapshot has so many chunks.
const SNAPSHOT_CHUNKS: u64 = 50;
const SNAPSHOT_WORKERS: u64 = 2;
/// Kills in the snapshot of one server.
const SNAPSHOT_KILLS: u64 = 5;
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(1_200);
/// Resident memory of any life, VmHWM.
const MEMORY_KB_MAX: u64 = 100 << 10;

/// Durable enough that a killed server keeps what it has acknowledged.
pub const DURABLE: &[&str] = &["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn random_kills_under_load_lose_and_double_nothing() {
    let seed = seed("random kills");
    let flavors = flavors();
    let kills = setting("HEADWATER_CRASH_KILLS", KILLS).div_ceil(flavors.len().max(1) as u64);
    for (flavor, seed) in flavors.into_iter().zip(seed..) {
        kill_at_random(flavor, seed, kills);
    }
}

fn kill_at_random(flavor: Flavor, seed: u64, kills: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::start(flavor, DURABLE, "");
    world.headwater.start().unwrap();
    let load = Load::start(&world.database, seed, 3, true);
    let mut unacknowledged = 0;
    for kill in 0..kills {
        world.wait_for_changes(random.random_range(20..300));
        let open = wait_until(OPEN_LIMIT, "work that is not acknowledged", || has_open_work(&world));
        match kill % 5 {
            0..3 => world.headwater.kill9(),
            3 => world.database().kill9(),
            _ => world.redis.kill9(),
        }
        unacknowledged += u64::from(open.is_ok());
        match kill % 5 {
            0..3 => world.headwater.start().unwrap(),
            3 => world.database().restart().unwrap(),
            _ => world.redis.restart().unwrap(),
        }
    }
    let committed = load.finish();
    world.assert_equal();
    world.assert_each_transaction_once();
    say(&format!(
        "{flavor}: {kills} kills over {committed} transactions, {unacknowledged} with unacknowledged work; all equal"
    ));
    assert!(unacknowledged * 100 >= kills * OPEN_PERCENT_MIN, "too few kills had something to lose");
}

/// Whether changes are written and not on disk, or on disk and not in the cache.
fn has_open_work(world: &World) -> bool {
    let status = world.status();
    let (source, sink) = (&status["sources"][0], &status["sinks"][0]);
    source["durable_sequence"] != source["sequence"] || sink["lag_changes"].as_u64() > Some(0)
}

#[test]
fn kills_inside_a_snapshot_resume_it() {
    let seed = seed("kills inside a snapshot");
    let flavors = flavors();
    let kills = flavors.len() as u64 * SNAPSHOT_KILLS;
    let inside: u64 = flavors.into_iter().zip(seed..).map(|(flavor, seed)| kill_inside_a_snapshot(flavor, seed)).sum();
    say(&format!("{inside} of {kills} kills were inside a snapshot; all equal"));
    assert!(inside * 3 >= kills * 2, "too few kills were inside a snapshot");
}

/// Answers how many kills left a snapshot that the next start had to go on with.
fn kill_inside_a_snapshot(flavor: Flavor, seed: u64) -> u64 {
    let rows = setting("HEADWATER_SNAPSHOT_ROWS", SNAPSHOT_ROWS);
    let chunk = rows / SNAPSHOT_CHUNKS;
    let options = format!(", chunk_rows: {chunk}, snapshot_workers: {SNAPSHOT_WORKERS}");
    let mut world = World::start(flavor, &["--performance-schema=ON"], &options);
    fill(&world, rows);
    let load = Load::over(&world.database, seed, 2, rows);
    let mut random = StdRng::seed_from_u64(seed);
    let (mut inside, mut memory_kb, mut thrown_away) = (0, 0, 0);
    world.headwater.launch().unwrap();
    let mut is_inside = is_snapshotting(&world);
    for _ in 0..SNAPSHOT_KILLS {
        let target = world.sequence() + random.random_range(rows / 50..rows / 8);
        wait_until(SNAPSHOT_LIMIT, "the snapshot to come on", || {
            let source = world.source();
            source["sequence"].as_u64() >= Some(target) || source["state"] == "streaming"
        })
        .unwrap();
        memory_kb = world.headwater.memory_peak_kb().max(Some(memory_kb)).unwrap();
        world.headwater.kill9();
        thrown_away = chunks_thrown_away(&world);
        world.headwater.launch().unwrap();
        is_inside = is_inside && is_snapshotting(&world);
        inside += u64::from(is_inside);
    }
    wait_until(SNAPSHOT_LIMIT, "the snapshot to end", || world.source()["state"] == "streaming").unwrap();
    let committed = load.finish();
    let limit = format!("{}s", SNAPSHOT_LIMIT.as_secs());
    world.headwater.run_ok(&["wait", "--timeout", &limit]).unwrap();
    world.assert_equal();
    memory_kb = world.headwater.memory_peak_kb().max(Some(memory_kb)).unwrap();
    let again_max = SNAPSHOT_KILLS * SNAPSHOT_WORKERS;
    say(&format!(
        "{flavor}: {inside} of {SNAPSHOT_KILLS} kills inside a snapshot of {rows} rows, {committed} transactions beside it; \
         {thrown_away} chunks of {chunk} rows read again, {again_max} allowed; {memory_kb} kB of memory; all equal"
    ));
    assert!(thrown_away <= again_max, "more than a chunk a worker was read again at each start");
    assert!(memory_kb <= MEMORY_KB_MAX, "{memory_kb} kB of memory");
    inside
}

/// Waits until it has begun; answers whether there is something left to read.
fn is_snapshotting(world: &World) -> bool {
    let mut state = serde_json::Value::Null;
    wait_until(LIMIT, "the source to begin", || {
        state = world.source()["state"].clone();
        state == "snapshotting" || state == "streaming"
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", world.log_tail()));
    state == "snapshotting"
}

/// While Headwater is down: chunks that the server was asked for, less those that the journal has. Each must be read again.
fn chunks_thrown_away(world: &World) -> u64 {
    let database = world.database();
    let running = "select count(*) from performance_schema.threads
         where processlist_user = 'cdc' and processlist_command in ('Execute', 'Query')";
    wait_until(LIMIT, "the server to notice the kill", || database.value(running) == "0").unwrap();
    // Nothing else that Headwater asks is a prepared statement.
    let asked = database.value(
        "select sum(count_star) from performance_schema.events_statements_summary_by_user_by_event_name
         where user = 'cdc' and event_name = 'statement/com/Execute'",
    );
    let tail = world.headwater.run_ok(&["journal", "tail", "--output", "json"]).unwrap();
    let written = tail.matches("\"snapshot_at\"").count() as u64;
    asked.parse::<u64>().unwrap() - written
}

/// As many items, those included that a load over them changes.
fn fill(world: &World, rows: u64) {
    world.database().exec(&format!(
        "set @n = 0; insert into shop.item select n, concat('S', n % 12), n % 8, n / 100, 'filled', '2024-01-01'
         from (select @n := @n + 1 as n from information_schema.columns a, information_schema.columns b limit {rows}) numbers;"
    ));
}

#[test]
fn kills_inside_a_large_transaction_never_show_half_of_it() {
    let seed = seed("kills inside a large transaction");
    let mut inside = 0;
    for (flavor, seed) in flavors().into_iter().zip(seed..) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::start(flavor, &["--max-allowed-packet=1G"], ", transaction_bytes_max: 1048576");
        world.database().exec("alter table shop.unfollowed add column pad mediumblob");
        world.headwater.start().unwrap();
        let mut session = world.database().session().unwrap();
        let numbers = "information_schema.columns a, information_schema.columns b limit";
        session
            .send(&format!(
                "begin; set @n = 0; insert into shop.line select @n := @n + 1, 1, 7 from {numbers} 1000;
                 insert into shop.unfollowed (v, pad) select 1, repeat('x', 10000) from {numbers} 10500;
                 insert into shop.line select @n := @n + 1, 1, 7 from {numbers} 1000; commit"
            ))
            .unwrap();
        for _ in 0..2 {
            world.wait_for_side_segment(random.random_range(2..60) << 20);
            inside += 1;
            world.headwater.kill9();
            world.headwater.start().unwrap();
        }
        session.finish().unwrap();
        world.assert_equal();
    }
    say(&format!("{inside} kills were inside a transaction of 100 MB; all equal"));
}

#[test]
fn a_cache_restored_from_an_older_file_is_brought_forward() {
    let seed = seed("older cache");
    for (flavor, seed) in flavors().into_iter().zip(seed..) {
        let mut world = World::start(flavor, &[], "");
        world.headwater.start().unwrap();
        let load = Load::start(&world.database, seed, 2, true);
        for _ in 0..2 {
            world.wait_for_changes(200);
            world.redis.copy_data_file("older").unwrap();
            world.wait_for_changes(300);
            world.redis.restore_data_file("older").unwrap();
        }
        world.wait_for_changes(100);
        world.redis.call(&["FLUSHALL"]);
        load.finish();
        world.headwater.run_ok(&["wait", "--timeout", "60s"]).unwrap();
        world.assert_equal();
    }
}
