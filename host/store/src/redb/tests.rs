//! The engine against the contract, and what only a file can do.

use tempfile::TempDir;

use super::*;
use crate::contract::Harness;

struct OnDisk(TempDir);

impl Default for OnDisk {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Harness for OnDisk {
    type Store = RedbStore;
    fn open(&self) -> RedbStore {
        RedbStore::open(self.0.path(), &RedbOptions::default()).unwrap()
    }
    fn open_keeping(&self, history_events: u64) -> RedbStore {
        let options = RedbOptions { history_events, ..RedbOptions::default() };
        RedbStore::open(self.0.path(), &options).unwrap()
    }
}

crate::store_contract!(OnDisk);
crate::durable_store_contract!(OnDisk);
crate::history_contract!(OnDisk);
crate::durable_history_contract!(OnDisk);
