//! Holds the records of a scenario against those that Debezium wrote. Texts are compared byte by byte once clocks, positions
//! and random ids have been replaced; a waiver takes a difference out, by scenario, path and reason, and is counted.

use regex::Regex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::differences::{differences, shorten};
use super::matching::blocks;
use super::normalise::{Normaliser, Part, pattern};
use super::record::sha256;
use super::{Difference, Header, Record, Scenario, Waiver};
use crate::Result;

/// How many records are which.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// The same in both.
    pub equal: usize,
    /// They stand for one another and differ.
    pub different: usize,
    /// Debezium has it and we have not.
    pub missing: usize,
    /// We have it and Debezium has not.
    pub extra: usize,
    /// They differ only in what is waived.
    pub waived: usize,
}

/// What a comparison found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many records are which.
    pub counts: Counts,
    /// All that differs and is not waived.
    pub differences: Vec<Difference>,
    /// Reasons of the waivers that took a difference out.
    pub waivers: BTreeSet<String>,
}

impl Report {
    /// Whether every record is equal or waived.
    pub fn is_equal(&self) -> bool {
        let Counts { different, missing, extra, .. } = self.counts;
        different + missing + extra == 0
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { equal, different, missing, extra, waived } = self;
        write!(f, "{equal} equal, {different} different, {missing} missing, {extra} extra, {waived} waived")
    }
}

/// Compares what we wrote for `scenario` with what Debezium wrote, or with what is right where it loses or invents records.
pub fn compare(scenario: &Scenario, got: &[Record], waivers: &[Waiver]) -> Result<Report> {
    let normaliser = Normaliser::new(scenario)?;
    let patterns = |patterns: &[String]| patterns.iter().map(|text| pattern(text)).collect::<Result<Vec<_>>>();
    let own = waivers.iter().filter(|waiver| waiver.scenario == scenario.id());
    let mut comparison = Comparison {
        waivers: own.map(|waiver| Ok((pattern(&format!("^(?:{})$", waiver.path))?, waiver))).collect::<Result<_>>()?,
        ..Comparison::default()
    };
    let (unordered, repeating) = (patterns(&scenario.unordered_topics)?, patterns(&scenario.repeating_topics)?);
    let expected = scenario.expected()?;
    let (mut expected, mut got) = (by_topic(&expected, &normaliser), by_topic(got, &normaliser));
    let topics: BTreeSet<String> = expected.keys().chain(got.keys()).cloned().collect();
    for topic in topics {
        let mut left = expected.remove(&topic).unwrap_or_default();
        let mut right = got.remove(&topic).unwrap_or_default();
        let among = |patterns: &[Regex]| patterns.iter().any(|pattern| pattern.is_match(&topic));
        for side in [&mut left, &mut right] {
            let repeats = topic.starts_with("__debezium-heartbeat") || among(&repeating);
            if repeats || among(&unordered) {
                side.sort_by(|one, other| one.form().cmp(&other.form()));
            }
            if repeats {
                side.dedup_by(|one, other| one.form() == other.form());
            }
        }
        digest_alike(&mut left, &mut right);
        comparison.topic(&left, &right);
    }
    Ok(comparison.report)
}

/// A record whose texts are comparable.
struct Normal<'a> {
    record: &'a Record,
    key: Option<String>,
    value: Option<String>,
    digest: Option<String>,
    headers: Vec<Header>,
    transactions: Vec<String>,
}

/// What decides whether two records are equal.
type Form<'a> = (u32, Option<&'a str>, Option<&'a str>, Vec<(&'a str, Option<&'a str>)>);

impl<'a> Normal<'a> {
    fn new(record: &'a Record, normaliser: &Normaliser) -> Self {
        let value = record.value.as_deref().unwrap_or_default();
        let of_transaction =
            ["BEGIN", "END"].iter().any(|status| value.contains(&format!("\"status\":\"{status}\",\"id\":")));
        let part = match (of_transaction, value.contains("\"aggregate_type\":")) {
            (true, _) => Part::KeyOfTransaction,
            (false, true) => Part::KeyOfNotification,
            (false, false) => Part::Key,
        };
        let mut transactions = Vec::new();
        let mut text = |text: &Option<String>, part| {
            let done = normaliser.text(text.as_deref()?, &record.topic, part);
            transactions.extend(done.transactions);
            Some(done.text)
        };
        let key = text(&record.key, part);
        let digest = record.digest.as_ref().map(|digest| digest.sha256.clone());
        let value = text(&record.value, Part::Value).filter(|_| digest.is_none());
        let (headers, more) = normaliser.headers(&record.headers, &record.topic);
        transactions.extend(more);
        Self { record, key, value, digest, headers, transactions }
    }

    fn form(&self) -> Form<'_> {
        let headers = self.headers.iter().map(|header| (header.key.as_str(), header.value.as_deref()));
        let value = self.digest.as_deref().or(self.value.as_deref());
        (self.record.partition, self.key.as_deref(), value, headers.collect())
    }
}

fn by_topic<'a>(records: &'a [Record], normaliser: &Normaliser) -> BTreeMap<String, Vec<Normal<'a>>> {
    let mut topics: BTreeMap<String, Vec<Normal>> = BTreeMap::new();
    for record in records {
        topics.entry(record.topic.clone()).or_default().push(Normal::new(record, normaliser));
    }
    topics
}

