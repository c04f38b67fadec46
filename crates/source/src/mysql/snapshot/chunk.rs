//! How a chunk of a table is read, and where the log stands then.
//!
//! Invariant: a chunk's mark lies at or after every transaction whose effect its rows may show. Start at [`Chunks`].

use super::super::position::LogPlace;
use super::super::server::{identifier, log_end, place_of_snapshot, quoted};
use super::super::wire::{Connection, Error as WireError, Options as WireOptions, Param, Statement};
use super::row::RowPlan;
use super::select::{KeyParam, after_params, chunk, key_params};
use crate::snapshot::{CHUNK_BYTES_MAX, Job, POLL, Read, Reader, last_key};
use headwater_model::{Error, Op, Result, Schema, SnapshotMarker, TransactionBuilder};

/// The server's error of a table that is not there.
const NO_SUCH_TABLE: u16 = 1146;
/// And of a database.
const NO_SUCH_DATABASE: u16 = 1049;

/// How often a snapshot that is older than what was streamed is begun anew before the connection is.
const FLOOR_TRIES_MAX: u32 = 250;

/// The server that a snapshot reads.
#[derive(Clone)]
pub struct Endpoint {
    /// The source's name, for its errors.
    pub source: String,
    /// How to reach it.
    pub options: WireOptions,
    /// Which of its hosts.
    pub host: usize,
}

/// Reads chunks.
pub struct Chunks {
    /// The server that is read.
    pub server: Endpoint,
    /// Rows of a chunk.
    pub chunk_rows: u32,
    /// Chunks are read at this place of the log or after it.
    pub floor: LogPlace,
}

/// A worker's connection, and what it has prepared for the table that it reads.
pub struct Prepared {
    connection: Connection,
    first: Option<Statement>,
    next: Option<Statement>,
}

impl Chunks {
    /// MariaDB: begins a consistent snapshot that shows all that was streamed; answers where it stands in the log.
    pub fn begin_at_floor(&self, connection: &mut Connection) -> Result<LogPlace> {
        let failed = |error| self.server.error(error);
        for _ in 0..FLOOR_TRIES_MAX {
            connection.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT").map_err(failed)?;
            let place = match place_of_snapshot(connection).map_err(failed)? {
                Some(place) => place,
                None => self.server.log_end(connection)?,
            };
            if place.reaches(&self.floor) {
                return Ok(place);
            }
            std::thread::park_timeout(POLL);
        }
        Err(Error::reconnect(format!("{} does not show yet all that is in its log", connection.peer())))
    }

    /// The rows of the stretch after `after`, and the key of the last one unless the stretch ends here.
    fn rows(
        &self,
        prepared: &mut Prepared,
        job: &Job<()>,
        after: Option<&[u8]>,
    ) -> Result<(TransactionBuilder, Option<Vec<u8>>)> {
        let (schema, limit) = (&*job.schema, u64::from(self.chunk_rows));
        let after = after.map(|key| bound(schema, key)).transpose()?.unwrap_or_default();
        let through = job.through.as_deref().map(|key| bound(schema, key)).transpose()?.unwrap_or_default();
        let mut params: Vec<Param<'_>> = if after.is_empty() { Vec::new() } else { after_params(&after) };
        params.extend(through.iter().map(KeyParam::as_param));

        let Prepared { connection, first, next } = prepared;
        let kept = if after.is_empty() { first } else { next };
        let statement = match kept {
            Some(statement) => statement,
            None => {
                // One row more than a chunk has shows whether another chunk follows.
                let sql = chunk(schema, !after.is_empty(), !through.is_empty(), limit + 1);
                kept.insert(connection.prepare(&sql).map_err(|error| self.server.error(error))?)
            }
        };
        let mut rows = connection.execute_prepared(statement, &params).map_err(|error| self.server.error(error))?;
        let plan = RowPlan::new(schema, rows.columns());
        let (mut read, mut count, mut more) = (TransactionBuilder::default(), 0u64, false);
        let mut last_row = 0;
        while let Some(packet) = rows.next_row().map_err(|error| self.server.error(error))? {
            if count == limit || read.len() >= CHUNK_BYTES_MAX {
                more = true;
                continue;
            }
            let out = read.begin_read(schema.id, count as u32, SnapshotMarker::True);
            last_row = out.len();
            if let Err((column, what)) = plan.transcode(packet, out) {
                return Err(bad_row(schema, column, what));
            }
            read.end(Op::Read, schema.id, false);
            count += 1;
        }
        let last_key = if more { Some(last_key(schema, &read.items()[last_row..])?) } else { None };
        Ok((read, last_key))
    }
}

impl Reader for Chunks {
    type Table = ();
    type Connection = Prepared;
    type Mark = LogPlace;

