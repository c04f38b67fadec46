//! The configuration of a `mysql:` or `mariadb:` source: one declaration that feeds parsing, help and the reference.
//!
//! Invariant: [`Config::validate`] does no I/O and answers one [`Options`] that nothing downstream checks again.

use super::snapshot::Chosen;
use super::wire;
use crate::filter::{Choice, Filter};
use crate::heartbeat::{Heartbeat, HeartbeatQuery};
pub use crate::settings::ConfigError;
use crate::settings::{self, duration, within};
use headwater_model::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The shortest heartbeat that is asked of a server.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);

/// The longest heartbeat: a dead connection is noticed after a few of them.
const HEARTBEAT_MAX: Duration = Duration::from_secs(300);

/// The server's own databases.
pub const SYSTEM_DATABASES: [&str; 4] = ["mysql", "sys", "information_schema", "performance_schema"];

/// Reads the binary log of a MySQL (8.0 to 9.x) or MariaDB (10.5 to 11.x) server.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the server is and who we are: `mysql://user:password@host:3306`. Several hosts, separated by commas, are
    /// copies of one another: the next one is tried when one is away. Parameters such as `?ssl-mode=required` may follow.
    #[schemars(with = "String")]
    pub url: Secret,

    /// The databases to capture; `*` and `?` are wildcards, and `/…/` is a regular expression. All when left out.
    #[serde(default)]
    pub databases: Vec<String>,

    /// Databases to leave out although `databases` names them.
    #[serde(default)]
    pub exclude_databases: Vec<String>,

    /// The tables to capture, as `database.table`; `*` and `?` are wildcards, and `/…/` is a regular expression that fits
    /// the whole name. All tables when left out.
    #[serde(default)]
    pub tables: Vec<String>,

    /// Tables to leave out although `tables` names them.
    #[serde(default)]
    pub exclude_tables: Vec<String>,

    /// The columns to capture, as `database.table.column`. Only the tables named here are narrowed.
    #[serde(default)]
    pub columns: Vec<String>,

    /// Columns to leave out, as `database.table.column`.
    #[serde(default)]
    pub exclude_columns: Vec<String>,

    /// Whether the rows that are there already are read too.
    #[serde(default)]
    pub snapshot: SnapshotMode,

    /// The tables of which a snapshot reads the rows that are there, of those that are captured; patterns as in `tables`.
    /// All of them when left out.
    #[serde(default)]
    pub snapshot_tables: Vec<String>,

    /// What a snapshot selects in place of a whole table: a query for each `database.table`. Its columns are found by their
    /// names; those of the table that it does not name are NULL. Rows that it leaves out are not taken back.
    #[serde(default)]
    pub snapshot_queries: BTreeMap<String, String>,

    /// Rows of one snapshot chunk: what is read again at most, by each worker, after a crash.
    #[serde(default = "settings::chunk_rows_default")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub chunk_rows: u32,

    /// Connections that read a snapshot side by side.
    #[serde(default = "settings::snapshot_workers_default")]
    #[schemars(range(min = 1, max = 64))]
    pub snapshot_workers: u16,

    /// Whether every row that a further snapshot reads is told as one that was read, as Debezium does; otherwise only what
    /// differs is told.
    #[serde(default)]
    pub as_debezium: bool,

    /// The number under which we ask for the log, unique among the server's replicas. Derived from the source's name, the
    /// server's address and this machine's name when left out.
    #[serde(default)]
    pub server_id: Option<u32>,

    /// Encryption; the same can be said in the URL.
    #[serde(default)]
    pub tls: Option<Tls>,

    /// How often an idle server says that it is alive, such as `1s`; several in a row that stay away end the connection.
    #[serde(default = "heartbeat_default")]
    pub heartbeat: String,

    /// A statement that is run at an interval, so that the database logs something however idle it is: for consumers that
    /// take silence for a fault. Nothing of ours needs it.
    #[serde(default)]
    pub heartbeat_query: Option<HeartbeatQuery>,

    /// How long connecting may take, such as `10s`.
    #[serde(default = "settings::connect_timeout_default")]
    pub connect_timeout: String,

    /// How long a query may stay silent, such as `60s`.
    #[serde(default = "settings::query_timeout_default")]
    pub query_timeout: String,

    /// Whether the text of each statement is kept with its changes, where the server logs it
    /// (`binlog_rows_query_log_events`, MariaDB's `binlog_annotate_row_events`).
    #[serde(default)]
    pub statements: bool,

    /// Bytes of one transaction that are kept in memory; what is larger goes to a file as it arrives.
    #[serde(default = "settings::transaction_bytes_max_default")]
    #[schemars(range(min = 65_536))]
    pub transaction_bytes_max: usize,
}

