//! From changes to what Redis is to do: pure, one batch at a time.
//!
//! Invariant: a row is planned with all of its writes or refused with all of them. Commands whose effect does not depend
//! on what Redis holds are encoded at once, in order; members and counters are summed up by key, and become commands
//! in `outcome.rs` when Redis has said what it holds. Start at [`Plan::add`].

use super::bind::{Bound, BoundKind, BoundWrite, Field, Image};
use super::follow::Ttl;
use super::interner::Interner;
use super::numbers;
use super::resp::{Commands, KEPT_BYTES_MAX};
use headwater_format::render;
use headwater_model::sink::{Event, Rejected};
use headwater_model::{Change, Op, Result, SnapshotMarker, Value};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

/// Bytes that the commands of one row may take: what Redis takes for one value (`proto-max-bulk-len`). A longer one would
/// make it close the connection, again and again.
pub(super) const VALUE_BYTES_MAX: usize = 512 << 20;

/// What was found out about a batch that makes it be planned again.
#[derive(Default)]
pub(super) struct Flaws {
    /// Keys that refuse commands, by kind and key.
    pub keys: HashMap<Vec<u8>, Flaw>,
    /// Rows that are too large.
    pub rows: HashSet<u64>,
}

impl Flaws {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.rows.is_empty()
    }
}

/// What Redis holds under a key where a write expects something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    WrongType,
    NoInteger,
    OutOfRange,
}

impl Flaw {
    fn reason(self, write: &BoundWrite) -> String {
        let template = &write.template;
        match self {
            Flaw::WrongType => format!("the key of `{template}` holds a value of another type"),
            Flaw::NoInteger => format!("the key of `{template}` holds something that is no integer"),
            Flaw::OutOfRange => format!("the counter of `{template}` would leave the range of 64-bit integers"),
        }
    }
}

/// What a key is to this sink; the first byte of its name in [`Plan::keys`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum KeyKind {
    Hash = b'h',
    Set = b's',
    Zset = b'z',
    Counter = b'c',
    List = b'l',
    Stream = b'x',
}

/// A key whose type has to be looked at before it is written.
pub(super) struct KeyState {
    pub kind: KeyKind,
    pub ttl: Option<Ttl>,
    /// Something was added, so that a TTL starts.
    pub written: bool,
    /// Sequence of the last row that took part.
    pub owner: u64,
    /// Members of this batch, a chain through [`MemberState::next`].
    pub head: u32,
    pub tail: u32,
    pub members: usize,
    /// What a counter is to grow by, and what Redis says it is.
    pub delta: i128,
    pub counter: i64,
}

/// One member of one set or sorted set.
pub(super) struct MemberState {
    pub next: u32,
    pub owner: u64,
    /// Rows gained less rows lost, and the lowest that sum ever was: a row that we never saw inserted may be deleted,
    /// and a count does not go below zero.
    pub net: i64,
    pub low: i64,
    /// The latest score, in [`Plan::scores`].
    pub score: Option<Range<usize>>,
    /// What Redis says: whether the member is there, and its count where that is above one.
    pub present: bool,
    pub count: i64,
}

pub(super) const NONE: u32 = u32::MAX;

/// Buffers for one row's keys, members and document.
#[derive(Default)]
struct Scratch {
    key: [Vec<u8>; 2],
    member: [Vec<u8>; 2],
    score: [Vec<u8>; 2],
    body: Vec<u8>,
}

/// What one batch does. Reused, so that a steady stream allocates nothing.
#[derive(Default)]
pub(super) struct Plan {
    value_bytes_max: usize,
    /// Rows that turned out to be too large: the batch has to be planned without them.
    pub oversized: Vec<u64>,
    /// From `MULTI` on.
    pub out: Commands,
    pub keys: Interner,
    pub key_states: Vec<KeyState>,
    pub members: Interner,
    pub member_states: Vec<MemberState>,
    pub scores: Vec<u8>,
    /// All keys that begin so are to go.
    pub prefixes: BTreeSet<Vec<u8>>,
    pub rejected: Vec<Rejected>,
    /// Rows of which a change was refused in this batch: later changes of them must not overtake it.
    parked: HashSet<Vec<u8>>,
    /// Prefixes that were removed once for all rows of a snapshot.
    swept: HashSet<Box<[u8]>>,
    scratch: Scratch,
}

