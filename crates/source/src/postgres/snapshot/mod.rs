//! Snapshots of PostgreSQL: tables with a key are read in chunks beside the stream ([`crate::snapshot`]), the others whole
//! before it begins (`whole.rs`).
//!
//! Invariant: a chunk's mark is a place of the log that lies at or after every commit that the chunk shows (`chunk.rs`), and
//! every commit that was streamed before can be seen by the chunks. Start at [`begin`].

mod chunk;
mod key;
mod visible;
mod whole;

pub use crate::snapshot::TABLE_PREFIX;
pub use chunk::Select;

use super::catalogue::Catalogue;
use super::config::{Options, SYSTEM_SCHEMAS, SnapshotMode, SnapshotScope};
use super::decode::Table;
use super::lsn::Lsn;
use super::server::Server;
use super::slot::Created;
use super::tables::state_key;
use super::transaction::Transactions;
use crate::filter::{Choice, Filter};
use crate::net::Canceller;
use crate::snapshot::{self, Bell, Ends, Range, Reader, Unread};
use chunk::{Chunks, Session};
use headwater_model::calendar::now_us;
use headwater_model::change::Change;
use headwater_model::source::{Intake, StateUpdate};
use headwater_model::{Error, Origin, Result, Row, Schema, TransactionBuilder, Type, Value};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// State key of the choice of tables for which all that were there have been read, or are being read.
const SCOPE_STATE: &str = "tables";
/// Bytes of a slot's name.
const SLOT_NAME_MAX: usize = 63;
/// How long a transaction may be in the log and not yet be seen; synchronous standbys take that long.
const VISIBLE_MAX: Duration = Duration::from_secs(20);
/// How often it is looked for.
const VISIBLE_LOOK: Duration = Duration::from_millis(1);
/// Rows of a table whose keys do not compare here as in the server, each of which is remembered while it is read in chunks.
/// A larger one is read whole.
const UNORDERED_ROWS_MAX: u64 = 1_000_000;

/// How far the snapshot of a table is.
pub type TableState = snapshot::TableState<Lsn>;

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
    /// End the connections, when the source is to stop.
    pub cancellers: Arc<Mutex<Vec<Canceller>>>,
}

/// A snapshot that is being taken. Belongs to the stream's thread.
pub struct Snapshot {
    chunks: snapshot::Snapshot<Chunks>,
    single: Single,
    /// What its rows say of where they were read: a transaction that did nothing, and where the snapshot began.
    origin: (u32, Lsn),
}

/// Reads single rows, on a connection of its own.
struct Single {
    reader: Chunks,
    session: Session,
    /// By the shapes in which rows come from the log: that shape, and how the table is read.
    shapes: HashMap<u32, (Arc<Schema>, Arc<Select>)>,
}

/// A table to be read, and what the journal says of it.
struct Wanted {
    table: Table,
    state: Option<TableState>,
}

/// How a table is to be read.
struct ToRead {
    of: Arc<Select>,
    state: Option<TableState>,
    rows_estimate: u64,
    is_whole: bool,
}

