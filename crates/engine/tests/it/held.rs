//! What a snapshot that is taken again is told of the rows that the journal stands for.

use crate::world::{Change, Ints, WIDER_ITEMS, World, append, decode, encode, eventually, item};
use headwater_model::Row;
use headwater_model::source::{HeldRow, HeldRows};
use std::sync::{Arc, Mutex};

fn ints(held: &HeldRow) -> Ints {
    decode(Row::decode(&mut &held.row[..]).unwrap())
}

fn take(rows: &mut dyn HeldRows, row: &[i64]) -> Option<Ints> {
    let bytes = encode(row);
    rows.take(&Row::decode(&mut &bytes[..]).unwrap()).unwrap().map(|held| ints(&held))
}

fn unseen(rows: &mut dyn HeldRows) -> Vec<Ints> {
    let mut unseen = Vec::new();
    rows.unseen(&mut |held| {
        unseen.push(ints(held));
        Ok(())
    })
    .unwrap();
    unseen.sort();
    unseen
}

/// Not in the log, as the tests' rows show it.
const ABSENT: i64 = i64::MIN;

#[test]
fn rows_are_found_by_key_with_the_columns_of_today_and_the_others_are_told_once() {
    let world = World::new(&["cache"]);
    let running = world.start();
    world.database.load(300, 1);
    running.all_arrives();
    running.is_trimmed();
    let at = world.database.len() as u64;
    let content = world.database.content();
    let (checks, found) = (content.clone(), Arc::new(Mutex::new(Vec::new())));
    let told = found.clone();
    world.database.once(Box::new(move |intake| {
        // The table gets a column, and one row that has it; nothing of that is flushed yet.
        let wider = Change { table: WIDER_ITEMS, before: None, after: Some(vec![5_000, 1, 9]) };
        append(intake, &[wider], at)?;
        let mut rows = intake.rows("shop.items", 1)?;
        for (id, value) in checks.items.iter().skip(2) {
            assert_eq!(take(&mut *rows, &[*id, 77, 78]), Some(vec![*id, *value, ABSENT]));
        }
        assert_eq!(take(&mut *rows, &[5_000, 2, 2]), Some(vec![5_000, 1, 9]));
        assert_eq!(take(&mut *rows, &[6_000, 2, 2]), None);
        assert_eq!(take(&mut *rows, &[5_000, 3, 3]), None, "it was taken");
        rows.keep()?;
        drop(rows);

        // The same snapshot after a restart knows what was seen; another one does not.
        let mut again = intake.rows("shop.items", 1)?;
        told.lock().unwrap().extend(unseen(&mut *again));
        assert_eq!(take(&mut *again, &[5_000, 3, 3]), Some(vec![5_000, 1, 9]), "what was told may have been lost");
        drop(again);
        let mut other = intake.rows("shop.items", 2)?;
        assert_eq!(unseen(&mut *other).len(), checks.items.len() + 1);
        other.forget()?;

        // Equal rows of a table without a key are taken one by one.
        let mut logs = intake.rows("shop.logs", 1)?;
        let (line, count) =
            checks.logs.iter().find(|(_, count)| **count > 1).map(|(line, count)| (*line, *count)).unwrap();
        assert_eq!(take(&mut *logs, &[line]), Some(vec![line]));
        let left = unseen(&mut *logs).into_iter().filter(|row| row[0] == line).count() as i64;
        assert_eq!(left, count - 1);
        (1..count).for_each(|_| assert!(take(&mut *logs, &[line]).is_some()));
        assert_eq!(take(&mut *logs, &[line]), None);
        assert!(unseen(&mut *logs).iter().all(|row| row[0] != line));
        assert_eq!(unseen(&mut *intake.rows("shop.nothing", 1)?), Vec::<Ints>::new());
        Ok(())
    }));
    eventually("the source has looked", || world.database.hook_is_done());
    let first_two: Vec<Ints> = content.items.iter().take(2).map(|(id, value)| vec![*id, *value, ABSENT]).collect();
    assert_eq!(*found.lock().unwrap(), first_two);
    assert_eq!(running.source().state, "streaming");
    running.engine.stop().unwrap();
}

#[test]
fn what_vanished_unseen_is_taken_back_from_every_follower() {
    let world = World::new(&["one", "two"]);
    let running = world.start();
    world.database.load(200, 1);
    running.all_arrives();
    running.is_trimmed();
    let at = world.database.len() as u64;
    let gone = world.database.content().items.keys().next().copied().unwrap();
    let live = world.database.content().items;
    world.database.once(Box::new(move |intake| {
        let mut rows = intake.rows("shop.items", 1)?;
        for (id, value) in live.iter().filter(|(id, _)| **id != gone) {
            assert!(take(&mut *rows, &[*id, *value]).is_some());
        }
        let mut deletes = Vec::new();
        rows.unseen(&mut |held| {
            let row = ints(held);
            deletes.push(item(row[0], row[1], 0));
            Ok(())
        })?;
        append(intake, &deletes, at)?;
        intake.flush()
    }));
    for name in ["one", "two"] {
        let target = world.target(name);
        eventually("it is taken back", || !target.content().items.contains_key(&gone));
        let expected = world.database.content();
        assert_eq!(target.content().balance, expected.balance - 1, "{name}");
        assert_eq!(target.content().logs, expected.logs);
    }
    // And from what later followers are filled with.
    running.engine.rebuild("one").unwrap();
    running.engine.wait(crate::world::DEADLINE).unwrap();
    assert_eq!(world.target("one").content(), world.target("two").content());
    running.engine.stop().unwrap();
}
