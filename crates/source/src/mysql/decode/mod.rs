//! Our own decoder of binary log events: MySQL 8.0 to 9.7 and MariaDB 10.5 to 11.8, from raw bytes to typed events, and
//! from rows straight into the model's encoding. Pure: no I/O, no clock, no settings.
//!
//! Invariant: nothing is skipped without a decision. The checksum and the length of every event are verified, every read
//! is bounds-checked, memory follows the bytes that are there and never a number they claim, and whatever is not
//! understood is a [`DecodeError`] that names event, position, table and column. Start at [`Decoder::event`], then
//! [`TablePlan::new`] and [`RowsEvent::transcode`].

mod bytes;
mod cell;
pub mod charset;
mod collations;
mod decimal;
mod error;
mod event;
pub mod fuzz;
mod gtid;
mod header;
mod json;
mod json_diff;
mod json_text;
mod maria;
mod multi_byte;
mod payload;
mod plan;
mod query;
mod rows;
mod table_map;
mod temporal;

pub use charset::Charsets;
pub use error::DecodeError;
pub use event::{Event, FormatDescription, Xa};
pub use fuzz::{fuzz_events, fuzz_json_diff};
pub use gtid::{Gtid, GtidRange, PreviousGtids};
pub use header::{EventHeader, EventKind, FLAG_ARTIFICIAL, FLAG_IGNORABLE, FLAG_IN_USE, HEADER_BYTES};
pub use maria::{MariaGtid, MariaGtidEvent};
pub use payload::TransactionPayload;
pub use plan::{Mismatch, TablePlan};
pub use query::{Query, Session};
pub use rows::{RowsEvent, RowsKind};
pub use table_map::{ColumnMap, Metadata, TableMap, column_type};

use bytes::{Bad, Bytes, Read};

/// Which family of servers wrote the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFlavor {
    /// MySQL, and what follows its format.
    MySql,
    /// MariaDB.
    MariaDb,
}

/// Turns raw events into typed ones. Give it every event of a log in order: it learns the checksum algorithm from the
/// first event of each file.
pub struct Decoder {
    core: Core,
    inflated: Vec<u8>,
    payload: payload::Scratch,
}

/// What the log's first event says of all others.
pub(crate) struct Core {
    flavor: ServerFlavor,
    /// `None` until a format description was seen.
    checksum: Option<bool>,
    /// Table numbers have 4 bytes instead of 6.
    short_table_id: bool,
}

/// Bytes of the checksum at an event's end.
const CHECKSUM_BYTES: usize = 4;

/// Bytes kept for inflated events between two of them; a larger buffer is given back.
const INFLATED_KEEP_BYTES: usize = 1 << 20;

impl Decoder {
    /// A decoder that knows nothing of the log yet.
    pub fn new(flavor: ServerFlavor) -> Self {
        let core = Core { flavor, checksum: None, short_table_id: false };
        Decoder { core, inflated: Vec::new(), payload: payload::Scratch::default() }
    }

    /// Decodes one event: `raw` begins with its header and ends with its checksum, if the log has them (that is, without
    /// the packet's status byte and without the semi-synchronous header).
    ///
    /// # Errors
    /// Every [`DecodeError`] means that going on would lose or invent changes.
    pub fn event<'a>(&'a mut self, raw: &'a [u8]) -> Result<(EventHeader, Event<'a>), DecodeError> {
        let header = EventHeader::read(raw).ok_or(DecodeError::Length { declared: 0, given: raw.len() })?;
        if header.length as usize != raw.len() {
            return Err(DecodeError::Length { declared: header.length, given: raw.len() });
        }
        let raw = self.core.verified(&header, raw)?;
        if header.kind == EventKind::FORMAT_DESCRIPTION {
            let format = event::format_description(&mut Bytes(&raw[HEADER_BYTES..])).map_err(malformed(&header))?;
            self.core.checksum = Some(format.checksum);
            let table_map = usize::from(EventKind::TABLE_MAP.0) - 1;
            self.core.short_table_id = format.fixed_lengths.get(table_map) == Some(&6);
            return Ok((header, Event::FormatDescription(format)));
        }
        self.inflated.clear();
        self.inflated.shrink_to(INFLATED_KEEP_BYTES);
        let Decoder { core, inflated, payload } = self;
        let event = core.event(&header, raw, inflated, payload)?;
        Ok((header, event))
    }
}

