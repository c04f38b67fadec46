//! A change as the records of its topic: a simplified envelope without a schema, which the real one replaces.
//!
//! Invariant: a change makes exactly as many records as the journal counted when it was written: one, two for a delete
//! (its tombstone follows), three for a change of key (a delete, its tombstone, a create), none for a truncate.

use crate::render;
use headwater_model::{Change, Op, Origin, Row, Schema, SnapshotMarker, TransactionHeader};

/// One record of a topic, both parts as JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key's columns; `None` for a table without a key.
    pub key: Option<String>,
    /// The envelope; `None` for a tombstone.
    pub value: Option<String>,
}

/// A change with all that its records tell.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The source's name, the prefix of its topics.
    pub prefix: &'a str,
    /// The shape of the rows.
    pub schema: &'a Schema,
    /// The transaction.
    pub header: &'a TransactionHeader<'a>,
}

/// Appends the records that `change` makes.
pub fn records(change: &Change<'_>, context: Context<'_>, out: &mut Vec<Record>) {
    let Context { schema, .. } = context;
    let change = &change.told();
    let value = |op, before, after| Some(envelope(change, context, op, before, after));
    let key = |row: Option<Row<'_>>| row.and_then(|row| key(&row, schema));
    let (before, after) = (key(change.before), key(change.after));
    match change.op {
        Op::Create | Op::Read => out.push(Record { key: after, value: value(change.op, None, change.after) }),
        Op::Update if before == after => {
            out.push(Record { key: after, value: value(Op::Update, change.before, change.after) });
        }
        Op::Update => {
            out.push(Record { key: before.clone(), value: value(Op::Delete, change.before, None) });
            out.push(Record { key: before, value: None });
            out.push(Record { key: after, value: value(Op::Create, None, change.after) });
        }
        Op::Delete => {
            out.push(Record { key: before.clone(), value: value(Op::Delete, change.before, None) });
            out.push(Record { key: before, value: None });
        }
        Op::Truncate | Op::Message => {}
    }
}

fn key(row: &Row<'_>, schema: &Schema) -> Option<String> {
    if schema.key.is_empty() {
        return None;
    }
    let mut json = Vec::new();
    for (index, &column) in schema.key.iter().enumerate() {
        json.push(if index == 0 { b'{' } else { b',' });
        let column = usize::from(column);
        field(&mut json, schema, column, row);
    }
    json.push(b'}');
    Some(text(json))
}

fn envelope(
    change: &Change<'_>,
    context: Context<'_>,
    op: Op,
    before: Option<Row<'_>>,
    after: Option<Row<'_>>,
) -> String {
    let mut json = b"{\"before\":".to_vec();
    image(&mut json, before, context.schema);
    json.extend_from_slice(b",\"after\":");
    image(&mut json, after, context.schema);
    json.extend_from_slice(b",\"source\":");
    source(&mut json, change, context);
    let received = context.header.receive_us;
    json.extend_from_slice(
        format!(
            ",\"op\":\"{}\",\"ts_ms\":{},\"ts_us\":{received},\"ts_ns\":{}}}",
            op.letter(),
            received / 1000,
            i128::from(received) * 1000
        )
        .as_bytes(),
    );
    text(json)
}

fn image(json: &mut Vec<u8>, row: Option<Row<'_>>, schema: &Schema) {
    let Some(row) = row else { return json.extend_from_slice(b"null") };
    json.push(b'{');
    for (index, (value, column)) in row.values().zip(&schema.columns).enumerate() {
        if index > 0 {
            json.push(b',');
        }
        render::json_string(json, &column.name);
        json.push(b':');
        render::json(json, value, &column.kind);
    }
    json.push(b'}');
}

fn field(json: &mut Vec<u8>, schema: &Schema, index: usize, row: &Row<'_>) {
    if let (Some(column), Some(value)) = (schema.columns.get(index), row.get(index)) {
        render::json_string(json, &column.name);
        json.push(b':');
        render::json(json, value, &column.kind);
    }
}

