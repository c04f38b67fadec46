//! The store against a plain map: random histories with commits, kills and reopening, and the cases that have a name.
//!
//! Invariant: after a kill the store says a sequence, and holds exactly the rows of that sequence.

use headwater_model::{
    Change, Column, JournalId, Op, Row, RowWriter, Schema, SnapshotMarker, TransactionBuilder, Type, Value,
};
use headwater_store::{Error, RowStore, StoreOptions};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// A keyed table, one without a key, and the keyed one again after its key was changed.
fn schema(id: u32) -> Schema {
    let column = |name: &str, unsigned| Column::new(name, Type::Int { bits: 64, unsigned }, "bigint");
    let (table, key, extra): (&str, &[u16], &[&str]) = match id {
        1 => ("keyed", &[0], &[]),
        2 => ("keyless", &[], &[]),
        3 => ("keyed", &[2], &["c"]),
        _ => ("keyed", &[0], &["c"]),
    };
    let mut columns = vec![column("a", id == 4), column("b", false)];
    columns.extend(extra.iter().map(|name| column(name, false)));
    Schema::new(id, "shop", table, columns, key.to_vec())
}

/// Rows, and how often each is there.
type Counted = Vec<(Ints, u64)>;

/// Rows as integers; the second may stand for a long text.
type Ints = Vec<i64>;

fn encode(row: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = RowWriter::begin(&mut out, row.len());
    for value in row {
        match value {
            // Long enough that a row without a key is named by a digest.
            9_000.. => writer.put(Value::Text(&"x".repeat(*value as usize))),
            _ => writer.put(Value::Int(*value)),
        }
    }
    drop(writer);
    out
}

fn decode(row: &[u8]) -> Ints {
    let row = Row::decode(&mut &row[..]).unwrap();
    let int = |value| match value {
        Value::Int(int) => int,
        Value::UInt(int) => int as i64,
        Value::Text(text) => text.len() as i64,
        other => panic!("{other:?}"),
    };
    row.values().map(int).collect()
}

#[derive(Clone, Debug)]
struct Step {
    op: Op,
    schema: u32,
    before: Option<Ints>,
    after: Option<Ints>,
}

fn step(op: Op, schema: u32, before: Option<&[i64]>, after: Option<&[i64]>) -> Step {
    Step { op, schema, before: before.map(<[i64]>::to_vec), after: after.map(<[i64]>::to_vec) }
}

fn apply(store: &mut RowStore, step: &Step, sequence: u64) {
    let mut builder = TransactionBuilder::default();
    let out = match step.op {
        Op::Read => builder.begin_read(step.schema, 0, SnapshotMarker::True),
        op => builder.begin(op, step.schema, 0, 0),
    };
    step.before.iter().chain(&step.after).for_each(|row| out.extend_from_slice(&encode(row)));
    builder.end(step.op, step.schema, false);
    let change: Change<'_> = headwater_model::change::Changes::new(builder.items()).next().unwrap().unwrap();
    store.apply(&change, sequence).unwrap();
}

fn open(dir: &Path) -> RowStore {
    let mut store = RowStore::open(dir, StoreOptions { cache_bytes: 1 << 20, memtable_bytes: 64 << 10 }).unwrap();
    [1, 2].iter().for_each(|id| store.learn(&schema(*id)).unwrap());
    store
}

fn rows(store: &RowStore, table: &str) -> Counted {
    let mut rows: Counted =
        store.view().rows(table).map(|row| row.unwrap().1).map(|row| (decode(&row.row), row.count)).collect();
    rows.sort();
    rows
}

/// What the rows should be.
#[derive(Clone, Debug, Default)]
struct Model {
    keyed: BTreeMap<i64, Ints>,
    keyless: BTreeMap<Ints, u64>,
}

impl Model {
    fn apply(&mut self, step: &Step) {
        if step.op == Op::Truncate {
            if step.schema == 1 { self.keyed.clear() } else { self.keyless.clear() }
        }
        if let Some(before) = &step.before {
            if step.schema == 1 {
                self.keyed.remove(&before[0]);
            } else if let Some(count) = self.keyless.get_mut(before) {
                *count -= 1;
                self.keyless.retain(|_, count| *count > 0);
            }
        }
        if let Some(after) = step.after.clone() {
            match step.schema {
                1 => drop(self.keyed.insert(after[0], after)),
                _ => *self.keyless.entry(after).or_default() += 1,
            }
        }
    }

    fn check(&self, store: &RowStore) {
        let keyed: Counted = self.keyed.values().map(|row| (row.clone(), 1)).collect();
        assert_eq!(rows(store, "shop.keyed"), keyed);
        let keyless: Counted = self.keyless.iter().map(|(row, count)| (row.clone(), *count)).collect();
        assert_eq!(rows(store, "shop.keyless"), keyless);
        assert_eq!(store.view().count("shop.keyless").unwrap(), self.keyless.values().sum::<u64>());
    }
}

