//! Where a source stands in its server's log: the end of the last committed transaction.
//!
//! Invariant: a position never points into a transaction, so a restart reads whole transactions only. Where GTIDs are on
//! they alone decide; file and offset then serve the reader and the person.

use super::gtid::{GtidPos, GtidSet, Uuid};
use headwater_model::varint::{put_bytes, put_u64, take_array, take_str, take_u64};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;

/// The first byte of an encoded position; a later form takes another.
const VERSION: u8 = 1;

/// What identifies transactions on this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gtids {
    /// GTIDs are off: file and offset decide, and only on the same server.
    None,
    /// MySQL: every transaction that has been read.
    MySql(GtidSet),
    /// MariaDB: the last transaction of each domain.
    MariaDb(GtidPos),
}

/// A place between two transactions of a server's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// What has been read, by GTID.
    pub gtids: Gtids,
    /// `server_uuid` (MySQL) of the server it was read from; `None` on MariaDB.
    pub server_uuid: Option<Uuid>,
    /// `server_id` of the server it was read from.
    pub server_id: u32,
    /// The binary log's file.
    pub file: String,
    /// Byte offset of the next transaction in it.
    pub offset: u64,
}

/// A place in the log of one server, known without GTIDs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPlace {
    /// File.
    pub file: String,
    /// Byte offset.
    pub offset: u64,
}

impl LogPlace {
    /// Whether whoever has read the log up to here has read everything before `high`.
    pub fn reaches(&self, high: &LogPlace) -> bool {
        (file_number(&self.file), self.offset) >= (file_number(&high.file), high.offset)
    }
}

/// The bytes are no position: of another source, damaged, or of a later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored position is not one of a MySQL or MariaDB source")]
pub struct NotPosition;

impl Position {
    /// Its file and offset alone.
    pub fn place(&self) -> LogPlace {
        LogPlace { file: self.file.clone(), offset: self.offset }
    }

    /// Appends the encoding that the journal keeps.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        match &self.gtids {
            Gtids::None => out.push(0),
            Gtids::MySql(set) => {
                out.push(1);
                set.encode(out);
            }
            Gtids::MariaDb(position) => {
                out.push(2);
                position.encode(out);
            }
        }
        match self.server_uuid {
            None => out.push(0),
            Some(uuid) => {
                out.push(1);
                out.extend_from_slice(&uuid.0);
            }
        }
        put_u64(out, u64::from(self.server_id));
        put_bytes(out, self.file.as_bytes());
        put_u64(out, self.offset);
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotPosition> {
        Self::read(bytes).ok_or(NotPosition)
    }

    fn read(mut input: &[u8]) -> Option<Self> {
        let input = &mut input;
        if *input.split_off_first()? != VERSION {
            return None;
        }
        let gtids = match *input.split_off_first()? {
            0 => Gtids::None,
            1 => Gtids::MySql(GtidSet::decode(input)?),
            2 => Gtids::MariaDb(GtidPos::decode(input)?),
            _ => return None,
        };
        let server_uuid = match *input.split_off_first()? {
            0 => None,
            1 => Some(Uuid(take_array(input)?)),
            _ => return None,
        };
        let server_id = u32::try_from(take_u64(input)?).ok()?;
        let file = take_str(input)?.to_owned();
        let offset = take_u64(input)?;
        input.is_empty().then_some(Position { gtids, server_uuid, server_id, file, offset })
    }

    /// Whether whoever stands here has read everything up to `end`. `None` when the two cannot be compared: they are of
    /// two families of servers, or offsets of two servers.
    pub fn reached(&self, end: &Position) -> Option<bool> {
        match (&self.gtids, &end.gtids) {
            (Gtids::MySql(ours), Gtids::MySql(theirs)) => Some(theirs.is_subset(ours)),
            (Gtids::MariaDb(ours), Gtids::MariaDb(theirs)) => Some(ours.reached(theirs)),
            // Read by file and offset: the same server's file and offset tell, whatever else it has.
            (Gtids::None, _) | (_, Gtids::None) if self.server_uuid == end.server_uuid => {
                Some(self.order_in_log(end) != Ordering::Less)
            }
            _ => None,
        }
    }

    /// Compares by file and offset, which means something on one server only.
    pub fn order_in_log(&self, other: &Position) -> Ordering {
        file_number(&self.file)
            .cmp(&file_number(&other.file))
            .then_with(|| self.file.cmp(&other.file))
            .then_with(|| self.offset.cmp(&other.offset))
    }
}

