//! Crashes: every change to the disk is recorded, and images are built as a power failure may leave them: what was
//! fsynced is there, of the rest any part, down to single sectors.

use crate::shop;
use headwater_journal::{Op, Options, Probe, open};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Recorded {
    Create(String),
    Write(String, u64, Vec<u8>),
    SetLength(String, u64),
    Sync(String),
    Rename(String, String),
    Remove(String),
    SyncFolder,
    /// The journal told someone that all below this sequence is durable.
    Durable(u64),
}

#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<Recorded>>);

impl Probe for Recorder {
    fn before(&self, op: &Op<'_>) -> io::Result<()> {
        let recorded = match *op {
            Op::Create { name } => Recorded::Create(name.into()),
            Op::Write { name, at, bytes } => {
                Recorded::Write(name.into(), at, bytes.iter().flat_map(|piece| piece.to_vec()).collect())
            }
            Op::SetLength { name, length } => Recorded::SetLength(name.into(), length),
            Op::Sync { name } => Recorded::Sync(name.into()),
            Op::Rename { from, to } => Recorded::Rename(from.into(), to.into()),
            Op::Remove { name } => Recorded::Remove(name.into()),
            Op::SyncFolder => Recorded::SyncFolder,
        };
        self.0.lock().unwrap().push(recorded);
        Ok(())
    }
}

/// A file as the disk has it, and what was written since its last fsync.
#[derive(Clone, Debug, Default)]
struct FileState {
    durable: Vec<u8>,
    unsynced: Vec<Recorded>,
}

fn put(bytes: &mut Vec<u8>, change: &Recorded, keep: &mut impl FnMut() -> bool) {
    match change {
        Recorded::Write(_, at, written) => {
            for (number, sector) in written.chunks(SECTOR).enumerate() {
                if keep() {
                    let from = *at as usize + number * SECTOR;
                    let to = from + sector.len();
                    if bytes.len() < to {
                        bytes.resize(to, 0);
                    }
                    bytes[from..to].copy_from_slice(sector);
                }
            }
        }
        Recorded::SetLength(_, length) if keep() => bytes.resize(*length as usize, 0),
        _ => {}
    }
}

/// Builds in `dir` what a crash after the first `count` records may leave. Names change in order (the file system's own
/// journal does that), contents only surely with their fsync.
fn image(dir: &Path, records: &[Recorded], count: usize, rng: &mut StdRng) -> u64 {
    let (mut files, mut names, mut durable) = (HashMap::<u64, FileState>::new(), BTreeMap::<String, u64>::new(), 0);
    let mut pending_names: Vec<BTreeMap<String, u64>> = vec![names.clone()];
    let mut next_file = 0;
    for record in &records[..count] {
        match record {
            Recorded::Create(name) => {
                let known = names.get(name).copied();
                let file = known.unwrap_or(next_file);
                next_file += 1;
                files.entry(file).or_default().unsynced.push(Recorded::SetLength(name.clone(), 0));
                names.insert(name.clone(), file);
            }
            Recorded::Write(name, ..) | Recorded::SetLength(name, _) => {
                // A removed file may still be written to by whom has it open.
                if let Some(file) = names.get(name).and_then(|file| files.get_mut(file)) {
                    file.unsynced.push(record.clone());
                }
            }
            Recorded::Sync(name) => {
                if let Some(file) = names.get(name).and_then(|file| files.get_mut(file)) {
                    for change in std::mem::take(&mut file.unsynced) {
                        put(&mut file.durable, &change, &mut || true);
                    }
                }
            }
            Recorded::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Recorded::Remove(name) => drop(names.remove(name)),
            Recorded::SyncFolder => pending_names.clear(),
            Recorded::Durable(sequence) => durable = *sequence,
        }
        pending_names.push(names.clone());
    }
    let names = &pending_names[rng.random_range(0..pending_names.len())];
    for (name, file) in names {
        let state = &files[file];
        let mut bytes = state.durable.clone();
        // Either the file system wrote nothing, everything, or some sectors of each write.
        let chance = [0.0, 0.5, 0.9, 1.0][rng.random_range(0..4)];
        for change in &state.unsynced {
            put(&mut bytes, change, &mut || rng.random_bool(chance));
        }
        fs::write(dir.join(name), bytes).unwrap();
    }
    durable
}

