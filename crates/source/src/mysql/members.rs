//! The exact texts of ENUM and SET members. SHOW CREATE TABLE prints them in a character set of three bytes a character,
//! with a question mark for what needs four; the rows of the log have only their numbers.
//!
//! Invariant: a member of the catalog is as the server stores it, or the table is refused by name. Start at [`make_exact`].

use super::catalog::{Catalog, ColumnDef, Native, TableDef};
use super::config::Options;
use super::failure;
use super::server::{Server, identifier};
use super::wire::{self, Connection};
use headwater_model::{Error, Result};

/// Character sets with characters that take four bytes in UTF-8.
const BEYOND_THREE_BYTES: [&str; 5] = ["utf8mb4", "utf16", "utf16le", "utf32", "gb18030"];

/// Asks for each member of a captured table that may be another than it seems.
pub fn make_exact(
    options: &Options,
    connection: &mut Connection,
    server: &Server,
    catalog: &mut Catalog,
) -> Result<()> {
    let captured = catalog.tables().filter(|(name, _)| options.filter.captures(&name.database, &name.table));
    let has_doubts = |def: &&TableDef| def.columns.iter().any(|column| !doubtful(column).is_empty());
    let defs: Vec<TableDef> = captured.map(|(_, def)| def).filter(has_doubts).cloned().collect();
    for mut def in defs {
        for index in 0..def.columns.len() {
            let places = doubtful(&def.columns[index]);
            if places.is_empty() {
                continue;
            }
            match ask(connection, &def, index, &places) {
                Ok(Some(texts)) => places.iter().zip(texts).for_each(|(place, text)| {
                    if let Some(member) = members(&mut def.columns[index]).and_then(|all| all.get_mut(*place)) {
                        *member = text;
                    }
                }),
                Ok(None) => in_doubt(options, server, &def, &def.columns[index])?,
                Err(error) => return Err(failure::of_connection(&options.name, error)),
            }
        }
        catalog.insert(def);
    }
    Ok(())
}

/// The places of the members that may hold what was not printed.
fn doubtful(column: &ColumnDef) -> Vec<usize> {
    let (Native::Enum { members } | Native::Set { members }) = &column.native else { return Vec::new() };
    let is_wide = column.charset.as_deref().is_some_and(|charset| BEYOND_THREE_BYTES.contains(&charset));
    let seem = members.iter().enumerate().filter(|(_, member)| is_wide && member.contains('?'));
    seem.map(|(place, _)| place).collect()
}

fn members(column: &mut ColumnDef) -> Option<&mut Vec<String>> {
    match &mut column.native {
        Native::Enum { members } | Native::Set { members } => Some(members),
        _ => None,
    }
}

/// The texts of these members; `None` when the server does not tell. Reads no row of the table.
fn ask(
    connection: &mut Connection,
    def: &TableDef,
    index: usize,
    places: &[usize],
) -> wire::Result<Option<Vec<String>>> {
    let column = &def.columns[index];
    let (Native::Enum { members } | Native::Set { members }) = &column.native else { return Ok(None) };
    let is_enum = matches!(column.native, Native::Enum { .. });
    let number = |place: &usize| if is_enum { *place as u64 + 1 } else { 1 << (place % 64) };
    let rows: Vec<String> = places.iter().map(|place| format!("SELECT {place} AS p, {} AS n", number(place))).collect();
    // The columns of a recursive table have the types of its first SELECT, so that a number put into one becomes a member.
    let sql = format!(
        "WITH RECURSIVE m (member, place) AS (SELECT t.{}, -1 FROM (SELECT 1) one LEFT JOIN {}.{} t ON FALSE UNION ALL \
         SELECT numbers.n, numbers.p FROM m JOIN ({}) numbers WHERE m.place = -1) SELECT place, CONVERT(member USING \
         utf8mb4) AS member FROM m WHERE place >= 0 ORDER BY place",
        identifier(&column.name),
        identifier(&def.database),
        identifier(&def.table),
        rows.join(" UNION ALL "),
    );
    let result = match connection.query(&sql) {
        Ok(result) => result,
        Err(error) if error.server().is_some() => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = |(row, place): (usize, &usize)| {
        let is_its = result.text(row, "place")?.parse() == Ok(*place);
        let text = result.text(row, "member").filter(|text| is_its && *members[*place] == as_printed(text))?;
        Some(text.to_owned())
    };
    Ok(places.iter().enumerate().map(text).collect())
}

fn as_printed(text: &str) -> String {
    text.chars().map(|c| if c > '\u{ffff}' { '?' } else { c }).collect()
}

/// Where the log itself has the members, its table maps correct the definition before any row is read.
fn in_doubt(options: &Options, server: &Server, def: &TableDef, column: &ColumnDef) -> Result<()> {
    if server.variable("binlog_row_metadata").eq_ignore_ascii_case("FULL") {
        return Ok(());
    }
    Err(Error::stop(format!(
        "source {}: the members of column {} of {}.{} are not known",
        options.name, column.name, def.database, def.table
    ))
    .detail("The server prints a question mark for what utf8mb3 does not hold, and does not say what stands there")
    .hint("Run SET GLOBAL binlog_row_metadata = 'FULL', so that the log itself says what they are."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(charset: &str, native: Native) -> ColumnDef {
        ColumnDef {
            name: "c".into(),
            native,
            alias: None,
            charset: Some(charset.into()),
            nullable: true,
            unsaid_not_null: false,
            default: None,
            comment: None,
            hidden: false,
            compressed: false,
            generated: None,
        }
    }

    #[test]
    fn only_members_that_may_be_others_are_asked_for() {
        let members = || vec!["a".to_owned(), "?".to_owned(), "b?".to_owned()];
        for (charset, native, expected) in [
            ("utf8mb4", Native::Enum { members: members() }, &[1, 2][..]),
            ("utf16", Native::Set { members: members() }, &[1, 2]),
            ("utf8mb3", Native::Enum { members: members() }, &[]),
            ("latin1", Native::Set { members: members() }, &[]),
            ("utf8mb4", Native::Enum { members: vec!["é".into()] }, &[]),
            ("utf8mb4", Native::Date, &[]),
        ] {
            assert_eq!(doubtful(&column(charset, native)), expected, "{charset}");
        }
        assert_eq!(as_printed("a🙂é"), "a?é");
    }
}
