//! Kills at every edge: before and after each write, each fsync and each acknowledgement, between the parts of a large
//! transaction, in a snapshot. Headwater aborts at the named point, after a number of passes that the seed decides, is
//! started again, and everything is compared.
//!
//! Invariant: a point that was never reached fails the test, so that no edge is passed over. Start at [`POINTS`].

use crate::failures::{STOP_LIMIT, item, journal_is_good, two_flavors, write_more};
use crate::postgres_points;
use crate::world::{LIMIT, Load, World, config};
use headwater_testkit::{say, seed, wait_until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// What leads to a point.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Transactions as they come.
    Stream,
    /// Transactions larger than memory, and XA transactions that are prepared.
    Side,
    /// Reading the tables, from an empty data folder.
    Snapshot,
    /// The start alone.
    Start,
    /// Enough of a journal that some of it may go.
    Retention,
    /// A target that has lost everything, after the journal's beginning went.
    Fill,
    /// Rows that the target refused, applied again.
    Replay,
    /// A target that is emptied.
    Rebuild,
}

/// Every fail point of the product, the way to it, and the passes before the crash at most.
const POINTS: [(&str, Way, u32); 24] = [
    ("engine::before_append", Way::Stream, 60),
    ("engine::before_write", Way::Stream, 40),
    ("journal::before_write", Way::Stream, 60),
    ("journal::after_write", Way::Stream, 60),
    ("journal::before_fsync", Way::Stream, 30),
    ("journal::after_fsync", Way::Stream, 30),
    ("journal::after_durable", Way::Stream, 30),
    ("mysql::commit", Way::Stream, 60),
    ("redis::before_exec", Way::Stream, 40),
    ("redis::after_send", Way::Stream, 40),
    ("redis::after_exec", Way::Stream, 40),
    ("journal::side_commit", Way::Side, 3),
    ("journal::side_prepare", Way::Side, 3),
    ("mysql::prepare", Way::Side, 3),
    ("journal::before_write", Way::Side, 40),
    ("journal::after_fsync", Way::Side, 12),
    ("journal::roll", Way::Side, 2),
    ("snapshot::after_chunk_read", Way::Snapshot, 3),
    ("snapshot::after_chunk_append", Way::Snapshot, 3),
    ("journal::identity", Way::Start, 1),
    ("journal::retention", Way::Retention, 1),
    ("engine::before_fill_write", Way::Fill, 1),
    ("engine::after_replay", Way::Replay, 1),
    ("redis::sweep", Way::Rebuild, 4),
];

/// How long there is between two writes.
const PACE: Duration = Duration::from_millis(200);
/// How long the load may take to reach a point, on a machine that has much else to do.
const ROUND: Duration = Duration::from_secs(120);

#[test]
fn a_crash_at_any_edge_loses_nothing_and_doubles_nothing() {
    let seed = seed("crash at every edge");
    for (flavor, seed) in two_flavors().zip(seed..) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::start(flavor, &[], "");
        let shop = config(&world.database(), &world.redis, ", transaction_bytes_max: 65536, chunk_rows: 100");
        let journal = "journal: { segment_bytes: 1MiB, retention: { bytes: 1MiB, keep_bytes: 1MiB } }";
        world.headwater.configure(&format!("{journal}\n{shop}")).unwrap();
        world.headwater.start().unwrap();
        let mut reached = Vec::new();
        for (point, way, passes_max) in POINTS {
            let passes = random.random_range(0..passes_max);
            let load = Load::start(&world.database, random.random(), 2, false);
            crash_at(&mut world, point, way, passes);
            load.finish();
            world.headwater.env_remove("FAILPOINTS");
            world.headwater.start().unwrap();
            world.assert_equal();
            journal_is_good(&world.headwater);
            reached.push(format!("{point} after {passes}"));
        }
        say(&format!("{flavor}: crashed at {}; all equal", reached.join(", ")));
    }
}

/// Points that give an error instead, for the tests of full disks and failed fsyncs.
const ERRORS: [&str; 2] = ["journal::disk_full", "journal::fsync_fails"];

