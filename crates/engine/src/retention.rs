//! The housekeeping thread: rates for the status, and the journals' retention.
//!
//! Invariant: a segment is deleted only when every follower is past it, or has been dropped aloud, and when the row store
//! has taken in what it held. Start at [`run`], then [`Keeping::keep`].

use crate::follower::FollowerThread;
use crate::options::{EngineOptions, Laggard};
use crate::source::SourceThread;
use crate::stop::Stop;
use headwater_journal::{Retention, RetentionReport};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often rates are taken.
const RATE_EVERY: Duration = Duration::from_secs(1);
/// How much of a new rate goes into the shown one.
const RATE_WEIGHT: f64 = 0.4;

/// How much of the store's rolling one round does for one source.
const ROLL_STEP: Duration = Duration::from_millis(200);
/// How far from `keep_age` a segment must be to be called young: time passes between looking and acting.
const AGE_MARGIN: Duration = Duration::from_secs(10);
/// How long a follower whose target has not said where it stands yet is no laggard, though all is kept for it.
const UNKNOWN_MAX: Duration = Duration::from_secs(60);

/// Runs until `stop`.
pub fn run(sources: &[Arc<SourceThread>], followers: &[Arc<FollowerThread>], options: &EngineOptions, stop: &Stop) {
    let (rules, laggard) = (&options.journal.retention, options.laggard);
    let mut rates = HashMap::new();
    let started = Instant::now();
    while !stop.is_stopped() {
        let began = Instant::now();
        let mut is_behind = false;
        for source in sources {
            let sequence = source.journal.written_sequence();
            source.shared.status().rate_changes_per_s = rate(&mut rates, ("source", &source.shared.name), sequence);
            is_behind |= Keeping { source, followers, rules, laggard, started }.keep();
        }
        for follower in followers {
            let sequence = follower.shared.applied();
            let name = follower.shared.name.as_str();
            follower.shared.status().rate_changes_per_s = rate(&mut rates, ("sink", name), sequence);
        }
        if !is_behind {
            stop.pause(RATE_EVERY.saturating_sub(began.elapsed()));
        }
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

/// One source's journal, and who holds it back.
struct Keeping<'a> {
    source: &'a SourceThread,
    followers: &'a [Arc<FollowerThread>],
    rules: &'a Retention,
    laggard: Laggard,
    started: Instant,
}

impl Keeping<'_> {
    /// Deletes what may go. Answers whether there is more to do at once.
    fn keep(&self) -> bool {
        let source = self.source;
        let slowest = self.slowest();
        let needed = slowest.as_ref().map(|(sequence, _)| *sequence);
        // Asked as if all were needed: how much is due?
        let due = self.apply(Some(0)).map_or(0, |report| report.held_bytes);
        if due == 0 {
            source.rows.rest();
            self.tell(0);
            self.release();
            return false;
        }
        if let Some(needed) = needed.filter(|needed| self.nothing_may_go(*needed)) {
            source.rows.rest();
            self.judge(slowest, self.apply(Some(needed)));
            return false;
        }
        let target = needed.unwrap_or(u64::MAX).min(source.journal.durable_sequence());
        let before = source.rows.kept();
        let kept = match self.absorb(target) {
            Ok(kept) => kept,
            Err(error) if source.rows.is_lost() => {
                tracing::warn!(source = %source.shared.name, %error, "retention goes on without the row store");
                u64::MAX
            }
            Err(error) => {
                tracing::error!(source = %source.shared.name, %error, "retention waits for the row store");
                return false;
            }
        };
        if kept < target {
            // What the store has is not needed any more; who holds back the rest is to be seen when it has caught up.
            self.apply(Some(kept));
            return kept > before;
        }
        let needed = if source.rows.is_lost() { needed } else { Some(needed.map_or(kept, |needed| needed.min(kept))) };
        self.judge(slowest, self.apply(needed));
        false
    }

    /// Whether all that is due has to stay behind the slowest follower, so that the store need not take it in yet.
    fn nothing_may_go(&self, needed: u64) -> bool {
        let (journal, rules) = (&self.source.journal, self.rules);
        let (Ok(ahead), Ok(all)) = (journal.lag(needed), journal.lag(journal.first_sequence())) else { return false };
        let behind = journal.bytes().saturating_sub(ahead.bytes);
        behind <= rules.keep_bytes && all.age + AGE_MARGIN < rules.keep_age
    }

    /// Does something about the slowest follower when it holds back too much.
    fn judge(&self, slowest: Option<(u64, &Arc<FollowerThread>)>, report: Option<RetentionReport>) {
        let Some(report) = report else { return };
        self.tell(report.held_bytes);
        // The store may have been rolled since the slowest was found, and it may have been rebuilt meanwhile.
        let is_slow = |needed, follower: &FollowerThread| follower.shared.needs().is_some_and(|needs| needs <= needed);
        let counts = |needed, follower| report.limit_reached && self.counts(follower) && is_slow(needed, follower);
        match slowest.filter(|(needed, follower)| counts(*needed, follower)) {
            Some((_, follower)) => self.limit_reached(follower, report.held_bytes),
            None => self.release(),
        }
    }

    /// Rolls the store forward by a step, and answers what retention may delete for its sake.
    fn absorb(&self, target: u64) -> headwater_model::Result<u64> {
        let rows = &self.source.rows;
        if rows.is_lost() {
            return Ok(u64::MAX);
        }
        if rows.kept() < target {
            rows.roll(target, ROLL_STEP)?;
            rows.checkpoint()?;
        }
        Ok(rows.kept())
    }

    fn slowest(&self) -> Option<(u64, &Arc<FollowerThread>)> {
        let followers = self.followers.iter().filter(|follower| follower.shared.source == self.source.shared.name);
        let needs = followers.filter_map(|follower| Some((follower.shared.needs()?, follower)));
        needs.min_by_key(|(sequence, _)| *sequence)
    }

    /// Whether a follower may be called a laggard: at a start, a target is first given time to say where it stands.
    fn counts(&self, follower: &FollowerThread) -> bool {
        follower.shared.is_known() || self.started.elapsed() >= UNKNOWN_MAX
    }

    fn apply(&self, needed: Option<u64>) -> Option<RetentionReport> {
        // A source that has failed says so itself; its journal stays as it is.
        if self.source.shared.has_ended() {
            return None;
        }
        let report = self.source.journal.apply_retention(needed);
        let name = &self.source.shared.name;
        report.inspect_err(|error| tracing::error!(source = %name, %error, "retention could not be applied")).ok()
    }

    fn tell(&self, held_bytes: u64) {
        self.source.shared.status().held_bytes = held_bytes;
    }

    fn limit_reached(&self, follower: &FollowerThread, held_bytes: u64) {
        let (source, name) = (&self.source.shared, &follower.shared.name);
        match self.laggard {
            Laggard::DropFollower => {
                tracing::error!(source = %source.name, sink = %name, held_bytes,
                    "the follower is dropped: it holds back more of the journal than the limit; rebuild it to use it again");
                follower.drop_out(held_bytes);
            }
            Laggard::StopSource => {
                let why = format!(
                    "sink {name} holds back {held_bytes} bytes of the journal, which is over the limit. Bring it back, or \
                     run `headwater rebuild {name}`, or take it out of the configuration"
                );
                if source.hold(Some(why)) {
                    tracing::error!(source = %source.name, sink = %name, held_bytes,
                        "the source is held: this follower holds back more of the journal than the limit");
                }
            }
        }
    }

    fn release(&self) {
        if self.source.shared.hold(None) {
            tracing::info!(source = %self.source.shared.name, "the follower has caught up; the source goes on");
        }
    }
}
