//! What cannot be followed stops the source by name: the place in the log, the table, and what to do. Mended, it goes on.
//!
//! Invariant: after a stop the topic holds what came before it and nothing more, and after the mending everything that
//! was committed since, or is read again. Start at [`STOPS`].

use crate::records::{Capture, on_every_server};
use crate::world::LIMIT;
use headwater_testkit::{Database, wait_until};
use std::path::Path;

/// A reason to stop.
struct Stop {
    name: &'static str,
    /// Headwater is down meanwhile.
    is_away: bool,
    /// Brings it about, in the database in use.
    cause: fn(&mut Database, &str),
    /// What its error must say.
    says: &'static [&'static str],
    mend: Mend,
}

/// What a person does then.
#[derive(Clone, Copy)]
enum Mend {
    /// Sets it right, and starts again.
    Set(&'static str),
    /// Leaves the table out.
    LeaveOut,
    /// Asks the source that has stopped for a new snapshot.
    Snapshot,
    /// Lets the source read its tables again where the log is gone.
    WhenNeeded,
}

const SNAPSHOT: &str = "headwater snapshot";

const STOPS: &[Stop] = &[
    Stop {
        name: "an update with the row image MINIMAL",
        is_away: false,
        cause: |database, name| {
            database
                .exec(&format!("use {name}; set session binlog_row_image = minimal; update t set v = 'x' where id = 1"))
        },
        says: &["binlog.0", ".t", "column v", "binlog_row_image", "FULL", "snapshot"],
        mend: Mend::Snapshot,
    },
    Stop {
        name: "a deletion with the row image MINIMAL",
        is_away: true,
        cause: |database, name| {
            database.exec(&format!("use {name}; set session binlog_row_image = minimal; delete from t where id = 1"))
        },
        says: &["binlog.0", ".t", "column v", "before image", "binlog_row_image"],
        mend: Mend::LeaveOut,
    },
    Stop {
        name: "an update with the row image NOBLOB",
        is_away: false,
        cause: |database, name| {
            database
                .exec(&format!("use {name}; set session binlog_row_image = noblob; update t set v = 'x' where id = 1"))
        },
        says: &["binlog.0", ".t", "column b", "binlog_row_image", "snapshot"],
        mend: Mend::LeaveOut,
    },
    Stop {
        name: "the row image MINIMAL of the whole server",
        is_away: true,
        cause: |database, _| database.exec("set global binlog_row_image = minimal"),
        says: &["binlog_row_image is MINIMAL", "SET GLOBAL binlog_row_image = 'FULL'"],
        mend: Mend::Set("set global binlog_row_image = full"),
    },
    Stop {
        name: "a statement without its rows",
        is_away: false,
        cause: |database, name| {
            database.exec(&format!(
                "use {name}; set session binlog_format = statement; set session transaction isolation level repeatable read; insert into t values (9, 'x', null)"
            ));
        },
        says: &["INSERT in statement format", ".t", "binlog.0", "SET GLOBAL binlog_format = 'ROW'", SNAPSHOT],
        mend: Mend::Snapshot,
    },
    Stop {
        name: "changes that the server itself has lost",
        is_away: false,
        cause: |database, name| {
            database.exec("set global max_binlog_stmt_cache_size = 4096, global binlog_stmt_cache_size = 4096");
            // The row stays in the table, because it cannot be rolled back, and is too large for the log.
            let lost = "create table big (id int primary key, v mediumtext) engine = myisam; insert into big values (1, repeat('x', 200000))";
            assert!(database.try_exec(&format!("use {name}; {lost}")).is_err());
            database.exec("set global max_binlog_stmt_cache_size = default, global binlog_stmt_cache_size = default");
        },
        says: &["the server says that it lost changes", "binlog.0", SNAPSHOT],
        mend: Mend::Snapshot,
    },
    Stop {
        name: "an event that is damaged",
        is_away: true,
        cause: |database, name| {
            let (file, start) = log_a_row(database, name);
            doctor(database, |database| change_byte(&database.data_dir().join(file), start + 30));
        },
        says: &["binlog.0", "checksum"],
        mend: Mend::Snapshot,
    },
    Stop {
        name: "an event of a type that is not known",
        is_away: true,
        cause: |database, name| {
            database.exec("set global binlog_checksum = none");
            let (file, start) = log_a_row(database, name);
            // The fifth byte of an event is its type.
            doctor(database, |database| change_byte(&database.data_dir().join(file), start + 4));
        },
        says: &["binlog.0", "type"],
        mend: Mend::Snapshot,
    },
    Stop {
        name: "a log that is gone",
        is_away: true,
        cause: |database, name| {
            database.exec(&format!("insert into {name}.t values (50, 'gone', null); flush logs; insert into {name}.t values (51, 'kept', null); flush logs"));
            let last = database.query("show binary logs").pop().and_then(|mut file| file.remove(0)).unwrap();
            // A file that a connection still reads is kept without a word.
            wait_until(LIMIT, "the logs to be purged", || {
                database.exec(&format!("purge binary logs to '{last}'"));
                database.query("show binary logs").len() == 1
            })
            .unwrap();
        },
        says: &["no longer has the log", SNAPSHOT, "when_needed", "binlog_expire_logs_seconds"],
        mend: Mend::WhenNeeded,
    },
    Stop {
        name: "a log that begins anew",
        is_away: true,
        cause: |database, name| {
            database.exec(if database.flavor().is_mariadb() { "reset master" } else { "reset binary logs and gtids" });
            database.exec(&format!("insert into {name}.t values (60, 'after', null)"));
        },
        says: &["does not have all that was read", SNAPSHOT, "when_needed"],
        mend: Mend::WhenNeeded,
    },
    Stop {
        name: "another server at the same place",
        is_away: true,
        cause: |database, name| {
            let other = Database::start(database.flavor(), &[]).unwrap();
            other.exec(&tables(name));
            // As many transactions as the first one had, and more.
            other.exec(&format!(
                "{} insert into {name}.t values (70, 'other', null)",
                "insert into mysql.time_zone values (); ".repeat(300)
            ));
            *database = other;
        },
        says: &["Point the source at the server that has them", SNAPSHOT, "when_needed"],
        mend: Mend::WhenNeeded,
    },
];

#[test]
fn what_cannot_be_followed_stops_by_name_and_goes_on_when_it_is_mended() {
    on_every_server(|flavor| {
        let mut failed = Vec::new();
        let mut capture = Capture::of(flavor, &[], "\"none.*\"", "");
        for (place, stop) in STOPS.iter().enumerate() {
            if let Err(what) = stop_and_mend(&mut capture, stop, &format!("stop_{place}")) {
                failed.push(format!("{flavor:?}, {}: {what}", stop.name));
            }
        }
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    });
}

fn tables(name: &str) -> String {
    format!(
        "create database {name}; use {name}; create table t (id int primary key, v varchar(20), b text);
         create table other (id int primary key); insert into t values (1, 'one', 'b');"
    )
}

fn stop_and_mend(capture: &mut Capture, stop: &Stop, name: &str) -> Result<(), String> {
    capture.database.exec(&tables(name));
    capture.begin_anew(&format!("tables: [\"{name}.*\"]"));
    capture.headwater.launch().unwrap();
    capture.wait().map_err(|error| format!("it does not begin: {error}"))?;
    capture.database.exec(&format!("insert into {name}.t values (2, 'two', 'b')"));
    capture.catch_up();
    if stop.is_away {
        capture.headwater.terminate(LIMIT).unwrap();
    }
    (stop.cause)(&mut capture.database, name);
    // A server that was replaced has another address.
    capture.reconfigure(&format!("tables: [\"{name}.*\"]"));
    if stop.is_away {
        capture.headwater.launch().unwrap();
    }
    let error = capture.stopped();
    let missing: Vec<&&str> = stop.says.iter().filter(|says| !error.contains(**says)).collect();
    if !missing.is_empty() || !error.starts_with("source db") {
        return Err(format!("{missing:?} is not in: {error}"));
    }
    let ids = |capture: &Capture, table: &str| -> Vec<String> {
        let records = capture.records(&format!("{name}.{table}"));
        records.iter().filter_map(|record| record.after("id").map(str::to_owned)).collect()
    };
    if ids(capture, "t") != ["1", "2"] {
        return Err(format!("the topic holds {:?}", ids(capture, "t")));
    }
    mend(capture, stop.mend, name);
    capture
        .database
        .exec(&format!("insert into {name}.other values (1); insert into {name}.t values (80, 'last', null)"));
    capture.wait().map_err(|error| format!("it does not go on: {error}"))?;
    let mut expected = vec!["1".to_owned()];
    if ids(capture, "other") != expected {
        return Err(format!("after the mending the other table shows {:?}", ids(capture, "other")));
    }
    if !matches!(stop.mend, Mend::LeaveOut) {
        expected = capture
            .database
            .query(&format!("select id from {name}.t order by id"))
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        let got: std::collections::BTreeSet<String> = ids(capture, "t").into_iter().collect();
        let missing: Vec<&String> = expected.iter().filter(|id| !got.contains(*id)).collect();
        if !missing.is_empty() {
            return Err(format!("after the mending {missing:?} is not in {got:?}"));
        }
    }
    capture.headwater.terminate(LIMIT).unwrap();
    Ok(())
}

fn mend(capture: &mut Capture, mend: Mend, name: &str) {
    match mend {
        Mend::Snapshot => {
            capture.headwater.run_ok(&["snapshot", "db"]).unwrap();
            wait_until(LIMIT, "the source to begin anew", || capture.failure().is_none()).unwrap();
            return;
        }
        Mend::Set(sql) => capture.database.exec(sql),
        Mend::LeaveOut => capture.reconfigure(&format!("tables: [\"{name}.*\"], exclude_tables: [\"{name}.t\"]")),
        Mend::WhenNeeded => capture.reconfigure(&format!("tables: [\"{name}.*\"], snapshot: when_needed")),
    }
    capture.headwater.terminate(LIMIT).unwrap();
    capture.headwater.launch().unwrap();
}

/// Inserts a row; the file and the place of the event that holds it.
fn log_a_row(database: &Database, name: &str) -> (String, u64) {
    let file = database.query("show binary logs").pop().and_then(|mut file| file.remove(0)).unwrap();
    database.exec(&format!("insert into {name}.t values (30, 'lost', null)"));
    let events = database.query(&format!("show binlog events in '{file}'"));
    let rows =
        events.iter().rfind(|event| event[2].as_deref().is_some_and(|kind| kind.starts_with("Write_rows"))).unwrap();
    (file, rows[1].as_deref().unwrap().parse().unwrap())
}

/// Changes the server's files while it is down.
fn doctor(database: &mut Database, change: impl FnOnce(&Database)) {
    database.exec("flush logs");
    database.stop().unwrap();
    change(database);
    database.restart().unwrap();
}

fn change_byte(file: &Path, place: u64) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[place as usize] ^= 0x40;
    std::fs::write(file, bytes).unwrap();
}
