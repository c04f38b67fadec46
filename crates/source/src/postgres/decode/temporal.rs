//! Dates and times: the text of `DateStyle = ISO`, and the binary forms, which count from 2000-01-01.
//!
//! Invariant: both forms of a value give the same; infinities, years before Christ and beyond 9999, and 24:00:00 come out
//! as they went in. Start at [`date`], [`date_time`] and [`timestamp`].

use super::bytes::{Bad, Bytes, Read};
use super::message::EPOCH_US;
use headwater_model::value::{TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY};
use headwater_model::{Date, DateTime, Value, calendar};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Days from the Unix epoch to PostgreSQL's.
const EPOCH_DAYS: i64 = EPOCH_US / MICROS_PER_DAY;

/// The first day of the year 294247, whose end 64 bits of microseconds since 1970 do not reach: from then on an instant is
/// told as date and time.
const FAR_DAYS: i64 = 106_751_982;
/// The first day that the server knows, 24 November of 4714 BC.
const FIRST_DAYS: i64 = -2_440_588;

const YEAR_MIN: i64 = -4_713;
const YEAR_MAX: i64 = 5_874_897;

const DATE: Bad = Bad("is not a date as DateStyle=ISO prints it");
const TIME: Bad = Bad("is not a time of day");
const DATE_TIME: Bad = Bad("is not a date and time as DateStyle=ISO prints it");

/// `2024-02-29`, `0044-03-15 BC`, `infinity`.
#[inline]
pub fn date(text: &[u8]) -> Read<Date> {
    if let Some(infinity) = infinity(text) {
        return Ok(infinity);
    }
    let mut text = text;
    let date = calendar_date(&mut text).ok_or(DATE)?;
    era(date, text).ok_or(DATE)
}

/// Days since 2000-01-01.
#[inline]
pub fn binary_date(bytes: &[u8]) -> Read<Date> {
    let mut bytes = Bytes(bytes);
    let days = bytes.i32("is not a date in binary form")?;
    bytes.end("is not a date in binary form")?;
    match days {
        i32::MAX => Ok(Date::INFINITY),
        i32::MIN => Ok(Date::NEG_INFINITY),
        days => checked_date(calendar::date(i64::from(days) + EPOCH_DAYS)).ok_or(DATE),
    }
}

/// `2024-02-29 12:34:56.789`, ` BC` behind it, `infinity`.
#[inline]
pub fn date_time(text: &[u8]) -> Read<DateTime> {
    if let Some(infinity) = infinity(text) {
        return Ok(at_midnight(infinity));
    }
    let mut text = text;
    let (date, micros) = moment(&mut text).ok_or(DATE_TIME)?;
    let date = era(date, text).ok_or(DATE_TIME)?;
    Ok(of_day(date, micros))
}

/// Microseconds since 2000-01-01.
#[inline]
pub fn binary_date_time(bytes: &[u8]) -> Read<DateTime> {
    match binary_micros(bytes)? {
        i64::MAX => Ok(at_midnight(Date::INFINITY)),
        i64::MIN => Ok(at_midnight(Date::NEG_INFINITY)),
        micros => {
            let days = micros.div_euclid(MICROS_PER_DAY) + EPOCH_DAYS;
            let date = checked_date(calendar::date(days)).ok_or(DATE_TIME)?;
            Ok(of_day(date, micros.rem_euclid(MICROS_PER_DAY)))
        }
    }
}

/// An instant: as [`date_time`], with the distance from UTC behind the time, which is `+00` as the session asks for.
#[inline]
pub fn timestamp(text: &[u8]) -> Read<Value<'static>> {
    if let Some(infinity) = infinity(text) {
        return Ok(infinite_timestamp(infinity == Date::INFINITY));
    }
    let mut text = text;
    let (date, micros) = moment(&mut text).ok_or(DATE_TIME)?;
    let offset = offset_seconds(&mut text).ok_or(DATE_TIME)?;
    let date = era(date, text).ok_or(DATE_TIME)?;
    let days = calendar::unix_days(date).ok_or(DATE_TIME)?;
    instant(days, micros - i64::from(offset) * MICROS_PER_SECOND)
}

