//! Keys of rows as the server reads them: the literals that bound a chunk, and name one row.
//!
//! Invariant: what is written here is read back by the server as the value that it once sent. Start at [`literals`].

use super::super::wire::query::quoted;
use headwater_model::calendar;
use headwater_model::value::{TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY};
use headwater_model::{Date, DateTime, Schema, Type, Value};
use std::fmt::Write;

/// The encoded key of a row as literals, one for each of its columns; `None` when it does not fit the table's key.
pub fn literals(schema: &Schema, mut key: &[u8]) -> Option<Vec<String>> {
    schema.key.iter().map(|_| text(Value::decode(&mut key)?).map(|text| quoted(&text))).collect()
}

/// Whether keys of this table can be written as literals.
pub fn is_literal(schema: &Schema) -> bool {
    kinds(schema).all(|kind| {
        is_ordered_kind(kind)
            || matches!(kind, Type::Text { .. } | Type::Enum { .. } | Type::Decimal { .. } | Type::Numeric)
    })
}

/// Whether keys of this table compare here as they do in the server. Text compares by its collation there.
pub fn is_ordered(schema: &Schema) -> bool {
    kinds(schema).all(is_ordered_kind)
}

fn kinds(schema: &Schema) -> impl Iterator<Item = &Type> {
    schema.key.iter().filter_map(|&column| schema.columns.get(usize::from(column))).map(|column| &column.kind)
}

fn is_ordered_kind(kind: &Type) -> bool {
    matches!(
        kind,
        Type::Int { .. }
            | Type::Bool
            | Type::Date
            | Type::DateTime { .. }
            | Type::Timestamp { .. }
            | Type::Bytes { .. }
            | Type::Uuid
    )
}

/// A value as the server reads it, whatever the session's settings are.
fn text(value: Value<'_>) -> Option<String> {
    Some(match value {
        Value::Int(v) => v.to_string(),
        Value::UInt(v) => v.to_string(),
        Value::Bool(v) => v.to_string(),
        Value::Decimal(v) | Value::Text(v) | Value::Enum(v) => v.to_owned(),
        Value::Bytes(v) => v.iter().fold("\\x".to_owned(), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        }),
        Value::Uuid(v) => v.iter().map(|byte| format!("{byte:02x}")).collect(),
        Value::Date(v) => date(v, ""),
        Value::DateTime(v) => date_time(v, ""),
        Value::Timestamp(TIMESTAMP_INFINITY) => "infinity".to_owned(),
        Value::Timestamp(TIMESTAMP_NEG_INFINITY) => "-infinity".to_owned(),
        Value::Timestamp(v) => date_time(calendar::date_time(v), "+00"),
        _ => return None,
    })
}

/// A date, with what follows it before the era.
fn date(v: Date, rest: &str) -> String {
    match v {
        Date::INFINITY => "infinity".to_owned(),
        Date::NEG_INFINITY => "-infinity".to_owned(),
        Date { year, month, day } if year > 0 => format!("{year:04}-{month:02}-{day:02}{rest}"),
        // The year 0 is 1 BC.
        Date { year, month, day } => format!("{:04}-{month:02}-{day:02}{rest} BC", 1 - year),
    }
}

fn date_time(v: DateTime, zone: &str) -> String {
    let DateTime { hour, minute, second, micros, .. } = v;
    date(v.date, &format!(" {hour:02}:{minute:02}:{second:02}.{micros:06}{zone}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_the_server_reads_them() {
        let at = |year, hour| DateTime { date: Date { year, month: 2, day: 3 }, hour, minute: 0, second: 0, micros: 7 };
        for (value, expected) in [
            (Value::Int(-5), "-5"),
            (Value::Bytes(b"\x00\xff"), "\\x00ff"),
            (Value::Uuid([0x12; 16]), "12121212121212121212121212121212"),
            (Value::Date(Date { year: -4712, month: 1, day: 1 }), "4713-01-01 BC"),
            (Value::Date(Date::INFINITY), "infinity"),
            (Value::DateTime(at(0, 4)), "0001-02-03 04:00:00.000007 BC"),
            (Value::DateTime(at(294_276, 0)), "294276-02-03 00:00:00.000007"),
            (Value::Timestamp(951_782_400_000_001), "2000-02-29 00:00:00.000001+00"),
            (Value::Timestamp(TIMESTAMP_NEG_INFINITY), "-infinity"),
        ] {
            assert_eq!(text(value).as_deref(), Some(expected));
        }
        assert_eq!(text(Value::Null), None);
    }
}
