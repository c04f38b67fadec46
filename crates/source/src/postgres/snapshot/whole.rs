//! Tables that are read whole, as of one place of the log: those without a key that can be told in SQL, those of which a
//! query selects the rows, and all of them where nothing is streamed.
//!
//! A slot that is being created exports a snapshot that holds exactly what was committed before the place from which the slot
//! streams. The tables are read in one transaction that sees it, one after the other, each into a side segment that joins
//! the journal when the table is whole; the stream goes on afterwards, and leaves out what a table's rows hold already.
//! Invariant: such a table stands in the journal whole or not at all, so a restart reads again only the tables that are
//! missing, as of a later place. While they are read the server keeps what its vacuum could remove. Start at [`read`].

use super::super::lsn::Lsn;
use super::super::slot;
use super::super::start;
use super::super::transaction::Transactions;
use super::super::wire::Connection;
use super::super::wire::query::quoted;
use super::super::{config::Options, failure};
use super::chunk::{Select, decode};
use super::{Place, TableState, ToRead, slot_name};
use crate::snapshot::{Ends, SIDE, WholeTable};
use headwater_model::calendar::now_us;
use headwater_model::source::{Committed, Intake, SourceReport, StateUpdate};
use headwater_model::transaction::put_header;
use headwater_model::{Error, Origin, Result, Schema, TransactionBuilder, TransactionHeader};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// How often the status page is told how far it is.
const REPORT: Duration = Duration::from_secs(1);

/// Reads these tables into the journal; answers how many rows they have. `xid` goes with the rows.
pub fn read(
    place: &Place<'_>,
    tables: Vec<ToRead>,
    ends: Ends,
    xid: u32,
    transactions: &mut Transactions,
    intake: &mut dyn Intake,
) -> Result<u64> {
    let (options, host) = (place.options, place.host);
    if !intake.accepts_derived() {
        return Err(Error::reconnect(format!(
            "source {}: the snapshot waits until the log has been read again to where followers are",
            options.name
        )));
    }
    let failed = |error| failure::of_connection(&options.name, error);
    let opened = |connection: &Connection| {
        place.cancellers.lock().unwrap_or_else(PoisonError::into_inner).push(connection.canceller());
    };
    let mut reading = start::connect_session(options, host)?;
    opened(&reading);
    let mut own;
    let created = match &place.created {
        Some(created) => created.clone(),
        None => {
            let mut host = host;
            own = start::connect(options, &mut host)?.0;
            opened(&own);
            // It waits for every transaction that runs now, however long that takes.
            own.set_read_timeout(None).map_err(failed)?;
            slot::create(&mut own, place.server, &slot_name(options), true, false).map_err(failed)?
        }
    };
    // From here on nobody else needs to keep the snapshot.
    let begin = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}",
        quoted(&created.snapshot)
    );
    reading.execute(&begin).map_err(failed)?;
    tracing::info!(source = options.name, tables = tables.len(), as_of = %created.consistent, "reading whole tables");
    let mut whole =
        Whole { options, title: place.server.title(), as_of: created.consistent, xid, rows: 0, reported_at: None };
    for ToRead { of, state, .. } in tables {
        let held = match state.is_some_and(|state| state.again) {
            true => Some(intake.rows(&of.schema.full_name(), intake.next_sequence())?),
            false => None,
        };
        let mut rows = TransactionBuilder::default();
        let place = ends.place(of.schema.id);
        let mut table = WholeTable::new(&of.schema, place, held, options.as_debezium, &mut rows);
        whole.read_table(&mut reading, &of, &mut table, intake)?;
        let is_spilled = table.end(options.snapshot_queries.contains_key(&of.schema.full_name()), intake)?;
        whole.append(&of.schema, &rows, is_spilled, intake)?;
        transactions.tables.was_read(&of.schema.database, &of.schema.table, whole.as_of);
    }
    reading.close();
    Ok(whole.rows)
}

/// Tables that are being read.
struct Whole<'o> {
    options: &'o Options,
    title: String,
    as_of: Lsn,
    xid: u32,
    rows: u64,
    reported_at: Option<Instant>,
}

impl Whole<'_> {
    fn read_table(
        &mut self,
        connection: &mut Connection,
        of: &Select,
        into: &mut WholeTable<'_>,
        intake: &mut dyn Intake,
    ) -> Result<()> {
        let failed = |error| failure::of_connection(&self.options.name, error);
        let query = self.options.snapshot_queries.get(&of.schema.full_name());
        let (mut plan, mut bytes) = (of.plan(), Vec::new());
        let mut rows = connection.query_rows(&query.cloned().unwrap_or_else(|| of.all())).map_err(failed)?;
        let places = query.map(|_| of.places_in(rows.columns()));
        while let Some(row) = rows.next_row().map_err(failed)? {
            if intake.stopping() {
                return Err(Error::reconnect(format!("source {}: the snapshot was interrupted", self.options.name)));
            }
            bytes.clear();
            decode(&mut plan, row, places.as_deref(), &of.schema, &self.options.name, &mut bytes)?;
            self.rows += 1;
            into.take(&bytes, intake)?;
            self.report(intake);
        }
        Ok(())
    }

    fn append(
        &mut self,
        schema: &Schema,
        rows: &TransactionBuilder,
        is_spilled: bool,
        intake: &mut dyn Intake,
    ) -> Result<()> {
        let now = now_us();
        let origin = Origin::WalSnapshot { xid: self.xid, lsn: self.as_of.0 };
        let mut header = Vec::new();
        put_header(&mut header, &TransactionHeader { commit_us: now, receive_us: now, origin });
        let value = Some(TableState::read_as_of(schema, self.as_of).encode());
        let committed = Committed {
            header: &header,
            changes: rows,
            position: &[],
            state: &[StateUpdate { key: TableState::key(schema), value }],
            schemas: &[],
            derived: true,
        };
        fail::fail_point!("postgres::snapshot");
        match is_spilled {
            true => intake.append_side(SIDE, &committed)?,
            false => intake.append(&committed)?,
        }
        intake.flush()
    }

    fn report(&mut self, intake: &mut dyn Intake) {
        let now = Instant::now();
        if self.reported_at.is_none_or(|at| now.duration_since(at) >= REPORT) {
            self.reported_at = Some(now);
            intake.report(SourceReport {
                phase: "snapshotting",
                server: self.title.clone(),
                position: self.as_of.to_string(),
                snapshot_rows: Some((self.rows, self.rows)),
            });
        }
    }
}
