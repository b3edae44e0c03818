//! Any store, under the test's hand: calls that wait at a gate, fail, or end without an answer. Shared
//! ([`SimStore::share`]), the test is the others as well: it writes the store behind, and tells the engine, or not.
//!
//! ```text
//! read: (noise) -> gate reads -> the store -> answer
//! commit, import: begun -> (noise) -> gate before -> the store -> log -> gate after -> answer
//! ```
//!
//! The store behind it is waited for on the spot: whatever threads it has, every call here ends at the same point of
//! a run.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;
use tenure_core::lease::{Epoch, Lease, LeaseKey};
use tenure_core::name::ObjectName;
use tenure_core::objects::{Object, ObjectKind};
use tenure_store::{
    BoxFuture, Change, Changes, Contents, Fault, Identity, ImportMode, Listing, Revision, Row,
    Selection, Shown, Store, StoreError, Write,
};
use tokio::sync::{Notify, mpsc};

use crate::{HandClock, Times};

/// Where calls are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Nowhere.
    Open,
    /// Before they check anything.
    Before,
    /// When they are durable and not yet answered.
    After,
    /// Not commits: reads of rows.
    Reads,
}

/// Something that became durable.
#[derive(Debug, Clone)]
pub enum Event {
    /// Rows were written, all in one commit.
    Committed {
        /// When.
        at: Times,
        /// Which, and what stands there now; none where the row was deleted.
        rows: Vec<(LeaseKey, Option<Lease>)>,
    },
    /// The store holds something else altogether.
    Imported {
        /// When.
        at: Times,
        /// The life that begins.
        epoch: Epoch,
        /// All its rows.
        rows: Vec<Lease>,
    },
}

/// A store under the test's hand.
pub struct SimStore {
    inner: Mutex<Arc<dyn Store>>,
    clock: Arc<HandClock>,
    state: Mutex<State>,
    opened: Notify,
    activity: AtomicU64,
}

struct State {
    gate: Gate,
    /// Commits begun since the store was made.
    begun: u64,
    faults: BTreeMap<u64, Fault>,
    /// Faults that came true.
    failed: u64,
    /// Commits under way; their writes until the store has them.
    waiting: BTreeMap<u64, Option<Vec<Write>>>,
    reads_fail: bool,
    /// Reads at the gate.
    reads_waiting: usize,
    /// The state of the generator that lets others get in between, if that is wanted.
    noise: Option<u64>,
    log: Vec<Event>,
    /// What the engine will hear, until it listens.
    changes: Option<Changes>,
    /// Others write it as well.
    is_shared: bool,
    /// Live lists of a pool that were asked for.
    lists: u64,
    /// What operators were shown.
    shown: Vec<Vec<Shown>>,
}

// === impl SimStore ===

impl SimStore {
    /// Puts a store under the test's hand.
    pub fn new(inner: Arc<dyn Store>, clock: Arc<HandClock>) -> Self {
        let state = State {
            gate: Gate::Open,
            begun: 0,
            faults: BTreeMap::new(),
            failed: 0,
            waiting: BTreeMap::new(),
            reads_fail: false,
            reads_waiting: 0,
            noise: None,
            log: Vec::new(),
            changes: None,
            is_shared: false,
            lists: 0,
            shown: Vec::new(),
        };
        Self {
            inner: Mutex::new(inner),
            clock,
            state: Mutex::new(state),
            opened: Notify::new(),
            activity: AtomicU64::new(0),
        }
    }

    /// Others write this store from now on: pools are listed, and the engine that starts to follow hears what is sent here.
    pub fn share(&self) -> mpsc::Sender<Change> {
        let (sender, changes) = mpsc::channel(64);
        let mut state = self.state.lock();
        state.is_shared = true;
        state.changes = Some(changes);
        sender
    }

    /// How many live lists were asked for.
    pub fn lists(&self) -> u64 {
        self.state.lock().lists
    }

    /// What operators were shown since the last call, in order.
    pub fn take_shown(&self) -> Vec<Vec<Shown>> {
        std::mem::take(&mut self.state.lock().shown)
    }

    /// Holds calls back from now on, or lets all go that wait.
    pub fn set_gate(&self, gate: Gate) {
        self.state.lock().gate = gate;
        self.opened.notify_waiters();
    }

    /// Makes the `nth` commit from now (1 is the next) end with `fault`.
    pub fn fail_commit(&self, nth: u64, fault: Fault) {
        let mut state = self.state.lock();
        let at = state.begun + nth;
        state.faults.insert(at, fault);
    }

    /// No commit fails any more.
    pub fn heal(&self) {
        self.state.lock().faults.clear();
    }

    /// Whether a commit to come shall fail.
    pub fn will_fail(&self) -> bool {
        !self.state.lock().faults.is_empty()
    }

    /// How many commits have failed as asked.
    pub fn failed(&self) -> u64 {
        self.state.lock().failed
    }

