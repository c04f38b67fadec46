//! Power failures: everything after the last fsync is gone, and the log is read again to what it was.
//!
//! Invariant: what anyone may have seen before the failure stands at the same sequence and offset after it, byte for byte,
//! but for the times at which Headwater itself received and wrote it. Start at [`History`].

use crate::crash::DURABLE;
use crate::world::{LIMIT, Load, World};
use headwater_journal::power;
use headwater_testkit::{Flavor, flavors, say, seed, wait_until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

/// Power failures of one server's journal.
const FAILURES: usize = 4;
/// Milliseconds by which each fsync is late, so that there is always something that is written and not on disk.
const LATE_FSYNC: &str = "journal::before_fsync=sleep(200)";

#[test]
fn after_a_power_failure_the_log_is_read_again_to_the_same_bytes() {
    let seed = seed("power failure");
    for (flavor, seed) in flavors().into_iter().zip(seed..) {
        fail_under_load(flavor, seed);
    }
}

fn fail_under_load(flavor: Flavor, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::start(flavor, DURABLE, "");
    world.headwater.env("FAILPOINTS", LATE_FSYNC);
    world.headwater.start().unwrap();
    let load = Load::start(&world.database, seed, 3, true);
    let (mut lost, mut compared, mut ahead) = (0, 0, 0);
    for _ in 0..FAILURES {
        world.wait_for_changes(random.random_range(50..600));
        let mut applied = None;
        wait_until(LIMIT, "the cache to hold what is not on disk", || {
            let status = world.status();
            applied = status["sinks"][0]["sequence"].as_u64();
            applied > status["sources"][0]["durable_sequence"].as_u64()
        })
        .unwrap();
        world.headwater.kill9();
        let before = History::read(&world);
        power::cut(&world.headwater.data_dir().join("journal/shop")).unwrap();
        let left = History::read(&world);
        assert!(left.end < before.end, "the power failure took nothing");
        left.is_a_part_of(&before);

        // The cache is asked where it stands before the log can be read again.
        world.database().pause();
        world.headwater.launch().unwrap();
        if applied > Some(left.end) {
            wait_until(LIMIT, "the cache to be ahead", || world.status()["sinks"][0]["state"] == "ahead").unwrap();
            ahead += 1;
        }
        world.database().resume();
        wait_until(LIMIT, "the log to be read again", || world.sequence() >= before.end).unwrap();
        before.is_a_part_of(&History::read(&world));
        lost += before.end - left.end;
        compared = before.end;
    }
    load.finish();
    world.assert_equal();
    world.assert_each_transaction_once();
    say(&format!(
        "{flavor}: {FAILURES} power failures took {lost} changes; the last of {compared} changes and their records are the \
         same again; the cache was ahead {ahead} times; all equal"
    ));
    assert!(ahead > 0, "the cache was never ahead of the journal");
}

/// All that a journal shows of itself.
struct History {
    /// Transactions by the sequence of their first change.
    transactions: Vec<serde_json::Value>,
    /// Records by topic, as they are printed.
    records: BTreeMap<String, Vec<String>>,
    /// The sequence after the last change.
    end: u64,
}

impl History {
    fn read(world: &World) -> History {
        let run = |arguments: &[&str]| world.headwater.run_ok(arguments).unwrap();
        let tail = run(&["journal", "tail", "--output", "json"]);
        let mut transactions: Vec<serde_json::Value> =
            tail.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // A position that is kept now and then is no part of the history.
        transactions.retain(|transaction| transaction["changes"] != 0);
        for transaction in &mut transactions {
            let fields = transaction.as_object_mut().unwrap();
            fields.retain(|name, _| !matches!(name.as_str(), "receive_us" | "journal_us"));
        }
        let number = |transaction: &serde_json::Value, field: &str| transaction[field].as_u64().unwrap();
        let end = transactions.last().map_or(0, |last| number(last, "sequence") + number(last, "changes"));
        let topics: Vec<serde_json::Value> =
            serde_json::from_str(&run(&["topics", "list", "--output", "json"])).unwrap();
        let names = topics.iter().map(|topic| topic["topic"].as_str().unwrap().to_owned());
        let records = |name: String| {
            let lines = run(&["topics", "dump", &name]).lines().map(without_our_times).collect();
            (name, lines)
        };
        History { transactions, records: names.map(records).collect(), end }
    }

    /// `later` begins with all of this.
    fn is_a_part_of(&self, later: &History) {
        for (transaction, same) in self.transactions.iter().zip(&later.transactions) {
            assert_eq!(transaction, same);
        }
        assert!(self.transactions.len() <= later.transactions.len());
        for (topic, records) in &self.records {
            let same = &later.records[topic];
            assert!(records.len() <= same.len(), "{topic}: {} of {} records", same.len(), records.len());
            for (record, same) in records.iter().zip(same) {
                assert_eq!(record, same);
            }
        }
    }
}

/// A printed record without the times at which Headwater received and wrote it: the record's own, and the envelope's last
/// three fields. All other bytes stay.
fn without_our_times(line: &str) -> String {
    let (head, rest) = line.split_once("\"timestamp\":").unwrap();
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let (body, times) = rest.rsplit_once("\",\"ts_ms\":").unwrap_or((rest, ""));
    let times = times.replace(|c: char| c.is_ascii_digit(), "");
    format!("{head}{body}{times}")
}
