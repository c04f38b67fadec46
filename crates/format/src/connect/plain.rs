//! Which bytes of a text stand in JSON as they are. Eight are looked at together, within one word.
//!
//! Invariant: a word is plain only if each of its bytes is. Start at [`length`].

/// The first byte of a character of four bytes is this or more.
pub const FOUR_BYTES: u8 = 0xf0;

/// Bytes of a word.
const WORD: usize = 8;

/// Whether a byte needs no escape; with `SURROGATES`, characters of four bytes need two.
#[inline]
pub fn is<const SURROGATES: bool>(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\' && !(SURROGATES && byte >= FOUR_BYTES)
}

/// How many bytes at the front need no escape.
#[inline]
pub fn length<const SURROGATES: bool>(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<WORD>();
    let is_plain = |word: &[u8; WORD]| is_plain_word::<SURROGATES>(u64::from_le_bytes(*word));
    let mut start = 0;
    for word in words {
        if !is_plain(word) {
            return start + first::<SURROGATES>(word);
        }
        start += WORD;
    }
    // The end of a longer text is looked at as a word, too.
    match bytes.last_chunk::<WORD>() {
        Some(last) if is_plain(last) => bytes.len(),
        _ => start + first::<SURROGATES>(&bytes[start..]),
    }
}

/// A text of less than a word, the first byte lowest and zeros behind it; `None` if it is longer, or not plain.
#[inline]
pub fn short<const SURROGATES: bool>(bytes: &[u8]) -> Option<u64> {
    let count = bytes.len();
    let word = match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>(), bytes) {
        // Where both halves hold a byte, it is the same one.
        (Some(first), Some(last), _) if count < WORD => {
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (count - 4))
        }
        (None, None, [first, .., last]) => {
            u64::from(*first) | u64::from(bytes[count / 2]) << (8 * (count / 2)) | u64::from(*last) << (8 * (count - 1))
        }
        (None, None, [only]) => u64::from(*only),
        (None, None, []) => 0,
        _ => return None,
    };
    let padding = repeat(b' ') << (8 * count);
    is_plain_word::<SURROGATES>(word | padding).then_some(word)
}

fn first<const SURROGATES: bool>(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !is::<SURROGATES>(*byte)).unwrap_or(bytes.len())
}

#[inline]
const fn repeat(byte: u8) -> u64 {
    u64::from_le_bytes([byte; WORD])
}

/// The highest bit of each byte tells what is found there. A borrow from the byte below can only add to what was found, and
/// there is none unless something was.
#[inline]
fn is_plain_word<const SURROGATES: bool>(word: u64) -> bool {
    // With this bit turned over, the quotation mark follows the control characters, and the blank does not.
    let flipped = word ^ repeat(0x02);
    let low = flipped.wrapping_sub(repeat(0x21)) & !flipped;
    let backslash = word ^ repeat(b'\\');
    let backslash = backslash.wrapping_sub(repeat(1)) & !backslash;
    let four = if SURROGATES { word & word << 1 & word << 2 & word << 3 } else { 0 };
    (low | backslash | four) & repeat(0x80) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_byte_is_found_at_every_place() {
        for byte in 0..=u8::MAX {
            for (count, place) in (1..20).flat_map(|count| (0..count).map(move |place| (count, place))) {
                let mut bytes = vec![b'a'; count];
                bytes[place] = byte;
                let expected = |is_plain| if is_plain { count } else { place };
                assert_eq!(length::<true>(&bytes), expected(is::<true>(byte)), "{bytes:?}");
                assert_eq!(length::<false>(&bytes), expected(is::<false>(byte)), "{bytes:?}");
                let word = short::<true>(&bytes).map(|word| word.to_le_bytes()[..count.min(7)].to_vec());
                assert_eq!(word, (count < WORD && is::<true>(byte)).then_some(bytes));
            }
        }
        assert_eq!(short::<true>(b""), Some(0));
    }

    proptest! {
        #[test]
        fn bytes_are_plain_up_to_the_first_that_is_not(bytes: Vec<u8>) {
            prop_assert_eq!(length::<true>(&bytes), first::<true>(&bytes));
            prop_assert_eq!(length::<false>(&bytes), first::<false>(&bytes));
        }
    }
}
