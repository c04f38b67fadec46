//! JSON as the MySQL server prints it: a blank after `:` and `,`, keys in the stored order, doubles in their shortest
//! form, other values as the server's own texts.
//!
//! Invariant: byte for byte what `SELECT` of the column gives. Start at [`write`]. Sources: `Json_wrapper::to_string` of
//! MySQL's sql-common/json_dom.cc, `my_gcvt` of strings/dtoa.cc.

use super::bytes::{Bad, Read};
use super::decimal::{Layout, TEXT_MAX};
use super::json::{Budget, Container, DEPTH_MAX, Node, root};
use super::table_map::column_type as ty;
use std::io::Write;

/// Appends the text of a binary document.
pub fn write(document: &[u8], out: &mut Vec<u8>) -> Read<()> {
    let mut budget = Budget::new(document);
    let node = root(document, &mut budget)?;
    write_node(node, &mut budget, DEPTH_MAX, out)
}

fn write_node(node: Node<'_>, budget: &mut Budget, depth: usize, out: &mut Vec<u8>) -> Read<()> {
    match node {
        Node::Array(array) => write_container(array, false, budget, depth, out),
        Node::Object(object) => write_container(object, true, budget, depth, out),
        scalar => write_scalar(scalar, out),
    }
}

fn write_container(
    container: Container<'_>,
    object: bool,
    budget: &mut Budget,
    depth: usize,
    out: &mut Vec<u8>,
) -> Read<()> {
    let depth = depth.checked_sub(1).ok_or(Bad("JSON nested too deep"))?;
    out.push(if object { b'{' } else { b'[' });
    for i in 0..container.len() {
        if i > 0 {
            out.extend_from_slice(b", ");
        }
        if object {
            write_string(container.key(i, budget)?, out);
            out.extend_from_slice(b": ");
        }
        let value = container.value(i, budget)?;
        write_node(value, budget, depth, out)?;
    }
    out.push(if object { b'}' } else { b']' });
    Ok(())
}

/// Appends a value that holds no others; containers are refused.
pub fn write_scalar(node: Node<'_>, out: &mut Vec<u8>) -> Read<()> {
    match node {
        Node::Null => out.extend_from_slice(b"null"),
        Node::Bool(true) => out.extend_from_slice(b"true"),
        Node::Bool(false) => out.extend_from_slice(b"false"),
        Node::Int(value) => print(out, format_args!("{value}")),
        Node::UInt(value) => print(out, format_args!("{value}")),
        Node::Double(value) => write_double(value, out),
        Node::String(text) => write_string(text, out),
        Node::Opaque(kind, bytes) => return write_opaque(kind, bytes, out),
        Node::Array(_) | Node::Object(_) => return Err(Bad("a JSON container in a scalar's place")),
    }
    Ok(())
}

fn print(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    // Writing into memory cannot fail.
    let _ = out.write_fmt(arguments);
}

/// Appends a quoted string.
pub fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut plain = 0;
    for (i, &byte) in text.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            0x08 => b"\\b",
            0x0c => b"\\f",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&text[plain..i]);
        plain = i + 1;
        if escape.is_empty() {
            print(out, format_args!("\\u{byte:04x}"));
        } else {
            out.extend_from_slice(escape);
        }
    }
    out.extend_from_slice(&text[plain..]);
    out.push(b'"');
}

/// The shortest digits that read back; with a point when the number is between 1e-15 and 1e15, else with an exponent.
pub fn write_double(value: f64, out: &mut Vec<u8>) {
    let text = format!("{value:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        // JSON has no infinity and no NaN; the server prints them so all the same.
        return out.extend_from_slice(text.as_bytes());
    };
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    out.extend_from_slice(sign.as_bytes());
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(|&c| c != '.').collect();
    match exponent {
        0..=14 => {
            let point = exponent as usize + 1;
            let whole = &digits[..digits.len().min(point)];
            let fraction = digits.get(point..).filter(|fraction| !fraction.is_empty()).unwrap_or("0");
            print(out, format_args!("{whole:0<point$}.{fraction}"));
        }
        -15..=-1 => print(out, format_args!("0.{:0>width$}{digits}", "", width = (-exponent - 1) as usize)),
        _ => print(out, format_args!("{mantissa}e{exponent}")),
    }
}

