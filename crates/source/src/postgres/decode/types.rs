//! The server's types by their numbers, and what columns of them become here.
//!
//! Invariant: every number has an answer. A type that is not known, or is gone from the catalogue while old log still
//! names it, is text, so that no type ends a stream. Domains are what they are made over. What Debezium gives no form to
//! is [`Type::Unknown`], too, so that one rule leaves both out. Start at [`Types::resolve`].

use super::array::ArrayDecoder;
use super::cell::Becomes;
use super::native;
use headwater_model::Type;
use std::collections::HashMap;

/// One row of `pg_type`, as [`super::catalog::types_sql`] asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgType {
    /// Its number.
    pub oid: u32,
    /// Its schema.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// b, c, d, e, p, r or m: base, composite, domain, enum, pseudo, range, multirange.
    pub class: char,
    /// Of an array, the type of its elements.
    pub element: Option<u32>,
    /// Of a domain, what it is made over.
    pub base: Option<u32>,
    /// The modifier of `base`; -1 for none.
    pub base_modifier: i32,
    /// What stands between two values of it in the text of an array.
    pub delimiter: u8,
    /// As `format_type` prints it without a modifier.
    pub formatted: String,
    /// Of an enum, its labels in order.
    pub labels: Vec<String>,
    /// The extension that it belongs to.
    pub extension: Option<String>,
}

/// The types that are known so far.
#[derive(Clone, Debug)]
pub struct Types {
    by_oid: HashMap<u32, PgType>,
    money_scale: u8,
}

/// Domains over domains over arrays … at most.
const DEPTH_MAX: u32 = 32;
/// Arrays inside one another at most; the model reads eight.
const ARRAYS_NESTED_MAX: u32 = 4;

/// Fraction digits of money where they are not known: those of most currencies.
const MONEY_SCALE: u8 = 2;

impl Default for Types {
    fn default() -> Self {
        Types { by_oid: HashMap::new(), money_scale: MONEY_SCALE }
    }
}

impl Types {
    /// Adds types, or replaces them by what they are now.
    pub fn extend(&mut self, types: impl IntoIterator<Item = PgType>) {
        self.by_oid.extend(types.into_iter().map(|each| (each.oid, each)));
    }

    /// Learns the fraction digits of money from the answer to [`super::catalog::MONEY_SQL`], such as `$1.00`.
    pub fn learn_money(&mut self, one: &str) {
        let digits = one.bytes().filter(u8::is_ascii_digit).count();
        self.money_scale = digits.checked_sub(1).and_then(|scale| u8::try_from(scale).ok()).unwrap_or(MONEY_SCALE);
    }

