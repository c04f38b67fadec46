//! Conversations with a server that follows a script, for what a real one seldom or never says.
//!
//! Invariant under test: whatever a server sends, we answer with a named error or carry on; never with a secret in the clear.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use headwater_model::Secret;

use super::*;
use crate::net::{Address, TlsMode, TlsOptions};
use crate::postgres::lsn::Lsn;
use crate::postgres::wire::{Event, Replication};

const PASSWORD: &str = "open sesame";

/// A message, framed.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

fn accepted() -> Vec<u8> {
    [
        message(b'R', &[0; 4]),
        message(b'S', b"server_version\x0015.9\0"),
        message(b'K', &[0, 0, 0, 7, 0, 0, 0, 1]),
        ready(),
    ]
    .concat()
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

/// Reads something from the client before each of its turns. Returns all that the client sent.
fn serve(script: Vec<Vec<u8>>) -> (Options, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("a bound port").port();
    let server = thread::spawn(move || {
        let (mut stream, _): (TcpStream, _) = listener.accept().expect("a client");
        let mut heard = Vec::new();
        for bytes in script {
            let mut piece = [0; 4096];
            match stream.read(&mut piece) {
                Ok(count) if count > 0 => heard.extend_from_slice(&piece[..count]),
                _ => break,
            }
            // A client that has left is no failure of the server.
            let _ = stream.write_all(&bytes);
        }
        heard
    });
    let options = Options {
        hosts: vec![Address::Tcp { host: "127.0.0.1".into(), port }],
        user: "cdc".into(),
        password: Secret::new(PASSWORD),
        tls: TlsOptions { mode: TlsMode::Disabled, ..TlsOptions::default() },
        connect_timeout: Duration::from_secs(20),
        message_bytes_max: 1000,
        result_bytes_max: 2000,
        ..Options::default()
    };
    (options, server)
}

#[test]
fn strange_logins_are_refused_by_name_and_reveal_nothing() {
    let error = |text: &[u8]| message(b'E', text);
    for (mode, script, expected) in [
        (TlsMode::Disabled, vec![error(b"SFATAL\0C28P01\0Mpassword authentication failed\0\0")], "28P01"),
        (
            TlsMode::Disabled,
            vec![error(b"SFATAL\0C08P01\0Munsupported startup parameter: replication\0\0")],
            "pooler stands between",
        ),
        (TlsMode::Disabled, vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()], "far too large for a login"),
        (TlsMode::Disabled, vec![message(b'R', &[0, 0, 0, 3])], "in the clear"),
        (TlsMode::Disabled, vec![message(b'R', &[0, 0, 0, 7])], "number 7"),
        (TlsMode::Disabled, vec![message(b'R', &[0])], "inside a field"),
        (TlsMode::Disabled, vec![ready()], "kind 'Z'"),
        (TlsMode::Disabled, vec![message(b'K', &[0; 8])], "kind 'K'"),
        (TlsMode::Disabled, vec![b"R\0\0".to_vec()], "closed the connection"),
        (TlsMode::Disabled, vec![message(b'N', b"\0").repeat(2000)], "not ready"),
        (TlsMode::Required, vec![b"N".to_vec()], "offers no TLS"),
        (TlsMode::VerifyIdentity, vec![b"N".to_vec()], "offers no TLS"),
        (TlsMode::Preferred, vec![b"E".to_vec()], "refuses to talk"),
        (TlsMode::Preferred, vec![b"H".to_vec()], "none of PostgreSQL's"),
        // What comes with the answer in the clear is taken for TLS, and is none.
        (TlsMode::Required, vec![[b"S".to_vec(), accepted()].concat()], "TLS"),
    ] {
        let (mut options, server) = serve(script);
        options.tls.mode = mode;
        let error = Connection::connect(&options, 0).expect_err(expected).to_string();
        let heard = server.join().expect("the server's thread");
        assert!(error.contains(expected) && error.contains("user \"cdc\""), "expected {expected:?} in: {error}");
        assert!(!error.contains(PASSWORD), "{error}");
        assert!(
            !heard.windows(PASSWORD.len()).any(|seen| seen == PASSWORD.as_bytes()),
            "the password went out: {error}"
        );
    }
}

/// Connects to a server that answers each later command with one of `turns`.
fn connected(turns: Vec<Vec<u8>>) -> (Connection, JoinHandle<Vec<u8>>) {
    let (options, server) = serve([vec![accepted()], turns].concat());
    (Connection::connect(&options, 0).expect("a connection"), server)
}

