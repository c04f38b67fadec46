//! How far the snapshot of a table has come, as the journal keeps it.
//!
//! Invariant: a part's `done` moves in the same journal entry as the rows up to it, so after a crash no row is missing
//! and none is there twice. At most one chunk a worker is read again.

use super::keys::Range;
use headwater_model::Schema;
use headwater_model::source::Intake;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// State keys of tables: `snapshot/database.table`.
pub const TABLE_PREFIX: &str = "snapshot/";

/// One table's snapshot; `M` is a place of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableState<M> {
    /// The database (or schema) and the table.
    #[serde(default)]
    pub name: [String; 2],
    /// The names of the key's columns: in their order it is read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// The journal's next sequence when it began: rows that were touched since are in the journal.
    pub began_at: u64,
    /// The stretches of its key that are read side by side; empty once all is read.
    pub parts: Vec<PartState>,
    /// Whether everything is written.
    pub finished: bool,
    /// It was read before: what is read now is compared with what the journal holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// It is the first table of its snapshot: its first row begins it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first: bool,
    /// For a table that was read whole: the place of the log as of which it was. Changes before it are in the rows.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub as_of: Option<M>,
}

/// A stretch of the key's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartState {
    /// The key before its first.
    pub after: Option<Vec<u8>>,
    /// Its last key; `None` is open.
    pub through: Option<Vec<u8>>,
    /// Written up to and with this key; `None` before the first chunk.
    pub done: Option<Vec<u8>>,
    /// Whether all of it is written.
    pub finished: bool,
}

impl<M> TableState<M> {
    /// A table that needs no snapshot, or has had it.
    pub fn done(database: &str, table: &str) -> Self {
        TableState {
            name: [database.to_owned(), table.to_owned()],
            key: Vec::new(),
            began_at: 0,
            parts: Vec::new(),
            finished: true,
            again: false,
            first: false,
            as_of: None,
        }
    }

    /// A table that is to be read; `again`: although it was read before.
    pub fn unread(database: &str, table: &str, again: bool) -> Self {
        TableState { finished: false, again, ..Self::done(database, table) }
    }

    /// A table that was read whole as of `place`.
    pub fn read_as_of(schema: &Schema, place: M) -> Self {
        TableState { as_of: Some(place), ..Self::done(&schema.database, &schema.table) }
    }

    /// The same table, which is read in these parts from now on. The journal's next sequence is `began_at`.
    pub fn in_parts(self, schema: &Schema, began_at: u64, bounds: Vec<Range>) -> Self {
        let part = |Range { after, through }| PartState { after, through, done: None, finished: false };
        let key = schema.key_names().map(str::to_owned).collect();
        TableState { key, began_at, parts: bounds.into_iter().map(part).collect(), ..self }
    }

    /// A chunk of part `part` was written.
    pub fn advance(&mut self, part: usize, range: &Range, last: bool) {
        if let Some(part) = self.parts.get_mut(part) {
            part.done.clone_from(&range.through);
            part.finished = last;
        }
        self.finished = self.parts.iter().all(|part| part.finished);
        if self.finished {
            self.parts.clear();
        }
    }

    /// The ranges that are written.
    pub fn written(&self) -> impl Iterator<Item = Range> + '_ {
        self.parts.iter().filter(|part| part.finished || part.done.is_some()).map(|part| Range {
            after: part.after.clone(),
            through: if part.finished { part.through.clone() } else { part.done.clone() },
        })
    }

    /// The key under which the journal keeps a table's state.
    pub fn key(schema: &Schema) -> String {
        format!("{TABLE_PREFIX}{}", schema.full_name())
    }
}

impl<M: Serialize> TableState<M> {
    /// The form in which the journal keeps it.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl<M: DeserializeOwned> TableState<M> {
    /// What the journal knows of a table.
    pub fn read(intake: &dyn Intake, schema: &Schema) -> Option<Self> {
        intake.state(&Self::key(schema)).and_then(|bytes| Self::decode(&bytes))
    }

    /// What the journal knows of all tables.
    pub fn all(intake: &dyn Intake) -> impl Iterator<Item = (String, Self)> {
        let keys = intake.state_keys(TABLE_PREFIX).into_iter();
        keys.filter_map(|key| Some((key.clone(), Self::decode(&intake.state(&key)?)?)))
    }

    /// Reads it back.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}
