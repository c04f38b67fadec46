//! A table's shape out of the Connect schema of a record.
//!
//! Invariant: the columns that are made here compile to the schema that they were made of. What a Connect schema does not
//! tell (the width of a text, whether a number was unsigned) is left open. Start at [`of_envelope`].

use super::{Object, ParseError, object};
use crate::debezium::columns::{self, parse};
use crate::debezium::defaults;
use crate::debezium::json_text::Pairs;
use crate::debezium::options::Options;
use headwater_model::{Column, Schema, Type, Value};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Depth to which arrays stand inside of arrays.
const DEPTH_MAX: u32 = 8;

/// What the schemas of columns say beyond their types.
pub(super) type Parameters = Vec<Vec<(String, String)>>;

#[derive(Deserialize)]
struct Connect<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    optional: bool,
    name: Option<String>,
    doc: Option<String>,
    parameters: Option<Pairs>,
    #[serde(borrow)]
    default: Option<&'a RawValue>,
    field: Option<String>,
    #[serde(borrow, default)]
    fields: Vec<&'a RawValue>,
    #[serde(borrow)]
    items: Option<&'a RawValue>,
}

/// The shape of the rows in an envelope with this schema, and what it says of each column beyond its type; `table` has
/// its name.
pub(super) fn of_envelope(text: &str, table: &Schema, options: &Options) -> Result<(Schema, Parameters), ParseError> {
    let envelope = connect(text)?;
    let image = envelope
        .fields
        .iter()
        .filter_map(|field| connect(field.get()).ok())
        .find(|field| field.field.as_deref() == Some("after"))
        .ok_or_else(|| ParseError::new("the schema", "it is not that of an envelope"))?;
    let (mut columns, mut parameters) = (Vec::new(), Vec::new());
    for field in &image.fields {
        let field = connect(field.get())?;
        let column = column(&field, options)?;
        let known = columns::shape(&column, options, options.value).map(|shape| shape.schema.parameters);
        let known = known.unwrap_or_default();
        let all = field.parameters.map(|pairs| pairs.0).unwrap_or_default().into_iter();
        let more = all.filter(|(name, _)| !known.iter().any(|(known, _)| known == name));
        parameters.push(more.map(|(name, value)| (name, value.unwrap_or_default())).collect());
        columns.push(column);
    }
    let mut schema = Schema::new(1, &table.database, &table.table, columns, Vec::new());
    schema.comment = image.doc;
    Ok((schema, parameters))
}

/// Finds the columns of a record's key by the names of its fields. What rows do not have is added as a column that is
/// left out of them.
pub(super) fn take_key(key: Option<&str>, schema: &mut Schema, options: &Options) -> Result<(), ParseError> {
    let mut places = Vec::new();
    if let Some(key) = key {
        let outer: Object<'_> = object(key, "the key")?;
        let text = outer.get("schema").ok_or_else(|| ParseError::new("the key", "it has no schema"))?;
        for field in connect(text.get())?.fields {
            let mut column = column(&connect(field.get())?, options)?;
            let place = schema.columns.iter().position(|known| known.name == column.name);
            let added = options.key_fields().any(|name| name == column.name);
            if place.is_none() && !added {
                column.excluded = true;
                schema.columns.push(column);
            }
            let last = schema.columns.len().saturating_sub(1);
            places.extend(place.or((!added).then_some(last)).and_then(|place| u16::try_from(place).ok()));
        }
    }
    schema.message_key = Some(places);
    Ok(())
}

fn connect(text: &str) -> Result<Connect<'_>, ParseError> {
    serde_json::from_str(text).map_err(|_| ParseError::new("the schema", "it is not one of Connect"))
}

fn column(connect: &Connect<'_>, options: &Options) -> Result<Column, ParseError> {
    let name = connect.field.clone().unwrap_or_default();
    let unknown = || ParseError::new(&format!("the column {name}"), "its schema is not known");
    let (kind, native) = kind(connect, options, DEPTH_MAX).ok_or_else(unknown)?;
    let mut column = Column::new(&name, kind, &native);
    column.nullable = connect.optional;
    column.comment = connect.doc.clone().filter(|_| options.include_comments);
    if let Some(default) = connect.default {
        if let Type::Timestamp { fraction } = &mut column.kind {
            *fraction = fraction_digits(default.get());
        }
        column.default = Some(default_of(&column, default.get(), options).ok_or_else(unknown)?);
    }
    Ok(column)
}

