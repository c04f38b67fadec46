//! A shop under load: a database, a cache, Headwater between them, and what the cache must hold.
//!
//! Invariant: the expected cache is computed from the database alone, by SQL, never from what Headwater says.

use headwater_testkit::{Database, Flavor, Headwater, Redis, Reply, Session, wait_until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_headwater");

/// How long anything may take to become true.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The shop's tables. `item.sku` is shared by several items of a group, so that set members have several owners.
const TABLES: &str = "
create database shop;
create table shop.item (id int primary key, sku varchar(20) not null, grp int not null, price decimal(12,2) not null,
  note varchar(300) null, stamp datetime(3) not null);
create table shop.line (item_id int not null, no int not null, qty int not null, primary key (item_id, no));
create table shop.ledger (id bigint auto_increment primary key, worker int not null, what varchar(20) not null);
create table shop.unfollowed (id int auto_increment primary key, v int);
";

const FOLLOW: &str = r#"
    follow:
      shop.item:
        - { json: "item:{id}" }
        - { set: "grp:{grp}", member: "{sku}" }
        - { counter: "total:{grp}", by: "{price}" }
        - { zset: "prices:{grp}", member: "{id}", score: price, lossy: true }
      shop.line:
        - { hash: "line:{item_id}:{no}", fields: [qty] }
        - { counter: "lines:{item_id}" }
      shop.ledger:
        - { counter: "ledger" }
"#;

/// A database, a cache and Headwater.
pub struct World {
    /// The source.
    pub database: Arc<Mutex<Database>>,
    /// The target.
    pub redis: Redis,
    /// The binary.
    pub headwater: Headwater,
}

impl World {
    /// Starts all three over the shop's empty tables. `source` is put into the source's options.
    pub fn start(flavor: Flavor, server: &[&str], source: &str) -> World {
        let database = Database::start(flavor, server).unwrap();
        database.exec(TABLES);
        let redis = Redis::start(&["--appendonly", "yes"]).unwrap();
        let headwater = Headwater::new(BINARY, &config(&database, &redis, source)).unwrap();
        World { database: Arc::new(Mutex::new(database)), redis, headwater }
    }

    /// Waits until the cache has all that is committed, then compares the two completely.
    pub fn assert_equal(&self) {
        self.headwater.run_ok(&["wait", "--timeout", "120s"]).unwrap();
        let (expected, got) = (expected(&self.database()), contents(&self.redis));
        for (key, value) in &expected {
            assert_eq!(got.get(key), Some(value), "key {key}\n{}", self.log_tail());
        }
        let phantom: Vec<_> = got.keys().filter(|key| !expected.contains_key(*key)).take(10).collect();
        assert!(phantom.is_empty(), "the cache holds what the database does not: {phantom:?}\n{}", self.log_tail());
    }

    /// Every row of the ledger was inserted by one transaction: each must be in the journal once, in the log's order, which
    /// is that of the GTIDs of one server.
    pub fn assert_each_transaction_once(&self) {
        let dump = self.headwater.run_ok(&["topics", "dump", "shop.shop.ledger"]).unwrap();
        let (mut seen, mut last) = (BTreeSet::new(), BTreeMap::new());
        for line in dump.lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let value = &record["value"];
            let id = value["after"]["id"].as_u64().unwrap();
            assert!(seen.insert(id), "transaction {id} is in the journal twice");
            if value["op"] == "r" {
                continue;
            }
            let gtid = value["source"]["gtid"].as_str().unwrap();
            let (server, number) = gtid.rsplit_once([':', '-']).unwrap();
            let number: u64 = number.parse().unwrap();
            let before = last.insert(server.to_owned(), number);
            assert!(before < Some(number), "{gtid} after number {before:?}");
        }
        let count = self.database().value("select count(*) from shop.ledger");
        assert_eq!(seen.len().to_string(), count, "transactions in the journal");
    }

    /// The database, for statements.
    pub fn database(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The status of everything, as JSON; null while Headwater is down.
    pub fn status(&self) -> serde_json::Value {
        let (_, body) = self.headwater.get("/status").unwrap_or_default();
        serde_json::from_str(&body).unwrap_or_default()
    }

    /// The source's part of it.
    pub fn source(&self) -> serde_json::Value {
        self.status()["sources"][0].clone()
    }

    /// The sequence of the next change that will be written; 0 while Headwater is down.
    pub fn sequence(&self) -> u64 {
        self.source()["sequence"].as_u64().unwrap_or(0)
    }

    /// The end of Headwater's log.
    pub fn log_tail(&self) -> String {
        let log = self.headwater.log();
        log.chars().skip(log.chars().count().saturating_sub(4_000)).collect()
    }

    /// Has the server drop all of its log but the newest file.
    pub fn purge_logs(&self) {
        let database = self.database();
        database.exec("flush binary logs");
        let files = database.query("show binary logs");
        let newest = files.last().and_then(|row| row[0].clone()).unwrap();
        database.exec(&format!("purge binary logs to '{newest}'"));
    }

    /// Waits until a side segment of at least so many bytes lies in the journal's folder: a large transaction is on its way.
    pub fn wait_for_side_segment(&self, bytes: u64) {
        let folder = self.headwater.data_dir().join("journal/shop");
        wait_until(LIMIT, "a large transaction's side segment", || side_bytes(&folder) >= bytes).unwrap();
    }

    /// Waits until the journal has grown by `changes`.
    pub fn wait_for_changes(&self, changes: u64) {
        let target = self.sequence() + changes;
        wait_until(LIMIT, "the journal to grow", || self.sequence() >= target).unwrap();
    }
}

fn side_bytes(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sides = files.filter(|file| file.file_name().to_string_lossy().contains("side"));
    sides.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

/// The configuration of a shop.
pub fn config(database: &Database, redis: &Redis, source: &str) -> String {
    let kind = database.flavor().scheme();
    format!(
        "sources:\n  shop:\n    {kind}: {{ url: \"{}\", tables: [\"shop.*\"]{source} }}\nsinks:\n{}",
        database.url(),
        sink("cache", redis),
    )
}

/// A sink that follows the shop; may be put after [`config`].
pub fn sink(name: &str, redis: &Redis) -> String {
    format!("  {name}:\n    redis: {{ url: \"{}\" }}{FOLLOW}", redis.url())
}

/// What a cache of the database must hold, in the form of [`contents`].
pub fn expected(database: &Database) -> BTreeMap<String, String> {
    let mut cache = BTreeMap::new();
    let mut sets: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    for row in database.query(
        "select id, sku, grp, price, note, date_format(stamp, '%Y-%m-%dT%H:%i:%s.'), microsecond(stamp) div 1000 from shop.item",
    ) {
        let json = serde_json::json!({
            "id": text(&row[0]).parse::<i64>().unwrap(), "sku": row[1], "grp": text(&row[2]).parse::<i64>().unwrap(),
            "price": row[3], "note": row[4], "stamp": format!("{}{:0>3}", text(&row[5]), text(&row[6])),
        });
        cache.insert(format!("item:{}", text(&row[0])), json.to_string());
        let members = sets.entry(format!("grp:{}", text(&row[2]))).or_default();
        if !members.contains(&text(&row[1])) {
            members.push(text(&row[1]));
        }
        let member = format!("{}={}", text(&row[0]), text(&row[3]).parse::<f64>().unwrap());
        sets.entry(format!("prices:{}", text(&row[2]))).or_default().push(member);
    }
    for (key, mut members) in sets {
        members.sort();
        cache.insert(key, members.join(","));
    }
    for row in database.query("select grp, cast(sum(price) * 100 as signed) from shop.item group by grp") {
        cache.insert(format!("total:{}", text(&row[0])), text(&row[1]));
    }
    for row in database.query("select item_id, no, qty from shop.line") {
        cache.insert(format!("line:{}:{}", text(&row[0]), text(&row[1])), format!("qty={}", text(&row[2])));
    }
    for row in database.query("select item_id, count(*) from shop.line group by item_id") {
        cache.insert(format!("lines:{}", text(&row[0])), text(&row[1]));
    }
    cache.insert("ledger".into(), database.value("select count(*) from shop.ledger"));
    cache.retain(|_, value| value != "0");
    cache
}

/// What the cache holds, without Headwater's own keys and without counters that stand at zero.
pub fn contents(redis: &Redis) -> BTreeMap<String, String> {
    let all = redis.contents(0).unwrap();
    let data = all.into_iter().filter(|(key, _)| !key.starts_with("headwater:"));
    data.map(|(key, value)| (key.clone(), plain(&key, &value))).filter(|(_, value)| value != "0").collect()
}

fn plain(key: &str, value: &Reply) -> String {
    let pairs = |texts: Vec<String>, joint: &str| {
        let mut pairs: Vec<String> = texts.chunks(2).map(|pair| pair.join(joint)).collect();
        pairs.sort();
        pairs.join(",")
    };
    match (key.split(':').next(), value) {
        (Some("item"), value) => {
            let json: serde_json::Value = serde_json::from_str(&value.text().unwrap_or_default()).unwrap_or_default();
            json.to_string()
        }
        (Some("line"), value) => pairs(value.texts(), "="),
        // Redis prints scores with more digits than tell two doubles apart.
        (Some("prices"), value) => pairs(value.texts().iter().map(|text| shortest(text)).collect(), "="),
        (Some("grp"), value) => {
            let mut members = value.texts();
            members.sort();
            members.join(",")
        }
        (_, value) => value.text().unwrap_or_default(),
    }
}

fn shortest(text: &str) -> String {
    text.parse::<f64>().map_or_else(|_| text.to_owned(), |score| score.to_string())
}

/// Writers that change the shop without end, each with a connection and a seed of its own.
pub struct Load {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

/// The ids of one worker's items begin so far from the next one's.
const WORKER_IDS: u64 = 1_000;
/// Items of one worker.
const IDS: u64 = 300;

/// Opens sessions; a database that is being restarted gives none.
type Open = Arc<dyn Fn() -> Option<Session> + Send + Sync>;

impl Load {
    /// Starts `workers` writers. With `ddl`, one of them also alters the tables.
    pub fn start(database: &Arc<Mutex<Database>>, seed: u64, workers: u64, ddl: bool) -> Load {
        Self::spread(database, seed, workers, ddl, 1)
    }

    /// Starts `workers` writers whose items are spread over the ids up to `rows`.
    pub fn over(database: &Arc<Mutex<Database>>, seed: u64, workers: u64, rows: u64) -> Load {
        Self::spread(database, seed, workers, false, (rows / (workers * WORKER_IDS)).max(1))
    }

    fn spread(database: &Arc<Mutex<Database>>, seed: u64, workers: u64, ddl: bool, spread: u64) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let committed = Arc::new(AtomicU64::new(0));
        let shared = database.clone();
        let open: Open = Arc::new(move || shared.lock().ok()?.session().ok());
        let threads = (0..workers)
            .map(|worker| {
                let (stop, committed, open) = (stop.clone(), committed.clone(), open.clone());
                std::thread::spawn(move || {
                    let random = StdRng::seed_from_u64(seed + worker);
                    let mut writer = Writer { worker, random, ddl: ddl && worker == 0, spread };
                    let mut session = None;
                    while !stop.load(Ordering::Acquire) {
                        let Some(open_session) = session.as_mut() else {
                            session = open();
                            if session.is_none() {
                                std::thread::park_timeout(Duration::from_millis(20));
                            }
                            continue;
                        };
                        match writer.transaction(open_session) {
                            true => drop(committed.fetch_add(1, Ordering::AcqRel)),
                            false => session = None,
                        }
                    }
                })
            })
            .collect();
        Load { stop, committed, threads }
    }

    /// Transactions that were committed so far.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Ends the writers.
    pub fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::Release);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
        self.committed()
    }
}

