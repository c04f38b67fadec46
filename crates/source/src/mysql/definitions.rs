//! Loads the definitions of tables from a server, together with a position of its log at which they hold.
//!
//! Invariant: the definitions are read before and after the position, and only when both readings are
//! the same do they belong to it. Start at [`load_with_position`].

use super::catalog::{self, Catalog, Session};
use super::config::{Options, SnapshotMode};
use super::decode::Charsets;
use super::failure;
use super::members;
use super::position::Position;
use super::server::{Server, identifier, read_lock};
use super::wire::{self, Connection};
use headwater_model::{Error, Result};
use std::time::Duration;

/// How often the definitions are read before giving up for a while.
const READINGS_MAX: usize = 20;

/// How long to give up for.
const READING_RETRY: Duration = Duration::from_secs(5);

/// Databases and `SHOW CREATE` statements of every table, in order: what is compared.
type Statements = Vec<(String, String)>;

/// The definitions, and the end of the log at which they hold.
pub fn load_with_position(
    options: &Options,
    connection: &mut Connection,
    server: &Server,
) -> Result<(Catalog, Position)> {
    let mut before = read(options, connection)?;
    for _ in 0..READINGS_MAX {
        let position = visible_end(options, connection, server, &before)?;
        let after = read(options, connection)?;
        if before == after {
            let mut catalog = catalog_of(options, connection, server, &after)?;
            members::make_exact(options, connection, server, &mut catalog)?;
            return Ok((catalog, position));
        }
        before = after;
    }
    Err(Error::retry_after(
        READING_RETRY,
        format!("source {}: the definitions of tables change faster than they can be read", options.name),
    ))
}

/// An end of the log before which everything shows in a SELECT. The plain end will not do: a transaction is in the log
/// before it is visible, by milliseconds, or by seconds where replicas must confirm it first.
fn visible_end(
    options: &Options,
    connection: &mut Connection,
    server: &Server,
    statements: &Statements,
) -> Result<Position> {
    let failed = |error| failure::of_connection(&options.name, error);
    if server.is_mariadb {
        return server.snapshot_place(connection).map_err(failed);
    }
    // Of the GTIDs that are executed all are visible.
    if server.has_gtids() || options.snapshot == SnapshotMode::Never {
        return server.end_of_log(connection).map_err(failed);
    }
    // Without GTIDs only a lock tells: it waits for every commit to these tables to end.
    let catalog = catalog_of(options, connection, server, statements)?;
    let names = catalog.tables().map(|(name, _)| (&*name.database, &*name.table));
    let mut captured = names.filter(|(database, table)| options.filter.captures(database, table)).peekable();
    if captured.peek().is_none() {
        return server.end_of_log(connection).map_err(failed);
    }
    connection.execute(&read_lock(captured)).map_err(failed)?;
    let position = server.end_of_log(connection).map_err(failed)?;
    connection.execute("UNLOCK TABLES").map_err(failed)?;
    Ok(position)
}

/// The definitions as they are now.
pub fn load(options: &Options, connection: &mut Connection, server: &Server) -> Result<Catalog> {
    let statements = read(options, connection)?;
    let mut catalog = catalog_of(options, connection, server, &statements)?;
    members::make_exact(options, connection, server, &mut catalog)?;
    Ok(catalog)
}

/// The server's character sets, by number of collation.
pub fn charsets(options: &Options, connection: &mut Connection, server: &Server) -> Result<Charsets> {
    let failed = |error| failure::of_connection(&options.name, error);
    // Since 10.10 MariaDB has collations that fit several character sets, and lists each pair apart.
    let sql = match server.is_mariadb && server.version_parts >= (10, 10, 0) {
        true => {
            "SELECT ID AS i, CHARACTER_SET_NAME AS c FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE ID \
             IS NOT NULL"
        }
        false => "SELECT ID AS i, CHARACTER_SET_NAME AS c FROM information_schema.COLLATIONS",
    };
    let rows = connection.query(sql).map_err(failed)?;
    let pairs = (0..rows.rows.len()).filter_map(|row| Some((rows.text(row, "i")?.parse().ok()?, rows.text(row, "c")?)));
    Ok(Charsets::from_rows(pairs))
}

