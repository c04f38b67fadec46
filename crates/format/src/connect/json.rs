//! JSON texts as Jackson writes them.
//!
//! Invariant: what JSON forbids is escaped, and what UTF-16 needs two units for; everything else passes as UTF-8. Start
//! at [`string`].

use super::piece::Digits;
pub use super::piece::integer;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// The first byte of a character of four bytes is this or more.
const FOUR_BYTES: u8 = 0xf0;

/// Which of the two alphabets of base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// With `+` and `/`.
    Standard,
    /// With `-` and `_`.
    UrlSafe,
}

/// Appends `text` as a JSON string.
#[inline]
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text);
    out.push(b'"');
}

/// Appends `text` as it stands between the quotes of a JSON string.
#[inline]
pub fn escaped(out: &mut Vec<u8>, text: &str) {
    escape::<FOUR_BYTES>(out, text);
}

/// The same with characters beyond the first plane as they are: how Jackson writes a JSON text into a string.
pub fn string_in_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape::<{ u8::MAX }>(out, text);
    out.push(b'"');
}

#[inline]
fn escape<const FOUR_BYTES: u8>(out: &mut Vec<u8>, text: &str) {
    let plain = plain_length::<FOUR_BYTES>(text.as_bytes());
    out.extend_from_slice(&text.as_bytes()[..plain]);
    if plain < text.len() {
        escape_rest::<FOUR_BYTES>(out, &text[plain..]);
    }
}

#[inline]
fn is_plain<const FOUR_BYTES: u8>(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\' && byte < FOUR_BYTES
}

/// How many bytes at the front need no escape. Whole blocks are looked at without a branch for each byte.
#[inline]
fn plain_length<const FOUR_BYTES: u8>(bytes: &[u8]) -> usize {
    let (blocks, _) = bytes.as_chunks::<16>();
    let all_plain = |block: &&[u8; 16]| block.iter().fold(true, |all, byte| all & is_plain::<FOUR_BYTES>(*byte));
    let start = blocks.iter().take_while(all_plain).count() * 16;
    // The end of a longer text is looked at as a block, too.
    if start == blocks.len() * 16 && bytes.last_chunk::<16>().is_some_and(|last| all_plain(&last)) {
        return bytes.len();
    }
    let rest = bytes[start..].iter().position(|byte| !is_plain::<FOUR_BYTES>(*byte));
    // What begins here is the start of a character, never its middle: those bytes are all plain.
    rest.map_or(bytes.len(), |length| start + length)
}

fn escape_rest<const FOUR_BYTES: u8>(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if is_plain::<FOUR_BYTES>(byte) {
            continue;
        }
        out.extend_from_slice(&bytes[copied..index]);
        if byte >= FOUR_BYTES {
            copied = index + 4;
            surrogates(out, text.get(index..copied).unwrap_or_default());
            continue;
        }
        copied = index + 1;
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            0x08 => b'b',
            0x09 => b't',
            0x0a => b'n',
            0x0c => b'f',
            0x0d => b'r',
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// Jackson writes what lies beyond the first plane as two escapes.
fn surrogates(out: &mut Vec<u8>, text: &str) {
    for unit in text.encode_utf16() {
        out.extend_from_slice(b"\\u");
        for shift in [12, 8, 4, 0] {
            out.push(b"0123456789ABCDEF"[usize::from(unit >> shift & 15)]);
        }
    }
}

/// Appends `bytes` in base64 as a JSON string.
pub fn base64(out: &mut Vec<u8>, bytes: &[u8], alphabet: Alphabet) {
    out.push(b'"');
    let start = out.len();
    // Four characters for each three bytes that were begun.
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let room = &mut out[start..];
    let written = match alphabet {
        Alphabet::Standard => STANDARD.encode_slice(bytes, room),
        Alphabet::UrlSafe => URL_SAFE.encode_slice(bytes, room),
    };
    out.truncate(start + written.unwrap_or(0));
    out.push(b'"');
}

/// Appends `bytes` in hexadecimal digits as a JSON string.
pub fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for byte in bytes {
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    out.push(b'"');
}

/// A time in microseconds, whose digits are those of its milliseconds and nanoseconds, too.
pub struct Micros {
    value: i64,
    digits: Digits,
}

impl Micros {
    /// Of microseconds.
    #[inline]
    pub fn new(value: i64) -> Self {
        Micros { value, digits: Digits::new(value) }
    }

    /// Appends the milliseconds.
    #[inline]
    pub fn millis(&self, out: &mut Vec<u8>) {
        match self.value {
            1_000.. => self.digits.put(out, 3),
            value => integer(out, value.div_euclid(1_000)),
        }
    }

    /// Appends the microseconds.
    #[inline]
    pub fn micros(&self, out: &mut Vec<u8>) {
        self.digits.put(out, 0);
    }

    /// Appends the nanoseconds; beyond 64 bits they begin anew.
    #[inline]
    pub fn nanos(&self, out: &mut Vec<u8>) {
        if self.value == 0 || self.value.checked_mul(1_000).is_none() {
            return integer(out, self.value.wrapping_mul(1_000));
        }
        self.digits.put(out, 0);
        out.extend_from_slice(b"000");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_time_has_the_same_digits_in_every_unit() {
        for value in [0, 1, 999, 1_000, 1_700_000_000_123_456, -1, -1_500, i64::MAX, i64::MIN] {
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

    #[test]
    fn only_what_jackson_escapes_is_escaped() {
        for (text, json) in [
            ("", "\"\""),
            ("a\"b\\c/d", "\"a\\\"b\\\\c/d\""),
            ("\u{8}\t\n\u{c}\r", "\"\\b\\t\\n\\f\\r\""),
            ("\0\u{1f}\u{7f}é世\u{2028}🎉", "\"\\u0000\\u001F\u{7f}é世\u{2028}\\uD83C\\uDF89\""),
        ] {
            let mut out = Vec::new();
            string(&mut out, text);
            assert_eq!(std::str::from_utf8(&out).unwrap(), json);
        }
    }

    proptest! {
        #[test]
        fn every_text_is_read_back(text: String, bytes: Vec<u8>) {
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
            out.clear();
            base64(&mut out, &bytes, Alphabet::Standard);
            prop_assert_eq!(STANDARD.decode(&out[1..out.len() - 1]).unwrap(), bytes);
        }
    }
}
