//! The forms in which servers write their logs: whatever the form, the changes are the same.
//!
//! Invariant: the expected changes are those of a plain log, and what a plain log gives is held against the database in
//! the end. Start at [`FORMS`].

use crate::records::{Capture, Record, on_every_server};
use headwater_testkit::{Database, Flavor};
use std::collections::BTreeMap;

/// Everything that a log can hold, in one database; `DB` stands for its name.
const WORKLOAD: &str = r#"
create database DB character set utf8mb4; use DB;
create table item (id int primary key, name varchar(40) character set latin1, price decimal(12,4) unsigned, doc json,
  kind enum('a','b,c','größe'), flags set('x','y','z'), at datetime(6), big mediumtext, raw mediumblob, u bigint unsigned);
create table line (item int, no smallint unsigned, qty int, primary key (item, no));
create table loose (a int unsigned, b varchar(10) character set gbk, p point);
insert into item (id, name, price, doc, kind, flags, at, u) values
  (1, 'größe', 10.5, '{"a": 1, "b": [1, 2, {"c": "x"}], "long": "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"}', 'a', 'x,z', '2024-02-29 01:02:03.000004', 18446744073709551615),
  (2, 'two', null, '[]', 'größe', '', null, 0), (3, null, 0, null, 'b,c', 'y', '9999-12-31 23:59:59.999999', 1);
begin; insert into line values (1, 1, 5), (1, 2, 6), (2, 1, 7); update item set price = price + 0.0001 where id < 3;
  delete from line where item = 2; insert into loose values (1, '中文', ST_GeomFromText('POINT(1 2)')), (4294967295, null, null); commit;
update item set doc = json_set(doc, '$.a', 2, '$.new', 'é🛒') where id = 1;
update item set doc = json_remove(json_replace(doc, '$.b[2].c', json_array(1, null, 1.5)), '$.long'), name = 'x' where id = 1;
update item set doc = json_set(doc, '$.b[1]', 'longer than it was before') where id = 1;
update item set doc = json_array_insert(doc, '$[0]', 1) where id = 2;
update item set id = id + 100 where id in (1, 3);
update line set no = no + 10 order by no desc;
begin; insert into line values (7, 7, 7); savepoint s; insert into line values (8, 8, 8); rollback to s; insert into line values (9, 9, 9); commit;
begin; insert into line values (6, 6, 6); rollback;
insert into item (id, big, raw) values (50, repeat('größe 🛒', 30000), repeat(x'00ff', 50000));
update item set big = concat(big, 'end') where id = 50;
replace into line values (9, 9, 10), (10, 1, 1);
insert into line values (9, 9, 11), (10, 2, 2) on duplicate key update qty = values(qty);
insert ignore into line values (10, 2, 3), (10, 3, 3);
update loose set a = 2, b = '字' where a = 1; delete from loose where a > 5;
alter table line add note varchar(20) default 'none' after item, modify qty bigint;
insert into line (item, no, qty) values (11, 1, 9223372036854775807); update line set note = 'ü' where item = 10;
insert into line (item, no, qty) select 100 + n, n, n from (select row_number() over () as n from information_schema.columns limit 300) n;
delete from line where item > 150; delete from item where id = 2;
"#;

/// The tables of the workload.
const TABLES: [&str; 3] = ["item", "line", "loose"];

/// A form of the log.
struct Form {
    /// Names the database.
    name: &'static str,
    /// Run before.
    set: &'static str,
    /// Put in front of the workload, for settings of a session.
    session: &'static str,
    /// An event that must be in the log then; empty when the form has none of its own.
    event: &'static str,
}

const fn form(name: &'static str, set: &'static str, session: &'static str, event: &'static str) -> Form {
    Form { name, set, session, event }
}

const MYSQL: &[Form] = &[
    form("plain", "", "", "Write_rows"),
    form("compressed", "set global binlog_transaction_compression = on", "", "Transaction_payload"),
    form("minimal", "set global binlog_transaction_compression = off, binlog_row_metadata = minimal", "", ""),
    form("partial", "set global binlog_row_value_options = 'PARTIAL_JSON'", "", "Update_rows_partial"),
    form("partial_compressed", "set global binlog_transaction_compression = on, binlog_row_metadata = full", "", ""),
    form(
        "unchecked",
        "set global binlog_transaction_compression = off, binlog_row_value_options = '', binlog_checksum = none",
        "",
        "",
    ),
    form("statements", "set global binlog_checksum = crc32, binlog_rows_query_log_events = on", "", "Rows_query"),
    form("tagged", "", "set session gtid_next = 'AUTOMATIC:tag_1';", "Gtid"),
    form(
        "compressed_statements",
        "set global binlog_transaction_compression = on, binlog_transaction_compression_level_zstd = 20",
        "",
        "",
    ),
];

const MARIADB: &[Form] = &[
    form("plain", "", "", "Write_rows_v1"),
    form(
        "compressed",
        "set global log_bin_compress = on, log_bin_compress_min_len = 10",
        "",
        "Write_rows_compressed_v1",
    ),
    form("minimal", "set global log_bin_compress = off, binlog_row_metadata = minimal", "", ""),
    form("no_log", "set global binlog_row_metadata = no_log", "", ""),
    form("no_log_compressed", "set global log_bin_compress = on", "", "Query_compressed"),
    form("unchecked", "set global log_bin_compress = off, binlog_row_metadata = full, binlog_checksum = none", "", ""),
    form("not_annotated", "set global binlog_checksum = crc32, binlog_annotate_row_events = off", "", ""),
    form("domain", "set global binlog_annotate_row_events = on", "set session gtid_domain_id = 7;", "Annotate_rows"),
];

