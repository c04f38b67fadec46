//! The connection to Redis: opening it, sending bytes, receiving replies, and what each error means.
//!
//! Invariant: after any error here the connection is given up; what was in flight is found out from the progress that
//! Redis holds. Neither keys nor values stand in an error: of what the server says, only its code is kept.

use super::config::{Endpoint, Route, Tls};
use super::resp::Commands;
use headwater_model::{Error, Result, Secret};
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{Client, ClientTlsConfig, Connection, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError};
use redis::{TlsCertificates, TlsMode, Value as Reply};
use std::time::Duration;

/// How long to wait for a server that is full or cannot persist before the same is tried again.
const FULL_WAIT: Duration = Duration::from_secs(5);

/// An open connection.
pub(super) struct Link {
    connection: Connection,
    label: String,
    timeout: Duration,
    /// Small questions and their bytes.
    scratch: Commands,
}

impl Link {
    /// Connects, authenticates and selects the database.
    pub fn open(endpoint: &Endpoint) -> Result<Link> {
        let opened = connect(endpoint)?;
        let connection = opened.map_err(|error| opening_failed(endpoint, error))?;
        let limited = connection
            .set_read_timeout(Some(endpoint.timeout))
            .and_then(|()| connection.set_write_timeout(Some(endpoint.timeout)));
        limited.map_err(|error| opening_failed(endpoint, error))?;
        Ok(Link { connection, label: endpoint.label.clone(), timeout: endpoint.timeout, scratch: Commands::default() })
    }

    /// Sends commands without waiting for their replies.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.connection.send_packed_command(bytes).map_err(|error| self.lost(error))
    }

    /// The next reply; a server's error is a reply too.
    pub fn receive(&mut self) -> Result<Reply> {
        self.connection.recv_response().map_err(|error| self.lost(error))
    }

    /// Sends one command and waits for its reply; a server's error is an error.
    pub fn ask(&mut self, name: &str, args: &[&[u8]]) -> Result<Reply> {
        self.scratch.clear();
        self.scratch.command(0, name, args);
        let scratch = std::mem::take(&mut self.scratch);
        let sent = self.send(&scratch.bytes);
        self.scratch = scratch;
        sent?;
        self.checked()
    }

    /// The next reply, where a server's error is an error.
    pub fn checked(&mut self) -> Result<Reply> {
        match self.receive()? {
            Reply::ServerError(error) => Err(self.refused(error.code())),
            reply => Ok(reply),
        }
    }

    /// What a server's error means, by its code.
    pub fn refused(&self, code: &str) -> Error {
        let label = &self.label;
        match code {
            "LOADING" => Error::reconnect(format!("{label} is still loading its data")),
            "BUSY" => Error::reconnect(format!("{label} is busy running a script")),
            "MASTERDOWN" | "READONLY" => Error::reconnect(format!("{label} is a replica, which cannot be written to"))
                .hint("Point the URL at the master, or use `sentinel`."),
            "TRYAGAIN" | "CLUSTERDOWN" | "UNBLOCKED" => Error::reconnect(format!("{label} answers {code}")),
            "OOM" => Error::retry_after(FULL_WAIT, format!("{label} is out of memory and refuses to write")).hint(
                "Raise maxmemory, or let Redis evict keys that have a TTL: CONFIG SET maxmemory-policy volatile-lru",
            ),
            "MISCONF" => {
                Error::retry_after(FULL_WAIT, format!("{label} cannot save its data to disk and refuses to write"))
                    .hint("Look into its log; its disk may be full.")
            }
            "NOAUTH" | "WRONGPASS" => login_refused(label),
            "NOPERM" => Error::reconnect(format!("the user on {label} lacks a permission"))
                .hint("Run `headwater check`, which prints the ACL statement that grants it."),
            _ => Error::stop(format!("{label} refused a command with the error code {code}"))
                .hint("It may be a server older than 6.2 or with renamed commands; run `headwater check`."),
        }
    }

    fn lost(&self, error: RedisError) -> Error {
        if error.is_timeout() {
            return silent(&self.label, self.timeout, "timeout");
        }
        // The client's error repeats its cause, so the text alone is kept.
        let detail = if error.is_io_error() { error.to_string() } else { error.category().to_owned() };
        Error::reconnect(format!("the connection to {} is gone", self.label)).detail(detail)
    }
}

/// The system's own words for this, "temporarily unavailable", say nothing.
fn silent(label: &str, limit: Duration, setting: &str) -> Error {
    Error::reconnect(format!("{label} gave no answer within {} s", limit.as_secs_f64())).hint(format!(
        "Look whether it hangs, is busy with a slow command (SLOWLOG GET) or cannot be reached from here; \
         raise `{setting}` of the sink if it only needs longer."
    ))
}

