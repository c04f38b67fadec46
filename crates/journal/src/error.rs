//! What can go wrong with a journal, each as a thing the caller does something different about.
//!
//! Invariant: no message holds bytes of a row; files, byte places, sequences and counts only. Start at [`Error`].

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Result of every journal operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation did not happen. Cheap to clone: a poisoned journal gives the same error to everyone.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process writes this journal.
    #[error("journal folder {} is in use by process {pid}: stop that process, or use another data folder", dir.display())]
    Locked {
        /// The journal's folder.
        dir: PathBuf,
        /// The other process, as its lock file says it.
        pid: String,
    },
    /// No room. Nothing is lost: what was appended is kept in memory, and a flush may be tried again.
    #[error("disk full while writing {}: make room, the journal then goes on where it stopped", file.display())]
    Full {
        /// The file that could not grow.
        file: PathBuf,
    },
    /// A write or fsync failed earlier. What is on disk is unknown, so nothing may be written any more.
    #[error(
        "journal stopped after a failed write or fsync ({reason}): check the disk, then start again; it resumes from what is durable"
    )]
    Poisoned {
        /// The first failure.
        reason: Arc<str>,
    },
    /// Bytes that were durable once are not what was written.
    #[error("journal file {} is damaged at byte {at}: {what}; restore the file from a copy, or move the journal away and take a new snapshot", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Byte place of the frame or header that does not hold.
        at: u64,
        /// What was seen there.
        what: String,
    },
    /// The file is of a format version that this program does not know.
    #[error("journal file {} has format version {version}, and this program reads version {known}: use a newer program", file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// Version found.
        version: u32,
        /// Version known.
        known: u32,
    },
    /// Retention has deleted what was asked for.
    #[error("sequence {wanted} is no longer kept, the journal begins at {first}: take a new snapshot")]
    Trimmed {
        /// First sequence wanted.
        wanted: u64,
        /// First sequence kept.
        first: u64,
    },
    /// What was asked for is not written yet.
    #[error("{wanted} is not written yet, the journal ends at {next}: wait until the source has been read to there")]
    NotYet {
        /// Sequence or offset wanted.
        wanted: u64,
        /// Next sequence or offset.
        next: u64,
    },
    /// One entry does not fit a frame.
    #[error("an entry of {bytes} bytes exceeds the limit of {limit}: write it as a side segment in parts")]
    TooLarge {
        /// Its bytes.
        bytes: u64,
        /// The limit's bytes.
        limit: u64,
    },
    /// The caller broke the contract; nothing was written.
    #[error("journal used wrongly: {0}")]
    Invalid(String),
    /// The writer was closed.
    #[error("the journal's writer was closed")]
    Closed,
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", file.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        file: PathBuf,
        /// The cause.
        source: Arc<io::Error>,
    },
}

impl Error {
    /// Whether room on the disk is all that is missing.
    pub fn is_full(&self) -> bool {
        matches!(self, Error::Full { .. })
    }

    pub(crate) fn io(action: &'static str, file: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full { file: file.to_owned() },
            _ => Error::Io { action, file: file.to_owned(), source: Arc::new(source) },
        }
    }

    pub(crate) fn damaged(file: &Path, at: u64, what: impl Into<String>) -> Self {
        Error::Damaged { file: file.to_owned(), at, what: what.into() }
    }

    pub(crate) fn poisoned(cause: &Error) -> Self {
        match cause {
            Error::Poisoned { .. } => cause.clone(),
            other => Error::Poisoned { reason: other.to_string().into() },
        }
    }
}
