//! From events to whole transactions: what belongs together, what was rolled back, what is committed when.
//!
//! Invariant: the position moves only at the end of a transaction, and together with its changes; nothing of a
//! transaction reaches the journal's readers before its commit was seen. Start at [`Transactions::event`]; the ends of a
//! transaction are in `commit`.

use super::commit::{Open, Prepared, Savepoint, Txid};
use super::decode::{Charsets, DecodeError, Event, EventHeader, Gtid, MariaGtidEvent, Query, RowsEvent};
use super::failure;
use super::position::{Gtids, LogPlace, Position};
use super::snapshot::Snapshot;
use super::statement::{Changes, Statement};
use super::tables::{Mapped, Tables};
use super::xa::LookBack;
use headwater_model::change::{Change, IMPLIED_TRUNCATE_ROW};
use headwater_model::source::{Intake, SidePart};
use headwater_model::{Error, Op, Result, TransactionBuilder};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes of a statement's text that are kept with its changes; it is there for people.
const STATEMENT_BYTES_MAX: usize = 64 << 10;

/// The number in rows events that only say "the statement ends here".
const DUMMY_TABLE_ID: u64 = 0xff_ffff;

/// The side segment of a transaction that outgrew memory.
const LARGE: &str = "large";

/// Follows a log from one commit to the next.
pub struct Transactions {
    pub(super) source: String,
    pub(super) bytes_max: usize,
    pub(super) keeps_statements: bool,
    pub(super) charsets: Arc<Charsets>,
    /// The tables of the log.
    pub tables: Tables,
    /// The end of the last transaction.
    pub(super) position: Position,
    /// Where the event at hand begins and ends.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) file: String,
    pub(super) open: Option<Open>,
    pub(super) changes: TransactionBuilder,
    /// The side segment that holds the open transaction's first part.
    pub(super) side: Option<String>,
    pub(super) savepoints: Vec<Savepoint>,
    statement: String,
    statement_is_due: bool,
    /// XA transactions whose changes wait in side segments.
    pub(super) prepared: Prepared,
    /// The changes of those that were prepared while tables are being read; `bytes_max` at most.
    pub kept: BTreeMap<String, TransactionBuilder>,
    /// The tables of an XA transaction's changes in `side`, which stand there as the log has them.
    pub(super) side_tables: BTreeSet<String>,
    /// The tables that are being read, if any.
    pub snapshot: Option<Snapshot>,
    /// The snapshot must be begun again: what it knows of the journal is wrong, or there is more to read.
    pub snapshot_is_stale: bool,
    /// Where an idle server said that its log ends.
    heard: LogPlace,
    /// The number of the last row of captured tables: Debezium shows it with a TRUNCATE, which has none of its own.
    last_row: u32,
    /// The position has moved since anything was appended.
    pub(super) moved: bool,
    /// Set while the log before the first position is read, for XA transactions alone.
    pub(super) looking_back: Option<LookBack>,
    pub(super) header: Vec<u8>,
    pub(super) encoded: Vec<u8>,
    pub(super) gtid: String,
}

/// What is set once.
pub struct Settings {
    /// The source's name.
    pub source: String,
    /// Bytes of a transaction kept in memory.
    pub bytes_max: usize,
    /// Whether the texts of statements go into the journal.
    pub keeps_statements: bool,
    /// The server's character sets.
    pub charsets: Arc<Charsets>,
}

impl Transactions {
    /// Begins after `position`. `prepared` are the XA transactions that wait in side segments.
    pub fn new(settings: Settings, tables: Tables, position: Position, prepared: Prepared) -> Self {
        Transactions {
            source: settings.source,
            bytes_max: settings.bytes_max,
            keeps_statements: settings.keeps_statements,
            charsets: settings.charsets,
            tables,
            start: position.offset,
            end: position.offset,
            file: position.file.clone(),
            position,
            open: None,
            changes: TransactionBuilder::default(),
            side: None,
            savepoints: Vec::new(),
            statement: String::new(),
            statement_is_due: false,
            prepared,
            kept: BTreeMap::new(),
            side_tables: BTreeSet::new(),
            snapshot: None,
            snapshot_is_stale: false,
            heard: LogPlace::default(),
            last_row: 0,
            moved: false,
            looking_back: None,
            header: Vec::new(),
            encoded: Vec::new(),
            gtid: String::new(),
        }
    }

