//! How to reach a server and as whom. Pure data; nothing here opens a file or a socket.
//!
//! Invariant: the password leaves [`Secret`] only inside the authentication exchange. Start at [`Options`].

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::net::{Address, TlsOptions};

/// The port where none is named.
pub(super) const PORT_DEFAULT: u16 = 3306;

/// Everything a connection needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// The servers, in order of preference; [`Connection::connect`](super::Connection::connect) takes the index of one.
    pub hosts: Vec<Address>,
    /// The account's name.
    pub user: String,
    /// Its password; empty for none.
    pub password: Secret,
    /// The default database.
    pub database: Option<String>,
    /// Encryption and who is trusted.
    pub tls: TlsOptions,
    /// A PEM file with the server's RSA public key, for `caching_sha2_password` without TLS. Without it the key is asked of
    /// the server, which protects the password from a listener but not from an impostor.
    pub server_public_key: Option<PathBuf>,
    /// Limit of connecting, and of each silence during the handshake.
    pub connect_timeout: Duration,
    /// Limit of each silence after that, for reads and writes; `None` waits for ever.
    pub read_timeout: Option<Duration>,
    /// After how long a silence TCP probes whether the peer is still there.
    pub keepalive: Duration,
    /// The largest packet that is held in memory as a whole.
    pub packet_bytes_max: usize,
    /// The most that [`Connection::query`](super::Connection::query) collects; a larger result is streamed or refused.
    pub result_bytes_max: usize,
    /// What the server's process list shows as `program_name`.
    pub program_name: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hosts: vec![Address::Tcp { host: "127.0.0.1".into(), port: PORT_DEFAULT }],
            user: String::new(),
            password: Secret::default(),
            database: None,
            tls: TlsOptions::default(),
            server_public_key: None,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Some(Duration::from_secs(60)),
            keepalive: Duration::from_secs(30),
            packet_bytes_max: 64 * 1024 * 1024,
            result_bytes_max: 64 * 1024 * 1024,
            program_name: "headwater".into(),
        }
    }
}

/// A password. Prints as `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a password.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    pub(super) fn reveal(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<S: Into<String>> From<S> for Secret {
    fn from(password: S) -> Self {
        Self::new(password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let options = Options { password: "hunter2".into(), ..Options::default() };
        let printed = format!("{options:?}");
        assert!(printed.contains("***") && !printed.contains("hunter2"), "{printed}");
    }
}
