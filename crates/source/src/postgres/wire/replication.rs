//! The stream of a replication slot: messages of the plugin and keepalives from the server, our own status to it.
//!
//! Invariant: nothing is confirmed here by itself; what the caller says was flushed is what the server hears. Protocol:
//! "Streaming Replication Protocol", START_REPLICATION. Start at [`Connection::start_replication`].

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use postgres_protocol::message::frontend;

use super::connection::Connection;
use super::error::{Error, Result};
use super::fields::{Fields, Truncated};
use crate::net::Canceller;
use crate::postgres::lsn::Lsn;

const STARTING: &str = "starting replication";
const STREAMING: &str = "reading the stream";
const CONFIRMING: &str = "confirming a position";

/// PostgreSQL counts time from the start of the year 2000, in microseconds.
pub const EPOCH_US: i64 = 946_684_800_000_000;

/// One message of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A message of the plugin.
    Data {
        /// Where it stands in the log; 0 for messages that stand for nothing in it.
        start: Lsn,
        /// The message.
        body: &'a [u8],
    },
    /// The server is alive.
    Keepalive {
        /// Up to where it has read its log and sent what there is.
        end: Lsn,
        /// It wants to hear from us at once.
        reply: bool,
    },
}

/// From this pace on the stream is let gather, for this long at a time. The server sends each row by itself, and a reader
/// that waits is woken for each of them, which costs the server more than the reader: one that works off a backlog takes a
/// quarter longer then. Nobody sees a pause so short behind so much.
const DENSE_BYTES_PER_S: u128 = 8 << 20;
const GATHER: Duration = Duration::from_millis(1);

/// Over how long the pace is taken, at least.
const PACE: Duration = Duration::from_millis(1);

/// A connection that streams.
#[derive(Debug)]
pub struct Replication {
    connection: Connection,
    pace: Pace,
}

/// How densely the stream arrives.
#[derive(Debug)]
struct Pace {
    since: Instant,
    /// Bytes that had arrived then.
    received: u64,
    is_dense: bool,
}

impl Pace {
    fn new(received: u64, now: Instant) -> Self {
        Self { since: now, received, is_dense: false }
    }

    /// Whether so much arrives, now that `received` bytes have.
    fn is_dense(&mut self, received: u64, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= PACE {
            let bytes = u128::from(received.saturating_sub(self.received));
            self.is_dense = bytes * 1_000_000 >= DENSE_BYTES_PER_S * elapsed.as_micros();
            (self.since, self.received) = (now, received);
        }
        self.is_dense
    }
}

impl Connection {
    /// Sends a `START_REPLICATION` command and becomes its stream.
    pub fn start_replication(mut self, command: &str) -> Result<Replication> {
        self.ready(STARTING)?;
        frontend::query(command, &mut self.out)
            .map_err(|_| Error::Invalid("a command must not hold a NUL character".to_owned()))?;
        self.command(STARTING)?;
        match self.answer(STARTING)? {
            b'W' => {
                let pace = Pace::new(self.frames.received(), Instant::now());
                Ok(Replication { connection: self, pace })
            }
            other => Err(self.unexpected(STARTING, other)),
        }
    }
}

impl Replication {
    /// Whether the next [`Self::next_event`] needs nothing from the server.
    pub fn has_buffered_event(&self) -> bool {
        self.connection.frames.has_buffered_message()
    }

    /// Waits until there may be something to read, or `bell` rings, or `limit` passes; answers the first. What arrives densely
    /// is waited for a moment longer.
    pub fn wait(&mut self, bell: Option<BorrowedFd<'_>>, limit: Duration) -> Result<bool> {
        if self.has_buffered_event() {
            return Ok(true);
        }
        // What has arrived already is never left to wait.
        let is_dense = self.pace.is_dense(self.connection.frames.received(), Instant::now());
        if is_dense && !self.has_arrived(None, Duration::ZERO)? {
            std::thread::sleep(GATHER);
        }
        self.has_arrived(bell, limit)
    }

    fn has_arrived(&mut self, bell: Option<BorrowedFd<'_>>, limit: Duration) -> Result<bool> {
        let waited = self.connection.frames.transport_mut().wait(bell, limit);
        waited.map_err(|error| self.connection.link.io(STREAMING, error))
    }

