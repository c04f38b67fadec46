//! Doors that are closed: a wrong password, a missing privilege. Each is named, `check` prints the statement that mends it,
//! and once that was run Headwater goes on by itself.
//!
//! Invariant: no password is ever shown. Start at [`Missing`].

use crate::failures::{is, item, journal_is_good, says, two_flavors, write_more};
use crate::world::{LIMIT, World, config};
use headwater_testkit::{Flavor, Headwater, wait_until};
use serde_json::Value;
use std::collections::BTreeSet;

const WRONG: &str = "wr0ng-s3cr3t";

fn shows_no_secret(headwater: &Headwater) {
    let (_, status) = headwater.get("/status").unwrap();
    assert!(!status.contains(WRONG) && !headwater.log().contains(WRONG), "the password is shown");
}

#[test]
fn a_wrong_password_of_the_database_is_named_and_mended_while_it_runs() {
    for flavor in two_flavors() {
        let mut world = World::start(flavor, &[], "");
        let text = config(&world.database(), &world.redis, "").replacen("cdc:cdc@", &format!("few:{WRONG}@"), 1);
        world.headwater.configure(&text).unwrap();
        world.database().exec("create user few@'%' identified by 'right'; grant all on *.* to few@'%'");
        world.headwater.launch().unwrap();
        says(&world.headwater, "shop", "waiting", &["source shop", "few", "Access denied", "password"]);
        let check = world.headwater.run(&["check"]).unwrap();
        assert!(check.status == Some(1) && check.stdout.contains("Access denied"), "{check:?}");
        assert!(!check.stdout.contains(WRONG) && !check.stderr.contains(WRONG), "{check:?}");
        shows_no_secret(&world.headwater);
        world.database().exec(&format!("alter user few@'%' identified by '{WRONG}'"));
        write_more(&world);
        is(&world.headwater, "shop", "streaming");
        world.assert_equal();
        journal_is_good(&world.headwater);
    }
}

#[test]
fn a_closed_redis_is_named_and_mended_while_it_runs() {
    let mut world = World::start(two_flavors().next().expect("a server"), &[], "");
    let plain = world.redis.url();
    let with_user = plain.replace("redis://", &format!("redis://few:{WRONG}@"));
    let text = config(&world.database(), &world.redis, "").replace(&plain, &with_user);
    world.headwater.configure(&text).unwrap();
    world.headwater.launch().unwrap();
    let open = ["ACL", "SETUSER", "few", "on", "resetpass", ">wr0ng-s3cr3t", "~*", "&*", "+@all"];
    for (closed, texts, mend) in [
        (&["ACL", "SETUSER", "few", "on", ">right", "~*", "&*", "+@all"][..], ["redis://", "password"], "ACL LIST"),
        (&[&open[..], &["-set"]].concat(), ["lacks a permission", "headwater check"], "ACL SETUSER few +"),
    ] {
        world.redis.call(closed);
        world.redis.call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        write_more(&world);
        says(&world.headwater, "cache", "waiting", &texts);
        let check = world.headwater.run(&["check"]).unwrap();
        assert!(check.status == Some(1) && check.stdout.contains("error: sink cache"), "{check:?}");
        assert!(check.stdout.contains(mend), "`{mend}` is missing in {check:?}");
        assert!(!check.stdout.contains(WRONG) && !check.stderr.contains(WRONG), "{check:?}");
        shows_no_secret(&world.headwater);
        is(&world.headwater, "shop", "streaming");
    }
    world.redis.call(&open);
    write_more(&world);
    is(&world.headwater, "cache", "following");
    world.assert_equal();
    journal_is_good(&world.headwater);
}

/// A privilege that the user lacks.
struct Missing {
    /// Its name in GRANT.
    privilege: &'static str,
    /// The names that a server may print it by.
    printed: &'static [&'static str],
    /// What the source says.
    texts: &'static [&'static str],
}

/// MySQL's name and MariaDB's.
const CLIENT: &[&str] = &["REPLICATION CLIENT", "BINLOG MONITOR"];

fn missing(flavor: Flavor) -> [Missing; 2] {
    let client = if flavor.is_mariadb() { "BINLOG MONITOR" } else { "REPLICATION CLIENT" };
    [
        Missing { privilege: "REPLICATION SLAVE", printed: &["REPLICATION SLAVE"], texts: &["REPLICATION SLAVE"] },
        Missing { privilege: client, printed: CLIENT, texts: CLIENT },
    ]
}

