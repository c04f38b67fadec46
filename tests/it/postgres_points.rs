//! Crashes at the edges that PostgreSQL's source has of its own, under load. Headwater aborts at the named point, is started
//! again, and everything is compared.
//!
//! Invariant: a point that was never reached fails the test. Start at [`POINTS`].

use crate::failures::{STOP_LIMIT, journal_is_good};
use crate::unlogged::{Shop, transaction};
use headwater_testkit::{postgres_releases, say, seed, wait_until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::{Duration, Instant};

/// Each fail point of the source, whether only an empty data folder leads to it, and the passes before the crash at most.
pub const POINTS: [(&str, bool, u32); 5] = [
    ("postgres::commit", false, 60),
    ("postgres::snapshot", true, 1),
    ("snapshot::after_chunk_read", true, 2),
    ("snapshot::after_chunk_append", true, 2),
    ("postgres::commit", false, 1),
];

/// How long there is between two transactions of the load.
const PACE: Duration = Duration::from_millis(20);
/// How long the load may take to reach a point.
const ROUND: Duration = Duration::from_secs(120);

#[test]
fn a_crash_at_an_edge_of_postgresqls_reader_loses_nothing_and_doubles_nothing() {
    let seed = seed("PostgreSQL's edges");
    for (release, seed) in postgres_releases().into_iter().zip(seed..) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut shop = Shop::with(release, &[], ", transaction_bytes_max: 65536, snapshot: when_needed");
        shop.headwater.start().unwrap();
        let mut reached = Vec::new();
        for (point, from_nothing, passes_max) in POINTS {
            let passes = random.random_range(0..passes_max);
            crash_at(&mut shop, point, from_nothing, passes, &mut random);
            shop.headwater.env_remove("FAILPOINTS");
            shop.headwater.start().unwrap();
            shop.assert_equal();
            journal_is_good(&shop.headwater);
            reached.push(format!("{point} after {passes}"));
        }
        say(&format!("{release}: crashed at {}; all equal", reached.join(", ")));
    }
}

fn crash_at(shop: &mut Shop, point: &str, from_nothing: bool, passes: u32, random: &mut StdRng) {
    shop.headwater.terminate(STOP_LIMIT).unwrap();
    if from_nothing {
        std::fs::remove_dir_all(shop.headwater.data_dir()).unwrap();
    }
    // `off` cannot be counted down from nothing.
    let action = if passes == 0 { "panic".to_owned() } else { format!("{passes}*off->panic") };
    shop.headwater.env("FAILPOINTS", &format!("{point}={action}"));
    shop.headwater.launch().unwrap();
    let started = Instant::now();
    while shop.headwater.is_running() {
        assert!(started.elapsed() < ROUND, "{point} was not reached\n{}", shop.headwater.log());
        // Some statements of the load are refused, such as a second row with the same key.
        let _ = shop.postgres.try_exec("postgres", &transaction(random));
        let _ = wait_until(PACE, "the crash", || !shop.headwater.is_running());
    }
    let said = shop.headwater.log();
    assert!(said.contains(&format!("failpoint {point} panic")), "{point}\n{said}");
}
