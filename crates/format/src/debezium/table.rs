//! A table's records: compiled once for each of its schemas, then written change by change.
//!
//! Invariant: [`Table::records`] makes exactly as many records as [`Table::counts`] says. Start at [`Table::records`].

use super::Rendering;
use super::columns::{self, Extra, Field, Moment};
use super::headers::{self, Headers};
use super::options::{Converter, HeaderConverter, Options};
use super::plan::{Added, Draft, DraftValue, Flat, KINDS, Meta, RecordKind};
use super::record::{Event, Order, Place, Records};
use super::source::{self, Common, Source};
use super::transaction::{self, write_block};
use super::transform::Transforms;
use super::walk::walk;
use crate::connect::piece::Piece;
use crate::connect::{self, Kind, Schema as Connect, json};
use headwater_model::change::IMPLIED_TRUNCATE_ROW;
use headwater_model::{Change, Op, Row, Schema, Value};
use std::sync::Arc;

/// Fields of a row whose texts are remembered, so that what an update leaves as it was is copied: of a narrow table, and at
/// most.
const FIELDS_COPIED: usize = 8;
const FIELDS_COPIED_MAX: usize = 64;

/// How many records the changes of a table make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of a create.
    pub create: u32,
    /// Of a row read by a snapshot.
    pub read: u32,
    /// Of an update that keeps the key.
    pub update: u32,
    /// Of a delete.
    pub delete: u32,
    /// Of an update that changes the key.
    pub key_change: u32,
    /// Of a truncate.
    pub truncate: u32,
}

/// One version of one table, ready to render.
#[derive(Clone, Debug)]
pub struct Table {
    options: Arc<Options>,
    topic: Arc<str>,
    key_columns: Vec<usize>,
    key: Vec<Field>,
    /// The same in the records of a snapshot.
    read_key: Vec<Field>,
    /// The same as headers show it.
    header_key: Vec<Field>,
    row: Vec<Field>,
    plans: [Option<Arc<Plan>>; KINDS.len()],
    source: Source,
    headers: Headers,
    route_by: Option<usize>,
}

/// One kind of record.
#[derive(Debug)]
struct Plan {
    /// Where it is not the table's.
    topic: Option<Arc<str>>,
    /// What stands before and behind the fields of the key; `None`: the key is null.
    key: Option<(Piece, Piece)>,
    value: PlannedValue,
    headers: super::headers::Planned,
}

#[derive(Debug)]
enum PlannedValue {
    Tombstone,
    Text(Vec<u8>),
    /// What stands before the image and behind the envelope.
    Envelope(Piece, Piece),
    Flat {
        before: bool,
        /// What stands before the row, and between it and the added fields.
        prefix: Vec<u8>,
        behind: Vec<u8>,
        added: Vec<(Vec<u8>, Meta)>,
        suffix: Vec<u8>,
        /// What stands for NULL where the transform itself puts defaults.
        nulls: Option<Vec<Vec<u8>>>,
    },
}

