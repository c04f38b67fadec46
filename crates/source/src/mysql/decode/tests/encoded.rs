//! Rows written by an encoder of our own, in every combination of types, read back value by value; and what a plan
//! refuses.

use super::*;
use column_type as ty;
use headwater_model::{Column, Date, DateTime, Op, Row, Value, change::Changes};
use proptest::prelude::*;

/// A column, as the log and the schema have it, with one value of it: none for NULL.
#[derive(Clone, Debug)]
struct Cell {
    wire: (u8, Vec<u8>),
    kind: Type,
    bytes: Option<Vec<u8>>,
    value: Owned,
}

/// What a value decodes to.
#[derive(Clone, Debug)]
enum Owned {
    Int(i64),
    UInt(u64),
    Text(String),
    Bytes(Vec<u8>),
    DateTime(DateTime),
    Bit(u64),
    Enum(&'static str),
    Set(String),
}

impl Cell {
    fn expected(&self) -> Value<'_> {
        if self.bytes.is_none() {
            return Value::Null;
        }
        match &self.value {
            Owned::Int(v) => Value::Int(*v),
            Owned::UInt(v) => Value::UInt(*v),
            Owned::Text(v) => Value::Text(v),
            Owned::Bytes(v) => Value::Bytes(v),
            Owned::DateTime(v) => Value::DateTime(*v),
            Owned::Bit(v) => Value::Bit(*v),
            Owned::Enum(v) => Value::Enum(v),
            Owned::Set(v) => Value::Set(v),
        }
    }
}

const MEMBERS: [&str; 3] = ["a", "b,c", "é"];

fn members() -> Vec<String> {
    MEMBERS.map(str::to_owned).to_vec()
}

fn prefixed(width: usize, bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes()[..width], bytes].concat()
}

fn integer() -> impl Strategy<Value = Cell> {
    (
        prop::sample::select(vec![(ty::TINY, 1), (ty::SHORT, 2), (ty::INT24, 3), (ty::LONG, 4), (ty::LONGLONG, 8)]),
        any::<u64>(),
        any::<bool>(),
    )
        .prop_map(|((wire, width), bits, unsigned)| {
            let shift = 64 - 8 * width as u32;
            let value = if unsigned {
                Owned::UInt(bits << shift >> shift)
            } else {
                Owned::Int((bits << shift) as i64 >> shift)
            };
            let kind = Type::Int { bits: width as u8 * 8, unsigned };
            Cell { wire: (wire, vec![]), kind, bytes: Some(bits.to_le_bytes()[..width].to_vec()), value }
        })
}

fn text() -> impl Strategy<Value = Cell> {
    (".{0,20}", prop::sample::select(vec![80u16, 400])).prop_map(|(text, meta)| Cell {
        wire: (ty::VARCHAR, meta.to_le_bytes().to_vec()),
        kind: Type::Text { charset: "utf8mb4".to_owned() },
        bytes: Some(prefixed(if meta > 255 { 2 } else { 1 }, text.as_bytes())),
        value: Owned::Text(text),
    })
}

fn blob() -> impl Strategy<Value = Cell> {
    (prop::collection::vec(any::<u8>(), 0..40), 1u8..=4).prop_map(|(bytes, width)| Cell {
        wire: (ty::BLOB, vec![width]),
        kind: Type::Bytes { fixed: None },
        bytes: Some(prefixed(usize::from(width), &bytes)),
        value: Owned::Bytes(bytes),
    })
}

fn binary() -> impl Strategy<Value = Cell> {
    prop::collection::vec(any::<u8>(), 0..=9).prop_map(|bytes| {
        let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let mut padded = bytes.clone();
        padded.resize(9, 0);
        Cell {
            wire: (ty::STRING, vec![ty::STRING, 9]),
            kind: Type::Bytes { fixed: Some(9) },
            bytes: Some(prefixed(1, &bytes[..end])),
            value: Owned::Bytes(padded),
        }
    })
}

fn date_time() -> impl Strategy<Value = Cell> {
    ((0u16..=9999, 0u8..=12, 0u8..=31), (0u8..24, 0u8..60, 0u8..60), 0u32..1_000_000, 0u8..=6).prop_map(
        |((year, month, day), (hour, minute, second), micros, fraction)| {
            let unit = [1_000_000, 10_000, 100, 1][usize::from(fraction.div_ceil(2))];
            let micros = micros / unit * unit;
            let date = (u64::from(year) * 13 + u64::from(month)) << 5 | u64::from(day);
            let time = u64::from(hour) << 12 | u64::from(minute) << 6 | u64::from(second);
            let mut bytes = (0x80_0000_0000 | date << 17 | time).to_be_bytes()[3..].to_vec();
            let width = usize::from(fraction.div_ceil(2));
            bytes.extend_from_slice(&(micros / unit).to_be_bytes()[4 - width..]);
            let date = Date { year: i32::from(year), month, day };
            Cell {
                wire: (ty::DATETIME2, vec![fraction]),
                kind: Type::DateTime { fraction },
                bytes: Some(bytes),
                value: Owned::DateTime(DateTime { date, hour, minute, second, micros }),
            }
        },
    )
}

