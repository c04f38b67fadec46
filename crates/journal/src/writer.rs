//! The one who writes: gathers entries into a frame, writes it with one call, and leaves the fsync to its thread.
//!
//! Invariant: numbers are given in append order and stand in the frame before anyone sees them; after a failed write
//! nothing is written any more, except that a full disk only waits for room. Start at [`Writer::append`] and
//! [`Writer::flush`].

use crate::error::{Error, Result};
use crate::frame::OffsetRange;
use crate::heads::{Head, Heads, TopicId, Updates, put_topic};
use crate::index::Seen;
use crate::journal::Journal;
use crate::layout::Lock;
use crate::options::{ENTRY_BYTES_MAX, HEAD_BYTES_MAX, POSITION_BYTES_MAX};
use crate::pending::{Entry, Pending, Stamp};
use crate::place::{Place, Salter};
use crate::roll::{Active, Start, begin_segment};
use crate::shared::Shared;
use crate::side::{Part, SideFile, SideInfo};
use crate::topics::{Numbers, register};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

/// Writes a journal. There is one per journal, on one thread at a time. Dropping it is like a crash: what is not flushed
/// is forgotten, what is not durable may be; [`Writer::close`] ends it well.
#[derive(Debug)]
pub struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) active: Active,
    pub(crate) pending: Pending,
    pub(crate) numbers: Numbers,
    /// After the last append.
    pub(crate) heads: Heads,
    /// After the last frame written.
    pub(crate) written: Heads,
    /// After the last frame written.
    pub(crate) written_position: Vec<u8>,
    pub(crate) sides: BTreeMap<String, SideFile>,
    /// The commit of a side segment that waits for the frame before it.
    pub(crate) staged: Option<SideCommit>,
    /// The last call found the disk full.
    pub(crate) full: bool,
    pub(crate) next_side: u64,
    pub(crate) time_us: u64,
    pub(crate) threads: Vec<JoinHandle<()>>,
    pub(crate) lock: Option<Lock>,
}

impl Writer {
    /// A handle for readers.
    pub fn journal(&self) -> Journal {
        Journal::new(Arc::clone(&self.shared))
    }

    /// Finds or registers a topic. Its partitions may grow, never shrink. The registration is written with the next
    /// frame.
    pub fn topic(&mut self, name: &str, partitions: u32) -> Result<TopicId> {
        let (id, change) = register(self.heads.topics(), name, partitions)?;
        if let Some(topic) = change {
            put_topic(&mut self.pending.updates, &topic);
            self.numbers.set_topic(&topic);
            self.heads.set_topic(topic);
        }
        Ok(id)
    }

    /// The sequence that the next change will get.
    pub fn next_sequence(&self) -> u64 {
        self.numbers.next_sequence
    }

    /// The offset that the partition's next record will get; 0 when there is no such partition.
    pub fn next_offset(&self, topic: TopicId, partition: u32) -> u64 {
        self.numbers.next_offset(topic, partition)
    }

    /// Named state as the last append left it.
    pub fn heads(&self) -> &Heads {
        &self.heads
    }

    /// Copies an entry into the pending frame and answers the sequence of its first change. Makes no system call unless
    /// the frame is full: then that is flushed first.
    pub fn append(&mut self, entry: &Entry<'_>) -> Result<u64> {
        let bytes = self.check(entry)?;
        self.numbers.check(entry.offsets)?;
        self.settle()?;
        if self.pending.changes.checked_add(entry.changes).is_none() {
            self.flush().map_err(not_taken)?;
        }
        let ends_frame = self.pending.len() + bytes > self.shared.options.frame_bytes_max;
        let flushed = if ends_frame { self.flush() } else { Ok(()) };
        match flushed {
            Err(error) if !error.is_full() => Err(error),
            flushed => {
                let first = self.push(entry);
                flushed.map(|()| first)
            }
        }
    }

