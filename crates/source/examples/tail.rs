//! Prints what a source makes of a server's log: each transaction and its changes, as they come.
//!
//! `cargo run -p headwater-source --example tail -- 'mysql://user:password@host:3306' ['shop.*' …]`, or a `postgres://` URL.
//!
//! With `SETTINGS` as a JSON object the source has more than its URL and tables. With `COUNT=1` it only counts, and says each second how many changes came. Invariant: nothing is stored, so it begins at
//! the log's present end, or after the position in `FROM` that an earlier run printed.

use headwater_model::source::{Committed, HeldRows, Intake, SidePart, SourceReport, StateUpdate};
use headwater_model::{Change, Error, Result, Schema, TransactionBuilder, TransactionView};
use headwater_source::SOURCES;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or_else(|| Error::stop("usage: tail URL [TABLES…]"))?;
    let tables: Vec<String> = arguments.collect();
    let name = url.split("://").next().unwrap_or_default().replace("postgresql", "postgres");
    let kind = SOURCES.iter().find(|kind| kind.name() == name).ok_or_else(|| Error::stop("no such source"))?;
    let mut settings = serde_json::json!({ "url": url, "tables": tables, "snapshot": "never" });
    let more = std::env::var("SETTINGS").ok().and_then(|more| serde_json::from_str(&more).ok());
    let serde_json::Value::Object(more) = more.unwrap_or_else(|| serde_json::json!({})) else {
        return Err(Error::stop("SETTINGS is no JSON object"));
    };
    settings.as_object_mut().into_iter().for_each(|settings| settings.extend(more.clone()));
    if std::env::var_os("CHECK").is_some() {
        for finding in kind.check("tail", &settings).map_err(|error| Error::stop(error.to_string()))? {
            println!("{:?}: {}\n    {}", finding.severity, finding.what, finding.mend);
        }
        return Ok(());
    }
    let mut source = kind.build("tail", &settings).map_err(|error| Error::stop(error.to_string()))?;
    let mut intake = Printer {
        counts_only: std::env::var_os("COUNT").is_some(),
        until: std::env::var("UNTIL").ok().and_then(|until| until.parse().ok()),
        position: std::env::var("FROM").ok().map(|text| unhex(&text)),
        ..Printer::default()
    };
    let result = source.run(&mut intake);
    println!("position {}", hex(intake.position.as_deref().unwrap_or_default()));
    println!("{} transactions, {} changes", intake.transactions, intake.changes);
    result
}

/// An intake in memory that prints what it is given.
#[derive(Default)]
struct Printer {
    counts_only: bool,
    /// Ends after so many changes.
    until: Option<u64>,
    position: Option<Vec<u8>>,
    state: BTreeMap<String, Vec<u8>>,
    schemas: BTreeMap<u32, Schema>,
    sides: BTreeMap<String, Vec<u8>>,
    transactions: u64,
    changes: u64,
    begun: Option<Instant>,
    told: Option<Instant>,
    body: Vec<u8>,
}

impl Printer {
    fn take(&mut self, transaction: &Committed<'_>, side: &[u8]) {
        for StateUpdate { key, value } in transaction.state {
            match value {
                Some(value) => self.state.insert(key.clone(), value.clone()),
                None => self.state.remove(key),
            };
        }
        for schema in transaction.schemas {
            self.schemas.insert(schema.id, schema.clone());
        }
        if !transaction.position.is_empty() {
            self.position = Some(transaction.position.to_vec());
        }
        if side.is_empty() && transaction.changes.is_empty() {
            return;
        }
        self.transactions += 1;
        self.changes += u64::from(transaction.changes.changes());
        if self.counts_only {
            return self.tell();
        }
        self.body.clear();
        for part in [transaction.header, side, transaction.changes.items()] {
            self.body.extend_from_slice(part);
        }
        self.print();
    }

