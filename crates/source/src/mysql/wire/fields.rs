//! Reads and writes the fields a packet is made of: little-endian integers, length-encoded integers and strings.
//!
//! Invariant: a field that reaches beyond the packet is [`Truncated`], never a panic and never a shorter value.
//! Start at [`Fields`].

/// The packet ended inside a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the packet ends inside a field")]
pub(super) struct Truncated;

/// The rest of a packet, read from the front.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Truncated> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, Truncated> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub fn u16(&mut self) -> Result<u16, Truncated> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, Truncated> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A length-encoded integer; `None` is the NULL marker 0xFB of a text row.
    ///
    /// Protocol: "Protocol::LengthEncodedInteger".
    pub fn lenenc_or_null(&mut self) -> Result<Option<u64>, Truncated> {
        let wide = |low: &[u8]| {
            let mut bytes = [0; 8];
            bytes[..low.len()].copy_from_slice(low);
            Some(u64::from_le_bytes(bytes))
        };
        Ok(match self.u8()? {
            0xfb => None,
            0xfc => wide(self.bytes(2)?),
            0xfd => wide(self.bytes(3)?),
            0xfe => wide(self.bytes(8)?),
            // 0xFF opens an error packet and is no integer.
            0xff => return Err(Truncated),
            small => Some(u64::from(small)),
        })
    }

    pub fn lenenc(&mut self) -> Result<u64, Truncated> {
        self.lenenc_or_null()?.ok_or(Truncated)
    }

    /// A length-encoded string, or `None` for NULL.
    pub fn lenenc_bytes_or_null(&mut self) -> Result<Option<&'a [u8]>, Truncated> {
        match self.lenenc_or_null()? {
            None => Ok(None),
            Some(count) => self.bytes(usize::try_from(count).map_err(|_| Truncated)?).map(Some),
        }
    }

    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8], Truncated> {
        self.lenenc_bytes_or_null()?.ok_or(Truncated)
    }

    /// A length-encoded string of names and messages, which the server sends as UTF-8.
    pub fn lenenc_text(&mut self) -> Result<String, Truncated> {
        Ok(String::from_utf8_lossy(self.lenenc_bytes()?).into_owned())
    }

    /// The bytes up to a NUL, which is consumed.
    pub fn nul_terminated(&mut self) -> Result<&'a [u8], Truncated> {
        let end = self.0.iter().position(|&byte| byte == 0).ok_or(Truncated)?;
        let head = self.bytes(end)?;
        self.bytes(1)?;
        Ok(head)
    }
}

/// Appends `value` as a length-encoded integer.
pub(super) fn put_lenenc(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_le_bytes();
    match value {
        0..=0xfa => out.push(bytes[0]),
        0xfb..=0xffff => {
            out.push(0xfc);
            out.extend_from_slice(&bytes[..2]);
        }
        0x1_0000..=0xff_ffff => {
            out.push(0xfd);
            out.extend_from_slice(&bytes[..3]);
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Appends `value` as a length-encoded string.
pub(super) fn put_lenenc_bytes(out: &mut Vec<u8>, value: &[u8]) {
    put_lenenc(out, value.len() as u64);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_length_encoded_integer_survives_the_round_trip(value in prop_oneof![any::<u64>(), 0..0x2_0000u64, 0xff_fff0..0x100_0010u64]) {
            let mut packet = Vec::new();
            put_lenenc(&mut packet, value);
            let mut fields = Fields(&packet);
            prop_assert_eq!(fields.lenenc(), Ok(value));
            prop_assert!(fields.0.is_empty());
            for cut in 0..packet.len() {
                prop_assert_eq!(Fields(&packet[..cut]).lenenc(), Err(Truncated));
            }
        }

        #[test]
        fn strings_survive_the_round_trip(values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 0..5)) {
            let mut packet = Vec::new();
            for value in &values {
                put_lenenc_bytes(&mut packet, value);
            }
            let mut fields = Fields(&packet);
            for value in &values {
                prop_assert_eq!(fields.lenenc_bytes(), Ok(&value[..]));
            }
            prop_assert!(fields.0.is_empty());
        }

        #[test]
        fn any_bytes_are_read_without_panic(packet in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut fields = Fields(&packet);
            while fields.lenenc_bytes_or_null().is_ok() && !fields.0.is_empty() {}
            let _ = Fields(&packet).nul_terminated();
        }
    }

    #[test]
    fn a_string_longer_than_its_packet_is_refused() {
        for packet in [&b"\x05abcd"[..], b"\xfe\xff\xff\xff\xff\xff\xff\xff\xffx", b"\xfc\x01", b"\xff", b""] {
            assert_eq!(Fields(packet).lenenc_bytes(), Err(Truncated), "{packet:?}");
        }
        assert_eq!(Fields(b"\xfb").lenenc_bytes_or_null(), Ok(None));
    }
}
