//! Before the first event: connect, look at the server, compare our end with its log, and ask for what comes next.
//!
//! Invariant: streaming begins only where the server provably still has everything after our position; what it has lost
//! or purged is named. Start at [`connect`], then [`compare`].

use super::config::Options;
use super::failure;
use super::position::{Gtids, Position, file_number};
use super::server::{Server, quoted};
use super::wire::dump::{BINLOG_DUMP_NON_BLOCK, BINLOG_SEND_ANNOTATE_ROWS, DumpRequest, DumpStart};
use super::wire::{Connection, Dump};
use headwater_model::{Error, Result};
use std::time::Duration;

/// The largest packet of either protocol; an event that holds one large row comes in one.
const EVENT_BYTES_MAX: usize = 1 << 30;

/// The oldest servers whose log is read.
const MYSQL_MIN: (u16, u16, u16) = (8, 0, 0);
const MARIADB_MIN: (u16, u16, u16) = (10, 5, 0);

/// Where to go on.
pub enum Begin {
    /// After our position.
    From(Position),
    /// The log does not lead on from our position, and the user allows a new snapshot. Why, for the log.
    Anew(Error),
}

/// Connects to the first of the servers that answers, beginning with `host`, which becomes the one that did.
pub fn connect(options: &Options, host: &mut usize) -> Result<(Connection, Server)> {
    let count = options.connection.hosts.len();
    let mut first_error = None;
    for attempt in 0..count {
        let index = (*host + attempt) % count;
        match connect_to(options, index) {
            Ok(found) => {
                *host = index;
                return Ok(found);
            }
            Err(error) => {
                if count > 1 {
                    tracing::warn!(source = options.name, %error, "a server of several is away; trying the next");
                }
                first_error.get_or_insert(error);
            }
        }
    }
    Err(first_error.unwrap_or_else(|| Error::stop(format!("source {}: no server is configured", options.name))))
}

fn connect_to(options: &Options, index: usize) -> Result<(Connection, Server)> {
    let failed = |error| failure::of_connection(&options.name, error);
    let mut wire = options.connection.clone();
    wire.packet_bytes_max = EVENT_BYTES_MAX;
    wire.program_name = "headwater".to_owned();
    let mut connection = Connection::connect(&wire, index).map_err(failed)?;
    let server = Server::inspect(&mut connection).map_err(failed)?;
    Ok((connection, server))
}

/// Refuses a server whose log cannot be followed, with the statement that mends it.
pub fn require(options: &Options, server: &Server) -> Result<()> {
    let stop = |what: String, mend: &str| Err(Error::stop(format!("source {}: {what}", options.name)).hint(mend));
    let oldest = if server.is_mariadb { MARIADB_MIN } else { MYSQL_MIN };
    if server.version_parts < oldest {
        let (major, minor, _) = oldest;
        return stop(
            format!("{} is too old", server.title()),
            &format!("Use version {major}.{minor} or later; older ones log what this reader has never been tested on."),
        );
    }
    if !server.is_on("log_bin") {
        return stop(
            format!("the binary log of {} is off", server.title()),
            "Put log_bin=binlog and binlog_format=ROW into the server's [mysqld] section and restart it.",
        );
    }
    let format = server.variable("binlog_format");
    // Servers that no longer know the setting write rows only.
    if !format.is_empty() && !format.eq_ignore_ascii_case("ROW") {
        return stop(
            format!("binlog_format is {format}: changes may be logged as statements, without their rows"),
            "Run SET GLOBAL binlog_format = 'ROW', put binlog_format=ROW into the server's [mysqld] section, and let \
             clients reconnect.",
        );
    }
    let image = server.variable("binlog_row_image");
    if !image.eq_ignore_ascii_case("FULL") {
        return stop(
            format!("binlog_row_image is {image}: the log leaves columns out of rows"),
            "Run SET GLOBAL binlog_row_image = 'FULL', put binlog_row_image=FULL into the server's [mysqld] section, and \
             let clients reconnect.",
        );
    }
    Ok(())
}

/// Compares our end with the server's log.
pub fn compare(
    options: &Options,
    connection: &mut Connection,
    server: &Server,
    ours: Position,
    anew: bool,
) -> Result<Begin> {
    let verdict = verdict(options, connection, server, ours)?;
    match verdict {
        Ok(position) => Ok(Begin::From(position)),
        Err(error) if anew => Ok(Begin::Anew(error)),
        Err(error) => Err(error),
    }
}

/// The outer error is of the connection, the inner one of the position.
fn verdict(
    options: &Options,
    connection: &mut Connection,
    server: &Server,
    mut ours: Position,
) -> Result<Result<Position, Error>> {
    let failed = |error| failure::of_connection(&options.name, error);
    let name = &options.name;
    match &ours.gtids {
        Gtids::MySql(set) if !server.is_mariadb && server.has_gtids() => {
            let (executed, purged) = server.gtid_sets(connection).map_err(failed)?;
            if !set.is_subset(&executed) {
                let mut lost = set.clone();
                lost.subtract(&executed);
                return Ok(Err(lost_by_server(name, server, &lost.to_string())));
            }
            if !purged.is_subset(set) {
                let mut missing = purged;
                missing.subtract(set);
                return Ok(Err(failure::purged(name).detail(format!("It purged {missing}, which was not read yet"))));
            }
        }
        Gtids::MariaDb(position) if server.is_mariadb => {
            let theirs = server.gtid_binlog_pos(connection).map_err(failed)?;
            if !theirs.reached(position) {
                let detail = format!("{position} was read, its log ends at {theirs}");
                return Ok(Err(lost_by_server(name, server, &detail)));
            }
        }
        Gtids::MariaDb(_) | Gtids::MySql(_) if server.is_mariadb != matches!(ours.gtids, Gtids::MariaDb(_)) => {
            return Ok(Err(wrong_server(name, server, &ours)));
        }
        _ => {
            if ours.server_uuid != server.uuid || server.is_mariadb {
                return Ok(Err(wrong_server(name, server, &ours)));
            }
            let files = server.log_files(connection).map_err(failed)?;
            if let Err(error) = find_offset(name, server, &ours, &files) {
                return Ok(Err(error));
            }
            // From here on file and offset are all that is known.
            ours.gtids = Gtids::None;
        }
    }
    (ours.server_uuid, ours.server_id) = (server.uuid, server.id);
    Ok(Ok(ours))
}

