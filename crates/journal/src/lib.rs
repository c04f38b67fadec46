//! The journal: one append-only log per source, whole transactions in commit order, crash-safe.
//!
//! Stores bytes, sequences and offsets; never looks inside a row, and depends on nothing of ours. Blocking I/O only.
//!
//! Invariant: **written is visible, durable is confirmed.** What is a function of the source's log alone may be read as
//! soon as it is written; everything else, and every position that is confirmed to the source, waits for the fsync.
//!
//! Start at [`open`], then [`Writer::append`] and [`Reader::next`]. The bytes on disk are described in
//! docs/journal-format.md.
//!
//! ```
//! use headwater_journal::{Entry, From, Item, Offsets, Options, open};
//!
//! let dir = tempfile::tempdir().unwrap();
//! let mut opened = open(dir.path(), Options::default())?;
//! let orders = opened.writer.topic("shop.orders", 1)?;
//! opened.writer.append(&Entry {
//!     changes: 2,
//!     position: b"binlog.000001:1234",
//!     body: &[b"two rows"],
//!     offsets: &[Offsets { topic: orders, partition: 0, count: 2 }],
//!     ..Entry::default()
//! })?;
//! opened.writer.flush()?;
//!
//! let mut reader = opened.journal.reader(From::Earliest)?;
//! let Some(Item::Frame(frame)) = reader.next()? else { panic!("one frame was flushed") };
//! let transaction = frame.transactions().next().unwrap();
//! assert_eq!((transaction.first_sequence, transaction.changes, transaction.body), (0, 2, &b"two rows"[..]));
//! # Ok::<(), headwater_journal::Error>(())
//! ```

mod cursor;
mod disk;
mod error;
mod frame;
mod heads;
mod identity;
mod index;
mod inspect;
mod journal;
mod layout;
mod options;
mod pending;
mod place;
pub mod power;
mod reader;
mod recover;
mod retention;
mod roll;
mod segment;
mod shared;
mod side;
mod sync;
mod tidy;
mod topics;
mod window;
mod writer;

pub use disk::{Op, Probe};
pub use error::{Error, Result};
pub use frame::{
    FORMAT_VERSION, FRAME_HEADER_BYTES, Frame, FrameError, OffsetRange, Transaction, Transactions, decode_frame,
    reseal_frame,
};
pub use heads::{Head, Heads, Topic, TopicId};
pub use identity::{Epoch, JournalId, Standing};
pub use inspect::{Info, SegmentInfo, Verified, info, verify};
pub use journal::{Journal, Lag};
pub use options::{
    Compression, ENTRY_BYTES_MAX, HEAD_BYTES_MAX, Options, PARTITIONS_ALL_MAX, PARTITIONS_MAX, POSITION_BYTES_MAX,
    Retention, SEGMENT_BYTES_MAX, SIDE_ID_BYTES_MAX,
};
pub use pending::Entry;
pub use reader::{From, Item, Reader, read_folder};
pub use recover::{Opened, Recovered, Truncated, open};
pub use retention::RetentionReport;
pub use side::{Part, SideInfo, SidePart};
pub use topics::Offsets;
pub use writer::Writer;
