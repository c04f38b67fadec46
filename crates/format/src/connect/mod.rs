//! Kafka Connect's schemas and its JsonConverter, as far as bytes show them.
//!
//! Invariant: nothing here knows of a database or of Debezium. Start at [`schema::Schema`] for what a converter writes
//! before a payload, at [`java`] for how the numbers in one are spelled.

pub mod java;
pub mod json;
mod number;
pub(crate) mod piece;
mod plain;
pub mod schema;

pub use schema::{Field, Kind, Schema};
