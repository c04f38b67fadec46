//! One column's definition, as CREATE TABLE and ALTER TABLE write it.
//!
//! Attributes that do not change what rows look like are stepped over, known or not. Invariant: what depends on the
//! table's character set waits for [`WrittenColumn::settle`], because the table's options come after its columns.

use super::charset;
use super::cursor::{Cursor, Parsed};
use super::default::{canonical_default, parse_default};
use super::lexer::TokenKind;
use super::native::{BINARY, Native};
use super::table::{ColumnDef, Generated};
use super::types::{Context, WrittenType, parse_type};

/// A column as written.
#[derive(Clone, Debug)]
pub(crate) struct WrittenColumn {
    pub name: String,
    native: Native,
    alias: Option<&'static str>,
    /// n of TEXT(n) and BLOB(n).
    length: Option<u64>,
    charset: Option<String>,
    /// NULL or NOT NULL, where one is written or implied.
    nullable: Option<bool>,
    /// NOT NULL is written, or PRIMARY KEY or SERIAL, which say the same.
    says_not_null: bool,
    default: Option<String>,
    comment: Option<String>,
    hidden: bool,
    compressed: bool,
    generated: Option<Generated>,
    pub unique: bool,
    pub primary: bool,
    /// WITH SYSTEM VERSIONING on the column makes the table versioned.
    pub versioned: bool,
}

/// The longest CHAR or VARCHAR in bytes; the server makes a TEXT of a longer one where its mode allows that.
pub(crate) const VARCHAR_BYTES_MAX: u64 = 65_535;

/// A name, a type and attributes, up to the end of the item, or to FIRST or AFTER.
pub(crate) fn parse_column(cursor: &mut Cursor<'_>, context: Context<'_>) -> Parsed<WrittenColumn> {
    let name = cursor.column()?;
    let WrittenType { native, charset, length, serial, alias } = parse_type(cursor, context)?;
    let implicit = context.session.implicit_timestamps && matches!(native, Native::Timestamp { .. });
    let mut column = WrittenColumn {
        name,
        native,
        alias,
        length,
        charset,
        nullable: (serial || implicit).then_some(false),
        says_not_null: serial,
        default: None,
        comment: None,
        hidden: false,
        compressed: false,
        generated: None,
        unique: serial,
        primary: false,
        versioned: false,
    };
    while !cursor.at_item_end() && !(cursor.sees_any(&["FIRST", "AFTER"])) {
        if !parse_null(cursor, &mut column) && !parse_text_attribute(cursor, &mut column)? {
            parse_attribute(cursor, context, &mut column)?;
        }
    }
    Ok(column)
}

fn parse_null(cursor: &mut Cursor<'_>, column: &mut WrittenColumn) -> bool {
    if cursor.eat(&["NOT", "NULL"]) {
        (column.nullable, column.says_not_null) = (Some(false), true);
    } else if cursor.eat_any(&["NULL"]) {
        (column.nullable, column.says_not_null) = (Some(true), false);
    } else if cursor.eat_any(&["AUTO_INCREMENT"]) {
        column.nullable = Some(false);
    } else if cursor.eat(&["SERIAL", "DEFAULT", "VALUE"]) {
        (column.nullable, column.says_not_null) = (Some(false), true);
        column.unique = true;
    } else {
        return false;
    }
    true
}

fn parse_text_attribute(cursor: &mut Cursor<'_>, column: &mut WrittenColumn) -> Parsed<bool> {
    if cursor.eat(&["CHARACTER", "SET"]) || cursor.eat(&["CHAR", "SET"]) || cursor.eat_any(&["CHARSET"]) {
        column.charset = cursor.charset_value(false)?;
    } else if cursor.eat_any(&["COLLATE"]) {
        // A collation belongs to one character set, so this agrees with what CHARACTER SET says, if anything.
        if let Some(charset) = cursor.charset_value(true)? {
            column.charset = Some(charset);
        }
    } else if cursor.eat_any(&["ASCII"]) {
        column.charset = Some("latin1".to_owned());
    } else if cursor.eat_any(&["UNICODE"]) {
        column.charset = Some("ucs2".to_owned());
    } else if cursor.eat_any(&["BYTE"]) {
        column.charset = Some(BINARY.to_owned());
    } else {
        // BINARY chooses a collation, not a character set.
        return Ok(cursor.eat_any(&["BINARY"]));
    }
    Ok(true)
}

