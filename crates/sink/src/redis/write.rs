//! The sink itself: connects, applies batches, keeps one transaction in flight.
//!
//! Invariant: rows and progress change in one `MULTI/EXEC` under `WATCH` on the progress, so Redis always holds exactly
//! what its progress says. While the server executes one batch, the next is planned; the watch for it rides along with
//! the last `EXEC`, so a batch that has nothing to ask costs no round trip of waiting. Start at [`RedisSink::apply`].

use super::bind::{Bound, Image};
use super::config::Endpoint;
use super::follow::{Follow, Write};
use super::link::Link;
use super::outcome::OwnKeys;
use super::plan::{Flaws, Plan, VALUE_BYTES_MAX};
use super::resp::Commands;
use super::server::Server;
use super::sweep;
use super::tenure::{Tenure, Verdict};
use headwater_model::sink::{Batch, Connected, Event, Rejected, Sink, Written};
use headwater_model::{Error, Op, Progress, Result, Schema};
use redis::Value as Reply;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Refused rows that are read back at once on connecting, and that may wait for the dead-letter topic.
const REJECTED_READ_MAX: i64 = 100_000;

/// How long the server may be left alone before a flush looks whether it still holds our progress.
const IDLE_LOOK: Duration = Duration::from_secs(1);

/// A Redis target.
pub(super) struct RedisSink {
    endpoint: Arc<Endpoint>,
    follow: Arc<Follow>,
    own: OwnKeys,
    link: Option<Link>,
    plan: Plan,
    asked: Commands,
    bound: HashMap<u32, Bound>,
    /// The scale of each sum, as Redis has it, and those that it is still to be told.
    scales: HashMap<String, String>,
    new_scales: Vec<String>,
    in_flight: Option<InFlight>,
    /// What became known outside of `write` and `flush`, and is told with the next of them.
    untold: Written,
    /// What is known of the progress that Redis holds.
    tenure: Tenure,
    /// When the server last said how far we are.
    seen: Instant,
    /// The writes are not stored yet.
    define: bool,
}

/// A transaction whose answers are still to come.
struct InFlight {
    progress: String,
    sequence: u64,
    /// Commands before `EXEC`, and the row that each belongs to, `MULTI` first.
    commands: usize,
    owners: Vec<u64>,
    rejected: Vec<Rejected>,
    /// How many of the new scales it carries.
    scales: usize,
}

impl RedisSink {
    pub fn new(name: &str, endpoint: Arc<Endpoint>, follow: Arc<Follow>) -> Self {
        RedisSink {
            endpoint,
            follow,
            own: OwnKeys::new(name),
            link: None,
            plan: Plan::new(VALUE_BYTES_MAX),
            asked: Commands::default(),
            bound: HashMap::new(),
            scales: HashMap::new(),
            new_scales: Vec::new(),
            in_flight: None,
            untold: Written::default(),
            tenure: Tenure::default(),
            seen: Instant::now(),
            define: false,
        }
    }

    fn link(&mut self) -> Result<&mut Link> {
        open(&mut self.link, &self.endpoint)
    }

