//! The types of columns, as DDL writes them.
//!
//! Invariant: every synonym ends as the one [`Native`] that the server itself would make of it. What depends on the
//! character set, which may be named later in the statement, is left to [`super::column`].

use super::cursor::{Cursor, Parsed};
use super::native::{BINARY, Native, Sign};
use super::server::{Server, Session, sql_mode};

/// A type as written.
pub(crate) struct WrittenType {
    pub native: Native,
    /// The character set that the type's name implies.
    pub charset: Option<String>,
    /// n of TEXT(n) and BLOB(n), which choose the size class.
    pub length: Option<u64>,
    /// SERIAL: NOT NULL, AUTO_INCREMENT and UNIQUE.
    pub serial: bool,
    /// The name that was written, where Debezium makes another type of it than of the one that the server prints.
    pub alias: Option<&'static str>,
}

impl WrittenType {
    fn new(native: Native) -> Self {
        WrittenType { native, charset: None, length: None, serial: false, alias: None }
    }

    fn with_charset(mut self, charset: &str) -> Self {
        self.charset = Some(charset.to_owned());
        self
    }
}

/// What the text does not say but its reading depends on.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub server: Server,
    pub session: &'a Session<'a>,
}

/// A type and its UNSIGNED and ZEROFILL.
pub(crate) fn parse_type(cursor: &mut Cursor<'_>, context: Context<'_>) -> Parsed<WrittenType> {
    // MariaDB writes `mariadb_schema.date` where the session's mode would read a bare name otherwise.
    let mut oracle = context.server.mariadb && context.session.has(sql_mode::ORACLE);
    if cursor.sees_symbol_at(1, b'.') {
        oracle = cursor.sees_word(0, "oracle_schema");
        cursor.step();
        cursor.step();
    }
    let word = cursor.upper_word();
    if word.is_empty() {
        return cursor.expected("a type");
    }
    let start = cursor.position();
    cursor.step();
    let parsed = match parse_number(cursor, context, &word)? {
        Some(native) => Some(WrittenType { serial: word == "SERIAL", ..WrittenType::new(native) }),
        None => match parse_text(cursor, &word, oracle)? {
            Some(written) => Some(written),
            None => parse_other(cursor, context, &word, oracle)?.map(|native| match native {
                Native::JsonText => WrittenType::new(native).with_charset("utf8mb4"),
                native => WrittenType::new(native),
            }),
        },
    };
    let written =
        parsed.ok_or(super::cursor::SyntaxError { expected: "a type known to this version", position: start })?;
    Ok(WrittenType { alias: alias(&word, context.server), ..written })
}

/// The names that Debezium's reader of statements takes for types of their own. SHOW CREATE TABLE prints none of them.
fn alias(word: &str, server: Server) -> Option<&'static str> {
    match word {
        "BOOL" => Some("bool"),
        "BOOLEAN" => Some("boolean"),
        "REAL" => Some("real"),
        "FLOAT4" => Some("float4"),
        "JSON" if server.mariadb => Some("json"),
        _ => None,
    }
}

fn parse_number(cursor: &mut Cursor<'_>, context: Context<'_>, word: &str) -> Parsed<Option<Native>> {
    let bits = match word {
        "TINYINT" | "INT1" | "BOOL" | "BOOLEAN" => 8,
        "SMALLINT" | "INT2" => 16,
        "MEDIUMINT" | "INT3" | "MIDDLEINT" => 24,
        "INT" | "INTEGER" | "INT4" => 32,
        "BIGINT" | "INT8" | "SERIAL" => 64,
        _ => return parse_fraction(cursor, context, word),
    };
    let written = if word.starts_with("BOOL") { Some(1) } else { length(cursor)? };
    let mut sign = sign(cursor);
    sign.unsigned |= word == "SERIAL";
    let standard = match (bits, sign.unsigned) {
        (8, signed) => 4 - u16::from(signed),
        (16, signed) => 6 - u16::from(signed),
        (24, signed) => 9 - u16::from(signed),
        (32, signed) => 11 - u16::from(signed),
        _ => 20,
    };
    let width = written.and_then(|width| u16::try_from(width).ok()).filter(|width| *width > 0).unwrap_or(standard);
    // Newer MySQL keeps the width where it means something: booleans by convention, and the zeros to fill.
    let prints = context.server.prints_widths() || sign.zerofill || (bits == 8 && width == 1 && !sign.unsigned);
    Ok(Some(Native::Int { bits, width: prints.then_some(width), sign }))
}

