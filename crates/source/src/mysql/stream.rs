//! The source itself: connects, goes on where the journal ends, and follows the log until told to stop.
//!
//! Invariant: whatever ends a run, the journal ends at a transaction's end, and the next run begins there.
//! Start at [`MySqlSource::run`].

use super::access;
use super::catalog::TableName;
use super::commit::{Prepared, XA_STATE};
use super::config::{Options, SYSTEM_DATABASES, SnapshotMode};
use super::decode::{Charsets, Decoder, Event};
use super::definitions;
use super::failure::{self, Refusal};
use super::position::Position;
use super::probe::ServerProbe;
use super::server::Server;
use super::snapshot::{Endpoint, Plan, Snapshot};
use super::start::{self, Begin};
use super::tables::Tables;
use super::transaction::{Settings, Transactions, side_of_xa};
use super::wire::{self, Canceller, Connection, Dump};
use super::xa;
use crate::filter::{Choice, Filter};
use crate::heartbeat::{Heart, STATEMENT_TIMEOUT};
use headwater_model::source::{Intake, Probe, Source, SourceReport};
use headwater_model::{Error, Kind, Result, Schema, TransactionBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a position that only moved past other tables' transactions may stay unsaved.
const POSITION_SAVE: Duration = Duration::from_millis(200);

/// How often the status page is told where we are.
const REPORT: Duration = Duration::from_secs(1);

/// How long a wait for the log lasts at most while a snapshot's chunks may be waiting for something else than their bell.
const SNAPSHOT_WAIT: Duration = Duration::from_millis(2);

/// How often an idle server is to say where its log ends while a snapshot is taken.
const SNAPSHOT_HEARTBEAT: Duration = Duration::from_millis(100);

/// How long a server may say nothing when no limit was configured.
const SILENCE: Duration = Duration::from_secs(30);

/// How often a source that has nothing more to read looks for the end.
const FINISHED_LOOK: Duration = Duration::from_millis(200);

/// A MySQL or MariaDB server's log.
pub struct MySqlSource {
    options: Arc<Options>,
    /// Ends the connection that is being read.
    canceller: Arc<Mutex<Option<Canceller>>>,
    /// The server of several that answered last.
    host: usize,
    /// The server said that our position is gone, and a new snapshot is allowed.
    begins_anew: bool,
    /// Streaming has begun at least once in this process.
    has_begun: bool,
    /// An error has stopped it, which only a person can lift.
    is_stopped: bool,
    /// Tables that the log speaks of and the catalog has never had.
    unseen: BTreeSet<TableName>,
    /// Prepared XA transactions that are still in memory, from one run to the next.
    kept: BTreeMap<String, TransactionBuilder>,
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

impl MySqlSource {
    /// A source that has not connected yet.
    pub fn new(options: Options) -> Self {
        MySqlSource {
            options: Arc::new(options),
            canceller: Arc::default(),
            host: 0,
            begins_anew: false,
            has_begun: false,
            is_stopped: false,
            unseen: BTreeSet::new(),
            kept: BTreeMap::new(),
        }
    }
}

impl Source for MySqlSource {
    fn run(&mut self, intake: &mut dyn Intake) -> Result<()> {
        // The log cannot be read on where it stopped the source: a snapshot begins after that place.
        if std::mem::take(&mut self.is_stopped) && intake.snapshot_request().is_some() {
            self.begins_anew = true;
        }
        let mut result = self.connect_and_follow(intake);
        loop {
            match result {
                Ok(Ended::ToBeginAgain) => result = self.connect_and_follow(intake),
                Ok(Ended::Finished) if !rest_until_asked(&self.options, intake) => break,
                Ok(Ended::Finished) => result = self.connect_and_follow(intake),
                _ => break,
            }
        }
        *self.canceller.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.is_stopped = result.as_ref().is_err_and(|error| *error.kind() == Kind::Stop);
        match result {
            // Stopping cuts the connection, which is no error then.
            Err(_) if intake.stopping() => intake.flush(),
            other => other.map(|_| ()),
        }
    }

    fn stopper(&self) -> Box<dyn Fn() + Send + Sync> {
        let canceller = self.canceller.clone();
        Box::new(move || {
            if let Some(canceller) = &*canceller.lock().unwrap_or_else(PoisonError::into_inner) {
                canceller.cancel();
            }
        })
    }

    fn probe(&self) -> Arc<dyn Probe> {
        Arc::new(ServerProbe::new(self.options.clone()))
    }
}

impl MySqlSource {
    fn connect_and_follow(&mut self, intake: &mut dyn Intake) -> Result<Ended> {
        let options = self.options.clone();
        let (mut connection, server) = start::connect(&options, &mut self.host)?;
        *self.canceller.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.canceller());
        if intake.stopping() {
            return Ok(Ended::Stopped);
        }
        start::require(&options, &server)?;
        let begin = self.place_to_go_on(&mut connection, &server, intake)?;
        let begins_anew = begin.is_none();
        let prepared = drop_unfinished_sides(intake)?;
        let mut transactions = match begin {
            Some(position) => resume(&options, &mut connection, &server, position, prepared, intake)?,
            None => begin_anew(&options, &mut connection, &server, prepared, intake)?,
        };
        let kept = std::mem::take(&mut self.kept).into_iter();
        transactions.kept.extend(kept.filter(|(id, _)| transactions.prepared.contains_key(id) && !begins_anew));
        // With the new place goes, in one append, that all tables are to be read again: between the old place and the new
        // one lies what was missed.
        let missed = begins_anew && intake.position().is_some();
        if missed || (self.options.snapshot == SnapshotMode::Always && !self.has_begun) {
            transactions.tables.read_again(|_| true, intake);
        }
        self.look_for_unseen(&mut connection, &server, &mut transactions.tables)?;
        (self.begins_anew, self.has_begun) = (false, true);
        // The place where reading begins is kept at once, so that what is committed from now on is never missed; and with
        // it the tables' shapes, which the rows of a snapshot refer to.
        transactions.tables.captured();
        transactions.save_position(intake)?;
        intake.flush()?;
        tracing::info!(
            source = options.name,
            server = server.title(),
            position = %transactions.position(),
            encrypted = connection.server().is_encrypted,
            "following the log"
        );
        let position = transactions.position().clone();
        transactions.snapshot = self.begin_snapshot(&mut transactions.tables, &position, intake)?;
        // A snapshot's chunks wait until the stream has come far enough, and on an idle server only a heartbeat tells it so.
        let heartbeat = match transactions.snapshot {
            None => options.heartbeat,
            Some(_) => options.heartbeat.min(SNAPSHOT_HEARTBEAT),
        };
        let dump = start::dump(&options, connection, &server, transactions.position(), heartbeat)?;
        let mut stream = Stream::new(&options, dump, &server, transactions);
        let ended = stream.follow(intake);
        self.kept = stream.transactions.kept;
        match ended {
            Err(Failed::Asked) => Ok(Ended::ToBeginAgain),
            Err(Failed::Unseen(name)) => {
                self.unseen.insert(name);
                Ok(Ended::ToBeginAgain)
            }
            Err(error) => Err(self.noticed(error)),
            Ok(()) if intake.stopping() => Ok(Ended::Stopped),
            Ok(()) => Ok(Ended::Finished),
        }
    }

    /// The position after which the log leads on; `None` to begin anew.
    fn place_to_go_on(
        &self,
        connection: &mut Connection,
        server: &Server,
        intake: &dyn Intake,
    ) -> Result<Option<Position>> {
        let options = &self.options;
        let Some(bytes) = intake.position().filter(|_| !self.begins_anew) else { return Ok(None) };
        let ours = Position::decode(&bytes).map_err(|error| not_ours(options, error))?;
        let anew = options.snapshot == SnapshotMode::WhenNeeded;
        match start::compare(options, connection, server, ours, anew)? {
            Begin::From(position) => Ok(Some(position)),
            Begin::Anew(why) => {
                tracing::warn!(source = options.name, %why, "the log does not lead on; beginning anew");
                Ok(None)
            }
        }
    }

    /// A table that the catalog never had is there by now, or may not be read, or is gone; if it is gone, the log alone can
    /// say what its rows are.
    fn look_for_unseen(&mut self, connection: &mut Connection, server: &Server, tables: &mut Tables) -> Result<()> {
        if !self.unseen.is_empty() {
            let options = &self.options;
            tables.add_missing(&definitions::load(options, connection, server)?);
            self.unseen.retain(|name| tables.catalog().table(&name.database, &name.table).is_none());
            access::require(options, connection, self.unseen.iter().map(|name| [&*name.database, &*name.table]))?;
        }
        tables.notice_unseen(self.unseen.clone());
        Ok(())
    }

    /// Begins, or goes on with, reading the captured tables that were not read yet. Their shapes are in the journal, which
    /// stands at `position`.
    fn begin_snapshot(
        &self,
        tables: &mut Tables,
        position: &Position,
        intake: &mut dyn Intake,
    ) -> Result<Option<Snapshot>> {
        let options = &self.options;
        let mut captured = tables.captured();
        let place = |schema: &Schema| options.filter.place(&schema.database, &schema.table);
        captured.sort_by_cached_key(|schema| (place(schema), schema.full_name()));
        let plan = Plan {
            server: Endpoint { source: options.name.clone(), options: options.connection.clone(), host: self.host },
            chunk_rows: options.chunk_rows,
            workers: options.snapshot_workers,
            tables: captured.into_iter().map(Arc::new).collect(),
            chosen: options.snapshot_chosen.clone(),
            tells_again: options.as_debezium,
            floor: position.clone(),
        };
        Snapshot::begin(plan, intake)
    }

    /// Where a new snapshot is allowed, a log that is gone is a reason to take it, not to stop.
    fn noticed(&mut self, error: Failed) -> Error {
        match error {
            Failed::Refused(Refusal::Purged | Refusal::Lost, why)
                if self.options.snapshot == SnapshotMode::WhenNeeded =>
            {
                self.begins_anew = true;
                Error::reconnect(format!("source {}: beginning anew", self.options.name)).source(why)
            }
            Failed::Refused(_, error) | Failed::Other(error) => error,
            Failed::Asked | Failed::Unseen(_) => Error::reconnect("a snapshot is to begin"),
        }
    }
}

/// Runs the heartbeat's statement until the answer is dropped, on a connection of its own each time.
fn beat(options: &Options) -> Result<Option<Heart>> {
    let Some(heartbeat) = &options.heartbeat_query else { return Ok(None) };
    let (name, mut options) = (options.name.clone(), options.clone());
    options.connection.read_timeout = Some(STATEMENT_TIMEOUT);
    let run = move |statement: &str| {
        let (mut connection, _) = start::connect(&options, &mut 0)?;
        connection.execute(statement).map_err(|error| failure::of_connection(&options.name, error))?;
        connection.close();
        Ok(())
    };
    Heart::start(&name, heartbeat, run).map(Some)
}

/// Waits, without a connection, for the end or for a snapshot that is asked for. Answers whether it was the latter.
fn rest_until_asked(options: &Options, intake: &mut dyn Intake) -> bool {
    tracing::info!(source = options.name, "the snapshot is in the journal; nothing more is read");
    while !intake.stopping() {
        intake.report(SourceReport { phase: "finished", ..SourceReport::default() });
        if intake.has_snapshot_request() {
            return true;
        }
        std::thread::sleep(FINISHED_LOOK);
    }
    false
}

fn not_ours(options: &Options, error: super::position::NotPosition) -> Error {
    Error::stop(format!("source {}: its journal is of something else", options.name)).source(error).hint(
        "A source's name belongs to one database for ever. Give this source another name, or move the folder of the old \
         journal away.",
    )
}

/// Drops side segments of transactions that will be read again, and answers the XA transactions that wait for their end.
pub(super) fn drop_unfinished_sides(intake: &mut dyn Intake) -> Result<Prepared> {
    let mut prepared = Prepared::new();
    for key in intake.state_keys(XA_STATE) {
        let tables = serde_json::from_slice(&intake.state(&key).unwrap_or_default());
        let tables = tables.map_err(|error| {
            Error::stop(format!("the journal's record {key} cannot be read"))
                .source(error)
                .hint("It was written by a later version, or is damaged: run `headwater journal verify`.")
        })?;
        prepared.insert(key[XA_STATE.len()..].to_owned(), tables);
    }
    let kept: BTreeSet<String> = prepared.keys().map(|id| side_of_xa(id)).collect();
    let sides = intake.sides();
    if let Some(lost) = kept.iter().find(|side| !sides.contains(side)) {
        return Err(Error::stop(format!("the journal has lost the changes of the prepared transaction {lost}"))
            .hint("Run `headwater journal verify`; then take a new snapshot (`headwater snapshot`)."));
    }
    for side in sides.iter().filter(|side| !kept.contains(*side)) {
        intake.abort_side(side)?;
    }
    Ok(prepared)
}

fn settings(options: &Options, charsets: &Arc<Charsets>) -> Settings {
    Settings {
        source: options.name.clone(),
        bytes_max: options.transaction_bytes_max,
        keeps_statements: options.statements,
        charsets: charsets.clone(),
    }
}

/// Rows that exist already are read only where the user may see their tables.
fn require_access(options: &Options, connection: &mut Connection) -> Result<()> {
    match options.snapshot {
        SnapshotMode::Never => Ok(()),
        _ => access::require(options, connection, options.filter.wanted()),
    }
}

/// Goes on after `position` with what the journal holds.
fn resume(
    options: &Options,
    connection: &mut Connection,
    server: &Server,
    position: Position,
    prepared: Prepared,
    intake: &mut dyn Intake,
) -> Result<Transactions> {
    let charsets = Arc::new(definitions::charsets(options, connection, server)?);
    let mut tables = Tables::new(options, server, charsets.clone(), intake)?;
    if !tables.covers(&options.filter.scope(), intake) {
        require_access(options, connection)?;
        tables.add_missing(&definitions::load(options, connection, server)?);
    }
    Ok(Transactions::new(settings(options, &charsets), tables, position, prepared))
}

/// Begins at the log's present end, with the definitions as they are there.
fn begin_anew(
    options: &Options,
    connection: &mut Connection,
    server: &Server,
    prepared: Prepared,
    intake: &mut dyn Intake,
) -> Result<Transactions> {
    require_access(options, connection)?;
    let undecided = xa::undecided(options, connection)?;
    let before = server.end_of_log(connection).map_err(|error| failure::of_connection(&options.name, error))?;
    let charsets = Arc::new(definitions::charsets(options, connection, server)?);
    let mut tables = Tables::new(options, server, charsets.clone(), intake)?;
    let (catalog, position) = definitions::load_with_position(options, connection, server)?;
    tables.replace_catalog(catalog);
    tables.covers(&options.filter.scope(), intake);
    let mut transactions = Transactions::new(settings(options, &charsets), tables, position, Prepared::new());
    transactions.forget_prepared(prepared, intake)?;
    xa::look_back(options, server, &before, undecided, &mut transactions, intake)?;
    Ok(transactions)
}

/// Why following ended.
enum Failed {
    /// The server refuses to send its log.
    Refused(Refusal, Error),
    /// A snapshot was asked for, or is needed; it begins with a connection of its own.
    Asked,
    /// The log speaks of a table that the catalog has never had.
    Unseen(TableName),
    /// Anything else.
    Other(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::Other(error)
    }
}

/// The log as it arrives.
struct Stream<'o> {
    options: &'o Options,
    dump: Dump,
    decoder: Decoder,
    transactions: Transactions,
    title: String,
    saved_at: Instant,
    reported_at: Option<Instant>,
    reported_snapshot: bool,
    /// When something came, as long as a snapshot is taken.
    heard_at: Instant,
    /// Beats once the snapshot is complete.
    heart: Option<Heart>,
}

