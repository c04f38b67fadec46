//! Marks on the names of rows that somebody has seen, for finding those that nobody has.
//!
//! Invariant: marks that were kept survive a crash; marks of another generation are never taken for ours. Start at
//! [`Marks::mark`].

use crate::error::Result;
use crate::key::table_prefix;
use crate::store::{Disk, MarkDisk};
use crate::view::{StoredRow, StoredRows};
use fjall::PersistMode;
use std::collections::BTreeMap;
use std::iter::Peekable;

/// Marks that are held in memory before they are written.
const HELD_MAX: usize = 4_096;
/// Marks that are removed at once.
const REMOVED_AT_ONCE: usize = 10_000;

/// How often a row was seen, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// How often, under this generation.
    pub count: u64,
    /// Whether it was marked since these marks were opened, and not only before a restart.
    pub is_recent: bool,
}

/// Marks on rows of one table.
pub struct Marks {
    disk: Disk,
    place: MarkDisk,
    prefix: Vec<u8>,
    /// Counts the openings under one generation.
    opening: u64,
    held: BTreeMap<Vec<u8>, u64>,
}

impl Marks {
    pub(crate) fn open(disk: Disk, table: &str, generation: u64) -> Result<Marks> {
        let place = disk.marks()?;
        let mut marks = Marks { disk, place, prefix: table_prefix(table), opening: 1, held: BTreeMap::new() };
        // A table's generation stands under its name alone, which is no name of a row.
        let stored = marks.place.marks.get(&marks.prefix).map_err(|error| marks.disk.failed(error))?;
        match stored.map(|bytes| pair(&bytes).ok_or_else(|| marks.disk.damaged("mark"))).transpose()? {
            Some((held, opening)) if held == generation => marks.opening = opening + 1,
            _ => marks.forget()?,
        }
        let stored = bytes(generation, marks.opening);
        marks.place.marks.insert(marks.prefix.clone(), stored).map_err(|error| marks.disk.failed(error))?;
        Ok(marks)
    }

    /// The mark on the row with this name.
    pub fn get(&self, name: &[u8]) -> Result<Mark> {
        if let Some(count) = self.held.get(name) {
            return Ok(Mark { count: *count, is_recent: true });
        }
        let bytes = self.place.marks.get(name).map_err(|error| self.disk.failed(error))?;
        let Some(bytes) = bytes else { return Ok(Mark::default()) };
        let (count, opening) = pair(&bytes).ok_or_else(|| self.disk.damaged("mark"))?;
        Ok(Mark { count, is_recent: opening == self.opening })
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
        let marks = self.place.marks.prefix(&self.prefix);
        let marks = Names { disk: self.disk.clone(), own: self.prefix.clone(), marks };
        Ok(Unmarked { rows, marks: marks.peekable() })
    }

    /// Makes all marks survive a crash.
    pub fn keep(&mut self) -> Result<()> {
        self.write()?;
        self.place.database.persist(PersistMode::SyncData).map_err(|error| self.disk.failed(error))
    }

    /// Removes all marks of the table.
    pub fn forget(&mut self) -> Result<()> {
        self.held.clear();
        loop {
            let mut batch = self.place.database.batch();
            for entry in self.place.marks.prefix(&self.prefix).take(REMOVED_AT_ONCE) {
                batch.remove(&self.place.marks, entry.key().map_err(|error| self.disk.failed(error))?);
            }
            if batch.is_empty() {
                return Ok(());
            }
            batch.commit().map_err(|error| self.disk.failed(error))?;
        }
    }

    fn write(&mut self) -> Result<()> {
        let mut batch = self.place.database.batch();
        for (name, count) in std::mem::take(&mut self.held) {
            batch.insert(&self.place.marks, name, bytes(count, self.opening));
        }
        batch.commit().map_err(|error| self.disk.failed(error))
    }
}

fn bytes(first: u64, second: u64) -> [u8; 16] {
    (u128::from(first) << 64 | u128::from(second)).to_be_bytes()
}

fn pair(bytes: &[u8]) -> Option<(u64, u64)> {
    let both = u128::from_be_bytes(bytes.try_into().ok()?);
    Some(((both >> 64) as u64, both as u64))
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
                let mark = pair(&bytes).ok_or_else(|| self.disk.damaged("mark"));
                return Some(mark.map(|(count, _)| (name.to_vec(), count)));
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
