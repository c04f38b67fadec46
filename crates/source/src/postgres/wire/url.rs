//! Reads connection URLs: `postgres://user:password@host:port,host:port/database?sslmode=require&sslrootcert=/path`.
//!
//! Invariant: an error never repeats the URL, since it holds a password. Start at [`Options::from_url`].

use std::path::PathBuf;

use headwater_model::Secret;

use super::error::{Error, Result};
use super::options::{ChannelBinding, Options, PORT_DEFAULT, Target};
use crate::net::{Address, TlsMode, url};

/// The socket's name in a folder of sockets, before the port.
const SOCKET_PREFIX: &str = ".s.PGSQL.";

impl Options {
    /// Options from a URL with the scheme `postgres` or `postgresql`, as libpq reads it.
    ///
    /// User, password, database and values may be percent-encoded. A host may be a bracketed IPv6 address, or the folder of
    /// a Unix socket as a percent-encoded path (`%2Frun%2Fpostgresql`) or in `host=`. Parameters: `sslmode`, `sslrootcert`,
    /// `sslcert`, `sslkey`, `channel_binding`, `target_session_attrs`, `host`, `port`, `user`, `password`, `dbname`,
    /// `application_name`, `connect_timeout` and `read_timeout` (seconds).
    pub fn from_url(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or_else(|| invalid("it must begin with postgres:// or postgresql://"))?;
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may hold an unencoded '@' or '/'; a host may not, so the last '@' decides.
        let (credentials, location) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (hosts, database) = location.split_once('/').unwrap_or((location, ""));
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));

        let mut options = Options {
            user: url::decode(user, "the user").map_err(invalid)?,
            password: Secret::new(url::decode(password, "the password").map_err(invalid)?),
            database: Some(url::decode(database, "the database").map_err(invalid)?).filter(|name| !name.is_empty()),
            ..Options::default()
        };
        let (mut host_list, mut port_list) = (None, None);
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = url::decode(value, name).map_err(invalid)?;
            match name {
                "host" => host_list = Some(value),
                "port" => port_list = Some(value),
                _ => options.set_parameter(name, value)?,
            }
        }
        let named: Vec<(String, Option<u16>)> = match &host_list {
            Some(list) => list.split(',').map(|host| (host.to_owned(), None)).collect(),
            None => hosts.split(',').map(split_address).collect::<Result<_>>()?,
        };
        let ports = port_list.map(|list| list.split(',').map(parse_port).collect::<Result<Vec<_>>>()).transpose()?;
        options.hosts = named
            .into_iter()
            .enumerate()
            .map(|(index, (host, port))| {
                let of_list = ports.as_ref().and_then(|ports| ports.get(index).or(ports.last()).copied());
                address(host, port.or(of_list).unwrap_or(PORT_DEFAULT))
            })
            .collect::<Result<_>>()?;
        Ok(options)
    }

    fn set_parameter(&mut self, name: &str, value: String) -> Result<()> {
        match name {
            "sslmode" => {
                self.tls.mode = tls_mode(&value).ok_or_else(|| {
                    invalid("sslmode must be disable, prefer, require, verify-ca or verify-full (allow is as prefer)")
                })?;
            }
            // The word `system` stands for the system's own list, which is what none means here.
            "sslrootcert" => self.tls.ca = Some(value.into()).filter(|path: &PathBuf| path.as_os_str() != "system"),
            "sslcert" => self.tls.cert = Some(value.into()),
            "sslkey" => self.tls.key = Some(value.into()),
            "channel_binding" => {
                self.channel_binding = match &*value {
                    "disable" => ChannelBinding::Disable,
                    "prefer" => ChannelBinding::Prefer,
                    "require" => ChannelBinding::Require,
                    _ => return Err(invalid("channel_binding must be disable, prefer or require")),
                };
            }
            "target_session_attrs" => {
                self.target = Target::parse(&value).ok_or_else(|| {
                    invalid(
                        "target_session_attrs must be any, read-write, read-only, primary, standby or prefer-standby",
                    )
                })?;
            }
            "user" => self.user = value,
            "password" => self.password = Secret::new(value),
            "dbname" => self.database = Some(value).filter(|name| !name.is_empty()),
            "application_name" => self.application_name = value,
            "connect_timeout" => self.connect_timeout = url::seconds(name, &value).map_err(invalid)?,
            "read_timeout" => self.read_timeout = Some(url::seconds(name, &value).map_err(invalid)?),
            _ => return Err(invalid(format!("the parameter {name:?} is not known"))),
        }
        Ok(())
    }
}

