//! The JSON schema of the whole file, put together from the connectors' own declarations.
//!
//! Invariant: nothing is described twice; what a connector declares is what its parser reads. Start at [`schema`].

use super::{Settings, SinkSettings};
use crate::registry::Registry;
use serde_json::{Map, Value, json};

/// The schema of `headwater.yaml`, for editors and for the reference pages.
pub fn schema(registry: Registry) -> Value {
    let mut whole = schemars::schema_for!(Settings).to_value();
    let mut defs = take_defs(&mut whole);
    let sources = registry.sources.iter().map(|kind| {
        one_kind(kind.name(), kind.summary(), hoist(kind.name(), kind.schema(), &mut defs), Map::new(), &[])
    });
    let sources: Vec<Value> = sources.collect();
    let sinks = registry.sinks.iter().map(|kind| {
        let mut common = hoist("sink", schemars::schema_for!(SinkSettings).to_value(), &mut defs);
        let mut common = common["properties"].take().as_object().cloned().unwrap_or_default();
        let text = common.get("follow").map(|follow| follow["description"].clone()).unwrap_or_default();
        let mut follow = hoist(kind.name(), kind.follow_schema().to_value(), &mut defs);
        follow["description"] = text;
        common.insert("follow".into(), follow);
        one_kind(
            kind.name(),
            kind.summary(),
            hoist(kind.name(), kind.schema().to_value(), &mut defs),
            common,
            &["follow"],
        )
    });
    let sinks: Vec<Value> = sinks.collect();
    let properties = &mut whole["properties"];
    properties["sources"] = json!({
        "description": "The databases to read, by name. A name is the prefix of its topics.",
        "type": "object", "additionalProperties": { "oneOf": sources },
    });
    properties["sinks"] = json!({
        "description": "The targets to keep in step, by name.",
        "type": "object", "additionalProperties": { "oneOf": sinks },
    });
    whole["$defs"] = Value::Object(defs);
    whole
}

/// Settings that hold the kind's key and `common`, and nothing else.
fn one_kind(name: &str, summary: &str, settings: Value, common: Map<String, Value>, required: &[&str]) -> Value {
    let mut properties = common;
    properties.insert(name.into(), settings);
    let required: Vec<&str> = required.iter().copied().chain([name]).collect();
    json!({
        "title": name, "description": summary, "type": "object",
        "properties": properties, "required": required, "additionalProperties": false,
    })
}

fn take_defs(schema: &mut Value) -> Map<String, Value> {
    match schema.as_object_mut().and_then(|schema| schema.remove("$defs")) {
        Some(Value::Object(defs)) => defs,
        _ => Map::new(),
    }
}

/// Moves `schema`'s definitions to `defs`, under `prefix` so that two connectors may use one name.
fn hoist(prefix: &str, mut schema: Value, defs: &mut Map<String, Value>) -> Value {
    let own = take_defs(&mut schema);
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("$schema");
    }
    point_to(prefix, &mut schema);
    for (name, mut definition) in own {
        point_to(prefix, &mut definition);
        defs.insert(format!("{prefix}.{name}"), definition);
    }
    schema
}

fn point_to(prefix: &str, schema: &mut Value) {
    match schema {
        Value::Object(entries) => {
            for (key, value) in entries {
                match value {
                    Value::String(target) if key == "$ref" => {
                        *target = target.replacen("#/$defs/", &format!("#/$defs/{prefix}."), 1);
                    }
                    _ => point_to(prefix, value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| point_to(prefix, item)),
        _ => {}
    }
}
