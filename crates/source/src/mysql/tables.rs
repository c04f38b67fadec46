//! The tables of the log: which are captured, what their rows look like now, and the schema ids under which readers know
//! them.
//!
//! Invariant: rows are read only by a definition that agrees with the log's own table map, and a new shape is announced
//! to the journal with the first changes that have it. Start at [`Tables::map`] and [`Tables::define`].

use super::catalog::{Catalog, ColumnDef, DdlError, Generated, Session, TableDef, TableEvent, TableName};
use super::config::{Options, SnapshotMode};
use super::decode::{Charsets, ColumnMap, Query, TableMap, TablePlan};
use super::server::Server;
use super::snapshot::{TABLE_PREFIX, TableState};
use crate::filter::Filter;
use headwater_model::change::Change;
use headwater_model::source::{Intake, StateUpdate};
use headwater_model::{Error, Result, Schema};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;
use std::sync::Arc;

/// State keys of table definitions: `catalog/database.table`.
const CATALOG_STATE: &str = "catalog/";

/// The state key of the databases' default character sets.
const DATABASES_STATE: &str = "catalog-databases";

/// The state key of what the catalog covers.
const SCOPE_STATE: &str = "catalog-scope";

/// What a table's number in the log stands for.
pub enum Mapped {
    /// Rows are read by this plan.
    Captured(TablePlan),
    /// Rows are passed over.
    Ignored,
}

struct Numbered {
    database: String,
    table: String,
    columns: Vec<ColumnMap>,
    mapped: Mapped,
}

/// The tables of a log.
pub struct Tables {
    source: String,
    filter: Filter,
    charsets: Arc<Charsets>,
    catalog: Catalog,
    /// The latest shape of each table that readers know.
    schemas: HashMap<TableName, Schema>,
    next_schema: u32,
    numbers: HashMap<u64, Numbered>,
    new_schemas: Vec<Schema>,
    new_state: Vec<StateUpdate>,
    databases_saved: Vec<u8>,
    implicit_timestamps: bool,
    /// MariaDB 11 leaves computed columns out of updates and deletes, whatever the row image. A value that is right only
    /// until the first update would be worse than none, so they are left out of all rows.
    computed_are_unlogged: bool,
    /// Table maps carry names and keys, so that a statement that was not understood does no harm.
    maps_are_full: bool,
    /// Tables that were never read are read, so that one that the catalog lacks has rows that were missed.
    reads_unread: bool,
    /// Tables that the server was asked for in vain; `None` while it is not asked.
    gone: Option<BTreeSet<TableName>>,
    /// The table that the log speaks of and the catalog lacks.
    unseen: Option<TableName>,
}

impl Tables {
    /// Reads what the journal holds of the catalog and the schemas.
    pub fn new(options: &Options, server: &Server, charsets: Arc<Charsets>, intake: &dyn Intake) -> Result<Self> {
        let mut catalog = Catalog::new(server.catalog_options());
        let unreadable = |key: &str, error: serde_json::Error| {
            Error::stop(format!("source {}: the journal's record {key} cannot be read", options.name))
                .source(error)
                .hint("It was written by a later version, or is damaged: run `headwater journal verify`.")
        };
        for key in intake.state_keys(CATALOG_STATE) {
            let Some(bytes) = intake.state(&key) else { continue };
            let def: TableDef = serde_json::from_slice(&bytes).map_err(|error| unreadable(&key, error))?;
            catalog.insert(def);
        }
        let databases_saved = intake.state(DATABASES_STATE).unwrap_or_default();
        if !databases_saved.is_empty() {
            let databases: BTreeMap<String, String> =
                serde_json::from_slice(&databases_saved).map_err(|error| unreadable(DATABASES_STATE, error))?;
            databases.iter().for_each(|(name, charset)| catalog.insert_database(name, charset));
        }
        let (schemas, next_schema) = intake.schemas();
        let named =
            |schema: Schema| (TableName { database: schema.database.clone(), table: schema.table.clone() }, schema);
        Ok(Tables {
            source: options.name.clone(),
            filter: options.filter.clone(),
            charsets,
            catalog,
            schemas: schemas.into_iter().map(named).collect(),
            next_schema,
            numbers: HashMap::new(),
            new_schemas: Vec::new(),
            new_state: Vec::new(),
            databases_saved,
            implicit_timestamps: server.has_implicit_timestamps(),
            computed_are_unlogged: server.leaves_out_computed(),
            maps_are_full: server.variable("binlog_row_metadata").eq_ignore_ascii_case("FULL"),
            reads_unread: options.snapshot != SnapshotMode::Never,
            gone: None,
            unseen: None,
        })
    }

