//! The MySQL source's catalog against the servers themselves: scripts of DDL are run on a server and followed by a
//! catalog, and then both must name the same columns.
//!
//! Invariant: what is expected is always the server's own answer, never a text written down here. Start at [`SCRIPTS`].

use crate::records::{Capture, Record, on_every_server};
use std::collections::BTreeMap;

use headwater_source::mysql::catalog::{Catalog, Options, Server, Session, TableDef};
use headwater_testkit::Database;

#[test]
fn the_catalog_names_the_same_columns_as_the_server() {
    on_every_server(|flavor| {
        let database = Database::start(flavor, &[]).unwrap();
        let mut differences = Vec::new();
        let scripts = SCRIPTS.iter().filter(|script| script.servers.include(flavor.is_mariadb()));
        for (place, script) in scripts.enumerate() {
            let name = format!("script_{place}");
            run(&database, &name, script);
            let catalog = follow(script, &name, database.version());
            let of_database = |query: &str| query.replace('?', &format!("'{name}'"));
            let columns = rows(&database, &of_database(COLUMNS_QUERY));
            let keys = rows(&database, &of_database(KEYS_QUERY));
            let tables =
                "select table_name from information_schema.tables where table_schema = ? and table_type <> 'VIEW'";
            let tables = rows::<1>(&database, &of_database(tables));
            let show = tables.iter().map(|[table]| format!("show create table `{name}`.`{table}`; "));
            let shown: Vec<[String; 2]> = rows(&database, &show.collect::<String>());
            let found = compare(&catalog, &name, database.version(), &columns, &keys, &shown);
            differences
                .extend(found.into_iter().map(|difference| format!("{flavor:?}, {}: {difference}", script.name)));
        }
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    });
}

#[test]
fn members_that_the_server_does_not_print_are_exact() {
    on_every_server(|flavor| {
        let mut capture = Capture::of(flavor, &["--binlog-row-metadata=MINIMAL"], "\"m.*\"", "");
        capture.database.exec(
            "create database m; create table m.t (id int primary key, e enum('🙂','?','a?🚀') character set utf8mb4,
             s set('x','🛒','?','🚀') collate utf8mb4_bin, w enum('?','🛒') character set utf32);
             insert into m.t values (1, '🙂', 'x,🛒', '🛒'), (2, '?', '?', '?')",
        );
        capture.headwater.start().unwrap();
        capture.database.exec("insert into m.t values (3, 'a?🚀', '🛒,🚀', '🛒'), (4, '?', '?', '?'), (5, 1, 11, 2)");
        capture.catch_up();
        let texts = |record: &Record| ["e", "s", "w"].map(|column| record.after(column).unwrap_or_default().to_owned());
        // Whether the snapshot or the stream comes first is open.
        let mut records = capture.records("m.t");
        records.sort_by(|a, b| a.key.cmp(&b.key));
        let got: Vec<[String; 3]> = records.iter().map(texts).collect();
        let expected =
            [["🙂", "x,🛒", "🛒"], ["?", "?", "?"], ["a?🚀", "🛒,🚀", "🛒"], ["?", "?", "?"], ["🙂", "x,🛒,🚀", "🛒"]];
        assert_eq!(got, expected.map(|row| row.map(|text| format!("\"{text}\""))), "{flavor:?}");
    });
}

fn run(database: &Database, name: &str, script: &Script) {
    database.exec(&format!("create database {name} character set {DATABASE_CHARSET}"));
    let mut session = database.session().unwrap();
    session.exec(&format!("use {name}")).unwrap();
    for statement in script.statements {
        session.exec(statement).unwrap_or_else(|error| panic!("{}: {error}", script.name));
    }
}

fn rows<const N: usize>(database: &Database, sql: &str) -> Vec<[String; N]> {
    let texts = |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>();
    database.query(sql).into_iter().map(|row| texts(row).try_into().unwrap()).collect()
}

/// A script, and where it runs.
struct Script {
    /// Names it in messages.
    name: &'static str,
    /// Which servers understand it.
    servers: Servers,
    /// Run in this order, in a fresh database of character set latin1.
    statements: &'static [&'static str],
}

