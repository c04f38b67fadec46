//! The running instance: the engine, started from a configuration.
//!
//! Invariant: a call that waits holds the engine for no longer than [`SLICE_MAX`], so that it never keeps
//! [`Instance::stop`] from stopping. Start at [`Instance::start`].

use crate::config::{Compression, Config, Delivery, From, OnLimit, Settings, Sink, Source};
use crate::control::{Control, DeadLetter, Refusal, RefusalKind, Status};
use headwater_engine::{Engine, EngineOptions, FromWhere, Laggard, SinkSpec, SourceSpec};
use headwater_journal::{Options, Retention};
use headwater_model::{Error, Kind, Schema};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest that one call may hold the engine.
const SLICE_MAX: Duration = Duration::from_secs(1);
/// How long to wait before a database that is away is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Level at which `zstd` is cheap enough for a stream.
const ZSTD_LEVEL: i32 = 1;
/// How long calls that are still in flight may take at the stop.
const CALLS_END_MAX: Duration = Duration::from_millis(1_500);

/// An engine that runs.
pub struct Instance {
    /// `None` once it was stopped.
    engine: Mutex<Option<Arc<Engine>>>,
}

impl Instance {
    /// Starts every source and sink of `config`.
    pub fn start(config: &Config) -> Result<Instance, Error> {
        let sources: Vec<SourceSpec> = config.sources.iter().map(source_spec).collect();
        let sinks: Vec<SinkSpec> = config.sinks.iter().map(sink_spec).collect();
        let engine = Engine::start(&options(&config.settings), &sources, &sinks)?;
        Ok(Instance { engine: Mutex::new(Some(Arc::new(engine))) })
    }

    /// Drains, checkpoints and ends everything. A second call does nothing.
    pub fn stop(&self) -> Result<(), Error> {
        let taken = self.engine.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut shared) = taken else { return Ok(()) };
        let deadline = Instant::now() + CALLS_END_MAX;
        loop {
            match Arc::try_unwrap(shared) {
                Ok(engine) => return engine.stop(),
                Err(_) if Instant::now() >= deadline => {
                    return Err(Error::stop("a call into the engine did not end, so that nothing was drained")
                        .hint("Nothing is lost: the next start resumes where the journal and the targets stand."));
                }
                Err(still) => shared = still,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn engine(&self) -> Result<Arc<Engine>, Refusal> {
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner).clone();
        engine.ok_or_else(|| Refusal::new(RefusalKind::Conflict, "the instance is stopping", "Start it again."))
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
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Err(error) = self.engine()?.wait(left.min(SLICE_MAX)) else { return Ok(()) };
            let late = left <= SLICE_MAX;
            match error.kind() {
                Kind::RetryAfter(_) if !late => {}
                Kind::Reconnect if left > ASK_AGAIN => std::thread::sleep(ASK_AGAIN),
                Kind::RetryAfter(_) | Kind::Reconnect => return Err(refusal(RefusalKind::TimedOut, &error)),
                _ => return Err(failed(error)),
            }
        }
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
    SourceSpec { name: source.name.clone(), build: Arc::new(move || connector.build()) }
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