    /// Puts a freshly loaded catalog in place of what was known.
    pub fn replace_catalog(&mut self, loaded: Catalog) {
        let mut names: BTreeSet<TableName> = self.catalog.tables().map(|(name, _)| name.clone()).collect();
        names.extend(loaded.tables().map(|(name, _)| name.clone()));
        self.catalog = loaded;
        self.numbers.clear();
        names.iter().for_each(|name| self.save_definition(name));
        self.save_databases();
    }

    /// Adds the tables of `loaded` that are not known yet: of databases that the configuration did not name before.
    pub fn add_missing(&mut self, loaded: &Catalog) {
        for (database, charset) in loaded.databases() {
            if !self.catalog.databases().any(|(known, _)| known == database) {
                self.catalog.insert_database(database, charset);
            }
        }
        for (name, def) in loaded.tables() {
            if self.catalog.table(&name.database, &name.table).is_none() {
                self.catalog.insert(def.clone());
                self.save_definition(name);
            }
        }
        self.save_databases();
    }

    /// Whether the catalog was loaded for exactly these `tables`; the answer is remembered with the next append.
    pub fn covers(&mut self, scope: &str, intake: &dyn Intake) -> bool {
        if intake.state(SCOPE_STATE).is_some_and(|known| known == scope.as_bytes()) {
            return true;
        }
        self.push_state(StateUpdate { key: SCOPE_STATE.to_owned(), value: Some(scope.as_bytes().to_vec()) });
        false
    }

    /// From now on a captured table that the catalog has never had ends the run, so that the server is asked for it: the
    /// user could not see it, or its definition was not understood. Those of `gone` were asked for already.
    pub fn notice_unseen(&mut self, gone: BTreeSet<TableName>) {
        self.gone = Some(gone);
    }

    /// The table that ended the run.
    pub fn take_unseen(&mut self) -> Option<TableName> {
        self.unseen.take()
    }

    /// What is captured.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The catalog at the log's position.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What a table's number stands for, if a map has said.
    #[inline]
    pub fn mapped(&mut self, number: u64) -> Option<&mut Mapped> {
        self.numbers.get_mut(&number).map(|numbered| &mut numbered.mapped)
    }

    /// Numbers mean nothing in the next file when the server was started between the two.
    pub fn forget_numbers(&mut self) {
        self.numbers.clear();
    }

    /// Takes a table map. `place` is for errors.
    pub fn map(&mut self, map: &TableMap<'_>, place: impl Display) -> Result<()> {
        if let Some(known) = self.numbers.get(&map.table_id)
            && known.columns == map.columns
            && known.table == map.table
            && known.database == map.database
        {
            return Ok(());
        }
        let mapped = self.plan(map, place)?;
        let numbered = Numbered {
            database: map.database.to_owned(),
            table: map.table.to_owned(),
            columns: map.columns.clone(),
            mapped,
        };
        self.numbers.insert(map.table_id, numbered);
        Ok(())
    }

