//! Numbers: integers, floats, `numeric` of any size, and `money`.
//!
//! Invariant: a decimal is never a float on its way; its text is the server's own, and the binary form gives the same text.

use super::bytes::{Bad, Bytes, Read};

const INTEGER: Bad = Bad("is not an integer of its type");
const FLOAT: Bad = Bad("is not a floating point number");
const NUMERIC: Bad = Bad("is not a numeric");
const MONEY: Bad = Bad("is not an amount of money with the fraction digits of lc_monetary");

/// Digits before the point of the longest numeric.
const WHOLE_DIGITS_MAX: usize = 131_072;
/// Digits behind the point of the longest numeric.
const SCALE_MAX: u16 = 16_383;

/// An integer of `bits` bits.
#[inline]
pub fn integer(text: &[u8], bits: u8) -> Read<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let magnitude = magnitude(digits).ok_or(INTEGER)?;
    let limit = 1u64 << (bits - 1);
    match negative {
        true if magnitude <= limit => Ok((magnitude as i64).wrapping_neg()),
        false if magnitude < limit => Ok(magnitude as i64),
        _ => Err(INTEGER),
    }
}

/// The number of an object, 32 bits without sign.
#[inline]
pub fn oid(text: &[u8]) -> Read<u64> {
    magnitude(text).filter(|value| *value <= u64::from(u32::MAX)).ok_or(INTEGER)
}

