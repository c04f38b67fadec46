//! Rows events: inserts, updates and deletes, transcoded row by row into the model's encoding.
//!
//! Invariant: a row is read exactly once, and the bytes of an event must come out even; a column that is not in the
//! image is an error, or, in an update, the column's value before it. Start at [`RowsEvent::transcode`]. Format:
//! `Rows_event` in MySQL's libs/mysql/binlog/event.

use super::bytes::{Bad, Bytes, Read, bit};
use super::cell::{CellError, Scratch};
use super::error::DecodeError;
use super::header::{EventHeader, EventKind};
use super::json_diff;
use super::maria;
use super::plan::TablePlan;
use headwater_model::{Op, TransactionBuilder, Value, varint};
use std::ops::Range;

/// What happened to the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsKind {
    /// Inserted.
    Write,
    /// Updated: two images each.
    Update,
    /// Updated, JSON columns as differences.
    PartialUpdate,
    /// Deleted.
    Delete,
}

impl RowsKind {
    /// The kind and whether the event is of version 2, for types whose rows stand as they are.
    pub(super) fn plain(kind: EventKind) -> Option<(RowsKind, bool)> {
        Some(match kind {
            EventKind::WRITE_ROWS_V1 => (RowsKind::Write, false),
            EventKind::UPDATE_ROWS_V1 => (RowsKind::Update, false),
            EventKind::DELETE_ROWS_V1 => (RowsKind::Delete, false),
            EventKind::WRITE_ROWS => (RowsKind::Write, true),
            EventKind::UPDATE_ROWS => (RowsKind::Update, true),
            EventKind::DELETE_ROWS => (RowsKind::Delete, true),
            EventKind::PARTIAL_UPDATE_ROWS => (RowsKind::PartialUpdate, true),
            _ => return None,
        })
    }

    /// The same for MariaDB's compressed types.
    pub(super) fn compressed(kind: EventKind) -> Option<(RowsKind, bool)> {
        Some(match kind {
            EventKind::WRITE_ROWS_COMPRESSED_V1 => (RowsKind::Write, false),
            EventKind::UPDATE_ROWS_COMPRESSED_V1 => (RowsKind::Update, false),
            EventKind::DELETE_ROWS_COMPRESSED_V1 => (RowsKind::Delete, false),
            EventKind::WRITE_ROWS_COMPRESSED => (RowsKind::Write, true),
            EventKind::UPDATE_ROWS_COMPRESSED => (RowsKind::Update, true),
            EventKind::DELETE_ROWS_COMPRESSED => (RowsKind::Delete, true),
            _ => return None,
        })
    }

    /// The model's name of it.
    pub fn op(self) -> Op {
        match self {
            RowsKind::Write => Op::Create,
            RowsKind::Update | RowsKind::PartialUpdate => Op::Update,
            RowsKind::Delete => Op::Delete,
        }
    }
}

/// Rows of one table.
#[derive(Clone, Copy, Debug)]
pub struct RowsEvent<'a> {
    /// The number that a table map gave the table.
    pub table_id: u64,
    /// What happened.
    pub kind: RowsKind,
    /// `STMT_END_F` is 1.
    pub flags: u16,
    /// Columns of the table.
    pub columns: u64,
    header: EventHeader,
    /// Columns in the only image, or the image before.
    first: &'a [u8],
    /// Columns in the image after; updates only.
    second: &'a [u8],
    rows: &'a [u8],
}

