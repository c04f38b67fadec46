//! Messages of the plugin become transactions of the journal.
//!
//! Invariant: whatever ends a transaction moves the position past it, in the same append as its changes; what a snapshot
//! holds already is left out. Start at [`Transactions::message`].

use super::catalogue::Catalogue;
use super::config::Options;
use super::decode::{Commit, Logical, Message, Old, RowError, Truncate, Tuple};
use super::lsn::Lsn;
use super::position::Position;
use super::snapshot::Snapshot;
use super::tables::{Captured, Mapped, Tables};
use crate::filter::Names;
use headwater_model::calendar::now_us;
use headwater_model::change::Message as LogMessage;
use headwater_model::source::{Committed, Edges, Intake, SidePart};
use headwater_model::transaction::put_header;
use headwater_model::{Error, Op, Origin, Result, Row, TransactionBuilder, TransactionHeader};
use std::collections::VecDeque;

/// Transactions of captured tables that are remembered because the server may not show them yet.
const STREAMED_MAX: usize = 65_536;

/// The side segment of a transaction that is too large for memory.
const LARGE: &str = "large";

/// A transaction whose end has not been seen.
struct Open {
    xid: u32,
    commit_lsn: Lsn,
    commit_us: i64,
    origin: String,
    origin_lsn: u64,
}

/// The stream between messages and journal.
pub struct Transactions {
    source: String,
    bytes_max: usize,
    message_prefixes: Names,
    /// The tables of the stream.
    pub tables: Tables,
    /// The snapshot that is being taken beside it.
    pub snapshot: Option<Snapshot>,
    /// The transactions that were streamed last.
    streamed: VecDeque<u32>,
    position: Position,
    open: Option<Open>,
    changes: TransactionBuilder,
    /// Part of the open transaction has left memory.
    is_spilled: bool,
    /// The position has moved since anything was appended.
    moved: bool,
    /// Something was appended that is not flushed yet.
    appended: bool,
    header: Vec<u8>,
    encoded: Vec<u8>,
    keys: [Vec<u8>; 2],
}

impl Transactions {
    /// Begins after `position`; `streamed` are the transactions that were streamed last, by this process.
    pub fn new(options: &Options, tables: Tables, position: Position, streamed: VecDeque<u32>) -> Self {
        Transactions {
            source: options.name.clone(),
            bytes_max: options.transaction_bytes_max,
            message_prefixes: options.message_prefixes.clone(),
            tables,
            snapshot: None,
            streamed,
            position,
            open: None,
            changes: TransactionBuilder::default(),
            is_spilled: false,
            moved: false,
            appended: false,
            header: Vec::new(),
            encoded: Vec::new(),
            keys: [Vec::new(), Vec::new()],
        }
    }

    /// The end of what was read whole.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The transactions that were streamed last.
    pub fn streamed(&self) -> &VecDeque<u32> {
        &self.streamed
    }

    /// Writes the chunks of the snapshot for which the log was read far enough.
    pub fn poll_snapshot(&mut self, intake: &mut dyn Intake) -> Result<()> {
        let Some(snapshot) = self.snapshot.as_mut().filter(|_| self.open.is_none()) else { return Ok(()) };
        snapshot.poll(intake, self.position.lsn)?;
        if snapshot.is_finished() {
            let (rows, _) = snapshot.rows();
            tracing::info!(source = self.source, rows, "the snapshot is complete");
            self.snapshot = None;
        }
        Ok(())
    }

    /// Whether the stream stands between two transactions.
    pub fn is_between(&self) -> bool {
        self.open.is_none()
    }