fn malformed(header: &EventHeader) -> impl Fn(Bad) -> DecodeError + use<> {
    let (kind, position) = (header.kind, header.end_position);
    move |Bad(what)| DecodeError::Malformed { kind, position, what }
}

impl Core {
    /// The event without its checksum, which has been verified.
    fn verified<'a>(&self, header: &EventHeader, raw: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        let Some((covered, stored)) = raw.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Ok(raw);
        };
        let stored = u32::from_le_bytes(*stored);
        let computed = || checksum(header, covered);
        let room = covered.len() >= HEADER_BYTES;
        let checked = match (header.kind, self.checksum) {
            // It says itself, in its last byte, whether there are checksums; the room for its own is always there.
            (EventKind::FORMAT_DESCRIPTION, _) if !room || covered.len() == HEADER_BYTES => {
                return Err(malformed(header)(Bad("checksum algorithm")));
            }
            (EventKind::FORMAT_DESCRIPTION, _) => match covered.last() {
                Some(1) => true,
                // The sender changes this event and makes its checksum anew only where there are checksums, so that it
                // cannot be verified here; but one that would be right with the other algorithm is a flipped bit.
                Some(0) => match covered.split_last() {
                    Some((_, rest)) if checksum(header, &[rest, &[1]].concat()) == stored => true,
                    _ => return Ok(covered),
                },
                _ => return Err(malformed(header)(Bad("checksum algorithm: only NONE and CRC32 are known"))),
            },
            (_, Some(checked)) => checked,
            // Before the first format description comes only the rotate event that the sender makes up; whether it
            // has a checksum is not said, but shows.
            (_, None) => return Ok(if room && computed() == stored { covered } else { raw }),
        };
        if !checked {
            return Ok(raw);
        }
        let computed = if room { computed() } else { !stored };
        if computed != stored {
            let (kind, position) = (header.kind, header.end_position);
            return Err(DecodeError::Checksum { kind, position, stored, computed });
        }
        Ok(covered)
    }

    /// Any event but a format description; `raw` has no checksum any more.
    fn event<'a>(
        &'a self,
        header: &EventHeader,
        raw: &'a [u8],
        inflated: &'a mut Vec<u8>,
        payload: &'a mut payload::Scratch,
    ) -> Result<Event<'a>, DecodeError> {
        let mut body = Bytes(&raw[HEADER_BYTES..]);
        let read = match header.kind {
            EventKind::TRANSACTION_PAYLOAD => {
                TransactionPayload::read(&mut body, *header, self, payload).map(Event::Payload)
            }
            EventKind::QUERY_COMPRESSED => compressed_query(&mut body, inflated),
            kind if RowsKind::compressed(kind).is_some() => {
                rows::read(&mut body, header, self.short_table_id, Some(inflated)).map(Event::Rows)
            }
            _ => return self.plain_event(header, raw),
        };
        read.map_err(malformed(header))
    }

    /// An event whose content stands in its bytes as it is.
    pub(super) fn plain_event<'a>(&self, header: &EventHeader, raw: &'a [u8]) -> Result<Event<'a>, DecodeError> {
        let mut body = Bytes(raw.get(HEADER_BYTES..).unwrap_or_default());
        let body = &mut body;
        let maria = self.flavor == ServerFlavor::MariaDb;
        let read = match header.kind {
            EventKind::TABLE_MAP => table_map::table_map(body, self.short_table_id, maria).map(Event::TableMap),
            kind if RowsKind::plain(kind).is_some() => {
                rows::read(body, header, self.short_table_id, None).map(Event::Rows)
            }
            EventKind::XID => body.u64("transaction number").map(Event::Xid),
            EventKind::QUERY => query::query(body).map(Event::Query),
            EventKind::GTID => gtid::gtid(body).map(Event::Gtid),
            EventKind::GTID_TAGGED => gtid::gtid_tagged(body).map(|gtid| match gtid.gno {
                0 => Event::AnonymousGtid(gtid),
                _ => Event::Gtid(gtid),
            }),
            EventKind::ANONYMOUS_GTID => gtid::gtid(body).map(Event::AnonymousGtid),
            EventKind::PREVIOUS_GTIDS => gtid::previous_gtids(body).map(Event::PreviousGtids),
            EventKind::MARIA_GTID => maria::gtid(body, header.server_id).map(Event::MariaGtid),
            EventKind::MARIA_GTID_LIST => maria::gtid_list(body).map(Event::MariaGtidList),
            EventKind::ROTATE => event::rotate(body),
            EventKind::XA_PREPARE => event::xa_prepare(body),
            EventKind::ROWS_QUERY | EventKind::ANNOTATE_ROWS => event::rows_query(body, header.kind),
            EventKind::HEARTBEAT => event::heartbeat(body, header, maria),
            EventKind::HEARTBEAT_V2 => event::heartbeat_v2(body),
            EventKind::INCIDENT => event::incident(body),
            EventKind::BINLOG_CHECKPOINT => event::binlog_checkpoint(body),
            EventKind::STOP => Ok(Event::Stop),
            EventKind::INTVAR | EventKind::RAND | EventKind::USER_VAR => Ok(Event::StatementContext),
            EventKind::BEGIN_LOAD_QUERY
            | EventKind::EXECUTE_LOAD_QUERY
            | EventKind::APPEND_BLOCK
            | EventKind::DELETE_FILE => Ok(Event::LoadData),
            EventKind::IGNORABLE | EventKind::TRANSACTION_CONTEXT | EventKind::VIEW_CHANGE => Ok(Event::Ignorable),
            // MariaDB's START_ENCRYPTION among them: the server decrypts what it sends, and marks the event so.
            _ if header.flags & FLAG_IGNORABLE != 0 => Ok(Event::Ignorable),
            kind => return Err(refused(kind, header.end_position)),
        };
        read.map_err(malformed(header))
    }
}