    /// Reads of single rows fail, or no longer.
    pub fn fail_reads(&self, fail: bool) {
        self.state.lock().reads_fail = fail;
    }

    /// Lets others get in between at every call, as often as this seed says; none lets nobody.
    pub fn set_noise(&self, seed: Option<u64>) {
        self.state.lock().noise = seed.map(|seed| seed | 1);
    }

    /// Commits and imports that have begun and not ended.
    pub fn under_way(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Reads that wait at the gate.
    pub fn reads_waiting(&self) -> usize {
        self.state.lock().reads_waiting
    }

    /// Whether nobody is under way here.
    pub fn is_idle(&self) -> bool {
        let state = self.state.lock();
        state.waiting.is_empty() && state.reads_waiting == 0
    }

    /// Grows with whatever happens here: standing still, it says that everybody waits.
    pub fn activity(&self) -> u64 {
        self.activity.load(Ordering::Relaxed)
    }

    /// What became durable since the last call, in order.
    pub fn take_log(&self) -> Vec<Event> {
        std::mem::take(&mut self.state.lock().log)
    }

    /// The process dies. Commits that waited at the gate before are lost, or were sent in the last moment.
    pub fn crash(&self, sent: bool) {
        let waiting = {
            let mut state = self.state.lock();
            state.gate = Gate::Open;
            state.faults.clear();
            std::mem::take(&mut state.waiting)
        };
        for writes in waiting.into_values().flatten().filter(|_| sent) {
            // One whose condition does not hold any more is refused, as it would have been.
            let _ = self.write(writes);
        }
    }

    /// Somebody puts an export in the place of all that the store holds.
    ///
    /// # Errors
    /// As the store behind.
    pub fn restore(&self, contents: Contents) -> Result<(), StoreError> {
        self.replace(contents, ImportMode::Replace).map(drop)
    }

    /// The store behind is opened again.
    pub fn reopen(&self, open: impl FnOnce() -> Arc<dyn Store>) {
        let mut inner = self.inner.lock();
        // The old one lets go of its disk first.
        *inner = Arc::new(tenure_store::MemoryStore::new());
        *inner = open();
    }

    /// The store behind.
    pub fn inner(&self) -> Arc<dyn Store> {
        self.inner.lock().clone()
    }

    fn write(&self, writes: Vec<Write>) -> Result<Vec<Revision>, StoreError> {
        let revisions = wait(self.inner().commit(writes.clone()))?;
        let rows = writes.into_iter().map(|write| (write.key(), write.lease().cloned()));
        let event = Event::Committed { at: self.clock.times(), rows: rows.collect() };
        self.state.lock().log.push(event);
        Ok(revisions)
    }

    fn replace(&self, contents: Contents, mode: ImportMode) -> Result<Identity, StoreError> {
        let identity = wait(self.inner().import(contents, mode))?;
        let mut rows = Vec::new();
        self.scan(&mut |row| rows.push(row.lease))?;
        let event = Event::Imported { at: self.clock.times(), epoch: identity.epoch, rows };
        self.state.lock().log.push(event);
        Ok(identity)
    }

    async fn commit_now(&self, writes: Vec<Write>) -> Result<Vec<Revision>, StoreError> {
        let (number, fault) = self.begin(&writes);
        self.let_others().await;
        self.pass_gate(Gate::Before).await;
        let answer = match fault {
            Some(Fault::Io) => Err(io("writing to the store")),
            Some(Fault::Overloaded) => Err(StoreError::Overloaded { bound: 0 }),
            Some(Fault::UnknownLost) => Err(unknown()),
            Some(Fault::UnknownDone) => self.write(writes).and(Err(unknown())),
            Some(Fault::UnknownPart) => {
                self.write(writes.into_iter().take(1).collect()).and(Err(unknown()))
            }
            None => self.write(writes),
        };
        self.sent(number);
        self.pass_gate(Gate::After).await;
        self.state.lock().waiting.remove(&number);
        answer
    }

    fn begin(&self, writes: &[Write]) -> (u64, Option<Fault>) {
        self.note();
        let mut state = self.state.lock();
        state.begun += 1;
        let number = state.begun;
        let fault = state.faults.remove(&number);
        state.failed += u64::from(fault.is_some());
        let lost = matches!(fault, Some(Fault::Io | Fault::Overloaded | Fault::UnknownLost));
        state.waiting.insert(number, (!lost).then(|| writes.to_vec()));
        (number, fault)
    }

    fn sent(&self, number: u64) {
        if let Some(writes) = self.state.lock().waiting.get_mut(&number) {
            *writes = None;
        }
    }

    async fn pass_gate(&self, gate: Gate) {
        loop {
            let opened = self.opened.notified();
            if self.state.lock().gate != gate {
                self.note();
                return;
            }
            opened.await;
        }
    }

    /// Steps back for a moment, so that whoever else is under way comes first.
    async fn let_others(&self) {
        let times = {
            let mut state = self.state.lock();
            let Some(noise) = state.noise.as_mut() else { return };
            *noise ^= *noise << 13;
            *noise ^= *noise >> 7;
            *noise ^= *noise << 17;
            *noise % 3
        };
        for _ in 0..times {
            self.note();
            tokio::task::yield_now().await;
        }
    }

    fn note(&self) {
        self.activity.fetch_add(1, Ordering::Relaxed);
    }
}

impl Store for SimStore {
    fn identity(&self) -> Identity {
        self.inner().identity()
    }

