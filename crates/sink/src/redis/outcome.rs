//! The second half of a batch: what Redis is asked first, and what follows from its answers.
//!
//! Invariant: `EXEC` is not all or nothing when one of its commands fails, so all that can fail is read before it: the
//! type of each key (each kind's own length or membership command refuses a key of another type), counts, counters.

use super::plan::{Flaw, Flaws, KeyKind, KeyState, MemberState, Plan, expire};
use super::resp::Commands;
use redis::Value as Reply;

/// The names of the keys that a sink keeps for itself.
#[derive(Clone, Debug)]
pub(super) struct OwnKeys {
    /// All of them begin so: `headwater:{sink}:`.
    pub prefix: String,
    /// How far this sink has come.
    pub progress: String,
    /// Rows that were refused and may not be in the dead-letter topic yet.
    pub rejected: String,
    /// The dead letter that was applied again last.
    pub replayed: String,
    /// The writes, as they were when the keys were made.
    pub writes: String,
    /// How many digits after the point each counter counts in.
    pub scales: String,
    /// Followed by a key: the count of each of its members that two rows or more map to.
    pub refs: String,
}

impl OwnKeys {
    pub fn new(sink: &str) -> OwnKeys {
        let prefix = format!("{}{sink}:", super::template::OWN_PREFIX);
        OwnKeys {
            progress: format!("{prefix}progress"),
            rejected: format!("{prefix}rejected"),
            replayed: format!("{prefix}replayed"),
            writes: format!("{prefix}writes"),
            scales: format!("{prefix}scales"),
            refs: format!("{prefix}refs:"),
            prefix,
        }
    }

    fn refs_of(&self, key: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.refs.as_bytes());
        out.extend_from_slice(key);
    }
}

/// The members of a key, as a walk along its chain.
fn chain<'m>(states: &'m [MemberState], key: &KeyState) -> impl Iterator<Item = (usize, &'m MemberState)> {
    let mut at = key.head;
    std::iter::from_fn(move || {
        let state = states.get(at as usize)?;
        let id = at as usize;
        at = state.next;
        Some((id, state))
    })
}

impl MemberState {
    /// Rows that map to this member, before this batch.
    fn rows(&self) -> i64 {
        if self.count > 1 { self.count } else { i64::from(self.present) }
    }

    /// And after it. The count never goes below zero on its way.
    fn rows_after(&self) -> i64 {
        self.rows() + self.net - (self.rows() + self.low).min(0)
    }

    /// Counts of one are not kept: the member itself says so.
    fn kept(rows: i64) -> i64 {
        if rows > 1 { rows } else { 0 }
    }
}

impl Plan {
    /// The member's own bytes: what was interned carries its key's number in front.
    fn member_name(&self, id: usize) -> &[u8] {
        &self.members.get(id)[size_of::<u32>()..]
    }

    /// The key's own bytes: what was interned carries its kind in front.
    fn key_name(&self, id: usize) -> &[u8] {
        &self.keys.get(id)[1..]
    }

    /// Appends what must be asked before this batch can be applied.
    pub fn questions(&self, own: &OwnKeys, asked: &mut Commands) {
        let mut refs = Vec::new();
        for (id, key) in self.key_states.iter().enumerate() {
            let name = self.key_name(id);
            let (one, many) = match key.kind {
                KeyKind::Hash => ("HLEN", ""),
                KeyKind::List => ("LLEN", ""),
                KeyKind::Stream => ("XLEN", ""),
                KeyKind::Counter => ("GET", ""),
                KeyKind::Set => ("SISMEMBER", "SMISMEMBER"),
                KeyKind::Zset => ("ZSCORE", "ZMSCORE"),
            };
            let ask = |asked: &mut Commands, command: &str, name: &[u8]| {
                asked.begin(key.owner, command, 2 + key.members);
                asked.arg(name);
                chain(&self.member_states, key).for_each(|(id, _)| asked.arg(self.member_name(id)));
            };
            ask(asked, if key.members > 1 { many } else { one }, name);
            if matches!(key.kind, KeyKind::Set | KeyKind::Zset) {
                own.refs_of(name, &mut refs);
                ask(asked, if key.members > 1 { "HMGET" } else { "HGET" }, &refs);
            }
        }
    }

    /// Takes the answers in the order of the questions. Keys that cannot be written go into `flaws`; whether there are
    /// any. An `Err` is a server error that concerns more than a key.
    pub fn answers(
        &mut self,
        mut next: impl FnMut() -> headwater_model::Result<Reply>,
        flaws: &mut Flaws,
    ) -> headwater_model::Result<bool> {
        let mut found = false;
        for id in 0..self.key_states.len() {
            let first = next()?;
            let mut flaw =
                matches!(&first, Reply::ServerError(error) if error.code() == "WRONGTYPE").then_some(Flaw::WrongType);
            match self.key_states[id].kind {
                KeyKind::Counter if flaw.is_none() => flaw = self.counter_answer(id, &first),
                KeyKind::Set | KeyKind::Zset => {
                    let counts = next()?;
                    if flaw.is_none() {
                        self.member_answers(id, first, counts);
                    }
                }
                _ => {}
            }
            if let Some(flaw) = flaw {
                found = true;
                flaws.keys.insert(self.keys.get(id).to_vec(), flaw);
            }
        }
        Ok(found)
    }

