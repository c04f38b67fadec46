//! Debezium's lists of names: Java's regular expressions, separated by commas, each of which has to fit the whole name, upper
//! and lower case alike.
//!
//! Invariant: an expression means here what it means to Java, or is refused by name. Start at [`list`].

use super::properties::Properties;
use headwater_format::pattern::Pattern;

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
    if let Err(why) = Pattern::new(expression, true) {
        properties.fault(name, format!("{expression:?} is not a regular expression that can be used: {why}"));
    }
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
}
