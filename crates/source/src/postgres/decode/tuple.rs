//! A row as pgoutput sends it: a count, then for each column whether it is null, unchanged, text or binary.
//!
//! Invariant: a [`Tuple`] that exists is whole; its cells can be walked without an error. Start at [`Tuple::read`].

use super::bytes::{Bad, Bytes, Read};
use headwater_model::limits::COLUMNS_MAX;

/// One column of a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// SQL NULL; in an old key, any column that is not part of it.
    Null,
    /// A value that is stored out of line and was not changed, and is not sent again.
    Unchanged,
    /// The type's text.
    Text(&'a [u8]),
    /// The type's binary form.
    Binary(&'a [u8]),
}

/// The columns of one row, borrowed from a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple<'a> {
    columns: u16,
    cells: &'a [u8],
}

const CUT_OFF: &str = "the row is cut off";

impl<'a> Tuple<'a> {
    /// Takes a tuple off the front of `input`.
    pub(super) fn read(input: &mut Bytes<'a>) -> Read<Tuple<'a>> {
        let columns = input.u16("the number of columns")?;
        if usize::from(columns) > COLUMNS_MAX {
            return Err(Bad("the number of columns: more than a table can have"));
        }
        let start = input.0;
        for _ in 0..columns {
            cell(input)?;
        }
        Ok(Tuple { columns, cells: &start[..start.len() - input.0.len()] })
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        usize::from(self.columns)
    }

    /// The columns in the relation's order.
    #[inline]
    pub fn cells(&self) -> impl Iterator<Item = Cell<'a>> + use<'a> {
        let mut rest = Bytes(self.cells);
        // `read` has walked over all of them, so this ends only after the last.
        std::iter::from_fn(move || cell(&mut rest).ok())
    }
}

#[inline]
fn cell<'a>(input: &mut Bytes<'a>) -> Read<Cell<'a>> {
    Ok(match input.u8(CUT_OFF)? {
        b'n' => Cell::Null,
        b'u' => Cell::Unchanged,
        b't' => Cell::Text(value(input)?),
        b'b' => Cell::Binary(value(input)?),
        _ => return Err(Bad("the kind of a column's value: none of n, u, t, b")),
    })
}

#[inline]
fn value<'a>(input: &mut Bytes<'a>) -> Read<&'a [u8]> {
    let length = input.u32(CUT_OFF)?;
    input.take(length as usize, CUT_OFF)
}
