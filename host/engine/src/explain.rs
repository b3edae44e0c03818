//! Everything about one address: who holds it and why, what the witnesses say, what happens next. It looks, and changes
//! nothing.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tenure_core::decision::{DecisionRecord, Hook};
use tenure_core::defaults::FLOOR_UNPROVED;
use tenure_core::judge::{Evidence, Finding, KernelSays};
use tenure_core::lease::{Lease, LeaseKey, LeaseState};
use tenure_core::ledger::{RowAt, Slot, Status};
use tenure_core::name::{PoolName, SpaceName};
use tenure_core::objects::{Object, ReservationSpec, Resource};
use tenure_core::pool::Reservation;

use crate::assess::{Seen, may_have_holder};
use crate::suspects::kept_text;
use crate::testimony::{Subject, Testimony, quarantine_exits, summary, testimonies};
use crate::views::LeaseView;
use crate::{Engine, EngineError};

/// So many of the newest decisions are looked through for those that chose an address.
const DECISIONS_READ: usize = 1024;

/// The order of choice, for an address that is free.
const TURN: &str =
    "given when it is its turn: never used addresses come first, then the longest released";

/// Everything about one address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The address.
    pub address: IpAddr,
    /// Its routing domain.
    pub space: SpaceName,
    /// The pool that has it; none if no pool does.
    pub pool: Option<PoolName>,
    /// In one sentence.
    pub summary: String,
    /// Its record, if it has one.
    pub lease: Option<LeaseView>,
    /// The decisions that chose it, newest first and one per hook, as far as they are remembered.
    pub decisions: Vec<DecisionRecord>,
    /// What each witness says of its holder, or of its last one.
    pub witnesses: Vec<Testimony>,
    /// Who keeps the network namespace of that holder, as far as can be seen.
    pub kept_by: Vec<String>,
    /// What happens next.
    pub next: Vec<String>,
}

/// What the pools and objects say of an address.
struct Place {
    pool: Option<PoolName>,
    /// Why it is not handed out.
    withheld: Option<String>,
}

/// What one look shows of a row.
struct Sight {
    evidence: Evidence,
    /// Its holder may live: what sweeps would see.
    seen: Option<Seen>,
    lingers: bool,
    kept_by: Vec<String>,
    decisions: Vec<DecisionRecord>,
}

impl Engine {
    /// Who holds an address and why, what the witnesses say, what happens next.
    ///
    /// # Errors
    /// No pool and no record has the address, or the store cannot be read.
    pub async fn explain(self: &Arc<Self>, key: LeaseKey) -> Result<Explanation, EngineError> {
        let row = self.ports.store.get(&key).await?;
        let looked = self.in_background({
            let (key, lease) = (key.clone(), row.as_ref().map(|row| row.lease.clone()));
            move |engine| (engine.place_of(&key), lease.map(|lease| engine.sight_of(&lease)))
        });
        let (place, sight) = looked.await?;
        let place = place?;
        let (Some(row), Some(sight)) = (row, sight) else { return never_used(key, place) };
        let view = self.lease_view(row.lease);
        let next = self.what_follows(&view, &sight, place.withheld).await?;
        let subject = Subject { has_holder: view.lease.has_holder(), lingers: sight.lingers };
        Ok(Explanation {
            address: key.address,
            space: key.space,
            pool: place.pool,
            summary: summary(&view),
            decisions: sight.decisions,
            witnesses: testimonies(&sight.evidence, subject),
            kept_by: sight.kept_by,
            next,
            lease: Some(view),
        })
    }

    fn place_of(&self, key: &LeaseKey) -> Result<Place, EngineError> {
        let (pool, withheld) = {
            let state = self.state.lock();
            let pool = state.ledger.pool_at(key);
            let Some(pool) = pool else {
                return Ok(Place { pool: None, withheld: Some("no pool has it".to_owned()) });
            };
            let disabled = || format!("pool {} is disabled or being deleted", pool.name);
            let withheld = pool.why_withheld(key.address);
            (pool.name.clone(), withheld.or_else(|| pool.spec.disabled.then(disabled)))
        };
        let objects = self.ports.store.objects()?.into_iter();
        let mut reserved = objects.filter_map(|object| match object {
            Object::IPReservation(reservation) => reserves(&reservation, key),
            Object::IPPool(_) | Object::IPAMPolicy(_) => None,
        });
        Ok(Place { pool: Some(pool), withheld: reserved.next().or(withheld) })
    }

    fn sight_of(&self, lease: &Lease) -> Sight {
        let key = lease.key();
        let row = self.state.lock().ledger.slot(&key).map(|slot| RowAt { key, slot });
        let found = self.evidence_at(row.as_slice()).pop();
        let evidence = found.unwrap_or(Evidence::of_kernel(KernelSays::Silent));
        let slot = row.as_ref().map(|row| row.slot);
        let seen = row.filter(|row| may_have_holder(&row.slot));
        let seen = seen.map(|row| self.seen_now(row, evidence));
        let lingers = |slot: Slot| matches!(slot.status, Status::Released { lingering: true, .. });
        let netns = lease.netns.filter(|_| evidence.kernel == KernelSays::Alive);
        Sight {
            evidence,
            seen,
            lingers: slot.is_some_and(lingers),
            kept_by: netns.map_or_else(Vec::new, |netns| self.ports.kernel.kept_by(&netns)),
            decisions: self.decisions_for(lease),
        }
    }

