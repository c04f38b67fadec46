//! The 19 bytes that open every event, and the names of the event types.
//!
//! Invariant: numbers are kept as the server sent them; a type that is unknown here is still a valid [`EventKind`].

use super::bytes::Bytes;
use std::fmt;

/// Length of the header of binlog format version 4.
pub const HEADER_BYTES: usize = 19;

/// The event may be skipped by a reader that does not know its type (`LOG_EVENT_IGNORABLE_F`).
pub const FLAG_IGNORABLE: u16 = 0x80;

/// Made up by the sender, not part of the file (`LOG_EVENT_ARTIFICIAL_F`): the rotate event that opens a dump.
pub const FLAG_ARTIFICIAL: u16 = 0x20;

/// Set in a file's first event while the file is being written; not part of that event's checksum.
pub const FLAG_IN_USE: u16 = 0x1;

/// An event's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventHeader {
    /// Seconds since the epoch at which the statement began; 0 for made-up events.
    pub timestamp: u32,
    /// Event type.
    pub kind: EventKind,
    /// Server that wrote it first.
    pub server_id: u32,
    /// Bytes of the event, header and checksum included.
    pub length: u32,
    /// Position after it in its file, modulo 4 GB. 0 for made-up events, inside compressed transactions, and in MariaDB
    /// 11 for every event between a transaction's GTID and its end: count by `length` there.
    pub end_position: u32,
    /// `LOG_EVENT_*_F`.
    pub flags: u16,
}

impl EventHeader {
    /// Reads a header; `None` when there are fewer than [`HEADER_BYTES`].
    pub fn read(raw: &[u8]) -> Option<EventHeader> {
        let mut bytes = Bytes(raw);
        Some(EventHeader {
            timestamp: bytes.u32("").ok()?,
            kind: EventKind(bytes.u8("").ok()?),
            server_id: bytes.u32("").ok()?,
            length: bytes.u32("").ok()?,
            end_position: bytes.u32("").ok()?,
            flags: bytes.u16("").ok()?,
        })
    }

    /// Whether the sender made it up.
    pub fn artificial(&self) -> bool {
        self.flags & FLAG_ARTIFICIAL != 0
    }
}

/// An event type by its number. MySQL's numbers end at 42, MariaDB's own begin at 160.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventKind(pub u8);

macro_rules! kinds {
    ($($name:ident = $number:literal,)*) => {
        #[allow(missing_docs, reason = "the names are the servers' own")]
        impl EventKind {
            $(pub const $name: EventKind = EventKind($number);)*

            /// The server's name of the type, `None` when it is not known.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    UNKNOWN = 0,
    START_V3 = 1,
    QUERY = 2,
    STOP = 3,
    ROTATE = 4,
    INTVAR = 5,
    LOAD = 6,
    SLAVE = 7,
    CREATE_FILE = 8,
    APPEND_BLOCK = 9,
    EXEC_LOAD = 10,
    DELETE_FILE = 11,
    NEW_LOAD = 12,
    RAND = 13,
    USER_VAR = 14,
    FORMAT_DESCRIPTION = 15,
    XID = 16,
    BEGIN_LOAD_QUERY = 17,
    EXECUTE_LOAD_QUERY = 18,
    TABLE_MAP = 19,
    WRITE_ROWS_V0 = 20,
    UPDATE_ROWS_V0 = 21,
    DELETE_ROWS_V0 = 22,
    WRITE_ROWS_V1 = 23,
    UPDATE_ROWS_V1 = 24,
    DELETE_ROWS_V1 = 25,
    INCIDENT = 26,
    HEARTBEAT = 27,
    IGNORABLE = 28,
    ROWS_QUERY = 29,
    WRITE_ROWS = 30,
    UPDATE_ROWS = 31,
    DELETE_ROWS = 32,
    GTID = 33,
    ANONYMOUS_GTID = 34,
    PREVIOUS_GTIDS = 35,
    TRANSACTION_CONTEXT = 36,
    VIEW_CHANGE = 37,
    XA_PREPARE = 38,
    PARTIAL_UPDATE_ROWS = 39,
    TRANSACTION_PAYLOAD = 40,
    HEARTBEAT_V2 = 41,
    GTID_TAGGED = 42,
    ANNOTATE_ROWS = 160,
    BINLOG_CHECKPOINT = 161,
    MARIA_GTID = 162,
    MARIA_GTID_LIST = 163,
    START_ENCRYPTION = 164,
    QUERY_COMPRESSED = 165,
    WRITE_ROWS_COMPRESSED_V1 = 166,
    UPDATE_ROWS_COMPRESSED_V1 = 167,
    DELETE_ROWS_COMPRESSED_V1 = 168,
    WRITE_ROWS_COMPRESSED = 169,
    UPDATE_ROWS_COMPRESSED = 170,
    DELETE_ROWS_COMPRESSED = 171,
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}({})", self.0)
    }
}
