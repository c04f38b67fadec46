//! Side segments: the changes of one transaction that is too large for memory, or not decided yet, in a file of its own.
//!
//! Invariant: a side file is durable before the commit frame that refers to it is written; one that no frame refers to
//! is deleted at the next start, unless it ends with a mark that says prepared. Start at [`SideFile`].
//!
//! File: header (magic, version, id length, journal id, number, id, CRC), then chunks, each with a header of
//! [`CHUNK_HEADER_BYTES`] and its offset rows, heads and body.

use crate::cursor::{Cursor, put_u32, u32_at, u64_at};
use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::frame::{Codec, Frame, OffsetRange, SideReference, TABLE_ROW_BYTES, decompress};
use crate::heads::{Head, TopicId, Updates, put_head};
use crate::identity::JournalId;
use crate::layout::{dropped_side_name, side_name};
use crate::options::{ENTRY_BYTES_MAX, Options, SIDE_ID_BYTES_MAX};
use crate::pending::compress;
use crate::place::{Place, Salter};
use crate::topics::Offsets;
use crate::window::read_at_most;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FILE_MAGIC: &[u8; 8] = b"HWSIDEFL";
const FILE_VERSION: u32 = 1;
const FILE_HEADER_BYTES: usize = 40;
const CHUNK_MAGIC: u32 = u32::from_le_bytes(*b"HWJP");
/// Bytes of a chunk's header.
pub(crate) const CHUNK_HEADER_BYTES: usize = 48;
/// Bytes between two write-outs in the background, so that the fsync at commit finds little left to do.
const WRITE_OUT_BYTES: u64 = 16 << 20;

/// A part of a transaction on its way into a side segment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part<'a> {
    /// Sequence numbers it will take, one per change.
    pub changes: u32,
    /// Its content, concatenated; opaque.
    pub body: &'a [&'a [u8]],
    /// Offsets it will take.
    pub offsets: &'a [Offsets],
    /// Named state that changes with the transaction.
    pub heads: &'a [Head<'a>],
}

/// A side segment that is not committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideInfo {
    /// The name it was opened with.
    pub id: String,
    /// Changes in it.
    pub changes: u64,
    /// Parts in it.
    pub parts: u32,
    /// Its bytes on disk.
    pub bytes: u64,
    /// Whether it survives a restart.
    pub prepared: bool,
}

/// A chunk's fixed fields.
#[derive(Clone, Copy, Debug, Default)]
struct ChunkHeader {
    prepared: bool,
    codec: u8,
    index: u32,
    changes: u32,
    table_rows: u32,
    heads_len: u32,
    body_raw: u32,
    body_stored: u32,
    /// Changes in the parts before it.
    first: u64,
    payload_crc: u32,
}

impl ChunkHeader {
    fn payload_len(&self) -> u64 {
        u64::from(self.table_rows) * TABLE_ROW_BYTES as u64 + u64::from(self.heads_len) + u64::from(self.body_stored)
    }

    fn encode(&self, salt: u32) -> [u8; CHUNK_HEADER_BYTES] {
        let mut out = [0; CHUNK_HEADER_BYTES];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &CHUNK_MAGIC.to_le_bytes());
        put(4, &[u8::from(self.prepared), self.codec]);
        put(8, &self.index.to_le_bytes());
        put(12, &self.changes.to_le_bytes());
        put(16, &self.table_rows.to_le_bytes());
        put(20, &self.heads_len.to_le_bytes());
        put(24, &self.body_raw.to_le_bytes());
        put(28, &self.body_stored.to_le_bytes());
        put(32, &self.first.to_le_bytes());
        put(40, &self.payload_crc.to_le_bytes());
        let crc = crc32c::crc32c_append(salt, &out[..44]);
        out[44..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8; CHUNK_HEADER_BYTES], salt: u32) -> Option<Self> {
        if u32_at(bytes, 0) != CHUNK_MAGIC || crc32c::crc32c_append(salt, &bytes[..44]) != u32_at(bytes, 44) {
            return None;
        }
        Some(ChunkHeader {
            prepared: bytes[4] == 1,
            codec: bytes[5],
            index: u32_at(bytes, 8),
            changes: u32_at(bytes, 12),
            table_rows: u32_at(bytes, 16),
            heads_len: u32_at(bytes, 20),
            body_raw: u32_at(bytes, 24),
            body_stored: u32_at(bytes, 28),
            first: u64_at(bytes, 32),
            payload_crc: u32_at(bytes, 40),
        })
    }
}

