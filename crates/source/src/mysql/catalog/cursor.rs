//! A cursor over the tokens of one statement: the small steps that every parser here is made of.
//!
//! Invariant: it only moves forward, and an error carries the byte at which it stands. Keywords match unquoted words
//! alone, whatever their case.

use super::charset;
use super::lexer::{Dialect, Lexer, Token, TokenKind};

/// What was expected, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub expected: &'static str,
    pub position: usize,
}

pub(crate) type Parsed<T> = Result<T, SyntaxError>;

/// A table as a statement names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrittenName {
    pub database: Option<String>,
    pub table: String,
}

pub(crate) struct Cursor<'a> {
    pub text: &'a str,
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str, dialect: Dialect) -> Self {
        Cursor { text, tokens: Lexer::new(text, dialect).collect(), at: 0 }
    }

    pub fn peek(&self) -> Option<&TokenKind<'a>> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    pub fn step(&mut self) {
        self.at += 1;
    }

    /// Where the next token starts, in bytes.
    pub fn position(&self) -> usize {
        self.tokens.get(self.at).map_or(self.text.len(), |token| token.start)
    }

    /// Where the last token ended, in bytes.
    pub fn last_end(&self) -> usize {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(0, |token| token.end)
    }

    pub fn expected<T>(&self, expected: &'static str) -> Parsed<T> {
        Err(SyntaxError { expected, position: self.position() })
    }

    /// Whether the next tokens are these keywords.
    pub fn sees(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(ahead, wanted)| self.sees_word(ahead, wanted))
    }

    /// Whether the token `ahead` of the next one is this keyword.
    pub fn sees_word(&self, ahead: usize, wanted: &str) -> bool {
        match self.tokens.get(self.at + ahead).map(|token| &token.kind) {
            Some(TokenKind::Word(word)) => word.eq_ignore_ascii_case(wanted),
            _ => false,
        }
    }

    pub fn sees_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.sees_word(0, word))
    }

    pub fn sees_symbol(&self, symbol: u8) -> bool {
        self.sees_symbol_at(0, symbol)
    }

    pub fn sees_symbol_at(&self, ahead: usize, symbol: u8) -> bool {
        self.tokens.get(self.at + ahead).is_some_and(|token| token.kind == TokenKind::Symbol(symbol))
    }

    /// Takes this sequence of keywords, or nothing.
    pub fn eat(&mut self, words: &[&str]) -> bool {
        let seen = self.sees(words);
        if seen {
            self.at += words.len();
        }
        seen
    }

    /// Takes one of these keywords.
    pub fn eat_any(&mut self, words: &[&str]) -> bool {
        let seen = self.sees_any(words);
        self.at += usize::from(seen);
        seen
    }

    pub fn eat_symbol(&mut self, symbol: u8) -> bool {
        let seen = self.sees_symbol(symbol);
        self.at += usize::from(seen);
        seen
    }

    pub fn symbol(&mut self, symbol: u8, expected: &'static str) -> Parsed<()> {
        if self.eat_symbol(symbol) { Ok(()) } else { self.expected(expected) }
    }

    /// The next token as an unquoted word in upper case; empty when it is anything else.
    pub fn upper_word(&self) -> String {
        match self.peek() {
            Some(TokenKind::Word(word)) => word.to_ascii_uppercase(),
            _ => String::new(),
        }
    }

    /// A name, quoted or not. A number stands for itself: `db.1` reads so.
    pub fn name(&mut self) -> Parsed<String> {
        let name = match self.peek() {
            Some(TokenKind::Word(word)) => (*word).to_owned(),
            Some(TokenKind::Name(name)) => name.to_string(),
            _ => return self.expected("a name"),
        };
        self.step();
        Ok(name)
    }

    /// `table` or `database.table`.
    pub fn table(&mut self) -> Parsed<WrittenName> {
        let first = self.name()?;
        if self.eat_symbol(b'.') {
            return Ok(WrittenName { database: Some(first), table: self.name()? });
        }
        Ok(WrittenName { database: None, table: first })
    }

    /// `column`, `table.column` or `database.table.column`: the column.
    pub fn column(&mut self) -> Parsed<String> {
        let mut name = self.name()?;
        while self.eat_symbol(b'.') {
            name = self.name()?;
        }
        Ok(name)
    }

    /// An unsigned integer.
    pub fn number(&mut self) -> Parsed<u64> {
        if let Some(TokenKind::Number(text)) = self.peek()
            && let Ok(number) = text.parse()
        {
            self.step();
            return Ok(number);
        }
        self.expected("a number")
    }

    /// A string, with or without introducer.
    pub fn string(&mut self) -> Parsed<String> {
        if matches!(self.peek(), Some(TokenKind::Word(word)) if word.starts_with('_')) {
            self.step();
        }
        let text = match self.peek() {
            Some(TokenKind::Text(text)) => text.to_string(),
            Some(TokenKind::Bits) => bits_as_text(self.source()),
            _ => return self.expected("a string"),
        };
        self.step();
        Ok(text)
    }

    /// The source text of the next token.
    pub fn source(&self) -> &'a str {
        self.tokens.get(self.at).and_then(|token| self.text.get(token.start..token.end)).unwrap_or_default()
    }

    /// The value of `CHARACTER SET x`, `CHARSET = x` or `COLLATE x`, after the keyword: `None` means the default.
    pub fn charset_value(&mut self, collation: bool) -> Parsed<Option<String>> {
        self.eat_symbol(b'=');
        let name = match self.peek() {
            Some(TokenKind::Text(_)) => self.string()?,
            _ => self.name()?,
        };
        Ok(if collation {
            charset::of_collation(&name)
        } else if name.eq_ignore_ascii_case("default") {
            None
        } else {
            Some(charset::canonical(&name))
        })
    }

    /// Skips a parenthesised group that begins here; does nothing when none does.
    pub fn skip_group(&mut self) -> Parsed<()> {
        let mut depth = 0usize;
        while let Some(kind) = self.peek() {
            match kind {
                TokenKind::Symbol(b'(') => depth += 1,
                TokenKind::Symbol(b')') if depth > 0 => depth -= 1,
                TokenKind::Broken => return self.expected("a closing quote or comment end"),
                _ => {}
            }
            if depth == 0 && !self.sees_symbol(b')') {
                return Ok(());
            }
            self.step();
            if depth == 0 {
                return Ok(());
            }
        }
        if depth == 0 { Ok(()) } else { self.expected("`)`") }
    }

    /// Skips one token, or a whole parenthesised group.
    pub fn skip_one(&mut self) -> Parsed<()> {
        if self.sees_symbol(b'(') {
            return self.skip_group();
        }
        if self.peek() == Some(&TokenKind::Broken) {
            return self.expected("a closing quote or comment end");
        }
        self.step();
        Ok(())
    }

    /// Whether an item of a list ends here: at a comma, a closing parenthesis, a semicolon, or the end.
    pub fn at_item_end(&self) -> bool {
        matches!(self.peek(), None | Some(TokenKind::Symbol(b',' | b')' | b';')))
    }

    /// Skips to the end of this item of a list.
    pub fn skip_item(&mut self) -> Parsed<()> {
        while !self.at_item_end() {
            self.skip_one()?;
        }
        Ok(())
    }

    /// `IF EXISTS` or `IF NOT EXISTS`.
    pub fn eat_if_exists(&mut self) -> bool {
        self.eat(&["IF", "EXISTS"]) || self.eat(&["IF", "NOT", "EXISTS"])
    }
}

/// `x'6162'` or `0x6162` as text; bit strings and what is not UTF-8 are replaced.
fn bits_as_text(source: &str) -> String {
    let hex = source.trim_start_matches(['x', 'X', '0']).trim_matches('\'');
    let bytes: Option<Vec<u8>> = (0..hex.len())
        .step_by(2)
        .map(|at| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
