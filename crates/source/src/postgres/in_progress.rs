//! Transactions that the server sends before they have ended: kept as their messages arrive, and read when they commit.
//!
//! The messages are read only at the commit, in the order of commits, as if they had arrived then: so shapes are those of
//! the commit, what a snapshot holds is known, and nothing of what was rolled back is ever seen. Invariant: what is kept of
//! a transaction lies in memory up to a limit, and beyond it in a file without a name, which is gone with us; the server
//! sends again what had not been committed. Start at [`InProgress::take`].

use super::decode::{Commit, Message, Reader};
use super::lsn::Lsn;
use headwater_model::source::Intake;
use headwater_model::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes of one transaction that are kept in memory.
const MEMORY_BYTES_MAX: usize = 256 << 10;
/// A record: the place in the log, the length of the message, the message.
const RECORD_HEAD_BYTES: usize = 12;

/// All of them.
#[derive(Default)]
pub struct InProgress {
    transactions: HashMap<u32, Kept>,
    /// The one whose block is being received.
    current: Option<u32>,
}

/// What is to be done with a message.
pub enum Taken {
    /// It is none of a transaction in progress.
    Passed,
    /// It is kept, or has said what becomes of what is kept.
    Kept,
    /// The transaction is committed: its messages can be read.
    Committed(Kept, u32, Commit),
}

/// The messages of one transaction.
#[derive(Default)]
pub struct Kept {
    /// What is not in the file yet; it begins at `written`.
    memory: Vec<u8>,
    file: Option<File>,
    written: u64,
    /// Its subtransactions that have messages, and where each begins. All that follows until one is rolled back is its own,
    /// because they are nested.
    subtransactions: Vec<(u32, u64)>,
    known: HashSet<u32>,
    /// Where the shape of each table was told last. The server does not tell it again although the subtransaction in which
    /// it did was rolled back.
    shapes: HashMap<u32, (u64, Vec<u8>)>,
}

impl InProgress {
    /// Takes a message, which stands at `place` and was read from `body`.
    pub fn take(&mut self, place: Lsn, body: &[u8], message: &Message<'_>, intake: &mut dyn Intake) -> Result<Taken> {
        match message {
            Message::StreamStart { xid, first } => {
                if *first {
                    self.transactions.insert(*xid, Kept::default());
                }
                if !self.transactions.contains_key(xid) {
                    return Err(unknown(place, *xid));
                }
                self.current = Some(*xid);
            }
            Message::StreamStop => self.current = None,
            Message::StreamCommit { xid, commit } => {
                let kept = self.transactions.remove(xid).ok_or_else(|| unknown(place, *xid))?;
                return Ok(Taken::Committed(kept, *xid, *commit));
            }
            Message::StreamAbort { xid, subxid, .. } if xid == subxid => {
                // One that was rolled back before any of it was sent is none of ours.
                self.transactions.remove(xid);
            }
            Message::StreamAbort { xid, subxid, .. } => {
                if let Some(kept) = self.transactions.get_mut(xid) {
                    kept.roll_back(*subxid, intake)?;
                }
            }
            message => {
                let Some(xid) = self.current else { return Ok(Taken::Passed) };
                let kept = self.transactions.get_mut(&xid).ok_or_else(|| unknown(place, xid))?;
                kept.take(xid, place, body, message, intake)?;
            }
        }
        Ok(Taken::Kept)
    }
}

impl Kept {
    fn take(
        &mut self,
        top: u32,
        place: Lsn,
        body: &[u8],
        message: &Message<'_>,
        intake: &mut dyn Intake,
    ) -> Result<()> {
        let at = self.written + self.memory.len() as u64;
        if let Some(xid) = xid_of(message).filter(|xid| *xid != top)
            && self.known.insert(xid)
        {
            self.subtransactions.push((xid, at));
        }
        let record = record(place, body);
        self.put(&record, intake)?;
        if let Message::Relation(relation) = message {
            self.shapes.insert(relation.oid, (at, record));
        }
        Ok(())
    }

    fn put(&mut self, record: &[u8], intake: &mut dyn Intake) -> Result<()> {
        self.memory.extend_from_slice(record);
        if self.memory.len() < MEMORY_BYTES_MAX {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(intake.scratch()?),
        };
        file.write_all_at(&self.memory, self.written).map_err(unwritable)?;
        self.written += self.memory.len() as u64;
        self.memory.clear();
        // A message may be as large as a row.
        self.memory.shrink_to(2 * MEMORY_BYTES_MAX);
        Ok(())
    }

