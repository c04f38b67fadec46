//! Clears and replays of dead letters that are cut short: nothing is left behind, nothing is applied twice.
//!
//! Invariant: whatever is cut short, the next connection finds in Redis itself what has to be done. Start at any test.

use super::*;

/// A write of each type of key, so that a clear takes several passes.
fn writes() -> Json {
    json!([
        { "json": "item:{id}" },
        { "hash": "hash:{id}" },
        { "set": "skus:{quantity}", "member": "{sku}" },
        { "zset": "prices", "member": "{id}", "score": "price" },
        { "counter": "rows:{sku}" },
    ])
}

fn insert(sink: &mut dyn Sink, ids: std::ops::Range<i64>) {
    let steps: Vec<Step> = ids.clone().map(|id| Step::Insert(item(id, "a", 25, 1))).collect();
    write(sink, ids.start as u64, &steps).and_then(|_| sink.flush()).expect("a write");
}

fn keys(redis: &Redis) -> Vec<String> {
    redis.contents(0).expect("Redis answers").into_keys().collect()
}

#[test]
fn a_clear_that_was_cut_short_is_done_again_by_the_next_connection() {
    // What the user may not remove ends the clear in its midst, as a kill does.
    for forbidden in ["item:*", "hash:*", "skus:*", "prices", "rows:*", "headwater:cache:refs:*"] {
        let redis = Redis::start(&[]).expect("Redis starts");
        let mut sink = configured(&redis.url(), writes()).build();
        sink.connect().expect("it connects");
        insert(&mut *sink, 0..4);
        let mut user = vec!["ACL", "SETUSER", "cut", "on", ">p", "+@all"];
        let all = ["item:*", "hash:*", "skus:*", "prices", "rows:*", "headwater:cache:refs:*"];
        let allowed = all.iter().filter(|pattern| **pattern != forbidden).map(|pattern| format!("~{pattern}"));
        let allowed: Vec<String> = allowed.chain(["~headwater:cache:[pwrs]*[a-z]".to_owned()]).collect();
        user.extend(allowed.iter().map(String::as_str));
        redis.call(&user);
        let url = format!("redis://cut:p@127.0.0.1:{}", redis.port());
        let mut cut = configured(&url, writes()).build();
        cut.connect().expect("it connects");
        let error = cut.clear().expect_err("it may not remove everything");
        assert_eq!(error.kind(), &Kind::Reconnect, "{error}");
        assert!(keys(&redis).len() > 1, "{forbidden}: something is left: {:?}", keys(&redis));
        // Whether its writes are the same now or others.
        for writes in [writes(), json!([{ "json": "thing:{id}" }])] {
            let mut again = configured(&redis.url(), writes).build();
            assert_eq!(again.connect().expect("it connects").progress, None, "{forbidden}");
            assert_eq!(keys(&redis), ["headwater:cache:writes"], "{forbidden}");
        }
    }
}

#[test]
fn a_transaction_that_arrives_during_a_clear_does_nothing() {
    let redis = Redis::start(&[]).expect("Redis starts");
    let mut sink = configured(&redis.url(), writes()).build();
    sink.connect().expect("it connects");
    sink.clear().expect("it clears");
    // Another process watched the progress when there was none, and its first transaction is on its way.
    let mut late = redis.connect().expect("a connection");
    let mut say = |command: &[&str]| late.call(command).expect("Redis answers");
    say(&["WATCH", "headwater:cache:progress"]);
    sink.clear().expect("it clears again");
    say(&["MULTI"]);
    say(&["SET", "headwater:cache:progress", &progress(1).to_string()]);
    assert_eq!(say(&["EXEC"]), Reply::Nil);
    assert_eq!(sink.connect().expect("it connects").progress, None);
}

#[test]
fn a_letter_that_was_replayed_is_told_by_the_next_connection() {
    let redis = Redis::start(&[]).expect("Redis starts");
    let configured = configured(&redis.url(), writes());
    let mut sink = configured.build();
    assert_eq!(sink.connect().expect("it connects").replayed, None);
    insert(&mut *sink, 0..3);
    let letter = [Step::Insert(item(7, "a", 25, 1))];
    let replay =
        |sink: &mut dyn Sink| with_events(&schema(), 2, &letter, |events| sink.replay(&events[0], progress(3)));
    // Refused, it is not applied, and so not told.
    redis.call(&["RENAME", "rows:a", "kept"]);
    redis.call(&["SET", "rows:a", "no number"]);
    assert_eq!(replay(&mut *sink).expect("an answer").rejected.len(), 1);
    assert_eq!(sink.connect().expect("it connects").replayed, None);
    sink.rejected_are_kept(2).expect("it forgets");
    redis.call(&["RENAME", "kept", "rows:a"]);
    assert_eq!(replay(&mut *sink).expect("an answer").rejected, []);
    // The end of the letter was not noted: here the process dies.
    let connected = configured.build().connect().expect("it connects");
    assert_eq!((connected.replayed, connected.progress, connected.rejected), (Some(2), Some(progress(3)), vec![]));
    assert_eq!(redis.call(&["GET", "rows:a"]).int(), 4);
    sink.clear().expect("it clears");
    assert_eq!(sink.connect().expect("it connects").replayed, None, "a cleared target has taken nothing");
}
