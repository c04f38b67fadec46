//! What a source keeps on PostgreSQL's side, and how it is taken away again.

use crate::unlogged::Shop;
use crate::world::LIMIT;
use headwater_testkit::{postgres_releases, wait_until};

#[test]
fn a_source_that_is_given_up_leaves_nothing_on_its_server() {
    for release in postgres_releases() {
        let mut shop = Shop::with(release, &[], ", snapshot: when_needed");
        shop.exec("insert into shop.line values (1, 1, 1)");
        shop.headwater.start().unwrap();
        let kept = "select (select count(*) from pg_replication_slots) || '/' || (select count(*) from pg_publication)";
        assert_eq!(shop.postgres.value("postgres", kept), "1/1");
        let refused = |arguments: &[&str]| {
            let output = shop.headwater.run(arguments).unwrap();
            assert_eq!(output.status, Some(1), "{}", output.stderr);
            output.stderr
        };
        let error = refused(&["detach", "shop"]);
        assert!(
            error.contains("headwater_shop is in use by process") && error.contains("Stop the Headwater"),
            "{error}"
        );
        let error = refused(&["detach", "shops"]);
        assert!(error.contains("no source shops"), "{error}");

        assert!(shop.headwater.terminate(LIMIT).unwrap().success());
        let is_left =
            || shop.postgres.value("postgres", "select count(*) from pg_replication_slots where active") == "0";
        wait_until(LIMIT, "the slot to be left", is_left).unwrap();
        let said = shop.headwater.run_ok(&["detach", "shop"]).unwrap();
        assert_eq!(said.trim(), "shop: removed the replication slot headwater_shop");
        assert_eq!(shop.postgres.value("postgres", kept), "0/1");
        let said = shop.headwater.run_ok(&["detach", "shop", "--all", "--output", "json"]).unwrap();
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said, serde_json::json!({ "removed": ["publication headwater_shop"] }));
        assert_eq!(shop.headwater.run_ok(&["detach", "shop", "--all"]).unwrap().trim(), "shop: nothing was there");
        assert_eq!(shop.postgres.value("postgres", kept), "0/0");

        // It begins anew, with what has happened meanwhile.
        shop.exec("insert into shop.line values (2, 1, 1); delete from shop.line where item_id = 1");
        shop.headwater.start().unwrap();
        shop.assert_equal();
    }
}
