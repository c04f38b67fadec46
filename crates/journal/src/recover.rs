//! Opens a journal: finds its end, cuts off a torn tail, and hands back everything that a start needs.
//!
//! Invariant: a bad frame is a torn tail only if no frame after it proves that it was durable once; any other damage
//! stops the start with the file and the byte. Start at [`open`].

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::frame::{FRAME_HEADER_BYTES, FRAME_MAGIC, FrameError, FrameHeader};
use crate::heads::{Heads, Topic};
use crate::identity::{Identity, JournalId};
use crate::journal::Journal;
use crate::layout::{
    IDENTITY, Listing, Lock, NEXT, SegmentHeader, dropped_side_name, index_name, segment_name, side_name,
};
use crate::options::{Options, PARTITIONS_ALL_MAX};
use crate::pending::Pending;
use crate::place::{Place, Salter};
use crate::roll::{Active, Start, begin_segment, size_of};
use crate::segment::{FIRST_FRAME, OPEN, Scan, Segment, load_index, scan};
use crate::shared::{Mark, Shared, SyncFile};
use crate::side::{SideFile, SideInfo};
use crate::topics::{Numbers, partitions_of};
use crate::window::read_at_most;
use crate::writer::Writer;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// A torn tail that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// The segment's file name.
    pub file: String,
    /// Where the journal ends now.
    pub at: u64,
    /// Bytes that were cut off, in this file and in files after it.
    pub bytes: u64,
}

/// What a start finds.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Who the journal is.
    pub id: JournalId,
    /// The number of this start; durable.
    pub epoch: u32,
    /// First sequence kept.
    pub first_sequence: u64,
    /// The sequence that the next change will get.
    pub next_sequence: u64,
    /// The source's position after the last transaction; `None` when nothing was ever appended.
    pub position: Option<Vec<u8>>,
    /// All named state.
    pub heads: Heads,
    /// All topics.
    pub topics: Vec<Topic>,
    /// A torn tail that was cut off.
    pub truncated: Option<Truncated>,
    /// Side segments that were prepared and not decided.
    pub prepared: Vec<SideInfo>,
}

/// An open journal.
#[derive(Debug)]
pub struct Opened {
    /// The one who writes.
    pub writer: Writer,
    /// A handle for readers.
    pub journal: Journal,
    /// What was found.
    pub recovered: Recovered,
}

/// Opens the journal in `dir`, or begins one. Reads the index of closed segments and the whole of the last one, no more.
pub fn open(dir: &Path, options: Options) -> Result<Opened> {
    fs::create_dir_all(dir).map_err(|error| Error::io("create", dir, error))?;
    let lock = Lock::take(dir)?;
    let disk = Disk::new(dir, options.probe.clone());
    let mut identity = load_identity(dir, &options)?;
    let found = survey(&disk, dir, identity.id)?;
    let sides = survey_sides(&disk, dir, &identity, &found)?;
    if partitions_of(found.heads.topics()) > PARTITIONS_ALL_MAX {
        return Err(Error::damaged(dir, 0, "its topics claim more partitions than a journal can have"));
    }
    identity.begin_epoch(&disk, found.next_sequence)?;

    let mark = Mark { place: found.end, sequence: found.next_sequence, bytes: 0, position: found.position.clone() };
    let topics = found.heads.topics().to_vec();
    let shared =
        Arc::new(Shared::new(disk, dir.to_owned(), options, identity, mark, found.segments.clone(), topics.clone()));
    sides.leftovers.iter().for_each(|name| shared.tidy.remove(name.clone()));
    let mut numbers = Numbers::new(found.next_sequence, &topics);
    found.next_offsets.iter().for_each(|range| numbers.recover(*range));
    let active = activate(&shared, &found)?;
    let recovered = Recovered {
        id: shared.identity.id,
        epoch: shared.identity.epoch(),
        first_sequence: shared.first_sequence(),
        next_sequence: found.next_sequence,
        position: Some(found.position.clone()).filter(|position| !position.is_empty()),
        heads: found.heads.clone(),
        topics,
        truncated: found.truncated.clone(),
        prepared: sides.prepared.values().map(SideFile::info).collect(),
    };
    let pending = Pending::new(crate::frame::Kind::Whole, found.next_sequence, found.position.clone());
    let mut writer = Writer {
        active,
        pending,
        numbers,
        written: found.heads.clone(),
        heads: found.heads,
        written_position: found.position,
        sides: sides.prepared,
        staged: None,
        full: false,
        next_side: sides.next_number,
        time_us: found.time_us,
        threads: Vec::new(),
        lock: Some(lock),
        shared,
    };
    start_threads(&mut writer)?;
    Ok(Opened { journal: writer.journal(), writer, recovered })
}

