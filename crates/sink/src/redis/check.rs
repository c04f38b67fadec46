//! `check`: what the server lacks for this sink, each with the statement that mends it.
//!
//! Invariant: nothing is written. Permissions are tried by queueing every command that the sink uses in a `MULTI` that is
//! discarded: the server checks them as they are queued.

use super::config::Endpoint;
use super::follow::{Follow, Write, WriteKind};
use super::link::Link;
use super::outcome::OwnKeys;
use super::resp::Commands;
use super::server::Server;
use crate::{Finding, Severity};
use headwater_model::{Kind, Result};
use redis::Value as Reply;
use std::collections::BTreeSet;

/// Connects and looks.
pub(super) fn check(name: &str, endpoint: &Endpoint, follow: &Follow) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = look(name, endpoint, follow, &mut findings) {
        let severity = match error.kind() {
            Kind::RetryAfter(_) => Severity::Warning,
            _ => Severity::Error,
        };
        let remedy = error.hint_text().map(str::to_owned);
        findings.push(Finding { severity, message: error.to_string(), remedy });
    }
    findings
}

fn look(name: &str, endpoint: &Endpoint, follow: &Follow, findings: &mut Vec<Finding>) -> Result<()> {
    let label = &endpoint.label;
    let mut link = Link::open(endpoint)?;
    let server = Server::ask(&mut link)?;
    let fixed_ttl = follow.writes().any(|write| write.ttl.is_some_and(|ttl| !ttl.refresh));
    server.require(fixed_ttl, label)?;
    if server.evicts_all() {
        findings.push(Finding {
            severity: Severity::Warning,
            message: format!(
                "{label} has maxmemory-policy {}: it may evict keys without a TTL, the sink's progress and counts among them",
                server.maxmemory_policy
            ),
            remedy: Some("CONFIG SET maxmemory-policy volatile-lru".to_owned()),
        });
    }
    let own = OwnKeys::new(name);
    let missing = permissions(&mut link, &own, follow)?;
    if !missing.commands.is_empty() {
        let user = endpoint.username.as_deref().unwrap_or("default");
        let commands = missing.commands.iter().map(|command| format!("+{}", command.to_lowercase()));
        let keys = missing.keys.iter().map(|key| format!("~{key}"));
        let grants = commands.chain(keys).collect::<Vec<_>>().join(" ");
        let list = missing.commands.into_iter().collect::<Vec<_>>().join(", ");
        findings.push(Finding {
            severity: Severity::Error,
            message: format!("user {user} on {label} may not run {list} on the keys that the sink writes"),
            remedy: Some(format!("ACL SETUSER {user} {grants}")),
        });
    }
    Ok(())
}

#[derive(Default)]
struct Missing {
    commands: BTreeSet<&'static str>,
    keys: BTreeSet<String>,
}

/// Tries every command without running one.
fn permissions(link: &mut Link, own: &OwnKeys, follow: &Follow) -> Result<Missing> {
    let mut missing = Missing::default();
    for (command, args) in
        [("WATCH", &[own.progress.as_bytes()][..]), ("UNWATCH", &[]), ("INFO", &[]), ("MULTI", &[]), ("DISCARD", &[])]
    {
        let mut asked = Commands::default();
        asked.command(0, command, args);
        link.send(&asked.bytes)?;
        if let Reply::ServerError(error) = link.receive()?
            && error.code() == "NOPERM"
        {
            missing.commands.insert(command);
            missing.keys.extend((!args.is_empty()).then(|| format!("{}*", own.prefix)));
        }
    }
    if missing.commands.contains("MULTI") || missing.commands.contains("DISCARD") {
        // Without these nothing can be tried without running it.
        missing.commands.insert("EXEC");
        return Ok(missing);
    }
    let mut asked = Commands::default();
    let mut tried = Vec::new();
    asked.command(0, "MULTI", &[]);
    let mut attempt = |command: &'static str, key: &str, rest: &[&str], pattern: String| {
        asked.begin(0, command, 1 + usize::from(!key.is_empty()) + rest.len());
        [key].iter().filter(|key| !key.is_empty()).chain(rest).for_each(|arg| asked.arg(arg.as_bytes()));
        tried.push((command, pattern));
    };
    let ours = format!("{}*", own.prefix);
    for (command, rest) in [
        ("GET", &[][..]),
        ("SET", &["0"]),
        ("DEL", &[]),
        ("LRANGE", &["0", "0"]),
        ("LTRIM", &["0", "0"]),
        ("RPUSH", &["0"]),
        ("HGETALL", &[]),
        ("HSET", &["0", "0"]),
    ] {
        attempt(command, &own.progress, rest, ours.clone());
    }
    attempt("SCAN", "", &["0"], String::new());
    attempt("UNLINK", &own.rejected, &[], ours.clone());
    for write in follow.writes() {
        let key = write.key.sample();
        let pattern = format!("{}*", write.key.prefix());
        for (command, rest) in commands(write) {
            attempt(command, &key, rest, pattern.clone());
        }
        if matches!(write.kind, WriteKind::Set { .. } | WriteKind::Zset { .. }) {
            for (command, rest) in [("HGET", &["0"][..]), ("HMGET", &["0"]), ("HSET", &["0", "0"]), ("HDEL", &["0"])] {
                attempt(command, &own.refs, rest, ours.clone());
            }
        }
    }
    asked.command(0, "DISCARD", &[]);
    link.send(&asked.bytes)?;
    link.receive()?;
    for (command, pattern) in tried {
        if let Reply::ServerError(error) = link.receive()?
            && error.code() == "NOPERM"
        {
            missing.commands.insert(command);
            missing.keys.extend((!pattern.is_empty()).then_some(pattern));
        }
    }
    link.receive()?;
    Ok(missing)
}

/// The commands of one write, with what follows the key.
fn commands(write: &Write) -> Vec<(&'static str, &'static [&'static str])> {
    let mut commands: Vec<(&'static str, &'static [&'static str])> = match &write.kind {
        WriteKind::Json { .. } => vec![("SET", &["0"]), ("DEL", &[])],
        WriteKind::Hash { .. } => vec![("HLEN", &[]), ("HSET", &["0", "0"]), ("HDEL", &["0"]), ("DEL", &[])],
        WriteKind::Set { .. } => {
            vec![("SISMEMBER", &["0"]), ("SMISMEMBER", &["0"]), ("SADD", &["0"]), ("SREM", &["0"])]
        }
        WriteKind::Zset { .. } => {
            vec![("ZSCORE", &["0"]), ("ZMSCORE", &["0"]), ("ZADD", &["0", "0"]), ("ZREM", &["0"])]
        }
        WriteKind::Counter { .. } => vec![("GET", &[]), ("INCRBY", &["0"]), ("DEL", &[])],
        WriteKind::List { .. } => vec![("LLEN", &[]), ("RPUSH", &["0"])],
        WriteKind::Stream { .. } => vec![("XLEN", &[]), ("XADD", &["*", "0", "0"])],
        WriteKind::Invalidate { .. } => vec![("DEL", &[])],
    };
    if write.ttl.is_some() {
        commands.push(("PEXPIRE", &["1"]));
    }
    commands.push(("UNLINK", &[]));
    commands
}
