//! A TCP proxy that simulates bad networks: held up, cut off, refused. Bytes are never changed or reordered.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::error::Attempt;
use crate::process::lock;
use crate::{Port, Result, free_port};

const CHUNK_BYTES: usize = 64 << 10;
/// Connections kept for [`Proxy::cut`]; ended ones are forgotten when a new one comes.
const CONNECTIONS_MAX: usize = 1_024;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    /// Connections are accepted and stay open, no byte passes: a peer that died without a word.
    Paused,
    /// New connections are closed at once.
    Refusing,
    /// The proxy is gone.
    Ended,
}

/// A port on 127.0.0.1 that forwards to another.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<u16>,
    mode: Mutex<Mode>,
    changed: Condvar,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Forwards to `target` on 127.0.0.1.
    pub fn start(target: u16) -> Result<Self> {
        let port = free_port()?;
        let listener = TcpListener::bind(("127.0.0.1", port.number())).attempt(|| format!("listen on port {port}"))?;
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            mode: Mutex::new(Mode::Forward),
            changed: Condvar::new(),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Ok(Self { port, shared })
    }

    /// Where to connect.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Sends new connections to another port, as a failover does.
    pub fn redirect(&self, target: u16) {
        *lock(&self.shared.target) = target;
    }

    /// Lets no byte pass until [`forward`](Self::forward); connections stay open.
    pub fn pause(&self) {
        self.shared.set(Mode::Paused);
    }

    /// Lets bytes and new connections pass again.
    pub fn forward(&self) {
        self.shared.set(Mode::Forward);
    }

    /// Closes every connection and all new ones until [`forward`](Self::forward).
    pub fn refuse(&self) {
        self.shared.set(Mode::Refusing);
        self.cut();
    }

    /// Closes every connection; new ones pass.
    pub fn cut(&self) {
        for stream in lock(&self.shared.open).drain(..) {
            // Closed already: then it is cut.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.set(Mode::Ended);
        self.cut();
        // Wakes the thread that waits in accept, which then sees that the proxy is gone.
        let _ = TcpStream::connect(("127.0.0.1", self.port()));
    }
}

impl Shared {
    fn set(&self, mode: Mode) {
        *lock(&self.mode) = mode;
        self.changed.notify_all();
    }

    fn mode(&self) -> Mode {
        *lock(&self.mode)
    }

    /// Waits while paused.
    fn pass(&self) {
        let mode = lock(&self.mode);
        drop(self.changed.wait_while(mode, |mode| *mode == Mode::Paused));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.mode() == Mode::Ended {
            return;
        }
        // Refused, or no server there: the client sees its connection closed, as it would without a proxy.
        if let (Ok(client), true) = (client, shared.mode() != Mode::Refusing) {
            let shared = Arc::clone(shared);
            thread::spawn(move || drop(connect(&client, &shared)));
        }
    }
}

fn connect(client: &TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    shared.pass();
    let target = *lock(&shared.target);
    let server = TcpStream::connect_timeout(&([127, 0, 0, 1], target).into(), CONNECT_LIMIT)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    {
        let mut open = lock(&shared.open);
        if open.len() >= CONNECTIONS_MAX {
            open.retain(|stream| stream.peer_addr().is_ok());
        }
        open.extend([client.try_clone()?, server.try_clone()?]);
    }
    let (back_from, back_to) = (server.try_clone()?, client.try_clone()?);
    let back = Arc::clone(shared);
    thread::spawn(move || copy(back_from, back_to, &back));
    copy(client.try_clone()?, server, shared);
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(read @ 1..) = from.read(&mut chunk) {
        shared.pass();
        if to.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    // Both directions: a half-closed connection is no use to a database or to Redis.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
