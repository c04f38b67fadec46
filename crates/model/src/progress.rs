//! How far a follower has come: which journal, which start of it, and the next sequence it wants.
//!
//! Invariant: a follower's progress is meaningless without the journal's identity; a number alone is never compared.

use std::fmt;
use std::str::FromStr;

/// A journal's identity, drawn at random when it is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct JournalId(pub [u8; 16]);

/// Where a follower stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The journal.
    pub journal: JournalId,
    /// The start of the journal's process under which the sequence was written.
    pub epoch: u32,
    /// The next sequence to apply: everything below it has been applied.
    pub sequence: u64,
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `journal:epoch:sequence`, the form in which targets keep it.
impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.journal, self.epoch, self.sequence)
    }
}

/// The text is not a progress mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a progress mark of the form journal:epoch:sequence")]
pub struct NotProgress;

impl FromStr for Progress {
    type Err = NotProgress;

    fn from_str(text: &str) -> Result<Self, NotProgress> {
        let mut parts = text.split(':');
        let (Some(journal), Some(epoch), Some(sequence), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotProgress);
        };
        if journal.len() != 32 || !journal.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotProgress);
        }
        let journal = u128::from_str_radix(journal, 16).map_err(|_| NotProgress)?;
        Ok(Progress {
            journal: JournalId(journal.to_be_bytes()),
            epoch: epoch.parse().map_err(|_| NotProgress)?,
            sequence: sequence.parse().map_err(|_| NotProgress)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_anything_else_is_refused() {
        let progress = Progress { journal: JournalId([0xab; 16]), epoch: 3, sequence: u64::MAX };
        assert_eq!(progress.to_string().parse(), Ok(progress));
        for bad in [
            "",
            "1:2:3",
            "x:y",
            &"a".repeat(32),
            &format!("{}:1:2:3", "a".repeat(32)),
            &format!("+{}:1:2", "a".repeat(31)),
        ] {
            assert_eq!(bad.parse::<Progress>(), Err(NotProgress), "{bad}");
        }
    }
}
