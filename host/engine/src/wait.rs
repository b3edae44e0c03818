//! Waiting inside an ADD: first come, first served per pool, holding nothing.
//!
//! ```text
//! nothing free -> join the queues of all ranked pools with one ticket -> sleep
//!   -> woken: first in a pool of each open family, and each has something? decide anew -> leave the queues
//! ```
//!
//! Whatever may free an address wakes the head of each queue: a release, a proof, a reclaim, a given-back hold, a
//! change of pools; the end of a rest is slept for. A newcomer finds a pool with a queue as good as empty, so
//! nobody is overtaken. A waiter leaves when it has reserved, when its time is up, when its caller hangs up (the
//! future is dropped) or when a DEL of its attachment comes. When the pools change all decide anew: another pool may
//! serve them now. A new pool has no queue yet, so they take from it in the order of their decisions.
//!
//! Invariant I12: at most [`MAX_WAITERS`] in one queue; who comes later is told so at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tenure_core::decision::Catalogue;
use tenure_core::ledger::{Counts, Now};
use tenure_core::name::PoolName;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::engine::State;
use crate::locks::AttachmentGuard;
use crate::{Engine, EngineError};

pub use tenure_core::defaults::WAITERS as MAX_WAITERS;
/// A waiter whose turn came and who then got nothing does not try again at once.
const TRIES_APART: Duration = Duration::from_millis(20);

/// A place in line. Lower ones came earlier.
pub(crate) type Ticket = u64;

/// Who waits for which pool, in order of arrival. Part of the state: a free address and the queue for it are seen
/// together.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    next: Ticket,
    queues: HashMap<PoolName, BTreeSet<Ticket>>,
    waiters: BTreeMap<Ticket, Waiter>,
    /// The daemon stops: nobody waits any more.
    closed: bool,
}

#[derive(Debug)]
struct Waiter {
    woken: Arc<Notify>,
    pools: Vec<PoolName>,
    /// It wants one certain address: the order of the queue means nothing to it.
    exact: bool,
}

/// What an ADD found to be lacking.
#[derive(Debug, Clone)]
pub(crate) struct Shortage {
    /// The ranked pools of each family that is still open. Nothing is taken unless each has something.
    pub(crate) pools: Vec<Vec<PoolName>>,
    /// One certain address is wanted, not any of the pools.
    pub(crate) exact: bool,
    /// What is in quarantine may serve as well, where a probe permits it.
    pub(crate) may_probe: bool,
    /// When that one comes free, if time alone does it.
    pub(crate) due: Option<Duration>,
    /// The answer if nothing comes free.
    pub(crate) error: EngineError,
}

/// An ADD that waits. Dropping it leaves the queues.
pub(crate) struct Place {
    engine: Arc<Engine>,
    ticket: Ticket,
    woken: Arc<Notify>,
    /// Until when it waits.
    until: Instant,
    since: Instant,
}

// === impl Waiting ===

impl Waiting {
    /// How many wait for the pool.
    pub(crate) fn len(&self, pool: &PoolName) -> usize {
        self.queues.get(pool).map_or(0, BTreeSet::len)
    }

    /// How many wait for the one of these pools that most wait for.
    pub(crate) fn longest<'a>(&self, pools: impl IntoIterator<Item = &'a PoolName>) -> usize {
        pools.into_iter().map(|pool| self.len(pool)).max().unwrap_or(0)
    }

    /// How many wait in all.
    pub(crate) fn total(&self) -> usize {
        self.waiters.len()
    }

    /// Whether nobody came before: without a ticket, whether nobody waits.
    pub(crate) fn is_first(&self, pool: &PoolName, ticket: Option<Ticket>) -> bool {
        let first = self.queues.get(pool).and_then(BTreeSet::first);
        first.is_none_or(|first| ticket.is_some_and(|ticket| ticket <= *first))
    }

    /// Wakes the head of each queue and all who want one certain address. Cheap while nobody waits.
    pub(crate) fn wake(&self) {
        let heads = self.queues.values().filter_map(BTreeSet::first);
        for waiter in heads.filter_map(|ticket| self.waiters.get(ticket)) {
            waiter.woken.notify_one();
        }
        for waiter in self.waiters.values().filter(|waiter| waiter.exact) {
            waiter.woken.notify_one();
        }
    }

    /// Wakes all: what they wait for may be something else now.
    pub(crate) fn wake_all(&self) {
        self.waiters.values().for_each(|waiter| waiter.woken.notify_one());
    }

    /// Puts the ticket into the queues of these pools, and of no other.
    fn queue(
        &mut self,
        ticket: Ticket,
        woken: &Arc<Notify>,
        shortage: &Shortage,
    ) -> Result<(), EngineError> {
        self.leave(ticket);
        if self.closed {
            return Err(shortage.error.clone());
        }
        let pools: BTreeSet<_> = shortage.pools.iter().flatten().cloned().collect();
        let full = |pool: &PoolName| self.len(pool) >= MAX_WAITERS;
        if pools.iter().any(full) || (shortage.exact && self.waiters.len() >= MAX_WAITERS) {
            return Err(EngineError::Busy { what: "the pool", bound: MAX_WAITERS });
        }
        if !shortage.exact {
            for pool in &pools {
                self.queues.entry(pool.clone()).or_default().insert(ticket);
            }
        }
        let pools = pools.into_iter().collect();
        let waiter = Waiter { woken: woken.clone(), pools, exact: shortage.exact };
        self.waiters.insert(ticket, waiter);
        Ok(())
    }

    fn leave(&mut self, ticket: Ticket) {
        let Some(waiter) = self.waiters.remove(&ticket) else { return };
        for pool in waiter.pools {
            if let Some(queue) = self.queues.get_mut(&pool) {
                queue.remove(&ticket);
                if queue.is_empty() {
                    self.queues.remove(&pool);
                }
            }
        }
    }
}

