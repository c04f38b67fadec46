//! Integers as decimal digits, eight at a time within one word.
//!
//! Invariant: a number has all its digits and no zero in front of them. Start at [`integer`].

/// One more than the largest number of eight digits.
const EIGHT: u64 = 100_000_000;
/// The digit zero, eight times.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// A time in microseconds, whose digits are those of its milliseconds and nanoseconds, too.
#[derive(Clone, Copy)]
pub struct Micros {
    value: i64,
    /// Of a time that has sixteen of them, and whose nanoseconds 64 bits hold: from September 2001 to April 2262.
    digits: Option<[[u8; 8]; 2]>,
}

/// Appends an integer.
#[inline]
pub fn integer(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    let value = value.unsigned_abs();
    if value < 10 {
        return out.push(b'0' + value as u8);
    }
    if value < EIGHT {
        return leading(out, value);
    }
    let (rest, last) = (value / EIGHT, value % EIGHT);
    match rest {
        ..EIGHT => leading(out, rest),
        _ => {
            leading(out, rest / EIGHT);
            out.extend_from_slice(&eight(rest % EIGHT));
        }
    }
    out.extend_from_slice(&eight(last));
}

/// Appends a number of one to eight digits, without zeros in front. How many it has is known before they are, so that what
/// follows need not wait for them.
#[inline]
fn leading(out: &mut Vec<u8>, value: u64) {
    let count = (value as u32).checked_ilog10().unwrap_or(0) as usize + 1;
    let end = out.len() + count;
    let digits = (spread(value) | ZEROS) >> (8 * (8 - count));
    out.extend_from_slice(&digits.to_le_bytes());
    out.truncate(end);
}

/// The eight digits of a number that has no more.
#[inline]
fn eight(value: u64) -> [u8; 8] {
    (spread(value) | ZEROS).to_le_bytes()
}

/// The values of eight digits, the first in the lowest byte. The number is cut into halves, these into halves and so on,
/// all of a size at once; the multiplications stand for divisions, which are exact for so few digits.
#[inline]
fn spread(value: u64) -> u64 {
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((twos - tens * 10) << 8)
}

impl Micros {
    /// Of microseconds.
    #[inline]
    pub fn new(value: i64) -> Self {
        const SIXTEEN: std::ops::Range<u64> = EIGHT * EIGHT / 10..i64::MAX as u64 / 1_000;
        let digits = u64::try_from(value).ok().filter(|value| SIXTEEN.contains(value));
        let digits = digits.map(|value| [eight(value / EIGHT), eight(value % EIGHT)]);
        Micros { value, digits }
    }

    /// Appends the milliseconds.
    #[inline]
    pub fn millis(&self, out: &mut Vec<u8>) {
        match &self.digits {
            Some(digits) => out.extend_from_slice(&digits.as_flattened()[..13]),
            None => integer(out, self.value.div_euclid(1_000)),
        }
    }

    /// Appends the microseconds.
    #[inline]
    pub fn micros(&self, out: &mut Vec<u8>) {
        match &self.digits {
            Some(digits) => out.extend_from_slice(digits.as_flattened()),
            None => integer(out, self.value),
        }
    }

    /// Appends the nanoseconds; beyond 64 bits they begin anew.
    #[inline]
    pub fn nanos(&self, out: &mut Vec<u8>) {
        match &self.digits {
            Some(digits) => {
                out.extend_from_slice(digits.as_flattened());
                out.extend_from_slice(b"000");
            }
            None => integer(out, self.value.wrapping_mul(1_000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(value: i64) -> String {
        let mut out = b"n".to_vec();
        integer(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_at_the_edges_have_all_their_digits() {
        for value in [0, 9, 10, 99, 100, 101, 999, 1_000, 1_005, -1, -10, -100, i64::MAX, i64::MIN] {
            assert_eq!(shown(value), format!("n{value}"));
        }
        for digits in 1..19 {
            for value in [10i64.pow(digits) - 1, 10i64.pow(digits), 10i64.pow(digits) + 1] {
                assert_eq!(shown(value), format!("n{value}"));
            }
        }
    }

    #[test]
    fn every_group_of_four_digits_is_spread() {
        for value in 0..10_000 {
            assert_eq!(eight(value * 10_000 + value), format!("{value:04}{value:04}").as_bytes(), "{value}");
        }
    }

    #[test]
    fn a_time_has_the_same_digits_in_every_unit() {
        let edges = [0, 1, 999, 1_000, 999_999_999_999_999, 1_000_000_000_000_000];
        let far = [i64::MAX / 1_000, i64::MAX / 1_000 + 1, 9_999_999_999_999_999, 10_000_000_000_000_000];
        let others = [1_700_000_000_123_456, -1, -1_500, i64::MAX, i64::MIN];
        for value in edges.into_iter().chain(far).chain(others) {
            let (time, mut out) = (Micros::new(value), Vec::new());
            time.millis(&mut out);
            out.push(b' ');
            time.micros(&mut out);
            out.push(b' ');
            time.nanos(&mut out);
            let expected = format!("{} {value} {}", value.div_euclid(1_000), value.wrapping_mul(1_000));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn every_number_has_all_its_digits(value in any::<i64>(), shift in 0u32..64) {
            let value = value >> shift;
            prop_assert_eq!(shown(value), format!("n{value}"));
        }
    }
}
