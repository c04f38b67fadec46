//! The ends of a transaction: commit, rollback, savepoints, and XA's prepare and its outcome.
//!
//! Invariant: whatever ends a transaction moves the position past it, in the same append as its changes. A prepared XA
//! transaction waits in a side segment of its own until the log says what became of it, however long that takes.

use super::decode::{EventHeader, MariaGtid};
use super::gtid::Uuid;
use super::position::Gtids;
use super::transaction::{Transactions, side_of_xa};
use headwater_model::calendar::now_us;
use headwater_model::change::{Change, Changes};
use headwater_model::source::{Committed, Edges, Intake, StateUpdate};
use headwater_model::transaction::put_header;
use headwater_model::{Op, Origin, Result, Row, TransactionBuilder, TransactionHeader};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// State keys of prepared XA transactions: a side segment without one was never prepared to the end. The value is the
/// tables that it changes, as JSON.
pub const XA_STATE: &str = "xa/";

/// XA transactions that wait for their outcome, and the tables that each changes.
pub type Prepared = BTreeMap<String, BTreeSet<String>>;

/// Savepoints that are remembered of one transaction.
const SAVEPOINTS_MAX: usize = 10_000;

/// A transaction's name in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Txid {
    /// GTIDs are off.
    None,
    /// MySQL's.
    MySql {
        /// Server that committed it first.
        uuid: Uuid,
        /// Tag, empty when none.
        tag: Box<str>,
        /// Number.
        number: u64,
    },
    /// MariaDB's.
    MariaDb(MariaGtid),
}

/// A transaction whose end has not been seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    pub txid: Txid,
    pub server_id: u32,
    /// Where its first event begins.
    pub start: u64,
    /// When it was committed; 0 when only its last event tells.
    pub commit_us: i64,
    pub thread: u64,
    /// A BEGIN was seen, so that an end will come.
    pub began: bool,
    /// It is an XA transaction with this id.
    pub xa: Option<String>,
}

impl Open {
    pub fn new(txid: Txid, server_id: u32, start: u64, commit_us: i64) -> Self {
        Open { txid, server_id, start, commit_us, thread: 0, began: false, xa: None }
    }

    /// The edges that Debezium takes from the log. MariaDB's GTID begins a transaction, also one that is a single statement and
    /// never ends; MySQL's BEGIN does, which neither a statement of its own nor an XA transaction has.
    fn told_edges(&self) -> Edges {
        let told = self.began && self.xa.is_none();
        Edges { begin: told || matches!(self.txid, Txid::MariaDb(_)), end: told }
    }
}

/// A place in the open transaction to which it may be rolled back.
pub struct Savepoint {
    pub name: String,
    /// Bytes of the changes before it.
    pub length: usize,
    /// What lay before it has left memory.
    pub is_spilled: bool,
}

impl Transactions {
    /// The transaction ends well.
    pub(super) fn commit(&mut self, header: &EventHeader, xid: u64, intake: &mut dyn Intake) -> Result<()> {
        let Some(open) = self.open.take() else { return Err(self.stop("a commit stands outside a transaction")) };
        self.advance(&open);
        let told = open.told_edges();
        let is_shown = told.begin && intake.shows_told_edges();
        if self.changes.is_empty() && self.side.is_none() && !self.tables.has_news() && !is_shown {
            self.ended();
            return Ok(());
        }
        let dropped = self.read_instead(intake);
        if self.side.is_some() {
            self.announce_before_side(intake)?;
        }
        self.encode(&open, header, xid);
        let changes = match &mut self.snapshot {
            None => &self.changes,
            Some(snapshot) => {
                let key_changed = |change: &Change<'_>| self.tables.key_changed(change);
                snapshot.adjust(&self.changes, (&self.file, self.end), &key_changed)?
            }
        };
        let committed = Committed {
            header: &self.header,
            changes,
            position: &self.encoded,
            state: self.tables.new_state(),
            schemas: self.tables.new_schemas(),
            derived: false,
        };
        fail::fail_point!("mysql::commit");
        match &self.side {
            Some(side) => intake.append_side(side, &committed)?,
            None => intake.append_told(&committed, told)?,
        }
        self.saved();
        dropped.map_or(Ok(()), |side| intake.abort_side(&side))
    }

