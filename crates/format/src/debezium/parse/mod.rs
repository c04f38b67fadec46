//! A record read back into the change that it was: typed values, by its own schema or by the table's.
//!
//! Invariant: a change that was parsed renders to the same record. Hostile records give an error, which never shows a
//! value. Start at [`event`].

mod schema;
mod source;

use super::columns::{self, parse};
use super::options::Options;
use super::record::Order;
use headwater_model::{Change, Op, Origin, Row, RowWriter, Schema, SnapshotMarker, TransactionHeader, Type, Value};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

pub(super) use source::OwnedOrigin;

/// A change that was read out of a record.
#[derive(Clone, Debug)]
pub struct Event {
    /// The table: the one that was given, or as much of it as the record's schema tells.
    pub schema: Schema,
    /// What happened.
    pub op: Op,
    /// Which row of a snapshot it is.
    pub marker: Option<SnapshotMarker>,
    /// The place of the record in its transaction, as it was before it.
    pub order: Option<Order>,
    /// What its schema says of each column beyond its type: that it is masked, what its type was.
    pub(super) parameters: Vec<Vec<(String, String)>>,
    place: u64,
    row: u32,
    statement: Option<String>,
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
    commit_us: i64,
    receive_us: i64,
    origin: OwnedOrigin,
}

/// Why a record could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(String);

type Object<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

impl ParseError {
    fn new(what: &str, of: &str) -> ParseError {
        ParseError(format!(
            "{what} of the record cannot be read: {of}; check that the options are those it was made with"
        ))
    }
}

/// Reads a record's key and value, which is an envelope. Without `table` the record must have its schemas inline.
pub fn event(key: Option<&[u8]>, value: &[u8], table: Option<&Schema>, options: &Options) -> Result<Event, ParseError> {
    let value = std::str::from_utf8(value).map_err(|_| ParseError::new("the value", "it is not UTF-8"))?;
    let outer = object(value, "the value")?;
    let inline = outer.get("schema").zip(outer.get("payload"));
    let envelope = match inline {
        Some((_, payload)) => object(payload.get(), "the payload")?,
        None => outer.clone(),
    };
    // A schema in the record has the names as they are shown.
    let shown = options.of_adjusted_names().filter(|_| table.is_none());
    let options = shown.as_ref().unwrap_or(options);
    let mut event = source::event(&envelope, options)?;
    event.schema = match (table, inline) {
        (Some(table), _) => table.clone(),
        (None, Some((text, _))) => {
            let (schema, parameters) = schema::of_envelope(text.get(), &event.schema, options)?;
            event.parameters = parameters;
            schema
        }
        (None, None) => return Err(ParseError::new("the schema", "there is none in it, and none was given")),
    };
    if table.is_none() {
        let key = key.and_then(|key| std::str::from_utf8(key).ok());
        schema::take_key(key, &mut event.schema, options)?;
        fit_fractions(&mut event.schema, &envelope);
    }
    let keys = key.and_then(|key| std::str::from_utf8(key).ok());
    event.before = row(&envelope, "before", keys, &event, options)?;
    event.after = row(&envelope, "after", keys, &event, options)?;
    // Rows that the record does not show, but that such a change has.
    if event.op == Op::Update && event.before.is_none() {
        event.before = Some(absent_row(event.schema.columns.len()));
    }
    Ok(event)
}

