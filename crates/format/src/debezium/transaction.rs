//! Records of transactions: their identifiers, the `transaction` block, and BEGIN and END on a topic of their own.
//!
//! Invariant: in `exact`, each record of a PostgreSQL transaction has an identifier of its own, as in the original; in
//! `right` they share the one of the commit. Start at [`Rendering::begin`].

use super::Rendering;
use super::options::Options;
use super::own::Shape;
use super::record::{Event, Records};
use super::source;
use crate::connect::{Kind, Schema, java, json};
use headwater_model::{Origin, TransactionHeader};

/// The schema of the `transaction` block.
pub(crate) fn block_schema() -> Schema {
    let fields = vec![
        Schema::new(Kind::String).field("id"),
        Schema::new(Kind::Int64).field("total_order"),
        Schema::new(Kind::Int64).field("data_collection_order"),
    ];
    Schema::structure("event.block", Some(1), fields).optional()
}

/// Appends the block of an event, or null where there is none.
pub(crate) fn write_block(out: &mut Vec<u8>, event: &Event<'_, '_>, options: &Options) {
    let Some(order) = event.order else { return out.extend_from_slice(b"null") };
    out.extend_from_slice(b"{\"id\":");
    json::string(out, &event_id(event, options));
    out.extend_from_slice(b",\"total_order\":");
    json::integer(out, order.total as i64);
    out.extend_from_slice(b",\"data_collection_order\":");
    json::integer(out, order.of_table as i64);
    out.push(b'}');
}

/// The identifier of an event's transaction.
pub(crate) fn event_id(event: &Event<'_, '_>, options: &Options) -> String {
    let lsn = match &event.header.origin {
        Origin::Wal { commit_lsn, .. } if !options.is_exact() => *commit_lsn,
        _ => source::lsn(event),
    };
    id(event.header, lsn)
}

fn id(header: &TransactionHeader<'_>, lsn: u64) -> String {
    match &header.origin {
        Origin::Binlog { gtid, .. } if !gtid.is_empty() => (*gtid).to_owned(),
        Origin::Binlog { file, position, .. } => format!("file={file},pos={position}"),
        Origin::Wal { xid, .. } => format!("{xid}:{lsn}"),
        _ => String::new(),
    }
}

impl Rendering {
    /// Appends the record that a transaction begins. `first_lsn`: where its first change stands in a write-ahead log.
    pub fn begin(&self, header: &TransactionHeader<'_>, first_lsn: u64, out: &mut Records) {
        let lsn = match &header.origin {
            Origin::Wal { commit_lsn, .. } if !self.options.is_exact() || first_lsn == 0 => *commit_lsn,
            _ => first_lsn,
        };
        self.edge(header, lsn, None, out);
    }

    /// Appends the record that it ends. `tables` has the records that it made of each table (`database.table`), in the
    /// order in which the first of each came.
    pub fn end(&self, header: &TransactionHeader<'_>, tables: &[(&str, u64)], out: &mut Records) {
        let lsn = match &header.origin {
            Origin::Wal { end_lsn, .. } if self.options.is_exact() => *end_lsn,
            Origin::Wal { commit_lsn, .. } => *commit_lsn,
            _ => 0,
        };
        self.edge(header, lsn, Some(tables), out);
    }

    fn edge(&self, header: &TransactionHeader<'_>, lsn: u64, end: Option<&[(&str, u64)]>, out: &mut Records) {
        let id = id(header, lsn);
        let key = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"\"id\":");
            json::string(out, &id);
        };
        let value = |out: &mut Vec<u8>| {
            out.extend_from_slice(if end.is_some() { b"\"status\":\"END\"," } else { b"\"status\":\"BEGIN\"," });
            key(out);
            match end {
                Some(tables) => write_counts(out, tables, &self.options),
                None => out.extend_from_slice(b",\"event_count\":null,\"data_collections\":null"),
            }
            out.extend_from_slice(b",\"ts_ms\":");
            json::integer(out, header.commit_us.div_euclid(1_000));
        };
        self.transactions.record(out, key, value);
    }
}

fn write_counts(out: &mut Vec<u8>, tables: &[(&str, u64)], options: &Options) {
    out.extend_from_slice(b",\"event_count\":");
    json::integer(out, tables.iter().map(|(_, count)| *count).sum::<u64>() as i64);
    out.extend_from_slice(b",\"data_collections\":[");
    let order = match options.is_exact() {
        true => java::hash_map_order(tables.iter().map(|(name, _)| *name)),
        false => (0..tables.len()).collect(),
    };
    for (index, place) in order.into_iter().enumerate() {
        let (name, count) = tables[place];
        out.extend_from_slice(if index == 0 { b"{\"data_collection\":" } else { b",{\"data_collection\":" });
        json::string(out, name);
        out.extend_from_slice(b",\"event_count\":");
        json::integer(out, count as i64);
        out.push(b'}');
    }
    out.push(b']');
}

/// Appends a payload, in an envelope with its schema where schemas are on.
pub(crate) fn with_schema(out: &mut Vec<u8>, schemas: bool, schema: &Schema, payload: impl FnOnce(&mut Vec<u8>)) {
    if !schemas {
        return payload(out);
    }
    out.extend_from_slice(b"{\"schema\":");
    out.extend_from_slice(&schema.text());
    out.extend_from_slice(b",\"payload\":");
    payload(out);
    out.push(b'}');
}

/// The shape of keys and that of values of the records of edges.
pub(super) fn shapes() -> (Shape, Shape) {
    let collection =
        vec![Schema::new(Kind::String).field("data_collection"), Schema::new(Kind::Int64).field("event_count")];
    let collection = Schema::structure("event.collection", Some(1), collection).optional();
    let value = vec![
        Schema::new(Kind::String).field("status"),
        Schema::new(Kind::String).field("id"),
        Schema::new(Kind::Int64).optional().field("event_count"),
        Schema::new(Kind::Array(Box::new(collection))).optional().field("data_collections"),
        Schema::new(Kind::Int64).field("ts_ms"),
    ];
    let key = vec![Schema::new(Kind::String).field("id")];
    let name = "io.debezium.connector.common.TransactionMetadataValue";
    (("io.debezium.connector.common.TransactionMetadataKey", key), (name, value))
}
