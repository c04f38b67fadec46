//! Definitions against table maps of real servers.

use expect_test::{Expect, expect};

use super::super::super::decode::{Charsets, Decoder, Event, ServerFlavor, TableMap};
use super::super::{Catalog, Options, Server, Session, TableDef};

/// `cat_fix.m` of MySQL 9.7, as [`PLAIN`] makes it.
const MYSQL_M: &str = "e36b016b1301000000970000007e05000000000b01000000000100076361745f66697800016d000e03f60ffe0ffefefc11\
    0312101304130a022800fe050300f701f80102030004010604fe3b0101900308fcff00083ffcff000420026964016401760163016201650173\
    017402747301680166017702746d02666c0a010805050201780179060502016101620801000c02ffbca5b3824c";
/// `cat_fix.o` of MySQL 9.7, as [`MYSQL_TYPES`] makes it.
const MYSQL_O: &str = "e36b016b1301000000530000009a0c000000000e01000000000100076361745f66697800016f0005f5f2ffff0804040404\
    041f01018002013f070201030d0103040a016a01760170017101750c01f89cb6bae1";
/// `cat_fix.m` of MariaDB 10.11, as [`PLAIN`] makes it.
const MARIADB_M: &str = "e36b016b13020000008f0000004c05000000009e01000000000100076361745f66697800016d000e03f60ffe0ffefefc\
    110312101304130a022800fe050300f701f80102030004010604fe3b01019003042d083f2d0420026964016401760163016201650173017402\
    747301680166017702746d02666c0a01080505020178017906050201610162080100c37833f0";
/// `cat_fix.o` of MariaDB 10.11, as [`MARIADB_TYPES`] makes it.
const MARIADB_O: &str = "e36b016b13020000008d0000008b0b00000000a101000000000100076361745f66697800016f000b03fcfefefe8d8cfc\
    1111080d04fe10fe04fe100b0002020606fe0401014002073f002e040805080434026964016a01750169017802766302746302627509726f77\
    5f737461727407726f775f656e640d44425f524f575f484153485f3108020009cc825a0d";
/// `cat_fix.vv (v VECTOR(3), a INT)` of MariaDB 11.8.
const MARIADB_V: &str = "e36b016b13030000003f0000000000000000007e01000000000100076361745f6669780002767600020f03020c000301\
    010002013f04040176016197df6ccc";

const PLAIN: &str = "CREATE TABLE m (id INT UNSIGNED PRIMARY KEY, d DECIMAL(10,2), v VARCHAR(10) CHARACTER SET utf8mb4, \
    c CHAR(5), b VARBINARY(3), e ENUM('a','b'), s SET('x','y'), t TEXT CHARACTER SET utf8mb4, ts TIMESTAMP(3) NULL, \
    h INT INVISIBLE, f DATETIME NOT NULL DEFAULT '2020-01-01', w BIT(12), tm TIME(6), fl FLOAT UNSIGNED)";
const MYSQL_TYPES: &str = "CREATE TABLE o (j JSON, v VECTOR(3), p POINT, q POLYGON, u BIGINT UNSIGNED)";
const MARIADB_TYPES: &str = "CREATE TABLE o (id INT PRIMARY KEY, j JSON, u UUID, i INET4, x INET6, vc VARCHAR(10) COMPRESSED, \
    tc TEXT COMPRESSED, bu BLOB UNIQUE) WITH SYSTEM VERSIONING";

