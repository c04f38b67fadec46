//! What is wrong with a configuration, told so that it can be mended at once.
//!
//! Invariant: neither a substituted value nor a secret written in the file stands in the text; the place, the names and
//! what is allowed do. Start at [`ConfigError`].

use std::fmt;
use std::path::PathBuf;

/// One fault of one configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Line and column, counted from 1, when they are known.
    pub place: Option<(usize, usize)>,
    /// The key's path, such as `sinks.cache.redis.url`; empty for the whole file.
    pub path: String,
    /// What was seen and what is allowed.
    pub message: String,
    /// What to do next, when there is more to say.
    pub hint: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

impl miette::Diagnostic for ConfigError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint.as_ref().map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }
}

/// The name out of `allowed` that `seen` was probably meant to be.
pub fn nearest<'a>(seen: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let seen = seen.to_lowercase();
    allowed
        .into_iter()
        .map(|name| (distance(&seen, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name)
}

/// Edits (insert, delete, replace) that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour_and_a_strange_one_finds_none() {
        let names = ["data_dir", "http", "sources", "sinks"];
        for (seen, expected) in
            [("datadir", Some("data_dir")), ("Sources", Some("sources")), ("sink", Some("sinks")), ("warehouse", None)]
        {
            assert_eq!(nearest(seen, names), expected, "{seen}");
        }
    }
}
