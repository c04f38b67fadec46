//! The one binary of integration tests: real servers, the real binary, driven as a user drives them.
//!
//! Each module is a connector or a scenario. Start at `world.rs`, the shop that most of them share.

mod architecture; // which crate may know which, and how the code is laid out
mod crash; // kills at random points, under load
mod ddl; // tables that change their shape, with rows on both sides
mod failover; // another server takes the place of the one that died
mod failures; // what the tests of failures share
mod failures_access; // wrong passwords, missing privileges
mod failures_config; // broken configurations
mod failures_disk; // full disks, failed fsyncs, folders that cannot be written or are taken
mod failures_doctor; // a proxy that changes an event
mod failures_log; // logs that do not lead on
mod failures_peers; // servers that hang, refuse or cut
#[cfg(feature = "failpoints")]
mod failures_points; // a crash at every edge
#[cfg(feature = "failpoints")]
mod failures_snapshot; // tables that change in awkward ways while they are first read
mod golden; // what Debezium wrote for known statements, against what we write
mod hostile; // ten thousand damaged event streams
mod laggards; // followers that are away, up to the limit and beyond
mod log_formats; // every form in which servers write their logs
mod log_formats_stops; // what cannot be followed, by name, and how it goes on
mod mysql_catalog; // scripts of DDL, followed and asked for
mod own_form; // sources that are no Debezium connector, and their topics
mod pipeline; // the shortest whole path
#[cfg(feature = "failpoints")]
mod postgres_crash; // kills of PostgreSQL, its reader and the power, with transactions in progress, in parts and prepared
mod postgres_failures; // what PostgreSQL lacks, loses or forbids
mod postgres_laggards; // followers of PostgreSQL that are away, and what the slot holds meanwhile
#[cfg(feature = "failpoints")]
mod postgres_points; // a crash at every edge of PostgreSQL's reader
mod postgres_slot; // what a source keeps on PostgreSQL's side
#[cfg(feature = "failpoints")]
mod postgres_snapshot; // PostgreSQL's snapshots beside its stream
#[cfg(feature = "failpoints")]
mod power; // everything after the last fsync is gone
mod records; // a captured database and its topics, for the modules that compare changes
mod redis_sink; // the Redis sink alone, against real servers
mod snapshot; // races, second snapshots, tables without a key
mod types; // every type, by snapshot, by stream and by SELECT
mod types_cases; // the types and their values
mod types_tables; // keys of every type, history, every character set
mod unlogged; // rows that the log does not carry whole
mod world; // a database, a cache, Headwater, and what the cache must hold
mod xa; // prepared transactions and their outcome
