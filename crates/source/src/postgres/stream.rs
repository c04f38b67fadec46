//! The source itself: connects, goes on where the journal ends, and follows the slot's stream until told to stop.
//!
//! Invariant: whatever ends a run, the journal ends at a transaction's end, and the next run begins there; the server hears
//! of a position only when the journal has it on disk. Start at [`PostgresSource::run`].

use super::catalogue::Catalogue;
use super::config::{Options, SnapshotMode};
use super::decode::{Commit, Message, Reader};
use super::failure;
use super::identity;
use super::in_progress::{InProgress, Kept, Taken};
use super::lsn::Lsn;
use super::position::{NotPosition, Position};
use super::probe::ServerProbe;
use super::publication;
use super::server::Server;
use super::slot::{self, Created, Slot};
use super::snapshot::{self, Place, Snapshot};
use super::start::{self, Begin};
use super::tables::Tables;
use super::transaction::Transactions;
use super::wire::{Canceller, Connection, Event, Replication};
use crate::heartbeat::{Heart, STATEMENT_TIMEOUT};
use headwater_model::calendar::now_us;
use headwater_model::source::{Intake, Probe, Source, SourceReport};
use headwater_model::{Error, Kind, Result};
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a position that only moved past other tables' transactions may stay unsaved.
const POSITION_SAVE: Duration = Duration::from_millis(200);

/// How often the status page is told where we are.
const REPORT: Duration = Duration::from_secs(1);

/// How long a wait for the stream lasts at most, so that what has become durable meanwhile is confirmed.
const WAIT: Duration = Duration::from_millis(100);

/// And while chunks of a snapshot wait for the stream to come far enough: an idle server says where its log ends when asked.
const PENDING_WAIT: Duration = Duration::from_millis(5);

/// How long a server may say nothing before it is asked for a sign of life.
const QUIET: Duration = Duration::from_secs(20);

/// How long a server may say nothing at all.
const SILENCE: Duration = Duration::from_secs(90);

/// After so many messages of a transaction that is read at its commit it is looked whether the server should hear from us.
const CONFIRM_MESSAGES: u32 = 1_024;

/// Unchanged positions are told less often, by this factor.
const UNCHANGED_FACTOR: u32 = 10;

/// How often a source that has nothing more to read looks for the end.
const FINISHED_LOOK: Duration = Duration::from_millis(200);

/// A PostgreSQL server's log.
pub struct PostgresSource {
    options: Arc<Options>,
    /// End the connections that are being read.
    cancellers: Arc<Mutex<Vec<Canceller>>>,
    /// The server of several that answered last.
    host: usize,
    /// The slot no longer leads on from here, and a new snapshot is asked for.
    begins_anew: bool,
    /// Streaming has begun at least once in this process.
    has_begun: bool,
    /// The server's process that served us before.
    process: u32,
    /// The transactions that were streamed last.
    streamed: VecDeque<u32>,
    /// An error has stopped it, which only a person can lift.
    is_stopped: bool,
}

/// How a run ended, other than by an error.
enum Ended {
    /// It was told to stop.
    Stopped,
    /// There is a new snapshot to begin.
    ToBeginAgain,
    /// Nothing but the snapshot was asked for, and it is in the journal.
    Finished,
}

impl PostgresSource {
    /// A source that has not connected yet.
    pub fn new(options: Options) -> Self {
        PostgresSource {
            options: Arc::new(options),
            cancellers: Arc::default(),
            host: 0,
            begins_anew: false,
            has_begun: false,
            process: 0,
            streamed: VecDeque::new(),
            is_stopped: false,
        }
    }
}

impl Source for PostgresSource {
    fn run(&mut self, intake: &mut dyn Intake) -> Result<()> {
        // The log cannot be read on where it stopped the source: a snapshot begins after that place.
        if std::mem::take(&mut self.is_stopped) && intake.snapshot_request().is_some() {
            self.begins_anew = true;
        }
        let mut result = self.connect_and_follow(intake);
        while match result {
            Ok(Ended::ToBeginAgain) => true,
            Ok(Ended::Finished) => self.rest_until_asked(intake),
            _ => false,
        } {
            result = self.connect_and_follow(intake);
        }
        self.cancellers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.is_stopped = result.as_ref().is_err_and(|error| *error.kind() == Kind::Stop);
        match result {
            // Stopping cuts the connection, which is no error then.
            Err(_) if intake.stopping() => intake.flush(),
            other => other.map(|_| ()),
        }
    }

