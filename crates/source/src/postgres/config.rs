//! The configuration of a `postgres:` source: one declaration that feeds parsing, help and the reference.
//!
//! Invariant: [`Config::validate`] does no I/O and answers one [`Options`] that nothing downstream checks again.

use super::identity::Wanted;
use super::wire;
use crate::filter::{Choice, Filter, Names};
use crate::heartbeat::{Heartbeat, HeartbeatQuery};
pub use crate::settings::ConfigError;
use crate::settings::{self, duration, within};
use headwater_model::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Schemas that are the server's own.
pub(super) const SYSTEM_SCHEMAS: &[&str] = &["pg_catalog", "information_schema", "pg_toast"];

/// Bytes of a slot's name, and of any other: PostgreSQL's NAMEDATALEN less one.
const NAME_BYTES_MAX: usize = 63;

/// How often the server hears from us: the shortest and the longest.
const STATUS_INTERVAL_MIN: Duration = Duration::from_millis(100);
const STATUS_INTERVAL_MAX: Duration = Duration::from_secs(30);

/// Reads the write-ahead log of a PostgreSQL server (12 to 18) through a replication slot.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the server is, who we are and which database is read: `postgres://user:password@host:5432/database`. Several
    /// hosts, separated by commas, are tried in turn; libpq's parameters such as `?sslmode=verify-full` or
    /// `&target_session_attrs=primary` may follow. `?host=/run/postgresql` is a Unix socket.
    #[schemars(with = "String")]
    pub url: Secret,

    /// The schemas to capture; `*` and `?` are wildcards. All of them when left out.
    #[serde(default)]
    pub schemas: Vec<String>,

    /// Schemas to leave out.
    #[serde(default)]
    pub exclude_schemas: Vec<String>,

    /// The tables to capture, as `schema.table`; `*` and `?` are wildcards, and what stands between slashes is a regular
    /// expression. All tables when left out.
    #[serde(default)]
    pub tables: Vec<String>,

    /// Tables to leave out although `tables` names them.
    #[serde(default)]
    pub exclude_tables: Vec<String>,

    /// The columns to capture, as `schema.table.column`. Only the tables named here are narrowed.
    #[serde(default)]
    pub columns: Vec<String>,

    /// Columns to leave out, as `schema.table.column`.
    #[serde(default)]
    pub exclude_columns: Vec<String>,

    /// Whether the rows that are there already are read too.
    #[serde(default)]
    pub snapshot: SnapshotMode,

    /// Which tables a snapshot reads.
    #[serde(default)]
    pub snapshot_scope: SnapshotScope,

    /// The tables of which a snapshot reads the rows that are there, of those that are captured; patterns as in `tables`.
    /// All of them when left out.
    #[serde(default)]
    pub snapshot_tables: Vec<String>,

    /// What a snapshot selects in place of a whole table: a query for each `schema.table`. Its columns are found by their
    /// names; those of the table that it does not name are NULL.
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

    /// Whether what the server and Debezium tell differently is told as Debezium does: the labels of an enumeration as they
    /// were when the source connected, and every row that a further snapshot reads as one that was read.
    #[serde(default)]
    pub as_debezium: bool,

    /// The replication slot; it is created when it is not there. `headwater_` and the source's name when left out.
    #[serde(default)]
    pub slot: Option<String>,

    /// Whether a slot that is created is kept on standbys too, so that the source can go on after a failover
    /// (PostgreSQL 17 and later).
    #[serde(default)]
    pub slot_failover: bool,

    /// The publication that says what the server sends. `headwater_` and the source's name when left out.
    #[serde(default)]
    pub publication: Option<String>,

    /// What is done when the publication is not there.
    #[serde(default)]
    pub publication_create: PublicationMode,

    /// Whether a publication that is created shows the changes of partitions as changes of the partitioned table.
    #[serde(default)]
    pub publish_via_partition_root: bool,

    /// Whether messages that were written into the log by `pg_logical_emit_message` are kept (PostgreSQL 14 and later).
    #[serde(default = "yes")]
    pub messages: bool,

    /// The prefixes of messages to keep; `*` and `?` are wildcards, and what stands between slashes is a regular expression.
    /// All of them when left out.
    #[serde(default)]
    pub message_prefixes: Vec<String>,

    /// Prefixes of messages to leave out.
    #[serde(default)]
    pub exclude_message_prefixes: Vec<String>,

    /// Replica identities that tables are given at the start, where they have another; it takes their owner.
    #[serde(default)]
    pub replica_identities: Vec<ReplicaIdentity>,

    /// Whether large transactions are received while they are still in progress (PostgreSQL 14 and later). They are kept in a
    /// file beside the journal until they commit.
    #[serde(default = "yes")]
    pub in_progress: bool,

    /// Encryption; the same can be said in the URL.
    #[serde(default)]
    pub tls: Option<Tls>,

    /// A statement that is run at an interval, so that the database logs something however idle it is: for consumers that
    /// take silence for a fault. Nothing of ours needs it.
    #[serde(default)]
    pub heartbeat_query: Option<HeartbeatQuery>,

    /// How often the server is told what is safe here and need not be kept any longer, such as `1s`.
    #[serde(default = "status_interval_default")]
    pub status_interval: String,

    /// How long connecting may take, such as `10s`.
    #[serde(default = "settings::connect_timeout_default")]
    pub connect_timeout: String,

    /// How long a query may stay silent, such as `60s`.
    #[serde(default = "settings::query_timeout_default")]
    pub query_timeout: String,

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
    /// As `initial`, and again whenever the slot no longer leads on from what is held here.
    WhenNeeded,
    /// At every start.
    Always,
    /// Once, as `initial`, and nothing that changes after it; neither a slot nor a publication is made.
    InitialOnly,
}

