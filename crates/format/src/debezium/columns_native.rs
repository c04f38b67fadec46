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

/// The parameters that tell a column's type.
pub(crate) fn source_type(column: &Column, options: &Options) -> Vec<(String, String)> {
    let (name, length, scale) = match options.is_postgres() {
        true => postgres(column),
        false => mysql(column),
    };
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

/// What the driver calls the type of a column in a snapshot, where that is another name than in the stream: a type of
/// the user's own with its schema, an integer with a sequence of its own.
pub(crate) fn in_snapshot(column: &Column, parameters: &mut Vec<(String, String)>) {
    let is_serial = column.default.as_deref().is_some_and(|text| text.starts_with("nextval("));
    let type_name = type_name(&column.native);
    let name = match &column.kind {
        Type::Int { bits: 16, .. } if is_serial => Some("SMALLSERIAL".to_owned()),
        Type::Int { bits: 32, .. } if is_serial => Some("SERIAL".to_owned()),
        Type::Int { bits: 64, .. } if is_serial => Some("BIGSERIAL".to_owned()),
        _ => type_name.split_once('.').map(|(schema, name)| format!("\"{schema}\".\"{name}\"").to_uppercase()),
    };
    for (parameter, value) in parameters.iter_mut() {
        match (parameter.as_str(), &name) {
            ("__debezium.source.column.type", Some(name)) => value.clone_from(name),
            ("__debezium.source.column.length", _) if column.kind == Type::Numeric => "0".clone_into(value),
            _ => {}
        }
    }
    if column.kind == Type::Numeric {
        parameters.retain(|(parameter, _)| parameter != "__debezium.source.column.scale");
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

/// The declared length of a column, if its type has one.
pub(crate) fn length(column: &Column) -> Option<usize> {
    match &column.kind {
        Type::Enum { .. } => Some(1),
        Type::Set { members } => Some(members.len().saturating_mul(2).saturating_sub(1)),
        _ => numbers(&column.native).first().and_then(|length| usize::try_from(*length).ok()),
    }
}

fn numbers(native: &str) -> Vec<u64> {
    let inner = native.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(inner, _)| inner);
    inner.map(|inner| inner.split(',').map_while(|part| part.trim().parse().ok()).collect()).unwrap_or_default()
}

fn mysql(column: &Column) -> (String, Option<u64>, Option<u64>) {
    let name = type_name(&column.native).to_ascii_uppercase();
    let numbers = match column.kind {
        Type::Enum { .. } | Type::Set { .. } => length(column).map(|length| length as u64).into_iter().collect(),
        _ => numbers(&column.native),
    };
    (name, numbers.first().copied(), numbers.get(1).copied())
}

fn postgres(column: &Column) -> (String, Option<u64>, Option<u64>) {
    let numbers = numbers(&column.native);
    let (element, prefix) = match &column.kind {
        Type::Array { element } => (&**element, "_"),
        kind => (kind, ""),
    };
    let first = numbers.first().copied();
    let (name, length, scale) = match element {
        Type::Int { bits: 16, .. } => ("INT2", 5, Some(0)),
        Type::Int { bits: 32, unsigned: true } => ("OID", 10, Some(0)),
        Type::Int { bits: 32, .. } => ("INT4", 10, Some(0)),
        Type::Int { .. } => ("INT8", 19, Some(0)),
        Type::Float => ("FLOAT4", 8, Some(8)),
        Type::Double => ("FLOAT8", 17, Some(17)),
        Type::Bool => ("BOOL", 1, Some(0)),
        Type::Decimal { precision, scale } => {
            let scale = u64::try_from(*scale).unwrap_or(0);
            let name = own_name(column).unwrap_or_else(|| "NUMERIC".to_owned());
            return (format!("{prefix}{name}"), Some(u64::from(*precision)), Some(scale));
        }
        Type::Numeric => return (format!("{prefix}NUMERIC"), Some(LENGTH_ANY), Some(0)),
        Type::Date => ("DATE", 13, Some(0)),
        Type::Time { fraction } => ("TIME", time_length(8, *fraction), Some(u64::from(*fraction))),
        Type::TimeTz { fraction } => ("TIMETZ", time_length(14, *fraction), Some(u64::from(*fraction))),
        Type::DateTime { fraction } => ("TIMESTAMP", time_length(22, *fraction), Some(u64::from(*fraction))),
        Type::Timestamp { fraction } => ("TIMESTAMPTZ", time_length(28, *fraction), Some(u64::from(*fraction))),
        Type::Interval => ("INTERVAL", 49, Some(6)),
        Type::Bit { width } => ("BIT", u64::from(*width), Some(0)),
        Type::BitString { .. } => ("VARBIT", first.unwrap_or(UNLIMITED), Some(0)),
        _ => {
            let name = type_name(&column.native);
            let name = internal_name(name.trim_end_matches("[]"));
            let name = name.rsplit('.').next().unwrap_or(name).to_uppercase();
            return (format!("{prefix}{name}"), Some(first.unwrap_or(UNLIMITED)), Some(0));
        }
    };
    let name = own_name(column).unwrap_or_else(|| name.to_owned());
    (format!("{prefix}{name}"), Some(length), scale)
}

/// The name of a domain, without its schema.
fn own_name(column: &Column) -> Option<String> {
    let name = type_name(&column.native);
    let is_own = is_domain(&column.kind, &column.native) && !matches!(column.kind, Type::Array { .. });
    is_own.then(|| name.rsplit('.').next().unwrap_or(&name).trim_matches('"').to_uppercase())
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
