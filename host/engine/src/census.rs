//! What is alive on this machine, before pools are served: at each start, after an import, and when a pool is new or
//! wider than before. A store that went back in time, or that knows nothing yet, would give live addresses away.
//!
//! ```text
//! census of all links -> each address inside a pool: does its row name that namespace?
//!   yes: seen on a link    no: quarantined until that namespace ends
//! ```
//!
//! Where the store is known to have gone back (`strict`), nothing is given before a census was complete, except after
//! a valid silent probe. Otherwise a census that fails is told and keeps nobody waiting: then the store is the truth.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tenure_core::address::Family;
use tenure_core::judge::{Finding, find};
use tenure_core::lease::{
    Attachment, AttemptId, Generation, Lease, LeaseKey, LeaseState, Netns, Owner, QuarantineCause,
};
use tenure_core::ledger::{Home, Slot, Status};
use tenure_core::name::{ContainerId, Digest, IfName, NetworkName};
use tenure_core::ports::{Census, KernelLook, Place, Sighting};
use tenure_core::time::Moment;
use tenure_store::{Row, Write};

use crate::add::random;
use crate::assess::evidence_of;
use crate::{Engine, EngineError};

/// A census that was not complete is taken again after so long.
const CENSUSES_APART: Duration = Duration::from_secs(5);
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
}

/// An address that stands on a link where the store has none.
struct Claim {
    key: LeaseKey,
    slot: Option<Slot>,
    sighting: Sighting,
    against: Against,
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
    pub(crate) fn new(strict: bool, why: impl Into<String>) -> Self {
        Self { strict, why: why.into(), tried: None }
    }
}