#[test]
fn the_changes_are_the_same_in_every_form_of_the_log() {
    on_every_server(|flavor| {
        let forms = if flavor.is_mariadb() { MARIADB } else { MYSQL };
        let tables = "\"plain.*\", \"compressed.*\", \"minimal.*\", \"partial*.*\", \"unchecked.*\", \"statements.*\", \"tagged.*\", \
            \"compressed_statements.*\", \"no_log*.*\", \"not_annotated.*\", \"domain.*\", \"backlog.*\"";
        let mut capture = Capture::of(flavor, &[], tables, ", statements: true");
        capture.headwater.start().unwrap();
        for form in forms {
            run(&capture.database, form);
        }
        capture.catch_up();
        let plain: Vec<Vec<Record>> = TABLES.iter().map(|table| capture.records(&format!("plain.{table}"))).collect();
        for (table, records) in TABLES.iter().zip(&plain) {
            hold_against(&capture.database, &format!("plain.{table}"), records);
        }
        for form in forms {
            assert_logged(&capture.database, flavor, form);
            for (table, expected) in TABLES.iter().zip(&plain) {
                let got = capture.records(&format!("{}.{table}", form.name));
                assert_same(&format!("{flavor:?}: {}.{table}", form.name), expected, &got);
            }
        }
        let query = |form: &str| capture.records(&format!("{form}.line"))[0].statement.clone();
        let (with, without) =
            if flavor.is_mariadb() { ("domain", "not_annotated") } else { ("compressed_statements", "plain") };
        let kept = query(with).unwrap_or_default();
        assert!(kept.contains("insert into line values (1, 1, 5)"), "{flavor:?}: {kept}");
        assert_eq!(query(without), None, "{flavor:?}");
    });
}

/// The same through a log that was written while nobody read it, without GTIDs where they can be off, in small events.
#[test]
fn a_backlog_without_gtids_in_small_events_gives_the_same_changes() {
    on_every_server(|flavor| {
        let without: &[&str] = match flavor.is_mariadb() {
            true => &["--binlog-row-event-max-size=256"],
            false => &["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF", "--binlog-row-event-max-size=256"],
        };
        let mut capture = Capture::of(flavor, without, "\"plain.*\", \"backlog.*\"", "");
        capture.headwater.start().unwrap();
        run(&capture.database, &form("plain", "", "", ""));
        capture.catch_up();
        capture.headwater.kill9();
        capture.database.exec("flush logs");
        run(&capture.database, &form("backlog", "flush logs", "", ""));
        capture.database.restart().unwrap();
        capture.headwater.start().unwrap();
        capture.catch_up();
        for table in TABLES {
            let [expected, got] = ["plain", "backlog"].map(|name| capture.records(&format!("{name}.{table}")));
            hold_against(&capture.database, &format!("backlog.{table}"), &got);
            assert_same(&format!("{flavor:?}: {table}"), &expected, &got);
        }
    });
}

fn run(database: &Database, form: &Form) {
    if !form.set.is_empty() {
        database.exec(form.set);
    }
    database.exec(&format!("set names utf8mb4; {}{}", form.session, WORKLOAD.replace("DB", form.name)));
}

/// Whether the log really had the form.
fn assert_logged(database: &Database, flavor: Flavor, form: &Form) {
    let events = database.query("show binlog events");
    let kinds: Vec<&str> = events.iter().filter_map(|event| event[2].as_deref()).collect();
    let logged = form.event.is_empty() || kinds.iter().any(|kind| kind.starts_with(form.event));
    // The log's first file is the one that was written before the checksum changed.
    let later = || {
        let files = database.query("show binary logs");
        files.iter().any(|file| {
            let events = database.query(&format!("show binlog events in '{}'", file[0].as_deref().unwrap()));
            events.iter().any(|event| event[2].as_deref().unwrap_or_default().starts_with(form.event))
        })
    };
    assert!(logged || later(), "{flavor:?}: {} was not in the log of {}", form.event, form.name);
}

/// Replayed over nothing, the changes must give the table's keys and the number of its rows.
fn hold_against(database: &Database, table: &str, records: &[Record]) {
    let mut rows: BTreeMap<String, &Record> = BTreeMap::new();
    let mut count = 0_i64;
    for record in records {
        match record.op.as_str() {
            "c" => count += 1,
            "d" => count -= 1,
            _ => {}
        }
        match record.op.as_str() {
            "d" => drop(rows.remove(&record.key)),
            "-" => {}
            _ => drop(rows.insert(record.key.clone(), record)),
        }
    }
    assert_eq!(database.value(&format!("select count(*) from {table}")), count.to_string(), "{table}");
    if table.ends_with(".line") {
        for row in database.query(&format!("select item, no, qty, note from {table}")) {
            let [item, no, qty] = [0, 1, 2].map(|column| row[column].clone().unwrap());
            let record = rows.remove(&format!("{{\"item\":{item},\"no\":{no}}}")).unwrap();
            assert_eq!(record.after("qty"), Some(qty.as_str()), "{table}");
            let note = record.after("note").map(|note| note.trim_matches('"').to_owned());
            // Rows that were there before the column have its default, which no log tells.
            assert!(note.is_none() || note == row[3], "{table}: {record:?}");
        }
        assert!(rows.is_empty(), "{table}: {rows:?}");
    }
}

fn assert_same(what: &str, expected: &[Record], got: &[Record]) {
    for (place, (expected, got)) in expected.iter().zip(got).enumerate() {
        let short = |record: &Record| record.content().chars().take(2_000).collect::<String>();
        assert!(expected.content() == got.content(), "{what}, record {place}:\n{}\n{}", short(expected), short(got));
    }
    assert_eq!(expected.len(), got.len(), "{what}");
}
