//! Java's regular expressions, which connectors' properties and transforms are written in.
//!
//! Invariant: an expression means here what it means to Java, or is refused. What only a backtracking engine can do (looking
//! ahead and behind, references to groups, atomic groups, possessive quantifiers) is left to one; all else runs in linear
//! time. Start at [`Pattern::new`].

use regex::{Regex, RegexBuilder};
use std::fmt;
use std::sync::Arc;

/// Steps after which the backtracking engine gives up a name, so that no expression holds up a start for long.
const BACKTRACK_STEPS_MAX: usize = 1_000_000;
/// Compiled size of one expression at most: one that would take more is refused.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// A compiled expression; clones share it.
#[derive(Clone, Debug)]
pub struct Pattern(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    text: String,
    whole: Engine,
    anywhere: Engine,
}

/// Why an expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError(String);

/// The groups of a match, and where it is.
pub struct Groups<'t> {
    /// What stands before the match.
    pub before: &'t str,
    /// What stands behind it.
    pub behind: &'t str,
    groups: Vec<Option<&'t str>>,
    names: Vec<Option<String>>,
}

#[derive(Debug)]
enum Engine {
    Linear(Regex),
    Backtracking(fancy_regex::Regex),
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PatternError {}

impl Pattern {
    /// Compiles an expression of Java.
    ///
    /// # Errors
    /// Says what cannot be read.
    pub fn new(text: &str, ignore_case: bool) -> Result<Pattern, PatternError> {
        let flags = if ignore_case { "(?i)" } else { "" };
        let ours = Translation::of(text)?;
        // By itself first: brackets that do not match must not be matched by ours.
        Engine::new(&ours)?;
        let anywhere = Engine::new(&format!("{flags}(?:{ours})"))?;
        let whole = Engine::new(&format!("{flags}\\A(?:{ours})\\z"))?;
        Ok(Pattern(Arc::new(Compiled { text: text.to_owned(), whole, anywhere })))
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether it fits the whole of `name`. A name over which the search gives up does not fit.
    pub fn is_match(&self, name: &str) -> bool {
        match &self.0.whole {
            Engine::Linear(regex) => regex.is_match(name),
            Engine::Backtracking(regex) => regex.is_match(name).unwrap_or(false),
        }
    }

    /// The first match within `name`, which need not be the whole.
    pub fn first<'t>(&self, name: &'t str) -> Option<Groups<'t>> {
        let (range, groups) = match &self.0.anywhere {
            Engine::Linear(regex) => {
                let found = regex.captures(name)?;
                (found.get(0)?.range(), found.iter().map(|group| group.map(|group| group.as_str())).collect())
            }
            Engine::Backtracking(regex) => {
                let found = regex.captures(name).ok()??;
                (found.get(0)?.range(), found.iter().map(|group| group.map(|group| group.as_str())).collect())
            }
        };
        Some(Groups { before: &name[..range.start], behind: &name[range.end..], groups, names: self.names() })
    }

    /// How many groups there are, the whole match among them.
    pub fn groups(&self) -> usize {
        match &self.0.anywhere {
            Engine::Linear(regex) => regex.captures_len(),
            Engine::Backtracking(regex) => regex.captures_len(),
        }
    }

    /// Whether a group has this name.
    pub fn has_group(&self, name: &str) -> bool {
        self.names().iter().flatten().any(|known| known == name)
    }

    fn names(&self) -> Vec<Option<String>> {
        let owned = |name: Option<&str>| name.map(str::to_owned);
        match &self.0.anywhere {
            Engine::Linear(regex) => regex.capture_names().map(owned).collect(),
            Engine::Backtracking(regex) => regex.capture_names().map(owned).collect(),
        }
    }
}

impl<'t> Groups<'t> {
    /// The text of a group by its number; empty where it took no part.
    pub fn get(&self, group: usize) -> &'t str {
        self.groups.get(group).copied().flatten().unwrap_or_default()
    }

    /// The text of a group by its name.
    pub fn named(&self, name: &str) -> &'t str {
        self.names.iter().position(|known| known.as_deref() == Some(name)).map_or("", |group| self.get(group))
    }
}

impl Engine {
    fn new(text: &str) -> Result<Engine, PatternError> {
        let error = match RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build() {
            Ok(regex) => return Ok(Engine::Linear(regex)),
            Err(regex::Error::CompiledTooBig(bytes)) => {
                return Err(PatternError(format!("compiled it would exceed the size limit of {bytes} bytes")));
            }
            Err(error) => error,
        };
        let mut backtracking = fancy_regex::RegexBuilder::new(text);
        backtracking.backtrack_limit(BACKTRACK_STEPS_MAX).delegate_size_limit(COMPILED_BYTES_MAX);
        backtracking.build().map(Engine::Backtracking).map_err(|_| {
            let reason = error.to_string();
            PatternError(reason.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned())
        })
    }
}

/// An expression on its way from Java's syntax into ours.
struct Translation<'a> {
    rest: &'a str,
    /// Open brackets of classes.
    classes: usize,
    ours: String,
}

impl<'a> Translation<'a> {
    fn of(text: &'a str) -> Result<String, PatternError> {
        let mut translation = Translation { rest: text, classes: 0, ours: String::new() };
        while let Some(letter) = translation.next() {
            match letter {
                '\\' => translation.escape()?,
                '(' if translation.classes == 0 => translation.group(),
                '[' => {
                    translation.classes += 1;
                    translation.ours.push('[');
                }
                ']' => {
                    translation.classes = translation.classes.saturating_sub(1);
                    translation.ours.push(']');
                }
                // Java's classes have no differences.
                '-' | '~' if translation.classes > 0 && translation.rest.starts_with(letter) => {
                    translation.ours.extend(['\\', letter]);
                }
                letter => translation.ours.push(letter),
            }
        }
        Ok(translation.ours)
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.rest = &self.rest[letter.len_utf8()..];
        Some(letter)
    }

