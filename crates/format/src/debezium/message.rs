//! Messages that a client wrote into PostgreSQL's log, as records of a topic of their own.
//!
//! Invariant: the key is the message's prefix. Start at [`message`].

use super::names::adjust_schema;
use super::options::Options;
use super::record::{Event, Place, Records};
use super::source::{self, Source};
use super::transaction::{block_schema, with_schema, write_block};
use crate::connect::{Kind, Schema, json};
use headwater_model::{Change, Op};

/// Appends the record of a change that is a message; nothing for another.
pub fn message(change: &Change<'_>, place: &mut Place<'_>, options: &Options, out: &mut Records) {
    let Some(message) = change.message else { return };
    let order = place.order.as_mut().filter(|_| message.transactional).map(|order| order.next());
    let event = Event { change, header: place.header, order, op: Op::Message.letter() };
    out.begin();
    out.key(|out| {
        with_schema(out, options.key.schemas, &key_schema(options), |out| {
            out.extend_from_slice(b"{\"prefix\":");
            json::string(out, message.prefix);
            out.push(b'}');
        });
    });
    out.value(|out| {
        with_schema(out, options.value.schemas, &value_schema(options), |out| {
            out.extend_from_slice(b"{\"op\":\"m\",\"ts_ms\":");
            json::integer(out, place.header.receive_us.div_euclid(1_000));
            out.extend_from_slice(b",\"source\":");
            Source::new(options, "", "").write(out, &event);
            out.extend_from_slice(b",\"transaction\":");
            write_block(out, &event, options);
            out.extend_from_slice(b",\"message\":{\"prefix\":");
            json::string(out, message.prefix);
            out.extend_from_slice(b",\"content\":");
            json::base64(out, message.content, json::Alphabet::Standard);
            out.extend_from_slice(b"}}");
        });
    });
}

fn key_schema(options: &Options) -> Schema {
    let name = adjust_schema("io.debezium.connector.postgresql.MessageKey", options.schema_name_adjustment);
    Schema::structure(&name, Some(1), vec![Schema::new(Kind::String).optional().field("prefix")])
}

fn value_schema(options: &Options) -> Schema {
    let adjusted = |name| adjust_schema(name, options.schema_name_adjustment);
    let content = vec![
        Schema::new(Kind::String).optional().field("prefix"),
        Schema::new(Kind::Bytes).optional().field("content"),
    ];
    let content = Schema::structure(&adjusted("io.debezium.connector.postgresql.Message"), Some(1), content);
    let fields = vec![
        Schema::new(Kind::String).field("op"),
        Schema::new(Kind::Int64).optional().field("ts_ms"),
        source::schema(options.connector).field("source"),
        block_schema().field("transaction"),
        content.field("message"),
    ];
    Schema::structure(&adjusted("io.debezium.connector.postgresql.MessageValue"), Some(1), fields)
}
