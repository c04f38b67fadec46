//! Takes the fields of a message apart, in network order.
//!
//! Invariant: nothing is read past the end. Start at [`Fields`].

/// What is left of a message.
pub(super) struct Fields<'a>(pub &'a [u8]);

/// The message ends inside a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message ends inside a field")]
pub struct Truncated;

impl<'a> Fields<'a> {
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Truncated> {
        self.0.split_off(..count).ok_or(Truncated)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, Truncated> {
        self.array().map(u8::from_be_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, Truncated> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Truncated> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Truncated> {
        self.array().map(u64::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, Truncated> {
        self.array().map(i64::from_be_bytes)
    }

    /// A text up to its NUL. What is no UTF-8 is replaced: only names and messages are read so.
    pub fn text(&mut self) -> Result<String, Truncated> {
        let end = self.0.iter().position(|&byte| byte == 0).ok_or(Truncated)?;
        let text = String::from_utf8_lossy(&self.0[..end]).into_owned();
        self.0 = &self.0[end + 1..];
        Ok(text)
    }
}
