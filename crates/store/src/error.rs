//! What can go wrong with a store. None of it loses data: the journal is the truth, the store is derived from it.
//!
//! Invariant: no row value is ever part of a message.

use std::path::PathBuf;

/// A result of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk, or the key-value store over it, refused.
    #[error("the row store in {dir} failed")]
    Storage {
        /// Its folder.
        dir: PathBuf,
        /// Why.
        source: Box<fjall::Error>,
    },
    /// Bytes that are not what the store writes.
    #[error(
        "the row store in {dir} holds a damaged {what}; remove the folder, and it is derived from the journal again"
    )]
    Damaged {
        /// Its folder.
        dir: PathBuf,
        /// What was to be read.
        what: &'static str,
    },
    /// A change whose schema was never learned.
    #[error("a change refers to schema {0}, which the row store was never told; this is a defect, please report it")]
    UnknownSchema(u32),
    /// A key that is larger than any database allows.
    #[error("a row of {table} has a key of {bytes} bytes; the row store takes at most {max}", max = crate::key::KEY_BYTES_MAX)]
    KeyTooLong {
        /// `database.table`.
        table: String,
        /// Bytes of the encoded key.
        bytes: usize,
    },
}
