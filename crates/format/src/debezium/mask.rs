//! What a configuration does to the columns that it names: shortens, masks or hashes their values, shows their types.
//!
//! Invariant: of several rules that fit a column the first counts, as in the original. Start at [`Masks::rule`].

use super::columns::{Form, Shape, base, is_domain};
use super::columns_native;
use super::names::pattern;
use super::options::{ColumnAction, ColumnRule, Options, OptionsError};
use crate::connect::{Kind, json};
use crate::pattern::Pattern;
use headwater_model::{Column, Schema, Type};

/// The rules of a source, compiled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Masks {
    rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    columns: Vec<Pattern>,
    action: ColumnAction,
}

/// A change of a value's text, as it stands in the record.
#[derive(Clone, Debug)]
pub(crate) enum Rewrite {
    /// At most so many characters (units of UTF-16), or bytes.
    Truncate { length: usize, bytes: bool },
    /// Always this.
    Mask(Vec<u8>),
    /// A hash in hexadecimal digits, of at most so many characters.
    Hash { algorithm: Algorithm, salt: String, v2: bool, length: Option<usize> },
}

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Masks {
    /// Compiles the rules of `options`.
    pub fn new(options: &Options) -> Result<Masks, OptionsError> {
        let rules = options.columns.iter().map(Rule::new).collect::<Result<_, _>>()?;
        Ok(Masks { rules })
    }

    /// The rule of a column.
    pub fn rule(&self, schema: &Schema, column: &Column, options: &Options, snapshot: bool) -> Option<&Rule> {
        let table = schema.full_name();
        let by_name = format!("{table}.{}", column.name);
        let by_type = || format!("{table}.{}", columns_native::source_type_name(column, options, snapshot));
        self.rules.iter().find(|rule| {
            let name = match rule.action {
                ColumnAction::PropagateTypeOfType => &by_type(),
                _ => &by_name,
            };
            rule.columns.iter().any(|pattern| pattern.is_match(name))
        })
    }
}

impl Rule {
    fn new(rule: &ColumnRule) -> Result<Rule, OptionsError> {
        let option = rule.action.option();
        let patterns = split_patterns(&rule.columns);
        let columns = patterns.iter().map(|text| pattern(text, true, option)).collect::<Result<_, _>>()?;
        if let ColumnAction::Hash { algorithm, .. } = &rule.action {
            Algorithm::of(algorithm).ok_or_else(|| {
                OptionsError(format!(
                    "{option}: the algorithm {algorithm:?} is not known: write MD5, SHA-1, SHA-224, SHA-256, SHA-384 or SHA-512"
                ))
            })?;
        }
        Ok(Rule { columns, action: rule.action.clone() })
    }

    /// What the field's schema says of it, in a snapshot's records or in the stream's.
    pub fn parameters(&self, column: &Column, options: &Options, snapshot: bool) -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        match &self.action {
            ColumnAction::Truncate(length) if is_longer(columns_native::length(column, options, snapshot), *length) => {
                vec![pair("truncateLength", &length.to_string())]
            }
            ColumnAction::Truncate(_) => Vec::new(),
            ColumnAction::Mask(_) | ColumnAction::Hash { .. } => vec![pair("masked", "true")],
            ColumnAction::PropagateType | ColumnAction::PropagateTypeOfType => {
                columns_native::source_type(column, options, snapshot)
            }
        }
    }

    /// What is done to the column's values.
    pub fn rewrite(&self, column: &Column, shape: &Shape, options: &Options, snapshot: bool) -> Option<Rewrite> {
        let is_text = is_text(column, options);
        let length_of = || columns_native::length(column, options, snapshot);
        match &self.action {
            ColumnAction::Truncate(length) if is_longer(length_of(), *length) => {
                let length = *length as usize;
                match (&shape.schema.kind, &shape.form) {
                    (Kind::String, _) => Some(Rewrite::Truncate { length, bytes: false }),
                    (Kind::Bytes, Form::Bytes { .. } | Form::Shape(_)) => {
                        Some(Rewrite::Truncate { length, bytes: true })
                    }
                    _ => None,
                }
            }
            ColumnAction::Mask(length) if is_text => {
                let mut mask = Vec::new();
                json::string(&mut mask, &"*".repeat(*length as usize));
                Some(Rewrite::Mask(mask))
            }
            ColumnAction::Hash { algorithm, salt, v2 } if is_text => Some(Rewrite::Hash {
                algorithm: Algorithm::of(algorithm)?,
                salt: salt.clone(),
                v2: *v2,
                length: length_of().filter(|length| *length > 0),
            }),
            _ => None,
        }
    }
}

