//! Dates and times: the old packed forms, and the big-endian ones with a fraction (TIME2, DATETIME2, TIMESTAMP2).
//!
//! Invariant: zero dates, zero parts, negative times and times beyond a day come out as they went in; parts beyond the
//! server's own limits are refused. Formats: MySQL's sql-common/my_time.cc.

use super::bytes::{Bad, Read, be_uint, le_uint};
use headwater_model::value::ZERO_TIMESTAMP;
use headwater_model::{Date, DateTime};

/// Bytes of a fraction of 0 to 6 digits.
pub fn fraction_bytes(digits: u8) -> usize {
    usize::from(digits.min(6).div_ceil(2))
}

/// Three bytes: 15 bits of year, 4 of month, 5 of day.
#[inline]
pub fn date(bytes: &[u8]) -> Read<Date> {
    let packed = le_uint(bytes);
    checked_date(packed >> 9, packed >> 5 & 15, packed & 31)
}

/// The old TIME: three bytes, HHMMSS as a signed decimal number. Microseconds.
pub fn time(bytes: &[u8]) -> Read<i64> {
    let packed = (le_uint(bytes) as i64) << 40 >> 40;
    let (sign, packed) = (packed.signum(), packed.abs());
    let (hours, minutes, seconds) = (packed / 10_000, packed / 100 % 100, packed % 100);
    duration(sign, hours, minutes, seconds, 0)
}

/// TIME(n): three bytes and the fraction, offset so that the first bit is the sign. Microseconds.
#[inline]
pub fn time2(bytes: &[u8]) -> Read<i64> {
    let Some((whole, fraction)) = bytes.split_at_checked(3) else { return Err(Bad("a TIME's bytes")) };
    // Whole and fraction are one two's complement number, so a negative fraction borrows from the whole.
    let packed = (be_uint(whole) as i64 - 0x80_0000) << (8 * fraction.len()) | be_uint(fraction) as i64;
    let (sign, packed) = (packed.signum(), packed.unsigned_abs());
    let micros = packed & ((1 << (8 * fraction.len())) - 1);
    let whole = (packed >> (8 * fraction.len())) as i64;
    let micros = micros as i64 * scale(fraction.len())?;
    duration(sign, whole >> 12 & 0x3ff, whole >> 6 & 63, whole & 63, micros)
}

