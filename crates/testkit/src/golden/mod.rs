//! What a real Debezium wrote for known statements, and how a program's own records are held against it.
//!
//! Invariant: texts are verbatim from capture to comparison; nothing is parsed and printed again on the way. Start at
//! [`scenarios`], which reads the packed files under `tests/golden`, and at [`compare`].

mod compare;
mod differences;
mod matching;
mod normalise;
mod packed;
mod record;
mod right;
mod scenario;
mod spelling;
mod tokens;

use std::path::PathBuf;

pub use compare::{Counts, Report, compare};
pub use differences::Difference;
pub use packed::{pack, scenario, scenarios};
pub use record::{Digest, Header, Record};
pub use right::Right;
pub use scenario::{Phase, Scenario, Waiver};

/// The databases that the captures were made of; each is a folder.
pub const KINDS: [&str; 3] = ["mysql", "mariadb", "postgresql"];

/// Where the repository keeps the packed captures.
pub fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden"))
}
