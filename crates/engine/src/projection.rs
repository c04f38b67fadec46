//! Topics as projections of the journal: which topics a change's records belong to, and how many it makes there.
//!
//! Invariant: both are decided when the change is written, by the rendering of that moment, so that offsets never move
//! afterwards. Start at [`Projection::offsets`].

use crate::intake::{journal_error, unknown_schema};
use headwater_format::debezium::{Counts, Options, Place, Records, Rendering, Table};
use headwater_journal::{Offsets, TopicId, Writer};
use headwater_model::change::Changes;
use headwater_model::{Error, Origin, Result, Schema, Tally, TransactionBuilder, TransactionHeader};
use std::collections::HashMap;

/// The key of the journal's record of how changes are rendered, from the frame on in which it stands.
pub const RENDERING_HEAD: &str = "rendering";

/// Partitions of a topic until a configuration says otherwise.
const PARTITIONS: u32 = 1;

/// The topics of one source's schemas.
pub struct Projection {
    rendering: Rendering,
    tables: HashMap<u32, Projected>,
    /// Topics that records were routed to by what they hold.
    routed: HashMap<String, TopicId>,
    records: Records,
    offsets: Vec<Offsets>,
    /// Where BEGIN and END of each transaction stand, if they are asked for.
    of_transactions: Option<TopicId>,
}

/// Which edges of its transaction a batch of changes holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edges {
    /// It begins with them.
    pub begin: bool,
    /// It ends with them.
    pub end: bool,
}

/// One version of one table.
struct Projected {
    table: Table,
    topic: TopicId,
    /// What each change makes, where neither that nor the topic depends on the row.
    counts: Option<Counts>,
    /// Whether its records have another key than its rows.
    has_other_key: bool,
}

impl Projection {
    /// For a source whose changes are rendered by `options`.
    pub fn new(options: Options, writer: &mut Writer) -> Result<Self> {
        let rendering = Rendering::new(options).map_err(|error| {
            Error::stop(format!("its changes cannot be rendered: {error}")).hint("Mend the source's configuration.")
        })?;
        let of_transactions = match rendering.options().transaction_metadata {
            true => Some(writer.topic(&rendering.transaction_topic(), PARTITIONS).map_err(journal_error)?),
            false => None,
        };
        let (tables, routed) = (HashMap::new(), HashMap::new());
        let (records, offsets) = (Records::default(), Vec::new());
        Ok(Projection { rendering, tables, routed, records, offsets, of_transactions })
    }

    /// Binds a schema to its table's topic.
    pub fn add(&mut self, schema: &Schema, writer: &mut Writer) -> Result<(), headwater_journal::Error> {
        let table = self.rendering.table(schema);
        let topic = writer.topic(table.topic(), PARTITIONS)?;
        let counts = table.counts();
        let has_other_key = !table.key_columns().iter().copied().eq(schema.key.iter().map(|key| usize::from(*key)));
        self.tables.insert(schema.id, Projected { table, topic, counts, has_other_key });
        Ok(())
    }

    /// Whether the edges of transactions make records.
    pub fn shows_transactions(&self) -> bool {
        self.of_transactions.is_some()
    }

    /// The offsets that the changes take, and those `edges` of their transaction that they hold.
    pub fn offsets(&mut self, changes: &TransactionBuilder, edges: Edges, writer: &mut Writer) -> Result<&[Offsets]> {
        self.offsets_of_changes(changes, writer)?;
        if let Some(topic) = self.of_transactions {
            add(&mut self.offsets, topic, u32::from(edges.begin) + u32::from(edges.end));
        }
        Ok(&self.offsets)
    }

    fn offsets_of_changes(&mut self, changes: &TransactionBuilder, writer: &mut Writer) -> Result<()> {
        self.offsets.clear();
        for tally in changes.tallies() {
            if tally.schema == 0 {
                if let Some(topic) = self.message_topic(writer)? {
                    add(&mut self.offsets, topic, tally.messages);
                }
                continue;
            }
            let projected = self.tables.get(&tally.schema).ok_or_else(|| unknown_schema(tally.schema))?;
            match projected.counted(tally) {
                Some(count) => add(&mut self.offsets, projected.topic, count),
                None => return self.offsets_of_each(changes, writer),
            }
        }
        Ok(())
    }

    /// Where messages of the log itself stand; `None` where they make no records.
    fn message_topic(&mut self, writer: &mut Writer) -> Result<Option<TopicId>> {
        if !self.rendering.shows_messages() {
            return Ok(None);
        }
        routed(&mut self.routed, &self.rendering.message_topic(), writer).map(Some)
    }

    /// The same, by making every record: for tables whose rows decide.
    fn offsets_of_each(&mut self, changes: &TransactionBuilder, writer: &mut Writer) -> Result<()> {
        // How many records there are, and where, does not depend on the header.
        let header = TransactionHeader { commit_us: 0, receive_us: 0, origin: Origin::Headwater };
        self.offsets.clear();
        for change in Changes::new(changes.items()) {
            let change = change.map_err(|error| Error::stop(error.to_string()))?;
            if change.schema == 0 {
                if let Some(topic) = self.message_topic(writer)? {
                    add(&mut self.offsets, topic, 1);
                }
                continue;
            }
            let projected = self.tables.get(&change.schema).ok_or_else(|| unknown_schema(change.schema))?;
            self.records.clear();
            projected.table.records(&change, &mut Place { header: &header, order: None }, &mut self.records);
            for record in self.records.iter() {
                let topic = match record.topic() {
                    None => projected.topic,
                    Some(name) => routed(&mut self.routed, name, writer)?,
                };
                add(&mut self.offsets, topic, 1);
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

fn routed(known: &mut HashMap<String, TopicId>, name: &str, writer: &mut Writer) -> Result<TopicId> {
    if let Some(topic) = known.get(name) {
        return Ok(*topic);
    }
    let topic = writer.topic(name, PARTITIONS).map_err(journal_error)?;
    known.insert(name.to_owned(), topic);
    Ok(topic)
}

fn add(offsets: &mut Vec<Offsets>, topic: TopicId, count: u32) {
    if count == 0 {
        return;
    }
    match offsets.iter_mut().find(|offsets| offsets.topic == topic) {
        Some(offsets) => offsets.count += count,
        None => offsets.push(Offsets { topic, partition: 0, count }),
    }
}
