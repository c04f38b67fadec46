//! Every configuration that the repository carries is read; what cannot be honoured is named. Cases are properties on top of
//! a shortest configuration.

use super::*;
use expect_test::{Expect, expect};
use headwater_testkit::golden;

fn environment(name: &str) -> Option<String> {
    (name == "DEBEZIUM_PASSWORD").then(|| "p@ss/word".to_owned())
}

fn base(kind: &str) -> BTreeMap<String, String> {
    let class = match kind {
        "mysql" => "mysql.MySqlConnector",
        "mariadb" => "mariadb.MariaDbConnector",
        _ => "postgresql.PostgresConnector",
    };
    let mut base = BTreeMap::new();
    for (name, value) in [
        ("connector.class", format!("io.debezium.connector.{class}").as_str()),
        ("database.hostname", "db"),
        ("database.user", "cdc"),
        ("database.password", "secret"),
        ("topic.prefix", "p"),
    ] {
        base.insert(name.to_owned(), value.to_owned());
    }
    if kind == "postgresql" {
        base.insert("database.dbname".into(), "gold".into());
    }
    base
}

fn with(kind: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut properties = base(kind);
    properties.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    properties
}

fn read(properties: &BTreeMap<String, String>) -> Result<Translated, String> {
    let shown = |faults: Vec<Fault>| faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n");
    translate(properties, &environment).map_err(shown)
}

#[test]
fn every_scenario_that_is_carried_is_read() {
    for kind in golden::KINDS {
        for scenario in golden::scenarios(&golden::folder(), kind).unwrap() {
            let mut properties = base(kind);
            properties.extend(scenario.config.clone());
            for phase in &scenario.phases {
                if let golden::Phase::Start(more) = phase {
                    properties.extend(more.clone());
                }
            }
            let read = read(&properties).unwrap_or_else(|faults| panic!("{}: {faults}", scenario.id()));
            let settings = read.settings.clone();
            match read.kind {
                "postgres" => drop(
                    headwater_source::postgres::config::Config::from_value(settings).unwrap().validate("p").unwrap(),
                ),
                _ => {
                    drop(headwater_source::mysql::config::Config::from_value(settings).unwrap().validate("p").unwrap())
                }
            }
        }
    }
}

/// A connector file as it is posted, and what it comes to.
fn posted(file: &str, expected: Expect) {
    let properties = serde_json::from_str(file).unwrap();
    let read = read(&properties).unwrap();
    expected.assert_eq(&format!(
        "{} {:#}\nprefix {:?}, keys {:?}, heartbeat {:?}\n{}\n",
        read.kind,
        read.settings,
        read.format.prefix,
        read.further.keys,
        read.further.heartbeat_interval_ms,
        read.notes.join("\n"),
    ));
}

