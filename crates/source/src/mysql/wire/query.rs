//! Statements in the text protocol, and the reading of result sets in either protocol.
//!
//! Invariant: rows are handed out one packet at a time; only [`Connection::query`] collects, up to a limit.
//! Protocol: "COM_QUERY Response". Start at [`Connection::query`].

use mysql_common::constants::CapabilityFlags;

use super::connection::{Connection, Turn};
use super::error::{Error, Result};
use super::fields::{Fields, Truncated};
use super::packet::{FRAME_BYTES_MAX, Packet, READ_BUFFER_BYTES};

const COM_QUERY: u8 = 0x03;
/// A table has at most this many columns, and so has a result.
const COLUMNS_MAX: u64 = 4096;
/// The status flag that says another result follows; we never ask for several.
const SERVER_MORE_RESULTS_EXISTS: u16 = 0x0008;
const RUNNING: &str = "running a statement";
const READING: &str = "reading rows";

/// A column of a result. Protocol: "Protocol::ColumnDefinition41".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The database of the table.
    pub database: String,
    /// The table's name or alias.
    pub table: String,
    /// The table's own name.
    pub org_table: String,
    /// The column's name or alias.
    pub name: String,
    /// The column's own name.
    pub org_name: String,
    /// The collation's number; 63 is binary.
    pub collation: u16,
    /// The display length, in bytes of the connection's character set.
    pub length: u32,
    /// `MYSQL_TYPE_…`.
    pub kind: u8,
    /// `NOT_NULL_FLAG`, `UNSIGNED_FLAG`, `BINARY_FLAG` …
    pub flags: u16,
    /// Digits after the point; 31 where they vary.
    pub decimals: u8,
}

impl Column {
    pub(super) fn parse(packet: &[u8]) -> std::result::Result<Self, Truncated> {
        let mut fields = Fields(packet);
        fields.lenenc_bytes()?;
        let (database, table, org_table) = (fields.lenenc_text()?, fields.lenenc_text()?, fields.lenenc_text()?);
        let (name, org_name) = (fields.lenenc_text()?, fields.lenenc_text()?);
        fields.lenenc()?;
        Ok(Self {
            database,
            table,
            org_table,
            name,
            org_name,
            collation: fields.u16()?,
            length: fields.u32()?,
            kind: fields.u8()?,
            flags: fields.u16()?,
            decimals: fields.u8()?,
        })
    }
}

/// What a statement without rows did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Rows inserted, changed or deleted.
    pub affected_rows: u64,
    /// The first generated key.
    pub last_insert_id: u64,
    /// How many warnings `SHOW WARNINGS` would list.
    pub warnings: u16,
}

/// A collected result. Values are texts in `utf8mb4`, or bytes for binary columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultSet {
    /// The columns; none for a statement that has no result.
    pub columns: Vec<Column>,
    /// The rows, a value for each column; `None` is NULL.
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
    /// What the statement did.
    pub done: Done,
}

impl ResultSet {
    /// The index of the column called `name`, whatever its case: servers do not agree on that of their own.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// The value of a row's column as text; `None` when there is no such row or column, or it is NULL or no UTF-8.
    pub fn text(&self, row: usize, column: &str) -> Option<&str> {
        let value = self.rows.get(row)?.get(self.column(column)?)?.as_deref()?;
        std::str::from_utf8(value).ok()
    }

    /// The first value of the first row as text, for statements that ask one thing.
    pub fn first_text(&self) -> Option<&str> {
        std::str::from_utf8(self.rows.first()?.first()?.as_deref()?).ok()
    }
}

/// The values of a text-protocol row, one after the other. A damaged row ends with an error.
pub fn text_values(row: &[u8]) -> impl Iterator<Item = std::result::Result<Option<&[u8]>, DamagedRow>> {
    let mut fields = Fields(row);
    std::iter::from_fn(move || {
        if fields.0.is_empty() {
            return None;
        }
        let value = fields.lenenc_bytes_or_null().map_err(|Truncated| DamagedRow);
        if value.is_err() {
            fields.0 = &[];
        }
        Some(value)
    })
}

/// A row whose packet ends inside a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row's packet ends inside a value")]
pub struct DamagedRow;

/// The rows of a running statement. Dropping it early is fine: the next command skips the rest, which takes as long as the
/// server needs to send it.
#[derive(Debug)]
pub struct Rows<'c> {
    connection: &'c mut Connection,
    columns: Vec<Column>,
    done: Done,
    is_binary: bool,
}

