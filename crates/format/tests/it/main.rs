//! Tests of the formats against what a real Debezium wrote, as the repository carries it. No server is needed.
//!
//! Invariant: texts are compared by the testkit's comparison, which leaves out clocks and positions only. Start at
//! [`round_trip`].

mod changes;
mod documents;
mod hostile;
mod own_records;
mod round_trip;
mod settings;
mod tables;
