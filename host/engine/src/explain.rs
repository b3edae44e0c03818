//! What operators ask about reclaim: which leases are suspect and why they are still there, and everything about one
//! address. It reads and looks; only [`Engine::reclaim_now`] changes anything, and only as a sweep would.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tenure_core::decision::{DecidedBy, DecisionRecord, Hook};
use tenure_core::judge::{
    ApiSays, Evidence, Finding, Judgement, KernelSays, NodeSays, Witness, find, observe,
};
use tenure_core::lease::{Attachment, Lease, LeaseKey, LeaseState, Owner, QuarantineCause};
use tenure_core::ledger::{RowAt, Status};
use tenure_core::name::{PoolName, SpaceName};

use crate::assess::{Assessment, Seen, evidence_of, may_have_holder};
use crate::views::LeaseView;
use crate::{Engine, EngineError};

/// So many of the newest decisions are looked through for those that chose an address.
const DECISIONS_READ: usize = 1024;
/// So many of them are shown.
const DECISIONS_SHOWN: usize = 4;
/// `reclaim` by an operator sweeps again as suspects become due, for so long.
const RECLAIM_PATIENCE: Duration = Duration::from_secs(10);

/// A lease whose holder is not known to live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SuspectView {
    /// The address.
    pub address: IpAddr,
    /// Its routing domain.
    pub space: SpaceName,
    /// Its pool at the time of the ADD.
    pub pool: PoolName,
    /// Who holds it by the record.
    pub attachment: Attachment,
    /// For whom.
    pub owner: Owner,
    /// Raised at each change of holder: what `release` asks for.
    pub generation: u64,
    /// What the witnesses say.
    pub evidence: Evidence,
    /// How long it has been suspect without a break, in seconds; none if nothing speaks against its holder.
    pub suspect_s: Option<u64>,
    /// The grace that applies, in seconds.
    pub grace_s: u64,
    /// Who set it.
    pub grace_by: DecidedBy,
    /// What follows.
    pub judgement: Judgement,
    /// The same in words.
    pub text: String,
}

/// What a reclaim by an operator did, and what is left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReclaimAnswer {
    /// Nothing was changed.
    pub dry_run: bool,
    /// Taken back now.
    pub reclaimed: Vec<IpAddr>,
    /// Leases that are suspect still, or of which nothing is known.
    pub suspects: Vec<SuspectView>,
}

/// What one witness says of the holder of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Testimony {
    /// `kernel`, `node` or `api`.
    pub witness: String,
    /// In words.
    pub says: String,
}

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
    /// The decisions that chose it, newest first, as far as they are remembered.
    pub decisions: Vec<DecisionRecord>,
    /// What each witness says.
    pub witnesses: Vec<Testimony>,
    /// Who keeps its holder's network namespace, as far as can be seen.
    pub kept_by: Vec<String>,
    /// What happens next.
    pub next: Vec<String>,
}

