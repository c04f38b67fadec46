//! Decimals: from their canonical text to the bytes of Connect's Decimal.
//!
//! Invariant: no digit is lost whatever the size, and nothing passes through a float. Start at [`unscaled`].

use crate::connect::json::{self, Alphabet};

/// Digits that fit into 128 bits without a thought.
const SMALL_DIGITS: usize = 38;

/// Zeros that may be appended to reach a scale; PostgreSQL's largest numeric has fewer digits.
const SCALE_MAX: i32 = 150_000;

/// Exponents from which on `BigDecimal` prints none.
const JAVA_EXPONENT_LEAST: i32 = -6;

/// A decimal text, taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digits<'a> {
    pub negative: bool,
    pub whole: &'a str,
    pub fraction: &'a str,
}

impl<'a> Digits<'a> {
    /// Takes `-12.30` apart; `None` for what is no number.
    pub fn of(text: &'a str) -> Option<Digits<'a>> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let any = !whole.is_empty() || !fraction.is_empty();
        (any && digits(whole) && digits(fraction)).then_some(Digits { negative, whole, fraction })
    }

    fn is_zero(&self) -> bool {
        self.whole.bytes().chain(self.fraction.bytes()).all(|byte| byte == b'0')
    }
}

/// The big-endian two's complement of `text` × 10^`scale`; excess digits are cut off. `None` for what is no number.
pub(super) fn unscaled(text: &str, scale: i32) -> Option<Vec<u8>> {
    let digits = Digits::of(text)?;
    if !(-SCALE_MAX..=SCALE_MAX).contains(&scale) {
        return None;
    }
    if digits.is_zero() {
        return Some(vec![0]);
    }
    let length = digits.whole.len() as i64 + i64::from(scale);
    let all = digits.whole.bytes().chain(digits.fraction.bytes()).chain(std::iter::repeat(b'0'));
    let all = all.take(usize::try_from(length).unwrap_or(0)).skip_while(|digit| *digit == b'0');
    if length as usize <= SMALL_DIGITS {
        let value = all.fold(0i128, |value, digit| value * 10 + i128::from(digit - b'0'));
        return Some(shortest(&(if digits.negative { -value } else { value }).to_be_bytes()).to_vec());
    }
    let mut bytes = magnitude(all);
    bytes.insert(0, 0);
    if digits.negative {
        negate(&mut bytes);
    }
    Some(shortest(&bytes).to_vec())
}

/// The same of a number that 64 bits hold, with as many digits behind the point as it is to have.
fn unscaled_word(text: &[u8], scale: i32) -> Option<i64> {
    const DIGITS: usize = 18;
    let (negative, digits) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let scale = usize::try_from(scale).ok().filter(|_| digits.len() <= DIGITS)?;
    let mut value = 0i64;
    let mut behind = None;
    for (index, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + i64::from(byte - b'0'),
            b'.' if behind.is_none() => behind = Some(digits.len() - index - 1),
            _ => return None,
        }
    }
    let is_number = digits.len() > usize::from(behind.is_some());
    (is_number && behind.unwrap_or(0) == scale).then_some(if negative { -value } else { value })
}

