//! A place in a PostgreSQL write-ahead log: a byte offset, written as two hexadecimal halves.
//!
//! Invariant: what is printed reads back. Start at [`Lsn`].

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A log sequence number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lsn(pub u64);

/// The text is no log sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no place in a write-ahead log; one reads like 16/B374D848")]
pub struct NotLsn;

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 as u32)
    }
}

impl FromStr for Lsn {
    type Err = NotLsn;

    fn from_str(text: &str) -> Result<Self, NotLsn> {
        let half = |text: &str| match text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => u32::from_str_radix(text, 16).map_err(|_| NotLsn),
            false => Err(NotLsn),
        };
        let (high, low) = text.split_once('/').ok_or(NotLsn)?;
        Ok(Lsn(u64::from(half(high)?) << 32 | u64::from(half(low)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_printed_reads_back(lsn in any::<u64>()) {
            prop_assert_eq!(Lsn(lsn).to_string().parse(), Ok(Lsn(lsn)));
        }
    }

    #[test]
    fn texts_are_read_as_the_server_writes_them() {
        for (text, expected) in [
            ("0/0", Ok(Lsn(0))),
            ("16/B374D848", Ok(Lsn(0x16_b374_d848))),
            ("FFFFFFFF/FFFFFFFF", Ok(Lsn(u64::MAX))),
            ("", Err(NotLsn)),
            ("1", Err(NotLsn)),
            ("/", Err(NotLsn)),
            ("+1/2", Err(NotLsn)),
            ("1/100000000", Err(NotLsn)),
            ("1/2/3", Err(NotLsn)),
        ] {
            assert_eq!(text.parse(), expected, "{text:?}");
        }
    }
}
