//! The start of a connection: the switch to TLS, who we are and what for, and the exchange that proves it.
//!
//! Invariant: nothing that arrived in the clear is read as if it had come under TLS. Protocol: "Start-up", "SSL Session
//! Encryption". Start at [`perform`].

use std::collections::BTreeMap;
use std::io::{Read, Write};

use bytes::BytesMut;
use postgres_protocol::message::frontend;

use super::auth::{Credentials, Exchange, Step};
use super::connection::Link;
use super::error::{Error, Result};
use super::fields::Fields;
use super::frame::{FrameError, Frames};
use super::options::{Options, Role};
use crate::net::{self, Address, Socket, TlsFault, TlsMode, Transport};

/// No message of the startup is as large as this.
const STARTUP_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Messages before the server is ready: parameters, notices and the exchange.
const STARTUP_MESSAGES_MAX: usize = 1_000;

const STARTING: &str = "starting TLS";
const LOGGING_IN: &str = "logging in";

/// What a server says while a connection starts.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    /// `server_version`, `in_hot_standby` and so on.
    pub parameters: BTreeMap<String, String>,
    /// The process that serves us, as it says.
    pub process: u32,
}

/// Takes a fresh socket through the startup.
pub(super) fn perform(
    socket: Socket,
    address: &Address,
    options: &Options,
    link: &Link,
) -> Result<(Frames<Transport>, Greeting)> {
    let transport = match options.tls.mode {
        TlsMode::Disabled => Transport::Plain(socket),
        // libpq does not encrypt what stays on the machine, and its servers refuse to.
        _ if matches!(address, Address::Unix(_)) => Transport::Plain(socket),
        _ => begin_tls(socket, address, options, link)?,
    };
    let mut frames = Frames::new(transport);
    let mut out = BytesMut::new();
    frontend::startup_message(parameters(options), &mut out).map_err(|error| {
        Error::Invalid(format!("user, database and settings must not hold a NUL character: {error}"))
    })?;
    frames.send(&out).map_err(|error| link.io(LOGGING_IN, error))?;
    let greeting = log_in(&mut frames, options, link)?;
    Ok((frames, greeting))
}

fn parameters(options: &Options) -> impl Iterator<Item = (&str, &str)> {
    let database = options.database.as_deref().unwrap_or(&options.user);
    let fixed = [
        ("user", &*options.user),
        ("database", database),
        ("application_name", &options.application_name),
        ("client_encoding", "UTF8"),
    ];
    let replication = (options.role == Role::Replication).then_some(("replication", "database"));
    let settings = options.settings.iter().map(|(name, value)| (&**name, &**value));
    fixed.into_iter().chain(replication).chain(settings)
}

fn begin_tls(mut socket: Socket, address: &Address, options: &Options, link: &Link) -> Result<Transport> {
    let mut out = BytesMut::new();
    frontend::ssl_request(&mut out);
    socket.write_all(&out).map_err(|error| link.io(STARTING, error))?;
    // One byte and no more: what came after it in the clear would otherwise be taken for the content of TLS.
    let mut answer = [0];
    socket.read_exact(&mut answer).map_err(|error| link.io(STARTING, error))?;
    let refused = |reason: String| Error::Tls { peer: link.peer.clone(), reason };
    match answer {
        [b'S'] => match net::upgrade(socket, address, &options.tls) {
            Ok(stream) => Ok(Transport::Tls(stream)),
            Err(TlsFault::Io(error)) => Err(link.io(STARTING, error)),
            Err(TlsFault::Refused(reason)) => Err(refused(reason)),
        },
        [b'N'] if options.tls.mode == TlsMode::Preferred => Ok(Transport::Plain(socket)),
        [b'N'] => Err(refused(
            "the server offers no TLS; set ssl = on with a certificate there, or choose a lower sslmode".to_owned(),
        )),
        // Before it knows what we speak, an old or overloaded server answers with an error.
        [b'E'] => Err(refused("the server refuses to talk; its log says why".to_owned())),
        _ => Err(link.protocol(STARTING, "the answer is none of PostgreSQL's")),
    }
}

fn log_in(frames: &mut Frames<Transport>, options: &Options, link: &Link) -> Result<Greeting> {
    let certificate = frames.transport().server_certificate().map(<[u8]>::to_vec);
    let credentials = Credentials {
        user: &options.user,
        password: options.password.reveal(),
        channel_binding: options.channel_binding,
        certificate: certificate.as_deref(),
        hides_secrets: frames.transport().hides_secrets(),
    };
    let mut exchange = Exchange::default();
    let mut is_accepted = false;
    let mut greeting = Greeting::default();
    let mut out = BytesMut::new();
    for _ in 0..STARTUP_MESSAGES_MAX {
        let kind = frames.advance(STARTUP_MESSAGE_BYTES_MAX).map_err(|error| match error {
            FrameError::TooLarge { .. } => link.protocol(LOGGING_IN, "a message far too large for a login arrived"),
            error => link.frame(LOGGING_IN, error),
        })?;
        let mut fields = Fields(frames.body());
        match kind {
            b'R' => {
                out.clear();
                let step = exchange
                    .request(frames.body(), &credentials, &mut out)
                    .map_err(|reason| Error::Auth { peer: link.peer.clone(), reason })?;
                is_accepted |= step == Step::Accepted;
                if step == Step::Answer {
                    frames.send(&out).map_err(|error| link.io(LOGGING_IN, error))?;
                }
            }
            b'E' => return Err(link.server(LOGGING_IN, frames.body())),
            b'N' | b'v' => {}
            b'S' if is_accepted => {
                let pair = fields.text().and_then(|name| Ok((name, fields.text()?)));
                let (name, value) = pair.map_err(|error| link.truncated(LOGGING_IN, error))?;
                greeting.parameters.insert(name, value);
            }
            b'K' if is_accepted => {
                greeting.process = fields.u32().map_err(|error| link.truncated(LOGGING_IN, error))?;
            }
            b'Z' if is_accepted => return Ok(greeting),
            other => {
                let what = format!("a message of kind {:?} arrived", char::from(other));
                return Err(link.protocol(LOGGING_IN, what));
            }
        }
    }
    Err(link.protocol(LOGGING_IN, format!("the server is not ready after {STARTUP_MESSAGES_MAX} messages")))
}
