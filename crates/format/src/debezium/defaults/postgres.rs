//! Defaults of PostgreSQL: what the original makes of the expressions of `pg_get_expr`.
//!
//! Invariant: only literals are understood. Some types have a stand-in for what is computed by a function. Start at
//! [`default`].

use crate::debezium::columns::{Form, Moment, Shape, Unit, is_domain};
use headwater_model::value::{Date, DateTime};
use headwater_model::{Column, Type, Value, calendar};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The default of `column`, as JSON.
pub(super) fn default(column: &Column, text: &str, shape: &Shape) -> Option<Vec<u8>> {
    // The original looks for the type by its name, and domains have names of their own.
    if matches!(shape.form, Form::Never) || is_domain(&column.kind, &column.native) {
        return None;
    }
    match &column.kind {
        Type::Bit { width: 1 } => bool_bit(text, shape),
        Type::Bit { .. } | Type::BitString { varying: false, .. } => bits(extract(text, "00")?, shape),
        Type::BitString { .. } => bits(extract(text, "0")?, shape),
        Type::Bool => {
            let literal = extract(text, "false")?;
            write(shape, Value::Bool(literal.eq_ignore_ascii_case("true")))
        }
        Type::Text { .. } => text_default(column, text, shape),
        Type::Decimal { scale, .. } => {
            // It is not rounded, but understood or not.
            let literal = extract(text, "0.0")?;
            let fraction = literal.split_once('.').map_or("", |(_, fraction)| fraction.trim_end_matches('0'));
            let fits = *scale < 0 || fraction.len() <= usize::from(scale.unsigned_abs());
            fits.then(|| decimal(literal, shape))?
        }
        Type::Numeric => match shape.form {
            // A struct cannot be a default.
            Form::VariableDecimal => None,
            _ => decimal(extract(text, "0.0")?, shape),
        },
        Type::Float => write(shape, Value::Float(number(extract(text, "0.0")?)?.parse().ok()?)),
        Type::Double => write(shape, Value::Double(number(extract(text, "0.0")?)?.parse().ok()?)),
        Type::Int { unsigned: true, .. } => None,
        Type::Int { bits: 16, .. } => integer(extract(text, "0")?, i16::MIN.into(), i16::MAX.into(), shape),
        Type::Int { bits: 32, .. } => integer(extract(text, "0")?, i32::MIN.into(), i32::MAX.into(), shape),
        Type::Int { .. } => integer(extract(text, "0")?, i64::MIN, i64::MAX, shape),
        Type::Json => write(shape, Value::Text(extract(text, "{}")?)),
        Type::Uuid => {
            let literal = extract(text, "00000000-0000-0000-0000-000000000000")?;
            let lower = literal.to_ascii_lowercase();
            let plain = lower.len() == 36 && lower.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
            plain.then(|| write(shape, Value::Text(&lower)))?
        }
        Type::Date => {
            let date = date_time(extract(text, "1970-01-01")?)?.0.date;
            if date.is_infinite() { farthest_date(date, shape) } else { write(shape, Value::Date(date)) }
        }
        Type::Time { .. } => match clock(extract(text, "00:00")?)? {
            MICROS_PER_DAY => last_time(shape),
            micros => write(shape, Value::Time(micros)),
        },
        Type::DateTime { .. } => {
            let at = date_time(extract(text, "1970-01-01")?)?.0;
            if at.date.is_infinite() { farthest_date_time(at.date, shape) } else { write(shape, Value::DateTime(at)) }
        }
        Type::Timestamp { .. } => {
            let (at, offset) = date_time(extract(text, "1970-01-01")?)?;
            let micros = calendar::unix_micros(at)? - offset * 1_000_000;
            write(shape, Value::Timestamp(micros))
        }
        Type::Interval => interval(extract(text, "epoch")?, shape),
        Type::Enum { .. } => write(shape, Value::Text(enum_literal(text)?)),
        _ => None,
    }
}