fn duration(sign: i64, hours: i64, minutes: i64, seconds: i64, micros: i64) -> Read<i64> {
    if hours > 838 || minutes > 59 || seconds > 59 || micros > 999_999 {
        return Err(Bad("a TIME beyond 838:59:59.999999"));
    }
    Ok(sign * (((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros))
}

/// The old DATETIME: eight bytes, YYYYMMDDhhmmss as a decimal number.
pub fn date_time(bytes: &[u8]) -> Read<DateTime> {
    let packed = le_uint(bytes);
    let (date, time) = (packed / 1_000_000, packed % 1_000_000);
    let date = checked_date(date / 10_000, date / 100 % 100, date % 100)?;
    checked_date_time(date, time / 10_000, time / 100 % 100, time % 100, 0)
}

/// DATETIME(n): a sign that is always set, 17 bits of year and month (year × 13 + month), 5 of day, 5, 6 and 6 of the
/// time of day, and the fraction.
#[inline]
pub fn date_time2(bytes: &[u8]) -> Read<DateTime> {
    let Some((whole, fraction)) = bytes.split_at_checked(5) else { return Err(Bad("a DATETIME's bytes")) };
    let packed = be_uint(whole);
    if packed >> 39 != 1 {
        return Err(Bad("a DATETIME before the year 0"));
    }
    let (date, time) = (packed >> 17 & 0x3f_ffff, packed & 0x1_ffff);
    let date = checked_date((date >> 5) / 13, (date >> 5) % 13, date & 31)?;
    let micros = be_uint(fraction) as i64 * scale(fraction.len())?;
    checked_date_time(date, time >> 12, time >> 6 & 63, time & 63, micros)
}

/// The old TIMESTAMP: four bytes of seconds. Microseconds, or [`ZERO_TIMESTAMP`].
pub fn timestamp(bytes: &[u8]) -> Read<i64> {
    instant(le_uint(bytes), 0)
}

/// TIMESTAMP(n): four bytes of seconds and the fraction. Microseconds, or [`ZERO_TIMESTAMP`].
#[inline]
pub fn timestamp2(bytes: &[u8]) -> Read<i64> {
    let Some((whole, fraction)) = bytes.split_at_checked(4) else { return Err(Bad("a TIMESTAMP's bytes")) };
    instant(be_uint(whole), be_uint(fraction) as i64 * scale(fraction.len())?)
}

fn instant(seconds: u64, micros: i64) -> Read<i64> {
    match (seconds, micros) {
        (0, 0) => Ok(ZERO_TIMESTAMP),
        (0..=0xffff_ffff, 0..=999_999) => Ok(seconds as i64 * 1_000_000 + micros),
        _ => Err(Bad("a TIMESTAMP beyond its range")),
    }
}

/// Microseconds that one unit of a fraction of so many bytes stands for.
fn scale(bytes: usize) -> Read<i64> {
    match bytes {
        0 | 3 => Ok(1),
        1 => Ok(10_000),
        2 => Ok(100),
        _ => Err(Bad("a fraction of a second of more than six digits")),
    }
}

#[inline]
fn checked_date(year: u64, month: u64, day: u64) -> Read<Date> {
    if year > 9999 || month > 12 || day > 31 {
        return Err(Bad("a date beyond 9999-12-31"));
    }
    Ok(Date { year: year as i32, month: month as u8, day: day as u8 })
}

#[inline]
fn checked_date_time(date: Date, hour: u64, minute: u64, second: u64, micros: i64) -> Read<DateTime> {
    if hour > 23 || minute > 59 || second > 59 || !(0..=999_999).contains(&micros) {
        return Err(Bad("a time of day beyond 23:59:59.999999"));
    }
    Ok(DateTime { date, hour: hour as u8, minute: minute as u8, second: second as u8, micros: micros as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time2_bytes(micros: i64, digits: u8) -> Vec<u8> {
        let width = fraction_bytes(digits);
        let unit = scale(width).unwrap();
        let seconds = micros.abs() / 1_000_000;
        let hms = (seconds / 3600) << 12 | (seconds / 60 % 60) << 6 | (seconds % 60);
        let fraction = if width == 0 { 0 } else { micros.abs() % 1_000_000 / unit };
        let packed = micros.signum() * (hms << (8 * width) | fraction) + (0x80_0000 << (8 * width));
        packed.to_be_bytes()[8 - 3 - width..].to_vec()
    }

    #[test]
    fn known_bytes() {
        // From a server: TIME(0) '-00:00:01', TIME(1) '-00:00:00.1', TIME(6) '-838:59:59.000001'.
        assert_eq!(time2(&[0x7f, 0xff, 0xff]), Ok(-1_000_000));
        assert_eq!(time2(&[0x7f, 0xff, 0xff, 0xf6]), Ok(-100_000));
        assert_eq!(time2(&time2_bytes(-3_020_399_000_001, 6)), Ok(-3_020_399_000_001));
        assert_eq!(time(&(-8_385_959i32).to_le_bytes()[..3]), Ok(-3_020_399_000_000));
        assert_eq!(timestamp2(&[0, 0, 0, 0, 0, 0]), Ok(ZERO_TIMESTAMP));
        assert_eq!(timestamp2(&[0x7f, 0xff, 0xff, 0xff, 0x0f, 0x42, 0x3f]), Ok(2_147_483_647_999_999));
        let zero = Date { year: 0, month: 0, day: 0 };
        assert_eq!(date(&[0, 0, 0]), Ok(zero));
        let midnight = DateTime { date: zero, hour: 0, minute: 0, second: 0, micros: 0 };
        assert_eq!(date_time2(&[0x80, 0, 0, 0, 0]), Ok(midnight));
        assert_eq!(date_time(&0u64.to_le_bytes()), Ok(midnight));
        let last = Date { year: 9999, month: 12, day: 31 };
        assert_eq!(
            date_time(&99_991_231_235_959u64.to_le_bytes()),
            Ok(DateTime { date: last, hour: 23, minute: 59, second: 59, micros: 0 })
        );
    }

    proptest! {
        #[test]
        fn any_time_reads_back(micros in -3_020_399_999_999i64..=3_020_399_999_999, digits in 0u8..=6) {
            let unit = scale(fraction_bytes(digits)).unwrap();
            let unit = if fraction_bytes(digits) == 0 { 1_000_000 } else { unit };
            let micros = micros / unit * unit;
            prop_assert_eq!(time2(&time2_bytes(micros, digits)), Ok(micros));
        }

        #[test]
        fn any_bytes_are_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..9)) {
            let _ = (date(&bytes), time(&bytes), time2(&bytes), date_time(&bytes), date_time2(&bytes));
            let _ = (timestamp(&bytes), timestamp2(&bytes));
        }
    }
}
