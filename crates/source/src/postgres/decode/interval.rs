//! Intervals: the text of `IntervalStyle = postgres`, `1 year 2 mons -3 days +04:05:06.7`, and the binary form.
//!
//! Invariant: months, days and microseconds stay three numbers; none of them is turned into another.

use super::bytes::{Bad, Bytes, Read};
use super::temporal::{expect, fraction, two_digits};
use headwater_model::Value;

const INTERVAL: Bad = Bad("is not an interval as IntervalStyle=postgres prints it");

/// Reads the text form.
pub fn interval(text: &[u8]) -> Read<Value<'static>> {
    match text {
        b"infinity" => {
            return Ok(Value::Interval { months: i32::MAX, days: i32::MAX, micros: i64::MAX });
        }
        b"-infinity" => {
            return Ok(Value::Interval { months: i32::MIN, days: i32::MIN, micros: i64::MIN });
        }
        _ => {}
    }
    parts(text).ok_or(INTERVAL)
}

/// Microseconds, days, months.
pub fn binary_interval(bytes: &[u8]) -> Read<Value<'static>> {
    let mut bytes = Bytes(bytes);
    let micros = bytes.i64(INTERVAL.0)?;
    let days = bytes.i32(INTERVAL.0)?;
    let months = bytes.i32(INTERVAL.0)?;
    bytes.end(INTERVAL.0)?;
    Ok(Value::Interval { months, days, micros })
}

fn parts(mut text: &[u8]) -> Option<Value<'static>> {
    let (mut months, mut days, mut micros) = (0i64, 0i64, 0i64);
    // Units come in this order, each at most once, the time last; so a unit seen twice is no interval.
    let mut last = 0;
    loop {
        let (negative, count) = signed_count(&mut text)?;
        let signed = if negative { -count } else { count };
        let order = match text {
            [b':', ..] => {
                micros = clock(negative, count, &mut text)?;
                4
            }
            _ => {
                expect(&mut text, b' ')?;
                unit(&mut text, signed, &mut months, &mut days)?
            }
        };
        if order <= last {
            return None;
        }
        last = order;
        if text.is_empty() {
            break;
        }
        expect(&mut text, b' ')?;
    }
    Some(Value::Interval { months: i32::try_from(months).ok()?, days: i32::try_from(days).ok()?, micros })
}

/// Takes the name of a unit and adds `count` of it; answers its place in the order of units.
fn unit(text: &mut &[u8], count: i64, months: &mut i64, days: &mut i64) -> Option<u8> {
    let length = text.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
    let (name, rest) = text.split_at(length);
    *text = rest;
    match name {
        b"year" | b"years" => {
            *months += count * 12;
            Some(1)
        }
        b"mon" | b"mons" => {
            *months += count;
            Some(2)
        }
        b"day" | b"days" => {
            *days += count;
            Some(3)
        }
        _ => None,
    }
}

/// A sign and up to ten digits: more than hours, days or months can have.
fn signed_count(text: &mut &[u8]) -> Option<(bool, i64)> {
    let negative = match text.first()? {
        b'-' => true,
        b'+' => false,
        _ => return digits(text).map(|count| (false, count)),
    };
    text.split_off_first();
    digits(text).map(|count| (negative, count))
}

fn digits(text: &mut &[u8]) -> Option<i64> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=10).contains(&count) {
        return None;
    }
    let (digits, rest) = text.split_at(count);
    *text = rest;
    Some(digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

/// What follows the hours. Negative numbers reach one further, so all is counted as they are.
fn clock(negative: bool, hours: i64, text: &mut &[u8]) -> Option<i64> {
    expect(text, b':')?;
    let minutes = i64::from(two_digits(text)?);
    expect(text, b':')?;
    let seconds = i64::from(two_digits(text)?);
    let micros = fraction(text)?;
    if minutes > 59 || seconds > 59 {
        return None;
    }
    let seconds = -((hours * 60 + minutes) * 60 + seconds);
    let micros = seconds.checked_mul(1_000_000)?.checked_sub(micros)?;
    if negative { Some(micros) } else { micros.checked_neg() }
}
