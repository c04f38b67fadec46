//! What counts as a difference and what does not. Each case is one change of one record.

use super::*;
use crate::golden::Phase;
use expect_test::expect;
use std::path::PathBuf;

fn scenario(records: Vec<Record>) -> Scenario {
    Scenario {
        kind: "mysql".into(),
        name: "case".into(),
        folder: PathBuf::new(),
        description: String::new(),
        database: "d".into(),
        create_database: None,
        other_databases: Vec::new(),
        topic_prefix: "p".into(),
        config: BTreeMap::new(),
        phases: vec![Phase::Streaming],
        topics: Vec::new(),
        without: Vec::new(),
        normalise: Vec::new(),
        unordered_fields: Vec::new(),
        unordered_topics: Vec::new(),
        repeating_topics: Vec::new(),
        expect_failure: None,
        records,
        right: None,
    }
}

fn record(value: &str) -> Record {
    let value = Some(value.to_owned());
    let key = Some(r#"{"id":1}"#.to_owned());
    Record { topic: "p.d.t".into(), partition: 0, offset: 0, key, value, digest: None, headers: Vec::new() }
}

fn header(record: Record, key: &str, value: &str) -> Record {
    Record { headers: vec![Header { key: key.into(), value: Some(value.into()) }], ..record }
}

/// An event of MySQL with the usual clocks and positions.
fn event() -> String {
    r#"{"before":null,"after":{"id":1,"v":1,"ts_ms":1},"source":{"version":"3.6.1.Final","connector":"mysql","name":"p","ts_ms":100,"snapshot":"false","db":"d","sequence":null,"ts_us":1,"ts_ns":1,"table":"t","server_id":1,"gtid":"u:1","file":"b.1","pos":4,"row":0,"thread":7,"query":null},"transaction":{"id":"t1","total_order":1,"data_collection_order":1},"op":"c","ts_ms":9,"ts_us":5,"ts_ns":6}"#
        .to_owned()
}

fn wrapped(payload: &str) -> String {
    format!(r#"{{"schema":{{"type":"struct","name":"x","version":1}},"payload":{payload}}}"#)
}

/// The places that differ, without the texts.
fn places(scenario: &Scenario, got: &[Record]) -> String {
    let report = compare(scenario, got, &[]).unwrap();
    report.differences.iter().map(|difference| difference.place.as_str()).collect::<Vec<_>>().join("; ")
}

#[test]
fn clocks_and_positions_are_left_out_and_nothing_else_is() {
    for (from, to, expected) in [
        (r#""ts_ms":9"#, r#""ts_ms":77"#, ""),
        (r#""ts_ms":100"#, r#""ts_ms":5"#, ""),
        (r#""server_id":1"#, r#""server_id":9"#, ""),
        (r#""gtid":"u:1""#, r#""gtid":"z:77""#, ""),
        (r#""file":"b.1","pos":4"#, r#""file":"q.9","pos":44"#, ""),
        (r#""id":"t1""#, r#""id":"x9""#, ""),
        (r#""gtid":"u:1""#, r#""gtid":null"#, "value source.gtid"),
        (r#""server_id":1"#, r#""server_id":0"#, "value source.server_id"),
        (r#""snapshot":"false""#, r#""snapshot":"last""#, "value source.snapshot"),
        (r#""row":0"#, r#""row":1"#, "value source.row"),
        (r#""total_order":1"#, r#""total_order":2"#, "value transaction.total_order"),
        (r#""v":1,"#, r#""v":1.0,"#, "value after.v"),
        (r#""v":1,"#, r#""v":"1","#, "value after.v"),
        (r#""v":1,"#, "", "value after.v"),
        (r#""v":1,"#, r#""v":{"x":1},"#, "value after.v; value after.v.x"),
        // A clock by its name, but a column.
        (r#""v":1,"ts_ms":1"#, r#""v":1,"ts_ms":2"#, "value after.ts_ms"),
        (r#""id":1,"v":1"#, r#""v":1,"id":1"#, "value after.id"),
        (r#""v":1,"#, r#""v": 1,"#, "value $"),
    ] {
        let changed = event().replace(from, to);
        assert_ne!(changed, event(), "{from}");
        assert_eq!(places(&scenario(vec![record(&event())]), &[record(&changed)]), expected, "{from} -> {to}");
        let inside = expected.replace("value ", "value payload.").replace("payload.$", "$");
        let (old, new) = (record(&wrapped(&event())), record(&wrapped(&changed)));
        assert_eq!(places(&scenario(vec![old]), &[new]), inside, "{from} -> {to}, with a schema");
    }
}

#[test]
fn each_part_of_a_record_counts() {
    let plain = || record(r#"{"a":1}"#);
    for (what, expected, got, places_of) in [
        ("a tombstone", Record { value: None, ..plain() }, plain(), "value $"),
        ("the letters null", Record { value: None, ..plain() }, record("null"), "value $"),
        ("a key", plain(), Record { key: Some(r#"{"id":2}"#.into()), ..plain() }, "key id"),
        ("no key", plain(), Record { key: None, ..plain() }, "key $"),
        ("a partition", plain(), Record { partition: 2, ..plain() }, "partition"),
        ("a header", header(plain(), "h", "a"), header(plain(), "h", "b"), "headers"),
        ("a header with a clock", header(plain(), "__ts_ms", "1"), header(plain(), "__ts_ms", "2"), ""),
        (
            "a run's id",
            header(plain(), "__debezium.context.runId", "a"),
            header(plain(), "__debezium.context.runId", "b"),
            "",
        ),
        ("text that is no JSON", record("abc"), record("abd"), "value $"),
        (
            "Java 17's digits",
            record(r#"{"d":2.0E-3,"f":1.17549435E-38}"#),
            record(r#"{"d":2.0E-3,"f":1.1754944E-38}"#),
            "",
        ),
        ("another notation", record(r#"{"d":2.0E-3}"#), record(r#"{"d":0.002}"#), "value d"),
    ] {
        assert_eq!(places(&scenario(vec![expected]), &[got]), places_of, "{what}");
    }
}

#[test]
fn missing_and_extra_records_leave_the_others_in_place() {
    let records = |numbers: &[u64]| -> Vec<Record> {
        numbers.iter().map(|at| Record { offset: *at, ..record(&format!("{{\"a\":{at}}}")) }).collect()
    };
    let counts =
        |got: &[u64]| compare(&scenario(records(&[0, 1, 2, 3, 4])), &records(got), &[]).unwrap().counts.to_string();
    expect!["4 equal, 0 different, 1 missing, 0 extra, 0 waived"].assert_eq(&counts(&[0, 1, 3, 4]));
    expect!["5 equal, 0 different, 0 missing, 1 extra, 0 waived"].assert_eq(&counts(&[0, 1, 9, 2, 3, 4]));
    expect!["4 equal, 1 different, 0 missing, 0 extra, 0 waived"].assert_eq(&counts(&[0, 1, 9, 3, 4]));
    expect!["0 equal, 0 different, 5 missing, 0 extra, 0 waived"].assert_eq(&counts(&[]));
}

#[test]
fn transactions_stand_for_one_another_one_to_one() {
    let records = |ids: &[&str]| -> Vec<Record> {
        let of = |(at, id): (usize, &&str)| Record {
            offset: at as u64,
            ..record(&event().replace("t1", id).replace("\"total_order\":1", &format!("\"total_order\":{at}")))
        };
        ids.iter().enumerate().map(of).collect()
    };
    for (got, different) in [(["x", "x", "y"], 0), (["x", "y", "y"], 1), (["x", "x", "x"], 1), (["a", "a", "b"], 0)] {
        let report = compare(&scenario(records(&["a", "a", "b"])), &records(&got), &[]).unwrap();
        assert_eq!(report.counts.different, different, "{got:?}: {:?}", report.differences);
    }
}

#[test]
fn what_a_scenario_leaves_to_chance_is_left_out() {
    let mut case = scenario(vec![record(r#"{"after":{"t":1,"o":{"a":1,"b":2}}}"#), record(r#"{"n":1}"#)]);
    let got = [record(r#"{"n":1}"#), record(r#"{"after":{"t":2,"o":{"b":2,"a":1}}}"#), record(r#"{"n":1}"#)];
    assert!(!compare(&case, &got, &[]).unwrap().is_equal());
    case.normalise = vec!["after\\.t".into()];
    case.unordered_fields = vec!["o".into()];
    case.repeating_topics = vec!["^p".into()];
    assert!(compare(&case, &got, &[]).unwrap().is_equal());
}

#[test]
fn a_value_kept_as_a_digest_is_compared_by_its_digest() {
    let normaliser = Normaliser::default();
    let text = normaliser.text(&event(), "p.d.t", Part::Value).text;
    let digest = Some(super::super::Digest { sha256: sha256(text.as_bytes()), chars: text.chars().count() as u64 });
    let kept = scenario(vec![Record { value: None, digest, ..record("") }]);
    assert_eq!(places(&kept, &[record(&event().replace("\"ts_ms\":9", "\"ts_ms\":10"))]), "");
    assert_eq!(places(&kept, &[record(&event().replace("\"v\":1", "\"v\":2"))]), "value (kept as a digest)");
}

#[test]
fn a_waiver_takes_out_its_own_difference_alone_and_is_counted() {
    let waiver = |path: &str| Waiver { scenario: "mysql/case".into(), path: path.into(), reason: "an identity".into() };
    let case = scenario(vec![record(r#"{"a":1,"b":1}"#)]);
    let counts = |got: &str, waiver: Waiver| compare(&case, &[record(got)], &[waiver]).unwrap().counts.to_string();
    expect!["0 equal, 0 different, 0 missing, 0 extra, 1 waived"]
        .assert_eq(&counts(r#"{"a":2,"b":1}"#, waiver(r"p\.d\.t value a")));
    expect!["0 equal, 1 different, 0 missing, 0 extra, 0 waived"]
        .assert_eq(&counts(r#"{"a":2,"b":2}"#, waiver(r"p\.d\.t value a")));
    expect!["0 equal, 1 different, 0 missing, 0 extra, 0 waived"]
        .assert_eq(&counts(r#"{"a":2,"b":1}"#, Waiver { scenario: "mysql/other".into(), ..waiver(".*") }));
}

#[test]
fn every_scenario_is_equal_to_itself() {
    for kind in crate::golden::KINDS {
        for scenario in crate::golden::scenarios(&crate::golden::folder(), kind).unwrap() {
            let expected = scenario.expected().unwrap();
            let report = compare(&scenario, &expected, &[]).unwrap();
            assert!(report.is_equal(), "{}: {:?}", scenario.id(), report.differences);
            let once = scenario.repeating_topics.is_empty() && !scenario.config.contains_key("heartbeat.interval.ms");
            assert!(report.counts.equal == expected.len() || !once, "{}: {}", scenario.id(), report.counts);
        }
    }
}
