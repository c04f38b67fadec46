//! Ten thousand hostile streams: what real servers sent for known statements, with bits flipped, cut off or with bytes
//! missing, served to the source as a server would.
//!
//! Invariant under test: whatever arrives, the source ends with an error by name, which tells no row value; what it appends is
//! whole, and up to the damage what the good stream gives. A message that was cut is refused, a damaged row spoils no
//! other, and a lost boundary lets nothing through. Nothing panics, and no memory is taken that a length merely claims. Start
//! at [`Damage`].

use super::*;
use crate::net::{Address, TlsMode};
use crate::postgres::config::Config;
use crate::postgres::wire::{self, Role};
use headwater_testkit::{Postgres, PostgresRelease, postgres_releases, say, seed, wait_until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

#[path = "../../tests/it/kept.rs"]
mod kept;
use kept::Kept;

const STREAMS: usize = 10_000;
const DATABASE: &str = "postgres";
/// Stands in every text of a row, and may stand in no error.
const SECRET: &str = "s3cr3t";
/// More memory than the streams may take: resident, and of address space beside what it began with.
const MEMORY_KB_MAX: u64 = 128 << 10;
/// Set for the process of its own in which the streams are read, so that its memory is theirs.
const ALONE: &str = "HEADWATER_TEST_ALONE";

/// Bytes before a message of the plugin: kind and length of the frame; kind, place, end of the log, clock.
const FRAME_HEAD_BYTES: usize = 5;
const HEAD_BYTES: usize = FRAME_HEAD_BYTES + 25;

const TABLES: &str = "
create schema s;
create type s.mood as enum ('sad', 'ok');
create table s.plain (id int primary key, name text, mood s.mood, big text);
alter table s.plain alter big set storage external;
create table s.whole (id int, price numeric(10,2), name text); alter table s.whole replica identity full;
create table s.indexed (id int primary key, code text not null); create unique index code on s.indexed (code);
alter table s.indexed replica identity using index code;
create table s.nothing (id int, name text); alter table s.nothing replica identity nothing;
create table s.many (a smallint, b bigint, c real, d float8, e numeric, f bool, g bytea, h date, i time, j timetz,
  k timestamp, l timestamptz, m interval, n uuid, o jsonb, p int[], q text[][], r inet, s bit(5), t int4range, u money, v point,
  w char(9), x tsrange, y numeric(120,3));
create table beside (said text);
create publication p for all tables;";

/// What is done step by step while the stream is read, so that much of it arrives before its transaction has ended; and
/// whether the slot tells of transactions when they are prepared, which the source refuses.
const SCENARIOS: [(&[&str], bool); 8] = [
    (
        &["insert into s.plain values (1, 's3cr3t', 'ok', repeat('s3cr3t', 500)), (2, null, null, '');
          update s.plain set name = 's3cr3t b' where id = 1; update s.plain set id = 10 where id = 1; delete from s.plain where id = 2"],
        false,
    ),
    (
        &["begin; insert into s.whole values (1, 1.5, 's3cr3t'), (null, null, null); update s.whole set price = 2; commit;
          delete from s.whole where id is null; insert into s.indexed values (1, 's3cr3t'); update s.indexed set id = 2;
          update s.indexed set code = 's3cr3t b'; delete from s.indexed; insert into s.nothing values (1, 's3cr3t');
          truncate s.plain, s.whole restart identity cascade"],
        false,
    ),
    (
        &["insert into s.many values (1, 2, 3.5, -4.25, 'NaN', true, 's3cr3t', '2024-02-29', '10:11:12.5', '10:11:12+02',
             'infinity', '0044-03-15 10:00:00+00 BC', '1 year 2 mons 3 days 04:05:06.7', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
             '{\"s3cr3t\": [1, null]}', '{1,null,3}', '{{s3cr3t,\"b c\"},{d,e}}', '10.0.0.1/8', '10110', '[1,9)', 12.34, '(1,2)',
             's3cr3t', '[2024-01-01,)', 1e100)"],
        false,
    ),
    (
        &["begin; select pg_logical_emit_message(true, 'in', 's3cr3t'); insert into s.nothing values (2, 's3cr3t');
          select pg_logical_emit_message(false, 'out', 's3cr3t'); commit; alter table s.nothing add column more text default 's3cr3t';
          insert into s.nothing values (3, 's3cr3t', 'm'); select pg_replication_origin_session_setup('elsewhere');
          begin; select pg_replication_origin_xact_setup('0/123ABC', '2024-01-01 00:00:00+00'); insert into s.nothing values (4); commit;
          select pg_replication_origin_session_reset()"],
        false,
    ),
    (
        &[
            "begin; insert into s.plain select n, 's3cr3t', 'ok', repeat('x', 9000) from generate_series(100, 112) n",
            "savepoint a; insert into s.plain select n, 's3cr3t', 'sad', repeat('y', 9000) from generate_series(200, 212) n",
            "savepoint b; update s.plain set name = 's3cr3t c', big = repeat('z', 9000) where id between 100 and 110",
            "rollback to a; update s.plain set id = id + 1000 where id < 103; insert into s.whole values (7, 7, 's3cr3t')",
            "truncate s.nothing; commit; insert into s.plain values (7, 's3cr3t')",
        ],
        false,
    ),
    (
        &[
            "begin; insert into s.plain select n, 's3cr3t', 'ok', repeat('x', 9000) from generate_series(300, 312) n",
            "rollback; begin; insert into s.whole values (8, 8, 's3cr3t'); prepare transaction 'one'",
            "begin; insert into s.plain select n, 's3cr3t', 'ok', repeat('x', 9000) from generate_series(400, 412) n",
            "prepare transaction 'two'; insert into s.whole values (9, 9, 's3cr3t'); commit prepared 'two'",
            "rollback prepared 'one'",
        ],
        false,
    ),
    (&["begin; insert into s.whole values (10, 8, 's3cr3t'); prepare transaction 'three'; commit prepared 'three'"], true),
    (
        &[
            "insert into s.whole values (11, 8, 's3cr3t')",
            "begin; insert into s.plain select n, 's3cr3t', 'ok', repeat('x', 9000) from generate_series(500, 512) n",
            "prepare transaction 'four'; rollback prepared 'four'",
        ],
        true,
    ),
];

/// What happens to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    /// Bits of a message are flipped.
    Flipped,
    /// A message ends early, and its frame says so.
    Shortened,
    /// A bit of what stands before a message is flipped: kinds, lengths, places.
    FlippedHead,
    /// Bytes are missing.
    Missing,
    /// The stream ends.
    CutOff,
}

const DAMAGES: [Damage; 7] = [
    Damage::Flipped,
    Damage::Shortened,
    Damage::FlippedHead,
    Damage::Flipped,
    Damage::Missing,
    Damage::CutOff,
    Damage::Flipped,
];

/// A stream as a server sent it: a frame a message.
struct Captured {
    frames: Vec<Vec<u8>>,
    /// All that the source makes of it, and how many changes it has made of it after each frame.
    lines: Vec<String>,
    after: Vec<usize>,
    /// Why it ends.
    end: String,
}

/// A damaged stream, and what may be expected of it.
struct Damaged {
    bytes: Vec<u8>,
    damage: Damage,
    /// Changes before the first damaged frame.
    before: usize,
    /// What was damaged of a message is a row, and nothing that decides over others.
    is_row: bool,
}

impl Captured {
    fn damaged(&self, damage: Damage, random: &mut StdRng) -> Damaged {
        let place = random.random_range(0..self.frames.len());
        let mut frames = self.frames.clone();
        let frame = &mut frames[place];
        let mut is_row = false;
        match damage {
            Damage::Flipped => {
                // In a block the number of the subtransaction stands before the table's.
                let head = HEAD_BYTES + 1 + if self.is_in_block(place) { 4 } else { 0 };
                is_row = matches!(frame[HEAD_BYTES], b'I' | b'U' | b'D');
                for _ in 0..random.random_range(1..4) {
                    let at = random.random_range(HEAD_BYTES..frame.len());
                    is_row &= at >= head;
                    frame[at] ^= 1 << random.random_range(0..8);
                }
            }
            Damage::Shortened => {
                frame.truncate(random.random_range(HEAD_BYTES..frame.len()));
                let length = frame.len() as u32 - 1;
                frame[1..FRAME_HEAD_BYTES].copy_from_slice(&length.to_be_bytes());
            }
            Damage::FlippedHead => frame[random.random_range(0..HEAD_BYTES)] ^= 1 << random.random_range(0..8),
            Damage::Missing => {
                // Less than any frame has, so that no frame is missing as a whole.
                let count = random.random_range(1..=HEAD_BYTES);
                let at = random.random_range(0..frame.len());
                let mut bytes = frames.concat();
                let start = self.frames[..place].iter().map(Vec::len).sum::<usize>() + at;
                bytes.drain(start..(start + count).min(bytes.len()));
                return Damaged { bytes, damage, before: self.before(place), is_row };
            }
            Damage::CutOff => {
                frame.truncate(random.random_range(0..frame.len()));
                frames.truncate(place + 1);
            }
        }
        Damaged { bytes: frames.concat(), damage, before: self.before(place), is_row }
    }

    fn before(&self, place: usize) -> usize {
        place.checked_sub(1).map_or(0, |last| self.after[last])
    }

    fn is_in_block(&self, place: usize) -> bool {
        let edges = self.frames[..place].iter().rev().map(|frame| frame[HEAD_BYTES]);
        edges.into_iter().find(|kind| matches!(kind, b'S' | b'E')) == Some(b'S')
    }

    /// What the source made of it, against what the good stream gives.
    fn judge(&self, of: &Damaged, lines: &[String], error: &str) -> Result<(), String> {
        let Damaged { damage, before, .. } = *of;
        let seen = |what: &str| Err(format!("{what}; {} of {} changes: {error}", lines.len(), self.lines.len()));
        if error.contains(SECRET) {
            return seen("the error tells a value");
        }
        if lines.len() < before || lines[..before] != self.lines[..before] {
            return seen(&format!("the {before} changes before the damage differ"));
        }
        // A message of no transaction is whole with its own last byte; of all others a lost boundary hides the commit.
        let certain = match lines.last() {
            Some(last) if damage == Damage::Missing && last.starts_with("free m") => lines.len() - 1,
            _ => lines.len(),
        };
        if damage != Damage::Flipped && !self.lines.starts_with(&lines[..certain]) {
            return seen("something was let through that never was sent");
        }
        match damage {
            Damage::CutOff | Damage::Shortened if lines.len() != before => seen("what was cut was read"),
            Damage::Shortened if !error.contains("a message of") => seen("the message was not refused by name"),
            // It was taken for another row.
            Damage::Flipped if of.is_row && error == self.end => {
                let differing = lines.iter().zip(&self.lines).filter(|(line, good)| line != good).count();
                match lines.len() == self.lines.len() && differing <= 1 {
                    true => Ok(()),
                    false => seen(&format!("{differing} rows differ")),
                }
            }
            _ => Ok(()),
        }
    }
}

/// The source's own stream, over connections to a server that sends what it is told to.
struct Bench {
    options: Arc<Options>,
    server: Server,
    catalogue: Option<Catalogue>,
    wire: wire::Options,
    scripts: SyncSender<Vec<u8>>,
}

impl Bench {
    fn new(postgres: &Postgres) -> Bench {
        let settings = serde_json::json!({
            "url": postgres.url(DATABASE), "tables": ["s.*"], "publication": "p", "publication_create": "disabled", "snapshot": "never",
        });
        let options = Arc::new(Config::from_value(settings).unwrap().validate("it").unwrap());
        let (connection, server) = start::connect(&options, &mut 0).unwrap();
        connection.close();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut wire = options.connection.clone();
        wire.hosts = vec![Address::Tcp { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() }];
        wire.tls.mode = TlsMode::Disabled;
        wire.role = Role::Replication;
        // As the source has it.
        wire.message_bytes_max = 0x7fff_ffff;
        let (scripts, received) = sync_channel::<Vec<u8>>(0);
        thread::spawn(move || received.into_iter().for_each(|bytes| serve(&listener, &bytes)));
        let catalogue = Some(Catalogue::new(options.clone(), 0));
        Bench { options, server, catalogue, wire, scripts }
    }

    /// Follows a stream to its end. Answers what was appended, and why it ended.
    fn follow(&mut self, bytes: Vec<u8>) -> (Vec<String>, String) {
        self.scripts.send(bytes).unwrap();
        let connection = Connection::connect(&self.wire, 0).unwrap();
        let wire = connection.start_replication("START_REPLICATION").unwrap();
        let mut catalogue = self.catalogue.take().unwrap();
        let mut kept = Kept::default();
        let tables = Tables::new(self.options.clone(), catalogue.types().unwrap(), &kept);
        let place =
            Position { system: 1, timeline: 1, slot: self.options.slot.clone(), lsn: Lsn(0), last_commit: Lsn(0) };
        let transactions = Transactions::new(&self.options, tables, place, VecDeque::new());
        let mut stream = Stream::new(&self.options, 0, wire, &self.server, transactions, catalogue);
        let error = match stream.follow(&mut kept) {
            Err(error) => error,
            Ok(_) => panic!("the source has stopped by itself"),
        };
        self.catalogue = Some(stream.catalogue);
        // The port is another one each time.
        (kept.again(), error.to_string())
    }

    fn captured(&mut self, mut frames: Vec<Vec<u8>>) -> Captured {
        let (mut after, mut end) = (Vec::new(), String::new());
        for count in 1..=frames.len() {
            let (lines, why) = self.follow([&frames[..count].concat(), ENDED].concat());
            after.push(lines.len());
            end = why;
            if !end.contains("the server ended the stream") {
                // What comes after this is not read.
                frames.truncate(count);
                break;
            }
        }
        let (lines, _) = self.follow([&frames.concat(), ENDED].concat());
        Captured { frames, lines, after, end }
    }
}

/// The end of a stream, as a server that shuts down says it.
const ENDED: &[u8] = b"c\0\0\0\x04";

/// Takes a client that logs in without a password and asks for the stream.
fn serve(listener: &TcpListener, bytes: &[u8]) {
    let Ok((mut stream, _)) = listener.accept() else { return };
    let greeting = [&b"R\0\0\0\x08\0\0\0\0"[..], b"K\0\0\0\x0c\0\0\0\x07\0\0\0\x01", b"Z\0\0\0\x05I"].concat();
    let answer = [b"W\0\0\0\x07\0\0\0", bytes].concat();
    for said in [greeting, answer] {
        let mut heard = [0; 4096];
        // A client that has left is no failure of the server.
        let _ = stream.read(&mut heard).and_then(|_| stream.write_all(&said));
    }
    let _ = stream.shutdown(Shutdown::Write);
    drain(&mut stream);
}

fn drain(stream: &mut TcpStream) {
    let mut heard = [0; 4096];
    while matches!(stream.read(&mut heard), Ok(1..)) {}
}

/// Has a server do what the scenario says, and takes what it sends meanwhile, as frames.
fn capture(postgres: &Postgres, options: &Options, steps: &[&str], two_phase: bool) -> Vec<Vec<u8>> {
    let slot = format!("select pg_create_logical_replication_slot('captured', 'pgoutput', false, {two_phase})");
    postgres.exec(DATABASE, &slot);
    let (connection, server) = start::connect(options, &mut 0).unwrap();
    let command = format!(
        "START_REPLICATION SLOT captured LOGICAL 0/0 (proto_version '{}', publication_names 'p', messages 'true', streaming 'on'{})",
        server.protocol(),
        if two_phase { ", two_phase 'true'" } else { "" }
    );
    let mut stream = connection.start_replication(&command).unwrap();
    let mut session = postgres.session(DATABASE).unwrap();
    let mut frames = Vec::new();
    for (step, sql) in steps.iter().enumerate() {
        session.exec(sql).unwrap();
        // It has the log before it written out, and tells where the step ends.
        postgres.exec(DATABASE, &format!("insert into beside values ('step {step} of {}')", steps.len()));
        let told = format!("step {step} of");
        let mut is_told = false;
        while let Some(event) = stream.next_event().unwrap() {
            let Event::Data { start, body } = event else { continue };
            let content = [&b"w"[..], &start.0.to_be_bytes(), &start.0.to_be_bytes(), &[0; 8], body].concat();
            frames.push([&b"d"[..], &(content.len() as u32 + 4).to_be_bytes(), &content].concat());
            is_told |= body.windows(told.len()).any(|part| part == told.as_bytes());
            if is_told && body[0] == b'C' {
                break;
            }
        }
    }
    stream.close();
    let is_left = || postgres.try_exec(DATABASE, "select pg_drop_replication_slot('captured')").is_ok();
    wait_until(Duration::from_secs(30), "the slot to be left", is_left).unwrap();
    frames
}

#[test]
fn ten_thousand_hostile_streams_end_by_name_and_let_nothing_through() {
    if std::env::var_os(ALONE).is_none() {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        let name = "postgres::stream::hostile_tests::ten_thousand_hostile_streams_end_by_name_and_let_nothing_through";
        let output = alone.args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("hostile streams: "), "{said}");
        return said.lines().filter(|line| line.contains("hostile streams")).for_each(say);
    }
    let seed = seed("PostgreSQL's hostile streams");
    let releases = postgres_releases();
    thread::scope(|scope| {
        for (turn, release) in releases.iter().enumerate() {
            let numbers = (turn..STREAMS).step_by(releases.len());
            scope.spawn(move || read_hostile(*release, seed, numbers));
        }
    });
}

fn read_hostile(release: PostgresRelease, seed: u64, numbers: impl Iterator<Item = usize>) {
    let postgres = Postgres::start(release, &["logical_decoding_work_mem=64kB"]).unwrap();
    postgres.exec(DATABASE, &format!("{TABLES} select pg_replication_origin_create('elsewhere')"));
    let mut bench = Bench::new(&postgres);
    let options = bench.options.clone();
    let streams: Vec<Captured> = SCENARIOS
        .iter()
        .map(|(steps, two_phase)| bench.captured(capture(&postgres, &options, steps, *two_phase)))
        .collect();
    let kinds: BTreeSet<u8> =
        streams.iter().flat_map(|captured| &captured.frames).map(|frame| frame[HEAD_BYTES]).collect();
    assert!(b"BCORYIUDTMSEcAbp".iter().all(|kind| kinds.contains(kind)), "kinds of messages: {kinds:?}");
    let (began, at_first) = (Instant::now(), memory_kb("VmPeak:"));
    let (mut count, mut as_good, mut messages) = (0, 0, 0);
    for number in numbers {
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
        let captured = &streams[random.random_range(0..streams.len())];
        let damaged = captured.damaged(DAMAGES[random.random_range(0..DAMAGES.len())], &mut random);
        let bytes = [&damaged.bytes[..], if damaged.damage == Damage::CutOff { &[] } else { ENDED }].concat();
        let which = || format!("stream {number} of seed {seed}, {:?}", damaged.damage);
        let read = catch_unwind(AssertUnwindSafe(|| bench.follow(bytes)));
        let Ok((lines, error)) = read else { panic!("{} makes the source panic", which()) };
        if let Err(what) = captured.judge(&damaged, &lines, &error) {
            panic!("{}: {what}", which());
        }
        (count, messages) = (count + 1, messages + captured.frames.len());
        as_good += usize::from(error == captured.end);
    }
    let (resident, claimed) = (memory_kb("VmHWM:"), memory_kb("VmPeak:") - at_first);
    say(&format!(
        "{release}: {count} hostile streams: {} of them ended by an error at the damage, {as_good} were read to their end; {messages} \
         messages; {resident} kB at most, {claimed} kB more claimed; {:.1?}",
        count - as_good,
        began.elapsed()
    ));
    assert!(as_good > count / 10 && as_good < count * 2 / 3, "the damage is not what it should be");
    assert!(resident < MEMORY_KB_MAX && claimed < MEMORY_KB_MAX, "{resident} kB, {claimed} kB");
}

/// A line of what the system knows of this process.
fn memory_kb(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
