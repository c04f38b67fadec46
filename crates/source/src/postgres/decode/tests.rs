//! Tests of the decoder against what a real server sent; `fixtures/README.md` says how that was recorded.
//!
//! Invariant: no test here needs a server. Start at [`values`].

mod hostile;
mod messages;
mod shapes;
mod values;

use super::{PgType, Types, catalog};
use std::sync::LazyLock;

/// One line of JSON: an array of texts and nulls.
fn lines(file: &str) -> impl Iterator<Item = Vec<serde_json::Value>> + '_ {
    file.lines().map(|line| serde_json::from_str(line).expect("a line of JSON"))
}

fn recorded_types() -> Vec<PgType> {
    lines(include_str!("fixtures/types.jsonl"))
        .map(|line| {
            let fields: Vec<Option<&str>> = line.iter().map(serde_json::Value::as_str).collect();
            catalog::pg_type(&fields).expect("a type")
        })
        .collect()
}

static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let mut types = Types::default();
    types.extend(recorded_types());
    types.learn_money("$1.00");
    types
});

/// The types of the recorded server.
fn types() -> Types {
    TYPES.clone()
}
