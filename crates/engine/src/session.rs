//! One connection's life: asks the target where it stands, then hands it batches until something ends it.
//!
//! Invariant: progress lies in the target, beside the data. What this thread remembers is only a copy; after every
//! reconnect the target is asked again. Start at [`Session::run`].

use crate::batch::{Collected, Schemas};
use crate::follower::{Known, Replay, Shared, WAIT};
use crate::intake::journal_error;
use crate::options::{FromWhere, SinkSpec};
use crate::rows::Rows;
use crate::source::Shared as SourceShared;
use crate::stages::Passage;
use crate::stop::BackOff;
use headwater_journal::{From, Journal, Reader, Standing};
use headwater_model::calendar::now_us;
use headwater_model::sink::{Batch, Connected, Event, Rejected, Sink, Written};
use headwater_model::{Error, JournalId, Kind, Progress, Result};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// How long progress over changes that are not followed may stay unsaved, and how often an idle target is looked after.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Changes of one batch whose times are kept.
const SAMPLES_A_BATCH: usize = 8;
/// Batches that a sink may have accepted and not applied yet; one that needs more is waited for.
const IN_FLIGHT_MAX: usize = 64;
/// The epoch of a progress that stands for a filling that has not ended: no start of a journal has this number, so
/// nothing takes it for progress over the journal. Its sequence counts rows.
pub const FILLING: u32 = 0;

/// What a session works with.
#[derive(Clone, Copy)]
pub struct Follows<'a> {
    /// What the user said of the sink.
    pub spec: &'a SinkSpec,
    /// What is shared.
    pub shared: &'a Shared,
    /// What is followed.
    pub journal: &'a Journal,
    /// The rows that it stands for.
    pub rows: &'a Rows,
    /// Its source.
    pub source: &'a SourceShared,
    /// What people ask.
    pub requests: &'a Receiver<Replay>,
}

/// How a session ended when nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The follower is stopped.
    End,
    /// The target is to be asked again where it stands.
    BeginAgain,
    /// The follower was dropped.
    GivenUp,
}

/// Where a follower begins.
enum Begin {
    At(u64),
    /// The rows come first, out of the store.
    Filling,
}

/// A batch that the sink has accepted, until the target holds it.
struct InFlight {
    end: u64,
    /// Commit, receive and journal times of some of its changes.
    times: Vec<(Option<i64>, i64, i64)>,
}

/// One connection's life.
pub struct Session<'a> {
    pub follows: Follows<'a>,
    pub sink: &'a mut dyn Sink,
    /// The next sequence to hand over.
    pub next: u64,
    flight: VecDeque<InFlight>,
    /// The progress that the target has stored, and when it was last looked after.
    saved: u64,
    looked: Instant,
}

impl<'a> Session<'a> {
    pub fn new(follows: Follows<'a>, sink: &'a mut dyn Sink) -> Self {
        Session { follows, sink, next: 0, flight: VecDeque::new(), saved: 0, looked: Instant::now() }
    }

    /// Runs until the follower is stopped, dropped or to be rebuilt, or something fails.
    pub fn run(&mut self, known: &Known<'_>, back_off: &mut BackOff) -> Result<Next> {
        let mut connected = self.sink.connect()?;
        let shared = self.follows.shared;
        shared.status().server.clone_from(&connected.server);
        self.end_replayed(connected.replayed)?;
        if shared.is_to_be_rebuilt() {
            shared.set_state("rebuilding");
            self.clear(&mut connected)?;
        }
        let begin = self.begin(&mut connected, known)?;
        known.tell();
        back_off.reset();
        self.next = match begin {
            Begin::At(sequence) => sequence,
            Begin::Filling => match self.fill()? {
                Some(sequence) => sequence,
                None => return Ok(self.ended()),
            },
        };
        shared.was_filled();
        self.saved = self.next;
        let mut reader = match self.follows.journal.reader(From::Sequence(self.next)) {
            // Retention was faster; where to begin is to be decided again.
            Err(headwater_journal::Error::Trimmed { .. }) => return Ok(Next::BeginAgain),
            other => other.map_err(journal_error)?,
        };
        let mut schemas = Schemas::new(self.follows.spec.tables.clone(), &reader)?;
        self.keep_rejected(&connected.rejected, None)?;
        if connected.progress.is_none() {
            // A restart must not decide anew where to begin: what is committed from now on is ours.
            self.save_progress()?;
        }
        // Said only now, because a row that was refused must not leave the journal before it is kept.
        shared.set_needs(self.next);
        shared.set_applied(self.next);
        shared.set_state("following");
        self.follow(&mut reader, &mut schemas)
    }