impl Event {
    /// The change.
    pub fn change(&self) -> Option<Change<'_>> {
        fn row(bytes: &Option<Vec<u8>>) -> Option<Option<Row<'_>>> {
            match bytes {
                Some(bytes) => Row::decode(&mut &bytes[..]).map(Some),
                None => Some(None),
            }
        }
        Some(Change {
            op: self.op,
            schema: self.schema.id,
            place: self.place,
            row: self.row,
            statement: self.statement.as_deref(),
            marker: self.marker,
            before: row(&self.before)?,
            after: row(&self.after)?,
            message: None,
        })
    }

    /// Its transaction.
    pub fn header(&self) -> TransactionHeader<'_> {
        let origin: Origin<'_> = self.origin.borrow();
        TransactionHeader { commit_us: self.commit_us, receive_us: self.receive_us, origin }
    }

    /// The update that a delete and a create are, of which the one names the key of the other in a header.
    pub fn key_change(delete: Event, create: Event) -> Event {
        let mut schema = create.schema;
        // Each tells the digits of a time only as far as it shows one.
        for (column, other) in schema.columns.iter_mut().zip(&delete.schema.columns) {
            if let (Type::Timestamp { fraction }, Type::Timestamp { fraction: least }) = (&mut column.kind, &other.kind)
            {
                *fraction = (*fraction).max(*least);
            }
        }
        Event { op: Op::Update, schema, before: delete.before, after: create.after, ..delete }
    }
}

fn object<'a>(text: &'a str, what: &str) -> Result<Object<'a>, ParseError> {
    serde_json::from_str(text).map_err(|_| ParseError::new(what, "it is not a JSON object"))
}

fn row(
    envelope: &Object<'_>,
    name: &str,
    key: Option<&str>,
    event: &Event,
    options: &Options,
) -> Result<Option<Vec<u8>>, ParseError> {
    let schema = &event.schema;
    let Some(image) = envelope.get(name).filter(|image| image.get() != "null") else { return Ok(None) };
    let image = object(image.get(), name)?;
    let key = key.and_then(|key| object(key, "the key").ok()).unwrap_or_default();
    let key = match key.get("payload") {
        Some(payload) => object(payload.get(), "the key").unwrap_or_default(),
        None => key,
    };
    let mut out = Vec::new();
    headwater_model::varint::put_u64(&mut out, schema.columns.len() as u64);
    for column in &schema.columns {
        let field = super::names::adjust_field(&column.name, options.field_name_adjustment);
        // Columns that are left out of rows are in keys.
        let Some(raw) = image.get(field.as_str()).or_else(|| key.get(field.as_str())) else {
            Value::Absent.encode(&mut out);
            continue;
        };
        let shape = columns::shape(column, options, options.value)
            .ok_or_else(|| ParseError::new(&format!("the column {}", column.name), "its type makes no field"))?;
        // What stands for no value is no instant of the column's own: it has no fraction.
        let is_instant = matches!(column.kind, Type::Timestamp { .. }) && options.is_postgres();
        if is_instant && !column.nullable && column.default.is_none() && raw.get().as_bytes() == shape.fallback {
            Value::Absent.encode(&mut out);
            continue;
        }
        parse::decode(&shape.form, &column.kind, raw.get(), event.op == Op::Read, &mut out)
            .ok_or_else(|| ParseError::new(&format!("the column {}", column.name), "its value is not of its type"))?;
    }
    Ok(Some(out))
}

fn absent_row(columns: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut row = RowWriter::begin(&mut out, columns);
    for _ in 0..columns {
        row.put(Value::Absent);
    }
    drop(row);
    out
}

/// A schema does not tell how many digits a timestamp has; its values do.
fn fit_fractions(schema: &mut Schema, envelope: &Object<'_>) {
    for image in ["before", "after"].iter().filter_map(|name| envelope.get(*name)) {
        let Ok(image) = object(image.get(), "a row") else { continue };
        for column in &mut schema.columns {
            let kind = match &mut column.kind {
                Type::Array { element } => &mut **element,
                kind => kind,
            };
            let Type::Timestamp { fraction } = kind else { continue };
            let Some(raw) = image.get(column.name.as_str()) else { continue };
            *fraction = (*fraction).max(schema::fraction_digits(raw.get()));
        }
    }
}

/// The fields of `transaction` that count.
#[derive(Deserialize)]
struct Block {
    total_order: u64,
    data_collection_order: u64,
}
