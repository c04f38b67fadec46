//! What `status`, `/status` and `/metrics` tell: a plain picture of every source and sink at one moment.
//!
//! Invariant: no row value and no secret is ever part of it.

use serde::{Deserialize, Serialize};

/// Everything that runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// Each source.
    pub sources: Vec<SourceStatus>,
    /// Each sink.
    pub sinks: Vec<SinkStatus>,
}

/// One source.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// starting, connecting, snapshotting, streaming, held (by a follower that is too far behind), waiting (to try
    /// again), full (no room on disk), stopped, failed.
    pub state: String,
    /// The server and its version.
    pub server: String,
    /// Where it stands in the server's log.
    pub position: String,
    /// Rows that the snapshot has read, and an estimate of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_rows: Option<(u64, u64)>,
    /// The journal's identity.
    pub journal: String,
    /// The sequence of the next change to be written.
    pub sequence: u64,
    /// Everything below this is on disk.
    pub durable_sequence: u64,
    /// The first sequence that the journal still holds.
    pub first_sequence: u64,
    /// Bytes of the journal on disk.
    pub journal_bytes: u64,
    /// Changes a second, over the last seconds.
    pub rate_changes_per_s: f64,
    /// Bytes that followers hold back beyond what retention would keep.
    pub held_bytes: u64,
    /// Rows since the start with values that the log did not carry, and of which nothing was known to fill them in from.
    #[serde(default)]
    pub unfilled_rows: u64,
    /// What went wrong last, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One sink.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// The source that it follows.
    pub source: String,
    /// starting, filling (from the rows that the journal stands for), rebuilding (being emptied), following, paused,
    /// waiting (to try again), ahead (until the log is read again), failed, dropped, stopped.
    pub state: String,
    /// The server and its version.
    pub server: String,
    /// Everything below this sequence is applied.
    pub sequence: u64,
    /// Changes between the journal's end and the sink.
    pub lag_changes: u64,
    /// About how many bytes of journal that is.
    pub lag_bytes: u64,
    /// Age of the oldest change that is not applied, in milliseconds; 0 when there is none.
    pub lag_ms: u64,
    /// Changes a second, over the last seconds.
    pub rate_changes_per_s: f64,
    /// While it is filled: rows handed over so far, and all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filled_rows: Option<(u64, u64)>,
    /// Rows in the dead-letter topic.
    pub dead_letters: u64,
    /// Times of the recent changes by stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages: Option<Stages>,
    /// What went wrong last, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How long changes take, each `[p50, p99]` in milliseconds over the recent ones.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stages {
    /// From the commit in the database to its last byte here; `None` where no commit's time is known.
    pub commit_to_receive_ms: Option<[f64; 2]>,
    /// From there to its being written to the journal.
    pub receive_to_journal_ms: [f64; 2],
    /// From there to its being applied by the target.
    pub journal_to_sink_ms: [f64; 2],
    /// All of it.
    pub commit_to_sink_ms: Option<[f64; 2]>,
    /// Why no commit's time is known, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_note: Option<String>,
}
