//! The tables of scenarios whose records have no schema inline, as the source read them: kept beside the captures, for tests
//! that read those records without a server.
//!
//! Invariant: each version of a table stands once, in the order in which the journal has them. Start at [`keep`].

use headwater_journal::{From, Item, read_folder};
use headwater_model::Schema;
use headwater_testkit::golden::Scenario;
use headwater_testkit::{Error, Result};
use std::path::Path;

/// The file of a scenario, one table in a line.
const TABLES: &str = "tables.jsonl";

/// Keeps the tables that the journal in `folder` has, where `HEADWATER_GOLDEN_TABLES` is set.
pub fn keep(scenario: &Scenario, folder: &Path) -> Result {
    let is_plain =
        |part: &str| scenario.config.get(&format!("{part}.converter.schemas.enable")).is_some_and(|is| is == "false");
    if std::env::var_os("HEADWATER_GOLDEN_TABLES").is_none() || !(is_plain("key") || is_plain("value")) {
        return Ok(());
    }
    let failed = |error: String| Error::new(format!("the tables of {}: {error}", scenario.id()));
    let mut reader = read_folder(folder, From::Earliest).map_err(|error| failed(error.to_string()))?;
    let mut tables: Vec<Schema> = Vec::new();
    while let Some(item) = reader.next().map_err(|error| failed(error.to_string()))? {
        let frame = match &item {
            Item::Frame(frame) => frame,
            Item::Part(part) => &part.frame,
        };
        for head in frame.heads().filter(|head| head.key.starts_with(headwater_engine::SCHEMA_PREFIX.as_bytes())) {
            let table = head.value.map(serde_json::from_slice::<Schema>).transpose();
            let Some(table) = table.map_err(|error| failed(error.to_string()))? else { continue };
            // Their numbers depend on what else there is.
            let table = Schema { id: tables.len() as u32 + 1, ..table };
            let last = tables.iter().rev().find(|known| known.full_name() == table.full_name());
            if last.is_none_or(|last| *last != Schema { id: last.id, ..table.clone() }) {
                tables.push(table);
            }
        }
    }
    let mut text = String::new();
    for table in &tables {
        text += &serde_json::to_string(table).map_err(|error| failed(error.to_string()))?;
        text.push('\n');
    }
    std::fs::write(scenario.folder.join(TABLES), text).map_err(|error| failed(error.to_string()))
}
