//! Messages: every kind as a server sent it, those of version 4 by hand, and what is refused.

use super::super::message::EPOCH_US;
use super::super::{Cell, Malformed, Message, Old, PlannedColumn, Reader, RowError, RowPlan, Tuple};
use super::types;
use expect_test::expect_file;
use headwater_model::{Row, Value};
use std::collections::HashMap;
use std::fmt::Write as _;

/// The recorded messages, in order.
pub fn recorded() -> Vec<Vec<u8>> {
    include_str!("../fixtures/stream.hex").lines().map(super::values::unhex).collect()
}

fn row(tuple: &Tuple<'_>) -> String {
    let cells = tuple.cells().map(|cell| match cell {
        Cell::Null => "null".into(),
        Cell::Unchanged => "unchanged".into(),
        Cell::Text(text) if text.len() > 40 => format!("{} bytes", text.len()),
        Cell::Text(text) => format!("{:?}", String::from_utf8_lossy(text)),
        Cell::Binary(bytes) => format!("{bytes:?}"),
    });
    format!("({})", cells.collect::<Vec<_>>().join(", "))
}

fn old_row(old: &Old<'_>) -> String {
    match old {
        Old::Key(tuple) => format!("key {}", row(tuple)),
        Old::Row(tuple) => format!("row {}", row(tuple)),
    }
}

fn shown(message: &Message<'_>) -> String {
    match message {
        Message::Relation(relation) => {
            let columns = relation.columns().map(|column| {
                let identity = if column.is_identity { " in identity" } else { "" };
                format!("{} {}/{}{identity}", column.name, column.type_oid, column.type_modifier)
            });
            let columns = columns.collect::<Vec<_>>().join(", ");
            let (xid, identity) = (relation.xid, relation.identity);
            format!("Relation xid {xid:?} {}.{} {identity:?} ({columns})", relation.namespace, relation.name)
        }
        Message::Insert { xid, new, .. } => format!("Insert xid {xid:?} {}", row(new)),
        Message::Update { xid, old, new, .. } => {
            let old = old.as_ref().map_or_else(|| "nothing".into(), old_row);
            format!("Update xid {xid:?} of {old} to {}", row(new))
        }
        Message::Delete { xid, old, .. } => format!("Delete xid {xid:?} of {}", old_row(old)),
        Message::Truncate(truncate) => {
            let tables = truncate.relations().count();
            let (xid, cascade, restart) = (truncate.xid, truncate.cascade, truncate.restart_identity);
            format!("Truncate xid {xid:?} of {tables} tables, cascade {cascade}, restart {restart}")
        }
        Message::Type { xid, namespace, name, .. } => format!("Type xid {xid:?} {namespace}.{name}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn every_recorded_message_is_read() {
    let mut reader = Reader::default();
    let mut seen = String::new();
    for message in recorded() {
        let message = reader.read(&message).unwrap();
        writeln!(seen, "{}", shown(&message)).unwrap();
    }
    expect_file!["../fixtures/stream.txt"].assert_eq(&seen);
}

#[test]
fn a_message_that_is_cut_off_or_goes_on_is_refused() {
    let mut reader = Reader::default();
    for message in recorded() {
        for length in 0..message.len() {
            // An abort without place and time is one of an older version.
            let older = message[0] == b'A' && length == 9;
            assert!(older || reader.read(&message[..length]).is_err(), "{} of {}", length, message.len());
        }
        let longer = [message.as_slice(), b"\0"].concat();
        assert!(reader.read(&longer).is_err());
        reader.read(&message).unwrap();
    }
}

#[test]
fn an_abort_of_version_4_says_where_and_when() {
    let mut message = b"A\0\0\0\x07\0\0\0\x08".to_vec();
    let abort = |message: &[u8]| Reader::default().read(message).map(|read| shown(&read));
    assert_eq!(abort(&message).unwrap(), "StreamAbort { xid: 7, subxid: 8, abort: None }");
    message.extend_from_slice(&0x10u64.to_be_bytes());
    message.extend_from_slice(&(1 - EPOCH_US).to_be_bytes());
    assert_eq!(abort(&message).unwrap(), "StreamAbort { xid: 7, subxid: 8, abort: Some((16, 1)) }");
}

#[test]
fn what_is_not_a_message_is_refused_by_the_name_of_the_field() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("nothing at all", b"", "it is empty"),
        ("a type that no version has", b"Z", "its type, which is unknown"),
        ("a commit with a flag", b"C\x01", "flags: none is known"),
        ("the end of a block that did not begin", b"E", "a block ends that has not begun"),
        (
            "a row of a kind that is not known",
            b"I\0\0\0\x01N\0\x01x",
            "the kind of a column's value: none of n, u, t, b",
        ),
        ("a value longer than the message", b"I\0\0\0\x01N\0\x01t\xff\xff\xff\xff", "the row is cut off"),
        (
            "more columns than a table can have",
            b"I\0\0\0\x01N\xff\xff",
            "the number of columns: more than a table can have",
        ),
        ("a time beyond 64 bits", b"B\0\0\0\0\0\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", "time: out of range"),
        ("a name that is not UTF-8", b"O\0\0\0\0\0\0\0\0\xff\0", "name of the origin"),
        ("tables that are not there", b"T\xff\xff\xff\xff\0", "numbers of tables"),
    ];
    for (name, message, expected) in cases {
        let Malformed { what, .. } = Reader::default().read(message).expect_err(name);
        assert_eq!(what, *expected, "{name}");
    }
}

