//! What every source's connection stands on: addresses, TCP and Unix sockets, TLS, and the handle that cuts a connection.
//!
//! Invariant: nothing here knows a database's protocol. Start at [`transport`], then [`tls`].

mod tls;
mod transport;
pub(crate) mod url;

pub(crate) use tls::{TlsFault, upgrade};
pub use transport::Canceller;
pub(crate) use transport::{Socket, Transport};

use std::fmt;
use std::path::PathBuf;

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

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
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

impl TlsOptions {
    /// Takes over what is said: the mode, the files of authorities, certificate and key, the server's name. What is not said
    /// stays.
    pub(crate) fn replace(
        &mut self,
        mode: Option<TlsMode>,
        [ca, cert, key]: [&Option<PathBuf>; 3],
        server_name: &Option<String>,
    ) {
        self.mode = mode.unwrap_or(self.mode);
        for (into, from) in [(&mut self.ca, ca), (&mut self.cert, cert), (&mut self.key, key)] {
            if from.is_some() {
                into.clone_from(from);
            }
        }
        if server_name.is_some() {
            self.server_name.clone_from(server_name);
        }
    }
}

/// How much encryption is asked: the levels of MySQL's own `--ssl-mode`, which are PostgreSQL's `sslmode` under other names.
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