fn write_opaque(kind: u8, bytes: &[u8], out: &mut Vec<u8>) -> Read<()> {
    match kind {
        ty::NEWDECIMAL => {
            const WHAT: Bad = Bad("a DECIMAL inside JSON");
            let (&[precision, scale], packed) = bytes.split_first_chunk().ok_or(WHAT)?;
            let layout = Layout::computed(precision, scale).ok_or(WHAT)?;
            let packed = packed.get(..layout.bytes()).ok_or(WHAT)?;
            let mut text = [0; TEXT_MAX];
            out.extend_from_slice(layout.write(packed, &mut text)?.as_bytes());
        }
        ty::DATE | ty::DATETIME | ty::TIMESTAMP | ty::TIME => {
            let packed: [u8; 8] = bytes.try_into().map_err(|_| Bad("a date or time inside JSON"))?;
            write_temporal(kind, i64::from_le_bytes(packed), out);
        }
        _ => {
            print(out, format_args!("\"base64:type{kind}:"));
            write_base64(bytes, out);
            out.push(b'"');
        }
    }
    Ok(())
}

/// The server's packed form: 24 bits of microseconds, 6 of seconds, 6 of minutes, then hours (10 bits of a TIME, 5 of a
/// DATETIME), 5 of days, and year × 13 + month. Negative times are negated as a whole.
fn write_temporal(kind: u8, packed: i64, out: &mut Vec<u8>) {
    let sign = if packed < 0 { "-" } else { "" };
    let packed = packed.unsigned_abs();
    let (whole, micros) = (packed >> 24, packed & 0xff_ffff);
    let (minute, second) = (whole >> 6 & 63, whole & 63);
    if kind == ty::TIME {
        let hour = whole >> 12 & 0x3ff;
        return print(out, format_args!("\"{sign}{hour:02}:{minute:02}:{second:02}.{micros:06}\""));
    }
    let (date, hour) = (whole >> 17, whole >> 12 & 31);
    let (year, month, day) = ((date >> 5) / 13, (date >> 5) % 13, date & 31);
    print(out, format_args!("\"{year:04}-{month:02}-{day:02}"));
    if kind != ty::DATE {
        print(out, format_args!(" {hour:02}:{minute:02}:{second:02}.{micros:06}"));
    }
    out.push(b'"');
}

/// Base64 as the server writes it: a line of 76 characters at a time, whose newline is then escaped.
fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const LINE_GROUPS: usize = 76 / 4;
    for (i, group) in bytes.chunks(3).enumerate() {
        if i > 0 && i % LINE_GROUPS == 0 {
            out.extend_from_slice(b"\\n");
        }
        let mut bits = 0u32;
        for place in 0..3 {
            bits = bits << 8 | u32::from(group.get(place).copied().unwrap_or(0));
        }
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= group.len() { digit } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_print_as_in_the_server() {
        for (value, text) in [
            (1.0, "1.0"),
            (1e15, "1e15"),
            (1e14, "100000000000000.0"),
            (123_456_789_012_345.0, "123456789012345.0"),
            (1e-14, "0.00000000000001"),
            (1e-15, "0.000000000000001"),
            (1e-16, "1e-16"),
            (-0.0, "-0.0"),
            (0.0, "0.0"),
            (1.5e300, "1.5e300"),
            (0.1, "0.1"),
            (1_234_567.125, "1234567.125"),
            (-1e22, "-1e22"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e308"),
            (12.5, "12.5"),
            (-120.0, "-120.0"),
        ] {
            let mut out = Vec::new();
            write_double(value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn strings_and_bytes_print_as_in_the_server() {
        let mut out = Vec::new();
        write_string("x\"\\\n\t\u{8}\r/\u{1f}\u{7f}ü".as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "\"x\\\"\\\\\\n\\t\\b\\r/\\u001f\u{7f}ü\"");
        let mut out = Vec::new();
        write_opaque(15, &[0, 255].repeat(60), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("\"base64:type15:AP8A/wD/") && text.matches("\\n").count() == 2, "{text}");
        assert!(text.ends_with("\\nAP8A/wD/\""), "{text}");
    }
}