/// The rows of a change, before and after.
type Sides<'i, 'a> = (Option<&'i Image<'a>>, Option<&'i Image<'a>>);

impl Plan {
    /// A plan whose rows take at most `value_bytes_max` bytes each; [`VALUE_BYTES_MAX`] outside of tests.
    pub fn new(value_bytes_max: usize) -> Plan {
        Plan { value_bytes_max, ..Plan::default() }
    }

    /// Begins a batch.
    pub fn begin(&mut self) {
        self.oversized.clear();
        self.out.clear();
        self.out.command(0, "MULTI", &[]);
        self.keys.clear();
        self.key_states.clear();
        self.members.clear();
        self.member_states.clear();
        self.scores.clear();
        self.scratch.body.clear();
        self.scratch.body.shrink_to(KEPT_BYTES_MAX);
        self.prefixes.clear();
        self.rejected.clear();
        self.parked.clear();
    }

    /// Forgets what was removed once for a snapshot: on a new connection it is not known to have happened.
    pub fn forget_sweeps(&mut self) {
        self.swept.clear();
    }

    /// Adds a change; refuses it whole when a value or, by `flaws`, a key of it cannot be written.
    #[inline]
    pub fn add<'a>(
        &mut self,
        event: &Event<'a>,
        bound: &Bound,
        images: &mut [Image<'a>; 2],
        flaws: &Flaws,
    ) -> Result<()> {
        let change = &event.change;
        let [before, after] = images;
        if let Some(row) = &change.before {
            before.load(row, bound)?;
        }
        if let Some(row) = &change.after {
            after.load(row, bound)?;
        }
        let sides: Sides<'_, 'a> =
            (change.before.is_some().then_some(&*before), change.after.is_some().then_some(&*after));
        if (bound.picky || !flaws.is_empty() || !self.parked.is_empty())
            && let Some(reason) = self.refusal(event, bound, sides, flaws)
        {
            self.park(change, bound);
            self.rejected.push(Rejected { sequence: event.sequence, reason });
            return Ok(());
        }
        let before = self.bytes();
        for write in &bound.writes {
            self.write(event, write, sides);
        }
        if self.bytes() - before > self.value_bytes_max {
            self.oversized.push(event.sequence);
        }
        Ok(())
    }

    #[inline]
    fn bytes(&self) -> usize {
        self.out.bytes.len() + self.keys.bytes() + self.members.bytes()
    }

    /// Why this change cannot be written, if it cannot.
    fn refusal(&mut self, event: &Event<'_>, bound: &Bound, sides: Sides<'_, '_>, flaws: &Flaws) -> Option<String> {
        let change = &event.change;
        if flaws.rows.contains(&event.sequence) {
            return Some(format!("it takes more than the {} bytes that Redis accepts", self.value_bytes_max));
        }
        if !self.parked.is_empty() && identities(change, bound).any(|row| self.parked.contains(&row)) {
            return Some("an earlier change of the same row was refused".to_owned());
        }
        let Scratch { key: [key, _], score, .. } = &mut self.scratch;
        for write in &bound.writes {
            for side in [sides.0, sides.1].into_iter().flatten() {
                let values = match &write.kind {
                    BoundKind::Zset { score: field, lossy, .. } => {
                        numbers::score(field, side.value(field.place), *lossy, &mut score[0]).map(|_| ())
                    }
                    BoundKind::Counter { by: Some(field) } => {
                        numbers::units(field, side.value(field.place)).map(|_| ())
                    }
                    _ => Ok(()),
                };
                if let Err(reason) = values {
                    return Some(reason);
                }
                let Some(kind) = write.kind.key_kind().filter(|_| !flaws.keys.is_empty()) else { continue };
                if write.key.render(side, key) {
                    key.insert(0, kind as u8);
                    if let Some(flaw) = flaws.keys.get(&key[..]) {
                        return Some(flaw.reason(write));
                    }
                }
            }
        }
        None
    }

