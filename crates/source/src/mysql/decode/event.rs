//! The typed events, and the bodies of those that hold no rows.
//!
//! Invariant: every type of both servers is here, so that nothing is skipped without a decision; what may be skipped is
//! [`Event::Ignorable`] and nothing else. Start at [`Event`].

use super::bytes::{Bad, Bytes, Read};
use super::gtid::{Gtid, PreviousGtids};
use super::header::{EventHeader, EventKind, HEADER_BYTES};
use super::maria::{MariaGtid, MariaGtidEvent};
use super::payload::TransactionPayload;
use super::query::Query;
use super::rows::RowsEvent;
use super::table_map::TableMap;
use std::borrow::Cow;

/// One event of a binary log, borrowed from its bytes or from the decoder's buffers.
#[derive(Debug)]
pub enum Event<'a> {
    /// The first event of every file: how the others are written.
    FormatDescription(FormatDescription<'a>),
    /// The log goes on in another file. Artificial (see [`EventHeader::artificial`]) when it opens a dump.
    Rotate {
        /// Byte position in that file.
        position: u64,
        /// Its name.
        file: &'a str,
    },
    /// A transaction begins (MySQL, GTIDs on; with or without a tag).
    Gtid(Gtid<'a>),
    /// A transaction begins (MySQL, GTIDs off): times and length only.
    AnonymousGtid(Gtid<'a>),
    /// All GTIDs in the files before this one (MySQL).
    PreviousGtids(PreviousGtids<'a>),
    /// A transaction begins (MariaDB).
    MariaGtid(MariaGtidEvent<'a>),
    /// The last GTID of each domain and server in the files before this one (MariaDB).
    MariaGtidList(Vec<MariaGtid>),
    /// A statement: BEGIN, COMMIT, ROLLBACK, DDL, XA, or DML in statement format.
    Query(Query<'a>),
    /// A commit, with the storage engine's transaction number.
    Xid(u64),
    /// XA PREPARE, or XA COMMIT … ONE PHASE.
    XaPrepare {
        /// Committed in one phase: a commit, not a prepare.
        one_phase: bool,
        /// Whose.
        xid: Xa<'a>,
    },
    /// The table that rows events with the same number belong to.
    TableMap(TableMap<'a>),
    /// Rows inserted, updated or deleted.
    Rows(RowsEvent<'a>),
    /// The statement that made the rows that follow (`ROWS_QUERY`, MariaDB's `ANNOTATE_ROWS`). It is there for people:
    /// bytes that are not UTF-8 have been replaced.
    RowsQuery(Cow<'a, str>),
    /// A compressed transaction; its events are read from it one by one.
    Payload(TransactionPayload<'a>),
    /// Sent by an idle server: the log ends here.
    Heartbeat {
        /// The log's file.
        file: &'a str,
        /// Byte position in it.
        position: u64,
    },
    /// The server lost changes and says so.
    Incident {
        /// 1 means lost events.
        number: u16,
        /// The server's message.
        message: Cow<'a, str>,
    },
    /// Context of a statement-format statement: INTVAR, RAND, USER_VAR.
    StatementContext,
    /// LOAD DATA in statement format.
    LoadData,
    /// The server was shut down.
    Stop,
    /// MariaDB: the oldest file that crash recovery still needs.
    BinlogCheckpoint {
        /// Its name.
        file: &'a str,
    },
    /// Known or marked as something that a reader may skip.
    Ignorable,
}

/// What the first event of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatDescription<'a> {
    /// 4.
    pub binlog_version: u16,
    /// Such as `9.7.4` or `10.11.19-MariaDB-log`.
    pub server_version: &'a str,
    /// When the server was started, if this is the first file since; else 0.
    pub created: u32,
    /// Whether the events carry a CRC32.
    pub checksum: bool,
    /// Length of each event type's fixed part, from type 1.
    pub fixed_lengths: &'a [u8],
}

/// An XA transaction's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xa<'a> {
    /// The format number, usually 1.
    pub format: u32,
    /// The global part.
    pub gtrid: &'a [u8],
    /// The branch.
    pub bqual: &'a [u8],
}

impl<'a> Xa<'a> {
    /// At most 64 bytes each, as XA says.
    pub(super) fn new(format: u32, gtrid: &'a [u8], bqual: &'a [u8]) -> Read<Self> {
        if gtrid.len() > 64 || bqual.len() > 64 {
            return Err(Bad("an XA id longer than 64 bytes"));
        }
        Ok(Xa { format, gtrid, bqual })
    }

    /// As the server writes it in `XA COMMIT X'6731',X'6231',1`; a stable name for the transaction.
    pub fn literal(&self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("X'{}',X'{}',{}", hex(self.gtrid), hex(self.bqual), self.format)
    }
}

pub(super) fn text<'a>(bytes: &'a [u8], what: &'static str) -> Read<&'a str> {
    std::str::from_utf8(bytes).map_err(|_| Bad(what))
}

/// `body` is everything after the header, with the algorithm byte and without the checksum.
pub(super) fn format_description<'a>(body: &mut Bytes<'a>) -> Read<FormatDescription<'a>> {
    let binlog_version = body.u16("binlog version")?;
    if binlog_version != 4 {
        return Err(Bad("binlog version: only 4 is known"));
    }
    let version = body.take(50, "server version")?;
    let version = version.split(|&byte| byte == 0).next().unwrap_or_default();
    let server_version = text(version, "server version")?;
    let created = body.u32("creation time")?;
    if usize::from(body.u8("header length")?) != HEADER_BYTES {
        return Err(Bad("header length: only 19 is known"));
    }
    let (&algorithm, fixed_lengths) = body.rest().split_last().ok_or(Bad("checksum algorithm"))?;
    let checksum = match algorithm {
        0 => false,
        1 => true,
        _ => return Err(Bad("checksum algorithm: only NONE and CRC32 are known")),
    };
    Ok(FormatDescription { binlog_version, server_version, created, checksum, fixed_lengths })
}

pub(super) fn rotate<'a>(body: &mut Bytes<'a>) -> Read<Event<'a>> {
    let position = body.u64("position in the next file")?;
    Ok(Event::Rotate { position, file: text(body.rest(), "name of the next file")? })
}

pub(super) fn xa_prepare<'a>(body: &mut Bytes<'a>) -> Read<Event<'a>> {
    let one_phase = body.u8("one-phase flag")? != 0;
    let format = body.u32("XA format")?;
    let gtrid = body.u32("length of the XA id")? as usize;
    let bqual = body.u32("length of the XA branch")? as usize;
    let gtrid = body.take(gtrid, "XA id")?;
    let bqual = body.take(bqual, "XA branch")?;
    Ok(Event::XaPrepare { one_phase, xid: Xa::new(format, gtrid, bqual)? })
}

pub(super) fn rows_query<'a>(body: &mut Bytes<'a>, kind: EventKind) -> Read<Event<'a>> {
    if kind == EventKind::ROWS_QUERY {
        // One byte of length, which the server itself ignores: texts are longer than it can say.
        body.u8("length of the statement")?;
    }
    Ok(Event::RowsQuery(String::from_utf8_lossy(body.rest())))
}

