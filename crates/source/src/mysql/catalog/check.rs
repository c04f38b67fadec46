//! A definition held against the log's own table map.
//!
//! Whatever the map says is compared: types with their metadata always, and signs, character sets, names and members where
//! the log carries them. Invariant: the check never passes a column whose bytes the definition would misread.
//! Start at [`TableDef::check`].

use std::sync::LazyLock;

use super::super::decode::{Charsets, ColumnMap, Mismatch, TableMap, column_type as ty};
use super::charset;
use super::native::{BINARY, Native};
use super::table::{ColumnDef, TableDef};

/// The numbers of collations that every server knows; others are not compared.
static COLLATIONS: LazyLock<Charsets> = LazyLock::new(Charsets::default);

impl TableDef {
    /// Whether rows of `map` are rows of this definition.
    ///
    /// # Errors
    /// The first difference, with both sides.
    pub fn check(&self, map: &TableMap<'_>) -> Result<(), Mismatch> {
        let layout = self.layout();
        if layout.len() != map.columns.len() {
            return Err(Mismatch {
                table: format!("{}.{}", self.database, self.table),
                column: None,
                seen: format!("{} columns", map.columns.len()),
                expected: format!("{} columns", layout.len()),
            });
        }
        for (index, column) in layout.iter().enumerate() {
            column.check(map, index).map_err(|(seen, expected)| Mismatch {
                table: format!("{}.{}", self.database, self.table),
                column: Some(column.name.clone()),
                seen,
                expected,
            })?;
        }
        Ok(())
    }
}

impl ColumnDef {
    /// Compares this column with column `index` of `map`; gives what was seen and what was expected.
    pub(crate) fn check(&self, map: &TableMap<'_>, index: usize) -> Result<(), (String, String)> {
        if let Some(name) = map.metadata.names.get(index)
            && *name != self.name
        {
            return Err((format!("a column named {name}"), format!("a column named {}", self.name)));
        }
        self.check_type(map, index)?;
        if map.nullable(index) != self.nullable {
            let text = |nullable| if nullable { "a column that may be NULL" } else { "a column that is NOT NULL" };
            return Err((text(map.nullable(index)).to_owned(), text(self.nullable).to_owned()));
        }
        Ok(())
    }

    /// The type, sign, character set and members alone.
    pub(crate) fn check_type(&self, map: &TableMap<'_>, index: usize) -> Result<(), (String, String)> {
        let wire = map.columns[index];
        if !self.travels_as(wire) {
            return Err((describe(wire), self.native_text()));
        }
        let sign = |unsigned| if unsigned { "an unsigned number" } else { "a signed number" };
        if let Some(seen) = map.metadata.unsigned.get(index).copied().flatten()
            && let Some(expected) = self.native.unsigned()
            && seen != expected
        {
            return Err((sign(seen).to_owned(), sign(expected).to_owned()));
        }
        let collation = map.metadata.collations.get(index).copied().flatten();
        if let Some(seen) = collation.and_then(|id| COLLATIONS.name_of(id))
            && let Some(expected) = self.charset.as_deref()
            && seen != expected
        {
            return Err((format!("character set {seen}"), format!("character set {expected}")));
        }
        match (map.metadata.members.get(index), &self.native) {
            (Some(Some(members)), Native::Enum { members: known } | Native::Set { members: known }) => {
                self.check_members(members, known)
            }
            _ => Ok(()),
        }
    }

    /// The texts too: MySQL's SHOW CREATE TABLE prints a question mark for what utf8mb3 does not hold.
    fn check_members(&self, logged: &[&[u8]], known: &[String]) -> Result<(), (String, String)> {
        if logged.len() != known.len() {
            return Err((format!("{} members", logged.len()), format!("{} members", known.len())));
        }
        let charset = self.charset.as_deref().filter(|charset| *charset != BINARY).unwrap_or("utf8mb4");
        let Some(codec) = COLLATIONS.codec(charset) else { return Ok(()) };
        let mut scratch = Vec::new();
        for (place, (logged, known)) in logged.iter().zip(known).enumerate() {
            if codec.decode(logged, &mut scratch).is_ok_and(|logged| logged != known) {
                let member = place + 1;
                return Err((format!("another text as member {member}"), format!("the member {member} that is known")));
            }
        }
        Ok(())
    }

