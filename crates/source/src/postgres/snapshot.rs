//! Snapshots: the rows that are there already, read as of one place of the log.
//!
//! A slot that is being created exports a snapshot that holds exactly what was committed before the place from which the slot
//! streams. All tables are read in one transaction that sees it, one after the other, each into a side segment that joins
//! the journal when the table is whole; the stream goes on afterwards, and leaves out what a table's rows hold already.
//! Invariant: a table stands in the journal whole or not at all, so a restart reads again only the tables that are missing,
//! as of a later place. While tables are read the server keeps what its vacuum could remove: reading in chunks, beside the
//! stream, would begin where [`Snapshot::read_table`] is. Start at [`take`].

use super::catalogue::Catalogue;
use super::config::{Options, SYSTEM_SCHEMAS, SnapshotMode, SnapshotScope};
use super::decode::{Cell, RowPlan, Table};
use super::failure;
use super::lsn::Lsn;
use super::server::Server;
use super::slot::{self, Created};
use super::start;
use super::tables::state_key;
use super::transaction::Transactions;
use super::wire::query::{identifier, quoted};
use super::wire::{self, Canceller, Connection};
use crate::filter::{Choice, Filter};
use headwater_model::calendar::now_us;
use headwater_model::source::{Committed, HeldRows, Intake, SidePart, SourceReport, StateUpdate};
use headwater_model::transaction::put_header;
use headwater_model::{Error, Op, Origin, Result, Row, Schema, SnapshotMarker, TransactionBuilder, TransactionHeader};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// State keys of tables: `snapshot/schema.table`.
pub const TABLE_PREFIX: &str = "snapshot/";
/// State key of the choice of tables for which all that were there have been read.
const SCOPE_STATE: &str = "tables";
/// Bytes of a slot's name.
const SLOT_NAME_MAX: usize = 63;
/// Bytes of rows kept in memory.
const PART_BYTES_MAX: usize = 4 << 20;
/// How often the status page is told how far it is.
const REPORT: Duration = Duration::from_secs(1);

/// How the snapshot of a table stands, as the journal keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableState {
    /// Whether all of it is written.
    pub finished: bool,
    /// It is to be read although it was read before: what is read is compared with what the journal holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// The place of the log as of which it was read. What was committed before is in its rows.
    #[serde(default)]
    pub as_of: u64,
    /// The schema and the table.
    #[serde(default)]
    pub name: Option<(String, String)>,
}

impl TableState {
    /// A table that has been read, or need not be.
    pub fn done(database: &str, table: &str, as_of: Lsn) -> Self {
        let name = Some((database.to_owned(), table.to_owned()));
        TableState { finished: true, again: false, as_of: as_of.0, name }
    }

    /// The same table, to be read again.
    pub fn asked_for(self) -> Self {
        TableState { finished: false, again: true, ..self }
    }

    /// The form in which the journal keeps it.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads it back.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// Where the snapshot is taken.
pub struct Place<'a> {
    /// The configuration.
    pub options: &'a Arc<Options>,
    /// The server.
    pub server: &'a Server,
    /// Its number among the hosts.
    pub host: usize,
    /// The source's own slot, if it was just created by a connection that still keeps its snapshot.
    pub created: Option<Created>,
    /// Told of every connection that is opened, so that stopping can end it.
    pub opened: &'a dyn Fn(Canceller),
}

/// Marks the tables that `wanted` accepts as to be read again, with the next append; answers how many.
pub fn read_again(transactions: &mut Transactions, wanted: impl Fn(&str, &str) -> bool, intake: &dyn Intake) -> usize {
    let mut asked = 0;
    for key in intake.state_keys(TABLE_PREFIX) {
        let Some(state) = intake.state(&key).and_then(|bytes| TableState::decode(&bytes)) else { continue };
        if state.name.as_ref().is_some_and(|(database, table)| wanted(database, table)) {
            asked += 1;
            transactions.tables.push_state(StateUpdate { key, value: Some(state.asked_for().encode()) });
        }
    }
    asked
}

