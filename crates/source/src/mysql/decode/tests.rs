//! Logs of real servers, event by event and row by row, against the texts beside them; and the same logs damaged.
//!
//! Invariant: the texts hold what the servers' SELECT gave for the same rows. `fixtures/README.md` says how the logs were
//! made; `UPDATE_EXPECT=1` writes the texts anew.

mod damage;
mod encoded;
mod show;

use super::*;
use expect_test::expect_file;
use headwater_model::{Schema, TransactionBuilder, Type};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

const MYSQL: &[u8] = include_bytes!("fixtures/mysql-9.7.binlog");
const MARIADB_10: &[u8] = include_bytes!("fixtures/mariadb-10.11.binlog");
const MARIADB_11: &[u8] = include_bytes!("fixtures/mariadb-11.8.binlog");

#[test]
fn a_mysql_log_holds_what_select_shows() {
    check(
        ServerFlavor::MySql,
        MYSQL,
        include_str!("fixtures/mysql-9.7.select.txt"),
        expect_file!["fixtures/mysql-9.7.txt"],
    );
}

#[test]
fn a_mariadb_10_log_holds_what_select_shows() {
    let select = include_str!("fixtures/mariadb-10.11.select.txt");
    check(ServerFlavor::MariaDb, MARIADB_10, select, expect_file!["fixtures/mariadb-10.11.txt"]);
}

#[test]
fn a_mariadb_11_log_holds_what_select_shows() {
    let select = include_str!("fixtures/mariadb-11.8.select.txt");
    check(ServerFlavor::MariaDb, MARIADB_11, select, expect_file!["fixtures/mariadb-11.8.txt"]);
}

/// Reads a log, plays its changes, and compares the tables with what the server's SELECT gave, and the events with the
/// text beside the log.
fn check(flavor: ServerFlavor, log: &[u8], select: &str, expected: expect_test::ExpectFile) {
    let mut reader = Reader::default();
    let mut decoder = Decoder::new(flavor);
    for raw in events(log) {
        let (header, event) = decoder.event(raw).unwrap();
        reader.event(&header, event);
    }
    expected.assert_eq(&reader.out);
    let table_rows = |(table, rows): (&String, &Vec<String>)| rows.iter().map(|row| format!("{table} {row}")).collect();
    let mut seen: Vec<String> = reader.tables.iter().flat_map(table_rows as fn(_) -> Vec<String>).collect();
    seen.sort();
    let mut wanted: Vec<_> = select.lines().collect();
    wanted.sort_unstable();
    for (seen, wanted) in seen.iter().zip(&wanted) {
        assert_eq!(seen, wanted);
    }
    assert_eq!(seen.len(), wanted.len());
}

/// The events of a log file, without their checksums being touched.
fn events(log: &[u8]) -> Vec<&[u8]> {
    let mut rest = &log[4..];
    let mut events = Vec::new();
    while let Some(header) = EventHeader::read(rest) {
        let (event, tail) = rest.split_at(header.length as usize);
        events.push(event);
        rest = tail;
    }
    events
}

#[derive(Default)]
struct Reader {
    out: String,
    /// Rows by table, as the changes leave them.
    tables: HashMap<String, Vec<String>>,
    plans: HashMap<u64, TablePlan>,
    charsets: Charsets,
}

impl Reader {
    fn event(&mut self, header: &EventHeader, event: Event<'_>) {
        let out = &mut self.out;
        match event {
            Event::Rows(rows) => self.rows(&rows),
            Event::TableMap(map) => {
                let schema = Arc::new(schema(&map, &self.charsets));
                let mut plan = TablePlan::new(&map, &schema, &self.charsets).unwrap();
                for (i, column) in schema.columns.iter().enumerate() {
                    if map.table == "inv2" && matches!(&*column.name, "g" | "s") {
                        plan.allow_absent(i);
                    }
                }
                self.plans.insert(map.table_id, plan);
            }
            Event::Query(query) => {
                let text = query.text(&self.charsets).unwrap();
                let cut = text.char_indices().nth(100).map_or(text.len(), |(at, _)| at);
                writeln!(out, "query {} error={} {}", query.database, query.error_code, &text[..cut]).unwrap();
                let names = text
                    .strip_prefix("DROP TABLE ")
                    .and_then(|rest| rest.split_once(" /*"))
                    .map_or("", |(names, _)| names);
                for name in names.split(',') {
                    self.tables.remove(&format!("{}.{}", query.database, name.trim_matches('`')));
                }
            }
            Event::Payload(mut payload) => {
                writeln!(out, "payload of {} bytes", payload.declared).unwrap();
                while let Some((header, event)) = payload.next_event().unwrap() {
                    self.event(&header, event);
                }
                writeln!(self.out, "payload ends").unwrap();
            }
            Event::Gtid(gtid) => {
                let (commit, length) = (gtid.immediate_commit_us, gtid.transaction_length);
                writeln!(out, "gtid {gtid} committed {commit} length {length} by {}", gtid.immediate_server_version)
                    .unwrap();
            }
            Event::MariaGtid(gtid) => {
                let (flags, thread) = (gtid.flags, gtid.thread);
                writeln!(out, "gtid {} flags {flags} xid {:?} thread {thread:?}", gtid.gtid, gtid.xid).unwrap();
            }
            Event::PreviousGtids(gtids) => writeln!(out, "previous gtids {gtids}").unwrap(),
            other => writeln!(out, "{} {other:?}", header.kind).unwrap(),
        }
    }

    fn rows(&mut self, rows: &RowsEvent<'_>) {
        let plan = self.plans.get_mut(&rows.table_id).unwrap();
        let mut builder = TransactionBuilder::default();
        let result = rows.transcode(plan, 4, &mut builder);
        let name = plan.schema().full_name();
        let rows = self.tables.entry(name.clone()).or_default();
        for change in headwater_model::change::Changes::new(builder.items()) {
            let change = change.unwrap();
            write!(self.out, "{} {name}", change.op.letter()).unwrap();
            if let Some(row) = change.before {
                let row = show::row(row, plan.schema());
                write!(self.out, " -{row}").unwrap();
                let place = rows.iter().position(|other| *other == row);
                place.map(|place| rows.remove(place));
            }
            if let Some(row) = change.after {
                let row = show::row(row, plan.schema());
                write!(self.out, " +{row}").unwrap();
                rows.push(row);
            }
            self.out.push('\n');
        }
        let keys: u32 = builder.tallies().iter().map(|tally| tally.key_changes).sum();
        if keys > 0 {
            writeln!(self.out, "  {keys} with another key").unwrap();
        }
        if let Err(error) = result {
            writeln!(self.out, "  {error}").unwrap();
        }
    }
}

/// The schema that the catalog would give: what the log says, and what only the DDL does.
fn schema(map: &TableMap<'_>, charsets: &Charsets) -> Schema {
    let mut schema = fuzz::guess_schema(map, charsets);
    for column in &mut schema.columns {
        column.kind = match (map.table, &*column.name) {
            ("addr" | "mixed2", "u") => Type::Uuid,
            ("addr" | "mixed2", "v6") => Type::Inet6,
            ("addr" | "mixed2", "v4") => Type::Inet4,
            ("vecs" | "mixed3", "v" | "w") => Type::Vector,
            ("jsons", "j") => Type::Json,
            _ => continue,
        };
    }
    schema
}