#[test]
fn a_connector_of_1_x_is_read_as_it_was_posted() {
    posted(
        r#"{"connector.class": "io.debezium.connector.mysql.MySqlConnector", "tasks.max": "1",
            "database.hostname": "mysql", "database.port": "3307", "database.user": "debezium_user",
            "database.password": "${DEBEZIUM_PASSWORD}", "database.server.id": "1001", "database.server.name": "shop_db",
            "database.whitelist": "shop_db", "table.whitelist": "shop_db.orders,shop_db.order_items",
            "database.history.kafka.bootstrap.servers": "kafka:9092", "database.history.kafka.topic": "dbhistory.shop",
            "snapshot.mode": "when_needed", "snapshot.locking.mode": "minimal", "include.schema.changes": "false",
            "message.key.columns": "shop_db.order_items:order_id", "errors.tolerance": "all", "heartbeat.interval.ms": "10000",
            "transforms": "route", "transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter",
            "transforms.route.regex": "([^.]+)\\.([^.]+)\\.([^.]+)", "transforms.route.replacement": "$3"}"#,
        expect![[r#"
            mysql {
              "databases": [
                "/shop_db/"
              ],
              "server_id": 1001,
              "snapshot": "when_needed",
              "snapshot_workers": 1,
              "statements": false,
              "tables": [
                "/shop_db.orders/",
                "/shop_db.order_items/"
              ],
              "url": "mysql://debezium_user:p%40ss%2Fword@mysql:3307"
            }
            prefix "shop_db", keys [KeyColumns { tables: "/shop_db.order_items/", columns: ["order_id"] }], heartbeat 10000
            database.history.kafka.bootstrap.servers: no schema history is kept beside the journal
            database.history.kafka.topic: no schema history is kept beside the journal
            errors.tolerance: no record is passed over; an error stops the source and is named
            snapshot.locking.mode: snapshots take no locks
            tasks.max: a source is one task
        "#]],
    );
}

#[test]
fn a_connector_of_postgresql_is_read_as_it_was_posted() {
    posted(
        r#"{"connector.class": "io.debezium.connector.postgresql.PostgresConnector", "database.hostname": "::1",
            "database.user": "cdc", "database.dbname": "my db", "topic.prefix": "db", "plugin.name": "decoderbufs",
            "schema.include.list": "public", "table.include.list": "public.person12, public\\.o.*", "database.sslmode": "verify-full",
            "database.sslrootcert": "/ca.pem", "publication.autocreate.mode": "filtered", "snapshot.mode": "initial_only",
            "status.update.interval.ms": "500", "slot.failover": "TRUE"}"#,
        expect![[r#"
            postgres {
              "publication": "dbz_publication",
              "publication_create": "filtered",
              "publish_via_partition_root": false,
              "schemas": [
                "/public/"
              ],
              "slot": "debezium",
              "slot_failover": true,
              "snapshot": "initial",
              "snapshot_scope": "every",
              "snapshot_workers": 1,
              "status_interval": "500ms",
              "tables": [
                "/public.person12/",
                "/public\\.o.*/"
              ],
              "tls": {
                "ca_file": "/ca.pem",
                "mode": "verify_full"
              },
              "url": "postgres://cdc:@[::1]:5432/my%20db"
            }
            prefix "db", keys [], heartbeat 0
            plugin.name: the log is read by pgoutput; the records are the same
        "#]],
    );
}

#[test]
fn properties_become_options() {
    let format = |kind, more: &[(&str, &str)]| read(&with(kind, more)).unwrap().format;
    let options = format(
        "mysql",
        &[
            ("decimal.handling.mode", "STRING"),
            ("skipped.operations", "none"),
            ("column.truncate.to.5.chars", "d.t.a"),
            ("column.mask.with.0.chars", "d.t.b"),
            ("column.mask.hash.v2.SHA-256.with.salt.Cz.QM", "d.t.c"),
            ("column.propagate.source.type", ".*"),
            ("key.converter.schemas.enable", "false"),
            ("value.converter.decimal.format", "numeric"),
            ("extended.headers.enabled", "false"),
            ("headwater.compat", "right"),
        ],
    );
    expect![[r#"
        Options {
            connector: Mysql,
            version: None,
            prefix: "p",
            database: "",
            compat: Right,
            decimal: String,
            time_precision: None,
            adjust_years: true,
            binary: Bytes,
            bigint_unsigned: Long,
            hstore: Json,
            interval: Numeric,
            money_fraction_digits: 2,
            include_unknown_datatypes: false,
            unavailable_placeholder: "__debezium_unavailable_value",
            schema_name_adjustment: None,
            field_name_adjustment: None,
            tombstones: true,
            skipped: Skipped {
                create: false,
                update: false,
                delete: false,
                truncate: false,
            },
            skip_without_change: false,
            include_query: false,
            include_comments: false,
            transaction_metadata: false,
            topic_delimiter: ".",
            transaction_topic: "transaction",
            heartbeat_prefix: "__debezium-heartbeat",
            heartbeat_topic: None,
            topic_naming: Default,
            topic_parts: None,
            message_keys: [],
            key: Converter {
                schemas: false,
                decimal_numeric: false,
                replace_null: true,
            },
            value: Converter {
                schemas: true,
                decimal_numeric: true,
                replace_null: true,
            },
            header: Simple,
            context_headers: None,
            columns: [
                ColumnRule {
                    columns: "d.t.a",
                    action: Truncate(
                        5,
                    ),
                },
                ColumnRule {
                    columns: "d.t.b",
                    action: Mask(
                        0,
                    ),
                },
                ColumnRule {
                    columns: ".*",
                    action: PropagateType,
                },
                ColumnRule {
                    columns: "d.t.c",
                    action: Hash {
                        algorithm: "SHA-256",
                        salt: "Cz.QM",
                        v2: true,
                    },
                },
            ],
            transforms: [],
        }
    "#]]
    .assert_eq(&format!("{options:#?}\n"));
    let options = format(
        "postgresql",
        &[
            ("transforms", "unwrap,r"),
            ("transforms.unwrap.type", "io.debezium.transforms.ExtractNewRecordState"),
            ("transforms.unwrap.drop.tombstones", "false"),
            ("transforms.unwrap.delete.handling.mode", "rewrite"),
            ("transforms.unwrap.add.fields", "op, source.lsn:lsn"),
            ("transforms.unwrap.predicate", "mine"),
            ("transforms.unwrap.negate", "true"),
            ("predicates", "mine"),
            ("predicates.mine.type", "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"),
            ("predicates.mine.pattern", "a.*"),
            ("transforms.r.type", "io.debezium.transforms.ByLogicalTableRouter"),
            ("transforms.r.topic.regex", "(.*)_\\d"),
            ("transforms.r.topic.replacement", "${1}_all"),
        ],
    );
    expect![[r#"
        [
            Transform {
                step: Unwrap(
                    Unwrap {
                        deletes: RewriteWithTombstone,
                        fields: [
                            "op",
                            "source.lsn:lsn",
                        ],
                        fields_prefix: "__",
                        headers: [],
                        headers_prefix: "__",
                        route_by: None,
                        replace_null: true,
                    },
                ),
                predicate: Some(
                    Predicate {
                        test: Topic(
                            "a.*",
                        ),
                        negate: true,
                    },
                ),
            },
            Transform {
                step: LogicalRouter {
                    regex: "(.*)_\\d",
                    replacement: "${1}_all",
                    key: Some(
                        KeyField {
                            name: "__dbz__physicalTableIdentifier",
                            regex: None,
                        },
                    ),
                    schema_name_adjustment: None,
                },
                predicate: None,
            },
        ]
        Some(
            ContextHeaders {
                logical_name: "p",
                task: "0",
                connector: "postgresql",
                run: "",
            },
        )
    "#]]
    .assert_eq(&format!("{:#?}\n{:#?}\n", options.transforms, options.context_headers));
}

#[test]
fn every_topic_naming_strategy_is_known() {
    for (strategy, expected) in [
        ("SchemaTopicNamingStrategy", "Default Some(Schema)"),
        ("DefaultTopicNamingStrategy", "Default Some(Database)"),
        ("SchemaRegexTopicNamingStrategy", "Regex Some(Schema)"),
        ("DefaultRegexTopicNamingStrategy", "Regex Some(Database)"),
        ("SchemaUnicodeTopicNamingStrategy", "Unicode Some(Schema)"),
        ("DefaultUnicodeTopicNamingStrategy", "Unicode Some(Database)"),
    ] {
        let strategy = format!("io.debezium.schema.{strategy}");
        let more: &[(&str, &str)] =
            &[("topic.naming.strategy", &strategy), ("topic.regex", "(.*)"), ("topic.replacement", "$1")];
        let more = if expected.starts_with("Regex") { more } else { &more[..1] };
        let format = read(&with("mysql", more)).unwrap().format;
        let naming = format!("{:?}", format.topic_naming);
        let naming = naming.split('(').next().unwrap();
        assert_eq!(format!("{naming} {:?}", format.topic_parts), expected);
    }
    let faults = read(&with("mysql", &[("topic.naming.strategy", "org.example.Mine")])).unwrap_err();
    assert!(faults.contains("io.debezium.schema.SchemaUnicodeTopicNamingStrategy"), "{faults}");
}

#[test]
fn comments_are_shown_with_schema_changes_by_mariadb() {
    let (comments, changes) = (("include.schema.comments", "true"), ("include.schema.changes", "false"));
    for (kind, more, shown) in [
        ("mysql", &[comments, changes][..], true),
        ("mysql", &[changes], false),
        ("mariadb", &[comments, changes], false),
        ("mariadb", &[], true),
        ("mariadb", &[("headwater.compat", "right")], false),
    ] {
        assert_eq!(read(&with(kind, more)).unwrap().format.include_comments, shown, "{kind} {more:?}");
    }
}

#[test]
fn what_cannot_be_honoured_is_named() {
    for (kind, name, value, expected) in [
        ("mysql", "decimal.handling.mode", "exact", "\"exact\" is not allowed; allowed are precise, double, string"),
        ("mysql", "time.precision.mode", "adaptive", "allowed are adaptive_time_microseconds"),
        ("mysql", "tombstones.on.delete", "yes", "allowed are true, false"),
        ("mysql", "database.port", "70000", "between 1 and 65535"),
        ("mysql", "skipped.operations", "u,x", "\"x\" is not allowed"),
        ("mysql", "table.include.list", "a.(b", "is not a regular expression that can be used: unclosed group"),
        ("mysql", "table.include.list", "\\Ga", "the end of a match before"),
        ("mysql", "message.key.columns", "a.b", "TABLES:COLUMN"),
        ("mysql", "column.mask.with.x.chars", "a", "column.mask.with.NUMBER.chars"),
        ("mysql", "column.mask.hash.SHA-256", "a", "with.salt"),
        ("mysql", "signal.data.collection", "a.b", "not yet honoured: signals"),
        ("mysql", "converters", "c", "not yet honoured: custom converters"),
        ("mysql", "include.schema.changes", "true", "not yet honoured"),
        ("mysql", "event.processing.failure.handling.mode", "forget", "allowed are fail, warn, skip"),
        ("mysql", "signal.enabled.channels", "source,kafka", "not yet honoured: the channel \"kafka\""),
        ("mysql", "notification.enabled.channels", "sink", "not yet honoured: the channel \"sink\""),
        ("mysql", "database.sessionVariables", "sql_mode=ANSI", "not yet honoured: variables of the session"),
        ("mysql", "driver.sessionVariables", "sql_mode=ANSI", "not yet honoured: variables of the session"),
        ("mysql", "database.allowPublicKeyRetreival", "true", "did you mean database.allowPublicKeyRetrieval?"),
        ("mysql", "topic.creation.groups", "g", "not yet honoured: groups of topics"),
        ("mysql", "topic.creation.g.partitions", "3", "not yet honoured: groups of topics"),
        ("mysql", "transaction.topic", "tx", "only names that begin with \"p.\""),
        ("mysql", "snapshot.custom.class", "org.example.Mine", "not yet honoured: custom snapshotters"),
        ("mysql", "gtid.source.includes", "a", "not yet honoured: a choice of GTID sources"),
        ("mysql", "value.converter", "io.confluent.connect.avro.AvroConverter", "not yet honoured: io.confluent"),
        ("mysql", "transforms", "t", "it is missing"),
        ("mysql", "database.includ.list", "a", "did you mean database.include.list?"),
        ("mysql", "colour", "red", "this property is not known here"),
        ("mysql", "slot.name", "s", "this property is not known here"),
        ("mysql", "database.password", "${NOBODY}", "the environment variable NOBODY is not set"),
        ("mysql", "database.password", "${vault:path:key}", "is not the name of an environment variable"),
        ("postgresql", "snapshot.mode", "recovery", "allowed are initial"),
        ("postgresql", "plugin.name", "test_decoding", "allowed are pgoutput"),
        ("postgresql", "unavailable.value.placeholder", "hex:c", "two digits each"),
        ("postgresql", "unavailable.value.placeholder", "hex:ff", "octets of a text in UTF-8"),
        ("postgresql", "database.options", "-c a=b", "not yet honoured: variables of the session"),
        ("postgresql", "slot.drop.on.stop", "true", "only false is honoured"),
        ("postgresql", "replica.identity.autoset.values", "a.b:SOME", "TABLES:IDENTITY"),
        ("postgresql", "event.converting.failure.handling.mode", "fail", "not honoured yet"),
        ("postgresql", "snapshot.mode", "configuration_based", "nothing would be done"),
    ] {
        let faults = read(&with(kind, &[(name, value)])).unwrap_err();
        assert!(faults.contains(expected), "{name}={value}: {faults}");
        assert!(faults.contains(name.split('.').next().unwrap()) && !faults.contains("secret"), "{name}: {faults}");
    }
    let faults =
        read(&with("mysql", &[("table.include.list", "a"), ("table.exclude.list", "b"), ("x", "y")])).unwrap_err();
    assert_eq!(faults.lines().count(), 2, "{faults}");
    let faults = read(&BTreeMap::new()).unwrap_err();
    assert_eq!(faults, "connector.class: it is missing");
    let faults =
        read(&with("mysql", &[("connector.class", "io.debezium.connector.mongodb.MongoDbConnector")])).unwrap_err();
    assert!(faults.contains("is not a source here"), "{faults}");
}

#[test]
fn what_means_nothing_here_is_a_note() {
    for (kind, name, value) in [
        ("mysql", "event.processing.failure.handling.mode", "warn"),
        ("mysql", "event.deserialization.failure.handling.mode", "ignore"),
        ("mysql", "inconsistent.schema.handling.mode", "skip"),
        ("mysql", "signal.enabled.channels", "source"),
        ("mysql", "signal.poll.interval.ms", "5000"),
        ("mysql", "notification.enabled.channels", "log,jmx"),
        ("mysql", "topic.creation.default.replication.factor", "3"),
        ("mysql", "database.allowPublicKeyRetrieval", "true"),
        ("mysql", "driver.connectionTimeZone", "UTC"),
        ("mysql", "driver.whatever", "x"),
        ("mysql", "database.jdbc.protocol", "jdbc:mariadb"),
        ("mysql", "binlog.net.read.timeout", "30"),
        ("mysql", "ddl.parser.type", "antlr"),
        ("mysql", "guardrail.collections.max", "10"),
        ("mysql", "snapshot.max.threads.multiplier", "2"),
        ("mysql", "resolve.create.table.like.schema", "true"),
        ("postgresql", "status.update.interval.ms", "60000"),
        ("postgresql", "plugin.name", "wal2json_rds_streaming"),
        ("postgresql", "lsn.flush.timeout.ms", "30000"),
        ("postgresql", "offset.mismatch.strategy", "trust_slot"),
        ("postgresql", "database.socketTimeout", "60"),
    ] {
        let notes = read(&with(kind, &[(name, value)])).unwrap().notes;
        assert!(notes.iter().any(|note| note.starts_with(&format!("{name}: "))), "{name}: {notes:?}");
    }
    // What is the default needs none.
    let notes = read(&with("mysql", &[("inconsistent.schema.handling.mode", "fail")])).unwrap().notes;
    assert!(!notes.iter().any(|note| note.starts_with("inconsistent")), "{notes:?}");
}

#[test]
fn old_names_mean_what_they_meant() {
    let format = |kind, more: &[(&str, &str)]| read(&with(kind, more)).unwrap().format;
    assert_eq!(format("mysql", &[("transaction.topic", "${database.server.name}.tx.all")]).transaction_topic, "tx.all");
    assert!(!format("postgresql", &[("truncate.handling.mode", "include")]).skipped.truncate);
    assert!(format("postgresql", &[("truncate.handling.mode", "skip")]).skipped.truncate);
    assert!(
        format("postgresql", &[("truncate.handling.mode", "include"), ("skipped.operations", "t")]).skipped.truncate
    );
    assert_eq!(format("postgresql", &[("unavailable.value.placeholder", "hex:c3a9")]).unavailable_placeholder, "é");
    assert_eq!(format("postgresql", &[("toasted.value.placeholder", "gone")]).unavailable_placeholder, "gone");
    let unwrapped = |more: &[(&str, &str)]| {
        let own = more.iter().map(|(name, value)| (format!("transforms.u.{name}"), (*value).to_owned()));
        let mut properties = base("mysql");
        properties.insert("transforms".into(), "u".into());
        properties.insert("transforms.u.type".into(), "io.debezium.transforms.UnwrapFromEnvelope".into());
        properties.extend(own);
        match &read(&properties).unwrap().format.transforms[0].step {
            headwater_format::debezium::options::Step::Unwrap(unwrap) => unwrap.clone(),
            other => panic!("{other:?}"),
        }
    };
    for (mode, drop_tombstones, expected) in [
        ("", "", "Tombstone"),
        ("", "true", "Drop"),
        ("", "false", "OnlyTombstone"),
        ("drop", "", "Drop"),
        ("drop", "false", "OnlyTombstone"),
        ("none", "", "Tombstone"),
        ("none", "false", "NullWithTombstone"),
        ("rewrite", "", "Rewrite"),
        ("rewrite", "false", "RewriteWithTombstone"),
    ] {
        let unwrap = unwrapped(&[("delete.handling.mode", mode), ("drop.tombstones", drop_tombstones)]);
        assert_eq!(format!("{:?}", unwrap.deletes), expected, "{mode} {drop_tombstones}");
    }
    let unwrap = unwrapped(&[("add.source.fields", "version,db"), ("operation.header", "true")]);
    assert_eq!((unwrap.fields, unwrap.headers), (vec!["version".to_owned(), "db".to_owned()], vec!["op".to_owned()]));
    let read = read(&with("mysql", &[("connector.adapter", "mariadb")])).unwrap();
    assert_eq!((read.kind, read.format.context_headers.unwrap().connector), ("mariadb", "mariadb".to_owned()));
}

#[test]
fn what_a_url_can_say_stands_in_it() {
    let more = [("database.ApplicationName", "debezium shop"), ("database.channelBinding", "require")];
    let url = read(&with("postgresql", &more)).unwrap().settings["url"].clone();
    assert_eq!(url, "postgres://cdc:secret@db:5432/gold?application_name=debezium%20shop&channel_binding=require");
}

#[test]
fn a_password_reaches_the_url_and_nothing_else() {
    let read = read(&with("mysql", &[("database.password", "${DEBEZIUM_PASSWORD}"), ("database.server.name", "old")]))
        .unwrap();
    assert_eq!(read.settings["url"], "mysql://cdc:p%40ss%2Fword@db:3306");
    assert_eq!(read.format.prefix, "p");
    assert!(read.notes.iter().any(|note| note.starts_with("database.server.name: topic.prefix stands beside it")));
}
