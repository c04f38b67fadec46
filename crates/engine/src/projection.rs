//! Topics as projections of the journal: which topics a change's records belong to, and how many it makes there.
//!
//! Invariant: both are decided when the change is written, by the rendering of that moment, so that offsets never move
//! afterwards. Start at [`Projection::offsets`].

use crate::intake::{journal_error, unknown_schema};
use crate::partition::partition_of;
use headwater_format::debezium::{Counts, Options, Place, Records, Rendering, Table};
use headwater_journal::{Offsets, TopicId, Writer};
use headwater_model::change::Changes;
use headwater_model::source::Edges;
use headwater_model::{Error, Origin, Result, Schema, Tally, TransactionBuilder, TransactionHeader};
use std::collections::HashMap;

/// The key of the journal's record of how changes are rendered, from the frame on in which it stands.
pub const RENDERING_HEAD: &str = "rendering";

/// Partitions of the topics of transactions and heartbeats, whose order is all they are for.
const ORDERED: u32 = 1;

/// The topics of one source's schemas.
pub struct Projection {
    rendering: Rendering,
    /// Partitions of the other topics.
    partitions: u32,
    tables: HashMap<u32, Projected>,
    /// Topics that records were routed to by what they hold.
    routed: HashMap<String, Topic>,
    records: Records,
    offsets: Vec<Offsets>,
    /// Where BEGIN and END of each transaction stand, if they are asked for.
    of_transactions: Option<TopicId>,
}

/// A topic of the journal, with as many partitions as it has there.
#[derive(Clone, Copy)]
struct Topic {
    id: TopicId,
    partitions: u32,
}

/// One version of one table.
struct Projected {
    table: Table,
    topic: Topic,
    /// What each change makes, where neither that nor the topic depends on the row.
    counts: Option<Counts>,
    /// Whether its records have another key than its rows.
    has_other_key: bool,
}

impl Projection {
    /// For a source whose changes are rendered by `options`, into topics of so many partitions.
    pub fn new(options: Options, partitions: u32, writer: &mut Writer) -> Result<Self> {
        let rendering = Rendering::new(options).map_err(|error| {
            Error::stop(format!("its changes cannot be rendered: {error}")).hint("Mend the source's configuration.")
        })?;
        let of_transactions = match rendering.options().transaction_metadata {
            true => Some(topic(rendering.transaction_topic(), ORDERED, writer).map_err(journal_error)?.id),
            false => None,
        };
        let (tables, routed) = (HashMap::new(), HashMap::new());
        let (records, offsets) = (Records::default(), Vec::new());
        Ok(Projection { rendering, partitions, tables, routed, records, offsets, of_transactions })
    }

    /// Binds a schema to its table's topic.
    pub fn add(&mut self, schema: &Schema, writer: &mut Writer) -> Result<()> {
        let table = self.rendering.table(schema);
        let topic = topic(table.topic(), self.partitions, writer).map_err(journal_error)?;
        keep_apart(self.of_transactions, topic, table.topic())?;
        // Where there are several partitions, each record's key decides.
        let counts = table.counts().filter(|_| topic.partitions == 1);
        let has_other_key = !table.key_columns().iter().copied().eq(schema.key.iter().map(|key| usize::from(*key)));
        self.tables.insert(schema.id, Projected { table, topic, counts, has_other_key });
        Ok(())
    }

    /// Whether the edges of transactions make records.
    pub fn shows_transactions(&self) -> bool {
        self.of_transactions.is_some()
    }

    /// Whether they are those that the log tells of, rather than both of each transaction that changes anything.
    pub fn shows_told_edges(&self) -> bool {
        self.shows_transactions() && self.rendering.options().is_exact()
    }

    /// The offsets that the changes take, and those `edges` of their transaction that they hold.
    pub fn offsets(&mut self, changes: &TransactionBuilder, edges: Edges, writer: &mut Writer) -> Result<&[Offsets]> {
        self.offsets_of_changes(changes, writer)?;
        if let Some(topic) = self.of_transactions {
            add(&mut self.offsets, topic, 0, u32::from(edges.begin) + u32::from(edges.end));
        }
        Ok(&self.offsets)
    }

    /// The offset that a heartbeat takes.
    pub fn heartbeat(&mut self, writer: &mut Writer) -> Result<&[Offsets]> {
        let topic = topic(self.rendering.heartbeat_topic(), ORDERED, writer).map_err(journal_error)?;
        self.offsets.clear();
        add(&mut self.offsets, topic.id, 0, 1);
        Ok(&self.offsets)
    }

