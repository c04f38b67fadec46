//! Formats: pure functions from changes to bytes.
//!
//! Invariant: the same change gives the same bytes, whenever it is read. Start at [`debezium`] for the records of a topic,
//! at [`connect`] for the schemas and numbers in them, at [`render`] for single values, at [`pattern`] for the expressions that
//! options are written in.

pub mod connect;
pub mod debezium;
pub mod pattern;
pub mod render;
