//! Packet framing: 3-byte length, sequence number, body; bodies of 16 MiB and more continue in further frames.
//!
//! A packet that fits the read buffer is handed out where it lies. A larger one is gathered up to a limit, or read as a
//! stream. Invariant: an error between two reads (a timeout above all) loses no byte: the same read may be tried again.
//! Protocol: "MySQL Packets". Start at [`PacketStream`].

use std::io::{self, Read, Write};
use std::ops::Range;

/// Bytes of the read buffer; packets up to about this size are never copied.
pub const READ_BUFFER_BYTES: usize = 256 * 1024;
/// The largest body of one frame; a frame of exactly this size has a successor.
pub const FRAME_BYTES_MAX: usize = 0xff_ffff;
/// A gather buffer larger than this is given back before the next packet.
const GATHER_KEEP_BYTES: usize = 1024 * 1024;
/// The first byte of the server's error packet.
const ERROR_HEADER: u8 = 0xff;
const HEADER_BYTES: usize = 4;

/// What framing itself can find wrong. The connection adds the peer and the step.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The transport failed; `WouldBlock` and `TimedOut` mean that the read timeout passed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer closed the stream.
    #[error("the connection was closed{}", if *.mid_packet { " inside a packet" } else { "" })]
    Closed {
        /// Whether part of a packet had arrived.
        mid_packet: bool,
    },
    /// A frame does not carry the sequence number that is due.
    #[error("a packet with sequence number {seen} arrived where {expected} was due")]
    OutOfOrder {
        /// The number that was due.
        expected: u8,
        /// The number that arrived.
        seen: u8,
    },
    /// A packet is larger than the caller lets it be.
    #[error("a packet of more than {bytes_max} bytes")]
    TooLarge {
        /// The limit, in bytes.
        bytes_max: usize,
    },
}