/// Takes what a user asked for, and marks the tables; answers whether there is any.
pub fn is_asked(options: &Options, transactions: &mut Transactions, intake: &mut dyn Intake) -> bool {
    let Some(patterns) = intake.snapshot_request() else { return false };
    let choice = Choice { tables: &patterns, ..Choice::default() };
    let asked = match Filter::new(choice, SYSTEM_SCHEMAS) {
        Ok(filter) => read_again(transactions, |schema, table| filter.captures(schema, table), intake),
        Err(_) => 0,
    };
    if asked == 0 {
        tracing::warn!(source = options.name, ?patterns, "no captured table matches the snapshot that was asked for");
    }
    asked > 0
}

/// The name of a slot that only exports a snapshot, and is gone with its connection.
pub fn slot_name(options: &Options) -> String {
    // Two of them never meet: each moment has one.
    let room = SLOT_NAME_MAX - 17;
    format!("{}_{:x}", &options.slot[..options.slot.len().min(room)], now_us())
}

/// Forgets which tables have been read: what the log says no longer leads on from it.
pub fn forget(transactions: &mut Transactions, intake: &dyn Intake) {
    read_again(transactions, |_, _| true, intake);
    transactions.tables.push_state(StateUpdate { key: SCOPE_STATE.to_owned(), value: None });
}

/// Reads the captured tables that are not in the journal yet.
pub fn take(place: Place<'_>, transactions: &mut Transactions, intake: &mut dyn Intake) -> Result<()> {
    let options = place.options.clone();
    let scope = options.filter.choice();
    let is_same_choice = intake.state(SCOPE_STATE).is_some_and(|known| known == scope.as_bytes());
    let reads_new = options.snapshot != SnapshotMode::Never && !is_same_choice;
    let is_asked =
        intake.state_keys(TABLE_PREFIX).iter().any(|key| state(key, intake).is_some_and(|state| !state.finished));
    if !reads_new && !is_asked {
        return Ok(());
    }
    if !intake.accepts_derived() {
        return Err(Error::reconnect(format!(
            "source {}: the snapshot waits until the log has been read again to where followers are",
            options.name
        )));
    }
    read_all(place, reads_new, transactions, intake)?;
    if reads_new {
        let value = Some(scope.into_bytes());
        transactions.tables.push_state(StateUpdate { key: SCOPE_STATE.to_owned(), value });
    }
    transactions.save_position(intake)?;
    intake.flush()
}

fn state(key: &str, intake: &dyn Intake) -> Option<TableState> {
    TableState::decode(&intake.state(key)?)
}

fn read_all(place: Place<'_>, reads_new: bool, transactions: &mut Transactions, intake: &mut dyn Intake) -> Result<()> {
    let (options, host) = (place.options.clone(), place.host);
    let failed = |error| failure::of_connection(&options.name, error);
    let mut reading = start::connect_session(&options, host)?;
    (place.opened)(reading.canceller());
    let mut own;
    let created = match place.created {
        Some(created) => created,
        None => {
            let mut host = host;
            own = start::connect(&options, &mut host)?.0;
            (place.opened)(own.canceller());
            // It waits for every transaction that runs now, however long that takes.
            own.set_read_timeout(None).map_err(failed)?;
            slot::create(&mut own, place.server, &slot_name(&options), true, false).map_err(failed)?
        }
    };
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}",
        quoted(&created.snapshot)
    );
    let xid = take_number(&mut reading).map_err(failed)?;
    // From here on nobody else needs to keep the snapshot.
    reading.execute(&begin).map_err(failed)?;
    let mut catalogue = Catalogue::over(options.clone(), host, reading);
    let tables = unread(&options, &mut catalogue, reads_new, intake)?;
    for (table, _) in &tables {
        catalogue.learn(transactions.tables.types_mut(), table.columns.iter().map(|column| column.type_oid))?;
    }
    let Some(mut connection) = catalogue.into_connection() else {
        return Err(Error::reconnect(format!("source {}: the snapshot's connection is gone", options.name)));
    };
    tracing::info!(source = options.name, tables = tables.len(), as_of = %created.consistent, "reading tables");
    let mut snapshot = Snapshot {
        options: &options,
        title: place.server.title(),
        as_of: created.consistent,
        xid,
        held_back: None,
        parts: 0,
        rows: 0,
        reported_at: None,
    };
    for (table, again) in tables {
        let mut reading = snapshot.begin(&table, again, transactions, intake)?;
        snapshot.read_table(&mut connection, &mut reading, intake)?;
        snapshot.end(reading.read, intake)?;
        transactions.tables.was_read(&table.schema, &table.name, snapshot.as_of);
    }
    snapshot.release(true, intake)?;
    connection.close();
    Ok(())
}

