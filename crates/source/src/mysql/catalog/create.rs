//! CREATE TABLE and CREATE INDEX.
//!
//! Invariant: a table whose columns come from a query is refused: rows in the log never need one, because the server then
//! logs the definition it arrived at instead.

use super::column::parse_column;
use super::cursor::{Cursor, Parsed, WrittenName};
use super::statement::{
    Action, CreateBody, CreateTable, Definition, Statement, TableOptions, named, parse_charset, parse_key_parts,
};
use super::table::{Key, KeyPart, PRIMARY, Period};
use super::types::Context;

/// After CREATE TABLE [IF NOT EXISTS].
pub(crate) fn parse_create(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    if_not_exists: bool,
    tables: &mut Vec<WrittenName>,
) -> Parsed<Statement> {
    let table = named(cursor, tables)?;
    let like = cursor.eat_any(&["LIKE"]) || (cursor.sees_symbol(b'(') && cursor.sees_word(1, "LIKE"));
    let body = if like {
        if cursor.eat_symbol(b'(') {
            cursor.step();
        }
        CreateBody::Like(cursor.table()?)
    } else {
        let definition = parse_definition(cursor, context)?;
        if definition.options.sequence { CreateBody::Sequence } else { CreateBody::Definition(definition) }
    };
    Ok(Statement::CreateTable(CreateTable { table, if_not_exists, body }))
}

fn parse_definition(cursor: &mut Cursor<'_>, context: Context<'_>) -> Parsed<Definition> {
    let mut definition = Definition::default();
    cursor.symbol(b'(', "the columns of the table (a table made from a query is not followed)")?;
    loop {
        match parse_element(cursor)? {
            Element::Key(key) => definition.keys.push(key),
            Element::Period(period) => definition.periods.push(period),
            Element::Other => {}
            Element::Column => {
                let column = parse_column(cursor, context)?;
                definition.keys.extend(column_keys(&column.name, column.primary, column.unique));
                definition.columns.push(column);
            }
        }
        cursor.skip_item()?;
        if !cursor.eat_symbol(b',') {
            break;
        }
    }
    cursor.symbol(b')', "`)` after the columns of the table")?;
    definition.options = parse_options(cursor)?;
    if definition.columns.is_empty() {
        return cursor.expected("at least one column");
    }
    Ok(definition)
}

/// The keys that attributes of a column make.
pub(crate) fn column_keys(column: &str, primary: bool, unique: bool) -> impl Iterator<Item = Key> {
    let key = |name: &str| Key {
        name: name.to_owned(),
        unique: true,
        parts: vec![KeyPart { column: column.to_owned(), prefix: None }],
    };
    let keys = [primary.then(|| key(PRIMARY)), unique.then(|| key(""))];
    keys.into_iter().flatten()
}

/// What an element of a definition is, when it is not a column.
pub(crate) enum Element {
    Key(Key),
    Period(Period),
    /// A foreign key, a check, or the period of system versioning; the rest of the item is not read.
    Other,
    /// Not one of these; nothing was read.
    Column,
}

/// An index, constraint or period. A key without a name gets one when it joins its table.
pub(crate) fn parse_element(cursor: &mut Cursor<'_>) -> Parsed<Element> {
    if cursor.eat(&["PERIOD", "FOR"]) {
        return parse_period(cursor);
    }
    let mut name = String::new();
    let constraint = cursor.eat_any(&["CONSTRAINT"]);
    if constraint {
        cursor.eat_if_exists();
        if !cursor.sees_any(&["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]) {
            name = cursor.name()?;
        }
    }
    if cursor.eat(&["PRIMARY", "KEY"]) {
        skip_to_parts(cursor)?;
        return Ok(Element::Key(Key { name: PRIMARY.to_owned(), unique: true, parts: parse_key_parts(cursor)? }));
    }
    let vector = cursor.sees(&["VECTOR", "INDEX"]) || cursor.sees(&["VECTOR", "KEY"]);
    let unique = cursor.sees_any(&["UNIQUE"]);
    if vector || cursor.sees_any(&["UNIQUE", "INDEX", "KEY", "FULLTEXT", "SPATIAL"]) {
        while cursor.eat_any(&["VECTOR", "UNIQUE", "INDEX", "KEY", "FULLTEXT", "SPATIAL"]) {}
        cursor.eat_if_exists();
        if !cursor.sees_symbol(b'(') && !cursor.sees_any(&["USING", "TYPE"]) {
            name = cursor.name()?;
        }
        skip_to_parts(cursor)?;
        return Ok(Element::Key(Key { name, unique, parts: parse_key_parts(cursor)? }));
    }
    let other = constraint || cursor.sees(&["FOREIGN", "KEY"]) || cursor.sees_any(&["CHECK"]);
    Ok(if other { Element::Other } else { Element::Column })
}

/// USING BTREE and the like before the columns.
fn skip_to_parts(cursor: &mut Cursor<'_>) -> Parsed<()> {
    while !cursor.sees_symbol(b'(') && !cursor.at_item_end() {
        cursor.skip_one()?;
    }
    Ok(())
}

fn parse_period(cursor: &mut Cursor<'_>) -> Parsed<Element> {
    cursor.eat_if_exists();
    let name = cursor.name()?;
    cursor.symbol(b'(', "the columns of a period")?;
    let start = cursor.name()?;
    cursor.symbol(b',', "`,` between the columns of a period")?;
    let end = cursor.name()?;
    cursor.symbol(b')', "`)` after the columns of a period")?;
    let system = name.eq_ignore_ascii_case("SYSTEM_TIME");
    Ok(if system { Element::Other } else { Element::Period(Period { name, start, end }) })
}

/// The options behind the columns, to the end of the statement; partitions are stepped over like the rest.
fn parse_options(cursor: &mut Cursor<'_>) -> Parsed<TableOptions> {
    let mut options = TableOptions::default();
    while cursor.peek().is_some() {
        if let Some(charset) = parse_charset(cursor)? {
            options.charset = charset.or(options.charset);
        } else if cursor.eat(&["WITH", "SYSTEM", "VERSIONING"]) {
            options.versioned = true;
        } else if cursor.eat_any(&["SEQUENCE"]) {
            cursor.eat_symbol(b'=');
            options.sequence = cursor.source() != "0";
        } else if cursor.sees_any(&["SELECT"]) || (cursor.sees_symbol(b'(') && cursor.sees_word(1, "SELECT")) {
            return cursor.expected("the end of the statement (a table made from a query is not followed)");
        } else {
            cursor.skip_one()?;
        }
    }
    Ok(options)
}

/// After CREATE [UNIQUE] INDEX [IF NOT EXISTS].
pub(crate) fn parse_index(
    cursor: &mut Cursor<'_>,
    unique: bool,
    replace: bool,
    tables: &mut Vec<WrittenName>,
) -> Parsed<Statement> {
    let name = cursor.name()?;
    // USING BTREE may stand before ON.
    while !cursor.sees_any(&["ON"]) && cursor.peek().is_some() {
        cursor.skip_one()?;
    }
    if !cursor.eat_any(&["ON"]) {
        return cursor.expected("ON");
    }
    let table = named(cursor, tables)?;
    super::statement::skip_wait(cursor)?;
    let mut actions = Vec::new();
    if replace {
        actions.push(Action::DropKey(name.clone()));
    }
    let key = Key { name, unique, parts: parse_key_parts(cursor)? };
    actions.push(Action::AddKey(key));
    Ok(Statement::AlterTable { table, actions })
}
