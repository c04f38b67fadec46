//! Marks on the names of rows that somebody has seen, for finding those that nobody has.
//!
//! Invariant: marks that were kept survive a crash; marks of another generation are never taken for ours. Start at
//! [`Marks::mark`].

use crate::error::Result;
use crate::key::table_prefix;
use crate::store::Disk;
use crate::view::{StoredRow, StoredRows};
use fjall::PersistMode;
use std::collections::BTreeMap;
use std::iter::Peekable;

/// Marks that are held in memory before they are written.
const HELD_MAX: usize = 4_096;
/// Marks that are removed at once.
const REMOVED_AT_ONCE: usize = 10_000;

/// Marks on rows of one table. Each says how often the row was seen.
pub struct Marks {
    disk: Disk,
    prefix: Vec<u8>,
    held: BTreeMap<Vec<u8>, u64>,
}

impl Marks {
    pub(crate) fn open(disk: Disk, table: &str, generation: u64) -> Result<Marks> {
        let mut marks = Marks { disk, prefix: table_prefix(table), held: BTreeMap::new() };
        // A table's generation stands under its name alone, which is no name of a row.
        let ours = generation.to_be_bytes();
        let theirs = marks.disk.marks.get(&marks.prefix).map_err(|error| marks.disk.failed(error))?;
        if theirs.as_deref() != Some(&ours[..]) {
            marks.forget()?;
            marks.disk.marks.insert(marks.prefix.clone(), ours).map_err(|error| marks.disk.failed(error))?;
        }
        Ok(marks)
    }

    /// How often the row with this name was marked.
    pub fn count(&self, name: &[u8]) -> Result<u64> {
        if let Some(count) = self.held.get(name) {
            return Ok(*count);
        }
        let bytes = self.disk.marks.get(name).map_err(|error| self.disk.failed(error))?;
        let Some(bytes) = bytes else { return Ok(0) };
        let bytes: [u8; 8] = (&*bytes).try_into().map_err(|_| self.disk.damaged("mark"))?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// Sets how often the row with this name was seen.
    pub fn mark(&mut self, name: Vec<u8>, count: u64) -> Result<()> {
        self.held.insert(name, count);
        if self.held.len() >= HELD_MAX { self.write() } else { Ok(()) }
    }

    /// Those of `rows`, which are all of the table's, that have fewer marks than there are of them; their count is what is
    /// left then.
    pub fn unmarked(&mut self, rows: StoredRows) -> Result<Unmarked> {
        self.write()?;
        let marks = self.disk.marks.prefix(&self.prefix);
        let marks = Names { disk: self.disk.clone(), own: self.prefix.clone(), marks };
        Ok(Unmarked { rows, marks: marks.peekable() })
    }

    /// Makes all marks survive a crash.
    pub fn keep(&mut self) -> Result<()> {
        self.write()?;
        self.disk.database.persist(PersistMode::SyncData).map_err(|error| self.disk.failed(error))
    }

    /// Removes all marks of the table.
    pub fn forget(&mut self) -> Result<()> {
        self.held.clear();
        loop {
            let mut batch = self.disk.database.batch();
            for entry in self.disk.marks.prefix(&self.prefix).take(REMOVED_AT_ONCE) {
                batch.remove(&self.disk.marks, entry.key().map_err(|error| self.disk.failed(error))?);
            }
            if batch.is_empty() {
                return Ok(());
            }
            batch.commit().map_err(|error| self.disk.failed(error))?;
        }
    }

    fn write(&mut self) -> Result<()> {
        let mut batch = self.disk.database.batch();
        for (name, count) in std::mem::take(&mut self.held) {
            batch.insert(&self.disk.marks, name, count.to_be_bytes());
        }
        batch.commit().map_err(|error| self.disk.failed(error))
    }
}

/// A table's marks in the order of their names.
struct Names {
    disk: Disk,
    /// Under this stands the generation.
    own: Vec<u8>,
    marks: fjall::Iter,
}

impl Iterator for Names {
    type Item = Result<(Vec<u8>, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (name, bytes) = match self.marks.next()?.into_inner() {
                Ok(pair) => pair,
                Err(error) => return Some(Err(self.disk.failed(error))),
            };
            if *name != *self.own {
                let count = <[u8; 8]>::try_from(&*bytes).map(u64::from_be_bytes);
                return Some(count.map(|count| (name.to_vec(), count)).map_err(|_| self.disk.damaged("mark")));
            }
        }
    }
}

/// Rows without a mark.
pub struct Unmarked {
    rows: StoredRows,
    marks: Peekable<Names>,
}

impl Unmarked {
    /// Marks on the row with this name. Rows and marks come in the same order, so both are read once.
    fn marks_on(&mut self, name: &[u8]) -> Result<u64> {
        while let Some(mark) = self.marks.next_if(|mark| mark.as_ref().map_or(true, |(mark, _)| mark[..] <= *name)) {
            let (mark, count) = mark?;
            if mark == name {
                return Ok(count);
            }
        }
        Ok(0)
    }
}

impl Iterator for Unmarked {
    type Item = Result<StoredRow>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (name, mut row) = match self.rows.next()? {
                Ok(pair) => pair,
                Err(error) => return Some(Err(error)),
            };
            match self.marks_on(&name) {
                Err(error) => return Some(Err(error)),
                Ok(marks) if marks >= row.count => {}
                Ok(marks) => {
                    row.count -= marks;
                    return Some(Ok(row));
                }
            }
        }
    }
}
