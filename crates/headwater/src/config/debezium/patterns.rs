//! Debezium's lists of names: Java's regular expressions, separated by commas, each of which has to fit the whole name, upper
//! and lower case alike.
//!
//! Invariant: an expression means here what it means to Java, or is refused by name. Start at [`list`].

use super::properties::Properties;
use regex::Regex;

/// What Java's expressions have and ours have not; each would be refused with a message that does not speak of Java.
const JAVA_ALONE: &[(&str, &str)] = &[
    ("(?=", "a look ahead"),
    ("(?!", "a look ahead"),
    ("(?<=", "a look behind"),
    ("(?<!", "a look behind"),
    ("(?>", "an atomic group"),
    ("*+", "a possessive quantifier"),
    ("++", "a possessive quantifier"),
    ("?+", "a possessive quantifier"),
    ("\\Q", "a quotation by \\Q"),
    ("\\R", "\\R"),
    ("\\h", "\\h"),
    ("\\G", "\\G"),
    ("\\Z", "\\Z"),
];

/// The expressions of a property, each between slashes, as a source's filter takes them.
pub(super) fn list(properties: &mut Properties, name: &str) -> Vec<String> {
    let value = properties.take(name).unwrap_or_default();
    let expressions = split(&value);
    for expression in &expressions {
        check(properties, name, expression);
    }
    expressions.iter().map(|expression| slashed(expression)).collect()
}

/// Between slashes, which tells an expression from a name.
pub(super) fn slashed(expression: &str) -> String {
    format!("/{expression}/")
}

/// The expressions of a list. A comma inside of one is written `\,`.
pub(super) fn split(list: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = list.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.peek() == Some(&',') => {
                letters.next().into_iter().for_each(|comma| push(&mut parts, comma))
            }
            '\\' => {
                push(&mut parts, letter);
                letters.next().into_iter().for_each(|next| push(&mut parts, next));
            }
            ',' => parts.push(String::new()),
            letter => push(&mut parts, letter),
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

fn push(parts: &mut [String], letter: char) {
    if let Some(last) = parts.last_mut() {
        last.push(letter);
    }
}

/// Says what keeps `expression` from being used here.
pub(super) fn check(properties: &mut Properties, name: &str, expression: &str) {
    let fault = match java_alone(expression) {
        Some(what) => {
            Some(format!("{expression:?} has {what}, which only Java's regular expressions have; write it without"))
        }
        None => Regex::new(expression).err().map(|error| {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("{expression:?} is not a regular expression: {why}")
        }),
    };
    if let Some(message) = fault {
        properties.fault(name, message);
    }
}

/// The first thing in `expression` that only Java has.
fn java_alone(expression: &str) -> Option<&'static str> {
    let mut rest = expression;
    let mut in_class = false;
    while let Some(letter) = rest.chars().next() {
        if letter == '\\' && rest[1..].starts_with(|digit: char| ('1'..='9').contains(&digit)) {
            return Some("a reference to a group");
        }
        let found =
            JAVA_ALONE.iter().find(|(start, _)| rest.starts_with(start) && (!in_class || start.starts_with('\\')));
        if let Some((_, what)) = found {
            return Some(what);
        }
        in_class = match letter {
            '[' => true,
            ']' => false,
            _ => in_class,
        };
        let step = match letter {
            // What is escaped opens nothing.
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            letter => letter.len_utf8(),
        };
        rest = &rest[step..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_split_at_its_commas_alone() {
        for (list, expected) in [
            ("a.b, c\\.d ,,", vec!["a.b", "c\\.d"]),
            ("x{1\\,2},y", vec!["x{1,2}", "y"]),
            ("a\\\\,b", vec!["a\\\\", "b"]),
            ("", vec![]),
        ] {
            assert_eq!(split(list), expected, "{list}");
        }
    }

    #[test]
    fn what_only_java_has_is_found() {
        for (expression, expected) in [
            ("shop\\.(?!tmp).*", Some("a look ahead")),
            ("(a)\\1", Some("a reference to a group")),
            ("a++", Some("a possessive quantifier")),
            ("\\Qa.b\\E", Some("a quotation by \\Q")),
            ("[*+]x", None),
            ("a\\(?=b", None),
            ("a\\\\1", None),
            ("(?i)shop\\..*|b.c", None),
        ] {
            assert_eq!(java_alone(expression), expected, "{expression}");
        }
    }
}
