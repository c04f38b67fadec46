//! A stream of raw log events: decoded, and their rows transcoded, without a panic or an unbounded allocation.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    headwater_source::mysql::decode::fuzz_events(bytes);
});