/// A transaction number that no change of the stream ever carries: that of a transaction which did nothing. The one that
/// reads the tables takes none, because whoever creates a slot would have to wait until it ends.
fn take_number(connection: &mut Connection) -> wire::Result<u32> {
    let sql = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 0 ELSE pg_catalog.txid_current() END";
    let result = connection.query(sql)?;
    // The upper half counts how often the numbers have begun anew.
    Ok(result.first_text().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) as u32)
}

/// The tables to be read, as the snapshot sees them, in the order in which they are read: that of the patterns that choose
/// them, and of their names. And whether each was read before.
fn unread(
    options: &Options,
    catalogue: &mut Catalogue,
    reads_new: bool,
    intake: &dyn Intake,
) -> Result<Vec<(Table, bool)>> {
    let published = match (options.snapshot_scope, options.snapshot) {
        (SnapshotScope::Every, _) | (_, SnapshotMode::InitialOnly) => None,
        (SnapshotScope::Published, _) => Some(catalogue.published()?),
    };
    // Without a publication, what one for all tables would show.
    let would_be_published = |table: &Table| match options.publish_via_partition_root {
        true => !table.is_partition && !table.is_unlogged,
        false => !table.is_partitioned && !table.is_unlogged,
    };
    let mut unread = Vec::new();
    for table in catalogue.tables()? {
        let name = (table.schema.clone(), table.name.clone());
        let is_wanted = match (options.snapshot_scope, &published) {
            (SnapshotScope::Every, _) => true,
            (SnapshotScope::Published, Some(published)) => published.contains(&name),
            (SnapshotScope::Published, None) => would_be_published(&table),
        };
        if !is_wanted {
            continue;
        }
        match state(&state_key(&table.schema, &table.name), intake) {
            Some(state) if !state.finished => unread.push((table, state.again)),
            // It was made after the others were read, so the log has its rows.
            None if reads_new && options.snapshot_tables.captures(&table.schema, &table.name) => {
                unread.push((table, false));
            }
            _ => {}
        }
    }
    unread.sort_by_cached_key(|(table, _)| {
        // As Java orders texts.
        let name: Vec<u16> = table.full_name().encode_utf16().collect();
        (options.filter.place(&table.schema, &table.name), name)
    });
    Ok(unread)
}

/// A snapshot that is being read.
struct Snapshot<'o> {
    options: &'o Options,
    title: String,
    as_of: Lsn,
    xid: u32,
    /// The table that is read but for the marker of its last row, which depends on what comes after it.
    held_back: Option<ReadTable>,
    parts: u64,
    rows: u64,
    reported_at: Option<Instant>,
}

/// A table that is being read.
struct Reading {
    sql: String,
    /// The names of the columns, where `sql` answers them in an order of its own.
    columns: Option<Vec<String>>,
    schema: Schema,
    plan: RowPlan,
    /// The rows that the journal has of it, where it was read before.
    held: Option<Box<dyn HeldRows>>,
    read: ReadTable,
}

/// A table on its way into the journal.
struct ReadTable {
    state: StateUpdate,
    schema: u32,
    side: String,
    is_spilled: bool,
    rows: TransactionBuilder,
    /// The last row, which has no marker yet, and what the journal had of it before.
    last: Option<(Vec<u8>, Option<Vec<u8>>)>,
    /// Rows written before it.
    count: u32,
    is_first: bool,
}

