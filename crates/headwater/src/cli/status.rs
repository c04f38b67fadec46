//! `headwater status`: every source and sink at one moment.
//!
//! Invariant: it prints what the instance answered and computes nothing of its own. Start at [`render`].

use super::instance::Instance;
use super::{Global, Outcome, OutputForm, output};
use crate::control::{self, SinkStatus, SourceStatus, missing};
use std::process::ExitCode;

/// Shows each source's position and rate, and each sink's lag, in rows, bytes and time.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The times are p50/p99 in milliseconds over the recent changes, by stage:
  commit -> receive   from the commit in the database to its last byte here; - where the server tells
                      commits in whole seconds (MariaDB), which is too coarse to say anything
  receive -> journal  from there to being written to the journal
  journal -> sink     from there to being applied by the target

Exit status 1 when no instance answers, or --ready is given and something is not doing its work.")]
pub struct Status {
    /// Fail unless every source reads and every sink follows.
    #[arg(long)]
    ready: bool,
}

impl Status {
    pub fn run(self, global: &Global) -> Outcome {
        let instance = Instance::of(global)?;
        let status: control::Status = instance.get("/status").map_err(|error| instance.explain(error))?;
        match global.output {
            OutputForm::Json => output::json(&status)?,
            OutputForm::Text => output::line(render(&status).trim_end()),
        }
        let failed = self.ready && !missing(&status).is_empty();
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// The status for people.
pub fn render(status: &control::Status) -> String {
    status.sources.iter().map(source).chain(status.sinks.iter().map(sink)).collect()
}

fn source(source: &SourceStatus) -> String {
    let mut out = format!("source {}  {}", source.name, source.state);
    out.push_str(&joined(&[&source.server, &source.position]));
    out.push_str(&format!(
        "\n  {:.0} changes/s, sequence {}, on disk up to {}, journal {}\n",
        source.rate_changes_per_s,
        source.sequence,
        source.durable_sequence,
        bytes(source.journal_bytes),
    ));
    if let Some((read, all)) = source.snapshot_rows {
        out.push_str(&format!("  snapshot: {read} rows of about {all}\n"));
    }
    if source.unfilled_rows > 0 {
        out.push_str(&format!("  {} rows lack values that the log did not carry\n", source.unfilled_rows));
    }
    if source.held_bytes > 0 {
        out.push_str(&format!("  {} are held back for followers\n", bytes(source.held_bytes)));
    }
    out + &error(source.error.as_deref())
}

fn sink(sink: &SinkStatus) -> String {
    let mut out = format!("sink {}  {} (follows {})", sink.name, sink.state, sink.source);
    out.push_str(&joined(&[&sink.server]));
    out.push_str(&format!(
        "\n  {:.0} changes/s, sequence {}, behind by {} changes, {}, {} ms\n",
        sink.rate_changes_per_s,
        sink.sequence,
        sink.lag_changes,
        bytes(sink.lag_bytes),
        sink.lag_ms,
    ));
    if let Some(stages) = &sink.stages {
        let pair = |times: Option<[f64; 2]>| times.map_or("-".to_owned(), |[p50, p99]| format!("{p50:.1}/{p99:.1}"));
        out.push_str(&format!(
            "  commit -> receive {}, receive -> journal {}, journal -> sink {}, in all {} ms\n",
            pair(stages.commit_to_receive_ms),
            pair(Some(stages.receive_to_journal_ms)),
            pair(Some(stages.journal_to_sink_ms)),
            pair(stages.commit_to_sink_ms),
        ));
    }
    if let Some((filled, all)) = sink.filled_rows {
        out.push_str(&format!("  filling: {filled} rows of {all}\n"));
    }
    if sink.dead_letters > 0 {
        let letters = output::counted(sink.dead_letters as usize, "dead letter");
        out.push_str(&format!("  {letters}: see `headwater dead-letters list {}`\n", sink.name));
    }
    out + &error(sink.error.as_deref())
}

fn joined(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).map(|part| format!("  {part}")).collect()
}

fn error(error: Option<&str>) -> String {
    error.map(|error| format!("  error: {error}\n")).unwrap_or_default()
}

/// A size for people, in the unit that leaves at most four digits.
pub fn bytes(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut amount, mut unit) = (count as f64, 0);
    while amount >= 1024.0 && unit + 1 < units.len() {
        amount /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{amount:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Stages;
    use expect_test::expect;

    #[test]
    fn what_is_known_is_printed_and_what_is_not_is_a_dash() {
        let times = [0.5, 2.0];
        let stages = Stages {
            commit_to_receive_ms: None,
            receive_to_journal_ms: times,
            journal_to_sink_ms: times,
            commit_to_sink_ms: None,
            commit_note: None,
        };
        let filling = SinkStatus {
            name: "cache".into(),
            source: "shop".into(),
            state: "filling".into(),
            filled_rows: Some((1_000, 50_000)),
            stages: Some(stages.clone()),
            ..Default::default()
        };
        let commits = Stages { commit_to_receive_ms: Some(times), commit_to_sink_ms: Some(times), ..stages };
        let following = SinkStatus { filled_rows: None, stages: Some(commits), dead_letters: 2, ..filling.clone() };
        let status = control::Status { sources: Vec::new(), sinks: vec![filling, following] };
        expect![[r#"
            sink cache  filling (follows shop)
              0 changes/s, sequence 0, behind by 0 changes, 0 B, 0 ms
              commit -> receive -, receive -> journal 0.5/2.0, journal -> sink 0.5/2.0, in all - ms
              filling: 1000 rows of 50000
            sink cache  filling (follows shop)
              0 changes/s, sequence 0, behind by 0 changes, 0 B, 0 ms
              commit -> receive 0.5/2.0, receive -> journal 0.5/2.0, journal -> sink 0.5/2.0, in all 0.5/2.0 ms
              2 dead letters: see `headwater dead-letters list cache`
        "#]]
        .assert_eq(&render(&status));
    }
}