fn login_refused(label: &str) -> Error {
    Error::reconnect(format!("{label} refuses the user or password"))
        .hint("Correct `username` and `password` of the sink; look at the users with ACL LIST.")
}

fn opening_failed(endpoint: &Endpoint, error: RedisError) -> Error {
    let label = &endpoint.label;
    match error.code() {
        Some("NOAUTH" | "WRONGPASS") => return login_refused(label),
        Some("NOPERM") => {
            return Error::reconnect(format!("the user on {label} may not even select the database"))
                .hint("Grant it: ACL SETUSER <user> +@connection");
        }
        _ => {}
    }
    if error.is_timeout() {
        return silent(label, endpoint.connect_timeout, "connect_timeout");
    }
    match error.kind() {
        redis::ErrorKind::AuthenticationFailed => login_refused(label),
        redis::ErrorKind::MasterNameNotFoundBySentinel => {
            Error::reconnect(format!("the sentinels do not know the {label}"))
                .hint("Look at SENTINEL MASTERS on one of them.")
        }
        redis::ErrorKind::Io => Error::reconnect(format!("cannot connect to {label}")).detail(error.to_string()),
        _ if error.detail().is_some_and(|detail| detail.contains("DB index")) => {
            Error::reconnect(format!("the server has no such database as {label}"))
                .hint("Look at CONFIG GET databases.")
        }
        redis::ErrorKind::Parse => {
            Error::reconnect(format!("what answers at {label} does not speak the Redis protocol"))
                .hint("Check host and port; a server that expects TLS needs a URL that begins with rediss://")
        }
        // The text of other errors may quote what was sent.
        _ => Error::reconnect(format!("cannot connect to {label}"))
            .detail(format!("The client says: {}", error.category())),
    }
}

/// The outer error is ours (an unreadable certificate), the inner one the client's.
fn connect(endpoint: &Endpoint) -> Result<redis::RedisResult<Connection>> {
    // Both the client and the server's certificates need a default; another part of the process may have set it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let certificates = endpoint.tls.as_ref().map(certificates).transpose()?;
    Ok(match &endpoint.route {
        Route::Direct(address) => connect_directly(endpoint, address, certificates),
        Route::Sentinel { nodes, master, username, password } => {
            connect_by_sentinel(endpoint, nodes, master, (username, password), certificates)
        }
    })
}

fn connect_directly(
    endpoint: &Endpoint,
    address: &ConnectionAddr,
    certificates: Option<TlsCertificates>,
) -> redis::RedisResult<Connection> {
    let mut settings = RedisConnectionInfo::default().set_db(i64::from(endpoint.database));
    if let Some(username) = &endpoint.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &endpoint.password {
        settings = settings.set_password(password.reveal());
    }
    let nodelay = redis::io::tcp::TcpSettings::default().set_nodelay(true);
    let info = address.clone().into_connection_info()?.set_redis_settings(settings).set_tcp_settings(nodelay);
    let client = match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates)?,
        None => Client::open(info)?,
    };
    client.get_connection_with_timeout(endpoint.connect_timeout)
}

fn connect_by_sentinel(
    endpoint: &Endpoint,
    nodes: &[ConnectionAddr],
    master: &str,
    (username, password): (&Option<String>, &Option<Secret>),
    certificates: Option<TlsCertificates>,
) -> redis::RedisResult<Connection> {
    let mut builder = SentinelClientBuilder::new(nodes.iter().cloned(), master, SentinelServerType::Master)?
        .set_client_to_redis_db(i64::from(endpoint.database))
        .set_client_to_redis_tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true));
    if let Some(username) = &endpoint.username {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = &endpoint.password {
        builder = builder.set_client_to_redis_password(password.reveal());
    }
    if let Some(username) = username {
        builder = builder.set_client_to_sentinel_username(username);
    }
    if let Some(password) = password {
        builder = builder.set_client_to_sentinel_password(password.reveal());
    }
    if let Some(certificates) = certificates {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_certificates(certificates);
    }
    builder.build()?.get_client()?.get_connection_with_timeout(endpoint.connect_timeout)
}

fn certificates(tls: &Tls) -> Result<TlsCertificates> {
    let read = |path: &String| {
        std::fs::read(path).map_err(|error| {
            Error::reconnect(format!("cannot read the certificate file {path}"))
                .source(error)
                .hint("Correct `tls` of the sink.")
        })
    };
    let client_tls = match (&tls.cert_file, &tls.key_file) {
        (Some(cert), Some(key)) => Some(ClientTlsConfig { client_cert: read(cert)?, client_key: read(key)? }),
        _ => None,
    };
    Ok(TlsCertificates { client_tls, root_cert: tls.ca_file.as_ref().map(read).transpose()? })
}
