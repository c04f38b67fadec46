//! What is right where Debezium loses records or invents some: `right.jsonl`, beside a scenario's captured records.
//!
//! Its first line says why: `{"reason": "…"}`. Each further line changes one place of the capture:
//! - `{"topic": "t", "offset": 5, "invented": true}`: Debezium wrote this record, and it stands for nothing;
//! - `{"topic": "t", "offset": 5, "key": "…", "value": "…", "headers": […]}`: this record is missing before the one that
//!   Debezium wrote there, or behind its last one.
//!
//! Offsets are those of the capture, and several lines of one offset stand in their order. The files are written by hand, with
//! texts as `records` has them; packing leaves them alone. Invariant: a line that changes nothing is an error, so that no file
//! outlives its capture. Start at [`Right::apply`].

use serde::Deserialize;
use std::collections::BTreeMap;

use super::{Header, Record};
use crate::error::Attempt;
use crate::{Error, Result};

/// The name of the file.
pub(super) const RIGHT: &str = "right.jsonl";

/// The changes that make a capture right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// Why Debezium's records are not what is to be written.
    pub reason: String,
    edits: Vec<Edit>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    topic: String,
    #[serde(default)]
    partition: u32,
    offset: u64,
    #[serde(default)]
    invented: bool,
    key: Option<String>,
    value: Option<String>,
    #[serde(default)]
    headers: Vec<Header>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    reason: String,
}

impl Right {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.split('\n').filter(|line| !line.is_empty());
        let head = lines.next().ok_or_else(|| Error::new("the file says no reason"))?;
        let Head { reason } = serde_json::from_str(head).attempt(|| "read the reason in the first line".to_owned())?;
        let edit = |(number, line): (usize, &str)| {
            serde_json::from_str(line).attempt(|| format!("read line {} behind the reason", number + 1))
        };
        let edits = lines.enumerate().map(edit).collect::<Result<Vec<Edit>>>()?;
        if reason.trim().is_empty() || edits.is_empty() {
            return Err(Error::new("a reason and at least one change must be there"));
        }
        Ok(Self { reason, edits })
    }

    /// The records that are right, from those that Debezium wrote; their offsets are counted anew.
    pub fn apply(&self, captured: &[Record]) -> Result<Vec<Record>> {
        let mut topics: BTreeMap<(&str, u32), Vec<&Record>> = BTreeMap::new();
        for record in captured {
            topics.entry((&record.topic, record.partition)).or_default().push(record);
        }
        for edit in &self.edits {
            topics.entry((&edit.topic, edit.partition)).or_default();
        }
        let mut right = Vec::new();
        let mut used = 0;
        for ((topic, partition), records) in topics {
            let mut offsets = 0..;
            let mut push = |record: Record| right.push(Record { offset: offsets.next().unwrap_or_default(), ..record });
            let here = |edit: &&Edit| edit.topic == topic && edit.partition == partition;
            let end = records.last().map_or(0, |record| record.offset + 1);
            for place in records.iter().map(|record| Some(*record)).chain([None]) {
                let at = place.map_or(end, |record| record.offset);
                let mut kept = place;
                for edit in self.edits.iter().filter(here).filter(|edit| edit.offset == at) {
                    match (edit.invented, kept) {
                        (true, Some(_)) => kept = None,
                        (true, None) => continue,
                        (false, _) => push(edit.record()),
                    }
                    used += 1;
                }
                kept.cloned().into_iter().for_each(&mut push);
            }
        }
        if used != self.edits.len() {
            return Err(Error::new(format!("{} of its changes fit no record", self.edits.len() - used)));
        }
        Ok(right)
    }
}

impl Edit {
    fn record(&self) -> Record {
        Record {
            topic: self.topic.clone(),
            partition: self.partition,
            offset: self.offset,
            key: self.key.clone(),
            value: self.value.clone(),
            digest: None,
            headers: self.headers.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(topic: &str, offset: u64, value: &str) -> Record {
        let value = Some(value.to_owned());
        Record { topic: topic.into(), partition: 0, offset, key: None, value, digest: None, headers: Vec::new() }
    }

    fn applied(edits: &[&str]) -> Result<String> {
        let text = [&[r#"{"reason":"because"}"#], edits].concat().join("\n");
        let captured = [record("a", 0, "1"), record("a", 1, "2"), record("b", 0, "3")];
        let right = Right::parse(&text)?.apply(&captured)?;
        let shown =
            |record: &Record| format!("{}{}={}", record.topic, record.offset, record.value.as_deref().unwrap_or("-"));
        Ok(right.iter().map(shown).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn records_are_put_in_before_others_and_taken_out() {
        let put = |topic: &str, offset: u64, value: &str| {
            format!(r#"{{"topic":"{topic}","offset":{offset},"value":"{value}"}}"#)
        };
        let out = |topic: &str, offset: u64| format!(r#"{{"topic":"{topic}","offset":{offset},"invented":true}}"#);
        for (edits, expected) in [
            (vec![put("a", 1, "x"), put("a", 1, "y")], "a0=1 a1=x a2=y a3=2 b0=3"),
            (vec![put("a", 2, "x")], "a0=1 a1=2 a2=x b0=3"),
            (vec![out("a", 0)], "a0=2 b0=3"),
            (vec![out("a", 1), put("a", 1, "x")], "a0=1 a1=x b0=3"),
            (vec![put("c", 0, "x")], "a0=1 a1=2 b0=3 c0=x"),
        ] {
            let edits: Vec<&str> = edits.iter().map(String::as_str).collect();
            assert_eq!(applied(&edits).unwrap(), expected, "{edits:?}");
        }
    }

    #[test]
    fn a_change_that_fits_nothing_is_an_error() {
        for edits in [
            &[][..],
            &[r#"{"topic":"a","offset":3,"value":"x"}"#],
            &[r#"{"topic":"a","offset":2,"invented":true}"#],
            &[r#"{"topic":"a","offset":0,"invented":true}"#, r#"{"topic":"a","offset":0,"invented":true}"#],
            &[r#"{"topic":"a","offset":0,"vlaue":"x"}"#],
        ] {
            assert!(applied(edits).is_err(), "{edits:?}");
        }
        assert!(Right::parse("").is_err() && Right::parse(r#"{"reason":" "}"#).is_err());
    }
}
