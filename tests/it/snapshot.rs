//! Snapshots: the races that lose updates, what a second one takes back, and tables that have no key.

use crate::world::{LIMIT, Load, World};
use headwater_testkit::{Flavor, flavors, seed, wait_until};

/// Semi-synchronous replication without a replica: a commit is in the log for seconds before a SELECT shows it.
fn hold_commits(world: &World, flavor: Flavor) {
    world.database().exec(match flavor {
        Flavor::MySql => {
            "install plugin rpl_semi_sync_source soname 'semisync_source.so';
             set global rpl_semi_sync_source_timeout = 3000; set global rpl_semi_sync_source_enabled = 1"
        }
        _ => {
            "set global rpl_semi_sync_master_wait_point = 'AFTER_SYNC';
             set global rpl_semi_sync_master_timeout = 3000; set global rpl_semi_sync_master_enabled = 1"
        }
    });
}

#[test]
fn an_update_that_is_in_the_log_and_not_yet_visible_is_not_lost() {
    for flavor in flavors() {
        let mut world = World::start(flavor, &[], "");
        world.database().exec(
            "insert into shop.item values (1, 'S1', 1, 10, 'old', '2024-01-01'), (2, 'S2', 1, 20, 'old', '2024-01-01'),
             (3, 'S3', 2, 30, 'old', '2024-01-01'); insert into shop.line values (1, 1, 1), (2, 1, 1)",
        );
        hold_commits(&world, flavor);
        let mut session = world.database().session().unwrap();
        session
            .send(
                "begin; update shop.item set price = 11, note = 'new', grp = 5 where id = 1; delete from shop.item where id = 2;
                 insert into shop.item values (4, 'S4', 4, 40, 'new', '2024-01-01'); update shop.line set no = 9 where item_id = 1; commit",
            )
            .unwrap();
        let held = "select count(*) from information_schema.processlist where state like '%semi-sync%'";
        wait_until(LIMIT, "the commit to be held", || world.database().value(held) == "1").unwrap();
        assert_eq!(world.database().value("select note from shop.item where id = 1"), "old");
        world.headwater.launch().unwrap();
        wait_until(LIMIT, "the snapshot to end", || world.status()["sources"][0]["state"] == "streaming").unwrap();
        session.finish().unwrap();
        world.assert_equal();
    }
}

#[test]
fn a_second_snapshot_takes_back_what_the_log_never_showed() {
    let seed = seed("second snapshot");
    for (flavor, seed) in flavors().into_iter().zip(seed..) {
        let mut world = World::start(flavor, &[], ", snapshot: when_needed, chunk_rows: 100");
        world.database().exec(
            "create table shop.keyless (a int, b varchar(20)); insert into shop.keyless values (1, 'x'), (1, 'x'), (2, 'y');
             set @n = 0; insert into shop.item select @n := @n + 1, concat('S', @n % 12), @n % 8, @n / 100, 'filled', '2024-01-01'
             from information_schema.columns limit 1000",
        );
        world.headwater.start().unwrap();
        world.assert_equal();
        assert!(world.headwater.terminate(LIMIT).unwrap().success());

        // While Headwater is away the log goes, and with it what happened meanwhile.
        world.database().exec(
            "delete from shop.item where id % 7 = 0; update shop.item set price = price + 1, sku = 'S99' where id % 5 = 0;
             insert into shop.item values (5001, 'S1', 3, 5, null, '2024-01-01'); delete from shop.keyless where a = 1 limit 1;
             insert into shop.keyless values (3, 'z'); insert into shop.ledger (worker, what) values (9, 'lost')",
        );
        world.purge_logs();
        let load = Load::start(&world.database, seed, 2, false);
        world.headwater.launch().unwrap();
        wait_until(LIMIT, "the snapshot to end", || world.status()["sources"][0]["state"] == "streaming").unwrap();
        load.finish();
        world.assert_equal();
    }
}

#[test]
fn a_snapshot_that_is_asked_for_changes_nothing_that_is_right() {
    let seed = seed("asked snapshot");
    for (flavor, seed) in flavors().into_iter().zip(seed..) {
        let mut world = World::start(flavor, &[], ", chunk_rows: 50");
        world.headwater.start().unwrap();
        let load = Load::start(&world.database, seed, 2, true);
        for _ in 0..2 {
            world.wait_for_changes(300);
            world.headwater.run_ok(&["snapshot", "shop"]).unwrap();
        }
        world.wait_for_changes(100);
        load.finish();
        wait_until(LIMIT, "the snapshot to end", || world.status()["sources"][0]["state"] == "streaming").unwrap();
        world.assert_equal();
    }
}

#[test]
fn a_debezium_source_tells_every_row_again_that_a_further_snapshot_reads() {
    for flavor in flavors() {
        let mut world = World::start(flavor, &[], ", snapshot: always, as_debezium: true, chunk_rows: 2");
        world.database().exec(
            "create table shop.keyless (a int, b varchar(20)); insert into shop.keyless values (1, 'x'), (1, 'x'), (2, 'y');
             insert into shop.line values (1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 1, 1), (5, 1, 1)",
        );
        let read = |world: &World, table: &str| {
            let topic = format!("shop.shop.{table}");
            let dump = world.headwater.run_ok(&["topics", "dump", &topic]).unwrap();
            let records = dump.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            records.filter(|record| record["value"]["op"] == "r").count()
        };
        for times in 1..4 {
            world.headwater.start().unwrap();
            world.assert_equal();
            assert_eq!((read(&world, "line"), read(&world, "keyless")), (5 * times, 3 * times), "{flavor}");
            assert!(world.headwater.terminate(LIMIT).unwrap().success());
        }
    }
}