impl Snapshot<'_> {
    fn begin(
        &mut self,
        table: &Table,
        again: bool,
        transactions: &mut Transactions,
        intake: &mut dyn Intake,
    ) -> Result<Reading> {
        let (schema, plan, columns) = transactions.tables.read(table);
        // Rows refer to the schema, and what the journal holds is asked for in the same.
        transactions.save_position(intake)?;
        intake.flush()?;
        let held = match again {
            true => Some(intake.rows(&schema.full_name(), intake.next_sequence())?),
            false => None,
        };
        let done = TableState::done(&schema.database, &schema.table, self.as_of);
        let key = state_key(&schema.database, &schema.table);
        let read = ReadTable {
            state: StateUpdate { key, value: Some(done.encode()) },
            schema: schema.id,
            side: format!("snapshot-{}", self.parts),
            is_spilled: false,
            rows: TransactionBuilder::default(),
            last: None,
            count: 0,
            is_first: self.parts == 0,
        };
        self.parts += 1;
        let (sql, columns) = match self.options.snapshot_queries.get(&table.full_name()) {
            Some(query) => (query.clone(), Some(columns)),
            None => (select(self.options, table, &columns), None),
        };
        Ok(Reading { sql, columns, schema, plan, held, read })
    }

    /// Reads one table's rows.
    fn read_table(&mut self, connection: &mut Connection, of: &mut Reading, intake: &mut dyn Intake) -> Result<()> {
        let failed = |error| failure::of_connection(&self.options.name, error);
        let mut bytes = Vec::new();
        let mut rows = connection.query_rows(&of.sql).map_err(failed)?;
        let places = of.columns.as_ref().map(|columns| places(columns, rows.columns()));
        while let Some(row) = rows.next_row().map_err(failed)? {
            if intake.stopping() {
                return Err(Error::reconnect(format!("source {}: the snapshot was interrupted", self.options.name)));
            }
            bytes.clear();
            let mut is_damaged = false;
            let cells = row.values().map(|value| match value {
                Ok(value) => value.map_or(Cell::Null, Cell::Text),
                Err(_) => {
                    is_damaged = true;
                    Cell::Null
                }
            });
            let decoded = match &places {
                None => of.plan.row(cells, &mut bytes),
                Some(places) => {
                    let cells: Vec<Cell<'_>> = cells.collect();
                    let at = |place: &Option<usize>| place.and_then(|place| cells.get(place).copied());
                    of.plan.row(places.iter().map(|place| at(place).unwrap_or(Cell::Null)), &mut bytes)
                }
            };
            if is_damaged {
                return Err(Error::reconnect(format!("a row of {} arrived damaged", of.schema.full_name())));
            }
            decoded
                .map_err(|error| Error::stop(format!("source {}: the snapshot", self.options.name)).source(error))?;
            self.rows += 1;
            let earlier = match (&mut of.held, Row::decode(&mut &bytes[..])) {
                (Some(held), Some(row)) => held.take(&row)?,
                _ => None,
            };
            match earlier {
                None => {
                    self.release(false, intake)?;
                    of.read.put(&bytes, None, intake)?;
                }
                Some(earlier) if self.options.as_debezium => {
                    self.release(false, intake)?;
                    of.read.put(&bytes, Some(earlier.row), intake)?;
                }
                Some(earlier) if earlier.row == bytes || of.schema.key.is_empty() => {}
                Some(earlier) => of.read.change(Op::Update, &[&earlier.row, &bytes], intake)?,
            }
            self.report(intake);
        }
        match &mut of.held {
            Some(held) => held.unseen(&mut |row| of.read.change(Op::Delete, &[&row.row], intake)),
            None => Ok(()),
        }
    }

    fn end(&mut self, read: ReadTable, intake: &mut dyn Intake) -> Result<()> {
        match read.last.is_some() {
            true => self.held_back = Some(read),
            // Without a row of its own it decides nothing about the markers of others.
            false => self.append(read, intake)?,
        }
        Ok(())
    }

    /// Appends the table that is held back: now it is known whether a row came after its last.
    fn release(&mut self, is_end: bool, intake: &mut dyn Intake) -> Result<()> {
        let Some(mut read) = self.held_back.take() else { return Ok(()) };
        let is_only = read.count == 0;
        let marker = match (is_end, read.is_first && is_only) {
            (true, _) => SnapshotMarker::Last,
            (false, true) => SnapshotMarker::First,
            (false, false) => SnapshotMarker::LastInDataCollection,
        };
        if let Some(last) = read.last.take() {
            read.write(last, marker);
        }
        self.append(read, intake)
    }

    fn append(&mut self, read: ReadTable, intake: &mut dyn Intake) -> Result<()> {
        let now = now_us();
        let origin = Origin::WalSnapshot { xid: self.xid, lsn: self.as_of.0 };
        let mut header = Vec::new();
        put_header(&mut header, &TransactionHeader { commit_us: now, receive_us: now, origin });
        let committed = Committed {
            header: &header,
            changes: &read.rows,
            position: &[],
            state: std::slice::from_ref(&read.state),
            schemas: &[],
            derived: true,
        };
        fail::fail_point!("postgres::snapshot");
        match read.is_spilled {
            true => intake.append_side(&read.side, &committed)?,
            false => intake.append(&committed)?,
        }
        intake.flush()
    }

    fn report(&mut self, intake: &mut dyn Intake) {
        let now = Instant::now();
        if self.reported_at.is_none_or(|at| now.duration_since(at) >= REPORT) {
            self.reported_at = Some(now);
            intake.report(SourceReport {
                phase: "snapshotting",
                server: self.title.clone(),
                position: self.as_of.to_string(),
                snapshot_rows: Some((self.rows, self.rows)),
            });
        }
    }
}

