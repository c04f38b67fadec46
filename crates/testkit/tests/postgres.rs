//! The testkit's PostgreSQL: every release starts, is killed, comes back, and goes away.

use headwater_testkit::{Postgres, PostgresRelease, Result, postgres_releases, say, wait_until};
use std::process::Command;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_server_keeps_what_it_committed_over_a_kill() -> Result {
    for release in postgres_releases() {
        // The first start on a machine also makes the template of the data folder.
        drop(Postgres::start(release, &[])?);
        let started = Instant::now();
        let mut db = Postgres::start(release, &["max_connections=77"])?;
        say(&format!("{release} started in {:?}", started.elapsed()));
        db.exec("postgres", "CREATE DATABASE gold");
        db.exec("gold", "CREATE TABLE t (id int PRIMARY KEY, name text, note text)");
        db.exec("gold", "INSERT INTO t VALUES (1, E'a\\tb\\nc', NULL), (2, 'NULL', ''), (3, '<é&\",😀>', '\\')");
        let (port, pid) = (db.port(), db.pid().unwrap());
        let mut open = db.session("gold")?;
        open.exec("BEGIN; INSERT INTO t VALUES (4)")?;
        db.kill9();
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
        assert!(db.try_exec("gold", "SELECT 1").is_err() && open.exec("COMMIT").is_err());
        db.restart()?;
        assert_eq!(db.port(), port);
        let text = |text: &str| Some(text.to_owned());
        let expected = [
            vec![text("1"), text("a\tb\nc"), None],
            vec![text("2"), text("NULL"), text("")],
            vec![text("3"), text("<é&\",😀>"), text("\\")],
        ];
        assert_eq!(db.query("gold", "SELECT * FROM t ORDER BY id"), expected, "{release}");
        let settings = "SELECT concat_ws(' ', current_setting('max_connections'), current_setting('wal_level'), current_setting('TimeZone'))";
        assert_eq!(db.value("gold", settings), "77 logical UTC");
        db.restart_with(&["max_connections=78", "wal_level=replica"])?;
        assert_eq!(db.value("gold", settings), "78 replica UTC");
        let error = db.try_exec("gold", "SELECT 1; SELECT * FROM nowhere.nothing").unwrap_err().to_string();
        assert!(error.contains("nowhere"), "{error}");
        db.stop()?;
        assert_eq!(db.pid(), None);
    }
    Ok(())
}

#[test]
fn a_session_holds_its_transaction_open_and_sees_errors() -> Result {
    for release in postgres_releases() {
        let db = Postgres::start(release, &[])?;
        db.exec("postgres", "CREATE TABLE t (id int PRIMARY KEY)");
        let (mut first, mut second) = (db.session("postgres")?, db.session("postgres")?);
        first.exec("BEGIN; INSERT INTO t VALUES (1)")?;
        assert_eq!(second.exec("SELECT count(*) FROM t")?, [[Some("0".to_owned())]]);
        second.send("INSERT INTO t VALUES (1)")?; // waits for the first one's lock
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        wait_until(SOON, "the second session to wait", || db.value("postgres", waiting) == "1")?;
        first.exec("COMMIT")?;
        let error = second.finish().unwrap_err().to_string();
        assert!(error.contains("duplicate key"), "{release}: {error}");
        assert_eq!(second.exec("SELECT E'a\nb', id, NULL FROM t;")?, [[Some("a\nb".into()), Some("1".into()), None]]);
    }
    Ok(())
}

#[test]
fn the_log_can_be_read_logically_and_extensions_are_there() -> Result {
    for release in postgres_releases() {
        let db = Postgres::start(release, &[])?;
        db.exec(
            "postgres",
            "CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION isn",
        );
        db.exec("postgres", "CREATE EXTENSION postgis");
        assert_eq!(db.value("postgres", "SELECT ST_AsText('SRID=4326;POINT(1 2)'::geometry)"), "POINT(1 2)");
        let vector = "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'";
        assert!(db.value("postgres", vector) == "1" || release == PostgresRelease::V15, "pgvector on {release}");
        db.exec("postgres", "SELECT pg_create_logical_replication_slot('s', 'pgoutput', false, true)");
        let slot = "SELECT two_phase FROM pg_replication_slots";
        assert_eq!(db.value("postgres", slot), "t");
        assert!(db.tool("pg_recvlogical")?.exists());
    }
    Ok(())
}

#[test]
fn who_may_log_in_is_the_tests_choice() -> Result {
    for release in postgres_releases() {
        let db = Postgres::start(release, &[])?;
        let log_in = |password: &str| {
            let mut psql = Command::new(db.tool("psql").unwrap());
            psql.args(["-X", "-w", "-c", "SELECT 1", "-d", &db.url("postgres")]).env("PGPASSWORD", password);
            psql.arg("-d").arg(db.url("postgres").replace(":cdc@", "@"));
            psql.output().unwrap().status.success()
        };
        assert!(log_in("wrong"), "{release}: everyone may");
        db.access("host all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256")?;
        wait_until(SOON, "the new rules", || !log_in("wrong"))?;
        assert!(log_in("cdc"), "{release}");
    }
    Ok(())
}
