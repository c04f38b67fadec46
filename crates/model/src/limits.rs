//! The limits that more than one crate must agree on. Each has a name, a unit, and a reason.

/// Bytes of changes that a source keeps in memory for one transaction before the rest flows into a side segment.
/// Small enough that a handful of sources stay far below 100 MB, large enough that ordinary transactions never spill.
pub const TRANSACTION_BYTES_MAX: usize = 8 << 20;

/// Bytes of one row in its encoded form: MySQL's own limit for a packet, which no row can exceed.
pub const ROW_BYTES_MAX: usize = 1 << 30;

/// Bytes of changes that a follower hands to its sink at once.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// Changes that a follower hands to its sink at once.
pub const BATCH_CHANGES_MAX: usize = 5_000;

/// Columns of one table: MySQL's own limit.
pub const COLUMNS_MAX: usize = 4_096;
