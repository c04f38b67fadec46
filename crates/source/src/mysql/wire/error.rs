//! What can go wrong between us and a server, each with the peer, the step, and what to do.
//!
//! Invariant: no password, no statement parameter and no row value is ever part of an error; the server's own message is
//! passed on as it is. Start at [`Error`].

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::dump::REGISTERING;
use super::fields::{Fields, Truncated};

/// The result of talking to a server.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed conversation. `peer` reads like `db1:3306 (user "cdc")`, `step` like `running a statement`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The network failed, or the server cannot be reached.
    #[error("{peer}: {step}: {source}; check that the server runs and can be reached from here")]
    Io {
        /// The server and user.
        peer: Arc<str>,
        /// What was being done.
        step: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The server stayed silent for longer than the timeout; nothing is lost, the read may be tried again.
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
    #[error("{peer}: {step}: the server closed the connection{}; its error log says why", if *.mid_packet { " inside a packet" } else { "" })]
    Closed {
        /// The server and user.
        peer: Arc<str>,
        /// What was being done.
        step: &'static str,
        /// Whether a packet had arrived in part.
        mid_packet: bool,
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
    #[error("{peer}: {step}: the server answered {error}{}", advice(step, .error.code))]
    Server {
        /// The server and user.
        peer: Arc<str>,
        /// What was being done.
        step: &'static str,
        /// Its answer.
        error: ServerError,
    },
    /// We cannot or will not prove who we are in the way the server asks for.
    #[error("{peer}: authentication by {plugin:?}: {reason}")]
    Auth {
        /// The server and user.
        peer: Arc<str>,
        /// The authentication plugin that the server named.
        plugin: String,
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
    #[error("{peer}: {step}: {what}; is this a MySQL or MariaDB server, reached without a proxy that changes packets?")]
    Protocol {
        /// The server and user.
        peer: Arc<str>,
        /// What was being done.
        step: &'static str,
        /// What was seen.
        what: String,
    },
    /// A packet or a result is larger than its limit.
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
}

/// An error packet: MySQL's and MariaDB's numeric code, SQLSTATE and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// The error number, e.g. 1045 (access denied) or 1236 (the log cannot be read from there).
    pub code: u16,
    /// The five characters of the SQLSTATE; errors before the handshake carry none.
    pub sqlstate: Option<String>,
    /// The server's text.
    pub message: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sqlstate {
            Some(sqlstate) => write!(f, "{} ({sqlstate}): {}", self.code, self.message),
            None => write!(f, "{}: {}", self.code, self.message),
        }
    }
}

impl ServerError {
    /// Parses an error packet's body, its header byte 0xFF included. Protocol: "ERR_Packet".
    pub(super) fn parse(packet: &[u8]) -> std::result::Result<Self, Truncated> {
        let mut fields = Fields(packet);
        fields.u8()?;
        let code = fields.u16()?;
        let sqlstate = match fields.0.split_first_chunk::<6>() {
            Some(([b'#', state @ ..], message)) => {
                fields.0 = message;
                Some(String::from_utf8_lossy(state).into_owned())
            }
            _ => None,
        };
        Ok(Self { code, sqlstate, message: String::from_utf8_lossy(fields.0).into_owned() })
    }
}

/// What to do about the errors that a set-up meets; the others speak for themselves.
fn advice(step: &str, code: u16) -> &'static str {
    match code {
        // A replica without the privilege is refused as if its password were wrong.
        1045 if step == REGISTERING => "; grant the user REPLICATION SLAVE",
        1045 => "; check the user, the password and the host the user may connect from",
        1040 | 1203 => "; raise the server's max_connections or end idle connections",
        1044 | 1142 | 1227 => "; grant the user the missing privilege",
        1049 => "; check the database's name",
        1129 => "; run FLUSH HOSTS on the server",
        1130 => "; allow the user to connect from this host",
        3159 => "; set the TLS mode to required",
        1820 | 1862 => "; give the user a new password",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_packets_parse_with_and_without_a_sqlstate() {
        for (packet, expected) in [
            (&b"\xff\x15\x04#28000Access denied"[..], Some("1045 (28000): Access denied")),
            (b"\xff\x10\x04Too many connections", Some("1040: Too many connections")),
            (b"\xff\xd4\x04", Some("1236: ")),
            (b"\xff\xd4\x04#123", Some("1236: #123")),
            (b"\xff\x15", None),
        ] {
            let seen = ServerError::parse(packet).ok().map(|error| error.to_string());
            assert_eq!(seen.as_deref(), expected, "{packet:?}");
        }
    }
}
