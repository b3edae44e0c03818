//! What is alive on this machine, before pools are served: at each start, after an import, and when a pool has addresses
//! that it had not. A store that went back in time, or that knows nothing yet, would give live addresses away.
//!
//! ```text
//! census of all links -> each address inside a pool: does its row name that namespace?
//!   yes: seen on a link    no: quarantined until that namespace ends
//! ```
//!
//! Two namespaces may have one address, and a row names one of them. So what was found leaves quarantine only when its
//! holder is gone *and* a complete census finds the address on no link; a DEL of one of two claimants leaves the other.
//!
//! Where the store is known to have gone back (`strict`), nothing is given before a census was complete, except after
//! a valid silent probe. Otherwise a census that fails is told and keeps nobody waiting: then the store is the truth.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tenure_core::address::Family;
use tenure_core::defaults::CENSUS_AGAIN;
use tenure_core::judge::{Evidence, Finding, find};
use tenure_core::lease::{
    Attachment, AttemptId, Generation, Lease, LeaseKey, LeaseState, NodeRef, Owner, QuarantineCause,
};
use tenure_core::ledger::{Home, RowAt, Slot, Status};
use tenure_core::name::{ContainerId, Digest, IfName, NetworkName};
use tenure_core::ports::{Census, Place, Sighting};
use tenure_core::time::{Moment, WallMs};
use tenure_store::{Row, Write};

use crate::add::random;
use crate::engine::State;
use crate::{Engine, EngineError};

/// A census that was not complete is taken again after so long.
const CENSUSES_APART: Duration = Duration::from_secs(5);
/// So often a census is taken anew because rows or pools changed under it; then the next ADD or sweep takes it.
const CENSUSES_AT_ONCE: usize = 3;
/// The network and interface of a holder of which nothing is known but its namespace.
const UNKNOWN: &str = "unknown";

/// Why it is not known what is alive.
#[derive(Debug, Clone)]
pub(crate) struct Unsettled {
    /// Nothing may be given before it is known.
    pub(crate) strict: bool,
    pub(crate) why: String,
    /// When the last census was taken.
    tried: Option<Moment>,
    /// Who held what of this machine before the store was replaced: their links may not be up yet.
    remembered: Vec<RowAt>,
}

/// An address and what the store has there.
type RowOf = (LeaseKey, Option<Slot>);

/// An address that stands on a link where the store has none.
struct Claim {
    key: LeaseKey,
    slot: Option<Slot>,
    holder: Unknown,
    against: Against,
}

/// A holder of which nothing is known but where it is.
#[derive(Debug, Clone)]
struct Unknown {
    /// Of which boot of which node.
    node: Arc<NodeRef>,
    place: Option<Place>,
    ifname: String,
}

impl Unknown {
    /// A name for it, by where it is.
    fn attachment(&self) -> Result<Attachment, EngineError> {
        let bug = |what: String| EngineError::Bug { what };
        let container = match self.place {
            Some(Place::Netns(netns)) => format!("netns-{}", netns.ino),
            Some(Place::Hidden { nsid }) => format!("nsid-{nsid}"),
            None => UNKNOWN.to_owned(),
        };
        let ifname = IfName::new(&self.ifname).or_else(|_| IfName::new(UNKNOWN));
        Ok(Attachment {
            network: NetworkName::new(UNKNOWN).map_err(|e| bug(e.to_string()))?,
            container: ContainerId::new(container).map_err(|e| bug(e.to_string()))?,
            ifname: ifname.map_err(|e| bug(e.to_string()))?,
        })
    }
}

/// Whom it would take the address from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Against {
    /// Nobody in the store may use it.
    Nobody,
    /// The recorded holder, who may live.
    Holder,
}

impl Unsettled {
    /// After an import, in place of what was known before.
    pub(crate) fn after_import(before: &State, why: &str) -> Self {
        let is_held = |slot: &Slot| slot.has_holder() && slot.home == Home::Here;
        let held = before.ledger.rows_at(&before.ledger.keys_where(is_held), is_held);
        let earlier = before.unsettled.iter().flat_map(|unsettled| unsettled.remembered.clone());
        Self { remembered: earlier.chain(held).collect(), ..Self::new(true, why) }
    }