    /// Runs `work`; after an error the connection is given up, and the next call connects anew.
    fn guarded<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let done = work(self);
        if done.is_err() {
            self.link = None;
            self.in_flight = None;
        }
        done
    }

    /// Applies events, of which `replayed` is a dead letter that the target is to remember. Truncates come between
    /// transactions.
    fn take(&mut self, events: &[Event<'_>], progress: Progress, replayed: Option<u64>) -> Result<Written> {
        let mut written = std::mem::take(&mut self.untold);
        let mut rest = events;
        while let Some(at) = rest.iter().position(|event| event.change.op == Op::Truncate) {
            let (before, truncate) = (&rest[..at], &rest[at]);
            if !before.is_empty() {
                self.apply(before, Progress { sequence: truncate.sequence, ..progress }, None, &mut written)?;
            }
            self.settle(&mut written)?;
            self.truncate(truncate.schema)?;
            rest = &rest[at + 1..];
        }
        self.apply(rest, progress, replayed, &mut written)?;
        Ok(written)
    }

    /// Applies events that hold no truncate: plans, asks, and sends the transaction without waiting for its answers.
    fn apply(
        &mut self,
        events: &[Event<'_>],
        progress: Progress,
        replayed: Option<u64>,
        written: &mut Written,
    ) -> Result<()> {
        let mut flaws = Flaws::default();
        loop {
            self.plan(events, &flaws)?;
            if !self.plan.oversized.is_empty() {
                flaws.rows.extend(self.plan.oversized.drain(..));
                continue;
            }
            self.asked.clear();
            self.plan.questions(&self.own, &mut self.asked);
            if self.asked.len() > 0 {
                // The questions follow the last EXEC on the wire, so they are answered after it was applied.
                open(&mut self.link, &self.endpoint)?.send(&self.asked.bytes)?;
            }
            self.settle(written)?;
            if self.asked.len() == 0 || !self.hear(&mut flaws)? {
                break;
            }
        }
        if !self.plan.prefixes.is_empty() {
            let prefixes = std::mem::take(&mut self.plan.prefixes);
            sweep::prefixes(self.link()?, &prefixes)?;
        }
        self.send(progress, replayed)?;
        if self.in_flight.as_ref().is_some_and(|flight| !flight.rejected.is_empty()) {
            // The follower has to know of a refused row before it hands over later changes of the same row.
            self.settle(written)?;
        }
        Ok(())
    }

    fn plan(&mut self, events: &[Event<'_>], flaws: &Flaws) -> Result<()> {
        for event in events {
            if !self.bound.contains_key(&event.change.schema) {
                let bound = Bound::new(event.schema, writes_of(&self.follow, event.schema)?)?;
                self.compare_scales(&bound)?;
                self.bound.insert(event.change.schema, bound);
            }
        }
        let mut images = [Image::default(), Image::default()];
        self.plan.begin();
        let (out, own) = (&mut self.plan.out, &self.own);
        if self.define {
            out.command(0, "SET", &[own.writes.as_bytes(), self.follow.definition.as_bytes()]);
        }
        for name in &self.new_scales {
            out.command(0, "HSET", &[own.scales.as_bytes(), name.as_bytes(), self.scales[name].as_bytes()]);
        }
        for event in events {
            // Bound just above.
            let Some(bound) = self.bound.get(&event.change.schema) else { continue };
            self.plan.add(event, bound, &mut images, flaws)?;
        }
        Ok(())
    }

    /// A sum counts in units of its column's last digit; when a DDL statement changes which digit that is, what Redis holds
    /// and what is added would not be of one kind.
    fn compare_scales(&mut self, bound: &Bound) -> Result<()> {
        for (name, scale) in bound.scales() {
            match self.scales.get(&name) {
                Some(known) if *known == scale => {}
                Some(known) => {
                    return Err(Error::stop(format!(
                        "{name} now has {scale} digits after the point, and the counters have {known}"
                    ))
                    .hint("Rebuild the sink: its counters are then summed anew."));
                }
                None => {
                    self.new_scales.push(name.clone());
                    self.scales.insert(name, scale);
                }
            }
        }
        Ok(())
    }

    /// Receives the answers to the questions; whether some keys cannot be written.
    fn hear(&mut self, flaws: &mut Flaws) -> Result<bool> {
        let link = open(&mut self.link, &self.endpoint)?;
        let next = || match link.receive()? {
            Reply::ServerError(error) if error.code() != "WRONGTYPE" => Err(link.refused(error.code())),
            reply => Ok(reply),
        };
        self.plan.answers(next, flaws)
    }

    fn send(&mut self, progress: Progress, replayed: Option<u64>) -> Result<()> {
        fail::fail_point!("redis::before_exec", |_| Err(Error::reconnect("fail point redis::before_exec")));
        if let Some(letter) = replayed.filter(|_| self.plan.rejected.is_empty()) {
            self.plan.out.command(0, "SET", &[self.own.replayed.as_bytes(), letter.to_string().as_bytes()]);
        }
        let text = progress.to_string();
        let commands = self.plan.finish(&self.own, &text);
        self.tenure.attempt(&text);
        open(&mut self.link, &self.endpoint)?.send(&self.plan.out.bytes)?;
        self.in_flight = Some(InFlight {
            progress: text,
            sequence: progress.sequence,
            commands,
            owners: std::mem::take(&mut self.plan.out.owners),
            rejected: std::mem::take(&mut self.plan.rejected),
            scales: self.new_scales.len(),
        });
        fail::fail_point!("redis::after_send", |_| Err(Error::reconnect("fail point redis::after_send")));
        Ok(())
    }

    /// Waits for the answers to the transaction in flight, if there is one.
    fn settle(&mut self, written: &mut Written) -> Result<()> {
        let Some(flight) = self.in_flight.take() else { return Ok(()) };
        let link = self.link()?;
        let mut refused = None;
        for _ in 0..=flight.commands {
            if let Reply::ServerError(error) = link.receive()? {
                refused.get_or_insert_with(|| error.code().to_owned());
            }
        }
        let outcome = link.receive()?;
        link.checked()?;
        let stored = text(link.checked()?);
        if let Some(code) = refused {
            return Err(link.refused(&code));
        }
        let replies = match outcome {
            Reply::Array(replies) => replies,
            Reply::ServerError(error) => return Err(link.refused(error.code())),
            // The watch has found the progress touched, and nothing was done.
            _ => {
                let verdict = self.tenure.touched(stored);
                self.judge(verdict)?;
                return Err(Error::reconnect(format!("{} did not run a transaction", self.endpoint.label)));
            }
        };
        let verdict = self.tenure.look(Some(&flight.progress), stored);
        self.judge(verdict)?;
        fail::fail_point!("redis::after_exec", |_| Err(Error::reconnect("fail point redis::after_exec")));
        let mut rejected = flight.rejected;
        let owners = flight.owners.get(1..).unwrap_or_default();
        self.refuse_afterwards(&replies, owners, &mut rejected)?;
        self.seen = Instant::now();
        self.define = false;
        self.new_scales.drain(..flight.scales);
        written.durable = Some(flight.sequence);
        written.rejected.append(&mut rejected);
        Ok(())
    }

    /// A command inside `EXEC` failed all the same: somebody else changed the type of a key between our question and
    /// our transaction. Its rows are recorded now, after the fact.
    fn refuse_afterwards(&mut self, replies: &[Reply], owners: &[u64], rejected: &mut Vec<Rejected>) -> Result<()> {
        for (reply, &owner) in replies.iter().zip(owners) {
            let Reply::ServerError(error) = reply else { continue };
            if rejected.iter().any(|row| row.sequence == owner) {
                continue;
            }
            let reason = format!("somebody else changed the type of its key while it was written ({})", error.code());
            let entry = format!("{owner} {reason}");
            let (own, link) = (&self.own, open(&mut self.link, &self.endpoint)?);
            link.ask("DEL", &[own.replayed.as_bytes()])?;
            link.ask("RPUSH", &[own.rejected.as_bytes(), entry.as_bytes()])?;
            rejected.push(Rejected { sequence: owner, reason });
        }
        Ok(())
    }

    /// Goes on when the progress is as it should be.
    fn judge(&self, verdict: Verdict) -> Result<()> {
        let label = &self.endpoint.label;
        match verdict {
            Verdict::Ours => Ok(()),
            Verdict::Gone => {
                Err(Error::reconnect(format!("{label} has lost the sink's progress; its data was deleted")))
            }
            Verdict::Late => {
                Err(Error::reconnect(format!("a transaction of an earlier connection reached {label} late")))
            }
            Verdict::Intruder => {
                let key = &self.own.progress;
                Err(Error::stop(format!("another process writes to {label} as this sink: it moved the key {key}"))
                    .hint("Stop the other process, or give one of the two sinks another name."))
            }
        }
    }

    /// Removes what the rows of a truncated table left. Before the transaction that moves progress past it.
    fn truncate(&mut self, schema: &Schema) -> Result<()> {
        let follow = Arc::clone(&self.follow);
        let ours = writes_of(&follow, schema)?;
        for other in follow.tables.values().filter(|writes| !std::ptr::eq(writes.as_slice(), ours)).flatten() {
            if let Some(write) = ours.iter().find(|write| overlap(write, other)) {
                return Err(Error::stop(format!(
                    "{} was truncated, but the keys of its write to `{}` cannot be told from those of `{}` of another table",
                    schema.full_name(),
                    write.key,
                    other.key
                ))
                .hint("Give the templates different beginnings; the sink is then rebuilt."));
            }
        }
        let ours = ours.iter().collect::<Vec<_>>();
        sweep::written(open(&mut self.link, &self.endpoint)?, &ours, &self.own, false)
    }

    fn connect_now(&mut self) -> Result<Connected> {
        self.in_flight = None;
        self.untold = Written::default();
        self.bound.clear();
        self.plan.forget_sweeps();
        let mut link = Link::open(&self.endpoint)?;
        let server = Server::ask(&mut link)?;
        let fixed_ttl = self.follow.writes().any(|write| write.ttl.is_some_and(|ttl| !ttl.refresh));
        server.require(fixed_ttl, &self.endpoint.label)?;
        if server.evicts_all() {
            tracing::warn!(target_server = %self.endpoint.label, policy = %server.maxmemory_policy,
                "Redis may evict keys without a TTL, the sink's progress among them; use volatile-lru or noeviction");
        }
        self.link = Some(link);
        let (mut progress, defined) = self.watch()?;
        let unfinished = progress.is_none() && defined.is_some();
        if unfinished || defined.as_ref().is_some_and(|defined| *defined != self.follow.definition) {
            let reason = if unfinished { "a clear was cut short" } else { "its writes have changed" };
            tracing::info!(target_server = %self.endpoint.label, reason, "removing all keys of the sink");
            self.clear_now()?;
            progress = None;
        } else if self.tenure.connected(progress.clone()) == Verdict::Intruder {
            self.judge(Verdict::Intruder)?;
        }
        let parse = |text: String| {
            text.parse::<Progress>().map_err(|error| {
                Error::stop(format!("the key {} on {} holds no progress", self.own.progress, self.endpoint.label))
                    .source(error)
                    .hint("Something else wrote to it. Delete the key to rebuild the sink.")
            })
        };
        let progress = progress.map(parse).transpose()?;
        self.define = defined.is_none();
        self.read_scales()?;
        self.seen = Instant::now();
        let (own, link) = (&self.own, open(&mut self.link, &self.endpoint)?);
        let replayed = text(link.ask("GET", &[own.replayed.as_bytes()])?).and_then(|letter| letter.parse().ok());
        let rejected = self.rejected()?;
        let server = if server.version.is_empty() { "Redis".to_owned() } else { format!("Redis {}", server.version) };
        Ok(Connected { progress, rejected, replayed, server })
    }

    /// Watches the progress for the next transaction, and reads it and the writes that made the keys.
    fn watch(&mut self) -> Result<(Option<String>, Option<String>)> {
        let (own, link) = (&self.own, open(&mut self.link, &self.endpoint)?);
        link.ask("WATCH", &[own.progress.as_bytes()])?;
        let progress = text(link.ask("GET", &[own.progress.as_bytes()])?);
        Ok((progress, text(link.ask("GET", &[own.writes.as_bytes()])?)))
    }

    fn read_scales(&mut self) -> Result<()> {
        let reply = open(&mut self.link, &self.endpoint)?.ask("HGETALL", &[self.own.scales.as_bytes()])?;
        let Reply::Array(pairs) = reply else { return Ok(()) };
        let mut texts = pairs.into_iter().filter_map(text);
        self.new_scales.clear();
        self.scales = std::iter::from_fn(|| texts.next().zip(texts.next())).collect();
        Ok(())
    }

    /// Asks an idle server whether it is still what it was: one that was restored from an older file meanwhile, or lost
    /// all, would otherwise be noticed with the next change only.
    fn look(&mut self) -> Result<()> {
        if self.seen.elapsed() < IDLE_LOOK {
            return Ok(());
        }
        let stored = text(open(&mut self.link, &self.endpoint)?.ask("GET", &[self.own.progress.as_bytes()])?);
        let expected = self.tenure.stored().map(str::to_owned);
        let verdict = self.tenure.look(expected.as_deref(), stored);
        self.judge(verdict)?;
        self.seen = Instant::now();
        Ok(())
    }

    fn rejected(&mut self) -> Result<Vec<Rejected>> {
        let key = self.own.rejected.clone();
        let last = (REJECTED_READ_MAX - 1).to_string();
        let Reply::Array(entries) = self.link()?.ask("LRANGE", &[key.as_bytes(), b"0", last.as_bytes()])? else {
            return Ok(Vec::new());
        };
        let parse = |entry: Reply| {
            let entry = text(entry)?;
            let (sequence, reason) = entry.split_once(' ')?;
            Some(Rejected { sequence: sequence.parse().ok()?, reason: reason.to_owned() })
        };
        Ok(entries.into_iter().filter_map(parse).collect())
    }

    /// Progress goes first, so that a clear that is cut short is never taken for a filled target; the stored writes stay
    /// until the end and are then renewed, so that without progress they say: clear again. A transaction of an earlier
    /// connection that arrives in the midst of it finds its watch touched, also where there was no progress to remove,
    /// and does nothing.
    fn clear_now(&mut self) -> Result<()> {
        self.settle(&mut Written::default())?;
        let follow = Arc::clone(&self.follow);
        let (own, link) = (&self.own, open(&mut self.link, &self.endpoint)?);
        let defined = text(link.ask("GET", &[own.writes.as_bytes()])?);
        let mut begin = Commands::default();
        begin.command(0, "UNWATCH", &[]);
        begin.command(0, "MULTI", &[]);
        let writes = defined.as_deref().unwrap_or(&follow.definition);
        begin.command(0, "SET", &[own.writes.as_bytes(), writes.as_bytes()]);
        begin.command(0, "SET", &[own.progress.as_bytes(), b""]);
        begin.command(0, "DEL", &[own.progress.as_bytes()]);
        begin.command(0, "EXEC", &[]);
        begin.command(0, "WATCH", &[own.progress.as_bytes()]);
        link.send(&begin.bytes)?;
        for _ in 0..begin.len() {
            link.checked()?;
        }
        let earlier =
            defined.and_then(|text| serde_json::from_str(&text).ok()).and_then(|value| Follow::parse(&value).ok());
        let writes = follow.writes().chain(earlier.iter().flat_map(Follow::writes)).collect::<Vec<_>>();
        sweep::written(link, &writes, own, true)?;
        sweep::own(link, own, &own.writes)?;
        link.ask("SET", &[own.writes.as_bytes(), follow.definition.as_bytes()])?;
        self.tenure = Tenure::default();
        self.define = false;
        self.bound.clear();
        self.scales.clear();
        self.new_scales.clear();
        self.seen = Instant::now();
        Ok(())
    }
}

impl Sink for RedisSink {
    fn connect(&mut self) -> Result<Connected> {
        self.link = None;
        self.guarded(Self::connect_now)
    }

    fn write(&mut self, batch: &Batch<'_>) -> Result<Written> {
        self.guarded(|sink| sink.take(batch.events, batch.progress, None))
    }

    fn replay(&mut self, letter: &Event<'_>, progress: Progress) -> Result<Written> {
        self.guarded(|sink| {
            let mut written = sink.take(std::slice::from_ref(letter), progress, Some(letter.sequence))?;
            sink.settle(&mut written)?;
            Ok(written)
        })
    }

    fn flush(&mut self) -> Result<Written> {
        self.guarded(|sink| {
            let mut written = std::mem::take(&mut sink.untold);
            sink.settle(&mut written)?;
            sink.look()?;
            Ok(written)
        })
    }

    fn rejected_are_kept(&mut self, through: u64) -> Result<()> {
        self.guarded(|sink| {
            let mut written = std::mem::take(&mut sink.untold);
            sink.settle(&mut written)?;
            sink.untold = written;
            let kept = sink.rejected()?.iter().take_while(|row| row.sequence <= through).count();
            if kept > 0 {
                let key = sink.own.rejected.clone();
                sink.link()?.ask("LTRIM", &[key.as_bytes(), kept.to_string().as_bytes(), b"-1"])?;
            }
            Ok(())
        })
    }

    fn clear(&mut self) -> Result<()> {
        self.guarded(Self::clear_now)
    }
}

/// The connection, apart from the rest of the sink.
fn open<'l>(link: &'l mut Option<Link>, endpoint: &Endpoint) -> Result<&'l mut Link> {
    link.as_mut().ok_or_else(|| Error::reconnect(format!("there is no connection to {}", endpoint.label)))
}

