//! The multi-byte character sets of East Asia: `encoding_rs`, and what the servers do differently.
//!
//! Invariant: a character decodes to what the servers' own CONVERT gives (compared code by code with MySQL 9.7 and MariaDB
//! 11.8, which agree). Codes that the servers' sets leave unassigned, and the newer sets of `encoding_rs` do not, decode
//! to the character that was meant, where the server prints a question mark. Start at [`MultiByte::of`].

use super::charset::{Invalid, push};
use encoding_rs::Encoding;

/// A character set whose characters have one to four bytes.
#[derive(Clone, Copy, Debug)]
pub struct MultiByte {
    encoding: &'static Encoding,
    form: Form,
    differences: &'static [Run],
}

/// First code, number of codes, first character: what the servers decode differently.
type Run = (u32, u32, u32);

/// How a character's length follows from its first bytes.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// Two bytes from 0x81 on.
    Double,
    /// Two bytes, but single ones from 0xa1 to 0xdf.
    ShiftJis,
    /// Two bytes, three after 0x8f.
    Euc,
    /// Two bytes, four if the second is a digit.
    Gb18030,
}

impl MultiByte {
    /// By MySQL's name.
    pub fn of(charset: &str) -> Option<MultiByte> {
        let (encoding, form, differences): (_, _, &[Run]) = match charset {
            "gbk" => (encoding_rs::GBK, Form::Double, &[]),
            "gb2312" => (encoding_rs::GBK, Form::Double, GB2312),
            "gb18030" => (encoding_rs::GB18030, Form::Gb18030, GB18030),
            "big5" => (encoding_rs::BIG5, Form::Double, BIG5),
            "euckr" => (encoding_rs::EUC_KR, Form::Double, &[]),
            "sjis" => (encoding_rs::SHIFT_JIS, Form::ShiftJis, SJIS),
            "cp932" => (encoding_rs::SHIFT_JIS, Form::ShiftJis, &[]),
            "ujis" => (encoding_rs::EUC_JP, Form::Euc, UJIS),
            "eucjpms" => (encoding_rs::EUC_JP, Form::Euc, EUCJPMS),
            _ => return None,
        };
        Some(MultiByte { encoding, form, differences })
    }

    /// Appends the text of `bytes`.
    pub fn decode(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
        if self.differences.is_empty() {
            return self.plain(bytes, out);
        }
        // What lies between two differences is decoded at once.
        let (mut start, mut at) = (0, 0);
        while at < bytes.len() {
            let length = self.form.length(&bytes[at..]);
            let character = bytes.get(at..at + length).ok_or(Invalid)?;
            if length > 1
                && let Some(c) = self.difference(character)
            {
                self.plain(&bytes[start..at], out)?;
                push(out, c);
                start = at + length;
            }
            at += length;
        }
        self.plain(&bytes[start..], out)
    }

