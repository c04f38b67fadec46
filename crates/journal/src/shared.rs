//! What the writer, the sync thread and all readers share: how far the journal is written, visible and durable.
//!
//! Invariant: durable ≤ visible ≤ written, none of them ever goes back, and nothing derived is visible before it is
//! durable. Nothing here knows how many readers there are. Start at [`Shared::publish`].

use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::heads::Topic;
use crate::identity::Identity;
use crate::options::Options;
use crate::place::Place;
use crate::segment::Segment;
use crate::tidy::TidyQueue;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

/// A point between two frames.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mark {
    pub place: Place,
    pub sequence: u64,
    /// All bytes written by this process up to here.
    pub bytes: u64,
    pub position: Vec<u8>,
}

/// Everything that moves, under one lock that is held for moments only.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    pub written: Mark,
    pub durable: Mark,
    visible: (Place, u64),
    /// End of the last frame that waits for its fsync before it is shown.
    barrier: Place,
    /// Files written to since their last fsync; the last one is the segment being written.
    pub files: Vec<Arc<SyncFile>>,
    pub failure: Option<Error>,
    pub stopping: bool,
    visible_waiters: u32,
}

/// A segment file as the sync thread needs it.
#[derive(Debug)]
pub(crate) struct SyncFile {
    pub file: DiskFile,
    pub segment: Arc<Segment>,
    /// Its name is not durable yet.
    pub is_new: AtomicBool,
}

/// The shared state of one open journal.
#[derive(Debug)]
pub(crate) struct Shared {
    pub dir: PathBuf,
    pub disk: Disk,
    pub options: Options,
    pub identity: Identity,
    visible: AtomicU64,
    visible_sequence: AtomicU64,
    durable: AtomicU64,
    durable_sequence: AtomicU64,
    written_sequence: AtomicU64,
    marks: Mutex<Marks>,
    visible_moved: Condvar,
    durable_moved: Condvar,
    work: Condvar,
    pub segments: RwLock<Vec<Arc<Segment>>>,
    pub topics: RwLock<Vec<Topic>>,
    pub tidy: TidyQueue,
    pub closed: AtomicBool,
}

