//! Transactions of a journal as the records of its topics.
//!
//! Invariant: offsets are those that were fixed when the journal was written, and each record is rendered as the journal
//! said at that place; where the two do not agree, it is an error and not a record. Start at [`Rendered::transaction`].

use super::folder::Seen;
use super::output::failure;
use headwater_engine::partition_of;
use headwater_format::debezium::{Options, Order, Place, Records, Rendering, Table};
use headwater_journal::{OffsetRange, TopicId};
use headwater_model::{Change, Origin, Schema};
use miette::{Result, miette};
use std::collections::HashMap;

/// One record, as a client of its topic would get it.
pub struct TopicRecord<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: u32,
    /// Its offset in the partition.
    pub offset: u64,
    /// The key's text.
    pub key: Option<&'a [u8]>,
    /// The value's text; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Names and texts of the headers, in order.
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

/// What messages are counted under in their transaction.
const MESSAGES: &str = "message";

/// Takes a record; answers whether to go on.
pub type Visit<'v> = dyn FnMut(&TopicRecord<'_>) -> Result<bool> + 'v;

/// Renders the journal of one source.
pub struct Rendered<'a> {
    source: &'a str,
    /// What the journal says of the rendering, and what was made of it. Where it says nothing, as the first ones did not,
    /// records were counted by the defaults.
    described: Option<Vec<u8>>,
    rendering: Option<Rendering>,
    tables: HashMap<u32, Table>,
    records: Records,
    next: Vec<Next>,
    order: TransactionOrder,
}

/// The records of one transaction so far, over all of its parts.
#[derive(Default)]
struct TransactionOrder {
    /// It has begun. Rows of a snapshot belong to no transaction.
    is_open: bool,
    total: u64,
    /// By `database.table`, in the order in which the first of each came.
    tables: Vec<(String, u64)>,
}

/// Where a partition of a topic stands within one transaction.
struct Next {
    topic: TopicId,
    partition: u32,
    offset: u64,
    end: u64,
}

impl<'a> Rendered<'a> {
    /// For the journal of `source`.
    pub fn new(source: &'a str) -> Self {
        Rendered {
            source,
            described: None,
            rendering: None,
            tables: HashMap::new(),
            records: Records::default(),
            next: Vec::new(),
            order: TransactionOrder::default(),
        }
    }

    /// Hands the records that a transaction, or a part of one, makes to `visit`. Answers whether to go on.
    pub fn transaction(&mut self, seen: &Seen<'_>, visit: &mut Visit<'_>) -> Result<bool> {
        self.follow(seen)?;
        self.begin(seen);
        if self.next.is_empty() {
            return Ok(true);
        }
        if !self.heartbeat(seen, visit)? || !self.edge(seen, Edge::Begin, visit)? {
            return Ok(false);
        }
        for change in seen.changes.clone() {
            let change = change.map_err(|error| miette!("{error}"))?;
            if change.schema == 0 {
                if !self.message(&change, seen, visit)? {
                    return Ok(false);
                }
                continue;
            }
            let schema = seen.known.schema(change.schema)?;
            if !self.change(&change, schema, seen, visit)? {
                return Ok(false);
            }
        }
        if !self.edge(seen, Edge::End, visit)? {
            return Ok(false);
        }
        match self.next.iter().find(|next| next.offset != next.end) {
            None => Ok(true),
            Some(next) => {
                let topic = name(seen, next.topic);
                Err(disagree(format!("{topic} renders up to offset {} where {} were counted", next.offset, next.end)))
            }
        }
    }

    /// Takes over what the journal says of the rendering at this place.
    fn follow(&mut self, seen: &Seen<'_>) -> Result<()> {
        let described = seen.known.rendering();
        if described == self.described.as_deref() && self.rendering.is_some() {
            return Ok(());
        }
        self.tables.clear();
        let options = match described {
            None => Options { prefix: self.source.to_owned(), ..Options::default() },
            Some(described) => serde_json::from_slice(described)
                .map_err(|_| miette!("the journal's record of the rendering cannot be read"))?,
        };
        self.rendering = Some(Rendering::new(options).map_err(|error| miette!("{error}"))?);
        self.described = described.map(<[u8]>::to_vec);
        Ok(())
    }

    fn begin(&mut self, seen: &Seen<'_>) {
        self.next.clear();
        for range in &seen.offsets {
            let end = range.first + u64::from(range.count);
            let OffsetRange { topic, partition, first, .. } = range;
            match self.next.iter_mut().find(|next| (next.topic, next.partition) == (*topic, *partition)) {
                Some(next) => next.end = end,
                None => self.next.push(Next { topic: *topic, partition: *partition, offset: *first, end }),
            }
        }
    }

    /// The record that says that the source is alive.
    fn heartbeat(&mut self, seen: &Seen<'_>, visit: &mut Visit<'_>) -> Result<bool> {
        let Some(rendering) = &self.rendering else { return Ok(true) };
        if seen.count > 0 || seen.header.origin != Origin::Headwater {
            return Ok(true);
        }
        self.records.clear();
        rendering.heartbeat(seen.header.commit_us, &mut self.records);
        let topic = Topic::Ordered(rendering.heartbeat_topic());
        hand_out(&self.records, topic, (&mut self.next, seen), visit)
    }