/// Counts that grow with each part.
#[derive(Clone, Debug, Default)]
struct Totals {
    changes: u64,
    parts: u32,
    /// Checksum over the payload checksums.
    crc: u32,
    offsets: BTreeMap<(TopicId, u32), u64>,
    /// Head updates of all parts, to be repeated in the commit frame.
    updates: Vec<u8>,
}

impl Totals {
    fn add(&mut self, header: &ChunkHeader) {
        self.changes += u64::from(header.changes);
        self.parts += 1;
        self.crc = crc32c::crc32c_append(self.crc, &header.payload_crc.to_le_bytes());
    }
}

/// A side segment being written.
#[derive(Debug)]
pub(crate) struct SideFile {
    id: String,
    pub number: u64,
    file: Arc<DiskFile>,
    salter: Salter,
    /// End of the last part.
    length: u64,
    written_out: u64,
    totals: Totals,
    pub prepared: bool,
    /// It was prepared by an earlier start.
    pub survived: bool,
    /// The file's header, until it is written with the first part.
    front: Vec<u8>,
    /// A part that was taken and, the disk being full, not written; the buffers below hold it.
    unwritten: Option<ChunkHeader>,
    rows: Vec<u8>,
    updates: Vec<u8>,
    body: Vec<u8>,
    compressed: Vec<u8>,
}

impl SideFile {
    pub fn create(disk: &Disk, journal: JournalId, number: u64, id: &str) -> Result<Self> {
        if id.len() > SIDE_ID_BYTES_MAX {
            return Err(Error::Invalid(format!("a side segment's name of {} bytes is too long", id.len())));
        }
        let file = Arc::new(disk.create(&side_name(number))?);
        let front = encode_file_header(journal, number, id);
        let length = front.len() as u64;
        Ok(SideFile { front, ..Self::with(file, journal, number, id.to_owned(), length, Totals::default()) })
    }

    fn with(file: Arc<DiskFile>, journal: JournalId, number: u64, id: String, length: u64, totals: Totals) -> Self {
        SideFile {
            id,
            number,
            file,
            salter: Salter::side(journal, number),
            length,
            written_out: length,
            totals,
            prepared: false,
            survived: false,
            front: Vec::new(),
            unwritten: None,
            rows: Vec::new(),
            updates: Vec::new(),
            body: Vec::new(),
            compressed: Vec::new(),
        }
    }

    /// Opens one that survived; `None` when it does not end with the mark that says prepared.
    pub fn reopen(disk: &Disk, dir: &Path, journal: JournalId, number: u64) -> Result<Option<Self>> {
        let mut chunks = ChunkReader::open(dir, journal, number)?;
        let length = chunks.file_length()?;
        // The mark is the last thing in the file, so most files that do not survive cost one small read.
        let mark_at = length.checked_sub(CHUNK_HEADER_BYTES as u64);
        let Some(mark_at) =
            mark_at.filter(|at| chunks.header_at(*at).is_ok_and(|mark| mark.is_some_and(|mark| mark.prepared)))
        else {
            return Ok(None);
        };
        let mut totals = Totals::default();
        while chunks.at < mark_at {
            let chunk = chunks.next(u32::MAX)?;
            totals.add(&chunk.header);
            totals.updates.extend_from_slice(chunk.updates);
            for row in chunk.rows.chunks_exact(TABLE_ROW_BYTES).map(OffsetRange::decode) {
                *totals.offsets.entry((row.topic, row.partition)).or_default() += u64::from(row.count);
            }
        }
        let file = Arc::new(disk.open(&side_name(number))?);
        let mut side = Self::with(file, journal, number, chunks.id.clone(), mark_at, totals);
        (side.prepared, side.survived) = (true, true);
        Ok(Some(side))
    }

    pub fn info(&self) -> SideInfo {
        SideInfo {
            id: self.id.clone(),
            changes: self.totals.changes,
            parts: self.totals.parts,
            bytes: self.length,
            prepared: self.prepared,
        }
    }

