//! What the server says of itself, read once on each connection.
//!
//! Invariant: a server that cannot hold our promises (a cluster, a replica, one that is too old) is named before the
//! first write.

use super::link::Link;
use headwater_model::{Error, Result};
use redis::Value as Reply;

/// The oldest version with `SMISMEMBER` and `ZMSCORE`.
const VERSION_MIN: (u32, u32) = (6, 2);
/// The oldest version with `PEXPIRE … NX`.
const VERSION_FIXED_TTL: (u32, u32) = (7, 0);

/// The parts of `INFO` that matter here. Empty where the user may not read it.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub version: String,
    pub maxmemory_policy: String,
    cluster: bool,
    replica: bool,
    number: Option<(u32, u32)>,
}

impl Server {
    /// Asks the server. A user without the right to ask is let pass: `check` names that.
    pub fn ask(link: &mut Link) -> Result<Server> {
        let mut info = super::resp::Commands::default();
        info.command(0, "INFO", &[]);
        link.send(&info.bytes)?;
        match link.receive()? {
            Reply::ServerError(error) if error.code() == "NOPERM" => Ok(Server::default()),
            Reply::ServerError(error) => Err(link.refused(error.code())),
            Reply::BulkString(text) => Ok(Server::parse(&String::from_utf8_lossy(&text))),
            Reply::VerbatimString { text, .. } => Ok(Server::parse(&text)),
            _ => Ok(Server::default()),
        }
    }

    fn parse(info: &str) -> Server {
        let value = |name: &str| {
            let mut values = info.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            values.next().unwrap_or("").trim().to_owned()
        };
        let version = value("redis_version");
        let mut numbers = version.split('.').map(|part| part.parse().ok());
        let number = numbers.next().flatten().zip(numbers.next().flatten());
        Server {
            maxmemory_policy: value("maxmemory_policy"),
            cluster: value("cluster_enabled") == "1",
            replica: value("role") == "slave",
            number,
            version,
        }
    }

    /// Whether keys without a TTL may be evicted, progress and counts among them.
    pub fn evicts_all(&self) -> bool {
        self.maxmemory_policy.starts_with("allkeys-")
    }

    /// Refuses a server that this sink cannot be right on.
    pub fn require(&self, fixed_ttl: bool, label: &str) -> Result<()> {
        if self.cluster {
            return Err(Error::stop(format!("{label} is a Redis Cluster, which is not supported yet"))
                .detail("A cluster cannot apply rows and progress in one transaction, because their keys live on different nodes.")
                .hint("Point the sink at a single Redis server, with or without Sentinel."));
        }
        if self.replica {
            return Err(Error::reconnect(format!("{label} is a replica, which cannot be written to"))
                .hint("Point the URL at the master, or use `sentinel`."));
        }
        let needed = if fixed_ttl { VERSION_FIXED_TTL } else { VERSION_MIN };
        match self.number {
            Some(number) if number < needed => {
                let reason = if fixed_ttl { ", for `ttl_refresh: false`" } else { "" };
                Err(Error::stop(format!(
                    "{label} runs Redis {}; {}.{} or later is needed{reason}",
                    self.version, needed.0, needed.1
                ))
                .hint("Upgrade the server."))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_cannot_hold_the_promise_are_refused_by_name() {
        for (info, fixed_ttl, expected) in [
            ("redis_version:7.0.15\r\nrole:master\r\ncluster_enabled:0\r\n", true, ""),
            ("", false, ""),
            ("redis_version:6.0.9\r\n", false, "6.2 or later"),
            ("redis_version:6.2.1\r\n", true, "7.0 or later is needed, for `ttl_refresh: false`"),
            ("redis_version:10.1.0\r\n", true, ""),
            ("redis_version:7.2.4\r\ncluster_enabled:1\r\n", false, "is a Redis Cluster"),
            ("redis_version:7.2.4\r\nrole:slave\r\n", false, "is a replica"),
        ] {
            let message = Server::parse(info)
                .require(fixed_ttl, "redis://x")
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            assert!(message.contains(expected) && message.is_empty() == expected.is_empty(), "{info}: {message}");
        }
        assert!(Server::parse("maxmemory_policy:allkeys-lru\r\n").evicts_all());
    }
}
