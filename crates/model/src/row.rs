//! A row: the number of its columns, then each value in the schema's order. A value that the log did not carry may have been
//! filled in; it bears a mark, and [`Row::as_logged`] shows the row without it.
//!
//! Invariant: a row is self-describing; its values can be read without its schema, which gives only their names.

use crate::value::Value;
use crate::varint::{put_u64, take_u64};

/// A row borrowed from a journal frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    count: usize,
    values: &'a [u8],
    view: View,
}

/// What of a row is shown. As wide as a word: a row is copied often, and bytes that fill one up would be copied one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
enum View {
    Whole,
    AsLogged,
}

impl<'a> Row<'a> {
    /// Takes a row off the front of `input`, checking every value; `None` when the bytes are cut off or damaged.
    pub fn decode(input: &mut &'a [u8]) -> Option<Row<'a>> {
        let count = usize::try_from(take_u64(input)?).ok()?;
        let start = *input;
        for _ in 0..count {
            Value::decode(input)?;
        }
        Some(Row { count, values: &start[..start.len() - input.len()], view: View::Whole })
    }

    /// The row with what the log itself carried: what was filled in is [`Value::Absent`].
    pub fn as_logged(self) -> Row<'a> {
        Row { view: View::AsLogged, ..self }
    }

    /// Appends this row again, byte for byte, with what was filled in.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.count as u64);
        out.extend_from_slice(self.values);
    }

    /// Appends this row with each column that the log did not carry filled in from `known`, whose columns stand where
    /// `places` says. Answers whether none is missing now.
    pub fn encode_filled(&self, known: &Row<'_>, places: &[Option<usize>], out: &mut Vec<u8>) -> bool {
        let known: Vec<Value<'_>> = known.values().collect();
        let mut is_whole = true;
        let mut writer = RowWriter::begin(out, self.count);
        for (index, value) in self.values().enumerate() {
            if value != Value::Absent {
                writer.put(value);
                continue;
            }
            let place = places.get(index).copied().flatten();
            match place.and_then(|place| known.get(place)).filter(|value| **value != Value::Absent) {
                Some(value) => writer.put_filled(*value),
                None => {
                    is_whole = false;
                    writer.put(Value::Absent);
                }
            }
        }
        is_whole
    }

    /// Whether the log did not carry some column, and nothing was filled in for it.
    pub fn is_partial(&self) -> bool {
        self.values().any(|value| value == Value::Absent)
    }

    /// Whether the log carried no column at all.
    #[inline]
    pub fn is_absent(&self) -> bool {
        let mut values = self.values();
        while values.is_absent() {
            if values.next().is_none() {
                return true;
            }
        }
        false
    }

    /// Whether all columns in `key` are there.
    pub fn has(&self, key: &[u16]) -> bool {
        key.iter().all(|&column| self.get(usize::from(column)).is_some_and(|value| value != Value::Absent))
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
    #[inline]
    pub fn values(&self) -> Values<'a> {
        Values { rest: self.values, view: self.view }
    }

    /// The value of column `index`, walking past those before it.
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        self.values().nth(index)
    }
}

/// The values of a row, one after another, which can be compared as they are stored.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    rest: &'a [u8],
    view: View,
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<Value<'a>> {
        // `decode` has read every value once, so this ends only at the last one. A value is answered where it was made: to
        // move it costs more than to read it.
        if self.hides_next() {
            return Value::decode(&mut self.rest).map(|_| Value::Absent);
        }
        Value::decode(&mut self.rest)
    }
}

impl<'a> Values<'a> {
    /// The bytes of the values that were not taken yet.
    #[inline]
    pub fn stored(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether the next value is [`Value::Absent`], or there is none.
    #[inline]
    pub fn is_absent(&self) -> bool {
        Value::is_absent(self.rest) || self.hides_next()
    }

    #[inline]
    fn hides_next(&self) -> bool {
        self.view == View::AsLogged && Value::is_filled(self.rest)
    }

    /// Takes the next value if it is a signed integer. This and the next two spare making a [`Value`] of the most frequent.
    #[inline]
    pub fn int(&mut self) -> Option<i64> {
        Value::take_int(&mut self.rest)
    }

    /// Takes the next value if it is a text: as bytes, which [`Row::decode`] has found to be UTF-8.
    #[inline]
    pub fn text(&mut self) -> Option<&'a [u8]> {
        Value::take_text(&mut self.rest)
    }

    /// Takes the next value if it is a decimal: its digits as bytes.
    #[inline]
    pub fn decimal(&mut self) -> Option<&'a [u8]> {
        Value::take_decimal(&mut self.rest)
    }

    /// Takes the next value if its bytes are those of `value`, which are one value's: none is the beginning of another.
    #[inline]
    pub fn skip_same(&mut self, value: &[u8]) -> bool {
        match self.rest.strip_prefix(value) {
            Some(rest) if !value.is_empty() => {
                self.rest = rest;
                true
            }
            _ => false,
        }
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

impl RowWriter<'_> {
    /// Writes the next column, which was filled in.
    pub fn put_filled(&mut self, value: Value<'_>) {
        debug_assert!(self.left > 0, "more values than the row has columns");
        self.left -= 1;
        value.encode_filled(self.out);
    }
}

impl Drop for RowWriter<'_> {
    fn drop(&mut self) {
        debug_assert!(self.left == 0 || std::thread::panicking(), "{} columns were not written", self.left);
    }
}
