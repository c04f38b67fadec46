//! The way into the journal: what a source appends becomes sequences, offsets and bytes.
//!
//! Invariant: a transaction, the position after it and the state that changes with it are one entry of the journal, so
//! that a restart finds all of them or none.

use crate::held::Held;
use crate::options::TopicsSpec;
use crate::projection::{Projection, RENDERING_HEAD};
use crate::rows::Rows;
use crate::schemas;
use crate::source::Shared;
use crate::unlogged::Unlogged;
use headwater_journal::{Entry, From, Head, Item, Journal, Part, Writer};
use headwater_model::calendar::now_us;
use headwater_model::change::{Change, Changes};
use headwater_model::source::{Committed, Edges, HeldRows, Intake, SidePart, SourceReport, StateUpdate};
use headwater_model::transaction::put_header;
use headwater_model::{Error, Origin, Result, Schema, TransactionBuilder, TransactionHeader, TransactionView};
use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a held source looks whether it may go on.
const HELD_RETRY: Duration = Duration::from_millis(200);
/// State keys of sources in the journal: `state/…`.
const STATE_PREFIX: &str = "state/";
/// How long to wait before a full disk is tried again.
const FULL_DISK_RETRY: Duration = Duration::from_secs(1);

/// A head's key and its new value; `None` removes it.
type OwnedHead = (Vec<u8>, Option<Vec<u8>>);

/// A source's journal.
pub struct JournalIntake {
    writer: Writer,
    journal: Journal,
    projection: Projection,
    shared: Arc<Shared>,
    rows: Arc<Rows>,
    /// After the last appended transaction, durable or not.
    position: Option<Vec<u8>>,
    next_schema: u32,
    heartbeat: Option<Heartbeat>,
    unlogged: Unlogged,
}

/// When the next record says that the source is alive.
struct Heartbeat {
    interval: Duration,
    next: Instant,
}

impl JournalIntake {
    /// Over an opened journal, whose last position was `position`. What is appended from now on stands in topics as `topics` says.
    pub fn new(
        mut writer: Writer,
        position: Option<Vec<u8>>,
        topics: &TopicsSpec,
        shared: Arc<Shared>,
        rows: Arc<Rows>,
        unlogged: Unlogged,
    ) -> Result<Self> {
        let journal = writer.journal();
        let described = serde_json::to_vec(&topics.rendering)
            .map_err(|error| Error::stop("the rendering of the source cannot be kept").source(error))?;
        let projection = Projection::new(topics.rendering.clone(), topics.partitions, &mut writer)?;
        let heartbeat = topics.heartbeat_interval.map(|interval| Heartbeat { interval, next: Instant::now() });
        let mut intake =
            JournalIntake { writer, journal, projection, shared, rows, position, next_schema: 1, heartbeat, unlogged };
        for schema in intake.read_schemas()? {
            intake.next_schema = intake.next_schema.max(schema.id + 1);
            intake.projection.add(&schema, &mut intake.writer)?;
            intake.unlogged.learn(&schema)?;
        }
        intake.keep_rendering(&described)?;
        Ok(intake)
    }

    /// Puts the rendering into the journal, before anything that is counted by it.
    fn keep_rendering(&mut self, described: &[u8]) -> Result<()> {
        if self.writer.heads().get(RENDERING_HEAD.as_bytes()) == Some(described) {
            return Ok(());
        }
        let head = Head { key: RENDERING_HEAD.as_bytes(), value: Some(described) };
        let result = self.writer.append(&Entry {
            changes: 0,
            position: &[],
            body: &[],
            offsets: &[],
            heads: &[head],
            derived: false,
        });
        self.with_room(result)?;
        Ok(())
    }

    /// Moves changes into a side segment, opening it when it is new.
    fn spill_part(&mut self, id: &str, changes: &TransactionBuilder, end: bool) -> Result<()> {
        let begin = self.projection.shows_transactions() && !self.writer.sides().iter().any(|side| side.id == id);
        self.prepare_to_fill(changes)?;
        let changes = self.unlogged.filled(changes)?;
        let offsets = self.projection.offsets(changes, Edges { begin, end }, &mut self.writer)?;
        let body: &[&[u8]] = &[changes.items()];
        let part_of = Part { changes: changes.changes(), body, offsets, heads: &[] };
        let result = self.writer.side_append(id, &part_of);
        self.with_room(result)?;
        Ok(())
    }