/// CRC32 of an event without its checksum.
fn checksum(header: &EventHeader, covered: &[u8]) -> u32 {
    let mut flags = header.flags;
    if header.kind == EventKind::FORMAT_DESCRIPTION {
        // Set after the checksum was made, while the file is open.
        flags &= !FLAG_IN_USE;
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&covered[..HEADER_BYTES - 2]);
    hasher.update(&flags.to_le_bytes());
    hasher.update(&covered[HEADER_BYTES..]);
    hasher.finalize()
}

fn refused(kind: EventKind, position: u32) -> DecodeError {
    let why = match kind {
        EventKind::START_ENCRYPTION => {
            "the log is encrypted; read it through the server, which decrypts what it sends, and not as a file"
        }
        _ if kind == EventKind::UNKNOWN || kind.name().is_none() => return DecodeError::Unknown { kind, position },
        _ => "it was written by a server older than MySQL 5.1; take a new snapshot and begin after it",
    };
    DecodeError::Unsupported { kind, position, why }
}

fn compressed_query<'a>(body: &mut Bytes<'a>, inflated: &'a mut Vec<u8>) -> Read<Event<'a>> {
    let mut query = query::query(body)?;
    maria::inflate_body(&query.sql, inflated)?;
    query.sql = std::borrow::Cow::Borrowed(inflated);
    Ok(Event::Query(query))
}

#[cfg(test)]
mod tests;
