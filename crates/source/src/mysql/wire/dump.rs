//! The log as a stream of raw events: registering as a replica, asking for a place, reading packets.
//!
//! Invariant: an event is handed out with every byte the server sent, checksum included, and is neither parsed nor judged
//! here. Protocol: "COM_BINLOG_DUMP", "COM_BINLOG_DUMP_GTID", "Binlog Network Stream". Start at [`Connection::into_dump`].

use std::fmt;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use super::connection::{Connection, Link, ServerInfo, Turn};
use super::error::{Error, Result};
use super::packet::{LargePacket, Packet};
use crate::net::{Canceller, Transport};

const COM_BINLOG_DUMP: u8 = 0x12;
const COM_REGISTER_SLAVE: u8 = 0x15;
const COM_BINLOG_DUMP_GTID: u8 = 0x1e;
/// The first event lies behind a log file's four magic bytes.
const FIRST_EVENT_OFFSET: u64 = 4;
/// How many heartbeats may fail to arrive before the connection counts as dead.
const HEARTBEATS_MISSED_MAX: u32 = 3;
pub(super) const REGISTERING: &str = "registering as a replica";
const STARTING: &str = "asking for the log";
const READING: &str = "reading the log";

/// Flag of a dump: the server ends the stream at the end of its log instead of waiting for more.
pub const BINLOG_DUMP_NON_BLOCK: u16 = 0x01;
/// MariaDB's flag of a dump: send `ANNOTATE_ROWS` events.
pub const BINLOG_SEND_ANNOTATE_ROWS: u16 = 0x02;

/// What to ask for.
#[derive(Debug, Clone)]
pub struct DumpRequest<'a> {
    /// Our number among the server's replicas. A server ends an older stream of the same number.
    pub server_id: u32,
    /// The name that `SHOW REPLICAS` lists, at most 255 bytes.
    pub report_host: &'a str,
    /// How long the server may stay silent at the end of its log before it sends a heartbeat; zero for none.
    pub heartbeat: Duration,
    /// Where to begin.
    pub start: DumpStart<'a>,
    /// [`BINLOG_DUMP_NON_BLOCK`], [`BINLOG_SEND_ANNOTATE_ROWS`].
    pub flags: u16,
}

/// Where a stream begins.
#[derive(Debug, Clone, Copy)]
pub enum DumpStart<'a> {
    /// At an event's first byte in a log file. The protocol carries 32 bits of the offset.
    ///
    /// On MariaDB also the way to begin at a GTID: with an empty `file`, after `SET @slave_connect_state`.
    Position {
        /// The file's name, e.g. `binlog.000012`; empty means the oldest.
        file: &'a str,
        /// The event's first byte, at least 4.
        offset: u64,
    },
    /// At the first transaction outside a GTID set (MySQL).
    Gtid {
        /// The set as the server reads it: untagged as all versions do, or in the tagged form of 8.3 and later.
        encoded_set: &'a [u8],
    },
}

impl Connection {
    /// Registers as a replica and asks for the log; the connection is then good for nothing else.
    ///
    /// Sets the heartbeat, and declares that checksums are understood as the server writes them. MariaDB's session
    /// variables (`@mariadb_slave_capability`, `@slave_connect_state`, …) are the caller's, before this. The read timeout is
    /// raised to three heartbeats where it is shorter. A refusal (1236, 1227, …) may come with the first event.
    pub fn into_dump(mut self, request: &DumpRequest<'_>) -> Result<Dump> {
        self.execute(&session_variables(request.heartbeat))?;
        self.command(REGISTERING, &registration(request)?)?;
        self.answer(REGISTERING)?;
        self.turn = Turn::Ours;
        self.command(STARTING, &dump_command(request)?)?;
        if !request.heartbeat.is_zero() {
            let shortest = request.heartbeat.saturating_mul(HEARTBEATS_MISSED_MAX);
            let timeout = self.link.timeout.map(|timeout| timeout.max(shortest));
            self.set_read_timeout(timeout)?;
        }
        Ok(Dump { connection: self, has_failed: false })
    }
}

/// A running stream of events. After any error but [`Error::Timeout`] it refuses to go on, so that no event is passed over.
#[derive(Debug)]
pub struct Dump {
    connection: Connection,
    has_failed: bool,
}

