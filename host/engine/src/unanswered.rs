//! Sets that were written and answered to nobody (I4). An agent turns to another replica while the first one still tries to
//! write; what that writes after the other has looked is a second set of one attachment.
//!
//! The replica that wrote it gives it up once it stands, since nobody waits for its answer any more. What a replica leaves that
//! died before that, or did not learn the outcome, is found by the sweeps: of two sets of one attachment the one that stands
//! on a link was answered. Whatever is not seen so is kept until its DEL.

use std::sync::Arc;

use tenure_core::lease::{Lease, LeaseKey};
use tenure_core::ledger::{Ledger, Status};
use tenure_core::ports::{AddressLook, NetnsLook, Question, Sight};

use crate::locks::AttachmentGuard;
use crate::sweep::{SLICE, is_unseen};
use crate::{Engine, EngineError};

impl Engine {
    /// Ends rows that were just written for `leases`, unless somebody has changed them since. What `keeps_key` is kept for their
    /// sticky keys, as after a DEL.
    pub(crate) async fn give_up(
        self: &Arc<Self>,
        leases: &[Lease],
        guard: &AttachmentGuard,
        keeps_key: bool,
    ) -> Result<(), EngineError> {
        let Some(first) = leases.first() else { return Ok(()) };
        let mut rows = self.held_by(&first.attachment, Some(&first.node)).await?;
        rows.retain(|row| row.lease.attempt == first.attempt);
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows.iter_mut().filter(|_| !keeps_key) {
            row.lease.sticky = None;
        }
        self.counters.unanswered.one();
        self.end_old_hold(rows, guard).await
    }

    /// Ends rows that stand beside an answered set of their attachment.
    pub(crate) async fn end_unanswered(self: &Arc<Self>) -> Result<(), EngineError> {
        for key in self.in_background(|engine| engine.beside_others()).await? {
            if let Some(row) = self.ports.store.get(&key).await? {
                self.end_if_unanswered(row.lease).await?;
            }
        }
        Ok(())
    }

    /// Bound rows that were never seen on a link while another one of their attachment and family was.
    fn beside_others(&self) -> Vec<LeaseKey> {
        let keys = self.state.lock().ledger.keys_where(is_unseen);
        let mut beside = Vec::new();
        for slice in keys.chunks(SLICE) {
            let state = self.state.lock();
            beside.extend(slice.iter().filter(|key| has_seen_twin(&state.ledger, key)).cloned());
        }
        beside
    }

    /// Ends the set of this row if another one of its attachment stands on a link of the same namespace, and it on none.
    async fn end_if_unanswered(self: &Arc<Self>, lease: Lease) -> Result<(), EngineError> {
        // A verb that is under way here comes first; one of another replica makes the write below fail.
        let guard = self.locks.lock(&lease.attachment).await?;
        let mut leases: Vec<Lease> = self
            .held_now(&lease.attachment, Some(&lease.node))
            .await?
            .into_iter()
            .map(|row| row.lease)
            .filter(|other| other.netns == lease.netns && other.node.agent == lease.node.agent)
            .collect();
        let questions: Vec<_> = leases.iter().map(on_its_link).collect();
        let look = move |engine: &Arc<Self>| engine.ports.kernel.look_at(&questions);
        let sights = self.in_background(look).await?;
        let is = |sight: &Sight, link| sight.namespace == NetnsLook::Alive && sight.link == link;
        let seen = |link| {
            let here = leases.iter().zip(&sights).filter(move |(_, sight)| is(sight, link));
            here.map(|(lease, _)| lease)
        };
        let family = lease.key().family();
        let is_used = seen(AddressLook::OnLink).any(|other| other.attempt == lease.attempt);
        let has_other = seen(AddressLook::OnLink).any(|other| other.key().family() == family);
        let is_unlinked = seen(AddressLook::OnNone).any(|own| own.key() == lease.key());
        if is_used || !has_other || !is_unlinked {
            return Ok(());
        }
        leases.retain(|other| other.attempt == lease.attempt);
        tracing::warn!(attachment = %lease.attachment, address = %lease.address, "its set was answered to nobody: the attachment has another one on its link");
        self.give_up(&leases, &guard, true).await
    }
}

/// Whether another row of the attachment and family was seen on a link.
fn has_seen_twin(ledger: &Ledger, key: &LeaseKey) -> bool {
    let Some(slot) = ledger.slot(key) else { return false };
    ledger.of_attachment(slot.attachment).iter().any(|(other, slot)| {
        let is_seen = matches!(slot.status, Status::Bound { seen: true, .. });
        is_seen && other != key && other.family() == key.family()
    })
}

fn on_its_link(lease: &Lease) -> Question {
    Question {
        node: Arc::new(lease.node.clone()),
        netns: lease.netns,
        owner: None,
        address: Some(lease.address),
    }
}