/// Reads a rows event's head. Compressed rows are inflated into `inflated`.
pub(super) fn read<'a>(
    body: &mut Bytes<'a>,
    header: &EventHeader,
    short_id: bool,
    inflated: Option<&'a mut Vec<u8>>,
) -> Read<RowsEvent<'a>> {
    let kinds = if inflated.is_some() { RowsKind::compressed } else { RowsKind::plain };
    let (kind, version_2) = kinds(header.kind).ok_or(Bad("event type"))?;
    let table_id = if short_id { u64::from(body.u32("table number")?) } else { body.u48("table number")? };
    let flags = body.u16("flags")?;
    if version_2 {
        // Partition and clock information of the cluster engine; the length counts itself.
        let extra = usize::from(body.u16("length of extra data")?);
        body.take(extra.checked_sub(2).ok_or(Bad("length of extra data"))?, "extra data")?;
    }
    let columns = body.packed("number of columns")?;
    let bitmap = usize::try_from(columns.div_ceil(8)).map_err(|_| Bad("number of columns"))?;
    let first = body.take(bitmap, "columns of the image")?;
    let second = match kind {
        RowsKind::Update | RowsKind::PartialUpdate => body.take(bitmap, "columns of the image after")?,
        RowsKind::Write | RowsKind::Delete => &[],
    };
    let mut rows = body.rest();
    if let Some(inflated) = inflated {
        maria::inflate_body(rows, inflated)?;
        rows = inflated;
    }
    Ok(RowsEvent { table_id, kind, flags, columns, header: *header, first, second, rows })
}

/// Why a row could not be read, before the table and the row are named.
type RowResult<T> = Result<T, RowError>;

struct RowError {
    column: Option<usize>,
    error: CellError,
}

impl From<Bad> for RowError {
    fn from(bad: Bad) -> Self {
        RowError { column: None, error: CellError::Bad(bad) }
    }
}

/// Where the columns of an image before stand, by column; used only when the image after refers to them.
#[derive(Default)]
pub(super) struct Places {
    /// Encoded values in the output; empty for columns that are left out.
    values: Vec<Range<usize>>,
    /// Bytes of the values in the event's rows.
    json: Vec<Range<usize>>,
}

impl Places {
    fn clear(&mut self) {
        self.values.clear();
        self.json.clear();
    }
}

