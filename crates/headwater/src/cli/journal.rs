//! `headwater journal`: a look inside, for people.
//!
//! Invariant: tables, counts and positions are shown, row values never. Start at [`Journal::run`].

use super::folder::{Folder, Seen};
use super::output::failure;
use super::status::bytes;
use super::{Global, Outcome, OutputForm, output};
use clap::Subcommand;
use headwater_journal::From;
use headwater_model::{Op, Origin, calendar};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

/// Looks inside the journal on disk, whether an instance runs or not.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  headwater journal info                     # segments, starts, topics, side segments
  headwater journal tail --follow            # one line a transaction, as they come
  headwater journal tail --from 4711 -n 1    # the transaction that holds this sequence
  headwater journal verify                   # reads everything; status 1 names the first damage")]
pub struct Journal {
    #[command(subcommand)]
    action: Action,
    /// The source whose journal is meant. None: all, or the only one.
    #[arg(long, value_name = "NAME", global = true)]
    source: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Shows what it consists of.
    Info,
    /// Shows transactions: sequence, time, place in the source's log, and rows by table.
    Tail {
        /// Begin at the transaction that holds this sequence. Left out: at the oldest that is kept.
        #[arg(long, value_name = "SEQUENCE")]
        from: Option<u64>,
        /// Stop after so many.
        #[arg(short = 'n', long, value_name = "COUNT")]
        count: Option<u64>,
        /// Go on with what is still to come.
        #[arg(short, long)]
        follow: bool,
    },
    /// Reads every frame and checks it; the first damage is named with its file and byte.
    Verify,
}

