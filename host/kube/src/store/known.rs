//! Rows as they were last written, read or heard of: full records, so that a row can be replaced without reading it first.
//!
//! It is memory and never the truth: whoever replaces a row says which version, and the API server compares.

use std::collections::HashSet;
use std::sync::Arc;

use indexmap::IndexMap;
use parking_lot::Mutex;
use tenure_core::lease::LeaseKey;
use tenure_store::{Packed, Revision, Row};

/// Rows that are remembered (I12): some half a kilobyte each. Beyond it all are forgotten, and a write of such a row costs a read.
const BOUND: usize = 100_000;

/// The rows. Written by every answer of the API server and by the feed, read by writes; held for microseconds.
#[derive(Debug, Default)]
pub(super) struct Known {
    rows: Mutex<IndexMap<LeaseKey, One>>,
}

/// A row and its uid.
type One = (Packed, Arc<str>);

impl Known {
    /// A row and its uid. What is known in a higher revision stays.
    pub(super) fn learn(&self, row: &Row, uid: &Arc<str>) {
        let Some(packed) = Packed::of(row) else { return };
        let key = row.lease.key();
        let mut rows = self.rows.lock();
        match rows.get(&key) {
            Some((known, _)) if known.revision > row.revision => return,
            Some(_) => {}
            None if rows.len() >= BOUND => rows.clear(),
            None => {}
        }
        rows.insert(key, (packed, uid.clone()));
    }

    /// Nothing is known of it any more.
    pub(super) fn forget(&self, key: &LeaseKey) {
        self.rows.lock().swap_remove(key);
    }

    /// Nothing is known any more.
    pub(super) fn clear(&self) {
        self.rows.lock().clear();
    }

    /// The row of this revision, and any before it, is gone.
    pub(super) fn gone(&self, key: &LeaseKey, revision: Revision) {
        let mut rows = self.rows.lock();
        if rows.get(key).is_some_and(|(known, _)| known.revision <= revision) {
            rows.swap_remove(key);
        }
    }

    /// At this revision only these addresses had rows.
    pub(super) fn listed(&self, revision: Revision, keys: &HashSet<LeaseKey>) {
        let mut rows = self.rows.lock();
        rows.retain(|key, (known, _)| known.revision > revision || keys.contains(key));
    }

    /// The version in which it is known.
    pub(super) fn revision(&self, key: &LeaseKey) -> Option<Revision> {
        self.rows.lock().get(key).map(|(row, _)| row.revision)
    }

    /// The row, if it is known in exactly this version.
    pub(super) fn row(&self, key: &LeaseKey, revision: Revision) -> Option<Arc<Row>> {
        let packed = {
            let rows = self.rows.lock();
            rows.get(key).map(|(row, _)| row).filter(|row| row.revision == revision).cloned()?
        };
        packed.row(key).map(Arc::new)
    }

    /// Its uid, under the same condition.
    pub(super) fn uid(&self, key: &LeaseKey, revision: Revision) -> Option<Arc<str>> {
        let rows = self.rows.lock();
        rows.get(key).filter(|(row, _)| row.revision == revision).map(|(_, uid)| uid.clone())
    }
}

#[cfg(test)]
mod tests {
    use tenure_core::lease::Generation;
    use tenure_store::contract::samples::nth;

    use super::*;

    fn row(revision: u64) -> Row {
        let lease = tenure_core::lease::Lease { generation: Generation(revision), ..nth(1) };
        Row { lease, revision: Revision(revision) }
    }

    #[test]
    fn it_remembers_the_newest_version_and_answers_for_no_other() {
        let (known, uid, key) = (Known::default(), Arc::from("uid"), nth(1).key());
        for revision in [4, 7, 5] {
            known.learn(&row(revision), &uid);
        }
        assert_eq!(known.row(&key, Revision(7)), Some(Arc::new(row(7))));
        assert_eq!(known.row(&key, Revision(5)), None);
        known.gone(&key, Revision(6));
        known.listed(Revision(6), &HashSet::new());
        assert!(known.uid(&key, Revision(7)).is_some(), "both speak of what was before");
        known.listed(Revision(7), &HashSet::from([key.clone()]));
        assert!(known.uid(&key, Revision(7)).is_some());
        known.listed(Revision(8), &HashSet::new());
        assert_eq!(known.row(&key, Revision(7)), None);
    }
}