impl RowsEvent<'_> {
    /// Whether a statement's rows end here.
    pub fn ends_statement(&self) -> bool {
        self.flags & 1 != 0
    }

    /// Appends every row as a change of the plan's schema; `place` is the event's position in its file. Answers how
    /// many there were. Excluded columns are left out of the rows.
    ///
    /// # Errors
    /// [`DecodeError::NotInLog`], [`DecodeError::Value`], [`DecodeError::Text`], [`DecodeError::Columns`]; the rows before
    /// the bad one have been appended then.
    pub fn transcode(
        &self,
        plan: &mut TablePlan,
        place: u64,
        builder: &mut TransactionBuilder,
    ) -> Result<u32, DecodeError> {
        if self.rows.is_empty() {
            // A statement's end without rows: the server's dummy event.
            return Ok(0);
        }
        let images = self.images(plan)?;
        let mut scratch = std::mem::take(&mut plan.scratch);
        let result = self.transcode_rows(plan, &images, place, builder, &mut scratch);
        scratch.shrink();
        plan.scratch = scratch;
        result
    }

    fn transcode_rows(
        &self,
        plan: &TablePlan,
        images: &Images,
        place: u64,
        builder: &mut TransactionBuilder,
        scratch: &mut Scratch,
    ) -> Result<u32, DecodeError> {
        let (op, schema) = (self.kind.op(), plan.schema.id);
        let mut rest = Bytes(self.rows);
        let mut row = 0;
        while !rest.is_empty() {
            let out = builder.begin(op, schema, place, row);
            match self.row(plan, images, &mut rest, out, scratch) {
                Ok(key_changed) => builder.end(op, schema, key_changed),
                Err(error) => {
                    builder.abandon();
                    return Err(self.name(plan, row, error));
                }
            }
            row += 1;
        }
        Ok(row)
    }

    /// Which columns the images hold, checked against those that are needed.
    fn images(&self, plan: &TablePlan) -> Result<Images, DecodeError> {
        let position = self.header.end_position;
        if self.columns != plan.columns.len() as u64 {
            return Err(DecodeError::Columns { position, columns: self.columns, expected: plan.columns.len() });
        }
        let held = |bits: &[u8]| (0..plan.columns.len()).filter(|&i| bit(bits, i)).count();
        let needed = |i: usize| !plan.columns[i].excluded && !plan.columns[i].may_be_absent;
        if let Some(i) = (0..plan.columns.len()).find(|&i| needed(i) && !bit(self.first, i)) {
            return Err(DecodeError::NotInLog {
                table: plan.schema.full_name(),
                column: plan.schema.columns[i].name.clone(),
                image: if self.kind == RowsKind::Write { "after" } else { "before" },
                kind: self.header.kind,
            });
        }
        let (first, second) = (held(self.first), held(self.second));
        if first == 0 {
            // Such rows have no bytes at all, so that their number cannot be known.
            let what = "rows without any column";
            return Err(DecodeError::Malformed { kind: self.header.kind, position, what });
        }
        let whole = |count| count == plan.columns.len();
        let full = match self.kind {
            RowsKind::Write | RowsKind::Delete => whole(first),
            RowsKind::Update => whole(first) && whole(second),
            RowsKind::PartialUpdate => false,
        };
        Ok(Images { full, first, second })
    }

    /// One row; whether its key changed.
    #[inline]
    fn row(
        &self,
        plan: &TablePlan,
        images: &Images,
        rest: &mut Bytes<'_>,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
    ) -> RowResult<bool> {
        if !images.full {
            return self.sparse_row(plan, images, rest, out, scratch);
        }
        if self.kind != RowsKind::Update {
            full_image::<false>(plan, rest, out, scratch)?;
            return Ok(false);
        }
        scratch.key.clear();
        full_image::<true>(plan, rest, out, scratch)?;
        full_image::<true>(plan, rest, out, scratch)?;
        Ok(key_changed(out, &scratch.key))
    }

    /// A row of which columns are missing, or that holds differences.
    fn sparse_row(
        &self,
        plan: &TablePlan,
        images: &Images,
        rest: &mut Bytes<'_>,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
    ) -> RowResult<bool> {
        scratch.key.clear();
        scratch.before.clear();
        let before = Image { present: self.first, count: images.first, differences: None };
        self.sparse_image(plan, &before, rest, out, scratch, false)?;
        if !matches!(self.kind, RowsKind::Update | RowsKind::PartialUpdate) {
            return Ok(false);
        }
        let mut after = Image { present: self.second, count: images.second, differences: None };
        if self.kind == RowsKind::PartialUpdate && rest.packed("value options")? & PARTIAL_JSON != 0 {
            let columns = plan.columns.iter().filter(|column| column.json).count();
            after.differences = Some(rest.take(columns.div_ceil(8), "columns with differences")?);
        }
        self.sparse_image(plan, &after, rest, out, scratch, true)?;
        Ok(key_changed(out, &scratch.key))
    }

    /// `after`: what the image lacks is as it was before; otherwise places are recorded for that.
    fn sparse_image(
        &self,
        plan: &TablePlan,
        image: &Image<'_>,
        rest: &mut Bytes<'_>,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
        after: bool,
    ) -> RowResult<()> {
        let nulls = rest.take(image.count.div_ceil(8), "the row is cut off")?;
        varint::put_u64(out, plan.visible as u64);
        let (mut nth, mut json) = (0, 0);
        for (i, column) in plan.columns.iter().enumerate() {
            let difference = column.json && image.differences.is_some_and(|bits| bit(bits, json));
            json += usize::from(column.json);
            let start = out.len();
            let mut bytes = None;
            if bit(image.present, i) {
                let null = bit(nulls, nth);
                nth += 1;
                bytes = if null { None } else { Some(column.width.take(rest).map_err(at(i))?) };
                match bytes {
                    _ if column.excluded => {}
                    None => Value::Null.encode(out),
                    Some(bytes) if difference => {
                        let before = scratch.before.json.get(i).cloned().unwrap_or_default();
                        let before = self.rows.get(before).unwrap_or_default();
                        scratch.text.clear();
                        json_diff::apply(before, bytes, &mut scratch.text).map_err(at(i))?;
                        let text =
                            std::str::from_utf8(&scratch.text).map_err(|_| at(i)(Bad("JSON that is not UTF-8")))?;
                        Value::Json(text).encode(out);
                    }
                    Some(bytes) => column.becomes.put(bytes, out, scratch).map_err(at(i))?,
                }
            } else if column.may_be_absent && !column.excluded {
                Value::Absent.encode(out);
            } else if !column.excluded {
                // Only images after come here: those before hold all that is needed.
                let place = scratch.before.values.get(i).cloned().unwrap_or_default();
                out.extend_from_within(place);
            }
            if !after {
                scratch.before.values.push(start..out.len());
                scratch.before.json.push(bytes.map_or(0..0, |bytes| self.range_of(bytes, rest)));
            }
            if column.key {
                scratch.key.push(start..out.len());
            }
        }
        Ok(())
    }

    /// The place of `bytes`, which were just taken and end where `rest` begins, within the event's rows.
    fn range_of(&self, bytes: &[u8], rest: &Bytes<'_>) -> Range<usize> {
        let end = self.rows.len() - rest.len();
        end - bytes.len()..end
    }

    /// Names the table, the column and the row in an error.
    fn name(&self, plan: &TablePlan, row: u32, error: RowError) -> DecodeError {
        let position = self.header.end_position;
        let Some(column) = error.column.and_then(|i| plan.schema.columns.get(i)) else {
            let what = match error.error {
                CellError::Bad(Bad(what)) => what,
                CellError::Text(_) => "text",
            };
            return DecodeError::Malformed { kind: self.header.kind, position, what };
        };
        let (table, column) = (plan.schema.full_name(), column.name.clone());
        match error.error {
            CellError::Bad(Bad(what)) => DecodeError::Value { table, column, row, position, what },
            CellError::Text(charset) => DecodeError::Text { table, column, row, position, charset },
        }
    }
}

