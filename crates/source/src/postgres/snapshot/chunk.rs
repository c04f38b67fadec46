//! How a chunk of a table is read, and where the log stands then; and single rows, of which the log does not carry all.
//!
//! Invariant: whatever commit a chunk shows stands in the log before its mark, which is asked for when the chunk has been
//! read: a commit is in the log before anybody sees it. Start at [`Chunks`].

use super::super::config::Options;
use super::super::decode::{Cell, RowPlan};
use super::super::failure;
use super::super::lsn::Lsn;
use super::super::server::end_of_log;
use super::super::start;
use super::super::wire::query::identifier;
use super::super::wire::{self, Connection, DataRow};
use super::key::literals;
use super::visible::Visible;
use crate::net::Canceller;
use crate::snapshot::{CHUNK_BYTES_MAX, Job, Read, Reader, last_key};
use headwater_model::{Error, Op, Result, Schema, SnapshotMarker, TransactionBuilder};
use std::sync::{Arc, Mutex, PoisonError};

/// What [`Select::one`] selects before the row's columns.
const SELECTED_BEFORE: usize = 2;

/// The server's errors of a table, and of a column, that is no longer there.
const UNDEFINED_TABLE: &str = "42P01";
const UNDEFINED_COLUMN: &str = "42703";

/// Reads chunks.
#[derive(Clone)]
pub struct Chunks {
    /// The configuration.
    pub options: Arc<Options>,
    /// Which of its hosts.
    pub host: usize,
    /// End the connections, when the source is to stop.
    pub cancellers: Arc<Mutex<Vec<Canceller>>>,
}

/// A worker's connection.
pub struct Session {
    connection: Connection,
    /// Rows that are asked for at once: fewer, where they are large.
    rows_max: u64,
}

/// How the rows of a table are asked for and read.
#[derive(Debug)]
pub struct Select {
    /// The shape of its rows.
    pub schema: Arc<Schema>,
    /// Whether it has as few rows as a chunk, which are then read in the order in which they lie.
    pub is_small: bool,
    /// The table, or the query in place of it.
    from: String,
    /// The names of the columns, in the order of `plan`.
    names: Vec<String>,
    /// The same, as SQL writes them.
    columns: Vec<String>,
    key: Vec<String>,
    plan: RowPlan,
}

impl Select {
    /// Of the `columns` of a table, which `plan` reads. `only`: not of the tables that inherit from it.
    pub fn new(schema: Arc<Schema>, only: bool, names: Vec<String>, plan: RowPlan) -> Self {
        let only = if only { "ONLY " } else { "" };
        let from = format!("{only}{}.{}", identifier(&schema.database), identifier(&schema.table));
        let key = schema.key_names().map(identifier).collect();
        Select {
            from,
            columns: names.iter().map(|name| identifier(name)).collect(),
            names,
            key,
            plan,
            schema,
            is_small: false,
        }
    }

    /// All rows, in the order of the table.
    pub fn all(&self) -> String {
        format!("SELECT {} FROM {}", self.columns.join(", "), self.from)
    }

    /// What reads its rows.
    pub fn plan(&self) -> RowPlan {
        self.plan.clone()
    }

    /// Where each of its columns stands in an answer that names its own.
    pub fn places_in(&self, answered: &[String]) -> Vec<Option<usize>> {
        self.names.iter().map(|column| answered.iter().position(|name| name == column)).collect()
    }

    /// Rows in the order of the key, after one key and up to another.
    fn chunk(&self, after: Option<&[u8]>, through: Option<&[u8]>, limit: u64) -> Result<String> {
        let literals = |key| literals(&self.schema, key).ok_or_else(|| misfit(&self.schema));
        let mut conditions = Vec::new();
        for (key, comparison) in [(after, ">"), (through, "<=")] {
            let Some(key) = key else { continue };
            conditions.push(format!("({}) {comparison} ({})", self.key.join(", "), literals(key)?.join(", ")));
        }
        let conditions = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        Ok(format!("{}{conditions} ORDER BY {} LIMIT {limit}", self.all(), self.key.join(", ")))
    }

    /// What the server's snapshot shows, and the row with this key if it is there.
    fn one(&self, key: &[u8]) -> Result<String> {
        let literals = literals(&self.schema, key).ok_or_else(|| misfit(&self.schema))?;
        Ok(format!(
            "SELECT s.s, t.* FROM (SELECT pg_catalog.txid_current_snapshot()::text AS s) s LEFT JOIN (SELECT true, {} FROM {} \
             WHERE ({}) = ({})) t ON true",
            self.columns.join(", "),
            self.from,
            self.key.join(", "),
            literals.join(", "),
        ))
    }
}

