//! Ten thousand hostile event streams: captured logs of real servers, cut off or with bits flipped, half of them with the
//! checksums made right again.
//!
//! Invariant: each gives an error or other values within its own bytes' proportion, never a panic, and never a change
//! that a good stream would not have given while the checksums are as they were. Start at [`Stream::damaged`].

use headwater_source::mysql::decode::{EventHeader, HEADER_BYTES, fuzz_events};
use headwater_testkit::{say, seed};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::process::Command;
use std::time::Instant;

const LOGS: [&[u8]; 3] = [
    include_bytes!("../../crates/source/src/mysql/decode/fixtures/mysql-9.7.binlog"),
    include_bytes!("../../crates/source/src/mysql/decode/fixtures/mariadb-10.11.binlog"),
    include_bytes!("../../crates/source/src/mysql/decode/fixtures/mariadb-11.8.binlog"),
];

const STREAMS: u32 = 10_000;
/// Events of one stream: enough for the table maps of the damaged one.
const EVENTS: usize = 6;
const CHECKSUM_BYTES: usize = 4;
/// More memory than any stream may need.
const MEMORY_KB_MAX: u64 = 128 << 10;
/// Set for the process of its own in which the streams are read, so that its memory is theirs.
const ALONE: &str = "HEADWATER_TEST_ALONE";

fn events(log: &[u8]) -> Vec<&[u8]> {
    let mut rest = &log[4..];
    std::iter::from_fn(|| {
        let header = EventHeader::read(rest)?;
        let (event, tail) = rest.split_at_checked(header.length as usize)?;
        rest = tail;
        Some(event)
    })
    .collect()
}

/// A piece of a log: its first event and some that follow each other.
struct Stream<'a> {
    format: &'a [u8],
    events: Vec<Vec<u8>>,
}

impl<'a> Stream<'a> {
    fn new(log: &[&'a [u8]], start: usize) -> Stream<'a> {
        let events = log[start..].iter().take(EVENTS).map(|event| event.to_vec()).collect();
        Stream { format: log[0], events }
    }

    /// Cuts one event or flips bits in it. With `sealed`, its length and checksum are made right for what is left.
    fn damaged(&mut self, sealed: bool, random: &mut StdRng) {
        let place = random.random_range(0..self.events.len());
        let event = &mut self.events[place];
        if random.random_ratio(1, 3) {
            event.truncate(random.random_range(0..event.len()));
        } else {
            for _ in 0..random.random_range(1..4) {
                // Behind the header of a sealed one: there it is what decoders believe.
                let first = if sealed && random.random_ratio(9, 10) { HEADER_BYTES } else { 0 };
                let at = random.random_range(first.min(event.len() - 1)..event.len());
                event[at] ^= 1 << random.random_range(0..8);
            }
        }
        let Some(covered) = event.len().checked_sub(CHECKSUM_BYTES).filter(|covered| *covered >= HEADER_BYTES) else {
            return;
        };
        if sealed {
            let length = event.len() as u32;
            event[9..13].copy_from_slice(&length.to_le_bytes());
            let checksum = crc32(&event[..covered]);
            event[covered..].copy_from_slice(&checksum.to_le_bytes());
        }
    }

    fn bytes(&self) -> Vec<u8> {
        [self.format, &self.events.concat()].concat()
    }
}

/// The CRC-32 of binary logs, bit by bit: no other implementation is asked.
pub fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 != 0 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[test]
fn ten_thousand_hostile_streams_give_an_error_or_other_values() {
    if std::env::var_os(ALONE).is_none() {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "hostile::ten_thousand_hostile_streams_give_an_error_or_other_values", "--nocapture"]);
        let output = alone.env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("hostile streams: "), "{said}");
        return said.lines().filter(|line| line.contains("hostile streams")).for_each(say);
    }
    let seed = seed("hostile streams");
    let started = Instant::now();
    let logs = LOGS.map(events);
    let (mut ended_early, mut read_on) = (0, 0);
    let mut good_streams = HashMap::new();
    for number in 0..STREAMS {
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(number.into()));
        let log = &logs[number as usize % logs.len()];
        let start = random.random_range(1..log.len());
        let mut stream = Stream::new(log, start);
        let good = good_streams.entry((number as usize % logs.len(), start));
        let (good, good_changes) = *good.or_insert_with(|| fuzz_events(&stream.bytes()));
        let sealed = number % 2 == 1;
        stream.damaged(sealed, &mut random);
        let bytes = stream.bytes();
        let read = std::panic::catch_unwind(|| fuzz_events(&bytes));
        let Ok((seen, changes)) = read else { panic!("stream {number} of seed {seed} makes the decoder panic") };
        assert!(
            sealed || seen <= good && changes <= good_changes,
            "stream {number} of seed {seed}: more than there was"
        );
        *(if seen < good { &mut ended_early } else { &mut read_on }) += 1;
        // A row has at least one byte: whatever a count claims, there are no more changes than bytes inflate to.
        assert!(changes as usize <= 1024 * bytes.len(), "stream {number} of seed {seed}: {changes} changes");
    }
    let peak = peak_kb();
    say(&format!(
        "{STREAMS} hostile streams: {ended_early} ended early, {read_on} read on; {peak} kB at most, {:?}",
        started.elapsed()
    ));
    assert!(ended_early > STREAMS / 3, "too few were refused to have reached the decoder");
    assert!(peak < MEMORY_KB_MAX, "{peak} kB");
}

/// The most memory that this process has held.
fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