fn start_threads(writer: &mut Writer) -> Result<()> {
    type Run = fn(&Shared);
    for (name, run) in [("journal-sync", crate::sync::run as Run), ("journal-tidy", crate::tidy::run)] {
        let shared = Arc::clone(&writer.shared);
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || run(&shared));
        let thread = thread.map_err(|error| Error::io("start a thread for", &writer.shared.dir, error))?;
        writer.threads.push(thread);
    }
    Ok(())
}

fn load_identity(dir: &Path, options: &Options) -> Result<Identity> {
    let empty = Listing::read(dir)?.segments.is_empty();
    match Identity::load(dir)? {
        Some(identity) if !empty => Ok(identity),
        Some(identity) if identity.epochs.iter().any(|epoch| epoch.first_sequence > 0) => {
            Err(Error::damaged(&dir.join(IDENTITY), 0, "all segments of the journal are missing"))
        }
        // Either a first start that did not come to its first segment, or segments that someone deleted. A new identity
        // makes sure that no follower takes the new journal for the old one.
        Some(_) => Identity::new(options.new_id),
        None if empty => Identity::new(options.new_id),
        None => Err(Error::damaged(&dir.join(IDENTITY), 0, "the file that says whose segments these are is missing")),
    }
}

/// The last segment, opened for writing; or the first one, begun.
fn activate(shared: &Shared, found: &Survey) -> Result<Active> {
    let active = match found.segments.last() {
        None => {
            let start = Start {
                ordinal: 0,
                first_sequence: found.next_sequence,
                previous_end: 0,
                position: &found.position,
                heads: &found.heads,
                next_offsets: Vec::new(),
                time_us: (shared.options.clock_us)(),
            };
            let active = begin_segment(shared, &start)?;
            shared
                .segments
                .write()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push(Arc::clone(&active.segment));
            active
        }
        Some(segment) => {
            let file = shared.disk.open(&segment_name(segment.ordinal, segment.first_sequence))?;
            let segment = Arc::clone(segment);
            let size = size_of(shared, segment.ordinal);
            let file = Arc::new(SyncFile { file, segment: Arc::clone(&segment), is_new: AtomicBool::new(false) });
            Active { file, segment, at: found.end.at(), first_at: found.head_end, size, begun: Instant::now() }
        }
    };
    let end = Mark {
        place: Place::new(active.segment.ordinal, active.at),
        sequence: found.next_sequence,
        bytes: 0,
        position: found.position.clone(),
    };
    let mut marks = shared.marks();
    marks.files.push(Arc::clone(&active.file));
    marks.written = end.clone();
    drop(marks);
    shared.advance_durable(&end);
    Ok(active)
}

/// What the segments of a folder say.
struct Survey {
    segments: Vec<Arc<Segment>>,
    heads: Heads,
    next_sequence: u64,
    position: Vec<u8>,
    next_offsets: Vec<crate::frame::OffsetRange>,
    /// Where the next frame goes.
    end: Place,
    /// Where the first frame after the last segment's head lies.
    head_end: u32,
    time_us: u64,
    /// Numbers of side segments that frames refer to.
    sides: BTreeSet<u64>,
    truncated: Option<Truncated>,
}

