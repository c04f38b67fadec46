//! The handshake: the server's greeting, the switch to TLS, who we are, and the exchange that proves it.
//!
//! Invariant: nothing that arrived in the clear is read as if it had come under TLS. Protocol: "Connection Phase".
//! Start at [`perform`].

use mysql_common::constants::CapabilityFlags;

use super::auth::{Credentials, Plugin};
use super::connection::{Link, ServerInfo};
use super::error::{Error, Result};
use super::fields::{Fields, Truncated, put_lenenc, put_lenenc_bytes};
use super::options::Options;
use super::packet::{FrameError, PacketStream};
use crate::net::{self, Address, Socket, TlsFault, TlsMode, Transport};

/// No packet of the handshake is as large as this.
const HANDSHAKE_PACKET_BYTES_MAX: usize = 64 * 1024;
/// No plugin needs as many questions as this.
const EXCHANGES_MAX: usize = 16;
/// `utf8mb4_general_ci`, which every server since 5.5 has.
const COLLATION_UTF8MB4: u8 = 45;
/// What we tell the server is the largest packet it may send: its own limit, 1 GiB.
const PACKET_BYTES_ANNOUNCED: u32 = 1 << 30;

const GREETING: &str = "reading the server's greeting";
const AUTHENTICATING: &str = "logging in";

/// What the server says of itself before it knows us. Protocol: "Protocol::HandshakeV10".
#[derive(Debug, PartialEq, Eq)]
struct Greeting {
    version: String,
    connection_id: u32,
    capabilities: u32,
    nonce: Vec<u8>,
    plugin: String,
}

impl Greeting {
    fn parse(packet: &[u8]) -> std::result::Result<Self, Truncated> {
        let mut fields = Fields(packet);
        fields.u8()?;
        let version = String::from_utf8_lossy(fields.nul_terminated()?).into_owned();
        let connection_id = fields.u32()?;
        let mut nonce = fields.bytes(8)?.to_vec();
        fields.bytes(1)?;
        let low = fields.u16()?;
        fields.bytes(3)?;
        let high = fields.u16()?;
        let nonce_bytes = usize::from(fields.u8()?);
        fields.bytes(10)?;
        nonce.extend_from_slice(fields.bytes(nonce_bytes.saturating_sub(8).max(13))?);
        // Some servers forget the NUL after the last field.
        let plugin = fields.0.split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(Self {
            version,
            connection_id,
            capabilities: u32::from(high) << 16 | u32::from(low),
            nonce,
            plugin: String::from_utf8_lossy(plugin).into_owned(),
        })
    }
}

/// Takes a fresh socket through the handshake.
pub(super) fn perform(
    socket: Socket,
    address: &Address,
    options: &Options,
    link: &Link,
) -> Result<(PacketStream<Transport>, ServerInfo)> {
    let mut stream = PacketStream::new(Transport::Plain(socket));
    let packet = read(&mut stream, link, GREETING)?;
    if packet.first() != Some(&10) {
        return Err(link.protocol(GREETING, "this is no greeting of protocol version 10"));
    }
    let greeting = Greeting::parse(packet).map_err(|error| link.truncated(GREETING, error))?;
    let capabilities = negotiate(&greeting, options, link)?;

    if wants_tls(&greeting, address, options, link)? {
        let capabilities = capabilities | CapabilityFlags::CLIENT_SSL;
        write(&mut stream, link, &login_head(capabilities))?;
        if !stream.is_drained() {
            return Err(link.protocol("starting TLS", "the server sent data before TLS began"));
        }
        stream = stream.try_map(|transport| start_tls(transport, address, options, link))?;
        log_in(&mut stream, capabilities, &greeting, options, link)?;
    } else {
        log_in(&mut stream, capabilities, &greeting, options, link)?;
    }
    let server = ServerInfo::new(greeting.version, greeting.connection_id, greeting.capabilities, capabilities.bits())
        .under_tls(matches!(stream.transport(), Transport::Tls(_)));
    Ok((stream, server))
}