impl Table {
    /// Compiles `schema`.
    pub(super) fn new(rendering: &Rendering, schema: &Schema, extra: Extra<'_>) -> Table {
        let options = &rendering.options;
        let key_columns = rendering.keys.columns(schema);
        let places = || key_columns.iter().copied();
        let key = columns::compile(schema, places(), options, options.key, Extra::Key { snapshot: false });
        let read_key = columns::compile(schema, places(), options, options.key, Extra::Key { snapshot: true });
        let in_header = Extra::HeaderKey { simple: options.header == HeaderConverter::Simple };
        let header_key = columns::compile(schema, places(), options, headers::key_converter(options), in_header);
        let row = columns::compile(schema, 0..schema.columns.len(), options, options.value, extra);
        let extra = match extra {
            Extra::Rules(masks) => Extra::SnapshotRules(masks),
            other => other,
        };
        let read = columns::compile(schema, 0..schema.columns.len(), options, options.value, extra);
        let topic = rendering.topics.topic(&schema.database, &schema.table);
        let full_name = rendering.topics.full_name(&schema.database, &schema.table);
        let added: Vec<(String, String)> =
            rendering.topics.key().map(|key| (key.name.clone(), key.value(&full_name))).into_iter().collect();
        let headers = Headers::new(options);
        let compiled = KINDS.map(|kind| {
            let draft = Draft::of(kind, &topic, &added, options);
            rendering.transforms.apply(draft, options)
        });
        let routed = compiled.iter().flatten().map(|draft| draft.topic.as_str()).next().unwrap_or(&topic);
        let topic: Arc<str> = routed.into();
        let mut plans = [const { None }; KINDS.len()];
        for (plan, draft) in plans.iter_mut().zip(&compiled) {
            let Some(draft) = draft else { continue };
            let in_snapshot = draft.kind == RecordKind::Read;
            let is_keyed = kind_has_key(draft.kind) && !(key_columns.is_empty() && draft.key_fields.is_empty());
            *plan = Some(Arc::new(Plan {
                topic: (*draft.topic != *topic).then(|| draft.topic.as_str().into()),
                key: is_keyed.then(|| key_texts(draft, if in_snapshot { &read_key } else { &key }, options.key)),
                value: planned_value(draft, if in_snapshot { &read } else { &row }, options),
                headers: headers.plan(draft, &header_key, options),
            }));
        }
        let route_by = Transforms::route_by(options).and_then(|name| schema.column(name)).map(|(place, _)| place);
        let source = Source::new(options, &schema.database, &schema.table);
        let options = Arc::clone(options);
        Table { options, topic, key_columns, key, read_key, header_key, row, plans, source, headers, route_by }
    }

    /// The topic of its records.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The columns of its records' key, which need not be those that identify its rows.
    pub fn key_columns(&self) -> &[usize] {
        &self.key_columns
    }

    /// How many records its changes make in its topic; `None` when their values decide, or when some go elsewhere.
    pub fn counts(&self) -> Option<Counts> {
        let is_routed = self.route_by.is_some() || self.plans.iter().flatten().any(|plan| plan.topic.is_some());
        // A truncate that is implied makes none there.
        let by_truncate = self.options.is_exact() && !self.options.is_postgres() && !self.options.skipped.truncate;
        if self.options.skip_without_change || is_routed || by_truncate {
            return None;
        }
        let of = |op, key_changed| self.kinds(op, key_changed).iter().flatten().count() as u32;
        Some(Counts {
            create: of(Op::Create, false),
            read: of(Op::Read, false),
            update: of(Op::Update, false),
            delete: of(Op::Delete, false),
            key_change: of(Op::Update, true),
            truncate: of(Op::Truncate, false),
        })
    }

    /// Appends the records of `change`. The order of its transaction is counted on.
    pub fn records(&self, change: &Change<'_>, place: &mut Place<'_>, out: &mut Records) {
        let told;
        // A change is large, and seldom told as another.
        let change = match change.marker {
            Some(_) => {
                told = change.told();
                &told
            }
            None => change,
        };
        // The original tells of a table that is dropped by its statement alone.
        if change.op == Op::Truncate && change.row == IMPLIED_TRUNCATE_ROW && self.options.is_exact() {
            return;
        }
        // An update's image of which the log carried nothing is no image.
        let is_carried = |row: &Row<'_>| change.op != Op::Update || !row.is_absent();
        let before = self.shown(change.before).filter(is_carried);
        let after = self.shown(change.after);
        let key_changed = change.op == Op::Update && self.key_changed(before, after);
        if self.options.skip_without_change && change.op == Op::Update && !key_changed && self.is_same(before, after) {
            return;
        }
        let kinds = self.kinds(change.op, key_changed);
        let mut order = None;
        for kind in kinds.into_iter().flatten() {
            let Some(plan) = &self.plans[kind.index()] else { continue };
            if !kind.is_tombstone() {
                order = place.order.as_mut().map(Order::next);
            }
            let event = Event { change, header: place.header, order, op: kind.letter() };
            let rows = Rows::of(kind, before, after);
            self.record(plan, &rows, &event, out);
        }
        self.count_dropped(change.op, key_changed, place);
    }