/// Marks the tables that `wanted` accepts as to be read again, with the next append; answers how many.
pub fn read_again(transactions: &mut Transactions, wanted: impl Fn(&str, &str) -> bool, intake: &dyn Intake) -> usize {
    let mut asked = 0;
    for (key, state) in TableState::all(intake) {
        let [schema, table] = &state.name;
        if wanted(schema, table) {
            asked += 1;
            let value = Some(TableState::unread(schema, table, true).encode());
            transactions.tables.push_state(StateUpdate { key, value });
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

/// Begins, or goes on with, reading the captured tables that are not in the journal yet: those that must be read whole are in
/// it when this returns, the others are read while the log is followed. `None` when there is nothing left to read.
pub fn begin(place: &Place<'_>, transactions: &mut Transactions, intake: &mut dyn Intake) -> Result<Option<Snapshot>> {
    let options = place.options.clone();
    let scope = options.filter.choice();
    let is_same_choice = intake.state(SCOPE_STATE).is_some_and(|known| known == scope.as_bytes());
    let reads_new = options.snapshot != SnapshotMode::Never && !is_same_choice;
    if !reads_new && TableState::all(intake).all(|(_, state)| state.finished) {
        return Ok(None);
    }
    let mut catalogue = Catalogue::new(options.clone(), place.host);
    let unread = unread(&options, &mut catalogue, reads_new, transactions, intake)?;
    let mut snapshot = Snapshot::of(unread, place, &mut catalogue, transactions, intake)?;
    if reads_new {
        let value = Some(scope.into_bytes());
        transactions.tables.push_state(StateUpdate { key: SCOPE_STATE.to_owned(), value });
    }
    transactions.save_position(intake)?;
    intake.flush()?;
    if snapshot.chunks.is_finished() {
        return Ok(None);
    }
    snapshot.wait_until_visible(transactions.streamed())?;
    snapshot.chunks.start(options.snapshot_workers, intake)?;
    Ok(Some(snapshot))
}

impl Snapshot {
    /// Reads those of the tables that must be read whole, and gets ready to read the others in chunks.
    fn of(
        unread: Vec<Wanted>,
        place: &Place<'_>,
        catalogue: &mut Catalogue,
        transactions: &mut Transactions,
        intake: &mut dyn Intake,
    ) -> Result<Snapshot> {
        let options = place.options;
        let reader = Chunks { options: options.clone(), host: place.host, cancellers: place.cancellers.clone() };
        let mut session = reader.connect()?;
        let mut tables = Vec::new();
        for Wanted { table, state } in unread {
            catalogue.learn(transactions.tables.types_mut(), table.columns.iter().map(|column| column.type_oid))?;
            let rows_estimate = reader.rows_estimate(&mut session, table.oid)?;
            let mut of = transactions.tables.select(&table);
            of.is_small = rows_estimate <= u64::from(options.chunk_rows);
            let is_whole = options.snapshot == SnapshotMode::InitialOnly
                || options.snapshot_queries.contains_key(&table.full_name())
                || of.schema.key.is_empty()
                || !key::is_literal(&of.schema)
                || (!key::is_ordered(&of.schema) && rows_estimate > UNORDERED_ROWS_MAX);
            tables.push(ToRead { of: Arc::new(of), state, rows_estimate, is_whole });
        }
        // Rows refer to the schemas.
        transactions.save_position(intake)?;
        intake.flush()?;
        let begun: Vec<(&Schema, bool)> = tables
            .iter()
            .map(|table| (&*table.of.schema, table.state.as_ref().is_some_and(|state| !state.parts.is_empty())))
            .collect();
        let ends = Ends::find(&begun, |schema| reader.has_rows(&mut session, schema))?;
        let xid = reader.take_number(&mut session)?;
        let chunks =
            snapshot::Snapshot::new(&options.name, reader.clone(), options.snapshot_workers, options.as_debezium)?;
        let single = Single { reader, session, shapes: HashMap::new() };
        let mut snapshot = Snapshot { chunks, single, origin: (xid, transactions.position().lsn) };
        let (whole, chunked): (Vec<_>, Vec<_>) = tables.into_iter().partition(|table| table.is_whole);
        if !whole.is_empty() {
            snapshot.chunks.count(whole::read(place, whole, ends, xid, transactions, intake)?);
        }
        for table in chunked {
            snapshot.add(table, ends, intake)?;
        }
        Ok(snapshot)
    }

    fn add(&mut self, table: ToRead, ends: Ends, intake: &mut dyn Intake) -> Result<()> {
        let ToRead { of, state, rows_estimate, .. } = table;
        let schema = of.schema.clone();
        let place = ends.place(schema.id);
        // Under another key it cannot be known which rows were read.
        let is_begun = |state: &TableState| !state.parts.is_empty() && schema.key_names().eq(&state.key);
        let state = match state {
            Some(state) if is_begun(&state) => state,
            asked_for => {
                let again = asked_for.is_some_and(|state| state.again || !state.parts.is_empty());
                let parts = self.divide(&of)?;
                let state = TableState::unread(&schema.database, &schema.table, again);
                let state = TableState { first: place.first, ..state.in_parts(&schema, intake.next_sequence(), parts) };
                snapshot::remember(intake, &schema, &state)?;
                state
            }
        };
        self.single.shapes.insert(schema.id, (schema.clone(), of.clone()));
        let is_ordered = key::is_ordered(&schema);
        self.chunks.add(Unread { schema, of, state, is_last: place.last, is_ordered, rows_estimate }, intake)
    }

    /// Divides a table whose key is one integer into as many stretches as there are workers.
    fn divide(&mut self, of: &Select) -> Result<Vec<Range>> {
        let whole = || Ok(vec![Range { after: None, through: None }]);
        let [column] = of.schema.key[..] else { return whole() };
        let Type::Int { unsigned, .. } = of.schema.columns[usize::from(column)].kind else { return whole() };
        let Single { reader, session, .. } = &mut self.single;
        let bounds = reader.key_bounds(session, of)?;
        let value = |value: i128| if unsigned { Value::UInt(value as u64) } else { Value::Int(value as i64) };
        match bounds.filter(|(low, high)| !of.is_small && high - low >= i128::from(reader.options.chunk_rows)) {
            None => whole(),
            Some(bounds) => Ok(Range::divided(bounds, usize::from(reader.options.snapshot_workers), value)),
        }
    }

    /// Rings when [`Snapshot::poll`] may have something to write.
    pub fn bell(&self) -> &Bell {
        self.chunks.bell()
    }

    /// Whether chunks wait for the stream.
    pub fn has_pending(&self) -> bool {
        self.chunks.has_pending()
    }

    /// Whether every table is written.
    pub fn is_finished(&self) -> bool {
        self.chunks.is_finished()
    }

    /// Rows written since this began, and about how many there are.
    pub fn rows(&self) -> (u64, u64) {
        self.chunks.rows()
    }

    /// Rows of a table come in the shape `schema` from now on.
    pub fn follow(&mut self, schema: &Schema) -> Result<()> {
        let is_same = |read: &&Arc<Schema>| read.database == schema.database && read.table == schema.table;
        let Some(read) = self.chunks.unfinished().find(is_same).cloned() else { return Ok(()) };
        if read.key_names().ne(schema.key_names()) {
            return Err(Error::stop(format!(
                "the key of {} changed while the table was being read",
                schema.full_name()
            ))
            .hint("Which of its rows were read cannot be known any more; run `headwater snapshot` for the table."));
        }
        let Some((_, select)) = self.single.shapes.get(&read.id).cloned() else { return Ok(()) };
        self.chunks.also(read.id, schema);
        self.single.shapes.insert(schema.id, (Arc::new(schema.clone()), select));
        Ok(())
    }

    /// The table with this shape was emptied: what was read of it and is not written yet is read again.
    pub fn emptied(&mut self, schema: u32) {
        if let Some((_, of)) = self.single.shapes.get(&schema) {
            self.chunks.emptied(of.schema.id);
        }
    }

    /// The changes of the transaction `xid` as they must stand in the journal; `key_changed` tells of an update whether it
    /// changes the key.
    pub fn adjust<'a>(
        &'a mut self,
        changes: &'a TransactionBuilder,
        xid: u32,
        key_changed: &dyn Fn(&Change<'_>) -> bool,
    ) -> Result<&'a TransactionBuilder> {
        let Snapshot { chunks, single, .. } = self;
        chunks.adjust(changes, [], key_changed, &mut |shape, row| single.completed(shape, row, xid))
    }

    /// Writes the chunks for which the stream has come far enough: it has read the log up to `read_to`.
    pub fn poll(&mut self, intake: &mut dyn Intake, read_to: Lsn) -> Result<()> {
        let (xid, lsn) = self.origin;
        self.chunks.poll(intake, &|high| *high <= read_to, &mut |_, put| put(Origin::WalSnapshot { xid, lsn: lsn.0 }))
    }

    /// Waits until chunks show all that was streamed: a transaction is in the log before it can be seen.
    fn wait_until_visible(&mut self, streamed: &VecDeque<u32>) -> Result<()> {
        let Single { reader, session, .. } = &mut self.single;
        let wait = Wait::begin();
        loop {
            let visible = reader.visible(session)?;
            if streamed.iter().all(|xid| visible.shows(*xid)) {
                return Ok(());
            }
            wait.go_on()?;
        }
    }
}

impl Single {
    /// A row of the log with the values that the log does not carry, as the table has them once `xid` can be seen; `None`
    /// when the row is gone by then. Whatever changed it after that comes in the log, too.
    fn completed(&mut self, shape: u32, row: &Row<'_>, xid: u32) -> Result<Option<Vec<u8>>> {
        let Some((schema, of)) = self.shapes.get(&shape) else { return Ok(None) };
        let mut key = Vec::new();
        row.encode_key(&schema.key, &mut key);
        let wait = Wait::begin();
        let known = loop {
            match self.reader.row(&mut self.session, of, &key, xid)? {
                Some(found) => break found,
                None => wait.go_on()?,
            }
        };
        let Some(known) = known.as_ref().and_then(|known| Row::decode(&mut &known[..])) else { return Ok(None) };
        let mut completed = Vec::new();
        row.encode_filled(&known, &schema.places_in(&of.schema), &mut completed);
        Ok(Some(completed))
    }
}

/// A wait for a transaction that is in the log and cannot be seen yet.
struct Wait(Instant);

impl Wait {
    fn begin() -> Self {
        Wait(Instant::now())
    }

    fn go_on(&self) -> Result<()> {
        if self.0.elapsed() > VISIBLE_MAX {
            let what = format!("after {VISIBLE_MAX:?} the server does not show yet all that is in its log");
            return Err(Error::reconnect(what));
        }
        std::thread::sleep(VISIBLE_LOOK);
        Ok(())
    }
}

/// The tables to be read, as they are now, in the order in which they are read: that of the patterns that choose them, and of
/// their names.
fn unread(
    options: &Options,
    catalogue: &mut Catalogue,
    reads_new: bool,
    transactions: &mut Transactions,
    intake: &dyn Intake,
) -> Result<Vec<Wanted>> {
    let published = match (options.snapshot_scope, options.snapshot) {
        (SnapshotScope::Every, _) | (_, SnapshotMode::InitialOnly) => None,
        (SnapshotScope::Published, _) => Some(catalogue.published()?),
    };
    // Without a publication, what one for all tables would show.
    let would_be_published = |table: &Table| match options.publish_via_partition_root {
        true => !table.is_partition && !table.is_unlogged,
        false => !table.is_partitioned && !table.is_unlogged,
    };
    let mut states: HashMap<[String; 2], TableState> =
        TableState::all(intake).map(|(_, state)| (state.name.clone(), state)).collect();
    let mut unread = Vec::new();
    for table in catalogue.tables()? {
        let state = states.remove(&[table.schema.clone(), table.name.clone()]);
        let is_wanted = match (options.snapshot_scope, &published) {
            (SnapshotScope::Every, _) => true,
            (SnapshotScope::Published, Some(published)) => {
                published.contains(&(table.schema.clone(), table.name.clone()))
            }
            (SnapshotScope::Published, None) => would_be_published(&table),
        };
        let is_unread = match &state {
            Some(state) => !state.finished,
            // It was made after the others were read, so the log has its rows.
            None => reads_new && options.snapshot_tables.captures(&table.schema, &table.name),
        };
        if is_wanted && is_unread {
            unread.push(Wanted { table, state });
        }
    }
    for ([schema, name], _) in states.into_iter().filter(|(_, state)| !state.finished) {
        tracing::warn!(source = options.name, schema, name, "a table that was to be read is gone");
        let value = Some(TableState::done(&schema, &name).encode());
        transactions.tables.push_state(StateUpdate { key: state_key(&schema, &name), value });
    }
    unread.sort_by_cached_key(|Wanted { table, .. }| {
        // As Java orders texts.
        let name: Vec<u16> = table.full_name().encode_utf16().collect();
        (options.filter.place(&table.schema, &table.name), name)
    });
    Ok(unread)
}