    /// The side segment of an XA transaction holds its changes as the log has them: when they were put there, nobody knew
    /// which of the rows a snapshot would have written by the time of its commit. When its tables are under snapshot and its
    /// changes are no longer in memory, they are read again after it and compared with what the journal has of them.
    /// Answers the side segment, which is dropped once that is written.
    fn read_instead(&mut self, intake: &dyn Intake) -> Option<String> {
        let snapshot = self.snapshot.as_ref().filter(|_| !self.side_tables.is_empty())?;
        let mut touched = self.tables.names(&self.changes.tallies().iter().map(|tally| tally.schema).collect());
        touched.append(&mut self.side_tables);
        if !snapshot.reads_any(&touched) {
            return None;
        }
        tracing::info!(
            source = self.source, tables = ?touched,
            "an XA transaction was committed while its tables were being read; they are read again"
        );
        self.tables.read_again(|schema| touched.contains(&schema.full_name()), intake);
        self.changes.clear();
        self.snapshot_is_stale = true;
        self.side.take()
    }

    /// ROLLBACK: what the log holds of it did not happen.
    pub(super) fn roll_back(&mut self, header: &EventHeader, intake: &mut dyn Intake) -> Result<()> {
        self.discard_changes(intake)?;
        // Definitions and their schemas are never rolled back.
        self.commit(header, 0, intake)
    }

    /// The transaction has no end; nothing of it happened, and the position stays.
    pub(super) fn discard(&mut self, intake: &mut dyn Intake) -> Result<()> {
        self.discard_changes(intake)?;
        self.open = None;
        self.savepoints.clear();
        self.forget_statement();
        Ok(())
    }

    pub(super) fn discard_changes(&mut self, intake: &mut dyn Intake) -> Result<()> {
        self.changes.clear();
        let spilled_xa = !std::mem::take(&mut self.side_tables).is_empty();
        match self.side.take() {
            // What is prepared waits for its outcome, even when writing the outcome has just failed.
            Some(side) if self.prepared.keys().any(|id| side_of_xa(id) == side) => Ok(()),
            Some(side) => {
                // The snapshot takes the rows in it for written.
                self.snapshot_is_stale |= self.snapshot.is_some() && !spilled_xa;
                intake.abort_side(&side)
            }
            None => Ok(()),
        }
    }

    pub(super) fn set_savepoint(&mut self, name: String) {
        // A name that is used again moves the savepoint.
        self.savepoints.retain(|savepoint| savepoint.name != name);
        if self.savepoints.len() < SAVEPOINTS_MAX {
            let is_spilled = false;
            self.savepoints.push(Savepoint { name, length: self.changes.len(), is_spilled });
        }
    }

    /// ROLLBACK TO: MariaDB leaves what is taken back in the log when a table that cannot roll back was involved.
    pub(super) fn roll_back_to(&mut self, name: &str) -> Result<()> {
        let found = self.savepoints.iter().rposition(|savepoint| savepoint.name.eq_ignore_ascii_case(name));
        let Some(found) = found else {
            return Err(self.stop(format!("ROLLBACK TO {name}, which is no savepoint of the transaction")));
        };
        if self.savepoints[found].is_spilled {
            return Err(self
                .stop("ROLLBACK TO a savepoint that has left memory")
                .hint("Raise `transaction_bytes_max` above the size of the transaction, and start the source again."));
        }
        let length = self.savepoints[found].length;
        if length < self.changes.len() {
            self.changes = self.changes_before(length)?;
        }
        self.savepoints.truncate(found + 1);
        Ok(())
    }

    /// Copies the changes in the first `length` bytes.
    fn changes_before(&self, length: usize) -> Result<TransactionBuilder> {
        let mut kept = TransactionBuilder::default();
        let mut statement = None;
        for change in Changes::new(&self.changes.items()[..length]) {
            let change = change.map_err(|error| self.stop("changes cannot be read back").source(error))?;
            if change.statement != statement {
                statement = change.statement;
                statement.inspect(|text| kept.statement(text));
            }
            let key_changed = change.op == Op::Update && self.tables.key_changed(&change);
            copy(&change, key_changed, &mut kept);
        }
        Ok(kept)
    }

