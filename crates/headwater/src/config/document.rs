//! A YAML text as a tree of JSON values, and where in the text a key stands.
//!
//! Invariant: a key that stands twice in one mapping is refused, never overwritten; YAML tags are refused. Start at
//! [`parse`].

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Bytes of a configuration file: far more than any real one, far less than what hurts.
pub const FILE_BYTES_MAX: u64 = 4 << 20;

/// A fault of the text itself.
#[derive(Debug)]
pub struct Fault {
    /// Line and column from 1.
    pub place: Option<(usize, usize)>,
    /// What the parser says, without the place.
    pub message: String,
}

/// Reads one YAML document. An empty text is an empty mapping.
pub fn parse(text: &str) -> Result<Value, Fault> {
    let tree = Tree.deserialize(serde_yaml_ng::Deserializer::from_str(text)).map_err(|error| Fault {
        place: error.location().map(|at| (at.line(), at.column())),
        message: without_place(&error.to_string()),
    })?;
    Ok(if tree.is_null() { Value::Object(Map::new()) } else { tree })
}

/// Line and column, from 1, of the value at `path`; `None` when it is not in the text.
pub fn locate(text: &str, path: &[Step]) -> Option<(usize, usize)> {
    // The parser tells a place only with an error, so one is raised at the value in question.
    let error = Probe(path).deserialize(serde_yaml_ng::Deserializer::from_str(text)).err()?;
    error.to_string().contains(FOUND).then(|| error.location().map(|at| (at.line(), at.column())))?
}

/// One step from a value to a value inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// Prints steps as `sinks.cache.follow["shop.orders"][0]`.
pub fn print(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Index(index) => out.push_str(&format!("[{index}]")),
            Step::Key(key) if key.contains(['.', '[', ' ', '*']) || key.is_empty() => {
                out.push_str(&format!("[{key:?}]"));
            }
            Step::Key(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(key);
            }
        }
    }
    out
}

const FOUND: &str = "the value that was looked for";

fn without_place(message: &str) -> String {
    if message.contains("invalid type: enum") {
        return "YAML tags (`!name`) mean nothing here; remove it".into();
    }
    message[..message.rfind(" at line ").unwrap_or(message.len())].to_string()
}

struct Tree;

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true, false, null, a list or a mapping, without YAML tags")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Tree)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("the key `{key}` stands here twice; keep one of the two")));
            }
            let value = entries.next_value_seed(Tree)?;
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

/// Walks down `path` and fails on arrival, so that the parser adds the place.
struct Probe<'a>(&'a [Step]);

impl<'de> DeserializeSeed<'de> for Probe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl Probe<'_> {
    fn arrived<E: Error>(&self) -> Result<(), E> {
        if self.0.is_empty() { Err(E::custom(FOUND)) } else { Ok(()) }
    }
}

impl<'de> Visitor<'de> for Probe<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.arrived()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.arrived()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.arrived()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.arrived()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.arrived()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.arrived()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.arrived()?;
        let mut index = 0;
        loop {
            let inside = matches!(&self.0[0], Step::Index(wanted) if *wanted == index);
            let more = if inside {
                items.next_element_seed(Probe(&self.0[1..]))?.is_some()
            } else {
                items.next_element::<IgnoredAny>()?.is_some()
            };
            if !more {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.arrived()?;
        while let Some(key) = entries.next_key::<String>()? {
            if matches!(&self.0[0], Step::Key(wanted) if *wanted == key) {
                entries.next_value_seed(Probe(&self.0[1..]))?;
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Step {
        Step::Key(name.into())
    }

    #[test]
    fn a_value_is_found_where_it_stands() {
        let text = "data_dir: d\nsinks:\n  cache:\n    follow:\n      a.b:\n        - { x: 1 }\n        - { x: 2 }\n";
        for (path, expected) in [
            (vec![key("data_dir")], Some((1, 11))),
            (vec![key("sinks"), key("cache"), key("follow"), key("a.b"), Step::Index(1), key("x")], Some((7, 16))),
            (vec![key("sinks"), key("nobody")], None),
        ] {
            assert_eq!(locate(text, &path), expected, "{}", print(&path));
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        let fault = parse("a: 1\nb: {c: 1, c: 2}\n").unwrap_err();
        assert!(fault.message.contains("`c` stands here twice"), "{}", fault.message);
        assert_eq!(fault.place.map(|place| place.0), Some(2));
    }

    #[test]
    fn no_text_makes_the_parser_panic() {
        for text in
            ["", "---", "a: !tag b", "- &a [*a]", "a: .nan", "\u{0}", "{", "a: b: c", "? [x]\n: y", "a: 1\n---\nb: 2"]
        {
            let _ = parse(text);
            let _ = locate(text, &[key("a")]);
        }
        assert_eq!(parse("").unwrap(), serde_json::json!({}));
    }
}
