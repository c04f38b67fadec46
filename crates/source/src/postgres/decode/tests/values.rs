//! Every recorded value: what its text becomes, that its binary form becomes the same, and what its type is called.

use super::super::array::ArrayDecoder;
use super::super::cell::{Becomes, binary, text};
use super::{lines, types};
use expect_test::expect_file;
use headwater_model::Value;
use std::fmt::Write as _;

pub fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn encoded(value: Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut out);
    out
}

/// Arrays as their bounds and elements; all else as it is.
fn shown(value: Value<'_>) -> String {
    match value {
        Value::Array(array) => {
            let bounds: Vec<String> =
                array.dimensions().iter().map(|each| format!("{}@{}", each.length, each.lower_bound)).collect();
            let elements: Vec<String> = array.elements().map(shown).collect();
            format!("Array {} [{}]", bounds.join("x"), elements.join(", "))
        }
        value => format!("{value:?}"),
    }
}

#[test]
fn every_recorded_value_is_the_same_from_text_and_from_binary_and_its_type_has_the_name_that_the_server_prints() {
    let types = types();
    let mut seen = String::new();
    let mut last = String::new();
    for line in lines(include_str!("../fixtures/values.jsonl")) {
        let native = line[0].as_str().unwrap();
        let oid = u32::try_from(line[1].as_u64().unwrap()).unwrap();
        let modifier = i32::try_from(line[2].as_i64().unwrap()).unwrap();
        assert_eq!(types.native(oid, modifier), native);
        let (kind, mut becomes) = types.resolve(oid, modifier);
        if last != native {
            writeln!(seen, "{native}: {}", serde_json::to_string(&kind).unwrap()).unwrap();
            last = native.into();
        }
        let Some(printed) = line[3].as_str() else { continue };
        let (mut scratch, mut other) = (Vec::new(), Vec::new());
        let value = text(&mut becomes, printed.as_bytes(), &mut scratch);
        let value = value.unwrap_or_else(|error| panic!("{native} {printed}: {error:?}"));
        writeln!(seen, "    {printed:?} -> {}", shown(value)).unwrap();
        let from_text = encoded(value);
        let (_, mut becomes) = types.resolve(oid, modifier);
        if becomes.has_binary() {
            let bytes = unhex(line[4].as_str().unwrap());
            let value = binary(&mut becomes, &bytes, &mut other);
            let value = value.unwrap_or_else(|error| panic!("{native} {printed} in binary: {error:?}"));
            assert_eq!(encoded(value), from_text, "{native} {printed}: text and binary differ");
        }
    }
    expect_file!["../fixtures/values.txt"].assert_eq(&seen);
}

