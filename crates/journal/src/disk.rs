//! Every change that a journal makes to the disk goes through here, so that tests can record it, cut it, or refuse it.
//!
//! Invariant: no other file of this crate writes, renames, removes or syncs. Start at [`Disk`].

use crate::error::{Error, Result};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One change to the journal's folder, announced before it happens. Names are relative to the folder.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Op<'a> {
    Create {
        name: &'a str,
    },
    Write {
        name: &'a str,
        at: u64,
        bytes: &'a [IoSlice<'a>],
    },
    SetLength {
        name: &'a str,
        length: u64,
    },
    /// Data and length of the file become durable.
    Sync {
        name: &'a str,
    },
    Rename {
        from: &'a str,
        to: &'a str,
    },
    Remove {
        name: &'a str,
    },
    /// Names become durable.
    SyncFolder,
}

/// Sees every change; an error makes it fail without being done.
pub trait Probe: Send + Sync + fmt::Debug {
    /// Called before the change.
    fn before(&self, op: &Op<'_>) -> io::Result<()>;
}

/// A journal's folder, for changing.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    dir: Arc<Path>,
    probe: Option<Arc<dyn Probe>>,
}

impl Disk {
    pub fn new(dir: &Path, probe: Option<Arc<dyn Probe>>) -> Self {
        Disk { dir: dir.into(), probe }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn announce(&self, action: &'static str, name: &str, op: &Op<'_>) -> Result<()> {
        match &self.probe {
            None => Ok(()),
            Some(probe) => probe.before(op).map_err(|error| Error::io(action, &self.path(name), error)),
        }
    }

    /// Creates `name`, empty, replacing what was there.
    pub fn create(&self, name: &str) -> Result<DiskFile> {
        self.announce("create", name, &Op::Create { name })?;
        self.open_with(OpenOptions::new().read(true).write(true).create(true).truncate(true), "create", name)
    }

    /// Opens `name` for writing.
    pub fn open(&self, name: &str) -> Result<DiskFile> {
        self.open_with(OpenOptions::new().read(true).write(true), "open", name)
    }

    fn open_with(&self, options: &OpenOptions, action: &'static str, name: &str) -> Result<DiskFile> {
        let path = self.path(name);
        let file = options.open(&path).map_err(|error| Error::io(action, &path, error))?;
        Ok(DiskFile { file, name: name.to_owned(), disk: self.clone() })
    }

    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.announce("rename", from, &Op::Rename { from, to })?;
        let path = self.path(from);
        std::fs::rename(&path, self.path(to)).map_err(|error| Error::io("rename", &path, error))
    }

    /// Removes `name`; one that is already gone is fine.
    pub fn remove(&self, name: &str) -> Result<()> {
        self.announce("remove", name, &Op::Remove { name })?;
        let path = self.path(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &path, error)),
            _ => Ok(()),
        }
    }

    /// Makes creations, renames and removals durable.
    pub fn sync_folder(&self) -> Result<()> {
        self.announce("sync the folder", "", &Op::SyncFolder)?;
        let synced = File::open(&self.dir).and_then(|folder| folder.sync_all());
        synced.map_err(|error| Error::io("sync the folder", &self.dir, error))
    }

    /// Writes a small file so that it is there whole or not at all.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let temporary = format!("{name}.tmp");
        let file = self.create(&temporary)?;
        file.write(&mut [IoSlice::new(bytes)], 0)?;
        file.sync()?;
        self.rename(&temporary, name)?;
        self.sync_folder()
    }
}

/// One file of the journal, for changing.
#[derive(Debug)]
pub(crate) struct DiskFile {
    file: File,
    name: String,
    disk: Disk,
}

impl DiskFile {
    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn path(&self) -> PathBuf {
        self.disk.path(&self.name)
    }

    /// Call after the file was renamed on disk.
    pub fn renamed(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Writes all of `pieces` one after the other, beginning at byte `at`; one system call unless it is interrupted.
    pub fn write(&self, mut pieces: &mut [IoSlice<'_>], mut at: u64) -> Result<()> {
        self.disk.announce("write", &self.name, &Op::Write { name: &self.name, at, bytes: pieces })?;
        let failed = |error: io::Error| Error::io("write", &self.path(), error);
        fail::fail_point!("journal::disk_full", |_| Err(failed(io::ErrorKind::StorageFull.into())));
        // A first empty slice would make a write of nothing look like a write that does not advance.
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            match rustix::io::pwritev(&self.file, pieces, at) {
                Ok(0) => return Err(failed(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    IoSlice::advance_slices(&mut pieces, written);
                    at += written as u64;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        Ok(())
    }

    pub fn set_length(&self, length: u64) -> Result<()> {
        self.disk.announce("resize", &self.name, &Op::SetLength { name: &self.name, length })?;
        self.file.set_len(length).map_err(|error| Error::io("resize", &self.path(), error))
    }

    /// Data and length become durable. A failure says nothing about what is on disk: never try again.
    pub fn sync(&self) -> Result<()> {
        self.disk.announce("sync", &self.name, &Op::Sync { name: &self.name })?;
        // Zeros that cannot be made durable are thrown away and made later, which stops nobody and would tell nothing.
        fail::fail_point!("journal::fsync_fails", self.name != crate::layout::NEXT, |_| {
            Err(Error::io("sync", &self.path(), io::Error::other("a fail point refused it")))
        });
        self.file.sync_data().map_err(|error| Error::io("sync", &self.path(), error))
    }
}
