//! What served last, on disk: a daemon that starts with a policy whose newest component is bad or gone goes on with the
//! version that served before, and does not try again what was taken back.
//!
//! ```text
//! policy-kept/NAME.json          the object as it served, its digest, what served before it, and what was taken back
//! policy-kept/sha256-HEX.wasm    their components, and the signatures that lay beside them as ….wasm.sig
//! ```
//!
//! A component that is read here is checked against its digest and goes through the whole pipeline again.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tenure_core::name::{Digest, ObjectName};
use tenure_core::objects::PolicySpec;
use tenure_core::time::WallMs;
use tenure_trust::signature_file;

use crate::chain::{Installed, Refused, Table, Version};
use crate::error::TAKEN_BACK;
use crate::limits::COMPONENT_BYTES;
use crate::private;

/// Below the state folder.
const FOLDER: &str = "policy-kept";
/// Most policies; those that changed longest ago are forgotten first.
const RECORDS: usize = 64;
/// Longest record: settings have 64 KiB at most, and stand in it three times.
const RECORD_BYTES: u64 = 1 << 20;

/// The folder. Written by installs, removals and roll-backs, one at a time; each writes what the table says by then.
pub(crate) struct Keeper {
    folder: PathBuf,
    table: Arc<ArcSwap<Table>>,
    writing: Mutex<()>,
}

/// A component that serves, to be kept.
pub(crate) struct Component<'a> {
    pub(crate) digest: &'a Digest,
    pub(crate) bytes: &'a [u8],
    pub(crate) signatures: &'a [u8],
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) serving: Served,
    /// What served before it, to go back to when it fails soon.
    #[serde(default)]
    pub(crate) previous: Option<Served>,
    /// Since when it serves.
    pub(crate) since: WallMs,
    #[serde(default)]
    pub(crate) taken_back: Option<TakenBack>,
}

/// A version: the whole object and what its component was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Served {
    pub(crate) spec: PolicySpec,
    pub(crate) digest: Digest,
}

/// A version that the breaker took back. It does not serve again until the object, or its component, changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TakenBack {
    pub(crate) version: Served,
    pub(crate) why: String,
}

// === impl Keeper ===

impl Keeper {
    /// Opens the folder below `state`, if one is given; without it restarts forget what served.
    pub(crate) fn open(state: Option<&Path>, table: &Arc<ArcSwap<Table>>) -> Option<Arc<Self>> {
        let folder = state?.join(FOLDER);
        if let Err(error) = private::folder(&folder) {
            tracing::warn!(folder = %folder.display(), %error, "the policies that serve are not kept; after a restart a component that is gone is not served");
            return None;
        }
        Some(Arc::new(Self { folder, table: table.clone(), writing: Mutex::new(()) }))
    }

    /// Writes down how a policy stands now, and the component that serves if it is new.
    pub(crate) fn note(&self, name: &ObjectName, component: Option<Component<'_>>) {
        let _one = self.writing.lock();
        if let Err(error) = self.write(name, component) {
            tracing::warn!(%error, policy = name.as_str(), "what serves is not kept; a restart may go back further than one version");
        }
    }

    /// The same on a thread of its own: whoever decides does not wait for a disk.
    pub(crate) fn note_soon(self: &Arc<Self>, name: &ObjectName) {
        let (keeper, name) = (self.clone(), name.clone());
        let write = move || keeper.note(&name, None);
        if let Err(error) = std::thread::Builder::new().name("policy-keep".into()).spawn(write) {
            tracing::warn!(%error, "a roll-back is not kept; a restart tries the version again");
        }
    }

    /// What is kept of a policy. A damaged record is as good as none.
    pub(crate) fn record(&self, name: &ObjectName) -> Option<Record> {
        let path = self.record_path(name);
        let read = private::read(&path, RECORD_BYTES).map_err(|error| error.to_string()).and_then(
            |bytes| {
                bytes
                    .map(|bytes| serde_json::from_slice(&bytes))
                    .transpose()
                    .map_err(|error| error.to_string())
            },
        );
        read.unwrap_or_else(|error| {
            tracing::warn!(error, file = %path.display(), "what served last cannot be read");
            None
        })
    }

    /// A kept component, if it is what it was, and where it lies.
    pub(crate) fn component(&self, digest: &Digest) -> Option<(PathBuf, Vec<u8>)> {
        let path = self.component_path(digest);
        match private::read(&path, COMPONENT_BYTES) {
            Ok(Some(bytes)) if Digest::of(&bytes) == *digest => Some((path, bytes)),
            Ok(None) => None,
            Ok(Some(_)) => {
                tracing::warn!(file = %path.display(), "a kept component has another digest; it is not served");
                None
            }
            Err(error) => {
                tracing::warn!(%error, file = %path.display(), "a kept component cannot be read");
                None
            }
        }
    }

    fn write(&self, name: &ObjectName, component: Option<Component<'_>>) -> io::Result<()> {
        let table = self.table.load_full();
        match table.get(name) {
            Some(installed) => {
                // First, so that no record names a component that is not there.
                if let Some(component) = component {
                    self.write_component(&component)?;
                }
                let record = serde_json::to_vec_pretty(&Record::of(installed))?;
                private::write(&self.record_path(name), &[&record])?;
            }
            None => match std::fs::remove_file(self.record_path(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            },
        }
        self.forget()
    }

    fn write_component(&self, component: &Component<'_>) -> io::Result<()> {
        let path = self.component_path(component.digest);
        if !component.signatures.is_empty() {
            private::write(&signature_file(&path), &[component.signatures])?;
        }
        if self.component(component.digest).is_none() {
            private::write(&path, &[component.bytes])?;
        }
        Ok(())
    }

    /// Deletes records beyond the bound, and components that none of the others names.
    fn forget(&self) -> io::Result<()> {
        let mut records = Vec::new();
        let mut components = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => records.push((entry.metadata()?.modified()?, path)),
                Some("wasm" | "sig") => components.push(path),
                _ => {}
            }
        }
        // The newest first.
        records.sort_unstable_by(|one, other| other.cmp(one));
        let mut named = BTreeSet::new();
        for (at, (_, path)) in records.iter().enumerate() {
            if at >= RECORDS {
                std::fs::remove_file(path)?;
                continue;
            }
            let name = path.file_stem().and_then(|stem| stem.to_str());
            let record = name.and_then(|name| self.record(&ObjectName::new(name).ok()?));
            for version in record.into_iter().flat_map(|r| [Some(r.serving), r.previous]).flatten()
            {
                let path = self.component_path(&version.digest);
                named.insert(signature_file(&path));
                named.insert(path);
            }
        }
        for path in components.iter().filter(|path| !named.contains(*path)) {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }

    fn record_path(&self, name: &ObjectName) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    fn component_path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.module_file())
    }
}

// === impl Record ===

impl Record {
    fn of(installed: &Installed) -> Self {
        Self {
            serving: Served::of(&installed.version),
            previous: installed.previous.as_deref().map(Served::of),
            since: installed.since_wall,
            taken_back: installed.taken_back.clone(),
        }
    }
}

// === impl TakenBack ===

impl TakenBack {
    pub(crate) fn refused(&self) -> Refused {
        Refused { stage: TAKEN_BACK, why: self.why.clone() }
    }
}

// === impl Served ===

impl Served {
    pub(crate) fn of(version: &Version) -> Self {
        Self { spec: version.spec.clone(), digest: version.compiled.digest.clone() }
    }

    pub(crate) fn is(&self, version: &Version) -> bool {
        self.digest == version.compiled.digest && self.spec == version.spec
    }
}
