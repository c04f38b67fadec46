//! How long a commit takes to be visible in Redis, at a fixed pace, in turn with the floor program.
//!
//! The clock of a transaction starts just before it is sent to the database, so the commit itself counts, the same for
//! both sides; it ends when Redis announces the SET of its key. Invariant: both sides read the same database and write
//! into the same Redis, one after the other. Start at [`mysql`]
//! and [`postgres`].

use crate::Bench;
use crate::floor::{Floor, Start};
use crate::load::{self, Sent, Statements, log_end, paced};
use crate::measure::percentile;
use crate::postgres;
use crate::product::{Instance, source};
use crate::report::{Figure, Wanted};
use crate::watch::Watch;
use headwater_testkit::{Database, Flavor, Postgres, PostgresRelease, Redis, Result, TestFolder};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long the last transactions may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The first transactions of a run warm caches and are not counted.
const WARM_UP: f64 = 0.1;

/// One side of a comparison at one pace.
#[derive(Default)]
struct Side {
    p50: Vec<f64>,
    p99: Vec<f64>,
    max: Vec<f64>,
}

impl Side {
    fn add(&mut self, ms: &[f64]) {
        self.p50.push(percentile(ms, 0.5));
        self.p99.push(percentile(ms, 0.99));
        self.max.push(percentile(ms, 1.0));
    }
}

/// The server whose commits are watched.
enum Server {
    MySql(Database),
    Postgres(Postgres),
}

impl Server {
    fn name(&self) -> &'static str {
        match self {
            Server::MySql(_) => "MySQL",
            Server::Postgres(_) => "PostgreSQL",
        }
    }

    fn source(&self) -> String {
        match self {
            Server::MySql(database) => source(database, "shop.*", ", snapshot: never"),
            Server::Postgres(postgres) => postgres::source(postgres, "shop.*"),
        }
    }

    fn statements(&self) -> Result<Statements> {
        match self {
            Server::MySql(database) => load::statements(&database.url()),
            Server::Postgres(postgres) => postgres::statements(&postgres.url(postgres::DATABASE)),
        }
    }

    fn floor(&self, redis: &Redis, sync_file: Option<&Path>) -> Result<Floor> {
        match self {
            Server::MySql(database) => {
                Floor::start(&Start::MySql(&database.url(), &log_end(database)?), redis.port(), sync_file)
            }
            Server::Postgres(postgres) => {
                let url = postgres.url(postgres::DATABASE);
                Floor::start(&Start::Postgres(&url, postgres::SLOT), redis.port(), sync_file)
            }
        }
    }
}

/// Everything that stays over all runs.
struct Stage {
    /// As it is named on the command line.
    benchmark: &'static str,
    server: Server,
    redis: Redis,
    /// The next row's id: no key is written twice.
    next_id: u64,
    lasts: Duration,
}

/// Measures MySQL.
pub fn mysql(bench: &mut Bench) -> Result {
    let database = bench.database(Flavor::MySql, &[])?;
    database.try_exec(load::ORDERS)?;
    measure(bench, "latency", Server::MySql(database))
}

/// Measures PostgreSQL.
pub fn postgres(bench: &mut Bench) -> Result {
    let postgres = bench.postgres(PostgresRelease::V15, &[])?;
    postgres.try_exec(postgres::DATABASE, postgres::ORDERS)?;
    measure(bench, "postgres-latency", Server::Postgres(postgres))
}

/// Measures both paces, with `delivery: written` and `delivery: durable`.
fn measure(bench: &mut Bench, benchmark: &'static str, server: Server) -> Result {
    let redis = bench.redis()?;
    let lasts = Duration::from_secs(bench.pick(8, 2));
    let mut stage = Stage { benchmark, server, redis, next_id: 1, lasts };
    for durable in [false, true] {
        for per_second in [200, 2_000] {
            compare(bench, &mut stage, durable, per_second)?;
        }
    }
    Ok(())
}

