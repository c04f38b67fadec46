//! Followers that are filled from the rows which the journal stands for.

use crate::world::{Change, OTHER, World, eventually};
use headwater_engine::FromWhere;
use headwater_journal::read_folder;
use headwater_model::Progress;
use headwater_store::{RowStore, StoreOptions};

#[test]
fn a_rebuild_after_retention_has_trimmed_the_journal_gives_exactly_the_live_rows() {
    let world = World::new(&["cache"]);
    let running = world.start();
    world.database.load(600, 1);
    running.all_arrives();
    running.is_trimmed();
    running.engine.rebuild("cache").unwrap();
    running.all_arrives();
    let target = world.target("cache");
    assert_eq!(target.state().clears, 1);
    let live = target.content().balance as usize;
    assert_eq!(target.state().ops, "r".repeat(live), "every row came once, as a read");
    let status = running.sink("cache");
    assert_eq!((status.state.as_str(), status.error, status.filled_rows), ("following", None, None));

    // And it goes on from there, a large transaction and a restart included.
    world.database.load(40, 5);
    world.database.commit((1..=170).map(|id| crate::world::item(1_000 + id, 0, id)).collect());
    running.all_arrives();
    running.engine.stop().unwrap();
    let running = world.start();
    world.database.load(40, 9);
    running.all_arrives();
    assert_eq!(target.state().clears, 1, "a filled target is not filled again");
    running.engine.stop().unwrap();
}

#[test]
fn a_new_follower_of_a_trimmed_journal_is_filled_without_the_database() {
    let mut world = World::new(&["cache"]);
    let running = world.start();
    world.database.load(300, 1);
    running.all_arrives();
    running.is_trimmed();
    running.engine.stop().unwrap();
    world.targets.push(("second", crate::world::Target::new()));
    let running = world.start();
    running.all_arrives();
    world.database.load(50, 2);
    running.all_arrives();
    assert!(world.target("second").state().ops.starts_with("rrr"));
    running.engine.stop().unwrap();
}

#[test]
fn a_filling_that_was_cut_short_begins_again_from_nothing() {
    // The connection breaks in the middle, and either comes back or the process ends meanwhile.
    for restarts in [false, true] {
        let world = World::new(&["cache"]);
        let mut running = world.start();
        world.database.load(100, 1);
        // More rows than one batch takes.
        for part in 0..16 {
            world
                .database
                .commit((0..999).map(|id| crate::world::item(10_000 + part * 1_000 + id, 0, 1 + id)).collect());
        }
        running.all_arrives();
        running.is_trimmed();
        let target = world.target("cache");
        target.set(|state| state.breaks_after = Some(2));
        running.engine.rebuild("cache").unwrap();
        eventually("the target is half filled", || target.state().away);
        let half = target.state().progress;
        assert!(matches!(half, Some(Progress { epoch: 0, sequence: 1.., .. })), "{half:?}");
        assert!(target.content().items.len() < world.database.content().items.len());
        if restarts {
            running.engine.stop().unwrap();
            target.set(|state| state.away = false);
            running = world.start();
        } else {
            target.set(|state| state.away = false);
        }
        running.all_arrives();
        assert_eq!(target.state().clears, 2, "emptied for the rebuild, and again for what was half done");
        running.engine.stop().unwrap();
    }
}

#[test]
fn retention_deletes_only_what_the_store_has_taken_in() {
    let world = World::new(&["cache"]);
    let running = world.start();
    world.database.load(400, 1);
    running.all_arrives();
    running.is_trimmed();
    running.engine.stop().unwrap();
    let first = read_folder(&world.folder.join("journal/db"), headwater_journal::From::Earliest).unwrap().sequence();
    let store = RowStore::open(&world.folder.join("store/db"), StoreOptions::default()).unwrap();
    assert!(store.sequence() >= first && first > 0, "store {} journal {first}", store.sequence());
}

#[test]
fn a_store_that_nobody_needs_is_not_even_opened() {
    let mut world = World::new(&["cache"]);
    world.options.journal.retention.bytes = None;
    let running = world.start();
    world.database.load(300, 1);
    running.all_arrives();
    running.engine.rebuild("cache").unwrap();
    running.all_arrives();
    running.engine.stop().unwrap();
    assert!(!world.folder.join("store").exists(), "the journal holds everything from its beginning");
}

#[test]
fn a_store_that_is_gone_is_named_and_holds_up_nobody() {
    let world = World::new(&["cache"]);
    let running = world.start();
    world.database.load(300, 1);
    running.all_arrives();
    running.is_trimmed();
    running.engine.stop().unwrap();
    std::fs::remove_dir_all(world.folder.join("store")).unwrap();
    let running = world.start();
    world.database.load(300, 2);
    running.all_arrives();
    running.engine.rebuild("cache").unwrap();
    eventually("it says why it cannot be filled", || running.sink("cache").state == "failed");
    let error = running.sink("cache").error.unwrap();
    assert!(error.contains("row store of source db does not reach back"), "{error}");
    let first = running.source().first_sequence;
    world.database.load(600, 3);
    running.engine.rebuild("cache").unwrap();
    assert!(running.source().first_sequence >= first);
    running.engine.stop().unwrap();
}

#[test]
fn a_follower_that_begins_now_begins_there_once() {
    let mut world = World::new(&["cache"]);
    world.from = FromWhere::Now;
    world.database.load(20, 1);
    let all = world.database.len();
    let running = world.start();
    running.engine.wait(crate::world::DEADLINE).unwrap();
    eventually("its beginning is stored", || world.target("cache").state().progress.is_some());
    running.engine.stop().unwrap();
    world.target("cache").set(|state| state.content = Default::default());
    // Committed while nothing runs: belongs to it all the same.
    world.database.commit(vec![crate::world::item(5_000, 0, 1)]);
    let running = world.start();
    running.engine.wait(crate::world::DEADLINE).unwrap();
    assert_eq!(world.target("cache").content().items.get(&5_000), Some(&1));
    assert_eq!(world.database.len(), all + 1);
    running.engine.stop().unwrap();
}

#[test]
fn progress_over_tables_that_are_not_followed_is_stored_and_lets_retention_go_on() {
    let world = World::new(&["cache"]);
    let running = world.start();
    for id in 0..500 {
        world.database.commit(vec![Change { table: OTHER, before: None, after: Some(vec![id]) }]);
    }
    running.all_arrives();
    running.is_trimmed();
    eventually("the target has the progress", || {
        world.target("cache").state().progress.is_some_and(|progress| progress.sequence == 500)
    });
    assert_eq!(world.target("cache").state().ops, "");
    running.engine.stop().unwrap();
}

#[test]
fn what_stays_behind_the_slowest_follower_costs_no_store() {
    let mut world = World::new(&["cache"]);
    world.options.journal.retention.keep_bytes = 1 << 30;
    world.options.journal.retention.keep_age = std::time::Duration::from_secs(3_600);
    let running = world.start();
    world.database.load(300, 1);
    running.all_arrives();
    // Rates are taken by the same thread, before it looks at the journal; two of them mean that it looked.
    for _ in 0..2 {
        let rate = running.source().rate_changes_per_s;
        eventually("housekeeping has looked", || {
            world.database.load(2, 2);
            running.source().rate_changes_per_s != rate
        });
    }
    running.all_arrives();
    running.engine.stop().unwrap();
    assert!(!world.folder.join("store").exists());
}
