//! The command line: what can be said, and what is answered.
//!
//! Invariant: exit status 0 is success, 1 is failure, 2 is wrong use; failures go to standard error, so that standard
//! output holds nothing but the answer. Start at [`main`]; each command is a file of its own.

mod check;
mod config;
mod dead_letters;
mod detach;
mod folder;
mod instance;
mod journal;
mod output;
mod rendered;
mod run;
mod sinks;
mod snapshot;
mod status;
mod topics;
mod wait;

#[cfg(test)]
mod tests;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

/// What a command answers: success or failure, or an error to print.
type Outcome = miette::Result<ExitCode>;

/// Keeps what copies from your database in step with it: its change log, through a durable journal, to your targets.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Begin like this:
  headwater config example > headwater.yaml   # then edit it
  headwater check                             # what is missing, and the statement that mends it
  headwater run                               # reads the log and follows, until Ctrl-C
  headwater status                            # in another terminal

Exit status: 0 done, 1 failed, 2 used wrongly.";

/// What every command takes.
#[derive(Debug, Args)]
struct Global {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "headwater.yaml", global = true)]
    config: PathBuf,
    /// How the answer is printed: for people, or one JSON value for scripts.
    #[arg(short, long, value_name = "FORM", default_value = "text", global = true)]
    output: OutputForm,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputForm {
    /// For people.
    Text,
    /// For scripts.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    Status(status::Status),
    Wait(wait::Wait),
    Snapshot(snapshot::Snapshot),
    Journal(journal::Journal),
    Topics(topics::Topics),
    DeadLetters(dead_letters::DeadLetters),
    Pause(sinks::Pause),
    Resume(sinks::Resume),
    Rebuild(sinks::Rebuild),
    Detach(detach::Detach),
    Config(config::Config),
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // One provider for every TLS client in the process. Failing means that it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match cli.command.run(&cli.global) {
        Ok(code) => code,
        Err(report) => {
            output::report(&report);
            ExitCode::FAILURE
        }
    }
}

impl Command {
    fn run(self, global: &Global) -> Outcome {
        match self {
            Command::Run(command) => command.run(global),
            Command::Check(command) => command.run(global),
            Command::Status(command) => command.run(global),
            Command::Wait(command) => command.run(global),
            Command::Snapshot(command) => command.run(global),
            Command::Journal(command) => command.run(global),
            Command::Topics(command) => command.run(global),
            Command::DeadLetters(command) => command.run(global),
            Command::Pause(command) => command.run(global),
            Command::Resume(command) => command.run(global),
            Command::Rebuild(command) => command.run(global),
            Command::Detach(command) => command.run(global),
            Command::Config(command) => command.run(global),
        }
    }
}
