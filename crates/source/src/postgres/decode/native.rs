//! The names of types with their modifiers, as the server's `format_type` prints them.
//!
//! Invariant: equal to the server's own answer for every built-in type, so that a shape made of a relation message, which
//! has numbers alone, is the shape that the catalogue gives. Start at [`native`].

use super::types::{PgType, Types};
use std::fmt::Write as _;

/// What a length is stored with, before the modifier became its own: the bytes of a length.
const HEADER: i32 = 4;

pub fn native(types: &Types, oid: u32, modifier: i32, depth: u32) -> String {
    let (Some(found), Some(depth)) = (types.get(oid), depth.checked_sub(1)) else {
        // What the server prints for a type that is gone.
        return "???".into();
    };
    match (found.element, found.base) {
        (Some(element), _) => match types.get(element) {
            Some(domain) if domain.base.is_some() => format!("{}[]", bare(domain)),
            _ => format!("{}[]", native(types, element, modifier, depth)),
        },
        (None, Some(base)) => bare(found) + &length(types, base, found.base_modifier, depth),
        (None, None) if modifier >= 0 => with_modifier(found, modifier),
        (None, None) => bare(found),
    }
}

/// The length of what a domain is made over, in brackets: unlike that of a number or a time it is told nowhere else.
fn length(types: &Types, base: u32, modifier: i32, depth: u32) -> String {
    let (Some(found), Some(depth)) = (types.get(base), depth.checked_sub(1)) else { return String::new() };
    match found.base {
        Some(base) => length(types, base, found.base_modifier, depth),
        None if matches!(found.name.as_str(), "varchar" | "bpchar") && modifier >= HEADER => {
            format!("({})", modifier - HEADER)
        }
        None => String::new(),
    }
}

/// Types of extensions that are known here have one name in every search path.
fn bare(found: &PgType) -> String {
    match found.extension {
        Some(_) if found.class == 'b' && is_plain(&found.name) => found.name.clone(),
        _ => found.formatted.clone(),
    }
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn with_modifier(found: &PgType, modifier: i32) -> String {
    if found.extension.is_some() {
        return format!("{}{}", bare(found), extension_modifier(&found.name, modifier));
    }
    if found.namespace != "pg_catalog" {
        return found.formatted.clone();
    }
    match found.name.as_str() {
        "varchar" if modifier >= HEADER => format!("character varying({})", modifier - HEADER),
        "bpchar" if modifier >= HEADER => format!("character({})", modifier - HEADER),
        "bit" => format!("bit({modifier})"),
        "varbit" => format!("bit varying({modifier})"),
        "numeric" => match numeric_modifier(modifier) {
            Some((precision, scale)) => format!("numeric({precision},{scale})"),
            None => found.formatted.clone(),
        },
        "time" => format!("time({modifier}) without time zone"),
        "timetz" => format!("time({modifier}) with time zone"),
        "timestamp" => format!("timestamp({modifier}) without time zone"),
        "timestamptz" => format!("timestamp({modifier}) with time zone"),
        "interval" => format!("interval{}", interval_modifier(modifier)),
        _ => found.formatted.clone(),
    }
}

/// Precision and scale; the scale has eleven bits with a sign since PostgreSQL 15, and is never negative before.
pub fn numeric_modifier(modifier: i32) -> Option<(u16, i16)> {
    let packed = modifier.checked_sub(HEADER).filter(|packed| *packed >= 0)?;
    let scale = ((packed & 0x7ff) ^ 0x400) - 0x400;
    Some(((packed >> 16) as u16, scale as i16))
}

/// ` day to second(3)`: the fields that are kept, and the digits of a second.
fn interval_modifier(modifier: i32) -> String {
    const YEAR: i32 = 1 << 2;
    const MONTH: i32 = 1 << 1;
    const DAY: i32 = 1 << 3;
    const HOUR: i32 = 1 << 10;
    const MINUTE: i32 = 1 << 11;
    const SECOND: i32 = 1 << 12;
    const YEAR_TO_MONTH: i32 = YEAR | MONTH;
    const DAY_TO_HOUR: i32 = DAY | HOUR;
    const DAY_TO_MINUTE: i32 = DAY_TO_HOUR | MINUTE;
    const DAY_TO_SECOND: i32 = DAY_TO_MINUTE | SECOND;
    const HOUR_TO_MINUTE: i32 = HOUR | MINUTE;
    const HOUR_TO_SECOND: i32 = HOUR_TO_MINUTE | SECOND;
    const MINUTE_TO_SECOND: i32 = MINUTE | SECOND;
    const FULL_PRECISION: i32 = 0xffff;
    let (fields, precision) = (modifier >> 16 & 0x7fff, modifier & 0xffff);
    let fields = match fields {
        YEAR => " year",
        MONTH => " month",
        DAY => " day",
        HOUR => " hour",
        MINUTE => " minute",
        SECOND => " second",
        YEAR_TO_MONTH => " year to month",
        DAY_TO_HOUR => " day to hour",
        DAY_TO_MINUTE => " day to minute",
        DAY_TO_SECOND => " day to second",
        HOUR_TO_MINUTE => " hour to minute",
        HOUR_TO_SECOND => " hour to second",
        MINUTE_TO_SECOND => " minute to second",
        _ => "",
    };
    if precision == FULL_PRECISION { fields.into() } else { format!("{fields}({precision})") }
}

fn extension_modifier(name: &str, modifier: i32) -> String {
    match name {
        "vector" | "halfvec" | "sparsevec" => format!("({modifier})"),
        "geometry" | "geography" => geometry_modifier(modifier),
        _ => String::new(),
    }
}

/// PostGIS packs the spatial reference id, the kind of geometry, and whether there are Z and M.
fn geometry_modifier(modifier: i32) -> String {
    const KINDS: [&str; 16] = [
        "Geometry",
        "Point",
        "LineString",
        "Polygon",
        "MultiPoint",
        "MultiLineString",
        "MultiPolygon",
        "GeometryCollection",
        "CircularString",
        "CompoundCurve",
        "CurvePolygon",
        "MultiCurve",
        "MultiSurface",
        "PolyhedralSurface",
        "Triangle",
        "Tin",
    ];
    let srid = ((modifier & 0x0fff_ff00) - (modifier & 0x1000_0000)) >> 8;
    let kind = (modifier & 0xfc) >> 2;
    if modifier & 3 == 0 && kind == 0 && srid == 0 {
        return String::new();
    }
    let mut text = format!("({}", KINDS.get(kind as usize).copied().unwrap_or("Unknown"));
    if modifier & 2 != 0 {
        text.push('Z');
    }
    if modifier & 1 != 0 {
        text.push('M');
    }
    if srid != 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, ",{srid}");
    }
    text.push(')');
    text
}
