//! What CREATE and ALTER TABLE do to a definition.
//!
//! Invariant: after any statement, the columns of the primary key and of periods are NOT NULL, and every key has a name,
//! as in the server. Start at [`create`] and [`alter`].

use super::charset;
use super::column::WrittenColumn;
use super::create::column_keys;
use super::default::canonical_default;
use super::native::{BINARY, Native, Sign};
use super::statement::{Action, Definition, Place};
use super::table::{ColumnDef, Key, PRIMARY, TableDef, same_name};

/// A table from the body of CREATE TABLE, in a database of this character set.
pub(crate) fn create(
    name: (String, String),
    definition: Definition,
    database_charset: &str,
    mariadb: bool,
) -> TableDef {
    let Definition { columns, keys, periods, options } = definition;
    let charset = options.charset.unwrap_or_else(|| database_charset.to_owned());
    let versioned = options.versioned || columns.iter().any(|column| column.versioned);
    let columns = columns.into_iter().map(|column| column.settle(&charset)).collect();
    let (database, table) = name;
    let mut def =
        TableDef { database, table, charset, columns, keys: Vec::new(), periods, versioned, sequence: false, mariadb };
    for key in keys {
        def.add_saying_key(key);
    }
    def.settle();
    def
}

/// MariaDB's CREATE SEQUENCE.
pub(crate) fn sequence(name: (String, String), database_charset: &str) -> TableDef {
    let column = |name: &str, bits, width, unsigned| ColumnDef {
        name: name.to_owned(),
        native: Native::Int { bits, width: Some(width), sign: Sign { unsigned, zerofill: false } },
        alias: None,
        charset: None,
        nullable: false,
        unsaid_not_null: false,
        default: None,
        comment: None,
        hidden: false,
        compressed: false,
        generated: None,
    };
    let (database, table) = name;
    TableDef {
        database,
        table,
        charset: database_charset.to_owned(),
        columns: vec![
            column("next_not_cached_value", 64, 21, false),
            column("minimum_value", 64, 21, false),
            column("maximum_value", 64, 21, false),
            column("start_value", 64, 21, false),
            column("increment", 64, 21, false),
            column("cache_size", 64, 21, true),
            column("cycle_option", 8, 1, true),
            column("cycle_count", 64, 21, false),
        ],
        keys: Vec::new(),
        periods: Vec::new(),
        versioned: false,
        sequence: true,
        mariadb: true,
    }
}

/// What an action needs that the table has not got.
pub(crate) type Missing = &'static str;

const NO_COLUMN: Missing = "a column that the catalog knows";
const NEW_COLUMN: Missing = "a column that the catalog does not know yet";

/// Applies the actions of one ALTER TABLE that concern the table itself. As in the server, old columns are dropped,
/// renamed and changed first, and then those that are new or move find their places, in the order of the statement.
pub(crate) fn alter(def: &mut TableDef, actions: Vec<Action>, database_charset: &str) -> Result<(), Missing> {
    let default = |charset: &Option<String>| charset.clone().unwrap_or_else(|| database_charset.to_owned());
    for action in &actions {
        if let Action::DefaultCharset { charset } | Action::Convert { charset } = action {
            def.charset = default(charset);
        }
    }
    let converts = actions.iter().any(|action| matches!(action, Action::Convert { .. }));
    let (moves, rest) = change_columns(def, actions)?;
    for (column, place, old) in moves {
        def.place_column(column, place, old)?;
    }
    if converts {
        def.convert();
    }
    // Indexes are dropped before others are added, whatever their order in the statement.
    let (drops, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|action| matches!(action, Action::DropKey(_)));
    for action in drops.into_iter().chain(others) {
        def.act(action)?;
    }
    def.settle();
    Ok(())
}

/// A column, where it goes, and whether it is an old one that moves.
type Move = (ColumnDef, Place, bool);

/// Changes the old columns where they stand. Gives back the columns to place, and the actions that are not about columns.
fn change_columns(def: &mut TableDef, actions: Vec<Action>) -> Result<(Vec<Move>, Vec<Action>), Missing> {
    let old = def.columns.clone();
    let find = |name: &str| old.iter().position(|column| same_name(&column.name, name));
    let mut next: Vec<Option<ColumnDef>> = old.iter().cloned().map(Some).collect();
    let (mut moves, mut rest) = (Vec::new(), Vec::new());
    let table_charset = def.charset.clone();
    let settle = |column: WrittenColumn, rest: &mut Vec<Action>| {
        rest.extend(column_keys(&column.name, column.primary, column.unique).map(Action::AddKey));
        column.settle(&table_charset)
    };
    for action in actions {
        match action {
            Action::AddColumn { column, if_not_exists, .. } if if_not_exists && find(&column.name).is_some() => {}
            Action::AddColumn { column, place, .. } => moves.push((settle(column, &mut rest), place, false)),
            Action::ChangeColumn { old, column, place, if_exists } => match find(&old) {
                Some(at) => {
                    let column = settle(column, &mut rest);
                    if place != Place::Unsaid {
                        moves.push((column.clone(), place, true));
                    }
                    next[at] = Some(column);
                }
                None if if_exists => {}
                None => return Err(NO_COLUMN),
            },
            Action::DropColumn { column, if_exists } => match find(&column) {
                Some(at) => next[at] = None,
                None if if_exists => {}
                None => return Err(NO_COLUMN),
            },
            Action::RenameColumn { old, new, if_exists } => match find(&old).and_then(|at| next[at].as_mut()) {
                Some(column) => column.name = new,
                None if if_exists => {}
                None => return Err(NO_COLUMN),
            },
            other => rest.push(other),
        }
    }
    let names = old.iter().zip(&next).map(|(old, new)| (old.name.clone(), new.as_ref().map(|new| new.name.clone())));
    def.rename_key_columns(&names.collect::<Vec<_>>());
    def.columns = next.into_iter().flatten().collect();
    Ok((moves, rest))
}

