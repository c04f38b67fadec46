//! The floor that latency is measured against: a bare loop that reads the log's messages and sends one SET a transaction.
//! It decodes nothing but the key, keeps no position, and survives no error: nobody can be faster and do the work.
//!
//! Invariant: it runs as a process of its own, as Headwater does. With a file it also makes the bytes of all transactions
//! that have arrived durable, by one `fdatasync`, before their SETs. Start at [`Floor::start`] and [`main`].

mod mysql;
mod postgres;

use headwater_testkit::{Error, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The hidden subcommand: `REDIS_PORT SYNC_FILE LOG…`; `-` for no file.
pub const COMMAND: &str = "floor";

const NO_FILE: &str = "-";
/// As many bytes as a row's JSON has.
const VALUE_BYTES: usize = 160;

/// A server's log, as the loop reads it.
trait Log {
    /// Waits for the next message; `None` when the server has ended the log.
    fn next(&mut self) -> Result<Option<&[u8]>>;

    /// Whether the next one has arrived.
    fn has_next(&self) -> bool;

    /// What a message means.
    fn read(message: &[u8]) -> Means;
}

/// All that the loop knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    /// A row with this key is written.
    Row(u64),
    /// The transaction is committed.
    Commit,
    Nothing,
}

/// Where the floor's log is.
pub enum Start<'a> {
    /// MySQL's at this URL, from this file and offset on.
    MySql(&'a str, &'a (String, u64)),
    /// PostgreSQL's at this URL, as this publication has it, from now on.
    Postgres(&'a str, &'a str),
}

/// A floor that runs; killed when dropped.
pub struct Floor(Child);

impl Floor {
    /// Follows the log into the Redis at `redis_port`.
    pub fn start(start: &Start<'_>, redis_port: u16, sync_file: Option<&Path>) -> Result<Floor> {
        let failed = |error: std::io::Error| Error::new(format!("start the floor program: {error}"));
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args([COMMAND, &redis_port.to_string()]).arg(sync_file.unwrap_or(Path::new(NO_FILE)));
        match start {
            Start::MySql(url, (file, offset)) => command.args(["mysql", url, file, &offset.to_string()]),
            Start::Postgres(url, publication) => command.args(["postgres", url, publication]),
        };
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
    let usage = "usage: floor REDIS_PORT SYNC_FILE (mysql URL FILE POSITION | postgres URL PUBLICATION)";
    let wrong = || Error::new(usage);
    let [port, sync_file, log @ ..] = arguments else { return Err(wrong()) };
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let sync_file = (*sync_file != NO_FILE).then(|| Path::new(sync_file));
    match log {
        ["mysql", url, file, position] => {
            follow(mysql::Binlog::open(url, file, position.parse().map_err(|_| wrong())?)?, port, sync_file)
        }
        ["postgres", url, publication] => follow(postgres::Wal::open(url, publication)?, port, sync_file),
        _ => Err(wrong()),
    }
}

/// The loop.
fn follow<L: Log>(mut log: L, redis_port: u16, sync_file: Option<&Path>) -> Result {
    let io = |what: &'static str| move |error: std::io::Error| Error::new(format!("floor: {what}: {error}"));
    let mut redis = TcpStream::connect(("127.0.0.1", redis_port)).map_err(io("connect to Redis"))?;
    redis.set_nodelay(true).map_err(io("connect to Redis"))?;
    let mut answers = redis.try_clone().map_err(io("connect to Redis"))?;
    std::thread::spawn(move || {
        let mut ignored = [0; 1 << 16];
        while answers.read(&mut ignored).is_ok_and(|count| count > 0) {}
    });
    let mut sync_file = sync_file.map(File::create).transpose().map_err(io("create the file"))?;
    println!("ready");
    let (mut key, mut commands, mut bytes) = (0, Vec::new(), Vec::new());
    loop {
        let Some(message) = log.next()? else { return Ok(()) };
        if sync_file.is_some() {
            bytes.extend_from_slice(message);
        }
        match L::read(message) {
            Means::Row(row) => key = row,
            Means::Commit => put_set(&mut commands, key),
            Means::Nothing => {}
        }
        // Group commit: what has arrived meanwhile shares one fdatasync.
        if commands.is_empty() || sync_file.is_some() && log.has_next() {
            continue;
        }
        if let Some(file) = &mut sync_file {
            file.write_all(&bytes).and_then(|()| file.sync_data()).map_err(io("make durable"))?;
            bytes.clear();
        }
        redis.write_all(&commands).map_err(io("send to Redis"))?;
        commands.clear();
    }
}

fn put_set(commands: &mut Vec<u8>, id: u64) {
    let key = format!("order:{id}");
    let head = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${VALUE_BYTES}\r\n", key.len());
    commands.extend_from_slice(head.as_bytes());
    commands.extend_from_slice(&[b'x'; VALUE_BYTES]);
    commands.extend_from_slice(b"\r\n");
}
