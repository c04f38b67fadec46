//! When a key becomes visible in Redis, as Redis itself says it: keyspace notifications of SET on a connection of their
//! own. Both sides of a comparison are watched the same way.
//!
//! Invariant: the first SET of a key counts, later ones do not. Start at [`Watch::start`].

use headwater_testkit::{Error, Redis, Result};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

/// The keys that are watched: `order:` and a number.
const PREFIX: &str = "order:";
const SUBSCRIBE: &[u8] = b"*2\r\n$9\r\nSUBSCRIBE\r\n$18\r\n__keyevent@0__:set\r\n";
/// Lines of Redis' answer to it.
const SUBSCRIBED_LINES: usize = 6;

/// Watches a range of keys.
pub struct Watch {
    seen_ns: Arc<Vec<AtomicU64>>,
    seen: Arc<AtomicU64>,
    stream: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches `order:first` and the `count - 1` keys after it; times are nanoseconds since `clock`.
    pub fn start(redis: &Redis, first: u64, count: usize, clock: Instant) -> Result<Watch> {
        let failed = |error: std::io::Error| Error::new(format!("watch Redis: {error}"));
        redis.try_call(&["CONFIG", "SET", "notify-keyspace-events", "E$"])?;
        let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).map_err(failed)?;
        stream.write_all(SUBSCRIBE).map_err(failed)?;
        let mut reader = BufReader::new(stream.try_clone().map_err(failed)?);
        let mut line = String::new();
        for _ in 0..SUBSCRIBED_LINES {
            reader.read_line(&mut line).map_err(failed)?;
        }
        let seen_ns: Arc<Vec<AtomicU64>> = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
        let seen = Arc::new(AtomicU64::new(0));
        let (times, counter) = (seen_ns.clone(), seen.clone());
        let thread = std::thread::spawn(move || note(reader, first, &times, &counter, clock));
        Ok(Watch { seen_ns, seen, stream, thread: Some(thread) })
    }

    /// How many of the keys were seen.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Acquire)
    }

    /// When key number `at` was seen first; 0 if it was not.
    pub fn at_ns(&self, at: usize) -> u64 {
        self.seen_ns.get(at).map_or(0, |time| time.load(Ordering::Acquire))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Closed by Redis already: then the thread has ended.
        let _closed = self.stream.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Reads until the connection is closed. Of a message's lines only its last one, the key, begins with the prefix.
fn note(mut reader: BufReader<TcpStream>, first: u64, times: &[AtomicU64], seen: &AtomicU64, clock: Instant) {
    let mut line = String::new();
    loop {
        line.clear();
        if !reader.read_line(&mut line).is_ok_and(|count| count > 0) {
            return;
        }
        let id: Option<u64> = line.strip_prefix(PREFIX).and_then(|id| id.trim_end().parse().ok());
        let Some(time) = id.and_then(|id| times.get(usize::try_from(id.checked_sub(first)?).ok()?)) else { continue };
        let now = clock.elapsed().as_nanos() as u64;
        if time.compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            seen.fetch_add(1, Ordering::AcqRel);
        }
    }
}
