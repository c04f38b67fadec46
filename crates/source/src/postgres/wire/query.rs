//! Statements: simple ones, whose rows are texts, and prepared ones with parameters, whose rows may be binary.
//!
//! Invariant: rows are handed out one message at a time; only [`Connection::query`] collects, up to a limit. Protocol:
//! "Simple Query", "Extended Query". Start at [`Connection::query`].

use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;

use super::connection::{Connection, Turn};
use super::error::{Error, Result};
use super::fields::{Fields, Truncated};

const RUNNING: &str = "running a statement";
const READING: &str = "reading rows";

/// A collected result. Values are texts; what is no UTF-8 is replaced, so it is for names and settings, not for rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultSet {
    /// The names of the columns; none for a statement that has no result.
    pub columns: Vec<String>,
    /// The rows, a value for each column; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

impl ResultSet {
    /// The value of a row's column; `None` when there is no such row or column, or it is NULL.
    pub fn text(&self, row: usize, column: &str) -> Option<&str> {
        let index = self.columns.iter().position(|name| name == column)?;
        self.rows.get(row)?.get(index)?.as_deref()
    }

    /// The first value of the first row, for statements that ask one thing.
    pub fn first_text(&self) -> Option<&str> {
        self.rows.first()?.first()?.as_deref()
    }
}

/// One row, in the format that was asked for.
#[derive(Debug, Clone, Copy)]
pub struct DataRow<'a>(&'a [u8]);

impl<'a> DataRow<'a> {
    /// The values in order, `None` for NULL. A damaged row ends with an error.
    pub fn values(self) -> impl Iterator<Item = std::result::Result<Option<&'a [u8]>, Truncated>> {
        let mut fields = Fields(self.0);
        let mut left = fields.u16().unwrap_or(0);
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            left -= 1;
            let value = fields.u32().and_then(|length| match length as i32 {
                -1 => Ok(None),
                _ => fields.bytes(length as usize).map(Some),
            });
            if value.is_err() {
                left = 0;
            }
            Some(value)
        })
    }

    /// Its bytes, for the size of it.
    pub fn bytes(self) -> usize {
        self.0.len()
    }
}

/// The rows of a running statement. Dropping it early is fine: the next command skips the rest, which takes as long as the
/// server needs to send it.
#[derive(Debug)]
pub struct Rows<'c> {
    connection: &'c mut Connection,
    columns: Vec<String>,
}

impl Rows<'_> {
    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The next row, valid until the next call; `None` after the last.
    pub fn next_row(&mut self) -> Result<Option<DataRow<'_>>> {
        while self.connection.turn != Turn::Ours {
            match self.connection.answer(READING)? {
                b'D' => return Ok(Some(DataRow(self.connection.frames.body()))),
                b'T' => self.columns = self.connection.columns(READING)?,
                b'Z' => self.connection.turn = Turn::Ours,
                // Parsed, bound, no data, complete, empty.
                b'1' | b'2' | b'n' | b'C' | b'I' => {}
                other => return Err(self.connection.unexpected(READING, other)),
            }
        }
        Ok(None)
    }
}

impl Connection {
    /// Runs `sql`, which may be several statements, and collects the rows of all.
    ///
    /// Errors: [`Error::Server`]; [`Error::TooLarge`] beyond `Options::result_bytes_max`.
    pub fn query(&mut self, sql: &str) -> Result<ResultSet> {
        let bytes_max = self.result_bytes_max;
        let mut rows = self.query_rows(sql)?;
        let mut result = ResultSet::default();
        let mut bytes = 0;
        while let Some(row) = rows.next_row()? {
            bytes += row.bytes();
            let text = |value: Option<&[u8]>| value.map(|value| String::from_utf8_lossy(value).into_owned());
            let values: std::result::Result<Vec<_>, _> = row.values().map(|value| value.map(text)).collect();
            match values {
                Ok(values) if values.len() == rows.columns.len() => result.rows.push(values),
                _ => {
                    return Err(rows.connection.link.protocol(READING, "a row does not have a value for each column"));
                }
            }
            if bytes > bytes_max {
                let peer = rows.connection.link.peer.clone();
                return Err(Error::TooLarge { peer, step: READING, what: "a result", bytes_max });
            }
        }
        result.columns = rows.columns;
        Ok(result)
    }

