//! Removing many keys by what they begin with or were made from: one SCAN pass over the database for all of them.
//!
//! Invariant: a sweep is idempotent, and runs before the `EXEC` that moves progress past its reason; a key of our own
//! (`headwater:…`) goes only when it is named.

use super::follow::Write;
use super::link::Link;
use super::outcome::OwnKeys;
use super::resp::Commands;
use super::template::OWN_PREFIX;
use headwater_model::{Error, Result};
use redis::Value as Reply;
use std::collections::BTreeSet;

/// Keys that the server looks at for one answer.
const SCAN_COUNT: &[u8] = b"1000";

/// Removes every key that begins with one of `prefixes`.
pub(super) fn prefixes(link: &mut Link, prefixes: &BTreeSet<Vec<u8>>) -> Result<()> {
    let (Some(first), Some(last)) = (prefixes.first(), prefixes.last()) else { return Ok(()) };
    // In a sorted set, what its ends have in common all have in common.
    let common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
    let lengths: BTreeSet<usize> = prefixes.iter().map(Vec::len).collect();
    let covered = |key: &[u8]| lengths.iter().any(|&n| key.len() >= n && prefixes.contains(&key[..n]));
    scan(link, &first[..common], None, |key, doomed| {
        if covered(key) && !key.starts_with(OWN_PREFIX.as_bytes()) {
            doomed.push(key.to_vec());
        }
    })
}

/// Removes every key that `writes` may have made, with the counts that belong to it. Deletes are ignored by writes that
/// only append, so their keys go only when `appended` says so.
pub(super) fn written(link: &mut Link, writes: &[&Write], own: &OwnKeys, appended: bool) -> Result<()> {
    for key_type in ["string", "hash", "set", "zset", "list", "stream"] {
        let of_type =
            |write: &&&Write| write.kind.key_type() == Some(key_type) && (appended || !write.kind.appends_only());
        let writes = writes.iter().filter(of_type).collect::<Vec<_>>();
        let prefix = common_prefix(writes.iter().map(|write| write.key.prefix().as_bytes()));
        let Some(prefix) = prefix else { continue };
        scan(link, prefix, Some(key_type), |key, doomed| {
            if writes.iter().any(|write| write.key.matches(key)) && !key.starts_with(OWN_PREFIX.as_bytes()) {
                doomed.push(key.to_vec());
                doomed.push([own.refs.as_bytes(), key].concat());
            }
        })?;
    }
    Ok(())
}

/// Removes every key that the sink keeps for itself, but `spared`.
pub(super) fn own(link: &mut Link, own: &OwnKeys, spared: &str) -> Result<()> {
    scan(link, own.prefix.as_bytes(), None, |key, doomed| {
        if key.starts_with(own.prefix.as_bytes()) && key != spared.as_bytes() {
            doomed.push(key.to_vec());
        }
    })
}

fn common_prefix<'p>(prefixes: impl Iterator<Item = &'p [u8]>) -> Option<&'p [u8]> {
    prefixes.reduce(|a, b| &a[..a.iter().zip(b).take_while(|(a, b)| a == b).count()])
}

/// Walks over all keys that begin with `prefix` (and are of `key_type`), and removes those that `pick` puts aside.
fn scan(
    link: &mut Link,
    prefix: &[u8],
    key_type: Option<&str>,
    mut pick: impl FnMut(&[u8], &mut Vec<Vec<u8>>),
) -> Result<()> {
    let pattern = pattern(prefix);
    let mut cursor = b"0".to_vec();
    let mut doomed = Vec::new();
    let mut remove = Commands::default();
    loop {
        let mut args: Vec<&[u8]> = vec![&cursor, b"MATCH", &pattern, b"COUNT", SCAN_COUNT];
        if let Some(key_type) = key_type {
            args.extend([b"TYPE", key_type.as_bytes()]);
        }
        let Reply::Array(reply) = link.ask("SCAN", &args)? else { return Err(odd()) };
        let [Reply::BulkString(next), Reply::Array(keys)] = &reply[..] else { return Err(odd()) };
        for key in keys {
            if let Reply::BulkString(key) = key {
                pick(key, &mut doomed);
            }
        }
        if !doomed.is_empty() {
            remove.clear();
            remove.begin(0, "UNLINK", 1 + doomed.len());
            doomed.drain(..).for_each(|key| remove.arg(&key));
            link.send(&remove.bytes)?;
            link.checked()?;
            fail::fail_point!("redis::sweep");
        }
        if next == b"0" {
            return Ok(());
        }
        cursor.clone_from(next);
    }
}

fn odd() -> Error {
    Error::stop("the server's answer to SCAN is not of the form that Redis documents")
        .hint("Is something else than Redis listening at the sink's address?")
}

/// A glob that matches exactly what begins with `prefix`.
fn pattern(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for &byte in prefix {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\' | b'^') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.push(b'*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_their_prefix_literally() {
        assert_eq!(pattern(b"a[1]*:"), b"a\\[1\\]\\*:*");
        assert_eq!(pattern(b""), b"*");
    }

    #[test]
    fn what_prefixes_have_in_common_narrows_the_scan() {
        for (prefixes, expected) in [
            (&[][..], None),
            (&["order:"][..], Some("order:")),
            (&["order:", "orders"], Some("order")),
            (&["a", "b"], Some("")),
        ] {
            let common = common_prefix(prefixes.iter().map(|prefix| prefix.as_bytes()));
            assert_eq!(common, expected.map(str::as_bytes));
        }
    }
}
