//! What two runs of the same statements never share: clocks, positions in the log, random ids. They are replaced by a
//! placeholder of the same kind; all else stays as it is, byte by byte.
//!
//! Invariant: null is never replaced, so null against a value is a difference; identifiers of transactions are replaced, but
//! handed out too, and must stand for one another one to one.

use regex::{Captures, Regex};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::spelling::spelling;
use super::tokens::{Token, TokenKind, place, tokens};
use super::{Header, Scenario};
use crate::error::Attempt;
use crate::{Error, Result};

/// Why a text is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Clock,
    Position,
    Transaction,
    /// Named by the scenario.
    Extra,
}

impl Class {
    pub fn name(self) -> &'static str {
        match self {
            Class::Clock => "clock",
            Class::Position => "position",
            Class::Transaction => "tx",
            Class::Extra => "extra",
        }
    }
}

/// Which text of a record it is: the same name means different things in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    KeyOfTransaction,
    KeyOfNotification,
    Value,
    Header,
}

/// Paths of the payload, and what stands there; the first that matches counts.
type Rules = Vec<(Regex, Class)>;

/// The fields whose values change from run to run, as a regular expression.
const CLOCK: &str = "ts_(?:ms|us|ns)";
/// Inside of `source`; `lsn`, `xmin`, `sequence` and what follows are PostgreSQL's and other databases'.
const SOURCE: &str =
    "(?:ts_(?:ms|us|ns)|version|file|pos|gtid|server_id|thread|lsn|xmin|sequence|change_lsn|commit_lsn|scn|ord|h)";

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    rules(&[
        (CLOCK, Class::Clock),
        (&format!(r"source\.{SOURCE}"), Class::Position),
        (r"source\.txId", Class::Transaction),
        (r"transaction\.id", Class::Transaction),
        // The schema history.
        (
            r"position\.(?:ts_sec|ts_ms|ts_usec|file|pos|gtids|server_id|lsn|txId|lsn_proc|lsn_commit|transaction_id)",
            Class::Position,
        ),
        // Fields that a transform copies out of the envelope.
        (&format!("__?{CLOCK}"), Class::Clock),
        (&format!("(?:__)?source_{SOURCE}"), Class::Position),
        ("(?:__)?(?:source_txId|transaction_id|txId)", Class::Transaction),
        ("__(?:file|pos|gtid|server_id|thread|lsn|xmin|version|sequence)", Class::Position),
        (&format!(r"__source\.{SOURCE}"), Class::Position),
    ])
});
static CLOUD_EVENTS: LazyLock<Rules> = LazyLock::new(|| {
    rules(&[
        ("id|time", Class::Position),
        ("iodebezium(?:tsms|tsus|tsns|version|file|pos|gtid|serverid|thread|lsn|xmin|sequence)", Class::Position),
        ("iodebezium(?:txid|txId)", Class::Transaction),
        (&format!(r"data\.(?:payload\.)?{CLOCK}"), Class::Clock),
        (&format!(r"data\.(?:payload\.)?source\.{SOURCE}"), Class::Position),
    ])
});
static NOTIFICATIONS: LazyLock<Rules> = LazyLock::new(|| rules(&[("id|timestamp", Class::Position)]));
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    regex(&format!(
        r"^(?:__?)?(?:source[_.])?(?:{CLOCK}|file|pos|gtid|server_id|thread|lsn|xmin|txId|sequence|version|transaction[_.]id)$"
    ))
});
static WATERMARK_ID: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"^"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(-open|-close)?"$"#));
static WATERMARK_CLOCK: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"((?:Watermark|Window)Timestamp\\?":\s*\\?")[^"\\]+"#));
static PAYLOAD: LazyLock<Regex> = LazyLock::new(|| regex(r#"("payload":)\s*(?:-?\d+|"[^"]*")"#));

fn rules(rules: &[(&str, Class)]) -> Rules {
    rules.iter().map(|(pattern, class)| (regex(&format!("^(?:{pattern})$")), *class)).collect()
}

/// A pattern that stands in this file.
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| panic!("{error}"))
}

/// A text in which everything that is left to chance has been replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Comparable {
    pub text: String,
    /// The identifiers of transactions that were replaced, in order.
    pub transactions: Vec<String>,
}

/// Makes texts comparable.
#[derive(Debug, Default)]
pub(super) struct Normaliser {
    extra: Vec<Regex>,
    unordered: Vec<Regex>,
}