fn negotiate(greeting: &Greeting, options: &Options, link: &Link) -> Result<CapabilityFlags> {
    use CapabilityFlags as C;
    let needed = C::CLIENT_PROTOCOL_41 | C::CLIENT_SECURE_CONNECTION | C::CLIENT_PLUGIN_AUTH;
    let offered = CapabilityFlags::from_bits_truncate(greeting.capabilities);
    if !offered.contains(needed) {
        return Err(link.protocol(GREETING, format!("server {} is too old to talk to", greeting.version)));
    }
    let wanted = C::CLIENT_LONG_FLAG
        | C::CLIENT_TRANSACTIONS
        | C::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
        | C::CLIENT_CONNECT_ATTRS
        | C::CLIENT_DEPRECATE_EOF;
    let mut capabilities = needed | (wanted & offered);
    // MariaDB answers in its own dialect to clients that do not set this flag, MySQL's name for "not MariaDB".
    capabilities |= C::CLIENT_LONG_PASSWORD;
    if options.database.is_some() {
        capabilities |= C::CLIENT_CONNECT_WITH_DB;
    }
    Ok(capabilities)
}

fn wants_tls(greeting: &Greeting, address: &Address, options: &Options, link: &Link) -> Result<bool> {
    let offered = greeting.capabilities & CapabilityFlags::CLIENT_SSL.bits() != 0;
    match options.tls.mode {
        TlsMode::Disabled => Ok(false),
        TlsMode::Preferred => Ok(offered && !matches!(address, Address::Unix(_))),
        _ if offered => Ok(true),
        mode => Err(Error::Tls {
            peer: link.peer.clone(),
            reason: format!(
                "the mode is {}, but the server offers no TLS; give the server a certificate, or choose a lower mode",
                mode.as_str()
            ),
        }),
    }
}

fn start_tls(transport: Transport, address: &Address, options: &Options, link: &Link) -> Result<Transport> {
    let Transport::Plain(socket) = transport else {
        return Err(link.protocol("starting TLS", "TLS runs already"));
    };
    net::upgrade(socket, address, &options.tls).map(Transport::Tls).map_err(|fault| match fault {
        TlsFault::Io(error) => link.io("starting TLS", error),
        TlsFault::Refused(reason) => Error::Tls { peer: link.peer.clone(), reason },
    })
}

/// The fields that the request for TLS and the login have in common.
fn login_head(capabilities: CapabilityFlags) -> Vec<u8> {
    let mut packet = Vec::with_capacity(256);
    packet.extend_from_slice(&capabilities.bits().to_le_bytes());
    packet.extend_from_slice(&PACKET_BYTES_ANNOUNCED.to_le_bytes());
    packet.push(COLLATION_UTF8MB4);
    packet.extend_from_slice(&[0; 23]);
    packet
}

/// Protocol: "Protocol::HandshakeResponse41".
fn login(capabilities: CapabilityFlags, options: &Options, plugin: Plugin, answer: &[u8]) -> Result<Vec<u8>> {
    let mut packet = login_head(capabilities);
    put_nul_terminated(&mut packet, "user", options.user.as_bytes())?;
    if capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA) {
        put_lenenc_bytes(&mut packet, answer);
    } else {
        packet.push(u8::try_from(answer.len()).map_err(|_| Error::Invalid("the password is too long".into()))?);
        packet.extend_from_slice(answer);
    }
    if let Some(database) = &options.database {
        put_nul_terminated(&mut packet, "database", database.as_bytes())?;
    }
    put_nul_terminated(&mut packet, "plugin", plugin.name().as_bytes())?;
    if capabilities.contains(CapabilityFlags::CLIENT_CONNECT_ATTRS) {
        let mut attributes = Vec::new();
        for text in ["program_name", &options.program_name, "_pid", &std::process::id().to_string()] {
            put_lenenc_bytes(&mut attributes, text.as_bytes());
        }
        put_lenenc(&mut packet, attributes.len() as u64);
        packet.extend_from_slice(&attributes);
    }
    Ok(packet)
}

fn put_nul_terminated(packet: &mut Vec<u8>, what: &str, value: &[u8]) -> Result<()> {
    if value.contains(&0) {
        return Err(Error::Invalid(format!("the {what} must not contain a NUL character")));
    }
    packet.extend_from_slice(value);
    packet.push(0);
    Ok(())
}

