//! The hand that kills: one kill at a time, beside the picture, which goes on.
//!
//! Invariant: what was killed has been started again before [`Hand::finish`] returns. Start at [`Hand::kill`].

use crate::servers::{Servers, Target};
use headwater_testkit::{Error, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Kills that may wait for the one before.
const QUEUED_MAX: usize = 1;

/// A thread that kills what it is told to.
pub struct Hand {
    queue: Option<SyncSender<Target>>,
    thread: Option<JoinHandle<Result>>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    kills: [AtomicU64; 3],
    busy: Mutex<Option<Target>>,
}

impl Hand {
    /// A hand that rests.
    pub fn new(servers: &Arc<Servers>) -> Self {
        let (queue, targets) = mpsc::sync_channel(QUEUED_MAX);
        let state = Arc::new(State::default());
        let (servers, shared) = (servers.clone(), state.clone());
        let work = move || {
            for target in targets {
                shared.show(Some(target));
                servers.kill(target)?;
                shared.kills[target as usize].fetch_add(1, Ordering::AcqRel);
                shared.show(None);
            }
            Ok(())
        };
        Self { queue: Some(queue), thread: Some(thread::spawn(work)), state }
    }

    /// Kills `target` as soon as the last kill is over; nothing when another one is waiting already.
    pub fn kill(&self, target: Target) {
        if let Some(queue) = &self.queue {
            // Full: keys were pressed faster than servers start.
            let _ = queue.try_send(target);
        }
    }

    /// What is being killed or started at this moment.
    pub fn busy(&self) -> Option<Target> {
        *self.state.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills so far, of `target`.
    pub fn kills(&self, target: Target) -> u64 {
        self.state.kills[target as usize].load(Ordering::Acquire)
    }

    /// Whether a server could not be started again; [`finish`](Self::finish) says why.
    pub fn has_failed(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until what was killed is up again.
    pub fn finish(&mut self) -> Result {
        self.queue = None;
        let panicked = || Error::new("the thread that kills servers has panicked");
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap_or_else(|_| Err(panicked())))
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

impl State {
    fn show(&self, target: Option<Target>) {
        *self.busy.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }
}
