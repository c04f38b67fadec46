//! TLS by rustls: which certificates are trusted in which mode, and the handshake in the middle of the database's own.
//!
//! Invariant: `verify_ca` and `verify_identity` never fall back to anything weaker. Start at [`upgrade`].

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned,
};

use super::transport::Socket;
use super::{Address, TlsMode, TlsOptions};

/// Why TLS failed: the network's fault, or a text that says what was seen and what to do.
#[derive(Debug)]
pub(crate) enum TlsFault {
    Io(io::Error),
    Refused(String),
}

/// Does the TLS handshake over `socket`.
pub(crate) fn upgrade(
    mut socket: Socket,
    address: &Address,
    options: &TlsOptions,
) -> Result<Box<StreamOwned<ClientConnection, Socket>>, TlsFault> {
    let config = client_config(options).map_err(TlsFault::Refused)?;
    let name = server_name(address, options).map_err(TlsFault::Refused)?;
    let mut connection =
        ClientConnection::new(Arc::new(config), name).map_err(|error| TlsFault::Refused(error.to_string()))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).map_err(classify)?;
    }
    Ok(Box::new(StreamOwned::new(connection, socket)))
}

fn classify(error: io::Error) -> TlsFault {
    use CertificateError as C;
    let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) else {
        return TlsFault::Io(error);
    };
    let advice = match cause {
        rustls::Error::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            "connect by a name the certificate carries, set server_name, or use verify_ca"
        }
        rustls::Error::InvalidCertificate(C::UnknownIssuer) => "name the file of the authority that signed it as ca",
        rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => "renew the server's certificate",
        rustls::Error::InvalidCertificate(_) => {
            "give the server a certificate of version 3 that is not itself an authority (CA:FALSE)"
        }
        rustls::Error::AlertReceived(_) => "the server refused us; it may want a client certificate (cert and key)",
        _ => "check the TLS settings of both sides",
    };
    TlsFault::Refused(format!("{cause}; {advice}"))
}

fn server_name(address: &Address, options: &TlsOptions) -> Result<ServerName<'static>, String> {
    let host = match (&options.server_name, address) {
        (Some(name), _) => name.as_str(),
        (None, Address::Tcp { host, .. }) => host.as_str(),
        (None, Address::Unix(_)) => "localhost",
    };
    match ServerName::try_from(host.to_owned()) {
        Ok(name) => Ok(name),
        Err(_) if options.mode == TlsMode::VerifyIdentity => {
            Err(format!("{host:?} is no name that a certificate can carry; set server_name, or use verify_ca"))
        }
        // The name is not looked at in the other modes, and an address is not sent to the server.
        Err(_) => Ok(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into())),
    }
}

fn client_config(options: &TlsOptions) -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match options.mode {
        TlsMode::Disabled | TlsMode::Preferred | TlsMode::Required => Arc::new(AnyCertificate(provider.clone())),
        TlsMode::VerifyCa => Arc::new(AnyName { roots: trusted_roots(options)?, provider: provider.clone() }),
        TlsMode::VerifyIdentity => {
            WebPkiServerVerifier::builder_with_provider(Arc::new(trusted_roots(options)?), provider.clone())
                .build()
                .map_err(|error| error.to_string())?
        }
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match (&options.cert, &options.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("private key", key, &error))?;
            builder.with_client_auth_cert(certificates(cert)?, key).map_err(|error| {
                format!("our certificate {} and its key do not work together: {error}", cert.display())
            })
        }
        _ => Err("a client certificate needs both cert and key".into()),
    }
}

fn trusted_roots(options: &TlsOptions) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match &options.ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unreadable("authority", path, &error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err("the system has no trusted authorities; name a file of them as ca".into());
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable("certificates", path, &error))?;
    if certificates.is_empty() {
        return Err(format!("{} holds no PEM certificate", path.display()));
    }
    Ok(certificates)
}

fn unreadable(what: &str, path: &Path, error: &dyn fmt::Display) -> String {
    format!("the {what} in {} cannot be used: {error}", path.display())
}

/// `preferred` and `required`: encryption without identity.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    // A signature by the key of a certificate that anybody may present proves nothing, and parsing it would refuse the
    // version 1 certificates that old servers made for themselves.
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// `verify_ca`: a trusted authority signed the certificate, whatever the name in it.
#[derive(Debug)]
struct AnyName {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
