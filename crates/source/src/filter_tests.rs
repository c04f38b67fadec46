//! Tables of what patterns fit.

use super::*;

const SYSTEM: &[&str] = &["mysql", "sys"];

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn filter(tables: &[&str], exclude_tables: &[&str]) -> Result<Filter, BadPattern> {
    let (tables, exclude_tables) = (texts(tables), texts(exclude_tables));
    Filter::new(Choice { tables: &tables, exclude_tables: &exclude_tables, ..Choice::default() }, SYSTEM)
}

#[test]
fn globs_match_as_a_shell_would() {
    for (pattern, name, fits) in [
        ("*", "", true),
        ("*", "orders", true),
        ("or*", "orders", true),
        ("*rs", "orders", true),
        ("*r*r*", "orders", true),
        ("*r*r*r", "orders", false),
        ("o?ders", "orders", true),
        ("o?ders", "oders", false),
        ("orders", "Orders", false),
        ("größe*", "größen", true),
        ("", "a", false),
        ("a", "", false),
        ("a*b", "a", false),
    ] {
        assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
    }
}

#[test]
fn tables_are_included_then_excluded() {
    let chosen = filter(&["shop.*", "`a.b`.c"], &["shop.tmp_*"]).unwrap();
    for (database, table, captured) in
        [("shop", "orders", true), ("shop", "tmp_1", false), ("a.b", "c", true), ("other", "orders", false)]
    {
        assert_eq!(chosen.captures(database, table), captured, "{database}.{table}");
    }
    assert!(chosen.touches("shop") && !chosen.touches("other"));
    assert_eq!(chosen.wanted().collect::<Vec<_>>(), [["shop", "*"], ["a.b", "c"]]);
    let all = filter(&[], &[]).unwrap();
    assert!(all.captures("x", "y") && !all.captures("mysql", "user") && !all.touches("sys"));
    assert_eq!((all.scope().as_str(), all.wanted().collect::<Vec<_>>()), ("*", vec![["*", "*"]]));
}

#[test]
fn a_table_has_the_place_of_the_first_pattern_that_fits() {
    let chosen = filter(&["/shop\\.z.*/", "shop.*", "shop.zebra"], &[]).unwrap();
    for (table, place) in [("zebra", 0), ("orders", 1), ("Zoo", 0)] {
        assert_eq!(chosen.place("shop", table), place, "{table}");
    }
    assert_eq!(filter(&[], &[]).unwrap().place("shop", "orders"), 0);
}

#[test]
fn a_regular_expression_fits_the_whole_name_in_any_case() {
    let chosen = filter(&[r"/shop\.(orders|items)/", r"/(.*)\.audit_.*/"], &[r"/.*\.audit_old/"]).unwrap();
    for (database, table, captured) in [
        ("shop", "orders", true),
        ("Shop", "ORDERS", true),
        ("shop", "orders2", false),
        ("eshop", "orders", false),
        ("other", "audit_new", true),
        ("other", "audit_old", false),
    ] {
        assert_eq!(chosen.captures(database, table), captured, "{database}.{table}");
    }
    assert!(chosen.touches("anything"));
}

#[test]
fn a_regular_expression_means_what_it_means_to_java() {
    for (pattern, table, captured) in [
        (r"/shop\.(?!tmp).*/", "orders", true),
        (r"/shop\.(?!tmp).*/", "tmp_1", false),
        (r"/shop\.(?!tmp).*/", "TMP_1", false),
        (r"/shop\.\d+/", "12", true),
        (r"/shop\.\d+/", "١٢", false),
        (r"/shop\.\w+/", "größe", false),
        (r"/\Qshop.a+b\E/", "a+b", true),
        (r"/shop\.a++/", "aaa", true),
        (r"/shop\.(a|b)_\1/", "b_b", true),
        (r"/shop\.(a|b)_\1/", "a_b", false),
    ] {
        assert_eq!(filter(&[pattern], &[]).unwrap().captures("shop", table), captured, "{pattern} {table}");
    }
    // Part of a journal's state: it must not change.
    assert_eq!(filter(&[r"/shop\.(?!tmp).*/"], &[]).unwrap().choice(), r"table ^(?:shop\.(?!tmp).*)$");
}