// === impl State ===

impl State {
    /// What the addresses of these pools are.
    pub(crate) fn counts_of(&mut self, pools: &[PoolName], now: Now) -> Box<Counts> {
        let indexes: Vec<_> = pools.iter().filter_map(|p| self.ledger.pool_named(p)).collect();
        let counts = indexes.into_iter().map(|index| self.ledger.counts(index, now));
        Box::new(counts.fold(Counts::default(), Counts::plus))
    }

    /// When it is worth trying: now, or in so long, or only when woken.
    fn turn_of(&mut self, ticket: Ticket, shortage: &Shortage, now: Now) -> Option<Duration> {
        if shortage.exact {
            return shortage.due;
        }
        let mut turn = Duration::ZERO;
        for family in &shortage.pools {
            let firsts = family.iter().filter(|pool| self.waiting.is_first(pool, Some(ticket)));
            let indexes: Vec<_> = firsts.filter_map(|pool| self.ledger.pool_named(pool)).collect();
            let mut soonest: Option<Duration> = None;
            for pool in indexes {
                let due = self.ledger.next_due(pool, now);
                let probes = shortage.may_probe && self.may_be_probed(pool);
                let probe = if probes { self.ledger.next_probe(pool, now) } else { None };
                soonest = soonest.into_iter().chain(due).chain(probe).min();
            }
            turn = turn.max(soonest?);
        }
        Some(turn)
    }
}

// === impl Engine ===

impl Engine {
    /// How many ADDs wait for an address.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting.total()
    }

    /// Sends away all who wait, and whoever would: the daemon stops, and their runtimes ask its successor.
    pub fn send_waiters_away(&self) {
        let mut state = self.state.lock();
        state.waiting.closed = true;
        state.waiting.wake_all();
    }

    /// The next turn of an ADD that found nothing: returns when it is worth trying again.
    ///
    /// # Errors
    /// The time is up, a DEL came, or too many wait: the ADD is answered with this.
    pub(crate) async fn wait_for_turn(
        self: &Arc<Self>,
        place: &mut Option<Place>,
        shortage: Shortage,
        (patience, decided_on, guard): (Instant, &Arc<Catalogue>, &AttachmentGuard),
    ) -> Result<(), EngineError> {
        let again = place.is_some();
        let place = match place {
            Some(place) => place,
            none => none.insert(Place::new(self, patience)),
        };
        self.state.lock().waiting.queue(place.ticket, &place.woken, &shortage)?;
        self.sweep_now.notify_one();
        if again {
            tokio::time::sleep(TRIES_APART).await;
        } else {
            self.counters.adds_waited.one();
            if shortage.exact {
                // Once more: it may have come free before this ADD was known to wait.
                return Ok(());
            }
        }
        let mut woken = false;
        loop {
            let (closed, changed, turn) = {
                let mut state = self.state.lock();
                let changed = !Arc::ptr_eq(&state.catalogue, decided_on);
                let turn = state.turn_of(place.ticket, &shortage, self.now());
                (state.waiting.closed, changed, turn)
            };
            if closed || Instant::now() >= place.until {
                return Err(place.give_up(shortage));
            }
            if changed || (shortage.exact && woken) {
                return Ok(());
            }
            let pause = match turn {
                Some(Duration::ZERO) => return Ok(()),
                Some(due) => due.max(TRIES_APART),
                None => Duration::MAX,
            };
            let wake_at = Instant::now().checked_add(pause).unwrap_or(place.until).min(place.until);
            tokio::select! {
                () = place.woken.notified() => {}
                () = guard.del_came() => return Err(EngineError::DelCame),
                () = tokio::time::sleep_until(wake_at) => {}
            }
            woken = true;
        }
    }
}

// === impl Place ===

impl Place {
    fn new(engine: &Arc<Engine>, until: Instant) -> Self {
        let mut state = engine.state.lock();
        let ticket = state.waiting.next;
        state.waiting.next = ticket.saturating_add(1);
        let since = Instant::now();
        Self { engine: engine.clone(), ticket, woken: Arc::new(Notify::new()), until, since }
    }

    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// It has reserved what it waited for: the next one may try. The ticket stays, for the reservation may still
    /// fail.
    pub(crate) fn step_aside(&self) {
        let mut state = self.engine.state.lock();
        state.waiting.leave(self.ticket);
        state.waiting.wake();
    }

    fn give_up(&self, shortage: Shortage) -> EngineError {
        let EngineError::Exhausted { family, pools, due, .. } = shortage.error else {
            return shortage.error;
        };
        let now = self.engine.now();
        let mut state = self.engine.state.lock();
        let longest = state.waiting.longest(shortage.pools.iter().flatten());
        // It is one of them itself.
        let waiting = longest.saturating_sub(1);
        let counts = state.counts_of(&pools, now);
        let waited = self.since.elapsed();
        EngineError::Exhausted { family, pools, counts, due, waiting, waited }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.step_aside();
    }
}
