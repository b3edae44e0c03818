//! From a request to reserved addresses: affinity, then select, then the ledger. It computes and looks,
//! it writes nothing. All of it runs on a thread where blocking is allowed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::address::{Families, Family};
use tenure_core::decision::{
    Affinity, AffinityRequest, DecidedBy, IfHeld, Previous, SelectRequest, Selection,
};
use tenure_core::error::Kind;
use tenure_core::lease::{LeaseKey, StickyKey};
use tenure_core::ledger::{
    AfterRelease, For, Hold, Print, SETTLING, Slot, Status, Unavailable, Want,
};
use tenure_core::name::Digest;

use crate::candidates::Candidates;
use crate::engine::State;
use crate::holds::Holds;
use crate::proof::{is_unproved, look_for_holder};
use crate::{AddRequest, Engine, EngineError, FixedAddress};

/// So many addresses whose old holder still stands on a link are passed over before the ADD gives up: each
/// costs a look at the kernel.
const MAX_LINGERERS: usize = 64;

/// What an ADD will write.
pub(crate) struct Choice {
    /// The reserved addresses, one per family.
    pub(crate) holds: Holds,
    /// The families of the set.
    pub(crate) families: Families,
    /// The key that they are kept for.
    pub(crate) sticky: Option<StickyKey>,
    /// The affinity policy's mark.
    pub(crate) tag: u64,
    /// Digests of the policies that decided.
    pub(crate) decided_by: Vec<Digest>,
}

/// An address that is wanted before any other.
struct Wish {
    address: IpAddr,
    whom: For,
    if_held: IfHeld,
}

/// What affinity and the runtime ask for.
#[derive(Default)]
struct Wishes {
    list: Vec<Wish>,
    sticky: Option<StickyKey>,
}

impl Choice {
    /// Decides and reserves.
    pub(crate) fn make(
        engine: &Arc<Engine>,
        request: &AddRequest,
        previous: Vec<Previous>,
    ) -> Result<Self, EngineError> {
        let now = engine.now();
        let candidates = Candidates::find(&mut engine.state.lock(), request, now)?;
        let families = candidates.families;
        let mut choice = Self {
            holds: Holds::new(engine),
            families,
            sticky: None,
            tag: 0,
            decided_by: Vec::new(),
        };
        let wishes = choice.wishes(engine, request, &candidates, previous)?;
        let mut open = families;
        for wish in &wishes.list {
            if choice.grant(engine, wish, &candidates, open)? {
                open = without(open, Family::of(wish.address));
            }
        }
        choice.sticky = wishes.sticky;
        if !open.is_empty() {
            choice.select(engine, request, &candidates, open)?;
        }
        Ok(choice)
    }

    /// Asks for affinity and puts the wishes of the runtime first: they are explicit.
    fn wishes(
        &mut self,
        engine: &Arc<Engine>,
        request: &AddRequest,
        candidates: &Candidates,
        previous: Vec<Previous>,
    ) -> Result<Wishes, EngineError> {
        let question = AffinityRequest {
            holder: engine.holder(request),
            families: candidates.families,
            previous,
            catalogue: candidates.catalogue.clone(),
            now: engine.now().wall,
            seed: engine.seed(),
        };
        let decided = engine.ports.policies.affinity(&question);
        self.note(&decided.by);
        self.tag = decided.answer.tag;
        let mut wishes = Wishes::default();
        for FixedAddress { address, prefix } in request.fixed.iter().copied() {
            engine.check_prefix(candidates, address, prefix)?;
            wishes.list.push(Wish { address, whom: For::Anyone, if_held: IfHeld::Fail });
        }
        match decided.answer.choice {
            Affinity::None => {}
            Affinity::Fixed { addresses, if_held } => {
                let wish = |address| Wish { address, whom: For::Policy, if_held };
                wishes.list.extend(addresses.into_iter().map(wish));
            }
            Affinity::Reuse(rows) => {
                let rows = rows.iter().filter_map(|row| question.previous.get(*row as usize));
                wishes.list.extend(rows.map(|row| Wish {
                    address: row.address,
                    whom: For::Policy,
                    if_held: IfHeld::Other,
                }));
            }
            Affinity::Sticky { key, if_held, retain_s, preferred } => {
                let key = StickyKey { key: key.into(), retain_s };
                engine.sticky(request, candidates, key, if_held, &preferred, &mut wishes)?;
            }
        }
        Ok(wishes)
    }

