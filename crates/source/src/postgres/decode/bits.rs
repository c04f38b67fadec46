//! Bit strings, bytes and UUIDs: digits of base 2 and 16.
//!
//! Invariant: what is written takes as many bits, or bytes, as digits were read; nothing is padded or cut.

use super::bytes::{Bad, Bytes, Read};
use headwater_model::Value;

const BITS: Bad = Bad("is not a bit string of its width");
const BYTEA: Bad = Bad("is not bytes as bytea_output=hex prints them");
const UUID: Bad = Bad("is not a UUID");

/// `0101` of exactly `width` bits, 64 at most; the first is the most significant.
pub fn bit(text: &[u8], width: u8) -> Read<u64> {
    if text.len() != usize::from(width) || text.len() > 64 {
        return Err(BITS);
    }
    text.iter().try_fold(0, |value, digit| match digit {
        b'0' => Ok(value << 1),
        b'1' => Ok(value << 1 | 1),
        _ => Err(BITS),
    })
}

/// The number of bits, then bytes, the first bit highest.
pub fn binary_bit(bytes: &[u8], width: u8) -> Read<u64> {
    let (bits, bytes) = binary_parts(bytes)?;
    if bits != u32::from(width) || bits > 64 || bits == 0 {
        return Err(BITS);
    }
    let value = bytes.iter().fold(0u128, |value, byte| value << 8 | u128::from(*byte));
    Ok((value >> (bytes.len() * 8 - bits as usize)) as u64)
}

/// `0101` of any length.
pub fn bit_string<'a>(text: &[u8], scratch: &'a mut Vec<u8>) -> Read<Value<'a>> {
    let bits = u32::try_from(text.len()).map_err(|_| BITS)?;
    scratch.clear();
    for group in text.chunks(8) {
        let byte = group.iter().try_fold(0u8, |byte, digit| match digit {
            b'0' => Ok(byte << 1),
            b'1' => Ok(byte << 1 | 1),
            _ => Err(BITS),
        })?;
        scratch.push(byte << (8 - group.len()));
    }
    Ok(Value::BitString { bits, bytes: scratch })
}

pub fn binary_bit_string(bytes: &[u8]) -> Read<Value<'_>> {
    let (bits, bytes) = binary_parts(bytes)?;
    Ok(Value::BitString { bits, bytes })
}

fn binary_parts(bytes: &[u8]) -> Read<(u32, &[u8])> {
    let mut bytes = Bytes(bytes);
    let bits = bytes.u32(BITS.0)?;
    let rest = bytes.0;
    let unused = rest.len() * 8 - (bits as usize).min(rest.len() * 8);
    let tail_is_zero = rest.last().is_none_or(|last| unused < 8 && last & ((1 << unused) - 1) as u8 == 0);
    if rest.len() == (bits as usize).div_ceil(8) && tail_is_zero { Ok((bits, rest)) } else { Err(BITS) }
}

/// `\x00ff`.
#[inline]
pub fn bytea<'a>(text: &[u8], scratch: &'a mut Vec<u8>) -> Read<&'a [u8]> {
    hex(text.strip_prefix(b"\\x").ok_or(BYTEA)?, scratch).ok_or(BYTEA)
}

/// Pairs of digits of base 16.
#[inline]
pub fn hex<'a>(digits: &[u8], scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    scratch.clear();
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    scratch.reserve(pairs.len());
    for [high, low] in pairs {
        scratch.push(nibble(*high)? << 4 | nibble(*low)?);
    }
    Some(scratch)
}

#[inline]
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// `123e4567-e89b-12d3-a456-426614174000`.
#[inline]
pub fn uuid(text: &[u8]) -> Read<[u8; 16]> {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    let text: &[u8; 36] = text.try_into().map_err(|_| UUID)?;
    let mut uuid = [0; 16];
    let mut place = 0;
    for byte in &mut uuid {
        if DASHES.contains(&place) {
            if text[place] != b'-' {
                return Err(UUID);
            }
            place += 1;
        }
        *byte = nibble(text[place]).ok_or(UUID)? << 4 | nibble(text[place + 1]).ok_or(UUID)?;
        place += 2;
    }
    Ok(uuid)
}

pub fn binary_uuid(bytes: &[u8]) -> Read<[u8; 16]> {
    bytes.try_into().map_err(|_| UUID)
}
