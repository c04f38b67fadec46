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
}

/// One column of a [`Schema`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, as written in the DDL.
    pub name: String,
    /// Its type.
    pub kind: Type,
    /// The type as the server prints it, such as `decimal(10,2) unsigned`.
    pub native: String,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// The default as the server prints it; `None` when there is none or it is NULL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// In the log but not in `SELECT *`: invisible columns and the row times of system versioning.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hidden: bool,
    /// Left out by a column filter: the source does not put it into rows.
    #[serde(default, skip_serializing_if = "is_false")]
    pub excluded: bool,
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
        /// Digits after the point.
        scale: u16,
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
}

impl Schema {
    /// `database.table`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }

    /// The columns that rows carry, with their places.
    pub fn column(&self, name: &str) -> Option<(usize, &Column)> {
        self.columns.iter().enumerate().find(|(_, column)| column.name == name)
    }
}
