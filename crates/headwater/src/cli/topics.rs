//! `headwater topics`: the journal as topics, the way a Kafka client would see them.
//!
//! Invariant: offsets are those that were fixed when the journal was written; only the values are rendered here. Start
//! at [`Topics::run`].

use super::folder::{Folder, Seen};
use super::output::failure;
use super::{Global, Outcome, OutputForm, output};
use clap::Subcommand;
use headwater_engine::TopicName;
use headwater_format::debezium::{Context, Record, records};
use headwater_journal::{From, TopicId};
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
        /// The topic's name.
        topic: String,
        /// Begin at this offset. Left out: at the oldest that is kept.
        #[arg(long, value_name = "OFFSET")]
        from: Option<u64>,
        /// Stop after so many records.
        #[arg(short = 'n', long, value_name = "COUNT")]
        count: Option<u64>,
        /// Go on with what is still to come.
        #[arg(short, long)]
        follow: bool,
    },
}

impl Topics {
    pub fn run(self, global: &Global) -> Outcome {
        match self.action {
            Action::List => list(global)?,
            Action::Dump { topic, from, count, follow } => {
                let folder = folder_of(global, &topic)?;
                let mut dump = Dump { source: &folder.source, topic: &topic, from: from.unwrap_or(0), left: count };
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

/// The journal that holds the topic: a topic's name begins with its source's.
fn folder_of(global: &Global, topic: &str) -> Result<Folder> {
    let folders = Folder::of(global, None)?;
    let of_topic =
        |folder: &Folder| topic.strip_prefix(folder.source.as_str()).is_some_and(|rest| rest.starts_with('.'));
    folders.into_iter().find(of_topic).ok_or_else(|| unknown(topic))
}

fn unknown(topic: &str) -> miette::Report {
    failure(format!("there is no topic `{topic}`"), "`headwater topics list` shows them all.")
}

/// Prints the records of one topic.
struct Dump<'a> {
    source: &'a str,
    topic: &'a str,
    from: u64,
    /// Records still to print; `None`: all.
    left: Option<u64>,
}

impl Dump<'_> {
    /// Where the journal is to be read from.
    fn start(&self, folder: &Folder) -> Result<From> {
        let info = headwater_journal::info(&folder.path).map_err(|error| folder.explain(error))?;
        let found = info.topics.iter().find(|(topic, _)| topic.name == self.topic);
        let Some((topic, bounds)) = found else { return Err(unknown(self.topic)) };
        let (first, next) = bounds.first().copied().unwrap_or_default();
        if self.from > next {
            let message = format!("{} ends before offset {}", self.topic, self.from);
            return Err(failure(message, format!("It holds {first} to {next}.")));
        }
        if first == next || self.from == next {
            return Ok(if self.from == 0 { From::Earliest } else { From::End });
        }
        Ok(From::Offset { topic: topic.id, partition: 0, offset: self.from.max(first) })
    }

    /// Prints what a transaction adds to the topic. Answers whether to go on.
    fn transaction(&mut self, seen: &Seen<'_>) -> Result<bool> {
        if self.left == Some(0) {
            return Ok(false);
        }
        let Some(id) = seen.known.topic(self.topic).map(|topic| topic.id) else { return Ok(true) };
        let Some((mut offset, end)) = range(seen, id) else { return Ok(true) };
        let mut made = Vec::new();
        for change in seen.changes.clone() {
            let change = change.map_err(|error| miette!("{error}"))?;
            let schema = seen.known.schema(change.schema)?;
            if TopicName::of(self.source, schema) != self.topic {
                continue;
            }
            let context = Context { prefix: self.source, schema, header: &seen.header };
            records(&change, context, &mut made);
            for record in made.drain(..) {
                if offset >= self.from && self.left != Some(0) {
                    self.print(&record, offset, seen)?;
                    self.left = self.left.map(|left| left - 1);
                }
                offset += 1;
            }
        }
        if offset != end {
            let message = format!("{} renders up to offset {offset} where the journal counted {end}", self.topic);
            return Err(failure(message, "Please report this: the journal and the format disagree."));
        }
        Ok(self.left != Some(0))
    }

    fn print(&self, record: &Record, offset: u64, seen: &Seen<'_>) -> Result<()> {
        let raw = |part: &Option<String>| part.clone().map(RawValue::from_string).transpose();
        let (Ok(key), Ok(value)) = (raw(&record.key), raw(&record.value)) else {
            return Err(miette!("the record at offset {offset} of {} is no JSON", self.topic));
        };
        let line =
            Line { topic: self.topic, partition: 0, offset, timestamp: seen.time_us / 1000, key, value, headers: [] };
        output::line(serde_json::to_string(&line).map_err(|error| miette!("{error}"))?);
        Ok(())
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
    headers: [(); 0],
}

/// First and next offset that a transaction takes in a topic.
fn range(seen: &Seen<'_>, topic: TopicId) -> Option<(u64, u64)> {
    let mut ranges = seen.offsets.iter().filter(|range| range.topic == topic);
    let first = ranges.next()?;
    let count: u64 = ranges.map(|range| u64::from(range.count)).sum();
    Some((first.first, first.first + u64::from(first.count) + count))
}