    fn stopper(&self) -> Box<dyn Fn() + Send + Sync> {
        let cancellers = self.cancellers.clone();
        Box::new(move || {
            let cancellers = cancellers.lock().unwrap_or_else(PoisonError::into_inner);
            cancellers.iter().for_each(Canceller::cancel);
        })
    }

    fn probe(&self) -> Arc<dyn Probe> {
        Arc::new(ServerProbe::new(self.options.clone()))
    }
}

impl PostgresSource {
    fn connect_and_follow(&mut self, intake: &mut dyn Intake) -> Result<Ended> {
        let options = self.options.clone();
        let (mut connection, server) = start::connect(&options, &mut self.host)?;
        self.cancellers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.opened(connection.canceller());
        if intake.stopping() {
            return Ok(Ended::Stopped);
        }
        start::require(&options, &server)?;
        let before = std::mem::replace(&mut self.process, connection.process());
        slot::wait_until_left(&mut connection, &options.slot, before)
            .map_err(|error| failure::of_connection(&options.name, error))?;
        // What was collected of transactions that had not ended will be read again.
        for side in intake.sides() {
            intake.abort_side(&side)?;
        }
        let mut catalogue = Catalogue::new(options.clone(), self.host);
        let (position, created) = match options.snapshot {
            SnapshotMode::InitialOnly => self.place_of_snapshot(&mut connection, &server)?,
            _ => {
                let tables = catalogue.tables()?;
                publication::ensure(&options, &mut connection, &server, &tables)?;
                identity::ensure(&options, &mut connection, &tables)?;
                self.place_to_go_on(&mut connection, &server, intake)?
            }
        };
        let is_only = options.snapshot == SnapshotMode::InitialOnly;
        let is_anew = created.is_some() && intake.position().is_some() && !is_only;
        let tables = Tables::new(options.clone(), catalogue.types()?, intake);
        let streamed = std::mem::take(&mut self.streamed);
        let mut transactions = Transactions::new(&options, tables, position, streamed);
        if is_anew {
            snapshot::forget(&mut transactions, intake);
        } else if options.snapshot == SnapshotMode::Always && !self.has_begun {
            snapshot::read_again(&mut transactions, |_, _| true, intake);
        } else if is_only {
            snapshot::is_asked(&options, &mut transactions, intake);
        }
        // The place where reading begins is kept at once, so that what is committed from now on is never missed; and with it
        // that what lies between an older place and this one is to be read from the tables.
        transactions.keep_position();
        transactions.save_position(intake)?;
        intake.flush()?;
        (self.begins_anew, self.has_begun) = (false, true);
        let cancellers = self.cancellers.clone();
        let place = Place { options: &options, server: &server, host: self.host, created, cancellers };
        let snapshot = snapshot::begin(&place, &mut transactions, intake);
        transactions.snapshot = snapshot.inspect_err(|_| self.streamed.clone_from(transactions.streamed()))?;
        if is_only {
            connection.close();
            return Ok(Ended::Finished);
        }
        tracing::info!(
            source = options.name,
            server = server.title(),
            position = %transactions.position(),
            encrypted = connection.is_encrypted(),
            "following the log"
        );
        let wire = start::stream(&options, connection, &server, transactions.position())?;
        let mut stream = Stream::new(&options, self.host, wire, &server, transactions, catalogue);
        let ended = stream.follow(intake);
        self.streamed.clone_from(stream.transactions.streamed());
        match ended {
            Err(why) if stream.is_unpublished && options.snapshot == SnapshotMode::WhenNeeded => {
                self.begins_anew = true;
                Err(Error::reconnect(format!("source {}: beginning anew", options.name)).source(why))
            }
            ended => {
                if ended.is_ok() {
                    stream.wire.close();
                }
                ended
            }
        }
    }

    /// Where a snapshot is taken that no stream follows: at a slot that is gone with the connection.
    fn place_of_snapshot(&self, connection: &mut Connection, server: &Server) -> Result<(Position, Option<Created>)> {
        let created = self.create(connection, server, &snapshot::slot_name(&self.options), true)?;
        Ok((self.at(server, created.consistent), Some(created)))
    }

