//! `headwater config`: the file itself, without any server.
//!
//! Invariant: no command here prints a secret. Start at [`Config::run`].

use super::output::failure;
use super::{Global, Outcome, OutputForm, output};
use crate::config::{self, reference, schema};
use crate::registry::built_in;
use clap::Subcommand;
use std::path::PathBuf;
use std::process::ExitCode;

/// Shows what can be configured, and what is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  headwater config example > headwater.yaml
  headwater config schema > headwater.schema.json
    then begin the file with: # yaml-language-server: $schema=headwater.schema.json")]
pub struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints the JSON schema of the file, for editors.
    Schema,
    /// Prints the file as it is understood, secrets hidden.
    Show,
    /// Reads the file, follows its references, and says whether it is good. Connects to nothing.
    Validate,
    /// Prints a small file to start from.
    Example,
    /// Writes the reference pages below a folder.
    #[command(hide = true)]
    Docs {
        /// The folder, `docs` in the repository.
        folder: PathBuf,
    },
}

/// The smallest useful file.
pub const EXAMPLE: &str = include_str!("example.yaml");

impl Config {
    pub fn run(self, global: &Global) -> Outcome {
        match self.action {
            Action::Schema => output::json(&schema::schema(built_in()))?,
            Action::Example => output::line(EXAMPLE.trim_end()),
            Action::Show => {
                let config = config::load(&global.config)?;
                match global.output {
                    OutputForm::Json => output::json(&config.shown)?,
                    OutputForm::Text => {
                        let text = serde_yaml_ng::to_string(&config.shown);
                        output::line(text.map_err(|error| miette::miette!("not YAML: {error}"))?.trim_end());
                    }
                }
            }
            Action::Validate => {
                let config = config::load(&global.config)?;
                let (sources, sinks) = (config.sources.len(), config.sinks.len());
                output::line(format!("{} is good: {sources} sources, {sinks} sinks", config.file.display()));
            }
            Action::Docs { folder } => {
                for (page, text) in reference::pages(built_in()) {
                    let path = folder.join(page);
                    let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
                    written.and_then(|()| std::fs::write(&path, text)).map_err(|error| {
                        failure(format!("{} cannot be written: {error}", path.display()), "Name another folder.")
                    })?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