    /// Why a session ends without an error.
    fn ended(&self) -> Next {
        let shared = self.follows.shared;
        match (shared.is_dropped(), shared.is_to_be_rebuilt()) {
            (true, _) => Next::GivenUp,
            (false, true) => Next::BeginAgain,
            (false, false) => Next::End,
        }
    }

    fn follow(&mut self, reader: &mut Reader, schemas: &mut Schemas) -> Result<Next> {
        let mut collected = Collected::default();
        loop {
            let shared = self.follows.shared;
            if shared.is_dropped() || shared.is_to_be_rebuilt() {
                self.settle()?;
                return Ok(self.ended());
            }
            self.obey()?;
            if shared.is_paused() {
                self.settle()?;
                shared.set_state("paused");
                shared.stop.pause(WAIT);
                continue;
            }
            if shared.status().state == "paused" {
                shared.set_state("following");
            }
            collected.clear(self.next);
            collected.fill(reader, schemas)?;
            let is_idle = collected.end <= self.next;
            if !is_idle {
                self.deliver(&collected, schemas)?;
            }
            let stopping = shared.stop.is_stopped();
            if is_idle {
                self.settle()?;
            }
            if (is_idle && stopping) || self.looked.elapsed() >= PROGRESS_EVERY {
                self.look_after(is_idle)?;
            }
            if is_idle && stopping {
                return Ok(Next::End);
            }
            if is_idle {
                reader.wait(Instant::now() + WAIT).map_err(journal_error)?;
            }
        }
    }

    /// Saves progress over changes that were not followed, so that retention need not wait for them and a restart does
    /// not read them again; and lets an idle target say that it is still what it was.
    fn look_after(&mut self, is_idle: bool) -> Result<()> {
        self.looked = Instant::now();
        if self.saved < self.next && self.flight.is_empty() {
            self.save_progress()?;
        } else if is_idle {
            let written = self.sink.flush()?;
            self.absorb(&written, None)?;
        }
        Ok(())
    }

    /// Where to begin, by what the target says of its progress.
    fn begin(&mut self, connected: &mut Connected, known: &Known<'_>) -> Result<Begin> {
        let Follows { shared, journal, .. } = self.follows;
        let Some(progress) = connected.progress else { return self.begin_anew() };
        let id = headwater_journal::JournalId(progress.journal.0);
        if id == journal.id() && progress.epoch == FILLING {
            tracing::info!(sink = %shared.name, rows = progress.sequence, "the target was not filled to the end; again");
            self.clear(connected)?;
            return self.begin_anew();
        }
        match journal.classify(id, progress.epoch, progress.sequence) {
            Standing::Same | Standing::Behind => Ok(Begin::At(progress.sequence)),
            Standing::Ahead => self.wait_for_log(progress.sequence, known).map(Begin::At),
            Standing::Trimmed => Err(Error::stop(format!(
                "the journal no longer holds what sink {} needs next, sequence {}",
                shared.name, progress.sequence
            ))
            .detail(format!("It begins at sequence {}.", journal.first_sequence()))
            .hint(format!("Run `headwater rebuild {}` to fill it anew.", shared.name))),
            Standing::Unknown => {
                tracing::warn!(sink = %shared.name, target = %progress,
                    "the target was filled from another history; it is emptied and filled anew");
                self.clear(connected)?;
                self.begin_anew()
            }
        }
    }

