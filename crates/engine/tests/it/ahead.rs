//! A power failure that takes the journal's last bytes, when a target has them already.

use crate::world::{World, eventually, options};
use headwater_journal::{Op, Probe, power};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A disk whose fsync can be held.
#[derive(Debug, Default)]
struct SlowDisk {
    holds: AtomicBool,
    lock: Mutex<()>,
    bell: Condvar,
}

impl Probe for SlowDisk {
    fn before(&self, op: &Op<'_>) -> std::io::Result<()> {
        let guard = self.lock.lock().unwrap();
        if matches!(op, Op::Sync { .. }) {
            drop(self.bell.wait_while(guard, |()| self.holds.load(Ordering::Acquire)).unwrap());
        }
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_target_that_is_ahead_waits_until_the_log_was_read_again() {
    let mut world = World::new(&["cache"]);
    let disk = Arc::new(SlowDisk::default());
    world.options.journal.record_durable = true;
    world.options.journal.segment_bytes = 1 << 20;
    world.options.journal.retention.bytes = None;
    world.options.journal.probe = Some(disk.clone());
    let running = world.start();
    world.database.load(100, 1);
    running.all_arrives();
    let durable = world.database.len();

    // Written, visible, applied, and not on disk: then the power fails.
    disk.holds.store(true, Ordering::Release);
    world.database.load(100, 2);
    let target = world.target("cache").clone();
    eventually("the target has what is not on disk", || target.content() == world.database.content());
    let after = tempfile::tempdir().unwrap();
    copy(&world.folder.join("journal/db"), &after.path().join("journal/db"));
    let progress = target.state().progress.unwrap();
    disk.holds.store(false, Ordering::Release);
    disk.bell.notify_all();
    running.engine.stop().unwrap();
    assert!(power::cut(&after.path().join("journal/db")).unwrap() > 0);

    target.set(|state| state.progress = Some(progress));
    world.options = options(after.path());
    world.options.journal.retention.bytes = None;
    world.database.gate(Some(durable));
    let running = world.start();
    eventually("it is ahead", || running.sink("cache").state == "ahead");
    eventually("the source was told", || !world.database.accepts_derived.load(Ordering::Acquire));
    assert!(running.engine.wait(Duration::from_millis(20)).is_err());
    world.database.gate(None);
    running.all_arrives();
    eventually("the source goes on", || world.database.accepts_derived.load(Ordering::Acquire));
    world.database.load(50, 3);
    running.all_arrives();
    assert_eq!(target.state().clears, 0);
    running.engine.stop().unwrap();
}
