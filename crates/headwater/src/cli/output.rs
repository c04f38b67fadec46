//! Printing: answers to standard output, errors to standard error.
//!
//! Invariant: a reader that went away (`| head`) ends the program quietly. Start at [`line`].

use serde::Serialize;
use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// Prints one line.
pub fn line(text: impl Display) {
    end_quietly_when_unread(writeln!(std::io::stdout().lock(), "{text}"));
}

/// `1 source`, `2 sources`.
pub fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Prints `value` as JSON, indented.
pub fn json(value: &impl Serialize) -> miette::Result<()> {
    line(serde_json::to_string_pretty(value).map_err(|error| miette::miette!("the answer is no JSON: {error}"))?);
    Ok(())
}

fn end_quietly_when_unread(written: std::io::Result<()>) {
    if let Err(error) = written {
        let code = if error.kind() == ErrorKind::BrokenPipe { 0 } else { 1 };
        std::process::exit(code);
    }
}

/// Prints what went wrong and what to do.
pub fn report(report: &miette::Report) {
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "error: {report}");
    if let Some(help) = report.help() {
        let _ = writeln!(out, "  help: {help}");
    }
}

/// An error with what to do next.
pub fn failure(message: impl Display, help: impl Display) -> miette::Report {
    miette::miette!(help = help.to_string(), "{message}")
}

/// An error of a connector or of the engine, whose text says what to do.
pub fn stopped(error: headwater_model::Error) -> miette::Report {
    miette::miette!("{error}")
}
