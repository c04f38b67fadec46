//! The PostgreSQL source: from a server's write-ahead log and tables to transactions of typed changes.
//!
//! What is guaranteed: every committed change of a captured table reaches the intake once and in the order of commits, no
//! uncommitted one does, and whatever cannot be followed stops the source by name. `wire` moves messages, `decode` turns
//! them into changes, `stream` puts them together. Start at [`stream::PostgresSource`].

mod catalogue;
pub mod check;
pub mod config;
pub mod decode;
mod detach;
pub mod failure;
pub mod identity;
mod in_progress;
pub mod lsn;
pub mod position;
mod probe;
pub mod publication;
pub mod server;
pub mod slot;
mod snapshot;
pub mod start;
pub mod stream;
pub mod tables;
pub mod transaction;
pub mod wire;

use crate::{ConfigError, Finding, SourceType};
use config::{Config, Options};
use headwater_format::debezium::Options as Records;
use headwater_format::debezium::options::Connector;
use headwater_model::source::Source;
use serde_json::Value;

/// A PostgreSQL server's log.
pub struct Postgres;

impl SourceType for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn summary(&self) -> &'static str {
        "Reads the write-ahead log of a PostgreSQL server (12 to 18) through a replication slot."
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Config).to_value()
    }

    fn example(&self) -> &'static str {
        "postgres:\n  url: \"postgres://cdc:${env:SHOP_PASSWORD}@db1:5432/shop\"\n  tables: [\"public.*\"]\n"
    }

    fn build(&self, name: &str, settings: &Value) -> Result<Box<dyn Source>, ConfigError> {
        Ok(Box::new(stream::PostgresSource::new(options(name, settings)?)))
    }

    fn records(&self, name: &str, settings: &Value) -> Result<Records, ConfigError> {
        let connection = options(name, settings)?.connection;
        let database = connection.database.unwrap_or(connection.user);
        Ok(Records { database, ..Records::of_source(Connector::Postgresql, name) })
    }

    fn check(&self, name: &str, settings: &Value) -> Result<Vec<Finding>, ConfigError> {
        Ok(check::check(&options(name, settings)?))
    }

    fn detach(&self, name: &str, settings: &Value, all: bool) -> headwater_model::Result<Vec<String>> {
        let options = options(name, settings).map_err(|error| headwater_model::Error::stop(error.to_string()))?;
        detach::detach(&options, all)
    }
}

fn options(name: &str, settings: &Value) -> Result<Options, ConfigError> {
    let wrong = |error: config::ConfigError| ConfigError(error.to_string());
    Config::from_value(settings.clone()).and_then(|config| config.validate(name)).map_err(wrong)
}
