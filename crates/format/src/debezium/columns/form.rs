//! How a value is written, decided when its table is compiled.
//!
//! Invariant: [`Form::write`] answers false where a value has no such form (a zero date, NaN as a decimal), and then
//! what it wrote is to be taken back. Start there.

use super::temporal::{self, Unit};
use super::{array, decimal, geometry, mysql, postgres};
use crate::connect::java;
use crate::connect::json::{self, Alphabet};
use crate::connect::{Kind, Schema};
use crate::debezium::json_text;
use crate::debezium::options::{BinaryMode, Connector, IntervalMode};
use headwater_model::value::{Date, DateTime, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, ZERO_TIMESTAMP};
use headwater_model::{Value, calendar};

/// What a record is, as far as values look different for it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment<'a> {
    /// The original's faults are reproduced.
    pub exact: bool,
    /// The row was read by a snapshot.
    pub snapshot: bool,
    /// What stands for a value that the log did not carry; `None`: it is as NULL.
    pub placeholder: Option<&'a str>,
    /// Nanoseconds beyond 64 bits begin anew, as in the original for MySQL; else there is no value then.
    pub wraps: bool,
    /// Inside of an array.
    pub element: bool,
}

/// How values of a column are written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Form {
    /// Nothing can be shown.
    Never,
    /// An integer; unsigned ones beyond 63 bits turn negative.
    Integer,
    /// A year, completed if it has two digits.
    Year(bool),
    Boolean,
    /// `printed`: a snapshot shows the six digits that the server prints.
    Float {
        printed: bool,
    },
    /// Rounded to so many digits where a snapshot is.
    Double(Option<u8>),
    Decimal {
        scale: i32,
        numeric: bool,
    },
    DecimalText {
        scale: i32,
    },
    /// The text of a number without a scale of its own.
    NumericText,
    DecimalDouble,
    VariableDecimal,
    Text,
    /// A `name`, of which the original's stream has no value.
    Name,
    /// Rounded to the digits that a configuration tells.
    Money {
        digits: u8,
        numeric: bool,
    },
    /// An ENUM of MySQL whose members the original escapes.
    EscapedEnum,
    Json,
    MysqlJson,
    /// Padded with zeros to `fixed`.
    Bytes {
        mode: BinaryMode,
        fixed: usize,
    },
    /// Little-endian, at least so many bytes.
    Bits {
        bytes: usize,
    },
    Date(Unit),
    AdjustedDate(Unit),
    Time(Unit),
    /// Milliseconds of a day.
    ConnectTime,
    DateTime(Unit),
    /// Read in the Julian calendar where it was before the calendar's change.
    JulianDateTime(Unit),
    AdjustedDateTime(Unit),
    ZonedTimestamp {
        fraction: u8,
        server: Connector,
    },
    ZonedTime,
    Interval(IntervalMode),
    Point,
    Geometry,
    FloatVector,
    DoubleVector,
    SparseVector,
    Uuid,
    MariadbUuid,
    HstoreJson,
    HstoreMap,
    Array {
        element: Box<Form>,
        null_element: bool,
        /// What stands for an array that the log did not carry.
        placeholder: Option<Placeholder>,
    },
    /// Of vectors that are separated by blanks, which the original takes for arrays and finds empty.
    EmptyArray,
    /// The bytes of a geometric type's text, its numbers as Java prints them.
    Shape(BinaryMode),
    /// A value of a type of the user's own inside of an array: the bytes of its text.
    TextBytes(BinaryMode),
    /// As Kafka's simple converter of headers prints what another form writes.
    Printed {
        form: Box<Form>,
        what: Printed,
    },
}

/// How the original puts its placeholder into an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placeholder {
    /// Its text.
    Text,
    /// The numbers of its characters.
    Numbers,
    /// Its bytes.
    Bytes,
    /// A UUID made of it.
    Uuid,
}

/// What Kafka's simple converter prints in a way of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Printed {
    /// A date of Connect.
    Days,
    /// A time or a timestamp of Connect.
    Millis,
    /// A double, whose `NaN` has no quotes.
    Double,
}

impl Form {
    /// The same as Kafka's simple converter of headers prints it.
    pub fn printed(self, schema: &Schema) -> Form {
        let what = match schema.name.as_deref().and_then(|name| name.strip_prefix("org.apache.kafka.connect.data.")) {
            Some("Date") => Printed::Days,
            Some("Time" | "Timestamp") => Printed::Millis,
            _ if matches!(schema.kind, Kind::Float32 | Kind::Float64) => Printed::Double,
            _ => return self,
        };
        Form::Printed { form: Box::new(self), what }
    }