    /// Gathers the rows as they are, where the log does not carry all of these changes' rows and somebody wants them.
    fn prepare_to_fill(&mut self, changes: &TransactionBuilder) -> Result<()> {
        let is_due = self.unlogged.is_idle() || self.unlogged.is_full() && self.writer.sides().is_empty();
        if !is_due || !self.unlogged.concerns(changes) {
            return Ok(());
        }
        self.make_durable()?;
        self.unlogged.begin(self.writer.next_sequence())
    }

    /// Appends a heartbeat when it is time for one. It is no part of the log, so it waits while the log is read again.
    fn beat(&mut self) -> Result<()> {
        let now = Instant::now();
        let is_due = self.heartbeat.as_ref().is_some_and(|heartbeat| now >= heartbeat.next);
        if !is_due || !self.shared.accepts_derived() {
            return Ok(());
        }
        let now_us = now_us();
        let mut header = Vec::new();
        put_header(
            &mut header,
            &TransactionHeader { commit_us: now_us, receive_us: now_us, origin: Origin::Headwater },
        );
        let offsets = self.projection.heartbeat(&mut self.writer)?;
        let body: &[&[u8]] = &[&header];
        let result = self.writer.append(&Entry { changes: 0, position: &[], body, offsets, heads: &[], derived: true });
        self.with_room(result)?;
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.next = now + heartbeat.interval;
        }
        Ok(())
    }

    fn append_with(&mut self, transaction: &Committed<'_>, edges: Edges) -> Result<()> {
        fail::fail_point!("engine::before_append");
        self.wait_while_held()?;
        let heads = self.heads(transaction)?;
        let heads: Vec<Head<'_>> = heads.iter().map(|(key, value)| Head { key, value: value.as_deref() }).collect();
        self.prepare_to_fill(transaction.changes)?;
        let changes = self.unlogged.filled(transaction.changes)?;
        let offsets = self.projection.offsets(changes, edges, &mut self.writer)?;
        let body: &[&[u8]] = match changes.is_empty() && offsets.is_empty() {
            true => &[],
            false => &[transaction.header, changes.items()],
        };
        let result = self.writer.append(&Entry {
            changes: changes.changes(),
            position: transaction.position,
            body,
            offsets,
            heads: &heads,
            derived: transaction.derived,
        });
        self.with_room(result)?;
        self.moved_to(transaction.position);
        Ok(())
    }

    /// Makes everything durable and lets the folder go.
    pub fn close(self) -> Result<()> {
        self.writer.close().map_err(journal_error)
    }

    fn read_schemas(&self) -> Result<Vec<Schema>> {
        schemas::in_heads(self.writer.heads()).collect()
    }

    fn heads(&mut self, transaction: &Committed<'_>) -> Result<Vec<OwnedHead>> {
        let mut heads = Vec::with_capacity(transaction.schemas.len() + transaction.state.len());
        for schema in transaction.schemas {
            self.projection.add(schema, &mut self.writer)?;
            self.unlogged.learn(schema)?;
            self.next_schema = self.next_schema.max(schema.id + 1);
            let (key, value) = schemas::head_of(schema)?;
            heads.push((key, Some(value)));
        }
        for StateUpdate { key, value } in transaction.state {
            heads.push((format!("{STATE_PREFIX}{key}").into_bytes(), value.clone()));
        }
        Ok(heads)
    }

    fn moved_to(&mut self, position: &[u8]) {
        if !position.is_empty() {
            let held = self.position.get_or_insert_default();
            held.clear();
            held.extend_from_slice(position);
        }
    }

    /// Waits while a follower holds back more of the journal than the limit allows.
    fn wait_while_held(&self) -> Result<()> {
        while self.shared.is_held() {
            if self.shared.stop.is_stopped() {
                return Err(Error::reconnect("the source was held by a slow follower when it was stopped"));
            }
            self.shared.stop.pause(HELD_RETRY);
        }
        Ok(())
    }

    /// Runs a journal operation that may find the disk full: waits for room, then flushes what is pending.
    fn with_room<T>(&mut self, result: Result<T, headwater_journal::Error>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_full() => self.wait_for_room(error).map(|()| None),
            Err(error) => Err(journal_error(error)),
        }
    }

    /// Waits until all that was appended is durable, and so can be read.
    fn make_durable(&mut self) -> Result<()> {
        loop {
            let synced = self.writer.sync();
            if self.with_room(synced)?.is_some() {
                return Ok(());
            }
        }
    }

    fn wait_for_room(&mut self, mut error: headwater_journal::Error) -> Result<()> {
        loop {
            tracing::error!(source = %self.shared.name, %error, "no room for the journal; waiting");
            self.shared.fail("full", &error.to_string());
            self.shared.stop.pause(FULL_DISK_RETRY);
            if self.shared.stop.is_stopped() {
                return Err(journal_error(error));
            }
            match self.writer.flush() {
                Ok(()) => {
                    self.shared.recovered();
                    return Ok(());
                }
                Err(again) if again.is_full() => error = again,
                Err(other) => return Err(journal_error(other)),
            }
        }
    }
}

