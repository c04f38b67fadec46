//! Faults: a full disk is a pause, a failed write or fsync is the end, and both say so by name.

use crate::shop;
use headwater_journal::{Error, Op, Options, Probe, open};
use std::io;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Refuses the operations that a test names, while it is armed.
struct Refuse {
    armed: AtomicBool,
    kind: io::ErrorKind,
    applies: fn(&Op<'_>) -> bool,
    /// Leaves half of a refused write on disk, as a full disk does.
    torn_in: Mutex<Option<PathBuf>>,
}

impl std::fmt::Debug for Refuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Refuse")
    }
}

impl Probe for Refuse {
    fn before(&self, op: &Op<'_>) -> io::Result<()> {
        if !self.armed.load(Ordering::SeqCst) || !(self.applies)(op) {
            return Ok(());
        }
        if let (Op::Write { name, at, bytes }, Some(dir)) = (op, &*self.torn_in.lock().unwrap()) {
            let bytes: Vec<u8> = bytes.iter().flat_map(|piece| piece.to_vec()).collect();
            let mut file = std::fs::OpenOptions::new().write(true).open(dir.join(name))?;
            io::Seek::seek(&mut file, io::SeekFrom::Start(*at))?;
            file.write_all(&bytes[..bytes.len() / 2])?;
        }
        Err(self.kind.into())
    }
}

fn refusing(kind: io::ErrorKind, applies: fn(&Op<'_>) -> bool, torn_in: Option<&Path>) -> (Arc<Refuse>, Options) {
    let torn_in = Mutex::new(torn_in.map(Path::to_owned));
    let refuse = Arc::new(Refuse { armed: AtomicBool::new(false), kind, applies, torn_in });
    let probe: Arc<dyn Probe> = Arc::<Refuse>::clone(&refuse);
    (refuse, Options { probe: Some(probe), ..shop::options() })
}

fn is_segment_write(op: &Op<'_>) -> bool {
    matches!(op, Op::Write { name, .. } if name.ends_with(".segment"))
}

#[test]
fn what_meets_a_full_disk_is_kept_and_written_when_there_is_room() {
    for torn in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let is_write = |op: &Op<'_>| matches!(op, Op::Write { name, .. } if !name.ends_with(".index"));
        let (refuse, options) = refusing(io::ErrorKind::StorageFull, is_write, torn.then_some(dir.path()));
        let mut opened = open(dir.path(), options).unwrap();
        let writer = &mut opened.writer;
        // Whatever the call, an error says that it was taken, and flushing is all that is left to do.
        let settle = |writer: &mut headwater_journal::Writer, outcome: headwater_journal::Result<()>| {
            refuse.armed.store(false, Ordering::SeqCst);
            if let Err(error) = outcome {
                assert!(error.is_full(), "{error}");
                writer.flush().unwrap();
            }
        };
        for number in 0..120 {
            refuse.armed.store(number % 3 == 0, Ordering::SeqCst);
            let outcome = shop::append(writer, number).map(drop);
            settle(writer, outcome);
            refuse.armed.store(number % 7 == 3, Ordering::SeqCst);
            if number % 4 != 0 {
                let outcome = writer.flush();
                settle(writer, outcome);
            }
        }
        let [orders, _] = shop::topics(writer).unwrap();
        for part in 0..3 {
            refuse.armed.store(part != 1, Ordering::SeqCst);
            let outcome = shop::side_part(writer, "big", orders, part);
            assert_eq!(outcome.is_err(), part != 1);
            settle(writer, outcome);
        }
        shop::append(writer, 120).unwrap();
        refuse.armed.store(true, Ordering::SeqCst);
        let outcome = shop::side_commit(writer, "big", "big").map(drop);
        assert!(outcome.is_err());
        let more = shop::append(writer, 121).expect_err("what is kept must go first");
        assert!(!more.is_full(), "{more}");
        settle(writer, outcome);
        let said = shop::whole(&opened);
        assert!(said.starts_with(&shop::expected(121)));
        assert_eq!(said.lines().count(), 121 + 3);
        opened.writer.close().unwrap();
        let again = shop::opened(dir.path());
        assert_eq!((shop::whole(&again), again.recovered.truncated), (said, None));
    }
}

