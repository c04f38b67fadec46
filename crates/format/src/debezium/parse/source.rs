//! The `source` block read back: where the change stood.
//!
//! Invariant: what the block does not tell is zero or empty. Start at [`event`].

use super::{Block, Event, Object, ParseError};
use crate::debezium::options::Options;
use crate::debezium::record::Order;
use headwater_model::{Op, Origin, Schema, SnapshotMarker};
use serde::Deserialize;

/// [`Origin`] with texts of its own.
#[derive(Clone, Debug)]
pub(in crate::debezium) enum OwnedOrigin {
    Binlog { server_id: u32, file: String, position: u64, gtid: String, thread: u64 },
    BinlogSnapshot { file: String, position: u64 },
    Wal { xid: u32, lsn: u64, previous_lsn: u64, origin: String, origin_lsn: u64 },
    WalSnapshot { xid: u32, lsn: u64 },
}

#[derive(Deserialize)]
struct SourceBlock {
    #[serde(default)]
    ts_us: Option<i64>,
    ts_ms: i64,
    snapshot: Option<String>,
    db: String,
    schema: Option<String>,
    table: Option<String>,
    #[serde(default)]
    server_id: u32,
    gtid: Option<String>,
    #[serde(default)]
    file: String,
    #[serde(default)]
    pos: u64,
    #[serde(default)]
    row: u32,
    thread: Option<u64>,
    query: Option<String>,
    #[serde(rename = "txId")]
    tx_id: Option<u32>,
    lsn: Option<u64>,
    sequence: Option<String>,
    origin: Option<String>,
    origin_lsn: Option<u64>,
}

/// Reads everything of an envelope but its rows and its schema.
pub(super) fn event(envelope: &Object<'_>, options: &Options) -> Result<Event, ParseError> {
    let read = |name: &str| envelope.get(name).map(|raw| raw.get());
    let missing = |name: &str| ParseError::new(name, "it is missing or of another form");
    let op = match read("op") {
        Some("\"c\"") => Op::Create,
        Some("\"r\"") => Op::Read,
        Some("\"u\"") => Op::Update,
        Some("\"d\"") => Op::Delete,
        Some("\"t\"") => Op::Truncate,
        _ => return Err(missing("op")),
    };
    let block: SourceBlock =
        read("source").and_then(|raw| serde_json::from_str(raw).ok()).ok_or_else(|| missing("source"))?;
    let order = read("transaction").and_then(|raw| serde_json::from_str::<Option<Block>>(raw).ok()).flatten();
    let order = order.map(|block| Order {
        total: block.total_order.saturating_sub(1),
        of_table: block.data_collection_order.saturating_sub(1),
    });
    let number = |name: &str| read(name).and_then(|raw| raw.parse::<i64>().ok());
    let receive_us = number("ts_us").or_else(|| number("ts_ms")?.checked_mul(1_000)).unwrap_or(0);
    let database = if options.is_postgres() { block.schema.clone().unwrap_or_default() } else { block.db.clone() };
    let table = block.table.clone().unwrap_or_default();
    let marker = if op == Op::Read { marker(block.snapshot.as_deref()) } else { None };
    Ok(Event {
        schema: Schema::new(0, &database, &table, Vec::new(), Vec::new()),
        op,
        marker,
        order,
        parameters: Vec::new(),
        place: if op == Op::Read { 0 } else { block.lsn.unwrap_or(block.pos) },
        row: block.row,
        statement: block.query.clone(),
        before: None,
        after: None,
        commit_us: block.ts_us.unwrap_or(block.ts_ms.saturating_mul(1_000)),
        receive_us,
        origin: origin(&block, op, options),
    })
}

fn marker(text: Option<&str>) -> Option<SnapshotMarker> {
    Some(match text? {
        "first" => SnapshotMarker::First,
        "first_in_data_collection" => SnapshotMarker::FirstInDataCollection,
        "last_in_data_collection" => SnapshotMarker::LastInDataCollection,
        "last" => SnapshotMarker::Last,
        "incremental" => SnapshotMarker::Incremental,
        _ => SnapshotMarker::True,
    })
}

fn origin(block: &SourceBlock, op: Op, options: &Options) -> OwnedOrigin {
    let lsn = block.lsn.unwrap_or(0);
    let xid = block.tx_id.unwrap_or(0);
    match (options.is_postgres(), op == Op::Read) {
        (true, true) => OwnedOrigin::WalSnapshot { xid, lsn },
        (true, false) => OwnedOrigin::Wal {
            xid,
            lsn,
            previous_lsn: block.sequence.as_deref().and_then(previous_lsn).unwrap_or(0),
            origin: block.origin.clone().unwrap_or_default(),
            origin_lsn: block.origin_lsn.unwrap_or(0),
        },
        (false, true) => OwnedOrigin::BinlogSnapshot { file: block.file.clone(), position: block.pos },
        (false, false) => OwnedOrigin::Binlog {
            server_id: block.server_id,
            file: block.file.clone(),
            position: block.pos,
            gtid: block.gtid.clone().unwrap_or_default(),
            thread: block.thread.unwrap_or(0),
        },
    }
}

/// The first of the two numbers of `["1","2"]`.
fn previous_lsn(sequence: &str) -> Option<u64> {
    let (last, _): (Option<String>, Option<String>) = serde_json::from_str(sequence).ok()?;
    last?.parse().ok()
}

impl OwnedOrigin {
    /// The same, borrowed.
    pub fn borrow(&self) -> Origin<'_> {
        match self {
            OwnedOrigin::Binlog { server_id, file, position, gtid, thread } => {
                Origin::Binlog { server_id: *server_id, file, position: *position, gtid, thread: *thread, xid: 0 }
            }
            OwnedOrigin::BinlogSnapshot { file, position } => {
                Origin::BinlogSnapshot { file, position: *position, gtid: "" }
            }
            OwnedOrigin::Wal { xid, lsn, previous_lsn, origin, origin_lsn } => Origin::Wal {
                xid: *xid,
                commit_lsn: *lsn,
                end_lsn: *lsn,
                previous_lsn: *previous_lsn,
                origin,
                origin_lsn: *origin_lsn,
            },
            OwnedOrigin::WalSnapshot { xid, lsn } => Origin::WalSnapshot { xid: *xid, lsn: *lsn },
        }
    }
}
