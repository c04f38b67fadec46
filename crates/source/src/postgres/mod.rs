//! The PostgreSQL source: from a server's write-ahead log and tables to transactions of typed changes.
//!
//! What is guaranteed: every committed change of a captured table reaches the intake once and in the order of commits, no
//! uncommitted one does, and whatever cannot be followed stops the source by name. `wire` moves messages, `decode` turns
//! them into changes, `stream` puts them together. Start at [`wire`].

pub mod lsn;
pub mod wire;
