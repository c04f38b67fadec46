//! Rows that a target refuses: kept, parked behind, replayed, dropped.

use crate::world::{Change, ITEMS, Running, World, eventually, item};

/// What waits: the row's number, and its reason.
fn letters(running: &Running<'_>) -> Vec<(u64, String)> {
    running
        .engine
        .dead_letters("cache", 100)
        .unwrap()
        .into_iter()
        .map(|letter| (letter.sequence, letter.reason))
        .collect()
}

const BEHIND: &str = "an earlier change of this row waits here";
const REFUSED: &str = "it is refused";

#[test]
fn a_refused_row_waits_with_all_later_changes_of_it_and_the_others_go_on() {
    for by_error in [false, true] {
        let mut world = World::new(&["cache"]);
        world.options.journal.retention.bytes = None;
        let target = world.target("cache").clone();
        target.set(|state| {
            state.refuses.insert(13);
            state.refuses_by_error = by_error;
        });
        let running = world.start();
        world.database.commit(vec![item(1, 0, 1), item(2, 0, 1)]);
        running.engine.wait(crate::world::DEADLINE).unwrap();
        // In one transaction: fine, refused, and a later change of the refused row, beside another row.
        world.database.commit(vec![item(1, 1, 2), item(1, 2, 13), item(1, 13, 3), item(2, 1, 2)]);
        running.engine.wait(crate::world::DEADLINE).unwrap();
        world.database.commit(vec![item(1, 3, 4), item(2, 2, 3)]);
        running.engine.wait(crate::world::DEADLINE).unwrap();
        eventually("three wait", || letters(&running).len() == 3);
        assert_eq!(target.content().items, [(1, 2), (2, 3)].into(), "by error: {by_error}");
        let waiting = letters(&running);
        assert_eq!(waiting.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [3, 4, 6]);
        assert_eq!(waiting[0].1, REFUSED);
        assert_eq!(waiting[2].1, BEHIND);
        assert_eq!(running.sink("cache").dead_letters, 3);
        running.engine.stop().unwrap();

        // They survive a restart, and the first still stands before the others.
        let running = world.start();
        running.engine.wait(crate::world::DEADLINE).unwrap();
        assert_eq!(letters(&running), waiting);
        world.database.commit(vec![item(1, 4, 5)]);
        running.engine.wait(crate::world::DEADLINE).unwrap();
        assert_eq!(letters(&running).len(), 4, "what comes after a restart parks too");
        assert_eq!(
            running.engine.replay("cache", vec![]).unwrap(),
            0,
            "the first is refused again, so the others wait"
        );
        assert_eq!(running.engine.replay("cache", vec![6]).unwrap(), 0, "no later change overtakes an earlier one");
        assert_eq!(target.content().items[&1], 2);

        target.set(|state| state.refuses.clear());
        assert_eq!(running.engine.replay("cache", vec![3, 4]).unwrap(), 2);
        assert_eq!(target.content().items[&1], 3);
        assert_eq!(running.engine.replay("cache", vec![]).unwrap(), 2);
        running.all_arrives();
        assert_eq!((letters(&running), running.sink("cache").dead_letters), (vec![], 0));
        world.database.commit(vec![item(1, 5, 6)]);
        running.all_arrives();
        running.engine.stop().unwrap();
    }
}

#[test]
fn dropped_letters_park_nothing_any_more() {
    let world = World::new(&["cache"]);
    let target = world.target("cache").clone();
    target.set(|state| state.refuses = [13].into());
    let running = world.start();
    world.database.commit(vec![item(1, 0, 13)]);
    world.database.commit(vec![item(2, 0, 13)]);
    running.engine.wait(crate::world::DEADLINE).unwrap();
    assert_eq!(running.engine.drop_letters("cache", &[0, 77]).unwrap(), 1);
    assert_eq!(letters(&running).len(), 1);
    world.database.commit(vec![item(1, 13, 7), item(2, 13, 7)]);
    running.engine.wait(crate::world::DEADLINE).unwrap();
    assert_eq!(target.content().items, [(1, 7)].into());
    assert_eq!(running.engine.drop_letters("cache", &[]).unwrap(), 2);
    assert_eq!(running.sink("cache").dead_letters, 0);
    running.engine.stop().unwrap();
}

#[test]
fn a_truncate_ends_what_waits_of_its_table() {
    let world = World::new(&["cache"]);
    let target = world.target("cache").clone();
    target.set(|state| state.refuses = [13].into());
    let running = world.start();
    world.database.commit(vec![item(1, 0, 13), item(2, 0, 1)]);
    running.engine.wait(crate::world::DEADLINE).unwrap();
    assert_eq!(letters(&running).len(), 1);
    world.database.commit(vec![Change { table: ITEMS, before: None, after: None }, item(1, 0, 2)]);
    running.engine.wait(crate::world::DEADLINE).unwrap();
    assert_eq!(letters(&running), []);
    assert_eq!(target.content().items, [(1, 2)].into());
    running.engine.stop().unwrap();
}

#[test]
fn rows_refused_by_a_filling_wait_and_park_what_comes_later() {
    for by_error in [false, true] {
        let world = World::new(&["cache"]);
        let target = world.target("cache").clone();
        let running = world.start();
        world.database.load(300, 1);
        world.database.commit(vec![item(7_777, 0, 13)]);
        running.all_arrives();
        running.is_trimmed();
        target.set(|state| {
            state.refuses.insert(13);
            state.refuses_by_error = by_error;
        });
        running.engine.rebuild("cache").unwrap();
        running.engine.wait(crate::world::DEADLINE).unwrap();
        assert_eq!(letters(&running).len(), 1, "by error: {by_error}");
        world.database.commit(vec![item(7_777, 13, 14), item(8_888, 0, 1)]);
        running.engine.wait(crate::world::DEADLINE).unwrap();
        assert_eq!(letters(&running).len(), 2);
        assert!(!target.content().items.contains_key(&7_777) && target.content().items.contains_key(&8_888));
        target.set(|state| state.refuses.clear());
        assert_eq!(running.engine.replay("cache", vec![]).unwrap(), 2);
        running.all_arrives();
        running.engine.stop().unwrap();
    }
}

#[test]
fn a_letter_that_the_target_has_taken_is_not_applied_again() {
    let world = World::new(&["cache"]);
    let target = world.target("cache").clone();
    target.set(|state| state.refuses = [13].into());
    let running = world.start();
    world.database.commit(vec![item(1, 0, 13), item(2, 0, 13)]);
    running.engine.wait(crate::world::DEADLINE).unwrap();
    target.set(|state| (state.refuses, state.breaks_after_replay) = (Default::default(), true));
    running.engine.replay("cache", vec![]).unwrap_err();
    eventually("the first is ended, and the second waits", || running.sink("cache").dead_letters == 1);
    eventually("the target is back", || running.sink("cache").state == "following");
    assert_eq!(running.engine.replay("cache", vec![]).unwrap(), 1);
    running.all_arrives();
    assert_eq!(target.state().ops, "cc");
    running.engine.stop().unwrap();
}
