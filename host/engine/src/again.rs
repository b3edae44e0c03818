//! ADDs that find something of their own: the same attachment again, after a reboot or with a new
//! namespace, and the same pod under a new container id.

use std::sync::Arc;

use tenure_core::lease::{
    Attachment, AttemptId, Lease, LeaseKey, LeaseState, Netns, NodeRef, Proof, QuarantineCause,
};
use tenure_core::ledger::{Home, Print, Slot};
use tenure_core::ports::{NetnsLook, Question};
use tenure_store::{Row, Write};

use crate::add::random;
use crate::census::{is_contested, left_to_the_other};
use crate::locks::AttachmentGuard;
use crate::{AddAnswer, AddRequest, Engine, EngineError};

/// What is known of the namespace that a lease was bound in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OldHome {
    /// Another boot of this machine: nothing of it lives.
    Rebooted,
    /// Proved gone.
    Gone,
    /// It is seen.
    Alive,
    /// Nothing can be said.
    Unknown,
}

/// Why a row is bound anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rebind {
    /// The same ADD again.
    Repeated,
    /// Another namespace or boot.
    Moved,
    /// A new container of the same pod.
    TakenOver,
}

impl Engine {
    /// The rows that this attachment holds, quarantined ones included, compared by their records: fingerprints are only
    /// hints. For who replaces them in the versions that are answered; the store may remember them.
    ///
    /// An attachment is one of a node: asked for by an agent, only what is held on its `node` is its own.
    pub(crate) async fn held_by(
        &self,
        attachment: &Attachment,
        node: Option<&NodeRef>,
    ) -> Result<Vec<Row>, EngineError> {
        self.held(attachment, node, false).await
    }

    /// The same, read from the store now: for answers that follow from what stands there and from no write.
    pub(crate) async fn held_now(
        &self,
        attachment: &Attachment,
        node: Option<&NodeRef>,
    ) -> Result<Vec<Row>, EngineError> {
        self.held(attachment, node, true).await
    }

    async fn held(
        &self,
        attachment: &Attachment,
        node: Option<&NodeRef>,
        read_now: bool,
    ) -> Result<Vec<Row>, EngineError> {
        // An import changes the store first and the ledger afterwards: half of a set would be found in between.
        let _gate = self.gate.read().await;
        let listed = self.state.lock().ledger.of_attachment(Print::attachment(attachment));
        let mut rows = self.rows_at(listed, read_now).await?;
        let is_there = |lease: &Lease| node.is_none_or(|node| lease.node.name == node.name);
        rows.retain(|Row { lease, .. }| {
            lease.attachment == *attachment && lease.has_holder() && is_there(lease)
        });
        Ok(rows)
    }

    async fn rows_at(
        &self,
        known: impl IntoIterator<Item = (LeaseKey, Slot)>,
        read_now: bool,
    ) -> Result<Vec<Row>, EngineError> {
        let mut rows = Vec::new();
        for (key, slot) in known {
            rows.extend(match read_now {
                true => self.ports.store.get(&key).await?,
                false => self.row_at(&key, slot.revision).await?,
            });
        }
        Ok(rows)
    }

    /// The same attachment again: the same answer, no second lease (I4). The row is replaced in any case, with the next
    /// generation, before it is answered: it names the namespace and boot of now, and a DEL that was spooled before
    /// this ADD finds a hold that began after it.
    pub(crate) async fn add_again(
        self: &Arc<Self>,
        request: &AddRequest,
        netns: Option<Netns>,
        guard: &AttachmentGuard,
    ) -> Result<Option<AddAnswer>, EngineError> {
        let node = request.caller.node();
        let mut rows = self.held_by(&request.attachment, node).await?;
        if rows.iter().any(|row| row.lease.config != request.config) {
            // It may be refused for what stands there.
            rows = self.held_now(&request.attachment, node).await?;
        }
        let rows = self.one_set(rows, &request.caller, guard).await?;
        let Some(first) = rows.first().map(|row| &row.lease) else { return Ok(None) };
        let node = self.node_of(request);
        let stayed = (&first.node.agent, &first.node.boot) == (&node.agent, &node.boot);
        let here = stayed && Netns::stayed(first.netns, netns);
        let complete = first.families == rows.iter().map(|row| row.lease.key().family()).collect();
        if first.config != request.config {
            if here || !self.old_home(first).await?.is_over() {
                let held: Vec<_> = rows.iter().map(|row| row.lease.address.to_string()).collect();
                return Err(EngineError::ConfigChanged {
                    attachment: request.attachment.to_string(),
                    held: held.join(" and "),
                });
            }
            self.end_old_hold(rows, guard).await?;
            return Ok(None);
        }
        if !complete {
            // A half set was never answered (I3): it ends, and a whole one is decided.
            self.end_old_hold(rows, guard).await?;
            return Ok(None);
        }
        if !request.caller.was_answered() {
            let leases: Vec<_> = rows.iter().map(|row| row.lease.clone()).collect();
            self.yield_to_rivals(&leases, guard).await?;
        }
        let how = if here { Rebind::Repeated } else { Rebind::Moved };
        self.rebind(rows, request, netns, (how, vec![guard.clone()])).await.map(Some)
    }