    pub(crate) fn new(strict: bool, why: impl Into<String>) -> Self {
        Self { strict, why: why.into(), tried: None, remembered: Vec::new() }
    }
}

/// What follows from a claim.
enum Answer {
    Write(Box<Write>),
    /// The record says so already.
    Nothing,
    /// The row is another one by now.
    Changed,
}

impl Engine {
    /// Finds out what is alive, if that is not known. Called before sockets open, and by the first ADD otherwise.
    ///
    /// # Errors
    /// The store failed: nothing may be concluded.
    pub async fn learn_what_lives(self: &Arc<Self>) -> Result<(), EngineError> {
        for _ in 0..CENSUSES_AT_ONCE {
            if self.census_says_all().await? {
                break;
            }
        }
        Ok(())
    }

    /// Takes a census, if one is due; false if rows or pools changed under it, so that another one is needed.
    async fn census_says_all(self: &Arc<Self>) -> Result<bool, EngineError> {
        {
            let now = self.now().moment;
            let mut state = self.state.lock();
            if state.census_again.is_some_and(|due| due <= now) {
                state.census_again = None;
                let why = "the store went back while containers were on their way";
                state.unsettled.get_or_insert_with(|| Unsettled::new(false, why));
            }
            if state.unsettled.is_none() {
                return Ok(true);
            }
        }
        let _one = self.settling.lock().await;
        let now = self.now().moment;
        let (unsettled, catalogue) = {
            let state = self.state.lock();
            (state.unsettled.clone(), state.catalogue.clone())
        };
        let Some(unsettled) = unsettled else { return Ok(true) };
        if unsettled.tried.is_some_and(|tried| now.since(tried) < CENSUSES_APART) {
            return Ok(true);
        }
        // Leases first, evidence second: what changes hands from here on is not judged by this census.
        let before = self.revisions();
        let taken = self.in_background(|engine| engine.ports.kernel.census()).await?;
        let lacking = match taken {
            Ok(Census { sightings, incomplete }) => {
                if !self.take_in((sightings, unsettled.remembered.clone()), before).await? {
                    return Ok(false);
                }
                incomplete
            }
            Err(error) => Some(error.to_string()),
        };
        let mut state = self.state.lock();
        if !Arc::ptr_eq(&state.catalogue, &catalogue) {
            // The pools changed, or an import came in between: that is not what this census was about.
            return Ok(false);
        }
        match lacking {
            Some(lacking) if unsettled.strict => {
                tracing::error!(
                    why = unsettled.why,
                    lacking,
                    "what is alive is not known: addresses are given only after a silent probe"
                );
                let why = format!(
                    "{}; the census of this machine is not complete: {lacking}",
                    unsettled.why
                );
                state.unsettled = Some(Unsettled { tried: Some(now), why, ..unsettled });
            }
            lacking => {
                if let Some(lacking) = lacking {
                    tracing::warn!(
                        lacking,
                        "the census of this machine is not complete; the store is believed"
                    );
                }
                if unsettled.strict {
                    state.census_again = Some(now.plus(CENSUS_AGAIN));
                }
                state.unsettled = None;
                state.waiting.wake();
            }
        }
        Ok(true)
    }

    /// The same after something that has happened already, whatever becomes of the census.
    pub(crate) async fn learn_if_possible(self: &Arc<Self>) {
        if let Err(error) = self.learn_what_lives().await {
            tracing::warn!(%error, "the census of this machine did not end; the next ADD or sweep takes it again");
        }
    }

    /// Whether it is known what is alive on this machine, as far as it must be: not after a store went back in time, until
    /// a census was complete.
    #[must_use]
    pub fn knows_what_lives(&self) -> bool {
        let is_present = self.state.lock().epoch == self.epoch();
        is_present && self.not_known().is_none()
    }

    /// Of these addresses those that certainly stand on no link of the machine, but for links that are explained by a row of
    /// another space.
    pub(crate) fn on_no_link(&self, keys: HashSet<LeaseKey>) -> HashSet<LeaseKey> {
        if keys.is_empty() {
            return keys;
        }
        let census = match self.ports.kernel.census() {
            Ok(census) if census.incomplete.is_none() => census,
            Ok(_) | Err(_) => return HashSet::new(),
        };
        let mut free = keys;
        for sighting in census.sightings {
            let (its, others) = self.rows_meant(&sighting);
            let meant = if its.is_empty() { others } else { its };
            for (key, _) in meant {
                free.remove(&key);
            }
        }
        free
    }