    fn offsets_of_changes(&mut self, changes: &TransactionBuilder, writer: &mut Writer) -> Result<()> {
        self.offsets.clear();
        for tally in changes.tallies() {
            if tally.schema == 0 {
                match self.message_topic(writer)? {
                    Some(topic) if topic.partitions > 1 => return self.offsets_of_each(changes, writer),
                    Some(topic) => add(&mut self.offsets, topic.id, 0, tally.messages),
                    None => {}
                }
                continue;
            }
            let projected = self.tables.get(&tally.schema).ok_or_else(|| unknown_schema(tally.schema))?;
            match projected.counted(tally) {
                Some(count) => add(&mut self.offsets, projected.topic.id, 0, count),
                None => return self.offsets_of_each(changes, writer),
            }
        }
        Ok(())
    }

    /// Where messages of the log itself stand; `None` where they make no records.
    fn message_topic(&mut self, writer: &mut Writer) -> Result<Option<Topic>> {
        if !self.rendering.shows_messages() {
            return Ok(None);
        }
        let topic = routed(&mut self.routed, self.rendering.message_topic(), self.partitions, writer)?;
        keep_apart(self.of_transactions, topic, self.rendering.message_topic())?;
        Ok(Some(topic))
    }

    /// The same, by making every record: for tables whose rows decide.
    fn offsets_of_each(&mut self, changes: &TransactionBuilder, writer: &mut Writer) -> Result<()> {
        // How many records there are, where, and under which key, does not depend on the header.
        let header = TransactionHeader { commit_us: 0, receive_us: 0, origin: Origin::Headwater };
        let mut place = Place { header: &header, order: None };
        self.offsets.clear();
        for change in Changes::new(changes.items()) {
            let change = change.map_err(|error| Error::stop(error.to_string()))?;
            self.records.clear();
            let topic = if change.schema == 0 {
                let Some(topic) = self.message_topic(writer)? else { continue };
                self.rendering.message(&change, &mut place, &mut self.records);
                topic
            } else {
                let projected = self.tables.get(&change.schema).ok_or_else(|| unknown_schema(change.schema))?;
                projected.table.records(&change, &mut place, &mut self.records);
                projected.topic
            };
            for record in self.records.iter() {
                let topic = match record.topic() {
                    None => topic,
                    Some(name) => {
                        let topic = routed(&mut self.routed, name, self.partitions, writer)?;
                        keep_apart(self.of_transactions, topic, name)?;
                        topic
                    }
                };
                add(&mut self.offsets, topic.id, partition_of(record.key(), topic.partitions), 1);
            }
        }
        Ok(())
    }
}

impl Projected {
    /// The records that these changes make, where that can be told without looking at them.
    fn counted(&self, tally: &Tally) -> Option<u32> {
        let counts = self.counts?;
        if self.has_other_key && tally.updates + tally.key_changes > 0 {
            return None;
        }
        Some(
            tally.creates * counts.create
                + tally.reads * counts.read
                + tally.updates * counts.update
                + tally.deletes * counts.delete
                + tally.key_changes * counts.key_change
                + tally.truncates * counts.truncate,
        )
    }
}

/// The journal's topic of this name: with so many partitions, or with more where it has them.
fn topic(name: &str, partitions: u32, writer: &mut Writer) -> Result<Topic, headwater_journal::Error> {
    let known = writer.heads().topics().iter().find(|topic| topic.name == name);
    let partitions = known.map_or(partitions, |known| known.partitions.max(partitions));
    Ok(Topic { id: writer.topic(name, partitions)?, partitions })
}

fn routed(known: &mut HashMap<String, Topic>, name: &str, partitions: u32, writer: &mut Writer) -> Result<Topic> {
    if let Some(topic) = known.get(name) {
        return Ok(*topic);
    }
    let topic = topic(name, partitions, writer).map_err(journal_error)?;
    known.insert(name.to_owned(), topic);
    Ok(topic)
}

/// Refuses to put rows or messages beside the edges of transactions: whoever reads the journal tells from their topic
/// whether a transaction begins or ends here.
fn keep_apart(of_transactions: Option<TopicId>, topic: Topic, name: &str) -> Result<()> {
    if of_transactions != Some(topic.id) {
        return Ok(());
    }
    Err(Error::stop(format!("rows or messages would share the topic {name} with the edges of transactions"))
        .hint("Keep one of the two from it: by topic.transaction, or by a predicate of the transform."))
}

fn add(offsets: &mut Vec<Offsets>, topic: TopicId, partition: u32, count: u32) {
    if count == 0 {
        return;
    }
    match offsets.iter_mut().find(|offsets| offsets.topic == topic && offsets.partition == partition) {
        Some(offsets) => offsets.count += count,
        None => offsets.push(Offsets { topic, partition, count }),
    }
}

#[cfg(test)]
#[path = "projection_tests.rs"]
mod tests;
