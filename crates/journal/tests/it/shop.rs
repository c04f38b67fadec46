//! A small workload whose every byte is known, and a text of all that a reader gives, so that two journals compare as
//! strings.

use headwater_journal::{
    Entry, From, Head, Heads, Item, JournalId, OffsetRange, Offsets, Opened, Options, Part, Reader, Result, TopicId,
    Writer, open,
};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Time that moves by one millisecond a look.
pub fn ticking_clock() -> u64 {
    static NOW_US: AtomicU64 = AtomicU64::new(1_700_000_000_000_000);
    NOW_US.fetch_add(1000, Ordering::Relaxed)
}

pub fn options() -> Options {
    Options {
        segment_bytes: 8192,
        frame_bytes_max: 2048,
        clock_us: || 1_700_000_000_000_000,
        new_id: Some(JournalId([7; 16])),
        zero_ahead_pace: std::time::Duration::ZERO,
        record_durable: true,
        ..Options::default()
    }
}

pub fn opened(dir: &Path) -> Opened {
    open(dir, options()).expect("the journal opens")
}

/// Registers the topics that [`append`] uses.
pub fn topics(writer: &mut Writer) -> Result<[TopicId; 2]> {
    Ok([writer.topic("shop.orders", 2)?, writer.topic("shop.items", 1)?])
}

/// Appends transaction `number`: `number % 5 + 1` changes, its position, now and then a head.
pub fn append(writer: &mut Writer, number: u64) -> Result<u64> {
    let [orders, items] = topics(writer)?;
    let changes = (number % 5 + 1) as u32;
    let position = format!("position {number}");
    let body = format!("<{number}:{}>", "x".repeat((number * 37 % 301) as usize));
    let offsets = [
        Offsets { topic: orders, partition: (number % 2) as u32, count: 1 },
        Offsets { topic: items, partition: 0, count: changes - 1 },
    ];
    let (key, value) = (format!("schema {}", number % 7), format!("of {number}"));
    let heads = [Head { key: key.as_bytes(), value: (!number.is_multiple_of(3)).then_some(value.as_bytes()) }];
    writer.append(&Entry {
        changes,
        position: position.as_bytes(),
        body: &[b"header ", body.as_bytes()],
        offsets: &offsets[..if changes > 1 { 2 } else { 1 }],
        heads: if number.is_multiple_of(4) { &heads } else { &[] },
        derived: false,
    })
}

/// Appends and flushes transactions one by one.
pub fn fill(writer: &mut Writer, numbers: std::ops::Range<u64>) -> Result<()> {
    for number in numbers {
        append(writer, number)?;
        writer.flush()?;
    }
    Ok(())
}

/// Writes the three parts of a transaction under the name `id`.
pub fn side_parts(writer: &mut Writer, id: &str) -> Result<()> {
    let [orders, _] = topics(writer)?;
    (0..3).try_for_each(|part| side_part(writer, id, orders, part))
}

pub fn side_part(writer: &mut Writer, id: &str, orders: TopicId, part: u32) -> Result<()> {
    let body = format!("part {part} of {id} {}", "y".repeat(500));
    let offsets = [Offsets { topic: orders, partition: 1, count: part + 1 }];
    let key = format!("side schema {part}");
    let heads = [Head { key: key.as_bytes(), value: Some(b"v") }];
    writer.side_append(id, &Part { changes: part + 2, body: &[body.as_bytes()], offsets: &offsets, heads: &heads })
}

pub fn side_commit(writer: &mut Writer, id: &str, position: &str) -> Result<u64> {
    writer.side_commit(id, &Entry { position: position.as_bytes(), body: &[b"side header"], ..Entry::default() })
}

fn ranges(out: &mut String, ranges: impl Iterator<Item = OffsetRange>) {
    for range in ranges {
        let _ = write!(out, " {}/{}@{}+{}", range.topic.0, range.partition, range.first, range.count);
    }
}

/// Everything the reader gives from where it stands, one line a transaction. Frame borders are not shown: they are not a
/// function of the log.
pub fn text(reader: &mut Reader) -> Result<String> {
    let mut out = String::new();
    while let Some(item) = reader.next()? {
        match item {
            Item::Frame(frame) => {
                for transaction in frame.transactions() {
                    let body = String::from_utf8_lossy(transaction.body);
                    let _ = write!(out, "{}+{} {body}", transaction.first_sequence, transaction.changes);
                    ranges(&mut out, transaction.offsets());
                    out.push('\n');
                }
            }
            Item::Part(part) => {
                let (body, header) = (String::from_utf8_lossy(part.body), String::from_utf8_lossy(part.header));
                let last = if part.last { " last" } else { "" };
                let _ = write!(out, "{}+{} {header}/{} {body}{last}", part.first_sequence, part.changes, part.index);
                ranges(&mut out, part.offsets());
                out.push('\n');
            }
        }
    }
    Ok(out)
}

/// The whole journal as text.
pub fn whole(opened: &Opened) -> String {
    text(&mut opened.journal.reader(From::Earliest).expect("a reader")).expect("every frame reads")
}

/// Heads as text.
pub fn heads(heads: &Heads) -> String {
    heads
        .iter()
        .map(|(key, value)| format!("{}={} ", String::from_utf8_lossy(key), String::from_utf8_lossy(value)))
        .collect()
}

/// What the first `count` transactions must look like, computed without a journal.
pub fn expected(count: u64) -> String {
    let (mut out, mut sequence, mut orders, mut items) = (String::new(), 0, [0u64; 2], 0u64);
    for number in 0..count {
        let changes = number % 5 + 1;
        let body = format!("<{number}:{}>", "x".repeat((number * 37 % 301) as usize));
        let partition = (number % 2) as usize;
        let _ = write!(out, "{sequence}+{changes} header {body} 0/{partition}@{}+1", orders[partition]);
        if changes > 1 {
            let _ = write!(out, " 1/0@{items}+{}", changes - 1);
            items += changes - 1;
        }
        out.push('\n');
        orders[partition] += 1;
        sequence += changes;
    }
    out
}

/// A folder in memory where there is one: tests that open a journal thousands of times need no real fsync.
pub fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a temporary folder")
}