    /// The position after which the slot streams, and the slot if it had to be created.
    fn place_to_go_on(
        &self,
        connection: &mut Connection,
        server: &Server,
        intake: &dyn Intake,
    ) -> Result<(Position, Option<Created>)> {
        let options = &*self.options;
        let failed = |error| failure::of_connection(&options.name, error);
        let slot = Slot::find(connection, &options.slot).map_err(failed)?;
        let ours = match intake.position() {
            None => None,
            Some(bytes) => Some(Position::decode(&bytes).map_err(|error| not_ours(options, error))?),
        };
        let usable = slot.as_ref().map(|slot| slot.usable(&server.database));
        let lost = match (&usable, ours) {
            (Some(Err(why @ (slot::Unusable::Other(_) | slot::Unusable::Active(_)))), _) => {
                return Err(failure::unusable(options, why.clone()));
            }
            (Some(Err(why)), _) => Some(failure::unusable(options, why.clone())),
            (_, None) => None,
            (_, Some(ours)) => match start::compare(options, connection, server, slot.as_ref(), ours)? {
                Begin::From(position) if !self.begins_anew => return Ok((position, None)),
                Begin::From(_) => None,
                Begin::Lost(why) => Some(why),
            },
        };
        if let Some(why) = lost {
            let is_allowed = self.begins_anew || options.snapshot == SnapshotMode::WhenNeeded;
            if !is_allowed {
                return Err(why);
            }
            tracing::warn!(source = options.name, %why, "the slot does not lead on; beginning anew");
        }
        self.begin(connection, server, slot, intake.position().is_some() || matches!(usable, Some(Err(_))))
    }

    /// Begins at the slot's place, or at that of a new slot. A slot that was made by somebody beforehand is taken as it is;
    /// one that does not lead on is dropped.
    fn begin(
        &self,
        connection: &mut Connection,
        server: &Server,
        slot: Option<Slot>,
        drops: bool,
    ) -> Result<(Position, Option<Created>)> {
        let options = &*self.options;
        let failed = |error| failure::of_connection(&options.name, error);
        match slot {
            Some(slot) if !drops => return Ok((self.at(server, slot.confirmed().map_err(failed)?), None)),
            Some(_) => slot::drop_slot(connection, &options.slot).map_err(failed)?,
            None => {}
        }
        tracing::info!(source = options.name, slot = options.slot, "creating the replication slot");
        let created = self.create(connection, server, &options.slot, false)?;
        Ok((self.at(server, created.consistent), Some(created)))
    }

    fn create(&self, connection: &mut Connection, server: &Server, name: &str, temporary: bool) -> Result<Created> {
        let options = &*self.options;
        let failed = |error| failure::of_connection(&options.name, error);
        // It waits for every transaction that runs now, however long that takes.
        connection.set_read_timeout(None).map_err(failed)?;
        let failover = options.slot_failover && !temporary;
        let created = slot::create(connection, server, name, temporary, failover).map_err(failed)?;
        connection.set_read_timeout(options.connection.read_timeout).map_err(failed)?;
        Ok(created)
    }

    fn at(&self, server: &Server, lsn: Lsn) -> Position {
        let slot = self.options.slot.clone();
        Position { system: server.system, timeline: server.timeline, slot, lsn, last_commit: Lsn(0) }
    }

    /// Waits, without a connection, for the end or for a snapshot that is asked for. Answers whether it was the latter.
    fn rest_until_asked(&self, intake: &mut dyn Intake) -> bool {
        tracing::info!(source = self.options.name, "the snapshot is in the journal; nothing more is read");
        while !intake.stopping() {
            intake.report(SourceReport { phase: "finished", ..SourceReport::default() });
            if intake.has_snapshot_request() {
                return true;
            }
            std::thread::sleep(FINISHED_LOOK);
        }
        false
    }

    fn opened(&self, canceller: Canceller) {
        self.cancellers.lock().unwrap_or_else(PoisonError::into_inner).push(canceller);
    }
}

/// Runs the heartbeat's statement until the answer is dropped, on a connection of its own each time.
fn beat(options: &Options, host: usize) -> Result<Option<Heart>> {
    let Some(heartbeat) = &options.heartbeat_query else { return Ok(None) };
    let (name, mut options) = (options.name.clone(), options.clone());
    options.connection.read_timeout = Some(STATEMENT_TIMEOUT);
    let run = move |statement: &str| {
        let mut connection = start::connect_session(&options, host)?;
        connection.execute(statement).map_err(|error| failure::of_connection(&options.name, error))?;
        connection.close();
        Ok(())
    };
    Heart::start(&name, heartbeat, run).map(Some)
}

