//! Sources: a database becomes transactions of typed changes.
//!
//! Each kind of source is one declaration, from which parsing, help, the reference and the console follow. Invariant:
//! nothing outside a source's own folder knows which kinds there are, except [`SOURCES`]. Start there.

pub mod filter;
mod heartbeat;
pub mod mysql;
mod net;
pub mod postgres;
mod settings;
mod snapshot;

use headwater_format::debezium::Options as Records;
use headwater_model::source::Source;
use serde_json::Value;

/// Every kind of source.
pub static SOURCES: &[&dyn SourceType] = &[&mysql::MySql, &mysql::MariaDb, &postgres::Postgres];

/// What a kind of source declares.
pub trait SourceType: Sync {
    /// Its key in the configuration.
    fn name(&self) -> &'static str;

    /// One sentence.
    fn summary(&self) -> &'static str;

    /// JSON schema of its settings.
    fn schema(&self) -> Value;

    /// The smallest configuration that works, as YAML.
    fn example(&self) -> &'static str;

    /// Reads the settings below its key, for the source called `name`. No I/O.
    fn build(&self, name: &str, settings: &Value) -> Result<Box<dyn Source>, ConfigError>;

    /// How its changes look as records, for the source called `name`. No I/O.
    fn records(&self, name: &str, settings: &Value) -> Result<Records, ConfigError>;

    /// Connects and lists what is missing or dangerous; changes nothing.
    fn check(&self, name: &str, settings: &Value) -> Result<Vec<Finding>, ConfigError>;

    /// Removes what the source keeps on its server, where `all` says so also what others may use too; answers what was
    /// there, for people.
    fn detach(&self, name: &str, settings: &Value, all: bool) -> headwater_model::Result<Vec<String>>;
}

/// What is wrong with the settings of a source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Running is pointless until it is mended.
    Error,
    /// It works, but something may be lost or be slow.
    Warning,
}

/// One thing that a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was seen.
    pub what: String,
    /// The exact statement or setting that mends it; empty when there is none.
    pub mend: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_is_declared_whole() {
        let mut names = BTreeSet::new();
        for kind in SOURCES {
            let name = kind.name();
            assert!(names.insert(name), "{name} is declared twice");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert!(kind.summary().ends_with('.'), "{name}");
            assert!(kind.example().starts_with(&format!("{name}:\n")), "{name}");
            let schema = kind.schema();
            let fields = schema["properties"].as_object().expect("an object with fields");
            for (field, schema) in fields {
                let text = schema["description"].as_str().unwrap_or_default();
                assert!(!text.is_empty(), "{name}.{field} has no documentation");
            }
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        for kind in SOURCES {
            let error = kind.build("shop", &serde_json::json!({ "colour": 1 })).err().expect("an unknown key");
            assert!(error.to_string().contains("colour"), "{error}");
        }
    }
}
