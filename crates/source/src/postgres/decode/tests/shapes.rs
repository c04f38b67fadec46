//! Shapes: columns and keys from the catalogue's answers and from relation messages.

use super::super::catalog::{column, index, pg_type, table, types_sql};
use super::super::{Keys, Message, Reader, Table, Types};
use super::{recorded_types, types};
use headwater_model::{Column, Type};

/// A table whose columns are given as name, type, `n` where it may be null; and its indexes as name, letters and columns:
/// p primary, r replica identity, d deferrable, c with a condition.
fn made(identity: &str, columns: &[(&str, &str)], indexes: &[(&str, &str, &str)]) -> Table {
    let comment = Some("what it holds");
    let mut made =
        table(&[Some("77"), Some("public"), Some("t"), Some("r"), Some("p"), Some(identity), Some("f"), comment])
            .unwrap();
    for (place, (name, nullable)) in columns.iter().enumerate() {
        let number = (place + 1).to_string();
        let not_null = if *nullable == "n" { "f" } else { "t" };
        let fields = ["77", number.as_str(), name, "23", "-1", not_null].map(Some);
        let fields = [&fields[..], &[Some("nextval('s'::regclass)"), Some(""), Some(""), None]].concat();
        made.columns.push(column(&fields).unwrap().1);
    }
    for (name, letters, columns) in indexes {
        let flag =
            |letter: char, yes: &'static str, no: &'static str| Some(if letters.contains(letter) { yes } else { no });
        let (keys, included) = columns.split_once('+').unwrap_or((columns, ""));
        let count = keys.split_whitespace().count().to_string();
        let all = format!("{keys} {included}");
        let (primary, replica) = (flag('p', "t", "f"), flag('r', "t", "f"));
        let (immediate, partial) = (flag('d', "f", "t"), flag('c', "t", "f"));
        let fields = [Some("77"), Some(*name), primary, replica, immediate, partial, Some(&count), Some(&all)];
        made.indexes.push(index(&fields).unwrap().1);
    }
    made
}

#[test]
fn rows_are_known_by_what_the_log_has_of_them_and_records_by_what_debezium_takes() {
    let columns = [("a", ""), ("b", ""), ("c", "n")];
    type Indexes = &'static [(&'static str, &'static str, &'static str)];
    type Case = (&'static str, &'static str, Indexes, &'static [u16], &'static [u16]);
    let cases: &[Case] = &[
        ("a primary key, in its own order", "d", &[("t_pkey", "p", "2 1")], &[1, 0], &[1, 0]),
        ("what a primary key includes is not part of it", "d", &[("t_pkey", "p", "1 + 2")], &[0], &[0]),
        ("no index", "d", &[], &[], &[]),
        ("a unique index, with what it includes in records", "f", &[("u", "", "1 + 2")], &[0], &[0, 1]),
        ("one over a column that may be null", "f", &[("u", "", "3")], &[], &[2]),
        ("one with a condition", "f", &[("u", "c", "1")], &[], &[0]),
        ("one that holds only at the commit", "f", &[("u", "d", "1")], &[], &[0]),
        ("one over an expression is passed over", "f", &[("u1", "", "0 1"), ("u2", "", "2")], &[1], &[1]),
        ("the first that serves", "f", &[("u1", "", "3"), ("u2", "", "2")], &[1], &[2]),
        ("an index beside a primary key", "i", &[("t_pkey", "p", "1"), ("u", "r", "2")], &[1], &[0]),
        ("an index in place of one", "i", &[("a", "", "1"), ("b", "r", "2")], &[1], &[0]),
    ];
    for (name, identity, indexes, row, record) in cases {
        let keys = made(identity, &columns, indexes).keys(&["a", "b", "c"]);
        assert_eq!(keys, Keys { row: row.to_vec(), record: record.to_vec() }, "{name}");
    }
}

#[test]
fn a_key_is_made_only_of_columns_that_the_rows_have() {
    let made = made("d", &[("a", ""), ("b", "")], &[("t_pkey", "p", "1 2")]);
    assert_eq!(made.keys(&["b", "a"]), Keys { row: vec![1, 0], record: vec![1, 0] });
    assert_eq!(made.keys(&["b"]), Keys { row: vec![], record: vec![0] });
}

#[test]
fn a_relation_has_its_own_types_and_what_the_catalogue_says_of_the_columns_that_are_still_there() {
    let mut message = b"R\0\0\0\x4dpublic\0t\0d\0\x02".to_vec();
    for (flags, name, oid, modifier) in [(1u8, "a", 20u32, -1i32), (0, "gone", 1700, 655_366)] {
        message.push(flags);
        message.extend_from_slice(name.as_bytes());
        message.push(0);
        message.extend_from_slice(&oid.to_be_bytes());
        message.extend_from_slice(&modifier.to_be_bytes());
    }
    let Ok(Message::Relation(relation)) = Reader::default().read(&message) else { panic!("a relation") };
    let made = made("d", &[("a", ""), ("b", "")], &[]);
    let columns = Table::relation_columns(&relation, Some(&made), &types());
    let default = Some("nextval('s'::regclass)".to_owned());
    let bigint = Type::Int { bits: 64, unsigned: false };
    let a = Column { nullable: false, default, ..Column::new("a", bigint, "bigint") };
    let gone = Column::new("gone", Type::Decimal { precision: 10, scale: 2 }, "numeric(10,2)");
    assert_eq!(columns, [a, gone]);
    assert_eq!(Table::relation_columns(&relation, None, &types())[0].default, None);
}

