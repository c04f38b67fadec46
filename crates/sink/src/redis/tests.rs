//! What changes become: rows in, what Redis is asked and told out. The answers to the questions are part of a case.

use super::bind::{Bound, Image};
use super::follow::Follow;
use super::outcome::OwnKeys;
use super::plan::{Flaws, Plan};
use super::resp::Commands;
use expect_test::{Expect, expect};
use headwater_model::sink::Event;
use headwater_model::{
    Change, Column, Op, Origin, Row, RowWriter, Schema, SnapshotMarker, TransactionHeader, Type, Value,
};
use redis::Value as Reply;
use std::sync::Arc;

const VALUE_BYTES_MAX_IN_TESTS: usize = 10_000;

/// `shop.items`: id bigint, sku varchar null, price decimal(10,2) null, quantity bigint unsigned null.
fn items() -> Arc<Schema> {
    let column = |name: &str, kind| Column::new(name, kind, "");
    let columns = vec![
        column("id", Type::Int { bits: 64, unsigned: false }),
        column("sku", Type::Text { charset: "utf8mb4".into() }),
        column("price", Type::Decimal { precision: 10, scale: 2 }),
        column("quantity", Type::Int { bits: 64, unsigned: true }),
    ];
    Arc::new(Schema::new(1, "shop", "items", columns, vec![0]))
}

/// `1 sku 2.50 3`, with `-` for NULL.
fn row(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = RowWriter::begin(&mut bytes, 4);
    for (i, word) in text.split_whitespace().enumerate() {
        writer.put(match (i, word) {
            (_, "-") => Value::Null,
            (0, word) => Value::Int(word.parse().unwrap()),
            (1, word) => Value::Text(word),
            (2, word) => Value::Decimal(word),
            (_, word) => Value::UInt(word.parse().unwrap()),
        });
    }
    drop(writer);
    bytes
}

/// `+ row`, `- row`, `row -> row`, `r row` for the first row of a snapshot; one change a line, numbered from 1.
fn plan(writes: serde_json::Value, changes: &str, flaws: &Flaws) -> Plan {
    let follow = Follow::parse(&serde_json::json!({ "shop.items": writes })).unwrap();
    let schema = items();
    let bound = Bound::new(&schema, &follow.tables["shop.items"]).unwrap();
    let header = TransactionHeader { commit_us: 0, receive_us: 0, origin: Origin::Headwater };
    let rows: Vec<_> = changes
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            if let Some((before, after)) = line.split_once("->") {
                return (Op::Update, Some(row(before)), Some(row(after)));
            }
            match line.split_at(1) {
                ("+", after) => (Op::Create, None, Some(row(after))),
                ("r", after) => (Op::Read, None, Some(row(after))),
                ("-", before) => (Op::Delete, Some(row(before)), None),
                _ => panic!("{line} is no change"),
            }
        })
        .collect();
    let mut plan = Plan::new(VALUE_BYTES_MAX_IN_TESTS);
    plan.begin();
    let mut images = [Image::default(), Image::default()];
    for (i, (op, before, after)) in rows.iter().enumerate() {
        let change = Change {
            op: *op,
            schema: 1,
            place: 0,
            row: 0,
            statement: None,
            marker: (*op == Op::Read).then_some(SnapshotMarker::First),
            before: before.as_ref().map(|row| Row::decode(&mut &row[..]).unwrap()),
            after: after.as_ref().map(|row| Row::decode(&mut &row[..]).unwrap()),
            message: None,
        };
        plan.add(
            &Event { sequence: i as u64 + 1, change, schema: &schema, header: &header },
            &bound,
            &mut images,
            flaws,
        )
        .unwrap();
    }
    plan
}

/// Commands as lines of words.
fn lines(commands: &[u8]) -> String {
    let text = String::from_utf8_lossy(commands);
    let mut out = String::new();
    let mut words = text.split("\r\n");
    while let Some(count) = words.next().and_then(|word| word.strip_prefix('*')) {
        let args: Vec<&str> = (0..count.parse().unwrap())
            .map(|_| {
                let length: usize = words.next().unwrap()[1..].parse().unwrap();
                let arg = words.next().unwrap();
                assert_eq!(length, arg.len());
                arg
            })
            .collect();
        out += &args.join(" ");
        out.push('\n');
    }
    out
}