fn parse_fraction(cursor: &mut Cursor<'_>, context: Context<'_>, word: &str) -> Parsed<Option<Native>> {
    /// FLOAT(p) with a larger p is a DOUBLE.
    const FLOAT_PRECISION_MAX: u16 = 24;
    let real_is_float = context.session.has(sql_mode::REAL_AS_FLOAT);
    let native = match word {
        "FLOAT" | "FLOAT4" | "REAL" | "DOUBLE" | "FLOAT8" => {
            cursor.eat_any(&["PRECISION"]);
            let digits = digits(cursor)?;
            let sign = sign(cursor);
            let single = word == "FLOAT" || word == "FLOAT4" || (word == "REAL" && real_is_float);
            match digits {
                Some((precision, None)) if single && precision > FLOAT_PRECISION_MAX => {
                    Native::Double { digits: None, sign }
                }
                Some((precision, Some(scale))) if single => Native::Float { digits: Some((precision, scale)), sign },
                Some((precision, Some(scale))) => Native::Double { digits: Some((precision, scale)), sign },
                _ if single => Native::Float { digits: None, sign },
                _ => Native::Double { digits: None, sign },
            }
        }
        "DECIMAL" | "DEC" | "FIXED" | "NUMERIC" | "NUMBER" => {
            let digits = digits(cursor)?;
            let sign = sign(cursor);
            match digits {
                // Oracle's NUMBER without digits is a float.
                None if word == "NUMBER" => Native::Double { digits: None, sign },
                None | Some((0, None | Some(0))) => Native::Decimal { precision: 10, scale: 0, sign },
                Some((precision, scale)) => Native::Decimal { precision, scale: scale.unwrap_or(0), sign },
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(native))
}

fn parse_text(cursor: &mut Cursor<'_>, word: &str, oracle: bool) -> Parsed<Option<WrittenType>> {
    const NATIONAL: &str = "utf8mb3";
    let varying = |cursor: &mut Cursor<'_>| cursor.eat_any(&["VARYING", "VARCHAR", "VARCHARACTER"]);
    let written = match word {
        "CHAR" | "CHARACTER" => characters(cursor, word, false)?,
        "VARCHAR" | "VARCHARACTER" | "VARCHAR2" => characters(cursor, word, true)?,
        "NVARCHAR" => characters(cursor, word, true)?.with_charset(NATIONAL),
        "NCHAR" => {
            let varying = varying(cursor);
            characters(cursor, word, varying)?.with_charset(NATIONAL)
        }
        "NATIONAL" => {
            let plain = cursor.eat_any(&["CHAR", "CHARACTER"]);
            let varies = varying(cursor);
            if !plain && !varies {
                return cursor.expected("CHAR or VARCHAR");
            }
            characters(cursor, word, varies)?.with_charset(NATIONAL)
        }
        "BINARY" => characters(cursor, word, false)?.with_charset(BINARY),
        "VARBINARY" | "RAW" => characters(cursor, word, true)?.with_charset(BINARY),
        "LONG" => {
            let binary = cursor.eat_any(&["VARBINARY"]);
            if !binary && cursor.eat_any(&["VARCHAR", "VARCHARACTER", "CHAR", "CHARACTER"]) {
                cursor.eat_any(&["VARYING"]);
            }
            let written = WrittenType::new(Native::Text { size: 3 });
            if binary { written.with_charset(BINARY) } else { written }
        }
        "CLOB" => WrittenType::new(Native::Text { size: 4 }),
        _ => {
            let Some(size) = text_size(word) else { return Ok(None) };
            let length = length(cursor)?;
            let size = if oracle && word == "BLOB" { 4 } else { size };
            let length = length.filter(|_| size == 2);
            let written = WrittenType { length, ..WrittenType::new(Native::Text { size }) };
            if word.ends_with("BLOB") { written.with_charset(BINARY) } else { written }
        }
    };
    Ok(Some(written))
}

fn text_size(word: &str) -> Option<u8> {
    Some(match word {
        "TINYTEXT" | "TINYBLOB" => 1,
        "TEXT" | "BLOB" => 2,
        "MEDIUMTEXT" | "MEDIUMBLOB" => 3,
        "LONGTEXT" | "LONGBLOB" => 4,
        _ => return None,
    })
}

/// The rest of CHAR(n), VARCHAR(n), BINARY(n) and VARBINARY(n).
fn characters(cursor: &mut Cursor<'_>, word: &str, varies: bool) -> Parsed<WrittenType> {
    let varies = varies || (word.starts_with("CHAR") && cursor.eat_any(&["VARYING"]));
    let length = match length(cursor)? {
        None => 1,
        Some(length) => match u32::try_from(length) {
            Ok(length) => length,
            Err(_) => return cursor.expected("a length below 4294967296"),
        },
    };
    Ok(WrittenType::new(if varies { Native::VarChar { length } } else { Native::Char { length } }))
}

fn parse_other(cursor: &mut Cursor<'_>, context: Context<'_>, word: &str, oracle: bool) -> Parsed<Option<Native>> {
    Ok(Some(match word {
        "BIT" => Native::Bit { width: length(cursor)?.and_then(|width| u8::try_from(width).ok()).unwrap_or(1).max(1) },
        "YEAR" => {
            length(cursor)?;
            sign(cursor);
            Native::Year { width: context.server.prints_widths() }
        }
        "DATE" if oracle => Native::DateTime { fraction: 0 },
        "DATE" => Native::Date,
        "TIME" => Native::Time { fraction: fraction(cursor)? },
        "DATETIME" => Native::DateTime { fraction: fraction(cursor)? },
        "TIMESTAMP" => Native::Timestamp { fraction: fraction(cursor)? },
        "ENUM" => Native::Enum { members: members(cursor)? },
        "SET" => Native::Set { members: members(cursor)? },
        "JSON" if context.server.mariadb => Native::JsonText,
        "JSON" => Native::Json,
        "UUID" => Native::Uuid,
        "INET4" => Native::Inet4,
        "INET6" => Native::Inet6,
        "VECTOR" => {
            /// MySQL's, when none is written.
            const DIMENSIONS: u32 = 2_048;
            Native::Vector { dimensions: length(cursor)?.and_then(|n| u32::try_from(n).ok()).unwrap_or(DIMENSIONS) }
        }
        "GEOMETRY" | "POINT" | "LINESTRING" | "POLYGON" | "MULTIPOINT" | "MULTILINESTRING" | "MULTIPOLYGON" => {
            length(cursor)?;
            Native::Geometry { name: word.to_ascii_lowercase() }
        }
        "GEOMETRYCOLLECTION" | "GEOMCOLLECTION" => {
            let name = if context.server.mariadb { "geometrycollection" } else { "geomcollection" };
            Native::Geometry { name: name.to_owned() }
        }
        _ => return Ok(None),
    }))
}

/// `(n)`, if there is one.
fn length(cursor: &mut Cursor<'_>) -> Parsed<Option<u64>> {
    if !cursor.eat_symbol(b'(') {
        return Ok(None);
    }
    let length = cursor.number()?;
    // Oracle's VARCHAR2(10 CHAR) names the unit.
    cursor.eat_any(&["CHAR", "BYTE"]);
    cursor.symbol(b')', "`)` after a length")?;
    Ok(Some(length))
}

fn fraction(cursor: &mut Cursor<'_>) -> Parsed<u8> {
    match length(cursor)? {
        None => Ok(0),
        Some(digits @ 0..=6) => Ok(digits as u8),
        Some(_) => cursor.expected("at most 6 digits of a second"),
    }
}

/// `(p)` or `(p,s)`, if there is one.
fn digits(cursor: &mut Cursor<'_>) -> Parsed<Option<(u16, Option<u16>)>> {
    if !cursor.eat_symbol(b'(') {
        return Ok(None);
    }
    let precision = cursor.number()?;
    let scale = if cursor.eat_symbol(b',') { Some(cursor.number()?) } else { None };
    cursor.symbol(b')', "`)` after a precision")?;
    let narrow = |digits: u64| u16::try_from(digits).unwrap_or(u16::MAX);
    Ok(Some((narrow(precision), scale.map(narrow))))
}

fn sign(cursor: &mut Cursor<'_>) -> Sign {
    let mut sign = Sign::default();
    loop {
        if cursor.eat_any(&["UNSIGNED"]) {
            sign.unsigned = true;
        } else if cursor.eat_any(&["ZEROFILL"]) {
            sign = Sign { unsigned: true, zerofill: true };
        } else if !cursor.eat_any(&["SIGNED"]) {
            return sign;
        }
    }
}

fn members(cursor: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    cursor.symbol(b'(', "the members")?;
    let mut members = Vec::new();
    loop {
        // The server takes trailing spaces away.
        members.push(cursor.string()?.trim_end_matches(' ').to_owned());
        if !cursor.eat_symbol(b',') {
            cursor.symbol(b')', "`)` after the members")?;
            return Ok(members);
        }
    }
}
