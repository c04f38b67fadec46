//! Dates, times and spans as numbers and as ISO 8601.
//!
//! Invariant: arithmetic that would leave 64 bits wraps as Java's does, and never panics. Start at [`write_date`].

use crate::connect::json::integer;
use headwater_model::value::{Date, DateTime, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, ZERO_TIMESTAMP};
use headwater_model::{Value, calendar};

pub(super) const MICROS_PER_SECOND: i64 = 1_000_000;
pub(super) const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// The days that the original shows for PostgreSQL's infinite dates: of the snapshot, then of the stream.
const INFINITE_DAYS: [[i64; 2]; 2] = [[-622_191_234, -625_821_272], [-2_147_472_692, -2_147_472_691]];

/// The same days as text in a snapshot, where they come from other numbers.
const INFINITE_SNAPSHOT_DAYS: [&str; 2] = ["+292278994-08-16Z", "+292269055-12-02Z"];

/// The milliseconds that it shows for infinite timestamps.
const INFINITE_MILLIS: [i64; 2] = [9_223_372_036_825_200, -9_223_372_036_832_400];

/// What a date or time is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Days,
    Millis,
    Micros,
    Nanos,
    /// Not counted: text.
    Iso,
}

/// Writes a date; false when it is no day.
pub(super) fn write_date(out: &mut Vec<u8>, date: Date, unit: Unit, snapshot: bool) -> bool {
    if date.is_infinite() {
        if unit == Unit::Iso {
            return write_infinite_date(out, date, snapshot);
        }
        let source = &INFINITE_DAYS[usize::from(!snapshot)];
        integer(out, source[usize::from(date == Date::NEG_INFINITY)]);
        return true;
    }
    // In a snapshot the driver forgets that a year was before Christ.
    let year = if snapshot && date.year <= 0 { 1 - date.year } else { date.year };
    let date = Date { year, ..date };
    let Some(days) = calendar::unix_days(date) else { return false };
    match unit {
        Unit::Iso => {
            out.push(b'"');
            iso_date(out, date);
            out.extend_from_slice(b"Z\"");
        }
        _ => integer(out, days),
    }
    true
}

fn write_infinite_date(out: &mut Vec<u8>, date: Date, snapshot: bool) -> bool {
    let negative = usize::from(date == Date::NEG_INFINITY);
    out.push(b'"');
    if snapshot {
        out.extend_from_slice(INFINITE_SNAPSHOT_DAYS[negative].as_bytes());
    } else {
        iso_date(out, calendar::date(INFINITE_DAYS[1][negative]));
        out.push(b'Z');
    }
    out.push(b'"');
    true
}

/// Writes a date and time without zone; false when it is none.
pub(super) fn write_date_time(out: &mut Vec<u8>, at: DateTime, unit: Unit, wraps: bool) -> bool {
    if at.date.is_infinite() {
        let negative = usize::from(at.date == Date::NEG_INFINITY);
        let millis = INFINITE_MILLIS[negative];
        match unit {
            Unit::Millis | Unit::Days => integer(out, millis),
            Unit::Micros => integer(out, millis.saturating_mul(1_000)),
            Unit::Nanos => integer(out, [i64::MAX, i64::MIN][negative]),
            Unit::Iso => {
                let micros = i128::from(millis) * 1_000;
                let days = micros.div_euclid(i128::from(MICROS_PER_DAY)) as i64;
                let of_day = micros.rem_euclid(i128::from(MICROS_PER_DAY)) as i64;
                out.push(b'"');
                iso_date(out, calendar::date(days));
                out.push(b'T');
                iso_time(out, of_day, None);
                out.extend_from_slice(b"Z\"");
            }
        }
        return true;
    }
    let Some(days) = calendar::unix_days(at.date) else { return false };
    let seconds = i64::from(at.hour) * 3_600 + i64::from(at.minute) * 60 + i64::from(at.second);
    let of_day = seconds * MICROS_PER_SECOND + i64::from(at.micros);
    match unit {
        Unit::Millis | Unit::Days => {
            let of_day = seconds * 1_000 + i64::from(at.micros / 1_000);
            if let Some(millis) = days.checked_mul(MICROS_PER_DAY / 1_000).and_then(|day| day.checked_add(of_day)) {
                integer(out, millis);
                return true;
            }
        }
        Unit::Micros => {
            if let Some(micros) = days.checked_mul(MICROS_PER_DAY).and_then(|day| day.checked_add(of_day)) {
                integer(out, micros);
                return true;
            }
        }
        Unit::Nanos | Unit::Iso => {}
    }
    let micros = i128::from(days) * i128::from(MICROS_PER_DAY) + i128::from(of_day);
    match unit {
        Unit::Millis | Unit::Days => integer(out, micros.div_euclid(1_000) as i64),
        Unit::Micros => integer(out, micros as i64),
        Unit::Nanos => match i64::try_from(micros * 1_000) {
            Ok(nanos) => integer(out, nanos),
            Err(_) if wraps => integer(out, (micros * 1_000) as i64),
            Err(_) => return false,
        },
        Unit::Iso => {
            out.push(b'"');
            iso_date(out, at.date);
            out.push(b'T');
            iso_time(out, of_day, None);
            out.extend_from_slice(b"Z\"");
        }
    }
    true
}