impl<'o> Stream<'o> {
    fn new(options: &'o Options, dump: Dump, server: &Server, transactions: Transactions) -> Self {
        Stream {
            options,
            dump,
            decoder: Decoder::new(server.flavor()),
            transactions,
            title: server.title(),
            saved_at: Instant::now(),
            reported_at: None,
            reported_snapshot: false,
            heard_at: Instant::now(),
            heart: None,
        }
    }

    fn follow(&mut self, intake: &mut dyn Intake) -> Result<(), Failed> {
        let result = self.follow_events(intake);
        if result.is_err() {
            // What was read of an open transaction will be read again.
            self.transactions.discard(intake)?;
        }
        match self.transactions.tables.take_unseen() {
            Some(name) => Err(Failed::Unseen(name)),
            None => result,
        }
    }

    fn follow_events(&mut self, intake: &mut dyn Intake) -> Result<(), Failed> {
        loop {
            if !self.dump.has_buffered_event() {
                self.rest(intake)?;
            }
            if self.transactions.is_between() && self.asked(intake)? {
                return Err(Failed::Asked);
            }
            if intake.stopping() && self.transactions.is_between() {
                self.transactions.save_position(intake)?;
                return Ok(intake.flush()?);
            }
            self.transactions.poll_snapshot(intake)?;
            let is_read = self.transactions.snapshot.is_none() && self.transactions.is_between();
            if is_read && self.options.snapshot == SnapshotMode::InitialOnly {
                self.transactions.save_position(intake)?;
                return Ok(intake.flush()?);
            }
            if !self.has_arrived()? {
                continue;
            }
            let raw = match self.dump.next_event() {
                Ok(Some(raw)) => raw,
                Ok(None) => return Err(self.ended_by_server()),
                Err(error) => return Err(failed(&self.options.name, error)),
            };
            let (header, event) = match self.decoder.event(raw) {
                Ok(decoded) => decoded,
                Err(error) => return Err(self.transactions.next_undecodable(error).into()),
            };
            let is_idle = matches!(event, Event::Heartbeat { .. });
            self.transactions.event(&header, event, intake)?;
            if is_idle {
                self.transactions.save_position(intake)?;
            }
        }
    }

