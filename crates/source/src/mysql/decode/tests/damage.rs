//! Damaged logs: cut off, bits flipped, with and without a checksum made right again. An error or other values, never
//! a panic.

use super::*;
use crate::mysql::decode::fuzz::fuzz_events;
use proptest::prelude::*;

const LOGS: [&[u8]; 3] = [MYSQL, MARIADB_10, MARIADB_11];

/// Makes an event's length and checksum right for its bytes, whose last four are the checksum's place.
fn mend(event: &mut [u8]) {
    let Some(covered) = event.len().checked_sub(4).filter(|&covered| covered >= HEADER_BYTES) else { return };
    let length = event.len() as u32;
    event[9..13].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32fast::hash(&event[..covered]);
    event[covered..].copy_from_slice(&checksum.to_le_bytes());
}

/// The log's first event, those around `index`, and `event` in the place of that one: enough for its table maps.
fn log_around(log: &[u8], index: usize, event: &[u8]) -> Vec<u8> {
    let mut all: Vec<&[u8]> = events(log);
    all[index] = event;
    let around = &all[index.saturating_sub(3).max(1)..all.len().min(index + 4)];
    let first = if index == 0 { event } else { all[0] };
    [first, &around.concat()].concat()
}

#[test]
fn whole_logs_are_walked_to_their_ends() {
    for log in LOGS {
        let (seen, changes) = fuzz_events(log);
        assert!(seen as usize >= events(log).len() && changes > 100, "{seen} events, {changes} changes");
    }
}

#[test]
fn a_cut_event_is_an_error_and_never_a_panic() {
    for log in LOGS {
        let mut decoder = Decoder::new(ServerFlavor::MySql);
        let mut reader = fuzz::Walk::default();
        for raw in events(log) {
            // Every place of short events, and a few hundred of long ones.
            for cut in (0..raw.len()).step_by(raw.len().div_ceil(300)) {
                let mut decoder = Decoder::new(ServerFlavor::MySql);
                assert!(decoder.event(&raw[..cut]).is_err(), "an event of {} bytes cut at {cut}", raw.len());
            }
            for cut in (HEADER_BYTES + 4..raw.len()).step_by(raw.len().div_ceil(300)) {
                let mut event = raw[..cut].to_vec();
                mend(&mut event);
                if event[4] == EventKind::FORMAT_DESCRIPTION.0 {
                    continue;
                }
                if let Ok((_, event)) = decoder.event(&event) {
                    reader.event(event);
                }
            }
            if let Ok((_, event)) = decoder.event(raw) {
                reader.event(event);
            }
        }
    }
}

#[test]
fn any_flipped_bit_breaks_the_checksum() {
    for log in LOGS {
        let all = events(log);
        let mut decoder = Decoder::new(ServerFlavor::MySql);
        for raw in all.iter().filter(|raw| raw.len() < 400) {
            decoder.event(all[0]).unwrap();
            for bit in 0..raw.len() * 8 {
                let mut event = raw.to_vec();
                event[bit / 8] ^= 1 << (bit % 8);
                // A file's first event is not covered where it says that the file is open.
                let in_use = raw[4] == EventKind::FORMAT_DESCRIPTION.0 && bit == 17 * 8;
                assert_eq!(decoder.event(&event).is_err(), !in_use, "bit {bit} of a {} event", EventKind(raw[4]));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bits_under_a_right_checksum_never_panic(
        log in 0usize..3,
        place: prop::sample::Index,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..4),
    ) {
        let all = events(LOGS[log]);
        let index = place.index(all.len());
        let mut event = all[index].to_vec();
        for (at, bit) in flips {
            let at = at.index(event.len());
            event[at] ^= 1 << bit;
        }
        mend(&mut event);
        let _ = fuzz_events(&log_around(LOGS[log], index, &event));
    }

    #[test]
    fn replaced_bytes_under_a_right_checksum_never_panic(
        log in 0usize..3,
        place: prop::sample::Index,
        at: prop::sample::Index,
        bytes in prop::collection::vec(any::<u8>(), 1..12),
    ) {
        let all = events(LOGS[log]);
        let index = place.index(all.len());
        let mut event = all[index].to_vec();
        let at = HEADER_BYTES + at.index(event.len() - HEADER_BYTES);
        let end = event.len().min(at + bytes.len());
        event.splice(at..end, bytes);
        mend(&mut event);
        let _ = fuzz_events(&log_around(LOGS[log], index, &event));
    }

    #[test]
    fn arbitrary_json_is_an_answer_of_bounded_length(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..16) {
        let mut document = vec![kind];
        document.extend_from_slice(&bytes);
        let mut out = Vec::new();
        let _ = json_text::write(&document, &mut out);
        // At most an escape of six characters a byte, and a short text for each entry.
        prop_assert!(out.len() <= 64 * (document.len() + 8), "{} bytes of {}", out.len(), document.len());
        let _ = json_diff::apply(&document, &bytes, &mut Vec::new());
    }
}