    /// Takes a part and writes it. After [`Error::Full`] it is kept, for [`Self::write`] to try again.
    pub fn append(&mut self, part: &Part<'_>, options: &Options) -> Result<()> {
        self.rows.clear();
        for wanted in part.offsets {
            let next = self.totals.offsets.entry((wanted.topic, wanted.partition)).or_default();
            let row =
                OffsetRange { topic: wanted.topic, partition: wanted.partition, first: *next, count: wanted.count };
            row.encode(&mut self.rows);
            *next += u64::from(wanted.count);
        }
        self.updates.clear();
        part.heads.iter().for_each(|head| put_head(&mut self.updates, *head));
        self.totals.updates.extend_from_slice(&self.updates);
        self.body.clear();
        part.body.iter().for_each(|piece| self.body.extend_from_slice(piece));
        let mut codec = Codec::Plain;
        if self.body.len() >= options.compress_bytes_min.max(1) {
            codec = compress(options.compression, &self.body, &mut self.compressed);
        }
        let body_raw = self.body.len() as u32;
        if codec != Codec::Plain {
            std::mem::swap(&mut self.body, &mut self.compressed);
        }
        let pieces = [&self.rows, &self.updates, &self.body];
        self.unwritten = Some(ChunkHeader {
            prepared: false,
            codec: codec as u8,
            index: self.totals.parts,
            changes: part.changes,
            table_rows: part.offsets.len() as u32,
            heads_len: self.updates.len() as u32,
            body_raw,
            body_stored: self.body.len() as u32,
            first: self.totals.changes,
            payload_crc: pieces.iter().fold(0, |crc, bytes| crc32c::crc32c_append(crc, bytes)),
        });
        self.write()
    }

    /// Writes the part that was taken, if it is not written yet.
    pub fn write(&mut self) -> Result<()> {
        let Some(header) = self.unwritten else { return Ok(()) };
        let chunk = header.encode(self.salt());
        let pieces = [&self.front[..], &chunk, &self.rows, &self.updates, &self.body];
        self.file.write(&mut pieces.map(IoSlice::new), self.length - self.front.len() as u64)?;
        self.front.clear();
        self.unwritten = None;
        self.length += CHUNK_HEADER_BYTES as u64 + header.payload_len();
        self.totals.add(&header);
        Ok(())
    }

    /// Whether so much was written since the last time that it should go to disk in the background.
    pub fn write_out_is_due(&mut self) -> bool {
        let due = self.length - self.written_out >= WRITE_OUT_BYTES;
        if due {
            self.written_out = self.length;
        }
        due
    }

    /// Refuses what no side segment takes, before anything is changed.
    pub fn check(&self, part: &Part<'_>) -> Result<()> {
        if self.prepared {
            return Err(Error::Invalid(format!("side segment {} is prepared and takes no more parts", self.number)));
        }
        let raw: usize = part.body.iter().map(|piece| piece.len()).sum();
        if raw > ENTRY_BYTES_MAX {
            return Err(Error::TooLarge { bytes: raw as u64, limit: ENTRY_BYTES_MAX as u64 });
        }
        Ok(())
    }

    fn salt(&self) -> u32 {
        self.salter.salt(Place(self.length))
    }

    /// Appends the mark that makes it survive, and makes all of it durable.
    pub fn prepare(&mut self, disk: &Disk) -> Result<()> {
        if self.prepared {
            return Ok(());
        }
        let header = ChunkHeader { prepared: true, first: self.totals.changes, ..ChunkHeader::default() };
        self.file.write(&mut [IoSlice::new(&header.encode(self.salt()))], self.length)?;
        self.sync(disk)?;
        self.prepared = true;
        Ok(())
    }

    /// Makes all of it durable, its name too.
    pub fn sync(&self, disk: &Disk) -> Result<()> {
        self.file.sync()?;
        disk.sync_folder()
    }

    pub fn file(&self) -> &Arc<DiskFile> {
        &self.file
    }

    pub fn reference(&self) -> SideReference {
        SideReference { number: self.number, length: self.length, parts: self.totals.parts, crc: self.totals.crc }
    }

    /// Offsets that all parts take together.
    pub fn offsets(&self) -> Result<Vec<Offsets>> {
        let total = |(key, count): (&(TopicId, u32), &u64)| {
            let count = u32::try_from(*count).map_err(|_| Error::TooLarge { bytes: *count, limit: u32::MAX.into() })?;
            Ok(Offsets { topic: key.0, partition: key.1, count })
        };
        self.totals.offsets.iter().map(total).collect()
    }

