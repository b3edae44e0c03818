//! Sets that this replica wrote, or may have, and that nobody was told of (I4): the caller of an ADD has gone, or was answered
//! an error, since the outcome of the write is not known.
//!
//! A caller of this machine finds such a set with its next ADD. An agent may turn to another replica, which looked before the
//! write landed and gives the attachment another one. So whatever of the first one stands in the store, now or within
//! [`KEPT`], is given up. That is safe because an answer is never without a write: whoever finds the set and answers it
//! writes it anew, as an attempt of his own.
//!
//! What is forgotten here, with the process or beyond [`MAX_SETS`], the sweeps find by its link (`unanswered.rs`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tenure_core::lease::{Lease, LeaseKey};
use tenure_core::ledger::Print;
use tenure_core::time::Moment;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::engine::is_held;
use crate::unanswered::{Leaves, Written};
use crate::{Engine, EngineError};

/// Looks at them are so far apart.
const LOOKS_APART: Duration = Duration::from_millis(250);
/// So long a write may take to land: an API server that stood still goes on with what it had received.
const KEPT: Duration = Duration::from_secs(600);
/// So many are known at most (I12); the oldest are forgotten first.
const MAX_SETS: usize = 4096;

/// The sets of this replica that nobody was told of.
#[derive(Debug, Default)]
pub(crate) struct UntoldSets {
    sets: Mutex<VecDeque<UntoldSet>>,
    wake: Notify,
}

#[derive(Debug, Clone)]
struct UntoldSet {
    written: Written,
    keys: Vec<LeaseKey>,
    leaves: Leaves,
    since: Moment,
}

/// A set that is being written. Dropped on any way out but [`Telling::done`], nobody was told of it.
pub(crate) struct Telling {
    engine: Arc<Engine>,
    set: Option<UntoldSet>,
}

impl Telling {
    pub(crate) fn new(engine: &Arc<Engine>, leases: &[Lease], leaves: Leaves) -> Self {
        let keys = leases.iter().map(Lease::key).collect();
        let since = engine.now().moment;
        let set = |first| UntoldSet { written: Written::of(first), keys, leaves, since };
        Self { engine: engine.clone(), set: leases.first().map(set) }
    }

    /// The caller is told, or nothing of the set stands in the store.
    pub(crate) fn done(mut self) {
        self.set = None;
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        let Some(set) = self.set.take() else { return };
        let untold = &self.engine.untold;
        let mut sets = untold.sets.lock();
        if sets.len() >= MAX_SETS {
            sets.pop_front();
        }
        sets.push_back(set);
        drop(sets);
        untold.wake.notify_one();
    }
}

impl Engine {
    /// Gives up what nobody was told of, until the task is dropped.
    pub async fn watch_untold(self: Arc<Self>) {
        loop {
            if self.untold.sets.lock().is_empty() {
                self.untold.wake.notified().await;
            }
            self.give_up_untold().await;
            sleep(LOOKS_APART).await;
        }
    }

    /// One look at all of them.
    pub async fn give_up_untold(self: &Arc<Self>) {
        self.resolve_doubts().await;
        let now = self.now().moment;
        let sets: Vec<UntoldSet> = {
            let mut sets = self.untold.sets.lock();
            sets.retain(|set| now.since(set.since) < KEPT);
            sets.iter().cloned().collect()
        };
        for set in sets {
            match self.give_up_if_there(&set).await {
                Ok(false) => {}
                Ok(true) => self.untold.forget(&set),
                Err(error) => {
                    tracing::debug!(%error, attachment = %set.written.attachment, "what was answered to nobody is kept for now");
                }
            }
        }
    }

    /// Says whether nothing more is to be expected of it.
    async fn give_up_if_there(self: &Arc<Self>, set: &UntoldSet) -> Result<bool, EngineError> {
        let UntoldSet { written, keys, leaves, .. } = set;
        let slots = {
            let state = self.state.lock();
            keys.iter().filter_map(|key| state.ledger.slot(key)).collect::<Vec<_>>()
        };
        let own = Print::attachment(&written.attachment);
        let held: Vec<_> = slots.into_iter().filter(is_held).collect();
        if !held.iter().any(|slot| slot.attachment == own) {
            // An address that somebody else holds by now is none that a late write could get: its condition was that of before.
            return Ok(held.len() == keys.len());
        }
        // A verb that is under way comes first: it may be just this one, or one that finds the set and answers it.
        let guard = self.locks.lock_if_idle(&written.attachment)?;
        let count = self.give_up(written, &guard, *leaves).await?;
        if count > 0 {
            tracing::info!(attachment = %written.attachment, "gives up what was written for an ADD that nobody was answered");
        }
        Ok(held.len() == keys.len())
    }
}

impl UntoldSets {
    fn forget(&self, set: &UntoldSet) {
        self.sets.lock().retain(|other| other.written.attempt != set.written.attempt);
    }
}
