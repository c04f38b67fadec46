//! A byte place in a journal, and the salt that ties a frame to its place.
//!
//! Invariant: places grow along the journal, so two of them compare as plain numbers. Start at [`Place`].

use crate::identity::JournalId;

/// Segment ordinal in the upper 32 bits, byte place inside the file in the lower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(pub u64);

impl Place {
    pub(crate) fn new(ordinal: u32, at: u32) -> Self {
        Place(u64::from(ordinal) << 32 | u64::from(at))
    }

    /// Number of the segment.
    pub fn ordinal(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Byte place in the segment's file.
    pub fn at(self) -> u32 {
        self.0 as u32
    }
}

/// Computes the salts of one journal's checksums. A frame that lies where it was not written (a stale block, bytes of a
/// frame inside a row) does not check, because its place is part of its checksum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Salter(u32);

impl Salter {
    /// For the frames of segments.
    pub fn frames(id: JournalId) -> Self {
        Salter(crc32c::crc32c(&id.0))
    }

    /// For the chunks of one side segment.
    pub fn side(id: JournalId, number: u64) -> Self {
        Salter(crc32c::crc32c_append(crc32c::crc32c_append(!crc32c::crc32c(&id.0), b"side"), &number.to_le_bytes()))
    }

    /// The salt of what begins at `place`.
    pub fn salt(self, place: Place) -> u32 {
        // A multiplicative mix, not a checksum: it runs once a frame and only has to differ between places.
        let mixed = (place.0 ^ u64::from(self.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as u32 ^ self.0
    }
}
