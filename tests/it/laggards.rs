//! Followers that are away for a whole load: the others go on, and what they hold back of the journal has a limit, whose
//! outcome the configuration chooses.
//!
//! `HEADWATER_LAGGARD_ROWS` says how many rows the load has. Start at [`Two`].

use crate::failures::{is, item, journal_is_good, says, two_flavors};
use crate::world::{LIMIT, World, config, contents, expected, sink};
use headwater_testkit::{Flavor, Redis, say, wait_until};
use std::time::{Duration, Instant};

/// Rows of the load, unless `HEADWATER_LAGGARD_ROWS` says otherwise.
const ROWS: u64 = 20_000;
/// Rows of one transaction.
const TRANSACTION_ROWS: u64 = 100;
const LOAD_LIMIT: Duration = Duration::from_secs(900);
/// How long one load more may take to reach the limit.
const ROUND: Duration = Duration::from_secs(3);

/// A shop with two caches, `cache` and `away`.
struct Two {
    world: World,
    away: Redis,
    loads: u64,
}

impl Two {
    /// Starts it all, with these settings of the journal.
    fn start(flavor: Flavor, journal: &str) -> Two {
        let mut world = World::start(flavor, &[], "");
        let away = Redis::start(&["--appendonly", "yes"]).unwrap();
        let shop = config(&world.database(), &world.redis, "");
        world.headwater.configure(&format!("{journal}\n{shop}\n{}", sink("away", &away))).unwrap();
        world.headwater.start().unwrap();
        world.assert_equal();
        Two { world, away, loads: 0 }
    }

    /// Commits a load, and a last row by which its end is seen in a cache's counter.
    fn load(&mut self, rows: u64) {
        self.loads += 1;
        let first = self.loads * 10_000_000;
        let numbers = (0..TRANSACTION_ROWS)
            .map(|n| format!("({first} + @n + {n}, concat('S', @n % 12), {n} % 8, {n} / 4, repeat('x', 200), now(3))"));
        let transaction = format!("insert into shop.item values {}; ", numbers.collect::<Vec<_>>().join(", "));
        let many: String = (0..rows / TRANSACTION_ROWS)
            .map(|number| format!("set @n = {}; {transaction}", number * TRANSACTION_ROWS))
            .collect();
        self.world.database().exec(&format!("{many} insert into shop.ledger (worker, what) values (1, 'end')"));
    }

    /// Commits loads until the source or sink `name` is in `state`; what is held back is looked at once a second.
    fn load_until(&mut self, name: &str, state: &str) {
        let began = Instant::now();
        loop {
            self.load(2 * ROWS);
            let is_there = || item(&self.world.headwater, name)["state"] == state;
            if wait_until(ROUND, "the limit", is_there).is_ok() {
                return;
            }
            assert!(began.elapsed() < LOAD_LIMIT, "{name} is not {state}: {}", self.world.status());
        }
    }

    /// Waits until a cache holds the end of the last load.
    fn arrives(&self, redis: &Redis) {
        let end = Some(self.loads.to_string());
        wait_until(LOAD_LIMIT, "the load to arrive", || redis.call(&["GET", "ledger"]).text() == end)
            .unwrap_or_else(|error| panic!("{error}\n{}\n{}", self.world.status(), self.world.log_tail()));
    }

    /// Both caches hold what the database holds.
    fn both_equal(&self) {
        self.world.headwater.run_ok(&["wait", "--timeout", "900s"]).unwrap();
        self.world.assert_equal();
        assert!(contents(&self.away) == expected(&self.world.database()), "the cache that was away");
        journal_is_good(&self.world.headwater);
    }
}

#[test]
fn a_follower_that_is_down_for_a_whole_load_holds_up_nobody_and_catches_up() {
    let rows = std::env::var("HEADWATER_LAGGARD_ROWS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROWS);
    for flavor in two_flavors() {
        let mut two = Two::start(flavor, "");
        let mut took = Vec::new();
        for is_away in [false, true] {
            if is_away {
                two.away.kill9();
            }
            let began = Instant::now();
            two.load(rows);
            two.arrives(&two.world.redis);
            took.push(began.elapsed().as_secs_f64());
        }
        is(&two.world.headwater, "shop", "streaming");
        is(&two.world.headwater, "cache", "following");
        says(&two.world.headwater, "away", "waiting", &["redis://127.0.0.1:"]);
        let lag = item(&two.world.headwater, "away")["lag_changes"].as_u64().unwrap();
        assert!(lag >= rows, "{lag} changes behind");
        let began = Instant::now();
        two.away.restart().unwrap();
        two.arrives(&two.away);
        let later = began.elapsed().as_secs_f64();
        two.both_equal();
        let [with, without] = took[..] else { unreachable!("two loads") };
        say(&format!(
            "{flavor}: {rows} rows arrived in {with:.1} s with both caches up, in {without:.1} s with one down, which had them \
             {later:.1} s after it came back; all equal"
        ));
    }
}

/// Small enough for a load to pass it many times over.
fn small_journal(on_limit: &str) -> String {
    format!(
        "journal: {{ segment_bytes: 1MiB, retention: {{ bytes: 1MiB, keep_bytes: 1MiB }}, \
         laggard: {{ limit: 4MiB, on_limit: {on_limit} }} }}"
    )
}

#[test]
fn at_its_limit_a_follower_stops_the_source_where_that_is_chosen() {
    for flavor in two_flavors() {
        let mut two = Two::start(flavor, &small_journal("stop_source"));
        two.away.kill9();
        two.load_until("shop", "held");
        let texts = ["sink away holds back", "bytes of the journal, which is over the limit", "headwater rebuild away"];
        says(&two.world.headwater, "shop", "held", &texts);
        let announced = "the source is held: this follower holds back more of the journal than the limit";
        assert!(two.world.headwater.log().contains(announced));
        // What is committed now is not read.
        let sequence = two.world.sequence();
        two.load(TRANSACTION_ROWS);
        assert_eq!(two.world.headwater.run(&["wait", "--timeout", "2s"]).unwrap().status, Some(1));
        assert_eq!(two.world.sequence(), sequence);
        two.away.restart().unwrap();
        two.both_equal();
        is(&two.world.headwater, "shop", "streaming");
        assert!(two.world.headwater.log().contains("the follower has caught up; the source goes on"));
        say(&format!("{flavor}: at the limit the source is held, and goes on once the follower is there; all equal"));
    }
}

#[test]
fn at_its_limit_a_follower_is_dropped_where_that_is_chosen() {
    for flavor in two_flavors() {
        let mut two = Two::start(flavor, &small_journal("drop_follower"));
        two.away.kill9();
        two.load_until("away", "dropped");
        let texts = ["held back more of the journal than the limit", "headwater rebuild away"];
        says(&two.world.headwater, "away", "dropped", &texts);
        let announced = "the follower is dropped: it holds back more of the journal than the limit";
        assert!(two.world.headwater.log().contains(announced));
        two.arrives(&two.world.redis);
        is(&two.world.headwater, "shop", "streaming");
        is(&two.world.headwater, "cache", "following");
        let begins_later = || two.world.source()["first_sequence"].as_u64() > Some(0);
        wait_until(LIMIT, "the journal's beginning to go", begins_later).unwrap();
        two.away.restart().unwrap();
        two.world.headwater.run_ok(&["rebuild", "away"]).unwrap();
        two.both_equal();
        is(&two.world.headwater, "away", "following");
        say(&format!(
            "{flavor}: at the limit the follower is dropped, and filled anew once that is asked for; all equal"
        ));
    }
}
