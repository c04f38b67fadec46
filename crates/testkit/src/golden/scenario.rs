//! A scenario: which statements ran, in which order, under which connector configuration, and what is left to chance.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{Record, Right};
use crate::error::Attempt;
use crate::{Error, Result};

/// A scenario and what Debezium wrote for it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// One of [`KINDS`](super::KINDS).
    pub kind: String,
    /// Its folder's name.
    pub name: String,
    /// Where its SQL files are.
    pub folder: PathBuf,
    /// What it shows.
    pub description: String,
    /// The database that its statements run in.
    pub database: String,
    /// How that database is made, where it is not made plainly.
    pub create_database: Option<String>,
    /// Databases that its statements make besides.
    pub other_databases: Vec<String>,
    /// The first part of its topics' names.
    pub topic_prefix: String,
    /// The connector's properties, beyond connection and prefix.
    pub config: BTreeMap<String, String>,
    /// What is done, in order.
    pub phases: Vec<Phase>,
    /// Topics that belong to it, as regular expressions; those of its prefix when there are none.
    pub topics: Vec<String>,
    /// Topics of the capture that are not carried, because they are to come.
    pub without: Vec<String>,
    /// Paths of fields whose values are left to chance, as regular expressions.
    pub normalise: Vec<String>,
    /// Objects whose members come in any order.
    pub unordered_fields: Vec<String>,
    /// Topics whose order is left to chance, as regular expressions.
    pub unordered_topics: Vec<String>,
    /// Topics whose number of records is left to chance.
    pub repeating_topics: Vec<String>,
    /// Debezium stopped with an error that this regular expression matches.
    pub expect_failure: Option<String>,
    /// What Debezium wrote, sorted by topic, partition and offset.
    pub records: Vec<Record>,
    /// What is right, where Debezium loses records or invents some.
    pub right: Option<Right>,
}

/// One step of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Run this file.
    Sql(String),
    /// Start the connector, with properties that come on top from now on.
    Start(BTreeMap<String, String>),
    /// Stop it; its offsets stay.
    Stop,
    /// Wait until it streams.
    Streaming,
    /// Wait until the topic of the table `zz_end`, or `topic`, has so many records.
    Marker {
        /// The topic, when it is another one.
        topic: Option<String>,
        /// How many.
        rows: u64,
    },
    /// Wait until everything that was written has come through.
    Quiet,
    /// Let time pass, for what the clock brings.
    Pause(Duration),
    /// Lose the connector's schema history.
    ForgetHistory,
}

/// A difference that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    /// `KIND/NAME` of the scenario.
    pub scenario: String,
    /// A regular expression over topic and place, such as `p\.public\.t value payload\.after\.x`.
    pub path: String,
    /// Why it is accepted.
    pub reason: String,
}

/// `scenario.json`, with what only its capture needs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    description: String,
    database: String,
    topic_prefix: String,
    config: Map<String, Value>,
    phases: Vec<Map<String, Value>>,
    create_database: Option<String>,
    #[serde(default)]
    other_databases: Vec<String>,
    #[serde(default)]
    topics: Vec<String>,
    #[serde(default)]
    without: Vec<String>,
    #[serde(default)]
    normalise: Vec<String>,
    #[serde(default)]
    unordered_fields: Vec<String>,
    #[serde(default)]
    unordered_topics: Vec<String>,
    #[serde(default)]
    repeating_topics: Vec<String>,
    expect_failure: Option<String>,
    #[serde(default)]
    later: bool,
    // What only the capture needs.
    #[serde(default, rename = "capture_schema_history")]
    _history: IgnoredAny,
    #[serde(default, rename = "create_topics")]
    _topics: IgnoredAny,
    #[serde(default, rename = "digest_but")]
    _but: IgnoredAny,
    #[serde(default, rename = "digest_over")]
    _over: IgnoredAny,
    #[serde(default, rename = "connector")]
    _connector: IgnoredAny,
    #[serde(default, rename = "note")]
    _note: IgnoredAny,
}

impl Scenario {
    /// Reads `scenario.json`. `None` for a scenario that is kept for later.
    pub(super) fn parse(kind: &str, name: &str, folder: PathBuf, text: &str) -> Result<Option<Self>> {
        let what = || format!("read scenario.json of {kind}/{name}");
        let document: Document = serde_json::from_str(text).attempt(what)?;
        if document.later {
            return Ok(None);
        }
        let phases = document.phases.iter().map(phase).collect::<Result<_>>().attempt(what)?;
        Ok(Some(Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
            folder,
            description: document.description,
            database: document.database,
            create_database: document.create_database,
            other_databases: document.other_databases,
            topic_prefix: document.topic_prefix,
            config: properties(&document.config),
            phases,
            topics: document.topics,
            without: document.without,
            normalise: document.normalise,
            unordered_fields: document.unordered_fields,
            unordered_topics: document.unordered_topics,
            repeating_topics: document.repeating_topics,
            expect_failure: document.expect_failure,
            records: Vec::new(),
            right: None,
        }))
    }

    /// `KIND/NAME`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// The records that are to be written: Debezium's, but for those that it loses or invents.
    pub fn expected(&self) -> Result<Cow<'_, [Record]>> {
        Ok(match &self.right {
            None => Cow::Borrowed(&self.records),
            Some(right) => Cow::Owned(right.apply(&self.records).attempt(|| format!("right.jsonl of {}", self.id()))?),
        })
    }

    /// The text of one of its files of SQL.
    pub fn sql(&self, file: &str) -> Result<String> {
        let path = self.folder.join(file);
        std::fs::read_to_string(&path).attempt(|| format!("read {}", path.display()))
    }
}

