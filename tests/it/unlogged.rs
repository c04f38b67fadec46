//! Rows that the log does not carry whole: PostgreSQL's old rows under the default replica identity, and values that are
//! stored out of line and did not change. Followers get them whole all the same.
//!
//! Invariant: the expected cache is computed by SQL from the database alone. Start at [`Shop`].

use crate::world::{BINARY, LIMIT, contents};
use headwater_testkit::{Headwater, Postgres, PostgresRelease, Redis, postgres_releases, say, seed, wait_until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;

/// Transactions of the load.
const TRANSACTIONS: usize = 240;
/// Items, by number.
const IDS: i32 = 60;
/// The load's transactions between two stops of Headwater, by turns in order and not.
const STOP_EVERY: usize = 60;
/// How long stopping may take.
const STOP_LIMIT: Duration = Duration::from_secs(10);

const TABLES: &str = "
create schema shop;
create table shop.item (id int primary key, sku varchar(20) not null, grp int not null, price decimal(12,2) not null,
  note text, stamp timestamp(3) not null);
alter table shop.item alter column note set storage external;
create table shop.line (item_id int not null, no int not null, qty int not null, primary key (item_id, no));
create table shop.unfollowed (id serial, v text);";

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
"#;

/// A database, a cache and Headwater.
pub struct Shop {
    /// The source.
    pub postgres: Postgres,
    /// The target.
    pub redis: Redis,
    /// The binary.
    pub headwater: Headwater,
}

impl Shop {
    fn new(release: PostgresRelease, source: &str) -> Shop {
        Shop::with(release, &[], source)
    }

    /// Starts the server with these settings; `source` is put into the source's options.
    pub fn with(release: PostgresRelease, server: &[&str], source: &str) -> Shop {
        let postgres = Postgres::start(release, server).unwrap();
        postgres.exec("postgres", TABLES);
        let redis = Redis::start(&[]).unwrap();
        let config = format!(
            "sources:\n  shop:\n    postgres: {{ url: \"{}\", tables: [\"shop.*\"]{source} }}\nsinks:\n  cache:\n    \
             redis: {{ url: \"{}\" }}{FOLLOW}",
            postgres.url("postgres"),
            redis.url(),
        );
        let headwater = Headwater::new(BINARY, &config).unwrap();
        Shop { postgres, redis, headwater }
    }

    /// Runs statements.
    #[track_caller]
    pub fn exec(&self, sql: &str) {
        self.postgres.exec("postgres", sql);
    }

    /// The status of everything, as JSON; null while Headwater is down.
    pub fn status(&self) -> serde_json::Value {
        let (_, body) = self.headwater.get("/status").unwrap_or_default();
        serde_json::from_str(&body).unwrap_or_default()
    }

    /// Waits until the cache has all that is committed, then compares the two completely.
    pub fn assert_equal(&self) {
        self.headwater.run_ok(&["wait", "--timeout", "60s"]).unwrap();
        let (expected, got) = (self.expected(), contents(&self.redis));
        for (key, value) in &expected {
            assert_eq!(got.get(key), Some(value), "key {key}");
        }
        let phantom: Vec<_> = got.keys().filter(|key| !expected.contains_key(*key)).take(10).collect();
        assert!(phantom.is_empty(), "the cache holds what the database does not: {phantom:?}");
        assert_eq!(self.status()["sources"][0]["unfilled_rows"], 0);
    }

    fn expected(&self) -> BTreeMap<String, String> {
        let mut cache = BTreeMap::new();
        let mut add = |sql: &str| {
            for row in self.postgres.query("postgres", sql) {
                let text = |at: usize| row[at].clone().unwrap_or_default();
                cache.insert(text(0), text(1));
            }
        };
        add("select 'item:' || id, json_build_object('id', id, 'sku', sku, 'grp', grp, 'price', price::text, 'note', note,
               'stamp', to_char(stamp, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS')) from shop.item");
        add("select 'grp:' || grp, string_agg(distinct sku, ',' order by sku) from shop.item group by grp");
        add("select 'total:' || grp, (sum(price) * 100)::bigint from shop.item group by grp having sum(price) <> 0");
        add("select 'prices:' || grp, string_agg(id || '=' || price::float8, ',' order by (id || '=' || price::float8)
               collate \"C\") from shop.item group by grp");
        add("select 'line:' || item_id || ':' || no, 'qty=' || qty from shop.line");
        add("select 'lines:' || item_id, count(*) from shop.line group by item_id");
        for (key, value) in &mut cache {
            if key.starts_with("item:") {
                *value = serde_json::from_str::<serde_json::Value>(value).unwrap().to_string();
            }
        }
        cache
    }
}

/// One transaction: changes of few columns, changes of keys, rows that come again, and now and then one that is large or is
/// taken back.
pub fn transaction(random: &mut StdRng) -> String {
    let mut statements = vec!["begin".to_owned()];
    for _ in 0..random.random_range(1..6) {
        let (id, other, grp) = (random.random_range(0..IDS), random.random_range(0..IDS), random.random_range(0..6));
        let price = f64::from(random.random_range(0..10_000)) / 100.0;
        statements.push(match random.random_range(0..9) {
            0..=2 => format!(
                "insert into shop.item values ({id}, 'S{}', {grp}, {price}, repeat(md5('{id}'), {}), '2024-01-01 10:00:00.5')
                 on conflict (id) do update set grp = excluded.grp, price = excluded.price",
                id % 7,
                random.random_range(1..200),
            ),
            3 => format!("update shop.item set grp = {grp} where id = {id}"),
            4 => format!("update shop.item set price = {price} where grp = {grp}"),
            5 => format!(
                "update shop.item set id = {other} where id = {id} and not exists (select from shop.item where id = {other})"
            ),
            6 => format!("delete from shop.item where id = {id}"),
            7 => format!(
                "insert into shop.line values ({id}, {grp}, 1) on conflict (item_id, no) do update set qty = shop.line.qty + 1"
            ),
            _ => format!("delete from shop.line where item_id = {id}; insert into shop.unfollowed (v) values ('x')"),
        });
    }
    match random.random_range(0..20) {
        0 => statements.push("rollback".to_owned()),
        1 => {
            let large = format!("update shop.item set sku = 'L{}', note = repeat('n', 4000) || id", statements.len());
            statements.extend([large, "update shop.item set grp = grp + 1".to_owned(), "commit".to_owned()]);
        }
        _ => statements.push("commit".to_owned()),
    }
    statements.join(";\n")
}

#[test]
fn followers_get_whole_rows_whatever_the_log_carries() {
    let seed = seed("unlogged");
    for (release, seed) in postgres_releases().into_iter().zip(seed..) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut shop = Shop::new(release, ", transaction_bytes_max: 65536");
        shop.exec("insert into shop.item select n, 'S' || n % 7, n % 6, n, repeat(md5(n::text), 100), '2024-01-01' from generate_series(0, 40) n");
        shop.headwater.start().unwrap();
        shop.assert_equal();
        for number in 1..=TRANSACTIONS {
            let _ = shop.postgres.try_exec("postgres", &transaction(&mut random));
            if number == TRANSACTIONS / 2 {
                // No row that is there is logged again.
                shop.exec("alter table shop.line add column extra int default 5");
            }
            if number % STOP_EVERY == 0 {
                match number / STOP_EVERY % 2 {
                    0 => drop(shop.headwater.terminate(STOP_LIMIT).unwrap()),
                    _ => shop.headwater.kill9(),
                }
                shop.exec(&transaction(&mut random));
                shop.headwater.start().unwrap();
            }
        }
        shop.assert_equal();
        say(&format!("{release}: {TRANSACTIONS} transactions under the default replica identity; all equal"));
    }
}

#[test]
fn a_row_that_was_never_seen_is_counted_and_named() {
    let release = postgres_releases()[0];
    let mut shop = Shop::new(release, ", snapshot: never");
    shop.exec("insert into shop.item values (1, 'S1', 1, 1, 'n', '2024-01-01')");
    shop.headwater.start().unwrap();
    shop.exec("update shop.item set grp = 2 where id = 1");
    wait_until(LIMIT, "the sink to say what it lacks", || shop.status()["sinks"][0]["state"] == "failed").unwrap();
    let status = shop.status();
    assert_eq!(status["sources"][0]["unfilled_rows"], 1);
    let error = status["sinks"][0]["error"].as_str().unwrap_or_default().to_owned();
    assert!(error.contains("shop.item") && error.contains("REPLICA IDENTITY FULL"), "{error}");
}