/// One event: header, body and, where the log has them, its four bytes of checksum.
#[derive(Debug)]
pub enum Event<'a> {
    /// All of it; valid until the next call.
    Whole(&'a [u8]),
    /// An event too large to hold, to be read piece by piece.
    Large(LargeEvent<'a>),
}

impl Dump {
    /// The next event, waiting for it; `None` when the server ended the stream ([`BINLOG_DUMP_NON_BLOCK`]).
    ///
    /// Errors: [`Error::Server`] with the server's code (1236: the log cannot be read from there);
    /// [`Error::TooLarge`] beyond `Options::packet_bytes_max`; [`Error::Timeout`], after which the call may be repeated;
    /// [`Error::Closed`], [`Error::Cancelled`].
    pub fn next_event(&mut self) -> Result<Option<&[u8]>> {
        self.refuse_after_failure()?;
        let Connection { stream, link, packet_bytes_max, .. } = &mut self.connection;
        let packet = stream.read_packet(*packet_bytes_max).map_err(|error| link.frame(READING, error));
        match packet.and_then(|packet| event_of(link, packet)) {
            Err(error) => Err(noted(&mut self.has_failed, error)),
            event => event,
        }
    }

    /// As [`Dump::next_event`], but an event of more than `whole_bytes_max` bytes is handed out as a stream.
    pub fn next_event_or_stream(&mut self, whole_bytes_max: usize) -> Result<Option<Event<'_>>> {
        self.refuse_after_failure()?;
        let Connection { stream, link, .. } = &mut self.connection;
        let packet = stream.next_packet(whole_bytes_max).map_err(|error| link.frame(READING, error));
        let event = packet.and_then(|packet| match packet {
            Packet::Whole(packet) => Ok(event_of(link, packet)?.map(Event::Whole)),
            Packet::Large(packet) => LargeEvent::open(packet, link).map(Event::Large).map(Some),
        });
        match event {
            Err(error) => Err(noted(&mut self.has_failed, error)),
            event => event,
        }
    }

    fn refuse_after_failure(&self) -> Result<()> {
        if self.has_failed {
            return Err(Error::Invalid(format!(
                "{}: {READING}: the stream failed before; connect again",
                self.connection.peer()
            )));
        }
        Ok(())
    }

    /// Whether the next event is already here, so that asking for it does not wait.
    pub fn has_buffered_event(&self) -> bool {
        self.connection.stream.has_buffered_packet()
    }

    /// Waits until there may be more to read, or `bell` is readable, or `limit` passes; answers the first. It is never
    /// later than the kernel's timers, while a short read timeout is rounded up to its ticks.
    pub fn wait(&mut self, bell: impl AsFd, limit: Duration) -> Result<bool> {
        let Connection { stream, link, .. } = &mut self.connection;
        let waited = stream.transport_mut().wait(Some(bell.as_fd()), limit);
        waited.map_err(|error| link.io(READING, error))
    }

    /// A handle by which another thread ends the stream.
    pub fn canceller(&self) -> Canceller {
        self.connection.canceller()
    }

    /// The server at the other end.
    pub fn server(&self) -> &ServerInfo {
        self.connection.server()
    }

    /// The limit of each silence from now on.
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) -> Result<()> {
        self.connection.set_read_timeout(timeout)
    }
}

/// An event larger than the caller wants to hold. Dropping it early skips the rest.
pub struct LargeEvent<'a> {
    packet: LargePacket<'a, Transport>,
    link: &'a Link,
}

impl<'a> LargeEvent<'a> {
    fn open(mut packet: LargePacket<'a, Transport>, link: &'a Link) -> Result<Self> {
        let mut header = [0xff];
        packet.read(&mut header).map_err(|error| link.frame(READING, error))?;
        match header {
            [0] => Ok(Self { packet, link }),
            _ => Err(link.protocol(READING, "a packet that is no event")),
        }
    }

    /// The next piece of the event, empty at its end; valid until the next call.
    pub fn piece(&mut self) -> Result<&[u8]> {
        self.packet.piece().map_err(|error| self.link.frame(READING, error))
    }
}

impl Read for LargeEvent<'_> {
    /// Errors carry an [`Error`] inside; those of a read timeout have the kind `TimedOut` and lose nothing.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.packet.read(out).map_err(|error| match self.link.frame(READING, error) {
            error @ Error::Timeout { .. } => io::Error::new(io::ErrorKind::TimedOut, error),
            error => io::Error::other(error),
        })
    }
}

impl fmt::Debug for LargeEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The buffer below holds rows.
        f.write_str("LargeEvent")
    }
}

/// A timeout loses nothing; after anything else the stream's place is unknown.
fn noted(has_failed: &mut bool, error: Error) -> Error {
    *has_failed = !matches!(error, Error::Timeout { .. });
    error
}