/// Whether a snapshot is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotMode {
    /// Once, at the first start, and of tables that are added to the configuration later.
    #[default]
    Initial,
    /// Never: only what changes from the first start on.
    Never,
    /// As `initial`, and again whenever the server no longer has the log that is missing here.
    WhenNeeded,
    /// At every start.
    Always,
    /// Once, as `initial`, and nothing that changes after it.
    InitialOnly,
}

/// Encryption of the connection.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// How much is asked of the server.
    #[serde(default)]
    pub mode: Option<TlsMode>,
    /// A PEM file of the authorities to trust; the system's when left out.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// A PEM file with our own certificate.
    #[serde(default)]
    pub cert_file: Option<PathBuf>,
    /// A PEM file with that certificate's private key.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// The name that the server's certificate must carry, when it is not the host's.
    #[serde(default)]
    pub server_name: Option<String>,
}

/// How much encryption is asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// Never encrypt.
    Disabled,
    /// Encrypt when the server can; its certificate is not checked. The default.
    Preferred,
    /// Encrypt or fail; the certificate is not checked.
    Required,
    /// The certificate must also be signed by a trusted authority.
    VerifyCa,
    /// The certificate must also carry the host's name.
    VerifyIdentity,
}

/// A validated configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// The source's name.
    pub name: String,
    /// How to reach the servers.
    pub connection: wire::Options,
    /// What is captured.
    pub filter: Filter,
    /// Whether rows that are there already are read.
    pub snapshot: SnapshotMode,
    /// Which tables it reads, and how.
    pub snapshot_chosen: Chosen,
    /// Rows of one snapshot chunk.
    pub chunk_rows: u32,
    /// Connections that read a snapshot.
    pub snapshot_workers: u16,
    /// Whether rows that are read again are told as Debezium does.
    pub as_debezium: bool,
    /// Our number among the server's replicas.
    pub server_id: u32,
    /// How often an idle server says that it is alive.
    pub heartbeat: Duration,
    /// What is run so that an idle server logs something.
    pub heartbeat_query: Option<Heartbeat>,
    /// Whether the texts of statements are kept.
    pub statements: bool,
    /// Bytes of one transaction that are kept in memory.
    pub transaction_bytes_max: usize,
}

fn heartbeat_default() -> String {
    "1s".to_owned()
}

impl Config {
    /// Reads a configuration from the value under `mysql:` or `mariadb:`.
    pub fn from_value(value: serde_json::Value) -> Result<Self, ConfigError> {
        settings::read(value)
    }

