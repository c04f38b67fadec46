//! Every path over a real socket, against an instance that only pretends.

use super::{Server, Shared};
use crate::control::{Control, DeadLetter, Refusal, RefusalKind, SinkStatus, SourceStatus, Stages, Status};
use expect_test::expect;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

struct Pretender;

fn known(name: &str) -> Result<(), Refusal> {
    match name {
        "cache" | "shop" => Ok(()),
        _ => Err(Refusal::new(RefusalKind::Unknown, format!("there is nothing named {name}"), "There is: cache.")),
    }
}

impl Control for Pretender {
    fn status(&self) -> Status {
        let times = [0.5, 2.0];
        Status {
            sources: vec![SourceStatus { name: "shop".into(), state: "streaming".into(), ..Default::default() }],
            sinks: vec![SinkStatus {
                name: "cache".into(),
                source: "shop".into(),
                state: "waiting".into(),
                lag_ms: 1500,
                stages: Some(Stages {
                    commit_to_receive_ms: None,
                    receive_to_journal_ms: times,
                    journal_to_sink_ms: times,
                    commit_to_sink_ms: Some(times),
                    commit_note: None,
                }),
                ..Default::default()
            }],
        }
    }

    fn wait(&self, limit: Duration) -> Result<(), Refusal> {
        match limit.as_millis() {
            7 => Err(Refusal::new(RefusalKind::TimedOut, "sink cache has not caught up", "Wait longer.")),
            _ => Ok(()),
        }
    }

    fn pause(&self, sink: &str) -> Result<(), Refusal> {
        known(sink)
    }

    fn resume(&self, sink: &str) -> Result<(), Refusal> {
        known(sink)
    }

    fn rebuild(&self, sink: &str) -> Result<(), Refusal> {
        known(sink)
    }

    fn snapshot(&self, source: &str, tables: &[String]) -> Result<(), Refusal> {
        known(source)?;
        match tables {
            [] => Ok(()),
            tables => Err(Refusal::new(RefusalKind::Conflict, format!("asked for {}", tables.join(", ")), "")),
        }
    }

    fn dead_letters(&self, sink: &str, limit: usize) -> Result<Vec<DeadLetter>, Refusal> {
        known(sink)?;
        let letter = |sequence| DeadLetter {
            sequence,
            table: "shop.orders".into(),
            op: "c".into(),
            at_us: 0,
            reason: "too long".into(),
        };
        Ok((1..=2).map(letter).take(limit).collect())
    }

    fn replay(&self, sink: &str, sequences: Vec<u64>) -> Result<usize, Refusal> {
        known(sink).map(|()| sequences.len())
    }

    fn drop_dead_letters(&self, sink: &str, sequences: &[u64]) -> Result<usize, Refusal> {
        known(sink).map(|()| sequences.len())
    }
}

fn serve() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    Server::start(listener, Shared::new(Arc::new(Pretender), None)).expect("a server")
}

/// Sends one request and answers its status and body.
fn ask(address: SocketAddr, method: &str, path: &str, body: &str, more: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let length = body.len();
    let host = if more.contains("host:") { String::new() } else { format!("host: {address}\r\n") };
    let request =
        format!("{method} {path} HTTP/1.1\r\n{host}connection: close\r\ncontent-length: {length}\r\n{more}\r\n{body}");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_string()).unwrap_or_default())
}