impl Chunks {
    /// The row with this key, complete, as it is once the transaction `xid` can be seen; `None` when it is not there.
    /// Answers nothing at all while the transaction cannot be seen yet.
    pub fn row(&self, session: &mut Session, of: &Select, key: &[u8], xid: u32) -> Result<Option<Option<Vec<u8>>>> {
        let failed = |error| self.error(error);
        let mut rows = session.connection.query_rows(&of.one(key)?).map_err(failed)?;
        let Some(row) = rows.next_row().map_err(failed)? else { return Ok(None) };
        let mut values = row.values();
        let mut next = || values.next().transpose().map_err(|_| damaged(&of.schema)).map(Option::flatten);
        let visible = next()?.and_then(Visible::parse).ok_or_else(|| damaged(&of.schema))?;
        let is_there = next()?.is_some();
        if !visible.shows(xid) {
            return Ok(None);
        }
        if !is_there {
            return Ok(Some(None));
        }
        let mut bytes = Vec::new();
        let places: Vec<Option<usize>> = (0..of.columns.len()).map(|place| Some(place + SELECTED_BEFORE)).collect();
        decode(&mut of.plan(), row, Some(&places), &of.schema, &self.options.name, &mut bytes)?;
        Ok(Some(Some(bytes)))
    }

    /// Whether a table, or what is selected in its place, has any row.
    pub fn has_rows(&self, session: &mut Session, schema: &Schema) -> Result<bool> {
        let from = match self.options.snapshot_queries.get(&schema.full_name()) {
            Some(query) => format!("({}) AS selected", query.trim().trim_end_matches(';')),
            None => format!("{}.{}", identifier(&schema.database), identifier(&schema.table)),
        };
        let found = session.connection.query(&format!("SELECT 1 FROM {from} LIMIT 1"));
        Ok(found.map_err(|error| self.error(error))?.first_text().is_some())
    }

