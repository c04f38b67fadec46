//! Java's files of properties, from which Kafka Connect takes `${file:PATH:KEY}`.
//!
//! Invariant: what Java reads for a key is what is answered; of a key that stands there twice, the last one counts. Start at
//! [`value_of`].

/// The value of `key` in the text of such a file.
pub fn value_of(text: &str, key: &str) -> Option<String> {
    let mut found = None;
    let mut lines = text.lines().map(|line| line.trim_start_matches(BLANKS));
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut whole = line.to_owned();
        while continues(&whole) {
            whole.pop();
            let Some(next) = lines.next() else { break };
            whole.push_str(next);
        }
        let (name, value) = split(&whole);
        if unescape(name) == key {
            found = Some(unescape(value));
        }
    }
    found
}

const BLANKS: [char; 3] = [' ', '\t', '\x0c'];

/// Whether the line ends with a backslash that no other escapes.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// The name, and the value behind the first `=`, `:` or blank that no backslash escapes.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|letter: char| {
        let ends = !escaped && (matches!(letter, '=' | ':') || BLANKS.contains(&letter));
        escaped = !escaped && letter == '\\';
        ends
    });
    let (name, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(BLANKS);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (name, value.trim_start_matches(BLANKS))
}

fn unescape(text: &str) -> String {
    let mut units = Vec::new();
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        let letter = match (letter, letter == '\\') {
            (letter, false) => Some(letter),
            (_, true) => match rest.next() {
                Some('u') => {
                    let digits: String = rest.clone().take(4).collect();
                    if let Some(unit) = u16::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4) {
                        rest.nth(3);
                        units.push(unit);
                    }
                    None
                }
                Some('t') => Some('\t'),
                Some('n') => Some('\n'),
                Some('r') => Some('\r'),
                Some('f') => Some('\x0c'),
                other => other,
            },
        };
        units.extend(letter.iter().flat_map(|letter| letter.encode_utf16(&mut [0; 2]).to_vec()));
    }
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_value_that_java_reads() {
        for (text, key, value) in [
            ("password=secret", "password", Some("secret")),
            ("  password = a b \nother=x", "password", Some("a b ")),
            ("password: secret", "password", Some("secret")),
            ("password secret", "password", Some("secret")),
            ("password", "password", Some("")),
            ("# password=no\n! password=no\npassword=yes\r\n", "password", Some("yes")),
            ("password=one\npassword=two", "password", Some("two")),
            ("pass\\\n  word=a\\\n    b", "password", Some("ab")),
            ("password=a\\\\\nb=c", "password", Some("a\\")),
            ("a\\=b\\:c\\ d=1", "a=b:c d", Some("1")),
            ("password=\\u00e9\\ud83d\\ude00\\t\\q", "password", Some("é😀\tq")),
            ("password==x", "password", Some("=x")),
            ("other=1", "password", None),
            ("password=\\", "password", Some("")),
            ("", "", None),
        ] {
            assert_eq!(value_of(text, key).as_deref(), value, "{text:?}");
        }
    }
}