impl ColumnAction {
    fn option(&self) -> &'static str {
        match self {
            ColumnAction::Truncate(_) => "column.truncate.to.(length).chars",
            ColumnAction::Mask(_) => "column.mask.with.(length).chars",
            ColumnAction::Hash { .. } => "column.mask.hash",
            ColumnAction::PropagateType => "column.propagate.source.type",
            ColumnAction::PropagateTypeOfType => "datatype.propagate.source.type",
        }
    }
}

impl Rewrite {
    /// Changes the value that `out` holds from `start` on.
    pub fn apply(&self, out: &mut Vec<u8>, start: usize) {
        match self {
            Rewrite::Mask(mask) => {
                out.truncate(start);
                out.extend_from_slice(mask);
            }
            _ if out[start..] == *b"null" => {}
            Rewrite::Truncate { length, bytes: true } => truncate_bytes(out, start, *length),
            Rewrite::Truncate { length, bytes: false } => {
                if let Ok(text) = serde_json::from_slice::<String>(&out[start..]) {
                    out.truncate(start);
                    json::string(out, truncated(&text, *length));
                }
            }
            Rewrite::Hash { algorithm, salt, v2, length } => {
                let Ok(text) = serde_json::from_slice::<String>(&out[start..]) else { return };
                let mut content = salt.clone().into_bytes();
                match v2 {
                    true => content.extend_from_slice(text.as_bytes()),
                    false => serialise(&text, &mut content),
                }
                let digest = algorithm.digest(&content);
                out.truncate(start);
                json::hex(out, &digest);
                if let Some(length) = length.filter(|length| *length < digest.len() * 2) {
                    out.truncate(start + 1 + length);
                    out.push(b'"');
                }
            }
        }
    }
}

impl Algorithm {
    fn of(name: &str) -> Option<Algorithm> {
        Some(match name.to_ascii_uppercase().as_str() {
            "MD5" => Algorithm::Md5,
            "SHA-1" | "SHA1" | "SHA" => Algorithm::Sha1,
            "SHA-224" => Algorithm::Sha224,
            "SHA-256" => Algorithm::Sha256,
            "SHA-384" => Algorithm::Sha384,
            "SHA-512" => Algorithm::Sha512,
            _ => return None,
        })
    }

    fn digest(self, content: &[u8]) -> Vec<u8> {
        use sha2::Digest as _;
        match self {
            Algorithm::Md5 => md5::Md5::digest(content).to_vec(),
            Algorithm::Sha1 => sha1::Sha1::digest(content).to_vec(),
            Algorithm::Sha224 => sha2::Sha224::digest(content).to_vec(),
            Algorithm::Sha256 => sha2::Sha256::digest(content).to_vec(),
            Algorithm::Sha384 => sha2::Sha384::digest(content).to_vec(),
            Algorithm::Sha512 => sha2::Sha512::digest(content).to_vec(),
        }
    }
}

/// Patterns separated by commas; a comma behind a backslash belongs to its pattern.
pub(crate) fn split_patterns(text: &str) -> Vec<String> {
    let mut patterns = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&',') => {
                chars.next();
                if let Some(last) = patterns.last_mut() {
                    last.push(',');
                }
            }
            ',' => patterns.push(String::new()),
            c => {
                if let Some(last) = patterns.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    patterns.iter().map(|pattern| pattern.trim().to_owned()).filter(|pattern| !pattern.is_empty()).collect()
}

/// Whether the column is of a type that JDBC counts among texts: others are left as they are.
fn is_text(column: &Column, options: &Options) -> bool {
    const TEXTS: &[&str] = &["text", "character varying", "character", "bpchar", "char", "name"];
    match &column.kind {
        Type::Enum { .. } | Type::Set { .. } => true,
        Type::Text { .. } if options.is_postgres() && options.is_exact() => {
            TEXTS.contains(&base(&column.native)) || is_domain(&column.kind, &column.native)
        }
        Type::Text { .. } => true,
        _ => false,
    }
}

fn is_longer(declared: Option<usize>, length: u32) -> bool {
    declared.is_none_or(|declared| declared > length as usize)
}

/// The first `length` units of UTF-16; a character is never cut in two.
fn truncated(text: &str, length: usize) -> &str {
    let mut units = 0;
    for (index, c) in text.char_indices() {
        units += c.len_utf16();
        if units > length {
            return &text[..index];
        }
    }
    text
}

