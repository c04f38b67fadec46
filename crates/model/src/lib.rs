//! What flows through Headwater: typed values, rows, schemas, changes, whole transactions, positions, and the two
//! traits at the ends of the way. Nothing here does I/O.
//!
//! Invariant: a change is encoded once, by the source, and never decoded on its way into the journal; every later
//! reader borrows from the same bytes. Start at [`change`], then [`transaction`].

pub mod array;
pub mod calendar;
pub mod change;
pub mod error;
pub mod header;
pub mod limits;
pub mod progress;
pub mod row;
pub mod schema;
pub mod secret;
pub mod sink;
pub mod source;
pub mod transaction;
pub mod value;
pub mod varint;

pub use array::{Array, ArrayWriter, Dimension};
pub use change::{Change, Message, Op, SnapshotMarker};
pub use error::{Error, Kind, Result};
pub use header::{Origin, TransactionHeader};
pub use progress::{JournalId, Progress};
pub use row::{Row, RowWriter};
pub use schema::{Column, Schema, Type};
pub use secret::Secret;
pub use transaction::{Tally, TransactionBuilder, TransactionView};
pub use value::{Date, DateTime, Value};