fn compare(bench: &mut Bench, stage: &mut Stage, durable: bool, per_second: u64) -> Result {
    let delivery = if durable { "durable" } else { "written" };
    let config = format!(
        "delivery: {delivery}\n{}sinks:\n  cache:\n    redis: {{ url: \"{}\" }}\n    from: now\n    follow:\n      \
         shop.orders:\n        - {{ json: \"order:{{id}}\" }}\n",
        stage.server.source(),
        stage.redis.url()
    );
    stage.redis.try_call(&["FLUSHALL"])?;
    let mut instance = Instance::new(&bench.binary, &config)?;
    instance.mark_start()?;
    let (mut ours, mut floor, mut peaks, mut stages) = (Side::default(), Side::default(), Vec::new(), String::new());
    for _ in 0..bench.pick(4, 1) {
        floor.add(&run_floor(stage, durable, per_second)?);
        instance.headwater.start()?;
        // What the floor's run left in the log is not this run's.
        instance.headwater.run_ok(&["wait", "--timeout", "60s"])?;
        ours.add(&stage.transactions(per_second)?);
        stages = split(&instance);
        peaks.push(instance.memory_peak_mb());
        instance.stop()?;
    }
    let server = stage.server.name();
    let what = |of: &str| format!("{server} → Redis, {per_second} tx/s, delivery {delivery}: {of}");
    let name = if durable { "bare loop with fdatasync" } else { "bare loop" };
    let p50 = Wanted::AtMostTimesPlus { factor: 1.0, plus: if durable { 1.0 } else { 0.7 } };
    let p99 = if durable { Wanted::Told } else { Wanted::AtMostTimesPlus { factor: 2.0, plus: 3.0 } };
    for (of, ours, floor, wanted) in [
        ("p50", ours.p50, floor.p50, p50),
        ("p99", ours.p99, floor.p99, p99),
        ("max", ours.max, floor.max, Wanted::Told),
    ] {
        bench.report.add(Figure::alone(stage.benchmark, what(of), "ms", ours, wanted).against(name, floor));
    }
    bench.report.note(format!("{}: {stages}", what("stages of the last run")));
    bench.memory(stage.benchmark, &format!("{server}, {per_second} tx/s, {delivery}"), peaks);
    Ok(())
}

fn run_floor(stage: &mut Stage, durable: bool, per_second: u64) -> Result<Vec<f64>> {
    let folder = TestFolder::new("floor")?;
    let file = folder.path().join("log");
    let _running = stage.server.floor(&stage.redis, durable.then_some(file.as_path()))?;
    stage.transactions(per_second)
}

impl Stage {
    /// Commits for a while and answers each transaction's time until it was visible, in milliseconds.
    fn transactions(&mut self, per_second: u64) -> Result<Vec<f64>> {
        let clock = Instant::now();
        let count = per_second * self.lasts.as_secs();
        let watch = Watch::start(&self.redis, self.next_id, count as usize, clock)?;
        let sent = paced(|| self.server.statements(), self.next_id, per_second, self.lasts, clock)?;
        headwater_testkit::wait_until(LIMIT, "every transaction to be visible", || watch.seen() >= count)?;
        self.next_id += count;
        Ok(times(&sent, &watch))
    }
}

fn times(sent: &Sent, watch: &Watch) -> Vec<f64> {
    let skipped = (sent.at_ns.len() as f64 * WARM_UP) as usize;
    let sent = sent.at_ns.iter().enumerate().skip(skipped);
    sent.map(|(at, sent)| watch.at_ns(at).saturating_sub(sent.load(Ordering::Acquire)) as f64 / 1e6).collect()
}

/// The product's own account of where the time went.
fn split(instance: &Instance) -> String {
    let status = instance.status();
    let stage = |name: &str| {
        let pair = &status["sinks"][0]["stages"][name];
        format!("{}/{} ms", pair[0], pair[1])
    };
    format!(
        "commit → receive {}, receive → journal {}, journal → sink {} (p50/p99)",
        stage("commit_to_receive_ms"),
        stage("receive_to_journal_ms"),
        stage("journal_to_sink_ms")
    )
}