    /// Checks every value and turns the configuration into [`Options`]. `name` is the source's name.
    pub fn validate(&self, name: &str) -> Result<Options, ConfigError> {
        let mut connection =
            wire::Options::from_url(self.url.reveal()).map_err(|error| ConfigError::Url(error.to_string()))?;
        if connection.user.is_empty() {
            return Err(ConfigError::Url("it names no user; write mysql://user:password@host".to_owned()));
        }
        if let Some(tls) = &self.tls {
            tls.apply(&mut connection.tls);
        }
        connection.connect_timeout = duration("connect_timeout", &self.connect_timeout)?;
        connection.read_timeout = Some(duration("query_timeout", &self.query_timeout)?);
        // The default database would only change what an unqualified name in our own statements means.
        connection.database = None;
        let heartbeat = duration("heartbeat", &self.heartbeat)?;
        within("heartbeat", heartbeat, HEARTBEAT_MIN, HEARTBEAT_MAX, "it lies between 100ms and 5m")?;
        let heartbeat_query = self.heartbeat_query.as_ref();
        let heartbeat_query =
            heartbeat_query.map(|query| query.check(|text| duration("heartbeat_query.interval", text)));
        settings::limits(self.chunk_rows, self.snapshot_workers, self.transaction_bytes_max)?;
        if let Some(id) = self.server_id {
            within("server_id", id, 1, u32::MAX, "it lies between 1 and 4294967295")?;
        }
        let server_id = self.server_id.unwrap_or_else(|| derived_server_id(name, &connection));
        Ok(Options {
            name: name.to_owned(),
            server_id,
            connection,
            filter: Filter::new(self.choice(), &SYSTEM_DATABASES)?,
            snapshot: self.snapshot,
            snapshot_chosen: self.snapshot_chosen()?,
            chunk_rows: self.chunk_rows,
            snapshot_workers: self.snapshot_workers,
            as_debezium: self.as_debezium,
            heartbeat,
            heartbeat_query: heartbeat_query.transpose()?,
            statements: self.statements,
            transaction_bytes_max: self.transaction_bytes_max,
        })
    }
}

impl Config {
    fn snapshot_chosen(&self) -> Result<Chosen, ConfigError> {
        let tables = Choice { tables: &self.snapshot_tables, ..Choice::default() };
        Ok(Chosen {
            unread: self.snapshot != SnapshotMode::Never,
            tables: Filter::new(tables, &SYSTEM_DATABASES).map_err(|error| error.under("snapshot_tables"))?,
            queries: self.snapshot_queries.clone(),
        })
    }

    fn choice(&self) -> Choice<'_> {
        Choice {
            databases: &self.databases,
            exclude_databases: &self.exclude_databases,
            tables: &self.tables,
            exclude_tables: &self.exclude_tables,
            columns: &self.columns,
            exclude_columns: &self.exclude_columns,
        }
    }
}

impl Tls {
    fn apply(&self, options: &mut wire::TlsOptions) {
        let mode = self.mode.map(|mode| match mode {
            TlsMode::Disabled => wire::TlsMode::Disabled,
            TlsMode::Preferred => wire::TlsMode::Preferred,
            TlsMode::Required => wire::TlsMode::Required,
            TlsMode::VerifyCa => wire::TlsMode::VerifyCa,
            TlsMode::VerifyIdentity => wire::TlsMode::VerifyIdentity,
        });
        options.replace(mode, [&self.ca_file, &self.cert_file, &self.key_file], &self.server_name);
    }
}

/// A number that stays the same over restarts and differs between sources, machines and servers. Its high bit is set, away
/// from the numbers that people give to servers.
fn derived_server_id(name: &str, connection: &wire::Options) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in [name, &connection.user, &machine_name()] {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    for host in &connection.hosts {
        hasher.update(host.to_string().as_bytes());
        hasher.update(&[0]);
    }
    hasher.finalize() | 1 << 31
}

fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn options(value: Value) -> Result<Options, ConfigError> {
        Config::from_value(value)?.validate("shop")
    }

    #[test]
    fn a_short_configuration_is_enough() {
        let options = options(json!({ "url": "mysql://cdc:pw@db1:3306,db2", "tables": ["shop.*"] })).unwrap();
        assert_eq!(options.connection.hosts.len(), 2);
        assert_eq!(options.snapshot, SnapshotMode::Initial);
        assert_eq!(options.heartbeat, Duration::from_secs(1));
        assert!(options.filter.captures("shop", "orders") && !options.filter.captures("other", "orders"));
        assert!(options.server_id >= 1 << 31);
    }

    #[test]
    fn every_key_is_taken() {
        let options = options(json!({
            "url": "mysql://cdc:pw@db1/x?ssl-mode=disabled", "tables": ["shop.*"], "exclude_tables": ["shop.tmp_*"],
            "columns": ["shop.users.id"], "exclude_columns": ["*.*.password"], "snapshot": "when_needed",
            "chunk_rows": 500, "snapshot_workers": 4, "server_id": 77, "tls": { "mode": "verify_ca", "ca_file": "/ca.pem" },
            "heartbeat": "250ms", "connect_timeout": "3s", "query_timeout": "2m", "statements": true, "transaction_bytes_max": 1_000_000,
            "snapshot_tables": ["shop.orders"], "snapshot_queries": { "shop.orders": "SELECT * FROM shop.orders WHERE id > 7;" },
            "heartbeat_query": { "statement": "UPDATE beat SET n = 1", "interval": "10s" },
        }))
        .unwrap();
        assert_eq!(options.server_id, 77);
        assert_eq!(options.snapshot, SnapshotMode::WhenNeeded);
        assert_eq!(options.connection.tls.mode, wire::TlsMode::VerifyCa);
        assert_eq!(options.connection.tls.ca, Some("/ca.pem".into()));
        assert_eq!(options.connection.connect_timeout, Duration::from_secs(3));
        assert_eq!(options.connection.read_timeout, Some(Duration::from_secs(120)));
        assert_eq!((options.chunk_rows, options.snapshot_workers), (500, 4));
        assert_eq!(options.transaction_bytes_max, 1_000_000);
        let chosen = &options.snapshot_chosen;
        let table = |name| headwater_model::Schema::new(1, "shop", name, Vec::new(), Vec::new());
        assert!(chosen.reads(&table("orders")) && !chosen.reads(&table("items")));
        assert_eq!(chosen.query(&table("orders")), Some("SELECT * FROM shop.orders WHERE id > 7"));
        assert_eq!(options.heartbeat_query.unwrap().interval, Duration::from_secs(10));
    }

    #[test]
    fn what_is_wrong_is_named_without_the_password() {
        for (value, expected) in [
            (json!({}), "url"),
            (json!({ "url": "mysql://u:secret@h", "colour": 1 }), "colour"),
            (json!({ "url": "redis://u:secret@h" }), "mysql://"),
            (json!({ "url": "mysql://h" }), "user"),
            (json!({ "url": "mysql://u:secret@h", "tables": ["orders"] }), "database.table"),
            (json!({ "url": "mysql://u:secret@h", "columns": ["a.b"] }), "database.table.column"),
            (json!({ "url": "mysql://u:secret@h", "snapshot": "sometimes" }), "when_needed"),
            (json!({ "url": "mysql://u:secret@h", "heartbeat": "1" }), "heartbeat"),
            (json!({ "url": "mysql://u:secret@h", "heartbeat": "1h" }), "heartbeat"),
            (json!({ "url": "mysql://u:secret@h", "chunk_rows": 0 }), "chunk_rows"),
            (json!({ "url": "mysql://u:secret@h", "server_id": 0 }), "server_id"),
            (json!({ "url": "mysql://u:secret@h", "tls": { "mode": "maybe" } }), "verify_identity"),
            (json!({ "url": "mysql://u:secret@h", "transaction_bytes_max": 1 }), "transaction_bytes_max"),
        ] {
            let error = options(value.clone()).expect_err(&value.to_string()).to_string();
            assert!(error.contains(expected) && !error.contains("secret"), "{value}: {error}");
        }
    }

    #[test]
    fn the_derived_server_id_depends_on_the_source_and_stays() {
        let config = Config::from_value(json!({ "url": "mysql://u:pw@h" })).unwrap();
        let id = |name: &str| config.validate(name).unwrap().server_id;
        assert_eq!(id("a"), id("a"));
        assert_ne!(id("a"), id("b"));
    }
}
