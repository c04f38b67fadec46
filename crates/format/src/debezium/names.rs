//! Names: of topics, of schemas, of fields, and the patterns of Java that decide about them.
//!
//! Invariant: a pattern must fit a whole name, as `matches` of Java asks. Start at [`Topics`].

use super::options::{KeyField, NameAdjustment, Options, OptionsError, TopicNaming, TopicParts};
use crate::pattern::Pattern;

/// Longest name that Kafka allows.
const TOPIC_LENGTH_MAX: usize = 249;

/// A pattern and what replaces a name that it fits.
#[derive(Clone, Debug)]
pub(crate) struct Replace {
    pattern: Pattern,
    replacement: Vec<Piece>,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Group(usize),
    Named(String),
}

/// How the topics of a source are named.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    prefix: String,
    delimiter: String,
    /// Whether the database, or PostgreSQL's schema, stands in them.
    is_outer_shown: bool,
    is_unicode: bool,
    replace: Option<Replace>,
    key: Option<PhysicalTable>,
}

/// A field that is added to keys.
#[derive(Clone, Debug)]
pub(crate) struct PhysicalTable {
    pub name: String,
    replace: Option<Replace>,
}

impl Replace {
    /// Compiles a pattern and a replacement of Java.
    pub fn new(regex: &str, replacement: &str, option: &str) -> Result<Replace, OptionsError> {
        let pattern = pattern(regex, false, option)?;
        let replacement = pieces(replacement, &pattern, option)?;
        Ok(Replace { pattern, replacement })
    }

    /// The new name, if the pattern fits the whole of `name`. What is replaced is the first match that it finds then, which
    /// may be shorter.
    pub fn apply(&self, name: &str) -> Option<String> {
        let groups = self.pattern.is_match(name).then(|| self.pattern.first(name))??;
        let mut out = groups.before.to_owned();
        for piece in &self.replacement {
            out.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Group(group) => groups.get(*group),
                Piece::Named(group) => groups.named(group),
            });
        }
        out.push_str(groups.behind);
        Some(out)
    }
}

impl Topics {
    /// Compiles the names of `options`.
    pub fn new(options: &Options) -> Result<Topics, OptionsError> {
        let mut topics = Topics {
            prefix: options.prefix.clone(),
            delimiter: options.topic_delimiter.clone(),
            is_outer_shown: match options.topic_parts {
                Some(parts) => options.is_postgres() == (parts == TopicParts::Schema),
                None => !(options.is_postgres() && matches!(options.topic_naming, TopicNaming::Regex(_))),
            },
            is_unicode: options.topic_naming == TopicNaming::Unicode,
            replace: None,
            key: None,
        };
        if let TopicNaming::Regex(naming) = &options.topic_naming {
            topics.replace = Some(Replace::new(&naming.regex, &naming.replacement, "topic.regex")?);
            topics.key = naming.key.as_ref().map(|key| PhysicalTable::new(key, "topic.key.field.regex")).transpose()?;
        }
        Ok(topics)
    }

    /// Prefix, database or schema, and table, as they are: what names in schemas begin with.
    pub fn full_name(&self, database: &str, table: &str) -> String {
        let parts = [self.prefix.as_str(), if self.is_outer_shown { database } else { "" }, table];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.trim().is_empty()).collect();
        parts.join(&self.delimiter)
    }

    /// The topic of a table.
    pub fn topic(&self, database: &str, table: &str) -> String {
        let name = sanitize(&self.full_name(database, table), self.is_unicode);
        let routed = self.replace.as_ref().and_then(|replace| replace.apply(&name));
        routed.filter(|topic| !topic.is_empty()).unwrap_or(name)
    }

    /// What is added to the keys of a table.
    pub fn key(&self) -> Option<&PhysicalTable> {
        self.key.as_ref()
    }

    /// The topic of heartbeats.
    pub fn heartbeats(&self, options: &Options) -> String {
        let named = options.heartbeat_topic.clone();
        named.unwrap_or_else(|| format!("{}{}{}", options.heartbeat_prefix, self.delimiter, self.prefix))
    }

    /// Another topic of the source itself.
    pub fn own(&self, end: &str) -> String {
        format!("{}{}{end}", self.prefix, self.delimiter)
    }
}

