//! Values as text and as JSON, the form in which every target that keeps text sees them. Pure.
//!
//! Invariant: nothing is lost. An integer keeps all its digits, a decimal its scale, a time its fraction; what JSON
//! numbers cannot carry safely is a string. What a calendar of four digits has no form for is written as PostgreSQL does:
//! `0044-03-15 BC`, `infinity`. Start at [`json`] and [`text`], which differ only in quotes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use headwater_model::value::{Date, DateTime, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, ZERO_TIMESTAMP};
use headwater_model::{Array, Type, Value, calendar};
use serde::de::IgnoredAny;
use std::io::Write as _;
use std::net::Ipv4Addr;

const MICROS_PER_SECOND: u64 = 1_000_000;

/// Appends `value` of a column of type `kind` as JSON: integers, bits, years and floats as numbers (a float that is not
/// finite is null), decimals as strings with their scale, JSON as itself, vectors as arrays, all else as strings.
#[inline]
pub fn json(out: &mut Vec<u8>, value: Value<'_>, kind: &Type) {
    match value {
        Value::Null | Value::Absent => out.extend_from_slice(b"null"),
        Value::Int(_) | Value::UInt(_) | Value::Year(_) | Value::Bit(_) | Value::Vector(_) => text(out, value, kind),
        Value::Bool(_) | Value::Array(_) => text(out, value, kind),
        Value::Float(v) if !v.is_finite() => out.extend_from_slice(b"null"),
        Value::Double(v) if !v.is_finite() => out.extend_from_slice(b"null"),
        Value::Float(_) | Value::Double(_) => text(out, value, kind),
        Value::Text(v) | Value::Enum(v) | Value::Set(v) => json_string(out, v),
        Value::Json(v) => json_document(out, v),
        _ => {
            // What remains is rendered in digits, letters, blanks and `-:.+/=`: nothing to escape.
            out.push(b'"');
            text(out, value, kind);
            out.push(b'"');
        }
    }
}

/// Appends `value` as the same text without quotes: for keys, hash fields and members. NULL appends nothing; the caller
/// has looked for it before.
#[inline]
pub fn text(out: &mut Vec<u8>, value: Value<'_>, kind: &Type) {
    match value {
        Value::Null | Value::Absent => {}
        Value::Int(v) => out.extend_from_slice(itoa::Buffer::new().format(v).as_bytes()),
        Value::UInt(v) | Value::Bit(v) => unsigned(out, v),
        Value::Year(v) => unsigned(out, u64::from(v)),
        Value::Float(v) => float(out, f64::from(v), v),
        Value::Double(v) => float(out, v, v),
        Value::Decimal(v) | Value::Text(v) | Value::Enum(v) | Value::Set(v) | Value::Json(v) => {
            out.extend_from_slice(v.as_bytes());
        }
        Value::Bytes(v) => base64(out, &[v]),
        Value::Geometry { srid, wkb } => base64(out, &[&srid.to_le_bytes(), wkb]),
        Value::Date(v) => date(out, v),
        Value::DateTime(v) => date_time(out, v, kind),
        Value::Timestamp(v) => timestamp(out, v, kind),
        Value::Time(v) => time(out, v, kind),
        Value::Vector(v) => vector(out, v),
        Value::Uuid(v) => uuid(out, v),
        Value::Inet4(v) => display(out, Ipv4Addr::from(v)),
        Value::Inet6(v) => inet6(out, v),
        Value::Bool(v) => out.extend_from_slice(if v { b"true" } else { b"false" }),
        Value::TimeTz { micros, offset_seconds } => time_tz(out, micros, offset_seconds, kind),
        Value::Interval { months, days, micros } => interval(out, months, days, micros),
        Value::BitString { bits, bytes } => bit_string(out, bits, bytes),
        Value::Array(v) => array(out, v, kind),
    }
}

/// Appends `text` as a JSON string with its quotes.
#[inline]
pub fn json_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[copied..i]);
        copied = i + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

/// MariaDB's JSON is text under a constraint that can be switched off, so what is embedded is looked at first.
fn json_document(out: &mut Vec<u8>, document: &str) {
    if serde_json::from_str::<IgnoredAny>(document).is_ok() {
        out.extend_from_slice(document.as_bytes());
    } else {
        json_string(out, document);
    }
}

#[inline]
fn unsigned(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{value}");
}

