//! Tables that are read whole, as of one exact place of the log: those without a key, whose rows have no names, and those of
//! which a query selects the rows.
//!
//! The stream waits while they are read; that is the price. Invariant: the rows stand in the
//! journal as of `as_of`, all of them or none, and changes up to that place are left out of the stream.

use super::Snapshot;
use super::TableState;
use super::row::RowPlan;
use super::select::chunk;
use crate::mysql::position::LogPlace;
use crate::mysql::server::read_lock;
use crate::mysql::wire::Connection;
use crate::snapshot::{self, Chosen, Ends, Place, SIDE};
use headwater_model::calendar::now_us;
use headwater_model::source::{Committed, HeldRows, Intake, StateUpdate};
use headwater_model::transaction::put_header;
use headwater_model::{Error, Origin, Result, Schema, TransactionBuilder, TransactionHeader};
use std::sync::Arc;

impl Snapshot {
    /// Reads those of `tables` that were not read before, and remembers as of which place each was.
    pub(super) fn read_whole(
        &mut self,
        tables: Vec<Arc<Schema>>,
        ends: Ends,
        chosen: &Chosen,
        intake: &mut dyn Intake,
    ) -> Result<()> {
        let mut unread = Vec::new();
        for schema in tables {
            match TableState::read(intake, &schema) {
                None if !chosen.reads(&schema) => {}
                None => unread.push((schema, false)),
                Some(state) if !state.finished => unread.push((schema, state.again)),
                Some(TableState { as_of: Some(place), .. }) => drop(self.read_as_of.insert(schema.id, (schema, place))),
                Some(_) => {}
            }
        }
        if unread.is_empty() {
            return Ok(());
        }
        if !intake.accepts_derived() {
            return Err(Error::reconnect(
                "the snapshot waits until the log has been read again to where followers are",
            ));
        }
        let (mut connection, place) = self.open_at_one_place(&unread)?;
        let mut rows = TransactionBuilder::default();
        let mut spilled = false;
        for (schema, again) in &unread {
            let held = if *again { Some(intake.rows(&schema.full_name(), intake.next_sequence())?) } else { None };
            let table = ToRead { schema, place: ends.place(schema.id), query: chosen.query(schema) };
            spilled |= self.read_table(&mut connection, &table, held, &mut rows, intake)?;
        }
        let mut header = Vec::new();
        let origin = Origin::BinlogSnapshot { file: &place.file, position: place.offset, gtid: "" };
        put_header(&mut header, &TransactionHeader { commit_us: now_us(), receive_us: now_us(), origin });
        let state = |(schema, _): &(Arc<Schema>, bool)| StateUpdate {
            key: TableState::key(schema),
            value: Some(TableState::read_as_of(schema, place.clone()).encode()),
        };
        let state: Vec<StateUpdate> = unread.iter().map(state).collect();
        let committed =
            Committed { header: &header, changes: &rows, position: &[], state: &state, schemas: &[], derived: true };
        match spilled {
            true => intake.append_side(SIDE, &committed)?,
            false => intake.append(&committed)?,
        }
        self.read_as_of.extend(unread.into_iter().map(|(schema, _)| (schema.id, (schema, place.clone()))));
        intake.flush()
    }

    /// A connection that sees the tables as of one place of the log, and that place. On MySQL the tables are locked for
    /// the milliseconds that it takes to begin.
    fn open_at_one_place(&self, tables: &[(Arc<Schema>, bool)]) -> Result<(Connection, LogPlace)> {
        let server = &self.chunks.reader().server;
        let failed = |error| server.error(error);
        let mut reading = server.connect()?;
        if reading.server().is_mariadb {
            let place = self.chunks.reader().begin_at_floor(&mut reading)?;
            return Ok((reading, place));
        }
        let mut locking = server.connect()?;
        let names = tables.iter().map(|(table, _)| (&*table.database, &*table.table));
        locking.execute(&read_lock(names)).map_err(failed)?;
        reading.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT").map_err(failed)?;
        let place = server.log_end(&mut locking)?;
        locking.execute("UNLOCK TABLES").map_err(failed)?;
        locking.close();
        Ok((reading, place))
    }

    /// Reads one table; answers whether any of it has left memory. Of a table that was read before (`held`) only what
    /// differs is written.
    fn read_table(
        &mut self,
        connection: &mut Connection,
        &ToRead { schema, place, query }: &ToRead<'_>,
        held: Option<Box<dyn HeldRows>>,
        rows: &mut TransactionBuilder,
        intake: &mut dyn Intake,
    ) -> Result<bool> {
        let server = self.chunks.reader().server.clone();
        let failed = |error| server.error(error);
        let text = query.map_or_else(|| chunk(schema, false, false, 0), str::to_owned);
        let statement = connection.prepare(&text).map_err(failed)?;
        let mut result = connection.execute_prepared(&statement, &[]).map_err(failed)?;
        let plan = match query {
            None => RowPlan::new(schema, result.columns()),
            Some(_) => RowPlan::named(schema, result.columns())?,
        };
        let mut table = snapshot::WholeTable::new(schema, place, held, self.tells_again, rows);
        let mut read = Vec::new();
        while let Some(packet) = result.next_row().map_err(failed)? {
            read.clear();
            if let Err((column, what)) = plan.transcode(packet, &mut read) {
                return Err(super::chunk::bad_row(schema, column, what));
            }
            table.take(&read, intake)?;
            self.chunks.count(1);
        }
        table.end(query.is_some(), intake)
    }
}

/// A table to be read.
struct ToRead<'t> {
    schema: &'t Schema,
    place: Place,
    query: Option<&'t str>,
}
