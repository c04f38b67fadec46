//! The compact form in which the repository keeps captures, and the way back to the verbatim texts.
//!
//! A folder of a database holds `schemas.jsonl`, `digests.json` and one folder for each scenario, with `scenario.json`, the
//! files of SQL and `records.jsonl`. What is stored once:
//! - a schema is a line of `schemas.jsonl`; a record's `key_schema` or `value_schema` is the number of that line, from 0, and
//!   stands for `{"schema":…,"payload":…}` around its `key` or `value`. Inside a schema the list behind `"fields":` is a line
//!   of its own again;
//! - `headers` are the list itself, or the number of an earlier line of the same file that has the same list;
//! - a topic that is not said is that of the line before, a partition likewise (0 in a new topic), and an offset that is not
//!   said follows on.
//!
//! `key` and `value` stand as the JSON that they are; a text that is none stands as `key_text` or `value_text`. Invariant:
//! `digests.json` has the SHA-256 of each scenario's verbatim records, and [`scenario`] refuses what does not match it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use super::record::digest_of;
use super::right::{RIGHT, Right};
use super::{Digest, Header, Record, Scenario};
use crate::error::Attempt;
use crate::{Error, Result};

const SCHEMAS: &str = "schemas.jsonl";
const DIGESTS: &str = "digests.json";
const RECORDS: &str = "records.jsonl";
const SETTINGS: &str = "scenario.json";
const PARTIAL: &str = "partial.json";
const FIELDS: &str = "\"fields\":";
/// Schemas nest as structs do; a chain that is longer refers to itself.
const NESTING_MAX: usize = 64;

/// One line of `records.jsonl`.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Packed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Headers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_schema: Option<usize>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    key: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_schema: Option<usize>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_length: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Headers {
    As(usize),
    Are(Vec<Header>),
}

/// A text with an inline schema.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped<'a> {
    #[serde(borrow)]
    schema: &'a RawValue,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// All scenarios of the database `kind`, whose folder lies in `folder`, in the order of their names.
pub fn scenarios(folder: &Path, kind: &str) -> Result<Vec<Scenario>> {
    let shelf = Shelf::open(&folder.join(kind))?;
    shelf.digests.keys().map(|name| shelf.scenario(folder, kind, name)).collect()
}

/// One scenario by its name.
pub fn scenario(folder: &Path, kind: &str, name: &str) -> Result<Scenario> {
    Shelf::open(&folder.join(kind))?.scenario(folder, kind, name)
}

/// What the scenarios of one database share.
struct Shelf {
    schemas: Vec<String>,
    digests: BTreeMap<String, String>,
}

impl Shelf {
    fn open(folder: &Path) -> Result<Self> {
        let schemas = read(&folder.join(SCHEMAS))?.lines().map(str::to_owned).collect();
        let path = folder.join(DIGESTS);
        let digests = serde_json::from_str(&read(&path)?).attempt(|| format!("read {}", path.display()))?;
        Ok(Self { schemas, digests })
    }

    fn scenario(&self, folder: &Path, kind: &str, name: &str) -> Result<Scenario> {
        let digest = self.digests.get(name).ok_or_else(|| Error::new(format!("there is no scenario {kind}/{name}")))?;
        let own = folder.join(kind).join(name);
        let scenario = Scenario::parse(kind, name, own.clone(), &read(&own.join(SETTINGS))?)?;
        let mut scenario = scenario.ok_or_else(|| Error::new(format!("{kind}/{name} is kept for later")))?;
        let path = own.join(RECORDS);
        scenario.records = unpack(&read(&path)?, &self.schemas).attempt(|| format!("read {}", path.display()))?;
        if digest_of(&scenario.records) != *digest {
            return Err(Error::new(format!("{} is not what was packed; pack it again", path.display())));
        }
        let path = own.join(RIGHT);
        if path.exists() {
            scenario.right = Some(Right::parse(&read(&path)?).attempt(|| format!("read {}", path.display()))?);
        }
        Ok(scenario)
    }
}

