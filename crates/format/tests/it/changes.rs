//! Changes as records: how many they make, and what exact and right differ in.
//!
//! Invariant: a table counts its records before they are made, and makes as many. Start at
//! [`a_change_makes_as_many_records_as_the_table_counts`].

use expect_test::expect;
use headwater_format::debezium::options::{
    Compat, Connector, DeleteHandling, Predicate, Skipped, Step, Test, Transform, Unwrap,
};
use headwater_format::debezium::{Counts, Options, Order, Place, Records, Rendering, Table};
use headwater_model::change::{Changes, IMPLIED_TRUNCATE_ROW};
use headwater_model::{Change, Row, Type, Value};
use headwater_model::{Column, Op, Origin, RowWriter, Schema, SnapshotMarker, TransactionBuilder, TransactionHeader};

fn schema() -> Schema {
    let column = |name: &str, kind, native: &str| Column { nullable: false, ..Column::new(name, kind, native) };
    let columns = vec![
        column("id", Type::Int { bits: 32, unsigned: false }, "int"),
        column("kind", Type::Enum { members: vec!["a,b".into(), "c".into()] }, "enum('a,b','c')"),
        Column::new("price", Type::Float, "float"),
    ];
    Schema::new(1, "shop", "t", columns, vec![0])
}

fn header() -> TransactionHeader<'static> {
    let origin = Origin::Binlog { server_id: 7, file: "b.01", position: 300, gtid: "0-7-1", thread: 3, xid: 1 };
    TransactionHeader { commit_us: 1_000_001, receive_us: 2_000_002, origin }
}

/// One change of each sort, the update that changes the key last.
fn changes() -> TransactionBuilder {
    let mut builder = TransactionBuilder::default();
    let row = |out: &mut Vec<u8>, id| {
        let mut row = RowWriter::begin(out, 3);
        row.put(Value::Int(id));
        row.put(Value::Enum("a,b"));
        row.put(Value::Float(1_234_567.9));
    };
    row(builder.begin(Op::Create, 1, 400, 0), 1);
    builder.end(Op::Create, 1, false);
    row(builder.begin_read(1, 0, SnapshotMarker::First), 1);
    builder.end(Op::Read, 1, false);
    for (op, after) in [(Op::Update, Some(1)), (Op::Delete, None), (Op::Update, Some(2))] {
        let out = builder.begin(op, 1, 500, 1);
        row(out, 1);
        if let Some(id) = after {
            row(out, id);
        }
        builder.end(op, 1, after == Some(2));
    }
    builder.begin(Op::Truncate, 1, 600, 7);
    builder.end(Op::Truncate, 1, false);
    builder
}

fn table(options: Options) -> Table {
    Rendering::new(Options { prefix: "live".into(), ..options }).unwrap().table(&schema())
}

/// The records of each of [`changes`].
fn made(table: &Table, mut order: Option<Order>) -> Vec<Vec<String>> {
    let (builder, header) = (changes(), header());
    let mut made = Vec::new();
    for change in Changes::new(builder.items()) {
        let mut out = Records::default();
        let mut place = Place { header: &header, order };
        table.records(&change.unwrap(), &mut place, &mut out);
        order = place.order;
        let text =
            |bytes: Option<&[u8]>| bytes.map_or("-".to_owned(), |bytes| String::from_utf8(bytes.into()).unwrap());
        let line = |record: headwater_format::debezium::Record<'_>| {
            let headers: Vec<String> =
                record.headers().map(|(name, value)| format!("{name}={}", text(value))).collect();
            format!("{} {} {}", text(record.key()), text(record.value()), headers.join(" "))
        };
        made.push(out.iter().map(line).collect());
    }
    made
}

fn unwrap(deletes: DeleteHandling) -> Options {
    let step = Step::Unwrap(Unwrap { deletes, ..Unwrap::default() });
    Options { transforms: vec![Transform { step, predicate: None }], ..Options::default() }
}