    /// The record of a message of the log itself.
    fn message(&mut self, change: &Change<'_>, seen: &Seen<'_>, visit: &mut Visit<'_>) -> Result<bool> {
        let Some(rendering) = self.rendering.as_ref().filter(|rendering| rendering.shows_messages()) else {
            return Ok(true);
        };
        let order = self.order.is_open.then(|| self.order.of(MESSAGES));
        let mut place = Place { header: &seen.header, order };
        self.records.clear();
        rendering.message(change, &mut place, &mut self.records);
        if let Some(order) = place.order {
            self.order.keep(MESSAGES, order);
        }
        hand_out(&self.records, Topic::Keyed(rendering.message_topic()), (&mut self.next, seen), visit)
    }

    /// The record that a transaction begins or ends, where the journal counted it here.
    fn edge(&mut self, seen: &Seen<'_>, edge: Edge, visit: &mut Visit<'_>) -> Result<bool> {
        let shown = self.rendering.as_ref().filter(|rendering| rendering.options().transaction_metadata);
        let Some(rendering) = shown else { return Ok(true) };
        let is_first = matches!(seen.part, None | Some(0));
        if edge == Edge::Begin && is_first {
            self.order = TransactionOrder::default();
        }
        let topic = rendering.transaction_topic();
        let id = seen.known.topic(topic).map(|topic| topic.id);
        let counted = self.next.iter().any(|next| Some(next.topic) == id && next.offset < next.end);
        if !counted || (edge == Edge::Begin && !is_first) {
            return Ok(true);
        }
        self.records.clear();
        if edge == Edge::Begin {
            self.order.is_open = true;
            let first = seen.changes.clone().next().and_then(std::result::Result::ok);
            let first = first.map_or(0, |change| change.place);
            rendering.begin(&seen.header, first, &mut self.records);
        } else {
            let tables: Vec<(&str, u64)> =
                self.order.tables.iter().map(|(table, count)| (table.as_str(), *count)).collect();
            rendering.end(&seen.header, &tables, &mut self.records);
        }
        hand_out(&self.records, Topic::Ordered(topic), (&mut self.next, seen), visit)
    }

    fn change(&mut self, change: &Change<'_>, schema: &Schema, seen: &Seen<'_>, visit: &mut Visit<'_>) -> Result<bool> {
        let Some(rendering) = &self.rendering else { return Ok(true) };
        let table = self.tables.entry(schema.id).or_insert_with(|| rendering.table(schema));
        self.records.clear();
        let order = rendering.options().transaction_metadata && self.order.is_open;
        let mut place = Place { header: &seen.header, order: order.then(|| self.order.of(&schema.full_name())) };
        table.records(change, &mut place, &mut self.records);
        if let Some(order) = place.order {
            self.order.keep(&schema.full_name(), order);
        }
        hand_out(&self.records, Topic::Keyed(table.topic()), (&mut self.next, seen), visit)
    }
}

/// Where records stand.
#[derive(Clone, Copy)]
enum Topic<'a> {
    /// In the first partition, whatever their keys are.
    Ordered(&'a str),
    /// Where their keys say; they may name another topic themselves.
    Keyed(&'a str),
}

/// Hands out records that stand in `of`.
fn hand_out(
    records: &Records,
    of: Topic<'_>,
    (next, seen): (&mut [Next], &Seen<'_>),
    visit: &mut Visit<'_>,
) -> Result<bool> {
    for record in records.iter() {
        let (topic, key) = match of {
            Topic::Ordered(topic) => (topic, None),
            Topic::Keyed(topic) => (record.topic().unwrap_or(topic), record.key()),
        };
        let (partition, offset) = take(next, seen, topic, key)?;
        let headers = record.headers().collect();
        let record = TopicRecord { topic, partition, offset, key: record.key(), value: record.value(), headers };
        if !visit(&record)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// An edge of a transaction.
#[derive(Clone, Copy, PartialEq)]
enum Edge {
    Begin,
    End,
}

impl TransactionOrder {
    fn of(&self, name: &str) -> Order {
        let of_table = self.tables.iter().find(|(table, _)| table == name).map_or(0, |(_, count)| *count);
        Order { total: self.total, of_table }
    }

    fn keep(&mut self, name: &str, order: Order) {
        self.total = order.total;
        match self.tables.iter_mut().find(|(table, _)| table == name) {
            Some((_, count)) => *count = order.of_table,
            None if order.of_table > 0 => self.tables.push((name.to_owned(), order.of_table)),
            None => {}
        }
    }
}

/// Partition and offset of the next record of `topic` with this key.
fn take(next: &mut [Next], seen: &Seen<'_>, topic: &str, key: Option<&[u8]>) -> Result<(u32, u64)> {
    let known = seen.known.topic(topic);
    let place = known.map(|topic| (topic.id, partition_of(key, topic.partitions)));
    match next.iter_mut().find(|next| Some((next.topic, next.partition)) == place) {
        Some(next) if next.offset < next.end => {
            next.offset += 1;
            Ok((next.partition, next.offset - 1))
        }
        _ => Err(disagree(format!("{topic} renders a record more than were counted"))),
    }
}

fn name<'s>(seen: &'s Seen<'_>, id: TopicId) -> &'s str {
    seen.known.topic_of(id).map_or("a topic", |topic| &topic.name)
}

fn disagree(message: String) -> miette::Report {
    failure(message, "Please report this: the journal and the format disagree.")
}
