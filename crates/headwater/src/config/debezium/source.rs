//! The properties that say what is read: connection, choice of tables, snapshot, slot and publication.
//!
//! Invariant: what is answered is what stands under `mysql:`, `mariadb:` or `postgres:`, so one declaration checks both forms
//! of a source. Start at [`settings`].

use super::patterns;
use super::properties::Properties;
use super::{Further, KeyColumns};
use headwater_format::debezium::options::Connector;
use serde_json::{Map, Value, json};

/// The slot and the publication that Debezium makes when none is named.
const SLOT: &str = "debezium";
const PUBLICATION: &str = "dbz_publication";
/// The longest time that a property may say, in milliseconds.
const TIME_MS_MAX: u64 = 86_400_000;
/// How often a slot hears of its source, at the most and at the least.
const STATUS_MS_MIN: u64 = 100;
const STATUS_MS_MAX: u64 = 30_000;
/// Readers of a snapshot at most.
const SNAPSHOT_THREADS_MAX: u64 = 64;
/// Partitions of a topic at most.
const PARTITIONS_MAX: u64 = 10_000;
/// How often an idle MySQL or MariaDB is heard of unless its source says otherwise, and the most often that it may say.
const SERVER_HEARTBEAT_MS: u64 = 1_000;
const SERVER_HEARTBEAT_MIN_MS: u64 = 100;

/// What a snapshot mode comes to: the source's own word, and whether the source ends with the snapshot.
#[derive(Clone, Copy)]
struct Snapshot {
    mode: &'static str,
    only: bool,
}

/// The source's settings.
pub(super) fn settings(
    properties: &mut Properties,
    connector: Connector,
    database: &str,
    further: &mut Further,
) -> Value {
    let mut settings = Map::new();
    let postgres = connector == Connector::Postgresql;
    settings.insert("url".into(), json!(url(properties, connector, database)));
    if let Some(tls) = tls(properties, connector) {
        settings.insert("tls".into(), tls);
    }
    if let Some(ms) = properties.number("connect.timeout.ms", 1, TIME_MS_MAX).filter(|_| !postgres) {
        settings.insert("connect_timeout".into(), json!(format!("{ms}ms")));
    }
    filter(properties, postgres, &mut settings);
    settings.insert("snapshot".into(), json!(snapshot(properties, postgres, further)));
    snapshot_rows(properties, postgres, &mut settings);
    // One reader, because Debezium's markers of first and last rows follow the order of the tables.
    let workers = properties.number("snapshot.max.threads", 1, SNAPSHOT_THREADS_MAX).unwrap_or(1);
    settings.insert("snapshot_workers".into(), json!(workers));
    if postgres {
        slot_and_publication(properties, &mut settings);
    } else {
        if let Some(id) = properties.number("database.server.id", 1, u32::MAX.into()) {
            settings.insert("server_id".into(), json!(id));
        }
        properties.only("database.server.id.offset", "10000", "one task has one number");
        failure_handling(properties, "inconsistent.schema.handling.mode");
        // The text of each statement is kept for the records that show it.
        settings.insert("statements".into(), json!(properties.is("include.query", "true")));
        schema_changes(properties);
    }
    failure_handling(properties, "event.processing.failure.handling.mode");
    failure_handling(properties, "event.deserialization.failure.handling.mode");
    channels(properties);
    heartbeat(properties, postgres, &mut settings, further);
    further.keys = keys(properties);
    let partitions = properties.number("topic.creation.default.partitions", 1, PARTITIONS_MAX);
    further.partitions = partitions.and_then(|count| u32::try_from(count).ok());
    Value::Object(settings)
}

fn failure_handling(properties: &mut Properties, name: &str) {
    let why = "nothing is passed over here: an error stops the source, which names it";
    properties.noted(name, "fail", &["fail", "warn", "skip", "ignore"], why);
}

/// Channels that nothing comes by, and those that say no more than the log does.
fn channels(properties: &mut Properties) {
    for (name, harmless, why) in [
        ("signal.enabled.channels", &["source"][..], "without signal.data.collection there is no signal"),
        ("notification.enabled.channels", &["log", "jmx"], "the log and the status tell of snapshots"),
    ] {
        let channels = properties.words(name);
        match channels.iter().find(|channel| !harmless.contains(&channel.as_str())) {
            Some(other) => properties.fault(name, format!("not yet honoured: the channel {other:?}")),
            None if channels.is_empty() => {}
            None => properties.note(name, why),
        }
    }
}

