//! All that decides how a source's changes look as records.
//!
//! Invariant: options are a record of the journal, so that records of the past keep their bytes: a field never changes
//! its meaning, and a new one has a default that means what was before. Start at [`Options`].

use serde::{Deserialize, Serialize};
use std::fmt;

/// How changes are rendered. The defaults are Debezium's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Which connector's records these are.
    pub connector: Connector,
    /// Shown as `source.version`; `None`: the version whose records these are.
    pub version: Option<String>,
    /// The logical name: `source.name`, and what topics begin with.
    pub prefix: String,
    /// The name of PostgreSQL's database, shown as `source.db`.
    pub database: String,
    /// Whether faults of the original are reproduced.
    pub compat: Compat,
    /// `decimal.handling.mode`.
    pub decimal: DecimalMode,
    /// `time.precision.mode`; `None`: the connector's default.
    pub time_precision: Option<TimePrecision>,
    /// `enable.time.adjuster`: years of two digits are completed (MySQL and MariaDB).
    pub adjust_years: bool,
    /// `binary.handling.mode`.
    pub binary: BinaryMode,
    /// `bigint.unsigned.handling.mode`.
    pub bigint_unsigned: BigintUnsigned,
    /// `hstore.handling.mode`.
    pub hstore: HstoreMode,
    /// `interval.handling.mode`.
    pub interval: IntervalMode,
    /// `money.fraction.digits`.
    pub money_fraction_digits: u8,
    /// `include.unknown.datatypes`.
    pub include_unknown_datatypes: bool,
    /// `unavailable.value.placeholder`.
    pub unavailable_placeholder: String,
    /// `schema.name.adjustment.mode`.
    pub schema_name_adjustment: NameAdjustment,
    /// `field.name.adjustment.mode`.
    pub field_name_adjustment: NameAdjustment,
    /// `tombstones.on.delete`.
    pub tombstones: bool,
    /// `skipped.operations`.
    pub skipped: Skipped,
    /// `skip.messages.without.change`.
    pub skip_without_change: bool,
    /// `include.query`.
    pub include_query: bool,
    /// `include.schema.comments`.
    pub include_comments: bool,
    /// `provide.transaction.metadata`.
    pub transaction_metadata: bool,
    /// `topic.delimiter`.
    pub topic_delimiter: String,
    /// `topic.transaction`, the end of the name of that topic.
    pub transaction_topic: String,
    /// `topic.heartbeat.prefix`.
    pub heartbeat_prefix: String,
    /// `topic.heartbeat.name`, the whole name of that topic.
    pub heartbeat_topic: Option<String>,
    /// `topic.naming.strategy`: what it does with the name.
    pub topic_naming: TopicNaming,
    /// The same: which parts the name has; `None`: those of the default strategy, but that a pattern gets
    /// [`TopicParts::Database`].
    pub topic_parts: Option<TopicParts>,
    /// `message.key.columns`; of several that fit a table the first is taken.
    pub message_keys: Vec<MessageKey>,
    /// The converter of keys.
    pub key: Converter,
    /// The converter of values.
    pub value: Converter,
    /// The converter of headers.
    pub header: HeaderConverter,
    /// The headers of a task's context; `None` where `extended.headers.enabled` is false.
    pub context_headers: Option<ContextHeaders>,
    /// What is done to columns; of several that fit a column the first is taken.
    pub columns: Vec<ColumnRule>,
    /// The transforms, in order.
    pub transforms: Vec<Transform>,
}

/// A connector of Debezium.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Connector {
    /// MySQL.
    #[default]
    Mysql,
    /// MariaDB.
    Mariadb,
    /// PostgreSQL.
    Postgresql,
}

/// What becomes of the original's faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compat {
    /// Records are those of the original, to the byte.
    #[default]
    Exact,
    /// Values are those of the database.
    Right,
}

/// How decimals are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecimalMode {
    /// As Connect's Decimal.
    #[default]
    Precise,
    /// As a double.
    Double,
    /// As text.
    String,
}