    fn park(&mut self, change: &Change<'_>, bound: &Bound) {
        self.parked.extend(identities(change, bound));
    }

    fn write(&mut self, event: &Event<'_>, write: &BoundWrite, sides: Sides<'_, '_>) {
        match &write.kind {
            BoundKind::Json { fields } => self.json(event.sequence, write, fields, sides),
            BoundKind::Hash { fields, whole } => self.hash(event.sequence, write, fields, *whole, sides),
            BoundKind::Set { .. } | BoundKind::Zset { .. } => self.member(event.sequence, write, sides),
            BoundKind::Counter { by } => self.count(event.sequence, write, by.as_ref(), sides),
            BoundKind::List { .. } | BoundKind::Stream { .. } => self.append(event, write, sides),
            BoundKind::Invalidate { prefix } => self.invalidate(event, write, *prefix, sides),
        }
    }

    #[inline]
    fn json(&mut self, owner: u64, write: &BoundWrite, fields: &[Field], sides: Sides<'_, '_>) {
        let Scratch { key: [old, new], body, .. } = &mut self.scratch;
        let has_old = sides.0.is_some_and(|row| write.key.render(row, old));
        let has_new = sides.1.is_some_and(|row| write.key.render(row, new));
        if has_old && !(has_new && old == new) {
            self.out.command(owner, "DEL", &[old]);
        }
        let Some(row) = sides.1.filter(|_| has_new) else { return };
        document(body, fields, row);
        match write.ttl {
            None => {
                self.out.begin(owner, "SET", 3);
                self.out.arg(new);
                self.out.arg(body);
            }
            Some(Ttl { ms, refresh: true }) => {
                self.out.begin(owner, "SET", 5);
                self.out.arg(new);
                self.out.arg(body);
                self.out.arg(b"PX");
                self.out.number(ms as i64);
            }
            Some(ttl) => {
                self.out.begin(owner, "SET", 4);
                self.out.arg(new);
                self.out.arg(body);
                self.out.arg(b"KEEPTTL");
                expire(&mut self.out, owner, new, ttl);
            }
        }
    }

    fn hash(&mut self, owner: u64, write: &BoundWrite, fields: &[Field], whole: bool, sides: Sides<'_, '_>) {
        let Scratch { key: [old, new], body, .. } = &mut self.scratch;
        let has_old = sides.0.is_some_and(|row| write.key.render(row, old));
        let has_new = sides.1.is_some_and(|row| write.key.render(row, new));
        if has_old && !(has_new && old == new) {
            touch(&mut self.keys, &mut self.key_states, KeyKind::Hash, old, owner);
            if whole {
                self.out.command(owner, "DEL", &[old]);
            } else {
                self.out.begin(owner, "HDEL", 2 + fields.len());
                self.out.arg(old);
                fields.iter().for_each(|field| self.out.arg(&field.name));
            }
        }
        let Some(row) = sides.1.filter(|_| has_new) else { return };
        let key = touch(&mut self.keys, &mut self.key_states, KeyKind::Hash, new, owner);
        let nulls = fields.iter().filter(|field| row.value(field.place) == Value::Null).count();
        if nulls < fields.len() {
            self.out.begin(owner, "HSET", 2 + 2 * (fields.len() - nulls));
            self.out.arg(new);
            put_fields(&mut self.out, body, fields, row);
            key.ttl = write.ttl;
            key.written = true;
        }
        if nulls > 0 {
            self.out.begin(owner, "HDEL", 2 + nulls);
            self.out.arg(new);
            let null = fields.iter().filter(|field| row.value(field.place) == Value::Null);
            null.for_each(|field| self.out.arg(&field.name));
        }
    }

