//! The types and their values, as SQL. A group is a table, a column a type, and row after row its values.
//!
//! Invariant: a value is what a user can write into that type; what it becomes is the server's affair.

use headwater_testkit::Flavor;

/// A table.
pub struct Group {
    /// Its name.
    pub name: &'static str,
    /// Its columns besides the id.
    pub columns: &'static [Column],
}

/// A type and its values.
pub struct Column {
    /// As in CREATE TABLE.
    pub kind: &'static str,
    /// How the value is compared.
    pub show: Show,
    /// Which servers have it.
    pub servers: Servers,
    /// SQL expressions; NULL comes by itself.
    pub values: &'static [&'static str],
}

/// How a value is compared with what SELECT prints.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// The same text.
    Plain,
    /// The same number, without the zeros of ZEROFILL; bits as a number.
    Number,
    /// A 32-bit float, judged by CAST AS DOUBLE.
    Float,
    /// A 64-bit float.
    Double,
    /// Text, by its bytes in UTF-8.
    Text,
    /// Bytes.
    Bytes,
    /// A TIME.
    Clock,
    /// A DATETIME.
    Moment,
    /// A TIMESTAMP.
    Instant,
    /// JSON, to the letter.
    Json,
    /// Little-endian floats.
    Vector,
}

/// Servers that have a type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Servers {
    All,
    MySql,
    MariaDb,
    MariaDb11,
    /// Those that log generated columns; MariaDB 11 leaves them out of updates.
    NotMariaDb11,
}

impl Servers {
    /// Whether it is one of them.
    pub fn include(self, flavor: Flavor) -> bool {
        match self {
            Servers::All => true,
            Servers::MySql => !flavor.is_mariadb(),
            Servers::MariaDb => flavor.is_mariadb(),
            Servers::MariaDb11 => flavor == Flavor::MariaDb11,
            Servers::NotMariaDb11 => flavor != Flavor::MariaDb11,
        }
    }
}

impl Column {
    /// What rows get when the values have run out: NULL where it is allowed.
    pub fn rest(&self) -> &'static str {
        if self.kind.contains("not null") { self.values[0] } else { "null" }
    }
}