    /// Remembered decisions about the owner of a lease from the time of its ADD, the last of each hook.
    fn decisions_for(&self, lease: &Lease) -> Vec<DecisionRecord> {
        let Ok(owner) = serde_json::to_value(&lease.owner) else { return Vec::new() };
        if lease.owner.uid.is_empty() && lease.owner.name.is_empty() {
            // Whoever has no name is told from nobody.
            return Vec::new();
        }
        let attachment = &lease.attachment;
        let about = |record: &DecisionRecord| {
            let Some(holder) = record.request.get("holder") else { return false };
            let text = |key| holder.get(key).and_then(serde_json::Value::as_str);
            holder.get("owner") == Some(&owner)
                && text("network") == Some(attachment.network.as_str())
                && text("interface") == Some(attachment.ifname.as_str())
                && record.hook != Hook::Reclaim
                && record.at <= lease.bound_at
        };
        let mut last: Vec<DecisionRecord> = Vec::new();
        for record in self.ports.policies.decisions(DECISIONS_READ).into_iter().filter(about) {
            if last.iter().all(|known| known.hook != record.hook) {
                last.push(record);
            }
        }
        last
    }

    async fn what_follows(
        self: &Arc<Self>,
        view: &LeaseView,
        sight: &Sight,
        withheld: Option<String>,
    ) -> Result<Vec<String>, EngineError> {
        let of_holder = match &sight.seen {
            Some(seen) => self.outlook(seen).await?,
            None => None,
        };
        let of_state = match &view.lease.state {
            LeaseState::Bound => None,
            LeaseState::Quarantined { cause, .. } => Some(quarantine_exits(cause, &view.lease)),
            LeaseState::Released { .. } => self.rest_text(view),
        };
        let mut next: Vec<_> = of_holder.into_iter().chain(of_state).collect();
        let is_free = next.is_empty() && view.lease.is_released();
        match withheld {
            Some(why) if is_free => next.push(format!("it is not handed out: {why}")),
            Some(why) => next.push(format!("after that it is not handed out: {why}")),
            None if is_free => next.push(TURN.to_owned()),
            None => {}
        }
        Ok(next)
    }

    /// What follows from what is seen of a holder; none if its row has changed meanwhile.
    async fn outlook(self: &Arc<Self>, seen: &Seen) -> Result<Option<String>, EngineError> {
        let is_bound = seen.at.slot.is_bound();
        match seen.finding() {
            Finding::Alive => Ok(is_bound.then(|| {
                "it keeps the address until its DEL, or until its network namespace ends".to_owned()
            })),
            Finding::Unknown(witness) => Ok(is_bound.then(|| kept_text(seen.evidence, witness))),
            Finding::Dead(_) => {
                let rows = self.with_records(vec![seen.clone()]).await?;
                let judged = self.assess(rows).await?;
                Ok(judged.first().map(|one| self.suspect_view(one).text))
            }
        }
    }

    /// What keeps a released address from the next holder; none if nothing does.
    fn rest_text(&self, view: &LeaseView) -> Option<String> {
        let slot = self.state.lock().ledger.slot(&view.lease.key());
        let now = self.now();
        let Some(Status::Released { since, rest_s, keep_until, .. }) = slot.map(|s| s.status)
        else {
            return Some("an ADD in flight has it".to_owned());
        };
        Some(match view.view.as_str() {
            "lingering" => {
                "it rests until the kernel no longer sees it on a link of its last holder"
                    .to_owned()
            }
            "retained" => {
                let kept = keep_until.map_or(0, |until| until.0.saturating_sub(now.wall.0) / 1000);
                format!("kept for its sticky key for {kept} s more, then free")
            }
            "resting" => {
                let rested = now.moment.since(since).as_secs();
                let left = u64::from(rest_s).saturating_sub(rested);
                let proof = match view.proved {
                    true => "its last holder is proved gone: under pressure it is given earlier"
                        .to_owned(),
                    false => format!(
                        "under pressure it is given earlier, once its last holder is proved gone, or after {} s if the kernel is silent",
                        FLOOR_UNPROVED.as_secs()
                    ),
                };
                format!("rests for {left} s more; {proof}")
            }
            _ => return None,
        })
    }
}

fn never_used(key: LeaseKey, place: Place) -> Result<Explanation, EngineError> {
    if place.pool.is_none() {
        return Err(EngineError::NotFound { object: format!("a pool or lease with {key}") });
    }
    let (summary, next) = match place.withheld {
        None => ("free; nobody has held it as far as is recorded".to_owned(), TURN.to_owned()),
        Some(why) => {
            (format!("not handed out: {why}"), "nothing, as long as that is so".to_owned())
        }
    };
    Ok(Explanation {
        address: key.address,
        space: key.space,
        pool: place.pool,
        summary,
        lease: None,
        decisions: Vec::new(),
        witnesses: Vec::new(),
        kept_by: Vec::new(),
        next: vec![next],
    })
}

/// In which words a reservation keeps the address back.
fn reserves(object: &Resource<ReservationSpec>, key: &LeaseKey) -> Option<String> {
    let name = object.metadata.name.as_str();
    let reservation = Reservation::new(name, &object.spec).ok()?;
    let is_reserved = reservation.space == key.space
        && reservation.ranges.iter().any(|range| range.contains(key.address));
    let reason = object.spec.reason.as_ref().map(|reason| format!(" ({reason})"));
    is_reserved.then(|| format!("reservation {name} has it{}", reason.unwrap_or_default()))
}
