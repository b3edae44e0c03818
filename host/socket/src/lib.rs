//! A private unix socket: the CNI server and the admin API make theirs alike.
//!
//! What it is not: it serves nothing. The file is made private, put in place by rename, and removed only while it is still
//! ours. A symlink in its place is never followed, and a socket on which somebody answers is never taken over.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use tenure_core::error::{Coded, Kind};

/// Only the daemon's own user, and root, may connect.
const SOCKET_MODE: u32 = 0o600;
/// For the folder of the socket, should it not exist yet.
const FOLDER_MODE: u32 = 0o755;

/// A socket file that we made; it goes with the value.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

/// Why a socket was not made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers on it, or might.
    #[error("{path} is served by another process; stop it, or set another socket")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else lies where the socket should be.
    #[error("{path} is {what}, not a socket; remove it, or set another socket")]
    Taken {
        /// The path.
        path: PathBuf,
        /// What lies there.
        what: &'static str,
    },
    /// The system refuses.
    #[error("the socket {path} cannot be made: {act} failed")]
    System {
        /// The path.
        path: PathBuf,
        /// What was tried.
        act: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Coded for SocketError {
    fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "SOCKET_IN_USE",
            Self::Taken { .. } => "SOCKET_TAKEN",
            Self::System { .. } => "SOCKET_FAILED",
        }
    }

    fn kind(&self) -> Kind {
        Kind::Operator
    }
}

/// Makes the socket at `path`, ready for an asynchronous runtime.
///
/// The socket is bound under another name in the same folder, made private, and renamed: nobody can connect
/// before its mode is right, and a symlink in its place is never followed.
///
/// # Errors
/// [`SocketError::Taken`] when something else lies there, [`SocketError::InUse`] when somebody answers on it, or might,
/// [`SocketError::System`] when the system refuses.
pub fn bind(path: &Path) -> Result<(UnixListener, SocketFile), SocketError> {
    let failed = |act| move |source| SocketError::System { path: path.to_owned(), act, source };
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(folder) = folder {
        let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
        made.map_err(failed("making its folder"))?;
    }
    refuse_unless_free_or_stale(path)?;
    let temporary = beside(path);
    let _ = fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary).map_err(failed("binding"))?;
    listener.set_nonblocking(true).map_err(failed("listening"))?;
    let placed = place(&temporary, path);
    if placed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    let identity = placed.map_err(failed("putting it in place"))?;
    Ok((listener, SocketFile { path: path.to_owned(), identity }))
}

fn place(temporary: &Path, path: &Path) -> io::Result<(u64, u64)> {
    fs::set_permissions(temporary, Permissions::from_mode(SOCKET_MODE))?;
    let file = fs::symlink_metadata(temporary)?;
    fs::rename(temporary, path)?;
    Ok((file.dev(), file.ino()))
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}

fn refuse_unless_free_or_stale(path: &Path) -> Result<(), SocketError> {
    let taken = |what| Err(SocketError::Taken { path: path.to_owned(), what });
    let kind = match fs::symlink_metadata(path) {
        Ok(there) => there.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(SocketError::System {
                path: path.to_owned(),
                act: "looking at it",
                source,
            });
        }
    };
    if kind.is_symlink() {
        return taken("a symbolic link");
    }
    if kind.is_dir() {
        return taken("a folder");
    }
    if !kind.is_socket() {
        return taken("a file");
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // An answer, a full backlog, no permission: somebody may be there.
        _ => Err(SocketError::InUse { path: path.to_owned() }),
    }
}

impl Drop for SocketFile {
    /// Another daemon may have put its own socket there meanwhile; that one stays.
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == self.identity);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}
