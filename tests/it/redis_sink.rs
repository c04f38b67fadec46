//! The Redis sink against a real Redis, without the rest of Headwater: what the cache holds after any sequence of changes,
//! lost connections, restarts and restored backups is a function of the table alone.
//!
//! Invariant: a test plays the engine's part exactly: after `Reconnect` it connects again and goes on from the progress
//! that Redis holds, and a target without progress is filled from the start.

use headwater_model::sink::{Batch, Event, Rejected, Sink, Written};
use headwater_model::{
    Change, Column, Error, JournalId, Kind, Op, Origin, Progress, Row, RowWriter, Schema, TransactionHeader, Type,
    Value,
};
use headwater_sink::{Configured, Severity, sink_type};
use headwater_testkit::{Certificates, Proxy, Redis, Reply, free_port, seed};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

mod once; // clears and replays that are cut short

const JOURNAL: JournalId = JournalId([9; 16]);
const BATCH_MAX: usize = 60;
/// Attempts at one step before a test gives up.
const ATTEMPTS_MAX: usize = 5_000;
/// Disturbances while one round is written; then it is let go on to its end.
const FAULTS_PER_ROUND_MAX: u32 = 10;

/// A row of `shop.items`: id, sku, price in cents, quantity.
#[derive(Clone, Debug, PartialEq)]
struct Item {
    id: i64,
    sku: Option<&'static str>,
    cents: Option<i64>,
    quantity: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Item),
    Update(Item, Item),
    Delete(Item),
    Truncate,
}

fn schema() -> Arc<Schema> {
    let column = |name: &str, kind| Column::new(name, kind, "");
    let columns = vec![
        column("id", Type::Int { bits: 64, unsigned: false }),
        column("sku", Type::Text { charset: "utf8mb4".into() }),
        column("price", Type::Decimal { precision: 10, scale: 2 }),
        column("quantity", Type::Int { bits: 64, unsigned: true }),
    ];
    Arc::new(Schema::new(1, "shop", "items", columns, vec![0]))
}

impl Item {
    fn price(&self) -> Option<String> {
        let sign = |cents: i64| if cents < 0 { "-" } else { "" };
        self.cents.map(|cents| format!("{}{}.{:02}", sign(cents), cents.abs() / 100, cents.abs() % 100))
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let price = self.price();
        let mut row = RowWriter::begin(&mut bytes, 4);
        row.put(Value::Int(self.id));
        row.put(self.sku.map_or(Value::Null, Value::Text));
        row.put(price.as_deref().map_or(Value::Null, Value::Decimal));
        row.put(Value::UInt(self.quantity));
        drop(row);
        bytes
    }
}

/// Hands `steps`, which begin at sequence `first`, to the sink as one batch.
fn write(sink: &mut dyn Sink, first: u64, steps: &[Step]) -> Result<Written, Error> {
    write_as(sink, &schema(), first, steps)
}

fn write_as(sink: &mut dyn Sink, schema: &Arc<Schema>, first: u64, steps: &[Step]) -> Result<Written, Error> {
    let progress = progress(first + steps.len() as u64);
    with_events(schema, first, steps, |events| sink.write(&Batch { events, progress }))
}

