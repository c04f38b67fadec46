//! Throw-away certificates for TLS tests, by the `openssl` program. Never trusted by anything but the test that made them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::client::run_tool;
use crate::error::Attempt;
use crate::programs::find_program;
use crate::{Result, TestFolder};

/// A certificate authority and a certificate for `localhost` and 127.0.0.1 signed by it, as PEM files.
#[derive(Debug)]
pub struct Certificates {
    folder: TestFolder,
}

impl Certificates {
    /// Makes them, valid for a day.
    pub fn create() -> Result<Self> {
        let folder = TestFolder::new("certificates")?;
        let openssl = find_program("openssl")?;
        let run = |arguments: &str| {
            let mut command = Command::new(&openssl);
            command.current_dir(folder.path()).args(arguments.split(' '));
            run_tool(command)
        };
        let names = folder.path().join("names");
        let alternatives = "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n";
        std::fs::write(&names, alternatives).attempt(|| format!("write {}", names.display()))?;
        run("req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=headwater-test-ca -keyout ca-key.pem -out ca.pem")?;
        run("req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request.pem")?;
        run(
            "x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 1 -extfile names -out cert.pem",
        )?;
        // The server runs as another user, and the key is worth nothing.
        let key = folder.path().join("key.pem");
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&key, readable).attempt(|| format!("make {} readable", key.display()))?;
        Ok(Self { folder })
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// The server's certificate, for `localhost` and 127.0.0.1.
    pub fn certificate(&self) -> PathBuf {
        self.file("cert.pem")
    }

    /// The server's key.
    pub fn key(&self) -> PathBuf {
        self.file("key.pem")
    }

    /// The options that make a MySQL or MariaDB server use them.
    pub fn database_options(&self) -> Vec<String> {
        let option = |name: &str, path: &Path| format!("--ssl-{name}={}", path.display());
        vec![option("ca", &self.authority()), option("cert", &self.certificate()), option("key", &self.key())]
    }

    /// The options that make a Redis server listen for TLS on `port`, beside its plain one.
    pub fn redis_options(&self, port: u16) -> Vec<String> {
        let (ca, certificate, key) = (self.authority(), self.certificate(), self.key());
        let mut options: Vec<String> =
            ["--tls-port", &port.to_string(), "--tls-auth-clients", "no"].map(str::to_owned).into();
        for (name, path) in [("--tls-ca-cert-file", ca), ("--tls-cert-file", certificate), ("--tls-key-file", key)] {
            options.extend([name.to_owned(), path.display().to_string()]);
        }
        options
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
