//! Values read back from the text of a record.
//!
//! Invariant: what [`Form::write`] wrote is read as a value that it writes the same way; hostile text gives `None`, never
//! a panic. Start at [`decode`].

use super::decimal;
use super::form::Form;
use super::temporal::{self, Unit};
use crate::debezium::json_text::Pairs;
use crate::debezium::options::{BinaryMode, IntervalMode};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use headwater_model::value::{Date, DateTime, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY};
use headwater_model::{ArrayWriter, Dimension, Type, Value, calendar};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Elements that an array may have: a text claims no more than it holds, but each takes memory of its own.
const ELEMENTS_MAX: usize = 16 << 20;

/// How often 64 bits of nanoseconds begin anew up to the year 9999.
const CUTS_MAX: i128 = 14;

/// Appends the value that `raw` shows; `None` when it is not of this form.
pub(crate) fn decode(form: &Form, kind: &Type, raw: &str, snapshot: bool, out: &mut Vec<u8>) -> Option<()> {
    if raw == "null" {
        Value::Null.encode(out);
        return Some(());
    }
    match form {
        Form::Array { element, .. } => {
            let kind = match kind {
                Type::Array { element } => element,
                other => other,
            };
            return decode_array(element, kind, raw, snapshot, out);
        }
        Form::EmptyArray => {
            // That it is there is all that is known of it.
            let mut writer = ArrayWriter::default();
            writer.begin(&[Dimension { length: 0, lower_bound: 0 }]);
            writer.value().filter(|_| raw == "[]")?.encode(out);
            return Some(());
        }
        Form::Point | Form::Geometry => return decode_geometry(raw, out),
        Form::FloatVector | Form::DoubleVector => {
            let numbers: Vec<f64> = serde_json::from_str(raw).ok()?;
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| (*number as f32).to_le_bytes()).collect();
            Value::Vector(&bytes).encode(out);
            return Some(());
        }
        Form::SparseVector => return decode_sparse(raw, out),
        Form::HstoreMap => {
            serde_json::from_str::<Pairs>(raw).ok()?;
            Value::Json(raw).encode(out);
            return Some(());
        }
        _ => {}
    }
    let text = text(raw);
    let text = text.as_deref();
    match (form, kind) {
        (Form::Integer, Type::Int { unsigned: true, bits: 64 }) => {
            let value: i64 = raw.parse().ok()?;
            Value::UInt(value as u64).encode(out);
        }
        (Form::Integer, _) => Value::Int(raw.parse().ok()?).encode(out),
        (Form::Year(_), _) => Value::Year(raw.parse().ok()?).encode(out),
        (Form::Boolean, Type::Bit { .. }) => Value::Bit(u64::from(boolean(raw)?)).encode(out),
        (Form::Boolean, Type::Int { .. }) => Value::Int(i64::from(boolean(raw)?)).encode(out),
        (Form::Boolean, _) => Value::Bool(boolean(raw)?).encode(out),
        (Form::Float { .. }, _) => Value::Float(text.unwrap_or(raw).parse().ok()?).encode(out),
        (Form::Double(_), _) => Value::Double(text.unwrap_or(raw).parse().ok()?).encode(out),
        (Form::Decimal { scale, numeric: false }, _) => {
            Value::Decimal(&decimal::text_of(&STANDARD.decode(text?).ok()?, *scale)?).encode(out);
        }
        (Form::Money { digits, numeric: false }, _) => {
            let bytes = STANDARD.decode(text?).ok()?;
            Value::Decimal(&decimal::text_of(&bytes, i32::from(*digits))?).encode(out);
        }
        (Form::Decimal { .. } | Form::Money { .. }, _) => Value::Decimal(&decimal::without_exponent(raw)?).encode(out),
        (Form::DecimalText { .. } | Form::NumericText, _) => Value::Decimal(named_special(text?)).encode(out),
        (Form::DecimalDouble, _) => decode_double_decimal(text.unwrap_or(raw), out)?,
        (Form::VariableDecimal, _) => decode_variable(raw, out)?,
        (Form::EscapedEnum, _) if !snapshot => Value::Enum(&unescaped(text?)).encode(out),
        (Form::Json | Form::MysqlJson | Form::HstoreJson, _) => Value::Json(text?).encode(out),
        (Form::Bytes { mode, .. }, _) => Value::Bytes(&decode_bytes(text?, *mode)?).encode(out),
        (Form::Bits { .. }, kind) => decode_bits(&STANDARD.decode(text?).ok()?, kind, out)?,
        (Form::Uuid | Form::MariadbUuid, _) => match uuid(text?) {
            Some(uuid) => Value::Uuid(uuid).encode(out),
            None => Value::Text(text?).encode(out),
        },
        (Form::Interval(mode), _) => decode_interval(text.unwrap_or(raw), *mode)?.encode(out),
        (Form::Text | Form::EscapedEnum, Type::Enum { .. }) => Value::Enum(text?).encode(out),
        (Form::Text, Type::Set { .. }) => Value::Set(text?).encode(out),
        (Form::Text, Type::Json) => Value::Json(text?).encode(out),
        (Form::Text | Form::Name, _) => Value::Text(text?).encode(out),
        _ => decode_temporal(form, raw, text)?.encode(out),
    }
    Some(())
}