#[test]
fn every_path_answers_as_documented() {
    let server = serve();
    let mut seen = String::new();
    for (method, path, body) in [
        ("GET", "/ready", ""),
        ("POST", "/wait", ""),
        ("POST", "/wait?timeout=7ms", ""),
        ("POST", "/wait?timeout=soon", ""),
        ("POST", "/sinks/cache/pause", ""),
        ("POST", "/sinks/cache/resume", ""),
        ("POST", "/sinks/cache/rebuild", ""),
        ("POST", "/sinks/nobody/pause", ""),
        ("GET", "/sinks/cache/pause", ""),
        ("GET", "/sinks/cache/dead-letters?limit=1", ""),
        ("POST", "/sinks/cache/dead-letters/replay", "{\"sequences\":[1,2]}"),
        ("POST", "/sinks/cache/dead-letters/replay", "{\"sequence\":1}"),
        ("DELETE", "/sinks/cache/dead-letters?sequences=1,2,3", ""),
        ("DELETE", "/sinks/cache/dead-letters?sequences=x", ""),
        ("POST", "/sources/shop/snapshot", ""),
        ("POST", "/sources/shop/snapshot", "{\"tables\":[\"shop.orders\"]}"),
        ("GET", "/nothing", ""),
    ] {
        let (status, answer) = ask(server.address(), method, path, body, "");
        seen.push_str(&format!("{method} {path} {body}\n  {status} {answer}\n"));
    }
    expect![[r#"
        GET /ready 
          503 {"missing":["sink cache is waiting"],"ready":false}
        POST /wait 
          200 {"applied":true}
        POST /wait?timeout=7ms 
          504 {"error":"sink cache has not caught up","hint":"Wait longer."}
        POST /wait?timeout=soon 
          400 {"error":"timeout: not a duration: write a whole number and ms, s, m, h or d, such as 90s"}
        POST /sinks/cache/pause 
          200 {"paused":true}
        POST /sinks/cache/resume 
          200 {"resumed":true}
        POST /sinks/cache/rebuild 
          200 {"rebuilding":true}
        POST /sinks/nobody/pause 
          404 {"error":"there is nothing named nobody","hint":"There is: cache."}
        GET /sinks/cache/pause 
          405 {"error":"this path takes another method","hint":"Reading is GET, acting is POST."}
        GET /sinks/cache/dead-letters?limit=1 
          200 {"dead_letters":[{"at_us":0,"op":"c","reason":"too long","sequence":1,"table":"shop.orders"}]}
        POST /sinks/cache/dead-letters/replay {"sequences":[1,2]}
          200 {"replayed":2}
        POST /sinks/cache/dead-letters/replay {"sequence":1}
          400 {"error":"the body is not understood: unknown field `sequence`, expected `sequences` at line 1 column 11","hint":"Send {\"sequences\": [1, 2]}."}
        DELETE /sinks/cache/dead-letters?sequences=1,2,3 
          200 {"dropped":3}
        DELETE /sinks/cache/dead-letters?sequences=x 
          400 {"error":"sequences: expected numbers with commas between"}
        POST /sources/shop/snapshot 
          200 {"requested":true}
        POST /sources/shop/snapshot {"tables":["shop.orders"]}
          409 {"error":"asked for shop.orders"}
        GET /nothing 
          404 {"error":"there is nothing at this path","hint":"See /status."}
    "#]].assert_eq(&seen);
}

#[test]
fn health_names_the_version() {
    let server = serve();
    let (status, body) = ask(server.address(), "GET", "/health", "", "");
    assert_eq!((status, body), (200, format!("{{\"status\":\"up\",\"version\":\"{}\"}}", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn metrics_are_prometheus_text() {
    let server = serve();
    let (status, body) = ask(server.address(), "GET", "/metrics", "", "");
    assert_eq!(status, 200);
    for line in [
        "headwater_source_up{source=\"shop\"} 1",
        "headwater_sink_up{sink=\"cache\",source=\"shop\"} 0",
        "headwater_sink_lag_seconds{sink=\"cache\",source=\"shop\"} 1.5",
        "headwater_sink_stage_seconds{sink=\"cache\",stage=\"commit_to_sink\",quantile=\"0.99\"} 0.002",
    ] {
        assert!(body.lines().any(|seen| seen == line), "{line} is missing in\n{body}");
    }
    assert!(!body.contains("commit_to_receive"), "what is not known is left out:\n{body}");
}

#[test]
fn strangers_and_giants_are_refused() {
    let server = serve();
    for (path, body, more, expected) in [
        ("/sinks/cache/pause", String::new(), "host: evil.example\r\n", 403),
        ("/sinks/cache/pause", String::new(), "origin: http://evil.example\r\n", 403),
        ("/sources/shop/snapshot", "x".repeat(super::BODY_BYTES_MAX + 1), "", 413),
    ] {
        assert_eq!(ask(server.address(), "POST", path, &body, more).0, expected, "{path} {more}");
    }
}