    /// `(?dU)`: flags about Unicode and line ends, which decide nothing about names, and mean something else to us.
    fn group(&mut self) {
        self.ours.push('(');
        let Some(inside) = self.rest.strip_prefix('?') else { return };
        let length = inside.bytes().take_while(|byte| byte.is_ascii_alphabetic() || *byte == b'-').count();
        let (flags, behind) = inside.split_at(length);
        if length > 0 && behind.starts_with([':', ')']) {
            self.ours.push('?');
            self.ours.extend(flags.chars().filter(|flag| !matches!(flag, 'd' | 'u' | 'U')));
            self.rest = behind;
        }
    }

    fn escape(&mut self) -> Result<(), PatternError> {
        let Some(letter) = self.next() else { return Err(PatternError("a backslash ends it".into())) };
        match letter {
            'Q' => {
                let (literal, behind) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
                self.ours.push_str(&regex::escape(literal));
                self.rest = behind;
            }
            // Without a flag these know ASCII alone.
            'd' => self.ours.push_str("[0-9]"),
            'D' => self.ours.push_str("[^0-9]"),
            'w' => self.ours.push_str("[0-9A-Za-z_]"),
            'W' => self.ours.push_str("[^0-9A-Za-z_]"),
            's' => self.ours.push_str(r"[\t\n\x0b\f\r ]"),
            'S' => self.ours.push_str(r"[^\t\n\x0b\f\r ]"),
            'h' => self.ours.push_str(r"[\t \xa0\u{1680}\u{180e}\u{2000}-\u{200a}\u{202f}\u{205f}\u{3000}]"),
            'v' => self.ours.push_str(r"[\n\x0b\f\r\x85\u{2028}\u{2029}]"),
            'R' => self.ours.push_str(r"(?:\r\n|[\n\x0b\f\r\x85\u{2028}\u{2029}])"),
            'Z' => self.ours.push_str(r"(?:\n?\z)"),
            'e' => self.ours.push_str(r"\x1b"),
            'p' | 'P' => self.property(letter),
            'G' => return Err(PatternError("\\G, the end of a match before, has no meaning for names".into())),
            letter if letter.is_ascii_alphanumeric() => self.ours.extend(['\\', letter]),
            // Any other stands for itself, as two of them would not for us: `\<`.
            letter => self.ours.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4]))),
        }
        Ok(())
    }

    /// `\p{Alpha}`: POSIX's classes have brackets with us, the others have the same names.
    fn property(&mut self, letter: char) {
        const POSIX: &[&str] = &[
            "Lower", "Upper", "ASCII", "Alpha", "Digit", "Alnum", "Punct", "Graph", "Print", "Blank", "Cntrl",
            "XDigit", "Space",
        ];
        let name = self.rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        match name.filter(|(name, _)| POSIX.contains(name)) {
            Some((name, behind)) => {
                let not = if letter == 'P' { "^" } else { "" };
                self.ours.push_str(&format!("[[:{not}{}:]]", name.to_ascii_lowercase()));
                self.rest = behind;
            }
            None => self.ours.extend(['\\', letter]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_mean_what_they_mean_to_java() {
        for (text, name, fits) in [
            ("shop\\.(orders|lines)", "shop.lines", true),
            ("shop\\.(orders|lines)", "shop.lines2", false),
            ("a|ab", "ab", true),
            ("shop\\.(?!secret).*", "shop.orders", true),
            ("shop\\.(?!secret).*", "shop.secrets", false),
            (".*(?<!_old)", "shop.orders_old", false),
            (".*(?<!_old)", "shop.orders", true),
            ("(a+)\\.\\1", "aa.aa", true),
            ("(a+)\\.\\1", "aa.a", false),
            ("a++b", "aab", true),
            ("(?>a|ab)c", "abc", false),
            ("\\Qa.b\\E.", "a.bc", true),
            ("\\Qa.b\\E.", "axbc", false),
            ("\\w+", "größe", false),
            ("\\d+", "٣", false),
            ("[\\w.]+", "a.b_1", true),
            ("[^\\W_]+", "a_b", false),
            ("[a-c&&[^b]]", "b", false),
            ("[a--]", "-", true),
            ("\\p{Alpha}\\p{L}\\P{Digit}", "aéx", true),
            ("\\h\\R", " \n", true),
            ("\\<a\\>", "<a>", true),
            ("(?iu)É", "é", true),
            ("(?<name>a)\\k<name>", "aa", true),
        ] {
            assert_eq!(Pattern::new(text, false).unwrap().is_match(name), fits, "{text} {name}");
        }
        assert!(Pattern::new("SHOP\\..*", true).unwrap().is_match("shop.orders"));
        for text in ["(", "a)(b", "[", "\\", "\\Ga", "(?<!a*", "*", "\\p{L}{5000}", "(?=\\p{L}{5000})a"] {
            assert!(Pattern::new(text, false).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_that_takes_too_long_does_not_fit() {
        assert!(!Pattern::new("(?=((a+)+)+$)x.*", false).unwrap().is_match(&format!("{}b", "a".repeat(200))));
    }

    #[test]
    fn groups_are_those_of_the_first_match() {
        let pattern = Pattern::new("(?<first>a)|(b)", false).unwrap();
        let groups = pattern.first("xby").unwrap();
        assert_eq!((groups.before, groups.behind, groups.get(2), groups.named("first")), ("x", "y", "b", ""));
        assert_eq!((pattern.groups(), pattern.has_group("first"), pattern.has_group("b")), (3, true, false));
    }
}
