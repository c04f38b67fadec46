//! The properties that say how records look: handling modes, names, converters, columns that are masked.
//!
//! Invariant: a default here is Debezium's of the connector's newest version. Start at [`options`].

use super::properties::{Properties, TRANSACTION_TOPIC};
use super::{patterns, transforms};
use headwater_format::debezium::options::{
    BigintUnsigned, BinaryMode, ColumnAction, ColumnRule, Compat, Connector, ContextHeaders, Converter, DecimalMode,
    HeaderConverter, HstoreMode, IntervalMode, KeyField, NameAdjustment, Options, RegexNaming, Skipped, TimePrecision,
    TopicNaming, TopicParts,
};

/// The field that tells tables apart which share a topic.
pub(super) const KEY_FIELD: &str = "__dbz__physicalTableIdentifier";
const JSON_CONVERTER: &str = "org.apache.kafka.connect.json.JsonConverter";
const SIMPLE_CONVERTER: &str = "org.apache.kafka.connect.storage.SimpleHeaderConverter";
/// Characters that a column may be cut or masked to.
const CHARS_MAX: u32 = 1 << 20;

/// The format's options.
pub(super) fn options(properties: &mut Properties, connector: Connector, database: &str) -> Options {
    let prefix = properties.required("topic.prefix").unwrap_or_default();
    let mut options = Options {
        connector,
        compat: properties
            .choice("headwater.compat", &[("exact", Compat::Exact), ("right", Compat::Right)])
            .unwrap_or_default(),
        prefix: prefix.clone(),
        database: database.to_owned(),
        ..Options::default()
    };
    let context = ContextHeaders {
        logical_name: prefix,
        task: "0".to_owned(),
        connector: name(connector).to_owned(),
        run: String::new(),
    };
    options.context_headers = Some(context).filter(|_| properties.flag("extended.headers.enabled", true));
    values(properties, &mut options);
    match connector {
        Connector::Postgresql => values_of_postgres(properties, &mut options),
        Connector::Mysql | Connector::Mariadb => values_of_mysql(properties, &mut options),
    }
    events(properties, &mut options);
    topics(properties, &mut options);
    options.key = converter(properties, "key.converter");
    options.value = converter(properties, "value.converter");
    options.header = header_converter(properties);
    options.columns = columns(properties);
    options.transforms = transforms::chain(properties);
    options
}

/// The connector's name in its own records.
fn name(connector: Connector) -> &'static str {
    match connector {
        Connector::Mysql => "mysql",
        Connector::Mariadb => "mariadb",
        Connector::Postgresql => "postgresql",
    }
}

/// How values are shown, for every connector.
fn values(properties: &mut Properties, options: &mut Options) {
    let decimals =
        [("precise", DecimalMode::Precise), ("double", DecimalMode::Double), ("string", DecimalMode::String)];
    options.decimal = properties.choice("decimal.handling.mode", &decimals).unwrap_or_default();
    let bytes = [
        ("bytes", BinaryMode::Bytes),
        ("base64", BinaryMode::Base64),
        ("base64-url-safe", BinaryMode::Base64UrlSafe),
        ("hex", BinaryMode::Hex),
    ];
    options.binary = properties.choice("binary.handling.mode", &bytes).unwrap_or_default();
    let mut times = vec![
        ("adaptive_time_microseconds", TimePrecision::AdaptiveTimeMicroseconds),
        ("connect", TimePrecision::Connect),
        ("isostring", TimePrecision::IsoString),
        ("microseconds", TimePrecision::Microseconds),
        ("nanoseconds", TimePrecision::Nanoseconds),
    ];
    if options.connector == Connector::Postgresql {
        times.push(("adaptive", TimePrecision::Adaptive));
    }
    options.time_precision = properties.choice("time.precision.mode", &times);
    options.schema_name_adjustment = adjustment(properties, "schema.name.adjustment.mode").unwrap_or_default();
    let old = properties.flag("sanitize.field.names", false).then_some(NameAdjustment::Avro);
    options.field_name_adjustment = adjustment(properties, "field.name.adjustment.mode").or(old).unwrap_or_default();
    // Null for a value that cannot be shown is what both mean.
    let failures = [("warn", true), ("skip", true), ("fail", false)];
    if properties.choice("event.converting.failure.handling.mode", &failures) == Some(false) {
        let message = "fail is not honoured yet: a value that cannot be shown becomes null";
        properties.fault("event.converting.failure.handling.mode", message.into());
    }
}

pub(super) fn adjustment(properties: &mut Properties, name: &str) -> Option<NameAdjustment> {
    let modes =
        [("none", NameAdjustment::None), ("avro", NameAdjustment::Avro), ("avro_unicode", NameAdjustment::AvroUnicode)];
    properties.choice(name, &modes)
}

fn values_of_mysql(properties: &mut Properties, options: &mut Options) {
    let modes = [("long", BigintUnsigned::Long), ("precise", BigintUnsigned::Precise)];
    options.bigint_unsigned = properties.choice("bigint.unsigned.handling.mode", &modes).unwrap_or_default();
    options.adjust_years = properties.flag("enable.time.adjuster", true);
    options.include_query = properties.flag("include.query", false);
}