impl ReadTable {
    /// Takes a row that is told as one that was read; `earlier`: as the journal had it.
    fn put(&mut self, row: &[u8], earlier: Option<Vec<u8>>, intake: &mut dyn Intake) -> Result<()> {
        if let Some(last) = self.last.take() {
            let marker = match (self.count, self.is_first) {
                (0, true) => SnapshotMarker::First,
                (0, false) => SnapshotMarker::FirstInDataCollection,
                _ => SnapshotMarker::True,
            };
            self.write(last, marker);
        }
        self.last = Some((row.to_vec(), earlier));
        self.spill_if_large(intake)
    }

    fn write(&mut self, (row, earlier): (Vec<u8>, Option<Vec<u8>>), marker: SnapshotMarker) {
        let out = match earlier {
            None => self.rows.begin_read(self.schema, self.count, marker),
            Some(earlier) => {
                let out = self.rows.begin_read_again(self.schema, self.count, marker);
                out.extend_from_slice(&earlier);
                out
            }
        };
        out.extend_from_slice(&row);
        self.rows.end(Op::Read, self.schema, false);
        self.count = self.count.wrapping_add(1);
    }

    /// Takes what became of a row that the journal has.
    fn change(&mut self, op: Op, rows: &[&[u8]], intake: &mut dyn Intake) -> Result<()> {
        let out = self.rows.begin(op, self.schema, 0, self.count);
        rows.iter().for_each(|row| out.extend_from_slice(row));
        self.rows.end(op, self.schema, false);
        self.count = self.count.wrapping_add(1);
        self.spill_if_large(intake)
    }

    fn spill_if_large(&mut self, intake: &mut dyn Intake) -> Result<()> {
        if self.rows.len() >= PART_BYTES_MAX {
            intake.spill(&SidePart { id: &self.side }, &self.rows)?;
            self.rows.clear();
            self.is_spilled = true;
        }
        Ok(())
    }
}

/// Where each of `columns` stands in an answer that names its own.
fn places(columns: &[String], answered: &[String]) -> Vec<Option<usize>> {
    columns.iter().map(|column| answered.iter().position(|name| name == column)).collect()
}

/// Reads every row in the order of the table. A table that others inherit from is read by itself, unless every table is
/// read as Debezium does.
fn select(options: &Options, table: &Table, columns: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| identifier(column)).collect();
    let only = match options.snapshot_scope {
        SnapshotScope::Published if !table.is_partitioned => "ONLY ",
        _ => "",
    };
    format!("SELECT {} FROM {only}{}.{}", columns.join(", "), identifier(&table.schema), identifier(&table.name))
}