fn read(options: &Options, connection: &mut Connection) -> Result<Statements> {
    let failed = |error| failure::of_connection(&options.name, error);
    // SHOW CREATE follows the session's mode: without ANSI_QUOTES and the like there is one way to read it.
    connection.execute("SET SESSION sql_mode = '', sql_quote_show_create = 1").map_err(failed)?;
    let tables = connection
        .query(
            "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t, TABLE_TYPE AS k FROM information_schema.TABLES WHERE TABLE_TYPE NOT \
             LIKE '%VIEW' ORDER BY TABLE_SCHEMA, TABLE_NAME",
        )
        .map_err(failed)?;
    let mut statements = Vec::new();
    for row in 0..tables.rows.len() {
        let (Some(database), Some(table)) = (tables.text(row, "d"), tables.text(row, "t")) else { continue };
        if !options.filter.touches(database) || tables.text(row, "k").is_some_and(|kind| kind.contains("TEMPORARY")) {
            continue;
        }
        let what = if tables.text(row, "k") == Some("SEQUENCE") { "SEQUENCE" } else { "TABLE" };
        let sql = format!("SHOW CREATE {what} {}.{}", identifier(database), identifier(table));
        let result = match connection.query(&sql) {
            Ok(result) => result,
            Err(error) if error.server().is_some_and(|error| matches!(error.code, 1146 | 1049)) => continue,
            Err(error)
                if error.server().is_some_and(|error| error.code == 1142)
                    && !options.filter.captures(database, table) =>
            {
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        let text = result.rows.first().and_then(|row| row.get(1)).and_then(Option::as_deref).unwrap_or_default();
        statements.push((database.to_owned(), without_counter(String::from_utf8_lossy(text).into_owned())));
    }
    Ok(statements)
}

/// The statement without the table option that says which number the next row gets: it changes with every INSERT.
fn without_counter(mut statement: String) -> String {
    const OPTION: &str = " AUTO_INCREMENT=";
    let options = statement.rfind("\n) ").unwrap_or(statement.len());
    // Before the comment, which may hold any text.
    let end = statement[options..].find(" COMMENT=").map_or(statement.len(), |at| options + at);
    if let Some(at) = statement[options..end].find(OPTION).map(|at| options + at) {
        let digits = statement[at + OPTION.len()..].bytes().take_while(u8::is_ascii_digit).count();
        statement.replace_range(at..at + OPTION.len() + digits, "");
    }
    statement
}

fn catalog_of(
    options: &Options,
    connection: &mut Connection,
    server: &Server,
    statements: &Statements,
) -> Result<Catalog> {
    let failed = |error: wire::Error| failure::of_connection(&options.name, error);
    let mut catalog = Catalog::new(server.catalog_options());
    let databases = connection
        .query("SELECT SCHEMA_NAME AS d, DEFAULT_CHARACTER_SET_NAME AS c FROM information_schema.SCHEMATA")
        .map_err(failed)?;
    for row in 0..databases.rows.len() {
        if let (Some(database), Some(charset)) = (databases.text(row, "d"), databases.text(row, "c")) {
            catalog.insert_database(database, charset);
        }
    }
    for (database, sql) in statements {
        let session = Session::new(database);
        if let Err(error) = catalog.insert_show_create(&session, sql) {
            skip(options, server, error)?;
        }
    }
    Ok(catalog)
}

/// A definition that is not understood is no reason to stop while the log says what its rows are.
fn skip(options: &Options, server: &Server, error: catalog::DdlError) -> Result<()> {
    let captured = error.tables.iter().any(|name| options.filter.captures(&name.database, &name.table));
    if !captured || server.variable("binlog_row_metadata").eq_ignore_ascii_case("FULL") {
        tracing::warn!(source = options.name, %error, "a table's definition is not understood");
        return Ok(());
    }
    Err(Error::stop(format!("source {}: a table's definition is not understood", options.name)).source(error).hint(
        "Run SET GLOBAL binlog_row_metadata = 'FULL', so that the log itself says what its rows are, and please report the \
         definition.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_number_is_no_part_of_a_definition() {
        for (statement, expected) in [
            (
                "CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT CHARSET=x",
                "CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB DEFAULT CHARSET=x",
            ),
            (
                "CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB COMMENT=' AUTO_INCREMENT=1'",
                "CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB COMMENT=' AUTO_INCREMENT=1'",
            ),
            (
                "CREATE TABLE `t` (\n  `a` int COMMENT ' AUTO_INCREMENT=1'\n) ENGINE=InnoDB",
                "CREATE TABLE `t` (\n  `a` int COMMENT ' AUTO_INCREMENT=1'\n) ENGINE=InnoDB",
            ),
            ("CREATE SEQUENCE `s` start with 1", "CREATE SEQUENCE `s` start with 1"),
        ] {
            assert_eq!(without_counter(statement.to_owned()), expected);
        }
    }
}
