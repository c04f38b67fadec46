//! Configurations that are taken, and those that are refused by name.
//!
//! Invariant under test: what is wrong is named with its key, and never with the password.

use super::*;
use serde_json::{Value, json};

fn options(value: Value) -> Result<Options, ConfigError> {
    Config::from_value(value)?.validate("Shop-1")
}

#[test]
fn a_short_configuration_is_enough() {
    let options = options(json!({ "url": "postgres://cdc:pw@db1,db2/shop", "tables": ["public.*"] })).unwrap();
    assert_eq!(options.connection.hosts.len(), 2);
    assert_eq!(options.connection.database.as_deref(), Some("shop"));
    assert_eq!(options.snapshot, SnapshotMode::Initial);
    assert_eq!((&*options.slot, &*options.publication), ("headwater_shop_1", "headwater_shop_1"));
    assert!(options.filter.captures("public", "orders") && !options.filter.captures("other", "orders"));
    assert!(!options.filter.captures("pg_catalog", "pg_class"));
}

#[test]
fn every_key_is_taken() {
    let options = options(json!({
        "url": "postgres://cdc:pw@db1/x?sslmode=disable", "schemas": ["public"], "exclude_schemas": ["tmp"],
        "tables": ["public.*"], "exclude_tables": ["public.tmp_*"], "columns": ["public.users.id"],
        "exclude_columns": ["*.*.password"], "snapshot": "when_needed", "snapshot_scope": "every", "slot": "s_1",
        "slot_failover": true, "publication": "P 1", "publication_create": "no_tables",
        "publish_via_partition_root": true, "messages": false, "in_progress": false,
        "tls": { "mode": "verify_full", "ca_file": "/ca.pem" },
        "snapshot_tables": ["public.a"], "snapshot_queries": { "public.a": "SELECT 1 AS id" }, "as_debezium": true,
        "message_prefixes": ["a.*"], "exclude_message_prefixes": ["/a\\.b/"], "heartbeat_query": { "statement": "SELECT 1", "interval": "2s" },
        "replica_identities": [{ "tables": "public.*", "identity": "index a_b" }],
        "status_interval": "250ms", "connect_timeout": "3s", "query_timeout": "2m", "transaction_bytes_max": 1_000_000,
    }))
    .unwrap();
    assert_eq!((&*options.slot, &*options.publication), ("s_1", "P 1"));
    assert_eq!(options.snapshot, SnapshotMode::WhenNeeded);
    assert_eq!(options.snapshot_scope, SnapshotScope::Every);
    assert_eq!(options.publication_create, PublicationMode::NoTables);
    assert_eq!(options.connection.tls.mode, wire::TlsMode::VerifyIdentity);
    assert_eq!(options.connection.read_timeout, Some(Duration::from_secs(120)));
    assert_eq!(options.status_interval, Duration::from_millis(250));
    assert!(options.snapshot_tables.captures("public", "a") && !options.snapshot_tables.captures("public", "b"));
    assert_eq!(options.snapshot_queries["public.a"], "SELECT 1 AS id");
    assert!(options.message_prefixes.takes("a.c") && !options.message_prefixes.takes("a.b"));
    let heartbeat = options.heartbeat_query.unwrap();
    assert_eq!((&*heartbeat.statement, heartbeat.interval), ("SELECT 1", Duration::from_secs(2)));
    assert!(options.as_debezium && options.replica_identities.len() == 1);
    assert!(options.slot_failover && options.publish_via_partition_root && !options.messages);
    assert!(!options.in_progress);
}

#[test]
fn what_is_wrong_is_named_without_the_password() {
    for (value, expected) in [
        (json!({}), "url"),
        (json!({ "url": "postgres://u:secret@h", "colour": 1 }), "colour"),
        (json!({ "url": "mysql://u:secret@h" }), "postgres://"),
        (json!({ "url": "postgres://h/d" }), "user"),
        (json!({ "url": "postgres://u:secret@h", "tables": ["orders"] }), "tables"),
        (json!({ "url": "postgres://u:secret@h", "snapshot": "sometimes" }), "when_needed"),
        (json!({ "url": "postgres://u:secret@h", "slot": "Upper" }), "lower-case"),
        (json!({ "url": "postgres://u:secret@h", "publication": "" }), "publication"),
        (json!({ "url": "postgres://u:secret@h", "status_interval": "1h" }), "status_interval"),
        (json!({ "url": "postgres://u:secret@h", "tls": { "mode": "maybe" } }), "verify_full"),
        (json!({ "url": "postgres://u:secret@h", "transaction_bytes_max": 1 }), "transaction_bytes_max"),
        (json!({ "url": "postgres://u:secret@h", "snapshot_tables": ["a"] }), "snapshot_tables: \"a\""),
        (json!({ "url": "postgres://u:secret@h", "message_prefixes": ["/(/"] }), "message_prefixes"),
        (
            json!({ "url": "postgres://u:secret@h", "heartbeat_query": { "statement": "SELECT 1", "interval": "0s" } }),
            "heartbeat_query.interval",
        ),
        (
            json!({ "url": "postgres://u:secret@h", "replica_identities": [{ "tables": "a.b", "identity": "index" }] }),
            "replica_identities",
        ),
    ] {
        let error = options(value.clone()).expect_err(&value.to_string()).to_string();
        assert!(error.contains(expected) && !error.contains("secret"), "{value}: {error}");
    }
}