/// Packs every scenario below `from` that is not kept for later into `to`; says what it did to each.
///
/// Of those that `partial.json` beside `to` names, what they are kept for is left out. The files of SQL and `scenario.json`
/// of the others are copied as they are. What an earlier packing left of them in `to` is replaced; scenarios that `from` does
/// not have stay, and so do the numbers of schemas.
pub fn pack(from: &Path, to: &Path, mut say: impl FnMut(&str)) -> Result {
    let kind = from.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let partial = to.with_file_name(PARTIAL);
    let partial: BTreeMap<String, Vec<String>> =
        serde_json::from_str(&read(&partial)?).attempt(|| format!("read {}", partial.display()))?;
    let is_partial = |name: &String| partial.get(&kind).is_some_and(|names| names.contains(name));
    let (mut schemas, mut digests) = match to.join(DIGESTS).exists() {
        true => Shelf::open(to).map(|shelf| (Schemas::of(shelf.schemas), shelf.digests))?,
        false => Default::default(),
    };
    for name in folders(from)? {
        digests.remove(&name);
        let (own, target) = (from.join(&name), to.join(&name));
        let mut settings = read(&own.join(SETTINGS))?;
        if is_partial(&name) {
            settings = without_what_is_to_come(&settings).attempt(|| format!("read {kind}/{name}"))?;
        }
        let Some(scenario) = Scenario::parse(&kind, &name, own.clone(), &settings)? else {
            say(&format!("{kind}/{name}: kept for later"));
            continue;
        };
        let mut records = Record::from_lines(&read(&own.join("events.jsonl"))?).attempt(|| scenario.id())?;
        records.retain(|record| !scenario.without.contains(&record.topic));
        let text = pack_records(&records, &mut schemas);
        // The digest that goes into the repository is that of the capture, so a fault of the packing shows.
        let digest = digest_of(&records);
        if digest_of(&unpack(&text, &schemas.lines)?) != digest {
            return Err(Error::new(format!("{}: what was packed does not unpack to the same", scenario.id())));
        }
        // What is right is written by hand, and outlives the capture.
        let right = target.join(RIGHT).exists().then(|| read(&target.join(RIGHT))).transpose()?;
        if target.exists() {
            fs::remove_dir_all(&target).attempt(|| format!("remove {}", target.display()))?;
        }
        copy_sql(&own, &target)?;
        write(&target.join(SETTINGS), &settings)?;
        right.map_or(Ok(()), |text| write(&target.join(RIGHT), &text))?;
        write(&target.join(RECORDS), &text)?;
        say(&format!("{kind}/{name}: {} records in {} bytes", records.len(), text.len()));
        digests.insert(name, digest);
    }
    write(&to.join(SCHEMAS), &schemas.lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    let digests = serde_json::to_string_pretty(&digests).attempt(|| "write the digests".to_owned())?;
    write(&to.join(DIGESTS), &(digests + "\n"))
}

/// The settings of a scenario that is kept for the topic of schema changes, of the schema history or of notifications,
/// without the three. The property that asks for schema changes goes as well: absent, it means the same to Debezium.
fn without_what_is_to_come(settings: &str) -> serde_json::Result<String> {
    let mut settings: serde_json::Map<String, Value> = serde_json::from_str(settings)?;
    settings.remove("later");
    let mut without: Vec<Value> = settings.get("topic_prefix").cloned().into_iter().collect();
    without.extend(settings.remove("capture_schema_history").map(|_| Value::from("schema-history")));
    if let Some(Value::Object(config)) = settings.get_mut("config") {
        without.extend(config.get("notification.sink.topic.name").cloned());
        let asks = |name: &str, value: &Value| name == "include.schema.changes" && value == "true";
        config.retain(|name, value| !asks(name, value) && !name.starts_with("notification."));
    }
    settings.insert("without".to_owned(), Value::Array(without));
    Ok(serde_json::to_string_pretty(&settings)? + "\n")
}

fn pack_records(records: &[Record], schemas: &mut Schemas) -> String {
    let mut text = String::new();
    let mut lists: HashMap<&[Header], usize> = HashMap::new();
    let mut before: Option<&Record> = None;
    for (number, record) in records.iter().enumerate() {
        let mut line = Packed::default();
        let here = Place::after(before, &record.topic, Some(record.partition));
        line.topic = before.is_none_or(|before| before.topic != record.topic).then(|| record.topic.clone());
        let implied = Place::after(before, &record.topic, None);
        line.partition = (implied.partition != record.partition).then_some(record.partition);
        line.offset = (here.offset != record.offset).then_some(record.offset);
        line.headers = match lists.get(record.headers.as_slice()) {
            _ if record.headers.is_empty() => None,
            Some(&number) => Some(Headers::As(number)),
            None => {
                lists.insert(&record.headers, number);
                Some(Headers::Are(record.headers.clone()))
            }
        };
        (line.key_schema, line.key, line.key_text) = split(record.key.as_deref(), schemas);
        (line.value_schema, line.value, line.value_text) = split(record.value.as_deref(), schemas);
        if let Some(digest) = &record.digest {
            line.value_sha256 = Some(digest.sha256.clone());
            line.value_length = Some(digest.chars);
        }
        // A map of texts, numbers and JSON that was read as JSON always has a text.
        text.push_str(&serde_json::to_string(&line).unwrap_or_default());
        text.push('\n');
        before = Some(record);
    }
    text
}

/// Partition and offset that a record has if its line says nothing of them.
struct Place {
    partition: u32,
    offset: u64,
}

impl Place {
    fn after(before: Option<&Record>, topic: &str, partition: Option<u32>) -> Self {
        let before = before.filter(|before| before.topic == topic);
        let partition = partition.unwrap_or(before.map_or(0, |before| before.partition));
        let before = before.filter(|before| before.partition == partition);
        Self { partition, offset: before.map_or(0, |before| before.offset + 1) }
    }
}

type Split<'a> = (Option<usize>, Option<&'a RawValue>, Option<String>);

