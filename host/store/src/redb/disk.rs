//! Where the database lies. The file is the real one; tests bring disks that lose power.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use redb::StorageBackend;
use redb::backends::FileBackend;
use rustix::fs::Advice;

/// The file in the state folder.
const FILE: &str = "tenure.redb";

/// A database that is being made: nobody opens it under this name, so a crash leaves no half-made store.
const UNFINISHED: &str = "tenure.redb.new";

/// A place for one database.
///
/// # Flow
/// [`open`](Disk::open) answers the store if there is one. If not, [`create`](Disk::create) gives an empty
/// place, the database is written to it and made durable, and [`publish`](Disk::publish) lets `open` find it.
pub trait Disk: Send + 'static {
    /// What redb reads and writes through. Its locks decide who may open it (invariant I13).
    type Backend: StorageBackend;

    /// The store that is there, or `None`.
    ///
    /// # Errors
    /// Those of the disk.
    fn open(&self) -> io::Result<Option<Self::Backend>>;

    /// An empty place that `open` does not find yet.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if somebody else makes a store here or has just made one.
    fn create(&self) -> io::Result<Self::Backend>;

    /// Lets `open` find what was created, durably. The backend is still open.
    ///
    /// # Errors
    /// Those of the disk.
    fn publish(&self) -> io::Result<()>;

    /// What errors call it.
    fn place(&self) -> String;
}

/// A folder on a file system. The file in it belongs to its owner alone (mode 0600).
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

// === impl Folder ===

impl Folder {
    /// Makes the folder if there is none (mode 0700).
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            sync_folder(parent.unwrap_or(Path::new(".")))?;
        }
        Ok(Self { path: path.to_owned() })
    }

    fn file(&self) -> PathBuf {
        self.path.join(FILE)
    }
}

impl Disk for Folder {
    type Backend = FileBackend;

    fn open(&self) -> io::Result<Option<FileBackend>> {
        let file = match OpenOptions::new().read(true).write(true).open(self.file()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // After a failed fsync the page cache holds pages that the disk does not and calls them clean.
        // What is read from here on must be what the disk has.
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
        backend(file).map(Some)
    }

    fn create(&self) -> io::Result<FileBackend> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path.join(UNFINISHED))?;
        // Held until the database is closed, so over `publish`: who gets it later finds the store.
        match file.try_lock() {
            Ok(()) if self.file().exists() => Err(io::ErrorKind::WouldBlock.into()),
            Ok(()) => {
                file.set_len(0)?;
                backend(file)
            }
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn publish(&self) -> io::Result<()> {
        std::fs::rename(self.path.join(UNFINISHED), self.file())?;
        sync_folder(&self.path)
    }

    fn place(&self) -> String {
        self.file().display().to_string()
    }
}

fn backend(file: File) -> io::Result<FileBackend> {
    FileBackend::new(file).map_err(io::Error::other)
}

/// redb syncs the file, not the entry that leads to it.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_to_create_a_store_that_was_just_published_gets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::new(folder.path()).unwrap();
        drop(disk.create().unwrap());
        disk.publish().unwrap();
        let late = disk.create().unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::WouldBlock);
        assert!(disk.open().unwrap().is_some());
    }

    #[test]
    fn two_do_not_create_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::new(folder.path()).unwrap();
        let _first = disk.create().unwrap();
        assert_eq!(disk.create().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(disk.open().unwrap().is_none());
    }
}