/// How dates and times are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimePrecision {
    /// By the column's fraction digits.
    Adaptive,
    /// The same, but times always in microseconds.
    AdaptiveTimeMicroseconds,
    /// Connect's own types, in milliseconds.
    Connect,
    /// ISO 8601 in UTC.
    #[serde(rename = "isostring")]
    IsoString,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

/// How bytes are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BinaryMode {
    /// As bytes.
    #[default]
    Bytes,
    /// As text in base64.
    Base64,
    /// As text in base64 for URLs.
    Base64UrlSafe,
    /// As text in hexadecimal digits.
    Hex,
}

/// How BIGINT UNSIGNED is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BigintUnsigned {
    /// As a signed 64-bit integer, which turns negative where it is too large.
    #[default]
    Long,
    /// As Connect's Decimal.
    Precise,
}

/// How PostgreSQL's hstore is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HstoreMode {
    /// As the text of a JSON object.
    #[default]
    Json,
    /// As a map.
    Map,
}

/// How PostgreSQL's interval is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IntervalMode {
    /// In microseconds, a month having 365.25 / 12 days.
    #[default]
    Numeric,
    /// As text of ISO 8601.
    String,
}

/// How names that Avro does not allow are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameAdjustment {
    /// Not at all.
    #[default]
    None,
    /// Each character that is not allowed becomes an underscore.
    Avro,
    /// Each becomes `_uXXXX`, an underscore too.
    AvroUnicode,
}

/// Operations that make no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Skipped {
    /// Creates.
    pub create: bool,
    /// Updates.
    pub update: bool,
    /// Deletes.
    pub delete: bool,
    /// Truncates.
    pub truncate: bool,
}

/// How a table's topic is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TopicNaming {
    /// Its parts, with an underscore for what a topic cannot have.
    #[default]
    Default,
    /// The same, then replaced where a pattern fits.
    Regex(RegexNaming),
    /// Its parts, with `_uXXXX` for what a topic cannot have, and for underscores.
    Unicode,
}

/// What stands between the prefix and the table in the name of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TopicParts {
    /// The database: `Default…TopicNamingStrategy`. PostgreSQL's tables tell of none.
    Database,
    /// The schema: `Schema…TopicNamingStrategy`. Tables of MySQL and MariaDB have none.
    Schema,
}

/// `…RegexTopicNamingStrategy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegexNaming {
    /// `topic.regex`.
    pub regex: String,
    /// `topic.replacement`.
    pub replacement: String,
    /// `topic.key.enforce.uniqueness`, `topic.key.field.*`.
    pub key: Option<KeyField>,
}

/// A field that keeps the keys of several tables in one topic apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyField {
    /// Its name, `__dbz__physicalTableIdentifier` by default.
    pub name: String,
    /// The pattern and the replacement that make its value of the topic's first name; without, it is that name.
    pub regex: Option<(String, String)>,
}

/// The columns that make the key of the records of some tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageKey {
    /// Must fit the whole `database.table`, without regard to case.
    pub tables: String,
    /// In the key's order.
    pub columns: Vec<String>,
}

/// A JsonConverter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Converter {
    /// `schemas.enable`.
    pub schemas: bool,
    /// `decimal.format` is NUMERIC.
    pub decimal_numeric: bool,
    /// `replace.null.with.default`.
    pub replace_null: bool,
}

/// `header.converter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderConverter {
    /// SimpleHeaderConverter: text, and structs in braces.
    #[default]
    Simple,
    /// JsonConverter.
    Json(Converter),
}

/// What the headers `__debezium.context.*` tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextHeaders {
    /// The connector's logical name.
    pub logical_name: String,
    /// The task's number.
    pub task: String,
    /// The connector's kind: `mysql`.
    pub connector: String,
    /// The run of the task.
    pub run: String,
}

/// What is done to the columns that a pattern names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnRule {
    /// Patterns of full column names (or types), separated by commas, without regard to case.
    pub columns: String,
    /// What is done.
    pub action: ColumnAction,
}

