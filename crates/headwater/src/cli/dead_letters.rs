//! `headwater dead-letters`: rows that a sink's target refused.
//!
//! Invariant: a letter is shown by its place, table and reason; its values stay where they are. Start at
//! [`DeadLetters::run`].

use super::instance::{ANSWER_MAX, Instance, segment};
use super::{Global, Outcome, OutputForm, output};
use crate::control::DeadLetter;
use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Lists, replays or drops the rows that a sink's target refused.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A refused row leaves its transaction and waits here with its reason; later changes of the same row wait behind it, so
that a replay applies them in order. Mend the cause, then replay:
  headwater dead-letters list cache
  headwater dead-letters replay cache          # all
  headwater dead-letters drop cache 4711 4712  # these, by sequence")]
pub struct DeadLetters {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Shows them, oldest first: sequence, table, operation, reason.
    List {
        /// The sink's name.
        sink: String,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Hands them to the target again.
    Replay {
        /// The sink's name.
        sink: String,
        /// Which ones, as `list` shows them. None: all.
        #[arg(value_name = "SEQUENCE")]
        sequences: Vec<u64>,
    },
    /// Forgets them for good.
    Drop {
        /// The sink's name.
        sink: String,
        /// Which ones, as `list` shows them.
        #[arg(value_name = "SEQUENCE", required_unless_present = "all")]
        sequences: Vec<u64>,
        /// All of them.
        #[arg(long, conflicts_with = "sequences")]
        all: bool,
    },
}

#[derive(Deserialize)]
struct Listed {
    dead_letters: Vec<DeadLetter>,
}

impl DeadLetters {
    pub fn run(self, global: &Global) -> Outcome {
        let instance = Instance::of(global)?;
        let base = |sink: &str| format!("/sinks/{}/dead-letters", segment(sink));
        let counted = |answer: Value, word: &str| output::line(format!("{} {word}", answer[word]));
        match self.action {
            Action::List { sink, limit } => {
                let path = format!("{}?limit={limit}", base(&sink));
                let listed: Listed = instance.get(&path).map_err(|error| instance.explain(error))?;
                print(&listed.dead_letters, global.output)?;
            }
            Action::Replay { sink, sequences } => {
                let path = format!("{}/replay", base(&sink));
                let body = json!({ "sequences": sequences });
                let answer = instance.post(&path, &body, ANSWER_MAX).map_err(|error| instance.explain(error))?;
                counted(answer, "replayed");
            }
            Action::Drop { sink, sequences, .. } => {
                let chosen: Vec<String> = sequences.iter().map(u64::to_string).collect();
                let path = match chosen.is_empty() {
                    true => base(&sink),
                    false => format!("{}?sequences={}", base(&sink), chosen.join(",")),
                };
                let answer = instance.delete(&path).map_err(|error| instance.explain(error))?;
                counted(answer, "dropped");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(letters: &[DeadLetter], form: OutputForm) -> miette::Result<()> {
    if form == OutputForm::Json {
        return output::json(&letters);
    }
    for letter in letters {
        output::line(format!("{}  {}  {}  {}", letter.sequence, letter.table, letter.op, letter.reason));
    }
    if letters.is_empty() {
        output::line("none");
    }
    Ok(())
}
