//! A follower's thread: reads a source's journal at its own pace and hands batches to its sink.
//!
//! Invariant: progress lies in the target, beside the data. What this thread remembers is only a copy; after every
//! reconnect the target is asked again.

use crate::batch::{Collected, Schemas};
use crate::dead_letters::DeadLetters;
use crate::intake::journal_error;
use crate::options::{EngineOptions, FromWhere, SinkSpec};
use crate::source::Shared as SourceShared;
use crate::stages::{Passage, Passages, now_us};
use crate::status::SinkStatus;
use crate::stop::{BackOff, Stop};
use headwater_journal::{From, Journal, Reader, Standing};
use headwater_model::sink::{Batch, Connected, Event, Rejected, Sink, Written};
use headwater_model::{Error, JournalId, Kind, Progress, Result, TransactionHeader};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long one wait for the journal lasts; also how soon a stop or a command is seen.
const WAIT: Duration = Duration::from_millis(50);
/// How long progress over changes that are not followed may stay unsaved.
const IDLE_PROGRESS: Duration = Duration::from_secs(1);
/// Commands that may wait at once.
const COMMANDS_MAX: usize = 16;

/// What a follower's thread shares with everyone else.
pub struct Shared {
    /// Its name.
    pub name: String,
    /// The source that it follows.
    pub source: String,
    /// Everything below this is applied, as far as is known.
    pub applied: AtomicU64,
    /// Recent times by stage.
    pub passages: Passages,
    stop: Stop,
    paused: AtomicBool,
    dropped: AtomicBool,
    status: Mutex<SinkStatus>,
    letters: Mutex<DeadLetters>,
}

/// What a person may ask of a follower.
pub enum Command {
    /// Applies these dead letters again; all, when there is none.
    Replay(Vec<u64>),
    /// Empties the target and fills it anew.
    Rebuild,
}

type Request = (Command, SyncSender<Result<usize>>);

impl Shared {
    /// The status, to be read or changed.
    pub fn status(&self) -> MutexGuard<'_, SinkStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its dead letters.
    pub fn letters(&self) -> MutexGuard<'_, DeadLetters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first sequence that it still needs; `None` when it was dropped.
    pub fn needs(&self) -> Option<u64> {
        (!self.dropped.load(Ordering::Acquire)).then(|| self.applied.load(Ordering::Acquire))
    }

    fn set_state(&self, state: &str) {
        let mut status = self.status();
        status.state = state.to_owned();
        status.error = None;
    }

    fn fail(&self, state: &str, error: &Error) {
        let mut status = self.status();
        status.state = state.to_owned();
        status.error = Some(error.to_string());
    }
}

/// A follower that runs.
pub struct FollowerThread {
    /// What it shares.
    pub shared: Arc<Shared>,
    commands: SyncSender<Request>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl FollowerThread {
    /// Starts a follower of `journal`.
    pub fn start(
        spec: &SinkSpec,
        options: &EngineOptions,
        journal: Journal,
        source: Arc<SourceShared>,
    ) -> Result<Self> {
        let letters = DeadLetters::open(&options.data_dir.join("dead-letters").join(&spec.name))?;
        let status = SinkStatus {
            name: spec.name.clone(),
            source: spec.source.clone(),
            state: "starting".into(),
            dead_letters: letters.len() as u64,
            ..Default::default()
        };
        let shared = Arc::new(Shared {
            name: spec.name.clone(),
            source: spec.source.clone(),
            applied: AtomicU64::new(0),
            passages: Passages::default(),
            stop: Stop::default(),
            paused: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
            status: Mutex::new(status),
            letters: Mutex::new(letters),
        });
        let (commands, requests) = sync_channel(COMMANDS_MAX);
        let (spec, of_thread) = (spec.clone(), shared.clone());
        let thread = std::thread::Builder::new()
            .name(format!("sink-{}", spec.name))
            .spawn(move || run(&spec, &of_thread, journal, source, &requests))
            .map_err(|error| Error::stop("no thread for a sink").source(error))?;
        Ok(FollowerThread { shared, commands, thread: Mutex::new(Some(thread)) })
    }

    /// Stops or continues handing batches over.
    pub fn set_paused(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Release);
        self.shared.stop.ring();
    }

