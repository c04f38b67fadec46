//! What a column's type says in the server's own words: its name, its length, its scale.
//!
//! Invariant: the words are those that the original reads out of DDL (MySQL) or the driver's metadata (PostgreSQL). Start
//! at [`source_type`].

use super::columns::is_domain;
use super::options::Options;
use headwater_model::{Column, Type};

/// The length that text and byte types of PostgreSQL have where they have none.
const UNLIMITED: u64 = 2_147_483_647;

/// The length that a numeric without one has in the stream.
const LENGTH_ANY: u64 = 131_089;

/// Of a scale below zero so many bits are read.
const SCALE_BITS: u16 = 0x7ff;

/// The scale of an interval that is cut to some of its fields, and has no digits of a second told.
const SCALE_ANY: u64 = 65_535;

/// The parameters that tell a column's type, in a snapshot's records or in the stream's.
pub(crate) fn source_type(column: &Column, options: &Options, snapshot: bool) -> Vec<(String, String)> {
    let (name, length, scale) = native(column, options, snapshot);
    let mut parameters = vec![("__debezium.source.column.type".to_owned(), name)];
    if let Some(length) = length {
        parameters.push(("__debezium.source.column.length".to_owned(), length.to_string()));
    }
    if let Some(scale) = scale {
        parameters.push(("__debezium.source.column.scale".to_owned(), scale.to_string()));
    }
    parameters.push(("__debezium.source.column.name".to_owned(), column.name.clone()));
    parameters
}

/// The name of a column's type, as the parameters tell it.
pub(crate) fn source_type_name(column: &Column, options: &Options, snapshot: bool) -> String {
    native(column, options, snapshot).0
}

/// Name, length and scale.
type Native = (String, Option<u64>, Option<u64>);

fn native(column: &Column, options: &Options, snapshot: bool) -> Native {
    match options.is_postgres() {
        true if snapshot && options.is_exact() => in_snapshot(column, postgres(column)),
        true => postgres(column),
        false => mysql(column),
    }
}

/// What the driver calls the type of a column in a snapshot, where that is another name than in the stream: a type of
/// the user's own with its schema, an integer with a sequence of its own.
fn in_snapshot(column: &Column, (mut name, length, scale): Native) -> Native {
    let is_serial = column.default.as_deref().is_some_and(|text| text.starts_with("nextval("));
    let plain = type_name(&column.native);
    match &column.kind {
        Type::Int { bits: 16, .. } if is_serial => name = "SMALLSERIAL".to_owned(),
        Type::Int { bits: 32, .. } if is_serial => name = "SERIAL".to_owned(),
        Type::Int { bits: 64, .. } if is_serial => name = "BIGSERIAL".to_owned(),
        _ => {
            if let Some((schema, _)) = plain.split_once('.') {
                name = format!("\"{}\".\"{name}\"", schema.trim_matches('"').to_uppercase());
            }
        }
    }
    match column.kind == Type::Numeric && !is_domain(&column.kind, &column.native) {
        true => (name, Some(0), None),
        false => (name, length, scale),
    }
}

/// The name of a type without numbers in brackets.
pub(crate) fn type_name(native: &str) -> String {
    let mut name = String::new();
    let mut depth = 0usize;
    for c in native.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if depth == 0 => name.push(c),
            _ => {}
        }
    }
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The length of a column, if its type has one. Every type of PostgreSQL has one to its driver.
pub(crate) fn length(column: &Column, options: &Options, snapshot: bool) -> Option<usize> {
    match &column.kind {
        _ if options.is_postgres() => native(column, options, snapshot).1.map(|length| length as usize),
        kind => mysql_length(kind, &column.native),
    }
}

fn mysql_length(kind: &Type, native: &str) -> Option<usize> {
    match kind {
        Type::Enum { .. } => Some(1),
        Type::Set { members } => Some(members.len().saturating_mul(2).saturating_sub(1)),
        _ => numbers(native).first().and_then(|length| usize::try_from(*length).ok()),
    }
}

fn numbers(native: &str) -> Vec<u64> {
    let inner = native.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(inner, _)| inner);
    inner.map(|inner| inner.split(',').map_while(|part| part.trim().parse().ok()).collect()).unwrap_or_default()
}

