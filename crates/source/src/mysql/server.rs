//! What a server says of itself: flavor, identity, settings of its log, and where the log ends.
//!
//! Invariant: only questions are asked here; nothing is changed on the server. Start at [`Server::inspect`].

use super::catalog;
use super::decode::ServerFlavor;
use super::gtid::{GtidPos, GtidSet, Uuid};
use super::position::{Gtids, LogPlace, Position};
use super::wire::{self, Connection, ResultSet};
use std::collections::HashMap;

/// The settings that matter to a reader of the log.
const VARIABLES: [&str; 24] = [
    "binlog_annotate_row_events",
    "binlog_checksum",
    "binlog_expire_logs_seconds",
    "binlog_format",
    "binlog_row_image",
    "binlog_row_metadata",
    "binlog_row_value_options",
    "binlog_transaction_compression",
    "binlog_transaction_compression_level_zstd",
    "expire_logs_days",
    "gtid_binlog_pos",
    "gtid_executed",
    "gtid_mode",
    "gtid_purged",
    "innodb_flush_log_at_trx_commit",
    "log_bin",
    "log_replica_updates",
    "lower_case_table_names",
    "max_allowed_packet",
    "server_id",
    "server_uuid",
    "sync_binlog",
    "character_set_server",
    "explicit_defaults_for_timestamp",
];

/// A server and its settings.
#[derive(Clone, Debug)]
pub struct Server {
    /// MariaDB, as against MySQL.
    pub is_mariadb: bool,
    /// Its version, as it writes it.
    pub version: String,
    /// Major, minor, patch.
    pub version_parts: (u16, u16, u16),
    /// `server_id`.
    pub id: u32,
    /// `server_uuid`; MariaDB has none.
    pub uuid: Option<Uuid>,
    variables: HashMap<String, String>,
}

impl Server {
    /// Asks `connection`'s server.
    pub fn inspect(connection: &mut Connection) -> wire::Result<Server> {
        let info = connection.server().clone();
        let names = VARIABLES.map(|name| format!("'{name}'")).join(",");
        let result = connection.query(&format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})"))?;
        let variables: HashMap<String, String> = pairs(&result).collect();
        let number = |name: &str| variables.get(name).and_then(|value| value.parse().ok());
        Ok(Server {
            is_mariadb: info.is_mariadb,
            version: info.version,
            version_parts: info.version_parts,
            id: number("server_id").unwrap_or(0),
            uuid: variables.get("server_uuid").and_then(|uuid| uuid.parse().ok()),
            variables,
        })
    }

    /// A server that was never asked, for tests.
    #[cfg(test)]
    pub fn of_version(version: &str, variables: &[(&str, &str)]) -> Server {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let is_mariadb = version.contains("MariaDB");
        Server { is_mariadb, version: version.to_owned(), version_parts: (0, 0, 0), id: 1, uuid: None, variables }
    }

    /// A setting's text; empty where the server does not know it.
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// A setting that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.variable(name).parse().ok()
    }

    /// Whether a setting is ON.
    pub fn is_on(&self, name: &str) -> bool {
        matches!(self.variable(name), "ON" | "1")
    }

    /// Whether every transaction has a GTID. MariaDB's always do.
    pub fn has_gtids(&self) -> bool {
        self.is_mariadb || self.variable("gtid_mode").eq_ignore_ascii_case("ON")
    }

    /// Whether its log has computed columns in inserts only.
    pub fn leaves_out_computed(&self) -> bool {
        self.is_mariadb && self.version_parts >= (11, 0, 0)
    }

    /// Which family's log it writes.
    pub fn flavor(&self) -> ServerFlavor {
        match self.is_mariadb {
            true => ServerFlavor::MariaDb,
            false => ServerFlavor::MySql,
        }
    }

    /// What the catalog has to know.
    pub fn catalog_options(&self) -> catalog::Options {
        let charset = match self.variable("character_set_server") {
            "" => "utf8mb4".to_owned(),
            charset => charset.to_owned(),
        };
        let lower_case = self.number("lower_case_table_names").is_some_and(|mode| mode != 0);
        catalog::Options { server: catalog::Server::parse(&self.version), lower_case, charset }
    }

    /// Whether a TIMESTAMP column without NULL is NOT NULL.
    pub fn has_implicit_timestamps(&self) -> bool {
        self.variables.contains_key("explicit_defaults_for_timestamp") && !self.is_on("explicit_defaults_for_timestamp")
    }

    /// The name and version for people.
    pub fn title(&self) -> String {
        match self.is_mariadb {
            true => format!("MariaDB {}", self.version.trim_start_matches("5.5.5-")),
            false => format!("MySQL {}", self.version),
        }
    }

    /// Where the log ends now: after the newest committed transaction.
    ///
    /// On MySQL the GTID set is read on its own and decides; file and offset may be a transaction behind or ahead of it. On
    /// MariaDB the GTID position is that of the file and offset.
    pub fn end_of_log(&self, connection: &mut Connection) -> wire::Result<Position> {
        let LogPlace { file, offset } = log_end(connection)?;
        let gtids = match (self.is_mariadb, self.has_gtids()) {
            (true, _) => {
                let text = connection.query(&format!("SELECT BINLOG_GTID_POS({}, {offset})", quoted(&file)))?;
                // The log's very first file, before any transaction, has no answer.
                Gtids::MariaDb(parse_gtids(connection, text.first_text().unwrap_or(""))?)
            }
            (false, true) => {
                let text = connection.query("SELECT @@GLOBAL.gtid_executed")?;
                Gtids::MySql(parse_gtids(connection, text.first_text().unwrap_or(""))?)
            }
            (false, false) => Gtids::None,
        };
        Ok(Position { gtids, server_uuid: self.uuid, server_id: self.id, file, offset })
    }

    /// MariaDB: where a consistent snapshot that is taken now stands in the log, to the byte.
    pub fn snapshot_place(&self, connection: &mut Connection) -> wire::Result<Position> {
        connection.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")?;
        let place = place_of_snapshot(connection)?;
        connection.execute("COMMIT")?;
        let Some(LogPlace { file, offset }) = place else { return self.end_of_log(connection) };
        let gtids = connection.query(&format!("SELECT BINLOG_GTID_POS({}, {offset})", quoted(&file)))?;
        let gtids = Gtids::MariaDb(parse_gtids(connection, gtids.first_text().unwrap_or(""))?);
        Ok(Position { gtids, server_uuid: self.uuid, server_id: self.id, file, offset })
    }

    /// The binary log files that the server still has, oldest first, and their sizes.
    pub fn log_files(&self, connection: &mut Connection) -> wire::Result<Vec<(String, u64)>> {
        let result = connection.query("SHOW BINARY LOGS")?;
        Ok(pairs(&result).map(|(file, size)| (file, size.parse().unwrap_or(0))).collect())
    }

    /// MySQL: the transactions that are executed, and those of them that the log no longer has.
    pub fn gtid_sets(&self, connection: &mut Connection) -> wire::Result<(GtidSet, GtidSet)> {
        let result = connection.query("SELECT @@GLOBAL.gtid_executed AS executed, @@GLOBAL.gtid_purged AS purged")?;
        let executed = parse_gtids(connection, result.text(0, "executed").unwrap_or(""))?;
        let purged = parse_gtids(connection, result.text(0, "purged").unwrap_or(""))?;
        Ok((executed, purged))
    }

    /// MariaDB: the newest transaction of each domain in the log.
    pub fn gtid_binlog_pos(&self, connection: &mut Connection) -> wire::Result<GtidPos> {
        let result = connection.query("SELECT @@GLOBAL.gtid_binlog_pos")?;
        parse_gtids(connection, result.first_text().unwrap_or(""))
    }
}