    /// Writes what an earlier full disk left behind; nothing more is taken before that.
    fn settle(&mut self) -> Result<()> {
        if self.full { self.flush().map_err(not_taken) } else { Ok(()) }
    }

    fn push(&mut self, entry: &Entry<'_>) -> u64 {
        let first = self.numbers.next_sequence;
        self.pending.push(entry, &mut self.numbers);
        entry.heads.iter().for_each(|head| self.heads.set(*head));
        first
    }

    /// Holds an entry against its limits; answers its bytes.
    fn check(&self, entry: &Entry<'_>) -> Result<usize> {
        let body: usize = entry.body.iter().map(|piece| piece.len()).sum();
        let heads: usize = entry.heads.iter().map(|head| head.key.len() + head.value.map_or(0, <[u8]>::len)).sum();
        let too_large = |bytes: usize, limit: usize| Error::TooLarge { bytes: bytes as u64, limit: limit as u64 };
        if body > ENTRY_BYTES_MAX {
            return Err(too_large(body, ENTRY_BYTES_MAX));
        }
        if heads > HEAD_BYTES_MAX {
            return Err(too_large(heads, HEAD_BYTES_MAX));
        }
        if entry.position.len() > POSITION_BYTES_MAX {
            return Err(too_large(entry.position.len(), POSITION_BYTES_MAX));
        }
        Ok(body + heads)
    }

    /// Writes what was appended as one frame: visible at once (unless it must be durable first), durable soon after.
    /// Waits while too much is not durable yet. After [`Error::Full`] all is kept, and it may be called again.
    pub fn flush(&mut self) -> Result<()> {
        let outcome = self.write_kept();
        self.full = outcome.as_ref().is_err_and(Error::is_full);
        outcome
    }

    fn write_kept(&mut self) -> Result<()> {
        self.shared.wait_for_room()?;
        if self.full {
            let written = self.sides.values_mut().try_for_each(SideFile::write);
            written.map_err(|error| self.fatal_unless_full(error))?;
        }
        self.write_pending()?;
        if let Some(commit) = self.staged.take() {
            self.push_side(commit)?;
            self.write_pending()?;
        }
        Ok(())
    }

    fn write_pending(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let length = self.pending.close(&self.shared.options);
        let fits = u64::from(self.active.at) + length <= u64::from(self.active.size);
        if !fits && self.active.at > self.active.first_at {
            self.roll()?;
        }
        self.write_frame()
    }

    fn write_frame(&mut self) -> Result<()> {
        let (shared, active, pending) = (&self.shared, &mut self.active, &mut self.pending);
        let place = Place::new(active.segment.ordinal, active.at);
        // Time never goes back, so that a look-up by time finds one place.
        self.time_us = self.time_us.max((shared.options.clock_us)());
        let header = pending.stamp(Stamp {
            time_us: self.time_us,
            epoch: shared.identity.epoch(),
            durable: shared.durable(),
            salt: Salter::frames(shared.identity.id).salt(place),
        });
        fail::fail_point!("journal::before_write");
        if let Err(error) = active.file.file.write(&mut pending.pieces(&header), u64::from(active.at)) {
            // A part of the frame may stand there. It would not check, but room is what is missing now.
            let cut = error.is_full() && active.file.file.set_length(u64::from(active.at)).is_ok();
            return Err(if cut { error } else { shared.poison(&error) });
        }
        fail::fail_point!("journal::after_write");
        let seen = Seen {
            at: active.at,
            length: header.length,
            first_sequence: header.first_sequence,
            changes: header.changes,
            time_us: header.time_us,
            position: &pending.position,
            has_updates: header.heads_len > 0,
            side: pending.side().map(|side| side.number),
        };
        active.segment.observe(|index| index.observe(&seen, pending.table.iter().copied()));
        active.at += header.length;
        if !pending.updates.is_empty() {
            self.written.apply(Updates::checked(&pending.updates).unwrap_or(Updates::empty()));
            self.written.topics().clone_into(&mut shared.topics.write().unwrap_or_else(PoisonError::into_inner));
        }
        self.written_position.clone_from(&pending.position);
        let end = Place::new(active.segment.ordinal, active.at);
        shared.publish(end, header.next_sequence(), &pending.position, header.length.into(), header.derived);
        let half = active.size / 2;
        let crossed = active.at - header.length <= half && active.at > half;
        if crossed && active.begun.elapsed() >= shared.options.zero_ahead_pace {
            shared.tidy.zero(shared.options.segment_bytes());
        }
        pending.clear(shared.options.frame_bytes_max);
        self.numbers.begin_frame();
        Ok(())
    }