    /// A new container of the same pod, on the same interface and network, takes the lease of the old one
    /// over at once if the old namespace is proved gone (DESIGN section 4).
    pub(crate) async fn take_over(
        self: &Arc<Self>,
        request: &AddRequest,
        netns: Option<Netns>,
        guard: &AttachmentGuard,
    ) -> Result<Option<AddAnswer>, EngineError> {
        let Some(old) = self.older_container(request).await? else { return Ok(None) };
        // The verb of the old container, if one is under way, comes first; what it left is read afterwards.
        let old_guard = self.locks.lock(&old).await?;
        let mut rows = self.held_by(&old, request.caller.node()).await?;
        rows.retain(|row| row.lease.is_bound() && self.could_take_over(&row.lease, request));
        let Some(first) = rows.first().map(|row| row.lease.clone()) else { return Ok(None) };
        let complete = first.families == rows.iter().map(|row| row.lease.key().family()).collect();
        if !complete || !self.old_home(&first).await?.is_over() {
            return Ok(None);
        }
        let guards = vec![guard.clone(), old_guard];
        self.rebind(rows, request, netns, (Rebind::TakenOver, guards)).await.map(Some)
    }

    /// The attachment of an older container of the same pod that holds something.
    async fn older_container(
        &self,
        request: &AddRequest,
    ) -> Result<Option<Attachment>, EngineError> {
        let Some(uid) = Print::uid(&request.owner) else { return Ok(None) };
        let listed = self.state.lock().ledger.of_owner(uid);
        let bound = listed.into_iter().filter(|(_, slot)| slot.is_bound());
        let rows = self.rows_at(bound, false).await?;
        let mut older = rows.into_iter().filter(|row| self.could_take_over(&row.lease, request));
        Ok(older.next().map(|row| row.lease.attachment))
    }

    fn could_take_over(&self, lease: &Lease, request: &AddRequest) -> bool {
        lease.is_bound()
            && lease.owner.is_same(&request.owner)
            && lease.attachment.network == request.attachment.network
            && lease.attachment.ifname == request.attachment.ifname
            && lease.attachment.container != request.attachment.container
            && lease.node.agent == self.node_of(request).agent
            && lease.config == request.config
    }

    /// What is known of the namespace in which a lease was bound, looked up now.
    pub(crate) async fn old_home(self: &Arc<Self>, lease: &Lease) -> Result<OldHome, EngineError> {
        match self.state.lock().ledger.home_of(&lease.node) {
            Home::Elsewhere => return Ok(OldHome::Unknown),
            Home::EarlierBoot => return Ok(OldHome::Rebooted),
            Home::Here => {}
        }
        let question = Question {
            node: Arc::new(lease.node.clone()),
            netns: lease.netns,
            owner: Some(lease.owner.clone()),
            address: None,
        };
        let sights = self.blocking(move |engine| engine.ports.kernel.look_at(&[question])).await?;
        Ok(match sights.first().map(|sight| sight.namespace) {
            Some(NetnsLook::Gone) => OldHome::Gone,
            Some(NetnsLook::Alive) => OldHome::Alive,
            Some(NetnsLook::Unknown) | None => OldHome::Unknown,
        })
    }

