//! A Redis client of a page, so that tests see exact bytes and judge Headwater's client by another one. Refuses replies
//! larger than any test makes.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::error::Attempt;
use crate::{Error, Result};

const BULK_BYTES_MAX: usize = 512 << 20;
const LIST_ITEMS_MAX: usize = 50_000_000;
const TIMEOUT: Duration = Duration::from_secs(60);

/// What Redis answers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    /// No such key, field or member.
    Nil,
    /// A number.
    Int(i64),
    /// Bytes, or a status such as `OK`.
    Bytes(Vec<u8>),
    /// Items, in Redis' order.
    List(Vec<Reply>),
    /// A refusal inside of a list, as EXEC returns it.
    Error(String),
}

impl Reply {
    /// A number; a text that is one counts.
    ///
    /// # Panics
    /// For anything else.
    #[track_caller]
    pub fn int(&self) -> i64 {
        let number = match self {
            Reply::Int(number) => Some(*number),
            Reply::Bytes(_) => self.text().and_then(|text| text.parse().ok()),
            _ => None,
        };
        number.unwrap_or_else(|| panic!("Redis answered {self:?} where a number was expected"))
    }

    /// The text of bytes or a number, bytes that are not UTF-8 replaced; `None` for nil and lists.
    pub fn text(&self) -> Option<String> {
        match self {
            Reply::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Reply::Int(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The items of a list; none for anything else.
    pub fn list(&self) -> &[Reply] {
        match self {
            Reply::List(items) => items,
            _ => &[],
        }
    }

    /// The texts of a list's items; nil is the empty text.
    pub fn texts(&self) -> Vec<String> {
        self.list().iter().map(|item| item.text().unwrap_or_default()).collect()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Nil => f.write_str("nil"),
            Reply::Int(number) => number.fmt(f),
            Reply::Bytes(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Reply::List(items) => f.debug_list().entries(items).finish(),
            Reply::Error(message) => write!(f, "error {message:?}"),
        }
    }
}

/// A connection to a Redis server.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to 127.0.0.1.
    pub fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).attempt(|| format!("connect to Redis on port {port}"))?;
        let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(TIMEOUT)));
        set.attempt(|| "set up the connection to Redis".to_owned())?;
        Ok(Self { stream: BufReader::with_capacity(64 << 10, stream) })
    }

    /// Sends one command and waits for its reply; a refusal is an error.
    pub fn call<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Result<Reply> {
        self.pipeline(&[command])?.pop().map_or_else(|| Err(Error::new("no reply")), refuse)
    }

    /// Sends commands together and waits for all replies; refusals are among the replies.
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[&[A]]) -> Result<Vec<Reply>> {
        let mut request = Vec::new();
        for command in commands {
            encode(&mut request, command);
        }
        let talk = || "talk to Redis".to_owned();
        self.stream.get_mut().write_all(&request).attempt(talk)?;
        commands.iter().map(|_| self.read().attempt(talk)).collect()
    }

    fn read(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let line = line.strip_suffix("\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let bad = || io::Error::new(io::ErrorKind::InvalidData, format!("not a reply: {line:?}"));
        let (kind, rest) = line.split_at_checked(1).ok_or_else(bad)?;
        Ok(match kind {
            "+" => Reply::Bytes(rest.as_bytes().to_vec()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Int(rest.parse().map_err(|_| bad())?),
            "$" | "*" if rest == "-1" => Reply::Nil,
            "$" => {
                let length = rest.parse().ok().filter(|length| *length <= BULK_BYTES_MAX).ok_or_else(bad)?;
                let mut bytes = vec![0; length + 2];
                self.stream.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Reply::Bytes(bytes)
            }
            "*" => {
                let items: usize = rest.parse().ok().filter(|items| *items <= LIST_ITEMS_MAX).ok_or_else(bad)?;
                Reply::List((0..items).map(|_| self.read()).collect::<io::Result<_>>()?)
            }
            _ => return Err(bad()),
        })
    }
}

fn refuse(reply: Reply) -> Result<Reply> {
    match reply {
        Reply::Error(message) => Err(Error::new(format!("Redis refused: {message}"))),
        reply => Ok(reply),
    }
}

fn encode<A: AsRef<[u8]>>(request: &mut Vec<u8>, command: &[A]) {
    request.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
    for argument in command {
        let argument = argument.as_ref();
        request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        request.extend_from_slice(argument);
        request.extend_from_slice(b"\r\n");
    }
}
