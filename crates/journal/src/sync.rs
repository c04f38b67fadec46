//! The thread `journal-sync`: one `fdatasync` for all that was written while the last one ran.
//!
//! Invariant: the durable mark moves only after the fsync that covers it, and a failed fsync is never tried again: the
//! kernel may have dropped the pages, so a second one could lie. Start at [`run`].

use crate::error::{Error, Result};
use crate::layout::DURABLE_MARK;
use crate::place::Place;
use crate::shared::{Shared, SyncFile};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Syncs until the journal is stopped or fails.
pub(crate) fn run(shared: &Shared) {
    let guard = PoisonOnPanic(shared);
    let record = shared.options.record_durable.then(|| File::create(shared.dir.join(DURABLE_MARK)));
    if let Some(Ok(file)) = &record {
        let _ = file.write_all_at(&shared.durable().0.to_le_bytes(), 0);
    }
    while let Some((mark, files)) = shared.next_sync() {
        fail::fail_point!("journal::before_fsync");
        if let Err(error) = sync(shared, &files) {
            shared.poison(&error);
            break;
        }
        fail::fail_point!("journal::after_fsync");
        if let Some(Ok(file)) = &record {
            let _ = file.write_all_at(&mark.place.0.to_le_bytes(), 0);
        }
        release(shared, &files, mark.place);
        shared.advance_durable(&mark);
        fail::fail_point!("journal::after_durable");
    }
    std::mem::forget(guard);
}

fn sync(shared: &Shared, files: &[Arc<SyncFile>]) -> Result<()> {
    for file in files {
        file.file.sync()?;
    }
    if files.iter().any(|file| file.is_new.load(Ordering::Acquire)) {
        shared.disk.sync_folder()?;
        files.iter().for_each(|file| file.is_new.store(false, Ordering::Release));
    }
    Ok(())
}

/// Segments that ended before `place` are durable as a whole: they need no further sync, and get their index.
fn release(shared: &Shared, synced: &[Arc<SyncFile>], place: Place) {
    let ended = |file: &Arc<SyncFile>| file.segment.ordinal < place.ordinal();
    if !synced.iter().any(ended) {
        return;
    }
    shared.marks().files.retain(|file| !ended(file));
    for file in synced.iter().filter(|file| ended(file)) {
        shared.tidy.seal(Arc::clone(file));
    }
}

/// A panic in this thread (a fail point, a defect) must not leave others waiting for an fsync that never comes.
struct PoisonOnPanic<'a>(&'a Shared);

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        self.0.poison(&Error::Invalid("the thread journal-sync panicked".into()));
    }
}