/// Runs the workload once, recording it. Answers the records and the text of the whole journal.
fn record(seed: u64) -> (Vec<Recorded>, String) {
    let dir = shop::folder();
    let recorder = Arc::new(Recorder::default());
    let probe: Arc<dyn Probe> = Arc::<Recorder>::clone(&recorder);
    let options = Options { segment_bytes: 8192, probe: Some(probe), ..shop::options() };
    let mut opened = open(dir.path(), options).unwrap();
    let mut rng = StdRng::seed_from_u64(seed);
    let told = |opened: &headwater_journal::Opened| {
        let durable = opened.journal.durable_sequence();
        recorder.0.lock().unwrap().push(Recorded::Durable(durable));
    };
    for number in 0..120 {
        shop::append(&mut opened.writer, number).unwrap();
        if rng.random_bool(0.7) {
            opened.writer.flush().unwrap();
        }
        if rng.random_bool(0.1) {
            opened.writer.sync().unwrap();
        }
        if number == 60 {
            shop::side_parts(&mut opened.writer, "big").unwrap();
            shop::side_commit(&mut opened.writer, "big", "big").unwrap();
        }
        told(&opened);
    }
    opened.writer.sync().unwrap();
    told(&opened);
    let text = shop::whole(&opened);
    drop(opened);
    let records = std::mem::take(&mut *recorder.0.lock().unwrap());
    (records, text)
}

#[test]
fn no_crash_image_loses_what_was_durable_or_shows_what_was_not_written() {
    let seed = std::env::var("JOURNAL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1u64);
    for round in 0..4 {
        let seed = seed + round;
        let (records, text) = record(seed);
        let mut rng = StdRng::seed_from_u64(seed ^ 0xc4a5);
        for attempt in 0..60 {
            let count = rng.random_range(1..=records.len());
            let dir = shop::folder();
            let durable = image(dir.path(), &records, count, &mut rng);
            let case = format!("seed {seed} attempt {attempt}: the first {count} of {} records", records.len());
            let mut opened = open(dir.path(), shop::options()).unwrap_or_else(|error| panic!("{case}: {error}"));
            let next = opened.recovered.next_sequence;
            assert!(next >= durable, "{case}: durable to {durable}, recovered to {next}");
            let said = shop::whole(&opened);
            assert!(text.starts_with(&said), "{case}: other data");
            // Reading the log again from the recovered position gives the very same journal.
            let position = String::from_utf8(opened.recovered.position.clone().unwrap_or_default()).unwrap();
            resume(&mut opened.writer, &position);
            opened.writer.sync().unwrap();
            assert_eq!(shop::whole(&opened), text, "{case}: after {position:?}");
            drop(opened);
            assert_eq!(shop::whole(&shop::opened(dir.path())), text, "{case}: opened again");
            headwater_journal::verify(dir.path()).unwrap_or_else(|error| panic!("{case}: {error}"));
        }
    }
}

/// Appends what follows `position` in the workload of [`record`].
fn resume(writer: &mut headwater_journal::Writer, position: &str) {
    let done: Option<u64> = position.strip_prefix("position ").map(|number| number.parse().unwrap());
    let big_is_done = position == "big" || done.is_some_and(|done| done > 60);
    let next = if position == "big" { 61 } else { done.map_or(0, |done| done + 1) };
    let big_is_next = done == Some(60);
    for number in next..120 {
        if big_is_next && number == 61 {
            big(writer);
        }
        shop::append(writer, number).unwrap();
        writer.flush().unwrap();
        if number == 60 && !big_is_done {
            big(writer);
        }
    }
}

fn big(writer: &mut headwater_journal::Writer) {
    shop::side_parts(writer, "big").unwrap();
    shop::side_commit(writer, "big", "big").unwrap();
}

#[test]
fn after_a_power_failure_the_same_entries_get_the_same_numbers() {
    let dir = shop::folder();
    let mut opened = shop::opened(dir.path());
    shop::fill(&mut opened.writer, 0..50).unwrap();
    opened.writer.sync().unwrap();
    shop::fill(&mut opened.writer, 50..300).unwrap();
    let text = shop::whole(&opened);
    drop(opened);
    headwater_journal::power::cut(dir.path()).unwrap();
    let mut opened = shop::opened(dir.path());
    let position = String::from_utf8(opened.recovered.position.clone().unwrap()).unwrap();
    let next: u64 = position.strip_prefix("position ").unwrap().parse::<u64>().unwrap() + 1;
    assert!((50..=300).contains(&next), "recovered to {position}");
    shop::fill(&mut opened.writer, next..300).unwrap();
    assert_eq!(shop::whole(&opened), text);
}
