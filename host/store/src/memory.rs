//! The engine that keeps nothing: same answers as the real ones, for tests and trial runs.
//!
//! Tests of the engine above can ask it to fail: [`MemoryStore::fail_commit`] picks a commit and how it
//! ends, [`MemoryStore::hold`] stops all commits until the guard is dropped.

mod log;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tenure_core::history::{EVENTS_KEPT, Entry, Kept};
use tenure_core::lease::{Epoch, Lease, LeaseKey};
use tenure_core::name::ObjectName;
use tenure_core::objects::{Object, ObjectKind};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, watch};

use self::log::Log;
use crate::conditions::{epoch_after, plan};
use crate::gaps;
use crate::port::{
    BoxFuture, Contents, Identity, ImportMode, Revision, Row, Store, StoreError, Write,
};

/// How a chosen commit ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// [`StoreError::Io`]; nothing was written.
    Io,
    /// [`StoreError::Overloaded`]; nothing was written.
    Overloaded,
    /// [`StoreError::Unknown`], and the writes were lost.
    UnknownLost,
    /// [`StoreError::Unknown`], and the writes happened.
    UnknownDone,
    /// [`StoreError::Unknown`], and only the first of the writes happened, as a store without transactions can end.
    UnknownPart,
}

/// Stops commits for as long as it lives.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "it acts by being held")] OwnedRwLockWriteGuard<()>);

/// A store in memory. Nothing survives it.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    gate: Arc<RwLock<()>>,
    begun: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    rows: HashMap<LeaseKey, Row>,
    log: Log,
    objects: BTreeMap<(ObjectKind, ObjectName), Object>,
    epoch: Epoch,
    last: Revision,
    faults: BTreeMap<u64, Fault>,
    broken: Option<StoreError>,
}

// === impl MemoryStore ===

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store in its first epoch.
    #[must_use]
    pub fn new() -> Self {
        Self::keeping(EVENTS_KEPT)
    }

    /// The same with so many entries in its history at most; 0: none.
    #[must_use]
    pub fn keeping(history_events: u64) -> Self {
        Self {
            state: Mutex::new(State::new(Log::keeping(history_events))),
            gate: Arc::default(),
            begun: watch::Sender::new(0),
        }
    }

    /// Makes the `nth` commit from now (1 is the next) end with `fault`.
    pub fn fail_commit(&self, nth: u64, fault: Fault) {
        let at = self.begun.borrow().saturating_add(nth);
        self.state.lock().faults.insert(at, fault);
    }

    /// Stops commits before they check anything, until the guard is dropped. Waits for those under way.
    pub async fn hold(&self) -> Hold {
        Hold(Arc::clone(&self.gate).write_owned().await)
    }

    /// Resolves once `count` commits have begun since the store was made, held ones included.
    pub async fn until_begun(&self, count: u64) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.begun.subscribe().wait_for(|begun| *begun >= count).await;
    }

    /// Makes [`Store::health`] answer `error`; `None` heals it.
    pub fn set_health(&self, error: Option<StoreError>) {
        self.state.lock().broken = error;
    }

    async fn commit_now(&self, mut writes: Vec<Write>) -> Result<Vec<Revision>, StoreError> {
        let mut number = 0;
        self.begun.send_modify(|begun| {
            *begun = begun.saturating_add(1);
            number = *begun;
        });
        let _open = self.gate.read().await;
        let mut state = self.state.lock();
        let fault = state.faults.remove(&number);
        match fault {
            Some(Fault::Io) => return Err(io()),
            Some(Fault::Overloaded) => return Err(StoreError::Overloaded { bound: 0 }),
            Some(Fault::UnknownLost) => return Err(unknown()),
            Some(Fault::UnknownPart) => writes.truncate(1),
            Some(Fault::UnknownDone) | None => {}
        }
        let answer = state.commit(writes)?;
        if fault.is_some() { Err(unknown()) } else { Ok(answer) }
    }
}

impl Store for MemoryStore {
    fn identity(&self) -> Identity {
        self.state.lock().identity()
    }

    fn scan(&self, each: &mut dyn FnMut(Row)) -> Result<(), StoreError> {
        let rows: Vec<Row> = self.state.lock().rows.values().cloned().collect();
        rows.into_iter().for_each(each);
        Ok(())
    }

    fn get<'a>(&'a self, key: &'a LeaseKey) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        Box::pin(async move { Ok(self.state.lock().rows.get(key).cloned()) })
    }

    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Vec<Revision>, StoreError>> {
        Box::pin(self.commit_now(writes))
    }

    fn history(
        &self,
        of: Option<&LeaseKey>,
        each: &mut dyn FnMut(Entry),
    ) -> Result<Kept, StoreError> {
        let (entries, kept) = {
            let state = self.state.lock();
            (state.log.entries(of), state.log.kept())
        };
        entries.into_iter().for_each(each);
        Ok(kept)
    }

    fn objects(&self) -> Result<Vec<Object>, StoreError> {
        Ok(self.state.lock().objects.values().cloned().collect())
    }

    fn put_objects(&self, objects: Vec<Object>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.state.lock().put_objects(objects);
            Ok(())
        })
    }

    fn delete_object<'a>(
        &'a self,
        kind: ObjectKind,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(
            async move { Ok(self.state.lock().objects.remove(&(kind, name.clone())).is_some()) },
        )
    }

    fn import(
        &self,
        contents: Contents,
        mode: ImportMode,
    ) -> BoxFuture<'_, Result<Identity, StoreError>> {
        Box::pin(async move { self.state.lock().import(contents, mode) })
    }

    fn raise_epoch(&self) -> BoxFuture<'_, Result<Epoch, StoreError>> {
        Box::pin(async move {
            let mut state = self.state.lock();
            state.epoch = epoch_after(state.epoch);
            let last = state.log.last_at();
            state.tell(|seq| Entry::Gap(gaps::after_going_back(last, seq)));
            Ok(state.epoch)
        })
    }

    fn health(&self) -> Result<(), StoreError> {
        self.state.lock().broken.clone().map_or(Ok(()), Err)
    }
}

