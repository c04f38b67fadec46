//! `headwater detach`: takes from a source's server what the source keeps there.
//!
//! Invariant: nothing of the journal changes, and nothing that is in use is removed. Start at [`Detach::run`].

use super::{Global, Outcome, OutputForm, output};
use crate::config;
use serde_json::json;
use std::process::ExitCode;

/// Removes what a source keeps on its server: PostgreSQL's replication slot, for which the server keeps its log.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Run it when a source is given up, after it was stopped and while it is still in the configuration: a slot that nobody reads
keeps PostgreSQL's log until the disk is full. A source that is started again after it begins anew, where its `snapshot` allows
that. Sources of other databases keep nothing on their servers.

Doing it twice does nothing more. Exit status 1 when the slot is in use.")]
pub struct Detach {
    /// The source's name.
    source: String,
    /// Also what others may use, too: the publication.
    #[arg(long)]
    all: bool,
}

impl Detach {
    pub fn run(self, global: &Global) -> Outcome {
        let config = config::load(&global.config)?;
        let Some(source) = config.sources.iter().find(|source| source.name == self.source) else {
            return Err(miette::miette!("the configuration has no source {}", self.source));
        };
        let removed = source.connector.detach(self.all).map_err(output::stopped)?;
        match global.output {
            OutputForm::Json => output::json(&json!({ "removed": removed }))?,
            OutputForm::Text if removed.is_empty() => output::line(format!("{}: nothing was there", source.name)),
            OutputForm::Text => {
                removed.iter().for_each(|what| output::line(format!("{}: removed the {what}", source.name)));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
