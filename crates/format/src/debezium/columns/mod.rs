//! Columns as fields of a record: a Connect schema, and how values are written.
//!
//! Invariant: what is decided by a column's type and the options is decided once, when a table is compiled; writing a
//! value looks at nothing but its [`Form`]. Start at [`compile`].

mod array;
mod decimal;
mod form;
mod geometry;
mod mysql;
pub(crate) mod parse;

mod postgres;
mod temporal;

pub(crate) use decimal::rounded;
pub(crate) use form::{Form, Moment};
pub(crate) use postgres::{base, is_domain};
pub(crate) use temporal::Unit;

use super::defaults;
use super::mask::{Masks, Rewrite};
use super::names;
use super::options::{Converter, DecimalMode, Options, TimePrecision};
use crate::connect::piece::Piece;
use crate::connect::{self, json};
use headwater_model::row::Values;
use headwater_model::{Column, Schema, Type, Value};

/// One column of a record's key or row.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// Its place in rows.
    pub column: usize,
    /// Its name and schema.
    pub connect: connect::Field,
    /// `"name":` and `,"name":`, as they stand before the first value and before others.
    labels: [Piece; 2],
    /// How its values are written.
    pub form: Form,
    /// What is done to its values before.
    pub rewrite: Option<Rewrite>,
    /// What is written for NULL.
    pub null: Vec<u8>,
}

/// How a column's values look, before its default and its being optional are known.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// The schema, required and without default.
    pub schema: connect::Schema,
    /// How values are written.
    pub form: Form,
    /// What a required field shows where there is no value and no default.
    pub fallback: Vec<u8>,
}