    /// Takes a wanted address; false if another one shall be taken instead.
    fn grant(
        &mut self,
        engine: &Arc<Engine>,
        wish: &Wish,
        candidates: &Candidates,
        open: Families,
    ) -> Result<bool, EngineError> {
        let family = Family::of(wish.address);
        let explicit = wish.whom == For::Anyone;
        if !open.has(family) {
            if explicit && !candidates.families.has(family) {
                let why = format!("no {family} pool serves this network and holder");
                return Err(unavailable(wish.address, why, Kind::Invalid));
            }
            return Ok(false);
        }
        let key = engine.key_among(candidates, wish.address);
        let Some(key) = key else {
            if explicit || wish.if_held == IfHeld::Fail {
                let why = "no pool that serves this network and holder has it".to_owned();
                return Err(unavailable(wish.address, why, Kind::Invalid));
            }
            return Ok(false);
        };
        match engine.take_exact(&key, wish.whom) {
            Ok(hold) => {
                self.holds.push(hold);
                Ok(true)
            }
            Err(_) if wish.if_held == IfHeld::Other => Ok(false),
            Err(why) => Err(exact_error(wish, why)),
        }
    }

    /// Asks for a ranking and takes, per family, from the first pool that gives.
    fn select(
        &mut self,
        engine: &Arc<Engine>,
        request: &AddRequest,
        candidates: &Candidates,
        open: Families,
    ) -> Result<(), EngineError> {
        let decided = engine.ports.policies.select(&SelectRequest {
            holder: engine.holder(request),
            families: open,
            candidates: candidates.rows.clone(),
            catalogue: candidates.catalogue.clone(),
            now: engine.now().wall,
            seed: engine.seed(),
        });
        self.note(&decided.by);
        let ranking = match decided.answer {
            Selection::Ranked(ranking) => ranking,
            Selection::Deny(reason) => {
                return Err(EngineError::Denied { policy: name_of(&decided.by), reason });
            }
        };
        for family in open.iter() {
            let pools = candidates.ranked(&ranking, family);
            let hold = engine.take_any(&pools).map_err(|due| EngineError::Exhausted {
                family,
                pools: candidates.names(&pools),
                due,
            })?;
            self.holds.push(hold);
        }
        Ok(())
    }

    fn note(&mut self, by: &DecidedBy) {
        if let DecidedBy::Policy { digest, .. } = by {
            self.decided_by.push(digest.clone());
        }
    }
}

impl Engine {
    /// Randomness for one decision, recorded with it.
    fn seed(&self) -> u64 {
        getrandom::u64().unwrap_or_else(|_| self.ports.clock.now().0)
    }

    /// Turns a sticky key into wishes: the addresses that the key has, else the preferred ones.
    fn sticky(
        &self,
        request: &AddRequest,
        candidates: &Candidates,
        key: StickyKey,
        if_held: IfHeld,
        preferred: &[IpAddr],
        wishes: &mut Wishes,
    ) -> Result<(), EngineError> {
        let now = self.now();
        let state = self.state.lock();
        for family in candidates.families.iter() {
            let print = Print::sticky(&request.attachment, family, &key.key);
            let mut rows = state.ledger.of_sticky(print);
            rows.retain(|(key, slot)| key.family() == family && owns(slot, now.wall));
            if let Some((held, _)) = rows.iter().find(|(_, slot)| slot.is_bound()) {
                match if_held {
                    IfHeld::Other => return Ok(()),
                    IfHeld::Wait | IfHeld::Fail => {
                        let kind =
                            if if_held == IfHeld::Wait { Kind::Retry } else { Kind::Refused };
                        let why = format!("another live holder has the key {:?}", key.key);
                        self.sweep_now.notify_one();
                        return Err(unavailable(held.address, why, kind));
                    }
                }
            }
            // Of two retained rows the one released last has the key.
            rows.sort_by_key(|(_, slot)| std::cmp::Reverse(released_at(slot)));
            let own = rows.first().map(|(key, _)| key.address);
            let wish = |address| Wish { address, whom: For::Key(print), if_held };
            let first_use = preferred.iter().copied().filter(|a| Family::of(*a) == family);
            match own {
                Some(address) => wishes.list.push(wish(address)),
                None => wishes.list.extend(first_use.map(wish)),
            }
        }
        wishes.sticky = Some(key);
        Ok(())
    }

