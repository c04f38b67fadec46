//! From the bytes of a replication stream, and of query results, to the model's values. Pure.
//!
//! Invariant: any bytes give a message, a row or an error by name; nothing is skipped, and no more is allocated than the
//! bytes can hold. Start at [`Reader::read`] for messages, at [`RowPlan`] for rows, at [`catalog`] for shapes.

mod array;
mod bits;
mod bytes;
pub mod catalog;
mod cell;
mod geometry;
mod hstore;
mod interval;
mod message;
mod native;
mod numeric;
mod plan;
mod table;
mod temporal;
mod tuple;
mod types;

pub use message::{
    Commit, Identity, Logical, Lsn, Malformed, Message, Old, Prepared, Reader, Relation, RelationColumn, Truncate,
};
pub use plan::{PlannedColumn, RowError, RowPlan};
pub use table::{CatalogColumn, Index, Keys, Table};
pub use tuple::{Cell, Tuple};
pub use types::{PgType, Types};

#[cfg(test)]
mod tests;