    /// Why addresses are given only after a silent probe, if so.
    pub(crate) fn not_known(&self) -> Option<String> {
        let state = self.state.lock();
        state.unsettled.as_ref().filter(|unsettled| unsettled.strict).map(|u| u.why.clone())
    }

    /// Quarantines what the store does not know of; false if some of it changed hands meanwhile.
    async fn take_in(
        self: &Arc<Self>,
        seen: (Vec<Sighting>, Vec<RowAt>),
        before: HashMap<LeaseKey, u64>,
    ) -> Result<bool, EngineError> {
        let found = self.in_background(move |engine| engine.claims(seen, &before)).await?;
        let (claims, mut all) = found;
        let mut writes = Vec::new();
        for claim in claims {
            match self.answered(claim).await? {
                Answer::Write(write) => writes.push(*write),
                Answer::Nothing => {}
                Answer::Changed => all = false,
            }
        }
        let due = writes.len();
        let done = self.commit_each(writes).await?;
        all &= done.len() == due;
        for lease in done {
            self.counters.found.one();
            tracing::error!(
                address = %lease.key(), container = %lease.attachment.container,
                "an address of a pool stands on a link of which the store knows nothing: it is quarantined until that ends"
            );
        }
        Ok(all)
    }

    /// What the sightings say against the store, and whether that is all: what changed since `before` is not judged by
    /// them. Of two namespaces with one address the first one found counts.
    fn claims(
        &self,
        (sightings, remembered): (Vec<Sighting>, Vec<RowAt>),
        before: &HashMap<LeaseKey, u64>,
    ) -> (Vec<Claim>, bool) {
        let mut claimed = HashSet::new();
        let (mut claims, mut all) = (Vec::new(), true);
        let as_before = |key: &LeaseKey, slot: &Option<Slot>| {
            slot.map(|slot| slot.revision) == before.get(key).copied()
        };
        let meant = |sighting: Sighting| {
            let (its, others) = self.rows_meant(&sighting);
            (sighting, its, others)
        };
        let meant: Vec<_> = sightings.into_iter().map(meant).collect();
        let in_store = |key: &LeaseKey| self.state.lock().ledger.slot(key).filter(is_in_store);
        let present = remembered.iter().map(|held| (held.key.clone(), in_store(&held.key)));
        let others = meant.iter().flat_map(|(_, _, others)| others.iter().cloned());
        let defended = self.defended(others.chain(present));
        let against = |key: &LeaseKey| match defended.contains(key) {
            true => Against::Holder,
            false => Against::Nobody,
        };
        for (sighting, its, others) in meant {
            if !its.is_empty() {
                its.iter()
                    .filter(|(key, slot)| as_before(key, slot))
                    .for_each(|row| self.note_holder(row));
                continue;
            }
            for (key, slot) in others {
                if !as_before(&key, &slot) {
                    all = false;
                } else if !claimed.contains(&key) && !self.was_found(slot.as_ref(), &sighting) {
                    claimed.insert(key.clone());
                    let (place, ifname) = (Some(sighting.place), sighting.ifname.clone());
                    let node = self.node_of_sighting(&sighting);
                    let (holder, against) = (Unknown { node, place, ifname }, against(&key));
                    claims.push(Claim { key, slot, holder, against });
                }
            }
        }
        let over = self.evidence_at(&remembered);
        for (RowAt { key, slot: held }, evidence) in remembered.into_iter().zip(over) {
            if !defends(&held, &evidence) || claimed.contains(&key) {
                continue;
            }
            let Some(slot) = self.forgotten(&key, &held) else { continue };
            if as_before(&key, &slot) {
                claimed.insert(key.clone());
                let (place, ifname) = (held.netns.map(Place::Netns), UNKNOWN.to_owned());
                let node = self.state.lock().ledger.node(&held);
                let (holder, against) = (Unknown { node, place, ifname }, against(&key));
                claims.push(Claim { key, slot, holder, against });
            } else {
                all = false;
            }
        }
        (claims, all)
    }

