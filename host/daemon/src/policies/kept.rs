//! What was fetched, on disk: `stateDir/policies/sha256-DIGEST.wasm`, its signatures in `….wasm.sig` beside it, and which tag
//! was resolved to what (`refs.json`). It serves when the registry is away.
//!
//! Bounded by number; what is in use stays. A file whose bytes are not those of its name counts as absent.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use tenure_core::name::{Digest, OciRef};
use tenure_policy_host::COMPONENT_BYTES;
use tenure_trust::{Signatures, signature_file};

/// 4 MiB each at most. Who goes back and forth between versions finds the last ones here.
const MODULES: usize = 32;
const REFS: &str = "refs.json";

/// The folder.
#[derive(Debug)]
pub(crate) struct Kept {
    folder: PathBuf,
}

// === impl Kept ===

impl Kept {
    /// Nothing is made before something is kept.
    pub(crate) fn below(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("policies") }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the component of that digest is there, whole.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            let file = File::open(self.path(digest))?;
            file.take(COMPONENT_BYTES.saturating_add(1)).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().is_ok_and(|bytes| Digest::of(&bytes) == *digest)
    }

    /// To what the reference was last resolved, if that is still there.
    pub(crate) fn resolved(&self, reference: &OciRef) -> Option<Digest> {
        self.refs().remove(reference.as_str()).filter(|digest| self.has(digest))
    }

    /// Keeps a component durably, whole or not at all, and forgets the oldest that are neither it nor in use.
    pub(crate) fn keep(
        &self,
        (reference, component): (&OciRef, &[u8]),
        signatures: &Signatures,
        in_use: &[Digest],
    ) -> io::Result<Digest> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let digest = Digest::of(component);
        let path = self.path(&digest);
        let text = signatures.to_text().map_err(io::Error::other)?;
        self.write(&signature_file(&path), text.as_bytes())?;
        self.write(&path, component)?;
        let mut refs = self.refs();
        refs.insert(reference.as_str().to_owned(), digest.clone());
        self.forget(&digest, in_use)?;
        refs.retain(|_, digest| self.path(digest).exists());
        self.write(&self.folder.join(REFS), &serde_json::to_vec(&refs)?)?;
        Ok(digest)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.module_file())
    }

    fn refs(&self) -> BTreeMap<String, Digest> {
        let text = fs::read(self.folder.join(REFS)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // One at a time writes here, so one name will do; a rest of it is written over.
        let partial = self.folder.join(".partial");
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        File::open(&self.folder)?.sync_all()
    }

    fn forget(&self, newest: &Digest, in_use: &[Digest]) -> io::Result<()> {
        let is_needed = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            std::iter::once(newest).chain(in_use).any(|digest| digest.module_file() == name)
        };
        let mut modules = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "wasm") {
                modules.push((fs::metadata(&path)?.modified()?, path));
            }
        }
        modules.sort();
        let too_many = modules.len().saturating_sub(MODULES);
        let old = modules.into_iter().filter(|(_, path)| !is_needed(path)).take(too_many);
        for (_, path) in old {
            fs::remove_file(&path)?;
            let _ = fs::remove_file(signature_file(&path));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(tag: &str) -> OciRef {
        OciRef::new(format!("r.example/p:{tag}")).unwrap()
    }

    #[test]
    fn what_is_kept_is_found_and_what_was_changed_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::below(folder.path());
        assert!(kept.resolved(&reference("v1")).is_none() && !kept.folder().exists());
        let none = Signatures::default();
        let digest = kept.keep((&reference("v1"), b"module"), &none, &[]).unwrap();
        assert_eq!(kept.resolved(&reference("v1")), Some(digest.clone()));
        let again = Kept::below(folder.path());
        assert!(again.has(&digest) && again.resolved(&reference("v2")).is_none());
        fs::write(kept.path(&digest), b"modulo").unwrap();
        assert!(!kept.has(&digest) && kept.resolved(&reference("v1")).is_none());
        kept.keep((&reference("v1"), b"module"), &none, &[]).unwrap();
        assert!(kept.has(&digest), "a changed file is written anew");
    }

    #[test]
    fn the_oldest_go_first_and_what_is_in_use_stays() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::below(folder.path());
        let none = Signatures::default();
        let tag = |n: usize| reference(&format!("v{n}"));
        let mut digests = Vec::new();
        for n in 0..MODULES + 3 {
            let in_use = digests.first().cloned().into_iter().collect::<Vec<_>>();
            let digest = kept.keep((&tag(n), n.to_string().as_bytes()), &none, &in_use).unwrap();
            // Files that are made within one tick of the clock have no order.
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(n as u64);
            File::open(kept.path(&digest)).unwrap().set_modified(at).unwrap();
            digests.push(digest);
        }
        let there: Vec<bool> = digests.iter().map(|digest| kept.has(digest)).collect();
        assert_eq!(there.iter().filter(|there| **there).count(), MODULES);
        assert!(there[0] && !there[1] && !there[2] && !there[3] && there[4]);
        assert!(kept.resolved(&tag(1)).is_none() && kept.resolved(&tag(4)).is_some());
        assert_eq!(fs::read_dir(kept.folder()).unwrap().count(), 2 * MODULES + 1);
    }
}
