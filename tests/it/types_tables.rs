//! Tables that are more than their columns' types: keys of every type, rows without a key, history, hidden columns, and
//! every character of every character set.
//!
//! Invariant: whatever orders the rows of a table, a snapshot in the smallest chunks reads each of them exactly once, and
//! the log names them by the same keys.

use crate::records::{Capture, Record, on_every_server};
use crate::types_cases::Servers;
use headwater_testkit::{Database, Flavor};
use std::collections::{BTreeMap, BTreeSet};

/// Lax, so that zero dates and unknown members can be keys.
const SESSION: &str = "set names utf8mb4; set sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'; use types;\n";

/// A key, and values of it.
struct Key {
    servers: Servers,
    columns: &'static str,
    values: &'static [&'static str],
}

const fn key(columns: &'static str, values: &'static [&'static str]) -> Key {
    Key { servers: Servers::All, columns, values }
}

const fn key_of(servers: Servers, columns: &'static str, values: &'static [&'static str]) -> Key {
    Key { servers, columns, values }
}

const KEYS: &[Key] = &[
    key("k int primary key", &["-2147483648", "-1", "0", "1", "2147483647"]),
    key(
        "k bigint unsigned primary key",
        &["0", "9223372036854775807", "9223372036854775808", "18446744073709551615", "1"],
    ),
    key(
        "k decimal(40,20) primary key",
        &[
            "-1.5",
            "0",
            "12345678901234567890.12345678901234567890",
            "12345678901234567890.12345678901234567891",
            "-0.00000000000000000001",
        ],
    ),
    key("k double primary key", &["-1e300", "0.1", "0.2", "0.30000000000000004", "1e-300"]),
    key("k float primary key", &["-0.1", "0.1", "0.2", "16777216", "3e38"]),
    key("k varchar(20) primary key", &["''", "'a'", "'B'", "'é x'", "'z'", "'🛒'", "'日本'", "'\\\\'"]),
    key("k varchar(20) collate utf8mb4_bin primary key", &["'a'", "'A'", "'b'", "'B'", "'é'", "'ê'"]),
    key("k varchar(20) character set koi8u primary key", &["'Привіт'", "'ґ'", "'a'", "'Їжак'", "'є'"]),
    key("k varchar(20) character set sjis primary key", &["'日本'", "'ｶﾅ'", "'a'", "'語'"]),
    key("k char(20) character set utf16 primary key", &["'🛒'", "'größe'", "'a'", "'語'"]),
    key("k binary(4) primary key", &["x'00'", "x'61'", "x'6100FF'", "x'FFFFFFFF'", "x'61626300'"]),
    key("k varbinary(9) primary key", &["x''", "x'00'", "x'0000'", "x'61'", "x'6100'", "x'FF'"]),
    key("k blob, primary key (k(20))", &["x'00'", "x'6100'", "x'61'", "x'FF'"]),
    key("k date primary key", &["'0000-00-00'", "'1000-01-01'", "'2024-00-00'", "'2024-02-29'", "'9999-12-31'"]),
    key(
        "k datetime(6) primary key",
        &[
            "'0000-00-00'",
            "'2024-02-29 01:02:03.000001'",
            "'2024-02-29 01:02:03.000002'",
            "'9999-12-31 23:59:59.999999'",
            "'1000-01-01'",
        ],
    ),
    key(
        "k timestamp(3) primary key",
        &[
            "'2024-02-29 01:02:03.001'",
            "'2024-02-29 01:02:03.002'",
            "'1970-01-01 00:00:01'",
            "'2038-01-19 03:14:07.999'",
            "'0000-00-00'",
        ],
    ),
    key("k time(6) primary key", &["'-838:59:59'", "'-00:00:00.000001'", "'00:00:00'", "'24:00:00.5'", "'838:59:59'"]),
    key("k year primary key", &["0", "1901", "2000", "2155"]),
    key("k bit(10) primary key", &["0", "1", "255", "256", "1023"]),
    key("k enum('z','a','m','b,c') primary key", &["'z'", "'a'", "'m'", "'b,c'", "'unknown'"]),
    key("k set('z','a','m') primary key", &["''", "'z'", "'a'", "'z,a'", "'m'", "'z,a,m'"]),
    key("k bool primary key", &["true", "false"]),
    key(
        "a varchar(9) not null, k enum('y','x') not null, n smallint not null, primary key (n, a, k)",
        &["'a', 'y', 1", "'a', 'x', 1", "'b', 'y', 1", "'a', 'y', 2", "'a', 'y', -1", "'c', 'x', 2"],
    ),
    key("k int not null unique, n int unique", &["1, 1", "2, null", "3, null", "4, 4"]),
    key("k int, n varchar(9)", &["1, 'x'", "1, 'x'", "null, null", "null, null", "2, 'y'"]),
    key_of(
        Servers::MariaDb,
        "k uuid primary key",
        &[
            "'123e4567-e89b-12d3-a456-426614174000'",
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            "'123e4567-e89b-12d3-a456-000000000000'",
            "'01890a5d-ac96-774b-bcce-b302099a8000'",
        ],
    ),
    key_of(
        Servers::MariaDb,
        "k inet6 primary key",
        &["'::'", "'2001:db8::'", "'::ffff:192.0.2.0'", "'1:2:3:4:5:6:7:8'"],
    ),
    key_of(Servers::MariaDb, "k inet4 primary key", &["'0.0.0.0'", "'255.255.255.255'", "'10.0.0.0'", "'192.0.2.32'"]),
];

#[test]
fn keys_of_every_type_order_a_snapshot_and_name_the_rows_of_the_log() {
    on_every_server(|flavor| {
        let mut capture = Capture::of(flavor, &["--character-set-server=utf8mb4"], "\"types.*\"", ", chunk_rows: 1");
        capture.database.exec("create database types character set utf8mb4");
        let keys: Vec<(String, &Key)> = KEYS
            .iter()
            .enumerate()
            .filter(|(_, key)| key.servers.include(flavor))
            .map(|(place, key)| (format!("k{place}"), key))
            .collect();
        let mut sql = SESSION.to_owned();
        for (table, key) in &keys {
            sql.push_str(&format!("create table {table} ({}, v int);\n", key.columns));
            for (place, value) in key.values.iter().enumerate() {
                sql.push_str(&format!("insert into {table} values ({value}, {place});\n"));
            }
        }
        capture.database.exec(&sql);
        capture.headwater.start().unwrap();
        capture.catch_up();
        let changes: String = keys.iter().map(|(table, _)| format!("update {table} set v = v + 100;\n")).collect();
        capture.database.exec(&format!("{SESSION}{changes}"));
        capture.catch_up();
        for (table, key) in &keys {
            let records = capture.records(&format!("types.{table}"));
            // Rows that are alike can be told apart by their number alone.
            let of = |op: &str| -> BTreeMap<i64, String> {
                let records = records.iter().filter(|record| record.op == op);
                records.map(|record| (number(record) % 100, record.key.clone())).collect()
            };
            let (read, updated) = (of("r"), of("u"));
            let places: BTreeSet<i64> = (0..key.values.len() as i64).collect();
            assert_eq!(read.keys().copied().collect::<BTreeSet<_>>(), places, "{flavor:?}: {}", key.columns);
            assert_eq!(records.len(), 2 * places.len(), "{flavor:?}: {}: {records:?}", key.columns);
            assert_eq!(read, updated, "{flavor:?}: {}", key.columns);
        }
    });
}

fn number(record: &Record) -> i64 {
    record.after("v").unwrap().parse().unwrap()
}

#[test]
fn hidden_columns_and_history_are_the_same_in_snapshot_and_stream() {
    on_every_server(|flavor| {
        let (create, insert) = if flavor.is_mariadb() {
            (
                "create table implicit (id int primary key, v varchar(9)) with system versioning;
                 create table explicit (id int primary key, v varchar(9), s timestamp(6) generated always as row start,
                   e timestamp(6) generated always as row end, period for system_time (s, e)) with system versioning;
                 create table hidden (id int primary key, v varchar(9), h int invisible default 7);",
                "insert into implicit (id, v) values (I, 'a'); insert into explicit (id, v) values (I, 'a');
                 insert into hidden (id, v, h) values (I, 'a', I); insert into hidden (id, v) values (I + 100, 'b');
                 update implicit set v = 'b' where id = I; update explicit set v = 'b' where id = I;",
            )
        } else {
            (
                "set sql_generate_invisible_primary_key = on; create table without_key (v varchar(9));
                 set sql_generate_invisible_primary_key = off;
                 create table hidden (id int primary key, v varchar(9), h int invisible default 7);",
                "insert into without_key (v) values ('a'), ('b'); update without_key set v = 'c' where v = 'a';
                 insert into hidden (id, v, h) values (I, 'a', I); insert into hidden (id, v) values (I + 100, 'b');",
            )
        };
        let mut capture = Capture::of(flavor, &[], "\"types.*\"", "");
        capture.database.exec("create database types character set utf8mb4");
        capture.database.exec(&format!("{SESSION}{create}{}", insert.replace('I', "1")));
        capture.headwater.start().unwrap();
        capture.catch_up();
        capture.database.exec(&format!("{SESSION}{}", insert.replace('I', "2")));
        capture.catch_up();
        for [table, columns] in tables_and_columns(&capture.database, flavor) {
            let rows = capture.database.query(&format!("{SESSION}select {columns} from {table}"));
            let expected: BTreeSet<Vec<String>> =
                rows.into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect()).collect();
            let mut got: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for record in capture.records(&format!("types.{table}")) {
                let plain = |text: &str| text.trim_matches('"').replace('T', " ").trim_end_matches('Z').to_owned();
                let values = columns.split(", ").map(|name| plain(record.after(name).unwrap_or("absent"))).collect();
                // A row of history is a new row: its key has the end of its time.
                got.insert(record.key.clone(), values);
            }
            let got: BTreeSet<Vec<String>> = got.into_values().collect();
            let missing: Vec<_> = expected.difference(&got).collect();
            assert!(missing.is_empty(), "{flavor:?}: {table} {columns}: {missing:?} is not in {got:?}");
        }
    });
}

fn tables_and_columns(database: &Database, flavor: Flavor) -> Vec<[String; 2]> {
    let rows = database.query(
        "select table_name, group_concat(column_name order by ordinal_position separator ', ') from information_schema.columns
         where table_schema = 'types' group by table_name",
    );
    let mut tables: Vec<[String; 2]> =
        rows.into_iter().map(|row| [row[0].clone().unwrap(), row[1].clone().unwrap()]).collect();
    for [table, columns] in &mut tables {
        // Not listed, but there.
        if table == "implicit" && flavor.is_mariadb() {
            columns.push_str(", row_start, row_end");
        }
    }
    tables
}

/// A table with a column for every character set of one byte, and a row for every byte that is a character in any of them.
#[test]
fn every_character_of_every_set_of_single_bytes_is_read_as_the_server_reads_it() {
    on_every_server(|flavor| {
        let mut capture = Capture::of(flavor, &[], "\"types.*\"", "");
        let database = &capture.database;
        database.exec("create database types character set utf8mb4");
        let sets = database.query(
            "select character_set_name from information_schema.character_sets where maxlen = 1 and character_set_name not in ('binary', 'filename')",
        );
        let sets: Vec<String> = sets.into_iter().map(|row| row[0].clone().unwrap()).collect();
        let columns: String = sets.iter().map(|set| format!(", {set} varchar(2) character set {set}")).collect();
        // What is no character prints as a question mark, or as a replacement character.
        let values: String = sets
            .iter()
            .map(|set| {
                let character = format!("convert(unhex(hex(n)) using {set})");
                format!(
                    ", if(n = 63 or convert({character} using utf8mb4) not in ('?', '\u{fffd}'), {character}, null)"
                )
            })
            .collect();
        let fill = format!(
            "insert into chars select n + FIRST{values} from (select row_number() over () as n from information_schema.columns limit 255) n"
        );
        database.exec(&format!(
            "{SESSION}create table chars (id int primary key{columns}); {}",
            fill.replace("FIRST", "0")
        ));
        capture.headwater.start().unwrap();
        capture.catch_up();
        capture.database.exec(&format!("{SESSION}{}", fill.replace("FIRST", "1000")));
        capture.catch_up();
        let shown: String = sets.iter().map(|set| format!(", hex(convert({set} using utf8mb4))")).collect();
        let records = capture.records("types.chars");
        let images: BTreeMap<&str, &Record> =
            records.iter().map(|record| (record.after("id").unwrap(), record)).collect();
        for row in capture.database.query(&format!("{SESSION}select id{shown} from chars")) {
            let image = images[row[0].as_deref().unwrap()];
            for (set, expected) in sets.iter().zip(&row[1..]) {
                let text: Option<String> = serde_json::from_str(image.after(set).unwrap()).unwrap();
                let hex = |text: String| text.bytes().map(|byte| format!("{byte:02X}")).collect::<String>();
                assert_eq!(text.map(hex), *expected, "{flavor:?}: {set} in row {:?} ({})", row[0], image.op);
            }
        }
    });
}
