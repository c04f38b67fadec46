//! The settings of a Redis sink: how to reach the server. What is written is in `follow.rs`.
//!
//! Invariant: parsing does no I/O; a value of [`Settings`] that was checked can be connected with as it is. The doc
//! comments are the reference page and the console's form.

use crate::ConfigError;
use headwater_model::Secret;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

const SENTINEL_PORT: u16 = 26_379;
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// How to reach the Redis server.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `redis://[user:password@]host[:port][/database]`, `rediss://…` for TLS, or `unix:///path/to/socket`. Not with
    /// `sentinel`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub url: Option<Secret>,
    /// The ACL user; overrides the one in `url`.
    #[serde(default)]
    pub username: Option<String>,
    /// The password; overrides the one in `url`. Write it as `${env:NAME}` or `${file:PATH}`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub password: Option<Secret>,
    /// The number of the database; overrides the one in `url`. Default 0.
    #[serde(default)]
    pub database: Option<u32>,
    /// Asks Redis Sentinel for the server, in place of `url`.
    #[serde(default)]
    pub sentinel: Option<Sentinel>,
    /// Certificates for TLS; with `sentinel`, also that TLS is used.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// How long connecting may take. Default `5s`.
    #[serde(default)]
    pub connect_timeout: Option<Span>,
    /// How long one answer may take before the connection is made anew. Default `30s`.
    #[serde(default)]
    pub timeout: Option<Span>,
}

/// Where the sentinels are.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sentinel {
    /// The sentinels, each `host` or `host:port`; the port is 26379 unless said otherwise.
    pub nodes: Vec<String>,
    /// The name of the master, as the sentinels know it.
    pub master: String,
    /// The ACL user on the sentinels.
    #[serde(default)]
    pub username: Option<String>,
    /// The password on the sentinels.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub password: Option<Secret>,
}

/// Certificates in PEM form. Server certificates are always verified.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// File with the authorities to trust. Default: those of the system.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// File with our own certificate, when the server asks for one.
    #[serde(default)]
    pub cert_file: Option<String>,
    /// File with the key of `cert_file`.
    #[serde(default)]
    pub key_file: Option<String>,
}

/// A length of time: `500ms`, `30s`, `5m`, `1h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct Span(#[schemars(with = "String")] pub Duration);

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Span {
    fn parse(text: &str) -> Option<Span> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let ms = number.parse::<u64>().ok()?.checked_mul(*ms)?;
        (1..=i64::MAX as u64 / 1_000).contains(&ms).then_some(Span(Duration::from_millis(ms)))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Span::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is no length of time; write 500ms, 30s, 5m, 1h or 7d"))
        })
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}ms", self.0.as_millis()))
    }
}

/// Settings that were checked: ready to connect with.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub route: Route,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub database: u32,
    pub tls: Option<Tls>,
    pub connect_timeout: Duration,
    pub timeout: Duration,
    /// What people call it: `redis://cache:6379/0`, without user and password.
    pub label: String,
}

#[derive(Clone, Debug)]
pub(super) enum Route {
    /// One server.
    Direct(ConnectionAddr),
    /// Whichever server the sentinels name.
    Sentinel { nodes: Vec<ConnectionAddr>, master: String, username: Option<String>, password: Option<Secret> },
}

impl Settings {
    /// Checks what types alone cannot.
    pub(super) fn endpoint(self) -> Result<Endpoint, ConfigError> {
        let tls = self.tls;
        if let Some(Tls { cert_file, key_file, .. }) = &tls
            && cert_file.is_some() != key_file.is_some()
        {
            return Err(ConfigError::new("tls", "`cert_file` and `key_file` belong together; give both or none"));
        }
        let (route, login, label) = match (self.url, self.sentinel) {
            (Some(url), None) => direct(&url, tls.is_some())?,
            (None, Some(sentinel)) => {
                let label = format!("master `{}` of sentinels {}", sentinel.master, sentinel.nodes.join(", "));
                (sentinels(sentinel)?, Login::default(), label)
            }
            (Some(_), Some(_)) => return Err(ConfigError::new("url", "give either `url` or `sentinel`, not both")),
            (None, None) => {
                return Err(ConfigError::new("url", "is missing; write `url: redis://host:6379`, or `sentinel:`"));
            }
        };
        let database = self.database.unwrap_or(login.database);
        Ok(Endpoint {
            route,
            username: self.username.or(login.username),
            password: self.password.or(login.password),
            database,
            tls,
            connect_timeout: self.connect_timeout.map_or(CONNECT_TIMEOUT_DEFAULT, |span| span.0),
            timeout: self.timeout.map_or(TIMEOUT_DEFAULT, |span| span.0),
            label: format!("{label}, database {database}"),
        })
    }
}