    /// Gives up on this follower: it no longer holds the journal back.
    pub fn drop_out(&self, held_bytes: u64) {
        if !self.shared.dropped.swap(true, Ordering::AcqRel) {
            let error = Error::stop(format!("dropped: it held back {held_bytes} bytes of the journal, which is the limit"))
                .hint(format!("Run `headwater rebuild {}` to fill it anew.", self.shared.name));
            self.shared.fail("dropped", &error);
            self.shared.stop.ring();
        }
    }

    /// Has the thread carry out a command, and waits for it.
    pub fn command(&self, command: Command, timeout: Duration) -> Result<usize> {
        let (reply, answer) = sync_channel(1);
        let busy = || Error::retry_after(Duration::from_secs(1), format!("sink {} is busy", self.shared.name));
        self.commands.try_send((command, reply)).map_err(|_| busy())?;
        self.shared.stop.ring();
        answer.recv_timeout(timeout).map_err(|_| busy().hint("It goes on with it; ask for its status."))?
    }

    /// Tells the thread to hand over what is there, and to end.
    pub fn signal(&self) {
        self.shared.stop.stop();
    }

    /// Waits for the thread.
    pub fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(sink = %self.shared.name, "the sink's thread panicked; this is a defect, please report it");
        }
    }
}

fn run(spec: &SinkSpec, shared: &Shared, journal: Journal, source: Arc<SourceShared>, requests: &Receiver<Request>) {
    let mut back_off = BackOff::default();
    let mut sink = match (spec.build)() {
        Ok(sink) => sink,
        Err(error) => return shared.fail("failed", &error),
    };
    while !shared.stop.is_stopped() {
        let mut session = Session {
            spec,
            shared,
            journal: &journal,
            source: &source,
            requests,
            sink: sink.as_mut(),
            id: JournalId(journal.id().0),
            next: 0,
            flight: VecDeque::new(),
            back_off: &mut back_off,
        };
        let Err(error) = session.run() else { break };
        let wait = match error.kind() {
            Kind::Reconnect => back_off.next_wait(),
            Kind::RetryAfter(wait) => *wait,
            // The rows are kept; the same batch goes on without them.
            Kind::RejectRows(_) => Duration::ZERO,
            Kind::Stop => {
                tracing::error!(sink = %shared.name, %error, "the sink stops; the others go on");
                shared.fail("failed", &error);
                if !wait_for_rebuild(sink.as_mut(), shared, requests) {
                    return;
                }
                continue;
            }
        };
        tracing::warn!(sink = %shared.name, %error, wait_ms = wait.as_millis() as u64, "the sink tries again");
        shared.fail("waiting", &error);
        shared.stop.pause(wait);
    }
}

/// A failed follower does nothing until a person has it filled anew; other commands are refused by name.
fn wait_for_rebuild(sink: &mut dyn Sink, shared: &Shared, requests: &Receiver<Request>) -> bool {
    while !shared.stop.is_stopped() {
        match requests.try_recv() {
            Ok((Command::Rebuild, reply)) => {
                let result = sink.connect().and_then(|_| clear(sink, shared));
                let cleared = result.is_ok();
                // Whoever asked may have gone away; the rebuild goes on all the same.
                let _gone = reply.send(result.map(|()| 0));
                if cleared {
                    return true;
                }
            }
            Ok((Command::Replay(_), reply)) => {
                let refusal = Error::stop(format!("sink {} has failed", shared.name))
                    .hint("Mend what its status names and restart, or rebuild it; then replay.");
                let _gone = reply.send(Err(refusal));
            }
            Err(_) => shared.stop.pause(WAIT),
        }
    }
    false
}

fn clear(sink: &mut dyn Sink, shared: &Shared) -> Result<()> {
    sink.clear()?;
    let waiting = shared.letters().sequences();
    shared.letters().end(&waiting)?;
    shared.applied.store(0, Ordering::Release);
    shared.dropped.store(false, Ordering::Release);
    Ok(())
}

