//! Topics as projections of the journal: which topic a change belongs to, and how many records it makes there.
//!
//! Invariant: both are decided when the change is written, so that offsets never move afterwards.

use headwater_journal::{Offsets, TopicId, Writer};
use headwater_model::{Schema, Tally};
use std::collections::HashMap;

/// How a table's topic is named: `source.database.table`, with everything that Kafka refuses replaced.
pub struct TopicName;

impl TopicName {
    /// The topic of `schema`'s table under the source's `prefix`.
    pub fn of(prefix: &str, schema: &Schema) -> String {
        let mut name = format!("{prefix}.{}.{}", schema.database, schema.table);
        // Kafka allows ASCII letters, digits, `.`, `_` and `-`; Debezium replaces the rest by `_`.
        name = name.chars().map(|c| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' }).collect();
        name.truncate(TOPIC_NAME_MAX);
        name
    }
}

/// Kafka's limit for a topic's name, in bytes.
const TOPIC_NAME_MAX: usize = 249;

/// The topics of one source's schemas.
pub struct Projection {
    prefix: String,
    topics: HashMap<u32, TopicId>,
    offsets: Vec<Offsets>,
}

impl Projection {
    /// For the source named `prefix`.
    pub fn new(prefix: &str) -> Self {
        Projection { prefix: prefix.to_owned(), topics: HashMap::new(), offsets: Vec::new() }
    }

    /// Binds a schema to its table's topic.
    pub fn add(&mut self, schema: &Schema, writer: &mut Writer) -> Result<(), headwater_journal::Error> {
        let topic = writer.topic(&TopicName::of(&self.prefix, schema), 1)?;
        self.topics.insert(schema.id, topic);
        Ok(())
    }

    /// The offsets that changes of these tallies take. `Err` names a schema that was never added.
    pub fn offsets(&mut self, tallies: &[Tally]) -> Result<&[Offsets], u32> {
        self.offsets.clear();
        for tally in tallies {
            let topic = *self.topics.get(&tally.schema).ok_or(tally.schema)?;
            let count = records(tally);
            match self.offsets.iter_mut().find(|offsets| offsets.topic == topic) {
                Some(offsets) => offsets.count += count,
                None => self.offsets.push(Offsets { topic, partition: 0, count }),
            }
        }
        Ok(&self.offsets)
    }
}

/// Records that the changes make in their topic: a delete is followed by its tombstone, a change of key is a delete, its
/// tombstone and a create, and a truncate makes none (Debezium's defaults).
fn records(tally: &Tally) -> u32 {
    tally.creates + tally.reads + tally.updates + 2 * tally.deletes + 3 * tally.key_changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_kafka_refuses_are_replaced() {
        let schema = Schema::new(1, "shop", "größe $1", vec![], vec![]);
        assert_eq!(TopicName::of("live", &schema), "live.shop.gr__e__1");
    }
}