#[test]
fn a_change_makes_as_many_records_as_the_table_counts() {
    let all = Skipped { create: false, update: false, delete: false, truncate: false };
    let only_tombstones = Transform {
        step: Step::Unwrap(Unwrap::default()),
        predicate: Some(Predicate { test: Test::Tombstone, negate: false }),
    };
    for (options, counts) in [
        (Options::default(), [1, 1, 1, 2, 3, 0]),
        (Options { tombstones: false, ..Options::default() }, [1, 1, 1, 1, 2, 0]),
        (Options { skipped: all, ..Options::default() }, [1, 1, 1, 2, 3, 1]),
        (Options { skipped: Skipped { update: true, ..all }, ..Options::default() }, [1, 1, 0, 2, 0, 1]),
        (Options { skipped: Skipped { delete: true, ..all }, ..Options::default() }, [1, 1, 1, 0, 3, 1]),
        (
            Options {
                connector: Connector::Postgresql,
                skipped: Skipped { delete: true, ..all },
                ..Options::default()
            },
            [1, 1, 1, 0, 1, 1],
        ),
        (unwrap(DeleteHandling::Tombstone), [1, 1, 1, 1, 2, 0]),
        (unwrap(DeleteHandling::Drop), [1, 1, 1, 0, 1, 0]),
        (unwrap(DeleteHandling::Rewrite), [1, 1, 1, 1, 2, 0]),
        (unwrap(DeleteHandling::RewriteWithTombstone), [1, 1, 1, 2, 3, 0]),
        (unwrap(DeleteHandling::DeleteToTombstone), [1, 1, 1, 1, 2, 0]),
        (unwrap(DeleteHandling::OnlyTombstone), [1, 1, 1, 1, 2, 0]),
        (unwrap(DeleteHandling::NullWithTombstone), [1, 1, 1, 2, 3, 0]),
        (Options { transforms: vec![only_tombstones], ..Options::default() }, [1, 1, 1, 1, 2, 0]),
    ] {
        let [create, read, update, delete, key_change, truncate] = counts;
        let table = table(options.clone());
        let expected = Counts { create, read, update, delete, key_change, truncate };
        // Truncates are counted one by one where some of them make nothing.
        let expected =
            Some(expected).filter(|expected| expected.truncate == 0 || options.connector == Connector::Postgresql);
        assert_eq!(table.counts(), expected, "{options:?}");
        let lengths: Vec<usize> = made(&table, None).iter().map(Vec::len).collect();
        let lengths: Vec<u32> = lengths.into_iter().map(|length| length as u32).collect();
        assert_eq!(lengths, [create, read, update, delete, key_change, truncate], "{options:?}");
    }
    assert_eq!(table(Options { skip_without_change: true, ..Options::default() }).counts(), None);
    // The update that changes nothing is left out.
    let skipping = table(Options { skip_without_change: true, ..Options::default() });
    assert_eq!(made(&skipping, None)[2].len(), 0);
}

#[test]
fn deletes_and_tombstones_of_1_x_are_unwrapped() {
    for (deletes, expected) in [
        (DeleteHandling::OnlyTombstone, ["-"].as_slice()),
        (DeleteHandling::NullWithTombstone, &["null", "-"]),
        (DeleteHandling::DeleteToTombstone, &["-"]),
    ] {
        let mut options = unwrap(deletes);
        options.value.schemas = false;
        let made = made(&table(options), None);
        let values = |records: &[String]| -> Vec<String> {
            records.iter().map(|record| record.split(' ').nth(1).unwrap().to_owned()).collect()
        };
        let of_delete = made.iter().map(|records| values(records)).find(|values| values.contains(&"-".to_owned()));
        let values = of_delete.unwrap();
        assert_eq!(values, expected, "{deletes:?}: {made:?}");
    }
}