/// The writes of the table with this schema. `follow` may name it by its source: then the table's own name decides.
fn writes_of<'f>(follow: &'f Follow, schema: &Schema) -> Result<&'f [Write]> {
    if let Some(writes) = follow.tables.get(&schema.full_name()) {
        return Ok(writes);
    }
    let mut named = follow
        .tables
        .iter()
        .filter(|(name, _)| name.split_once('.').map_or(name.as_str(), |(_, table)| table) == schema.table);
    match (named.next(), named.next()) {
        (Some((_, writes)), None) => Ok(writes),
        (None, _) => {
            Err(Error::stop(format!("a change of {} arrived, which the sink does not follow", schema.full_name()))
                .hint("Add the table under `follow`."))
        }
        (Some((first, _)), Some((second, _))) => Err(Error::stop(format!(
            "a change of {} arrived, which may be `{first}` or `{second}` under `follow`",
            schema.full_name()
        ))
        .hint("Name tables by database under `follow`: `database.table`.")),
    }
}

/// Whether a key of one write may look like a key of the other.
fn overlap(a: &Write, b: &Write) -> bool {
    let (a_prefix, b_prefix) = (a.key.prefix(), b.key.prefix());
    a.kind.key_type().is_some()
        && a.kind.key_type() == b.kind.key_type()
        && !a.kind.appends_only()
        && (a_prefix.starts_with(b_prefix) || b_prefix.starts_with(a_prefix))
}

fn text(reply: Reply) -> Option<String> {
    match reply {
        Reply::BulkString(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Reply::SimpleString(text) => Some(text),
        _ => None,
    }
}
