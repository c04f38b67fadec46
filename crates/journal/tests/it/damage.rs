//! Damage: a torn tail is cut off and said, anything else stops with file and byte; never a panic, never other data.

use crate::shop;
use headwater_journal::{Error, From, Options, open, read_folder, verify};
use std::fs;
use std::path::{Path, PathBuf};

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect();
    found.sort();
    found
}

/// A journal of several segments and a side segment, closed; and all it says.
fn written(dir: &Path, transactions: u64, segment_bytes: u32) -> String {
    let mut opened = open(dir, Options { segment_bytes, ..shop::options() }).unwrap();
    shop::fill(&mut opened.writer, 0..transactions / 2).unwrap();
    shop::side_parts(&mut opened.writer, "big").unwrap();
    shop::side_commit(&mut opened.writer, "big", "big").unwrap();
    shop::fill(&mut opened.writer, transactions / 2..transactions).unwrap();
    let text = shop::whole(&opened);
    opened.writer.close().unwrap();
    text
}

/// Opens the copy and checks that it says the beginning of `text`, whole lines. Answers whether it opened.
fn says_a_prefix(dir: &Path, text: &str, may_end_cleanly: bool, case: &str) -> bool {
    let mut opened = match open(dir, shop::options()) {
        Ok(opened) => opened,
        Err(Error::Damaged { file, .. }) => {
            assert!(file.exists() || file.extension().is_some_and(|kind| kind == "side"), "{case}: names {file:?}");
            return false;
        }
        Err(error) => panic!("{case}: {error}"),
    };
    let said = match opened.journal.reader(From::Earliest).and_then(|mut reader| shop::text(&mut reader)) {
        Ok(said) => said,
        Err(Error::Damaged { .. }) => return false,
        Err(error) => panic!("{case}: {error}"),
    };
    assert!(text.starts_with(&said), "{case}: other data");
    if said != text && !may_end_cleanly {
        assert!(opened.recovered.truncated.is_some(), "{case}: shorter, and it does not say so");
    }
    // What was recovered can be written on, and the second start finds nothing wrong.
    shop::fill(&mut opened.writer, 1000..1001).unwrap();
    let longer = shop::whole(&opened);
    opened.writer.close().unwrap();
    let again = open(dir, shop::options()).unwrap();
    assert_eq!(again.recovered.truncated, None, "{case}");
    assert_eq!(shop::whole(&again), longer, "{case}");
    true
}

#[test]
fn the_last_segment_cut_at_every_byte_opens_as_a_prefix_or_names_the_damage() {
    let source = shop::folder();
    let text = written(source.path(), 6, 1 << 20);
    let end = headwater_journal::info(source.path()).unwrap().segments[0].bytes;
    let path = segments(source.path()).remove(0);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(end).unwrap();
    // A file that ends with a frame is what a crash before the next frame leaves.
    let borders: Vec<u64> = (64..end).filter(|at| starts_a_frame(&path, *at)).collect();
    assert_eq!(borders.len(), 8);
    let mut opened = 0;
    for length in (0..end).rev() {
        let dir = shop::folder();
        copy(source.path(), dir.path());
        let path = segments(dir.path()).remove(0);
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
        opened += u64::from(says_a_prefix(dir.path(), &text, borders.contains(&length), &format!("cut to {length}")));
    }
    assert!(opened > end * 9 / 10, "only {opened} of {end} opened");
}

fn starts_a_frame(path: &Path, at: u64) -> bool {
    fs::read(path).unwrap()[at as usize..].starts_with(b"HWJF")
}

#[test]
fn a_flipped_bit_anywhere_never_yields_other_data() {
    let source = shop::folder();
    let text = written(source.path(), 60, 8192);
    let files: Vec<PathBuf> = fs::read_dir(source.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let mut named = 0;
    for file in
        files.iter().filter(|file| file.file_name().is_some_and(|name| name != "lock" && name != "durable-mark"))
    {
        let length = fs::metadata(file).unwrap().len() as usize;
        for at in (0..length.min(20_000)).step_by(211) {
            let dir = shop::folder();
            copy(source.path(), dir.path());
            let path = dir.path().join(file.file_name().unwrap());
            let mut bytes = fs::read(&path).unwrap();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, bytes).unwrap();
            let case = format!("{} byte {at}", file.file_name().unwrap().display());
            if !says_a_prefix(dir.path(), &text, false, &case) {
                named += 1;
            }
        }
    }
    assert!(named > 30, "only {named} flips were named");
}

