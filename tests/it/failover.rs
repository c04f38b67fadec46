//! Failover: the primary dies, a replica takes its place, and the source goes on there by GTID; or is stopped by name when
//! the replica lacks what was read.
//!
//! Invariant: files and offsets of the two servers differ, so that nothing but the GTIDs leads on. Start at [`Pair`].

use crate::failures::{STOP_LIMIT, is, journal_is_good, says, write_more};
use crate::world::{LIMIT, Load, World, config};
use headwater_testkit::{Database, Flavor, flavors, say, seed, wait_until};

/// A shop whose database has a replica.
struct Pair {
    world: World,
    replica: Database,
}

impl Pair {
    fn start(flavor: Flavor, source: &str) -> Pair {
        let world = World::start(flavor, &[], source);
        let replica = Self::replica_of(&world);
        Pair { world, replica }
    }

    fn replica_of(world: &World) -> Database {
        let primary = world.database();
        let replica = Database::start(primary.flavor(), &[]).unwrap();
        (0..3).for_each(|_| replica.exec("flush binary logs"));
        replica.replicate_from(&primary).unwrap();
        replica
    }

    /// The primary's and the replica's URL, of which one is tried after the other.
    fn urls(&self) -> String {
        format!("{},127.0.0.1:{}", self.world.database().url(), self.replica.port())
    }

    /// Lets the source read from `url` at its next start.
    fn configure(&self, url: &str, source: &str) {
        let database = self.world.database();
        let text = config(&database, &self.world.redis, source).replace(&database.url(), url);
        self.world.headwater.configure(&text).unwrap();
    }

    /// The replica has all that is committed in the primary now.
    fn catch_up(&self) {
        let gtids = self.world.database().gtids();
        self.replica.wait_for_gtids(&gtids).unwrap();
    }

    /// The primary dies, whatever it is doing, and the replica takes its place with what it has.
    fn fail_over(self) -> World {
        let mut database = self.world.database();
        database.kill9();
        self.replica.promote().unwrap();
        *database = self.replica;
        drop(database);
        self.world
    }
}

#[test]
fn a_source_goes_on_at_another_server_by_gtid() {
    let seed = seed("failover");
    for (flavor, seed) in flavors().into_iter().zip(seed..) {
        let mut pair = Pair::start(flavor, "");
        pair.world.headwater.start().unwrap();
        let load = Load::start(&pair.world.database, seed, 3, true);

        // Under load, while Headwater is down and behind: the replica has more than Headwater and less than the primary.
        pair.world.wait_for_changes(500);
        pair.world.headwater.kill9();
        let read = load.committed();
        wait_until(LIMIT, "more to be committed", || load.committed() > read + 100).unwrap();
        pair.catch_up();
        let mut world = pair.fail_over();
        let committed = load.committed();
        wait_until(LIMIT, "the load to go on", || load.committed() > committed + 100).unwrap();
        world.headwater.configure(&config(&world.database(), &world.redis, "")).unwrap();
        world.headwater.start().unwrap();
        world.wait_for_changes(100);
        load.finish();
        world.assert_equal();
        world.assert_each_transaction_once();
        assert!(world.headwater.terminate(STOP_LIMIT).unwrap().success());

        // Under Headwater's feet, with both servers in its configuration.
        let pair = Pair { replica: Pair::replica_of(&world), world };
        pair.configure(&pair.urls(), "");
        let mut pair = pair;
        pair.world.headwater.start().unwrap();
        let load = Load::start(&pair.world.database, seed, 3, true);
        pair.world.wait_for_changes(300);
        let committed = load.finish();
        pair.catch_up();
        let world = pair.fail_over();
        let load = Load::start(&world.database, seed + 1, 3, true);
        world.wait_for_changes(300);
        load.finish();
        world.assert_equal();
        world.assert_each_transaction_once();
        assert!(world.headwater.log().contains("a server of several is away; trying the next"));
        journal_is_good(&world.headwater);
        say(&format!("{flavor}: two failovers, the second after {committed} transactions; nothing lost or doubled"));
    }
}

#[test]
fn a_server_that_lacks_what_was_read_is_named_and_a_new_snapshot_takes_back_what_it_lacks() {
    for flavor in flavors() {
        // Few of its own transactions, and more than it lacks: then its numbers run past those that were read.
        for own in [1, 40] {
            let mut pair = Pair::start(flavor, "");
            pair.world.headwater.start().unwrap();
            write_more(&pair.world);
            pair.catch_up();
            pair.replica.promote().unwrap();
            (0..5).for_each(|_| write_more(&pair.world));
            pair.world.assert_equal();
            assert!(pair.world.headwater.terminate(STOP_LIMIT).unwrap().success());
            let mut world = pair.fail_over();
            (0..own).for_each(|_| write_more(&world));
            let text = config(&world.database(), &world.redis, "");
            world.headwater.configure(&text).unwrap();
            world.headwater.launch().unwrap();
            says(
                &world.headwater,
                "shop",
                "failed",
                &["source shop", "was read from it", "a failover lost transactions"],
            );
            journal_is_good(&world.headwater);
            assert!(world.headwater.terminate(STOP_LIMIT).unwrap().success());
            world.headwater.configure(&config(&world.database(), &world.redis, ", snapshot: when_needed")).unwrap();
            world.headwater.launch().unwrap();
            is(&world.headwater, "shop", "streaming");
            write_more(&world);
            world.assert_equal();
            journal_is_good(&world.headwater);
            say(&format!(
                "{flavor}: a server that lacks transactions and made {own} rounds of its own is named, then read"
            ));
        }
    }
}