    fn begin_anew(&self) -> Result<Begin> {
        let Follows { spec, shared, journal, .. } = self.follows;
        let is_trimmed = || shared.wants_store() || journal.first_sequence() > 0;
        Ok(match spec.from {
            FromWhere::Now => Begin::At(journal.visible_sequence()),
            // A filling says itself what it needs. To need more for a moment could have it dropped.
            FromWhere::Snapshot if is_trimmed() => Begin::Filling,
            from => {
                // Retention leaves alone what is needed, so that is said before looking.
                shared.set_needs(0);
                match from {
                    FromWhere::Snapshot if is_trimmed() => Begin::Filling,
                    _ => Begin::At(journal.first_sequence()),
                }
            }
        })
    }

    /// Empties the target. What it refused is forgotten with it.
    fn clear(&mut self, connected: &mut Connected) -> Result<()> {
        self.sink.clear()?;
        let shared = self.follows.shared;
        let mut letters = shared.letters();
        let waiting = letters.sequences();
        letters.end(&waiting)?;
        drop(letters);
        self.count_letters();
        (connected.progress, connected.rejected) = (None, Vec::new());
        shared.was_cleared();
        Ok(())
    }

    /// After a power failure the target may hold more than the journal: the log is read again to there, and will be the
    /// same.
    fn wait_for_log(&mut self, sequence: u64, known: &Known<'_>) -> Result<u64> {
        let Follows { shared, journal, source, .. } = self.follows;
        tracing::warn!(sink = %shared.name, sequence, "the target is ahead of the journal; waiting for the log");
        shared.set_state("ahead");
        source.followers_ahead.fetch_add(1, Ordering::AcqRel);
        known.tell();
        let arrived = || journal.visible_sequence() >= sequence;
        let mut result = Ok(());
        while result.is_ok() && !arrived() && !shared.stop.is_stopped() && !shared.is_to_be_rebuilt() {
            let waited = journal.wait_visible(sequence - 1, Instant::now() + WAIT);
            result = waited.map(drop).map_err(journal_error);
        }
        source.followers_ahead.fetch_sub(1, Ordering::AcqRel);
        result?;
        match arrived() {
            true => Ok(sequence),
            false => Err(Error::retry_after(Duration::ZERO, "the wait for the log was interrupted")),
        }
    }

    fn deliver(&mut self, collected: &Collected, schemas: &Schemas) -> Result<()> {
        let headers = collected.headers()?;
        let mut events = collected.events(self.next, &headers, schemas)?;
        self.park(&mut events)?;
        self.next = collected.end;
        if events.is_empty() {
            if self.flight.is_empty() {
                self.follows.shared.set_applied(self.next);
            }
            return Ok(());
        }
        if self.flight.len() >= IN_FLIGHT_MAX {
            self.settle()?;
        }
        self.flight.push_back(InFlight { end: self.next, times: sample(&events, collected) });
        let batch = Batch { events: &events, progress: self.progress() };
        fail::fail_point!("engine::before_write");
        match self.sink.write(&batch) {
            Ok(written) => self.absorb(&written, Some(&events)),
            Err(error) => {
                self.keep_refused(&error, &events)?;
                Err(error)
            }
        }
    }

