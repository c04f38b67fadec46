//! The one binary of integration tests: real servers, the real binary, driven as a user drives them.
//!
//! Each module is a connector or a scenario. Start at `world.rs`, the shop that most of them share.

mod crash; // kills at random points, under load
mod pipeline; // the shortest whole path
mod world; // a database, a cache, Headwater, and what the cache must hold