/// Where the log ends now.
pub fn log_end(connection: &mut Connection) -> wire::Result<LogPlace> {
    let statement = match connection.server() {
        server if !server.is_mariadb && server.version_parts >= (8, 2, 0) => "SHOW BINARY LOG STATUS",
        _ => "SHOW MASTER STATUS",
    };
    let status = connection.query(statement)?;
    match (status.text(0, "File"), status.text(0, "Position").and_then(|offset| offset.parse().ok())) {
        (Some(file), Some(offset)) => Ok(LogPlace { file: file.to_owned(), offset }),
        _ => Err(wire::Error::Invalid(format!(
            "{}: the binary log is off; start the server with log_bin=ON",
            connection.peer()
        ))),
    }
}

/// MariaDB: where the consistent snapshot that is open stands in the log, to the byte; `None` while the log is empty.
pub fn place_of_snapshot(connection: &mut Connection) -> wire::Result<Option<LogPlace>> {
    let status = connection.query("SHOW STATUS LIKE 'binlog_snapshot_%'")?;
    let values: HashMap<String, String> =
        pairs(&status).map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let (file, offset) = (values.get("binlog_snapshot_file"), values.get("binlog_snapshot_position"));
    let place = file.filter(|file| !file.is_empty()).zip(offset.and_then(|offset| offset.parse().ok()));
    Ok(place.map(|(file, offset)| LogPlace { file: file.clone(), offset }))
}

/// The statement that locks `tables`, pairs of database and table, until every commit to them has ended and shows.
pub fn read_lock<'a>(tables: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let name = |(database, table)| format!("{}.{} READ", identifier(database), identifier(table));
    format!("LOCK TABLES {}", tables.into_iter().map(name).collect::<Vec<_>>().join(", "))
}

fn parse_gtids<T: std::str::FromStr<Err = super::gtid::NotGtids>>(
    connection: &Connection,
    text: &str,
) -> wire::Result<T> {
    text.parse().map_err(|error| wire::Error::Invalid(format!("{}: {error}", connection.peer())))
}

/// The first two columns of each row, as text.
fn pairs(result: &ResultSet) -> impl Iterator<Item = (String, String)> {
    let text = |value: Option<&Option<Vec<u8>>>| {
        String::from_utf8_lossy(value.and_then(Option::as_deref).unwrap_or_default()).into_owned()
    };
    result.rows.iter().map(move |row| (text(row.first()), text(row.get(1))))
}

/// A string literal that is safe in every `sql_mode`: hexadecimal.
pub fn quoted(text: &str) -> String {
    let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    match digits.is_empty() {
        true => "''".to_owned(),
        false => format!("_utf8mb4 0x{digits}"),
    }
}

/// An identifier in backquotes.
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
