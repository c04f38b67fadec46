//! A definition from the log's own table map, where it carries names: `binlog_row_metadata = FULL`.
//!
//! A map does not say everything: defaults, display widths, and what MariaDB sends as plain bytes or text (UUID, INET,
//! JSON, VECTOR) are missing. Invariant: nothing is guessed from them; where an older definition of a column fits its
//! type in the log, that one is kept. Start at [`TableDef::from_map`] and [`TableDef::corrected`].

use super::super::decode::{Charsets, ColumnMap, Mismatch, TableMap, column_type as ty};
use super::charset;
use super::check::describe;
use super::native::{BINARY, Native, Sign};
use super::table::{ColumnDef, Key, KeyPart, PRIMARY, TableDef};

/// Spatial types by the number that the log gives them.
const GEOMETRIES: [&str; 8] =
    ["geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geomcollection"];

impl TableDef {
    /// The definition that `map` gives by itself.
    ///
    /// # Errors
    /// When the map has no names, or a type or a collation that is not known.
    pub fn from_map(map: &TableMap<'_>, charsets: &Charsets) -> Result<TableDef, Mismatch> {
        Self::read(map, charsets, None)
    }

    /// The definition that `map` gives, with every column of this one that has its name and fits its type in the log.
    ///
    /// # Errors
    /// As [`Self::from_map`].
    pub fn corrected(&self, map: &TableMap<'_>, charsets: &Charsets) -> Result<TableDef, Mismatch> {
        Self::read(map, charsets, Some(self))
    }

    fn read(map: &TableMap<'_>, charsets: &Charsets, known: Option<&TableDef>) -> Result<TableDef, Mismatch> {
        let mismatch = |column: Option<&str>, seen: String, expected: &str| Mismatch {
            table: format!("{}.{}", map.database, map.table),
            column: column.map(str::to_owned),
            seen,
            expected: expected.to_owned(),
        };
        if map.metadata.names.len() != map.columns.len() {
            return Err(mismatch(None, "a table map without names of columns".to_owned(), "binlog_row_metadata=FULL"));
        }
        let layout = known.map(TableDef::layout).unwrap_or_default();
        let mut columns = Vec::with_capacity(map.columns.len());
        for (index, name) in map.metadata.names.iter().enumerate() {
            let fits = |column: &ColumnDef| column.name == *name && column.check_type(map, index).is_ok();
            columns.push(match layout.iter().find(|column| fits(column)) {
                Some(column) => ColumnDef { nullable: map.nullable(index), ..column.as_ref().clone() },
                None => column(map, index, charsets).ok_or_else(|| {
                    mismatch(Some(name), describe(map.columns[index]), "a type known to this version")
                })?,
            });
        }
        // Declared by hand, they are as visible as the definition says.
        if known.is_none_or(|known| known.column("row_end").is_none()) {
            hide_versioning(map, &mut columns);
        }
        let mut def = TableDef {
            database: map.database.to_owned(),
            table: map.table.to_owned(),
            charset: known.map_or_else(|| "utf8mb4".to_owned(), |known| known.charset.clone()),
            columns,
            keys: Vec::new(),
            periods: Vec::new(),
            versioned: false,
            sequence: known.is_some_and(|known| known.sequence),
            // What MariaDB adds by itself stands in the map already.
            mariadb: false,
        };
        def.keys.extend(primary_key(map, &def));
        Ok(def)
    }
}

/// The log's primary key; it is the first usable unique index where there is no declared one.
fn primary_key(map: &TableMap<'_>, def: &TableDef) -> Option<Key> {
    let part = |&(place, prefix): &(u16, u32)| {
        let column = def.columns.get(usize::from(place))?.name.clone();
        Some(KeyPart { column, prefix: (prefix > 0).then_some(prefix) })
    };
    let parts = map.metadata.primary_key.as_ref()?.iter().filter_map(part).collect();
    Some(Key { name: PRIMARY.to_owned(), unique: true, parts })
}

/// MariaDB does not say which columns are hidden, but those that it adds by itself stand at the end under fixed names.
fn hide_versioning(map: &TableMap<'_>, columns: &mut [ColumnDef]) {
    if !map.metadata.visible.is_empty() {
        return;
    }
    let mut end = columns.len();
    while end > 0 && columns[end - 1].name.starts_with("DB_ROW_HASH_") {
        end -= 1;
        columns[end].hidden = true;
    }
    let is_time = |column: &ColumnDef, name: &str| {
        column.name == name && column.native == (Native::Timestamp { fraction: 6 }) && !column.nullable
    };
    if let [.., start, end] = &mut columns[..end]
        && is_time(start, "row_start")
        && is_time(end, "row_end")
    {
        start.hidden = true;
        end.hidden = true;
    }
}

