//! Short texts and numbers, written as whole blocks.
//!
//! Invariant: what is behind a text's end in its block never stays in the buffer. A copy of a length that is known when this is
//! compiled takes no call, which for a few bytes is most of what a copy costs. Start at [`Piece::put`] and [`integer`].

/// Bytes of a block.
const BLOCK: usize = 32;
/// Digits and sign of the longest number.
const NUMBER: usize = 20;

/// A text that stands in every record.
#[derive(Clone, Debug)]
pub struct Piece {
    block: [u8; BLOCK],
    length: usize,
    /// The whole of what is longer than a block.
    long: Vec<u8>,
}

/// The digits of a number.
#[derive(Clone, Copy)]
pub struct Digits {
    digits: [u8; 2 * NUMBER],
    start: usize,
}

impl Piece {
    /// Of any text.
    pub fn new(text: &[u8]) -> Piece {
        let (mut block, mut long) = ([0; BLOCK], Vec::new());
        match block.get_mut(..text.len()) {
            Some(start) => start.copy_from_slice(text),
            None => long.extend_from_slice(text),
        }
        Piece { block, length: text.len(), long }
    }

    /// Appends it.
    #[inline]
    pub fn put(&self, out: &mut Vec<u8>) {
        if self.length > BLOCK {
            return out.extend_from_slice(&self.long);
        }
        let end = out.len() + self.length;
        out.extend_from_slice(&self.block);
        out.truncate(end);
    }
}

impl Digits {
    /// Of any number.
    #[inline]
    pub fn new(value: i64) -> Digits {
        const PAIRS: &[u8; 200] = b"00010203040506070809101112131415161718192021222324252627282930313233343536373839\
            40414243444546474849505152535455565758596061626364656667686970717273747576777879\
            8081828384858687888990919293949596979899";
        let (mut digits, mut start, mut rest) = ([0; 2 * NUMBER], NUMBER, value.unsigned_abs());
        while rest >= 10 {
            let pair = (rest % 100) as usize * 2;
            rest /= 100;
            start -= 2;
            digits[start..start + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
        }
        // A zero in front of an odd number of digits is none of them.
        if rest > 0 || start == NUMBER {
            start -= 1;
            digits[start] = b'0' + rest as u8;
        } else if digits[start] == b'0' {
            start += 1;
        }
        if value < 0 {
            start -= 1;
            digits[start] = b'-';
        }
        Digits { digits, start }
    }

    /// Appends them without their last `cut` ones.
    #[inline]
    pub fn put(&self, out: &mut Vec<u8>, cut: usize) {
        let end = out.len() + self.length().saturating_sub(cut);
        if let Some(block) = self.digits[self.start..].first_chunk::<NUMBER>() {
            out.extend_from_slice(block);
        }
        out.truncate(end);
    }

    /// How many there are, the sign among them.
    #[inline]
    pub fn length(&self) -> usize {
        NUMBER - self.start
    }
}

/// Appends an integer.
#[inline]
pub fn integer(out: &mut Vec<u8>, value: i64) {
    Digits::new(value).put(out, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_of_any_length_are_appended_whole() {
        for length in [0, 1, 31, 32, 33, 100] {
            let text = vec![b'x'; length];
            let mut out = b"before".to_vec();
            Piece::new(&text).put(&mut out);
            assert_eq!(out, [b"before", text.as_slice()].concat());
        }
    }

    #[test]
    fn numbers_at_the_edges_have_all_their_digits() {
        for value in [0, 9, 10, 99, 100, 101, 999, 1_000, 1_005, -1, -10, -100, i64::MAX, i64::MIN] {
            let mut out = b"n".to_vec();
            integer(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), format!("n{value}"));
        }
    }

    proptest! {
        #[test]
        fn every_number_has_all_its_digits(value in any::<i64>(), shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            integer(&mut out, value);
            prop_assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }
}
