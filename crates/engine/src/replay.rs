//! Applies dead letters again, when a person asks for it.
//!
//! Invariant: the changes of one row reach the target in their order. A letter waits as long as an earlier one of its row
//! does, whether that one was not asked for or was refused again. A crash between the target's taking it and its end here
//! applies nothing twice: the target has noted which letter it took. Start at [`Session::obey`].

use crate::follower::Replay;
use crate::session::Session;
use headwater_model::{Error, Kind, Result};
use std::collections::HashSet;

impl Session<'_> {
    /// Does what people asked for meanwhile.
    pub fn obey(&mut self) -> Result<()> {
        while let Ok(Replay { sequences, reply }) = self.follows.requests.try_recv() {
            let result = self.settle().and_then(|()| self.replay(sequences));
            let failure = result
                .as_ref()
                .err()
                .map(|error| Error::reconnect(format!("a replay of dead letters failed: {error}")));
            // Whoever asked may have gone away; what was replayed is replayed all the same.
            let _gone = reply.send(result);
            if let Some(error) = failure {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ends the letter that the target says it has taken, in case a crash came before that was noted.
    pub fn end_replayed(&mut self, replayed: Option<u64>) -> Result<()> {
        let Some(sequence) = replayed else { return Ok(()) };
        let shared = self.follows.shared;
        let ended = shared.letters().end(&[sequence])?;
        if ended > 0 {
            tracing::info!(sink = %shared.name, sequence, "the target had taken a dead letter already; it is ended");
            self.count_letters();
        }
        Ok(())
    }

    /// Applies letters again, oldest first; those that are refused again stay. Answers how many were applied.
    fn replay(&mut self, wanted: Vec<u64>) -> Result<usize> {
        let shared = self.follows.shared;
        let wanted: HashSet<u64> = wanted.into_iter().collect();
        let waiting = shared.letters().sequences();
        let mut applied = 0;
        for sequence in waiting.into_iter().filter(|sequence| wanted.is_empty() || wanted.contains(sequence)) {
            let Some(letter) = shared.letters().read(sequence)? else { continue };
            let progress = self.progress();
            let refused = letter.with_event(|event| {
                if shared.letters().is_parked(&event) {
                    return Ok(Some("an earlier change of its row waits".to_owned()));
                }
                match self.sink.replay(&event, progress) {
                    Ok(written) => Ok(written.rejected.into_iter().next().map(|row| row.reason)),
                    Err(error) if matches!(error.kind(), Kind::RejectRows(_)) => Ok(Some(error.to_string())),
                    Err(error) => Err(error),
                }
            })?;
            fail::fail_point!("engine::after_replay");
            match refused {
                None => applied += shared.letters().end(&[sequence])?,
                Some(reason) => {
                    tracing::warn!(sink = %shared.name, sequence, %reason, "a dead letter stays");
                    self.sink.rejected_are_kept(sequence)?;
                }
            }
        }
        self.count_letters();
        Ok(applied)
    }
}