    /// Appends `value`; false when it has no such form, and is to be shown as NULL.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, value: Value<'_>, moment: &Moment<'_>) -> bool {
        self.write_ref(out, &value, moment)
    }

    /// The same of a value that stays where it was read: to move each costs as much as to write a short one.
    #[inline]
    pub fn write_ref(&self, out: &mut Vec<u8>, value: &Value<'_>, moment: &Moment<'_>) -> bool {
        match (self, value) {
            (_, Value::Null) => return false,
            (_, Value::Absent) => return self.write_placeholder(out, moment),
            (Form::Integer | Form::Year(false), Value::Int(v)) => json::integer(out, *v),
            (Form::Integer | Form::Bits { .. }, Value::UInt(v)) => json::integer(out, *v as i64),
            (Form::Integer, Value::Bool(v)) => json::integer(out, i64::from(*v)),
            (Form::Text | Form::EscapedEnum | Form::Json, Value::Text(v) | Value::Enum(v) | Value::Set(v))
                if *self != Form::EscapedEnum =>
            {
                json::string(out, v);
            }
            (Form::Text | Form::Json, Value::Json(v)) => json::string(out, v),
            (Form::Decimal { scale, numeric: false }, Value::Decimal(v)) => {
                return decimal::write_bytes(out, v, *scale);
            }
            (Form::DateTime(unit), Value::DateTime(v)) => {
                return temporal::write_date_time(out, *v, *unit, moment.wraps);
            }
            (Form::AdjustedDateTime(unit), Value::DateTime(v)) => {
                let date = Date { year: temporal::adjusted_year(v.date.year), ..v.date };
                return temporal::write_date_time(out, DateTime { date, ..*v }, *unit, moment.wraps);
            }
            _ => return self.write_rest(out, *value, moment),
        }
        true
    }

    fn write_rest(&self, out: &mut Vec<u8>, value: Value<'_>, moment: &Moment<'_>) -> bool {
        match self {
            Form::Integer | Form::Year(_) | Form::Boolean | Form::Float { .. } | Form::Double(_) => {
                self.write_number(out, value, moment)
            }
            Form::Decimal { .. }
            | Form::Money { .. }
            | Form::DecimalText { .. }
            | Form::NumericText
            | Form::DecimalDouble
            | Form::VariableDecimal => self.write_decimal(out, value, moment),
            Form::Date(_) | Form::AdjustedDate(_) | Form::Time(_) | Form::ConnectTime => {
                self.write_temporal(out, value, moment)
            }
            Form::DateTime(_) | Form::JulianDateTime(_) | Form::AdjustedDateTime(_) => {
                self.write_temporal(out, value, moment)
            }
            Form::ZonedTimestamp { .. } | Form::ZonedTime => self.write_temporal(out, value, moment),
            Form::Interval(mode) => write_interval(out, value, *mode),
            Form::Bytes { mode, fixed } => write_bytes(out, value, *mode, *fixed),
            Form::Bits { bytes } => write_bits(out, value, *bytes),
            Form::Point | Form::Geometry => geometry::write(out, value, *self == Form::Point),
            Form::FloatVector | Form::DoubleVector => geometry::write_vector(out, value, *self == Form::DoubleVector),
            Form::SparseVector => matches!(value, Value::Text(v) if json_text::write_sparse_vector(out, v)),
            Form::Array { element, null_element, .. } => match value {
                Value::Array(array) => array::write(out, array, element, *null_element, moment),
                _ => false,
            },
            Form::EmptyArray => match value {
                Value::Array(array) if !array.dimensions().is_empty() => {
                    out.extend_from_slice(b"[]");
                    true
                }
                _ => false,
            },
            Form::Shape(mode) => match value {
                Value::Text(text) => write_bytes(out, Value::Bytes(&java::numbers(text)), *mode, 0),
                _ => false,
            },
            Form::TextBytes(mode) => {
                let mut text = Vec::new();
                match value {
                    // As the server prints it.
                    Value::Bool(v) => text.push(if v { b't' } else { b'f' }),
                    value => crate::render::text(&mut text, value, &headwater_model::Type::Numeric),
                }
                write_bytes(out, Value::Bytes(&text), *mode, 0)
            }
            Form::Printed { form, what } => {
                let start = out.len();
                form.write(out, value, moment)
                    && match what {
                        Printed::Days => temporal::print(out, start, true),
                        Printed::Millis => temporal::print(out, start, false),
                        Printed::Double => {
                            let number = out.split_off(start);
                            out.extend(number.into_iter().filter(|byte| *byte != b'"'));
                            true
                        }
                    }
            }
            _ => self.write_text(out, value, moment),
        }
    }

    fn write_number(&self, out: &mut Vec<u8>, value: Value<'_>, moment: &Moment<'_>) -> bool {
        match (self, value) {
            (Form::Year(adjust), Value::Year(0)) if *adjust && moment.exact => {
                json::integer(out, if moment.snapshot { 2_000 } else { 1_900 });
            }
            (Form::Year(true), Value::Year(v)) => json::integer(out, temporal::adjusted_year(i32::from(v)).into()),
            (Form::Integer | Form::Year(_), Value::Year(v)) => json::integer(out, i64::from(v)),
            (Form::Boolean, Value::Bool(v)) => write_bool(out, v),
            (Form::Boolean, Value::Int(v)) => write_bool(out, v != 0),
            (Form::Boolean, Value::Bit(v) | Value::UInt(v)) => write_bool(out, v != 0),
            (Form::Boolean, Value::BitString { bytes, .. }) => write_bool(out, bytes.first().is_some_and(|b| *b != 0)),
            (Form::Float { printed: true }, Value::Float(v)) if moment.exact && moment.snapshot && v.is_finite() => {
                java::float(out, printed_float(v));
            }
            (Form::Float { .. }, Value::Float(v)) => java::float(out, v),
            (Form::Float { .. }, Value::Double(v)) => java::float(out, v as f32),
            (Form::Double(_), Value::Float(v)) => java::double(out, f64::from(v)),
            (Form::Double(Some(digits)), Value::Double(v)) if moment.exact && moment.snapshot => {
                java::double(out, format!("{v:.*}", usize::from(*digits)).parse().unwrap_or(v));
            }
            (Form::Double(_), Value::Double(v)) => java::double(out, v),
            _ => return false,
        }
        true
    }

    fn write_decimal(&self, out: &mut Vec<u8>, value: Value<'_>, moment: &Moment<'_>) -> bool {
        let mut digits = itoa::Buffer::new();
        let text = match value {
            Value::Decimal(text) => text,
            Value::UInt(v) => digits.format(v),
            Value::Int(v) => digits.format(v),
            _ => return false,
        };
        let special = postgres::is_special(text);
        match self {
            Form::DecimalDouble => match text.parse() {
                Ok(number) => java::double(out, number),
                Err(_) => return false,
            },
            Form::DecimalText { .. } | Form::NumericText if special => {
                json::string(out, if moment.exact { postgres::special_name(text) } else { text });
            }
            _ if special => return false,
            Form::Decimal { scale, numeric: false } => return decimal::write_bytes(out, text, *scale),
            Form::Decimal { scale, .. } => return decimal::write_number(out, text, *scale),
            Form::Money { digits, numeric } => {
                let Some(rounded) = decimal::rounded(text, usize::from(*digits)) else { return false };
                return match numeric {
                    true => decimal::write_number(out, &rounded, i32::from(*digits)),
                    false => decimal::write_bytes(out, &rounded, i32::from(*digits)),
                };
            }
            Form::DecimalText { scale } => {
                out.push(b'"');
                let written = decimal::write_plain(out, text, *scale);
                out.push(b'"');
                return written;
            }
            Form::NumericText => json::string(out, text),
            Form::VariableDecimal => {
                let Some((scale, stripped)) = decimal::stripped(text) else { return false };
                out.extend_from_slice(b"{\"scale\":");
                json::integer(out, i64::from(scale));
                out.extend_from_slice(b",\"value\":");
                let written = decimal::write_bytes(out, stripped, scale);
                out.push(b'}');
                return written;
            }
            _ => return false,
        }
        true
    }

    fn write_temporal(&self, out: &mut Vec<u8>, value: Value<'_>, moment: &Moment<'_>) -> bool {
        let snapshot = moment.exact && moment.snapshot;
        // What arrays hold comes from the driver, in the stream as well.
        let element = moment.exact && moment.element;
        match (self, value) {
            (Form::Date(unit), Value::Date(v)) => temporal::write_date(out, v, *unit, snapshot || element),
            (Form::AdjustedDate(unit), Value::Date(mut v)) => {
                v.year = temporal::adjusted_year(v.year);
                temporal::write_date(out, v, *unit, false)
            }
            // The original's times in arrays are the driver's, which keep milliseconds.
            (Form::Time(_) | Form::ConnectTime, Value::Time(v)) if element => {
                let unit = if let Form::Time(unit) = self { *unit } else { Unit::Millis };
                temporal::write_time(out, v % temporal::MICROS_PER_DAY / 1_000 * 1_000, unit)
            }
            (Form::Time(unit), Value::Time(v)) => temporal::write_time(out, v, *unit),
            (Form::ConnectTime, Value::Time(v)) if (0..=temporal::MICROS_PER_DAY).contains(&v) => {
                temporal::write_time(out, v, Unit::Millis)
            }
            (Form::DateTime(unit), Value::DateTime(v)) => temporal::write_date_time(out, v, *unit, moment.wraps),
            (Form::JulianDateTime(unit), Value::DateTime(v)) => {
                let v = DateTime { date: temporal::of_julian(v.date), ..v };
                temporal::write_date_time(out, v, *unit, moment.wraps)
            }
            (Form::AdjustedDateTime(unit), Value::DateTime(mut v)) => {
                v.date.year = temporal::adjusted_year(v.date.year);
                temporal::write_date_time(out, v, *unit, moment.wraps)
            }
            (Form::ZonedTimestamp { fraction, server }, value) => {
                // The driver of a snapshot of MySQL or MariaDB drops zeros at the end.
                let trimmed = snapshot && *server != Connector::Postgresql;
                let digits = Some(*fraction).filter(|digits| *digits > 0 && !trimmed);
                let epoch = *server == Connector::Mariadb && moment.exact && !moment.snapshot;
                if element && let Some(at) = temporal::without_era(value) {
                    temporal::write_instant(out, at, digits);
                    return true;
                }
                write_zoned_timestamp(out, value, digits, epoch)
            }
            (Form::ZonedTime, Value::TimeTz { micros, offset_seconds }) => {
                let utc = micros - i64::from(offset_seconds) * temporal::MICROS_PER_SECOND;
                let utc = utc.rem_euclid(temporal::MICROS_PER_DAY);
                let shown = if element { utc / temporal::MICROS_PER_SECOND * temporal::MICROS_PER_SECOND } else { utc };
                out.push(b'"');
                temporal::iso_time(out, shown, None);
                out.extend_from_slice(b"Z\"");
                true
            }
            _ => false,
        }
    }

    fn write_text(&self, out: &mut Vec<u8>, value: Value<'_>, moment: &Moment<'_>) -> bool {
        match (self, value) {
            (Form::EscapedEnum, Value::Enum(v) | Value::Text(v)) if moment.snapshot => json::string(out, v),
            (Form::EscapedEnum, Value::Enum(v) | Value::Text(v)) => {
                let mut escaped = String::with_capacity(v.len() + 1);
                mysql::escape_member(v, &mut escaped);
                json::string(out, &escaped);
            }
            (Form::MysqlJson, Value::Json(v) | Value::Text(v)) if moment.exact && !moment.snapshot => {
                let mut compact = String::with_capacity(v.len());
                json_text::compact(v, &mut compact);
                json::string(out, &compact);
            }
            (Form::MysqlJson, Value::Json(v) | Value::Text(v)) => json::string(out, v),
            (Form::MariadbUuid, Value::Uuid(v)) if moment.exact && !moment.snapshot => {
                // The server leaves out zero bytes at the end, and the original takes what is left from the other side.
                let mut bytes = v;
                let zeros = v.iter().rev().take_while(|byte| **byte == 0).count();
                bytes.rotate_right(zeros);
                write_uuid(out, bytes);
            }
            (Form::Uuid | Form::MariadbUuid | Form::Text, Value::Uuid(v)) => write_uuid(out, v),
            (Form::Uuid | Form::MariadbUuid, Value::Text(v)) => json::string(out, v),
            (Form::HstoreJson, Value::Json(v)) => return json_text::write_hstore_text(out, v),
            (Form::HstoreMap, Value::Json(v)) => return json_text::write_hstore_map(out, v),
            (Form::Name, Value::Text(v)) if moment.snapshot || !moment.exact => json::string(out, v),
            (Form::Text, value) => return write_any_text(out, value),
            _ => return false,
        }
        true
    }

    fn write_placeholder(&self, out: &mut Vec<u8>, moment: &Moment<'_>) -> bool {
        let Some(text) = moment.placeholder else { return false };
        match self {
            Form::Text | Form::Json | Form::MysqlJson => json::string(out, text),
            Form::NumericText | Form::DecimalText { .. } => json::string(out, text),
            Form::Bytes { mode: BinaryMode::Bytes, .. } | Form::Shape(BinaryMode::Bytes) => {
                json::base64(out, text.as_bytes(), Alphabet::Standard);
            }
            Form::Bytes { mode: BinaryMode::Hex, .. } => json::string(out, text),
            Form::HstoreJson => {
                let mut object = Vec::new();
                write_pair(&mut object, text);
                json::string(out, &String::from_utf8_lossy(&object));
            }
            Form::HstoreMap => write_pair(out, text),
            Form::Array { placeholder: Some(placeholder), .. } if moment.exact => {
                array::write_placeholder(out, *placeholder, text);
            }
            _ => return false,
        }
        true
    }
}

