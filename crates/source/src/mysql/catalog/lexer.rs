//! SQL text to tokens, for both servers.
//!
//! Lazy: the first words of a statement are known without reading the rest, however long it is. Executable comments
//! (`/*!50100 … */`, `/*M!100100 … */`) whose version fits the server are code. Invariant: never fails and never
//! panics; text that no server would accept becomes [`TokenKind::Broken`]. Start at [`Lexer`].

use std::borrow::Cow;

use super::server::{Server, Session, sql_mode};

/// One token and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token<'a> {
    pub kind: TokenKind<'a>,
    /// Byte offset of its first byte.
    pub start: usize,
    /// Byte offset after its last byte.
    pub end: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind<'a> {
    /// A keyword or an unquoted name.
    Word(&'a str),
    /// A quoted name.
    Name(Cow<'a, str>),
    /// A string.
    Text(Cow<'a, str>),
    /// `x'…'`, `0x…`, `b'…'` or `0b…`; the text between is in the source.
    Bits,
    /// A number, without sign.
    Number(&'a str),
    /// `@name` or `@@name`.
    Variable,
    /// Anything else, one byte at a time.
    Symbol(u8),
    /// An unfinished string, name or comment, or a byte that opens nothing.
    Broken,
}

/// How this text is to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    server: Server,
    ansi_quotes: bool,
    backslash_escapes: bool,
}

impl Dialect {
    pub fn new(server: Server, session: &Session<'_>) -> Self {
        Dialect {
            server,
            ansi_quotes: session.has(sql_mode::ANSI_QUOTES),
            backslash_escapes: !session.has(sql_mode::NO_BACKSLASH_ESCAPES),
        }
    }
}

/// An iterator over the tokens of one statement.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    dialect: Dialect,
    at: usize,
    /// Inside an executable comment, where `*/` is its end.
    in_comment: bool,
    /// After a dot a word may begin with a digit and is never a number.
    after_dot: bool,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str, dialect: Dialect) -> Self {
        Lexer { text, dialect, at: 0, in_comment: false, after_dot: false }
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    /// Skips white space and comments; false when a comment never ends.
    fn skip_blank(&mut self) -> bool {
        while self.at < self.text.len() {
            match self.byte(0) {
                b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c => self.at += 1,
                b'#' => self.skip_line(),
                b'-' if self.byte(1) == b'-' && (self.byte(2) <= b' ') => self.skip_line(),
                b'*' if self.in_comment && self.byte(1) == b'/' => {
                    self.in_comment = false;
                    self.at += 2;
                }
                b'/' if self.byte(1) == b'*' => {
                    if !self.enter_comment() && !self.skip_comment() {
                        return false;
                    }
                }
                _ => break,
            }
        }
        true
    }

    fn skip_line(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
    }

    /// Steps over the head of an executable comment, if this is one for this server.
    fn enter_comment(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let (head, own) = match rest.strip_prefix("/*!") {
            Some(_) => (3, false),
            None if rest.starts_with("/*M!") || rest.starts_with("/*m!") => (4, true),
            None => return false,
        };
        let digits = rest[head..].bytes().take_while(u8::is_ascii_digit).take(6).count();
        // A version has five or six digits; fewer are part of the code.
        let digits = if digits >= 5 { digits } else { 0 };
        let wanted = rest[head..head + digits].parse::<u32>().unwrap_or(0);
        let server = self.dialect.server;
        // MariaDB leaves out what is meant for MySQL 5.7 and later, whose features it does not share.
        let foreign = server.mariadb && !own && (50_700..=99_999).contains(&wanted);
        if self.in_comment || (own && !server.mariadb) || wanted > server.version || foreign {
            return false;
        }
        self.in_comment = true;
        self.at += head + digits;
        true
    }

    fn skip_comment(&mut self) -> bool {
        match self.text.as_bytes()[self.at + 2..].windows(2).position(|pair| pair == b"*/") {
            Some(length) => {
                self.at += length + 4;
                true
            }
            None => {
                self.at = self.text.len();
                false
            }
        }
    }

    /// The text up to the closing `quote`, whose opening one is at the cursor; the cursor ends after it.
    fn quoted(&mut self, quote: u8, escapes: bool) -> Option<Cow<'a, str>> {
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let mut at = start;
        let mut plain = true;
        loop {
            match *bytes.get(at)? {
                b'\\' if escapes => {
                    plain = false;
                    at += 2;
                }
                b if b == quote && bytes.get(at + 1) == Some(&quote) => {
                    plain = false;
                    at += 2;
                }
                b if b == quote => break,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        // A quote and a backslash are ASCII, so both ends are character boundaries.
        let raw = self.text.get(start..at)?;
        Some(if plain { Cow::Borrowed(raw) } else { Cow::Owned(unescape(raw, quote as char, escapes)) })
    }

    fn word_length(&self) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        rest.iter().position(|&b| !is_word(b)).unwrap_or(rest.len())
    }

    /// A word, a number, or one of the literals that begin with a letter or digit.
    fn word(&mut self) -> TokenKind<'a> {
        let length = self.word_length();
        let word = &self.text[self.at..self.at + length];
        let after_dot = std::mem::take(&mut self.after_dot);
        if matches!(word, "x" | "X" | "b" | "B") && self.byte(1) == b'\'' {
            self.at += 1;
            return self.quoted(b'\'', false).map_or(TokenKind::Broken, |_| TokenKind::Bits);
        }
        if matches!(word, "n" | "N") && self.byte(1) == b'\'' {
            self.at += 1;
            return self.quoted(b'\'', self.dialect.backslash_escapes).map_or(TokenKind::Broken, TokenKind::Text);
        }
        if after_dot || !word.as_bytes()[0].is_ascii_digit() {
            self.at += length;
            return TokenKind::Word(word);
        }
        if is_bits(word) {
            self.at += length;
            return TokenKind::Bits;
        }
        match self.number_length() {
            Some(number) => {
                let text = &self.text[self.at..self.at + number];
                self.at += number;
                TokenKind::Number(text)
            }
            None => {
                self.at += length;
                TokenKind::Word(word)
            }
        }
    }

    /// The length of `12`, `1.5`, `.5`, `1e10` or `1.5e-3` at the cursor; `None` for a name such as `1st`.
    fn number_length(&self) -> Option<usize> {
        let bytes = &self.text.as_bytes()[self.at..];
        let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let mut length = digits(0);
        let fraction = bytes.get(length) == Some(&b'.');
        if fraction {
            length += 1 + digits(length + 1);
        }
        if matches!(bytes.get(length), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
            let exponent = digits((length + 1 + sign).min(bytes.len()));
            if exponent > 0 {
                length += 1 + sign + exponent;
            }
        }
        let ends = bytes.get(length).is_none_or(|&b| !is_word(b));
        (ends || fraction).then_some(length)
    }

    fn token(&mut self) -> TokenKind<'a> {
        let escapes = self.dialect.backslash_escapes;
        match self.byte(0) {
            b'`' => self.quoted(b'`', false).map_or(TokenKind::Broken, TokenKind::Name),
            b'"' if self.dialect.ansi_quotes => self.quoted(b'"', false).map_or(TokenKind::Broken, TokenKind::Name),
            quote @ (b'"' | b'\'') => self.quoted(quote, escapes).map_or(TokenKind::Broken, TokenKind::Text),
            b'.' if self.byte(1).is_ascii_digit() && !self.follows_name() => {
                let length = self.number_length().unwrap_or(1);
                let text = &self.text[self.at..self.at + length];
                self.at += length;
                TokenKind::Number(text)
            }
            b'@' => {
                self.at += 1 + usize::from(self.byte(1) == b'@');
                self.at += self.word_length();
                TokenKind::Variable
            }
            b if is_word(b) => self.word(),
            b => {
                self.at += 1;
                self.after_dot = b == b'.';
                TokenKind::Symbol(b)
            }
        }
    }

    /// Whether the byte before the cursor ends a name, so that a dot here joins two names.
    fn follows_name(&self) -> bool {
        self.at > 0
            && matches!(self.text.as_bytes()[self.at - 1], b'`' | b'"' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'$' | 0x80..)
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if !self.skip_blank() {
            return Some(Token { kind: TokenKind::Broken, start: self.text.len(), end: self.text.len() });
        }
        if self.at >= self.text.len() {
            return None;
        }
        let start = self.at;
        let kind = self.token();
        if kind == TokenKind::Broken {
            self.at = self.text.len();
        }
        if !matches!(kind, TokenKind::Symbol(_)) {
            self.after_dot = false;
        }
        Some(Token { kind, start, end: self.at })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn is_bits(word: &str) -> bool {
    let digits = |prefix: &str, radix: u32| {
        word.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    digits("0x", 16) || digits("0b", 2)
}

/// Takes doubled quotes and backslash escapes away, as the server does for a string literal.
fn unescape(raw: &str, quote: char, escapes: bool) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        if c == quote {
            out.push(quote);
            chars.next();
        } else if c == '\\' && escapes {
            match chars.next() {
                Some('0') => out.push('\0'),
                Some('b') => out.push('\u{8}'),
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some('Z') => out.push('\u{1a}'),
                // These two keep their backslash: they mean something to LIKE.
                Some(wild @ ('%' | '_')) => out.extend(['\\', wild]),
                Some(other) => out.push(other),
                None => {}
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
#[path = "lexer_tests.rs"]
mod tests;
