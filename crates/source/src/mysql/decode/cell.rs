//! One column's bytes into the model's encoding.
//!
//! Invariant: every byte string becomes exactly one value at the end of the buffer, or an error; nothing is written for
//! an error that a caller keeps, because the change is abandoned as a whole.

use super::bytes::{Bad, be_uint, bit, le_uint};
use super::charset::{Codec, Invalid};
use super::decimal::{Layout, TEXT_MAX};
use super::json_text;
use super::maria::inflate_column;
use super::rows::Places;
use super::temporal;
use headwater_model::Value;
use std::ops::Range;

/// What a column's bytes become.
#[derive(Clone, Debug)]
pub enum Becomes {
    I8,
    U8,
    I16,
    U16,
    I24,
    U24,
    I32,
    U32,
    I64,
    U64,
    Float,
    Double,
    Decimal(Layout),
    Year,
    Date,
    Time,
    Time2,
    DateTime,
    DateTime2,
    Timestamp,
    Timestamp2,
    Bit(u8),
    Text(Codec),
    Bytes,
    /// BINARY(n): the log leaves out the zeros at its end.
    Fixed(usize),
    Enum(Vec<String>),
    Set(Vec<String>),
    /// MySQL's binary JSON.
    Json,
    /// MariaDB's JSON, which is text.
    JsonText(Codec),
    Geometry,
    Vector,
    Uuid,
    Inet4,
    Inet6,
    CompressedText(Codec),
    CompressedBytes,
}

/// Why a column's bytes could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CellError {
    Bad(Bad),
    /// Not valid in this character set.
    Text(String),
}

impl From<Bad> for CellError {
    fn from(bad: Bad) -> Self {
        CellError::Bad(bad)
    }
}

/// Buffers that are reused from row to row.
#[derive(Default)]
pub struct Scratch {
    pub text: Vec<u8>,
    pub bytes: Vec<u8>,
    /// Places of key columns in the output: those of the image before, then those after.
    pub key: Vec<Range<usize>>,
    pub before: Places,
}

/// Bytes that a buffer of [`Scratch`] keeps from one event to the next.
const SCRATCH_KEEP_BYTES: usize = 64 << 10;

impl Scratch {
    /// Gives back what an unusually large value needed.
    pub fn shrink(&mut self) {
        for buffer in [&mut self.text, &mut self.bytes] {
            buffer.clear();
            buffer.shrink_to(SCRATCH_KEEP_BYTES);
        }
    }
}