/// Bit of the value options: JSON columns may be differences.
const PARTIAL_JSON: u64 = 1;

/// How many columns the images hold.
struct Images {
    /// All of them, and none as a difference.
    full: bool,
    first: usize,
    second: usize,
}

struct Image<'a> {
    present: &'a [u8],
    count: usize,
    /// Bit by JSON column of the table: a difference stands for the value.
    differences: Option<&'a [u8]>,
}

/// An image that holds all columns. `KEYS`: the places of the key's columns are recorded.
#[inline]
fn full_image<const KEYS: bool>(
    plan: &TablePlan,
    rest: &mut Bytes<'_>,
    out: &mut Vec<u8>,
    scratch: &mut Scratch,
) -> RowResult<()> {
    let nulls = rest.take(plan.columns.len().div_ceil(8), "the row is cut off")?;
    varint::put_u64(out, plan.visible as u64);
    for (i, column) in plan.columns.iter().enumerate() {
        let start = out.len();
        if nulls[i >> 3] >> (i & 7) & 1 == 1 {
            if !column.excluded {
                Value::Null.encode(out);
            }
        } else {
            let bytes = column.width.take(rest).map_err(at(i))?;
            if !column.excluded {
                column.becomes.put(bytes, out, scratch).map_err(at(i))?;
            }
        }
        if KEYS && column.key {
            scratch.key.push(start..out.len());
        }
    }
    Ok(())
}

/// Compares the encoded key columns of the image before, in the first half of `places`, with those after.
fn key_changed(out: &[u8], places: &[Range<usize>]) -> bool {
    let (before, after) = places.split_at(places.len() / 2);
    before.iter().zip(after).any(|(before, after)| out[before.clone()] != out[after.clone()])
}

fn at<E: Into<CellError>>(column: usize) -> impl Fn(E) -> RowError {
    move |error| RowError { column: Some(column), error: error.into() }
}