/// A batch that the sink has accepted, until the target holds it.
struct InFlight {
    end: u64,
    times: Option<(i64, i64, i64)>,
}

/// One connection's life.
struct Session<'a> {
    spec: &'a SinkSpec,
    shared: &'a Shared,
    journal: &'a Journal,
    source: &'a SourceShared,
    requests: &'a Receiver<Request>,
    sink: &'a mut dyn Sink,
    id: JournalId,
    /// The next sequence to hand over.
    next: u64,
    flight: VecDeque<InFlight>,
    back_off: &'a mut BackOff,
}

impl Session<'_> {
    fn run(&mut self) -> Result<()> {
        let connected = self.sink.connect()?;
        self.shared.status().server.clone_from(&connected.server);
        self.next = self.begin(&connected)?;
        self.shared.applied.store(self.next, Ordering::Release);
        let mut reader = self.journal.reader(From::Sequence(self.next)).map_err(journal_error)?;
        let mut schemas = Schemas::new(self.spec.tables.clone(), &reader)?;
        self.keep_rejected(&connected.rejected)?;
        self.shared.set_state("following");
        self.back_off.reset();
        self.follow(&mut reader, &mut schemas)
    }

    fn follow(&mut self, reader: &mut Reader, schemas: &mut Schemas) -> Result<()> {
        let mut collected = Collected::default();
        let mut saved = (self.next, Instant::now());
        loop {
            if self.shared.dropped.load(Ordering::Acquire) {
                return Err(Error::stop("dropped: it held back more of the journal than the limit")
                    .hint(format!("Run `headwater rebuild {}` to fill it anew.", self.shared.name)));
            }
            self.obey()?;
            if self.shared.paused.load(Ordering::Acquire) && !self.shared.stop.is_stopped() {
                self.settle()?;
                self.shared.set_state("paused");
                self.shared.stop.pause(WAIT);
                continue;
            }
            collected.clear(self.next);
            collected.fill(reader, schemas)?;
            if collected.end > self.next {
                self.deliver(&collected, schemas)?;
                continue;
            }
            self.settle()?;
            let stopping = self.shared.stop.is_stopped();
            if saved.0 != self.next && (stopping || saved.1.elapsed() >= IDLE_PROGRESS) {
                self.save_progress()?;
                saved = (self.next, Instant::now());
            }
            if stopping {
                return Ok(());
            }
            if self.shared.status().state == "paused" {
                self.shared.set_state("following");
            }
            reader.wait(Instant::now() + WAIT).map_err(journal_error)?;
        }
    }

    /// Where to begin, by what the target says of its progress.
    fn begin(&mut self, connected: &Connected) -> Result<u64> {
        let Some(progress) = connected.progress else { return self.begin_anew() };
        let id = headwater_journal::JournalId(progress.journal.0);
        match self.journal.classify(id, progress.epoch, progress.sequence) {
            Standing::Same | Standing::Behind => Ok(progress.sequence),
            Standing::Ahead => self.wait_for_log(progress.sequence),
            Standing::Trimmed => Err(Error::stop(format!(
                "the journal no longer holds what sink {} needs next, sequence {}",
                self.shared.name, progress.sequence
            ))
            .detail(format!("It begins at sequence {}.", self.journal.first_sequence()))
            .hint(format!("Run `headwater rebuild {}` to fill it anew.", self.shared.name))),
            Standing::Unknown => {
                tracing::warn!(sink = %self.shared.name, target = %progress,
                    "the target was filled from another history; it is emptied and filled anew");
                clear(self.sink, self.shared)?;
                self.begin_anew()
            }
        }
    }

    fn begin_anew(&mut self) -> Result<u64> {
        let first = self.journal.first_sequence();
        match self.spec.from {
            FromWhere::Now => Ok(self.journal.visible_sequence()),
            FromWhere::Earliest => Ok(first),
            FromWhere::Snapshot if first == 0 => Ok(0),
            FromWhere::Snapshot => Err(Error::stop(format!(
                "sink {} is to begin with a snapshot, but the journal no longer holds its beginning",
                self.shared.name
            ))
            .detail(format!("It begins at sequence {first}."))
            .hint("Give the sink `from: earliest` or `from: now`, or keep more of the journal.")),
        }
    }

    /// After a power failure the target may hold more than the journal: the log is read again to there, and will be the
    /// same.
    fn wait_for_log(&mut self, sequence: u64) -> Result<u64> {
        tracing::warn!(sink = %self.shared.name, sequence, "the target is ahead of the journal; waiting for the log");
        self.shared.set_state("ahead");
        self.source.followers_ahead.fetch_add(1, Ordering::AcqRel);
        let arrived = || self.journal.visible_sequence() >= sequence;
        while !arrived() && !self.shared.stop.is_stopped() {
            self.journal.wait_visible(sequence - 1, Instant::now() + WAIT).map_err(journal_error)?;
        }
        self.source.followers_ahead.fetch_sub(1, Ordering::AcqRel);
        match arrived() {
            true => Ok(sequence),
            false => Err(Error::reconnect("stopped while waiting for the log")),
        }
    }

    fn deliver(&mut self, collected: &Collected, schemas: &Schemas) -> Result<()> {
        let headers = collected.headers()?;
        let mut events = collected.events(self.next, &headers, schemas)?;
        self.park(&mut events)?;
        self.next = collected.end;
        if events.is_empty() {
            if self.flight.is_empty() {
                self.shared.applied.store(self.next, Ordering::Release);
            }
            return Ok(());
        }
        let times = headers.last().map(|header| (header.commit_us, header.receive_us, collected.written_us));
        let batch = Batch { events: &events, progress: self.progress() };
        self.flight.push_back(InFlight { end: self.next, times });
        fail::fail_point!("engine::before_write");
        match self.sink.write(&batch) {
            Ok(written) => self.absorb(&written, Some(&events)),
            Err(error) => {
                if let Kind::RejectRows(sequences) = error.kind() {
                    let refused = events.iter().filter(|event| sequences.contains(&event.sequence));
                    for event in refused {
                        self.shared.letters().keep(event, &error.to_string())?;
                    }
                    self.count_letters();
                }
                Err(error)
            }
        }
    }

    /// Takes out of a batch what waits in the dead-letter topic, and what must wait behind it.
    fn park(&mut self, events: &mut Vec<Event<'_>>) -> Result<()> {
        let mut letters = self.shared.letters();
        if letters.len() == 0 {
            return Ok(());
        }
        let mut failed = None;
        events.retain(|event| {
            if letters.holds(event.sequence) {
                return false;
            }
            if !letters.is_parked(event) {
                return true;
            }
            if let Err(error) = letters.keep(event, "an earlier change of this row waits here") {
                failed.get_or_insert(error);
            }
            false
        });
        drop(letters);
        self.count_letters();
        failed.map_or(Ok(()), Err)
    }

    fn progress(&self) -> Progress {
        Progress { journal: self.id, epoch: self.journal.epoch(), sequence: self.next }
    }

    /// Waits until the target holds everything that was handed over.
    fn settle(&mut self) -> Result<()> {
        if self.flight.is_empty() {
            return Ok(());
        }
        let written = self.sink.flush()?;
        self.absorb(&written, None)
    }

    fn save_progress(&mut self) -> Result<()> {
        let batch = Batch { events: &[], progress: self.progress() };
        self.flight.push_back(InFlight { end: self.next, times: None });
        let written = self.sink.write(&batch)?;
        self.absorb(&written, None)?;
        self.settle()
    }

    fn absorb(&mut self, written: &Written, events: Option<&[Event<'_>]>) -> Result<()> {
        if !written.rejected.is_empty() {
            self.keep_rejected_of(&written.rejected, events)?;
        }
        let Some(durable) = written.durable else { return Ok(()) };
        let applied_us = now_us();
        while self.flight.front().is_some_and(|batch| batch.end <= durable) {
            let times = self.flight.pop_front().and_then(|batch| batch.times);
            if let Some((commit_us, receive_us, journal_us)) = times {
                self.shared.passages.add(Passage { commit_us, receive_us, journal_us, applied_us });
            }
        }
        // With nothing in flight, changes of other tables are done with too.
        let applied = if self.flight.is_empty() { self.next } else { durable };
        self.shared.applied.store(applied, Ordering::Release);
        Ok(())
    }

    fn keep_rejected(&mut self, rejected: &[Rejected]) -> Result<()> {
        if rejected.is_empty() { Ok(()) } else { self.keep_rejected_of(rejected, None) }
    }

    /// Moves refused rows into the dead-letter topic, then lets the target forget them.
    fn keep_rejected_of(&mut self, rejected: &[Rejected], events: Option<&[Event<'_>]>) -> Result<()> {
        for Rejected { sequence, reason } in rejected {
            tracing::warn!(sink = %self.shared.name, sequence, %reason, "the target refuses a row");
            let at_hand = events.and_then(|events| events.iter().find(|event| event.sequence == *sequence));
            match at_hand {
                Some(event) => self.shared.letters().keep(event, reason)?,
                None => self.keep_from_journal(*sequence, reason)?,
            }
        }
        self.count_letters();
        let through = rejected.iter().map(|row| row.sequence).max().unwrap_or(0);
        self.sink.rejected_are_kept(through)
    }

    fn keep_from_journal(&mut self, sequence: u64, reason: &str) -> Result<()> {
        if self.shared.letters().holds(sequence) {
            return Ok(());
        }
        let mut reader = self.journal.reader(From::Sequence(sequence)).map_err(journal_error)?;
        let mut schemas = Schemas::new(self.spec.tables.clone(), &reader)?;
        let mut collected = Collected::default();
        collected.clear(sequence);
        collected.fill(&mut reader, &mut schemas)?;
        let headers: Vec<TransactionHeader<'_>> = collected.headers()?;
        let events = collected.events(sequence, &headers, &schemas)?;
        match events.first().filter(|event| event.sequence == sequence) {
            Some(event) => self.shared.letters().keep(event, reason),
            None => Err(Error::stop(format!("the target refused a change at sequence {sequence}, which is not followed"))),
        }
    }

    fn count_letters(&self) {
        let count = self.shared.letters().len() as u64;
        self.shared.status().dead_letters = count;
    }

    fn obey(&mut self) -> Result<()> {
        while let Ok((command, reply)) = self.requests.try_recv() {
            match command {
                Command::Replay(sequences) => {
                    self.settle()?;
                    let result = self.replay(sequences);
                    let failed = result.is_err();
                    let _gone = reply.send(result);
                    if failed {
                        return Err(Error::reconnect("a replay of dead letters failed"));
                    }
                }
                Command::Rebuild => {
                    self.settle()?;
                    clear(self.sink, self.shared)?;
                    let _gone = reply.send(Ok(0));
                    return Err(Error::reconnect("it is filled anew"));
                }
            }
        }
        Ok(())
    }

    /// Applies letters again, oldest first; those that are refused again stay.
    fn replay(&mut self, wanted: Vec<u64>) -> Result<usize> {
        let waiting = self.shared.letters().sequences();
        let chosen = waiting.into_iter().filter(|sequence| wanted.is_empty() || wanted.contains(sequence));
        let mut applied = 0;
        for sequence in chosen {
            let Some(letter) = self.shared.letters().read(sequence)? else { continue };
            let progress = self.progress();
            let mut rejected = letter.with_event(|event| {
                let mut written = self.sink.write(&Batch { events: &[event], progress })?;
                written.rejected.extend(self.sink.flush()?.rejected);
                Ok(written.rejected)
            })?;
            match rejected.pop() {
                None => applied += self.shared.letters().end(&[sequence])?,
                Some(row) => {
                    tracing::warn!(sink = %self.shared.name, sequence, reason = %row.reason, "refused again");
                    self.sink.rejected_are_kept(sequence)?;
                }
            }
        }
        self.count_letters();
        Ok(applied)
    }
}
