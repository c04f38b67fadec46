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
const BATCHES: &str = "the journal takes changes as they come, with limits of its own";
const LOCKS: &str = "snapshots take no locks";
const SIGNALS: &str = "signals and incremental snapshots";
const NOTIFICATIONS: &str = "notifications";

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
    ("topic.creation.", Known::Meaningless("topics are projections of the journal")),
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
    ("database.tcpKeepAlive", Known::Meaningless("a dead connection is noticed by itself")),
    ("connection.validation.timeout.ms", Known::Meaningless("connections have time limits of their own")),
    ("database.query.timeout.ms", Known::Meaningless("queries have time limits of their own")),
    ("executor.shutdown.timeout.ms", Known::Meaningless("stopping has a time limit of its own")),
    ("gtid.new.channel.position", Known::Meaningless("a GTID set is read on from where it was left")),
    ("use.nongraceful.disconnect", Known::Meaningless("connections are closed at once")),
    ("driver.", Known::Meaningless("the options of Java's driver; there is none here")),
    ("database.jdbc.driver", Known::Meaningless("Java's driver; there is none here")),
    ("database.protocol", Known::Meaningless("Java's driver; there is none here")),
    ("custom.metric.tags", Known::Meaningless("metrics carry the source's name")),
    ("advanced.metrics.enable", Known::Meaningless("metrics are always complete")),
    ("schema.refresh.mode", Known::Meaningless("shapes come with the log, and unchanged values are told from NULL")),
    ("read.only", Known::Meaningless("nothing is written to the database but what heartbeat.action.query says")),
    ("internal.", Known::Meaningless("a property of Debezium's own inside")),
    ("openlineage.", Known::NotYet("lineage")),
    ("signal.", Known::NotYet(SIGNALS)),
    ("notification.", Known::NotYet(NOTIFICATIONS)),
    ("converters", Known::NotYet("custom converters")),
    ("post.processors", Known::NotYet("post processors")),
    ("gtid.source.includes", Known::NotYet("a choice of GTID sources")),
    ("gtid.source.excludes", Known::NotYet("a choice of GTID sources")),
    ("gtid.source.filter.dml.events", Known::NotYet("a choice of GTID sources")),
    ("database.initial.statements", Known::NotYet("statements of the session")),
    ("transaction.metadata.factory", Known::NotYet("another structure of transaction metadata")),
    ("sourceinfo.struct.maker", Known::NotYet("another structure of the source block")),
    ("snapshot.mode.custom.name", Known::NotYet("custom snapshotters")),
    ("snapshot.locking.mode.custom.name", Known::NotYet("custom snapshotters")),
    ("snapshot.query.mode.custom.name", Known::NotYet("custom snapshotters")),
    ("slot.stream.params", Known::NotYet("further parameters of the decoding plugin")),
    ("database.ssl.keystore", Known::NotYet("Java key stores; declare the source by its own form with PEM files")),
    (
        "database.ssl.keystore.password",
        Known::NotYet("Java key stores; declare the source by its own form with PEM files"),
    ),
    ("database.ssl.truststore", Known::NotYet("Java key stores; declare the source by its own form with PEM files")),
    (
        "database.ssl.truststore.password",
        Known::NotYet("Java key stores; declare the source by its own form with PEM files"),
    ),
    ("database.sslpassword", Known::NotYet("a private key with a password")),
    ("database.sslfactory", Known::NotYet("Java classes")),
];

/// What is known of a property that was not taken.
pub(super) fn lookup(name: &str) -> Option<Known> {
    let fits = |known: &str| name == known || known.ends_with('.') && name.starts_with(known);
    TABLE.iter().find(|(known, _)| fits(known)).map(|(_, why)| *why)
}

/// The names in this file that are whole ones.
pub(super) fn names<'a>() -> impl Iterator<Item = &'a str> {
    TABLE.iter().map(|(name, _)| *name).filter(|name| !name.ends_with('.'))
}