    /// The end of the last transaction that was read whole.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Whether the log stands between two transactions.
    pub fn is_between(&self) -> bool {
        self.open.is_none()
    }

    /// Takes the next event of the log.
    ///
    /// # Errors
    /// Whatever cannot be followed stops the source, naming file, offset and table; errors of `intake` pass through.
    pub fn event(&mut self, header: &EventHeader, event: Event<'_>, intake: &mut dyn Intake) -> Result<()> {
        self.move_to(header, &event);
        match event {
            Event::Payload(mut payload) => {
                while let Some((inner, event)) = payload.next_event().map_err(|error| self.undecodable(error))? {
                    self.plain_event(&inner, event, intake)?;
                    // The events inside have no positions of their own; counted up, their rows can be told apart.
                    self.start += 1;
                }
                Ok(())
            }
            event => self.plain_event(header, event, intake),
        }
    }

    /// `file:offset` of the event at hand.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file, self.start)
    }

    /// Names the event at hand, which cannot be decoded.
    fn undecodable(&self, error: DecodeError) -> Error {
        failure::of_event(&self.source, &self.place(), error)
    }

    /// Names the next event, which cannot be decoded.
    pub fn next_undecodable(&self, error: DecodeError) -> Error {
        failure::of_event(&self.source, &format!("{}:{}", self.file, self.end), error)
    }

    fn plain_event(&mut self, header: &EventHeader, event: Event<'_>, intake: &mut dyn Intake) -> Result<()> {
        if self.looking_back.is_some() {
            return self.look_back_at(header, event, intake);
        }
        self.follow(header, event, intake)
    }

    /// Takes an event that stands on its own.
    pub(super) fn follow(&mut self, header: &EventHeader, event: Event<'_>, intake: &mut dyn Intake) -> Result<()> {
        match event {
            Event::Rows(rows) => self.rows(&rows, intake),
            Event::TableMap(map) => {
                let place = format_args!("{}:{}", self.file, self.start);
                self.tables.map(&map, place)?;
                // A definition that the map corrected is news to the snapshot too.
                if self.snapshot.is_some() && self.tables.has_news() { self.follow_definitions() } else { Ok(()) }
            }
            Event::Gtid(gtid) | Event::AnonymousGtid(gtid) => self.begin(self.opened(header, &gtid)),
            Event::MariaGtid(gtid) => self.begin(self.opened_mariadb(header, &gtid)),
            Event::Query(query) => self.query(header, &query, intake),
            Event::Xid(number) => self.commit(header, number, intake),
            Event::XaPrepare { one_phase: true, .. } => self.commit(header, 0, intake),
            Event::XaPrepare { xid, .. } => self.prepare(header, &xid.literal().to_ascii_lowercase(), intake),
            Event::RowsQuery(text) => {
                self.remember_statement(&text);
                Ok(())
            }
            Event::FormatDescription(format) => self.file_begins(format.created != 0, intake),
            // MariaDB sends one that lies before the GTID that was asked for, each time that its file is read again.
            Event::Incident { .. } if self.here().order_in_log(&self.position).is_le() => Ok(()),
            Event::Incident { message, .. } => Err(self.incident(&message)),
            Event::LoadData => Err(self.unshown_changes("LOAD DATA", None)),
            Event::Payload(_) => unreachable!("the decoder refuses a payload inside a payload"),
            Event::Rotate { .. }
            | Event::PreviousGtids(_)
            | Event::MariaGtidList(_)
            | Event::Heartbeat { .. }
            | Event::StatementContext
            | Event::Stop
            | Event::BinlogCheckpoint { .. }
            | Event::Ignorable => Ok(()),
        }
    }

    fn move_to(&mut self, header: &EventHeader, event: &Event<'_>) {
        match event {
            Event::Rotate { position, file } => {
                if self.file != *file {
                    self.file = (*file).to_owned();
                }
                (self.start, self.end) = (*position, *position);
            }
            Event::Heartbeat { file, position } => {
                self.heard = LogPlace { file: (*file).to_owned(), offset: *position };
                // Without GTIDs the position is a place, and the log goes on to its next file without a transaction.
                if self.open.is_none() && self.position.gtids == Gtids::None {
                    self.moved |= self.position.file != *file || self.position.offset != *position;
                    (self.position.file, self.position.offset) = ((*file).to_owned(), *position);
                }
            }
            _ if header.end_position == 0 || header.artificial() => self.start = self.end,
            _ => {
                self.end = unwrapped(self.end, header.end_position);
                self.start = self.end.saturating_sub(u64::from(header.length));
            }
        }
    }

    pub(super) fn opened(&self, header: &EventHeader, gtid: &Gtid<'_>) -> Open {
        let txid = match gtid.gno {
            0 => Txid::None,
            _ => Txid::MySql { tag: gtid.tag.into(), number: gtid.gno, uuid: super::gtid::Uuid(gtid.sid) },
        };
        let commit_us = i64::try_from(gtid.immediate_commit_us).unwrap_or(0);
        Open::new(txid, header.server_id, self.start, commit_us)
    }

    pub(super) fn opened_mariadb(&self, header: &EventHeader, event: &MariaGtidEvent<'_>) -> Open {
        let mut open = Open::new(Txid::MariaDb(event.gtid), header.server_id, self.start, 0);
        open.thread = event.thread.map_or(0, u64::from);
        // Its GTID stands for BEGIN, unless one event is all there is.
        open.began = !event.standalone();
        if event.prepares_xa() {
            open.xa = event.xid.map(|xid| xid.literal().to_ascii_lowercase());
        }
        open
    }

    fn begin(&mut self, open: Open) -> Result<()> {
        if self.open.is_some() {
            return Err(self.stop("a transaction begins before the one before it has ended").hint(
                "The log is damaged, or the server writes it in a way that is not known here; check it with mysqlbinlog.",
            ));
        }
        self.open = Some(open);
        Ok(())
    }

    fn rows(&mut self, rows: &RowsEvent<'_>, intake: &mut dyn Intake) -> Result<()> {
        if self.open.is_none() {
            return Err(self.stop("rows stand outside a transaction"));
        }
        let plan = match self.tables.mapped(rows.table_id) {
            Some(Mapped::Captured(plan)) => plan,
            Some(Mapped::Ignored) => return Ok(()),
            None if rows.table_id == DUMMY_TABLE_ID => return Ok(()),
            None => return Err(self.stop(format!("no table has the number {} that rows refer to", rows.table_id))),
        };
        if self.statement_is_due {
            self.statement_is_due = false;
            self.changes.statement(&self.statement);
        }
        let earlier = self.changes.changes();
        if let Err(error) = rows.transcode(plan, self.start, &mut self.changes) {
            return Err(self.undecodable(error));
        }
        let read = self.changes.changes().wrapping_sub(earlier);
        self.last_row = read.checked_sub(1).unwrap_or(self.last_row);
        if self.changes.len() > self.bytes_max {
            self.spill(intake)?;
        }
        Ok(())
    }

    /// Moves what was collected into the transaction's side segment.
    pub(super) fn spill(&mut self, intake: &mut dyn Intake) -> Result<()> {
        self.announce_before_side(intake)?;
        let xa = self.open.as_ref().and_then(|open| open.xa.as_deref());
        let side = self.side.get_or_insert_with(|| xa.map_or_else(|| LARGE.to_owned(), side_of_xa));
        let changes = match &mut self.snapshot {
            // What becomes of an XA transaction may be said much later: see `read_instead`.
            _ if xa.is_some() => {
                let schemas = self.changes.tallies().iter().map(|tally| tally.schema).collect();
                self.side_tables.append(&mut self.tables.names(&schemas));
                &self.changes
            }
            None => &self.changes,
            Some(snapshot) => {
                let key_changed = |change: &Change<'_>| self.tables.key_changed(change);
                snapshot.adjust(&self.changes, (&self.file, self.end), &key_changed)?
            }
        };
        intake.spill(&SidePart { id: side }, changes)?;
        self.changes.clear();
        // Each part is read on its own, so the statement is said again.
        self.statement_is_due = !self.statement.is_empty();
        for savepoint in &mut self.savepoints {
            savepoint.is_spilled = true;
        }
        Ok(())
    }

    fn remember_statement(&mut self, text: &str) {
        if self.keeps_statements {
            self.statement.clear();
            self.statement.push_str(&text[..text.floor_char_boundary(STATEMENT_BYTES_MAX)]);
            self.statement_is_due = true;
        }
    }

    pub(super) fn forget_statement(&mut self) {
        self.statement.clear();
        self.statement_is_due = false;
    }

    fn query(&mut self, header: &EventHeader, query: &Query<'_>, intake: &mut dyn Intake) -> Result<()> {
        let open = self.open.get_or_insert_with(|| Open::new(Txid::None, header.server_id, self.start, 0));
        if &*query.sql == b"BEGIN" {
            (open.began, open.thread) = (true, u64::from(query.thread));
            return Ok(());
        }
        // A client may send binary, or a character set that is not known here, and UTF-8 all the same.
        let text = query.text(&self.charsets).or_else(|| std::str::from_utf8(&query.sql).ok().map(Cow::Borrowed));
        let is_text = text.is_some();
        let text = text.unwrap_or_else(|| String::from_utf8_lossy(&query.sql));
        let statement = Statement::read(&text);
        // A BEGIN tells the session, and so does a statement that is a transaction of its own. What ends a transaction may
        // come from another session than its changes: that of an XA transaction need not be the one that prepared it.
        if statement == Statement::Begin || !open.began && !statement.is_xa() {
            open.thread = u64::from(query.thread);
        }
        if !is_text && statement == Statement::Definition && self.tables.filter().touches(query.database) {
            return Err(self.stop("a statement about tables is not in the character set that it claims").hint(
                "If it changed a captured table, take a new snapshot after it; please report the client's character set.",
            ));
        }
        match statement {
            Statement::Begin => self.opened_mut(|open| open.began = true),
            Statement::XaStart(id) => self.opened_mut(|open| {
                open.began = true;
                open.xa = Some(id);
            }),
            Statement::Commit => return self.commit(header, 0, intake),
            Statement::Rollback => return self.roll_back(header, intake),
            Statement::Savepoint(name) => self.set_savepoint(name),
            Statement::RollbackTo(name) => self.roll_back_to(&name)?,
            Statement::XaCommit(id) => return self.commit_prepared(header, &id, intake),
            Statement::XaRollback(id) => return self.roll_back_prepared(header, &id, intake),
            Statement::Changes(changes) => self.statement_format(query.database, &changes)?,
            Statement::Definition => {
                let place = format_args!("{}:{}", self.file, self.start);
                for (schema, is_told) in self.tables.define(query, &text, place)? {
                    self.truncate(schema, is_told);
                }
                self.follow_definitions()?;
            }
            Statement::Other => {}
        }
        // Without a BEGIN the statement is the whole transaction.
        if self.open.as_ref().is_some_and(|open| !open.began) {
            let xid = query.session.ddl_xid.unwrap_or(0);
            return self.commit(header, xid, intake);
        }
        Ok(())
    }

    /// Tells the snapshot which of its tables have another shape now.
    fn follow_definitions(&mut self) -> Result<()> {
        let Some(snapshot) = &mut self.snapshot else { return Ok(()) };
        for old in snapshot.shapes() {
            let new = self.tables.shape(&old.database, &old.table).map(Arc::new);
            if new.as_ref().is_none_or(|new| new.id != old.id) {
                snapshot.table_changed(old.id, new.as_ref())?;
            }
        }
        Ok(())
    }

    /// Writes the chunks of the snapshot for which the log was read far enough.
    pub fn poll_snapshot(&mut self, intake: &mut dyn Intake) -> Result<()> {
        let Some(snapshot) = self.snapshot.as_mut().filter(|_| self.open.is_none()) else { return Ok(()) };
        let mut read_to = LogPlace { file: self.file.clone(), offset: self.end };
        if self.heard.reaches(&read_to) {
            read_to.clone_from(&self.heard);
        }
        snapshot.poll(intake, &read_to, &self.position.gtids)?;
        if snapshot.is_finished() {
            let (rows, _) = snapshot.rows();
            tracing::info!(source = self.source, rows, "the snapshot is complete");
            self.snapshot = None;
            self.kept.clear();
        }
        Ok(())
    }

    fn opened_mut(&mut self, change: impl FnOnce(&mut Open)) {
        if let Some(open) = &mut self.open {
            change(open);
        }
    }

    /// All rows are gone; `is_told` by a TRUNCATE.
    fn truncate(&mut self, schema: u32, is_told: bool) {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.emptied(schema);
        }
        let row = if is_told { self.last_row } else { IMPLIED_TRUNCATE_ROW };
        self.changes.begin(Op::Truncate, schema, self.start, row);
        self.changes.end(Op::Truncate, schema, false);
    }

    fn statement_format(&mut self, database: &str, changes: &Changes) -> Result<()> {
        let captured = |(named, table): &(Option<String>, String)| {
            let database = named.as_deref().unwrap_or(database);
            self.tables.filter().captures(database, table).then(|| format!("{database}.{table}"))
        };
        match &changes.tables {
            Some(tables) => match tables.iter().find_map(captured) {
                None => Ok(()),
                Some(_) if changes.empties => {
                    let (named, table) = &tables[0];
                    let database = named.as_deref().unwrap_or(database).to_owned();
                    if let Some(schema) = self.tables.schema_of(&database, table) {
                        self.truncate(schema, false);
                    }
                    Ok(())
                }
                Some(table) => Err(self.unshown_changes(&changes.verb, Some(&table))),
            },
            None if !self.tables.filter().touches(database) => Ok(()),
            None => Err(self.unshown_changes(&changes.verb, None)),
        }
    }

    /// A new file begins. After a crash of the server the transaction at the old one's end may have no end.
    fn file_begins(&mut self, server_was_started: bool, intake: &mut dyn Intake) -> Result<()> {
        self.tables.forget_numbers();
        if server_was_started && self.open.is_some() {
            tracing::warn!(
                source = self.source,
                place = self.place(),
                "the server crashed inside a transaction, which is dropped"
            );
            self.discard(intake)?;
        }
        Ok(())
    }

    fn incident(&self, message: &str) -> Error {
        self.stop("the server says that it lost changes").detail(format!("Its message: {message}")).hint(
            "Take a new snapshot of the captured tables (`headwater snapshot`), and look for the cause in the server's \
             error log.",
        )
    }

    fn unshown_changes(&self, verb: &str, table: Option<&str>) -> Error {
        let what = table.map_or_else(|| "captured tables".to_owned(), |table| format!("table {table}"));
        let article = if verb.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
        self.stop(format!(
            "{article} {verb} in statement format may have changed {what}, and the log does not show the rows"
        ))
        .hint(
            "Run SET GLOBAL binlog_format = 'ROW' (and in the sessions that override it), then take a new snapshot \
             (`headwater snapshot`).",
        )
    }

    /// An error that stops the source, and names where.
    pub(super) fn stop(&self, what: impl std::fmt::Display) -> Error {
        Error::stop(format!("source {}: {what}, at {}", self.source, self.place()))
    }
}

/// The side segment of an XA transaction.
pub(super) fn side_of_xa(id: &str) -> String {
    format!("xa {id}")
}

/// Headers hold the low 32 bits of a position; files may be larger.
fn unwrapped(last: u64, low: u32) -> u64 {
    let candidate = last & !u64::from(u32::MAX) | u64::from(low);
    if candidate < last { candidate + (1 << 32) } else { candidate }
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