/// What is done to a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnAction {
    /// `column.truncate.to.N.chars`.
    Truncate(u32),
    /// `column.mask.with.N.chars`.
    Mask(u32),
    /// `column.mask.hash[.v2].ALGORITHM.with.salt.SALT`.
    Hash {
        /// The algorithm, by Java's name.
        algorithm: String,
        /// Put in front of what is hashed.
        salt: String,
        /// Hash the text itself, not Java's serialised form of it.
        v2: bool,
    },
    /// `column.propagate.source.type`.
    PropagateType,
    /// `datatype.propagate.source.type`: the pattern is of the column's type instead.
    PropagateTypeOfType,
}

/// A step that changes records on their way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transform {
    /// What it does.
    pub step: Step,
    /// Where it is done; `None`: always.
    pub predicate: Option<Predicate>,
}

/// What a transform does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// `ExtractNewRecordState`.
    Unwrap(Unwrap),
    /// `RegexRouter`.
    RegexRouter {
        /// Must fit the whole topic.
        regex: String,
        /// With `$1` for groups.
        replacement: String,
    },
    /// `ByLogicalTableRouter`.
    LogicalRouter {
        /// Must fit the whole topic.
        regex: String,
        /// With `$1` for groups.
        replacement: String,
        /// `key.enforce.uniqueness`, `key.field.*`.
        key: Option<KeyField>,
        /// `schema.name.adjustment.mode`.
        schema_name_adjustment: NameAdjustment,
    },
}

/// Settings of `ExtractNewRecordState`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unwrap {
    /// `delete.tombstone.handling.mode`.
    pub deletes: DeleteHandling,
    /// `add.fields`.
    pub fields: Vec<String>,
    /// `add.fields.prefix`.
    pub fields_prefix: String,
    /// `add.headers`.
    pub headers: Vec<String>,
    /// `add.headers.prefix`.
    pub headers_prefix: String,
    /// `route.by.field`.
    pub route_by: Option<String>,
    /// `replace.null.with.default`.
    pub replace_null: bool,
}

/// What becomes of deletes and their tombstones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeleteHandling {
    /// Neither is left.
    Drop,
    /// The delete becomes a null value, its tombstone is dropped.
    #[default]
    Tombstone,
    /// The delete shows the row with `__deleted`, its tombstone is dropped.
    Rewrite,
    /// The same, and its tombstone stays.
    RewriteWithTombstone,
    /// The delete becomes a tombstone, its own is dropped.
    DeleteToTombstone,
    /// The delete is dropped, its tombstone stays: until 2.x alone.
    OnlyTombstone,
    /// The delete becomes a null value, and its tombstone stays: until 2.x alone.
    NullWithTombstone,
}

/// Where a transform is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predicate {
    /// What is asked of a record.
    pub test: Test,
    /// Done where it does not hold.
    pub negate: bool,
}

/// What a predicate asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// `TopicNameMatches`: the pattern fits the whole topic.
    Topic(String),
    /// `RecordIsTombstone`.
    Tombstone,
    /// `HasHeaderKey`.
    Header(String),
}

/// An option that cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionsError(pub(crate) String);

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OptionsError {}

impl Default for Options {
    fn default() -> Self {
        Options {
            connector: Connector::default(),
            version: None,
            prefix: String::new(),
            database: String::new(),
            compat: Compat::default(),
            decimal: DecimalMode::default(),
            time_precision: None,
            adjust_years: true,
            binary: BinaryMode::default(),
            bigint_unsigned: BigintUnsigned::default(),
            hstore: HstoreMode::default(),
            interval: IntervalMode::default(),
            money_fraction_digits: 2,
            include_unknown_datatypes: false,
            unavailable_placeholder: "__debezium_unavailable_value".to_owned(),
            schema_name_adjustment: NameAdjustment::default(),
            field_name_adjustment: NameAdjustment::default(),
            tombstones: true,
            skipped: Skipped::default(),
            skip_without_change: false,
            include_query: false,
            include_comments: false,
            transaction_metadata: false,
            topic_delimiter: ".".to_owned(),
            transaction_topic: "transaction".to_owned(),
            heartbeat_prefix: "__debezium-heartbeat".to_owned(),
            heartbeat_topic: None,
            topic_naming: TopicNaming::default(),
            topic_parts: None,
            message_keys: Vec::new(),
            key: Converter::default(),
            value: Converter::default(),
            header: HeaderConverter::default(),
            context_headers: None,
            columns: Vec::new(),
            transforms: Vec::new(),
        }
    }
}

