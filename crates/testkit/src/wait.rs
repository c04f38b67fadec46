//! Waiting for a condition. Tests never sleep for a fixed time; the only pause is here, between two looks.

use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// Short enough not to slow a test, long enough not to starve the server that it waits for.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks until `condition` holds; an error that names `what` when `limit` has passed first.
pub fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result {
    let started = Instant::now();
    loop {
        if condition() {
            return Ok(());
        }
        if started.elapsed() >= limit {
            return Err(Error::new(format!("waited {limit:?} in vain for: {what}")));
        }
        thread::sleep(PAUSE);
    }
}