    /// A row as records tell it: of what was filled in, Debezium does not know.
    fn shown<'a>(&self, row: Option<Row<'a>>) -> Option<Row<'a>> {
        if self.options.is_exact() { row.map(Row::as_logged) } else { row }
    }

    /// The kinds of records of a change that are not left out, in order.
    fn kinds(&self, op: Op, key_changed: bool) -> [Option<RecordKind>; 3] {
        let skipped = &self.options.skipped;
        let kept = |kind: RecordKind, skipped: bool| (!skipped && self.plans[kind.index()].is_some()).then_some(kind);
        let tombstone = |kind: RecordKind, skipped: bool| kept(kind, skipped || !self.options.tombstones);
        match op {
            Op::Create => [kept(RecordKind::Create, skipped.create), None, None],
            Op::Read => [kept(RecordKind::Read, false), None, None],
            Op::Update if key_changed => {
                let (without_delete, without_create) = self.key_change_skips();
                [
                    kept(RecordKind::KeyDelete, without_delete),
                    tombstone(RecordKind::KeyTombstone, without_delete),
                    kept(RecordKind::KeyCreate, without_create),
                ]
            }
            Op::Update => [kept(RecordKind::Update, skipped.update), None, None],
            Op::Delete => {
                [kept(RecordKind::Delete, skipped.delete), tombstone(RecordKind::Tombstone, skipped.delete), None]
            }
            Op::Truncate => [kept(RecordKind::Truncate, skipped.truncate), None, None],
            Op::Message => [None; 3],
        }
    }

    /// Whether a change of key has no delete, and no create. MySQL's connector leaves out whole events of its log, which
    /// are updates here; PostgreSQL's leaves out records as well.
    fn key_change_skips(&self) -> (bool, bool) {
        let skipped = &self.options.skipped;
        let by_record = self.options.is_postgres();
        (skipped.update || by_record && skipped.delete, skipped.update || by_record && skipped.create)
    }

    /// Records that a transform drops count in their transaction all the same.
    fn count_dropped(&self, op: Op, key_changed: bool, place: &mut Place<'_>) {
        let Some(order) = &mut place.order else { return };
        let skipped = &self.options.skipped;
        let dropped = |kind: RecordKind, skipped: bool| !skipped && self.plans[kind.index()].is_none();
        let count = match op {
            Op::Delete => usize::from(dropped(RecordKind::Delete, skipped.delete)),
            Op::Update if key_changed => usize::from(dropped(RecordKind::KeyDelete, self.key_change_skips().0)),
            Op::Truncate => usize::from(dropped(RecordKind::Truncate, skipped.truncate)),
            _ => 0,
        };
        for _ in 0..count {
            order.next();
        }
    }

    fn key_changed(&self, before: Option<Row<'_>>, after: Option<Row<'_>>) -> bool {
        let (Some(before), Some(after)) = (before, after) else { return false };
        let (mut old, mut new) = (walk(before), walk(after));
        // What is stored in the same way is the same, and needs no look.
        let is_changed =
            |column: usize| !new.skip_same(column, old.one(column)) && before.get(column) != after.get(column);
        !self.key.is_empty() && self.key_columns.iter().copied().any(is_changed)
    }

    fn is_same(&self, before: Option<Row<'_>>, after: Option<Row<'_>>) -> bool {
        let (Some(before), Some(after)) = (before, after) else { return false };
        self.row.iter().all(|field| before.get(field.column) == after.get(field.column))
    }

    fn record(&self, plan: &Plan, rows: &Rows<'_>, event: &Event<'_, '_>, out: &mut Records) {
        let moment = &Moment {
            exact: self.options.is_exact(),
            snapshot: event.change.op == Op::Read,
            placeholder: None,
            wraps: self.options.is_exact() && !self.options.is_postgres(),
            element: false,
        };
        out.begin();
        self.route(plan, rows, out);
        if let (Some((prefix, suffix)), Some(row)) = (&plan.key, rows.key) {
            out.key(|out| {
                prefix.put(out);
                write_fields(out, if moment.snapshot { &self.read_key } else { &self.key }, row, None, moment);
                suffix.put(out);
            });
        }
        match &plan.value {
            PlannedValue::Tombstone => {}
            PlannedValue::Text(text) => out.value(|out| out.extend_from_slice(text)),
            PlannedValue::Envelope(prefix, suffix) => out.placed_value(|out, common| {
                prefix.put(out);
                self.envelope(out, rows, event, moment, common);
                suffix.put(out);
            }),
            PlannedValue::Flat { before, prefix, behind, added, suffix, nulls } => out.value(|out| {
                out.extend_from_slice(prefix);
                self.flat(out, rows, *before, nulls.as_deref(), moment);
                out.extend_from_slice(behind);
                for (label, meta) in added {
                    out.extend_from_slice(label);
                    self.meta(out, *meta, event);
                }
                out.extend_from_slice(suffix);
            }),
        }
        let meta = |out: &mut Vec<u8>, meta| self.meta(out, meta, event);
        self.headers.write(&plan.headers, &self.header_key, rows.other_key, moment, meta, out);
    }

    fn route(&self, plan: &Plan, rows: &Rows<'_>, out: &mut Records) {
        let image = rows.after.or(rows.before);
        let column = self.route_by.and_then(|column| image?.get(column));
        match column {
            Some(Value::Text(topic) | Value::Enum(topic)) if !topic.trim().is_empty() => out.topic(&topic.into()),
            _ => plan.topic.iter().for_each(|topic| out.topic(topic)),
        }
    }

    fn envelope(
        &self,
        out: &mut Vec<u8>,
        rows: &Rows<'_>,
        event: &Event<'_, '_>,
        moment: &Moment<'_>,
        common: &mut Common,
    ) {
        let placeholder = Some(self.options.unavailable_placeholder.as_str());
        let moments = (moment, &Moment { placeholder, ..*moment });
        match (rows.before, rows.after) {
            (Some(before), Some(after)) if self.row.len() <= FIELDS_COPIED_MAX => {
                out.push(b'{');
                let write = match self.row.len() {
                    ..=FIELDS_COPIED => write_both::<FIELDS_COPIED>,
                    _ => write_both::<FIELDS_COPIED_MAX>,
                };
                write(out, &self.row, (before, after), moments);
                out.push(b'}');
            }
            _ => {
                self.image(out, rows.before, None, moments.0);
                out.extend_from_slice(b",\"after\":");
                self.image(out, rows.after, rows.before, moments.1);
            }
        }
        out.extend_from_slice(b",\"source\":");
        self.source.write(out, event, common);
        out.extend_from_slice(b",\"transaction\":");
        write_block(out, event, &self.options);
        out.extend_from_slice(b",\"op\":\"");
        out.extend(event.op.as_bytes().first());
        let received = event.header.receive_us;
        let time = json::Micros::new(received);
        out.extend_from_slice(b"\",\"ts_ms\":");
        time.millis(out);
        out.extend_from_slice(b",\"ts_us\":");
        time.micros(out);
        out.extend_from_slice(b",\"ts_ns\":");
        time.nanos(out);
        out.push(b'}');
    }

    fn image(&self, out: &mut Vec<u8>, row: Option<Row<'_>>, held: Option<Row<'_>>, moment: &Moment<'_>) {
        match row {
            Some(row) => {
                out.push(b'{');
                write_fields(out, &self.row, row, held, moment);
                out.push(b'}');
            }
            None => out.extend_from_slice(b"null"),
        }
    }

    fn flat(&self, out: &mut Vec<u8>, rows: &Rows<'_>, before: bool, nulls: Option<&[Vec<u8>]>, moment: &Moment<'_>) {
        let placeholder = Some(self.options.unavailable_placeholder.as_str()).filter(|_| !before);
        let (row, held) = if before { (rows.before, None) } else { (rows.after, rows.before) };
        let Some(row) = row else { return };
        let moment = &Moment { placeholder, ..*moment };
        let Some(nulls) = nulls else { return write_fields(out, &self.row, row, held, moment) };
        for (index, (field, null)) in self.row.iter().zip(nulls).enumerate() {
            field.put_label(out, index);
            match row.get(field.column) {
                Some(Value::Null) | None => out.extend_from_slice(null),
                Some(value) => field.write(out, &value, moment),
            }
        }
    }

    fn meta(&self, out: &mut Vec<u8>, meta: Meta, event: &Event<'_, '_>) {
        let received = event.header.receive_us;
        match (meta, event.order) {
            (Meta::Op, _) => json::string(out, event.op),
            (Meta::TsMs, _) => json::integer(out, received.div_euclid(1_000)),
            (Meta::TsUs, _) => json::integer(out, received),
            (Meta::TsNs, _) => json::integer(out, received.wrapping_mul(1_000)),
            (Meta::Source(field), _) => self.source.write_field(out, field, event),
            (_, None) => out.extend_from_slice(b"null"),
            (Meta::TransactionId, Some(_)) => json::string(out, &transaction::event_id(event, &self.options)),
            (Meta::TransactionTotal, Some(order)) => json::integer(out, order.total as i64),
            (Meta::TransactionOfTable, Some(order)) => json::integer(out, order.of_table as i64),
        }
    }
}

