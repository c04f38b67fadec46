//! A walk through any bytes as if they were a log: what the fuzzer and the damage tests run.
//!
//! Invariant: whatever the bytes are, this returns. Schemas are made of what table maps say of themselves, which is
//! enough to reach every decoder; it is not how a source gets its schemas.

use super::charset::{Charsets, canonical};
use super::table_map::{TableMap, column_type as ty};
use super::{Decoder, Event, EventHeader, HEADER_BYTES, RowsEvent, ServerFlavor, TablePlan, json_diff, json_text};
use headwater_model::{Column, Schema, TransactionBuilder, Type};
use std::collections::HashMap;
use std::sync::Arc;

/// Reads `bytes` as a stream of events, after an optional file magic, until the first error; decodes every row into the
/// model's encoding with schemas of its table maps. Answers the number of events and of changes.
pub fn fuzz_events(bytes: &[u8]) -> (u32, u32) {
    let mut bytes = bytes.strip_prefix(b"\xfebin").unwrap_or(bytes);
    // The version stands in the first event.
    let head = &bytes[..bytes.len().min(HEADER_BYTES + 52)];
    let maria = head.windows(7).any(|part| part == b"MariaDB");
    let flavor = if maria { ServerFlavor::MariaDb } else { ServerFlavor::MySql };
    let mut decoder = Decoder::new(flavor);
    let mut walk = Walk::default();
    let mut events = 0;
    while bytes.len() >= HEADER_BYTES {
        let Some(header) = EventHeader::read(bytes) else { break };
        let Some((raw, rest)) = bytes.split_at_checked(header.length as usize) else { break };
        if raw.is_empty() {
            break;
        }
        bytes = rest;
        let Ok((_, event)) = decoder.event(raw) else { break };
        events += 1;
        if !walk.event(event) {
            break;
        }
    }
    (events, walk.builder.changes())
}

/// Reads `bytes` as the length of a binary JSON document (u16, little-endian), the document, and differences to it; prints
/// the document, then applies them. Answers the bytes of both texts.
pub fn fuzz_json_diff(bytes: &[u8]) -> (usize, usize) {
    let Some((length, rest)) = bytes.split_first_chunk() else { return (0, 0) };
    let (document, differences) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
    let (mut plain, mut changed) = (Vec::new(), Vec::new());
    let _ = json_text::write(document, &mut plain);
    let _ = json_diff::apply(document, differences, &mut changed);
    (plain.len(), changed.len())
}

/// Bytes of changes after which the walk forgets them.
const BUILDER_BYTES_MAX: usize = 16 << 20;

#[derive(Default)]
pub(super) struct Walk {
    plans: HashMap<u64, TablePlan>,
    builder: TransactionBuilder,
    charsets: Charsets,
}

impl Walk {
    /// False when nothing more can be read.
    pub(super) fn event(&mut self, event: Event<'_>) -> bool {
        match event {
            Event::TableMap(map) => self.table(&map),
            Event::Rows(rows) => self.rows(&rows),
            Event::Query(query) => drop(query.text(&self.charsets)),
            Event::Payload(mut payload) => loop {
                match payload.next_event() {
                    Ok(Some((_, Event::TableMap(map)))) => self.table(&map),
                    Ok(Some((_, Event::Rows(rows)))) => self.rows(&rows),
                    Ok(Some(_)) => {}
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            },
            _ => {}
        }
        true
    }

    fn table(&mut self, map: &TableMap<'_>) {
        let schema = Arc::new(guess_schema(map, &self.charsets));
        match TablePlan::new(map, &schema, &self.charsets) {
            Ok(plan) => drop(self.plans.insert(map.table_id, plan)),
            Err(_) => drop(self.plans.remove(&map.table_id)),
        }
    }

    /// A row that cannot be read ends its event only, so that what follows is reached too.
    fn rows(&mut self, rows: &RowsEvent<'_>) {
        if self.builder.len() > BUILDER_BYTES_MAX {
            self.builder.clear();
        }
        if let Some(plan) = self.plans.get_mut(&rows.table_id) {
            let _ = rows.transcode(plan, 4, &mut self.builder);
        }
    }
}

/// A schema of what a table map says. UUIDs and addresses look like BINARY there, and MariaDB's JSON like text.
pub fn guess_schema(map: &TableMap<'_>, charsets: &Charsets) -> Schema {
    let metadata = &map.metadata;
    let columns = map.columns.iter().enumerate().map(|(i, wire)| {
        let unsigned = metadata.unsigned.get(i).copied().flatten().unwrap_or(false);
        let collation = metadata.collations.get(i).copied().flatten();
        let charset = collation.and_then(|id| charsets.name_of(id)).unwrap_or("binary");
        let int = |bits| Type::Int { bits, unsigned };
        let members = || {
            let codec = charsets.codec(charset);
            let text = |bytes: &&[u8]| {
                let text =
                    codec.as_ref().and_then(|codec| codec.decode(bytes, &mut Vec::new()).ok().map(str::to_owned));
                text.unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned())
            };
            metadata
                .members
                .get(i)
                .and_then(Option::as_ref)
                .map(|all| all.iter().map(text).collect())
                .unwrap_or_default()
        };
        let kind = match wire.kind {
            ty::TINY => int(8),
            ty::SHORT => int(16),
            ty::INT24 => int(24),
            ty::LONG => int(32),
            ty::LONGLONG => int(64),
            ty::FLOAT => Type::Float,
            ty::DOUBLE => Type::Double,
            ty::NEWDECIMAL => Type::Decimal { precision: wire.meta as u16 & 0xff, scale: (wire.meta >> 8) as i16 },
            ty::YEAR => Type::Year,
            ty::DATE | ty::NEWDATE => Type::Date,
            ty::TIME | ty::TIME2 => Type::Time { fraction: wire.meta as u8 },
            ty::DATETIME | ty::DATETIME2 => Type::DateTime { fraction: wire.meta as u8 },
            ty::TIMESTAMP | ty::TIMESTAMP2 => Type::Timestamp { fraction: wire.meta as u8 },
            ty::BIT => Type::Bit { width: ((wire.meta >> 8) * 8 + (wire.meta & 0xff)) as u8 },
            ty::ENUM => Type::Enum { members: members() },
            ty::SET => Type::Set { members: members() },
            ty::JSON => Type::Json,
            ty::GEOMETRY => Type::Geometry,
            ty::VECTOR => Type::Vector,
            ty::STRING if charset == "binary" => Type::Bytes { fixed: Some(wire.meta) },
            _ if charset == "binary" => Type::Bytes { fixed: None },
            _ => Type::Text { charset: canonical(charset).to_owned() },
        };
        Column {
            nullable: map.nullable(i),
            ..Column::new(&metadata.names.get(i).map_or_else(|| format!("c{i}"), |name| (*name).to_owned()), kind, "")
        }
    });
    let key = metadata.primary_key.iter().flatten().map(|(column, _)| *column).collect();
    Schema::new(1, map.database, map.table, columns.collect(), key)
}
