//! Begins a segment: takes a zeroed file if one is ready, writes its header, and repeats all heads, topics and next
//! offsets in its first frame.
//!
//! Invariant: the head says what holds *before* the frame that follows, so that losing that frame loses nothing else.
//! Start at [`begin_segment`].

use crate::disk::DiskFile;
use crate::error::Result;
use crate::frame::{Kind, OffsetRange};
use crate::heads::Heads;
use crate::index::{Index, Seen};
use crate::layout::{NEXT, SegmentHeader, segment_name};
use crate::options::FIRST_SEGMENT_BYTES;
use crate::pending::{Pending, Stamp};
use crate::place::{Place, Salter};
use crate::segment::{FIRST_FRAME, OPEN, Segment};
use crate::shared::{Shared, SyncFile};
use crate::tidy::write_zeros;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// What a segment begins with.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub ordinal: u32,
    pub first_sequence: u64,
    pub previous_end: u32,
    pub position: &'a [u8],
    pub heads: &'a Heads,
    pub next_offsets: Vec<OffsetRange>,
    pub time_us: u64,
}

/// The segment that is written to.
#[derive(Debug)]
pub(crate) struct Active {
    pub file: Arc<SyncFile>,
    pub segment: Arc<Segment>,
    /// Where the next frame goes.
    pub at: u32,
    /// Where the first frame after the head lies.
    pub first_at: u32,
    /// A frame that would end beyond this opens the next segment.
    pub size: u32,
    pub begun: Instant,
}

/// Creates the file and writes its head; nothing else knows of it yet.
pub(crate) fn begin_segment(shared: &Shared, start: &Start<'_>) -> Result<Active> {
    fail::fail_point!("journal::roll");
    let file = open_file(shared, start)?;
    write_head(shared, start, file).inspect_err(|_| {
        // Without its head the segment is nothing, and its room may be what is missing.
        let _ = shared.disk.remove(&segment_name(start.ordinal, start.first_sequence));
    })
}

fn open_file(shared: &Shared, start: &Start<'_>) -> Result<DiskFile> {
    let name = segment_name(start.ordinal, start.first_sequence);
    if let Some(zeroed) = shared.tidy.take_zeroed(&shared.disk, &name)? {
        return Ok(zeroed);
    }
    if start.ordinal == 0 {
        // Nothing stands before the first segment, so it gets its name only when its head is durable.
        let file = shared.disk.create(NEXT)?;
        write_zeros(&file, 0, u64::from(size_of(shared, 0)), || false)?;
        return Ok(file);
    }
    shared.disk.create(&name)
}

fn name_first(shared: &Shared, start: &Start<'_>, file: DiskFile) -> Result<DiskFile> {
    let name = segment_name(start.ordinal, start.first_sequence);
    file.sync()?;
    shared.disk.rename(NEXT, &name)?;
    shared.disk.sync_folder()?;
    Ok(file.renamed(&name))
}

pub(crate) fn size_of(shared: &Shared, ordinal: u32) -> u32 {
    let size = shared.options.segment_bytes();
    if ordinal == 0 { size.min(FIRST_SEGMENT_BYTES) } else { size }
}

fn write_head(shared: &Shared, start: &Start<'_>, file: DiskFile) -> Result<Active> {
    let identity = &shared.identity;
    let header = SegmentHeader {
        ordinal: start.ordinal,
        id: identity.id,
        first_sequence: start.first_sequence,
        time_us: start.time_us,
        previous_end: start.previous_end,
        epoch: identity.epoch(),
    };
    let mut head = Pending::new(Kind::SegmentHead, start.first_sequence, start.position.to_vec());
    start.heads.put_all(&mut head.updates);
    head.table.extend(start.next_offsets.iter());
    head.close(&shared.options);
    let place = Place::new(start.ordinal, FIRST_FRAME);
    let frame = head.stamp(Stamp {
        time_us: start.time_us,
        epoch: identity.epoch(),
        durable: shared.durable(),
        salt: Salter::frames(identity.id).salt(place),
    });
    file.write(&mut [IoSlice::new(&header.encode())], 0)?;
    file.write(&mut head.pieces(&frame), u64::from(FIRST_FRAME))?;
    let file = if start.ordinal == 0 { name_first(shared, start, file)? } else { file };
    let mut index = Index::default();
    let seen = Seen {
        at: FIRST_FRAME,
        length: frame.length,
        first_sequence: start.first_sequence,
        changes: 0,
        time_us: start.time_us,
        position: start.position,
        has_updates: frame.heads_len > 0,
        side: None,
    };
    index.observe(&seen, start.next_offsets.iter().copied());
    let at = FIRST_FRAME + frame.length;
    let segment = Arc::new(Segment::new(start.ordinal, start.first_sequence, OPEN, Some(index)));
    let file = Arc::new(SyncFile { file, segment: Arc::clone(&segment), is_new: AtomicBool::new(true) });
    Ok(Active { file, segment, at, first_at: at, size: size_of(shared, start.ordinal), begun: Instant::now() })
}
