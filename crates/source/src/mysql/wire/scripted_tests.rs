//! Conversations with a server that follows a script, for what a real one seldom or never says.
//!
//! Invariant under test: whatever a server sends, we answer with a named error or carry on; never with a secret in the clear.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mysql_common::constants::CapabilityFlags;

use super::*;
use crate::mysql::wire::{Address, DumpRequest, DumpStart, TlsMode, TlsOptions};

const OK: &[u8] = b"\x00\0\0\x02\0\0\0";
const PASSWORD: &str = "open sesame";

fn greeting(plugin: &str) -> Vec<u8> {
    let capabilities = (CapabilityFlags::all() - CapabilityFlags::CLIENT_COMPRESS).bits().to_le_bytes();
    let mut packet = b"\x0a8.4.0\0\x07\0\0\0abcdefgh\0".to_vec();
    packet.extend_from_slice(&capabilities[..2]);
    packet.extend_from_slice(b"\x2d\x02\0");
    packet.extend_from_slice(&capabilities[2..]);
    packet.extend_from_slice(b"\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0");
    packet.extend_from_slice(plugin.as_bytes());
    packet.push(0);
    packet
}

/// Sends each turn's packets and then reads one of the client's. Returns all that the client sent.
fn serve(script: Vec<Vec<Vec<u8>>>) -> (Options, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("a bound port").port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let (mut sequence, mut heard) = (0u8, Vec::new());
        for packets in script {
            for packet in packets {
                let mut frame = (packet.len() as u32).to_le_bytes();
                frame[3] = sequence;
                sequence = sequence.wrapping_add(1);
                // A client that has left is no failure of the server.
                let _ = stream.write_all(&frame).and_then(|()| stream.write_all(&packet));
            }
            let Some((body, seen)) = read_frame(&mut stream) else {
                break;
            };
            heard.extend_from_slice(&body);
            sequence = seen.wrapping_add(1);
        }
        heard
    });
    let options = Options {
        hosts: vec![Address::Tcp { host: "127.0.0.1".into(), port }],
        user: "cdc".into(),
        password: PASSWORD.into(),
        connect_timeout: Duration::from_secs(20),
        packet_bytes_max: 1000,
        result_bytes_max: 2000,
        ..Options::default()
    };
    (Options { tls: TlsOptions { mode: TlsMode::Disabled, ..Default::default() }, ..options }, server)
}

fn read_frame(stream: &mut TcpStream) -> Option<(Vec<u8>, u8)> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).ok()?;
    let mut body = vec![0; usize::from(header[0]) | usize::from(header[1]) << 8];
    stream.read_exact(&mut body).ok()?;
    Some((body, header[3]))
}

/// Runs a login against `answers` (one a turn) and returns the error's text, after checking that no secret went out.
fn refused_login(first: Vec<u8>, answers: &[&[u8]], mode: TlsMode) -> String {
    let mut script = vec![vec![first]];
    script.extend(answers.iter().map(|answer| vec![answer.to_vec()]));
    let (mut options, server) = serve(script);
    options.tls.mode = mode;
    let error = Connection::connect(&options, 0).expect_err("a refused login").to_string();
    let heard = server.join().expect("the server's thread");
    assert!(!error.contains(PASSWORD), "{error}");
    assert!(
        !heard.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()),
        "the password went out: {error}"
    );
    error
}

