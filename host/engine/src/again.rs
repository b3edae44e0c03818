//! ADDs that find something of their own: the same attachment again, after a reboot or with a new
//! namespace, and the same pod under a new container id.

use std::sync::Arc;

use tenure_core::lease::{AttemptId, Lease, LeaseKey, LeaseState, Netns, Proof};
use tenure_core::ledger::Print;
use tenure_core::ports::NetnsLook;
use tenure_store::{Row, Write};

use crate::add::random;
use crate::{AddAnswer, AddRequest, Engine, EngineError};

/// What is known of the namespace that a lease was bound in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OldHome {
    /// Another boot of this machine: nothing of it lives.
    Rebooted,
    /// Proved gone.
    Gone,
    /// Alive, or nothing can be said.
    Standing,
}

impl Engine {
    /// The rows that this attachment holds, read from the store and compared: fingerprints are only hints.
    pub(crate) async fn held_by(
        &self,
        attachment: &tenure_core::lease::Attachment,
    ) -> Result<Vec<Row>, EngineError> {
        let listed = self.state.lock().ledger.of_attachment(Print::attachment(attachment));
        let keys = listed.into_iter().filter(|(_, slot)| slot.is_bound()).map(|(key, _)| key);
        let mut rows = self.read_rows(keys).await?;
        rows.retain(|row| row.lease.attachment == *attachment && row.lease.is_bound());
        Ok(rows)
    }

    async fn read_rows(
        &self,
        keys: impl Iterator<Item = LeaseKey>,
    ) -> Result<Vec<Row>, EngineError> {
        let mut rows = Vec::new();
        for key in keys {
            rows.extend(self.ports.store.get(&key).await?);
        }
        Ok(rows)
    }

    /// The same attachment again: the same answer, no second lease (I4). A lease of another namespace or boot
    /// is re-bound before it is answered.
    pub(crate) async fn add_again(
        self: &Arc<Self>,
        request: &AddRequest,
        netns: Option<Netns>,
    ) -> Result<Option<AddAnswer>, EngineError> {
        let rows = self.held_by(&request.attachment).await?;
        let Some(first) = rows.first().map(|row| &row.lease) else { return Ok(None) };
        let here = first.node.boot == self.options.node.boot && same_namespace(first.netns, netns);
        if first.config != request.config {
            if here || self.old_home(first).await? == OldHome::Standing {
                let held: Vec<_> = rows.iter().map(|row| row.lease.address.to_string()).collect();
                return Err(EngineError::ConfigChanged {
                    attachment: request.attachment.to_string(),
                    held: held.join(" and "),
                });
            }
            self.end_old_hold(rows).await?;
            return Ok(None);
        }
        let leases: Vec<Lease> = rows.iter().map(|row| row.lease.clone()).collect();
        let complete = first.families == leases.iter().map(|l| l.key().family()).collect();
        if !complete {
            // A half set was never answered (I3): it ends, and a whole one is decided.
            self.end_old_hold(rows).await?;
            return Ok(None);
        }
        if here {
            self.counters.adds_repeated.one();
            return self.answer(&leases).map(Some);
        }
        self.rebind(rows, request, netns, "rebind").await.map(Some)
    }

    /// A new container of the same pod, on the same interface and network, takes the lease of the old one
    /// over at once if the old namespace is proved gone (DESIGN section 4).
    pub(crate) async fn take_over(
        self: &Arc<Self>,
        request: &AddRequest,
        netns: Option<Netns>,
    ) -> Result<Option<AddAnswer>, EngineError> {
        let Some(uid) = Print::uid(&request.owner) else { return Ok(None) };
        let listed = self.state.lock().ledger.of_owner(uid);
        let keys = listed.into_iter().filter(|(_, slot)| slot.is_bound()).map(|(key, _)| key);
        let mut rows = self.read_rows(keys).await?;
        rows.retain(|row| {
            let lease = &row.lease;
            lease.is_bound()
                && lease.owner.is_same(&request.owner)
                && lease.attachment.network == request.attachment.network
                && lease.attachment.ifname == request.attachment.ifname
                && lease.attachment.container != request.attachment.container
                && lease.node.agent == self.options.node.agent
                && lease.config == request.config
        });
        let Some(first) = rows.first().map(|row| row.lease.clone()) else { return Ok(None) };
        // One set only: rows of two older containers are not one set.
        rows.retain(|row| row.lease.attachment == first.attachment);
        let complete = first.families == rows.iter().map(|row| row.lease.key().family()).collect();
        // The verb of the old container, if one is under way, comes first.
        let _old = self.locks.lock(&first.attachment).await?;
        if !complete || self.old_home(&first).await? == OldHome::Standing {
            return Ok(None);
        }
        self.rebind(rows, request, netns, "takeover").await.map(Some)
    }

