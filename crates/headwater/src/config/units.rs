//! Sizes (`64MiB`, `1GB`) and durations (`500ms`, `1h`, `7d`) as people write them.
//!
//! Invariant: a number without a unit is refused, except 0, so that nobody mistakes bytes for megabytes. Start at
//! [`Size`].

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A length of time, exact to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// Units of size and their bytes; those that a size is printed with come first, largest first.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Units of time and their milliseconds, largest first.
const SPANS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A pattern for editors: a whole number and its unit.
const SIZE_PATTERN: &str = "^(0|[0-9]+ ?([KMGT]iB|[kMGT]B|B))$";
const SPAN_PATTERN: &str = "^(0|[0-9]+ ?(ms|s|m|h|d))$";

/// Reads a whole number and one of `units`; `None` when it is anything else or too large.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Prints `amount` in the largest unit that leaves a whole number.
fn print(amount: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match units.iter().find(|(_, factor)| amount != 0 && amount.is_multiple_of(*factor)) {
        Some((name, factor)) => write!(f, "{}{name}", amount / factor),
        None => write!(f, "{amount}"),
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        quantity(text, &SIZES).map(Size).ok_or_else(|| {
            "not a size: write a whole number and B, kB, MB, GB, TB, KiB, MiB, GiB or TiB, such as 64MiB".into()
        })
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        quantity(text, &SPANS)
            .map(|ms| Span(Duration::from_millis(ms)))
            .ok_or_else(|| "not a duration: write a whole number and ms, s, m, h or d, such as 90s".into())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(self.0, &SIZES, f)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &SPANS, f)
    }
}

/// What YAML may hold where a quantity is wanted: `0` is a number there, everything else a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

fn read<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let text = match Written::deserialize(from).map_err(|_| D::Error::custom("expected a quantity with its unit"))? {
        Written::Number(number) => number.to_string(),
        Written::Text(text) => text,
    };
    text.parse().map_err(D::Error::custom)
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        read(from)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        read(from)
    }
}

impl serde::Serialize for Size {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl serde::Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of bytes with its unit: B, kB, MB, GB, TB, KiB, MiB, GiB or TiB.",
            "type": ["string", "integer"], "pattern": SIZE_PATTERN, "examples": ["64MiB"],
        })
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A length of time with its unit: ms, s, m, h or d.",
            "type": ["string", "integer"], "pattern": SPAN_PATTERN, "examples": ["90s"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back_as_they_print() {
        for (text, bytes) in [
            ("0", 0),
            ("1B", 1),
            ("64MiB", 64 << 20),
            ("1GB", 1_000_000_000),
            ("1500kB", 1_500_000),
            ("16383PiB", u64::MAX),
        ] {
            match text.parse::<Size>() {
                Ok(size) => {
                    assert_eq!(size, Size(bytes));
                    assert_eq!(size.to_string().parse(), Ok(size), "{text}");
                }
                Err(error) => assert!(text.contains("PiB") && error.contains("not a size"), "{text}: {error}"),
            }
        }
        for bad in ["", "64", "MiB", "-1B", "1.5GB", "1 0B", "99999999999TiB", "64mib", "1  B"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_read_back_as_they_print() {
        for (text, ms) in [("0", 0), ("250ms", 250), ("90s", 90_000), ("1h", 3_600_000), ("7d", 604_800_000)] {
            let span: Span = text.parse().expect(text);
            assert_eq!(span, Span(Duration::from_millis(ms)));
            assert_eq!(span.to_string().parse(), Ok(span), "{text}");
        }
        for bad in ["", "10", "h", "1w", "-1s", "1.5s", "1H"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
