//! Instructions of the source's path per change, with 10 and with 100 followers, counted by callgrind.
//!
//! The engine runs as it is, under valgrind: a source made for this appends small transactions and flushes each one,
//! and every follower wakes for each, reads it and goes back to sleep. Only what the source's own thread executes inside
//! [`feed_transactions`] is counted, the intake and the journal included. Invariant: the same transactions every time.
//! Start at [`run`] and [`main`].

use crate::Bench;
use crate::report::{Figure, Wanted};
use headwater_engine::{Engine, EngineOptions, FromWhere, Laggard, SinkSpec, SourceSpec, TopicsSpec};
use headwater_model::sink::{Batch, Connected, Event, Sink, Written};
use headwater_model::source::{Committed, Intake, Probe, Source, SourceReport};
use headwater_model::transaction::put_header;
use headwater_model::{
    Column, Op, Origin, Progress, RowWriter, Schema, TransactionBuilder, TransactionHeader, Type, Value,
};
use headwater_testkit::{Error, Result, TestFolder, wait_until};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// The hidden subcommand: `FOLLOWERS TRANSACTIONS FOLDER`.
pub const COMMAND: &str = "source-path";

const NAME: &str = "followers";
const LIMIT: Duration = Duration::from_secs(600);
const SCHEMA: u32 = 1;
const CHANGES: u32 = 10;
/// Instructions a change may cost more with 100 followers than with 10.
const GROWTH_MAX: f64 = 1.05;
/// What callgrind counts; part of the function's name in every mangling.
const COUNTED: &str = "*feed_transactions*";

/// Counts twice.
pub fn run(bench: &mut Bench) -> Result {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        bench
            .report
            .note("`followers` did not run: valgrind is not on the PATH; install it with: apt-get install valgrind");
        return Ok(());
    }
    let transactions = bench.pick(400, 50);
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..bench.pick(2, 1) {
        few.push(count(10, transactions)?);
        many.push(count(100, transactions)?);
    }
    let what = "instructions of the source's path per change, 100 followers";
    let figure = Figure::alone(NAME, what, "instructions", many, Wanted::RatioAtMost(GROWTH_MAX));
    bench.report.add(figure.against("10 followers", few));
    Ok(())
}

/// Instructions per change.
fn count(followers: u64, transactions: u64) -> Result<f64> {
    let folder = TestFolder::new("followers")?;
    let failed = |error: std::io::Error| Error::new(format!("run valgrind: {error}"));
    let counts = folder.path().join("counts");
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--fair-sched=yes", "--quiet"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(std::env::current_exe().map_err(failed)?)
        .args([COMMAND, &followers.to_string(), &transactions.to_string()])
        .arg(folder.path().join("data"))
        .status()
        .map_err(failed)?;
    if !status.success() {
        return Err(Error::new(format!("valgrind ended with {status}")));
    }
    let text = std::fs::read_to_string(&counts).map_err(failed)?;
    let line = text.lines().find_map(|line| line.strip_prefix("summary:").or_else(|| line.strip_prefix("totals:")));
    let counted =
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).filter(|&counted| counted > 0);
    let counted =
        counted.ok_or_else(|| Error::new("callgrind counted nothing: is the function's name still the same?"))?;
    Ok(counted as f64 / (transactions * u64::from(CHANGES)) as f64)
}

/// Where the source stands.
const WAITING: u8 = 0;
const FEEDING: u8 = 1;
const DONE: u8 = 2;

