//! Sequences of statements, and the tables they leave.

use std::fmt::Write;

use expect_test::{Expect, expect};

use super::{Catalog, Options, Server, Session, TableDef, sql_mode};

pub(super) const MYSQL: Server = Server { mariadb: false, version: 90_700 };
pub(super) const MARIADB: Server = Server { mariadb: true, version: 101_119 };

pub(super) fn catalog(server: Server) -> Catalog {
    let mut catalog = Catalog::new(Options { server, lower_case: false, charset: "utf8mb4".to_owned() });
    catalog.insert_database("d", "latin1");
    catalog
}

pub(super) fn session(mode: u64) -> Session<'static> {
    Session { sql_mode: mode, ..Session::new("d") }
}

/// One line a table: its columns as `name type charset attributes`, then its key.
fn print(def: &TableDef) -> String {
    let mut out = format!("{}.{}:", def.database, def.table);
    let layout = def.layout();
    for column in &layout {
        write!(out, "\n  {} {}", column.name, column.native_text()).unwrap();
        if let Some(charset) = column.charset.as_deref().filter(|charset| *charset != def.charset) {
            write!(out, " {charset}").unwrap();
        }
        out.push_str(if column.nullable { "" } else { " not null" });
        if let Some(default) = &column.default {
            write!(out, " default {default}").unwrap();
        }
        out.push_str(if column.hidden { " hidden" } else { "" });
    }
    let key: Vec<_> = def.key().into_iter().map(|place| layout[usize::from(place)].name.clone()).collect();
    if !key.is_empty() {
        write!(out, "\n  key {}", key.join(", ")).unwrap();
    }
    out
}

pub(super) fn tables(catalog: &Catalog) -> String {
    catalog.tables().map(|(_, def)| print(def)).collect::<Vec<_>>().join("\n")
}

/// The tables that the statements leave.
fn check(server: Server, statements: &[&str], expected: Expect) {
    check_in(server, &session(0), statements, expected);
}

pub(super) fn check_in(server: Server, session: &Session<'_>, statements: &[&str], expected: Expect) {
    let mut catalog = catalog(server);
    for statement in statements {
        catalog.apply(session, statement).unwrap();
    }
    expected.assert_eq(&tables(&catalog));
}