impl TableDef {
    fn place_column(&mut self, column: ColumnDef, place: Place, moves: bool) -> Result<(), Missing> {
        let at = |columns: &[ColumnDef], name: &str| columns.iter().position(|column| same_name(&column.name, name));
        match (at(&self.columns, &column.name), moves) {
            (Some(old), true) => drop(self.columns.remove(old)),
            (Some(_), false) => return Err(NEW_COLUMN),
            (None, true) => return Err(NO_COLUMN),
            (None, false) => {}
        }
        let place = match place {
            Place::Unsaid => self.columns.len(),
            Place::First => 0,
            Place::After(name) => at(&self.columns, &name).ok_or(NO_COLUMN)? + 1,
        };
        self.columns.insert(place, column);
        Ok(())
    }

    /// An action on what is neither new nor moved.
    fn act(&mut self, action: Action) -> Result<(), Missing> {
        match action {
            Action::SetDefault { column, default } => {
                let column = self.column_mut(&column)?;
                column.default = default.map(|text| canonical_default(&column.native, text));
            }
            Action::SetHidden { column, hidden } => self.column_mut(&column)?.hidden = hidden,
            // What is dropped may be a foreign key or a check, which are not kept here.
            Action::DropKey(name) => self.keys.retain(|key| !same_name(&key.name, &name)),
            Action::RenameKey { old, new } => {
                for key in self.keys.iter_mut().filter(|key| same_name(&key.name, &old)) {
                    key.name.clone_from(&new);
                }
            }
            Action::AddKey(key) => self.add_saying_key(key),
            Action::AddPeriod(period) => self.periods.push(period),
            Action::DropPeriod(name) => self.periods.retain(|period| !same_name(&period.name, &name)),
            Action::Versioning(versioned) => self.versioned = versioned,
            _ => {}
        }
        Ok(())
    }

    /// A primary key says NOT NULL of the columns that are there; one of them that is defined again has to say it itself.
    fn add_saying_key(&mut self, key: Key) {
        for column in self.columns.iter_mut().filter(|_| key.name == PRIMARY) {
            let is_part = key.parts.iter().any(|part| same_name(&part.column, &column.name));
            column.unsaid_not_null &= !is_part;
        }
        self.add_key(key);
    }

    fn column_mut(&mut self, name: &str) -> Result<&mut ColumnDef, Missing> {
        self.columns.iter_mut().find(|column| same_name(&column.name, name)).ok_or(NO_COLUMN)
    }

    /// Carries the columns' new names into the keys; a dropped column leaves its keys, and an empty key goes.
    fn rename_key_columns(&mut self, names: &[(String, Option<String>)]) {
        let new = |name: &str| match names.iter().find(|(old, _)| same_name(old, name)) {
            Some((_, new)) => new.clone(),
            // A period, or the hidden end of validity.
            None => Some(name.to_owned()),
        };
        for key in &mut self.keys {
            let had_parts = !key.parts.is_empty();
            key.parts.retain_mut(|part| match new(&part.column) {
                Some(name) => {
                    part.column = name;
                    true
                }
                None => false,
            });
            if had_parts && key.parts.is_empty() {
                key.name.clear();
            }
        }
        self.keys.retain(|key| !key.name.is_empty());
    }

    /// Adds a key; one without a name is called after its first column, with a number if that is taken.
    fn add_key(&mut self, mut key: Key) {
        let taken = |keys: &[Key], name: &str| keys.iter().any(|key| same_name(&key.name, name));
        if key.name.is_empty() {
            let first = key.parts.first().map_or("functional_index", |part| part.column.as_str());
            let numbered = (2..).map(|number| format!("{first}_{number}"));
            let mut names = std::iter::once(first.to_owned()).chain(numbered);
            key.name = names.find(|name| !taken(&self.keys, name) && name != PRIMARY).unwrap_or_default();
        } else if taken(&self.keys, &key.name) {
            return;
        }
        self.keys.push(key);
    }

    /// CONVERT TO CHARACTER SET: every text column, and larger size classes where characters become wider.
    fn convert(&mut self) {
        let charset = self.charset.clone();
        let new_width = u64::from(charset::bytes_per_character(&charset));
        for column in &mut self.columns {
            let Some(old) = column.charset.take() else { continue };
            if old == BINARY {
                column.charset = Some(old);
                continue;
            }
            let old_width = u64::from(charset::bytes_per_character(&old));
            column.charset = Some(charset.clone());
            match &mut column.native {
                Native::Text { size } if new_width > old_width => *size = (*size + 1).min(4),
                Native::VarChar { length } if u64::from(*length) * new_width > super::column::VARCHAR_BYTES_MAX => {
                    column.native = Native::Text { size: super::column::text_size(u64::from(*length) * new_width) };
                }
                _ => {}
            }
        }
    }

    /// What follows from keys and periods for the columns.
    fn settle(&mut self) {
        let mut names: Vec<String> = Vec::new();
        for key in self.keys.iter().filter(|key| key.name == PRIMARY) {
            names.extend(key.parts.iter().map(|part| part.column.clone()));
        }
        names.extend(self.periods.iter().flat_map(|period| [period.start.clone(), period.end.clone()]));
        for column in &mut self.columns {
            if names.iter().any(|name| same_name(name, &column.name)) {
                column.nullable = false;
            }
            column.unsaid_not_null &= !column.nullable;
        }
    }
}
