//! DDL in mid-stream: rows on both sides of every statement, in one backlog, come out with the columns they were written
//! with, whether the log names its columns or not.
//!
//! Invariant: a record is compared as it was when its row was written, so the expected texts are written down. Start at
//! [`CASES`].

use crate::records::{Capture, Record, on_every_server};

/// Statements on a table `t`, and its records.
struct Case {
    name: &'static str,
    mariadb_only: bool,
    sql: &'static str,
    /// Operation, then the row's columns in the order of their names; an update has both rows.
    records: &'static [&'static str],
}

const fn case(name: &'static str, sql: &'static str, records: &'static [&'static str]) -> Case {
    Case { name, mariadb_only: false, sql, records }
}

const fn mariadb(name: &'static str, sql: &'static str, records: &'static [&'static str]) -> Case {
    Case { name, mariadb_only: true, sql, records }
}

const CASES: &[Case] = &[
    case(
        "add",
        "create table t (id int primary key, v varchar(9)); insert into t values (1, 'a');
         alter table t add n int first; insert into t values (5, 2, 'b');
         alter table t add (x char(3) default 'x', y bigint unsigned not null default 7), add z text after id;
         insert into t (n, id, z, v) values (6, 3, 'zz', 'c'); update t set v = 'A' where id = 1;",
        &[
            r#"c id=1 v="a""#,
            r#"c id=2 n=5 v="b""#,
            r#"c id=3 n=6 v="c" x="x" y=7 z="zz""#,
            r#"u id=1 n=null v="a" x="x" y=7 z=null -> id=1 n=null v="A" x="x" y=7 z=null"#,
        ],
    ),
    case(
        "drop",
        "create table t (a int, id int primary key, b varchar(9), c int); insert into t values (1, 1, 'x', 3);
         alter table t drop a; insert into t values (2, 'y', 4); alter table t drop column c, drop b;
         insert into t values (3); delete from t where id = 1;",
        &[r#"c a=1 b="x" c=3 id=1"#, r#"c b="y" c=4 id=2"#, "c id=3", "d id=1", "-"],
    ),
    case(
        "modify",
        "create table t (id int primary key, a int, b varchar(9) character set latin1, c enum('x','y'), d decimal(5,2));
         insert into t values (1, -1, 'ö', 'y', 1.5);
         alter table t modify a bigint unsigned, modify b varchar(300) character set utf8mb4;
         insert ignore into t values (2, 18446744073709551615, '🛒', 'x', 2);
         alter table t modify c enum('new','x','y'), modify d decimal(20,10) not null;
         insert into t values (3, 3, 'c', 'new', 3.0000000001), (4, 4, 'd', 'x', 4);",
        &[
            r#"c a=-1 b="ö" c="y" d="1.50" id=1"#,
            r#"c a=18446744073709551615 b="🛒" c="x" d="2.00" id=2"#,
            r#"c a=3 b="c" c="new" d="3.0000000001" id=3"#,
            r#"c a=4 b="d" c="x" d="4.0000000000" id=4"#,
        ],
    ),
    case(
        "change and rename columns",
        "create table t (id int primary key, a int, b varchar(9)); insert into t values (1, 1, 'x');
         alter table t change a b2 varchar(9), rename column b to a; insert into t values (2, 'two', 'y');
         alter table t rename column a to b2, rename column b2 to a; insert into t values (3, 'three', 'z');",
        &[r#"c a=1 b="x" id=1"#, r#"c a="y" b2="two" id=2"#, r#"c a="three" b2="z" id=3"#],
    ),
    case(
        "reorder",
        "create table t (id int primary key, a int, b int); insert into t values (1, 10, 20);
         alter table t modify b int first; insert into t values (200, 2, 100);
         alter table t modify id int after a, modify b int after id; insert into t values (1000, 3, 2000);",
        &["c a=10 b=20 id=1", "c a=100 b=200 id=2", "c a=1000 b=2000 id=3"],
    ),
    case(
        "drop and create again",
        "create table t (id int primary key, a varchar(9)); insert into t values (1, 'x'); drop table t;
         create table t (b varchar(9), id bigint, primary key (id)); insert into t values ('y', 1); drop table if exists t;
         create table if not exists t (id int, c int unique not null); insert into t values (1, 4294967); delete from t;",
        &[r#"c a="x" id=1"#, r#"c b="y" id=1"#, "c c=4294967 id=1", "d c=4294967 id=1", "-"],
    ),
    mariadb(
        "create or replace",
        "create table t (id int primary key, a varchar(9)); insert into t values (1, 'x');
         create or replace table t (b varchar(9), id bigint, primary key (id)); insert into t values ('y', 1);
         create or replace table t as select 7 as id, 'z' as c; alter table t add column if not exists c int, add column if not exists d int;
         insert into t values (8, 'w', 9);",
        &[r#"c a="x" id=1"#, r#"c b="y" id=1"#, r#"c c="z" id=7"#, r#"c c="w" d=9 id=8"#],
    ),
    case(
        "swapped by rename",
        "create table t (id int primary key, a varchar(9)); create table t_new (b int, id int primary key);
         insert into t values (1, 'x'); rename table t to t_old, t_new to t; insert into t values (5, 2);
         rename table t to tmp, t_old to t, tmp to t_new; insert into t values (3, 'y'); alter table t rename to moved;
         create table t like moved; insert into t values (4, 'z');",
        &[r#"c a="x" id=1"#, "c b=5 id=2", r#"c a="y" id=3"#, r#"c a="z" id=4"#],
    ),
    case(
        "another key",
        "create table t (id int primary key, a int not null); insert into t values (1, 2);
         alter table t drop primary key, add primary key (a, id); insert into t values (3, 4); update t set a = 5 where id = 1;
         alter table t drop primary key; insert into t values (6, 7); delete from t where id = 6;",
        &["c a=2 id=1", "c a=4 id=3", "d a=2 id=1", "-", "c a=5 id=1", "c a=7 id=6", "d a=7 id=6", "-"],
    ),
    case(
        "converted and truncated",
        "create table t (id int primary key, a varchar(9)) character set latin1; insert into t values (1, 'ö');
         alter table t convert to character set utf8mb4; insert into t values (2, '🛒'); truncate table t;
         insert into t values (1, '日本'); alter table t default character set koi8u, add b varchar(9); insert into t values (3, 'a', 'ґ');",
        &[r#"c a="ö" id=1"#, r#"c a="🛒" id=2"#, r#"c a="日本" id=1"#, r#"c a="a" b="ґ" id=3"#],
    ),
    case(
        "inside other statements",
        "create table t (id int primary key, a int); begin; insert into t values (1, 1); create temporary table tt (x int);
         insert into t values (2, 2); commit; create view seen as select * from t; insert into t values (3, 3);
         create index i on t (a); alter table t /* ; drop a */ add /*!50100 b int */ comment 'x, drop a'; insert into t values (4, 4, 4);
         create trigger tr before insert on t for each row set new.a = new.a + 1; insert into t values (5, 5, 5); drop view seen;",
        &["c a=1 id=1", "c a=2 id=2", "c a=3 id=3", "c a=4 b=4 id=4", "c a=6 b=5 id=5"],
    ),
    case(
        "columns of every width moved",
        "create table t (id int primary key, a tinyint, b mediumint unsigned, c datetime(3), d bit(9), e binary(5), f set('p','q'), g time(6));
         insert into t values (1, -1, 16777215, '2024-02-29 01:02:03.004', 256, 'ab', 'q', '-10:00:00.5');
         alter table t modify g time(2) first, modify e varbinary(5) after id, modify d bit(33) first, modify f set('n','p','q'), modify c datetime(6);
         insert into t values (4294967296, '10:00:00.25', 2, x'00', 1, 2, '2024-02-29 01:02:03.000004', 'n,q');",
        &[
            r#"c a=-1 b=16777215 c="2024-02-29T01:02:03.004" d=256 e="YWIAAAA=" f="q" g="-10:00:00.500000" id=1"#,
            r#"c a=1 b=2 c="2024-02-29T01:02:03.000004" d=4294967296 e="AA==" f="n,q" g="10:00:00.250" id=2"#,
        ],
    ),
];

/// How much the log says of its columns.
const METADATA: [&str; 2] = ["minimal", "full"];

#[test]
fn rows_on_both_sides_of_every_statement_have_the_columns_of_their_time() {
    on_every_server(|flavor| {
        let mut differences = Vec::new();
        let mut capture = Capture::of(flavor, &["--binlog-row-metadata=MINIMAL"], "\"ddl_*.*\"", "");
        capture.headwater.start().unwrap();
        // A place in the log, so that what follows is a backlog.
        capture.catch_up();
        capture.headwater.terminate(crate::world::LIMIT).unwrap();
        let cases = || CASES.iter().enumerate().filter(|(_, case)| flavor.is_mariadb() || !case.mariadb_only);
        for metadata in METADATA {
            capture.database.exec(&format!("set global binlog_row_metadata = {metadata}"));
            for (place, case) in cases() {
                let database = format!("ddl_{place}_{metadata}");
                capture.database.exec(&format!(
                    "set names utf8mb4, sql_mode = ''; create database {database} character set utf8mb4; use {database}; {}",
                    case.sql
                ));
            }
        }
        capture.headwater.start().unwrap();
        capture.catch_up();
        for (place, case) in cases() {
            for metadata in METADATA {
                let got: Vec<String> =
                    capture.records(&format!("ddl_{place}_{metadata}.t")).iter().map(shown).collect();
                if got != case.records {
                    differences.push(format!("{flavor:?}, {metadata}, {}:\n  {}", case.name, got.join("\n  ")));
                }
            }
        }
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    });
}

fn shown(record: &Record) -> String {
    let images = [&record.before, &record.after]
        .into_iter()
        .flatten()
        .map(|image| image.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "));
    let images: Vec<String> = images.collect();
    format!("{} {}", record.op, images.join(" -> ")).trim_end().to_owned()
}