#[test]
fn every_number_has_the_servers_own_type() {
    let statement = "CREATE TABLE n (a BOOL, b TINYINT(1), c TINYINT(1) UNSIGNED, d INT(5), e INT(5) ZEROFILL, f INTEGER UNSIGNED, \
        g INT8 SIGNED, h MIDDLEINT, i SERIAL, j FLOAT, k FLOAT(24), l FLOAT(25), m FLOAT(7,3) UNSIGNED, n DOUBLE PRECISION, \
        o REAL(8,2), p DEC, q NUMERIC(5), r FIXED(6,2) ZEROFILL, s BIT, t BIT(64), u YEAR, v YEAR(4))";
    check(
        MYSQL,
        &[statement],
        expect![[r#"
        d.n:
          a tinyint(1)
          b tinyint(1)
          c tinyint unsigned
          d int
          e int(5) unsigned zerofill
          f int unsigned
          g bigint
          h mediumint
          i bigint unsigned not null
          j float
          k float
          l double
          m float(7,3) unsigned
          n double
          o double(8,2)
          p decimal(10,0)
          q decimal(5,0)
          r decimal(6,2) unsigned zerofill
          s bit(1)
          t bit(64)
          u year
          v year
          key i"#]],
    );
    check(
        MARIADB,
        &[statement],
        expect![[r#"
        d.n:
          a tinyint(1)
          b tinyint(1)
          c tinyint(1) unsigned
          d int(5)
          e int(5) unsigned zerofill
          f int(10) unsigned
          g bigint(20)
          h mediumint(9)
          i bigint(20) unsigned not null
          j float
          k float
          l double
          m float(7,3) unsigned
          n double
          o double(8,2)
          p decimal(10,0)
          q decimal(5,0)
          r decimal(6,2) unsigned zerofill
          s bit(1)
          t bit(64)
          u year(4)
          v year(4)
          key i"#]],
    );
    check_in(
        MYSQL,
        &session(sql_mode::REAL_AS_FLOAT),
        &["CREATE TABLE r (a REAL)"],
        expect![[r#"
        d.r:
          a float"#]],
    );
}

#[test]
fn every_text_has_its_character_set() {
    let statement = "CREATE TABLE s (a CHAR, b CHARACTER(3) BINARY, c VARCHAR(4) ASCII, d CHAR(5) UNICODE, e CHAR(6) BYTE, \
        f NATIONAL CHARACTER VARYING(7), g NCHAR VARCHAR(8), h NVARCHAR(9), i NATIONAL CHAR(2), j BINARY, k VARBINARY(3), \
        l TEXT, m TEXT(60), n TEXT(100), o BLOB(300), p LONG, q LONG VARBINARY, r LONGTEXT CHARACTER SET latin1, \
        s VARCHAR(5) CHARACTER SET binary, t TINYTEXT COLLATE utf8mb3_bin, u ENUM('a','it''s','b\\\\c ') COLLATE latin1_bin, \
        v SET('x','y'), w CHAR VARYING(3) CHARSET 'gbk', x TEXT BYTE, y MEDIUMBLOB, z JSON) DEFAULT CHARSET=utf8mb4";
    check(
        MYSQL,
        &[statement],
        expect![[r#"
        d.s:
          a char(1)
          b char(3)
          c varchar(4) latin1
          d char(5) ucs2
          e binary(6) binary
          f varchar(7) utf8mb3
          g varchar(8) utf8mb3
          h varchar(9) utf8mb3
          i char(2) utf8mb3
          j binary(1) binary
          k varbinary(3) binary
          l text
          m tinytext
          n text
          o blob binary
          p mediumtext
          q mediumblob binary
          r longtext latin1
          s varbinary(5) binary
          t tinytext utf8mb3
          u enum('a','it''s','b\\c') latin1
          v set('x','y')
          w varchar(3) gbk
          x blob binary
          y mediumblob binary
          z json"#]],
    );
}

#[test]
fn the_rest_of_the_types() {
    check(
        MYSQL,
        &[
            "CREATE TABLE r (a DATE, b TIME, c TIME(3), d DATETIME(6), e TIMESTAMP(1), f JSON, g VECTOR(3), h POINT NOT NULL SRID 4326, \
          i GEOMETRYCOLLECTION, j GEOMETRY, k VECTOR)",
        ],
        expect![[r#"
            d.r:
              a date
              b time
              c time(3)
              d datetime(6)
              e timestamp(1)
              f json
              g vector(3)
              h point not null
              i geomcollection
              j geometry
              k vector(2048)"#]],
    );
    check(
        MARIADB,
        &[
            "CREATE TABLE r (a UUID, b INET4, c INET6, d JSON, e LONGTEXT CHECK (json_valid(`e`)), f LONGTEXT CHECK (json_valid(`e`) or 1), \
          g GEOMETRYCOLLECTION, h TEXT COMPRESSED, i VARCHAR(9) COMPRESSED=zlib DEFAULT 'x', j TEXT CHECK (json_valid(`j`)))",
        ],
        expect![[r#"
            d.r:
              a uuid
              b inet4
              c inet6
              d longtext utf8mb4
              e longtext
              f longtext
              g geometrycollection
              h text /*M!100301 COMPRESSED*/
              i varchar(9) /*M!100301 COMPRESSED*/ default 'x'
              j text"#]],
    );
    check_in(
        MARIADB,
        &session(sql_mode::ORACLE),
        &[
            "CREATE TABLE o (a DATE, b mariadb_schema.date, c VARCHAR2(5), d NUMBER, e NUMBER(5,1), f RAW(3), g BLOB, h CLOB)",
        ],
        expect![[r#"
            d.o:
              a datetime
              b date
              c varchar(5)
              d double
              e decimal(5,1)
              f varbinary(3) binary
              g longblob binary
              h longtext"#]],
    );
}

#[test]
fn defaults_have_one_spelling() {
    let statement = "CREATE TABLE f (a INT DEFAULT '5', b INT DEFAULT -5, c DECIMAL(10,3) DEFAULT 3, d DECIMAL(4,1) DEFAULT '-.5', \
        e VARCHAR(9) DEFAULT 5, f VARCHAR(9) DEFAULT _utf8mb4'it\\'s', g INT DEFAULT NULL, h BIT(3) DEFAULT b'101', \
        i TIMESTAMP NOT NULL DEFAULT NOW() ON UPDATE CURRENT_TIMESTAMP, j DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3), \
        k INT DEFAULT (1 + f(2, 3)) NOT NULL, l VARBINARY(2) DEFAULT 0x0102, m DATE DEFAULT DATE '2020-01-01', n BOOL DEFAULT TRUE, \
        o INT DEFAULT 1 COMMENT 'x, y) NOT NULL', p VARCHAR(3) DEFAULT \"NULL\", q DOUBLE DEFAULT 1e10, r YEAR DEFAULT '2020')";
    check(
        MYSQL,
        &[statement],
        expect![[r#"
        d.f:
          a int default 5
          b int default -5
          c decimal(10,3) default 3.000
          d decimal(4,1) default -0.5
          e varchar(9) default '5'
          f varchar(9) default 'it''s'
          g int
          h bit(3) default b'101'
          i timestamp not null default CURRENT_TIMESTAMP
          j datetime(3) default CURRENT_TIMESTAMP(3)
          k int not null default (1 + f(2, 3))
          l varbinary(2) binary default 0x0102
          m date default '2020-01-01'
          n tinyint(1) default 1
          o int default 1
          p varchar(3) default 'NULL'
          q double default 1e10
          r year default 2020"#]],
    );
    check(
        MARIADB,
        &[
            "CREATE TABLE f (a INT DEFAULT NEXT VALUE FOR d.s, b INT DEFAULT (a + 1), c UUID DEFAULT uuid() NOT NULL, d DATETIME DEFAULT now(6), \
          e INT DEFAULT 1 + 2 * -3 UNIQUE)",
        ],
        expect![[r#"
            d.f:
              a int(11) default NEXT VALUE FOR d.s
              b int(11) default (a + 1)
              c uuid not null default uuid()
              d datetime default current_timestamp(6)
              e int(11) default 1 + 2 * -3"#]],
    );
    check(
        MYSQL,
        &[
            "CREATE TABLE f (a INT DEFAULT 1, b VARCHAR(5))",
            "ALTER TABLE f ALTER a SET DEFAULT '7', ALTER COLUMN b SET DEFAULT 'x'",
            "ALTER TABLE f ALTER a DROP DEFAULT",
        ],
        expect![[r#"
            d.f:
              a int
              b varchar(5) default 'x'"#]],
    );
}

#[test]
fn attributes_that_change_nothing_are_stepped_over() {
    check(
        MYSQL,
        &[
            "CREATE TABLE IF NOT EXISTS `e`.`x y` (id INT NOT NULL AUTO_INCREMENT COMMENT 'a, b' COLUMN_FORMAT DYNAMIC STORAGE DISK, \
            p INT REFERENCES q (id) ON DELETE SET NULL ON UPDATE SET DEFAULT, g INT GENERATED ALWAYS AS (p + 1) VIRTUAL NOT NULL, \
            s INT AS (concat('a,)', p)) STORED UNIQUE KEY, c INT CONSTRAINT pos CHECK (c > 0) NOT ENFORCED, \
            i INT /*!80023 INVISIBLE */, e INT ENGINE_ATTRIBUTE='{}' FUTURE (1, 2) ATTRIBUTE, \
            PRIMARY KEY (id DESC) USING BTREE, CONSTRAINT f FOREIGN KEY (p) REFERENCES q (id) ON DELETE CASCADE, CHECK (p < 5), \
            KEY k ((p + 1), c), FULLTEXT KEY t (c)) ENGINE = InnoDB, COMMENT='x CHARSET=gbk' ROW_FORMAT=DYNAMIC \
            PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10) COMMENT = 'SELECT', PARTITION p1 VALUES LESS THAN MAXVALUE);",
        ],
        expect![[r#"
            e.x y:
              id int not null
              p int
              g int not null
              s int
              c int
              i int hidden
              e int
              key id"#]],
    );
}

#[test]
fn the_key_is_the_one_that_the_server_picks() {
    let statements = [
        "CREATE TABLE a (x INT, y INT NOT NULL, PRIMARY KEY (y, x))",
        "CREATE TABLE b (x INT UNIQUE, y INT NOT NULL UNIQUE, z INT NOT NULL UNIQUE)",
        "CREATE TABLE c (x VARCHAR(9) NOT NULL, y VARCHAR(9) NOT NULL, UNIQUE (x(3)), UNIQUE (y(9)))",
        "CREATE TABLE d (x INT NOT NULL, y INT, UNIQUE (x, y), KEY (x))",
        "CREATE TABLE e (x INT, y INT NOT NULL)",
        "CREATE UNIQUE INDEX i USING BTREE ON e (y)",
        "CREATE TABLE f LIKE b",
        "ALTER TABLE f DROP INDEX y, MODIFY x INT NOT NULL, ADD w INT PRIMARY KEY FIRST",
        "ALTER TABLE f DROP PRIMARY KEY",
        "CREATE TABLE g (x INT NOT NULL, UNIQUE ((x + 1)), UNIQUE u (x) /*!80000 INVISIBLE */)",
        "CREATE TABLE h (x INT NOT NULL, UNIQUE (x))",
        "DROP INDEX x ON h",
    ];
    check(
        MYSQL,
        &statements,
        expect![[r#"
        d.a:
          x int not null
          y int not null
          key y, x
        d.b:
          x int
          y int not null
          z int not null
          key y
        d.c:
          x varchar(9) not null
          y varchar(9) not null
          key y
        d.d:
          x int not null
          y int
        d.e:
          x int
          y int not null
          key y
        d.f:
          w int not null
          x int not null
          y int not null
          z int not null
          key x
        d.g:
          x int not null
          key x
        d.h:
          x int not null"#]],
    );
}

#[test]
fn columns_are_added_moved_changed_and_dropped() {
    let statements = [
        "CREATE TABLE t (a INT, b INT, c INT)",
        "ALTER TABLE t ADD d INT AFTER a, MODIFY a INT AFTER c, CHANGE b bb BIGINT NOT NULL",
        "ALTER TABLE t ADD COLUMN (e TEXT, f INT NOT NULL, UNIQUE KEY (f)), ADD z INT FIRST, ADD y INT AFTER z, DROP COLUMN c",
        "ALTER TABLE t RENAME COLUMN a TO d, RENAME COLUMN d TO a, ADD KEY (e(5)), ALGORITHM=INPLACE, LOCK=NONE",
        "ALTER TABLE t DROP f, ADD f VARCHAR(5) CHARACTER SET gbk UNIQUE AFTER z, ALTER y SET INVISIBLE",
        "ALTER TABLE t ORDER BY a, bb DESC",
        "ALTER TABLE t ENGINE=InnoDB COMMENT='x, ADD q INT' DEFAULT CHARSET=utf8mb4, ADD g CHAR(3)",
    ];
    check(
        MYSQL,
        &statements,
        expect![[r#"
        d.t:
          z int
          f varchar(5) gbk
          y int hidden
          a int
          bb bigint not null
          d int
          e text latin1
          g char(3)"#]],
    );
}

#[test]
fn keys_follow_their_columns() {
    let statements = [
        "CREATE TABLE t (a INT, b INT, c INT NOT NULL, PRIMARY KEY (a, b), UNIQUE u (c))",
        "ALTER TABLE t CHANGE a aa BIGINT, MODIFY b INT FIRST",
        "ALTER TABLE t DROP COLUMN aa",
        "ALTER TABLE t DROP PRIMARY KEY, RENAME INDEX u TO v",
        "ALTER TABLE t ADD CONSTRAINT w UNIQUE (b), DROP CONSTRAINT v",
    ];
    check(
        MYSQL,
        &statements[..2],
        expect![[r#"
        d.t:
          b int not null
          aa bigint not null
          c int not null
          key aa, b"#]],
    );
    check(
        MYSQL,
        &statements[..3],
        expect![[r#"
        d.t:
          b int not null
          c int not null
          key b"#]],
    );
    check(
        MYSQL,
        &statements,
        expect![[r#"
        d.t:
          b int not null
          c int not null
          key b"#]],
    );
}

#[test]
fn character_sets_come_from_column_table_or_database() {
    let statements = [
        "CREATE TABLE t (a CHAR(1), b CHAR(1) CHARACTER SET gbk, c TEXT, d BLOB, e TINYTEXT CHARACTER SET utf8mb3, f ENUM('x'))",
        "ALTER TABLE t CHARACTER SET = utf8, ADD g CHAR(1)",
        "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "ALTER TABLE t CONVERT TO CHARACTER SET latin1",
        "ALTER DATABASE CHARACTER SET sjis",
        "CREATE TABLE u (a CHAR(1))",
        "CREATE DATABASE e DEFAULT CHARACTER SET = utf16",
        "CREATE TABLE e.u (a CHAR(1))",
        "CREATE TABLE e.v (a CHAR(1)) COLLATE=ucs2_bin",
        "CREATE DATABASE f",
        "CREATE TABLE f.u (a CHAR(1))",
        "ALTER DATABASE f COLLATE greek_bin",
        "CREATE TABLE f.v (a CHAR(1) COLLATE uca1400_ai_ci)",
    ];
    check(
        MYSQL,
        &statements[..3],
        expect![[r#"
        d.t:
          a char(1)
          b char(1)
          c mediumtext
          d blob binary
          e text
          f enum('x')
          g char(1)"#]],
    );
    let mut catalog = catalog(MYSQL);
    for statement in statements {
        catalog.apply(&session(0), statement).unwrap();
    }
    let charsets: Vec<_> = catalog.tables().map(|(name, def)| format!("{name} {}", def.charset)).collect();
    expect![[r#"
        d.t latin1
        d.u sjis
        e.u utf16
        e.v ucs2
        f.u utf8mb4
        f.v greek"#]]
    .assert_eq(&charsets.join("\n"));
}

#[test]
fn mariadb_adds_columns_of_its_own() {
    let statements = [
        "CREATE TABLE a (id INT PRIMARY KEY, b BLOB UNIQUE) WITH SYSTEM VERSIONING",
        "ALTER TABLE a ADD c TEXT UNIQUE",
        "CREATE TABLE b (id INT PRIMARY KEY, s TIMESTAMP(6) GENERATED ALWAYS AS ROW START, e TIMESTAMP(6) AS ROW END INVISIBLE, \
            PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING",
        "CREATE TABLE c (x INT NOT NULL UNIQUE, y INT WITH SYSTEM VERSIONING)",
        "ALTER TABLE c ADD z INT",
        "CREATE TABLE e LIKE c",
        "ALTER TABLE e DROP SYSTEM VERSIONING",
        "CREATE TABLE f (room INT, f DATE, t DATE, PERIOD FOR stay (f, t), PRIMARY KEY (room, stay WITHOUT OVERLAPS))",
        "CREATE TABLE g (a VARCHAR(1000) NOT NULL, UNIQUE (a)) CHARSET utf8mb4",
        "CREATE SEQUENCE h START WITH 5",
    ];
    check(
        MARIADB,
        &statements,
        expect![[r#"
        d.a:
          id int(11) not null
          b blob binary
          c text
          row_start timestamp(6) not null hidden
          row_end timestamp(6) not null hidden
          DB_ROW_HASH_1 bigint(20) unsigned hidden
          DB_ROW_HASH_2 bigint(20) unsigned hidden
          key id, row_end
        d.b:
          id int(11) not null
          s timestamp(6) not null
          e timestamp(6) not null hidden
          key id, e
        d.c:
          x int(11) not null
          y int(11)
          z int(11)
          row_start timestamp(6) not null hidden
          row_end timestamp(6) not null hidden
          key x, row_end
        d.e:
          x int(11) not null
          y int(11)
          z int(11)
          key x
        d.f:
          room int(11) not null
          f date not null
          t date not null
          key room, t, f
        d.g:
          a varchar(1000) not null
          DB_ROW_HASH_1 bigint(20) unsigned hidden
        d.h:
          next_not_cached_value bigint(21) not null
          minimum_value bigint(21) not null
          maximum_value bigint(21) not null
          start_value bigint(21) not null
          increment bigint(21) not null
          cache_size bigint(21) unsigned not null
          cycle_option tinyint(1) unsigned not null
          cycle_count bigint(21) not null"#]],
    );
}

#[test]
fn readers_see_names_that_the_server_does_not_keep() {
    let shown = |server, statements: &[&str]| {
        let mut catalog = catalog(server);
        statements.iter().for_each(|statement| drop(catalog.apply(&session(0), statement).unwrap()));
        let schema = catalog.table("d", "t").unwrap().to_schema(1);
        let column = |column: &headwater_model::Column| {
            let comment = column.comment.as_ref().map(|comment| format!(" [{comment}]")).unwrap_or_default();
            format!(
                "{} {}{}{comment}",
                column.name,
                column.native,
                if column.nullable || column.unsaid_not_null { "?" } else { "" }
            )
        };
        schema.columns.iter().map(column).collect::<Vec<_>>().join(", ")
    };
    let spelled = "CREATE TABLE t (a BOOL, b BOOLEAN NOT NULL, c REAL, d FLOAT4, e JSON, f TINYINT(1))";
    let changed = "ALTER TABLE t MODIFY a TINYINT(1), CHANGE f g BOOLEAN, RENAME COLUMN b TO bb";
    let times = "CREATE TABLE t (id INT PRIMARY KEY, s TIMESTAMP(6) GENERATED ALWAYS AS ROW START, e TIMESTAMP(6) GENERATED \
                 ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING";
    let noted = r#"CREATE TABLE t (a INT COMMENT 'it''s \\ "x"' NOT NULL, b INT COMMENT '', c INT COMMENT = "y")"#;
    let keyed = "CREATE TABLE t (a INT, b INT AUTO_INCREMENT UNIQUE, c INT, d INT PRIMARY KEY, e SERIAL)";
    let (again, added) = ("ALTER TABLE t MODIFY d BIGINT", "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (d, c)");
    for (server, statements, expected) in [
        (MYSQL, &[keyed][..], "a int?, b int?, c int?, d int, e bigint unsigned"),
        (MYSQL, &[keyed, again], "a int?, b int?, c int?, d bigint?, e bigint unsigned"),
        (MYSQL, &[keyed, again, added], "a int?, b int?, c int, d bigint, e bigint unsigned"),
        (MYSQL, &[noted], r#"a int [it''s \\ "x"], b int?, c int? [y]"#),
        (MYSQL, &[spelled][..], "a bool?, b boolean, c real?, d float4?, e json?, f tinyint(1)?"),
        (MARIADB, &[spelled], "a bool?, b boolean, c real?, d float4?, e json?, f tinyint(1)?"),
        (MYSQL, &[spelled, changed], "a tinyint(1)?, bb boolean, c real?, d float4?, e json?, g boolean?"),
        (MARIADB, &[times], "id int(11), s timestamp(6)?, e timestamp(6)?"),
    ] {
        assert_eq!(shown(server, statements), expected, "{statements:?}");
    }
}
