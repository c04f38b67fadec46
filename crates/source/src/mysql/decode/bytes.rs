//! A cursor over an event's bytes: little-endian integers, packed lengths, strings.
//!
//! Invariant: every read checks what is left and answers an error; nothing here panics or allocates.

/// What is wrong with the bytes, as a phrase that names the field; the caller adds the event or the column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad(pub &'static str);

pub type Read<T> = Result<T, Bad>;

/// Bytes not yet read.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The next `count` bytes; `what` names them in the error.
    #[inline]
    pub fn take(&mut self, count: usize, what: &'static str) -> Read<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(Bad(what))?;
        self.0 = tail;
        Ok(head)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    #[inline]
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Read<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(Bad(what))?;
        self.0 = tail;
        Ok(*head)
    }

    #[inline]
    pub fn u8(&mut self, what: &'static str) -> Read<u8> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub fn u16(&mut self, what: &'static str) -> Read<u16> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub fn u32(&mut self, what: &'static str) -> Read<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub fn u64(&mut self, what: &'static str) -> Read<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub fn u48(&mut self, what: &'static str) -> Read<u64> {
        self.array::<6>(what).map(|bytes| le_uint(&bytes))
    }

    /// A little-endian unsigned integer of 1 to 8 bytes.
    #[inline]
    pub fn uint(&mut self, width: usize, what: &'static str) -> Read<u64> {
        self.take(width, what).map(le_uint)
    }

    /// MySQL's packed ("length-encoded") integer: one byte, or 252, 253 and 254 before 2, 3 and 8 bytes.
    pub fn packed(&mut self, what: &'static str) -> Read<u64> {
        match self.u8(what)? {
            252 => self.uint(2, what),
            253 => self.uint(3, what),
            254 => self.uint(8, what),
            255 | 251 => Err(Bad(what)),
            small => Ok(u64::from(small)),
        }
    }

    /// A packed integer that counts bytes or items which must still be there: it cannot exceed what is left.
    pub fn packed_len(&mut self, what: &'static str) -> Read<usize> {
        let length = self.packed(what)?;
        usize::try_from(length).ok().filter(|&length| length <= self.len()).ok_or(Bad(what))
    }

    /// Bytes after their packed length.
    pub fn packed_bytes(&mut self, what: &'static str) -> Read<&'a [u8]> {
        let length = self.packed_len(what)?;
        self.take(length, what)
    }

    /// Bytes up to a NUL, which is skipped.
    pub fn until_nul(&mut self, what: &'static str) -> Read<&'a [u8]> {
        let end = self.0.iter().position(|&byte| byte == 0).ok_or(Bad(what))?;
        let text = self.take(end, what)?;
        self.take(1, what)?;
        Ok(text)
    }
}

/// Little-endian unsigned integer of at most 8 bytes.
#[inline]
pub fn le_uint(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// Big-endian unsigned integer of at most 8 bytes.
#[inline]
pub fn be_uint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// Whether bit `index` (least significant first) is set; bits beyond the end are not.
#[inline]
pub fn bit(bits: &[u8], index: usize) -> bool {
    bits.get(index >> 3).is_some_and(|byte| byte >> (index & 7) & 1 == 1)
}
