//! The answers to a server's authentication requests.
//!
//! Invariant: a password goes out in the clear only where nobody can listen (TLS, or a Unix socket), and where channel
//! binding is required nothing weaker is ever used. Protocol: "Start-up", "SASL Authentication". Start at [`Exchange`].

use aws_lc_rs::digest;
use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use postgres_protocol::message::frontend;

use super::fields::{Fields, Truncated};
use super::options::ChannelBinding;

const OK: u32 = 0;
const CLEARTEXT: u32 = 3;
const MD5: u32 = 5;
const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

/// What the answers are made of.
pub(super) struct Credentials<'a> {
    pub user: &'a str,
    pub password: &'a str,
    pub channel_binding: ChannelBinding,
    /// The server's certificate, under TLS.
    pub certificate: Option<&'a [u8]>,
    /// TLS or a Unix socket.
    pub hides_secrets: bool,
}

/// One login.
#[derive(Default)]
pub(super) struct Exchange {
    scram: Option<ScramSha256>,
    is_bound: bool,
    is_proven: bool,
}

/// What follows from a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The server is satisfied.
    Accepted,
    /// The answer is in the buffer.
    Answer,
    /// There is nothing to answer.
    Wait,
}

impl From<Truncated> for String {
    fn from(error: Truncated) -> String {
        error.to_string()
    }
}

impl Exchange {
    /// Takes the body of an `Authentication…` message; an answer is appended to `out`. The error says why not, and what to
    /// do.
    pub fn request(&mut self, body: &[u8], with: &Credentials<'_>, out: &mut BytesMut) -> Result<Step, String> {
        let mut fields = Fields(body);
        let kind = fields.u32()?;
        if !matches!(kind, SASL | SASL_CONTINUE | SASL_FINAL) {
            self.require_binding(with)?;
        }
        match kind {
            OK if self.scram.is_some() && !self.is_proven => {
                Err("the server ended the exchange without proving that it knows the password".to_owned())
            }
            OK => Ok(Step::Accepted),
            CLEARTEXT if with.hides_secrets => {
                let password = needed(with)?;
                frontend::password_message(password.as_bytes(), out).map_err(|error| error.to_string())?;
                Ok(Step::Answer)
            }
            CLEARTEXT => Err("the server asks for the password in the clear; use sslmode=verify-full, or let \
                              pg_hba.conf ask for scram-sha-256"
                .to_owned()),
            MD5 => {
                let salt = fields.u32()?.to_be_bytes();
                let hash = md5_hash(with.user.as_bytes(), needed(with)?.as_bytes(), salt);
                frontend::password_message(hash.as_bytes(), out).map_err(|error| error.to_string())?;
                Ok(Step::Answer)
            }
            SASL => self.begin_sasl(fields, with, out),
            SASL_CONTINUE => {
                let scram = self.scram.as_mut().ok_or("the server goes on with an exchange that never began")?;
                scram.update(fields.0).map_err(|error| error.to_string())?;
                frontend::sasl_response(scram.message(), out).map_err(|error| error.to_string())?;
                Ok(Step::Answer)
            }
            SASL_FINAL => {
                let scram = self.scram.as_mut().ok_or("the server ends an exchange that never began")?;
                scram.finish(fields.0).map_err(|error| error.to_string())?;
                self.is_proven = true;
                Ok(Step::Wait)
            }
            other => Err(format!(
                "the server asks for a method (number {other}) that is not supported; let pg_hba.conf ask for scram-sha-256, \
                 md5 or a certificate"
            )),
        }
    }

    fn begin_sasl(
        &mut self,
        mut fields: Fields<'_>,
        with: &Credentials<'_>,
        out: &mut BytesMut,
    ) -> Result<Step, String> {
        let (mut plain, mut plus) = (false, false);
        while !fields.0.is_empty() && fields.0[0] != 0 {
            match &*fields.text()? {
                SCRAM_SHA_256 => plain = true,
                SCRAM_SHA_256_PLUS => plus = true,
                _ => {}
            }
        }
        let hash = with.certificate.and_then(end_point_hash);
        let binding = match (with.channel_binding, hash) {
            (ChannelBinding::Prefer | ChannelBinding::Require, Some(hash)) if plus => {
                self.is_bound = true;
                sasl::ChannelBinding::tls_server_end_point(hash)
            }
            // Says that we could have bound the channel: a server that offered it, and whose offer was cut out on the way,
            // then refuses.
            (ChannelBinding::Prefer, Some(_)) => sasl::ChannelBinding::unrequested(),
            _ => sasl::ChannelBinding::unsupported(),
        };
        self.require_binding(with)?;
        let mechanism = match (self.is_bound, plain) {
            (true, _) => SCRAM_SHA_256_PLUS,
            (false, true) => SCRAM_SHA_256,
            _ => return Err("the server offers no SASL mechanism that is known here; use scram-sha-256".to_owned()),
        };
        let scram = ScramSha256::new(needed(with)?.as_bytes(), binding);
        frontend::sasl_initial_response(mechanism, scram.message(), out).map_err(|error| error.to_string())?;
        self.scram = Some(scram);
        Ok(Step::Answer)
    }

