//! The running instance: the engine, started from a configuration.
//!
//! Invariant: [`Instance::stop`] never waits for a call: those that wait are sent home by the engine. Start at
//! [`Instance::start`].

use crate::config::{Compression, Config, Delivery, From, OnLimit, Settings, Sink, Source};
use crate::control::{Control, DeadLetter, Refusal, RefusalKind, Status};
use headwater_engine::{Engine, EngineOptions, FromWhere, Laggard, SinkSpec, SourceSpec};
use headwater_journal::{Options, Retention};
use headwater_model::{Error, Kind, Schema};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Level at which `zstd` is cheap enough for a stream.
const ZSTD_LEVEL: i32 = 1;
/// An engine that runs.
pub struct Instance {
    engine: Engine,
    stopping: AtomicBool,
}

impl Instance {
    /// Starts every source and sink of `config`.
    pub fn start(config: &Config) -> Result<Instance, Error> {
        let sources: Vec<SourceSpec> = config.sources.iter().map(source_spec).collect();
        let sinks: Vec<SinkSpec> = config.sinks.iter().map(sink_spec).collect();
        let engine = Engine::start(&options(&config.settings), &sources, &sinks)?;
        Ok(Instance { engine, stopping: AtomicBool::new(false) })
    }

    /// Drains, checkpoints and ends everything. A second call does nothing.
    pub fn stop(&self) -> Result<(), Error> {
        self.stopping.store(true, Ordering::Release);
        self.engine.stop()
    }

    fn engine(&self) -> Result<&Engine, Refusal> {
        match self.stopping.load(Ordering::Acquire) {
            false => Ok(&self.engine),
            true => Err(Refusal::new(RefusalKind::Conflict, "the instance is stopping", "Start it again.")),
        }
    }
}

/// What a refused call says. The engine's errors carry their hint in their text; here the two part.
fn refusal(kind: RefusalKind, error: &Error) -> Refusal {
    let hint = error.hint_text().unwrap_or_default();
    let text = error.to_string();
    let message = text.strip_suffix(hint).map_or(text.as_str(), |text| text.trim_end_matches(". "));
    Refusal::new(kind, message, hint)
}

fn failed(error: Error) -> Refusal {
    let kind = match error.message().starts_with("there is no ") {
        true => RefusalKind::Unknown,
        false if matches!(error.kind(), Kind::RetryAfter(_)) => RefusalKind::TimedOut,
        false => RefusalKind::Failed,
    };
    refusal(kind, &error)
}

impl Control for Instance {
    fn status(&self) -> Status {
        self.engine().map(|engine| engine.status()).unwrap_or_default()
    }

    fn wait(&self, limit: Duration) -> Result<(), Refusal> {
        self.engine()?.wait(limit).map_err(|error| match error.kind() {
            Kind::RetryAfter(_) | Kind::Reconnect => refusal(RefusalKind::TimedOut, &error),
            _ => failed(error),
        })
    }

    fn pause(&self, sink: &str) -> Result<(), Refusal> {
        self.engine()?.set_paused(sink, true).map_err(failed)
    }

    fn resume(&self, sink: &str) -> Result<(), Refusal> {
        self.engine()?.set_paused(sink, false).map_err(failed)
    }

    fn rebuild(&self, sink: &str) -> Result<(), Refusal> {
        self.engine()?.rebuild(sink).map_err(failed)
    }

    fn snapshot(&self, source: &str, tables: &[String]) -> Result<(), Refusal> {
        self.engine()?.snapshot(source, tables.to_vec()).map_err(failed)
    }

    fn dead_letters(&self, sink: &str, limit: usize) -> Result<Vec<DeadLetter>, Refusal> {
        let letters = self.engine()?.dead_letters(sink, limit).map_err(failed)?;
        let shown = letters.into_iter().map(|letter| DeadLetter {
            sequence: letter.sequence,
            table: letter.table,
            op: letter.op,
            at_us: letter.at_us,
            reason: letter.reason,
        });
        Ok(shown.collect())
    }

    fn replay(&self, sink: &str, sequences: Vec<u64>) -> Result<usize, Refusal> {
        self.engine()?.replay(sink, sequences).map_err(failed)
    }

    fn drop_dead_letters(&self, sink: &str, sequences: &[u64]) -> Result<usize, Refusal> {
        self.engine()?.drop_letters(sink, sequences).map_err(failed)
    }
}

/// The engine's options for these settings.
fn options(settings: &Settings) -> EngineOptions {
    let journal = &settings.journal;
    EngineOptions {
        data_dir: settings.data_dir.clone(),
        journal: Options {
            segment_bytes: u32::try_from(journal.segment_bytes.0).unwrap_or(u32::MAX),
            compression: match journal.compression {
                Compression::None => headwater_journal::Compression::None,
                Compression::Lz4 => headwater_journal::Compression::Lz4,
                Compression::Zstd => headwater_journal::Compression::Zstd(ZSTD_LEVEL),
            },
            durable_only: settings.delivery == Delivery::Durable,
            retention: Retention {
                bytes: journal.retention.bytes.map(|size| size.0),
                age: journal.retention.time.map(|span| span.0),
                keep_bytes: journal.retention.keep_bytes.0,
                keep_age: journal.retention.keep_time.0,
                hold_bytes_max: journal.laggard.limit.map(|size| size.0),
            },
            // Tests of power failures cut the journal there.
            record_durable: cfg!(feature = "failpoints"),
            ..Options::default()
        },
        laggard: match journal.laggard.on_limit {
            OnLimit::StopSource => Laggard::StopSource,
            OnLimit::DropFollower => Laggard::DropFollower,
        },
    }
}

fn source_spec(source: &Source) -> SourceSpec {
    let connector = source.connector.clone();
    let topics = source.topics.clone();
    SourceSpec { name: source.name.clone(), topics, build: Arc::new(move || connector.build()) }
}

fn sink_spec(sink: &Sink) -> SinkSpec {
    let connector = sink.connector.clone();
    let tables: BTreeSet<String> = sink.tables.iter().cloned().collect();
    SinkSpec {
        name: sink.name.clone(),
        source: sink.source.clone(),
        tables: Arc::new(move |schema: &Schema| tables.contains(&schema.full_name())),
        from: match sink.from {
            From::Snapshot => FromWhere::Snapshot,
            From::Earliest => FromWhere::Earliest,
            From::Now => FromWhere::Now,
        },
        build: Arc::new(move || Ok(connector.build())),
    }
}
