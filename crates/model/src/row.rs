//! A row: the number of its columns, then each value in the schema's order.
//!
//! Invariant: a row is self-describing; its values can be read without its schema, which gives only their names.

use crate::value::Value;
use crate::varint::{put_u64, take_u64};

/// A row borrowed from a journal frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    count: usize,
    values: &'a [u8],
}

impl<'a> Row<'a> {
    /// Takes a row off the front of `input`, checking every value; `None` when the bytes are cut off or damaged.
    pub fn decode(input: &mut &'a [u8]) -> Option<Row<'a>> {
        let count = usize::try_from(take_u64(input)?).ok()?;
        let start = *input;
        for _ in 0..count {
            Value::decode(input)?;
        }
        Some(Row { count, values: &start[..start.len() - input.len()] })
    }

    /// Appends this row again, byte for byte.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.count as u64);
        out.extend_from_slice(self.values);
    }

    /// Appends the values of the columns in `key`, in key order: what identifies the row.
    pub fn encode_key(&self, key: &[u16], out: &mut Vec<u8>) {
        for &column in key {
            self.get(usize::from(column)).unwrap_or(Value::Absent).encode(out);
        }
    }

    /// The number of columns.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the row has no column at all.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The values, in the schema's order.
    pub fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut rest = self.values;
        // `decode` has read every value once, so this ends only at the last one.
        std::iter::from_fn(move || Value::decode(&mut rest))
    }

    /// The value of column `index`, walking past those before it.
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        self.values().nth(index)
    }
}

/// Writes rows into a buffer, one value after another.
pub struct RowWriter<'a> {
    out: &'a mut Vec<u8>,
    left: usize,
}

impl<'a> RowWriter<'a> {
    /// Begins a row of `count` columns at the end of `out`.
    #[inline]
    pub fn begin(out: &'a mut Vec<u8>, count: usize) -> Self {
        put_u64(out, count as u64);
        RowWriter { out, left: count }
    }

    /// Writes the next column.
    #[inline]
    pub fn put(&mut self, value: Value<'_>) {
        debug_assert!(self.left > 0, "more values than the row has columns");
        self.left -= 1;
        value.encode(self.out);
    }
}

impl Drop for RowWriter<'_> {
    fn drop(&mut self) {
        debug_assert!(self.left == 0 || std::thread::panicking(), "{} columns were not written", self.left);
    }
}
