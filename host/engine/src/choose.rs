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
use tenure_core::lease::StickyKey;
use tenure_core::ledger::{For, Print, Slot, Status, Unavailable};
use tenure_core::name::{Digest, PoolName, SpaceName};
use tenure_core::ports::Pinned;

use crate::candidates::Candidates;
use crate::holds::Holds;
use crate::wait::{Shortage, Ticket};
use crate::{AddRequest, Engine, EngineError, FixedAddress};

/// So long a sticky key asks its runtime to try again for its own address that rests, before it takes another.
const KEY_PATIENCE: Duration = Duration::from_secs(10);

/// What an ADD will write.
pub(crate) struct Choice {
    /// The reserved addresses, one per family.
    pub(crate) holds: Holds,
    /// The families of the set.
    pub(crate) families: Families,
    /// The key that they are kept for.
    pub(crate) sticky: Option<StickyKey>,
    /// Nobody here has heard of that key.
    pub(crate) is_first_use: bool,
    /// The affinity policy's mark.
    pub(crate) tag: u64,
    /// Digests of the policies that decided.
    pub(crate) decided_by: Vec<Digest>,
}

/// Why nothing was chosen.
pub(crate) enum NoChoice {
    /// What is lacking may come.
    NotYet(Box<Shortage>),
    /// Waiting does not help.
    Never(EngineError),
}

/// An address that is wanted before any other.
struct Wish {
    address: IpAddr,
    /// The routing domain of the row that is meant; none where only the address was named.
    space: Option<SpaceName>,
    whom: For,
    if_held: IfHeld,
}

impl Wish {
    fn named(address: IpAddr, whom: For, if_held: IfHeld) -> Self {
        Self { address, space: None, whom, if_held }
    }

    fn is_for_key(&self) -> bool {
        matches!(self.whom, For::Key(_))
    }
}

/// What affinity and the runtime ask for.
#[derive(Default)]
struct Wishes {
    list: Vec<Wish>,
    sticky: Option<StickyKey>,
    is_first_use: bool,
}

impl Choice {
    /// Decides and reserves.
    pub(crate) fn make(
        engine: &Arc<Engine>,
        request: &AddRequest,
        previous: Vec<Previous>,
        ticket: Option<Ticket>,
    ) -> Result<Self, NoChoice> {
        let now = engine.now();
        let candidates = Candidates::find(&mut engine.state.lock(), request, now)?;
        let families = candidates.families;
        let mut choice = Self {
            holds: Holds::new(engine),
            families,
            sticky: None,
            is_first_use: false,
            tag: 0,
            decided_by: Vec::new(),
        };
        // One view of the policies for the whole ADD.
        let policies = engine.ports.policies.pinned();
        let wishes = choice.wishes(engine, &*policies, (request, &candidates), previous)?;
        let mut open = families;
        for wish in &wishes.list {
            if choice.grant(engine, wish, &candidates, open)? {
                open = without(open, Family::of(wish.address));
            }
        }
        choice.sticky = wishes.sticky;
        choice.is_first_use = wishes.is_first_use;
        if !open.is_empty() {
            choice.select(engine, &*policies, request, (&candidates, open), ticket)?;
        }
        Ok(choice)
    }