#[test]
fn the_recorded_rows_decode_by_the_shapes_that_were_sent_before_them() {
    let types = types();
    let mut reader = Reader::default();
    let mut plans: HashMap<u32, RowPlan> = HashMap::new();
    let mut rows = 0;
    for message in recorded() {
        let mut out = Vec::new();
        match reader.read(&message).unwrap() {
            Message::Relation(relation) => {
                plans.insert(relation.oid, RowPlan::of_relation(&relation, &types, |name| name == "big"));
            }
            Message::Insert { relation, new, .. } => {
                plans.get_mut(&relation).unwrap().row(new.cells(), &mut out).unwrap();
                rows += 1;
            }
            Message::Update { relation, old, new, .. } => {
                let plan = plans.get_mut(&relation).unwrap();
                plan.row(new.cells(), &mut out).unwrap();
                plan.old_row(old, &mut out).unwrap();
                rows += 2;
            }
            _ => {}
        }
        let mut out = out.as_slice();
        while !out.is_empty() {
            let row = Row::decode(&mut out).unwrap();
            assert!(row.len() < 4);
            rows -= 1;
        }
    }
    assert_eq!(rows, 0);
}

fn planned(name: &'static str, type_oid: u32, is_identity: bool) -> PlannedColumn<'static> {
    PlannedColumn { name, type_oid, type_modifier: -1, excluded: name == "secret", is_identity }
}

fn decoded(row: &[u8]) -> Vec<String> {
    Row::decode(&mut &*row).unwrap().values().map(|value| format!("{value:?}")).collect()
}

#[test]
fn what_the_log_does_not_carry_is_absent_and_what_a_filter_leaves_out_is_not_there() {
    let columns = [planned("id", 23, true), planned("secret", 25, false), planned("name", 25, false)];
    let mut plan = RowPlan::new("public.t", columns, &types());
    let cells = [Cell::Text(b"7"), Cell::Text(b"\xff"), Cell::Unchanged];
    let mut out = Vec::new();
    plan.row(cells.into_iter(), &mut out).unwrap();
    assert_eq!(decoded(&out), ["Int(7)", "Absent"]);
    out.clear();
    let cells = [Cell::Binary(&[0, 0, 0, 8]), Cell::Null, Cell::Null];
    plan.row(cells.into_iter(), &mut out).unwrap();
    assert_eq!(decoded(&out), ["Int(8)", "Null"]);
    out.clear();
    plan.old_row(None, &mut out).unwrap();
    assert_eq!(decoded(&out), ["Absent", "Absent"]);
}

#[test]
fn what_was_not_sent_again_is_known_where_the_old_row_carries_it() {
    let columns = [planned("id", 25, true), planned("secret", 25, false), planned("big", 25, false)];
    let cases: &[(&str, &[u8], [&str; 2])] = &[
        ("from an old row", b"Ot\0\0\0\x01ant\0\0\0\x01z", ["Text(\"b\")", "Text(\"z\")"]),
        ("a NULL of an old row, which is one", b"Ot\0\0\0\x01ann", ["Text(\"b\")", "Null"]),
        ("from an old key, which has no other columns", b"Kt\0\0\0\x01ann", ["Text(\"b\")", "Absent"]),
        ("of nothing", b"", ["Text(\"b\")", "Absent"]),
    ];
    for (name, old, expected) in cases {
        // The number of columns stands behind the kind of a row.
        let old = old.split_first().map(|(kind, cells)| [&[*kind, 0, 3], cells].concat()).unwrap_or_default();
        let message = [b"U\0\0\0\x01", old.as_slice(), b"N\0\x03t\0\0\0\x01bnu"].concat();
        let Ok(Message::Update { old, new, .. }) = Reader::default().read(&message) else { panic!("{name}") };
        let mut plan = RowPlan::new("public.t", columns, &types());
        let mut out = Vec::new();
        plan.new_row(old, &new, &mut out).unwrap();
        assert_eq!(decoded(&out), *expected, "{name}");
    }
    // A key that is stored out of line is in the old key although it did not change.
    let message = b"U\0\0\0\x01K\0\x03t\0\0\0\x01knnN\0\x03unn";
    let Ok(Message::Update { old, new, .. }) = Reader::default().read(message) else { panic!("an update") };
    let mut out = Vec::new();
    RowPlan::new("public.t", columns, &types()).new_row(old, &new, &mut out).unwrap();
    assert_eq!(decoded(&out), ["Text(\"k\")", "Null"]);
}

#[test]
fn a_row_that_cannot_be_read_leaves_nothing_behind_and_is_named_without_its_value() {
    let mut plan = RowPlan::new("public.t", [planned("id", 23, true), planned("day", 1082, false)], &types());
    let cases: &[(&[Cell<'_>], &str)] = &[
        (
            &[Cell::Text(b"1"), Cell::Text(b"hidden")],
            "a value of column day of public.t is not a date as DateStyle=ISO",
        ),
        (&[Cell::Text(b"1"), Cell::Binary(b"h")], "a value of column day of public.t is not a date in binary form"),
        (&[Cell::Text(b"1")], "a row of public.t has 1 columns, but the shape that was sent before it has 2"),
        (&[Cell::Null, Cell::Null, Cell::Null], "a row of public.t has 3 columns"),
    ];
    for (cells, expected) in cases {
        let mut out = vec![42];
        let error: RowError = plan.row(cells.iter().copied(), &mut out).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with(expected) && !error.contains("hidden"), "{error}");
        assert_eq!(out, [42]);
    }
    let mut out = Vec::new();
    plan.row([Cell::Text(b"1"), Cell::Null].into_iter(), &mut out).unwrap();
    assert_eq!(Row::decode(&mut out.as_slice()).unwrap().get(1), Some(Value::Null));
}