/// Servers for a script.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Servers {
    /// MySQL and MariaDB.
    Both,
    /// MySQL alone.
    MySql,
    /// MariaDB alone.
    MariaDb,
}

impl Servers {
    /// Whether a script for these is for a server of this family.
    fn include(self, mariadb: bool) -> bool {
        match self {
            Servers::Both => true,
            Servers::MySql => !mariadb,
            Servers::MariaDb => mariadb,
        }
    }
}

/// What the servers say of columns; one parameter, the database.
const COLUMNS_QUERY: &str = "SELECT c.TABLE_NAME, c.COLUMN_NAME, c.COLUMN_TYPE, c.IS_NULLABLE, \
    COALESCE(c.CHARACTER_SET_NAME, ''), c.EXTRA FROM information_schema.COLUMNS c \
    JOIN information_schema.TABLES t USING (TABLE_SCHEMA, TABLE_NAME) \
    WHERE c.TABLE_SCHEMA = ? AND t.TABLE_TYPE <> 'VIEW' ORDER BY c.TABLE_NAME, c.ORDINAL_POSITION";

/// The columns of the primary keys; one parameter, the database.
const KEYS_QUERY: &str = "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS \
    WHERE TABLE_SCHEMA = ? AND INDEX_NAME = 'PRIMARY' ORDER BY TABLE_NAME, SEQ_IN_INDEX";

/// The default character set of the scripts' database.
const DATABASE_CHARSET: &str = "latin1";

/// Follows a script from nothing.
///
/// # Panics
/// When the catalog does not understand a statement.
fn follow(script: &Script, database: &str, server_version: &str) -> Catalog {
    let mut catalog = empty(database, server_version);
    for statement in script.statements {
        if let Err(error) = catalog.apply(&Session::new(database), statement) {
            panic!("{}: {error}", script.name);
        }
    }
    catalog
}

/// A catalog that knows the database but no table.
fn empty(database: &str, server_version: &str) -> Catalog {
    let server = Server::parse(server_version);
    let mut catalog = Catalog::new(Options { server, lower_case: false, charset: "utf8mb4".to_owned() });
    catalog.insert_database(database, DATABASE_CHARSET);
    catalog
}

/// Where the catalog and the server differ; empty when they agree. `columns` and `keys` are what the two queries
/// answer, `shown` the two columns of SHOW CREATE TABLE for every table.
fn compare(
    catalog: &Catalog,
    database: &str,
    server_version: &str,
    columns: &[[String; 6]],
    keys: &[[String; 2]],
    shown: &[[String; 2]],
) -> Vec<String> {
    let mut differences = Vec::new();
    let mut differ = |table: &str, ours: String, theirs: String| {
        if ours != theirs {
            differences.push(format!("{table}\n  catalog: {ours}\n  server:  {theirs}"));
        }
    };
    let ours: BTreeMap<_, _> = catalog.tables().map(|(name, def)| (name.table.clone(), describe(def))).collect();
    let mut theirs: BTreeMap<String, String> = BTreeMap::new();
    for [table, column, kind, nullable, charset, extra] in columns {
        let hidden = if extra.contains("INVISIBLE") { " hidden" } else { "" };
        // MariaDB names the character set of a binary ENUM, MySQL does not.
        let charset = if charset == "binary" { "" } else { charset };
        let line = format!("{column} {kind} {nullable} {charset}{hidden}; ");
        theirs.entry(table.clone()).or_default().push_str(&line);
    }
    let names = |tables: &BTreeMap<String, String>| tables.keys().cloned().collect::<Vec<_>>().join(", ");
    differ("tables", names(&ours), names(&theirs));
    for (table, line) in &theirs {
        differ(table, ours.get(table).cloned().unwrap_or_default(), line.clone());
        let key: Vec<_> = keys.iter().filter(|[name, _]| name == table).map(|[_, column]| column.as_str()).collect();
        let primary = catalog.table(database, table).map(primary_key).unwrap_or_default();
        differ(table, primary, key.join(", "));
    }
    let mut loaded = empty(database, server_version);
    for [table, sql] in shown {
        if let Err(error) = loaded.insert_show_create(&Session::new(database), sql) {
            differ(table, error.to_string(), "a table".to_owned());
            continue;
        }
        let schema =
            |catalog: &Catalog| catalog.table(database, table).map(|def| format!("{:?}", printed(def).to_schema(1)));
        differ(table, schema(catalog).unwrap_or_default(), schema(&loaded).unwrap_or_default());
    }
    differences
}

