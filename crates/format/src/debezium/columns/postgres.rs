//! Columns of PostgreSQL.
//!
//! Invariant: a type that the original does not know makes no field, unless the options say so. Start at [`shape`].

use super::form::{Form, Placeholder};
use super::temporal::Unit;
use super::vector_shape;
use super::{Shape, binary_shape, bits_shape, decimal_shape, enum_shape, geometry_shape, temporal_shape, text_shape};
use crate::connect::{Kind, Schema};
use crate::debezium::columns_native::type_name;
use crate::debezium::options::{
    BinaryMode, Compat, Converter, DecimalMode, HstoreMode, IntervalMode, Options, TimePrecision,
};
use headwater_model::Type;

/// What `bit varying` without a width is said to have.
const WIDTH_ANY: u32 = u32::MAX >> 1;

/// The scale of a numeric with less than no digits after the point, in the eleven bits that the original reads it from.
const SCALE_BITS: i32 = 0x7ff;

/// How values of `kind` look; `None` where the original drops such columns.
pub(crate) fn shape(kind: &Type, native: &str, options: &Options, converter: Converter) -> Option<Shape> {
    let number = |kind, zero| Shape::new(Schema::new(kind), Form::Integer, zero);
    let shape = match kind {
        Type::Int { bits: 8 | 16, .. } => number(Kind::Int16, "0"),
        Type::Int { bits: 32, unsigned: true } | Type::Int { bits: 64, .. } => number(Kind::Int64, "0"),
        Type::Int { .. } => number(Kind::Int32, "0"),
        Type::Bool => Shape::new(Schema::new(Kind::Boolean), Form::Boolean, "false"),
        Type::Float => Shape::new(Schema::new(Kind::Float32), Form::Float { printed: false }, "0.0"),
        Type::Double => Shape::new(Schema::new(Kind::Float64), Form::Double(None), "0.0"),
        Type::Decimal { precision, scale } => {
            let scale = match (i32::from(*scale), options.compat) {
                (scale @ ..0, Compat::Exact) => scale & SCALE_BITS,
                (scale, _) => scale,
            };
            decimal_shape(Some(u32::from(*precision)), scale, options, converter)
        }
        Type::Numeric => numeric_shape(options, converter),
        Type::Money { .. } => money_shape(options, converter),
        Type::Bytes { .. } => binary_shape(None, options),
        Type::Bit { width } => bits_shape(u32::from(*width), false),
        Type::BitString { width, .. } => bits_shape(width.unwrap_or(WIDTH_ANY), false),
        Type::Enum { members } => enum_shape("io.debezium.data.Enum", &members.join(",")),
        Type::Json => json_shape(),
        Type::Hstore => match options.hstore {
            HstoreMode::Json => Shape::new(json_shape().schema, Form::HstoreJson, "\"{}\""),
            HstoreMode::Map => {
                let (key, value) = (Schema::new(Kind::String), Schema::new(Kind::String).optional());
                Shape::new(Schema::new(Kind::Map(Box::new(key), Box::new(value))), Form::HstoreMap, "{}")
            }
        },
        Type::Uuid => Shape::new(Schema::named(Kind::String, "io.debezium.data.Uuid"), Form::Uuid, "\"\""),
        Type::TimeTz { .. } => {
            Shape::new(Schema::named(Kind::String, "io.debezium.time.ZonedTime"), Form::ZonedTime, "\"00:00:00Z\"")
        }
        Type::Timestamp { fraction } => {
            let schema = Schema::named(Kind::String, "io.debezium.time.ZonedTimestamp");
            let form = Form::ZonedTimestamp { fraction: *fraction, server: options.connector };
            Shape::new(schema, form, "\"1970-01-01T00:00:00Z\"")
        }
        Type::Interval => match options.interval {
            IntervalMode::Numeric => {
                let schema = Schema::named(Kind::Int64, "io.debezium.time.MicroDuration");
                Shape::new(schema, Form::Interval(IntervalMode::Numeric), "0")
            }
            IntervalMode::String => {
                let schema = Schema::named(Kind::String, "io.debezium.time.Interval");
                Shape::new(schema, Form::Interval(IntervalMode::String), "\"P0Y0M0DT0H0M0S\"")
            }
        },
        Type::Point => geometry_shape("io.debezium.data.geometry.Point", "Geometry (POINT)", true),
        Type::Geometry if base(native) == "geography" => {
            geometry_shape("io.debezium.data.geometry.Geography", "Geography", false)
        }
        Type::Geometry => geometry_shape("io.debezium.data.geometry.Geometry", "Geometry", false),
        Type::Vector if base(native) == "halfvec" => {
            vector_shape("io.debezium.data.FloatVector", Kind::Float32, Form::FloatVector)
        }
        Type::Vector => vector_shape("io.debezium.data.DoubleVector", Kind::Float64, Form::DoubleVector),
        Type::Array { element } => return array_shape(element, native, options, converter),
        Type::Unknown { .. } => return unknown_shape(base(native), options),
        Type::Text { .. } if is_unknown(base(native)) => return unknown_shape(base(native), options),
        // Its stream takes it for an unknown type.
        Type::Text { .. } if base(native) == "name" && options.include_unknown_datatypes => text_shape(None),
        Type::Text { .. } => text_of(base(native)),
        kind => temporal_shape(kind, options.time_precision()).unwrap_or_else(|| text_shape(None)),
    };
    Some(shape)
}