#[derive(Default)]
struct Login {
    username: Option<String>,
    password: Option<Secret>,
    database: u32,
}

fn direct(url: &Secret, tls: bool) -> Result<(Route, Login, String), ConfigError> {
    // The client's own message may repeat the URL, which may hold a password.
    let wrong = |message: &str| ConfigError::new("url", message.to_owned());
    let info: ConnectionInfo = url.reveal().into_connection_info().map_err(|_| {
        wrong("is no Redis URL; write redis://[user:password@]host[:port][/database], rediss://… or unix:///path")
    })?;
    let label = match info.addr() {
        ConnectionAddr::Tcp(host, port) if tls => {
            return Err(wrong(&format!("`tls` needs a URL that begins with rediss://; write rediss://{host}:{port}")));
        }
        ConnectionAddr::TcpTls { insecure: true, .. } => {
            return Err(wrong("`#insecure` would accept any server; name its authority by `tls: { ca_file: … }`"));
        }
        ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}"),
        ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{host}:{port}"),
        ConnectionAddr::Unix(path) => format!("unix://{}", path.display()),
        _ => return Err(wrong("is of a form that is not supported")),
    };
    let redis = info.redis_settings();
    let login = Login {
        username: redis.username().map(str::to_owned),
        password: redis.password().map(Secret::new),
        database: u32::try_from(redis.db()).map_err(|_| wrong("names a database below 0"))?,
    };
    Ok((Route::Direct(info.addr().clone()), login, label))
}

fn sentinels(sentinel: Sentinel) -> Result<Route, ConfigError> {
    if sentinel.nodes.is_empty() {
        return Err(ConfigError::new("sentinel.nodes", "is empty; name at least one sentinel"));
    }
    let nodes = sentinel.nodes.iter().enumerate().map(|(i, node)| {
        let (host, port) = match node.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, port.parse().ok()),
            _ => (node.as_str(), Some(SENTINEL_PORT)),
        };
        let wrong = || {
            ConfigError::new(format!("sentinel.nodes[{i}]"), format!("`{node}` is not of the form host or host:port"))
        };
        let port = port.filter(|_| !host.is_empty()).ok_or_else(wrong)?;
        Ok(ConnectionAddr::Tcp(host.to_owned(), port))
    });
    let nodes = nodes.collect::<Result<_, ConfigError>>()?;
    Ok(Route::Sentinel { nodes, master: sentinel.master, username: sentinel.username, password: sentinel.password })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn endpoint(settings: serde_json::Value) -> Result<Endpoint, String> {
        let settings: Settings = serde_json::from_value(settings).map_err(|error| error.to_string())?;
        settings.endpoint().map_err(|error| error.to_string())
    }

    #[test]
    fn urls_and_overrides() {
        let endpoint = endpoint(json!({"url": "redis://u:p@h:1/2", "password": "q", "timeout": "2m"})).unwrap();
        assert_eq!((endpoint.username.as_deref(), endpoint.database), (Some("u"), 2));
        assert_eq!(endpoint.password.as_ref().map(Secret::reveal), Some("q"));
        assert_eq!((endpoint.timeout, endpoint.label.as_str()), (Duration::from_secs(120), "redis://h:1, database 2"));
        assert!(!format!("{endpoint:?}").contains("\"q\""), "a password shows");
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_shows() {
        for (settings, part) in [
            (json!({}), "url: is missing"),
            (json!({"url": "http://:secret@x"}), "is no Redis URL"),
            (json!({"url": "rediss://:secret@x/#insecure"}), "would accept any server"),
            (json!({"url": "redis://x", "tls": {}}), "rediss://x:6379"),
            (json!({"url": "rediss://x", "tls": {"cert_file": "c"}}), "belong together"),
            (json!({"url": "redis://x", "sentinel": {"nodes": ["a"], "master": "m"}}), "not both"),
            (json!({"sentinel": {"nodes": [], "master": "m"}}), "sentinel.nodes: is empty"),
            (json!({"sentinel": {"nodes": ["a:b"], "master": "m"}}), "host:port"),
            (json!({"url": "redis://x", "timeout": "1y"}), "no length of time"),
            (json!({"url": "redis://x", "pasword": "secret"}), "unknown field `pasword`"),
        ] {
            let message = endpoint(settings).unwrap_err();
            assert!(message.contains(part) && !message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn spans() {
        for (text, ms) in [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("7d", 604_800_000)] {
            assert_eq!(Span::parse(text), Some(Span(Duration::from_millis(ms))));
        }
        for text in ["", "5", "s", "-1s", "1.5h", "0s", "99999999999999999999d", "9999999999999999d"] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }
}