/// A segment on disk while it is judged.
struct Found {
    ordinal: u32,
    first_sequence: u64,
    header: Result<SegmentHeader, &'static str>,
    length: u64,
}

fn survey(disk: &Disk, dir: &Path, id: JournalId) -> Result<Survey> {
    let listing = Listing::read(dir)?;
    disk.remove(NEXT)?;
    let mut found = Vec::new();
    for (ordinal, first_sequence) in &listing.segments {
        let path = dir.join(segment_name(*ordinal, *first_sequence));
        let file = File::open(&path).map_err(|error| Error::io("open", &path, error))?;
        let header = SegmentHeader::load(&file, &path, id, *ordinal, *first_sequence)?;
        let length = file.metadata().map_err(|error| Error::io("read", &path, error))?.len();
        found.push(Found { ordinal: *ordinal, first_sequence: *first_sequence, header, length });
    }
    for ordinal in listing.indexes {
        if !found.iter().any(|segment| segment.ordinal == ordinal) {
            disk.remove(&index_name(ordinal))?;
        }
    }
    judge(disk, dir, id, &found)
}

/// Walks over the segments in order; closed ones by their index, the others frame by frame.
fn judge(disk: &Disk, dir: &Path, id: JournalId, found: &[Found]) -> Result<Survey> {
    let mut survey = Survey {
        segments: Vec::new(),
        heads: Heads::default(),
        next_sequence: 0,
        position: Vec::new(),
        next_offsets: Vec::new(),
        end: Place::default(),
        head_end: FIRST_FRAME,
        time_us: 0,
        sides: BTreeSet::new(),
        truncated: None,
    };
    let mut last: Option<Scan> = None;
    for (number, segment) in found.iter().enumerate() {
        let next = found.get(number + 1);
        let expected = next.and_then(|next| Some((next.header.ok()?.previous_end, next.first_sequence)));
        if let Some((end, next_sequence)) = expected
            && let Some(index) = load_index(dir, id, segment.ordinal)
            && index.end == end
            && index.next_sequence == next_sequence
            && segment.header.is_ok()
        {
            if segment.length < u64::from(end) {
                let path = dir.join(segment_name(segment.ordinal, segment.first_sequence));
                return Err(Error::damaged(&path, segment.length, "the closed segment is cut off"));
            }
            survey.sides.extend(&index.sides);
            let closed = Segment::new(segment.ordinal, segment.first_sequence, end, None);
            survey.segments.push(Arc::new(closed));
            continue;
        }
        let outcome = match segment.header {
            Ok(_) => scan(dir, id, segment.ordinal, segment.first_sequence)?,
            Err(what) => headless(what),
        };
        let whole = expected.is_some_and(|(end, next)| end == outcome.end && next == outcome.index.next_sequence);
        if whole {
            survey.sides.extend(&outcome.index.sides);
            let bytes = outcome.index.encode(id, segment.ordinal);
            let closed = Segment::new(segment.ordinal, segment.first_sequence, outcome.end, None);
            survey.segments.push(Arc::new(closed));
            disk.open(&segment_name(segment.ordinal, segment.first_sequence))?.sync()?;
            disk.create(&index_name(segment.ordinal))?.write(&mut [IoSlice::new(&bytes)], 0)?;
            continue;
        }
        // The journal ends in this segment, or before it when it has no head.
        let end = if outcome.frames == 0 { 0 } else { outcome.end };
        if let (0, Some(before)) = (outcome.frames, survey.segments.last()) {
            last = Some(scan_closed(dir, id, before)?);
        }
        survey.truncated = cut(disk, dir, id, &found[number..], end, outcome.stop)?;
        if outcome.frames > 0 {
            survey.segments.push(Arc::new(Segment::new(segment.ordinal, segment.first_sequence, OPEN, None)));
            last = Some(outcome);
        }
        break;
    }
    finish(disk, dir, id, survey, last)
}

/// A segment whose header does not check has no frames to speak of.
fn headless(what: &'static str) -> Scan {
    let stop = FrameError::Bad(what);
    Scan { index: Default::default(), heads: Heads::default(), end: 0, stop, frames: 0 }
}