fn mysql(column: &Column) -> Native {
    let name = type_name(&column.native).to_ascii_uppercase();
    let numbers = match column.kind {
        Type::Enum { .. } | Type::Set { .. } => {
            mysql_length(&column.kind, &column.native).map(|length| length as u64).into_iter().collect()
        }
        _ => numbers(&column.native),
    };
    (name, numbers.first().copied(), numbers.get(1).copied())
}

fn postgres(column: &Column) -> Native {
    let numbers = numbers(&column.native);
    let (element, prefix) = match &column.kind {
        // A domain over an array is no array by its name.
        Type::Array { element } if column.native.ends_with("[]") => (&**element, "_"),
        Type::Array { element } => (&**element, ""),
        kind => (kind, ""),
    };
    let first = numbers.first().copied();
    let (name, length, scale) = match element {
        _ if matches!(column.native.as_str(), "int2vector" | "oidvector") => {
            return (column.native.to_uppercase(), Some(UNLIMITED), Some(0));
        }
        Type::Int { bits: 16, .. } => ("INT2", 5, Some(0)),
        Type::Int { bits: 32, unsigned: true } => ("OID", 10, Some(0)),
        Type::Int { bits: 32, .. } => ("INT4", 10, Some(0)),
        Type::Int { .. } => ("INT8", 19, Some(0)),
        Type::Float => ("FLOAT4", 8, Some(8)),
        Type::Double => ("FLOAT8", 17, Some(17)),
        Type::Bool => ("BOOL", 1, Some(0)),
        Type::Decimal { precision, scale } => {
            let scale = u64::from(*scale as u16 & if *scale < 0 { SCALE_BITS } else { u16::MAX });
            let name = own_name(column).unwrap_or_else(|| "NUMERIC".to_owned());
            return (format!("{prefix}{name}"), Some(u64::from(*precision)), Some(scale));
        }
        Type::Numeric => ("NUMERIC", LENGTH_ANY, Some(0)),
        Type::Date => ("DATE", 13, Some(0)),
        Type::Time { fraction } => ("TIME", time_length(8, *fraction), Some(u64::from(*fraction))),
        Type::TimeTz { fraction } => ("TIMETZ", time_length(14, *fraction), Some(u64::from(*fraction))),
        Type::DateTime { fraction } => ("TIMESTAMP", time_length(22, *fraction), Some(u64::from(*fraction))),
        Type::Timestamp { fraction } => ("TIMESTAMPTZ", time_length(28, *fraction), Some(u64::from(*fraction))),
        Type::Interval => {
            let is_cut = type_name(&column.native) != "interval" && !is_domain(element, &column.native);
            ("INTERVAL", 49, Some(first.unwrap_or(if is_cut { SCALE_ANY } else { 6 })))
        }
        Type::Text { .. } if type_name(&column.native).starts_with("\"char\"") => ("CHAR", 1, Some(0)),
        Type::Bit { width } => ("BIT", u64::from(*width), Some(0)),
        Type::BitString { width, .. } => ("VARBIT", width.map_or(UNLIMITED, u64::from), Some(0)),
        _ => {
            let name = type_name(&column.native);
            let name = internal_name(name.trim_end_matches("[]"));
            let name = name.rsplit('.').next().unwrap_or(name).trim_matches('"').to_uppercase();
            return (format!("{prefix}{name}"), Some(first.unwrap_or(UNLIMITED)), Some(0));
        }
    };
    let name = own_name(column).unwrap_or_else(|| name.to_owned());
    (format!("{prefix}{name}"), Some(length), scale)
}

/// The name of a domain, or of what an array of domains holds, without its schema.
fn own_name(column: &Column) -> Option<String> {
    let name = type_name(&column.native);
    let name = name.trim_end_matches("[]");
    let kind = match &column.kind {
        Type::Array { element } => element,
        kind => kind,
    };
    is_domain(kind, &column.native).then(|| name.rsplit('.').next().unwrap_or(name).trim_matches('"').to_uppercase())
}

/// The driver's width of a time: without a fraction, or with it and its point.
fn time_length(whole: u64, fraction: u8) -> u64 {
    match fraction {
        0 => whole,
        fraction => whole + 1 + u64::from(fraction),
    }
}

fn internal_name(name: &str) -> &str {
    match name {
        "character varying" => "varchar",
        "character" => "bpchar",
        "boolean" => "bool",
        name => name,
    }
}
