//! One transaction of a gigabyte: it must not be held in memory, whatever its size.
//!
//! Invariant: the memory is what the kernel saw, at its highest, from the process's start to the last durable row. Start
//! at [`run`].

use crate::Bench;
use crate::load::{ORDERS, WIDE, seed, wide};
use crate::product::{Instance, source};
use crate::report::{Figure, Wanted};
use headwater_testkit::{Flavor, Result};
use std::time::{Duration, Instant};

const NAME: &str = "transaction";
const LIMIT: Duration = Duration::from_secs(600);

/// Commits the transaction while Headwater is down, then lets it read.
pub fn run(bench: &mut Bench) -> Result {
    for flavor in [Flavor::MySql, Flavor::MariaDb10] {
        let bytes = bench.pick(1_000_000_000, 100_000_000);
        let database = bench.database(flavor, &["--max-binlog-size=1G", "--innodb-buffer-pool-size=256M"])?;
        database.try_exec(&format!("{ORDERS}{WIDE}"))?;
        seed(&database)?;
        let mut instance = Instance::new(&bench.binary, &source(&database, "shop.wide", ", snapshot: never"))?;
        instance.mark_start()?;
        let rows = wide(&database, bytes)?;
        let (mut rates, mut peaks) = (Vec::new(), Vec::new());
        for _ in 0..bench.pick(2, 1) {
            instance.go_back()?;
            let began = Instant::now();
            instance.headwater.launch()?;
            instance.wait(LIMIT, "the transaction to be durable", |instance| instance.durable() >= rows)?;
            rates.push(bytes as f64 / 1e6 / began.elapsed().as_secs_f64());
            peaks.push(instance.memory_peak_mb());
        }
        let what = format!("{flavor}: one transaction of {} MB to the fsynced journal", bytes / 1_000_000);
        bench.report.add(Figure::alone(NAME, what.as_str(), "MB/s", rates, Wanted::Told));
        bench.memory(NAME, &what, peaks);
    }
    Ok(())
}