    fn connect(&self) -> Result<Prepared> {
        Ok(Prepared { connection: self.server.connect()?, first: None, next: None })
    }

    fn begin(&self, prepared: &mut Prepared) {
        (prepared.first, prepared.next) = (None, None);
    }

    fn read(&self, prepared: &mut Prepared, job: &Job<()>, after: Option<&[u8]>) -> Result<Read<LogPlace>> {
        if !prepared.connection.server().is_mariadb {
            let (rows, last_key) = self.rows(prepared, job, after)?;
            let high = self.server.log_end(&mut prepared.connection)?;
            return Ok(Read { rows, last_key, high });
        }
        // Its consistent snapshot stands at one exact place of the log, so that place is the mark.
        let high = self.begin_at_floor(&mut prepared.connection)?;
        let (rows, last_key) = self.rows(prepared, job, after)?;
        prepared.connection.execute("COMMIT").map_err(|error| self.server.error(error))?;
        Ok(Read { rows, last_key, high })
    }
}

impl Endpoint {
    /// A connection whose values read as the log's do.
    pub fn connect(&self) -> Result<Connection> {
        let mut connection = Connection::connect(&self.options, self.host).map_err(|error| self.error(error))?;
        // An empty SQL mode keeps CHAR as it is stored; UTC makes TIMESTAMP what it is in the log.
        let isolation = if connection.server().is_mariadb { "tx_isolation" } else { "transaction_isolation" };
        let session = format!("SET SESSION sql_mode = '', time_zone = '+00:00', {isolation} = 'REPEATABLE-READ'");
        connection.execute(&session).map_err(|error| self.error(error))?;
        Ok(connection)
    }

    /// Where the log ends now.
    pub fn log_end(&self, connection: &mut Connection) -> Result<LogPlace> {
        log_end(connection).map_err(|error| self.error(error))
    }

    /// The smallest and the largest key of a table whose key is one integer column; `None` when it is empty.
    pub fn key_bounds(&self, connection: &mut Connection, schema: &Schema) -> Result<Option<(i128, i128)>> {
        let key = identifier(&schema.columns[usize::from(schema.key[0])].name);
        let table = format!("{}.{}", identifier(&schema.database), identifier(&schema.table));
        let bounds = connection.query(&format!("SELECT MIN({key}) AS low, MAX({key}) AS high FROM {table}"));
        let bounds = bounds.map_err(|error| self.error(error))?;
        let number = |name| bounds.text(0, name).and_then(|text| text.parse().ok());
        Ok(number("low").zip(number("high")))
    }

    /// Whether a table, or what is selected in its place, has any row. One that is gone has none.
    pub fn has_rows(&self, connection: &mut Connection, schema: &Schema, query: Option<&str>) -> Result<bool> {
        let table = match query {
            None => format!("{}.{}", identifier(&schema.database), identifier(&schema.table)),
            Some(query) => format!("({query}) AS selected"),
        };
        match connection.query(&format!("SELECT 1 FROM {table} LIMIT 1")) {
            Ok(found) => Ok(found.first_text().is_some()),
            Err(error)
                if error.server().is_some_and(|error| matches!(error.code, NO_SUCH_TABLE | NO_SUCH_DATABASE)) =>
            {
                Ok(false)
            }
            Err(error) => Err(self.error(error)),
        }
    }

    /// About how many rows a table has.
    pub fn rows_estimate(&self, schema: &Schema) -> Result<u64> {
        let mut connection = self.connect()?;
        let sql = format!(
            "SELECT TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
            quoted(&schema.database),
            quoted(&schema.table)
        );
        let rows = connection.query(&sql).map_err(|error| self.error(error))?;
        Ok(rows.first_text().and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// What the engine does about an error of the connection.
    pub fn error(&self, error: WireError) -> Error {
        super::super::failure::of_connection(&self.source, error)
    }
}

fn bound(schema: &Schema, key: &[u8]) -> Result<Vec<KeyParam>> {
    key_params(schema, key).ok_or_else(|| {
        Error::stop(format!("the snapshot of {} cannot go on", schema.full_name()))
            .detail("The key of its last chunk does not fit the table's key")
            .hint("Take the snapshot again: headwater snapshot SOURCE TABLE.")
    })
}

/// A row that does not fit its table.
pub fn bad_row(schema: &Schema, column: usize, what: &str) -> Error {
    let name = schema.columns.iter().filter(|column| !column.excluded).nth(column).map_or("?", |column| &column.name);
    Error::stop(format!("the snapshot of {} cannot read column {name}: {what}", schema.full_name()))
        .hint("Leave the column out with exclude_columns, and report this with the column's type.")
}