/// The rows that a record shows.
struct Rows<'a> {
    before: Option<Row<'a>>,
    after: Option<Row<'a>>,
    key: Option<Row<'a>>,
    other_key: Option<Row<'a>>,
}

impl<'a> Rows<'a> {
    fn of(kind: RecordKind, before: Option<Row<'a>>, after: Option<Row<'a>>) -> Rows<'a> {
        match kind {
            RecordKind::Create | RecordKind::Read => Rows { before: None, after, key: after, other_key: None },
            RecordKind::Update => Rows { before, after, key: after, other_key: None },
            RecordKind::Delete | RecordKind::Tombstone => Rows { before, after: None, key: before, other_key: None },
            RecordKind::KeyDelete | RecordKind::KeyTombstone => {
                Rows { before, after: None, key: before, other_key: after }
            }
            RecordKind::KeyCreate => Rows { before: None, after, key: after, other_key: before },
            RecordKind::Truncate => Rows { before: None, after: None, key: None, other_key: None },
        }
    }
}

/// Appends the fields of a row; a value that the log did not carry is looked for in `held`.
pub(super) fn write_fields(
    out: &mut Vec<u8>,
    fields: &[Field],
    row: Row<'_>,
    held: Option<Row<'_>>,
    moment: &Moment<'_>,
) {
    let mut values = walk(row);
    for (index, field) in fields.iter().enumerate() {
        field.put_label(out, index);
        match held.filter(|_| values.is_absent(field.column)).and_then(|held| held.get(field.column)) {
            Some(value) => field.write(out, &value, moment),
            None => {
                field.write_next(out, values.at(field.column), moment);
            }
        }
    }
}

