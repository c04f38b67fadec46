//! A server on which scenarios run one after another, each in a fresh database.
//!
//! Invariant: what a scenario leaves behind (databases, slots, prepared transactions, global settings) never meets the next
//! one. Start at [`Lane::fresh`].

use headwater_testkit::golden::Scenario;
use headwater_testkit::{Database, Flavor, PASSWORD, Postgres, PostgresRelease, Result, USER};
use std::collections::BTreeMap;
use std::fmt;

/// Which server the scenarios run on.
#[derive(Clone, Copy, Debug)]
pub enum Server {
    /// MySQL or MariaDB.
    Database(Flavor),
    /// PostgreSQL.
    Postgres(PostgresRelease),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Database(flavor) => flavor.fmt(f),
            Server::Postgres(release) => release.fmt(f),
        }
    }
}

enum Running {
    Database(Database),
    Postgres(Postgres),
}

/// One server, started when it is first needed.
pub struct Lane {
    server: Server,
    running: Option<Running>,
    /// The last scenario changed what belongs to the whole server.
    spoilt: bool,
    /// Databases of the last scenario.
    left: Vec<String>,
}

impl Lane {
    /// A lane without a server yet.
    pub fn new(server: Server) -> Lane {
        Lane { server, running: None, spoilt: false, left: Vec::new() }
    }

    /// Makes the server ready for a scenario: no other database, the scenario's own one there and empty.
    pub fn fresh(&mut self, scenario: &Scenario) -> Result {
        if std::mem::take(&mut self.spoilt) {
            self.running = None;
        }
        let running = match self.running.take() {
            Some(running) => running,
            None => start(self.server)?,
        };
        match &running {
            Running::Database(database) => {
                for name in self.left.drain(..) {
                    database.try_exec(&format!("DROP DATABASE IF EXISTS `{name}`"))?;
                }
                let plain = format!("CREATE DATABASE `{}`", scenario.database);
                database.try_exec(scenario.create_database.as_deref().unwrap_or(&plain))?;
            }
            Running::Postgres(server) => {
                clear(server)?;
                let create = scenario.create_database.as_deref().unwrap_or("CREATE DATABASE gold");
                server.try_exec("postgres", create)?;
            }
        }
        self.left = [std::slice::from_ref(&scenario.database), scenario.other_databases.as_slice()].concat();
        self.spoilt = changes_the_server(scenario)?;
        self.running = Some(running);
        Ok(())
    }

    /// Runs a text of SQL in the scenario's database.
    pub fn exec(&self, scenario: &Scenario, sql: &str) -> Result {
        match &self.running {
            Some(Running::Database(database)) => database.try_exec(&format!("USE `{}`;\n{sql}", scenario.database)),
            Some(Running::Postgres(server)) => server.try_exec(&scenario.database, sql),
            None => Ok(()),
        }
    }

    /// The connector's properties of the connection.
    pub fn connection(&self, scenario: &Scenario) -> BTreeMap<String, String> {
        let class = match scenario.kind.as_str() {
            "mysql" => "mysql.MySqlConnector",
            "mariadb" => "mariadb.MariaDbConnector",
            _ => "postgresql.PostgresConnector",
        };
        let mut properties = vec![
            ("connector.class", format!("io.debezium.connector.{class}")),
            ("topic.prefix", scenario.topic_prefix.clone()),
            ("database.hostname", "127.0.0.1".to_owned()),
            ("database.user", USER.to_owned()),
            ("database.password", PASSWORD.to_owned()),
            ("tasks.max", "1".to_owned()),
        ];
        match &self.running {
            Some(Running::Database(database)) => {
                properties.push(("database.port", database.port().to_string()));
                properties.push(("database.server.id", "7001".to_owned()));
            }
            Some(Running::Postgres(server)) => {
                properties.push(("database.port", server.port().to_string()));
                properties.push(("database.dbname", scenario.database.clone()));
                properties.push(("plugin.name", "pgoutput".to_owned()));
            }
            None => {}
        }
        properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn start(server: Server) -> Result<Running> {
    Ok(match server {
        // As 8.x: cascades of foreign keys stay out of the log.
        Server::Database(Flavor::MySql) => Running::Database(Database::start(
            Flavor::MySql,
            &["--innodb-native-foreign-keys=ON", "--binlog-rows-query-log-events=ON"],
        )?),
        Server::Database(flavor) => Running::Database(Database::start(flavor, &[])?),
        Server::Postgres(release) => Running::Postgres(Postgres::start(release, &[])?),
    })
}

/// Whether a scenario sets what outlives it.
fn changes_the_server(scenario: &Scenario) -> Result<bool> {
    for phase in &scenario.phases {
        if let headwater_testkit::golden::Phase::Sql(file) = phase {
            let sql = scenario.sql(file)?.to_uppercase();
            let outlives = [
                "GLOBAL",
                "ALTER SYSTEM",
                "CREATE ROLE",
                "CREATE USER",
                "AUTOMATIC:",
                "REPLICATION_ORIGIN",
                "CREATE SERVER",
            ];
            if outlives.iter().any(|word| sql.contains(word)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Drops the slots, the prepared transactions and the database of the scenario before.
fn clear(server: &Postgres) -> Result {
    server.try_exec("postgres", "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")?;
    let limit = crate::world::LIMIT;
    let active = "SELECT count(*) FROM pg_replication_slots WHERE active";
    headwater_testkit::wait_until(limit, "slots to be left", || server.value("postgres", active) == "0")?;
    server.try_exec("postgres", "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")?;
    let there = "SELECT count(*) FROM pg_database WHERE datname = 'gold'";
    if server.value("postgres", there) == "1" {
        for row in server.try_query("gold", "SELECT gid FROM pg_prepared_xacts WHERE database = 'gold'")? {
            let gid = row.into_iter().flatten().next().unwrap_or_default();
            server.try_exec("gold", &format!("ROLLBACK PREPARED '{}'", gid.replace('\'', "''")))?;
        }
        server.try_exec("postgres", "DROP DATABASE gold WITH (FORCE)")?;
    }
    Ok(())
}
