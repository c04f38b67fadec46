//! From the log to the cache, and back on its feet after an orderly stop: the shortest whole path on every server.

use crate::world::Load;
use crate::world::{LIMIT, World};
use headwater_testkit::{flavors, seed};

#[test]
fn rows_reach_the_cache_by_snapshot_and_by_stream() {
    for flavor in flavors() {
        let mut world = World::start(flavor, &[], "");
        world.database().exec(
            "insert into shop.item values (1, 'S1', 1, 10.50, null, '2024-09-02 17:21:02.123'), (2, 'S1', 1, 0.01, 'x', '2024-01-01 00:00:00');
             insert into shop.line values (1, 1, 5), (1, 2, 6);",
        );
        world.headwater.start().unwrap();
        world.assert_equal();
        world.database().exec(
            "begin; update shop.item set sku = 'S2', price = 11 where id = 1; delete from shop.line where no = 2; commit;
             update shop.item set id = 7 where id = 2; insert into shop.ledger (worker, what) values (0, 'x');
             alter table shop.line add column extra int first; insert into shop.line values (9, 3, 1, 1);",
        );
        world.assert_equal();
    }
}

#[test]
fn an_orderly_stop_is_quick_and_a_start_goes_on() {
    for flavor in flavors() {
        let mut world = World::start(flavor, &[], "");
        world.headwater.start().unwrap();
        let load = Load::start(&world.database, seed("orderly stop"), 2, true);
        for _ in 0..3 {
            world.wait_for_changes(200);
            let status = world.headwater.terminate(std::time::Duration::from_secs(5)).unwrap();
            assert!(status.success(), "{status:?}\n{}", world.log_tail());
            world.headwater.start().unwrap();
        }
        load.finish();
        world.assert_equal();
        let _limit = LIMIT;
    }
}
