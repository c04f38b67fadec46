//! A source's thread: runs it, and does what its errors say.
//!
//! Invariant: an error of kind `Stop` ends the source until a person acts; every other one is tried again for ever.

use crate::intake::{JournalIntake, journal_error};
use crate::options::{EngineOptions, SourceSpec, TableFilter};
use crate::rows::Rows;
use crate::status::SourceStatus;
use crate::stop::{BackOff, Joined, Stop, join_until};
use crate::unlogged::Unlogged;
use headwater_journal::Journal;
use headwater_model::source::{Intake, Probe, SourceReport};
use headwater_model::{Error, Kind, Result};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long derived transactions wait for followers whose targets have not said yet where they stand: after a power
/// failure one may be ahead. A target that is away must not hold up a snapshot for longer.
const UNKNOWN_MAX: Duration = Duration::from_secs(10);
/// Snapshots that may wait at once.
const SNAPSHOT_REQUESTS_MAX: usize = 64;
/// How often a source that has stopped looks for a request that rang before it listened.
const STOPPED_LOOK: Duration = Duration::from_secs(1);

/// What a source's thread shares with everyone else.
pub struct Shared {
    /// The source's name.
    pub name: String,
    /// Ends its thread.
    pub stop: Stop,
    /// Followers whose targets are ahead of the journal, after a power failure.
    pub followers_ahead: AtomicUsize,
    /// Followers whose targets have not said yet where they stand.
    pub followers_unknown: AtomicUsize,
    started: Instant,
    /// A follower holds back too much: nothing is appended until it has caught up.
    held: AtomicBool,
    held_by: Mutex<Option<String>>,
    status: Mutex<SourceStatus>,
    requests: Mutex<VecDeque<Vec<String>>>,
}

impl Shared {
    fn new(name: &str, followers: usize) -> Self {
        let status = SourceStatus { name: name.to_owned(), state: "starting".into(), ..Default::default() };
        Shared {
            name: name.to_owned(),
            stop: Stop::default(),
            followers_ahead: AtomicUsize::new(0),
            followers_unknown: AtomicUsize::new(followers),
            started: Instant::now(),
            held: AtomicBool::new(false),
            held_by: Mutex::default(),
            status: Mutex::new(status),
            requests: Mutex::default(),
        }
    }

    /// The status, to be read or changed.
    pub fn status(&self) -> MutexGuard<'_, SourceStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether transactions that are not a function of the log may be appended.
    pub fn accepts_derived(&self) -> bool {
        let is_known = || self.followers_unknown.load(Ordering::Acquire) == 0 || self.started.elapsed() >= UNKNOWN_MAX;
        self.followers_ahead.load(Ordering::Acquire) == 0 && is_known()
    }

    /// Whether nothing may be appended now.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Why nothing may be appended now.
    pub fn held_by(&self) -> Option<String> {
        self.held_by.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets nothing be appended, for a reason, or lets the source go on. Answers whether that is news.
    pub fn hold(&self, why: Option<String>) -> bool {
        let holds = why.is_some();
        *self.held_by.lock().unwrap_or_else(PoisonError::into_inner) = why;
        let is_news = self.held.swap(holds, Ordering::AcqRel) != holds;
        // A source that waits before it tries again is not to be woken for nothing.
        if is_news {
            self.stop.ring();
        }
        is_news
    }

    /// Whether its thread has ended: nothing more is written to the journal.
    pub fn has_ended(&self) -> bool {
        self.status().state == "stopped"
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

    /// Whether a snapshot is asked for that no one has begun.
    pub fn has_snapshot_request(&self) -> bool {
        !self.requests.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
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
    /// The latest row per key of its tables.
    pub rows: Arc<Rows>,
    /// Asks its database where the log ends.
    pub probe: Arc<dyn Probe>,
    stopper: Box<dyn Fn() + Send + Sync>,
    thread: Mutex<Option<JoinHandle<Result<()>>>>,
}

impl SourceThread {
    /// Opens the journal and starts the thread. A journal that cannot be opened is an error here, not later. `followers`
    /// is how many will follow it.
    pub fn start(spec: &SourceSpec, options: &EngineOptions, followers: Vec<TableFilter>) -> Result<Self> {
        let folder = options.data_dir.join("journal").join(&spec.name);
        let opened = headwater_journal::open(&folder, options.journal.clone()).map_err(journal_error)?;
        let shared = Arc::new(Shared::new(&spec.name, followers.len()));
        if let Some(cut) = &opened.recovered.truncated {
            tracing::warn!(source = %spec.name, ?cut, "a torn tail was cut off the journal; the log is read again from there");
        }
        let journal = opened.journal;
        let rows = Arc::new(Rows::new(&spec.name, options.data_dir.join("store").join(&spec.name), journal.clone()));
        let mut source = (spec.build)()?;
        let (probe, stopper) = (source.probe(), source.stopper());
        let recent = options.data_dir.join("recent").join(&spec.name);
        let unlogged = Unlogged::new(rows.clone(), recent, followers, shared.clone());
        let mut intake = JournalIntake::new(
            opened.writer,
            opened.recovered.position,
            &spec.topics,
            shared.clone(),
            rows.clone(),
            unlogged,
        )?;
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("source-{}", spec.name))
            .spawn(move || {
                run(source.as_mut(), &mut intake, &of_thread);
                intake.close()
            })
            .map_err(|error| Error::stop(format!("no thread for source {}", spec.name)).source(error))?;
        Ok(SourceThread { shared, journal, rows, probe, stopper, thread: Mutex::new(Some(thread)) })
    }

    /// Tells the thread to end.
    pub fn signal(&self) {
        self.shared.stop.stop();
        (self.stopper)();
    }

    /// Waits for the thread, which makes everything durable before it ends. One that is still waiting for its database at
    /// the deadline is left behind, which is no error: what it appended is written, and as safe as after a kill.
    pub fn join(&self, deadline: Instant) -> Result<()> {
        let name = &self.shared.name;
        let mut slot = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        match join_until(&mut slot, deadline) {
            Joined::Already => Ok(()),
            Joined::Ended(result) => result,
            Joined::Panicked => Err(Error::stop(format!("the thread of source {name} panicked"))
                .hint("This is a defect; please report it with the log.")),
            Joined::Late => {
                tracing::warn!(source = %name, "the source's database does not answer; the next start resumes where the journal stands");
                Ok(())
            }
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
            tracing::warn!(source = %shared.name, %error, "the source failed while it was stopping");
            break;
        }
        let wait = match error.kind() {
            Kind::Reconnect => back_off.next_wait(),
            Kind::RetryAfter(wait) => *wait,
            Kind::RejectRows(_) | Kind::Stop => {
                tracing::error!(source = %shared.name, %error, "the source stops");
                shared.fail("failed", &error.to_string());
                // A snapshot that is asked for lets it begin anew.
                while !shared.stop.is_stopped() && !shared.has_snapshot_request() {
                    shared.stop.pause(STOPPED_LOOK);
                }
                continue;
            }
        };
        tracing::warn!(source = %shared.name, %error, wait_ms = wait.as_millis() as u64, "the source tries again");
        shared.fail("waiting", &error.to_string());
        shared.stop.pause(wait);
    }
    let mut status = shared.status();
    if status.error.is_none() {
        status.state = "stopped".into();
    }
}
