//! Records that are of no table: the begin and end of transactions, heartbeats, messages.
//!
//! Invariant: each captured one is made again from what it tells. Start at [`captured_records_of_no_table_are_made_again`].

use super::settings;
use expect_test::expect;
use headwater_format::debezium::options::{
    Connector, Converter, KeyField, NameAdjustment, Predicate, Step, Test, Transform, Unwrap,
};
use headwater_format::debezium::{Options, Order, Place, Records, Rendering};
use headwater_model::{Change, Message, Op, Origin, TransactionHeader};
use headwater_testkit::golden::{self, Record};
use serde_json::Value;

#[test]
fn transforms_route_records_of_no_table_too() {
    let always = |step| Transform { step, predicate: None };
    let router = |regex: &str, replacement: &str, key: Option<KeyField>| Step::LogicalRouter {
        regex: regex.to_owned(),
        replacement: replacement.to_owned(),
        key,
        schema_name_adjustment: NameAdjustment::None,
    };
    let name = |regex: &str, replacement: &str| Step::RegexRouter {
        regex: regex.to_owned(),
        replacement: replacement.to_owned(),
    };
    let only = |test, negate| Some(Predicate { test, negate });
    let named = |pattern: &str| Test::Topic(pattern.to_owned());
    for (transforms, expected) in [
        // An unwrapped record would have no envelope: these have none, and stay.
        (vec![always(Step::Unwrap(Unwrap::default()))], expect!["__debezium-heartbeat.p p.transaction p.message"]),
        (vec![always(name(r"p\.(.*)", "q.$1"))], expect!["__debezium-heartbeat.p q.transaction q.message"]),
        (vec![always(name("(.*)", "all.$1"))], expect!["all.__debezium-heartbeat.p all.p.transaction all.p.message"]),
        (
            vec![Transform { step: name(".*", "x"), predicate: only(named(".*heartbeat.*"), false) }],
            expect!["x p.transaction p.message"],
        ),
        (
            vec![Transform { step: name(".*", "x"), predicate: only(named(".*heartbeat.*"), true) }],
            expect!["__debezium-heartbeat.p x x"],
        ),
        (
            vec![Transform { step: name(".*", "x"), predicate: only(Test::Tombstone, false) }],
            expect!["__debezium-heartbeat.p p.transaction p.message"],
        ),
        (
            vec![Transform { step: name(".*", "x"), predicate: only(Test::Header("any".into()), true) }],
            expect!["x x x"],
        ),
        (vec![always(router(r"p\.(.*)", "$1", None))], expect!["__debezium-heartbeat.p transaction message"]),
    ] {
        let rendering = Rendering::new(Options { transforms, ..routed() }).unwrap();
        expected.assert_eq(&format!(
            "{} {} {}",
            rendering.heartbeat_topic(),
            rendering.transaction_topic(),
            rendering.message_topic()
        ));
    }
    let twice = vec![
        always(router(r"p\.(.*)", "$1", Some(KeyField::default()))),
        always(router("(.*)", "z.$1", Some(KeyField { name: "then".into(), ..KeyField::default() }))),
    ];
    let rendering = Rendering::new(Options { transforms: twice, ..routed() }).unwrap();
    let mut out = Records::default();
    let origin = Origin::Wal { xid: 7, commit_lsn: 9, end_lsn: 10, previous_lsn: 8, origin: "", origin_lsn: 0 };
    rendering.begin(&TransactionHeader { commit_us: 2_000, receive_us: 0, origin }, 5, &mut out);
    rendering.heartbeat(1_000, &mut out);
    let texts: Vec<String> = out
        .iter()
        .flat_map(|record| [record.key().unwrap(), record.value().unwrap()])
        .map(|text| String::from_utf8(text.to_vec()).unwrap())
        .collect();
    expect![[r#"
        {"schema":{"type":"struct","fields":[{"type":"string","optional":false,"field":"id"},{"type":"string","optional":false,"field":"__dbz__physicalTableIdentifier"},{"type":"string","optional":false,"field":"then"}],"optional":false,"name":"z.transaction.Key","version":1},"payload":{"id":"7:5","__dbz__physicalTableIdentifier":"p.transaction","then":"transaction"}}
        {"status":"BEGIN","id":"7:5","event_count":null,"data_collections":null,"ts_ms":2}
        {"schema":{"type":"struct","fields":[{"type":"string","optional":false,"field":"serverName"},{"type":"string","optional":false,"field":"then"}],"optional":false,"name":"z.__debezium-heartbeat.p.Key","version":1},"payload":{"serverName":"p","then":"__debezium-heartbeat.p"}}
        {"ts_ms":1}"#]].assert_eq(&texts.join("\n"));
}

/// Names of PostgreSQL, keys with schemas.
fn routed() -> Options {
    let value = Converter { schemas: false, ..Converter::default() };
    Options { connector: Connector::Postgresql, prefix: "p".into(), value, ..Options::default() }
}

/// Fewer would mean that records are not found.
const RECORDS_LEAST: usize = 150;

#[test]
fn captured_records_of_no_table_are_made_again() {
    let (mut equal, mut faults) = (0, Vec::new());
    for kind in golden::KINDS {
        for mut scenario in golden::scenarios(&golden::folder(), kind).unwrap() {
            let rendering = Rendering::new(settings::options(&scenario)).unwrap();
            scenario.right = None;
            scenario.records.retain(|record| record.value.as_deref().is_some_and(is_own));
            let got: Vec<Record> = scenario.records.iter().map(|record| again(record, &rendering)).collect();
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

fn again(record: &Record, rendering: &Rendering) -> Record {
    let payload = payload(record.value.as_deref().unwrap());
    let mut out = Records::default();
    let topic = if payload.get("event_count").is_some() {
        transaction(&payload, rendering, &mut out);
        rendering.transaction_topic()
    } else if payload["op"] == "m" {
        message(&payload, rendering, &mut out);
        rendering.message_topic()
    } else {
        rendering.heartbeat(1_000, &mut out);
        rendering.heartbeat_topic()
    };
    let topic = topic.to_owned();
    let made = out.iter().next().expect("a record");
    assert_eq!((out.len(), made.headers().count()), (1, 0));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Record { topic, key: made.key().map(text), value: made.value().map(text), ..record.clone() }
}

fn transaction(payload: &Value, rendering: &Rendering, out: &mut Records) {
    let id = payload["id"].as_str().unwrap();
    let (xid, lsn) = id.split_once(':').unwrap_or((id, ""));
    let lsn = lsn.parse().unwrap_or(0);
    let origin = match xid.parse() {
        Ok(xid) if rendering.options().database == "gold" => {
            Origin::Wal { xid, commit_lsn: lsn, end_lsn: lsn, previous_lsn: 0, origin: "", origin_lsn: 0 }
        }
        _ => Origin::Binlog { server_id: 1, file: "binlog.000001", position: 4, gtid: id, thread: 1, xid: 1 },
    };
    let header = TransactionHeader { commit_us: 2_000, receive_us: 0, origin };
    if payload["status"] == "BEGIN" {
        return rendering.begin(&header, lsn, out);
    }
    // Of tables in one bucket of a hash map the first stays the first, so the captured order is kept if it is one at all.
    let tables: Vec<(&str, u64)> = payload["data_collections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| (table["data_collection"].as_str().unwrap(), table["event_count"].as_u64().unwrap()))
        .collect();
    rendering.end(&header, &tables, out);
}

fn message(payload: &Value, rendering: &Rendering, out: &mut Records) {
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
    rendering.message(&change, &mut Place { header: &header, order }, out);
}
