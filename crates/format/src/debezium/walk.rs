//! A row's values in the order in which fields ask for them.
//!
//! Invariant: each value is decoded once where fields come in the order of columns, as rows do. Start at [`walk`].

use headwater_model::row::Values;
use headwater_model::{Row, Value};

/// A row's values by column. Rows come in the order of columns, and so do fields, mostly.
pub(super) struct Walk<'a> {
    row: Row<'a>,
    values: Values<'a>,
    /// The column of the value that `values` answers next.
    next: usize,
}

/// Begins before the first value.
#[inline]
pub(super) fn walk(row: Row<'_>) -> Walk<'_> {
    Walk { row, values: row.values(), next: 0 }
}

impl<'a> Walk<'a> {
    /// The value of a column.
    #[inline]
    pub fn value(&mut self, column: usize) -> Option<Value<'a>> {
        self.at(column).next()
    }

    /// The values from a column's on, of which the caller takes this one.
    #[inline]
    pub fn at(&mut self, column: usize) -> &mut Values<'a> {
        self.seek(column);
        self.next += 1;
        &mut self.values
    }

    /// What is stored from a column's value on.
    #[inline]
    pub fn stored(&mut self, column: usize) -> &'a [u8] {
        self.seek(column);
        self.values.stored()
    }

    /// Whether the log did not carry a column's value, or there is none.
    #[inline]
    pub fn is_absent(&mut self, column: usize) -> bool {
        self.seek(column);
        self.values.is_absent()
    }

    /// What is stored behind the last value that was asked for.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.values.stored()
    }

    /// A column's value as it is stored; nothing if there is none.
    #[inline]
    pub fn one(&mut self, column: usize) -> &'a [u8] {
        let from = self.stored(column);
        match self.value(column) {
            Some(_) => &from[..from.len() - self.rest().len()],
            None => &[],
        }
    }

    /// Goes past the value of a column if it is stored as `value` is.
    #[inline]
    pub fn skip_same(&mut self, column: usize, value: &[u8]) -> bool {
        self.seek(column);
        let is_same = self.values.skip_same(value);
        self.next += usize::from(is_same);
        is_same
    }

    #[inline]
    fn seek(&mut self, column: usize) {
        if self.next != column {
            self.seek_far(column);
        }
    }

    fn seek_far(&mut self, column: usize) {
        if self.next > column {
            *self = walk(self.row);
        }
        while self.next < column {
            self.values.next();
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_model::RowWriter;

    #[test]
    fn values_are_found_in_any_order() {
        let mut bytes = Vec::new();
        let mut row = RowWriter::begin(&mut bytes, 4);
        (10..14).for_each(|value| row.put(Value::Int(value)));
        drop(row);
        let row = Row::decode(&mut &bytes[..]).unwrap();
        let mut values = walk(row);
        for column in [0, 1, 3, 2, 2, 0, 3] {
            assert_eq!(values.value(column), Some(Value::Int(10 + column as i64)), "{column}");
        }
        assert_eq!((values.value(4), values.value(9), values.value(1)), (None, None, Some(Value::Int(11))));
        let last = values.stored(3);
        assert!(!values.skip_same(2, last) && values.skip_same(3, last) && values.rest().is_empty());
        assert!(!values.skip_same(0, &[]));
        let mut other = walk(row);
        assert!(other.skip_same(1, values.one(1)) && !other.skip_same(2, values.one(1)));
        assert_eq!((values.one(3), values.one(4)), (last, [].as_slice()));
    }
}
