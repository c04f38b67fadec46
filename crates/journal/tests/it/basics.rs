//! Append, read, reopen: what is written comes back, in order, with the same numbers.

use crate::shop;
use headwater_journal::{
    Compression, Entry, Error, From, Item, Offsets, Options, Standing, TopicId, open, read_folder,
};
use std::time::{Duration, Instant};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[test]
fn what_is_appended_is_read_and_survives_a_reopen() {
    let codecs = [Compression::None, Compression::Lz4, Compression::Zstd(1)];
    for compression in codecs {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { compression, compress_bytes_min: 64, ..shop::options() };
        let mut opened = open(dir.path(), options.clone()).unwrap();
        assert_eq!((opened.recovered.next_sequence, opened.recovered.position.clone()), (0, None));
        shop::fill(&mut opened.writer, 0..200).unwrap();
        assert_eq!(shop::whole(&opened), shop::expected(200), "{compression:?}");
        assert_eq!(shop::text(&mut read_folder(dir.path(), From::Earliest).unwrap()).unwrap(), shop::expected(200));
        let heads = opened.writer.heads().clone();
        opened.writer.close().unwrap();

        let mut again = open(dir.path(), options).unwrap();
        assert_eq!(again.recovered.next_sequence, 600);
        assert_eq!(again.recovered.position.as_deref(), Some(&b"position 199"[..]));
        assert_eq!(again.recovered.heads, heads);
        assert_eq!(again.recovered.epoch, 2);
        assert_eq!(again.recovered.truncated, None);
        shop::fill(&mut again.writer, 200..250).unwrap();
        assert_eq!(shop::whole(&again), shop::expected(250));
    }
}

#[test]
fn entries_share_frames_until_a_frame_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = shop::opened(dir.path());
    for number in 0..100 {
        shop::append(&mut opened.writer, number).unwrap();
    }
    opened.writer.flush().unwrap();
    assert_eq!(shop::whole(&opened), shop::expected(100));
    let mut reader = opened.journal.reader(From::Earliest).unwrap();
    let mut frames = 0;
    while let Some(item) = reader.next().unwrap() {
        let Item::Frame(frame) = item else { panic!("no side segments here") };
        let sum: u32 = frame.transactions().map(|transaction| transaction.changes).sum();
        assert_eq!(frame.changes, sum);
        frames += 1;
    }
    assert!((5..50).contains(&frames), "{frames} frames");
}

#[test]
fn a_reader_begins_at_any_sequence_with_the_heads_valid_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = shop::opened(dir.path());
    shop::fill(&mut opened.writer, 0..150).unwrap();
    let lines: Vec<String> = shop::expected(150).lines().map(str::to_owned).collect();
    for live in [true, false] {
        for (number, line) in lines.iter().enumerate() {
            let first: u64 = line.split('+').next().unwrap().parse().unwrap();
            let changes = number as u64 % 5 + 1;
            for sequence in [first, first + changes - 1] {
                let from = From::Sequence(sequence);
                let mut reader =
                    if live { opened.journal.reader(from) } else { read_folder(dir.path(), from) }.unwrap();
                assert_eq!(reader.sequence(), first);
                let mut expected = std::collections::BTreeMap::new();
                for earlier in (0..number as u64).filter(|earlier| earlier % 4 == 0) {
                    match earlier % 3 {
                        0 => expected.remove(&format!("schema {}", earlier % 7)),
                        _ => expected.insert(format!("schema {}", earlier % 7), format!("of {earlier}")),
                    };
                }
                let expected: String = expected.iter().map(|(key, value)| format!("{key}={value} ")).collect();
                assert_eq!(shop::heads(reader.heads()), expected, "before transaction {number}");
                let rest = shop::text(&mut reader).unwrap();
                assert_eq!(rest.lines().next(), Some(line.as_str()));
                assert_eq!(rest.lines().count(), lines.len() - number);
            }
        }
    }
    let next = opened.journal.visible_sequence();
    let mut at_end = opened.journal.reader(From::Sequence(next)).unwrap();
    assert_eq!((at_end.sequence(), at_end.next().unwrap().is_none()), (next, true));
    assert!(matches!(opened.journal.reader(From::Sequence(next + 1)), Err(Error::NotYet { .. })));
    let mut end = opened.journal.reader(From::End).unwrap();
    assert_eq!((end.sequence(), end.next().unwrap().is_none()), (next, true));
    shop::fill(&mut opened.writer, 150..151).unwrap();
    assert_eq!(shop::text(&mut end).unwrap(), shop::expected(151).lines().next_back().unwrap().to_owned() + "\n");
}

