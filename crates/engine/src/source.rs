//! A source's thread: runs it, and does what its errors say.
//!
//! Invariant: an error of kind `Stop` ends the source until a person acts; every other one is tried again for ever.

use crate::intake::{JournalIntake, journal_error};
use crate::options::{EngineOptions, SourceSpec};
use crate::status::SourceStatus;
use crate::stop::{BackOff, Stop};
use headwater_journal::Journal;
use headwater_model::source::{Intake, Probe, SourceReport};
use headwater_model::{Error, Kind, Result};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Snapshots that may wait at once.
const SNAPSHOT_REQUESTS_MAX: usize = 64;

/// What a source's thread shares with everyone else.
pub struct Shared {
    /// The source's name.
    pub name: String,
    /// Ends its thread.
    pub stop: Stop,
    /// Followers whose targets are ahead of the journal, after a power failure.
    pub followers_ahead: AtomicUsize,
    /// A follower holds back too much: nothing is appended until it has caught up.
    pub held: AtomicBool,
    status: Mutex<SourceStatus>,
    requests: Mutex<VecDeque<Vec<String>>>,
}

impl Shared {
    fn new(name: &str) -> Self {
        let status = SourceStatus { name: name.to_owned(), state: "starting".into(), ..Default::default() };
        Shared {
            name: name.to_owned(),
            stop: Stop::default(),
            followers_ahead: AtomicUsize::new(0),
            held: AtomicBool::new(false),
            status: Mutex::new(status),
            requests: Mutex::default(),
        }
    }

    /// The status, to be read or changed.
    pub fn status(&self) -> MutexGuard<'_, SourceStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something went wrong.
    pub fn fail(&self, state: &str, error: &str) {
        let mut status = self.status();
        status.state = state.to_owned();
        status.error = Some(error.to_owned());
    }

    /// It went on.
    pub fn recovered(&self) {
        let mut status = self.status();
        status.error = None;
        status.state = "streaming".to_owned();
    }

    /// What the source tells of itself; telling it is a sign that it works.
    pub fn report(&self, report: SourceReport) {
        let mut status = self.status();
        status.state = report.phase.to_owned();
        status.server = report.server;
        status.position = report.position;
        status.snapshot_rows = report.snapshot_rows;
        status.error = None;
    }

    /// Asks for a snapshot of the tables that match; of all, when there is no pattern.
    pub fn request_snapshot(&self, tables: Vec<String>) -> Result<()> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() >= SNAPSHOT_REQUESTS_MAX {
            return Err(Error::stop(format!("source {} has {SNAPSHOT_REQUESTS_MAX} snapshots waiting", self.name)));
        }
        requests.push_back(tables);
        self.stop.ring();
        Ok(())
    }

    pub fn take_snapshot_request(&self) -> Option<Vec<String>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// A source that runs.
pub struct SourceThread {
    /// What it shares.
    pub shared: Arc<Shared>,
    /// Its journal.
    pub journal: Journal,
    /// Asks its database where the log ends.
    pub probe: Arc<dyn Probe>,
    stopper: Box<dyn Fn() + Send + Sync>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl SourceThread {
    /// Opens the journal and starts the thread. A journal that cannot be opened is an error here, not later.
    pub fn start(spec: &SourceSpec, options: &EngineOptions) -> Result<Self> {
        let folder = options.data_dir.join("journal").join(&spec.name);
        let opened = headwater_journal::open(&folder, options.journal.clone()).map_err(journal_error)?;
        let shared = Arc::new(Shared::new(&spec.name));
        if let Some(cut) = &opened.recovered.truncated {
            tracing::warn!(source = %spec.name, ?cut, "a torn tail was cut off the journal; the log is read again from there");
        }
        let journal = opened.journal;
        let mut source = (spec.build)()?;
        let (probe, stopper) = (source.probe(), source.stopper());
        let mut intake = JournalIntake::new(opened.writer, opened.recovered.position, shared.clone())?;
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("source-{}", spec.name))
            .spawn(move || {
                run(source.as_mut(), &mut intake, &of_thread);
                intake.close()
            })
            .map_err(|error| Error::stop(format!("no thread for source {}", spec.name)).source(error))?;
        Ok(SourceThread { shared, journal, probe, stopper, thread: Some(thread) })
    }

    /// Tells the thread to end.
    pub fn signal(&self) {
        self.shared.stop.stop();
        (self.stopper)();
    }

    /// Waits for the thread, which makes everything durable before it ends.
    pub fn join(mut self) -> Result<()> {
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Error::stop(format!("the thread of source {} panicked", self.shared.name))
                .hint("This is a defect; please report it with the log.")),
        }
    }
}

fn run(source: &mut dyn headwater_model::source::Source, intake: &mut JournalIntake, shared: &Shared) {
    let mut back_off = BackOff::default();
    while !shared.stop.is_stopped() {
        let before = intake.next_sequence();
        shared.status().state = "connecting".into();
        let result = source.run(intake);
        // What was appended before the error is as good as ever.
        let result = result.and(intake.flush());
        if intake.next_sequence() != before {
            back_off.reset();
        }
        let Err(error) = result else { break };
        if shared.stop.is_stopped() {
            break;
        }
        let wait = match error.kind() {
            Kind::Reconnect => back_off.next_wait(),
            Kind::RetryAfter(wait) => *wait,
            Kind::RejectRows(_) | Kind::Stop => {
                tracing::error!(source = %shared.name, %error, "the source stops");
                shared.fail("failed", &error.to_string());
                return;
            }
        };
        tracing::warn!(source = %shared.name, %error, wait_ms = wait.as_millis() as u64, "the source tries again");
        shared.fail("waiting", &error.to_string());
        shared.stop.pause(wait);
    }
    if shared.status().error.is_none() {
        shared.status().state = "stopped".into();
    }
    shared.held.store(false, Ordering::Release);
}
