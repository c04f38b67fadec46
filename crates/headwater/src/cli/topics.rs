//! `headwater topics`: the journal as topics, the way a Kafka client would see them.
//!
//! Invariant: offsets are those that were fixed when the journal was written; only the values are rendered here. Start
//! at [`Topics::run`].

use super::folder::{Folder, Seen};
use super::output::failure;
use super::rendered::{Rendered, TopicRecord};
use super::{Global, Outcome, OutputForm, output};
use clap::Subcommand;
use headwater_journal::From;
use miette::{Result, miette};
use serde_json::json;
use serde_json::value::RawValue;
use std::process::ExitCode;

/// Lists topics, or prints a topic's records.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A topic is named source.database.table. A record's value is Debezium's JSON envelope: before, after, source, op, ts_ms;
a delete is followed by a tombstone, whose value is null. Examples:
  headwater topics list
  headwater topics dump shop.shop.orders --from 100 -n 10
  headwater topics dump shop.shop.orders --follow | jq .value.after
  headwater topics dump --text > everything.jsonl

The dump prints row values: it is your data, on your terminal.")]
pub struct Topics {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Shows each topic with its partitions and offsets.
    List,
    /// Prints one JSON object a record: topic, partition, offset, timestamp, key, value, headers.
    Dump {
        /// The topic's name. Left out: every topic of the source, in the order in which they were written.
        topic: Option<String>,
        /// The source, where there are several and no topic is named.
        #[arg(long, value_name = "NAME", conflicts_with = "topic")]
        source: Option<String>,
        /// Only this partition of the topic.
        #[arg(long, value_name = "NUMBER", requires = "topic")]
        partition: Option<u32>,
        /// Begin at this offset, of the topic's only partition or of the one that is named. Left out: at the oldest that is
        /// kept.
        #[arg(long, value_name = "OFFSET", requires = "topic")]
        from: Option<u64>,
        /// Stop after so many records.
        #[arg(short = 'n', long, value_name = "COUNT")]
        count: Option<u64>,
        /// Go on with what is still to come.
        #[arg(short, long)]
        follow: bool,
        /// Print keys, values and headers as the very text that a client gets, in JSON strings.
        #[arg(long)]
        text: bool,
    },
}

