//! One connection: who is at the other end, and one command at a time.
//!
//! Invariant: a command is sent only when the answer to the one before has been read to its end; a connection that lost its
//! place in the conversation refuses further commands. Start at [`Connection::connect`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mysql_common::constants::CapabilityFlags;

use super::error::{Error, Result, ServerError};
use super::fields::Truncated;
use super::handshake;
use super::options::Options;
use super::packet::{FrameError, PacketStream};
use crate::net::{Canceller, Socket, Transport};

const COM_QUIT: u8 = 0x01;
const COM_PING: u8 = 0x0e;

/// What a server says of itself.
#[derive(Debug, Clone)]
pub struct ServerInfo {
    /// The version as it writes it, e.g. `9.7.0` or `11.8.2-MariaDB-1`.
    pub version: String,
    /// Major, minor and patch; zeros where the text has none.
    pub version_parts: (u16, u16, u16),
    /// MariaDB, as against MySQL and its relatives.
    pub is_mariadb: bool,
    /// Our connection in its process list, for `KILL`.
    pub connection_id: u32,
    /// The capability flags it offers.
    pub offered_capabilities: u32,
    /// The capability flags in use.
    pub capabilities: u32,
    /// Whether the connection is encrypted.
    pub is_encrypted: bool,
}

impl ServerInfo {
    pub(super) fn new(version: String, connection_id: u32, offered_capabilities: u32, capabilities: u32) -> Self {
        // Since 10.2 MariaDB leaves out the flag that every MySQL sets, whatever a provider makes of the version's text.
        let is_mariadb =
            version.contains("MariaDB") || offered_capabilities & CapabilityFlags::CLIENT_LONG_PASSWORD.bits() == 0;
        Self {
            version_parts: parse_version(&version, is_mariadb),
            version,
            is_mariadb,
            connection_id,
            offered_capabilities,
            capabilities,
            is_encrypted: false,
        }
    }

    pub(super) fn under_tls(self, is_encrypted: bool) -> Self {
        Self { is_encrypted, ..self }
    }
}

fn parse_version(version: &str, is_mariadb: bool) -> (u16, u16, u16) {
    // MariaDB 10 calls itself 5.5.5 first, for the sake of old replicas.
    let text = version.strip_prefix("5.5.5-").filter(|_| is_mariadb).unwrap_or(version);
    let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

/// Turns what goes wrong below into an [`Error`] that names the peer and the step.
#[derive(Debug)]
pub(super) struct Link {
    pub peer: Arc<str>,
    pub canceller: Canceller,
    pub timeout: Option<Duration>,
}

impl Link {
    pub fn frame(&self, step: &'static str, error: FrameError) -> Error {
        let peer = self.peer.clone();
        match error {
            FrameError::Io(error) => self.io(step, error),
            FrameError::Closed { .. } if self.canceller.is_cancelled() => Error::Cancelled { peer, step },
            FrameError::Closed { mid_packet } => Error::Closed { peer, step, mid_packet },
            FrameError::TooLarge { bytes_max } => Error::TooLarge { peer, step, what: "a packet", bytes_max },
            FrameError::OutOfOrder { .. } => self.protocol(step, error.to_string()),
        }
    }

    pub fn io(&self, step: &'static str, source: io::Error) -> Error {
        use io::ErrorKind as K;
        let peer = self.peer.clone();
        match source.kind() {
            _ if self.canceller.is_cancelled() => Error::Cancelled { peer, step },
            K::WouldBlock | K::TimedOut => Error::Timeout { peer, step, after: self.timeout.unwrap_or_default() },
            K::UnexpectedEof => Error::Closed { peer, step, mid_packet: true },
            K::ConnectionReset | K::BrokenPipe | K::ConnectionAborted => {
                Error::Closed { peer, step, mid_packet: false }
            }
            _ => Error::Io { peer, step, source },
        }
    }

    pub fn protocol(&self, step: &'static str, what: impl Into<String>) -> Error {
        Error::Protocol { peer: self.peer.clone(), step, what: what.into() }
    }

    pub fn truncated(&self, step: &'static str, error: Truncated) -> Error {
        self.protocol(step, error.to_string())
    }

    /// Passes any packet but the server's error packet.
    pub fn refuse_error_packet<'a>(&self, step: &'static str, packet: &'a [u8]) -> Result<&'a [u8]> {
        if packet.first() != Some(&0xff) {
            return Ok(packet);
        }
        match ServerError::parse(packet) {
            Ok(error) => Err(Error::Server { peer: self.peer.clone(), step, error }),
            Err(error) => Err(self.truncated(step, error)),
        }
    }
}

/// Where the conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Ours: a command may be sent.
    Ours,
    /// The server's: its answer has not been read to its end.
    Theirs,
    /// The server's, and what is left are rows that may be skipped.
    TheirRows,
}

/// An authenticated connection. Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    pub(super) stream: PacketStream<Transport>,
    pub(super) link: Link,
    pub(super) turn: Turn,
    pub(super) packet_bytes_max: usize,
    pub(super) result_bytes_max: usize,
    server: ServerInfo,
}