fn find_offset(name: &str, server: &Server, ours: &Position, files: &[(String, u64)]) -> Result<()> {
    match files.iter().find(|(file, _)| *file == ours.file) {
        Some((_, size)) if *size >= ours.offset => Ok(()),
        Some((file, size)) => {
            Err(lost_by_server(name, server, &format!("{file} was read up to {}, but has {size} bytes", ours.offset)))
        }
        None => {
            let first = files.first().and_then(|(file, _)| file_number(file));
            match file_number(&ours.file) < first {
                true => Err(failure::purged(name).detail(format!("Its oldest log file comes after {}", ours.file))),
                false => Err(lost_by_server(name, server, &format!("it has no log file {}", ours.file))),
            }
        }
    }
}

fn lost_by_server(name: &str, server: &Server, lost: &str) -> Error {
    Error::stop(format!("source {name}: {} does not have all that was read from it", server.title()))
        .detail(format!("It lost: {lost}"))
        .hint(
            "It was reset, restored, or a failover lost transactions. Point the source at the server that has them, or take \
             a new snapshot (`headwater snapshot`, or `snapshot: when_needed`).",
        )
}

fn wrong_server(name: &str, server: &Server, ours: &Position) -> Error {
    let identity =
        |uuid: Option<super::gtid::Uuid>| uuid.map_or_else(|| "without a UUID".to_owned(), |uuid| uuid.to_string());
    Error::stop(format!("source {name}: this is another server than the one whose log was read"))
        .detail(format!(
            "The position {}:{} is of server {}; this is {}, server {}",
            ours.file,
            ours.offset,
            identity(ours.server_uuid),
            server.title(),
            identity(server.uuid)
        ))
        .hint(
            "Without GTIDs a position means something on one server only. Point the source back at it, or take a new \
             snapshot (`headwater snapshot`, or `snapshot: when_needed`); with gtid_mode=ON a failover would just go on.",
        )
}

/// Asks for the log from a place of a file up to its present end, for a look back.
pub fn dump_backlog(options: &Options, mut connection: Connection, file: &str, offset: u64) -> Result<Dump> {
    let failed = |error| failure::of_connection(&options.name, error);
    if connection.server().is_mariadb {
        connection.execute("SET @mariadb_slave_capability = 4").map_err(failed)?;
    }
    let start = DumpStart::Position { file, offset };
    let flags = BINLOG_DUMP_NON_BLOCK;
    // The number of a reader that stops at the end matters to nobody, but must not end our own stream.
    let server_id = options.server_id ^ 1;
    let request = DumpRequest { server_id, report_host: "headwater", heartbeat: options.heartbeat, start, flags };
    connection.into_dump(&request).map_err(failed)
}

/// Asks for the log after `position`.
pub fn dump(
    options: &Options,
    mut connection: Connection,
    server: &Server,
    position: &Position,
    heartbeat: Duration,
) -> Result<Dump> {
    let failed = |error| failure::of_connection(&options.name, error);
    let mut flags = 0;
    let encoded;
    let start = match &position.gtids {
        Gtids::None => DumpStart::Position { file: &position.file, offset: position.offset },
        Gtids::MySql(set) => {
            encoded = set.to_wire();
            DumpStart::Gtid { encoded_set: &encoded }
        }
        Gtids::MariaDb(gtids) => {
            let state = format!(
                "SET @mariadb_slave_capability = 4, @slave_connect_state = {}, @slave_gtid_strict_mode = 1, \
                 @slave_gtid_ignore_duplicates = 0",
                quoted(&gtids.to_string())
            );
            connection.execute(&state).map_err(failed)?;
            DumpStart::Position { file: "", offset: 4 }
        }
    };
    if server.is_mariadb && options.statements {
        flags |= BINLOG_SEND_ANNOTATE_ROWS;
    }
    if !server.is_mariadb {
        // With a UUID of its own a reader that comes back ends only its own old stream.
        let uuid = format!("SET @slave_uuid = '{0}', @replica_uuid = '{0}'", reader_uuid(options.server_id));
        connection.execute(&uuid).map_err(failed)?;
    }
    let request = DumpRequest { server_id: options.server_id, report_host: "headwater", heartbeat, start, flags };
    connection.into_dump(&request).map_err(failed)
}

/// The same for the same `server_id`.
fn reader_uuid(server_id: u32) -> super::gtid::Uuid {
    let mut uuid = *b"headwater\0\x40\0\x80\0\0\0";
    uuid[12..].copy_from_slice(&server_id.to_be_bytes());
    // Version 4, variant 1, as servers expect of a UUID.
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    super::gtid::Uuid(uuid)
}
