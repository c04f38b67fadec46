//! Points of the plane, PostGIS's geometries, and vectors.
//!
//! Invariant: a geometry is the bytes that PostGIS wrote, nothing added or taken out: its extended form of well-known
//! binary, with flags for Z, M and the spatial reference id. The id stands beside them, too.

use super::bits::hex;
use super::bytes::{Bad, Bytes, Read};
use super::numeric::{binary_double, binary_float, double, float};
use headwater_model::Value;

const POINT: Bad = Bad("is not a point");
const GEOMETRY: Bad = Bad("is not a geometry as PostGIS prints it");
const VECTOR: Bad = Bad("is not a vector");

/// Well-known binary of a point, little-endian.
const POINT_HEAD: [u8; 5] = [1, 1, 0, 0, 0];
/// The flag of the extended form that says that a spatial reference id follows.
const HAS_SRID: u32 = 0x2000_0000;

/// `(1.5,-2)`.
pub fn point<'a>(text: &[u8], scratch: &'a mut Vec<u8>) -> Read<Value<'a>> {
    let inner = text.strip_prefix(b"(").and_then(|text| text.strip_suffix(b")")).ok_or(POINT)?;
    let comma = inner.iter().position(|byte| *byte == b',').ok_or(POINT)?;
    let coordinate = |text| double(text).map_err(|_| POINT);
    Ok(point_of(coordinate(&inner[..comma])?, coordinate(&inner[comma + 1..])?, scratch))
}

/// Two doubles.
pub fn binary_point<'a>(bytes: &[u8], scratch: &'a mut Vec<u8>) -> Read<Value<'a>> {
    let (x, y) = bytes.split_at_checked(8).ok_or(POINT)?;
    let coordinate = |bytes| binary_double(bytes).map_err(|_| POINT);
    Ok(point_of(coordinate(x)?, coordinate(y)?, scratch))
}

fn point_of(x: f64, y: f64, scratch: &mut Vec<u8>) -> Value<'_> {
    scratch.clear();
    scratch.extend_from_slice(&POINT_HEAD);
    scratch.extend_from_slice(&x.to_le_bytes());
    scratch.extend_from_slice(&y.to_le_bytes());
    Value::Geometry { srid: 0, wkb: scratch }
}

/// Extended well-known binary in digits of base 16.
pub fn geometry<'a>(text: &[u8], scratch: &'a mut Vec<u8>) -> Read<Value<'a>> {
    binary_geometry(hex(text, scratch).ok_or(GEOMETRY)?)
}

/// Extended well-known binary.
pub fn binary_geometry(bytes: &[u8]) -> Read<Value<'_>> {
    let mut head = Bytes(bytes);
    let big_endian = match head.u8(GEOMETRY.0)? {
        0 => true,
        1 => false,
        _ => return Err(GEOMETRY),
    };
    let number = |bytes: [u8; 4]| if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
    let kind = number(head.array(GEOMETRY.0)?);
    let srid = if kind & HAS_SRID == 0 { 0 } else { number(head.array(GEOMETRY.0)?) };
    Ok(Value::Geometry { srid, wkb: bytes })
}

/// `[1,2.5,-3]`: 32-bit floats; those of `halfvec` are printed as such, too.
pub fn vector<'a>(text: &[u8], scratch: &'a mut Vec<u8>) -> Read<Value<'a>> {
    let inner = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")).ok_or(VECTOR)?;
    scratch.clear();
    if !inner.is_empty() {
        for number in inner.split(|byte| *byte == b',') {
            let number = float(number.trim_ascii()).map_err(|_| VECTOR)?;
            scratch.extend_from_slice(&number.to_le_bytes());
        }
    }
    Ok(Value::Vector(scratch))
}

/// The number of floats, two bytes without meaning, the floats.
pub fn binary_vector<'a>(bytes: &[u8], scratch: &'a mut Vec<u8>) -> Read<Value<'a>> {
    let mut bytes = Bytes(bytes);
    let count = usize::from(bytes.u16(VECTOR.0)?);
    bytes.u16(VECTOR.0)?;
    let (floats, rest) = bytes.0.as_chunks::<4>();
    if floats.len() != count || !rest.is_empty() {
        return Err(VECTOR);
    }
    scratch.clear();
    for number in floats {
        scratch.extend_from_slice(&binary_float(number)?.to_le_bytes());
    }
    Ok(Value::Vector(scratch))
}