/// Microseconds since 2000-01-01 UTC.
#[inline]
pub fn binary_timestamp(bytes: &[u8]) -> Read<Value<'static>> {
    match binary_micros(bytes)? {
        i64::MAX => Ok(infinite_timestamp(true)),
        i64::MIN => Ok(infinite_timestamp(false)),
        micros => instant(micros.div_euclid(MICROS_PER_DAY) + EPOCH_DAYS, micros.rem_euclid(MICROS_PER_DAY)),
    }
}

/// `12:34:56.789`, up to `24:00:00`; microseconds since midnight.
#[inline]
pub fn time(text: &[u8]) -> Read<i64> {
    let mut text = text;
    let micros = clock(&mut text).ok_or(TIME)?;
    if text.is_empty() { Ok(micros) } else { Err(TIME) }
}

pub fn binary_time(bytes: &[u8]) -> Read<i64> {
    let micros = binary_micros(bytes).map_err(|_| TIME)?;
    if (0..=MICROS_PER_DAY).contains(&micros) { Ok(micros) } else { Err(TIME) }
}

/// `12:34:56.789+05:30`: microseconds since midnight, and seconds east of UTC.
pub fn time_tz(text: &[u8]) -> Read<Value<'static>> {
    let mut text = text;
    let micros = clock(&mut text).ok_or(TIME)?;
    let offset_seconds = offset_seconds(&mut text).ok_or(TIME)?;
    if text.is_empty() { Ok(Value::TimeTz { micros, offset_seconds }) } else { Err(TIME) }
}

/// Microseconds since midnight, then seconds *west* of UTC.
pub fn binary_time_tz(bytes: &[u8]) -> Read<Value<'static>> {
    let (time, zone) = bytes.split_at_checked(8).ok_or(TIME)?;
    let micros = binary_time(time)?;
    let west = <[u8; 4]>::try_from(zone).map(i32::from_be_bytes).map_err(|_| TIME)?;
    match west.checked_neg() {
        Some(offset_seconds) if offset_seconds.abs() < 86_400 => Ok(Value::TimeTz { micros, offset_seconds }),
        _ => Err(TIME),
    }
}

fn binary_micros(bytes: &[u8]) -> Read<i64> {
    <[u8; 8]>::try_from(bytes).map(i64::from_be_bytes).map_err(|_| Bad("is not a date and time in binary form"))
}

fn infinity(text: &[u8]) -> Option<Date> {
    match text {
        b"infinity" => Some(Date::INFINITY),
        b"-infinity" => Some(Date::NEG_INFINITY),
        _ => None,
    }
}

fn infinite_timestamp(after: bool) -> Value<'static> {
    Value::Timestamp(if after { TIMESTAMP_INFINITY } else { TIMESTAMP_NEG_INFINITY })
}

fn at_midnight(date: Date) -> DateTime {
    of_day(date, 0)
}

/// `micros` within the day; 24:00:00 of a date and time is the next day to the server already.
#[inline]
fn of_day(date: Date, micros: i64) -> DateTime {
    let (seconds, fraction) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND);
    DateTime {
        date,
        hour: (seconds / 3_600) as u8,
        minute: (seconds / 60 % 60) as u8,
        second: (seconds % 60) as u8,
        micros: fraction as u32,
    }
}

/// The instant `micros` after the beginning of a day counted from 1970.
#[inline]
fn instant(days: i64, micros: i64) -> Read<Value<'static>> {
    let days = days + micros.div_euclid(MICROS_PER_DAY);
    let micros = micros.rem_euclid(MICROS_PER_DAY);
    match days {
        FIRST_DAYS..FAR_DAYS => Ok(Value::Timestamp(days * MICROS_PER_DAY + micros)),
        FAR_DAYS.. => Ok(Value::DateTime(of_day(checked_date(calendar::date(days)).ok_or(DATE_TIME)?, micros))),
        _ => Err(DATE_TIME),
    }
}

