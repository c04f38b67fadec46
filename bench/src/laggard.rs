//! A follower that is away for a load of 1,000,000 rows: the other one must not notice, and it must catch up.
//!
//! Invariant: the same load is run with and without it, in turn; its target's process is dead, not paused. Start at
//! [`run`].

use crate::Bench;
use crate::load::{ORDERS, backlog};
use crate::product::{Instance, source};
use crate::report::{Figure, Wanted};
use headwater_testkit::{Database, Error, Flavor, Redis, Result};
use std::time::{Duration, Instant};

const NAME: &str = "laggard";
const LIMIT: Duration = Duration::from_secs(600);
/// The load beside a follower that is away may take this much longer than alone: two runs differ by as much.
const SLOWER_MAX: f64 = 1.15;

/// Loads, and watches the follower that is there.
pub fn run(bench: &mut Bench) -> Result {
    let rows = bench.pick(1_000_000, 100_000);
    let database = bench.database(Flavor::MySql, &[])?;
    database.try_exec(ORDERS)?;
    let (there, mut away) = (bench.redis()?, bench.redis()?);
    let (mut beside, mut alone, mut rates, mut peaks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.pick(2, 1) {
        let first = round * 2 * rows;
        alone.push(load(bench, &database, &there, None, first, rows)?.0.as_secs_f64());
        away.kill9();
        let (took, mut instance) = load(bench, &database, &there, Some(&away), first + rows, rows)?;
        beside.push(took.as_secs_f64());
        let behind = instance.number("/sinks/1/lag_changes");
        if behind < rows {
            return Err(Error::new(format!("the follower that is away is behind by {behind} changes only")));
        }
        away.restart()?;
        let began = Instant::now();
        instance.wait(LIMIT, "the laggard to catch up", |instance| instance.applied(1) >= rows)?;
        rates.push(rows as f64 / began.elapsed().as_secs_f64());
        peaks.push(instance.memory_peak_mb());
        if away.try_call(&["EXISTS", &format!("order:{}", first + 2 * rows - 1)])?.int() != 1 {
            return Err(Error::new("the laggard says that it has caught up, and its last row is missing"));
        }
        away.try_call(&["FLUSHALL"])?;
    }
    let what = format!("{rows} rows committed and applied by one follower while the other is away");
    let figure = Figure::alone(NAME, what, "s", beside, Wanted::RatioAtMost(SLOWER_MAX));
    bench.report.add(figure.against("the same without the other", alone));
    bench.report.add(Figure::alone(
        NAME,
        "the laggard catches up, from its Redis' return",
        "rows/s",
        rates,
        Wanted::Told,
    ));
    bench.memory(NAME, "with a follower away", peaks);
    Ok(())
}

/// Loads rows `first..first + rows`; how long until `there` had them all.
fn load(
    bench: &Bench,
    database: &Database,
    there: &Redis,
    away: Option<&Redis>,
    first: u64,
    rows: u64,
) -> Result<(Duration, Instance)> {
    let sink = |name: &str, redis: &Redis| {
        format!(
            "  {name}:\n    redis: {{ url: \"{}\" }}\n    from: earliest\n    follow:\n      shop.orders:\n        \
             - {{ json: \"order:{{id}}\" }}\n",
            redis.url()
        )
    };
    there.try_call(&["FLUSHALL"])?;
    let sinks = sink("a_there", there) + &away.map(|away| sink("b_away", away)).unwrap_or_default();
    let config = format!("{}sinks:\n{sinks}", source(database, "shop.*", ", snapshot: never"));
    let mut instance = Instance::new(&bench.binary, &config)?;
    instance.headwater.launch()?;
    instance.wait(LIMIT, "the source to stream", |instance| instance.status()["sources"][0]["state"] == "streaming")?;
    let began = Instant::now();
    backlog(database, first, first + rows)?;
    instance.wait(LIMIT, "the follower that is there", |instance| instance.applied(0) >= rows)?;
    Ok((began.elapsed(), instance))
}
