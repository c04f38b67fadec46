//! DECIMAL's packed form to canonical text: nine digits in four bytes, the sign in the first bit, negative numbers
//! inverted.
//!
//! Invariant: never through a float or a wider integer; the text has exactly the column's scale and no leading zeros
//! but one before the point, and zero has no sign. Format: MySQL's strings/decimal.cc, `decimal2bin`.

use super::bytes::{Bad, Read, be_uint};

/// MySQL's limit of a column's digits.
const PRECISION_MAX: u8 = 65;

/// The limit of a computed number, which fills its nine words: a value inside JSON is kept as it was computed.
const COMPUTED_PRECISION_MAX: u8 = 81;

/// The longest text: sign, digits, point, and the zero before it.
pub const TEXT_MAX: usize = COMPUTED_PRECISION_MAX as usize + 3;

/// The most bytes of a packed number: nine groups of nine digits, of which two may be cut in two parts.
const PACKED_MAX: usize = 40;

/// Bytes that a group of 0 to 9 digits takes.
const GROUP_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// A number's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Digits before the point: those of the first, shorter group.
    head_digits: u8,
    /// Whole groups before the point.
    whole_groups: u8,
    /// Whole groups after the point.
    fraction_groups: u8,
    /// Digits of the last, shorter group.
    tail_digits: u8,
}

impl Layout {
    /// A column's; `None` when there is no such DECIMAL.
    pub fn new(precision: u8, scale: u8) -> Option<Layout> {
        Self::within(PRECISION_MAX, precision, scale)
    }

    /// A computed number's, whose digits may be more than a column's because whole words of nine are counted.
    pub fn computed(precision: u8, scale: u8) -> Option<Layout> {
        Self::within(COMPUTED_PRECISION_MAX, precision, scale)
    }

    fn within(precision_max: u8, precision: u8, scale: u8) -> Option<Layout> {
        if precision == 0 || precision > precision_max || scale > precision {
            return None;
        }
        let whole = precision - scale;
        Some(Layout {
            head_digits: whole % 9,
            whole_groups: whole / 9,
            fraction_groups: scale / 9,
            tail_digits: scale % 9,
        })
    }

    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        GROUP_BYTES[usize::from(self.head_digits)]
            + 4 * usize::from(self.whole_groups + self.fraction_groups)
            + GROUP_BYTES[usize::from(self.tail_digits)]
    }

    /// Writes the text of `packed` into `text` and answers it.
    #[inline]
    pub fn write<'t>(self, packed: &[u8], text: &'t mut [u8; TEXT_MAX]) -> Read<&'t str> {
        const WHAT: Bad = Bad("a DECIMAL's bytes are not those of its precision and scale");
        if packed.len() != self.bytes() || packed.is_empty() {
            return Err(WHAT);
        }
        let negative = packed[0] & 0x80 == 0;
        let flip = if negative { 0xff } else { 0 };
        let mut plain = [0u8; PACKED_MAX];
        for (to, from) in plain.iter_mut().zip(packed) {
            *to = from ^ flip;
        }
        plain[0] ^= 0x80;
        let mut groups = &plain[..packed.len()];
        let mut writer = Writer { text, end: 1, any: 0 };
        writer.group(&mut groups, usize::from(self.head_digits)).ok_or(WHAT)?;
        for _ in 0..self.whole_groups {
            writer.group(&mut groups, 9).ok_or(WHAT)?;
        }
        // Place 0 is kept for the sign; leading zeros are passed over, but for the last digit before the point.
        let whole_end = writer.end;
        let mut start = 1;
        while start + 1 < whole_end && writer.text[start] == b'0' {
            start += 1;
        }
        if whole_end == 1 {
            writer.text[1] = b'0';
            writer.end = 2;
        }
        if self.fraction_groups > 0 || self.tail_digits > 0 {
            writer.text[writer.end] = b'.';
            writer.end += 1;
            for _ in 0..self.fraction_groups {
                writer.group(&mut groups, 9).ok_or(WHAT)?;
            }
            writer.group(&mut groups, usize::from(self.tail_digits)).ok_or(WHAT)?;
        }
        let (end, any) = (writer.end, writer.any);
        if negative && any != 0 {
            start -= 1;
            text[start] = b'-';
        }
        std::str::from_utf8(&text[start..end]).map_err(|_| WHAT)
    }
}

/// "00" to "99".
const PAIRS: [u8; 200] = {
    let mut pairs = [0; 200];
    let mut i = 0;
    while i < 100 {
        pairs[2 * i] = b'0' + (i / 10) as u8;
        pairs[2 * i + 1] = b'0' + (i % 10) as u8;
        i += 1;
    }
    pairs
};

struct Writer<'t> {
    text: &'t mut [u8; TEXT_MAX],
    end: usize,
    /// The bits of all groups: zero for zero.
    any: u32,
}

