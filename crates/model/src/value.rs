//! One column's value, borrowed from the bytes it is stored in, and its encoding: a tag byte, then the payload.
//!
//! Invariant: nothing is lost. Unsigned 64-bit integers, decimals of any length, zero dates, years before Christ, times
//! beyond a day, infinities, and "not in the log" each have a form of their own; a decimal never passes through a float.

use crate::array::Array;
use crate::varint::{put_bytes, put_i64, put_u64, take_array, take_bytes, take_i64, take_str, take_u64};

/// A typed value. Fraction digits, widths and character sets belong to the column's [`crate::Type`], not here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// SQL NULL.
    Null,
    /// The log did not carry this column (row image MINIMAL or NOBLOB, unchanged TOAST). Never the same as NULL.
    Absent,
    /// Any signed integer.
    Int(i64),
    /// Any unsigned integer.
    UInt(u64),
    /// A 32-bit float.
    Float(f32),
    /// A 64-bit float.
    Double(f64),
    /// Canonical decimal text with the column's scale: `-12.30`. PostgreSQL's `NaN`, `Infinity` and `-Infinity` too.
    Decimal(&'a str),
    /// Text, always UTF-8, whatever the column's character set.
    Text(&'a str),
    /// Bytes; BINARY(n) keeps its padding.
    Bytes(&'a [u8]),
    /// A calendar date, zero parts allowed.
    Date(Date),
    /// A date and time without zone, zero parts allowed.
    DateTime(DateTime),
    /// Microseconds since the Unix epoch, UTC. [`ZERO_TIMESTAMP`] is MySQL's `0000-00-00 00:00:00`; PostgreSQL's
    /// infinities are [`TIMESTAMP_INFINITY`] and [`TIMESTAMP_NEG_INFINITY`], and its instants from the year 294247 on,
    /// which do not fit, are a [`Value::DateTime`] in UTC.
    Timestamp(i64),
    /// A signed duration in microseconds; MySQL's range is ±838:59:59.999999, PostgreSQL's 0 to 24:00:00.
    Time(i64),
    /// A year; 0 is MySQL's `0000`.
    Year(u16),
    /// A bit string, least significant bit last, at most 64 bits wide.
    Bit(u64),
    /// An ENUM's text; the invalid value (index 0) is the empty text.
    Enum(&'a str),
    /// A SET's members, comma-joined as the server prints them.
    Set(&'a str),
    /// JSON as the server prints it.
    Json(&'a str),
    /// Well-known binary, and the spatial reference id.
    Geometry {
        /// Spatial reference id, 0 when none.
        srid: u32,
        /// OGC well-known binary.
        wkb: &'a [u8],
    },
    /// Little-endian 32-bit floats, one after another.
    Vector(&'a [u8]),
    /// A UUID in network order.
    Uuid([u8; 16]),
    /// An IPv4 address.
    Inet4([u8; 4]),
    /// An IPv6 address.
    Inet6([u8; 16]),
    /// A truth value.
    Bool(bool),
    /// A time of day with its distance from UTC.
    TimeTz {
        /// Microseconds since midnight, 0 to 24:00:00.
        micros: i64,
        /// Seconds east of UTC.
        offset_seconds: i32,
    },
    /// A span of time in PostgreSQL's three parts, none of which turns into another; all three at their largest or
    /// smallest are infinity and minus infinity.
    Interval {
        /// Months.
        months: i32,
        /// Days.
        days: i32,
        /// Microseconds.
        micros: i64,
    },
    /// A bit string of any length.
    BitString {
        /// How many bits.
        bits: u32,
        /// The first bit is the highest of the first byte; what is left of the last byte is zero.
        bytes: &'a [u8],
    },
    /// Values of one type, in one or more dimensions.
    Array(Array<'a>),
}

/// The zero TIMESTAMP, `0000-00-00 00:00:00`.
pub const ZERO_TIMESTAMP: i64 = i64::MIN;

/// PostgreSQL's TIMESTAMPTZ `infinity`.
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;

/// PostgreSQL's TIMESTAMPTZ `-infinity`.
pub const TIMESTAMP_NEG_INFINITY: i64 = i64::MIN + 1;

/// A calendar date; MySQL allows zero in any part, PostgreSQL the two infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// 0 to 9999 in MySQL; -4713 to 5874897 in PostgreSQL, where 0 is 1 BC and -1 is 2 BC.
    pub year: i32,
    /// 0 to 12.
    pub month: u8,
    /// 0 to 31.
    pub day: u8,
}

/// A date and time of day without zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime {
    /// The date.
    pub date: Date,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 to 999,999.
    pub micros: u32,
}

/// Arrays inside one another at most. PostgreSQL has them only through domains over arrays.
const ARRAYS_NESTED_MAX: u32 = 8;

/// The tag bytes of the encoding. Part of the journal's format: numbers are never reused.
mod tag {
    pub const NULL: u8 = 0;
    pub const ABSENT: u8 = 1;
    pub const INT: u8 = 2;
    pub const UINT: u8 = 3;
    pub const FLOAT: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const DECIMAL: u8 = 6;
    pub const TEXT: u8 = 7;
    pub const BYTES: u8 = 8;
    pub const DATE: u8 = 9;
    pub const DATE_TIME: u8 = 10;
    pub const TIMESTAMP: u8 = 11;
    pub const TIME: u8 = 12;
    pub const YEAR: u8 = 13;
    pub const BIT: u8 = 14;
    pub const ENUM: u8 = 15;
    pub const SET: u8 = 16;
    pub const JSON: u8 = 17;
    pub const GEOMETRY: u8 = 18;
    pub const VECTOR: u8 = 19;
    pub const UUID: u8 = 20;
    pub const INET4: u8 = 21;
    pub const INET6: u8 = 22;
    pub const BOOL: u8 = 23;
    pub const TIME_TZ: u8 = 24;
    pub const INTERVAL: u8 = 25;
    pub const BIT_STRING: u8 = 26;
    pub const ARRAY: u8 = 27;
    /// A date whose year is not of four digits: the year stands before it.
    pub const FAR_DATE: u8 = 28;
    pub const FAR_DATE_TIME: u8 = 29;
    /// Before a value that the log did not carry and that was filled in from the row as it was.
    pub const FILLED: u8 = 30;
}

impl Date {
    /// PostgreSQL's `infinity`.
    pub const INFINITY: Date = Date { year: i32::MAX, month: 0, day: 0 };

    /// PostgreSQL's `-infinity`.
    pub const NEG_INFINITY: Date = Date { year: i32::MIN, month: 0, day: 0 };

    /// Whether it is one of the two infinities.
    pub fn is_infinite(self) -> bool {
        self == Self::INFINITY || self == Self::NEG_INFINITY
    }

    /// Whether the year takes four digits, as all of MySQL's do; these are packed, the others are not.
    fn is_near(self) -> bool {
        (0..=9999).contains(&self.year)
    }

    /// Year, month and day packed as 14, 4 and 5 bits; zero parts stay zero. Without the year when it is far.
    fn pack(self) -> u32 {
        let year = if self.is_near() { self.year as u32 } else { 0 };
        year << 9 | u32::from(self.month) << 5 | u32::from(self.day)
    }

    fn unpack(packed: u32) -> Self {
        Date { year: (packed >> 9) as i32, month: (packed >> 5 & 15) as u8, day: (packed & 31) as u8 }
    }
}

impl DateTime {
    fn pack(self) -> u64 {
        let time = u64::from(self.hour) << 12 | u64::from(self.minute) << 6 | u64::from(self.second);
        u64::from(self.date.pack()) << 37 | time << 20 | u64::from(self.micros)
    }

    fn unpack(packed: u64) -> Self {
        DateTime {
            date: Date::unpack((packed >> 37) as u32),
            hour: (packed >> 32 & 31) as u8,
            minute: (packed >> 26 & 63) as u8,
            second: (packed >> 20 & 63) as u8,
            micros: (packed & 0xf_ffff) as u32,
        }
    }
}

impl<'a> Value<'a> {
    /// Appends the encoding of this value.
    #[inline]
    pub fn encode(self, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.push(tag::NULL),
            Value::Absent => out.push(tag::ABSENT),
            Value::Int(v) => {
                out.push(tag::INT);
                put_i64(out, v);
            }
            Value::UInt(v) => {
                out.push(tag::UINT);
                put_u64(out, v);
            }
            Value::Float(v) => put_fixed(out, tag::FLOAT, v.to_le_bytes()),
            Value::Double(v) => put_fixed(out, tag::DOUBLE, v.to_le_bytes()),
            Value::Decimal(v) => put_tagged(out, tag::DECIMAL, v.as_bytes()),
            Value::Text(v) => put_tagged(out, tag::TEXT, v.as_bytes()),
            Value::Bytes(v) => put_tagged(out, tag::BYTES, v),
            Value::Date(v) if v.is_near() => put_fixed(out, tag::DATE, v.pack().to_le_bytes()),
            Value::Date(v) => {
                put_fixed(out, tag::FAR_DATE, v.year.to_le_bytes());
                out.extend_from_slice(&v.pack().to_le_bytes());
            }
            Value::DateTime(v) if v.date.is_near() => put_fixed(out, tag::DATE_TIME, v.pack().to_le_bytes()),
            Value::DateTime(v) => {
                put_fixed(out, tag::FAR_DATE_TIME, v.date.year.to_le_bytes());
                out.extend_from_slice(&v.pack().to_le_bytes());
            }
            Value::Timestamp(v) => put_fixed(out, tag::TIMESTAMP, v.to_le_bytes()),
            Value::Time(v) => put_fixed(out, tag::TIME, v.to_le_bytes()),
            Value::Year(v) => put_fixed(out, tag::YEAR, v.to_le_bytes()),
            Value::Bit(v) => {
                out.push(tag::BIT);
                put_u64(out, v);
            }
            Value::Enum(v) => put_tagged(out, tag::ENUM, v.as_bytes()),
            Value::Set(v) => put_tagged(out, tag::SET, v.as_bytes()),
            Value::Json(v) => put_tagged(out, tag::JSON, v.as_bytes()),
            Value::Geometry { srid, wkb } => {
                out.push(tag::GEOMETRY);
                put_u64(out, u64::from(srid));
                put_bytes(out, wkb);
            }
            Value::Vector(v) => put_tagged(out, tag::VECTOR, v),
            Value::Uuid(v) => put_fixed(out, tag::UUID, v),
            Value::Inet4(v) => put_fixed(out, tag::INET4, v),
            Value::Inet6(v) => put_fixed(out, tag::INET6, v),
            Value::Bool(v) => put_fixed(out, tag::BOOL, [u8::from(v)]),
            Value::TimeTz { micros, offset_seconds } => {
                out.push(tag::TIME_TZ);
                put_i64(out, micros);
                put_i64(out, i64::from(offset_seconds));
            }
            Value::Interval { months, days, micros } => {
                out.push(tag::INTERVAL);
                put_i64(out, i64::from(months));
                put_i64(out, i64::from(days));
                put_i64(out, micros);
            }
            Value::BitString { bits, bytes } => {
                out.push(tag::BIT_STRING);
                put_u64(out, u64::from(bits));
                put_bytes(out, bytes);
            }
            Value::Array(v) => put_tagged(out, tag::ARRAY, v.bytes()),
        }
    }

    /// Appends this value as one that the log did not carry and that was filled in.
    pub fn encode_filled(self, out: &mut Vec<u8>) {
        out.push(tag::FILLED);
        self.encode(out);
    }

    /// Whether the value at the front of `input` was filled in.
    #[inline]
    pub(crate) fn is_filled(input: &[u8]) -> bool {
        input.first() == Some(&tag::FILLED)
    }

    /// Whether the log did not carry the value at the front of `input`, or there is none.
    #[inline]
    pub(crate) fn is_absent(input: &[u8]) -> bool {
        matches!(input.first(), None | Some(&tag::ABSENT))
    }

    /// Takes a signed integer off the front of `input`; nothing is taken if it begins with another value.
    #[inline]
    pub(crate) fn take_int(input: &mut &[u8]) -> Option<i64> {
        let mut rest = input.strip_prefix(&[tag::INT])?;
        let value = take_i64(&mut rest)?;
        *input = rest;
        Some(value)
    }

    /// Takes the bytes of a text, which are not looked at; nothing is taken if `input` begins with another value.
    #[inline]
    pub(crate) fn take_text(input: &mut &'a [u8]) -> Option<&'a [u8]> {
        Self::take_tagged(input, tag::TEXT)
    }

    /// Takes the bytes of a decimal in the same way.
    #[inline]
    pub(crate) fn take_decimal(input: &mut &'a [u8]) -> Option<&'a [u8]> {
        Self::take_tagged(input, tag::DECIMAL)
    }

    #[inline]
    fn take_tagged(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
        let mut rest = input.strip_prefix(&[tag])?;
        let bytes = take_bytes(&mut rest)?;
        *input = rest;
        Some(bytes)
    }

    /// Takes one value off the front of `input`; `None` when the bytes are cut off or not of this encoding. That a value was
    /// filled in is not seen here.
    #[inline]
    pub fn decode(input: &mut &'a [u8]) -> Option<Value<'a>> {
        if Self::is_filled(input) {
            *input = &input[1..];
        }
        Self::decode_within(input, ARRAYS_NESTED_MAX)
    }

    /// As [`Self::decode`], with at most `depth` arrays inside one another.
    #[inline]
    pub(crate) fn decode_within(input: &mut &'a [u8], depth: u32) -> Option<Value<'a>> {
        let (&tag, rest) = input.split_first()?;
        *input = rest;
        Some(match tag {
            tag::NULL => Value::Null,
            tag::ABSENT => Value::Absent,
            tag::INT => Value::Int(take_i64(input)?),
            tag::UINT => Value::UInt(take_u64(input)?),
            tag::FLOAT => Value::Float(f32::from_le_bytes(take_array(input)?)),
            tag::DOUBLE => Value::Double(f64::from_le_bytes(take_array(input)?)),
            tag::DECIMAL => Value::Decimal(take_str(input)?),
            tag::TEXT => Value::Text(take_str(input)?),
            tag::BYTES => Value::Bytes(take_bytes(input)?),
            tag::DATE => Value::Date(Date::unpack(u32::from_le_bytes(take_array(input)?))),
            tag::DATE_TIME => Value::DateTime(DateTime::unpack(u64::from_le_bytes(take_array(input)?))),
            tag::TIMESTAMP => Value::Timestamp(i64::from_le_bytes(take_array(input)?)),
            tag::TIME => Value::Time(i64::from_le_bytes(take_array(input)?)),
            tag::YEAR => Value::Year(u16::from_le_bytes(take_array(input)?)),
            tag::BIT => Value::Bit(take_u64(input)?),
            tag::ENUM => Value::Enum(take_str(input)?),
            tag::SET => Value::Set(take_str(input)?),
            tag::JSON => Value::Json(take_str(input)?),
            tag::GEOMETRY => {
                let srid = u32::try_from(take_u64(input)?).ok()?;
                Value::Geometry { srid, wkb: take_bytes(input)? }
            }
            tag::VECTOR => Value::Vector(take_bytes(input)?),
            tag::UUID => Value::Uuid(take_array(input)?),
            tag::INET4 => Value::Inet4(take_array(input)?),
            tag::INET6 => Value::Inet6(take_array(input)?),
            tag::BOOL => Value::Bool(take_array::<1>(input)? != [0]),
            tag::TIME_TZ => {
                Value::TimeTz { micros: take_i64(input)?, offset_seconds: i32::try_from(take_i64(input)?).ok()? }
            }
            tag::INTERVAL => Value::Interval {
                months: i32::try_from(take_i64(input)?).ok()?,
                days: i32::try_from(take_i64(input)?).ok()?,
                micros: take_i64(input)?,
            },
            tag::BIT_STRING => {
                let bits = u32::try_from(take_u64(input)?).ok()?;
                let bytes = take_bytes(input)?;
                if bytes.len() != (bits as usize).div_ceil(8) {
                    return None;
                }
                Value::BitString { bits, bytes }
            }
            tag::ARRAY => Value::Array(Array::decode(take_bytes(input)?, depth.checked_sub(1)?)?),
            tag::FAR_DATE => {
                let year = i32::from_le_bytes(take_array(input)?);
                Value::Date(Date { year, ..Date::unpack(u32::from_le_bytes(take_array(input)?)) })
            }
            tag::FAR_DATE_TIME => {
                let year = i32::from_le_bytes(take_array(input)?);
                let near = DateTime::unpack(u64::from_le_bytes(take_array(input)?));
                Value::DateTime(DateTime { date: Date { year, ..near.date }, ..near })
            }
            _ => return None,
        })
    }
}

#[inline]
fn put_tagged(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_bytes(out, bytes);
}

#[inline]
fn put_fixed<const N: usize>(out: &mut Vec<u8>, tag: u8, bytes: [u8; N]) {
    out.push(tag);
    out.extend_from_slice(&bytes);
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
