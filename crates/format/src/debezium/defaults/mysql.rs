//! Defaults of MySQL and MariaDB: literals in quotes, bare numbers, bits, CURRENT_TIMESTAMP.
//!
//! Invariant: text keeps the escapes of SHOW CREATE TABLE, because the original does not undo them. Start at [`default`].

use crate::debezium::columns::{Form, Moment, Shape, rounded};
use crate::debezium::options::{Connector, Options};
use headwater_model::value::{Date, DateTime};
use headwater_model::{Column, Type, Value, calendar};

/// The default of `column`, as JSON.
pub(super) fn default(column: &Column, text: &str, shape: &Shape, options: &Options) -> Option<Vec<u8>> {
    let quoted = text.len() > 1 && text.starts_with('\'') && text.ends_with('\'');
    let inner = if quoted { &text[1..text.len() - 1] } else { text };
    // The original's reader of MariaDB's statements does not know hexadecimal literals.
    if options.is_exact()
        && options.connector == Connector::Mariadb
        && (text.starts_with("0x") || text.starts_with(['x', 'X']))
    {
        return None;
    }
    let unescaped = if options.is_exact() { inner.to_owned() } else { unescape(inner) };
    let inner = unescaped.as_str();
    let write = |value| written(shape, value);
    // A statement's literal is shown as it is; only the server pads what it prints.
    let unpadded = |bytes: &[u8]| match shape.form {
        Form::Bytes { mode, .. } if options.is_exact() => {
            let mut out = Vec::new();
            Form::Bytes { mode, fixed: 0 }.write(&mut out, Value::Bytes(bytes), &Moment::default()).then_some(out)
        }
        _ => written(shape, Value::Bytes(bytes)),
    };
    match &column.kind {
        Type::Int { bits, unsigned } => integer(inner, *bits, *unsigned, shape),
        Type::Float | Type::Double => write(Value::Double(inner.trim().parse().ok()?)),
        Type::Decimal { scale, .. } => {
            let text = rounded(inner.trim(), usize::try_from(*scale).unwrap_or(0))?;
            written(shape, Value::Decimal(&text))
        }
        Type::Year => {
            let year: u16 = inner.trim().parse().ok()?;
            write(Value::Year(year))
        }
        Type::Bit { .. } => write(Value::Bit(bits(text)?)),
        Type::Bytes { .. } if text.starts_with("0x") && options.is_exact() => {
            // It takes the last digit for a quote.
            unpadded(text.get(2..text.len() - 1)?.as_bytes())
        }
        Type::Bytes { .. } => match bit_literal(text) {
            Some(digits) if !options.is_exact() => write(Value::Bytes(&hex_bytes(digits)?)),
            Some(digits) => unpadded(digits.as_bytes()),
            None if quoted => unpadded(inner.as_bytes()),
            None => None,
        },
        Type::Enum { .. } | Type::Set { .. } if quoted => write(Value::Text(inner)),
        Type::Uuid if options.is_exact() => None,
        Type::Text { .. } | Type::Uuid | Type::Inet4 | Type::Inet6 if quoted => write(Value::Text(inner)),
        Type::Json if quoted => write(Value::Text(inner)),
        Type::Date => date(inner.trim(), column, quoted, shape),
        Type::Time { .. } if quoted => write(Value::Time(time(inner.trim())?)),
        Type::DateTime { .. } => date_time(inner.trim(), column, quoted, shape),
        Type::Timestamp { .. } => timestamp(inner.trim(), column, quoted, shape),
        _ => None,
    }
}

fn written(shape: &Shape, value: Value<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let moment = Moment { snapshot: true, ..Moment::default() };
    shape.form.write(&mut out, value, &moment).then_some(out)
}

/// The original rounds through a double, and then cuts the number to the width of its type.
fn integer(text: &str, bits: u8, unsigned: bool, shape: &Shape) -> Option<Vec<u8>> {
    let text = text.trim();
    if let Form::Decimal { .. } = shape.form {
        return written(shape, Value::Decimal(text));
    }
    let number = match text.parse::<i64>() {
        Ok(number) if number.unsigned_abs() < 1 << 53 => number,
        _ => (text.parse::<f64>().ok()? + 0.5).floor() as i64,
    };
    let number = match (bits, unsigned) {
        (..=16, false) => i64::from(number as i16),
        (..=32, false) => i64::from(number as i32),
        _ => number,
    };
    written(shape, Value::Int(number))
}

