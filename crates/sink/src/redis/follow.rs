//! What is written: tables, and for each a list of writes, as the user spells them under `follow`.
//!
//! Invariant: every write here was checked as far as it can be without the table's schema; an error names its place.
//! The forms are the declaration (their doc comments are the reference page), `Write` is what the rest works with.

use super::config::Span;
use super::template::Template;
use crate::ConfigError;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// One write, by the key that names its kind.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum WriteForm {
    /// `json`: the row as a JSON object under a string key.
    Json(JsonForm),
    /// `hash`: the row as a hash, a field for each column.
    Hash(HashForm),
    /// `set`: a member of a set, reference-counted: two rows that map to one member are one member until both are gone.
    Set(SetForm),
    /// `zset`: a member of a sorted set with a score, reference-counted; the score is that of the latest change.
    Zset(ZsetForm),
    /// `counter`: an integer that counts rows, or sums a column exactly. A counter at zero has no key.
    Counter(CounterForm),
    /// `list`: appends to a list. It cannot retract, so it needs `on_delete: ignore`.
    List(ListForm),
    /// `stream`: appends to a stream. It cannot retract, so it needs `on_delete: ignore`.
    Stream(StreamForm),
    /// `invalidate`: removes a key that somebody else fills, or all keys that begin with a text.
    Invalidate(InvalidateForm),
}

/// Forms of writes whose keys may expire: each with the fields that say so.
macro_rules! expiring {
    ($($(#[$about:meta])* $form:ident { $($(#[$told:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $form {
            $($(#[$told])* pub $field: $type,)*
            /// The key expires after this time: `30s`, `1h`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub ttl: Option<Span>,
            /// Whether each write starts `ttl` anew (default), or only the one that makes the key (`false`).
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub ttl_refresh: Option<bool>,
        }

        impl $form {
            fn ttl(&self) -> Result<Option<Ttl>, String> {
                match (self.ttl, self.ttl_refresh) {
                    (None, Some(_)) => Err("`ttl_refresh` has no meaning without `ttl`".to_owned()),
                    // A span is at most i64::MAX / 1000 milliseconds.
                    (ttl, refresh) => {
                        Ok(ttl.map(|span| Ttl { ms: span.0.as_millis() as u64, refresh: refresh.unwrap_or(true) }))
                    }
                }
            }
        }
    )*};
}

expiring! {
    /// `{ json: "order:{order_id}", ttl: 1h }`
    JsonForm {
        /// Template of the key.
        json: String,
        /// The columns to write, in this order. Default: all that `SELECT *` shows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        columns: Option<Vec<String>>,
        /// Columns to leave out. Not with `columns`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exclude: Option<Vec<String>>,
    }

    /// `{ hash: "order_info:{order_id}", fields: [customer_id] }`
    HashForm {
        /// Template of the key.
        hash: String,
        /// The columns to write; a field that is NULL is absent. Named, they are all that a delete removes, so that others
        /// may keep fields of their own in the same hash. Default: all that `SELECT *` shows, and a delete removes the key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fields: Option<Vec<String>>,
    }

    /// `{ set: "ordered_products:{order_id}", member: "{product_id}" }`
    SetForm {
        /// Template of the key.
        set: String,
        /// Template of the member.
        member: String,
    }

    /// `{ zset: "prices", member: "{sku}", score: price }`
    ZsetForm {
        /// Template of the key.
        zset: String,
        /// Template of the member.
        member: String,
        /// The column that is the score: a number, or a date or time, which counts as seconds since 1970 (a time without
        /// zone as UTC). A row whose score is NULL has no member.
        score: String,
        /// Rounds a score that a 64-bit float cannot hold, where it would otherwise be refused. Default false.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lossy: bool,
    }

    /// `{ counter: "sold:{sku}", by: "{quantity}" }`
    CounterForm {
        /// Template of the key. A counter that has a `ttl` counts from zero again once it has passed.
        counter: String,
        /// The column to sum, as `{column}`: an integer, or a DECIMAL, which counts in units of its last digit (12.30 of
        /// a DECIMAL(10,2) is 1230). NULL adds nothing. Without `by`, rows are counted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    }

    /// `{ list: "feed:{order_id}", value: "{id}", on_delete: ignore }`
    ListForm {
        /// Template of the key.
        list: String,
        /// Template of the value. An update appends when key or value change by it.
        value: String,
        /// `ignore`: says that deletes leave the list as it is.
        on_delete: OnDelete,
    }

    /// `{ stream: "changes:{customer_id}", fields: [id, total], on_delete: ignore }`
    StreamForm {
        /// Template of the key.
        stream: String,
        /// The columns to write; a field that is NULL is absent. Default: all that `SELECT *` shows. Each insert and each
        /// update appends an entry.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fields: Option<Vec<String>>,
        /// `ignore`: says that deletes leave the stream as it is.
        on_delete: OnDelete,
    }
}

/// `{ invalidate: "product_list:category:{category_id}*" }`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InvalidateForm {
    /// Template of the key that a change of the row removes, for the row as it was and as it is. With a `*` at its end,
    /// all keys that begin so; they are found by one pass over the database's keys for a whole batch.
    pub invalidate: String,
}

/// What a delete does where nothing can be retracted.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDelete {
    /// Nothing.
    Ignore,
}

/// When a key expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ttl {
    pub ms: u64,
    /// Each write starts it anew; otherwise only the one that makes the key.
    pub refresh: bool,
}