fn column(map: &TableMap<'_>, index: usize, charsets: &Charsets) -> Option<ColumnDef> {
    let wire = map.columns[index];
    let collation = map.metadata.collations.get(index).copied().flatten();
    let charset = match collation {
        Some(id) => Some(charsets.name_of(id)?.to_owned()),
        None => None,
    };
    let native = native(map, index, charset.as_deref(), charsets)?;
    let charset = native.is_text().then(|| charset.unwrap_or_else(|| BINARY.to_owned()));
    Some(ColumnDef {
        name: (*map.metadata.names.get(index)?).to_owned(),
        native,
        alias: None,
        charset,
        nullable: map.nullable(index),
        unsaid_not_null: false,
        default: None,
        comment: None,
        hidden: map.metadata.visible.get(index).is_some_and(|visible| !visible),
        compressed: matches!(wire.kind, ty::BLOB_COMPRESSED | ty::VARCHAR_COMPRESSED),
        generated: None,
    })
}

fn native(map: &TableMap<'_>, index: usize, charset: Option<&str>, charsets: &Charsets) -> Option<Native> {
    let ColumnMap { kind, meta } = map.columns[index];
    let unsigned = map.metadata.unsigned.get(index).copied().flatten().unwrap_or(false);
    let sign = Sign { unsigned, zerofill: false };
    let int = |bits| Native::Int { bits, width: None, sign };
    let fraction = u8::try_from(meta).ok().filter(|digits| *digits <= 6);
    let characters = |bytes: u32| bytes / charset.map_or(1, charset::bytes_per_character);
    Some(match kind {
        ty::TINY => int(8),
        ty::SHORT => int(16),
        ty::INT24 => int(24),
        ty::LONG => int(32),
        ty::LONGLONG => int(64),
        ty::FLOAT => Native::Float { digits: None, sign },
        ty::DOUBLE => Native::Double { digits: None, sign },
        ty::NEWDECIMAL => Native::Decimal { precision: (meta & 0xff) as u16, scale: (meta >> 8) as u16, sign },
        ty::BIT => Native::Bit { width: u8::try_from((meta >> 8) * 8 + (meta & 0xff)).ok()? },
        ty::YEAR => Native::Year { width: false },
        ty::DATE | ty::NEWDATE => Native::Date,
        ty::TIME | ty::TIME2 => Native::Time { fraction: fraction? },
        ty::DATETIME | ty::DATETIME2 => Native::DateTime { fraction: fraction? },
        ty::TIMESTAMP | ty::TIMESTAMP2 => Native::Timestamp { fraction: fraction? },
        ty::STRING => Native::Char { length: characters(meta) },
        ty::VARCHAR | ty::VAR_STRING => Native::VarChar { length: characters(meta) },
        // A compressed value has a byte in front that says how.
        ty::VARCHAR_COMPRESSED => Native::VarChar { length: characters(meta.saturating_sub(1)) },
        ty::BLOB | ty::TINY_BLOB | ty::MEDIUM_BLOB | ty::LONG_BLOB | ty::BLOB_COMPRESSED => {
            Native::Text { size: u8::try_from(meta).ok().filter(|size| (1..=4).contains(size))? }
        }
        ty::ENUM => Native::Enum { members: members(map, index, charset, charsets)? },
        ty::SET => Native::Set { members: members(map, index, charset, charsets)? },
        ty::JSON => Native::Json,
        ty::GEOMETRY => {
            let number = nth(map, index, ty::GEOMETRY, &map.metadata.geometry_types).unwrap_or(0);
            let name = usize::try_from(number).ok().and_then(|number| GEOMETRIES.get(number)).unwrap_or(&"geometry");
            Native::Geometry { name: (*name).to_owned() }
        }
        ty::VECTOR => {
            let dimensions = nth(map, index, ty::VECTOR, &map.metadata.vector_dimensions)?;
            Native::Vector { dimensions: u32::try_from(dimensions).ok()? }
        }
        _ => return None,
    })
}

/// The entry of a list that has one for every column of a type, for column `index` of that type.
fn nth(map: &TableMap<'_>, index: usize, kind: u8, list: &[u64]) -> Option<u64> {
    let before = map.columns[..index].iter().filter(|column| column.kind == kind).count();
    list.get(before).copied()
}

fn members(map: &TableMap<'_>, index: usize, charset: Option<&str>, charsets: &Charsets) -> Option<Vec<String>> {
    // Members of a binary ENUM are bytes; like any name they are taken for UTF-8.
    let codec = charsets.codec(charset.filter(|charset| *charset != BINARY).unwrap_or("utf8mb4"))?;
    let mut scratch = Vec::new();
    let members = map.metadata.members.get(index)?.as_ref()?;
    members.iter().map(|member| Some(codec.decode(member, &mut scratch).ok()?.to_owned())).collect()
}