const fn column(kind: &'static str, show: Show, values: &'static [&'static str]) -> Column {
    Column { kind, show, servers: Servers::All, values }
}

const fn of(servers: Servers, kind: &'static str, show: Show, values: &'static [&'static str]) -> Column {
    Column { kind, show, servers, values }
}

const CLOCKS: &[&str] = &[
    "'-838:59:59'",
    "'838:59:59'",
    "'00:00:00'",
    "'-00:00:00.000001'",
    "'-00:00:01.5'",
    "'24:00:00'",
    "'100:00:00.000001'",
    "'838:59:58.999999'",
    "'-838:59:58.999999'",
    "'12:34:56.789012'",
    "'-01:02:03.1'",
    "'23:59:59.99'",
];
const MOMENTS: &[&str] = &[
    "'1000-01-01 00:00:00'",
    "'9999-12-31 23:59:59'",
    "'0000-00-00 00:00:00'",
    "'2024-00-00 00:00:00'",
    "'2024-02-31 12:00:00'",
    "'0001-01-01 00:00:00.000001'",
    "'2024-02-29 23:59:59.123456'",
    "'1969-12-31 23:59:59.9'",
    "'0000-01-01 01:02:03.004'",
];
const INSTANTS: &[&str] = &[
    "'1970-01-01 00:00:01'",
    "'2038-01-19 03:14:07'",
    "'0000-00-00 00:00:00'",
    "'2024-02-29 23:59:59.123456'",
    "'2001-09-09 01:46:40.000001'",
    "'1999-12-31 23:59:59.9'",
    "'2000-01-01 00:00:00.000100'",
];
const TEXTS: &[&str] = &[
    "'a'",
    "''",
    "'größe سلام 🛒'",
    "'  two blanks before'",
    "'tab\\t nl\\n quote\\\" back\\\\ apos\\' bell\\b nul\\0 end'",
    "'日本語'",
    "convert(x'F09F98800AE2808BEFBFBD' using utf8mb4)",
];
const BYTES: &[&str] = &["x''", "x'00'", "x'FF00'", "x'0000'", "x'61620000'", "x'80FF7F'", "' '"];
const POINTS: &[&str] =
    &["ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('POINT(-1.5 1e300)')", "ST_GeomFromText('POINT(0 0)')"];
const LETTERS_64: &str = "set('a0','a1','a2','a3','a4','a5','a6','a7','a8','a9','b0','b1','b2','b3','b4','b5','b6','b7','b8','b9',\
    'c0','c1','c2','c3','c4','c5','c6','c7','c8','c9','d0','d1','d2','d3','d4','d5','d6','d7','d8','d9','e0','e1','e2','e3','e4',\
    'e5','e6','e7','e8','e9','f0','f1','f2','f3','f4','f5','f6','f7','f8','f9','g0','g1','g2','g3')";

/// All of them.
pub const GROUPS: &[Group] = &[
    Group {
        name: "integers",
        columns: &[
            column("tinyint", Show::Plain, &["-128", "127", "0", "-1"]),
            column("tinyint unsigned", Show::Plain, &["255", "0", "128"]),
            column("smallint", Show::Plain, &["-32768", "32767", "0"]),
            column("smallint unsigned", Show::Plain, &["65535", "0"]),
            column("mediumint", Show::Plain, &["-8388608", "8388607", "0", "-1"]),
            column("mediumint unsigned", Show::Plain, &["16777215", "0"]),
            column("int", Show::Plain, &["-2147483648", "2147483647", "0"]),
            column("int unsigned", Show::Plain, &["4294967295", "0"]),
            column("bigint", Show::Plain, &["-9223372036854775808", "9223372036854775807", "0"]),
            column("bigint unsigned", Show::Plain, &["18446744073709551615", "9223372036854775808", "0"]),
            column("bool", Show::Plain, &["true", "false", "7"]),
            column("int(8) zerofill", Show::Number, &["5", "4294967295"]),
            column("tinyint(1) unsigned", Show::Plain, &["255", "1"]),
            column("smallint not null default 7", Show::Plain, &["-1", "default"]),
        ],
    },
    Group {
        name: "decimals",
        columns: &[
            column(
                "decimal(65,30)",
                Show::Plain,
                &[
                    "99999999999999999999999999999999999.999999999999999999999999999999",
                    "-99999999999999999999999999999999999.999999999999999999999999999999",
                    "0.000000000000000000000000000001",
                    "-1",
                    "0",
                ],
            ),
            column(
                "decimal(65,0)",
                Show::Plain,
                &["99999999999999999999999999999999999999999999999999999999999999999", "-12345678901234567890", "0"],
            ),
            column("decimal(30,30)", Show::Plain, &["0.999999999999999999999999999999", "-0.1", "0"]),
            column("decimal(10,2) unsigned", Show::Plain, &["99999999.99", "0.01", "0"]),
            column("decimal(5,0)", Show::Plain, &["-99999", "10", "0"]),
            column("decimal(1,1)", Show::Plain, &["-0.9", "0.1"]),
            column("decimal(18,9)", Show::Plain, &["123456789.987654321", "-0.000000001", "100000000.1"]),
            column("decimal(9,9)", Show::Plain, &["0.123456789", "-0.987654321"]),
            column("decimal(11,10)", Show::Plain, &["-1.0000000001", "9.9999999999"]),
            column("decimal(8,3) zerofill", Show::Number, &["1.5", "99999.999"]),
            column(
                "decimal(40,20)",
                Show::Plain,
                &["-12345678901234567890.12345678901234567890", "-0.00000000000000000001"],
            ),
        ],
    },
    Group {
        name: "floats",
        columns: &[
            column(
                "float",
                Show::Float,
                &["0", "1.5", "-0.1", "3.402823466e38", "-3.402823466e38", "1.175494351e-38", "1234567.8", "16777217"],
            ),
            column("float unsigned", Show::Float, &["0.3", "3e38"]),
            column("float(7,3)", Show::Float, &["1234.567", "-0.001"]),
            column(
                "double",
                Show::Double,
                &[
                    "0",
                    "1.7976931348623157e308",
                    "-1.7976931348623157e308",
                    "2.2250738585072014e-308",
                    "0.1",
                    "123456789.123456789",
                    "-1e15",
                    "1e17",
                ],
            ),
            column("double unsigned", Show::Double, &["1e300"]),
            column("double(10,4)", Show::Double, &["123456.7891", "-0.0001"]),
        ],
    },
    Group {
        name: "bits",
        columns: &[
            column("bit(1)", Show::Number, &["b'0'", "b'1'"]),
            column("bit(7)", Show::Number, &["b'1000000'", "b'1111111'"]),
            column("bit(8)", Show::Number, &["b'10000000'", "255"]),
            column("bit(9)", Show::Number, &["b'100000000'", "1", "511"]),
            column("bit(33)", Show::Number, &["8589934591", "4294967296"]),
            column("bit(63)", Show::Number, &["9223372036854775807", "0"]),
            column("bit(64)", Show::Number, &["18446744073709551615", "9223372036854775808", "1", "0"]),
        ],
    },
    Group {
        name: "times",
        columns: &[
            column(
                "date",
                Show::Plain,
                &[
                    "'1000-01-01'",
                    "'9999-12-31'",
                    "'0000-00-00'",
                    "'2024-00-00'",
                    "'2024-02-31'",
                    "'0001-01-01'",
                    "'2024-02-29'",
                    "'1582-10-10'",
                ],
            ),
            column("year", Show::Number, &["1901", "2155", "0", "2000", "'70'"]),
            column("time", Show::Clock, CLOCKS),
            column("time(1)", Show::Clock, CLOCKS),
            column("time(2)", Show::Clock, CLOCKS),
            column("time(3)", Show::Clock, CLOCKS),
            column("time(4)", Show::Clock, CLOCKS),
            column("time(5)", Show::Clock, CLOCKS),
            column("time(6)", Show::Clock, CLOCKS),
        ],
    },
    Group {
        name: "moments",
        columns: &[
            column("datetime", Show::Moment, MOMENTS),
            column("datetime(1)", Show::Moment, MOMENTS),
            column("datetime(2)", Show::Moment, MOMENTS),
            column("datetime(3)", Show::Moment, MOMENTS),
            column("datetime(4)", Show::Moment, MOMENTS),
            column("datetime(5)", Show::Moment, MOMENTS),
            column("datetime(6)", Show::Moment, MOMENTS),
            column("timestamp null", Show::Instant, INSTANTS),
            column("timestamp(1) null", Show::Instant, INSTANTS),
            column("timestamp(2) null", Show::Instant, INSTANTS),
            column("timestamp(3) null", Show::Instant, INSTANTS),
            column("timestamp(4) null", Show::Instant, INSTANTS),
            column("timestamp(5) null", Show::Instant, INSTANTS),
            column("timestamp(6) null", Show::Instant, INSTANTS),
            of(
                Servers::MariaDb11,
                "timestamp(6) null",
                Show::Instant,
                &["'2106-02-07 06:28:15.999999'", "'2038-01-19 03:14:08'"],
            ),
        ],
    },
    Group {
        name: "texts",
        columns: &[
            column("char(80)", Show::Text, TEXTS),
            column("char(255)", Show::Text, TEXTS),
            column("varchar(60)", Show::Text, TEXTS),
            column("varchar(300)", Show::Text, &["repeat('é', 300)", "'short'", "'blanks at the end  '"]),
            column("tinytext", Show::Text, TEXTS),
            column("text", Show::Text, &["repeat('🛒', 16000)", "'x'", "''"]),
            column("mediumtext", Show::Text, &["repeat('ü', 70000)", "''"]),
            column("longtext", Show::Text, TEXTS),
            column("varchar(20) collate utf8mb4_bin not null default 'd'", Show::Text, &["'A'", "default"]),
            column("varchar(20) character set utf8mb3", Show::Text, &["'日本é'"]),
        ],
    },
    Group {
        name: "character_sets",
        columns: &[
            column("varchar(40) character set latin1", Show::Text, &["'größe €'", "x'80818D8F90FF'", "''"]),
            column("char(20) character set latin1", Show::Text, &["'größe €'"]),
            column("varchar(40) character set ascii", Show::Text, &["'plain ~'"]),
            column("varchar(40) character set ucs2", Show::Text, &["'größe 日本'", "''"]),
            column("char(200) character set utf16", Show::Text, &["'größe 🛒 日本'"]),
            column("varchar(40) character set utf16le", Show::Text, &["'größe 🛒'"]),
            column("char(200) character set utf32", Show::Text, &["'größe 🛒'"]),
            column("text character set utf32", Show::Text, &["'größe 🛒'", "''"]),
            column("varchar(40) character set gbk", Show::Text, &["'中文字符€'"]),
            column("varchar(40) character set gb2312", Show::Text, &["'中文字符'", "_gb2312 x'A1A4A1AA'"]),
            column("varchar(40) character set big5", Show::Text, &["'中文字元'"]),
            column("varchar(40) character set sjis", Show::Text, &["'日本語ｶﾅ'", "_sjis x'815F8160'"]),
            column("varchar(40) character set cp932", Show::Text, &["'日本語①㈱～'", "_cp932 x'81608161EEEF'"]),
            column("varchar(40) character set ujis", Show::Text, &["'日本語ｶﾅ'"]),
            column("varchar(40) character set eucjpms", Show::Text, &["'日本語①'"]),
            column("varchar(40) character set euckr", Show::Text, &["'한국어'"]),
            of(Servers::MySql, "varchar(40) character set gb18030", Show::Text, &["'中文 🛒 é'"]),
            column("varchar(40) character set koi8r", Show::Text, &["'Привет'"]),
            column("varchar(40) character set koi8u", Show::Text, &["'Привіт Їжак ґ'"]),
            column("varchar(40) character set cp1250", Show::Text, &["'Žluťoučký kůň'"]),
            column("varchar(40) character set cp1251", Show::Text, &["'Привіт'"]),
            column("varchar(40) character set tis620", Show::Text, &["'ภาษาไทย'"]),
            column("enum('größe','x') character set latin1", Show::Text, &["'größe'", "2"]),
            column("enum('中文','x') character set gbk", Show::Text, &["'中文'"]),
            column("set('größe','é') character set utf16", Show::Text, &["'größe,é'"]),
            column("enum('Привіт') character set koi8u", Show::Text, &["1"]),
            column("longtext character set sjis", Show::Text, &["repeat('日本', 400)"]),
        ],
    },
    Group {
        name: "binaries",
        columns: &[
            column("binary(1)", Show::Bytes, &["x'00'", "x'FF'", "x''"]),
            column("binary(16)", Show::Bytes, BYTES),
            column("binary(255)", Show::Bytes, BYTES),
            column("varbinary(20)", Show::Bytes, BYTES),
            column("varbinary(300)", Show::Bytes, &["repeat(x'00', 300)", "x'0100'"]),
            column("tinyblob", Show::Bytes, BYTES),
            column("blob", Show::Bytes, &["repeat(x'FF', 60000)", "x'6100'", "x''"]),
            column("mediumblob", Show::Bytes, &["repeat(x'0102', 40000)", "x'00'"]),
            column("longblob", Show::Bytes, BYTES),
            column("char(6) character set binary", Show::Bytes, &["'ab'"]),
        ],
    },
    Group {
        name: "members",
        columns: &[
            column(
                "enum('a','b,c','d''e','😀','back\\\\slash','','line\\nend',' lead')",
                Show::Text,
                &["'a'", "'b,c'", "'d\\'e'", "'😀'", "5", "6", "'unknown'", "7", "8"],
            ),
            column("enum('x','y') not null default 'y'", Show::Text, &["default", "'nothing'", "'x'"]),
            column("set('a','é','😀 x','d''q')", Show::Text, &["''", "'a'", "'😀 x,a'", "15", "'unknown'", "'d\\'q'"]),
            column(LETTERS_64, Show::Text, &["'a0,g3'", "18446744073709551615", "'g3'", "''", "'e9'"]),
        ],
    },
    Group {
        name: "json",
        columns: &[
            of(
                Servers::MySql,
                "json",
                Show::Json,
                &[
                    "'null'",
                    "'true'",
                    "'[false, 0, -1, 127, 128, 32768, 2147483648]'",
                    "'18446744073709551615'",
                    "'-9223372036854775808'",
                    "'1e100'",
                    "'[1.5, 0.1, 1e-7, 123456789012345680, -0.0, 1e16, 1.7976931348623157e308]'",
                    "cast(123.45678901234567890123456789 as json)",
                    "'\"text \\\\\"quoted\\\\\" \\\\\\\\ \\\\n \\\\u0001 é 🛒 /\"'",
                    "'{\"b\": [1, {\"a\": []}], \"\": {}, \"long name é\": null, \"aa\": 1}'",
                    "json_array(repeat('x', 70000), 1)",
                    "json_object('d', cast('2024-02-03' as date), 't', cast('-12:34:56.5' as time(3)), 'm', cast('2024-02-03 04:05:06.789' as datetime(3)))",
                    "cast(cast('2024-02-03 04:05:06' as datetime) as json)",
                    "cast(timestamp'2024-02-03 04:05:06.000001' as json)",
                    "cast(time'838:59:59' as json)",
                    "cast(cast(x'00FF10' as binary) as json)",
                    "cast(b'101' as json)",
                    "json_object('n', cast(0.10 as decimal(5,2)), 'u', cast(5 as unsigned), 'y', cast(2024 as year))",
                    "cast(ST_GeomFromText('POINT(1 2)') as json)",
                    "json_array()",
                    "json_object()",
                    "'\"\"'",
                    "'0'",
                    "json_array(cast(x'' as binary), repeat('é', 200), json_array(json_array()))",
                ],
            ),
            of(
                Servers::MariaDb,
                "json",
                Show::Json,
                &[
                    "'null'",
                    "'true'",
                    "'[false, 0,-1]'",
                    "'18446744073709551615'",
                    "'1e100'",
                    "'{\"b\": [1, {\"a\": []}], \"a\":  1.50}'",
                    "'\"text \\\\u0001 é 🛒\"'",
                    "json_array(repeat('x', 70000), 1)",
                    "json_object('k', 'v')",
                ],
            ),
        ],
    },
    Group {
        name: "shapes",
        columns: &[
            column("point", Show::Bytes, POINTS),
            column(
                "geometry",
                Show::Bytes,
                &[
                    "ST_GeomFromText('POINT(1 2)', 4326)",
                    "ST_GeomFromText('LINESTRING(0 0, 1 1, 2 0)')",
                    "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1), LINESTRING(0 0, 5 5))')",
                ],
            ),
            column("linestring", Show::Bytes, &["ST_GeomFromText('LINESTRING(0 0, 1 1, 2 0)')"]),
            column(
                "polygon",
                Show::Bytes,
                &["ST_GeomFromText('POLYGON((0 0, 0 9, 9 9, 9 0, 0 0), (1 1, 1 2, 2 2, 2 1, 1 1))')"],
            ),
            column("multipoint", Show::Bytes, &["ST_GeomFromText('MULTIPOINT((0 0), (1 1))')"]),
            column("multilinestring", Show::Bytes, &["ST_GeomFromText('MULTILINESTRING((0 0, 1 1), (2 2, 3 3))')"]),
            column("multipolygon", Show::Bytes, &["ST_GeomFromText('MULTIPOLYGON(((0 0, 0 9, 9 9, 9 0, 0 0)))')"]),
            column("geometrycollection", Show::Bytes, &["ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1))')"]),
            of(Servers::MySql, "point not null srid 4326", Show::Bytes, &["ST_GeomFromText('POINT(52.5 13.4)', 4326)"]),
            // Text beside geometries: the log counts its character sets in another way on each server.
            column("varchar(20) character set koi8u", Show::Text, &["'Привіт'"]),
            column("text character set cp1250", Show::Text, &["'Žluť'"]),
            column("enum('größe') character set latin1", Show::Text, &["'größe'"]),
        ],
    },
    Group {
        name: "vectors",
        columns: &[
            of(
                Servers::MySql,
                "vector(3)",
                Show::Vector,
                &["string_to_vector('[1, 2.5, -3e38]')", "string_to_vector('[0, 0, 0.1]')"],
            ),
            of(Servers::MySql, "vector", Show::Vector, &["string_to_vector('[1]')"]),
            of(
                Servers::MariaDb11,
                "vector(3) not null",
                Show::Vector,
                &["vec_fromtext('[1, 2.5, -300000]')", "x'0000803F00002040FFFF7FFF'", "vec_fromtext('[0, 0, 0.1]')"],
            ),
            of(Servers::MariaDb11, "vector(2)", Show::Vector, &["vec_fromtext('[0, 0]')"]),
            column("varchar(9) character set latin1", Show::Text, &["'é'"]),
        ],
    },
    Group {
        name: "addresses",
        columns: &[
            of(
                Servers::MariaDb,
                "uuid",
                Show::Plain,
                &[
                    "'123e4567-e89b-12d3-a456-426614174000'",
                    "'00000000-0000-0000-0000-000000000000'",
                    "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
                    "'123e4567-e89b-12d3-a456-000000000000'",
                    "'01890a5d-ac96-774b-bcce-b302099a8000'",
                ],
            ),
            of(
                Servers::MariaDb,
                "inet6",
                Show::Plain,
                &[
                    "'::'",
                    "'2001:db8::'",
                    "'::ffff:192.0.2.0'",
                    "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'",
                    "'1:2:3:4:5:6:7:8'",
                    "'::1.2.3.4'",
                    "'1:0:0:2::3'",
                    "'1:0:2:3:4:5:6:7'",
                    "'0:1:2:3:4:5:6:0'",
                    "'::1'",
                    "'1::'",
                    "'::1:0'",
                    "'::ffff:0:0'",
                    "'1:0:0:2:0:0:3:4'",
                ],
            ),
            of(
                Servers::MariaDb,
                "inet4",
                Show::Plain,
                &["'0.0.0.0'", "'255.255.255.255'", "'10.0.0.0'", "'192.0.2.32'"],
            ),
            of(Servers::MariaDb, "varchar(1000) compressed", Show::Text, &["repeat('é', 900)", "'short'", "''"]),
            of(Servers::MariaDb, "text compressed", Show::Text, &["repeat('🛒', 3000)", "'short'", "''"]),
            of(Servers::MariaDb, "blob compressed", Show::Bytes, &["repeat(x'00', 3000)", "x'00'", "x''"]),
            of(Servers::MariaDb, "varbinary(1000) compressed", Show::Bytes, &["repeat(x'01', 900)", "x'0000'"]),
            of(Servers::MariaDb, "longtext compressed character set latin1", Show::Text, &["repeat('ö', 100000)"]),
            of(Servers::MariaDb, "text character set utf16", Show::Text, &["'größe'"]),
        ],
    },
    Group {
        name: "derived",
        columns: &[
            column("int", Show::Plain, &["5", "-7"]),
            column("int invisible", Show::Plain, &["9"]),
            column("datetime(6) default current_timestamp(6)", Show::Moment, &["'2024-01-01 00:00:00.5'"]),
            column("varchar(20) default (concat('x', 'y'))", Show::Text, &["default"]),
            of(Servers::NotMariaDb11, "int as (c0 + 1) virtual", Show::Plain, &[]),
            of(Servers::NotMariaDb11, "varchar(30) as (concat('v', c0)) stored", Show::Text, &[]),
            of(Servers::NotMariaDb11, "int as (c0 * 2) stored", Show::Plain, &[]),
        ],
    },
];
