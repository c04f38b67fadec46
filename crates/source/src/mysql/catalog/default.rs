//! Default values: an SQL literal or expression, in one spelling for each value.
//!
//! DDL and SHOW CREATE TABLE write the same default in several ways (`5` and `'5'` for a number). Invariant: a number's
//! default leaves here bare and every other literal quoted; expressions stay as written.

use super::cursor::{Cursor, Parsed};
use super::lexer::TokenKind;
use super::native::{Native, quote};
use super::server::Server;

/// After DEFAULT: the literal or expression; `None` for NULL.
pub(crate) fn parse_default(cursor: &mut Cursor<'_>, server: Server) -> Parsed<Option<String>> {
    if cursor.eat_any(&["NULL"]) {
        return Ok(None);
    }
    if let Some(now) = parse_now(cursor, server)? {
        return Ok(Some(now));
    }
    let start = cursor.position();
    let literal = parse_literal(cursor)?;
    if literal.is_some() && !at_operator(cursor) {
        return Ok(literal);
    }
    if literal.is_none() {
        skip_operand(cursor)?;
    }
    while at_operator(cursor) {
        cursor.step();
        if !at_operator(cursor) {
            skip_operand(cursor)?;
        }
    }
    Ok(cursor.text.get(start..cursor.last_end()).map(str::to_owned))
}

/// CURRENT_TIMESTAMP and its synonyms, as this server prints them.
fn parse_now(cursor: &mut Cursor<'_>, server: Server) -> Parsed<Option<String>> {
    if !cursor.eat_any(&["CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"]) {
        return Ok(None);
    }
    let mut digits = None;
    if cursor.eat_symbol(b'(') {
        if !cursor.sees_symbol(b')') {
            digits = Some(cursor.number()?).filter(|digits| *digits > 0);
        }
        cursor.symbol(b')', "`)`")?;
    }
    Ok(Some(match (digits, server.mariadb) {
        (Some(digits), true) => format!("current_timestamp({digits})"),
        (Some(digits), false) => format!("CURRENT_TIMESTAMP({digits})"),
        (None, true) => "current_timestamp()".to_owned(),
        (None, false) => "CURRENT_TIMESTAMP".to_owned(),
    }))
}

/// A literal with its sign, introducer or type in front.
fn parse_literal(cursor: &mut Cursor<'_>) -> Parsed<Option<String>> {
    if cursor.eat_any(&["TRUE"]) {
        return Ok(Some("1".to_owned()));
    }
    if cursor.eat_any(&["FALSE"]) {
        return Ok(Some("0".to_owned()));
    }
    let sign = if cursor.eat_symbol(b'-') { "-" } else { "" };
    if sign.is_empty() {
        cursor.eat_symbol(b'+');
    }
    let literal = match cursor.peek() {
        Some(TokenKind::Number(text)) => format!("{sign}{text}"),
        Some(TokenKind::Text(text)) => quote(text),
        Some(TokenKind::Bits) => cursor.source().to_owned(),
        Some(TokenKind::Word(word)) if word.starts_with('_') || is_temporal(word) => {
            cursor.step();
            match cursor.peek() {
                Some(TokenKind::Text(text)) => quote(text),
                Some(TokenKind::Bits) => cursor.source().to_owned(),
                _ => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    cursor.step();
    Ok(Some(literal))
}

fn is_temporal(word: &str) -> bool {
    ["DATE", "TIME", "TIMESTAMP"].iter().any(|temporal| word.eq_ignore_ascii_case(temporal))
}

/// One operand of an expression: a group, a literal, or a name or function with its arguments.
fn skip_operand(cursor: &mut Cursor<'_>) -> Parsed<()> {
    if cursor.eat(&["NEXT", "VALUE", "FOR"]) {
        return cursor.table().map(|_| ());
    }
    if cursor.at_item_end() {
        return cursor.expected("a default value");
    }
    let group = cursor.sees_symbol(b'(');
    cursor.skip_one()?;
    while cursor.eat_symbol(b'.') {
        cursor.name()?;
    }
    if group { Ok(()) } else { cursor.skip_group() }
}

fn at_operator(cursor: &Cursor<'_>) -> bool {
    matches!(
        cursor.peek(),
        Some(TokenKind::Symbol(
            b'+' | b'-' | b'*' | b'/' | b'%' | b'|' | b'&' | b'^' | b'<' | b'>' | b'=' | b'!' | b'~'
        ))
    ) || cursor.sees_any(&["DIV", "MOD", "AND", "OR", "XOR"])
}

/// The one spelling of a literal for a column of this type.
pub(crate) fn canonical_default(native: &Native, text: String) -> String {
    let number = match native {
        Native::Int { .. }
        | Native::Float { .. }
        | Native::Double { .. }
        | Native::Decimal { .. }
        | Native::Year { .. } => text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap_or(&text),
        Native::Bit { .. } => return text,
        _ if is_number(&text) => return quote(&text),
        _ => return text,
    };
    if !is_number(number) {
        return text;
    }
    match native {
        Native::Decimal { scale, .. } => with_scale(number, usize::from(*scale)),
        _ => number.to_owned(),
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && text.parse::<f64>().is_ok()
}

/// A decimal with exactly so many digits after the point, if that only takes zeros.
fn with_scale(number: &str, scale: usize) -> String {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if number.contains(['e', 'E']) || fraction.len() > scale {
        return number.to_owned();
    }
    let whole = if matches!(whole, "" | "-") { format!("{whole}0") } else { whole.to_owned() };
    if scale == 0 { whole } else { format!("{whole}.{fraction:0<scale$}") }
}