    /// Asks for affinity and puts the wishes of the runtime first: they are explicit.
    fn wishes(
        &mut self,
        engine: &Arc<Engine>,
        policies: &dyn Pinned,
        (request, candidates): (&AddRequest, &Candidates),
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
        let decided = policies.affinity(&question);
        self.note(&decided.by);
        self.tag = decided.answer.tag;
        let mut wishes = Wishes::default();
        for FixedAddress { address, prefix } in request.fixed.iter().copied() {
            engine.check_prefix(candidates, address, prefix)?;
            wishes.list.push(Wish::named(address, For::Anyone, IfHeld::Fail));
        }
        match decided.answer.choice {
            Affinity::None => {}
            Affinity::Fixed { addresses, if_held } => {
                let wish = |address| Wish::named(address, For::Policy, if_held);
                wishes.list.extend(addresses.into_iter().map(wish));
            }
            Affinity::Reuse(rows) => {
                let rows = rows.iter().filter_map(|row| question.previous.get(*row as usize));
                let state = engine.current(candidates)?;
                let space = |row: &Previous| {
                    state.ledger.pool(row.pool as usize).map(|pool| pool.spec.space.clone())
                };
                wishes.list.extend(rows.map(|row| Wish {
                    space: space(row),
                    ..Wish::named(row.address, For::Policy, IfHeld::Other)
                }));
            }
            Affinity::Sticky { key, if_held, retain_s, preferred } => {
                let sticky = (StickyKey { key: key.into(), retain_s }, if_held, &*preferred);
                engine.sticky(request, candidates, sticky, &mut wishes, &mut self.holds)?;
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
        let key = engine.key_among(candidates, wish.address, wish.space.as_ref())?;
        let Some(key) = key else {
            if explicit || (!wish.is_for_key() && wish.if_held != IfHeld::Other) {
                let why = "no pool that serves this network and holder has it".to_owned();
                return Err(unavailable(wish.address, why, Kind::Invalid));
            }
            return Ok(false);
        };
        match engine.take_exact(candidates, &key, wish.whom)? {
            Ok(hold) => {
                self.holds.push(hold);
                Ok(true)
            }
            // Nobody holds it, it only rests: what is due so soon is worth another try of the runtime.
            Err(why @ Unavailable::Resting { due: Some(due) })
                if wish.is_for_key() && due <= KEY_PATIENCE =>
            {
                Err(exact_error(wish, why))
            }
            Err(_) if wish.if_held == IfHeld::Other => Ok(false),
            // The key's address is no longer handed out: the key gets another one.
            Err(Unavailable::NoPool | Unavailable::NotUsable) if wish.is_for_key() => Ok(false),
            Err(why) => Err(exact_error(wish, why)),
        }
    }

    /// Asks for a ranking and takes, per family, from the first pool that gives.
    fn select(
        &mut self,
        engine: &Arc<Engine>,
        policies: &dyn Pinned,
        request: &AddRequest,
        (candidates, open): (&Candidates, Families),
        ticket: Option<Ticket>,
    ) -> Result<(), NoChoice> {
        let decided = policies.select(&SelectRequest {
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
                let policy = decided.by.name().to_owned();
                return Err(NoChoice::Never(EngineError::Denied { policy, reason }));
            }
        };
        for family in open.iter() {
            let pools = candidates.ranked(&ranking, family);
            match engine.take_any(candidates, (request, &pools), ticket)? {
                Ok(hold) => self.holds.push(hold),
                Err(due) => {
                    let error = engine.exhausted(family, candidates.names(&pools), due);
                    let ranked = |family| candidates.names(&candidates.ranked(&ranking, family));
                    let pools = open.iter().map(ranked).collect();
                    let may_probe = engine.may_probe(request);
                    let shortage = Shortage { pools, exact: false, may_probe, due, error };
                    return Err(NoChoice::NotYet(Box::new(shortage)));
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, by: &DecidedBy) {
        if let DecidedBy::Policy { digest, .. } = by {
            self.decided_by.push(digest.clone());
        }
    }
}

impl From<EngineError> for NoChoice {
    /// An error that says "try again" about one certain address or key may be waited out.
    fn from(error: EngineError) -> Self {
        let due = match &error {
            EngineError::FixedUnavailable { kind: Kind::Retry, due, .. } => *due,
            EngineError::KeyHeld { kind: Kind::Retry, .. } => None,
            _ => return Self::Never(error),
        };
        let pools = Vec::new();
        Self::NotYet(Box::new(Shortage { pools, exact: true, may_probe: false, due, error }))
    }
}

impl Engine {
    fn exhausted(
        &self,
        family: Family,
        pools: Vec<PoolName>,
        due: Option<Duration>,
    ) -> EngineError {
        let now = self.now();
        let mut state = self.state.lock();
        let waiting = state.waiting.longest(&pools);
        let counts = state.counts_of(&pools, now);
        EngineError::Exhausted { family, pools, counts, due, waiting, waited: Duration::ZERO }
    }

    /// Randomness for one decision, recorded with it.
    fn seed(&self) -> u64 {
        getrandom::u64().unwrap_or_else(|_| self.ports.clock.now().0)
    }

    /// Turns a sticky key into wishes: the addresses that the key has, else the preferred ones. The key is in flight
    /// from here on: of two ADDs that bring it at once, the second finds it held.
    fn sticky(
        &self,
        request: &AddRequest,
        candidates: &Candidates,
        sticky: (StickyKey, IfHeld, &[IpAddr]),
        wishes: &mut Wishes,
        holds: &mut Holds,
    ) -> Result<(), EngineError> {
        let (key, if_held, preferred) = sticky;
        let wall = self.now().wall;
        let mut state = self.current(candidates)?;
        for family in candidates.families.iter() {
            let print = Print::sticky(&request.attachment, family, &key.key);
            let mut rows = state.ledger.of_sticky(print);
            rows.retain(|(key, slot)| key.family() == family && owns(slot, wall));
            let is_held = |slot: &Slot| !matches!(slot.status, Status::Released { .. });
            let held = rows.iter().find(|(_, slot)| is_held(slot)).map(|(key, _)| key.address);
            if held.is_some() || !state.keys_in_flight.insert(print) {
                if if_held == IfHeld::Other {
                    wishes.list.retain(|wish| !wish.is_for_key());
                    return Ok(());
                }
                let kind = if if_held == IfHeld::Wait { Kind::Retry } else { Kind::Refused };
                self.sweep_now.notify_one();
                return Err(EngineError::KeyHeld { key: key.key.to_string(), address: held, kind });
            }
            holds.push_key(print);
            // Of several retained rows the one released last comes first.
            rows.sort_by_key(|(_, slot)| std::cmp::Reverse(released_at(slot)));
            let wish = |address| Wish::named(address, For::Key(print), if_held);
            wishes.list.extend(
                rows.iter()
                    .map(|(key, _)| Wish { space: Some(key.space.clone()), ..wish(key.address) }),
            );
            if rows.is_empty() {
                wishes.is_first_use = true;
                let first_use = preferred.iter().copied().filter(|a| Family::of(*a) == family);
                wishes.list.extend(first_use.map(wish));
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
}

fn without(families: Families, family: Family) -> Families {
    families.iter().filter(|f| *f != family).collect()
}

/// Whether the row still belongs to its sticky key: held, or kept for it.
fn owns(slot: &Slot, wall: tenure_core::time::WallMs) -> bool {
    match slot.status {
        Status::Released { keep_until, .. } => keep_until.is_some_and(|until| until > wall),
        // A quarantined holder may live, and be bound again; one whose address a foreign machine has gets another.
        _ => slot.has_holder(),
    }
}

fn released_at(slot: &Slot) -> u64 {
    match slot.status {
        Status::Released { at, .. } => at.0,
        _ => 0,
    }
}

fn unavailable(address: IpAddr, why: String, kind: Kind) -> EngineError {
    EngineError::FixedUnavailable { address, why, kind, due: None }
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
    let due = match why {
        Unavailable::Resting { due } | Unavailable::Exhausted { due } => due,
        _ => None,
    };
    EngineError::FixedUnavailable { address: wish.address, why: text, kind, due }
}