fn bit() -> impl Strategy<Value = Cell> {
    (1u8..=64, any::<u64>()).prop_map(|(width, bits)| {
        let bits = bits >> (64 - width);
        Cell {
            wire: (ty::BIT, vec![width % 8, width / 8]),
            kind: Type::Bit { width },
            bytes: Some(bits.to_be_bytes()[8 - usize::from(width.div_ceil(8))..].to_vec()),
            value: Owned::Bit(bits),
        }
    })
}

fn member() -> impl Strategy<Value = Cell> {
    (0u8..=3).prop_map(|index| Cell {
        wire: (ty::STRING, vec![ty::ENUM, 1]),
        kind: Type::Enum { members: members() },
        bytes: Some(vec![index]),
        value: Owned::Enum(if index == 0 { "" } else { MEMBERS[usize::from(index) - 1] }),
    })
}

fn set() -> impl Strategy<Value = Cell> {
    (0u8..8).prop_map(|bits| {
        let chosen: Vec<_> = (0..3).filter(|i| bits >> i & 1 == 1).map(|i| MEMBERS[i]).collect();
        Cell {
            wire: (ty::STRING, vec![ty::SET, 1]),
            kind: Type::Set { members: members() },
            bytes: Some(vec![bits]),
            value: Owned::Set(chosen.join(",")),
        }
    })
}

fn cell() -> impl Strategy<Value = Cell> {
    let any_kind = prop_oneof![integer(), text(), blob(), binary(), date_time(), bit(), member(), set()];
    (any_kind, prop::bool::weighted(0.2)).prop_map(|(mut cell, null)| {
        cell.bytes = cell.bytes.filter(|_| !null);
        cell
    })
}

fn event(kind: EventKind, body: &[u8]) -> Vec<u8> {
    let mut event = vec![0; HEADER_BYTES];
    event[4] = kind.0;
    event[9..13].copy_from_slice(&((HEADER_BYTES + body.len()) as u32).to_le_bytes());
    event.extend_from_slice(body);
    event
}

fn table_map(cells: &[Cell]) -> Vec<u8> {
    let mut body = vec![5, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0, cells.len() as u8];
    body.extend(cells.iter().map(|cell| cell.wire.0));
    let meta: Vec<u8> = cells.iter().flat_map(|cell| cell.wire.1.clone()).collect();
    body.push(meta.len() as u8);
    body.extend(meta);
    body.extend(vec![0xff; cells.len().div_ceil(8)]);
    event(EventKind::TABLE_MAP, &body)
}

fn image(cells: &[Cell]) -> Vec<u8> {
    let mut nulls = vec![0u8; cells.len().div_ceil(8)];
    for (i, cell) in cells.iter().enumerate() {
        nulls[i / 8] |= u8::from(cell.bytes.is_none()) << (i % 8);
    }
    nulls.into_iter().chain(cells.iter().flat_map(|cell| cell.bytes.clone().unwrap_or_default())).collect()
}

fn rows(kind: EventKind, columns: usize, images: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![5, 0, 0, 0, 0, 0, 1, 0, 2, 0, columns as u8];
    let bitmaps = if kind == EventKind::UPDATE_ROWS { 2 } else { 1 };
    body.extend(vec![0xff; columns.div_ceil(8) * bitmaps]);
    body.extend(images.concat());
    event(kind, &body)
}

fn schema_of(cells: &[Cell], excluded: Option<usize>) -> Arc<Schema> {
    let column = |(i, cell): (usize, &Cell)| Column {
        excluded: excluded == Some(i),
        ..Column::new(&format!("c{i}"), cell.kind.clone(), &format!("{:?}", cell.kind))
    };
    let columns = cells.iter().enumerate().map(column).collect();
    Arc::new(Schema::new(3, "d", "t", columns, vec![0]))
}

