//! How a row is named: by its table, by which columns identify it, and by their values.
//!
//! Invariant: two rows of one table have the same name exactly when they have the same key, whatever integer type the key
//! had at the time. Rows of a table without a key are named by all of their columns, and counted. Start at [`Naming`].

use crate::error::{Error, Result};
use headwater_model::limits::COLUMNS_MAX;
use headwater_model::{Row, Schema, Value};

/// Bytes of an encoded key. MySQL allows 3,072 before encoding.
pub const KEY_BYTES_MAX: usize = 32 << 10;
/// A row without a key that is longer than this is named by a digest.
const WHOLE_ROW_BYTES_MAX: usize = 1 << 10;
/// Rows with the same digest.
pub const ALIKE_MAX: u8 = u8::MAX;

/// The name's form: the key itself, or a digest that says where to look.
const EXACT: u8 = 0;
const DIGEST: u8 = 1;

/// How the rows of one schema are named.
#[derive(Clone, Debug)]
pub struct Naming {
    /// `database.table`.
    pub table: String,
    /// Names of the columns that identify a row, in key order.
    columns: Vec<String>,
    /// Where they stand in rows of this schema.
    places: Vec<u16>,
    /// The table has no key: equal rows share a name.
    pub is_counted: bool,
    /// Table and naming, as every name begins.
    prefix: Vec<u8>,
}

/// A row's name, or where to begin looking for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// The name itself.
    Exact(Vec<u8>),
    /// The row is among those whose names begin so and end with one more byte.
    Among(Vec<u8>),
}

impl Naming {
    /// Of the rows of `schema`.
    pub fn of(schema: &Schema) -> Naming {
        let is_counted = schema.key.is_empty();
        let places: Vec<u16> = match is_counted {
            true => (0..schema.columns.len().min(COLUMNS_MAX) as u16).collect(),
            false => schema.key.clone(),
        };
        let name = |place: &u16| schema.columns.get(usize::from(*place)).map(|column| column.name.clone());
        let columns: Vec<String> = places.iter().map(|place| name(place).unwrap_or_default()).collect();
        let table = schema.full_name();
        let mut prefix = table_prefix(&table);
        let text = columns.iter().flat_map(|name| name.bytes().chain([0]));
        prefix.extend_from_slice(&(fnv(text.chain([u8::from(is_counted)])) as u32).to_be_bytes());
        Naming { table, columns, places, is_counted, prefix }
    }

    /// Whether the same columns identify a row.
    pub fn is_same(&self, other: &Naming) -> bool {
        self.prefix == other.prefix
    }

    /// This naming for rows of `schema`, which is another shape of the table; `None` when it lacks a column.
    pub fn over(&self, schema: &Schema) -> Option<Naming> {
        let place = |name: &String| schema.column(name).and_then(|(place, _)| u16::try_from(place).ok());
        let places = self.columns.iter().map(place).collect::<Option<Vec<u16>>>()?;
        Some(Naming { places, ..self.clone() })
    }

    /// The name of a row.
    pub fn name(&self, row: &Row<'_>) -> Result<Name> {
        let mut name = self.prefix.clone();
        name.push(EXACT);
        let start = name.len();
        // Finding a column walks past those before it, so a whole row is read once.
        let all: Vec<Value<'_>> = if self.is_counted { row.values().collect() } else { Vec::new() };
        let get = |place: usize| if self.is_counted { all.get(place).copied() } else { row.get(place) };
        for &place in &self.places {
            canonical(get(usize::from(place)).unwrap_or(Value::Absent)).encode(&mut name);
        }
        let bytes = name.len() - start;
        if self.is_counted && bytes > WHOLE_ROW_BYTES_MAX {
            let digest = fnv(name[start..].iter().copied());
            name.truncate(start - 1);
            name.push(DIGEST);
            name.extend_from_slice(&digest.to_be_bytes());
            return Ok(Name::Among(name));
        }
        if bytes > KEY_BYTES_MAX {
            return Err(Error::KeyTooLong { table: self.table.clone(), bytes });
        }
        Ok(Name::Exact(name))
    }

    /// Whether two rows, that may differ in the form of their integers, are the same row of a table without a key.
    pub fn is_same_row(&self, a: &Row<'_>, b: &Row<'_>) -> bool {
        a.len() == b.len() && a.values().map(canonical).eq(b.values().map(canonical))
    }
}

/// How the names of a table's rows begin, however they are identified.
pub fn table_prefix(table: &str) -> Vec<u8> {
    let length = table.len().min(usize::from(u16::MAX));
    let mut prefix = (length as u16).to_be_bytes().to_vec();
    prefix.extend_from_slice(&table.as_bytes()[..length]);
    prefix
}

/// An `ALTER TABLE` may make a signed key unsigned: the number stays the same, and so must the name.
fn canonical(value: Value<'_>) -> Value<'_> {
    match value {
        Value::UInt(number) => i64::try_from(number).map_or(value, Value::Int),
        other => other,
    }
}

/// FNV-1a. Rows with equal digests are compared, so that it only has to spread.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