    /// Whether a snapshot was asked for, or is needed. What is to be read is in the journal then.
    fn asked(&mut self, intake: &mut dyn Intake) -> Result<bool> {
        if self.transactions.snapshot_is_stale {
            self.transactions.save_position(intake)?;
            return intake.flush().map(|()| true);
        }
        let Some(patterns) = intake.snapshot_request() else { return Ok(false) };
        let asked = match Filter::new(Choice { tables: &patterns, ..Choice::default() }, &SYSTEM_DATABASES) {
            Ok(filter) => {
                let wanted = |schema: &Schema| filter.captures(&schema.database, &schema.table);
                self.transactions.tables.read_again(wanted, intake)
            }
            Err(_) => 0,
        };
        if asked == 0 {
            tracing::warn!(
                source = self.options.name,
                ?patterns,
                "no captured table matches the snapshot that was asked for"
            );
            return Ok(false);
        }
        self.transactions.save_position(intake)?;
        intake.flush()?;
        Ok(true)
    }

    /// How long the server may say nothing at all.
    fn silence_max(&self) -> Duration {
        self.options.connection.read_timeout.unwrap_or(SILENCE).max(self.options.heartbeat * 3)
    }

    /// Beside a snapshot: waits for the log and for the snapshot's chunks. Answers whether the log is to be read next, which
    /// is so too when the server has long been silent: the read then waits as long again before it fails.
    fn has_arrived(&mut self) -> Result<bool, Failed> {
        let Some(snapshot) = &self.transactions.snapshot else { return Ok(true) };
        let mut has_arrived = self.dump.has_buffered_event() || !self.transactions.is_between();
        if !has_arrived {
            let waited = self.dump.wait(snapshot.bell(), SNAPSHOT_WAIT);
            has_arrived = waited.map_err(|error| failed(&self.options.name, error))?;
        }
        if has_arrived {
            self.heard_at = Instant::now();
        }
        Ok(has_arrived || self.heard_at.elapsed() > self.silence_max())
    }

