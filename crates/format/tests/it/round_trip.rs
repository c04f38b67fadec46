//! Every record that has its schema inline is read back into a change, and the change makes the same record again.
//!
//! Invariant: nothing but the record itself and the connector's options goes into it. Start at
//! [`a_record_is_read_into_the_change_that_makes_it`].

use super::settings;
use headwater_format::debezium::parse::{self, Event};
use headwater_format::debezium::{Options, Place, Records, Rendering};
use headwater_testkit::golden::{self, Header, Record, Scenario};

/// Fewer would mean that scenarios are not found, or that records are passed over.
const RECORDS_LEAST: usize = 2_500;

#[test]
fn a_record_is_read_into_the_change_that_makes_it() {
    let (mut equal, mut faults) = (0, Vec::new());
    for kind in golden::KINDS {
        for scenario in golden::scenarios(&golden::folder(), kind).unwrap() {
            let options = settings::options(&scenario);
            let unwrapped = scenario.config.values().any(|value| value.ends_with("ExtractNewRecordState"));
            if !options.key.schemas || !options.value.schemas || unwrapped {
                continue;
            }
            let (scenario, got) = again(scenario, &options);
            let report = golden::compare(&scenario, &got, &[]).unwrap();
            if report.is_equal() {
                equal += got.len();
            } else {
                faults.push(format!("{}: {:?}", scenario.id(), report.differences.iter().take(2).collect::<Vec<_>>()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(equal >= RECORDS_LEAST, "only {equal} records were compared");
}

/// The scenario with the records of changes alone, and what they become.
fn again(mut scenario: Scenario, options: &Options) -> (Scenario, Vec<Record>) {
    let rendering = Rendering::new(options.clone()).unwrap();
    let (mut given, mut got) = (Vec::new(), Vec::new());
    let mut rest = scenario.records.as_slice();
    while let Some(first) = rest.first() {
        let length = change_length(rest);
        let (records, behind) = rest.split_at(length);
        rest = behind;
        if !first.value.as_deref().is_some_and(|value| value.contains(".Envelope\"")) {
            continue;
        }
        let event = event(records, options);
        let table = rendering.table_of(&event);
        let header = event.header();
        let mut place = Place { header: &header, order: event.order };
        let mut out = Records::default();
        table.records(&event.change().unwrap(), &mut place, &mut out);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        for (record, given) in out.iter().zip(records) {
            got.push(Record {
                topic: record.topic().unwrap_or(table.topic()).to_owned(),
                key: record.key().map(text),
                value: record.value().map(text),
                headers: record
                    .headers()
                    .map(|(key, value)| Header { key: key.to_owned(), value: value.map(text) })
                    .collect(),
                ..given.clone()
            });
        }
        given.extend_from_slice(records);
    }
    (scenario.records, scenario.right) = (given, None);
    (scenario, got)
}

/// How many of the records at the front one change made.
fn change_length(records: &[Record]) -> usize {
    let is_tombstone = |at: usize| records.get(at).is_some_and(|record| record.value.is_none());
    let has = |at: usize, name: &str| {
        records.get(at).is_some_and(|record: &Record| record.headers.iter().any(|header| header.key == name))
    };
    let behind = if is_tombstone(1) { 2 } else { 1 };
    match has(0, "__debezium.newkey") && has(behind, "__debezium.oldkey") {
        true => behind + 1,
        false => behind,
    }
}

fn event(records: &[Record], options: &Options) -> Event {
    let read = |record: &Record| {
        let value = record.value.as_deref().unwrap();
        parse::event(record.key.as_deref().map(str::as_bytes), value.as_bytes(), None, options)
            .unwrap_or_else(|error| panic!("{}: {error}", record.topic))
    };
    let (first, last) = (&records[0], &records[records.len() - 1]);
    match last.headers.iter().any(|header| header.key == "__debezium.oldkey") {
        true => Event::key_change(read(first), read(last)),
        false => read(first),
    }
}