/// The same of a number that 128 bits hold, without a buffer.
fn unscaled_small(text: &str, scale: i32) -> Option<i128> {
    let scale = usize::try_from(scale).ok()?;
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let none = whole.is_empty() && fraction.is_empty();
    if none || whole.len() + scale > SMALL_DIGITS || fraction.len() > scale {
        return None;
    }
    let mut value = 0i128;
    for digit in whole.bytes().chain(fraction.bytes()) {
        value = value * 10 + i128::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    for _ in fraction.len()..scale {
        value *= 10;
    }
    Some(if negative { -value } else { value })
}

/// Appends them in base64, as a JSON string.
pub(super) fn write_bytes(out: &mut Vec<u8>, text: &str, scale: i32) -> bool {
    if write_small(out, text.as_bytes(), scale) {
        return true;
    }
    if let Some(value) = unscaled_small(text, scale) {
        json::base64(out, shortest(&value.to_be_bytes()), Alphabet::Standard);
        return true;
    }
    match unscaled(text, scale) {
        Some(bytes) => {
            json::base64(out, &bytes, Alphabet::Standard);
            true
        }
        None => false,
    }
}

/// The same of a number that 64 bits hold; false for another.
pub(super) fn write_small(out: &mut Vec<u8>, text: &[u8], scale: i32) -> bool {
    let Some(value) = unscaled_word(text, scale) else { return false };
    // One bit tells the sign.
    let bits = i64::BITS + 1 - (value ^ (value >> (i64::BITS - 1))).leading_zeros();
    let bytes = value.to_be_bytes();
    json::base64(out, &bytes[bytes.len() - bits.div_ceil(8) as usize..], Alphabet::Standard);
    true
}

/// Appends the plain digits with exactly `scale` of them after the point.
pub(super) fn write_plain(out: &mut Vec<u8>, text: &str, scale: i32) -> bool {
    let Some(digits) = Digits::of(text) else { return false };
    if digits.negative && !digits.is_zero() {
        out.push(b'-');
    }
    let whole = digits.whole.trim_start_matches('0');
    out.extend_from_slice(if whole.is_empty() { b"0" } else { whole.as_bytes() });
    let scale = usize::try_from(scale).unwrap_or(0);
    if scale > 0 {
        out.push(b'.');
        let kept = digits.fraction.len().min(scale);
        out.extend_from_slice(&digits.fraction.as_bytes()[..kept]);
        out.extend(std::iter::repeat_n(b'0', scale - kept));
    }
    true
}

/// Appends the number as Java prints a `BigDecimal`: with an exponent where there are many zeros before its digits.
pub(super) fn write_number(out: &mut Vec<u8>, text: &str, scale: i32) -> bool {
    let start = out.len();
    if !write_plain(out, text, scale) {
        return false;
    }
    let plain = String::from_utf8_lossy(&out[start..]).into_owned();
    let (sign, digits) = plain.strip_prefix('-').map_or(("", plain.as_str()), |rest| ("-", rest));
    let significant: String = digits.chars().filter(char::is_ascii_digit).collect();
    let significant = significant.trim_start_matches('0');
    let significant = if significant.is_empty() { "0" } else { significant };
    let exponent = significant.len() as i32 - 1 - scale;
    if exponent >= JAVA_EXPONENT_LEAST {
        return true;
    }
    out.truncate(start);
    let (first, rest) = significant.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    out.extend_from_slice(format!("{sign}{first}{point}{rest}E{exponent}").as_bytes());
    true
}

/// The decimal of such a number without its exponent.
pub(super) fn without_exponent(text: &str) -> Option<String> {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return Some(text.to_owned()) };
    let exponent: i32 = exponent.parse().ok().filter(|exponent| (-SCALE_MAX..=0).contains(exponent))?;
    let digits = Digits::of(mantissa)?;
    let all = format!("{}{}", digits.whole, digits.fraction);
    let scale = digits.fraction.len() + exponent.unsigned_abs() as usize;
    let padded = format!("{}{all}", "0".repeat((scale + 1).saturating_sub(all.len())));
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    Some(format!("{}{whole}.{fraction}", if digits.negative { "-" } else { "" }))
}

/// The scale that is left when trailing zeros go, at least 0, and the text that goes with it.
pub(super) fn stripped(text: &str) -> Option<(i32, &str)> {
    let digits = Digits::of(text)?;
    let fraction = digits.fraction.trim_end_matches('0');
    let cut = text.len() - (digits.fraction.len() - fraction.len());
    Some((i32::try_from(fraction.len()).ok()?, text[..cut].trim_end_matches('.')))
}