/// Reads a segment that was closed and is written to again, because the one after it had no head. It was durable as a
/// whole, so that an earlier end is damage.
fn scan_closed(dir: &Path, id: JournalId, segment: &Segment) -> Result<Scan> {
    let scanned = scan(dir, id, segment.ordinal, segment.first_sequence)?;
    if segment.end().is_some_and(|end| end != scanned.end) {
        return Err(Error::damaged(&segment.path(dir), scanned.end.into(), scanned.stop.to_string()));
    }
    Ok(scanned)
}

/// Reads the state at the end out of the last segment, and makes all of it durable.
fn finish(disk: &Disk, dir: &Path, id: JournalId, mut survey: Survey, last: Option<Scan>) -> Result<Survey> {
    let (Some(segment), Some(last)) = (survey.segments.pop(), last) else { return Ok(survey) };
    let name = segment_name(segment.ordinal, segment.first_sequence);
    disk.remove(&index_name(segment.ordinal))?;
    disk.open(&name)?.sync()?;
    disk.sync_folder()?;
    survey.end = Place::new(segment.ordinal, last.end);
    survey.head_end = last.index.points.first().map_or(FIRST_FRAME, |_| head_end(dir, id, &segment)).min(last.end);
    survey.next_sequence = last.index.next_sequence;
    survey.position.clone_from(&last.index.position);
    survey.time_us = last.index.last_time_us;
    survey.sides.extend(&last.index.sides);
    survey.next_offsets = last.index.next_offsets().collect();
    survey.heads = last.heads;
    survey.segments.push(Arc::new(Segment::new(segment.ordinal, segment.first_sequence, OPEN, Some(last.index))));
    Ok(survey)
}

fn head_end(dir: &Path, id: JournalId, segment: &Segment) -> u32 {
    let window = crate::window::Window::open(segment.path(dir), segment.ordinal, id);
    let header = window.and_then(|mut window| {
        let limit = window.length()?;
        window.header(FIRST_FRAME, limit).map_err(|stop| stop.damage(&segment.path(dir), FIRST_FRAME))
    });
    header.map_or(FIRST_FRAME, |header| FIRST_FRAME + header.length)
}

/// Cuts the journal at byte `end` of the first of `segments`, if that is a torn tail. `None`: there was nothing to cut.
fn cut(
    disk: &Disk,
    dir: &Path,
    id: JournalId,
    segments: &[Found],
    end: u32,
    stop: FrameError,
) -> Result<Option<Truncated>> {
    let torn = &segments[0];
    let torn_path = dir.join(segment_name(torn.ordinal, torn.first_sequence));
    let place = Place::new(torn.ordinal, end);
    for segment in segments {
        let from = if segment.ordinal == torn.ordinal { end } else { 0 };
        let path = dir.join(segment_name(segment.ordinal, segment.first_sequence));
        if proves_durable(&path, id, segment.ordinal, from, place)? {
            return Err(Error::damaged(&torn_path, u64::from(end), format!("{stop}, and it was durable once")));
        }
    }
    if end == 0 && torn.ordinal == 0 {
        // The first segment is durable before anything else happens, so its header cannot be torn.
        return Err(Error::damaged(&torn_path, 0, stop.to_string()));
    }
    let mut bytes = 0;
    for segment in segments[1..].iter().rev() {
        bytes += segment.length;
        disk.remove(&index_name(segment.ordinal))?;
        disk.remove(&segment_name(segment.ordinal, segment.first_sequence))?;
    }
    if end == 0 {
        disk.remove(&index_name(torn.ordinal))?;
        disk.remove(&segment_name(torn.ordinal, torn.first_sequence))?;
        bytes += torn.length;
    } else {
        bytes += erase_tail(disk, &segment_name(torn.ordinal, torn.first_sequence), u64::from(end))?;
    }
    disk.sync_folder()?;
    let file = segment_name(torn.ordinal, torn.first_sequence);
    Ok((bytes > 0).then_some(Truncated { file, at: u64::from(end), bytes }))
}