    pub fn changes(&self) -> Result<u32> {
        let changes = self.totals.changes;
        u32::try_from(changes).map_err(|_| Error::TooLarge { bytes: changes, limit: u32::MAX.into() })
    }

    pub fn updates(&self) -> &[u8] {
        &self.totals.updates
    }
}

fn encode_file_header(journal: JournalId, number: u64, id: &str) -> Vec<u8> {
    let mut header = FILE_MAGIC.to_vec();
    put_u32(&mut header, FILE_VERSION);
    put_u32(&mut header, id.len() as u32);
    header.extend_from_slice(&journal.0);
    header.extend_from_slice(&number.to_le_bytes());
    header.extend_from_slice(id.as_bytes());
    let crc = crc32c::crc32c(&header);
    put_u32(&mut header, crc);
    header
}

/// One chunk, checked.
struct Chunk<'a> {
    header: ChunkHeader,
    rows: &'a [u8],
    updates: &'a [u8],
    body: &'a [u8],
}

/// Reads the chunks of a side file in order; holds one at a time.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    file: File,
    path: PathBuf,
    id: String,
    salter: Salter,
    at: u64,
    bytes: Vec<u8>,
    scratch: Vec<u8>,
}

impl ChunkReader {
    fn open(dir: &Path, journal: JournalId, number: u64) -> Result<Self> {
        let path = dir.join(side_name(number));
        // Retention renames it before its segment goes, and may have been cut short, or be at it.
        let opened = File::open(&path).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => File::open(dir.join(dropped_side_name(number))),
            _ => Err(error),
        });
        let file = opened.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::damaged(&path, 0, "a side segment that the journal refers to is missing")
            }
            _ => Error::io("open", &path, error),
        })?;
        let mut front = vec![0; FILE_HEADER_BYTES + SIDE_ID_BYTES_MAX + 4];
        let read = read_at_most(&file, &path, &mut front, 0)?;
        front.truncate(read);
        let parse = || {
            let id_len = u32_at(front.get(..FILE_HEADER_BYTES)?, 12) as usize;
            let (content, rest) = front.split_at_checked(FILE_HEADER_BYTES.checked_add(id_len)?)?;
            let ours = content.starts_with(FILE_MAGIC)
                && u32_at(content, 8) == FILE_VERSION
                && content[16..32] == journal.0
                && u64_at(content, 32) == number
                && Cursor(rest).u32()? == crc32c::crc32c(content);
            let id = std::str::from_utf8(&content[FILE_HEADER_BYTES..]).ok()?.to_owned();
            ours.then_some((id, content.len() as u64 + 4))
        };
        let (id, at) = parse().ok_or_else(|| Error::damaged(&path, 0, "the side segment's header does not check"))?;
        let salter = Salter::side(journal, number);
        Ok(ChunkReader { file, path, id, salter, at, bytes: Vec::new(), scratch: Vec::new() })
    }

    fn file_length(&self) -> Result<u64> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(|error| Error::io("read", &self.path, error))
    }

    fn header_at(&self, at: u64) -> Result<Option<ChunkHeader>> {
        let mut header = [0; CHUNK_HEADER_BYTES];
        let whole = read_at_most(&self.file, &self.path, &mut header, at)? == CHUNK_HEADER_BYTES;
        Ok(whole.then(|| ChunkHeader::decode(&header, self.salter.salt(Place(at)))).flatten())
    }

    fn damaged(&self, what: &str) -> Error {
        Error::damaged(&self.path, self.at, what)
    }

    /// The header of the chunk that follows, whose payload surely is in the file.
    fn expect_header(&self) -> Result<ChunkHeader> {
        let header = self.header_at(self.at)?.ok_or_else(|| self.damaged("the part's header does not check"))?;
        let end = self.at + CHUNK_HEADER_BYTES as u64 + header.payload_len();
        if end > self.file_length()? { Err(self.damaged("the part is cut off")) } else { Ok(header) }
    }

    /// The next chunk. `index` is the one it must be, or all ones for any.
    fn next(&mut self, index: u32) -> Result<Chunk<'_>> {
        let header = self.expect_header()?;
        if index != u32::MAX && header.index != index {
            return Err(self.damaged("the part is out of order"));
        }
        let length = header.payload_len() as usize;
        if self.bytes.len() < length {
            self.bytes.resize(length, 0);
        }
        let payload_at = self.at + CHUNK_HEADER_BYTES as u64;
        read_at_most(&self.file, &self.path, &mut self.bytes[..length], payload_at)?;
        if crc32c::crc32c(&self.bytes[..length]) != header.payload_crc {
            return Err(self.damaged("the part's checksum does not match"));
        }
        let (rows, rest) = self.bytes[..length].split_at(header.table_rows as usize * TABLE_ROW_BYTES);
        let (updates, stored) = rest.split_at(header.heads_len as usize);
        let body = Codec::from_byte(header.codec)
            .filter(|_| Updates::checked(updates).is_some())
            .and_then(|codec| decompress(codec, stored, header.body_raw as usize, &mut self.scratch));
        let Some(body) = body else {
            return Err(Error::damaged(&self.path, self.at, "the part does not decode"));
        };
        self.at = payload_at + length as u64;
        Ok(Chunk { header, rows, updates, body })
    }
}

