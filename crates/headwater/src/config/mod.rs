//! One YAML file becomes one validated [`Config`].
//!
//! Invariant: what [`load`] answers needs no second look: every name is resolved, every quantity has its unit, unknown
//! keys are refused. Reading does no I/O beyond the file itself and the files and variables that it refers to.

mod connector;
pub mod debezium;
pub mod document;
pub mod error;
mod followed;
mod read;
pub mod reference;
pub mod schema;
pub mod substitute;
pub mod units;

#[cfg(test)]
mod tests;

pub use error::ConfigError;
pub use read::{load, load_settings, parse};
pub use units::{Size, Span};

use crate::registry::{ConfiguredSink, ConfiguredSource};
use headwater_engine::TopicsSpec;
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The key of a source that is declared as a Debezium connector's configuration.
pub(crate) const DEBEZIUM: &str = "debezium";

/// The whole file, read and found good.
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    /// Everything but the connectors.
    pub settings: Settings,
    /// Sources by name.
    pub sources: Vec<Source>,
    /// Sinks by name.
    pub sinks: Vec<Sink>,
    /// The document as it was written, references not followed, inline secrets hidden; for `config show`.
    pub shown: Value,
}

/// A named source.
pub struct Source {
    /// Its name, and its topics' prefix.
    pub name: String,
    /// The kind's key.
    pub kind: &'static str,
    /// What its changes become in topics.
    pub topics: TopicsSpec,
    /// Makes and checks it.
    pub connector: Arc<ConfiguredSource>,
}

/// A named sink.
pub struct Sink {
    /// Its name.
    pub name: String,
    /// The kind's key.
    pub kind: &'static str,
    /// Where it begins when it is new.
    pub from: From,
    /// The source that it follows.
    pub source: String,
    /// The tables that it follows, `database.table` each.
    pub tables: Vec<String>,
    /// Makes and checks it.
    pub connector: Arc<dyn ConfiguredSink>,
}

/// Everything in the file that is not a connector's own.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "headwater.yaml")]
pub struct Settings {
    /// The folder that holds the journals. Made when it is missing; a relative path starts at this file's folder. One
    /// process at a time.
    pub data_dir: PathBuf,
    /// Where status, metrics and control are served.
    #[serde(default)]
    pub http: Http,
    /// What is logged, and how. Goes to standard error.
    #[serde(default)]
    pub log: Log,
    /// The durable journal that every source is written to.
    #[serde(default)]
    pub journal: Journal,
    /// When followers may see a change.
    #[serde(default)]
    pub delivery: Delivery,
}

/// The HTTP listener.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port. Anything beyond loopback is open to everyone who can reach it: there are no users yet.
    #[serde(deserialize_with = "listen_address")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
}

/// The process's own log.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// One line a message for people, or one JSON object a line for machines.
    pub format: LogFormat,
    /// The least important messages that are kept.
    pub level: LogLevel,
}

/// How a log message looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// How important a log message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something stopped.
    Error,
    /// Something needs a look.
    Warn,
    /// What happens at large.
    #[default]
    Info,
    /// What happens in detail.
    Debug,
    /// Everything.
    Trace,
}

/// The journal's shape and how long it is kept.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    /// Size of one segment file: space comes back in pieces of this size.
    pub segment_bytes: Size,
    /// Compression of a frame's content. Saves disk and costs processor time.
    pub compression: Compression,
    /// How long changes are kept.
    pub retention: Retention,
    /// What happens to a follower that falls behind what retention would keep.
    pub laggard: Laggard,
}

/// How a frame's content is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Fast.
    Lz4,
    /// Small.
    Zstd,
}

/// Limits after which the oldest changes go. A journal without limits grows for ever.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Changes older than this go. `null`: age does not matter.
    pub time: Option<Span>,
    /// The oldest changes go when a source's journal is larger than this. `null`: size does not matter.
    pub bytes: Option<Size>,
    /// Stays behind the slowest follower in any case, for targets that are restored from an older copy: at least this
    /// long …
    pub keep_time: Span,
    /// … or this much, whichever is less.
    pub keep_bytes: Size,
}

/// A follower that is behind holds retention back up to a limit.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Laggard {
    /// A journal may grow to this size for the sake of a follower that is behind. `null`: as far as the disk goes.
    pub limit: Option<Size>,
    /// What happens at the limit.
    pub on_limit: OnLimit,
}

/// What happens when a follower holds back more than the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLimit {
    /// The source stops reading until the follower has caught up; nothing is lost as long as the database keeps its log.
    #[default]
    StopSource,
    /// The follower is dropped, said so in its status, and rebuilt from the database when it comes back.
    DropFollower,
}

/// When followers may see a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// As soon as it is written. The database sends the same again after a power failure, so nothing can differ.
    #[default]
    Written,
    /// Only once it is on disk: about one fsync later.
    Durable,
}

/// Where a new follower begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// With all rows as they are, then every change.
    #[default]
    Snapshot,
    /// With the oldest change in the journal.
    Earliest,
    /// With the next change.
    Now,
}

/// A sink's settings that are the same for every kind.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkSettings {
    /// Where it begins when it is new.
    #[serde(default)]
    pub from: From,
    /// What is written, by table. A table is `database.table`; or `source.database.table` where there are several
    /// sources; or `source.table` where the source reads one database. All tables of one sink are of one source.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub follow: BTreeMap<String, Value>,
}

fn listen_address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let expected = "expected an IP address and a port, such as 127.0.0.1:8083 or [::1]:8083";
    String::deserialize(from)?.parse().map_err(|_| D::Error::custom(expected))
}

impl Default for Http {
    fn default() -> Self {
        Http { listen: SocketAddr::from(([127, 0, 0, 1], 8083)) }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Journal {
            segment_bytes: Size(64 << 20),
            compression: Compression::default(),
            retention: Retention::default(),
            laggard: Laggard::default(),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Retention {
            time: Some(Span(std::time::Duration::from_secs(7 * 86_400))),
            bytes: None,
            keep_time: Span(std::time::Duration::from_secs(3_600)),
            keep_bytes: Size(1 << 30),
        }
    }
}

impl Default for Laggard {
    fn default() -> Self {
        Laggard { limit: Some(Size(64 << 30)), on_limit: OnLimit::default() }
    }
}
