//! Any bytes as a frame of the journal, as they are and with their checksums made right: read or refused.
//!
//! Invariant: whatever decodes can be walked to its end, and takes no more memory than its bytes can stand for.
#![no_main]

use headwater_journal::{decode_frame, reseal_frame};
use libfuzzer_sys::fuzz_target;

const SALT: u32 = 7;

fuzz_target!(|bytes: &[u8]| {
    walk(bytes);
    let mut sealed = bytes.to_vec();
    reseal_frame(&mut sealed, SALT);
    walk(&sealed);
});

fn walk(bytes: &[u8]) {
    let mut scratch = Vec::new();
    let Ok(frame) = decode_frame(bytes, SALT, &mut scratch) else { return };
    let (mut changes, mut seen) = (0, 0);
    for transaction in frame.transactions() {
        changes += u64::from(transaction.changes);
        seen += transaction.body.len();
        seen += transaction.offsets().map(|range| range.count as usize).count();
    }
    assert_eq!(frame.first_sequence + changes, frame.next_sequence());
    seen += frame.heads().map(|head| head.key.len() + head.value.map_or(0, <[u8]>::len)).sum::<usize>();
    seen += frame.new_topics().count() + frame.offsets().count() + frame.position().len();
    std::hint::black_box(seen);
}
