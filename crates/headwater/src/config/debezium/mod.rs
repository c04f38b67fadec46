//! A Debezium connector's configuration, as it is posted to Kafka Connect, as a source of ours.
//!
//! Invariant: every property ends in one of four ways: it is honoured; it means nothing here, which a note says; it is not
//! honoured yet, which an error says; it is not known, which an error says. None is passed over in silence. Names of 1.x are
//! read as those of later versions. Pure: the environment is handed in. Start at [`translate`].

mod java_file;
mod known;
mod patterns;
mod properties;
mod records;
mod reference;
mod source;
mod transforms;

#[cfg(test)]
mod tests;

use headwater_format::debezium::options::{Connector, Options};
pub(super) use java_file::value_of;
use properties::Properties;
pub(super) use properties::is_template;
pub(super) use reference::page;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// What a connector's configuration comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Translated {
    /// Which source it is: `mysql`, `mariadb` or `postgres`.
    pub kind: &'static str,
    /// That source's settings, as under its key in `headwater.yaml`.
    pub settings: Value,
    /// How its records look. The run's id in the context headers is left empty: it is made when the source starts.
    pub format: Options,
    /// What the connector asks for beyond the two. Whoever builds the source honours each, or refuses it by its property.
    pub further: Further,
    /// Properties that mean nothing here, and what is done instead.
    pub notes: Vec<String>,
}

/// What neither a source's settings nor a format's options hold. Each default asks for nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Further {
    /// `heartbeat.interval.ms`; 0 is none.
    pub heartbeat_interval_ms: u64,
    /// `message.key.columns`, in order; the first that fits a table counts.
    pub keys: Vec<KeyColumns>,
    /// `topic.creation.default.partitions`.
    pub partitions: Option<u32>,
    /// `snapshot.mode` is `initial_only`, or another that does not stream.
    pub snapshot_only: bool,
}

/// Which columns make the key of the tables that a pattern fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumns {
    /// A regular expression between slashes over `database.table`.
    pub tables: String,
    /// The columns in the key's order.
    pub columns: Vec<String>,
}

/// What is wrong with one property. Values of secrets never stand in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The property's name.
    pub property: String,
    /// What was seen, what is allowed, what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.message)
    }
}

/// Reads a connector's properties. `${NAME}` in a value is replaced by what `environment` answers for `NAME`. Answers all
/// that is wrong, not only the first fault.
pub fn translate(
    properties: &BTreeMap<String, String>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Translated, Vec<Fault>> {
    let mut properties = Properties::new(properties, environment);
    match read(&mut properties) {
        Some(translated) => properties.finish().map(|notes| Translated { notes, ..translated }),
        None => Err(properties.finish_without_rest()),
    }
}

/// Reads all that is known; its notes are still empty.
fn read(properties: &mut Properties) -> Option<Translated> {
    let connector = connector(properties)?;
    let mut further = Further::default();
    let database = match connector {
        Connector::Postgresql => properties.required("database.dbname").unwrap_or_default(),
        Connector::Mysql | Connector::Mariadb => String::new(),
    };
    let shows_changes = !properties.is("include.schema.changes", "false");
    let settings = source::settings(properties, connector, &database, &mut further);
    let mut format = records::options(properties, connector, &database);
    if connector == Connector::Mariadb && format.is_exact() {
        // The original takes the one property for the other there.
        format.include_comments = shows_changes;
    }
    let kind = match connector {
        Connector::Mysql => "mysql",
        Connector::Mariadb => "mariadb",
        Connector::Postgresql => "postgres",
    };
    Some(Translated { kind, settings, format, further, notes: Vec::new() })
}

fn connector(properties: &mut Properties) -> Option<Connector> {
    let allowed = [
        ("io.debezium.connector.mysql.MySqlConnector", Connector::Mysql),
        ("io.debezium.connector.mariadb.MariaDbConnector", Connector::Mariadb),
        ("io.debezium.connector.postgresql.PostgresConnector", Connector::Postgresql),
    ];
    let class = properties.required("connector.class")?;
    let found = allowed.iter().find(|(name, _)| *name == class).map(|(_, connector)| *connector);
    if found == Some(Connector::Mysql) && adapts_mariadb(properties) {
        return Some(Connector::Mariadb);
    }
    if found.is_none() {
        let names: Vec<&str> = allowed.iter().map(|(name, _)| *name).collect();
        properties
            .fault("connector.class", format!("{class:?} is not a source here; allowed are {}", names.join(", ")));
    }
    found
}

/// Until 2.6 the connector for MySQL read MariaDB as well.
fn adapts_mariadb(properties: &mut Properties) -> bool {
    let name = "connector.adapter";
    let adapters = [("mysql", false), ("mariadb", true)];
    let mariadb = properties.choice(name, &adapters) == Some(true);
    if mariadb {
        properties.note(name, "the records are those of Debezium's connector for MariaDB");
    }
    mariadb
}
