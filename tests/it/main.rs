//! The one binary of integration tests: real servers, the real binary, driven as a user drives them.
//!
//! Each module is a connector or a scenario. Start at `world.rs`, the shop that most of them share.

mod crash; // kills at random points, under load
mod pipeline; // the shortest whole path
mod ddl; // tables that change their shape, with rows on both sides
mod log_formats; // every form in which servers write their logs
mod log_formats_stops; // what cannot be followed, by name, and how it goes on
mod mysql_catalog; // scripts of DDL, followed and asked for
mod records; // a captured database and its topics, for the modules that compare changes
mod types; // every type, by snapshot, by stream and by SELECT
mod types_cases; // the types and their values
mod types_tables; // keys of every type, history, every character set
mod redis_sink; // the Redis sink alone, against real servers
mod snapshot; // races, second snapshots, tables without a key
mod xa; // prepared transactions and their outcome
mod world; // a database, a cache, Headwater, and what the cache must hold
