//! A small journal whose files are overwritten here and there, with the checksums of frames made right or not: it opens and
//! reads, or names what is wrong, and what opens can be written on and opens again.
//!
//! Invariant: without a forged checksum, what is read is the beginning of what was written. Start at [`Edit`].
#![no_main]

use headwater_journal::{
    Entry, Error, From, Item, Journal, JournalId, Offsets, Opened, Options, Part, open, reseal_frame, verify,
};
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

const ID: JournalId = JournalId([7; 16]);
const FRAMES_AT: usize = 64;
const ALIGN: usize = 8;

/// Bytes put over a file. As input: file u8, flags u8 (1: cut the file behind them, 2: make the frame's checksums right),
/// offset u16, length u8, bytes.
struct Edit<'a> {
    file: usize,
    cuts: bool,
    reseals: bool,
    offset: usize,
    bytes: &'a [u8],
}

impl<'a> Edit<'a> {
    fn read(input: &mut &'a [u8]) -> Option<Self> {
        let (head, rest) = input.split_first_chunk::<5>()?;
        let (bytes, rest) = rest.split_at(usize::from(head[4]).min(rest.len()));
        *input = rest;
        let offset = usize::from(u16::from_le_bytes([head[2], head[3]]));
        Some(Edit { file: head[0].into(), cuts: head[1] & 1 != 0, reseals: head[1] & 2 != 0, offset, bytes })
    }

    fn apply(&self, name: &str, file: &mut Vec<u8>) {
        let start = self.offset.min(file.len());
        let end = (start + self.bytes.len()).min(file.len());
        file[start..end].copy_from_slice(&self.bytes[..end - start]);
        if self.cuts {
            file.truncate(end);
        }
        if let (true, Some(ordinal)) = (self.reseals, ordinal(name)) {
            reseal(file, ordinal, start);
        }
    }
}

fn ordinal(name: &str) -> Option<u64> {
    name.strip_suffix(".segment")?.split('-').next()?.parse().ok()
}

/// Makes the frame that begins last before `at` check at its place.
fn reseal(file: &mut [u8], ordinal: u64, at: usize) {
    let mut places = (FRAMES_AT..=at.min(file.len().saturating_sub(4))).rev().filter(|place| place % ALIGN == 0);
    let Some(place) = places.find(|place| file[*place..].starts_with(b"HWJF")) else { return };
    let id = crc32c::crc32c(&ID.0);
    let mixed = ((ordinal << 32 | place as u64) ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    reseal_frame(&mut file[place..], (mixed >> 32) as u32 ^ id);
}

fn options() -> Options {
    Options {
        segment_bytes: 4096,
        frame_bytes_max: 1024,
        clock_us: || 1_700_000_000_000_000,
        new_id: Some(ID),
        zero_ahead_pace: Duration::MAX,
        ..Options::default()
    }
}

fn append(opened: &mut Opened, number: u64) -> Result<(), Error> {
    let topic = opened.writer.topic("t", 2)?;
    let body = "x".repeat((number * 37 % 301) as usize);
    opened.writer.append(&Entry {
        changes: (number % 3 + 1) as u32,
        position: &number.to_le_bytes(),
        body: &[b"h", body.as_bytes()],
        offsets: &[Offsets { topic, partition: (number % 2) as u32, count: 1 }],
        ..Entry::default()
    })?;
    opened.writer.flush()
}

/// The files of a journal of three segments with a side segment in the middle, and what it says.
fn written() -> &'static (Vec<(String, Vec<u8>)>, Vec<u8>) {
    static WRITTEN: OnceLock<(Vec<(String, Vec<u8>)>, Vec<u8>)> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut opened = open(dir.path(), options()).unwrap();
        (0..12).for_each(|number| append(&mut opened, number).unwrap());
        for part in 0u8..2 {
            let body = vec![part; 300];
            let part = Part { changes: 2, body: &[&body], offsets: &[], heads: &[] };
            opened.writer.side_append("big", &part).unwrap();
        }
        opened.writer.side_commit("big", &Entry { position: b"p", body: &[b"side"], ..Entry::default() }).unwrap();
        (12..24).for_each(|number| append(&mut opened, number).unwrap());
        let said = read(&opened.journal).unwrap();
        opened.writer.close().unwrap();
        let mut files: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| (entry.as_ref().unwrap().file_name().into_string().unwrap(), entry.unwrap().path()))
            .filter(|(name, _)| name != "lock")
            .map(|(name, path)| (name, fs::read(path).unwrap()))
            .collect();
        files.sort();
        (files, said)
    })
}

fn read(journal: &Journal) -> Result<Vec<u8>, Error> {
    let mut said = Vec::new();
    let mut reader = journal.reader(From::Earliest)?;
    while let Some(item) = reader.next()? {
        match item {
            Item::Frame(frame) => frame.transactions().for_each(|transaction| said.extend(transaction.body)),
            Item::Part(part) => said.extend(part.body),
        }
    }
    Ok(said)
}

fuzz_target!(|input: &[u8]| {
    let (files, text) = written();
    let mut files = files.clone();
    let (mut input, mut forged) = (input, false);
    while let Some(edit) = Edit::read(&mut input) {
        let place = edit.file % files.len();
        let (name, bytes) = &mut files[place];
        edit.apply(name, bytes);
        // The other files' checksums have no salt, so that bytes alone may forge them.
        forged |= edit.reseals || ordinal(name).is_none();
    }
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    for (name, bytes) in &files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    recover(dir.path(), text, forged);
});

fn recover(dir: &Path, text: &[u8], forged: bool) {
    let _ = verify(dir);
    let Ok(mut opened) = open(dir, options()) else { return };
    if let Ok(said) = read(&opened.journal) {
        assert!(forged || text.starts_with(&said), "other data");
    }
    if append(&mut opened, 99).is_err() || opened.writer.close().is_err() {
        assert!(forged, "what was recovered cannot be written on");
        return;
    }
    match open(dir, options()) {
        Ok(again) => assert_eq!(again.recovered.truncated, None, "the second start finds a torn tail"),
        Err(error) => assert!(forged, "the second start: {error}"),
    }
}