impl Connection {
    /// Connects to `options.hosts[host_index]` and logs in, with `utf8mb4` as the character set. Failing over to another
    /// host is the caller's decision.
    ///
    /// Errors: [`Error::Io`] or [`Error::Timeout`] (not reachable), [`Error::Server`] (refused, e.g. 1045), [`Error::Auth`],
    /// [`Error::Tls`]. Looking up a host's name takes as long as the system lets it.
    pub fn connect(options: &Options, host_index: usize) -> Result<Self> {
        const STEP: &str = "connecting";
        let address = options.hosts.get(host_index).ok_or_else(|| {
            Error::Invalid(format!("host number {host_index} of {} does not exist", options.hosts.len()))
        })?;
        let peer: Arc<str> = format!("{address} (user {:?})", options.user).into();
        let timeout = Some(options.connect_timeout);
        let unreachable = |source: io::Error| match source.kind() {
            io::ErrorKind::TimedOut => {
                Error::Timeout { peer: peer.clone(), step: STEP, after: options.connect_timeout }
            }
            _ => Error::Io { peer: peer.clone(), step: STEP, source },
        };
        let socket = Socket::connect(address, options.connect_timeout, options.keepalive).map_err(unreachable)?;
        socket.set_timeouts(timeout).map_err(unreachable)?;
        let canceller = Canceller::of(&socket).map_err(unreachable)?;
        let link = Link { peer, canceller, timeout };

        let (stream, server) = handshake::perform(socket, address, options, &link)?;
        let mut connection = Self {
            stream,
            link,
            turn: Turn::Ours,
            packet_bytes_max: options.packet_bytes_max,
            result_bytes_max: options.result_bytes_max,
            server,
        };
        // A server may be told to ignore the character set of the handshake (character_set_client_handshake=OFF).
        connection.execute("SET NAMES utf8mb4")?;
        connection.set_read_timeout(options.read_timeout)?;
        Ok(connection)
    }

    /// The server at the other end.
    pub fn server(&self) -> &ServerInfo {
        &self.server
    }

    /// The server and user, as they appear in errors.
    pub fn peer(&self) -> &str {
        &self.link.peer
    }

    /// A handle by which another thread ends this connection.
    pub fn canceller(&self) -> Canceller {
        self.link.canceller.clone()
    }

    /// The limit of each silence from now on; `None` waits for ever.
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) -> Result<()> {
        let socket = self.stream.transport().socket();
        socket.set_timeouts(timeout).map_err(|error| self.link.io("setting the read timeout", error))?;
        self.link.timeout = timeout;
        Ok(())
    }

    /// Asks the server for a sign of life.
    pub fn ping(&mut self) -> Result<()> {
        const STEP: &str = "pinging the server";
        self.command(STEP, &[COM_PING])?;
        self.answer(STEP)?;
        self.turn = Turn::Ours;
        Ok(())
    }

    /// Says goodbye, so that the server does not count an aborted connection.
    pub fn close(mut self) {
        if self.turn == Turn::Ours {
            // The server closes without an answer, and there is nothing to do about a goodbye that is not heard.
            let _ = self.command("closing", &[COM_QUIT]);
        }
    }

    pub(super) fn uses(&self, capability: CapabilityFlags) -> bool {
        self.server.capabilities & capability.bits() != 0
    }

    /// Sends a command, after skipping rows that an earlier one left unread.
    pub(super) fn command(&mut self, step: &'static str, body: &[u8]) -> Result<()> {
        self.skip_rows()?;
        if self.turn != Turn::Ours {
            return Err(Error::Invalid(format!(
                "{}: {step}: an earlier command failed before its answer was read; connect again",
                self.link.peer
            )));
        }
        self.turn = Turn::Theirs;
        self.stream.start_command();
        let Err(error) = self.stream.write_packet(body) else {
            return Ok(());
        };
        if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) {
            // A server that closes while we send has mostly said why (1153, 4031).
            if let Err(said @ Error::Server { .. }) = self.answer(step) {
                return Err(said);
            }
        }
        Err(self.link.io(step, error))
    }

    /// The next packet of the answer; the server's error packet ends it.
    pub(super) fn answer(&mut self, step: &'static str) -> Result<&[u8]> {
        let packet = self.stream.read_packet(self.packet_bytes_max).map_err(|error| self.link.frame(step, error))?;
        if packet.first() == Some(&0xff) {
            self.turn = Turn::Ours;
        }
        self.link.refuse_error_packet(step, packet)
    }
}

#[cfg(test)]
#[path = "scripted_tests.rs"]
mod scripted_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_any_text() {
        let long_password = CapabilityFlags::CLIENT_LONG_PASSWORD.bits();
        for (text, flags, is_mariadb, parts) in [
            ("9.7.0", long_password, false, (9, 7, 0)),
            ("8.0.36-28.1", long_password, false, (8, 0, 36)),
            ("5.5.5-10.11.6-MariaDB-0+deb12u1", 0, true, (10, 11, 6)),
            ("11.8.2-MariaDB-ubu2404", 0, true, (11, 8, 2)),
            ("10.6.14-managed", 0, true, (10, 6, 14)),
            ("99999999.x", long_password, false, (0, 0, 0)),
            ("", long_password, false, (0, 0, 0)),
        ] {
            let server = ServerInfo::new(text.into(), 1, flags, 0);
            assert_eq!((server.is_mariadb, server.version_parts), (is_mariadb, parts), "{text:?}");
        }
    }
}
