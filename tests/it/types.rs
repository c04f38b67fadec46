//! Every type: the row that a snapshot reads, the row that the log holds, and what SELECT prints are one value.
//!
//! Invariant: what is expected is always the server's own answer, never a text written down here. Tables of cases are in
//! `types_cases.rs`; start at [`every_type_is_the_same_in_snapshot_stream_and_select`].

use crate::records::{Capture, Record, on_every_server};
use crate::types_cases::{Column, GROUPS, Group, Show};
use headwater_testkit::{Database, say};
use std::collections::BTreeMap;

/// Rows with these ids come by the stream.
const STREAMED: usize = 1_000;
/// And then get these, by an update.
const MOVED: usize = 2_000;

/// Lax, so that zero dates, impossible dates and unknown members can be stored, as they are in old databases.
const SESSION: &str = "set names utf8mb4; set sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'; use types;\n";

#[test]
fn every_type_is_the_same_in_snapshot_stream_and_select() {
    on_every_server(|flavor| {
        let mut capture = Capture::of(flavor, &["--character-set-server=utf8mb4"], "\"types.*\"", ", chunk_rows: 3");
        let database = &capture.database;
        database.exec("create database types character set utf8mb4");
        let groups: Vec<Table> = GROUPS.iter().filter_map(|group| Table::of(group, database)).collect();
        groups.iter().for_each(|table| table.create(database));
        groups.iter().for_each(|table| table.insert(database, 0));
        capture.headwater.start().unwrap();
        capture.catch_up();
        for table in &groups {
            table.insert(&capture.database, STREAMED);
            capture.database.exec(&format!("use types; update {} set id = id + 1000 where id > 1000", table.name));
        }
        capture.catch_up();
        let differences: Vec<String> = groups.iter().flat_map(|table| table.compare(&capture)).collect();
        assert!(differences.is_empty(), "{flavor:?}: {} differ\n{}", differences.len(), differences.join("\n"));
        let values: usize = groups.iter().map(|table| table.columns.len() * table.rows).sum();
        say(&format!(
            "{flavor:?}: {values} values of {} columns",
            groups.iter().map(|t| t.columns.len()).sum::<usize>()
        ));
    });
}

/// A group's columns that this server has.
struct Table {
    name: &'static str,
    columns: Vec<&'static Column>,
    rows: usize,
}

impl Table {
    fn of(group: &'static Group, database: &Database) -> Option<Table> {
        let flavor = database.flavor();
        let columns: Vec<&Column> = group.columns.iter().filter(|column| column.servers.include(flavor)).collect();
        let rows = columns.iter().map(|column| column.values.len()).max()?;
        Some(Table { name: group.name, columns, rows: rows + 1 })
    }

    fn create(&self, database: &Database) {
        let columns: Vec<String> =
            self.columns.iter().enumerate().map(|(place, column)| format!(", c{place} {}", column.kind)).collect();
        database.exec(&format!("{SESSION}create table {} (id int primary key{})", self.name, columns.concat()));
    }

    /// One row for each value, and NULL where a column has no more of them.
    fn insert(&self, database: &Database, first: usize) {
        let mut sql = SESSION.to_owned();
        for row in 0..self.rows {
            let given = self.columns.iter().enumerate().filter(|(_, column)| !column.kind.contains(" as ("));
            let (names, values): (Vec<String>, Vec<&str>) = given
                .map(|(place, column)| {
                    (format!(", c{place}"), column.values.get(row).copied().unwrap_or(column.rest()))
                })
                .map(|(name, value)| (name, if value.is_empty() { "null" } else { value }))
                .unzip();
            let (id, names, values) = (first + row + 1, names.concat(), values.join(", "));
            sql.push_str(&format!("insert into {} (id{names}) values ({id}, {values});\n", self.name));
        }
        database.exec(&sql);
    }

    /// What the server prints, by id and column.
    fn selected(&self, database: &Database) -> BTreeMap<usize, Vec<Option<String>>> {
        let columns: Vec<String> =
            self.columns.iter().enumerate().map(|(place, column)| column.show.sql(&format!("c{place}"))).collect();
        let rows = database.query(&format!("{SESSION}select id, {} from {}", columns.join(", "), self.name));
        rows.into_iter().map(|mut row| (row.remove(0).unwrap().parse().unwrap(), row)).collect()
    }