impl Shared {
    pub fn new(
        disk: Disk,
        dir: PathBuf,
        options: Options,
        identity: Identity,
        recovered: Mark,
        segments: Vec<Arc<Segment>>,
        topics: Vec<Topic>,
    ) -> Self {
        let (place, sequence) = (recovered.place, recovered.sequence);
        let marks = Marks {
            written: recovered.clone(),
            durable: recovered,
            visible: (place, sequence),
            barrier: place,
            ..Marks::default()
        };
        Shared {
            dir,
            disk,
            options,
            identity,
            visible: AtomicU64::new(place.0),
            visible_sequence: AtomicU64::new(sequence),
            durable: AtomicU64::new(place.0),
            durable_sequence: AtomicU64::new(sequence),
            written_sequence: AtomicU64::new(sequence),
            marks: Mutex::new(marks),
            visible_moved: Condvar::new(),
            durable_moved: Condvar::new(),
            work: Condvar::new(),
            segments: RwLock::new(segments),
            topics: RwLock::new(topics),
            tidy: TidyQueue::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn visible(&self) -> Place {
        Place(self.visible.load(Ordering::Acquire))
    }

    pub fn visible_sequence(&self) -> u64 {
        self.visible_sequence.load(Ordering::Acquire)
    }

    pub fn durable(&self) -> Place {
        Place(self.durable.load(Ordering::Acquire))
    }

    pub fn durable_sequence(&self) -> u64 {
        self.durable_sequence.load(Ordering::Acquire)
    }

    pub fn written_sequence(&self) -> u64 {
        self.written_sequence.load(Ordering::Acquire)
    }

    /// The segment list as it is now.
    pub fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn first_sequence(&self) -> u64 {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.first().map_or(0, |segment| segment.first_sequence)
    }

    /// Waits until no more than `unsynced_bytes_max` are written and not durable. Fails when the journal is poisoned.
    pub fn wait_for_room(&self) -> Result<()> {
        let mut marks = self.marks();
        loop {
            if let Some(failure) = &marks.failure {
                return Err(failure.clone());
            }
            if marks.written.bytes - marks.durable.bytes <= self.options.unsynced_bytes_max {
                return Ok(());
            }
            marks = self.durable_moved.wait(marks).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A frame was written: shows it (unless it must be durable first) and lets the sync thread know.
    pub fn publish(&self, place: Place, sequence: u64, position: &[u8], bytes: u64, derived: bool) {
        let mut marks = self.marks();
        marks.written.place = place;
        marks.written.sequence = sequence;
        marks.written.bytes += bytes;
        marks.written.position.clear();
        marks.written.position.extend_from_slice(position);
        self.written_sequence.store(sequence, Ordering::Release);
        if derived || self.options.durable_only {
            marks.barrier = place;
        }
        let waiters = self.show(&mut marks);
        drop(marks);
        self.work.notify_one();
        if waiters {
            self.visible_moved.notify_all();
        }
    }

    /// An fsync covered all up to `mark`.
    pub fn advance_durable(&self, mark: &Mark) {
        let mut marks = self.marks();
        marks.durable.clone_from(mark);
        self.durable.store(mark.place.0, Ordering::Release);
        self.durable_sequence.store(mark.sequence, Ordering::Release);
        let waiters = self.show(&mut marks);
        drop(marks);
        self.durable_moved.notify_all();
        if waiters {
            self.visible_moved.notify_all();
        }
    }

    /// Moves what is visible as far as it may; answers whether someone waits for that.
    fn show(&self, marks: &mut Marks) -> bool {
        let reach = if marks.barrier <= marks.durable.place { &marks.written } else { &marks.durable };
        if reach.place <= marks.visible.0 {
            return false;
        }
        marks.visible = (reach.place, reach.sequence);
        self.visible_sequence.store(marks.visible.1, Ordering::Release);
        self.visible.store(marks.visible.0.0, Ordering::Release);
        marks.visible_waiters > 0
    }

    /// Waits until `done` holds for what is visible. `false`: the deadline came first.
    pub fn wait_visible(&self, deadline: Instant, done: impl Fn(Place, u64) -> bool) -> Result<bool> {
        if done(self.visible(), self.visible_sequence()) {
            return Ok(true);
        }
        let mut marks = self.marks();
        marks.visible_waiters += 1;
        let outcome = loop {
            if done(marks.visible.0, marks.visible.1) {
                break Ok(true);
            }
            if let Some(failure) = &marks.failure {
                break Err(failure.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.closed.load(Ordering::Acquire) {
                break Ok(false);
            }
            marks = self.visible_moved.wait_timeout(marks, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        marks.visible_waiters -= 1;
        outcome
    }

    /// Waits until all up to `sequence` and `place` is durable. `false`: the deadline came first.
    pub fn wait_durable(&self, deadline: Option<Instant>, done: impl Fn(&Mark) -> bool) -> Result<bool> {
        let mut marks = self.marks();
        loop {
            if done(&marks.durable) {
                return Ok(true);
            }
            if let Some(failure) = &marks.failure {
                return Err(failure.clone());
            }
            if self.closed.load(Ordering::Acquire) {
                return Err(Error::Closed);
            }
            let Some(deadline) = deadline else {
                marks = self.durable_moved.wait(marks).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            marks = self.durable_moved.wait_timeout(marks, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The sync thread's wait: gives what was written and the files to sync; `None` when it is to end.
    pub fn next_sync(&self) -> Option<(Mark, Vec<Arc<SyncFile>>)> {
        let mut marks = self.marks();
        loop {
            if marks.stopping || marks.failure.is_some() {
                return None;
            }
            if marks.written.place > marks.durable.place {
                return Some((marks.written.clone(), marks.files.clone()));
            }
            marks = self.work.wait(marks).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing may be written from here on; everyone who waits is told why.
    pub fn poison(&self, cause: &Error) -> Error {
        let mut marks = self.marks();
        let failure = marks.failure.get_or_insert_with(|| Error::poisoned(cause)).clone();
        drop(marks);
        tracing::error!(journal = %self.dir.display(), %failure, "the journal stops");
        self.wake_all();
        failure
    }

    /// Ends the threads; what is not durable stays so.
    pub fn stop(&self) {
        self.marks().stopping = true;
        self.closed.store(true, Ordering::Release);
        self.tidy.stop();
        self.wake_all();
    }

    fn wake_all(&self) {
        // Taking the lock once closes the gap between a waiter's check and its wait.
        drop(self.marks());
        self.work.notify_all();
        self.visible_moved.notify_all();
        self.durable_moved.notify_all();
    }
}
