//! A sink that starts before a full journal, beside the same commands sent prebuilt over one connection.
//!
//! The bytes are recorded once, with a proxy between Headwater and Redis; the runs that count go straight. Ours is
//! clocked from the start of the process, so reading the journal, connecting and starting count against it.
//! Invariant: Redis is emptied before every run. Start at [`run`].

use crate::Bench;
use crate::load::{ORDERS, backlog};
use crate::product::{Instance, source};
use crate::recorder::{Recorder, replay};
use crate::report::{Figure, Wanted};
use headwater_testkit::{Flavor, Redis, Result};
use std::time::{Duration, Instant};

const NAME: &str = "redis-catchup";
const LIMIT: Duration = Duration::from_secs(300);

/// The writes that are measured.
const WRITES: [(&str, &str); 2] =
    [("json", "{ json: \"order:{id}\" }"), ("set", "{ set: \"customer_orders:{customer_id}\", member: \"{id}\" }")];

/// Fills a journal once, and empties it into Redis again and again.
pub fn run(bench: &mut Bench) -> Result {
    let rows = bench.pick(500_000, 50_000);
    let database = bench.database(Flavor::MySql, &[])?;
    database.try_exec(ORDERS)?;
    let redis = bench.redis()?;
    let source = source(&database, "shop.*", ", snapshot: never");
    let mut instance = Instance::new(&bench.binary, &source)?;
    instance.mark_start()?;
    backlog(&database, 0, rows)?;
    instance.headwater.start()?;
    instance.wait(LIMIT, "the journal to be full", |instance| instance.durable() >= rows)?;
    instance.stop()?;
    for (name, write) in WRITES {
        let config = |port: u16| {
            format!(
                "{source}sinks:\n  cache:\n    redis: {{ url: \"redis://127.0.0.1:{port}\" }}\n    from: earliest\n    \
                 follow:\n      shop.orders:\n        - {write}\n"
            )
        };
        let recorder = Recorder::start(redis.port())?;
        instance.headwater.configure(&config(recorder.port()))?;
        fill(&mut instance, &redis, rows)?;
        let bytes = recorder.busiest();
        instance.headwater.configure(&config(redis.port()))?;
        let (mut ours, mut prebuilt, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..bench.pick(5, 2) {
            let (took, peak_mb) = fill(&mut instance, &redis, rows)?;
            ours.push(rows as f64 / took.as_secs_f64());
            peaks.push(peak_mb);
            redis.try_call(&["FLUSHALL"])?;
            prebuilt.push(rows as f64 / replay(redis.port(), &bytes)?.as_secs_f64());
        }
        let what = format!("{rows} rows of journal into Redis as `{name}`, {} MB of commands", bytes.len() >> 20);
        let figure = Figure::alone(NAME, what, "rows/s", ours, Wanted::RatioAtLeast(0.7));
        bench.report.add(figure.against("the same bytes prebuilt", prebuilt));
        bench.memory(NAME, name, peaks);
    }
    Ok(())
}

/// Empties Redis and lets a new process fill it; how long that took and the most memory it held.
fn fill(instance: &mut Instance, redis: &Redis, rows: u64) -> Result<(Duration, f64)> {
    redis.try_call(&["FLUSHALL"])?;
    let began = Instant::now();
    instance.headwater.launch()?;
    instance.wait(LIMIT, "Redis to hold everything", |instance| instance.applied(0) >= rows)?;
    let took = began.elapsed();
    let peak_mb = instance.memory_peak_mb();
    instance.headwater.kill9();
    Ok((took, peak_mb))
}
