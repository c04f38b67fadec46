//! What each column's bytes become: a table map checked against a schema, once per table and schema version.
//!
//! Invariant: a plan exists only when every column's type in the log is the schema's; anything else is a [`Mismatch`]
//! that names the column and both types, because decoding with a wrong type invents data. Start at [`TablePlan::new`].

use super::bytes::{Bytes, Read};
use super::cell::{Becomes, Scratch};
use super::charset::{Charsets, Codec, canonical};
use super::decimal::Layout;
use super::table_map::{ColumnMap, TableMap, column_type as ty};
use super::temporal::fraction_bytes;
use headwater_model::{Column, Schema, Type};
use std::sync::Arc;

/// How to read the rows of one table with one schema.
pub struct TablePlan {
    pub(super) schema: Arc<Schema>,
    pub(super) columns: Vec<ColumnPlan>,
    /// Columns that rows carry.
    pub(super) visible: usize,
    pub(super) scratch: Scratch,
}

pub(super) struct ColumnPlan {
    pub width: Width,
    pub becomes: Becomes,
    pub excluded: bool,
    pub key: bool,
    /// MySQL's JSON: differences may stand for it.
    pub json: bool,
    /// A row may lack it without being incomplete.
    pub may_be_absent: bool,
}

/// How many bytes a value takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Fixed(usize),
    /// After a length of 1 to 4 bytes.
    Prefix(u8),
}

impl Width {
    #[inline]
    pub fn take<'a>(self, input: &mut Bytes<'a>) -> Read<&'a [u8]> {
        const WHAT: &str = "the row is cut off";
        let length = match self {
            Width::Fixed(length) => length,
            Width::Prefix(1) => usize::from(input.u8(WHAT)?),
            Width::Prefix(2) => usize::from(input.u16(WHAT)?),
            Width::Prefix(bytes) => input.uint(usize::from(bytes), WHAT)? as usize,
        };
        input.take(length, WHAT)
    }
}

/// A table map and a schema do not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: the log has {seen}, but the schema at hand has {expected}. Take a new snapshot of the table, or set binlog_row_metadata=FULL", self.place())]
pub struct Mismatch {
    /// `database.table`.
    pub table: String,
    /// The column; `None` when the table as a whole does not fit.
    pub column: Option<String>,
    /// What the log says.
    pub seen: String,
    /// What the schema says.
    pub expected: String,
}

impl Mismatch {
    fn place(&self) -> String {
        match &self.column {
            Some(column) => format!("column {column} of {}", self.table),
            None => format!("table {}", self.table),
        }
    }
}

impl TablePlan {
    /// Checks `map` against `schema`, which must list every column of the table in its order, excluded ones too.
    pub fn new(map: &TableMap<'_>, schema: &Arc<Schema>, charsets: &Charsets) -> Result<TablePlan, Mismatch> {
        let whole =
            |seen: String, expected: String| Mismatch { table: schema.full_name(), column: None, seen, expected };
        if map.database != schema.database || map.table != schema.table {
            return Err(whole(format!("rows of {}.{}", map.database, map.table), schema.full_name()));
        }
        if map.columns.len() != schema.columns.len() {
            let expected = format!("{}", schema.columns.len());
            return Err(whole(format!("{} columns", map.columns.len()), expected));
        }
        let mut columns = Vec::with_capacity(schema.columns.len());
        for (i, column) in schema.columns.iter().enumerate() {
            let (width, becomes) = column_plan(map, i, column, charsets).map_err(|Seen(seen)| Mismatch {
                table: schema.full_name(),
                column: Some(column.name.clone()),
                seen,
                expected: column.native.clone(),
            })?;
            columns.push(ColumnPlan {
                width,
                becomes,
                excluded: column.excluded,
                key: schema.key.iter().any(|&key| usize::from(key) == i) && !column.excluded,
                json: map.columns[i].kind == ty::JSON,
                may_be_absent: false,
            });
        }
        let visible = columns.iter().filter(|column| !column.excluded).count();
        Ok(TablePlan { schema: Arc::clone(schema), columns, visible, scratch: Scratch::default() })
    }

    /// Says that column `index` is generated. MariaDB 11 leaves generated columns, stored ones too, out of the images of
    /// updates and deletes even with `binlog_row_image=FULL`; then they become [`headwater_model::Value::Absent`]
    /// instead of [`super::DecodeError::NotInLog`].
    pub fn allow_absent(&mut self, index: usize) {
        if let Some(column) = self.columns.get_mut(index) {
            column.may_be_absent = true;
        }
    }