impl Becomes {
    /// Appends the value of `bytes` to `out`.
    #[inline]
    pub fn put(&self, bytes: &[u8], out: &mut Vec<u8>, scratch: &mut Scratch) -> Result<(), CellError> {
        match self {
            Becomes::I8 => Value::Int(i64::from(array::<1>(bytes)?[0] as i8)).encode(out),
            Becomes::U8 => Value::UInt(u64::from(array::<1>(bytes)?[0])).encode(out),
            Becomes::I16 => Value::Int(i64::from(i16::from_le_bytes(array(bytes)?))).encode(out),
            Becomes::U16 => Value::UInt(u64::from(u16::from_le_bytes(array(bytes)?))).encode(out),
            Becomes::I24 => {
                let [a, b, c] = array(bytes)?;
                Value::Int(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)).encode(out);
            }
            Becomes::U24 => {
                let [a, b, c] = array(bytes)?;
                Value::UInt(u64::from(u32::from_le_bytes([a, b, c, 0]))).encode(out);
            }
            Becomes::I32 => Value::Int(i64::from(i32::from_le_bytes(array(bytes)?))).encode(out),
            Becomes::U32 => Value::UInt(u64::from(u32::from_le_bytes(array(bytes)?))).encode(out),
            Becomes::I64 => Value::Int(i64::from_le_bytes(array(bytes)?)).encode(out),
            Becomes::U64 => Value::UInt(u64::from_le_bytes(array(bytes)?)).encode(out),
            Becomes::Decimal(layout) => {
                let mut text = [0; TEXT_MAX];
                Value::Decimal(layout.write(bytes, &mut text)?).encode(out);
            }
            Becomes::Text(codec) => Value::Text(decode(codec, bytes, &mut scratch.text)?).encode(out),
            Becomes::Bytes => Value::Bytes(bytes).encode(out),
            Becomes::DateTime2 => Value::DateTime(temporal::date_time2(bytes)?).encode(out),
            Becomes::Timestamp2 => Value::Timestamp(temporal::timestamp2(bytes)?).encode(out),
            Becomes::Date => Value::Date(temporal::date(bytes)?).encode(out),
            _ => return self.put_rarer(bytes, out, scratch),
        }
        Ok(())
    }

    /// The other types: out of line, so that the common ones stay small.
    fn put_rarer(&self, bytes: &[u8], out: &mut Vec<u8>, scratch: &mut Scratch) -> Result<(), CellError> {
        match self {
            Becomes::Float => Value::Float(f32::from_le_bytes(array(bytes)?)).encode(out),
            Becomes::Double => Value::Double(f64::from_le_bytes(array(bytes)?)).encode(out),
            Becomes::Year => {
                let [year] = array(bytes)?;
                Value::Year(if year == 0 { 0 } else { 1900 + u16::from(year) }).encode(out);
            }
            Becomes::Time => Value::Time(temporal::time(bytes)?).encode(out),
            Becomes::Time2 => Value::Time(temporal::time2(bytes)?).encode(out),
            Becomes::DateTime => Value::DateTime(temporal::date_time(bytes)?).encode(out),
            Becomes::Timestamp => Value::Timestamp(temporal::timestamp(bytes)?).encode(out),
            Becomes::Bit(width) => {
                let value = be_uint(bytes);
                if *width < 64 && value >> width != 0 {
                    return Err(Bad("a BIT with more bits than its column").into());
                }
                Value::Bit(value).encode(out);
            }
            Becomes::Enum(members) => Value::Enum(member(members, bytes)?).encode(out),
            Becomes::Set(members) => Value::Set(join(members, bytes, &mut scratch.text)?).encode(out),
            Becomes::Fixed(width) => Value::Bytes(padded(bytes, *width, &mut scratch.bytes)?).encode(out),
            Becomes::Json => {
                scratch.text.clear();
                json_text::write(bytes, &mut scratch.text)?;
                let text = std::str::from_utf8(&scratch.text).map_err(|_| Bad("JSON text that is not UTF-8"))?;
                Value::Json(text).encode(out);
            }
            Becomes::JsonText(codec) => Value::Json(decode(codec, bytes, &mut scratch.text)?).encode(out),
            Becomes::Geometry => {
                let (srid, wkb) = bytes.split_first_chunk().ok_or(Bad("a geometry without its SRID"))?;
                Value::Geometry { srid: u32::from_le_bytes(*srid), wkb }.encode(out);
            }
            Becomes::Vector => {
                if !bytes.len().is_multiple_of(4) {
                    return Err(Bad("a vector that is not made of 32-bit floats").into());
                }
                Value::Vector(bytes).encode(out);
            }
            Becomes::Uuid => Value::Uuid(zero_padded(bytes)?).encode(out),
            Becomes::Inet4 => Value::Inet4(zero_padded(bytes)?).encode(out),
            Becomes::Inet6 => Value::Inet6(zero_padded(bytes)?).encode(out),
            Becomes::CompressedText(codec) => {
                scratch.bytes.clear();
                inflate_column(bytes, &mut scratch.bytes)?;
                Value::Text(decode(codec, &scratch.bytes, &mut scratch.text)?).encode(out);
            }
            Becomes::CompressedBytes => {
                scratch.bytes.clear();
                inflate_column(bytes, &mut scratch.bytes)?;
                Value::Bytes(&scratch.bytes).encode(out);
            }
            _ => return Err(Bad("a type without a decoder").into()),
        }
        Ok(())
    }
}

#[inline]
fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Bad> {
    bytes.try_into().map_err(|_| Bad("a number of the wrong width"))
}

#[inline]
fn decode<'a>(codec: &Codec, bytes: &'a [u8], out: &'a mut Vec<u8>) -> Result<&'a str, CellError> {
    codec.decode(bytes, out).map_err(|Invalid| CellError::Text(codec.name().to_owned()))
}

/// Index 0 is the invalid value that a lax server stores, the empty text.
fn member<'a>(members: &'a [String], bytes: &[u8]) -> Result<&'a str, Bad> {
    match le_uint(bytes) {
        0 => Ok(""),
        index => {
            let index = usize::try_from(index - 1).map_err(|_| Bad("an ENUM index beyond its members"))?;
            members.get(index).map(String::as_str).ok_or(Bad("an ENUM index beyond its members"))
        }
    }
}

fn join<'a>(members: &[String], bytes: &[u8], text: &'a mut Vec<u8>) -> Result<&'a str, Bad> {
    text.clear();
    let bits = le_uint(bytes);
    if members.len() < 64 && bits >> members.len() != 0 {
        return Err(Bad("a SET bit beyond its members"));
    }
    let mut first = true;
    for (i, member) in members.iter().enumerate() {
        if bit(bytes, i) {
            if !first {
                text.push(b',');
            }
            first = false;
            text.extend_from_slice(member.as_bytes());
        }
    }
    std::str::from_utf8(text).map_err(|_| Bad("a SET's text"))
}

fn padded<'a>(bytes: &[u8], width: usize, out: &'a mut Vec<u8>) -> Result<&'a [u8], Bad> {
    if bytes.len() > width {
        return Err(Bad("a BINARY longer than its column"));
    }
    out.clear();
    out.extend_from_slice(bytes);
    out.resize(width, 0);
    Ok(out)
}

fn zero_padded<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Bad> {
    let mut whole = [0; N];
    whole.get_mut(..bytes.len()).ok_or(Bad("an address or UUID longer than its column"))?.copy_from_slice(bytes);
    Ok(whole)
}
