//! How to reach a server and as whom. Pure data; nothing here opens a file or a socket.
//!
//! Invariant: the password leaves [`Secret`] only inside the authentication exchange. Start at [`Options`].

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

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
            hosts: vec![Address::Tcp { host: "127.0.0.1".into(), port: Address::PORT_DEFAULT }],
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

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A host name or IP address (IPv6 without brackets) and a port.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket's path.
    Unix(PathBuf),
}

impl Address {
    /// The port where none is named.
    pub const PORT_DEFAULT: u16 = 3306;
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
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

/// Encryption: the mode, whom we trust and how we identify ourselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// How much is asked.
    pub mode: TlsMode,
    /// A PEM file of the authorities to trust; the system's where absent.
    pub ca: Option<PathBuf>,
    /// A PEM file with our own certificate chain.
    pub cert: Option<PathBuf>,
    /// A PEM file with that certificate's private key.
    pub key: Option<PathBuf>,
    /// The name the server's certificate must carry, where it is not the host we connect to.
    pub server_name: Option<String>,
}

/// The levels of MySQL's own `--ssl-mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// Never encrypt.
    Disabled,
    /// Encrypt when the server offers it (not over a Unix socket); its certificate is not checked.
    #[default]
    Preferred,
    /// Encrypt or fail; the certificate is not checked.
    Required,
    /// Also, the certificate must be signed by a trusted authority.
    VerifyCa,
    /// Also, the certificate must carry the host's name.
    VerifyIdentity,
}

impl TlsMode {
    /// The mode as it is written in a configuration: `disabled`, `preferred`, `required`, `verify_ca`, `verify_identity`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Preferred => "preferred",
            Self::Required => "required",
            Self::VerifyCa => "verify_ca",
            Self::VerifyIdentity => "verify_identity",
        }
    }

    /// Reads what [`TlsMode::as_str`] writes, whatever its case and whether words are joined by `_` or `-`.
    pub fn parse(text: &str) -> Option<Self> {
        let wanted = text.to_ascii_lowercase().replace('-', "_");
        [Self::Disabled, Self::Preferred, Self::Required, Self::VerifyCa, Self::VerifyIdentity]
            .into_iter()
            .find(|mode| mode.as_str() == wanted)
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
