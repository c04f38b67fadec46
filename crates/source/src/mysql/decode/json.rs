//! MySQL's binary JSON: a tree of offsets, read in place.
//!
//! Invariant: a document costs no more than its own length. Every step is paid from a [`Budget`] of the document's bytes,
//! so that offsets which point to the same bytes again and again cannot blow up, and depth is limited as in the server.
//! Format: MySQL's sql-common/json_binary.h.

use super::bytes::{Bad, Bytes, Read, le_uint};

/// The server's own limit of nesting.
pub const DEPTH_MAX: usize = 100;

/// What a document's bytes still pay for.
pub struct Budget(usize);

impl Budget {
    /// Enough for any document of `bytes` whose parts do not overlap.
    pub fn new(bytes: &[u8]) -> Budget {
        Budget(bytes.len() + 8)
    }

    fn pay(&mut self, cost: usize) -> Read<()> {
        self.0 = self.0.checked_sub(cost).ok_or(Bad("JSON whose parts overlap"))?;
        Ok(())
    }
}

/// A value.
#[derive(Clone, Copy, Debug)]
pub enum Node<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    /// UTF-8 as MySQL writes it; checked when it is printed.
    String(&'a [u8]),
    /// A value of a column type that JSON does not have.
    Opaque(u8, &'a [u8]),
    Array(Container<'a>),
    Object(Container<'a>),
}

/// An array or object.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    bytes: &'a [u8],
    count: usize,
    /// Offsets and counts have four bytes instead of two.
    large: bool,
    object: bool,
}

/// The document's root. No bytes at all stand for `null`, as in the server.
pub fn root<'a>(document: &'a [u8], budget: &mut Budget) -> Read<Node<'a>> {
    match document.split_first() {
        None => Ok(Node::Null),
        Some((&kind, bytes)) => value(kind, bytes, budget),
    }
}

/// A value of type `kind` at the head of `bytes`.
fn value<'a>(kind: u8, bytes: &'a [u8], budget: &mut Budget) -> Read<Node<'a>> {
    const CUT: &str = "JSON that is cut off";
    let mut rest = Bytes(bytes);
    Ok(match kind {
        0 | 1 => Node::Object(container(bytes, kind == 1, true)?),
        2 | 3 => Node::Array(container(bytes, kind == 3, false)?),
        4 => match rest.u8(CUT)? {
            0 => Node::Null,
            1 => Node::Bool(true),
            2 => Node::Bool(false),
            _ => return Err(Bad("a JSON literal that is not null, true or false")),
        },
        5 => Node::Int(i64::from(rest.u16(CUT)? as i16)),
        6 => Node::UInt(u64::from(rest.u16(CUT)?)),
        7 => Node::Int(i64::from(rest.u32(CUT)? as i32)),
        8 => Node::UInt(u64::from(rest.u32(CUT)?)),
        9 => Node::Int(rest.u64(CUT)? as i64),
        10 => Node::UInt(rest.u64(CUT)?),
        11 => Node::Double(f64::from_le_bytes(rest.array(CUT)?)),
        12 => Node::String(sized(&mut rest, budget)?),
        15 => {
            let kind = rest.u8(CUT)?;
            Node::Opaque(kind, sized(&mut rest, budget)?)
        }
        _ => return Err(Bad("a JSON type that is not known")),
    })
}

/// A length of seven bits a byte, at most five bytes, and the bytes.
fn sized<'a>(rest: &mut Bytes<'a>, budget: &mut Budget) -> Read<&'a [u8]> {
    const CUT: &str = "JSON that is cut off";
    let mut length = 0u64;
    for shift in (0..35).step_by(7) {
        let byte = rest.u8(CUT)?;
        length |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            let bytes = rest.take(usize::try_from(length).map_err(|_| Bad(CUT))?, CUT)?;
            budget.pay(bytes.len())?;
            return Ok(bytes);
        }
    }
    Err(Bad("a JSON length"))
}

fn container(bytes: &[u8], large: bool, object: bool) -> Read<Container<'_>> {
    const CUT: &str = "JSON that is cut off";
    let width = if large { 4 } else { 2 };
    let mut head = Bytes(bytes);
    let count = head.uint(width, CUT)? as usize;
    let size = head.uint(width, CUT)? as usize;
    let bytes = bytes.get(..size).ok_or(Bad(CUT))?;
    let container = Container { bytes, count, large, object };
    let entries = count.checked_mul(container.key_entry() + 1 + width).and_then(|size| size.checked_add(2 * width));
    if entries.is_none_or(|entries| entries > size) {
        return Err(Bad(CUT));
    }
    Ok(container)
}

impl<'a> Container<'a> {
    pub fn len(&self) -> usize {
        self.count
    }

    fn width(&self) -> usize {
        if self.large { 4 } else { 2 }
    }

    fn key_entry(&self) -> usize {
        if self.object { self.width() + 2 } else { 0 }
    }

    /// Key `index` of an object.
    pub fn key(&self, index: usize, budget: &mut Budget) -> Read<&'a [u8]> {
        const WHAT: Bad = Bad("a JSON key");
        let start = 2 * self.width() + index * self.key_entry();
        let entry = self.bytes.get(start..start + self.key_entry()).ok_or(WHAT)?;
        let (offset, length) = entry.split_at_checked(self.width()).ok_or(WHAT)?;
        let (offset, length) = (le_uint(offset) as usize, le_uint(length) as usize);
        budget.pay(self.key_entry() + length)?;
        self.bytes.get(offset..offset + length).ok_or(WHAT)
    }

    /// Value `index`.
    pub fn value(&self, index: usize, budget: &mut Budget) -> Read<Node<'a>> {
        const WHAT: Bad = Bad("a JSON value");
        let width = self.width();
        budget.pay(1 + width)?;
        let start = 2 * width + self.count * self.key_entry() + index * (1 + width);
        let (&kind, inlined) =
            self.bytes.get(start..start + 1 + width).and_then(|entry| entry.split_first()).ok_or(WHAT)?;
        // What fits into the place of an offset stands there itself.
        if matches!(kind, 4..=6) || self.large && matches!(kind, 7 | 8) {
            return value(kind, inlined, budget);
        }
        let target = self.bytes.get(le_uint(inlined) as usize..).ok_or(WHAT)?;
        value(kind, target, budget)
    }
}