/// Overwrites what lies behind the end with zeros, so that nothing old can ever be taken for what follows. Answers the
/// bytes up to the last one that was not zero.
fn erase_tail(disk: &Disk, name: &str, end: u64) -> Result<u64> {
    const STEP: usize = 1 << 20;
    let file = disk.open(name)?;
    let (mut buffer, mut at, mut last) = (vec![0; STEP], end, end);
    loop {
        let read = read_at_most(file.file(), &file.path(), &mut buffer, at)?;
        if let Some(place) = buffer[..read].iter().rposition(|byte| *byte != 0) {
            last = at + place as u64 + 1;
            buffer[..=place].fill(0);
            file.write(&mut [IoSlice::new(&buffer[..=place])], at)?;
        }
        if read < STEP {
            break;
        }
        at += read as u64;
    }
    Ok(last - end)
}

/// Whether a frame header at or after `from` says that all before some place beyond `place` was durable when it was
/// written. The header alone is proof: nobody else writes one that checks at its place.
pub(crate) fn proves_durable(path: &Path, id: JournalId, ordinal: u32, from: u32, place: Place) -> Result<bool> {
    const STEP: usize = 1 << 20;
    let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
    let salter = Salter::frames(id);
    let magic = FRAME_MAGIC.to_le_bytes();
    let first = u64::from(from.max(FIRST_FRAME)).next_multiple_of(8);
    let (mut buffer, mut at) = (vec![0; STEP + FRAME_HEADER_BYTES], first);
    loop {
        let read = read_at_most(&file, path, &mut buffer, at)?;
        for slot in (0..read.min(STEP)).step_by(8) {
            let Some(bytes) = buffer[..read].get(slot..slot + FRAME_HEADER_BYTES) else { break };
            if bytes[..4] != magic {
                continue;
            }
            let Ok(here) = u32::try_from(at + slot as u64) else { return Ok(false) };
            let header = FrameHeader::decode(bytes, salter.salt(Place::new(ordinal, here)));
            if header.is_ok_and(|header| header.durable > place) {
                return Ok(true);
            }
        }
        if read < buffer.len() {
            return Ok(false);
        }
        at += STEP as u64;
    }
}

struct Sides {
    prepared: BTreeMap<String, SideFile>,
    next_number: u64,
    /// Names of files to delete.
    leftovers: Vec<String>,
}

/// Keeps side segments that frames refer to and those that are prepared; the others go.
fn survey_sides(disk: &Disk, dir: &Path, identity: &Identity, found: &Survey) -> Result<Sides> {
    let listing = Listing::read(dir)?;
    let known = listing.sides.iter().chain(&listing.dropped_sides).chain(&found.sides);
    let next_number = known.max().map_or(0, |number| number + 1);
    let mut sides = Sides { prepared: BTreeMap::new(), next_number, leftovers: Vec::new() };
    for number in listing.dropped_sides {
        if found.sides.contains(&number) {
            // Retention was interrupted before it deleted the segment that refers to it.
            disk.rename(&dropped_side_name(number), &side_name(number))?;
        } else {
            sides.leftovers.push(dropped_side_name(number));
        }
    }
    for number in listing.sides.into_iter().filter(|number| !found.sides.contains(number)) {
        match SideFile::reopen(disk, dir, identity.id, number) {
            Ok(Some(side)) => drop(sides.prepared.insert(side.info().id, side)),
            // Unfinished, down to a header that is not whole: its transaction will be read again.
            Ok(None) => sides.leftovers.push(side_name(number)),
            Err(Error::Damaged { at: 0, .. }) => sides.leftovers.push(side_name(number)),
            Err(error) => return Err(error),
        }
    }
    for number in &found.sides {
        let path = dir.join(side_name(*number));
        if !path.exists() {
            return Err(Error::damaged(&path, 0, "a side segment that the journal refers to is missing"));
        }
    }
    Ok(sides)
}