impl Journal {
    pub fn run(self, global: &Global) -> Outcome {
        let source = self.source.as_deref();
        match self.action {
            Action::Info => Folder::of(global, source)?.iter().try_for_each(|folder| info(folder, global.output))?,
            Action::Verify => {
                Folder::of(global, source)?.iter().try_for_each(|folder| verify(folder, global.output))?
            }
            Action::Tail { from, count, follow } => {
                let mut left = count.unwrap_or(u64::MAX);
                let start = from.map_or(From::Earliest, From::Sequence);
                Folder::only(global, source)?.walk(start, follow && left > 0, &mut |seen| {
                    // A frame begins before the sequence that is wanted.
                    if left > 0 && seen.first_sequence + u64::from(seen.count) > from.unwrap_or(0) {
                        print(seen, global.output)?;
                        left -= 1;
                    }
                    Ok(left > 0)
                })?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(seen: &Seen<'_>, form: OutputForm) -> miette::Result<()> {
    let mut tables: BTreeMap<String, BTreeMap<&str, u64>> = BTreeMap::new();
    for change in seen.changes.clone() {
        let change = change.map_err(|error| miette::miette!("{error}"))?;
        let table = seen.known.schema(change.schema)?.full_name();
        *tables.entry(table).or_default().entry(word(change.op)).or_default() += 1;
    }
    let origin = origin(&seen.header.origin);
    if form == OutputForm::Json {
        output::line(json!({
            "sequence": seen.first_sequence,
            "changes": seen.count,
            "part": seen.part,
            "commit_us": seen.header.commit_us,
            "receive_us": seen.header.receive_us,
            "journal_us": seen.time_us,
            "origin": origin,
            "tables": tables,
        }));
        return Ok(());
    }
    let tables: Vec<String> = tables
        .iter()
        .map(|(table, ops)| {
            let ops: Vec<String> = ops.iter().map(|(op, count)| format!("{count} {op}")).collect();
            format!("{table}: {}", ops.join(", "))
        })
        .collect();
    let part = seen.part.map(|part| format!(" part {part}")).unwrap_or_default();
    let origin = origin.as_object().into_iter().flatten();
    let origin: Vec<String> = origin.map(|(_, value)| value.to_string().trim_matches('"').to_string()).collect();
    let tables = if tables.is_empty() { "no rows".to_string() } else { tables.join("; ") };
    let at = utc(seen.header.commit_us);
    output::line(format!("{:>10}{part}  {at}  {}  {tables}", seen.first_sequence, origin.join(" ")));
    Ok(())
}

/// A moment as RFC 3339 writes it, from microseconds since 1970-01-01.
fn utc(micros: i64) -> String {
    let at = calendar::date_time(micros);
    let day = format!("{:04}-{:02}-{:02}", at.date.year, at.date.month, at.date.day);
    format!("{day}T{:02}:{:02}:{:02}.{:06}Z", at.hour, at.minute, at.second, at.micros)
}

fn word(op: Op) -> &'static str {
    match op {
        Op::Create => "created",
        Op::Update => "updated",
        Op::Delete => "deleted",
        Op::Read => "read",
        Op::Truncate => "truncated",
        Op::Message => "message",
    }
}

/// A place in the write-ahead log, as PostgreSQL prints it.
fn lsn(lsn: u64) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xffff_ffff)
}

/// Where a transaction comes from, most telling first.
fn origin(origin: &Origin<'_>) -> Value {
    match origin {
        Origin::Binlog { file, position, gtid: "", .. } => json!({ "at": format!("{file}:{position}") }),
        Origin::Binlog { file, position, gtid, .. } => json!({ "at": format!("{file}:{position}"), "gtid": gtid }),
        Origin::BinlogSnapshot { file, position, .. } => json!({ "snapshot_at": format!("{file}:{position}") }),
        Origin::Wal { commit_lsn, xid, .. } => json!({ "at": lsn(*commit_lsn), "xid": xid }),
        Origin::WalSnapshot { lsn: at, .. } => json!({ "snapshot_at": lsn(*at) }),
        Origin::Headwater => json!({ "by": "headwater" }),
    }
}

fn info(folder: &Folder, form: OutputForm) -> miette::Result<()> {
    let info = headwater_journal::info(&folder.path).map_err(|error| folder.explain(error))?;
    let size: u64 = info.segments.iter().map(|segment| segment.bytes).sum();
    let topics: u64 = info.topics.iter().map(|_| 1).sum();
    if form == OutputForm::Json {
        let segments: Vec<Value> = info
            .segments
            .iter()
            .map(|segment| {
                json!({
                    "file": segment.file, "first_sequence": segment.first_sequence,
                    "next_sequence": segment.next_sequence, "bytes": segment.bytes, "closed": segment.closed,
                    "last_time_us": segment.last_time_us,
                })
            })
            .collect();
        let sides: Vec<Value> =
            info.sides.iter().map(|(file, bytes)| json!({ "file": file, "bytes": bytes })).collect();
        return output::json(&json!({
            "source": folder.source, "journal": info.id.to_string(), "starts": info.epochs.len(),
            "first_sequence": info.first_sequence, "next_sequence": info.next_sequence, "bytes": size,
            "topics": topics, "segments": segments, "side_segments": sides,
        }));
    }
    output::line(format!("source {}  journal {}", folder.source, info.id));
    let (first, next) = (info.first_sequence, info.next_sequence);
    output::line(format!(
        "  sequences {first} to {next}, {}, {} starts, {topics} topics",
        bytes(size),
        info.epochs.len()
    ));
    for segment in &info.segments {
        let state = if segment.closed { "closed" } else { "open" };
        let (first, next) = (segment.first_sequence, segment.next_sequence);
        output::line(format!("  {}  {state}  {first} to {next}  {}", segment.file, bytes(segment.bytes)));
    }
    for (file, size) in &info.sides {
        output::line(format!("  {file}  side segment  {}", bytes(*size)));
    }
    Ok(())
}

fn verify(folder: &Folder, form: OutputForm) -> miette::Result<()> {
    let seen = headwater_journal::verify(&folder.path).map_err(|error| damage(folder, &error))?;
    if form == OutputForm::Json {
        return output::json(&json!({
            "source": folder.source, "segments": seen.segments, "frames": seen.frames, "bytes": seen.bytes,
            "transactions": seen.transactions, "changes": seen.changes, "side_parts": seen.side_parts,
            "torn_bytes": seen.torn_bytes,
        }));
    }
    output::line(format!(
        "source {}: good. {} segments, {} frames, {} transactions, {} changes, {}",
        folder.source,
        seen.segments,
        seen.frames,
        seen.transactions,
        seen.changes,
        bytes(seen.bytes),
    ));
    if seen.torn_bytes > 0 {
        let torn = seen.torn_bytes;
        output::line(format!(
            "  {torn} bytes at the end were being written when it stopped; the next start cuts them off"
        ));
    }
    Ok(())
}

fn damage(folder: &Folder, error: &headwater_journal::Error) -> miette::Report {
    let path: &Path = &folder.path;
    failure(
        format!("the journal of {}: {error}", folder.source),
        format!(
            "If {} is a copy, copy it again. Otherwise move the folder away: the next start reads the database anew.",
            path.display()
        ),
    )
}