#[test]
fn a_reader_begins_at_any_offset_of_any_partition() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = shop::opened(dir.path());
    shop::fill(&mut opened.writer, 0..150).unwrap();
    for (topic, partition) in [(TopicId(0), 0), (TopicId(0), 1), (TopicId(1), 0)] {
        let (first, next) = opened.journal.topic_bounds(topic, partition).unwrap();
        assert_eq!((first, next), (0, opened.writer.next_offset(topic, partition)));
        for offset in first..next {
            let mut reader = opened.journal.reader(From::Offset { topic, partition, offset }).unwrap();
            let Some(Item::Frame(frame)) = reader.next().unwrap() else { panic!("offset {offset} was written") };
            let holds = frame.offsets().any(|range| {
                (range.topic, range.partition) == (topic, partition)
                    && (range.first..range.first + u64::from(range.count)).contains(&offset)
            });
            assert!(holds, "topic {topic:?} partition {partition} offset {offset}");
        }
        let mut at_end = opened.journal.reader(From::Offset { topic, partition, offset: next }).unwrap();
        assert!(at_end.next().unwrap().is_none());
        let beyond = opened.journal.reader(From::Offset { topic, partition, offset: next + 1 });
        assert!(matches!(beyond, Err(Error::NotYet { .. })));
    }
}

#[test]
fn a_reader_begins_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let options = headwater_journal::Options { clock_us: shop::ticking_clock, ..shop::options() };
    let mut opened = open(dir.path(), options).unwrap();
    shop::fill(&mut opened.writer, 0..100).unwrap();
    let mut times = Vec::new();
    let mut reader = opened.journal.reader(From::Earliest).unwrap();
    while let Some(Item::Frame(frame)) = reader.next().unwrap() {
        times.push((frame.time_us, frame.first_sequence));
    }
    for (time_us, first) in &times {
        for (asked, expected) in [(*time_us, *first), (time_us - 1, *first)] {
            assert_eq!(opened.journal.reader(From::Time(asked)).unwrap().sequence(), expected);
        }
    }
    let after = opened.journal.reader(From::Time(u64::MAX)).unwrap();
    assert_eq!(after.sequence(), opened.journal.visible_sequence());
}

#[test]
fn side_segments_are_read_as_parts_of_one_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = shop::opened(dir.path());
    shop::fill(&mut opened.writer, 0..3).unwrap();
    shop::side_parts(&mut opened.writer, "big").unwrap();
    shop::side_parts(&mut opened.writer, "rolled back").unwrap();
    shop::fill(&mut opened.writer, 3..4).unwrap();
    opened.writer.side_abort("rolled back").unwrap();
    let first = shop::side_commit(&mut opened.writer, "big", "after big").unwrap();
    assert_eq!(first, 10);
    shop::append(&mut opened.writer, 4).unwrap();
    opened.writer.flush().unwrap();
    let text = shop::whole(&opened);
    let y = "y".repeat(500);
    let tail: Vec<&str> = text.lines().skip(4).collect();
    assert_eq!(
        tail[..3],
        [
            format!("10+2 side header/0 part 0 of big {y} 0/1@2+1"),
            format!("12+3 side header/1 part 1 of big {y} 0/1@3+2"),
            format!("15+4 side header/2 part 2 of big {y} last 0/1@5+3"),
        ]
    );
    assert!(tail[3].starts_with("19+5 header <4:"), "{}", tail[3]);
    assert_eq!(opened.writer.heads().get(b"side schema 2"), Some(&b"v"[..]));
    // A reader that wants the middle of it steps over the parts before.
    let mut middle = opened.journal.reader(From::Sequence(13)).unwrap();
    let Some(Item::Part(part)) = middle.next().unwrap() else { panic!("a part holds sequence 13") };
    assert_eq!((part.first_sequence, part.index, part.frame.position()), (12, 1, &b"after big"[..]));
    let mut offset = opened.journal.reader(From::Offset { topic: TopicId(0), partition: 1, offset: 6 }).unwrap();
    assert!(matches!(offset.next().unwrap(), Some(Item::Part(_))));
    opened.writer.close().unwrap();
    assert_eq!(shop::whole(&shop::opened(dir.path())), text);
}