fn write_pair(out: &mut Vec<u8>, text: &str) {
    out.push(b'{');
    json::string(out, text);
    out.push(b':');
    json::string(out, text);
    out.push(b'}');
}

fn write_zoned_timestamp(out: &mut Vec<u8>, value: Value<'_>, digits: Option<u8>, epoch: bool) -> bool {
    let at = match value {
        // MariaDB's stream shows the zero timestamp as the epoch.
        Value::Timestamp(ZERO_TIMESTAMP) if epoch => calendar::date_time(0),
        Value::Timestamp(ZERO_TIMESTAMP) => return false,
        Value::Timestamp(TIMESTAMP_INFINITY) => {
            json::string(out, "infinity");
            return true;
        }
        Value::Timestamp(TIMESTAMP_NEG_INFINITY) => {
            json::string(out, "-infinity");
            return true;
        }
        Value::Timestamp(micros) => calendar::date_time(micros),
        Value::DateTime(at) if !at.date.is_infinite() => at,
        Value::DateTime(at) => {
            json::string(out, if at.date.year > 0 { "infinity" } else { "-infinity" });
            return true;
        }
        _ => return false,
    };
    temporal::write_instant(out, at, digits);
    true
}

fn write_interval(out: &mut Vec<u8>, value: Value<'_>, mode: IntervalMode) -> bool {
    let Value::Interval { months, days, micros } = value else { return false };
    match mode {
        IntervalMode::Numeric => json::integer(out, temporal::interval_micros(months, days, micros)),
        IntervalMode::String => temporal::write_interval(out, months, days, micros),
    }
    true
}

