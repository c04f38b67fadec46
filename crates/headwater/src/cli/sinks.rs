//! `headwater pause`, `resume` and `rebuild`: one sink at a time.
//!
//! Invariant: none of them touches another sink or the source. Start at [`act`].

use super::instance::{ANSWER_MAX, Instance, segment};
use super::{Global, Outcome, output};
use serde_json::Value;
use std::process::ExitCode;

/// Stops handing changes to a sink. Its journal is kept, up to the laggard's limit, and nothing else waits for it.
#[derive(Debug, clap::Args)]
pub struct Pause {
    /// The sink's name.
    sink: String,
}

/// Goes on where `pause` stopped, and tries a sink that has failed again.
#[derive(Debug, clap::Args)]
pub struct Resume {
    /// The sink's name.
    sink: String,
}

/// Removes everything that a sink wrote to its target, and fills it anew.
#[derive(Debug, clap::Args)]
#[command(after_help = "Readers of the target miss what is not filled in yet. Other sinks go on undisturbed.")]
pub struct Rebuild {
    /// The sink's name.
    sink: String,
}

impl Pause {
    pub fn run(self, global: &Global) -> Outcome {
        act(global, &self.sink, "pause", "paused")
    }
}

impl Resume {
    pub fn run(self, global: &Global) -> Outcome {
        act(global, &self.sink, "resume", "resumed")
    }
}

impl Rebuild {
    pub fn run(self, global: &Global) -> Outcome {
        act(global, &self.sink, "rebuild", "is being rebuilt")
    }
}

fn act(global: &Global, sink: &str, action: &str, done: &str) -> Outcome {
    let instance = Instance::of(global)?;
    let path = format!("/sinks/{}/{action}", segment(sink));
    instance.post::<Value>(&path, &Value::Null, ANSWER_MAX).map_err(|error| instance.explain(error))?;
    output::line(format!("{sink} {done}"));
    Ok(ExitCode::SUCCESS)
}
