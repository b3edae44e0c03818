//! Where components come from: files, read with a bound.

use std::fs::{File, FileType, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tenure_core::name::ObjectName;
use tenure_core::objects::{PolicySource, PolicySpec};

use crate::error::PolicyHostError;
use crate::limits::COMPONENT_BYTES;

/// Where components lie.
#[derive(Debug)]
pub(crate) struct Folders {
    /// The shipped ones, as `NAME.wasm`.
    pub(crate) shipped: PathBuf,
    /// What was fetched from registries, as `sha256-DIGEST.wasm`. Somebody else puts it there: this host knows no network.
    pub(crate) fetched: Option<PathBuf>,
}

/// Reads the component that `spec` names, and says where it lay.
pub(crate) fn read(
    folders: &Folders,
    spec: &PolicySpec,
) -> Result<(PathBuf, Vec<u8>), PolicyHostError> {
    let path = match &spec.source {
        PolicySource::File(path) => path.clone(),
        PolicySource::Bundled(name) => shipped(&folders.shipped, name)?,
        PolicySource::Oci(_) => {
            let places = folders.fetched.as_ref().zip(spec.digest.as_ref());
            let path = places.map(|(folder, digest)| folder.join(digest.module_file()));
            path.filter(|path| path.exists()).ok_or(PolicyHostError::NotFetched)?
        }
    };
    let bytes = read_file(&path)?;
    Ok((path, bytes))
}

/// Reads a file, without ever waiting and up to the bound.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, PolicyHostError> {
    let path = path.to_owned();
    let failed = |source| PolicyHostError::Read { path: path.clone(), source };
    let is_file = |metadata: io::Result<Metadata>| match metadata.map_err(failed)?.file_type() {
        kind if kind.is_file() => Ok(()),
        kind => Err(PolicyHostError::NotAFile { path: path.clone(), what: name_of(kind) }),
    };
    // Before it is opened, for opening a device may already act on it; and after, for what lies there may have changed.
    is_file(path.metadata())?;
    let file = open(&path).map_err(failed)?;
    is_file(file.metadata())?;
    let mut bytes = Vec::new();
    // Not by the length of the file: it may grow.
    file.take(COMPONENT_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > COMPONENT_BYTES) {
        return Err(PolicyHostError::TooLarge { path });
    }
    Ok(bytes)
}

/// Without waiting: a fifo would keep the caller until somebody writes to it.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

fn name_of(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a fifo"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// A name, never a path: `bundled: ../x` must not leave the folder.
fn shipped(folder: &Path, name: &str) -> Result<PathBuf, PolicyHostError> {
    let path = folder.join(format!("{name}.wasm"));
    if ObjectName::new(name).is_ok() && path.is_file() {
        return Ok(path);
    }
    Err(PolicyHostError::NotShipped {
        name: name.to_owned(),
        folder: folder.to_owned(),
        shipped: names(folder),
    })
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let wasm = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "wasm"));
    let mut names: Vec<String> =
        wasm.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> String {
        read_file(path).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_file_is_refused_at_once_by_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        assert!(refused(&path("fifo")).contains("fifo is a fifo, not a file"));
        assert!(refused(&path("socket")).contains("is a socket"));
        assert!(refused(folder.path()).contains("is a folder"));
        assert!(refused(Path::new("/dev/zero")).contains("/dev/zero is a device"));
        assert!(refused(&path("nothing")).contains("cannot be read"));
    }

    #[test]
    fn a_fifo_that_takes_the_place_of_a_file_blocks_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        assert!(open(&path).unwrap().metadata().unwrap().file_type().is_fifo());
    }

    #[test]
    fn a_file_is_read_whole_up_to_the_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wasm");
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!(read_file(&path).unwrap(), b"abc");
        File::create(&path).unwrap().set_len(COMPONENT_BYTES + 1).unwrap();
        assert!(matches!(read_file(&path).unwrap_err(), PolicyHostError::TooLarge { .. }));
    }
}
