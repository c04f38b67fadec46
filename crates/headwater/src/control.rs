//! What a running instance can be asked to do, whoever asks: HTTP today, a console later.
//!
//! Invariant: nothing here waits without a limit. Start at [`Control`].

pub use headwater_engine::{SinkStatus, SourceStatus, Stages, Status};

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A running instance.
pub trait Control: Send + Sync + 'static {
    /// A picture of everything that runs.
    fn status(&self) -> Status;

    /// Returns once every follower has applied all that was committed in the sources when this was called.
    fn wait(&self, limit: Duration) -> Result<(), Refusal>;

    /// Stops handing changes to a sink until [`Self::resume`].
    fn pause(&self, sink: &str) -> Result<(), Refusal>;

    /// Goes on where [`Self::pause`] stopped, or tries a failed sink again.
    fn resume(&self, sink: &str) -> Result<(), Refusal>;

    /// Empties the sink's target of what is ours and fills it anew.
    fn rebuild(&self, sink: &str) -> Result<(), Refusal>;

    /// Reads tables again, all of the source's when `tables` is empty.
    fn snapshot(&self, source: &str, tables: &[String]) -> Result<(), Refusal>;

    /// Rows that the sink's target refused; at most `limit` of them.
    fn dead_letters(&self, sink: &str, limit: usize) -> Result<Vec<DeadLetter>, Refusal>;

    /// Hands parked rows, all when `sequences` is empty, to the target again. Answers how many it took.
    fn replay(&self, sink: &str, sequences: Vec<u64>) -> Result<usize, Refusal>;

    /// Forgets parked rows, all when `sequences` is empty. Answers how many.
    fn drop_dead_letters(&self, sink: &str, sequences: &[u64]) -> Result<usize, Refusal>;
}

/// A row that a target refused, without its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its place in the journal.
    pub sequence: u64,
    /// `database.table`.
    pub table: String,
    /// c, u, d, r or t.
    pub op: String,
    /// When it was refused, microseconds since the epoch.
    pub at_us: i64,
    /// Why it was refused.
    pub reason: String,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of no it is.
    pub kind: RefusalKind,
    /// What was seen.
    pub message: String,
    /// What to do next; empty when there is nothing to say.
    pub hint: String,
}

/// Kinds of no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// There is nothing of this name.
    Unknown,
    /// It cannot be done now.
    Conflict,
    /// The time that the caller gave has passed.
    TimedOut,
    /// It was tried, and failed.
    Failed,
}

impl Refusal {
    /// A refusal with what to do next.
    pub fn new(kind: RefusalKind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Refusal { kind, message: message.into(), hint: hint.into() }
    }
}

/// States in which a source is doing its work.
const SOURCE_UP: [&str; 2] = ["snapshotting", "streaming"];
/// States in which a sink is doing its work, or is meant to rest.
const SINK_UP: [&str; 2] = ["following", "paused"];

/// Whether a source reads its database's log.
pub fn source_is_up(source: &SourceStatus) -> bool {
    SOURCE_UP.contains(&source.state.as_str())
}

/// Whether a sink follows, or rests because it was told to.
pub fn sink_is_up(sink: &SinkStatus) -> bool {
    SINK_UP.contains(&sink.state.as_str())
}

/// What is not doing its work, one line each; empty when everything is.
pub fn missing(status: &Status) -> Vec<String> {
    let sources = status.sources.iter().filter(|source| !source_is_up(source));
    let sinks = status.sinks.iter().filter(|sink| !sink_is_up(sink));
    sources
        .map(|source| format!("source {} is {}", source.name, source.state))
        .chain(sinks.map(|sink| format!("sink {} is {}", sink.name, sink.state)))
        .collect()
}
