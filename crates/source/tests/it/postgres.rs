//! The PostgreSQL source against a real server: snapshot, stream, restarts, large transactions, what cannot be followed.
//!
//! Invariant under test: every committed change is appended once, in the order of commits, whatever is in between; and the
//! slot is never confirmed beyond what is durable. Start at [`World`].

use crate::kept::Kept;
use expect_test::{Expect, expect};
use headwater_model::{Kind, Result};
use headwater_source::SOURCES;
use headwater_testkit::{Postgres, PostgresRelease, postgres_releases, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

const DATABASE: &str = "postgres";

/// Counts the slots whose stream is being read; one that is only being created is active too.
const STREAMING: &str = "SELECT count(*) FROM pg_stat_replication WHERE state IN ('catchup', 'streaming')";

/// A server, and what the source has appended so far.
struct World {
    server: Postgres,
    kept: Kept,
    settings: Value,
}

impl World {
    /// A server on which `sql` was run, and a source with these settings beside its URL.
    fn new(settings: Value, sql: &str) -> World {
        World::on(PostgresRelease::V15, settings, sql)
    }

    fn on(release: PostgresRelease, settings: Value, sql: &str) -> World {
        let server = Postgres::start(release, &[]).expect("a server");
        server.exec(DATABASE, "CREATE TABLE marker (id serial PRIMARY KEY)");
        server.exec(DATABASE, sql);
        let mut world = World { server, kept: Kept::default(), settings };
        world.set("url", json!(world.server.url(DATABASE)));
        world.set("status_interval", json!("100ms"));
        // One reader, so that tables come one after another.
        world.set("snapshot_workers", json!(1));
        world
    }

    fn set(&mut self, key: &str, value: Value) {
        self.settings.as_object_mut().expect("an object").insert(key.to_owned(), value);
    }

    fn sql(&self, sql: &str) {
        self.server.exec(DATABASE, sql);
    }

    /// Runs the source until all that was committed before has arrived, and tells what it appended.
    fn run(&mut self) -> Vec<String> {
        self.try_run().expect("a run")
    }

    /// The first run, which creates the slot: a marker that is written before it would be in the snapshot.
    fn first_run(&mut self) -> Vec<String> {
        std::thread::scope(|scope| {
            let server = &self.server;
            scope.spawn(move || {
                wait_until(Duration::from_secs(30), "the slot to be read", || server.value(DATABASE, STREAMING) == "1")
                    .expect("a slot");
                server.exec(DATABASE, "INSERT INTO marker DEFAULT VALUES");
            });
            let kind = SOURCES.iter().find(|kind| kind.name() == "postgres").expect("the source");
            kind.build("it", &self.settings).expect("settings").run(&mut self.kept).expect("a run");
        });
        self.kept.again()
    }

    fn try_run(&mut self) -> Result<Vec<String>> {
        self.sql("INSERT INTO marker DEFAULT VALUES");
        let kind = SOURCES.iter().find(|kind| kind.name() == "postgres").expect("the source");
        let result = kind.build("it", &self.settings).expect("settings").run(&mut self.kept);
        let lines = self.kept.again();
        result.map(|()| lines)
    }

    /// The error of a run that does not come to its end.
    fn refused(&mut self) -> (String, Kind) {
        let error = self.try_run().expect_err("a refusal");
        (error.to_string(), error.kind().clone())
    }
}

fn check(lines: &[String], expected: &Expect) {
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn rows_that_are_there_are_read_and_changes_follow() {
    postgres_releases().into_iter().for_each(follows_on);
}

fn follows_on(release: PostgresRelease) {
    let mut world = World::on(
        release,
        json!({}),
        "CREATE TABLE acc (id int PRIMARY KEY, owner text, bal numeric(10,2));
         CREATE TABLE bag (a int, b text); CREATE TABLE empty (id int PRIMARY KEY);
         INSERT INTO acc VALUES (1, 'ann', 100), (2, 'bob', 50); INSERT INTO bag VALUES (1, 'x'), (1, 'x');",
    );
    check(
        &world.first_run(),
        &expect![[r#"
            r public.bag (FirstInDataCollection) + a=Int(1) b=Text("x")
            r public.bag (Last) + a=Int(1) b=Text("x")
            r public.acc (First) + id=Int(1) owner=Text("ann") bal=Decimal("100.00")
            r public.acc (LastInDataCollection) + id=Int(2) owner=Text("bob") bal=Decimal("50.00")"#]],
    );
    world.sql("BEGIN; INSERT INTO acc VALUES (3, 'cyd', 0); UPDATE acc SET bal = 1 WHERE id = 1; UPDATE acc SET id = 30 WHERE id = 3; DELETE FROM acc WHERE id = 2; COMMIT");
    world.sql("BEGIN; INSERT INTO acc VALUES (9, 'nobody', 0); ROLLBACK");
    world.sql("BEGIN; INSERT INTO acc VALUES (5, 'eve', 0); SAVEPOINT a; INSERT INTO acc VALUES (6, 'lost', 0); ROLLBACK TO a; COMMIT");
    world.sql("ALTER TABLE acc ADD COLUMN note text DEFAULT 'n'; ALTER TABLE acc DROP COLUMN owner");
    world.sql("INSERT INTO acc VALUES (7, 2, 'new')");
    world.sql("CREATE TABLE later (id int PRIMARY KEY); INSERT INTO later VALUES (1)");
    world.sql("SELECT pg_logical_emit_message(false, 'free', 'hello')");
    world.sql("BEGIN; SELECT pg_logical_emit_message(true, 'tx', 'kept'); COMMIT");
    world.sql("BEGIN; SELECT pg_logical_emit_message(true, 'tx', 'lost'); ROLLBACK");
    world.sql("TRUNCATE acc, bag");
    check(
        &world.run(),
        &expect![[r#"
        c public.acc + id=Int(3) owner=Text("cyd") bal=Decimal("0.00")
        u public.acc - id=Absent owner=Absent bal=Absent + id=Int(1) owner=Text("ann") bal=Decimal("1.00")
        u public.acc - id=Int(3) owner=Absent bal=Absent + id=Int(30) owner=Text("cyd") bal=Decimal("0.00")
        d public.acc - id=Int(2) owner=Absent bal=Absent
        c public.acc + id=Int(5) owner=Text("eve") bal=Decimal("0.00")
        c public.acc + id=Int(7) bal=Decimal("2.00") note=Text("new")
        c public.later + id=Int(1)
        free m free: hello
        m tx: kept
        t public.acc
        t public.bag"#]],
    );
    // Nothing happened since, so nothing is told again.
    check(&world.run(), &expect![[""]]);
}

#[test]
fn tables_are_read_in_the_order_of_patterns_and_names_and_an_empty_one_may_be_the_first() {
    let sql = "CREATE SCHEMA s; CREATE SCHEMA \"s-a\"; CREATE TABLE s.b (id int PRIMARY KEY); CREATE TABLE s.a (id int PRIMARY KEY);
         CREATE TABLE \"s-a\".c (id int PRIMARY KEY); CREATE TABLE s.\"Z\" (id int PRIMARY KEY); CREATE TABLE s.none (id int PRIMARY KEY);
         INSERT INTO s.a VALUES (1), (2), (3); INSERT INTO s.b VALUES (1), (2); INSERT INTO \"s-a\".c VALUES (1); INSERT INTO s.\"Z\" VALUES (1);";
    let cases: [(&[&str], Expect); 3] = [
        (
            &[],
            expect![[r#"
                r s-a.c (LastInDataCollection) + id=Int(1)
                r s.Z (LastInDataCollection) + id=Int(1)
                r s.a (FirstInDataCollection) + id=Int(1)
                r s.a (True) + id=Int(2)
                r s.a (LastInDataCollection) + id=Int(3)
                r s.b (FirstInDataCollection) + id=Int(1)
                r s.b (Last) + id=Int(2)"#]],
        ),
        (
            &["s.b", "/s.*a\\.[a-z]/", "s.*"],
            expect![[r#"
                r s.b (First) + id=Int(1)
                r s.b (LastInDataCollection) + id=Int(2)
                r s-a.c (LastInDataCollection) + id=Int(1)
                r s.Z (LastInDataCollection) + id=Int(1)
                r s.a (FirstInDataCollection) + id=Int(1)
                r s.a (True) + id=Int(2)
                r s.a (Last) + id=Int(3)"#]],
        ),
        (
            &["s.none", "s.b"],
            expect![[r#"
            r s.b (FirstInDataCollection) + id=Int(1)
            r s.b (Last) + id=Int(2)"#]],
        ),
    ];
    for (tables, expected) in cases {
        let mut world = World::new(json!({ "snapshot": "initial_only", "tables": tables }), sql);
        check(&world.run(), &expected);
    }
}

#[test]
fn a_snapshot_that_was_cut_off_reads_only_what_is_missing() {
    let mut world = World::new(
        json!({}),
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1), (2);",
    );
    // The position, the schemas, where the two tables stand, that no other is to be read; the first table, and no more.
    world.kept.fails_after = Some(7);
    let (error, kind) = world.refused();
    assert!(error.contains("told to fail") && kind == Kind::Reconnect, "{error}");
    world.kept.fails_after = None;
    world.sql("INSERT INTO a VALUES (2); DELETE FROM b WHERE id = 1; INSERT INTO b VALUES (3)");
    check(
        &world.first_run(),
        &expect![[r#"
        c public.a + id=Int(2)
        c public.b + id=Int(3)
        r public.b (LastInDataCollection) + id=Int(2)"#]],
    );
    world.sql("INSERT INTO b VALUES (4)");
    check(&world.run(), &expect!["c public.b + id=Int(4)"]);
}

#[test]
fn a_large_transaction_leaves_memory_and_arrives_whole() {
    let mut world =
        World::new(json!({ "transaction_bytes_max": 65_536 }), "CREATE TABLE big (id int PRIMARY KEY, v text)");
    world.first_run();
    world.sql("BEGIN; INSERT INTO big SELECT i, repeat('x', 100) FROM generate_series(1, 5000) i; COMMIT");
    let lines = world.run();
    assert_eq!(lines.len(), 5_000);
    assert!(world.kept.spilled > 400_000 && lines[4_999].contains("id=Int(5000)"), "{}", world.kept.spilled);
}

#[test]
fn a_transaction_in_progress_is_received_and_counts_only_when_it_commits() {
    let releases = postgres_releases().into_iter();
    releases.for_each(|release| {
        let mut world = World::on(
            release,
            json!({ "in_progress": true, "transaction_bytes_max": 65_536 }),
            "CREATE TABLE t (id int PRIMARY KEY, v text)",
        );
        world.server.restart_with(&["logical_decoding_work_mem=64kB"]).expect("a restart");
        world.first_run();
        let rows = |from: u32, to: u32| format!("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series({from}, {to}) i;");
        let sql = format!(
            "BEGIN; {} SAVEPOINT a; {} SAVEPOINT b; {} ROLLBACK TO b; RELEASE b; {} ROLLBACK TO a; ALTER TABLE t ADD COLUMN w int DEFAULT 3; \
             {} SAVEPOINT c; ALTER TABLE t DROP COLUMN v; INSERT INTO t SELECT i FROM generate_series(30001, 34000) i; ROLLBACK TO c; {} COMMIT",
            rows(1, 2_000), rows(10_001, 12_000), rows(20_001, 22_000), rows(12_001, 14_000),
            "INSERT INTO t (id) SELECT i FROM generate_series(2001, 4000) i;", "INSERT INTO t VALUES (4001, 'end');",
        );
        world.sql(&sql);
        world.sql(&format!("BEGIN; {} ROLLBACK", rows(50_001, 55_000)));
        world.sql("SELECT pg_logical_emit_message(false, 'after', 'all')");
        let lines = world.run();
        let ids: Vec<String> = lines.iter().map(|line| line.split(['(', ')']).nth(1).unwrap_or(line).to_owned()).collect();
        let expected: Vec<String> = (1..=4_001).map(|id| id.to_string()).chain(["free m after: all".to_owned()]).collect();
        assert_eq!(ids, expected, "{release}");
        assert!(lines[2_500].contains("v=Null w=Int(3)") && lines[4_000].contains("v=Text(\"end\") w=Int(3)"), "{}", lines[4_000]);
        let streamed = "SELECT count(*) FROM pg_stat_replication_slots WHERE stream_txns > 0";
        let has_streamed = || world.server.value(DATABASE, streamed) == "1";
        wait_until(Duration::from_secs(30), "the server's statistics", has_streamed).expect("streamed transactions");
    });
}

#[test]
fn the_slot_is_confirmed_up_to_what_is_durable_and_moves_while_others_write() {
    let mut world = World::new(json!({}), "CREATE TABLE t (id int PRIMARY KEY); CREATE DATABASE other");
    world.first_run();
    let confirmed = |world: &World| {
        world.server.value(
            DATABASE,
            "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = 'headwater_it'",
        )
    };
    let before = confirmed(&world);
    world.kept.durable = Some(world.kept.position.clone());
    world.sql("INSERT INTO t VALUES (1)");
    world.run();
    assert_eq!(confirmed(&world), before, "confirmed beyond what is durable");
    world.kept.durable = None;
    world.server.exec("other", "CREATE TABLE x AS SELECT generate_series(1, 10000)");
    assert_eq!(world.run(), Vec::<String>::new());
    world.run();
    assert_ne!(confirmed(&world), before);
}

#[test]
fn what_does_not_lead_on_is_named_and_read_again_where_it_may() {
    let mut world = World::new(
        json!({}),
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)",
    );
    world.first_run();
    let old = world.kept.position.clone();
    world.sql("INSERT INTO t VALUES (4, 4)");
    world.run();
    // The journal was restored from an older copy.
    let newer = std::mem::replace(&mut world.kept.position, old);
    let (error, kind) = world.refused();
    assert!(error.contains("stands ahead of the journal") && kind == Kind::Stop, "{error}");
    world.kept.position = newer;
    world.sql("SELECT pg_drop_replication_slot('headwater_it')");
    let (error, kind) = world.refused();
    assert!(error.contains("was dropped") && kind == Kind::Stop, "{error}");
    world.sql("DELETE FROM t WHERE id = 1; UPDATE t SET v = 20 WHERE id = 2; INSERT INTO t VALUES (5, 5)");
    world.set("snapshot", json!("when_needed"));
    check(
        &world.first_run(),
        &expect![[r#"
            u public.t - id=Int(2) v=Int(2) + id=Int(2) v=Int(20)
            r public.t (Last) + id=Int(5) v=Int(5)
            d public.t - id=Int(1) v=Int(1)"#]],
    );
    world.sql("UPDATE t SET v = 50 WHERE id = 5");
    check(&world.run(), &expect!["u public.t - id=Absent v=Absent + id=Int(5) v=Int(50)"]);
    world.kept.request = Some(vec!["public.t".to_owned()]);
    check(&world.first_run(), &expect![[""]]);
    world.sql("DROP PUBLICATION headwater_it; INSERT INTO t VALUES (6, 6)");
    world.set("snapshot", json!("initial"));
    let (error, kind) = world.refused();
    assert!(error.contains("publication headwater_it did not exist") && kind == Kind::Stop, "{error}");
}

#[test]
fn a_table_is_read_again_as_debezium_does_row_by_row() {
    let mut world = World::new(
        json!({ "as_debezium": true, "snapshot": "when_needed" }),
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)",
    );
    world.first_run();
    world.sql("SELECT pg_drop_replication_slot('headwater_it'); DELETE FROM t WHERE id = 1; UPDATE t SET v = 20 WHERE id = 2; INSERT INTO t VALUES (5, 5)");
    check(
        &world.first_run(),
        &expect![[r#"
            u public.t (FirstInDataCollection) - id=Int(3) v=Int(3) + id=Int(3) v=Int(3)
            u public.t (True) - id=Int(2) v=Int(2) + id=Int(2) v=Int(20)
            r public.t (Last) + id=Int(5) v=Int(5)
            d public.t - id=Int(1) v=Int(1)"#]],
    );
}

#[test]
fn a_snapshot_reads_the_tables_that_it_is_told_and_what_queries_select() {
    let mut world = World::new(
        json!({
            "snapshot_tables": ["*.some", "*.all"],
            "snapshot_queries": { "public.some": "SELECT upper(v) AS v, 7 AS other, id FROM \"some\" WHERE id > 1 ORDER BY id DESC" },
        }),
        "CREATE TABLE \"some\" (id int PRIMARY KEY, v text, w int DEFAULT 4); INSERT INTO \"some\" VALUES (1, 'a'), (2, 'b'), (3, 'c');
         CREATE TABLE \"all\" (id int PRIMARY KEY); INSERT INTO \"all\" VALUES (1); CREATE TABLE none (id int PRIMARY KEY); INSERT INTO none VALUES (1)",
    );
    check(
        &world.first_run(),
        &expect![[r#"
            r public.some (FirstInDataCollection) + id=Int(3) v=Text("C") w=Null
            r public.some (Last) + id=Int(2) v=Text("B") w=Null
            r public.all (First) + id=Int(1)"#]],
    );
    world.sql("INSERT INTO none VALUES (2)");
    check(&world.run(), &expect!["c public.none + id=Int(2)"]);
}

#[test]
fn a_table_that_is_chosen_later_is_read_then() {
    let mut world = World::new(
        json!({ "tables": ["public.a", "public.marker"] }),
        "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1);
         CREATE TABLE bb (id int PRIMARY KEY); INSERT INTO bb VALUES (1)",
    );
    check(&world.first_run(), &expect!["r public.a (Last) + id=Int(1)"]);
    world.sql("INSERT INTO b VALUES (2); INSERT INTO a VALUES (2)");
    world.set("tables", json!(["public.*"]));
    world.set("exclude_tables", json!(["public.bb"]));
    check(
        &world.first_run(),
        &expect![[r#"
            c public.b + id=Int(2)
            c public.a + id=Int(2)
            r public.b (Last) + id=Int(1)"#]],
    );
    world.sql("INSERT INTO b VALUES (3)");
    world.set("exclude_tables", json!([]));
    check(
        &world.first_run(),
        &expect![[r#"
            c public.b + id=Int(3)
            r public.bb (Last) + id=Int(1)"#]],
    );
}

#[test]
fn messages_are_chosen_by_their_prefix() {
    let mut world = World::new(json!({ "message_prefixes": ["tx", "o*"], "exclude_message_prefixes": ["/oh.*/"] }), "");
    world.first_run();
    for (transactional, prefix) in [(true, "tx"), (false, "txt"), (true, "no"), (false, "other"), (false, "Oh no")] {
        world.sql(&format!("SELECT pg_logical_emit_message({transactional}, '{prefix}', 'hello')"));
    }
    check(
        &world.run(),
        &expect![[r#"
            m tx: hello
            free m other: hello"#]],
    );
}

#[test]
fn tables_are_given_the_identity_that_is_asked_for_and_the_heart_beats() {
    let identity = |tables: &str, identity: &str| json!({ "tables": tables, "identity": identity });
    let identities = [
        identity("public.full", "FULL"),
        identity("public.back", "default"),
        identity("public.by_index", "index by_c"),
        identity("public.no*", "nothing"),
    ];
    let mut world = World::new(
        json!({
            "replica_identities": identities, "tables": ["public.*"],
            "heartbeat_query": { "statement": "UPDATE s.beat SET n = n + 1", "interval": "100ms" },
        }),
        "CREATE SCHEMA s; CREATE TABLE s.beat (n int PRIMARY KEY); INSERT INTO s.beat VALUES (0);
         CREATE TABLE \"full\" (id int PRIMARY KEY); CREATE TABLE back (id int PRIMARY KEY); ALTER TABLE back REPLICA IDENTITY FULL;
         CREATE TABLE by_index (id int PRIMARY KEY, c int NOT NULL); CREATE UNIQUE INDEX by_c ON by_index (c); CREATE TABLE nothing (id int)",
    );
    world.first_run();
    let seen = world.server.value(
        DATABASE,
        "SELECT string_agg(relname || ' ' || relreplident::text, ', ' ORDER BY relname) FROM pg_class WHERE relkind = 'r' AND \
         relnamespace = 'public'::regnamespace",
    );
    assert_eq!(seen, "back d, by_index i, full f, marker d, nothing n");
    let process = std::thread::scope(|scope| {
        let (server, kept) = (&world.server, &mut world.kept);
        scope.spawn(move || {
            let beaten = || server.value(DATABASE, "SELECT (n > 2)::int FROM s.beat") == "1";
            wait_until(Duration::from_secs(30), "three beats", beaten).expect("a heart");
            server.exec(DATABASE, "INSERT INTO marker DEFAULT VALUES");
        });
        let kind = SOURCES.iter().find(|kind| kind.name() == "postgres").expect("the source");
        kind.build("it", &world.settings).expect("settings").run(kept)
    });
    process.expect("a run");
}

#[test]
fn an_enumeration_has_the_labels_of_now_or_of_the_start_as_debezium_has_it() {
    for (as_debezium, expected) in [(false, "new,busy,done"), (true, "new,done")] {
        let mut world = World::new(
            json!({ "as_debezium": as_debezium }),
            "CREATE TYPE st AS ENUM ('new', 'done'); CREATE TABLE job (id int PRIMARY KEY, s st)",
        );
        std::thread::scope(|scope| {
            let server = &world.server;
            scope.spawn(move || {
                let active = || server.value(DATABASE, STREAMING) == "1";
                wait_until(Duration::from_secs(30), "the slot to be read", active).expect("a slot");
                server.exec(DATABASE, "ALTER TYPE st ADD VALUE 'busy' BEFORE 'done'");
                server.exec(DATABASE, "INSERT INTO job VALUES (2, 'busy'); INSERT INTO marker DEFAULT VALUES");
            });
            let kind = SOURCES.iter().find(|kind| kind.name() == "postgres").expect("the source");
            kind.build("it", &world.settings).expect("settings").run(&mut world.kept).expect("a run");
        });
        let schema = world.kept.schemas.values().rfind(|schema| schema.table == "job").expect("a schema");
        let labels = format!("{:?}", schema.columns[1]).replace(['"', ' '], "");
        assert!(labels.contains(expected), "{as_debezium}: {labels}");
        check(&world.kept.again(), &expect![[r#"c public.job + id=Int(2) s=Enum("busy")"#]]);
    }
}

#[test]
fn what_a_server_lacks_is_named() {
    let slot = |plugin: &str| format!("SELECT pg_create_logical_replication_slot('headwater_it', '{plugin}')");
    let cases = [
        (json!({ "publication_create": "disabled" }), String::new(), "CREATE PUBLICATION"),
        (json!({}), slot("test_decoding"), "written by the plugin test_decoding"),
        (
            json!({}),
            "SELECT pg_create_physical_replication_slot('headwater_it', true)".to_owned(),
            "is a physical slot",
        ),
    ];
    for (settings, sql, expected) in cases {
        let mut world = World::new(settings, "CREATE TABLE t (id int PRIMARY KEY)");
        world.sql(&sql);
        let (error, _) = world.refused();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let mut world = World::new(json!({}), "");
    world.server.restart_with(&["wal_level=replica"]).expect("a restart");
    let (error, kind) = world.refused();
    assert!(error.contains("wal_level is replica") && kind == Kind::Stop, "{error}");
}
