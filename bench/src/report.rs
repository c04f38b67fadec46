//! Figures, and the files in which they are kept. Every figure is judged by a rule that stands beside it.
//!
//! Invariant: a figure keeps every single run, so that a reader can judge the spread. Start at [`Figure`].

use crate::machine::Machine;
use crate::measure::{median, range};
use headwater_testkit::{Error, Result};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What is asked of a figure.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// Ours divided by the other one's, run by run: the median at least this.
    RatioAtLeast(f64),
    /// The same, at most this.
    RatioAtMost(f64),
    /// Ours at most `factor` times the other one's plus `plus`, in the figure's unit: the median of what is left over.
    AtMostTimesPlus {
        /// How many times the other one's.
        factor: f64,
        /// And how much more.
        plus: f64,
    },
    /// Ours alone: the worst run at most this.
    AtMost(f64),
    /// Nothing; it is told.
    Told,
}

/// One measured thing.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The benchmark, as it is named on the command line.
    pub benchmark: &'static str,
    /// What was measured.
    pub what: String,
    /// The unit of all its values.
    pub unit: &'static str,
    /// Ours, one value a run.
    pub ours: Vec<f64>,
    /// The limit's or the peer's name and its values: run N of it was taken beside run N of ours.
    pub against: Option<(String, Vec<f64>)>,
    /// What is asked.
    pub wanted: Wanted,
}

impl Figure {
    /// A figure without another to compare it with.
    pub fn alone(
        benchmark: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        ours: Vec<f64>,
        wanted: Wanted,
    ) -> Figure {
        Figure { benchmark, what: what.into(), unit, ours, against: None, wanted }
    }

    /// A figure beside a limit's or a peer's.
    pub fn against(self, name: &str, values: Vec<f64>) -> Figure {
        Figure { against: Some((name.to_owned(), values)), ..self }
    }

    /// Ours divided by the other one's, run by run.
    fn ratios(&self) -> Vec<f64> {
        self.pairs().map(|(ours, other)| ours / other).filter(|ratio| ratio.is_finite()).collect()
    }

    fn pairs(&self) -> impl Iterator<Item = (f64, f64)> {
        let others = self.against.iter().flat_map(|(_, values)| values.iter().copied());
        self.ours.iter().copied().zip(others)
    }

    /// Whether it is what was asked; `None` when nothing was.
    pub fn is_ok(&self) -> Option<bool> {
        let (_, most) = range(&self.ours);
        match self.wanted {
            Wanted::Told => None,
            _ if self.ours.is_empty() => Some(false),
            Wanted::AtMost(limit) => Some(most <= limit),
            _ if self.pairs().next().is_none() => Some(false),
            Wanted::RatioAtLeast(limit) => Some(median(&self.ratios()) >= limit),
            Wanted::RatioAtMost(limit) => Some(median(&self.ratios()) <= limit),
            Wanted::AtMostTimesPlus { factor, plus } => {
                Some(median(&self.pairs().map(|(ours, other)| ours - factor * other).collect::<Vec<_>>()) <= plus)
            }
        }
    }

    fn verdict(&self) -> &'static str {
        match self.is_ok() {
            Some(true) => "ok",
            Some(false) => "SHORT",
            None => "",
        }
    }

    fn asked(&self) -> String {
        match self.wanted {
            Wanted::RatioAtLeast(limit) => format!("ratio ≥ {limit}"),
            Wanted::RatioAtMost(limit) => format!("ratio ≤ {limit}"),
            Wanted::AtMostTimesPlus { factor: 1.0, plus } => format!("≤ other + {plus} {}", self.unit),
            Wanted::AtMostTimesPlus { factor, plus } => format!("≤ {factor} × other + {plus} {}", self.unit),
            Wanted::AtMost(limit) => format!("≤ {limit} {}", self.unit),
            Wanted::Told => String::new(),
        }
    }

    /// One row of the table.
    pub fn row(&self) -> String {
        let other =
            self.against.as_ref().map(|(name, values)| format!("{name}: {}", spread(values))).unwrap_or_default();
        let ratios = self.ratios();
        let ratio = if ratios.is_empty() { String::new() } else { spread(&ratios) };
        let (what, unit, ours) = (&self.what, self.unit, spread(&self.ours));
        format!(
            "| {} | {what} | {unit} | {ours} | {other} | {ratio} | {} | {} |",
            self.benchmark,
            self.asked(),
            self.verdict()
        )
    }

    fn json(&self) -> Value {
        json!({
            "benchmark": self.benchmark, "what": self.what, "unit": self.unit, "ours": self.ours,
            "against": self.against.as_ref().map(|(name, values)| json!({ "name": name, "runs": values })),
            "ratios": self.ratios(), "wanted": self.asked(), "ok": self.is_ok(),
        })
    }
}