/// The name of a type without its schema, its width and its brackets.
pub(crate) fn base(native: &str) -> &str {
    let name = native.split(['(', '[']).next().unwrap_or(native).trim();
    let name = name.rsplit('.').next().unwrap_or(name);
    name.trim_matches('"')
}

fn text_of(name: &str) -> Shape {
    match name {
        "xml" => text_shape(Some("io.debezium.data.Xml")),
        "ltree" => text_shape(Some("io.debezium.data.Ltree")),
        "tsvector" => text_shape(Some("io.debezium.data.Tsvector")),
        "sparsevec" => {
            let (key, value) = (Schema::new(Kind::Int16), Schema::new(Kind::Float64));
            let fields = vec![
                Schema::new(Kind::Int16).field("dimensions"),
                Schema::new(Kind::Map(Box::new(key), Box::new(value))).field("vector"),
            ];
            let schema = Schema::structure("io.debezium.data.SparseDoubleVector", Some(1), fields);
            Shape::new(schema.doc("Sparse double vector"), Form::SparseVector, "{}")
        }
        "name" => Shape { form: Form::Name, ..text_shape(None) },
        _ => text_shape(None),
    }
}

/// Types that are text to us and unknown to the original.
fn is_unknown(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "line",
        "lseg",
        "box",
        "path",
        "polygon",
        "circle",
        "int4multirange",
        "int8multirange",
        "nummultirange",
        "tsmultirange",
        "tstzmultirange",
        "datemultirange",
        "pg_lsn",
        "xid",
        "xid8",
        "cid",
        "tid",
        "tsquery",
        "jsonpath",
        "regclass",
        "regproc",
        "regprocedure",
        "regoper",
        "regoperator",
        "regtype",
        "regrole",
        "regnamespace",
        "regconfig",
        "regdictionary",
        "regcollation",
        "pg_snapshot",
        "txid_snapshot",
        "lquery",
        "ltxtquery",
        "ean13",
        "isbn13",
        "ismn",
        "ismn13",
        "issn",
        "issn13",
        "upc",
        "cube",
        "seg",
        "box2d",
        "box3d",
        "refcursor",
        "aclitem",
        "pg_node_tree",
    ];
    NAMES.contains(&name)
}

/// As the original: dropped, or the bytes of its text; ours is the text itself.
fn unknown_shape(name: &str, options: &Options) -> Option<Shape> {
    match options.compat {
        Compat::Exact if !options.include_unknown_datatypes => None,
        // The driver reads these, and prints them again.
        Compat::Exact if matches!(name, "line" | "lseg" | "box" | "path" | "polygon" | "circle") => {
            Some(Shape { form: Form::Shape(options.binary), ..binary_shape(None, options) })
        }
        Compat::Exact => Some(binary_shape(None, options)),
        Compat::Right => Some(text_shape(None)),
    }
}

fn json_shape() -> Shape {
    Shape::new(Schema::named(Kind::String, "io.debezium.data.Json"), Form::Json, "\"\"")
}