fn description(names: &[&str]) -> Vec<u8> {
    let mut body = (names.len() as u16).to_be_bytes().to_vec();
    for name in names {
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(&[0; 19]);
    }
    message(b'T', &body)
}

#[test]
fn results_are_read_and_strange_ones_are_refused_by_name() {
    let row = message(b'D', b"\0\x02\0\0\0\x01x\xff\xff\xff\xff");
    let done = [message(b'C', b"SELECT 1\0"), ready()].concat();
    let notice = message(b'N', b"SNOTICE\0C00000\0Mhello\0\0");
    let good = [description(&["a", "b"]), notice.clone(), row.clone(), done.clone()].concat();
    for (answer, expected) in [
        (good, Ok(vec![vec![Some("x".to_owned()), None]])),
        ([message(b'I', b""), ready()].concat(), Ok(vec![])),
        ([message(b'E', b"SERROR\0C42P01\0Mno such table\0\0"), ready()].concat(), Err("42P01")),
        ([description(&["a"]), row.clone(), done.clone()].concat(), Err("a value for each column")),
        (
            [description(&["a", "b"]), message(b'D', b"\0\x02\0\0\0\x09x"), done].concat(),
            Err("a value for each column"),
        ),
        (message(b'T', b"\0\x02a"), Err("inside a field")),
        (message(b'G', b""), Err("kind 'G'")),
        (b"T\0\0\0\x01".to_vec(), Err("claims a length of 1")),
        (b"T\0\x01\0\x01".to_vec(), Err("more than 1000 bytes")),
        ([description(&["a", "b"]), row].concat(), Err("closed the connection")),
        (Vec::new(), Err("closed the connection")),
    ] {
        let (mut connection, server) = connected(vec![answer.clone()]);
        match (connection.query("SELECT 1"), expected) {
            (Ok(result), Ok(rows)) => assert_eq!(result.rows, rows),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{expected}: {error}"),
            (seen, expected) => panic!("{seen:?} where {expected:?} was due"),
        }
        drop(connection);
        server.join().expect("the server's thread");
    }
}

#[test]
fn a_failed_statement_leaves_the_connection_usable() {
    let failed = [message(b'E', b"SERROR\0C42P01\0Mno such table\0\0"), ready()].concat();
    let good =
        [description(&["a"]), message(b'D', b"\0\x01\0\0\0\x011"), message(b'C', b"SELECT 1\0"), ready()].concat();
    let (mut connection, server) = connected(vec![failed, good]);
    assert!(connection.query("SELECT * FROM nothing").expect_err("no table").is_sqlstate("42P01"));
    assert_eq!(connection.query("SELECT 1").expect("a result").first_text(), Some("1"));
    connection.close();
    server.join().expect("the server's thread");
}

#[test]
fn a_connection_that_is_dropped_is_closed_although_a_canceller_is_left() {
    // The server waits for a command that never comes, until the connection ends.
    let (connection, server) = connected(vec![ready()]);
    let canceller = connection.canceller();
    drop(connection);
    server.join().expect("the server's thread");
    drop(canceller);
}

fn streaming(answer: Vec<u8>) -> (Replication, JoinHandle<Vec<u8>>) {
    let (connection, server) = connected(vec![[message(b'W', &[0; 3]), answer].concat()]);
    (connection.start_replication("START_REPLICATION").expect("a stream"), server)
}

#[test]
fn a_stream_is_read_and_strange_messages_are_refused_by_name() {
    let data = message(b'd', &[&b"w"[..], &7u64.to_be_bytes(), &[0; 16], b"B"].concat());
    let (mut stream, server) = streaming([data, message(b'N', b"\0"), message(b'c', b"")].concat());
    assert_eq!(stream.next_event().expect("data"), Some(Event::Data { start: Lsn(7), body: b"B" }));
    assert_eq!(stream.next_event().expect("the end"), None);
    drop(stream);
    server.join().expect("the server's thread");
    for (answer, expected) in [
        (message(b'd', b"x"), "unknown kind"),
        (message(b'd', b""), "inside a field"),
        (message(b'd', b"w123"), "inside a field"),
        (message(b'D', b""), "kind 'D'"),
        (message(b'E', b"SFATAL\0C57P01\0Mterminating connection\0\0"), "57P01"),
        (b"d\0".to_vec(), "inside a message"),
    ] {
        let (mut stream, server) = streaming(answer);
        let error = stream.next_event().expect_err(expected).to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        drop(stream);
        server.join().expect("the server's thread");
    }
}