impl Engine {
    /// Leases whose holder is not known to live, by address. Changes nothing, not even a series of looks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn suspects(self: &Arc<Self>) -> Result<Vec<SuspectView>, EngineError> {
        let seen = self.in_background(|engine| engine.doubtful_holders()).await?;
        let rows = self.with_records(seen).await?;
        let judged = self.assess(rows).await?;
        let mut views: Vec<_> = judged.iter().map(|one| self.suspect_view(one)).collect();
        views.sort_by(|a, b| (&a.space, a.address).cmp(&(&b.space, b.address)));
        Ok(views)
    }

    /// Sweeps now, and again as suspects become due, for some seconds at most.
    ///
    /// # Errors
    /// The store failed.
    pub async fn reclaim_now(self: &Arc<Self>) -> Result<ReclaimAnswer, EngineError> {
        let until = tokio::time::Instant::now() + RECLAIM_PATIENCE;
        let mut reclaimed = Vec::new();
        loop {
            let swept = self.sweep().await?;
            reclaimed.extend(swept.reclaimed.into_iter().map(|key| key.address));
            let again = swept.next.map(|next| tokio::time::Instant::now() + next);
            match again.filter(|again| *again <= until) {
                Some(again) => tokio::time::sleep_until(again).await,
                None => break,
            }
        }
        reclaimed.sort_unstable();
        Ok(ReclaimAnswer { dry_run: false, reclaimed, suspects: self.suspects().await? })
    }

    /// Who holds an address and why, what the witnesses say, what happens next.
    ///
    /// # Errors
    /// No pool and no record has the address, or the store cannot be read.
    pub async fn explain(self: &Arc<Self>, key: LeaseKey) -> Result<Explanation, EngineError> {
        let pool = {
            let state = self.state.lock();
            let pool = state.ledger.pool_of(&key).and_then(|pool| state.ledger.pool(pool));
            pool.map(|pool| pool.name.clone())
        };
        let row = self.ports.store.get(&key).await?;
        if row.is_none() && pool.is_none() {
            return Err(EngineError::NotFound { object: format!("a pool or lease with {key}") });
        }
        let Some(row) = row else { return Ok(self.never_used(key, pool)) };
        let (evidence, kept_by) = self.testimony_of(&row.lease).await?;
        let (decisions, judged) = (self.decisions_for(&row.lease), self.judge_one(&key).await?);
        let view = self.lease_view(row.lease);
        let next = self.what_next(&view, judged.as_ref());
        let asked = view.lease.has_holder();
        Ok(Explanation {
            address: key.address,
            space: key.space,
            pool,
            summary: summary(&view),
            decisions,
            witnesses: if asked { testimonies(&evidence) } else { Vec::new() },
            kept_by,
            next,
            lease: Some(view),
        })
    }

    fn never_used(&self, key: LeaseKey, pool: Option<PoolName>) -> Explanation {
        let usable = self.state.lock().ledger.is_usable(&key);
        let (summary, next) = if usable {
            ("free; nobody has held it as far as is recorded", "given to one of the next ADDs")
        } else {
            (
                "not handed out: outside the ranges, excluded, reserved, the gateway, or its pool is disabled",
                "nothing; `tenure describe pool` shows what is taken out",
            )
        };
        Explanation {
            address: key.address,
            space: key.space,
            pool,
            summary: summary.to_owned(),
            lease: None,
            decisions: Vec::new(),
            witnesses: Vec::new(),
            kept_by: Vec::new(),
            next: vec![next.to_owned()],
        }
    }

    async fn testimony_of(
        self: &Arc<Self>,
        lease: &Lease,
    ) -> Result<(Evidence, Vec<String>), EngineError> {
        let (key, netns) = (lease.key(), lease.netns);
        self.in_background(move |engine| {
            let slot = engine.state.lock().ledger.slot(&key);
            let look = engine.ports.kernel.look().ok();
            let silent = Evidence::of_kernel(KernelSays::Silent);
            let evidence = slot.map_or(silent, |slot| evidence_of(look.as_deref(), &slot));
            let lives = evidence.kernel == KernelSays::Alive;
            let kept_by = netns.filter(|_| lives).map(|netns| engine.ports.kernel.kept_by(&netns));
            (evidence, kept_by.unwrap_or_default())
        })
        .await
    }

    /// The judgement on one lease, as a dry run would show it.
    async fn judge_one(
        self: &Arc<Self>,
        key: &LeaseKey,
    ) -> Result<Option<Assessment>, EngineError> {
        let key = key.clone();
        let seen = self.in_background(move |engine| engine.see(&[key])).await?;
        let rows = self.with_records(seen).await?;
        Ok(self.assess(rows).await?.pop())
    }

    fn doubtful_holders(&self) -> Vec<Seen> {
        let keys = self.state.lock().ledger.keys_where(may_have_holder);
        let mut seen = self.see(&keys);
        seen.retain(|seen| seen.finding() != Finding::Alive);
        seen
    }

    /// What one look shows of these rows, with the series of looks that the sweeps have so far.
    fn see(&self, keys: &[LeaseKey]) -> Vec<Seen> {
        let rows = self.state.lock().ledger.rows_at(keys, may_have_holder);
        let look = self.ports.kernel.look().ok();
        let now = self.now().moment;
        let suspicions = self.suspicions.lock();
        let see = |at: RowAt| {
            let evidence = evidence_of(look.as_deref(), &at.slot);
            let known = suspicions.get(&at.key).filter(|(g, _)| *g == at.slot.generation);
            let series = known.map(|(_, series)| *series);
            Seen { suspicion: observe(series, find(&evidence), now), at, evidence }
        };
        rows.into_iter().map(see).collect()
    }

    fn suspect_view(&self, judged: &Assessment) -> SuspectView {
        let lease = &judged.row.lease;
        let now = self.now().moment;
        let text = match judged.judgement {
            Judgement::Keep { waits_for: None } => "its holder lives".to_owned(),
            Judgement::Keep { waits_for: Some(witness) } => kept_text(judged.evidence, witness),
            Judgement::Wait { left } => {
                format!("reclaimed in {} s unless a look finds it alive", seconds_up(left))
            }
            Judgement::Free { .. } => "reclaimed by the next sweep".to_owned(),
            Judgement::Quarantine => "quarantined by the next sweep".to_owned(),
        };
        SuspectView {
            address: lease.address,
            space: lease.space.clone(),
            pool: lease.pool.clone(),
            attachment: lease.attachment.clone(),
            owner: lease.owner.clone(),
            generation: lease.generation.0,
            evidence: judged.evidence,
            suspect_s: judged.suspicion.map(|series| now.since(series.since).as_secs()),
            grace_s: judged.verdict.grace.as_secs(),
            grace_by: judged.decided_by.clone(),
            judgement: judged.judgement,
            text,
        }
    }

    /// Remembered decisions about the owner of a lease from the time of its ADD.
    fn decisions_for(&self, lease: &Lease) -> Vec<DecisionRecord> {
        let Ok(owner) = serde_json::to_value(&lease.owner) else { return Vec::new() };
        let about = |record: &DecisionRecord| {
            let holder = record.request.get("holder");
            let same = holder.and_then(|holder| holder.get("owner")) == Some(&owner);
            same && record.hook != Hook::Reclaim && record.at <= lease.bound_at
        };
        let all = self.ports.policies.decisions(DECISIONS_READ);
        all.into_iter().filter(about).take(DECISIONS_SHOWN).collect()
    }

    fn what_next(&self, view: &LeaseView, judged: Option<&Assessment>) -> Vec<String> {
        let mut next = Vec::new();
        if let Some(judged) = judged {
            let said = self.suspect_view(judged).text;
            next.push(match judged.judgement {
                Judgement::Keep { waits_for: None } => {
                    "it keeps the address until its DEL, or until its network namespace ends"
                        .to_owned()
                }
                _ => said,
            });
        }
        let key = view.lease.key();
        match &view.lease.state {
            LeaseState::Bound => {}
            LeaseState::Quarantined { cause, .. } => next.push(quarantine_exits(cause, &key)),
            LeaseState::Released { .. } => next.push(self.rest_text(view)),
        }
        next
    }

    fn rest_text(&self, view: &LeaseView) -> String {
        let slot = self.state.lock().ledger.slot(&view.lease.key());
        let now = self.now();
        let Some(Status::Released { since, rest_s, keep_until, .. }) = slot.map(|s| s.status)
        else {
            return "an ADD in flight has it".to_owned();
        };
        let rested = now.moment.since(since).as_secs();
        let left = u64::from(rest_s).saturating_sub(rested);
        let without = if view.proved { "" } else { ", or after 5 s if the kernel is silent" };
        match view.view.as_str() {
            "lingering" => "it rests until the kernel no longer sees it on a link of its last holder".to_owned(),
            "retained" => {
                let kept = keep_until.map_or(0, |until| until.0.saturating_sub(now.wall.0) / 1000);
                format!("kept for its sticky key for {kept} s more, then free")
            }
            "resting" => format!(
                "rests for {left} s more; under pressure it is given earlier, once its last holder is proved gone{without}"
            ),
            _ => "given when it is its turn: never used addresses come first, then the longest released".to_owned(),
        }
    }
}

