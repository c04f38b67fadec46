//! Redis: rows become JSON strings, hashes, members, counters and entries, under keys made from templates.
//!
//! Guarantee: exactly once. Rows and progress change in one `MULTI/EXEC` under `WATCH`; the key of idempotency is the
//! journal sequence in `headwater:{sink}:progress`. Refused rows go to `headwater:{sink}:rejected` in the same `EXEC`.
//!
//! Invariant: whatever is in flight when a connection breaks, Redis holds exactly what its progress says.
//! Limits: one row takes at most 512 MB (`plan.rs`); one transaction is at most one batch of the engine.
//! Reading order: `follow.rs` (what the user says), `plan.rs` (changes to commands), `outcome.rs` (counts and counters),
//! `write.rs` (the sink). Counts and counters take every change as it comes: a row's first event has to be its create or
//! its only read, as the journal has it.

mod bind;
mod check;
pub mod config;
pub mod follow;
mod interner;
mod link;
mod numbers;
mod outcome;
mod plan;
mod resp;
mod server;
mod sweep;
mod template;
mod tenure;
mod write;

#[cfg(test)]
mod tests;

use crate::{ConfigError, Configured, Finding, SinkType};
use config::{Endpoint, Settings};
use follow::{Follow, WriteForm};
use headwater_model::sink::Sink;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The type of sinks that write to Redis.
pub struct Redis;

impl SinkType for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn summary(&self) -> &'static str {
        "Keeps keys in Redis equal to the rows of tables, exactly once: rows and progress change in one transaction."
    }

    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(Settings)
    }

    fn follow_schema(&self) -> schemars::Schema {
        schemars::schema_for!(BTreeMap<String, Vec<WriteForm>>)
    }

    fn example(&self) -> &'static str {
        include_str!("example.yaml")
    }

    fn notes(&self) -> &'static str {
        include_str!("notes.md")
    }

    fn configure(&self, name: &str, settings: &Value, follow: &Value) -> Result<Box<dyn Configured>, ConfigError> {
        // The name becomes part of keys, in which `:` separates.
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
            return Err(ConfigError::new("name", format!("`{name}` may hold only letters, digits, `_`, `-` and `.`")));
        }
        let settings: Settings = serde_path_to_error::deserialize(settings)
            .map_err(|error| ConfigError::new(format!("redis.{}", error.path()), error.inner().to_string()))?;
        let endpoint =
            settings.endpoint().map_err(|error| ConfigError::new(format!("redis.{}", error.place), error.message))?;
        let follow = Follow::parse(follow)?;
        Ok(Box::new(Target { name: name.to_owned(), endpoint: Arc::new(endpoint), follow: Arc::new(follow) }))
    }
}

struct Target {
    name: String,
    endpoint: Arc<Endpoint>,
    follow: Arc<Follow>,
}

impl Configured for Target {
    fn tables(&self) -> Vec<String> {
        self.follow.tables.keys().cloned().collect()
    }

    fn build(&self) -> Box<dyn Sink> {
        Box::new(write::RedisSink::new(&self.name, Arc::clone(&self.endpoint), Arc::clone(&self.follow)))
    }

    fn check(&self) -> Vec<Finding> {
        check::check(&self.name, &self.endpoint, &self.follow)
    }
}
