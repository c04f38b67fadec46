//! What the settings of every source have in common: how they are read, what is wrong with them, times, and their defaults.
//!
//! Invariant: what is wrong is said without the values, one of which holds a password. Start at [`read`].

use crate::filter::BadPattern;
use headwater_model::limits::TRANSACTION_BYTES_MAX;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key is missing, unknown or of the wrong type.
    #[error("{0}")]
    Shape(String),
    /// The URL cannot be read.
    #[error("url: {0}")]
    Url(String),
    /// A pattern cannot be read.
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    /// A value is out of its range.
    #[error("{key}: {seen} is not allowed; {allowed}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it says.
        seen: String,
        /// What it may say.
        allowed: &'static str,
    },
}

/// Reads a configuration from the value under its source's key.
pub fn read<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        // The text of a serde error may repeat a value, and the URL holds a password: it is said without values.
        let (path, inner) = (error.path().to_string(), error.inner());
        ConfigError::Shape(if path == "." { inner.to_string() } else { format!("{path}: {inner}") })
    })
}

/// Reads `250ms`, `10s`, `5m` or `1h`.
pub fn duration(key: &'static str, text: &str) -> Result<Duration, ConfigError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms)) {
        Some(ms) if ms > 0 => Ok(Duration::from_millis(ms)),
        _ => Err(ConfigError::Value {
            key,
            seen: format!("{text:?}"),
            allowed: "it is a number above 0 with ms, s, m or h, such as 10s",
        }),
    }
}

pub fn connect_timeout_default() -> String {
    "10s".to_owned()
}

pub fn query_timeout_default() -> String {
    "60s".to_owned()
}

pub fn transaction_bytes_max_default() -> usize {
    TRANSACTION_BYTES_MAX
}

pub fn chunk_rows_default() -> u32 {
    10_000
}

pub fn snapshot_workers_default() -> u16 {
    2
}

/// Checks the limits that every source has.
pub fn limits(chunk_rows: u32, snapshot_workers: u16, transaction_bytes_max: usize) -> Result<(), ConfigError> {
    within("chunk_rows", chunk_rows, 1, 1_000_000, "it lies between 1 and 1000000")?;
    within("snapshot_workers", snapshot_workers, 1, 64, "it lies between 1 and 64")?;
    within("transaction_bytes_max", transaction_bytes_max, 1 << 16, 1 << 30, "it lies between 64 KiB and 1 GiB")
}

/// Checks that a value lies between two.
pub fn within<T: PartialOrd + std::fmt::Debug>(
    key: &'static str,
    value: T,
    min: T,
    max: T,
    allowed: &'static str,
) -> Result<(), ConfigError> {
    if value < min || value > max {
        return Err(ConfigError::Value { key, seen: format!("{value:?}"), allowed });
    }
    Ok(())
}