    /// Takes the next message, which stands at `place` of the log.
    ///
    /// # Errors
    /// Whatever cannot be followed stops the source, naming place and table; errors of `intake` pass through.
    #[inline]
    pub fn message(
        &mut self,
        place: Lsn,
        message: Message<'_>,
        catalogue: &mut Catalogue,
        intake: &mut dyn Intake,
    ) -> Result<()> {
        match message {
            Message::Insert { relation, new, .. } => self.insert(place, relation, new)?,
            Message::Update { relation, old, new, .. } => self.update(place, relation, old, new)?,
            Message::Delete { relation, old, .. } => self.delete(place, relation, old)?,
            Message::Begin { final_lsn, commit_us, xid } => {
                if self.open.is_some() {
                    return Err(self.stop(place, "a transaction begins before the one before it has ended"));
                }
                let commit_lsn = Lsn(final_lsn);
                self.open = Some(Open { xid, commit_lsn, commit_us, origin: String::new(), origin_lsn: 0 });
            }
            Message::Commit(commit) => return self.commit(place, commit, intake),
            Message::Relation(relation) => {
                self.tables.relation(&relation, catalogue, intake)?;
                if let Some(snapshot) = &mut self.snapshot
                    && let Some(schema) = self.tables.latest(relation.namespace, relation.name)
                {
                    snapshot.follow(schema)?;
                }
            }
            Message::Origin { lsn, name } => {
                let Some(open) = &mut self.open else {
                    return Err(self.stop(place, "an origin stands outside a transaction"));
                };
                (open.origin, open.origin_lsn) = (name.to_owned(), lsn);
            }
            // What a type is comes from the catalogue, with the relation that uses it.
            Message::Type { .. } => {}
            Message::Truncate(truncate) => self.truncate(place, truncate)?,
            Message::Logical(logical) => return self.logical(logical, intake),
            Message::StreamStart { .. }
            | Message::StreamStop
            | Message::StreamCommit { .. }
            | Message::StreamAbort { .. }
            | Message::StreamPrepare(_)
            | Message::BeginPrepare(_)
            | Message::Prepare(_)
            | Message::CommitPrepared { .. }
            | Message::RollbackPrepared { .. } => {
                return Err(self.stop(place, "the server sends a kind of transaction that was not asked for"));
            }
        }
        if self.changes.len() > self.bytes_max { self.spill(intake) } else { Ok(()) }
    }

    fn insert(&mut self, place: Lsn, relation: u32, new: Tuple<'_>) -> Result<()> {
        let captured = captured(&mut self.tables, self.open.as_ref(), &self.source, place, relation)?;
        let Some(captured) = captured else { return Ok(()) };
        if !captured.is_whole {
            self.changes.set_partial();
        }
        let out = self.changes.begin(Op::Create, captured.schema, place.0, 0);
        captured.plan.row(new.cells(), out).map_err(|error| unreadable(&self.source, place, error))?;
        self.changes.end(Op::Create, captured.schema, false);
        Ok(())
    }

    fn update(&mut self, place: Lsn, relation: u32, old: Option<Old<'_>>, new: Tuple<'_>) -> Result<()> {
        let captured = captured(&mut self.tables, self.open.as_ref(), &self.source, place, relation)?;
        let Some(captured) = captured else { return Ok(()) };
        if !captured.is_whole {
            self.changes.set_partial();
        }
        let unreadable = |error| unreadable(&self.source, place, error);
        let out = self.changes.begin(Op::Update, captured.schema, place.0, 0);
        let start = out.len();
        captured.plan.old_row(old, out).map_err(unreadable)?;
        let middle = out.len();
        captured.plan.new_row(old, &new, out).map_err(unreadable)?;
        // Without an old row the identity has not changed.
        let key_changed = old.is_some() && {
            let [before, after] = &mut self.keys;
            key_of(&out[start..middle], &captured.key, before);
            key_of(&out[middle..], &captured.key, after);
            before != after
        };
        self.changes.end(Op::Update, captured.schema, key_changed);
        Ok(())
    }

    fn delete(&mut self, place: Lsn, relation: u32, old: Old<'_>) -> Result<()> {
        let captured = captured(&mut self.tables, self.open.as_ref(), &self.source, place, relation)?;
        let Some(captured) = captured else { return Ok(()) };
        if !captured.is_whole {
            self.changes.set_partial();
        }
        let out = self.changes.begin(Op::Delete, captured.schema, place.0, 0);
        let old = captured.plan.old_row(Some(old), out);
        old.map_err(|error| unreadable(&self.source, place, error))?;
        self.changes.end(Op::Delete, captured.schema, false);
        Ok(())
    }

    fn truncate(&mut self, place: Lsn, truncate: Truncate<'_>) -> Result<()> {
        for (number, relation) in truncate.relations().enumerate() {
            let captured = captured(&mut self.tables, self.open.as_ref(), &self.source, place, relation)?;
            let Some(captured) = captured else { continue };
            let schema = captured.schema;
            if let Some(snapshot) = &mut self.snapshot {
                snapshot.emptied(schema);
            }
            self.changes.begin(Op::Truncate, schema, place.0, number as u32);
            self.changes.end(Op::Truncate, schema, false);
        }
        Ok(())
    }