/// Which columns of a row are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Columns {
    /// All that `SELECT *` shows, but these.
    AllBut(Vec<String>),
    /// These.
    Named(Vec<String>),
}

/// A write that was checked.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub key: Template,
    pub ttl: Option<Ttl>,
    pub kind: WriteKind,
}

#[derive(Clone, Debug)]
pub(super) enum WriteKind {
    Json { columns: Columns },
    Hash { columns: Columns },
    Set { member: Template },
    Zset { member: Template, score: String, lossy: bool },
    Counter { by: Option<String> },
    List { value: Template },
    Stream { columns: Columns },
    Invalidate { prefix: bool },
}

impl WriteKind {
    /// The type of the keys that this write owns, as Redis calls it; `None` when it owns none.
    pub fn key_type(&self) -> Option<&'static str> {
        match self {
            WriteKind::Json { .. } | WriteKind::Counter { .. } => Some("string"),
            WriteKind::Hash { .. } => Some("hash"),
            WriteKind::Set { .. } => Some("set"),
            WriteKind::Zset { .. } => Some("zset"),
            WriteKind::List { .. } => Some("list"),
            WriteKind::Stream { .. } => Some("stream"),
            WriteKind::Invalidate { .. } => None,
        }
    }

    /// Whether deletes and truncates leave its keys alone.
    pub fn appends_only(&self) -> bool {
        matches!(self, WriteKind::List { .. } | WriteKind::Stream { .. })
    }
}

/// Tables and their writes.
#[derive(Clone, Debug)]
pub(super) struct Follow {
    pub tables: BTreeMap<String, Vec<Write>>,
    /// The same in one canonical text, by which a change of templates is noticed.
    pub definition: String,
}

impl Follow {
    /// Parses the value of `follow`.
    pub fn parse(follow: &Value) -> Result<Follow, ConfigError> {
        let Value::Object(map) = follow else {
            return Err(ConfigError::new(
                "follow",
                "must map tables to lists of writes: `shop.orders: [ { json: \"order:{id}\" } ]`",
            ));
        };
        if map.is_empty() {
            return Err(ConfigError::new(
                "follow",
                "names no table; write `shop.orders: [ { json: \"order:{id}\" } ]`",
            ));
        }
        let mut tables = BTreeMap::new();
        let mut forms = BTreeMap::new();
        for (table, list) in map {
            let place = format!("follow.{table}");
            let Value::Array(list) = list else {
                return Err(ConfigError::new(place, "must be a list of writes: `[ { json: \"order:{id}\" } ]`"));
            };
            if list.is_empty() {
                return Err(ConfigError::new(place, "lists no write"));
            }
            let (mut table_writes, mut table_forms) = (Vec::new(), Vec::new());
            for (i, form) in list.iter().enumerate() {
                let place = format!("{place}[{i}]");
                let form = WriteForm::parse(form, &place)?;
                table_writes.push(form.check().map_err(|message| ConfigError::new(place, message))?);
                table_forms.push(form);
            }
            tables.insert(table.clone(), table_writes);
            forms.insert(table.clone(), table_forms);
        }
        let definition =
            serde_json::to_string(&forms).map_err(|error| ConfigError::new("follow", error.to_string()))?;
        Ok(Follow { tables, definition })
    }