pub(super) fn incident<'a>(body: &mut Bytes<'a>) -> Read<Event<'a>> {
    let number = body.u16("incident number")?;
    let length = body.u8("length of the message")?;
    let message = body.take(usize::from(length), "message")?;
    Ok(Event::Incident { number, message: String::from_utf8_lossy(message) })
}

pub(super) fn heartbeat<'a>(body: &mut Bytes<'a>, header: &EventHeader, maria: bool) -> Read<Event<'a>> {
    let mut position = u64::from(header.end_position);
    if maria && position == 0 {
        // MariaDB writes a position beyond 4 GB here.
        position = body.u64("position")?;
    }
    Ok(Event::Heartbeat { file: text(body.rest(), "file name")?, position })
}

/// Tagged fields: 0 ends, 1 is the file's name, 2 the position as a packed integer.
pub(super) fn heartbeat_v2<'a>(body: &mut Bytes<'a>) -> Read<Event<'a>> {
    let (mut file, mut position) = ("", 0);
    while !body.is_empty() {
        let field = body.packed("field type")?;
        if field == 0 {
            break;
        }
        let value = body.packed_bytes("field")?;
        match field {
            1 => file = text(value, "file name")?,
            2 => position = Bytes(value).packed("position")?,
            _ => {}
        }
    }
    Ok(Event::Heartbeat { file, position })
}

pub(super) fn binlog_checkpoint<'a>(body: &mut Bytes<'a>) -> Read<Event<'a>> {
    let length = body.u32("length of the file name")? as usize;
    Ok(Event::BinlogCheckpoint { file: text(body.take(length, "file name")?, "file name")? })
}