    /// XA PREPARE: the changes wait outside memory for their outcome.
    pub(super) fn prepare(&mut self, header: &EventHeader, id: &str, intake: &mut dyn Intake) -> Result<()> {
        let Some(open) = self.open.take() else { return Err(self.stop("XA PREPARE stands outside a transaction")) };
        self.advance(&open);
        if self.changes.is_empty() && self.side.is_none() {
            self.ended();
            return Ok(());
        }
        self.encode(&open, header, 0);
        self.keep_prepared(id, intake)
    }

    /// Puts the open transaction's changes where they wait for their outcome, together with the position in `encoded`.
    pub(super) fn keep_prepared(&mut self, id: &str, intake: &mut dyn Intake) -> Result<()> {
        self.announce_before_side(intake)?;
        let mut touched = std::mem::take(&mut self.side_tables);
        touched.append(&mut self.tables.names(&self.changes.tallies().iter().map(|tally| tally.schema).collect()));
        // Names are plain data, which always serialises.
        let value = serde_json::to_vec(&touched).unwrap_or_default();
        self.tables.push_state(StateUpdate { key: format!("{XA_STATE}{id}"), value: Some(value) });
        let committed = Committed {
            header: &self.header,
            changes: &self.changes,
            position: &self.encoded,
            state: self.tables.new_state(),
            schemas: self.tables.new_schemas(),
            derived: false,
        };
        fail::fail_point!("mysql::prepare");
        intake.prepare_side(&side_of_xa(id), &committed)?;
        self.prepared.insert(id.to_owned(), touched);
        let is_whole = self.side.is_none() && (self.snapshot.is_some() || self.looking_back.is_some());
        let kept_bytes: usize = self.kept.values().map(TransactionBuilder::len).sum();
        if is_whole && kept_bytes + self.changes.len() <= self.bytes_max {
            self.kept.insert(id.to_owned(), std::mem::take(&mut self.changes));
        }
        self.saved();
        Ok(())
    }

    /// XA COMMIT, in a transaction of its own: now the changes happen.
    pub(super) fn commit_prepared(&mut self, header: &EventHeader, id: &str, intake: &mut dyn Intake) -> Result<()> {
        // One that is not here held no captured rows: what was prepared before the first start was waited for.
        let kept = self.kept.remove(id).filter(|_| self.snapshot.is_some());
        let mut in_memory = None;
        if let Some(tables) = self.prepared.get(id) {
            self.tables.push_state(StateUpdate { key: format!("{XA_STATE}{id}"), value: None });
            match kept {
                // Now it is known which of its rows the snapshot has written.
                Some(changes) => (self.changes, in_memory) = (changes, Some(side_of_xa(id))),
                None => {
                    self.side = Some(side_of_xa(id));
                    self.side_tables.clone_from(tables);
                }
            }
        }
        self.commit(header, 0, intake)?;
        self.prepared.remove(id);
        in_memory.map_or(Ok(()), |side| intake.abort_side(&side))
    }

    /// XA ROLLBACK: the changes never happen.
    pub(super) fn roll_back_prepared(&mut self, header: &EventHeader, id: &str, intake: &mut dyn Intake) -> Result<()> {
        self.kept.remove(id);
        let held = self.prepared.remove(id).is_some();
        if held {
            // The state first: a side segment without one is dropped at the next start.
            self.tables.push_state(StateUpdate { key: format!("{XA_STATE}{id}"), value: None });
        }
        self.commit(header, 0, intake)?;
        if held {
            intake.abort_side(&side_of_xa(id))?;
        }
        Ok(())
    }

