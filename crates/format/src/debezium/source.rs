//! The `source` block: where a change comes from.
//!
//! Invariant: fields come in the order of the connector's own schema, and what is constant for a table is text before the
//! first record. Start at [`Source`].

use super::options::{Connector, Options};
use super::record::Event;
use crate::connect::piece::Piece;
use crate::connect::{Field, Kind, Schema, json};
use headwater_model::{Op, Origin, SnapshotMarker, TransactionHeader};
use std::sync::atomic::{AtomicU64, Ordering};

/// Given to the next block.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

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
    /// Tells it from every other.
    id: u64,
    /// What varies, each with the text before it.
    parts: Vec<(Piece, SourceField)>,
    /// The same in the stream, where `snapshot` is not set.
    streamed: Vec<(Piece, SourceField)>,
    end: Piece,
    texts: Texts,
    include_query: bool,
    /// As the original has it, also where it knows less than the log says.
    exact: bool,
}

/// The block as far as the changes of a transaction have it in common; reused. A change fills in what is its own.
#[derive(Debug, Default)]
pub(crate) struct Common {
    /// Whose block it is, and whether of a change of the stream.
    of: Option<(u64, bool)>,
    commit_us: i64,
    number: u64,
    texts: [String; 2],
    bytes: Vec<u8>,
    /// What a change fills in, and up to where the bytes before it go.
    own: Vec<(usize, SourceField)>,
}