    /// A message that is part of no transaction stands for itself, and is sent as soon as the server reads it.
    fn logical(&mut self, logical: Logical<'_>, intake: &mut dyn Intake) -> Result<()> {
        let message =
            LogMessage { prefix: logical.prefix, content: logical.content, transactional: logical.transactional };
        let place = Lsn(logical.lsn);
        let is_wanted = self.message_prefixes.takes(logical.prefix);
        match (logical.transactional, &self.open) {
            (true, Some(_)) if !is_wanted => Ok(()),
            (false, None) if !is_wanted => {
                self.advance(place);
                Ok(())
            }
            (true, Some(_)) => {
                self.changes.message(place.0, &message);
                if self.changes.len() > self.bytes_max { self.spill(intake) } else { Ok(()) }
            }
            (false, None) => {
                self.changes.message(place.0, &message);
                self.advance(place);
                self.position.last_commit = place;
                let now = now_us();
                let origin = Origin::Wal {
                    xid: 0,
                    commit_lsn: place.0,
                    end_lsn: place.0,
                    previous_lsn: place.0,
                    origin: "",
                    origin_lsn: 0,
                };
                self.encode(&TransactionHeader { commit_us: now, receive_us: now, origin });
                self.append(intake)
            }
            (true, None) => Err(self.stop(place, "a transaction's message stands outside a transaction")),
            (false, Some(_)) => Err(self.stop(place, "a message of no transaction stands inside one")),
        }
    }

    /// The transaction ends well.
    fn commit(&mut self, place: Lsn, commit: Commit, intake: &mut dyn Intake) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Err(self.stop(place, "a commit stands outside a transaction"));
        };
        let previous = self.position.last_commit;
        self.advance(Lsn(commit.end_lsn));
        self.position.last_commit = Lsn(commit.end_lsn);
        // Debezium shows every transaction that the server sends, whatever is captured of it.
        let is_shown = intake.shows_told_edges();
        if self.changes.is_empty() && !self.is_spilled && !self.tables.has_news() && !is_shown {
            return Ok(());
        }
        if self.is_spilled {
            self.announce(intake)?;
        }
        self.streamed.push_back(open.xid);
        if self.streamed.len() > STREAMED_MAX {
            self.streamed.pop_front();
        }
        self.encode(&TransactionHeader {
            commit_us: open.commit_us,
            receive_us: now_us(),
            origin: Origin::Wal {
                xid: open.xid,
                commit_lsn: commit.lsn,
                end_lsn: commit.end_lsn,
                previous_lsn: previous.0,
                origin: &open.origin,
                origin_lsn: open.origin_lsn,
            },
        });
        fail::fail_point!("postgres::commit");
        self.append_transaction(Some(open.xid), intake)
    }

    /// Nothing of the open transaction happened; it will be read again.
    pub fn discard(&mut self, intake: &mut dyn Intake) -> Result<()> {
        self.changes.clear();
        self.open = None;
        match std::mem::take(&mut self.is_spilled) {
            true => intake.abort_side(LARGE),
            false => Ok(()),
        }
    }

    /// The server has read its log up to `end`, and has sent all that was committed before.
    pub fn heard(&mut self, end: Lsn) {
        if self.open.is_none() && end > self.position.lsn {
            self.advance(end);
        }
    }

    /// Whether anything was appended since this was asked last.
    pub fn take_appended(&mut self) -> bool {
        std::mem::take(&mut self.appended)
    }

    /// Has the position appended even where it has not moved: it is a new one.
    pub fn keep_position(&mut self) {
        self.moved = true;
    }

    /// Appends the position alone, if it has moved since the last append.
    pub fn save_position(&mut self, intake: &mut dyn Intake) -> Result<bool> {
        if (!self.moved && !self.tables.has_news()) || self.open.is_some() {
            return Ok(false);
        }
        let now = now_us();
        self.encode(&TransactionHeader { commit_us: now, receive_us: now, origin: Origin::Headwater });
        self.append(intake)?;
        Ok(true)
    }

    /// Moves what was collected into the transaction's side segment.
    fn spill(&mut self, intake: &mut dyn Intake) -> Result<()> {
        self.announce(intake)?;
        self.is_spilled = true;
        let xid = self.open.as_ref().map_or(0, |open| open.xid);
        let changes = adjusted(&mut self.snapshot, &self.tables, &self.changes, xid)?;
        intake.spill(&SidePart { id: LARGE }, changes)?;
        self.changes.clear();
        Ok(())
    }

    /// Makes new schemas known before changes that have them leave memory.
    fn announce(&mut self, intake: &mut dyn Intake) -> Result<()> {
        if self.tables.new_schemas().is_empty() {
            return Ok(());
        }
        let mut header = Vec::new();
        let now = now_us();
        put_header(&mut header, &TransactionHeader { commit_us: now, receive_us: now, origin: Origin::Headwater });
        intake.append(&Committed {
            header: &header,
            changes: &TransactionBuilder::default(),
            // Empty: the position stays where it is.
            position: &[],
            state: &[],
            schemas: self.tables.new_schemas(),
            derived: false,
        })?;
        self.tables.announced();
        Ok(())
    }

    fn advance(&mut self, end: Lsn) {
        self.moved |= self.position.lsn != end;
        self.position.lsn = self.position.lsn.max(end);
    }

    fn encode(&mut self, header: &TransactionHeader<'_>) {
        self.header.clear();
        put_header(&mut self.header, header);
        self.encoded.clear();
        self.position.encode(&mut self.encoded);
    }

    fn append(&mut self, intake: &mut dyn Intake) -> Result<()> {
        self.append_transaction(None, intake)
    }

    /// `xid`: what is appended began and ended as this transaction in the log.
    fn append_transaction(&mut self, xid: Option<u32>, intake: &mut dyn Intake) -> Result<()> {
        let committed = Committed {
            header: &self.header,
            changes: adjusted(&mut self.snapshot, &self.tables, &self.changes, xid.unwrap_or(0))?,
            position: &self.encoded,
            state: self.tables.new_state(),
            schemas: self.tables.new_schemas(),
            derived: false,
        };
        match self.is_spilled {
            true => intake.append_side(LARGE, &committed)?,
            false if xid.is_some() => intake.append_told(&committed, Edges { begin: true, end: true })?,
            false => intake.append(&committed)?,
        }
        self.changes.clear();
        self.is_spilled = false;
        self.tables.saved();
        (self.moved, self.appended) = (false, true);
        Ok(())
    }

    fn stop(&self, place: Lsn, what: &str) -> Error {
        stop(&self.source, place, what)
    }
}