/// Appends both images of an update, of at most so many fields. What did not change is copied from the first.
fn write_both<const FIELDS: usize>(
    out: &mut Vec<u8>,
    fields: &[Field],
    (before, after): (Row<'_>, Row<'_>),
    moments: (&Moment<'_>, &Moment<'_>),
) {
    // Where the text of each field of the first image begins, and its value as it is stored; nothing where there is none.
    let mut first = [(0, [].as_slice()); FIELDS];
    let mut values = walk(before);
    for (index, (field, (start, stored))) in fields.iter().zip(&mut first).enumerate() {
        *start = out.len();
        field.put_label(out, index);
        let from = values.stored(field.column);
        if field.write_next(out, values.at(field.column), moments.0) {
            *stored = &from[..from.len() - values.rest().len()];
        }
    }
    let end = out.len();
    out.extend_from_slice(b"},\"after\":{");
    let mut values = walk(after);
    // Where the text of fields begins that are the same and stand side by side.
    let mut same = None;
    for (index, (field, (start, stored))) in fields.iter().zip(&first).enumerate() {
        let is_same = values.skip_same(field.column, stored);
        // One that the log did not carry is the one before.
        if is_same || !stored.is_empty() && values.is_absent(field.column) {
            same.get_or_insert(*start);
            continue;
        }
        if let Some(same) = same.take() {
            out.extend_from_within(same..*start);
        }
        field.put_label(out, index);
        field.write_next(out, values.at(field.column), moments.1);
    }
    if let Some(same) = same {
        out.extend_from_within(same..end);
    }
}

fn kind_has_key(kind: RecordKind) -> bool {
    kind != RecordKind::Truncate
}

