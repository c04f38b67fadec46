//! Any text as a configuration file: understood, or refused with an error that can be printed; references lead to values
//! of this program, never to the machine.
#![no_main]

use headwater::config::{parse, substitute::Surroundings};
use headwater::registry::built_in;
use libfuzzer_sys::fuzz_target;
use std::path::Path;

struct Known;

impl Surroundings for Known {
    fn env(&self, name: &str) -> Option<String> {
        (name == "NAME").then(|| "s3cr3t-of-env".to_owned())
    }

    fn file(&self, _: &Path) -> std::io::Result<String> {
        Ok("s3cr3t-of-file\n".to_owned())
    }
}

fuzz_target!(|text: &str| {
    let said = match parse(Path::new("headwater.yaml"), text, &Known, built_in()) {
        Ok(config) => config.shown.to_string(),
        Err(error) => error.to_string(),
    };
    assert!(text.contains("s3cr3t") || !said.contains("s3cr3t"), "a secret is shown");
});