#[test]
fn a_closed_segments_flip_is_named_by_verify_with_file_and_byte() {
    let dir = shop::folder();
    written(dir.path(), 100, 8192);
    let whole = verify(dir.path()).unwrap();
    assert_eq!((whole.changes, whole.transactions, whole.side_parts, whole.torn_bytes), (309, 101, 3, 0));
    let path = segments(dir.path()).remove(1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[3000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let Err(Error::Damaged { file, at, .. }) = verify(dir.path()) else { panic!("the flip is there") };
    assert_eq!(file, path);
    assert!((1000..=3000).contains(&at), "byte {at}");
    let live = open(dir.path(), shop::options()).unwrap();
    let read = shop::text(&mut live.journal.reader(From::Earliest).unwrap());
    assert!(matches!(read, Err(Error::Damaged { file, .. }) if file == path));
}

#[test]
fn damage_in_a_closed_segment_that_is_written_to_again_is_no_torn_tail() {
    let source = shop::folder();
    let text = written(source.path(), 100, 8192);
    for flip in [None, Some(3000)] {
        let dir = shop::folder();
        copy(source.path(), dir.path());
        let mut paths = segments(dir.path());
        // A crash while a segment was begun: it has its header, and no frame yet.
        let last = paths.pop().unwrap();
        fs::OpenOptions::new().write(true).open(&last).unwrap().set_len(64).unwrap();
        let before = paths.pop().unwrap();
        let mut bytes = fs::read(&before).unwrap();
        flip.into_iter().for_each(|at: usize| bytes[at] ^= 1);
        fs::write(&before, bytes).unwrap();
        match (flip, open(dir.path(), shop::options())) {
            (None, Ok(opened)) => assert!(text.starts_with(&shop::whole(&opened))),
            (Some(_), Err(Error::Damaged { file, .. })) => {
                assert_eq!(file, before);
                assert!(last.exists(), "nothing is deleted where something is damaged");
            }
            (flip, opened) => panic!("{flip:?}: {:?}", opened.map(|opened| opened.recovered.truncated)),
        }
    }
}

#[test]
fn damage_in_the_last_segment_that_a_later_frame_proves_durable_is_no_torn_tail() {
    let dir = shop::folder();
    let mut opened = shop::opened(dir.path());
    shop::fill(&mut opened.writer, 0..3).unwrap();
    opened.writer.sync().unwrap();
    shop::fill(&mut opened.writer, 3..4).unwrap();
    opened.writer.close().unwrap();
    let path = segments(dir.path()).remove(0);
    let clean = fs::read(&path).unwrap();
    for at in [250, 400, 700] {
        let mut bytes = clean.clone();
        bytes[at] ^= 4;
        fs::write(&path, bytes).unwrap();
        let Err(Error::Damaged { file, .. }) = open(dir.path(), shop::options()) else { panic!("byte {at}") };
        assert_eq!(file, path);
        let mut outside = read_folder(dir.path(), From::Earliest).unwrap();
        assert!(matches!(shop::text(&mut outside), Err(Error::Damaged { .. })), "byte {at} from outside");
        assert!(matches!(verify(dir.path()), Err(Error::Damaged { .. })), "byte {at} by verify");
    }
}

#[test]
fn missing_files_are_named() {
    let source = shop::folder();
    let text = written(source.path(), 100, 8192);
    type Matches = fn(&str) -> bool;
    let cases: [(&str, Matches); 3] = [
        ("a segment in the middle", |name| name.starts_with("0000000001-")),
        ("a side segment", |name| name.ends_with(".side")),
        ("the identity", |name| name == "journal"),
    ];
    for (case, matches) in cases {
        let dir = shop::folder();
        copy(source.path(), dir.path());
        for entry in fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            if matches(entry.file_name().to_str().unwrap()) {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        let error = open(dir.path(), shop::options()).map(drop).expect_err(case);
        assert!(matches!(error, Error::Damaged { .. }), "{case}: {error}");
    }
    // Indexes are derived: without them all is rebuilt.
    for entry in fs::read_dir(source.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "index") {
            fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(shop::whole(&shop::opened(source.path())), text);
}
