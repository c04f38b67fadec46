//! Numbers that must stay exact: scores of sorted sets, and what counters add.
//!
//! Invariant: a value that Redis's 64-bit float or integer would change is refused with a reason, never rounded unless
//! the user said `lossy`. A reason names the column, not the value.

use super::bind::Field;
use headwater_model::value::{TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, ZERO_TIMESTAMP};
use headwater_model::{DateTime, Value, calendar};
use std::io::Write as _;

const MICROS_PER_SECOND: u64 = 1_000_000;

/// Replaces `out` by the score as text; `Ok(false)` when there is none, because the column is NULL or a zero date.
pub(super) fn score(field: &Field, value: Value<'_>, lossy: bool, out: &mut Vec<u8>) -> Result<bool, String> {
    out.clear();
    let exact = match value {
        Value::Null | Value::Absent => return Ok(false),
        Value::Int(v) => write_whole(out, i128::from(v)),
        Value::UInt(v) | Value::Bit(v) => write_whole(out, i128::from(v)),
        Value::Year(v) => write_whole(out, i128::from(v)),
        Value::Decimal("NaN") => false,
        Value::Decimal(text @ ("Infinity" | "-Infinity")) => write_infinity(out, !text.starts_with('-')),
        Value::Decimal(text) => {
            out.extend_from_slice(text.as_bytes());
            decimal_is_exact(text)
        }
        Value::Float(v) => write_float(out, f64::from(v)),
        Value::Double(v) => write_float(out, v),
        Value::Date(date) => {
            return score(
                field,
                Value::DateTime(DateTime { date, hour: 0, minute: 0, second: 0, micros: 0 }),
                lossy,
                out,
            );
        }
        Value::DateTime(DateTime { date, .. }) if date.is_infinite() => write_infinity(out, date.year > 0),
        Value::DateTime(moment) => match calendar::unix_micros(moment) {
            Some(micros) => write_seconds(out, micros),
            None => return Ok(false),
        },
        Value::Timestamp(ZERO_TIMESTAMP) => return Ok(false),
        Value::Timestamp(micros @ (TIMESTAMP_INFINITY | TIMESTAMP_NEG_INFINITY)) => write_infinity(out, micros > 0),
        Value::Timestamp(micros) => write_seconds(out, micros),
        _ => return Err(format!("column {} holds no number that can be a score", name(field))),
    };
    if exact || lossy && !out.is_empty() {
        return Ok(true);
    }
    Err(format!(
        "column {} holds a score that a 64-bit float cannot hold exactly; `lossy: true` would round it",
        name(field)
    ))
}

/// What a row adds to a counter: an integer as it is, a decimal in units of its last digit, NULL as 0.
pub(super) fn units(field: &Field, value: Value<'_>) -> Result<i128, String> {
    let units = match value {
        Value::Null | Value::Absent => Some(0),
        Value::Int(v) => Some(v),
        Value::UInt(v) | Value::Bit(v) => i64::try_from(v).ok(),
        Value::Year(v) => Some(i64::from(v)),
        Value::Decimal(text) => decimal_units(text),
        _ => None,
    };
    units.map(i128::from).ok_or_else(|| {
        format!("column {} holds a number beyond the 64-bit integers that a counter can hold", name(field))
    })
}

fn name(field: &Field) -> String {
    String::from_utf8_lossy(&field.name).into_owned()
}

/// Redis knows infinite scores, and they sort as the database's infinite dates do.
fn write_infinity(out: &mut Vec<u8>, positive: bool) -> bool {
    out.extend_from_slice(if positive { b"+inf" } else { b"-inf" });
    true
}

fn write_whole(out: &mut Vec<u8>, value: i128) -> bool {
    let _ = write!(out, "{value}");
    value as f64 as i128 == value
}

fn write_float(out: &mut Vec<u8>, value: f64) -> bool {
    let _ = write!(out, "{value:e}");
    if !value.is_finite() {
        out.clear();
    }
    value.is_finite()
}

fn write_seconds(out: &mut Vec<u8>, micros: i64) -> bool {
    let magnitude = micros.unsigned_abs();
    let sign = if micros < 0 { "-" } else { "" };
    let _ = write!(out, "{sign}{}", magnitude / MICROS_PER_SECOND);
    if !magnitude.is_multiple_of(MICROS_PER_SECOND) {
        let _ = write!(out, ".{:06}", magnitude % MICROS_PER_SECOND);
    }
    std::str::from_utf8(out).is_ok_and(decimal_is_exact)
}