#[test]
fn exact_reproduces_what_right_corrects() {
    let plain = |compat| {
        let mut options = Options { compat, connector: Connector::Mysql, ..Options::default() };
        (options.key.schemas, options.value.schemas) = (false, false);
        let lines = made(&table(options), Some(Order { total: 4, of_table: 1 }));
        let after =
            |line: &String| line.split("\"after\":").nth(1).and_then(|rest| rest.split('}').next()).map(str::to_owned);
        (after(&lines[0][0]).unwrap(), after(&lines[1][0]).unwrap(), lines[4].join("\n"))
    };
    let (created, read, key_change) = plain(Compat::Exact);
    expect![[r#"{"id":1,"kind":"a\\,b","price":1234567.9"#]].assert_eq(&created);
    expect![[r#"{"id":1,"kind":"a,b","price":1234570.0"#]].assert_eq(&read);
    expect![[r#"
        {"id":1} {"before":{"id":1,"kind":"a\\,b","price":1234567.9},"after":null,"source":{"version":"3.6.1.Final","connector":"mysql","name":"live","ts_ms":1000,"snapshot":"false","db":"shop","sequence":null,"ts_us":1000001,"ts_ns":1000001000,"table":"t","server_id":7,"gtid":"0-7-1","file":"b.01","pos":500,"row":1,"thread":3,"query":null},"transaction":{"id":"0-7-1","total_order":9,"data_collection_order":6},"op":"d","ts_ms":2000,"ts_us":2000002,"ts_ns":2000002000} __debezium.newkey={"id":2}
        {"id":1} - __debezium.newkey={"id":2}
        {"id":2} {"before":null,"after":{"id":2,"kind":"a\\,b","price":1234567.9},"source":{"version":"3.6.1.Final","connector":"mysql","name":"live","ts_ms":1000,"snapshot":"false","db":"shop","sequence":null,"ts_us":1000001,"ts_ns":1000001000,"table":"t","server_id":7,"gtid":"0-7-1","file":"b.01","pos":500,"row":1,"thread":3,"query":null},"transaction":{"id":"0-7-1","total_order":10,"data_collection_order":7},"op":"c","ts_ms":2000,"ts_us":2000002,"ts_ns":2000002000} __debezium.oldkey={"id":1}"#]].assert_eq(&key_change);
    let (created, read, _) = plain(Compat::Right);
    assert_eq!(created, read);
    expect![[r#"{"id":1,"kind":"a,b","price":1234567.9"#]].assert_eq(&read);
}

#[test]
fn a_session_is_shown_where_the_original_knows_it() {
    let source = |compat, connector, change: usize| {
        let skipped = Skipped { create: false, update: false, delete: false, truncate: false };
        let mut options = Options { compat, connector, skipped, ..Options::default() };
        (options.key.schemas, options.value.schemas) = (false, false);
        let line = made(&table(options), None)[change].join("\n");
        let member = |name: &str| line.split(&format!("\"{name}\":")).nth(1).and_then(|rest| rest.split(',').next());
        (member("row").map(str::to_owned), member("thread").map(str::to_owned))
    };
    for (compat, connector, change, row, thread) in [
        (Compat::Exact, Connector::Mysql, 0, "0", "3"),
        (Compat::Exact, Connector::Mysql, 5, "7", "null"),
        (Compat::Exact, Connector::Mariadb, 0, "0", "null"),
        (Compat::Right, Connector::Mysql, 5, "0", "3"),
        (Compat::Right, Connector::Mariadb, 0, "0", "3"),
    ] {
        let shown = source(compat, connector, change);
        assert_eq!(shown, (Some(row.into()), Some(thread.into())), "{compat:?} {connector:?} change {change}");
    }
}

#[test]
fn a_dropped_table_truncates_nothing_in_exact() {
    let skipped = Skipped { create: false, update: false, delete: false, truncate: false };
    for (compat, records) in [(Compat::Exact, 0), (Compat::Right, 1)] {
        let table = table(Options { compat, connector: Connector::Mysql, skipped, ..Options::default() });
        let mut builder = TransactionBuilder::default();
        builder.begin(Op::Truncate, 1, 600, IMPLIED_TRUNCATE_ROW);
        builder.end(Op::Truncate, 1, false);
        let change = Changes::new(builder.items()).next().unwrap().unwrap();
        let (header, mut out) = (header(), Records::default());
        table.records(&change, &mut Place { header: &header, order: None }, &mut out);
        assert_eq!((out.len(), table.counts().is_none()), (records, compat == Compat::Exact), "{compat:?}");
    }
}

/// What an update leaves as it was is copied from the first image, and must be what would be written.
#[test]
fn an_update_shows_each_column_of_both_images() {
    let column = |name: &str, kind: Type, native: &str| Column::new(name, kind, native);
    let text = || Type::Text { charset: "utf8mb4".into() };
    let columns = vec![
        column("id", Type::Int { bits: 32, unsigned: false }, "integer"),
        column("a", text(), "text"),
        column("b", text(), "text"),
        column("f", Type::Double, "double precision"),
        column("c", text(), "text"),
    ];
    let schema = Schema::new(1, "public", "t", columns, vec![0]);
    let mut options = Options { connector: Connector::Postgresql, ..Options::default() };
    options.value.schemas = false;
    let rendering = Rendering::new(options).unwrap();
    let table = rendering.table(&schema);
    let row = |values: [Value<'_>; 4]| {
        let mut out = Vec::new();
        let mut row = RowWriter::begin(&mut out, 5);
        row.put(Value::Int(1));
        values.into_iter().for_each(|value| row.put(value));
        drop(row);
        out
    };
    let (x, y, zero) = (Value::Text("x"), Value::Text("y"), Value::Double(0.0));
    for (before, after, shown) in [
        ([x, x, zero, x], [x, y, zero, x], r#"{"id":1,"a":"x","b":"y","f":0.0,"c":"x"}"#),
        ([x, x, zero, x], [y, x, Value::Double(-0.0), x], r#"{"id":1,"a":"y","b":"x","f":-0.0,"c":"x"}"#),
        ([x, x, zero, x], [x, x, zero, x], r#"{"id":1,"a":"x","b":"x","f":0.0,"c":"x"}"#),
        (
            [x, y, zero, Value::Null],
            [Value::Absent, x, zero, Value::Null],
            r#"{"id":1,"a":"x","b":"x","f":0.0,"c":null}"#,
        ),
        (
            [Value::Absent, x, zero, Value::Absent],
            [Value::Absent, y, zero, Value::Null],
            r#"{"id":1,"a":"__debezium_unavailable_value","b":"y","f":0.0,"c":null}"#,
        ),
    ] {
        let (before, after) = (row(before), row(after));
        let change = Change {
            op: Op::Update,
            schema: 1,
            place: 0,
            row: 0,
            statement: None,
            marker: None,
            before: Row::decode(&mut &before[..]),
            after: Row::decode(&mut &after[..]),
            message: None,
        };
        let origin = Origin::Wal { xid: 1, commit_lsn: 2, end_lsn: 3, previous_lsn: 1, origin: "", origin_lsn: 0 };
        let header = TransactionHeader { commit_us: 1, receive_us: 2, origin };
        let mut records = Records::default();
        table.records(&change, &mut Place { header: &header, order: None }, &mut records);
        let value = records.iter().next().unwrap().value().unwrap();
        let value = std::str::from_utf8(value).unwrap();
        assert!(value.contains(&format!("\"after\":{shown},")), "{value}");
    }
}
