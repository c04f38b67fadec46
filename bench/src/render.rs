//! Changes become Debezium's records, on one core: beside `serde_json` printing the same records from values that are
//! already built.
//!
//! Invariant: both sides write the same bytes into a buffer that is there already. Start at [`run`].

use crate::Bench;
use crate::report::{Figure, Wanted};
use headwater_format::debezium::{Options, Place, Records, Rendering};
use headwater_model::change::Changes;
use headwater_model::{
    Column, Date, DateTime, Op, Origin, RowWriter, Schema, TransactionBuilder, TransactionHeader, Type, Value,
};
use headwater_testkit::{Error, Result};
use std::hint::black_box;
use std::time::Instant;

const NAME: &str = "render";
/// Different events, so that no branch is learnt by heart.
const EVENTS: usize = 1_000;

/// Measures records with their schemas inline and without.
pub fn run(bench: &mut Bench) -> Result {
    for (schemas, wanted) in [(false, 3.0), (true, 15.0)] {
        measure(bench, schemas, wanted)?;
    }
    Ok(())
}

fn measure(bench: &mut Bench, schemas: bool, wanted: f64) -> Result {
    let mut options = Options { prefix: "shop".into(), ..Options::default() };
    options.key.schemas = schemas;
    options.value.schemas = schemas;
    let rendering = Rendering::new(options).map_err(|error| Error::new(error.to_string()))?;
    let schema = orders();
    let table = rendering.table(&schema);
    let changes = updates();
    let changes: Vec<_> = Changes::new(changes.items()).collect::<std::result::Result<_, _>>().map_err(damaged)?;
    let origin = Origin::Binlog {
        server_id: 1,
        gtid: "592c9ddf-e5db-11f1-b6ac-02fc00000001:77",
        file: "binlog.000001",
        position: 4_711,
        thread: 9,
        xid: 77,
    };
    let header = TransactionHeader { commit_us: 1_795_233_862_000_000, receive_us: 1_795_233_862_282_213, origin };
    let mut records = Records::default();
    let render = |records: &mut Records| {
        for change in &changes {
            records.clear();
            table.records(change, &mut Place { header: &header, order: None }, records);
            black_box(&*records);
        }
    };
    render(&mut records);
    let (mut built, mut bytes) = (Vec::new(), 0);
    for change in &changes {
        records.clear();
        table.records(change, &mut Place { header: &header, order: None }, &mut records);
        for part in records.iter().flat_map(|record| [record.key(), record.value()]).flatten() {
            bytes += part.len();
            built.push(
                serde_json::from_slice::<serde_json::Value>(part).map_err(|error| Error::new(error.to_string()))?,
            );
        }
    }
    let mut out = Vec::new();
    let mut print = || {
        for value in &built {
            out.clear();
            // A buffer in memory takes everything.
            let _infallible = serde_json::to_writer(&mut out, value);
            black_box(&out);
        }
    };
    let rounds = bench.pick(if schemas { 60 } else { 300 }, 10);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..bench.pick(7, 2) {
        ours.push(per_s(rounds, || render(&mut records)));
        theirs.push(per_s(rounds, &mut print));
    }
    let form = if schemas { "with schemas inline" } else { "without schemas" };
    let what = format!("updates of six columns as Debezium's records, {form}, {} bytes each", bytes / EVENTS);
    let figure = Figure::alone(NAME, what, "events/s", ours, Wanted::RatioAtLeast(wanted));
    bench.report.add(figure.against("serde_json::to_writer of built values", theirs));
    Ok(())
}

/// Events a second of so many rounds over all of them.
fn per_s(rounds: u64, mut round: impl FnMut()) -> f64 {
    let began = Instant::now();
    (0..rounds).for_each(|_| round());
    rounds as f64 * EVENTS as f64 / began.elapsed().as_secs_f64()
}

fn orders() -> Schema {
    let column = |name: &str, kind, native: &str| Column::new(name, kind, native);
    let text = || Type::Text { charset: "utf8mb4".into() };
    let columns = vec![
        Column { nullable: false, ..column("id", Type::Int { bits: 64, unsigned: false }, "bigint") },
        column("customer_id", Type::Int { bits: 32, unsigned: false }, "int"),
        column("status", text(), "varchar(20)"),
        column("total", Type::Decimal { precision: 10, scale: 2 }, "decimal(10,2)"),
        column("note", text(), "varchar(100)"),
        column("created_at", Type::DateTime { fraction: 3 }, "datetime(3)"),
    ];
    Schema::new(1, "shop", "orders", columns, vec![0])
}

fn updates() -> TransactionBuilder {
    let mut builder = TransactionBuilder::default();
    for number in 0..EVENTS as i64 {
        let out = builder.begin(Op::Update, 1, 4_900 + number as u64, 0);
        for status in ["paid", "shipped"] {
            let mut row = RowWriter::begin(out, 6);
            row.put(Value::Int(1_000_000 + number));
            row.put(Value::Int(number * 37 % 5_000));
            row.put(Value::Text(status));
            row.put(Value::Decimal(&format!("{}.{:02}", number * 13 % 900, number % 100)));
            row.put(Value::Text(&format!("please leave it at the door of number {number}")));
            let date = Date { year: 2026, month: 11, day: (number % 28 + 1) as u8 };
            let (minute, second) = ((number % 60) as u8, (number * 7 % 60) as u8);
            row.put(Value::DateTime(DateTime { date, hour: 10, minute, second, micros: 123_000 }));
        }
        builder.end(Op::Update, 1, false);
    }
    builder
}

fn damaged(error: impl std::fmt::Display) -> Error {
    Error::new(error.to_string())
}
