//! A follower that is away for a whole load from PostgreSQL: the slot is confirmed all the same, so the server keeps no log
//! for it.
//!
//! `HEADWATER_LAGGARD_ROWS` says how many rows the load changes. Start at [`Sample`].

use crate::failures::{is, item, journal_is_good, says};
use crate::world::BINARY;
use headwater_testkit::{Headwater, Postgres, PostgresRelease, Redis, postgres_releases, say, wait_until};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Rows of the load, unless `HEADWATER_LAGGARD_ROWS` says otherwise: as many as make more log than may be held.
const ROWS: u64 = 150_000;
/// So many are changed at once; the next ones when the follower that is there has these, or they would outrun the source.
const ROUND_ROWS: u64 = 10_000;
/// Rows that one transaction inserts, and those of them that it then changes.
const INSERTED: u64 = 90;
const UPDATED: u64 = 10;
const LOAD_LIMIT: Duration = Duration::from_secs(900);
/// How often it is looked what the server keeps.
const LOOK: Duration = Duration::from_millis(100);

/// The log that may be held for the slot.
const HELD_BYTES_MAX: u64 = 100 << 20;
/// How long the slot's position may stay where it is during the load.
const PAUSE_MAX: Duration = Duration::from_secs(10);

const DATABASE: &str = "postgres";
/// The server keeps 8 MiB of log for itself, and makes a checkpoint at least every 16 MiB.
const SERVER: &[&str] = &["--wal-segsize=1", "min_wal_size=8MB", "max_wal_size=16MB", "log_checkpoints=off"];
const MIN_WAL_BYTES: u64 = 8 << 20;

const TABLES: &str = "
create schema shop;
create table shop.item (id bigint primary key, grp int not null, price int not null, note text not null);
create procedure shop.load(first bigint, transactions bigint, inserted int, updated int) language plpgsql as $$ begin
  for number in 0 .. transactions - 1 loop
    insert into shop.item select first + number * inserted + n, n % 8, n, repeat('x', 600) from generate_series(0, inserted - 1) n;
    update shop.item set price = price + 1 where id >= first + number * inserted and id < first + number * inserted + updated;
    commit;
  end loop;
end $$;";

const SAMPLE: &str =
    "select confirmed_flush_lsn - '0/0', pg_current_wal_lsn() - '0/0', pg_current_wal_lsn() - restart_lsn,
    (select sum(size) from pg_ls_waldir()) from pg_replication_slots where slot_name = 'headwater_shop'";

/// What the server keeps at one moment.
struct Sample {
    at: Instant,
    /// Up to where the slot is confirmed, and the end of the log.
    confirmed: u64,
    end: u64,
    /// Bytes of log that are held by whatever slot, and those of all files of the log.
    held: u64,
    files: u64,
}

impl Sample {
    fn take(postgres: &Postgres) -> Sample {
        let row = postgres.query(DATABASE, SAMPLE).remove(0);
        let [confirmed, end, held, files] = [0, 1, 2, 3].map(|at: usize| row[at].as_deref().unwrap().parse().unwrap());
        Sample { at: Instant::now(), confirmed, end, held, files }
    }
}

/// A shop on PostgreSQL with two caches, `cache` and `away`.
struct Two {
    postgres: Postgres,
    cache: Redis,
    away: Redis,
    headwater: Headwater,
}

impl Two {
    fn start(release: PostgresRelease) -> Two {
        let postgres = Postgres::start(release, SERVER).unwrap();
        postgres.exec(DATABASE, TABLES);
        let [cache, away] = [(); 2].map(|()| Redis::start(&["--appendonly", "yes"]).unwrap());
        let sink = |name: &str, redis: &Redis| {
            format!(
                "  {name}:\n    redis: {{ url: \"{}\" }}\n    follow:\n      shop.item:\n        - {{ hash: \"item:{{id}}\", \
                 fields: [grp, price] }}\n        - {{ counter: \"total:{{grp}}\", by: \"{{price}}\" }}\n",
                redis.url()
            )
        };
        let config = format!(
            "sources:\n  shop:\n    postgres: {{ url: \"{}\", tables: [\"shop.*\"] }}\nsinks:\n{}{}",
            postgres.url(DATABASE),
            sink("cache", &cache),
            sink("away", &away)
        );
        let mut headwater = Headwater::new(BINARY, &config).unwrap();
        headwater.start().unwrap();
        is(&headwater, "shop", "streaming");
        Two { postgres, cache, away, headwater }
    }

