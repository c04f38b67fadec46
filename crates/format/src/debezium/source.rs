//! The `source` block: where a change comes from.
//!
//! Invariant: fields come in the order of the connector's own schema, and what is constant for a table is text before the
//! first record. Start at [`Source`].

use super::options::{Connector, Options};
use super::record::Event;
use crate::connect::piece::Piece;
use crate::connect::{Field, Kind, Schema, json};
use headwater_model::{Op, Origin, SnapshotMarker};

/// One field of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceField {
    Version,
    Connector,
    Name,
    TsMs,
    Snapshot,
    Db,
    Sequence,
    TsUs,
    TsNs,
    Schema,
    Table,
    ServerId,
    Gtid,
    File,
    Pos,
    Row,
    Thread,
    Query,
    TxId,
    Lsn,
    Xmin,
    Origin,
    OriginLsn,
}

/// The block of one table.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    parts: Vec<Part>,
    texts: Texts,
    /// What `snapshot` shows in the stream, where it is not set.
    streamed: &'static str,
    include_query: bool,
    /// As the original has it, also where it knows less than the log says.
    exact: bool,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Piece),
    Field(SourceField),
}

#[derive(Clone, Debug)]
struct Texts {
    version: String,
    connector: &'static str,
    name: String,
    db: String,
    schema: String,
    table: String,
}

const BINLOG: &[SourceField] = &[
    SourceField::Version,
    SourceField::Connector,
    SourceField::Name,
    SourceField::TsMs,
    SourceField::Snapshot,
    SourceField::Db,
    SourceField::Sequence,
    SourceField::TsUs,
    SourceField::TsNs,
    SourceField::Table,
    SourceField::ServerId,
    SourceField::Gtid,
    SourceField::File,
    SourceField::Pos,
    SourceField::Row,
    SourceField::Thread,
    SourceField::Query,
];

const WAL: &[SourceField] = &[
    SourceField::Version,
    SourceField::Connector,
    SourceField::Name,
    SourceField::TsMs,
    SourceField::Snapshot,
    SourceField::Db,
    SourceField::Sequence,
    SourceField::TsUs,
    SourceField::TsNs,
    SourceField::Schema,
    SourceField::Table,
    SourceField::TxId,
    SourceField::Lsn,
    SourceField::Xmin,
    SourceField::Origin,
    SourceField::OriginLsn,
];

/// The fields of a connector's block, in order.
pub(crate) fn fields(connector: Connector) -> &'static [SourceField] {
    match connector {
        Connector::Postgresql => WAL,
        Connector::Mysql | Connector::Mariadb => BINLOG,
    }
}

/// The schema of the block.
pub(crate) fn schema(connector: Connector) -> Schema {
    let fields = fields(connector).iter().map(|field| field.connect(connector)).collect();
    Schema::structure(&format!("io.debezium.connector.{}.Source", connector.name()), Some(1), fields)
}

impl SourceField {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            SourceField::Version => "version",
            SourceField::Connector => "connector",
            SourceField::Name => "name",
            SourceField::TsMs => "ts_ms",
            SourceField::Snapshot => "snapshot",
            SourceField::Db => "db",
            SourceField::Sequence => "sequence",
            SourceField::TsUs => "ts_us",
            SourceField::TsNs => "ts_ns",
            SourceField::Schema => "schema",
            SourceField::Table => "table",
            SourceField::ServerId => "server_id",
            SourceField::Gtid => "gtid",
            SourceField::File => "file",
            SourceField::Pos => "pos",
            SourceField::Row => "row",
            SourceField::Thread => "thread",
            SourceField::Query => "query",
            SourceField::TxId => "txId",
            SourceField::Lsn => "lsn",
            SourceField::Xmin => "xmin",
            SourceField::Origin => "origin",
            SourceField::OriginLsn => "origin_lsn",
        }
    }

    /// Its name and schema.
    pub fn connect(self, connector: Connector) -> Field {
        use SourceField::*;
        let mut schema = crate::connect::Schema::new(match self {
            TsMs | TsUs | TsNs | ServerId | Pos | Thread | TxId | Lsn | Xmin | OriginLsn => Kind::Int64,
            Row => Kind::Int32,
            _ => Kind::String,
        });
        let optional = match self {
            Version | SourceField::Connector | Name | TsMs | Db | ServerId | File | Pos | Row | SourceField::Schema => {
                false
            }
            Table => !matches!(connector, super::options::Connector::Postgresql),
            _ => true,
        };
        if self == Snapshot {
            let values = "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental";
            schema = crate::connect::Schema::named(Kind::String, "io.debezium.data.Enum").parameter("allowed", values);
            schema.default = Some(b"\"false\"".to_vec());
        }
        schema.optional = optional;
        schema.field(self.name())
    }
}