    /// Runs `sql` and streams its rows as texts.
    pub fn query_rows(&mut self, sql: &str) -> Result<Rows<'_>> {
        self.ready(RUNNING)?;
        frontend::query(sql, &mut self.out).map_err(|_| has_nul())?;
        self.command(RUNNING)?;
        self.open_rows()
    }

    /// Runs one statement with parameters, given as texts whose types the server finds out, and streams its rows, as texts
    /// or in binary.
    pub fn query_with(&mut self, sql: &str, parameters: &[Option<&str>], binary: bool) -> Result<Rows<'_>> {
        self.ready(RUNNING)?;
        let out = &mut self.out;
        frontend::parse("", sql, [], out).map_err(|_| has_nul())?;
        let put = |value: &Option<&str>, out: &mut bytes::BytesMut| match value {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        };
        frontend::bind("", "", [0], parameters, put, [i16::from(binary)], out).map_err(|_| too_many())?;
        frontend::describe(b'P', "", out).map_err(|_| has_nul())?;
        frontend::execute("", 0, out).map_err(|_| has_nul())?;
        frontend::sync(out);
        self.command(RUNNING)?;
        self.open_rows()
    }

    /// Runs `sql` for its effect; rows are skipped.
    pub fn execute(&mut self, sql: &str) -> Result<()> {
        let mut rows = self.query_rows(sql)?;
        while rows.next_row()?.is_some() {}
        Ok(())
    }

    /// Reads an answer up to its first row, so that errors of the statement itself come here.
    fn open_rows(&mut self) -> Result<Rows<'_>> {
        loop {
            match self.answer(RUNNING)? {
                b'T' => {
                    let columns = self.columns(RUNNING)?;
                    return Ok(Rows { connection: self, columns });
                }
                b'Z' => {
                    self.turn = Turn::Ours;
                    return Ok(Rows { connection: self, columns: Vec::new() });
                }
                b'1' | b'2' | b'n' | b'C' | b'I' => {}
                other => return Err(self.unexpected(RUNNING, other)),
            }
        }
    }

    /// The next message of an answer; the server's error ends it.
    pub(super) fn answer(&mut self, step: &'static str) -> Result<u8> {
        match self.next(step)? {
            b'E' => Err(self.link.server(step, self.frames.body())),
            kind => Ok(kind),
        }
    }

    pub(super) fn unexpected(&self, step: &'static str, kind: u8) -> Error {
        self.link.protocol(step, format!("a message of kind {:?} arrived", char::from(kind)))
    }

    /// The names in a `RowDescription`.
    fn columns(&self, step: &'static str) -> Result<Vec<String>> {
        let read = || {
            let mut fields = Fields(self.frames.body());
            let mut names = Vec::new();
            for _ in 0..fields.u16()? {
                names.push(fields.text()?);
                fields.bytes(18)?;
            }
            Ok(names)
        };
        read().map_err(|error| self.link.truncated(step, error))
    }
}

/// A value as a literal of SQL, whatever `standard_conforming_strings` says.
pub fn quoted(text: &str) -> String {
    let escaped = text.replace('\'', "''").replace('\\', "\\\\");
    match text.contains('\\') {
        true => format!(" E'{escaped}'"),
        false => format!("'{escaped}'"),
    }
}

/// A name as an identifier of SQL.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn has_nul() -> Error {
    Error::Invalid("a statement must not hold a NUL character".to_owned())
}

fn too_many() -> Error {
    Error::Invalid("a statement has too many or too large parameters".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_values_of_a_row_survive_the_round_trip(
            values in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..300)), 0..8)
        ) {
            let mut row = (values.len() as u16).to_be_bytes().to_vec();
            for value in &values {
                let length = value.as_ref().map_or(-1, |value| value.len() as i32);
                row.extend_from_slice(&length.to_be_bytes());
                row.extend_from_slice(value.as_deref().unwrap_or_default());
            }
            let seen: Vec<_> = DataRow(&row).values().collect();
            let expected: Vec<_> = values.iter().map(|value| Ok(value.as_deref())).collect();
            prop_assert_eq!(seen, expected);
        }

        #[test]
        fn any_row_is_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(DataRow(&bytes).values().count() <= 1 + bytes.len());
        }
    }

    #[test]
    fn names_and_texts_are_quoted() {
        for (text, literal, name) in
            [("a", "'a'", "\"a\""), ("o'c", "'o''c'", "\"o'c\""), ("a\\'\"", " E'a\\\\''\"'", "\"a\\'\"\"\"")]
        {
            assert_eq!((&*quoted(text), &*identifier(text)), (literal, name));
        }
    }
}