impl Engine {
    /// Finds out what is alive, if that is not known. Called before sockets open, and by the first ADD otherwise.
    ///
    /// # Errors
    /// The store failed: nothing may be concluded.
    pub async fn learn_what_lives(self: &Arc<Self>) -> Result<(), EngineError> {
        if self.state.lock().unsettled.is_none() {
            return Ok(());
        }
        let _one = self.settling.lock().await;
        let now = self.now().moment;
        let (unsettled, catalogue) = {
            let state = self.state.lock();
            (state.unsettled.clone(), state.catalogue.clone())
        };
        let Some(unsettled) = unsettled else { return Ok(()) };
        if unsettled.tried.is_some_and(|tried| now.since(tried) < CENSUSES_APART) {
            return Ok(());
        }
        // Leases first, evidence second: what changes hands from here on is not judged by this census.
        let before = self.revisions();
        let taken = self.in_background(|engine| engine.ports.kernel.census()).await?;
        let lacking = match taken {
            Ok(Census { sightings, incomplete }) => {
                self.take_in(sightings, before).await?;
                incomplete
            }
            Err(error) => Some(error.to_string()),
        };
        let mut state = self.state.lock();
        if !Arc::ptr_eq(&state.catalogue, &catalogue) {
            // The pools changed, or an import came in between: that is not what this census was about.
            return Ok(());
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
                state.unsettled = None;
                state.waiting.wake();
            }
        }
        Ok(())
    }

    /// Why addresses are given only after a silent probe, if so.
    pub(crate) fn not_known(&self) -> Option<String> {
        let state = self.state.lock();
        state.unsettled.as_ref().filter(|unsettled| unsettled.strict).map(|u| u.why.clone())
    }

    /// Quarantines what the store does not know of.
    async fn take_in(
        self: &Arc<Self>,
        sightings: Vec<Sighting>,
        before: HashMap<LeaseKey, u64>,
    ) -> Result<(), EngineError> {
        let claims = self.in_background(move |engine| engine.claims(sightings, &before)).await?;
        let mut writes = Vec::new();
        for claim in claims {
            writes.extend(self.answered(claim).await?);
        }
        for lease in self.commit_each(writes).await? {
            self.counters.found.one();
            tracing::error!(
                address = %lease.key(), container = %lease.attachment.container,
                "an address of a pool stands on a link of which the store knows nothing: it is quarantined until that ends"
            );
        }
        Ok(())
    }

    /// What the sightings say against the store. Of two namespaces with one address the first one found counts.
    fn claims(&self, sightings: Vec<Sighting>, before: &HashMap<LeaseKey, u64>) -> Vec<Claim> {
        let look = self.ports.kernel.look().ok();
        let mut claimed = HashSet::new();
        let mut claims = Vec::new();
        for sighting in sightings {
            for key in self.keys_in_pools(&sighting) {
                let slot = self.state.lock().ledger.slot(&key);
                let is_as_before = slot.map(|slot| slot.revision) == before.get(&key).copied();
                if !is_as_before || claimed.contains(&key) {
                    continue;
                }
                if let Some(against) = self.weigh(look.as_deref(), &key, slot, sighting.place) {
                    claimed.insert(key.clone());
                    claims.push(Claim { key, slot, sighting: sighting.clone(), against });
                }
            }
        }
        claims
    }

    /// The version of every row.
    fn revisions(&self) -> HashMap<LeaseKey, u64> {
        let state = self.state.lock();
        let keys = state.ledger.keys_where(|_| true);
        let rows =
            keys.into_iter().filter_map(|key| Some((state.ledger.slot(&key)?.revision, key)));
        rows.map(|(revision, key)| (key, revision)).collect()
    }

    /// The rows that a sighted address may mean: one in each space that has a pool for it.
    fn keys_in_pools(&self, sighting: &Sighting) -> Vec<LeaseKey> {
        let state = self.state.lock();
        let has = |pool: &&tenure_core::pool::Pool| pool.spec.cidr.contains(&sighting.address);
        let spaces = state.ledger.pools().filter(has).map(|pool| pool.spec.space.clone());
        let key = |space| LeaseKey { space, address: sighting.address };
        spaces
            .map(key)
            .filter(|key| state.ledger.is_usable(key) || state.ledger.slot(key).is_some())
            .collect()
    }

    /// What is written because of a claim; nothing if the row has changed meanwhile.
    async fn answered(&self, claim: Claim) -> Result<Option<Write>, EngineError> {
        let Claim { key, slot, sighting, against } = claim;
        let Some(slot) = slot else {
            return Ok(Some(Write::Create(self.stranger(&key, &sighting, None)?)));
        };
        let Some(row) = self.ports.store.get(&key).await? else { return Ok(None) };
        if row.revision.0 != slot.revision {
            self.doubt([key]);
            return Ok(None);
        }
        let Row { mut lease, revision } = row;
        let lease = match against {
            Against::Holder => {
                let cause = QuarantineCause::TwoClaims;
                lease.state = LeaseState::Quarantined { at: self.now().wall, cause };
                lease
            }
            Against::Nobody => self.stranger(&key, &sighting, Some(&lease))?,
        };
        Ok(Some(Write::Replace { lease, expect: revision }))
    }

    /// Against whom the store stands, if a holder there means that it is wrong.
    fn weigh(
        &self,
        look: Option<&dyn KernelLook>,
        key: &LeaseKey,
        slot: Option<Slot>,
        place: Place,
    ) -> Option<Against> {
        let Some(slot) = slot else { return Some(Against::Nobody) };
        let same = match (place, slot.netns) {
            (Place::Netns(seen), Some(known)) => seen.cookie == known.cookie,
            // Which namespace it is nobody can say; that of a lease of this boot with this id, unless that ended.
            (Place::Hidden { nsid }, Some(known)) => {
                slot.home == Home::Here && known.nsid == Some(nsid)
            }
            (_, None) => false,
        };
        match slot.status {
            Status::Reserved { .. } => None,
            Status::Released { .. } => (!same).then_some(Against::Nobody),
            Status::Bound { .. } | Status::Quarantined { .. } if same => {
                self.state.lock().ledger.note_seen(key, slot.generation);
                None
            }
            Status::Quarantined { .. } => None,
            // The recorded holder is another one. Only if it is certainly over has it nothing to lose.
            Status::Bound { .. } => Some(match find(&evidence_of(look, &slot)) {
                Finding::Dead(_) => Against::Nobody,
                Finding::Alive | Finding::Unknown(_) => Against::Holder,
            }),
        }
    }

    /// A record for a holder of which only the namespace is known.
    fn stranger(
        &self,
        key: &LeaseKey,
        sighting: &Sighting,
        before: Option<&Lease>,
    ) -> Result<Lease, EngineError> {
        let bug = |what: String| EngineError::Bug { what };
        let (netns, container) = match sighting.place {
            Place::Netns(netns) => (Some(netns), format!("netns-{}", netns.ino)),
            Place::Hidden { nsid } => (None::<Netns>, format!("nsid-{nsid}")),
        };
        let name = |text: &str| NetworkName::new(text).map_err(|e| bug(e.to_string()));
        let container = ContainerId::new(container).map_err(|e| bug(e.to_string()))?;
        let ifname = IfName::new(&sighting.ifname).or_else(|_| IfName::new(UNKNOWN));
        let now = self.now();
        let pool = {
            let state = self.state.lock();
            let pool = state.ledger.pool_at(key);
            pool.map(|pool| pool.name.clone()).ok_or(EngineError::Overtaken)?
        };
        Ok(Lease {
            address: key.address,
            pool,
            space: key.space.clone(),
            attachment: Attachment {
                network: name(UNKNOWN)?,
                container,
                ifname: ifname.map_err(|e| bug(e.to_string()))?,
            },
            owner: Owner::default(),
            node: self.options.node.clone(),
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
