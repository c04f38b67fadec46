//! A stream of raw log events, as it is and with every checksum made right: decoded, and its rows transcoded, without a
//! panic or an unbounded allocation.
#![no_main]

use headwater_source::mysql::decode::{HEADER_BYTES, fuzz_events};
use libfuzzer_sys::fuzz_target;

const CHECKSUM_BYTES: usize = 4;
/// Where an event's header says how long the event is.
const LENGTH_AT: usize = 9;

fuzz_target!(|bytes: &[u8]| {
    fuzz_events(bytes);
    let mut sealed = bytes.to_vec();
    reseal(&mut sealed);
    fuzz_events(&sealed);
});

/// Makes the checksums right of all events whose lengths lead from one to the next.
fn reseal(mut rest: &mut [u8]) {
    while let Some(length) = rest.get(LENGTH_AT..LENGTH_AT + 4) {
        let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
        if length < HEADER_BYTES + CHECKSUM_BYTES || length > rest.len() {
            return;
        }
        let (event, tail) = rest.split_at_mut(length);
        let (covered, checksum) = event.split_at_mut(length - CHECKSUM_BYTES);
        checksum.copy_from_slice(&crc32fast::hash(covered).to_le_bytes());
        rest = tail;
    }
}