impl PhysicalTable {
    /// Compiles a key field.
    pub fn new(key: &KeyField, option: &str) -> Result<PhysicalTable, OptionsError> {
        let replace = key.regex.as_ref().map(|(regex, replacement)| Replace::new(regex, replacement, option));
        Ok(PhysicalTable { name: key.name.clone(), replace: replace.transpose()? })
    }

    /// The field's value for records that would stand in `topic`.
    pub fn value(&self, topic: &str) -> String {
        self.replace.as_ref().and_then(|replace| replace.apply(topic)).unwrap_or_else(|| topic.to_owned())
    }
}

/// Compiles a pattern of Java that must fit a whole name.
pub(crate) fn pattern(text: &str, ignore_case: bool, option: &str) -> Result<Pattern, OptionsError> {
    Pattern::new(text, ignore_case).map_err(|reason| {
        OptionsError(format!("{option}: the pattern {text:?} cannot be used ({reason}): write it without this"))
    })
}

/// A replacement with `$1`, `${name}` and backslashes.
fn pieces(text: &str, pattern: &Pattern, option: &str) -> Result<Vec<Piece>, OptionsError> {
    let unusable = |what: &str| {
        OptionsError(format!("{option}: the replacement {text:?} names {what}: correct the number or the name"))
    };
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '\\' => {
                literal.extend(rest.chars().next());
                rest = rest.get(rest.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default();
            }
            '$' => {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
                if let Some((name, behind)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                    if !pattern.has_group(name) {
                        return Err(unusable("a group that the pattern does not have"));
                    }
                    pieces.push(Piece::Named(name.to_owned()));
                    rest = behind;
                    continue;
                }
                // As many digits as still name a group.
                let mut length = rest.bytes().take_while(u8::is_ascii_digit).count();
                let group = loop {
                    match rest[..length].parse::<usize>() {
                        Ok(group) if group < pattern.groups() => break group,
                        _ if length > 1 => length -= 1,
                        _ => return Err(unusable("a group that the pattern does not have")),
                    }
                };
                pieces.push(Piece::Group(group));
                rest = &rest[length..];
            }
            other => literal.push(other),
        }
    }
    pieces.push(Piece::Text(literal));
    Ok(pieces)
}

/// The name with something else for each character that a topic cannot have: `_uXXXX`, also for an underscore, or an
/// underscore.
fn sanitize(name: &str, unicode: bool) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-') || c == '_' && !unicode;
    let mut clean = String::with_capacity(name.len());
    for c in name.chars() {
        match allowed(c) {
            true => clean.push(c),
            false => replace(&mut clean, c, unicode),
        }
    }
    clean.truncate(TOPIC_LENGTH_MAX);
    match (clean.as_str(), unicode) {
        (".", false) => "_".to_owned(),
        ("..", false) => "__".to_owned(),
        (".", true) => "_u002e".to_owned(),
        ("..", true) => "_u002e_u002e".to_owned(),
        _ => clean,
    }
}

/// Appends what stands for `c`, once for each of its units of UTF-16: an underscore or `_uXXXX`. As in the original, a unit of
/// three digits is not padded.
fn replace(out: &mut String, c: char, unicode: bool) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        match (unicode, *unit) {
            (false, _) => out.push('_'),
            (true, unit @ ..=0xff) => out.push_str(&format!("_u00{unit:x}")),
            (true, unit) => out.push_str(&format!("_u{unit:x}")),
        }
    }
}

/// The name of a schema as Avro allows it.
pub(crate) fn adjust_schema(name: &str, mode: NameAdjustment) -> String {
    adjust(name, mode, |c| c == '.')
}

/// The name of a field as Avro allows it.
pub(crate) fn adjust_field(name: &str, mode: NameAdjustment) -> String {
    adjust(name, mode, |_| false)
}