fn write_bytes(out: &mut Vec<u8>, value: Value<'_>, mode: BinaryMode, fixed: usize) -> bool {
    let bytes = match value {
        Value::Bytes(bytes) => bytes,
        Value::Text(text) | Value::Json(text) => text.as_bytes(),
        _ => return false,
    };
    let padded;
    let bytes = if bytes.len() < fixed {
        let mut copy = bytes.to_vec();
        copy.resize(fixed, 0);
        padded = copy;
        &padded
    } else {
        bytes
    };
    match mode {
        BinaryMode::Bytes | BinaryMode::Base64 => json::base64(out, bytes, Alphabet::Standard),
        BinaryMode::Base64UrlSafe => json::base64(out, bytes, Alphabet::UrlSafe),
        BinaryMode::Hex => json::hex(out, bytes),
    }
    true
}

/// The bytes of a bit string, least significant first.
fn write_bits(out: &mut Vec<u8>, value: Value<'_>, least: usize) -> bool {
    let mut bytes = match value {
        Value::Bit(v) => v.to_le_bytes().to_vec(),
        Value::BitString { bits, bytes } => little_endian(bits, bytes),
        _ => return false,
    };
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.resize(used.max(least), 0);
    json::base64(out, &bytes, Alphabet::Standard);
    true
}

/// The number that a bit string is, whose first bit is the highest.
fn little_endian(bits: u32, bytes: &[u8]) -> Vec<u8> {
    let mut number = vec![0u8; bytes.len()];
    for index in 0..bits as usize {
        let Some(byte) = bytes.get(index / 8) else { break };
        if byte >> (7 - index % 8) & 1 == 1 {
            let place = bits as usize - 1 - index;
            number[place / 8] |= 1 << (place % 8);
        }
    }
    number
}

fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

pub(super) fn write_uuid(out: &mut Vec<u8>, bytes: [u8; 16]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    out.push(b'"');
}

/// Types for which a field of text is all there is: addresses, and decimals or numbers under an unknown type.
fn write_any_text(out: &mut Vec<u8>, value: Value<'_>) -> bool {
    let kind = headwater_model::Type::Text { charset: String::new() };
    let mut text = Vec::new();
    crate::render::text(&mut text, value, &kind);
    json::string(out, &String::from_utf8_lossy(&text));
    true
}

/// A float in the six digits that MySQL prints.
fn printed_float(value: f32) -> f32 {
    format!("{value:.5e}").parse().unwrap_or(value)
}