fn same(row: Option<Row<'_>>, cells: &[Cell], excluded: Option<usize>) -> bool {
    let wanted = cells.iter().enumerate().filter(|(i, _)| excluded != Some(*i)).map(|(_, cell)| cell.expected());
    row.is_some_and(|row| row.values().eq(wanted))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_read_back(cells in prop::collection::vec(cell(), 1..20), exclude: bool, key in integer()) {
        let excluded = (exclude && cells.len() > 1).then(|| cells.len() - 1);
        let mut after = cells.clone();
        if let (Type::Int { bits, unsigned }, Type::Int { bits: other, unsigned: sign }) = (&cells[0].kind, &key.kind)
            && (bits, unsigned) == (other, sign)
        {
            after[0] = key;
        }
        let (mut decoder, mut builder) = (Decoder::new(ServerFlavor::MySql), TransactionBuilder::default());
        let map = table_map(&cells);
        let (_, Event::TableMap(map)) = decoder.event(&map).unwrap() else { panic!("a table map") };
        let mut plan = TablePlan::new(&map, &schema_of(&cells, excluded), &Charsets::default()).unwrap();
        for (kind, images) in [
            (EventKind::WRITE_ROWS, vec![image(&cells), image(&after)]),
            (EventKind::UPDATE_ROWS, vec![image(&cells), image(&after)]),
            (EventKind::DELETE_ROWS, vec![image(&cells)]),
        ] {
            let raw = rows(kind, cells.len(), &images);
            let (_, Event::Rows(rows)) = decoder.event(&raw).unwrap() else { panic!("rows") };
            rows.transcode(&mut plan, 9, &mut builder).unwrap();
        }
        let changes: Vec<_> = Changes::new(builder.items()).map(Result::unwrap).collect();
        let ops: Vec<_> = changes.iter().map(|change| change.op).collect();
        prop_assert_eq!(ops, [Op::Create, Op::Create, Op::Update, Op::Delete]);
        prop_assert!(same(changes[0].after, &cells, excluded) && same(changes[1].after, &after, excluded));
        prop_assert!(same(changes[2].before, &cells, excluded) && same(changes[2].after, &after, excluded));
        prop_assert!(same(changes[3].before, &cells, excluded));
        let key_changed = cells[0].expected() != after[0].expected();
        prop_assert_eq!(builder.tallies().iter().map(|tally| tally.key_changes).sum::<u32>(), u32::from(key_changed));
    }

    #[test]
    fn a_row_that_is_cut_off_names_its_column(cells in prop::collection::vec(cell(), 1..10), cut: prop::sample::Index) {
        let (mut decoder, mut builder) = (Decoder::new(ServerFlavor::MySql), TransactionBuilder::default());
        let map = table_map(&cells);
        let (_, Event::TableMap(map)) = decoder.event(&map).unwrap() else { panic!("a table map") };
        let mut plan = TablePlan::new(&map, &schema_of(&cells, None), &Charsets::default()).unwrap();
        let image = image(&cells);
        let nulls = cells.len().div_ceil(8);
        let cut = nulls + cut.index(image.len() - nulls + 1);
        let raw = rows(EventKind::WRITE_ROWS, cells.len(), &[image[..cut].to_vec()]);
        let (_, Event::Rows(rows)) = decoder.event(&raw).unwrap() else { panic!("rows") };
        let result = rows.transcode(&mut plan, 9, &mut builder);
        if cut < image.len() {
            let named = matches!(result, Err(DecodeError::Value { .. }));
            prop_assert!(named, "{:?}", result);
            prop_assert!(builder.is_empty());
        }
    }
}

#[test]
fn a_plan_refuses_what_does_not_fit() {
    let cell = |wire, meta: &[u8], kind| Cell { wire: (wire, meta.to_vec()), kind, bytes: None, value: Owned::Int(0) };
    let text = |charset: &str| Type::Text { charset: charset.to_owned() };
    for (cell, message) in [
        (cell(ty::LONG, &[], Type::Int { bits: 64, unsigned: false }), "the log has INT"),
        (cell(ty::NEWDECIMAL, &[10, 2], Type::Decimal { precision: 10, scale: 3 }), "the log has DECIMAL(10,2)"),
        (cell(ty::NEWDECIMAL, &[99, 2], Type::Decimal { precision: 99, scale: 2 }), "the log has DECIMAL(99,2)"),
        (cell(ty::VARCHAR, &[80, 0], Type::Json), ""),
        (cell(ty::VARCHAR, &[80, 0], text("klingon")), "text in klingon, a character set that is not known here"),
        (cell(ty::DATETIME2, &[3], Type::DateTime { fraction: 6 }), "the log has DATETIME(3)"),
        (cell(ty::TIME, &[], Type::Time { fraction: 2 }), "mysql56_temporal_format=ON"),
        (cell(ty::TYPED_ARRAY, &[ty::LONGLONG], Type::Json), "an array of a multi-valued index"),
        (cell(ty::STRING, &[ty::STRING, 16], Type::Inet4), "the log has CHAR or BINARY of 16 bytes"),
        (cell(77, &[], Type::Float), "the log has the unknown type 77"),
    ] {
        let (map, cells) = (table_map(std::slice::from_ref(&cell)), [cell]);
        let mut decoder = Decoder::new(ServerFlavor::MySql);
        let (_, Event::TableMap(map)) = decoder.event(&map).unwrap() else { panic!("a table map") };
        match TablePlan::new(&map, &schema_of(&cells, None), &Charsets::default()) {
            Ok(_) => assert!(message.is_empty(), "{cells:?} was accepted"),
            Err(mismatch) => {
                let text = mismatch.to_string();
                assert!(!message.is_empty() && text.contains(message) && text.contains("column c0 of d.t"), "{text}");
            }
        }
    }
}
