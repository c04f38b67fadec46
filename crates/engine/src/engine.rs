//! The engine's handle: starts everything, answers questions, stops everything.
//!
//! Invariant: when [`Engine::stop`] returns, every thread has ended and every journal is on disk.

use crate::dead_letters::Letter;
use crate::follower::{Command, FollowerThread};
use crate::options::{EngineOptions, SinkSpec, SourceSpec};
use crate::retention;
use crate::source::SourceThread;
use crate::status::{SinkStatus, SourceStatus, Status};
use crate::stop::Stop;
use headwater_model::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long followers may take to apply what is left when the engine stops.
const DRAIN: Duration = Duration::from_secs(3);
/// How long a command to a follower may take before the asker is told that it goes on.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// Everything that runs.
pub struct Engine {
    sources: Vec<Arc<SourceThread>>,
    followers: Vec<Arc<FollowerThread>>,
    housekeeping: Option<JoinHandle<()>>,
    stop: Stop,
}

impl Engine {
    /// Starts every source and every sink. Servers that are away are no error: their threads try again.
    pub fn start(options: &EngineOptions, sources: &[SourceSpec], sinks: &[SinkSpec]) -> Result<Engine> {
        let mut engine = Engine { sources: Vec::new(), followers: Vec::new(), housekeeping: None, stop: Stop::default() };
        for spec in sources {
            engine.sources.push(Arc::new(SourceThread::start(spec, options)?));
        }
        for spec in sinks {
            let source = engine.source(&spec.source)?;
            let follower = FollowerThread::start(spec, options, source.journal.clone(), source.shared.clone())?;
            engine.followers.push(Arc::new(follower));
        }
        let (sources, followers) = (engine.sources.clone(), engine.followers.clone());
        let (stop, laggard) = (engine.stop.clone(), options.laggard);
        let thread = std::thread::Builder::new()
            .name("housekeeping".into())
            .spawn(move || retention::run(&sources, &followers, laggard, &stop))
            .map_err(|error| Error::stop("no thread for housekeeping").source(error))?;
        engine.housekeeping = Some(thread);
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

    /// Returns once every follower has applied all that was committed in the sources when this was called.
    pub fn wait(&self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        for source in &self.sources {
            let end = source.probe.end()?;
            let name = &source.shared.name;
            let arrived = || {
                let position = source.journal.durable_position();
                position.is_some_and(|position| source.probe.reached(&position, &end).unwrap_or(false))
                    && source.shared.status().state == "streaming"
            };
            if !self.stop.wait_until(deadline, arrived) {
                return Err(late(&format!("source {name}"), timeout).detail(self.describe(name)));
            }
            let sequence = source.journal.written_sequence();
            for follower in self.followers.iter().filter(|follower| follower.shared.source == *name) {
                let applied = || follower.shared.applied.load(Ordering::Acquire) >= sequence;
                if !self.stop.wait_until(deadline, applied) {
                    let name = &follower.shared.name;
                    return Err(late(&format!("sink {name}"), timeout).detail(self.describe(name)));
                }
            }
        }
        Ok(())
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

    /// Empties a sink's target and fills it anew.
    pub fn rebuild(&self, sink: &str) -> Result<()> {
        self.follower(sink)?.command(Command::Rebuild, COMMAND_TIMEOUT).map(drop)
    }

    /// The rows that wait in a sink's dead-letter topic, oldest first, at most `limit`.
    pub fn dead_letters(&self, sink: &str, limit: usize) -> Result<Vec<Letter>> {
        let letters = self.follower(sink)?.shared.letters();
        let sequences = letters.sequences().into_iter().take(limit);
        sequences.filter_map(|sequence| letters.read(sequence).transpose()).collect()
    }

    /// Applies dead letters again: these, or all when there is none. Answers how many were applied.
    pub fn replay(&self, sink: &str, sequences: Vec<u64>) -> Result<usize> {
        self.follower(sink)?.command(Command::Replay(sequences), COMMAND_TIMEOUT)
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

    /// Stops sources, lets sinks apply what was read, and makes everything durable.
    pub fn stop(mut self) -> Result<()> {
        self.sources.iter().for_each(|source| source.signal());
        let deadline = Instant::now() + DRAIN;
        for follower in &self.followers {
            let Ok(source) = self.source(&follower.shared.source) else { continue };
            let applied = || {
                let behind = follower.shared.applied.load(Ordering::Acquire) < source.journal.visible_sequence();
                !(behind && follower.shared.status().state == "following")
            };
            self.stop.wait_until(deadline, applied);
        }
        self.followers.iter().for_each(|follower| follower.signal());
        self.followers.iter().for_each(|follower| follower.join());
        self.stop.stop();
        if let Some(thread) = self.housekeeping.take() {
            drop(thread.join());
        }
        self.followers.clear();
        let sources = std::mem::take(&mut self.sources);
        sources.into_iter().filter_map(Arc::into_inner).map(SourceThread::join).collect::<Result<Vec<()>>>().map(drop)
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
        let source = status.sources.iter().find(|source| source.name == name).map(|source| (&source.state, &source.error));
        let sink = status.sinks.iter().find(|sink| sink.name == name).map(|sink| (&sink.state, &sink.error));
        match source.or(sink) {
            Some((state, Some(error))) => format!("It is {state}: {error}"),
            Some((state, None)) => format!("It is {state}"),
            None => String::new(),
        }
    }

    fn sink_status(&self, follower: &FollowerThread) -> SinkStatus {
        let mut status = follower.shared.status().clone();
        status.sequence = follower.shared.applied.load(Ordering::Acquire);
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
    SourceStatus {
        journal: journal.id().to_string(),
        sequence: journal.written_sequence(),
        durable_sequence: journal.durable_sequence(),
        first_sequence: journal.first_sequence(),
        journal_bytes: journal.bytes(),
        ..source.shared.status().clone()
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