impl Rows<'_> {
    /// The columns; none for a statement without a result.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// What the statement did; complete once the rows have been read.
    pub fn done(&self) -> Done {
        self.done
    }

    /// The next row's packet, valid until the next call; `None` after the last.
    ///
    /// A text row (see [`text_values`]) is the packet as it is. A binary row comes without its header byte: it begins with
    /// the NULL bitmap of `(columns + 9) / 8` bytes whose first two bits are unused ("Binary Protocol Resultset Row").
    /// After [`Error::Timeout`] and [`Error::TooLarge`] (which skips the row) reading may go on.
    pub fn next_row(&mut self) -> Result<Option<&[u8]>> {
        if self.connection.turn == Turn::Ours {
            return Ok(None);
        }
        let deprecates_eof = self.connection.uses(CapabilityFlags::CLIENT_DEPRECATE_EOF);
        // The borrow checker does not see that the packet is given up before the connection is used again, so its end is
        // looked for inside the connection.
        let connection = &mut *self.connection;
        let packet = match connection.stream.read_packet(connection.packet_bytes_max) {
            Ok(packet) => packet,
            Err(error) => return Err(connection.link.frame(READING, error)),
        };
        if packet.first() == Some(&0xff) {
            connection.turn = Turn::Ours;
            return connection.link.refuse_error_packet(READING, packet).map(Some);
        }
        if is_end_of_rows(packet, deprecates_eof) {
            let (done, status) =
                parse_end(packet, deprecates_eof).map_err(|error| connection.link.truncated(READING, error))?;
            self.done = done;
            connection.turn = turn_after(status);
            return match connection.turn {
                Turn::Ours => Ok(None),
                _ => Err(connection.link.protocol(READING, "the server sends several results where one was asked for")),
            };
        }
        match (self.is_binary, packet) {
            (false, row) | (true, [0, row @ ..]) => Ok(Some(row)),
            _ => Err(connection.link.protocol(READING, "a row of the binary protocol does not begin with 0")),
        }
    }
}

impl Connection {
    /// Runs `sql` and collects its result.
    ///
    /// Errors: [`Error::Server`]; [`Error::TooLarge`] beyond `Options::result_bytes_max`.
    pub fn query(&mut self, sql: &str) -> Result<ResultSet> {
        let bytes_max = self.result_bytes_max;
        let mut rows = self.query_rows(sql)?;
        let mut result = ResultSet { columns: rows.columns.clone(), ..ResultSet::default() };
        let mut bytes = 0;
        while let Some(row) = rows.next_row()? {
            bytes += row.len();
            let values: std::result::Result<Vec<_>, _> =
                text_values(row).map(|value| value.map(|value| value.map(<[u8]>::to_vec))).collect();
            match values {
                Ok(values) if values.len() == result.columns.len() => result.rows.push(values),
                _ => {
                    return Err(rows.connection.link.protocol(READING, "a row does not have a value for each column"));
                }
            }
            if bytes > bytes_max {
                let peer = rows.connection.link.peer.clone();
                return Err(Error::TooLarge { peer, step: READING, what: "a result", bytes_max });
            }
        }
        result.done = rows.done;
        Ok(result)
    }

