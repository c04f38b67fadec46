//! Rows as text, in the words of the server's own SELECT, so that the two can be compared line by line.

use super::super::json_text::write_double;
use headwater_model::value::ZERO_TIMESTAMP;
use headwater_model::{Date, Row, Schema, Type, Value};
use std::fmt::Write;

/// Tab-separated, as the server's client prints with `--batch --raw`; bytes as `HEX()` prints them.
pub fn row(row: Row<'_>, schema: &Schema) -> String {
    let columns = schema.columns.iter().filter(|column| !column.excluded);
    let cells: Vec<_> = row.values().zip(columns).map(|(value, column)| cell(value, &column.kind)).collect();
    assert_eq!(row.len(), cells.len());
    format!("[{}]", cells.join("|"))
}

fn cell(value: Value<'_>, kind: &Type) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Absent => "ABSENT".to_owned(),
        Value::Int(v) => v.to_string(),
        Value::UInt(v) | Value::Bit(v) => v.to_string(),
        Value::Float(v) => double(f64::from(v)),
        Value::Double(v) => double(v),
        Value::Decimal(v) | Value::Text(v) | Value::Enum(v) | Value::Set(v) | Value::Json(v) => short(v),
        Value::Bytes(v) | Value::Vector(v) => short(&hex(v)),
        Value::Date(v) => date(v),
        Value::DateTime(v) => {
            let Type::DateTime { fraction } = kind else { panic!("a DATETIME in a {kind:?}") };
            date(v.date) + &clock(" ", u64::from(v.hour), v.minute.into(), v.second.into(), v.micros.into(), *fraction)
        }
        Value::Timestamp(ZERO_TIMESTAMP) => "0".to_owned(),
        Value::Timestamp(v) => {
            let Type::Timestamp { fraction } = kind else { panic!("a TIMESTAMP in a {kind:?}") };
            format!("{}{}", v / 1_000_000, tail((v % 1_000_000) as u64, *fraction))
        }
        Value::Time(v) => {
            let Type::Time { fraction } = kind else { panic!("a TIME in a {kind:?}") };
            let (sign, v) = (if v < 0 { "-" } else { "" }, v.unsigned_abs());
            let seconds = v / 1_000_000;
            clock(sign, seconds / 3600, seconds / 60 % 60, seconds % 60, v % 1_000_000, *fraction)
        }
        Value::Year(v) => format!("{v:04}"),
        Value::Geometry { srid, wkb } => format!("{srid}:{}", hex(wkb)),
        Value::Uuid(v) => hex(&v),
        Value::Inet4(v) => std::net::Ipv4Addr::from(v).to_string(),
        Value::Inet6(v) => std::net::Ipv6Addr::from(v).to_string(),
        other => panic!("{other:?} of another database"),
    }
}

/// As `CAST(… AS CHAR)`: like JSON's, without the point that JSON wants.
fn double(v: f64) -> String {
    let mut text = Vec::new();
    write_double(v, &mut text);
    let text = String::from_utf8(text).unwrap();
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

fn date(v: Date) -> String {
    format!("{:04}-{:02}-{:02}", v.year, v.month, v.day)
}

fn clock(sign: &str, hour: u64, minute: u64, second: u64, micros: u64, fraction: u8) -> String {
    format!("{sign}{hour:02}:{minute:02}:{second:02}{}", tail(micros, fraction))
}

fn tail(micros: u64, fraction: u8) -> String {
    if fraction == 0 { String::new() } else { format!(".{micros:06}")[..1 + usize::from(fraction)].to_owned() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02X}");
        out
    })
}

/// Long values by their length and a checksum, so that the texts stay readable.
fn short(text: &str) -> String {
    if text.len() <= 400 {
        return text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t");
    }
    format!("({} characters, crc32 {})", text.chars().count(), crc32fast::hash(text.as_bytes()))
}
