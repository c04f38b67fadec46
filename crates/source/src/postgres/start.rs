//! Before the first message: connect, look at the server, and compare our end with its slot and its history.
//!
//! Invariant: streaming begins only where the server provably still has everything after our position, and nothing of what
//! we hold was lost by it. Start at [`connect`], then [`compare`].

use super::config::Options;
use super::failure;
use super::lsn::Lsn;
use super::position::Position;
use super::server::{Server, VERSION_MIN, since};
use super::slot::Slot;
use super::wire::query::identifier;
use super::wire::{self, Connection, Replication, Role, Target};
use headwater_model::{Error, Result};

/// The largest message that is accepted: a row of PostgreSQL has at most 1 GB, and an update carries two.
const MESSAGE_BYTES_MAX: usize = 0x7fff_ffff;

/// What every session is told, so that values have one form whatever the database's defaults are. With row security on, rows
/// could be left out without a word.
const SETTINGS: [(&str, &str); 10] = [
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("xmloption", "content"),
    ("row_security", "off"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("synchronize_seqscans", "off"),
];

/// Connects for replication to the first of the servers that will do, beginning with `host`, which becomes the one.
pub fn connect(options: &Options, host: &mut usize) -> Result<(Connection, Server)> {
    // A standby is looked for everywhere first; then anything will do.
    let targets = match options.connection.target {
        Target::PreferStandby => &[Target::Standby, Target::Any][..],
        ref target => std::slice::from_ref(target),
    };
    let count = options.connection.hosts.len();
    let mut first_error = None;
    for target in targets {
        for attempt in 0..count {
            let index = (*host + attempt) % count;
            match connect_to(options, index, *target) {
                Ok(found) => {
                    *host = index;
                    return Ok(found);
                }
                Err(error) => {
                    if count > 1 {
                        tracing::warn!(source = options.name, %error, "a server of several will not do; trying the next");
                    }
                    first_error.get_or_insert(error);
                }
            }
        }
    }
    Err(first_error.unwrap_or_else(|| Error::stop(format!("source {}: no server is configured", options.name))))
}

fn connect_to(options: &Options, index: usize, target: Target) -> Result<(Connection, Server)> {
    let failed = |error| failure::of_connection(&options.name, error);
    let mut connection = open(options, index, Role::Replication).map_err(failed)?;
    let server = Server::inspect(&mut connection).map_err(failed)?;
    if !target.accepts(server.in_recovery, server.setting("transaction_read_only") == "on") {
        let state = if server.in_recovery { "a standby" } else { "a primary" };
        return Err(Error::retry_after(
            failure::REFUSED_RETRY,
            format!("source {}: {} is {state}, and not {}", options.name, connection.peer(), target.as_str()),
        ));
    }
    Ok((connection, server))
}

/// A connection for statements to the server number `host`.
pub fn connect_session(options: &Options, host: usize) -> Result<Connection> {
    open(options, host, Role::Session).map_err(|error| failure::of_connection(&options.name, error))
}

fn open(options: &Options, host: usize, role: Role) -> wire::Result<Connection> {
    let mut wire = options.connection.clone();
    wire.role = role;
    wire.message_bytes_max = MESSAGE_BYTES_MAX;
    wire.settings.extend(SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Connection::connect(&wire, host)
}

/// Refuses a server whose log cannot be followed, with what mends it.
pub fn require(options: &Options, server: &Server) -> Result<()> {
    let stop = |what: String, mend: &str| Err(Error::stop(format!("source {}: {what}", options.name)).hint(mend));
    if server.version < VERSION_MIN {
        return stop(
            format!("{} is too old", server.title()),
            "Use version 12 or later; older ones send what this reader has never been tested on.",
        );
    }
    if server.setting("wal_level") != "logical" {
        return stop(
            format!("wal_level is {}: the log does not hold enough to read rows from it", server.setting("wal_level")),
            "Run ALTER SYSTEM SET wal_level = 'logical', and restart the server.",
        );
    }
    if server.is_pooled {
        return stop(
            "a connection pooler stands between us and the server".to_owned(),
            "Replication needs the server itself: name its own host and port.",
        );
    }
    Ok(())
}

/// What our end and the server's slot say of each other.
pub enum Begin {
    /// Go on here.
    From(Position),
    /// The slot does not lead on from our position. Why.
    Lost(Error),
}

/// Compares our end with the server's history and with its slot, if it has one.
pub fn compare(
    options: &Options,
    connection: &mut Connection,
    server: &Server,
    slot: Option<&Slot>,
    mut ours: Position,
) -> Result<Begin> {
    let failed = |error| failure::of_connection(&options.name, error);
    if ours.system != server.system {
        return Ok(Begin::Lost(failure::other_system(options, server.system, ours.system)));
    }
    if ours.timeline != server.timeline {
        // The first time line has no history, and none has one of those after it.
        let branched = match ours.timeline < server.timeline {
            true => branch(connection, server.timeline, ours.timeline).map_err(failed)?,
            false => None,
        };
        if branched.is_none_or(|at| ours.lsn > at) {
            let held = (ours.timeline, ours.lsn);
            return Ok(Begin::Lost(failure::diverged(options, server.timeline, held, branched)));
        }
    }
    let Some(slot) = slot.filter(|_| ours.slot == options.slot) else {
        return Ok(Begin::Lost(failure::dropped(options, ours.lsn)));
    };
    let confirmed = slot.confirmed().map_err(failed)?;
    if confirmed > ours.lsn {
        return Ok(Begin::Lost(failure::ahead(options, confirmed, ours.lsn)));
    }
    ours.timeline = server.timeline;
    Ok(Begin::From(ours))
}

/// Where the history of time line `now` left time line `then`; `None` when it never was on it.
fn branch(connection: &mut Connection, now: u32, then: u32) -> wire::Result<Option<Lsn>> {
    let history = connection.query(&format!("TIMELINE_HISTORY {now}"))?;
    Ok(branch_in(history.text(0, "content").unwrap_or_default(), then))
}

/// A history file has a line for each time line before: its number, where it was left, and why.
fn branch_in(history: &str, then: u32) -> Option<Lsn> {
    history.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let line = words.next()?.parse::<u32>().ok()?;
        let at = words.next()?.parse().ok()?;
        (line == then).then_some(at)
    })
}

/// Asks for the log after `position`, over a connection for replication.
pub fn stream(options: &Options, connection: Connection, server: &Server, position: &Position) -> Result<Replication> {
    // The publication's name is an identifier inside a literal, of the plain kind: this is not SQL.
    let publications = identifier(&options.publication).replace('\'', "''");
    let mut wanted = format!("proto_version '{}', publication_names '{publications}'", server.protocol());
    if options.messages && server.version >= since::MESSAGES {
        wanted.push_str(", messages 'true'");
    }
    if options.in_progress && server.version >= since::MESSAGES {
        wanted.push_str(", streaming 'on'");
    }
    let command = format!("START_REPLICATION SLOT {} LOGICAL {} ({wanted})", identifier(&options.slot), position.lsn);
    connection.start_replication(&command).map_err(|error| failure::of_connection(&options.name, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_where_a_time_line_was_left_is_read_from_its_history() {
        let history = "# a comment\n1\t0/3000110\tno recovery target specified\n\n2\t0/50000A8\tbefore 2024\n";
        for (then, expected) in [(1, Some(Lsn(0x300_0110))), (2, Some(Lsn(0x500_00a8))), (3, None)] {
            assert_eq!(branch_in(history, then), expected, "{then}");
        }
        assert_eq!(branch_in("garbage\n1\n", 1), None);
    }
}
