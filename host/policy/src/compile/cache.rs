//! Compiled code on disk, so that a start compiles nothing.
//!
//! A file is `MAC || code`; its name says for which component and which engine. The MAC covers the name, too, and its key is
//! a file of this node beside the folder: code is native code, and a file that was not written here is not run. Read whole,
//! verified, and only then loaded, from memory.

use std::hash::{Hash as _, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use tenure_core::name::Digest;
use wasmtime::Engine;

use super::CODE_BYTES;
use crate::private;

/// Below the state folder.
const FOLDER: &str = "policy-cache";
/// Beside it.
const KEY_FILE: &str = "policy-cache.key";
/// The block of the hash: the longest key that counts in full.
const KEY_BYTES: usize = 64;
const MAC_BYTES: usize = 32;
/// Most files; the oldest go first.
const FILES: usize = 64;
/// Most bytes of all of them.
const BYTES: u64 = 64 << 20;
/// The version in full: the hash of the engine may have no more than its first number. A test compares it.
const WASMTIME: &str = "48.0.8";

/// The cache of one engine.
pub(super) struct CodeCache {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
    /// Stands for whatever shapes code: settings, wasmtime, processor.
    engine: String,
}

/// A hasher that forgets nothing: the 64 bits of others are few for a name that says what is run.
#[derive(Default)]
struct Sum(Sha256);

// === impl CodeCache ===

impl CodeCache {
    /// Opens the cache below `state`, making folder and key where they are missing.
    ///
    /// # Errors
    /// They cannot be made, or are not this user's alone.
    pub(super) fn open(state: &Path, engine: &Engine) -> io::Result<Self> {
        let folder = state.join(FOLDER);
        private::folder(&folder)?;
        let key = key(&state.join(KEY_FILE))?;
        let mut sum = Sum::default();
        engine.precompile_compatibility_hash().hash(&mut sum);
        sum.0.update(WASMTIME);
        sum.0.update(std::env::consts::ARCH);
        let engine = hex(&sum.0.finalize());
        Ok(Self { folder, key, engine })
    }

    /// The code of a component, if it is kept and was written here. What was not is deleted.
    pub(super) fn get(&self, digest: &Digest) -> Option<Vec<u8>> {
        let most = u64::try_from(CODE_BYTES + MAC_BYTES).unwrap_or(u64::MAX);
        let path = self.path(digest);
        let mut file = match private::read(&path, most) {
            Ok(file) => file?,
            Err(error) => {
                self.refuse(digest, &error.to_string());
                return None;
            }
        };
        let Some((mac, code)) = file.split_at_checked(MAC_BYTES) else {
            self.refuse(digest, "it is cut off");
            return None;
        };
        if self.mac(digest, code).verify_slice(mac).is_err() {
            self.refuse(digest, "its MAC is not that of this node");
            return None;
        }
        file.drain(..MAC_BYTES);
        self.touch(&path);
        Some(file)
    }

    /// Keeps code, and forgets the oldest where there is too much. Without it the next start is slower, nothing else.
    pub(super) fn put(&self, digest: &Digest, code: &[u8]) {
        let mac = self.mac(digest, code).finalize().into_bytes();
        if let Err(error) = private::write(&self.path(digest), &[&mac, code]) {
            tracing::warn!(%error, digest = digest.as_str(), "the compiled code of a policy is not kept");
        }
        if let Err(error) = self.trim() {
            tracing::warn!(%error, folder = %self.folder.display(), "the cache of compiled policies cannot be trimmed");
        }
    }

    /// Deletes code that is not to be run.
    pub(super) fn refuse(&self, digest: &Digest, why: &str) {
        let path = self.path(digest);
        tracing::warn!(file = %path.display(), why, "compiled code in the cache is not run; the policy is compiled anew");
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(%error, file = %path.display(), "it cannot be deleted either");
        }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(self.name(digest))
    }

    fn name(&self, digest: &Digest) -> String {
        hex(&Sha256::new_with_prefix(digest.as_str()).chain_update(&self.engine).finalize())
    }

    /// Over the name as well: a file under another name is another component's.
    fn mac(&self, digest: &Digest, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(self.name(digest).as_bytes());
        mac.update(code);
        mac
    }

    /// What is used goes last.
    fn touch(&self, path: &Path) {
        let touched = std::fs::File::options().append(true).open(path);
        let touched = touched.and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::debug!(%error, "a file of the cache keeps its age");
        }
    }

    fn trim(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let found = entry.metadata()?;
            files.push((found.modified()?, found.len(), entry.path()));
        }
        // The newest first.
        files.sort_unstable_by(|one, other| other.cmp(one));
        let mut total = 0;
        for (at, (_, length, path)) in files.iter().enumerate() {
            total += length;
            // The newest stays, however large.
            if at > 0 && (at >= FILES || total > BYTES) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// The key of this node, made at first use. One that others could have read is replaced: then nothing that it vouches for
/// is run.
fn key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    match private::read(path, KEY_BYTES as u64) {
        Ok(Some(key)) => {
            if let Ok(key) = key.try_into() {
                return Ok(key);
            }
            tracing::warn!(file = %path.display(), "the key of the policy cache is damaged; there is a new one");
        }
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(%error, file = %path.display(), "the key of the policy cache cannot be trusted; there is a new one");
        }
    }
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    private::write(path, &[&key])?;
    Ok(key)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