fn key_texts(draft: &Draft, key: &[Field], converter: Converter) -> (Piece, Piece) {
    let mut prefix = Vec::new();
    let mut suffix = Vec::new();
    if converter.schemas {
        let mut fields: Vec<connect::Field> = key.iter().map(|field| field.connect.clone()).collect();
        fields.extend(draft.key_fields.iter().map(|(name, _)| Connect::new(Kind::String).field(name)));
        prefix.extend_from_slice(b"{\"schema\":");
        prefix.extend_from_slice(&Connect::structure(&draft.key_name, None, fields).text());
        prefix.extend_from_slice(b",\"payload\":");
    }
    prefix.push(b'{');
    for (index, (name, value)) in draft.key_fields.iter().enumerate() {
        if index > 0 || !key.is_empty() {
            suffix.push(b',');
        }
        json::string(&mut suffix, name);
        suffix.push(b':');
        json::string(&mut suffix, value);
    }
    suffix.push(b'}');
    if converter.schemas {
        suffix.push(b'}');
    }
    (Piece::new(&prefix), Piece::new(&suffix))
}

fn planned_value(draft: &Draft, row: &[Field], options: &Options) -> PlannedValue {
    let schemas = options.value.schemas;
    let open = |schema: Connect, behind: &[u8]| {
        let mut prefix = Vec::new();
        if schemas {
            prefix.extend_from_slice(b"{\"schema\":");
            prefix.extend_from_slice(&schema.text());
            prefix.extend_from_slice(b",\"payload\":");
        }
        prefix.extend_from_slice(behind);
        prefix
    };
    let close = if schemas { b"}".to_vec() } else { Vec::new() };
    match &draft.value {
        DraftValue::Tombstone => PlannedValue::Tombstone,
        DraftValue::Null { value_name } => {
            let mut text = open(row_schema(value_name, row).optional(), b"null");
            text.extend_from_slice(&close);
            PlannedValue::Text(text)
        }
        DraftValue::Envelope { value_name, envelope_name } => {
            let image = row_schema(value_name, row).optional();
            let envelope = envelope_schema(image, envelope_name, options);
            PlannedValue::Envelope(Piece::new(&open(envelope, b"{\"before\":")), Piece::new(&close))
        }
        DraftValue::Flat(flat) => flat_value(flat, row, options, open, close),
    }
}

fn flat_value(
    flat: &Flat,
    row: &[Field],
    options: &Options,
    open: impl Fn(Connect, &[u8]) -> Vec<u8>,
    close: Vec<u8>,
) -> PlannedValue {
    let mut shown = row_schema(&flat.value_name, row);
    shown.optional = flat.optional;
    let mut behind = Vec::new();
    if let Kind::Struct(fields) = &mut shown.kind {
        if let Some(deleted) = flat.deleted {
            fields.push(Connect::new(Kind::String).optional().field("__deleted"));
            behind.extend_from_slice(if row.is_empty() { b"" } else { b"," });
            behind.extend_from_slice(if deleted { b"\"__deleted\":\"true\"" } else { b"\"__deleted\":\"false\"" });
        }
        fields.extend(flat.added.iter().map(|added| added.meta.schema(options.connector).field(&added.name)));
    }
    let mut first = row.is_empty() && flat.deleted.is_none();
    let label = |added: &Added| {
        let mut label = if std::mem::take(&mut first) { Vec::new() } else { b",".to_vec() };
        json::string(&mut label, &added.name);
        label.push(b':');
        (label, added.meta)
    };
    let added = flat.added.iter().map(label).collect();
    let mut suffix = b"}".to_vec();
    suffix.extend_from_slice(&close);
    let nulls = (flat.replace_null && !options.value.replace_null).then(|| {
        row.iter().map(|field| field.connect.schema.default.clone().unwrap_or_else(|| field.null.clone())).collect()
    });
    PlannedValue::Flat { before: flat.before, prefix: open(shown, b"{"), behind, added, suffix, nulls }
}

fn row_schema(name: &str, row: &[Field]) -> Connect {
    let fields = row.iter().map(|field| field.connect.clone()).collect();
    Connect::structure(name, None, fields)
}

fn envelope_schema(image: Connect, name: &str, options: &Options) -> Connect {
    let time = || Connect::new(Kind::Int64).optional();
    let fields = vec![
        image.clone().field("before"),
        image.field("after"),
        source::schema(options.connector).field("source"),
        transaction::block_schema().field("transaction"),
        Connect::new(Kind::String).field("op"),
        time().field("ts_ms"),
        time().field("ts_us"),
        time().field("ts_ns"),
    ];
    Connect::structure(name, Some(2), fields)
}
