//! One table's definition, and what follows from it: the columns that rows carry, and the key that identifies a row.
//!
//! Invariant: a definition holds what was declared; the columns that MariaDB adds by itself (row times of system
//! versioning, hashes of long unique keys) are derived when asked for, so no statement has to keep them in step.
//! Start at [`TableDef::layout`].

use std::borrow::Cow;

use headwater_model::{Column, Schema};
use serde::{Deserialize, Serialize};

use super::charset;
use super::native::{Native, Sign};

/// A table's definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDef {
    /// Its database.
    pub database: String,
    /// Its name.
    pub table: String,
    /// What text columns get that name no character set.
    pub charset: String,
    /// In order, as declared.
    pub columns: Vec<ColumnDef>,
    /// In the order of declaration, unique or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Key>,
    /// MariaDB's application-time periods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub periods: Vec<Period>,
    /// MariaDB keeps the history of its rows.
    #[serde(default, skip_serializing_if = "is_false")]
    pub versioned: bool,
    /// A MariaDB sequence, whose one row is in the log as well.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sequence: bool,
    /// Written by MariaDB, which adds columns of its own.
    #[serde(default, skip_serializing_if = "is_false")]
    pub mariadb: bool,
}

/// A column's definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDef {
    /// Its name, as written.
    pub name: String,
    /// Its type.
    pub native: Native,
    /// The type's name as a statement of the log wrote it, where that tells more than the type: `boolean`, `real`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Of text columns alone; `binary` makes bytes of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// It is NOT NULL, and its definition does not say so: its key does, or what it is for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unsaid_not_null: bool,
    /// An SQL literal or expression; `None` when there is none or it is NULL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Its comment, with the escapes of the statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Not in `SELECT *`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hidden: bool,
    /// Stored compressed (MariaDB).
    #[serde(default, skip_serializing_if = "is_false")]
    pub compressed: bool,
    /// What computes it, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Generated>,
}

/// How a column gets its values by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generated {
    /// Computed when read.
    Virtual,
    /// Computed when written.
    Stored,
    /// Begin of the row's validity.
    RowStart,
    /// End of the row's validity.
    RowEnd,
}

/// An index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// `PRIMARY` for the primary key.
    pub name: String,
    /// UNIQUE or PRIMARY.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unique: bool,
    /// Its columns; empty for an index over expressions.
    pub parts: Vec<KeyPart>,
}

/// One column of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPart {
    /// The column.
    pub column: String,
    /// The characters that are indexed, if not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<u32>,
}

/// An application-time period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// Its name.
    pub name: String,
    /// The column with its start.
    pub start: String,
    /// The column with its end.
    pub end: String,
}

/// The name of the primary key's index.
pub(crate) const PRIMARY: &str = "PRIMARY";
/// InnoDB's longest key; MariaDB hashes a longer unique one into a column of its own.
const KEY_BYTES_MAX: u64 = 3_072;

fn is_false(flag: &bool) -> bool {
    !flag
}

/// Names of columns and indexes are compared without regard to case.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}

impl TableDef {
    /// The table's schema under this id.
    pub fn to_schema(&self, id: u32) -> Schema {
        let columns = self.layout().iter().map(|column| column.to_model()).collect();
        Schema::new(id, &self.database, &self.table, columns, self.key())
    }

