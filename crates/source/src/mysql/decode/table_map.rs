//! Table map events: the table behind a number, its columns' types, and, with `binlog_row_metadata=FULL`, their names,
//! character sets, members and key.
//!
//! Invariant: every list is exactly as long as the columns it speaks of, or the event is refused; an optional field that
//! is not known here is skipped, as the server does. Format: `Table_map_event` in MySQL's libs/mysql/binlog/event.

use super::bytes::{Bad, Bytes, Read, bit};
use super::event::text;
use headwater_model::limits::COLUMNS_MAX;

/// Column type numbers as they stand in a table map.
#[allow(missing_docs, reason = "the names are the servers' own, without MYSQL_TYPE_")]
pub mod column_type {
    pub const DECIMAL: u8 = 0;
    pub const TINY: u8 = 1;
    pub const SHORT: u8 = 2;
    pub const LONG: u8 = 3;
    pub const FLOAT: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const NULL: u8 = 6;
    pub const TIMESTAMP: u8 = 7;
    pub const LONGLONG: u8 = 8;
    pub const INT24: u8 = 9;
    pub const DATE: u8 = 10;
    pub const TIME: u8 = 11;
    pub const DATETIME: u8 = 12;
    pub const YEAR: u8 = 13;
    pub const NEWDATE: u8 = 14;
    pub const VARCHAR: u8 = 15;
    pub const BIT: u8 = 16;
    pub const TIMESTAMP2: u8 = 17;
    pub const DATETIME2: u8 = 18;
    pub const TIME2: u8 = 19;
    pub const TYPED_ARRAY: u8 = 20;
    pub const BLOB_COMPRESSED: u8 = 140;
    pub const VARCHAR_COMPRESSED: u8 = 141;
    pub const VECTOR: u8 = 242;
    pub const JSON: u8 = 245;
    pub const NEWDECIMAL: u8 = 246;
    pub const ENUM: u8 = 247;
    pub const SET: u8 = 248;
    pub const TINY_BLOB: u8 = 249;
    pub const MEDIUM_BLOB: u8 = 250;
    pub const LONG_BLOB: u8 = 251;
    pub const BLOB: u8 = 252;
    pub const VAR_STRING: u8 = 253;
    pub const STRING: u8 = 254;
    pub const GEOMETRY: u8 = 255;
}
use column_type as ty;

/// A table, its number in the log, and its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMap<'a> {
    /// Rows events refer to it until the next map of the same number.
    pub table_id: u64,
    /// Flags; not needed to read rows.
    pub flags: u16,
    /// Database.
    pub database: &'a str,
    /// Table.
    pub table: &'a str,
    /// In the order of the table, hidden ones too.
    pub columns: Vec<ColumnMap>,
    /// Bit by column: may be NULL.
    nullable: &'a [u8],
    /// What the server adds beyond the types.
    pub metadata: Metadata<'a>,
}

/// A column's type as the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnMap {
    /// See [`column_type`]. ENUM and SET are given as themselves, not as the STRING they travel in.
    pub kind: u8,
    /// What the type's metadata says; see [`ColumnMap`]'s methods for its parts.
    pub meta: u32,
}

/// Optional metadata. With `MINIMAL` only the signedness, character sets (of all or of most columns) and geometry types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// By column: unsigned; `None` for columns that are no numbers. Empty when the log does not say.
    pub unsigned: Vec<Option<bool>>,
    /// By column: collation id of text, BLOB (63), ENUM and SET columns. Empty when the log does not say.
    pub collations: Vec<Option<u32>>,
    /// By column. Empty when the log does not say.
    pub names: Vec<&'a str>,
    /// By column: the members of an ENUM or SET, in the column's character set. Empty when the log does not say.
    pub members: Vec<Option<Vec<&'a [u8]>>>,
    /// By GEOMETRY column in the order of the table: its type (0 geometry, 1 point, …).
    pub geometry_types: Vec<u64>,
    /// Columns of the primary key, and for prefix keys the prefix length, else 0. `None` when the log does not say, or
    /// there is no primary key.
    pub primary_key: Option<Vec<(u16, u32)>>,
    /// By column: visible. Empty when the log does not say.
    pub visible: Vec<bool>,
    /// By VECTOR column in the order of the table.
    pub vector_dimensions: Vec<u64>,
}

impl ColumnMap {
    /// Whether the server counts it among the numbers, in the list of signs.
    fn is_number(self) -> bool {
        matches!(
            self.kind,
            ty::TINY
                | ty::SHORT
                | ty::INT24
                | ty::LONG
                | ty::LONGLONG
                | ty::NEWDECIMAL
                | ty::FLOAT
                | ty::DOUBLE
                | ty::YEAR
        )
    }

    /// Whether MySQL counts it among texts, in the list of character sets: BLOBs and vectors too.
    fn mysql_text(self) -> bool {
        self.is_string() || self.kind == ty::VECTOR
    }