    fn roll(&mut self) -> Result<()> {
        let start = Start {
            ordinal: self.active.segment.ordinal + 1,
            first_sequence: self.pending.first_sequence,
            previous_end: self.active.at,
            position: &self.written_position,
            heads: &self.written,
            next_offsets: self.written_offsets(),
            time_us: self.time_us,
        };
        let next = begin_segment(&self.shared, &start).map_err(|error| self.fatal_unless_full(error))?;
        self.active.segment.close(self.active.at);
        self.shared.marks().files.push(Arc::clone(&next.file));
        let mut segments = self.shared.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.push(Arc::clone(&next.segment));
        drop(segments);
        self.active = next;
        Ok(())
    }

    /// Next offsets without what the pending frame takes.
    fn written_offsets(&self) -> Vec<OffsetRange> {
        let mut offsets: Vec<_> = self.numbers.all().collect();
        for row in &self.pending.table {
            let key = (row.topic, row.partition);
            if let Ok(slot) = offsets.binary_search_by_key(&key, |offset| (offset.topic, offset.partition)) {
                offsets[slot].first = row.first;
            }
        }
        let topics = self.written.topics();
        offsets.retain(|row| topics.get(row.topic.0 as usize).is_some_and(|topic| row.partition < topic.partitions));
        offsets
    }

    fn fatal(&self, error: Error) -> Error {
        match error {
            Error::Io { .. } | Error::Full { .. } => self.shared.poison(&error),
            other => other,
        }
    }

    fn fatal_unless_full(&self, error: Error) -> Error {
        match error {
            Error::Io { .. } => self.shared.poison(&error),
            other => other,
        }
    }

