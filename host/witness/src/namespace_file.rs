//! An open file that stands for a namespace.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tenure_core::ports::WitnessError;

use crate::error::system;

/// Magic of the file system that namespace files live in (`linux/magic.h`).
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// An open namespace file. While it lives it keeps the namespace alive, so it lives for one call only.
#[derive(Debug)]
pub(crate) struct NamespaceFile {
    fd: OwnedFd,
    /// Device of the file.
    pub(crate) dev: u64,
    /// Inode of the file, reused as soon as the namespace is gone.
    pub(crate) ino: u64,
}

// === impl NamespaceFile ===

impl NamespaceFile {
    /// Opens `path` and makes sure that it is a namespace; of which type shows on entering.
    pub(crate) fn open(path: &Path) -> Result<Self, WitnessError> {
        // CNI_NETNS may name anything: without NONBLOCK a FIFO there would hold the thread for ever.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => WitnessError::NoSuchNamespace { path: path.to_owned() },
            Errno::ISDIR | Errno::NXIO => WitnessError::NotANamespace { path: path.to_owned() },
            errno => system("opening the network namespace", errno),
        })?;
        let kind = rustix::fs::fstatfs(&fd)
            .map_err(|errno| system("reading the file system of the network namespace", errno))?;
        if u64::try_from(kind.f_type) != Ok(NSFS_MAGIC) {
            return Err(WitnessError::NotANamespace { path: path.to_owned() });
        }
        let stat = rustix::fs::fstat(&fd)
            .map_err(|errno| system("reading the inode of the network namespace", errno))?;
        Ok(Self { fd, dev: stat.st_dev, ino: stat.st_ino })
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for NamespaceFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<NamespaceFile> for OwnedFd {
    fn from(file: NamespaceFile) -> Self {
        file.fd
    }
}
