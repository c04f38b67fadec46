//! The entry for fuzzing: any text, as a script of statements, against a small catalog of either server.

use super::{Catalog, Options, Server, Session, sql_mode};

/// Follows `text`, one statement a line, on both servers and in two SQL modes. Finds panics, and entries whose schema or
/// stored form cannot be made.
pub fn fuzz_ddl(text: &str) {
    for (mariadb, version, mode) in [(false, 90_700, 0), (true, 101_100, sql_mode::ANSI_QUOTES)] {
        let server = Server { mariadb, version };
        let mut catalog = Catalog::new(Options { server, lower_case: mariadb, charset: "utf8mb4".to_owned() });
        let session = Session { sql_mode: mode, implicit_timestamps: mariadb, ..Session::new("d") };
        // A table to alter; the script may drop it.
        let _ = catalog.apply(&session, "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(10), b TEXT UNIQUE)");
        for statement in text.lines() {
            let _ = catalog.apply(&session, statement);
        }
        for (_, def) in catalog.tables() {
            let schema = def.to_schema(1);
            assert!(schema.key.iter().all(|place| usize::from(*place) < schema.columns.len()));
            let stored = serde_json::to_string(def).expect("a definition can be stored");
            assert_eq!(serde_json::from_str::<super::TableDef>(&stored).as_ref().ok(), Some(def));
        }
    }
}
