//! A source that is declared as a Debezium connector: what its properties come to, built or refused.
//!
//! Invariant: what the properties ask for beyond a source's settings and its rendering is honoured here, or refused by the
//! property's name. Start at [`declared`].

use super::Source;
use super::debezium::{Fault, Translated};
use crate::registry::{ConfiguredSource, Registry};
use headwater_engine::TopicsSpec;
use headwater_format::debezium::options::MessageKey;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The source called `name`. Its settings were found good, or the fault says which property is not.
pub(super) fn declared(name: &str, translated: Translated, registry: Registry) -> Result<Source, Fault> {
    let Translated { kind, mut settings, mut format, further, notes } = translated;
    let fault = |property: &str, message: String| Fault { property: property.to_owned(), message };
    let Some(kind) = registry.sources.iter().find(|known| known.name() == kind) else {
        return Err(fault("connector.class", format!("this binary was built without `{kind}`")));
    };
    if format.is_exact() {
        settings["as_debezium"] = Value::from(true);
    }
    if further.snapshot_only {
        settings["snapshot"] = Value::from("initial_only");
    }
    if let Some(context) = &mut format.context_headers {
        context.run = run_id();
    }
    let unslashed = |tables: &str| tables.strip_prefix('/')?.strip_suffix('/').map(str::to_owned);
    format.message_keys.extend(further.keys.iter().map(|key| MessageKey {
        tables: unslashed(&key.tables).unwrap_or_else(|| key.tables.clone()),
        columns: key.columns.clone(),
    }));
    for note in &notes {
        tracing::info!(source = name, "{note}");
    }
    let connector =
        ConfiguredSource::new(*kind, name, settings).map_err(|message| fault("connector.class", message))?;
    let topics = TopicsSpec {
        rendering: format,
        partitions: further.partitions.unwrap_or(1),
        heartbeat_interval: (further.heartbeat_interval_ms > 0)
            .then(|| Duration::from_millis(further.heartbeat_interval_ms)),
    };
    Ok(Source { name: name.to_owned(), kind: kind.name(), topics, connector: Arc::new(connector) })
}

/// Names one run of a task: a UUID of version 7 (RFC 9562, section 5.7).
fn run_id() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let (time, random) = (since & ((1 << 48) - 1), rand::random::<u128>());
    let bits = time << 80 | 0x7 << 76 | (random >> 64 & 0xfff) << 64 | 0b10 << 62 | random & ((1 << 62) - 1);
    let digits = format!("{bits:032x}");
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_have_names_of_their_own_in_the_order_of_time() {
        let (first, second) = (run_id(), run_id());
        assert_ne!(first, second);
        assert_eq!(first.len(), 36);
        assert_eq!(first.as_bytes()[14], b'7', "{first}");
        assert!(matches!(first.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{first}");
        assert_eq!(first[..7], second[..7]);
    }
}
