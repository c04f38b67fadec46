//! What is to be seen at one moment: the state of all parts, rates, lag by stage, and a few keys of the cache.
//!
//! Invariant: looking takes no lock and never waits for a server that is being restarted. Start at [`Observer::look`].

use crate::load::Load;
use crate::servers::Servers;
use headwater_testkit::{Connection, Reply, http_get};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What rates are averages over.
const RATE_OVER: Duration = Duration::from_secs(2);

/// One moment.
pub struct Picture {
    /// Since the load began.
    pub elapsed: Duration,
    /// Transactions so far.
    pub committed: u64,
    /// Transactions a second.
    pub rate: f64,
    /// The first source and the first sink of `/status`; `Null` while Headwater is down.
    pub source: Value,
    /// As above.
    pub sink: Value,
    /// Keys in the cache, `None` while it is down.
    pub keys: Option<i64>,
    /// From commit to readable, [p50, p99] in milliseconds, as a customer sees it.
    pub readable_ms: Option<[f64; 2]>,
}

/// A key of the cache that is watched.
pub struct Sample {
    /// What it is called.
    pub label: &'static str,
    /// What it was before its last change.
    pub before: String,
    /// What it is.
    pub now: String,
    /// When it changed.
    pub changed: Option<Instant>,
    command: &'static [&'static str],
    shown: fn(&Reply) -> String,
}

/// Looks at everything, again and again.
pub struct Observer {
    servers: Arc<Servers>,
    start: Instant,
    cache: Option<Connection>,
    commits: VecDeque<(Instant, u64)>,
    /// The watched keys.
    pub samples: Vec<Sample>,
}

impl Observer {
    /// An observer who has seen nothing yet.
    pub fn new(servers: &Arc<Servers>) -> Self {
        Self {
            servers: servers.clone(),
            start: Instant::now(),
            cache: None,
            commits: VecDeque::new(),
            samples: samples(),
        }
    }

    /// The picture of this moment.
    pub fn look(&mut self, load: &Load) -> Picture {
        let status = http_get(self.servers.http_port, "/status").ok();
        let status: Value = status.and_then(|(_, body)| serde_json::from_str(&body).ok()).unwrap_or_default();
        let committed = load.committed();
        Picture {
            elapsed: self.start.elapsed(),
            committed,
            rate: self.rate(committed),
            source: status["sources"][0].clone(),
            sink: status["sinks"][0].clone(),
            keys: self.look_into_cache(),
            readable_ms: load.purchases().percentiles_ms(),
        }
    }

    fn rate(&mut self, committed: u64) -> f64 {
        let now = Instant::now();
        self.commits.push_back((now, committed));
        while self.commits.len() > 2 && now.duration_since(self.commits[0].0) > RATE_OVER {
            self.commits.pop_front();
        }
        let (since, before) = self.commits[0];
        let seconds = now.duration_since(since).as_secs_f64();
        if seconds > 0.0 { (committed - before) as f64 / seconds } else { 0.0 }
    }

    /// Reads the samples; the number of keys, `None` when the cache is down.
    fn look_into_cache(&mut self) -> Option<i64> {
        if self.cache.is_none() {
            self.cache = self.servers.cache().ok();
        }
        let mut commands: Vec<&[&str]> = self.samples.iter().map(|sample| sample.command).collect();
        commands.push(&["DBSIZE"]);
        let replies = self.cache.as_mut()?.pipeline(&commands);
        let Ok(mut replies) = replies else {
            self.cache = None;
            return None;
        };
        let keys = replies.pop();
        for (sample, reply) in self.samples.iter_mut().zip(&replies) {
            // A Redis that is reading its file again refuses; that says nothing of the key.
            if !matches!(reply, Reply::Error(_)) {
                sample.see((sample.shown)(reply));
            }
        }
        match keys {
            Some(Reply::Int(keys)) => Some(keys),
            _ => None,
        }
    }
}

impl Sample {
    fn see(&mut self, now: String) {
        if now == self.now {
            return;
        }
        // The first look is no change.
        self.changed = (!self.now.is_empty()).then(Instant::now);
        self.before = std::mem::replace(&mut self.now, now);
    }
}

fn samples() -> Vec<Sample> {
    let sample = |label, command, shown| {
        let empty = String::new;
        Sample { label, command, shown, before: empty(), now: empty(), changed: None }
    };
    vec![
        sample("orders:placed", &["GET", "orders:placed"], text),
        sample("revenue:delivered", &["GET", "revenue:delivered"], money),
        sample("recent_orders (newest)", &["ZRANGE", "recent_orders", "-1", "-1"], text),
        sample("variant:7 .base_price .stock", &["GET", "variant:7"], |reply| fields(reply, &["base_price", "stock"])),
        sample("product:3 .name_ar .category_id", &["GET", "product:3"], |reply| {
            fields(reply, &["name_ar", "category_id"])
        }),
        sample("category_products:5 (members)", &["SCARD", "category_products:5"], text),
        sample("orders_of:77 (members)", &["SCARD", "orders_of:77"], text),
    ]
}

fn text(reply: &Reply) -> String {
    let list = reply.texts().join(" ");
    reply.text().unwrap_or(if list.is_empty() { "–".to_owned() } else { list })
}

/// Cents with their point.
fn money(reply: &Reply) -> String {
    let digits = text(reply);
    match digits.len().checked_sub(2).filter(|_| digits.len() > 2).and_then(|at| digits.split_at_checked(at)) {
        Some((whole, cents)) => format!("{whole}.{cents}"),
        None => digits,
    }
}

fn fields(reply: &Reply, names: &[&str]) -> String {
    let object: Value = reply.text().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let values = names.iter().map(|name| match &object[name] {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    });
    values.collect::<Vec<_>>().join("  ")
}