    /// Keeps the rows that an error refuses.
    pub fn keep_refused(&mut self, error: &Error, events: &[Event<'_>]) -> Result<()> {
        if let Kind::RejectRows(sequences) = error.kind() {
            for event in events.iter().filter(|event| sequences.contains(&event.sequence)) {
                self.follows.shared.letters().keep(event, &error.to_string())?;
            }
            self.count_letters();
        }
        Ok(())
    }

    /// Takes out of a batch what waits in the dead-letter topic, and what must wait behind it.
    pub fn park(&mut self, events: &mut Vec<Event<'_>>) -> Result<()> {
        let mut letters = self.follows.shared.letters();
        if letters.len() == 0 {
            return Ok(());
        }
        let mut failed = None;
        events.retain(|event| match letters.park(event) {
            Ok(is_parked) => !is_parked,
            Err(error) => {
                failed.get_or_insert(error);
                true
            }
        });
        drop(letters);
        self.count_letters();
        failed.map_or(Ok(()), Err)
    }

    pub fn progress(&self) -> Progress {
        let journal = self.follows.journal;
        Progress { journal: JournalId(journal.id().0), epoch: journal.epoch(), sequence: self.next }
    }

    /// Waits until the target holds everything that was handed over.
    pub fn settle(&mut self) -> Result<()> {
        if self.flight.is_empty() {
            return Ok(());
        }
        let written = self.sink.flush()?;
        self.absorb(&written, None)?;
        // That is what a flush promises.
        self.arrived(self.next);
        Ok(())
    }

    fn save_progress(&mut self) -> Result<()> {
        let batch = Batch { events: &[], progress: self.progress() };
        self.flight.push_back(InFlight { end: self.next, times: Vec::new() });
        let written = self.sink.write(&batch)?;
        self.absorb(&written, None)?;
        self.settle()?;
        self.saved = self.next;
        self.follows.shared.set_needs(self.saved);
        Ok(())
    }

    fn absorb(&mut self, written: &Written, events: Option<&[Event<'_>]>) -> Result<()> {
        self.keep_rejected(&written.rejected, events)?;
        if let Some(durable) = written.durable {
            self.saved = self.saved.max(durable);
            self.follows.shared.set_needs(self.saved);
            self.arrived(durable);
        }
        Ok(())
    }

    /// The target holds everything below `durable`.
    fn arrived(&mut self, durable: u64) {
        let applied_us = now_us();
        while let Some(batch) = self.flight.pop_front_if(|batch| batch.end <= durable) {
            for (commit_us, receive_us, journal_us) in batch.times {
                self.follows.shared.passages.add(Passage { commit_us, receive_us, journal_us, applied_us });
            }
        }
        // With nothing in flight, changes of other tables are done with too.
        let applied = if self.flight.is_empty() { self.next } else { durable };
        self.follows.shared.set_applied(applied);
    }

    /// Moves refused rows into the dead-letter topic, then lets the target forget them.
    fn keep_rejected(&mut self, rejected: &[Rejected], events: Option<&[Event<'_>]>) -> Result<()> {
        let Some(through) = rejected.iter().map(|row| row.sequence).max() else { return Ok(()) };
        for Rejected { sequence, reason } in rejected {
            tracing::warn!(sink = %self.follows.shared.name, sequence, %reason, "the target refuses a row");
            let at_hand = events.and_then(|events| events.iter().find(|event| event.sequence == *sequence));
            match at_hand {
                Some(event) => self.follows.shared.letters().keep(event, reason)?,
                None => self.keep_from_journal(*sequence, reason)?,
            }
        }
        self.count_letters();
        self.sink.rejected_are_kept(through)
    }

    fn keep_from_journal(&mut self, sequence: u64, reason: &str) -> Result<()> {
        let Follows { shared, journal, spec, .. } = self.follows;
        if shared.letters().holds(sequence) {
            return Ok(());
        }
        let mut reader = journal.reader(From::Sequence(sequence)).map_err(journal_error)?;
        let mut schemas = Schemas::new(spec.tables.clone(), &reader)?;
        let mut collected = Collected::default();
        collected.clear(sequence);
        collected.fill(&mut reader, &mut schemas)?;
        let headers = collected.headers()?;
        let events = collected.events(sequence, &headers, &schemas)?;
        match events.first().filter(|event| event.sequence == sequence) {
            Some(event) => shared.letters().keep(event, reason),
            None => {
                Err(Error::stop(format!("the target refused a change at sequence {sequence}, which is not followed")))
            }
        }
    }

    pub fn count_letters(&self) {
        let count = self.follows.shared.letters().len() as u64;
        self.follows.shared.status().dead_letters = count;
    }
}

/// Times of a few changes of a batch, the first and the last among them.
fn sample(events: &[Event<'_>], collected: &Collected) -> Vec<(Option<i64>, i64, i64)> {
    let step = events.len().div_ceil(SAMPLES_A_BATCH).max(1);
    let sampled = events.iter().rev().step_by(step);
    let times = |event: &Event<'_>| {
        let header = event.header;
        let commit_us = event.change.marker.is_none().then_some(header.commit_us);
        (commit_us, header.receive_us, collected.written_us(event.sequence))
    };
    sampled.map(times).collect()
}
