//! Character sets: from a collation's number to its character set, and from a character set's bytes to UTF-8.
//!
//! Invariant: bytes that are not valid in their character set are [`Invalid`], never replaced: the server itself would
//! print a question mark for them, and a follower could not tell that from the real thing. Start at [`Charsets`].

use super::collations;
use super::multi_byte::MultiByte;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes that are not text in their character set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// What the server knows of collations and character sets: built in for both servers, and extended at run time from
/// `information_schema.collations`.
#[derive(Clone, Debug)]
pub struct Charsets {
    by_collation: HashMap<u32, Arc<str>>,
    tables: HashMap<Arc<str>, Arc<[char; 256]>>,
}

/// Marks a byte that stands for no character in a table.
pub const UNMAPPED: char = char::REPLACEMENT_CHARACTER;

impl Default for Charsets {
    fn default() -> Self {
        let by_collation = collations::all().map(|(id, charset)| (id, Arc::from(charset))).collect();
        Charsets { by_collation, tables: HashMap::new() }
    }
}

impl Charsets {
    /// The built-in ones, and then `rows` of collation id and character set, as the server lists them.
    pub fn from_rows<'a>(rows: impl IntoIterator<Item = (u32, &'a str)>) -> Self {
        let mut charsets = Charsets::default();
        for (id, charset) in rows {
            charsets.by_collation.insert(id, Arc::from(canonical(charset)));
        }
        charsets
    }

    /// Teaches a single-byte character set that is not built in; [`UNMAPPED`] for bytes that stand for nothing.
    pub fn set_table(&mut self, charset: &str, table: [char; 256]) {
        self.tables.insert(Arc::from(canonical(charset)), Arc::new(table));
    }

    /// The character set of a collation's number.
    pub fn name_of(&self, collation: u32) -> Option<&str> {
        self.by_collation.get(&collation).map(|name| &**name)
    }

    /// How to read text in a character set, by MySQL's name; `None` when it is not known and has no table.
    pub fn codec(&self, charset: &str) -> Option<Codec> {
        let charset = canonical(charset);
        if let Some(table) = self.tables.get(charset) {
            return Some(Codec { name: Arc::from(charset), form: Form::Table(Arc::clone(table)) });
        }
        let form = match charset {
            "utf8mb4" | "utf8mb3" | "filename" => Form::Utf8,
            "ascii" => Form::Ascii,
            "ucs2" | "utf16" => Form::Utf16 { big: true },
            "utf16le" => Form::Utf16 { big: false },
            "utf32" => Form::Utf32,
            other => match MultiByte::of(other) {
                Some(set) => Form::Multi(set),
                None => Form::Table(Arc::new(collations::table(other)?)),
            },
        };
        Some(Codec { name: Arc::from(charset), form })
    }

    /// How to read text of a collation.
    pub fn of_collation(&self, collation: u32) -> Option<Codec> {
        self.codec(self.name_of(collation)?)
    }
}

/// One name for the character sets that have two.
pub fn canonical(charset: &str) -> &str {
    if charset == "utf8" { "utf8mb3" } else { charset }
}

/// How to read text in one character set.
#[derive(Clone, Debug)]
pub struct Codec {
    name: Arc<str>,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Utf8,
    Ascii,
    Table(Arc<[char; 256]>),
    Multi(MultiByte),
    Utf16 { big: bool },
    Utf32,
}

impl Codec {
    /// MySQL's name of the character set.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of `bytes`: borrowed from them where they are UTF-8, else written to `out`, which is cleared first.
    #[inline]
    pub fn decode<'a>(&self, bytes: &'a [u8], out: &'a mut Vec<u8>) -> Result<&'a str, Invalid> {
        match &self.form {
            Form::Utf8 => std::str::from_utf8(bytes).map_err(|_| Invalid),
            form => form.convert(bytes, out),
        }
    }
}

impl Form {
    fn convert<'a>(&self, bytes: &'a [u8], out: &'a mut Vec<u8>) -> Result<&'a str, Invalid> {
        out.clear();
        match self {
            Form::Utf8 => return std::str::from_utf8(bytes).map_err(|_| Invalid),
            Form::Ascii if bytes.is_ascii() => return std::str::from_utf8(bytes).map_err(|_| Invalid),
            Form::Ascii => return Err(Invalid),
            Form::Table(table) => {
                for &byte in bytes {
                    match table[usize::from(byte)] {
                        UNMAPPED => return Err(Invalid),
                        c => push(out, c),
                    }
                }
            }
            Form::Multi(set) => set.decode(bytes, out)?,
            Form::Utf16 { big } => {
                let units = bytes.chunks(2).map(|pair| match (pair, big) {
                    (&[a, b], true) => u16::from_be_bytes([a, b]),
                    (&[a, b], false) => u16::from_le_bytes([a, b]),
                    // An odd byte at the end: a lone surrogate is refused below.
                    _ => 0xd800,
                });
                for c in char::decode_utf16(units) {
                    push(out, c.map_err(|_| Invalid)?);
                }
            }
            Form::Utf32 => {
                for unit in bytes.chunks(4) {
                    let unit: [u8; 4] = unit.try_into().map_err(|_| Invalid)?;
                    push(out, char::from_u32(u32::from_be_bytes(unit)).ok_or(Invalid)?);
                }
            }
        }
        std::str::from_utf8(out).map_err(|_| Invalid)
    }
}

/// Appends a character.
pub(super) fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
