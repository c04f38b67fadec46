//! Free TCP ports that stay ours: a server which restarts must find its port again. Never hands out an ephemeral port,
//! which the kernel might give to an outgoing connection while the server is down.

use std::fmt;
use std::fs::{self, File};
use std::net::TcpListener;

use crate::error::Attempt;
use crate::{Error, Result, process};

/// Below Linux's ephemeral range (32768 and up).
const RANGE: std::ops::Range<u16> = 20_000..32_000;
const ATTEMPTS_MAX: usize = 1_000;

/// A port on 127.0.0.1, reserved against other tests of this machine until dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    // Locked for as long as the port is in use; the lock ends with the process, however that ends.
    _lease: File,
}

impl Port {
    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

/// Reserves a port that nobody listens on.
pub fn free_port() -> Result<Port> {
    let leases = process::private_folder("ports")?;
    for _ in 0..ATTEMPTS_MAX {
        let number = rand::random_range(RANGE);
        let path = leases.join(number.to_string());
        let lease = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .attempt(|| format!("open the port lease {}", path.display()))?;
        if lease.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
            return Ok(Port { number, _lease: lease });
        }
    }
    Err(Error::new(format!("no free TCP port among {ATTEMPTS_MAX} tried in {RANGE:?}")))
}
