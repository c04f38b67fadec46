//! What Java's own library shows of itself: the spelling of floating-point numbers, and the order of a `HashMap`.
//!
//! Invariant: a number has the fewest digits that read back as the same number, as JDK 19 and later print it. Start at
//! [`double`].

use std::io::Write as _;

/// The longest that the `{:e}` of a double can be: sign, 17 digits, point, `e-324`.
const SCIENTIFIC_MAX: usize = 32;

/// Appends `value` as `Double.toString` does; `NaN` and the infinities in quotes, as Jackson writes them.
pub fn double(out: &mut Vec<u8>, value: f64) {
    if let Some(special) = special(value) {
        return quoted(out, special);
    }
    let mut digits = Scientific::default();
    digits.write(format_args!("{value:e}"));
    if digits.is_single() {
        // Java shows two digits at least, and then those two that are nearest (`4.9E-324`).
        digits.write(format_args!("{value:.1e}"));
    }
    digits.spell(out);
}

/// Appends `value` as `Float.toString` does; `NaN` and the infinities in quotes.
pub fn float(out: &mut Vec<u8>, value: f32) {
    if let Some(special) = special(f64::from(value)) {
        return quoted(out, special);
    }
    let mut digits = Scientific::default();
    digits.write(format_args!("{value:e}"));
    if digits.is_single() {
        digits.write(format_args!("{value:.1e}"));
    }
    digits.spell(out);
}

/// `String.hashCode`.
pub fn hash_code(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The order in which a `HashMap` gives back `keys`, which were put in this order, as indices into them.
pub fn hash_map_order<'a>(keys: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let mut places: Vec<(u32, usize)> = keys
        .enumerate()
        .map(|(index, key)| {
            let hash = hash_code(key) as u32;
            (hash ^ hash >> 16, index)
        })
        .collect();
    // 16 buckets at first; doubled whenever more than three quarters of them are filled.
    let mut buckets = 16u32;
    while places.len() as u64 > u64::from(buckets) / 4 * 3 {
        buckets *= 2;
    }
    places.sort_by_key(|(hash, index)| (hash & (buckets - 1), *index));
    places.into_iter().map(|(_, index)| index).collect()
}

/// `UUID.nameUUIDFromBytes`: an MD5 with version and variant.
pub fn name_uuid(name: &[u8]) -> [u8; 16] {
    use md5::{Digest as _, Md5};
    let mut bytes: [u8; 16] = Md5::digest(name).into();
    bytes[6] = bytes[6] & 0x0f | 0x30;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

fn special(value: f64) -> Option<&'static str> {
    match value {
        v if v.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

fn quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// `-d.ddde-xx`, on the stack.
#[derive(Default)]
struct Scientific {
    text: [u8; SCIENTIFIC_MAX],
    length: usize,
}

impl Scientific {
    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        let mut room = &mut self.text[..];
        // It fits: SCIENTIFIC_MAX is more than the longest.
        let _ = room.write_fmt(text);
        let left = room.len();
        self.length = SCIENTIFIC_MAX - left;
    }

    fn parts(&self) -> (bool, &[u8], &[u8], i32) {
        let text = &self.text[..self.length];
        let (negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let e = text.iter().position(|byte| *byte == b'e').unwrap_or(text.len());
        let exponent = std::str::from_utf8(text.get(e + 1..).unwrap_or_default()).ok();
        let exponent = exponent.and_then(|digits| digits.parse().ok()).unwrap_or(0);
        let (first, rest) = text[..e].split_at(1.min(e));
        (negative, first, rest.strip_prefix(b".").unwrap_or(rest), exponent)
    }

    fn is_single(&self) -> bool {
        self.parts().2.is_empty()
    }

    /// With a point from a thousandth up to ten millions, with an exponent beyond.
    fn spell(&self, out: &mut Vec<u8>) {
        let (negative, first, rest, exponent) = self.parts();
        let rest = match rest {
            b"0" => &[],
            rest => rest,
        };
        if negative {
            out.push(b'-');
        }
        let zeros = |out: &mut Vec<u8>, count: usize| out.extend(std::iter::repeat_n(b'0', count));
        match exponent {
            -3..=-1 => {
                out.extend_from_slice(b"0.");
                zeros(out, (-1 - exponent) as usize);
                out.extend_from_slice(first);
                out.extend_from_slice(rest);
            }
            0..=6 => {
                let whole = exponent as usize;
                out.extend_from_slice(first);
                out.extend_from_slice(&rest[..whole.min(rest.len())]);
                zeros(out, whole.saturating_sub(rest.len()));
                out.push(b'.');
                out.extend_from_slice(rest.get(whole..).filter(|rest| !rest.is_empty()).unwrap_or(b"0"));
            }
            _ => {
                out.extend_from_slice(first);
                out.push(b'.');
                out.extend_from_slice(if rest.is_empty() { b"0" } else { rest });
                out.push(b'E');
                super::json::integer(out, i64::from(exponent));
            }
        }
    }
}

/// The text with its numbers as Java prints doubles.
pub(crate) fn numbers(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 16);
    let mut rest = text;
    while !rest.is_empty() {
        let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
        let (number, behind) = rest.split_at(length);
        match number.parse::<f64>() {
            Ok(number) if number.is_finite() => double(&mut out, number),
            _ => out.extend_from_slice(number.as_bytes()),
        }
        let next = behind.chars().next().map_or(0, char::len_utf8);
        out.extend_from_slice(&behind.as_bytes()[..next]);
        rest = &behind[next..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_text_are_spelled_as_doubles() {
        let all = "<(0,-1.5e+300),NaN> {Infinity,é1}";
        assert_eq!(String::from_utf8(numbers(all)).unwrap(), "<(0.0,-1.5E300),NaN> {Infinity,é1.0}");
    }
    use proptest::prelude::*;

    fn doubled(value: f64) -> String {
        let mut out = Vec::new();
        double(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_are_spelled_as_java_spells_them() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-2.25, "-2.25"),
            (100.0, "100.0"),
            (0.001, "0.001"),
            (0.012345, "0.012345"),
            (0.000_999, "9.99E-4"),
            (1_234_567.891, "1234567.891"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (1e10, "1.0E10"),
            (1.5e300, "1.5E300"),
            (2e23, "2.0E23"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::from_bits(1), "4.9E-324"),
            (f64::NAN, "\"NaN\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ] {
            assert_eq!(doubled(value), text);
        }
        for (value, text) in [(1.1f32, "1.1"), (3.402_823_5e38, "3.4028235E38"), (f32::from_bits(1), "1.4E-45")] {
            let mut out = Vec::new();
            float(&mut out, value);
            assert_eq!(std::str::from_utf8(&out).unwrap(), text);
        }
    }

    #[test]
    fn a_hash_map_gives_its_keys_by_bucket() {
        let order = |keys: &[&str]| hash_map_order(keys.iter().copied());
        let keys = ["public.acc", "public.audit", "public.moves"];
        let given: Vec<&str> = order(&keys).into_iter().map(|index| keys[index]).collect();
        assert_eq!(given, ["public.moves", "public.audit", "public.acc"]);
        assert_eq!(hash_code("hello"), 99_162_322);
        let many: Vec<String> = (0..40).map(|i| format!("t{i}")).collect();
        assert_eq!(hash_map_order(many.iter().map(String::as_str)).len(), 40);
    }

    proptest! {
        #[test]
        fn every_double_is_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(doubled(value).parse::<f64>().unwrap().to_bits(), bits);
        }
    }
}