// === impl State ===

impl State {
    fn new(log: Log) -> Self {
        Self {
            rows: HashMap::new(),
            log,
            objects: BTreeMap::new(),
            epoch: Epoch(1),
            last: Revision(0),
            faults: BTreeMap::new(),
            broken: None,
        }
    }

    fn tell(&mut self, entry: impl FnOnce(u64) -> Entry) {
        if let Some(seq) = self.log.next() {
            self.log.append(entry(seq));
        }
    }

    fn identity(&self) -> Identity {
        Identity {
            store_id: "memory".to_owned(),
            epoch: self.epoch,
            revision: self.last,
            fresh: true,
        }
    }

    fn commit(&mut self, writes: Vec<Write>) -> Result<Vec<Revision>, StoreError> {
        let stored = |key: &LeaseKey| Ok(self.rows.get(key).cloned());
        let plan = plan(writes, self.last, self.log.next(), stored)?;
        for (key, row) in plan.changes {
            match row {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
        self.last = plan.last;
        plan.events.into_iter().for_each(|event| self.log.append(Entry::Event(event)));
        Ok(plan.answer)
    }

    fn put_objects(&mut self, objects: Vec<Object>) {
        for object in objects {
            self.last = self.last.next();
            self.objects.insert((object.kind(), object.name().clone()), object);
        }
    }

    fn import(&mut self, contents: Contents, mode: ImportMode) -> Result<Identity, StoreError> {
        let (leases, objects) = (self.rows.len() as u64, self.objects.len() as u64);
        if mode == ImportMode::IntoEmpty && (leases, objects) != (0, 0) {
            return Err(StoreError::NotEmpty { leases, objects });
        }
        self.rows.clear();
        self.objects.clear();
        self.epoch = epoch_after(self.epoch.max(contents.epoch));
        self.last = self.last.max(contents.revision);
        self.log.replace(contents.history.as_ref());
        self.tell(|seq| Entry::Gap(gaps::after_import(contents.history.as_ref(), seq)));
        self.put_objects(contents.objects);
        for lease in contents.leases {
            self.put_lease(lease);
        }
        Ok(self.identity())
    }

    fn put_lease(&mut self, lease: Lease) {
        self.last = self.last.next();
        self.rows.insert(lease.key(), Row { lease, revision: self.last });
    }
}

fn io() -> StoreError {
    StoreError::Io { act: "writing to memory", why: "a test asked for it".to_owned() }
}

fn unknown() -> StoreError {
    StoreError::Unknown { act: "writing to memory", why: "a test asked for it".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Harness;
    use crate::contract::samples::nth;

    #[derive(Default)]
    struct InMemory;

    impl Harness for InMemory {
        type Store = MemoryStore;
        fn open(&self) -> MemoryStore {
            MemoryStore::new()
        }
        fn open_keeping(&self, history_events: u64) -> MemoryStore {
            MemoryStore::keeping(history_events)
        }
    }

    crate::store_contract!(InMemory);
    crate::history_contract!(InMemory);

    async fn outcome(fault: Fault) -> (Result<Vec<Revision>, StoreError>, bool) {
        let store = MemoryStore::new();
        store.fail_commit(2, fault);
        store.commit(vec![Write::Create(nth(1))]).await.unwrap();
        let second = store.commit(vec![Write::Create(nth(2))]).await;
        store.commit(vec![Write::Create(nth(3))]).await.unwrap();
        (second, store.get(&nth(2).key()).await.unwrap().is_some())
    }

    #[tokio::test]
    async fn the_chosen_commit_fails_as_asked_and_no_other() {
        assert!(matches!(outcome(Fault::Io).await, (Err(StoreError::Io { .. }), false)));
        assert!(matches!(
            outcome(Fault::Overloaded).await,
            (Err(StoreError::Overloaded { .. }), false)
        ));
        assert!(matches!(
            outcome(Fault::UnknownLost).await,
            (Err(StoreError::Unknown { .. }), false)
        ));
        assert!(matches!(
            outcome(Fault::UnknownDone).await,
            (Err(StoreError::Unknown { .. }), true)
        ));
    }

    #[tokio::test]
    async fn a_held_commit_goes_on_when_the_hold_is_dropped() {
        let store = Arc::new(MemoryStore::new());
        let hold = store.hold().await;
        let held = Arc::clone(&store);
        let commit = tokio::spawn(async move { held.commit(vec![Write::Create(nth(1))]).await });
        store.until_begun(1).await;
        assert_eq!(store.get(&nth(1).key()).await.unwrap(), None);
        drop(hold);
        commit.await.unwrap().unwrap();
        assert!(store.get(&nth(1).key()).await.unwrap().is_some());
    }
}
