//! The store: the latest row per key of one source's tables, derived from its journal.
//!
//! Whoever owns it feeds it the journal's changes in order; it knows how far it has come, and can always be thrown away
//! and derived again. Invariant: rows and the sequence that they stand for change in one atomic batch, so that after
//! any crash applying the journal from [`RowStore::sequence`] on gives exactly the rows that it says. Start at
//! [`RowStore`], then [`View`].

mod error;
mod key;
mod marks;
mod store;
mod view;

pub use error::{Error, Result};
pub use marks::{Mark, Marks, Unmarked};
pub use store::{RowStore, StoreOptions};
pub use view::{StoredRow, StoredRows, View};
