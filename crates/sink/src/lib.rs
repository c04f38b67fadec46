//! Sinks: the targets that followers write to, one folder each, and the registry of their types.
//!
//! Invariant: a sink's settings are parsed and checked here, without I/O, into one value that nothing later checks again.
//! Start at [`SINKS`]; a sink's own folder tells what it writes and what it guarantees.

pub mod docs;
pub mod redis;

use headwater_model::sink::Sink;
use serde_json::Value;
use std::fmt;

/// Every type of sink that this build knows.
pub static SINKS: &[&dyn SinkType] = &[&redis::Redis];

/// The type that is configured under the key `name`.
pub fn sink_type(name: &str) -> Option<&'static dyn SinkType> {
    SINKS.iter().copied().find(|sink| sink.name() == name)
}

/// Everything that configuration, help, reference pages and the console need of one type of sink; no I/O.
pub trait SinkType: Sync {
    /// The key under which it is configured, in snake_case.
    fn name(&self) -> &'static str;

    /// One sentence: what it writes, with which guarantee.
    fn summary(&self) -> &'static str;

    /// The JSON schema of its settings, the value below its key.
    fn schema(&self) -> schemars::Schema;

    /// The JSON schema of `follow`: table to list of writes.
    fn follow_schema(&self) -> schemars::Schema;

    /// A small, complete entry of `sinks:` in YAML.
    fn example(&self) -> &'static str;

    /// Text for the reference page: what is written, how values look, what is guaranteed. Markdown.
    fn notes(&self) -> &'static str;

    /// Parses and checks `settings` (the value below the type's key) and `follow` of the sink called `name`.
    fn configure(&self, name: &str, settings: &Value, follow: &Value) -> Result<Box<dyn Configured>, ConfigError>;
}

/// A sink whose configuration is known to be good.
pub trait Configured: Send + Sync {
    /// The tables and views that it follows, as written under `follow`.
    fn tables(&self) -> Vec<String>;

    /// Makes the sink; it connects when it is told to.
    fn build(&self) -> Box<dyn Sink>;

    /// Connects, and lists what is missing or doubtful at the target. Writes nothing.
    fn check(&self) -> Vec<Finding>;
}

/// What is wrong with a sink's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where, below the sink's entry: `follow.shop.orders[0]`.
    pub place: String,
    /// What is wrong, and what is expected.
    pub message: String,
}

impl ConfigError {
    /// An error at `place`.
    pub fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        ConfigError { place: place.into(), message: message.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for ConfigError {}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, and something may be lost or slow.
    Warning,
    /// It cannot work.
    Error,
}

/// One thing that `check` found at a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was seen.
    pub message: String,
    /// The exact statement or setting that mends it, where there is one.
    pub remedy: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_type_is_named_summed_up_and_has_an_example_that_parses() {
        let mut names = HashSet::new();
        for sink in SINKS {
            let name = sink.name();
            assert!(names.insert(name), "two sinks are called {name}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name} is not snake_case");
            assert!(sink.summary().ends_with('.'), "the summary of {name} is a sentence");
            let example: Value = serde_yaml_ng::from_str(sink.example()).expect(name);
            let configured = sink.configure("example", &example[name], &example["follow"]).expect(name);
            assert!(!configured.tables().is_empty(), "the example of {name} follows something");
            for schema in [sink.schema(), sink.follow_schema()] {
                let undocumented = docs::undocumented(schema.as_value());
                assert_eq!(undocumented, Vec::<String>::new(), "fields of {name} without a doc comment");
            }
        }
    }

    #[test]
    fn the_reference_pages_are_current() {
        for sink in SINKS {
            let path = format!("{}/../../docs/connectors/sink-{}.md", env!("CARGO_MANIFEST_DIR"), sink.name());
            expect_test::expect_file![path].assert_eq(&docs::page(*sink));
        }
    }
}
