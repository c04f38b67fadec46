//! Sources that are declared by their own form: what `headwater topics dump` shows of them.
//!
//! Invariant: values are the database's own, without schemas: what Debezium shows wrongly is right here. Start at
//! [`check`].

use crate::world::BINARY;
use expect_test::{Expect, expect};
use headwater_testkit::{Database, Flavor, Headwater, Postgres, postgres_releases};

/// Runs Headwater with this source called `own` from before `sql`, then compares what its topics show: key, images, and
/// members of `source`.
fn check(source: &str, sql: impl Fn(), expected: Expect) {
    let mut headwater = Headwater::new(BINARY, &format!("sources:\n  own:\n    {source}\n")).unwrap();
    headwater.start().unwrap();
    headwater.run_ok(&["wait", "--timeout", "60s"]).unwrap();
    sql();
    headwater.run_ok(&["wait", "--timeout", "60s"]).unwrap();
    let dump = headwater.run_ok(&["topics", "dump"]).unwrap();
    let mut shown: Vec<String> = dump.lines().map(shown).collect();
    shown.sort();
    expected.assert_eq(&shown.join("\n"));
}

fn shown(line: &str) -> String {
    let record: serde_json::Value = serde_json::from_str(line).unwrap();
    let (value, source) = (&record["value"], &record["value"]["source"]);
    assert_eq!(record["headers"], serde_json::json!([]), "{line}");
    format!(
        "{} {} {} {} {} {} {} {} {}",
        record["topic"].as_str().unwrap(),
        record["key"],
        value["op"],
        value["before"],
        value["after"],
        value["message"]["content"],
        source["connector"],
        source["db"],
        source["snapshot"],
    )
}

#[test]
fn mysql_s_own_form_shows_values_as_they_are() {
    let database = Database::start(Flavor::MySql, &[]).unwrap();
    database.exec(
        "create database shop; create table shop.t (id bigint unsigned primary key, price decimal(6,2) default 1.50,
         kind enum('a,b','c'), at time);
         insert into shop.t values (1, null, 'c', '-01:00:00')",
    );
    check(
        &format!("mysql: {{ url: \"{}\", tables: [\"shop.*\"] }}", database.url()),
        || database.exec("insert into shop.t values (18446744073709551615, 2, 'a,b', null)"),
        expect![[r#"
            own.shop.t {"id":18446744073709551615} "c" null {"at":null,"id":18446744073709551615,"kind":"a,b","price":"2.00"} null "mysql" "shop" "false"
            own.shop.t {"id":1} "r" null {"at":-3600000000,"id":1,"kind":"c","price":null} null "mysql" "shop" "last""#]],
    );
}

#[test]
fn postgresql_s_own_form_shows_messages_and_values_as_they_are() {
    for release in postgres_releases() {
        let postgres = Postgres::start(release, &[]).unwrap();
        postgres.exec(
            "postgres",
            "create table t (id int primary key, n numeric, grid int[], q int not null default 5); insert into t values (1, 'NaN', '{{1,2},{3,4}}')",
        );
        check(
            &format!("postgres: {{ url: \"{}\", tables: [\"public.*\"] }}", postgres.url("postgres")),
            || {
                postgres.exec(
                    "postgres",
                    "begin; insert into t values (2, 1.5, null); update t set n = 7 where id = 1; delete from t where id = 2;
                     select pg_logical_emit_message(true, 'note', 'hello'); commit",
                );
            },
            expect![[r#"
                own.message {"prefix":"note"} "m" null null "aGVsbG8=" "postgresql" "postgres" "false"
                own.public.t {"id":1} "r" null {"grid":[1,2,3,4],"id":1,"n":"NaN","q":5} null "postgresql" "postgres" "last"
                own.public.t {"id":1} "u" null {"grid":[1,2,3,4],"id":1,"n":"7","q":5} null "postgresql" "postgres" "false"
                own.public.t {"id":2} "c" null {"grid":null,"id":2,"n":"1.5","q":5} null "postgresql" "postgres" "false"
                own.public.t {"id":2} "d" {"grid":null,"id":2,"n":null,"q":null} null null "postgresql" "postgres" "false"
                own.public.t {"id":2} null null null null null null null"#]],
        );
    }
}