fn url(properties: &mut Properties, connector: Connector, database: &str) -> String {
    let host = properties.required("database.hostname").unwrap_or_default();
    let user = properties.required("database.user").unwrap_or_default();
    let password = properties.take("database.password").unwrap_or_default();
    let port = properties.number("database.port", 1, u16::MAX.into());
    // An address of IPv6 needs brackets.
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    let place = |default: u64| format!("{host}:{}", port.unwrap_or(default));
    let who = format!("{}:{}", escape(&user), escape(&password));
    match connector {
        Connector::Mysql => format!("mysql://{who}@{}", place(3306)),
        Connector::Mariadb => format!("mariadb://{who}@{}", place(3306)),
        Connector::Postgresql => {
            format!("postgres://{who}@{}/{}{}", place(5432), escape(database), parameters(properties))
        }
    }
}

/// What PostgreSQL's driver is told, as far as a URL says the same.
fn parameters(properties: &mut Properties) -> String {
    let bindings = ["disable", "prefer", "require"].map(|word| (word, word));
    let binding = properties.choice("database.channelBinding", &bindings).map(str::to_owned);
    let name = properties.take("database.ApplicationName");
    let given = [("application_name", name), ("channel_binding", binding)];
    let given = given.iter().filter_map(|(name, value)| Some(format!("{name}={}", escape(value.as_deref()?))));
    let given = given.collect::<Vec<_>>().join("&");
    if given.is_empty() { given } else { format!("?{given}") }
}

/// Percent-encodes all that is no letter, digit, `-`, `.`, `_` or `~`.
fn escape(text: &str) -> String {
    let one = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

fn tls(properties: &mut Properties, connector: Connector) -> Option<Value> {
    if connector == Connector::Postgresql {
        let modes = [
            ("disable", "disable"),
            ("allow", "prefer"),
            ("prefer", "prefer"),
            ("require", "require"),
            ("verify-ca", "verify_ca"),
            ("verify-full", "verify_full"),
        ];
        let mode = properties.choice("database.sslmode", &modes);
        let (ca, cert, key) = ("database.sslrootcert", "database.sslcert", "database.sslkey");
        let files = [("ca_file", ca), ("cert_file", cert), ("key_file", key)];
        let mut tls: Map<String, Value> = mode.map(|mode| ("mode".to_owned(), json!(mode))).into_iter().collect();
        tls.extend(files.iter().filter_map(|(key, name)| Some(((*key).to_owned(), json!(properties.take(name)?)))));
        return Some(Value::Object(tls)).filter(|tls| tls != &json!({}));
    }
    let modes = [
        ("disabled", "disabled"),
        ("disable", "disabled"),
        ("preferred", "preferred"),
        ("required", "required"),
        ("trust", "required"),
        ("verify_ca", "verify_ca"),
        ("verify-ca", "verify_ca"),
        ("verify_identity", "verify_identity"),
        ("verify-full", "verify_identity"),
    ];
    properties.choice("database.ssl.mode", &modes).map(|mode| json!({ "mode": mode }))
}

/// The choice of databases or schemas, tables and columns.
fn filter(properties: &mut Properties, postgres: bool, settings: &mut Map<String, Value>) {
    let outer = if postgres { ("schema", "schemas") } else { ("database", "databases") };
    for (name, key) in [outer, ("table", "tables"), ("column", "columns")] {
        let (include, exclude) = (format!("{name}.include.list"), format!("{name}.exclude.list"));
        let wanted = patterns::list(properties, &include);
        let unwanted = patterns::list(properties, &exclude);
        if !wanted.is_empty() && !unwanted.is_empty() {
            properties.fault(&exclude, format!("it cannot stand beside {include}; keep one of the two"));
        }
        if !wanted.is_empty() {
            settings.insert(key.into(), json!(wanted));
        }
        if !unwanted.is_empty() {
            settings.insert(format!("exclude_{key}"), json!(unwanted));
        }
    }
    // The server's own tables are left out by both.
    properties.only("table.ignore.builtin", "true", "the server's own tables are never captured");
}

fn snapshot(properties: &mut Properties, postgres: bool, further: &mut Further) -> &'static str {
    let is = |mode, only| Snapshot { mode, only };
    let mut modes = vec![
        ("initial", Some(is("initial", false))),
        ("initial_only", Some(is("initial", true))),
        ("no_data", Some(is("never", false))),
        ("schema_only", Some(is("never", false))),
        ("never", Some(is("never", false))),
        ("always", Some(is("always", false))),
        ("when_needed", Some(is("when_needed", false))),
        ("configuration_based", None),
    ];
    if postgres {
        modes.push(("exported", Some(is("initial", false))));
    } else {
        // What these rebuild is not kept apart from the journal here, so there is nothing to rebuild.
        modes.push(("recovery", Some(is("never", false))));
        modes.push(("schema_only_recovery", Some(is("never", false))));
    }
    let chosen = properties.choice("snapshot.mode", &modes).unwrap_or(Some(is("initial", false)));
    let by_parts = "snapshot.mode.configuration.based";
    let mut part = |name: &str| properties.flag(&format!("{by_parts}.{name}"), false);
    let (data, stream) = (part("snapshot.data"), part("start.stream"));
    let _ = part("snapshot.schema");
    let (no_schema, no_data) = (part("snapshot.on.schema.error"), part("snapshot.on.data.error"));
    let chosen = chosen.unwrap_or_else(|| {
        if no_schema || no_data {
            properties.note(by_parts, "what an error asks for is when_needed here");
        }
        if !data && !stream {
            properties
                .fault(by_parts, "neither snapshot.data nor start.stream is true, so nothing would be done".into());
        }
        match (data, no_data) {
            (true, true) => is("when_needed", !stream),
            (true, false) => is("initial", !stream),
            (false, _) => is("never", !stream),
        }
    });
    further.snapshot_only = chosen.only;
    chosen.mode
}