fn parse_attribute(cursor: &mut Cursor<'_>, context: Context<'_>, column: &mut WrittenColumn) -> Parsed<()> {
    if cursor.eat_any(&["DEFAULT"]) {
        column.default = parse_default(cursor, context.server)?;
    } else if cursor.eat_any(&["ON"]) {
        skip_event_action(cursor)?;
    } else if cursor.eat_any(&["UNIQUE"]) {
        cursor.eat_any(&["KEY"]);
        column.unique = true;
    } else if cursor.eat_any(&["PRIMARY"]) || cursor.sees_any(&["KEY"]) {
        cursor.eat_any(&["KEY"]);
        (column.primary, column.says_not_null) = (true, true);
    } else if cursor.eat(&["GENERATED", "ALWAYS"]) || cursor.sees_any(&["AS"]) {
        parse_generated(cursor, column)?;
    } else if cursor.eat_any(&["INVISIBLE"]) {
        column.hidden = true;
    } else if cursor.eat_any(&["COMPRESSED"]) {
        column.compressed = true;
    } else if cursor.eat(&["WITH", "SYSTEM", "VERSIONING"]) {
        column.versioned = true;
    } else if cursor.eat_any(&["REFERENCES"]) {
        skip_references(cursor)?;
    } else if cursor.eat_any(&["CHECK"]) {
        parse_check(cursor, context, column)?;
    } else if cursor.eat_any(&["CONSTRAINT"]) {
        // The name may be left out.
        if !cursor.sees_any(&["CHECK", "REFERENCES"]) {
            cursor.name()?;
        }
    } else if cursor.eat_any(&["COMMENT"]) {
        cursor.eat_symbol(b'=');
        column.comment = parse_comment(cursor)?;
    } else if cursor.eat_any(&["COLUMN_FORMAT", "STORAGE", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"]) {
        cursor.eat_symbol(b'=');
        cursor.skip_one()?;
    } else {
        cursor.skip_one()?;
    }
    Ok(())
}

/// A comment's text with its escapes, as Debezium shows it; `None` where it is empty.
fn parse_comment(cursor: &mut Cursor<'_>) -> Parsed<Option<String>> {
    let literal = cursor.source();
    let quoted = matches!(cursor.peek(), Some(TokenKind::Text(_)));
    cursor.skip_one()?;
    let inner = literal.get(1..literal.len().saturating_sub(1)).filter(|inner| quoted && !inner.is_empty());
    Ok(inner.map(str::to_owned))
}

/// After ON: `UPDATE CURRENT_TIMESTAMP(3)`, `DELETE SET NULL` and the like, whose words are no attributes.
pub(crate) fn skip_event_action(cursor: &mut Cursor<'_>) -> Parsed<()> {
    cursor.eat_any(&["UPDATE", "DELETE"]);
    cursor.eat_any(&["SET", "NO"]);
    cursor.skip_one()?;
    cursor.skip_group()
}

fn parse_generated(cursor: &mut Cursor<'_>, column: &mut WrittenColumn) -> Parsed<()> {
    cursor.eat_any(&["AS"]);
    if cursor.eat(&["ROW", "START"]) {
        column.generated = Some(Generated::RowStart);
        column.nullable = Some(false);
    } else if cursor.eat(&["ROW", "END"]) {
        column.generated = Some(Generated::RowEnd);
        column.nullable = Some(false);
    } else {
        cursor.skip_group()?;
        let stored = cursor.eat_any(&["STORED", "PERSISTENT"]);
        cursor.eat_any(&["VIRTUAL"]);
        column.generated = Some(if stored { Generated::Stored } else { Generated::Virtual });
    }
    Ok(())
}

fn skip_references(cursor: &mut Cursor<'_>) -> Parsed<()> {
    cursor.table()?;
    cursor.skip_group()?;
    if cursor.eat_any(&["MATCH"]) {
        cursor.skip_one()?;
    }
    Ok(())
}

/// MariaDB keeps JSON as LONGTEXT with this check, and knows it again by it.
fn parse_check(cursor: &mut Cursor<'_>, context: Context<'_>, column: &mut WrittenColumn) -> Parsed<()> {
    let valid = cursor.sees_symbol(b'(')
        && cursor.sees_word(1, "JSON_VALID")
        && cursor.sees_symbol_at(2, b'(')
        && cursor.sees_symbol_at(4, b')')
        && cursor.sees_symbol_at(5, b')');
    if valid && context.server.mariadb && column.native == (Native::Text { size: 4 }) {
        column.native = Native::JsonText;
    }
    cursor.skip_group()?;
    if cursor.eat(&["NOT", "ENFORCED"]) {
        return Ok(());
    }
    cursor.eat_any(&["ENFORCED"]);
    Ok(())
}

impl WrittenColumn {
    /// The definition in a table of this character set.
    pub fn settle(self, table_charset: &str) -> ColumnDef {
        let charset = self.native.is_text().then(|| self.charset.unwrap_or_else(|| table_charset.to_owned()));
        let width = u64::from(charset.as_deref().map_or(1, charset::bytes_per_character));
        let native = match self.native {
            Native::VarChar { length } if u64::from(length) * width > VARCHAR_BYTES_MAX => {
                Native::Text { size: text_size(u64::from(length) * width) }
            }
            Native::Text { size } => {
                Native::Text { size: self.length.map_or(size, |length| text_size(length.saturating_mul(width))) }
            }
            native => native,
        };
        let default = self.default.map(|text| canonical_default(&native, text));
        ColumnDef {
            name: self.name,
            native,
            alias: self.alias.map(str::to_owned),
            charset,
            nullable: self.nullable.unwrap_or(true),
            unsaid_not_null: !self.says_not_null,
            default,
            comment: self.comment,
            hidden: self.hidden,
            compressed: self.compressed,
            generated: self.generated,
        }
    }
}

/// The smallest size class of TEXT that holds so many bytes.
pub(crate) fn text_size(bytes: u64) -> u8 {
    match bytes {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xff_ffff => 3,
        _ => 4,
    }
}