impl Source {
    /// The block of `database.table`; both empty for what is of no table.
    pub fn new(options: &Options, database: &str, table: &str) -> Source {
        let postgres = options.is_postgres();
        let texts = Texts {
            version: options.version.clone().unwrap_or_else(|| options.connector.version().to_owned()),
            connector: options.connector.name(),
            name: options.prefix.clone(),
            db: if postgres { options.database.clone() } else { database.to_owned() },
            schema: database.to_owned(),
            table: table.to_owned(),
        };
        let streamed = if options.value.replace_null { "\"false\"" } else { "null" };
        let mut source = Source {
            parts: Vec::new(),
            texts,
            streamed,
            include_query: options.include_query,
            exact: options.is_exact(),
        };
        let mut text = b"{".to_vec();
        for (index, field) in fields(options.connector).iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            json::string(&mut text, field.name());
            text.push(b':');
            if !source.write_constant(&mut text, *field) {
                source.parts.push(Part::Text(Piece::new(&std::mem::take(&mut text))));
                source.parts.push(Part::Field(*field));
            }
        }
        text.push(b'}');
        source.parts.push(Part::Text(Piece::new(&text)));
        source
    }

    /// Appends the block.
    pub fn write(&self, out: &mut Vec<u8>, event: &Event<'_, '_>) {
        let time = json::Micros::new(event.header.commit_us);
        for part in &self.parts {
            match part {
                Part::Text(text) => text.put(out),
                Part::Field(SourceField::Snapshot) if event.change.marker.is_none() => {
                    out.extend_from_slice(self.streamed.as_bytes());
                }
                Part::Field(SourceField::TsMs) => time.millis(out),
                Part::Field(SourceField::TsUs) => time.micros(out),
                Part::Field(SourceField::TsNs) => time.nanos(out),
                Part::Field(field) => self.write_varying(out, *field, event),
            }
        }
    }

    /// Appends one field's value; null where it is not set, whatever its default.
    pub fn write_field(&self, out: &mut Vec<u8>, field: SourceField, event: &Event<'_, '_>) {
        if !self.write_constant(out, field) {
            self.write_varying(out, field, event);
        }
    }

    fn write_varying(&self, out: &mut Vec<u8>, field: SourceField, event: &Event<'_, '_>) {
        let header = event.header;
        let commit_us = header.commit_us;
        match field {
            SourceField::TsMs => json::integer(out, commit_us.div_euclid(1_000)),
            SourceField::TsUs => json::integer(out, commit_us),
            SourceField::TsNs => json::integer(out, commit_us.wrapping_mul(1_000)),
            SourceField::Snapshot => match event.change.marker {
                Some(marker) => json::string(out, marker_name(marker)),
                None => out.extend_from_slice(b"null"),
            },
            SourceField::Query => match event.change.statement.filter(|_| self.include_query) {
                Some(query) => json::string(out, query),
                None => out.extend_from_slice(b"null"),
            },
            // Rows of a snapshot have no number.
            SourceField::Row if event.change.op == Op::Read => json::integer(out, 0),
            SourceField::Row if event.change.op == Op::Truncate && !self.exact => json::integer(out, 0),
            SourceField::Row => json::integer(out, i64::from(event.change.row)),
            SourceField::Thread if self.hides_thread(event) => out.extend_from_slice(b"null"),
            _ => match &header.origin {
                Origin::Wal { .. } | Origin::WalSnapshot { .. } => write_wal(out, field, event),
                _ => write_binlog(out, field, event),
            },
        }
    }

    /// The original takes the session from BEGIN alone, which a TRUNCATE has not, and MariaDB's log neither.
    fn hides_thread(&self, event: &Event<'_, '_>) -> bool {
        let unsaid = self.texts.connector == Connector::Mariadb.name() || event.change.op == Op::Truncate;
        self.exact && unsaid
    }

    fn write_constant(&self, out: &mut Vec<u8>, field: SourceField) -> bool {
        let text = match field {
            SourceField::Version => &self.texts.version,
            SourceField::Connector => self.texts.connector,
            SourceField::Name => &self.texts.name,
            SourceField::Db => &self.texts.db,
            SourceField::Schema => &self.texts.schema,
            SourceField::Table => &self.texts.table,
            // Only sources of the write-ahead log have a sequence.
            SourceField::Sequence if self.texts.connector != Connector::Postgresql.name() => {
                out.extend_from_slice(b"null");
                return true;
            }
            SourceField::Xmin => {
                out.extend_from_slice(b"null");
                return true;
            }
            _ => return false,
        };
        json::string(out, text);
        true
    }
}

