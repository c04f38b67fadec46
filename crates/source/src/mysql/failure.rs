//! What goes wrong between us, the server and its log, as instructions to the engine: the one place that decides.
//!
//! Invariant: what a person must mend stops the source by name; what passes by itself is tried again. Start at [`Failure`].

use super::decode::DecodeError;
use super::wire;
use headwater_model::Error;
use std::time::Duration;

/// How long to wait after a refusal that only a person can lift, but that costs nothing to try again.
const REFUSED_RETRY: Duration = Duration::from_secs(10);

/// Connections that are full, shutting down, or killed: they come back by themselves.
const PASSING: [u16; 9] = [1040, 1053, 1077, 1203, 1226, 1317, 1927, 3168, 3169];

/// Errors of a server that will not send its log; the second is MariaDB's for two readers with one `server_id`.
const LOG_REFUSED: [u16; 2] = [1236, 4052];

/// What a server's refusal to send its log means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It no longer has the log that we need.
    Purged,
    /// It never had what we hold: it was reset, or a failover lost transactions.
    Lost,
    /// Another reader uses our `server_id`.
    Collision,
    /// An event is larger than it may send.
    TooLarge,
    /// Its log file is damaged.
    Damaged,
    /// Anything else.
    Other,
}

impl Refusal {
    /// Reads the text of the error, which is all that tells these apart.
    pub fn of(message: &str) -> Refusal {
        let has = |text: &str| message.contains(text);
        if has("same server_uuid/server_id") || has("same server_id") {
            Refusal::Collision
        } else if has("purged required")
            || has("Could not find first log file name")
            || has("have been purged")
            || has("purged on the master")
        {
            Refusal::Purged
        } else if has("has more GTIDs than the")
            || has("is not in the master's binlog")
            || has("which is missing from the master")
            || has("is missing the GTID")
            || has("position > file size")
            || has("could not find next log")
            || has("impossible position")
            || has("diverged")
        {
            Refusal::Lost
        } else if has("max_allowed_packet") {
            Refusal::TooLarge
        } else if has("bogus data") || has("truncated in the middle") || has("event read from binlog did not pass") {
            Refusal::Damaged
        } else {
            Refusal::Other
        }
    }
}

/// Turns an error of the connection into an instruction. `source` is the source's name.
pub fn of_connection(source: &str, error: wire::Error) -> Error {
    let message = format!("source {source}");
    let kind = match &error {
        wire::Error::Server { error, .. } if LOG_REFUSED.contains(&error.code) => {
            return refused(source, &error.message.clone());
        }
        wire::Error::Server { error, .. } if PASSING.contains(&error.code) => Error::reconnect(message),
        wire::Error::Io { .. } | wire::Error::Timeout { .. } | wire::Error::Closed { .. } => Error::reconnect(message),
        wire::Error::Cancelled { .. } | wire::Error::Protocol { .. } => Error::reconnect(message),
        wire::Error::TooLarge { .. } | wire::Error::Invalid(_) => Error::stop(message),
        // A password or a grant is mended on the server: go on by ourselves as soon as it is.
        _ => Error::retry_after(REFUSED_RETRY, message),
    };
    kind.source(error)
}

/// The server refused to send its log, or to go on sending it.
pub fn refused(source: &str, message: &str) -> Error {
    let detail = format!("The server said: {}", message.trim_end_matches('.'));
    match Refusal::of(message) {
        Refusal::Purged => purged(source).detail(detail),
        Refusal::Lost => Error::stop(format!(
            "source {source}: the server's log does not hold what was read from it before"
        ))
        .detail(detail)
        .hint(
            "It was reset, restored, or a failover lost transactions. Point the source at the server that has them, or \
                 take a new snapshot (`headwater snapshot`, or `snapshot: when_needed`).",
        ),
        Refusal::Collision => Error::retry_after(
            3 * REFUSED_RETRY,
            format!("source {source}: another reader of this server uses our server_id"),
        )
        .detail(detail)
        .hint("Give one of the two another `server_id`, or end the second process."),
        Refusal::TooLarge => Error::stop(format!("source {source}: an event is larger than the server may send"))
            .detail(detail)
            .hint("Run SET GLOBAL max_allowed_packet = 1073741824 on the server and start the source again."),
        Refusal::Damaged => Error::stop(format!("source {source}: the server cannot read its own log"))
            .detail(detail)
            .hint("Check the log with mysqlbinlog --verify-binlog-checksum, and the server's disk."),
        Refusal::Other => Error::stop(format!("source {source}: the server refuses to send its log")).detail(detail),
    }
}

/// The log that we need next is gone.
pub fn purged(source: &str) -> Error {
    Error::stop(format!("source {source}: the server no longer has the log that comes next")).hint(
        "Changes in between cannot be read any more. Take a new snapshot (`headwater snapshot`, or `snapshot: when_needed`), \
         and keep the log longer: SET GLOBAL binlog_expire_logs_seconds = 604800.",
    )
}

/// An event could not be decoded; `place` is the file and the offset at which it begins.
pub fn of_event(source: &str, place: &str, error: DecodeError) -> Error {
    Error::stop(format!("source {source}: the event at {place} cannot be read")).source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_servers_are_told_apart() {
        for (message, refusal) in [
            (
                "Cannot replicate because the source purged required binary logs. Replicate the missing transactions from \
                 elsewhere",
                Refusal::Purged,
            ),
            ("Could not find first log file name in binary log index file", Refusal::Purged),
            (
                "Could not find GTID state requested by slave in any binlog files. Probably the slave state is too old and \
                 required binlog files have been purged.",
                Refusal::Purged,
            ),
            (
                "Replica has more GTIDs than the source has, using the source's SERVER_UUID. This may indicate that the end \
                 of the binary log was truncated",
                Refusal::Lost,
            ),
            (
                "Error: connecting slave requested to start from GTID 0-1-99, which is not in the master's binlog",
                Refusal::Lost,
            ),
            ("could not find next log; the first event '.' at 4", Refusal::Lost),
            ("Client requested source to start replication from position > file size", Refusal::Lost),
            (
                "A replica with the same server_uuid/server_id as this replica has connected to the source; the first event \
                 '' at 4",
                Refusal::Collision,
            ),
            (
                "A slave with the same server_uuid/server_id is already connected; the first event '.' at 4",
                Refusal::Collision,
            ),
            ("log event entry exceeded max_allowed_packet; Increase max_allowed_packet on source", Refusal::TooLarge),
            ("bogus data in log event; the first event", Refusal::Damaged),
            ("something new", Refusal::Other),
        ] {
            assert_eq!(Refusal::of(message), refusal, "{message}");
        }
    }
}