    /// Nothing more has arrived: what there is becomes visible.
    fn rest(&mut self, intake: &mut dyn Intake) -> Result<()> {
        let now = Instant::now();
        // Every one of them would cost an entry of the journal, so a stream of other tables' transactions saves some.
        if now.duration_since(self.saved_at) >= POSITION_SAVE {
            self.saved_at = now;
            self.transactions.save_position(intake)?;
        }
        intake.flush()?;
        let snapshotting = self.transactions.snapshot.is_some();
        if self.heart.is_none() && !snapshotting {
            self.heart = beat(self.options)?;
        }
        let due = self.reported_at.is_none_or(|at| now.duration_since(at) >= REPORT);
        if due || snapshotting != self.reported_snapshot {
            (self.reported_at, self.reported_snapshot) = (Some(now), snapshotting);
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

    fn ended_by_server(&self) -> Failed {
        Failed::Other(Error::reconnect(format!("source {}: the server ended the stream", self.options.name)))
    }
}

fn failed(source: &str, error: wire::Error) -> Failed {
    match error.server() {
        Some(refusal) if refusal.code == 1236 => {
            Failed::Refused(Refusal::of(&refusal.message), failure::of_connection(source, error))
        }
        _ => Failed::Other(failure::of_connection(source, error)),
    }
}
