//! A certificate that somebody else keeps, as cert-manager does, in two mounted files.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;

use super::certificates::Leaf;
use super::error::AuthorityError;

/// Where the certificate and its key are; both in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServingFiles {
    /// The certificate for `tenure-allocator`, and those between it and its CA.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// The files, and what was in them last.
#[derive(Debug)]
pub(super) struct Files {
    paths: ServingFiles,
    last: Mutex<Option<(Vec<u8>, Vec<u8>)>>,
}

// === impl Files ===

impl Files {
    pub(super) fn new(paths: ServingFiles) -> Self {
        Self { paths, last: Mutex::new(None) }
    }

    /// What they hold, if that is not what it was. Halves of a change do not fit together: they are an error, and read again.
    pub(super) async fn read(
        &self,
        provider: &CryptoProvider,
    ) -> Result<Option<Leaf>, AuthorityError> {
        let read = (read(&self.paths.cert).await?, read(&self.paths.key).await?);
        if self.last.lock().as_ref() == Some(&read) {
            return Ok(None);
        }
        let leaf = Leaf::read(&read.0, &read.1, provider);
        let leaf = leaf.map_err(|why| AuthorityError::Unreadable {
            place: self.paths.cert.display().to_string(),
            why: why.to_string(),
        })?;
        *self.last.lock() = Some(read);
        Ok(Some(leaf))
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, AuthorityError> {
    let failed = |source| AuthorityError::File { path: path.to_owned(), source };
    read_file(path).await.map_err(failed)
}

/// A small file, read where it may block.
pub(super) async fn read_file(path: &Path) -> Result<Vec<u8>, std::io::Error> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read(path));
    read.await.map_err(std::io::Error::other)?
}
