//! Bytes that nobody meant: whatever they are, each reader answers with a value or an error.
//!
//! Invariant: none of these panics, and what was read is encoded so that it can be read again.

use super::super::cell::{binary, text};
use super::super::{Message, Reader, RowPlan};
use super::messages::recorded;
use super::{TYPES, lines};
use headwater_model::{Row, Value};
use proptest::prelude::*;
use std::sync::LazyLock;

/// Number and modifier of each recorded type, with its recorded values as text and in binary.
type Sample = (u32, i32, Vec<u8>, Vec<u8>);

static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let sample = |line: Vec<serde_json::Value>| {
        let (printed, sent) = (line[3].as_str()?, line[4].as_str().unwrap_or_default());
        let oid = u32::try_from(line[1].as_u64()?).ok()?;
        let modifier = i32::try_from(line[2].as_i64()?).ok()?;
        Some((oid, modifier, printed.as_bytes().to_vec(), super::values::unhex(sent)))
    };
    lines(include_str!("../fixtures/values.jsonl")).filter_map(sample).collect()
});

static STREAM: LazyLock<Vec<Vec<u8>>> = LazyLock::new(recorded);

/// What was read is of the model's encoding, whole.
fn reads_back(value: Value<'_>) -> bool {
    let mut out = Vec::new();
    value.encode(&mut out);
    let mut rest = out.as_slice();
    Value::decode(&mut rest).is_some() && rest.is_empty()
}

/// Some bytes are replaced, the end may be cut off.
fn damaged(bytes: &[u8], flips: &[(u16, u8)], cut: u16) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (place, byte) in flips {
        if !bytes.is_empty() {
            let place = usize::from(*place) % bytes.len();
            bytes[place] = *byte;
        }
    }
    let kept = bytes.len() - usize::from(cut).min(bytes.len());
    bytes.truncate(kept);
    bytes
}

/// Bytes that stand in the texts of values, more often than chance would put them there.
fn telling_byte() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), prop::sample::select(b"{}[]()\",:;=-+. \\09NULL".to_vec())]
}

/// Reads messages until one is refused, each row by the shape that it came with. Answers the rows that were read.
fn walk(messages: &[Vec<u8>]) -> u32 {
    let mut reader = Reader::default();
    let mut plan: Option<RowPlan> = None;
    let mut out = Vec::new();
    for message in messages {
        let Ok(message) = reader.read(message) else { break };
        let Some(plan) = &mut plan else {
            if let Message::Relation(relation) = message {
                plan = Some(RowPlan::of_relation(&relation, &TYPES, |_| false));
            }
            continue;
        };
        let _ = match message {
            Message::Relation(relation) => {
                *plan = RowPlan::of_relation(&relation, &TYPES, |_| false);
                Ok(())
            }
            Message::Insert { new, .. } => plan.row(new.cells(), &mut out),
            Message::Update { old, new, .. } => {
                plan.old_row(old, &mut out).and_then(|()| plan.new_row(old, &new, &mut out))
            }
            Message::Delete { old, .. } => plan.old_row(Some(old), &mut out),
            _ => Ok(()),
        };
    }
    let mut rest = out.as_slice();
    let mut rows = 0;
    while !rest.is_empty() {
        Row::decode(&mut rest).expect("a row that was written is whole");
        rows += 1;
    }
    rows
}

#[test]
fn the_recorded_stream_gives_rows() {
    assert!(walk(&STREAM) > 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_text_of_any_type_is_a_value_or_an_error(
        sample in prop::sample::select(SAMPLES.as_slice()),
        bytes in prop::collection::vec(telling_byte(), 0..40),
    ) {
        let (_, mut becomes) = TYPES.resolve(sample.0, sample.1);
        let mut scratch = Vec::new();
        if let Ok(value) = text(&mut becomes, &bytes, &mut scratch) {
            prop_assert!(reads_back(value));
        }
    }

    #[test]
    fn a_damaged_text_is_a_value_or_an_error(
        sample in prop::sample::select(SAMPLES.as_slice()),
        flips in prop::collection::vec((any::<u16>(), telling_byte()), 0..4),
        cut in prop_oneof![Just(0u16), 0u16..8],
    ) {
        let (_, mut becomes) = TYPES.resolve(sample.0, sample.1);
        let mut scratch = Vec::new();
        if let Ok(value) = text(&mut becomes, &damaged(&sample.2, &flips, cut), &mut scratch) {
            prop_assert!(reads_back(value));
        }
    }

    #[test]
    fn a_damaged_binary_form_is_a_value_or_an_error(
        sample in prop::sample::select(SAMPLES.as_slice()),
        flips in prop::collection::vec((any::<u16>(), any::<u8>()), 0..4),
        cut in prop_oneof![Just(0u16), 0u16..8],
    ) {
        let (_, mut becomes) = TYPES.resolve(sample.0, sample.1);
        let mut scratch = Vec::new();
        if let Ok(value) = binary(&mut becomes, &damaged(&sample.3, &flips, cut), &mut scratch) {
            prop_assert!(reads_back(value));
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = Reader::default().read(&bytes);
    }

    #[test]
    fn a_damaged_stream_gives_whole_rows_until_it_is_refused(
        start in any::<prop::sample::Index>(),
        damage in prop::collection::vec((0usize..12, any::<u16>(), any::<u8>()), 1..4),
        cut in prop_oneof![Just(0u16), 0u16..8],
    ) {
        let start = start.index(STREAM.len());
        let mut messages: Vec<Vec<u8>> = STREAM[start..].iter().take(12).cloned().collect();
        for (message, place, byte) in damage {
            let message = message % messages.len();
            messages[message] = damaged(&messages[message], &[(place, byte)], cut);
        }
        walk(&messages);
    }
}
