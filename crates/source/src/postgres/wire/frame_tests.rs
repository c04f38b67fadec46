//! Framing over scripted bytes: cut at every place, stalled, hostile.
//!
//! Invariant under test: whatever arrives, and in whatever pieces, is the same messages or a named error.

use proptest::prelude::*;
use std::collections::VecDeque;

use super::*;

/// Hands out its pieces one a read; an empty piece is a timeout.
struct Pieces(VecDeque<Vec<u8>>);

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(mut piece) = self.0.pop_front() else { return Ok(0) };
        if piece.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = piece.len().min(out.len());
        out[..count].copy_from_slice(&piece[..count]);
        if count < piece.len() {
            self.0.push_front(piece.split_off(count));
        }
        Ok(count)
    }
}

fn framed(messages: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, body) in messages {
        bytes.push(*kind);
        bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        bytes.extend_from_slice(body);
    }
    bytes
}

proptest! {
    #[test]
    fn messages_survive_any_cutting_and_any_timeouts(
        messages in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..400)), 0..20),
        large in prop::option::of(1..4usize),
        cuts in prop::collection::vec(0..2000usize, 0..40),
    ) {
        let mut messages = messages;
        if let Some(large) = large {
            messages.push((b'L', vec![7; READ_BUFFER_BYTES * large - 3]));
            messages.push((b'E', vec![1]));
        }
        let mut rest = framed(&messages);
        let mut pieces = VecDeque::new();
        for cut in cuts {
            let after = rest.split_off(cut.min(rest.len()));
            pieces.push_back(std::mem::replace(&mut rest, after));
        }
        if !rest.is_empty() {
            pieces.push_back(rest);
        }
        let mut frames = Frames::new(Pieces(pieces));
        for (kind, body) in &messages {
            let seen = loop {
                match frames.advance(1 << 24) {
                    Err(FrameError::Io(_)) => {}
                    other => break other,
                }
            };
            prop_assert_eq!(seen.ok(), Some(*kind));
            prop_assert!(frames.body() == &body[..]);
        }
        let end = loop {
            match frames.advance(1 << 24) {
                Err(FrameError::Io(_)) => {}
                other => break other,
            }
        };
        let is_end = matches!(end, Err(FrameError::Closed { mid_message: false }));
        prop_assert!(is_end);
    }

    #[test]
    fn any_bytes_end_in_a_named_error_and_in_little_memory(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut frames = Frames::new(&bytes[..]);
        while frames.advance(1 << 30).is_ok() {}
        prop_assert!(frames.gathered.capacity() <= 2 * bytes.len().max(8));
    }
}

#[test]
fn hostile_lengths_are_named_and_never_allocated() {
    for (bytes, bytes_max, expected) in [
        (&b"D\0\0\0\x03"[..], 100, "a message that claims a length of 3"),
        (b"D\0\0\0\0", 100, "a message that claims a length of 0"),
        (b"D\xff\xff\xff\xff", 100, "a message of more than 100 bytes"),
        (b"D\0\0\0\x69", 100, "a message of more than 100 bytes"),
        (b"D\x3f\xff\xff\xff", 1 << 30, "the connection was closed inside a message"),
        (b"D\0\0", 100, "the connection was closed inside a message"),
        (b"D\0\0\0\x08abc", 100, "the connection was closed inside a message"),
        (b"", 100, "the connection was closed"),
    ] {
        let mut frames = Frames::new(bytes);
        let error = frames.advance(bytes_max).expect_err("hostile bytes").to_string();
        assert_eq!(error, expected, "{bytes:?}");
        assert!(frames.gathered.capacity() < 1024, "{bytes:?}");
    }
}

#[test]
fn what_is_buffered_is_known() {
    let bytes = framed(&[(b'a', vec![1, 2]), (b'b', vec![])]);
    let mut frames = Frames::new(Pieces([bytes[..9].to_vec(), bytes[9..].to_vec()].into()));
    assert!(!frames.has_buffered_message());
    assert_eq!(frames.advance(10).ok(), Some(b'a'));
    assert!(!frames.has_buffered_message());
    assert_eq!(frames.advance(10).ok(), Some(b'b'));
    assert!(!frames.has_buffered_message());
}