fn write(shape: &Shape, value: Value<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let written = shape.form.write(&mut out, value, &Moment { exact: true, ..Moment::default() });
    written.then_some(out)
}

/// The literal of an expression, or `computed` where a function makes the value.
fn extract<'a>(text: &'a str, computed: &'a str) -> Option<&'a str> {
    const CLOCKS: &[&str] = &["current_timestamp", "current_time", "current_date", "localtime", "localtimestamp"];
    if is_call(text) || CLOCKS.iter().any(|clock| text.eq_ignore_ascii_case(clock)) {
        return Some(computed);
    }
    if !text.contains('\'') {
        return (!text.starts_with("NULL::")).then_some(text);
    }
    // Up to the next quote, even one of a pair; a line's end is never between them.
    let is_line = |between: &&str| !between.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']);
    let between = text.split('\'');
    let last = text.matches('\'').count();
    between.take(last).skip(1).find(is_line)
}

/// Whether the text begins with a call of a function.
fn is_call(text: &str) -> bool {
    let rest = text.strip_prefix('(').unwrap_or(text);
    let name = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')).count();
    name > 0 && rest[name..].starts_with('(') && rest[name..].contains(')')
}

fn bool_bit(text: &str, shape: &Shape) -> Option<Vec<u8>> {
    let literal = extract(text, "00")?;
    let set = if literal.len() == 1 { literal == "1" } else { u64::from_str_radix(literal, 2).ok()? != 0 };
    write(shape, Value::Bool(set))
}

/// Infinite dates and times are the farthest ones that Java has.
fn farthest_date(date: Date, shape: &Shape) -> Option<Vec<u8>> {
    // Their days, cut to 32 bits.
    let (days, text) = match date == Date::INFINITY {
        true => (169_560_311, "\"+999999999-12-31Z\""),
        false => (-170_999_002, "\"-999999999-01-01Z\""),
    };
    Some(if shape.form == Form::Date(Unit::Iso) { text.into() } else { days.to_string().into_bytes() })
}

fn farthest_date_time(date: Date, shape: &Shape) -> Option<Vec<u8>> {
    match (&shape.form, date == Date::INFINITY) {
        // Cut off at 64 bits before its fraction is added.
        (Form::DateTime(Unit::Micros), true) => Some(i64::MAX.wrapping_add(999_999).to_string().into_bytes()),
        (Form::DateTime(Unit::Micros), false) => Some(i64::MIN.to_string().into_bytes()),
        (Form::DateTime(Unit::Iso), true) => Some(b"\"+999999999-12-31T23:59:59.999999999Z\"".to_vec()),
        (Form::DateTime(Unit::Iso), false) => Some(b"\"-999999999-01-01T00:00:00Z\"".to_vec()),
        _ => None,
    }
}

/// The end of a day is the last time of it that Java has.
fn last_time(shape: &Shape) -> Option<Vec<u8>> {
    let shown: &[u8] = match &shape.form {
        Form::ConnectTime | Form::Time(Unit::Millis) => b"86399999",
        Form::Time(Unit::Micros) => b"86399999999",
        Form::Time(Unit::Nanos) => b"86399999999999",
        Form::Time(Unit::Iso) => b"\"23:59:59.999999999Z\"",
        _ => return None,
    };
    Some(shown.to_vec())
}

/// Whatever the text is, its ones are bits.
fn bits(literal: &str, shape: &Shape) -> Option<Vec<u8>> {
    let mut bytes = vec![0u8; literal.len().div_ceil(8)];
    for (index, digit) in literal.bytes().enumerate() {
        bytes[index / 8] |= u8::from(digit == b'1') << (7 - index % 8);
    }
    write(shape, Value::BitString { bits: literal.len() as u32, bytes: &bytes })
}

fn text_default(column: &Column, text: &str, shape: &Shape) -> Option<Vec<u8>> {
    let name = column.native.split('(').next().unwrap_or_default().trim();
    let known = ["text", "character varying", "varchar", "character", "char", "bpchar", "xml"].contains(&name);
    known.then(|| write(shape, Value::Text(extract(text, "")?)))?
}