    fn compare(&self, capture: &Capture) -> Vec<String> {
        let selected = self.selected(&capture.database);
        let records = capture.records(&format!("types.{}", self.name));
        let images: BTreeMap<usize, &BTreeMap<String, String>> = records.iter().filter_map(image).collect();
        let mut differences = Vec::new();
        for row in 1..=self.rows {
            for (place, column) in self.columns.iter().enumerate() {
                let show = |id: usize| {
                    let text = images.get(&id).and_then(|image| image.get(&format!("c{place}")));
                    text.map_or_else(|| "no record".to_owned(), |text| column.show.normal(text))
                };
                let expected =
                    selected[&row][place].as_ref().map_or("null".to_owned(), |text| column.show.expected(text));
                let got = [row, STREAMED + row, MOVED + row].map(show);
                if got.iter().any(|got| *got != expected) {
                    differences.push(format!(
                        "{}: {} row {row} ({}): SELECT {}, snapshot {}, log {}, update {}",
                        self.name,
                        column.kind,
                        column.values.get(row - 1).unwrap_or(&"null"),
                        short(&expected),
                        short(&got[0]),
                        short(&got[1]),
                        short(&got[2]),
                    ));
                }
            }
        }
        differences
    }
}

fn short(text: &str) -> String {
    text.chars().take(120).collect()
}

/// The image of a row, under the id that tells how it came here: read, inserted, and after the update of its id. What the
/// deletion that stands for the update shows is checked against the insertion.
fn image(record: &Record) -> Option<(usize, &BTreeMap<String, String>)> {
    let image = record.after.as_ref()?;
    Some((image.get("id")?.parse().ok()?, image))
}

impl Show {
    /// How SELECT is to print the column.
    pub fn sql(self, column: &str) -> String {
        match self {
            Show::Plain | Show::Moment | Show::Instant | Show::Clock | Show::Json => column.to_owned(),
            Show::Number => format!("{column} + 0"),
            Show::Float | Show::Double => format!("cast({column} as double)"),
            Show::Text => format!("hex(convert({column} using utf8mb4))"),
            Show::Bytes => format!("replace(to_base64({column}), '\n', '')"),
            Show::Vector => format!("hex({column})"),
        }
    }

    /// What the server printed, in the form of [`Self::normal`].
    fn expected(self, text: &str) -> String {
        match self {
            Show::Float | Show::Double => format!("{:?}", text.parse::<f64>().unwrap()),
            Show::Clock => fraction(text),
            Show::Moment => fraction(&text.replace(' ', "T")),
            Show::Instant => format!("{}Z", fraction(&text.replace(' ', "T"))),
            _ => text.to_owned(),
        }
    }

    /// The JSON text of a value, in a form that can be compared.
    fn normal(self, json: &str) -> String {
        if json == "null" && self != Show::Json {
            return json.to_owned();
        }
        let text = || serde_json::from_str::<String>(json).unwrap_or_else(|_| format!("not a string: {json}"));
        match self {
            Show::Plain if json.starts_with('"') => text(),
            Show::Number => json.trim_matches('"').to_owned(),
            Show::Plain | Show::Json => json.to_owned(),
            // As many digits as tell it from its neighbours of 32 bits.
            Show::Float => format!("{:?}", f64::from(json.parse::<f32>().unwrap())),
            Show::Double => format!("{:?}", json.parse::<f64>().unwrap()),
            Show::Text => hex(text().as_bytes()),
            Show::Moment | Show::Instant | Show::Clock | Show::Bytes => text(),
            Show::Vector => {
                let floats: Vec<f32> = serde_json::from_str(json).unwrap_or_default();
                hex(&floats.iter().flat_map(|float| float.to_le_bytes()).collect::<Vec<_>>())
            }
        }
    }
}

/// With three digits of fraction at least.
fn fraction(text: &str) -> String {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{seconds}.{fraction:0<3}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