    /// Those of the rows that defend a holder who may live.
    fn defended(&self, rows: impl Iterator<Item = RowOf>) -> HashSet<LeaseKey> {
        let rows: Vec<RowAt> =
            rows.filter_map(|(key, slot)| Some(RowAt { key, slot: slot? })).collect();
        let found = self.evidence_at(&rows);
        let of_holder = rows.into_iter().zip(found).filter(|(at, found)| defends(&at.slot, found));
        of_holder.map(|(at, _)| at.key).collect()
    }

    /// What the store has now in the place of a holder that was known before and is not over, if it forgot that one.
    fn forgotten(&self, key: &LeaseKey, held: &Slot) -> Option<Option<Slot>> {
        let slot = {
            let state = self.state.lock();
            let slot = state.ledger.slot(key);
            if slot.is_none() && !state.ledger.is_usable(key) {
                return None;
            }
            slot.filter(is_in_store)
        };
        let is_same = |now: Slot| {
            now.has_holder()
                && now.home == Home::Here
                && (now.netns, now.attachment) == (held.netns, held.attachment)
        };
        (!slot.is_some_and(is_same)).then_some(slot)
    }

    /// The version of every row.
    fn revisions(&self) -> HashMap<LeaseKey, u64> {
        let state = self.state.lock();
        let keys = state.ledger.keys_where(is_in_store);
        let rows =
            keys.into_iter().filter_map(|key| Some((state.ledger.slot(&key)?.revision, key)));
        rows.map(|(revision, key)| (key, revision)).collect()
    }

    /// The rows that a sighted address may mean, one in each space that has a pool for it: those that name its holder, and
    /// all others. Which of the spaces a link belongs to nobody can see, but by the row that names the holder.
    fn rows_meant(&self, sighting: &Sighting) -> (Vec<RowOf>, Vec<RowOf>) {
        let state = self.state.lock();
        let has = |pool: &&tenure_core::pool::Pool| pool.spec.cidr.contains(&sighting.address);
        let spaces = state.ledger.pools().filter(has).map(|pool| pool.spec.space.clone());
        let row = |space| {
            let key = LeaseKey { space, address: sighting.address };
            let slot = state.ledger.slot(&key);
            (key, slot)
        };
        let counts = |(key, slot): &RowOf| slot.is_some() || state.ledger.is_usable(key);
        let in_store = |(key, slot): RowOf| (key, slot.filter(is_in_store));
        let rows = spaces.map(row).filter(counts).map(in_store);
        rows.partition(|(_, slot)| explains(&state, slot.as_ref(), sighting))
    }

    /// Whether a census found that holder before.
    fn was_found(&self, slot: Option<&Slot>, sighting: &Sighting) -> bool {
        let state = self.state.lock();
        slot.is_some_and(|slot| {
            matches!(slot.status, Status::Quarantined { found: true, .. })
                && is_its_home(&state, slot, sighting)
        })
    }

    fn node_of_sighting(&self, sighting: &Sighting) -> Arc<NodeRef> {
        sighting.node.clone().unwrap_or_else(|| Arc::new(self.options.node.clone()))
    }

    /// Remembers that the recorded holder was seen with its address.
    fn note_holder(&self, (key, slot): &RowOf) {
        if let Some(slot) = slot {
            self.state.lock().ledger.note_seen(key, slot.generation);
        }
    }

    /// What is written because of a claim.
    async fn answered(&self, claim: Claim) -> Result<Answer, EngineError> {
        let Claim { key, slot, holder, against } = claim;
        let Some(slot) = slot else {
            let lease = self.stranger(&key, &holder, None)?;
            return Ok(Answer::Write(Box::new(Write::Create(lease))));
        };
        let Some(row) = self.ports.store.get(&key).await? else { return Ok(Answer::Changed) };
        if row.revision.0 != slot.revision {
            self.doubt([key]);
            return Ok(Answer::Changed);
        }
        let Row { mut lease, revision } = row;
        let lease = match against {
            Against::Holder if is_contested(&lease) => return Ok(Answer::Nothing),
            Against::Holder => {
                let cause = QuarantineCause::TwoClaims;
                lease.state = LeaseState::Quarantined { at: self.now().wall, cause };
                lease
            }
            Against::Nobody => self.stranger(&key, &holder, Some(&lease))?,
        };
        Ok(Answer::Write(Box::new(Write::Replace { lease, expect: revision })))
    }

