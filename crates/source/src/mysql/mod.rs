//! The MySQL and MariaDB source: from a server's log and tables to transactions of typed changes.
//!
//! What is guaranteed: every committed change of a captured table reaches the intake once and in the log's order, no
//! uncommitted one does, and whatever cannot be followed stops the source by name. `wire` moves packets, `decode` turns
//! them into events, `catalog` knows the tables, `stream` puts them together. Start at [`stream::MySqlSource`].

mod access;
pub mod catalog;
pub mod check;
mod commit;
pub mod config;
pub mod decode;
pub mod definitions;
pub mod failure;
pub mod gtid;
mod members;
pub mod position;
mod probe;
pub mod server;
mod snapshot;
pub mod start;
mod statement;
pub mod stream;
pub mod tables;
pub mod transaction;
pub mod wire;
mod xa;

use crate::{ConfigError, Finding, SourceType};
use config::{Config, Options};
use headwater_format::debezium::Options as Records;
use headwater_format::debezium::options::Connector;
use headwater_model::source::Source;
use serde_json::Value;

/// A MySQL server's log.
pub struct MySql;

/// A MariaDB server's log.
pub struct MariaDb;

impl SourceType for MySql {
    fn name(&self) -> &'static str {
        "mysql"
    }

    fn summary(&self) -> &'static str {
        "Reads the binary log of a MySQL server (8.0 to 9.x)."
    }

    fn schema(&self) -> Value {
        schema()
    }

    fn example(&self) -> &'static str {
        "mysql:\n  url: \"mysql://cdc:${env:SHOP_PASSWORD}@db1:3306\"\n  tables: [\"shop.*\"]\n"
    }

    fn build(&self, name: &str, settings: &Value) -> Result<Box<dyn Source>, ConfigError> {
        build(name, settings)
    }

    fn records(&self, name: &str, settings: &Value) -> Result<Records, ConfigError> {
        records(Connector::Mysql, name, settings)
    }

    fn check(&self, name: &str, settings: &Value) -> Result<Vec<Finding>, ConfigError> {
        Ok(check::check(&options(name, settings)?))
    }

    fn detach(&self, _name: &str, _settings: &Value, _all: bool) -> headwater_model::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

impl SourceType for MariaDb {
    fn name(&self) -> &'static str {
        "mariadb"
    }

    fn summary(&self) -> &'static str {
        "Reads the binary log of a MariaDB server (10.5 to 11.x)."
    }

    fn schema(&self) -> Value {
        schema()
    }

    fn example(&self) -> &'static str {
        "mariadb:\n  url: \"mysql://cdc:${env:SHOP_PASSWORD}@db1:3306\"\n  tables: [\"shop.*\"]\n"
    }

    fn build(&self, name: &str, settings: &Value) -> Result<Box<dyn Source>, ConfigError> {
        build(name, settings)
    }

    fn records(&self, name: &str, settings: &Value) -> Result<Records, ConfigError> {
        records(Connector::Mariadb, name, settings)
    }

    fn check(&self, name: &str, settings: &Value) -> Result<Vec<Finding>, ConfigError> {
        Ok(check::check(&options(name, settings)?))
    }

    fn detach(&self, _name: &str, _settings: &Value, _all: bool) -> headwater_model::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

fn schema() -> Value {
    schemars::schema_for!(Config).to_value()
}

fn options(name: &str, settings: &Value) -> Result<Options, ConfigError> {
    let wrong = |error: config::ConfigError| ConfigError(error.to_string());
    Config::from_value(settings.clone()).and_then(|config| config.validate(name)).map_err(wrong)
}

fn records(connector: Connector, name: &str, settings: &Value) -> Result<Records, ConfigError> {
    let include_query = options(name, settings)?.statements;
    Ok(Records { include_query, ..Records::of_source(connector, name) })
}

fn build(name: &str, settings: &Value) -> Result<Box<dyn Source>, ConfigError> {
    Ok(Box::new(stream::MySqlSource::new(options(name, settings)?)))
}