#[test]
fn prepared_side_segments_survive_a_restart_and_unfinished_ones_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = shop::opened(dir.path());
    shop::side_parts(&mut opened.writer, "prepared").unwrap();
    shop::side_parts(&mut opened.writer, "unfinished").unwrap();
    opened.writer.side_prepare("prepared").unwrap();
    let info = opened.writer.side("prepared").unwrap();
    drop(opened);
    let mut opened = shop::opened(dir.path());
    assert_eq!(opened.recovered.prepared, [info]);
    shop::side_commit(&mut opened.writer, "prepared", "p").unwrap();
    let text = shop::whole(&opened);
    assert_eq!(text.lines().count(), 3);
    drop(opened);
    let opened = shop::opened(dir.path());
    assert_eq!(opened.recovered.prepared, []);
    assert_eq!(shop::whole(&opened), text);
}

#[test]
fn a_topic_grows_and_keeps_its_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = shop::opened(dir.path());
    let topic = opened.writer.topic("a", 1).unwrap();
    opened.writer.topic("b", 1).unwrap();
    let take = |partition, count| [Offsets { topic, partition, count }];
    opened.writer.append(&Entry { changes: 1, offsets: &take(0, 5), ..Entry::default() }).unwrap();
    assert_eq!(opened.writer.topic("a", 3).unwrap(), topic);
    opened.writer.append(&Entry { changes: 1, offsets: &take(2, 2), ..Entry::default() }).unwrap();
    opened.writer.append(&Entry { changes: 1, offsets: &take(0, 1), ..Entry::default() }).unwrap();
    assert!(matches!(opened.writer.topic("a", 2), Err(Error::Invalid(_))));
    let missing = opened.writer.append(&Entry { changes: 1, offsets: &take(3, 1), ..Entry::default() });
    assert!(matches!(missing, Err(Error::Invalid(_))));
    opened.writer.close().unwrap();
    let opened = shop::opened(dir.path());
    let next: Vec<u64> = (0..3).map(|partition| opened.writer.next_offset(topic, partition)).collect();
    assert_eq!((next, opened.recovered.next_sequence), (vec![6, 0, 2], 3));
    assert_eq!(opened.recovered.topics.iter().map(|topic| topic.partitions).collect::<Vec<_>>(), [3, 1]);
}

#[test]
fn derived_entries_are_read_only_once_they_are_durable() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = shop::opened(dir.path());
    opened.writer.append(&Entry { changes: 1, body: &[b"d"], derived: true, ..Entry::default() }).unwrap();
    opened.writer.flush().unwrap();
    let journal = opened.journal.clone();
    assert_eq!(journal.wait_visible(0, soon()).unwrap(), 1);
    assert_eq!(journal.durable_sequence(), 1);
}

#[test]
fn the_durable_position_follows_the_fsync() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = shop::opened(dir.path());
    assert_eq!(opened.journal.durable_position(), None);
    shop::fill(&mut opened.writer, 0..10).unwrap();
    assert!(opened.journal.wait_durable(opened.journal.written_sequence(), soon()).unwrap());
    assert_eq!(opened.journal.durable_position().as_deref(), Some(&b"position 9"[..]));
}

#[test]
fn a_second_process_is_refused_with_the_pid_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let opened = shop::opened(dir.path());
    let Err(Error::Locked { pid, .. }) = open(dir.path(), shop::options()) else { panic!("it must be locked") };
    assert_eq!(pid, std::process::id().to_string());
    drop(opened.writer);
    shop::opened(dir.path());
}

#[test]
fn progress_is_classified_by_journal_epoch_and_sequence() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = shop::opened(dir.path());
    shop::fill(&mut opened.writer, 0..5).unwrap();
    opened.writer.close().unwrap();
    let opened = shop::opened(dir.path());
    let id = opened.journal.id();
    let other = headwater_journal::JournalId([8; 16]);
    let cases = [
        (id, 2, 15, Standing::Same),
        (id, 1, 15, Standing::Same),
        (id, 1, 3, Standing::Behind),
        (id, 1, 16, Standing::Ahead),
        (id, 2, 16, Standing::Unknown),
        (id, 3, 3, Standing::Unknown),
        (other, 1, 3, Standing::Unknown),
    ];
    for (id, epoch, sequence, expected) in cases {
        assert_eq!(opened.journal.classify(id, epoch, sequence), expected, "{id} {epoch} {sequence}");
    }
}