    fn plain(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
        let text = self.encoding.decode_without_bom_handling_and_without_replacement(bytes).ok_or(Invalid)?;
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn difference(&self, character: &[u8]) -> Option<char> {
        let code = character.iter().fold(0, |code, &byte| code << 8 | u32::from(byte));
        let next = self.differences.partition_point(|&(first, _, _)| first <= code);
        let &(first, count, c) = self.differences.get(next.checked_sub(1)?)?;
        if code - first < count { char::from_u32(c + (code - first)) } else { None }
    }
}

impl Form {
    fn length(self, bytes: &[u8]) -> usize {
        match (self, bytes) {
            (_, [..0x80, ..] | []) => 1,
            (Form::ShiftJis, [0xa0..=0xdf, ..]) => 1,
            (Form::Euc, [0x8f, ..]) => 3,
            (Form::Gb18030, [_, b'0'..=b'9', ..]) => 4,
            _ => 2,
        }
    }
}

#[rustfmt::skip]
const BIG5: &[Run] = &[
    (0xa145, 1, 0x2022), (0xa14e, 1, 0xff64), (0xa15a, 1, 0xfffd), (0xa1c2, 1, 0x203e), (0xa1c3, 1, 0xfffd),
    (0xa1c5, 1, 0xfffd), (0xa1e3, 1, 0x223c), (0xa1f2, 1, 0x2641), (0xa1f3, 1, 0x2609), (0xa1fe, 1, 0xfffd),
    (0xa240, 1, 0xfffd), (0xa241, 1, 0xff0f), (0xa242, 1, 0xff3c), (0xa244, 1, 0xa5), (0xa246, 2, 0xa2),
    (0xa2cc, 1, 0xfffd), (0xa2ce, 1, 0xfffd), (0xc6a1, 1, 0x30fe), (0xc6a2, 2, 0x309d), (0xc6a4, 1, 0x3005),
    (0xc6a5, 83, 0x3041), (0xc6f8, 7, 0x30a1), (0xc740, 63, 0x30a8), (0xc7a1, 16, 0x30e7), (0xc7b1, 2, 0x414),
    (0xc7b3, 1, 0x401), (0xc7b4, 7, 0x416), (0xc7bb, 19, 0x423), (0xc7ce, 1, 0x451), (0xc7cf, 26, 0x436),
    (0xc7e9, 10, 0x2460), (0xc7f3, 10, 0x2474),
];

#[rustfmt::skip]
const SJIS: &[Run] = &[
    (0x815f, 1, 0x5c), (0x8160, 1, 0x301c), (0x8161, 1, 0x2016), (0x817c, 1, 0x2212), (0x8191, 2, 0xa2),
    (0x81ca, 1, 0xac),
];

#[rustfmt::skip]
const UJIS: &[Run] = &[
    (0xa1c0, 1, 0x5c), (0xa1c1, 1, 0x301c), (0xa1c2, 1, 0x2016), (0xa1dd, 1, 0x2212), (0xa1f1, 2, 0xa2),
    (0xa2cc, 1, 0xac), (0xf5a1, 94, 0xe000), (0xf6a1, 94, 0xe05e), (0xf7a1, 94, 0xe0bc), (0xf8a1, 94, 0xe11a),
    (0xf9a1, 94, 0xe178), (0xfaa1, 94, 0xe1d6), (0xfba1, 94, 0xe234), (0xfca1, 94, 0xe292), (0xfda1, 94, 0xe2f0),
    (0xfea1, 94, 0xe34e), (0x8fa2b7, 1, 0x7e), (0x8ff5a1, 94, 0xe3ac), (0x8ff6a1, 94, 0xe40a), (0x8ff7a1, 94, 0xe468),
    (0x8ff8a1, 94, 0xe4c6), (0x8ff9a1, 94, 0xe524), (0x8ffaa1, 94, 0xe582), (0x8ffba1, 94, 0xe5e0),
    (0x8ffca1, 94, 0xe63e), (0x8ffda1, 94, 0xe69c), (0x8ffea1, 94, 0xe6fa),
];

#[rustfmt::skip]
const EUCJPMS: &[Run] = &[
    (0xf5a1, 94, 0xe000), (0xf6a1, 94, 0xe05e), (0xf7a1, 94, 0xe0bc), (0xf8a1, 94, 0xe11a), (0xf9a1, 94, 0xe178),
    (0xfaa1, 94, 0xe1d6), (0xfba1, 94, 0xe234), (0xfca1, 94, 0xe292), (0xfda1, 94, 0xe2f0), (0xfea1, 94, 0xe34e),
    (0x8fa2c3, 1, 0xffe4), (0x8ff3f3, 10, 0x2170), (0x8ff3fd, 2, 0x2160), (0x8ff4a1, 8, 0x2162),
    (0x8ff4a9, 1, 0xff07), (0x8ff4aa, 1, 0xff02), (0x8ff4ab, 1, 0x3231), (0x8ff4ac, 1, 0x2116), (0x8ff4ad, 1, 0x2121),
    (0x8ff4ae, 1, 0x70bb), (0x8ff4af, 1, 0x4efc), (0x8ff4b0, 1, 0x50f4), (0x8ff4b1, 1, 0x51ec), (0x8ff4b2, 1, 0x5307),
    (0x8ff4b3, 1, 0x5324), (0x8ff4b4, 1, 0xfa0e), (0x8ff4b5, 1, 0x548a), (0x8ff4b6, 1, 0x5759), (0x8ff4b7, 2, 0xfa0f),
    (0x8ff4b9, 1, 0x589e), (0x8ff4ba, 1, 0x5bec), (0x8ff4bb, 1, 0x5cf5), (0x8ff4bc, 1, 0x5d53), (0x8ff4bd, 1, 0xfa11),
    (0x8ff4be, 1, 0x5fb7), (0x8ff4bf, 1, 0x6085), (0x8ff4c0, 1, 0x6120), (0x8ff4c1, 1, 0x654e), (0x8ff4c2, 1, 0x663b),
    (0x8ff4c3, 1, 0x6665), (0x8ff4c4, 1, 0xfa12), (0x8ff4c5, 1, 0xf929), (0x8ff4c6, 1, 0x6801), (0x8ff4c7, 2, 0xfa13),
    (0x8ff4c9, 1, 0x6a6b), (0x8ff4ca, 1, 0x6ae2), (0x8ff4cb, 1, 0x6df8), (0x8ff4cc, 1, 0x6df2), (0x8ff4cd, 1, 0x7028),
    (0x8ff4ce, 2, 0xfa15), (0x8ff4d0, 1, 0x7501), (0x8ff4d1, 1, 0x7682), (0x8ff4d2, 1, 0x769e), (0x8ff4d3, 1, 0xfa17),
    (0x8ff4d4, 1, 0x7930), (0x8ff4d5, 4, 0xfa18), (0x8ff4d9, 1, 0x7ae7), (0x8ff4da, 2, 0xfa1c), (0x8ff4dc, 1, 0x7da0),
    (0x8ff4dd, 1, 0x7dd6), (0x8ff4de, 1, 0xfa1e), (0x8ff4df, 1, 0x8362), (0x8ff4e0, 1, 0xfa1f), (0x8ff4e1, 1, 0x85b0),
    (0x8ff4e2, 2, 0xfa20), (0x8ff4e4, 1, 0x8807), (0x8ff4e5, 1, 0xfa22), (0x8ff4e6, 1, 0x8b7f), (0x8ff4e7, 1, 0x8cf4),
    (0x8ff4e8, 1, 0x8d76), (0x8ff4e9, 3, 0xfa23), (0x8ff4ec, 1, 0x90de), (0x8ff4ed, 1, 0xfa26), (0x8ff4ee, 1, 0x9115),
    (0x8ff4ef, 2, 0xfa27), (0x8ff4f1, 1, 0x9592), (0x8ff4f2, 1, 0xf9dc), (0x8ff4f3, 1, 0xfa29), (0x8ff4f4, 1, 0x973b),
    (0x8ff4f5, 1, 0x974d), (0x8ff4f6, 1, 0x9751), (0x8ff4f7, 3, 0xfa2a), (0x8ff4fa, 1, 0x999e), (0x8ff4fb, 1, 0x9ad9),
    (0x8ff4fc, 1, 0x9b72), (0x8ff4fd, 1, 0xfa2d), (0x8ff4fe, 1, 0x9ed1), (0x8ff5a1, 94, 0xe3ac),
    (0x8ff6a1, 94, 0xe40a), (0x8ff7a1, 94, 0xe468), (0x8ff8a1, 94, 0xe4c6), (0x8ff9a1, 94, 0xe524),
    (0x8ffaa1, 94, 0xe582), (0x8ffba1, 94, 0xe5e0), (0x8ffca1, 94, 0xe63e), (0x8ffda1, 94, 0xe69c),
    (0x8ffea1, 94, 0xe6fa),
];

#[rustfmt::skip]
const GB2312: &[Run] = &[
    (0xa1a4, 1, 0x30fb), (0xa1aa, 1, 0x2015),
];

#[rustfmt::skip]
const GB18030: &[Run] = &[
    (0xa3a0, 1, 0xe5e5), (0xa6d9, 7, 0xe78d), (0xa6ec, 2, 0xe794), (0xa6f3, 1, 0xe796), (0xfe59, 1, 0xe81e),
    (0xfe61, 1, 0xe826), (0xfe66, 2, 0xe82b), (0xfe6d, 1, 0xe832), (0xfe7e, 1, 0xe843), (0xfe90, 1, 0xe854),
    (0xfea0, 1, 0xe864),
];
