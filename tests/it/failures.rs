//! What the tests of failures share: a shop whose servers are behind proxies, the wait for a named error, the look at the
//! state on disk.
//!
//! Invariant: a failure is good only when it says what was seen and what to do, leaves a journal that verifies, and ends
//! with a cache equal to the database once its cause is mended. Start at [`says`] and [`journal_is_good`].

use crate::world::{LIMIT, World, config, contents, expected};
use headwater_testkit::{Flavor, Headwater, PASSWORD, Proxy, Redis, USER, flavors, wait_until};
use serde_json::Value;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How soon a stop must end, whatever is away.
pub const STOP_LIMIT: Duration = Duration::from_secs(5);

/// One item of the status: a source or a sink, by its name.
pub fn item(headwater: &Headwater, name: &str) -> Value {
    let body = headwater.get("/status").map(|(_, body)| body).unwrap_or_default();
    let status: Value = serde_json::from_str(&body).unwrap_or_default();
    let items = ["sources", "sinks"].into_iter().filter_map(|kind| status[kind].as_array());
    items.flatten().find(|item| item["name"] == name).cloned().unwrap_or_default()
}

/// Waits until the source or sink called `name` is in `state` with an error that holds every one of `texts`.
pub fn says(headwater: &Headwater, name: &str, state: &str, texts: &[&str]) {
    let what = format!("{name} to be {state} and to say {texts:?}");
    let mut last = Value::Null;
    let waited = wait_until(LIMIT, &what, || {
        last = item(headwater, name);
        let error = last["error"].as_str().unwrap_or_default();
        last["state"] == state && texts.iter().all(|text| error.contains(text))
    });
    if let Err(error) = waited {
        panic!("{error}\nIts last status was {last}\n{}", headwater.log());
    }
}

/// Waits until the source or sink called `name` is in `state`, without an error.
pub fn is(headwater: &Headwater, name: &str, state: &str) {
    let mut last = Value::Null;
    let waited = wait_until(LIMIT, &format!("{name} to be {state}"), || {
        last = item(headwater, name);
        last["state"] == state && last["error"].is_null()
    });
    if let Err(error) = waited {
        panic!("{error}\nIts last status was {last}\n{}", headwater.log());
    }
}

/// Reads the whole journal and expects no damage.
pub fn journal_is_good(headwater: &Headwater) {
    let said = headwater.run_ok(&["journal", "verify"]).unwrap();
    assert!(said.contains(": good."), "{said}");
}

/// Ends in order, as a supervisor does, within the limit.
pub fn stops_in_time(headwater: &mut Headwater, case: &str) {
    let status = headwater.terminate(STOP_LIMIT).unwrap_or_else(|error| panic!("{case}: {error}"));
    assert!(status.success(), "{case}: {status}\n{}", headwater.log());
}

/// `run` ends by itself with `status`, and its last words hold all of `texts`.
pub fn run_ends(headwater: &mut Headwater, status: i32, texts: &[&str]) {
    let before = headwater.log().len();
    headwater.launch().unwrap();
    let ended = headwater.wait_end(LIMIT).unwrap();
    let said = headwater.log().split_off(before);
    assert_eq!(ended.code(), Some(status), "{said}");
    for text in texts {
        assert!(said.contains(text), "`{text}` is missing in:\n{said}");
    }
}

/// One MariaDB and one MySQL: for what does not depend on the version.
pub fn two_flavors() -> impl Iterator<Item = Flavor> {
    let all = flavors();
    let (maria, mysql) = (all.iter().copied().find(|f| f.is_mariadb()), all.iter().copied().find(|f| !f.is_mariadb()));
    maria.into_iter().chain(mysql)
}

/// Adds rows to every table, changes a key and deletes a row; each call has ids of its own.
pub fn write_more(world: &World) {
    static CALLS: AtomicU32 = AtomicU32::new(10);
    let first = CALLS.fetch_add(1, Ordering::Relaxed) * 1_000;
    world.database().exec(&format!(
        "begin; insert into shop.item select {first} + n, concat('S', n % 5), n % 3, n * 1.25, 'more', '2024-05-05 05:05:05.5'
           from (select 1 as n union select 2 union select 3 union select 4 union select 5 union select 6 union select 7) numbers;
         insert into shop.line values ({first}, 1, 5), ({first}, 2, 6); insert into shop.ledger (worker, what) values (7, 'more');
         commit; update shop.item set id = id + 500, grp = 2 where id = {first} + 3; delete from shop.item where id = {first} + 4;"
    ));
}

/// The shop with its database and its cache behind proxies, and beside it what must not suffer: a second sink of the same
/// source, and a second source of the same database with a sink of its own, all three with direct connections.
pub struct Proxied {
    /// The shop; its cache is `redis`.
    pub world: World,
    /// Before the database, for the source `shop`.
    pub to_database: Proxy,
    /// Before Redis, for the sink `cache`.
    pub to_redis: Proxy,
    /// The targets of the sinks `second`, of the source `shop`, and `mirrored`, of the source `mirror`.
    pub others: [Redis; 2],
}

impl Proxied {
    /// Starts all but Headwater. `source` and `sink` are put into the options of every source and sink.
    pub fn start_with(flavor: Flavor, source: &str, sink: &str) -> Proxied {
        let world = World::start(flavor, &[], "");
        let (to_database, to_redis) = {
            let database = world.database();
            (Proxy::start(database.port()).unwrap(), Proxy::start(world.redis.port()).unwrap())
        };
        let others = [(); 2].map(|()| Redis::start(&[]).unwrap());
        let proxied = Proxied { world, to_database, to_redis, others };
        proxied.world.headwater.configure(&proxied.config(source, sink)).unwrap();
        proxied
    }

    fn config(&self, source_options: &str, sink_options: &str) -> String {
        let database = self.world.database();
        let follow = config(&database, &self.world.redis, "");
        let follow = follow.split_once("follow:").expect("the shop's sink follows tables").1;
        let source = |name: &str, port: u16| {
            let kind = database.flavor().scheme();
            let url = format!("{kind}://{USER}:{PASSWORD}@127.0.0.1:{port}");
            format!("  {name}:\n    {kind}: {{ url: \"{url}\", tables: [\"shop.*\"]{source_options} }}\n")
        };
        let sink = |name: &str, port: u16, source: &str| {
            let follow = follow.replace("shop.", &format!("{source}.shop."));
            let redis = format!("redis: {{ url: \"redis://127.0.0.1:{port}\"{sink_options} }}");
            format!("  {name}:\n    {redis}\n    follow:{follow}\n")
        };
        let [second, mirrored] = &self.others;
        [
            "sources:\n".to_owned(),
            source("shop", self.to_database.port()),
            source("mirror", database.port()),
            "sinks:\n".to_owned(),
            sink("cache", self.to_redis.port(), "shop"),
            sink("second", second.port(), "shop"),
            sink("mirrored", mirrored.port(), "mirror"),
        ]
        .concat()
    }

    /// Waits until the other targets, by their place in [`Proxied::others`], hold all that is in the database now, without
    /// asking Headwater.
    pub fn others_go_on(&self, which: &[usize], case: &str) {
        let wanted = expected(&self.world.database());
        for other in which {
            let what = format!("{case}: the other target {other} to go on");
            wait_until(LIMIT, &what, || contents(&self.others[*other]) == wanted)
                .unwrap_or_else(|error| panic!("{error}\n{}", self.world.log_tail()));
        }
    }
}
