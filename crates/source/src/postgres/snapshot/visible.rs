//! Which transactions a snapshot of the server shows.
//!
//! Invariant: a transaction that cannot be told is not shown. `pg_snapshot` in "Transaction ID and Snapshot Information
//! Functions": <https://www.postgresql.org/docs/current/functions-info.html>. Start at [`Visible::shows`].

/// A snapshot, by the numbers of transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visible {
    /// All before it have ended.
    lowest: u64,
    /// None from it on has ended.
    next: u64,
    /// In between, those that were running.
    running: Vec<u64>,
}

impl Visible {
    /// Reads `10:20:10,14,15`.
    pub fn parse(text: &[u8]) -> Option<Visible> {
        let mut parts = std::str::from_utf8(text).ok()?.split(':');
        let mut part = || parts.next();
        let (lowest, next) = (part()?.parse().ok()?, part()?.parse().ok()?);
        let running = part()?.split(',').filter(|number| !number.is_empty());
        Some(Visible { lowest, next, running: running.map(|number| number.parse().ok()).collect::<Option<_>>()? })
    }

    /// Whether it shows what the transaction did, which has committed. The log has the lower half of its number.
    pub fn shows(&self, xid: u32) -> bool {
        let same_epoch = self.next & !u64::from(u32::MAX) | u64::from(xid);
        // Numbers are used again after half of them have gone by.
        let number = match same_epoch > self.next + (1 << 31) {
            true => same_epoch.saturating_sub(1 << 32),
            false => same_epoch,
        };
        number < self.lowest || (number < self.next && !self.running.contains(&number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_shows_what_had_ended_when_it_was_taken() {
        let visible = Visible::parse(b"10:20:10,14,15").unwrap();
        let shown: Vec<u32> = (8..22).filter(|xid| visible.shows(*xid)).collect();
        assert_eq!(shown, [8, 9, 11, 12, 13, 16, 17, 18, 19]);
        assert!(Visible::parse(b"10:10:").unwrap().shows(9));
        // The numbers have just begun anew.
        let visible = Visible::parse(b"4294967290:4294967300:4294967294").unwrap();
        for (xid, expected) in [(3, true), (4, false), (u32::MAX, true), (u32::MAX - 1, false), (u32::MAX - 9, true)] {
            assert_eq!(visible.shows(xid), expected, "{xid}");
        }
        for bad in ["", "1", "1:2", "1:2:x", "a:2:", "1:2:3,,x"] {
            assert_eq!(Visible::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
