//! Which leases are suspect, and why they are still there. It looks, and changes nothing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tenure_core::decision::DecidedBy;
use tenure_core::judge::{
    Evidence, Finding, Judgement, KernelSays, NodeSays, Suspicion, Witness, find, observe,
};
use tenure_core::lease::{Attachment, Lease, Owner};
use tenure_core::ledger::RowAt;
use tenure_core::name::{PoolName, SpaceName};

use crate::assess::{Assessment, Seen, may_have_holder};
use crate::sweep::SLICE;
use crate::{Engine, EngineError};

/// So many suspects are listed at most, some 6 MB of JSON: while the kernel witness is silent every lease is one.
pub(crate) const MAX_SUSPECTS: usize = 10_000;

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
    /// The grace that applies, in seconds; none where no time would help.
    pub grace_s: Option<u64>,
    /// Who set it.
    pub grace_by: Option<DecidedBy>,
    /// What follows.
    pub verdict: Outlook,
    /// How long at least until a look can decide, in seconds, if it waits.
    pub left_s: Option<u64>,
    /// Whose word would be needed, if it is kept.
    pub waits_for: Option<Witness>,
    /// The same in words.
    pub text: String,
}

/// What follows for a suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outlook {
    /// Nothing can be said of its holder, or it lives: kept.
    Keep,
    /// Its holder seems gone; it is not yet time.
    Wait,
    /// It is taken back by the next sweep.
    Free,
    /// It is quarantined by the next sweep.
    Quarantine,
}

/// Leases whose holder is not known to live.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspects {
    /// By space and address.
    pub listed: Vec<SuspectView>,
    /// So many more there are; those with evidence against their holder are listed first.
    pub unlisted: usize,
}

impl Engine {
    /// Leases whose holder is not known to live. Changes nothing, not even a series of looks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn suspects(self: &Arc<Self>) -> Result<Suspects, EngineError> {
        let mut seen = self.in_background(|engine| engine.doubtful_holders()).await?;
        let found = seen.len();
        seen.truncate(MAX_SUSPECTS);
        let unlisted = found.saturating_sub(seen.len());
        let rows = self.with_records(seen).await?;
        let (dead, unknown): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(_, seen)| seen.is_dead());
        let mut listed: Vec<_> =
            unknown.iter().map(|(row, seen)| kept_view(&row.lease, seen.evidence)).collect();
        // A policy has a say only where something can follow.
        let judged = self.assess(dead).await?;
        listed.extend(judged.iter().map(|one| self.suspect_view(one)));
        listed.sort_by(|a, b| (&a.space, a.address).cmp(&(&b.space, b.address)));
        Ok(Suspects { listed, unlisted })
    }

    /// All that may have a holder and is not seen alive: first what there is evidence against.
    fn doubtful_holders(&self) -> Vec<Seen> {
        let keys = self.state.lock().ledger.keys_where(may_have_holder);
        let mut doubtful = Vec::new();
        for slice in keys.chunks(SLICE) {
            // Leases first, evidence second, as in a sweep.
            let rows = self.state.lock().ledger.rows_at(slice, may_have_holder);
            let evidence = self.evidence_at(&rows);
            let seen = rows.into_iter().zip(evidence).map(|(at, found)| self.seen_now(at, found));
            doubtful.extend(seen.filter(|seen| seen.finding() != Finding::Alive));
        }
        let order = |seen: &Seen| {
            let key = &seen.at.key;
            (!seen.is_dead(), key.space.clone(), key.address)
        };
        doubtful.sort_by_cached_key(order);
        doubtful
    }

    /// What one look showed of a row, with the series of looks that the sweeps have so far.
    pub(crate) fn seen_now(&self, at: RowAt, evidence: Evidence) -> Seen {
        let version = (self.state.lock().epoch, at.slot.revision);
        let suspicions = self.suspicions.lock();
        let known = suspicions.get(&at.key).filter(|(row, _)| *row == version);
        let series = known.map(|(_, series)| *series);
        let suspicion = observe(series, find(&evidence), self.now().moment);
        Seen { suspicion, at, evidence }
    }

    pub(crate) fn suspect_view(&self, judged: &Assessment) -> SuspectView {
        let now = self.now().moment;
        let since = |series: Suspicion| now.since(series.since).as_secs();
        let view = SuspectView {
            suspect_s: judged.suspicion.map(since),
            grace_s: Some(judged.verdict.grace.as_secs()),
            grace_by: Some(judged.decided_by.clone()),
            ..kept_view(&judged.row.lease, judged.evidence)
        };
        let (verdict, left_s, waits_for, text) = match judged.judgement {
            Judgement::Keep { waits_for } => {
                let text = waits_for.map(|witness| kept_text(judged.evidence, witness));
                let text = text.unwrap_or_else(|| "its holder lives".to_owned());
                (Outlook::Keep, None, waits_for, text)
            }
            Judgement::Wait { left } => {
                let left = seconds_up(left);
                let text =
                    format!("reclaimed in {left} s at the earliest, unless a look finds it alive");
                (Outlook::Wait, Some(left), None, text)
            }
            Judgement::Free { .. } => {
                (Outlook::Free, None, None, "reclaimed by the next sweep".to_owned())
            }
            Judgement::Quarantine => {
                (Outlook::Quarantine, None, None, "quarantined by the next sweep".to_owned())
            }
        };
        SuspectView { verdict, left_s, waits_for, text, ..view }
    }
}

impl Seen {
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.finding(), Finding::Dead(_))
    }
}

/// Of a lease that is kept whatever the time, for nothing is known of its holder.
fn kept_view(lease: &Lease, evidence: Evidence) -> SuspectView {
    let waits_for = match find(&evidence) {
        Finding::Unknown(witness) => Some(witness),
        Finding::Alive | Finding::Dead(_) => None,
    };
    SuspectView {
        address: lease.address,
        space: lease.space.clone(),
        pool: lease.pool.clone(),
        attachment: lease.attachment.clone(),
        owner: lease.owner.clone(),
        generation: lease.generation.0,
        evidence,
        suspect_s: None,
        grace_s: None,
        grace_by: None,
        verdict: Outlook::Keep,
        left_s: None,
        waits_for,
        text: waits_for.map_or_else(String::new, |witness| kept_text(evidence, witness)),
    }
}

/// Why a lease is kept of whose holder nothing is known.
pub(crate) fn kept_text(evidence: Evidence, witness: Witness) -> String {
    match (evidence.node, evidence.kernel) {
        (NodeSays::Heard, KernelSays::Blind) => {
            "kept: its network namespace could not be read at ADD; only DEL, a reboot or an operator frees it".to_owned()
        }
        (NodeSays::Heard, KernelSays::Silent) => {
            "kept: the kernel witness says nothing at this moment; `tenure status` shows how it fares".to_owned()
        }
        _ => format!("kept: waits for {witness}"),
    }
}

fn seconds_up(time: Duration) -> u64 {
    time.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}
