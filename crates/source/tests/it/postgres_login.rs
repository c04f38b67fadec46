//! Every way of logging in to a PostgreSQL server: by password in its three forms, over sockets and TLS.
//!
//! Invariant under test: what is asked for is what is done, or the refusal says what to do.

use headwater_source::postgres::wire::{Connection, Options, Role};
use headwater_testkit::{Certificates, Postgres, PostgresRelease};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

#[test]
fn each_method_logs_in_or_says_why_not() {
    let server = Postgres::start(PostgresRelease::V15, &[]).expect("a server");
    for (role, encryption) in [("m5", "md5"), ("sc", "scram-sha-256"), ("plain", "scram-sha-256")] {
        let sql =
            format!("SET password_encryption = '{encryption}'; CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'pw'");
        server.exec("postgres", &sql);
    }
    server
        .access("host all m5 all md5\nhost all sc all scram-sha-256\nlocal all plain password\nhost all plain all password\n")
        .expect("rules");
    let (port, sockets) = (server.port(), server.socket_dir().display().to_string());
    let host = format!("127.0.0.1:{port}/postgres");
    let socket = format!("/postgres?host={sockets}&port={port}");
    check(&[
        (format!("postgres://m5:pw@{host}"), Ok(false)),
        (format!("postgres://m5:bad@{host}"), Err("28P01")),
        (format!("postgres://sc:pw@{host}"), Ok(false)),
        (format!("postgres://sc:bad@{host}"), Err("28P01")),
        (format!("postgres://sc@{host}"), Err("none is configured")),
        (format!("postgres://sc:pw@{host}?channel_binding=require"), Err("channel_binding=require")),
        (format!("postgres://sc:pw@{host}?sslmode=require"), Err("offers no TLS")),
        (format!("postgres://plain:pw@{host}"), Err("in the clear")),
        (format!("postgres://plain:pw@{socket}"), Ok(false)),
        (format!("postgres://nobody:pw@{host}"), Err("28000")),
    ]);
}

#[test]
fn tls_is_as_strict_as_the_mode_and_binds_the_login() {
    let certificates = Certificates::create().expect("certificates");
    let mut server = Postgres::start(PostgresRelease::V15, &[]).expect("a server");
    // The server takes a key only of its own, which nobody else may read.
    let owner = std::fs::metadata(server.data_dir()).expect("a folder");
    for (from, name) in [(certificates.certificate(), "server.crt"), (certificates.key(), "server.key")] {
        let to = server.data_dir().join(name);
        std::fs::copy(from, &to).expect("a copy");
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).expect("permissions");
        chown(&to, Some(owner.uid()), Some(owner.gid())).expect("an owner");
    }
    server.restart_with(&["ssl=on"]).expect("a restart");
    server
        .exec("postgres", "SET password_encryption = 'scram-sha-256'; CREATE ROLE sc LOGIN REPLICATION PASSWORD 'pw'");
    server.access("hostssl all sc all scram-sha-256\nhostnossl all sc all reject\n").expect("rules");
    let (port, ca) = (server.port(), certificates.authority().display().to_string());
    let url = |parameters: &str| format!("postgres://sc:pw@localhost:{port}/postgres?{parameters}");
    check(&[
        (url(""), Ok(true)),
        (url("sslmode=disable"), Err("28000")),
        (url("sslmode=require"), Ok(true)),
        (url("sslmode=require&channel_binding=require"), Ok(true)),
        (url("sslmode=require&channel_binding=disable"), Ok(true)),
        (url(&format!("sslmode=verify-ca&sslrootcert={ca}")), Ok(true)),
        (url(&format!("sslmode=verify-full&sslrootcert={ca}")), Ok(true)),
        (url("sslmode=verify-full"), Err("authority")),
    ]);
}

/// Logs in by each URL: it is encrypted or not, or refused with this text.
fn check(cases: &[(String, Result<bool, &str>)]) {
    for (url, expected) in cases {
        let mut options = Options::from_url(url).expect("a URL");
        options.role = Role::Replication;
        let seen = Connection::connect(&options, 0).and_then(|mut connection| {
            let result = connection.query("SELECT 1")?;
            assert_eq!(result.first_text(), Some("1"));
            let is_encrypted = connection.is_encrypted();
            connection.close();
            Ok(is_encrypted)
        });
        match (seen, expected) {
            (Ok(seen), Ok(expected)) => assert_eq!(seen, *expected, "{url}"),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{url}: {error}"),
            (seen, expected) => panic!("{url}: {seen:?} where {expected:?} was due"),
        }
    }
}

#[test]
fn values_come_as_texts_or_in_binary_with_parameters() {
    let server = Postgres::start(PostgresRelease::V15, &[]).expect("a server");
    let options = Options::from_url(&server.url("postgres")).expect("a URL");
    let mut connection = Connection::connect(&options, 0).expect("a connection");
    let sql = "SELECT $1::int4 + 1, $2::text, length($3::bytea)";
    for (binary, first, third) in [(false, &b"42"[..], &b"2"[..]), (true, b"\0\0\0\x2a", b"\0\0\0\x02")] {
        let mut rows = connection.query_with(sql, &[Some("41"), None, Some("\\xdead")], binary).expect("rows");
        let row = rows.next_row().expect("a row").expect("one row");
        let values: Vec<Option<&[u8]>> = row.values().map(|value| value.expect("a value")).collect();
        assert_eq!(values, [Some(first), None, Some(third)]);
        assert!(rows.next_row().expect("the end").is_none());
    }
    let error = connection.query_with("SELECT $1::int4", &[Some("x")], true).expect_err("no number");
    assert!(error.is_sqlstate("22P02"), "{error}");
    assert_eq!(connection.query("SELECT 7").expect("it is usable").first_text(), Some("7"));
}