/// As MariaDB prints it: the first of the longest runs of zeros, be it a single one, is left out, and what follows 96 bits
/// of `::` or `::ffff` is IPv4.
fn inet6(out: &mut Vec<u8>, address: [u8; 16]) {
    let words: [u16; 8] = std::array::from_fn(|i| u16::from_be_bytes([address[2 * i], address[2 * i + 1]]));
    let run = |start: usize| words[start..].iter().take_while(|word| **word == 0).count();
    // The last of equals is the maximum, so the order is turned round.
    let (gap, length) =
        (0..8).rev().map(|start| (start, run(start))).max_by_key(|(_, length)| *length).unwrap_or_default();
    let has_ipv4 = gap == 0 && (length == 6 || length == 5 && words[5] == 0xffff);
    let mut place = 0;
    while place < 8 {
        if length > 0 && place == gap {
            out.extend_from_slice(b"::");
            place += length;
            continue;
        }
        if place > 0 && !(length > 0 && place == gap + length) {
            out.push(b':');
        }
        if has_ipv4 && place == 6 {
            return display(out, Ipv4Addr::new(address[12], address[13], address[14], address[15]));
        }
        let _ = write!(out, "{:x}", words[place]);
        place += 1;
    }
}

/// The shortest digits that read back as `shortest`, with an exponent where plain digits would be long.
fn float(out: &mut Vec<u8>, magnitude: f64, shortest: impl std::fmt::Display + std::fmt::LowerExp) {
    let plain = magnitude == 0.0 || (1e-5..1e17).contains(&magnitude.abs()) || !magnitude.is_finite();
    let _ = if plain { write!(out, "{shortest}") } else { write!(out, "{shortest:e}") };
}

fn base64(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let joined;
    let bytes = match parts {
        [bytes] => *bytes,
        _ => {
            joined = parts.concat();
            &joined
        }
    };
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

#[inline]
fn digits<const N: usize>(out: &mut Vec<u8>, mut value: u32) {
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&text);
}

fn date(out: &mut Vec<u8>, value: Date) {
    if value.is_infinite() {
        return infinite(out, value.year > 0);
    }
    calendar_date(out, value);
    era(out, value);
}

fn infinite(out: &mut Vec<u8>, after: bool) {
    out.extend_from_slice(if after { b"infinity" } else { b"-infinity" });
}

/// The year in at least four digits; MySQL's year 0 is itself, PostgreSQL's is never without a month and 1 BC.
fn calendar_date(out: &mut Vec<u8>, value: Date) {
    let year = if is_before_christ(value) { 1 - i64::from(value.year) } else { i64::from(value.year) };
    if year > 9999 {
        unsigned(out, year.unsigned_abs());
    } else {
        digits::<4>(out, year as u32);
    }
    out.push(b'-');
    digits::<2>(out, u32::from(value.month));
    out.push(b'-');
    digits::<2>(out, u32::from(value.day));
}

fn is_before_christ(value: Date) -> bool {
    value.year < 0
}

fn era(out: &mut Vec<u8>, value: Date) {
    if is_before_christ(value) {
        out.extend_from_slice(b" BC");
    }
}

fn date_time(out: &mut Vec<u8>, value: DateTime, kind: &Type) {
    moment(out, value, kind, b"");
}

fn moment(out: &mut Vec<u8>, value: DateTime, kind: &Type, zone: &[u8]) {
    if value.date.is_infinite() {
        return infinite(out, value.date.year > 0);
    }
    calendar_date(out, value.date);
    out.push(b'T');
    let seconds = u32::from(value.hour) * 3600 + u32::from(value.minute) * 60 + u32::from(value.second);
    clock(out, seconds, value.micros, kind);
    out.extend_from_slice(zone);
    era(out, value.date);
}

/// `hh:mm:ss.fff`: three digits of fraction, and as many as the column has where it has more.
fn clock(out: &mut Vec<u8>, seconds: u32, micros: u32, kind: &Type) {
    let hours = seconds / 3600;
    if hours > 99 {
        unsigned(out, u64::from(hours));
    } else {
        digits::<2>(out, hours);
    }
    out.push(b':');
    digits::<2>(out, seconds / 60 % 60);
    out.push(b':');
    digits::<2>(out, seconds % 60);
    out.push(b'.');
    let start = out.len();
    digits::<6>(out, micros);
    let fraction = match kind {
        Type::Time { fraction }
        | Type::TimeTz { fraction }
        | Type::DateTime { fraction }
        | Type::Timestamp { fraction } => *fraction,
        _ => 6,
    };
    out.truncate(start + usize::from(fraction.clamp(3, 6)));
}