fn write_binlog(out: &mut Vec<u8>, field: SourceField, event: &Event<'_, '_>) {
    let place = event.change.place;
    match (field, &event.header.origin) {
        (SourceField::ServerId, Origin::Binlog { server_id, .. }) => json::integer(out, i64::from(*server_id)),
        (SourceField::ServerId, _) => json::integer(out, 0),
        (SourceField::Gtid, Origin::Binlog { gtid, .. }) if !gtid.is_empty() => json::string(out, gtid),
        (SourceField::File, Origin::Binlog { file, .. } | Origin::BinlogSnapshot { file, .. }) => {
            json::string(out, file);
        }
        (SourceField::File, _) => json::string(out, ""),
        (SourceField::Pos, Origin::Binlog { .. }) if place != 0 => json::integer(out, place as i64),
        (SourceField::Pos, Origin::Binlog { position, .. } | Origin::BinlogSnapshot { position, .. }) => {
            json::integer(out, *position as i64);
        }
        (SourceField::Pos, _) => json::integer(out, 0),
        (SourceField::Thread, Origin::Binlog { thread, .. }) if *thread != 0 => json::integer(out, *thread as i64),
        _ => out.extend_from_slice(b"null"),
    }
}

fn write_wal(out: &mut Vec<u8>, field: SourceField, event: &Event<'_, '_>) {
    // A message outside of a transaction has no number of one.
    let outside = event.change.op == Op::Message && event.change.message.is_some_and(|message| !message.transactional);
    match (field, &event.header.origin) {
        (SourceField::TxId, _) if outside => out.extend_from_slice(b"null"),
        (SourceField::TxId, Origin::Wal { xid, .. } | Origin::WalSnapshot { xid, .. }) => {
            json::integer(out, i64::from(*xid));
        }
        (SourceField::Lsn, _) => json::integer(out, lsn(event) as i64),
        (SourceField::Sequence, origin) => {
            let last = match origin {
                Origin::Wal { previous_lsn, .. } => *previous_lsn,
                _ => 0,
            };
            match last {
                0 => out.extend_from_slice(b"\"[null"),
                last => {
                    out.extend_from_slice(b"\"[\\\"");
                    json::integer(out, last as i64);
                    out.extend_from_slice(b"\\\"");
                }
            }
            out.extend_from_slice(b",\\\"");
            json::integer(out, lsn(event) as i64);
            out.extend_from_slice(b"\\\"]\"");
        }
        (SourceField::Origin, Origin::Wal { origin, .. }) if !origin.is_empty() => json::string(out, origin),
        (SourceField::OriginLsn, Origin::Wal { origin, origin_lsn, .. }) if !origin.is_empty() => {
            json::integer(out, *origin_lsn as i64);
        }
        _ => out.extend_from_slice(b"null"),
    }
}

/// Where a change stands in the write-ahead log.
pub(crate) fn lsn(event: &Event<'_, '_>) -> u64 {
    match &event.header.origin {
        Origin::WalSnapshot { lsn, .. } => *lsn,
        Origin::Wal { commit_lsn, .. } if event.change.place == 0 => *commit_lsn,
        _ => event.change.place,
    }
}

fn marker_name(marker: SnapshotMarker) -> &'static str {
    match marker {
        SnapshotMarker::First => "first",
        SnapshotMarker::FirstInDataCollection => "first_in_data_collection",
        SnapshotMarker::True => "true",
        SnapshotMarker::LastInDataCollection => "last_in_data_collection",
        SnapshotMarker::Last => "last",
        SnapshotMarker::Incremental => "incremental",
    }
}