    /// Forgets what the subtransaction did.
    fn roll_back(&mut self, subxid: u32, intake: &mut dyn Intake) -> Result<()> {
        if !self.known.contains(&subxid) {
            return Ok(());
        }
        let Some(index) = self.subtransactions.iter().rposition(|(xid, _)| *xid == subxid) else { return Ok(()) };
        let (_, at) = self.subtransactions[index];
        for (xid, _) in self.subtransactions.drain(index..) {
            self.known.remove(&xid);
        }
        match at.checked_sub(self.written) {
            Some(kept) => self.memory.truncate(kept as usize),
            None => {
                self.memory.clear();
                self.written = at;
            }
        }
        let mut told: Vec<(u32, u64)> =
            self.shapes.iter().filter(|(_, (told_at, _))| *told_at >= at).map(|(oid, told)| (*oid, told.0)).collect();
        told.sort_unstable_by_key(|(_, told_at)| *told_at);
        for (oid, _) in told {
            let again = self.written + self.memory.len() as u64;
            if let Some((_, record)) = self.shapes.remove(&oid) {
                self.put(&record, intake)?;
                self.shapes.insert(oid, (again, record));
            }
        }
        Ok(())
    }

    /// Reads every message that is left, in order.
    pub fn read(&self) -> Result<Reading<'_>> {
        let mut reader = Reader::default();
        // Inside a block messages carry the number of their subtransaction.
        reader.read(&[b'S', 0, 0, 0, 0, 1]).map_err(|error| Error::stop(error.to_string()))?;
        Ok(Reading { kept: self, reader, loaded: Vec::new(), next: 0, at: 0 })
    }
}

/// The messages of a transaction, one after the other.
pub struct Reading<'k> {
    kept: &'k Kept,
    reader: Reader,
    loaded: Vec<u8>,
    /// Where in `loaded` the next record begins.
    next: usize,
    /// Up to where records are loaded.
    at: u64,
}

impl Reading<'_> {
    /// The next message and its place; `None` after the last.
    pub fn next(&mut self) -> Result<Option<(Lsn, Message<'_>)>> {
        let (place, body) = loop {
            let rest = &self.loaded[self.next..];
            match split_record(rest) {
                Some((place, body, length)) => {
                    let body = self.next + body..self.next + length;
                    self.next = body.end;
                    break (place, body);
                }
                None if self.load()? => {}
                None if self.next == self.loaded.len() => return Ok(None),
                None => return Err(damaged(Lsn(self.at))),
            }
        };
        let message = self.reader.read(&self.loaded[body]).map_err(|error| {
            Error::stop(format!("a message of a transaction in progress, at {place} of the log")).source(error)
        })?;
        Ok(Some((place, message)))
    }

    /// Loads more records; answers whether there were any.
    fn load(&mut self) -> Result<bool> {
        let Kept { memory, file, written, .. } = self.kept;
        self.loaded.drain(..std::mem::take(&mut self.next));
        if self.at < *written {
            let length = (written - self.at).min(MEMORY_BYTES_MAX as u64) as usize;
            let start = self.loaded.len();
            self.loaded.resize(start + length, 0);
            let file = file.as_ref().ok_or_else(|| damaged(Lsn(self.at)))?;
            file.read_exact_at(&mut self.loaded[start..], self.at).map_err(unreadable)?;
            self.at += length as u64;
            return Ok(true);
        }
        let is_left = self.at == *written && !memory.is_empty();
        if is_left {
            self.loaded.extend_from_slice(memory);
            self.at += memory.len() as u64;
        }
        Ok(is_left)
    }
}

/// The record at the front of `bytes`, if it is whole: its place, where its message begins, and where it ends.
fn split_record(bytes: &[u8]) -> Option<(Lsn, usize, usize)> {
    let head = bytes.first_chunk::<RECORD_HEAD_BYTES>()?;
    let place = Lsn(head[..8].iter().fold(0, |place, byte| place << 8 | u64::from(*byte)));
    let length = head[8..].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let end = RECORD_HEAD_BYTES + length;
    (bytes.len() >= end).then_some((place, RECORD_HEAD_BYTES, end))
}

fn record(place: Lsn, body: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(RECORD_HEAD_BYTES + body.len());
    record.extend_from_slice(&place.0.to_be_bytes());
    // A message of PostgreSQL has less than 4 GB.
    record.extend_from_slice(&(body.len() as u32).to_be_bytes());
    record.extend_from_slice(body);
    record
}

/// The (sub)transaction whose change it is.
fn xid_of(message: &Message<'_>) -> Option<u32> {
    match message {
        Message::Insert { xid, .. }
        | Message::Update { xid, .. }
        | Message::Delete { xid, .. }
        | Message::Type { xid, .. } => *xid,
        Message::Relation(relation) => relation.xid,
        Message::Truncate(truncate) => truncate.xid,
        Message::Logical(logical) => logical.xid,
        _ => None,
    }
}

fn unknown(place: Lsn, xid: u32) -> Error {
    Error::reconnect(format!(
        "at {place} of the log a block continues transaction {xid}, whose beginning did not arrive"
    ))
}

fn damaged(place: Lsn) -> Error {
    Error::reconnect(format!("what was kept of a transaction in progress is cut off at byte {}", place.0))
}

fn unwritable(error: std::io::Error) -> Error {
    Error::reconnect("a transaction in progress cannot be kept in a file beside the journal").source(error)
}

fn unreadable(error: std::io::Error) -> Error {
    Error::reconnect("a transaction in progress cannot be read back").source(error)
}

#[cfg(test)]
#[path = "in_progress_tests.rs"]
mod tests;
