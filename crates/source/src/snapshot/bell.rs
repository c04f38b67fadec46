//! Wakes the stream's thread, which waits for its connection and for chunks at once.
//!
//! Invariant: a ring is never lost; rings that nobody has heard yet count as one. Start at [`Bell::ring`].

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// A bell that is heard through a file descriptor, so that a poll can wait for it beside a socket.
pub struct Bell {
    rung: UnixStream,
    heard: UnixStream,
}

impl Bell {
    /// A silent bell.
    pub fn new() -> io::Result<Self> {
        let (rung, heard) = UnixStream::pair()?;
        rung.set_nonblocking(true)?;
        heard.set_nonblocking(true)?;
        Ok(Bell { rung, heard })
    }

    /// Makes the descriptor readable until [`Bell::silence`].
    pub fn ring(&self) {
        // A full buffer is a bell that rings already.
        let _ = (&self.rung).write(&[1]);
    }

    /// To be called before looking at what it may have rung for.
    pub fn silence(&self) {
        let mut rings = [0; 64];
        while matches!((&self.heard).read(&mut rings), Ok(count) if count == rings.len()) {}
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.heard.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn is_ringing(bell: &Bell) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    #[test]
    fn it_rings_until_it_is_silenced_however_often_it_was_rung() {
        let bell = Bell::new().unwrap();
        for rings in [0, 1, 64, 65, 1_000_000] {
            (0..rings).for_each(|_| bell.ring());
            assert_eq!(is_ringing(&bell), rings > 0, "{rings} rings");
            bell.silence();
            assert!(!is_ringing(&bell), "{rings} rings, silenced");
        }
    }
}
