//! What the values of PostgreSQL's columns look like where the original does what one would not expect.

use super::*;
use crate::debezium::columns_native::source_type;
use crate::debezium::options::{BinaryMode, ColumnAction, ColumnRule, Compat, Connector};
use headwater_model::value::{Date, DateTime, TIMESTAMP_NEG_INFINITY};
use headwater_model::{ArrayWriter, Dimension};

fn options(compat: Compat, change: impl Fn(&mut Options)) -> Options {
    let mut options = Options { connector: Connector::Postgresql, compat, ..Options::default() };
    options.include_unknown_datatypes = true;
    change(&mut options);
    options
}

fn text() -> Type {
    Type::Text { charset: "utf8mb4".into() }
}

fn int() -> Type {
    Type::Int { bits: 32, unsigned: false }
}

fn array_of(element: Type) -> Type {
    Type::Array { element: Box::new(element) }
}

/// A column's only field, and a value of it as a record shows it.
fn shown(column: Column, value: Value<'_>, options: &Options, extra: Extra<'_>) -> (Field, String) {
    let schema = Schema::new(1, "public", "t", vec![column], Vec::new());
    let field = compile(&schema, 0..1, options, Converter::default(), extra).pop().expect("a field");
    let snapshot = matches!(extra, Extra::SnapshotRules(_) | Extra::Key { snapshot: true });
    let mut out = Vec::new();
    field.write(&mut out, &value, &Moment { exact: options.is_exact(), snapshot, ..Moment::default() });
    (field, String::from_utf8(out).expect("text"))
}

#[test]
fn values_that_the_original_reads_in_its_own_way() {
    let exact = options(Compat::Exact, |_| {});
    let iso = options(Compat::Exact, |options| options.time_precision = Some(TimePrecision::IsoString));
    let masks = Masks::default();
    let (stream, snapshot) = (Extra::Rules(&masks), Extra::SnapshotRules(&masks));
    let unknown = Type::Unknown { oid: 628 };
    for (what, kind, native, value, options, extra, expected) in [
        // {1.0,2.0,3.0}
        ("a line", unknown.clone(), "line", Value::Text("{1,2,3}"), &exact, stream, "\"ezEuMCwyLjAsMy4wfQ==\""),
        // <(1.5,-2.5),0.0>
        (
            "a circle",
            unknown.clone(),
            "circle",
            Value::Text("<(1.5,-2.5),0>"),
            &exact,
            snapshot,
            "\"PCgxLjUsLTIuNSksMC4wPg==\"",
        ),
        ("any other", unknown, "pg_lsn", Value::Text("0/1"), &exact, stream, "\"MC8x\""),
        ("a date", Type::Date, "date", Value::Date(Date::INFINITY), &iso, snapshot, "\"+292278994-08-16Z\""),
        ("a date", Type::Date, "date", Value::Date(Date::NEG_INFINITY), &iso, snapshot, "\"+292269055-12-02Z\""),
        ("a date", Type::Date, "date", Value::Date(Date::NEG_INFINITY), &iso, stream, "\"-5877611-06-22Z\""),
    ] {
        let (_, got) = shown(Column::new("c", kind, native), value, options, extra);
        assert_eq!(got, expected, "{what}");
    }
}

