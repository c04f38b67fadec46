//! Records that nobody meant: cut off, with other members, with other types. Reading one is an error or a change.
//!
//! Invariant: no record makes the reader panic, and none that is read makes the writer panic. Start at
//! [`a_damaged_record_is_an_error_or_a_change`].

use super::settings;
use super::tables::Tables;
use headwater_format::debezium::{Options, Place, Records, Rendering, parse};
use headwater_model::Schema;
use headwater_testkit::golden;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Of each kind; the records of a few scenarios are damaged in turn.
const CASES: u32 = 1_000;

/// Scenarios whose records have most of the types, with their schemas inline and without.
const SCENARIOS: [(&str, &str); 8] = [
    ("mysql", "propagate-column-type"),
    ("mysql", "types-decimal"),
    ("postgresql", "types_not_null"),
    ("postgresql", "types_array"),
    ("mysql", "random-11"),
    ("mariadb", "temporal-nanoseconds-range"),
    ("postgresql", "fuzz_b"),
    ("postgresql", "table_shapes"),
];

fn read_and_write(key: Option<&[u8]>, value: &[u8], table: Option<&Schema>, options: &Options) {
    let Ok(event) = parse::event(key, value, table, options) else { return };
    let Some(change) = event.change() else { return };
    let table = Rendering::new(options.clone()).unwrap().table_of(&event);
    let header = event.header();
    table.records(&change, &mut Place { header: &header, order: event.order }, &mut Records::default());
}

/// One damage: at a place, so many bytes become others.
fn damage(text: &str, place: usize, length: usize, by: &[u8]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let start = place % (bytes.len() + 1);
    let end = (start + length).min(bytes.len());
    bytes.splice(start..end, by.iter().copied());
    bytes
}

#[test]
fn a_damaged_record_is_an_error_or_a_change() {
    for (kind, name) in SCENARIOS {
        let scenario = golden::scenario(&golden::folder(), kind, name).unwrap();
        let options = settings::options(&scenario);
        let is_inline = options.value.schemas;
        // Of a record without a schema any table is given, its own or another: what a hostile one has is not said either.
        let tables =
            if is_inline { vec![None] } else { Tables::of(&scenario).all().iter().cloned().map(Some).collect() };
        let records: Vec<(String, String)> =
            scenario.records.iter().filter_map(|record| Some((record.key.clone()?, record.value.clone()?))).collect();
        let seed: u64 = rand_seed();
        println!("{kind}/{name}: seed {seed}");
        let config =
            Config { cases: CASES, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() };
        let by = prop_oneof![
            prop::sample::select(vec!["", "null", "-", "9999999999999999999999", "\"", "{", "]", "1e999", "\\u"])
                .prop_map(|text| text.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..4),
        ];
        let index = any::<prop::sample::Index>;
        let cases = ((index(), index()), any::<usize>(), 0usize..24, by, any::<bool>());
        let run = TestRunner::new(config).run(&cases, |((record, table), place, length, by, in_key)| {
            let (key, value) = &records[record.index(records.len())];
            let table = tables[table.index(tables.len())].as_ref();
            match in_key {
                true => read_and_write(Some(&damage(key, place, length, &by)), value.as_bytes(), table, &options),
                // Behind the schema there is more to break.
                false => {
                    let payload = value.find("\"payload\"").unwrap_or(0);
                    let place = if place % 2 == 0 { payload + place / 2 % (value.len() - payload) } else { place };
                    read_and_write(Some(key.as_bytes()), &damage(value, place, length, &by), table, &options);
                }
            }
            Ok(())
        });
        run.unwrap_or_else(|error| panic!("{kind}/{name}, seed {seed}: {error}"));
    }
}

/// Another for each run, printed so that a failure can be seen again.
fn rand_seed() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
