//! What goes wrong between us, the server and its slot, as instructions to the engine: the one place that decides.
//!
//! Invariant: what a person must mend stops the source by name; what passes by itself is tried again. Start at
//! [`of_connection`].

use super::config::Options;
use super::lsn::Lsn;
use super::slot::Unusable;
use super::wire;
use super::wire::query::quoted;
use headwater_model::Error;
use std::time::Duration;

/// How long to wait after a refusal that only a person can lift, but that costs nothing to try again.
pub const REFUSED_RETRY: Duration = Duration::from_secs(10);

/// How long to wait for a slot that another process reads: mostly our own connection before, which the server has not missed
/// yet.
const ACTIVE_RETRY: Duration = Duration::from_secs(2);

/// Turns an error of the connection into an instruction. `source` is the source's name.
pub fn of_connection(source: &str, error: wire::Error) -> Error {
    let message = format!("source {source}");
    let kind = match &error {
        wire::Error::Server { error, .. } => of_sqlstate(&error.sqlstate, message),
        wire::Error::Io { .. } | wire::Error::Timeout { .. } | wire::Error::Closed { .. } => Error::reconnect(message),
        wire::Error::Cancelled { .. } | wire::Error::Protocol { .. } => Error::reconnect(message),
        wire::Error::TooLarge { .. } | wire::Error::Invalid(_) => Error::stop(message),
        // A password or a certificate is mended without us: go on by ourselves as soon as it is.
        _ => Error::retry_after(REFUSED_RETRY, message),
    };
    kind.source(error)
}

/// Whether the publication was missing when what comes next in the log was written.
pub fn is_unpublished(error: &wire::Error) -> bool {
    let names_publication = error.server().is_some_and(|said| said.message.contains("publication"));
    names_publication && (error.is_sqlstate(wire::UNDEFINED_OBJECT) || error.is_sqlstate(wire::NOT_IN_STATE))
}

/// Turns an error of the stream into an instruction.
pub fn of_stream(options: &Options, error: wire::Error) -> Error {
    if is_unpublished(&error) {
        // The server looks for the publication as of the change that it is about to send, not as of now.
        return Error::stop(format!(
            "source {}: the publication {} did not exist when what comes next in the log was written",
            options.name, options.publication
        ))
        .source(error)
        .hint(
            "It was dropped and made anew, or the slot is older than it. What was written meanwhile is not sent. Take a new \
             snapshot (`headwater snapshot`), which begins after it.",
        );
    }
    of_connection(&options.name, error)
}

/// Appendix "PostgreSQL Error Codes".
fn of_sqlstate(sqlstate: &str, message: String) -> Error {
    match sqlstate {
        // The slot is read by somebody else.
        "55006" => Error::retry_after(ACTIVE_RETRY, message),
        // Shutting down, crashed, starting, cancelled by an administrator.
        "57P01" | "57P02" | "57P03" | "57014" => Error::reconnect(message),
        // A serialization failure or a deadlock.
        "40001" | "40P01" => Error::reconnect(message),
        _ => match sqlstate.get(..2) {
            // Connection exceptions, of poolers too; too few resources; what is not in the right state.
            Some("08" | "53") => Error::reconnect(message),
            Some("58" | "XX") => Error::stop(message),
            _ => Error::retry_after(REFUSED_RETRY, message),
        },
    }
}

/// The slot cannot be read.
pub fn unusable(options: &Options, why: Unusable) -> Error {
    let Options { name, slot, .. } = options;
    match why {
        Unusable::Other(what) => Error::stop(format!("source {name}: the replication slot {slot} is not ours"))
            .detail(format!("It is there already, and {}", what.trim_start_matches("it ")))
            .hint("Choose another name (`slot`), or drop the slot if nobody needs it."),
        Unusable::Lost(what) => lost(options).detail(format!("The slot is there, but {what}")).hint(format!(
            "Drop it (SELECT pg_drop_replication_slot({})) and take a new snapshot (`snapshot: when_needed` does both); \
             raise max_slot_wal_keep_size, so that it does not happen again.",
            quoted(slot)
        )),
        Unusable::Active(process) => Error::retry_after(
            ACTIVE_RETRY,
            format!("source {name}: the replication slot {slot} is read by another process (pid {process})"),
        )
        .hint(format!(
            "Only one may read it. If it is not an earlier connection of ours, which ends by itself, give one of the two \
             another slot, or run SELECT pg_terminate_backend({process})."
        )),
    }
}

/// The slot is gone, or cannot be read any more.
pub fn lost(options: &Options) -> Error {
    Error::stop(format!("source {}: the replication slot {} no longer leads on from here", options.name, options.slot))
}

/// The slot does not exist although it was read before.
pub fn dropped(options: &Options, ours: Lsn) -> Error {
    lost(options)
        .detail(format!("It was dropped; the last position read from it was {ours}"))
        .hint("What was written since cannot be read any more. Take a new snapshot (`snapshot: when_needed`).")
}

/// The slot was confirmed beyond what is held here: changes would be missed without a word.
pub fn ahead(options: &Options, confirmed: Lsn, ours: Lsn) -> Error {
    Error::stop(format!("source {}: the replication slot {} stands ahead of the journal", options.name, options.slot))
        .detail(format!("It was confirmed up to {confirmed}, the journal ends at {ours}; what lies between would be missed"))
        .hint(
            "Another process has read the slot, it was made anew, or the journal was restored from an older copy. Take a new \
             snapshot (`snapshot: when_needed`), and let nobody else read this slot.",
        )
}

/// The server is another one than the one whose log was read.
pub fn other_system(options: &Options, seen: u64, ours: u64) -> Error {
    Error::stop(format!("source {}: this is another server than the one whose log was read", options.name))
        .detail(format!("Its system identifier is {seen}, that of the log that was read {ours}"))
        .hint(
            "It was made anew or restored by a dump. Point the source back at the right server, or take a new snapshot \
             (`snapshot: when_needed`).",
        )
}

/// A standby was promoted before it had all that was read from its primary.
pub fn diverged(options: &Options, timeline: u32, ours: (u32, Lsn), branched: Option<Lsn>) -> Error {
    let (ours_line, ours_lsn) = ours;
    let detail = match branched {
        Some(at) => format!(
            "Up to {ours_lsn} of time line {ours_line} was read; time line {timeline} left it at {at}: what lies between was \
             lost in the failover"
        ),
        None => format!("Time line {timeline} does not come from time line {ours_line}, of which {ours_lsn} was read"),
    };
    Error::stop(format!("source {}: the server's history does not hold all that was read", options.name))
        .detail(detail)
        .hint(
            "A failover lost transactions, or a backup was restored to an earlier moment. Point the source at the server that \
             has them, or take a new snapshot (`snapshot: when_needed`).",
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_model::Kind;

    #[test]
    fn each_sqlstate_is_an_instruction() {
        for (sqlstate, kind) in [
            ("55006", Kind::RetryAfter(ACTIVE_RETRY)),
            ("57P01", Kind::Reconnect),
            ("57P03", Kind::Reconnect),
            ("53300", Kind::Reconnect),
            ("08006", Kind::Reconnect),
            ("28P01", Kind::RetryAfter(REFUSED_RETRY)),
            ("42501", Kind::RetryAfter(REFUSED_RETRY)),
            ("3D000", Kind::RetryAfter(REFUSED_RETRY)),
            ("XX001", Kind::Stop),
            ("58P01", Kind::Stop),
            ("", Kind::RetryAfter(REFUSED_RETRY)),
        ] {
            assert_eq!(*of_sqlstate(sqlstate, String::new()).kind(), kind, "{sqlstate}");
        }
    }
}
