//! The scalars of a JSON text, each with its path and its place in the text. Never builds a value: what is compared is what
//! was written, down to spacing and the spelling of numbers.

use std::ops::Range;

/// Deeper nesting than any record has; what is deeper is not taken for JSON.
const NESTING_MAX: usize = 256;

/// A scalar, or an object or array without members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// Names of members and numbers of items, from the outside in.
    pub path: Vec<String>,
    pub kind: TokenKind,
    /// Where its text stands, quotes included.
    pub place: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    Text,
    Number,
    /// true, false, null.
    Literal,
    Empty,
}

/// All tokens of `text` in order; `None` when it is not JSON. `NaN` and the infinities count as numbers.
pub(super) fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut scanner = Scanner { text, at: 0, path: Vec::new(), found: Vec::new() };
    scanner.value()?;
    scanner.blanks();
    (scanner.at == text.len()).then_some(scanner.found)
}

/// The path from `start` on, as `after.id`.
pub(super) fn place(path: &[String], start: usize) -> String {
    path.get(start..).unwrap_or_default().join(".")
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    path: Vec<String>,
    found: Vec<Token>,
}

impl Scanner<'_> {
    fn value(&mut self) -> Option<()> {
        self.blanks();
        match self.rest().first()? {
            b'"' => {
                let place = self.string()?;
                self.push(TokenKind::Text, place)
            }
            b'{' => self.members(b'}'),
            b'[' => self.members(b']'),
            _ => self.scalar(),
        }
    }

    fn members(&mut self, end: u8) -> Option<()> {
        let start = self.at;
        if self.path.len() >= NESTING_MAX {
            return None;
        }
        self.at += 1;
        self.blanks();
        if self.take(end) {
            return self.push(TokenKind::Empty, start..self.at);
        }
        for number in 0usize.. {
            if end == b'}' {
                let name = self.string()?;
                self.path.push(serde_json::from_str(&self.text[name]).ok()?);
                self.blanks();
                self.take(b':').then_some(())?;
            } else {
                self.path.push(number.to_string());
            }
            self.value()?;
            self.path.pop();
            self.blanks();
            if self.take(end) {
                return Some(());
            }
            self.take(b',').then_some(())?;
            self.blanks();
        }
        None
    }

    fn string(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        self.take(b'"').then_some(())?;
        loop {
            match self.rest() {
                [b'"', ..] => {
                    self.at += 1;
                    return Some(start..self.at);
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
                [b'\\', b'u', digits @ ..] if digits.len() >= 4 && digits[..4].iter().all(u8::is_ascii_hexdigit) => {
                    self.at += 6;
                }
                [byte, ..] if *byte >= b' ' && *byte != b'\\' => self.at += 1,
                _ => return None,
            }
        }
    }

    fn scalar(&mut self) -> Option<()> {
        let rest = &self.text[self.at..];
        for (word, kind) in [
            ("true", TokenKind::Literal),
            ("false", TokenKind::Literal),
            ("null", TokenKind::Literal),
            ("NaN", TokenKind::Number),
            ("-Infinity", TokenKind::Number),
            ("Infinity", TokenKind::Number),
        ] {
            if rest.starts_with(word) {
                return self.advance(word.len(), kind);
            }
        }
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let sign = usize::from(rest.starts_with('-'));
        let whole = match digits(&rest[sign..]) {
            0 => return None,
            // A number ends after a leading zero.
            _ if rest[sign..].starts_with('0') => 1,
            count => count,
        };
        let mut length = sign + whole;
        if let Some(fraction) = rest[length..].strip_prefix('.').map(digits).filter(|count| *count > 0) {
            length += 1 + fraction;
        }
        if let Some(exponent) = rest[length..].strip_prefix(['e', 'E']) {
            let sign = usize::from(exponent.starts_with(['+', '-']));
            let count = digits(&exponent[sign..]);
            length += if count > 0 { 1 + sign + count } else { 0 };
        }
        self.advance(length, TokenKind::Number)
    }

    fn advance(&mut self, length: usize, kind: TokenKind) -> Option<()> {
        let start = self.at;
        self.at += length;
        self.push(kind, start..self.at)
    }

    fn push(&mut self, kind: TokenKind, place: Range<usize>) -> Option<()> {
        self.found.push(Token { path: self.path.clone(), kind, place });
        Some(())
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.rest().first() == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn blanks(&mut self) {
        self.at += self.rest().iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
    }

    fn rest(&self) -> &[u8] {
        &self.text.as_bytes()[self.at..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        let found = tokens(text)?;
        let one = |token: &Token| format!("{}={}", place(&token.path, 0), &text[token.place.clone()]);
        Some(found.iter().map(one).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn each_scalar_has_its_path_and_its_text() {
        for (text, expected) in [
            (r#"{"a":1,"b":{"c":[true,{}, "x\"y"]},"ü":null}"#, r#"a=1 b.c.0=true b.c.1={} b.c.2="x\"y" ü=null"#),
            (r#" [ -0.5e+10 , NaN , -Infinity ] "#, "0=-0.5e+10 1=NaN 2=-Infinity"),
            (r#"{"\u0061":""}"#, r#"a="""#),
            ("7", "=7"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_told_from_it() {
        for text in
            ["", "{", "{\"a\":}", "[1,]", "01", "1.", "\"a\nb\"", "{a:1}", "nul", "\"\\x\"", "1 2", "\"\\u12\"", "-"]
        {
            assert_eq!(shown(text), None, "{text}");
        }
        assert_eq!(tokens(&"[".repeat(100_000)), None);
    }
}
