//! What Headwater does not hold to yet: tables that may not be read.
//!
//! Invariant: each of these goes to its neighbours' module as soon as it passes.

use crate::failures::{is, item, journal_is_good, two_flavors, write_more};
use crate::world::{LIMIT, World, config};
use headwater_testkit::wait_until;

#[test]
fn tables_that_may_not_be_read_are_named() {
    for flavor in two_flavors() {
        let mut world = World::start(flavor, &[], "");
        write_more(&world);
        let text = config(&world.database(), &world.redis, "").replacen("cdc:cdc@", "few:right@", 1);
        world.headwater.configure(&text).unwrap();
        let client = if flavor.is_mariadb() { "binlog monitor" } else { "replication client" };
        world.database().exec(&format!(
            "create user few@'%' identified by 'right'; grant replication slave, {client} on *.* to few@'%'"
        ));
        let check = world.headwater.run(&["check"]).unwrap();
        assert!(check.status == Some(1) && check.stdout.contains("GRANT SELECT"), "{check:?}");
        world.headwater.launch().unwrap();
        wait_until(LIMIT, "the source to say so", || {
            let source = item(&world.headwater, "shop");
            source["state"] == "waiting" && source["error"].as_str().unwrap_or_default().contains("SELECT")
        })
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", item(&world.headwater, "shop"), world.log_tail()));
        world.database().exec("grant select on *.* to few@'%'");
        is(&world.headwater, "shop", "streaming");
        world.assert_equal();
        journal_is_good(&world.headwater);
    }
}
