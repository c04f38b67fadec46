//! Which table a key of `follow:` means.
//!
//! Invariant: every key comes to mean one table of one database of one source, or is refused; rows of two tables are
//! never mixed because their names are alike. Start at [`resolve`].

use serde_json::Value;
use std::collections::BTreeSet;

/// A source, as far as names go.
pub struct Named<'a> {
    /// Its name.
    pub name: &'a str,
    /// The databases that it reads; empty when the configuration leaves that open.
    pub databases: BTreeSet<String>,
}

impl<'a> Named<'a> {
    /// From a source's settings, whose `tables` are `database.table` each, and whose `databases` may say more.
    pub fn new(name: &'a str, settings: &Value) -> Self {
        let tables = settings["tables"].as_array().map(Vec::as_slice).unwrap_or_default();
        let database = |table: &Value| Some(table.as_str()?.split_once('.')?.0.to_string());
        let mut databases: BTreeSet<String> = tables.iter().filter_map(database).collect();
        if let Some(named) = settings["databases"].as_array().filter(|named| !named.is_empty()) {
            databases = named.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect();
        }
        let open = databases.iter().any(|database| database.contains(['*', '?', '/']));
        Named { name, databases: if open { BTreeSet::new() } else { databases } }
    }
}

/// The source and the `database.table` that `key` means; or what is wrong, and what to do.
pub fn resolve<'a>(key: &str, sources: &[Named<'a>]) -> Result<(&'a str, String), (String, String)> {
    let forms = || "Write database.table, source.table or source.database.table.".to_string();
    let parts: Vec<&str> = key.split('.').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err((format!("`{key}` is not a table"), forms()));
    }
    if key.contains(['*', '?']) {
        return Err(("not yet: a sink follows tables by name, not by pattern".into(), "Write each table.".into()));
    }
    let named = |name: &str| sources.iter().find(|source| source.name == name);
    match parts.as_slice() {
        [source, database, table] => match named(source) {
            Some(source) => Ok((source.name, format!("{database}.{table}"))),
            None => Err((format!("there is no source `{source}`"), forms())),
        },
        [first, table] => match (named(first), sources) {
            // A source that reads a database of its own name: both readings are the same table.
            (Some(source), _) if source.databases.is_empty() || source.databases.contains(*first) => {
                Ok((source.name, key.to_string()))
            }
            (Some(source), _) => match source.databases.iter().collect::<Vec<_>>().as_slice() {
                [database] => Ok((source.name, format!("{database}.{table}"))),
                _ => Err((
                    format!("`{first}` reads several databases, and any of them may hold `{table}`"),
                    format!("Write {first}.database.{table}."),
                )),
            },
            (None, [only]) => Ok((only.name, key.to_string())),
            (None, _) => Err((
                format!("it is not clear which source holds `{key}`"),
                format!("Write source.{key}, where the source is one of: {}.", names(sources)),
            )),
        },
        _ => Err((format!("`{key}` is not a table"), forms())),
    }
}

fn names(sources: &[Named<'_>]) -> String {
    sources.iter().map(|source| source.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_means_one_table_or_is_refused() {
        for (key, sources, expected) in [
            ("shop.orders", &[("main", json!(["shop.*"]))][..], Ok(("main", "shop.orders"))),
            ("shop.orders", &[("shop", json!(["shop.*", "archive.*"]))], Ok(("shop", "shop.orders"))),
            ("shop.orders", &[("shop", json!(null))], Ok(("shop", "shop.orders"))),
            ("main.orders", &[("main", json!(["shop.*"]))], Ok(("main", "shop.orders"))),
            (
                "main.orders",
                &[("main", json!(["shop.*", "archive.*"]))],
                Err("`main` reads several databases, and any of them may hold `orders`"),
            ),
            ("main.shop.orders", &[("main", json!(null)), ("other", json!(null))], Ok(("main", "shop.orders"))),
            ("other.orders", &[("main", json!(["a.*"])), ("other", json!(["b.x"]))], Ok(("other", "b.orders"))),
            (
                "shop.orders",
                &[("main", json!(null)), ("other", json!(null))],
                Err("it is not clear which source holds `shop.orders`"),
            ),
            ("shop.*", &[("main", json!(null))], Err("not yet: a sink follows tables by name, not by pattern")),
            ("x.shop.orders", &[("main", json!(null))], Err("there is no source `x`")),
            ("orders", &[("main", json!(null))], Err("`orders` is not a table")),
            ("shop.", &[("main", json!(null))], Err("`shop.` is not a table")),
        ] {
            let settings: Vec<Value> = sources.iter().map(|(_, tables)| json!({ "tables": tables })).collect();
            let named: Vec<Named<'_>> =
                sources.iter().zip(&settings).map(|((name, _), settings)| Named::new(name, settings)).collect();
            let seen = resolve(key, &named).map_err(|(message, _)| message);
            let expected = expected.map(|(source, table)| (source, table.to_string())).map_err(String::from);
            assert_eq!(seen, expected, "{key}");
        }
    }
}