    /// Every write of every table.
    pub fn writes(&self) -> impl Iterator<Item = &Write> {
        self.tables.values().flatten()
    }
}

const KINDS: &str = "json, hash, set, zset, counter, list, stream, invalidate";

impl WriteForm {
    fn parse(value: &Value, place: &str) -> Result<WriteForm, ConfigError> {
        fn form<T: DeserializeOwned>(value: &Value, place: &str) -> Result<T, ConfigError> {
            serde_path_to_error::deserialize(value)
                .map_err(|error| ConfigError::new(format!("{place}.{}", error.path()), error.inner().to_string()))
        }
        let wrong = |message: String| ConfigError::new(place, message);
        let Value::Object(map) = value else {
            return Err(wrong(format!("a write is a map with one of {KINDS}")));
        };
        let mut kinds = map.keys().filter(|key| KINDS.split(", ").any(|kind| kind == *key));
        let kind = kinds.next().ok_or_else(|| wrong(format!("names no kind of write; one of {KINDS} is needed")))?;
        if let Some(second) = kinds.next() {
            return Err(wrong(format!("names both `{kind}` and `{second}`; make it two writes")));
        }
        if matches!(kind.as_str(), "list" | "stream") && !map.contains_key("on_delete") {
            let message = "only appends and cannot retract a deleted row; say so with `on_delete: ignore`";
            return Err(wrong(format!("a {kind} {message}")));
        }
        Ok(match kind.as_str() {
            "json" => WriteForm::Json(form(value, place)?),
            "hash" => WriteForm::Hash(form(value, place)?),
            "set" => WriteForm::Set(form(value, place)?),
            "zset" => WriteForm::Zset(form(value, place)?),
            "counter" => WriteForm::Counter(form(value, place)?),
            "list" => WriteForm::List(form(value, place)?),
            "stream" => WriteForm::Stream(form(value, place)?),
            _ => WriteForm::Invalidate(form(value, place)?),
        })
    }

    fn check(&self) -> Result<Write, String> {
        let (key, ttl, kind) = match self {
            WriteForm::Json(form) => {
                let columns = match (&form.columns, &form.exclude) {
                    (Some(_), Some(_)) => return Err("give either `columns` or `exclude`, not both".to_owned()),
                    (None, Some(exclude)) => Columns::AllBut(exclude.clone()),
                    (columns, None) => named("columns", columns)?,
                };
                (&form.json, form.ttl()?, WriteKind::Json { columns })
            }
            WriteForm::Hash(form) => {
                let kind = WriteKind::Hash { columns: named("fields", &form.fields)? };
                (&form.hash, form.ttl()?, kind)
            }
            WriteForm::Set(form) => {
                let kind = WriteKind::Set { member: Template::parse(&form.member)? };
                (&form.set, form.ttl()?, kind)
            }
            WriteForm::Zset(form) => {
                let member = Template::parse(&form.member)?;
                let kind = WriteKind::Zset { member, score: form.score.clone(), lossy: form.lossy };
                (&form.zset, form.ttl()?, kind)
            }
            WriteForm::Counter(form) => {
                let kind = WriteKind::Counter { by: form.by.as_deref().map(counted).transpose()? };
                (&form.counter, form.ttl()?, kind)
            }
            WriteForm::List(form) => {
                let kind = WriteKind::List { value: Template::parse(&form.value)? };
                (&form.list, form.ttl()?, kind)
            }
            WriteForm::Stream(form) => {
                let kind = WriteKind::Stream { columns: named("fields", &form.fields)? };
                (&form.stream, form.ttl()?, kind)
            }
            WriteForm::Invalidate(form) => {
                let key = form.invalidate.strip_suffix('*');
                let kind = WriteKind::Invalidate { prefix: key.is_some() };
                return Ok(Write { key: Template::parse_key(key.unwrap_or(&form.invalidate))?, ttl: None, kind });
            }
        };
        Ok(Write { key: Template::parse_key(key)?, ttl, kind })
    }
}

