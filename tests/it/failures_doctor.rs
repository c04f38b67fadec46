//! A proxy between Headwater and a database that changes one event on its way: its type becomes one that no server has,
//! and its checksum is made right for that.
//!
//! Invariant: nothing else is changed. It reads packets, so the connection must not be encrypted.

use headwater_testkit::{Port, free_port};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

/// Types of events that insert rows: versions 1 and 2.
const WRITE_ROWS: [u8; 2] = [23, 30];
/// Unknown to every server so far.
const UNKNOWN: u8 = 0x7f;
const EVENT_HEADER_BYTES: usize = 19;

const IDLE: u8 = 0;
const ARMED: u8 = 1;
const DONE: u8 = 2;

/// A port on 127.0.0.1 that forwards to a database.
pub struct Doctor {
    port: Port,
    state: Arc<AtomicU8>,
}

impl Doctor {
    /// Forwards to `target`, for as long as the test's process lives.
    pub fn start(target: u16) -> Doctor {
        let port = free_port().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", port.number())).unwrap();
        let state = Arc::new(AtomicU8::new(IDLE));
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else { continue };
                let shared = shared.clone();
                thread::spawn(move || {
                    ends(&to_server, &from_client, io::copy(&mut &from_client, &mut &to_server).map(drop))
                });
                thread::spawn(move || ends(&client, &server, forward(&server, &client, &shared)));
            }
        });
        Doctor { port, state }
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Changes the next event that inserts rows, and no other.
    pub fn doctor_next_rows_event(&self) {
        self.state.store(ARMED, Ordering::Release);
    }

    /// Whether it has changed one.
    pub fn has_doctored(&self) -> bool {
        self.state.load(Ordering::Acquire) == DONE
    }
}

/// One direction has ended, and with it the connection.
fn ends(one: &TcpStream, other: &TcpStream, _how: io::Result<()>) {
    let _ = one.shutdown(Shutdown::Both);
    let _ = other.shutdown(Shutdown::Both);
}

fn forward(mut server: &TcpStream, mut client: &TcpStream, state: &AtomicU8) -> io::Result<()> {
    let mut head = [0; 4];
    loop {
        server.read_exact(&mut head)?;
        let mut body = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
        server.read_exact(&mut body)?;
        // A packet of the log: a zero, then one event.
        if let Some((0, event)) = body.split_first_mut().map(|(first, rest)| (*first, rest)) {
            doctor(event, state);
        }
        client.write_all(&[&head[..], &body].concat())?;
    }
}

fn doctor(event: &mut [u8], state: &AtomicU8) {
    let is_event = event.len() > EVENT_HEADER_BYTES + 4 && event[9..13] == (event.len() as u32).to_le_bytes();
    if !is_event || !WRITE_ROWS.contains(&event[4]) {
        return;
    }
    if state.compare_exchange(ARMED, DONE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
        event[4] = UNKNOWN;
        let covered = event.len() - 4;
        let checksum = crate::hostile::crc32(&event[..covered]);
        event[covered..].copy_from_slice(&checksum.to_le_bytes());
    }
}