/// Which rows a snapshot reads.
fn snapshot_rows(properties: &mut Properties, postgres: bool, settings: &mut Map<String, Value>) {
    let tables = patterns::list(properties, "snapshot.include.collection.list");
    if !tables.is_empty() {
        settings.insert("snapshot_tables".into(), json!(tables));
    }
    let order = "snapshot.tables.order.by.row.count";
    let orders = [("disabled", false), ("ascending", true), ("descending", true)];
    if properties.choice(order, &orders) == Some(true) {
        match postgres {
            true => properties.note(order, "tables are read in the order of their names, as that connector reads them"),
            false => properties.fault(order, "not yet: tables are read in the order of their names".into()),
        }
    }
    properties.only("snapshot.query.mode", "select_all", "a snapshot reads whole tables or a query for each");
    let overrides = "snapshot.select.statement.overrides";
    let mut queries = Map::new();
    for table in properties.words(overrides) {
        let name = format!("{overrides}.{table}");
        if let Some(query) = properties.required(&name) {
            queries.insert(table, json!(query));
        }
    }
    if !queries.is_empty() {
        settings.insert("snapshot_queries".into(), Value::Object(queries));
    }
}

fn slot_and_publication(properties: &mut Properties, settings: &mut Map<String, Value>) {
    let plugins = [
        ("pgoutput", true),
        ("decoderbufs", false),
        ("wal2json", false),
        ("wal2json_streaming", false),
        ("wal2json_rds", false),
        ("wal2json_rds_streaming", false),
    ];
    if properties.choice("plugin.name", &plugins) == Some(false) {
        properties.note("plugin.name", "the log is read by pgoutput; the records are the same");
    }
    let slot = properties.take("slot.name").unwrap_or_else(|| SLOT.to_owned());
    let publication = properties.take("publication.name").unwrap_or_else(|| PUBLICATION.to_owned());
    let modes = ["all_tables", "disabled", "filtered", "no_tables"].map(|mode| (mode, mode));
    let create = properties.choice("publication.autocreate.mode", &modes).unwrap_or("all_tables");
    settings.insert("slot".into(), json!(slot));
    settings.insert("slot_failover".into(), json!(properties.flag("slot.failover", false)));
    settings.insert("publication".into(), json!(publication));
    settings.insert("publication_create".into(), json!(create));
    let root = properties.flag("publish.via.partition.root", false);
    settings.insert("publish_via_partition_root".into(), json!(root));
    // As Debezium reads them: each partition and each table above it.
    settings.insert("snapshot_scope".into(), json!("every"));
    let status = "status.update.interval.ms";
    if let Some(ms) = properties.number(status, 0, TIME_MS_MAX) {
        let kept = ms.clamp(STATUS_MS_MIN, STATUS_MS_MAX);
        if kept != ms {
            properties.note(status, &format!("the slot hears of the source every {kept} ms"));
        }
        settings.insert("status_interval".into(), json!(format!("{kept}ms")));
    }
    properties.only("slot.drop.on.stop", "false", "the slot stays until it is dropped by hand");
    properties.only("lsn.flush.mode", "connector", "the slot is confirmed by the source alone");
    properties.only("flush.lsn.source", "true", "the slot is confirmed by the source alone");
    properties.only("xmin.fetch.interval.ms", "0", "source.xmin is not told");
    let lists = [
        ("message_prefixes", patterns::list(properties, "message.prefix.include.list")),
        ("exclude_message_prefixes", patterns::list(properties, "message.prefix.exclude.list")),
    ];
    for (key, prefixes) in lists.into_iter().filter(|(_, prefixes)| !prefixes.is_empty()) {
        settings.insert(key.into(), json!(prefixes));
    }
    let identities = replica_identities(properties);
    if !identities.is_empty() {
        settings.insert("replica_identities".into(), json!(identities));
    }
}