fn log_in(
    stream: &mut PacketStream<Transport>,
    capabilities: CapabilityFlags,
    greeting: &Greeting,
    options: &Options,
    link: &Link,
) -> Result<()> {
    let credentials = Credentials {
        password: options.password.reveal(),
        server_public_key: options.server_public_key.as_deref(),
        under_tls: matches!(stream.transport(), Transport::Tls(_)),
        hides_secrets: stream.transport().hides_secrets(),
    };
    let refused = |plugin: &str, reason: String| Error::Auth { peer: link.peer.clone(), plugin: plugin.into(), reason };

    // We open with the server's usual plugin where the greeting's challenge fits it. The user's own may differ: then the
    // server asks us to switch, so that a plugin we do not know is no reason to give up yet.
    let mut plugin = match Plugin::named(&greeting.plugin) {
        Ok(Plugin::CachingSha2Password) => Plugin::CachingSha2Password,
        _ => Plugin::NativePassword,
    };
    let mut nonce = greeting.nonce.clone();
    let answer = plugin.answer(&nonce, &credentials).map_err(|reason| refused(plugin.name(), reason))?;
    write(stream, link, &login(capabilities, options, plugin, &answer)?)?;

    for _ in 0..EXCHANGES_MAX {
        let packet = read(stream, link, AUTHENTICATING)?;
        let answer = match packet {
            [0x00, ..] => return Ok(()),
            [0xfe] => {
                return Err(refused(
                    "mysql_old_password",
                    Plugin::named("mysql_old_password").err().unwrap_or_default(),
                ));
            }
            [0xfe, request @ ..] => {
                let mut fields = Fields(request);
                let name = fields.nul_terminated().map_err(|error| link.truncated(AUTHENTICATING, error))?;
                let name = String::from_utf8_lossy(name).into_owned();
                plugin = Plugin::named(&name).map_err(|reason| refused(&name, reason))?;
                nonce = fields.0.to_vec();
                Some(plugin.answer(&nonce, &credentials))
            }
            [0x01, data @ ..] => plugin.answer_more(data, &nonce, &credentials).transpose(),
            [0x02, ..] => {
                return Err(refused("a second factor", "the user needs a second factor; use one that does not".into()));
            }
            _ => return Err(link.protocol(AUTHENTICATING, "an unknown packet arrived")),
        };
        if let Some(answer) = answer {
            write(stream, link, &answer.map_err(|reason| refused(plugin.name(), reason))?)?;
        }
    }
    Err(link.protocol(AUTHENTICATING, format!("the server still asks after {EXCHANGES_MAX} answers")))
}

fn read<'a>(stream: &'a mut PacketStream<Transport>, link: &Link, step: &'static str) -> Result<&'a [u8]> {
    let packet = stream.read_packet(HANDSHAKE_PACKET_BYTES_MAX).map_err(|error| match error {
        FrameError::TooLarge { .. } => link.protocol(step, "a packet far too large for a handshake arrived"),
        error => link.frame(step, error),
    })?;
    link.refuse_error_packet(step, packet)
}

fn write(stream: &mut PacketStream<Transport>, link: &Link, packet: &[u8]) -> Result<()> {
    stream.write_packet(packet).map_err(|error| link.io(AUTHENTICATING, error))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn greeting() -> Vec<u8> {
        let mut packet = b"\x0a9.7.0\0\x07\0\0\0abcdefgh\0\xff\xff\x2d\x02\0\xff\xdf\x15".to_vec();
        packet.extend_from_slice(&[0; 10]);
        packet.extend_from_slice(b"ijklmnopqrst\0caching_sha2_password\0");
        packet
    }

    #[test]
    fn a_greeting_is_read() {
        let expected = Greeting {
            version: "9.7.0".into(),
            connection_id: 7,
            capabilities: 0xdfff_ffff,
            nonce: b"abcdefghijklmnopqrst\0".to_vec(),
            plugin: "caching_sha2_password".into(),
        };
        assert_eq!(Greeting::parse(&greeting()), Ok(expected));
    }

    #[test]
    fn a_greeting_cut_before_its_plugin_is_refused() {
        let packet = greeting();
        let fixed = packet.len() - "caching_sha2_password\0".len();
        for cut in 0..fixed {
            assert_eq!(Greeting::parse(&packet[..cut]), Err(Truncated), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn any_greeting_is_read_without_panic(packet in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Greeting::parse(&packet);
        }
    }
}
