//! `transforms` and `predicates`: what is done to records on their way.
//!
//! Invariant: a transform that is not known, or a property of one, is refused by name. Start at [`chain`].

use super::properties::Properties;
use super::{patterns, records};
use headwater_format::debezium::options::{DeleteHandling, Predicate, Step, Test, Transform, Unwrap};
use std::collections::BTreeMap;

const UNWRAP: &str = "io.debezium.transforms.ExtractNewRecordState";
/// What it was called in 0.x.
const OLD_UNWRAP: &str = "io.debezium.transforms.UnwrapFromEnvelope";
const REGEX_ROUTER: &str = "org.apache.kafka.connect.transforms.RegexRouter";
const LOGICAL_ROUTER: &str = "io.debezium.transforms.ByLogicalTableRouter";
const TOPIC_NAME: &str = "org.apache.kafka.connect.transforms.predicates.TopicNameMatches";
const TOMBSTONE: &str = "org.apache.kafka.connect.transforms.predicates.RecordIsTombstone";
const HEADER_KEY: &str = "org.apache.kafka.connect.transforms.predicates.HasHeaderKey";

/// What stands in front of fields and headers that are added.
const ADDED_PREFIX: &str = "__";

/// The transforms in order, each with its predicate.
pub(super) fn chain(properties: &mut Properties) -> Vec<Transform> {
    let predicates = predicates(properties);
    let mut transforms = Vec::new();
    for name in properties.words("transforms") {
        let own = format!("transforms.{name}.");
        let predicate = predicate_of(properties, &own, &predicates);
        let type_name = format!("{own}type");
        let step = match properties.required(&type_name).as_deref() {
            None => None,
            Some(UNWRAP | OLD_UNWRAP) => Some(Step::Unwrap(unwrap(properties, &own))),
            Some(REGEX_ROUTER) => Some(regex_router(properties, &own)),
            Some(LOGICAL_ROUTER) => Some(logical_router(properties, &own)),
            Some(other) => {
                let allowed = [UNWRAP, REGEX_ROUTER, LOGICAL_ROUTER].join(", ");
                properties.fault(&type_name, format!("not yet honoured: {other}; honoured are {allowed}"));
                // Its own properties say nothing of ours.
                drop(properties.take_all(&own));
                None
            }
        };
        transforms.extend(step.map(|step| Transform { step, predicate }));
    }
    transforms
}

fn predicates(properties: &mut Properties) -> BTreeMap<String, Test> {
    let mut tests = BTreeMap::new();
    for name in properties.words("predicates") {
        let own = format!("predicates.{name}.");
        let type_name = format!("{own}type");
        let test = match properties.required(&type_name).as_deref() {
            None => None,
            Some(TOPIC_NAME) => {
                let pattern = properties.required(&format!("{own}pattern")).unwrap_or_default();
                patterns::check(properties, &format!("{own}pattern"), &pattern);
                Some(Test::Topic(pattern))
            }
            Some(TOMBSTONE) => Some(Test::Tombstone),
            Some(HEADER_KEY) => properties.required(&format!("{own}name")).map(Test::Header),
            Some(other) => {
                let allowed = [TOPIC_NAME, TOMBSTONE, HEADER_KEY].join(", ");
                properties.fault(&type_name, format!("not yet honoured: {other}; honoured are {allowed}"));
                drop(properties.take_all(&own));
                None
            }
        };
        tests.extend(test.map(|test| (name, test)));
    }
    tests
}

fn predicate_of(properties: &mut Properties, own: &str, tests: &BTreeMap<String, Test>) -> Option<Predicate> {
    let negate = properties.flag(&format!("{own}negate"), false);
    let name = format!("{own}predicate");
    let wanted = properties.take(&name)?;
    match tests.get(&wanted) {
        Some(test) => Some(Predicate { test: test.clone(), negate }),
        None => {
            properties.fault(&name, format!("predicates has no {wanted:?}"));
            None
        }
    }
}

