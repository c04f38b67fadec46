//! A cursor over a message's bytes: big-endian integers and strings that end in a zero.
//!
//! Invariant: every read checks what is left and answers an error; nothing here panics or allocates.

/// What is wrong with the bytes, as a phrase that names the field; the caller adds the message or the column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad(pub &'static str);

pub type Read<T> = Result<T, Bad>;

/// Bytes not yet read.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next `count` bytes; `what` names them in the error.
    #[inline]
    pub fn take(&mut self, count: usize, what: &'static str) -> Read<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(Bad(what))?;
        self.0 = tail;
        Ok(head)
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

    #[inline]
    pub fn u16(&mut self, what: &'static str) -> Read<u16> {
        self.array(what).map(u16::from_be_bytes)
    }

    #[inline]
    pub fn u32(&mut self, what: &'static str) -> Read<u32> {
        self.array(what).map(u32::from_be_bytes)
    }

    #[inline]
    pub fn u64(&mut self, what: &'static str) -> Read<u64> {
        self.array(what).map(u64::from_be_bytes)
    }

    #[inline]
    pub fn i16(&mut self, what: &'static str) -> Read<i16> {
        self.array(what).map(i16::from_be_bytes)
    }

    #[inline]
    pub fn i32(&mut self, what: &'static str) -> Read<i32> {
        self.array(what).map(i32::from_be_bytes)
    }

    #[inline]
    pub fn i64(&mut self, what: &'static str) -> Read<i64> {
        self.array(what).map(i64::from_be_bytes)
    }

    /// A string up to its closing zero, which is taken too.
    pub fn string(&mut self, what: &'static str) -> Read<&'a str> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Bad(what))?;
        let text = std::str::from_utf8(&self.0[..end]).map_err(|_| Bad(what))?;
        self.0 = &self.0[end + 1..];
        Ok(text)
    }

    /// Fails when bytes are left over: then the boundary of the message, or of the value, is not where it was said to be.
    pub fn end(&self, what: &'static str) -> Read<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Bad(what)) }
    }
}

/// UTF-8, as `client_encoding` promises; a database in SQL_ASCII may hold anything.
#[inline]
pub fn utf8(bytes: &[u8]) -> Read<&str> {
    std::str::from_utf8(bytes)
        .map_err(|_| Bad("is not valid UTF-8; a database in SQL_ASCII holds bytes of any encoding: mend the row"))
}