    /// Compare-and-replaces the rows of a set: the same addresses, the holder and home of now, generation + 1.
    async fn rebind(
        self: &Arc<Self>,
        rows: Vec<Row>,
        request: &AddRequest,
        netns: Option<Netns>,
        (how, guards): (Rebind, Vec<AttachmentGuard>),
    ) -> Result<AddAnswer, EngineError> {
        let attempt = AttemptId(random()?);
        let now = self.now();
        let mut writes = Vec::new();
        for Row { lease, revision } in rows {
            let (previous, bound_at) = match how {
                Rebind::Repeated => (lease.previous.clone(), lease.bound_at),
                moved => (lease.holder_as_past(now.wall, moved.as_str()), now.wall),
            };
            let state = match &lease.state {
                // The other claimant is still there.
                LeaseState::Quarantined { cause: QuarantineCause::TwoClaims, .. } => {
                    lease.state.clone()
                }
                _ => LeaseState::Bound,
            };
            let lease = Lease {
                attachment: request.attachment.clone(),
                owner: request.owner.clone(),
                node: self.node_of(request).clone(),
                netns,
                attempt,
                generation: lease.generation.next(),
                epoch: self.epoch(),
                state,
                config: request.config.clone(),
                bound_at,
                bound_boottime_ms: self.boottime_of(request),
                previous,
                ..lease
            };
            writes.push(Write::Replace { lease, expect: revision });
        }
        let leases: Vec<_> = writes.iter().filter_map(Write::lease).cloned().collect();
        let answer = self.answer(&leases)?;
        self.commit(writes, guards).await?;
        match how {
            Rebind::Repeated => self.counters.adds_repeated.one(),
            Rebind::Moved | Rebind::TakenOver => {
                self.counters.adds_rebound.one();
                tracing::info!(attachment = %request.attachment, how = how.as_str(), "the lease has a new home");
            }
        }
        Ok(answer)
    }

    /// Releases rows whose old holder is proved gone, or that were never answered. The proof begins to count once the
    /// links have settled, as after any DEL.
    pub(crate) async fn end_old_hold(
        self: &Arc<Self>,
        rows: Vec<Row>,
        guard: &AttachmentGuard,
    ) -> Result<(), EngineError> {
        let now = self.now();
        let mut writes = Vec::new();
        for Row { lease, revision } in rows {
            let proof = match self.old_home(&lease).await? {
                OldHome::Rebooted => Proof::Reboot,
                OldHome::Gone | OldHome::Alive | OldHome::Unknown => Proof::None,
            };
            let lease = self.ended(lease, proof)?;
            writes.push(Write::Replace { lease, expect: revision });
        }
        let leases: Vec<_> = writes.iter().filter_map(Write::lease).cloned().collect();
        self.commit(writes, vec![guard.clone()]).await?;
        self.proofs.ask_for(&leases, now.moment);
        Ok(())
    }

    /// Commits in its own task, which keeps the guards: even if the caller goes away, the ledger learns of the write
    /// before anybody else acts on the attachments.
    pub(crate) async fn commit(
        self: &Arc<Self>,
        writes: Vec<Write>,
        guards: Vec<AttachmentGuard>,
    ) -> Result<(), EngineError> {
        if writes.is_empty() {
            return Ok(());
        }
        let engine = self.clone();
        let task = tokio::spawn(async move {
            let _guards = guards;
            let _gate = engine.gate.read().await;
            let outcome = engine.ports.store.commit(writes.clone()).await;
            match &outcome {
                Ok(revisions) => engine.learn(&writes, revisions),
                Err(_) => {
                    // Whatever happened, the ledger shall know what stands there now.
                    engine.doubt(writes.iter().map(Write::key));
                    engine.resolve_doubts().await;
                }
            }
            outcome
        });
        task.await.map_err(|e| EngineError::Bug {
            what: format!("a write ended without an answer: {e}"),
        })??;
        Ok(())
    }

    /// The record after its holder let go, or was found gone by its own ADD.
    pub(crate) fn ended(&self, lease: Lease, proof: Proof) -> Result<Lease, EngineError> {
        let wall = self.now().wall;
        if is_contested(&lease) {
            return left_to_the_other(lease, wall);
        }
        let rest_s = self.rest_of(&lease);
        Ok(lease.released(wall, proof, rest_s))
    }

    /// How long the address of a lease rests after a DEL, in seconds: its pool's cool-down.
    pub(crate) fn rest_of(&self, lease: &Lease) -> u32 {
        let state = self.state.lock();
        let pool = state.ledger.pool_at(&lease.key());
        pool.map_or_else(tenure_core::objects::Span::default_cooldown, |p| p.spec.cooldown)
            .secs_ceil()
    }
}

impl OldHome {
    /// Whether nothing of it lives any more, by proof.
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Rebooted | Self::Gone)
    }
}

impl Rebind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Repeated => "repeat",
            Self::Moved => "rebind",
            Self::TakenOver => "takeover",
        }
    }
}