fn event_of<'a>(link: &Link, packet: &'a [u8]) -> Result<Option<&'a [u8]>> {
    match packet {
        [0x00, event @ ..] => Ok(Some(event)),
        [0xfe, ..] if packet.len() < 9 => Ok(None),
        packet => {
            link.refuse_error_packet(READING, packet)?;
            Err(link.protocol(READING, "a packet that is no event"))
        }
    }
}

fn session_variables(heartbeat: Duration) -> String {
    // Each server reads one spelling of each name and takes the other for a variable of our own.
    let period_ns = heartbeat.as_nanos();
    format!(
        "SET @master_heartbeat_period = {period_ns}, @source_heartbeat_period = {period_ns}, \
         @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum"
    )
}

fn registration(request: &DumpRequest<'_>) -> Result<Vec<u8>> {
    let host = request.report_host.as_bytes();
    let host_bytes = u8::try_from(host.len()).map_err(|_| {
        Error::Invalid(format!("{REGISTERING}: the name to report has {} bytes; at most 255 fit", host.len()))
    })?;
    let mut command = vec![COM_REGISTER_SLAVE];
    command.extend_from_slice(&request.server_id.to_le_bytes());
    command.push(host_bytes);
    command.extend_from_slice(host);
    // No user, no password (the list of replicas would show it), no port, rank 0, no source's number.
    command.extend_from_slice(&[0; 1 + 1 + 2 + 4 + 4]);
    Ok(command)
}

fn dump_command(request: &DumpRequest<'_>) -> Result<Vec<u8>> {
    match request.start {
        DumpStart::Position { file, offset } => {
            let offset_bits = u32::try_from(offset).map_err(|_| {
                Error::Invalid(format!(
                    "{STARTING}: {file} cannot be read from offset {offset}, which is beyond the protocol's 4 GiB; \
                     begin at an earlier event of that file, or by GTID"
                ))
            })?;
            let mut command = vec![COM_BINLOG_DUMP];
            command.extend_from_slice(&offset_bits.to_le_bytes());
            command.extend_from_slice(&request.flags.to_le_bytes());
            command.extend_from_slice(&request.server_id.to_le_bytes());
            command.extend_from_slice(file.as_bytes());
            Ok(command)
        }
        DumpStart::Gtid { encoded_set } => {
            let set_bytes = u32::try_from(encoded_set.len())
                .map_err(|_| Error::Invalid(format!("{STARTING}: a GTID set of {} bytes", encoded_set.len())))?;
            let mut command = vec![COM_BINLOG_DUMP_GTID];
            command.extend_from_slice(&request.flags.to_le_bytes());
            command.extend_from_slice(&request.server_id.to_le_bytes());
            command.extend_from_slice(&0u32.to_le_bytes());
            command.extend_from_slice(&FIRST_EVENT_OFFSET.to_le_bytes());
            command.extend_from_slice(&set_bytes.to_le_bytes());
            command.extend_from_slice(encoded_set);
            Ok(command)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(start: DumpStart<'_>) -> DumpRequest<'_> {
        DumpRequest { server_id: 0x0102_0304, report_host: "hw", heartbeat: Duration::from_secs(1), start, flags: 2 }
    }

    #[test]
    fn commands_are_laid_out_as_the_protocol_says() {
        let position = request(DumpStart::Position { file: "b.1", offset: 4 });
        let gtid = request(DumpStart::Gtid { encoded_set: b"set" });
        assert_eq!(
            registration(&position).expect("a short name"),
            b"\x15\x04\x03\x02\x01\x02hw\0\0\0\0\0\0\0\0\0\0\0\0"
        );
        assert_eq!(dump_command(&position).expect("a small offset"), b"\x12\x04\0\0\0\x02\0\x04\x03\x02\x01b.1");
        assert_eq!(
            dump_command(&gtid).expect("a small set"),
            b"\x1e\x02\0\x04\x03\x02\x01\0\0\0\0\x04\0\0\0\0\0\0\0\x03\0\0\0set"
        );
    }

    #[test]
    fn what_the_protocol_cannot_carry_is_refused() {
        let far = request(DumpStart::Position { file: "b.1", offset: 1 << 32 });
        assert!(dump_command(&far).expect_err("too far").to_string().contains("4 GiB"));
        let name = "x".repeat(256);
        let long = DumpRequest { report_host: &name, ..request(DumpStart::Gtid { encoded_set: b"" }) };
        assert!(registration(&long).expect_err("too long").to_string().contains("255"));
    }
}