    /// A record for a holder of which only the namespace is known.
    fn stranger(
        &self,
        key: &LeaseKey,
        holder: &Unknown,
        before: Option<&Lease>,
    ) -> Result<Lease, EngineError> {
        let netns = match holder.place {
            Some(Place::Netns(netns)) => Some(netns),
            Some(Place::Hidden { .. }) | None => None,
        };
        let now = self.now();
        let pool = {
            let state = self.state.lock();
            let pool = state.ledger.pool_at(key);
            let pool = pool.map(|pool| pool.name.clone());
            pool.or_else(|| before.map(|row| row.pool.clone())).ok_or(EngineError::Overtaken)?
        };
        Ok(Lease {
            address: key.address,
            pool,
            space: key.space.clone(),
            attachment: holder.attachment()?,
            owner: Owner::default(),
            node: NodeRef::clone(&holder.node),
            netns,
            attempt: AttemptId(random()?),
            families: std::iter::once(Family::of(key.address)).collect(),
            generation: before.map_or(Generation(1), |lease| lease.generation.next()),
            epoch: self.epoch(),
            state: LeaseState::Quarantined { at: now.wall, cause: QuarantineCause::Found },
            sticky: None,
            tag: 0,
            config: Digest::of(UNKNOWN.as_bytes()),
            decided_by: Vec::new(),
            bound_at: now.wall,
            bound_boottime_ms: self.ports.clock.boottime_ms(),
            previous: before
                .map_or_else(Vec::new, |lease| lease.holder_as_past(now.wall, "census")),
        })
    }
}

/// An address that an ADD has reserved and nobody had before is in no store yet: the ADD meets what the census writes.
fn is_in_store(slot: &Slot) -> bool {
    slot.revision > 0
}

/// Whether a row explains an address in this namespace: it is that of its holder, or of its last one. One that was only
/// found there explains nothing: the address may be that of another space.
fn explains(state: &State, slot: Option<&Slot>, sighting: &Sighting) -> bool {
    slot.is_some_and(|slot| {
        !matches!(slot.status, Status::Quarantined { found: true, .. })
            && is_its_home(state, slot, sighting)
    })
}

/// Cookies and ids begin anew with each boot: a row of an earlier one, or of another machine, names no namespace of those
/// that were seen. Boots are told apart by their ids, which no two machines share.
fn is_its_home(state: &State, slot: &Slot, sighting: &Sighting) -> bool {
    let is_there = |node: &Arc<NodeRef>| state.ledger.node(slot).boot == node.boot;
    if !sighting.node.as_ref().is_none_or(is_there) {
        return false;
    }
    let netns = slot.netns.filter(|_| slot.home == Home::Here);
    netns.is_some_and(|known| match sighting.place {
        Place::Netns(seen) => seen.cookie == known.cookie,
        // Which namespace it is nobody can say; that of a lease with this id, unless that ended.
        Place::Hidden { nsid } => known.nsid == Some(nsid),
    })
}

/// Whether a row defends its holder. Only one that is certainly over has nothing to lose.
fn defends(slot: &Slot, evidence: &Evidence) -> bool {
    let may_live = matches!(find(evidence), Finding::Alive | Finding::Unknown(_));
    may_live && slot.has_holder()
}

/// Whether a census put the row into quarantine.
pub(crate) fn is_contested(lease: &Lease) -> bool {
    let LeaseState::Quarantined { cause, .. } = &lease.state else { return false };
    matches!(cause, QuarantineCause::Found | QuarantineCause::TwoClaims)
}

/// What one of two claimants leaves: the other one, of whom nothing is known.
pub(crate) fn left_to_the_other(lease: Lease, wall: WallMs) -> Result<Lease, EngineError> {
    let place = lease.netns.map(Place::Netns);
    let node = Arc::new(lease.node.clone());
    Ok(Lease {
        attachment: Unknown { node, place, ifname: UNKNOWN.to_owned() }.attachment()?,
        owner: Owner::default(),
        sticky: None,
        state: LeaseState::Quarantined { at: wall, cause: QuarantineCause::Found },
        ..lease
    })
}