    fn scan(&self, each: &mut dyn FnMut(Row)) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        self.inner().scan(&mut |row| rows.push(row))?;
        rows.sort_by(|a, b| {
            (&a.lease.space, a.lease.address).cmp(&(&b.lease.space, b.lease.address))
        });
        rows.into_iter().for_each(each);
        Ok(())
    }

    fn get<'a>(&'a self, key: &'a LeaseKey) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        Box::pin(async move {
            self.note();
            self.let_others().await;
            let waits = Waits::new(self);
            self.pass_gate(Gate::Reads).await;
            drop(waits);
            if self.state.lock().reads_fail {
                return Err(io("reading the store"));
            }
            wait(self.inner().get(key))
        })
    }

    fn changes(&self) -> Option<Changes> {
        self.state.lock().changes.take()
    }

    fn list<'a>(
        &'a self,
        selection: &'a Selection,
    ) -> BoxFuture<'a, Result<Option<Listing>, StoreError>> {
        Box::pin(async move {
            if !self.state.lock().is_shared {
                return Ok(None);
            }
            self.note();
            self.state.lock().lists += 1;
            // Its moment is before the gate: the answer is what waits there.
            let (revision, mut rows) = (self.identity().revision, Vec::new());
            self.scan(&mut |row| rows.push(row))?;
            rows.retain(|Row { lease, .. }| match selection {
                Selection::Pool(pool) => lease.pool == *pool,
                Selection::Attachment(attachment) => lease.attachment == *attachment,
                Selection::Node(node) => *lease.node.name == **node,
                Selection::Key { network, ifname, family, key } => {
                    let at = &lease.attachment;
                    (&at.network, &at.ifname, lease.key().family()) == (network, ifname, *family)
                        && lease.sticky.as_ref().is_some_and(|sticky| *sticky.key == **key)
                }
            });
            let waits = Waits::new(self);
            self.pass_gate(Gate::Reads).await;
            drop(waits);
            if self.state.lock().reads_fail {
                return Err(io("listing a pool"));
            }
            Ok(Some(Listing { revision, rows }))
        })
    }

    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Vec<Revision>, StoreError>> {
        Box::pin(self.commit_now(writes))
    }

    fn show(&self, shown: Vec<Shown>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.state.lock().shown.push(shown);
        Box::pin(std::future::ready(Ok(())))
    }

    fn objects(&self) -> Result<Vec<Object>, StoreError> {
        self.inner().objects()
    }

    fn put_objects(&self, objects: Vec<Object>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { wait(self.inner().put_objects(objects)) })
    }

    fn delete_object<'a>(
        &'a self,
        kind: ObjectKind,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { wait(self.inner().delete_object(kind, name)) })
    }

    fn import(
        &self,
        contents: Contents,
        mode: ImportMode,
    ) -> BoxFuture<'_, Result<Identity, StoreError>> {
        Box::pin(async move {
            let (number, _) = self.begin(&[]);
            self.pass_gate(Gate::Before).await;
            let outcome = self.replace(contents, mode);
            self.pass_gate(Gate::After).await;
            self.state.lock().waiting.remove(&number);
            outcome
        })
    }

    fn raise_epoch(&self) -> BoxFuture<'_, Result<Epoch, StoreError>> {
        Box::pin(async move { wait(self.inner().raise_epoch()) })
    }

    fn health(&self) -> Result<(), StoreError> {
        self.inner().health()
    }
}

/// A read that may wait, counted for as long as its caller does.
struct Waits<'a>(&'a SimStore);

impl<'a> Waits<'a> {
    fn new(store: &'a SimStore) -> Self {
        store.state.lock().reads_waiting += 1;
        Self(store)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.state.lock().reads_waiting -= 1;
    }
}

impl std::fmt::Debug for SimStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimStore").field("under_way", &self.under_way()).finish_non_exhaustive()
    }
}

fn io(act: &'static str) -> StoreError {
    StoreError::Io { act, why: "the test asked for it".to_owned() }
}

fn unknown() -> StoreError {
    StoreError::Unknown { act: "writing to the store", why: "the test asked for it".to_owned() }
}

/// Waits for a future on this very thread, whatever thread ends it.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
