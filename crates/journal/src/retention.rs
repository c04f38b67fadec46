//! Deletes old segments: those that are due by size or age, behind every follower, and far enough behind the slowest.
//!
//! Invariant: a segment goes only when a later one is durable, so that a journal never loses its heads and its position.
//! Start at [`apply`].

use crate::error::{Error, Result};
use crate::layout::{dropped_side_name, index_name, segment_name, side_name};
use crate::segment::Segment;
use crate::shared::Shared;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// What retention did, and who held it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionReport {
    /// Segments deleted.
    pub deleted_segments: u32,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// The first sequence kept now.
    pub first_sequence: u64,
    /// Bytes that are due but that the slowest follower has not passed.
    pub held_bytes: u64,
    /// Whether those exceed the limit: the slowest follower must be dropped, or the source stopped.
    pub limit_reached: bool,
}

/// Deletes what may go.
pub(crate) fn apply(shared: &Shared, needed: Option<u64>) -> Result<RetentionReport> {
    if shared.closed.load(Ordering::Acquire) {
        return Err(Error::Closed);
    }
    let rules = &shared.options.retention;
    let now_us = (shared.options.clock_us)();
    let older =
        |time_us: u64, than: std::time::Duration| u128::from(now_us.saturating_sub(time_us)) >= than.as_micros();
    let segments = shared.segments();
    let sizes: Vec<u64> = segments.iter().map(|segment| segment.end().map_or(0, u64::from)).collect();
    let active_bytes = u64::from(shared.marks().written.place.at());
    let mut bytes_left: u64 = sizes.iter().sum::<u64>() + active_bytes;
    let mut report = RetentionReport::default();
    let durable_ordinal = shared.durable().ordinal();
    // Bytes between the segment's end and the slowest follower, counted in whole segments.
    let passed = |index: usize| needed.is_none_or(|needed| next_first(&segments, index) <= needed);
    let passed_bytes: u64 = (0..segments.len()).filter(|index| passed(*index)).map(|index| sizes[index]).sum();
    let (mut behind, mut held) = (passed_bytes, false);
    for (index, segment) in segments.iter().enumerate() {
        if segment.ordinal >= durable_ordinal {
            break;
        }
        let time_us = segment.with_index(&shared.dir, shared.identity.id, |index| index.last_time_us)?;
        let by_size = rules.bytes.is_some_and(|bytes| bytes_left > bytes);
        let by_age = rules.age.is_some_and(|age| older(time_us, age));
        if !by_size && !by_age {
            break;
        }
        bytes_left -= sizes[index];
        held |= !passed(index);
        if held {
            report.held_bytes += sizes[index];
            continue;
        }
        behind -= sizes[index];
        let kept_for_slowest = needed.is_some() && behind < rules.keep_bytes && !older(time_us, rules.keep_age);
        if kept_for_slowest {
            break;
        }
        delete(shared, segment)?;
        report.deleted_segments += 1;
        report.deleted_bytes += sizes[index];
    }
    report.limit_reached = rules.hold_bytes_max.is_some_and(|limit| report.held_bytes > limit);
    report.first_sequence = shared.first_sequence();
    Ok(report)
}

fn next_first(segments: &[std::sync::Arc<Segment>], index: usize) -> u64 {
    segments.get(index + 1).map_or(u64::MAX, |next| next.first_sequence)
}

/// Deletes the oldest segment and the side segments it refers to.
fn delete(shared: &Shared, segment: &Segment) -> Result<()> {
    fail::fail_point!("journal::retention");
    let disk = &shared.disk;
    let sides = segment.with_index(&shared.dir, shared.identity.id, |index| index.sides.clone())?;
    // Readers first lose sight of it, then it goes; those that have it open keep it until they are through.
    let mut segments = shared.segments.write().unwrap_or_else(PoisonError::into_inner);
    segments.retain(|other| other.ordinal != segment.ordinal);
    drop(segments);
    for number in &sides {
        // Renamed before the segment goes: were it deleted after, a crash in between would leave a prepared one that
        // nothing refers to, and it would be taken for undecided.
        disk.rename(&side_name(*number), &dropped_side_name(*number))?;
    }
    if !sides.is_empty() {
        disk.sync_folder()?;
    }
    disk.remove(&segment_name(segment.ordinal, segment.first_sequence))?;
    disk.remove(&index_name(segment.ordinal))?;
    sides.iter().for_each(|number| shared.tidy.remove(dropped_side_name(*number)));
    Ok(())
}