fn truncate_bytes(out: &mut Vec<u8>, start: usize, length: usize) {
    use base64::Engine as _;
    let text = out.get(start + 1..out.len() - 1).unwrap_or_default();
    if let Ok(mut bytes) = base64::engine::general_purpose::STANDARD.decode(text) {
        bytes.truncate(length);
        out.truncate(start);
        json::base64(out, &bytes, json::Alphabet::Standard);
    }
}

/// Java's serialised form of a string.
fn serialise(text: &str, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(text.len());
    for unit in text.encode_utf16() {
        match unit {
            1..0x80 => body.push(unit as u8),
            0 | 0x80..0x800 => body.extend_from_slice(&[0xc0 | (unit >> 6) as u8, 0x80 | (unit & 0x3f) as u8]),
            _ => body.extend_from_slice(&[
                0xe0 | (unit >> 12) as u8,
                0x80 | (unit >> 6 & 0x3f) as u8,
                0x80 | (unit & 0x3f) as u8,
            ]),
        }
    }
    out.extend_from_slice(&[0xac, 0xed, 0, 5]);
    match u16::try_from(body.len()) {
        Ok(length) => {
            out.push(0x74);
            out.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            out.push(0x7c);
            out.extend_from_slice(&(body.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debezium::columns::shape;
    use crate::debezium::options::Converter;

    fn changed(action: ColumnAction, native: &str, text: Option<&str>) -> String {
        let options =
            Options { columns: vec![ColumnRule { columns: "shop\\.t\\.C".into(), action }], ..Options::default() };
        let column = Column::new("c", Type::Text { charset: "utf8mb4".into() }, native);
        let schema = Schema::new(1, "shop", "t", vec![column.clone()], Vec::new());
        let masks = Masks::new(&options).unwrap();
        let mut out = b"before".to_vec();
        match text {
            Some(text) => json::string(&mut out, text),
            None => out.extend_from_slice(b"null"),
        }
        let rule = masks.rule(&schema, &column, &options, false).unwrap();
        let shape = shape(&column, &options, Converter::default()).unwrap();
        if let Some(rewrite) = rule.rewrite(&column, &shape, &options, false) {
            rewrite.apply(&mut out, 6);
        }
        String::from_utf8(out.split_off(6)).unwrap()
    }

    /// The hashes are those of a real Debezium.
    #[test]
    fn values_are_shortened_masked_and_hashed_as_in_the_original() {
        let hash = |v2| ColumnAction::Hash { algorithm: "SHA-256".into(), salt: "CzQMA0cB5K".into(), v2 };
        for (action, native, text, becomes) in [
            (ColumnAction::Truncate(5), "varchar(40)", Some("Zoë 世界"), "\"Zoë 世\""),
            (ColumnAction::Truncate(2), "text", Some("a🚀"), "\"a\""),
            (ColumnAction::Truncate(5), "varchar(4)", Some("abcd"), "\"abcd\""),
            (ColumnAction::Truncate(5), "text", None, "null"),
            (ColumnAction::Mask(3), "text", None, "\"***\""),
            (
                hash(false),
                "text",
                Some("ann@example.com"),
                "\"51a61a921ad466f1821aba9d16ec112f1646e755acec0573125cfb109f3e01c8\"",
            ),
            (
                hash(false),
                "varchar(60)",
                Some("ana@example.com"),
                "\"c5177cc9d548bf5b51a07c0ec5204c84c846c0e6ff5866654ba3ff674635\"",
            ),
            (hash(true), "varchar(11)", Some("123-45-6789"), "\"ec5d1c2c938\""),
            (hash(true), "text", None, "null"),
        ] {
            assert_eq!(changed(action.clone(), native, text), becomes, "{action:?} {native}");
        }
    }

    #[test]
    fn patterns_are_split_at_commas_that_are_not_escaped() {
        assert_eq!(split_patterns(r" a.b , c\,d,,e{1\,2} "), ["a.b", "c,d", "e{1,2}"]);
        let action = ColumnAction::Hash { algorithm: "ROT13".into(), salt: String::new(), v2: true };
        let options = Options { columns: vec![ColumnRule { columns: "a".into(), action }], ..Options::default() };
        assert!(Masks::new(&options).unwrap_err().to_string().starts_with("column.mask.hash: the algorithm"));
    }
}