/// Which tables a snapshot reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotScope {
    /// Those whose changes are published: each row once.
    #[default]
    Published,
    /// Every table by itself, as Debezium does: a row of a partition is read for the partition and for each table above it,
    /// and unlogged tables are read although their changes never come.
    Every,
}

/// What is done when the publication is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PublicationMode {
    /// It is created for all tables, which takes a superuser.
    #[default]
    AllTables,
    /// It is created for the tables that are captured, which takes their owner; tables that are captured later are added at
    /// the next start.
    Filtered,
    /// It is created without a table; tables are added by hand.
    NoTables,
    /// That is an error.
    Disabled,
}

/// The replica identity of some tables.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplicaIdentity {
    /// Which tables; a pattern as in `tables`.
    pub tables: String,
    /// `default`, `full`, `nothing`, or `index` and the name of an index.
    pub identity: String,
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

/// How much encryption is asked of the server; libpq's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// Never encrypt.
    Disable,
    /// Encrypt when the server can; its certificate is not checked. The default.
    Prefer,
    /// Encrypt or fail; the certificate is not checked.
    Require,
    /// The certificate must also be signed by a trusted authority.
    VerifyCa,
    /// The certificate must also carry the host's name.
    VerifyFull,
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
    /// Of which tables.
    pub snapshot_scope: SnapshotScope,
    /// Of these alone.
    pub snapshot_tables: Filter,
    /// What is selected in place of a whole table, by `schema.table`.
    pub snapshot_queries: BTreeMap<String, String>,
    /// Rows of one snapshot chunk.
    pub chunk_rows: u32,
    /// Connections that read a snapshot.
    pub snapshot_workers: u16,
    /// Whether enumerations and rows that are read again are told as Debezium does.
    pub as_debezium: bool,
    /// The slot's name.
    pub slot: String,
    /// Whether it is created as one that survives a failover.
    pub slot_failover: bool,
    /// The publication's name.
    pub publication: String,
    /// What is done when it is not there.
    pub publication_create: PublicationMode,
    /// How it is created.
    pub publish_via_partition_root: bool,
    /// Whether messages are kept.
    pub messages: bool,
    /// Which of them.
    pub message_prefixes: Names,
    /// Whether transactions are received before they have ended.
    pub in_progress: bool,
    /// Replica identities that tables are given.
    pub replica_identities: Vec<Wanted>,
    /// How often the server hears from us.
    pub status_interval: Duration,
    /// What is run so that an idle database logs something.
    pub heartbeat_query: Option<Heartbeat>,
    /// Bytes of one transaction that are kept in memory.
    pub transaction_bytes_max: usize,
}

fn yes() -> bool {
    true
}

fn status_interval_default() -> String {
    "1s".to_owned()
}

impl Config {
    /// Reads a configuration from the value under `postgres:`.
    pub fn from_value(value: serde_json::Value) -> Result<Self, ConfigError> {
        settings::read(value)
    }