    /// The schema that the rows are written with.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }
}

/// What the log has instead of the expected.
struct Seen(String);

type Planned = Result<(Width, Becomes), Seen>;

fn column_plan(map: &TableMap<'_>, index: usize, column: &Column, charsets: &Charsets) -> Planned {
    let wire = map.columns[index];
    let seen = || Seen(describe(wire));
    if let Some(name) = map.metadata.names.get(index)
        && *name != column.name
    {
        return Err(Seen(format!("a column named {name}")));
    }
    let collation = map.metadata.collations.get(index).copied().flatten();
    let signed = map.metadata.unsigned.get(index).copied().flatten();
    match &column.kind {
        Type::Int { bits, unsigned } => int_plan(wire, *bits, *unsigned, signed),
        Type::Decimal { precision, scale } => decimal_plan(wire, *precision, *scale),
        Type::Float => fixed(wire, ty::FLOAT, 4, Becomes::Float),
        Type::Double => fixed(wire, ty::DOUBLE, 8, Becomes::Double),
        Type::Year => fixed(wire, ty::YEAR, 1, Becomes::Year),
        Type::Date if wire.kind == ty::NEWDATE => Ok((Width::Fixed(3), Becomes::Date)),
        Type::Date => fixed(wire, ty::DATE, 3, Becomes::Date),
        Type::Time { fraction } => {
            temporal(wire, *fraction, (ty::TIME, 3, Becomes::Time), (ty::TIME2, 3, Becomes::Time2))
        }
        Type::DateTime { fraction } => {
            let new = (ty::DATETIME2, 5, Becomes::DateTime2);
            temporal(wire, *fraction, (ty::DATETIME, 8, Becomes::DateTime), new)
        }
        Type::Timestamp { fraction } => {
            let new = (ty::TIMESTAMP2, 4, Becomes::Timestamp2);
            temporal(wire, *fraction, (ty::TIMESTAMP, 4, Becomes::Timestamp), new)
        }
        Type::Bit { width } => {
            let (bits, bytes) = (wire.meta & 0xff, wire.meta >> 8);
            if wire.kind != ty::BIT || bytes * 8 + bits != u32::from(*width) || !(1..=64).contains(width) {
                return Err(seen());
            }
            Ok((Width::Fixed(usize::from(width.div_ceil(8))), Becomes::Bit(*width)))
        }
        Type::Enum { members } if wire.kind == ty::ENUM && matches!(wire.meta, 1 | 2) => {
            same_count(map, index, members.len())?;
            Ok((Width::Fixed(wire.meta as usize), Becomes::Enum(members.clone())))
        }
        Type::Set { members } if wire.kind == ty::SET && matches!(wire.meta, 1..=8) => {
            same_count(map, index, members.len())?;
            Ok((Width::Fixed(wire.meta as usize), Becomes::Set(members.clone())))
        }
        Type::Text { charset } => text_plan(wire, charset, collation, charsets),
        Type::Bytes { fixed } => bytes_plan(wire, *fixed),
        Type::Json => json_plan(wire, collation, charsets),
        Type::Geometry if wire.kind == ty::GEOMETRY => Ok((blob_width(wire).ok_or_else(seen)?, Becomes::Geometry)),
        Type::Vector if wire.kind == ty::VECTOR => Ok((blob_width(wire).ok_or_else(seen)?, Becomes::Vector)),
        // MariaDB's VECTOR is a VARBINARY in the log.
        Type::Vector if wire.kind == ty::VARCHAR => Ok((string_width(wire).ok_or_else(seen)?, Becomes::Vector)),
        Type::Uuid => address(wire, 16, Becomes::Uuid),
        Type::Inet4 => address(wire, 4, Becomes::Inet4),
        Type::Inet6 => address(wire, 16, Becomes::Inet6),
        // Types of other databases among them, which no column of this one has.
        _ => Err(seen()),
    }
}

