//! Every value encodes and decodes to itself, and damaged bytes never panic.

use super::*;
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
    ] {
        check(value);
    }
}

proptest! {
    #[test]
    fn any_date_time_survives(y in 0u16..=9999, mo in 0u8..=12, d in 0u8..=31, h in 0u8..24, mi in 0u8..60, s in 0u8..60, us in 0u32..1_000_000) {
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
