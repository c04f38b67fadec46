//! What the engine is told to run. All of it was validated when the configuration was parsed.

use headwater_model::sink::Sink;
use headwater_model::source::Source;
use headwater_model::{Result, Schema};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Makes a source; called once for each start of it.
pub type BuildSource = Arc<dyn Fn() -> Result<Box<dyn Source>> + Send + Sync>;

/// Makes a sink; called once for each start of its follower.
pub type BuildSink = Arc<dyn Fn() -> Result<Box<dyn Sink>> + Send + Sync>;

/// The engine's own options.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Everything that is kept lies below this folder.
    pub data_dir: PathBuf,
    /// How journals are written and for how long they are kept.
    pub journal: headwater_journal::Options,
    /// What happens when a follower holds back more than the retention's limit.
    pub laggard: Laggard,
}

/// The outcome for a follower that is too far behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Laggard {
    /// The source stops until the follower has caught up: nothing is lost, the database keeps its log.
    StopSource,
    /// The follower is dropped: it stops, and must be rebuilt.
    DropFollower,
}

/// A source to run.
#[derive(Clone)]
pub struct SourceSpec {
    /// Its name: the prefix of its topics, and the name of its journal's folder.
    pub name: String,
    /// What its changes become in topics.
    pub topics: TopicsSpec,
    /// Makes it.
    pub build: BuildSource,
}

/// How a source's changes stand in topics.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicsSpec {
    /// How changes look as records.
    pub rendering: headwater_format::debezium::Options,
    /// Partitions of the topics of tables and messages; a topic that is there already keeps what it has beyond that.
    pub partitions: u32,
    /// How often a record in the topic of heartbeats says that the source is alive; `None` for none.
    pub heartbeat_interval: Option<Duration>,
}

impl Default for TopicsSpec {
    fn default() -> Self {
        TopicsSpec {
            rendering: headwater_format::debezium::Options::default(),
            partitions: 1,
            heartbeat_interval: None,
        }
    }
}

/// A follower to run.
#[derive(Clone)]
pub struct SinkSpec {
    /// Its name.
    pub name: String,
    /// The source that it follows.
    pub source: String,
    /// The tables that it follows.
    pub tables: TableFilter,
    /// Where it begins when its target holds nothing of ours.
    pub from: FromWhere,
    /// Makes it.
    pub build: BuildSink,
}

/// Decides by a table's schema whether a follower wants its changes.
pub type TableFilter = Arc<dyn Fn(&Schema) -> bool + Send + Sync>;

/// Where a new follower begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FromWhere {
    /// The tables' whole content, then every change.
    #[default]
    Snapshot,
    /// The first change that the journal still holds.
    Earliest,
    /// The next change.
    Now,
}