impl Intake for JournalIntake {
    fn position(&self) -> Option<Vec<u8>> {
        self.position.clone()
    }

    fn state(&self, key: &str) -> Option<Vec<u8>> {
        self.writer.heads().get(format!("{STATE_PREFIX}{key}").as_bytes()).map(<[u8]>::to_vec)
    }

    fn state_keys(&self, prefix: &str) -> Vec<String> {
        let prefix = format!("{STATE_PREFIX}{prefix}");
        let keys = self.writer.heads().range(prefix.as_bytes());
        keys.map(|(key, _)| String::from_utf8_lossy(&key[STATE_PREFIX.len()..]).into_owned()).collect()
    }

    fn schemas(&self) -> (Vec<Schema>, u32) {
        // `new` has read them all once, so they are readable.
        (self.read_schemas().unwrap_or_default(), self.next_schema)
    }

    fn append(&mut self, transaction: &Committed<'_>) -> Result<()> {
        let shown = !transaction.derived && !transaction.changes.is_empty();
        self.append_with(transaction, Edges { begin: shown, end: shown })
    }

    fn shows_told_edges(&self) -> bool {
        self.projection.shows_told_edges()
    }

    fn append_told(&mut self, transaction: &Committed<'_>, edges: Edges) -> Result<()> {
        match self.shows_told_edges() {
            true => self.append_with(transaction, edges),
            false => self.append(transaction),
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.beat()?;
        let result = self.writer.flush();
        self.with_room(result)?;
        Ok(())
    }

    fn spill(&mut self, part: &SidePart<'_>, changes: &TransactionBuilder) -> Result<()> {
        self.spill_part(part.id, changes, false)
    }

    fn append_side(&mut self, id: &str, transaction: &Committed<'_>) -> Result<()> {
        self.wait_while_held()?;
        // Where the edges of transactions are shown, the last part holds its end, be it only that.
        if !transaction.changes.is_empty() || self.projection.shows_transactions() {
            self.spill_part(id, transaction.changes, true)?;
        }
        let heads = self.heads(transaction)?;
        let heads: Vec<Head<'_>> = heads.iter().map(|(key, value)| Head { key, value: value.as_deref() }).collect();
        let result = self.writer.side_commit(
            id,
            &Entry {
                changes: 0,
                position: transaction.position,
                body: &[transaction.header],
                offsets: &[],
                heads: &heads,
                derived: transaction.derived,
            },
        );
        self.with_room(result)?;
        self.moved_to(transaction.position);
        Ok(())
    }

    fn abort_side(&mut self, id: &str) -> Result<()> {
        self.unlogged.forget();
        self.writer.side_abort(id).map_err(journal_error)
    }

    fn prepare_side(&mut self, id: &str, transaction: &Committed<'_>) -> Result<()> {
        // An empty one is opened too: its commit must find it.
        self.spill(&SidePart { id }, transaction.changes)?;
        self.writer.side_prepare(id).map_err(journal_error)?;
        let nothing = TransactionBuilder::default();
        self.append(&Committed { changes: &nothing, ..*transaction })
    }

    fn sides(&self) -> Vec<String> {
        self.writer.sides().into_iter().map(|side| side.id).collect()
    }

    fn scratch(&mut self) -> Result<File> {
        self.unlogged.scratch()
    }

    fn accepts_derived(&self) -> bool {
        self.shared.accepts_derived()
    }

    fn next_sequence(&self) -> u64 {
        self.writer.next_sequence()
    }

    fn changes_since(
        &mut self,
        sequence: u64,
        visit: &mut dyn FnMut(&Change<'_>, &Schema) -> Result<()>,
    ) -> Result<()> {
        // What was derived, and all that came after it, can be read only once it is durable.
        self.make_durable()?;
        let mut reader = self.journal.reader(From::Sequence(sequence)).map_err(journal_error)?;
        let mut named = Named::default();
        named.add(schemas::in_heads(reader.heads()))?;
        while let Some(item) = reader.next().map_err(journal_error)? {
            match item {
                Item::Frame(frame) => {
                    named.add(schemas::in_frame(&frame))?;
                    for transaction in frame.transactions() {
                        let view = TransactionView::decode(transaction.body).map_err(damaged)?;
                        each(view.changes(), transaction.first_sequence, sequence, &named, visit)?;
                    }
                }
                Item::Part(part) => {
                    named.add(schemas::in_frame(&part.frame))?;
                    each(Changes::new(part.body), part.first_sequence, sequence, &named, visit)?;
                }
            }
        }
        Ok(())
    }

    fn rows(&mut self, table: &str, generation: u64) -> Result<Box<dyn HeldRows>> {
        self.make_durable()?;
        // Also the shapes that no change has yet: the next row that is asked for may have one.
        let view = self.rows.view(&self.read_schemas()?, &self.shared.stop)?;
        Ok(Box::new(Held::new(view, table, generation)?))
    }

    fn snapshot_request(&mut self) -> Option<Vec<String>> {
        self.shared.take_snapshot_request()
    }

    fn has_snapshot_request(&self) -> bool {
        self.shared.has_snapshot_request()
    }

    fn durable_position(&self) -> Option<Vec<u8>> {
        self.journal.durable_position()
    }

    fn stopping(&self) -> bool {
        self.shared.stop.is_stopped()
    }

    fn report(&mut self, report: SourceReport) {
        self.shared.report(report);
    }
}

/// The schemas that a part of the journal names, by id.
#[derive(Default)]
struct Named(HashMap<u32, Schema>);

impl Named {
    fn add(&mut self, mut schemas: impl Iterator<Item = Result<Schema>>) -> Result<()> {
        schemas.try_for_each(|schema| schema.map(|schema| drop(self.0.insert(schema.id, schema))))
    }
}

fn each(
    changes: Changes<'_>,
    first: u64,
    wanted: u64,
    named: &Named,
    visit: &mut dyn FnMut(&Change<'_>, &Schema) -> Result<()>,
) -> Result<()> {
    for (change, _) in changes.zip(first..).filter(|(_, sequence)| *sequence >= wanted) {
        let change = change.map_err(damaged)?;
        let schema = named.0.get(&change.schema).ok_or_else(|| unknown_schema(change.schema))?;
        visit(&change, schema)?;
    }
    Ok(())
}

/// What the engine does about an error of the journal: all of them but a full disk are for a person.
pub fn journal_error(error: headwater_journal::Error) -> Error {
    Error::stop("the journal refuses").source(error)
}

pub fn damaged(error: headwater_model::change::Damaged) -> Error {
    Error::stop("a transaction in the journal").source(error)
}

pub(crate) fn unknown_schema(id: u32) -> Error {
    Error::stop(format!("a change refers to schema {id}, which was never announced"))
        .hint("This is a defect of the source; please report it.")
}
