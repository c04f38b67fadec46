//! A TCP proxy that keeps the exact bytes a client sends, and a client that sends them again.
//!
//! Invariant: nothing is changed on the way; a replay is the recorded bytes and one `ECHO` behind them, whose answer says
//! that everything before it was executed. Start at [`Recorder::start`] and [`replay`].

use headwater_testkit::{Error, Result};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const CHUNK_BYTES: usize = 1 << 18;
const MARKER: &[u8] = b"headwater-bench-has-sent-everything";

type Recorded = Arc<Mutex<Vec<Arc<Mutex<Vec<u8>>>>>>;

/// A port that forwards to another and remembers what was sent to it, by connection.
pub struct Recorder {
    port: u16,
    recorded: Recorded,
}

impl Recorder {
    /// Forwards to `target` on 127.0.0.1, until the process ends.
    pub fn start(target: u16) -> Result<Recorder> {
        let failed = |error: std::io::Error| Error::new(format!("start a recorder: {error}"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let recorded = Recorded::default();
        let keep = recorded.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let bytes = Arc::new(Mutex::new(Vec::new()));
                lock(&keep).push(bytes.clone());
                if let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) {
                    std::thread::spawn(move || forward(from, to, Some(&bytes)));
                    std::thread::spawn(move || forward(server, client, None));
                }
            }
        });
        Ok(Recorder { port, recorded })
    }

    /// Where to connect.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the busiest connection has sent so far.
    pub fn busiest(&self) -> Vec<u8> {
        let all = lock(&self.recorded);
        all.iter().map(|bytes| std::mem::take(&mut *lock(bytes))).max_by_key(Vec::len).unwrap_or_default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn forward(mut from: TcpStream, mut to: TcpStream, keep: Option<&Mutex<Vec<u8>>>) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        if let Some(keep) = keep {
            lock(keep).extend_from_slice(&chunk[..count]);
        }
        if to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    // The other end may have closed first.
    let _closed = to.shutdown(Shutdown::Both);
}

/// Sends `bytes` over one connection as fast as Redis takes them; how long until all were executed.
pub fn replay(port: u16, bytes: &[u8]) -> Result<Duration> {
    let failed = |error: std::io::Error| Error::new(format!("replay to Redis: {error}"));
    let began = Instant::now();
    let mut writer = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    let mut reader = writer.try_clone().map_err(failed)?;
    std::thread::scope(|scope| {
        let sent = scope.spawn(move || {
            writer.write_all(bytes)?;
            writer.write_all(format!("*2\r\n$4\r\nECHO\r\n${}\r\n", MARKER.len()).as_bytes())?;
            writer.write_all(&[MARKER, b"\r\n"].concat())
        });
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut tail: Vec<u8> = Vec::new();
        loop {
            match reader.read(&mut chunk).map_err(failed)? {
                0 => return Err(Error::new("Redis closed the connection during the replay")),
                count => tail.extend_from_slice(&chunk[..count]),
            }
            // Only the end can hold the marker, as it is the last answer.
            tail.drain(..tail.len().saturating_sub(MARKER.len() + 2));
            if tail.starts_with(MARKER) {
                break;
            }
        }
        let took = began.elapsed();
        sent.join().map_err(|_| Error::new("the sender panicked"))?.map_err(failed)?;
        Ok(took)
    })
}
