//! One scenario through the product: its phases, then all records of its topics.
//!
//! Invariant: the source is declared by the connector's properties as they are; nothing else tells Headwater what to write.
//! Start at [`replay`].

use super::lane::Lane;
use super::tables;
use crate::world::BINARY;
use headwater_testkit::golden::{Phase, Record, Scenario};
use headwater_testkit::{Error, Headwater, Result, wait_until};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The source's name.
const SOURCE: &str = "golden";
/// How long a phase may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How long stopping may take.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Runs the phases of `scenario` on `lane` and answers the records, sorted as captures are.
pub fn replay(lane: &mut Lane, scenario: &Scenario) -> Result<Vec<Record>> {
    lane.fresh(scenario)?;
    let mut properties = lane.connection(scenario);
    properties.extend(scenario.config.clone());
    let mut headwater = Headwater::new(BINARY, &config(&properties))?;
    for phase in &scenario.phases {
        let done = match phase {
            // Debezium stops at what this file does; here only what came before is compared.
            Phase::Sql(file) if scenario.expect_failure.is_some() && file.contains("fails") => break,
            Phase::Sql(file) => lane.exec(scenario, &scenario.sql(file)?),
            Phase::Start(more) => {
                properties.extend(more.clone());
                headwater.configure(&config(&properties)).and_then(|()| headwater.launch())
            }
            Phase::Stop => headwater.terminate(STOP_LIMIT).map(|_| ()),
            Phase::Streaming | Phase::Marker { .. } | Phase::Quiet => catch_up(&mut headwater),
            Phase::Pause(time) => pause(*time),
            // What was captured beside the topics is not kept here: there is nothing to lose.
            Phase::ForgetHistory => Ok(()),
        };
        done.map_err(|error| Error::new(format!("{phase:?}: {error}")))?;
    }
    if headwater.is_running() {
        headwater.terminate(STOP_LIMIT)?;
    }
    tables::keep(scenario, &headwater.data_dir().join("journal").join(SOURCE))?;
    let dump = headwater.run_ok(&["topics", "dump", "--source", SOURCE, "--text"])?;
    let mut records = Record::from_lines(&dump)?;
    records.retain(|record| belongs(scenario, &record.topic));
    records.sort_by(|one, other| {
        let place = |record: &Record| (record.topic.clone(), record.partition, record.offset);
        place(one).cmp(&place(other))
    });
    Ok(records)
}

/// The file that declares the source; JSON is YAML.
fn config(properties: &BTreeMap<String, String>) -> String {
    let properties: serde_json::Map<_, _> =
        properties.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    format!("sources:\n  {SOURCE}:\n    debezium: {}\n", serde_json::Value::Object(properties))
}

/// Waits until everything that was committed so far is in the journal; an error says why the source stopped.
fn catch_up(headwater: &mut Headwater) -> Result {
    let mut last = String::new();
    let mut failure = None;
    let done = wait_until(LIMIT, "the journal to catch up", || {
        let Ok(waited) = headwater.run(&["wait", "--timeout", "2s"]) else { return false };
        last = waited.stderr;
        failure = failed(headwater);
        // A source that reads only what was there does not follow what comes after it.
        waited.status == Some(0) || last.contains("It is finished") || failure.is_some()
    });
    match failure {
        Some(error) => Err(Error::new(format!("the source has failed: {error}"))),
        None => done.map_err(|error| Error::new(format!("{error}: {last}"))),
    }
}

/// Why the source, or all of Headwater, has stopped.
fn failed(headwater: &mut Headwater) -> Option<String> {
    if !headwater.is_running() {
        return Some(headwater.log());
    }
    let (_, body) = headwater.get("/status").ok()?;
    let status: serde_json::Value = serde_json::from_str(&body).ok()?;
    let source = &status["sources"][0];
    (source["state"] == "failed").then(|| source["error"].as_str().unwrap_or_default().to_owned())
}

/// Lets time pass: what the scenario waits for comes by the clock alone.
fn pause(time: Duration) -> Result {
    let end = Instant::now() + time;
    wait_until(time + LIMIT, "time to pass", || Instant::now() >= end)
}

/// Whether the topic is one of the scenario's.
fn belongs(scenario: &Scenario, topic: &str) -> bool {
    let prefix = &scenario.topic_prefix;
    let below = |topic: &str| {
        topic
            .strip_prefix(prefix.as_str())
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_'))
    };
    // Headwater writes no topic of another's, so what a scenario names besides is whatever else there is.
    !scenario.topics.is_empty() || below(topic) || topic.strip_prefix("__debezium-heartbeat.").is_some_and(below)
}
