//! Rows of one shape into the model's encoding: planned once for a relation, then run for each of its rows.
//!
//! Invariant: a row is written whole or not at all; what the log did not carry is [`Value::Absent`], never NULL. Start at
//! [`RowPlan::row`].

use super::bytes::{Bad, Read};
use super::cell::{Becomes, binary, text};
use super::message::{Old, Relation};
use super::tuple::{Cell, Tuple};
use super::types::Types;
use headwater_model::Value;
use headwater_model::varint::put_u64;

/// How to read the rows of one relation.
#[derive(Clone, Debug)]
pub struct RowPlan {
    table: String,
    columns: Vec<ColumnPlan>,
    /// Columns that rows carry.
    visible: usize,
    scratch: Vec<u8>,
}

#[derive(Clone, Debug)]
struct ColumnPlan {
    name: String,
    becomes: Becomes,
    excluded: bool,
    is_identity: bool,
}

/// One column of the rows to be read.
#[derive(Clone, Copy, Debug)]
pub struct PlannedColumn<'a> {
    /// Its name, for errors.
    pub name: &'a str,
    /// The number of its type.
    pub type_oid: u32,
    /// The type's modifier; -1 for none.
    pub type_modifier: i32,
    /// Whether a filter leaves it out: then rows do not carry it.
    pub excluded: bool,
    /// Whether it is part of the replica identity.
    pub is_identity: bool,
}

/// A row that cannot be read. The source stops: to go on would lose the change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// A value is not of its type.
    #[error(
        "a value of column {column} of {table} {what}. A pooler in between may have changed the session's settings: connect to the server itself; if it stays, leave the column out with a filter and report the type of the column with this message"
    )]
    Value {
        /// `schema.table`.
        table: String,
        /// The column.
        column: String,
        /// What was expected.
        what: &'static str,
    },
    /// The row has another number of columns than the relation.
    #[error(
        "a row of {table} has {seen} columns, but the shape that was sent before it has {expected}: the connection or a pooler in between damages the stream; connect to the server itself, and start again"
    )]
    Columns {
        /// `schema.table`.
        table: String,
        /// Columns of the row.
        seen: usize,
        /// Columns of the shape.
        expected: usize,
    },
}

/// Bytes kept for one value between two rows; a larger buffer is given back.
const SCRATCH_KEEP_BYTES: usize = 1 << 20;

impl RowPlan {
    /// A plan for the rows of `table`, which is named so in errors.
    pub fn new<'a>(table: &str, columns: impl IntoIterator<Item = PlannedColumn<'a>>, types: &Types) -> RowPlan {
        let columns: Vec<ColumnPlan> = columns
            .into_iter()
            .map(|column| ColumnPlan {
                name: column.name.into(),
                becomes: types.resolve(column.type_oid, column.type_modifier).1,
                excluded: column.excluded,
                is_identity: column.is_identity,
            })
            .collect();
        let visible = columns.iter().filter(|column| !column.excluded).count();
        RowPlan { table: table.into(), columns, visible, scratch: Vec::new() }
    }

    /// A plan for the rows that follow a relation message; `excluded` says which columns a filter leaves out.
    pub fn of_relation(relation: &Relation<'_>, types: &Types, excluded: impl Fn(&str) -> bool) -> RowPlan {
        let columns = relation.columns().map(|column| PlannedColumn {
            name: column.name,
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
            excluded: excluded(column.name),
            is_identity: column.is_identity,
        });
        Self::new(&format!("{}.{}", relation.namespace, relation.name), columns, types)
    }

    /// Whether the column at `index` may be asked for in its binary form.
    pub fn has_binary(&self, index: usize) -> bool {
        self.columns.get(index).is_some_and(|column| column.becomes.has_binary())
    }

    /// Appends a row to `out`: of a [`super::Tuple`], or of the fields of a query's result.
    ///
    /// # Errors
    /// Then nothing is appended.
    #[inline]
    pub fn row<'t>(&mut self, cells: impl Iterator<Item = Cell<'t>>, out: &mut Vec<u8>) -> Result<(), RowError> {
        self.write(cells, |_| true, out)
    }

    /// Appends the row as it is after an update. What was stored out of line and not changed is not sent again, but where
    /// the old row, or the old key, carries it, it is known.
    ///
    /// # Errors
    /// Then nothing is appended.
    #[inline]
    pub fn new_row<'t>(&mut self, old: Option<Old<'t>>, new: &Tuple<'t>, out: &mut Vec<u8>) -> Result<(), RowError> {
        let (old, is_key) = match old {
            None => return self.row(new.cells(), out),
            Some(Old::Row(tuple)) => (tuple, false),
            Some(Old::Key(tuple)) => (tuple, true),
        };
        let mut old = old.cells();
        // A NULL in an old key says only that the column is not part of it.
        let cells = new.cells().map(|cell| match (cell, old.next()) {
            (Cell::Unchanged, Some(old)) if !(is_key && old == Cell::Null) => old,
            (cell, _) => cell,
        });
        self.row(cells, out)
    }

    /// Appends what the log carries of the row as it was: of an old key, the columns of the replica identity; of nothing
    /// no column at all, which means that the identity did not change.
    ///
    /// # Errors
    /// Then nothing is appended.
    pub fn old_row(&mut self, old: Option<Old<'_>>, out: &mut Vec<u8>) -> Result<(), RowError> {
        match old {
            Some(Old::Row(tuple)) => self.write(tuple.cells(), |_| true, out),
            Some(Old::Key(tuple)) => self.write(tuple.cells(), |column| column.is_identity, out),
            None => self.write(std::iter::repeat_n(Cell::Unchanged, self.columns.len()), |_| true, out),
        }
    }

    #[inline]
    fn write<'t>(
        &mut self,
        cells: impl Iterator<Item = Cell<'t>>,
        is_known: impl Fn(&ColumnPlan) -> bool,
        out: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        let start = out.len();
        let written = self.write_cells(cells, is_known, out);
        if written.is_err() {
            out.truncate(start);
        }
        self.scratch.clear();
        self.scratch.shrink_to(SCRATCH_KEEP_BYTES);
        written
    }

    #[inline]
    fn write_cells<'t>(
        &mut self,
        mut cells: impl Iterator<Item = Cell<'t>>,
        is_known: impl Fn(&ColumnPlan) -> bool,
        out: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        put_u64(out, self.visible as u64);
        let expected = self.columns.len();
        for (index, column) in self.columns.iter_mut().enumerate() {
            let Some(cell) = cells.next() else {
                return Err(RowError::Columns { table: self.table.clone(), seen: index, expected });
            };
            if column.excluded {
                continue;
            }
            if !is_known(column) {
                Value::Absent.encode(out);
                continue;
            }
            if let Err(Bad(what)) = put(&mut column.becomes, cell, &mut self.scratch, out) {
                return Err(RowError::Value { table: self.table.clone(), column: column.name.clone(), what });
            }
        }
        match cells.count() {
            0 => Ok(()),
            more => Err(RowError::Columns { table: self.table.clone(), seen: expected + more, expected }),
        }
    }
}

#[inline]
fn put(becomes: &mut Becomes, cell: Cell<'_>, scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> Read<()> {
    let value = match cell {
        Cell::Text(bytes) => text(becomes, bytes, scratch)?,
        Cell::Binary(bytes) => binary(becomes, bytes, scratch)?,
        Cell::Null => Value::Null,
        Cell::Unchanged => Value::Absent,
    };
    value.encode(out);
    Ok(())
}
