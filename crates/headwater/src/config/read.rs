//! From a file's text to a [`Config`], and from a fault to the line that holds it.
//!
//! Invariant: every error names the key's path and, when the key is in the text, its line. Start at [`parse`].

use super::connector;
use super::debezium;
use super::document::{self, FILE_BYTES_MAX, Step};
use super::error::{ConfigError, nearest};
use super::followed::{Named, resolve};
use super::substitute::{Machine, Surroundings, redact, substitute};
use super::{Config, DEBEZIUM, Settings, Sink, SinkSettings, Size, Source};
use crate::registry::{ConfiguredSource, Registry, built_in};
use headwater_engine::TopicsSpec;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Keys that a later version will have.
const NOT_YET: [&str; 4] = ["kafka", "postgres", "views", "users"];

/// Keys whose texts are secrets wherever they stand.
const SECRET_KEYS: [&str; 5] = ["password", "secret", "token", "passphrase", "private_key"];

/// The smallest and the largest segment: below, files are many; above, places in a segment would not fit 32 bits.
const SEGMENT_BYTES_MIN: Size = Size(1 << 20);
const SEGMENT_BYTES_MAX: Size = Size(1 << 30);

/// Bytes of a source's or sink's name: it is part of topics, keys and paths.
const NAME_BYTES_MAX: usize = 64;

type Entries = Map<String, Value>;

/// Reads the file at `path`, and the files and variables that it refers to.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    parse(path, &text_of(path)?, &Machine, built_in())
}

/// Reads only what is not a connector's own: enough to find a running instance or the data folder, also from a shell
/// that lacks the connectors' secrets.
pub fn load_settings(path: &Path) -> Result<Settings, ConfigError> {
    let text = text_of(path)?;
    let mut entries = Reader::entries(path, &text)?;
    entries.remove("sources");
    entries.remove("sinks");
    let mut reader = Reader { file: path, text: &text, secrets: Vec::new() };
    let mut tree = Value::Object(entries);
    reader.follow_references(&mut tree, &Machine)?;
    reader.settings(tree)
}

fn text_of(path: &Path) -> Result<String, ConfigError> {
    let fault = |message: String, hint: &str| ConfigError {
        file: path.to_path_buf(),
        place: None,
        path: String::new(),
        message,
        hint: Some(hint.into()),
    };
    match std::fs::metadata(path) {
        Ok(file) if file.len() > FILE_BYTES_MAX => {
            let message = format!("the file has {} bytes; at most {FILE_BYTES_MAX} are read", file.len());
            Err(fault(message, "Is it the right file?"))
        }
        _ => std::fs::read_to_string(path).map_err(|error| {
            fault(format!("the file cannot be read: {error}"), "Name the configuration file with -c FILE.")
        }),
    }
}

/// Reads `text`, the content of `file`. Relative paths inside start at the file's folder.
pub fn parse(file: &Path, text: &str, from: &dyn Surroundings, registry: Registry) -> Result<Config, ConfigError> {
    let mut tree = Value::Object(Reader::entries(file, text)?);
    let shown = hide(&tree);
    let mut reader = Reader { file, text, secrets: Vec::new() };
    reader.follow_references(&mut tree, from)?;
    let sources = reader.section(&mut tree, "sources")?;
    let sinks = reader.section(&mut tree, "sinks")?;
    let settings = reader.settings(tree)?;
    if sources.is_empty() {
        let hint = "Name a database under `sources:`; `headwater config example` shows how.";
        return Err(reader.error(&[Step::Key("sources".into())], "there is no source", Some(hint.into())));
    }
    let written = sources.clone();
    let sources: Vec<Source> =
        sources.into_iter().map(|(name, value)| reader.source(name, value, registry)).collect::<Result<_, _>>()?;
    let named: Vec<Named<'_>> = written.iter().map(|(name, value)| Named::new(name, inner(value))).collect();
    let sinks =
        sinks.into_iter().map(|(name, value)| reader.sink(name, value, &named, registry)).collect::<Result<_, _>>()?;
    Ok(Config { file: file.to_path_buf(), settings, sources, sinks, shown })
}

