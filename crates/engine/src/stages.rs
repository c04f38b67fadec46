//! How long changes take on their way, by stage, over the most recent of them.

use crate::status::Stages;
use std::sync::{Mutex, PoisonError};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Samples kept for each stage.
const SAMPLES: usize = 1024;

/// One change's times, microseconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub struct Passage {
    /// Committed in the database, as exact as the server tells; `None` for rows that were read from the table.
    pub commit_us: Option<i64>,
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
        let samples = ring.samples.iter();
        let commits = samples.clone().filter_map(|passage| Some((passage.commit_us?, passage)));
        // Servers that tell whole seconds never tell a fraction, and others hardly ever tell none.
        let exact: Vec<_> = commits.clone().filter(|(commit_us, _)| commit_us % MICROS_PER_SECOND != 0).collect();
        let is_coarse = exact.is_empty() && commits.count() > 0;
        Some(Stages {
            commit_to_receive_ms: of(exact.iter().map(|(commit_us, p)| p.receive_us - commit_us)),
            receive_to_journal_ms: of(samples.clone().map(|p| p.journal_us - p.receive_us)).unwrap_or_default(),
            journal_to_sink_ms: of(samples.clone().map(|p| p.applied_us - p.journal_us)).unwrap_or_default(),
            commit_to_sink_ms: of(exact.iter().map(|(commit_us, p)| p.applied_us - commit_us)),
            commit_note: is_coarse.then(|| "the server's log tells commit times in whole seconds only".to_owned()),
        })
    }
}

/// The median and the 99th percentile, from microseconds to milliseconds; `None` of nothing.
fn of(times_us: impl Iterator<Item = i64>) -> Option<[f64; 2]> {
    let mut times: Vec<i64> = times_us.collect();
    times.sort_unstable();
    let at = |share: usize| times.get(times.len().saturating_sub(1) * share / 100).map(|time| *time as f64 / 1000.0);
    Some([at(50)?, at(99)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_and_rows_that_were_read_tell_nothing_of_commits() {
        let whole = Some(7_000_000);
        for (commits, commit_ms, noted) in [
            (&[Some(6_999_500)][..], Some(1.5), false),
            (&[whole, whole], None, true),
            (&[None, whole], None, true),
            (&[None], None, false),
            (&[None, whole, Some(6_997_000)], Some(4.0), false),
        ] {
            let passages = Passages::default();
            for commit_us in commits {
                let (receive_us, journal_us, applied_us) = (7_000_000, 7_000_500, 7_001_000);
                passages.add(Passage { commit_us: *commit_us, receive_us, journal_us, applied_us });
            }
            let stages = passages.stages().unwrap();
            assert_eq!(stages.commit_to_sink_ms, commit_ms.map(|ms| [ms; 2]), "{commits:?}");
            assert_eq!(stages.commit_to_receive_ms, commit_ms.map(|ms| [ms - 1.0; 2]), "{commits:?}");
            assert_eq!((stages.receive_to_journal_ms, stages.journal_to_sink_ms), ([0.5; 2], [0.5; 2]));
            assert_eq!(stages.commit_note.is_some(), noted, "{commits:?}");
        }
        assert!(Passages::default().stages().is_none());
    }
}
