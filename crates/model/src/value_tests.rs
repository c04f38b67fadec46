//! Every value encodes and decodes to itself, and damaged bytes never panic.

use super::*;
use crate::array::{ArrayWriter, Dimension};
use proptest::prelude::*;

fn check(value: Value<'_>) {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    let mut input = &bytes[..];
    assert_eq!(Value::decode(&mut input), Some(value));
    assert!(input.is_empty());
    for cut in 0..bytes.len() {
        assert_eq!(Value::decode(&mut &bytes[..cut]), None, "cut at {cut} of {value:?}");
    }
}

#[test]
fn bounds_of_every_kind_survive() {
    let zero = Date { year: 0, month: 0, day: 0 };
    let last = Date { year: 9999, month: 12, day: 31 };
    for value in [
        Value::Null,
        Value::Absent,
        Value::Int(i64::MIN),
        Value::Int(i64::MAX),
        Value::UInt(u64::MAX),
        Value::Float(f32::MAX),
        Value::Double(f64::MIN_POSITIVE),
        Value::Decimal("-99999999999999999999999999999999999.999999999999999999999999999999"),
        Value::Text("سلام 🛒"),
        Value::Bytes(&[0, 255, 0]),
        Value::Date(zero),
        Value::Date(last),
        Value::DateTime(DateTime { date: zero, hour: 0, minute: 0, second: 0, micros: 0 }),
        Value::DateTime(DateTime { date: last, hour: 23, minute: 59, second: 59, micros: 999_999 }),
        Value::Timestamp(ZERO_TIMESTAMP),
        Value::Timestamp(2_147_483_647_999_999),
        Value::Time(-3_020_399_999_999),
        Value::Year(2155),
        Value::Bit(u64::MAX),
        Value::Enum("a,b\\c"),
        Value::Set(""),
        Value::Json("{\"a\": 1}"),
        Value::Geometry { srid: 4326, wkb: &[1, 2, 3] },
        Value::Vector(&[0, 0, 128, 63]),
        Value::Uuid([7; 16]),
        Value::Inet4([127, 0, 0, 1]),
        Value::Inet6([1; 16]),
        Value::Bool(true),
        Value::Bool(false),
        Value::Date(Date { year: -4713, month: 11, day: 24 }),
        Value::Date(Date { year: 5_874_897, month: 12, day: 31 }),
        Value::Date(Date::INFINITY),
        Value::Date(Date::NEG_INFINITY),
        Value::DateTime(DateTime { date: Date::INFINITY, hour: 0, minute: 0, second: 0, micros: 0 }),
        Value::DateTime(DateTime {
            date: Date { year: 294_276, month: 12, day: 31 },
            hour: 23,
            minute: 59,
            second: 59,
            micros: 999_999,
        }),
        Value::Timestamp(TIMESTAMP_INFINITY),
        Value::Timestamp(TIMESTAMP_NEG_INFINITY),
        Value::TimeTz { micros: 86_400_000_000, offset_seconds: -57_599 },
        Value::Interval { months: i32::MIN, days: i32::MAX, micros: i64::MIN },
        Value::BitString { bits: 9, bytes: &[0xff, 0x80] },
        Value::BitString { bits: 0, bytes: &[] },
    ] {
        check(value);
    }
}

#[test]
fn arrays_of_any_dimension_survive_and_false_counts_are_refused() {
    let dimension = |length, lower_bound| Dimension { length, lower_bound };
    let mut inner = ArrayWriter::default();
    inner.begin(&[dimension(2, 1)]);
    inner.put(Value::Text("a"));
    inner.put(Value::Null);
    let mut outer = ArrayWriter::default();
    outer.begin(&[dimension(1, -3), dimension(2, 7)]);
    outer.put(inner.value().unwrap());
    outer.put(Value::Null);
    let value = outer.value().unwrap();
    check(value);
    let Value::Array(array) = value else { panic!("an array") };
    assert_eq!(array.dimensions(), [dimension(1, -3), dimension(2, 7)]);
    assert_eq!(array.elements().count(), 2);
    inner.begin(&[]);
    check(inner.value().unwrap());
    inner.begin(&[dimension(3, 1)]);
    inner.put(Value::Int(1));
    assert_eq!(inner.value(), None, "three were claimed, one is there");
    // A claim of 2^60 elements costs nothing, and arrays inside one another end.
    assert_eq!(Value::decode(&mut &[27, 6, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 2][..]), None);
    let mut nested = vec![0];
    for _ in 0..20 {
        let mut around = vec![1, 1, 2];
        around.extend_from_slice(&nested);
        nested = vec![27];
        crate::varint::put_bytes(&mut nested, &around);
    }
    assert_eq!(Value::decode(&mut &nested[..]), None);
}

proptest! {
    #[test]
    fn any_date_time_survives(y in -5000i32..=300_000, mo in 0u8..=12, d in 0u8..=31, h in 0u8..24, mi in 0u8..60, s in 0u8..60, us in 0u32..1_000_000) {
        check(Value::DateTime(DateTime { date: Date { year: y, month: mo, day: d }, hour: h, minute: mi, second: s, micros: us }));
    }

    #[test]
    fn any_text_and_number_survives(text in ".*", int in any::<i64>(), unsigned in any::<u64>()) {
        check(Value::Text(&text));
        check(Value::Int(int));
        check(Value::UInt(unsigned));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut input = &bytes[..];
        while !input.is_empty() && Value::decode(&mut input).is_some() {}
    }
}
