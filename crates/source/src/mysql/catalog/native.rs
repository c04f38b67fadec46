//! A column's type as the servers know it: printed as `information_schema.COLUMNS.COLUMN_TYPE` prints it, and mapped to
//! the model's type.
//!
//! Invariant: display widths and names that differ between servers are settled when the type is parsed, so that printing
//! needs nothing but the type itself.

use std::fmt::{self, Write};

use headwater_model::Type;
use serde::{Deserialize, Serialize};

/// A native type. Character sets stand beside it, in the column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Native {
    /// TINYINT to BIGINT.
    Int {
        /// 8, 16, 24, 32 or 64.
        bits: u8,
        /// Display width, where the server prints one.
        width: Option<u16>,
        /// UNSIGNED and ZEROFILL.
        sign: Sign,
    },
    /// FLOAT, with its (M,D).
    Float {
        /// (M,D)
        digits: Option<(u16, u16)>,
        /// UNSIGNED and ZEROFILL.
        sign: Sign,
    },
    /// DOUBLE, with its (M,D).
    Double {
        /// (M,D)
        digits: Option<(u16, u16)>,
        /// UNSIGNED and ZEROFILL.
        sign: Sign,
    },
    /// DECIMAL(M,D).
    Decimal {
        /// M
        precision: u16,
        /// D
        scale: u16,
        /// UNSIGNED and ZEROFILL.
        sign: Sign,
    },
    /// BIT(M).
    Bit {
        /// 1 to 64.
        width: u8,
    },
    /// YEAR.
    Year {
        /// Printed as `year(4)`.
        width: bool,
    },
    /// DATE.
    Date,
    /// TIME(fraction).
    Time {
        /// 0 to 6.
        fraction: u8,
    },
    /// DATETIME(fraction).
    DateTime {
        /// 0 to 6.
        fraction: u8,
    },
    /// TIMESTAMP(fraction).
    Timestamp {
        /// 0 to 6.
        fraction: u8,
    },
    /// CHAR(n) in characters, or BINARY(n) in bytes when the character set is `binary`.
    Char {
        /// n
        length: u32,
    },
    /// VARCHAR(n) in characters, or VARBINARY(n) in bytes when the character set is `binary`.
    VarChar {
        /// n
        length: u32,
    },
    /// TEXT of a size class, or BLOB when the character set is `binary`.
    Text {
        /// 1 TINY, 2 plain, 3 MEDIUM, 4 LONG: the bytes that tell a value's length.
        size: u8,
    },
    /// ENUM.
    Enum {
        /// In order.
        members: Vec<String>,
    },
    /// SET.
    Set {
        /// In order.
        members: Vec<String>,
    },
    /// MySQL's JSON.
    Json,
    /// MariaDB's JSON: LONGTEXT with `CHECK (json_valid(column))`.
    JsonText,
    /// A spatial type, by the name that the server prints.
    Geometry {
        /// Such as `point`.
        name: String,
    },
    /// VECTOR(n).
    Vector {
        /// Floats in a value, at most.
        dimensions: u32,
    },
    /// UUID (MariaDB).
    Uuid,
    /// INET4 (MariaDB).
    Inet4,
    /// INET6 (MariaDB).
    Inet6,
}

/// The attributes of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// UNSIGNED, which ZEROFILL implies.
    pub unsigned: bool,
    /// ZEROFILL.
    pub zerofill: bool,
}

/// The name of the character set of bytes.
pub(crate) const BINARY: &str = "binary";

impl Native {
    /// Whether values of this type are text in a character set, or bytes when it is `binary`.
    pub fn is_text(&self) -> bool {
        use Native::{Char, Enum, JsonText, Set, Text, VarChar};
        matches!(self, Char { .. } | VarChar { .. } | Text { .. } | Enum { .. } | Set { .. } | JsonText)
    }