/// `TABLES:FULL,TABLES:INDEX name`.
fn replica_identities(properties: &mut Properties) -> Vec<Value> {
    let name = "replica.identity.autoset.values";
    let mut identities = Vec::new();
    for entry in patterns::split(&properties.take(name).unwrap_or_default()) {
        let parts = entry.rsplit_once(':').map(|(tables, identity)| (tables.trim(), identity.trim()));
        let known = |identity: &str| {
            let identity = identity.to_ascii_uppercase();
            matches!(identity.as_str(), "FULL" | "DEFAULT" | "NOTHING") || identity.starts_with("INDEX ")
        };
        match parts.filter(|(tables, identity)| !tables.is_empty() && known(identity)) {
            Some((tables, identity)) => {
                patterns::check(properties, name, tables);
                identities.push(json!({ "tables": patterns::slashed(tables), "identity": identity }));
            }
            None => {
                let allowed = "each entry is TABLES:IDENTITY with FULL, DEFAULT, NOTHING or INDEX and a name";
                properties.fault(name, format!("{entry:?} is not allowed; {allowed}"));
            }
        }
    }
    identities
}

fn schema_changes(properties: &mut Properties) {
    match properties.choice("include.schema.changes", &[("true", true), ("false", false)]) {
        Some(true) => {
            properties
                .fault("include.schema.changes", "not yet honoured: the topic of schema changes; write false".into());
        }
        Some(false) => {}
        None => properties.note("include.schema.changes", "the topic of schema changes is not written yet"),
    }
}

fn heartbeat(properties: &mut Properties, postgres: bool, settings: &mut Map<String, Value>, further: &mut Further) {
    let interval_ms = properties.number("heartbeat.interval.ms", 0, TIME_MS_MAX).unwrap_or(0);
    further.heartbeat_interval_ms = interval_ms;
    match properties.take("heartbeat.action.query") {
        Some(_) if interval_ms == 0 => {
            properties.note("heartbeat.action.query", "without heartbeat.interval.ms it never runs");
        }
        Some(statement) => {
            let query = json!({ "statement": statement, "interval": format!("{interval_ms}ms") });
            settings.insert("heartbeat_query".into(), query);
        }
        None => {}
    }
    // An idle MySQL wakes its reader only with heartbeats of its own.
    if !postgres && (1..SERVER_HEARTBEAT_MS).contains(&interval_ms) {
        settings.insert("heartbeat".into(), json!(format!("{}ms", interval_ms.max(SERVER_HEARTBEAT_MIN_MS))));
    }
}

/// `TABLES:COLUMN,COLUMN;TABLES:COLUMN`.
fn keys(properties: &mut Properties) -> Vec<KeyColumns> {
    let name = "message.key.columns";
    let value = properties.take(name).unwrap_or_default();
    let mut keys = Vec::new();
    for entry in value.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
        let parts = entry.rsplit_once(':').map(|(tables, columns)| (tables.trim(), columns));
        let columns = parts.map(|(_, columns)| columns.split(',').map(str::trim).map(str::to_owned));
        let columns: Vec<String> = columns.into_iter().flatten().filter(|column| !column.is_empty()).collect();
        match parts.filter(|(tables, _)| !tables.is_empty() && !columns.is_empty()) {
            Some((tables, _)) => {
                patterns::check(properties, name, tables);
                keys.push(KeyColumns { tables: patterns::slashed(tables), columns });
            }
            None => properties.fault(name, format!("{entry:?} is not allowed; each entry is TABLES:COLUMN,COLUMN")),
        }
    }
    keys
}
