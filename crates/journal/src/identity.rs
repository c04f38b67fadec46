//! Who a journal is: its identity, and its epochs (one per start, each with its first sequence).
//!
//! Invariant: the epoch is durable before anything is written under it. Start at [`Identity::classify`].

use crate::cursor::{Cursor, put_u32, put_u64};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::layout::IDENTITY;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

const MAGIC: &[u8; 8] = b"HWJOURNL";
const VERSION: u32 = 1;
/// Epochs remembered. A follower that last wrote before so many starts is treated as unknown, and rebuilt.
const EPOCHS_MAX: usize = 4096;

/// A journal's identity, drawn at random when it is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct JournalId(pub [u8; 16]);

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

impl JournalId {
    fn random() -> Result<Self> {
        let mut id = [0; 16];
        let drawn = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut id));
        drawn.map_err(|error| Error::io("read", Path::new("/dev/urandom"), error))?;
        Ok(JournalId(id))
    }
}

/// One start of the journal's writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: u32,
    /// The next sequence when it began.
    pub first_sequence: u64,
}

/// How a follower's progress stands to a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has applied all that is visible.
    Same,
    /// It goes on at its sequence.
    Behind,
    /// It applied a tail that a power failure took from us: wait until the source has been read to there again.
    Ahead,
    /// It goes on where retention has already deleted: rebuild.
    Trimmed,
    /// Not in this journal's history: rebuild.
    Unknown,
}

/// The identity file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub id: JournalId,
    pub epochs: Vec<Epoch>,
}

impl Identity {
    pub fn new(id: Option<JournalId>) -> Result<Self> {
        Ok(Identity { id: id.map_or_else(JournalId::random, Ok)?, epochs: Vec::new() })
    }

    pub fn epoch(&self) -> u32 {
        self.epochs.last().map_or(0, |epoch| epoch.number)
    }

    /// Begins a start at `first_sequence` and makes it durable.
    pub fn begin_epoch(&mut self, disk: &Disk, first_sequence: u64) -> Result<()> {
        fail::fail_point!("journal::identity");
        self.epochs.push(Epoch { number: self.epoch() + 1, first_sequence });
        if self.epochs.len() > EPOCHS_MAX {
            self.epochs.remove(0);
        }
        disk.replace(IDENTITY, &self.encode())
    }

    /// `next` and `first`: the bounds of what the journal holds now.
    pub fn classify(&self, id: JournalId, epoch: u32, sequence: u64, first: u64, next: u64) -> Standing {
        if id != self.id || !self.epochs.iter().any(|known| known.number == epoch) {
            Standing::Unknown
        } else if sequence > next {
            // Under the running epoch nobody can have seen what is not written: the folder is an older copy.
            if epoch == self.epoch() { Standing::Unknown } else { Standing::Ahead }
        } else if sequence < first {
            Standing::Trimmed
        } else if sequence == next {
            Standing::Same
        } else {
            Standing::Behind
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put_u32(&mut out, VERSION);
        put_u32(&mut out, self.epochs.len() as u32);
        out.extend_from_slice(&self.id.0);
        for epoch in &self.epochs {
            put_u32(&mut out, epoch.number);
            put_u64(&mut out, epoch.first_sequence);
        }
        let crc = crc32c::crc32c(&out);
        put_u32(&mut out, crc);
        out
    }

    fn decode(path: &Path, bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::damaged(path, 0, "the journal's identity does not decode");
        let (content, crc) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
        if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
            return Err(damaged());
        }
        let mut cursor = Cursor(content.strip_prefix(MAGIC).ok_or_else(damaged)?);
        let version = cursor.u32().ok_or_else(damaged)?;
        if version != VERSION {
            return Err(Error::Version { file: path.to_owned(), version, known: VERSION });
        }
        let mut parse = || {
            let count = cursor.u32()?;
            let id = JournalId(cursor.array()?);
            let epochs = (0..count)
                .map(|_| Some(Epoch { number: cursor.u32()?, first_sequence: cursor.u64()? }))
                .collect::<Option<Vec<_>>>()?;
            cursor.0.is_empty().then_some(Identity { id, epochs })
        };
        parse().ok_or_else(damaged)
    }

    /// Reads the identity of the journal in `dir`; `None` when there is none.
    pub fn load(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(IDENTITY);
        match fs::read(&path) {
            Ok(bytes) => Self::decode(&path, &bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path, error)),
        }
    }
}