#[test]
fn strange_logins_are_refused_by_name_and_reveal_nothing() {
    let native = || greeting("mysql_native_password");
    let endless = vec![&b"\xfemysql_native_password\0abcdefghijklmnopqrst\0"[..]; 20];
    for (first, answers, expected) in [
        (b"\xff\x10\x04Too many connections".to_vec(), Vec::<&[u8]>::new(), "1040"),
        (b"\x09old".to_vec(), vec![], "greeting"),
        (b"HTTP/1.1 400 Bad Request".to_vec(), vec![], "greeting"),
        (b"\x0a8.0\0short".to_vec(), vec![], "the packet ends inside a field"),
        (native(), vec![b"\xfemysql_clear_password\0"], "verify_identity"),
        (native(), vec![b"\xfeparsec\0xxxx"], "\"parsec\": this plugin is not supported"),
        (native(), vec![b"\xfe"], "mysql_old_password"),
        (native(), vec![b"\xfedialog\0"], "\"dialog\""),
        (native(), vec![b"\x02webauthn"], "second factor"),
        (native(), vec![b"\xfeclient_ed25519\0short"], "5 bytes where 32 were due"),
        (
            native(),
            vec![b"\xfecaching_sha2_password\0abcdefghijklmnopqrst\0", b"\x01\x04", b"\x01no key"],
            "RSA public key",
        ),
        (native(), vec![b"\x01more"], "does not know"),
        (native(), vec![b"\x07"], "unknown packet"),
        (native(), vec![b""], "unknown packet"),
        (native(), endless, "still asks"),
        (greeting("parsec"), vec![b"\xff\x15\x04#28000Access denied"], "1045 (28000)"),
    ] {
        let error = refused_login(first, &answers, TlsMode::Disabled);
        assert!(error.contains(expected) && error.contains("user \"cdc\""), "expected {expected:?} in: {error}");
    }
}

#[test]
fn a_server_without_tls_is_refused_where_tls_is_required() {
    let mut no_tls = greeting("mysql_native_password");
    // The byte of the low capabilities that holds CLIENT_SSL follows the version, id, challenge and filler.
    no_tls[1 + 6 + 4 + 8 + 1 + 1] &= !(CapabilityFlags::CLIENT_SSL.bits() >> 8) as u8;
    for mode in [TlsMode::Required, TlsMode::VerifyCa, TlsMode::VerifyIdentity] {
        let error = refused_login(no_tls.clone(), &[], mode);
        assert!(error.contains(mode.as_str()) && error.contains("offers no TLS"), "{error}");
    }
}

#[test]
fn what_comes_before_tls_is_not_taken_for_its_content() {
    let (mut options, server) = serve(vec![vec![greeting("mysql_native_password"), OK.to_vec()]]);
    options.tls.mode = TlsMode::Required;
    let error = Connection::connect(&options, 0).expect_err("injected data");
    // Both packets mostly arrive at once; where the second comes later, it is no TLS.
    assert!(matches!(error, Error::Protocol { .. } | Error::Tls { .. }), "{error}");
    server.join().expect("the server's thread");
}

/// Connects to a server that answers each later command with one of `turns`.
fn connected(turns: Vec<Vec<Vec<u8>>>) -> (Connection, JoinHandle<Vec<u8>>) {
    let mut script =
        vec![vec![greeting("caching_sha2_password")], vec![b"\x01\x03".to_vec(), OK.to_vec()], vec![OK.to_vec()]];
    script.extend(turns);
    let (options, server) = serve(script);
    (Connection::connect(&options, 0).expect("a connection"), server)
}

fn column(name: &str) -> Vec<u8> {
    let mut packet = b"\x03def\0\0\0".to_vec();
    packet.push(name.len() as u8);
    packet.extend_from_slice(name.as_bytes());
    packet.extend_from_slice(b"\0\x0c\x2d\0\xff\0\0\0\xfd\0\0\0\0\0");
    packet
}

const END: &[u8] = b"\xfe\0\0\x02\0\0\0";

