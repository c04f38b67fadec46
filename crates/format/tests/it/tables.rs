//! The tables of a scenario whose records have no schema inline, as the source read them from the real server.
//!
//! Invariant: a table's versions are used in their order, and none again once a later one was. Start at [`Tables::find`].

use headwater_model::Schema;
use headwater_testkit::golden::{Record, Scenario};
use serde_json::Value;

/// All versions of all tables, and which ones the records have come to.
pub struct Tables {
    scenario: String,
    versions: Vec<Schema>,
    /// The first version of each table that may still come: by its name.
    reached: std::collections::HashMap<String, usize>,
}

impl Tables {
    /// Those that are kept beside a scenario.
    pub fn of(scenario: &Scenario) -> Tables {
        let path = scenario.folder.join("tables.jsonl");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; HEADWATER_GOLDEN_TABLES=1 make test T=golden writes it", path.display())
        });
        let versions = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Tables { scenario: scenario.id(), versions, reached: std::collections::HashMap::new() }
    }

    /// All versions of the tables.
    pub fn all(&self) -> &[Schema] {
        &self.versions
    }

    /// What the first version of the record's table gives that fits; where none does, what the last one that fitted gives.
    pub fn find<T>(&mut self, record: &Record, give: impl Fn(&Schema) -> T, fits: impl Fn(&T) -> bool) -> T {
        let name = table_of(record.value.as_deref().unwrap_or_default());
        let versions: Vec<&Schema> = self.versions.iter().filter(|version| version.full_name() == name).collect();
        let reached = self.reached.entry(name.clone()).or_default();
        for (place, version) in versions.iter().enumerate().skip(*reached) {
            let given = give(version);
            if fits(&given) {
                *reached = place;
                return given;
            }
        }
        let last = versions.get(*reached).unwrap_or_else(|| panic!("{}: no table {name} is kept", self.scenario));
        give(last)
    }
}

/// The name of the table that a record tells, in the source's words.
fn table_of(value: &str) -> String {
    let value: Value = serde_json::from_str(value).unwrap();
    let source = &value["source"];
    let name = |member: &str| source[member].as_str().unwrap_or_default();
    let database = if source.get("schema").is_some() { name("schema") } else { name("db") };
    format!("{database}.{}", name("table"))
}
