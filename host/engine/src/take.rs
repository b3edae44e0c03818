//! Takes addresses out of the ledger for an ADD, with one more look at the old holder before each reuse.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::MutexGuard;
use tenure_core::lease::LeaseKey;
use tenure_core::ledger::{AfterRelease, For, Hold, RowAt, SETTLING, Unavailable, Want};
use tenure_core::name::SpaceName;

use crate::candidates::Candidates;
use crate::engine::State;
use crate::proof::is_unproved;
use crate::wait::Ticket;
use crate::{AddRequest, Engine, EngineError};

/// So many addresses whose old holder still stands on a link are passed over before the ADD gives up: each
/// costs a look at the kernel.
const MAX_LINGERERS: usize = 64;

/// A hold, or when the next address is due.
pub(crate) type Take = Result<Hold, Option<Duration>>;

impl Engine {
    /// The state, if the pools are still those of the candidates: an index means nothing afterwards.
    pub(crate) fn current(
        &self,
        candidates: &Candidates,
    ) -> Result<MutexGuard<'_, State>, EngineError> {
        let state = self.state.lock();
        if Arc::ptr_eq(&state.catalogue, &candidates.catalogue) {
            return Ok(state);
        }
        Err(EngineError::Overtaken)
    }

    /// The address in the space of the candidate pool that has it, or in this space if it is one of theirs.
    pub(crate) fn key_among(
        &self,
        candidates: &Candidates,
        address: IpAddr,
        space: Option<&SpaceName>,
    ) -> Result<Option<LeaseKey>, EngineError> {
        let state = self.current(candidates)?;
        let pools = candidates.rows.iter().filter_map(|row| state.ledger.pool(row.pool as usize));
        let is_meant = |pool: &&tenure_core::pool::Pool| {
            pool.spec.cidr.contains(&address) && space.is_none_or(|space| *space == pool.spec.space)
        };
        let pool = pools.into_iter().find(is_meant);
        Ok(pool.map(|pool| LeaseKey { space: pool.spec.space.clone(), address }))
    }

    pub(crate) fn take_exact(
        &self,
        candidates: &Candidates,
        key: &LeaseKey,
        whom: For,
    ) -> Result<Result<Hold, Unavailable>, EngineError> {
        let reserve = || -> Result<Result<Hold, Unavailable>, EngineError> {
            let now = self.now();
            Ok(self.current(candidates)?.ledger.reserve_exact(key, whom, now))
        };
        let mut taken = reserve()?;
        if matches!(taken, Err(Unavailable::Resting { .. })) && self.look_after_one(key) {
            taken = reserve()?;
        }
        let Ok(hold) = taken else { return Ok(taken) };
        let Some(found) = self.last_look(&hold) else { return Ok(Ok(hold)) };
        self.give_back(hold, found);
        let due = (found == AfterRelease::Gone).then_some(SETTLING);
        Ok(Err(Unavailable::Resting { due }))
    }

    /// First what is unused or rested in any of the pools, then what pressure allows, then what a look now
    /// proves: the end of an old holder is looked for on demand.
    pub(crate) fn take_any(
        &self,
        candidates: &Candidates,
        (request, pools): (&AddRequest, &[usize]),
        ticket: Option<Ticket>,
    ) -> Result<Take, EngineError> {
        let both = [Want::Rested, Want::Pressed];
        let due = match self.take_in_turn(candidates, (pools, ticket), &both)? {
            Ok(hold) => return Ok(Ok(hold)),
            Err(due) => due,
        };
        if self.proofs.may_look_on_demand(self.now().moment) && self.prove_all(candidates, pools)? {
            return self.take_in_turn(candidates, (pools, ticket), &[Want::Pressed]);
        }
        self.sweep_now.notify_one();
        // What is in quarantine is better than nothing, if it can be probed.
        let probed = self.probed(request, pools);
        let taken = self.take_in_turn(candidates, (&probed, ticket), &[Want::Quarantined])?;
        Ok(taken.or(Err(due)))
    }

    /// Looks after the release of one address; whether something was found out.
    fn look_after_one(&self, key: &LeaseKey) -> bool {
        let row = self.state.lock().ledger.rows_at(std::slice::from_ref(key), is_unproved);
        self.look_after(&row).iter().any(|found| *found != AfterRelease::Silent)
    }

    /// Looks after the unproved releases of these pools; whether one is proved now.
    fn prove_all(&self, candidates: &Candidates, pools: &[usize]) -> Result<bool, EngineError> {
        let unproved = {
            let state = self.current(candidates)?;
            let mut keys = state.ledger.keys_where(is_unproved);
            keys.retain(|key| state.ledger.pool_of(key).is_some_and(|p| pools.contains(&p)));
            state.ledger.rows_at(&keys, is_unproved)
        };
        Ok(self.look_after(&unproved).iter().any(|found| found.is_proof()))
    }

    fn take_in_turn(
        &self,
        candidates: &Candidates,
        (pools, ticket): (&[usize], Option<Ticket>),
        wants: &[Want],
    ) -> Result<Take, EngineError> {
        let mut due: Option<Duration> = None;
        for want in wants.iter().copied() {
            for pool in pools {
                match self.take_from(candidates, (*pool, ticket), want)? {
                    Ok(hold) => return Ok(Ok(hold)),
                    Err(Unavailable::Exhausted { due: Some(next) }) => {
                        due = Some(due.map_or(next, |known| known.min(next)));
                    }
                    Err(_) => {}
                }
            }
        }
        Ok(Err(due))
    }

    fn take_from(
        &self,
        candidates: &Candidates,
        (pool, ticket): (usize, Option<Ticket>),
        want: Want,
    ) -> Result<Result<Hold, Unavailable>, EngineError> {
        for _ in 0..MAX_LINGERERS {
            let taken = {
                let mut state = self.current(candidates)?;
                // Whoever waits for the pool comes first.
                let name = state.ledger.pool(pool).map(|pool| &pool.name);
                if !name.is_some_and(|name| state.waiting.is_first(name, ticket)) {
                    let due = state.ledger.next_due(pool, self.now());
                    return Ok(Err(Unavailable::Exhausted {
                        due: due.filter(|due| !due.is_zero()),
                    }));
                }
                state.ledger.reserve(pool, want, self.now())
            };
            let Ok(hold) = taken else { return Ok(taken) };
            match self.last_look(&hold) {
                Some(found) => self.give_back(hold, found),
                None => return Ok(Ok(hold)),
            }
        }
        Ok(Err(Unavailable::Exhausted { due: None }))
    }

    /// An unproved row gets one more look by its node before reuse (DESIGN section 4). Answers what stands
    /// against its use; none if nothing does.
    fn last_look(&self, hold: &Hold) -> Option<AfterRelease> {
        let slot = hold.prior.filter(is_unproved)?;
        let found = self.look_for_holders(&[RowAt { key: hold.key.clone(), slot }]);
        // One that ended just now: its links may still answer for a moment.
        let stands_against =
            |found: &AfterRelease| matches!(found, AfterRelease::Lingers | AfterRelease::Gone);
        found.into_iter().find(stands_against)
    }

    /// A reserved address that must not be used yet goes back, and is known as such.
    fn give_back(&self, hold: Hold, found: AfterRelease) {
        let now = self.now();
        let (key, prior) = (hold.key.clone(), hold.prior);
        let mut state = self.state.lock();
        state.ledger.cancel(hold, now);
        if let Some(prior) = prior {
            if found == AfterRelease::Lingers {
                self.counters.lingered.one();
            }
            state.ledger.note_released(&key, prior.generation, found, now);
        }
        state.waiting.wake();
    }
}