    #[inline]
    fn member(&mut self, owner: u64, write: &BoundWrite, sides: Sides<'_, '_>) {
        let (kind, template, scored) = match &write.kind {
            BoundKind::Set { member } => (KeyKind::Set, member, None),
            BoundKind::Zset { member, score, lossy } => (KeyKind::Zset, member, Some((score, *lossy))),
            _ => return,
        };
        let mut has = [false; 2];
        for (i, side) in [sides.0, sides.1].into_iter().enumerate() {
            let Some(row) = side else { continue };
            let Scratch { key, member, score, .. } = &mut self.scratch;
            has[i] = write.key.render(row, &mut key[i])
                && template.render(row, &mut member[i])
                // What cannot be a score was refused before.
                && scored.is_none_or(|(field, lossy)| numbers::score(field, row.value(field.place), lossy, &mut score[i]) == Ok(true));
        }
        let Scratch { key, member, score, .. } = &self.scratch;
        let same = has == [true; 2] && key[0] == key[1] && member[0] == member[1];
        if same && (scored.is_none() || score[0] == score[1]) {
            return;
        }
        for (i, step) in [(0, -1), (1, 1)] {
            if !has[i] || same && step < 0 {
                continue;
            }
            let Scratch { key, member, score, .. } = &self.scratch;
            let (id, _) = self.keys.intern(&[kind as u8], &key[i]);
            let state = key_state(&mut self.key_states, id, kind, owner);
            state.ttl = write.ttl;
            let (member_id, new) = self.members.intern(&(id as u32).to_le_bytes(), &member[i]);
            if new {
                chain(state, &mut self.member_states, member_id as u32);
            }
            let entry = &mut self.member_states[member_id];
            entry.owner = owner;
            entry.net += if same { 0 } else { step };
            entry.low = entry.low.min(entry.net);
            if step > 0 && scored.is_some() {
                let start = self.scores.len();
                self.scores.extend_from_slice(&score[i]);
                entry.score = Some(start..self.scores.len());
            }
        }
    }

    fn count(&mut self, owner: u64, write: &BoundWrite, by: Option<&Field>, sides: Sides<'_, '_>) {
        // What cannot be counted was refused before.
        let amount = |row: &Image<'_>| by.map_or(1, |field| numbers::units(field, row.value(field.place)).unwrap_or(0));
        let Scratch { key: [old, new], .. } = &mut self.scratch;
        let lost = sides.0.filter(|row| write.key.render(row, old)).map(amount);
        let gained = sides.1.filter(|row| write.key.render(row, new)).map(amount);
        if lost == gained && old == new {
            return;
        }
        for (key, delta) in [(&*old, lost.map(|lost| -lost)), (&*new, gained)] {
            if let Some(delta) = delta {
                let state = touch(&mut self.keys, &mut self.key_states, KeyKind::Counter, key, owner);
                state.ttl = write.ttl;
                state.delta += delta;
            }
        }
    }

    fn append(&mut self, event: &Event<'_>, write: &BoundWrite, sides: Sides<'_, '_>) {
        let Some(row) = sides.1 else { return };
        let owner = event.sequence;
        let Scratch { key: [old, new], member: [old_value, new_value], body, .. } = &mut self.scratch;
        if !write.key.render(row, new) {
            return;
        }
        let kind = match &write.kind {
            BoundKind::List { value } => {
                let had = sides.0.is_some_and(|row| write.key.render(row, old) && value.render(row, old_value));
                if !value.render(row, new_value) || had && old == new && old_value == new_value {
                    return;
                }
                self.out.command(owner, "RPUSH", &[new, new_value]);
                KeyKind::List
            }
            BoundKind::Stream { fields } => {
                let nulls = fields.iter().filter(|field| row.value(field.place) == Value::Null).count();
                if nulls == fields.len() {
                    return;
                }
                self.out.begin(owner, "XADD", 3 + 2 * (fields.len() - nulls));
                self.out.arg(new);
                self.out.arg(b"*");
                put_fields(&mut self.out, body, fields, row);
                KeyKind::Stream
            }
            _ => return,
        };
        let state = touch(&mut self.keys, &mut self.key_states, kind, new, owner);
        state.ttl = write.ttl;
        state.written = true;
    }