#[inline]
fn magnitude(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// As the server sends it: two's complement, as wide as the type.
#[inline]
pub fn binary_integer(bytes: &[u8], bits: u8) -> Read<i64> {
    let mut bytes = Bytes(bytes);
    let value = match bits {
        16 => i64::from(bytes.i16(INTEGER.0)?),
        32 => i64::from(bytes.i32(INTEGER.0)?),
        _ => bytes.i64(INTEGER.0)?,
    };
    bytes.end(INTEGER.0)?;
    Ok(value)
}

pub fn binary_oid(bytes: &[u8]) -> Read<u64> {
    <[u8; 4]>::try_from(bytes).map(|bytes| u64::from(u32::from_be_bytes(bytes))).map_err(|_| INTEGER)
}

/// 32 bits, in the shortest digits that read back.
#[inline]
pub fn float(text: &[u8]) -> Read<f32> {
    match text {
        b"NaN" => Ok(f32::NAN),
        b"Infinity" => Ok(f32::INFINITY),
        b"-Infinity" => Ok(f32::NEG_INFINITY),
        _ => float_text(text).and_then(|text| text.parse().map_err(|_| FLOAT)),
    }
}

/// 64 bits, in the shortest digits that read back.
#[inline]
pub fn double(text: &[u8]) -> Read<f64> {
    match text {
        b"NaN" => Ok(f64::NAN),
        b"Infinity" => Ok(f64::INFINITY),
        b"-Infinity" => Ok(f64::NEG_INFINITY),
        _ => float_text(text).and_then(|text| text.parse().map_err(|_| FLOAT)),
    }
}

/// Rust reads `inf` and `nan` in many spellings; the server writes none of them.
#[inline]
fn float_text(text: &[u8]) -> Read<&str> {
    let known = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e');
    if !text.iter().all(known) {
        return Err(FLOAT);
    }
    std::str::from_utf8(text).map_err(|_| FLOAT)
}

pub fn binary_float(bytes: &[u8]) -> Read<f32> {
    let value = <[u8; 4]>::try_from(bytes).map(f32::from_be_bytes).map_err(|_| FLOAT)?;
    // There are many NaNs in bits, and one in text.
    Ok(if value.is_nan() { f32::NAN } else { value })
}

pub fn binary_double(bytes: &[u8]) -> Read<f64> {
    let value = <[u8; 8]>::try_from(bytes).map(f64::from_be_bytes).map_err(|_| FLOAT)?;
    Ok(if value.is_nan() { f64::NAN } else { value })
}

/// `-12.30`, `NaN`, `Infinity`: checked, not changed.
#[inline]
pub fn numeric(text: &[u8]) -> Read<&str> {
    if !matches!(text, b"NaN" | b"Infinity" | b"-Infinity") && !is_decimal(text) {
        return Err(NUMERIC);
    }
    std::str::from_utf8(text).map_err(|_| NUMERIC)
}

#[inline]
fn is_decimal(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if whole == 0 || whole > WHOLE_DIGITS_MAX {
        return false;
    }
    match &digits[whole..] {
        [] => true,
        [b'.', fraction @ ..] => {
            !fraction.is_empty() && fraction.len() <= usize::from(SCALE_MAX) && fraction.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

/// Digits of base 10,000: their number, the weight of the first, the sign, the digits after the point, then the digits.
pub fn binary_numeric<'a>(bytes: &[u8], scratch: &'a mut Vec<u8>) -> Read<&'a str> {
    const NEGATIVE: u16 = 0x4000;
    const NAN: u16 = 0xc000;
    const INFINITY: u16 = 0xd000;
    const NEG_INFINITY: u16 = 0xf000;
    let mut bytes = Bytes(bytes);
    let count = bytes.u16(NUMERIC.0)?;
    let weight = bytes.i16(NUMERIC.0)?;
    let sign = bytes.u16(NUMERIC.0)?;
    let scale = bytes.u16(NUMERIC.0)?;
    let digits = bytes.take(usize::from(count) * 2, NUMERIC.0)?;
    bytes.end(NUMERIC.0)?;
    match sign {
        NAN => return Ok("NaN"),
        INFINITY => return Ok("Infinity"),
        NEG_INFINITY => return Ok("-Infinity"),
        0 | NEGATIVE if scale <= SCALE_MAX => {}
        _ => return Err(NUMERIC),
    }
    scratch.clear();
    if sign == NEGATIVE {
        scratch.push(b'-');
    }
    // The digit of 10,000 to the power of `power`; those that are not sent are zero.
    let digit = |power: i32| -> u16 {
        let index = i32::from(weight) - power;
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        digits.chunks_exact(2).nth(index).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
    };
    let whole_start = scratch.len();
    for power in (0..=i32::from(weight.max(0))).rev() {
        four_digits(digit(power), scratch)?;
    }
    let zeros = scratch[whole_start..].iter().take_while(|byte| **byte == b'0').count();
    let whole = scratch.len() - whole_start;
    scratch.drain(whole_start..whole_start + zeros.min(whole - 1));
    if scale > 0 {
        scratch.push(b'.');
        let start = scratch.len();
        for place in 1..=i32::from(scale.div_ceil(4)) {
            four_digits(digit(-place), scratch)?;
        }
        scratch.truncate(start + usize::from(scale));
    }
    std::str::from_utf8(scratch).map_err(|_| NUMERIC)
}

fn four_digits(digit: u16, out: &mut Vec<u8>) -> Read<()> {
    if digit > 9_999 {
        return Err(NUMERIC);
    }
    let ascii = |value: u16| b'0' + (value % 10) as u8;
    out.extend_from_slice(&[ascii(digit / 1_000), ascii(digit / 100), ascii(digit / 10), ascii(digit)]);
    Ok(())
}

/// As lc_monetary writes it (`-$1,234.56`, `($5.00)`, `1.234,56 €`): the digits, with the point `scale` before their end.
pub fn money<'a>(text: &[u8], scale: u8, scratch: &'a mut Vec<u8>) -> Read<&'a str> {
    let mut amount = 0u64;
    let (mut count, mut negative) = (0usize, false);
    for byte in text {
        match byte {
            b'0'..=b'9' => {
                count += 1;
                let shifted = amount.checked_mul(10).and_then(|amount| amount.checked_add(u64::from(byte - b'0')));
                amount = shifted.ok_or(MONEY)?;
            }
            b'-' | b'(' => negative = true,
            _ => {}
        }
    }
    if count <= usize::from(scale) {
        return Err(MONEY);
    }
    fixed_point(amount, negative, scale, scratch)
}

/// The amount in its smallest unit, as a 64-bit integer.
pub fn binary_money<'a>(bytes: &[u8], scale: u8, scratch: &'a mut Vec<u8>) -> Read<&'a str> {
    let amount = <[u8; 8]>::try_from(bytes).map(i64::from_be_bytes).map_err(|_| MONEY)?;
    fixed_point(amount.unsigned_abs(), amount < 0, scale, scratch)
}

fn fixed_point(amount: u64, negative: bool, scale: u8, scratch: &mut Vec<u8>) -> Read<&str> {
    let scale = usize::from(scale);
    scratch.clear();
    // The digits backwards, with zeros up to the one before the point.
    let mut left = amount;
    let mut count = 0;
    while left > 0 || count <= scale {
        if count == scale && scale > 0 {
            scratch.push(b'.');
        }
        scratch.push(b'0' + (left % 10) as u8);
        left /= 10;
        count += 1;
    }
    if negative && amount > 0 {
        scratch.push(b'-');
    }
    scratch.reverse();
    std::str::from_utf8(scratch).map_err(|_| MONEY)
}
