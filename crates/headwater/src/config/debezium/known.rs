//! Properties that are not honoured: those that mean nothing here, and those that are to come.
//!
//! Invariant: what would change a record or the choice of records never stands among the meaningless ones. Start at
//! [`lookup`].

/// Why a property is not honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It has nothing to set here, and why.
    Meaningless(&'static str),
    /// It is not honoured yet, and what it would be.
    NotYet(&'static str),
}

const HISTORY: &str = "no schema history is kept beside the journal";
const CONNECT: &str = "Kafka Connect's own; there is no Connect worker here";
const TOPICS: &str = "topics are projections of the journal";
const BATCHES: &str = "the journal takes changes as they come, with limits of its own";
const LOCKS: &str = "snapshots take no locks";
const SIGNALS: &str = "signals and incremental snapshots";
const NOTIFICATIONS: &str = "notifications";
const TIME_LIMITS: &str = "connections have time limits of their own";
const DRIVER: &str = "an option of Java's driver; there is none here";
const UTC: &str = "times are read in UTC, whatever the server's zone is";
const UTF8: &str = "texts are read in UTF-8";
const TLS_MODE: &str = "database.ssl.mode alone decides about TLS, as it does for Debezium";
const THREADS: &str = "a snapshot has readers of its own";
const KEY_STORES: &str = "Java key stores; declare the source by its own form with PEM files";
const PARSER: &str = "definitions are read by a parser of our own";

/// Whole names, and beginnings of names that end with a dot.
const TABLE: &[(&str, Known)] = &[
    ("name", Known::Meaningless("the source's own name counts")),
    ("tasks.max", Known::Meaningless("a source is one task")),
    ("config.action.reload", Known::Meaningless(CONNECT)),
    ("exactly.once.support", Known::Meaningless(CONNECT)),
    ("transaction.boundary", Known::Meaningless(CONNECT)),
    ("transaction.boundary.interval.ms", Known::Meaningless(CONNECT)),
    ("offsets.storage.topic", Known::Meaningless(CONNECT)),
    ("offset.", Known::Meaningless(CONNECT)),
    ("errors.", Known::Meaningless("no record is passed over; an error stops the source and is named")),
    ("producer.", Known::Meaningless(CONNECT)),
    ("consumer.", Known::Meaningless(CONNECT)),
    ("admin.", Known::Meaningless(CONNECT)),
    ("topic.creation.groups", Known::NotYet("groups of topics; topic.creation.default.partitions is honoured")),
    ("topic.creation.default.", Known::Meaningless(TOPICS)),
    ("topic.creation.enable", Known::Meaningless(TOPICS)),
    ("topic.creation.", Known::NotYet("groups of topics; topic.creation.default.partitions is honoured")),
    ("schema.history.internal", Known::Meaningless(HISTORY)),
    ("schema.history.internal.", Known::Meaningless(HISTORY)),
    ("database.history", Known::Meaningless(HISTORY)),
    ("database.history.", Known::Meaningless(HISTORY)),
    ("poll.interval.ms", Known::Meaningless(BATCHES)),
    ("max.batch.size", Known::Meaningless(BATCHES)),
    ("max.queue.size", Known::Meaningless(BATCHES)),
    ("max.queue.size.in.bytes", Known::Meaningless(BATCHES)),
    ("query.fetch.size", Known::Meaningless(BATCHES)),
    ("snapshot.fetch.size", Known::Meaningless(BATCHES)),
    ("incremental.snapshot.", Known::Meaningless("snapshots have chunks of their own")),
    ("min.row.count.to.stream.results", Known::Meaningless(BATCHES)),
    ("binlog.buffer.size", Known::Meaningless(BATCHES)),
    ("snapshot.locking.mode", Known::Meaningless(LOCKS)),
    ("snapshot.lock.timeout.ms", Known::Meaningless(LOCKS)),
    ("snapshot.isolation.mode", Known::Meaningless(LOCKS)),
    ("snapshot.delay.ms", Known::Meaningless("the snapshot begins at once")),
    ("streaming.delay.ms", Known::Meaningless("the stream begins at once")),
    ("snapshot.new.tables", Known::Meaningless("tables that are added are read")),
    ("retriable.restart.connector.wait.ms", Known::Meaningless("the source connects again by itself")),
    ("slot.max.retries", Known::Meaningless("the source connects again by itself")),
    ("slot.retry.delay.ms", Known::Meaningless("the source connects again by itself")),
    ("connect.keep.alive", Known::Meaningless("a dead connection is noticed by itself")),
    ("connect.keep.alive.interval.ms", Known::Meaningless("a dead connection is noticed by itself")),
    ("connection.validation.timeout.ms", Known::Meaningless(TIME_LIMITS)),
    ("binlog.net.read.timeout", Known::Meaningless(TIME_LIMITS)),
    ("binlog.net.write.timeout", Known::Meaningless(TIME_LIMITS)),
    ("create.slot.command.timeout", Known::Meaningless(TIME_LIMITS)),
    ("lsn.flush.timeout.ms", Known::Meaningless("positions are confirmed beside the stream, which waits for none")),
    ("lsn.flush.timeout.action", Known::Meaningless("positions are confirmed beside the stream, which waits for none")),
    (
        "offset.mismatch.strategy",
        Known::Meaningless("a slot that stands elsewhere than the journal is always noticed, and named"),
    ),
    ("offset.activity.monitor.interval.ms", Known::Meaningless("the status shows how far the source is")),
    ("poll.dispatch.interval.ms", Known::Meaningless(BATCHES)),
    ("queue.provider.type", Known::Meaningless(BATCHES)),
    ("ddl.parser.type", Known::Meaningless(PARSER)),
    ("resolve.create.table.like.schema", Known::Meaningless(PARSER)),
    ("guardrail.collections.", Known::Meaningless("tables have no limit")),
    ("legacy.snapshot.max.threads", Known::Meaningless(THREADS)),
    ("snapshot.max.threads.multiplier", Known::Meaningless(THREADS)),
    ("snapshot.scan.all.columns.force", Known::Meaningless("shapes of the tables that are captured are read alone")),
    (
        "log.position.check.enable",
        Known::Meaningless("whether the log goes on where the journal ends is always checked"),
    ),
    (
        "custom.retriable.exception",
        Known::Meaningless("errors that may pass are told from others by the server's codes"),
    ),
    ("statistics.metrics.enabled", Known::Meaningless("metrics are always complete")),
    ("executor.shutdown.timeout.ms", Known::Meaningless("stopping has a time limit of its own")),
    ("gtid.new.channel.position", Known::Meaningless("a GTID set is read on from where it was left")),
    (
        "gtid.ignore.on.recovery",
        Known::Meaningless("the source goes on where the journal ends, by GTID where it has one"),
    ),
    ("use.nongraceful.disconnect", Known::Meaningless("connections are closed at once")),
    ("custom.metric.tags", Known::Meaningless("metrics carry the source's name")),
    ("advanced.metrics.enable", Known::Meaningless("metrics are always complete")),
    ("schema.refresh.mode", Known::Meaningless("shapes come with the log, and unchanged values are told from NULL")),
    ("read.only", Known::Meaningless("nothing is written to the database but what heartbeat.action.query says")),
    ("internal.", Known::Meaningless("a property of Debezium's own inside")),
    ("openlineage.", Known::NotYet("lineage")),
    ("signal.poll.interval.ms", Known::Meaningless("no signal is waited for")),
    ("signal.", Known::NotYet(SIGNALS)),
    ("notification.", Known::NotYet(NOTIFICATIONS)),
    ("converters", Known::NotYet("custom converters")),
    ("post.processors", Known::NotYet("post processors")),
    ("gtid.source.includes", Known::NotYet("a choice of GTID sources")),
    ("gtid.source.excludes", Known::NotYet("a choice of GTID sources")),
    ("gtid.source.filter.dml.events", Known::NotYet("a choice of GTID sources")),
    ("transaction.metadata.factory", Known::NotYet("another structure of transaction metadata")),
    ("sourceinfo.struct.maker", Known::NotYet("another structure of the source block")),
    ("snapshot.mode.custom.name", Known::NotYet("custom snapshotters")),
    ("snapshot.custom.class", Known::NotYet("custom snapshotters")),
    ("snapshot.locking.mode.custom.name", Known::NotYet("custom snapshotters")),
    ("snapshot.query.mode.custom.name", Known::NotYet("custom snapshotters")),
    ("slot.stream.params", Known::NotYet("further parameters of the decoding plugin")),
];

/// Behind `database.` or `driver.`: what is handed to Java's driver.
const TO_DRIVER: &[(&str, Known)] = &[
    ("jdbc.driver", Known::Meaningless(DRIVER)),
    ("jdbc.protocol", Known::Meaningless(DRIVER)),
    ("protocol", Known::Meaningless(DRIVER)),
    ("allowPublicKeyRetrieval", Known::Meaningless("the server is asked for its key where the password needs one")),
    ("useSSL", Known::Meaningless(TLS_MODE)),
    ("requireSSL", Known::Meaningless(TLS_MODE)),
    ("sslMode", Known::Meaningless(TLS_MODE)),
    ("verifyServerCertificate", Known::Meaningless(TLS_MODE)),
    ("serverTimezone", Known::Meaningless(UTC)),
    ("connectionTimeZone", Known::Meaningless(UTC)),
    ("connectionTimezone", Known::Meaningless(UTC)),
    ("forceConnectionTimeZoneToSession", Known::Meaningless(UTC)),
    ("useLegacyDatetimeCode", Known::Meaningless(UTC)),
    ("preserveInstants", Known::Meaningless(UTC)),
    ("zeroDateTimeBehavior", Known::Meaningless("zero dates are shown as Debezium shows them")),
    ("characterEncoding", Known::Meaningless(UTF8)),
    ("characterSetResults", Known::Meaningless(UTF8)),
    ("connectionCollation", Known::Meaningless(UTF8)),
    ("useUnicode", Known::Meaningless(UTF8)),
    ("connectTimeout", Known::Meaningless(TIME_LIMITS)),
    ("socketTimeout", Known::Meaningless(TIME_LIMITS)),
    ("loginTimeout", Known::Meaningless(TIME_LIMITS)),
    ("cancelSignalTimeout", Known::Meaningless(TIME_LIMITS)),
    ("sslResponseTimeout", Known::Meaningless(TIME_LIMITS)),
    ("query.timeout.ms", Known::Meaningless(TIME_LIMITS)),
    ("tcpKeepAlive", Known::Meaningless("a dead connection is noticed by itself")),
    ("tcpNoDelay", Known::Meaningless(DRIVER)),
    ("autoReconnect", Known::Meaningless("the source connects again by itself")),
    ("useCompression", Known::Meaningless(DRIVER)),
    ("useCursorFetch", Known::Meaningless(BATCHES)),
    ("defaultFetchSize", Known::Meaningless(BATCHES)),
    ("defaultRowFetchSize", Known::Meaningless(BATCHES)),
    ("useServerPrepStmts", Known::Meaningless(DRIVER)),
    ("cachePrepStmts", Known::Meaningless(DRIVER)),
    ("prepStmtCacheSize", Known::Meaningless(DRIVER)),
    ("prepStmtCacheSqlLimit", Known::Meaningless(DRIVER)),
    ("rewriteBatchedStatements", Known::Meaningless(DRIVER)),
    ("reWriteBatchedInserts", Known::Meaningless(DRIVER)),
    ("useInformationSchema", Known::Meaningless(DRIVER)),
    ("nullCatalogMeansCurrent", Known::Meaningless(DRIVER)),
    ("permitMysqlScheme", Known::Meaningless(DRIVER)),
    ("useLocalSessionState", Known::Meaningless(DRIVER)),
    ("allowLoadLocalInfile", Known::Meaningless("no file is ever sent to a server")),
    ("assumeMinServerVersion", Known::Meaningless(DRIVER)),
    ("prepareThreshold", Known::Meaningless(DRIVER)),
    ("preparedStatementCacheQueries", Known::Meaningless(DRIVER)),
    ("preferQueryMode", Known::Meaningless(DRIVER)),
    ("binaryTransfer", Known::Meaningless(DRIVER)),
    ("currentSchema", Known::Meaningless("tables are named with their schemas")),
    ("stringtype", Known::Meaningless(DRIVER)),
    ("loggerLevel", Known::Meaningless(DRIVER)),
    ("sessionVariables", Known::NotYet("variables of the session")),
    ("options", Known::NotYet("variables of the session")),
    ("initial.statements", Known::NotYet("statements of the session")),
    ("targetServerType", Known::NotYet("a choice among servers; declare the source by its own form")),
    ("gssEncMode", Known::NotYet("Kerberos")),
    ("kerberosServerName", Known::NotYet("Kerberos")),
    ("ssl", Known::NotYet("TLS by this name; write database.sslmode")),
    ("ssl.keystore", Known::NotYet(KEY_STORES)),
    ("ssl.keystore.password", Known::NotYet(KEY_STORES)),
    ("ssl.truststore", Known::NotYet(KEY_STORES)),
    ("ssl.truststore.password", Known::NotYet(KEY_STORES)),
    ("trustCertificateKeyStoreUrl", Known::NotYet(KEY_STORES)),
    ("clientCertificateKeyStoreUrl", Known::NotYet(KEY_STORES)),
    ("sslpassword", Known::NotYet("a private key with a password")),
    ("sslfactory", Known::NotYet("Java classes")),
    ("socketFactory", Known::NotYet("Java classes")),
    ("connection.factory.class", Known::NotYet("Java classes")),
];

/// What is known of a property that was not taken.
pub(super) fn lookup(name: &str) -> Option<Known> {
    let fits = |known: &str| name == known || known.ends_with('.') && name.starts_with(known);
    if let Some((_, why)) = TABLE.iter().find(|(known, _)| fits(known)) {
        return Some(*why);
    }
    // What a driver knows besides would not reach it by `database.` alone.
    let (option, other) = match name.strip_prefix("driver.") {
        Some(option) => (option, Some(Known::Meaningless(DRIVER))),
        None => (name.strip_prefix("database.")?, None),
    };
    TO_DRIVER.iter().find(|(known, _)| *known == option).map(|(_, why)| *why).or(other)
}

/// Everything in this file: names, where a dot ends those that only begin so, and what is known of them.
pub(super) fn all() -> impl Iterator<Item = (String, Known)> {
    let own = TABLE.iter().map(|(name, known)| ((*name).to_owned(), *known));
    own.chain(TO_DRIVER.iter().map(|(name, known)| (format!("database.{name}"), *known)))
}

/// The names in this file that are whole ones.
pub(super) fn names() -> impl Iterator<Item = String> {
    all().map(|(name, _)| name).filter(|name| !name.ends_with('.'))
}