/// The text of a JSON string.
fn text(raw: &str) -> Option<String> {
    raw.starts_with('"').then(|| serde_json::from_str(raw).ok())?
}

fn boolean(raw: &str) -> Option<bool> {
    match raw {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn named_special(text: &str) -> &str {
    match text {
        "NAN" => "NaN",
        "POSITIVE_INFINITY" => "Infinity",
        "NEGATIVE_INFINITY" => "-Infinity",
        text => text,
    }
}

/// A double that stands for a decimal: its digits without an exponent.
fn decode_double_decimal(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let number: f64 = text.parse().ok()?;
    match number.is_finite() {
        true => Value::Decimal(&format!("{number}")).encode(out),
        false if number.is_nan() => Value::Decimal("NaN").encode(out),
        false => Value::Decimal(if number > 0.0 { "Infinity" } else { "-Infinity" }).encode(out),
    }
    Some(())
}

fn decode_variable(raw: &str, out: &mut Vec<u8>) -> Option<()> {
    #[derive(Deserialize)]
    struct Variable {
        scale: i32,
        value: String,
    }
    let variable: Variable = serde_json::from_str(raw).ok()?;
    let bytes = STANDARD.decode(variable.value).ok()?;
    Value::Decimal(&decimal::text_of(&bytes, variable.scale)?).encode(out);
    Some(())
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

fn decode_bytes(text: &str, mode: BinaryMode) -> Option<Vec<u8>> {
    match mode {
        BinaryMode::Bytes | BinaryMode::Base64 => STANDARD.decode(text).ok(),
        BinaryMode::Base64UrlSafe => URL_SAFE.decode(text).ok(),
        BinaryMode::Hex => {
            let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
            let pairs = text.as_bytes().as_chunks::<2>();
            pairs.0.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
        }
    }
}

fn decode_bits(bytes: &[u8], kind: &Type, out: &mut Vec<u8>) -> Option<()> {
    if let Type::Bit { .. } = kind {
        let mut number = [0; 8];
        number.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Value::Bit(u64::from_le_bytes(number)).encode(out);
        return Some(());
    }
    let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
    let bits = u32::try_from(reversed.len()).ok()?.checked_mul(8)?;
    Value::BitString { bits, bytes: &reversed }.encode(out);
    Some(())
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let plain = text.len() == 36 && digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = plain.then(|| u128::from_str_radix(&digits, 16).ok())??;
    Some(number.to_be_bytes())
}

fn decode_geometry(raw: &str, out: &mut Vec<u8>) -> Option<()> {
    #[derive(Deserialize)]
    struct Geometry {
        wkb: String,
        srid: Option<u32>,
    }
    let geometry: Geometry = serde_json::from_str(raw).ok()?;
    let wkb = STANDARD.decode(geometry.wkb).ok()?;
    Value::Geometry { srid: geometry.srid.unwrap_or(0), wkb: &wkb }.encode(out);
    Some(())
}

fn decode_sparse(raw: &str, out: &mut Vec<u8>) -> Option<()> {
    #[derive(Deserialize)]
    struct Sparse {
        dimensions: i64,
        vector: Vec<(i64, f64)>,
    }
    let sparse: Sparse = serde_json::from_str(raw).ok()?;
    let elements: Vec<String> = sparse.vector.iter().map(|(place, number)| format!("{place}:{number}")).collect();
    Value::Text(&format!("{{{}}}/{}", elements.join(","), sparse.dimensions)).encode(out);
    Some(())
}

fn decode_array(element: &Form, kind: &Type, raw: &str, snapshot: bool, out: &mut Vec<u8>) -> Option<()> {
    let elements: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
    if elements.len() > ELEMENTS_MAX {
        return None;
    }
    let mut writer = ArrayWriter::default();
    match elements.len() {
        0 => writer.begin(&[]),
        length => writer.begin(&[Dimension { length: length as u32, lower_bound: 1 }]),
    }
    let mut encoded = Vec::new();
    for raw in elements {
        encoded.clear();
        match (element, raw.get()) {
            // An array with an infinity is not shown: this one was a number that no double holds.
            (Form::DecimalDouble, "\"Infinity\"") => Value::Decimal(&beyond_doubles("")).encode(&mut encoded),
            (Form::DecimalDouble, "\"-Infinity\"") => Value::Decimal(&beyond_doubles("-")).encode(&mut encoded),
            (element, raw) => decode(element, kind, raw, snapshot, &mut encoded)?,
        }
        writer.put(Value::decode(&mut &encoded[..])?);
    }
    writer.value()?.encode(out);
    Some(())
}

/// The least power of ten that is too large for a double.
fn beyond_doubles(sign: &str) -> String {
    format!("{sign}1{}", "0".repeat(f64::MAX_10_EXP as usize + 1))
}

fn decode_interval(text: &str, mode: IntervalMode) -> Option<Value<'static>> {
    if mode == IntervalMode::Numeric {
        return Some(Value::Interval { months: 0, days: 0, micros: text.parse().ok()? });
    }
    let (date, time) = text.strip_prefix('P')?.split_once('T')?;
    let part = |text: &str, unit: char| -> Option<(i64, String)> {
        let (number, rest) = text.split_once(unit)?;
        Some((number.parse().ok()?, rest.to_owned()))
    };
    let (years, rest) = part(date, 'Y')?;
    let (months, rest) = part(&rest, 'M')?;
    let (days, _) = part(&rest, 'D')?;
    let (hours, rest) = part(time, 'H')?;
    let (minutes, rest) = part(&rest, 'M')?;
    let seconds = decimal::rounded(rest.strip_suffix('S')?, 6)?.replace('.', "");
    let micros = hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(60_000_000)?;
    Some(Value::Interval {
        months: i32::try_from(years.checked_mul(12)?.checked_add(months)?).ok()?,
        days: i32::try_from(days).ok()?,
        micros: micros.checked_add(seconds.parse().ok()?)?,
    })
}

fn decode_temporal(form: &Form, raw: &str, text: Option<&str>) -> Option<Value<'static>> {
    let number = || raw.parse::<i64>().ok();
    let micros = |unit: Unit| -> Option<i64> {
        match unit {
            Unit::Millis | Unit::Days => number()?.checked_mul(1_000),
            Unit::Micros => number(),
            Unit::Nanos => Some(number()?.div_euclid(1_000)),
            Unit::Iso => None,
        }
    };
    match form {
        Form::Date(Unit::Iso) | Form::AdjustedDate(Unit::Iso) => {
            Some(Value::Date(iso_date(text?.trim_end_matches('Z'))?))
        }
        Form::Date(_) | Form::AdjustedDate(_) => Some(Value::Date(days(number()?)?)),
        Form::Time(Unit::Iso) => Some(Value::Time(iso_time(text?.trim_end_matches('Z'))?)),
        Form::Time(unit) => Some(Value::Time(micros(*unit)?)),
        Form::ConnectTime => Some(Value::Time(micros(Unit::Millis)?)),
        Form::DateTime(Unit::Iso) | Form::AdjustedDateTime(Unit::Iso) => Some(Value::DateTime(iso_date_time(text?)?)),
        Form::DateTime(unit) | Form::AdjustedDateTime(unit) => Some(Value::DateTime(date_time(raw, *unit)?)),
        Form::JulianDateTime(unit) => {
            let at = match unit {
                Unit::Iso => iso_date_time(text?)?,
                unit => date_time(raw, *unit)?,
            };
            Some(Value::DateTime(DateTime { date: temporal::to_julian(at.date), ..at }))
        }
        Form::ZonedTimestamp { .. } => match text? {
            "infinity" => Some(Value::Timestamp(TIMESTAMP_INFINITY)),
            "-infinity" => Some(Value::Timestamp(TIMESTAMP_NEG_INFINITY)),
            text => {
                let at = iso_date_time(text)?;
                let micros = calendar::unix_micros(at);
                Some(micros.map_or(Value::DateTime(at), Value::Timestamp))
            }
        },
        Form::ZonedTime => Some(Value::TimeTz { micros: iso_time(text?.trim_end_matches('Z'))?, offset_seconds: 0 }),
        _ => None,
    }
}

/// The infinities are shown as days of their own.
fn days(number: i64) -> Option<Date> {
    match number {
        -622_191_234 | -2_147_472_692 => Some(Date::INFINITY),
        -625_821_272 | -2_147_472_691 => Some(Date::NEG_INFINITY),
        days => i32::try_from(days).ok().map(|days| calendar::date(days.into())),
    }
}

fn date_time(raw: &str, unit: Unit) -> Option<DateTime> {
    let infinite = |date| Some(DateTime { date, hour: 0, minute: 0, second: 0, micros: 0 });
    let number: i64 = raw.parse().ok()?;
    match (number, unit) {
        (9_223_372_036_825_200_000, _) | (9_223_372_036_825_200, Unit::Millis) => infinite(Date::INFINITY),
        (-9_223_372_036_832_400_000, _) | (-9_223_372_036_832_400, Unit::Millis) => infinite(Date::NEG_INFINITY),
        (i64::MAX, Unit::Nanos) => infinite(Date::INFINITY),
        (i64::MIN, Unit::Nanos) => infinite(Date::NEG_INFINITY),
        (number, Unit::Millis | Unit::Days) => {
            let at = calendar::date_time(number.rem_euclid(86_400_000) * 1_000);
            Some(DateTime { date: calendar::date(number.div_euclid(86_400_000)), ..at })
        }
        (number, Unit::Nanos) => Some(calendar::date_time(unwrapped_micros(number)?)),
        (number, _) => Some(calendar::date_time(number)),
    }
}

/// Nanoseconds beyond 64 bits were cut off: whole microseconds tell how often.
fn unwrapped_micros(nanos: i64) -> Option<i64> {
    let cut = |times: i128| i128::from(nanos) + (times << 64);
    let nearest = (0..=CUTS_MAX).flat_map(|times| [times, -times]);
    let times = nearest.into_iter().find(|times| cut(*times).rem_euclid(1_000) == 0)?;
    i64::try_from(cut(times).div_euclid(1_000)).ok()
}

fn iso_date(text: &str) -> Option<Date> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = digits.split('-');
    let year: i32 = parts.next()?.parse().ok()?;
    let (month, day) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(Date { year: if negative { -year } else { year }, month, day })
}

fn iso_time(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<u32> = clock.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours @ ..=24, minutes @ ..=59, seconds @ ..=59] = parts[..] else { return None };
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(6).collect();
    let whole = i64::from(hours * 3_600 + minutes * 60 + seconds);
    Some(whole * 1_000_000 + i64::from(digits.parse::<u32>().ok()?))
}

fn iso_date_time(text: &str) -> Option<DateTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let micros = iso_time(time)?;
    let seconds = micros / 1_000_000;
    Some(DateTime {
        date: iso_date(date)?,
        hour: u8::try_from(seconds / 3_600).ok()?,
        minute: (seconds / 60 % 60) as u8,
        second: (seconds % 60) as u8,
        micros: (micros % 1_000_000) as u32,
    })
}