    /// Checks every value and turns the configuration into [`Options`]. `name` is the source's name.
    pub fn validate(&self, name: &str) -> Result<Options, ConfigError> {
        let mut connection =
            wire::Options::from_url(self.url.reveal()).map_err(|error| ConfigError::Url(error.to_string()))?;
        if connection.user.is_empty() {
            return Err(ConfigError::Url("it names no user; write postgres://user:password@host/database".to_owned()));
        }
        if let Some(tls) = &self.tls {
            tls.apply(&mut connection.tls);
        }
        connection.connect_timeout = duration("connect_timeout", &self.connect_timeout)?;
        connection.read_timeout = Some(duration("query_timeout", &self.query_timeout)?);
        let status_interval = duration("status_interval", &self.status_interval)?;
        let allowed = "it lies between 100ms and 30s";
        within("status_interval", status_interval, STATUS_INTERVAL_MIN, STATUS_INTERVAL_MAX, allowed)?;
        settings::limits(self.chunk_rows, self.snapshot_workers, self.transaction_bytes_max)?;
        let heartbeat_query = self.heartbeat_query.as_ref();
        let heartbeat_query =
            heartbeat_query.map(|query| query.check(|text| duration("heartbeat_query.interval", text)));
        let choice = Choice {
            databases: &self.schemas,
            exclude_databases: &self.exclude_schemas,
            tables: &self.tables,
            exclude_tables: &self.exclude_tables,
            columns: &self.columns,
            exclude_columns: &self.exclude_columns,
        };
        let snapshot_tables = Choice { tables: &self.snapshot_tables, ..Choice::default() };
        Ok(Options {
            name: name.to_owned(),
            connection,
            filter: Filter::new(choice, SYSTEM_SCHEMAS)?,
            snapshot: self.snapshot,
            snapshot_scope: self.snapshot_scope,
            snapshot_tables: Filter::new(snapshot_tables, SYSTEM_SCHEMAS)
                .map_err(|error| error.under("snapshot_tables"))?,
            snapshot_queries: self.snapshot_queries.clone(),
            chunk_rows: self.chunk_rows,
            snapshot_workers: self.snapshot_workers,
            as_debezium: self.as_debezium,
            slot: slot_name(self.slot.as_deref(), name)?,
            slot_failover: self.slot_failover,
            publication: publication_name(self.publication.as_deref(), name)?,
            publication_create: self.publication_create,
            publish_via_partition_root: self.publish_via_partition_root,
            messages: self.messages,
            in_progress: self.in_progress,
            message_prefixes: Names::new(
                ("message_prefixes", &self.message_prefixes),
                ("exclude_message_prefixes", &self.exclude_message_prefixes),
            )?,
            replica_identities: self.replica_identities.iter().map(Wanted::read).collect::<Result<_, _>>()?,
            status_interval,
            heartbeat_query: heartbeat_query.transpose()?,
            transaction_bytes_max: self.transaction_bytes_max,
        })
    }
}

/// The slot's name, checked as the server would; the source's own name is made to fit.
fn slot_name(chosen: Option<&str>, source: &str) -> Result<String, ConfigError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let Some(name) = chosen else { return Ok(derived_name(source)) };
    match !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(fits) {
        true => Ok(name.to_owned()),
        false => Err(ConfigError::Value {
            key: "slot",
            seen: format!("{name:?}"),
            allowed: "it consists of 1 to 63 lower-case letters, digits and underscores",
        }),
    }
}

fn publication_name(chosen: Option<&str>, source: &str) -> Result<String, ConfigError> {
    let Some(name) = chosen else { return Ok(derived_name(source)) };
    match !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains('\0') {
        true => Ok(name.to_owned()),
        false => {
            Err(ConfigError::Value { key: "publication", seen: format!("{name:?}"), allowed: "it has 1 to 63 bytes" })
        }
    }
}

fn derived_name(source: &str) -> String {
    let fit = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() => c,
        _ => '_',
    };
    let name = "headwater_".chars().chain(source.chars().map(fit));
    name.take(NAME_BYTES_MAX).collect()
}

impl Tls {
    fn apply(&self, options: &mut wire::TlsOptions) {
        let mode = self.mode.map(|mode| match mode {
            TlsMode::Disable => wire::TlsMode::Disabled,
            TlsMode::Prefer => wire::TlsMode::Preferred,
            TlsMode::Require => wire::TlsMode::Required,
            TlsMode::VerifyCa => wire::TlsMode::VerifyCa,
            TlsMode::VerifyFull => wire::TlsMode::VerifyIdentity,
        });
        options.replace(mode, [&self.ca_file, &self.cert_file, &self.key_file], &self.server_name);
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
