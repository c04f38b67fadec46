//! The page that lists every property that is known: honoured, noted, refused.
//!
//! Invariant: what is honoured is what reading a configuration asks for, so that the page cannot tell of another. Start at
//! [`page`].

use super::known::{self, Known};
use super::properties::{OLD_NAMES, Properties};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Values of `connector.class`, in the order of the page's columns.
const CONNECTORS: [&str; 3] = [
    "io.debezium.connector.mysql.MySqlConnector",
    "io.debezium.connector.mariadb.MariaDbConnector",
    "io.debezium.connector.postgresql.PostgresConnector",
];

/// What makes reading ask for the properties that depend on others.
const REACHING: &[(&str, &str)] = &[
    ("topic.naming.strategy", "io.debezium.schema.DefaultRegexTopicNamingStrategy"),
    ("header.converter", "org.apache.kafka.connect.json.JsonConverter"),
    ("snapshot.select.statement.overrides", "TABLE"),
    ("transforms", "U,R,L"),
    ("transforms.U.type", "io.debezium.transforms.ExtractNewRecordState"),
    ("transforms.R.type", "org.apache.kafka.connect.transforms.RegexRouter"),
    ("transforms.L.type", "io.debezium.transforms.ByLogicalTableRouter"),
    ("predicates", "T,H"),
    ("predicates.T.type", "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"),
    ("predicates.H.type", "org.apache.kafka.connect.transforms.predicates.HasHeaderKey"),
];

/// The page, below its heading and the line that says how it is made.
pub fn page(generated: &str) -> String {
    let mut page = format!(
        "# Properties of Debezium's connectors\n\n{generated}\n\nWhat a source under `debezium:` does with each property; \
         [From Debezium](../debezium.md) tells the rest.\nA property that is not here is refused by its name.\n\n## Honoured\n\nA value that cannot be \
         honoured is an error that names the property, or a note where it means nothing here.\n\n\
         | property | MySQL | MariaDB | PostgreSQL | remarks |\n|---|---|---|---|---|\n"
    );
    for (name, (connectors, only)) in honoured() {
        let mark = |at: usize| if connectors[at] { "yes" } else { "" };
        let old = OLD_NAMES.iter().filter(|(new, _)| *new == name).map(|(_, old)| format!("until 1.x `{old}`"));
        let remarks: Vec<String> = only.map(|value| format!("only `{value}`")).into_iter().chain(old).collect();
        let (one, two, three) = (mark(0), mark(1), mark(2));
        let _ = writeln!(page, "| `{name}` | {one} | {two} | {three} | {} |", remarks.join("; "));
    }
    page.push_str("\n## Without meaning here\n\nA note in the log says so.\n\n| property | why |\n|---|---|\n");
    rows(&mut page, |known| if let Known::Meaningless(why) = known { Some(why) } else { None });
    page.push_str("\n## Not honoured yet\n\nAn error names them.\n\n| property | what it is |\n|---|---|\n");
    rows(&mut page, |known| if let Known::NotYet(what) = known { Some(what) } else { None });
    page
}

fn rows(page: &mut String, of: impl Fn(Known) -> Option<&'static str>) {
    for (name, known) in known::all() {
        let rest = if name.ends_with('.') { "…" } else { "" };
        if let Some(text) = of(known) {
            let _ = writeln!(page, "| `{name}{rest}` | {text} |");
        }
    }
}

/// The properties that reading asks for, with the connectors that have them, and the value that alone is honoured.
fn honoured() -> BTreeMap<String, ([bool; 3], Option<String>)> {
    let mut honoured: BTreeMap<String, ([bool; 3], Option<String>)> = BTreeMap::new();
    for (at, class) in CONNECTORS.iter().enumerate() {
        let given = REACHING.iter().copied().chain([("connector.class", *class)]);
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut properties = Properties::new(&given, &|_| None);
        // What is missing from it does not matter.
        drop(super::read(&mut properties));
        let names = properties.asked().filter(|(name, _)| !OLD_NAMES.iter().any(|(_, old)| old == name));
        for (name, only) in names {
            let entry = honoured.entry(shown(name)).or_default();
            entry.0[at] = true;
            entry.1 = only.map(str::to_owned);
        }
    }
    honoured
}

/// A name in which a transform or a predicate of [`REACHING`] stands for any.
fn shown(name: &str) -> String {
    let parts = name.split('.').enumerate().map(|(at, part)| match (at, part) {
        (1, "U" | "R" | "L" | "T" | "H") => "NAME",
        (_, part) => part,
    });
    parts.collect::<Vec<_>>().join(".")
}