fn values_of_postgres(properties: &mut Properties, options: &mut Options) {
    let hstore = [("json", HstoreMode::Json), ("map", HstoreMode::Map)];
    options.hstore = properties.choice("hstore.handling.mode", &hstore).unwrap_or_default();
    let interval = [("numeric", IntervalMode::Numeric), ("string", IntervalMode::String)];
    options.interval = properties.choice("interval.handling.mode", &interval).unwrap_or_default();
    let digits = properties.number("money.fraction.digits", 0, 18).and_then(|digits| u8::try_from(digits).ok());
    options.money_fraction_digits = digits.unwrap_or(options.money_fraction_digits);
    options.include_unknown_datatypes = properties.flag("include.unknown.datatypes", false);
    if let Some(placeholder) = placeholder(properties) {
        options.unavailable_placeholder = placeholder;
    }
}

/// `unavailable.value.placeholder`: a text, or behind `hex:` the bytes of one.
fn placeholder(properties: &mut Properties) -> Option<String> {
    let name = "unavailable.value.placeholder";
    let value = properties.take(name)?;
    let Some(digits) = value.strip_prefix("hex:") else { return Some(value) };
    let is_hex = digits.len() % 2 == 0 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
    let text = bytes.filter(|_| is_hex).and_then(|bytes| String::from_utf8(bytes).ok());
    if text.is_none() {
        properties.fault(name, "behind hex: stand the octets of a text in UTF-8, two digits each".into());
    }
    text
}

/// Which records a change makes, and what stands beside its rows.
fn events(properties: &mut Properties, options: &mut Options) {
    options.tombstones = properties.flag("tombstones.on.delete", true);
    options.skip_without_change = properties.flag("skip.messages.without.change", false);
    options.include_comments = properties.flag("include.schema.comments", false);
    options.transaction_metadata = properties.flag("provide.transaction.metadata", false);
    properties.only("source.struct.version", "v2", "the source block is that of version 2");
    let words = properties.words("skipped.operations");
    let truncates = properties.choice("truncate.handling.mode", &[("include", true), ("skip", false)]);
    if words.is_empty() {
        // The name of 1.x.
        options.skipped.truncate = truncates.map_or(options.skipped.truncate, |included| !included);
        return;
    }
    if truncates.is_some() {
        properties.note("truncate.handling.mode", "skipped.operations stands beside it and counts");
    }
    let mut skipped = Skipped { create: false, update: false, delete: false, truncate: false };
    for word in &words {
        match word.to_ascii_lowercase().as_str() {
            "c" => skipped.create = true,
            "u" => skipped.update = true,
            "d" => skipped.delete = true,
            "t" => skipped.truncate = true,
            "none" if words.len() == 1 => {}
            _ => {
                let message =
                    format!("{word:?} is not allowed; allowed are c, u, d, t, separated by commas, or none alone");
                properties.fault("skipped.operations", message);
            }
        }
    }
    options.skipped = skipped;
}

fn topics(properties: &mut Properties, options: &mut Options) {
    let mut text = |name: &str, into: &mut String| {
        if let Some(value) = properties.take(name) {
            *into = value;
        }
    };
    text("topic.delimiter", &mut options.topic_delimiter);
    text("topic.transaction", &mut options.transaction_topic);
    text("topic.heartbeat.prefix", &mut options.heartbeat_prefix);
    transaction_topic(properties, options);
    options.heartbeat_topic = properties.take("topic.heartbeat.name");
    if properties.take("topic.cache.size").is_some() {
        properties.note("topic.cache.size", "names of topics are made once");
    }
    (options.topic_naming, options.topic_parts) = topic_naming(properties);
}

/// The whole name of the topic of transactions, as 1.x has it. What stands behind the prefix is kept.
fn transaction_topic(properties: &mut Properties, options: &mut Options) {
    let Some(name) = properties.take(TRANSACTION_TOPIC) else { return };
    let name = name.replace("${database.server.name}", &options.prefix);
    let before = format!("{}{}", options.prefix, options.topic_delimiter);
    match name.strip_prefix(&before) {
        Some(end) if !end.is_empty() => options.transaction_topic = end.to_owned(),
        _ => properties.fault(TRANSACTION_TOPIC, format!("only names that begin with {before:?} are honoured")),
    }
}

/// `topic.naming.strategy`. Without one, parts are those of the connector's default.
fn topic_naming(properties: &mut Properties) -> (TopicNaming, Option<TopicParts>) {
    let strategies = ["", "Regex", "Unicode"].iter().flat_map(|naming| {
        [("Schema", TopicParts::Schema), ("Default", TopicParts::Database)].map(|(name, parts)| {
            (format!("io.debezium.schema.{name}{naming}TopicNamingStrategy"), (*naming, Some(parts)))
        })
    });
    let strategies: Vec<_> = strategies.collect();
    let strategies: Vec<_> = strategies.iter().map(|(name, strategy)| (name.as_str(), *strategy)).collect();
    let (naming, parts) = properties.choice("topic.naming.strategy", &strategies).unwrap_or_default();
    let naming = match naming {
        "Regex" => TopicNaming::Regex(regex_naming(properties)),
        "Unicode" => TopicNaming::Unicode,
        _ => TopicNaming::Default,
    };
    (naming, parts)
}

