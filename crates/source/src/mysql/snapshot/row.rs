//! A row of a binary-protocol result becomes a row of the model: the same value that the log's row would give.
//!
//! Invariant: every read is checked against the packet's end; a row that does not fit its columns is an error.
//! Protocol: "Binary Protocol Resultset Row". Start at [`RowPlan::transcode`].

use super::super::wire::Column;
use headwater_model::calendar;
use headwater_model::value::ZERO_TIMESTAMP;
use headwater_model::varint::{take, take_array};
use headwater_model::{Date, DateTime, Error, Row, RowWriter, Schema, Type, Value};

/// How each column of a result becomes a value.
pub struct RowPlan {
    fields: Vec<Field>,
    /// Where each column of the schema stands in the result, if they are in another order.
    places: Option<Vec<Option<usize>>>,
}

#[derive(Clone, Copy, Debug)]
enum Field {
    /// An integer of so many bytes.
    Int(u8),
    UInt(u8),
    Float,
    Double,
    Year,
    Date,
    DateTime,
    Timestamp,
    Time,
    Decimal,
    Text,
    Bytes,
    Bit,
    Enum,
    Set,
    Json,
    Geometry,
    Vector,
    Uuid,
    Inet4,
    Inet6,
    /// Of another database: no MySQL column becomes it, and no value reads as it.
    Foreign,
}

const TYPE_TINY: u8 = 1;
const TYPE_SHORT: u8 = 2;
const TYPE_YEAR: u8 = 13;
const TYPE_LONGLONG: u8 = 8;

impl RowPlan {
    /// For the columns of `schema` that rows carry, in the order in which the result has them.
    pub fn new(schema: &Schema, columns: &[Column]) -> Self {
        let kept = schema.columns.iter().filter(|column| !column.excluded);
        let fields = kept.zip(columns).map(|(column, sent)| Field::of(&column.kind, sent.kind)).collect();
        RowPlan { fields, places: None }
    }

    /// For a result whose columns are found by their names; those that it does not have are NULL.
    pub fn named(schema: &Schema, columns: &[Column]) -> headwater_model::Result<Self> {
        let kept: Vec<_> = schema.columns.iter().filter(|column| !column.excluded).collect();
        let is_named = |name: &str, sent: &Column| sent.name.eq_ignore_ascii_case(name);
        let stranger = columns.iter().find(|sent| !schema.columns.iter().any(|column| is_named(&column.name, sent)));
        if let Some(stranger) = stranger {
            let what = format!("the query in place of {} selects a column {}", schema.full_name(), stranger.name);
            return Err(Error::stop(what).hint("Let it select columns of the table, under their own names."));
        }
        let kind = |sent: &Column| {
            let column = schema.columns.iter().find(|column| is_named(&column.name, sent));
            column.map_or(Field::Foreign, |column| Field::of(&column.kind, sent.kind))
        };
        let place = |name: &str| columns.iter().position(|sent| is_named(name, sent));
        let places = kept.iter().map(|column| place(&column.name)).collect();
        Ok(RowPlan { fields: columns.iter().map(kind).collect(), places: Some(places) })
    }

    /// Appends the row in `packet` to `out`. `Err` is the index of the column that does not fit, and why.
    pub fn transcode(&self, packet: &[u8], out: &mut Vec<u8>) -> Result<(), (usize, &'static str)> {
        let Some(places) = &self.places else { return self.sent(packet, out) };
        let mut sent = Vec::with_capacity(packet.len());
        self.sent(packet, &mut sent)?;
        let row = Row::decode(&mut &sent[..]).ok_or((0, "the row is cut off"))?;
        let values: Vec<Value<'_>> = row.values().collect();
        let mut row = RowWriter::begin(out, places.len());
        let value = |place: &Option<usize>| place.and_then(|place| values.get(place).copied());
        places.iter().for_each(|place| row.put(value(place).unwrap_or(Value::Null)));
        Ok(())
    }

    /// The same, with the columns in the result's order.
    fn sent(&self, packet: &[u8], out: &mut Vec<u8>) -> Result<(), (usize, &'static str)> {
        let count = self.fields.len();
        let (nulls, mut rest) = packet.split_at_checked((count + 9) / 8).ok_or((0, "the row is cut off"))?;
        let mut row = RowWriter::begin(out, count);
        let mut failed = None;
        for (index, field) in self.fields.iter().enumerate() {
            // The NULL bitmap's first two bits are unused.
            let is_null = nulls[(index + 2) / 8] >> ((index + 2) % 8) & 1 == 1;
            let value = match is_null || failed.is_some() {
                true => Some(Value::Null),
                false => field.read(&mut rest),
            };
            // A row is always finished; the caller throws a failed one away.
            row.put(value.unwrap_or_else(|| {
                failed = Some((index, "the value does not fit the column's type"));
                Value::Null
            }));
        }
        match failed {
            Some(failed) => Err(failed),
            None if rest.is_empty() => Ok(()),
            None => Err((count.saturating_sub(1), "bytes are left after the last column")),
        }
    }
}