    /// Those of `oids` that are not known yet, each once: ask for them with [`super::catalog::types_sql`].
    pub fn missing(&self, oids: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let mut missing: Vec<u32> = oids.into_iter().filter(|oid| !self.by_oid.contains_key(oid)).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// The type with this number.
    pub fn get(&self, oid: u32) -> Option<&PgType> {
        self.by_oid.get(&oid)
    }

    /// The type that a column of type `oid` with `modifier` has here.
    pub fn kind(&self, oid: u32, modifier: i32) -> Type {
        self.resolve(oid, modifier).0
    }

    /// The type as `format_type` prints it, such as `numeric(10,2)[]`. A known type of an extension is printed without its
    /// schema, whatever the search path.
    pub fn native(&self, oid: u32, modifier: i32) -> String {
        native::native(self, oid, modifier, DEPTH_MAX)
    }

    pub(super) fn resolve(&self, oid: u32, modifier: i32) -> (Type, Becomes) {
        self.resolve_within(oid, modifier, DEPTH_MAX, ARRAYS_NESTED_MAX)
    }

    fn resolve_within(&self, oid: u32, modifier: i32, depth: u32, arrays: u32) -> (Type, Becomes) {
        let unknown = (Type::Unknown { oid }, Becomes::TextOnly);
        let (Some(found), Some(depth)) = (self.by_oid.get(&oid), depth.checked_sub(1)) else { return unknown };
        if let Some(base) = found.base {
            return self.resolve_within(base, found.base_modifier, depth, arrays);
        }
        if let Some(element) = found.element {
            let Some(arrays) = arrays.checked_sub(1) else { return unknown };
            let delimiter = self.by_oid.get(&element).map_or(b',', |element| element.delimiter);
            return array(self.resolve_within(element, modifier, depth, arrays), delimiter);
        }
        if found.class == 'e' {
            return (Type::Enum { members: found.labels.clone() }, Becomes::Enum);
        }
        let known = match found.extension.as_deref() {
            None if found.namespace == "pg_catalog" => self.built_in(&found.name, modifier),
            None => None,
            Some(extension) => of_extension(extension, &found.name),
        };
        known.unwrap_or(unknown)
    }

    fn built_in(&self, name: &str, modifier: i32) -> Option<(Type, Becomes)> {
        let integer = |bits| (Type::Int { bits, unsigned: false }, Becomes::Int(bits));
        let oid = || (Type::Int { bits: 32, unsigned: true }, Becomes::Oid);
        let fraction = u8::try_from(modifier).unwrap_or(6).min(6);
        Some(match name {
            "bool" => (Type::Bool, Becomes::Bool),
            "int2" => integer(16),
            "int4" => integer(32),
            "int8" => integer(64),
            "oid" => oid(),
            "float4" => (Type::Float, Becomes::Float),
            "float8" => (Type::Double, Becomes::Double),
            "numeric" => (numeric(modifier), Becomes::Decimal),
            "money" => (Type::Money { scale: self.money_scale }, Becomes::Money(self.money_scale)),
            "text" | "varchar" | "bpchar" | "name" => (utf8(), Becomes::Text),
            "char" | "xml" | "inet" | "cidr" | "macaddr" | "macaddr8" | "tsvector" => (utf8(), Becomes::TextOnly),
            "int4range" | "int8range" | "numrange" | "tsrange" | "tstzrange" | "daterange" => {
                (utf8(), Becomes::TextOnly)
            }
            "bytea" => (Type::Bytes { fixed: None }, Becomes::Bytes),
            "date" => (Type::Date, Becomes::Date),
            "time" => (Type::Time { fraction }, Becomes::Time),
            "timetz" => (Type::TimeTz { fraction }, Becomes::TimeTz),
            "timestamp" => (Type::DateTime { fraction }, Becomes::DateTime),
            "timestamptz" => (Type::Timestamp { fraction }, Becomes::Timestamp),
            "interval" => (Type::Interval, Becomes::Interval),
            "bit" => bit(modifier),
            "varbit" => {
                let width = u32::try_from(modifier).ok();
                (Type::BitString { width, varying: true }, Becomes::BitString)
            }
            "uuid" => (Type::Uuid, Becomes::Uuid),
            "json" => (Type::Json, Becomes::Json),
            "jsonb" => (Type::Json, Becomes::Jsonb),
            "point" => (Type::Point, Becomes::Point),
            "int2vector" => blank_separated(integer(16)),
            "oidvector" => blank_separated(oid()),
            _ => return None,
        })
    }
}

fn of_extension(extension: &str, name: &str) -> Option<(Type, Becomes)> {
    Some(match (extension, name) {
        ("citext", "citext") => (utf8(), Becomes::Text),
        ("ltree", "ltree") | ("isn", "isbn") | ("vector", "sparsevec") => (utf8(), Becomes::TextOnly),
        ("hstore", "hstore") => (Type::Hstore, Becomes::Hstore),
        ("postgis", "geometry" | "geography") => (Type::Geometry, Becomes::Geometry),
        ("vector", "vector") => (Type::Vector, Becomes::Vector),
        ("vector", "halfvec") => (Type::Vector, Becomes::HalfVector),
        _ => return None,
    })
}

/// Text as it comes from a connection in UTF-8; the model has the name that MySQL gives it.
fn utf8() -> Type {
    Type::Text { charset: "utf8mb4".into() }
}

fn array((kind, becomes): (Type, Becomes), delimiter: u8) -> (Type, Becomes) {
    let decoder = ArrayDecoder::new(becomes, delimiter);
    (Type::Array { element: Box::new(kind) }, Becomes::Array(Box::new(decoder)))
}

fn blank_separated((kind, becomes): (Type, Becomes)) -> (Type, Becomes) {
    let decoder = ArrayDecoder::new(becomes, b' ');
    (Type::Array { element: Box::new(kind) }, Becomes::BlankSeparated(Box::new(decoder)))
}

fn numeric(modifier: i32) -> Type {
    match native::numeric_modifier(modifier) {
        Some((precision, scale)) => Type::Decimal { precision, scale },
        None => Type::Numeric,
    }
}

fn bit(width: i32) -> (Type, Becomes) {
    match u8::try_from(width) {
        Ok(width @ 1..=64) => (Type::Bit { width }, Becomes::Bit(width)),
        // Without a width, which only casts and functions give, it is of any length.
        _ => (Type::BitString { width: u32::try_from(width).ok(), varying: width < 0 }, Becomes::BitString),
    }
}
