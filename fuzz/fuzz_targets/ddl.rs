//! Any text as a statement: understood, passed over or refused, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    headwater_source::mysql::catalog::fuzz_ddl(text);
});
