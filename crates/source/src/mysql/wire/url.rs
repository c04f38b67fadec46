//! Reads connection URLs: `mysql://user:password@host:port,host:port/database?tls=required&ca=/path`.
//!
//! Invariant: an error never repeats the URL, since it holds a password. Start at [`Options::from_url`].

use std::path::PathBuf;

use super::error::{Error, Result};
use super::options::{Options, PORT_DEFAULT};
use crate::net::{Address, TlsMode, url};

impl Options {
    /// Options from a URL with the scheme `mysql` or `mariadb`.
    ///
    /// User, password, database and values may be percent-encoded. A host may be a bracketed IPv6 address, or a Unix socket
    /// as a percent-encoded path (`%2Frun%2Fmysqld.sock`). Parameters: `tls` (or `ssl-mode`), `ca`, `cert`, `key` (or
    /// `ssl-ca`, …), `server_name`, `server_public_key`, `socket`, `connect_timeout` and `read_timeout` (seconds).
    pub fn from_url(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("mysql://")
            .or_else(|| url.strip_prefix("mariadb://"))
            .ok_or_else(|| invalid("it must begin with mysql:// or mariadb://"))?;
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may hold an unencoded '@' or '/'; a host may not, so the last '@' decides.
        let (credentials, location) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (hosts, database) = location.split_once('/').unwrap_or((location, ""));
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));

        let mut options = Options {
            hosts: hosts.split(',').map(parse_address).collect::<Result<_>>()?,
            user: url::decode(user, "the user").map_err(invalid)?,
            password: url::decode(password, "the password").map_err(invalid)?.into(),
            database: Some(url::decode(database, "the database").map_err(invalid)?).filter(|name| !name.is_empty()),
            ..Options::default()
        };
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            options.set_parameter(name, url::decode(value, name).map_err(invalid)?)?;
        }
        Ok(options)
    }

    fn set_parameter(&mut self, name: &str, value: String) -> Result<()> {
        match name {
            "tls" | "ssl-mode" | "sslmode" => {
                self.tls.mode = TlsMode::parse(&value).ok_or_else(|| {
                    invalid("the TLS mode must be disabled, preferred, required, verify_ca or verify_identity")
                })?;
            }
            "ca" | "ssl-ca" => self.tls.ca = Some(value.into()),
            "cert" | "ssl-cert" => self.tls.cert = Some(value.into()),
            "key" | "ssl-key" => self.tls.key = Some(value.into()),
            "server_name" => self.tls.server_name = Some(value),
            "server_public_key" => self.server_public_key = Some(value.into()),
            "socket" => self.hosts = vec![Address::Unix(value.into())],
            "connect_timeout" => self.connect_timeout = url::seconds(name, &value).map_err(invalid)?,
            "read_timeout" => self.read_timeout = Some(url::seconds(name, &value).map_err(invalid)?),
            _ => return Err(invalid(format!("the parameter {name:?} is not known"))),
        }
        Ok(())
    }
}

fn parse_address(text: &str) -> Result<Address> {
    let decoded = url::decode(text, "the host").map_err(invalid)?;
    if decoded.starts_with('/') {
        return Ok(Address::Unix(PathBuf::from(decoded)));
    }
    let (host, port) = url::host_and_port(&decoded).map_err(invalid)?;
    if host.is_empty() {
        return Err(invalid("it names no host"));
    }
    let port = match port {
        None => PORT_DEFAULT,
        Some(port) => match port.parse() {
            Ok(port) if port != 0 => port,
            _ => {
                return Err(invalid(format!("the port after host {host:?} must be a number from 1 to 65535")));
            }
        },
    };
    Ok(Address::Tcp { host: host.to_owned(), port })
}

fn invalid(what: impl Into<String>) -> Error {
    Error::Invalid(format!("connection URL: {}", what.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.into(), port }
    }

    #[test]
    fn urls_become_options() {
        let cases = [
            ("mysql://cdc:pw@db", vec![tcp("db", 3306)], "cdc", "pw", None),
            ("mariadb://cdc@db:33/shop", vec![tcp("db", 33)], "cdc", "", Some("shop")),
            ("mysql://a%40b:p%3A%2F@h1:1,h2/x%20y", vec![tcp("h1", 1), tcp("h2", 3306)], "a@b", "p:/", Some("x y")),
            ("mysql://u:p@ss/w@db/", vec![tcp("db", 3306)], "u", "p@ss/w", None),
            ("mysql://u@[::1]:3307", vec![tcp("::1", 3307)], "u", "", None),
            ("mysql://u@%2Frun%2Fmysqld.sock/d", vec![Address::Unix("/run/mysqld.sock".into())], "u", "", Some("d")),
            ("mysql://u@localhost?socket=/tmp/s", vec![Address::Unix("/tmp/s".into())], "u", "", None),
        ];
        for (url, hosts, user, password, database) in cases {
            let options = Options::from_url(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(options.hosts, hosts, "{url}");
            assert_eq!(options.user, user, "{url}");
            assert_eq!(options.password.reveal(), password.as_bytes(), "{url}");
            assert_eq!(options.database.as_deref(), database, "{url}");
        }
        let options = Options::from_url("mysql://u@h?ssl-mode=VERIFY_CA&ca=/a%20b&read_timeout=5").expect("a good URL");
        assert_eq!(options.tls.mode, TlsMode::VerifyCa);
        assert_eq!(options.tls.ca, Some("/a b".into()));
        assert_eq!(options.read_timeout, Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_bad_url_is_named_without_its_password() {
        for (url, expected) in [
            ("postgres://u:secret@h", "mysql://"),
            ("mysql://u:secret@", "no host"),
            ("mysql://u:secret@h:99999", "port"),
            ("mysql://u:secret@h:0", "port"),
            ("mysql://u:secret%zz@h", "password"),
            ("mysql://u:secret@[::1", "IPv6"),
            ("mysql://u:secret@h?tls=maybe", "TLS mode"),
            ("mysql://u:secret@h?color=red", "color"),
            ("mysql://u:secret@h?read_timeout=0", "read_timeout"),
        ] {
            let error = Options::from_url(url).expect_err(url).to_string();
            assert!(error.contains(expected) && !error.contains("secret"), "{url}: {error}");
        }
    }
}