/// Properties as Kafka Connect takes them: everything is a text.
fn properties(map: &Map<String, Value>) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    map.iter().map(|(key, value)| (key.clone(), text(value))).collect()
}

fn phase(phase: &Map<String, Value>) -> Result<Phase> {
    let text = |key: &str| phase.get(key).and_then(Value::as_str);
    let config = || phase.get("config").and_then(Value::as_object).map(properties).unwrap_or_default();
    let known = match (phase.keys().next().map(String::as_str), phase.len()) {
        _ if phase.contains_key("sql") => text("sql").map(|file| Phase::Sql(file.to_owned())),
        _ if phase.contains_key("connector") => match text("connector") {
            Some("start") => Some(Phase::Start(config())),
            Some("stop") => Some(Phase::Stop),
            _ => None,
        },
        _ if phase.contains_key("wait") => wait(phase),
        (Some("start"), 1) => Some(Phase::Start(phase["start"].as_object().map(properties).unwrap_or_default())),
        (Some("stop"), 1) => Some(Phase::Stop),
        (Some("sleep"), 1) => phase["sleep"].as_f64().and_then(pause),
        (Some("forget"), 1) if text("forget") == Some("history") => Some(Phase::ForgetHistory),
        _ => None,
    };
    known.ok_or_else(|| Error::new(format!("this phase is not known: {}", Value::Object(phase.clone()))))
}

fn wait(phase: &Map<String, Value>) -> Option<Phase> {
    match phase["wait"].as_str()? {
        "streaming" => Some(Phase::Streaming),
        "quiet" => Some(Phase::Quiet),
        "marker" => {
            let topic = phase.get("topic").and_then(Value::as_str).map(str::to_owned);
            Some(Phase::Marker { topic, rows: phase.get("rows")?.as_u64()? })
        }
        seconds => pause(seconds.parse().ok()?),
    }
}

fn pause(seconds: f64) -> Option<Phase> {
    Duration::try_from_secs_f64(seconds).ok().map(Phase::Pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(phases: &str) -> Result<Option<Scenario>> {
        let text = format!(
            r#"{{"description":"d","connector":"mysql","database":"shop","topic_prefix":"p","config":{{"a":"b","c":true}},"phases":[{phases}]}}"#
        );
        Scenario::parse("mysql", "x", PathBuf::new(), &text)
    }

    #[test]
    fn the_phases_of_both_captures_are_understood() {
        for (text, expected) in [
            (r#"{"sql":"1.sql"}"#, Phase::Sql("1.sql".into())),
            (r#"{"connector":"start"}"#, Phase::Start(BTreeMap::new())),
            (r#"{"connector":"start","config":{"k":1}}"#, Phase::Start([("k".into(), "1".into())].into())),
            (r#"{"start":true}"#, Phase::Start(BTreeMap::new())),
            (r#"{"start":{"k":"v"}}"#, Phase::Start([("k".into(), "v".into())].into())),
            (r#"{"connector":"stop"}"#, Phase::Stop),
            (r#"{"stop":true}"#, Phase::Stop),
            (r#"{"wait":"streaming"}"#, Phase::Streaming),
            (r#"{"wait":"quiet"}"#, Phase::Quiet),
            (r#"{"wait":"marker","rows":3}"#, Phase::Marker { topic: None, rows: 3 }),
            (r#"{"wait":"2.5"}"#, Phase::Pause(Duration::from_millis(2_500))),
            (r#"{"sleep":1}"#, Phase::Pause(Duration::from_secs(1))),
            (r#"{"forget":"history"}"#, Phase::ForgetHistory),
        ] {
            assert_eq!(scenario(text).unwrap().unwrap().phases, [expected], "{text}");
        }
        for text in [r#"{"signal":{}}"#, r#"{"wait":"marker"}"#, r#"{"sleep":-1}"#, r#"{"connector":"fly"}"#, "{}"] {
            assert!(scenario(text).is_err(), "{text}");
        }
    }

    #[test]
    fn properties_become_texts() {
        let config = scenario("").unwrap().unwrap().config;
        assert_eq!(config, [("a".to_owned(), "b".to_owned()), ("c".to_owned(), "true".to_owned())].into());
    }
}
