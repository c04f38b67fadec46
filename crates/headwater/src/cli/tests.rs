//! What the command line understands, and how it tells of itself.

use super::Cli;
use crate::config::{self, substitute::Surroundings};
use crate::registry::built_in;
use clap::{CommandFactory, Parser};
use expect_test::expect;
use std::path::Path;

#[test]
fn the_declarations_agree_with_each_other() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_says_what_it_does() {
    let mut seen = String::new();
    for command in Cli::command().get_subcommands() {
        seen.push_str(&format!("{}: {}\n", command.get_name(), command.get_about().expect("a description")));
    }
    expect![[r#"
        run: Reads every source into its journal and keeps every sink in step, until Ctrl-C or SIGTERM
        check: Checks the configuration, connects to every source and target, and lists each missing privilege or setting with the statement that mends it
        status: Shows each source's position and rate, and each sink's lag, in rows, bytes and time
        wait: Waits until every sink has applied all that was committed in the databases when this was called
        snapshot: Reads tables of a source again, while it goes on streaming; what has vanished meanwhile is retracted from every sink
        journal: Looks inside the journal on disk, whether an instance runs or not
        topics: Lists topics, or prints a topic's records
        dead-letters: Lists, replays or drops the rows that a sink's target refused
        pause: Stops handing changes to a sink. Its journal is kept, up to the laggard's limit, and nothing else waits for it
        resume: Goes on where `pause` stopped, and tries a sink that has failed again
        rebuild: Removes everything that a sink wrote to its target, and fills it anew
        detach: Removes what a source keeps on its server: PostgreSQL's replication slot, for which the server keeps its log
        config: Shows what can be configured, and what is
    "#]].assert_eq(&seen);
}

#[test]
fn good_lines_are_understood_and_bad_ones_are_refused() {
    for (line, good) in [
        ("run", true),
        ("-c x.yaml run", true),
        ("run -c x.yaml", true),
        ("status --output json --ready", true),
        ("wait --timeout 5s", true),
        ("wait --timeout 5", false),
        ("snapshot", false),
        ("snapshot shop shop.orders shop.users", true),
        ("dead-letters drop cache", false),
        ("dead-letters drop cache --all", true),
        ("dead-letters drop cache 1 2", true),
        ("dead-letters drop cache 1 --all", false),
        ("config schema", true),
        ("fly", false),
    ] {
        let words = std::iter::once("headwater").chain(line.split(' '));
        assert_eq!(Cli::try_parse_from(words).is_ok(), good, "{line}");
    }
}

struct Env;

impl Surroundings for Env {
    fn env(&self, _: &str) -> Option<String> {
        Some("secret".into())
    }

    fn file(&self, _: &Path) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

#[test]
fn the_example_is_a_good_configuration() {
    let parsed = config::parse(Path::new("headwater.yaml"), super::config::EXAMPLE, &Env, built_in());
    parsed.map(drop).unwrap_or_else(|error| panic!("{error}"));
}
