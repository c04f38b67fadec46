//! A table's shape at one point of the log. Versions are never changed: a DDL statement makes a new one.
//!
//! Invariant: a schema's id names one shape for ever within its journal, so a change that carries the id can be read
//! at any later time.

use serde::{Deserialize, Serialize};

/// One version of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Unique in the journal; changes refer to it.
    pub id: u32,
    /// The database (MySQL) or schema (PostgreSQL).
    pub database: String,
    /// The table.
    pub table: String,
    /// In the order of the table, hidden ones too.
    pub columns: Vec<Column>,
    /// Indices into `columns` that identify a row, in key order; empty for a table without a key.
    pub key: Vec<u16>,
    /// Indices into `columns` that make the key of the table's records, where a configuration chose others than `key`.
    /// Rows need not be unique by them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_key: Option<Vec<u16>>,
    /// The table's comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// One column of a [`Schema`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, as written in the DDL.
    pub name: String,
    /// Its type.
    pub kind: Type,
    /// The type as the server prints it, such as `decimal(10,2) unsigned` or `numeric(10,2)[]`.
    pub native: String,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// It is NOT NULL by its key or the like, and the statement of the log that defined it last did not say so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unsaid_not_null: bool,
    /// The default as the server prints it; `None` when there is none or it is NULL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// In the log but not in `SELECT *`: invisible columns and the row times of system versioning.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hidden: bool,
    /// Left out by a column filter: the source does not put it into rows.
    #[serde(default, skip_serializing_if = "is_false")]
    pub excluded: bool,
    /// Its comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Column {
    /// A nullable column without a default, shown by `SELECT *`.
    pub fn new(name: &str, kind: Type, native: &str) -> Self {
        Column {
            name: name.into(),
            kind,
            native: native.into(),
            nullable: true,
            unsaid_not_null: false,
            default: None,
            hidden: false,
            excluded: false,
            comment: None,
        }
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// A column's type: what a value of it looks like, and what a rendering has to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Type {
    /// An integer of 8, 16, 24, 32 or 64 bits.
    Int {
        /// Width.
        bits: u8,
        /// Without sign.
        unsigned: bool,
    },
    /// A 32-bit float.
    Float,
    /// A 64-bit float.
    Double,
    /// A fixed-point number.
    Decimal {
        /// Digits in all.
        precision: u16,
        /// Digits after the point; PostgreSQL allows fewer than none, which rounds before the point.
        scale: i16,
    },
    /// A number of any size and scale (PostgreSQL's `numeric` without either).
    Numeric,
    /// An amount of money; values are decimals with `scale` digits after the point.
    Money {
        /// Digits after the point.
        scale: u8,
    },
    /// A year.
    Year,
    /// A date.
    Date,
    /// A duration; `fraction` digits of a second.
    Time {
        /// 0 to 6.
        fraction: u8,
    },
    /// A date and time without zone.
    DateTime {
        /// 0 to 6.
        fraction: u8,
    },
    /// An instant.
    Timestamp {
        /// 0 to 6.
        fraction: u8,
    },
    /// Text in `charset` (MySQL's name, such as `utf8mb4`).
    Text {
        /// Character set in which the log holds it.
        charset: String,
    },
    /// Bytes; `fixed` is BINARY(n)'s width, to which values are padded.
    Bytes {
        /// Width of BINARY(n).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fixed: Option<u32>,
    },
    /// A bit string.
    Bit {
        /// 1 to 64.
        width: u8,
    },
    /// One of `members`.
    Enum {
        /// In the order of their numbers, from 1.
        members: Vec<String>,
    },
    /// Any of `members`.
    Set {
        /// In the order of their bits, from the lowest.
        members: Vec<String>,
    },
    /// A JSON document.
    Json,
    /// A spatial value.
    Geometry,
    /// 32-bit floats.
    Vector,
    /// A UUID (MariaDB).
    Uuid,
    /// An IPv4 address (MariaDB).
    Inet4,
    /// An IPv6 address (MariaDB).
    Inet6,
    /// True or false.
    Bool,
    /// A time of day with its distance from UTC; `fraction` digits of a second.
    TimeTz {
        /// 0 to 6.
        fraction: u8,
    },
    /// Months, days and microseconds.
    Interval,
    /// A bit string longer than 64 bits, or of any length.
    BitString {
        /// The length that values have, or must not exceed when they vary; `None`: any.
        width: Option<u32>,
        /// Whether values may be shorter.
        varying: bool,
    },
    /// Texts by text keys (PostgreSQL's `hstore`); values are JSON objects of strings and nulls.
    Hstore,
    /// A point of the plane (PostgreSQL's `point`); values are geometries.
    Point,
    /// Values of one type in any number of dimensions.
    Array {
        /// The type of an element.
        element: Box<Type>,
    },
    /// A type that we do not know; values are the text that the server prints.
    Unknown {
        /// PostgreSQL's number of the type.
        oid: u32,
    },
}

impl Schema {
    /// The shape `id` of `database.table`, whose rows `key` identifies.
    pub fn new(id: u32, database: &str, table: &str, columns: Vec<Column>, key: Vec<u16>) -> Self {
        let (database, table) = (database.into(), table.into());
        Schema { id, database, table, columns, key, message_key: None, comment: None }
    }

    /// The columns of its records' key, in key order.
    pub fn record_key(&self) -> &[u16] {
        self.message_key.as_deref().unwrap_or(&self.key)
    }

    /// Where each of this schema's columns stands in rows of `other`, another shape of the table.
    pub fn places_in(&self, other: &Schema) -> Vec<Option<usize>> {
        self.columns.iter().map(|column| other.column(&column.name).map(|(place, _)| place)).collect()
    }

    /// `database.table`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }

    /// The names of the key's columns, in key order.
    pub fn key_names(&self) -> impl Iterator<Item = &str> {
        self.key.iter().filter_map(|&column| self.columns.get(usize::from(column))).map(|column| &*column.name)
    }

    /// The columns that rows carry, with their places.
    pub fn column(&self, name: &str) -> Option<(usize, &Column)> {
        self.columns.iter().enumerate().find(|(_, column)| column.name == name)
    }
}