/// The program that is counted.
pub fn main(arguments: &[&str]) -> Result {
    let wrong = || Error::new("usage: source-path FOLLOWERS TRANSACTIONS FOLDER");
    let [followers, transactions, folder] = arguments else { return Err(wrong()) };
    let followers: u32 = followers.parse().map_err(|_| wrong())?;
    let transactions: u64 = transactions.parse().map_err(|_| wrong())?;
    let stage = Arc::new(AtomicU8::new(WAITING));
    let shared = stage.clone();
    let source = SourceSpec {
        topics: TopicsSpec::default(),
        name: "feed".to_owned(),
        build: Arc::new(move || Ok(Box::new(Feed { transactions, stage: shared.clone() }) as Box<dyn Source>)),
    };
    let sinks: Vec<SinkSpec> = (0..followers)
        .map(|number| SinkSpec {
            name: format!("follower_{number}"),
            source: "feed".to_owned(),
            // No table of interest: what is read is passed over, so that a hundred of them are quick to wait for.
            tables: Arc::new(|_| false),
            from: FromWhere::Earliest,
            build: Arc::new(|| Ok(Box::new(Idle) as Box<dyn Sink>)),
        })
        .collect();
    let options = EngineOptions {
        data_dir: Path::new(folder).to_owned(),
        journal: headwater_journal::Options::default(),
        laggard: Laggard::StopSource,
    };
    let failed = |error: headwater_model::Error| Error::new(format!("the engine: {error}"));
    let engine = Engine::start(&options, &[source], &sinks).map_err(failed)?;
    wait_until(LIMIT, "every follower to follow", || engine.is_ready())?;
    stage.store(FEEDING, Ordering::Release);
    wait_until(LIMIT, "the source to feed", || stage.load(Ordering::Acquire) == DONE)?;
    // Under valgrind a hundred threads need longer for an orderly stop than the engine gives them, and nothing of it counts.
    std::process::exit(0);
}

/// Appends transactions when it is told to.
struct Feed {
    transactions: u64,
    stage: Arc<AtomicU8>,
}

impl Source for Feed {
    fn run(&mut self, intake: &mut dyn Intake) -> headwater_model::Result<()> {
        intake.report(SourceReport { phase: "streaming", ..SourceReport::default() });
        while !intake.stopping() {
            if self.stage.load(Ordering::Acquire) == FEEDING {
                feed_transactions(intake, self.transactions)?;
                self.stage.store(DONE, Ordering::Release);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn stopper(&self) -> Box<dyn Fn() + Send + Sync> {
        Box::new(|| {})
    }

    fn probe(&self) -> Arc<dyn Probe> {
        Arc::new(NoEnd)
    }
}

/// The source's path: everything that is counted happens below this call.
#[inline(never)]
fn feed_transactions(intake: &mut dyn Intake, transactions: u64) -> headwater_model::Result<()> {
    let mut changes = TransactionBuilder::default();
    let mut header = Vec::new();
    let mut schemas = vec![schema()];
    for number in 0..transactions {
        changes.clear();
        for row in 0..CHANGES {
            let out = changes.begin(Op::Create, SCHEMA, number, row);
            let mut writer = RowWriter::begin(out, 2);
            writer.put(Value::Int((number * u64::from(CHANGES)) as i64 + i64::from(row)));
            writer.put(Value::Int(-1));
            drop(writer);
            changes.end(Op::Create, SCHEMA, false);
        }
        header.clear();
        put_header(&mut header, &TransactionHeader { commit_us: 1, receive_us: 1, origin: Origin::Headwater });
        let position = number.to_be_bytes();
        intake.append(&Committed {
            header: &header,
            changes: &changes,
            position: &position,
            state: &[],
            schemas: &schemas,
            derived: false,
        })?;
        intake.flush()?;
        schemas.clear();
    }
    Ok(())
}

fn schema() -> Schema {
    let column =
        |name: &str| Column { nullable: false, ..Column::new(name, Type::Int { bits: 64, unsigned: false }, "bigint") };
    let columns = vec![column("id"), column("value")];
    Schema::new(SCHEMA, "bench", "feed", columns, vec![0])
}

/// A log without an end to ask for.
struct NoEnd;

impl Probe for NoEnd {
    fn end(&self) -> headwater_model::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn reached(&self, _: &[u8], _: &[u8]) -> headwater_model::Result<bool> {
        Ok(true)
    }
}

/// A target that takes everything and keeps nothing.
struct Idle;

impl Sink for Idle {
    fn connect(&mut self) -> headwater_model::Result<Connected> {
        Ok(Connected { progress: None, rejected: Vec::new(), replayed: None, server: "nothing".to_owned() })
    }

    fn write(&mut self, batch: &Batch<'_>) -> headwater_model::Result<Written> {
        Ok(Written { durable: Some(batch.progress.sequence), rejected: Vec::new() })
    }

    fn replay(&mut self, _: &Event<'_>, _: Progress) -> headwater_model::Result<Written> {
        Ok(Written::default())
    }

    fn flush(&mut self) -> headwater_model::Result<Written> {
        Ok(Written::default())
    }

    fn rejected_are_kept(&mut self, _: u64) -> headwater_model::Result<()> {
        Ok(())
    }

    fn clear(&mut self) -> headwater_model::Result<()> {
        Ok(())
    }
}
