//! Any bytes as a JSON document and differences to it: printed and applied, or refused; never a panic, and never a text
//! out of all proportion to the bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// At most an escape of six characters a byte, and a short text for each entry of a container.
const TEXT_BYTES_PER_BYTE: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let (plain, changed) = headwater_source::mysql::decode::fuzz_json_diff(bytes);
    assert!(plain.max(changed) <= TEXT_BYTES_PER_BYTE * (bytes.len() + 8), "{plain} and {changed} bytes of text");
});
