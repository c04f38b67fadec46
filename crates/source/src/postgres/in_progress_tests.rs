//! Blocks of transactions that commit, roll back in part or as a whole; in memory and in a file.
//!
//! Invariant under test: what is left is what was not rolled back, in order, whatever the sizes. Start at [`Script`].

use super::*;
use headwater_model::source::{Committed, HeldRows, SidePart, SourceReport, scratch_in};
use headwater_model::{Change, Schema, TransactionBuilder};
use proptest::prelude::*;

/// An intake that only has scratch files.
struct Scratch;

/// Messages to one [`InProgress`], through a reader as they come from a server.
#[derive(Default)]
struct Script {
    reader: Reader,
    in_progress: InProgress,
    place: u64,
}

impl Script {
    /// Feeds a message; answers what is left of a transaction that it commits: the places of its messages.
    fn feed(&mut self, body: &[u8]) -> Option<Vec<u64>> {
        self.place += 1;
        let message = self.reader.read(body).unwrap();
        match self.in_progress.take(Lsn(self.place), body, &message, &mut Scratch).unwrap() {
            Taken::Committed(kept, ..) => {
                let mut places = Vec::new();
                let mut reading = kept.read().unwrap();
                while let Some((place, _)) = reading.next().unwrap() {
                    places.push(place.0);
                }
                Some(places)
            }
            _ => None,
        }
    }

    /// Feeds a message with the content `size` bytes long, of (sub)transaction `xid`; answers its place.
    fn logical(&mut self, xid: u32, size: usize) -> u64 {
        let mut body = vec![b'M'];
        body.extend_from_slice(&xid.to_be_bytes());
        body.push(1);
        body.extend_from_slice(&7u64.to_be_bytes());
        body.extend_from_slice(b"p\0");
        body.extend_from_slice(&(size as u32).to_be_bytes());
        body.resize(body.len() + size, b'x');
        self.feed(&body);
        self.place
    }

    fn relation(&mut self, xid: u32, oid: u32) -> u64 {
        let body = [&b"R"[..], &xid.to_be_bytes(), &oid.to_be_bytes(), b"s\0t\0d", &[0, 0]].concat();
        self.feed(&body);
        self.place
    }

    fn start(&mut self, xid: u32, first: bool) {
        self.feed(&[&b"S"[..], &xid.to_be_bytes(), &[u8::from(first)]].concat());
    }

    fn stop(&mut self) {
        self.feed(b"E");
    }

    fn abort(&mut self, xid: u32, subxid: u32) {
        self.feed(&[&b"A"[..], &xid.to_be_bytes(), &subxid.to_be_bytes()].concat());
    }

    fn commit(&mut self, xid: u32) -> Vec<u64> {
        self.feed(&[&b"c"[..], &xid.to_be_bytes(), &[0; 25]].concat()).expect("a commit")
    }
}

#[test]
fn transactions_that_are_mixed_are_told_apart() {
    let mut script = Script::default();
    script.start(10, true);
    let first = script.logical(10, 5);
    script.stop();
    script.start(20, true);
    let second = script.logical(20, 5);
    script.stop();
    script.start(30, true);
    script.logical(30, 5);
    script.stop();
    script.abort(30, 30);
    script.start(10, false);
    let third = script.logical(11, 5);
    script.stop();
    assert_eq!(script.in_progress.current, None);
    assert_eq!(script.commit(20), [second]);
    assert_eq!(script.commit(10), [first, third]);
    assert!(script.in_progress.transactions.is_empty());
    // Nothing of it was sent.
    script.abort(40, 40);
}

#[test]
fn a_block_without_its_beginning_is_refused() {
    let mut script = Script::default();
    let body = [&b"S"[..], &9u32.to_be_bytes(), &[0]].concat();
    let message = script.reader.read(&body).unwrap();
    assert!(script.in_progress.take(Lsn(1), &body, &message, &mut Scratch).is_err());
}

#[test]
fn a_shape_that_was_told_in_what_is_rolled_back_is_still_known() {
    let mut script = Script::default();
    script.start(10, true);
    let before = script.relation(10, 1);
    script.relation(11, 2);
    script.logical(11, 5);
    let told = script.relation(11, 2);
    script.logical(11, 5);
    script.stop();
    script.abort(10, 11);
    script.start(10, false);
    let after = script.logical(10, 5);
    script.stop();
    assert_eq!(script.commit(10), [before, told, after]);
}

proptest! {
    #[test]
    fn what_was_rolled_back_is_gone_and_all_else_is_there(
        steps in prop::collection::vec((0u8..4, prop_oneof![Just(10usize), Just(90_000), Just(300_000)]), 1..40)
    ) {
        let mut script = Script::default();
        let mut model: Vec<(u32, u64)> = Vec::new();
        // Open subtransactions, each with where it began.
        let mut open: Vec<(u32, usize)> = Vec::new();
        let mut next = 100;
        script.start(50, true);
        for (step, size) in steps {
            match step {
                0 => {
                    open.push((next, model.len()));
                    next += 1;
                }
                1 if !open.is_empty() => {
                    let (_, began) = open.pop().unwrap();
                    // The server tells of every subtransaction in it.
                    let mut gone: Vec<u32> = model[began..].iter().map(|(xid, _)| *xid).collect();
                    gone.sort_unstable();
                    gone.dedup();
                    script.stop();
                    gone.into_iter().for_each(|subxid| script.abort(50, subxid));
                    script.start(50, false);
                    model.truncate(began);
                }
                2 if !open.is_empty() => drop(open.pop()),
                _ => {
                    let xid = open.last().map_or(50, |(xid, _)| *xid);
                    let place = script.logical(xid, size);
                    model.push((xid, place));
                }
            }
        }
        script.stop();
        let expected: Vec<u64> = model.iter().map(|(_, place)| *place).collect();
        prop_assert_eq!(script.commit(50), expected);
    }
}

impl Intake for Scratch {
    fn scratch(&mut self) -> Result<File> {
        scratch_in(&std::env::temp_dir())
    }

    fn position(&self) -> Option<Vec<u8>> {
        None
    }

    fn state(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn state_keys(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn schemas(&self) -> (Vec<Schema>, u32) {
        (Vec::new(), 1)
    }

    fn append(&mut self, _: &Committed<'_>) -> Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn spill(&mut self, _: &SidePart<'_>, _: &TransactionBuilder) -> Result<()> {
        Ok(())
    }

    fn append_side(&mut self, _: &str, _: &Committed<'_>) -> Result<()> {
        Ok(())
    }

    fn abort_side(&mut self, _: &str) -> Result<()> {
        Ok(())
    }

    fn prepare_side(&mut self, _: &str, _: &Committed<'_>) -> Result<()> {
        Ok(())
    }

    fn sides(&self) -> Vec<String> {
        Vec::new()
    }

    fn accepts_derived(&self) -> bool {
        true
    }

    fn next_sequence(&self) -> u64 {
        0
    }

    fn changes_since(&mut self, _: u64, _: &mut dyn FnMut(&Change<'_>, &Schema) -> Result<()>) -> Result<()> {
        Ok(())
    }

    fn rows(&mut self, _: &str, _: u64) -> Result<Box<dyn HeldRows>> {
        Err(Error::stop("no rows"))
    }

    fn snapshot_request(&mut self) -> Option<Vec<String>> {
        None
    }

    fn has_snapshot_request(&self) -> bool {
        false
    }

    fn durable_position(&self) -> Option<Vec<u8>> {
        None
    }

    fn stopping(&self) -> bool {
        false
    }

    fn report(&mut self, _: SourceReport) {}
}
