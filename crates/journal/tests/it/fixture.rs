//! Every format version that was ever released opens and says what it said. The folders under tests/fixtures are made
//! once, by `HEADWATER_MAKE_FIXTURE=folder cargo test -p headwater-journal fixture`, and never changed afterwards.

use crate::shop;
use headwater_journal::{Compression, Entry, From, Options, open, read_folder};
use std::fs;
use std::path::Path;

/// Writes the fixture's content: two segments or more, every kind of frame, a prepared side segment.
fn make(dir: &Path) {
    let options = Options { segment_bytes: 8192, record_durable: false, ..shop::options() };
    let mut opened = open(dir, options.clone()).unwrap();
    shop::fill(&mut opened.writer, 0..40).unwrap();
    shop::side_parts(&mut opened.writer, "large").unwrap();
    shop::side_commit(&mut opened.writer, "large", "after large").unwrap();
    opened.writer.close().unwrap();
    for (compression, range) in [(Compression::Lz4, 40..50), (Compression::Zstd(3), 50..60)] {
        let options = Options { compression, compress_bytes_min: 32, ..options.clone() };
        let mut opened = open(dir, options).unwrap();
        shop::fill(&mut opened.writer, range).unwrap();
        opened.writer.close().unwrap();
    }
    let mut opened = open(dir, options).unwrap();
    opened.writer.append(&Entry { changes: 1, body: &[b"derived"], derived: true, ..Entry::default() }).unwrap();
    shop::side_parts(&mut opened.writer, "prepared").unwrap();
    opened.writer.side_prepare("prepared").unwrap();
    opened.writer.close().unwrap();
    let said = shop::text(&mut read_folder(dir, From::Earliest).unwrap()).unwrap();
    fs::write(dir.join("expected.txt"), said).unwrap();
    for name in ["lock", "next"] {
        let _ = fs::remove_file(dir.join(name));
    }
}

#[test]
fn the_fixture_of_every_format_version_opens_and_says_what_it_said() {
    if let Ok(folder) = std::env::var("HEADWATER_MAKE_FIXTURE") {
        make(Path::new(&folder));
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for version in ["v1"] {
        let fixture = fixtures.join(version);
        let expected = fs::read_to_string(fixture.join("expected.txt")).unwrap();
        let said = shop::text(&mut read_folder(&fixture, From::Earliest).unwrap()).unwrap();
        assert_eq!(said, expected, "{version} read in place");
        let verified = headwater_journal::verify(&fixture).unwrap();
        assert_eq!((verified.changes, verified.side_parts), (190, 3), "{version}");

        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(&fixture).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
        // As when retention was cut short between a side segment and the segment that refers to it.
        let side = dir.path().join("000000000000.side");
        fs::rename(&side, side.with_extension("drop")).unwrap();
        let said = shop::text(&mut read_folder(dir.path(), From::Earliest).unwrap()).unwrap();
        assert_eq!(said, expected, "{version} while retention is at it");
        let mut opened = shop::opened(dir.path());
        assert!(side.exists(), "{version}: it is needed as long as its segment is there");
        assert_eq!(shop::whole(&opened), expected, "{version}");
        assert_eq!(opened.recovered.next_sequence, 190);
        assert_eq!(opened.recovered.prepared.len(), 1);
        assert_eq!(shop::side_commit(&mut opened.writer, "prepared", "p").unwrap(), 190);
        assert_eq!(shop::whole(&opened).lines().count(), expected.lines().count() + 3);
    }
}