struct Writer {
    worker: u64,
    random: StdRng,
    ddl: bool,
    /// Between two ids.
    spread: u64,
}

impl Writer {
    /// One transaction over several tables; answers whether the session still works.
    fn transaction(&mut self, session: &mut Session) -> bool {
        if self.ddl && self.random.random_ratio(1, 150) {
            return self.alter(session);
        }
        let mut sql = String::from("begin; ");
        for _ in 0..self.random.random_range(1..6) {
            sql.push_str(&self.statement());
        }
        sql.push_str(&format!("insert into shop.ledger (worker, what) values ({}, 'tx'); ", self.worker));
        sql.push_str(if self.random.random_ratio(1, 12) { "rollback" } else { "commit" });
        works(session, &sql)
    }

    /// Ids of this worker's own items, so that writers do not wait for one another.
    fn id(&mut self) -> u64 {
        (self.worker * WORKER_IDS + self.random.random_range(0..IDS)) * self.spread
    }

    fn statement(&mut self) -> String {
        let (id, grp, price) = (self.id(), self.random.random_range(0..8), self.random.random_range(0..100_000));
        let price = format!("{}.{:02}", price / 100, price % 100);
        let sku = format!("S{}", self.random.random_range(0..12));
        match self.random.random_range(0..9) {
            0..3 => format!(
                "insert into shop.item (id, sku, grp, price, note, stamp) values ({id}, '{sku}', {grp}, {price}, 'سلام 🛒', now(3)) \
                 on duplicate key update price = values(price), grp = values(grp), sku = values(sku); "
            ),
            3 => format!("update shop.item set price = price + 1.05, note = null where id = {id}; "),
            4 => format!("update shop.item set grp = {grp}, sku = '{sku}' where id between {id} and {id} + 5; "),
            5 => format!("update ignore shop.item set id = {} where id = {id}; ", self.id()),
            6 => format!("delete from shop.item where id = {id}; delete from shop.line where item_id = {id}; "),
            7 => format!(
                "replace into shop.line values ({id}, 1, {0}), ({id}, 2, {0} + 1); update shop.line set no = no + 10 where item_id = {id} and no < 5 and not exists (select 1 from (select * from shop.line) l where l.item_id = {id} and l.no > 5); ",
                self.random.random_range(0..50)
            ),
            _ => "insert into shop.unfollowed (v) values (1); ".to_owned(),
        }
    }

    fn alter(&mut self, session: &mut Session) -> bool {
        let sql = match self.random.random_range(0..4) {
            0 => "alter table shop.line add column extra int null first",
            1 => "alter table shop.line drop column extra",
            2 => "alter table shop.unfollowed modify v bigint",
            _ => "alter table shop.ledger modify what varchar(30) not null",
        };
        works(session, sql)
    }
}

/// Runs statements; an error of SQL (a duplicate key, a dead lock) is part of the load, a lost connection is not.
fn works(session: &mut Session, sql: &str) -> bool {
    match session.exec(sql) {
        Ok(_) => true,
        Err(error) => {
            let text = error.to_string();
            let lost = ["the session is lost", "the SQL client", "is closed"].iter().any(|sign| text.contains(sign));
            !lost && session.exec("rollback").is_ok()
        }
    }
}
