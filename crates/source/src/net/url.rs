//! What every connection URL is made of: percent-encoded texts, hosts with ports, seconds.
//!
//! Invariant: an error says what is wrong and never repeats the URL, since it holds a password. Start at [`decode`].

use std::time::Duration;

/// Decodes percent-encoded text; `what` names it in the error.
pub(crate) fn decode(text: &str, what: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                match (digit(rest.next()), digit(rest.next())) {
                    (Some(high), Some(low)) => (high * 16 + low) as u8,
                    _ => return Err(format!("{what} holds a '%' without two hexadecimal digits; write '%' as %25")),
                }
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| format!("{what} is not UTF-8 when decoded"))
}

/// Splits a decoded host, which may be an IPv6 address in brackets, from its port.
pub(crate) fn host_and_port(decoded: &str) -> Result<(&str, Option<&str>), String> {
    match decoded.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or("a '[' around an IPv6 address is not closed")?;
            Ok((host, rest.strip_prefix(':')))
        }
        None => Ok(match decoded.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (decoded, None),
        }),
    }
}

/// The value of a parameter that is a time in seconds.
pub(crate) fn seconds(name: &str, value: &str) -> Result<Duration, String> {
    match value.parse::<u32>() {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds.into())),
        _ => Err(format!("{name} must be a whole number of seconds above 0")),
    }
}
