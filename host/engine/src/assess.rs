//! What is to be thought of a lease now: evidence, finding, the policy's figures, judgement. It changes nothing:
//! sweep, dry run and explain share it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tenure_core::decision::{
    DecidedBy, Holder, MAX_RECLAIM_ROWS, Pressure, RETAIN_AS_AT_ADD, ReclaimRequest, Suspect,
    Verdict,
};
use tenure_core::judge::{
    ApiSays, Case, Evidence, Finding, Judgement, KernelSays, NodeSays, Suspicion, Witness, find,
    judge,
};
use tenure_core::lease::{Lease, LeaseKey};
use tenure_core::ledger::{Home, RowAt, Slot, Status};
use tenure_core::objects::{PoolLimits, PoolSpec, UnfencedReclaim};
use tenure_core::ports::{NetnsLook, Question, Sight};
use tenure_store::{Revision, Row};

use crate::candidates::saturate;
use crate::{Engine, EngineError};

/// Records of suspects that are read at once where the store remembers none (I12).
const READS_AT_ONCE: usize = 16;

/// A row and what one look showed of it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: RowAt,
    pub(crate) evidence: Evidence,
    /// The unbroken series of looks, this one included.
    pub(crate) suspicion: Option<Suspicion>,
}

/// What follows for one lease.
#[derive(Debug, Clone)]
pub(crate) struct Assessment {
    pub(crate) row: Row,
    pub(crate) evidence: Evidence,
    pub(crate) suspicion: Option<Suspicion>,
    /// The figures of policy, within the pool's limits.
    pub(crate) verdict: Verdict,
    pub(crate) decided_by: DecidedBy,
    pub(crate) judgement: Judgement,
}

/// What a sight means for a row. A kernel is believed only about holds that began with its own agent, in its present boot.
pub(crate) fn evidence_of(slot: &Slot, sight: Sight) -> Evidence {
    let kernel = match (slot.home, slot.netns, sight.namespace) {
        (Home::EarlierBoot, ..) => KernelSays::Rebooted,
        (Home::Elsewhere, ..) | (Home::Here, None, _) => KernelSays::Blind,
        (Home::Here, Some(_), NetnsLook::Alive) => KernelSays::Alive,
        (Home::Here, Some(_), NetnsLook::Gone) => KernelSays::Gone,
        (Home::Here, Some(_), NetnsLook::Unknown) => KernelSays::Silent,
    };
    let node = match (slot.home, sight.node) {
        // Its agent never spoke: who is heard there is another one.
        (Home::Elsewhere, NodeSays::Heard) => NodeSays::Unknown,
        (_, says) => says,
    };
    Evidence { node, kernel, api: sight.api }
}

/// Rows whose holder may live: bound, and quarantined ones of which this kernel can learn more.
pub(crate) fn may_have_holder(slot: &Slot) -> bool {
    match slot.status {
        Status::Bound { .. } => true,
        Status::Quarantined { .. } => slot.netns.is_some() || slot.home == Home::EarlierBoot,
        Status::Reserved { .. } | Status::Released { .. } => false,
    }
}

impl Engine {
    /// What the witnesses see of these rows now, one sight each. Whether the address of a row stands on a link is asked
    /// where `asks_link` says so. Blocks.
    pub(crate) fn look_at(
        &self,
        rows: &[RowAt],
        mut asks_link: impl FnMut(&RowAt) -> bool,
    ) -> Vec<Sight> {
        if rows.is_empty() {
            return Vec::new();
        }
        let nodes: Vec<_> = {
            let state = self.state.lock();
            rows.iter().map(|row| state.ledger.node(&row.slot)).collect()
        };
        let owner = |row: &RowAt| {
            let known = self.ports.store.recall(&row.key, Revision(row.slot.revision));
            known.map(|row| row.lease.owner.clone())
        };
        let ask = |(row, node): (&RowAt, _)| Question {
            node,
            netns: row.slot.netns,
            owner: owner(row),
            address: asks_link(row).then_some(row.key.address),
        };
        let questions: Vec<Question> = rows.iter().zip(nodes).map(ask).collect();
        self.ports.kernel.look_at(&questions)
    }

    /// The same as evidence, without a question for links.
    pub(crate) fn evidence_at(&self, rows: &[RowAt]) -> Vec<Evidence> {
        let sights = self.look_at(rows, |_| false);
        rows.iter().zip(sights).map(|(row, sight)| evidence_of(&row.slot, sight)).collect()
    }

    /// The records of rows as they were seen; what has changed since is left out and read again.
    ///
    /// A record that the store remembers in exactly this version will do, although something may be destroyed upon it: the
    /// write is conditional on that version, which is a live look at the row in the same instant, and says more than a read
    /// before it. What no condition can bind to the write, whether the holder lives, is asked anew (`still_so`).
    pub(crate) async fn with_records(
        &self,
        seen: Vec<Seen>,
    ) -> Result<Vec<(Row, Seen)>, EngineError> {
        let read = |seen: Seen| async move {
            let row = self.row_at(&seen.at.key, seen.at.slot.revision).await?;
            Ok::<_, EngineError>((row, seen))
        };
        let read: Vec<(Option<Row>, Seen)> =
            stream::iter(seen).map(read).buffered(READS_AT_ONCE).try_collect().await?;
        let mut rows = Vec::new();
        for (row, seen) in read {
            match row.filter(|row| row.revision.0 == seen.at.slot.revision) {
                Some(row) if row.lease.has_holder() => rows.push((row, seen)),
                Some(_) => {}
                None => self.doubt([seen.at.key]),
            }
        }
        self.resolve_doubts().await;
        Ok(rows)
    }

