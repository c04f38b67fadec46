//! The actions of ALTER TABLE.
//!
//! Actions that leave columns and keys alone (engine, partitions, foreign keys, locks) are stepped over. Invariant: an
//! action that begins with ADD, DROP, MODIFY, CHANGE, RENAME or ALTER is understood or is an error.

use super::column::parse_column;
use super::create::{Element, parse_element};
use super::cursor::{Cursor, Parsed};
use super::default::parse_default;
use super::statement::{Action, Place, parse_charset};
use super::table::PRIMARY;
use super::types::Context;

/// Everything after the table's name.
pub(crate) fn parse_actions(cursor: &mut Cursor<'_>, context: Context<'_>) -> Parsed<Vec<Action>> {
    super::statement::skip_wait(cursor)?;
    let mut actions = Vec::new();
    while cursor.peek().is_some() {
        parse_action(cursor, context, &mut actions)?;
        if cursor.peek().is_some() && !cursor.eat_symbol(b',') && !cursor.eat_symbol(b';') {
            return cursor.expected("`,` or the end of the statement");
        }
    }
    Ok(actions)
}

fn parse_action(cursor: &mut Cursor<'_>, context: Context<'_>, actions: &mut Vec<Action>) -> Parsed<()> {
    let verb = cursor.upper_word();
    match verb.as_str() {
        "ADD" => parse_add(cursor, context, actions)?,
        "DROP" => parse_drop(cursor, actions)?,
        "MODIFY" => {
            cursor.step();
            cursor.eat_any(&["COLUMN"]);
            let if_exists = cursor.eat_if_exists();
            let column = parse_column(cursor, context)?;
            let place = parse_place(cursor)?;
            actions.push(Action::ChangeColumn { old: column.name.clone(), column, place, if_exists });
        }
        "CHANGE" => {
            cursor.step();
            cursor.eat_any(&["COLUMN"]);
            let if_exists = cursor.eat_if_exists();
            let old = cursor.column()?;
            let column = parse_column(cursor, context)?;
            let place = parse_place(cursor)?;
            actions.push(Action::ChangeColumn { old, column, place, if_exists });
        }
        "RENAME" => parse_rename(cursor, actions)?,
        "ALTER" => parse_alter_column(cursor, context, actions)?,
        "CONVERT" => parse_convert(cursor, actions)?,
        "ORDER" => {
            // Its columns are separated by commas, and it is always the last.
            while cursor.peek().is_some() {
                cursor.skip_one()?;
            }
        }
        "PARTITION" => {
            while cursor.peek().is_some() {
                cursor.skip_one()?;
            }
        }
        _ => parse_options(cursor, actions)?,
    }
    // What is left of an action that was understood changes nothing: RESTRICT, USING BTREE, and the like.
    cursor.skip_item()
}

fn parse_place(cursor: &mut Cursor<'_>) -> Parsed<Place> {
    if cursor.eat_any(&["FIRST"]) {
        return Ok(Place::First);
    }
    if cursor.eat_any(&["AFTER"]) {
        return Ok(Place::After(cursor.column()?));
    }
    Ok(Place::Unsaid)
}

fn parse_add(cursor: &mut Cursor<'_>, context: Context<'_>, actions: &mut Vec<Action>) -> Parsed<()> {
    cursor.step();
    if cursor.eat(&["SYSTEM", "VERSIONING"]) {
        actions.push(Action::Versioning(true));
        return Ok(());
    }
    if cursor.eat_any(&["PARTITION"]) {
        return Ok(());
    }
    if !cursor.eat_any(&["COLUMN"]) {
        match parse_element(cursor)? {
            Element::Key(key) => {
                actions.push(Action::AddKey(key));
                return Ok(());
            }
            Element::Period(period) => {
                actions.push(Action::AddPeriod(period));
                return Ok(());
            }
            Element::Other => return Ok(()),
            Element::Column => {}
        }
    }
    let if_not_exists = cursor.eat_if_exists();
    if !cursor.eat_symbol(b'(') {
        let column = parse_column(cursor, context)?;
        let place = parse_place(cursor)?;
        actions.push(Action::AddColumn { column, place, if_not_exists });
        return Ok(());
    }
    loop {
        match parse_element(cursor)? {
            Element::Key(key) => actions.push(Action::AddKey(key)),
            Element::Period(period) => actions.push(Action::AddPeriod(period)),
            Element::Other => {}
            Element::Column => {
                let column = parse_column(cursor, context)?;
                actions.push(Action::AddColumn { column, place: Place::Unsaid, if_not_exists });
            }
        }
        cursor.skip_item()?;
        if !cursor.eat_symbol(b',') {
            return cursor.symbol(b')', "`)` after the added columns");
        }
    }
}

