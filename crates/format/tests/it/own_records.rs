//! Records that are of no table: the begin and end of transactions, heartbeats, messages.
//!
//! Invariant: each captured one is made again from what it tells. Start at [`captured_records_of_no_table_are_made_again`].

use super::settings;
use headwater_format::debezium::{self, Options, Order, Place, Records, Rendering};
use headwater_model::{Change, Message, Op, Origin, TransactionHeader};
use headwater_testkit::golden::{self, Record};
use serde_json::Value;

/// Fewer would mean that records are not found.
const RECORDS_LEAST: usize = 150;

#[test]
fn captured_records_of_no_table_are_made_again() {
    let (mut equal, mut faults) = (0, Vec::new());
    for kind in golden::KINDS {
        for mut scenario in golden::scenarios(&golden::folder(), kind).unwrap() {
            let options = settings::options(&scenario);
            scenario.right = None;
            scenario.records.retain(|record| record.value.as_deref().is_some_and(is_own));
            let got: Vec<Record> = scenario.records.iter().map(|record| again(record, &options)).collect();
            let report = golden::compare(&scenario, &got, &[]).unwrap();
            match report.is_equal() {
                true => equal += got.len(),
                false => faults.push(format!("{}: {:?}", scenario.id(), report.differences.first())),
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(equal >= RECORDS_LEAST, "only {equal} records were compared");
}

fn is_own(value: &str) -> bool {
    let payload = payload(value);
    let is_message = payload["op"] == "m" && payload["message"]["content"].is_string();
    let is_heartbeat = payload.as_object().is_some_and(|members| members.len() == 1 && members.contains_key("ts_ms"));
    is_message || is_heartbeat || payload.get("event_count").is_some()
}

fn payload(text: &str) -> Value {
    let value: Value = serde_json::from_str(text).unwrap();
    match value.get("schema").is_some() {
        true => value["payload"].clone(),
        false => value,
    }
}

fn again(record: &Record, options: &Options) -> Record {
    let rendering = Rendering::new(options.clone()).unwrap();
    let payload = payload(record.value.as_deref().unwrap());
    let mut out = Records::default();
    let topic = if payload.get("event_count").is_some() {
        transaction(&payload, options, &mut out);
        rendering.transaction_topic()
    } else if payload["op"] == "m" {
        message(&payload, options, &mut out);
        rendering.message_topic()
    } else {
        debezium::heartbeat(1_000, options, &mut out);
        rendering.heartbeat_topic()
    };
    let made = out.iter().next().expect("a record");
    assert_eq!((out.len(), made.headers().count()), (1, 0));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Record { topic, key: made.key().map(text), value: made.value().map(text), ..record.clone() }
}

fn transaction(payload: &Value, options: &Options, out: &mut Records) {
    let id = payload["id"].as_str().unwrap();
    let (xid, lsn) = id.split_once(':').unwrap_or((id, ""));
    let lsn = lsn.parse().unwrap_or(0);
    let origin = match xid.parse() {
        Ok(xid) if options.database == "gold" => {
            Origin::Wal { xid, commit_lsn: lsn, end_lsn: lsn, previous_lsn: 0, origin: "", origin_lsn: 0 }
        }
        _ => Origin::Binlog { server_id: 1, file: "binlog.000001", position: 4, gtid: id, thread: 1, xid: 1 },
    };
    let header = TransactionHeader { commit_us: 2_000, receive_us: 0, origin };
    if payload["status"] == "BEGIN" {
        return debezium::begin(&header, lsn, options, out);
    }
    // Of tables in one bucket of a hash map the first stays the first, so the captured order is kept if it is one at all.
    let tables: Vec<(&str, u64)> = payload["data_collections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| (table["data_collection"].as_str().unwrap(), table["event_count"].as_u64().unwrap()))
        .collect();
    debezium::end(&header, &tables, options, out);
}

fn message(payload: &Value, options: &Options, out: &mut Records) {
    use base64::Engine as _;
    let source = &payload["source"];
    let content = payload["message"]["content"].as_str().unwrap();
    let content = base64::engine::general_purpose::STANDARD.decode(content).unwrap();
    let message = Message {
        prefix: payload["message"]["prefix"].as_str().unwrap(),
        content: &content,
        transactional: !source["txId"].is_null(),
    };
    let origin = Origin::Wal {
        xid: source["txId"].as_u64().unwrap_or(0) as u32,
        commit_lsn: 1,
        end_lsn: 1,
        previous_lsn: 1,
        origin: "",
        origin_lsn: 0,
    };
    let header = TransactionHeader { commit_us: 1_000_000, receive_us: 2_000_000, origin };
    let change = Change {
        op: Op::Message,
        schema: 0,
        place: source["lsn"].as_u64().unwrap(),
        row: 0,
        statement: None,
        marker: None,
        before: None,
        after: None,
        message: Some(message),
    };
    let block = &payload["transaction"];
    let order = block["total_order"]
        .as_u64()
        .map(|total| Order { total: total - 1, of_table: block["data_collection_order"].as_u64().unwrap() - 1 });
    debezium::message(&change, &mut Place { header: &header, order }, options, out);
}
