//! What a builder writes, a view reads; damaged bodies are an error.

use super::*;
use crate::header::Origin;
use crate::row::RowWriter;
use crate::value::Value;
use proptest::prelude::*;

const HEADER: TransactionHeader<'static> = TransactionHeader {
    commit_us: 1_700_000_000_000_000,
    receive_us: 1_700_000_000_000_900,
    origin: Origin::Binlog { server_id: 7, file: "binlog.000003", position: 4711, gtid: "0-7-12", thread: 9, xid: 81 },
};

fn body() -> Vec<u8> {
    let mut builder = TransactionBuilder::default();
    builder.statement("insert into t values (1, 'a')");
    row(builder.begin(Op::Create, 3, 4800, 0), 1, "a");
    builder.end(Op::Create, 3, false);
    let out = builder.begin(Op::Update, 3, 4900, 0);
    row(out, 1, "a");
    row(out, 2, "a");
    builder.end(Op::Update, 3, true);
    row(builder.begin(Op::Delete, 4, 5000, 1), 2, "a");
    builder.end(Op::Delete, 4, false);
    row(builder.begin_read(4, 0, SnapshotMarker::Last), 5, "b");
    builder.end(Op::Read, 4, false);
    let out = builder.begin_read_again(4, 1, SnapshotMarker::True);
    row(out, 6, "c");
    row(out, 6, "d");
    builder.end(Op::Read, 4, false);
    builder.begin(Op::Create, 4, 0, 0);
    builder.abandon();
    assert_eq!(builder.changes(), 5);
    assert_eq!(
        builder.tallies(),
        [
            Tally { schema: 3, creates: 1, key_changes: 1, ..Tally::default() },
            Tally { schema: 4, reads: 2, deletes: 1, ..Tally::default() },
        ]
    );
    let mut body = Vec::new();
    put_header(&mut body, &HEADER);
    body.extend_from_slice(builder.items());
    body
}

fn row(out: &mut Vec<u8>, id: i64, name: &str) {
    let mut row = RowWriter::begin(out, 2);
    row.put(Value::Int(id));
    row.put(Value::Text(name));
}

#[test]
fn a_body_reads_back() {
    let body = body();
    let view = TransactionView::decode(&body).unwrap();
    assert_eq!(view.header, HEADER);
    let changes: Vec<_> = view.changes().map(Result::unwrap).collect();
    let seen: Vec<_> = changes.iter().map(|c| (c.op, c.schema, c.place, c.row, c.marker)).collect();
    assert_eq!(
        seen,
        [
            (Op::Create, 3, 4800, 0, None),
            (Op::Update, 3, 4900, 0, None),
            (Op::Delete, 4, 5000, 1, None),
            (Op::Read, 4, 0, 0, Some(SnapshotMarker::Last)),
            (Op::Update, 4, 0, 1, Some(SnapshotMarker::True)),
        ]
    );
    assert_eq!(changes[1].before.unwrap().get(0), Some(Value::Int(1)));
    assert_eq!(changes[1].after.unwrap().get(0), Some(Value::Int(2)));
    assert_eq!(changes[3].after.unwrap().get(1), Some(Value::Text("b")));
    let told = changes[4].told();
    assert_eq!((told.op, told.before, told.after), (Op::Read, None, changes[4].after));
    assert_eq!(changes[4].before.unwrap().get(1), Some(Value::Text("c")));
    assert_eq!(changes[1].told(), changes[1]);
    assert_eq!(changes[0].statement, Some("insert into t values (1, 'a')"));
}

#[test]
fn unwanted_schemas_are_skipped_and_counted() {
    let body = body();
    let mut skipped = 0;
    let mut changes = TransactionView::decode(&body).unwrap().changes();
    let first = changes.next_wanted(&mut skipped, |schema| schema == 4).unwrap().unwrap();
    assert_eq!((first.op, skipped), (Op::Delete, 2));
}

proptest! {
    #[test]
    fn damage_is_an_error_or_other_data_but_never_a_panic(place in 0usize..400, bit in 0u8..8, cut in 0usize..400) {
        let mut body = body();
        let place = place % body.len();
        body[place] ^= 1 << bit;
        body.truncate(body.len() - cut % body.len());
        if let Ok(view) = TransactionView::decode(&body) {
            for _ in view.changes() {}
        }
    }
}