/// libpq's names of the modes.
fn tls_mode(text: &str) -> Option<TlsMode> {
    Some(match text {
        "disable" => TlsMode::Disabled,
        "allow" | "prefer" => TlsMode::Preferred,
        "require" => TlsMode::Required,
        "verify-ca" => TlsMode::VerifyCa,
        "verify-full" => TlsMode::VerifyIdentity,
        _ => return None,
    })
}

fn split_address(text: &str) -> Result<(String, Option<u16>)> {
    let decoded = url::decode(text, "the host").map_err(invalid)?;
    if decoded.starts_with('/') {
        // The port of a socket stands after the encoded path.
        return match text.split_once(':') {
            Some((path, port)) => Ok((url::decode(path, "the host").map_err(invalid)?, Some(parse_port(port)?))),
            None => Ok((decoded, None)),
        };
    }
    let (host, port) = url::host_and_port(&decoded).map_err(invalid)?;
    Ok((host.to_owned(), port.map(parse_port).transpose()?))
}

fn address(host: String, port: u16) -> Result<Address> {
    if host.starts_with('/') {
        return Ok(Address::Unix(PathBuf::from(host).join(format!("{SOCKET_PREFIX}{port}"))));
    }
    match host.is_empty() {
        true => Err(invalid("it names no host")),
        false => Ok(Address::Tcp { host, port }),
    }
}

fn parse_port(text: &str) -> Result<u16> {
    match text.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(invalid("a port must be a number from 1 to 65535")),
    }
}

fn invalid(what: impl Into<String>) -> Error {
    Error::Invalid(format!("connection URL: {}", what.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.into(), port }
    }

    fn unix(path: &str) -> Address {
        Address::Unix(path.into())
    }

    #[test]
    fn urls_become_options() {
        let cases = [
            ("postgres://cdc:pw@db", vec![tcp("db", 5432)], "cdc", "pw", None),
            ("postgresql://cdc@db:33/shop", vec![tcp("db", 33)], "cdc", "", Some("shop")),
            ("postgres://a%40b:p%3A%2F@h1:1,h2/x%20y", vec![tcp("h1", 1), tcp("h2", 5432)], "a@b", "p:/", Some("x y")),
            ("postgres://u:p@ss/w@db/", vec![tcp("db", 5432)], "u", "p@ss/w", None),
            ("postgres://u@[::1]:3307", vec![tcp("::1", 3307)], "u", "", None),
            ("postgres://u@%2Frun%2Fpg/d", vec![unix("/run/pg/.s.PGSQL.5432")], "u", "", Some("d")),
            ("postgres://u@%2Frun%2Fpg:77/d", vec![unix("/run/pg/.s.PGSQL.77")], "u", "", Some("d")),
            ("postgres://u@/d?host=/run/pg&port=77", vec![unix("/run/pg/.s.PGSQL.77")], "u", "", Some("d")),
            ("postgres:///d?host=a,b&port=1,2&user=u&password=p", vec![tcp("a", 1), tcp("b", 2)], "u", "p", Some("d")),
            ("postgres://u@a,b/?port=7&dbname=e", vec![tcp("a", 7), tcp("b", 7)], "u", "", Some("e")),
        ];
        for (url, hosts, user, password, database) in cases {
            let options = Options::from_url(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(options.hosts, hosts, "{url}");
            assert_eq!(options.user, user, "{url}");
            assert_eq!(options.password.reveal(), password, "{url}");
            assert_eq!(options.database.as_deref(), database, "{url}");
        }
        let url =
            "postgres://u@h?sslmode=verify-ca&sslrootcert=/a%20b&target_session_attrs=standby&channel_binding=require";
        let options = Options::from_url(url).expect("a good URL");
        assert_eq!(options.tls.mode, TlsMode::VerifyCa);
        assert_eq!(options.tls.ca, Some("/a b".into()));
        assert_eq!((options.target, options.channel_binding), (Target::Standby, ChannelBinding::Require));
    }

    #[test]
    fn a_bad_url_is_named_without_its_password() {
        for (url, expected) in [
            ("mysql://u:secret@h", "postgres://"),
            ("postgres://u:secret@", "no host"),
            ("postgres://u:secret@h:99999", "port"),
            ("postgres://u:secret@h?port=0", "port"),
            ("postgres://u:secret%zz@h", "password"),
            ("postgres://u:secret@[::1", "IPv6"),
            ("postgres://u:secret@h?sslmode=maybe", "sslmode"),
            ("postgres://u:secret@h?target_session_attrs=best", "prefer-standby"),
            ("postgres://u:secret@h?color=red", "color"),
            ("postgres://u:secret@h?read_timeout=0", "read_timeout"),
        ] {
            let error = Options::from_url(url).expect_err(url).to_string();
            assert!(error.contains(expected) && !error.contains("secret"), "{url}: {error}");
        }
    }
}
