//! The digits of doubles. Java 17 sometimes prints one or two digits more than are needed, later ones do not, and both are
//! right; the notation (a point, `E`) must still be Java's.

use std::fmt::LowerExp;

/// Doubles are printed with an exponent below 10^-4 and from 10^16 on.
const PLAIN_EXPONENTS: std::ops::Range<i32> = -4..16;
/// So many digits are a float's at most; with fewer, float and double agree.
const FLOAT_DIGITS: std::ops::RangeInclusive<usize> = 9..=10;
/// A bit less than the largest float.
const FLOAT_MAX: f64 = 3.4e38;

/// A double in Java's notation with its shortest digits, or a float's where nine or ten digits are a float's; any other text
/// as it is.
pub(super) fn spelling(raw: &str) -> String {
    if !is_java_double(raw) {
        return raw.to_owned();
    }
    let Ok(number) = raw.parse::<f64>() else { return raw.to_owned() };
    let mantissa = raw.split('E').next().unwrap_or(raw).replace(['-', '.'], "");
    let digits = mantissa.trim_matches('0').len();
    let single = number as f32;
    let is_single = FLOAT_DIGITS.contains(&digits)
        && number.abs() < FLOAT_MAX
        && (f64::from(single) - number).abs() <= number.abs() * 1e-8;
    let shortest = if is_single { shortest(single) } else { shortest(number) };
    // With or without an exponent stays a difference.
    if raw.contains('E') && !shortest.contains('E') { shortest + "E0" } else { shortest }
}

/// `-?[0-9]+\.(0|[0-9]*[1-9])(E-?[0-9]+)?`
fn is_java_double(raw: &str) -> bool {
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) =
        raw.split_once('E').map_or((raw, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let Some((whole, fraction)) = mantissa.strip_prefix('-').unwrap_or(mantissa).split_once('.') else { return false };
    all_digits(whole)
        && all_digits(fraction)
        && (fraction == "0" || !fraction.ends_with('0'))
        && exponent.is_none_or(|exponent| all_digits(exponent.strip_prefix('-').unwrap_or(exponent)))
}

/// The fewest digits that read back as the same number.
fn shortest(number: impl LowerExp) -> String {
    let text = format!("{number:e}");
    let (sign, text) = text.strip_prefix('-').map_or(("", text.as_str()), |text| ("-", text));
    let Some((mantissa, exponent)) = text.split_once('e') else { return text.to_owned() };
    let Ok(exponent) = exponent.parse::<i32>() else { return text.to_owned() };
    let digits = mantissa.replace('.', "");
    if !PLAIN_EXPONENTS.contains(&exponent) {
        let direction = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}E{direction}{:02}", exponent.abs());
    }
    let before = exponent + 1;
    match usize::try_from(before) {
        Ok(0) | Err(_) => format!("{sign}0.{}{digits}", "0".repeat(before.unsigned_abs() as usize)),
        Ok(before) if digits.len() > before => format!("{sign}{}.{}", &digits[..before], &digits[before..]),
        Ok(before) => format!("{sign}{digits}{}.0", "0".repeat(before - digits.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_the_shortest_and_the_notation_stays() {
        for (raw, expected) in [
            ("2.0E-3", "0.002E0"),
            ("0.002", "0.002"),
            ("2.2250738585072014E-308", "2.2250738585072014E-308"),
            ("2.0000000000000004E10", "20000000000.000004E0"),
            ("1.0E20", "1E+20"),
            ("4.9E-324", "5E-324"),
            ("-0.0", "-0.0"),
            ("123456.0", "123456.0"),
            ("100.5", "100.5"),
            ("0.00010000000000000001", "0.0001"),
            ("1.0E10", "10000000000.0E0"),
            ("1.17549435E-38", "1.1754944E-38"),
            ("0.123456789", "0.123456789"),
            ("3.40282347E38", "3.40282347E+38"),
            // Not a double as Java prints it.
            ("1.50", "1.50"),
            ("15", "15"),
            ("1e5", "1e5"),
            (".5", ".5"),
        ] {
            assert_eq!(spelling(raw), expected, "{raw}");
        }
    }
}