fn int_plan(wire: ColumnMap, bits: u8, unsigned: bool, logged: Option<bool>) -> Planned {
    let (width, becomes) = integer(wire.kind, unsigned).ok_or_else(|| Seen(describe(wire)))?;
    if width * 8 != usize::from(bits) {
        return Err(Seen(describe(wire)));
    }
    match logged {
        Some(logged) if logged != unsigned => {
            Err(Seen(format!("{} {}", describe(wire), if logged { "unsigned" } else { "signed" })))
        }
        _ => Ok((Width::Fixed(width), becomes)),
    }
}

fn decimal_plan(wire: ColumnMap, precision: u16, scale: i16) -> Planned {
    let (logged_precision, logged_scale) = (wire.meta as u8, (wire.meta >> 8) as u8);
    let same = precision == u16::from(logged_precision) && scale == i16::from(logged_scale);
    match Layout::new(logged_precision, logged_scale) {
        Some(layout) if wire.kind == ty::NEWDECIMAL && same => {
            Ok((Width::Fixed(layout.bytes()), Becomes::Decimal(layout)))
        }
        _ => Err(Seen(describe(wire))),
    }
}

fn text_plan(wire: ColumnMap, charset: &str, collation: Option<u32>, charsets: &Charsets) -> Planned {
    let width = string_width(wire).ok_or_else(|| Seen(describe(wire)))?;
    let codec = text_codec(charset, collation, charsets)?;
    let compressed = matches!(wire.kind, ty::BLOB_COMPRESSED | ty::VARCHAR_COMPRESSED);
    Ok((width, if compressed { Becomes::CompressedText(codec) } else { Becomes::Text(codec) }))
}

fn bytes_plan(wire: ColumnMap, fixed: Option<u32>) -> Planned {
    let seen = || Seen(describe(wire));
    let width = string_width(wire).ok_or_else(seen)?;
    match (fixed, wire.kind) {
        (Some(fixed), ty::STRING) if fixed == wire.meta => Ok((width, Becomes::Fixed(wire.meta as usize))),
        (Some(_), _) | (None, ty::STRING) => Err(seen()),
        (None, ty::BLOB_COMPRESSED | ty::VARCHAR_COMPRESSED) => Ok((width, Becomes::CompressedBytes)),
        (None, _) => Ok((width, Becomes::Bytes)),
    }
}

/// MySQL's JSON is binary; MariaDB's is a LONGTEXT that is checked to be JSON.
fn json_plan(wire: ColumnMap, collation: Option<u32>, charsets: &Charsets) -> Planned {
    let seen = || Seen(describe(wire));
    if wire.kind == ty::JSON {
        return Ok((blob_width(wire).ok_or_else(seen)?, Becomes::Json));
    }
    let charset = collation.and_then(|id| charsets.name_of(id)).filter(|name| *name != "binary").unwrap_or("utf8mb4");
    let codec = charsets.codec(charset).ok_or_else(seen)?;
    Ok((string_width(wire).ok_or_else(seen)?, Becomes::JsonText(codec)))
}

fn integer(kind: u8, unsigned: bool) -> Option<(usize, Becomes)> {
    Some(match (kind, unsigned) {
        (ty::TINY, false) => (1, Becomes::I8),
        (ty::TINY, true) => (1, Becomes::U8),
        (ty::SHORT, false) => (2, Becomes::I16),
        (ty::SHORT, true) => (2, Becomes::U16),
        (ty::INT24, false) => (3, Becomes::I24),
        (ty::INT24, true) => (3, Becomes::U24),
        (ty::LONG, false) => (4, Becomes::I32),
        (ty::LONG, true) => (4, Becomes::U32),
        (ty::LONGLONG, false) => (8, Becomes::I64),
        (ty::LONGLONG, true) => (8, Becomes::U64),
        _ => return None,
    })
}

fn fixed(wire: ColumnMap, kind: u8, width: usize, becomes: Becomes) -> Planned {
    if wire.kind == kind { Ok((Width::Fixed(width), becomes)) } else { Err(Seen(describe(wire))) }
}

/// `old` without a fraction, or `new` with the fraction that the log names: type number, bytes, meaning.
fn temporal(wire: ColumnMap, fraction: u8, old: (u8, usize, Becomes), new: (u8, usize, Becomes)) -> Planned {
    if wire.kind == new.0 && wire.meta == u32::from(fraction) && fraction <= 6 {
        return Ok((Width::Fixed(new.1 + fraction_bytes(fraction)), new.2));
    }
    // The old form with a fraction (MariaDB, mysql56_temporal_format=OFF) does not say its length in the log.
    if wire.kind == old.0 && fraction == 0 {
        return Ok((Width::Fixed(old.1), old.2));
    }
    Err(Seen(describe(wire)))
}