/// What a field shows of an event.
enum Shown<'a> {
    Null,
    Number(i64),
    Text(&'a str),
    /// When the transaction was committed.
    Millis,
    Micros,
    Nanos,
    /// Where the transaction before ended, and where the change stands.
    Sequence {
        last: u64,
        lsn: u64,
    },
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

    /// Whether all changes of a transaction show the same.
    fn is_common(self) -> bool {
        use SourceField::*;
        matches!(self, TsMs | TsUs | TsNs | ServerId | Gtid | File | Origin | OriginLsn)
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

impl Common {
    fn is_of(&self, of: (u64, bool), header: &TransactionHeader<'_>) -> bool {
        let (number, texts) = shared(header);
        self.of == Some(of) && self.commit_us == header.commit_us && self.number == number && self.texts == texts
    }

    fn keep(&mut self, of: (u64, bool), header: &TransactionHeader<'_>) {
        let (number, texts) = shared(header);
        (self.of, self.commit_us, self.number) = (Some(of), header.commit_us, number);
        for (kept, text) in self.texts.iter_mut().zip(texts) {
            kept.clear();
            kept.push_str(text);
        }
        self.bytes.clear();
        self.own.clear();
    }
}

/// All of a transaction, but for its time, that is shown by the fields that its changes have in common.
fn shared<'h>(header: &'h TransactionHeader<'_>) -> (u64, [&'h str; 2]) {
    match &header.origin {
        Origin::Binlog { server_id, gtid, file, .. } => ((*server_id).into(), [gtid, file]),
        Origin::BinlogSnapshot { file, .. } => (0, ["", file]),
        Origin::Wal { origin, origin_lsn, .. } => (*origin_lsn, [origin, ""]),
        _ => (0, ["", ""]),
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
        let mut source = Source {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            parts: Vec::new(),
            streamed: Vec::new(),
            end: Piece::new(b""),
            texts,
            include_query: options.include_query,
            exact: options.is_exact(),
        };
        (source.streamed, source.end) = source.compile(options, true);
        (source.parts, source.end) = source.compile(options, false);
        source
    }

    fn compile(&self, options: &Options, streamed: bool) -> (Vec<(Piece, SourceField)>, Piece) {
        let (mut parts, mut text) = (Vec::new(), b"{".to_vec());
        for (index, field) in fields(options.connector).iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            json::string(&mut text, field.name());
            text.push(b':');
            if streamed && *field == SourceField::Snapshot {
                text.extend_from_slice(if options.value.replace_null { b"\"false\"" } else { b"null" });
            } else if !self.write_constant(&mut text, *field) {
                parts.push((Piece::new(&text), *field));
                text.clear();
            }
        }
        text.push(b'}');
        (parts, Piece::new(&text))
    }

    /// Appends the block; `common` is what the block before it left there.
    pub fn write(&self, out: &mut Vec<u8>, event: &Event<'_, '_>, common: &mut Common) {
        let of = (self.id, event.change.marker.is_none());
        if !common.is_of(of, event.header) {
            self.begin(of, event, common);
        }
        // No field of a change's own is a time.
        let time = json::Micros::new(0);
        let mut from = 0;
        for (to, field) in &common.own {
            out.extend_from_slice(&common.bytes[from..*to]);
            self.shown(*field, event).write(out, &time);
            from = *to;
        }
        out.extend_from_slice(&common.bytes[from..]);
    }

    /// Writes what the changes of the event's transaction have in common.
    fn begin(&self, of: (u64, bool), event: &Event<'_, '_>, common: &mut Common) {
        common.keep(of, event.header);
        let time = json::Micros::new(event.header.commit_us);
        for (text, field) in if of.1 { &self.streamed } else { &self.parts } {
            text.put(&mut common.bytes);
            match field.is_common() {
                true => self.shown(*field, event).write(&mut common.bytes, &time),
                false => common.own.push((common.bytes.len(), *field)),
            }
        }
        self.end.put(&mut common.bytes);
    }

    /// Appends one field's value; null where it is not set, whatever its default.
    pub fn write_field(&self, out: &mut Vec<u8>, field: SourceField, event: &Event<'_, '_>) {
        if !self.write_constant(out, field) {
            self.shown(field, event).write(out, &json::Micros::new(event.header.commit_us));
        }
    }

    /// What a field shows that is not constant.
    #[inline]
    fn shown<'a>(&self, field: SourceField, event: &Event<'a, '_>) -> Shown<'a> {
        let change = event.change;
        let number = |value: u64| Shown::Number(value as i64);
        match (field, &event.header.origin) {
            (SourceField::TsMs, _) => Shown::Millis,
            (SourceField::TsUs, _) => Shown::Micros,
            (SourceField::TsNs, _) => Shown::Nanos,
            (SourceField::ServerId, Origin::Binlog { server_id, .. }) => number((*server_id).into()),
            (SourceField::ServerId, _) => number(0),
            (SourceField::Gtid, Origin::Binlog { gtid, .. }) if !gtid.is_empty() => Shown::Text(gtid),
            (SourceField::File, Origin::Binlog { file, .. } | Origin::BinlogSnapshot { file, .. }) => Shown::Text(file),
            (SourceField::File, _) => Shown::Text(""),
            (SourceField::Pos, Origin::Binlog { .. }) if change.place != 0 => number(change.place),
            (SourceField::Pos, Origin::Binlog { position, .. } | Origin::BinlogSnapshot { position, .. }) => {
                number(*position)
            }
            (SourceField::Pos, _) => number(0),
            // Rows of a snapshot have no number.
            (SourceField::Row, _) if change.op == Op::Read => number(0),
            (SourceField::Row, _) if change.op == Op::Truncate && !self.exact => number(0),
            (SourceField::Row, _) => number(change.row.into()),
            (SourceField::Thread, Origin::Binlog { thread: thread @ 1.., .. }) if !self.hides_thread(event) => {
                number(*thread)
            }
            (SourceField::Snapshot, _) => change.marker.map_or(Shown::Null, |marker| Shown::Text(marker_name(marker))),
            (SourceField::Query, _) => change.statement.filter(|_| self.include_query).map_or(Shown::Null, Shown::Text),
            (_, Origin::Wal { .. } | Origin::WalSnapshot { .. }) => shown_of_wal(field, event),
            _ => Shown::Null,
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

impl Shown<'_> {
    #[inline]
    fn write(self, out: &mut Vec<u8>, time: &json::Micros) {
        match self {
            Shown::Null => out.extend_from_slice(b"null"),
            Shown::Number(value) => json::integer(out, value),
            Shown::Text(text) => json::string(out, text),
            Shown::Millis => time.millis(out),
            Shown::Micros => time.micros(out),
            Shown::Nanos => time.nanos(out),
            Shown::Sequence { last, lsn } => write_sequence(out, last, lsn),
        }
    }
}

/// The same of what only a write-ahead log has.
fn shown_of_wal<'a>(field: SourceField, event: &Event<'a, '_>) -> Shown<'a> {
    // A message outside of a transaction has no number of one.
    let outside = event.change.op == Op::Message && event.change.message.is_some_and(|message| !message.transactional);
    match (field, &event.header.origin) {
        (SourceField::TxId, _) if outside => Shown::Null,
        (SourceField::TxId, Origin::Wal { xid, .. } | Origin::WalSnapshot { xid, .. }) => {
            Shown::Number(i64::from(*xid))
        }
        (SourceField::Lsn, _) => Shown::Number(lsn(event) as i64),
        (SourceField::Sequence, Origin::Wal { previous_lsn, .. }) => {
            Shown::Sequence { last: *previous_lsn, lsn: lsn(event) }
        }
        (SourceField::Sequence, _) => Shown::Sequence { last: 0, lsn: lsn(event) },
        (SourceField::Origin, Origin::Wal { origin, .. }) if !origin.is_empty() => Shown::Text(origin),
        (SourceField::OriginLsn, Origin::Wal { origin, origin_lsn, .. }) if !origin.is_empty() => {
            Shown::Number(*origin_lsn as i64)
        }
        _ => Shown::Null,
    }
}

fn write_sequence(out: &mut Vec<u8>, last: u64, lsn: u64) {
    match last {
        0 => out.extend_from_slice(b"\"[null"),
        last => {
            out.extend_from_slice(b"\"[\\\"");
            json::integer(out, last as i64);
            out.extend_from_slice(b"\\\"");
        }
    }
    out.extend_from_slice(b",\\\"");
    json::integer(out, lsn as i64);
    out.extend_from_slice(b"\\\"]\"");
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
