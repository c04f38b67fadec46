//! A backlog of `orders` in transactions of 100, from the server's log into the fsynced journal, beside the fastest reader
//! that was found (decoding to nothing) and beside the server's own tool (no decoding at all).
//!
//! Invariant: every clock runs from the start of a process, so that connecting counts for all of them. Start at [`run`].

use crate::Bench;
use crate::load::{ORDERS, backlog, log_end};
use crate::measure::{self, Cost};
use crate::product::{self, Instance, source};
use crate::report::{Figure, Wanted};
use headwater_testkit::{Database, Error, Flavor, PASSWORD, Result, TestFolder, USER};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long one run may take.
const LIMIT: Duration = Duration::from_secs(300);
const NAME: &str = "backlog";

/// Measures MySQL, and MariaDB beside it.
pub fn run(bench: &mut Bench) -> Result {
    let peer = product::peers(bench, NAME);
    for flavor in [Flavor::MySql, Flavor::MariaDb10] {
        // The crate knows MySQL's events alone.
        let peer = peer.as_deref().filter(|_| flavor == Flavor::MySql);
        measure_server(bench, flavor, peer)?;
    }
    Ok(())
}

/// One kind of reader's runs.
#[derive(Default)]
struct Runs(Vec<Cost>);

impl Runs {
    fn rows_per_s(&self, rows: u64) -> Vec<f64> {
        self.0.iter().map(|cost| rows as f64 / cost.wall_s).collect()
    }

    fn rows_per_cpu_s(&self, rows: u64) -> Vec<f64> {
        self.0.iter().map(|cost| rows as f64 / cost.cpu_s).collect()
    }
}

fn measure_server(bench: &mut Bench, flavor: Flavor, peer: Option<&Path>) -> Result {
    let rows = bench.pick(500_000, 50_000);
    let database = bench.database(flavor, &[])?;
    database.try_exec(ORDERS)?;
    let mut instance = Instance::new(&bench.binary, &source(&database, "shop.*", ", snapshot: never"))?;
    instance.mark_start()?;
    let (file, offset) = log_end(&database)?;
    backlog(&database, 0, rows)?;
    let (mut ours, mut theirs, mut raw, mut peaks) = (Runs::default(), Runs::default(), Runs::default(), Vec::new());
    for _ in 0..bench.pick(5, 2) {
        let (cost, peak_mb) = read(&mut instance, rows)?;
        ours.0.push(cost);
        peaks.push(peak_mb);
        if let Some(peer) = peer {
            let arguments = ["mysql".to_owned(), database.url(), file.clone(), offset.to_string(), rows.to_string()];
            theirs.0.push(measure::run(Command::new(peer).args(arguments))?);
        }
        raw.0.push(copy_log(&database, &file, offset)?);
    }
    let what = |of: &str| format!("{flavor}: {rows} rows to the fsynced journal, {of}");
    let figure = |of: &str, values| Figure::alone(NAME, what(of), of_unit(of), values, Wanted::Told);
    if peer.is_some() {
        let name = "mysql-binlog-connector-rust to nothing";
        for (of, mine, other) in [
            ("rows/s", ours.rows_per_s(rows), theirs.rows_per_s(rows)),
            ("rows per CPU s", ours.rows_per_cpu_s(rows), theirs.rows_per_cpu_s(rows)),
        ] {
            let wanted = Wanted::RatioAtLeast(1.0);
            bench.report.add(Figure { wanted, ..figure(of, mine) }.against(name, other));
        }
    }
    let tool = if flavor.is_mariadb() { "mariadb-binlog, raw" } else { "mysqlbinlog, raw" };
    // An aim and no bar: it copies bytes and looks at nothing.
    bench.report.add(figure("rows/s", ours.rows_per_s(rows)).against(tool, raw.rows_per_s(rows)));
    bench.report.add(figure("rows per CPU s", ours.rows_per_cpu_s(rows)).against(tool, raw.rows_per_cpu_s(rows)));
    bench.memory(NAME, &format!("{flavor}, {rows} rows"), peaks);
    Ok(())
}

fn of_unit(of: &str) -> &'static str {
    if of == "rows/s" { "rows/s" } else { "rows/CPU s" }
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
    if read != rows {
        return Err(Error::new(format!("{rows} rows were committed, and the journal holds {read} changes")));
    }
    Ok((cost, peak_mb))
}

/// Copies the server's log from there on, byte by byte, with the server's own tool.
fn copy_log(database: &Database, file: &str, offset: u64) -> Result<Cost> {
    let folder = TestFolder::new("raw-log")?;
    let mariadb = database.flavor().is_mariadb();
    let mut command = Command::new(database.tool(if mariadb { "mariadb-binlog" } else { "mysqlbinlog" })?);
    command.args(["--no-defaults", "--read-from-remote-server", "--raw", "--protocol=tcp", "--host=127.0.0.1"]);
    command.args([format!("--user={USER}"), format!("--password={PASSWORD}"), format!("--port={}", database.port())]);
    command.args(if mariadb { &["--skip-ssl"][..] } else { &["--ssl-mode=DISABLED", "--get-server-public-key"] });
    command.args([format!("--start-position={offset}"), format!("--result-file={}/", folder.path().display())]);
    measure::run(command.arg(file).stdout(Stdio::null()).stderr(Stdio::null()))
}
