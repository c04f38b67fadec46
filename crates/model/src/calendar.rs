//! The one calendar: days and microseconds since 1970-01-01 UTC, and the Gregorian dates that they are.
//!
//! Invariant: both ways agree for every day, before Christ as well; the year 0 is 1 BC. The arithmetic is Howard Hinnant's,
//! "chrono-compatible low-level date algorithms". Start at [`date_time`].

use crate::value::{Date, DateTime};
use std::time::{SystemTime, UNIX_EPOCH};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// This moment, microseconds since 1970-01-01 UTC.
pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// The date and time of day, in UTC, of microseconds since 1970-01-01.
pub fn date_time(micros: i64) -> DateTime {
    let (seconds, fraction) = (micros.div_euclid(MICROS_PER_SECOND), micros.rem_euclid(MICROS_PER_SECOND));
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    DateTime {
        date: date(seconds.div_euclid(SECONDS_PER_DAY)),
        hour: (of_day / 3_600) as u8,
        minute: (of_day / 60 % 60) as u8,
        second: (of_day % 60) as u8,
        micros: fraction as u32,
    }
}

/// Microseconds since 1970-01-01 UTC; `None` for a date that is no day, such as `0000-00-00`, and for moments that 64
/// bits of microseconds do not reach.
pub fn unix_micros(at: DateTime) -> Option<i64> {
    let of_day = i64::from(at.hour) * 3_600 + i64::from(at.minute) * 60 + i64::from(at.second);
    let seconds = unix_days(at.date)? * SECONDS_PER_DAY + of_day;
    seconds.checked_mul(MICROS_PER_SECOND)?.checked_add(i64::from(at.micros))
}

/// The date of a day counted from 1970-01-01.
pub fn date(days: i64) -> Date {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Date { year: year as i32, month: month as u8, day: day as u8 }
}

/// Days since 1970-01-01; `None` for a date that is no day, such as `0000-00-00` or an infinity.
pub fn unix_days(date: Date) -> Option<i64> {
    if !(1..=12).contains(&date.month) || date.day == 0 {
        return None;
    }
    let month = i64::from(date.month);
    let year = i64::from(date.year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + i64::from(date.day) - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    Some(era * 146_097 + of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_the_calendar_is_counted_and_written_back() {
        let first = unix_days(Date { year: 1, month: 1, day: 1 }).unwrap();
        let last = unix_days(Date { year: 9999, month: 12, day: 31 }).unwrap();
        assert_eq!((first, last), (-719_162, 2_932_896));
        // The first and the last day of PostgreSQL's dates, and what lies around the years that MySQL has.
        let julian = unix_days(Date { year: -4713, month: 11, day: 24 }).unwrap();
        let farthest = unix_days(Date { year: 5_874_897, month: 12, day: 31 }).unwrap();
        assert_eq!((julian, farthest), (-2_440_588, 2_145_042_905));
        for days in [julian, farthest].into_iter().chain(first - 1_000..=last + 1_000) {
            assert_eq!(unix_days(date(days)), Some(days));
        }
    }

    #[test]
    fn moments_are_those_of_the_clock() {
        let at = |year, month, day, hour, minute, second, micros| DateTime {
            date: Date { year, month, day },
            hour,
            minute,
            second,
            micros,
        };
        for (micros, moment) in [
            (0, at(1970, 1, 1, 0, 0, 0, 0)),
            (-1, at(1969, 12, 31, 23, 59, 59, 999_999)),
            (951_782_400_000_000, at(2000, 2, 29, 0, 0, 0, 0)),
            (1_725_297_662_123_456, at(2024, 9, 2, 17, 21, 2, 123_456)),
        ] {
            assert_eq!((date_time(micros), unix_micros(moment)), (moment, Some(micros)));
        }
        for (year, month, day) in [(0, 0, 0), (2024, 0, 1), (2024, 1, 0), (2024, 13, 1)] {
            assert_eq!(unix_micros(at(year, month, day, 0, 0, 0, 0)), None);
        }
    }
}