fn same_count(map: &TableMap<'_>, index: usize, expected: usize) -> Result<(), Seen> {
    match map.metadata.members.get(index) {
        Some(Some(members)) if members.len() != expected => {
            Err(Seen(format!("{} with {} members", describe(map.columns[index]), members.len())))
        }
        _ => Ok(()),
    }
}

fn text_codec(charset: &str, collation: Option<u32>, charsets: &Charsets) -> Result<Codec, Seen> {
    if let Some(logged) = collation.and_then(|id| charsets.name_of(id))
        && canonical(logged) != canonical(charset)
    {
        return Err(Seen(format!("text in {logged}")));
    }
    charsets.codec(charset).ok_or_else(|| Seen(format!("text in {charset}, a character set that is not known here")))
}

fn string_width(wire: ColumnMap) -> Option<Width> {
    match wire.kind {
        ty::VARCHAR | ty::VARCHAR_COMPRESSED | ty::STRING | ty::VAR_STRING => {
            Some(Width::Prefix(if wire.meta > 255 { 2 } else { 1 }))
        }
        ty::BLOB | ty::TINY_BLOB | ty::MEDIUM_BLOB | ty::LONG_BLOB | ty::BLOB_COMPRESSED => blob_width(wire),
        _ => None,
    }
}

fn blob_width(wire: ColumnMap) -> Option<Width> {
    u8::try_from(wire.meta).ok().filter(|bytes| (1..=4).contains(bytes)).map(Width::Prefix)
}

fn address(wire: ColumnMap, bytes: u32, becomes: Becomes) -> Planned {
    if wire.kind == ty::STRING && wire.meta == bytes {
        Ok((Width::Prefix(1), becomes))
    } else {
        Err(Seen(describe(wire)))
    }
}

/// A column's type in the log, for people.
fn describe(wire: ColumnMap) -> String {
    let name = match wire.kind {
        ty::DECIMAL => "DECIMAL of before MySQL 5.0",
        ty::TINY => "TINYINT",
        ty::SHORT => "SMALLINT",
        ty::LONG => "INT",
        ty::FLOAT => "FLOAT",
        ty::DOUBLE => "DOUBLE",
        ty::TIMESTAMP => "TIMESTAMP (old form)",
        ty::LONGLONG => "BIGINT",
        ty::INT24 => "MEDIUMINT",
        ty::DATE | ty::NEWDATE => "DATE",
        ty::TIME => {
            "TIME (old form; a fraction is not readable: set mysql56_temporal_format=ON and ALTER TABLE … FORCE)"
        }
        ty::DATETIME => "DATETIME (old form)",
        ty::YEAR => "YEAR",
        ty::VARCHAR | ty::VAR_STRING => return format!("VARCHAR or VARBINARY of {} bytes", wire.meta),
        ty::BIT => return format!("BIT({})", (wire.meta >> 8) * 8 + (wire.meta & 0xff)),
        ty::TIMESTAMP2 => return format!("TIMESTAMP({})", wire.meta),
        ty::DATETIME2 => return format!("DATETIME({})", wire.meta),
        ty::TIME2 => return format!("TIME({})", wire.meta),
        ty::TYPED_ARRAY => "an array of a multi-valued index",
        ty::BLOB_COMPRESSED => "a compressed BLOB or TEXT",
        ty::VARCHAR_COMPRESSED => "a compressed VARCHAR or VARBINARY",
        ty::VECTOR => "VECTOR",
        ty::JSON => "JSON",
        ty::NEWDECIMAL => return format!("DECIMAL({},{})", wire.meta & 0xff, wire.meta >> 8),
        ty::ENUM => return format!("ENUM of {} bytes", wire.meta),
        ty::SET => return format!("SET of {} bytes", wire.meta),
        ty::TINY_BLOB | ty::MEDIUM_BLOB | ty::LONG_BLOB | ty::BLOB => "BLOB or TEXT",
        ty::STRING => return format!("CHAR or BINARY of {} bytes", wire.meta),
        ty::GEOMETRY => "GEOMETRY",
        other => return format!("the unknown type {other}"),
    };
    name.to_owned()
}
