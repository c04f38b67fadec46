//! Framing, read back from transports that split, stall and end wherever they like.
//!
//! Invariant under test: whatever the split, the bodies are the same, and what is not whole is an error.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use proptest::prelude::*;

use super::*;

/// A transport that answers each read with the next piece; an empty piece is a read timeout.
struct Pieces(VecDeque<Vec<u8>>);

impl Pieces {
    fn of(bytes: &[u8], piece_bytes: usize) -> Self {
        Self(bytes.chunks(piece_bytes).flat_map(|piece| [Vec::new(), piece.to_vec()]).collect())
    }
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(mut piece) = self.0.pop_front() else {
            return Ok(0);
        };
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

fn framed(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = PacketStream::new(Vec::new());
    for body in bodies {
        writer.write_packet(body).expect("a Vec takes everything");
    }
    writer.transport
}

/// Reads one packet, trying again after each timeout, as the invariant allows.
fn read_patiently(stream: &mut PacketStream<Pieces>, bytes_max: usize) -> Result<Vec<u8>, FrameError> {
    loop {
        match stream.read_packet(bytes_max) {
            Err(FrameError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other.map(<[u8]>::to_vec),
        }
    }
}

fn body(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

proptest! {
    #[test]
    fn packets_survive_any_split(
        lens in proptest::collection::vec(prop_oneof![0..300usize, 200_000..600_000usize], 1..6),
        piece_bytes in 1000..400_000usize,
    ) {
        let bodies: Vec<_> = lens.into_iter().map(body).collect();
        let mut stream = PacketStream::new(Pieces::of(&framed(&bodies), piece_bytes));
        for expected in &bodies {
            prop_assert_eq!(&read_patiently(&mut stream, 1 << 20).expect("a whole packet"), expected);
        }
        prop_assert!(stream.is_drained());
        let end = matches!(read_patiently(&mut stream, 1 << 20), Err(FrameError::Closed { mid_packet: false }));
        prop_assert!(end, "after the last packet");
    }

    #[test]
    fn small_packets_survive_pieces_of_a_byte(lens in proptest::collection::vec(0..40usize, 1..8)) {
        let bodies: Vec<_> = lens.into_iter().map(body).collect();
        let mut stream = PacketStream::new(Pieces::of(&framed(&bodies), 1));
        for expected in &bodies {
            prop_assert_eq!(&read_patiently(&mut stream, 100).expect("a whole packet"), expected);
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut stream = PacketStream::new(&bytes[..]);
        while stream.read_packet(200).is_ok() {}
    }
}

#[test]
fn a_packet_cut_anywhere_is_closed_mid_packet() {
    let bytes = framed(&[body(9)]);
    for cut in 1..bytes.len() {
        let mut stream = PacketStream::new(&bytes[..cut]);
        assert!(matches!(stream.read_packet(100), Err(FrameError::Closed { mid_packet: true })), "cut at {cut}");
    }
}

#[test]
fn bodies_around_sixteen_mebibytes_continue_in_further_frames() {
    for (len, frames) in
        [(FRAME_BYTES_MAX - 1, 1), (FRAME_BYTES_MAX, 2), (FRAME_BYTES_MAX + 1, 2), (2 * FRAME_BYTES_MAX, 3)]
    {
        let expected = body(len);
        let bytes = framed(&[expected.clone(), vec![7]]);
        assert_eq!(bytes.len(), len + 4 * frames + 5, "{len} bytes");
        let mut stream = PacketStream::new(&bytes[..]);
        assert!(stream.read_packet(64 << 20).expect("a whole packet") == expected, "{len} bytes");
        assert_eq!(stream.read_packet(64 << 20).expect("the next packet"), [7]);

        let mut stream = PacketStream::new(&bytes[..]);
        let Packet::Large(mut large) = stream.next_packet(1 << 20).expect("a large packet") else {
            panic!("{len} bytes came whole");
        };
        let (mut streamed, mut out) = (Vec::new(), vec![0; 70_000]);
        streamed.extend_from_slice(large.piece().expect("the first piece"));
        loop {
            match large.read(&mut out).expect("more of the body") {
                0 => break,
                count => streamed.extend_from_slice(&out[..count]),
            }
        }
        assert!(streamed == expected, "{len} bytes");
        assert_eq!(stream.read_packet(64 << 20).expect("the next packet"), [7]);
    }
}

#[test]
fn a_packet_beyond_the_limit_is_refused_and_skipped() {
    for len in [1001, 300_000, FRAME_BYTES_MAX + 500] {
        let bytes = framed(&[body(len), vec![7]]);
        let mut stream = PacketStream::new(&bytes[..]);
        assert!(matches!(stream.read_packet(1000), Err(FrameError::TooLarge { bytes_max: 1000 })), "{len} bytes");
        assert_eq!(stream.read_packet(1000).expect("the next packet"), [7], "after {len} bytes");
    }
}

#[test]
fn a_large_packet_left_unread_is_skipped() {
    let bytes = framed(&[body(FRAME_BYTES_MAX + 9), vec![7]]);
    let mut stream = PacketStream::new(&bytes[..]);
    assert!(matches!(stream.next_packet(1000), Ok(Packet::Large(_))));
    assert!(!stream.is_drained() && !stream.has_buffered_packet());
    assert_eq!(stream.read_packet(1000).expect("the next packet"), [7]);
}

#[test]
fn a_gap_in_the_sequence_is_refused_unless_it_is_the_servers_last_word() {
    let mut out_of_order = PacketStream::new(&b"\x01\0\0\x05x"[..]);
    assert!(matches!(out_of_order.read_packet(10), Err(FrameError::OutOfOrder { expected: 0, seen: 5 })));
    let mut error = PacketStream::new(&b"\x01\0\0\x05\xff"[..]);
    assert_eq!(error.read_packet(10).expect("an error packet"), [0xff]);
}

#[test]
fn what_is_buffered_is_known_without_asking_the_transport() {
    let bytes = framed(&[vec![1; 10], vec![2; 10]]);
    let mut stream = PacketStream::new(Pieces(VecDeque::from([bytes[..20].to_vec(), bytes[20..].to_vec()])));
    assert!(!stream.has_buffered_packet());
    stream.read_packet(100).expect("the first packet");
    assert!(!stream.has_buffered_packet(), "the second packet is only half there");
    stream.read_packet(100).expect("the second packet");
    assert!(stream.is_drained());

    let mut stream = PacketStream::new(Pieces(VecDeque::from([bytes])));
    stream.read_packet(100).expect("the first packet");
    assert!(stream.has_buffered_packet());
}

#[test]
fn a_writer_that_fails_is_reported() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    assert_eq!(
        PacketStream::new(Broken).write_packet(b"x").expect_err("nothing is written").kind(),
        io::ErrorKind::BrokenPipe
    );
}
