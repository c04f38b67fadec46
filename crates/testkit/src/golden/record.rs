//! One record of a topic, as a line of JSON. Keys, values and headers are texts that nobody here looks into.

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::error::Attempt;
use crate::{Error, Result};

/// A record as a consumer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
    /// Its offset in the partition.
    pub offset: u64,
    /// Its key's text; `None` where there is no key.
    pub key: Option<String>,
    /// Its value's text; `None` for a tombstone, and where only a digest was kept.
    pub value: Option<String>,
    /// What was kept of a value that is too large.
    pub digest: Option<Digest>,
    /// Its headers, in order.
    pub headers: Vec<Header>,
}

/// What is known of a value that was too large to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// SHA-256, in hexadecimal, of the value's comparable text: clocks and positions are replaced in it.
    pub sha256: String,
    /// Characters of that text.
    pub chars: u64,
}

/// A header of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Its name.
    pub key: String,
    /// Its value's text.
    pub value: Option<String>,
}

/// A line as captures and `headwater topics dump` write it. Timestamps are clocks, and not kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    topic: String,
    partition: u32,
    offset: u64,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    headers: Option<Vec<Header>>,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "it may stand in a line")]
    timestamp: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_length: Option<u64>,
}

impl Record {
    /// Reads one line: `{"topic", "partition", "offset", "key", "value", "headers": [{"key", "value"}], "timestamp"}`.
    pub fn from_line(line: &str) -> Result<Self> {
        let line: Line = serde_json::from_str(line).attempt(|| "read a record".to_owned())?;
        let digest = match (line.value_sha256, line.value_length) {
            (Some(sha256), Some(chars)) => Some(Digest { sha256, chars }),
            (None, None) => None,
            _ => return Err(Error::new("read a record: value_sha256 and value_length go together")),
        };
        Ok(Self {
            topic: line.topic,
            partition: line.partition,
            offset: line.offset,
            key: line.key,
            value: line.value,
            digest,
            headers: line.headers.unwrap_or_default(),
        })
    }

    /// Reads all lines of a text.
    pub fn from_lines(text: &str) -> Result<Vec<Self>> {
        // Not `lines()`, which would take a carriage return away.
        let lines = text.split('\n').enumerate().filter(|(_, line)| !line.is_empty());
        lines.map(|(at, line)| Self::from_line(line).attempt(|| format!("line {}", at + 1))).collect()
    }

    /// The line that [`from_line`](Self::from_line) reads, without a timestamp.
    pub fn to_line(&self) -> String {
        let digest = self.digest.as_ref();
        let line = Line {
            topic: self.topic.clone(),
            partition: self.partition,
            offset: self.offset,
            key: self.key.clone(),
            value: self.value.clone(),
            headers: Some(self.headers.clone()),
            timestamp: None,
            value_sha256: digest.map(|digest| digest.sha256.clone()),
            value_length: digest.map(|digest| digest.chars),
        };
        serde_json::to_string(&line).unwrap_or_default()
    }
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of all lines of `records`: two texts of records with the same digest are the same but for their timestamps.
pub(super) fn digest_of(records: &[Record]) -> String {
    let text: String = records.iter().map(|record| record.to_line() + "\n").collect();
    sha256(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_every_text_as_it_is() {
        let line = r#"{"topic":"p.t","partition":1,"offset":7,"key":"{\"a\": 1}","value":null,"headers":[{"key":"h","value":"ü😀\n"}]}"#;
        let record = Record::from_line(line).unwrap();
        assert_eq!(record.key.as_deref(), Some(r#"{"a": 1}"#));
        assert_eq!(record.headers[0].value.as_deref(), Some("ü😀\n"));
        assert_eq!(record.to_line(), line);
        let timed = line.replace("}]}", "}],\"timestamp\":5}");
        assert_eq!(Record::from_line(&timed).unwrap(), record);
    }

    #[test]
    fn a_line_that_is_no_record_is_refused() {
        for line in ["", "[]", r#"{"topic":"t"}"#, r#"{"topic":"t","partition":0,"offset":0,"vlaue":"x"}"#] {
            assert!(Record::from_line(line).is_err(), "{line}");
        }
        let error =
            Record::from_lines("\n{\"topic\":\"t\",\"partition\":0,\"offset\":0}\nx\n").unwrap_err().to_string();
        assert!(error.starts_with("line 3"), "{error}");
    }
}
