//! The far end: a target that applies batches of whole transactions.
//!
//! Invariant: a sink never reports a sequence as durable before its target holds everything below it; seeing the same
//! batch twice changes nothing.

use crate::change::Change;
use crate::error::Result;
use crate::header::TransactionHeader;
use crate::progress::Progress;
use crate::schema::Schema;
use std::sync::Arc;

/// One change on its way to a target.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    /// Its place in the journal.
    pub sequence: u64,
    /// The change itself.
    pub change: Change<'a>,
    /// The shape of its rows.
    pub schema: &'a Arc<Schema>,
    /// Its transaction.
    pub header: &'a TransactionHeader<'a>,
}

/// What a sink is handed at once: whole transactions, unless one alone is over the batch's limits.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// The changes of followed tables, in commit order. May be empty: progress moves all the same.
    pub events: &'a [Event<'a>],
    /// The progress to store with it: `sequence` is one past the batch's last change, followed or not.
    pub progress: Progress,
}

/// What the target holds by now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Everything below this sequence is applied; `None` while nothing new is known.
    pub durable: Option<u64>,
    /// Rows that the target refused, each once.
    pub rejected: Vec<Rejected>,
}

/// A row that a target refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its place in the journal.
    pub sequence: u64,
    /// Why, without any value of the row.
    pub reason: String,
}

/// What a target says when a sink connects to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// How far it has come; `None` when it holds nothing of ours.
    pub progress: Option<Progress>,
    /// Rows that it refused and that may not be in the dead-letter topic yet.
    pub rejected: Vec<Rejected>,
    /// The dead letter that was applied again last: it is over, though that may not have been noted.
    pub replayed: Option<u64>,
    /// The server and its version, for people.
    pub server: String,
}

/// A target. Runs on its follower's thread and blocks as it likes, within its own timeouts.
pub trait Sink: Send {
    /// Called first, and again after [`crate::Kind::Reconnect`].
    fn connect(&mut self) -> Result<Connected>;

    /// Hands over a batch. It may still be in flight when this returns; only [`Written::durable`] moves progress. May see
    /// the same batch again after a reconnect. Who refuses a row refuses the later changes of it in the same batch too,
    /// and tells of them before it takes the next batch.
    fn write(&mut self, batch: &Batch<'_>) -> Result<Written>;

    /// Applies one dead letter again, after everything before was flushed; returns once that is done or refused. The
    /// target remembers the letter's sequence in one with its row, for [`Connected::replayed`], so that a crash right
    /// after it does not let the row count twice. Progress stays where it is.
    fn replay(&mut self, letter: &Event<'_>, progress: Progress) -> Result<Written>;

    /// Returns once everything that was handed over is applied.
    fn flush(&mut self) -> Result<Written>;

    /// Called once the rows of [`Written::rejected`] and [`Connected::rejected`] up to `through` are in the dead-letter
    /// topic: the target may forget them.
    fn rejected_are_kept(&mut self, through: u64) -> Result<()>;

    /// Removes everything that this sink ever wrote, and its progress, before it is filled anew.
    fn clear(&mut self) -> Result<()>;
}
