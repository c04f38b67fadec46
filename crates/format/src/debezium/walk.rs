//! A row's values in the order in which fields ask for them.
//!
//! Invariant: each value is decoded once where fields come in the order of columns, as rows do. Start at [`walk`].

use headwater_model::{Row, Value};

/// A row's values by column. Rows come in the order of columns, and so do fields, mostly.
pub(super) struct Walk<'a, V> {
    row: Row<'a>,
    values: V,
    next: usize,
}

/// Begins before the first value.
pub(super) fn walk<'a>(row: Row<'a>) -> Walk<'a, impl Iterator<Item = Value<'a>>> {
    Walk { row, values: row.values(), next: 0 }
}

impl<'a, V: Iterator<Item = Value<'a>>> Walk<'a, V> {
    /// The value of a column.
    #[inline]
    pub fn value(&mut self, column: usize) -> Option<Value<'a>> {
        while self.next < column {
            self.values.next();
            self.next += 1;
        }
        if self.next > column {
            return self.row.get(column);
        }
        self.next += 1;
        self.values.next()
    }
}