    fn plan(&mut self, map: &TableMap<'_>, place: impl Display) -> Result<Mapped> {
        if !self.filter.captures(map.database, map.table) {
            return Ok(Mapped::Ignored);
        }
        let stop = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::stop(format!(
                "source {}: the rows of {}.{} at {place} cannot be read",
                self.source, map.database, map.table
            ))
            .source(error)
            .hint(
                "Run SET GLOBAL binlog_row_metadata = 'FULL', so that the log itself says what its rows are, and take \
                     a new snapshot of the table (`headwater snapshot`).",
            )
        };
        if self.is_unseen(map) {
            let name = name_of(map.database, map.table);
            let why = format!("source {}: the catalog lacks {name}, which has rows at {place}", self.source);
            self.unseen = Some(name);
            return Err(Error::reconnect(why));
        }
        let known = self.catalog.table(map.database, map.table);
        if known.is_some_and(|def| def.sequence) {
            return Ok(Mapped::Ignored);
        }
        let checked = match known {
            Some(def) => def.check(map).map_err(|mismatch| mismatch.to_string()),
            None => Err("the catalog has no definition of it".to_owned()),
        };
        if let Err(why) = checked {
            if map.metadata.names.is_empty() {
                return Err(stop(why.into()));
            }
            tracing::warn!(
                source = self.source, table = format!("{}.{}", map.database, map.table), %why,
                "the table's definition is taken from the log's own metadata"
            );
            let def = match known {
                Some(def) => def.corrected(map, &self.charsets),
                None => TableDef::from_map(map, &self.charsets),
            };
            let def = def.map_err(|error| stop(error.into()))?;
            self.catalog.insert(def);
            self.save_definition(&TableName { database: map.database.to_owned(), table: map.table.to_owned() });
        }
        let Some(full) = self.publish(map.database, map.table) else { return Ok(Mapped::Ignored) };
        let mut plan = TablePlan::new(map, &Arc::new(full), &self.charsets).map_err(|error| {
            Error::stop(format!(
                "source {}: the rows of {}.{} at {place} cannot be read",
                self.source, map.database, map.table
            ))
            .source(error)
        })?;
        let layout = self.catalog.table(map.database, map.table).map(TableDef::layout).unwrap_or_default();
        let computed = |column: &ColumnDef| matches!(column.generated, Some(Generated::Virtual | Generated::Stored));
        layout
            .iter()
            .enumerate()
            .filter(|(_, column)| computed(column))
            .for_each(|(place, _)| plan.allow_absent(place));
        Ok(Mapped::Captured(plan))
    }

    fn is_unseen(&self, map: &TableMap<'_>) -> bool {
        let name = name_of(map.database, map.table);
        let is_new = self.catalog.table(map.database, map.table).is_none() && !self.schemas.contains_key(&name);
        let is_needed = self.reads_unread || map.metadata.names.is_empty();
        is_new && is_needed && self.gone.as_ref().is_some_and(|gone| !gone.contains(&name))
    }

    /// The id of a table's present shape, for a change without rows.
    pub fn schema_of(&mut self, database: &str, table: &str) -> Option<u32> {
        if !self.filter.captures(database, table) {
            return None;
        }
        match self.publish(database, table) {
            Some(schema) => Some(schema.id),
            None => self.schemas.get(&name_of(database, table)).map(|schema| schema.id),
        }
    }

    /// Gives the table's present shape an id, unless it has one. Answers the shape with the columns that are left out,
    /// marked; what readers know has them not.
    fn publish(&mut self, database: &str, table: &str) -> Option<Schema> {
        let def = self.catalog.table(database, table)?;
        let (mut full, layout) = (def.to_schema(0), def.layout());
        for (place, column) in full.columns.iter_mut().enumerate() {
            // Without its key a row could not be found again.
            let in_key = full.key.contains(&(place as u16));
            let unlogged = self.computed_are_unlogged && layout.get(place).is_some_and(|column| is_computed(column));
            column.excluded = !in_key && (unlogged || self.filter.excludes_column(database, table, &column.name));
        }
        let mut visible = without_excluded(&full);
        let name = name_of(database, table);
        let id = match self.schemas.get(&name) {
            Some(known) if same_shape(known, &visible) => known.id,
            _ => {
                visible.id = self.next_schema;
                self.next_schema += 1;
                self.new_schemas.push(visible.clone());
                self.schemas.insert(name, visible);
                self.next_schema - 1
            }
        };
        full.id = id;
        Some(full)
    }

    /// Whether an update changes the key.
    pub fn key_changed(&self, change: &Change<'_>) -> bool {
        let Some(schema) = self.schemas.values().find(|schema| schema.id == change.schema) else { return false };
        let key = |row: Option<headwater_model::Row<'_>>| {
            let mut key = Vec::new();
            row.inspect(|row| row.encode_key(&schema.key, &mut key));
            key
        };
        key(change.before) != key(change.after)
    }

    /// Follows a statement that may be about tables. Answers the schemas of captured tables whose rows are all gone, and
    /// whether a TRUNCATE says so.
    pub fn define(&mut self, query: &Query<'_>, sql: &str, place: impl Display) -> Result<Vec<(u32, bool)>> {
        let server_charset = query.session.server_collation.and_then(|id| self.charsets.name_of(u32::from(id)));
        let session = Session {
            database: query.database,
            sql_mode: query.session.sql_mode.unwrap_or(0),
            implicit_timestamps: self.implicit_timestamps,
            server_charset,
        };
        let events = match self.catalog.apply(&session, sql) {
            Ok(events) => events,
            Err(error) => {
                self.not_understood(error, query.database, place)?;
                Vec::new()
            }
        };
        self.save_databases();
        if !events.is_empty() {
            self.numbers.clear();
        }
        let replaces = sql.get(..64).unwrap_or(sql).to_ascii_uppercase().contains("OR REPLACE");
        let mut emptied = Vec::new();
        for event in events {
            emptied.extend(self.happened(event, replaces));
        }
        Ok(emptied)
    }

    fn happened(&mut self, event: TableEvent, replaces: bool) -> Option<(u32, bool)> {
        let captures = |name: &TableName| self.filter.captures(&name.database, &name.table);
        match event {
            TableEvent::Created(name) => {
                // CREATE OR REPLACE takes the old table's rows with it.
                let emptied = replaces && captures(&name);
                let emptied = self.schemas.get(&name).filter(|_| emptied).map(|schema| (schema.id, false));
                self.save_definition(&name);
                // Its rows are in the log from the first on.
                self.save_snapshot(&name, Some(TableState::done(&name.database, &name.table)));
                emptied
            }
            TableEvent::Altered(name) => {
                self.save_definition(&name);
                None
            }
            TableEvent::Renamed { from, to } => {
                if captures(&to) && !captures(&from) {
                    tracing::warn!(
                        source = self.source, table = %to,
                        "a table that was not captured has this name now; run `headwater snapshot` to read its rows"
                    );
                }
                self.save_definition(&from);
                self.save_definition(&to);
                self.save_snapshot(&from, None);
                None
            }
            TableEvent::Dropped(name) => {
                let emptied = captures(&name);
                self.save_definition(&name);
                self.save_snapshot(&name, None);
                self.schemas.get(&name).filter(|_| emptied).map(|schema| (schema.id, false))
            }
            TableEvent::Truncated(name) => Some((self.schema_of(&name.database, &name.table)?, true)),
            TableEvent::RowsMoved(name) => {
                if captures(&name) {
                    tracing::warn!(
                        source = self.source, table = %name,
                        "rows came or went with a partition or a tablespace, which the log does not show; run `headwater \
                         snapshot` for this table"
                    );
                }
                self.save_definition(&name);
                None
            }
            TableEvent::Unknown(name) => {
                self.save_definition(&name);
                None
            }
        }
    }

    fn not_understood(&mut self, error: DdlError, database: &str, place: impl Display) -> Result<()> {
        let captured = error.tables.iter().any(|name| self.filter.captures(&name.database, &name.table));
        let tables = error.tables.clone();
        if captured || (tables.is_empty() && self.filter.touches(database)) {
            if !self.maps_are_full {
                return Err(Error::stop(format!("source {}: a statement at {place} is not understood", self.source))
                    .source(error)
                    .hint(
                        "Run SET GLOBAL binlog_row_metadata = 'FULL', so that the log itself says what its rows are; take a \
                         new snapshot of the table (`headwater snapshot`), and please report the statement.",
                    ));
            }
            tracing::warn!(
                source = self.source, place = %place, %error,
                "a statement is not understood; the table's next rows say what they are"
            );
        }
        self.numbers.clear();
        tables.iter().for_each(|name| self.save_definition(name));
        Ok(())
    }

    fn save_definition(&mut self, name: &TableName) {
        if !self.filter.touches(&name.database) {
            return;
        }
        let def = self.catalog.table(&name.database, &name.table);
        // A definition is plain data, which always serialises.
        let value = def.and_then(|def| serde_json::to_vec(def).ok());
        self.push_state(StateUpdate { key: format!("{CATALOG_STATE}{name}"), value });
    }

    fn save_snapshot(&mut self, name: &TableName, state: Option<TableState>) {
        if self.filter.captures(&name.database, &name.table) {
            self.push_state(StateUpdate {
                key: format!("{TABLE_PREFIX}{name}"),
                value: state.map(|state| state.encode()),
            });
        }
    }

    /// The present shapes of all captured tables, as readers know them.
    pub fn captured(&mut self) -> Vec<Schema> {
        let captured = self
            .catalog
            .tables()
            .filter(|(name, def)| !def.sequence && self.filter.captures(&name.database, &name.table));
        let names: Vec<TableName> = captured.map(|(name, _)| name.clone()).collect();
        names.iter().filter_map(|name| self.shape(&name.database, &name.table)).collect()
    }

    /// Has the captured tables that are `wanted` read again, with the next append; answers how many.
    pub fn read_again(&mut self, wanted: impl Fn(&Schema) -> bool, intake: &dyn Intake) -> usize {
        let mut asked = 0;
        for schema in self.captured().into_iter().filter(wanted) {
            let key = format!("{TABLE_PREFIX}{}", schema.full_name());
            asked += 1;
            // Of a table that was never read there is nothing to compare with.
            let state = TableState::unread(&schema.database, &schema.table, intake.state(&key).is_some());
            self.push_state(StateUpdate { key, value: Some(state.encode()) });
        }
        asked
    }

    /// The tables of these schemas, each as `database.table`.
    pub fn names(&self, schemas: &BTreeSet<u32>) -> BTreeSet<String> {
        self.schemas.values().filter(|schema| schemas.contains(&schema.id)).map(Schema::full_name).collect()
    }

    /// The present shape of a table, as readers know it; `None` when there is no such table any more.
    pub fn shape(&mut self, database: &str, table: &str) -> Option<Schema> {
        self.publish(database, table)?;
        self.schemas.get(&name_of(database, table)).cloned()
    }

    fn save_databases(&mut self) {
        let databases: BTreeMap<&str, &str> = self.catalog.databases().collect();
        let bytes = serde_json::to_vec(&databases).unwrap_or_default();
        if bytes != self.databases_saved {
            self.databases_saved.clone_from(&bytes);
            self.push_state(StateUpdate { key: DATABASES_STATE.to_owned(), value: Some(bytes) });
        }
    }

    /// State that changes with the next append.
    pub fn push_state(&mut self, update: StateUpdate) {
        self.new_state.retain(|earlier| earlier.key != update.key);
        self.new_state.push(update);
    }

    /// What the next append carries.
    pub fn new_state(&self) -> &[StateUpdate] {
        &self.new_state
    }

    /// What the next append carries.
    pub fn new_schemas(&self) -> &[Schema] {
        &self.new_schemas
    }

    /// Whether the next append carries anything.
    pub fn has_news(&self) -> bool {
        !self.new_state.is_empty() || !self.new_schemas.is_empty()
    }

    /// Schemas were announced.
    pub fn announced(&mut self) {
        self.new_schemas.clear();
    }

    /// What was to be carried has been appended.
    pub fn saved(&mut self) {
        self.new_schemas.clear();
        self.new_state.clear();
    }
}

fn is_computed(column: &ColumnDef) -> bool {
    matches!(column.generated, Some(Generated::Virtual | Generated::Stored))
}

fn name_of(database: &str, table: &str) -> TableName {
    TableName { database: database.to_owned(), table: table.to_owned() }
}

fn same_shape(known: &Schema, new: &Schema) -> bool {
    known.columns == new.columns && known.key == new.key && known.message_key == new.message_key
}

fn without_excluded(full: &Schema) -> Schema {
    let kept = |place: &usize| !full.columns[*place].excluded;
    let places: Vec<usize> = (0..full.columns.len()).filter(kept).collect();
    let moved = |old: &u16| places.iter().position(|&place| place == usize::from(*old)).map(|new| new as u16);
    Schema {
        columns: places.iter().map(|&place| full.columns[place].clone()).collect(),
        key: full.key.iter().filter_map(moved).collect(),
        message_key: full.message_key.as_ref().map(|key| key.iter().filter_map(moved).collect()),
        ..full.clone()
    }
}