#[test]
fn a_table_of_the_catalogue_gives_its_columns_for_a_query() {
    let made = made("d", &[("a", ""), ("b", "n")], &[("t_pkey", "p", "1")]);
    let columns = made.columns(&types());
    assert_eq!((columns[0].native.as_str(), columns[0].nullable), ("integer", false));
    assert_eq!((columns[1].native.as_str(), columns[1].nullable), ("integer", true));
    let identity: Vec<bool> = made.planned_columns().map(|column| column.is_identity).collect();
    assert_eq!(identity, [true, false]);
    assert_eq!((made.full_name().as_str(), made.comment.as_deref()), ("public.t", Some("what it holds")));
}

#[test]
fn answers_of_another_form_are_refused_by_the_name_of_the_field() {
    let cases: &[(&str, String)] = &[
        ("tables", table(&[Some("x")]).unwrap_err().to_string()),
        ("columns", column(&[Some("1"), None]).unwrap_err().to_string()),
        ("indexes", index(&[Some("1"), Some("i"), Some("true")]).unwrap_err().to_string()),
        ("types", pg_type(&[]).unwrap_err().to_string()),
    ];
    for (what, error) in cases {
        assert!(error.starts_with(&format!("the catalogue's answer about {what} cannot be read at: ")), "{error}");
    }
}

#[test]
fn every_number_of_a_type_has_an_answer() {
    let mut types = Types::default();
    assert_eq!(types.missing([23, 99_999, 23]), [23, 99_999]);
    types.extend(recorded_types());
    assert_eq!(types.missing([23, 99_999, 23]), [99_999]);
    assert!(types_sql(&[99_999]).contains("WHERE oid IN (0,99999)"));
    assert_eq!((types.kind(99_999, -1), types.native(99_999, -1)), (Type::Unknown { oid: 99_999 }, "???".into()));
    // Domains and arrays that are made of themselves, which only a damaged catalogue holds.
    let mut looped = recorded_types().into_iter().find(|each| each.name == "posint").unwrap();
    looped.base = Some(looped.oid);
    let oid = looped.oid;
    types.extend([looped.clone()]);
    assert_eq!(types.kind(oid, -1), Type::Unknown { oid });
    (looped.base, looped.element) = (None, Some(oid));
    types.extend([looped]);
    types.kind(oid, -1);
    types.native(oid, -1);
}

#[test]
fn money_has_the_fraction_digits_of_its_locale() {
    for (one, scale) in [("$1.00", 2), ("1,000 د.ك", 3), ("￥1", 0), ("", 2)] {
        let mut types = types();
        types.learn_money(one);
        assert_eq!(types.kind(790, -1), Type::Money { scale }, "{one}");
    }
}

#[test]
fn types_of_extensions_that_are_not_on_the_recorded_server_are_known() {
    let mut types = types();
    let like = types.get(16).unwrap().clone();
    let named = |oid, name: &str| {
        let mut each = like.clone();
        (each.oid, each.name, each.namespace) = (oid, name.into(), "extensions".into());
        (each.extension, each.formatted) = (Some("vector".into()), format!("extensions.{name}"));
        each
    };
    types.extend([named(1, "vector"), named(2, "halfvec"), named(3, "sparsevec"), named(4, "new")]);
    for (oid, modifier, kind, native) in [
        (1, 3, Type::Vector, "vector(3)"),
        (2, -1, Type::Vector, "halfvec"),
        (3, 5, Type::Text { charset: "utf8mb4".into() }, "sparsevec(5)"),
        (4, 5, Type::Unknown { oid: 4 }, "new"),
    ] {
        assert_eq!((types.kind(oid, modifier), types.native(oid, modifier).as_str()), (kind, native));
    }
}

#[test]
fn a_domain_over_text_tells_its_length() {
    let mut types = types();
    let like = recorded_types().into_iter().find(|each| each.name == "posint").unwrap();
    let domain = |oid: u32, name: &str, base: u32, modifier: i32| {
        let (name, formatted) = (name.to_owned(), name.to_owned());
        super::super::PgType { oid, name, formatted, base: Some(base), base_modifier: modifier, ..like.clone() }
    };
    let mut array = domain(90_004, "_dv", 0, -1);
    (array.base, array.element) = (None, Some(90_001));
    types.extend([
        domain(90_001, "dv", 1043, 12),
        domain(90_002, "dd", 90_001, -1),
        domain(90_003, "dn", 1700, 262_150),
        array,
    ]);
    for (oid, native) in [(90_001, "dv(8)"), (90_002, "dd(8)"), (90_003, "dn"), (90_004, "dv[]")] {
        assert_eq!(types.native(oid, -1), native);
    }
}