    /// Changes `rows` rows, and looks meanwhile and until all of it is confirmed what the server keeps.
    fn load(&self, rows: u64) -> Vec<Sample> {
        let has_ended = AtomicBool::new(false);
        let mut samples = vec![Sample::take(&self.postgres)];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let ended = Ends(&has_ended);
                (0..rows / ROUND_ROWS).for_each(|round| self.load_round(round));
                drop(ended);
            });
            while !has_ended.load(Ordering::Acquire) {
                samples.push(Sample::take(&self.postgres));
                let _ = wait_until(LOOK, "the load", || has_ended.load(Ordering::Acquire));
            }
        });
        let end = Sample::take(&self.postgres).end;
        wait_until(LOAD_LIMIT, "the slot to be confirmed up to the load's end", || {
            samples.push(Sample::take(&self.postgres));
            samples.last().is_some_and(|sample| sample.confirmed >= end)
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", self.headwater.log()));
        samples
    }

    fn load_round(&self, round: u64) {
        let transactions = ROUND_ROWS / (INSERTED + UPDATED);
        let first = round * transactions * INSERTED;
        self.postgres.exec(DATABASE, &format!("call shop.load({first}, {transactions}, {INSERTED}, {UPDATED})"));
        let last = format!("item:{}", first + transactions * INSERTED - 1);
        let has_arrived = || self.cache.call(&["EXISTS", &last]).int() == 1;
        wait_until(LOAD_LIMIT, "the follower that is there", has_arrived)
            .unwrap_or_else(|error| panic!("{error}\n{}", self.headwater.log()));
    }

    /// What a cache must hold.
    fn expected(&self) -> BTreeMap<String, String> {
        let sql = "select 'item:' || id, 'grp=' || grp || ',price=' || price from shop.item
             union all select 'total:' || grp, sum(price)::text from shop.item group by grp";
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        self.postgres.query(DATABASE, sql).iter().map(|row| (text(&row[0]), text(&row[1]))).collect()
    }
}

/// Says that the load has ended when it is dropped, also by a load that fails.
struct Ends<'l>(&'l AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn contents(redis: &Redis) -> BTreeMap<String, String> {
    let all = redis.contents(0).unwrap().into_iter().filter(|(key, _)| !key.starts_with("headwater:"));
    all.map(|(key, value)| {
        let mut pairs: Vec<String> = value.texts().chunks(2).map(|pair| pair.join("=")).collect();
        pairs.sort();
        (key, value.text().unwrap_or_else(|| pairs.join(",")))
    })
    .collect()
}

/// The longest time for which the slot's position stayed where it was although the log had grown.
fn longest_pause(samples: &[Sample]) -> Duration {
    let (mut since, mut longest) = (samples[0].at, Duration::ZERO);
    for pair in samples.windows(2) {
        if pair[1].confirmed > pair[0].confirmed || pair[0].confirmed >= pair[0].end {
            since = pair[1].at;
        }
        longest = longest.max(pair[1].at - since);
    }
    longest
}

#[test]
fn a_follower_that_is_down_for_a_whole_load_has_the_server_keep_no_log() {
    let rows = std::env::var("HEADWATER_LAGGARD_ROWS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROWS);
    for release in postgres_releases() {
        let mut two = Two::start(release);
        two.away.kill9();
        let began = Instant::now();
        let samples = two.load(rows);
        let took = began.elapsed().as_secs_f64();
        says(&two.headwater, "away", "waiting", &["redis://127.0.0.1:"]);
        let lag = item(&two.headwater, "away")["lag_changes"].as_u64().unwrap();
        assert!(lag >= rows, "{lag} changes behind");

        let written = samples[samples.len() - 1].end - samples[0].end;
        let held = samples.iter().map(|sample| sample.held).max().unwrap();
        let files = samples.iter().map(|sample| sample.files - MIN_WAL_BYTES.min(sample.files)).max().unwrap();
        let pause = longest_pause(&samples);
        let moves = samples.windows(2).filter(|pair| pair[1].confirmed > pair[0].confirmed).count();

        two.away.restart().unwrap();
        let back = Instant::now();
        let expected = two.expected();
        two.headwater.run_ok(&["wait", "--timeout", "900s"]).unwrap();
        let later = back.elapsed().as_secs_f64();
        for redis in [&two.cache, &two.away] {
            assert!(contents(redis) == expected, "a cache differs from the table");
        }
        is(&two.headwater, "away", "following");
        journal_is_good(&two.headwater);
        let mb = |bytes: u64| bytes >> 20;
        say(&format!(
            "{release}: {rows} rows, {} MB of log in {took:.1} s with a follower down: the slot was confirmed {moves} times, at \
             most {pause:.1?} apart; it held {} MB at most, the log's files were {} MB above their minimum; the follower was \
             equal {later:.1} s after it came back",
            mb(written),
            mb(held),
            mb(files),
        ));
        assert!(held < HELD_BYTES_MAX && files < HELD_BYTES_MAX, "{held} bytes held, {files} bytes of files");
        assert!(written > HELD_BYTES_MAX, "{written} bytes of log are too few to be held");
        assert!(moves > 1 && pause < PAUSE_MAX, "confirmed {moves} times, {pause:?} apart");
    }
}