fn not_ours(options: &Options, error: NotPosition) -> Error {
    Error::stop(format!("source {}: its journal is of something else", options.name)).source(error).hint(
        "A source's name belongs to one database for ever. Give this source another name, or move the folder of the old \
         journal away.",
    )
}

/// The slot's stream as it arrives.
struct Stream<'o> {
    options: &'o Options,
    /// The server's number among the hosts.
    host: usize,
    wire: Replication,
    reader: Reader,
    in_progress: InProgress,
    transactions: Transactions,
    catalogue: Catalogue,
    title: String,
    /// What the server has heard from us, and when.
    confirmed: Lsn,
    confirmed_at: Instant,
    /// The server wants to hear from us at once.
    is_asked: bool,
    /// We want to hear from the server where its log ends.
    wants_place: bool,
    /// The publication was missing when what comes next was written.
    is_unpublished: bool,
    saved_at: Instant,
    reported_at: Option<Instant>,
    reported_snapshot: bool,
    /// Beats once the snapshot is complete.
    heart: Option<Heart>,
    heard_at: Instant,
}

impl<'o> Stream<'o> {
    fn new(
        options: &'o Options,
        host: usize,
        wire: Replication,
        server: &Server,
        transactions: Transactions,
        catalogue: Catalogue,
    ) -> Self {
        let now = Instant::now();
        Stream {
            options,
            host,
            wire,
            reader: Reader::default(),
            in_progress: InProgress::default(),
            transactions,
            catalogue,
            title: server.title(),
            confirmed: Lsn(0),
            confirmed_at: now,
            is_asked: false,
            wants_place: false,
            is_unpublished: false,
            saved_at: now,
            reported_at: None,
            reported_snapshot: false,
            heart: None,
            heard_at: now,
        }
    }

    fn follow(&mut self, intake: &mut dyn Intake) -> Result<Ended> {
        let result = self.follow_messages(intake);
        if result.is_err() {
            // What was read of an open transaction will be read again.
            self.transactions.discard(intake)?;
        }
        result
    }

    fn follow_messages(&mut self, intake: &mut dyn Intake) -> Result<Ended> {
        loop {
            self.transactions.poll_snapshot(intake)?;
            if !self.wire.has_buffered_event() {
                self.rest(intake)?;
                if intake.stopping() && self.transactions.is_between() {
                    self.transactions.save_position(intake)?;
                    intake.flush()?;
                    // The next start then has less to read again.
                    self.is_asked = true;
                    self.confirm(intake)?;
                    return Ok(Ended::Stopped);
                }
                if self.transactions.is_between() && snapshot::is_asked(self.options, &mut self.transactions, intake) {
                    self.transactions.save_position(intake)?;
                    intake.flush()?;
                    return Ok(Ended::ToBeginAgain);
                }
                if !self.has_arrived()? {
                    continue;
                }
            }
            let event = self.wire.next_event().map_err(|error| {
                self.is_unpublished = failure::is_unpublished(&error);
                failure::of_stream(self.options, error)
            })?;
            match event {
                Some(Event::Data { start, body }) => {
                    let message = self.reader.read(body).map_err(|error| {
                        Error::stop(format!("source {}: the stream at {start}", self.options.name)).source(error)
                    })?;
                    match self.in_progress.take(start, body, &message, intake)? {
                        Taken::Passed => self.transactions.message(start, message, &mut self.catalogue, intake)?,
                        Taken::Kept => {}
                        Taken::Committed(kept, xid, commit) => self.read_kept(start, &kept, xid, commit, intake)?,
                    }
                }
                Some(Event::Keepalive { end, reply }) => {
                    self.transactions.heard(end);
                    if reply {
                        self.is_asked = true;
                        self.confirm(intake)?;
                    }
                }
                None => {
                    let what = format!("source {}: the server ended the stream", self.options.name);
                    return Err(Error::reconnect(what));
                }
            }
        }
    }