impl Field {
    fn of(kind: &Type, sent: u8) -> Field {
        let width = match sent {
            TYPE_TINY => 1,
            TYPE_SHORT | TYPE_YEAR => 2,
            TYPE_LONGLONG => 8,
            _ => 4,
        };
        match kind {
            Type::Int { unsigned: false, .. } => Field::Int(width),
            Type::Int { unsigned: true, .. } => Field::UInt(width),
            Type::Float => Field::Float,
            Type::Double => Field::Double,
            Type::Decimal { .. } => Field::Decimal,
            Type::Year => Field::Year,
            Type::Date => Field::Date,
            Type::Time { .. } => Field::Time,
            Type::DateTime { .. } => Field::DateTime,
            Type::Timestamp { .. } => Field::Timestamp,
            Type::Text { .. } => Field::Text,
            Type::Bytes { .. } => Field::Bytes,
            Type::Bit { .. } => Field::Bit,
            Type::Enum { .. } => Field::Enum,
            Type::Set { .. } => Field::Set,
            Type::Json => Field::Json,
            Type::Geometry => Field::Geometry,
            Type::Vector => Field::Vector,
            Type::Uuid => Field::Uuid,
            Type::Inet4 => Field::Inet4,
            Type::Inet6 => Field::Inet6,
            _ => Field::Foreign,
        }
    }

    #[inline]
    fn read<'a>(self, input: &mut &'a [u8]) -> Option<Value<'a>> {
        Some(match self {
            Field::Int(1) => Value::Int(take_array(input).map(i8::from_le_bytes)?.into()),
            Field::Int(2) => Value::Int(take_array(input).map(i16::from_le_bytes)?.into()),
            Field::Int(8) => Value::Int(take_array(input).map(i64::from_le_bytes)?),
            Field::Int(_) => Value::Int(take_array(input).map(i32::from_le_bytes)?.into()),
            Field::UInt(1) => Value::UInt(take_array(input).map(u8::from_le_bytes)?.into()),
            Field::UInt(2) => Value::UInt(take_array(input).map(u16::from_le_bytes)?.into()),
            Field::UInt(8) => Value::UInt(take_array(input).map(u64::from_le_bytes)?),
            Field::UInt(_) => Value::UInt(take_array(input).map(u32::from_le_bytes)?.into()),
            Field::Float => Value::Float(take_array(input).map(f32::from_le_bytes)?),
            Field::Double => Value::Double(take_array(input).map(f64::from_le_bytes)?),
            Field::Year => Value::Year(take_array(input).map(u16::from_le_bytes)?),
            Field::Date => Value::Date(date_time(input)?.date),
            Field::DateTime => Value::DateTime(date_time(input)?),
            Field::Timestamp => Value::Timestamp(timestamp(date_time(input)?)?),
            Field::Time => Value::Time(time(input)?),
            Field::Decimal => Value::Decimal(without_zerofill(text(input)?)),
            Field::Text => Value::Text(text(input)?),
            Field::Bytes => Value::Bytes(bytes(input)?),
            Field::Bit => Value::Bit(bit(bytes(input)?)?),
            Field::Enum => Value::Enum(text(input)?),
            Field::Set => Value::Set(text(input)?),
            Field::Json => Value::Json(text(input)?),
            Field::Geometry => {
                let mut stored = bytes(input)?;
                Value::Geometry { srid: take_array(&mut stored).map(u32::from_le_bytes)?, wkb: stored }
            }
            Field::Vector => Value::Vector(bytes(input)?),
            Field::Uuid => Value::Uuid(uuid(text(input)?)?),
            Field::Inet4 => Value::Inet4(text(input)?.parse::<std::net::Ipv4Addr>().ok()?.octets()),
            Field::Inet6 => Value::Inet6(text(input)?.parse::<std::net::Ipv6Addr>().ok()?.octets()),
            Field::Foreign => return None,
        })
    }
}

/// A length-encoded string: "Protocol::LengthEncodedInteger", then that many bytes.
fn bytes<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = match *input.split_off_first()? {
        0xfc => u64::from(u16::from_le_bytes(take_array(input)?)),
        0xfd => {
            let [a, b, c] = take_array(input)?;
            u64::from(u32::from_le_bytes([a, b, c, 0]))
        }
        0xfe => u64::from_le_bytes(take_array(input)?),
        0xfb | 0xff => return None,
        short => u64::from(short),
    };
    take(input, usize::try_from(length).ok()?)
}