fn hex_bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    pairs.0.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// The digits of `b'101'`, `x'0f'` or `0x0f`.
fn bit_literal(text: &str) -> Option<&str> {
    if let Some(digits) = text.strip_prefix("0x") {
        return Some(digits);
    }
    let rest = text.strip_prefix(['b', 'B', 'x', 'X'])?;
    rest.strip_prefix('\'')?.strip_suffix('\'')
}

fn bits(text: &str) -> Option<u64> {
    match bit_literal(text) {
        Some(digits) if text.starts_with(['b', 'B']) => u64::from_str_radix(digits, 2).ok(),
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.trim_matches('\'').trim().parse().ok(),
    }
}

fn is_now(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    upper.starts_with("CURRENT_TIMESTAMP")
}

/// Whether a part of the date is zero.
fn is_zero(date: Date) -> bool {
    date.year == 0 || date.month == 0 || date.day == 0
}

const EPOCH: Date = Date { year: 1970, month: 1, day: 1 };

fn date(text: &str, column: &Column, quoted: bool, shape: &Shape) -> Option<Vec<u8>> {
    if !quoted && text != "0" {
        return None;
    }
    let parsed = parse_date(text.split(' ').next().unwrap_or_default()).filter(|date| !is_zero(*date));
    match parsed {
        Some(date) => written(shape, Value::Date(date)),
        None if column.nullable => None,
        None => written(shape, Value::Date(EPOCH)),
    }
}

fn date_time(text: &str, column: &Column, quoted: bool, shape: &Shape) -> Option<Vec<u8>> {
    let epoch = DateTime { date: EPOCH, hour: 0, minute: 0, second: 0, micros: 0 };
    if is_now(text) && !quoted {
        return written(shape, Value::DateTime(epoch));
    }
    if !quoted && text != "0" {
        return None;
    }
    match parse_date_time(text).filter(|at| !is_zero(at.date)) {
        Some(at) => written(shape, Value::DateTime(at)),
        None if column.nullable => None,
        None => written(shape, Value::DateTime(epoch)),
    }
}

fn timestamp(text: &str, column: &Column, quoted: bool, shape: &Shape) -> Option<Vec<u8>> {
    if !quoted && text != "0" && !is_now(text) {
        return None;
    }
    let at = parse_date_time(text).filter(|at| !is_zero(at.date) && quoted);
    let micros = at.and_then(calendar::unix_micros).filter(|micros| *micros != 0);
    match micros {
        // Defaults go another way than rows: with their declared fraction digits.
        Some(micros) => {
            let mut out = Vec::new();
            shape.form.write(&mut out, Value::Timestamp(micros), &Moment::default()).then_some(out)
        }
        None if column.nullable => None,
        None => written(shape, Value::Timestamp(0)).map(|_| b"\"1970-01-01T00:00:00Z\"".to_vec()),
    }
}

fn parse_date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let year = parts.next()?.parse().ok()?;
    let (month, day) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(Date { year, month, day })
}

fn parse_date_time(text: &str) -> Option<DateTime> {
    let (date, clock) = text.split_once(' ').unwrap_or((text, "00:00:00"));
    let micros = time(clock)?;
    let seconds = u64::try_from(micros / 1_000_000).ok()?;
    Some(DateTime {
        date: parse_date(date)?,
        hour: u8::try_from(seconds / 3_600).ok()?,
        minute: (seconds / 60 % 60) as u8,
        second: (seconds % 60) as u8,
        micros: (micros % 1_000_000) as u32,
    })
}

/// Microseconds of `-12:34:56.1`, of `12:34` and of a date and time's second part.
fn time(text: &str) -> Option<i64> {
    let text = text.rsplit(' ').next().unwrap_or(text);
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<i64> = clock.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let seconds = match parts[..] {
        [hours, minutes, seconds] => {
            hours.checked_mul(3_600)?.checked_add(minutes.checked_mul(60)?)?.checked_add(seconds)?
        }
        [hours, minutes] => hours.checked_mul(3_600)?.checked_add(minutes.checked_mul(60)?)?,
        _ => return None,
    };
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(6).collect();
    let micros = seconds.checked_mul(1_000_000)?.checked_add(digits.parse::<u32>().ok()?.into())?;
    Some(if negative { -micros } else { micros })
}

