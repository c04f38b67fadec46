//! One connection: who is at the other end, and one command at a time.
//!
//! Invariant: a command is sent only when the answer to the one before has been read to its end; a connection that lost its
//! place in the conversation refuses further commands. Start at [`Connection::connect`].

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;

use super::error::{Error, Result, ServerError};
use super::fields::{Fields, Truncated};
use super::frame::{FrameError, Frames};
use super::options::Options;
use super::startup;
use crate::net::{Canceller, Socket, Transport};

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
            FrameError::Closed { mid_message } => Error::Closed { peer, step, mid_message },
            FrameError::TooLarge { bytes_max } => Error::TooLarge { peer, step, what: "a message", bytes_max },
            FrameError::BadLength { .. } => self.protocol(step, error.to_string()),
        }
    }

    pub fn io(&self, step: &'static str, source: io::Error) -> Error {
        use io::ErrorKind as K;
        let peer = self.peer.clone();
        match source.kind() {
            _ if self.canceller.is_cancelled() => Error::Cancelled { peer, step },
            K::WouldBlock | K::TimedOut => Error::Timeout { peer, step, after: self.timeout.unwrap_or_default() },
            K::UnexpectedEof => Error::Closed { peer, step, mid_message: true },
            K::ConnectionReset | K::BrokenPipe | K::ConnectionAborted => {
                Error::Closed { peer, step, mid_message: false }
            }
            _ => Error::Io { peer, step, cause: source },
        }
    }

    pub fn protocol(&self, step: &'static str, what: impl Into<String>) -> Error {
        Error::Protocol { peer: self.peer.clone(), step, what: what.into() }
    }

    pub fn truncated(&self, step: &'static str, error: Truncated) -> Error {
        self.protocol(step, error.to_string())
    }

    /// An `ErrorResponse` with this body.
    pub fn server(&self, step: &'static str, body: &[u8]) -> Error {
        match ServerError::parse(body) {
            Ok(error) => Error::Server { peer: self.peer.clone(), step, error: Box::new(error) },
            Err(error) => self.truncated(step, error),
        }
    }
}

/// Where the conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Ours: a command may be sent.
    Ours,
    /// The server's: its answer has not been read to its end, which is `ReadyForQuery`.
    Theirs,
}

/// An authenticated connection. Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    pub(super) frames: Frames<Transport>,
    pub(super) link: Link,
    pub(super) turn: Turn,
    pub(super) message_bytes_max: usize,
    pub(super) result_bytes_max: usize,
    pub(super) out: BytesMut,
    /// A warning that something is left out is an error.
    pub(super) refuses_warnings: bool,
    parameters: BTreeMap<String, String>,
    process: u32,
}

impl Connection {
    /// Connects to `options.hosts[host_index]` and logs in. Failing over to another host, and choosing one by
    /// `options.target`, is the caller's decision.
    ///
    /// Errors: [`Error::Io`] or [`Error::Timeout`] (not reachable), [`Error::Server`] (refused, e.g. 28P01), [`Error::Auth`],
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
            _ => Error::Io { peer: peer.clone(), step: STEP, cause: source },
        };
        let socket = Socket::connect(address, options.connect_timeout, options.keepalive).map_err(unreachable)?;
        socket.set_timeouts(timeout).map_err(unreachable)?;
        let canceller = Canceller::of(&socket).map_err(unreachable)?;
        let link = Link { peer: peer.clone(), canceller, timeout };
        let (frames, greeting) = startup::perform(socket, address, options, &link)?;
        let mut connection = Self {
            frames,
            link,
            turn: Turn::Ours,
            message_bytes_max: options.message_bytes_max,
            result_bytes_max: options.result_bytes_max,
            out: BytesMut::new(),
            refuses_warnings: false,
            parameters: greeting.parameters,
            process: greeting.process,
        };
        connection.set_read_timeout(options.read_timeout)?;
        Ok(connection)
    }

    /// What the server has said of a setting such as `server_version`; empty where it has not.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// The process that serves us, by what was said at the startup.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// The server and user, as they appear in errors.
    pub fn peer(&self) -> &str {
        &self.link.peer
    }

    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.frames.transport(), Transport::Tls(_))
    }

    /// A handle by which another thread ends this connection.
    pub fn canceller(&self) -> Canceller {
        self.link.canceller.clone()
    }

    /// The limit of each silence from now on; `None` waits for ever.
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) -> Result<()> {
        let socket = self.frames.transport().socket();
        socket.set_timeouts(timeout).map_err(|error| self.link.io("setting the read timeout", error))?;
        self.link.timeout = timeout;
        Ok(())
    }

    /// Says goodbye.
    pub fn close(mut self) {
        if self.turn == Turn::Ours {
            self.out.clear();
            frontend::terminate(&mut self.out);
            // The server closes without an answer, and there is nothing to do about a goodbye that is not heard.
            let _ = self.frames.send(&self.out);
        }
    }

    /// Sends what stands in `out`, after skipping rows that an earlier command left unread.
    pub(super) fn command(&mut self, step: &'static str) -> Result<()> {
        self.turn = Turn::Theirs;
        let Err(error) = self.frames.send(&self.out) else { return Ok(()) };
        if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) {
            // A server that closes while we send has mostly said why.
            while let Ok(kind) = self.next(step) {
                if kind == b'E' {
                    return Err(self.link.server(step, self.frames.body()));
                }
            }
        }
        Err(self.link.io(step, error))
    }

    /// Readies the connection for a command: reads what is left of the answer before.
    pub(super) fn ready(&mut self, step: &'static str) -> Result<()> {
        self.out.clear();
        while self.turn != Turn::Ours {
            match self.next(step)? {
                b'Z' => self.turn = Turn::Ours,
                b'E' if self.is_fatal() => return Err(self.link.server(step, self.frames.body())),
                _ => {}
            }
        }
        Ok(())
    }

    /// The kind of the next message that belongs to an answer; notices and changed parameters come at any time.
    pub(super) fn next(&mut self, step: &'static str) -> Result<u8> {
        loop {
            let kind = self.frames.advance(self.message_bytes_max).map_err(|error| self.link.frame(step, error))?;
            match kind {
                // Since 18 a missing publication is only a warning, and the changes under it are passed over.
                b'N' if self.refuses_warnings && self.leaves_out() => {
                    return Err(self.link.server(step, self.frames.body()));
                }
                b'N' | b'A' => {}
                b'S' => {
                    let mut fields = Fields(self.frames.body());
                    let pair = fields.text().and_then(|name| Ok((name, fields.text()?)));
                    let (name, value) = pair.map_err(|error| self.link.truncated(step, error))?;
                    self.parameters.insert(name, value);
                }
                kind => return Ok(kind),
            }
        }
    }

    /// Whether the `NoticeResponse` at hand says that something is not in the state that it must be in.
    fn leaves_out(&self) -> bool {
        ServerError::parse(self.frames.body())
            .is_ok_and(|notice| notice.severity == "WARNING" && notice.sqlstate == super::error::NOT_IN_STATE)
    }

    /// Whether the `ErrorResponse` at hand ends the connection.
    fn is_fatal(&self) -> bool {
        ServerError::parse(self.frames.body()).is_ok_and(|error| error.severity != "ERROR")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A canceller that outlives us has the socket too: the server would serve it on, and keep its log for a temporary slot.
        self.link.canceller.cancel();
    }
}

#[cfg(test)]
#[path = "scripted_tests.rs"]
mod scripted_tests;