fn text<'a>(input: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(bytes(input)?).ok()
}

/// The log has no zeros in front.
fn without_zerofill(text: &str) -> &str {
    let zeros = text.bytes().take_while(|byte| *byte == b'0').count();
    let is_followed_by_digit = text.as_bytes().get(zeros).is_some_and(u8::is_ascii_digit);
    if is_followed_by_digit { &text[zeros..] } else { &text[zeros.saturating_sub(1)..] }
}

fn bit(bytes: &[u8]) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// "Binary Protocol Value", `MYSQL_TYPE_DATE` and its kin: trailing parts that are zero are left out.
fn date_time(input: &mut &[u8]) -> Option<DateTime> {
    let length = *input.split_off_first()?;
    let mut parts = take(input, length.into())?;
    let mut value = DateTime { date: Date { year: 0, month: 0, day: 0 }, hour: 0, minute: 0, second: 0, micros: 0 };
    if !matches!(length, 0 | 4 | 7 | 11) {
        return None;
    }
    if length >= 4 {
        let year = i32::from(u16::from_le_bytes(take_array(&mut parts)?));
        let [month, day] = take_array(&mut parts)?;
        value.date = Date { year, month, day };
    }
    if length >= 7 {
        [value.hour, value.minute, value.second] = take_array(&mut parts)?;
    }
    if length == 11 {
        value.micros = u32::from_le_bytes(take_array(&mut parts)?);
    }
    Some(value)
}

/// Microseconds since the epoch; the session's time zone is UTC.
fn timestamp(at: DateTime) -> Option<i64> {
    if at.date.month == 0 {
        return (at.date.year == 0).then_some(ZERO_TIMESTAMP);
    }
    calendar::unix_micros(at)
}

/// `MYSQL_TYPE_TIME`: sign, days, hours, minutes, seconds and, where there is a fraction, microseconds.
fn time(input: &mut &[u8]) -> Option<i64> {
    let length = *input.split_off_first()?;
    let mut parts = take(input, length.into())?;
    if length == 0 {
        return Some(0);
    }
    let negative = *parts.split_off_first()? != 0;
    let days = i64::from(u32::from_le_bytes(take_array(&mut parts)?));
    let [hours, minutes, seconds] = take_array::<3>(&mut parts)?.map(i64::from);
    let micros = match length {
        8 => 0,
        12 => i64::from(u32::from_le_bytes(take_array(&mut parts)?)),
        _ => return None,
    };
    // A server sends at most 34 days; the field has room for more than there are microseconds in an i64.
    let of_days = days.checked_mul(86_400_000_000)?;
    let value = of_days.checked_add(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros)?;
    Some(if negative { -value } else { value })
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let is_hex = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_and_dates_are_read_as_the_server_sends_them() {
        let noon = DateTime { date: Date { year: 2024, month: 9, day: 2 }, hour: 12, minute: 0, second: 1, micros: 5 };
        let cases: [(Field, &[u8], Value<'_>); 8] = [
            (Field::Timestamp, &[0], Value::Timestamp(ZERO_TIMESTAMP)),
            (Field::Timestamp, &[7, 178, 7, 1, 1, 0, 0, 1], Value::Timestamp(1_000_000)),
            (Field::Timestamp, &[4, 0xd0, 7, 2, 29], Value::Timestamp(951_782_400_000_000)),
            (Field::DateTime, &[11, 0xe8, 7, 9, 2, 12, 0, 1, 5, 0, 0, 0], Value::DateTime(noon)),
            (Field::Time, &[8, 1, 34, 0, 0, 0, 22, 59, 59], Value::Time(-3_020_399_000_000)),
            (Field::Time, &[0], Value::Time(0)),
            (Field::Bit, &[2, 1, 0], Value::Bit(256)),
            (Field::Int(1), &[0xff], Value::Int(-1)),
        ];
        for (field, mut bytes, expected) in cases {
            assert_eq!(field.read(&mut bytes), Some(expected), "{field:?}");
            assert!(bytes.is_empty());
        }
        assert_eq!(Field::Time.read(&mut &[8, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0][..]), None, "more days than fit");
    }

    proptest! {
        #[test]
        fn a_damaged_row_is_an_error_and_never_a_panic(packet in proptest::collection::vec(any::<u8>(), 0..80)) {
            let fields = vec![Field::Int(8), Field::Text, Field::DateTime, Field::Time, Field::Geometry, Field::Uuid, Field::Bit];
            let _ = RowPlan { fields, places: None }.transcode(&packet, &mut Vec::new());
        }
    }
}
