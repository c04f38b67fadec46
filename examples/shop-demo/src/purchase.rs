//! How long it takes from a confirmed commit to its being readable in the cache, measured from outside: by a customer.
//!
//! Invariant: nothing that Headwater says of itself is part of it. Start at [`Purchases::time`].

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The most recent times that are kept: ten seconds' worth.
const KEPT: usize = 100;
/// Between two looks into the cache.
const LOOK: Duration = Duration::from_micros(200);
/// A purchase that takes longer is given up; Headwater or Redis is down.
const LIMIT: Duration = Duration::from_secs(30);

/// The times of the most recent purchases.
#[derive(Default)]
pub struct Purchases(Mutex<VecDeque<Duration>>);

impl Purchases {
    /// Looks until `seen`, and remembers how long that took.
    pub fn time(&self, mut seen: impl FnMut() -> bool, goes_on: impl Fn() -> bool) {
        let start = Instant::now();
        while !seen() {
            if start.elapsed() > LIMIT || !goes_on() {
                return;
            }
            thread::sleep(LOOK);
        }
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.push_back(start.elapsed());
        if times.len() > KEPT {
            times.pop_front();
        }
    }

    /// Median and 99th percentile, in milliseconds; `None` before the first.
    pub fn percentiles_ms(&self) -> Option<[f64; 2]> {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut times: Vec<Duration> = times.iter().copied().collect();
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1_000.0;
        (!times.is_empty()).then(|| [at(50), at(99)])
    }
}