/// Whether the nearest double, written with its shortest digits, is this decimal again; or is it exactly, as a large
/// whole number may be.
fn decimal_is_exact(text: &str) -> bool {
    let Ok(double) = text.parse::<f64>() else { return false };
    let whole = text.split_once('.').map_or(
        text,
        |(whole, fraction)| {
            if fraction.bytes().all(|digit| digit == b'0') { whole } else { "" }
        },
    );
    if let Ok(whole) = whole.parse::<i128>()
        && double.abs() < 1e38
        && double as i128 == whole
    {
        return true;
    }
    same_number(&double.to_string(), text)
}

/// Whether two plain decimals are the same number, whatever their zeros.
fn same_number(a: &str, b: &str) -> bool {
    fn parts(text: &str) -> (bool, &str, &str) {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        (negative, whole.trim_start_matches('0'), fraction.trim_end_matches('0'))
    }
    parts(a) == parts(b)
}

fn decimal_units(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let mut units = 0i64;
    for byte in digits.bytes().filter(|byte| *byte != b'.') {
        let digit = i64::from(byte.checked_sub(b'0').filter(|digit| *digit < 10)?);
        // Downwards, because there is one more number below zero than above.
        units = units.checked_mul(10)?.checked_sub(digit)?;
    }
    if negative { Some(units) } else { units.checked_neg() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_model::{Column, Date, Type};

    fn field() -> Field {
        let kind = Type::Decimal { precision: 65, scale: 2 };
        Field::test(0, &Column::new("price", kind, ""))
    }

    #[test]
    fn scores_are_exact_or_refused() {
        let day = Date { year: 2024, month: 9, day: 2 };
        let moment = |micros| Value::DateTime(DateTime { date: day, hour: 17, minute: 21, second: 2, micros });
        for (value, expected) in [
            (Value::Null, Ok("")),
            (Value::Int(-5), Ok("-5")),
            (Value::Int(1 << 53), Ok("9007199254740992")),
            (Value::Int((1 << 53) + 1), Err(())),
            (Value::UInt(1 << 60), Ok("1152921504606846976")),
            (Value::UInt(u64::MAX), Err(())),
            (Value::Decimal("12.30"), Ok("12.30")),
            (Value::Decimal("-0.00"), Ok("-0.00")),
            (Value::Decimal("9007199254740993.00"), Err(())),
            (Value::Decimal("1152921504606846976.0"), Ok("1152921504606846976.0")),
            (Value::Decimal("0.12345678901234567890"), Err(())),
            (Value::Float(0.1), Ok("1.0000000149011612e-1")),
            (Value::Double(f64::INFINITY), Err(())),
            (Value::Date(day), Ok("1725235200")),
            (Value::Date(Date { year: 0, month: 0, day: 0 }), Ok("")),
            (moment(0), Ok("1725297662")),
            (moment(123_456), Ok("1725297662.123456")),
            (Value::Timestamp(-1_500_000), Ok("-1.500000")),
            (Value::Timestamp(ZERO_TIMESTAMP), Ok("")),
            (Value::Timestamp(TIMESTAMP_INFINITY), Ok("+inf")),
            (Value::Date(Date::NEG_INFINITY), Ok("-inf")),
            (Value::Decimal("-Infinity"), Ok("-inf")),
            (Value::Decimal("NaN"), Err(())),
        ] {
            let mut out = Vec::new();
            let scored = score(&field(), value, false, &mut out);
            let seen = match &scored {
                Ok(_) => Ok(std::str::from_utf8(&out).unwrap()),
                Err(reason) => {
                    assert!(reason.contains("column price"), "{reason}");
                    Err(())
                }
            };
            assert_eq!(seen, expected, "{value:?}");
            assert_eq!(scored.is_ok_and(|some| some), expected.is_ok_and(|text| !text.is_empty()));
        }
        assert_eq!(score(&field(), Value::UInt(u64::MAX), true, &mut Vec::new()), Ok(true));
        assert!(score(&field(), Value::Double(f64::NAN), true, &mut Vec::new()).is_err());
        assert!(score(&field(), Value::Decimal("NaN"), true, &mut Vec::new()).is_err());
    }

    #[test]
    fn counters_count_in_units_of_the_last_digit() {
        for (value, expected) in [
            (Value::Null, Some(0)),
            (Value::Int(i64::MIN), Some(i64::MIN)),
            (Value::UInt(i64::MAX as u64), Some(i64::MAX)),
            (Value::UInt(1 << 63), None),
            (Value::Decimal("12.30"), Some(1230)),
            (Value::Decimal("-0.05"), Some(-5)),
            (Value::Decimal("92233720368547758.07"), Some(i64::MAX)),
            (Value::Decimal("-92233720368547758.08"), Some(i64::MIN)),
            (Value::Decimal("92233720368547758.08"), None),
            (Value::Text("1"), None),
        ] {
            assert_eq!(units(&field(), value).ok(), expected.map(i128::from), "{value:?}");
        }
    }
}