#[derive(Clone, Debug)]
enum Move {
    Change(Step),
    Commit,
    Kill,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let second = prop_oneof![0i64..3, 9_000i64..9_003];
    let row = (0i64..8, second).prop_map(|(a, b)| vec![a, b]);
    let op = prop_oneof![
        4 => Just(Op::Create),
        4 => Just(Op::Update),
        3 => Just(Op::Delete),
        1 => Just(Op::Read),
    ];
    let change = (op, 1u32..=2, row.clone(), row).prop_map(|(op, schema, before, after)| Step {
        op,
        schema,
        before: matches!(op, Op::Update | Op::Delete).then_some(before),
        after: (op != Op::Delete).then_some(after),
    });
    let truncate = (1u32..=2).prop_map(|schema| step(Op::Truncate, schema, None, None));
    let one = prop_oneof![
        30 => change.prop_map(Move::Change),
        1 => truncate.prop_map(Move::Change),
        3 => Just(Move::Commit),
        1 => Just(Move::Kill),
    ];
    prop::collection::vec(one, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_history_with_kills_leaves_the_rows_of_the_sequence_it_says(moves in moves()) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        // The journal: what a kill loses is applied again from it.
        let mut journal: Vec<Step> = Vec::new();
        let mut next = 0;
        for one in moves {
            match one {
                Move::Change(step) => {
                    journal.push(step);
                    apply(&mut store, journal.last().unwrap(), next as u64);
                    next += 1;
                }
                Move::Commit => store.commit(next as u64).unwrap(),
                Move::Kill => {
                    drop(store);
                    store = open(dir.path());
                    let reached = store.sequence() as usize;
                    for (at, step) in journal.iter().enumerate().skip(reached) {
                        apply(&mut store, step, at as u64);
                    }
                }
            }
        }
        store.commit(next as u64).unwrap();
        let mut model = Model::default();
        journal.iter().for_each(|step| model.apply(step));
        model.check(&store);
        store.close().unwrap();
        model.check(&open(dir.path()));
    }
}

#[test]
fn a_view_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    apply(&mut store, &step(Op::Create, 1, None, Some(&[1, 1])), 0);
    store.commit(1).unwrap();
    let view = store.view();
    apply(&mut store, &step(Op::Update, 1, Some(&[1, 1]), Some(&[2, 1])), 1);
    store.commit(2).unwrap();
    apply(&mut store, &step(Op::Truncate, 1, None, None), 2);
    store.commit(3).unwrap();
    let held: Vec<Ints> = view.rows("shop.keyed").map(|row| decode(&row.unwrap().1.row)).collect();
    assert_eq!((view.sequence(), held), (1, vec![vec![1, 1]]));
    assert_eq!(rows(&store, "shop.keyed"), []);
}

#[test]
fn rows_keep_their_names_when_the_tables_key_changes() {
    let cases: &[(u32, Step, Counted)] = &[
        // The key became unsigned: the same number is the same row.
        (4, step(Op::Update, 4, Some(&[1, 10, 0]), Some(&[1, 11, 0])), vec![(vec![1, 11, 0], 1), (vec![2, 20], 1)]),
        // Another column is the key: a row that was written before is found by its former key.
        (3, step(Op::Update, 3, Some(&[1, 10, 7]), Some(&[1, 11, 7])), vec![(vec![1, 11, 7], 1), (vec![2, 20], 1)]),
        (3, step(Op::Delete, 3, Some(&[2, 20, 8]), None), vec![(vec![1, 10], 1)]),
        // And a row that was written since is found by its own, though another one has the same value there.
        (
            3,
            step(Op::Create, 3, None, Some(&[5, 50, 1])),
            vec![(vec![1, 10], 1), (vec![2, 20], 1), (vec![5, 50, 1], 1)],
        ),
    ];
    for (id, change, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        apply(&mut store, &step(Op::Create, 1, None, Some(&[1, 10])), 0);
        apply(&mut store, &step(Op::Create, 1, None, Some(&[2, 20])), 1);
        store.learn(&schema(*id)).unwrap();
        apply(&mut store, change, 2);
        store.commit(3).unwrap();
        drop(store);
        let store = RowStore::open(dir.path(), StoreOptions::default()).unwrap();
        assert_eq!(&rows(&store, "shop.keyed"), expected, "{change:?}");
    }
}

#[test]
fn marks_survive_when_kept_and_belong_to_one_generation() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let name = |store: &RowStore, row: &[i64]| {
        let bytes = encode(row);
        let row = Row::decode(&mut &bytes[..]).unwrap();
        store.view().find("shop.keyed", &row).unwrap().unwrap().0
    };
    let counts = |store: &RowStore, generation| {
        let marks = store.view().marks("shop.keyed", generation).unwrap();
        [1, 2].map(|key| marks.get(&name(store, &[key, 0])).unwrap().count)
    };
    let mut marks = store.view().marks("shop.keyed", 7).unwrap();
    marks.mark(name(&store, &[1, 0]), 2).unwrap();
    marks.keep().unwrap();
    assert!(marks.get(&name(&store, &[1, 0])).unwrap().is_recent);
    marks.mark(name(&store, &[2, 0]), 1).unwrap();
    drop((marks, store));
    let store = open(dir.path());
    assert_eq!(counts(&store, 7), [2, 0], "what was kept survives");
    let marks = store.view().marks("shop.keyed", 7).unwrap();
    assert!(!marks.get(&name(&store, &[1, 0])).unwrap().is_recent, "and is known to be of before");
    store.view().marks("shop.keyless", 8).unwrap().forget().unwrap();
    assert_eq!(counts(&store, 7), [2, 0], "marks of another table are left alone");
    assert_eq!(counts(&store, 9), [0, 0], "another generation begins with none");
}

#[test]
fn a_store_remembers_whose_rows_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    assert_eq!(store.journal(), None);
    store.belong_to(JournalId([3; 16])).unwrap();
    store.close().unwrap();
    assert_eq!(open(dir.path()).journal(), Some(JournalId([3; 16])));
}

#[test]
fn a_change_of_an_unknown_schema_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let change = Change {
        op: Op::Truncate,
        schema: 99,
        place: 0,
        row: 0,
        statement: None,
        marker: None,
        before: None,
        after: None,
        message: None,
    };
    assert!(matches!(store.apply(&change, 0), Err(Error::UnknownSchema(99))));
}
