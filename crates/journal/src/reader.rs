//! Reads the journal in order, from any sequence, offset or time, by itself and with a bounded buffer.
//!
//! Invariant: a reader never sees past what is visible, and never skips: what it cannot read stops it. Start at
//! [`Reader::next`].

use crate::error::{Error, Result};
use crate::frame::{Frame, FrameError, FrameHeader, Kind};
use crate::heads::{Heads, Topic, TopicId};
use crate::identity::{Identity, JournalId};
use crate::layout::{IDENTITY, Listing, SegmentHeader};
use crate::place::Place;
use crate::recover::proves_durable;
use crate::segment::{FIRST_FRAME, OPEN, Segment, heads_before};
use crate::shared::Shared;
use crate::side::{SidePart, SideStream};
use crate::window::{Stop, Window};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At the first frame kept.
    Earliest,
    /// At the frame that holds this sequence; transactions before it in the same frame are the caller's to skip.
    Sequence(u64),
    /// After all that is visible.
    End,
    /// At the frame that holds this offset.
    Offset {
        /// The topic.
        topic: TopicId,
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
    },
    /// At the first frame that was written at or after this time, in µs since 1970.
    Time(u64),
}

/// What a reader gives.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// Whole transactions.
    Frame(Frame<'a>),
    /// A part of one large transaction. Its parts follow each other, the last one says so.
    Part(SidePart<'a>),
}

#[derive(Debug)]
enum Origin {
    /// In the writer's process.
    Live(Arc<Shared>),
    /// In any process; the end is where no frame follows.
    Folder,
}

/// A reader. Holds one file and one buffer.
#[derive(Debug)]
pub struct Reader {
    origin: Origin,
    dir: PathBuf,
    id: JournalId,
    segment: Arc<Segment>,
    window: Window,
    at: u32,
    sequence: u64,
    heads: Heads,
    /// Parts that end before this sequence are stepped over.
    wanted: u64,
    side: Option<SideStream>,
}

/// Opens a reader on the folder of a journal that may be written to by another process, or by none. Takes no lock and
/// changes nothing. It may see frames that are not durable yet.
pub fn read_folder(dir: &Path, from: From) -> Result<Reader> {
    let missing = || Error::Invalid(format!("there is no journal in {}", dir.display()));
    let id = Identity::load(dir)?.ok_or_else(missing)?.id;
    let segments = folder_segments(dir)?;
    if segments.is_empty() {
        return Err(Error::damaged(&dir.join(IDENTITY), 0, "the journal has no segments"));
    }
    Reader::open(Origin::Folder, dir.to_owned(), id, &segments, from)
}

fn folder_segments(dir: &Path) -> Result<Vec<Arc<Segment>>> {
    let listing = Listing::read(dir)?.segments;
    Ok(listing.into_iter().map(|(ordinal, first)| Arc::new(Segment::new(ordinal, first, OPEN, None))).collect())
}

impl Reader {
    pub(crate) fn live(shared: Arc<Shared>, from: From) -> Result<Self> {
        let (dir, id, segments) = (shared.dir.clone(), shared.identity.id, shared.segments());
        Reader::open(Origin::Live(shared), dir, id, &segments, from)
    }

    fn open(origin: Origin, dir: PathBuf, id: JournalId, segments: &[Arc<Segment>], from: From) -> Result<Self> {
        let place = Seek { origin: &origin, dir: &dir, id, segments }.segment(from)?;
        let segment = Arc::clone(&segments[place]);
        let window = open_window(&dir, id, &segment)?;
        let (at, sequence, heads, wanted) = (FIRST_FRAME, segment.first_sequence, Heads::default(), 0);
        let mut reader = Reader { origin, dir, id, segment, window, at, sequence, heads, wanted, side: None };
        reader.seek(from)?;
        Ok(reader)
    }

    /// Heads as they stand just before what the first [`Self::next`] gives. Later frames bring their own changes.
    pub fn heads(&self) -> &Heads {
        &self.heads
    }

    /// Topics, likewise.
    pub fn topics(&self) -> &[Topic] {
        self.heads.topics()
    }

    /// Gives the memory of the heads back, once the caller has taken what it needs.
    pub fn take_heads(&mut self) -> Heads {
        std::mem::take(&mut self.heads)
    }

    /// Sequence of the first change of what [`Self::next`] gives.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The next frame or part; `None` when nothing more is visible now. Never blocks on the writer.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Item<'_>>> {
        if self.side.as_ref().is_some_and(SideStream::is_done) {
            self.side = None;
            self.at += self.header_here()?.length;
        }
        let Some((limit, header)) = self.advance()? else { return Ok(None) };
        if header.kind == Kind::Side && self.side.is_none() {
            self.open_side(limit)?;
        }
        let frame = self.window.expect_frame(self.at, limit)?;
        match &mut self.side {
            Some(side) => {
                let part = side.next(frame)?;
                self.sequence = part.first_sequence + u64::from(part.changes);
                Ok(Some(Item::Part(part)))
            }
            None => {
                self.at += header.length;
                self.sequence = frame.next_sequence();
                Ok(Some(Item::Frame(frame)))
            }
        }
    }

    /// Waits until there is more to read. `false`: the deadline came first. A folder's reader only waits a moment, and
    /// answers `true` when it is worth looking again.
    pub fn wait(&self, deadline: Instant) -> Result<bool> {
        const FOLDER_POLL: Duration = Duration::from_millis(50);
        match &self.origin {
            _ if self.side.as_ref().is_some_and(|side| !side.is_done()) => Ok(true),
            Origin::Live(shared) => {
                // A side transaction whose parts are all given still stands at its commit frame.
                let length = if self.side.is_some() { crate::frame::FRAME_HEADER_BYTES as u32 } else { 0 };
                let here = Place::new(self.segment.ordinal, self.at + length);
                shared.wait_visible(deadline, |visible, _| visible > here)
            }
            Origin::Folder => {
                let left = deadline.saturating_duration_since(Instant::now());
                std::thread::sleep(left.min(FOLDER_POLL));
                Ok(!left.is_zero())
            }
        }
    }

    fn header_here(&mut self) -> Result<FrameHeader> {
        let (limit, _) = self.limit()?;
        let path = self.window.path.clone();
        self.window.header(self.at, limit).map_err(|stop| stop.damage(&path, self.at))
    }

    fn open_side(&mut self, limit: u64) -> Result<()> {
        let frame = self.window.expect_frame(self.at, limit)?;
        let (reference, first) = (frame.side(), frame.first_sequence);
        if let Some(reference) = reference {
            let mut side = SideStream::open(&self.dir, self.id, reference)?;
            if self.wanted > first {
                side.skip_to(first, self.wanted)?;
            }
            self.side = Some(side);
        }
        Ok(())
    }

    /// Moves to the next frame that is for readers, into the next segment where this one ended. `None`: there is none.
    fn advance(&mut self) -> Result<Option<(u64, FrameHeader)>> {
        let mut looked_again = false;
        loop {
            let (limit, ended) = self.limit()?;
            if u64::from(self.at) >= limit && !matches!(self.origin, Origin::Folder) {
                if !ended {
                    return Ok(None);
                }
                self.next_segment()?;
                continue;
            }
            let stop = match self.window.header(self.at, limit) {
                Ok(header) if header.kind == Kind::SegmentHead => {
                    self.at += header.length;
                    continue;
                }
                Ok(header) => match (&self.origin, self.window.frame(self.at, limit)) {
                    (Origin::Live(_), _) | (Origin::Folder, Ok(_)) => return Ok(Some((limit, header))),
                    (Origin::Folder, Err(stop)) => stop,
                },
                Err(stop) => stop,
            };
            match (&self.origin, stop) {
                (Origin::Folder, Stop::Bad(bad)) if !matches!(bad, FrameError::Version(_)) => {
                    if !self.after_folder_end(bad, &mut looked_again)? {
                        return Ok(None);
                    }
                }
                (_, stop) => return Err(stop.damage(&self.window.path, self.at)),
            }
        }
    }

    /// How far this segment may be read, and whether no more will be written to it.
    fn limit(&self) -> Result<(u64, bool)> {
        match &self.origin {
            Origin::Folder => Ok((self.window.length()?, false)),
            Origin::Live(shared) => {
                let visible = shared.visible();
                if visible.ordinal() > self.segment.ordinal {
                    Ok((u64::from(self.segment.end().unwrap_or(self.at)), true))
                } else if visible.ordinal() == self.segment.ordinal {
                    Ok((u64::from(visible.at()), false))
                } else {
                    Ok((u64::from(self.at), false))
                }
            }
        }
    }

    fn next_segment(&mut self) -> Result<()> {
        let ordinal = self.segment.ordinal + 1;
        let segments = match &self.origin {
            Origin::Live(shared) => shared.segments(),
            Origin::Folder => folder_segments(&self.dir)?,
        };
        let next = segments.iter().find(|segment| segment.ordinal == ordinal).ok_or_else(|| Error::Trimmed {
            wanted: self.sequence,
            first: segments.first().map_or(self.sequence, |segment| segment.first_sequence),
        })?;
        self.window = open_window(&self.dir, self.id, next)?;
        self.segment = Arc::clone(next);
        self.at = FIRST_FRAME;
        Ok(())
    }

    /// A folder's reader found no frame. `true`: look again, there or in the next segment. `false`: the journal ends.
    fn after_folder_end(&mut self, stop: FrameError, looked_again: &mut bool) -> Result<bool> {
        // What is in the buffer may be older than what the writer has written since.
        self.window.forget();
        let ordinal = self.segment.ordinal + 1;
        let next = folder_segments(&self.dir)?.into_iter().find(|segment| segment.ordinal == ordinal);
        if let Some(next) = next {
            let window = open_window(&self.dir, self.id, &next)?;
            let header = SegmentHeader::load(&window.file, &window.path, self.id, ordinal, next.first_sequence)?;
            return match header {
                // Being created this moment.
                Err(_) => Ok(false),
                Ok(header) if header.previous_end == self.at => self.next_segment().map(|()| true),
                Ok(_) if !*looked_again => {
                    *looked_again = true;
                    Ok(true)
                }
                Ok(_) => Err(Error::damaged(&self.window.path, u64::from(self.at), stop.to_string())),
            };
        }
        let here = Place::new(self.segment.ordinal, self.at);
        let damaged = stop != FrameError::Empty
            && proves_durable(&self.window.path, self.id, self.segment.ordinal, self.at, here)?;
        if damaged {
            return Err(Error::damaged(&self.window.path, u64::from(self.at), stop.to_string()));
        }
        Ok(false)
    }

    /// Moves inside the segment to where `from` says, and reads the heads that hold there.
    fn seek(&mut self, from: From) -> Result<()> {
        let (dir, id, segment) = (self.dir.clone(), self.id, Arc::clone(&self.segment));
        let start = match from {
            From::Earliest => None,
            From::Sequence(sequence) => segment.with_index(&dir, id, |index| index.by_sequence(sequence))?,
            From::Time(time_us) => segment.with_index(&dir, id, |index| index.by_time(time_us))?,
            From::Offset { topic, partition, offset } => {
                segment.with_index(&dir, id, |index| index.by_offset(topic, partition, offset))?
            }
            From::End => segment.with_index(&dir, id, |index| index.points.last().map(|point| point.at))?,
        };
        // What the index knows of may not be visible yet.
        let (limit, _) = self.limit()?;
        self.at = start.filter(|at| u64::from(*at) < limit).unwrap_or(FIRST_FRAME);
        self.wanted = if let From::Sequence(sequence) = from { sequence } else { 0 };
        self.sequence = segment.first_sequence;
        while let Some((limit, _)) = self.advance_within(segment.ordinal)? {
            let frame = self.window.expect_frame(self.at, limit)?;
            let found = match from {
                From::Earliest => true,
                From::Sequence(sequence) => frame.next_sequence() > sequence,
                From::Time(time_us) => frame.time_us >= time_us,
                From::Offset { topic, partition, offset } => frame.offsets().any(|range| {
                    (range.topic, range.partition) == (topic, partition)
                        && range.first + u64::from(range.count) > offset
                }),
                From::End => false,
            };
            if found {
                self.sequence = frame.first_sequence;
                break;
            }
            self.sequence = frame.next_sequence();
            self.at += frame.header.length;
        }
        let updates = segment.with_index(&dir, id, |index| index.updates.clone())?;
        if self.segment.ordinal == segment.ordinal {
            // Not past here: what is not visible yet must not get into the buffer, where it would grow stale.
            self.heads = heads_before(&mut self.window, &updates, self.at, u64::from(self.at))?;
        }
        Ok(())
    }

    /// Like [`Self::advance`], but stays in the segment.
    fn advance_within(&mut self, ordinal: u32) -> Result<Option<(u64, FrameHeader)>> {
        debug_assert_eq!(self.segment.ordinal, ordinal);
        let (limit, _) = self.limit()?;
        loop {
            if u64::from(self.at) >= limit {
                return Ok(None);
            }
            match self.window.frame(self.at, limit) {
                Ok(frame) if frame.header.kind == Kind::SegmentHead => self.at += frame.header.length,
                Ok(frame) => return Ok(Some((limit, frame.header))),
                Err(Stop::Bad(FrameError::Version(_))) | Err(Stop::Failed(_)) => {
                    return self.window.expect_frame(self.at, limit).map(|_| None);
                }
                Err(stop) if matches!(self.origin, Origin::Live(_)) => {
                    return Err(stop.damage(&self.window.path, self.at));
                }
                // A folder's end; whether it is damage is judged when the reader comes to it.
                Err(_) => return Ok(None),
            }
        }
    }
}

