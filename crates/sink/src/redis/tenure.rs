//! Whose progress is it: judges what the server holds under the progress key when it is not what we left there.
//!
//! Invariant: data is never at risk here, because every transaction is made under `WATCH`; this only decides between
//! "connect and look again" and "another process is at work, stop". Pure.

use headwater_model::Progress;

/// Moves of the progress that we did not make and still go on after. The last transaction of a process that was killed
/// may reach the server after its successor has connected, so one proves nothing, nor do a few when a process is killed
/// again and again. A living process goes on moving it.
const STRANGERS_MAX: u32 = 3;

/// What the progress key tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As we left it.
    Ours,
    /// It is gone, and all data with it.
    Gone,
    /// Moved by a transaction that was still on its way when its connection broke.
    Late,
    /// Moved by another process that writes as this sink.
    Intruder,
}

/// What we know of the progress key, as texts of [`Progress`].
#[derive(Debug, Default)]
pub(super) struct Tenure {
    /// What the server held when last seen.
    stored: Option<String>,
    /// What we last tried to store: it may have reached the server though the answer did not reach us.
    attempted: Option<String>,
    /// The same of the connection before this one.
    late: Option<String>,
    /// Moves that we did not make.
    strangers: u32,
}

impl Tenure {
    /// A connection was made, and the server holds `stored`.
    pub fn connected(&mut self, stored: Option<String>) -> Verdict {
        let parse = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Progress>().ok());
        let ours = parse(&self.stored).into_iter().chain(parse(&self.attempted)).max_by_key(|ours| ours.sequence);
        // Further back is an older copy of the server's data, another journal a rebuild: both are the engine's to judge.
        let further = ours
            .zip(parse(&stored))
            .is_some_and(|(ours, now)| ours.journal == now.journal && now.sequence > ours.sequence);
        self.late = self.attempted.take();
        self.stored = stored;
        if further { self.stranger() } else { Verdict::Ours }
    }

    /// We are about to store `progress`.
    pub fn attempt(&mut self, progress: &str) {
        self.attempted = Some(progress.to_owned());
    }

    /// The server says that it holds `now`, where `expected` would be right.
    pub fn look(&mut self, expected: Option<&str>, now: Option<String>) -> Verdict {
        if now.as_deref() == expected {
            self.stored = now;
            return Verdict::Ours;
        }
        self.touched(now)
    }

    /// The progress was touched although we did not do it, and the server holds `now`: perhaps the very progress that we
    /// were about to store, where another process reads the same journal.
    pub fn touched(&mut self, now: Option<String>) -> Verdict {
        let known = now == self.late || now == self.stored;
        self.stored.clone_from(&now);
        match now {
            None => Verdict::Gone,
            Some(_) if known => Verdict::Late,
            Some(_) => self.stranger(),
        }
    }

    /// What the server held when last seen.
    pub fn stored(&self) -> Option<&str> {
        self.stored.as_deref()
    }

    fn stranger(&mut self) -> Verdict {
        self.strangers += 1;
        if self.strangers > STRANGERS_MAX { Verdict::Intruder } else { Verdict::Late }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_model::JournalId;

    fn at(sequence: u64) -> Option<String> {
        Some(Progress { journal: JournalId([1; 16]), epoch: 1, sequence }.to_string())
    }

    fn attempt(tenure: &mut Tenure, sequence: u64) {
        tenure.attempt(&at(sequence).unwrap());
    }

    #[test]
    fn our_own_late_transactions_never_count_as_another_process() {
        let mut tenure = Tenure::default();
        for round in 0..10 {
            let base = round * 5;
            assert_eq!(tenure.connected(at(base)), Verdict::Ours);
            attempt(&mut tenure, base + 5);
            assert_eq!(tenure.connected(at(base)), Verdict::Ours);
            // The transaction of the first connection arrives only now.
            attempt(&mut tenure, base + 3);
            assert_eq!(tenure.look(at(base + 3).as_deref(), at(base + 5)), Verdict::Late);
            assert_eq!(tenure.connected(at(base + 5)), Verdict::Ours);
        }
    }

    #[test]
    fn moves_by_somebody_else_that_go_on_are_another_process() {
        for connecting in [true, false] {
            let mut tenure = Tenure::default();
            assert_eq!(tenure.connected(at(1)), Verdict::Ours);
            for round in 1..=STRANGERS_MAX + 1 {
                let now = at(u64::from(round) * 10);
                let verdict = match connecting {
                    true => tenure.connected(now),
                    false => {
                        let verdict = tenure.look(at(1).as_deref(), now.clone());
                        // Connecting afterwards does not count the same move again.
                        assert_eq!(tenure.connected(now), Verdict::Ours);
                        verdict
                    }
                };
                assert_eq!(verdict, if round > STRANGERS_MAX { Verdict::Intruder } else { Verdict::Late });
            }
        }
    }

    #[test]
    fn an_older_or_empty_server_is_no_other_process() {
        let mut tenure = Tenure::default();
        assert_eq!(tenure.connected(None), Verdict::Ours);
        for _ in 0..5 {
            attempt(&mut tenure, 9);
            assert_eq!(tenure.look(at(9).as_deref(), at(9)), Verdict::Ours);
            assert_eq!(tenure.look(at(9).as_deref(), None), Verdict::Gone);
            assert_eq!(tenure.connected(at(4)), Verdict::Ours);
            assert_eq!(tenure.connected(None), Verdict::Ours);
        }
    }
}
