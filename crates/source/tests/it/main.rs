//! Sources against real servers, without an engine: what they append is kept in memory and told as text.
//!
//! Invariant: a test waits for a row that it wrote itself, never for a time. Start at `kept.rs`.

mod kept; // an intake in memory
mod postgres; // the PostgreSQL source: snapshot, stream, restarts, what cannot be followed
mod postgres_login; // every way of logging in, with and without TLS