/// The changes of the transaction `xid` as they must stand in the journal, beside the snapshot if one is being taken.
fn adjusted<'c>(
    snapshot: &'c mut Option<Snapshot>,
    tables: &Tables,
    changes: &'c TransactionBuilder,
    xid: u32,
) -> Result<&'c TransactionBuilder> {
    match snapshot {
        Some(snapshot) => snapshot.adjust(changes, xid, &|change| tables.key_changed(change)),
        None => Ok(changes),
    }
}

fn stop(source: &str, place: Lsn, what: &str) -> Error {
    Error::stop(format!("source {source}: at {place} of the log {what}"))
}

fn unreadable(source: &str, place: Lsn, error: RowError) -> Error {
    stop(source, place, "a row cannot be read").source(error)
}

/// The table of a row; `None` when it is not captured, or a snapshot holds what the open transaction did to it.
#[inline]
fn captured<'t>(
    tables: &'t mut Tables,
    open: Option<&Open>,
    source: &str,
    place: Lsn,
    relation: u32,
) -> Result<Option<&'t mut Captured>> {
    let Some(open) = open else { return Err(stop(source, place, "a row stands outside a transaction")) };
    match tables.mapped(relation) {
        Some(Mapped::Captured(captured)) => Ok((open.commit_lsn >= captured.read_as_of).then_some(captured)),
        Some(Mapped::Ignored) => Ok(None),
        None => {
            let what = format!("no relation has the number {relation} that a row refers to");
            Err(stop(source, place, &what))
        }
    }
}

/// The key of an encoded row.
fn key_of(row: &[u8], key: &[u16], into: &mut Vec<u8>) {
    into.clear();
    if let Some(row) = Row::decode(&mut &row[..]) {
        row.encode_key(key, into);
    }
}