/// Takes date and time up to the fraction; midnight at the day's end is not one of them.
#[inline]
fn moment(text: &mut &[u8]) -> Option<(Date, i64)> {
    let date = calendar_date(text)?;
    expect(text, b' ')?;
    let micros = clock(text)?;
    (micros < MICROS_PER_DAY).then_some((date, micros))
}

#[inline]
fn calendar_date(text: &mut &[u8]) -> Option<Date> {
    let year = year(text)?;
    expect(text, b'-')?;
    let month = two_digits(text)?;
    expect(text, b'-')?;
    let day = two_digits(text)?;
    Some(Date { year, month, day })
}

/// Four digits or more.
#[inline]
fn year(text: &mut &[u8]) -> Option<i32> {
    let mut year = 0i32;
    let mut count = 0;
    while let [digit @ b'0'..=b'9', rest @ ..] = text {
        year = year.checked_mul(10)?.checked_add(i32::from(digit - b'0'))?;
        *text = rest;
        count += 1;
    }
    (count >= 4).then_some(year)
}

/// What may stand behind everything else: nothing, or ` BC`. There is no year 0: 1 BC comes before 1.
#[inline]
fn era(date: Date, rest: &[u8]) -> Option<Date> {
    match rest {
        b"" if date.year > 0 => checked_date(date),
        b" BC" if date.year > 0 => checked_date(Date { year: 1 - date.year, ..date }),
        _ => None,
    }
}

#[inline]
fn checked_date(date: Date) -> Option<Date> {
    const DAYS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let days = *DAYS.get(usize::from(date.month).checked_sub(1)?)?;
    let year = i64::from(date.year);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = if date.month == 2 && !leap { 28 } else { days };
    ((YEAR_MIN..=YEAR_MAX).contains(&year) && (1..=days).contains(&date.day)).then_some(date)
}

/// `12:34:56` and a fraction of up to six digits: microseconds.
#[inline]
fn clock(text: &mut &[u8]) -> Option<i64> {
    let hours = i64::from(two_digits(text)?);
    expect(text, b':')?;
    let minutes = i64::from(two_digits(text)?);
    expect(text, b':')?;
    let seconds = i64::from(two_digits(text)?);
    let micros = fraction(text)?;
    if minutes > 59 || seconds > 59 {
        return None;
    }
    let micros = ((hours * 60 + minutes) * 60 + seconds) * MICROS_PER_SECOND + micros;
    (micros <= MICROS_PER_DAY).then_some(micros)
}

/// `.789`, or nothing: microseconds.
#[inline]
pub fn fraction(text: &mut &[u8]) -> Option<i64> {
    if expect(text, b'.').is_none() {
        return Some(0);
    }
    let (mut micros, mut unit) = (0, 1_000_000);
    while let [digit @ b'0'..=b'9', rest @ ..] = text {
        unit /= 10;
        micros += i64::from(digit - b'0') * unit;
        *text = rest;
        if unit == 0 {
            return None;
        }
    }
    (unit < 1_000_000).then_some(micros)
}

/// `+00`, `-03:30`, `+00:57:44`: seconds east of UTC.
#[inline]
fn offset_seconds(text: &mut &[u8]) -> Option<i32> {
    let sign = match text.split_off_first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let mut seconds = i32::from(two_digits(text)?) * 3_600;
    for unit in [60, 1] {
        if expect(text, b':').is_some() {
            let part = i32::from(two_digits(text)?);
            if part > 59 {
                return None;
            }
            seconds += part * unit;
        }
    }
    (seconds < 86_400).then_some(sign * seconds)
}

#[inline]
pub fn two_digits(text: &mut &[u8]) -> Option<u8> {
    let [tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..] = text else { return None };
    let value = (tens - b'0') * 10 + (ones - b'0');
    *text = rest;
    Some(value)
}

/// Takes `byte`, if it is next.
#[inline]
pub fn expect(text: &mut &[u8], byte: u8) -> Option<()> {
    let (first, rest) = text.split_first()?;
    (*first == byte).then(|| *text = rest)
}
