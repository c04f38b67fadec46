//! Message framing: one byte for the kind, 4 bytes for the length, the body.
//!
//! A message that fits the read buffer is handed out where it lies; a larger one is gathered, up to a limit. Invariant: an
//! error between two reads (a timeout above all) loses no byte: the same read may be tried again. Protocol: "Message Data
//! Types". Start at [`Frames::advance`].

use std::io::{self, Read, Write};
use std::ops::Range;

/// Bytes of the read buffer; messages up to about this size are never copied.
pub const READ_BUFFER_BYTES: usize = 256 * 1024;
/// A gather buffer larger than this is given back before the next message.
const GATHER_KEEP_BYTES: usize = 1024 * 1024;
const HEADER_BYTES: usize = 5;

/// What framing itself can find wrong. The connection adds the peer and the step.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The transport failed; `WouldBlock` and `TimedOut` mean that the read timeout passed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer closed the stream.
    #[error("the connection was closed{}", if *.mid_message { " inside a message" } else { "" })]
    Closed {
        /// Whether part of a message had arrived.
        mid_message: bool,
    },
    /// A length that counts less than itself.
    #[error("a message that claims a length of {claimed}")]
    BadLength {
        /// What it claims.
        claimed: u32,
    },
    /// A message is larger than the caller lets it be.
    #[error("a message of more than {bytes_max} bytes")]
    TooLarge {
        /// The limit, in bytes.
        bytes_max: usize,
    },
}

/// Frames over a transport `S`, in both directions.
#[derive(Debug)]
pub struct Frames<S> {
    transport: S,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    received: u64,
    gathered: Vec<u8>,
    /// The kind of the large message that is being gathered, and its bytes that have not come.
    gathering: Option<(u8, usize)>,
    body: Body,
}

/// Where the body of the present message lies.
#[derive(Debug)]
enum Body {
    Buffered(Range<usize>),
    Gathered,
}

impl<S> Frames<S> {
    /// Frames over `transport`, with an empty buffer.
    pub fn new(transport: S) -> Self {
        Self {
            transport,
            buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            received: 0,
            gathered: Vec::new(),
            gathering: None,
            body: Body::Buffered(0..0),
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

    /// Bytes that have been read from the transport.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether the next [`Self::advance`] needs nothing from the transport.
    pub fn has_buffered_message(&self) -> bool {
        let buffered = &self.buffer[self.start..self.end];
        self.gathering.is_none() && length(buffered).is_some_and(|length| buffered.len() > length as usize)
    }

    /// The body of the message that [`Self::advance`] found.
    #[inline]
    pub fn body(&self) -> &[u8] {
        match &self.body {
            Body::Buffered(range) => &self.buffer[range.clone()],
            Body::Gathered => &self.gathered,
        }
    }
}

/// The length in a header, which counts itself; `None` while the header is not whole.
fn length(buffered: &[u8]) -> Option<u32> {
    let bytes = buffered.get(1..HEADER_BYTES)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

impl<S: Read> Frames<S> {
    /// Reads up to the end of the next message and answers its kind; [`Self::body`] is then its body.
    ///
    /// Errors: [`FrameError::TooLarge`] beyond `bytes_max`, after which the place in the stream is lost.
    #[inline]
    pub fn advance(&mut self, bytes_max: usize) -> Result<u8, FrameError> {
        if let Some((kind, left)) = self.gathering {
            return self.gather(kind, left);
        }
        if self.gathered.capacity() > GATHER_KEEP_BYTES {
            self.gathered = Vec::new();
        }
        self.fill(HEADER_BYTES)?;
        let claimed = length(&self.buffer[self.start..self.end]).unwrap_or(0);
        let Some(body_bytes) = (claimed as usize).checked_sub(4) else {
            return Err(FrameError::BadLength { claimed });
        };
        if body_bytes > bytes_max {
            return Err(FrameError::TooLarge { bytes_max });
        }
        let kind = self.buffer[self.start];
        if HEADER_BYTES + body_bytes > self.buffer.len() {
            self.start += HEADER_BYTES;
            self.gathered.clear();
            return self.gather(kind, body_bytes);
        }
        self.fill(HEADER_BYTES + body_bytes)?;
        let from = self.start + HEADER_BYTES;
        self.body = Body::Buffered(from..from + body_bytes);
        self.start = from + body_bytes;
        Ok(kind)
    }

    /// Collects a large message, in a buffer whose size follows what has arrived.
    fn gather(&mut self, kind: u8, mut left: usize) -> Result<u8, FrameError> {
        while left > 0 {
            self.gathering = Some((kind, left));
            self.fill(1)?;
            let piece = self.start..self.end.min(self.start + left);
            left -= piece.len();
            self.start = piece.end;
            self.gathered.extend_from_slice(&self.buffer[piece]);
        }
        self.gathering = None;
        self.body = Body::Gathered;
        Ok(kind)
    }

    /// Reads until at least `count` bytes (no more than the buffer holds) are buffered.
    #[inline]
    fn fill(&mut self, count: usize) -> Result<(), FrameError> {
        if self.end - self.start >= count {
            return Ok(());
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start + count > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        while self.end - self.start < count {
            match self.transport.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    let mid_message = self.start < self.end || self.gathering.is_some();
                    return Err(FrameError::Closed { mid_message });
                }
                Ok(read) => {
                    self.end += read;
                    self.received += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl<S: Write> Frames<S> {
    /// Sends whole messages, framed already.
    pub fn send(&mut self, messages: &[u8]) -> io::Result<()> {
        self.transport.write_all(messages)?;
        self.transport.flush()
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
