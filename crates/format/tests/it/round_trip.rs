//! Every record of a change is read back into it, and the change makes the same record again: by the schema that it has
//! inline, or by the table as the source had read it.
//!
//! Invariant: nothing but the record itself, the connector's options and, for a record without a schema, its table goes into
//! it. Start at [`a_record_is_read_into_the_change_that_makes_it`].

use super::settings;
use super::tables::Tables;
use headwater_format::debezium::parse::{self, Event, ParseError};
use headwater_format::debezium::{Options, Place, Records, Rendering};
use headwater_model::Schema;
use headwater_testkit::golden::{self, Header, Record, Scenario};
use std::collections::BTreeMap;

/// Fewer would mean that scenarios are not found, or that records are passed over.
const INLINE_LEAST: usize = 2_500;
/// The same of records without a schema.
const PLAIN_LEAST: usize = 2_050;
/// Of so many, at least, key and value are the same to the byte. What is left are two clocks in a change of key, which has one
/// for both of its records, and digits of doubles as JDK 17 prints them.
const TO_THE_BYTE_LEAST: usize = 4_550;
/// More would mean the same; of the large transactions, the captures hold digests alone.
const ASIDE_MOST: usize = 5_550;

#[test]
fn a_record_is_read_into_the_change_that_makes_it() {
    let (mut inline, mut plain, mut faults) = (Sum::default(), Sum::default(), Vec::new());
    let mut aside: BTreeMap<&str, usize> = BTreeMap::new();
    for kind in golden::KINDS {
        for scenario in golden::scenarios(&golden::folder(), kind).unwrap() {
            let options = settings::options(&scenario);
            if scenario.config.values().any(|value| value.ends_with("ExtractNewRecordState")) {
                *aside.entry("unwrapped").or_default() += scenario.records.len();
                continue;
            }
            let is_inline = options.key.schemas && options.value.schemas;
            let tables = if is_inline { None } else { Some(Tables::of(&scenario)) };
            let (scenario, got) = again(scenario, tables, &options, &mut aside);
            let report = golden::compare(&scenario, &got, &[]).unwrap();
            let sum = if is_inline { &mut inline } else { &mut plain };
            sum.records += got.len();
            sum.to_the_byte += got.iter().zip(&scenario.records).filter(|(got, given)| is_same(got, given)).count();
            if !report.is_equal() {
                faults.push(format!("{}: {:?}", scenario.id(), report.differences.iter().take(2).collect::<Vec<_>>()));
            }
        }
    }
    println!("with their schemas inline {inline:?}, without {plain:?}; left aside: {aside:?}");
    assert!(faults.is_empty(), "{} scenarios:\n{}", faults.len(), faults.join("\n"));
    assert!(inline.records >= INLINE_LEAST && plain.records >= PLAIN_LEAST, "only {inline:?} and {plain:?}");
    assert!(inline.to_the_byte + plain.to_the_byte >= TO_THE_BYTE_LEAST, "only {inline:?} and {plain:?}");
    assert!(aside.values().sum::<usize>() <= ASIDE_MOST, "left aside: {aside:?}");
}

/// Records that were compared as captures are, and how many of them are equal with their clocks and positions as well.
#[derive(Debug, Default)]
struct Sum {
    records: usize,
    to_the_byte: usize,
}

/// The scenario with the records of changes alone, and what they become. What is left out is counted.
fn again(
    mut scenario: Scenario,
    mut tables: Option<Tables>,
    options: &Options,
    aside: &mut BTreeMap<&'static str, usize>,
) -> (Scenario, Vec<Record>) {
    let rendering = Rendering::new(options.clone()).unwrap();
    let (mut given, mut got) = (Vec::new(), Vec::new());
    let mut rest = scenario.records.as_slice();
    while let Some(first) = rest.first() {
        let length = change_length(rest);
        let (records, behind) = rest.split_at(length);
        rest = behind;
        if let Some(why) = apart(first) {
            *aside.entry(why).or_default() += length;
            continue;
        }
        let made = match &mut tables {
            None => made(records, None, &rendering),
            Some(tables) => tables.find(
                first,
                |table| made(records, Some(table), &rendering),
                |made| {
                    made.as_ref().is_ok_and(|made| made.iter().zip(records).all(|(made, given)| is_same(made, given)))
                },
            ),
        };
        got.extend(made.unwrap_or_else(|error| panic!("{}: {}: {error}", scenario.id(), first.topic)));
        given.extend_from_slice(records);
    }
    (scenario.records, scenario.right) = (given, None);
    (scenario, got)
}

/// Whether key and value are the same to the byte, up to the nanoseconds of the clock, which a change does not have. Headers
/// tell which run of the connector made them.
fn is_same(one: &Record, other: &Record) -> bool {
    fn value(record: &Record) -> Option<&str> {
        let value = record.value.as_deref()?;
        Some(value.rsplit_once(",\"ts_ns\":").map_or(value, |(before, _)| before))
    }
    (&one.key, value(one)) == (&other.key, value(other))
}

/// Why a record is none of a change.
fn apart(record: &Record) -> Option<&'static str> {
    let Some(value) = &record.value else {
        return Some(if record.digest.is_some() { "kept as a digest" } else { "tombstones of nothing" });
    };
    if value.contains("\"op\":\"m\"") {
        return Some("messages");
    }
    (!value.contains("\"source\":{\"version\"")).then_some("of transactions and heartbeats")
}

/// The records that are made of what `records`, all of one change, are read into.
fn made(records: &[Record], table: Option<&Schema>, rendering: &Rendering) -> Result<Vec<Record>, ParseError> {
    let event = event(records, table, rendering.options())?;
    let table = rendering.table_of(&event);
    let header = event.header();
    let mut place = Place { header: &header, order: event.order };
    let mut out = Records::default();
    table.records(&event.change().unwrap(), &mut place, &mut out);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let again = out.iter().zip(records).map(|(record, given)| Record {
        topic: record.topic().unwrap_or(table.topic()).to_owned(),
        key: record.key().map(text),
        value: record.value().map(text),
        headers: record.headers().map(|(key, value)| Header { key: key.to_owned(), value: value.map(text) }).collect(),
        ..given.clone()
    });
    Ok(again.collect())
}

/// How many of the records at the front one change made.
fn change_length(records: &[Record]) -> usize {
    let is_tombstone =
        |at: usize| records.get(at).is_some_and(|record| record.value.is_none() && record.digest.is_none());
    let has = |at: usize, name: &str| {
        records.get(at).is_some_and(|record: &Record| record.headers.iter().any(|header| header.key == name))
    };
    let behind = if is_tombstone(1) { 2 } else { 1 };
    match has(0, "__debezium.newkey") && has(behind, "__debezium.oldkey") {
        true => behind + 1,
        false => behind,
    }
}

fn event(records: &[Record], table: Option<&Schema>, options: &Options) -> Result<Event, ParseError> {
    let read = |record: &Record| {
        let (key, value) = (record.key.as_deref(), record.value.as_deref().unwrap());
        parse::event(key.map(str::as_bytes), value.as_bytes(), table, options)
    };
    let (first, last) = (&records[0], &records[records.len() - 1]);
    match last.headers.iter().any(|header| header.key == "__debezium.oldkey") {
        true => Ok(Event::key_change(read(first)?, read(last)?)),
        false => read(first),
    }
}