#[test]
fn every_point_of_the_product_is_crashed_at() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<_> = fs::read_dir(crates).unwrap().map(|entry| entry.unwrap().path().join("src")).collect();
    let mut missing = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            let names = text.split("fail_point!(\"").skip(1).filter_map(|rest| rest.split('"').next());
            let crashed = |name: &str| {
                ERRORS.contains(&name)
                    || POINTS.iter().any(|(point, ..)| *point == name)
                    || postgres_points::POINTS.iter().any(|(point, ..)| *point == name)
            };
            missing.extend(names.filter(|name| !crashed(name)).map(str::to_owned));
        }
    }
    assert!(missing.is_empty(), "not in the table: {missing:?}");
}

/// Starts with the fail point, under load, until it has crashed.
fn crash_at(world: &mut World, point: &str, way: Way, passes: u32) {
    if way == Way::Fill {
        let mut round = 1_000;
        wait_until(ROUND, "the journal's beginning to go", || {
            large_and_prepared(world, round);
            round += 1;
            item(&world.headwater, "shop")["first_sequence"].as_u64() > Some(0)
        })
        .unwrap();
    }
    if way == Way::Replay {
        refused_row(world);
    }
    world.headwater.terminate(STOP_LIMIT).unwrap();
    if way == Way::Fill {
        world.redis.call(&["FLUSHALL"]);
    }
    if way == Way::Snapshot {
        // As if it were new; its target holds what another journal gave it.
        fs::remove_dir_all(world.headwater.data_dir()).unwrap();
    }
    // `off` cannot be counted down from nothing.
    let action = if passes == 0 { "panic".to_owned() } else { format!("{passes}*off->panic") };
    world.headwater.env("FAILPOINTS", &format!("{point}={action}"));
    world.headwater.launch().unwrap();
    let started = Instant::now();
    let mut round = 0;
    while world.headwater.is_running() {
        assert!(started.elapsed() < ROUND, "{point} was not reached\n{}", world.log_tail());
        match way {
            Way::Side => large_and_prepared(world, round),
            Way::Retention => {
                large_and_prepared(world, round);
                // What a follower has not applied stays, so it must not fall behind the load.
                drop(world.headwater.run(&["wait", "--timeout", "10s"]));
            }
            // It may not answer yet, or not any more.
            Way::Replay => drop(world.headwater.run(&["dead-letters", "replay", "cache"])),
            Way::Rebuild => drop(world.headwater.run(&["rebuild", "cache"])),
            _ => write_more(world),
        }
        round += 1;
        // Not yet: then some more is written.
        let _ = wait_until(PACE, "the crash", || !world.headwater.is_running());
    }
    let ended = world.headwater.wait_end(LIMIT).unwrap();
    assert!(ended.code().is_none(), "{point}: it ended with {ended} instead of crashing\n{}", world.log_tail());
    let said = world.headwater.log();
    assert!(said.contains(&format!("failpoint {point} panic")), "{point}\n{}", world.log_tail());
    journal_is_good_after_crash(world, way);
}

/// What the crash left can be read, unless it happened before there was anything.
fn journal_is_good_after_crash(world: &World, way: Way) {
    if way != Way::Start && world.headwater.data_dir().join("journal/shop/journal").exists() {
        journal_is_good(&world.headwater);
    }
}

/// A row that the target refuses until it is replayed: somebody else holds the key of its counter.
fn refused_row(world: &World) {
    world.redis.call(&["SET", "total:77", "no number"]);
    world.database().exec("insert into shop.item values (900000, 'late', 77, 4.25, null, '2024-05-05 05:05:05.5')");
    wait_until(ROUND, "a row to be refused", || item(&world.headwater, "cache")["dead_letters"] == 1).unwrap();
    world.redis.call(&["DEL", "total:77"]);
}

/// A transaction of some hundred kilobytes, and an XA transaction that is committed, another that is rolled back.
fn large_and_prepared(world: &World, round: u32) {
    let first = 500_000_000 + round * 10_000;
    let mut session = world.database().session().unwrap();
    let xa = |end: &str, id: u32| {
        format!(
            "xa start 'x{round}'; insert into shop.ledger (worker, what) values (9, 'xa'); insert into shop.line values ({id}, 1, 1) \
             on duplicate key update qty = qty + 1; xa end 'x{round}'; xa prepare 'x{round}'; xa {end} 'x{round}'; "
        )
    };
    let large = format!(
        "begin; set @n = {first}; replace into shop.line select @n := @n + 1, 1, 7 from information_schema.columns a, \
         information_schema.columns b limit 8000; delete from shop.line where item_id > {first}; commit; "
    );
    session.exec(&(large + &xa("commit", 400_000_000) + &xa("rollback", 400_000_001))).unwrap();
}