fn summary(view: &LeaseView) -> String {
    let lease = &view.lease;
    match &lease.state {
        LeaseState::Bound => format!("held by {} for {}", lease.attachment, lease.owner),
        LeaseState::Quarantined { cause, .. } => format!(
            "quarantined, {}; recorded for {} of {}",
            cause_text(cause),
            lease.attachment,
            lease.owner
        ),
        LeaseState::Released { .. } => {
            format!("{}; last held by {} for {}", view.view, lease.attachment, lease.owner)
        }
    }
}

/// Why an address is in quarantine.
pub(crate) fn cause_text(cause: &QuarantineCause) -> String {
    match cause {
        QuarantineCause::Unfenced => "its node is lost and not fenced".to_owned(),
        QuarantineCause::Wire => "a foreign machine answered for it on the wire".to_owned(),
        QuarantineCause::Operator(why) => format!("by an operator ({why})"),
        QuarantineCause::TwoClaims => "two holders claim it".to_owned(),
        QuarantineCause::Found => {
            "it was found on a link of a container of which the store knows nothing".to_owned()
        }
    }
}

fn quarantine_exits(cause: &QuarantineCause, key: &LeaseKey) -> String {
    let by_hand = format!("an operator ends it with `tenure release {key}`");
    match cause {
        QuarantineCause::Unfenced => format!(
            "it returns to its holder when that is seen alive; it is released when that is proved gone; \
             it is given after a silent probe; {by_hand}"
        ),
        QuarantineCause::Wire => format!("it is given after a silent probe; {by_hand}"),
        QuarantineCause::Operator(_) | QuarantineCause::TwoClaims | QuarantineCause::Found => {
            format!("it is released when its holder is proved gone; {by_hand}")
        }
    }
}