fn regex_naming(properties: &mut Properties) -> RegexNaming {
    let regex = properties.required("topic.regex").unwrap_or_default();
    patterns::check(properties, "topic.regex", &regex);
    let replacement = properties.required("topic.replacement").unwrap_or_default();
    if properties.take("topic.regex.enable").is_some() {
        properties.note("topic.regex.enable", "topic.naming.strategy says it");
    }
    RegexNaming { regex, replacement, key: key_field(properties, "topic.key.") }
}

/// `key.enforce.uniqueness` and `key.field.*`, behind what comes before `key.`.
pub(super) fn key_field(properties: &mut Properties, prefix: &str) -> Option<KeyField> {
    let unique = properties.flag(&format!("{prefix}enforce.uniqueness"), true);
    let name = properties.take(&format!("{prefix}field.name")).unwrap_or_else(|| KEY_FIELD.to_owned());
    let regex_name = format!("{prefix}field.regex");
    let regex = properties.take(&regex_name);
    let replacement = properties.take(&format!("{prefix}field.replacement"));
    if let Some(regex) = &regex {
        patterns::check(properties, &regex_name, regex);
    }
    unique.then(|| KeyField { name, regex: regex.zip(replacement) })
}

fn converter(properties: &mut Properties, name: &str) -> Converter {
    if let Some(class) = properties.take(name)
        && class != JSON_CONVERTER
    {
        properties.fault(name, format!("not yet honoured: {class}; records are written by {JSON_CONVERTER}"));
        // Its own properties say nothing of ours.
        drop(properties.take_all(&format!("{name}.")));
        return Converter::default();
    }
    let schemas = properties.flag(&format!("{name}.schemas.enable"), true);
    let formats = [("BASE64", false), ("NUMERIC", true)];
    let decimal_numeric = properties.choice(&format!("{name}.decimal.format"), &formats).unwrap_or(false);
    let replace_null = properties.flag(&format!("{name}.replace.null.with.default"), true);
    if properties.take(&format!("{name}.schemas.cache.size")).is_some() {
        properties.note(&format!("{name}.schemas.cache.size"), "a schema's text is made once");
    }
    Converter { schemas, decimal_numeric, replace_null }
}

fn header_converter(properties: &mut Properties) -> HeaderConverter {
    match properties.choice("header.converter", &[(SIMPLE_CONVERTER, false), (JSON_CONVERTER, true)]) {
        Some(true) => HeaderConverter::Json(converter(properties, "header.converter")),
        _ => HeaderConverter::Simple,
    }
}

/// What is done to columns, in the order in which Debezium looks for the first rule that fits.
fn columns(properties: &mut Properties) -> Vec<ColumnRule> {
    let mut rules = counted(properties, "column.truncate.to.", ColumnAction::Truncate);
    rules.extend(counted(properties, "column.mask.with.", ColumnAction::Mask));
    for (name, action) in [
        ("column.propagate.source.type", ColumnAction::PropagateType),
        ("datatype.propagate.source.type", ColumnAction::PropagateTypeOfType),
    ] {
        rules.extend(properties.take(name).map(|value| (name.to_owned(), value, action)));
    }
    let hashes = properties.take_all("column.mask.hash.");
    let (second, first): (Vec<_>, Vec<_>) = hashes.into_iter().partition(|(rest, _)| rest.starts_with("v2."));
    for (rest, value) in first.into_iter().chain(second) {
        let name = format!("column.mask.hash.{rest}");
        let (v2, rest) = rest.strip_prefix("v2.").map_or((false, rest.as_str()), |rest| (true, rest));
        match rest.split_once(".with.salt.") {
            Some((algorithm, salt)) if !algorithm.is_empty() && !salt.is_empty() => {
                let (algorithm, salt) = (algorithm.to_owned(), salt.to_owned());
                rules.push((name, value, ColumnAction::Hash { algorithm, salt, v2 }));
            }
            _ => properties.fault(&name, "its form is column.mask.hash.ALGORITHM.with.salt.SALT".into()),
        }
    }
    for (name, value, _) in &rules {
        patterns::split(value).iter().for_each(|expression| patterns::check(properties, name, expression));
    }
    rules.into_iter().map(|(_, columns, action)| ColumnRule { columns, action }).collect()
}

/// `PREFIX` + number + `.chars`.
fn counted(
    properties: &mut Properties,
    prefix: &str,
    action: impl Fn(u32) -> ColumnAction,
) -> Vec<(String, String, ColumnAction)> {
    let mut rules = Vec::new();
    for (rest, value) in properties.take_all(prefix) {
        let count = rest.strip_suffix(".chars").and_then(|count| count.parse().ok());
        match count.filter(|count| *count <= CHARS_MAX) {
            Some(count) => rules.push((format!("{prefix}{rest}"), value, action(count))),
            None => properties.fault(&format!("{prefix}{rest}"), format!("its form is {prefix}NUMBER.chars")),
        }
    }
    rules
}