    /// Flushes, and waits until all is durable.
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        let written = self.shared.marks().written.place;
        self.shared.wait_durable(None, |durable| durable.place >= written).map(drop)
    }

    /// Writes a part of a transaction into the side segment `id`, which is begun when it is new. One that survived a
    /// restart is begun anew: its transaction is being read again.
    pub fn side_append(&mut self, id: &str, part: &Part<'_>) -> Result<()> {
        self.numbers.check(part.offsets)?;
        self.settle()?;
        self.shared.wait_for_room()?;
        if self.sides.get(id).is_some_and(|side| side.survived) {
            self.side_abort(id)?;
        }
        if !self.sides.contains_key(id) {
            let side = SideFile::create(&self.shared.disk, self.shared.identity.id, self.next_side, id)
                .map_err(|error| self.fatal(error))?;
            self.next_side += 1;
            self.sides.insert(id.to_owned(), side);
        }
        let side = self.sides.get_mut(id).ok_or_else(|| unknown_side(id))?;
        side.check(part)?;
        let outcome = side.append(part, &self.shared.options);
        if side.write_out_is_due() {
            self.shared.tidy.write_out(side.file());
        }
        self.full = outcome.as_ref().is_err_and(Error::is_full);
        outcome.map_err(|error| self.fatal_unless_full(error))
    }

    /// Makes the side segment survive a restart. It is durable when this returns; append the position that has seen the
    /// prepare afterwards. After [`Error::Full`] it may be called again.
    pub fn side_prepare(&mut self, id: &str) -> Result<()> {
        // Its parts name topics by number, so their registration must not be lost while the side segment is kept.
        self.sync()?;
        let side = self.sides.get_mut(id).ok_or_else(|| unknown_side(id))?;
        fail::fail_point!("journal::side_prepare");
        side.prepare(&self.shared.disk).map_err(|error| self.fatal(error))
    }

    /// Appends the transaction whose changes lie in the side segment `id`, and flushes: the side segment is durable
    /// before the frame that refers to it is written. `entry.body` is given back with every part; its changes and
    /// offsets must be none, the parts have them. Answers the sequence of its first change.
    pub fn side_commit(&mut self, id: &str, entry: &Entry<'_>) -> Result<u64> {
        if entry.changes > 0 || !entry.offsets.is_empty() {
            return Err(Error::Invalid("the commit of a side segment takes no changes of its own".into()));
        }
        self.check(entry)?;
        self.settle()?;
        let side = self.sides.get(id).ok_or_else(|| unknown_side(id))?;
        // Numbers that do not fit are refused here, where nothing is taken yet.
        side.changes()?;
        side.offsets()?;
        let first = self.numbers.next_sequence;
        self.staged = Some(SideCommit {
            id: id.to_owned(),
            position: entry.position.to_vec(),
            body: entry.body.concat(),
            heads: entry.heads.iter().map(|head| (head.key.to_vec(), head.value.map(<[u8]>::to_vec))).collect(),
            derived: entry.derived,
        });
        self.flush().map(|()| first)
    }

    /// Moves a staged commit into the pending frame, which is empty.
    fn push_side(&mut self, commit: SideCommit) -> Result<()> {
        let side = self.sides.remove(&commit.id).ok_or_else(|| unknown_side(&commit.id))?;
        side.sync(&self.shared.disk).map_err(|error| self.shared.poison(&error))?;
        fail::fail_point!("journal::side_commit");
        let heads: Vec<Head<'_>> =
            commit.heads.iter().map(|(key, value)| Head { key, value: value.as_deref() }).collect();
        // The parts' heads come first: what the commit says of the same name is newer.
        self.heads.apply(Updates::checked(side.updates()).unwrap_or(Updates::empty()));
        self.pending.updates.extend_from_slice(side.updates());
        self.push(&Entry {
            changes: side.changes()?,
            position: &commit.position,
            body: &[&commit.body],
            offsets: &side.offsets()?,
            heads: &heads,
            derived: commit.derived,
        });
        self.pending.set_side(side.reference());
        Ok(())
    }

    /// Drops a side segment whose transaction was rolled back.
    pub fn side_abort(&mut self, id: &str) -> Result<()> {
        let side = self.sides.remove(id).ok_or_else(|| unknown_side(id))?;
        self.shared.disk.remove(side.file().name())
    }

    /// The side segment `id`, while it is neither committed nor aborted.
    pub fn side(&self, id: &str) -> Option<SideInfo> {
        self.sides.get(id).map(SideFile::info)
    }

    /// All side segments that are neither committed nor aborted.
    pub fn sides(&self) -> Vec<SideInfo> {
        self.sides.values().map(SideFile::info).collect()
    }

    /// Flushes, makes all durable, ends the threads and gives the folder free.
    pub fn close(mut self) -> Result<()> {
        self.sync()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        drop(self.lock.take());
    }
}

/// The commit of a side segment, kept while the frame before it is written.
#[derive(Debug)]
pub(crate) struct SideCommit {
    id: String,
    position: Vec<u8>,
    body: Vec<u8>,
    heads: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    derived: bool,
}

/// The disk is still full, and the caller gave more instead of flushing: say so as another error, for a full disk means
/// that what was given is kept.
fn not_taken(error: Error) -> Error {
    match error {
        Error::Full { file } => Error::Invalid(format!(
            "the disk is still full ({}): flush until that succeeds before appending more",
            file.display()
        )),
        other => other,
    }
}

fn unknown_side(id: &str) -> Error {
    Error::Invalid(format!("there is no side segment {id:?}"))
}
