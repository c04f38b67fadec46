//! A database, Headwater behind it, and the records of its topics as `headwater topics dump` prints them.
//!
//! Invariant: a value is kept as the very text that was printed, so that two that compare equal are equal to the last
//! digit. Start at [`Capture`].

use crate::world::{BINARY, LIMIT};
use headwater_testkit::{Database, Flavor, Headwater, flavors, wait_until};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The name of the source.
const SOURCE: &str = "db";

/// A database whose tables are captured.
pub struct Capture {
    /// The source.
    pub database: Database,
    /// The binary.
    pub headwater: Headwater,
}

/// One record of a topic; a tombstone has no operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// c, u, d or r; `-` for a tombstone.
    pub op: String,
    /// The key's text.
    pub key: String,
    /// The row before, by column, each value as its JSON text.
    pub before: Option<BTreeMap<String, String>>,
    /// The row after.
    pub after: Option<BTreeMap<String, String>>,
    /// `source.gtid`, `source.query` and the like.
    pub source: BTreeMap<String, String>,
}

impl Record {
    /// The value of a column after the change.
    pub fn after(&self, column: &str) -> Option<&str> {
        self.after.as_ref()?.get(column).map(String::as_str)
    }

    /// What must be the same whatever the log looked like: all but places and clocks.
    pub fn content(&self) -> String {
        format!("{} {} {:?} -> {:?}", self.op, self.key, self.before, self.after)
    }
}

/// Runs a test on every server, side by side.
pub fn on_every_server(test: impl Fn(Flavor) + Sync) {
    std::thread::scope(|scope| {
        for flavor in flavors() {
            scope.spawn({
                let test = &test;
                move || test(flavor)
            });
        }
    });
}

impl Capture {
    /// Starts a server, and prepares Headwater to capture `tables` of it. `source` is put into the source's options.
    pub fn of(flavor: Flavor, server: &[&str], tables: &str, source: &str) -> Capture {
        let database = Database::start(flavor, server).unwrap();
        let source = format!("tables: [{tables}]{source}");
        let headwater = Headwater::new(BINARY, &config(&database, &source)).unwrap();
        Capture { database, headwater }
    }

    /// Puts an instance that knows nothing in place of the one there was.
    pub fn begin_anew(&mut self, source: &str) {
        self.headwater = Headwater::new(BINARY, &config(&self.database, source)).unwrap();
    }

    /// Changes the options of the source, for the next start.
    pub fn reconfigure(&self, source: &str) {
        self.headwater.configure(&config(&self.database, source)).unwrap();
    }

    /// Waits until everything committed so far is in the journal.
    ///
    /// # Panics
    /// With what the source says when it has stopped, or does not get there.
    #[track_caller]
    pub fn catch_up(&self) {
        if let Err(error) = self.wait() {
            panic!("{:?}: {error}", self.database.flavor());
        }
    }

    /// As [`catch_up`](Self::catch_up), for what may fail.
    pub fn wait(&self) -> Result<(), String> {
        let mut last = String::new();
        let done = wait_until(LIMIT, "the journal to catch up", || {
            let waited = self.headwater.run(&["wait", "--timeout", "2s"]).unwrap();
            last = waited.stderr;
            waited.status == Some(0) || self.failure().is_some()
        });
        match self.failure() {
            Some(error) => Err(format!("the source has failed: {error}")),
            None => done.map_err(|error| format!("{error}: {last}\n{}", self.headwater.log())),
        }
    }

    /// Why the source has stopped, if it has.
    pub fn failure(&self) -> Option<String> {
        let source = self.status();
        (source["state"] == "failed").then(|| source["error"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the source has stopped with an error, and answers it.
    #[track_caller]
    pub fn stopped(&self) -> String {
        wait_until(LIMIT, "the source to stop", || self.failure().is_some())
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.status(), self.headwater.log()));
        self.failure().unwrap_or_default()
    }

    /// The source's status.
    pub fn status(&self) -> serde_json::Value {
        let (_, body) = self.headwater.get("/status").unwrap_or_default();
        let status: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        status["sources"][0].clone()
    }

    /// The records of `database.table`, in order; none when there is no such topic.
    pub fn records(&self, table: &str) -> Vec<Record> {
        let output = self.headwater.run(&["topics", "dump", &format!("{SOURCE}.{table}")]).unwrap();
        if output.stderr.contains("there is no topic") {
            return Vec::new();
        }
        assert_eq!(output.status, Some(0), "{table}: {}", output.stderr);
        output.stdout.lines().map(record).collect()
    }
}

fn config(database: &Database, source: &str) -> String {
    let kind = database.flavor().scheme();
    format!("sources:\n  {SOURCE}:\n    {kind}: {{ url: \"{}\", {source} }}\n", database.url())
}

#[derive(Deserialize)]
struct Line {
    key: Option<Box<RawValue>>,
    value: Option<Envelope>,
}

type Image = BTreeMap<String, Box<RawValue>>;

#[derive(Deserialize)]
struct Envelope {
    op: String,
    before: Option<Image>,
    after: Option<Image>,
    source: Image,
}

fn record(line: &str) -> Record {
    let line: Line = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let texts = |image: Image| image.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect();
    let key = line.key.map_or_else(|| "null".to_owned(), |key| key.get().to_owned());
    match line.value {
        None => Record { op: "-".into(), key, before: None, after: None, source: BTreeMap::new() },
        Some(value) => Record {
            op: value.op,
            key,
            before: value.before.map(texts),
            after: value.after.map(texts),
            source: texts(value.source),
        },
    }
}
