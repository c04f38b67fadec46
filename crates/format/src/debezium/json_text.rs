//! Texts inside of values: JSON documents as MySQL's log gives them to the original, and PostgreSQL's own texts.
//!
//! Invariant: what is not understood passes unchanged. Start at [`compact`].

use crate::connect::java;
use crate::connect::json;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use std::fmt;

/// Digits after the point within which every double is exact.
const EXACT_DIGITS: usize = 1_074;

/// Rewrites the text of a JSON document as MySQL prints it to what the original makes of the binary form: without
/// blanks, doubles without exponents, opaque values without their type.
pub(crate) fn compact(text: &str, out: &mut String) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let end = match byte {
            b'"' => string_end(bytes, at),
            b'-' | b'0'..=b'9' => {
                let rest = &bytes[at..];
                let number = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                at + rest.iter().position(|byte| !number(byte)).unwrap_or(rest.len())
            }
            b' ' => {
                at += 1;
                continue;
            }
            _ => at + text[at..].chars().next().map_or(1, char::len_utf8),
        };
        let token = &text[at..end];
        match byte {
            b'"' => out.push_str(&opaque(token)),
            b'-' | b'0'..=b'9' => number(token, out),
            _ => out.push_str(token),
        }
        at = end;
    }
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A string that shows an opaque value, as the original shows it.
fn opaque(token: &str) -> String {
    let inner = token.trim_matches('"');
    if let Some((_, base64)) = inner.strip_prefix("base64:type").and_then(|rest| rest.split_once(':')) {
        return format!("\"{base64}\"");
    }
    let is_clock = |text: &str| {
        let text = text.strip_prefix('-').unwrap_or(text);
        let parts: Vec<&str> = text.split(':').collect();
        parts.len() == 3 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match inner.rsplit_once('.') {
        Some((whole, fraction)) if fraction.len() == 6 && whole.starts_with('-') && is_clock(whole) => {
            negative_time(whole, fraction).unwrap_or_else(|| token.to_owned())
        }
        Some((whole, fraction)) if fraction.len() == 6 && is_clock(whole.rsplit(' ').next().unwrap_or(whole)) => {
            let shown = inner.trim_end_matches('0').trim_end_matches('.');
            format!("\"{shown}\"")
        }
        _ => token.to_owned(),
    }
}

/// A time below zero: the original takes the packed form apart as if it were above, so that each part bears a sign of its own.
fn negative_time(whole: &str, fraction: &str) -> Option<String> {
    let parts: Vec<i64> = whole[1..].split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours @ 0..=999, minutes @ 0..60, seconds @ 0..60] = parts[..] else { return None };
    let micros: i64 = fraction.parse().ok()?;
    let packed = -((hours << 12 | minutes << 6 | seconds) << 24 | micros);
    let value = packed >> 24;
    let two = |number: i64| if number < 10 { format!("0{number}") } else { number.to_string() };
    let clock = [-((value >> 12) % 1024), (value >> 6) % 64, value % 64].map(two).join(":");
    let fraction = match micros {
        0 => String::new(),
        _ => format!(".00000-{}", fraction.trim_start_matches('0').trim_end_matches('0')),
    };
    Some(format!("\"{clock}{fraction}\""))
}

/// A double that Java would print with an exponent appears with all of its digits.
fn number(token: &str, out: &mut String) {
    let is_integer = !token.contains(['.', 'e', 'E']);
    let Some(value) = token.parse::<f64>().ok().filter(|value| value.is_finite() && !is_integer) else {
        return out.push_str(token);
    };
    let mut spelled = Vec::new();
    java::double(&mut spelled, value);
    let spelled = String::from_utf8_lossy(&spelled).into_owned();
    let digits = |text: &str| {
        let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        digits.trim_matches('0').to_owned()
    };
    let trailing_zero = token.contains('.') && token.ends_with('0') && !token.ends_with(".0") && !token.contains('e');
    if trailing_zero || digits(token) != digits(&spelled) {
        // A decimal: its digits are not those of a double.
        return out.push_str(token);
    }
    if !spelled.contains('E') {
        return out.push_str(&spelled);
    }
    let exact = format!("{value:.EXACT_DIGITS$}");
    out.push_str(exact.trim_end_matches('0').trim_end_matches('.'));
}