fn kept_text(evidence: Evidence, witness: Witness) -> String {
    match evidence.kernel {
        KernelSays::Blind if evidence.node == NodeSays::Heard => {
            "kept: its network namespace could not be read at ADD; only DEL, a reboot or an operator frees it".to_owned()
        }
        _ => format!("kept: waits for {witness}"),
    }
}

fn testimonies(evidence: &Evidence) -> Vec<Testimony> {
    let one = |witness: &str, says: &str| Testimony { witness: witness.into(), says: says.into() };
    let mut all = vec![one(
        "kernel",
        match evidence.kernel {
            KernelSays::Alive => "the network namespace of the holder exists",
            KernelSays::Gone => "the network namespace of the holder was seen and is no more",
            KernelSays::Rebooted => {
                "the machine was started anew since; nothing of the holder lives"
            }
            KernelSays::Blind => "nothing: the namespace was never seen by this witness",
            KernelSays::Silent => "nothing at this moment",
        },
    )];
    if evidence.node != NodeSays::Heard {
        all.push(one(
            "node",
            match evidence.node {
                NodeSays::Heard => "it is heard",
                NodeSays::AgentSilent => "its agent is silent, the node itself reports",
                NodeSays::Fenced => "it is fenced",
                NodeSays::Lost => "it is lost",
                NodeSays::LostWithMany => "it is lost together with many others",
                NodeSays::Unknown => "the lease is of another machine, of which nobody reports",
            },
        ));
    }
    if evidence.api != ApiSays::Nothing {
        all.push(one(
            "api",
            match evidence.api {
                ApiSays::Nothing | ApiSays::Silent => "nothing at this moment",
                ApiSays::Alive => "the owner exists",
                ApiSays::Overdue => "the owner is being deleted and its termination grace is over",
                ApiSays::Gone => "the owner is gone or finished",
            },
        ));
    }
    all
}

fn seconds_up(time: Duration) -> u64 {
    time.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}