/// A number without the brackets that PostgreSQL puts around a negative one.
fn number(literal: &str) -> Option<&str> {
    let digits = literal.trim();
    let valid = digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'));
    (valid || matches!(digits, "NaN" | "Infinity" | "-Infinity")).then_some(digits)
}

fn decimal(literal: &str, shape: &Shape) -> Option<Vec<u8>> {
    let digits = number(literal).filter(|digits| !digits.ends_with(['N', 'y']))?;
    write(shape, Value::Decimal(digits))
}

fn integer(literal: &str, least: i64, most: i64, shape: &Shape) -> Option<Vec<u8>> {
    let value: i64 = literal.trim().parse().ok()?;
    (least..=most).contains(&value).then(|| write(shape, Value::Int(value)))?
}

/// `'a'::public.mood`: the whole of what stands between the quotes.
fn enum_literal(text: &str) -> Option<&str> {
    let (literal, _) = text.rsplit_once("::")?;
    literal.strip_prefix('\'')?.strip_suffix('\'')
}

/// A date and time as PostgreSQL prints it, and its distance from UTC in seconds.
fn date_time(text: &str) -> Option<(DateTime, i64)> {
    let text = text.trim();
    let infinite = |date| Some((DateTime { date, hour: 0, minute: 0, second: 0, micros: 0 }, 0));
    match text {
        "infinity" => return infinite(Date::INFINITY),
        "-infinity" => return infinite(Date::NEG_INFINITY),
        _ => {}
    }
    let (text, before_christ) = text.strip_suffix(" BC").map_or((text, false), |rest| (rest, true));
    let (day, rest) = text.split_once([' ', 'T']).unwrap_or((text, "00:00:00"));
    let mut parts = day.split('-');
    let year: i32 = parts.next()?.parse().ok()?;
    let (month, day) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let year = if before_christ { 1 - year } else { year };
    let (rest, offset) = zone(rest)?;
    let micros = clock(rest)?;
    let seconds = u64::try_from(micros / 1_000_000).ok()?;
    let at = DateTime {
        date: Date { year, month, day },
        hour: u8::try_from(seconds / 3_600).ok()?,
        minute: (seconds / 60 % 60) as u8,
        second: (seconds % 60) as u8,
        micros: (micros % 1_000_000) as u32,
    };
    Some((at, offset))
}

/// Takes `+02` or `-05:30` off the end of a time.
fn zone(text: &str) -> Option<(&str, i64)> {
    let Some(at) = text.rfind(['+', '-']) else { return Some((text.trim_end_matches('Z'), 0)) };
    let (clock, zone) = text.split_at(at);
    let mut seconds = 0;
    for (part, unit) in zone[1..].split(':').zip([3_600, 60, 1]) {
        seconds += part.parse::<i64>().ok()? * unit;
    }
    Some((clock, if zone.starts_with('-') { -seconds } else { seconds }))
}