/// An array's encoding.
fn array(dimensions: &[u32], values: &[Value<'_>]) -> Vec<u8> {
    let dimensions: Vec<Dimension> =
        dimensions.iter().map(|length| Dimension { length: *length, lower_bound: 1 }).collect();
    let mut writer = ArrayWriter::default();
    writer.begin(&dimensions);
    values.iter().for_each(|value| writer.put(*value));
    let mut encoded = Vec::new();
    writer.value().expect("an array").encode(&mut encoded);
    encoded
}

#[test]
fn arrays_that_the_original_reads_in_its_own_way() {
    let right = options(Compat::Right, |_| {});
    let exact = options(Compat::Exact, |options| options.decimal = DecimalMode::String);
    let nanos = options(Compat::Exact, |options| options.time_precision = Some(TimePrecision::Nanoseconds));
    let masks = Masks::default();
    let nan = array(&[2], &[Value::Decimal("1"), Value::Decimal("NaN")]);
    let (some, none, null) = (array(&[1], &[Value::Int(1)]), array(&[], &[]), array(&[1], &[Value::Null]));
    let grid = array(&[2, 1], &[Value::Text("a"), Value::Text("b")]);
    let numbers = array(&[2, 1], &[Value::Int(1), Value::Int(2)]);
    let date = Date { year: -43, month: 3, day: 15 };
    let (dates, infinite) = (array(&[1], &[Value::Date(date)]), array(&[1], &[Value::Date(Date::INFINITY)]));
    let moments = array(&[1], &[Value::DateTime(DateTime { date, hour: 0, minute: 0, second: 0, micros: 0 })]);
    let date_time = || array_of(Type::DateTime { fraction: 6 });
    let instants = array(&[2], &[Value::Timestamp(TIMESTAMP_NEG_INFINITY), Value::Timestamp(-63_517_824_000_000_000)]);
    let times = array(&[2], &[Value::Time(86_400_000_000), Value::Time(43_200_500_600)]);
    const INSTANTS: &str = r#"["+292269055-12-02T23:00:00.000Z","0044-03-15T00:00:00.000Z"]"#;
    for (kind, native, value, options, expected) in [
        (array_of(Type::Numeric), "numeric[]", &nan, &exact, "null"),
        (array_of(int()), "int2vector", &some, &exact, "[]"),
        (array_of(int()), "int2vector", &none, &exact, "null"),
        (array_of(int()), "int2vector", &some, &right, "[1]"),
        (array_of(int()), "integer[]", &none, &exact, "[]"),
        (array_of(int()), "posint[]", &some, &exact, "[\"MQ==\"]"),
        (array_of(int()), "posint[]", &null, &exact, "null"),
        (array_of(Type::Unknown { oid: 1 }), "pair[]", &null, &exact, "null"),
        (array_of(text()), "text[]", &grid, &exact, "[\"[Ljava.lang.String;@0\",\"[Ljava.lang.String;@0\"]"),
        (array_of(text()), "text[]", &grid, &right, "[\"a\",\"b\"]"),
        (array_of(int()), "integer[]", &numbers, &exact, "[null,null]"),
        // The year loses its era, and a timestamp's date is one of the Julian calendar.
        (array_of(Type::Date), "date[]", &dates, &exact, "[-703383]"),
        (array_of(Type::Date), "date[]", &infinite, &exact, "[-622191234]"),
        (date_time(), "timestamp without time zone[]", &moments, &exact, "[-63517996800000000]"),
        (date_time(), "timestamp without time zone[]", &moments, &nanos, "[null]"),
        (array_of(Type::Timestamp { fraction: 3 }), "timestamp with time zone[]", &instants, &exact, INSTANTS),
        (array_of(Type::Time { fraction: 6 }), "time without time zone[]", &times, &exact, "[0,43200500000]"),
    ] {
        let value = Value::decode(&mut value.as_slice()).expect("a value");
        let (_, got) = shown(Column::new("c", kind, native), value, options, Extra::Rules(&masks));
        assert_eq!(got, expected, "{native}");
    }
}

#[test]
fn what_the_log_did_not_carry_has_a_placeholder_where_the_original_can_put_one() {
    let plain = options(Compat::Exact, |_| {});
    let string = options(Compat::Exact, |options| options.decimal = DecimalMode::String);
    let connect = options(Compat::Exact, |options| options.time_precision = Some(TimePrecision::Connect));
    let hex = options(Compat::Exact, |options| options.binary = BinaryMode::Hex);
    let small = Type::Int { bits: 16, unsigned: false };
    for (kind, native, options, expected) in [
        (text(), "text", &plain, "\"p\""),
        (Type::Numeric, "numeric", &plain, "null"),
        (Type::Numeric, "numeric", &string, "\"p\""),
        (Type::Unknown { oid: 604 }, "polygon", &plain, "\"cA==\""),
        (Type::Unknown { oid: 604 }, "polygon", &hex, "null"),
        (array_of(text()), "character(3)[]", &plain, "[\"p\"]"),
        (array_of(Type::Json), "jsonb[]", &plain, "[\"p\"]"),
        (array_of(text()), "inet[]", &plain, "null"),
        (array_of(text()), "citext[]", &plain, "null"),
        (array_of(Type::Enum { members: Vec::new() }), "mood[]", &plain, "null"),
        (array_of(int()), "integer[]", &plain, "[112]"),
        (array_of(small), "smallint[]", &plain, "null"),
        (array_of(Type::Date), "date[]", &plain, "[112]"),
        (array_of(Type::Date), "date[]", &connect, "null"),
        (array_of(Type::Bytes { fixed: None }), "bytea[]", &plain, "[\"cA==\"]"),
        (array_of(Type::Bytes { fixed: None }), "bytea[]", &hex, "null"),
    ] {
        let schema = Schema::new(1, "public", "t", vec![Column::new("c", kind, native)], Vec::new());
        let masks = Masks::default();
        let field = compile(&schema, 0..1, options, Converter::default(), Extra::Rules(&masks)).pop().expect("a field");
        let mut out = Vec::new();
        field.write(&mut out, &Value::Absent, &Moment { exact: true, placeholder: Some("p"), ..Moment::default() });
        assert_eq!(String::from_utf8(out).expect("text"), expected, "{native}");
    }
}

#[test]
fn money_is_rounded_to_the_digits_that_are_told() {
    let masks = Masks::default();
    for (digits, value, expected) in [(0, "1.50", "\"Ag==\""), (0, "-1.50", "\"/g==\""), (3, "1.50", "\"Bdw=\"")] {
        let exact = options(Compat::Exact, |options| options.money_fraction_digits = digits);
        let column = Column::new("m", Type::Money { scale: 2 }, "money");
        assert_eq!(shown(column, Value::Decimal(value), &exact, Extra::Rules(&masks)).1, expected, "{value}");
    }
}

#[test]
fn a_geometry_that_must_not_be_null_is_an_empty_one_under_a_schema_that_says_it_may() {
    let exact = options(Compat::Exact, |_| {});
    let masks = Masks::default();
    for (nullable, expected) in [(true, "null"), (false, r#"{"wkb":"AQcAAAAAAAAA","srid":null}"#)] {
        let column = Column { nullable, ..Column::new("g", Type::Geometry, "geometry") };
        let (field, got) = shown(column, Value::Null, &exact, Extra::Rules(&masks));
        assert_eq!((field.connect.schema.optional, got.as_str()), (true, expected));
    }
}

#[test]
fn a_key_column_that_a_filter_leaves_out_is_in_the_key_alone() {
    let exact = options(Compat::Exact, |_| {});
    let masks = Masks::default();
    let column =
        Column { nullable: false, excluded: true, default: Some("7".into()), ..Column::new("id", int(), "integer") };
    for (default, extra, optional, expected) in [
        (true, Extra::Key { snapshot: true }, false, "7"),
        (false, Extra::Key { snapshot: true }, false, "0"),
        (true, Extra::Key { snapshot: false }, true, "1"),
    ] {
        let column = Column { default: column.default.clone().filter(|_| default), ..column.clone() };
        let (field, got) = shown(column, Value::Int(1), &exact, extra);
        assert_eq!((field.connect.schema.optional, got.as_str()), (optional, expected), "{default} {extra:?}");
    }
    let schema = Schema::new(1, "public", "t", vec![column], Vec::new());
    assert!(compile(&schema, 0..1, &exact, Converter::default(), Extra::Rules(&masks)).is_empty());
}

#[test]
fn a_simple_header_shows_dates_as_text() {
    let connect = options(Compat::Exact, |options| options.time_precision = Some(TimePrecision::Connect));
    let date = |year, month, day| Value::Date(Date { year, month, day });
    let time = Type::Time { fraction: 3 };
    for (kind, native, value, expected) in [
        (Type::Date, "date", date(2020, 2, 29), "2020-02-29"),
        // What lies before the second day of 1970 is taken for a time.
        (Type::Date, "date", date(1960, 1, 1), "00:00:00.000Z"),
        (time, "time without time zone", Value::Time(45_296_700_000), "12:34:56.700Z"),
        (int(), "integer", Value::Int(5), "5"),
        (Type::Double, "double precision", Value::Double(f64::NAN), "NaN"),
        (text(), "text", Value::Text("a"), "\"a\""),
    ] {
        let (_, got) = shown(Column::new("c", kind, native), value, &connect, Extra::HeaderKey { simple: true });
        assert_eq!(got, expected, "{native}");
    }
}

#[test]
fn a_type_is_told_in_the_drivers_words() {
    let exact = options(Compat::Exact, |_| {});
    let decimal = Type::Decimal { precision: 4, scale: -1 };
    for (kind, native, snapshot, told) in [
        (text(), "character varying(9)", false, "VARCHAR 9 0"),
        (array_of(text()), "character varying(9)[]", false, "_VARCHAR 9 0"),
        (text(), "\"char\"", false, "CHAR 1 0"),
        (text(), "dv(8)", false, "DV 8 0"),
        (array_of(text()), "dv[]", false, "_DV 2147483647 0"),
        (array_of(decimal.clone()), "dar", false, "DAR 4 2047"),
        (Type::Numeric, "numeric", true, "NUMERIC 0"),
        (Type::Numeric, "dnn", true, "DNN 131089 0"),
        (Type::Interval, "interval day to second(2)", false, "INTERVAL 49 2"),
        (Type::Interval, "interval year", false, "INTERVAL 49 65535"),
        (Type::Interval, "interval", false, "INTERVAL 49 6"),
        (Type::Enum { members: Vec::new() }, "other.mood", true, "\"OTHER\".\"MOOD\" 2147483647 0"),
        (array_of(Type::Bool), "boolean[]", false, "_BOOL 1 0"),
    ] {
        let parameters = source_type(&Column::new("c", kind, native), &exact, snapshot);
        let values: Vec<&str> =
            parameters.iter().map(|(_, value)| value.as_str()).filter(|value| *value != "c").collect();
        assert_eq!(values.join(" "), told, "{native}");
    }
}

#[test]
fn rules_change_only_what_the_driver_counts_among_texts() {
    let rule = |action| vec![ColumnRule { columns: ".*".into(), action }];
    let truncate = options(Compat::Exact, |options| options.columns = rule(ColumnAction::Truncate(2)));
    let mask = options(Compat::Exact, |options| options.columns = rule(ColumnAction::Mask(2)));
    let value = Value::Text("abcd");
    for (kind, native, value, options, expected) in [
        (text(), "text", value, &mask, "\"**\""),
        (text(), "dv(8)", value, &mask, "\"**\""),
        (text(), "citext", value, &mask, "\"abcd\""),
        (text(), "xml", value, &mask, "\"abcd\""),
        (text(), "int4range", value, &mask, "\"abcd\""),
        (text(), "citext", value, &truncate, "\"ab\""),
        (text(), "character varying(2)", value, &truncate, "\"abcd\""),
        (Type::Uuid, "uuid", Value::Uuid([0; 16]), &truncate, "\"00\""),
        (Type::Decimal { precision: 9, scale: 2 }, "numeric(9,2)", Value::Decimal("1234.56"), &truncate, "\"AeJA\""),
        (Type::Bytes { fixed: None }, "bytea", Value::Bytes(&[1, 2, 3]), &truncate, "\"AQI=\""),
    ] {
        let masks = Masks::new(options).expect("rules");
        let (_, got) = shown(Column::new("c", kind, native), value, options, Extra::Rules(&masks));
        assert_eq!(got, expected, "{native} {:?}", options.columns[0].action);
    }
}
