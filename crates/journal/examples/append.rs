//! How much CPU an append costs: 70-byte changes in transactions of 100, flushed every 20 transactions.
//!
//! `cargo run --release -p headwater-journal --example append [changes] [folder]`

use headwater_journal::{Compression, Entry, From, Item, Offsets, Options, open};
use std::time::Instant;

const CHANGE_BYTES: usize = 70;
const CHANGES_PER_TRANSACTION: u32 = 100;
const TRANSACTIONS_PER_FLUSH: u32 = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let changes: u64 = arguments.next().map_or(Ok(10_000_000), |text| text.parse())?;
    let folder = arguments.next();
    let temporary = tempfile::tempdir()?;
    let base = folder.as_deref().map_or(temporary.path(), std::path::Path::new);
    println!("{:<28} {:>12} {:>12} {:>12} {:>12}", "", "append ns", "flush ns", "read ns", "wall s");
    for (name, compression) in
        [("plain", Compression::None), ("lz4", Compression::Lz4), ("zstd 1", Compression::Zstd(1))]
    {
        run(&base.join(name), name, compression, changes)?;
    }
    Ok(())
}

fn run(
    dir: &std::path::Path,
    name: &str,
    compression: Compression,
    changes: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    let options = Options { compression, ..Options::default() };
    let begun = Instant::now();
    let mut opened = open(dir, options)?;
    println!("opened in {:?}, {} bytes", begun.elapsed(), opened.journal.bytes());
    let topic = opened.writer.topic("shop.orders", 1)?;
    let items: Vec<u8> = (0..CHANGE_BYTES as u32 * CHANGES_PER_TRANSACTION).map(|at| ((at * at) >> 3) as u8).collect();
    let (mut append, mut flush, started) = (0, 0, cpu_ns());
    let wall = Instant::now();
    let transactions = changes / u64::from(CHANGES_PER_TRANSACTION);
    let mut before = started;
    for number in 0..transactions {
        let offsets = [Offsets { topic, partition: 0, count: CHANGES_PER_TRANSACTION }];
        opened.writer.append(&Entry {
            changes: CHANGES_PER_TRANSACTION,
            position: &number.to_le_bytes(),
            body: &[b"a header of some thirty bytes.", &items],
            offsets: &offsets,
            ..Entry::default()
        })?;
        if number % u64::from(TRANSACTIONS_PER_FLUSH) == 0 {
            let now = cpu_ns();
            append += now - before;
            opened.writer.flush()?;
            before = cpu_ns();
            flush += before - now;
        }
    }
    opened.writer.sync()?;
    let wall = wall.elapsed();
    let mut reader = opened.journal.reader(From::Earliest)?;
    let (mut seen, reading) = (0, cpu_ns());
    while let Some(item) = reader.next()? {
        if let Item::Frame(frame) = item {
            seen += frame.transactions().map(|transaction| u64::from(transaction.changes)).sum::<u64>();
        }
    }
    let reading = cpu_ns() - reading;
    let each = |ns: u64| ns as f64 / seen as f64;
    println!(
        "{name:<28} {:>12.2} {:>12.2} {:>12.2} {:>12.2}",
        each(append),
        each(flush),
        each(reading),
        wall.as_secs_f64()
    );
    Ok(opened.writer.close()?)
}

/// CPU time of this thread.
fn cpu_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
