//! Frames: encode, decode, equal; every cut and every flipped bit is noticed; no bytes make decoding panic.

use super::*;
use crate::heads::put_topic;
use crate::options::{Compression, Options, PARTITIONS_MAX};
use crate::pending::{Entry, Pending, Stamp};
use crate::topics::{Numbers, Offsets, register};
use proptest::prelude::*;

const SALT: u32 = 0x5eed;

#[derive(Clone, Debug)]
struct Sample {
    changes: u32,
    position: Vec<u8>,
    body: Vec<u8>,
    offsets: Vec<(u32, u32, u32)>,
    heads: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn sample() -> impl Strategy<Value = Sample> {
    let bytes = |most: usize| prop::collection::vec(any::<u8>(), 0..most);
    let offsets = prop::collection::vec((0u32..3, 0u32..2, 0u32..100), 0..5);
    let heads = prop::collection::vec((bytes(8), prop::option::of(bytes(40))), 0..3);
    (0u32..1000, bytes(20), bytes(300), offsets, heads).prop_map(|(changes, position, body, offsets, heads)| Sample {
        changes,
        position,
        body,
        offsets,
        heads,
    })
}

fn topics() -> Vec<Topic> {
    (0..3).map(|id| Topic { id: TopicId(id), name: format!("topic {id}"), partitions: 2 }).collect()
}

/// Encodes the samples as one frame, as the writer does.
fn encode(samples: &[Sample], compression: Compression) -> Vec<u8> {
    let options = Options { compression, compress_bytes_min: 16, ..Options::default() };
    let mut numbers = Numbers::new(1000, &topics());
    let mut pending = Pending::new(Kind::Whole, 1000, b"before".to_vec());
    for sample in samples {
        let offsets: Vec<Offsets> = sample
            .offsets
            .iter()
            .map(|(topic, partition, count)| Offsets { topic: TopicId(*topic), partition: *partition, count: *count })
            .collect();
        let heads: Vec<Head<'_>> =
            sample.heads.iter().map(|(key, value)| Head { key, value: value.as_deref() }).collect();
        let entry = Entry {
            changes: sample.changes,
            position: &sample.position,
            body: &[&sample.body],
            offsets: &offsets,
            heads: &heads,
            derived: false,
        };
        pending.push(&entry, &mut numbers);
    }
    let length = pending.close(&options);
    let header = pending.stamp(Stamp { time_us: 5, epoch: 2, durable: Place(9), salt: SALT });
    let bytes: Vec<u8> = pending.pieces(&header).iter().flat_map(|piece| piece.to_vec()).collect();
    assert_eq!(bytes.len() as u64, length);
    bytes
}

proptest! {
    #[test]
    fn a_frame_decodes_to_what_was_encoded(samples in prop::collection::vec(sample(), 0..8), codec in 0..3) {
        let compression = [Compression::None, Compression::Lz4, Compression::Zstd(1)][codec as usize];
        let bytes = encode(&samples, compression);
        let mut scratch = Vec::new();
        let frame = decode_frame(&bytes, SALT, &mut scratch).unwrap();
        prop_assert_eq!((frame.first_sequence, frame.time_us, frame.epoch, frame.derived), (1000, 5, 2, false));
        let position = samples.iter().rev().map(|sample| &sample.position[..]).find(|position| !position.is_empty());
        prop_assert_eq!(frame.position(), position.unwrap_or(b"before"));
        let heads: Vec<_> = frame.heads().map(|head| (head.key.to_vec(), head.value.map(<[u8]>::to_vec))).collect();
        let expected: Vec<_> = samples.iter().flat_map(|sample| sample.heads.clone()).collect();
        prop_assert_eq!(heads, expected);
        let mut next = std::collections::HashMap::new();
        let mut sequence = 1000;
        let mut transactions = frame.transactions();
        for sample in samples.iter().filter(|sample| sample.changes > 0 || !sample.body.is_empty()) {
            let transaction = transactions.next().unwrap();
            prop_assert_eq!((transaction.first_sequence, transaction.changes), (sequence, sample.changes));
            prop_assert_eq!(transaction.body, &sample.body[..]);
            sequence += u64::from(sample.changes);
            let ranges: Vec<OffsetRange> = transaction.offsets().collect();
            prop_assert_eq!(ranges.len(), sample.offsets.len());
            for (range, (topic, partition, count)) in ranges.iter().zip(&sample.offsets) {
                let first = next.entry((*topic, *partition)).or_insert(0u64);
                let expected = OffsetRange { topic: TopicId(*topic), partition: *partition, first: *first, count: *count };
                prop_assert_eq!(*range, expected);
                *first += u64::from(*count);
            }
        }
        prop_assert!(transactions.next().is_none());
        prop_assert_eq!(frame.next_sequence(), sequence);
    }

    #[test]
    fn a_flipped_bit_is_noticed(samples in prop::collection::vec(sample(), 1..4), place: prop::sample::Index, bit in 0u32..8) {
        let mut bytes = encode(&samples, Compression::None);
        let at = place.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        prop_assert!(decode_frame(&bytes, SALT, &mut Vec::new()).is_err());
    }

    #[test]
    fn damage_behind_right_checksums_never_panics(
        samples in prop::collection::vec(sample(), 1..4), codec in 0..3,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let compression = [Compression::None, Compression::Lz4, Compression::Zstd(1)][codec as usize];
        let mut bytes = encode(&samples, compression);
        for (place, value) in flips {
            let at = place.index(bytes.len());
            bytes[at] = value;
        }
        reseal_frame(&mut bytes, SALT);
        let mut scratch = Vec::new();
        if let Ok(frame) = decode_frame(&bytes, SALT, &mut scratch) {
            for transaction in frame.transactions() {
                let _ = (transaction.offsets().count(), transaction.body.len());
            }
            let _ = (frame.heads().count(), frame.new_topics().count(), frame.offsets().count());
        }
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_frame(&bytes, SALT, &mut Vec::new());
    }
}

#[test]
fn every_cut_of_a_frame_is_noticed() {
    let body = (0..200).collect();
    let sample = Sample { changes: 3, position: vec![1], body, offsets: vec![(1, 1, 3)], heads: vec![] };
    let bytes = encode(&[sample.clone(), sample], Compression::None);
    for length in 0..bytes.len() {
        assert!(decode_frame(&bytes[..length], SALT, &mut Vec::new()).is_err(), "cut to {length} bytes");
    }
    assert!(decode_frame(&bytes, SALT + 1, &mut Vec::new()).is_err(), "a frame at another place");
}

#[test]
fn offsets_that_do_not_add_up_are_refused() {
    let sample = Sample { changes: 3, position: vec![1], body: vec![7], offsets: vec![(1, 1, 3)], heads: vec![] };
    let bytes = encode(&[sample.clone(), sample], Compression::None);
    let table = FRAME_HEADER_BYTES + 1;
    for (at, number) in [(table + 8, &u64::MAX.to_le_bytes()[..]), (table + 16, &5u32.to_le_bytes())] {
        let mut bytes = bytes.clone();
        bytes[at..at + number.len()].copy_from_slice(number);
        reseal_frame(&mut bytes, SALT);
        assert!(decode_frame(&bytes, SALT, &mut Vec::new()).is_err(), "at {at}");
    }
}

#[test]
fn a_topic_cannot_claim_more_partitions_than_there_may_be() {
    for (partitions, is_read) in [(0, false), (1, true), (PARTITIONS_MAX, true), (PARTITIONS_MAX + 1, false)] {
        let mut section = Vec::new();
        put_topic(&mut section, &Topic { id: TopicId(0), name: "t".into(), partitions });
        assert_eq!(Updates::checked(&section).is_some(), is_read, "{partitions} partitions");
    }
    let many: Vec<Topic> =
        (0..16).map(|id| Topic { id: TopicId(id), name: format!("topic {id}"), partitions: PARTITIONS_MAX }).collect();
    assert!(register(&many[..15], "one more", PARTITIONS_MAX).is_ok());
    assert!(register(&many, "one more", 1).is_err());
    assert!(register(&many, "topic 3", PARTITIONS_MAX).is_ok(), "it is there already");
}

#[test]
fn a_claimed_size_takes_no_memory() {
    let body = vec![7; 4096];
    let sample = Sample { changes: 1, position: vec![], body, offsets: vec![], heads: vec![] };
    for compression in [Compression::Lz4, Compression::Zstd(1)] {
        let mut bytes = encode(std::slice::from_ref(&sample), compression);
        bytes[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        reseal_frame(&mut bytes, SALT);
        let mut scratch = Vec::new();
        assert!(decode_frame(&bytes, SALT, &mut scratch).is_err());
        assert!(scratch.capacity() < 1 << 20, "{compression:?} took {} bytes", scratch.capacity());
    }
}
