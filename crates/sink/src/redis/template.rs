//! Key templates: `order:{order_id}`. Literal text, and columns in braces; `{{` and `}}` are braces themselves.
//!
//! Invariant: a template begins with literal text of its own, so that its keys can be told from those of others.
//! [`Template`] is what the user wrote; [`BoundTemplate`] knows the places of its columns in one version of a table.

use super::bind::Image;
use headwater_format::render;
use headwater_model::{Schema, Type, Value};
use std::fmt;

/// All keys that Headwater keeps for itself begin so.
pub(super) const OWN_PREFIX: &str = "headwater:";

/// A template as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Column(String),
}

impl Template {
    /// Reads a template of anything: a member, a value.
    pub fn parse(source: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = source.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '{' | '}' if rest.next_if_eq(&c).is_some() => literal.push(c),
                '}' => {
                    return Err(format!(
                        "template `{source}` has a `}}` that closes nothing; a literal brace is `}}}}`"
                    ));
                }
                '{' => {
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    let mut column = String::new();
                    loop {
                        match rest.next() {
                            Some('}') if !column.is_empty() => break,
                            Some(c) if c != '{' && c != '}' => column.push(c),
                            _ => {
                                return Err(format!(
                                    "template `{source}`: after `{{` a column's name and `}}` are expected; a literal brace is `{{{{`"
                                ));
                            }
                        }
                    }
                    parts.push(Part::Column(column));
                }
                c => literal.push(c),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Template { source: source.to_owned(), parts })
    }

    /// Reads a template of a key, which has to begin with text of its own.
    pub fn parse_key(source: &str) -> Result<Template, String> {
        let template = Template::parse(source)?;
        match template.parts.first() {
            Some(Part::Literal(text)) if text.starts_with(OWN_PREFIX) => {
                Err(format!("key template `{source}`: keys that begin with `{OWN_PREFIX}` are Headwater's own"))
            }
            Some(Part::Literal(_)) => Ok(template),
            _ => Err(format!(
                "key template `{source}` must begin with text, as in `orders:{{id}}`, so that its keys can be told from others"
            )),
        }
    }

    /// The text before the first column.
    pub fn prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(text)) => text,
            _ => "",
        }
    }

    /// A key that looks like one of this template's.
    pub fn sample(&self) -> String {
        let part = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Column(_) => "0".to_owned(),
        };
        self.parts.iter().map(part).collect()
    }

    /// The only column, when the template is one column and nothing else.
    pub fn only_column(&self) -> Option<&str> {
        match &self.parts[..] {
            [Part::Column(column)] => Some(column),
            _ => None,
        }
    }

    /// Whether `key` can have been made from this template. Columns may be any text, so this errs on the side of yes.
    pub fn matches(&self, key: &[u8]) -> bool {
        let mut rest = key;
        let mut open = false;
        for (i, part) in self.parts.iter().enumerate() {
            let Part::Literal(text) = part else {
                open = true;
                continue;
            };
            let text = text.as_bytes();
            let last = i + 1 == self.parts.len();
            let at = match (open, last) {
                (false, _) => rest.starts_with(text).then_some(0),
                (true, true) => return rest.ends_with(text),
                (true, false) => rest.windows(text.len()).position(|window| window == text),
            };
            let Some(at) = at else { return false };
            rest = &rest[at + text.len()..];
            open = false;
        }
        open || rest.is_empty()
    }

    /// Looks the columns up in `schema`; the name of the first that is missing otherwise.
    pub fn bind(&self, schema: &Schema) -> Result<BoundTemplate, String> {
        let parts = self.parts.iter().map(|part| match part {
            Part::Literal(text) => Ok(BoundPart::Literal(text.as_bytes().into())),
            Part::Column(name) => match schema.column(name) {
                Some((place, column)) if !column.excluded => Ok(BoundPart::Column(place, column.kind.clone())),
                _ => Err(name.clone()),
            },
        });
        Ok(BoundTemplate { parts: parts.collect::<Result<_, String>>()? })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// A template over the columns of one version of one table.
#[derive(Debug)]
pub(super) struct BoundTemplate {
    parts: Box<[BoundPart]>,
}

#[derive(Debug)]
enum BoundPart {
    Literal(Box<[u8]>),
    Column(usize, Type),
}

impl BoundTemplate {
    /// Replaces the content of `out` by the text for `row`; false when a column is NULL: such a row has no key.
    #[inline]
    pub fn render(&self, row: &Image<'_>, out: &mut Vec<u8>) -> bool {
        out.clear();
        for part in &self.parts {
            match part {
                BoundPart::Literal(text) => out.extend_from_slice(text),
                BoundPart::Column(place, kind) => match row.value(*place) {
                    Value::Null | Value::Absent => return false,
                    value => render::text(out, value, kind),
                },
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_text_and_columns() {
        for (source, prefix) in
            [("order:{id}", "order:"), ("a{{b}}:{x}{y}z", "a{b}:"), ("prices", "prices"), ("{x}", "")]
        {
            let template = Template::parse(source).unwrap();
            assert_eq!((template.prefix(), template.to_string()), (prefix, source.to_owned()));
        }
        assert_eq!(Template::parse("{sku}").unwrap().only_column(), Some("sku"));
        assert_eq!(Template::parse("{sku}.").unwrap().only_column(), None);
    }

    #[test]
    fn what_is_no_template_is_named() {
        for (source, part) in [
            ("order:{id", "a column's name"),
            ("order:{}", "a column's name"),
            ("order:{a{b}", "a column's name"),
            ("order:id}", "closes nothing"),
            ("{id}:order", "must begin with text"),
            ("", "must begin with text"),
            ("headwater:x:{id}", "Headwater's own"),
        ] {
            let message = Template::parse_key(source).unwrap_err();
            assert!(message.contains(part) && message.contains(source), "{message}");
        }
    }

    #[test]
    fn keys_are_matched_whole() {
        for (source, key, expected) in [
            ("order:{id}", "order:1", true),
            ("order:{id}", "orders:1", false),
            ("order:{id}:items", "order:1:items", true),
            ("order:{id}:items", "order:1", false),
            ("order:{id}:items", "order:1:items:2", false),
            ("a:{x}:b:{y}", "a:1:b:2", true),
            ("a:{x}:b:{y}", "a:1:c:2", false),
            ("prices", "prices", true),
            ("prices", "prices2", false),
        ] {
            assert_eq!(Template::parse(source).unwrap().matches(key.as_bytes()), expected, "{source} {key}");
        }
    }
}
