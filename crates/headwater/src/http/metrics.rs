//! A status as Prometheus text.
//!
//! Invariant: one metric's lines stand together under its `# TYPE`, and label values are escaped. Start at [`render`].

use crate::control::{SinkStatus, SourceStatus, Status, sink_is_up, source_is_up};
use std::fmt::Write;

/// What is told of every source: name, help, value.
type Gauge<T> = (&'static str, &'static str, fn(&T) -> f64);

const SOURCE_GAUGES: [Gauge<SourceStatus>; 8] = [
    ("headwater_source_up", "1 while the source reads the log.", |source| f64::from(u8::from(source_is_up(source)))),
    ("headwater_source_sequence", "Sequence of the next change.", |source| source.sequence as f64),
    ("headwater_source_durable_sequence", "Changes below this are on disk.", |source| source.durable_sequence as f64),
    ("headwater_source_first_sequence", "First change that the journal holds.", |source| source.first_sequence as f64),
    ("headwater_source_journal_bytes", "Size of the journal.", |source| source.journal_bytes as f64),
    ("headwater_source_held_bytes", "Bytes held back for followers.", |source| source.held_bytes as f64),
    (
        "headwater_source_unfilled_rows",
        "Rows with values that the log did not carry and that could not be filled in.",
        |source| source.unfilled_rows as f64,
    ),
    ("headwater_source_changes_per_second", "Changes read.", |source| source.rate_changes_per_s),
];

const SINK_GAUGES: [Gauge<SinkStatus>; 7] = [
    ("headwater_sink_up", "1 while the sink follows.", |sink| f64::from(u8::from(sink_is_up(sink)))),
    ("headwater_sink_sequence", "Changes below this are applied.", |sink| sink.sequence as f64),
    ("headwater_sink_lag_changes", "Changes that are not applied yet.", |sink| sink.lag_changes as f64),
    ("headwater_sink_lag_bytes", "Bytes of journal that are not applied yet.", |sink| sink.lag_bytes as f64),
    ("headwater_sink_lag_seconds", "Age of the oldest change that is not applied.", |sink| sink.lag_ms as f64 / 1e3),
    ("headwater_sink_changes_per_second", "Changes applied.", |sink| sink.rate_changes_per_s),
    ("headwater_sink_dead_letters", "Rows that the target refused.", |sink| sink.dead_letters as f64),
];

/// The whole page.
pub fn render(status: &Status) -> String {
    let mut out = String::new();
    head(&mut out, "headwater_build_info", "The version.");
    let _ = writeln!(out, "headwater_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    for (name, help, value) in SOURCE_GAUGES {
        head(&mut out, name, help);
        for source in &status.sources {
            let _ = writeln!(out, "{name}{{source=\"{}\"}} {}", escape(&source.name), value(source));
        }
    }
    for (name, help, value) in SINK_GAUGES {
        head(&mut out, name, help);
        for sink in &status.sinks {
            let labels = format!("sink=\"{}\",source=\"{}\"", escape(&sink.name), escape(&sink.source));
            let _ = writeln!(out, "{name}{{{labels}}} {}", value(sink));
        }
    }
    stages(&mut out, status);
    out
}

fn stages(out: &mut String, status: &Status) {
    let name = "headwater_sink_stage_seconds";
    head(out, name, "How long recent changes took, by stage.");
    for sink in &status.sinks {
        let Some(stages) = &sink.stages else { continue };
        for (stage, times) in [
            ("commit_to_receive", stages.commit_to_receive_ms),
            ("receive_to_journal", Some(stages.receive_to_journal_ms)),
            ("journal_to_sink", Some(stages.journal_to_sink_ms)),
            ("commit_to_sink", stages.commit_to_sink_ms),
        ] {
            for (quantile, ms) in ["0.5", "0.99"].iter().zip(times.into_iter().flatten()) {
                let sink = escape(&sink.name);
                let _ =
                    writeln!(out, "{name}{{sink=\"{sink}\",stage=\"{stage}\",quantile=\"{quantile}\"}} {}", ms / 1e3);
            }
        }
    }
}

fn head(out: &mut String, name: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
