//! Where two comparable texts differ, by path. Only for whoever reads the report: equality is decided on the texts.

use std::collections::BTreeMap;
use std::fmt;

use super::normalise::Class;
use super::tokens::{place, tokens};

/// Characters of a text that a report shows.
const SHOWN_CHARS: usize = 300;

/// One difference between a record and the one that was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The record's topic.
    pub topic: String,
    /// Its offset.
    pub offset: u64,
    /// What differs, such as `value payload.after.id`.
    pub place: String,
    /// What Debezium wrote.
    pub expected: String,
    /// What we have.
    pub got: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, offset, place, expected, got } = self;
        write!(f, "{topic} @{offset} {place}\n    expected {expected}\n    got      {got}")
    }
}

/// Path, expected text and ours of all that differs between two comparable texts.
pub(super) fn differences(expected: Option<&str>, got: Option<&str>) -> Vec<(String, String, String)> {
    let whole = || vec![("$".to_owned(), shorten(expected), shorten(got))];
    let (Some(expected), Some(got)) = (expected, got) else { return whole() };
    let (expected_json, got_json) = (quoted(expected), quoted(got));
    let (Some(left), Some(right)) = (members(&expected_json), members(&got_json)) else { return whole() };
    let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (left.iter().cloned().collect(), right.iter().cloned().collect());
    let mut found = Vec::new();
    for (path, text) in &left {
        match new.get(path) {
            Some(other) if other == text => {}
            Some(other) => found.push((path.clone(), shorten(Some(text)), shorten(Some(other)))),
            None if new.keys().any(|other| other.starts_with(&format!("{path}."))) => {
                found.push((path.clone(), shorten(Some(text)), "(an object or array)".to_owned()));
            }
            None => found.push((path.clone(), shorten(Some(text)), "(absent)".to_owned())),
        }
    }
    let added = right.iter().filter(|(path, _)| !old.contains_key(path));
    found.extend(added.map(|(path, text)| (path.clone(), "(absent)".to_owned(), shorten(Some(text)))));
    if found.is_empty() && expected != got {
        found.push(order_or_spacing(&left, &right, &expected_json, &got_json));
    }
    found
}

/// All values are equal and the texts are not.
fn order_or_spacing(
    left: &[(String, &str)],
    right: &[(String, &str)],
    expected: &str,
    got: &str,
) -> (String, String, String) {
    if let Some((one, other)) = left.iter().zip(right).find(|(one, other)| one.0 != other.0) {
        return (one.0.clone(), "in this place".into(), format!("another order of fields: here is {}", other.0));
    }
    let at = expected.bytes().zip(got.bytes()).take_while(|(one, other)| one == other).count();
    let near = |text: &str| {
        let start = text.floor_char_boundary(at.saturating_sub(30));
        text[start..].chars().take(60).collect::<String>()
    };
    ("$".into(), format!("spacing or spelling of a name: {}", near(expected)), near(got))
}

fn members(text: &str) -> Option<Vec<(String, &str)>> {
    let found = tokens(text)?;
    Some(found.into_iter().map(|token| (place(&token.path, 0), &text[token.place])).collect())
}

/// Placeholders of numbers are not JSON: they get quotes, and a mark that tells them from the others.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (head, tail) = rest.split_at(at);
        out.push_str(head);
        let name = [Class::Clock, Class::Position, Class::Transaction, Class::Extra].map(Class::name).into_iter();
        let name = name.into_iter().find(|name| tail[1..].strip_prefix(name).is_some_and(|tail| tail.starts_with('>')));
        let inside =
            out.ends_with(|before: char| before == '"' || before == '\\' || before.is_alphanumeric() || before == '_');
        match name.filter(|_| !inside) {
            Some(name) => {
                out.push_str(&format!("\"<#{name}>\""));
                rest = &tail[name.len() + 2..];
            }
            None => {
                out.push('<');
                rest = &tail[1..];
            }
        }
    }
    out + rest
}

/// The beginning of a text, for a report.
pub(super) fn shorten(text: Option<&str>) -> String {
    let Some(text) = text else { return "null".to_owned() };
    let chars = text.chars().count();
    if chars <= SHOWN_CHARS {
        return text.to_owned();
    }
    let head: String = text.chars().take(SHOWN_CHARS - 20).collect();
    format!("{head}… ({chars} characters)")
}