fn unwrap(properties: &mut Properties, own: &str) -> Unwrap {
    let named = |name: &str| format!("{own}{name}");
    for name in ["drop.fields.header.name", "drop.fields.from.key", "drop.fields.keep.schema.compatible"] {
        if properties.take(&named(name)).is_some() {
            properties.note(&named(name), "no header of a record lists fields here, so none is left out");
        }
    }
    let deletes = deletes(properties, own);
    // Names of 1.0: fields of the source block, and the operation as a header.
    let old_fields = properties.words(&named("add.source.fields"));
    let old_header = properties.flag(&named("operation.header"), false);
    Unwrap {
        deletes,
        fields: [properties.words(&named("add.fields")), old_fields].concat(),
        fields_prefix: properties.take(&named("add.fields.prefix")).unwrap_or_else(|| ADDED_PREFIX.to_owned()),
        headers: [properties.words(&named("add.headers")), vec!["op".to_owned(); old_header.into()]].concat(),
        headers_prefix: properties.take(&named("add.headers.prefix")).unwrap_or_else(|| ADDED_PREFIX.to_owned()),
        route_by: properties.take(&named("route.by.field")),
        replace_null: properties.flag(&named("replace.null.with.default"), true),
    }
}

/// `delete.tombstone.handling.mode`, or the two properties that it was until 2.x.
fn deletes(properties: &mut Properties, own: &str) -> DeleteHandling {
    let modes = [
        ("drop", DeleteHandling::Drop),
        ("tombstone", DeleteHandling::Tombstone),
        ("rewrite", DeleteHandling::Rewrite),
        ("rewrite-with-tombstone", DeleteHandling::RewriteWithTombstone),
        ("delete-to-tombstone", DeleteHandling::DeleteToTombstone),
    ];
    let (old_mode, old_drop) = (format!("{own}delete.handling.mode"), format!("{own}drop.tombstones"));
    let old = properties.choice(&old_mode, &[("drop", "drop"), ("rewrite", "rewrite"), ("none", "none")]);
    let drop_tombstones = properties.choice(&old_drop, &[("true", true), ("false", false)]);
    if let Some(mode) = properties.choice(&format!("{own}delete.tombstone.handling.mode"), &modes) {
        if old.is_some() || drop_tombstones.is_some() {
            properties.note(&old_mode, "delete.tombstone.handling.mode stands beside it and counts");
        }
        return mode;
    }
    match (old, drop_tombstones.unwrap_or(true)) {
        (None, _) if drop_tombstones.is_none() => DeleteHandling::default(),
        (Some("rewrite"), true) => DeleteHandling::Rewrite,
        (Some("rewrite"), false) => DeleteHandling::RewriteWithTombstone,
        (Some("none"), true) => DeleteHandling::Tombstone,
        (Some("none"), false) => DeleteHandling::NullWithTombstone,
        (_, true) => DeleteHandling::Drop,
        (_, false) => DeleteHandling::OnlyTombstone,
    }
}

fn regex_router(properties: &mut Properties, own: &str) -> Step {
    let (regex, replacement) = regex_and_replacement(properties, &format!("{own}regex"), &format!("{own}replacement"));
    Step::RegexRouter { regex, replacement }
}

fn logical_router(properties: &mut Properties, own: &str) -> Step {
    let (regex, replacement) =
        regex_and_replacement(properties, &format!("{own}topic.regex"), &format!("{own}topic.replacement"));
    let key = records::key_field(properties, &format!("{own}key."));
    let name = format!("{own}schema.name.adjustment.mode");
    let schema_name_adjustment = records::adjustment(properties, &name).unwrap_or_default();
    for name in ["logical.table.cache.size", "topic.cache.size"].map(|name| format!("{own}{name}")) {
        if properties.take(&name).is_some() {
            properties.note(&name, "names of topics are made once");
        }
    }
    Step::LogicalRouter { regex, replacement, key, schema_name_adjustment }
}

fn regex_and_replacement(properties: &mut Properties, regex: &str, replacement: &str) -> (String, String) {
    let expression = properties.required(regex).unwrap_or_default();
    patterns::check(properties, regex, &expression);
    (expression, properties.required(replacement).unwrap_or_default())
}
