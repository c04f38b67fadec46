//! The data plane: runs sources into journals and followers out of them.
//!
//! Every source has a thread and a journal of its own; every follower has a thread and reads a journal at its own pace.
//! Invariant: nothing on a source's way knows that followers exist; they find the journal grown and read it. Start at
//! [`Engine`], then `intake.rs` (into the journal) and `follower.rs` (out of it).

mod batch;
mod dead_letters;
mod engine;
mod filling;
mod follower;
mod held;
mod intake;
mod options;
mod partition;
mod projection;
mod replay;
mod retention;
mod rows;
mod schemas;
mod session;
mod source;
mod stages;
mod status;
mod stop;
mod unlogged;

pub use dead_letters::Letter;
pub use engine::Engine;
pub use options::{EngineOptions, FromWhere, Laggard, SinkSpec, SourceSpec, TableFilter, TopicsSpec};
pub use partition::partition_of;
pub use projection::RENDERING_HEAD;
pub use schemas::SCHEMA_PREFIX;
pub use status::{SinkStatus, SourceStatus, Stages, Status};
