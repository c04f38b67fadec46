//! Asks a running instance over its HTTP port.
//!
//! Invariant: every request has a time limit, and an instance that is not there is told apart from one that says no.
//! Start at [`Instance`].

use super::Global;
use super::output::failure;
use crate::config::{ConfigError, load_settings};
use serde::de::DeserializeOwned;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long an answer may take; a rebuild or a replay waits for its sink.
pub const ANSWER_MAX: Duration = Duration::from_secs(90);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A running instance, as far as is known.
pub struct Instance {
    address: SocketAddr,
    agent: ureq::Agent,
}

/// Why there is no good answer.
#[derive(Debug)]
pub enum Unanswered {
    /// Nobody listens there, or the connection broke.
    Away(String),
    /// It answered with this status, error and hint.
    Refused(u16, String, String),
}

impl Instance {
    /// The instance that runs with this configuration.
    pub fn of(global: &Global) -> Result<Self, ConfigError> {
        Ok(Self::at(load_settings(&global.config)?.http.listen))
    }

    /// The instance that listens at `listen`; an unspecified address is asked over loopback.
    pub fn at(listen: SocketAddr) -> Self {
        let mut address = listen;
        match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        let agent = ureq::Agent::config_builder()
            .timeout_connect(Some(CONNECT_MAX))
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        Instance { address, agent }
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// GET.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Unanswered> {
        let request = self.agent.get(self.url(path)).config().timeout_global(Some(ANSWER_MAX)).build();
        self.read(request.call())
    }

    /// POST with a JSON body, within `limit`.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
        limit: Duration,
    ) -> Result<T, Unanswered> {
        let request = self.agent.post(self.url(path)).config().timeout_global(Some(limit)).build();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.read(request.content_type("application/json").send(body))
    }

    /// DELETE.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Unanswered> {
        let request = self.agent.delete(self.url(path)).config().timeout_global(Some(ANSWER_MAX)).build();
        self.read(request.call())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn read<T: DeserializeOwned>(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, Unanswered> {
        let away = |error: ureq::Error| Unanswered::Away(error.to_string());
        let mut answer = answer.map_err(away)?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().map_err(away)?;
        if !(200..300).contains(&status) {
            let body: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let said = |key: &str| body[key].as_str().unwrap_or_default().to_string();
            return Err(Unanswered::Refused(status, said("error"), said("hint")));
        }
        serde_json::from_str(&text).map_err(|_| {
            let hint = "Another program listens there, or another version of headwater.";
            Unanswered::Refused(status, "the answer is not understood".into(), hint.into())
        })
    }

    /// An error for a person.
    pub fn explain(&self, unanswered: Unanswered) -> miette::Report {
        match unanswered {
            Unanswered::Away(error) => failure(
                format!("no instance answers at {}: {error}", self.address),
                "Start one with `headwater run`, or name its configuration with -c FILE.",
            ),
            Unanswered::Refused(status, error, hint) if error.is_empty() => {
                failure(format!("the instance at {} answered with status {status}", self.address), hint)
            }
            Unanswered::Refused(_, error, hint) if hint.is_empty() => miette::miette!("{error}"),
            Unanswered::Refused(_, error, hint) => failure(error, hint),
        }
    }
}

/// A name as one segment of a path.
pub fn segment(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    name.bytes().map(|byte| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}
