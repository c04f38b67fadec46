//! The answers to a server's authentication challenges.
//!
//! Invariant: a password goes out in the clear only where nobody can listen (TLS, or a Unix socket); plugins that would send
//! it otherwise, or whose hash can be replayed, are refused by name. Start at [`Plugin::named`].

use std::path::Path;

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use mysql_common::auth::plugins::caching_sha2_password::scramble_sha256;
use mysql_common::auth::plugins::client_ed25519::ClientEd25519;
use mysql_common::auth::plugins::mysql_native_password::{SCRAMBLE_LENGTH, scramble_native};
use mysql_common::auth::plugins::{ChallengeResponsePlugin, Context};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

const CACHING_SHA2_KEY_REQUEST: &[u8] = &[2];
const CACHING_SHA2_ACCEPTED: &[u8] = &[3];
const CACHING_SHA2_FULL: &[u8] = &[4];
const SHA256_KEY_REQUEST: &[u8] = &[1];

/// The authentication plugins we answer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plugin {
    NativePassword,
    CachingSha2Password,
    Sha256Password,
    Ed25519,
    ClearPassword,
}

/// What the answers are made of.
pub(super) struct Credentials<'a> {
    pub password: &'a [u8],
    /// A PEM file with the server's RSA key, where we need not ask for it.
    pub server_public_key: Option<&'a Path>,
    pub under_tls: bool,
    /// TLS or a Unix socket.
    pub hides_secrets: bool,
}

impl Plugin {
    /// The plugin the server names, or why it cannot be used.
    pub fn named(name: &str) -> Result<Self, String> {
        Ok(match name {
            "mysql_native_password" => Self::NativePassword,
            "caching_sha2_password" => Self::CachingSha2Password,
            "sha256_password" => Self::Sha256Password,
            "client_ed25519" => Self::Ed25519,
            "mysql_clear_password" => Self::ClearPassword,
            "parsec" => {
                return Err(
                    "this plugin is not supported; identify the user VIA ed25519 or mysql_native_password".into()
                );
            }
            "mysql_old_password" => {
                return Err("its hash is broken and is never sent; give the user a mysql_native_password".into());
            }
            _ => {
                return Err(
                    "this plugin is not supported; use caching_sha2_password, mysql_native_password or ed25519".into(),
                );
            }
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::NativePassword => "mysql_native_password",
            Self::CachingSha2Password => "caching_sha2_password",
            Self::Sha256Password => "sha256_password",
            Self::Ed25519 => "client_ed25519",
            Self::ClearPassword => "mysql_clear_password",
        }
    }

    /// The answer to the challenge `nonce`.
    pub fn answer(self, nonce: &[u8], credentials: &Credentials<'_>) -> Result<Vec<u8>, String> {
        let password = credentials.password;
        match self {
            Self::NativePassword => {
                Ok(scramble_native(short_nonce(nonce)?, password).map(Vec::from).unwrap_or_default())
            }
            Self::CachingSha2Password => {
                Ok(scramble_sha256(short_nonce(nonce)?, password).map(Vec::from).unwrap_or_default())
            }
            Self::Sha256Password if password.is_empty() => Ok(Vec::new()),
            Self::Sha256Password if credentials.under_tls => Ok(nul_terminated(password)),
            Self::Sha256Password => match credentials.server_public_key {
                Some(path) => encrypt(password, nonce, &read_key(path)?),
                None => Ok(SHA256_KEY_REQUEST.to_vec()),
            },
            Self::Ed25519 => sign_ed25519(password, nonce),
            Self::ClearPassword if credentials.hides_secrets => Ok(nul_terminated(password)),
            Self::ClearPassword => {
                Err("the server asks for the password in the clear; set the TLS mode to verify_identity".into())
            }
        }
    }

    /// The answer to more data from the server, `None` when it asks for nothing.
    ///
    /// Documents: "Caching_sha2_password information", "SHA-256 pluggable authentication" of the MySQL internals.
    pub fn answer_more(
        self,
        data: &[u8],
        nonce: &[u8],
        credentials: &Credentials<'_>,
    ) -> Result<Option<Vec<u8>>, String> {
        match self {
            Self::CachingSha2Password if data == CACHING_SHA2_ACCEPTED => Ok(None),
            Self::CachingSha2Password if data == CACHING_SHA2_FULL && credentials.hides_secrets => {
                Ok(Some(nul_terminated(credentials.password)))
            }
            Self::CachingSha2Password if data == CACHING_SHA2_FULL => match credentials.server_public_key {
                Some(path) => encrypt(credentials.password, nonce, &read_key(path)?).map(Some),
                None => Ok(Some(CACHING_SHA2_KEY_REQUEST.to_vec())),
            },
            // We asked for the key only where we mean to use it: never once the password has been sent in another way.
            Self::CachingSha2Password | Self::Sha256Password if !credentials.under_tls => {
                encrypt(credentials.password, nonce, data).map(Some)
            }
            _ => Err("the server continues the exchange in a way that this plugin does not know".into()),
        }
    }
}

fn short_nonce(nonce: &[u8]) -> Result<&[u8; SCRAMBLE_LENGTH], String> {
    // The challenge is a C string in the packet: 20 bytes and mostly, but not always, a NUL.
    nonce
        .strip_suffix(&[0])
        .filter(|stripped| stripped.len() == SCRAMBLE_LENGTH)
        .unwrap_or(nonce)
        .try_into()
        .map_err(|_| format!("the server's challenge has {} bytes where {SCRAMBLE_LENGTH} were due", nonce.len()))
}

fn nul_terminated(password: &[u8]) -> Vec<u8> {
    [password, &[0]].concat()
}

fn read_key(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("the server's public key {} cannot be read: {error}", path.display()))
}

