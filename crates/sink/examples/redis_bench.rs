//! How fast the Redis sink writes, as a ratio to the same bytes sent prebuilt over one connection.
//!
//! `cargo run --release -p headwater-sink --example redis_bench -- redis://127.0.0.1:6379/9 [rows]`. The database is
//! emptied. Each write is run first through a recording proxy, then in turn prebuilt and by the sink.

use headwater_model::sink::{Batch, Event, Sink};
use headwater_model::{
    Column, JournalId, Op, Origin, Progress, Row, RowWriter, Schema, TransactionHeader, Type, Value,
};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

const BATCH_ROWS: usize = 5_000;
const ROUNDS: usize = 3;

fn main() {
    let mut args = std::env::args().skip(1);
    let url = args.next().expect("the first argument is a URL: redis://127.0.0.1:6379/9");
    let rows: usize =
        args.next().map_or(1_000_000, |rows| rows.parse().expect("the second argument is a number of rows"));
    let address = url.trim_start_matches("redis://").split('/').next().expect("a host").to_owned();
    let database = url.rsplit('/').next().expect("a database").to_owned();
    let table = Table::new(rows);
    for (name, write) in [
        ("json", json!({"json": "order:{id}"})),
        ("set, one member a key", json!({"set": "of:{id}", "member": "{customer_id}"})),
        ("set, many members a key", json!({"set": "orders:{customer_id}", "member": "{id}"})),
        ("hash", json!({"hash": "order:{id}"})),
        ("counter", json!({"counter": "total:{customer_id}", "by": "{total}"})),
    ] {
        let recorded = record(&address, &database, &table, &write);
        let mut best = (f64::MAX, f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            flush(&address, &database);
            let prebuilt = replay(&address, &recorded);
            flush(&address, &database);
            let cpu = cpu_s();
            let started = Instant::now();
            table.write(&url, &write);
            best.1 = best.1.min(started.elapsed().as_secs_f64());
            best.2 = best.2.min(cpu_s() - cpu);
            best.0 = best.0.min(prebuilt);
        }
        let rate = |s: f64| rows as f64 / s / 1e3;
        println!(
            "{name}: prebuilt {:.0}k rows/s, sink {:.0}k rows/s ({:.2} µs CPU a row), ratio {:.2}; {} bytes a row",
            rate(best.0),
            rate(best.1),
            best.2 / rows as f64 * 1e6,
            best.0 / best.1,
            recorded.len() / rows
        );
    }
    flush(&address, &database);
}

/// CPU seconds of this process.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("a Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    (fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime")) / 100.0
}

