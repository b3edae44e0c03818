//! How far the store was seen to be in this boot, kept beside the CNI socket, outside the state folder: a store that
//! comes back older, or as another one, has gone back in time, and containers may hold what it does not know of.
//!
//! It is written some seconds after a change and at a stop, so that it may lag behind the store, never run ahead of it.
//! A new epoch is noted only once it is known what is alive: a daemon that stops before begins as one that went back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tenure_engine::Engine;
use tenure_store::{Identity, Store};

const FILE: &str = "store-seen.json";
/// A restore of something older than this is noticed.
const PERIOD: Duration = Duration::from_secs(5);

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    boot: String,
    store: String,
    epoch: u64,
    revision: u64,
}

/// Keeps the mark of one store.
pub(crate) struct HighWater {
    path: PathBuf,
    boot: String,
}

// === impl HighWater ===

impl HighWater {
    pub(crate) fn beside(socket: &Path, boot: String) -> Self {
        Self { path: socket.with_file_name(FILE), boot }
    }

    /// Why the store is known to have gone back in time; none if it is not.
    pub(crate) fn went_back(&self, store: &Identity) -> Option<String> {
        let seen: Seen = match fs::read(&self.path).map(|bytes| serde_json::from_slice(&bytes)) {
            Ok(Ok(seen)) => seen,
            Ok(Err(error)) => {
                tracing::warn!(%error, path = %self.path.display(), "what was seen of the store cannot be read");
                return None;
            }
            Err(_) => return None,
        };
        if seen.boot != self.boot {
            return None;
        }
        if seen.store != store.store_id {
            return Some(format!(
                "another store was in use since the machine started (id {}, this one is {})",
                seen.store, store.store_id
            ));
        }
        let (then, now) = ((seen.epoch, seen.revision), (store.epoch.0, store.revision.0));
        if now.0 > then.0 {
            return Some(format!(
                "the store began a new life (epoch {}), and it was not found out yet what is alive",
                now.0
            ));
        }
        (now < then).then(|| {
            format!(
                "the store has gone back in time: it is at epoch {}, revision {}, and was at epoch {}, revision {}",
                now.0, now.1, then.0, then.1
            )
        })
    }

    /// Notes how far the store is now, if the engine knows what is alive.
    pub(crate) fn note_if_known(&self, engine: &Engine, store: &Identity) {
        if engine.knows_what_lives() {
            self.note(store);
        }
    }

    fn note(&self, store: &Identity) {
        let seen = Seen {
            boot: self.boot.clone(),
            store: store.store_id.clone(),
            epoch: store.epoch.0,
            revision: store.revision.0,
        };
        let fresh = self.path.with_extension("new");
        let write = || -> std::io::Result<()> {
            fs::write(&fresh, serde_json::to_vec(&seen)?)?;
            fs::rename(&fresh, &self.path)
        };
        if let Err(error) = write() {
            tracing::warn!(%error, path = %self.path.display(), "how far the store is could not be noted");
        }
    }

    /// Notes it again and again while it changes.
    pub(crate) async fn note_forever(self: Arc<Self>, store: Arc<dyn Store>, engine: Arc<Engine>) {
        let mut last = None;
        loop {
            tokio::time::sleep(PERIOD).await;
            let now = store.identity();
            let mark = (now.epoch, now.revision);
            // An import that comes after this line has another epoch than `now`.
            if last != Some(mark) && engine.knows_what_lives() {
                let (keeper, identity) = (self.clone(), now);
                // An error is a panic in there, which was reported.
                let _ = tokio::task::spawn_blocking(move || keeper.note(&identity)).await;
                last = Some(mark);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tenure_core::lease::Epoch;
    use tenure_store::Revision;

    use super::*;

    fn store(id: &str, epoch: u64, revision: u64) -> Identity {
        let (epoch, revision) = (Epoch(epoch), Revision(revision));
        Identity { store_id: id.into(), epoch, revision, fresh: false }
    }

    #[test]
    fn an_older_or_another_store_in_the_same_boot_has_gone_back() {
        let folder = tempfile::tempdir().unwrap();
        let mark = |boot: &str| HighWater::beside(&folder.path().join("cni.sock"), boot.into());
        let here = mark("boot-1");
        assert_eq!(here.went_back(&store("a", 1, 10)), None, "nothing was ever seen");
        here.note(&store("a", 2, 10));
        for same in [store("a", 2, 10), store("a", 2, 11)] {
            assert_eq!(here.went_back(&same), None);
        }
        for older in [store("a", 2, 9), store("a", 1, 99), store("b", 9, 99)] {
            assert!(here.went_back(&older).is_some(), "{older:?}");
        }
        assert!(here.went_back(&store("a", 3, 1)).is_some(), "an import nobody looked after");
        // Nothing of an earlier boot lives.
        assert_eq!(mark("boot-2").went_back(&store("b", 1, 1)), None);
    }
}
