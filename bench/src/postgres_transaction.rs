//! One transaction of a gigabyte that PostgreSQL sends while it is in progress, committed and rolled back: it must not be
//! held in memory, be seen whole once it is committed, and leave nothing behind once it is rolled back.
//!
//! Invariant: COMMIT and ROLLBACK are said only when most of it has arrived and none of it is visible; the memory is what
//! the kernel saw, at its highest, from the process's start to the end of the case. Start at [`run`].

use crate::Bench;
use crate::measure::{folder_bytes, unnamed_bytes};
use crate::postgres::{DATABASE, ORDERS, source};
use crate::product::Instance;
use crate::report::{Figure, Wanted};
use headwater_testkit::{Error, Postgres, PostgresRelease, Result};
use std::time::{Duration, Instant};

const NAME: &str = "postgres-transaction";
const LIMIT: Duration = Duration::from_secs(600);
/// Bytes of one wide row.
const WIDE_BYTES: u64 = 10_000;
/// Rows from which the transaction is copied.
const SEED_ROWS: u64 = 500;
/// How much of the transaction must have arrived before it ends. The server keeps its last part until then.
const ARRIVED: f64 = 0.8;
/// What may be left on disk of a transaction that was rolled back: the entries of the row that is committed after it.
const LEFT_MAX_MB: f64 = 1.0;

/// Random text, stored as it is and beside the row, as texts of this size are.
const WIDE: &str = "CREATE TABLE shop.wide (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text); \
    ALTER TABLE shop.wide ALTER body SET STORAGE EXTERNAL;";

/// How the transaction ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    Rollback,
}

/// What one case took.
struct Took {
    seconds: f64,
    peak_mb: f64,
    left_mb: f64,
}

/// Measures both ends in turn.
pub fn run(bench: &mut Bench) -> Result {
    let bytes = bench.pick(1_000_000_000, 200_000_000);
    let postgres = bench.postgres(PostgresRelease::V15, &[])?;
    postgres.try_exec(DATABASE, &format!("{ORDERS}{WIDE}{}", seed()))?;
    let mut instance = Instance::new(&bench.binary, &source(&postgres, "shop.wide"))?;
    let (mut committed, mut rolled_back) = (Vec::new(), Vec::new());
    for _ in 0..bench.pick(2, 1) {
        committed.push(take(&mut instance, &postgres, bytes, End::Commit)?);
        rolled_back.push(take(&mut instance, &postgres, bytes, End::Rollback)?);
    }
    let of = |took: &[Took], part: fn(&Took) -> f64| took.iter().map(part).collect::<Vec<f64>>();
    let size = bytes / 1_000_000;
    let what = format!("{size} MB that arrived in progress: from COMMIT to the fsynced journal");
    let rates = committed.iter().map(|took| bytes as f64 / 1e6 / took.seconds).collect();
    bench.report.add(Figure::alone(NAME, what, "MB/s", rates, Wanted::Told));
    bench.memory(NAME, &format!("{size} MB in progress, committed"), of(&committed, |took| took.peak_mb));
    let what = format!("{size} MB that arrived in progress: left on disk after ROLLBACK");
    let left = of(&rolled_back, |took| took.left_mb);
    bench.report.add(Figure::alone(NAME, what, "MB", left, Wanted::AtMost(LEFT_MAX_MB)));
    bench.memory(NAME, &format!("{size} MB in progress, rolled back"), of(&rolled_back, |took| took.peak_mb));
    Ok(())
}

/// Runs one transaction against a new process.
fn take(instance: &mut Instance, postgres: &Postgres, bytes: u64, end: End) -> Result<Took> {
    instance.headwater.start()?;
    let data = instance.headwater.data_dir();
    let (before, before_bytes) = (instance.durable(), folder_bytes(&data, None));
    let pid = instance.headwater.pid().ok_or_else(|| Error::new("headwater is not running"))?;
    let mut session = postgres.session(DATABASE)?;
    let rows = bytes / (WIDE_BYTES * SEED_ROWS) * SEED_ROWS;
    session.exec("BEGIN")?;
    session.exec(&format!(
        "INSERT INTO shop.wide (body) SELECT body FROM shop.seed, generate_series(1, {})",
        rows / SEED_ROWS
    ))?;
    let arrived = (bytes as f64 * ARRIVED) as u64;
    instance.wait(LIMIT, "the transaction to arrive", |_| unnamed_bytes(pid) >= arrived)?;
    if instance.durable() != before {
        return Err(Error::new("some of the transaction is visible before its end"));
    }
    let began = Instant::now();
    let visible = match end {
        End::Commit => {
            session.exec("COMMIT")?;
            rows
        }
        End::Rollback => {
            session.exec("ROLLBACK")?;
            instance.wait(LIMIT, "the rolled back transaction to be gone", |_| unnamed_bytes(pid) == 0)?;
            // The row after it shows that it was passed.
            postgres.try_exec(DATABASE, "INSERT INTO shop.wide (body) VALUES ('after')")?;
            1
        }
    };
    instance.wait(LIMIT, "what was committed", |instance| instance.durable() >= before + visible)?;
    let seconds = began.elapsed().as_secs_f64();
    let seen = instance.durable() - before;
    if seen != visible {
        return Err(Error::new(format!("{visible} rows were committed, and the journal holds {seen} changes")));
    }
    instance.wait(LIMIT, "what was kept to be given back", |_| unnamed_bytes(pid) == 0)?;
    let left_mb = folder_bytes(&data, None).saturating_sub(before_bytes) as f64 / 1e6;
    let peak_mb = instance.memory_peak_mb();
    instance.stop()?;
    Ok(Took { seconds, peak_mb, left_mb })
}

/// Makes what the transaction copies, in no log.
fn seed() -> String {
    let random = format!("substr(string_agg(md5(random()::text || n), ''), 1, {WIDE_BYTES})");
    format!(
        "CREATE UNLOGGED TABLE shop.seed AS SELECT {random} AS body FROM generate_series(1, {SEED_ROWS}) s, \
         generate_series(1, {}) n GROUP BY s;",
        WIDE_BYTES / 32 + 1
    )
}
