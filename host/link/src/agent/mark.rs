//! How far the store was seen to be, kept in the state folder: an allocator that starts after etcd was restored learns from
//! the first agent that the store went back in time.

use std::fs;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::messages::StoreMark;

const FILE: &str = "store-seen.json";

/// The mark of this node.
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    seen: Mutex<Option<StoreMark>>,
}

// === impl Mark ===

impl Mark {
    /// Reads what an earlier process has left. What cannot be read is as if there were none.
    pub(super) fn open(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let seen = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { path, seen: Mutex::new(seen) }
    }

    pub(super) fn seen(&self) -> Option<StoreMark> {
        self.seen.lock().clone()
    }

    /// An allocator says how far the store is. Another store, or another life of it, is believed: whoever began it has learned
    /// what is alive. What is less far in the same life is told by a replica that lags behind.
    pub(super) fn note(&self, now: StoreMark) {
        let mut seen = self.seen.lock();
        let now = match &*seen {
            Some(seen) if (&seen.store, seen.epoch) == (&now.store, now.epoch) => StoreMark {
                revision: now.revision.max(seen.revision),
                ticks: now.ticks.max(seen.ticks),
                ..now
            },
            Some(seen) if seen.store == now.store && seen.epoch > now.epoch => return,
            _ => now,
        };
        if seen.as_ref() == Some(&now) {
            return;
        }
        // Not fsynced: what is lost with the machine is of a boot that is over.
        let fresh = self.path.with_extension("new");
        let written = serde_json::to_vec(&now).map_err(std::io::Error::other);
        let written = written
            .and_then(|text| fs::write(&fresh, text))
            .and_then(|()| fs::rename(&fresh, &self.path));
        if let Err(error) = written {
            tracing::warn!(%error, path = %self.path.display(), "how far the store is cannot be noted");
        }
        *seen = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_further_on_is_noted_and_the_next_process_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let mark = |store: &str, epoch, revision, ticks| StoreMark {
            store: store.to_owned(),
            epoch,
            revision,
            ticks,
        };
        let kept = Mark::open(folder.path());
        for (now, noted) in [
            (mark("a", 1, 10, 5), mark("a", 1, 10, 5)),
            (mark("a", 1, 9, 5), mark("a", 1, 10, 5)),
            (mark("a", 1, 9, 6), mark("a", 1, 10, 6)),
            (mark("a", 2, 3, 1), mark("a", 2, 3, 1)),
            (mark("a", 1, 99, 99), mark("a", 2, 3, 1)),
            (mark("b", 1, 1, 0), mark("b", 1, 1, 0)),
        ] {
            kept.note(now);
            assert_eq!(kept.seen(), Some(noted.clone()));
            assert_eq!(Mark::open(folder.path()).seen(), Some(noted));
        }
    }
}