    /// Runs `sql` and streams its rows in the text protocol.
    pub fn query_rows(&mut self, sql: &str) -> Result<Rows<'_>> {
        let mut command = Vec::with_capacity(1 + sql.len());
        command.push(COM_QUERY);
        command.extend_from_slice(sql.as_bytes());
        self.command(RUNNING, &command)?;
        self.open_result(false)
    }

    /// Runs `sql` for its effect; rows are skipped.
    pub fn execute(&mut self, sql: &str) -> Result<Done> {
        let mut rows = self.query_rows(sql)?;
        while rows.next_row()?.is_some() {}
        Ok(rows.done)
    }

    /// Reads an answer up to its first row.
    pub(super) fn open_result(&mut self, is_binary: bool) -> Result<Rows<'_>> {
        let packet = self.answer(RUNNING)?;
        let count = match packet {
            [0x00, ..] => {
                let (done, status) = parse_ok(packet).map_err(|error| self.link.truncated(RUNNING, error))?;
                self.turn = turn_after(status);
                return Ok(Rows { connection: self, columns: Vec::new(), done, is_binary });
            }
            [0xfb, ..] => {
                return Err(self.link.protocol(RUNNING, "the server asks for a local file, which is never sent"));
            }
            packet => Fields(packet).lenenc().map_err(|error| self.link.truncated(RUNNING, error))?,
        };
        if count > COLUMNS_MAX {
            return Err(self.link.protocol(RUNNING, format!("a result of {count} columns")));
        }
        let columns = self.read_columns(count)?;
        self.turn = Turn::TheirRows;
        Ok(Rows { connection: self, columns, done: Done::default(), is_binary })
    }

    /// Reads `count` column definitions and what ends them.
    pub(super) fn read_columns(&mut self, count: u64) -> Result<Vec<Column>> {
        let mut columns = Vec::new();
        for _ in 0..count {
            let packet = self.answer(RUNNING)?;
            columns.push(Column::parse(packet).map_err(|error| self.link.truncated(RUNNING, error))?);
        }
        if count > 0
            && !self.uses(CapabilityFlags::CLIENT_DEPRECATE_EOF)
            && !is_end_of_rows(self.answer(RUNNING)?, false)
        {
            return Err(self.link.protocol(RUNNING, "the column definitions do not end where they should"));
        }
        Ok(columns)
    }

    /// Skips the rows of an earlier statement.
    pub(super) fn skip_rows(&mut self) -> Result<()> {
        let deprecates_eof = self.uses(CapabilityFlags::CLIENT_DEPRECATE_EOF);
        while self.turn == Turn::TheirRows {
            let packet = self.stream.next_packet(READ_BUFFER_BYTES).map_err(|error| self.link.frame(READING, error))?;
            match packet {
                Packet::Whole([0xff, ..]) => self.turn = Turn::Ours,
                Packet::Whole(end) if is_end_of_rows(end, deprecates_eof) => self.turn = Turn::Ours,
                Packet::Whole(_) | Packet::Large(_) => {}
            }
        }
        Ok(())
    }
}

fn turn_after(status: u16) -> Turn {
    if status & SERVER_MORE_RESULTS_EXISTS == 0 { Turn::Ours } else { Turn::Theirs }
}

/// A row that begins with 0xFE holds a value of 16 MiB or more, so a short packet with that header is the end.
fn is_end_of_rows(packet: &[u8], deprecates_eof: bool) -> bool {
    let end_bytes_max = if deprecates_eof { FRAME_BYTES_MAX - 1 } else { 8 };
    packet.first() == Some(&0xfe) && packet.len() <= end_bytes_max
}

fn parse_end(packet: &[u8], deprecates_eof: bool) -> std::result::Result<(Done, u16), Truncated> {
    if deprecates_eof {
        return parse_ok(packet);
    }
    let mut fields = Fields(packet);
    fields.u8()?;
    let warnings = fields.u16()?;
    Ok((Done { warnings, ..Done::default() }, fields.u16()?))
}

/// Protocol: "OK_Packet"; also returns the status flags.
fn parse_ok(packet: &[u8]) -> std::result::Result<(Done, u16), Truncated> {
    let mut fields = Fields(packet);
    fields.u8()?;
    let (affected_rows, last_insert_id) = (fields.lenenc()?, fields.lenenc()?);
    let status = fields.u16()?;
    Ok((Done { affected_rows, last_insert_id, warnings: fields.u16()? }, status))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fields::put_lenenc_bytes;
    use super::*;

    proptest! {
        #[test]
        fn the_values_of_a_row_survive_the_round_trip(
            values in proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)), 0..8)
        ) {
            let mut row = Vec::new();
            for value in &values {
                match value {
                    Some(value) => put_lenenc_bytes(&mut row, value),
                    None => row.push(0xfb),
                }
            }
            let seen: Vec<_> = text_values(&row).collect();
            let expected: Vec<_> = values.iter().map(|value| Ok(value.as_deref())).collect();
            prop_assert_eq!(seen, expected);
        }

        #[test]
        fn any_packet_is_parsed_without_panic(packet in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = (Column::parse(&packet), parse_ok(&packet), parse_end(&packet, false));
            prop_assert!(text_values(&packet).count() <= packet.len());
        }
    }

    #[test]
    fn the_end_of_rows_is_told_from_a_row() {
        for (packet, deprecates_eof, expected) in [
            (&b"\xfe\0\0\x02\0"[..], false, true),
            (b"\xfe\0\0\x02\0\0\0", true, true),
            (b"\xfe\0\0\0\x01\0\0\0\0 a value", false, false),
            (b"\x01a", true, false),
            (b"", true, false),
        ] {
            assert_eq!(is_end_of_rows(packet, deprecates_eof), expected, "{packet:?}");
        }
    }
}
