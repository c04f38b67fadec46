//! What a server says of itself: identity, version, settings, and where its log ends.
//!
//! Invariant: only questions are asked here; nothing is changed on the server. Start at [`Server::inspect`].

use super::lsn::Lsn;
use super::wire::query::quoted;
use super::wire::{self, Connection};
use std::collections::HashMap;

/// The oldest server whose log is read, as `server_version_num`.
pub const VERSION_MIN: u32 = 12_00_00;

/// Versions from which something is there.
pub mod since {
    /// `messages`, `streaming` and `binary` of pgoutput.
    pub const MESSAGES: u32 = 14_00_00;
    /// Publications that show partitions as their root.
    pub const VIA_ROOT: u32 = 13_00_00;
    /// Slots that survive a failover.
    pub const FAILOVER: u32 = 17_00_00;
}

/// The settings that matter to a reader of the log.
const SETTINGS: [&str; 12] = [
    "wal_level",
    "max_replication_slots",
    "max_wal_senders",
    "max_slot_wal_keep_size",
    "wal_sender_timeout",
    "max_prepared_transactions",
    "fsync",
    "synchronous_commit",
    "server_version",
    "transaction_read_only",
    "logical_decoding_work_mem",
    "server_encoding",
];

/// A server and its settings.
#[derive(Clone, Debug)]
pub struct Server {
    /// `server_version_num`, such as 150018.
    pub version: u32,
    /// What its data folder was called when it was made; copies of it have the same.
    pub system: u64,
    /// Its time line.
    pub timeline: u32,
    /// The database that we are connected to.
    pub database: String,
    /// Our role.
    pub role: String,
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// Whether another process answers than the one that greeted us: a pooler stands in between.
    pub is_pooled: bool,
    settings: HashMap<String, String>,
}

impl Server {
    /// Asks `connection`'s server; the connection is one for replication.
    pub fn inspect(connection: &mut Connection) -> wire::Result<Server> {
        let identity = connection.query("IDENTIFY_SYSTEM")?;
        let names: Vec<String> = SETTINGS.iter().map(|name| quoted(name)).collect();
        let settings = connection
            .query(&format!("SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ({})", names.join(",")))?;
        let settings = (0..settings.rows.len())
            .filter_map(|row| Some((settings.text(row, "name")?.to_owned(), settings.text(row, "setting")?.to_owned())))
            .collect();
        let result = connection.query(
            "SELECT pg_catalog.current_setting('server_version_num') AS version, pg_catalog.current_database() AS database, \
             current_user AS role, pg_catalog.pg_is_in_recovery() AS in_recovery, pg_catalog.pg_backend_pid() AS process",
        )?;
        let text = |name: &str| result.text(0, name).unwrap_or_default();
        let process: u32 = text("process").parse().unwrap_or(0);
        let number = |name: &str| {
            identity.text(0, name).and_then(|text| text.parse::<u64>().ok()).ok_or_else(|| {
                wire::Error::Invalid(format!(
                    "the server's IDENTIFY_SYSTEM gives no {name}; is it a PostgreSQL server?"
                ))
            })
        };
        Ok(Server {
            version: text("version").parse().unwrap_or(0),
            system: number("systemid")?,
            timeline: number("timeline")? as u32,
            database: text("database").to_owned(),
            role: text("role").to_owned(),
            in_recovery: text("in_recovery") == "t",
            is_pooled: process != connection.process(),
            settings,
        })
    }

    /// A setting's text; empty where the server does not know it.
    pub fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }

    /// For people: `PostgreSQL 15.8`.
    pub fn title(&self) -> String {
        let version = self.setting("server_version").split(' ').next().unwrap_or_default();
        format!("PostgreSQL {version}")
    }

    /// The newest protocol of pgoutput that both sides know. Those above 1 only add what is asked for.
    pub fn protocol(&self) -> u32 {
        match self.version {
            ..14_00_00 => 1,
            14_00_00..15_00_00 => 2,
            15_00_00..16_00_00 => 3,
            _ => 4,
        }
    }
}

/// Where the last record of the log ends now, asked over any connection to a database.
pub fn end_of_log(connection: &mut Connection) -> wire::Result<Lsn> {
    let result = connection.query(
        "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE \
         pg_catalog.pg_current_wal_insert_lsn() END AS end, pg_catalog.current_setting('wal_block_size') AS page, \
         pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) AS segment",
    )?;
    let size = |name| result.text(0, name).and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(end_of_record(lsn(result.text(0, "end"), "the end of its log")?, size("page"), size("segment")))
}

/// Where the record before `next` ends, which is where the next one will be written: at the end of a page that is behind the
/// header of the next page, and a stream stands there only once something is written.
/// <https://github.com/postgres/postgres/blob/master/src/include/access/xlog_internal.h> (`SizeOfXLogLongPHD`)
fn end_of_record(next: Lsn, page_bytes: u64, segment_bytes: u64) -> Lsn {
    const HEADER_BYTES: u64 = 24;
    const FIRST_HEADER_BYTES: u64 = 40;
    if page_bytes == 0 || segment_bytes == 0 {
        return next;
    }
    let is_first = next.0 % segment_bytes < page_bytes;
    let header = if is_first { FIRST_HEADER_BYTES } else { HEADER_BYTES };
    if next.0 % page_bytes == header { Lsn(next.0 - header) } else { next }
}

/// Reads a place of the log out of an answer.
pub fn lsn(text: Option<&str>, what: &str) -> wire::Result<Lsn> {
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| wire::Error::Invalid(format!("the server does not say {what}; is it a PostgreSQL server?")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_ends_before_the_header_of_the_page_that_comes_next() {
        for (next, expected) in [
            (0x100_0028, 0x100_0000),
            (0x100_2018, 0x100_2000),
            (0x100_2028, 0x100_2028),
            (0x100_0018, 0x100_0018),
            (0x100_2040, 0x100_2040),
        ] {
            assert_eq!(end_of_record(Lsn(next), 8192, 16 << 20), Lsn(expected), "{next:x}");
        }
        assert_eq!(end_of_record(Lsn(0x18), 0, 0), Lsn(0x18));
    }
}