fn named(what: &str, columns: &Option<Vec<String>>) -> Result<Columns, String> {
    match columns {
        None => Ok(Columns::AllBut(Vec::new())),
        Some(columns) if columns.is_empty() => Err(format!("`{what}` is empty; leave it out to write all columns")),
        Some(columns) => Ok(Columns::Named(columns.clone())),
    }
}

fn counted(by: &str) -> Result<String, String> {
    let template = Template::parse(by)?;
    let column =
        template.only_column().ok_or_else(|| format!("`by: {by}` must be one column: `by: \"{{quantity}}\"`"))?;
    Ok(column.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_of_write_parses() {
        let follow = Follow::parse(&json!({"shop.order_items": [
            {"json": "item:{id}", "ttl": "1h", "exclude": ["note"]},
            {"hash": "order_info:{order_id}", "fields": ["customer_id"]},
            {"set": "ordered_products:{order_id}", "member": "{product_id}"},
            {"zset": "prices", "member": "{sku}", "score": "price", "ttl": "30s", "ttl_refresh": false},
            {"counter": "sold:{sku}", "by": "{quantity}"},
            {"counter": "lines:{sku}"},
            {"list": "feed:{order_id}", "value": "{id}", "on_delete": "ignore"},
            {"stream": "changes", "on_delete": "ignore"},
            {"invalidate": "page:{id}*"},
        ]}))
        .unwrap();
        assert_eq!(follow.writes().count(), 9);
        let again = serde_json::from_str(&follow.definition).unwrap();
        assert_eq!(Follow::parse(&again).unwrap().definition, follow.definition);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (write, part) in [
            (json!("x"), "a write is a map with one of json"),
            (json!({"jsn": "a:{b}"}), "names no kind of write"),
            (json!({"json": "a:{b}", "set": "c"}), "make it two writes"),
            (json!({"json": "a:{b"}), "a column's name"),
            (json!({"json": "{b}"}), "must begin with text"),
            (json!({"json": "a", "columns": ["x"], "exclude": ["y"]}), "not both"),
            (json!({"set": "a:{b}", "memebr": "{c}"}), "unknown field `memebr`"),
            (json!({"set": "a:{b}"}), "missing field `member`"),
            (json!({"hash": "a:{b}", "fields": []}), "`fields` is empty"),
            (json!({"counter": "a:{b}", "by": "{c}x"}), "must be one column"),
            (json!({"list": "a:{b}", "value": "{c}"}), "`on_delete: ignore`"),
            (json!({"stream": "a:{b}", "on_delete": "keep"}), "unknown variant `keep`"),
            (json!({"json": "a:{b}", "ttl_refresh": true}), "no meaning without `ttl`"),
            (json!({"invalidate": "*"}), "must begin with text"),
            (json!({"json": "a:{b}", "ttl": 5}), "[0].ttl: invalid type: integer `5`"),
        ] {
            let message = Follow::parse(&json!({"shop.orders": [write]})).unwrap_err().to_string();
            assert!(message.starts_with("follow.shop.orders[0]") && message.contains(part), "{message}");
        }
        assert!(Follow::parse(&json!({})).is_err() && Follow::parse(&json!({"t": {}})).is_err());
    }
}