fn clock(text: &str) -> Option<i64> {
    let (clock, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let mut seconds = 0i64;
    for (part, unit) in clock.split(':').zip([3_600, 60, 1]) {
        seconds = seconds.checked_add(part.parse::<i64>().ok()?.checked_mul(unit)?)?;
    }
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(6).collect();
    seconds.checked_mul(1_000_000)?.checked_add(digits.parse::<u32>().ok()?.into())
}

/// `1 year 2 mons 3 days 04:05:06.789`.
fn interval(text: &str, shape: &Shape) -> Option<Vec<u8>> {
    let (mut months, mut days, mut micros) = (0i32, 0i32, 0i64);
    let mut words = text.split_whitespace();
    while let Some(word) = words.next().filter(|word| *word != "epoch") {
        if word.contains(':') {
            let (negative, rest) = word.strip_prefix('-').map_or((false, word), |rest| (true, rest));
            let value = clock(rest.trim_start_matches('+'))?;
            micros = if negative { -value } else { value };
            continue;
        }
        let count: i32 = word.trim_start_matches('+').parse().ok()?;
        match words.next()?.trim_end_matches('s') {
            "year" => months = months.checked_add(count.checked_mul(12)?)?,
            "mon" | "month" => months = months.checked_add(count)?,
            "day" => days = days.checked_add(count)?,
            _ => return None,
        }
    }
    write(shape, Value::Interval { months, days, micros })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debezium::Options;
    use crate::debezium::columns::shape;
    use crate::debezium::options::{Connector, Converter};

    #[test]
    fn only_what_the_original_understands_is_a_default() {
        let options = Options { connector: Connector::Postgresql, ..Options::default() };
        let int = Type::Int { bits: 32, unsigned: false };
        let text = Type::Text { charset: "utf8".into() };
        for (kind, native, default, shown) in [
            (int.clone(), "integer", "nextval('t_id_seq'::regclass)", Some("0")),
            (int.clone(), "integer", "'-42'::integer", Some("-42")),
            (int.clone(), "integer", "(1 + 2)", None),
            (int.clone(), "posint", "5", None),
            (int, "integer", "99999999999", None),
            (text.clone(), "text", "'it''s'::text", Some("\"it\"")),
            (text.clone(), "character varying(9)", "CURRENT_USER", Some("\"CURRENT_USER\"")),
            (text.clone(), "text", "'new\nline'::text", None),
            (text, "inet", "'1.2.3.4'::inet", None),
            (Type::Bool, "boolean", "true", Some("true")),
            (Type::Uuid, "uuid", "gen_random_uuid()", Some("\"00000000-0000-0000-0000-000000000000\"")),
            (Type::Decimal { precision: 6, scale: 2 }, "numeric(6,2)", "1.5", Some("\"AJY=\"")),
            (Type::Numeric, "numeric", "1.5", None),
            (Type::Date, "date", "CURRENT_DATE", Some("0")),
            (Type::Date, "date", "'1999-12-31'::date", Some("10956")),
            (Type::Interval, "interval", "'1 day'::interval", Some("86400000000")),
            (
                Type::Timestamp { fraction: 6 },
                "timestamp with time zone",
                "'2001-02-03 04:05:06.070809+03'::timestamp with time zone",
                Some("\"2001-02-03T01:05:06.070809Z\""),
            ),
            (Type::Enum { members: vec!["a".into()] }, "mood", "'it''s'::mood", Some("\"it''s\"")),
            (Type::Bytes { fixed: None }, "bytea", "'\\x00'::bytea", None),
            (Type::Decimal { precision: 4, scale: 1 }, "numeric(4,1)", "1.25", None),
            (Type::Decimal { precision: 4, scale: 1 }, "numeric(4,1)", "1.50", Some("\"Dw==\"")),
            (Type::Decimal { precision: 4, scale: 1 }, "numeric(4,1)", "'NaN'::numeric", None),
            (Type::Bit { width: 3 }, "bit(3)", "(5)::bit(3)", Some("\"\"")),
            (Type::BitString { width: Some(4), varying: true }, "bit varying(4)", "''::\"bit\"", Some("\"\"")),
            (Type::Date, "date", "'infinity'::date", Some("169560311")),
            (Type::Date, "date", "'-infinity'::date", Some("-170999002")),
            (
                Type::Time { fraction: 6 },
                "time without time zone",
                "'24:00:00'::time without time zone",
                Some("86399999999"),
            ),
            (
                Type::DateTime { fraction: 6 },
                "timestamp without time zone",
                "'-infinity'::timestamp without time zone",
                Some("-9223372036854775808"),
            ),
            (
                Type::DateTime { fraction: 3 },
                "timestamp(3) without time zone",
                "'infinity'::timestamp without time zone",
                None,
            ),
        ] {
            let column = Column::new("c", kind, native);
            let shape = shape(&column, &options, Converter::default()).unwrap();
            let got = super::default(&column, default, &shape).map(|json| String::from_utf8(json).unwrap());
            assert_eq!(got.as_deref(), shown, "{native} {default}");
        }
    }
}
