//! What follows a DEL: the end of the holder is looked for at once and for some seconds after it, because main
//! plugins call IPAM DEL *before* they remove the link (DESIGN section 4). Later sweeps go on looking.
//!
//! *Proof*: the namespace is gone, or the address, seen earlier on a link of it, stands on none.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tenure_core::defaults::CLOSE_WATCH;
use tenure_core::lease::{Generation, Lease, LeaseKey};
use tenure_core::ledger::{AfterRelease, Home, RowAt, Slot, Status};
use tenure_core::ports::{AddressLook, NetnsLook, Sight};
use tenure_core::time::Moment;
use tokio::sync::Notify;

use crate::Engine;

/// The pause between two looks at one release grows from the first figure to the second with its age: some ten looks
/// in all, however many releases are open.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// A full pool with a thousand releases takes some ten milliseconds to look after.
const ON_DEMAND_APART: Duration = Duration::from_millis(50);

/// Releases whose end is looked for closely.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    /// Written by `ask_for` and by the watch.
    open: Mutex<HashMap<LeaseKey, Open>>,
    wake: Notify,
    /// When a full pool last had all its unproved releases looked after.
    on_demand: Mutex<Option<Moment>>,
}

/// A release whose end is looked for.
#[derive(Debug, Clone, Copy)]
struct Open {
    generation: Generation,
    since: Moment,
    /// When it is looked at next.
    next: Moment,
}

impl Proofs {
    pub(crate) fn ask_for(&self, leases: &[Lease], now: Moment) {
        let mut open = self.open.lock();
        for lease in leases.iter().filter(|lease| lease.netns.is_some()) {
            open.insert(lease.key(), Open { generation: lease.generation, since: now, next: now });
        }
        drop(open);
        self.wake.notify_one();
    }

    /// Whether a full pool may have its releases looked after now: a crowd of callers shares one look.
    pub(crate) fn may_look_on_demand(&self, now: Moment) -> bool {
        let mut last = self.on_demand.lock();
        let due = last.is_none_or(|last| now.since(last) >= ON_DEMAND_APART);
        if due {
            *last = Some(now);
        }
        due
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.lock().len()
    }
}

impl Engine {
    /// Looks after releases until the task is dropped.
    pub(crate) async fn watch_releases(self: Arc<Self>) {
        loop {
            if self.proofs.len() == 0 {
                self.proofs.wake.notified().await;
            }
            let pause = match self.in_background(|engine| engine.look_after_releases()).await {
                Ok(pause) => pause,
                Err(_) => PAUSE.1,
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// One look for all releases whose turn it is; answers how long to pause.
    pub fn look_after_releases(&self) -> Duration {
        let now = self.now().moment;
        let due: Vec<(LeaseKey, Open)> = {
            let open = self.proofs.open.lock();
            open.iter().filter(|(_, o)| o.next <= now).map(|(key, o)| (key.clone(), *o)).collect()
        };
        let (mut rows, mut watched) = (Vec::new(), Vec::new());
        for (key, open) in due {
            let slot = self.state.lock().ledger.slot(&key);
            match slot.filter(|slot| slot.generation == open.generation && is_unproved(slot)) {
                Some(slot) => {
                    rows.push(RowAt { key, slot });
                    watched.push(open);
                }
                // It needs no more proof, or is another hold by now.
                None => self.schedule(&key, open, AfterRelease::OffLink),
            }
        }
        let found = self.look_after(&rows);
        for ((row, open), found) in rows.iter().zip(watched).zip(found) {
            self.schedule(&row.key, open, found);
        }
        let now = self.now().moment;
        let open = self.proofs.open.lock();
        let next = open.values().map(|open| open.next.since(now)).min();
        next.map_or(PAUSE.0, |next| next.clamp(PAUSE.0, PAUSE.1))
    }

    /// Says when a release is looked at next; a proved one, or one that is past the close watch, no more.
    fn schedule(&self, key: &LeaseKey, looked: Open, found: AfterRelease) {
        let now = self.now().moment;
        let age = now.since(looked.since);
        let mut open = self.proofs.open.lock();
        let Some(entry) = open.get_mut(key).filter(|o| o.generation == looked.generation) else {
            return;
        };
        if found.is_proof() || age > CLOSE_WATCH {
            open.remove(key);
        } else {
            entry.next = now.plus((age / 2).clamp(PAUSE.0, PAUSE.1));
        }
    }

    /// Looks for the holders that released these rows and keeps what was found of each, in their order.
    pub(crate) fn look_after(&self, rows: &[RowAt]) -> Vec<AfterRelease> {
        let found = self.look_for_holders(rows);
        let now = self.now();
        let mut state = self.state.lock();
        for (row, found) in rows.iter().zip(&found) {
            match found {
                AfterRelease::Gone | AfterRelease::OffLink => self.counters.proved.one(),
                AfterRelease::Lingers => self.counters.lingered.one(),
                AfterRelease::Silent => {}
            }
            state.ledger.note_released(&row.key, row.slot.generation, *found, now);
        }
        if found.iter().any(|found| found.is_proof()) {
            state.waiting.wake();
        }
        found
    }

    /// What is seen now of the holders that released these rows.
    pub(crate) fn look_for_holders(&self, rows: &[RowAt]) -> Vec<AfterRelease> {
        let sights = self.look_at(rows, |_| true);
        rows.iter().zip(sights).map(|(row, sight)| after_release(&row.slot, sight)).collect()
    }
}

fn after_release(slot: &Slot, sight: Sight) -> AfterRelease {
    let Status::Released { seen, .. } = slot.status else { return AfterRelease::Silent };
    match (sight.namespace, sight.link) {
        (NetnsLook::Gone, _) | (NetnsLook::Alive, AddressLook::NamespaceGone) => AfterRelease::Gone,
        (NetnsLook::Alive, AddressLook::OnLink) => AfterRelease::Lingers,
        (NetnsLook::Alive, AddressLook::OnNone) if seen => AfterRelease::OffLink,
        (NetnsLook::Alive | NetnsLook::Unknown, _) => AfterRelease::Silent,
    }
}

/// Whether the end of the holder that released this row is still to be proved, and this kernel can.
pub(crate) fn is_unproved(slot: &Slot) -> bool {
    let here = slot.home == Home::Here && slot.netns.is_some();
    here && matches!(slot.status, Status::Released { proved: None, .. })
}
