//! The daemon's side of the spool: DELs that the plugin kept while the daemon was away.
//!
//! A file is *taken* by rename before it is read, so that the plugin can put a newer DEL of the same attachment in its
//! place meanwhile, and it is removed only after its DEL succeeded. A crash between leaves the taken file, which
//! the next drain finds; doing a DEL twice is harmless, for it carries its instant (invariant I5).

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tenure_core::lease::Attachment;
use tenure_core::name::{BadName, ContainerId, IfName, NetworkName};
use tenure_engine::{DelRequest, SpoolInstant, Verbs};

use crate::error::Error;
use crate::intent::{Intent, MAX_INTENT_BYTES, SUFFIX};

const TAKEN: &str = "taken";
const BAD: &str = "bad";
/// A temporary file that is older belongs to a plugin that died while it wrote.
const ABANDONED_AFTER: Duration = Duration::from_secs(600);

/// A spool folder.
#[derive(Debug, Clone)]
pub struct Spool {
    folder: PathBuf,
}

/// What a drain did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drained {
    /// DELs that succeeded; their files are gone.
    pub done: usize,
    /// DELs that failed; their files wait for the next drain.
    pub failed: usize,
    /// Files that are no DEL; they were renamed to `*.bad`.
    pub broken: usize,
}

impl Spool {
    /// The spool in `folder`, which need not exist.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder, for whoever watches it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Does every spooled DEL, in the order of their names. One that fails does not keep the others.
    ///
    /// # Errors
    /// [`Error::Spool`] when the folder or a file in it cannot be read, renamed or removed.
    pub async fn drain<V: Verbs>(&self, verbs: &V) -> Result<Drained, Error> {
        let folder = self.folder.clone();
        let (requests, broken) = blocking(&self.folder, move || take_all(&folder)).await?;
        let mut drained = Drained { broken, ..Drained::default() };
        for (path, request) in requests {
            let attachment = request.attachment.clone();
            if let Err(error) = verbs.del(request).await {
                tracing::warn!(%attachment, "a spooled DEL failed and is tried again later: {error}");
                drained.failed += 1;
                continue;
            }
            let done = path.clone();
            blocking(&self.folder, move || remove(&done)).await?;
            tracing::info!(%attachment, "a spooled DEL is done");
            drained.done += 1;
        }
        Ok(drained)
    }
}

type Taken = (Vec<(PathBuf, DelRequest)>, usize);

/// Takes every file and reads what was taken now or by an earlier drain.
fn take_all(folder: &Path) -> Result<Taken, Error> {
    let mut taken = Vec::new();
    for path in names(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            remove_if_abandoned(&path);
        } else if name.ends_with(SUFFIX) {
            let target = path.with_extension(TAKEN);
            fs::rename(&path, &target).map_err(failed(&path, "taking a file"))?;
            taken.push(target);
        } else if path.extension().is_some_and(|extension| extension == TAKEN) {
            taken.push(path);
        }
    }
    taken.sort_unstable();
    taken.dedup();
    read_all(taken)
}

fn read_all(taken: Vec<PathBuf>) -> Result<Taken, Error> {
    let mut requests = Vec::with_capacity(taken.len());
    let mut broken = 0;
    for path in taken {
        let text = read(&path).map_err(failed(&path, "reading a file"))?;
        match text.as_deref().and_then(Intent::parse).map(request) {
            Some(Ok(request)) => requests.push((path, request)),
            unreadable => {
                let why = unreadable.and_then(Result::err).map(|error| error.to_string());
                tracing::error!(path = %path.display(), why, "a spooled file is no DEL; it is set aside");
                fs::rename(&path, path.with_extension(BAD))
                    .map_err(failed(&path, "setting a file aside"))?;
                broken += 1;
            }
        }
    }
    Ok((requests, broken))
}

/// The text of a file; none for what the plugin never writes: a link, a folder, a long file, other bytes than UTF-8.
fn read(path: &Path) -> io::Result<Option<String>> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    let bound = u64::try_from(MAX_INTENT_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path)?.take(bound.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_INTENT_BYTES))
}

fn request(intent: Intent) -> Result<DelRequest, BadName> {
    let attachment = Attachment {
        network: NetworkName::new(&intent.network)?,
        container: ContainerId::new(&intent.container)?,
        ifname: IfName::new(&intent.ifname)?,
    };
    let instant = SpoolInstant { boot: intent.boot, boottime_ms: intent.boottime_ms };
    Ok(DelRequest { bound_before: Some(instant), ..DelRequest::of(attachment) })
}

/// All entries of the folder, in the order of their names; a folder that does not exist is empty.
fn names(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(folder, "listing it")(source)),
    };
    let paths: io::Result<Vec<_>> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(failed(folder, "listing it"))?;
    paths.sort_unstable();
    Ok(paths)
}

/// Wall time is good enough here: a file removed too early makes its plugin answer an error, and the DEL comes again.
fn remove_if_abandoned(path: &Path) {
    let age = fs::symlink_metadata(path).and_then(|file| file.modified()).map(|at| at.elapsed());
    if matches!(age, Ok(Ok(age)) if age > ABANDONED_AFTER) {
        let _ = fs::remove_file(path);
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    fs::remove_file(path).map_err(failed(path, "removing a file"))
}

fn failed(path: &Path, act: &'static str) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Spool { path, act, source }
}

async fn blocking<T: Send + 'static>(
    folder: &Path,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| failed(folder, "a thread")(io::Error::other(error)))?
}
