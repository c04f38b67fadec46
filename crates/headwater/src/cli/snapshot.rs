//! `headwater snapshot`: reads tables again.
//!
//! Invariant: it only asks; the source reads, and `status` shows how far it is. Start at [`Snapshot::run`].

use super::instance::{ANSWER_MAX, Instance, segment};
use super::{Global, Outcome, output};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Reads tables of a source again, while it goes on streaming; what has vanished meanwhile is retracted from every sink.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  headwater snapshot shop                     # all tables of the source
  headwater snapshot shop shop.orders         # one table
  headwater snapshot shop 'shop.order_*'      # by pattern")]
pub struct Snapshot {
    /// The source's name.
    source: String,
    /// Tables as database.table; `*` stands for any run of characters. None: all.
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
}

impl Snapshot {
    pub fn run(self, global: &Global) -> Outcome {
        let instance = Instance::of(global)?;
        let path = format!("/sources/{}/snapshot", segment(&self.source));
        let body = json!({ "tables": self.tables });
        instance.post::<Value>(&path, &body, ANSWER_MAX).map_err(|error| instance.explain(error))?;
        output::line(format!("Asked for. `headwater status` shows how far the snapshot of {} is.", self.source));
        Ok(ExitCode::SUCCESS)
    }
}
