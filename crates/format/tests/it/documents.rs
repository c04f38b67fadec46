//! JSON documents of MySQL: the original's snapshot has the server's text, its stream a text of its own.
//!
//! Invariant: both are made of one value. Start at [`the_streams_text_is_made_of_the_servers`].

use super::settings;
use headwater_format::debezium::{Place, Records, Rendering, parse};
use headwater_model::{Column, Op, Schema, Type};
use headwater_testkit::golden;
use serde_json::Value;
use std::collections::BTreeMap;

/// In the captures a row of the stream has the number of the same row of the snapshot plus this.
const STREAM_IDS: i64 = 100;

/// A negative time inside of JSON, of which the original makes `839:0-60:0-59`.
const NONSENSE: &str = "-838:59:59";

#[test]
fn the_streams_text_is_made_of_the_servers() {
    let scenario = golden::scenario(&golden::folder(), "mysql", "types-json").unwrap();
    let options = settings::options(&scenario);
    let rendering = Rendering::new(options.clone()).unwrap();
    let mut id = Column::new("id", Type::Int { bits: 32, unsigned: false }, "int");
    id.nullable = false;
    let schema = Schema::new(1, "types_json", "docs", vec![id, Column::new("j", Type::Json, "json")], vec![0]);
    let mut streamed = BTreeMap::new();
    let mut read = Vec::new();
    for record in scenario.records.iter().filter(|record| record.topic.ends_with(".docs")) {
        let (Some(key), Some(value)) = (&record.key, &record.value) else { continue };
        let payload = serde_json::from_str::<Value>(value).unwrap();
        let id = payload["after"]["id"].as_i64();
        match payload["op"].as_str() {
            Some("c") => drop(streamed.insert(id.unwrap(), payload["after"]["j"].clone())),
            Some("r") => read.push((id.unwrap(), key, value)),
            _ => {}
        }
    }
    let mut compared = 0;
    for (id, key, value) in read {
        let Some(expected) = streamed.get(&(id + STREAM_IDS)) else { continue };
        if value.contains(NONSENSE) {
            continue;
        }
        // The value of the snapshot, as if it came by the stream.
        let mut event = parse::event(Some(key.as_bytes()), value.as_bytes(), Some(&schema), &options).unwrap();
        event.op = Op::Create;
        event.marker = None;
        let header = event.header();
        let mut out = Records::default();
        let mut place = Place { header: &header, order: None };
        rendering.table(&schema).records(&event.change().unwrap(), &mut place, &mut out);
        let made: Value = serde_json::from_slice(out.iter().next().unwrap().value().unwrap()).unwrap();
        assert_eq!(made["after"]["j"], *expected, "row {id}");
        compared += 1;
    }
    assert!(compared > 20, "only {compared} documents were compared");
}