    /// The next message; `None` when the server has ended the stream.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>> {
        let connection = &mut self.connection;
        connection.refuses_warnings = true;
        match connection.answer(STREAMING)? {
            b'd' => match read(connection.frames.body()) {
                Ok(Some(event)) => Ok(Some(event)),
                Ok(None) => Err(connection.link.protocol(STREAMING, "a message of the stream is of an unknown kind")),
                Err(error) => Err(connection.link.truncated(STREAMING, error)),
            },
            // A server that shuts down ends the stream when all was sent.
            b'c' | b'C' | b'Z' => Ok(None),
            other => Err(connection.unexpected(STREAMING, other)),
        }
    }

    /// Tells the server what was received, and what is safe here and need never be sent again; asks for a sign of life where
    /// `wants_reply`.
    pub fn confirm(&mut self, received: Lsn, flushed: Lsn, now_us: i64, wants_reply: bool) -> Result<()> {
        let mut message = [0; 34];
        message[0] = b'r';
        for (at, value) in [(1, received.0), (9, flushed.0), (17, flushed.0), (25, (now_us - EPOCH_US) as u64)] {
            message[at..at + 8].copy_from_slice(&value.to_be_bytes());
        }
        message[33] = u8::from(wants_reply);
        let connection = &mut self.connection;
        connection.out.clear();
        let copy = frontend::CopyData::new(&message[..])
            .map_err(|error| connection.link.protocol(CONFIRMING, error.to_string()))?;
        copy.write(&mut connection.out);
        connection.frames.send(&connection.out).map_err(|error| connection.link.io(CONFIRMING, error))
    }

    /// A handle by which another thread ends the stream.
    pub fn canceller(&self) -> Canceller {
        self.connection.canceller()
    }

    /// Ends the stream in order, so that the slot is free at once and what was confirmed last is heard.
    pub fn close(mut self) {
        self.connection.out.clear();
        frontend::copy_done(&mut self.connection.out);
        frontend::terminate(&mut self.connection.out);
        // There is nothing to do about a goodbye that is not heard.
        let _ = self.connection.frames.send(&self.connection.out);
    }
}

/// Reads the body of a `CopyData` message; the inner `None` is a kind that is not known.
fn read(body: &[u8]) -> std::result::Result<Option<Event<'_>>, Truncated> {
    let mut fields = Fields(body);
    Ok(match fields.u8()? {
        b'w' => {
            let start = Lsn(fields.u64()?);
            // The end of the server's log and its clock, which keepalives tell too.
            fields.bytes(16)?;
            Some(Event::Data { start, body: fields.0 })
        }
        b'k' => {
            let end = Lsn(fields.u64()?);
            fields.i64()?;
            Some(Event::Keepalive { end, reply: fields.u8()? != 0 })
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_of_the_stream_are_read() {
        let data = [&b"w"[..], &7u64.to_be_bytes(), &[0; 16], b"B rest"].concat();
        assert_eq!(read(&data), Ok(Some(Event::Data { start: Lsn(7), body: b"B rest" })));
        let keepalive = [&b"k"[..], &9u64.to_be_bytes(), &[0; 8], &[1]].concat();
        assert_eq!(read(&keepalive), Ok(Some(Event::Keepalive { end: Lsn(9), reply: true })));
        assert_eq!(read(b"x"), Ok(None));
        for (whole, cuts) in [(&data, 25), (&keepalive, 18)] {
            for cut in 0..cuts {
                assert_eq!(read(&whole[..cut]), Err(Truncated), "cut at {cut}");
            }
        }
    }

    #[test]
    fn only_what_arrives_densely_for_a_while_is_let_gather() {
        let (begin, mut received, mut elapsed_us) = (Instant::now(), 1_000, 0);
        let mut pace = Pace::new(received, begin);
        for (what, after_us, bytes, expected) in [
            ("two thousand small transactions a second", 1_000, 800, false),
            ("a large one after an idle second", 1_000_000, 100_000, false),
            ("too early to tell", 500, 20_000, false),
            ("it goes on", 600, 20_000, true),
            ("still so until there is a new pace", 900, 0, true),
            ("its end", 200, 0, false),
            ("idle", 100_000, 0, false),
        ] {
            (elapsed_us, received) = (elapsed_us + after_us, received + bytes);
            assert_eq!(pace.is_dense(received, begin + Duration::from_micros(elapsed_us)), expected, "{what}");
        }
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_panic(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = read(&body);
        }
    }
}
