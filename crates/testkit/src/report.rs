//! What a test run says aloud: versions, seeds, and every test that was skipped. Written past libtest's capture, so that it
//! shows for tests that pass, too.

use std::collections::BTreeSet;
use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::postgres::PostgresPrograms;
use crate::programs::Programs;
use crate::{Flavor, PostgresRelease, process};

/// Set to 1, a test whose server is missing is skipped instead of failing.
const MAY_SKIP: &str = "HEADWATER_TEST_MAY_SKIP";
/// A seed to replay, instead of a fresh one.
const SEED: &str = "HEADWATER_TEST_SEED";

static SKIPPED: AtomicUsize = AtomicUsize::new(0);
static TESTED_ON: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Prints a line that libtest does not capture.
pub fn say(line: &str) {
    // One write, so that lines of parallel tests do not mix. A closed stderr is no reason to fail a test.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// The seed of a randomised test: `HEADWATER_TEST_SEED`, or a fresh one; printed, so that a failure can be replayed.
pub fn seed(test: &str) -> u64 {
    let replayed = env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed = replayed.unwrap_or_else(rand::random);
    say(&format!("seed of {test}: {SEED}={seed}"));
    seed
}

/// Prints a counted `SKIPPED` line.
///
/// # Panics
/// Where skipping is not allowed: on Debian `scripts/setup test` installs everything, so there a missing server is a failure
/// unless `HEADWATER_TEST_MAY_SKIP=1`.
#[track_caller]
pub fn skip(reason: &str) {
    let allowed = env::var(MAY_SKIP).is_ok_and(|v| v == "1") || !Path::new("/usr/bin/apt-get").exists();
    assert!(allowed, "{reason}\n(with {MAY_SKIP}=1 the test is skipped instead)");
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    say(&format!("SKIPPED ({count}): {reason}"));
}

/// The database servers of this machine; each one that is missing is skipped by name.
///
/// # Panics
/// When one is missing and skipping is not allowed, see [`skip`].
#[track_caller]
pub fn flavors() -> Vec<Flavor> {
    let mut found = Vec::new();
    for flavor in Flavor::ALL {
        match Programs::find(flavor) {
            Ok(_) => found.push(flavor),
            Err(missing) => skip(&missing.to_string()),
        }
    }
    found
}

/// The PostgreSQL servers of this machine; each one that is missing is skipped by name.
///
/// # Panics
/// When one is missing and skipping is not allowed, see [`skip`].
#[track_caller]
pub fn postgres_releases() -> Vec<PostgresRelease> {
    let mut found = Vec::new();
    for release in PostgresRelease::ALL {
        match PostgresPrograms::find(release) {
            Ok(_) => found.push(release),
            Err(missing) => skip(&missing.to_string()),
        }
    }
    found
}

/// Prints, once per process and version, what the tests run against.
pub(crate) fn tested_on(product: &str) {
    let mut printed = process::lock(&TESTED_ON);
    if printed.insert(product.to_owned()) {
        say(&format!("tested on {product}"));
    }
}