/// An instant inside of an array whose year the driver takes for one after Christ, minus infinity too.
pub(super) fn without_era(value: Value<'_>) -> Option<DateTime> {
    const FARTHEST: DateTime =
        DateTime { date: Date { year: 292_269_055, month: 12, day: 2 }, hour: 23, minute: 0, second: 0, micros: 0 };
    match value {
        Value::Timestamp(TIMESTAMP_NEG_INFINITY) => Some(FARTHEST),
        Value::Timestamp(TIMESTAMP_INFINITY | ZERO_TIMESTAMP) => None,
        Value::Timestamp(micros) => {
            let at = calendar::date_time(micros);
            (at.date.year <= 0).then(|| DateTime { date: Date { year: 1 - at.date.year, ..at.date }, ..at })
        }
        _ => None,
    }
}

/// Before this day of both calendars the Julian one was in use.
const CHANGE: Date = Date { year: 1582, month: 10, day: 15 };
const UNIX_EPOCH_JULIAN_DAY: i64 = 2_440_588;
/// March of the year 4801 BC, from which days are counted: then a leap year's day is the last of a year.
const FIRST_YEAR: i64 = -4_800;
const DAYS_BEFORE_JULIAN_DAY: i64 = 32_083;

fn is_julian(date: Date) -> bool {
    (date.year, date.month, date.day) < (CHANGE.year, CHANGE.month, CHANGE.day) && !date.is_infinite()
}

/// The day that a date is when it is read as one of the calendar of its time.
pub(super) fn of_julian(date: Date) -> Date {
    if !is_julian(date) {
        return date;
    }
    let (month, year) = (i64::from(date.month), i64::from(date.year));
    let before_march = i64::from(month < 3);
    let (year, month) = (year - FIRST_YEAR - before_march, month + 12 * before_march - 3);
    let days = i64::from(date.day) + (153 * month + 2) / 5 + 365 * year + year.div_euclid(4);
    calendar::date(days - DAYS_BEFORE_JULIAN_DAY - UNIX_EPOCH_JULIAN_DAY)
}

/// The date that such a day has in the calendar of its time.
pub(super) fn to_julian(date: Date) -> Date {
    let Some(days) = calendar::unix_days(date).filter(|_| is_julian(date)) else { return date };
    let days = days + UNIX_EPOCH_JULIAN_DAY + DAYS_BEFORE_JULIAN_DAY - 1;
    let year = (4 * days + 3).div_euclid(1_461);
    let of_year = days - (1_461 * year).div_euclid(4);
    let month = (5 * of_year + 2) / 153;
    Date {
        year: (year + FIRST_YEAR + month / 10) as i32,
        month: (month + 3 - 12 * (month / 10)) as u8,
        day: (of_year - (153 * month + 2) / 5 + 1) as u8,
    }
}

/// Writes a time of day or a duration; false when the unit's form has none for it.
pub(super) fn write_time(out: &mut Vec<u8>, micros: i64, unit: Unit) -> bool {
    match unit {
        Unit::Millis | Unit::Days => integer(out, micros.div_euclid(1_000)),
        Unit::Micros => integer(out, micros),
        Unit::Nanos => integer(out, micros.wrapping_mul(1_000)),
        Unit::Iso if !(0..=MICROS_PER_DAY).contains(&micros) => return false,
        Unit::Iso => {
            out.push(b'"');
            iso_time(out, micros.rem_euclid(MICROS_PER_DAY), None);
            out.extend_from_slice(b"Z\"");
        }
    }
    true
}

/// Writes an instant in UTC; `digits` after the point, or as many as it takes.
pub(super) fn write_instant(out: &mut Vec<u8>, at: DateTime, digits: Option<u8>) {
    let seconds = i64::from(at.hour) * 3_600 + i64::from(at.minute) * 60 + i64::from(at.second);
    out.push(b'"');
    iso_date(out, at.date);
    out.push(b'T');
    iso_time(out, seconds * MICROS_PER_SECOND + i64::from(at.micros), digits);
    out.extend_from_slice(b"Z\"");
}

/// Appends `2020-02-29`; years beyond four digits with their sign.
pub(super) fn iso_date(out: &mut Vec<u8>, date: Date) {
    if date.year > 9_999 {
        out.push(b'+');
    } else if date.year < 0 {
        out.push(b'-');
    }
    let year = u64::from(date.year.unsigned_abs());
    match year {
        ..10_000 => padded(out, year, 4),
        _ => integer(out, year as i64),
    }
    out.push(b'-');
    padded(out, u64::from(date.month), 2);
    out.push(b'-');
    padded(out, u64::from(date.day), 2);
}

