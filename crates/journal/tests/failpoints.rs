//! A process that dies at any edge of a write, an fsync or a deletion comes back with all that was durable, and goes on
//! to the same journal. A binary of its own: fail points are seen by the whole process.
//!
//! `cargo test -p headwater-journal --features failpoints`

#[path = "it/shop.rs"]
#[allow(dead_code)]
mod shop;

use headwater_journal::{Error, Opened, Result, Writer};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const TRANSACTIONS: u64 = 120;

/// The workload from `next` on; side transactions stand after number 40 and 80.
fn work(writer: &mut Writer, next: u64, side_done: bool) -> Result<()> {
    for number in next..TRANSACTIONS {
        if matches!(number, 41 | 81) && !(side_done && number == next) {
            let id = format!("side {number}");
            if writer.side(&id).is_none() {
                shop::side_parts(writer, &id)?;
                writer.side_prepare(&id)?;
            }
            shop::side_commit(writer, &id, &id)?;
        }
        shop::append(writer, number)?;
        writer.flush()?;
        if number % 10 == 0 {
            writer.sync()?;
        }
    }
    writer.sync()
}

/// Goes on where the recovered position says.
fn resume(opened: &mut Opened) -> Result<()> {
    let position = String::from_utf8(opened.recovered.position.clone().unwrap_or_default()).expect("text");
    let side = position.strip_prefix("side ").map(|number| number.parse::<u64>().expect("a number"));
    let plain = position.strip_prefix("position ").map(|number| number.parse::<u64>().expect("a number") + 1);
    work(&mut opened.writer, side.or(plain).unwrap_or(0), side.is_some())
}

fn text_of_an_undisturbed_run() -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let mut opened = shop::opened(dir.path());
    work(&mut opened.writer, 0, false).expect("nothing is in the way");
    shop::whole(&opened)
}

/// Runs into the fail point; answers what was durable then.
fn run_into(dir: &Path, point: &str, action: &str) -> u64 {
    fail::cfg(point, action).expect("an action");
    let mut durable = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut opened = match headwater_journal::open(dir, shop::options()) {
            Ok(opened) => opened,
            Err(error) => return Err(error),
        };
        let journal = opened.journal.clone();
        let outcome = catch_unwind(AssertUnwindSafe(|| resume(&mut opened)));
        durable = journal.durable_sequence();
        fail::remove(point);
        outcome.unwrap_or(Err(Error::Closed))
    }));
    fail::remove(point);
    // The thread that tidies up may meet the full disk instead, which stops nobody.
    if matches!(outcome, Ok(Ok(()))) && point != "journal::disk_full" {
        panic!("{point}={action} was never reached");
    }
    durable
}

#[test]
fn a_death_at_any_edge_loses_nothing_that_was_durable() {
    let expected = text_of_an_undisturbed_run();
    let points = [
        ("journal::identity", &[0u32][..], "panic"),
        ("journal::before_write", &[0, 1, 41, 43, 90], "panic"),
        ("journal::after_write", &[0, 1, 41, 43, 90], "panic"),
        ("journal::before_fsync", &[0, 1, 7], "panic"),
        ("journal::after_fsync", &[0, 1, 7], "panic"),
        ("journal::after_durable", &[0, 1, 7], "panic"),
        ("journal::roll", &[0, 1, 3], "panic"),
        ("journal::side_prepare", &[0, 1], "panic"),
        ("journal::side_commit", &[0, 1], "panic"),
        ("journal::fsync_fails", &[3, 5, 10], "return"),
        ("journal::disk_full", &[3, 30, 99], "return"),
    ];
    let scenario = fail::FailScenario::setup();
    for (point, counts, action) in points {
        for count in counts {
            let case = format!("{point} after {count}");
            let dir = tempfile::tempdir().expect("a folder");
            let action = if *count == 0 { format!("1*{action}") } else { format!("{count}*off->1*{action}") };
            let durable = run_into(dir.path(), point, &action);
            if dir.path().join("durable-mark").exists() {
                headwater_journal::power::cut(dir.path()).expect("a cut");
            }
            let mut opened = headwater_journal::open(dir.path(), shop::options()).expect(&case);
            assert!(opened.recovered.next_sequence >= durable, "{case}: durable to {durable}");
            assert!(expected.starts_with(&shop::whole(&opened)), "{case}: other data");
            resume(&mut opened).expect(&case);
            assert_eq!(shop::whole(&opened), expected, "{case}");
        }
    }
    scenario.teardown();
}
