//! Tables that change in awkward ways while they are read for the first time: by XA transactions whose outcome comes later,
//! and in their shape, each also over a kill.
//!
//! Invariant: each row reaches the targets once, which counters prove. The snapshot is slowed by a fail point, and a test
//! that finds it over too soon fails. Start at [`slowly_read`].

use crate::failures::journal_is_good;
use crate::records::on_every_server;
use crate::world::{LIMIT, World};
use headwater_testkit::{Flavor, wait_until};

/// Rows of each table, of which one is read at a time.
const ROWS: u32 = 60;

/// A shop whose first snapshot takes half a second for each row.
fn slowly_read(flavor: Flavor, source: &str) -> World {
    let mut world = World::start(flavor, &[], &format!(", chunk_rows: 1{source}"));
    let numbers = format!("with recursive n (n) as (select 1 union all select n + 1 from n where n < {ROWS})");
    world.database().exec(&format!(
        "insert into shop.item {numbers} select n, concat('S', n % 5), n % 3, n, 'first', '2024-01-01' from n;
         insert into shop.line {numbers} select n, 1, n from n"
    ));
    world.headwater.env("FAILPOINTS", "snapshot::after_chunk_read=sleep(500)");
    world
}

fn is_reading(world: &World) -> bool {
    world.status()["sources"][0]["state"] == "snapshotting"
}

/// Starts Headwater, which reads the tables.
#[track_caller]
fn begins(world: &mut World) {
    world.headwater.launch().unwrap();
    wait_until(LIMIT, "the snapshot to begin", || is_reading(world)).unwrap();
}

/// All that is committed has been streamed and applied, and the tables are still being read.
#[track_caller]
fn is_read_beside(world: &World) {
    world.database().exec("insert into shop.ledger (worker, what) values (1, 'mark')");
    let marks = world.database().value("select count(*) from shop.ledger");
    let arrived = || world.redis.call(&["GET", "ledger"]).text().is_some_and(|text| text == marks);
    wait_until(LIMIT, "the last commit to arrive", arrived)
        .unwrap_or_else(|error| panic!("{error}\n{}", world.log_tail()));
    assert!(is_reading(world), "the snapshot was over too soon\n{}", world.log_tail());
}

/// Kills it, and lets it read on at full speed.
fn restarts_at_full_speed(world: &mut World) {
    world.headwater.kill9();
    world.headwater.env_remove("FAILPOINTS");
    world.headwater.start().unwrap();
}

/// An XA transaction that changes rows in every way; `n` tells its rows from another's, `large` says that it does not
/// stay in memory.
fn prepare(world: &World, id: &str, n: u32, large: bool) {
    let (updated, deleted, moved) = (ROWS - 3 * n, ROWS - 3 * n - 1, ROWS - 3 * n - 2);
    let notes = match large {
        true => format!(
            "update item set note = repeat('x', 300) where id between {n} * 1000 + 10000 and {n} * 1000 + 10250;"
        ),
        false => String::new(),
    };
    let mut session = world.database().session().unwrap();
    let prepared = session.exec(&format!(
        "use shop; xa start '{id}'; {notes} update item set price = price + 1000, grp = 7 where id = {updated};
         delete from item where id = {deleted}; delete from line where item_id = {deleted};
         update item set id = {moved} + 1000 where id = {moved}; update line set no = 5 where item_id = {moved};
         insert into item values ({n} + 2000, 'S1', 1, 5, null, '2024-01-01'); xa end '{id}'; xa prepare '{id}'"
    ));
    prepared.unwrap();
}

/// Ends it from another session, as soon as the server lets go of the first one.
fn end(world: &World, how: &str, id: &str) {
    let ended = || world.database().try_exec(&format!("xa {how} '{id}'")).is_ok();
    wait_until(LIMIT, "the XA transaction to end", ended).unwrap();
}

fn xa_beside_a_snapshot(flavor: Flavor, large: bool) {
    let mut world = slowly_read(flavor, ", transaction_bytes_max: 65536");
    for n in (0..6).filter(|_| large) {
        world.database().exec(&format!(
            "insert into shop.item with recursive n (n) as (select 0 union all select n + 1 from n where n < 300)
             select n + {n} * 1000 + 10000, 'S1', 2, 1, repeat('y', 300), '2024-01-01' from n"
        ));
    }
    prepare(&world, "before", 0, large);
    prepare(&world, "never", 1, large);
    begins(&mut world);
    prepare(&world, "while", 2, large);
    prepare(&world, "not", 3, large);
    prepare(&world, "over", 4, large);
    prepare(&world, "gone", 5, large);
    is_read_beside(&world);
    // One that is written already as it was before the commit.
    let arrived = || !large || world.redis.call(&["GET", "item:10000"]).text().is_some();
    wait_until(LIMIT, "a row that will be changed to be read", arrived).unwrap();
    for (how, id) in [("rollback", "never"), ("rollback", "not"), ("commit", "before"), ("commit", "while")] {
        end(&world, how, id);
    }
    is_read_beside(&world);
    world.headwater.kill9();
    begins(&mut world);
    end(&world, "rollback", "gone");
    end(&world, "commit", "over");
    is_read_beside(&world);
    restarts_at_full_speed(&mut world);
    world.assert_equal();
    journal_is_good(&world.headwater);
}

#[test]
fn prepared_transactions_that_end_beside_the_first_snapshot_give_each_row_once() {
    on_every_server(|flavor| xa_beside_a_snapshot(flavor, false));
}

#[test]
fn prepared_transactions_larger_than_memory_that_end_beside_the_first_snapshot_give_each_row_once() {
    on_every_server(|flavor| xa_beside_a_snapshot(flavor, true));
}

#[test]
fn a_key_that_moves_to_another_place_while_its_table_is_read_gives_each_row_once() {
    on_every_server(|flavor| {
        let mut world = slowly_read(flavor, "");
        begins(&mut world);
        world.database().exec(
            "update shop.line set qty = qty + 100 where item_id % 2 = 0; delete from shop.line where item_id % 5 = 0;
             alter table shop.line add column extra int null first; update shop.line set qty = qty + 7 where item_id % 3 = 0",
        );
        is_read_beside(&world);
        restarts_at_full_speed(&mut world);
        world.assert_equal();
        journal_is_good(&world.headwater);
    });
}