struct Table {
    schema: Arc<Schema>,
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Table {
    fn new(rows: usize) -> Table {
        let column = |name: &str, kind| Column { nullable: false, ..Column::new(name, kind, "") };
        let text = || Type::Text { charset: "utf8mb4".into() };
        let columns = vec![
            column("id", Type::Int { bits: 64, unsigned: false }),
            column("customer_id", Type::Int { bits: 32, unsigned: false }),
            column("status", text()),
            column("total", Type::Decimal { precision: 10, scale: 2 }),
            column("note", text()),
            column("created_at", Type::DateTime { fraction: 3 }),
        ];
        let schema = Schema::new(1, "shop", "orders", columns, vec![0]);
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for id in 0..rows as i64 {
            starts.push(bytes.len());
            let mut row = RowWriter::begin(&mut bytes, 6);
            row.put(Value::Int(id));
            row.put(Value::Int(id * 7919 % 20_011));
            row.put(Value::Text("preparing"));
            row.put(Value::Decimal(&format!("{}.{:02}", id % 9_999, id % 100)));
            row.put(Value::Text("a note of some length, as people write them beside orders"));
            let date = headwater_model::Date { year: 2024, month: 9, day: (id % 28 + 1) as u8 };
            row.put(Value::DateTime(headwater_model::DateTime {
                date,
                hour: 17,
                minute: 21,
                second: 2,
                micros: 123_000,
            }));
        }
        Table { schema: Arc::new(schema), bytes, starts }
    }

    fn write(&self, url: &str, write: &serde_json::Value) {
        let sink_type = headwater_sink::sink_type("redis").expect("it is built in");
        let configured = sink_type.configure("bench", &json!({"url": url}), &json!({"shop.orders": [write]}));
        let mut sink = configured.expect("a good configuration").build();
        sink.connect().expect("a server");
        self.run(&mut *sink);
    }

    fn run(&self, sink: &mut dyn Sink) {
        let header = TransactionHeader { commit_us: 0, receive_us: 0, origin: Origin::Headwater };
        let mut sequence = 0;
        for chunk in self.starts.chunks(BATCH_ROWS) {
            let mut events = Vec::with_capacity(chunk.len());
            for &start in chunk {
                let after = Row::decode(&mut &self.bytes[start..]);
                let change = headwater_model::Change {
                    op: Op::Create,
                    schema: 1,
                    place: 0,
                    row: 0,
                    statement: None,
                    marker: None,
                    before: None,
                    after,
                    message: None,
                };
                events.push(Event { sequence, change, schema: &self.schema, header: &header });
                sequence += 1;
            }
            let progress = Progress { journal: JournalId([7; 16]), epoch: 1, sequence };
            sink.write(&Batch { events: &events, progress }).expect("a batch is written");
        }
        assert_eq!(sink.flush().expect("the last batch").durable, Some(sequence));
    }
}

/// Runs the sink through a proxy and answers what it sent, from its first transaction on.
fn record(address: &str, database: &str, table: &Table, write: &serde_json::Value) -> Vec<u8> {
    flush(address, database);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let proxy = format!("redis://{}/{database}", listener.local_addr().expect("an address"));
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let (address, sent) = (address.to_owned(), Arc::clone(&recorded));
    let pump = std::thread::spawn(move || {
        let (client, _) = listener.accept().expect("the sink");
        let server = TcpStream::connect(address).expect("the server");
        let (mut replies, mut back) = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
        let replies = std::thread::spawn(move || std::io::copy(&mut replies, &mut back));
        let (mut client, mut server) = (client, server);
        let mut buffer = vec![0; 1 << 20];
        while let Ok(n @ 1..) = client.read(&mut buffer) {
            sent.lock().expect("no panic").extend_from_slice(&buffer[..n]);
            server.write_all(&buffer[..n]).expect("the server");
        }
        let _ = server.shutdown(std::net::Shutdown::Both);
        let _ = replies.join();
    });
    table.write(&proxy, write);
    pump.join().expect("the proxy");
    let recorded = std::mem::take(&mut *recorded.lock().expect("no panic"));
    // The handshake is not part of it, but the database and the first watch are.
    let select = format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{database}\r\n", database.len());
    let start = recorded.windows(select.len()).position(|window| window == select.as_bytes()).unwrap_or(0);
    recorded[start..].to_vec()
}

/// Sends the bytes, drains the replies beside, and answers the seconds until the last reply.
fn replay(address: &str, bytes: &[u8]) -> f64 {
    let mut server = TcpStream::connect(address).expect("the server");
    server.set_nodelay(true).expect("a socket");
    let mut replies = server.try_clone().expect("a socket");
    let started = Instant::now();
    // After QUIT the server closes the connection, so the end of the replies is the end of the work.
    let drain = std::thread::spawn(move || std::io::copy(&mut replies, &mut std::io::sink()));
    server.write_all(bytes).expect("the server");
    server.write_all(b"*1\r\n$4\r\nQUIT\r\n").expect("the server");
    drain.join().expect("no panic").expect("replies");
    started.elapsed().as_secs_f64()
}

fn flush(address: &str, database: &str) {
    let mut server = TcpStream::connect(address).expect("the server");
    write!(server, "SELECT {database}\r\nFLUSHDB\r\nQUIT\r\n").expect("the server");
    let mut answer = String::new();
    server.read_to_string(&mut answer).expect("an answer");
}