/// An answer: `nil`, `:1`, `wrongtype`, a string; several for an array.
fn reply(text: &str) -> Reply {
    let one = |word: &str| match word {
        "nil" => Reply::Nil,
        "wrongtype" => redis::parse_redis_value(b"-WRONGTYPE x\r\n").unwrap(),
        word => match word.strip_prefix(':') {
            Some(number) => Reply::Int(number.parse().unwrap()),
            None => Reply::BulkString(word.as_bytes().to_vec()),
        },
    };
    match text.split_once(' ') {
        None => one(text),
        Some(_) => Reply::Array(text.split(' ').map(one).collect()),
    }
}

/// Plans `changes`, answers the questions, and shows all of it.
fn check(writes: serde_json::Value, changes: &str, answers: &[&str], expected: Expect) {
    let own = OwnKeys::new("s");
    let mut flaws = Flaws::default();
    let mut seen = String::new();
    let mut plan = plan(writes.clone(), changes, &flaws);
    let mut asked = Commands::default();
    plan.questions(&own, &mut asked);
    let questions = lines(&asked.bytes);
    assert_eq!(questions.lines().count(), answers.len(), "answers to:\n{questions}");
    for (question, answer) in questions.lines().zip(answers) {
        seen += &format!("{question} ? {answer}\n");
    }
    let mut answers = answers.iter().map(|answer| Ok(reply(answer)));
    if plan.answers(|| answers.next().unwrap(), &mut flaws).unwrap() {
        plan = self::plan(writes, changes, &flaws);
    }
    for prefix in &plan.prefixes {
        seen += &format!("sweep {}\n", String::from_utf8_lossy(prefix));
    }
    plan.finish(&own, "j:1:9");
    let all = lines(&plan.out.bytes);
    let end = "SET headwater:s:progress j:1:9\nEXEC\nWATCH headwater:s:progress\nGET headwater:s:progress\n";
    seen += all.strip_prefix("MULTI\n").and_then(|all| all.strip_suffix(end)).unwrap();
    expected.assert_eq(&seen);
}

