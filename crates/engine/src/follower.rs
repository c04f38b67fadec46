//! A follower's thread, and what it shares: how far it has come, what it is asked, how it does.
//!
//! Invariant: nothing that a follower does or fails to do reaches another one, nor the source; they meet only where
//! retention asks each what it still needs. Start at [`FollowerThread`], then `session.rs`.

use crate::dead_letters::DeadLetters;
use crate::options::{EngineOptions, SinkSpec};
use crate::rows::Rows;
use crate::session::{Follows, Next, Session};
use crate::source::Shared as SourceShared;
use crate::source::SourceThread;
use crate::stages::Passages;
use crate::status::SinkStatus;
use crate::stop::{BackOff, Joined, Stop, join_until};
use headwater_journal::Journal;
use headwater_model::{Error, Kind, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long one wait for the journal lasts; also how soon a stop or a command is seen.
pub const WAIT: Duration = Duration::from_millis(50);
/// Replays that may wait at once.
const REPLAYS_MAX: usize = 16;

/// What a follower's thread shares with everyone else.
pub struct Shared {
    /// Its name.
    pub name: String,
    /// The source that it follows.
    pub source: String,
    /// Recent times by stage.
    pub passages: Passages,
    /// Ends its thread.
    pub stop: Stop,
    paused: AtomicBool,
    reach: Mutex<Reach>,
    status: Mutex<SinkStatus>,
    letters: Mutex<DeadLetters>,
}

/// How far a follower has come.
#[derive(Clone, Copy, Debug, Default)]
struct Reach {
    /// Everything below this is done with.
    applied: u64,
    /// What the target says of its progress, or what it will be filled from: the journal is needed from here on.
    needs: u64,
    /// The target has said where it stands.
    is_known: bool,
    /// It no longer holds the journal back.
    is_dropped: bool,
    /// A person wants it filled anew, and it has not been emptied yet.
    is_to_be_rebuilt: bool,
    /// Its next filling comes from the store, though the journal may still hold everything.
    wants_store: bool,
}

/// A request to apply these dead letters again, or all when there is none.
pub struct Replay {
    pub sequences: Vec<u64>,
    pub reply: SyncSender<Result<usize>>,
}

impl Shared {
    fn new(spec: &SinkSpec, letters: DeadLetters) -> Shared {
        let status = SinkStatus {
            name: spec.name.clone(),
            source: spec.source.clone(),
            state: "starting".into(),
            dead_letters: letters.len() as u64,
            ..Default::default()
        };
        Shared {
            name: spec.name.clone(),
            source: spec.source.clone(),
            passages: Passages::default(),
            stop: Stop::default(),
            paused: AtomicBool::new(false),
            reach: Mutex::default(),
            status: Mutex::new(status),
            letters: Mutex::new(letters),
        }
    }

    /// The status, to be read or changed.
    pub fn status(&self) -> MutexGuard<'_, SinkStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its dead letters.
    pub fn letters(&self) -> MutexGuard<'_, DeadLetters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self) -> MutexGuard<'_, Reach> {
        self.reach.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything below this is applied.
    pub fn applied(&self) -> u64 {
        self.reach().applied
    }

    /// The first sequence that it still needs of the journal; `None` when it was dropped.
    pub fn needs(&self) -> Option<u64> {
        let reach = self.reach();
        (!reach.is_dropped).then_some(reach.needs)
    }

    /// Whether its target has said where it stands.
    pub fn is_known(&self) -> bool {
        self.reach().is_known
    }

    /// Everything below `applied` is done with. Not said any more once a rebuild is wanted.
    pub fn set_applied(&self, applied: u64) {
        let mut reach = self.reach();
        if !reach.is_to_be_rebuilt {
            reach.applied = applied;
        }
    }

    /// The target has stored this progress, or will be filled from there.
    pub fn set_needs(&self, needs: u64) {
        let mut reach = self.reach();
        if !reach.is_to_be_rebuilt {
            reach.needs = needs;
        }
        reach.is_known = true;
    }

    /// Whether it was dropped, and nobody wants it back.
    pub fn is_dropped(&self) -> bool {
        self.reach().is_dropped
    }

    /// Whether it is to be emptied and filled anew.
    pub fn is_to_be_rebuilt(&self) -> bool {
        self.reach().is_to_be_rebuilt
    }

    /// Whether it is to be filled from the store even where the journal holds everything.
    pub fn wants_store(&self) -> bool {
        self.reach().wants_store
    }

    /// The target was emptied. It has applied nothing, and needs all.
    pub fn was_cleared(&self) {
        let mut reach = self.reach();
        (reach.applied, reach.is_to_be_rebuilt) = (0, false);
    }

    /// The target is filled.
    pub fn was_filled(&self) {
        self.reach().wants_store = false;
    }

    /// Whether nothing is to be handed over now.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire) && !self.stop.is_stopped()
    }

    /// It goes on, and nothing is wrong.
    pub fn set_state(&self, state: &str) {
        let mut status = self.status();
        state.clone_into(&mut status.state);
        status.error = None;
        if state != "filling" {
            status.filled_rows = None;
        }
    }

    fn fail(&self, state: &str, error: &Error) {
        let is_dropped = self.is_dropped();
        let mut status = self.status();
        // Why it was dropped, and what to do, stays said, whatever else its target does then.
        if is_dropped && status.state == "dropped" && state != "dropped" {
            return;
        }
        (if is_dropped { "dropped" } else { state }).clone_into(&mut status.state);
        status.error = Some(error.to_string());
    }
}

/// A follower that runs.
pub struct FollowerThread {
    /// What it shares.
    pub shared: Arc<Shared>,
    replays: SyncSender<Replay>,
    journal: Journal,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl FollowerThread {
    /// Starts a follower of `source`.
    pub fn start(spec: &SinkSpec, options: &EngineOptions, source: &SourceThread) -> Result<Self> {
        let letters = DeadLetters::open(&options.data_dir.join("dead-letters").join(&spec.name))?;
        let shared = Arc::new(Shared::new(spec, letters));
        let (replays, requests) = sync_channel(REPLAYS_MAX);
        let of_thread = Thread {
            spec: spec.clone(),
            shared: shared.clone(),
            journal: source.journal.clone(),
            rows: source.rows.clone(),
            source: source.shared.clone(),
            requests,
        };
        let thread = std::thread::Builder::new()
            .name(format!("sink-{}", spec.name))
            .spawn(move || of_thread.run())
            .map_err(|error| Error::stop("no thread for a sink").source(error))?;
        Ok(FollowerThread { shared, replays, journal: source.journal.clone(), thread: Mutex::new(Some(thread)) })
    }

    /// Stops or continues handing batches over.
    pub fn set_paused(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Release);
        self.shared.stop.ring();
    }

    /// Gives up on this follower: it no longer holds the journal back.
    pub fn drop_out(&self, held_bytes: u64) {
        let was_dropped = std::mem::replace(&mut self.shared.reach().is_dropped, true);
        if !was_dropped {
            self.shared.fail("dropped", &dropped(&self.shared.name, Some(held_bytes)));
            self.shared.stop.ring();
        }
    }

    /// Has the target emptied and filled anew, as soon as it can be reached. Counts as having applied nothing from now on.
    pub fn rebuild(&self) {
        let mut reach = self.shared.reach();
        // One that was dropped held back too much; were it to begin at the journal's beginning, it would be again.
        reach.wants_store = reach.is_dropped || self.journal.first_sequence() > 0;
        reach.needs = if reach.wants_store { self.journal.visible_sequence() } else { 0 };
        (reach.applied, reach.is_dropped, reach.is_to_be_rebuilt) = (0, false, true);
        drop(reach);
        self.shared.set_state("rebuilding");
        self.shared.stop.ring();
    }

    /// Has dead letters applied again, and waits for it. Answers how many were.
    pub fn replay(&self, sequences: Vec<u64>, timeout: Duration) -> Result<usize> {
        let (reply, answer) = sync_channel(1);
        let busy = || Error::retry_after(Duration::from_secs(1), format!("sink {} is busy", self.shared.name));
        self.replays.try_send(Replay { sequences, reply }).map_err(|_| busy())?;
        self.shared.stop.ring();
        answer.recv_timeout(timeout).map_err(|_| busy().hint("It goes on with it; ask for its status."))?
    }

    /// Tells the thread to hand over what is there, and to end.
    pub fn signal(&self) {
        self.shared.stop.stop();
    }

    /// Waits for the thread. One that is still waiting for its target at the deadline is left behind: the target holds
    /// what its progress says, as after a kill.
    pub fn join(&self, deadline: Instant) {
        let mut slot = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let sink = &self.shared.name;
        match join_until(&mut slot, deadline) {
            Joined::Already | Joined::Ended(()) => {}
            Joined::Panicked => {
                tracing::error!(%sink, "the sink's thread panicked; this is a defect, please report it")
            }
            Joined::Late => tracing::warn!(%sink, "the sink's target does not answer; it is left as it is"),
        }
    }
}

fn dropped(sink: &str, held_bytes: Option<u64>) -> Error {
    let held = held_bytes.map(|bytes| format!(" ({bytes} bytes)")).unwrap_or_default();
    Error::stop(format!("dropped: it held back more of the journal than the limit{held}"))
        .hint(format!("Run `headwater rebuild {sink}` to fill it anew."))
}

/// What the thread itself has.
struct Thread {
    spec: SinkSpec,
    shared: Arc<Shared>,
    journal: Journal,
    rows: Arc<Rows>,
    source: Arc<SourceShared>,
    requests: Receiver<Replay>,
}

impl Thread {
    fn run(&self) {
        let known = Known { source: &self.source, told: AtomicBool::new(false) };
        match (self.spec.build)() {
            Ok(mut sink) => self.follow(sink.as_mut(), &known),
            Err(error) => self.shared.fail("failed", &error),
        }
    }

    fn follow(&self, sink: &mut dyn headwater_model::sink::Sink, known: &Known<'_>) {
        let mut back_off = BackOff::default();
        let shared = &self.shared;
        while !shared.stop.is_stopped() {
            let follows = Follows {
                spec: &self.spec,
                shared,
                journal: &self.journal,
                rows: &self.rows,
                source: &self.source,
                requests: &self.requests,
            };
            let error = match Session::new(follows, sink).run(known, &mut back_off) {
                Ok(Next::BeginAgain) => continue,
                Ok(Next::End) => break,
                Ok(Next::GivenUp) => dropped(&shared.name, None),
                Err(error) => error,
            };
            let wait = match error.kind() {
                Kind::Reconnect => back_off.next_wait(),
                Kind::RetryAfter(wait) => *wait,
                // The rows are kept; the same batch goes on without them.
                Kind::RejectRows(_) => Duration::ZERO,
                Kind::Stop => {
                    tracing::error!(sink = %shared.name, %error, "the sink stops; the others go on");
                    shared.fail("failed", &error);
                    self.wait_for_rebuild();
                    continue;
                }
            };
            if shared.stop.is_stopped() {
                tracing::warn!(sink = %shared.name, %error, "the sink failed while it was stopping");
                break;
            }
            tracing::warn!(sink = %shared.name, %error, wait_ms = wait.as_millis() as u64, "the sink tries again");
            shared.fail("waiting", &error);
            self.refuse_replays("its target does not answer");
            shared.stop.pause(wait);
        }
        self.refuse_replays("it is stopping");
        if shared.status().error.is_none() {
            shared.set_state("stopped");
        }
    }

    /// A failed follower does nothing until a person has it filled anew.
    fn wait_for_rebuild(&self) {
        while !self.shared.stop.is_stopped() && !self.shared.is_to_be_rebuilt() {
            self.refuse_replays("it has failed; mend what its status names and restart, or rebuild it");
            self.shared.stop.pause(WAIT);
        }
    }

    fn refuse_replays(&self, why: &str) {
        while let Ok(replay) = self.requests.try_recv() {
            let refusal = Error::stop(format!("sink {} cannot replay now: {why}", self.shared.name))
                .hint("The letters are kept; try again when its status says that it follows.");
            // Whoever asked may have gone away.
            let _gone = replay.reply.send(Err(refusal));
        }
    }
}

/// Tells the source once that this follower's target has said where it stands, at the latest when its thread ends.
pub struct Known<'a> {
    source: &'a SourceShared,
    told: AtomicBool,
}

impl Known<'_> {
    /// The target has said where it stands, and if that is ahead of the journal, this was told first.
    pub fn tell(&self) {
        if !self.told.swap(true, Ordering::AcqRel) {
            self.source.followers_unknown.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Known<'_> {
    fn drop(&mut self) {
        self.tell();
    }
}