    /// Asks the policies for their figures and judges, in batches.
    pub(crate) async fn assess(
        self: &Arc<Self>,
        rows: Vec<(Row, Seen)>,
    ) -> Result<Vec<Assessment>, EngineError> {
        let mut assessments = Vec::new();
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let batch: Vec<_> = rows.by_ref().take(MAX_RECLAIM_ROWS).collect();
            let question = self.question(&batch);
            let decided =
                self.in_background(move |engine| engine.ports.policies.reclaim(&question)).await?;
            for ((row, seen), verdict) in batch.into_iter().zip(decided.answer) {
                assessments.push(self.judged(row, seen, verdict, decided.by.clone()));
            }
        }
        Ok(assessments)
    }

    fn judged(&self, row: Row, seen: Seen, verdict: Verdict, decided_by: DecidedBy) -> Assessment {
        let Seen { evidence, suspicion, .. } = seen;
        let (verdict, unfenced) = self.within_limits(verdict, &row.lease.key());
        let case = Case { finding: find(&evidence), suspicion, verdict, unfenced };
        let judgement = match judge(&case, self.now().moment) {
            // It is there already: its node decides whether it returns.
            Judgement::Quarantine if !row.lease.is_bound() => {
                Judgement::Keep { waits_for: Some(Witness::Node) }
            }
            judgement => judgement,
        };
        Assessment { row, evidence, suspicion, verdict, decided_by, judgement }
    }

    fn question(&self, batch: &[(Row, Seen)]) -> ReclaimRequest {
        let now = self.now();
        let mut state = self.state.lock();
        let catalogue = state.catalogue.clone();
        let mut leases = Vec::new();
        let mut pools = Vec::new();
        for (Row { lease, .. }, seen) in batch {
            let pool = state.ledger.pool_of(&lease.key()).and_then(|p| u32::try_from(p).ok());
            let pool = pool.unwrap_or(u32::MAX);
            if !pools.contains(&pool) {
                pools.push(pool);
            }
            let held = now.wall.0.saturating_sub(lease.bound_at.0) / 1000;
            let since = seen.suspicion.map_or(now.moment, |series| series.since);
            let suspect = now.moment.since(since).as_secs();
            leases.push(suspect_of(lease, seen.evidence, pool, (held, suspect)));
        }
        let pressure = pools.into_iter().map(|pool| {
            let counts = state.ledger.counts(pool as usize, now);
            let name = state.ledger.pool(pool as usize).map(|pool| &pool.name);
            let waiting = name.map_or(0, |name| state.waiting.len(name));
            let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
            Pressure { pool, free: saturate(counts.free), size: saturate(counts.size), waiting }
        });
        let pressure = pressure.collect();
        ReclaimRequest { leases, pressure, catalogue, now: now.wall, seed: now.moment.0 }
    }

    /// Figures of a policy within the limits of the pool, and what the pool allows without a fence.
    fn within_limits(&self, verdict: Verdict, key: &LeaseKey) -> (Verdict, UnfencedReclaim) {
        let (limits, floor, unfenced) = {
            let state = self.state.lock();
            let pool = state.ledger.pool_at(key);
            let of = |spec: &PoolSpec| {
                (spec.limits.clone(), spec.cooldown_floor.0, spec.unfenced_reclaim)
            };
            // Nothing is allowed about an address that no pool has.
            let none = || (PoolLimits::default(), Duration::ZERO, UnfencedReclaim::Never);
            pool.map_or_else(none, |pool| of(&pool.spec))
        };
        let clamped = Verdict {
            grace: verdict.grace.max(limits.grace_min.0).min(limits.grace_max.0),
            retain: match verdict.retain {
                RETAIN_AS_AT_ADD => RETAIN_AS_AT_ADD,
                retain => retain.min(limits.retain_max.0),
            },
            cooldown: verdict.cooldown.max(floor).min(limits.cooldown_max.0),
            ..verdict
        };
        if clamped != verdict {
            self.counters.clamped.one();
        }
        (clamped, unfenced)
    }
}

fn suspect_of(
    lease: &Lease,
    evidence: Evidence,
    pool: u32,
    (held, suspect): (u64, u64),
) -> Suspect {
    let seconds = |s: u64| u32::try_from(s).unwrap_or(u32::MAX);
    Suspect {
        tag: lease.tag,
        pool,
        owner: lease.owner.kind,
        kernel_gone: matches!(evidence.kernel, KernelSays::Gone | KernelSays::Rebooted),
        api_gone: evidence.api == ApiSays::Gone,
        api_alive: evidence.api == ApiSays::Alive,
        terminating: evidence.api == ApiSays::Overdue,
        finished: false,
        node_lost: matches!(evidence.node, NodeSays::Lost | NodeSays::LostWithMany),
        node_fenced: evidence.node == NodeSays::Fenced || evidence.kernel == KernelSays::Rebooted,
        sticky: lease.sticky.is_some(),
        held_s: seconds(held),
        suspect_s: seconds(suspect),
        terminating_s: 0,
        termination_grace_s: 0,
        node_lost_s: 0,
        holder: Holder {
            owner: lease.owner.clone(),
            node: lease.node.name.to_string(),
            network: lease.attachment.network.to_string(),
            interface: lease.attachment.ifname.to_string(),
            ..Holder::default()
        },
    }
}

impl Seen {
    pub(crate) fn finding(&self) -> Finding {
        find(&self.evidence)
    }
}