fn adjust(name: &str, mode: NameAdjustment, also: fn(char) -> bool) -> String {
    if mode == NameAdjustment::None {
        return name.to_owned();
    }
    let mut out = String::with_capacity(name.len());
    for (index, c) in name.chars().enumerate() {
        let letter = c.is_ascii_alphabetic() || c == '_' && mode == NameAdjustment::Avro;
        let valid = letter || index > 0 && (c.is_ascii_digit() || also(c));
        if valid {
            out.push(c);
            continue;
        }
        replace(&mut out, c, mode == NameAdjustment::AvroUnicode);
        if mode == NameAdjustment::Avro && index == 0 && c.is_ascii_digit() {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debezium::options::RegexNaming;

    #[test]
    fn topics_are_replaced_as_java_replaces() {
        for (regex, replacement, name, becomes) in [
            (r"([^.]+)\.([^.]+)\.orders_(.*)", "$1.shop.orders-$3", "a.b.orders_x", Some("a.shop.orders-x")),
            (r"(.*)orders_(.*)", "$1orders", "a.b.orders_x", Some("a.b.orders")),
            (r"orders", "x", "a.orders", None),
            (r"(?P<all>.*)", r"${all}\$1", "t", Some("t$1")),
            (r"(.)(.*)", "$11", "abc", Some("a1")),
            (r"a\.(?!b)(.*)", "$1", "a.c", Some("c")),
            (r"a\.(.*?)", "x.$1", "a.c", Some("x.c")),
            (r"a|ab", "x", "ab", Some("xb")),
        ] {
            let replace = Replace::new(regex, replacement, "topic.regex").unwrap();
            assert_eq!(replace.apply(name).as_deref(), becomes, "{regex}");
        }
        for (regex, replacement) in [("(", "x"), ("(?=a", "x"), ("a", "$1"), ("a", "${b}")] {
            let error = Replace::new(regex, replacement, "topic.regex").unwrap_err();
            assert!(error.to_string().starts_with("topic.regex: "), "{error}");
        }
    }

    #[test]
    fn a_strategy_says_which_parts_a_topic_has() {
        use crate::debezium::options::Connector::{Mysql, Postgresql};
        let regex = || TopicNaming::Regex(RegexNaming { regex: "(.*)x".into(), replacement: "$1y".into(), key: None });
        for (connector, naming, parts, expected) in [
            (Mysql, TopicNaming::Default, None, "p.d.t_x"),
            (Mysql, TopicNaming::Default, Some(TopicParts::Database), "p.d.t_x"),
            (Mysql, TopicNaming::Default, Some(TopicParts::Schema), "p.t_x"),
            (Mysql, regex(), None, "p.d.t_y"),
            (Mysql, regex(), Some(TopicParts::Schema), "p.t_y"),
            (Mysql, TopicNaming::Unicode, Some(TopicParts::Database), "p.d.t_u005fx"),
            (Postgresql, TopicNaming::Default, None, "p.d.t_x"),
            (Postgresql, TopicNaming::Default, Some(TopicParts::Schema), "p.d.t_x"),
            (Postgresql, TopicNaming::Default, Some(TopicParts::Database), "p.t_x"),
            (Postgresql, regex(), None, "p.t_y"),
            (Postgresql, regex(), Some(TopicParts::Schema), "p.d.t_y"),
            (Postgresql, TopicNaming::Unicode, Some(TopicParts::Schema), "p.d.t_u005fx"),
        ] {
            let shown = format!("{connector:?} {naming:?} {parts:?}");
            let options = Options {
                connector,
                prefix: "p".into(),
                topic_naming: naming,
                topic_parts: parts,
                ..Options::default()
            };
            assert_eq!(Topics::new(&options).unwrap().topic("d", "t_x"), expected, "{shown}");
        }
    }

    #[test]
    fn names_are_made_of_what_is_allowed() {
        assert_eq!(sanitize("p.größe.a b", false), "p.gr__e.a_b");
        assert_eq!(sanitize("p.a_ö.λ😀", true), "p.a_u005f_u00f6._u3bb_ud83d_ude00");
        assert_eq!((sanitize(".", true).as_str(), sanitize("..", false).as_str()), ("_u002e", "__"));
        assert_eq!(adjust_schema("2nd.t-a.ü", NameAdjustment::Avro), "_2nd.t_a._");
        assert_eq!(adjust_field("a.b c", NameAdjustment::Avro), "a_b_c");
        assert_eq!(adjust_field("1-a", NameAdjustment::AvroUnicode), "_u0031_u002da");
        assert_eq!(adjust_field("aλ\t", NameAdjustment::AvroUnicode), "a_u3bb_u009");
        assert_eq!(adjust_field("a-b", NameAdjustment::None), "a-b");
    }
}
