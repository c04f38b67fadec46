//! Heartbeats: records that show that a source is alive.
//!
//! Invariant: they tell nothing but the source's name and the time. Start at [`Rendering::heartbeat`].

use super::Rendering;
use super::own::Shape;
use super::record::Records;
use crate::connect::{Kind, Schema, json};

/// The shape of their keys, and that of their values.
pub(super) fn shapes() -> (Shape, Shape) {
    let key = vec![Schema::new(Kind::String).field("serverName")];
    let value = vec![Schema::new(Kind::Int64).field("ts_ms")];
    (("io.debezium.connector.common.ServerNameKey", key), ("io.debezium.connector.common.Heartbeat", value))
}

impl Rendering {
    /// Appends a heartbeat of `now_us`.
    pub fn heartbeat(&self, now_us: i64, out: &mut Records) {
        let key = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"\"serverName\":");
            json::string(out, &self.options.prefix);
        };
        let value = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"\"ts_ms\":");
            json::integer(out, now_us.div_euclid(1_000));
        };
        self.heartbeats.record(out, key, value);
    }
}
