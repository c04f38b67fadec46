//! Waiting for everything, and stopping in time.

use crate::world::{World, eventually, item};
use headwater_model::Kind;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[test]
fn waiting_asks_the_database_once_and_again_only_while_it_is_away() {
    let world = World::new(&["cache"]);
    let running = world.start();
    world.database.load(50, 1);
    running.all_arrives();
    assert_eq!(world.database.ends_asked.load(Ordering::Acquire), 1);

    // What is committed later is not waited for, however much it is.
    world.database.gate(Some(world.database.len()));
    std::thread::scope(|scope| {
        world.database.commit(vec![item(9_000, 0, 1)]);
        let waiting = scope.spawn(|| running.engine.wait(crate::world::DEADLINE));
        eventually("the end is asked", || world.database.ends_asked.load(Ordering::Acquire) == 2);
        world.database.commit(vec![item(9_001, 0, 1)]);
        world.database.gate(Some(world.database.len() - 1));
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(world.database.ends_asked.load(Ordering::Acquire), 2);

    world.database.gate(None);
    world.database.away.store(true, Ordering::Release);
    let error = running.engine.wait(Duration::from_millis(150)).unwrap_err();
    assert!(matches!(error.kind(), Kind::Reconnect), "{error}");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| running.engine.wait(crate::world::DEADLINE));
        world.database.away.store(false, Ordering::Release);
        waiting.join().unwrap().unwrap();
    });
    running.all_arrives();
    running.engine.stop().unwrap();
}

#[test]
fn a_rebuild_that_has_not_begun_is_waited_for() {
    let world = World::new(&["cache"]);
    let running = world.start();
    world.database.load(50, 1);
    running.all_arrives();
    let target = world.target("cache");
    target.set(|state| state.away = true);
    eventually("its absence is seen", || running.sink("cache").state == "waiting");
    running.engine.rebuild("cache").unwrap();
    let error = running.engine.wait(Duration::from_millis(50)).unwrap_err();
    assert!(error.to_string().contains("sink cache has not caught up"), "{error}");
    target.set(|state| state.away = false);
    running.all_arrives();
    assert_eq!(target.state().clears, 1);
    running.engine.stop().unwrap();
}

#[test]
fn stopping_drains_what_was_read_and_sends_home_who_waits() {
    let world = World::new(&["cache", "hanging"]);
    let running = world.start();
    world.database.load(200, 1);
    running.all_arrives();
    world.target("hanging").set(|state| state.hangs = true);
    world.database.load(200, 2);
    let all = world.database.changes();
    eventually("the journal has it", || running.source().sequence == all && running.sink("hanging").lag_changes > 0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| running.engine.wait(crate::world::DEADLINE));
        running.engine.stop().unwrap();
        assert!(waiting.join().unwrap().is_err());
    });
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    running.engine.stop().unwrap();
    world.target("cache").content().assert_is(&world.database.content(), "what was read is applied");
    world.target("hanging").set(|state| state.hangs = false);
}
