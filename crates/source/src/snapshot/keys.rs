//! Which rows of a table under snapshot the journal already holds.
//!
//! A row is *known* when a finished chunk wrote it, or when the stream touched it since the snapshot began. Invariant:
//! a row is written into the journal as new exactly once, by whichever of the two comes first; the other yields.

use headwater_model::Value;
use headwater_model::value::TIMESTAMP_INFINITY;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// Keys remembered for one table before its snapshot stops, so that memory stays bounded: 32 bytes each.
pub const KNOWN_KEYS_MAX: usize = 4_000_000;

/// The keys of one table's rows that are in the journal.
pub struct KnownKeys {
    /// Ranges that are finished; empty when keys of this table have no order that we know.
    finished: Vec<Range>,
    ordered: bool,
    hashed: HashSet<u128>,
    // Two keyed hashes make a 128-bit name: a collision would lose a row, so 64 bits are too few.
    hashers: [RandomState; 2],
}

/// A stretch of the key's order: `after` exclusive, `through` inclusive; `None` is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The key before the first of the range, encoded.
    pub after: Option<Vec<u8>>,
    /// The last key of the range, encoded.
    pub through: Option<Vec<u8>>,
}

/// More keys were touched during the snapshot of one table than are kept.
#[derive(Debug, thiserror::Error)]
#[error("more than {KNOWN_KEYS_MAX} rows were changed while the table was being read")]
pub struct TooManyKeys;

impl KnownKeys {
    /// Of a table whose keys compare here as they do in the server (`ordered`), or do not.
    pub fn new(ordered: bool) -> Self {
        KnownKeys {
            finished: Vec::new(),
            ordered,
            hashed: HashSet::new(),
            hashers: [RandomState::new(), RandomState::new()],
        }
    }

    /// Whether the journal holds the row with this key.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.finished.iter().any(|range| range.contains(key)) || self.hashed.contains(&self.name(key))
    }

    /// Whether finished ranges stand for their rows, so that these need not be named one by one.
    pub fn is_ordered(&self) -> bool {
        self.ordered
    }

    /// The stream wrote, or deleted, the row with this key.
    pub fn touch(&mut self, key: &[u8]) -> Result<(), TooManyKeys> {
        if self.finished.iter().any(|range| range.contains(key)) {
            return Ok(());
        }
        let name = self.name(key);
        if self.hashed.len() >= KNOWN_KEYS_MAX && !self.hashed.contains(&name) {
            return Err(TooManyKeys);
        }
        self.hashed.insert(name);
        Ok(())
    }

    /// A chunk that covers `range` was written, holding rows with `keys`.
    pub fn finish<'a>(&mut self, range: Range, keys: impl Iterator<Item = &'a [u8]>) -> Result<(), TooManyKeys> {
        if !self.ordered {
            return keys.into_iter().try_for_each(|key| self.touch(key));
        }
        match self.finished.iter_mut().find(|earlier| earlier.through.is_some() && earlier.through == range.after) {
            Some(earlier) => earlier.through = range.through,
            None => self.finished.push(range),
        }
        Ok(())
    }

    fn name(&self, key: &[u8]) -> u128 {
        let [high, low] = &self.hashers;
        u128::from(high.hash_one(key)) << 64 | u128::from(low.hash_one(key))
    }
}

impl Range {
    /// So many stretches of about the same width, between the lowest and the highest of integers, which are open.
    pub fn divided((low, high): (i128, i128), parts: usize, value: impl Fn(i128) -> Value<'static>) -> Vec<Range> {
        let cut = |part: usize| {
            let mut key = Vec::new();
            value(low + (high - low) * part as i128 / parts as i128).encode(&mut key);
            Some(key)
        };
        let part = |part: usize| Range {
            after: if part == 0 { None } else { cut(part) },
            through: if part + 1 == parts { None } else { cut(part + 1) },
        };
        (0..parts).map(part).collect()
    }

    fn contains(&self, key: &[u8]) -> bool {
        let after = self.after.as_ref().is_none_or(|after| compare(key, after) == Ordering::Greater);
        after && self.through.as_ref().is_none_or(|through| compare(key, through) != Ordering::Greater)
    }
}

/// Compares two encoded keys of an ordered table, column by column.
fn compare(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while let (Some(x), Some(y)) = (Value::decode(&mut a), Value::decode(&mut b)) {
        let order = match (x, y) {
            (Value::Int(x), Value::Int(y)) => x.cmp(&y),
            (Value::UInt(x), Value::UInt(y)) => x.cmp(&y),
            (Value::Bytes(x), Value::Bytes(y)) => x.cmp(y),
            (Value::Date(x), Value::Date(y)) => x.cmp(&y),
            (Value::DateTime(x), Value::DateTime(y)) => x.cmp(&y),
            (Value::Timestamp(x), Value::Timestamp(y)) => x.cmp(&y),
            // An instant that does not fit is a date: later than every other, but for infinity.
            (Value::Timestamp(x), Value::DateTime(_)) if x == TIMESTAMP_INFINITY => Ordering::Greater,
            (Value::Timestamp(_), Value::DateTime(_)) => Ordering::Less,
            (Value::DateTime(_), Value::Timestamp(y)) if y == TIMESTAMP_INFINITY => Ordering::Less,
            (Value::DateTime(_), Value::Timestamp(_)) => Ordering::Greater,
            (Value::Uuid(x), Value::Uuid(y)) => x.cmp(&y),
            (Value::Bool(x), Value::Bool(y)) => x.cmp(&y),
            _ => Ordering::Equal,
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

#[cfg(test)]
mod tests {
    use super::*;
    fn int(value: i64) -> Vec<u8> {
        let mut key = Vec::new();
        Value::Int(value).encode(&mut key);
        key
    }

    #[test]
    fn finished_ranges_join_and_cover_their_rows() {
        let mut known = KnownKeys::new(true);
        known.finish(Range { after: None, through: Some(int(10)) }, std::iter::empty()).unwrap();
        known.finish(Range { after: Some(int(10)), through: Some(int(300)) }, std::iter::empty()).unwrap();
        assert_eq!(known.finished.len(), 1);
        for (key, expected) in [(-5, true), (10, true), (300, true), (301, false)] {
            assert_eq!(known.contains(&int(key)), expected, "{key}");
        }
        known.touch(&int(999)).unwrap();
        assert!(known.contains(&int(999)) && !known.contains(&int(998)));
    }

    #[test]
    fn text_keys_are_kept_one_by_one() {
        let mut known = KnownKeys::new(false);
        let keys = [b"\x07\x01a".as_slice(), b"\x07\x01b"];
        known.finish(Range { after: None, through: None }, keys.into_iter()).unwrap();
        assert!(known.contains(keys[0]) && known.contains(keys[1]) && !known.contains(b"\x07\x01c"));
    }
}
