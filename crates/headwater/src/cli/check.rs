//! `headwater check`: is the file good, are the servers there, is everything set as it must be?
//!
//! Invariant: it changes nothing anywhere, and a finding that can be mended says how. Start at [`Check::run`].

use super::{Global, Outcome, OutputForm, output};
use crate::config;
use crate::registry::Finding;
use serde_json::json;
use std::process::ExitCode;

/// Checks the configuration, connects to every source and target, and lists each missing privilege or setting with the
/// statement that mends it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Run it before the first `headwater run`, and after every change of the file or the servers. Nothing is changed.

Exit status 1 when something is missing without which it cannot run; warnings alone are 0.")]
pub struct Check {}

/// A finding, and of what.
struct Found {
    /// `source shop` or `sink cache`.
    object: String,
    finding: Finding,
}

impl Check {
    pub fn run(self, global: &Global) -> Outcome {
        let config = config::load(&global.config)?;
        let mut found = Vec::new();
        let mut keep = |object: String, findings: Vec<Finding>| {
            found.extend(findings.into_iter().map(|mut finding| {
                // An error says whose it is, as it must in a log; here that is said already.
                if let Some(rest) = finding.message.strip_prefix(&format!("{object}: ")) {
                    finding.message = rest.to_owned();
                }
                Found { object: object.clone(), finding }
            }));
        };
        for source in &config.sources {
            keep(format!("source {}", source.name), source.connector.check());
        }
        for sink in &config.sinks {
            keep(format!("sink {}", sink.name), sink.connector.check().into_iter().map(Finding::from).collect());
        }
        match global.output {
            OutputForm::Json => print_json(&found)?,
            OutputForm::Text => print_text(&found, &config),
        }
        let failed = found.iter().any(|found| found.finding.fatal);
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn word(finding: &Finding) -> &'static str {
    if finding.fatal { "error" } else { "warning" }
}

fn print_json(found: &[Found]) -> miette::Result<()> {
    let findings: Vec<_> = found
        .iter()
        .map(|Found { object, finding }| {
            json!({
                "object": object,
                "severity": word(finding),
                "message": finding.message,
                "remedy": finding.remedy,
            })
        })
        .collect();
    output::json(&json!({ "findings": findings }))
}

fn print_text(found: &[Found], config: &config::Config) {
    for Found { object, finding } in found {
        output::line(format!("{}: {object}: {}", word(finding), finding.message));
        if let Some(remedy) = &finding.remedy {
            output::line(format!("  mend it with: {remedy}"));
        }
    }
    let count = |fatal| found.iter().filter(|found| found.finding.fatal == fatal).count();
    output::line(format!(
        "{}, {}: {}, {}",
        output::counted(config.sources.len(), "source"),
        output::counted(config.sinks.len(), "sink"),
        output::counted(count(true), "error"),
        output::counted(count(false), "warning"),
    ));
}
