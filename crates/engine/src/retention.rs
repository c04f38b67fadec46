//! The housekeeping thread: rates for the status, and the journals' retention.
//!
//! Invariant: a segment is deleted only when every follower is past it, or has been dropped aloud.

use crate::follower::FollowerThread;
use crate::options::Laggard;
use crate::source::SourceThread;
use crate::stop::Stop;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often rates are taken.
const RATE_EVERY: Duration = Duration::from_secs(1);
/// How much of a new rate goes into the shown one.
const RATE_WEIGHT: f64 = 0.4;

/// Runs until `stop`.
pub fn run(sources: &[Arc<SourceThread>], followers: &[Arc<FollowerThread>], laggard: Laggard, stop: &Stop) {
    let mut rates = HashMap::new();
    while !stop.is_stopped() {
        let began = Instant::now();
        for source in sources {
            let sequence = source.journal.written_sequence();
            source.shared.status().rate_changes_per_s = rate(&mut rates, ("source", &source.shared.name), sequence);
            keep(source, followers, laggard);
        }
        for follower in followers {
            let sequence = follower.shared.applied.load(Ordering::Acquire);
            let name = follower.shared.name.as_str();
            follower.shared.status().rate_changes_per_s = rate(&mut rates, ("sink", name), sequence);
        }
        stop.pause(RATE_EVERY.saturating_sub(began.elapsed()));
    }
}

type Rates<'a> = HashMap<(&'static str, &'a str), (Instant, u64, f64)>;

fn rate<'a>(rates: &mut Rates<'a>, of: (&'static str, &'a str), sequence: u64) -> f64 {
    let now = Instant::now();
    let (then, before, shown) = rates.entry(of).or_insert((now, sequence, 0.0));
    let seconds = now.duration_since(*then).as_secs_f64();
    if seconds > 0.0 {
        let current = sequence.saturating_sub(*before) as f64 / seconds;
        *shown += (current - *shown) * RATE_WEIGHT;
    }
    (*then, *before) = (now, sequence);
    // A rate that has died away is none.
    if *shown < 0.01 { 0.0 } else { *shown }
}

fn keep(source: &SourceThread, followers: &[Arc<FollowerThread>], laggard: Laggard) {
    let of_source = || followers.iter().filter(|follower| follower.shared.source == source.shared.name);
    let slowest = of_source()
        .filter_map(|follower| Some((follower.shared.needs()?, follower)))
        .min_by_key(|(sequence, _)| *sequence);
    let report = match source.journal.apply_retention(slowest.as_ref().map(|(sequence, _)| *sequence)) {
        Ok(report) => report,
        Err(error) => {
            tracing::error!(source = %source.shared.name, %error, "retention could not be applied");
            return;
        }
    };
    source.shared.status().held_bytes = report.held_bytes;
    let Some((_, follower)) = slowest.filter(|_| report.limit_reached) else {
        release(source);
        return;
    };
    let name = &follower.shared.name;
    match laggard {
        Laggard::DropFollower => {
            tracing::error!(source = %source.shared.name, sink = %name, held_bytes = report.held_bytes,
                "the follower is dropped: it holds back more of the journal than the limit; rebuild it to use it again");
            follower.drop_out(report.held_bytes);
        }
        Laggard::StopSource => {
            if !source.shared.held.swap(true, Ordering::AcqRel) {
                tracing::error!(source = %source.shared.name, sink = %name, held_bytes = report.held_bytes,
                    "the source is held: this follower holds back more of the journal than the limit");
                let error = format!(
                    "sink {name} holds back {} bytes of the journal, which is the limit. Bring it back, or run \
                     `headwater rebuild {name}` or take it out of the configuration",
                    report.held_bytes
                );
                source.shared.fail("held", &error);
            }
        }
    }
}

fn release(source: &SourceThread) {
    if source.shared.held.swap(false, Ordering::AcqRel) {
        tracing::info!(source = %source.shared.name, "the follower has caught up; the source goes on");
        source.shared.recovered();
        source.shared.stop.ring();
    }
}