    fn print(&self) {
        let Ok(view) = TransactionView::decode(&self.body) else { return println!("damaged") };
        println!("{:?}", view.header);
        for change in view.changes() {
            let Ok(change) = change else { return println!("  damaged") };
            let Some(schema) = self.schemas.get(&change.schema) else { return println!("  schema {}?", change.schema) };
            let row = |row: Option<headwater_model::Row<'_>>| {
                row.map(|row| {
                    let columns = schema.columns.iter().zip(row.values());
                    columns.map(|(column, value)| format!("{}={value:?}", column.name)).collect::<Vec<_>>().join(" ")
                })
            };
            println!(
                "  {} {} #{} place {}:{}",
                change.op.letter(),
                schema.full_name(),
                schema.id,
                change.place,
                change.row
            );
            let statement = change.statement.map(str::to_owned);
            for (what, text) in [("by", statement), ("-", row(change.before)), ("+", row(change.after))] {
                text.inspect(|text| println!("    {what} {text}"));
            }
        }
    }

    fn tell(&mut self) {
        let now = Instant::now();
        let begun = *self.begun.get_or_insert(now);
        if self.told.is_none_or(|told| now - told >= Duration::from_secs(1)) {
            self.told = Some(now);
            println!("{} changes after {:?}", self.changes, now - begun);
        }
    }
}

impl Intake for Printer {
    fn position(&self) -> Option<Vec<u8>> {
        self.position.clone()
    }

    fn state(&self, key: &str) -> Option<Vec<u8>> {
        self.state.get(key).cloned()
    }

    fn state_keys(&self, prefix: &str) -> Vec<String> {
        self.state.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    fn schemas(&self) -> (Vec<Schema>, u32) {
        let next = self.schemas.keys().last().map_or(1, |last| last + 1);
        (self.schemas.values().cloned().collect(), next)
    }

    fn append(&mut self, transaction: &Committed<'_>) -> Result<()> {
        self.take(transaction, &[]);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn spill(&mut self, part: &SidePart<'_>, changes: &TransactionBuilder) -> Result<()> {
        self.changes += u64::from(changes.changes());
        let side = self.sides.entry(part.id.to_owned()).or_default();
        if !self.counts_only {
            side.extend_from_slice(changes.items());
        }
        Ok(())
    }

    fn append_side(&mut self, id: &str, transaction: &Committed<'_>) -> Result<()> {
        let side = self.sides.remove(id).ok_or_else(|| Error::stop(format!("no side segment {id}")))?;
        self.take(transaction, &side);
        Ok(())
    }

    fn abort_side(&mut self, id: &str) -> Result<()> {
        self.sides.remove(id);
        if !self.counts_only {
            println!("aborted {id}");
        }
        Ok(())
    }

    fn prepare_side(&mut self, id: &str, transaction: &Committed<'_>) -> Result<()> {
        self.spill(&SidePart { id }, transaction.changes)?;
        println!("prepared {id}");
        let changes = TransactionBuilder::default();
        self.append(&Committed { changes: &changes, ..*transaction })
    }

    fn sides(&self) -> Vec<String> {
        self.sides.keys().cloned().collect()
    }

    fn accepts_derived(&self) -> bool {
        true
    }

    fn next_sequence(&self) -> u64 {
        self.changes
    }

    fn changes_since(&mut self, _: u64, _: &mut dyn FnMut(&Change<'_>, &Schema) -> Result<()>) -> Result<()> {
        Ok(())
    }

    fn rows(&mut self, table: &str, _: u64) -> Result<Box<dyn HeldRows>> {
        Err(Error::stop(format!("the rows of {table} are not kept here")))
    }

    fn snapshot_request(&mut self) -> Option<Vec<String>> {
        None
    }

    fn has_snapshot_request(&self) -> bool {
        false
    }

    fn durable_position(&self) -> Option<Vec<u8>> {
        self.position.clone()
    }

    fn stopping(&self) -> bool {
        self.until.is_some_and(|until| self.changes >= until)
    }

    fn report(&mut self, report: SourceReport) {
        if !self.counts_only {
            println!("# {} {} {}", report.phase, report.server, report.position);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).filter_map(digit).collect()
}
