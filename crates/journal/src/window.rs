//! Reads frames from a segment file by `pread` through a bounded buffer.
//!
//! Invariant: memory is taken for bytes that lie below the given limit of a real file, never for a length that a header
//! claims. Start at [`Window::frame`].

use crate::error::{Error, Result};
use crate::frame::{FRAME_HEADER_BYTES, Frame, FrameError, FrameHeader, decode_frame};
use crate::identity::JournalId;
use crate::place::{Place, Salter};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes read at once when frames are smaller.
const READ_AHEAD_BYTES: usize = 256 << 10;

/// Why no frame was read.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The bytes are no frame.
    Bad(FrameError),
    /// The file could not be read.
    Failed(Error),
}

/// A file and the part of it that is in memory.
#[derive(Debug)]
pub(crate) struct Window {
    pub file: File,
    pub path: PathBuf,
    pub ordinal: u32,
    salter: Salter,
    start: u64,
    filled: usize,
    bytes: Vec<u8>,
    scratch: Vec<u8>,
}

impl Window {
    pub fn open(path: PathBuf, ordinal: u32, id: JournalId) -> Result<Self> {
        let file = File::open(&path).map_err(|error| Error::io("open", &path, error))?;
        let salter = Salter::frames(id);
        Ok(Window { file, path, ordinal, salter, start: 0, filled: 0, bytes: Vec::new(), scratch: Vec::new() })
    }

    pub fn length(&self) -> Result<u64> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(|error| Error::io("read", &self.path, error))
    }

    /// Puts the bytes from `at` into the buffer: `need` of them, or up to `limit`. Answers how many there are.
    fn fill(&mut self, at: u64, need: usize, limit: u64) -> Result<usize> {
        let have = |window: &Self| {
            let end = window.start + window.filled as u64;
            if at >= window.start { end.saturating_sub(at).min(limit.saturating_sub(at)) as usize } else { 0 }
        };
        let room = limit.saturating_sub(at);
        let need = (need as u64).min(room) as usize;
        if have(self) >= need {
            return Ok(have(self));
        }
        let want = (need.max(READ_AHEAD_BYTES) as u64).min(room) as usize;
        if want > self.bytes.len() || self.bytes.len() > want.max(READ_AHEAD_BYTES) * 4 {
            // Grow for a large frame, and give the memory back after it.
            self.bytes = vec![0; want];
        }
        (self.start, self.filled) = (at, 0);
        self.filled = read_at_most(&self.file, &self.path, &mut self.bytes[..want], at)?;
        Ok(have(self))
    }

    /// Drops what is in the buffer: the file may have changed under it.
    pub fn forget(&mut self) {
        self.filled = 0;
    }

    /// The header at `at`, checked.
    pub fn header(&mut self, at: u32, limit: u64) -> Result<FrameHeader, Stop> {
        let salt = self.salter.salt(Place::new(self.ordinal, at));
        let there = self.fill(u64::from(at), FRAME_HEADER_BYTES, limit).map_err(Stop::Failed)?;
        let from = (u64::from(at) - self.start) as usize;
        let bytes = self.bytes.get(from..from + there.min(FRAME_HEADER_BYTES)).unwrap_or_default();
        FrameHeader::decode(bytes, salt).map_err(Stop::Bad)
    }

    /// The frame at `at`, checked and opened.
    pub fn frame(&mut self, at: u32, limit: u64) -> Result<Frame<'_>, Stop> {
        let header = self.header(at, limit)?;
        let length = header.length as usize;
        let there = self.fill(u64::from(at), length, limit).map_err(Stop::Failed)?;
        if there < length {
            return Err(Stop::Bad(FrameError::Short(length)));
        }
        let salt = self.salter.salt(Place::new(self.ordinal, at));
        let from = (u64::from(at) - self.start) as usize;
        if self.scratch.capacity() > READ_AHEAD_BYTES * 4 && header.body_raw as usize <= READ_AHEAD_BYTES {
            self.scratch = Vec::new();
        }
        decode_frame(&self.bytes[from..from + length], salt, &mut self.scratch).map_err(Stop::Bad)
    }

    /// The frame at `at`, where a whole one must be.
    pub fn expect_frame(&mut self, at: u32, limit: u64) -> Result<Frame<'_>> {
        let path = self.path.clone();
        self.frame(at, limit).map_err(|stop| stop.damage(&path, at))
    }
}

impl Stop {
    pub fn damage(self, path: &Path, at: u32) -> Error {
        match self {
            Stop::Failed(error) => error,
            Stop::Bad(FrameError::Version(version)) => {
                let known = u32::from(crate::frame::FORMAT_VERSION);
                Error::Version { file: path.to_owned(), version: u32::from(version), known }
            }
            Stop::Bad(what) => Error::damaged(path, u64::from(at), what.to_string()),
        }
    }
}

/// Reads up to `buffer.len()` bytes; fewer only at the file's end.
pub(crate) fn read_at_most(file: &File, path: &Path, buffer: &mut [u8], at: u64) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", path, error)),
        }
    }
    Ok(filled)
}