#[test]
fn strange_results_are_refused_by_name() {
    let cases: Vec<(Vec<Vec<u8>>, &str)> = vec![
        (vec![b"\xfbfile".to_vec()], "local file"),
        (vec![b"\xfc\x01\x20".to_vec()], "8193 columns"),
        (vec![vec![1], b"\x03def".to_vec()], "the packet ends inside a field"),
        (vec![vec![1], column("a"), b"\x01x\x01y".to_vec(), END.to_vec()], "a value for each column"),
        (vec![vec![1], column("a"), b"\x05x".to_vec(), END.to_vec()], "a value for each column"),
        (vec![vec![1], column("a"), b"\xfe\0\0\x0a\0\0\0".to_vec()], "several results"),
        (vec![vec![1], column("a"), vec![b'x'; 1001]], "a packet of more than 1000 bytes"),
        (vec![b"\x00".to_vec()], "the packet ends inside a field"),
    ];
    for (packets, expected) in cases {
        let (mut connection, server) = connected(vec![packets]);
        let error = connection.query("SELECT 1").expect_err(expected).to_string();
        assert!(error.contains(expected), "expected {expected:?} in: {error}");
        drop(connection);
        server.join().expect("the server's thread");
    }
}

#[test]
fn a_result_beyond_the_limit_is_refused_and_its_rest_skipped() {
    let row = [&b"\xfc\x84\x03"[..], &[b'x'; 900]].concat();
    let result = vec![vec![1], column("a"), row.clone(), row.clone(), row, END.to_vec()];
    let (mut connection, server) =
        connected(vec![result, vec![vec![1], column("B"), b"\x02hi".to_vec(), END.to_vec()]]);
    let error = connection.query("SELECT a").expect_err("a large result");
    assert!(matches!(error, Error::TooLarge { what: "a result", bytes_max: 2000, .. }), "{error}");
    let result = connection.query("SELECT b").expect("the next result");
    assert_eq!((result.text(0, "b"), result.first_text(), result.text(1, "b")), (Some("hi"), Some("hi"), None));
    drop(connection);
    server.join().expect("the server's thread");
}

#[test]
fn a_timeout_leaves_the_connection_refusing_commands() {
    // The server hears the statement and answers nothing.
    let (mut connection, server) = connected(vec![vec![]]);
    connection.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
    let error = connection.query("SELECT 1").expect_err("no answer");
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    let error = connection.ping().expect_err("a lost place").to_string();
    assert!(error.contains("connect again"), "{error}");
    drop(connection);
    server.join().expect("the server's thread");
}

#[test]
fn a_dump_passes_events_on_and_stops_for_good_at_a_failure() {
    let ok = || vec![OK.to_vec()];
    let large = vec![0; 2000];
    for (last, expected) in [
        (&b"\xff\xd4\x04#HY000purged"[..], "1236 (HY000): purged"),
        (b"\x07", "no event"),
        (b"", "no event"),
        (&large, "a packet of more than 1000 bytes"),
    ] {
        let events = vec![b"\0first".to_vec(), b"\0".to_vec(), last.to_vec(), b"\0behind".to_vec()];
        let (connection, server) = connected(vec![ok(), ok(), events]);
        let mut dump = connection
            .into_dump(&DumpRequest {
                server_id: 7,
                report_host: "headwater",
                heartbeat: Duration::from_secs(1),
                start: DumpStart::Gtid { encoded_set: &[0; 8] },
                flags: 0,
            })
            .expect("a dump");
        assert_eq!(dump.next_event().expect("an event"), Some(&b"first"[..]));
        assert_eq!(dump.next_event().expect("an event"), Some(&b""[..]));
        let error = dump.next_event().expect_err(expected).to_string();
        assert!(error.contains(expected), "expected {expected:?} in: {error}");
        let error = dump.next_event().expect_err("a stream that failed").to_string();
        assert!(error.contains("connect again"), "{error}");
        drop(dump);
        let heard = server.join().expect("the server's thread");
        assert!(heard.ends_with(b"\x08\0\0\0\0\0\0\0\0\0\0\0"), "{heard:?}");
    }
}

#[test]
fn a_cancelled_read_says_so() {
    let (mut connection, server) = connected(vec![]);
    connection.canceller().cancel();
    assert!(matches!(connection.ping(), Err(Error::Cancelled { .. })));
    server.join().expect("the server's thread");
}