impl Normaliser {
    pub fn new(scenario: &Scenario) -> Result<Self> {
        let what = || format!("read scenario.json of {}", scenario.id());
        let pattern = |pattern: String| Regex::new(&pattern).attempt(what);
        Ok(Self {
            extra: scenario.normalise.iter().map(|path| pattern(format!("^(?:{path})$"))).collect::<Result<_>>()?,
            unordered: (scenario.unordered_fields.iter())
                .map(|name| pattern(format!(r#"("{}":)(\{{[^{{}}]*\}})"#, regex::escape(name))))
                .collect::<Result<_>>()?,
        })
    }

    /// The comparable form of one text of a record in `topic`.
    pub fn text(&self, text: &str, topic: &str, part: Part) -> Comparable {
        let Some(all) = tokens(text) else { return Comparable { text: text.to_owned(), transactions: Vec::new() } };
        let outer: BTreeSet<&str> = all.iter().filter_map(|token| token.path.first().map(String::as_str)).collect();
        let wrapped = outer.iter().eq(&["payload", "schema"]);
        let start = usize::from(wrapped);
        let payload =
            || all.iter().filter(|token| !wrapped || token.path.first().is_some_and(|name| name == "payload"));
        let names: BTreeSet<&str> = payload().filter_map(|token| token.path.get(start).map(String::as_str)).collect();
        let class = |path: &str| self.class(path, part, &names);
        let mut done = Comparable::default();
        let mut at = 0;
        for token in payload() {
            let raw = &text[token.place.clone()];
            if matches!(token.kind, TokenKind::Literal | TokenKind::Empty) {
                continue;
            }
            let path = place(&token.path, start);
            let class = class(&path);
            if class == Some(Class::Transaction) {
                done.transactions.push(raw.to_owned());
            }
            done.text.push_str(&text[at..token.place.start]);
            match class {
                Some(class) => done.text.push_str(&placeholder(token, raw, class)),
                None => done.text.push_str(&kept(token, raw, &path, topic)),
            }
            at = token.place.end;
        }
        done.text.push_str(&text[at..]);
        for field in &self.unordered {
            let sort = |found: &Captures<'_>| format!("{}{}", &found[1], sorted_members(&found[2]));
            done.text = field.replace_all(&done.text, sort).into_owned();
        }
        done
    }

    /// The comparable form of headers, and the transactions in them.
    pub fn headers(&self, headers: &[Header], topic: &str) -> (Vec<Header>, Vec<String>) {
        let mut transactions = Vec::new();
        let mut one = |header: &Header| {
            let Some(value) = &header.value else { return header.clone() };
            let bare = match header.key.starts_with("__debezium.") {
                true => header.key.rsplit('.').next().unwrap_or_default(),
                false => &header.key,
            };
            let value = match value.as_str() {
                // A random id for each start of a task.
                value if header.key == "__debezium.context.runId" => {
                    if value.is_empty() { "" } else { "<run>" }.to_owned()
                }
                value if HEADER.is_match(bare) && value.starts_with('{') => {
                    PAYLOAD.replace_all(value, "${1}<clock>").into_owned()
                }
                _ if HEADER.is_match(bare) => "<clock>".to_owned(),
                value => {
                    let done = self.text(value, topic, Part::Header);
                    transactions.extend(done.transactions);
                    done.text
                }
            };
            Header { key: header.key.clone(), value: Some(value) }
        };
        (headers.iter().map(&mut one).collect(), transactions)
    }

    /// What stands at `path` of a payload that has these `names` at its top.
    fn class(&self, path: &str, part: Part, names: &BTreeSet<&str>) -> Option<Class> {
        let all = |wanted: &[&str]| wanted.iter().all(|name| names.contains(name));
        let first = |rules: &Rules| rules.iter().find(|(rule, _)| rule.is_match(path)).map(|(_, class)| *class);
        let of_transaction = all(&["status", "event_count"]) || part == Part::KeyOfTransaction && names.contains("id");
        let cloud_event = names.contains("specversion") || names.contains("iodebeziumconnector");
        let known = if all(&["type", "aggregate_type", "timestamp"]) && first(&NOTIFICATIONS).is_some() {
            first(&NOTIFICATIONS)
        } else if part == Part::KeyOfNotification {
            (path == "id").then_some(Class::Position)
        } else if of_transaction && path == "id" {
            Some(Class::Transaction)
        } else if cloud_event {
            first(&CLOUD_EVENTS)
        } else {
            first(&RULES)
        };
        known.or_else(|| self.extra.iter().any(|path_of| path_of.is_match(path)).then_some(Class::Extra))
    }
}

fn placeholder(token: &Token, raw: &str, class: Class) -> String {
    let name = class.name();
    match token.kind {
        TokenKind::Text if raw == "\"\"" => raw.to_owned(),
        TokenKind::Text => format!("\"<{name}>\""),
        // A position of 0 is none; a clock always has a value.
        _ if raw == "0" && class != Class::Clock => raw.to_owned(),
        _ => format!("<{name}>"),
    }
}

/// A text that is compared as it is, but for the digits of doubles and the ids of watermarks.
fn kept(token: &Token, raw: &str, path: &str, topic: &str) -> String {
    if token.kind == TokenKind::Number {
        return spelling(raw);
    }
    if let Some(found) = WATERMARK_ID.captures(raw) {
        match found.get(1) {
            Some(end) => return format!("\"<uuid>{}\"", end.as_str()),
            None if path.rsplit('.').next() == Some("id") && topic.contains("signal") => {
                return "\"<uuid>\"".to_owned();
            }
            None => {}
        }
    } else if raw.contains("markTimestamp") || raw.contains("WindowTimestamp") {
        return WATERMARK_CLOCK.replace_all(raw, "${1}<clock>").into_owned();
    }
    raw.to_owned()
}

fn sorted_members(object: &str) -> String {
    match serde_json::from_str::<BTreeMap<String, serde_json::Value>>(object) {
        Ok(members) => serde_json::to_string(&members).unwrap_or_else(|_| object.to_owned()),
        Err(_) => object.to_owned(),
    }
}

/// A pattern of a scenario or a waiver.
pub(super) fn pattern(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|error| Error::new(format!("the pattern `{pattern}`: {error}")))
}