#[test]
fn json_follows_its_key() {
    check(
        serde_json::json!([{"json": "i:{sku}"}]),
        "+ 1 a 2.50 18446744073709551615
         1 a 2.50 3 -> 1 b - 3
         1 b - 3 -> 1 - - 3
         1 - - 3 -> 1 c 0.10 -
         - 1 c 0.10 -",
        &[],
        expect![[r#"
            SET i:a {"id":1,"sku":"a","price":"2.50","quantity":18446744073709551615}
            DEL i:a
            SET i:b {"id":1,"sku":"b","price":null,"quantity":3}
            DEL i:b
            SET i:c {"id":1,"sku":"c","price":"0.10","quantity":null}
            DEL i:c
        "#]],
    );
}

#[test]
fn json_takes_the_columns_it_is_told_and_expires() {
    check(
        serde_json::json!([
            {"json": "a:{id}", "columns": ["price", "id"], "ttl": "1h"},
            {"json": "b:{id}", "exclude": ["sku", "price"], "ttl": "30s", "ttl_refresh": false},
        ]),
        "+ 1 a 2.50 3",
        &[],
        expect![[r#"
            SET a:1 {"price":"2.50","id":1} PX 3600000
            SET b:1 {"id":1,"quantity":3} KEEPTTL
            PEXPIRE b:1 30000 NX
        "#]],
    );
}

#[test]
fn a_hash_has_a_field_for_each_column_that_is_not_null() {
    check(
        serde_json::json!([{"hash": "i:{id}", "fields": ["sku", "price"]}]),
        "+ 1 a 2.50 3
         1 a 2.50 3 -> 1 - 2.50 3
         1 - 2.50 3 -> 2 - - 3
         - 2 - - 3",
        &[":0", ":0"],
        expect![[r#"
            HLEN i:1 ? :0
            HLEN i:2 ? :0
            HSET i:1 sku a price 2.50
            HSET i:1 price 2.50
            HDEL i:1 sku
            HDEL i:1 sku price
            HDEL i:2 sku price
            HDEL i:2 sku price
        "#]],
    );
}

#[test]
fn a_hash_of_all_columns_goes_as_a_whole() {
    check(
        serde_json::json!([{"hash": "i:{id}", "ttl": "1s"}]),
        "+ 1 a 2.50 3
         - 1 a 2.50 3",
        &[":0"],
        expect![[r#"
            HLEN i:1 ? :0
            HSET i:1 id 1 sku a price 2.50 quantity 3
            DEL i:1
            PEXPIRE i:1 1000
        "#]],
    );
}

#[test]
fn members_are_counted() {
    let set = || serde_json::json!([{"set": "skus:{quantity}", "member": "{sku}"}]);
    check(
        set(),
        "+ 1 a - 7",
        &[":0", "nil"],
        expect![[r#"
        SISMEMBER skus:7 a ? :0
        HGET headwater:s:refs:skus:7 a ? nil
        SADD skus:7 a
    "#]],
    );
    check(
        set(),
        "+ 2 a - 7",
        &[":1", "nil"],
        expect![[r#"
        SISMEMBER skus:7 a ? :1
        HGET headwater:s:refs:skus:7 a ? nil
        HSET headwater:s:refs:skus:7 a 2
    "#]],
    );
    check(
        set(),
        "- 2 a - 7",
        &[":1", "2"],
        expect![[r#"
        SISMEMBER skus:7 a ? :1
        HGET headwater:s:refs:skus:7 a ? 2
        HDEL headwater:s:refs:skus:7 a
    "#]],
    );
    check(
        set(),
        "- 1 a - 7",
        &[":1", "nil"],
        expect![[r#"
        SISMEMBER skus:7 a ? :1
        HGET headwater:s:refs:skus:7 a ? nil
        SREM skus:7 a
    "#]],
    );
    check(
        set(),
        "+ 1 a - 7
         + 2 b - 7
         + 3 a - 7
         2 b - 7 -> 2 c - 8
         + 4 - - 7",
        &[":0 :0", "nil nil", ":0", "nil"],
        expect![[r#"
            SMISMEMBER skus:7 a b ? :0 :0
            HMGET headwater:s:refs:skus:7 a b ? nil nil
            SISMEMBER skus:8 c ? :0
            HGET headwater:s:refs:skus:8 c ? nil
            SADD skus:7 a
            HSET headwater:s:refs:skus:7 a 2
            SADD skus:8 c
        "#]],
    );
}

#[test]
fn a_count_never_goes_below_zero() {
    let set = || serde_json::json!([{"set": "skus", "member": "{sku}"}]);
    check(
        set(),
        "- 1 a - 7\n+ 2 a - 7",
        &[":0", "nil"],
        expect![[r#"
        SISMEMBER skus a ? :0
        HGET headwater:s:refs:skus a ? nil
        SADD skus a
    "#]],
    );
    check(
        set(),
        "- 1 a - 7\n+ 2 a - 7",
        &[":1", "nil"],
        expect![[r#"
        SISMEMBER skus a ? :1
        HGET headwater:s:refs:skus a ? nil
    "#]],
    );
    check(
        set(),
        "+ 1 a - 7\n- 1 a - 7",
        &[":0", "nil"],
        expect![[r#"
        SISMEMBER skus a ? :0
        HGET headwater:s:refs:skus a ? nil
    "#]],
    );
}

#[test]
fn the_latest_score_counts() {
    check(
        serde_json::json!([{"zset": "prices", "member": "{sku}", "score": "price", "ttl": "1s"}]),
        "+ 1 a 2.50 7
         + 2 b 3.00 7
         1 a 2.50 7 -> 1 a 2.75 7
         2 b 3.00 7 -> 2 b - 7",
        &["nil 9", "nil nil"],
        expect![[r#"
            ZMSCORE prices a b ? nil 9
            HMGET headwater:s:refs:prices a b ? nil nil
            ZADD prices 2.75 a 3.00 b
            PEXPIRE headwater:s:refs:prices 1000
            PEXPIRE prices 1000
        "#]],
    );
}

#[test]
fn counters_sum_exactly_and_go_at_zero() {
    let counter = || serde_json::json!([{"counter": "sum:{sku}", "by": "{price}"}, {"counter": "rows:{sku}"}]);
    check(
        counter(),
        "+ 1 a 2.50 7
         + 2 a 0.05 7
         2 a 0.05 7 -> 2 b 0.07 7
         + 3 a - 7
         3 a - 7 -> 3 a - 8",
        &["9007199254740993", "1", "nil", "nil"],
        expect![[r#"
            GET sum:a ? 9007199254740993
            GET rows:a ? 1
            GET sum:b ? nil
            GET rows:b ? nil
            INCRBY sum:a 250
            INCRBY rows:a 2
            INCRBY sum:b 7
            INCRBY rows:b 1
        "#]],
    );
    check(
        counter(),
        "- 1 a 2.50 7",
        &["250", "1"],
        expect![[r#"
        GET sum:a ? 250
        GET rows:a ? 1
        DEL sum:a
        DEL rows:a
    "#]],
    );
}

#[test]
fn lists_and_streams_append() {
    check(
        serde_json::json!([
            {"list": "feed:{sku}", "value": "{id}", "on_delete": "ignore"},
            {"stream": "log", "fields": ["id", "price"], "on_delete": "ignore"},
        ]),
        "+ 1 a - 7
         1 a - 7 -> 1 a 0.50 7
         1 a 0.50 7 -> 1 b 0.50 7
         - 1 b 0.50 7",
        &[":0", ":0", ":0"],
        expect![[r#"
            LLEN feed:a ? :0
            XLEN log ? :0
            LLEN feed:b ? :0
            RPUSH feed:a 1
            XADD log * id 1
            XADD log * id 1 price 0.50
            RPUSH feed:b 1
            XADD log * id 1 price 0.50
        "#]],
    );
}

#[test]
fn invalidation_takes_the_row_as_it_was_and_as_it_is() {
    check(
        serde_json::json!([{"invalidate": "page:{id}"}, {"invalidate": "list:{sku}*"}]),
        "r 9 z - 7
         1 a - 7 -> 1 b - 7
         2 b - 7 -> 3 b - 7",
        &[],
        expect![[r#"
            sweep list:
            sweep list:a
            sweep list:b
            DEL page:9
            DEL page:1
            DEL page:2
            DEL page:3
        "#]],
    );
}

#[test]
fn a_row_is_refused_with_all_its_writes_and_later_changes_of_it_wait() {
    check(
        serde_json::json!([{"json": "i:{id}"}, {"zset": "by_quantity", "member": "{id}", "score": "quantity"}]),
        "+ 1 a - 9007199254740993
         + 2 b - 2
         1 a - 9007199254740993 -> 1 a - 1
         - 1 a - 1",
        &["nil", "nil"],
        expect![[r#"
            ZSCORE by_quantity 2 ? nil
            HGET headwater:s:refs:by_quantity 2 ? nil
            SET i:2 {"id":2,"sku":"b","price":null,"quantity":2}
            ZADD by_quantity 2 2
            RPUSH headwater:s:rejected 1 column quantity holds a score that a 64-bit float cannot hold exactly; `lossy: true` would round it
            RPUSH headwater:s:rejected 3 an earlier change of the same row was refused
            RPUSH headwater:s:rejected 4 an earlier change of the same row was refused
        "#]],
    );
}

#[test]
fn a_key_that_holds_something_else_refuses_its_rows() {
    check(
        serde_json::json!([{"json": "i:{id}"}, {"set": "skus:{sku}", "member": "{id}"}]),
        "+ 1 a - 7
         + 2 b - 7",
        &["wrongtype", "nil", ":0", "nil"],
        expect![[r#"
            SISMEMBER skus:a 1 ? wrongtype
            HGET headwater:s:refs:skus:a 1 ? nil
            SISMEMBER skus:b 2 ? :0
            HGET headwater:s:refs:skus:b 2 ? nil
            SET i:2 {"id":2,"sku":"b","price":null,"quantity":7}
            SADD skus:b 2
            RPUSH headwater:s:rejected 1 the key of `skus:{sku}` holds a value of another type
        "#]],
    );
    let counter = || serde_json::json!([{"counter": "sum", "by": "{quantity}"}]);
    for (answer, reason) in [("x", "something that is no integer"), ("9223372036854775807", "would leave the range")] {
        let mut flaws = Flaws::default();
        let mut first = plan(counter(), "+ 1 a - 7", &flaws);
        assert!(first.answers(|| Ok(reply(answer)), &mut flaws).unwrap());
        let second = plan(counter(), "+ 1 a - 7", &flaws);
        assert!(second.rejected.len() == 1 && second.rejected[0].reason.contains(reason), "{:?}", second.rejected);
    }
}

#[test]
fn a_row_that_redis_would_not_take_is_refused_before_it_is_sent() {
    let long = "x".repeat(VALUE_BYTES_MAX_IN_TESTS);
    for write in [serde_json::json!({"json": "i:{id}"}), serde_json::json!({"set": "i:{id}", "member": "{sku}"})] {
        let changes = format!("+ 1 {long} - 7\n+ 2 a - 7");
        let mut flaws = Flaws::default();
        assert_eq!(plan(serde_json::json!([write]), &changes, &flaws).oversized, [1]);
        flaws.rows.insert(1);
        let plan = plan(serde_json::json!([write]), &changes, &flaws);
        assert!(plan.oversized.is_empty() && plan.out.bytes.len() < 1_000);
        assert_eq!(plan.rejected[0].reason, "it takes more than the 10000 bytes that Redis accepts");
    }
}

#[test]
fn columns_that_a_write_uses_and_the_table_has_not_stop_it() {
    for (write, part) in [
        (serde_json::json!({"json": "i:{gone}"}), "has no column gone, which the write to `i:{gone}` uses"),
        (serde_json::json!({"json": "i:{id}", "columns": ["gone"]}), "has no column gone"),
        (serde_json::json!({"json": "i:{id}", "exclude": ["gone"]}), "has no column gone"),
        (serde_json::json!({"set": "i", "member": "{gone}"}), "has no column gone"),
        (
            serde_json::json!({"zset": "i", "member": "{id}", "score": "sku"}),
            "column sku of shop.items cannot be a score",
        ),
        (serde_json::json!({"counter": "i", "by": "{sku}"}), "column sku of shop.items cannot be summed exactly"),
    ] {
        let follow = Follow::parse(&serde_json::json!({ "shop.items": [write] })).unwrap();
        let error = Bound::new(&items(), &follow.tables["shop.items"]).err().unwrap();
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(error.kind(), &headwater_model::Kind::Stop);
    }
}

#[test]
fn a_column_that_the_log_does_not_carry_is_never_taken_for_null() {
    let follow = Follow::parse(&serde_json::json!({"shop.items": [{"json": "i:{id}"}]})).unwrap();
    let mut schema = (*items()).clone();
    let mut bytes = Vec::new();
    let mut writer = RowWriter::begin(&mut bytes, 4);
    [Value::Int(1), Value::Absent, Value::Null, Value::Null].into_iter().for_each(|value| writer.put(value));
    drop(writer);
    let row = Row::decode(&mut &bytes[..]).unwrap();
    let bound = Bound::new(&schema, &follow.tables["shop.items"]).unwrap();
    let error = Image::default().load(&row, &bound).unwrap_err();
    assert!(error.to_string().contains("does not carry column sku of a row of shop.items"), "{error}");
    // Left out by a filter it is expected to be absent.
    schema.columns[1].excluded = true;
    let bound = Bound::new(&schema, &follow.tables["shop.items"]).unwrap();
    Image::default().load(&row, &bound).unwrap();
}