    /// What is known of the namespace in which a lease was bound, looked up now.
    pub(crate) async fn old_home(self: &Arc<Self>, lease: &Lease) -> Result<OldHome, EngineError> {
        if lease.node.agent != self.options.node.agent {
            return Ok(OldHome::Standing);
        }
        if lease.node.boot != self.options.node.boot {
            return Ok(OldHome::Rebooted);
        }
        let Some(netns) = lease.netns else { return Ok(OldHome::Standing) };
        let look = self.blocking(|engine| engine.ports.kernel.look()).await?;
        match look.map(|look| look.namespace(&netns)) {
            Ok(NetnsLook::Gone) => Ok(OldHome::Gone),
            Ok(NetnsLook::Alive | NetnsLook::Unknown) | Err(_) => Ok(OldHome::Standing),
        }
    }

    /// Compare-and-replaces the rows of a set: the same addresses, a new holder or home, generation + 1.
    async fn rebind(
        self: &Arc<Self>,
        rows: Vec<Row>,
        request: &AddRequest,
        netns: Option<Netns>,
        how: &str,
    ) -> Result<AddAnswer, EngineError> {
        let attempt = AttemptId(random()?);
        let now = self.now();
        let mut writes = Vec::new();
        for Row { lease, revision } in rows {
            let previous = lease.holder_as_past(now.wall, how);
            let lease = Lease {
                attachment: request.attachment.clone(),
                owner: request.owner.clone(),
                node: self.options.node.clone(),
                netns,
                attempt,
                generation: lease.generation.next(),
                epoch: self.epoch(),
                config: request.config.clone(),
                bound_at: now.wall,
                bound_boottime_ms: self.ports.clock.boottime_ms(),
                previous,
                ..lease
            };
            writes.push(Write::Replace { lease, expect: revision });
        }
        let leases: Vec<_> = writes.iter().filter_map(crate::add::lease_of).cloned().collect();
        let answer = self.answer(&leases)?;
        self.commit(writes).await?;
        self.counters.adds_rebound.one();
        tracing::info!(attachment = %request.attachment, how, "the lease has a new home");
        Ok(answer)
    }

    /// Releases rows whose old holder is proved gone, or that were never answered.
    async fn end_old_hold(self: &Arc<Self>, rows: Vec<Row>) -> Result<(), EngineError> {
        let mut writes = Vec::new();
        for Row { lease, revision } in rows {
            let proof = match self.old_home(&lease).await? {
                OldHome::Rebooted => Proof::Reboot,
                OldHome::Gone => Proof::Kernel,
                OldHome::Standing => Proof::None,
            };
            let rest_s = self.rest_of(&lease);
            let lease = lease.released(self.now().wall, proof, rest_s);
            writes.push(Write::Replace { lease, expect: revision });
        }
        self.commit(writes).await
    }

    /// Commits in its own task, so that the ledger learns of a write even if the caller goes away.
    pub(crate) async fn commit(self: &Arc<Self>, writes: Vec<Write>) -> Result<(), EngineError> {
        if writes.is_empty() {
            return Ok(());
        }
        let engine = self.clone();
        let task = tokio::spawn(async move {
            let outcome = engine.ports.store.commit(writes.clone()).await;
            match &outcome {
                Ok(revisions) => engine.learn(&writes, revisions),
                Err(_) => {
                    // Whatever happened, the ledger shall know what stands there now.
                    for lease in writes.iter().filter_map(crate::add::lease_of) {
                        let _ = engine.refresh(&lease.key()).await;
                    }
                }
            }
            outcome
        });
        task.await.map_err(|e| EngineError::Bug {
            what: format!("a write ended without an answer: {e}"),
        })??;
        Ok(())
    }

    /// How long the address of a lease rests after a DEL, in seconds: its pool's cool-down.
    pub(crate) fn rest_of(&self, lease: &Lease) -> u32 {
        let state = self.state.lock();
        let pool = state.ledger.pool_of(&lease.key()).and_then(|p| state.ledger.pool(p));
        pool.map_or_else(tenure_core::objects::Span::default_cooldown, |p| p.spec.cooldown)
            .secs_ceil()
    }
}

/// The same namespace by its cookie. A namespace that cannot be read now says nothing about a move.
fn same_namespace(then: Option<Netns>, now: Option<Netns>) -> bool {
    match (then, now) {
        (Some(then), Some(now)) => then.cookie == now.cookie,
        (_, None) => true,
        (None, Some(_)) => false,
    }
}

/// Whether a state is `Released`, for callers that only count.
pub(crate) fn is_released(lease: &Lease) -> bool {
    matches!(lease.state, LeaseState::Released { .. })
}