#[test]
fn databases_narrow_the_tables_that_are_named() {
    let (databases, exclude, tables) = (texts(&["shop", "/x_.*/"]), texts(&["x_old"]), texts(&["/.*orders/"]));
    let choice = Choice { databases: &databases, exclude_databases: &exclude, ..Choice::default() };
    let all = Filter::new(choice, SYSTEM).unwrap();
    let some = Filter::new(Choice { tables: &tables, ..choice }, SYSTEM).unwrap();
    for (database, table, in_all, in_some) in [
        ("shop", "orders", true, true),
        ("shop", "items", true, false),
        ("x_1", "orders", true, true),
        ("x_old", "orders", false, false),
        ("other", "orders", false, false),
    ] {
        assert_eq!(all.captures(database, table), in_all, "{database}.{table}");
        assert_eq!(some.captures(database, table), in_some, "{database}.{table}");
    }
    assert!(all.touches("x_1") && !all.touches("other"));
    assert_eq!(some.wanted().collect::<Vec<_>>(), [["shop", "*"], ["*", "*"]]);
    assert_ne!(all.scope(), filter(&[], &[]).unwrap().scope());
}

#[test]
fn tables_rank_by_the_first_pattern_that_fits() {
    let chosen = filter(&["shop.orders", "/shop\\..*/", "shop.items"], &[]).unwrap();
    let all = filter(&[], &[]).unwrap();
    for (table, rank) in [("orders", 0), ("items", 1), ("others", 1)] {
        assert_eq!((chosen.place("shop", table), all.place("shop", table)), (rank, 0), "{table}");
    }
}

#[test]
fn names_of_one_part_are_taken_as_they_are() {
    let (include, exclude) = (texts(&["tx", "a.b*", "/oth.*/"]), texts(&["other-?", "a.b.c"]));
    let some = Names::new(("in", &include), ("out", &exclude)).unwrap();
    let all = Names::new(("in", &[]), ("out", &exclude)).unwrap();
    for (name, in_some, in_all) in [
        ("tx", true, true),
        ("tx2", false, true),
        ("a.bcd", true, true),
        ("a.b.c", false, false),
        ("OTHER", true, true),
        ("another", false, true),
        ("other-1", false, false),
        ("", false, true),
    ] {
        assert_eq!((some.takes(name), all.takes(name)), (in_some, in_all), "{name:?}");
    }
    let error = Names::new(("in", &[]), ("out", &texts(&["/(/"]))).unwrap_err().to_string();
    assert!(error.starts_with("out: "), "{error}");
}

#[test]
fn columns_are_narrowed_only_where_named() {
    let (columns, exclude) = (texts(&["shop.users.id", "shop.users.name"]), texts(&["*.*.password", r"/.*\.ssn/"]));
    let choice = Choice { columns: &columns, exclude_columns: &exclude, ..Choice::default() };
    let chosen = Filter::new(choice, SYSTEM).unwrap();
    for (table, column, excluded) in [
        ("users", "id", false),
        ("users", "mail", true),
        ("orders", "mail", false),
        ("orders", "password", true),
        ("orders", "SSN", true),
    ] {
        assert_eq!(chosen.excludes_column("shop", table, column), excluded, "{table}.{column}");
    }
}

#[test]
fn a_bad_pattern_is_named() {
    for (bad, expected) in [
        ("", "database.table"),
        ("orders", "database.table"),
        ("a.b.c", "database.table"),
        ("a.", "database.table"),
        (".b", "database.table"),
        ("`a.b", "database.table"),
        ("/(/", "unclosed group"),
        ("/\\Gy/", "has no meaning for names"),
        ("/a{1000}{1000}{1000}/", "size limit"),
    ] {
        let error = filter(&[bad], &[]).unwrap_err().to_string();
        assert!(error.contains(expected) && error.starts_with("tables: "), "{error}");
    }
}