    /// Whether values of this column have this type in the log.
    fn travels_as(&self, wire: ColumnMap) -> bool {
        let width = self.charset.as_deref().map_or(1, charset::bytes_per_character);
        let has = |kind: u8, meta: u32| wire.kind == kind && wire.meta == meta;
        // The types of before MySQL 5.6 and MariaDB 10.1 carry no digits.
        let temporal =
            |new: u8, old: u8, fraction: u8| has(new, u32::from(fraction)) || (wire.kind == old && fraction == 0);
        match &self.native {
            Native::Int { bits, .. } => wire.kind == int_kind(*bits),
            Native::Float { .. } => wire.kind == ty::FLOAT,
            Native::Double { .. } => wire.kind == ty::DOUBLE,
            Native::Decimal { precision, scale, .. } => {
                has(ty::NEWDECIMAL, u32::from(*precision) | u32::from(*scale) << 8)
            }
            Native::Bit { width } => has(ty::BIT, u32::from(width % 8) | u32::from(width / 8) << 8),
            Native::Year { .. } => wire.kind == ty::YEAR,
            Native::Date => matches!(wire.kind, ty::DATE | ty::NEWDATE),
            Native::Time { fraction } => temporal(ty::TIME2, ty::TIME, *fraction),
            Native::DateTime { fraction } => temporal(ty::DATETIME2, ty::DATETIME, *fraction),
            Native::Timestamp { fraction } => temporal(ty::TIMESTAMP2, ty::TIMESTAMP, *fraction),
            Native::Char { length } => has(ty::STRING, length.saturating_mul(width)),
            // A compressed value has a byte in front that says how.
            Native::VarChar { length } if self.compressed => {
                has(ty::VARCHAR_COMPRESSED, length.saturating_mul(width).saturating_add(1))
            }
            Native::VarChar { length } => has(ty::VARCHAR, length.saturating_mul(width)),
            Native::Text { size } if self.compressed => has(ty::BLOB_COMPRESSED, u32::from(*size)),
            Native::Text { size } => is_blob(wire, *size),
            Native::Enum { members } => has(ty::ENUM, if members.len() > 255 { 2 } else { 1 }),
            Native::Set { members } => has(ty::SET, set_bytes(members.len())),
            Native::Json => wire.kind == ty::JSON,
            Native::JsonText => is_blob(wire, 4),
            Native::Geometry { .. } => wire.kind == ty::GEOMETRY,
            Native::Vector { dimensions } => wire.kind == ty::VECTOR || has(ty::VARCHAR, dimensions.saturating_mul(4)),
            Native::Uuid | Native::Inet6 => has(ty::STRING, 16),
            Native::Inet4 => has(ty::STRING, 4),
        }
    }
}

impl Native {
    fn unsigned(&self) -> Option<bool> {
        match self {
            Native::Int { sign, .. }
            | Native::Float { sign, .. }
            | Native::Double { sign, .. }
            | Native::Decimal { sign, .. } => Some(sign.unsigned),
            _ => None,
        }
    }
}

fn int_kind(bits: u8) -> u8 {
    match bits {
        8 => ty::TINY,
        16 => ty::SHORT,
        24 => ty::INT24,
        32 => ty::LONG,
        _ => ty::LONGLONG,
    }
}

fn is_blob(wire: ColumnMap, size: u8) -> bool {
    let blob = matches!(wire.kind, ty::BLOB | ty::TINY_BLOB | ty::MEDIUM_BLOB | ty::LONG_BLOB);
    blob && wire.meta == u32::from(size)
}

/// The bytes that a SET of so many members takes.
fn set_bytes(members: usize) -> u32 {
    match members.div_ceil(8) {
        bytes @ 0..=4 => bytes.max(1) as u32,
        _ => 8,
    }
}

/// A type of the log, in the words of the catalog.
pub(crate) fn describe(wire: ColumnMap) -> String {
    let ColumnMap { kind, meta } = wire;
    match kind {
        ty::TINY => "tinyint".to_owned(),
        ty::SHORT => "smallint".to_owned(),
        ty::INT24 => "mediumint".to_owned(),
        ty::LONG => "int".to_owned(),
        ty::LONGLONG => "bigint".to_owned(),
        ty::FLOAT => "float".to_owned(),
        ty::DOUBLE => "double".to_owned(),
        ty::NEWDECIMAL => format!("decimal({},{})", meta & 0xff, meta >> 8),
        ty::BIT => format!("bit({})", (meta >> 8) * 8 + (meta & 0xff)),
        ty::YEAR => "year".to_owned(),
        ty::DATE | ty::NEWDATE => "date".to_owned(),
        ty::TIME | ty::TIME2 => format!("time({meta})"),
        ty::DATETIME | ty::DATETIME2 => format!("datetime({meta})"),
        ty::TIMESTAMP | ty::TIMESTAMP2 => format!("timestamp({meta})"),
        ty::STRING => format!("char or {BINARY} of {meta} bytes"),
        ty::VARCHAR | ty::VAR_STRING => format!("varchar or varbinary of {meta} bytes"),
        ty::VARCHAR_COMPRESSED => format!("a compressed varchar of {meta} bytes"),
        ty::BLOB_COMPRESSED => format!("a compressed text or blob with lengths of {meta} bytes"),
        ty::BLOB | ty::TINY_BLOB | ty::MEDIUM_BLOB | ty::LONG_BLOB => {
            format!("text or blob with lengths of {meta} bytes")
        }
        ty::ENUM => format!("enum of {meta} bytes"),
        ty::SET => format!("set of {meta} bytes"),
        ty::JSON => "json".to_owned(),
        ty::GEOMETRY => "geometry".to_owned(),
        ty::VECTOR => "vector".to_owned(),
        kind => format!("type {kind} with metadata {meta}"),
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