/// A part of a transaction whose changes lie in a side segment.
#[derive(Clone, Copy, Debug)]
pub struct SidePart<'a> {
    /// The frame that commits the transaction: its position, time, and the heads of all parts.
    pub frame: Frame<'a>,
    /// The body given at the commit; the same for all parts.
    pub header: &'a [u8],
    /// Sequence of the part's first change.
    pub first_sequence: u64,
    /// Changes in the part.
    pub changes: u32,
    /// The bytes given for the part.
    pub body: &'a [u8],
    /// 0 for the first part.
    pub index: u32,
    /// Whether the transaction ends with it.
    pub last: bool,
    rows: &'a [u8],
}

impl<'a> SidePart<'a> {
    /// The offsets that the part takes.
    pub fn offsets(&self) -> impl Iterator<Item = OffsetRange> + use<'a> {
        let frame = self.frame;
        self.rows.chunks_exact(TABLE_ROW_BYTES).map(move |row| {
            let mut range = OffsetRange::decode(row);
            let base = frame.offsets().find(|base| (base.topic, base.partition) == (range.topic, range.partition));
            range.first += base.map_or(0, |base| base.first);
            range
        })
    }
}

/// Streams the parts of one committed side transaction.
#[derive(Debug)]
pub(crate) struct SideStream {
    chunks: ChunkReader,
    reference: SideReference,
    index: u32,
    crc: u32,
}

impl SideStream {
    pub fn open(dir: &Path, journal: JournalId, reference: SideReference) -> Result<Self> {
        let chunks = ChunkReader::open(dir, journal, reference.number)?;
        Ok(SideStream { chunks, reference, index: 0, crc: 0 })
    }

    pub fn is_done(&self) -> bool {
        self.index == self.reference.parts
    }

    /// Steps over parts that end at or before `sequence`, by their headers alone.
    pub fn skip_to(&mut self, frame_first: u64, sequence: u64) -> Result<()> {
        while self.index + 1 < self.reference.parts {
            let header = self.chunks.expect_header()?;
            if frame_first + header.first + u64::from(header.changes) > sequence {
                break;
            }
            self.crc = crc32c::crc32c_append(self.crc, &header.payload_crc.to_le_bytes());
            self.chunks.at += CHUNK_HEADER_BYTES as u64 + header.payload_len();
            self.index += 1;
        }
        Ok(())
    }

    /// The next part; at the last one the whole file must add up to what the commit frame says.
    pub fn next<'a>(&'a mut self, frame: Frame<'a>) -> Result<SidePart<'a>> {
        let (index, reference) = (self.index, self.reference);
        let path = self.chunks.path.clone();
        let chunk = self.chunks.next(index)?;
        self.crc = crc32c::crc32c_append(self.crc, &chunk.header.payload_crc.to_le_bytes());
        self.index += 1;
        let last = self.index == reference.parts;
        if last && self.crc != reference.crc {
            return Err(Error::damaged(&path, 0, "the side segment is not the one that was committed"));
        }
        Ok(SidePart {
            frame,
            header: frame.whole_body(),
            first_sequence: frame.first_sequence + chunk.header.first,
            changes: chunk.header.changes,
            body: chunk.body,
            index,
            last,
            rows: chunk.rows,
        })
    }
}
