//! The engine's handle: starts everything, answers questions, stops everything.
//!
//! Invariant: when [`Engine::stop`] returns, every thread has ended and every journal is on disk.

use crate::dead_letters::Letter;
use crate::follower::FollowerThread;
use crate::options::{EngineOptions, SinkSpec, SourceSpec};
use crate::retention;
use crate::source::SourceThread;
use crate::status::{SinkStatus, SourceStatus, Status};
use crate::stop::{Joined, Stop, join_until};
use headwater_model::{Error, Kind, Result};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long sources may take to end their reading when the engine stops.
const SOURCES_END: Duration = Duration::from_millis(1_500);
/// How long followers may take to apply what is left, counted from the same moment.
const DRAIN: Duration = Duration::from_millis(3_500);
/// And when threads that still wait for their servers are left behind.
const ALL_END: Duration = Duration::from_millis(4_500);
/// How long a replay may take before the asker is told that it goes on.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(25);
/// How long to wait before a database that is away is asked again where its log ends.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What a timeout that never ends is taken for.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Everything that runs.
pub struct Engine {
    sources: Vec<Arc<SourceThread>>,
    followers: Vec<Arc<FollowerThread>>,
    housekeeping: Mutex<Option<JoinHandle<()>>>,
    stop: Stop,
}

impl Engine {
    /// Starts every source and every sink. Servers that are away are no error: their threads try again.
    pub fn start(options: &EngineOptions, sources: &[SourceSpec], sinks: &[SinkSpec]) -> Result<Engine> {
        let (mut of_sources, mut followers): (Vec<Arc<SourceThread>>, _) = (Vec::new(), Vec::new());
        for spec in sources {
            let followers = sinks.iter().filter(|sink| sink.source == spec.name).map(|sink| sink.tables.clone());
            of_sources.push(Arc::new(SourceThread::start(spec, options, followers.collect())?));
        }
        let stop = Stop::default();
        let mut engine = Engine { sources: of_sources, followers: Vec::new(), housekeeping: Mutex::default(), stop };
        for spec in sinks {
            followers.push(Arc::new(FollowerThread::start(spec, options, engine.source(&spec.source)?)?));
        }
        engine.followers.clone_from(&followers);
        let (sources, stop, options) = (engine.sources.clone(), engine.stop.clone(), options.clone());
        let thread = std::thread::Builder::new()
            .name("housekeeping".into())
            .spawn(move || retention::run(&sources, &followers, &options, &stop))
            .map_err(|error| Error::stop("no thread for housekeeping").source(error))?;
        engine.housekeeping = Mutex::new(Some(thread));
        Ok(engine)
    }

    /// A picture of everything.
    pub fn status(&self) -> Status {
        let sources = self.sources.iter().map(|source| source_status(source)).collect();
        let sinks = self.followers.iter().map(|follower| self.sink_status(follower)).collect();
        Status { sources, sinks }
    }

    /// Whether every source reads and every sink follows.
    pub fn is_ready(&self) -> bool {
        let status = self.status();
        status.sources.iter().all(|source| source.state == "streaming")
            && status.sinks.iter().all(|sink| matches!(sink.state.as_str(), "following" | "paused"))
    }

    /// Returns once every follower has applied all that was committed in the sources when this was called. A follower
    /// whose tables did not change has applied it too. Ends early, with an error, when the engine stops.
    pub fn wait(&self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now().checked_add(timeout).unwrap_or_else(|| Instant::now() + FOREVER);
        // All are asked before any is waited for: what is committed later is not waited for.
        let ends = self.sources.iter().map(|source| self.end_of(source, deadline)).collect::<Result<Vec<_>>>()?;
        for (source, end) in self.sources.iter().zip(ends) {
            let name = &source.shared.name;
            let arrived = || {
                let position = source.journal.durable_position();
                position.is_some_and(|position| source.probe.reached(&position, &end).unwrap_or(false))
                    && source.shared.status().state == "streaming"
            };
            if !self.stop.wait_until(deadline, arrived) {
                return Err(late(&format!("source {name}"), timeout).detail(self.describe(name)));
            }
            let sequence = source.journal.durable_sequence();
            for follower in self.followers.iter().filter(|follower| follower.shared.source == *name) {
                if !self.stop.wait_until(deadline, || follower.shared.applied() >= sequence) {
                    let name = &follower.shared.name;
                    return Err(late(&format!("sink {name}"), timeout).detail(self.describe(name)));
                }
            }
        }
        Ok(())
    }

    /// Where a source's log ends now; asked again while its database is away.
    fn end_of(&self, source: &SourceThread, deadline: Instant) -> Result<Vec<u8>> {
        loop {
            let error = match source.probe.end() {
                Ok(end) => return Ok(end),
                Err(error) => error,
            };
            let is_away = matches!(error.kind(), Kind::Reconnect | Kind::RetryAfter(_));
            if !is_away || self.stop.is_stopped() || Instant::now() + ASK_AGAIN >= deadline {
                return Err(error);
            }
            self.stop.pause(ASK_AGAIN);
        }
    }

    /// Asks a source for a snapshot of the tables that match `tables`, or of all.
    pub fn snapshot(&self, source: &str, tables: Vec<String>) -> Result<()> {
        self.source(source)?.shared.request_snapshot(tables)
    }

    /// Stops, or continues, handing changes to a sink.
    pub fn set_paused(&self, sink: &str, paused: bool) -> Result<()> {
        self.follower(sink)?.set_paused(paused);
        Ok(())
    }

    /// Has a sink's target emptied and filled anew, as soon as it can be reached. The status says how far that has come,
    /// and [`Self::wait`] waits for it.
    pub fn rebuild(&self, sink: &str) -> Result<()> {
        self.follower(sink)?.rebuild();
        Ok(())
    }

