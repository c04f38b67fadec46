//! Where a source stands in its server's write-ahead log: the end of the last transaction that was read whole.
//!
//! Invariant: every transaction whose commit lies before it is in the journal, and none that lies behind it is. Start at
//! [`Position`].

use super::lsn::Lsn;
use headwater_model::varint::{put_bytes, put_u64, take_str, take_u64};
use std::fmt;

/// The first byte of an encoded position; a later form takes another. MySQL's positions begin with another byte.
const VERSION: u8 = 0x50;

/// A place between two transactions of a server's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// What the server's data folder was called when it was made; copies of it have the same.
    pub system: u64,
    /// The time line; each promotion of a copy begins a new one.
    pub timeline: u32,
    /// The slot that it was read from.
    pub slot: String,
    /// The end of what was read.
    pub lsn: Lsn,
    /// The end of the last commit that was read; 0 before the first.
    pub last_commit: Lsn,
}

/// The bytes are no position: of another source, damaged, or of a later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored position is not one of a PostgreSQL source")]
pub struct NotPosition;

impl Position {
    /// Appends the encoding that the journal keeps.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_u64(out, self.system);
        put_u64(out, u64::from(self.timeline));
        put_bytes(out, self.slot.as_bytes());
        put_u64(out, self.lsn.0);
        put_u64(out, self.last_commit.0);
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
        let position = Position {
            system: take_u64(input)?,
            timeline: u32::try_from(take_u64(input)?).ok()?,
            slot: take_str(input)?.to_owned(),
            lsn: Lsn(take_u64(input)?),
            last_commit: Lsn(take_u64(input)?),
        };
        input.is_empty().then_some(position)
    }

    /// Whether whoever stands here has read everything up to `end`; `None` when the two are of different servers.
    pub fn reached(&self, end: &Position) -> Option<bool> {
        (self.system == end.system).then_some(self.lsn >= end.lsn)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (time line {}, slot {})", self.lsn, self.timeline, self.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_position_reads_back(
            system in any::<u64>(), timeline in any::<u32>(), slot in ".{0,20}", lsn in any::<u64>(), commit in any::<u64>(),
        ) {
            let position = Position { system, timeline, slot, lsn: Lsn(lsn), last_commit: Lsn(commit) };
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
    fn places_are_compared_on_one_server_only() {
        let at =
            |system, lsn| Position { system, timeline: 1, slot: "s".to_owned(), lsn: Lsn(lsn), last_commit: Lsn(0) };
        for (ours, end, reached) in
            [(at(1, 5), at(1, 5), Some(true)), (at(1, 4), at(1, 5), Some(false)), (at(2, 9), at(1, 5), None)]
        {
            assert_eq!(ours.reached(&end), reached, "{ours} {end}");
        }
    }
}