/// How many digits stand behind the point of a time.
pub(super) fn fraction_digits(text: &str) -> u8 {
    let digits = text.split('.').skip(1).map(|rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    digits.max().unwrap_or(0).min(6) as u8
}

/// The type and the server's words for it.
fn kind(connect: &Connect<'_>, options: &Options, depth: u32) -> Option<(Type, String)> {
    let depth = depth.checked_sub(1)?;
    if let Some(name) = &connect.name {
        return named(name, connect, options);
    }
    let postgres = options.is_postgres();
    let int = |bits| Type::Int { bits, unsigned: false };
    let text = |charset: &str| Type::Text { charset: charset.to_owned() };
    let (kind, native) = match connect.kind.as_str() {
        "int16" => (int(16), "smallint"),
        "int32" => (int(32), if postgres { "integer" } else { "int" }),
        "int64" => (int(64), "bigint"),
        "float" => (Type::Float, if postgres { "real" } else { "float" }),
        "double" => (Type::Double, if postgres { "double precision" } else { "double" }),
        "boolean" if postgres => (Type::Bool, "boolean"),
        "boolean" => (Type::Bit { width: 1 }, "bit(1)"),
        "string" => (text("utf8mb4"), if postgres { "text" } else { "varchar(255)" }),
        "bytes" => (Type::Bytes { fixed: None }, if postgres { "bytea" } else { "varbinary(255)" }),
        "map" => (Type::Hstore, "hstore"),
        "array" => {
            let items: Connect<'_> = serde_json::from_str(connect.items?.get()).ok()?;
            let required = !items.optional;
            let (mut element, mut native) = kind(&items, options, depth)?;
            // Only these have elements that must not be null.
            native = match (&element, required) {
                (Type::Int { .. }, true) => "int2vector".to_owned(),
                (Type::Text { .. } | Type::Bytes { .. }, true) if items.name.is_none() => {
                    element = Type::Unknown { oid: 0 };
                    "unknown[]".to_owned()
                }
                _ => format!("{native}[]"),
            };
            return Some((Type::Array { element: Box::new(element) }, native));
        }
        _ => return None,
    };
    Some((kind, native.to_owned()))
}

fn named(name: &str, connect: &Connect<'_>, options: &Options) -> Option<(Type, String)> {
    let pairs = connect.parameters.as_ref().map(|pairs| pairs.0.as_slice()).unwrap_or_default();
    let parameter = |name: &str| pairs.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.as_ref());
    let number = |name: &str| parameter(name).and_then(|text| text.parse::<i64>().ok());
    let text = || Type::Text { charset: "utf8mb4".to_owned() };
    let last = name.rsplit('.').next().unwrap_or(name);
    let found = match last {
        "Decimal" => return decimal(number("scale")?, number("connect.decimal.precision"), options),
        "VariableScaleDecimal" => (Type::Numeric, "numeric".to_owned()),
        "Enum" => {
            let members = members(parameter("allowed")?, options);
            (Type::Enum { members }, "enum".to_owned())
        }
        "EnumSet" => (Type::Set { members: members(parameter("allowed")?, options) }, "set".to_owned()),
        "Bits" => bits(u32::try_from(number("length")?).ok()?, options),
        "Json" => (Type::Json, "json".to_owned()),
        "Xml" => (text(), "xml".to_owned()),
        "Ltree" => (text(), "ltree".to_owned()),
        "Tsvector" => (text(), "tsvector".to_owned()),
        "Uuid" => (Type::Uuid, "uuid".to_owned()),
        "Year" => (Type::Year, "year".to_owned()),
        "Date" | "IsoDate" => (Type::Date, "date".to_owned()),
        "Time" if name.starts_with("io.debezium") => {
            (Type::Time { fraction: 3 }, "time(3) without time zone".to_owned())
        }
        "Time" | "MicroTime" | "NanoTime" | "IsoTime" => {
            (Type::Time { fraction: 6 }, "time without time zone".to_owned())
        }
        "Timestamp" if name.starts_with("io.debezium") => {
            (Type::DateTime { fraction: 3 }, "timestamp(3) without time zone".to_owned())
        }
        "Timestamp" | "MicroTimestamp" | "NanoTimestamp" | "IsoTimestamp" => {
            (Type::DateTime { fraction: 6 }, "timestamp without time zone".to_owned())
        }
        "ZonedTimestamp" => (Type::Timestamp { fraction: 0 }, "timestamp with time zone".to_owned()),
        "ZonedTime" => (Type::TimeTz { fraction: 6 }, "time with time zone".to_owned()),
        "MicroDuration" | "Interval" => (Type::Interval, "interval".to_owned()),
        "Point" if options.is_postgres() => (Type::Point, "point".to_owned()),
        "Point" => (Type::Geometry, "point".to_owned()),
        "Geometry" => (Type::Geometry, "geometry".to_owned()),
        "Geography" => (Type::Geometry, "geography".to_owned()),
        "FloatVector" => (Type::Vector, "halfvec".to_owned()),
        "DoubleVector" => (Type::Vector, "vector".to_owned()),
        "SparseDoubleVector" => (text(), "sparsevec".to_owned()),
        _ => return None,
    };
    Some(found)
}

