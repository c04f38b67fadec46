//! The one signal that ends threads, and waiting that it can interrupt.
//!
//! Invariant: a signal that was given stays given.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A signal shared by a thread and those who may end it.
#[derive(Clone, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Default)]
struct Inner {
    stopped: AtomicBool,
    lock: Mutex<()>,
    bell: Condvar,
}

impl Stop {
    /// Gives the signal.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Release);
        self.ring();
    }

    /// Wakes whoever pauses, without ending it: there is something new to look at.
    pub fn ring(&self) {
        let _guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.bell.notify_all();
    }

    /// Whether the signal was given.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Acquire)
    }

    /// Waits for at most `limit`; ends early when stopped or rung.
    pub fn pause(&self, limit: Duration) {
        let guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_stopped() {
            drop(self.0.bell.wait_timeout(guard, limit));
        }
    }

    /// Waits until `done` or the deadline or the signal; answers `done`'s last word.
    pub fn wait_until(&self, deadline: Instant, mut done: impl FnMut() -> bool) -> bool {
        loop {
            if done() {
                return true;
            }
            if self.is_stopped() || Instant::now() >= deadline {
                return done();
            }
            self.pause(POLL.min(deadline.saturating_duration_since(Instant::now())));
        }
    }
}

/// How a thread ended.
pub enum Joined<T> {
    /// It had been joined before.
    Already,
    /// With this.
    Ended(T),
    /// By a panic.
    Panicked,
    /// Not before the deadline; it is left behind.
    Late,
}

/// Waits for a thread, but not beyond the deadline.
pub fn join_until<T>(slot: &mut Option<JoinHandle<T>>, deadline: Instant) -> Joined<T> {
    let Some(thread) = slot.take() else { return Joined::Already };
    if !Stop::default().wait_until(deadline, || thread.is_finished()) {
        return Joined::Late;
    }
    thread.join().map_or(Joined::Panicked, Joined::Ended)
}

/// How often a condition without a bell of its own is looked at.
const POLL: Duration = Duration::from_millis(2);

/// Waits between tries: doubles from the first to the last, and begins again after a success.
#[derive(Debug, Default)]
pub struct BackOff {
    failures: u32,
}

/// The first wait after a failure.
const BACK_OFF_FIRST: Duration = Duration::from_millis(50);
/// The longest wait between two tries.
const BACK_OFF_MAX: Duration = Duration::from_secs(10);

impl BackOff {
    /// The wait before the next try.
    pub fn next_wait(&mut self) -> Duration {
        let wait = BACK_OFF_FIRST.saturating_mul(1 << self.failures.min(16)).min(BACK_OFF_MAX);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// A try succeeded.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}