    /// The log begins anew: what became of XA transactions that were prepared before will never be read.
    pub(super) fn forget_prepared(&mut self, prepared: Prepared, intake: &mut dyn Intake) -> Result<()> {
        for id in prepared.into_keys() {
            self.tables.push_state(StateUpdate { key: format!("{XA_STATE}{id}"), value: None });
            intake.abort_side(&side_of_xa(&id))?;
        }
        self.moved = true;
        Ok(())
    }

    /// Makes new schemas known before changes that have them leave memory.
    pub(super) fn announce_before_side(&mut self, intake: &mut dyn Intake) -> Result<()> {
        if self.tables.new_schemas().is_empty() {
            return Ok(());
        }
        let mut header = Vec::new();
        put_own_header(&mut header);
        let nothing = TransactionBuilder::default();
        intake.append(&Committed {
            header: &header,
            changes: &nothing,
            // Empty: the position stays where it is.
            position: &[],
            state: &[],
            schemas: self.tables.new_schemas(),
            derived: false,
        })?;
        self.tables.announced();
        Ok(())
    }

    /// Appends the position alone, if it has moved past transactions of other tables since the last append.
    pub fn save_position(&mut self, intake: &mut dyn Intake) -> Result<bool> {
        if (!self.moved && !self.tables.has_news()) || self.open.is_some() {
            return Ok(false);
        }
        self.encoded.clear();
        self.position.encode(&mut self.encoded);
        self.header.clear();
        put_own_header(&mut self.header);
        intake.append(&Committed {
            header: &self.header,
            changes: &self.changes,
            position: &self.encoded,
            state: self.tables.new_state(),
            schemas: self.tables.new_schemas(),
            derived: false,
        })?;
        self.saved();
        Ok(true)
    }

    fn advance(&mut self, open: &Open) {
        match (&mut self.position.gtids, &open.txid) {
            (Gtids::MySql(set), Txid::MySql { uuid, tag, number }) => set.add(*uuid, tag, *number),
            (Gtids::MariaDb(position), Txid::MariaDb(gtid)) => position.set(*gtid),
            _ => {}
        }
        if self.position.file != self.file {
            self.position.file.clone_from(&self.file);
        }
        self.position.offset = self.end;
        self.moved = true;
    }

    pub(super) fn encode(&mut self, open: &Open, header: &EventHeader, xid: u64) {
        self.encoded.clear();
        self.position.encode(&mut self.encoded);
        self.gtid.clear();
        // Writing into a String cannot fail.
        let _ = match &open.txid {
            Txid::None => Ok(()),
            Txid::MySql { uuid, tag, number } if tag.is_empty() => write!(self.gtid, "{uuid}:{number}"),
            Txid::MySql { uuid, tag, number } => write!(self.gtid, "{uuid}:{tag}:{number}"),
            Txid::MariaDb(gtid) => write!(self.gtid, "{gtid}"),
        };
        let commit_us = match open.commit_us {
            0 => i64::from(header.timestamp) * 1_000_000,
            exact => exact,
        };
        self.header.clear();
        put_header(
            &mut self.header,
            &TransactionHeader {
                commit_us,
                receive_us: now_us(),
                origin: Origin::Binlog {
                    server_id: open.server_id,
                    file: &self.file,
                    position: open.start,
                    gtid: &self.gtid,
                    thread: open.thread,
                    xid,
                },
            },
        );
    }

    fn saved(&mut self) {
        self.changes.clear();
        self.side = None;
        self.side_tables.clear();
        self.tables.saved();
        self.moved = false;
        self.ended();
    }

    fn ended(&mut self) {
        self.savepoints.clear();
        self.forget_statement();
    }
}

fn copy(change: &Change<'_>, key_changed: bool, into: &mut TransactionBuilder) {
    let out = into.begin(change.op, change.schema, change.place, change.row);
    let put = |row: Option<Row<'_>>, out: &mut Vec<u8>| {
        if let Some(row) = row {
            row.encode(out);
        }
    };
    put(change.before, out);
    put(change.after, out);
    into.end(change.op, change.schema, key_changed);
}

fn put_own_header(out: &mut Vec<u8>) {
    let now = now_us();
    put_header(out, &TransactionHeader { commit_us: now, receive_us: now, origin: Origin::Headwater });
}
