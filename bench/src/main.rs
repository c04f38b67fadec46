//! The benchmark program: starts what it needs, measures Headwater beside a limit or a peer in the same run, writes down
//! what it found. `bench/README.md` says how to read it.
//!
//! Invariant: a claim is a ratio of runs taken in turn on one machine. Start at [`BENCHMARKS`]; each is a file of its name.

mod backlog;
mod catchup;
mod floor;
mod followers;
mod laggard;
mod latency;
mod load;
mod machine;
mod measure;
mod postgres;
mod postgres_backlog;
mod postgres_transaction;
mod product;
mod recorder;
mod render;
mod report;
mod restart;
mod snapshot;
mod transaction;
mod watch;

use headwater_testkit::{Database, Flavor, Postgres, PostgresRelease, Redis, Result};
use machine::Machine;
use report::{Figure, Report, Wanted};
use std::path::PathBuf;
use std::process::ExitCode;

/// The most memory that Headwater may hold in any of these, in MB.
const MEMORY_MAX_MB: f64 = 100.0;

/// Name, what it measures, and the benchmark itself.
type Benchmark = (&'static str, &'static str, fn(&mut Bench) -> Result);

const BENCHMARKS: &[Benchmark] = &[
    (
        "backlog",
        "500,000 rows of backlog to the fsynced journal, beside the fastest reader and the server's own",
        backlog::run,
    ),
    (
        "postgres-backlog",
        "500,000 rows of PostgreSQL's backlog to the fsynced journal, beside the server's own reader",
        postgres_backlog::run,
    ),
    ("render", "changes as Debezium's records, beside serde_json printing built values", render::run),
    ("latency", "commit to visible in Redis at 200 and 2,000 transactions/s, beside a bare loop", latency::mysql),
    ("postgres-latency", "the same from PostgreSQL", latency::postgres),
    ("redis-catchup", "a full journal into Redis, beside the same bytes sent prebuilt", catchup::run),
    ("snapshot", "2,000,000 rows into the journal, beside SELECT * of the server's own client", snapshot::run),
    ("transaction", "one transaction of 1 GB: memory, and bytes a second", transaction::run),
    (
        "postgres-transaction",
        "1 GB that PostgreSQL sends in progress, committed and rolled back: memory, and what is left",
        postgres_transaction::run,
    ),
    ("restart", "kill -9 with a 5 GB journal and 1 GB unfinished, until it is live again", restart::run),
    ("followers", "instructions of the source's path per change, with 10 and with 100 followers", followers::run),
    ("laggard", "a follower away for 1,000,000 rows: nobody waits for it, then it catches up", laggard::run),
];

/// What every benchmark works with.
pub struct Bench {
    /// Small and quick: to see that it works, not to quote.
    quick: bool,
    binary: PathBuf,
    machine: Machine,
    report: Report,
}

impl Bench {
    /// The number for a full run, or the one for a quick one.
    fn pick(&self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }

    /// Starts a database server and notes its version.
    fn database(&mut self, flavor: Flavor, options: &[&str]) -> Result<Database> {
        let database = Database::start(flavor, options)?;
        self.machine.server(format!("{flavor} ({})", database.version()));
        Ok(database)
    }

    /// Starts a PostgreSQL server and notes its version.
    fn postgres(&mut self, release: PostgresRelease, options: &[&str]) -> Result<Postgres> {
        let postgres = Postgres::start(release, options)?;
        self.machine.server(format!("PostgreSQL ({})", postgres.version()));
        Ok(postgres)
    }

    /// Starts a Redis without its log, so that no disk but Headwater's is measured, and notes its version.
    fn redis(&mut self) -> Result<Redis> {
        let redis = Redis::start(&["--appendonly", "no"])?;
        let info = redis.try_call(&["INFO", "server"])?.text().unwrap_or_default();
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown").to_owned();
        self.machine.server(format!("Redis ({})", version.trim()));
        Ok(redis)
    }

    /// Keeps the most memory that Headwater held in each run.
    fn memory(&mut self, benchmark: &'static str, what: &str, peaks_mb: Vec<f64>) {
        let what = format!("VmHWM: {what}");
        self.report.add(Figure::alone(benchmark, what, "MB", peaks_mb, Wanted::AtMost(MEMORY_MAX_MB)));
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = match words.as_slice() {
        [floor::COMMAND, rest @ ..] => floor::main(rest).map(|()| 0),
        [followers::COMMAND, rest @ ..] => followers::main(rest).map(|()| 0),
        ["--list"] => {
            BENCHMARKS.iter().for_each(|(name, about, _)| println!("{name:<20} {about}"));
            return ExitCode::SUCCESS;
        }
        words if words.contains(&"--help") || words.contains(&"-h") => {
            println!("{}", usage());
            return ExitCode::SUCCESS;
        }
        words => match choose(words) {
            Ok((chosen, quick, binary)) => measure(&chosen, quick, binary),
            Err(wrong) => {
                eprintln!("{wrong}\n\n{}", usage());
                return ExitCode::from(2);
            }
        },
    };
    match ran {
        Ok(0) => ExitCode::SUCCESS,
        Ok(short) => {
            eprintln!("{short} figures are short of what was wanted, or were not taken");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("headwater-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let mut text = "usage: headwater-bench [--quick] [--binary PATH] [all | NAME…]\n\n  --quick        small and short: to see that it \
        works, not to quote; writes no results\n  --binary PATH  measure this binary of Headwater instead of building one\n  \
        --list         names the benchmarks\n"
        .to_owned();
    for (name, about, _) in BENCHMARKS {
        text.push_str(&format!("\n  {name:<20} {about}"));
    }
    text
}

type Choice = (Vec<&'static Benchmark>, bool, Option<PathBuf>);

/// Reads the command line; an error says what is wrong with it.
fn choose(words: &[&str]) -> std::result::Result<Choice, String> {
    let (mut chosen, mut quick, mut binary) = (Vec::new(), false, None);
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            "--quick" => quick = true,
            "--binary" => binary = Some(words.next().map(PathBuf::from).ok_or("--binary needs a path")?),
            "all" => chosen.extend(BENCHMARKS),
            name => match BENCHMARKS.iter().find(|(known, ..)| *known == name) {
                Some(benchmark) => chosen.push(benchmark),
                None => return Err(format!("there is no benchmark {name}")),
            },
        }
    }
    if chosen.is_empty() {
        chosen.extend(BENCHMARKS);
    }
    Ok((chosen, quick, binary))
}

/// Runs benchmarks and answers how many figures are short. One that cannot run is noted, and the others go on.
fn measure(chosen: &[&Benchmark], quick: bool, binary: Option<PathBuf>) -> Result<usize> {
    let root = product::root();
    let binary = binary.map_or_else(|| product::build(&root.join("Cargo.toml"), "headwater"), Ok)?;
    let mut bench = Bench { quick, binary, machine: Machine::look(&root), report: Report::default() };
    let mut failed = 0;
    for (name, about, run) in chosen {
        println!("\n{name}: {about}");
        if let Err(error) = run(&mut bench) {
            failed += 1;
            bench.report.note(format!("`{name}` did not come to its end: {error}"));
        }
    }
    match quick {
        true => println!("\n{}", bench.report.markdown(&bench.machine)),
        false => println!("\nwrote {}", bench.report.write(&root.join("bench/results"), &bench.machine)?.display()),
    }
    Ok(bench.report.short() + failed)
}
