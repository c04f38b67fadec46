//! Columns of MySQL and MariaDB.
//!
//! Invariant: an unsigned integer gets the next larger type of Connect, except the largest, which an option decides.
//! Start at [`shape`].

use super::form::Form;
use super::vector_shape;
use super::{Shape, binary_shape, bits_shape, decimal_shape, enum_shape, geometry_shape, temporal_shape, text_shape};
use crate::connect::{Kind, Schema};
use crate::debezium::defaults::unescape;
use crate::debezium::options::{BigintUnsigned, Connector, Converter, Options};
use headwater_model::{Column, Type};

/// How the values of `column` look.
pub(crate) fn shape(column: &Column, options: &Options, converter: Converter) -> Shape {
    let number = |kind, zero| Shape::new(Schema::new(kind), Form::Integer, zero);
    let native = column.native.as_str();
    if let Some(shape) = aliased(column, options).filter(|_| options.is_exact()) {
        return shape;
    }
    match &column.kind {
        Type::Int { bits: 8, .. } | Type::Int { bits: 16, unsigned: false } => number(Kind::Int16, "0"),
        Type::Int { bits: 64, unsigned: true } if options.bigint_unsigned == BigintUnsigned::Precise => {
            let options = Options { decimal: super::super::options::DecimalMode::Precise, ..options.clone() };
            decimal_shape(Some(20), 0, &options, converter)
        }
        Type::Int { bits: 32, unsigned: true } | Type::Int { bits: 64, .. } => number(Kind::Int64, "0"),
        Type::Int { .. } => number(Kind::Int32, "0"),
        // FLOAT(M,D) is a double to the original.
        Type::Float if native.contains(',') => Shape::new(Schema::new(Kind::Float64), Form::Double(None), "0.0"),
        Type::Float => Shape::new(Schema::new(Kind::Float32), Form::Float { printed: true }, "0.0"),
        Type::Double => Shape::new(Schema::new(Kind::Float64), Form::Double(scale(native)), "0.0"),
        Type::Decimal { precision, scale } => {
            decimal_shape(Some(u32::from(*precision)), i32::from(*scale), options, converter)
        }
        Type::Year => {
            Shape::new(Schema::named(Kind::Int32, "io.debezium.time.Year"), Form::Year(options.adjust_years), "0")
        }
        Type::Timestamp { fraction } => {
            let schema = Schema::named(Kind::String, "io.debezium.time.ZonedTimestamp");
            let form = Form::ZonedTimestamp { fraction: *fraction, server: options.connector };
            Shape::new(schema, form, "\"1970-01-01T00:00:00Z\"")
        }
        Type::Bit { width } => bits_shape(u32::from(*width), true),
        Type::Bytes { fixed } => binary_shape(*fixed, options),
        Type::Enum { members } => members_shape("io.debezium.data.Enum", members, options),
        Type::Set { members } => members_shape("io.debezium.data.EnumSet", members, options),
        // MariaDB's JSON is a LONGTEXT with a check.
        Type::Json if options.connector == Connector::Mariadb => text_shape(None),
        Type::Json => {
            let schema = Schema::named(Kind::String, "io.debezium.data.Json");
            Shape::new(schema, Form::MysqlJson, "\"{}\"")
        }
        Type::Geometry | Type::Point => match native.split(['(', ' ']).next() {
            Some("point") => geometry_shape("io.debezium.data.geometry.Point", "Geometry (POINT)", true),
            _ => geometry_shape("io.debezium.data.geometry.Geometry", "Geometry", false),
        },
        Type::Vector => vector_shape("io.debezium.data.FloatVector", Kind::Float32, Form::FloatVector),
        Type::Uuid => Shape::new(Schema::named(Kind::String, "io.debezium.data.Uuid"), Form::MariadbUuid, "\"\""),
        kind => temporal_shape(kind, options.time_precision())
            .map(|shape| adjusted(shape, options))
            .unwrap_or_else(|| text_shape(None)),
    }
}

