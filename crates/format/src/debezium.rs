//! Debezium's records: keys, values, headers and topic names, to the byte, rendered from typed changes.
//!
//! Invariant: the same change gives the same bytes, whenever it is read: all that decides is in [`Options`], which the
//! journal keeps. Start at [`Rendering`], which is made once, then [`Table`], made once per schema, whose
//! [`Table::records`] writes straight into the buffer.

mod columns;
mod columns_native;
mod defaults;
mod headers;
mod heartbeat;
mod json_text;
mod keys;
mod mask;
mod message;
mod names;
pub mod options;
mod own;
pub mod parse;
mod plan;
mod record;
mod source;
mod table;
mod transaction;
mod transform;
mod walk;

pub use options::{Options, OptionsError};
pub use record::{Order, Place, Record, Records};
pub use table::{Counts, Table};

use columns::Extra;
use headwater_model::Schema;
use keys::Keys;
use mask::Masks;
use names::Topics;
use own::Own;
use std::sync::Arc;
use transform::Transforms;

/// The options of a source, compiled.
#[derive(Clone, Debug)]
pub struct Rendering {
    options: Arc<Options>,
    topics: Topics,
    keys: Keys,
    masks: Masks,
    transforms: Transforms,
    heartbeats: Own,
    transactions: Own,
    messages: Own,
}

impl Rendering {
    /// Compiles `options`. An error names the option that cannot be honoured.
    pub fn new(options: Options) -> Result<Rendering, OptionsError> {
        let topics = Topics::new(&options)?;
        let transforms = Transforms::new(&options)?;
        let own = |topic, (key, value)| Own::new(topic, key, value, &options, &transforms);
        Ok(Rendering {
            heartbeats: own(topics.heartbeats(&options), heartbeat::shapes()),
            transactions: own(topics.own(&options.transaction_topic), transaction::shapes()),
            messages: own(topics.own("message"), message::shapes(&options)),
            keys: Keys::new(&options)?,
            masks: Masks::new(&options)?,
            topics,
            transforms,
            options: Arc::new(options),
        })
    }

    /// The options.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Compiles a version of a table.
    pub fn table(&self, schema: &Schema) -> Table {
        Table::new(self, schema, Extra::Rules(&self.masks))
    }

    /// Compiles the table of a record that was read. What rules for columns did to its values is not done again.
    pub fn table_of(&self, event: &parse::Event) -> Table {
        let shown = self.options.of_adjusted_names().filter(|_| !event.parameters.is_empty());
        let shown = shown.map(|options| Rendering { options: Arc::new(options), ..self.clone() });
        Table::new(shown.as_ref().unwrap_or(self), &event.schema, Extra::Read(&event.parameters))
    }

    /// The topic of the records of transactions.
    pub fn transaction_topic(&self) -> &str {
        &self.transactions.topic
    }

    /// The topic of heartbeats.
    pub fn heartbeat_topic(&self) -> &str {
        &self.heartbeats.topic
    }

    /// Whether messages of the log itself make records: PostgreSQL alone has them.
    pub fn shows_messages(&self) -> bool {
        self.options.connector == options::Connector::Postgresql
    }

    /// The topic of messages.
    pub fn message_topic(&self) -> &str {
        &self.messages.topic
    }
}
