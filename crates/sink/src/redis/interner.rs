//! Byte strings to small numbers, for the keys and members of one batch, without an allocation for each.
//!
//! Invariant: a number stays the same string until `clear`; memory is kept from one batch to the next.

use super::resp::KEPT_BYTES_MAX;
use std::hash::{BuildHasher, RandomState};

/// Distinct byte strings in the order in which they came.
#[derive(Default)]
pub(super) struct Interner {
    bytes: Vec<u8>,
    /// End of each string in `bytes`, and its hash.
    entries: Vec<(usize, u64)>,
    /// Open addressing: entry number plus one, 0 where free. A power of two long, at most half full.
    slots: Vec<u32>,
    hasher: RandomState,
}

const SLOTS_MIN: usize = 64;

impl Interner {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.entries.clear();
        self.slots.fill(0);
    }

    /// Bytes of all strings together.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The number of `head` followed by `tail`, and whether it is new.
    #[inline]
    pub fn intern(&mut self, head: &[u8], tail: &[u8]) -> (usize, bool) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(head);
        self.bytes.extend_from_slice(tail);
        if self.entries.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let hash = self.hasher.hash_one(&self.bytes[start..]);
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while let Some(id) = (self.slots[slot] as usize).checked_sub(1) {
            if self.entries[id].1 == hash && self.get(id) == &self.bytes[start..] {
                self.bytes.truncate(start);
                return (id, false);
            }
            slot = (slot + 1) & mask;
        }
        self.entries.push((self.bytes.len(), hash));
        self.slots[slot] = self.entries.len() as u32;
        (self.entries.len() - 1, true)
    }

    pub fn get(&self, id: usize) -> &[u8] {
        let start = id.checked_sub(1).map_or(0, |before| self.entries[before].0);
        &self.bytes[start..self.entries[id].0]
    }

    fn grow(&mut self) {
        let slots = (self.slots.len() * 2).max(SLOTS_MIN);
        self.slots.clear();
        self.slots.resize(slots, 0);
        for (id, &(_, hash)) in self.entries.iter().enumerate() {
            let mut slot = hash as usize & (slots - 1);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (slots - 1);
            }
            self.slots[slot] = id as u32 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_have_equal_numbers_also_after_growing_and_clearing() {
        let mut interner = Interner::default();
        for round in 0..3 {
            for pass in 0..2 {
                for n in 0..1_000usize {
                    let text = format!("{round}:{n}");
                    assert_eq!(interner.intern(b"k", text.as_bytes()), (n, pass == 0));
                    assert_eq!(interner.get(n), format!("k{text}").as_bytes());
                }
            }
            interner.clear();
        }
        assert_eq!(interner.intern(b"", b""), (0, true));
        assert_eq!(interner.intern(b"", b""), (0, false));
    }
}