    /// Reads a transaction that arrived before it was committed, as if it had arrived now.
    fn read_kept(&mut self, place: Lsn, kept: &Kept, xid: u32, commit: Commit, intake: &mut dyn Intake) -> Result<()> {
        let begin = Message::Begin { final_lsn: commit.lsn, commit_us: commit.commit_us, xid };
        self.transactions.message(place, begin, &mut self.catalogue, intake)?;
        let mut reading = kept.read()?;
        let mut count = 0u32;
        while let Some((place, message)) = reading.next()? {
            self.transactions.message(place, message, &mut self.catalogue, intake)?;
            count = count.wrapping_add(1);
            // A server that hears nothing for long takes us for gone.
            if count.is_multiple_of(CONFIRM_MESSAGES) {
                self.confirm(intake)?;
            }
        }
        // Meanwhile nobody listened.
        self.heard_at = Instant::now();
        self.transactions.message(place, Message::Commit(commit), &mut self.catalogue, intake)
    }

    /// Whether something has arrived; a server that has long been silent is taken for gone.
    fn has_arrived(&mut self) -> Result<bool> {
        let snapshot = self.transactions.snapshot.as_ref();
        let has_pending = snapshot.is_some_and(Snapshot::has_pending);
        let limit = if has_pending { PENDING_WAIT } else { WAIT };
        let arrived = self.wire.wait(snapshot.map(|snapshot| snapshot.bell().as_fd()), limit);
        let arrived = arrived.map_err(|error| failure::of_connection(&self.options.name, error))?;
        self.wants_place = has_pending && !arrived;
        if arrived {
            self.heard_at = Instant::now();
        } else if self.heard_at.elapsed() > SILENCE {
            let what = format!("source {}: the server has said nothing for {SILENCE:?}", self.options.name);
            return Err(Error::reconnect(what));
        }
        Ok(arrived)
    }

    /// Nothing more has arrived: what there is becomes visible, and what is durable is confirmed.
    fn rest(&mut self, intake: &mut dyn Intake) -> Result<()> {
        let now = Instant::now();
        // Every one of them would cost an entry of the journal, so a stream of other tables' transactions saves some.
        if now.duration_since(self.saved_at) >= POSITION_SAVE {
            self.saved_at = now;
            self.transactions.save_position(intake)?;
        }
        // A transaction arrives in many pieces, and only its end appends anything.
        if self.transactions.take_appended() || self.transactions.is_between() {
            intake.flush()?;
        }
        self.confirm(intake)?;
        let is_snapshotting = self.transactions.snapshot.is_some();
        if self.heart.is_none() && !is_snapshotting {
            self.heart = beat(self.options, self.host)?;
        }
        if is_snapshotting != self.reported_snapshot
            || self.reported_at.is_none_or(|at| now.duration_since(at) >= REPORT)
        {
            (self.reported_at, self.reported_snapshot) = (Some(now), is_snapshotting);
            let rows = self.transactions.snapshot.as_ref().map(Snapshot::rows);
            intake.report(SourceReport {
                phase: if rows.is_some() { "snapshotting" } else { "streaming" },
                server: self.title.clone(),
                position: self.transactions.position().to_string(),
                snapshot_rows: rows,
            });
        }
        Ok(())
    }

    /// Tells the server what the journal has on disk, when it is time or the server has asked.
    fn confirm(&mut self, intake: &mut dyn Intake) -> Result<()> {
        let elapsed = self.confirmed_at.elapsed();
        let is_due = self.is_asked || self.wants_place;
        if !is_due && elapsed < self.options.status_interval {
            return Ok(());
        }
        let durable = intake.durable_position().and_then(|bytes| Position::decode(&bytes).ok());
        let durable = durable.map_or(Lsn(0), |position| position.lsn);
        if !is_due && durable == self.confirmed && elapsed < UNCHANGED_FACTOR * self.options.status_interval {
            return Ok(());
        }
        let received = self.transactions.position().lsn.max(durable);
        let wants_reply = self.wants_place || self.heard_at.elapsed() > QUIET;
        self.wire
            .confirm(received, durable, now_us(), wants_reply)
            .map_err(|error| failure::of_connection(&self.options.name, error))?;
        (self.confirmed, self.confirmed_at) = (durable, Instant::now());
        (self.is_asked, self.wants_place) = (false, false);
        Ok(())
    }
}

#[cfg(test)]
#[path = "hostile_tests.rs"]
mod hostile_tests;
