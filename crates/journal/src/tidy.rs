//! The thread `journal-tidy`: zeroes the next segment ahead of its use, writes the index of closed ones, writes out side
//! segments, and removes what is no longer needed. Nothing here is waited for by the writer.
//!
//! Invariant: every job may be lost without loss of data: recovery does it over, or does without. Start at [`run`].

use crate::disk::{Disk, DiskFile};
use crate::error::Result;
use crate::layout::{NEXT, index_name};
use crate::shared::{Shared, SyncFile};
use std::io::IoSlice;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Bytes zeroed with one write.
const ZERO_BYTES: usize = 1 << 20;
/// Bytes zeroed between two fsyncs, so that the writer's own fsync never waits for a whole segment of zeros.
const ZERO_SYNC_BYTES: u32 = 8 << 20;

#[derive(Debug, Default)]
struct Jobs {
    /// Size of the segment file wanted next; a job of one.
    zero: Option<u32>,
    /// A zeroed file that waits for the writer.
    zeroed: Option<DiskFile>,
    /// At most one entry a segment.
    seal: Vec<Arc<SyncFile>>,
    /// Large side segments whose pages should go to disk before their commit; at most one entry each.
    write_out: Vec<Arc<DiskFile>>,
    /// Names; at most one entry a file.
    remove: Vec<String>,
    stopping: bool,
}

/// Work for the thread.
#[derive(Debug, Default)]
pub(crate) struct TidyQueue {
    jobs: Mutex<Jobs>,
    work: Condvar,
}

impl TidyQueue {
    fn add(&self, add: impl FnOnce(&mut Jobs)) {
        add(&mut self.jobs.lock().unwrap_or_else(PoisonError::into_inner));
        self.work.notify_one();
    }

    pub fn zero(&self, bytes: u32) {
        self.add(|jobs| jobs.zero = Some(bytes));
    }

    /// The zeroed file under its new name, when one is ready. Renamed under the lock: the thread may create the next
    /// file of zeros, under the old name, as soon as this one is taken.
    pub fn take_zeroed(&self, disk: &Disk, name: &str) -> Result<Option<DiskFile>> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.zeroed.is_none() {
            return Ok(None);
        }
        disk.rename(NEXT, name)?;
        Ok(jobs.zeroed.take().map(|file| file.renamed(name)))
    }

    pub fn seal(&self, file: Arc<SyncFile>) {
        self.add(|jobs| jobs.seal.push(file));
    }

    pub fn write_out(&self, file: &Arc<DiskFile>) {
        self.add(|jobs| {
            if !jobs.write_out.iter().any(|other| Arc::ptr_eq(other, file)) {
                jobs.write_out.push(Arc::clone(file));
            }
        });
    }

    pub fn remove(&self, name: String) {
        self.add(|jobs| jobs.remove.push(name));
    }

    pub fn stop(&self) {
        self.add(|jobs| jobs.stopping = true);
    }
}

enum Job {
    Zero(u32),
    Seal(Arc<SyncFile>),
    WriteOut(Arc<DiskFile>),
    Remove(String),
}

/// Works until the journal is stopped.
pub(crate) fn run(shared: &Shared) {
    while let Some(job) = next(&shared.tidy) {
        let outcome = match job {
            Job::Zero(bytes) => zero(shared, bytes),
            Job::Seal(file) => seal(shared, &file),
            // A failed fsync here may hide lost pages from the one at commit, so it is as fatal as that one.
            Job::WriteOut(file) => file.sync().inspect_err(|error| drop(shared.poison(error))),
            Job::Remove(name) => shared.disk.remove(&name),
        };
        if let Err(error) = outcome {
            tracing::warn!(journal = %shared.dir.display(), %error, "the journal could not tidy up; it will again at the next start");
        }
    }
}

fn next(queue: &TidyQueue) -> Option<Job> {
    let mut jobs = queue.jobs.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        // An index saves the next start a scan, so these are done even while stopping.
        if let Some(file) = jobs.seal.pop() {
            return Some(Job::Seal(file));
        }
        if jobs.stopping {
            return None;
        }
        if let Some(file) = jobs.write_out.pop() {
            return Some(Job::WriteOut(file));
        }
        if jobs.zeroed.is_none()
            && let Some(bytes) = jobs.zero.take()
        {
            return Some(Job::Zero(bytes));
        }
        if let Some(name) = jobs.remove.pop() {
            return Some(Job::Remove(name));
        }
        jobs = queue.work.wait(jobs).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Overwriting zeros needs no new blocks and no new length, so that later fsyncs have no metadata to write.
pub(crate) fn write_zeros(file: &DiskFile, from: u64, to: u64, stopping: impl Fn() -> bool) -> Result<bool> {
    let zeros = vec![0; ZERO_BYTES];
    let (mut at, mut unsynced) = (from, 0u64);
    while at < to {
        if stopping() {
            return Ok(false);
        }
        let length = (to - at).min(ZERO_BYTES as u64);
        file.write(&mut [IoSlice::new(&zeros[..length as usize])], at)?;
        (at, unsynced) = (at + length, unsynced + length);
        if unsynced >= u64::from(ZERO_SYNC_BYTES) {
            file.sync()?;
            unsynced = 0;
        }
    }
    file.sync()?;
    Ok(true)
}

fn zero(shared: &Shared, bytes: u32) -> Result<()> {
    let file = shared.disk.create(NEXT)?;
    let stopping = || shared.tidy.jobs.lock().unwrap_or_else(PoisonError::into_inner).stopping;
    match write_zeros(&file, 0, u64::from(bytes), stopping) {
        Ok(true) => shared.tidy.jobs.lock().unwrap_or_else(PoisonError::into_inner).zeroed = Some(file),
        Ok(false) => {}
        Err(error) => {
            // Half a file of zeros only takes room that the journal itself may need now.
            shared.disk.remove(NEXT)?;
            return Err(error);
        }
    }
    Ok(())
}

/// The segment is durable: cut off the zeros that were not needed, and write its index. The index is not fsynced: one
/// that is torn does not check, and the segment is then scanned.
fn seal(shared: &Shared, file: &SyncFile) -> Result<()> {
    let Some(end) = file.segment.end() else { return Ok(()) };
    file.file.set_length(u64::from(end))?;
    if let Some(bytes) = file.segment.encode_index(shared.identity.id) {
        shared.disk.create(&index_name(file.segment.ordinal))?.write(&mut [IoSlice::new(&bytes)], 0)?;
        file.segment.forget_index();
    }
    Ok(())
}
