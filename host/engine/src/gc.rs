//! CNI GC. It only triggers: leases of this node and network that are old enough and not listed are judged now,
//! by the same table as in a sweep, without grace. What the kernel does not prove gone is kept and reported.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tenure_core::decision::{RETAIN_AS_AT_ADD, Verdict};
use tenure_core::judge::{
    Case, Evidence, Judgement, KernelSays, LOOKS, LOOKS_APART, Suspicion, find, judge, observe,
};
use tenure_core::ledger::{RowAt, Slot, Status};
use tenure_core::objects::UnfencedReclaim;
use tenure_store::Row;

use crate::sweep::Sentence;
use crate::{Engine, EngineError, GcAnswer, GcRequest};

pub use tenure_core::defaults::GC_MIN_AGE;

impl Engine {
    /// Judges the leases of a network that the runtime does not list as valid.
    ///
    /// # Errors
    /// An empty list without the explicit allowance; a store that fails.
    pub async fn gc(self: &Arc<Self>, request: GcRequest) -> Result<GcAnswer, EngineError> {
        if request.valid.is_empty() && !request.allow_empty {
            let why = "the list of valid attachments is empty, which would make every lease of the network \
                       stale; set ipam.allowEmptyGC if that is meant";
            return Err(EngineError::GcRefused { why: why.to_owned() });
        }
        let mut open = self.unlisted(&request).await?;
        let mut answer = GcAnswer::default();
        let mut dead = Vec::new();
        for look in 0..LOOKS {
            if look > 0 && !open.is_empty() {
                tokio::time::sleep(LOOKS_APART).await;
            }
            let seen = self.in_background({
                let open = open.clone();
                move |engine| engine.look_once(open)
            });
            open = seen.await?;
        }
        let now = self.now().moment;
        for unlisted in open {
            let rest = Duration::from_secs(u64::from(self.rest_of(&unlisted.row.lease)));
            let verdict = Verdict {
                grace: Duration::ZERO,
                retain: RETAIN_AS_AT_ADD,
                cooldown: rest,
                permits_unfenced: false,
            };
            let (finding, suspicion) = (find(&unlisted.evidence), unlisted.series);
            let case = Case { finding, suspicion, verdict, unfenced: UnfencedReclaim::Never };
            match judge(&case, now) {
                Judgement::Free { proof } => {
                    dead.push((unlisted.row, Sentence::Release { proof, verdict }));
                }
                _ => answer.kept.push((
                    unlisted.row.lease.address,
                    reason(unlisted.evidence.kernel).to_owned(),
                )),
            }
        }
        let freed = self.carry_out(dead, "gc").await?;
        answer.released = freed.into_iter().map(|key| key.address).collect();
        Ok(answer)
    }

    /// Bound rows of the network that are old enough and not listed.
    async fn unlisted(&self, request: &GcRequest) -> Result<Vec<Unlisted>, EngineError> {
        let now = self.now().moment;
        let is_old = |slot: &Slot| match slot.status {
            Status::Bound { since, .. } => now.since(since) >= GC_MIN_AGE,
            _ => false,
        };
        let node = request.node.as_ref().unwrap_or(&self.options.node);
        let old = {
            let state = self.state.lock();
            let keys = state.ledger.keys_where(is_old);
            let mut rows = state.ledger.rows_at(&keys, is_old);
            rows.retain(|row| state.ledger.node(&row.slot).agent == node.agent);
            rows
        };
        let valid: HashSet<_> =
            request.valid.iter().map(|(c, i)| (c.as_str(), i.as_str())).collect();
        let mut out = Vec::new();
        for at in old {
            let row = self.ports.store.get(&at.key).await?;
            // Bound again since it was taken down: its age and home are those of another hold.
            let Some(row) = row.filter(|row| row.revision.0 == at.slot.revision) else { continue };
            let attachment = &row.lease.attachment;
            let listed =
                valid.contains(&(attachment.container.as_str(), attachment.ifname.as_str()));
            let here = row.lease.node.agent == node.agent;
            if here && !listed && attachment.network == request.network && row.lease.is_bound() {
                let evidence = Evidence::of_kernel(KernelSays::Silent);
                out.push(Unlisted { at, row, evidence, series: None });
            }
        }
        Ok(out)
    }

    fn look_once(&self, open: Vec<Unlisted>) -> Vec<Unlisted> {
        let rows: Vec<RowAt> = open.iter().map(|unlisted| unlisted.at.clone()).collect();
        let found = self.evidence_at(&rows);
        let now = self.now().moment;
        let seen = open.into_iter().zip(found).map(|(unlisted, evidence)| {
            let series = observe(unlisted.series, find(&evidence), now);
            Unlisted { evidence, series, ..unlisted }
        });
        seen.collect()
    }
}

#[derive(Clone)]
struct Unlisted {
    at: RowAt,
    row: Row,
    evidence: Evidence,
    series: Option<Suspicion>,
}

fn reason(kernel: KernelSays) -> &'static str {
    match kernel {
        KernelSays::Alive => "its network namespace still exists",
        KernelSays::Blind => {
            "its network namespace could not be read at ADD; only DEL, a reboot or an operator frees it"
        }
        KernelSays::Silent => "the kernel witness is silent",
        KernelSays::Gone | KernelSays::Rebooted => "not proved gone by two looks yet",
    }
}
