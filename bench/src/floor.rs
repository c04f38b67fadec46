//! The floor that latency is measured against: a bare loop that reads the log's packets and sends one SET a transaction.
//! It decodes nothing but the key, keeps no position, and survives no error: nobody can be faster and do the work.
//!
//! Invariant: it runs as a process of its own, as Headwater does. With a file it also makes the bytes of all transactions
//! that have arrived durable, by one `fdatasync`, before their SETs. Start at [`Floor::start`] and [`main`].

use crate::load::connect;
use headwater_source::mysql::wire::{DumpRequest, DumpStart};
use headwater_testkit::{Error, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The hidden subcommand: `URL FILE POSITION REDIS_PORT [SYNC_FILE]`.
pub const COMMAND: &str = "floor";

/// Our number among the server's replicas.
const SERVER_ID: u32 = 4_711;
const HEARTBEAT: Duration = Duration::from_secs(1);
const EVENT_HEADER_BYTES: usize = 19;
const TYPE_AT: usize = 4;
const XID_EVENT: u8 = 16;
const WRITE_ROWS_V1: u8 = 23;
const WRITE_ROWS_V2: u8 = 30;
/// As many bytes as a row's JSON has.
const VALUE_BYTES: usize = 160;

/// A floor that runs; killed when dropped.
pub struct Floor(Child);

impl Floor {
    /// Follows the log from there on, into the Redis at `redis_port`.
    pub fn start(
        url: &str,
        (file, offset): &(String, u64),
        redis_port: u16,
        sync_file: Option<&Path>,
    ) -> Result<Floor> {
        let failed = |error: std::io::Error| Error::new(format!("start the floor program: {error}"));
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args([COMMAND, url, file]).args([offset.to_string(), redis_port.to_string()]).args(sync_file);
        let mut floor = Floor(command.stdout(Stdio::piped()).spawn().map_err(failed)?);
        let mut said = String::new();
        let output = floor.0.stdout.take().ok_or_else(|| Error::new("the floor program has no output"))?;
        BufReader::new(output).read_line(&mut said).map_err(failed)?;
        if said.trim() == "ready" { Ok(floor) } else { Err(Error::new("the floor program ended before it was ready")) }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // Ended by itself already: then there is nothing left to do.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The program itself.
pub fn main(arguments: &[&str]) -> Result {
    let wrong = || Error::new("usage: floor URL FILE POSITION REDIS_PORT [SYNC_FILE]");
    let [url, file, position, port, sync_file @ ..] = arguments else { return Err(wrong()) };
    let offset: u64 = position.parse().map_err(|_| wrong())?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let io = |what: &'static str| move |error: std::io::Error| Error::new(format!("floor: {what}: {error}"));
    let mut link = connect(url)?;
    let log = |error: &dyn std::fmt::Display| Error::new(format!("floor: {error}"));
    if link.server().is_mariadb {
        link.execute("SET @mariadb_slave_capability = 4").map_err(|error| log(&error))?;
    }
    let start = DumpStart::Position { file, offset };
    let request = DumpRequest { server_id: SERVER_ID, report_host: "floor", heartbeat: HEARTBEAT, start, flags: 0 };
    let mut dump = link.into_dump(&request).map_err(|error| log(&error))?;
    let mut redis = TcpStream::connect(("127.0.0.1", port)).map_err(io("connect to Redis"))?;
    redis.set_nodelay(true).map_err(io("connect to Redis"))?;
    let mut answers = redis.try_clone().map_err(io("connect to Redis"))?;
    std::thread::spawn(move || {
        let mut ignored = [0; 1 << 16];
        while answers.read(&mut ignored).is_ok_and(|count| count > 0) {}
    });
    let mut sync_file = sync_file.first().map(File::create).transpose().map_err(io("create the file"))?;
    println!("ready");
    let mut loop_state = Loop { id: 0, commands: Vec::new(), bytes: Vec::new() };
    loop {
        let Some(event) = dump.next_event().map_err(|error| log(&error))? else { return Ok(()) };
        let commits = loop_state.take(event, sync_file.is_some());
        // Group commit: what has arrived meanwhile shares one fdatasync.
        let waits = sync_file.is_some() && dump.has_buffered_event();
        if loop_state.commands.is_empty() || !commits || waits {
            continue;
        }
        if let Some(file) = &mut sync_file {
            file.write_all(&loop_state.bytes).and_then(|()| file.sync_data()).map_err(io("make durable"))?;
            loop_state.bytes.clear();
        }
        redis.write_all(&loop_state.commands).map_err(io("send to Redis"))?;
        loop_state.commands.clear();
    }
}

/// What the loop has at hand.
struct Loop {
    id: u64,
    commands: Vec<u8>,
    bytes: Vec<u8>,
}

impl Loop {
    /// Takes an event; whether it ended a transaction.
    fn take(&mut self, event: &[u8], keep: bool) -> bool {
        if keep {
            self.bytes.extend_from_slice(event);
        }
        match event.get(TYPE_AT) {
            Some(&kind @ (WRITE_ROWS_V1 | WRITE_ROWS_V2)) => {
                self.id = first_key(event, kind).unwrap_or(self.id);
                false
            }
            Some(&XID_EVENT) => {
                let key = format!("order:{}", self.id);
                let value = [b'x'; VALUE_BYTES];
                let head = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${VALUE_BYTES}\r\n", key.len());
                self.commands.extend_from_slice(head.as_bytes());
                self.commands.extend_from_slice(&value);
                self.commands.extend_from_slice(b"\r\n");
                true
            }
            _ => false,
        }
    }
}

/// The BIGINT that is the first column of an event's first row.
fn first_key(event: &[u8], kind: u8) -> Option<u64> {
    let mut at = EVENT_HEADER_BYTES + 8;
    if kind == WRITE_ROWS_V2 {
        at += usize::from(u16::from_le_bytes(event.get(at..at + 2)?.try_into().ok()?));
    }
    let bitmap = usize::from(*event.get(at)?).div_ceil(8);
    // The columns that are there, then the row's NULLs.
    at += 1 + 2 * bitmap;
    Some(u64::from_le_bytes(event.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_or_nothing_is() {
        let mut event = vec![0; EVENT_HEADER_BYTES + 8];
        event.extend([2, 0, 6, 0x3f, 0]);
        event.extend(77_u64.to_le_bytes());
        assert_eq!(first_key(&event, WRITE_ROWS_V2), Some(77));
        for cut in 0..event.len() {
            assert_eq!(first_key(&event[..cut], WRITE_ROWS_V2), None, "{cut}");
        }
    }
}