/// The definition without what a statement wrote and the server prints in another way: names of types, escapes of comments, NOT NULL.
fn printed(def: &TableDef) -> TableDef {
    let mut def = def.clone();
    for column in &mut def.columns {
        (column.alias, column.comment, column.unsaid_not_null) = (None, None, false);
    }
    def
}

/// The declared columns as information_schema lists them.
fn describe(def: &TableDef) -> String {
    let column = |column: &headwater_source::mysql::catalog::ColumnDef| {
        let nullable = if column.nullable { "YES" } else { "NO" };
        let charset = column.charset.as_deref().filter(|charset| *charset != "binary").unwrap_or_default();
        let hidden = if column.hidden { " hidden" } else { "" };
        format!("{} {} {nullable} {charset}{hidden}; ", column.name, column.native_text())
    };
    def.columns.iter().map(column).collect()
}

/// The primary key as the server lists it: without the end of validity that history adds by itself.
fn primary_key(def: &TableDef) -> String {
    if !def.keys.iter().any(|key| key.name == "PRIMARY") {
        return String::new();
    }
    let declared = def.key().into_iter().filter_map(|place| def.columns.get(usize::from(place)));
    declared.map(|column| column.name.clone()).collect::<Vec<_>>().join(", ")
}

/// Every script.
const SCRIPTS: &[Script] = &[
    Script {
        name: "numbers",
        servers: Servers::Both,
        statements: &[
            "CREATE TABLE n (a BOOL, b TINYINT(1), c TINYINT(1) UNSIGNED, d INT(5), e INT(5) ZEROFILL, f INTEGER UNSIGNED, \
             g INT8 SIGNED, h MIDDLEINT, i SERIAL, j FLOAT, k FLOAT(24), l FLOAT(25), m FLOAT(7,3) UNSIGNED, \
             n DOUBLE PRECISION, o REAL(8,2), p DEC, q NUMERIC(5), r FIXED(6,2) ZEROFILL, s BIT, t BIT(64), u YEAR, \
             v YEAR(4), w TINYINT(4) UNSIGNED ZEROFILL, x INT1, y INT2 UNSIGNED, z INT3, aa INT4, ab DECIMAL(0), \
             ac DECIMAL(65,30), ad DOUBLE(10,0), ae TINYINT(1) ZEROFILL, af BIGINT(3))",
        ],
    },
    Script {
        name: "texts",
        servers: Servers::Both,
        statements: &[
            "CREATE TABLE s (a CHAR, b CHARACTER(3) BINARY, c VARCHAR(4) ASCII, d CHAR(5) UNICODE, e CHAR(6) BYTE, \
             f NATIONAL CHARACTER VARYING(7), g NCHAR VARCHAR(8), h NVARCHAR(9), i NATIONAL CHAR(2), j BINARY, \
             k VARBINARY(3), l TEXT, m TEXT(60), n TEXT(100), o BLOB(300), p LONG, q LONG VARBINARY, \
             r LONGTEXT CHARACTER SET latin1, s VARCHAR(5) CHARACTER SET binary, t TINYTEXT COLLATE utf8mb3_bin, \
             u ENUM('a','it''s','b\\\\c ', 'n\\nl', 'a,b', 'é') COLLATE latin1_bin, v SET('x','y'), \
             w CHAR VARYING(3) CHARSET 'gbk', y MEDIUMBLOB, z NATIONAL VARCHAR(3), aa LONG VARCHAR, ab CHAR(0), \
             ac BLOB(70000), ad TEXT(20000), ae BLOB(20000000), af ENUM('x') CHARACTER SET binary, ag VARCHAR(0)) \
             DEFAULT CHARSET=utf8mb4",
        ],
    },
    Script {
        name: "times and the rest",
        servers: Servers::Both,
        statements: &[
            "CREATE TABLE r (a DATE, b TIME, c TIME(3), d DATETIME(6), e TIMESTAMP(1) NULL, f JSON, h POINT NOT NULL, \
             i GEOMETRYCOLLECTION, j GEOMETRY, k LINESTRING, l MULTIPOLYGON, m TIMESTAMP(0) NULL)",
        ],
    },
    Script {
        name: "MySQL's own types",
        servers: Servers::MySql,
        statements: &[
            "CREATE TABLE r (g VECTOR(3), h POINT NOT NULL SRID 4326, k VECTOR, i INT INVISIBLE, l GEOMCOLLECTION)",
        ],
    },
    Script {
        name: "MariaDB's own types",
        servers: Servers::MariaDb,
        statements: &[
            "CREATE TABLE r (a UUID, b INET4, c INET6, d JSON, e LONGTEXT CHECK (json_valid(`e`)), \
             h TEXT COMPRESSED, i VARCHAR(9) COMPRESSED DEFAULT 'x', j TEXT CHECK (json_valid(`j`)), k INT INVISIBLE)",
            "ALTER TABLE r CHANGE d dd JSON NOT NULL, MODIFY e LONGTEXT",
        ],
    },
    Script {
        name: "defaults",
        servers: Servers::Both,
        statements: &[
            "CREATE TABLE f (a INT DEFAULT '5', b INT DEFAULT -5, c DECIMAL(10,3) DEFAULT 3, d DECIMAL(4,1) DEFAULT '-.5', \
             e VARCHAR(9) DEFAULT 5, f VARCHAR(9) DEFAULT _utf8mb4'it\\'s', g INT DEFAULT NULL, h BIT(3) DEFAULT b'101', \
             i TIMESTAMP NOT NULL DEFAULT NOW() ON UPDATE CURRENT_TIMESTAMP, j DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3), \
             m DATE DEFAULT '2020-01-01', n BOOL DEFAULT TRUE, o INT DEFAULT 1 COMMENT 'x, y) NOT NULL', \
             p VARCHAR(4) DEFAULT 'NULL', r YEAR DEFAULT '2020', s DOUBLE DEFAULT 1.5, t ENUM('a','b') DEFAULT 'b', \
             u TIME DEFAULT '-01:02:03', v VARCHAR(9) NOT NULL DEFAULT '')",
            "ALTER TABLE f ALTER a SET DEFAULT '7', ALTER COLUMN e SET DEFAULT 'x', ALTER b DROP DEFAULT",
        ],
    },
    Script {
        name: "attributes",
        servers: Servers::Both,
        statements: &[
            "CREATE TABLE q (id INT PRIMARY KEY)",
            "CREATE TABLE IF NOT EXISTS `x y` (id INT NOT NULL AUTO_INCREMENT COMMENT 'a, b', \
             p INT, g INT GENERATED ALWAYS AS (c + 1) VIRTUAL, s VARCHAR(20) AS (concat('a,)', c)) STORED UNIQUE KEY, \
             c INT CHECK (c > 0), `a``b` INT /*!50100 NOT NULL */ /*!99999 nonsense */, \
             PRIMARY KEY (id DESC) USING BTREE, CONSTRAINT f FOREIGN KEY (p) REFERENCES q (id) ON DELETE CASCADE, \
             CHECK (c < 5), KEY k (c), FULLTEXT KEY t (s)) ENGINE = InnoDB, COMMENT='x CHARSET=gbk' ROW_FORMAT=DYNAMIC;",
            "CREATE TABLE parts (id INT, d DATE, PRIMARY KEY (id, d)) CHARSET utf8mb4 PARTITION BY RANGE (id) \
             (PARTITION p0 VALUES LESS THAN (10) COMMENT = 'SELECT', PARTITION p1 VALUES LESS THAN MAXVALUE)",
            "ALTER TABLE parts ADD x CHAR(3), ADD PRIMARY KEY (d, id), DROP PRIMARY KEY",
            "ALTER TABLE parts TRUNCATE PARTITION p0, p1",
            "ALTER TABLE parts REORGANIZE PARTITION p0, p1 INTO (PARTITION p VALUES LESS THAN MAXVALUE)",
            "ALTER TABLE parts REMOVE PARTITIONING",
        ],
    },
    Script {
        name: "keys",
        servers: Servers::Both,
        statements: &[
            "CREATE TABLE a (x INT, y INT NOT NULL, PRIMARY KEY (y, x))",
            "CREATE TABLE b (x INT UNIQUE, y INT NOT NULL UNIQUE, z INT NOT NULL UNIQUE)",
            "CREATE TABLE c (x VARCHAR(9) NOT NULL, y VARCHAR(9) NOT NULL, UNIQUE (x(3)), UNIQUE (y(9)))",
            "CREATE TABLE d (x INT NOT NULL, y INT, UNIQUE (x, y), KEY (x))",
            "CREATE TABLE e (x INT, y INT NOT NULL)",
            "CREATE UNIQUE INDEX i USING BTREE ON e (y)",
            "CREATE TABLE f LIKE b",
            "ALTER TABLE f DROP INDEX y, MODIFY x INT NOT NULL, ADD w INT PRIMARY KEY FIRST",
            "ALTER TABLE f DROP PRIMARY KEY",
            "ALTER TABLE f MODIFY z INT NULL",
            "CREATE TABLE h (x INT NOT NULL, UNIQUE (x))",
            "DROP INDEX x ON h",
            "CREATE TABLE i (a INT, UNIQUE (a), KEY (a), UNIQUE a_3 (a), UNIQUE (a))",
            "ALTER TABLE i DROP INDEX a_4, DROP KEY a_2",
            "CREATE TABLE j (a INT, b INT, c INT NOT NULL, PRIMARY KEY (a, b), UNIQUE u (c))",
            "ALTER TABLE j CHANGE a aa BIGINT, MODIFY b INT FIRST",
            "ALTER TABLE j DROP PRIMARY KEY, RENAME INDEX u TO v",
            "ALTER TABLE j ADD CONSTRAINT w UNIQUE (b), DROP INDEX v, DROP COLUMN aa",
        ],
    },
    Script {
        name: "columns",
        servers: Servers::Both,
        statements: &[
            "CREATE TABLE t (a INT, b INT, c INT)",
            "ALTER TABLE t ADD d INT AFTER a, MODIFY a INT AFTER c, CHANGE b bb BIGINT NOT NULL",
            "ALTER TABLE t ADD COLUMN (e TEXT, f INT NOT NULL, UNIQUE KEY (f)), ADD z INT FIRST, ADD y INT AFTER z, DROP COLUMN c",
            "ALTER TABLE t RENAME COLUMN a TO d, RENAME COLUMN d TO a, ADD KEY (e(5))",
            "ALTER TABLE t DROP f, ADD f VARCHAR(5) CHARACTER SET gbk UNIQUE AFTER z",
            "ALTER TABLE t ORDER BY a, bb DESC",
            "ALTER TABLE t ENGINE=InnoDB COMMENT='x, ADD q INT' DEFAULT CHARSET=utf8mb4, ADD g CHAR(3)",
            "ALTER TABLE t CHANGE a b INT, CHANGE bb a BIGINT, ADD x INT AFTER b, MODIFY d INT AFTER x",
            "ALTER TABLE t ADD n1 INT AFTER z, ADD n2 INT AFTER n1, MODIFY y INT FIRST",
        ],
    },
    Script {
        name: "character sets",
        servers: Servers::Both,
        statements: &[
            "CREATE TABLE t (a CHAR(1), b CHAR(1) CHARACTER SET gbk, c TEXT, d BLOB, e TINYTEXT CHARACTER SET utf8mb3, \
             f ENUM('x'), g MEDIUMTEXT, h VARCHAR(9000), i JSON, j TEXT CHARACTER SET utf8mb4)",
            "ALTER TABLE t CHARACTER SET = utf8mb3, ADD k CHAR(1)",
            "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            "ALTER TABLE t CONVERT TO CHARACTER SET latin1",
            "CREATE TABLE u (a TEXT CHARACTER SET ucs2, b TEXT CHARACTER SET gbk, c TEXT CHARACTER SET latin1)",
            "ALTER TABLE u CONVERT TO CHARACTER SET gbk",
            "CREATE TABLE v (a CHAR(1), b CHAR(1) CHARACTER SET latin1) COLLATE=ucs2_bin",
            "CREATE TABLE w (a VARCHAR(5) COLLATE sjis_bin)",
            "ALTER DATABASE CHARACTER SET sjis",
            "CREATE TABLE x (a CHAR(1))",
            "ALTER DATABASE COLLATE latin1_bin",
            "CREATE TABLE y (a CHAR(1))",
        ],
    },
    Script {
        name: "names",
        servers: Servers::Both,
        statements: &[
            "CREATE TABLE one (id INT PRIMARY KEY, v VARCHAR(10))",
            "CREATE TABLE two (id INT PRIMARY KEY, w INT)",
            "RENAME TABLE one TO tmp, two TO one, tmp TO two",
            "ALTER TABLE one RENAME TO three, ADD y INT",
            "create   table\n  `spaced out`  ( `id`   int\n  primary key ) ; -- trailing comment",
            "CREATE VIEW looks AS SELECT id FROM two",
            "DROP VIEW looks",
            "CREATE TABLE gone (a INT)",
            "DROP TABLE IF EXISTS gone, never_was",
            "CREATE TABLE größe (`schlüssel` INT, `1st` INT, 2nd INT)",
        ],
    },
    Script {
        name: "MariaDB's history and hashes",
        servers: Servers::MariaDb,
        statements: &[
            "SET SESSION system_versioning_alter_history = KEEP",
            "CREATE TABLE a (id INT PRIMARY KEY, b BLOB UNIQUE) WITH SYSTEM VERSIONING",
            "ALTER TABLE a ADD c TEXT UNIQUE",
            "CREATE TABLE b (id INT PRIMARY KEY, s TIMESTAMP(6) GENERATED ALWAYS AS ROW START, \
             e TIMESTAMP(6) AS ROW END INVISIBLE, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING",
            "ALTER TABLE b DROP SYSTEM VERSIONING, DROP s, DROP e",
            "ALTER TABLE b ADD s TIMESTAMP(6) AS ROW START, ADD e TIMESTAMP(6) AS ROW END, \
             ADD PERIOD FOR SYSTEM_TIME (s, e), ADD SYSTEM VERSIONING",
            "CREATE TABLE c (x INT NOT NULL UNIQUE, y INT WITH SYSTEM VERSIONING)",
            "ALTER TABLE c ADD z INT",
            "CREATE TABLE e LIKE c",
            "ALTER TABLE e DROP SYSTEM VERSIONING",
            "CREATE TABLE f (room INT, f DATE, t DATE, PERIOD FOR stay (f, t), PRIMARY KEY (room, stay WITHOUT OVERLAPS))",
            "CREATE TABLE g (a VARCHAR(1000) NOT NULL, UNIQUE (a)) CHARSET utf8mb4",
            "CREATE OR REPLACE TABLE g (x INT)",
            "ALTER TABLE g ADD COLUMN IF NOT EXISTS x TEXT, ADD COLUMN IF NOT EXISTS w INT, DROP COLUMN IF EXISTS v, \
             MODIFY COLUMN IF EXISTS u INT, ALTER x SET DEFAULT 5",
            "ALTER TABLE IF EXISTS g ADD UNIQUE INDEX IF NOT EXISTS i (x)",
            "ALTER TABLE g ADD INDEX IF NOT EXISTS i (w), RENAME INDEX i TO k",
        ],
    },
    Script {
        name: "MySQL's own statements",
        servers: Servers::MySql,
        statements: &[
            "CREATE TABLE t (a INT, b INT INVISIBLE, c INT AS (a + 1), KEY ((a + 1)), UNIQUE ((a * 2), b))",
            "ALTER TABLE t ALTER COLUMN b SET VISIBLE, ALTER COLUMN a SET INVISIBLE",
            "ALTER TABLE t ADD CONSTRAINT u UNIQUE (b), ADD CONSTRAINT pos CHECK (a > 0)",
            "ALTER TABLE t DROP CONSTRAINT u, DROP CHECK pos, ALTER INDEX functional_index INVISIBLE",
            "ALTER TABLE t ADD PRIMARY KEY (b)",
            "ALTER TABLE t DROP CONSTRAINT `PRIMARY`",
        ],
    },
];
