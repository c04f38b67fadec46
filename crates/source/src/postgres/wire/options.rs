//! How to reach a server and as whom. Pure data; nothing here opens a file or a socket.
//!
//! Invariant: the password leaves its [`Secret`] only inside the authentication exchange. Start at [`Options`].

use std::time::Duration;

use headwater_model::Secret;

use crate::net::{Address, TlsOptions};

/// The port where none is named.
pub(super) const PORT_DEFAULT: u16 = 5432;

/// Everything a connection needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// The servers, in order of preference; [`Connection::connect`](super::Connection::connect) takes the index of one.
    pub hosts: Vec<Address>,
    /// The role's name.
    pub user: String,
    /// Its password; empty for none.
    pub password: Secret,
    /// The database; the role's name where absent.
    pub database: Option<String>,
    /// Encryption and who is trusted.
    pub tls: TlsOptions,
    /// Whether the login is tied to the TLS connection that it comes over.
    pub channel_binding: ChannelBinding,
    /// Which of several servers will do.
    pub target: Target,
    /// What the connection is for.
    pub role: Role,
    /// Limit of connecting, and of each silence during the startup.
    pub connect_timeout: Duration,
    /// Limit of each silence after that, for reads and writes; `None` waits for ever.
    pub read_timeout: Option<Duration>,
    /// After how long a silence TCP probes whether the peer is still there.
    pub keepalive: Duration,
    /// The largest message that is accepted.
    pub message_bytes_max: usize,
    /// The most that [`Connection::query`](super::Connection::query) collects; a larger result is streamed or refused.
    pub result_bytes_max: usize,
    /// What `pg_stat_activity` and `pg_stat_replication` show as `application_name`.
    pub application_name: String,
    /// Further settings of the session, by name.
    pub settings: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hosts: vec![Address::Tcp { host: "127.0.0.1".into(), port: PORT_DEFAULT }],
            user: String::new(),
            password: Secret::default(),
            database: None,
            tls: TlsOptions::default(),
            channel_binding: ChannelBinding::default(),
            target: Target::default(),
            role: Role::default(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Some(Duration::from_secs(60)),
            keepalive: Duration::from_secs(30),
            message_bytes_max: 64 * 1024 * 1024,
            result_bytes_max: 64 * 1024 * 1024,
            application_name: "headwater".into(),
            settings: Vec::new(),
        }
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// Statements.
    #[default]
    Session,
    /// Logical replication; simple statements are allowed too.
    Replication,
}

/// libpq's `channel_binding`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where server and TLS allow it.
    #[default]
    Prefer,
    /// Or no login at all.
    Require,
}

/// libpq's `target_session_attrs`: which of several servers will do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Target {
    /// The first that answers.
    #[default]
    Any,
    /// One that takes writes by default.
    ReadWrite,
    /// One that does not.
    ReadOnly,
    /// One that is not in recovery.
    Primary,
    /// One that is in recovery.
    Standby,
    /// A standby, or whatever answers when there is none.
    PreferStandby,
}

impl Target {
    /// As it is written in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Target::Any => "any",
            Target::ReadWrite => "read-write",
            Target::ReadOnly => "read-only",
            Target::Primary => "primary",
            Target::Standby => "standby",
            Target::PreferStandby => "prefer-standby",
        }
    }

    /// Reads what [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let all =
            [Target::Any, Target::ReadWrite, Target::ReadOnly, Target::Primary, Target::Standby, Target::PreferStandby];
        all.into_iter().find(|target| target.as_str() == text)
    }

    /// Whether a server in this state will do.
    pub fn accepts(self, in_recovery: bool, read_only: bool) -> bool {
        match self {
            Target::Any | Target::PreferStandby => true,
            Target::ReadWrite => !in_recovery && !read_only,
            Target::ReadOnly => in_recovery || read_only,
            Target::Primary => !in_recovery,
            Target::Standby => in_recovery,
        }
    }
}