fn timestamp(out: &mut Vec<u8>, micros: i64, kind: &Type) {
    let zero = DateTime { date: Date { year: 0, month: 0, day: 0 }, hour: 0, minute: 0, second: 0, micros: 0 };
    match micros {
        ZERO_TIMESTAMP => moment(out, zero, kind, b"Z"),
        TIMESTAMP_INFINITY | TIMESTAMP_NEG_INFINITY => infinite(out, micros > 0),
        micros => moment(out, calendar::date_time(micros), kind, b"Z"),
    }
}

fn time_tz(out: &mut Vec<u8>, micros: i64, offset_seconds: i32, kind: &Type) {
    time(out, micros, kind);
    out.push(if offset_seconds < 0 { b'-' } else { b'+' });
    let offset = offset_seconds.unsigned_abs();
    digits::<2>(out, offset / 3600 % 100);
    out.push(b':');
    digits::<2>(out, offset / 60 % 60);
    if !offset.is_multiple_of(60) {
        out.push(b':');
        digits::<2>(out, offset % 60);
    }
}

/// ISO 8601's duration, as PostgreSQL's `IntervalStyle = iso_8601`: each part with a sign of its own.
fn interval(out: &mut Vec<u8>, months: i32, days: i32, micros: i64) {
    match (months, days, micros) {
        (i32::MAX, i32::MAX, i64::MAX) => return infinite(out, true),
        (i32::MIN, i32::MIN, i64::MIN) => return infinite(out, false),
        (0, 0, 0) => return out.extend_from_slice(b"PT0S"),
        _ => {}
    }
    out.push(b'P');
    part(out, i64::from(months / 12), 'Y');
    part(out, i64::from(months % 12), 'M');
    part(out, i64::from(days), 'D');
    if micros == 0 {
        return;
    }
    let (seconds, fraction) = (micros / MICROS_PER_SECOND as i64, micros % MICROS_PER_SECOND as i64);
    out.push(b'T');
    part(out, seconds / 3600, 'H');
    part(out, seconds / 60 % 60, 'M');
    if seconds % 60 != 0 || fraction != 0 {
        if micros < 0 {
            out.push(b'-');
        }
        unsigned(out, (seconds % 60).unsigned_abs());
        if fraction != 0 {
            let digits = format!(".{:06}", fraction.unsigned_abs());
            out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
        }
        out.push(b'S');
    }
}

fn part(out: &mut Vec<u8>, value: i64, unit: char) {
    if value != 0 {
        let _ = write!(out, "{value}{unit}");
    }
}

fn bit_string(out: &mut Vec<u8>, bits: u32, bytes: &[u8]) {
    let bit = |index: usize| bytes.get(index / 8).is_some_and(|byte| byte >> (7 - index % 8) & 1 == 1);
    out.extend((0..bits as usize).map(|index| if bit(index) { b'1' } else { b'0' }));
}

/// A JSON array, one inside another for each dimension.
fn array(out: &mut Vec<u8>, value: Array<'_>, kind: &Type) {
    let element = match kind {
        Type::Array { element } => element,
        other => other,
    };
    let dimensions = value.dimensions();
    if dimensions.is_empty() {
        return out.extend_from_slice(b"[]");
    }
    let lengths: Vec<usize> = dimensions.iter().map(|dimension| dimension.length as usize).collect();
    for (index, each) in value.elements().enumerate() {
        // A bracket opens for each dimension that begins here, and closes for each that ends.
        let mut size = 1;
        let mut edges = 0;
        for length in lengths.iter().rev() {
            size *= length;
            edges += usize::from(index % size == 0);
        }
        if index > 0 {
            out.extend(std::iter::repeat_n(b']', edges.min(lengths.len())));
            out.push(b',');
        }
        out.extend(std::iter::repeat_n(b'[', edges));
        json(out, each, element);
    }
    out.extend(std::iter::repeat_n(b']', lengths.len()));
}

fn time(out: &mut Vec<u8>, micros: i64, kind: &Type) {
    if micros < 0 {
        out.push(b'-');
    }
    let magnitude = micros.unsigned_abs();
    // A TIME is at most 839 hours; the clamp only keeps a damaged value from wrapping.
    let seconds = (magnitude / MICROS_PER_SECOND).min(u64::from(u32::MAX)) as u32;
    clock(out, seconds, (magnitude % MICROS_PER_SECOND) as u32, kind);
}

fn vector(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'[');
    for (i, chunk) in bytes.chunks_exact(4).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        let value = f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        if value.is_finite() {
            float(out, f64::from(value), value);
        } else {
            out.extend_from_slice(b"null");
        }
    }
    out.push(b']');
}

fn uuid(out: &mut Vec<u8>, bytes: [u8; 16]) {
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        let _ = write!(out, "{byte:02x}");
    }
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
