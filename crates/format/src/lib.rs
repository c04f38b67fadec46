//! Formats: pure functions from changes to bytes.
//!
//! Invariant: the same change gives the same bytes, whenever it is read. Start at [`debezium`] for the records of a topic,
//! at [`render`] for single values.

pub mod debezium;
pub mod render;