/// Where one side has kept a digest of a value, the other side's value becomes one.
fn digest_alike<'a>(left: &mut [Normal<'a>], right: &mut [Normal<'a>]) {
    let kept: BTreeSet<String> = left.iter().chain(right.iter()).filter_map(|record| record.digest.clone()).collect();
    if kept.is_empty() {
        return;
    }
    for record in left.iter_mut().chain(right) {
        let digest = record.value.as_ref().map(|value| sha256(value.as_bytes()));
        if let Some(digest) = digest.filter(|digest| kept.contains(digest)) {
            record.value = None;
            record.digest.get_or_insert(digest);
        }
    }
}

#[derive(Default)]
struct Comparison<'a> {
    waivers: Vec<(Regex, &'a Waiver)>,
    /// Transactions of Debezium's and ours, which stand for one another.
    forth: HashMap<String, String>,
    back: HashMap<String, String>,
    report: Report,
}

impl Comparison<'_> {
    fn topic(&mut self, left: &[Normal], right: &[Normal]) {
        let (one, other): (Vec<Form>, Vec<Form>) =
            (left.iter().map(Normal::form).collect(), right.iter().map(Normal::form).collect());
        for block in blocks(&one, &other) {
            let (left, right) = (&left[block.left], &right[block.right]);
            for (expected, got) in left.iter().zip(right) {
                let mut found = if block.equal { Vec::new() } else { compare_pair(expected, got) };
                found.extend(self.transactions(expected, got));
                self.settle(found);
            }
            let common = left.len().min(right.len());
            for record in &left[common..] {
                self.report.counts.missing += 1;
                self.report.differences.push(alone(record, "missing", |text| (text, "(nothing)".into())));
            }
            for record in &right[common..] {
                self.report.counts.extra += 1;
                self.report.differences.push(alone(record, "extra", |text| ("(nothing)".into(), text)));
            }
        }
    }

    fn transactions(&mut self, expected: &Normal, got: &Normal) -> Vec<Difference> {
        let mut found = Vec::new();
        for (theirs, ours) in expected.transactions.iter().zip(&got.transactions) {
            let stands = self.forth.entry(theirs.clone()).or_insert_with(|| ours.clone()).clone();
            // What stands for another one already must not claim this one too, or one fault would look like two.
            if stands != *ours || self.back.entry(ours.clone()).or_insert_with(|| theirs.clone()) != theirs {
                let place = "transaction id does not stand for one transaction".to_owned();
                found.push(difference(expected, place, format!("{theirs}, so far always {stands}"), ours.clone()));
            }
        }
        found
    }

    /// Counts a pair of records: equal, waived or different.
    fn settle(&mut self, found: Vec<Difference>) {
        let counts = &mut self.report.counts;
        if found.is_empty() {
            counts.equal += 1;
            return;
        }
        let waiver = |found: &Difference| {
            let path = format!("{} {}", found.topic, found.place);
            self.waivers.iter().find(|(pattern, _)| pattern.is_match(&path)).map(|(_, waiver)| waiver.reason.clone())
        };
        match found.iter().map(waiver).collect::<Option<Vec<_>>>() {
            Some(reasons) => {
                counts.waived += 1;
                self.report.waivers.extend(reasons);
            }
            None => {
                counts.different += 1;
                let left = found.iter().filter(|found| waiver(found).is_none()).cloned().collect::<Vec<_>>();
                self.report.differences.extend(left);
            }
        }
    }
}

/// All that differs between two records that stand for one another.
fn compare_pair(expected: &Normal, got: &Normal) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut add = |place: String, one: String, other: String| found.push(difference(expected, place, one, other));
    let digests = expected.digest.is_some() || got.digest.is_some();
    for (part, one, other) in [("key", &expected.key, &got.key), ("value", &expected.value, &got.value)] {
        if one != other && !(part == "value" && digests) {
            for (path, one, other) in differences(one.as_deref(), other.as_deref()) {
                add(format!("{part} {path}"), one, other);
            }
        }
    }
    if digests && expected.digest != got.digest {
        let shown =
            |record: &Normal| record.digest.clone().unwrap_or_else(|| shorten(payload(record.value.as_deref())));
        add("value (kept as a digest)".into(), shown(expected), shown(got));
    }
    if expected.headers != got.headers {
        let shown = |headers: &[Header]| shorten(Some(&serde_json::to_string(headers).unwrap_or_default()));
        add("headers".into(), shown(&expected.headers), shown(&got.headers));
    }
    if expected.record.partition != got.record.partition {
        add("partition".into(), expected.record.partition.to_string(), got.record.partition.to_string());
    }
    found
}

fn difference(record: &Normal, place: String, expected: String, got: String) -> Difference {
    Difference { topic: record.record.topic.clone(), offset: record.record.offset, place, expected, got }
}

fn alone(record: &Normal, place: &str, sides: impl FnOnce(String) -> (String, String)) -> Difference {
    let value = payload(record.value.as_deref());
    let (expected, got) = sides(format!("key {} value {}", shorten(record.key.as_deref()), shorten(value)));
    difference(record, place.to_owned(), expected, got)
}

/// A value's text without its schema.
fn payload(text: Option<&str>) -> Option<&str> {
    let text = text?;
    let payload = text.split_once("\"payload\":").map(|(_, payload)| payload);
    Some(payload.and_then(|payload| payload.strip_suffix('}')).unwrap_or(text))
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
