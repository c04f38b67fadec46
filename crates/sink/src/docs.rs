//! Reference pages, made from the declaration of a sink type. Pure.
//!
//! Invariant: a page holds nothing that is not in the declaration, so it cannot be wrong about it; a test compares the pages
//! under `docs/` with what is made here. Start at [`page`].

use crate::SinkType;
use serde_json::Value;
use std::fmt::Write as _;

/// The reference page of a sink type, as Markdown.
pub fn page(sink: &dyn SinkType) -> String {
    let mut page = format!("# Sink `{}`\n\n", sink.name());
    page += "<!-- Generated from the declaration in the code: UPDATE_EXPECT=1 cargo test -p headwater-sink -->\n\n";
    page += &format!("{}\n\n```yaml\nsinks:\n  example:\n", sink.summary());
    for line in sink.example().lines() {
        page += &format!("    {line}\n");
    }
    page += "```\n\n";
    page += sink.notes().trim_end();
    page += &format!("\n\n## Settings under `{}`\n\n", sink.name());
    tables(&mut page, sink.schema().as_value());
    page += "## Writes under `follow`\n\n";
    tables(&mut page, sink.follow_schema().as_value());
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// Names of properties that have no description, as `object.property`.
pub fn undocumented(schema: &Value) -> Vec<String> {
    let mut names = Vec::new();
    for (name, object) in objects(schema) {
        for (key, property) in properties(object) {
            if property.get("description").is_none() {
                names.push(format!("{name}.{key}"));
            }
        }
    }
    names
}

/// The root and the definitions that are objects with properties.
fn objects(schema: &Value) -> Vec<(&str, &Value)> {
    let mut objects = vec![("", schema)];
    if let Some(Value::Object(definitions)) = schema.get("$defs") {
        objects.extend(definitions.iter().map(|(name, object)| (name.as_str(), object)));
    }
    objects.retain(|(_, object)| object.get("properties").is_some());
    objects
}

fn properties(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn tables(page: &mut String, schema: &Value) {
    for (name, object) in objects(schema) {
        let title = object.get("description").and_then(Value::as_str).unwrap_or("");
        if !name.is_empty() {
            let _ = write!(page, "### {title}\n\n");
        }
        *page += "| key | type | |\n|---|---|---|\n";
        let required: Vec<&str> =
            object.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        for (key, property) in properties(object) {
            let description = property.get("description").and_then(Value::as_str).unwrap_or("").replace('\n', " ");
            let needed = if required.contains(&key.as_str()) { "**Required.** " } else { "" };
            let _ =
                writeln!(page, "| `{key}` | {} | {needed}{} |", type_name(property), description.replace('|', "\\|"));
        }
        page.push('\n');
    }
}

fn type_name(property: &Value) -> String {
    if let Some(reference) = property.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        return if name == "Span" { "time".to_owned() } else { "map".to_owned() };
    }
    if let Some(Value::Array(variants)) = property.get("anyOf") {
        let null = Value::from("null");
        return variants.iter().find(|variant| variant.get("type") != Some(&null)).map_or("any".to_owned(), type_name);
    }
    let name = match property.get("type") {
        Some(Value::String(name)) => name.as_str(),
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("any")
        }
        _ => "any",
    };
    match name {
        "string" => "text".to_owned(),
        "array" => "list".to_owned(),
        "integer" => "number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "object" => "map".to_owned(),
        other => other.to_owned(),
    }
}
