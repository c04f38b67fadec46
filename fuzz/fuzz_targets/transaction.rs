//! Any bytes as the body of a transaction: read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(view) = headwater_model::TransactionView::decode(bytes) else { return };
    for change in view.changes() {
        let Ok(change) = change else { break };
        for row in [change.before, change.after].into_iter().flatten() {
            std::hint::black_box(row.values().count());
        }
    }
});