/// The password, mixed with the challenge and encrypted for the holder of the RSA key (OAEP with SHA-1, as MySQL has it).
fn encrypt(password: &[u8], nonce: &[u8], key_pem: &[u8]) -> Result<Vec<u8>, String> {
    let nonce = short_nonce(nonce)?;
    let mut mixed = nul_terminated(password);
    for (byte, key) in mixed.iter_mut().zip(nonce.iter().cycle()) {
        *byte ^= key;
    }
    let unusable = "the server's RSA public key cannot be used; give it a key of at least 2048 bits, or use TLS";
    let key = SubjectPublicKeyInfoDer::from_pem_slice(key_pem).map_err(|error| format!("{unusable} ({error})"))?;
    let key = PublicEncryptingKey::from_der(&key)
        .and_then(|key| OaepPublicEncryptingKey::new(key).map_err(Into::into))
        .map_err(|error| format!("{unusable} ({error})"))?;
    let mut encrypted = vec![0; key.ciphertext_size()];
    key.encrypt(&OAEP_SHA1_MGF1SHA1, &mixed, &mut encrypted, None)
        .map(|written| written.to_vec())
        .map_err(|_| format!("a password of {} bytes is too long for the server's RSA key; use TLS", password.len()))
}

fn sign_ed25519(password: &[u8], nonce: &[u8]) -> Result<Vec<u8>, String> {
    struct Password<'a>(&'a [u8]);
    impl Context for Password<'_> {
        fn pass(&self) -> &[u8] {
            self.0
        }
        fn is_ipc_transport(&self) -> bool {
            false
        }
        fn is_tls_transport(&self) -> bool {
            false
        }
        fn scramble(&self) -> &[u8] {
            &[]
        }
        fn server_key_pem(&self) -> Option<&[u8]> {
            None
        }
    }
    let response = ClientEd25519::default()
        .run(Password(password), nonce)
        .map_err(|_| format!("the server's challenge has {} bytes where 32 were due", nonce.len()))?;
    Ok(response.data().unwrap_or_default().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &[u8; 20] = b"01234567890123456789";

    fn credentials(password: &[u8], under_tls: bool) -> Credentials<'_> {
        Credentials { password, server_public_key: None, under_tls, hides_secrets: under_tls }
    }

    #[test]
    fn a_password_in_the_clear_needs_tls() {
        let (open, hidden) = (credentials(b"pw", false), credentials(b"pw", true));
        assert!(Plugin::ClearPassword.answer(NONCE, &open).is_err());
        assert_eq!(Plugin::ClearPassword.answer(NONCE, &hidden), Ok(b"pw\0".to_vec()));
        let full = |credentials| Plugin::CachingSha2Password.answer_more(CACHING_SHA2_FULL, NONCE, credentials);
        assert_eq!(full(&open), Ok(Some(CACHING_SHA2_KEY_REQUEST.to_vec())));
        assert_eq!(full(&hidden), Ok(Some(b"pw\0".to_vec())));
        assert_eq!(Plugin::Sha256Password.answer(NONCE, &open), Ok(SHA256_KEY_REQUEST.to_vec()));
    }

    #[test]
    fn an_empty_password_is_an_empty_answer() {
        for plugin in [Plugin::NativePassword, Plugin::CachingSha2Password, Plugin::Sha256Password] {
            assert_eq!(plugin.answer(NONCE, &credentials(b"", false)), Ok(Vec::new()), "{plugin:?}");
        }
    }

    #[test]
    fn a_bad_challenge_or_key_is_an_error() {
        let credentials = credentials(b"pw", false);
        for plugin in [Plugin::NativePassword, Plugin::CachingSha2Password, Plugin::Ed25519] {
            assert!(plugin.answer(b"short", &credentials).is_err(), "{plugin:?}");
            assert!(plugin.answer(b"", &credentials).is_err(), "{plugin:?}");
        }
        for key in [&b""[..], b"-----BEGIN PUBLIC KEY-----\nMAo=\n-----END PUBLIC KEY-----\n", b"\xff\0"] {
            let error = Plugin::CachingSha2Password.answer_more(key, NONCE, &credentials).expect_err("a bad key");
            assert!(error.contains("RSA public key"), "{error}");
        }
    }

    #[test]
    fn unsupported_plugins_say_what_to_use_instead() {
        for name in ["parsec", "mysql_old_password", "authentication_kerberos_client", ""] {
            assert!(Plugin::named(name).expect_err(name).contains("mysql_native_password"), "{name}");
        }
        for plugin in [
            Plugin::NativePassword,
            Plugin::CachingSha2Password,
            Plugin::Sha256Password,
            Plugin::Ed25519,
            Plugin::ClearPassword,
        ] {
            assert_eq!(Plugin::named(plugin.name()), Ok(plugin));
        }
    }
}