#[test]
fn a_missing_privilege_is_named_with_the_statement_that_mends_it() {
    for flavor in two_flavors() {
        for missing in missing(flavor) {
            let mut world = World::start(flavor, &[], "");
            write_more(&world);
            let text = config(&world.database(), &world.redis, "").replacen("cdc:cdc@", "few:right@", 1);
            world.headwater.configure(&text).unwrap();
            let given = ["SELECT"].into_iter().chain(self::missing(flavor).map(|other| other.privilege));
            let given: Vec<&str> = given.filter(|name| *name != missing.privilege).collect();
            let grant = |world: &World, names: &str| world.database().exec(&format!("grant {names} on *.* to few@'%'"));
            world.database().exec("create user few@'%' identified by 'right'");
            grant(&world, &given.join(", "));
            let case = format!("{flavor} without {}", missing.privilege);
            let check = world.headwater.run(&["check"]).unwrap();
            assert_eq!(check.status, Some(1), "{case}: {check:?}");
            assert!(
                missing.printed.iter().any(|name| check.stdout.contains(&format!("GRANT {name}"))),
                "{case}: {check:?}"
            );
            world.headwater.launch().unwrap();
            wait_until(LIMIT, &format!("{case}: the source to say so"), || {
                let source = item(&world.headwater, "shop");
                let error = source["error"].as_str().unwrap_or_default();
                source["state"] == "waiting" && missing.texts.iter().any(|text| error.contains(text))
            })
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", item(&world.headwater, "shop"), world.log_tail()));
            journal_is_good(&world.headwater);
            grant(&world, missing.privilege);
            is(&world.headwater, "shop", "streaming");
            write_more(&world);
            world.assert_equal();
            journal_is_good(&world.headwater);
        }
    }
}

/// A shop whose user has no privilege but those to follow the log. `tables` are captured.
fn without_select(flavor: Flavor, server: &[&str], tables: &str) -> World {
    let world = World::start(flavor, server, "");
    write_more(&world);
    let text = config(&world.database(), &world.redis, "").replacen("cdc:cdc@", "few:right@", 1);
    world.headwater.configure(&text.replacen("\"shop.*\"", tables, 1)).unwrap();
    let client = if flavor.is_mariadb() { "binlog monitor" } else { "replication client" };
    world.database().exec(&format!(
        "create user few@'%' identified by 'right'; grant replication slave, {client} on *.* to few@'%'"
    ));
    world
}

/// `check` refuses, and prints exactly these statements of those that grant SELECT.
fn check_wants(world: &World, grants: &[&str]) {
    let check = world.headwater.run(&["check"]).unwrap();
    let wanted: Vec<&str> =
        check.stdout.split("GRANT SELECT ON ").skip(1).filter_map(|rest| rest.split(" TO ").next()).collect();
    assert_eq!(wanted, grants, "{check:?}");
    assert_eq!(check.status == Some(1), !grants.is_empty(), "{check:?}");
}

#[test]
fn tables_that_may_not_be_read_are_named() {
    for flavor in two_flavors() {
        // Neither an empty database nor a table that does not exist yet is an obstacle, once they may be read.
        let mut world = without_select(flavor, &[], "\"shop.*\", \"void.*\", \"void.later\"");
        let grant = |world: &World, on: &str| world.database().exec(&format!("grant select on {on} to few@'%'"));
        check_wants(&world, &["`shop`.*", "`void`.*", "`void`.`later`"]);
        world.headwater.launch().unwrap();
        says(
            &world.headwater,
            "shop",
            "waiting",
            &["source shop: the user may not read shop.*", "GRANT SELECT ON `shop`.*"],
        );
        // Some of the tables are not all of them.
        world.database().exec("create database void");
        grant(&world, "shop.item");
        grant(&world, "void.*");
        check_wants(&world, &["`shop`.*"]);
        says(&world.headwater, "shop", "waiting", &["source shop: the user may not read shop.*. "]);
        grant(&world, "shop.*");
        is(&world.headwater, "shop", "streaming");
        check_wants(&world, &[]);
        write_more(&world);
        world.assert_equal();
        journal_is_good(&world.headwater);
    }
}

#[test]
fn a_hidden_table_is_named_when_the_log_speaks_of_it_and_read_once_it_may_be() {
    let Some(flavor) = two_flavors().find(|flavor| !flavor.is_mariadb()) else { return };
    for metadata in ["FULL", "MINIMAL"] {
        let option = format!("--binlog-row-metadata={metadata}");
        let mut world = without_select(flavor, &["--partial-revokes=ON", &option], "\"shop.*\", \"hid*.*\"");
        world.database().exec(
            "create database hidden; create table hidden.t (id int primary key); insert into hidden.t values (1), (2);
             grant select on *.* to few@'%'; revoke select on hidden.* from few@'%'",
        );
        world.headwater.launch().unwrap();
        is(&world.headwater, "shop", "streaming");
        world.database().exec("insert into hidden.t values (3); delete from hidden.t where id = 1");
        says(
            &world.headwater,
            "shop",
            "waiting",
            &["may not read hidden.t", "GRANT SELECT ON `hidden`.`t` TO 'few'@'%'"],
        );
        world.database().exec("grant select on hidden.* to few@'%'");
        is(&world.headwater, "shop", "streaming");
        write_more(&world);
        world.assert_equal();
        let records = world.headwater.run_ok(&["topics", "dump", "shop.hidden.t"]).unwrap();
        let mut rows = BTreeSet::new();
        for line in records.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let id = record["key"]["id"].to_string();
            match record["value"]["after"].is_null() {
                true => drop(rows.remove(&id)),
                false => assert!(rows.insert(id), "{metadata}: a row is created twice: {records}"),
            }
        }
        assert_eq!(rows, ["2", "3"].map(str::to_owned).into(), "{metadata}: {records}");
        journal_is_good(&world.headwater);
    }
}