    fn require_binding(&self, with: &Credentials<'_>) -> Result<(), String> {
        match with.channel_binding {
            ChannelBinding::Require if !self.is_bound => {
                Err("channel_binding=require, but the login cannot be bound to \
                                                              the connection; it takes TLS and scram-sha-256"
                    .to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn needed<'a>(with: &Credentials<'a>) -> Result<&'a str, String> {
    match with.password {
        "" => Err("the server asks for a password and none is configured".to_owned()),
        password => Ok(password),
    }
}

/// The hash of the server's certificate that stands for the TLS connection (RFC 5929, `tls-server-end-point`); `None` where
/// the certificate's signature names no hash.
fn end_point_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    let (mut content, _) = element(certificate)?;
    let (_, after_signed_part) = element(content)?;
    content = element(after_signed_part)?.0;
    let (algorithm, _) = element(content)?;
    let hash = match algorithm {
        // MD5, SHA-1 and SHA-224 with RSA or ECDSA are raised to SHA-256.
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 4 | 5 | 11 | 14]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 1 | 2] => &digest::SHA256,
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 12] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 3] => {
            &digest::SHA384
        }
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 13] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 4] => {
            &digest::SHA512
        }
        _ => return None,
    };
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

/// The content of the DER element at the front, and what follows it.
fn element(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = input.get(1..)?.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let count = usize::from(first - 0x80);
            let bytes = rest.get(..count)?;
            (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), &rest[count..])
        }
        _ => return None,
    };
    Some((rest.get(..length)?, &rest[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn credentials(password: &str) -> Credentials<'_> {
        Credentials {
            user: "cdc",
            password,
            channel_binding: ChannelBinding::Prefer,
            certificate: None,
            hides_secrets: false,
        }
    }

    fn request(kind: u32, rest: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes(), rest].concat()
    }

    fn answer(body: &[u8], with: &Credentials<'_>) -> Result<(Step, Vec<u8>), String> {
        let mut out = BytesMut::new();
        Exchange::default().request(body, with, &mut out).map(|step| (step, out.to_vec()))
    }

    #[test]
    fn a_password_in_the_clear_needs_tls_or_a_unix_socket() {
        let open = credentials("pw");
        assert!(answer(&request(CLEARTEXT, b""), &open).expect_err("in the clear").contains("verify-full"));
        let hidden = Credentials { hides_secrets: true, ..open };
        assert_eq!(answer(&request(CLEARTEXT, b""), &hidden), Ok((Step::Answer, b"p\0\0\0\x07pw\0".to_vec())));
    }

    #[test]
    fn what_cannot_be_answered_says_what_to_do() {
        let required = Credentials { channel_binding: ChannelBinding::Require, ..credentials("pw") };
        for (body, with, expected) in [
            (request(7, b""), credentials("pw"), "number 7"),
            (request(MD5, b"abc"), credentials("pw"), "inside a field"),
            (request(MD5, b"abcd"), credentials(""), "none is configured"),
            (request(SASL, b"OTHER\0\0"), credentials("pw"), "no SASL mechanism"),
            (request(SASL, b"SCRAM-SHA-256-PLUS\0\0"), credentials("pw"), "no SASL mechanism"),
            (request(SASL_CONTINUE, b"r=1"), credentials("pw"), "never began"),
            (request(SASL_FINAL, b"v=1"), credentials("pw"), "never began"),
            (request(OK, b""), Credentials { ..required }, "channel_binding=require"),
            (b"\0\0".to_vec(), credentials("pw"), "inside a field"),
        ] {
            let error = answer(&body, &with).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
        let required = Credentials { channel_binding: ChannelBinding::Require, ..credentials("pw") };
        let error = answer(&request(SASL, b"SCRAM-SHA-256\0\0"), &required).expect_err("no binding");
        assert!(error.contains("channel_binding=require"), "{error}");
    }

    #[test]
    fn a_server_that_proves_nothing_is_refused() {
        let (with, mut out) = (credentials("pw"), BytesMut::new());
        let mut exchange = Exchange::default();
        assert_eq!(exchange.request(&request(SASL, b"SCRAM-SHA-256\0\0"), &with, &mut out), Ok(Step::Answer));
        let error = exchange.request(&request(OK, b""), &with, &mut out).expect_err("no proof");
        assert!(error.contains("without proving"), "{error}");
    }

    proptest! {
        #[test]
        fn any_request_is_read_without_panic(body in prop::collection::vec(any::<u8>(), 0..60), kind in 0..14u32) {
            let _ = answer(&body, &credentials("pw"));
            let _ = answer(&request(kind, &body), &credentials("pw"));
        }

        #[test]
        fn any_certificate_is_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = end_point_hash(&bytes);
        }
    }
}