/// One packet as [`PacketStream::next_packet`] finds it.
#[derive(Debug)]
pub enum Packet<'a, S> {
    /// The whole body.
    Whole(&'a [u8]),
    /// The body of a packet too large for the limit, to be read piece by piece. What is left unread is skipped.
    Large(LargePacket<'a, S>),
}

/// Frames over a transport `S`, in both directions.
#[derive(Debug)]
pub struct PacketStream<S> {
    transport: S,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    gathered: Vec<u8>,
    /// Whether `gathered` holds the beginning of the large packet that is being read.
    gathering: bool,
    /// The frame of a large packet that is being read.
    large: Option<LargeFrame>,
    sequence: u8,
    outgoing: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct LargeFrame {
    remaining_bytes: usize,
    has_successor: bool,
}

impl LargeFrame {
    fn is_whole_within(self, bytes_max: usize) -> bool {
        !self.has_successor && self.remaining_bytes <= bytes_max
    }
}

enum Found {
    Buffered(Range<usize>),
    Large,
}

impl<S> PacketStream<S> {
    /// Frames over `transport`, with an empty buffer and sequence number 0.
    pub fn new(transport: S) -> Self {
        Self {
            transport,
            buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            gathered: Vec::new(),
            gathering: false,
            large: None,
            sequence: 0,
            outgoing: Vec::new(),
        }
    }

    /// The transport below.
    pub fn transport(&self) -> &S {
        &self.transport
    }

    /// The transport below, to be waited for; nothing may be read from it.
    pub fn transport_mut(&mut self) -> &mut S {
        &mut self.transport
    }

    /// Puts `wrap(transport)` in the transport's place, as TLS does in the middle of the handshake.
    ///
    /// Bytes that are already buffered were sent before the switch, in the clear: the caller refuses them
    /// ([`PacketStream::is_drained`]).
    pub fn try_map<T, E>(self, wrap: impl FnOnce(S) -> Result<T, E>) -> Result<PacketStream<T>, E> {
        Ok(PacketStream {
            transport: wrap(self.transport)?,
            buffer: self.buffer,
            start: self.start,
            end: self.end,
            gathered: self.gathered,
            gathering: self.gathering,
            large: self.large,
            sequence: self.sequence,
            outgoing: self.outgoing,
        })
    }

    /// Whether nothing that has been received is still unread.
    pub fn is_drained(&self) -> bool {
        self.start == self.end && self.large.is_none()
    }

    /// Whether the next read returns a packet without asking the transport.
    pub fn has_buffered_packet(&self) -> bool {
        let buffered = &self.buffer[self.start..self.end];
        self.large.is_none() && buffered.len() >= HEADER_BYTES && buffered.len() - HEADER_BYTES >= body_len(buffered)
    }

    /// A new command begins: sequence numbers start again at 0.
    pub fn start_command(&mut self) {
        self.sequence = 0;
    }

    fn take_sequence(&mut self, seen: u8, first_byte: Option<u8>) -> Result<(), FrameError> {
        // A server that ends the connection by itself (idle, killed, shutting down) sends its error with a number of its own.
        if seen != self.sequence && first_byte != Some(ERROR_HEADER) {
            return Err(FrameError::OutOfOrder { expected: self.sequence, seen });
        }
        self.sequence = seen.wrapping_add(1);
        Ok(())
    }
}

impl<S: Read> PacketStream<S> {
    /// The next packet, whole; the slice is valid until the next read.
    ///
    /// Errors: [`FrameError::TooLarge`] beyond `bytes_max`; the packet is then skipped by the next read.
    pub fn read_packet(&mut self, bytes_max: usize) -> Result<&[u8], FrameError> {
        match self.advance(bytes_max)? {
            Found::Buffered(body) => Ok(&self.buffer[body]),
            Found::Large => self.gather(bytes_max),
        }
    }

    /// The next packet: whole if it is a single frame of up to `whole_bytes_max`, otherwise as a stream.
    pub fn next_packet(&mut self, whole_bytes_max: usize) -> Result<Packet<'_, S>, FrameError> {
        match self.advance(whole_bytes_max)? {
            Found::Buffered(body) => Ok(Packet::Whole(&self.buffer[body])),
            Found::Large
                if self.gathering || self.large.is_some_and(|frame| frame.is_whole_within(whole_bytes_max)) =>
            {
                self.gather(whole_bytes_max).map(Packet::Whole)
            }
            Found::Large => Ok(Packet::Large(LargePacket(self))),
        }
    }

    /// Finds the next packet in the buffer, or leaves its first frame in `large`.
    fn advance(&mut self, bytes_max: usize) -> Result<Found, FrameError> {
        if self.gathering {
            return Ok(Found::Large);
        }
        while self.large_piece(usize::MAX)?.is_some() {}
        if self.gathered.capacity() > GATHER_KEEP_BYTES {
            self.gathered = Vec::new();
        }
        self.fill(HEADER_BYTES)?;
        let len = body_len(&self.buffer[self.start..self.end]);
        if len + HEADER_BYTES > self.buffer.len() || len > bytes_max {
            // Not before its first byte is here, so that the caller can look at that without waiting.
            self.fill(HEADER_BYTES + len.min(1))?;
            self.open_large_frame()?;
            return Ok(Found::Large);
        }
        self.fill(HEADER_BYTES + len)?;
        let body = self.start + HEADER_BYTES..self.start + HEADER_BYTES + len;
        self.take_sequence(self.buffer[self.start + 3], self.buffer[body.clone()].first().copied())?;
        self.start = body.end;
        Ok(Found::Buffered(body))
    }

    fn open_large_frame(&mut self) -> Result<(), FrameError> {
        self.fill(HEADER_BYTES)?;
        let remaining_bytes = body_len(&self.buffer[self.start..self.end]);
        self.take_sequence(self.buffer[self.start + 3], None)?;
        self.start += HEADER_BYTES;
        self.large = Some(LargeFrame { remaining_bytes, has_successor: remaining_bytes == FRAME_BYTES_MAX });
        Ok(())
    }

    /// Collects the large packet into `gathered`, whose size follows what has arrived.
    fn gather(&mut self, bytes_max: usize) -> Result<&[u8], FrameError> {
        if !self.gathering {
            self.gathered.clear();
            self.gathering = true;
        }
        while let Some(frame) = self.large {
            if self.gathered.len() + frame.remaining_bytes > bytes_max {
                self.gathering = false;
                return Err(FrameError::TooLarge { bytes_max });
            }
            if let Some(piece) = self.large_piece(usize::MAX)? {
                self.gathered.extend_from_slice(&self.buffer[piece]);
            }
        }
        self.gathering = false;
        Ok(&self.gathered)
    }

    /// The next buffered piece of the large packet, of at most `bytes_max`, or `None` at its end.
    fn large_piece(&mut self, bytes_max: usize) -> Result<Option<Range<usize>>, FrameError> {
        loop {
            let Some(frame) = self.large else {
                return Ok(None);
            };
            match frame {
                LargeFrame { remaining_bytes: 0, has_successor: false } => self.large = None,
                LargeFrame { remaining_bytes: 0, has_successor: true } => self.open_large_frame()?,
                LargeFrame { remaining_bytes, has_successor } => {
                    self.fill(1)?;
                    let piece = self.start..self.end.min(self.start + remaining_bytes.min(bytes_max));
                    self.start = piece.end;
                    self.large = Some(LargeFrame { remaining_bytes: remaining_bytes - piece.len(), has_successor });
                    return Ok(Some(piece));
                }
            }
        }
    }

    /// Reads until at least `count` bytes (no more than the buffer holds) are buffered.
    fn fill(&mut self, count: usize) -> Result<(), FrameError> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start + count > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        while self.end - self.start < count {
            match self.transport.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    return Err(FrameError::Closed { mid_packet: self.end > self.start || self.large.is_some() });
                }
                Ok(received) => self.end += received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl<S: Write> PacketStream<S> {
    /// Sends `body` as one packet, in as many frames as it needs.
    pub fn write_packet(&mut self, body: &[u8]) -> io::Result<()> {
        let mut rest = body;
        loop {
            let (frame, tail) = rest.split_at(rest.len().min(FRAME_BYTES_MAX));
            self.outgoing.clear();
            self.outgoing.extend_from_slice(&(frame.len() as u32).to_le_bytes()[..3]);
            self.outgoing.push(self.sequence);
            self.outgoing.extend_from_slice(frame);
            self.transport.write_all(&self.outgoing)?;
            self.sequence = self.sequence.wrapping_add(1);
            rest = tail;
            // A full frame always has a successor, be it empty.
            if frame.len() < FRAME_BYTES_MAX {
                break;
            }
        }
        if self.outgoing.capacity() > GATHER_KEEP_BYTES {
            self.outgoing = Vec::new();
        }
        self.transport.flush()
    }
}

/// The body of a large packet, read in order. Dropping it early is fine: the next read skips the rest.
#[derive(Debug)]
pub struct LargePacket<'a, S>(&'a mut PacketStream<S>);

impl<S: Read> LargePacket<'_, S> {
    /// The next piece of the body, empty at the end of the packet; valid until the next call.
    pub fn piece(&mut self) -> Result<&[u8], FrameError> {
        let piece = self.0.large_piece(usize::MAX)?.unwrap_or(0..0);
        Ok(&self.0.buffer[piece])
    }

    /// Fills `out` with what is buffered of the body, at least one byte; 0 is the end of the packet.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, FrameError> {
        if out.is_empty() {
            return Ok(0);
        }
        let piece = self.0.large_piece(out.len())?.unwrap_or(0..0);
        out[..piece.len()].copy_from_slice(&self.0.buffer[piece.clone()]);
        Ok(piece.len())
    }
}

fn body_len(header: &[u8]) -> usize {
    usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
