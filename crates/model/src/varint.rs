//! LEB128 variable-length integers and length-prefixed byte strings, the alphabet of every encoding in this crate.
//!
//! Invariant: reading never trusts a length; it answers `None` when the input is shorter than it claims.

/// Appends `value` as LEB128, one to ten bytes.
#[inline]
pub fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed integer, zigzag-mapped so that small magnitudes stay short.
#[inline]
pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends a length and then the bytes.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes a LEB128 integer off the front of `input`; `None` if it is cut off or longer than 64 bits.
#[inline]
pub fn take_u64(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (i, &byte) in input.iter().enumerate().take(10) {
        if i == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *input = &input[i + 1..];
            return Some(value);
        }
    }
    None
}

/// Takes a zigzag-mapped signed integer.
#[inline]
pub fn take_i64(input: &mut &[u8]) -> Option<i64> {
    let raw = take_u64(input)?;
    Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

/// Takes `count` bytes.
#[inline]
pub fn take<'a>(input: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, tail) = input.split_at_checked(count)?;
    *input = tail;
    Some(head)
}

/// Takes a fixed number of bytes as an array.
#[inline]
pub fn take_array<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = input.split_first_chunk::<N>()?;
    *input = tail;
    Some(*head)
}

/// Takes a length-prefixed byte string.
#[inline]
pub fn take_bytes<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_u64(input)?).ok()?;
    take(input, length)
}

/// Takes a length-prefixed UTF-8 string.
#[inline]
pub fn take_str<'a>(input: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(input)?).ok()
}