/// A connector's settings: what stands under its only key.
fn inner(entry: &Value) -> &Value {
    entry.as_object().and_then(|entries| entries.values().next()).unwrap_or(&Value::Null)
}

/// Knows the file's text, for places, and its secrets, to keep them out of messages.
struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    secrets: Vec<String>,
}

impl Reader<'_> {
    fn error(&self, path: &[Step], message: impl Into<String>, hint: Option<String>) -> ConfigError {
        let mut known = path;
        let mut place = document::locate(self.text, known);
        while place.is_none() && !known.is_empty() {
            known = &known[..known.len() - 1];
            place = document::locate(self.text, known);
        }
        ConfigError {
            file: self.file.to_path_buf(),
            place: place.filter(|_| !known.is_empty()),
            path: document::print(path),
            message: redact(&message.into(), &self.secrets),
            hint,
        }
    }

    /// The keys of the whole file, each known, or the fault that a parser finds.
    fn entries(file: &Path, text: &str) -> Result<Entries, ConfigError> {
        const KEYS: [&str; 7] = ["data_dir", "delivery", "http", "journal", "log", "sinks", "sources"];
        let reader = Reader { file, text, secrets: Vec::new() };
        let tree = document::parse(text)
            .map_err(|fault| ConfigError { place: fault.place, ..reader.error(&[], fault.message, None) })?;
        let Value::Object(entries) = tree else {
            return Err(reader.error(&[], "the file must hold keys such as data_dir, sources and sinks", None));
        };
        for (key, value) in &entries {
            let path = [Step::Key(key.clone())];
            if NOT_YET.contains(&key.as_str()) {
                let hint = format!("Remove `{key}:`.");
                return Err(reader.error(&path, "not yet: this version cannot do that", Some(hint)));
            }
            if key == "log" && value.is_string() {
                let hint = "`log:` holds format and level.".to_string();
                return Err(reader.error(&path, "not yet: this version keeps topics in its own journal", Some(hint)));
            }
            if !KEYS.contains(&key.as_str()) {
                return Err(reader.unknown(&[], key, &KEYS));
            }
        }
        Ok(entries)
    }

    /// Puts in what `${…}` refers to, and remembers it and every other secret.
    fn follow_references(&mut self, tree: &mut Value, from: &dyn Surroundings) -> Result<(), ConfigError> {
        self.secrets = substitute(tree, self.folder(), from)
            .map_err(|fault| self.error(&fault.path, fault.message, Some(fault.hint)))?;
        collect_secrets(tree, &mut self.secrets);
        Ok(())
    }

    fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    fn settings(&self, tree: Value) -> Result<Settings, ConfigError> {
        let mut settings: Settings = self.typed(&[], tree)?;
        settings.data_dir = self.folder().join(&settings.data_dir);
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&settings.journal.segment_bytes) {
            let path = [Step::Key("journal".into()), Step::Key("segment_bytes".into())];
            let message = format!(
                "saw {}; it lies between {SEGMENT_BYTES_MIN} and {SEGMENT_BYTES_MAX}",
                settings.journal.segment_bytes
            );
            return Err(self.error(&path, message, None));
        }
        Ok(settings)
    }

    fn unknown(&self, parent: &[Step], key: &str, allowed: &[&str]) -> ConfigError {
        let path: Vec<Step> = parent.iter().cloned().chain([Step::Key(key.into())]).collect();
        let hint = nearest(key, allowed.iter().copied()).map(|name| format!("Did you mean `{name}`?"));
        self.error(&path, format!("unknown key; allowed here: {}", allowed.join(", ")), hint)
    }

    /// Takes the mapping `key` out of `tree`; empty when it is absent.
    fn section(&self, tree: &mut Value, key: &str) -> Result<Entries, ConfigError> {
        match tree.as_object_mut().and_then(|entries| entries.remove(key)) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(section)) => Ok(section),
            Some(_) => Err(self.error(&[Step::Key(key.into())], "expected names, each with its settings", None)),
        }
    }

    fn typed<T: DeserializeOwned>(&self, base: &[Step], value: Value) -> Result<T, ConfigError> {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let mut path = base.to_vec();
            path.extend(error.path().iter().filter_map(|segment| match segment {
                serde_path_to_error::Segment::Seq { index } => Some(Step::Index(*index)),
                serde_path_to_error::Segment::Map { key } => Some(Step::Key(key.clone())),
                serde_path_to_error::Segment::Enum { variant } => Some(Step::Key(variant.clone())),
                serde_path_to_error::Segment::Unknown => None,
            }));
            self.refused(&path, &error.inner().to_string())
        })
    }

    /// Turns what serde says of the value at `path` into an error.
    fn refused(&self, path: &[Step], message: &str) -> ConfigError {
        let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        if let (true, Some((key, allowed))) = (message.starts_with("unknown field"), names.split_first()) {
            // The path ends at the key itself or at its mapping, depending on who told it.
            let parent = match path.split_last() {
                Some((Step::Key(last), parent)) if last == key => parent,
                _ => path,
            };
            return self.unknown(parent, key, allowed);
        }
        if let (true, Some(variant)) = (message.starts_with("unknown variant"), names.first()) {
            let hint = nearest(variant, names[1..].iter().copied()).map(|name| format!("Did you mean `{name}`?"));
            return self.error(path, format!("saw `{variant}`; allowed here: {}", names[1..].join(", ")), hint);
        }
        if let (true, Some(key)) = (message.starts_with("missing field"), names.first()) {
            return self.error(path, format!("the key `{key}` is missing"), None);
        }
        let message = message.replacen("invalid type: ", "saw ", 1).replacen("invalid value: ", "saw ", 1);
        self.error(path, message, None)
    }

    fn named(&self, section: &str, name: &str, value: Value) -> Result<(Vec<Step>, Entries), ConfigError> {
        let path = vec![Step::Key(section.into()), Step::Key(name.into())];
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(legal) {
            let message = format!("a name has 1 to {NAME_BYTES_MAX} letters, digits, _ or -");
            return Err(self.error(&path, message, Some("It is part of topics, keys and paths.".into())));
        }
        match value {
            Value::Object(entries) => Ok((path, entries)),
            _ => Err(self.error(&path, "expected settings", None)),
        }
    }

    /// Takes the settings of the one of `kinds` that stands in `entries`; answers its place in `kinds` too. `others` may
    /// stand beside it.
    fn connector(
        &self,
        path: &[Step],
        entries: &mut Entries,
        kinds: &[&'static str],
        others: &[&str],
    ) -> Result<(usize, Value), ConfigError> {
        let mut found: Vec<(usize, Value)> =
            kinds.iter().enumerate().filter_map(|(at, kind)| Some((at, entries.remove(*kind)?))).collect();
        if let [(first, _), (second, _), ..] = found.as_slice() {
            let message = format!("holds both `{}` and `{}`", kinds[*first], kinds[*second]);
            return Err(self.error(path, message, Some("Give each a name of its own.".into())));
        }
        if let Some(key) = entries.keys().find(|key| !others.contains(&key.as_str())) {
            let allowed: Vec<&str> = kinds.iter().chain(others).copied().collect();
            return Err(self.unknown(path, key, &allowed));
        }
        found.pop().ok_or_else(|| {
            self.error(path, format!("does not say what it is; write one of: {}", kinds.join(", ")), None)
        })
    }

    fn source(&self, name: String, value: Value, registry: Registry) -> Result<Source, ConfigError> {
        let (mut path, mut entries) = self.named("sources", &name, value)?;
        let kinds: Vec<&str> = registry.sources.iter().map(|kind| kind.name()).collect();
        if entries.contains_key(DEBEZIUM) {
            let (_, properties) = self.connector(&path, &mut entries, &[DEBEZIUM], &[])?;
            path.push(Step::Key(DEBEZIUM.into()));
            return self.debezium(path, name, properties, registry);
        }
        let (at, settings) = self.connector(&path, &mut entries, &kinds, &[])?;
        path.push(Step::Key(kinds[at].into()));
        let connector = ConfiguredSource::new(registry.sources[at], &name, settings.clone()).map_err(|message| {
            // A message that begins with a key, or a path of keys, is about what stands there.
            let inside = message.split_once(": ").map(|(place, rest)| (steps(&settings, place), rest));
            let is_there = |first: Option<&Step>| matches!(first, Some(Step::Key(key)) if settings.get(key).is_some());
            match inside.filter(|(inside, _)| is_there(inside.first())) {
                Some((inside, rest)) => {
                    path.extend(inside);
                    self.refused(&path, rest)
                }
                None => self.refused(&path, &message),
            }
        })?;
        let rendering = connector.records().map_err(|message| self.refused(&path, &message))?;
        let topics = TopicsSpec { rendering, ..TopicsSpec::default() };
        Ok(Source { name, kind: kinds[at], topics, connector: Arc::new(connector) })
    }

    /// A source that is declared as a Debezium connector's configuration.
    fn debezium(
        &self,
        path: Vec<Step>,
        name: String,
        properties: Value,
        registry: Registry,
    ) -> Result<Source, ConfigError> {
        let at = |property: &str| path.iter().cloned().chain([Step::Key(property.into())]).collect::<Vec<_>>();
        let Value::Object(properties) = properties else {
            return Err(self.error(&path, "expected properties, such as connector.class", None));
        };
        let mut flat = BTreeMap::new();
        for (property, value) in properties {
            let text = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                Value::Null => continue,
                _ => return Err(self.error(&at(&property), "a property's value is one text, number or flag", None)),
            };
            flat.insert(property, text);
        }
        let faults = match debezium::translate(&flat, &|_| None) {
            Ok(translated) => match connector::declared(&name, translated, registry) {
                Ok(source) => return Ok(source),
                Err(fault) => vec![fault],
            },
            Err(faults) => faults,
        };
        let mut faults = faults.into_iter();
        let Some(first) = faults.next() else { return Err(self.error(&path, "cannot be read", None)) };
        let others: Vec<String> = faults.map(|fault| fault.to_string()).collect();
        let hint = (!others.is_empty()).then(|| redact(&format!("Also: {}", others.join("; ")), &self.secrets));
        Err(self.error(&at(&first.property), first.message, hint))
    }

    fn sink(&self, name: String, value: Value, sources: &[Named<'_>], registry: Registry) -> Result<Sink, ConfigError> {
        let (path, mut entries) = self.named("sinks", &name, value)?;
        let kinds: Vec<&str> = registry.sinks.iter().map(|kind| kind.name()).collect();
        let (at, settings) = self.connector(&path, &mut entries, &kinds, &["follow", "from"])?;
        let common: SinkSettings = self.typed(&path, Value::Object(entries))?;
        let mut follow_path = path.clone();
        follow_path.push(Step::Key("follow".into()));
        let (source, follow, written) = self.followed(&follow_path, common.follow, sources)?;
        let tables = follow.keys().cloned().collect();
        let follow = Value::Object(follow);
        let connector = registry.sinks[at].configure(&name, &settings, &follow).map_err(|fault| {
            let tree = Value::Object(Map::from_iter([(kinds[at].to_string(), settings), ("follow".into(), follow)]));
            let mut inside = steps(&tree, &fault.place);
            if let [Step::Key(first), Step::Key(table), ..] = inside.as_mut_slice()
                && let ("follow", Some(key)) = (first.as_str(), written.get(table.as_str()))
            {
                table.clone_from(key);
            }
            let path: Vec<Step> = path.iter().cloned().chain(inside).collect();
            self.refused(&path, &fault.message)
        })?;
        Ok(Sink { name, kind: kinds[at], from: common.from, source, tables, connector: connector.into() })
    }

    /// The one source that `follow` means, its entries by `database.table`, and for each of those the key as written.
    fn followed(
        &self,
        path: &[Step],
        follow: BTreeMap<String, Value>,
        sources: &[Named<'_>],
    ) -> Result<(String, Entries, BTreeMap<String, String>), ConfigError> {
        let mut only: Option<String> = None;
        let (mut entries, mut written) = (Map::new(), BTreeMap::new());
        for (key, value) in follow {
            let at: Vec<Step> = path.iter().cloned().chain([Step::Key(key.clone())]).collect();
            let (source, tables) =
                resolve(&key, sources).map_err(|(message, hint)| self.error(&at, message, Some(hint)))?;
            if let Some(first) = only.replace(source.to_string()).filter(|first| first != source) {
                let message = format!("is of the source `{source}`, other tables here are of `{first}`");
                return Err(self.error(&at, message, Some("Write one sink for each source.".into())));
            }
            if written.insert(tables.clone(), key).is_some() || entries.insert(tables, value).is_some() {
                return Err(self.error(&at, "these tables stand here twice", Some("Join the two lists.".into())));
            }
        }
        let nothing = || self.error(path, "a sink follows at least one table", None);
        only.map(|source| (source, entries, written)).ok_or_else(nothing)
    }
}

/// The steps that `place` (`follow.shop.orders[0].ttl`) means in `tree`, as far as they are there: keys may hold points
/// themselves, so the tree decides.
fn steps(tree: &Value, place: &str) -> Vec<Step> {
    let (mut here, mut rest, mut found) = (tree, place, Vec::new());
    loop {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let ends = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        let step = match here {
            Value::Object(entries) => entries
                .iter()
                .filter_map(|(key, value)| {
                    Some((key, value, rest.strip_prefix(key.as_str()).filter(|rest| ends(rest))?))
                })
                .max_by_key(|(key, ..)| key.len())
                .map(|(key, value, rest)| (Step::Key(key.clone()), value, rest)),
            Value::Array(items) => {
                rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).and_then(|(index, rest)| {
                    let index: usize = index.parse().ok()?;
                    Some((Step::Index(index), items.get(index)?, rest))
                })
            }
            _ => None,
        };
        let Some((step, value, left)) = step else { break };
        found.push(step);
        (here, rest) = (value, left);
    }
    if found.is_empty() || !rest.is_empty() {
        // A key that is missing, or that the connector names in its own way.
        found.extend(rest.split('.').filter(|key| !key.is_empty()).map(|key| Step::Key(key.into())));
    }
    found
}

fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET_KEYS.iter().any(|word| key.ends_with(word))
}

/// Whether `text` is one reference and nothing else, so that showing it tells nothing.
fn is_reference(text: &str) -> bool {
    text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).is_some_and(|inside| !inside.contains(['{', '}']))
}

/// Adds the texts below secret keys.
fn collect_secrets(tree: &Value, secrets: &mut Vec<String>) {
    match tree {
        Value::Object(entries) => entries.iter().for_each(|(key, value)| match value {
            Value::String(text) if is_secret(key) => secrets.push(text.clone()),
            Value::Number(number) if is_secret(key) => secrets.push(number.to_string()),
            _ => collect_secrets(value, secrets),
        }),
        Value::Array(items) => items.iter().for_each(|item| collect_secrets(item, secrets)),
        _ => {}
    }
}

/// The document as it may be shown: references stay as they are, inline secrets go.
fn hide(tree: &Value) -> Value {
    match tree {
        Value::Object(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| {
                    let shown = match value {
                        Value::String(text) if is_secret(key) && !is_reference(text) => Value::from("***"),
                        Value::Number(_) if is_secret(key) => Value::from("***"),
                        _ => hide(value),
                    };
                    (key.clone(), shown)
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(hide).collect()),
        Value::String(text) => Value::String(redact(text, &[])),
        other => other.clone(),
    }
}