    /// The same for MariaDB: geometries too, because they are BLOBs there.
    fn maria_text(self) -> bool {
        self.is_string() || self.kind == ty::GEOMETRY
    }

    fn is_string(self) -> bool {
        matches!(
            self.kind,
            ty::STRING
                | ty::VAR_STRING
                | ty::VARCHAR
                | ty::BLOB
                | ty::TINY_BLOB
                | ty::MEDIUM_BLOB
                | ty::LONG_BLOB
                | ty::BLOB_COMPRESSED
                | ty::VARCHAR_COMPRESSED
        )
    }

    /// ENUM or SET.
    fn has_members(self) -> bool {
        matches!(self.kind, ty::ENUM | ty::SET)
    }
}

impl TableMap<'_> {
    /// Whether column `index` may be NULL.
    pub fn nullable(&self, index: usize) -> bool {
        bit(self.nullable, index)
    }
}

/// `short_id`: table numbers have 4 bytes, in logs of before MySQL 5.1.4. `maria`: the lists of character sets follow
/// MariaDB's idea of which columns have one.
pub(super) fn table_map<'a>(body: &mut Bytes<'a>, short_id: bool, maria: bool) -> Read<TableMap<'a>> {
    let table_id = if short_id { u64::from(body.u32("table number")?) } else { body.u48("table number")? };
    let flags = body.u16("flags")?;
    let database = short_name(body, "database")?;
    let table = short_name(body, "table")?;
    let count = body.packed_len("number of columns")?;
    if count > COLUMNS_MAX {
        return Err(Bad("number of columns: more than 4,096"));
    }
    let types = body.take(count, "column types")?;
    let mut meta = Bytes(body.packed_bytes("column metadata")?);
    let columns = types.iter().map(|&kind| column(kind, &mut meta)).collect::<Read<Vec<_>>>()?;
    if !meta.is_empty() {
        return Err(Bad("column metadata"));
    }
    let nullable = body.take(count.div_ceil(8), "nullability")?;
    let is_text = if maria { ColumnMap::maria_text } else { ColumnMap::mysql_text };
    let metadata = metadata(body, &columns, is_text)?;
    Ok(TableMap { table_id, flags, database, table, columns, nullable, metadata })
}

/// A length of one byte, the name, a NUL.
fn short_name<'a>(body: &mut Bytes<'a>, what: &'static str) -> Read<&'a str> {
    let length = usize::from(body.u8(what)?);
    let name = text(body.take(length, what)?, what)?;
    match body.u8(what)? {
        0 => Ok(name),
        _ => Err(Bad(what)),
    }
}

fn column(kind: u8, meta: &mut Bytes<'_>) -> Read<ColumnMap> {
    const WHAT: &str = "column metadata";
    let plain = |kind, meta| Ok(ColumnMap { kind, meta });
    match kind {
        ty::FLOAT
        | ty::DOUBLE
        | ty::BLOB
        | ty::TINY_BLOB
        | ty::MEDIUM_BLOB
        | ty::LONG_BLOB
        | ty::GEOMETRY
        | ty::JSON
        | ty::VECTOR
        | ty::TIMESTAMP2
        | ty::DATETIME2
        | ty::TIME2
        | ty::BLOB_COMPRESSED => plain(kind, u32::from(meta.u8(WHAT)?)),
        ty::VARCHAR | ty::VARCHAR_COMPRESSED | ty::BIT | ty::NEWDECIMAL => plain(kind, u32::from(meta.u16(WHAT)?)),
        ty::STRING | ty::VAR_STRING | ty::ENUM | ty::SET => {
            let [real, low] = meta.array(WHAT)?;
            if real == 0 {
                return plain(kind, u32::from(low));
            }
            // The real type always has bits 4 and 5 set; cleared, they are bits 8 and 9 of a CHAR's length, inverted.
            let high = u32::from(real & 0x30) ^ 0x30;
            let real = real | 0x30;
            match real {
                ty::ENUM | ty::SET => plain(real, u32::from(low)),
                ty::STRING | ty::VAR_STRING => plain(real, u32::from(low) | high << 4),
                _ => Err(Bad(WHAT)),
            }
        }
        ty::TYPED_ARRAY => {
            let element = meta.u8(WHAT)?;
            if element == ty::VARCHAR {
                // Longer than any ordinary VARCHAR, so three bytes.
                meta.take(3, WHAT)?;
            } else if element != ty::TYPED_ARRAY {
                column(element, meta)?;
            }
            plain(kind, u32::from(element))
        }
        _ => plain(kind, 0),
    }
}