fn with_events<T>(schema: &Arc<Schema>, first: u64, steps: &[Step], hand_over: impl FnOnce(&[Event<'_>]) -> T) -> T {
    let header = TransactionHeader { commit_us: 0, receive_us: 0, origin: Origin::Headwater };
    let rows: Vec<_> = steps
        .iter()
        .map(|step| match step {
            Step::Insert(after) => (Op::Create, None, Some(after.encode())),
            Step::Update(before, after) => (Op::Update, Some(before.encode()), Some(after.encode())),
            Step::Delete(before) => (Op::Delete, Some(before.encode()), None),
            Step::Truncate => (Op::Truncate, None, None),
        })
        .collect();
    let events: Vec<_> = rows
        .iter()
        .zip(first..)
        .map(|((op, before, after), sequence)| {
            let change = Change {
                op: *op,
                schema: schema.id,
                place: 0,
                row: 0,
                statement: None,
                marker: None,
                before: before.as_ref().and_then(|row| Row::decode(&mut &row[..])),
                after: after.as_ref().and_then(|row| Row::decode(&mut &row[..])),
                message: None,
            };
            Event { sequence, change, schema, header: &header }
        })
        .collect();
    hand_over(&events)
}

fn progress(sequence: u64) -> Progress {
    Progress { journal: JOURNAL, epoch: 1, sequence }
}

fn configured(url: &str, writes: Json) -> Box<dyn Configured> {
    configured_with(json!({ "url": url, "timeout": "10s" }), writes)
}

fn configured_with(settings: Json, writes: Json) -> Box<dyn Configured> {
    let redis = sink_type("redis").expect("the Redis sink is built in");
    redis.configure("cache", &settings, &json!({ "shop.items": writes })).expect("the configuration is good")
}

/// Every key but our own, as text.
fn contents(redis: &Redis) -> BTreeMap<String, String> {
    let contents = redis.contents(0).expect("Redis answers");
    let foreign = contents.into_iter().filter(|(key, _)| !key.starts_with("headwater:"));
    foreign.map(|(key, value)| (key, format!("{value:?}"))).collect()
}

fn item(id: i64, sku: &'static str, cents: i64, quantity: u64) -> Item {
    Item { id, sku: Some(sku), cents: Some(cents), quantity }
}

mod everything {
    //! A table that changes at random, and what all kinds of writes must have made of it.

    use super::*;

    pub fn writes() -> Json {
        json!([
            { "json": "item:{id}" },
            { "json": "sku:{id}:{sku}", "columns": ["price", "id"] },
            { "hash": "hash:{id}", "fields": ["sku", "quantity"] },
            { "hash": "whole:{id}:{sku}" },
            { "set": "skus:{quantity}", "member": "{sku}" },
            { "set": "all", "member": "{sku}/{quantity}" },
            { "zset": "prices", "member": "{id}", "score": "price" },
            { "counter": "sum:{sku}", "by": "{price}" },
            { "counter": "rows:{sku}" },
            { "invalidate": "page:{id}" },
            { "invalidate": "list:{quantity}:*" },
        ])
    }

    fn bytes(text: impl AsRef<str>) -> Reply {
        Reply::Bytes(text.as_ref().as_bytes().to_vec())
    }

    /// What Redis must hold for these rows, computed from nothing else.
    pub fn expected(rows: &BTreeMap<i64, Item>) -> BTreeMap<String, String> {
        let mut values: BTreeMap<String, Reply> = BTreeMap::new();
        let mut sets: BTreeMap<String, BTreeSet<Reply>> = BTreeMap::new();
        let mut counters: BTreeMap<String, i64> = BTreeMap::new();
        let mut scores: Vec<(i64, String)> = Vec::new();
        for item in rows.values() {
            let (id, quantity, price) = (item.id, item.quantity, item.price());
            let quote = |text: &str| format!("\"{text}\"");
            let json_sku = item.sku.map_or("null".to_owned(), quote);
            let json_price = price.as_deref().map_or("null".to_owned(), quote);
            let document = format!("{{\"id\":{id},\"sku\":{json_sku},\"price\":{json_price},\"quantity\":{quantity}}}");
            values.insert(format!("item:{id}"), bytes(document));
            let mut fields = vec![bytes("quantity"), bytes(quantity.to_string())];
            if let Some(sku) = item.sku {
                fields.extend([bytes("sku"), bytes(sku)]);
                values.insert(format!("sku:{id}:{sku}"), bytes(format!("{{\"price\":{json_price},\"id\":{id}}}")));
                let mut whole = vec![bytes("id"), bytes(id.to_string())];
                whole.extend(price.iter().flat_map(|price| [bytes("price"), bytes(price)]));
                whole.extend([bytes("quantity"), bytes(quantity.to_string()), bytes("sku"), bytes(sku)]);
                values.insert(format!("whole:{id}:{sku}"), Reply::List(whole));
                sets.entry(format!("skus:{quantity}")).or_default().insert(bytes(sku));
                sets.entry("all".to_owned()).or_default().insert(bytes(format!("{sku}/{quantity}")));
                *counters.entry(format!("sum:{sku}")).or_default() += item.cents.unwrap_or(0);
                *counters.entry(format!("rows:{sku}")).or_default() += 1;
            }
            values.insert(format!("hash:{id}"), Reply::List(fields));
            scores.extend(item.cents.map(|cents| (cents, id.to_string())));
        }
        scores.sort();
        // Redis 7.0 prints 17 digits; the cents here are multiples of 25, which a double holds exactly.
        let score = |cents: i64| bytes((cents as f64 / 100.0).to_string());
        let listed: Vec<Reply> = scores.iter().flat_map(|(cents, id)| [bytes(id), score(*cents)]).collect();
        if !listed.is_empty() {
            values.insert("prices".to_owned(), Reply::List(listed));
        }
        values.extend(sets.into_iter().map(|(key, members)| (key, Reply::List(members.into_iter().collect()))));
        values.extend(counters.into_iter().filter(|(_, n)| *n != 0).map(|(key, n)| (key, bytes(n.to_string()))));
        values.into_iter().map(|(key, value)| (key, format!("{value:?}"))).collect()
    }

    pub fn random_item(random: &mut StdRng, id: i64) -> Item {
        let skus = ["a", "b", "c:d", "é\"\\"];
        Item {
            id,
            sku: random.random_bool(0.8).then(|| skus[random.random_range(0..2)]),
            cents: random.random_bool(0.8).then(|| random.random_range(-4..8) * 25),
            quantity: random.random_range(0..3),
        }
    }

    /// A change that fits the rows, applied to them.
    pub fn step(random: &mut StdRng, rows: &mut BTreeMap<i64, Item>, truncates: bool) -> Step {
        if truncates && random.random_bool(0.002) {
            rows.clear();
            return Step::Truncate;
        }
        let free = (0..40).find(|id| !rows.contains_key(id));
        let some = random.random_range(0..rows.len().max(1));
        match rows.values().nth(some).cloned() {
            Some(before) if random.random_bool(0.6) => {
                let id = free.filter(|_| random.random_bool(0.2)).unwrap_or(before.id);
                let after = random_item(random, id);
                rows.remove(&before.id);
                rows.insert(id, after.clone());
                Step::Update(before, after)
            }
            Some(before) if random.random_bool(0.5) || free.is_none() => {
                rows.remove(&before.id);
                Step::Delete(before)
            }
            _ => {
                let item = random_item(random, free.unwrap_or(0));
                rows.insert(item.id, item.clone());
                Step::Insert(item)
            }
        }
    }
}

/// The engine's part: hands over `log` from where Redis stands, through any error that says to connect again.
struct Follower {
    sink: Box<dyn Sink>,
    next: u64,
    connected: bool,
}

impl Follower {
    fn new(configured: &dyn Configured) -> Self {
        Follower { sink: configured.build(), next: 0, connected: false }
    }

    fn connect(&mut self) -> Result<(), Error> {
        let connected = self.sink.connect()?;
        match connected.progress {
            Some(progress) => self.next = progress.sequence,
            None => self.next = 0,
        }
        self.connected = true;
        Ok(())
    }

    /// Writes up to `batch` steps; whether everything is written and confirmed.
    fn advance(&mut self, log: &[Step], batch: usize) -> Result<bool, Error> {
        if !self.connected {
            self.connect()?;
        }
        let rest = &log[self.next as usize..];
        if rest.is_empty() {
            // An empty batch moves the progress all the same, and so notices when Redis is not what it was.
            write(&mut *self.sink, self.next, &[])?;
            self.sink.flush()?;
            return Ok(true);
        }
        let steps = &rest[..rest.len().min(batch)];
        let written = write(&mut *self.sink, self.next, steps)?;
        assert_eq!(written.rejected, Vec::new());
        self.next += steps.len() as u64;
        Ok(false)
    }
}

fn retried(error: Error, follower: &mut Follower) {
    assert!(matches!(error.kind(), Kind::Reconnect), "{error:?}");
    follower.connected = false;
}

#[test]
fn the_cache_is_a_function_of_the_table_through_cuts_kills_and_restored_backups() {
    let seed = seed("redis_sink");
    let mut random = StdRng::seed_from_u64(seed);
    let mut redis = Redis::start(&[]).expect("Redis starts");
    let proxy = Proxy::start(redis.port()).expect("a proxy");
    let configured = configured(&format!("redis://127.0.0.1:{}", proxy.port()), everything::writes());
    let (mut rows, mut log) = (BTreeMap::new(), Vec::new());
    let mut follower = Follower::new(&*configured);
    let (mut faults, mut replayed) = (0, 0);
    for round in 0..200 {
        for _ in 0..random.random_range(1..120) {
            log.push(everything::step(&mut random, &mut rows, round > 20));
        }
        let (mut done, calm_after) = (false, faults + FAULTS_PER_ROUND_MAX);
        for _ in 0..ATTEMPTS_MAX {
            let (before, batch) = (follower.next, random.random_range(1..BATCH_MAX));
            match follower.advance(&log, batch) {
                Ok(true) => done = true,
                Ok(false) => {}
                Err(error) => retried(error, &mut follower),
            }
            replayed += u64::from(follower.next < before);
            if done {
                break;
            }
            if faults >= calm_after {
                continue;
            }
            faults += 1;
            match random.random_range(0..40) {
                0 => proxy.cut(),
                1 => redis.copy_data_file("backup").expect("a copy"),
                2 if round > 100 => redis.restore_data_file("backup").expect("the copy comes back"),
                3 => {
                    redis.kill9();
                    redis.restart().expect("Redis starts again");
                }
                4 => follower = Follower::new(&*configured),
                5 if random.random_bool(0.2) => _ = redis.call(&["FLUSHALL"]),
                _ => faults -= 1,
            }
        }
        assert!(done, "round {round} did not come to an end");
        let (seen, wanted) = (contents(&redis), everything::expected(&rows));
        let differs = seen
            .iter()
            .filter(|pair| wanted.get(pair.0) != Some(pair.1))
            .chain(wanted.iter().filter(|pair| !seen.contains_key(pair.0)));
        let differs: Vec<_> = differs.collect();
        assert!(differs.is_empty(), "seed {seed}, round {round}: {differs:#?}");
    }
    println!("{} changes, {faults} faults, {replayed} times back to an earlier place", log.len());
    assert!(faults > 20 && replayed > 0, "too few faults: {faults}, {replayed}");
    // A cache that is filled from nothing is the same.
    redis.call(&["FLUSHALL"]);
    let mut follower = Follower::new(&*configured);
    while !follower.advance(&log, BATCH_MAX).expect("nothing disturbs it") {}
    assert_eq!(contents(&redis), everything::expected(&rows));
}

#[test]
fn a_second_process_with_the_same_name_is_stopped() {
    let redis = Redis::start(&[]).expect("Redis starts");
    let configured = configured(&redis.url(), json!([{ "json": "item:{id}" }]));
    let (mut one, mut two) = (configured.build(), configured.build());
    let step = [Step::Insert(item(1, "a", 1, 1))];
    one.connect().expect("it connects");
    write(&mut *one, 0, &step).expect("the first write");
    one.flush().expect("the first write");
    assert_eq!(two.connect().expect("it connects").progress, Some(progress(1)));
    for sequence in [1, 2] {
        write(&mut *two, sequence, &step).and_then(|_| two.flush()).expect("the second process is not disturbed");
    }
    // A few times, it may have been the last transaction of a process that was killed; not again and again.
    let mut stopped = None;
    for sequence in 3..10 {
        match write(&mut *one, sequence - 1, &step).and_then(|_| one.flush()) {
            Err(error) if error.kind() == &Kind::Stop => stopped = Some(error.to_string()),
            Err(error) => {
                assert_eq!(error.kind(), &Kind::Reconnect, "{error}");
                assert_eq!(one.connect().expect("it connects").progress, Some(progress(sequence)));
            }
            Ok(written) => panic!("it wrote over the other process: {written:?}"),
        }
        if stopped.is_some() {
            break;
        }
        write(&mut *two, sequence, &step).and_then(|_| two.flush()).expect("the second process is not disturbed");
    }
    let stopped = stopped.expect("it stops in the end");
    assert!(stopped.contains("another process writes to"), "{stopped}");
}

#[test]
fn a_redis_that_lost_everything_is_told_from_one_that_somebody_moved() {
    let redis = Redis::start(&[]).expect("Redis starts");
    let mut sink = configured(&redis.url(), json!([{ "json": "item:{id}" }])).build();
    sink.connect().expect("it connects");
    write(&mut *sink, 0, &[Step::Insert(item(1, "a", 1, 1))]).expect("the first write");
    sink.flush().expect("the first write");
    redis.call(&["FLUSHALL"]);
    let error =
        write(&mut *sink, 1, &[Step::Insert(item(2, "a", 1, 1))]).and_then(|_| sink.flush()).expect_err("it notices");
    assert_eq!(error.kind(), &Kind::Reconnect, "{error}");
    assert_eq!(sink.connect().expect("it connects").progress, None);
    assert_eq!(redis.call(&["DBSIZE"]).int(), 0);
}

#[test]
fn a_row_that_redis_refuses_is_recorded_with_the_transaction() {
    let redis = Redis::start(&[]).expect("Redis starts");
    redis.call(&["SET", "skus:1", "a string"]);
    let mut sink =
        configured(&redis.url(), json!([{ "json": "item:{id}" }, { "set": "skus:{quantity}", "member": "{sku}" }]))
            .build();
    sink.connect().expect("it connects");
    let steps = [
        Step::Insert(item(1, "a", 1, 1)),
        Step::Insert(item(2, "a", 1, 2)),
        Step::Update(item(1, "a", 1, 1), item(1, "b", 1, 3)),
    ];
    let written = write(&mut *sink, 5, &steps).expect("the others are written");
    assert_eq!(written.durable, Some(8));
    let refused = |sequence, reason: &str| Rejected { sequence, reason: reason.to_owned() };
    let expected = vec![
        refused(5, "the key of `skus:{quantity}` holds a value of another type"),
        refused(7, "an earlier change of the same row was refused"),
    ];
    assert_eq!(written.rejected, expected);
    let keys: Vec<String> = contents(&redis).into_keys().collect();
    assert_eq!(keys, ["item:2", "skus:1", "skus:2"]);
    assert_eq!(sink.connect().expect("it connects").rejected, expected);
    sink.rejected_are_kept(5).expect("it forgets");
    assert_eq!(sink.connect().expect("it connects").rejected, expected[1..]);
    // Also while a transaction is in flight, and what became known meanwhile is told later.
    write(&mut *sink, 8, &[Step::Insert(item(3, "a", 1, 3))]).expect("a write");
    sink.rejected_are_kept(7).expect("it forgets");
    assert_eq!(sink.flush().expect("a write").durable, Some(9));
    assert_eq!(redis.call(&["EXISTS", "headwater:cache:rejected"]).int(), 0);
}

#[test]
fn clearing_and_changed_writes_remove_what_was_written_and_nothing_else() {
    let redis = Redis::start(&[]).expect("Redis starts");
    for command in [
        ["SET", "items", "x"],
        ["SADD", "item:8", "x"],
        ["SET", "other:1", "x"],
        ["SET", "headwater:other:progress", "x"],
    ] {
        redis.call(&command);
    }
    let spared = || redis.contents(0).expect("Redis answers").into_keys().collect::<Vec<_>>();
    let first = json!([{ "json": "item:{id}" }, { "list": "feed", "value": "{id}", "on_delete": "ignore" }, { "set": "skus", "member": "{sku}" }]);
    let mut sink = configured(&redis.url(), first.clone()).build();
    sink.connect().expect("it connects");
    let steps = [Step::Insert(item(1, "a", 1, 1)), Step::Insert(item(2, "a", 1, 1))];
    write(&mut *sink, 0, &steps).expect("a write");
    sink.flush().expect("a write");
    assert!(spared().contains(&"headwater:cache:refs:skus".to_owned()));
    // The same writes again change nothing.
    assert_eq!(configured(&redis.url(), first).build().connect().expect("it connects").progress, Some(progress(2)));
    let mut sink = configured(&redis.url(), json!([{ "json": "thing:{id}" }])).build();
    assert_eq!(sink.connect().expect("it connects").progress, None);
    let foreign = ["headwater:cache:writes", "headwater:other:progress", "item:8", "items", "other:1"];
    assert_eq!(spared(), foreign);
    write(&mut *sink, 0, &steps).expect("a write");
    sink.clear().expect("it clears");
    assert_eq!(spared(), foreign);
    write(&mut *sink, 0, &steps).expect("it goes on after a clear");
    assert_eq!(sink.flush().expect("it goes on after a clear").durable, Some(2));
}

#[test]
fn a_changed_scale_stops_a_sum_also_after_a_restart() {
    let redis = Redis::start(&[]).expect("Redis starts");
    let configured = configured(&redis.url(), json!([{ "counter": "sum", "by": "{price}" }]));
    let mut sink = configured.build();
    sink.connect().expect("it connects");
    write(&mut *sink, 0, &[Step::Insert(item(1, "a", 250, 1))]).and_then(|_| sink.flush()).expect("a write");
    let mut altered = (*schema()).clone();
    altered.id = 2;
    altered.columns[2].kind = Type::Decimal { precision: 10, scale: 3 };
    let altered = Arc::new(altered);
    for mut sink in [sink, configured.build()] {
        sink.connect().expect("it connects");
        let error = write_as(&mut *sink, &altered, 1, &[Step::Insert(item(2, "a", 250, 1))]).expect_err("units differ");
        assert_eq!(error.kind(), &Kind::Stop);
        let expected = "column price of shop.items in `sum` now has 3 digits after the point, and the counters have 2";
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert_eq!(redis.call(&["GET", "sum"]).int(), 250);
}

#[test]
fn keys_expire_as_they_are_told() {
    let redis = Redis::start(&[]).expect("Redis starts");
    let writes = json!([
        { "json": "j:{id}", "ttl": "1h" },
        { "json": "f:{id}", "ttl": "1h", "ttl_refresh": false },
        { "set": "s:{id}", "member": "{sku}", "ttl": "1h" },
        { "hash": "h:{id}", "ttl": "1h", "ttl_refresh": false },
        { "counter": "c:{id}", "ttl": "1h" },
    ]);
    let mut sink = configured(&redis.url(), writes).build();
    sink.connect().expect("it connects");
    write(&mut *sink, 0, &[Step::Insert(item(1, "a", 1, 1))]).and_then(|_| sink.flush()).expect("a write");
    let left = |key: &str| redis.call(&["TTL", key]).int();
    for key in ["j:1", "f:1", "s:1", "h:1", "c:1"] {
        assert!((3_590..=3_600).contains(&left(key)), "{key}: {}", left(key));
        redis.call(&["EXPIRE", key, "100"]);
    }
    write(&mut *sink, 1, &[Step::Update(item(1, "a", 1, 1), item(1, "b", 1, 1))])
        .and_then(|_| sink.flush())
        .expect("a write");
    let refreshed = ["j:1", "f:1", "s:1", "h:1", "c:1"].map(|key| left(key) > 100);
    assert_eq!(refreshed, [true, false, true, false, false]);
}

#[test]
fn a_full_redis_loses_nothing() {
    let redis = Redis::start(&[]).expect("Redis starts");
    let mut sink = configured(&redis.url(), json!([{ "json": "item:{id}" }])).build();
    sink.connect().expect("it connects");
    redis.call(&["CONFIG", "SET", "maxmemory", "1"]);
    let steps = [Step::Insert(item(1, "a", 1, 1))];
    let error = write(&mut *sink, 0, &steps).and_then(|_| sink.flush()).expect_err("it is full");
    assert!(matches!(error.kind(), Kind::RetryAfter(_)) && error.to_string().contains("out of memory"), "{error}");
    redis.call(&["CONFIG", "SET", "maxmemory", "0"]);
    let error = write(&mut *sink, 0, &steps).expect_err("what was in flight is unknown");
    assert_eq!(error.kind(), &Kind::Reconnect);
    assert_eq!(sink.connect().expect("it connects").progress, None);
    write(&mut *sink, 0, &steps).and_then(|_| sink.flush()).expect("there is room again");
}

#[test]
fn users_databases_and_tls() {
    let certificates = Certificates::create().expect("certificates");
    let tls = free_port().expect("a port");
    let options = certificates.redis_options(tls.number());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let redis = Redis::start(&options).expect("Redis starts");
    redis.call(&["ACL", "SETUSER", "cdc", "on", ">s3cret", "~*", "&*", "+@all"]);
    let settings = |password: &str, ca: Json| json!({ "url": format!("rediss://localhost:{}/1", tls.number()), "username": "cdc", "password": password, "database": 3, "tls": ca });
    let ca = json!({ "ca_file": certificates.authority() });
    let writes = json!([{ "json": "item:{id}" }]);
    let mut sink = configured_with(settings("s3cret", ca.clone()), writes.clone()).build();
    assert!(sink.connect().expect("it connects").server.starts_with("Redis "));
    write(&mut *sink, 0, &[Step::Insert(item(1, "a", 1, 1))]).and_then(|_| sink.flush()).expect("a write");
    assert_eq!(redis.contents(3).expect("Redis answers").len(), 3);
    for (settings, part) in
        [(settings("wr0ng", ca), "refuses the user or password"), (settings("s3cret", Json::Null), "cannot connect")]
    {
        let error = configured_with(settings, writes.clone()).build().connect().expect_err("it may not");
        assert_eq!(error.kind(), &Kind::Reconnect);
        let text = format!("{error} {error:?}");
        assert!(text.contains(part) && !text.contains("wr0ng") && !text.contains("s3cret"), "{text}");
    }
}

#[test]
fn check_names_what_is_missing_with_the_statement_that_mends_it() {
    let redis = Redis::start(&["--maxmemory-policy", "allkeys-lru"]).expect("Redis starts");
    redis.call(&["ACL", "SETUSER", "cdc", "on", ">p", "+@connection"]);
    let url = format!("redis://cdc:p@127.0.0.1:{}", redis.port());
    let configured = configured(&url, everything::writes());
    let mut mended = 0;
    // Some findings show only once others are mended: without MULTI nothing else can be tried.
    while let Some(finding) = configured.check().into_iter().next() {
        assert!(!finding.message.contains(":p@"), "{}", finding.message);
        let remedy = finding.remedy.unwrap_or_else(|| panic!("{} has no remedy", finding.message));
        redis.call(&remedy.split(' ').collect::<Vec<_>>());
        mended += 1;
        assert!(mended < 5, "it does not come to an end: {} ({remedy})", finding.message);
    }
    assert!(mended >= 2);
    assert_eq!(redis.call(&["DBSIZE"]).int(), 0, "check writes nothing");
    // With what check asked for, and no more, everything can be done.
    let mut random = StdRng::seed_from_u64(1);
    let mut rows = BTreeMap::new();
    let log: Vec<_> = (0..3_000).map(|_| everything::step(&mut random, &mut rows, true)).collect();
    let mut follower = Follower::new(&*configured);
    while !follower.advance(&log, BATCH_MAX).expect("it may do all that it needs") {}
    follower.sink.rejected_are_kept(0).expect("it may do all that it needs");
    assert_eq!(contents(&redis), everything::expected(&rows));
}

#[test]
fn a_cluster_is_refused_by_name() {
    let redis = Redis::start(&["--cluster-enabled", "yes"]).expect("Redis starts");
    let configured = configured(&redis.url(), json!([{ "json": "item:{id}" }]));
    let error = configured.build().connect().expect_err("it is a cluster");
    assert_eq!(error.kind(), &Kind::Stop);
    assert!(error.to_string().contains("is a Redis Cluster, which is not supported yet"), "{error}");
    let findings = configured.check();
    assert!(findings.len() == 1 && findings[0].severity == Severity::Error, "{findings:?}");
}
