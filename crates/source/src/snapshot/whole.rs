//! A table that is read whole, on its way into the journal.
//!
//! Invariant: of a table that was read before only what differs is written, unless every row is to be told again; what was
//! not read is deleted. Start at [`WholeTable::take`].

use super::markers::{Place, marker};
use super::rewrite::filled;
use headwater_model::source::{HeldRows, Intake, SidePart};
use headwater_model::{Op, Result, Row, Schema, TransactionBuilder};

/// The side segment that rows flow into.
pub const SIDE: &str = "snapshot";
/// Bytes of rows kept in memory.
const PART_BYTES_MAX: usize = 4 << 20;

/// A table that is being read.
pub struct WholeTable<'r> {
    schema: &'r Schema,
    place: Place,
    /// The rows that the journal has of it, where it was read before.
    held: Option<Box<dyn HeldRows>>,
    /// A row that is read again is told as one that was read.
    tells_again: bool,
    /// What has not left memory, also of tables before it.
    rows: &'r mut TransactionBuilder,
    /// Part of it has left memory.
    is_spilled: bool,
    /// The last row that is told as one that was read, which has no marker yet because only the end shows which is the last;
    /// and what the journal had of it before.
    last: Option<(Vec<u8>, Option<Vec<u8>>)>,
    /// Rows written before it.
    count: u32,
}

impl<'r> WholeTable<'r> {
    /// Of which nothing has been read; its rows go into `rows`, and from there into the side segment [`SIDE`].
    pub fn new(
        schema: &'r Schema,
        place: Place,
        held: Option<Box<dyn HeldRows>>,
        tells_again: bool,
        rows: &'r mut TransactionBuilder,
    ) -> Self {
        WholeTable { schema, place, held, tells_again, rows, is_spilled: false, last: None, count: 0 }
    }

    /// Takes a row that was read.
    pub fn take(&mut self, row: &[u8], intake: &mut dyn Intake) -> Result<()> {
        let earlier = match (&mut self.held, Row::decode(&mut &row[..])) {
            (Some(held), Some(row)) => held.take(&row)?,
            _ => None,
        };
        match earlier {
            None => self.put(row, None, intake),
            Some(earlier) if self.tells_again => self.put(row, Some(earlier.row), intake),
            Some(earlier) if earlier.row == row || self.schema.key.is_empty() => Ok(()),
            Some(earlier) => {
                let earlier = filled(earlier, Row::decode(&mut &row[..]))?;
                self.change(Op::Update, &[&earlier.row, row], intake)
            }
        }
    }

    /// All rows were taken; answers whether any has left memory. What a query (`is_part`) leaves out is not gone.
    pub fn end(mut self, is_part: bool, intake: &mut dyn Intake) -> Result<bool> {
        if let Some(last) = self.last.take() {
            self.write(last, true);
            self.spill_if_large(intake)?;
        }
        if let Some(mut held) = self.held.take().filter(|_| !is_part) {
            held.unseen(&mut |row| self.change(Op::Delete, &[&filled(row.clone(), None)?.row], intake))?;
        }
        Ok(self.is_spilled)
    }

    fn put(&mut self, row: &[u8], earlier: Option<Vec<u8>>, intake: &mut dyn Intake) -> Result<()> {
        if let Some(last) = self.last.take() {
            self.write(last, false);
        }
        self.last = Some((row.to_vec(), earlier));
        self.spill_if_large(intake)
    }

    fn write(&mut self, (row, earlier): (Vec<u8>, Option<Vec<u8>>), is_last: bool) {
        let (schema, marker) = (self.schema.id, marker(self.place, self.count == 0, is_last));
        let out = match earlier {
            None => self.rows.begin_read(schema, self.count, marker),
            Some(earlier) => {
                let out = self.rows.begin_read_again(schema, self.count, marker);
                out.extend_from_slice(&earlier);
                out
            }
        };
        out.extend_from_slice(&row);
        self.rows.end(Op::Read, schema, false);
        self.count = self.count.wrapping_add(1);
    }

    /// Takes what became of a row that the journal has.
    fn change(&mut self, op: Op, rows: &[&[u8]], intake: &mut dyn Intake) -> Result<()> {
        let out = self.rows.begin(op, self.schema.id, 0, self.count);
        rows.iter().for_each(|row| out.extend_from_slice(row));
        self.rows.end(op, self.schema.id, false);
        self.count = self.count.wrapping_add(1);
        self.spill_if_large(intake)
    }

    fn spill_if_large(&mut self, intake: &mut dyn Intake) -> Result<()> {
        if self.rows.len() >= PART_BYTES_MAX {
            intake.spill(&SidePart { id: SIDE }, self.rows)?;
            self.rows.clear();
            self.is_spilled = true;
        }
        Ok(())
    }
}
