//! Who may speak to a listener that has no users.
//!
//! Invariant: a web page that a person happens to open can neither read nor act: a name that was rebound to loopback is
//! refused by its `Host`, a request sent across sites by its `Origin`. Start at [`check`].

use super::Failure;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};

/// Knows where the listener is.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    loopback: bool,
}

impl Guard {
    /// For a listener at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Guard { loopback: address.ip().is_loopback() }
    }

    /// Why a request is refused; `None` when it may go on.
    pub fn refusal(self, headers: &HeaderMap) -> Option<&'static str> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let Some(host) = text(header::HOST).and_then(|host| host.parse::<Authority>().ok()) else {
            return Some("the Host header is missing or malformed");
        };
        if self.loopback && !is_loopback(host.host()) {
            return Some("the Host header is not a loopback name, and this listener is for loopback alone");
        }
        let foreign = |origin: &str| {
            origin
                .split_once("://")
                .and_then(|(_, rest)| rest.parse::<Authority>().ok())
                .is_none_or(|from| from != host)
        };
        if text(header::ORIGIN).is_some_and(foreign) {
            return Some("the request was sent by a page of another site");
        }
        None
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Lets a request pass, or answers 403.
pub async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.refusal(request.headers()) {
        Some(reason) => {
            Failure::of(StatusCode::FORBIDDEN, reason, "Use http://127.0.0.1 and its port.").into_response()
        }
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_addressed_to_loopback_gets_through() {
        for (host, origin, allowed) in [
            (Some("127.0.0.1:8083"), None, true),
            (Some("localhost:8083"), None, true),
            (Some("[::1]:8083"), None, true),
            (Some("evil.example:8083"), None, false),
            (Some("127.0.0.1.evil.example"), None, false),
            (None, None, false),
            (Some("127.0.0.1:8083"), Some("http://127.0.0.1:8083"), true),
            (Some("127.0.0.1:8083"), Some("http://127.0.0.1:9999"), false),
            (Some("127.0.0.1:8083"), Some("https://evil.example"), false),
            (Some("127.0.0.1:8083"), Some("null"), false),
        ] {
            let mut headers = HeaderMap::new();
            host.map(|host| headers.insert(header::HOST, host.parse().expect("a header")));
            origin.map(|origin| headers.insert(header::ORIGIN, origin.parse().expect("a header")));
            let guard = Guard::new(SocketAddr::from(([127, 0, 0, 1], 8083)));
            assert_eq!(guard.refusal(&headers).is_none(), allowed, "{host:?} {origin:?}");
        }
        let open = Guard::new(SocketAddr::from(([0, 0, 0, 0], 8083)));
        let headers = HeaderMap::from_iter([(header::HOST, "cdc.internal:8083".parse().expect("a header"))]);
        assert_eq!(open.refusal(&headers), None);
    }
}