#[test]
fn a_full_disk_that_ends_the_process_leaves_a_good_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (refuse, options) = refusing(io::ErrorKind::StorageFull, is_segment_write, Some(dir.path()));
    let mut opened = open(dir.path(), options).unwrap();
    shop::fill(&mut opened.writer, 0..30).unwrap();
    shop::append(&mut opened.writer, 30).unwrap();
    refuse.armed.store(true, Ordering::SeqCst);
    assert!(opened.writer.flush().unwrap_err().is_full());
    drop(opened);
    let mut again = shop::opened(dir.path());
    assert_eq!(again.recovered.position.as_deref(), Some(&b"position 29"[..]));
    shop::fill(&mut again.writer, 30..40).unwrap();
    assert_eq!(shop::whole(&again), shop::expected(40));
}

#[test]
fn a_failed_fsync_is_fatal_and_never_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let is_sync = |op: &Op<'_>| matches!(op, Op::Sync { name } if name.ends_with(".segment"));
    let (refuse, options) = refusing(io::ErrorKind::Other, is_sync, None);
    let mut opened = open(dir.path(), options).unwrap();
    shop::fill(&mut opened.writer, 0..5).unwrap();
    opened.writer.sync().unwrap();
    refuse.armed.store(true, Ordering::SeqCst);
    shop::append(&mut opened.writer, 5).unwrap();
    let first = opened.writer.sync().expect_err("the fsync failed");
    refuse.armed.store(false, Ordering::SeqCst);
    for error in [first, opened.writer.sync().unwrap_err(), opened.writer.flush().unwrap_err()] {
        assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    }
    assert!(matches!(opened.journal.failure(), Some(Error::Poisoned { .. })));
    let soon = Instant::now() + Duration::from_secs(20);
    assert!(opened.journal.wait_durable(u64::MAX, soon).is_err());
    assert_eq!(opened.journal.durable_position().as_deref(), Some(&b"position 4"[..]));
    drop(opened);
    let again = shop::opened(dir.path());
    assert!(shop::expected(6).starts_with(&shop::whole(&again)));
}

#[test]
fn a_failed_write_poisons_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (refuse, options) = refusing(io::ErrorKind::Other, is_segment_write, Some(dir.path()));
    let mut opened = open(dir.path(), options).unwrap();
    shop::fill(&mut opened.writer, 0..5).unwrap();
    refuse.armed.store(true, Ordering::SeqCst);
    shop::append(&mut opened.writer, 5).unwrap();
    assert!(matches!(opened.writer.flush(), Err(Error::Poisoned { .. })));
    refuse.armed.store(false, Ordering::SeqCst);
    assert!(matches!(opened.writer.flush(), Err(Error::Poisoned { .. })));
    // Readers keep what they could see.
    assert_eq!(shop::whole(&opened), shop::expected(5));
    drop(opened);
    let again = shop::opened(dir.path());
    assert_eq!(shop::whole(&again), shop::expected(5));
    assert!(again.recovered.truncated.is_some());
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let dir = Path::new("/proc/self/fdinfo/journal");
    let error = open(dir, shop::options()).map(drop).expect_err("nothing can be made there");
    assert!(matches!(&error, Error::Io { file, .. } if file == dir), "{error}");
}

#[test]
fn entries_beyond_a_limit_are_refused_and_nothing_changes() {
    use headwater_journal::{Entry, Head, POSITION_BYTES_MAX};
    let dir = tempfile::tempdir().unwrap();
    let mut opened = shop::opened(dir.path());
    let long = vec![0; POSITION_BYTES_MAX + 1];
    let large = vec![0; headwater_journal::HEAD_BYTES_MAX + 1];
    let entries = [
        Entry { changes: 1, position: &long, ..Entry::default() },
        Entry { changes: 1, heads: &[Head { key: b"k", value: Some(&large) }], ..Entry::default() },
    ];
    for entry in &entries {
        assert!(matches!(opened.writer.append(entry), Err(Error::TooLarge { .. })));
    }
    shop::fill(&mut opened.writer, 0..3).unwrap();
    assert_eq!(shop::whole(&opened), shop::expected(3));
}