fn decimal(scale: i64, precision: Option<i64>, options: &Options) -> Option<(Type, String)> {
    let Some(precision) = precision else {
        return Some((Type::Money { scale: u8::try_from(scale).ok()? }, "money".to_owned()));
    };
    use crate::debezium::options::BigintUnsigned;
    if precision == 20 && scale == 0 && options.bigint_unsigned == BigintUnsigned::Precise && !options.is_postgres() {
        return Some((Type::Int { bits: 64, unsigned: true }, "bigint unsigned".to_owned()));
    }
    // Scales that no column has are how a scale below zero is shown.
    let shown = i16::try_from(scale).ok()?;
    let scale = if options.is_postgres() && shown > 1_000 { shown - 2_048 } else { shown };
    let kind = Type::Decimal { precision: u16::try_from(precision).ok()?, scale };
    let name = if options.is_postgres() { "numeric" } else { "decimal" };
    Some((kind, format!("{name}({precision},{scale})")))
}

fn bits(length: u32, options: &Options) -> (Type, String) {
    match (length, u8::try_from(length)) {
        (_, Ok(width @ ..=64)) => (Type::Bit { width }, format!("bit({width})")),
        (length, _) if options.is_postgres() && length == u32::MAX >> 1 => {
            (Type::BitString { width: None, varying: true }, "bit varying".to_owned())
        }
        (length, _) => (Type::BitString { width: Some(length), varying: true }, format!("bit varying({length})")),
    }
}

/// The members of an enumeration: separated by commas, in MySQL's with backslashes before those that belong to one.
fn members(allowed: &str, options: &Options) -> Vec<String> {
    if options.is_postgres() || !options.is_exact() {
        return allowed.split(',').map(str::to_owned).collect();
    }
    let mut members = vec![String::new()];
    let mut chars = allowed.chars();
    while let Some(c) = chars.next() {
        match (c, members.last_mut()) {
            ('\\', Some(last)) => last.extend(chars.next()),
            (',', _) => members.push(String::new()),
            (c, Some(last)) => last.push(c),
            _ => {}
        }
    }
    members
}

/// The default in the server's words, so that it is shown the same again.
/// A default's text that gives `raw` again, as far as there is one.
fn default_of(column: &Column, raw: &str, options: &Options) -> Option<String> {
    /// What the original shows as something else.
    const SPECIAL: &[&str] = &["'24:00:00'", "'infinity'", "'-infinity'", "''"];
    let shape = columns::shape(column, options, options.value)?;
    let gives =
        |text: &str| defaults::default(column, text, &shape, options).is_some_and(|json| json == raw.as_bytes());
    let plain = default_text(column, raw, options);
    let special = || SPECIAL.iter().find(|text| gives(text)).map(|text| (*text).to_owned());
    plain.clone().filter(|text| gives(text)).or_else(special).or(plain)
}

fn default_text(column: &Column, raw: &str, options: &Options) -> Option<String> {
    let shape = columns::shape(column, options, options.value)?;
    let mut encoded = Vec::new();
    parse::decode(&shape.form, &column.kind, raw, true, &mut encoded)?;
    let value = Value::decode(&mut &encoded[..])?;
    let quoted = |text: &str| match options.is_postgres() {
        true => format!("'{text}'::{}", if matches!(column.kind, Type::Enum { .. }) { "e" } else { "text" }),
        false => format!("'{text}'"),
    };
    let mut printed = Vec::new();
    Some(match value {
        Value::Text(text) | Value::Enum(text) | Value::Set(text) | Value::Json(text) => quoted(text),
        Value::Int(_) | Value::UInt(_) | Value::Year(_) | Value::Float(_) | Value::Double(_) | Value::Decimal(_) => {
            crate::render::text(&mut printed, value, &column.kind);
            let text = String::from_utf8(printed).ok()?;
            let text = text.replace("inf", "Infinity");
            if text.starts_with('-') && options.is_postgres() { format!("'{text}'::numeric") } else { text }
        }
        Value::Bool(value) => value.to_string(),
        Value::Bit(value) => format!("{}'{value:b}'", if options.is_postgres() { "B" } else { "b" }),
        Value::BitString { bytes, .. } => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
            format!("B'{digits}'")
        }
        Value::Interval { months, days, micros } => {
            let sign = if micros < 0 { "-" } else { "" };
            let rest = micros.unsigned_abs();
            let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
            let clock = format!("{sign}{}:{:02}:{:02}.{fraction:06}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
            quoted(&format!("{months} mons {days} days {clock}"))
        }
        Value::Bytes(bytes) => quoted(std::str::from_utf8(bytes).ok()?),
        _ => {
            crate::render::text(&mut printed, value, &column.kind);
            quoted(String::from_utf8(printed).ok()?.replace('T', " ").trim_end_matches('Z'))
        }
    })
}