/// Runs `test` on the table map in `hex`.
fn with_map(hex: &str, mariadb: bool, test: impl FnOnce(&TableMap<'_>)) {
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let mut decoder = Decoder::new(if mariadb { ServerFlavor::MariaDb } else { ServerFlavor::MySql });
    match decoder.event(&bytes).unwrap() {
        (_, Event::TableMap(map)) => test(&map),
        (header, _) => panic!("not a table map: {header:?}"),
    }
}

fn define(mariadb: bool, statements: &[&str]) -> TableDef {
    let server = Server { mariadb, version: if mariadb { 101_119 } else { 90_700 } };
    let mut catalog = Catalog::new(Options { server, lower_case: false, charset: "utf8mb4".to_owned() });
    catalog.insert_database("cat_fix", "latin1");
    for statement in statements {
        catalog.apply(&Session::new("cat_fix"), statement).unwrap();
    }
    catalog.tables().next().unwrap().1.clone()
}

#[test]
fn a_definition_that_followed_the_log_agrees() {
    let cases = [
        (MYSQL_M, false, PLAIN),
        (MYSQL_O, false, MYSQL_TYPES),
        (MARIADB_M, true, PLAIN),
        (MARIADB_O, true, MARIADB_TYPES),
        (MARIADB_V, true, "CREATE TABLE vv (v VECTOR(3), a INT)"),
    ];
    for (hex, mariadb, sql) in cases {
        with_map(hex, mariadb, |map| {
            let def = define(mariadb, &[sql]);
            def.check(map).unwrap();
            let logged: Vec<u16> = map.metadata.primary_key.iter().flatten().map(|(place, _)| *place).collect();
            assert_eq!(def.key(), logged, "{sql}");
            let corrected = def.corrected(map, &Charsets::default()).unwrap();
            assert_eq!(corrected.to_schema(1), def.to_schema(1));
            TableDef::from_map(map, &Charsets::default()).unwrap().check(map).unwrap();
        });
    }
}

#[test]
fn every_difference_is_named() {
    let changes = [
        "ADD x INT",
        "DROP COLUMN d",
        "RENAME COLUMN d TO dd",
        "MODIFY id INT",
        "MODIFY d DECIMAL(10,3)",
        "MODIFY v VARCHAR(11) CHARACTER SET utf8mb4",
        "MODIFY v VARCHAR(40) CHARACTER SET latin1",
        "MODIFY c CHAR(5) CHARACTER SET latin2",
        "MODIFY c VARCHAR(5)",
        "MODIFY e ENUM('a')",
        "MODIFY s SET('1','2','3','4','5','6','7','8','9')",
        "MODIFY t MEDIUMTEXT CHARACTER SET utf8mb4",
        "MODIFY ts TIMESTAMP(2) NULL",
        "MODIFY f DATETIME",
        "MODIFY w BIT(13)",
        "MODIFY h BIGINT",
        "MODIFY h INT AFTER id",
    ];
    let mut seen = Vec::new();
    with_map(MYSQL_M, false, |map| {
        for change in changes {
            let def = define(false, &[PLAIN, &format!("ALTER TABLE m {change}")]);
            let mismatch = def.check(map).expect_err(change);
            let column = mismatch.column.unwrap_or_default();
            seen.push(format!("{change}: {column}: {} / {}", mismatch.seen, mismatch.expected));
        }
    });
    expect![[r#"
        ADD x INT: : 14 columns / 15 columns
        DROP COLUMN d: : 14 columns / 13 columns
        RENAME COLUMN d TO dd: dd: a column named d / a column named dd
        MODIFY id INT: id: an unsigned number / a signed number
        MODIFY d DECIMAL(10,3): d: decimal(10,2) / decimal(10,3)
        MODIFY v VARCHAR(11) CHARACTER SET utf8mb4: v: varchar or varbinary of 40 bytes / varchar(11)
        MODIFY v VARCHAR(40) CHARACTER SET latin1: v: character set utf8mb4 / character set latin1
        MODIFY c CHAR(5) CHARACTER SET latin2: c: character set latin1 / character set latin2
        MODIFY c VARCHAR(5): c: char or binary of 5 bytes / varchar(5)
        MODIFY e ENUM('a'): e: 2 members / 1 members
        MODIFY s SET('1','2','3','4','5','6','7','8','9'): s: set of 1 bytes / set('1','2','3','4','5','6','7','8','9')
        MODIFY t MEDIUMTEXT CHARACTER SET utf8mb4: t: text or blob with lengths of 2 bytes / mediumtext
        MODIFY ts TIMESTAMP(2) NULL: ts: timestamp(3) / timestamp(2)
        MODIFY f DATETIME: f: a column that is NOT NULL / a column that may be NULL
        MODIFY w BIT(13): w: bit(12) / bit(13)
        MODIFY h BIGINT: h: int / bigint
        MODIFY h INT AFTER id: h: a column named d / a column named h"#]]
    .assert_eq(&seen.join("\n"));
}

fn from_map(hex: &str, mariadb: bool, expected: Expect) {
    with_map(hex, mariadb, |map| {
        let def = TableDef::from_map(map, &Charsets::default()).unwrap();
        let schema = def.to_schema(1);
        let line = |column: &headwater_model::Column| {
            let null = if column.nullable { "" } else { " not null" };
            let hidden = if column.hidden { " hidden" } else { "" };
            format!("{} {}{null}{hidden}", column.name, column.native)
        };
        let mut lines: Vec<_> = schema.columns.iter().map(line).collect();
        lines.push(format!("key {:?}", schema.key));
        expected.assert_eq(&lines.join("\n"));
    });
}

#[test]
fn full_metadata_make_a_definition() {
    from_map(
        MYSQL_M,
        false,
        expect![[r#"
        id int unsigned not null
        d decimal(10,2)
        v varchar(10)
        c char(5)
        b varbinary(3)
        e enum('a','b')
        s set('x','y')
        t text
        ts timestamp(3)
        h int hidden
        f datetime not null
        w bit(12)
        tm time(6)
        fl float unsigned
        key [0]"#]],
    );
    from_map(
        MYSQL_O,
        false,
        expect![[r#"
        j json
        v vector(3)
        p point
        q polygon
        u bigint unsigned
        key []"#]],
    );
    from_map(
        MARIADB_M,
        true,
        expect![[r#"
        id int unsigned not null
        d decimal(10,2)
        v varchar(10)
        c char(5)
        b varbinary(3)
        e enum('a','b')
        s set('x','y')
        t text
        ts timestamp(3)
        h int
        f datetime not null
        w bit(12)
        tm time(6)
        fl float unsigned
        key [0]"#]],
    );
    from_map(
        MARIADB_O,
        true,
        expect![[r#"
        id int not null
        j longtext
        u binary(16)
        i binary(4)
        x binary(16)
        vc varchar(10) /*M!100301 COMPRESSED*/
        tc text /*M!100301 COMPRESSED*/
        bu blob
        row_start timestamp(6) not null hidden
        row_end timestamp(6) not null hidden
        DB_ROW_HASH_1 bigint unsigned hidden
        key [0, 9]"#]],
    );
}

#[test]
fn columns_that_fit_are_kept_when_others_do_not() {
    let def = define(true, &[MARIADB_TYPES, "ALTER TABLE o DROP j, ADD k INT DEFAULT 5 AFTER i, MODIFY vc BLOB"]);
    with_map(MARIADB_O, true, |map| {
        assert!(def.check(map).is_err());
        let corrected = def.corrected(map, &Charsets::default()).unwrap();
        corrected.check(map).unwrap();
        let names: Vec<_> = corrected.to_schema(1).columns.iter().map(|c| format!("{} {}", c.name, c.native)).collect();
        expect!["id int(11), j longtext, u uuid, i inet4, x inet6, vc varchar(10) /*M!100301 COMPRESSED*/, tc text /*M!100301 COMPRESSED*/, bu blob, row_start timestamp(6), row_end timestamp(6), DB_ROW_HASH_1 bigint(20) unsigned"].assert_eq(&names.join(", "));
    });
}
