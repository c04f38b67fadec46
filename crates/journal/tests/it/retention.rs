//! Retention: by size and by age, never what a follower needs or what it should be able to go back to.

use crate::shop;
use headwater_journal::{Error, From, Journal, Opened, Options, Retention, Standing, TopicId, open};
use std::path::Path;
use std::time::{Duration, Instant};

/// A journal of many small segments, all of them durable and closed but the last.
fn filled(dir: &Path, retention: Retention) -> Opened {
    let mut opened = open(dir, Options { retention, ..shop::options() }).unwrap();
    shop::fill(&mut opened.writer, 0..50).unwrap();
    shop::side_parts(&mut opened.writer, "big").unwrap();
    shop::side_commit(&mut opened.writer, "big", "big").unwrap();
    shop::fill(&mut opened.writer, 50..300).unwrap();
    opened.writer.sync().unwrap();
    opened
}

fn by_bytes(bytes: u64, keep_bytes: u64) -> Retention {
    Retention {
        bytes: Some(bytes),
        age: None,
        keep_bytes,
        keep_age: Duration::from_secs(3600),
        hold_bytes_max: Some(20_000),
    }
}

fn segments(journal: &Journal, dir: &Path) -> usize {
    let _ = journal;
    headwater_journal::info(dir).unwrap().segments.len()
}

#[test]
fn what_is_due_and_passed_goes_and_offsets_move() {
    let dir = tempfile::tempdir().unwrap();
    let opened = filled(dir.path(), by_bytes(20_000, 0));
    let before = opened.journal.bytes();
    let report = opened.journal.apply_retention(None).unwrap();
    assert!(report.deleted_segments > 3 && report.deleted_bytes > 0, "{report:?}");
    assert!(before > 30_000 && opened.journal.bytes() <= 20_000);
    let first = opened.journal.first_sequence();
    assert_eq!((report.first_sequence, report.held_bytes, report.limit_reached), (first, 0, false));
    let wanted = opened.journal.reader(From::Sequence(first - 1)).map(drop);
    assert!(matches!(wanted, Err(Error::Trimmed { .. })));
    assert_eq!(opened.journal.classify(opened.journal.id(), 1, first - 1), Standing::Trimmed);
    let (first_offset, next_offset) = opened.journal.topic_bounds(TopicId(0), 0).unwrap();
    assert!(0 < first_offset && first_offset < next_offset);
    let trimmed = opened.journal.reader(From::Offset { topic: TopicId(0), partition: 0, offset: first_offset - 1 });
    assert!(matches!(trimmed.map(drop), Err(Error::Trimmed { .. })));
    let kept = shop::whole(&opened);
    assert!(kept.starts_with(&format!("{first}+")), "{}", &kept[..20]);
    // The side segment goes with the frame that refers to it.
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::fs::read_dir(dir.path()).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        path.extension().is_some_and(|kind| kind == "side" || kind == "drop")
    }) {
        assert!(Instant::now() < deadline, "the side segment is still there");
        std::thread::yield_now();
    }
    let heads = opened.writer.heads().clone();
    opened.writer.close().unwrap();
    let again = shop::opened(dir.path());
    assert_eq!((shop::whole(&again), &again.recovered.heads), (kept, &heads));
    assert_eq!(again.recovered.first_sequence, first);
}

#[test]
fn a_slow_follower_holds_it_back_and_the_limit_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let opened = filled(dir.path(), by_bytes(20_000, 0));
    let all = segments(&opened.journal, dir.path());
    let report = opened.journal.apply_retention(Some(10)).unwrap();
    assert_eq!((report.deleted_segments, report.limit_reached), (0, true), "{report:?}");
    assert!(report.held_bytes > 20_000);
    assert_eq!(segments(&opened.journal, dir.path()), all);
    // The follower was dropped: the next slowest counts.
    let report = opened.journal.apply_retention(Some(opened.journal.visible_sequence())).unwrap();
    assert!(report.deleted_segments > 3 && !report.limit_reached, "{report:?}");
}

#[test]
fn something_stays_behind_the_slowest_follower() {
    let dir = tempfile::tempdir().unwrap();
    let opened = filled(dir.path(), by_bytes(20_000, u64::MAX));
    let report = opened.journal.apply_retention(Some(opened.journal.visible_sequence())).unwrap();
    assert_eq!((report.deleted_segments, report.held_bytes), (0, 0));
}

#[test]
fn old_segments_go_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let age = Retention { bytes: None, age: Some(Duration::from_millis(60)), keep_bytes: 0, ..Retention::default() };
    let options = Options { retention: age, clock_us: shop::ticking_clock, ..shop::options() };
    let mut opened = open(dir.path(), options).unwrap();
    shop::fill(&mut opened.writer, 0..300).unwrap();
    opened.writer.sync().unwrap();
    let before = segments(&opened.journal, dir.path());
    let report = opened.journal.apply_retention(None).unwrap();
    let left = segments(&opened.journal, dir.path());
    assert_eq!(left + report.deleted_segments as usize, before);
    assert!(report.deleted_segments > 0 && left > 1, "{report:?}, {left} left");
}
