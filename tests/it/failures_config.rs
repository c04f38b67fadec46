//! Configurations that are broken: each is named with its place, the secrets in it are not shown, nothing is started and
//! nothing is written.
//!
//! Invariant: exit status 1 for a file that is wrong, 2 for a command that is. Start at [`CASES`].

use crate::failures::{journal_is_good, two_flavors};
use crate::world::{BINARY, World};
use headwater_testkit::TestFolder;
use std::fs;
use std::net::TcpListener;
use std::process::Command;

const SECRET: &str = "s3cr3t";

/// A good beginning.
const GOOD: &str = "data_dir: data
sources:
  shop: { mariadb: { url: 'mariadb://cdc:s3cr3t@127.0.0.1:1', tables: ['shop.*'] } }
sinks:
  cache:
    redis: { url: 'redis://hw:s3cr3t@127.0.0.1:1' }
    follow: { shop.item: [{ json: 'item:{id}' }] }
";

/// What is replaced in the good file, by what; and what must be said.
const CASES: &[(&str, &str, &[&str])] = &[
    ("data_dir: data", "data_dir: [data", &["headwater.yaml:", "did not find expected"]),
    ("data_dir: data", "data_dir: data\ndata_dir: other", &["`data_dir` stands here twice", "keep one"]),
    ("data_dir: data", "", &["the key `data_dir` is missing"]),
    ("sinks:", "sink:", &["sink: unknown key", "Did you mean `sinks`?"]),
    ("tables:", "table:", &["sources.shop.mariadb", "table", "Did you mean `tables`?"]),
    ("['shop.*']", "shop.*", &["sources.shop.mariadb", "expected a sequence"]),
    ("mariadb: {", "mariabd: {", &["sources.shop.mariabd: unknown key", "Did you mean `mariadb`?"]),
    ("redis: {", "kafka: {", &["sinks.cache.kafka", "redis"]),
    (
        "'mariadb://cdc:s3cr3t@127.0.0.1:1'",
        "'${env:HEADWATER_UNSET}'",
        &["environment variable HEADWATER_UNSET is not set", "export"],
    ),
    ("'mariadb://cdc:s3cr3t@127.0.0.1:1'", "'${file:no/such/file}'", &["no/such/file cannot be read", "readable"]),
    ("'mariadb://cdc:s3cr3t@127.0.0.1:1'", "'http://cdc:s3cr3t@127.0.0.1'", &["sources.shop", "url"]),
    ("'redis://hw:s3cr3t@127.0.0.1:1'", "'reddis://hw:s3cr3t@127.0.0.1'", &["sinks.cache", "url"]),
    ("item:{id}", "item:{id", &["sinks.cache.follow", "item:{id"]),
    ("json:", "jsn:", &["sinks.cache.follow[\"shop.item\"][0]", "one of json, hash"]),
    ("shop.item: [", "item: [", &["`item` is not a table", "database.table"]),
    ("sources:", "http: { listen: somewhere }\nsources:", &["http.listen", "such as 127.0.0.1:8083"]),
    ("sources:", "journal: { segment_bytes: 64 }\nsources:", &["journal.segment_bytes: not a size", "such as 64MiB"]),
];

#[test]
fn a_broken_file_is_named_with_its_place_and_nothing_is_started() {
    let folder = TestFolder::new("config").unwrap();
    let file = folder.path().join("headwater.yaml");
    let run = |arguments: &[&str]| {
        let output = Command::new(BINARY).args(arguments).current_dir(folder.path()).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout),
        )
    };
    let expect = |arguments: &[&str], status: i32, texts: &[&str], case: &str| {
        let (ended, said) = run(arguments);
        assert_eq!(ended, Some(status), "{case}\n{said}");
        for text in texts {
            assert!(said.contains(text), "{case}\n`{text}` is missing in: {said}");
        }
        assert!(!said.contains(SECRET), "{case}\nthe secret is shown: {said}");
    };
    expect(&["run"], 1, &["headwater.yaml", "cannot be read", "-c FILE"], "no file");
    for (from, to, texts) in CASES {
        assert!(GOOD.contains(from), "{from}");
        fs::write(&file, GOOD.replacen(from, to, 1)).unwrap();
        for command in ["run", "check"] {
            expect(&[command], 1, texts, to);
        }
    }
    for bytes in [&b"\xff\xfe\0d"[..], b"\0", "a: ".repeat(1 << 20).as_bytes()] {
        fs::write(&file, bytes).unwrap();
        expect(&["run"], 1, &["headwater.yaml"], "no text at all");
    }
    fs::write(&file, GOOD).unwrap();
    for wrong in [&["fly"][..], &["run", "--fast"], &["wait", "--timeout", "soon"], &["dead-letters", "drop", "cache"]]
    {
        expect(wrong, 2, &["--help"], "a wrong command");
    }
    assert!(!folder.path().join("data").exists(), "something was written");
}

#[test]
fn a_port_in_use_is_named_and_the_journal_untouched() {
    let mut world = World::start(two_flavors().next().expect("a server"), &[], "");
    let taken = TcpListener::bind(("127.0.0.1", world.headwater.http_port())).unwrap();
    crate::failures::run_ends(
        &mut world.headwater,
        1,
        &["cannot be listened at", "Address already in use", "http.listen"],
    );
    assert!(!world.headwater.data_dir().join("journal").exists(), "something was written");
    drop(taken);
    world.headwater.start().unwrap();
    world.assert_equal();
    journal_is_good(&world.headwater);
}
