//! Doors that are closed: a wrong password, a missing privilege. Each is named, `check` prints the statement that mends it,
//! and once that was run Headwater goes on by itself.
//!
//! Invariant: no password is ever shown. Start at [`Missing`].

use crate::failures::{is, item, journal_is_good, says, two_flavors, write_more};
use crate::world::{LIMIT, World, config};
use headwater_testkit::{Flavor, Headwater, wait_until};

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
