//! Sets that were written and answered to nobody (I4). An agent turns to another replica while the first one still tries to
//! write; what that writes after the other has looked is a second set of one attachment.
//!
//! The replica that wrote it gives it up once it stands (`untold.rs`). What a replica leaves that died before that is found by
//! the sweeps: of two sets of one attachment the one that stands on a link was answered. Whatever is not seen so is kept until
//! its DEL.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tenure_core::lease::{Attachment, AttemptId, Lease, LeaseKey, NodeRef, Proof};
use tenure_core::ledger::{Ledger, Slot, Status};
use tenure_core::ports::{AddressLook, NetnsLook, Question, Sight};
use tenure_store::{Row, StoreError, Write};

use crate::locks::AttachmentGuard;
use crate::sweep::{SLICE, is_unseen};
use crate::{Caller, Engine, EngineError};

/// Of so many attachments a sweep ends what was not answered: each costs a look at its node.
const AT_ONCE: usize = 16;

/// The rows that one attempt wrote.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) attempt: AttemptId,
    pub(crate) attachment: Attachment,
    node: NodeRef,
}

/// What stays of a set that is given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaves {
    /// Its addresses are kept for its sticky keys, as after a DEL.
    pub(crate) key: bool,
    /// They rest as after a DEL: that nobody was told of them is an inference, or they came out of a quarantine.
    pub(crate) rest: bool,
}

impl Engine {
    /// Ends what stands of rows that one attempt wrote, and says how many. Each by itself: what somebody has changed meanwhile is
    /// his, and no reason to keep the others.
    pub(crate) async fn give_up(
        self: &Arc<Self>,
        written: &Written,
        guard: &AttachmentGuard,
        leaves: Leaves,
    ) -> Result<usize, EngineError> {
        let mut rows = self.held_by(&written.attachment, Some(&written.node)).await?;
        rows.retain(|row| row.lease.attempt == written.attempt);
        let mut ended = Vec::new();
        for Row { mut lease, revision } in rows {
            if !leaves.key {
                lease.sticky = None;
            }
            let lease = match leaves.rest {
                true => self.ended(lease, Proof::None)?,
                false => lease.released(self.now().wall, Proof::None, 0),
            };
            let write = Write::Replace { lease: lease.clone(), expect: revision };
            match self.commit(vec![write], vec![guard.clone()]).await {
                Ok(()) => ended.push(lease),
                Err(EngineError::Store(StoreError::Conflict { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        if !ended.is_empty() {
            self.counters.unanswered.one();
            self.proofs.ask_for(&ended, self.now().moment);
        }
        Ok(ended.len())
    }

    /// Of the rows of an attachment those of one set: what was answered, as far as that is known. The others are ended.
    pub(crate) async fn one_set(
        self: &Arc<Self>,
        rows: Vec<Row>,
        caller: &Caller,
        guard: &AttachmentGuard,
    ) -> Result<Vec<Row>, EngineError> {
        let families: BTreeSet<_> = rows.iter().map(|row| row.lease.key().family()).collect();
        if families.len() == rows.len() {
            return Ok(rows);
        }
        let mut sets: BTreeMap<AttemptId, Vec<Row>> = BTreeMap::new();
        for row in rows {
            sets.entry(row.lease.attempt).or_default().push(row);
        }
        let kept = {
            let state = self.state.lock();
            let rank = |set: &[Row]| {
                let is = |which: &dyn Fn(&Lease) -> bool| set.iter().any(|row| which(&row.lease));
                let was_seen = |lease: &Lease| state.ledger.slot(&lease.key()).is_some_and(is_seen);
                (is(&|lease| caller.had(lease.address)), is(&was_seen), set.len())
            };
            sets.iter().max_by_key(|(_, set)| rank(set)).map(|(attempt, _)| *attempt)
        };
        let kept = kept.and_then(|attempt| sets.remove(&attempt)).unwrap_or_default();
        for row in sets.into_values().filter_map(|set| set.into_iter().next()) {
            let leaves = Leaves { key: false, rest: true };
            self.give_up(&Written::of(&row.lease), guard, leaves).await?;
        }
        Ok(kept)
    }

    /// Ends rows that stand beside an answered set of their attachment. What cannot be looked at now is left to the next sweep.
    pub(crate) async fn end_unanswered(self: &Arc<Self>) -> Result<(), EngineError> {
        let mut beside = self.in_background(|engine| engine.beside_others()).await?;
        beside.truncate(AT_ONCE);
        for key in beside {
            if let Err(error) = self.end_if_unanswered(&key).await {
                tracing::debug!(%error, %key, "a set that may have been answered to nobody is kept for now");
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
    async fn end_if_unanswered(self: &Arc<Self>, key: &LeaseKey) -> Result<(), EngineError> {
        let Some(Row { lease, .. }) = self.ports.store.get(key).await? else { return Ok(()) };
        // A verb that is under way here comes first; one of another replica makes the write below fail.
        let guard = self.locks.lock_if_idle(&lease.attachment)?;
        let leases: Vec<Lease> = self
            .held_now(&lease.attachment, Some(&lease.node))
            .await?
            .into_iter()
            .map(|row| row.lease)
            .filter(|other| other.is_bound() && other.netns == lease.netns)
            .filter(|other| other.node.agent == lease.node.agent)
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
        tracing::warn!(attachment = %lease.attachment, address = %lease.address, "its set was answered to nobody: the attachment has another one on its link");
        // The set on the link has the key, if there is one.
        self.give_up(&Written::of(&lease), &guard, Leaves { key: false, rest: true }).await?;
        Ok(())
    }
}

impl Written {
    pub(crate) fn of(lease: &Lease) -> Self {
        let Lease { attempt, attachment, node, .. } = lease;
        Self { attempt: *attempt, attachment: attachment.clone(), node: node.clone() }
    }
}

/// Whether another row of the attachment and family was seen on a link.
fn has_seen_twin(ledger: &Ledger, key: &LeaseKey) -> bool {
    let Some(slot) = ledger.slot(key) else { return false };
    ledger
        .of_attachment(slot.attachment)
        .iter()
        .any(|(other, slot)| is_seen(*slot) && other != key && other.family() == key.family())
}

fn is_seen(slot: Slot) -> bool {
    matches!(slot.status, Status::Bound { seen: true, .. })
}

fn on_its_link(lease: &Lease) -> Question {
    Question {
        node: Arc::new(lease.node.clone()),
        netns: lease.netns,
        owner: None,
        address: Some(lease.address),
    }
}
