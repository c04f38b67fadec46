//! The kinds of sources and sinks that this binary was built with, as the control plane sees them.
//!
//! Invariant: a connector is known here by its declaration alone: name, summary, schema, example. Nothing else in this
//! crate names one. Start at [`Registry`].

pub use headwater_sink::{Configured as ConfiguredSink, SinkType};
pub use headwater_source::SourceType;

use headwater_format::debezium::Options as Records;
use headwater_model::source::Source;
use headwater_model::{Error, Result};
use serde_json::Value;

/// All kinds.
#[derive(Clone, Copy)]
pub struct Registry {
    /// Kinds of sources.
    pub sources: &'static [&'static dyn SourceType],
    /// Kinds of sinks.
    pub sinks: &'static [&'static dyn SinkType],
}

/// What this binary was built with.
pub fn built_in() -> Registry {
    Registry { sources: headwater_source::SOURCES, sinks: headwater_sink::SINKS }
}

/// A source whose settings are known to be good.
pub struct ConfiguredSource {
    kind: &'static dyn SourceType,
    name: String,
    settings: Value,
}

impl ConfiguredSource {
    /// Reads the settings of the source called `name`; the error says what is wrong with them. No I/O.
    pub fn new(kind: &'static dyn SourceType, name: &str, settings: Value) -> Result<Self, String> {
        kind.build(name, &settings).map_err(|error| error.to_string())?;
        Ok(ConfiguredSource { kind, name: name.into(), settings })
    }

    /// How its changes look as records, where nothing else says it.
    pub fn records(&self) -> Result<Records, String> {
        self.kind.records(&self.name, &self.settings).map_err(|error| error.to_string())
    }

    /// Makes the source.
    pub fn build(&self) -> Result<Box<dyn Source>> {
        self.kind.build(&self.name, &self.settings).map_err(|error| Error::stop(error.to_string()))
    }

    /// Connects, and lists what is missing or dangerous; changes nothing.
    pub fn check(&self) -> Vec<Finding> {
        match self.kind.check(&self.name, &self.settings) {
            Ok(found) => found.into_iter().map(Finding::from).collect(),
            Err(error) => vec![Finding { fatal: true, message: error.to_string(), remedy: None }],
        }
    }

    /// Removes what the source keeps on its server; answers what was there.
    pub fn detach(&self, all: bool) -> Result<Vec<String>> {
        self.kind.detach(&self.name, &self.settings, all)
    }
}

/// What `check` found at a source or a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it cannot work at all; otherwise it works, and something may be lost or slow.
    pub fatal: bool,
    /// What was seen.
    pub message: String,
    /// The exact statement or setting that mends it, where there is one.
    pub remedy: Option<String>,
}

impl From<headwater_source::Finding> for Finding {
    fn from(found: headwater_source::Finding) -> Self {
        let fatal = found.severity == headwater_source::Severity::Error;
        Finding { fatal, message: found.what, remedy: Some(found.mend).filter(|mend| !mend.is_empty()) }
    }
}

impl From<headwater_sink::Finding> for Finding {
    fn from(found: headwater_sink::Finding) -> Self {
        let fatal = found.severity == headwater_sink::Severity::Error;
        Finding { fatal, message: found.message, remedy: found.remedy }
    }
}