/// A median with its least and greatest value.
fn spread(values: &[f64]) -> String {
    let (low, high) = range(values);
    match values.len() {
        0 => "–".to_owned(),
        1 => number(low),
        _ => format!("{} ({}–{})", number(median(values)), number(low), number(high)),
    }
}

/// Three digits that count, large numbers with separators.
fn number(value: f64) -> String {
    if value.abs() < 1_000.0 {
        let decimals = if value.abs() >= 100.0 {
            0
        } else if value.abs() >= 10.0 {
            1
        } else {
            2
        };
        return format!("{value:.decimals$}");
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && digit.is_ascii_digit() {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// All that one run of the program found.
#[derive(Debug, Default)]
pub struct Report {
    figures: Vec<Figure>,
    notes: Vec<String>,
}

const HEAD: &str =
    "| benchmark | figure | unit | ours | limit or peer | ratio | wanted | |\n|---|---|---|---|---|---|---|---|";

impl Report {
    /// Keeps a figure and prints it.
    pub fn add(&mut self, figure: Figure) {
        println!("{}", figure.row());
        self.figures.push(figure);
    }

    /// Keeps a sentence that a reader must know, and prints it.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        println!("note: {note}");
        self.notes.push(note);
    }

    /// Figures that are not what was asked.
    pub fn short(&self) -> usize {
        self.figures.iter().filter(|figure| figure.is_ok() == Some(false)).count()
    }

    /// The table for people.
    pub fn markdown(&self, machine: &Machine) -> String {
        let mut out = format!("# Benchmarks of {}\n\n", machine.date);
        for (name, value) in machine.facts() {
            let _infallible = writeln!(out, "- {name}: {value}");
        }
        let _infallible = writeln!(
            out,
            "\nMedian (least–greatest) of the runs; see `bench/README.md` for how to read this.\n\n{HEAD}"
        );
        for figure in &self.figures {
            out.push_str(&figure.row());
            out.push('\n');
        }
        for note in &self.notes {
            let _infallible = write!(out, "\n- {note}");
        }
        out.push('\n');
        out
    }

    /// Writes `<date>-<cpu>.md` and `.json` into `folder` and answers the first one's path.
    pub fn write(&self, folder: &Path, machine: &Machine) -> Result<PathBuf> {
        let failed =
            |error: std::io::Error| Error::new(format!("write the results into {}: {error}", folder.display()));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let path = folder.join(format!("{}-{}.md", machine.date, machine.slug()));
        std::fs::write(&path, self.markdown(machine)).map_err(failed)?;
        let facts: serde_json::Map<String, Value> =
            machine.facts().into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect();
        let figures: Vec<Value> = self.figures.iter().map(Figure::json).collect();
        let whole = json!({ "machine": facts, "figures": figures, "notes": self.notes });
        std::fs::write(path.with_extension("json"), format!("{whole:#}\n")).map_err(failed)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_run_by_run() {
        let figure = |ours: &[f64], other: &[f64], wanted| {
            let figure = Figure::alone("b", "w", "ms", ours.to_vec(), wanted);
            if other.is_empty() { figure } else { figure.against("floor", other.to_vec()) }
        };
        for (ours, other, wanted, expected) in [
            (&[2.0, 3.0][..], &[1.0, 2.0][..], Wanted::RatioAtLeast(1.7), Some(true)),
            (&[2.0, 3.0], &[1.0, 2.0], Wanted::RatioAtLeast(1.8), Some(false)),
            (&[2.0, 3.0], &[], Wanted::RatioAtLeast(1.0), Some(false)),
            (&[2.0], &[2.0], Wanted::RatioAtMost(1.05), Some(true)),
            (&[7.0], &[2.0], Wanted::AtMostTimesPlus { factor: 2.0, plus: 3.0 }, Some(true)),
            (&[7.1], &[2.0], Wanted::AtMostTimesPlus { factor: 2.0, plus: 3.0 }, Some(false)),
            (&[99.0, 101.0], &[], Wanted::AtMost(100.0), Some(false)),
            (&[], &[], Wanted::AtMost(100.0), Some(false)),
            (&[1.0], &[], Wanted::Told, None),
        ] {
            assert_eq!(figure(ours, other, wanted).is_ok(), expected, "{ours:?} {other:?} {wanted:?}");
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, expected) in
            [(0.123, "0.12"), (12.34, "12.3"), (123.4, "123"), (1_234_567.8, "1,234,568"), (-1234.0, "-1,234")]
        {
            assert_eq!(number(value), expected);
        }
    }
}