fn numeric_shape(options: &Options, converter: Converter) -> Shape {
    if options.decimal != DecimalMode::Precise {
        let mut shape = decimal_shape(None, 0, options, converter);
        if let Form::DecimalText { .. } = shape.form {
            shape.form = Form::NumericText;
        }
        return shape;
    }
    let fields = vec![Schema::new(Kind::Int32).field("scale"), Schema::new(Kind::Bytes).field("value")];
    let schema = Schema::structure("io.debezium.data.VariableScaleDecimal", Some(1), fields);
    Shape::new(schema.doc("Variable scaled decimal"), Form::VariableDecimal, r#"{"scale":0,"value":"AA=="}"#)
}

fn money_shape(options: &Options, converter: Converter) -> Shape {
    let digits = options.money_fraction_digits;
    let mut shape = decimal_shape(None, i32::from(digits), options, converter);
    shape.form = match shape.form {
        Form::DecimalText { .. } => Form::NumericText,
        Form::Decimal { numeric, .. } => Form::Money { digits, numeric },
        form => form,
    };
    shape
}

fn array_shape(element: &Type, native: &str, options: &Options, converter: Converter) -> Option<Shape> {
    let name = base(native);
    let exact = options.is_exact();
    // Arrays of these make no field, although the types themselves do.
    let dropped = matches!(name, "name" | "xml" | "money" | "interval" | "point" | "bit varying" | "isbn");
    if exact && dropped {
        return None;
    }
    let is_of_domain = exact && native.ends_with("[]") && is_domain(element, native);
    let inner = match is_of_domain {
        // The driver does not know what these are made over.
        true if !options.include_unknown_datatypes => return None,
        true => Shape { form: Form::TextBytes(options.binary), ..binary_shape(None, options) },
        false => shape(element, native, options, converter)?,
    };
    if exact && name == "bit" {
        // The original gives such a column the schema of its elements, and never a value.
        return Some(Shape { form: Form::Never, ..inner });
    }
    let mut schema = inner.schema;
    // The original builds these from their elements' own schemas, which are required.
    let required = is_of_domain
        || is_unknown(name)
        || matches!(element, Type::Enum { .. } | Type::Vector | Type::Unknown { .. })
        || matches!(name, "tsvector" | "int2vector" | "oidvector");
    schema.optional = !(exact && required);
    if exact && matches!(name, "int2vector" | "oidvector") {
        return Some(Shape::new(Schema::new(Kind::Array(Box::new(schema))), Form::EmptyArray, "[]"));
    }
    let null_element = schema.optional && !(exact && name == "ltree");
    let placeholder = match (name, &inner.form) {
        ("text" | "character varying" | "character" | "bpchar" | "json" | "jsonb", _) => Some(Placeholder::Text),
        ("integer" | "bigint", _) => Some(Placeholder::Numbers),
        ("date", Form::Date(Unit::Days)) if options.time_precision() != TimePrecision::Connect => {
            Some(Placeholder::Numbers)
        }
        ("bytea", Form::Bytes { mode: BinaryMode::Bytes, .. }) => Some(Placeholder::Bytes),
        ("uuid", _) => Some(Placeholder::Uuid),
        _ => None,
    };
    let form = match inner.form {
        // The driver's class for them has the calendar of its time.
        Form::DateTime(unit) if exact => Form::JulianDateTime(unit),
        form => form,
    };
    let form = Form::Array { element: Box::new(form), null_element, placeholder };
    Some(Shape::new(Schema::new(Kind::Array(Box::new(schema))), form, "[]"))
}

/// Names of types that are no domains, as the server prints them without numbers and brackets.
const BUILT_IN: &[&str] = &[
    "smallint",
    "integer",
    "bigint",
    "oid",
    "int2vector",
    "oidvector",
    "boolean",
    "real",
    "double precision",
    "numeric",
    "money",
    "text",
    "character varying",
    "character",
    "\"char\"",
    "bpchar",
    "name",
    "xml",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "int4range",
    "int8range",
    "numrange",
    "tsrange",
    "tstzrange",
    "daterange",
    "tsvector",
    "json",
    "jsonb",
    "uuid",
    "bytea",
    "bit",
    "bit varying",
    "date",
    "interval",
    "time without time zone",
    "time with time zone",
    "timestamp without time zone",
    "timestamp with time zone",
    "point",
];

/// Names of types of extensions.
const OF_EXTENSIONS: &[&str] =
    &["citext", "ltree", "hstore", "geometry", "geography", "vector", "halfvec", "sparsevec", "isbn"];

/// Whether a type has a name of the user's own. An array's is that of its elements.
pub(crate) fn is_domain(kind: &Type, native: &str) -> bool {
    let name = type_name(native);
    let name = name.trim_end_matches("[]");
    // An interval may be cut to some of its fields.
    let name = if name.starts_with("interval ") { "interval" } else { name };
    // Enumerations and composite types have such names and are none.
    let is_named = matches!(kind, Type::Enum { .. } | Type::Unknown { .. });
    !is_named && !BUILT_IN.contains(&name) && !OF_EXTENSIONS.contains(&base(name))
}

/// Whether a value is one that a number of Connect cannot be.
pub(super) fn is_special(text: &str) -> bool {
    matches!(text, "NaN" | "Infinity" | "-Infinity")
}

/// What the original's text mode calls it.
pub(super) fn special_name(text: &str) -> &str {
    match text {
        "NaN" => "NAN",
        "Infinity" => "POSITIVE_INFINITY",
        "-Infinity" => "NEGATIVE_INFINITY",
        text => text,
    }
}
