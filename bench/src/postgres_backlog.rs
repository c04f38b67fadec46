//! A backlog of `orders` in transactions of 100, from PostgreSQL's slot into the fsynced journal, beside the server's own
//! reader of a slot, which writes what it gets to /dev/null, and beside the fastest reader of frames that was found.
//!
//! Invariant: all read the same stretch of the log through copies of one slot, the first two with the same options of
//! the plugin, and every clock runs from the start of a process. Start at [`run`].

use crate::Bench;
use crate::measure::{self, Cost};
use crate::postgres::{DATABASE, ORDERS, SLOT, backlog, source};
use crate::product::{self, Instance};
use crate::report::{Figure, Wanted};
use headwater_testkit::{Error, PASSWORD, Postgres, PostgresRelease, Result, USER};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const NAME: &str = "postgres-backlog";
/// How long one run may take.
const LIMIT: Duration = Duration::from_secs(300);
/// How much longer than the server's own reader it may take.
const WALL_RATIO_MAX: f64 = 1.05;
/// Our processor time, alone and beside the peer's, which decodes nothing.
const CPU_MAX_S: f64 = 1.5;
const CPU_RATIO_MAX: f64 = 0.88;
/// The slot that stays where the backlog begins, and the other reader's.
const ORIGIN: &str = "backlog_origin";
const COPY: &str = "backlog_copy";

/// Measures the readers in turn.
pub fn run(bench: &mut Bench) -> Result {
    let rows = bench.pick(500_000, 50_000);
    let postgres = bench.postgres(PostgresRelease::V15, &["fsync=off"])?;
    postgres.try_exec(DATABASE, ORDERS)?;
    let mut instance = Instance::new(&bench.binary, &source(&postgres, "shop.orders"))?;
    instance.mark_start()?;
    postgres.try_exec(DATABASE, &format!("SELECT pg_copy_logical_replication_slot('{SLOT}', '{ORIGIN}')"))?;
    postgres.try_exec(DATABASE, &backlog(rows))?;
    let end = postgres.value(DATABASE, "SELECT pg_current_wal_insert_lsn()");
    let peer = product::peers(bench, NAME);
    let (mut ours, mut server, mut frames, mut peaks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.pick(7, 2) {
        copy_slot(&postgres, SLOT)?;
        let (cost, peak_mb) = read(&mut instance, rows)?;
        ours.push(cost);
        peaks.push(peak_mb);
        copy_slot(&postgres, COPY)?;
        server.push(copy_stream(&postgres, &end)?);
        if let Some(peer) = &peer {
            copy_slot(&postgres, COPY)?;
            frames.push(read_frames(peer, &postgres, rows)?);
        }
    }
    let figure = |of: &str, part: fn(&Cost) -> f64, wanted| {
        let what = format!("PostgreSQL 15: {rows} rows to the fsynced journal, {of}");
        Figure::alone(NAME, what, "s", seconds(&ours, part), wanted)
    };
    let tool = "pg_recvlogical to /dev/null";
    let wall = figure("wall time", |cost| cost.wall_s, Wanted::RatioAtMost(WALL_RATIO_MAX));
    bench.report.add(wall.against(tool, seconds(&server, |cost| cost.wall_s)));
    let cpu = |wanted| figure("processor time", |cost| cost.cpu_s, wanted);
    bench.report.add(cpu(Wanted::AtMost(CPU_MAX_S)));
    if peer.is_some() {
        let frames = seconds(&frames, |cost| cost.cpu_s);
        bench.report.add(cpu(Wanted::RatioAtMost(CPU_RATIO_MAX)).against("pgwire-replication, frames alone", frames));
    }
    bench.report.add(cpu(Wanted::Told).against(tool, seconds(&server, |cost| cost.cpu_s)));
    bench.memory(NAME, &format!("PostgreSQL 15, {rows} rows"), peaks);
    Ok(())
}

fn seconds(costs: &[Cost], part: fn(&Cost) -> f64) -> Vec<f64> {
    costs.iter().map(part).collect()
}

/// Puts the slot `name` to where the backlog begins.
fn copy_slot(postgres: &Postgres, name: &str) -> Result {
    let sql = format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{name}' AND NOT active; \
         SELECT pg_copy_logical_replication_slot('{ORIGIN}', '{name}')"
    );
    // A server notices only after a while that the reader was killed.
    headwater_testkit::wait_until(LIMIT, "the slot to be free", || postgres.try_exec(DATABASE, &sql).is_ok())
}

/// Reads the backlog once, from a journal that stands before it.
fn read(instance: &mut Instance, rows: u64) -> Result<(Cost, f64)> {
    instance.go_back()?;
    let began = Instant::now();
    instance.headwater.launch()?;
    instance.wait(LIMIT, "the backlog to be durable", |instance| instance.durable() >= rows)?;
    let cost = Cost { wall_s: began.elapsed().as_secs_f64(), cpu_s: instance.cpu_s()? };
    let peak_mb = instance.memory_peak_mb();
    let read = instance.durable();
    instance.headwater.kill9();
    match read == rows {
        true => Ok((cost, peak_mb)),
        false => Err(Error::new(format!("{rows} rows were committed, and the journal holds {read} changes"))),
    }
}

/// Reads the same stretch with the server's own tool and throws it away.
fn copy_stream(postgres: &Postgres, end: &str) -> Result<Cost> {
    let mut command = Command::new(postgres.tool("pg_recvlogical")?);
    command.args(["--start", "--no-loop", "--host=127.0.0.1", "--file=/dev/null"]);
    command.args([format!("--port={}", postgres.port()), format!("--username={USER}"), format!("--dbname={DATABASE}")]);
    command.args([format!("--slot={COPY}"), format!("--endpos={end}")]);
    // As our source asks for it.
    command.args(["--option=proto_version=3", "--option=streaming=on", "--option=messages=true"]);
    command.arg(format!("--option=publication_names={SLOT}"));
    command.env("PGPASSWORD", PASSWORD).env("PGSSLMODE", "disable");
    measure::run(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// Counts the rows of the same stretch with the fastest reader of frames that was found.
fn read_frames(peer: &Path, postgres: &Postgres, rows: u64) -> Result<Cost> {
    let arguments = ["postgres", &postgres.port().to_string(), USER, COPY, SLOT, &rows.to_string()];
    measure::run(Command::new(peer).args(arguments))
}