    fn counter_answer(&mut self, id: usize, reply: &Reply) -> Option<Flaw> {
        let state = &mut self.key_states[id];
        state.counter = match reply {
            Reply::Nil => 0,
            Reply::BulkString(text) => match std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()) {
                Some(number) => number,
                None => return Some(Flaw::NoInteger),
            },
            _ => return Some(Flaw::NoInteger),
        };
        let fits = i64::try_from(state.delta).is_ok() && i64::try_from(i128::from(state.counter) + state.delta).is_ok();
        (!fits).then_some(Flaw::OutOfRange)
    }

    fn member_answers(&mut self, id: usize, present: Reply, counts: Reply) {
        let one_or_many = |reply| match reply {
            Reply::Array(many) => many,
            one => vec![one],
        };
        let answers = one_or_many(present).into_iter().zip(one_or_many(counts));
        let mut at = self.key_states[id].head;
        for (present, count) in answers {
            let Some(state) = self.member_states.get_mut(at as usize) else { return };
            at = state.next;
            state.present = !matches!(present, Reply::Nil | Reply::Int(0));
            state.count = match count {
                Reply::BulkString(text) => {
                    std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
                }
                _ => 0,
            };
        }
    }

    /// Completes the transaction: members, counters, TTLs, refused rows, progress, `EXEC`; then watches and reads the
    /// progress for the next one. The commands before `EXEC`, `MULTI` not counted.
    pub fn finish(&mut self, own: &OwnKeys, progress: &str) -> usize {
        let mut out = std::mem::take(&mut self.out);
        let mut refs = Vec::new();
        for (id, key) in self.key_states.iter().enumerate() {
            let name = self.key_name(id);
            let mut written = key.written;
            match key.kind {
                KeyKind::Set | KeyKind::Zset => {
                    own.refs_of(name, &mut refs);
                    written = self.finish_members(&mut out, key, name, &refs);
                    if let Some(ttl) = key.ttl.filter(|_| written) {
                        expire(&mut out, key.owner, &refs, ttl);
                    }
                }
                KeyKind::Counter if key.delta != 0 => {
                    let sum = i128::from(key.counter) + key.delta;
                    if sum == 0 {
                        out.command(key.owner, "DEL", &[name]);
                    } else {
                        out.begin(key.owner, "INCRBY", 3);
                        out.arg(name);
                        // Both were found to fit when the answers came.
                        out.number(key.delta as i64);
                        written = true;
                    }
                }
                _ => {}
            }
            if let Some(ttl) = key.ttl.filter(|_| written) {
                expire(&mut out, key.owner, name, ttl);
            }
        }
        for row in &self.rejected {
            let entry = format!("{} {}", row.sequence, row.reason);
            out.command(row.sequence, "RPUSH", &[own.rejected.as_bytes(), entry.as_bytes()]);
        }
        out.command(0, "SET", &[own.progress.as_bytes(), progress.as_bytes()]);
        let commands = out.len() - 1;
        out.command(0, "EXEC", &[]);
        out.command(0, "WATCH", &[own.progress.as_bytes()]);
        out.command(0, "GET", &[own.progress.as_bytes()]);
        self.out = out;
        commands
    }

    /// Adds and removes members, and keeps their counts; whether something was added.
    fn finish_members(&self, out: &mut Commands, key: &KeyState, name: &[u8], refs: &[u8]) -> bool {
        let zset = key.kind == KeyKind::Zset;
        let adds = |m: &MemberState| match zset {
            true => m.score.is_some() && m.rows_after() > 0,
            // A member that is gone although rows map to it (it expired) comes back only with a new row.
            false => m.rows_after() > m.rows() && !m.present,
        };
        let removes = |m: &MemberState| m.rows_after() == 0 && m.present;
        let keeps = |m: &MemberState| MemberState::kept(m.rows_after()) > 0 && m.rows_after() != m.count;
        let forgets = |m: &MemberState| MemberState::kept(m.rows_after()) == 0 && m.count != 0;
        let number =
            |test: &dyn Fn(&MemberState) -> bool| chain(&self.member_states, key).filter(|(_, m)| test(m)).count();

        let added = number(&adds);
        if added > 0 {
            out.begin(key.owner, if zset { "ZADD" } else { "SADD" }, 2 + added * if zset { 2 } else { 1 });
            out.arg(name);
            for (id, member) in chain(&self.member_states, key).filter(|(_, m)| adds(m)) {
                if let Some(score) = member.score.clone() {
                    out.arg(&self.scores[score]);
                }
                out.arg(self.member_name(id));
            }
        }
        let mut list = |command: &str, key_name: &[u8], test: &dyn Fn(&MemberState) -> bool, counts: bool| {
            let found = number(test);
            if found == 0 {
                return;
            }
            out.begin(key.owner, command, 2 + found * if counts { 2 } else { 1 });
            out.arg(key_name);
            for (id, member) in chain(&self.member_states, key).filter(|(_, m)| test(m)) {
                out.arg(self.member_name(id));
                if counts {
                    out.number(member.rows_after());
                }
            }
        };
        list(if zset { "ZREM" } else { "SREM" }, name, &removes, false);
        list("HSET", refs, &keeps, true);
        list("HDEL", refs, &forgets, false);
        added > 0
    }
}
