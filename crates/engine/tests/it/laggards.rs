//! Followers that fail, rest or fall too far behind, and what becomes of the others.

use crate::world::{World, eventually};
use headwater_engine::Laggard;

/// Two targets, of which `slow` is paused while the journal grows past the limit.
fn overloaded(laggard: Laggard) -> World {
    let mut world = World::new(&["slow", "quick"]);
    world.options.laggard = laggard;
    world.options.journal.retention.hold_bytes_max = Some(20_000);
    world
}

/// How long anything may take to become true.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn a_laggard_may_stop_the_source_until_it_has_caught_up() {
    let world = overloaded(Laggard::StopSource);
    let running = world.start();
    world.database.load(50, 1);
    running.all_arrives();
    running.engine.set_paused("slow", true).unwrap();
    eventually("it is paused", || running.sink("slow").state == "paused");
    world.database.load(2_000, 2);
    eventually("the source is held", || running.source().state == "held");
    let error = running.source().error.unwrap();
    assert!(error.contains("sink slow holds back"), "{error}");
    running.engine.set_paused("slow", false).unwrap();
    running.all_arrives();
    eventually("the source goes on", || running.source().state == "streaming");
    assert_eq!(running.source().error, None);
    running.engine.stop().unwrap();
}

#[test]
fn a_laggard_may_be_dropped_and_filled_anew() {
    let world = overloaded(Laggard::DropFollower);
    let running = world.start();
    world.database.load(50, 1);
    running.all_arrives();
    running.engine.set_paused("slow", true).unwrap();
    eventually("it is paused", || running.sink("slow").state == "paused");
    // More than the limit, in rounds: retention looks once a second.
    let began = std::time::Instant::now();
    for round in 0.. {
        world.database.load(1_000, round);
        eventually("the quick one follows", || running.sink("quick").lag_changes == 0);
        if running.sink("slow").state == "dropped" {
            break;
        }
        assert!(began.elapsed() < LIMIT, "it is not dropped after {round} rounds");
    }
    let error = running.sink("slow").error.unwrap();
    assert!(
        error.contains("held back more of the journal than the limit") && error.contains("headwater rebuild slow"),
        "{error}"
    );
    assert_eq!(running.source().state, "streaming");
    running.is_trimmed();

    running.engine.rebuild("slow").unwrap();
    running.engine.set_paused("slow", false).unwrap();
    running.all_arrives();
    eventually("it follows again", || running.sink("slow").state == "following");
    running.engine.stop().unwrap();
}

#[test]
fn followers_that_fail_rest_or_are_away_hold_up_nobody() {
    let world = World::new(&["failed", "away", "paused", "well"]);
    world.target("failed").set(|state| state.stops = true);
    world.target("away").set(|state| state.away = true);
    let running = world.start();
    running.engine.set_paused("paused", true).unwrap();
    world.database.load(500, 1);
    eventually("the one that is well has everything", || world.target("well").content() == world.database.content());
    let states = ["failed", "away", "paused"].map(|name| running.sink(name).state);
    assert_eq!(states, ["failed", "waiting", "paused"]);
    assert_eq!(running.source().state, "streaming");
    assert_eq!(running.source().first_sequence, 0, "all is kept for those that have not read it");

    world.target("failed").set(|state| state.stops = false);
    world.target("away").set(|state| state.away = false);
    running.engine.set_paused("paused", false).unwrap();
    running.engine.rebuild("failed").unwrap();
    running.all_arrives();
    running.is_trimmed();
    running.engine.stop().unwrap();
}