/// Undoes the escapes of a literal.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                chars.next();
                out.push('\'');
            }
            '\\' => out.push(match chars.next() {
                Some('0') => '\0',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(other) => other,
                None => '\\',
            }),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debezium::columns::shape;
    use crate::debezium::options::{Compat, Converter};

    #[test]
    fn literals_are_defaults_and_expressions_are_none() {
        let int = |bits, unsigned| Type::Int { bits, unsigned };
        let text = || Type::Text { charset: "utf8mb4".into() };
        for (kind, nullable, default, exact, right) in [
            (int(32, false), true, "42", Some("42"), Some("42")),
            (int(32, false), true, "(1 + 1)", None, None),
            (int(64, true), true, "18446744073709551615", Some("9223372036854775807"), Some("9223372036854775807")),
            (text(), true, "'it''s \\\\'", Some(r#""it''s \\\\""#), Some(r#""it's \\""#)),
            (Type::Bytes { fixed: None }, true, "0x00FF10", Some("\"MDBGRjE=\""), Some("\"AP8Q\"")),
            (Type::Bytes { fixed: Some(2) }, true, "'z'", Some("\"eg==\""), Some("\"egA=\"")),
            (Type::Bit { width: 20 }, true, "b'10000000001'", Some("\"AQQA\""), Some("\"AQQA\"")),
            (Type::Decimal { precision: 5, scale: 2 }, true, "1.50", Some("\"AJY=\""), Some("\"AJY=\"")),
            (Type::Year, true, "99", Some("1999"), Some("1999")),
            (Type::Time { fraction: 3 }, true, "'01:02:03.004'", Some("3723004000"), Some("3723004000")),
            (Type::DateTime { fraction: 0 }, true, "CURRENT_TIMESTAMP", Some("0"), Some("0")),
            (Type::DateTime { fraction: 0 }, true, "'0000-00-00 00:00:00'", None, None),
            (Type::DateTime { fraction: 0 }, false, "'0000-00-00 00:00:00'", Some("0"), Some("0")),
            (Type::Date, true, "'1999-09-09'", Some("10843"), Some("10843")),
            (Type::Timestamp { fraction: 0 }, true, "CURRENT_TIMESTAMP", None, None),
            (
                Type::Timestamp { fraction: 3 },
                false,
                "'2001-02-03 04:05:06.789'",
                Some("\"2001-02-03T04:05:06.789Z\""),
                Some("\"2001-02-03T04:05:06.789Z\""),
            ),
        ] {
            for (compat, shown) in [(Compat::Exact, exact), (Compat::Right, right)] {
                let options = Options { compat, ..Options::default() };
                let column = Column { nullable, ..Column::new("c", kind.clone(), "") };
                let shape = shape(&column, &options, Converter::default()).unwrap();
                let got = default_of(&column, default, &shape, &options);
                assert_eq!(got.as_deref(), shown, "{kind:?} {default} {compat:?}");
            }
        }
    }

    #[test]
    fn a_hexadecimal_literal_is_no_default_of_mariadb() {
        for (connector, compat, shown) in [
            (Connector::Mysql, Compat::Exact, Some("\"MDEwMg==\"")),
            (Connector::Mariadb, Compat::Exact, None),
            (Connector::Mariadb, Compat::Right, Some("\"AQI=\"")),
        ] {
            let options = Options { compat, connector, ..Options::default() };
            let column = Column::new("c", Type::Bytes { fixed: None }, "");
            let shape = shape(&column, &options, Converter::default()).unwrap();
            assert_eq!(default_of(&column, "x'0102'", &shape, &options).as_deref(), shown, "{connector:?} {compat:?}");
        }
    }

    fn default_of(column: &Column, text: &str, shape: &Shape, options: &Options) -> Option<String> {
        default(column, text, shape, options).map(|json| String::from_utf8(json).unwrap())
    }
}
