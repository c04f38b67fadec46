//! The scenarios under `tests/golden`, through the product, against real servers: what Debezium wrote is what we write.
//!
//! Each test runs all scenarios of one server side by side on a few servers of its own, prints how many records of each are
//! equal, and fails where one differs, but for those in `apart.rs`. `HEADWATER_GOLDEN=text` runs only the scenarios whose name
//! contains the text; `HEADWATER_GOLDEN_OUT=FOLDER` keeps each scenario's records and differences there,
//! `HEADWATER_GOLDEN_TABLES=1` the tables of those without schemas beside the captures. Invariant: a server has no database of
//! another scenario while one runs. Start at [`run_all`].

mod apart;
mod lane;
mod replay;
mod tables;

use headwater_testkit::golden::{self, Counts, Record, Report, Scenario, Waiver};
use headwater_testkit::{Flavor, PostgresRelease, Result, postgres_releases, say};
use lane::{Lane, Server};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

/// Scenarios of one server that run at the same time, each on a server of its own.
const LANES: usize = 2;
/// Differences of one scenario that a failed test shows.
const SHOWN_MAX: usize = 5;
/// Of all records at most so many are waived, per thousand.
const WAIVED_PER_MILLE_MAX: usize = 10;

/// How a scenario ended: compared, or why it could not be.
type Outcome = std::result::Result<Report, String>;

#[test]
fn mysql_writes_what_debezium_writes() {
    run_all("mysql", Server::Database(Flavor::MySql));
}

#[test]
fn mariadb_writes_what_debezium_writes() {
    run_all("mariadb", Server::Database(Flavor::MariaDb10));
}

#[test]
fn postgresql_15_writes_what_debezium_writes() {
    postgresql(PostgresRelease::V15);
}

#[test]
fn postgresql_18_writes_what_debezium_writes() {
    postgresql(PostgresRelease::V18);
}

fn postgresql(release: PostgresRelease) {
    if postgres_releases().contains(&release) {
        run_all("postgresql", Server::Postgres(release));
    }
}

/// Runs the scenarios of `kind` on `server`.
fn run_all(kind: &str, server: Server) {
    let wanted = std::env::var("HEADWATER_GOLDEN").ok();
    let mut scenarios = golden::scenarios(&golden::folder(), kind).unwrap();
    scenarios.retain(|scenario| {
        let why = apart::reason(kind, server, &scenario.name);
        why.inspect(|why| say(&format!("skipped: {kind}/{} on {server}: {why}", scenario.name)));
        why.is_none() && wanted.as_ref().is_none_or(|text| scenario.name.contains(text.as_str()))
    });
    let waivers = waivers().unwrap();
    let outcomes = side_by_side(&scenarios, server, &waivers);
    let sum = print_table(&format!("{kind} ({server})"), &outcomes);
    // Of a few scenarios that somebody asks for, one record may be many.
    if wanted.is_none_or(|text| text.is_empty()) {
        let all = sum.equal + sum.different + sum.waived;
        assert!(sum.waived * 1_000 <= all * WAIVED_PER_MILLE_MAX, "{} of {all} records are waived", sum.waived);
    }
    let mut faults = Vec::new();
    for (name, outcome) in &outcomes {
        match outcome {
            Ok(report) if report.is_equal() => {}
            Ok(report) => {
                let shown = report.differences.iter().take(SHOWN_MAX).map(ToString::to_string).collect::<Vec<_>>();
                faults.push(format!("{kind}/{name}: {}\n{}", report.counts, shown.join("\n")));
            }
            Err(why) => faults.push(format!("{kind}/{name}: {why}")),
        }
    }
    assert!(faults.is_empty(), "on {server}:\n{}", faults.join("\n\n"));
}

fn side_by_side(scenarios: &[Scenario], server: Server, waivers: &[Waiver]) -> BTreeMap<String, Outcome> {
    let queue = Mutex::new(scenarios.iter());
    let outcomes = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..LANES.min(scenarios.len()) {
            scope.spawn(|| {
                let mut lane = Lane::new(server);
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some(scenario) = next else { return };
                    let outcome = one(&mut lane, scenario, waivers).map_err(|error| error.to_string());
                    outcomes.lock().unwrap().insert(scenario.name.clone(), outcome);
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

fn one(lane: &mut Lane, scenario: &Scenario, waivers: &[Waiver]) -> Result<Report> {
    let got = replay::replay(lane, scenario)?;
    let report = golden::compare(scenario, &got, waivers)?;
    keep(scenario, &got, &report)?;
    Ok(report)
}

/// Keeps what was written, for whoever looks for the reason of a difference.
fn keep(scenario: &Scenario, got: &[Record], report: &Report) -> Result {
    let Some(folder) = std::env::var_os("HEADWATER_GOLDEN_OUT") else { return Ok(()) };
    let folder = PathBuf::from(folder).join(&scenario.kind);
    let records: String = got.iter().map(|record| record.to_line() + "\n").collect();
    let differences: String = report.differences.iter().map(|difference| format!("{difference}\n")).collect();
    let write = |ending: &str, text: &str| std::fs::write(folder.join(format!("{}.{ending}", scenario.name)), text);
    let written = std::fs::create_dir_all(&folder).and_then(|()| write("jsonl", &records));
    let written = written.and_then(|()| write("txt", &(differences + &report.counts.to_string() + "\n")));
    written.map_err(|error| headwater_testkit::Error::new(format!("write below {}: {error}", folder.display())))
}

fn waivers() -> Result<Vec<Waiver>> {
    let path = golden::folder().join("waivers.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| "[]".to_owned());
    serde_json::from_str(&text)
        .map_err(|error| headwater_testkit::Error::new(format!("read {}: {error}", path.display())))
}

/// Prints what became of each scenario, and answers the sum.
fn print_table(title: &str, outcomes: &BTreeMap<String, Outcome>) -> Counts {
    let mut table = format!("{title}: scenario, equal, different (with missing and extra ones), waived\n");
    let mut sum = Counts::default();
    for (name, outcome) in outcomes {
        match outcome {
            Ok(Report { counts, .. }) => {
                let different = counts.different + counts.missing + counts.extra;
                table.push_str(&format!("  {name:<40} {:>6} {different:>6} {:>6}\n", counts.equal, counts.waived));
                sum.equal += counts.equal;
                sum.different += different;
                sum.waived += counts.waived;
            }
            Err(why) => table.push_str(&format!("  {name:<40} not compared: {}\n", why.lines().next().unwrap_or("?"))),
        }
    }
    table.push_str(&format!("  {:<40} {:>6} {:>6} {:>6}", "all", sum.equal, sum.different, sum.waived));
    say(&table);
    sum
}