    fn invalidate(&mut self, event: &Event<'_>, write: &BoundWrite, prefix: bool, sides: Sides<'_, '_>) {
        if prefix && event.change.op == Op::Read {
            // A snapshot's rows say nothing of what changed; all that others derived before it began may be stale, and
            // one pass removes that.
            let begins =
                matches!(event.change.marker, Some(SnapshotMarker::First | SnapshotMarker::FirstInDataCollection));
            if self.swept.insert(write.prefix.clone()) || begins {
                self.prefixes.insert(write.prefix.to_vec());
            }
            return;
        }
        let [old, new] = &mut self.scratch.key;
        let has_old = sides.0.is_some_and(|row| write.key.render(row, old));
        let has_new = sides.1.is_some_and(|row| write.key.render(row, new)) && !(has_old && old == new);
        for key in [(has_old, old), (has_new, new)].into_iter().filter_map(|(has, key)| has.then_some(key)) {
            if prefix {
                if !self.prefixes.contains(&key[..]) {
                    self.prefixes.insert(key.clone());
                }
            } else {
                self.out.command(event.sequence, "DEL", &[key]);
            }
        }
    }
}

impl BoundKind {
    fn key_kind(&self) -> Option<KeyKind> {
        Some(match self {
            BoundKind::Hash { .. } => KeyKind::Hash,
            BoundKind::Set { .. } => KeyKind::Set,
            BoundKind::Zset { .. } => KeyKind::Zset,
            BoundKind::Counter { .. } => KeyKind::Counter,
            BoundKind::List { .. } => KeyKind::List,
            BoundKind::Stream { .. } => KeyKind::Stream,
            BoundKind::Json { .. } | BoundKind::Invalidate { .. } => return None,
        })
    }
}

/// Starts a key's TTL: anew, or only where it has none.
pub(super) fn expire(out: &mut Commands, owner: u64, key: &[u8], ttl: Ttl) {
    out.begin(owner, "PEXPIRE", if ttl.refresh { 3 } else { 4 });
    out.arg(key);
    out.number(ttl.ms as i64);
    if !ttl.refresh {
        out.arg(b"NX");
    }
}

/// The row as a JSON object.
#[inline]
fn document(body: &mut Vec<u8>, fields: &[Field], row: &Image<'_>) {
    body.clear();
    body.push(b'{');
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&field.json_name);
        render::json(body, row.value(field.place), &field.kind);
    }
    body.push(b'}');
}

/// Field and value of each column that is not NULL.
fn put_fields(out: &mut Commands, body: &mut Vec<u8>, fields: &[Field], row: &Image<'_>) {
    for field in fields {
        let value = row.value(field.place);
        if value != Value::Null {
            body.clear();
            render::text(body, value, &field.kind);
            out.arg(&field.name);
            out.arg(body);
        }
    }
}

/// Notes that `key` is to be looked at before the batch is applied.
fn touch<'s>(
    keys: &mut Interner,
    states: &'s mut Vec<KeyState>,
    kind: KeyKind,
    key: &[u8],
    owner: u64,
) -> &'s mut KeyState {
    let (id, _) = keys.intern(&[kind as u8], key);
    key_state(states, id, kind, owner)
}

#[inline]
fn key_state(states: &mut Vec<KeyState>, id: usize, kind: KeyKind, owner: u64) -> &mut KeyState {
    if id == states.len() {
        states.push(KeyState {
            kind,
            ttl: None,
            written: false,
            owner,
            head: NONE,
            tail: NONE,
            members: 0,
            delta: 0,
            counter: 0,
        });
    }
    states[id].owner = owner;
    &mut states[id]
}

/// Appends a new member to its key's chain.
fn chain(key: &mut KeyState, members: &mut Vec<MemberState>, id: u32) {
    members.push(MemberState { next: NONE, owner: 0, net: 0, low: 0, score: None, present: false, count: 0 });
    match key.tail {
        NONE => key.head = id,
        tail => members[tail as usize].next = id,
    }
    key.tail = id;
    key.members += 1;
}

/// What identifies the row of a change, before and after; nothing for a table without a key.
fn identities<'c>(change: &'c Change<'_>, bound: &'c Bound) -> impl Iterator<Item = Vec<u8>> + 'c {
    let rows = [change.before, change.after].into_iter().flatten();
    rows.filter(|_| !bound.key.is_empty()).map(|row| {
        let mut identity = bound.table.clone().into_bytes();
        identity.push(0);
        row.encode_key(&bound.key, &mut identity);
        identity
    })
}
