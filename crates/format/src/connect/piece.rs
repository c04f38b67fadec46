//! Short texts, written as whole blocks.
//!
//! Invariant: what is behind a text's end in its block never stays in the buffer. A copy of a length that is known when this is
//! compiled takes no call, which for a few bytes is most of what a copy costs. Start at [`Piece::put`].

/// Bytes of a block.
const BLOCK: usize = 32;
/// A text that stands in every record.
#[derive(Clone, Debug)]
pub struct Piece {
    block: [u8; BLOCK],
    length: usize,
    /// The whole of what is longer than a block.
    long: Vec<u8>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_length_are_appended_whole() {
        for length in [0, 1, 31, 32, 33, 100] {
            let text = vec![b'x'; length];
            let mut out = b"before".to_vec();
            Piece::new(&text).put(&mut out);
            assert_eq!(out, [b"before", text.as_slice()].concat());
        }
    }
}