    /// A prefix length that came with a fixed address must be that of its pool.
    fn check_prefix(
        &self,
        candidates: &Candidates,
        address: IpAddr,
        prefix: Option<u8>,
    ) -> Result<(), EngineError> {
        let state = self.state.lock();
        let mut pools =
            candidates.rows.iter().filter_map(|row| state.ledger.pool(row.pool as usize));
        let pool = pools.find(|pool| pool.spec.cidr.contains(&address));
        let (Some(pool), Some(prefix)) = (pool, prefix) else { return Ok(()) };
        if pool.spec.cidr.prefix_len() == prefix {
            return Ok(());
        }
        let why =
            format!("it was asked for as /{prefix}, its pool {} is {}", pool.name, pool.spec.cidr);
        Err(unavailable(address, why, Kind::Invalid))
    }

    /// The address in the space of the candidate pool that has it.
    fn key_among(&self, candidates: &Candidates, address: IpAddr) -> Option<LeaseKey> {
        let state = self.state.lock();
        let pools = candidates.rows.iter().filter_map(|row| state.ledger.pool(row.pool as usize));
        let pool = pools.into_iter().find(|pool| pool.spec.cidr.contains(&address))?;
        let key = LeaseKey { space: pool.spec.space.clone(), address };
        state.ledger.pool_of(&key).filter(|pool| candidates.has(*pool)).map(|_| key)
    }

    fn take_exact(&self, key: &LeaseKey, whom: For) -> Result<Hold, Unavailable> {
        let mut taken = self.state.lock().ledger.reserve_exact(key, whom, self.now());
        if matches!(taken, Err(Unavailable::Resting { .. })) && self.prove(|k, _| k == key) {
            taken = self.state.lock().ledger.reserve_exact(key, whom, self.now());
        }
        let hold = taken?;
        match self.last_look(&hold) {
            Some(found) => {
                self.give_back(hold, found);
                let due = (found == AfterRelease::Gone).then_some(SETTLING);
                Err(Unavailable::Resting { due })
            }
            None => Ok(hold),
        }
    }

    /// First what is unused or rested in any of the pools, then what pressure allows, then what a look now
    /// proves: the end of an old holder is looked for on demand.
    fn take_any(&self, pools: &[usize]) -> Result<Hold, Option<Duration>> {
        let first = self.take_in_turn(pools, &[Want::Rested, Want::Pressed]);
        let due = match first {
            Ok(hold) => return Ok(hold),
            Err(due) => due,
        };
        let here = |key: &LeaseKey, state: &State| {
            state.ledger.pool_of(key).is_some_and(|pool| pools.contains(&pool))
        };
        if self.proofs.may_look_on_demand(self.now().moment) && self.prove(here) {
            return self.take_in_turn(pools, &[Want::Pressed]);
        }
        self.sweep_now.notify_one();
        Err(due)
    }

    /// Looks after unproved releases among these addresses; whether one was proved.
    fn prove(&self, wanted: impl Fn(&LeaseKey, &State) -> bool) -> bool {
        let unproved = {
            let state = self.state.lock();
            let mut rows = state.ledger.rows_where(is_unproved);
            rows.retain(|row| wanted(&row.key, &state));
            rows
        };
        if unproved.is_empty() {
            return false;
        }
        let Ok(look) = self.ports.kernel.look() else { return false };
        let found =
            unproved.into_iter().map(|row| self.look_after(&*look, &row.key, row.slot.generation));
        found.filter(|found| found.is_proof()).count() > 0
    }

