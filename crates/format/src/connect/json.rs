//! JSON texts as Jackson writes them.
//!
//! Invariant: what JSON forbids is escaped, and what UTF-16 needs two units for; everything else passes as UTF-8. Start
//! at [`string`].

pub use super::number::{Micros, integer};
use super::plain;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

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
    utf8(out, text.as_bytes());
}

/// The same of bytes that are known to be UTF-8.
#[inline]
pub fn utf8(out: &mut Vec<u8>, text: &[u8]) {
    if let Some(word) = plain::short::<true>(text) {
        let quoted = u128::from(b'"') | u128::from(word) << 8 | u128::from(b'"') << (8 * (text.len() + 1));
        let end = out.len() + text.len() + 2;
        out.extend_from_slice(&quoted.to_le_bytes());
        return out.truncate(end);
    }
    out.push(b'"');
    escape::<true>(out, text);
    out.push(b'"');
}

/// Appends `text` as it stands between the quotes of a JSON string.
#[inline]
pub fn escaped(out: &mut Vec<u8>, text: &str) {
    escape::<true>(out, text.as_bytes());
}

/// The same with characters beyond the first plane as they are: how Jackson writes a JSON text into a string.
pub fn string_in_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape::<false>(out, text.as_bytes());
    out.push(b'"');
}

#[inline]
fn escape<const SURROGATES: bool>(out: &mut Vec<u8>, text: &[u8]) {
    // What begins behind the plain bytes is the start of a character, never its middle: those bytes are all plain.
    let (plain, rest) = text.split_at(plain::length::<SURROGATES>(text));
    out.extend_from_slice(plain);
    if !rest.is_empty() {
        escape_rest::<SURROGATES>(out, rest);
    }
}

fn escape_rest<const SURROGATES: bool>(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut copied = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if plain::is::<SURROGATES>(byte) {
            continue;
        }
        out.extend_from_slice(&bytes[copied..index]);
        if byte >= plain::FOUR_BYTES {
            copied = bytes.len().min(index + 4);
            surrogates(out, std::str::from_utf8(&bytes[index..copied]).unwrap_or_default());
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
    /// More bytes are worth a call.
    const FEW: usize = 12;
    out.push(b'"');
    let engine = match alphabet {
        Alphabet::Standard if bytes.len() <= FEW => return few_in_base64(out, bytes),
        Alphabet::Standard => &STANDARD,
        Alphabet::UrlSafe => &URL_SAFE,
    };
    let start = out.len();
    // Four characters for each three bytes that were begun.
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = engine.encode_slice(bytes, &mut out[start..]);
    out.truncate(start + written.unwrap_or(0));
    out.push(b'"');
}

/// The same of a number's bytes, up to the closing quotation mark.
fn few_in_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32, place: u32| DIGITS[(bits >> (6 * place) & 63) as usize];
    let (threes, rest) = bytes.as_chunks::<3>();
    for &[a, b, c] in threes {
        let bits = u32::from_be_bytes([0, a, b, c]);
        out.extend_from_slice(&[digit(bits, 3), digit(bits, 2), digit(bits, 1), digit(bits, 0)]);
    }
    match *rest {
        [a] => {
            let bits = u32::from_be_bytes([0, a, 0, 0]);
            out.extend_from_slice(&[digit(bits, 3), digit(bits, 2), b'=', b'=', b'"']);
        }
        [a, b] => {
            let bits = u32::from_be_bytes([0, a, b, 0]);
            out.extend_from_slice(&[digit(bits, 3), digit(bits, 2), digit(bits, 1), b'=', b'"']);
        }
        _ => out.push(b'"'),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