impl Writer<'_> {
    /// Writes a group of `digits` with its leading zeros; `None` when it holds a larger number than that.
    #[inline]
    fn group(&mut self, groups: &mut &[u8], digits: usize) -> Option<()> {
        let (group, rest) = groups.split_at_checked(GROUP_BYTES[digits])?;
        *groups = rest;
        let mut value = be_uint(group) as u32;
        self.any |= value;
        let places = &mut self.text[self.end..self.end + digits];
        // Two digits at a time from the end, then the odd one.
        let mut pairs = places.rchunks_exact_mut(2);
        for pair in &mut pairs {
            let two = (value % 100) as usize * 2;
            pair.copy_from_slice(&PAIRS[two..two + 2]);
            value /= 100;
        }
        if let [first] = pairs.into_remainder() {
            *first = b'0' + (value % 10) as u8;
            value /= 10;
        }
        self.end += digits;
        (value == 0).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pack(text: &str, precision: u8, scale: u8) -> Vec<u8> {
        let negative = text.starts_with('-');
        let (whole, fraction) =
            text.trim_start_matches('-').split_once('.').unwrap_or((text.trim_start_matches('-'), ""));
        let whole = format!("{whole:0>width$}", width = usize::from(precision - scale));
        let whole = &whole[whole.len() - usize::from(precision - scale)..];
        let mut out = Vec::new();
        let mut put = |digits: &str| {
            let bytes = digits.parse::<u32>().unwrap_or(0).to_be_bytes();
            out.extend_from_slice(&bytes[4 - GROUP_BYTES[digits.len()]..]);
        };
        let head = whole.len() % 9;
        put(&whole[..head]);
        whole.as_bytes()[head..].chunks(9).for_each(|chunk| put(std::str::from_utf8(chunk).unwrap()));
        fraction.as_bytes().chunks(9).for_each(|chunk| put(std::str::from_utf8(chunk).unwrap()));
        out[0] ^= 0x80;
        if negative {
            out.iter_mut().for_each(|byte| *byte = !*byte);
        }
        out
    }

    #[test]
    fn texts_are_canonical() {
        for (text, precision, scale) in [
            ("0.00", 10, 2),
            ("-12.30", 10, 2),
            ("99999999.99", 10, 2),
            ("1234567890.1234", 14, 4),
            ("-99999999999999999999999999999999999.999999999999999999999999999999", 65, 30),
            ("99999999999999999999999999999999999999999999999999999999999999999", 65, 0),
            ("0.000000001", 9, 9),
            ("-0.1", 1, 1),
            ("7", 1, 0),
            ("1000000000", 10, 0),
        ] {
            let packed = pack(text, precision, scale);
            let layout = Layout::new(precision, scale).unwrap();
            assert_eq!(layout.write(&packed, &mut [0; TEXT_MAX]), Ok(text), "DECIMAL({precision},{scale})");
        }
    }

    #[test]
    fn a_computed_number_counts_whole_words() {
        let text = "12345678901234567890123456789012345.123456789012345678901234567890";
        assert!(Layout::new(66, 30).is_none());
        let layout = Layout::computed(66, 30).unwrap();
        assert_eq!(layout.write(&pack(text, 66, 30), &mut [0; TEXT_MAX]), Ok(text));
        let most = "9".repeat(81);
        for scale in 0..=30 {
            let layout = Layout::computed(81, scale).unwrap();
            let (whole, fraction) = most.split_at(81 - usize::from(scale));
            let text = if scale == 0 { whole.to_owned() } else { format!("-{whole}.{fraction}") };
            assert_eq!(layout.write(&pack(&text, 81, scale), &mut [0; TEXT_MAX]), Ok(text.as_str()));
        }
        assert!(Layout::computed(82, 0).is_none());
    }

    #[test]
    fn a_group_larger_than_its_digits_is_refused() {
        let layout = Layout::new(9, 0).unwrap();
        assert!(layout.write(&[0xff, 0xff, 0xff, 0xff], &mut [0; TEXT_MAX]).is_err());
        assert!(Layout::new(66, 0).is_none() && Layout::new(5, 6).is_none() && Layout::new(0, 0).is_none());
    }

    proptest! {
        #[test]
        fn any_number_reads_back(precision in 1u8..=65, scale_seed in 0u8..=65, digits in "[0-9]{65}", negative: bool) {
            let scale = scale_seed % (precision + 1);
            let (whole, fraction) = digits[..usize::from(precision)].split_at(usize::from(precision - scale));
            let whole = whole.trim_start_matches('0');
            let mut text = format!("{}{}", if whole.is_empty() { "0" } else { whole }, if scale > 0 { format!(".{fraction}") } else { String::new() });
            if negative && text.bytes().any(|byte| matches!(byte, b'1'..=b'9')) {
                text.insert(0, '-');
            }
            let packed = pack(&text, precision, scale);
            let mut room = [0; TEXT_MAX];
            prop_assert_eq!(Layout::new(precision, scale).unwrap().write(&packed, &mut room), Ok(text.as_str()));
        }

        #[test]
        fn any_bytes_are_an_answer(precision in 0u8..=90, scale in 0u8..=90, bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            if let Some(layout) = Layout::computed(precision, scale) {
                let _ = layout.write(&bytes, &mut [0; TEXT_MAX]);
            }
        }
    }
}
