//! The first snapshot of a table of 2,000,000 rows into the journal, beside the server's own client that selects it all.
//!
//! Invariant: both clocks run from the start of a process; ours ends when the last row is durable. Start at [`run`].

use crate::Bench;
use crate::load::{ORDERS, table};
use crate::measure;
use crate::product::{Instance, source};
use crate::report::{Figure, Wanted};
use headwater_testkit::{Database, Flavor, PASSWORD, Result, USER};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const NAME: &str = "snapshot";
const LIMIT: Duration = Duration::from_secs(600);

/// Measures MariaDB, whose client sets the limit, and MySQL with its own client.
pub fn run(bench: &mut Bench) -> Result {
    for flavor in [Flavor::MariaDb10, Flavor::MySql] {
        measure_server(bench, flavor)?;
    }
    Ok(())
}

fn measure_server(bench: &mut Bench, flavor: Flavor) -> Result {
    let rows = bench.pick(2_000_000, 200_000);
    // Large enough to hold the table: what is measured is reading it, not the disk below it.
    let database = bench.database(flavor, &["--innodb-buffer-pool-size=768M"])?;
    database.try_exec(ORDERS)?;
    table(&database, rows)?;
    let client = if flavor.is_mariadb() { "mariadb" } else { "mysql" };
    let (mut ours, mut select, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.pick(3, 2) {
        let mut instance = Instance::new(&bench.binary, &source(&database, "shop.*", ", snapshot: initial"))?;
        let began = Instant::now();
        instance.headwater.launch()?;
        instance.wait(LIMIT, "the snapshot to be durable", |instance| instance.durable() >= rows)?;
        ours.push(rows as f64 / began.elapsed().as_secs_f64());
        peaks.push(instance.memory_peak_mb());
        drop(instance);
        select.push(rows as f64 / select_all(&database, client)?.wall_s);
    }
    let figure = Figure::alone(
        NAME,
        format!("{flavor}: {rows} rows of a table to the fsynced journal"),
        "rows/s",
        ours,
        if flavor.is_mariadb() { Wanted::RatioAtLeast(0.7) } else { Wanted::Told },
    );
    bench.report.add(figure.against(&format!("{client} --quick, SELECT *"), select));
    bench.memory(NAME, &format!("{flavor}, {rows} rows"), peaks);
    Ok(())
}

fn select_all(database: &Database, client: &str) -> Result<measure::Cost> {
    let mut command = Command::new(database.tool(client)?);
    command.args(["--no-defaults", "--quick", "--protocol=tcp", "--host=127.0.0.1"]);
    command.args([format!("--user={USER}"), format!("--password={PASSWORD}"), format!("--port={}", database.port())]);
    let mariadb = database.flavor().is_mariadb();
    command.args(if mariadb { &["--skip-ssl"][..] } else { &["--ssl-mode=DISABLED", "--get-server-public-key"] });
    command.args(["-e", "SELECT * FROM shop.orders"]);
    measure::run(command.stdout(Stdio::null()).stderr(Stdio::null()))
}
