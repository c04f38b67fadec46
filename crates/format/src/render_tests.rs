//! The table of what each type looks like in JSON and as text.

use super::*;
use headwater_model::{ArrayWriter, Dimension};
use proptest::prelude::*;

fn rendered(value: Value<'_>, kind: &Type) -> (String, String) {
    let (mut in_json, mut plain) = (Vec::new(), Vec::new());
    json(&mut in_json, value, kind);
    text(&mut plain, value, kind);
    (String::from_utf8(in_json).unwrap(), String::from_utf8(plain).unwrap())
}

#[test]
fn every_type_keeps_all_that_it_holds() {
    let (date_time, timestamp, time) = (
        |fraction| Type::DateTime { fraction },
        |fraction| Type::Timestamp { fraction },
        |fraction| Type::Time { fraction },
    );
    let zero = Date { year: 0, month: 0, day: 0 };
    let day = Date { year: 2024, month: 9, day: 2 };
    let moment = DateTime { date: day, hour: 17, minute: 21, second: 2, micros: 123_456 };
    let any = Type::Json;
    let texts = Type::Array { element: Box::new(Type::Text { charset: "UTF8".into() }) };
    let array = |lengths: &[u32], elements: &[Value<'_>]| {
        let mut writer = ArrayWriter::default();
        writer.begin(&lengths.iter().map(|&length| Dimension { length, lower_bound: 1 }).collect::<Vec<_>>());
        elements.iter().for_each(|&each| writer.put(each));
        // The table borrows for as long as the test runs.
        Box::leak(Box::new(writer)).value().unwrap()
    };
    let table: &[(Value<'_>, Type, &str, &str)] = &[
        (Value::Null, any.clone(), "null", ""),
        (Value::Int(i64::MIN), any.clone(), "-9223372036854775808", "-9223372036854775808"),
        (Value::UInt(u64::MAX), any.clone(), "18446744073709551615", "18446744073709551615"),
        (Value::Decimal("-0.10"), any.clone(), r#""-0.10""#, "-0.10"),
        (Value::Float(0.1), any.clone(), "0.1", "0.1"),
        (Value::Double(0.1 + 0.2), any.clone(), "0.30000000000000004", "0.30000000000000004"),
        (Value::Double(1e300), any.clone(), "1e300", "1e300"),
        (Value::Double(5e-324), any.clone(), "5e-324", "5e-324"),
        (Value::Double(-0.0), any.clone(), "-0", "-0"),
        (Value::Double(f64::NAN), any.clone(), "null", "NaN"),
        (
            Value::Text("a\"b\\c\n\u{1}\u{7f}سلام🛒"),
            any.clone(),
            "\"a\\\"b\\\\c\\n\\u0001\u{7f}سلام🛒\"",
            "a\"b\\c\n\u{1}\u{7f}سلام🛒",
        ),
        (Value::Enum(""), any.clone(), r#""""#, ""),
        (Value::Set("a,b"), any.clone(), r#""a,b""#, "a,b"),
        (Value::Bytes(&[0, 255, 16]), any.clone(), r#""AP8Q""#, "AP8Q"),
        (Value::Bytes(&[]), any.clone(), r#""""#, ""),
        (Value::Geometry { srid: 4326, wkb: &[1, 1] }, any.clone(), r#""5hAAAAEB""#, "5hAAAAEB"),
        (Value::Date(day), Type::Date, r#""2024-09-02""#, "2024-09-02"),
        (Value::Date(zero), Type::Date, r#""0000-00-00""#, "0000-00-00"),
        (Value::DateTime(moment), date_time(0), r#""2024-09-02T17:21:02.123""#, "2024-09-02T17:21:02.123"),
        (Value::DateTime(moment), date_time(5), r#""2024-09-02T17:21:02.12345""#, "2024-09-02T17:21:02.12345"),
        (
            Value::DateTime(DateTime { date: zero, hour: 0, minute: 0, second: 0, micros: 0 }),
            date_time(0),
            r#""0000-00-00T00:00:00.000""#,
            "0000-00-00T00:00:00.000",
        ),
        (
            Value::Timestamp(1_725_297_662_000_000),
            timestamp(0),
            r#""2024-09-02T17:21:02.000Z""#,
            "2024-09-02T17:21:02.000Z",
        ),
        (Value::Timestamp(-1), timestamp(6), r#""1969-12-31T23:59:59.999999Z""#, "1969-12-31T23:59:59.999999Z"),
        (Value::Timestamp(ZERO_TIMESTAMP), timestamp(0), r#""0000-00-00T00:00:00.000Z""#, "0000-00-00T00:00:00.000Z"),
        (Value::Time(-3_020_399_000_000), time(0), r#""-838:59:59.000""#, "-838:59:59.000"),
        (Value::Time(-1), time(6), r#""-00:00:00.000001""#, "-00:00:00.000001"),
        (Value::Year(0), Type::Year, "0", "0"),
        (Value::Bit(u64::MAX), Type::Bit { width: 64 }, "18446744073709551615", "18446744073709551615"),
        (Value::Json(r#"{"a": [1, 1.50]}"#), any.clone(), r#"{"a": [1, 1.50]}"#, r#"{"a": [1, 1.50]}"#),
        (Value::Json("{broken"), any.clone(), r#""{broken""#, "{broken"),
        (Value::Vector(&[0, 0, 128, 63, 0, 0, 0, 191]), any.clone(), "[1,-0.5]", "[1,-0.5]"),
        (
            Value::Uuid(*b"\x12\x34\x56\x78\x9a\xbc\xde\xf0\x12\x34\x56\x78\x9a\xbc\xde\x00"),
            any.clone(),
            r#""12345678-9abc-def0-1234-56789abcde00""#,
            "12345678-9abc-def0-1234-56789abcde00",
        ),
        (Value::Inet4([127, 0, 0, 1]), any.clone(), r#""127.0.0.1""#, "127.0.0.1"),
        (Value::Inet6([0; 16]), any.clone(), r#""::""#, "::"),
        (Value::Bool(true), Type::Bool, "true", "true"),
        (Value::Date(Date { year: -43, month: 3, day: 15 }), Type::Date, r#""0044-03-15 BC""#, "0044-03-15 BC"),
        (Value::Date(Date { year: 12_024, month: 1, day: 2 }), Type::Date, r#""12024-01-02""#, "12024-01-02"),
        (Value::Date(Date::NEG_INFINITY), Type::Date, r#""-infinity""#, "-infinity"),
        (Value::Timestamp(TIMESTAMP_INFINITY), timestamp(6), r#""infinity""#, "infinity"),
        (
            Value::DateTime(DateTime { date: Date { year: -43, month: 3, day: 15 }, ..moment }),
            date_time(3),
            r#""0044-03-15T17:21:02.123 BC""#,
            "0044-03-15T17:21:02.123 BC",
        ),
        (
            Value::TimeTz { micros: 86_399_000_001, offset_seconds: -12_600 },
            Type::TimeTz { fraction: 6 },
            r#""23:59:59.000001-03:30""#,
            "23:59:59.000001-03:30",
        ),
        (Value::Interval { months: 14, days: -3, micros: 0 }, Type::Interval, r#""P1Y2M-3D""#, "P1Y2M-3D"),
        (
            Value::Interval { months: 0, days: 0, micros: -3_723_004_500 },
            Type::Interval,
            r#""PT-1H-2M-3.0045S""#,
            "PT-1H-2M-3.0045S",
        ),
        (Value::Interval { months: 0, days: 0, micros: 0 }, Type::Interval, r#""PT0S""#, "PT0S"),
        (
            Value::BitString { bits: 10, bytes: &[0b1010_0000, 0b0100_0000] },
            Type::BitString { width: Some(10), varying: false },
            r#""1010000001""#,
            "1010000001",
        ),
        (array(&[], &[]), texts.clone(), "[]", "[]"),
        (array(&[2], &[Value::Text("a\""), Value::Null]), texts.clone(), r#"["a\"",null]"#, r#"["a\"",null]"#),
        (
            array(&[2, 1, 2], &[Value::Int(1), Value::Int(2), Value::Int(3), Value::Int(4)]),
            texts.clone(),
            "[[[1,2]],[[3,4]]]",
            "[[[1,2]],[[3,4]]]",
        ),
    ];
    for (value, kind, in_json, plain) in table {
        assert_eq!(rendered(*value, kind), ((*in_json).to_owned(), (*plain).to_owned()), "{value:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_json_string_that_reads_back(text in ".*") {
        let mut out = Vec::new();
        json_string(&mut out, &text);
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }

    #[test]
    fn any_float_reads_back(double in any::<f64>(), single in any::<f32>()) {
        prop_assume!(double.is_finite() && single.is_finite());
        let (in_json, _) = rendered(Value::Double(double), &Type::Double);
        prop_assert_eq!(in_json.parse::<f64>().unwrap().to_bits(), double.to_bits());
        let (in_json, _) = rendered(Value::Float(single), &Type::Float);
        prop_assert_eq!(in_json.parse::<f32>().unwrap().to_bits(), single.to_bits());
    }
}
