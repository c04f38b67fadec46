//! The reference pages, made from the same declarations that the parser reads.
//!
//! Invariant: a page holds nothing that is not declared; a test fails when the pages in `docs/` are stale. Start at
//! [`pages`].

use super::schema::schema;
use crate::registry::{Registry, SourceType};
use serde_json::Value;
use std::fmt::Write;

/// Levels of settings inside settings that a page shows; deeper ones would be a page of their own.
const DEPTH_MAX: usize = 6;

/// All pages: path below `docs/`, and text.
pub fn pages(registry: Registry) -> Vec<(String, String)> {
    let whole = schema(registry);
    let mut pages = vec![("reference/config.md".to_string(), config_page(&whole, registry))];
    pages.push(("reference/debezium.md".to_string(), super::debezium::page(GENERATED)));
    for kind in registry.sources {
        pages.push((format!("connectors/source-{}.md", kind.name()), source_page(&whole, *kind)));
    }
    for kind in registry.sinks {
        pages.push((format!("connectors/sink-{}.md", kind.name()), headwater_sink::docs::page(*kind)));
    }
    pages
}

const GENERATED: &str = "<!-- Made by `headwater config docs`; edit the declarations, not this page. -->";

fn source_page(whole: &Value, kind: &dyn SourceType) -> String {
    let name = kind.name();
    let mut page = format!("# Source `{name}`\n\n{GENERATED}\n\n{}\n\n```yaml\nsources:\n  example:\n", kind.summary());
    for line in kind.example().trim().lines() {
        let _ = writeln!(page, "    {line}");
    }
    let _ = write!(page, "```\n\n## Settings under `{name}`\n\n{}", table(whole, settings_of(whole, name)));
    page
}

fn config_page(whole: &Value, registry: Registry) -> String {
    let mut out = format!(
        "# headwater.yaml\n\n{GENERATED}\n\nOne YAML file says everything. Unknown keys are refused. `${{env:NAME}}` and \
         `${{file:PATH}}` inside a text are replaced after the file was parsed; `$${{` stands for `${{`. Sizes and \
         durations carry their unit: `64MiB`, `1h`. `headwater config schema` prints the JSON schema for editors.\n\n{}",
        table(whole, whole)
    );
    let links = |role: &str, names: Vec<&str>| {
        names.iter().map(|name| format!("[`{name}`](../connectors/{role}-{name}.md)")).collect::<Vec<_>>().join(", ")
    };
    let sources = links("source", registry.sources.iter().map(|kind| kind.name()).collect());
    let sinks = links("sink", registry.sinks.iter().map(|kind| kind.name()).collect());
    let _ = write!(out, "\nKinds of sources: {sources}.\n\nKinds of sinks: {sinks}.\n");
    out
}

fn settings_of<'a>(whole: &'a Value, name: &str) -> &'a Value {
    whole["properties"]["sources"]["additionalProperties"]["oneOf"]
        .as_array()
        .and_then(|kinds| kinds.iter().find(|kind| kind["title"] == name))
        .map_or(&Value::Null, |kind| &kind["properties"][name])
}

/// A table of all keys below `schema`.
fn table(whole: &Value, schema: &Value) -> String {
    let mut out = "| key | holds | default | meaning |\n|---|---|---|---|\n".to_string();
    rows(whole, schema, "", &mut out, 0);
    out
}

fn rows(whole: &Value, schema: &Value, prefix: &str, out: &mut String, depth: usize) {
    let schema = follow(whole, schema);
    let required = |key: &str| schema["required"].as_array().is_some_and(|keys| keys.iter().any(|name| name == key));
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        let target = follow(whole, value);
        let path = format!("{prefix}{key}");
        let nested = has_keys(whole, target) && depth < DEPTH_MAX;
        let default = match (&value["default"], required(key)) {
            (_, true) => "required".to_string(),
            (Value::Null, _) => String::new(),
            (Value::Object(_) | Value::Array(_), _) if nested => String::new(),
            (default, _) => format!("`{default}`"),
        };
        let text = value["description"].as_str().or(target["description"].as_str()).unwrap_or_default();
        let _ =
            writeln!(out, "| `{path}` | {} | {default} | {} |", holds(whole, target), one_line(text, whole, target));
        if nested {
            inside(whole, target, &path, out, depth + 1);
        }
    }
}

fn has_keys(whole: &Value, schema: &Value) -> bool {
    let element = follow(whole, &schema["items"]);
    let entry = follow(whole, &schema["additionalProperties"]);
    [schema, element, entry].iter().any(|schema| {
        schema["properties"].is_object()
            || alternatives(schema).iter().any(|one| follow(whole, one)["properties"].is_object())
            || (std::ptr::eq(*schema, entry) && follow(whole, &entry["items"])["oneOf"].is_array())
    })
}

fn inside(whole: &Value, schema: &Value, path: &str, out: &mut String, depth: usize) {
    if depth > DEPTH_MAX || (depth == 1 && (path == "sources" || path == "sinks")) {
        return;
    }
    rows(whole, schema, &format!("{path}."), out, depth);
    for one in alternatives(schema) {
        rows(whole, one, &format!("{path}."), out, depth);
    }
    for (step, suffix) in [("items", "[]"), ("additionalProperties", ".<name>")] {
        let below = follow(whole, &schema[step]);
        if below.is_object() {
            inside(whole, below, &format!("{path}{suffix}"), out, depth + 1);
        }
    }
}

fn alternatives(schema: &Value) -> Vec<&Value> {
    ["oneOf", "anyOf"].iter().filter_map(|key| schema[*key].as_array()).flatten().collect()
}

fn follow<'a>(whole: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema["$ref"].as_str().or_else(|| {
        // An optional value: the thing itself, or null.
        let all = alternatives(schema);
        match all.as_slice() {
            [one, null] if null["type"] == "null" => one["$ref"].as_str(),
            _ => None,
        }
    });
    match target.and_then(|target| target.strip_prefix("#/$defs/")) {
        Some(name) => &whole["$defs"][name],
        None => schema,
    }
}

/// What kind of value, in a word or as the allowed words.
fn holds(whole: &Value, schema: &Value) -> String {
    let words: Vec<String> = schema["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(alternatives(schema).into_iter().map(|one| &follow(whole, one)["const"]))
        .filter_map(|word| word.as_str().map(|word| format!("`{word}`")))
        .collect();
    if !words.is_empty() {
        return words.join(", ");
    }
    if schema["pattern"].is_string() && schema["examples"].is_array() {
        return if schema["description"].as_str().is_some_and(|text| text.contains("bytes")) {
            "size"
        } else {
            "duration"
        }
        .into();
    }
    let name = |kind: &str| {
        match kind {
            "string" => "text",
            "integer" | "number" => "number",
            "boolean" => "true or false",
            "array" => "list",
            "object" => "keys",
            other => return other.to_string(),
        }
        .to_string()
    };
    match &schema["type"] {
        Value::String(kind) => name(kind),
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .filter(|kind| *kind != "null")
            .map(name)
            .collect::<Vec<_>>()
            .join(" or "),
        _ => {
            let mut all: Vec<String> =
                alternatives(schema).into_iter().map(|one| holds(whole, follow(whole, one))).collect();
            all.dedup();
            all.join(" or ")
        }
    }
}

fn one_line(text: &str, whole: &Value, schema: &Value) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for one in alternatives(schema) {
        let one = follow(whole, one);
        if let (Some(word), Some(meaning)) = (one["const"].as_str(), one["description"].as_str()) {
            let _ = write!(line, " `{word}`: {}", meaning.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    line.replace('|', "\\|").trim().to_string()
}
