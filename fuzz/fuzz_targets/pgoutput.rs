//! Any bytes as messages of the replication stream, each with its length before it: every row that is read is whole.
#![no_main]

use headwater_model::Row;
use headwater_source::postgres::decode::{Message, Reader, RowPlan, Types};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static TYPES: LazyLock<Types> = LazyLock::new(Types::default);

fuzz_target!(|bytes: &[u8]| {
    let (mut reader, mut plan, mut out) = (Reader::default(), None::<RowPlan>, Vec::new());
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(behind.len());
        let (message, behind) = behind.split_at(length);
        rest = behind;
        let Ok(message) = reader.read(message) else { break };
        if let Message::Relation(relation) = &message {
            plan = Some(RowPlan::of_relation(relation, &TYPES, |_| false));
        }
        let Some(plan) = &mut plan else { continue };
        out.clear();
        let read = match message {
            Message::Insert { new, .. } => plan.row(new.cells(), &mut out),
            Message::Update { old, new, .. } => {
                plan.old_row(old, &mut out).and_then(|()| plan.new_row(old, &new, &mut out))
            }
            Message::Delete { old, .. } => plan.old_row(Some(old), &mut out),
            _ => continue,
        };
        let mut rows = out.as_slice();
        while read.is_ok() && !rows.is_empty() {
            assert!(Row::decode(&mut rows).is_some(), "a row that was written is whole");
        }
    }
});
