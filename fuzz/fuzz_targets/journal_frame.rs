//! Any bytes as a frame of the journal: read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = headwater_journal::decode_frame(bytes) {
        for transaction in frame.transactions() {
            let _ = transaction.body.len();
        }
    }
});