fn parse_drop(cursor: &mut Cursor<'_>, actions: &mut Vec<Action>) -> Parsed<()> {
    cursor.step();
    if cursor.eat(&["PRIMARY", "KEY"]) {
        actions.push(Action::DropKey(PRIMARY.to_owned()));
    } else if cursor.eat(&["SYSTEM", "VERSIONING"]) {
        actions.push(Action::Versioning(false));
    } else if cursor.eat(&["PERIOD", "FOR"]) {
        cursor.eat_if_exists();
        actions.push(Action::DropPeriod(cursor.name()?));
    } else if cursor.eat(&["FOREIGN", "KEY"]) || cursor.eat_any(&["CHECK"]) {
        cursor.eat_if_exists();
        cursor.name()?;
    } else if cursor.eat_any(&["PARTITION"]) {
        actions.push(Action::MoveRows);
        // Partition names are separated by commas.
        while cursor.peek().is_some() {
            cursor.skip_one()?;
        }
    } else if cursor.eat_any(&["INDEX", "KEY", "CONSTRAINT"]) {
        cursor.eat_if_exists();
        actions.push(Action::DropKey(cursor.name()?));
    } else {
        cursor.eat_any(&["COLUMN"]);
        let if_exists = cursor.eat_if_exists();
        actions.push(Action::DropColumn { column: cursor.column()?, if_exists });
    }
    Ok(())
}

fn parse_rename(cursor: &mut Cursor<'_>, actions: &mut Vec<Action>) -> Parsed<()> {
    cursor.step();
    let column = cursor.eat_any(&["COLUMN"]);
    let index = !column && (cursor.eat_any(&["INDEX"]) || cursor.eat_any(&["KEY"]));
    if column || index {
        let if_exists = cursor.eat_if_exists();
        let old = cursor.column()?;
        if !cursor.eat_any(&["TO"]) {
            return cursor.expected("TO");
        }
        let new = cursor.column()?;
        actions.push(if column {
            Action::RenameColumn { old, new, if_exists }
        } else {
            Action::RenameKey { old, new }
        });
        return Ok(());
    }
    if !cursor.eat_any(&["TO", "AS"]) {
        cursor.eat_symbol(b'=');
    }
    actions.push(Action::RenameTable(cursor.table()?));
    Ok(())
}

fn parse_alter_column(cursor: &mut Cursor<'_>, context: Context<'_>, actions: &mut Vec<Action>) -> Parsed<()> {
    cursor.step();
    if cursor.eat_any(&["INDEX", "KEY", "CHECK", "CONSTRAINT"]) {
        return Ok(());
    }
    cursor.eat_any(&["COLUMN"]);
    cursor.eat_if_exists();
    let column = cursor.column()?;
    if cursor.eat(&["SET", "DEFAULT"]) {
        let default = parse_default(cursor, context.server)?;
        actions.push(Action::SetDefault { column, default });
    } else if cursor.eat(&["DROP", "DEFAULT"]) {
        actions.push(Action::SetDefault { column, default: None });
    } else if cursor.eat(&["SET", "INVISIBLE"]) {
        actions.push(Action::SetHidden { column, hidden: true });
    } else if cursor.eat(&["SET", "VISIBLE"]) {
        actions.push(Action::SetHidden { column, hidden: false });
    } else {
        return cursor.expected("SET or DROP");
    }
    Ok(())
}

fn parse_convert(cursor: &mut Cursor<'_>, actions: &mut Vec<Action>) -> Parsed<()> {
    cursor.step();
    if cursor.eat_any(&["PARTITION"]) {
        cursor.name()?;
        if !cursor.eat(&["TO", "TABLE"]) {
            return cursor.expected("TO TABLE");
        }
        actions.push(Action::PartitionToTable(cursor.table()?));
        return Ok(());
    }
    if cursor.eat_any(&["TABLE"]) {
        actions.push(Action::TableToPartition(cursor.table()?));
        return Ok(());
    }
    cursor.eat_any(&["TO"]);
    let Some(mut charset) = parse_charset(cursor)? else { return cursor.expected("CHARACTER SET") };
    if let Some(collation) = parse_charset(cursor)? {
        charset = collation.or(charset);
    }
    actions.push(Action::Convert { charset });
    Ok(())
}

/// Table options, of which several may stand in one item without commas, and all actions that change no column.
fn parse_options(cursor: &mut Cursor<'_>, actions: &mut Vec<Action>) -> Parsed<()> {
    if cursor.sees(&["TRUNCATE", "PARTITION"])
        || cursor.sees(&["EXCHANGE", "PARTITION"])
        || cursor.sees_any(&["DISCARD", "IMPORT"])
    {
        actions.push(Action::MoveRows);
    }
    while !cursor.at_item_end() {
        if let Some(charset) = parse_charset(cursor)? {
            actions.push(Action::DefaultCharset { charset });
        } else if cursor.sees(&["PARTITION", "BY"]) {
            while cursor.peek().is_some() {
                cursor.skip_one()?;
            }
        } else {
            cursor.skip_one()?;
        }
    }
    Ok(())
}