fn open_window(dir: &Path, id: JournalId, segment: &Segment) -> Result<Window> {
    let path = segment.path(dir);
    Window::open(path.clone(), segment.ordinal, id).map_err(|error| match error {
        // Retention was here between the look at the list and now; what it keeps begins later.
        Error::Io { .. } if !path.exists() => {
            Error::Trimmed { wanted: segment.first_sequence, first: segment.first_sequence + 1 }
        }
        other => other,
    })
}

/// Finds the segment to begin in.
struct Seek<'a> {
    origin: &'a Origin,
    dir: &'a Path,
    id: JournalId,
    segments: &'a [Arc<Segment>],
}

impl Seek<'_> {
    fn segment(&self, from: From) -> Result<usize> {
        let last = self.segments.len() - 1;
        match from {
            From::Earliest => Ok(0),
            From::End => Ok(self.visible_segment()),
            From::Sequence(sequence) => self.by_sequence(sequence),
            From::Time(time_us) => {
                let after = self.partition_point(|index| index.last_time_us < time_us)?;
                Ok(after.min(self.visible_segment()))
            }
            From::Offset { topic, partition, offset } => {
                let key = (topic, partition);
                let bounds = |number: usize| {
                    self.segments[number].with_index(self.dir, self.id, |index| {
                        index.tracks.get(&key).map_or((0, 0), |track| (track.first, track.next))
                    })
                };
                let (first, next) = (bounds(0)?.0, bounds(last)?.1);
                if offset < first {
                    return Err(Error::Trimmed { wanted: offset, first });
                }
                if offset > next {
                    return Err(Error::NotYet { wanted: offset, next });
                }
                let after =
                    self.partition_point(|index| index.tracks.get(&key).is_none_or(|track| track.next <= offset))?;
                Ok(after.min(last))
            }
        }
    }

    fn by_sequence(&self, sequence: u64) -> Result<usize> {
        let first = self.segments[0].first_sequence;
        if sequence < first {
            return Err(Error::Trimmed { wanted: sequence, first });
        }
        let next = match self.origin {
            Origin::Live(shared) => shared.visible_sequence(),
            Origin::Folder => {
                let last = &self.segments[self.segments.len() - 1];
                last.with_index(self.dir, self.id, |index| index.next_sequence)?
            }
        };
        if sequence > next {
            return Err(Error::NotYet { wanted: sequence, next });
        }
        let after = self.segments.partition_point(|segment| segment.first_sequence <= sequence);
        Ok(after.saturating_sub(1).min(self.visible_segment()))
    }

    /// The number of the last segment of which something is visible.
    fn visible_segment(&self) -> usize {
        let last = self.segments.len() - 1;
        match self.origin {
            Origin::Folder => last,
            Origin::Live(shared) => {
                let visible = shared.visible().ordinal();
                self.segments.iter().position(|segment| segment.ordinal == visible).unwrap_or(last)
            }
        }
    }

    /// Like `slice::partition_point`, over indexes that are read only where it looks.
    fn partition_point(&self, before: impl Fn(&crate::index::Index) -> bool) -> Result<usize> {
        let (mut low, mut high) = (0, self.segments.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.segments[middle].with_index(self.dir, self.id, &before)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}