impl Topics {
    pub fn run(self, global: &Global) -> Outcome {
        match self.action {
            Action::List => list(global)?,
            Action::Dump { topic, source, partition, from, count, follow, text } => {
                let folder = match &topic {
                    Some(topic) => folder_of(global, topic)?,
                    None => Folder::only(global, source.as_deref())?,
                };
                let rendered = Rendered::new(&folder.source);
                let mut dump = Dump { rendered, topic: topic.as_deref(), partition, from, left: count, text };
                let start = dump.start(&folder)?;
                folder.walk(start, follow, &mut |seen| dump.transaction(seen))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(global: &Global) -> Result<()> {
    let mut all = Vec::new();
    for folder in Folder::of(global, None)? {
        let info = headwater_journal::info(&folder.path).map_err(|error| folder.explain(error))?;
        all.extend(info.topics);
    }
    all.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    if global.output == OutputForm::Json {
        let topics: Vec<_> = all
            .iter()
            .map(|(topic, bounds)| {
                let partitions: Vec<_> =
                    bounds.iter().map(|(first, next)| json!({ "first": first, "next": next })).collect();
                json!({ "topic": topic.name, "partitions": partitions })
            })
            .collect();
        return output::json(&topics);
    }
    for (topic, bounds) in &all {
        let bounds: Vec<String> = bounds.iter().map(|(first, next)| format!("{first} to {next}")).collect();
        output::line(format!("{}  {}", topic.name, bounds.join(", ")));
    }
    Ok(())
}

/// The journal that holds the topic.
fn folder_of(global: &Global, topic: &str) -> Result<Folder> {
    for folder in Folder::of(global, None)? {
        let info = headwater_journal::info(&folder.path).map_err(|error| folder.explain(error))?;
        if info.topics.iter().any(|(known, _)| known.name == topic) {
            return Ok(folder);
        }
    }
    Err(unknown(topic))
}

fn unknown(topic: &str) -> miette::Report {
    failure(format!("there is no topic `{topic}`"), "`headwater topics list` shows them all.")
}

/// Prints the records of one topic, or of all of a source's.
struct Dump<'a> {
    rendered: Rendered<'a>,
    topic: Option<&'a str>,
    partition: Option<u32>,
    from: Option<u64>,
    /// Records still to print; `None`: all.
    left: Option<u64>,
    text: bool,
}

impl Dump<'_> {
    /// Where the journal is to be read from.
    fn start(&self, folder: &Folder) -> Result<From> {
        let Some(name) = self.topic else { return Ok(From::Earliest) };
        let info = headwater_journal::info(&folder.path).map_err(|error| folder.explain(error))?;
        let found = info.topics.iter().find(|(topic, _)| topic.name == name);
        let Some((topic, bounds)) = found else { return Err(unknown(name)) };
        let partition = self.partition.unwrap_or(0);
        let Some((first, next)) = bounds.get(partition as usize).copied() else {
            let message = format!("{name} has no partition {partition}");
            return Err(failure(message, format!("Its partitions are 0 to {}.", bounds.len().saturating_sub(1))));
        };
        if self.partition.is_none() && bounds.len() > 1 {
            if self.from.is_some() {
                let message = format!("{name} has {} partitions, each with offsets of its own", bounds.len());
                return Err(failure(message, "Name the one you mean with --partition."));
            }
            return Ok(From::Earliest);
        }
        let from = self.from.unwrap_or(0);
        if from > next {
            let message = format!("{name} ends before offset {from}");
            return Err(failure(message, format!("It holds {first} to {next}.")));
        }
        if first == next || from == next {
            return Ok(if from == 0 { From::Earliest } else { From::End });
        }
        Ok(From::Offset { topic: topic.id, partition, offset: from.max(first) })
    }

    /// Prints what a transaction adds to the topic. Answers whether to go on.
    fn transaction(&mut self, seen: &Seen<'_>) -> Result<bool> {
        let Dump { rendered, topic, partition, from, left, text } = self;
        if *left == Some(0) {
            return Ok(false);
        }
        if topic.is_some_and(|topic| !seen.has_records_in(topic)) {
            return Ok(true);
        }
        rendered.transaction(seen, &mut |record| {
            let is_other = topic.is_some_and(|topic| topic != record.topic)
                || partition.is_some_and(|partition| partition != record.partition);
            if is_other || from.is_some_and(|from| record.offset < from) {
                return Ok(true);
            }
            print(record, seen.time_us, *text)?;
            *left = left.map(|left| left - 1);
            Ok(*left != Some(0))
        })
    }
}

fn print(record: &TopicRecord<'_>, time_us: u64, text: bool) -> Result<()> {
    let part = |part: Option<&[u8]>| part.map(|bytes| raw(bytes, text)).transpose();
    let unreadable = |error: serde_json::Error| {
        let TopicRecord { topic, offset, .. } = record;
        miette!("the record at offset {offset} of {topic} is no JSON: {error}; --text prints it as it is")
    };
    let headers = record.headers.iter().map(|(key, value)| Ok(Header { key, value: part(*value)? }));
    let line = Line {
        topic: record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp: time_us / 1000,
        key: part(record.key).map_err(unreadable)?,
        value: part(record.value).map_err(unreadable)?,
        headers: headers.collect::<serde_json::Result<_>>().map_err(unreadable)?,
    };
    output::line(serde_json::to_string(&line).map_err(|error| miette!("{error}"))?);
    Ok(())
}

/// The bytes as JSON: themselves, or as `text` a string of them.
fn raw(bytes: &[u8], text: bool) -> serde_json::Result<Box<RawValue>> {
    let shown = String::from_utf8_lossy(bytes);
    match text {
        true => serde_json::value::to_raw_value(&shown),
        false => RawValue::from_string(shown.into_owned()),
    }
}

/// One record as it is printed.
#[derive(serde::Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: u32,
    offset: u64,
    /// When it was written to the journal, milliseconds since the epoch.
    timestamp: u64,
    key: Option<Box<RawValue>>,
    value: Option<Box<RawValue>>,
    headers: Vec<Header<'a>>,
}

#[derive(serde::Serialize)]
struct Header<'a> {
    key: &'a str,
    value: Option<Box<RawValue>>,
}
