//! A backlog of `orders` in transactions of 100, from PostgreSQL's slot into the fsynced journal, beside the server's own
//! reader of a slot, which writes what it gets to /dev/null.
//!
//! Invariant: both read the same stretch of the log through copies of one slot, with the same options of the plugin, and
//! every clock runs from the start of a process. Start at [`run`].

use crate::Bench;
use crate::measure::{self, Cost};
use crate::product::Instance;
use crate::report::{Figure, Wanted};
use headwater_testkit::{Error, PASSWORD, Postgres, PostgresRelease, Result, USER};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const NAME: &str = "postgres-backlog";
/// How long one run may take.
const LIMIT: Duration = Duration::from_secs(300);
/// The source's slot, the one that stays where the backlog begins, and the other reader's.
const SLOT: &str = "headwater_shop";
const ORIGIN: &str = "backlog_origin";
const COPY: &str = "backlog_copy";
const DATABASE: &str = "postgres";

const ORDERS: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, customer_id int, status varchar(20), total numeric(10,2), \
    note varchar(100), created_at timestamp(3));";

/// Measures both readers in turn.
pub fn run(bench: &mut Bench) -> Result {
    let rows = bench.pick(500_000, 50_000);
    let postgres = bench.postgres(PostgresRelease::V15, &["fsync=off"])?;
    postgres.try_exec(DATABASE, ORDERS)?;
    let config = format!(
        "sources:\n  shop:\n    postgres: {{ url: \"{}\", tables: [\"public.orders\"], snapshot: never, tls: {{ mode: disable }} }}\n",
        postgres.url(DATABASE)
    );
    let mut instance = Instance::new(&bench.binary, &config)?;
    instance.mark_start()?;
    postgres.try_exec(DATABASE, &format!("SELECT pg_copy_logical_replication_slot('{SLOT}', '{ORIGIN}')"))?;
    postgres.try_exec(DATABASE, &backlog(rows))?;
    let end = postgres.value(DATABASE, "SELECT pg_current_wal_insert_lsn()");
    let (mut ours, mut theirs, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.pick(5, 2) {
        copy_slot(&postgres, SLOT)?;
        let (cost, peak_mb) = read(&mut instance, rows)?;
        ours.push(cost);
        peaks.push(peak_mb);
        copy_slot(&postgres, COPY)?;
        theirs.push(copy_stream(&postgres, &end)?);
    }
    let what = |of: &str| format!("PostgreSQL 15: {rows} rows to the fsynced journal, {of}");
    let seconds = |costs: &[Cost], of: fn(&Cost) -> f64| costs.iter().map(of).collect::<Vec<f64>>();
    let wall = Figure::alone(
        NAME,
        what("wall time"),
        "s",
        seconds(&ours, |cost| cost.wall_s),
        Wanted::AtMostTimesPlus { factor: 1.05, plus: 0.0 },
    );
    bench.report.add(wall.against("pg_recvlogical to /dev/null", seconds(&theirs, |cost| cost.wall_s)));
    let cpu = Figure::alone(NAME, what("processor time"), "s", seconds(&ours, |cost| cost.cpu_s), Wanted::Told);
    bench.report.add(cpu.against("pg_recvlogical to /dev/null", seconds(&theirs, |cost| cost.cpu_s)));
    bench.memory(NAME, &format!("PostgreSQL 15, {rows} rows"), peaks);
    Ok(())
}

/// The load, made by the server itself: transactions of 100 rows.
fn backlog(rows: u64) -> String {
    format!(
        "DO $$ BEGIN FOR part IN 0..{} LOOP INSERT INTO orders SELECT n, n * 37 % 5000, (ARRAY['new','paid','shipped'])[1 + n % 3], \
         (n * 13 % 90000) / 100.0, 'please leave it at the door of number ' || n, timestamp '2026-01-01' + n * interval '7.123 s' \
         FROM generate_series(part * 100::bigint, part * 100::bigint + 99) n; COMMIT; END LOOP; END $$",
        rows / 100 - 1
    )
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
