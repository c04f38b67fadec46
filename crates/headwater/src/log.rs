//! The process's own log: one line a message on standard error.
//!
//! Invariant: what is logged names objects, positions and counts; row values and secrets never reach here. Start at
//! [`start`].

use crate::config::{Log, LogFormat, LogLevel};
use std::io::IsTerminal;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How the targets of our own messages begin.
const OURS: &str = "headwater";

/// Begins to log as configured. A second call changes nothing.
pub fn start(log: &Log) {
    let lines = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let kept = kept(log.level);
    // Failing means that a subscriber is set already, which only happens in tests.
    let _ = match log.format {
        LogFormat::Text => lines.finish().with(kept).try_init(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .finish()
            .with(kept)
            .try_init(),
    };
}

/// What is kept: libraries tell what happens in them to those alone who ask for details.
fn kept(level: LogLevel) -> Targets {
    let (ours, others) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::DEBUG),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
    };
    Targets::new().with_default(others).with_target(OURS, ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn libraries_are_quiet_unless_details_are_asked_for() {
        for (level, target, message, is_kept) in [
            (LogLevel::Info, "headwater::cli::run", Level::INFO, true),
            (LogLevel::Info, "headwater_engine::session", Level::INFO, true),
            (LogLevel::Info, "headwater_engine::session", Level::DEBUG, false),
            (LogLevel::Info, "fjall::recovery", Level::INFO, false),
            (LogLevel::Info, "lsm_tree::tree", Level::WARN, true),
            (LogLevel::Error, "lsm_tree::tree", Level::WARN, false),
            (LogLevel::Warn, "headwater_engine::session", Level::INFO, false),
            (LogLevel::Debug, "fjall::recovery", Level::DEBUG, true),
            (LogLevel::Trace, "headwater", Level::TRACE, true),
        ] {
            assert_eq!(kept(level).would_enable(target, &message), is_kept, "{level:?} {target} {message}");
        }
    }
}
