//! A statement that a source runs at an interval, so that its database has something to log however idle it is.
//!
//! Invariant: it runs on a thread and a connection of its own, so the log is read on whatever becomes of it; a statement
//! that fails is told and tried again at the next beat. Start at [`Heart::start`].

use headwater_model::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the statement may stay silent, which is also how long stopping may take.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(3);

/// A statement that is run at an interval.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatQuery {
    /// The statement, such as `UPDATE shop.heartbeat SET beaten_at = now()`. The source's user needs the privilege for it.
    pub statement: String,
    /// How long there is between two runs, such as `10s`.
    pub interval: String,
}

/// The same, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The statement.
    pub statement: String,
    /// How long there is between two runs.
    pub interval: Duration,
}

impl HeartbeatQuery {
    /// Reads the interval with `duration`.
    pub fn check<E>(
        &self,
        duration: impl FnOnce(&str) -> std::result::Result<Duration, E>,
    ) -> std::result::Result<Heartbeat, E> {
        Ok(Heartbeat { statement: self.statement.clone(), interval: duration(&self.interval)? })
    }
}

/// A heart that beats until it is dropped.
pub struct Heart {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Heart {
    /// Calls `run` at every beat, for the source called `source`.
    pub fn start(
        source: &str,
        heartbeat: &Heartbeat,
        mut run: impl FnMut(&str) -> Result<()> + Send + 'static,
    ) -> Result<Heart> {
        let (source, heartbeat) = (source.to_owned(), heartbeat.clone());
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let stopping = stop.clone();
        let thread = std::thread::Builder::new()
            .name(format!("heart-{source}"))
            .spawn(move || {
                let (stop, rings) = &*stopping;
                let mut stopped = stop.lock().unwrap_or_else(PoisonError::into_inner);
                while !*stopped {
                    drop(stopped);
                    if let Err(error) = run(&heartbeat.statement) {
                        tracing::warn!(source, %error, "the heartbeat's statement failed");
                    }
                    let held = stop.lock().unwrap_or_else(PoisonError::into_inner);
                    let waited = rings.wait_timeout_while(held, heartbeat.interval, |stopped| !*stopped);
                    stopped = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            })
            .map_err(|error| Error::stop("no thread for the heartbeat").source(error))?;
        Ok(Heart { stop, thread: Some(thread) })
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn it_beats_on_over_failures_and_ends_when_it_is_dropped() {
        let (beaten, beats) = mpsc::sync_channel(3);
        let heartbeat = Heartbeat { statement: "SELECT 1".into(), interval: Duration::from_millis(1) };
        let heart = Heart::start("shop", &heartbeat, move |statement| {
            beaten.try_send(statement.to_owned()).map_err(|error| Error::stop("nobody listens").source(error))?;
            Err(Error::reconnect("refused"))
        })
        .unwrap();
        for _ in 0..3 {
            assert_eq!(beats.recv_timeout(Duration::from_secs(30)).unwrap(), "SELECT 1");
        }
        drop(heart);
        assert!(beats.try_iter().count() < 1_000_000 && beats.recv().is_err(), "its thread is gone");
    }
}