/// `text` rounded half up to `scale` digits after the point.
pub(crate) fn rounded(text: &str, scale: usize) -> Option<String> {
    let digits = Digits::of(text)?;
    let up = digits.fraction.as_bytes().get(scale).is_some_and(|digit| *digit >= b'5');
    let kept = &digits.fraction[..digits.fraction.len().min(scale)];
    let mut all: Vec<u8> = digits.whole.bytes().chain(kept.bytes()).collect();
    all.extend(std::iter::repeat_n(b'0', scale - kept.len()));
    let mut carry = up;
    for digit in all.iter_mut().rev() {
        if carry {
            carry = *digit == b'9';
            *digit = if carry { b'0' } else { *digit + 1 };
        }
    }
    if carry {
        all.insert(0, b'1');
    }
    let point = all.len() - scale;
    let text = String::from_utf8(all).ok()?;
    let whole = if point == 0 { "0" } else { &text[..point] };
    let sign = if digits.negative { "-" } else { "" };
    Some(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{}", &text[point..]) })
}

/// The decimal of `bytes`, big-endian two's complement, with `scale` digits after the point.
pub(super) fn text_of(bytes: &[u8], scale: i32) -> Option<String> {
    let negative = bytes.first()? & 0x80 != 0;
    let mut magnitude = bytes.to_vec();
    if negative {
        negate(&mut magnitude);
    }
    let mut digits = decimal_digits(magnitude);
    let scale = usize::try_from(scale).ok()?;
    while digits.len() <= scale {
        digits.insert(0, b'0');
    }
    let point = digits.len() - scale;
    let digits = String::from_utf8(digits).ok()?;
    let sign = if negative { "-" } else { "" };
    Some(match scale {
        0 => format!("{sign}{digits}"),
        _ => format!("{sign}{}.{}", &digits[..point], &digits[point..]),
    })
}

/// Nine digits at a time into base 2^32, least significant first.
fn magnitude(digits: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut limbs: Vec<u32> = Vec::new();
    let mut add = |factor: u64, mut carry: u64| {
        for limb in limbs.iter_mut() {
            carry += u64::from(*limb) * factor;
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            limbs.push(carry as u32);
        }
    };
    let (mut factor, mut group) = (1, 0);
    for digit in digits {
        (factor, group) = (factor * 10, group * 10 + u64::from(digit - b'0'));
        if factor == 1_000_000_000 {
            add(factor, group);
            (factor, group) = (1, 0);
        }
    }
    if factor > 1 {
        add(factor, group);
    }
    limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect()
}

fn decimal_digits(magnitude: Vec<u8>) -> Vec<u8> {
    let padding = (4 - magnitude.len() % 4) % 4;
    let padded: Vec<u8> = std::iter::repeat_n(0, padding).chain(magnitude).collect();
    let mut limbs: Vec<u32> = padded.as_chunks::<4>().0.iter().map(|limb| u32::from_be_bytes(*limb)).collect();
    let mut digits = Vec::new();
    while limbs.iter().any(|limb| *limb != 0) {
        let mut rest = 0u64;
        for limb in &mut limbs {
            let value = rest << 32 | u64::from(*limb);
            *limb = (value / 1_000_000_000) as u32;
            rest = value % 1_000_000_000;
        }
        for _ in 0..9 {
            digits.push(b'0' + (rest % 10) as u8);
            rest /= 10;
        }
    }
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    digits.reverse();
    if digits.is_empty() { b"0".to_vec() } else { digits }
}

fn negate(bytes: &mut [u8]) {
    let mut carry = true;
    for byte in bytes.iter_mut().rev() {
        let (value, over) = (!*byte).overflowing_add(u8::from(carry));
        (*byte, carry) = (value, over);
    }
}

/// Without the leading bytes that only repeat the sign.
fn shortest(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [first, second, ..] = rest {
        let repeats = *first == 0 && second & 0x80 == 0 || *first == 0xff && second & 0x80 != 0;
        if !repeats {
            break;
        }
        rest = &rest[1..];
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_become_twos_complement() {
        for (text, scale, bytes) in [
            ("0.00", 2, &[0][..]),
            ("-0.00", 2, &[0]),
            ("1.50", 2, &[0, 0x96]),
            ("-3", 2, &[0xfe, 0xd4]),
            ("3.000", 3, &[0x0b, 0xb8]),
            ("1.28", 2, &[0, 0x80]),
            ("-1.28", 2, &[0x80]),
            ("9223372036854775808", 0, &[0, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(unscaled(text, scale).unwrap(), bytes, "{text}");
        }
        for text in ["", "-", ".", "1e5", "NaN", "1.2.3"] {
            assert_eq!(unscaled(text, 2), None, "{text}");
            assert!(!write_bytes(&mut Vec::new(), text, 2), "{text}");
        }
    }

    #[test]
    fn numbers_have_an_exponent_where_java_has_one() {
        for (text, scale, shown) in [
            ("0", 20, "0E-20"),
            ("0.0000", 4, "0.0000"),
            ("-0.0000012", 7, "-0.0000012"),
            ("0.00000012", 8, "1.2E-7"),
            ("12.50", 2, "12.50"),
        ] {
            let mut out = Vec::new();
            assert!(write_number(&mut out, text, scale));
            assert_eq!(std::str::from_utf8(&out).unwrap(), shown);
        }
        assert_eq!(without_exponent("1.2E-7").as_deref(), Some("0.00000012"));
        assert_eq!(without_exponent("-12.5").as_deref(), Some("-12.5"));
        assert_eq!(without_exponent("1E999999999"), None);
    }

    #[test]
    fn decimals_are_rounded_half_up() {
        for (text, scale, rounds_to) in
            [("2.5", 0, "3"), ("-2.5", 0, "-3"), ("9.995", 2, "10.00"), ("1", 2, "1.00"), (".449", 2, "0.45")]
        {
            assert_eq!(rounded(text, scale).as_deref(), Some(rounds_to));
        }
    }

    proptest! {
        #[test]
        fn decimals_of_any_size_are_read_back(text in "-?(0|[1-9][0-9]{0,120})", scale in 0i32..40) {
            let with_scale = format!("{text}.{}", "7".repeat(scale as usize));
            let bytes = unscaled(&with_scale, scale).unwrap();
            if let Some(small) = unscaled_small(&with_scale, scale) {
                prop_assert_eq!(shortest(&small.to_be_bytes()).to_vec(), bytes.clone());
            }
            let back = text_of(&bytes, scale).unwrap();
            let expected = if scale == 0 { text } else { with_scale };
            let expected = if expected == "-0" { "0".to_owned() } else { expected };
            prop_assert_eq!(back, expected);
        }
    }
}
