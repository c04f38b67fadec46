//! An array value: its dimensions, then its elements in row-major order.
//!
//! Layout: number of dimensions, for each its length and its lower bound (varints), then each element encoded as a
//! [`Value`]. Invariant: an [`Array`] that exists is whole: its elements are as many as its dimensions say.

use crate::value::Value;
use crate::varint::{put_i64, put_u64, take_i64, take_u64};

/// PostgreSQL's limit (MAXDIM).
pub const DIMENSIONS_MAX: usize = 6;

/// One dimension of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// How many elements.
    pub length: u32,
    /// The index of the first; 1 unless it was chosen otherwise.
    pub lower_bound: i32,
}

/// An array borrowed from the bytes it is stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array<'a> {
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Reads `bytes`, checking every element; `None` when they are damaged.
    pub(crate) fn decode(bytes: &'a [u8], depth: u32) -> Option<Array<'a>> {
        let mut rest = bytes;
        let dimensions = usize::try_from(take_u64(&mut rest)?).ok()?;
        if dimensions > DIMENSIONS_MAX {
            return None;
        }
        let mut count = u64::from(dimensions > 0);
        for _ in 0..dimensions {
            let length = u32::try_from(take_u64(&mut rest)?).ok()?;
            i32::try_from(take_i64(&mut rest)?).ok()?;
            count = count.checked_mul(u64::from(length))?;
        }
        // Each element takes a byte at least, so a claimed count ends with the bytes.
        for _ in 0..count {
            Value::decode_within(&mut rest, depth)?;
        }
        rest.is_empty().then_some(Array { bytes })
    }

    /// Its encoding.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// From the outermost to the innermost; none for an empty array.
    pub fn dimensions(&self) -> Vec<Dimension> {
        self.parts().0
    }

    /// The elements in row-major order.
    pub fn elements(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut rest = self.parts().1;
        // `decode` has read every element once, so this ends only at the last one.
        std::iter::from_fn(move || Value::decode(&mut rest))
    }

    fn parts(&self) -> (Vec<Dimension>, &'a [u8]) {
        let mut rest = self.bytes;
        let count = take_u64(&mut rest).unwrap_or(0);
        let mut dimension = || {
            let length = u32::try_from(take_u64(&mut rest)?).ok()?;
            Some(Dimension { length, lower_bound: i32::try_from(take_i64(&mut rest)?).ok()? })
        };
        let dimensions = (0..count).map_while(|_| dimension()).collect();
        (dimensions, rest)
    }
}

/// Writes an array into a buffer of its own, one element after another.
#[derive(Clone, Debug, Default)]
pub struct ArrayWriter {
    bytes: Vec<u8>,
}

impl ArrayWriter {
    /// Begins an array of `dimensions`; the elements follow, in row-major order.
    pub fn begin(&mut self, dimensions: &[Dimension]) {
        self.bytes.clear();
        put_u64(&mut self.bytes, dimensions.len() as u64);
        for dimension in dimensions {
            put_u64(&mut self.bytes, u64::from(dimension.length));
            put_i64(&mut self.bytes, i64::from(dimension.lower_bound));
        }
    }

    /// Writes the next element.
    pub fn put(&mut self, value: Value<'_>) {
        value.encode(&mut self.bytes);
    }

    /// The array as a value; `None` when its elements are not as many as its dimensions say.
    pub fn value(&self) -> Option<Value<'_>> {
        Array::decode(&self.bytes, 7).map(Value::Array)
    }
}
