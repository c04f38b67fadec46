//! Whether the user may read what is captured: a table that it may not see is not there for it, so the rows that exist
//! already would be missed in silence.
//!
//! Invariant: the server itself is asked, by a SELECT that reads nothing, so that roles, wildcards and partial revokes
//! count as the server counts them; a table that does not exist yet is no obstacle. Start at [`unreadable`].

use super::config::Options;
use super::failure;
use super::server::identifier;
use super::wire::{self, Connection};
use headwater_model::{Error, Result};
use std::time::Duration;

/// How long to wait before the user is expected to have the privilege.
const GRANT_RETRY: Duration = Duration::from_secs(5);

/// What stands for `*` and `?` of a pattern. Whoever may read a table of that name may read all that the pattern fits.
const STAND_IN: &str = "any_that_headwater_could_meet";

/// Errors of a server that denies a table or its database.
const DENIED: [u16; 3] = [1044, 1142, 1143];

/// Tables that are captured and may not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// `database.table`, either of them a pattern.
    pub tables: String,
    /// The statement that mends it.
    pub mend: String,
}

/// Those of `tables`, pairs of a database and a table or of patterns of both, that the user may not read.
pub fn unreadable<'a>(
    connection: &mut Connection,
    tables: impl IntoIterator<Item = [&'a str; 2]>,
) -> wire::Result<Vec<Unreadable>> {
    let mut denied = Vec::new();
    for [database, table] in tables {
        if is_denied(connection, &stand_in(database), &stand_in(table))? {
            denied.push((database, table));
        }
    }
    if denied.is_empty() {
        return Ok(Vec::new());
    }
    let user = grantee(connection)?;
    let finding = |(database, table): (&str, &str)| Unreadable {
        tables: format!("{database}.{table}"),
        mend: format!("GRANT SELECT ON {} TO {user};", level(database, table)),
    };
    Ok(denied.into_iter().map(finding).collect())
}

/// Refuses to go on while the user may not read `tables`. What is granted meanwhile is seen by itself.
pub fn require<'a>(
    options: &Options,
    connection: &mut Connection,
    tables: impl IntoIterator<Item = [&'a str; 2]>,
) -> Result<()> {
    let denied = unreadable(connection, tables).map_err(|error| failure::of_connection(&options.name, error))?;
    if denied.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = denied.iter().map(|denied| &*denied.tables).collect();
    let mends: Vec<&str> = denied.iter().map(|denied| &*denied.mend).collect();
    let what = format!("source {}: the user may not read {}", options.name, names.join(", "));
    Err(Error::retry_after(GRANT_RETRY, what)
        .detail("Rows that exist already would be missed")
        .hint(format!("Run {} Or name only tables that it may read under `tables`.", mends.join(" "))))
}

/// The user as GRANT wants it.
pub fn grantee(connection: &mut Connection) -> wire::Result<String> {
    let user = connection.query("SELECT CURRENT_USER()")?;
    Ok(user.first_text().map_or_else(|| "the_user".to_owned(), quoted_user))
}

fn is_denied(connection: &mut Connection, database: &str, table: &str) -> wire::Result<bool> {
    let sql = format!("SELECT 1 FROM {}.{} LIMIT 0", identifier(database), identifier(table));
    match connection.query(&sql) {
        Ok(_) => Ok(false),
        // Privileges come first: any other answer, such as that there is no such table, was given to one who may read it.
        Err(error) => match error.server() {
            Some(answer) => Ok(DENIED.contains(&answer.code)),
            None => Err(error),
        },
    }
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

fn stand_in(pattern: &str) -> String {
    pattern.replace('*', STAND_IN).replace('?', "x")
}

/// What a GRANT names: `*.*`, a database or one table.
fn level(database: &str, table: &str) -> String {
    let database = match database {
        "*" => return "*.*".to_owned(),
        pattern => identifier(&pattern.replace('*', "%").replace('?', "_")),
    };
    if is_pattern(table) { format!("{database}.*") } else { format!("{database}.{}", identifier(table)) }
}

fn quoted_user(current: &str) -> String {
    match current.rsplit_once('@') {
        Some((user, host)) => format!("'{}'@'{}'", user.replace('\'', "''"), host.replace('\'', "''")),
        None => format!("'{}'", current.replace('\'', "''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_quoted_for_a_grant() {
        assert_eq!(quoted_user("o'neil@%"), "'o''neil'@'%'");
    }

    #[test]
    fn a_grant_covers_the_pattern_and_no_more() {
        for (database, table, expected) in [
            ("*", "*", "*.*"),
            ("*", "orders", "*.*"),
            ("shop", "*", "`shop`.*"),
            ("shop", "or?ers", "`shop`.*"),
            ("shop_*", "*", "`shop_%`.*"),
            ("a`b", "orders", "`a``b`.`orders`"),
        ] {
            assert_eq!(level(database, table), expected, "{database}.{table}");
        }
    }
}
