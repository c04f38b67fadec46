//! Geometries and vectors.
//!
//! Invariant: the bytes of a geometry are shown as they are; only a point's coordinates are read out of them. Start at
//! [`write`].

use crate::connect::java;
use crate::connect::json::{self, Alphabet};
use headwater_model::Value;

/// Writes a point or a geometry; false when the bytes are none.
pub(super) fn write(out: &mut Vec<u8>, value: Value<'_>, point: bool) -> bool {
    let Value::Geometry { srid, wkb } = value else { return false };
    out.push(b'{');
    if point {
        let Some((x, y)) = coordinates(wkb) else { return false };
        out.extend_from_slice(b"\"x\":");
        java::double(out, x);
        out.extend_from_slice(b",\"y\":");
        java::double(out, y);
        out.push(b',');
    }
    out.extend_from_slice(b"\"wkb\":");
    json::base64(out, wkb, Alphabet::Standard);
    out.extend_from_slice(b",\"srid\":");
    match srid {
        0 => out.extend_from_slice(b"null"),
        srid => json::integer(out, i64::from(srid)),
    }
    out.push(b'}');
    true
}

/// The first two numbers behind the byte order and the type.
fn coordinates(wkb: &[u8]) -> Option<(f64, f64)> {
    let little = *wkb.first()? == 1;
    let read = |at: usize| {
        let bytes: [u8; 8] = wkb.get(at..at + 8)?.try_into().ok()?;
        Some(if little { f64::from_le_bytes(bytes) } else { f64::from_be_bytes(bytes) })
    };
    Some((read(5)?, read(13)?))
}

/// Writes a vector of floats, as doubles where `double`.
pub(super) fn write_vector(out: &mut Vec<u8>, value: Value<'_>, double: bool) -> bool {
    let Value::Vector(bytes) = value else { return false };
    out.push(b'[');
    for (index, bytes) in bytes.as_chunks::<4>().0.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let number = f32::from_le_bytes(*bytes);
        match double {
            // The shortest text of the float, read as a double: what the server printed.
            true => {
                let mut text = Vec::new();
                java::float(&mut text, number);
                let shown = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
                java::double(out, shown.unwrap_or(f64::from(number)));
            }
            false => java::float(out, number),
        }
    }
    out.push(b']');
    true
}