    /// The rows that wait in a sink's dead-letter topic, oldest first, at most `limit`.
    pub fn dead_letters(&self, sink: &str, limit: usize) -> Result<Vec<Letter>> {
        let letters = self.follower(sink)?.shared.letters();
        let sequences = letters.sequences().into_iter().take(limit);
        sequences.filter_map(|sequence| letters.read(sequence).transpose()).collect()
    }

    /// Applies dead letters again: these, or all when there is none. Answers how many were applied.
    pub fn replay(&self, sink: &str, sequences: Vec<u64>) -> Result<usize> {
        self.follower(sink)?.replay(sequences, REPLAY_TIMEOUT)
    }

    /// Forgets dead letters: these, or all when there is none. Answers how many there were.
    pub fn drop_letters(&self, sink: &str, sequences: &[u64]) -> Result<usize> {
        let follower = self.follower(sink)?;
        let mut letters = follower.shared.letters();
        let chosen = if sequences.is_empty() { letters.sequences() } else { sequences.to_vec() };
        let dropped = letters.end(&chosen)?;
        follower.shared.status().dead_letters = letters.len() as u64;
        Ok(dropped)
    }

    /// Stops sources, lets sinks apply what was read, and makes everything durable. Takes less than five seconds: threads
    /// that wait for a server which does not answer are left behind with a warning, and find the engine stopped when it
    /// does. A second call does nothing.
    pub fn stop(&self) -> Result<()> {
        let began = Instant::now();
        // Whoever waits is sent home first, and retention ends.
        self.stop.stop();
        self.sources.iter().for_each(|source| source.signal());
        // Journals outlive their writers, so that followers can still read what sources wrote last.
        let ended: Vec<Result<()>> = self.sources.iter().map(|source| source.join(began + SOURCES_END)).collect();
        self.drain(began + DRAIN);
        self.followers.iter().for_each(|follower| follower.signal());
        self.followers.iter().for_each(|follower| follower.join(began + ALL_END));
        let closed: Vec<Result<()>> = self.followers.iter().map(|follower| follower.shared.letters().close()).collect();
        let mut housekeeping = self.housekeeping.lock().unwrap_or_else(PoisonError::into_inner);
        match join_until(&mut housekeeping, began + ALL_END) {
            Joined::Late => tracing::warn!("housekeeping did not end in time"),
            _ => self.sources.iter().for_each(|source| source.rows.close()),
        }
        // One error ends the process; none is swallowed for it.
        let mut errors = ended.into_iter().chain(closed).filter_map(Result::err);
        let first = errors.next();
        errors.for_each(|error| tracing::error!(%error, "stopping failed in another place too"));
        first.map_or(Ok(()), Err)
    }

    /// Waits until every follower that can has applied what is in the journals.
    fn drain(&self, deadline: Instant) {
        for follower in &self.followers {
            let Ok(source) = self.source(&follower.shared.source) else { continue };
            let is_done = || {
                let is_behind = follower.shared.applied() < source.journal.visible_sequence();
                !(is_behind && follower.shared.status().state == "following")
            };
            Stop::default().wait_until(deadline, is_done);
        }
    }

    fn source(&self, name: &str) -> Result<&Arc<SourceThread>> {
        let found = self.sources.iter().find(|source| source.shared.name == name);
        found.ok_or_else(|| unknown("source", name, self.sources.iter().map(|source| &source.shared.name)))
    }

    fn follower(&self, name: &str) -> Result<&Arc<FollowerThread>> {
        let found = self.followers.iter().find(|follower| follower.shared.name == name);
        found.ok_or_else(|| unknown("sink", name, self.followers.iter().map(|follower| &follower.shared.name)))
    }

    fn describe(&self, name: &str) -> String {
        let status = self.status();
        let source =
            status.sources.iter().find(|source| source.name == name).map(|source| (&source.state, &source.error));
        let sink = status.sinks.iter().find(|sink| sink.name == name).map(|sink| (&sink.state, &sink.error));
        match source.or(sink) {
            Some((state, Some(error))) => format!("It is {state}: {error}"),
            Some((state, None)) => format!("It is {state}"),
            None => String::new(),
        }
    }

    fn sink_status(&self, follower: &FollowerThread) -> SinkStatus {
        let mut status = follower.shared.status().clone();
        status.sequence = follower.shared.applied();
        status.stages = follower.shared.passages.stages();
        let Ok(source) = self.source(&follower.shared.source) else { return status };
        let end = source.journal.written_sequence();
        status.lag_changes = end.saturating_sub(status.sequence);
        if status.lag_changes > 0 {
            let lag = source.journal.lag(status.sequence).unwrap_or_default();
            status.lag_bytes = lag.bytes;
            status.lag_ms = lag.age.as_millis() as u64;
        }
        status
    }
}

fn source_status(source: &SourceThread) -> SourceStatus {
    let journal = &source.journal;
    let mut status = source.shared.status().clone();
    if let Some(why) = source.shared.held_by() {
        (status.state, status.error) = ("held".to_owned(), Some(why));
    }
    SourceStatus {
        journal: journal.id().to_string(),
        sequence: journal.written_sequence(),
        durable_sequence: journal.durable_sequence(),
        first_sequence: journal.first_sequence(),
        journal_bytes: journal.bytes(),
        ..status
    }
}

fn late(what: &str, timeout: Duration) -> Error {
    Error::retry_after(Duration::ZERO, format!("{what} has not caught up within {} s", timeout.as_secs_f64()))
        .hint("Ask `headwater status` where it stands, or wait longer with --timeout.")
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a String>) -> Error {
    let known: Vec<&str> = known.map(String::as_str).collect();
    Error::stop(format!("there is no {what} named {name}")).hint(format!("There are: {}.", known.join(", ")))
}