/// The number at the end of a binary log's name: `binlog.000042` is 42. Names grow wider after 999999, so their texts do
/// not sort.
pub fn file_number(file: &str) -> Option<u64> {
    file.rsplit_once('.').and_then(|(_, number)| number.parse().ok())
}

impl fmt::Display for Gtids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gtids::None => Ok(()),
            Gtids::MySql(set) => write!(f, "{set}"),
            Gtids::MariaDb(position) => write!(f, "{position}"),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)?;
        match &self.gtids {
            Gtids::None => Ok(()),
            Gtids::MySql(set) => write!(f, " ({set})"),
            Gtids::MariaDb(position) => write!(f, " ({position})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position(gtids: Gtids, file: &str, offset: u64) -> Position {
        Position { gtids, server_uuid: Some(Uuid([7; 16])), server_id: 1, file: file.to_owned(), offset }
    }

    proptest! {
        #[test]
        fn a_position_reads_back(
            numbers in prop::collection::vec(1..1000u64, 0..20), kind in 0..3, uuid in any::<Option<[u8; 16]>>(),
            server_id in any::<u32>(), file in ".{0,20}", offset in any::<u64>(),
        ) {
            let gtids = match kind {
                0 => Gtids::None,
                1 => {
                    let mut set = GtidSet::default();
                    numbers.iter().for_each(|&n| set.add(Uuid([n as u8; 16]), if n % 3 == 0 { "t" } else { "" }, n));
                    Gtids::MySql(set)
                }
                _ => {
                    let mut position = GtidPos::default();
                    for &n in &numbers {
                        position.set(crate::mysql::decode::MariaGtid { domain: n as u32 % 5, server: 3, sequence: n });
                    }
                    Gtids::MariaDb(position)
                }
            };
            let position = Position { gtids, server_uuid: uuid.map(Uuid), server_id, file, offset };
            let mut bytes = Vec::new();
            position.encode(&mut bytes);
            prop_assert_eq!(Position::decode(&bytes), Ok(position));
            for end in 0..bytes.len() {
                prop_assert_eq!(Position::decode(&bytes[..end]), Err(NotPosition));
            }
        }

        #[test]
        fn other_bytes_are_refused_or_read_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Position::decode(&bytes);
        }
    }

    #[test]
    fn what_was_reached_is_decided_by_gtid_or_by_file_and_offset() {
        let set = |text: &str| Gtids::MySql(text.parse().unwrap());
        let pos = |text: &str| Gtids::MariaDb(text.parse().unwrap());
        let a = "00000000-0000-0000-0000-00000000000a";
        for (ours, end, reached) in [
            (position(Gtids::None, "b.000009", 900), position(Gtids::None, "b.000010", 4), Some(false)),
            (position(Gtids::None, "b.1000000", 4), position(Gtids::None, "b.999999", 9), Some(true)),
            (position(Gtids::None, "b.000002", 4), position(Gtids::None, "b.000002", 4), Some(true)),
            (
                position(set(&format!("{a}:1-5")), "b.000001", 4),
                position(set(&format!("{a}:2")), "z.000009", 9),
                Some(true),
            ),
            (
                position(set(&format!("{a}:1-5")), "b.000001", 4),
                position(set(&format!("{a}:6")), "a.000001", 1),
                Some(false),
            ),
            (position(pos("0-1-5"), "b.000001", 4), position(pos("0-2-5"), "b.000001", 4), Some(true)),
            (position(Gtids::None, "b.000001", 4), position(set(&format!("{a}:6")), "b.000001", 5), Some(false)),
            (position(pos("0-1-5"), "b.000001", 4), position(set(""), "b.000001", 4), None),
        ] {
            assert_eq!(ours.reached(&end), reached, "{ours} {end}");
        }
        let mut other = position(Gtids::None, "b.000001", 4);
        other.server_uuid = None;
        assert_eq!(position(Gtids::None, "b.000001", 4).reached(&other), None);
    }
}