impl Default for Skipped {
    fn default() -> Self {
        Skipped { create: false, update: false, delete: false, truncate: true }
    }
}

impl Default for Converter {
    fn default() -> Self {
        Converter { schemas: true, decimal_numeric: false, replace_null: true }
    }
}

impl Default for Unwrap {
    fn default() -> Self {
        Unwrap {
            deletes: DeleteHandling::default(),
            fields: Vec::new(),
            fields_prefix: "__".to_owned(),
            headers: Vec::new(),
            headers_prefix: "__".to_owned(),
            route_by: None,
            replace_null: true,
        }
    }
}

impl Default for KeyField {
    fn default() -> Self {
        KeyField { name: "__dbz__physicalTableIdentifier".to_owned(), regex: None }
    }
}

impl Connector {
    /// The name in `source.connector`.
    pub fn name(self) -> &'static str {
        match self {
            Connector::Mysql => "mysql",
            Connector::Mariadb => "mariadb",
            Connector::Postgresql => "postgresql",
        }
    }

    /// The version whose records ours are.
    pub fn version(self) -> &'static str {
        match self {
            Connector::Mariadb => "3.5.0.Final",
            Connector::Mysql | Connector::Postgresql => "3.6.1.Final",
        }
    }
}

impl Options {
    /// The records of a source that is not declared as a connector: right, and without schemas, so that each value must say
    /// by itself what it is.
    pub fn of_source(connector: Connector, name: &str) -> Options {
        let converter = Converter { schemas: false, decimal_numeric: true, replace_null: true };
        Options {
            connector,
            prefix: name.to_owned(),
            compat: Compat::Right,
            decimal: DecimalMode::String,
            bigint_unsigned: BigintUnsigned::Precise,
            key: converter,
            value: converter,
            ..Options::default()
        }
    }

    /// Names of fields that are added to keys, and are no columns.
    pub(crate) fn key_fields(&self) -> impl Iterator<Item = &str> {
        let named = match &self.topic_naming {
            TopicNaming::Regex(naming) => naming.key.as_ref(),
            TopicNaming::Default | TopicNaming::Unicode => None,
        };
        let routed = self.transforms.iter().filter_map(|transform| match &transform.step {
            Step::LogicalRouter { key, .. } => key.as_ref(),
            Step::Unwrap(_) | Step::RegexRouter { .. } => None,
        });
        named.into_iter().chain(routed).map(|key| key.name.as_str())
    }

    /// For names that are adjusted already: what would not stay as it is if that were done again is not done.
    pub(crate) fn of_adjusted_names(&self) -> Option<Options> {
        let again = NameAdjustment::AvroUnicode;
        (self.field_name_adjustment == again)
            .then(|| Options { field_name_adjustment: NameAdjustment::None, ..self.clone() })
    }

    /// The time precision that holds.
    pub fn time_precision(&self) -> TimePrecision {
        self.time_precision.unwrap_or(match self.connector {
            Connector::Postgresql => TimePrecision::Adaptive,
            Connector::Mysql | Connector::Mariadb => TimePrecision::AdaptiveTimeMicroseconds,
        })
    }

    /// Whether the original's faults are reproduced.
    pub fn is_exact(&self) -> bool {
        self.compat == Compat::Exact
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.connector == Connector::Postgresql
    }
}