#[test]
fn values_of_types_that_the_recorded_server_lacks_are_the_same_from_text_and_from_binary() {
    let floats = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let (three, none) = (floats(&[1.0, 2.5, -3e10]), Vec::new());
    let infinite = Value::Interval { months: i32::MAX, days: i32::MAX, micros: i64::MAX };
    let never = Value::Interval { months: i32::MIN, days: i32::MIN, micros: i64::MIN };
    let cases: &mut [(Becomes, &str, &str, Value<'_>)] = &mut [
        (Becomes::Vector, "[1,2.5,-3e+10]", "000300003f80000040200000d0df8476", Value::Vector(&three)),
        (Becomes::Vector, "[]", "00000000", Value::Vector(&none)),
        // Since PostgreSQL 17.
        (Becomes::Interval, "infinity", "7fffffffffffffff7fffffff7fffffff", infinite),
        (Becomes::Interval, "-infinity", "80000000000000008000000080000000", never),
    ];
    for (becomes, printed, sent, expected) in cases {
        let (mut scratch, mut other) = (Vec::new(), Vec::new());
        assert_eq!(text(becomes, printed.as_bytes(), &mut scratch), Ok(*expected), "{printed}");
        assert_eq!(binary(becomes, &unhex(sent), &mut other), Ok(*expected), "{printed} in binary");
    }
}

#[test]
fn money_is_read_in_every_way_that_a_locale_writes_it() {
    for (printed, scale, expected) in [
        ("-$1,234.56", 2, "-1234.56"),
        ("($0.05)", 2, "-0.05"),
        ("1.234,56 \u{20ac}", 2, "1234.56"),
        ("\u{ffe5}-1,234", 0, "-1234"),
        ("12.345 KWD", 3, "12.345"),
        ("0,00-", 2, "0.00"),
    ] {
        let mut scratch = Vec::new();
        let mut becomes = Becomes::Money(scale);
        let value = text(&mut becomes, printed.as_bytes(), &mut scratch);
        assert_eq!(value, Ok(Value::Decimal(expected)), "{printed}");
    }
}

#[test]
fn a_text_that_the_server_does_not_print_is_refused() {
    use Becomes::*;
    let array = |element| Array(Box::new(ArrayDecoder::new(element, b',')));
    let cases: &mut [(Becomes, &[&str])] = &mut [
        (Bool, &["", "true", "T"]),
        (Int(16), &["", "-", "32768", "-32769", "+1", "1 ", "1e1"]),
        (Oid, &["-1", "4294967296"]),
        (Double, &["", "inf", "nan", "1,5", "0x1"]),
        (Decimal, &["", "-", ".5", "1.", "1e5", "+1", "nan", "1.2.3"]),
        (Money(2), &["", "$1", "$", "99999999999999999999.00"]),
        (
            Date,
            &[
                "2024-02-30",
                "2023-02-29",
                "2024-13-01",
                "24-01-01",
                "2024-1-1",
                "0000-01-01",
                "2024-01-01 AD",
                "5874898-01-01",
                "01/02/2024",
            ],
        ),
        (Time, &["24:00:01", "12:60:00", "12:00:60", "12:00", "12:00:00.", "12:00:00.1234567", "12:00:00 "]),
        (TimeTz, &["12:00:00", "12:00:00Z", "12:00:00+24", "12:00:00+01:60"]),
        (DateTime, &["2024-01-01", "2024-01-01T00:00:00", "2024-01-01 24:00:00", "2024-01-01 00:00:00+00"]),
        (Timestamp, &["2024-01-01 00:00:00", "2024-01-01 00:00:00 UTC", "5874898-01-01 00:00:00+00"]),
        (
            Interval,
            &[
                "",
                "1 week",
                "P1Y",
                "@ 1 day",
                "1 day 1 day",
                "1 day 1 year",
                "1:2:3",
                "00:00:00 1 day",
                "2147483648 days",
            ],
        ),
        (Bytes, &["", "abc", "\\x0", "\\xzz"]),
        (Bit(3), &["", "10", "1010", "102"]),
        (BitString, &["2", "1 1"]),
        (Uuid, &["", "123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400g"]),
        (Hstore, &["a=>1", "\"a\"", "\"a\"=>\"1\",\"b\"=>\"2\"", "\"a\"=>null", "\"a\"=>\"1"]),
        (Point, &["", "(1)", "(1,2,3)", "1,2"]),
        (Geometry, &["", "02", "01", "0101000020", "POINT(1 2)"]),
        (Vector, &["", "[1", "[1,]", "[a]"]),
        (
            array(Int(32)),
            &[
                "",
                "{",
                "}",
                "{1",
                "{1}}",
                "{{1,2},{3}}",
                "{{1},2}",
                "{1,{2}}",
                "{,}",
                "{1,}",
                "{{}}",
                "{1}x",
                "[1:2]={1}",
                "[1:1]{1}",
                "[2:1]={}",
                "{1 2}",
                "{{{{{{{1}}}}}}}",
                "{1\"2\"}",
            ],
        ),
    ];
    let mut read_all_the_same = Vec::new();
    for (becomes, texts) in cases {
        for printed in *texts {
            let mut scratch = Vec::new();
            let read = text(becomes, printed.as_bytes(), &mut scratch).map(shown);
            if let Ok(value) = read {
                read_all_the_same.push(format!("{printed:?} became {value}"));
            }
        }
    }
    assert!(read_all_the_same.is_empty(), "{}", read_all_the_same.join("\n"));
}
