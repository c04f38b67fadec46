//! What the values of PostgreSQL's columns look like where the original does what one would not expect.

use super::*;
use crate::debezium::options::{Compat, Connector};
use headwater_model::value::Date;
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
    field.write(&mut out, value, Moment { exact: options.is_exact(), snapshot, ..Moment::default() });
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

#[test]
fn arrays_that_the_original_cannot_read() {
    let right = options(Compat::Right, |_| {});
    let exact = options(Compat::Exact, |options| options.decimal = DecimalMode::String);
    let masks = Masks::default();
    let numbers = |values: &[Value<'_>]| {
        let mut writer = ArrayWriter::default();
        let dimension = [Dimension { length: values.len() as u32, lower_bound: 1 }];
        writer.begin(if values.is_empty() { &[] } else { &dimension });
        values.iter().for_each(|value| writer.put(*value));
        let mut encoded = Vec::new();
        writer.value().expect("an array").encode(&mut encoded);
        encoded
    };
    let nan = numbers(&[Value::Decimal("1"), Value::Decimal("NaN")]);
    let (some, none) = (numbers(&[Value::Int(1)]), numbers(&[]));
    for (kind, native, value, options, expected) in [
        (array_of(Type::Numeric), "numeric[]", &nan, &exact, "null"),
        (array_of(int()), "int2vector", &some, &exact, "[]"),
        (array_of(int()), "int2vector", &none, &exact, "null"),
        (array_of(int()), "int2vector", &some, &right, "[1]"),
        (array_of(int()), "integer[]", &none, &exact, "[]"),
    ] {
        let value = Value::decode(&mut value.as_slice()).expect("a value");
        let (_, got) = shown(Column::new("c", kind, native), value, options, Extra::Rules(&masks));
        assert_eq!(got, expected, "{native}");
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
        (text(), "text", Value::Text("a"), "\"a\""),
    ] {
        let (_, got) = shown(Column::new("c", kind, native), value, &connect, Extra::HeaderKey { simple: true });
        assert_eq!(got, expected, "{native}");
    }
}

#[test]
fn the_type_of_an_array_is_named_after_its_elements() {
    let exact = options(Compat::Exact, |_| {});
    for (kind, native, name) in [
        (text(), "character varying(9)", "VARCHAR"),
        (array_of(text()), "character varying(9)[]", "_VARCHAR"),
        (array_of(text()), "text[]", "_TEXT"),
        (array_of(Type::Bool), "boolean[]", "_BOOL"),
    ] {
        let parameters = crate::debezium::columns_native::source_type(&Column::new("c", kind, native), &exact);
        assert_eq!(parameters[0].1, name);
    }
}
