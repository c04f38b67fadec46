//! Logs that do not lead on: purged, reset, of another server, shared with another reader, with an event that nobody knows.
//!
//! Invariant: Headwater never goes on over a gap; it says what was seen and what to do, and what it has stays good. Start
//! at [`LOSSES`].

use crate::failures::{STOP_LIMIT, is, journal_is_good, says, two_flavors, write_more};
use crate::failures_doctor::Doctor;
use crate::world::{LIMIT, World, config};
use headwater_testkit::{Flavor, Headwater, Redis, flavors, say, wait_until};

/// What happens to the log while Headwater is down, and what the source then says.
struct Loss {
    name: &'static str,
    happens: fn(&mut World),
    texts: &'static [&'static str],
}

const LOSSES: [Loss; 3] = [
    Loss { name: "purged", happens: purge, texts: &["no longer has the log that comes next", "snapshot"] },
    Loss { name: "reset", happens: reset, texts: &["source shop", "snapshot"] },
    Loss { name: "replaced", happens: replace, texts: &["source shop", "Point the source", "snapshot"] },
];

fn purge(world: &mut World) {
    write_more(world);
    let database = world.database();
    database.exec("flush binary logs; insert into shop.ledger (worker, what) values (1, 'x'); flush binary logs");
    // A server keeps what a reader that it believes to be connected may still need.
    wait_until(LIMIT, "the purge", || {
        let logs = database.query("show binary logs");
        let last = logs.last().and_then(|row| row[0].clone()).expect("a log file");
        database
            .exec(&format!("purge binary logs to '{last}'; insert into shop.ledger (worker, what) values (1, 'x')"));
        database.query("show binary logs").len() == 1
    })
    .unwrap();
}

fn reset(world: &mut World) {
    let database = world.database();
    let new = !database.flavor().is_mariadb();
    database.exec(if new { "reset binary logs and gtids" } else { "reset master" });
    drop(database);
    write_more(world);
}

/// Another server of the same kind with the same tables and more transactions than the first ever had.
fn replace(world: &mut World) {
    let other = World::start(world.database().flavor(), &[], "");
    (0..20).for_each(|_| write_more(&other));
    std::mem::swap(&mut *world.database(), &mut *other.database());
    configure(world, "");
}

fn configure(world: &World, source: &str) {
    let text = config(&world.database(), &world.redis, source);
    world.headwater.configure(&text).unwrap();
}

/// A shop that has streamed something, then was stopped.
fn stopped_shop(flavor: Flavor) -> World {
    let mut world = World::start(flavor, &[], "");
    world.headwater.start().unwrap();
    write_more(&world);
    world.assert_equal();
    world.headwater.terminate(STOP_LIMIT).unwrap();
    world
}

#[test]
fn a_log_that_does_not_lead_on_is_named() {
    for flavor in flavors() {
        for loss in &LOSSES {
            let mut world = stopped_shop(flavor);
            (loss.happens)(&mut world);
            world.headwater.launch().unwrap();
            says(&world.headwater, "shop", "failed", loss.texts);
            journal_is_good(&world.headwater);
            world.headwater.terminate(STOP_LIMIT).unwrap();
            // Again, to see that the failed start has changed nothing.
            world.headwater.launch().unwrap();
            says(&world.headwater, "shop", "failed", loss.texts);
            world.headwater.terminate(STOP_LIMIT).unwrap();
            say(&format!("{flavor}: a log that was {} is named", loss.name));
        }
    }
}

#[test]
fn a_log_that_does_not_lead_on_is_repaired_by_a_new_snapshot_when_that_is_allowed() {
    for flavor in flavors() {
        for loss in &LOSSES {
            let mut world = stopped_shop(flavor);
            (loss.happens)(&mut world);
            configure(&world, ", snapshot: when_needed");
            world.headwater.launch().unwrap();
            is(&world.headwater, "shop", "streaming");
            write_more(&world);
            world.assert_equal();
            journal_is_good(&world.headwater);
            say(&format!("{flavor}: a log that was {} is repaired when needed", loss.name));
        }
    }
}

#[test]
fn two_readers_with_one_server_id_are_named_and_both_go_on_once_that_is_mended() {
    for flavor in two_flavors() {
        let mut world = World::start(flavor, &[], ", server_id: 77");
        world.headwater.start().unwrap();
        let redis = Redis::start(&[]).unwrap();
        let text = |id: u32| config(&world.database(), &redis, &format!(", server_id: {id}"));
        let mut other = Headwater::new(crate::world::BINARY, &text(77)).unwrap();
        other.launch().unwrap();
        write_more(&world);
        says(
            &world.headwater,
            "shop",
            "waiting",
            &["another reader of this server uses our server_id", "another `server_id`"],
        );
        other.terminate(STOP_LIMIT).unwrap();
        journal_is_good(&other);
        journal_is_good(&world.headwater);
        other.configure(&text(78)).unwrap();
        other.start().unwrap();
        write_more(&world);
        world.assert_equal();
        other.run_ok(&["wait", "--timeout", "60s"]).unwrap();
        assert_eq!(crate::world::contents(&redis), crate::world::expected(&world.database()));
    }
}

#[test]
fn an_event_that_nobody_knows_stops_the_source_by_name_and_place() {
    for flavor in flavors() {
        let mut world = World::start(flavor, &[], "");
        let doctor = Doctor::start(world.database().port());
        let (from, to) = (format!(":{}\"", world.database().port()), format!(":{}\"", doctor.port()));
        let plain = config(&world.database(), &world.redis, ", tls: { mode: disabled }");
        world.headwater.configure(&plain.replacen(&from, &to, 1)).unwrap();
        world.headwater.start().unwrap();
        write_more(&world);
        world.assert_equal();
        doctor.doctor_next_rows_event();
        write_more(&world);
        says(
            &world.headwater,
            "shop",
            "failed",
            &["source shop: the event at binlog.0", "cannot be read", "unknown type 127"],
        );
        journal_is_good(&world.headwater);
        // The journal ends before the transaction that could not be read, and a server that sends it well mends all.
        assert!(doctor.has_doctored());
        world.headwater.terminate(STOP_LIMIT).unwrap();
        world.headwater.start().unwrap();
        world.assert_equal();
        journal_is_good(&world.headwater);
    }
}