    /// The columns that the log's rows carry, in order: the declared ones, then MariaDB's own.
    pub fn layout(&self) -> Vec<Cow<'_, ColumnDef>> {
        let mut columns: Vec<_> = self.columns.iter().map(Cow::Borrowed).collect();
        if self.versioned && !self.has_row_times() {
            columns.push(Cow::Owned(ColumnDef::row_time("row_start", Generated::RowStart)));
            columns.push(Cow::Owned(ColumnDef::row_time("row_end", Generated::RowEnd)));
        }
        let hashed = self.keys.iter().filter(|key| self.is_hashed(key)).count();
        columns.extend((1..=hashed).map(|number| Cow::Owned(ColumnDef::row_hash(number))));
        columns
    }

    /// The places in [`Self::layout`] of the columns that identify a row, in key order: the primary key, else the first
    /// unique index over whole columns that are NOT NULL. A versioned table's history has the end of validity as well.
    pub fn key(&self) -> Vec<u16> {
        let key = self.keys.iter().find(|key| key.name == PRIMARY);
        let Some(key) = key.or_else(|| self.keys.iter().find(|key| self.identifies(key))) else { return Vec::new() };
        let layout = self.layout();
        let place = |name: &str| layout.iter().position(|column| same_name(&column.name, name));
        let mut places: Vec<usize> = Vec::new();
        for part in &key.parts {
            // A period in a key stands for the columns of its end and its start.
            match self.periods.iter().find(|period| same_name(&period.name, &part.column)) {
                Some(period) => places.extend([&period.end, &period.start].into_iter().filter_map(|name| place(name))),
                None => places.extend(place(&part.column)),
            }
        }
        if self.versioned
            && let Some(end) = layout.iter().position(|column| column.generated == Some(Generated::RowEnd))
            && !places.contains(&end)
        {
            places.push(end);
        }
        places.into_iter().filter_map(|place| u16::try_from(place).ok()).collect()
    }

    /// The declared column of this name.
    pub fn column(&self, name: &str) -> Option<&ColumnDef> {
        self.columns.iter().find(|column| same_name(&column.name, name))
    }

    fn has_row_times(&self) -> bool {
        self.columns.iter().any(|column| column.generated == Some(Generated::RowEnd))
    }

    fn identifies(&self, key: &Key) -> bool {
        let whole = |part: &KeyPart| match self.column(&part.column) {
            Some(column) => {
                !column.nullable && part.prefix.is_none_or(|prefix| column.native.characters() == Some(prefix))
            }
            None => self.periods.iter().any(|period| same_name(&period.name, &part.column)),
        };
        key.unique && !key.parts.is_empty() && key.parts.iter().all(whole) && !self.is_hashed(key)
    }

    /// Whether MariaDB keeps this unique key as a hash in a hidden column.
    fn is_hashed(&self, key: &Key) -> bool {
        if !self.mariadb || !key.unique {
            return false;
        }
        let mut bytes = 0u64;
        for part in &key.parts {
            let Some(column) = self.column(&part.column) else { continue };
            let width = u64::from(column.charset.as_deref().map_or(1, charset::bytes_per_character));
            match (part.prefix.or_else(|| column.native.characters()), &column.native) {
                (Some(characters), _) => bytes += u64::from(characters) * width,
                (None, Native::Text { .. } | Native::JsonText | Native::Geometry { .. }) => return true,
                (None, _) => bytes += 8,
            }
        }
        bytes > KEY_BYTES_MAX
    }
}

impl ColumnDef {
    fn row_time(name: &str, generated: Generated) -> Self {
        ColumnDef {
            name: name.to_owned(),
            native: Native::Timestamp { fraction: 6 },
            alias: None,
            charset: None,
            nullable: false,
            unsaid_not_null: false,
            default: None,
            comment: None,
            hidden: true,
            compressed: false,
            generated: Some(generated),
        }
    }

    fn row_hash(number: usize) -> Self {
        let sign = Sign { unsigned: true, zerofill: false };
        ColumnDef {
            name: format!("DB_ROW_HASH_{number}"),
            native: Native::Int { bits: 64, width: Some(20), sign },
            alias: None,
            charset: None,
            nullable: true,
            unsaid_not_null: false,
            default: None,
            comment: None,
            hidden: true,
            compressed: false,
            generated: Some(Generated::Virtual),
        }
    }

    /// The type as `information_schema.COLUMNS.COLUMN_TYPE` prints it.
    pub fn native_text(&self) -> String {
        let text = self.native.print(self.charset.as_deref());
        if self.compressed { text + " /*M!100301 COMPRESSED*/" } else { text }
    }

    fn to_model(&self) -> Column {
        let native = self.alias.clone().unwrap_or_else(|| self.native_text());
        Column {
            nullable: self.nullable,
            unsaid_not_null: self.unsaid_not_null,
            default: self.default.clone(),
            comment: self.comment.clone(),
            hidden: self.hidden,
            ..Column::new(&self.name, self.native.to_type(self.charset.as_deref()), &native)
        }
    }
}

impl Native {
    /// The characters that a CHAR or VARCHAR holds.
    pub(crate) fn characters(&self) -> Option<u32> {
        match self {
            Native::Char { length } | Native::VarChar { length } => Some(*length),
            _ => None,
        }
    }
}
