//! One writer and many readers at once: nobody sees half a transaction, a gap, or what must be durable first.

use crate::shop;
use headwater_journal::{Entry, From, Item, Journal, Options, open};
use std::time::{Duration, Instant};

const TRANSACTIONS: u64 = 4000;

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Follows the journal to sequence `end`, checking that every change is seen once and in order.
fn follow(journal: &Journal, from: u64, end: u64, deadline: Instant) {
    let mut reader = journal.reader(From::Sequence(from)).unwrap();
    let mut next = reader.sequence();
    assert!(next <= from);
    while next < end {
        match reader.next().unwrap() {
            Some(Item::Frame(frame)) => {
                let durable = journal.durable_sequence();
                assert!(!frame.derived || frame.next_sequence() <= durable, "a derived frame was shown too early");
                for transaction in frame.transactions() {
                    assert_eq!(transaction.first_sequence, next);
                    let number = u64::from_le_bytes(transaction.body[..8].try_into().unwrap());
                    assert_eq!((number, transaction.body.len() as u64), (transaction.first_sequence, 8 + number % 900));
                    next += u64::from(transaction.changes);
                }
            }
            Some(Item::Part(_)) => panic!("no side segments here"),
            None => assert!(reader.wait(deadline).unwrap(), "nothing more after {next} of {end}"),
        }
    }
}

#[test]
fn readers_follow_a_writer_through_many_segments() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { segment_bytes: 64 << 10, frame_bytes_max: 4096, unsynced_bytes_max: 1 << 20, ..shop::options() };
    let mut opened = open(dir.path(), options).unwrap();
    let journal = opened.journal.clone();
    let deadline = deadline();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| follow(&journal, 0, TRANSACTIONS * 2, deadline));
        }
        scope.spawn(|| {
            // Begins again and again, near the end and far from it.
            let mut from = 0;
            while from < TRANSACTIONS * 2 {
                let visible = journal.wait_visible(from, deadline).unwrap();
                follow(&journal, from, visible, deadline);
                follow(&journal, from / 2, visible, deadline);
                from = visible;
            }
        });
        for number in 0..TRANSACTIONS {
            let sequence = number * 2;
            let filling = vec![number as u8; (sequence % 900) as usize];
            let derived = number % 50 == 7;
            let body = [&sequence.to_le_bytes()[..], &filling];
            let entry =
                Entry { changes: 2, position: &sequence.to_le_bytes(), body: &body, derived, ..Entry::default() };
            assert_eq!(opened.writer.append(&entry).unwrap(), sequence);
            if number % 3 == 0 {
                opened.writer.flush().unwrap();
            }
        }
        opened.writer.sync().unwrap();
    });
    let text_segments = headwater_journal::info(dir.path()).unwrap().segments.len();
    assert!(text_segments > 20, "{text_segments} segments");
    opened.writer.close().unwrap();
    assert_eq!(headwater_journal::verify(dir.path()).unwrap().changes, TRANSACTIONS * 2);
}

#[test]
fn with_durable_only_nothing_is_seen_before_its_fsync() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path(), Options { durable_only: true, ..shop::options() }).unwrap();
    let mut reader = opened.journal.reader(From::Earliest).unwrap();
    for number in 0..200 {
        shop::append(&mut opened.writer, number).unwrap();
        opened.writer.flush().unwrap();
        while let Some(Item::Frame(frame)) = reader.next().unwrap() {
            assert!(frame.next_sequence() <= opened.journal.durable_sequence());
        }
    }
}