fn source(json: &mut Vec<u8>, change: &Change<'_>, Context { prefix, schema, header }: Context<'_>) {
    let (server_id, file, position, gtid, thread) = match &header.origin {
        Origin::Binlog { server_id, file, position, gtid, thread, .. } => {
            let place = if change.place == 0 { *position } else { change.place };
            (*server_id, *file, place, *gtid, *thread)
        }
        Origin::BinlogSnapshot { file, position, gtid } => (0, *file, *position, *gtid, 0),
        Origin::Wal { .. } | Origin::WalSnapshot { .. } | Origin::Headwater => (0, "", 0, "", 0),
    };
    let snapshot = match change.marker {
        None => "false",
        Some(SnapshotMarker::First) => "first",
        Some(SnapshotMarker::FirstInDataCollection) => "first_in_data_collection",
        Some(SnapshotMarker::True) => "true",
        Some(SnapshotMarker::LastInDataCollection) => "last_in_data_collection",
        Some(SnapshotMarker::Last) => "last",
        Some(SnapshotMarker::Incremental) => "incremental",
    };
    let mut put = |name: &str, value: &str, quoted: bool| {
        json.push(if json.ends_with(b":") { b'{' } else { b',' });
        render::json_string(json, name);
        json.push(b':');
        match quoted {
            true => render::json_string(json, value),
            false => json.extend_from_slice(value.as_bytes()),
        }
    };
    put("name", prefix, true);
    put("ts_ms", &(header.commit_us / 1000).to_string(), false);
    put("ts_us", &header.commit_us.to_string(), false);
    put("snapshot", snapshot, true);
    put("db", &schema.database, true);
    put("table", &schema.table, true);
    put("server_id", &server_id.to_string(), false);
    match gtid.is_empty() {
        true => put("gtid", "null", false),
        false => put("gtid", gtid, true),
    }
    put("file", file, true);
    put("pos", &position.to_string(), false);
    put("row", &change.row.to_string(), false);
    put("thread", &thread.to_string(), false);
    match change.statement {
        Some(statement) => put("query", statement, true),
        None => put("query", "null", false),
    }
    json.push(b'}');
}

/// Everything that is put in is UTF-8.
fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use headwater_model::{Column, RowWriter, TransactionBuilder, Type, Value};

    #[test]
    fn a_change_makes_as_many_records_as_were_counted() {
        let column = |name: &str, kind| Column::new(name, kind, "");
        let int = Type::Int { bits: 32, unsigned: false };
        let schema = Schema::new(
            1,
            "shop",
            "t",
            vec![column("id", int), column("name", Type::Text { charset: "utf8mb4".into() })],
            vec![0],
        );
        let mut builder = TransactionBuilder::default();
        let row = |out: &mut Vec<u8>, id| {
            let mut row = RowWriter::begin(out, 2);
            row.put(Value::Int(id));
            row.put(Value::Text("a\"b"));
        };
        let out = builder.begin(Op::Update, 1, 400, 2);
        row(out, 1);
        row(out, 2);
        builder.end(Op::Update, 1, true);
        builder.begin(Op::Truncate, 1, 500, 0);
        builder.end(Op::Truncate, 1, false);
        let origin = Origin::Binlog { server_id: 7, file: "b.01", position: 300, gtid: "0-7-1", thread: 3, xid: 1 };
        let header = TransactionHeader { commit_us: 1_000_001, receive_us: 2_000_002, origin };
        let context = Context { prefix: "live", schema: &schema, header: &header };
        let mut got = Vec::new();
        for change in headwater_model::change::Changes::new(builder.items()) {
            records(&change.unwrap(), context, &mut got);
        }
        let lines: Vec<String> = got
            .iter()
            .map(|record| format!("{} {}", record.key.as_deref().unwrap(), record.value.as_deref().unwrap_or("-")))
            .collect();
        expect![[r#"
            {"id":1} {"before":{"id":1,"name":"a\"b"},"after":null,"source":{"name":"live","ts_ms":1000,"ts_us":1000001,"snapshot":"false","db":"shop","table":"t","server_id":7,"gtid":"0-7-1","file":"b.01","pos":400,"row":2,"thread":3,"query":null},"op":"d","ts_ms":2000,"ts_us":2000002,"ts_ns":2000002000}
            {"id":1} -
            {"id":2} {"before":null,"after":{"id":2,"name":"a\"b"},"source":{"name":"live","ts_ms":1000,"ts_us":1000001,"snapshot":"false","db":"shop","table":"t","server_id":7,"gtid":"0-7-1","file":"b.01","pos":400,"row":2,"thread":3,"query":null},"op":"c","ts_ms":2000,"ts_us":2000002,"ts_ns":2000002000}"#]]
        .assert_eq(&lines.join("\n"));
    }
}