/// Appends `12:34:56.1`; `digits` after the point, or as many as it takes.
pub(super) fn iso_time(out: &mut Vec<u8>, of_day: i64, digits: Option<u8>) {
    let seconds = of_day.div_euclid(MICROS_PER_SECOND) as u64;
    for (index, part) in [seconds / 3_600, seconds / 60 % 60, seconds % 60].into_iter().enumerate() {
        if index > 0 {
            out.push(b':');
        }
        padded(out, part, 2);
    }
    let fraction = of_day.rem_euclid(MICROS_PER_SECOND) as u64;
    if fraction == 0 && digits.is_none() {
        return;
    }
    out.push(b'.');
    padded(out, fraction, 6);
    match digits {
        Some(digits) => out.truncate(out.len() - usize::from(6u8.saturating_sub(digits))),
        None => {
            while out.last() == Some(&b'0') {
                out.pop();
            }
        }
    }
}

/// Prints the days or milliseconds that `out` holds from `start` on as Kafka's simple converter does: up to the second day of
/// 1970 as a time, beyond that as a date if it is a whole day.
pub(super) fn print(out: &mut Vec<u8>, start: usize, days: bool) -> bool {
    const MILLIS_PER_DAY: i64 = MICROS_PER_DAY / 1_000;
    let number = std::str::from_utf8(&out[start..]).ok().and_then(|text| text.parse::<i64>().ok());
    let Some(millis) = number.and_then(|number| number.checked_mul(if days { MILLIS_PER_DAY } else { 1 })) else {
        return false;
    };
    out.truncate(start);
    let (day, of_day) = (millis.div_euclid(MILLIS_PER_DAY), millis.rem_euclid(MILLIS_PER_DAY) * 1_000);
    if millis >= MILLIS_PER_DAY {
        iso_date(out, calendar::date(day));
        if of_day == 0 {
            return true;
        }
        out.push(b'T');
    }
    iso_time(out, of_day, Some(3));
    out.push(b'Z');
    true
}

fn padded(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value);
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(digits.len())));
    out.extend_from_slice(digits.as_bytes());
}

/// A year of two digits as the year that it stands for.
pub(super) fn adjusted_year(year: i32) -> i32 {
    match year {
        0..=69 => year + 2_000,
        70..=99 => year + 1_900,
        year => year,
    }
}

/// PostgreSQL's span in microseconds, computed in doubles as the original does.
pub(super) fn interval_micros(months: i32, days: i32, micros: i64) -> i64 {
    const DAYS_PER_MONTH: f64 = 365.25 / 12.0;
    let (hours, minutes, seconds) = clock(micros);
    let all_days = f64::from(months) * DAYS_PER_MONTH + f64::from(days);
    let all_seconds = ((all_days * 24.0 + hours as f64) * 60.0 + minutes as f64) * 60.0 + seconds;
    (all_seconds * 1e6) as i64
}

/// The same as `P1Y2M3DT4H5M6.789S`.
pub(super) fn write_interval(out: &mut Vec<u8>, months: i32, days: i32, micros: i64) {
    let (hours, minutes, _) = clock(micros);
    let parts = [
        (i64::from(months / 12), b'Y'),
        (i64::from(months % 12), b'M'),
        (i64::from(days), b'D'),
        (hours, b'H'),
        (minutes, b'M'),
    ];
    out.extend_from_slice(b"\"P");
    for (index, (value, unit)) in parts.into_iter().enumerate() {
        if index == 3 {
            out.push(b'T');
        }
        integer(out, value);
        out.push(unit);
    }
    let rest = micros % (60 * MICROS_PER_SECOND);
    if rest < 0 {
        out.push(b'-');
    }
    let rest = rest.unsigned_abs();
    integer(out, (rest / MICROS_PER_SECOND as u64) as i64);
    let fraction = rest % MICROS_PER_SECOND as u64;
    if fraction > 0 {
        out.push(b'.');
        padded(out, fraction, 6);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    out.extend_from_slice(b"S\"");
}

fn clock(micros: i64) -> (i64, i64, f64) {
    let minutes = micros / (60 * MICROS_PER_SECOND);
    let seconds = (micros % (60 * MICROS_PER_SECOND)) as f64 / 1e6;
    (minutes / 60, minutes % 60, seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_before_the_change_are_those_of_the_julian_calendar() {
        let date = |year, month, day| Date { year, month, day };
        for (julian, gregorian) in [
            (date(1582, 10, 4), date(1582, 10, 14)),
            (date(1582, 10, 15), date(1582, 10, 15)),
            (date(1500, 2, 28), date(1500, 3, 9)),
            (date(-43, 3, 15), date(-43, 3, 13)),
            (date(-4712, 1, 1), date(-4713, 11, 24)),
            (date(200, 2, 29), date(200, 2, 28)),
        ] {
            assert_eq!(of_julian(julian), gregorian);
            assert_eq!(to_julian(gregorian), julian);
        }
    }
}
