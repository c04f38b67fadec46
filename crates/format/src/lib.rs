//! Formats: pure functions from changes to bytes.
//!
//! Invariant: the same change gives the same bytes, whenever it is read. Start at [`debezium`] for the records of a topic,
//! at [`connect`] for the schemas and numbers in them, at [`render`] for single values.

pub mod connect;
pub mod debezium;
pub mod render;
