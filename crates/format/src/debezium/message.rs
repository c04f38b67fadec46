//! Messages that a client wrote into PostgreSQL's log, as records of a topic of their own.
//!
//! Invariant: the key is the message's prefix. Start at [`Rendering::message`].

use super::Rendering;
use super::names::adjust_schema;
use super::options::Options;
use super::own::Shape;
use super::record::{Event, Place, Records};
use super::source::{self, Common, Source};
use super::transaction::{block_schema, write_block};
use crate::connect::{Kind, Schema, json};
use headwater_model::{Change, Op};

/// The shape of their keys, and that of their values.
pub(super) fn shapes(options: &Options) -> (Shape, Shape) {
    let prefix = || Schema::new(Kind::String).optional().field("prefix");
    let content = vec![prefix(), Schema::new(Kind::Bytes).optional().field("content")];
    let name = adjust_schema("io.debezium.connector.postgresql.Message", options.schema_name_adjustment);
    let value = vec![
        Schema::new(Kind::String).field("op"),
        Schema::new(Kind::Int64).optional().field("ts_ms"),
        source::schema(options.connector).field("source"),
        block_schema().field("transaction"),
        Schema::structure(&name, Some(1), content).field("message"),
    ];
    let (key_name, value_name) =
        ("io.debezium.connector.postgresql.MessageKey", "io.debezium.connector.postgresql.MessageValue");
    ((key_name, vec![prefix()]), (value_name, value))
}

impl Rendering {
    /// Appends the record of a change that is a message; nothing for another.
    pub fn message(&self, change: &Change<'_>, place: &mut Place<'_>, out: &mut Records) {
        let Some(message) = change.message else { return };
        let order = place.order.as_mut().filter(|_| message.transactional).map(|order| order.next());
        let event = Event { change, header: place.header, order, op: Op::Message.letter() };
        let prefix = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"\"prefix\":");
            json::string(out, message.prefix);
        };
        let value = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"\"op\":\"m\",\"ts_ms\":");
            json::integer(out, place.header.receive_us.div_euclid(1_000));
            out.extend_from_slice(b",\"source\":");
            Source::new(&self.options, "", "").write(out, &event, &mut Common::default());
            out.extend_from_slice(b",\"transaction\":");
            write_block(out, &event, &self.options);
            out.extend_from_slice(b",\"message\":{");
            prefix(out);
            out.extend_from_slice(b",\"content\":");
            json::base64(out, message.content, json::Alphabet::Standard);
            out.push(b'}');
        };
        self.messages.record(out, prefix, value);
    }
}
