//! Heartbeats: records that show that a source is alive.
//!
//! Invariant: they tell nothing but the source's name and the time. Start at [`heartbeat`].

use super::names::adjust_schema;
use super::options::Options;
use super::record::Records;
use super::transaction::with_schema;
use crate::connect::{Kind, Schema, json};

/// Appends a heartbeat of `now_us`.
pub fn heartbeat(now_us: i64, options: &Options, out: &mut Records) {
    let schema = |name: &str, field| {
        Schema::structure(&adjust_schema(name, options.schema_name_adjustment), Some(1), vec![field])
    };
    let key = schema("io.debezium.connector.common.ServerNameKey", Schema::new(Kind::String).field("serverName"));
    let value = schema("io.debezium.connector.common.Heartbeat", Schema::new(Kind::Int64).field("ts_ms"));
    out.begin();
    out.key(|out| {
        with_schema(out, options.key.schemas, &key, |out| {
            out.extend_from_slice(b"{\"serverName\":");
            json::string(out, &options.prefix);
            out.push(b'}');
        });
    });
    out.value(|out| {
        with_schema(out, options.value.schemas, &value, |out| {
            out.extend_from_slice(b"{\"ts_ms\":");
            json::integer(out, now_us.div_euclid(1_000));
            out.push(b'}');
        });
    });
}
