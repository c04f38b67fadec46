//! A power failure, made by hand: everything after the last fsync is cut off.
//!
//! Invariant: what was durable stays, to the byte. For tests; the journal must not be open. Start at [`cut`].

use crate::error::{Error, Result};
use crate::layout::{DURABLE_MARK, Listing, index_name, segment_name};
use crate::place::Place;
use std::fs::{self, File, OpenOptions};
use std::path::Path;

/// Cuts the journal in `dir` back to what its last fsync covered, as the file `durable-mark` says it (see
/// [`crate::Options::record_durable`]). Answers the bytes cut off.
pub fn cut(dir: &Path) -> Result<u64> {
    let path = dir.join(DURABLE_MARK);
    let bytes = fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
    let mark: [u8; 8] = bytes.try_into().map_err(|_| Error::damaged(&path, 0, "the mark is not eight bytes"))?;
    let durable = Place(u64::from_le_bytes(mark));
    let mut cut_bytes = 0;
    for (ordinal, first_sequence) in Listing::read(dir)?.segments {
        let path = dir.join(segment_name(ordinal, first_sequence));
        let failed = |action| move |error| Error::io(action, dir, error);
        let length = fs::metadata(&path).map_err(failed("read"))?.len();
        if ordinal > durable.ordinal() {
            fs::remove_file(&path).map_err(failed("remove from"))?;
            let _ = fs::remove_file(dir.join(index_name(ordinal)));
            cut_bytes += length;
        } else if ordinal == durable.ordinal() && length > u64::from(durable.at()) {
            let file = OpenOptions::new().write(true).open(&path).map_err(failed("open in"))?;
            file.set_len(u64::from(durable.at())).map_err(failed("cut in"))?;
            let _ = fs::remove_file(dir.join(index_name(ordinal)));
            cut_bytes += length - u64::from(durable.at());
        }
    }
    let synced = File::open(dir).and_then(|folder| folder.sync_all());
    synced.map_err(|error| Error::io("sync the folder", dir, error))?;
    Ok(cut_bytes)
}