    fn take_in_turn(&self, pools: &[usize], wants: &[Want]) -> Result<Hold, Option<Duration>> {
        let mut due: Option<Duration> = None;
        for want in wants.iter().copied() {
            for pool in pools {
                match self.take_from(*pool, want) {
                    Ok(hold) => return Ok(hold),
                    Err(Unavailable::Exhausted { due: Some(next) }) => {
                        due = Some(due.map_or(next, |known| known.min(next)));
                    }
                    Err(_) => {}
                }
            }
        }
        Err(due)
    }

    fn take_from(&self, pool: usize, want: Want) -> Result<Hold, Unavailable> {
        for _ in 0..MAX_LINGERERS {
            let now = self.now();
            let hold = self.state.lock().ledger.reserve(pool, want, now)?;
            match self.last_look(&hold) {
                Some(found) => self.give_back(hold, found),
                None => return Ok(hold),
            }
        }
        Err(Unavailable::Exhausted { due: None })
    }

    /// An unproved row gets one more look by its node before reuse (DESIGN section 4). Answers what stands
    /// against its use; none if nothing does.
    fn last_look(&self, hold: &Hold) -> Option<AfterRelease> {
        let slot = hold.prior.filter(is_unproved)?;
        let look = self.ports.kernel.look().ok()?;
        match look_for_holder(&*look, &slot, &hold.key) {
            // It ended just now: its links may still answer for a moment.
            found @ (AfterRelease::Lingers | AfterRelease::Gone) => Some(found),
            AfterRelease::OffLink | AfterRelease::Silent => None,
        }
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
    }
}

fn without(families: Families, family: Family) -> Families {
    families.iter().filter(|f| *f != family).collect()
}

/// Whether the row still belongs to its sticky key: held, or kept for it.
fn owns(slot: &Slot, wall: tenure_core::time::WallMs) -> bool {
    match slot.status {
        Status::Bound { .. } => true,
        Status::Released { keep_until, .. } => keep_until.is_some_and(|until| until > wall),
        Status::Reserved | Status::Quarantined => false,
    }
}

fn released_at(slot: &Slot) -> u64 {
    match slot.status {
        Status::Released { at, .. } => at.0,
        _ => 0,
    }
}

fn name_of(by: &DecidedBy) -> String {
    match by {
        DecidedBy::BuiltIn => "built-in".to_owned(),
        DecidedBy::Policy { name, .. } => name.to_string(),
    }
}

fn unavailable(address: IpAddr, why: String, kind: Kind) -> EngineError {
    EngineError::FixedUnavailable { address, why, kind }
}

fn exact_error(wish: &Wish, why: Unavailable) -> EngineError {
    let wait = wish.if_held == IfHeld::Wait;
    let (text, kind) = match why {
        Unavailable::NoPool | Unavailable::NotUsable => (
            "its pool may not hand it out (excluded, reserved, the gateway, or outside the ranges)"
                .to_owned(),
            Kind::Invalid,
        ),
        Unavailable::Held { .. } if wait => ("another holder has it".to_owned(), Kind::Retry),
        Unavailable::Held { .. } => (
            format!("another holder has it; see `tenure describe lease {}`", wish.address),
            Kind::Refused,
        ),
        Unavailable::Retained => {
            ("it is kept for the key of another holder".to_owned(), Kind::Refused)
        }
        Unavailable::Quarantined => ("it is quarantined".to_owned(), Kind::Retry),
        Unavailable::Resting { due: Some(due) } | Unavailable::Exhausted { due: Some(due) } => {
            (format!("it rests for {} s more", due.as_secs().saturating_add(1)), Kind::Retry)
        }
        Unavailable::Resting { due: None } | Unavailable::Exhausted { due: None } => {
            ("its last holder is still seen on a link".to_owned(), Kind::Retry)
        }
    };
    unavailable(wish.address, text, kind)
}
