//! The stream of a slot of PostgreSQL's as the floor reads it. Invariant: of a message only its type is looked at, and of
//! a row its first column. Layouts: "Logical Replication Message Formats". Start at [`Wal::open`].

use super::{Log, Means};
use crate::postgres::connect;
use headwater_source::postgres::wire::{Event, Replication, Role};
use headwater_testkit::{Error, Result};

/// A slot that is gone with the connection.
const CREATE: &str = "CREATE_REPLICATION_SLOT floor TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT";
const INSERT: u8 = b'I';
const COMMIT: u8 = b'C';
/// The kind of message, the table's number, `N` for a new row, the number of columns; then the first column's kind.
const COLUMN_AT: usize = 1 + 4 + 1 + 2;
const TEXT: u8 = b't';

/// The stream of a new slot.
pub struct Wal(Replication);

impl Wal {
    /// Makes a slot at the end of the log of the server at `url`, and asks for what follows, as `publication` has it.
    pub fn open(url: &str, publication: &str) -> Result<Wal> {
        let mut connection = connect(url, Role::Replication)?;
        connection.execute(CREATE).map_err(failed)?;
        let start =
            format!("START_REPLICATION SLOT floor LOGICAL 0/0 (proto_version '1', publication_names '{publication}')");
        connection.start_replication(&start).map(Wal).map_err(failed)
    }
}

impl Log for Wal {
    fn next(&mut self) -> Result<Option<&[u8]>> {
        let event = self.0.next_event().map_err(failed)?;
        Ok(event.map(|event| match event {
            Event::Data { body, .. } => body,
            // It is asked for an answer only after a silence of half a minute.
            Event::Keepalive { .. } => &[],
        }))
    }

    fn has_next(&self) -> bool {
        self.0.has_buffered_event()
    }

    fn read(message: &[u8]) -> Means {
        match message.first() {
            Some(&INSERT) => first_key(message).map_or(Means::Nothing, Means::Row),
            Some(&COMMIT) => Means::Commit,
            _ => Means::Nothing,
        }
    }
}

/// The bigint that is the first column of a new row, as text.
fn first_key(insert: &[u8]) -> Option<u64> {
    let column = insert.get(COLUMN_AT..)?.strip_prefix(&[TEXT])?;
    let (length, rest) = column.split_first_chunk::<4>()?;
    let text = rest.get(..u32::from_be_bytes(*length) as usize)?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::new(format!("floor: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_or_nothing_is() {
        let insert = b"I\0\0\x40\x01N\0\x02t\0\0\0\x0277";
        assert_eq!(Wal::read(insert), Means::Row(77));
        assert_eq!(Wal::read(&[insert, &b"n"[..]].concat()), Means::Row(77));
        for cut in 0..insert.len() {
            assert_eq!(Wal::read(&insert[..cut]), Means::Nothing, "{cut}");
        }
        assert_eq!(Wal::read(b"C\0"), Means::Commit);
    }
}