/// What a statement of the stream calls by a name that the server does not keep: in a snapshot these are TINYINT(1), DOUBLE,
/// FLOAT and LONGTEXT.
fn aliased(column: &Column, options: &Options) -> Option<Shape> {
    match (&column.kind, column.native.as_str()) {
        (Type::Int { bits: 8, .. }, "bool" | "boolean") => {
            Some(Shape::new(Schema::new(Kind::Boolean), Form::Boolean, "false"))
        }
        (Type::Double | Type::Float, "real") => {
            Some(Shape::new(Schema::new(Kind::Float32), Form::Float { printed: false }, "0.0"))
        }
        (Type::Float, "float4") => Some(Shape::new(Schema::new(Kind::Float64), Form::Double(None), "0.0")),
        (Type::Json, "json") if options.connector == Connector::Mariadb => {
            Some(Shape::new(Schema::named(Kind::String, "io.debezium.data.Json"), Form::Json, "\"{}\""))
        }
        _ => None,
    }
}

/// A column's comment. The original does not undo the escapes of the statement that it stands in.
pub(super) fn comment(text: &str, options: &Options) -> String {
    if options.is_exact() { text.to_owned() } else { unescape(text) }
}

/// Dates whose years of two digits are completed.
fn adjusted(mut shape: Shape, options: &Options) -> Shape {
    shape.form = match shape.form {
        Form::Date(unit) if options.adjust_years => Form::AdjustedDate(unit),
        Form::DateTime(unit) if options.adjust_years => Form::AdjustedDateTime(unit),
        form => form,
    };
    shape
}

fn members_shape(name: &str, members: &[String], options: &Options) -> Shape {
    let mut text = String::new();
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        match options.is_exact() {
            true => escape_member(member, &mut text),
            false => text.push_str(member),
        }
    }
    let mut shape = enum_shape(name, &text);
    if options.is_exact() && name.ends_with("Enum") && members.iter().any(|member| is_escaped(member)) {
        shape.form = Form::EscapedEnum;
    }
    shape
}

fn is_escaped(member: &str) -> bool {
    member.contains([',', '\\']) || member.chars().any(|c| c > '\u{ffff}')
}

/// As the original keeps a member of ENUM: with a backslash before commas and backslashes, and a question mark for what
/// three bytes do not hold.
pub(super) fn escape_member(member: &str, text: &mut String) {
    for c in member.chars() {
        if matches!(c, ',' | '\\') {
            text.push('\\');
        }
        text.push(if c > '\u{ffff}' { '?' } else { c });
    }
}

/// The digits after the point of `double(10,2)`.
fn scale(native: &str) -> Option<u8> {
    let (_, rest) = native.split_once(',')?;
    rest.split(')').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debezium::options::Compat;

    #[test]
    fn a_comment_keeps_its_escapes_in_exact() {
        for (compat, shown) in [(Compat::Exact, r"it''s \\"), (Compat::Right, r"it's \")] {
            assert_eq!(comment(r"it''s \\", &Options { compat, ..Options::default() }), shown);
        }
    }

    #[test]
    fn names_of_statements_are_types_of_their_own_in_exact_alone() {
        let shown = |compat, connector, kind: &Type, native: &str| {
            let options = Options { compat, connector, ..Options::default() };
            let shape = shape(&Column::new("c", kind.clone(), native), &options, Converter::default());
            String::from_utf8(shape.schema.field("c").schema.text()).unwrap()
        };
        let tiny = Type::Int { bits: 8, unsigned: false };
        let json = r#"{"type":"string","optional":false,"name":"io.debezium.data.Json","version":1}"#;
        let (exact, right) = (Compat::Exact, Compat::Right);
        for (compat, connector, kind, native, expected) in [
            (exact, Connector::Mysql, &tiny, "boolean", r#"{"type":"boolean","optional":false}"#),
            (exact, Connector::Mysql, &tiny, "tinyint(1)", r#"{"type":"int16","optional":false}"#),
            (right, Connector::Mysql, &tiny, "boolean", r#"{"type":"int16","optional":false}"#),
            (exact, Connector::Mysql, &Type::Double, "real", r#"{"type":"float","optional":false}"#),
            (right, Connector::Mysql, &Type::Double, "real", r#"{"type":"double","optional":false}"#),
            (exact, Connector::Mysql, &Type::Float, "float4", r#"{"type":"double","optional":false}"#),
            (exact, Connector::Mariadb, &Type::Json, "longtext", r#"{"type":"string","optional":false}"#),
            (exact, Connector::Mariadb, &Type::Json, "json", json),
        ] {
            assert_eq!(shown(compat, connector, kind, native), expected, "{compat:?} {connector:?} {native}");
        }
    }
}
