//! What can go wrong between us and a server, each with the peer, the step, and what to do.
//!
//! Invariant: no password, no statement parameter and no row value is ever part of an error: of the server's own error the
//! message and the hint are passed on, its detail, which may quote rows, is not. Start at [`Error`].

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::fields::{Fields, Truncated};

/// The result of talking to a server.
pub type Result<T> = std::result::Result<T, Error>;

/// SQLSTATE of what is not in the state that it must be in.
pub const NOT_IN_STATE: &str = "55000";
/// SQLSTATE of an object that does not exist.
pub const UNDEFINED_OBJECT: &str = "42704";

/// A failed conversation. `peer` reads like `db1:5432 (user "cdc")`, `step` like `running a statement`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The network failed, or the server cannot be reached.
    #[error("{peer}: {step}: {cause}; check that the server runs and can be reached from here")]
    Io {
        /// The server and user.
        peer: Arc<str>,
        /// What was being done.
        step: &'static str,
        /// The cause, which the text has.
        cause: io::Error,
    },
    /// The server stayed silent for longer than the timeout.
    #[error(
        "{peer}: {step}: nothing arrived for {after:?}; the server or the network between hangs, or the timeout is too short"
    )]
    Timeout {
        /// The server and user.
        peer: Arc<str>,
        /// What was being done.
        step: &'static str,
        /// The timeout that passed.
        after: Duration,
    },
    /// The server closed the connection.
    #[error("{peer}: {step}: the server closed the connection{}; its log says why", if *.mid_message { " inside a message" } else { "" })]
    Closed {
        /// The server and user.
        peer: Arc<str>,
        /// What was being done.
        step: &'static str,
        /// Whether a message had arrived in part.
        mid_message: bool,
    },
    /// Our own [`Canceller`](super::Canceller) ended the connection.
    #[error("{peer}: {step}: cancelled")]
    Cancelled {
        /// The server and user.
        peer: Arc<str>,
        /// What was being done.
        step: &'static str,
    },
    /// The server answered with an error.
    #[error("{peer}: {step}: the server answered {error}{}", advice(.error))]
    Server {
        /// The server and user.
        peer: Arc<str>,
        /// What was being done.
        step: &'static str,
        /// Its answer.
        error: Box<ServerError>,
    },
    /// We cannot or will not prove who we are in the way the server asks for.
    #[error("{peer}: logging in: {reason}")]
    Auth {
        /// The server and user.
        peer: Arc<str>,
        /// What was seen and what to do.
        reason: String,
    },
    /// TLS could not be set up as asked.
    #[error("{peer}: TLS: {reason}")]
    Tls {
        /// The server and user.
        peer: Arc<str>,
        /// What was seen and what to do.
        reason: String,
    },
    /// The server sent what the protocol does not allow here.
    #[error("{peer}: {step}: {what}; is this a PostgreSQL server, reached without a proxy that changes messages?")]
    Protocol {
        /// The server and user.
        peer: Arc<str>,
        /// What was being done.
        step: &'static str,
        /// What was seen.
        what: String,
    },
    /// A message or a result is larger than its limit.
    #[error("{peer}: {step}: {what} of more than {bytes_max} bytes; raise that limit if it is meant to be so large")]
    TooLarge {
        /// The server and user.
        peer: Arc<str>,
        /// What was being done.
        step: &'static str,
        /// What is too large.
        what: &'static str,
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// The caller asked for something that cannot be asked of this server.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// The server's own error, if this is one.
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Error::Server { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Whether the server answered with this SQLSTATE.
    pub fn is_sqlstate(&self, sqlstate: &str) -> bool {
        self.server().is_some_and(|error| error.sqlstate == sqlstate)
    }
}

/// An `ErrorResponse`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerError {
    /// `ERROR`, `FATAL` or `PANIC`; the second and third end the connection.
    pub severity: String,
    /// The five characters of the SQLSTATE.
    pub sqlstate: String,
    /// The server's text.
    pub message: String,
    /// The server's own advice, often empty.
    pub hint: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.severity, self.sqlstate, self.message.trim_end_matches('.'))?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint.trim_end_matches('.'))?;
        }
        Ok(())
    }
}

impl ServerError {
    /// Parses the body of an `ErrorResponse` or a `NoticeResponse`. Fields that are not known are passed over.
    pub(super) fn parse(body: &[u8]) -> std::result::Result<Self, Truncated> {
        let mut fields = Fields(body);
        let mut error = ServerError::default();
        let mut severity = String::new();
        loop {
            let code = fields.u8()?;
            if code == 0 {
                break;
            }
            let text = fields.text()?;
            match code {
                // Not translated, since 9.6.
                b'V' => error.severity = text,
                b'S' => severity = text,
                b'C' => error.sqlstate = text,
                b'M' => error.message = text,
                b'H' => error.hint = text,
                _ => {}
            }
        }
        if error.severity.is_empty() {
            error.severity = severity;
        }
        Ok(error)
    }
}

/// What to do about the errors that a set-up meets; the others speak for themselves.
fn advice(error: &ServerError) -> &'static str {
    match &*error.sqlstate {
        // PgBouncer and its like say so in the same code as a wrong parameter.
        "08P01" if error.message.contains("unsupported startup parameter") => {
            "; a connection pooler stands between us and the server, and replication cannot pass it: name the server itself"
        }
        "28000" if error.message.contains("pg_hba.conf") => {
            "; let the role connect from here in the server's pg_hba.conf and reload it"
        }
        "28000" | "28P01" => "; check the user, the password and the server's pg_hba.conf",
        "42501" => "; grant the role what it lacks (`headwater check` lists it)",
        "3D000" => "; check the database's name",
        "53300" => "; raise the server's max_connections or max_wal_senders, or end idle connections",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_responses_parse_with_and_without_their_fields() {
        for (body, expected) in [
            (
                &b"SFEHLER\0VERROR\0C42704\0Mslot \"a\" does not exist\0Dsecret\0HLook.\0\0"[..],
                Some("ERROR 42704: slot \"a\" does not exist (Look)"),
            ),
            (
                b"SFATAL\0C57P03\0Mthe database system is starting up\0\0",
                Some("FATAL 57P03: the database system is starting up"),
            ),
            (b"\0", Some(" : ")),
            (b"", None),
            (b"Mno end", None),
            (b"Mno end\0", None),
        ] {
            let seen = ServerError::parse(body).ok().map(|error| error.to_string());
            assert_eq!(seen.as_deref(), expected, "{body:?}");
        }
    }
}
