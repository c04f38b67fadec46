//! What a column's bytes become: the one place where a type chooses its reader, for the text form and the binary one.
//!
//! Invariant: both forms of a value give the same [`Value`], bit for bit. A type without a reader of its own is text.
//! Start at [`text`].

use super::array::ArrayDecoder;
use super::bits;
use super::bytes::{Bad, Bytes, Read, utf8};
use super::geometry;
use super::hstore;
use super::interval;
use super::numeric;
use super::temporal;
use headwater_model::Value;

/// How to read the values of one column.
#[derive(Clone, Debug)]
pub enum Becomes {
    Bool,
    Int(u8),
    Oid,
    Float,
    Double,
    Decimal,
    Money(u8),
    Text,
    /// Text whose binary form is not the same bytes.
    TextOnly,
    Enum,
    Json,
    Jsonb,
    Bytes,
    Date,
    Time,
    TimeTz,
    DateTime,
    Timestamp,
    Interval,
    Bit(u8),
    BitString,
    Uuid,
    Hstore,
    Point,
    Geometry,
    Vector,
    HalfVector,
    Array(Box<ArrayDecoder>),
    /// int2vector and oidvector.
    BlankSeparated(Box<ArrayDecoder>),
}

const BOOL: Bad = Bad("is not a boolean");

/// Reads the text form.
#[inline]
pub fn text<'a>(becomes: &'a mut Becomes, input: &'a [u8], scratch: &'a mut Vec<u8>) -> Read<Value<'a>> {
    Ok(match becomes {
        Becomes::Int(bits) => Value::Int(numeric::integer(input, *bits)?),
        Becomes::Text | Becomes::TextOnly => Value::Text(utf8(input)?),
        Becomes::Timestamp => temporal::timestamp(input)?,
        Becomes::Decimal => Value::Decimal(numeric::numeric(input)?),
        Becomes::Bool => match input {
            b"t" => Value::Bool(true),
            b"f" => Value::Bool(false),
            _ => return Err(BOOL),
        },
        Becomes::Oid => Value::UInt(numeric::oid(input)?),
        Becomes::Float => Value::Float(numeric::float(input)?),
        Becomes::Double => Value::Double(numeric::double(input)?),
        Becomes::Money(scale) => Value::Decimal(numeric::money(input, *scale, scratch)?),
        Becomes::Enum => Value::Enum(utf8(input)?),
        Becomes::Json | Becomes::Jsonb => Value::Json(utf8(input)?),
        Becomes::Bytes => Value::Bytes(bits::bytea(input, scratch)?),
        Becomes::Date => Value::Date(temporal::date(input)?),
        Becomes::Time => Value::Time(temporal::time(input)?),
        Becomes::TimeTz => temporal::time_tz(input)?,
        Becomes::DateTime => Value::DateTime(temporal::date_time(input)?),
        Becomes::Interval => interval::interval(input)?,
        Becomes::Bit(width) => Value::Bit(bits::bit(input, *width)?),
        Becomes::BitString => bits::bit_string(input, scratch)?,
        Becomes::Uuid => Value::Uuid(bits::uuid(input)?),
        Becomes::Hstore => Value::Json(hstore::hstore(input, scratch)?),
        Becomes::Point => geometry::point(input, scratch)?,
        Becomes::Geometry => geometry::geometry(input, scratch)?,
        Becomes::Vector | Becomes::HalfVector => geometry::vector(input, scratch)?,
        Becomes::Array(decoder) => decoder.text(input)?,
        Becomes::BlankSeparated(decoder) => decoder.blank_separated(input)?,
    })
}

/// Reads the binary form.
///
/// # Errors
/// Also for a type that is only read as text: ask [`Becomes::has_binary`] before the form is chosen.
#[inline]
pub fn binary<'a>(becomes: &'a mut Becomes, input: &'a [u8], scratch: &'a mut Vec<u8>) -> Read<Value<'a>> {
    Ok(match becomes {
        Becomes::Int(bits) => Value::Int(numeric::binary_integer(input, *bits)?),
        Becomes::Text => Value::Text(utf8(input)?),
        Becomes::Timestamp => temporal::binary_timestamp(input)?,
        Becomes::Decimal => Value::Decimal(numeric::binary_numeric(input, scratch)?),
        Becomes::Bool => match input {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            _ => return Err(BOOL),
        },
        Becomes::Oid => Value::UInt(numeric::binary_oid(input)?),
        Becomes::Float => Value::Float(numeric::binary_float(input)?),
        Becomes::Double => Value::Double(numeric::binary_double(input)?),
        Becomes::Money(scale) => Value::Decimal(numeric::binary_money(input, *scale, scratch)?),
        Becomes::Enum => Value::Enum(utf8(input)?),
        Becomes::Json => Value::Json(utf8(input)?),
        Becomes::Jsonb => {
            let mut input = Bytes(input);
            if input.u8("has no version of jsonb")? != 1 {
                return Err(Bad("has an unknown version of jsonb"));
            }
            Value::Json(utf8(input.0)?)
        }
        Becomes::Bytes => Value::Bytes(input),
        Becomes::Date => Value::Date(temporal::binary_date(input)?),
        Becomes::Time => Value::Time(temporal::binary_time(input)?),
        Becomes::TimeTz => temporal::binary_time_tz(input)?,
        Becomes::DateTime => Value::DateTime(temporal::binary_date_time(input)?),
        Becomes::Interval => interval::binary_interval(input)?,
        Becomes::Bit(width) => Value::Bit(bits::binary_bit(input, *width)?),
        Becomes::BitString => bits::binary_bit_string(input)?,
        Becomes::Uuid => Value::Uuid(bits::binary_uuid(input)?),
        Becomes::Hstore => Value::Json(hstore::binary_hstore(input, scratch)?),
        Becomes::Point => geometry::binary_point(input, scratch)?,
        Becomes::Geometry => geometry::binary_geometry(input)?,
        Becomes::Vector => geometry::binary_vector(input, scratch)?,
        Becomes::Array(decoder) => decoder.binary(input)?,
        Becomes::TextOnly | Becomes::HalfVector | Becomes::BlankSeparated(_) => {
            return Err(Bad("is in binary form, in which its type is not read; ask for it as text"));
        }
    })
}

impl Becomes {
    /// Whether the binary form is read, too.
    pub fn has_binary(&self) -> bool {
        match self {
            Becomes::TextOnly | Becomes::HalfVector | Becomes::BlankSeparated(_) => false,
            Becomes::Array(decoder) => decoder.element.has_binary(),
            _ => true,
        }
    }
}
