//! Peers that die: Redis or the database hangs, cuts its connections, refuses new ones. Nothing is lost, the state says so,
//! everyone else goes on, and a stop in the middle of it is quick.
//!
//! Invariant: each case is left and entered again by a restart, so that a start does not need the peer either. Start at
//! [`CASES`].

use crate::failures::{Proxied, is, item, journal_is_good, says, stops_in_time, two_flavors, write_more};
use crate::world::{LIMIT, World, contents, expected};
use headwater_testkit::{Proxy, wait_until};

/// What dies.
#[derive(Clone, Copy, PartialEq)]
enum Peer {
    Redis,
    Database,
}

/// How it dies, what says so, and what is said.
struct Case {
    name: &'static str,
    peer: Peer,
    how: fn(&Proxy),
    texts: &'static [&'static str],
}

const CASES: [Case; 6] = [
    Case {
        name: "Redis hangs",
        peer: Peer::Redis,
        how: Proxy::pause,
        texts: &["redis://127.0.0.1:", "gave no answer within 1 s. Look whether it hangs"],
    },
    Case { name: "Redis refuses", peer: Peer::Redis, how: Proxy::refuse, texts: &["redis://127.0.0.1:"] },
    Case { name: "Redis cuts", peer: Peer::Redis, how: Proxy::cut, texts: &[] },
    Case { name: "the database hangs", peer: Peer::Database, how: Proxy::pause, texts: &["source shop", "127.0.0.1:"] },
    Case {
        name: "the database refuses",
        peer: Peer::Database,
        how: Proxy::refuse,
        texts: &["source shop", "127.0.0.1:"],
    },
    Case { name: "the database cuts", peer: Peer::Database, how: Proxy::cut, texts: &[] },
];

/// So that a hanging peer is noticed soon.
const QUICK_SOURCE: &str = ", heartbeat: 200ms, query_timeout: 1s, connect_timeout: 1s";
const QUICK_SINK: &str = ", timeout: 1s, connect_timeout: 1s";

#[test]
fn a_dead_peer_is_named_holds_up_nobody_and_loses_nothing() {
    for flavor in two_flavors() {
        let mut shop = Proxied::start_with(flavor, QUICK_SOURCE, QUICK_SINK);
        shop.world.headwater.start().unwrap();
        for case in &CASES {
            die_and_come_back(&mut shop, case);
        }
    }
}

fn die_and_come_back(shop: &mut Proxied, case: &Case) {
    let (proxy, subject) = match case.peer {
        Peer::Redis => (&shop.to_redis, "cache"),
        Peer::Database => (&shop.to_database, "shop"),
    };
    // The second sink of the source and the other source, or the other source alone.
    let others: &[usize] = if case.peer == Peer::Redis { &[0, 1] } else { &[1] };
    (case.how)(proxy);
    write_more(&shop.world);
    shop.others_go_on(others, case.name);
    if !case.texts.is_empty() {
        says(&shop.world.headwater, subject, "waiting", case.texts);
        stops_in_time(&mut shop.world.headwater, case.name);
        journal_is_good(&shop.world.headwater);
        shop.world.headwater.launch().unwrap();
        write_more(&shop.world);
        shop.others_go_on(others, case.name);
        says(&shop.world.headwater, subject, "waiting", case.texts);
        stops_in_time(&mut shop.world.headwater, case.name);
        shop.world.headwater.launch().unwrap();
    }
    let proxy = if case.peer == Peer::Redis { &shop.to_redis } else { &shop.to_database };
    proxy.forward();
    is(&shop.world.headwater, "shop", "streaming");
    is(&shop.world.headwater, "cache", "following");
    shop.world.assert_equal();
    shop.others_go_on(&[0, 1], case.name);
    journal_is_good(&shop.world.headwater);
}

#[test]
fn a_stop_is_quick_while_a_peer_hangs_whatever_the_timeouts_are() {
    for flavor in two_flavors() {
        let mut shop = Proxied::start_with(flavor, "", "");
        for (peer, name) in [(Peer::Redis, "Redis hangs"), (Peer::Database, "the database hangs")] {
            let others: &[usize] = if peer == Peer::Redis { &[0, 1] } else { &[1] };
            shop.world.headwater.start().unwrap();
            // While it works, and while it is being connected to.
            for moment in ["at work", "at the start"] {
                let proxy = if peer == Peer::Redis { &shop.to_redis } else { &shop.to_database };
                proxy.pause();
                write_more(&shop.world);
                shop.others_go_on(others, name);
                stops_in_time(&mut shop.world.headwater, &format!("{name} {moment}"));
                journal_is_good(&shop.world.headwater);
                shop.world.headwater.launch().unwrap();
            }
            shop.to_redis.forward();
            shop.to_database.forward();
            shop.world.headwater.kill9();
            shop.world.headwater.start().unwrap();
            shop.world.assert_equal();
            stops_in_time(&mut shop.world.headwater, name);
        }
    }
}

#[test]
fn a_cache_that_is_emptied_while_nothing_changes_is_filled_again() {
    let mut world = World::start(two_flavors().next().expect("a server"), &[], "");
    world.headwater.start().unwrap();
    write_more(&world);
    world.assert_equal();
    world.redis.call(&["FLUSHALL"]);
    let wanted = expected(&world.database());
    wait_until(LIMIT, "the cache to be filled again", || contents(&world.redis) == wanted)
        .unwrap_or_else(|error| panic!("{error}: {}", item(&world.headwater, "cache")));
}
