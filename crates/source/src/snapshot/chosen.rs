//! Which tables a snapshot reads without being asked for each, and what it selects of them.
//!
//! Invariant: a query in place of a table is run as it stands, and what it leaves out is neither read nor taken back. Start at
//! [`Chosen::reads`].

use crate::filter::Filter;
use headwater_model::Schema;
use std::collections::BTreeMap;

/// What the configuration says of it.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Tables that were never read are read; otherwise only those that were asked for.
    pub unread: bool,
    /// Of those, these alone.
    pub tables: Filter,
    /// What is selected in place of a whole table, by `database.table`.
    pub queries: BTreeMap<String, String>,
}

impl Chosen {
    /// Whether a table that was never read is.
    pub fn reads(&self, schema: &Schema) -> bool {
        self.unread && self.tables.captures(&schema.database, &schema.table)
    }

    /// What is selected in place of the whole table.
    pub fn query(&self, schema: &Schema) -> Option<&str> {
        self.queries.get(&schema.full_name()).map(|query| query.trim().trim_end_matches(';'))
    }
}