/// Appends an hstore, given as a JSON object, as the text of a JSON object.
pub(crate) fn write_hstore_text(out: &mut Vec<u8>, object: &str) -> bool {
    let mut text = Vec::new();
    if !write_pairs(&mut text, object, json::string_in_text) {
        return false;
    }
    json::string(out, &String::from_utf8_lossy(&text));
    true
}

/// Appends an hstore, given as a JSON object, as a map.
pub(crate) fn write_hstore_map(out: &mut Vec<u8>, object: &str) -> bool {
    write_pairs(out, object, json::string)
}

fn write_pairs(out: &mut Vec<u8>, object: &str, string: fn(&mut Vec<u8>, &str)) -> bool {
    let Ok(Pairs(pairs)) = serde_json::from_str::<Pairs>(object) else { return false };
    out.push(b'{');
    for (index, place) in java::hash_map_order(pairs.iter().map(|(key, _)| key.as_str())).into_iter().enumerate() {
        let (key, value) = &pairs[place];
        if index > 0 {
            out.push(b',');
        }
        string(out, key);
        out.push(b':');
        match value {
            Some(value) => string(out, value),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
    true
}

/// Appends pgvector's `{1:1,3:2.5}/5`; false when it is none.
pub(crate) fn write_sparse_vector(out: &mut Vec<u8>, text: &str) -> bool {
    let parts = text.strip_prefix('{').and_then(|rest| rest.rsplit_once("}/"));
    let Some((elements, Ok(dimensions))) = parts.map(|(elements, dimensions)| (elements, dimensions.parse())) else {
        return false;
    };
    out.extend_from_slice(b"{\"dimensions\":");
    json::integer(out, dimensions);
    out.extend_from_slice(b",\"vector\":[");
    for (index, element) in elements.split(',').filter(|element| !element.is_empty()).enumerate() {
        let Some((place, number)) = element.split_once(':') else { return false };
        let (Ok(place), Ok(number)) = (place.trim().parse(), number.trim().parse()) else { return false };
        out.extend_from_slice(if index == 0 { b"[" } else { b",[" });
        json::integer(out, place);
        out.push(b',');
        java::double(out, number);
        out.push(b']');
    }
    out.extend_from_slice(b"]}");
    true
}

/// A JSON object of texts and nulls, in its order.
pub(crate) struct Pairs(pub Vec<(String, Option<String>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_lose_blanks_exponents_and_types() {
        for (text, becomes) in [
            (r#"{"a": 2, "b c": [1, "x y\" z"]}"#, r#"{"a":2,"b c":[1,"x y\" z"]}"#),
            ("[1.0, 1e21, 0.1, -0.0]", "[1.0,1000000000000000000000,0.1,-0.0]"),
            ("123456789.12345679", "123456789.12345679104328155517578125"),
            ("[123.4500, 12345678901234567890.12]", "[123.4500,12345678901234567890.12]"),
            (r#"["base64:type15:AP8=", "12:34:56.000000"]"#, r#"["AP8=","12:34:56"]"#),
            (r#""2020-02-29 12:34:56.123456""#, r#""2020-02-29 12:34:56.123456""#),
            (r#""-838:59:59.000000""#, r#""839:0-60:0-59""#),
            (r#""-01:00:00.000000""#, r#""01:00:00""#),
            (r#""-00:00:01.500000""#, r#""01:0-1:0-2.00000-5""#),
            (r#""-1:2:60.000000""#, r#""-1:2:60.000000""#),
        ] {
            let mut out = String::new();
            compact(text, &mut out);
            assert_eq!(out, becomes);
        }
    }

    #[test]
    fn sparse_vectors_are_pairs() {
        let mut out = Vec::new();
        assert!(write_sparse_vector(&mut out, "{1:1,3:2.5}/5"));
        assert_eq!(out, br#"{"dimensions":5,"vector":[[1,1.0],[3,2.5]]}"#);
        for text in ["", "{}", "{1}/2", "{a:1}/2"] {
            assert!(!write_sparse_vector(&mut Vec::new(), text));
        }
    }
}