/// What the schemas of fields say beyond their types.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extra<'a> {
    /// Nothing: keys, of the records of a snapshot or of the stream.
    Key { snapshot: bool },
    /// Nothing either: keys in headers, whose converter may be Kafka's simple one.
    HeaderKey { simple: bool },
    /// What the rules of the configuration say, which change values as well.
    Rules(&'a Masks),
    /// The same for the records of a snapshot.
    SnapshotRules(&'a Masks),
    /// What a record that was read said, whose values are changed already: for each column of the table.
    Read(&'a [Vec<(String, String)>]),
}

/// The fields that the columns `places` make, in this order; columns that the original drops are left out. Columns that
/// a filter leaves out of rows are in keys all the same.
pub(crate) fn compile(
    schema: &Schema,
    places: impl Iterator<Item = usize>,
    options: &Options,
    converter: Converter,
    extra: Extra<'_>,
) -> Vec<Field> {
    places.filter_map(|place| field(schema, place, options, converter, extra)).collect()
}

impl Shape {
    /// A shape that shows `fallback` for the lack of a value.
    pub fn new(schema: connect::Schema, form: Form, fallback: &str) -> Shape {
        Shape { schema, form, fallback: fallback.as_bytes().to_vec() }
    }
}

impl Field {
    /// Writes what stands before a value of this field, which is the row's or key's field number `index`.
    #[inline]
    pub fn put_label(&self, out: &mut Vec<u8>, index: usize) {
        self.labels[usize::from(index > 0)].put(out);
    }

    /// Writes a value of this field.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, value: &Value<'_>, moment: &Moment<'_>) {
        if let Some(rewrite) = &self.rewrite {
            return self.write_changed(out, value, moment, rewrite);
        }
        let start = out.len();
        if !self.form.write_ref(out, value, moment) {
            out.truncate(start);
            out.extend_from_slice(&self.null);
        }
    }

    /// Writes the next of a row's values; answers whether the log carried it. What is most frequent is written as it is read.
    #[inline]
    pub fn write_next(&self, out: &mut Vec<u8>, values: &mut Values<'_>, moment: &Moment<'_>) -> bool {
        match (&self.form, &self.rewrite) {
            (Form::Integer, None) => {
                if let Some(value) = values.int() {
                    json::integer(out, value);
                    return true;
                }
            }
            (Form::Text, None) => {
                if let Some(text) = values.text() {
                    json::utf8(out, text);
                    return true;
                }
            }
            (Form::Decimal { scale, numeric: false }, None) => {
                let mut ahead = *values;
                if ahead.decimal().is_some_and(|text| decimal::write_small(out, text, *scale)) {
                    *values = ahead;
                    return true;
                }
            }
            _ => {}
        }
        match values.next() {
            None | Some(Value::Absent) => {
                self.write(out, &Value::Absent, moment);
                false
            }
            Some(value) => {
                self.write(out, &value, moment);
                true
            }
        }
    }

    fn write_changed(&self, out: &mut Vec<u8>, value: &Value<'_>, moment: &Moment<'_>, rewrite: &Rewrite) {
        let start = out.len();
        if !self.form.write_ref(out, value, moment) {
            out.truncate(start);
            out.extend_from_slice(&self.null);
            // The default of an optional field takes the place of a null behind all that is done to values.
            if self.connect.schema.optional && !matches!(rewrite, Rewrite::Mask(_)) {
                return;
            }
        }
        rewrite.apply(out, start);
    }
}

fn field(schema: &Schema, place: usize, options: &Options, converter: Converter, extra: Extra<'_>) -> Option<Field> {
    let column = schema.columns.get(place)?;
    let is_key = matches!(extra, Extra::Key { .. } | Extra::HeaderKey { .. });
    if column.excluded && !is_key || options.is_exact() && is_of_server(column) {
        return None;
    }
    let mut shape = shape(column, options, converter)?;
    let mut rewrite = None;
    match extra {
        Extra::Key { .. } | Extra::HeaderKey { .. } => {}
        Extra::Rules(masks) | Extra::SnapshotRules(masks) => {
            let snapshot = matches!(extra, Extra::SnapshotRules(_));
            if let Some(rule) = masks.rule(schema, column, options, snapshot) {
                rewrite = rule.rewrite(column, &shape, options, snapshot);
                shape.schema.parameters.extend(rule.parameters(column, options, snapshot));
            }
        }
        Extra::Read(parameters) => shape.schema.parameters.extend(parameters.get(place).cloned().unwrap_or_default()),
    }
    shape.schema.optional |= column.nullable || (column.unsaid_not_null && options.is_exact());
    // The driver's metadata of PostgreSQL has no comments.
    let has_comments = options.include_comments && !(options.is_exact() && options.is_postgres());
    if let Some(comment) = column.comment.as_ref().filter(|_| has_comments) {
        shape.schema.doc = Some(if options.is_postgres() { comment.clone() } else { mysql::comment(comment, options) });
    }
    shape.schema.default = column.default.as_deref().and_then(|text| defaults::default(column, text, &shape, options));
    let mut nullable = column.nullable;
    if column.excluded && options.is_exact() && options.is_postgres() {
        nullable = hide_key(&mut shape, nullable, extra);
    }
    if matches!(extra, Extra::HeaderKey { simple: true }) {
        shape.form = shape.form.printed(&shape.schema);
    }
    let null = null_text(&shape, nullable, converter, options);
    let name = names::adjust_field(&column.name, options.field_name_adjustment);
    let mut label = b",".to_vec();
    json::string(&mut label, &name);
    label.push(b':');
    let labels = [Piece::new(&label[1..]), Piece::new(&label)];
    let connect = connect::Field { name, schema: shape.schema };
    Some(Field { column: place, connect, labels, form: shape.form, rewrite, null })
}

/// A column that a filter leaves out is in the key all the same. Of PostgreSQL, the original's snapshot does not ask for it,
/// and its stream knows nothing of it but the type. Answers whether it may be null then.
fn hide_key(shape: &mut Shape, nullable: bool, extra: Extra<'_>) -> bool {
    if matches!(extra, Extra::Key { snapshot: true }) {
        shape.form = Form::Never;
        return nullable;
    }
    shape.schema.optional = true;
    shape.schema.default = None;
    true
}

/// Columns that MariaDB adds by itself, and that no statement shows: the original does not know them.
pub(crate) fn is_of_server(column: &Column) -> bool {
    let row_time = matches!(column.kind, Type::Timestamp { fraction: 6 }) && !column.nullable;
    let name = column.name.as_str();
    column.hidden && (row_time && matches!(name, "row_start" | "row_end") || name.starts_with("DB_ROW_HASH_"))
}

/// How a column's values look; `None` where the original drops the column.
pub(crate) fn shape(column: &Column, options: &Options, converter: Converter) -> Option<Shape> {
    match options.is_postgres() {
        true => postgres::shape(&column.kind, &column.native, options, converter),
        false => Some(mysql::shape(column, options, converter)),
    }
}

/// What is written for NULL. Some schemas are optional where the column is not, which shows no null all the same. In
/// `right` a NULL is one, and what is not known is null as well where no schema forbids it.
fn null_text(shape: &Shape, nullable: bool, converter: Converter, options: &Options) -> Vec<u8> {
    let (exact, nullable) = (options.is_exact(), nullable || !options.is_exact() && !converter.schemas);
    match &shape.schema.default {
        Some(default) if exact && converter.replace_null || !nullable => default.clone(),
        None if !nullable => shape.fallback.clone(),
        _ => b"null".to_vec(),
    }
}

/// The shape of decimals with a precision and a scale.
fn decimal_shape(precision: Option<u32>, scale: i32, options: &Options, converter: Converter) -> Shape {
    use connect::{Kind, Schema};
    match options.decimal {
        DecimalMode::Precise => {
            let mut schema = Schema::named(Kind::Bytes, "org.apache.kafka.connect.data.Decimal");
            schema = schema.parameter("scale", scale);
            if let Some(precision) = precision {
                schema = schema.parameter("connect.decimal.precision", precision);
            }
            let form = Form::Decimal { scale, numeric: converter.decimal_numeric };
            let mut fallback = Vec::new();
            form.write(&mut fallback, Value::Decimal("0"), &Moment::default());
            Shape { schema, form, fallback }
        }
        DecimalMode::Double => Shape::new(Schema::new(Kind::Float64), Form::DecimalDouble, "0.0"),
        DecimalMode::String => {
            let mut fallback = Vec::new();
            Form::DecimalText { scale }.write(&mut fallback, Value::Decimal("0"), &Moment::default());
            Shape { schema: Schema::new(Kind::String), form: Form::DecimalText { scale }, fallback }
        }
    }
}

fn binary_shape(fixed: Option<u32>, options: &Options) -> Shape {
    use super::options::BinaryMode;
    let kind = match options.binary {
        BinaryMode::Bytes => connect::Kind::Bytes,
        _ => connect::Kind::String,
    };
    let form = Form::Bytes { mode: options.binary, fixed: fixed.unwrap_or(0) as usize };
    Shape::new(connect::Schema::new(kind), form, "\"\"")
}

/// The shape of bit strings; `padded` to their width with zero bytes.
fn bits_shape(width: u32, padded: bool) -> Shape {
    use connect::{Kind, Schema};
    if width == 1 {
        return Shape::new(Schema::new(Kind::Boolean), Form::Boolean, "false");
    }
    let schema = Schema::named(Kind::Bytes, "io.debezium.data.Bits").parameter("length", width);
    let bytes = if padded { width.div_ceil(8) as usize } else { 0 };
    Shape::new(schema, Form::Bits { bytes }, "\"\"")
}

/// The shapes of dates, times and date-times, which the precision mode decides.
fn temporal_shape(kind: &Type, precision: TimePrecision) -> Option<Shape> {
    use connect::{Kind, Schema};
    let number = |name: &str, unit: Unit| match unit {
        Unit::Iso => Schema::named(Kind::String, name),
        Unit::Days => Schema::named(Kind::Int32, name),
        _ => Schema::named(Kind::Int64, name),
    };
    let shape = match (kind, precision) {
        (Type::Date, TimePrecision::IsoString) => {
            Shape::new(number("io.debezium.time.IsoDate", Unit::Iso), Form::Date(Unit::Iso), "\"1970-01-01Z\"")
        }
        (Type::Date, TimePrecision::Connect) => {
            Shape::new(number("org.apache.kafka.connect.data.Date", Unit::Days), Form::Date(Unit::Days), "0")
        }
        (Type::Date, _) => Shape::new(number("io.debezium.time.Date", Unit::Days), Form::Date(Unit::Days), "0"),
        (Type::Time { .. }, TimePrecision::IsoString) => {
            Shape::new(number("io.debezium.time.IsoTime", Unit::Iso), Form::Time(Unit::Iso), "\"00:00:00Z\"")
        }
        (Type::Time { .. }, TimePrecision::Connect) => {
            let schema = Schema::named(Kind::Int32, "org.apache.kafka.connect.data.Time");
            Shape::new(schema, Form::ConnectTime, "0")
        }
        (Type::Time { fraction: ..=3 }, TimePrecision::Adaptive) => {
            Shape::new(Schema::named(Kind::Int32, "io.debezium.time.Time"), Form::Time(Unit::Millis), "0")
        }
        (Type::Time { .. }, TimePrecision::Nanoseconds) => {
            Shape::new(number("io.debezium.time.NanoTime", Unit::Nanos), Form::Time(Unit::Nanos), "0")
        }
        (Type::Time { .. }, _) => {
            Shape::new(number("io.debezium.time.MicroTime", Unit::Micros), Form::Time(Unit::Micros), "0")
        }
        (Type::DateTime { .. }, TimePrecision::IsoString) => {
            let schema = number("io.debezium.time.IsoTimestamp", Unit::Iso);
            Shape::new(schema, Form::DateTime(Unit::Iso), "\"1970-01-01T00:00:00Z\"")
        }
        (Type::DateTime { .. }, TimePrecision::Connect) => {
            let schema = number("org.apache.kafka.connect.data.Timestamp", Unit::Millis);
            Shape::new(schema, Form::DateTime(Unit::Millis), "0")
        }
        (Type::DateTime { .. }, TimePrecision::Nanoseconds) => {
            let schema = number("io.debezium.time.NanoTimestamp", Unit::Nanos);
            Shape::new(schema, Form::DateTime(Unit::Nanos), "0")
        }
        (Type::DateTime { fraction: ..=3 }, TimePrecision::Adaptive | TimePrecision::AdaptiveTimeMicroseconds) => {
            Shape::new(number("io.debezium.time.Timestamp", Unit::Millis), Form::DateTime(Unit::Millis), "0")
        }
        (Type::DateTime { .. }, _) => {
            let schema = number("io.debezium.time.MicroTimestamp", Unit::Micros);
            Shape::new(schema, Form::DateTime(Unit::Micros), "0")
        }
        _ => return None,
    };
    Some(shape)
}

fn text_shape(name: Option<&str>) -> Shape {
    use connect::{Kind, Schema};
    let schema = match name {
        Some(name) => Schema::named(Kind::String, name),
        None => Schema::new(Kind::String),
    };
    Shape::new(schema, Form::Text, "\"\"")
}

fn enum_shape(name: &str, members: &str) -> Shape {
    let schema = connect::Schema::named(connect::Kind::String, name).parameter("allowed", members);
    Shape::new(schema, Form::Text, "\"\"")
}

fn geometry_shape(name: &str, doc: &str, point: bool) -> Shape {
    use connect::{Kind, Schema};
    let mut fields = Vec::new();
    if point {
        fields.push(Schema::new(Kind::Float64).field("x"));
        fields.push(Schema::new(Kind::Float64).field("y"));
    }
    let mut wkb = Schema::new(Kind::Bytes);
    wkb.optional = point;
    fields.push(wkb.field("wkb"));
    fields.push(Schema::new(Kind::Int32).optional().field("srid"));
    let mut schema = Schema::structure(name, Some(1), fields).doc(doc);
    // The original's own type is optional, whatever the column is.
    schema.optional = doc == "Geometry";
    match point {
        true => {
            Shape::new(schema, Form::Point, r#"{"x":0.0,"y":0.0,"wkb":"AQEAAAAAAAAAAAAAAAAAAAAAAAAA","srid":null}"#)
        }
        false => Shape::new(schema, Form::Geometry, r#"{"wkb":"AQcAAAAAAAAA","srid":null}"#),
    }
}

fn vector_shape(name: &str, element: connect::Kind, form: Form) -> Shape {
    use connect::{Kind, Schema};
    let schema = Schema::named(Kind::Array(Box::new(Schema::new(element))), name);
    Shape::new(schema, form, "[]")
}

#[cfg(test)]
mod tests;
