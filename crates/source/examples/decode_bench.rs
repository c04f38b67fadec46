//! Nanoseconds a row from raw events to the model's encoding, on one core, for the table that the figures speak of:
//! `orders(id bigint primary key, customer_id int, status varchar(20), total decimal(10,2), note varchar(100),
//! created_at datetime(3))`. Run with `cargo run --release -p headwater-source --example decode_bench [ROWS]`.
//!
//! Invariant: the events are made here, byte by byte as a server writes them, checksums included.

use headwater_model::{Column, Schema, TransactionBuilder, Type};
use headwater_source::mysql::decode::{Charsets, Decoder, Event, ServerFlavor, TablePlan, column_type as ty};
use std::sync::Arc;
use std::time::Instant;

const ROWS_PER_EVENT: u64 = 80;
const EVENTS: u64 = 250;

fn main() {
    let wanted = std::env::args().nth(1).and_then(|rows| rows.parse().ok()).unwrap_or(5_000_000u64);
    let schema = Arc::new(schema());
    let mut decoder = Decoder::new(ServerFlavor::MySql);
    let format = format_description();
    decoder.event(&format).expect("the format description is made well");
    let map = table_map();
    let (_, Event::TableMap(map)) = decoder.event(&map).expect("the table map is made well") else { return };
    let mut plan = TablePlan::new(&map, &schema, &Charsets::default()).expect("map and schema fit");
    for (name, update) in [("insert", false), ("update", true)] {
        let events: Vec<_> = (0..EVENTS).map(|i| rows(i * ROWS_PER_EVENT, update)).collect();
        let bytes: usize = events.iter().map(Vec::len).sum();
        let mut builder = TransactionBuilder::default();
        let (mut done, mut out) = (0u64, 0usize);
        let start = Instant::now();
        while done < wanted {
            for raw in &events {
                let (_, Event::Rows(rows)) = decoder.event(raw).expect("rows are made well") else { return };
                done += u64::from(rows.transcode(&mut plan, 4, &mut builder).expect("rows are made well"));
                if builder.len() > 1 << 20 {
                    out += builder.len();
                    builder.clear();
                }
            }
        }
        out += builder.len();
        let nanos = start.elapsed().as_nanos() as f64 / done as f64;
        let row_bytes = bytes as f64 / (EVENTS * ROWS_PER_EVENT) as f64;
        println!(
            "{name}: {nanos:.1} ns/row, {:.0} rows/s, {row_bytes:.0} bytes/row in the log, {:.0} encoded",
            1e9 / nanos,
            out as f64 / done as f64
        );
    }
}

fn schema() -> Schema {
    let column = |name: &str, kind| Column::new(name, kind, "");
    let text = || Type::Text { charset: "utf8mb4".to_owned() };
    Schema::new(
        7,
        "shop",
        "orders",
        vec![
            column("id", Type::Int { bits: 64, unsigned: false }),
            column("customer_id", Type::Int { bits: 32, unsigned: false }),
            column("status", text()),
            column("total", Type::Decimal { precision: 10, scale: 2 }),
            column("note", text()),
            column("created_at", Type::DateTime { fraction: 3 }),
        ],
        vec![0],
    )
}

fn event(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = 19 + body.len() as u32 + 4;
    let mut event = Vec::new();
    event.extend_from_slice(&1_700_000_000u32.to_le_bytes());
    event.push(kind);
    event.extend_from_slice(&1u32.to_le_bytes());
    event.extend_from_slice(&length.to_le_bytes());
    event.extend_from_slice(&[0; 6]);
    event.extend_from_slice(body);
    let checksum = crc32fast::hash(&event);
    event.extend_from_slice(&checksum.to_le_bytes());
    event
}

fn format_description() -> Vec<u8> {
    let mut body = vec![4, 0];
    let mut version = [0; 50];
    version[..5].copy_from_slice(b"9.7.4");
    body.extend_from_slice(&version);
    body.extend_from_slice(&[0, 0, 0, 0, 19]);
    body.extend_from_slice(&[8; 42]);
    body.push(1);
    event(15, &body)
}

fn table_map() -> Vec<u8> {
    let mut body = vec![9, 0, 0, 0, 0, 0, 1, 0, 4];
    body.extend_from_slice(b"shop\0\x06orders\0\x06");
    body.extend_from_slice(&[ty::LONGLONG, ty::LONG, ty::VARCHAR, ty::NEWDECIMAL, ty::VARCHAR, ty::DATETIME2]);
    body.extend_from_slice(&[7, 80, 0, 10, 2, 144, 1, 3, 0x3e]);
    event(19, &body)
}

fn rows(first: u64, update: bool) -> Vec<u8> {
    let mut body = vec![9, 0, 0, 0, 0, 0, 1, 0, 2, 0, 6, 0x3f];
    if update {
        body.push(0x3f);
    }
    for id in first..first + ROWS_PER_EVENT {
        row(&mut body, id, "pending");
        if update {
            row(&mut body, id, "delivered");
        }
    }
    event(if update { 31 } else { 30 }, &body)
}

fn row(body: &mut Vec<u8>, id: u64, status: &str) {
    body.push(0);
    body.extend_from_slice(&(id * 31).to_le_bytes());
    body.extend_from_slice(&((id * 7_919 % 100_000) as u32).to_le_bytes());
    body.push(status.len() as u8);
    body.extend_from_slice(status.as_bytes());
    body.extend_from_slice(&(0x8000_0000u32 + (id * 13 % 99_999) as u32).to_be_bytes());
    body.push((id % 100) as u8);
    let note = "please leave the parcel with the neighbour on the left";
    body.extend_from_slice(&(note.len() as u16).to_le_bytes());
    body.extend_from_slice(note.as_bytes());
    let date = 0x80_0000_0000u64 + ((2026 * 13 + 3) << 22 | (id % 28 + 1) << 17 | (id % 24) << 12 | (id % 60) << 6 | 5);
    body.extend_from_slice(&date.to_be_bytes()[3..]);
    body.extend_from_slice(&((id % 1000 * 10) as u16).to_be_bytes());
}
