//! The tables of the stream: which are captured, how their rows are read, and under which schema they stand in the journal.
//!
//! A relation message says how the rows after it look; what it leaves out comes from the catalogue as it is now. Invariant:
//! a shape that was announced keeps its number, and a new shape gets a new one. Start at [`Tables::relation`].

use super::catalogue::Catalogue;
use super::config::{Options, SnapshotMode, SnapshotScope};
use super::decode::{Identity, PlannedColumn, Relation, RowPlan, Table, Types};
use super::lsn::Lsn;
use super::snapshot::{Select, TABLE_PREFIX, TableState};
use headwater_model::source::{Intake, StateUpdate};
use headwater_model::{Change, Column, Result, Schema, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// What a relation's number stands for.
pub enum Mapped {
    /// A table that is not captured.
    Ignored,
    /// A table whose rows are read.
    Captured(Box<Captured>),
}

/// How the rows of a captured table are read.
pub struct Captured {
    /// From the stream to the model's encoding.
    pub plan: RowPlan,
    /// The shape of its rows.
    pub schema: u32,
    /// The columns of its records' key.
    pub key: Vec<u16>,
    /// The snapshot holds what was committed before.
    pub read_as_of: Lsn,
    /// The log carries old rows whole.
    pub is_whole: bool,
}

/// Everything that is known of tables.
pub struct Tables {
    options: Arc<Options>,
    types: Types,
    /// The latest shape of each table, by schema and name.
    schemas: HashMap<(String, String), Schema>,
    next_schema: u32,
    relations: HashMap<u32, Mapped>,
    /// As of which place a snapshot has read a table.
    read_as_of: HashMap<(String, String), Lsn>,
    new_schemas: Vec<Schema>,
    new_state: Vec<StateUpdate>,
}

impl Tables {
    /// What the journal knows; no relation has been seen yet.
    pub fn new(options: Arc<Options>, types: Types, intake: &dyn Intake) -> Self {
        let (schemas, next_schema) = intake.schemas();
        let read_as_of = TableState::all(intake).map(|(_, state)| {
            let [schema, table] = state.name;
            ((schema, table), state.as_of.unwrap_or_default())
        });
        Tables {
            types,
            schemas: schemas.into_iter().map(|schema| (name_of(&schema.database, &schema.table), schema)).collect(),
            next_schema,
            relations: HashMap::new(),
            read_as_of: read_as_of.collect(),
            new_schemas: Vec::new(),
            new_state: Vec::new(),
            options,
        }
    }

    /// The server's types, as far as they were needed.
    pub fn types_mut(&mut self) -> &mut Types {
        &mut self.types
    }

    /// What a relation's number stands for, if a message has said.
    #[inline]
    pub fn mapped(&mut self, oid: u32) -> Option<&mut Mapped> {
        self.relations.get_mut(&oid)
    }

    /// Takes a relation message.
    pub fn relation(&mut self, relation: &Relation<'_>, catalogue: &mut Catalogue, intake: &dyn Intake) -> Result<()> {
        let (database, table) = (relation.namespace, relation.name);
        if !self.options.filter.captures(database, table) {
            self.relations.insert(relation.oid, Mapped::Ignored);
            return Ok(());
        }
        catalogue.learn(&mut self.types, relation.columns().map(|column| column.type_oid))?;
        let found = catalogue.table(relation.oid)?;
        let columns = Table::relation_columns(relation, found.as_ref(), &self.types);
        let shape = self.shape(database, table, columns, found.as_ref());
        let plan = RowPlan::of_relation(relation, &self.types, |column| shape.excludes(column));
        let name = name_of(database, table);
        if !self.read_as_of.contains_key(&name) {
            self.first_seen(&name, intake);
        }
        let read_as_of = self.read_as_of.get(&name).copied().unwrap_or_default();
        let schema = self.publish(shape.schema);
        let key = schema.record_key().to_vec();
        let is_whole = relation.identity == Identity::Full;
        let captured = Captured { plan, schema: schema.id, key, read_as_of, is_whole };
        self.relations.insert(relation.oid, Mapped::Captured(Box::new(captured)));
        Ok(())
    }

    /// How the rows of a table are selected, in the shape that it has now. A table that others inherit from is read by
    /// itself, unless every table is read as Debezium does.
    pub fn select(&mut self, table: &Table) -> Select {
        let shape = self.shape(&table.schema, &table.name, table.columns(&self.types), Some(table));
        let kept = |column: &PlannedColumn<'_>| !shape.excludes(column.name);
        let columns: Vec<PlannedColumn<'_>> = table.planned_columns().filter(kept).collect();
        let names = columns.iter().map(|column| column.name.to_owned()).collect();
        let plan = RowPlan::new(&table.full_name(), columns, &self.types);
        let only = self.options.snapshot_scope == SnapshotScope::Published && !table.is_partitioned;
        Select::new(Arc::new(self.publish(shape.schema).clone()), only, names, plan)
    }

    /// The latest shape of a table, if it has one.
    pub fn latest(&self, database: &str, table: &str) -> Option<&Schema> {
        self.schemas.get(&name_of(database, table))
    }

    /// Whether an update changes the key of its records.
    pub fn key_changed(&self, change: &Change<'_>) -> bool {
        let Some(schema) = self.schemas.values().find(|schema| schema.id == change.schema) else { return false };
        let (Some(before), Some(after)) = (change.before, change.after) else { return false };
        let key = schema.record_key();
        // Without an old row the identity has not changed.
        before.values().any(|value| value != Value::Absent)
            && key.iter().any(|&column| before.get(usize::from(column)) != after.get(usize::from(column)))
    }

    /// A table that no snapshot has read: it came after the first start, so the log has all of its rows.
    fn first_seen(&mut self, name: &(String, String), intake: &dyn Intake) {
        let key = state_key(&name.0, &name.1);
        self.read_as_of.insert(name.clone(), Lsn(0));
        if self.options.snapshot != SnapshotMode::Never && intake.state(&key).is_none() {
            self.push_state(StateUpdate { key, value: Some(TableState::done(&name.0, &name.1).encode()) });
        }
    }

    fn shape(&self, database: &str, table: &str, columns: Vec<Column>, found: Option<&Table>) -> Shape {
        let names: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
        let keys = found.map(|found| found.keys(&names)).unwrap_or_default();
        let in_key = |place: usize| {
            let place = place as u16;
            keys.row.contains(&place) || keys.record.contains(&place)
        };
        // Without its key a row could not be found again.
        let excluded =
            |place: usize| !in_key(place) && self.options.filter.excludes_column(database, table, &columns[place].name);
        let places: Vec<usize> = (0..columns.len()).filter(|place| !excluded(*place)).collect();
        let moved = |old: &u16| places.iter().position(|place| *place == usize::from(*old)).map(|new| new as u16);
        let key: Vec<u16> = keys.row.iter().filter_map(moved).collect();
        let record: Vec<u16> = keys.record.iter().filter_map(moved).collect();
        // Rows carry a key all the same, but records show it in their keys alone.
        let hidden = |place: usize| self.options.filter.excludes_column(database, table, &columns[place].name);
        let kept = places.iter().map(|place| Column { excluded: hidden(*place), ..columns[*place].clone() }).collect();
        let mut schema = Schema::new(0, database, table, kept, key);
        schema.message_key = (record != schema.key).then_some(record);
        schema.comment = found.and_then(|found| found.comment.clone());
        let excluded = (0..columns.len()).filter(|place| excluded(*place)).map(|place| columns[place].name.clone());
        Shape { excluded: excluded.collect(), schema }
    }

    /// Gives a shape its number: the one that it has, or a new one.
    fn publish(&mut self, shape: Schema) -> &Schema {
        let name = name_of(&shape.database, &shape.table);
        let is_known = self.schemas.get(&name).is_some_and(|known| same_shape(known, &shape));
        if !is_known {
            let schema = Schema { id: self.next_schema, ..shape };
            self.next_schema += 1;
            self.new_schemas.push(schema.clone());
            self.schemas.insert(name.clone(), schema);
        }
        &self.schemas[&name]
    }

    /// A snapshot has read a table.
    pub fn was_read(&mut self, database: &str, table: &str, as_of: Lsn) {
        self.read_as_of.insert(name_of(database, table), as_of);
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

/// A shape that has no number yet.
struct Shape {
    excluded: Vec<String>,
    schema: Schema,
}

impl Shape {
    fn excludes(&self, column: &str) -> bool {
        self.excluded.iter().any(|excluded| excluded == column)
    }
}

/// The state key of a table's snapshot.
pub fn state_key(database: &str, table: &str) -> String {
    format!("{TABLE_PREFIX}{database}.{table}")
}

fn name_of(database: &str, table: &str) -> (String, String) {
    (database.to_owned(), table.to_owned())
}

fn same_shape(known: &Schema, new: &Schema) -> bool {
    known.columns == new.columns
        && known.key == new.key
        && known.message_key == new.message_key
        && known.comment == new.comment
}
