//! The one binary of integration tests: real servers, the real binary, driven as a user drives them.
//!
//! Each module is a connector or a scenario. Start at `world.rs`, the shop that most of them share.

mod crash; // kills at random points, under load
mod pipeline; // the shortest whole path
mod mysql_catalog; // scripts of DDL, followed and asked for
mod records; // a captured database and its topics, for the modules that compare changes
mod types; // every type, by snapshot, by stream and by SELECT
mod types_cases; // the types and their values
mod types_tables; // keys of every type, history, every character set
mod snapshot; // races, second snapshots, tables without a key
mod world; // a database, a cache, Headwater, and what the cache must hold
