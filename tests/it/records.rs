//! A database, Headwater behind it, and the records that the changes in its journal make.
//!
//! Invariant: values are the journal's own, as texts that keep every digit, so that two that compare equal are equal; what
//! topics show of them has as many records. Start at [`Capture`].

use crate::world::{BINARY, LIMIT};
use headwater_engine::SCHEMA_PREFIX;
use headwater_format::render;
use headwater_journal::{From, Item, read_folder};
use headwater_model::change::Changes;
use headwater_model::{Op, Row, Schema, TransactionView};
use headwater_testkit::{Database, Flavor, Headwater, flavors, wait_until};
use std::collections::{BTreeMap, HashMap};

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
    /// The statement's text, where it is kept.
    pub statement: Option<String>,
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

    /// The records that the changes of `database.table` make, in order, with the values as the journal has them: exact,
    /// whatever form topics show them in.
    pub fn records(&self, table: &str) -> Vec<Record> {
        let mut records = Vec::new();
        let folder = self.headwater.data_dir().join("journal").join(SOURCE);
        let mut reader = read_folder(&folder, From::Earliest).unwrap();
        let mut schemas = HashMap::new();
        for (key, value) in reader.heads().range(SCHEMA_PREFIX.as_bytes()) {
            learn(&mut schemas, key, Some(value));
        }
        while let Some(item) = reader.next().unwrap() {
            let frame = match &item {
                Item::Frame(frame) => frame,
                Item::Part(part) => &part.frame,
            };
            frame.heads().for_each(|head| learn(&mut schemas, head.key, head.value));
            match &item {
                Item::Frame(frame) => frame.transactions().for_each(|transaction| {
                    let view = TransactionView::decode(transaction.body).unwrap();
                    collect(view.changes(), &schemas, table, &mut records);
                }),
                Item::Part(part) => collect(Changes::new(part.body), &schemas, table, &mut records),
            }
        }
        let topic = format!("{SOURCE}.{table}");
        let dump = self.headwater.run(&["topics", "dump", &topic]).unwrap();
        if !records.is_empty() || !dump.stderr.contains("there is no topic") {
            assert_eq!(dump.status, Some(0), "{table}: {}", dump.stderr);
            assert_eq!(dump.stdout.lines().count(), records.len(), "{topic} shows as many records");
        }
        records
    }
}

fn config(database: &Database, source: &str) -> String {
    let kind = database.flavor().scheme();
    format!("sources:\n  {SOURCE}:\n    {kind}: {{ url: \"{}\", {source} }}\n", database.url())
}

fn learn(schemas: &mut HashMap<u32, Schema>, key: &[u8], value: Option<&[u8]>) {
    if let (true, Some(value)) = (key.starts_with(SCHEMA_PREFIX.as_bytes()), value) {
        let schema: Schema = serde_json::from_slice(value).unwrap();
        schemas.insert(schema.id, schema);
    }
}

fn collect(changes: Changes<'_>, schemas: &HashMap<u32, Schema>, table: &str, out: &mut Vec<Record>) {
    for change in changes {
        let change = change.unwrap();
        let Some(schema) = schemas.get(&change.schema).filter(|schema| schema.full_name() == table) else { continue };
        let change = change.told();
        let key = |row: Option<Row<'_>>| row.map_or_else(|| "null".to_owned(), |row| key(row, schema));
        let (before, after) = (key(change.before), key(change.after));
        let mut push = |op: &str, key: &str, before: Option<Row<'_>>, after: Option<Row<'_>>| {
            let [before, after] = [before, after].map(|row| row.map(|row| image(row, schema)));
            let statement = change.statement.map(str::to_owned);
            out.push(Record { op: op.to_owned(), key: key.to_owned(), before, after, statement });
        };
        match change.op {
            Op::Create | Op::Read => push(change.op.letter(), &after, None, change.after),
            Op::Update if before == after => push("u", &after, change.before, change.after),
            Op::Update | Op::Delete => {
                push("d", &before, change.before, None);
                push("-", &before, None, None);
                if change.op == Op::Update {
                    push("c", &after, None, change.after);
                }
            }
            Op::Truncate | Op::Message => {}
        }
    }
}

fn key(row: Row<'_>, schema: &Schema) -> String {
    let image = image(row, schema);
    let names = schema.key.iter().map(|column| &schema.columns[usize::from(*column)].name);
    let fields: Vec<String> = names.map(|name| format!("{name:?}:{}", image[name])).collect();
    if fields.is_empty() { "null".to_owned() } else { format!("{{{}}}", fields.join(",")) }
}

/// The values of a row as their JSON texts.
fn image(row: Row<'_>, schema: &Schema) -> BTreeMap<String, String> {
    let shown = row.values().zip(&schema.columns).map(|(value, column)| {
        let mut json = Vec::new();
        render::json(&mut json, value, &column.kind);
        (column.name.clone(), String::from_utf8(json).unwrap())
    });
    shown.collect()
}
