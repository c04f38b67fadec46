//! How long changes take on their way, by stage, over the most recent of them.

use crate::status::Stages;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Samples kept for each stage.
const SAMPLES: usize = 1024;

/// One change's times, microseconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub struct Passage {
    /// Committed in the database.
    pub commit_us: i64,
    /// Received by the source.
    pub receive_us: i64,
    /// Written to the journal.
    pub journal_us: i64,
    /// Applied by the target.
    pub applied_us: i64,
}

/// The most recent passages.
#[derive(Default)]
pub struct Passages(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    samples: Vec<Passage>,
    next: usize,
}

/// Microseconds since the epoch.
pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

impl Passages {
    /// Remembers one.
    pub fn add(&self, passage: Passage) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = ring.next;
        match ring.samples.len() < SAMPLES {
            true => ring.samples.push(passage),
            false => ring.samples[next] = passage,
        }
        ring.next = (next + 1) % SAMPLES;
    }

    /// Medians and 99th percentiles, in milliseconds; `None` before the first change.
    pub fn stages(&self) -> Option<Stages> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.samples.is_empty() {
            return None;
        }
        let stage = |time: fn(&Passage) -> i64| {
            let mut times: Vec<i64> = ring.samples.iter().map(time).collect();
            times.sort_unstable();
            let at = |share: usize| times[(times.len() - 1) * share / 100] as f64 / 1000.0;
            [at(50), at(99)]
        };
        Some(Stages {
            commit_to_receive_ms: stage(|p| p.receive_us - p.commit_us),
            receive_to_journal_ms: stage(|p| p.journal_us - p.receive_us),
            journal_to_sink_ms: stage(|p| p.applied_us - p.journal_us),
            commit_to_sink_ms: stage(|p| p.applied_us - p.commit_us),
        })
    }
}