/// Optional fields: a type, a packed length, a value.
fn metadata<'a>(body: &mut Bytes<'a>, columns: &[ColumnMap], is_text: fn(ColumnMap) -> bool) -> Read<Metadata<'a>> {
    let mut all = Metadata::default();
    while !body.is_empty() {
        let field = body.u8("optional metadata")?;
        let mut value = Bytes(body.packed_bytes("optional metadata")?);
        let value = &mut value;
        match field {
            1 => all.unsigned = signs(value, columns)?,
            2 => default_charset(value, columns, is_text, &mut all.collations)?,
            3 => column_charsets(value, columns, is_text, &mut all.collations)?,
            4 => all.names = names(value, columns.len())?,
            5 => members(value, columns, ty::SET, &mut all.members)?,
            6 => members(value, columns, ty::ENUM, &mut all.members)?,
            7 => all.geometry_types = packed_list(value)?,
            8 => all.primary_key = Some(key(value, columns.len(), false)?),
            9 => all.primary_key = Some(key(value, columns.len(), true)?),
            10 => default_charset(value, columns, ColumnMap::has_members, &mut all.collations)?,
            11 => column_charsets(value, columns, ColumnMap::has_members, &mut all.collations)?,
            12 => all.visible = flags(value, columns.len())?,
            13 => all.vector_dimensions = packed_list(value)?,
            _ => {}
        }
    }
    Ok(all)
}

/// A bit for every number, the highest of the first byte first.
fn signs(value: &mut Bytes<'_>, columns: &[ColumnMap]) -> Read<Vec<Option<bool>>> {
    let numbers = columns.iter().filter(|column| column.is_number()).count();
    let mut bits = flags(value, numbers)?.into_iter();
    Ok(columns.iter().map(|column| if column.is_number() { bits.next() } else { None }).collect())
}

fn flags(value: &mut Bytes<'_>, count: usize) -> Read<Vec<bool>> {
    let bits = value.take(count.div_ceil(8), "signs or visibility of columns")?;
    Ok((0..count).map(|i| bits[i / 8] & 0x80 >> (i % 8) != 0).collect())
}

/// One collation for all, then pairs of place (among those columns) and collation for the others.
fn default_charset(
    value: &mut Bytes<'_>,
    columns: &[ColumnMap],
    applies: fn(ColumnMap) -> bool,
    collations: &mut Vec<Option<u32>>,
) -> Read<()> {
    let default = collation(value)?;
    let mut others = Vec::new();
    while !value.is_empty() {
        others.push((value.packed("place of a character set")?, collation(value)?));
    }
    collations.resize(columns.len(), None);
    let places = (0..columns.len()).filter(|&i| applies(columns[i]));
    for (nth, column) in places.enumerate() {
        let other = others.iter().find(|(place, _)| *place == nth as u64);
        collations[column] = Some(other.map_or(default, |(_, collation)| *collation));
    }
    Ok(())
}

/// A collation for each column that has one.
fn column_charsets(
    value: &mut Bytes<'_>,
    columns: &[ColumnMap],
    applies: fn(ColumnMap) -> bool,
    collations: &mut Vec<Option<u32>>,
) -> Read<()> {
    collations.resize(columns.len(), None);
    for column in (0..columns.len()).filter(|&i| applies(columns[i])) {
        collations[column] = Some(collation(value)?);
    }
    Ok(())
}

fn collation(value: &mut Bytes<'_>) -> Read<u32> {
    u32::try_from(value.packed("collation")?).map_err(|_| Bad("collation"))
}

fn names<'a>(value: &mut Bytes<'a>, count: usize) -> Read<Vec<&'a str>> {
    (0..count).map(|_| text(value.packed_bytes("column name")?, "column name")).collect()
}

/// For each column of type `kind`: the number of members, and their texts.
fn members<'a>(
    value: &mut Bytes<'a>,
    columns: &[ColumnMap],
    kind: u8,
    all: &mut Vec<Option<Vec<&'a [u8]>>>,
) -> Read<()> {
    all.resize(columns.len(), None);
    for column in (0..columns.len()).filter(|&i| columns[i].kind == kind) {
        let count = value.packed_len("number of members")?;
        let list = (0..count).map(|_| value.packed_bytes("member")).collect::<Read<Vec<_>>>()?;
        all[column] = Some(list);
    }
    Ok(())
}

fn packed_list(value: &mut Bytes<'_>) -> Read<Vec<u64>> {
    let mut list = Vec::new();
    while !value.is_empty() {
        list.push(value.packed("optional metadata")?);
    }
    Ok(list)
}

fn key(value: &mut Bytes<'_>, columns: usize, prefixes: bool) -> Read<Vec<(u16, u32)>> {
    const WHAT: &str = "primary key";
    let mut key = Vec::new();
    while !value.is_empty() {
        let column = value.packed(WHAT)?;
        let prefix = if prefixes { value.packed(WHAT)? } else { 0 };
        if column >= columns as u64 {
            return Err(Bad(WHAT));
        }
        key.push((column as u16, u32::try_from(prefix).map_err(|_| Bad(WHAT))?));
    }
    Ok(key)
}
