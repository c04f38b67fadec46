//! One HTTP request over loopback: enough to ask Headwater how it is. Never follows a redirect or keeps a connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::error::Attempt;
use crate::{Error, Result};

const TIMEOUT: Duration = Duration::from_secs(30);

/// `GET path` from 127.0.0.1: status and body.
pub fn http_get(port: u16, path: &str) -> Result<(u16, String)> {
    let asked = || format!("GET http://127.0.0.1:{port}{path}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).attempt(asked)?;
    stream.set_read_timeout(Some(TIMEOUT)).attempt(asked)?;
    // HTTP/1.0: the server answers without chunks and closes, so the body ends where the connection does.
    let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).attempt(asked)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).attempt(asked)?;
    let status = answer.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    match (status, answer.split_once("\r\n\r\n")) {
        (Some(status), Some((_, body))) => Ok((status, body.to_owned())),
        _ => Err(Error::new(format!("{}: not an HTTP answer: {answer:?}", asked()))),
    }
}
