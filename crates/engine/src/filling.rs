//! Fills an empty target with the rows that the journal stands for, out of the store.
//!
//! The rows come as reads, numbered from zero; as the store holds at most one row for each change, the numbers stay below
//! the sequence that the target goes on from. Invariant: until the last row is applied the target's progress says
//! [`FILLING`], which no journal knows; so after a crash in the middle the target is emptied and filled again. Start at
//! [`Session::fill`].

use crate::follower::WAIT;
use crate::session::{FILLING, Session};
use headwater_model::calendar::now_us;
use headwater_model::limits::{BATCH_BYTES_MAX, BATCH_CHANGES_MAX};
use headwater_model::sink::{Batch, Event, Rejected, Written};
use headwater_model::{
    Change, Error, JournalId, Kind, Op, Origin, Progress, Result, Row, Schema, SnapshotMarker, TransactionHeader,
};
use headwater_store::{StoredRow, View};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the status tells how far a filling has come.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// Rows on their way, numbered.
struct Numbered {
    number: u64,
    row: StoredRow,
    marker: SnapshotMarker,
}

/// The rows of the followed tables in one order, which is the same whenever they are walked.
struct Filling {
    view: View,
    tables: Vec<(String, u64)>,
    total: u64,
    next: u64,
}

impl Session<'_> {
    /// Hands over every row of the followed tables, and then says where the target goes on. `None`: it was interrupted,
    /// and begins again from nothing.
    pub fn fill(&mut self) -> Result<Option<u64>> {
        let shared = self.follows.shared;
        // From here on the journal is needed; the rows are of this moment or a later one.
        shared.set_needs(self.follows.journal.visible_sequence());
        shared.set_state("filling");
        let mut filling = Filling::new(self.follows.rows.view(&[], &shared.stop)?, &*self.follows.spec.tables)?;
        shared.status().filled_rows = Some((0, filling.total));
        tracing::info!(sink = %shared.name, rows = filling.total, sequence = filling.view.sequence(), "filling the target");
        let mut told = Instant::now();
        let tables = filling.tables.clone();
        let mut batch = Vec::new();
        let mut bytes = 0;
        for (table, _) in &tables {
            for row in filling.view.rows(table) {
                let (_, row) = row.map_err(refused)?;
                for _ in 0..row.count {
                    let marker = filling.marker(table);
                    bytes += row.row.len();
                    batch.push(Numbered { number: filling.next, row: row.clone(), marker });
                    filling.next += 1;
                    if bytes >= BATCH_BYTES_MAX || batch.len() >= BATCH_CHANGES_MAX {
                        if !self.hand_over(&batch, &filling)? {
                            return Ok(None);
                        }
                        (batch, bytes) = (Vec::new(), 0);
                        if told.elapsed() >= TELL_EVERY {
                            told = Instant::now();
                            shared.status().filled_rows = Some((filling.next, filling.total));
                        }
                    }
                }
            }
        }
        if !batch.is_empty() && !self.hand_over(&batch, &filling)? {
            return Ok(None);
        }
        self.end_filling(&filling).map(Some)
    }

    /// Hands rows over. `false`: something else is wanted of the follower now.
    fn hand_over(&mut self, rows: &[Numbered], filling: &Filling) -> Result<bool> {
        let shared = self.follows.shared;
        while shared.is_paused() && !shared.is_to_be_rebuilt() && !shared.is_dropped() {
            shared.status().state = "paused".into();
            shared.stop.pause(WAIT);
        }
        if shared.stop.is_stopped() || shared.is_to_be_rebuilt() || shared.is_dropped() {
            return Ok(false);
        }
        shared.status().state = "filling".into();
        let now_us = now_us();
        let header = TransactionHeader { commit_us: now_us, receive_us: now_us, origin: Origin::Headwater };
        let events = rows.iter().map(|row| filling.event(row, &header)).collect::<Result<Vec<_>>>()?;
        let end = rows.last().map_or(0, |row| row.number + 1);
        let progress = Progress { journal: JournalId(self.follows.journal.id().0), epoch: FILLING, sequence: end };
        let mut events = events;
        loop {
            fail::fail_point!("engine::before_fill_write");
            match self.sink.write(&Batch { events: &events, progress }) {
                Ok(written) => {
                    self.keep_refused_rows(&written, filling)?;
                    return Ok(true);
                }
                // Reconnecting would begin the filling again, and come here again.
                Err(error) if matches!(error.kind(), Kind::RejectRows(rows) if !rows.is_empty()) => {
                    let before = events.len();
                    self.keep_refused(&error, &events)?;
                    self.park(&mut events)?;
                    if events.len() == before {
                        return Err(Error::stop("the target refuses rows that it was not given").source(error));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Everything is handed over: now the target may say that it goes on in the journal.
    fn end_filling(&mut self, filling: &Filling) -> Result<u64> {
        let written = self.sink.flush()?;
        self.keep_refused_rows(&written, filling)?;
        self.next = filling.view.sequence();
        let written = self.sink.write(&Batch { events: &[], progress: self.progress() })?;
        self.keep_refused_rows(&written, filling)?;
        let written = self.sink.flush()?;
        self.keep_refused_rows(&written, filling)?;
        tracing::info!(sink = %self.follows.shared.name, rows = filling.total, "the target is filled");
        Ok(self.next)
    }

    /// Rows that were refused may be of an earlier batch: they are found again by their number.
    fn keep_refused_rows(&mut self, written: &Written, filling: &Filling) -> Result<()> {
        let Some(through) = written.rejected.iter().map(|row| row.sequence).max() else { return Ok(()) };
        let header = TransactionHeader { commit_us: now_us(), receive_us: now_us(), origin: Origin::Headwater };
        for Rejected { sequence, reason } in &written.rejected {
            tracing::warn!(sink = %self.follows.shared.name, row = sequence, %reason, "the target refuses a row");
            let row = filling.find(*sequence)?;
            self.follows.shared.letters().keep(&filling.event(&row, &header)?, reason)?;
        }
        self.count_letters();
        self.sink.rejected_are_kept(through)
    }
}

impl Filling {
    /// Of the tables that are wanted. Counts their rows, which reads them all once.
    fn new(view: View, wanted: &dyn Fn(&Schema) -> bool) -> Result<Filling> {
        let followed = view.tables().iter().filter(|(_, schema)| wanted(schema)).map(|(table, _)| table.clone());
        let count = |table: String| view.count(&table).map(|count| (table, count)).map_err(refused);
        let tables = followed.map(count).collect::<Result<Vec<_>>>()?;
        let total = tables.iter().map(|(_, count)| count).sum();
        Ok(Filling { view, tables, total, next: 0 })
    }

    /// The marker of the next row, which is of `table`.
    fn marker(&self, table: &str) -> SnapshotMarker {
        let mut begins = 0;
        let place = self.tables.iter().find_map(|(name, count)| {
            let first = begins;
            begins += count;
            (name == table).then_some((first, first + count))
        });
        let (first, end) = place.unwrap_or((0, 0));
        match self.next {
            0 => SnapshotMarker::First,
            next if next + 1 == self.total => SnapshotMarker::Last,
            next if next == first => SnapshotMarker::FirstInDataCollection,
            next if next + 1 == end => SnapshotMarker::LastInDataCollection,
            _ => SnapshotMarker::True,
        }
    }

    fn event<'e>(&'e self, row: &'e Numbered, header: &'e TransactionHeader<'e>) -> Result<Event<'e>> {
        let damaged = || Error::stop("the row store holds a row that cannot be read");
        let schema: &Arc<Schema> = self.view.schema(row.row.schema).ok_or_else(damaged)?;
        let after: Row<'_> = row.row.row().ok_or_else(damaged)?;
        let change = Change {
            op: Op::Read,
            schema: row.row.schema,
            place: 0,
            row: u32::try_from(row.number).unwrap_or(u32::MAX),
            statement: None,
            marker: Some(row.marker),
            before: None,
            after: Some(after),
            message: None,
        };
        Ok(Event { sequence: row.number, change, schema, header })
    }

    /// The row with this number.
    fn find(&self, number: u64) -> Result<Numbered> {
        let mut passed = 0;
        for (table, count) in &self.tables {
            if passed + count <= number {
                passed += count;
                continue;
            }
            for row in self.view.rows(table) {
                let (_, row) = row.map_err(refused)?;
                passed += row.count;
                if passed > number {
                    return Ok(Numbered { number, row, marker: SnapshotMarker::True });
                }
            }
        }
        Err(Error::stop(format!("the target refused row {number}, which it was never given")))
    }
}

fn refused(error: headwater_store::Error) -> Error {
    match error {
        headwater_store::Error::Storage { .. } => Error::reconnect("the row store refuses").source(error),
        _ => Error::stop("the row store refuses").source(error),
    }
}