// === impl Sum ===

impl Hasher for Sum {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Nobody asks: the whole sum is taken instead.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(state: &Path) -> CodeCache {
        CodeCache::open(state, &Engine::default()).unwrap()
    }

    #[test]
    fn what_was_kept_comes_back_under_its_own_digest_only() {
        let state = tempfile::tempdir().unwrap();
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        cache(state.path()).put(&one, b"code of one");
        let cache = cache(state.path());
        assert_eq!(cache.get(&one).unwrap(), b"code of one");
        assert_eq!(cache.get(&other), None);
        // The file of one, with its right MAC, in the place of the other.
        std::fs::rename(cache.path(&one), cache.path(&other)).unwrap();
        assert_eq!(cache.get(&other), None);
        assert!(!cache.path(&other).exists(), "it is deleted");
    }

    #[test]
    fn a_file_that_was_changed_cut_or_made_elsewhere_is_deleted() {
        let (state, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let digest = Digest::of(b"x");
        let forge: [&dyn Fn(&Path); 4] = [
            &|path| {
                let mut bytes = std::fs::read(path).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                private::write(path, &[&bytes]).unwrap();
            },
            &|path| private::write(path, &[b"short"]).unwrap(),
            &|path| {
                cache(elsewhere.path()).put(&digest, b"code");
                std::fs::copy(cache(elsewhere.path()).path(&digest), path).unwrap();
            },
            &|path| {
                use std::os::unix::fs::PermissionsExt as _;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
            },
        ];
        for forge in forge {
            let cache = cache(state.path());
            cache.put(&digest, b"code");
            assert!(cache.get(&digest).is_some());
            forge(&cache.path(&digest));
            assert_eq!(cache.get(&digest), None);
            assert!(!cache.path(&digest).exists());
        }
    }

    #[test]
    fn a_new_key_makes_everything_old_worthless() {
        let state = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"x");
        cache(state.path()).put(&digest, b"code");
        std::fs::write(state.path().join(KEY_FILE), b"too short").unwrap();
        assert_eq!(cache(state.path()).get(&digest), None);
    }

    #[test]
    fn the_oldest_files_leave() {
        let state = tempfile::tempdir().unwrap();
        let cache = cache(state.path());
        let digest = |n: usize| Digest::of(n.to_string().as_bytes());
        for n in 0..FILES + 3 {
            cache.put(&digest(n), b"code");
            let age = std::time::Duration::from_secs(1000 - n as u64);
            let file = std::fs::File::options().append(true).open(cache.path(&digest(n))).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        cache.put(&digest(FILES + 3), b"code");
        assert_eq!(std::fs::read_dir(&cache.folder).unwrap().count(), FILES);
        assert_eq!(cache.get(&digest(0)), None);
        assert!(cache.get(&digest(FILES + 2)).is_some());
    }

    #[test]
    fn the_name_has_the_version_that_is_built_in() {
        let manifest = include_str!("../../../../Cargo.toml");
        assert!(manifest.contains(&format!("wasmtime = {{ version = \"={WASMTIME}\"")));
    }

    #[test]
    fn an_engine_of_other_settings_has_other_names() {
        let state = tempfile::tempdir().unwrap();
        let mut config = wasmtime::Config::new();
        config.consume_fuel(true);
        let other = CodeCache::open(state.path(), &Engine::new(&config).unwrap()).unwrap();
        assert_ne!(cache(state.path()).engine, other.engine);
    }
}
