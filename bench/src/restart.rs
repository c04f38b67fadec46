//! From `kill -9` to live again, with a large journal and a large transaction that was arriving.
//!
//! Invariant: the kill comes while the transaction's side segment is on disk almost whole and its commit is not; the
//! clock runs from the start of the new process to the first `/ready` that says yes. Start at [`run`].

use crate::Bench;
use crate::load::{BALLAST, ORDERS, WIDE, ballast, seed, wide};
use crate::measure::folder_bytes;
use crate::product::{Instance, source};
use crate::report::{Figure, Wanted};
use headwater_testkit::{Error, Flavor, Result, http_get};
use std::time::{Duration, Instant};

const NAME: &str = "restart";
const LIMIT: Duration = Duration::from_secs(600);
/// Between two looks at `/ready`.
const LOOK: Duration = Duration::from_millis(1);
/// How much of the transaction must lie on disk when the process is killed.
const UNFINISHED: f64 = 0.8;

/// Makes the journal, then kills and starts again.
pub fn run(bench: &mut Bench) -> Result {
    let size = bench.pick(5_000_000_000, 300_000_000);
    let unfinished = bench.pick(1_000_000_000, 200_000_000);
    let database = bench.database(Flavor::MySql, &["--max-binlog-size=1G", "--innodb-buffer-pool-size=256M"])?;
    database.try_exec(&format!("{ORDERS}{WIDE}{BALLAST}"))?;
    seed(&database)?;
    let mut instance = Instance::new(&bench.binary, &source(&database, "shop.*", ", snapshot: never"))?;
    instance.headwater.start()?;
    ballast(&database, size)?;
    instance.headwater.run_ok(&["wait", "--timeout", "600s"])?;
    let rows = instance.durable();
    instance.stop()?;
    wide(&database, unfinished)?;
    let data = instance.headwater.data_dir();
    // Large transactions that are committed stay in their side segments; what counts is what comes on top.
    let before = folder_bytes(&data, Some("side"));
    let (mut took_ms, mut peaks, mut left_mb) = (Vec::new(), Vec::new(), Vec::new());
    instance.headwater.launch()?;
    for _ in 0..bench.pick(3, 1) {
        let wanted = before + (unfinished as f64 * UNFINISHED) as u64;
        instance.wait(LIMIT, "the transaction to arrive", |_| folder_bytes(&data, Some("side")) >= wanted)?;
        let durable = instance.durable();
        instance.headwater.kill9();
        if durable > rows {
            return Err(Error::new("the transaction was committed before the kill; make it larger"));
        }
        left_mb.push((folder_bytes(&data, Some("side")) - before) as f64 / 1e6);
        let began = Instant::now();
        instance.headwater.launch()?;
        let port = instance.headwater.http_port();
        while !http_get(port, "/ready").is_ok_and(|(status, _)| status == 200) {
            if began.elapsed() > LIMIT {
                return Err(Error::new(format!("headwater is not live again: {}", instance.status())));
            }
            std::thread::sleep(LOOK);
        }
        took_ms.push(began.elapsed().as_secs_f64() * 1e3);
        peaks.push(instance.memory_peak_mb());
    }
    let journal_mb = folder_bytes(&instance.headwater.data_dir(), None) >> 20;
    let left = left_mb.iter().map(|mb| format!("{mb:.0}")).collect::<Vec<_>>().join(", ");
    bench.report.note(format!("`restart`: data folder of {journal_mb} MiB; unfinished at the kills: {left} MB"));
    bench.report.add(Figure::alone(NAME, "kill -9 to live again", "ms", took_ms, Wanted::AtMost(1_000.0)));
    bench.memory(NAME, "recovery", peaks);
    Ok(())
}
