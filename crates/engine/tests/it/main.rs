//! The engine, run whole: real journals in temporary folders, a database and targets in memory.
//!
//! Invariant tested everywhere: whatever happened, in the end every target holds exactly the rows of the database.

mod ahead;
mod held;
mod laggards;
mod letters;
mod rebuild;
mod stopping;
mod world;