fn split<'a>(text: Option<&'a str>, schemas: &mut Schemas) -> Split<'a> {
    let Some(text) = text else { return (None, None, None) };
    if let Ok(wrapped) = serde_json::from_str::<Wrapped>(text)
        && wrapped.schema.get().starts_with('{')
        && join(wrapped.schema.get(), wrapped.payload.get()) == text
        && is_line(wrapped.payload.get())
        && is_line(wrapped.schema.get())
    {
        return (Some(schemas.number(wrapped.schema.get())), Some(wrapped.payload), None);
    }
    match serde_json::from_str::<&RawValue>(text) {
        // The four letters `null` would be read as no value at all.
        Ok(raw) if raw.get() == text && text != "null" && is_line(text) => (None, Some(raw), None),
        _ => (None, None, Some(text.to_owned())),
    }
}

fn join(schema: &str, payload: &str) -> String {
    format!("{{\"schema\":{schema},\"payload\":{payload}}}")
}

fn is_line(text: &str) -> bool {
    !text.contains(['\n', '\r'])
}

/// The lines of `schemas.jsonl` as they are found.
#[derive(Default)]
struct Schemas {
    lines: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl Schemas {
    fn of(lines: Vec<String>) -> Self {
        let numbers = lines.iter().cloned().zip(0..).collect();
        Self { lines, numbers }
    }

    fn number(&mut self, text: &str) -> usize {
        let folded = self.fold(text);
        if let Some(&number) = self.numbers.get(&folded) {
            return number;
        }
        let number = self.lines.len();
        self.lines.push(folded.clone());
        self.numbers.insert(folded, number);
        number
    }

    /// Replaces each list behind `"fields":` by its number. Inside of a string the quotes would be escaped, so what is found
    /// is never part of one.
    fn fold(&mut self, text: &str) -> String {
        let mut folded = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(FIELDS) {
            let (head, tail) = rest.split_at(at + FIELDS.len());
            folded.push_str(head);
            rest = tail;
            let mut values = serde_json::Deserializer::from_str(tail).into_iter::<&RawValue>();
            if let Some(Ok(list)) = values.next()
                && list.get().starts_with('[')
                && tail.starts_with('[')
            {
                folded.push_str(&self.number(list.get()).to_string());
                rest = &tail[list.get().len()..];
            }
        }
        folded + rest
    }
}

/// The schema that stands in line `number`, with all that it refers to.
fn expand(schemas: &[String], number: usize, nesting: usize) -> Result<String> {
    let text = schemas.get(number).filter(|_| nesting < NESTING_MAX);
    let mut rest =
        text.ok_or_else(|| Error::new(format!("{SCHEMAS} has no schema in line {number} (from 0)")))?.as_str();
    let mut whole = String::new();
    while let Some(at) = rest.find(FIELDS) {
        let (head, tail) = rest.split_at(at + FIELDS.len());
        whole.push_str(head);
        let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
        if let Ok(number) = tail[..digits].parse() {
            whole.push_str(&expand(schemas, number, nesting + 1)?);
        }
        rest = &tail[digits..];
    }
    Ok(whole + rest)
}

fn unpack(text: &str, schemas: &[String]) -> Result<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    // Each schema is put together once.
    let mut whole: HashMap<usize, String> = HashMap::new();
    for (at, line) in text.lines().enumerate() {
        let what = || format!("line {}", at + 1);
        let line: Packed = serde_json::from_str(line).attempt(what)?;
        for number in [line.key_schema, line.value_schema].into_iter().flatten() {
            if let Entry::Vacant(entry) = whole.entry(number) {
                entry.insert(expand(schemas, number, 0)?);
            }
        }
        let text = |schema: Option<usize>, json: Option<&RawValue>, text: Option<String>| match (schema, json) {
            (Some(number), Some(json)) => Some(join(&whole[&number], json.get())),
            // A payload of null is read as none.
            (Some(number), None) => Some(join(&whole[&number], "null")),
            (None, json) => text.or(json.map(|json| json.get().to_owned())),
        };
        let before = records.last();
        let topic = line.topic.or(before.map(|before| before.topic.clone()));
        let topic = topic.ok_or_else(|| Error::new("the first line names no topic"))?;
        let partition = line.partition.unwrap_or(Place::after(before, &topic, None).partition);
        let offset = line.offset.unwrap_or(Place::after(before, &topic, Some(partition)).offset);
        let headers = match line.headers {
            None => Vec::new(),
            Some(Headers::Are(headers)) => headers,
            Some(Headers::As(number)) => match records.get(number) {
                Some(record) => record.headers.clone(),
                None => {
                    return Err(Error::new(format!("headers as in line {number}, which comes later"))).attempt(what);
                }
            },
        };
        let digest = line.value_sha256.zip(line.value_length).map(|(sha256, chars)| Digest { sha256, chars });
        let key = text(line.key_schema, line.key, line.key_text);
        let value = text(line.value_schema, line.value, line.value_text);
        records.push(Record { topic, partition, offset, key, value, digest, headers });
    }
    Ok(records)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).attempt(|| format!("read {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result {
    fs::write(path, text).attempt(|| format!("write {}", path.display()))
}

/// Names of the folders in `folder` that hold a scenario.
fn folders(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).attempt(|| format!("read {}", folder.display()))?;
    let held = entries.flatten().filter(|entry| entry.path().join(SETTINGS).exists());
    let mut names: Vec<String> = held.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn copy_sql(from: &Path, to: &Path) -> Result {
    fs::create_dir_all(to).attempt(|| format!("make {}", to.display()))?;
    for entry in fs::read_dir(from).attempt(|| format!("read {}", from.display()))?.flatten() {
        let name = entry.file_name();
        if Path::new(&name).extension().is_some_and(|extension| extension == "sql") {
            write(&to.join(&name), &read(&entry.path())?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(what: &str, lines: &[&str], packed: Expect) {
        let records = Record::from_lines(&lines.join("\n")).unwrap();
        let mut schemas = Schemas::default();
        let text = pack_records(&records, &mut schemas);
        packed.assert_eq(&format!("{}--\n{}\n", text, schemas.lines.join("\n")));
        assert_eq!(unpack(&text, &schemas.lines).unwrap(), records, "{what}");
    }

    #[test]
    fn schemas_and_headers_are_stored_once() {
        check(
            "two records of one table",
            &[
                r#"{"topic":"p.t","partition":0,"offset":0,"key":"{\"schema\":{\"type\":\"struct\",\"fields\":[{\"type\":\"int32\",\"field\":\"id\"}],\"name\":\"p.t.Key\"},\"payload\":{\"id\":1}}","value":"{\"schema\":{\"type\":\"struct\",\"fields\":[{\"type\":\"struct\",\"fields\":[{\"type\":\"int32\",\"field\":\"id\"}],\"field\":\"before\"},{\"type\":\"struct\",\"fields\":[{\"type\":\"int32\",\"field\":\"id\"}],\"field\":\"after\"}]},\"payload\":{\"id\": 1.0}}","headers":[{"key":"h","value":"1"}]}"#,
                r#"{"topic":"p.t","partition":0,"offset":1,"key":"{\"schema\":{\"type\":\"struct\",\"fields\":[{\"type\":\"int32\",\"field\":\"id\"}],\"name\":\"p.t.Key\"},\"payload\":{\"id\":1}}","value":null,"headers":[{"key":"h","value":"1"}]}"#,
            ],
            expect![[r#"
                {"topic":"p.t","headers":[{"key":"h","value":"1"}],"key_schema":1,"key":{"id":1},"value_schema":3,"value":{"id": 1.0}}
                {"headers":0,"key_schema":1,"key":{"id":1}}
                --
                [{"type":"int32","field":"id"}]
                {"type":"struct","fields":0,"name":"p.t.Key"}
                [{"type":"struct","fields":0,"field":"before"},{"type":"struct","fields":0,"field":"after"}]
                {"type":"struct","fields":2}
            "#]],
        );
    }

    #[test]
    fn texts_that_are_no_plain_json_come_back_as_they_were() {
        check(
            "odd texts and places",
            &[
                r#"{"topic":"a","partition":0,"offset":0,"key":"null","value":"text","headers":[]}"#,
                r#"{"topic":"a","partition":2,"offset":5,"key":"\"s\"","value":" {} ","headers":[]}"#,
                r#"{"topic":"a","partition":2,"offset":6,"key":null,"value":"{\n}","headers":[]}"#,
                r#"{"topic":"b","partition":0,"offset":0,"key":"{\"schema\":null,\"payload\":null}","value":"{\"schema\":{\"type\":\"string\",\"default\":\"\\\"fields\\\":[1]\"},\"payload\":null}","headers":[]}"#,
                r#"{"topic":"b","partition":0,"offset":1,"headers":[],"value_sha256":"ab","value_length":7}"#,
            ],
            expect![[r#"
                {"topic":"a","key_text":"null","value_text":"text"}
                {"partition":2,"offset":5,"key":"s","value_text":" {} "}
                {"value_text":"{\n}"}
                {"topic":"b","key":{"schema":null,"payload":null},"value_schema":0,"value":null}
                {"value_sha256":"ab","value_length":7}
                --
                {"type":"string","default":"\"fields\":[1]"}
            "#]],
        );
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let loop_of_schemas = ["{\"fields\":0}".to_owned()];
        for line in
            ["{}", r#"{"topic":"t","headers":3}"#, r#"{"topic":"t","key_schema":9}"#, r#"{"topic":"t","key_schema":0}"#]
        {
            assert!(unpack(line, &loop_of_schemas).is_err(), "{line}");
        }
    }

    #[test]
    fn every_packed_scenario_unpacks_to_what_was_captured() {
        let mut records = 0;
        for kind in super::super::KINDS {
            let scenarios = scenarios(&super::super::folder(), kind).unwrap();
            assert!(!scenarios.is_empty(), "{kind}");
            records += scenarios.iter().map(|scenario| scenario.records.len()).sum::<usize>();
        }
        assert!(records > 10_000, "{records}");
    }
}
