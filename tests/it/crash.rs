//! Kills. Whatever is killed, whenever: nothing is lost, nothing is there twice, nothing appears that never was.
//!
//! `HEADWATER_CRASH_KILLS` says how many kills the long form makes; each is at a moment that the seed decides.

use crate::world::{LIMIT, Load, World};
use headwater_testkit::{Flavor, flavors, say, seed, wait_until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;

/// Kills over all servers, unless `HEADWATER_CRASH_KILLS` says otherwise.
const KILLS: u64 = 51;

fn kills() -> u64 {
    std::env::var("HEADWATER_CRASH_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

/// Durable enough that a killed server keeps what it has acknowledged.
const DURABLE: &[&str] = &["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"];

#[test]
fn random_kills_under_load_lose_and_double_nothing() {
    let seed = seed("random kills");
    let flavors = flavors();
    let share = kills().div_ceil(flavors.len() as u64);
    for (flavor, seed) in flavors.into_iter().zip(seed..) {
        kill_at_random(flavor, seed, share);
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
        let source = world.status()["sources"][0].clone();
        let sink = world.status()["sinks"][0].clone();
        let open = source["durable_sequence"] != source["sequence"] || sink["lag_changes"].as_u64() > Some(0);
        unacknowledged += u64::from(open);
        match kill % 5 {
            0..3 => {
                world.headwater.kill9();
                world.headwater.start().unwrap();
            }
            3 => {
                let mut database = world.database();
                database.kill9();
                database.restart().unwrap();
            }
            _ => {
                world.redis.kill9();
                world.redis.restart().unwrap();
            }
        }
    }
    let committed = load.finish();
    world.assert_equal();
    each_transaction_once_and_in_order(&world);
    say(&format!(
        "{flavor:?}: {kills} kills over {committed} transactions, {unacknowledged} with unacknowledged work; all equal"
    ));
}

/// Every row of the ledger was inserted by one transaction: each must be in the journal once, in the log's order.
fn each_transaction_once_and_in_order(world: &World) {
    let dump = world.headwater.run_ok(&["topics", "dump", "shop.shop.ledger"]).unwrap();
    let mut seen = HashMap::new();
    let mut last = (0, 0, 0);
    for line in dump.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let value = &record["value"];
        let id = value["after"]["id"].as_u64().unwrap();
        assert_eq!(seen.insert(id, ()), None, "transaction {id} is in the journal twice");
        let source = &value["source"];
        let file: u64 = source["file"].as_str().and_then(|file| file.rsplit('.').next()?.parse().ok()).unwrap_or(0);
        let place = (file, source["pos"].as_u64().unwrap_or(0), source["row"].as_u64().unwrap_or(0));
        assert!(value["op"] == "r" || place > last, "{place:?} after {last:?}");
        last = if value["op"] == "r" { last } else { place };
    }
    let count = world.database().value("select count(*) from shop.ledger");
    assert_eq!(seen.len().to_string(), count, "transactions in the journal");
}

#[test]
fn kills_inside_a_snapshot_resume_it() {
    let seed = seed("kills inside a snapshot");
    let mut inside = 0;
    for (flavor, seed) in flavors().into_iter().zip(seed..) {
        let mut world = World::start(flavor, &[], ", chunk_rows: 100");
        fill(&world, 100_000);
        let load = Load::start(&world.database, seed, 2, false);
        let mut random = StdRng::seed_from_u64(seed);
        world.headwater.launch().unwrap();
        for _ in 0..5 {
            let sequence = |world: &World| world.status()["sources"][0]["sequence"].as_u64().unwrap_or(0);
            let target = sequence(&world) + random.random_range(100..1_500);
            wait_until(LIMIT, "the snapshot to come on", || sequence(&world) > target).unwrap();
            inside += u64::from(world.status()["sources"][0]["state"] == "snapshotting");
            world.headwater.kill9();
            world.headwater.launch().unwrap();
        }
        load.finish();
        world.assert_equal();
    }
    say(&format!("{inside} kills were inside a snapshot; all equal"));
}

/// Many items, of workers that do not exist.
fn fill(world: &World, rows: u64) {
    world.database().exec(&format!(
        "set @n = 0; insert into shop.item select n + 100000, concat('S', n % 12), n % 8, n / 100, 'filled', '2024-01-01'
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
