//! Why an event or a row could not be decoded.
//!
//! Invariant: names, positions and counts stand here, never a row's value. Every one of these stops the source.

use super::header::EventKind;
use super::plan::Mismatch;

/// Why decoding stopped. `position` is where the event ends in its log file, as its header says (modulo 4 GB).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than a header, or its declared length is not the number of bytes received.
    #[error(
        "a log event of {given} bytes declares {declared}: the log or the connection is damaged; check the server's log files with mysqlbinlog --verify-binlog-checksum"
    )]
    Length {
        /// What the header says; 0 when there is no whole header.
        declared: u32,
        /// What was received.
        given: usize,
    },
    /// The checksum does not match.
    #[error(
        "the checksum of the {kind} event that ends at {position} does not match its bytes (stored {stored:08x}, computed {computed:08x}): the log or the connection is damaged; check the server's log files with mysqlbinlog --verify-binlog-checksum"
    )]
    Checksum {
        /// Event type.
        kind: EventKind,
        /// Where it ends.
        position: u32,
        /// Checksum in the event.
        stored: u32,
        /// Checksum of the bytes.
        computed: u32,
    },
    /// An event type that is neither known nor marked as ignorable.
    #[error(
        "the event that ends at {position} has the unknown type {kind}, and is not marked as ignorable: this server writes something Headwater does not know yet, and skipping it could lose changes; please report the server's version with this message, and begin after the event with a new snapshot (`headwater snapshot`), or use a later version of Headwater"
    )]
    Unknown {
        /// Event type.
        kind: EventKind,
        /// Where it ends.
        position: u32,
    },
    /// A known event type that cannot be followed.
    #[error("the {kind} event that ends at {position} cannot be followed: {why}")]
    Unsupported {
        /// Event type.
        kind: EventKind,
        /// Where it ends.
        position: u32,
        /// Why, and what to do.
        why: &'static str,
    },
    /// The bytes of an event do not follow its format.
    #[error("the {kind} event that ends at {position} is malformed at: {what}")]
    Malformed {
        /// Event type.
        kind: EventKind,
        /// Where it ends.
        position: u32,
        /// The field.
        what: &'static str,
    },
    /// A table map and the schema at hand disagree.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// The row image does not hold a column that is needed.
    #[error(
        "column {column} of {table} is not in the log ({image} image of {kind}): the server, or the session that wrote it, has binlog_row_image other than FULL; set it to FULL and take a new snapshot of the table"
    )]
    NotInLog {
        /// `database.table`.
        table: String,
        /// Column name.
        column: String,
        /// `before` or `after`.
        image: &'static str,
        /// Event type.
        kind: EventKind,
    },
    /// A column's bytes are not of its type.
    #[error("column {column} of {table}, row {row} of the event that ends at {position}: {what}")]
    Value {
        /// `database.table`.
        table: String,
        /// Column name.
        column: String,
        /// Number of the row within the event, from 0.
        row: u32,
        /// Where the event ends.
        position: u32,
        /// What was expected.
        what: &'static str,
    },
    /// Text that is not valid in its column's character set. The server would print a question mark in its place; to
    /// replace it here would be a silent change.
    #[error(
        "column {column} of {table}, row {row} of the event that ends at {position}, holds bytes that are not valid in its character set {charset}: mend the row with CONVERT, or leave the column out with a filter"
    )]
    Text {
        /// `database.table`.
        table: String,
        /// Column name.
        column: String,
        /// Number of the row within the event, from 0.
        row: u32,
        /// Where the event ends.
        position: u32,
        /// Character set.
        charset: String,
    },
    /// A rows event that names another table than the plan it was given.
    #[error("the rows event that ends at {position} has {columns} columns, but its table map has {expected}")]
    Columns {
        /// Where the event ends.
        position: u32,
        /// Columns of the event.
        columns: u64,
        /// Columns of the plan.
        expected: usize,
    },
}