    /// The model's type of a column with this type and character set.
    pub fn to_type(&self, charset: Option<&str>) -> Type {
        let text = |fixed: Option<u32>| match charset {
            None | Some(BINARY) => Type::Bytes { fixed },
            Some(charset) => Type::Text { charset: charset.to_owned() },
        };
        match self {
            Native::Int { bits, sign, .. } => Type::Int { bits: *bits, unsigned: sign.unsigned },
            Native::Float { .. } => Type::Float,
            Native::Double { .. } => Type::Double,
            Native::Decimal { precision, scale, .. } => Type::Decimal { precision: *precision, scale: *scale as i16 },
            Native::Bit { width } => Type::Bit { width: *width },
            Native::Year { .. } => Type::Year,
            Native::Date => Type::Date,
            Native::Time { fraction } => Type::Time { fraction: *fraction },
            Native::DateTime { fraction } => Type::DateTime { fraction: *fraction },
            Native::Timestamp { fraction } => Type::Timestamp { fraction: *fraction },
            Native::Char { length } => text(Some(*length)),
            Native::VarChar { .. } | Native::Text { .. } => text(None),
            Native::Enum { members } => Type::Enum { members: members.clone() },
            Native::Set { members } => Type::Set { members: members.clone() },
            Native::Json => Type::Json,
            // Only after CONVERT TO CHARACTER SET is it anything else, and then the reader has to know.
            Native::JsonText if matches!(charset, Some("utf8mb4" | "utf8mb3" | "ascii")) => Type::Json,
            Native::JsonText => text(None),
            Native::Geometry { .. } => Type::Geometry,
            Native::Vector { .. } => Type::Vector,
            Native::Uuid => Type::Uuid,
            Native::Inet4 => Type::Inet4,
            Native::Inet6 => Type::Inet6,
        }
    }

    /// The type's text for a column with this character set.
    pub fn print(&self, charset: Option<&str>) -> String {
        let binary = charset.is_none_or(|charset| charset == BINARY);
        let mut out = String::new();
        // Writing into a String cannot fail.
        let _ = self.write(binary, &mut out);
        out
    }

    fn write(&self, binary: bool, out: &mut String) -> fmt::Result {
        let fraction = |out: &mut String, name: &str, fraction: u8| match fraction {
            0 => out.write_str(name),
            digits => write!(out, "{name}({digits})"),
        };
        match self {
            Native::Int { bits, width, sign } => {
                out.push_str(int_name(*bits));
                if let Some(width) = width {
                    write!(out, "({width})")?;
                }
                sign.write(out)
            }
            Native::Float { digits, sign } => write_float("float", *digits, *sign, out),
            Native::Double { digits, sign } => write_float("double", *digits, *sign, out),
            Native::Decimal { precision, scale, sign } => {
                write_float("decimal", Some((*precision, *scale)), *sign, out)
            }
            Native::Bit { width } => write!(out, "bit({width})"),
            Native::Year { width } => out.write_str(if *width { "year(4)" } else { "year" }),
            Native::Date => out.write_str("date"),
            Native::Time { fraction: digits } => fraction(out, "time", *digits),
            Native::DateTime { fraction: digits } => fraction(out, "datetime", *digits),
            Native::Timestamp { fraction: digits } => fraction(out, "timestamp", *digits),
            Native::Char { length } => write!(out, "{}({length})", if binary { "binary" } else { "char" }),
            Native::VarChar { length } => write!(out, "{}({length})", if binary { "varbinary" } else { "varchar" }),
            Native::Text { size } => {
                let prefix = ["tiny", "", "medium", "long"].get(usize::from(*size).wrapping_sub(1)).unwrap_or(&"");
                write!(out, "{prefix}{}", if binary { "blob" } else { "text" })
            }
            Native::Enum { members } => write_members("enum", members, out),
            Native::Set { members } => write_members("set", members, out),
            Native::Json => out.write_str("json"),
            Native::JsonText => out.write_str("longtext"),
            Native::Geometry { name } => out.write_str(name),
            Native::Vector { dimensions } => write!(out, "vector({dimensions})"),
            Native::Uuid => out.write_str("uuid"),
            Native::Inet4 => out.write_str("inet4"),
            Native::Inet6 => out.write_str("inet6"),
        }
    }
}

impl Sign {
    fn write(self, out: &mut String) -> fmt::Result {
        if self.unsigned {
            out.push_str(" unsigned");
        }
        if self.zerofill {
            out.push_str(" zerofill");
        }
        Ok(())
    }
}

fn int_name(bits: u8) -> &'static str {
    match bits {
        8 => "tinyint",
        16 => "smallint",
        24 => "mediumint",
        32 => "int",
        _ => "bigint",
    }
}

fn write_float(name: &str, digits: Option<(u16, u16)>, sign: Sign, out: &mut String) -> fmt::Result {
    out.push_str(name);
    if let Some((precision, scale)) = digits {
        write!(out, "({precision},{scale})")?;
    }
    sign.write(out)
}

fn write_members(name: &str, members: &[String], out: &mut String) -> fmt::Result {
    let members: Vec<String> = members.iter().map(|member| quote(member)).collect();
    write!(out, "{name}({})", members.join(","))
}

/// A string literal as the servers print it.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        match c {
            '\'' => out.push_str("''"),
            '\\' => out.push_str("\\\\"),
            '\0' => out.push_str("\\0"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}