    /// A transaction number that no change of the stream ever carries: that of a transaction which did nothing. The one that
    /// reads the tables takes none, because whoever creates a slot would have to wait until it ends.
    pub fn take_number(&self, session: &mut Session) -> Result<u32> {
        let sql = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 0 ELSE pg_catalog.txid_current() END";
        let result = session.connection.query(sql).map_err(|error| self.error(error))?;
        // The upper half counts how often the numbers have begun anew.
        Ok(result.first_text().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) as u32)
    }

    /// What a snapshot that is taken now shows.
    pub fn visible(&self, session: &mut Session) -> Result<Visible> {
        let text = session.connection.query("SELECT pg_catalog.txid_current_snapshot()::text");
        let text = text.map_err(|error| self.error(error))?;
        let visible = text.first_text().and_then(|text| Visible::parse(text.as_bytes()));
        visible.ok_or_else(|| Error::reconnect(format!("source {}: a snapshot cannot be read", self.options.name)))
    }

    /// About how many rows a table has; partitions count.
    pub fn rows_estimate(&self, session: &mut Session, oid: u32) -> Result<u64> {
        /// Of a table that was never analysed only the size is known.
        const ROW_BYTES: u32 = 64;
        let sql = format!(
            "SELECT coalesce(sum(CASE WHEN c.reltuples > 0 THEN c.reltuples ELSE pg_catalog.pg_relation_size(c.oid) / \
             {ROW_BYTES} END), 0)::bigint FROM pg_catalog.pg_class c WHERE c.oid = {oid} OR c.oid IN (SELECT relid FROM \
             pg_catalog.pg_partition_tree({oid}) WHERE isleaf)"
        );
        let answer = session.connection.query(&sql).map_err(|error| self.error(error))?;
        Ok(answer.first_text().and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// The smallest and the largest key of a table whose key is one integer column; `None` when it is empty.
    pub fn key_bounds(&self, session: &mut Session, of: &Select) -> Result<Option<(i128, i128)>> {
        let sql = format!("SELECT min({0}) AS low, max({0}) AS high FROM {1}", of.key[0], of.from);
        let bounds = session.connection.query(&sql).map_err(|error| self.error(error))?;
        let number = |name| bounds.text(0, name).and_then(|text| text.parse().ok());
        Ok(number("low").zip(number("high")))
    }

    /// The rows of a chunk, and the key of the last one if there are more.
    fn rows(&self, session: &mut Session, of: &Select, sql: &str) -> Result<(TransactionBuilder, Option<Vec<u8>>)> {
        let failed = |error| self.error(error);
        let (mut read, mut plan, mut last_row) = (TransactionBuilder::default(), of.plan(), 0);
        let mut rows = session.connection.query_rows(sql).map_err(failed)?;
        while let Some(row) = rows.next_row().map_err(failed)? {
            let count = read.changes();
            if u64::from(count) == session.rows_max || read.len() >= CHUNK_BYTES_MAX {
                let last_key = last_key(&of.schema, &read.items()[last_row..])?;
                return Ok((read, Some(last_key)));
            }
            let out = read.begin_read(of.schema.id, count, SnapshotMarker::True);
            last_row = out.len();
            decode(&mut plan, row, None, &of.schema, &self.options.name, out)?;
            read.end(Op::Read, of.schema.id, false);
        }
        Ok((read, None))
    }

    fn end_of_log(&self, session: &mut Session) -> Result<Lsn> {
        end_of_log(&mut session.connection).map_err(|error| self.error(error))
    }

    fn error(&self, error: wire::Error) -> Error {
        let is_changed = error.is_sqlstate(UNDEFINED_TABLE) || error.is_sqlstate(UNDEFINED_COLUMN);
        match is_changed {
            // What the catalogue says by then decides how to go on.
            true => {
                let what = format!("source {}: a table was changed while it was being read", self.options.name);
                Error::reconnect(what).source(error)
            }
            false => failure::of_connection(&self.options.name, error),
        }
    }
}

impl Reader for Chunks {
    type Table = Arc<Select>;
    type Connection = Session;
    type Mark = Lsn;

    fn connect(&self) -> Result<Session> {
        let connection = start::connect_session(&self.options, self.host)?;
        self.cancellers.lock().unwrap_or_else(PoisonError::into_inner).push(connection.canceller());
        Ok(Session { connection, rows_max: u64::from(self.options.chunk_rows) })
    }

    fn begin(&self, session: &mut Session) {
        session.rows_max = u64::from(self.options.chunk_rows);
    }

    fn read(&self, session: &mut Session, job: &Job<Arc<Select>>, after: Option<&[u8]>) -> Result<Read<Lsn>> {
        let of = &*job.of;
        if of.is_small && after.is_none() && job.through.is_none() {
            let (rows, last_key) = self.rows(session, of, &format!("{} LIMIT {}", of.all(), session.rows_max + 1))?;
            if last_key.is_none() {
                return Ok(Read { rows, last_key, high: self.end_of_log(session)? });
            }
        }
        // One row more than a chunk has shows whether another chunk follows.
        let sql = of.chunk(after, job.through.as_deref(), session.rows_max + 1)?;
        let (rows, last_key) = self.rows(session, of, &sql)?;
        if last_key.is_some() {
            // What was asked for in vain is not asked for again.
            session.rows_max = u64::from(rows.changes());
        }
        Ok(Read { rows, last_key, high: self.end_of_log(session)? })
    }
}

/// Reads a row of an answer; its values stand at `places`, if not in the order of the plan.
pub fn decode(
    plan: &mut RowPlan,
    row: DataRow<'_>,
    places: Option<&[Option<usize>]>,
    schema: &Schema,
    source: &str,
    out: &mut Vec<u8>,
) -> Result<()> {
    let mut is_damaged = false;
    let cells = row.values().map(|value| match value {
        Ok(value) => value.map_or(Cell::Null, Cell::Text),
        Err(_) => {
            is_damaged = true;
            Cell::Null
        }
    });
    let decoded = match places {
        None => plan.row(cells, out),
        Some(places) => {
            let cells: Vec<Cell<'_>> = cells.collect();
            let at = |place: &Option<usize>| place.and_then(|place| cells.get(place).copied());
            plan.row(places.iter().map(|place| at(place).unwrap_or(Cell::Null)), out)
        }
    };
    if is_damaged {
        return Err(damaged(schema));
    }
    decoded.map_err(|error| Error::stop(format!("source {source}: the snapshot")).source(error))
}

fn damaged(schema: &Schema) -> Error {
    Error::reconnect(format!("a row of {} arrived damaged", schema.full_name()))
}

fn misfit(schema: &Schema) -> Error {
    Error::stop(format!("the snapshot of {} cannot go on", schema.full_name()))
        .detail("The key of its last chunk does not fit the table's key")
        .hint("Take the snapshot again: headwater snapshot SOURCE TABLE.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::decode::Types;
    use headwater_model::{Column, Type, Value};

    #[test]
    fn chunks_are_bounded_by_the_key_that_orders_them() {
        let int = || Column::new("i\"d", Type::Int { bits: 64, unsigned: false }, "int8");
        let text = || Column::new("t", Type::Text { charset: String::new() }, "text");
        let mut key = Vec::new();
        Value::Int(7).encode(&mut key);
        Value::Text("o'c").encode(&mut key);
        let select = |only, places: Vec<u16>| {
            let schema = Arc::new(Schema::new(1, "s", "t", vec![int(), text()], places));
            let columns = vec!["i\"d".to_owned(), "t".to_owned()];
            Select::new(schema, only, columns, RowPlan::new("s.t", [], &Types::default()))
        };
        let one = select(true, vec![0]);
        assert_eq!(
            one.chunk(None, None, 3).unwrap(),
            "SELECT \"i\"\"d\", \"t\" FROM ONLY \"s\".\"t\" ORDER BY \"i\"\"d\" LIMIT 3"
        );
        assert_eq!(
            one.chunk(Some(&key), Some(&key), 3).unwrap(),
            "SELECT \"i\"\"d\", \"t\" FROM ONLY \"s\".\"t\" WHERE (\"i\"\"d\") > ('7') AND (\"i\"\"d\") <= ('7') \
             ORDER BY \"i\"\"d\" LIMIT 3"
        );
        assert_eq!(
            select(false, vec![0, 1]).chunk(Some(&key), None, 3).unwrap(),
            "SELECT \"i\"\"d\", \"t\" FROM \"s\".\"t\" WHERE (\"i\"\"d\", \"t\") > ('7', 'o''c') \
             ORDER BY \"i\"\"d\", \"t\" LIMIT 3"
        );
        assert!(one.chunk(Some(b""), None, 3).is_err());
    }
}
