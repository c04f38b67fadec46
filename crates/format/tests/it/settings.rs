//! The options that a scenario's properties mean, as far as its records depend on them.
//!
//! Invariant: an enumeration is read by the name that Debezium gives it, which is the name that options have when they
//! are stored. Start at [`options`].

use headwater_format::debezium::Options;
use headwater_format::debezium::options::{
    Connector, ContextHeaders, Converter, HeaderConverter, KeyField, NameAdjustment, Predicate, RegexNaming, Step,
    Test, TopicNaming, TopicParts, Transform,
};
use headwater_testkit::golden::Scenario;
use serde_json::{Map, Value, json};

/// Properties whose values are stored as they are.
const NAMED: &[(&str, &str)] = &[
    ("decimal.handling.mode", "decimal"),
    ("time.precision.mode", "time_precision"),
    ("binary.handling.mode", "binary"),
    ("bigint.unsigned.handling.mode", "bigint_unsigned"),
    ("hstore.handling.mode", "hstore"),
    ("interval.handling.mode", "interval"),
    ("unavailable.value.placeholder", "unavailable_placeholder"),
    ("schema.name.adjustment.mode", "schema_name_adjustment"),
    ("field.name.adjustment.mode", "field_name_adjustment"),
    ("topic.delimiter", "topic_delimiter"),
    ("topic.transaction", "transaction_topic"),
    ("topic.heartbeat.prefix", "heartbeat_prefix"),
    ("money.fraction.digits", "money_fraction_digits"),
    ("enable.time.adjuster", "adjust_years"),
    ("include.unknown.datatypes", "include_unknown_datatypes"),
    ("tombstones.on.delete", "tombstones"),
    ("include.query", "include_query"),
    ("include.schema.comments", "include_comments"),
    ("provide.transaction.metadata", "transaction_metadata"),
];

/// The options of a scenario.
pub fn options(scenario: &Scenario) -> Options {
    let mut stored = Map::new();
    for (property, name) in NAMED {
        if let Some(text) = scenario.config.get(*property) {
            // Numbers and truth values are stored as such.
            let value = serde_json::from_str(text).ok().filter(|value: &Value| !value.is_array());
            stored.insert((*name).to_owned(), value.unwrap_or_else(|| json!(text)));
        }
    }
    stored.insert("connector".to_owned(), json!(scenario.kind));
    stored.insert("prefix".to_owned(), json!(scenario.topic_prefix));
    let mut options: Options = serde_json::from_value(Value::Object(stored)).expect("options of a scenario");
    options.database = scenario.database.clone();
    options.skipped.truncate = !scenario.config.contains_key("skipped.operations");
    if options.connector == Connector::Mariadb {
        // The original takes the one property for the other there.
        options.include_comments = !is(scenario, "include.schema.changes", "false");
    }
    options.key = converter(scenario, "key");
    options.value = converter(scenario, "value");
    if scenario.config.get("header.converter").is_some_and(|name| name.ends_with("JsonConverter")) {
        options.header = HeaderConverter::Json(converter(scenario, "header"));
    }
    if !is(scenario, "extended.headers.enabled", "false") {
        options.context_headers = Some(ContextHeaders {
            logical_name: scenario.topic_prefix.clone(),
            task: "0".to_owned(),
            connector: scenario.kind.clone(),
            run: "01a1fc44-2b0e-7738-979e-067afa5217e2".to_owned(),
        });
    }
    (options.topic_naming, options.topic_parts) = topic_naming(scenario);
    options.transforms = routers(scenario);
    options
}

fn topic_naming(scenario: &Scenario) -> (TopicNaming, Option<TopicParts>) {
    let property = |name: &str| scenario.config.get(name).cloned();
    let Some(strategy) = property("topic.naming.strategy") else { return (TopicNaming::Default, None) };
    let parts = if strategy.contains(".Schema") { TopicParts::Schema } else { TopicParts::Database };
    let naming = match (property("topic.regex"), strategy.contains("Unicode")) {
        (Some(regex), _) => TopicNaming::Regex(RegexNaming {
            regex,
            replacement: property("topic.replacement").expect("a replacement"),
            key: Some(KeyField {
                name: property("topic.key.field.name").unwrap_or(KeyField::default().name),
                regex: property("topic.key.field.regex").zip(property("topic.key.field.replacement")),
            }),
        }),
        (None, true) => TopicNaming::Unicode,
        (None, false) => TopicNaming::Default,
    };
    (naming, Some(parts))
}

fn is(scenario: &Scenario, property: &str, value: &str) -> bool {
    scenario.config.get(property).is_some_and(|text| text == value)
}

fn converter(scenario: &Scenario, of: &str) -> Converter {
    let format = scenario.config.get(&format!("{of}.converter.decimal.format"));
    Converter {
        schemas: !is(scenario, &format!("{of}.converter.schemas.enable"), "false"),
        decimal_numeric: format.is_some_and(|format| format.eq_ignore_ascii_case("numeric")),
        replace_null: !is(scenario, &format!("{of}.converter.replace.null.with.default"), "false"),
    }
}

/// The transforms that leave an envelope an envelope.
fn routers(scenario: &Scenario) -> Vec<Transform> {
    let names = scenario.config.get("transforms").map(String::as_str).unwrap_or_default();
    let mut transforms = Vec::new();
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let property = |end: &str| scenario.config.get(&format!("transforms.{name}.{end}")).cloned();
        let kind = property("type").unwrap_or_default();
        let step = match kind.rsplit('.').next() {
            Some("RegexRouter") => Step::RegexRouter {
                regex: property("regex").expect("a pattern"),
                replacement: property("replacement").expect("a replacement"),
            },
            Some("ByLogicalTableRouter") => Step::LogicalRouter {
                regex: property("topic.regex").expect("a pattern"),
                replacement: property("topic.replacement").expect("a replacement"),
                key: (property("key.enforce.uniqueness").as_deref() != Some("false")).then(|| KeyField {
                    name: property("key.field.name").unwrap_or(KeyField::default().name),
                    regex: None,
                }),
                schema_name_adjustment: NameAdjustment::None,
            },
            _ => continue,
        };
        let negate = property("negate").as_deref() == Some("true");
        let predicate = property("predicate").map(|name| Predicate { test: test(scenario, &name), negate });
        transforms.push(Transform { step, predicate });
    }
    transforms
}

fn test(scenario: &Scenario, name: &str) -> Test {
    let property = |end: &str| scenario.config.get(&format!("predicates.{name}.{end}")).cloned();
    match property("pattern") {
        Some(pattern) => Test::Topic(pattern),
        None => property("name").map_or(Test::Tombstone, Test::Header),
    }
}
