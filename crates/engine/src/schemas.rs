//! The tables' shapes among the journal's named state: how they lie there, and how each reader gets them.
//!
//! Invariant: a shape stands in the frame of the first change that has it, or in an earlier one. Start at [`in_heads`] and
//! [`in_frame`].

use headwater_journal::{Frame, Heads};
use headwater_model::{Error, Result, Schema};

/// State keys under which the latest schema of each table lies in the journal: `schema/database.table`.
pub const SCHEMA_PREFIX: &str = "schema/";

/// A schema as named state: key and content.
pub fn head_of(schema: &Schema) -> Result<(Vec<u8>, Vec<u8>)> {
    let value = serde_json::to_vec(schema).map_err(|error| {
        Error::stop(format!("the schema of {} cannot be written", schema.full_name())).source(error)
    })?;
    Ok((format!("{SCHEMA_PREFIX}{}", schema.full_name()).into_bytes(), value))
}

/// The latest schema of each table at the place that `heads` are of.
pub fn in_heads(heads: &Heads) -> impl Iterator<Item = Result<Schema>> + '_ {
    heads.range(SCHEMA_PREFIX.as_bytes()).map(|(key, value)| read(key, value))
}

/// The schemas that a frame brings.
pub fn in_frame<'a>(frame: &Frame<'a>) -> impl Iterator<Item = Result<Schema>> + use<'a> {
    let schemas = frame.heads().filter(|head| head.key.starts_with(SCHEMA_PREFIX.as_bytes()));
    schemas.filter_map(|head| Some(read(head.key, head.value?)))
}

fn read(key: &[u8], value: &[u8]) -> Result<Schema> {
    serde_json::from_slice(value).map_err(|error| {
        Error::stop(format!("the journal's record {} cannot be read", String::from_utf8_lossy(key)))
            .hint("It was written by a later version, or is damaged: run `headwater journal verify`.")
            .source(error)
    })
}
