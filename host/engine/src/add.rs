//! ADD.
//!
//! ```text
//! lock the attachment -> identify the namespace -> own lease? answer or re-bind it
//!   -> the same pod's lease under an older container id? take it over
//!   -> decide and reserve (choose.rs) -> write all rows in one commit -> answer
//! ```
//!
//! Guarantees: I1 (the write is conditional), I2 (the answer follows the durable write), I3 (one commit for
//! all families), I4 (the same ADD finds its own rows). A caller that goes away before the write leaves
//! nothing behind; once the write has begun it is settled in its own task, whatever becomes of the caller.

use std::sync::Arc;

use tenure_core::address::Family;
use tenure_core::decision::Previous;
use tenure_core::lease::{AttemptId, Generation, Lease, LeaseKey, LeaseState, Netns};
use tenure_core::ledger::{Print, Status};
use tenure_core::ports::WitnessError;
use tenure_store::{Revision, Row, StoreError, Write};

use crate::choose::Choice;
use crate::holds::Holds;
use crate::locks::AttachmentGuard;
use crate::{AddAnswer, AddRequest, Engine, EngineError, Granted};

/// So often a decision is made anew because somebody else changed a row meanwhile.
const MAX_TRIES: usize = 8;
/// So many earlier addresses of a holder are shown to affinity policies.
const MAX_PREVIOUS: usize = 16;

impl Engine {
    /// Gives an attachment its addresses: all families or none.
    ///
    /// # Errors
    /// [`EngineError`]; nothing has changed then.
    pub async fn add(self: &Arc<Self>, request: AddRequest) -> Result<AddAnswer, EngineError> {
        let answer = self.add_inner(request).await;
        match &answer {
            Ok(_) => self.counters.adds.one(),
            Err(_) => self.counters.adds_failed.one(),
        }
        answer
    }

    async fn add_inner(self: &Arc<Self>, request: AddRequest) -> Result<AddAnswer, EngineError> {
        let guard = self.locks.lock(&request.attachment).await?;
        let netns = self.identify(&request).await?;
        if let Some(answer) = self.add_again(&request, netns).await? {
            return Ok(answer);
        }
        if let Some(answer) = self.take_over(&request, netns).await? {
            return Ok(answer);
        }
        let mut guard = Some(guard);
        for _ in 0..MAX_TRIES {
            let previous = self.previous_of(&request).await?;
            let (engine, question) = (self.clone(), request.clone());
            let choice =
                self.blocking(move |_| Choice::make(&engine, &question, previous)).await??;
            let Some(held) = guard.take() else { break };
            match self.write_new(&request, netns, choice, held).await? {
                Ok(answer) => return Ok(answer),
                Err(returned) => guard = Some(returned),
            }
        }
        Err(EngineError::Busy { what: "the row", bound: MAX_TRIES })
    }

    /// The identity of `CNI_NETNS`; none where it cannot be established: the lease is *blind* then.
    async fn identify(
        self: &Arc<Self>,
        request: &AddRequest,
    ) -> Result<Option<Netns>, EngineError> {
        let Some(netns) = request.netns.clone() else { return Ok(None) };
        let path = netns.path.clone();
        let found = self.blocking(move |engine| engine.ports.kernel.identify(&path)).await?;
        match found {
            Ok(found) if netns.file.is_none_or(|file| file == (found.dev, found.ino)) => {
                Ok(Some(found))
            }
            Ok(_) => {
                self.counters.blind.one();
                tracing::warn!(
                    attachment = %request.attachment, path = %netns.path.display(),
                    "the daemon sees another namespace at this path than the plugin: the lease is blind \
                     (run the daemon in the mount namespace of the runtime)"
                );
                Ok(None)
            }
            Err(
                error @ (WitnessError::NoSuchNamespace { .. } | WitnessError::NotANamespace { .. }),
            ) => Err(EngineError::BadNetns { why: error.to_string() }),
            Err(error) => {
                self.counters.blind.one();
                tracing::warn!(attachment = %request.attachment, %error, "the lease is blind: only DEL, boot or an operator frees it");
                Ok(None)
            }
        }
    }

    /// What the holder had before, for affinity. Reads rows only where the ledger knows of some.
    async fn previous_of(&self, request: &AddRequest) -> Result<Vec<Previous>, EngineError> {
        let now = self.now();
        let prints = [Print::uid(&request.owner), Print::holder(&request.owner)];
        let mut rows = Vec::new();
        {
            let state = self.state.lock();
            for print in prints.into_iter().flatten() {
                rows.extend(state.ledger.of_owner(print));
            }
        }
        rows.retain(|(_, slot)| matches!(slot.status, Status::Released { .. }));
        rows.sort_by_key(|(key, _)| key.address);
        rows.dedup_by(|(a, _), (b, _)| a == b);
        let mut previous = Vec::new();
        for (key, _) in rows.into_iter().take(MAX_PREVIOUS) {
            let Some(row) = self.ports.store.get(&key).await? else { continue };
            let pool = self.state.lock().ledger.pool_of(&key);
            let Some(pool) = pool.and_then(|p| u32::try_from(p).ok()) else { continue };
            previous.extend(previous_row(&row.lease, request, pool, now.wall.0));
        }
        Ok(previous)
    }

    /// Writes the rows of a new hold in one commit. `Err(guard)` inside: somebody else was faster, decide anew.
    async fn write_new(
        self: &Arc<Self>,
        request: &AddRequest,
        netns: Option<Netns>,
        choice: Choice,
        guard: AttachmentGuard,
    ) -> Result<Result<AddAnswer, AttachmentGuard>, EngineError> {
        let attempt = AttemptId(random()?);
        let mut writes = Vec::new();
        let held: Vec<_> = choice.holds.iter().map(|hold| (hold.key.clone(), hold.prior)).collect();
        for (key, prior) in held {
            let prior = match prior {
                Some(slot) => match self.ports.store.get(&key).await? {
                    Some(row) if row.revision.0 == slot.revision => Some(row),
                    _ => return self.reread(choice, guard).await.map(Err),
                },
                None => None,
            };
            let lease = self.new_lease(request, netns, &choice, attempt, &key, prior.as_ref())?;
            writes.push(match prior {
                None => Write::Create(lease),
                Some(row) => Write::Replace { lease, expect: row.revision },
            });
        }
        let engine = self.clone();
        let leases: Vec<Lease> = writes.iter().filter_map(lease_of).cloned().collect();
        // Its own task: a write that has begun must be settled even if the caller goes away.
        let settled = tokio::spawn(async move {
            let outcome = engine.settle(writes, choice.holds, attempt).await;
            (outcome, guard)
        });
        let (outcome, guard) = settled.await.map_err(|e| EngineError::Bug {
            what: format!("a write ended without an answer: {e}"),
        })?;
        match outcome? {
            true => Ok(Ok(self.answer(&leases)?)),
            false => Ok(Err(guard)),
        }
    }

    /// Commits and tells the ledger what stands in the store now. False: a condition did not hold.
    async fn settle(
        self: &Arc<Self>,
        writes: Vec<Write>,
        holds: Holds,
        attempt: AttemptId,
    ) -> Result<bool, EngineError> {
        match self.ports.store.commit(writes.clone()).await {
            Ok(revisions) => {
                holds.written();
                self.learn(&writes, &revisions);
                Ok(true)
            }
            Err(StoreError::Conflict { key, .. }) => {
                self.counters.conflicts.one();
                drop(holds);
                self.refresh(&key).await?;
                Ok(false)
            }
            Err(StoreError::Unknown { .. }) => self.resolve(&writes, holds, attempt).await,
            Err(error) => Err(error.into()),
        }
    }

    /// The outcome of a commit is unknown: what stands in the store decides.
    async fn resolve(
        &self,
        writes: &[Write],
        holds: Holds,
        attempt: AttemptId,
    ) -> Result<bool, EngineError> {
        let mut ours = true;
        let mut rows = Vec::new();
        for lease in writes.iter().filter_map(lease_of) {
            let row = self.ports.store.get(&lease.key()).await?;
            ours &= row.as_ref().is_some_and(|row| row.lease.attempt == attempt);
            rows.push((lease.key(), row));
        }
        if ours {
            holds.written();
        } else {
            drop(holds);
        }
        for (key, row) in rows {
            self.learn_row(&key, row.as_ref());
        }
        Ok(ours)
    }

    /// The ledger and the store differ about a reserved row: the store is right.
    async fn reread(
        &self,
        choice: Choice,
        guard: AttachmentGuard,
    ) -> Result<AttachmentGuard, EngineError> {
        self.counters.conflicts.one();
        let keys: Vec<_> = choice.holds.iter().map(|hold| hold.key.clone()).collect();
        drop(choice);
        for key in keys {
            self.refresh(&key).await?;
        }
        Ok(guard)
    }

    fn new_lease(
        &self,
        request: &AddRequest,
        netns: Option<Netns>,
        choice: &Choice,
        attempt: AttemptId,
        key: &LeaseKey,
        prior: Option<&Row>,
    ) -> Result<Lease, EngineError> {
        let now = self.now();
        let pool = {
            let state = self.state.lock();
            state.ledger.pool_of(key).and_then(|p| state.ledger.pool(p)).map(|p| p.name.clone())
        };
        let pool = pool.ok_or_else(|| EngineError::Bug { what: format!("{key} is in no pool") })?;
        if let Some(Row { lease, .. }) = prior.filter(|row| row.lease.is_bound()) {
            self.counters.breaches_i1.one();
            return Err(EngineError::Bug {
                what: format!("I1: {key} is held by {}", lease.attachment),
            });
        }
        Ok(Lease {
            address: key.address,
            pool,
            space: key.space.clone(),
            attachment: request.attachment.clone(),
            owner: request.owner.clone(),
            node: self.options.node.clone(),
            netns,
            attempt,
            families: choice.families,
            generation: prior.map_or(Generation(1), |row| row.lease.generation.next()),
            epoch: self.epoch(),
            state: LeaseState::Bound,
            sticky: choice.sticky.clone(),
            tag: choice.tag,
            config: request.config.clone(),
            decided_by: choice.decided_by.clone(),
            bound_at: now.wall,
            bound_boottime_ms: self.ports.clock.boottime_ms(),
            previous: prior.map_or_else(Vec::new, |row| row.lease.holder_as_past(now.wall, "add")),
        })
    }

    /// The answer for these rows: IPv4 first, with the delivery facts of the pools as they are now.
    pub(crate) fn answer(&self, leases: &[Lease]) -> Result<AddAnswer, EngineError> {
        let state = self.state.lock();
        let mut addresses = Vec::new();
        for lease in leases {
            let pool = state.ledger.pool_of(&lease.key()).and_then(|p| state.ledger.pool(p));
            let pool = pool.ok_or_else(|| EngineError::Refused {
                object: format!("address {}", lease.address),
                why: format!("its pool {} no longer exists; DEL the attachment first", lease.pool),
            })?;
            addresses.push(Granted {
                address: pool.with_prefix(lease.address),
                pool: pool.name.clone(),
                gateway: pool.spec.gateway,
                routes: pool.spec.routes.clone(),
                dns: pool.spec.dns.clone(),
            });
        }
        addresses.sort_by_key(|granted| Family::of(granted.address.addr()));
        Ok(AddAnswer { addresses })
    }

    /// The ledger learns what was written.
    pub(crate) fn learn(&self, writes: &[Write], revisions: &[Revision]) {
        let now = self.now();
        let mut state = self.state.lock();
        for (write, revision) in writes.iter().zip(revisions) {
            match write {
                Write::Create(lease) | Write::Replace { lease, .. } => {
                    state.ledger.apply(lease, revision.0, now);
                }
                Write::Delete { key, .. } => state.ledger.forget(key),
            }
        }
    }

    pub(crate) fn learn_row(&self, key: &LeaseKey, row: Option<&Row>) {
        let now = self.now();
        let mut state = self.state.lock();
        match row {
            Some(row) => state.ledger.apply(&row.lease, row.revision.0, now),
            None => state.ledger.forget(key),
        }
    }

    /// The ledger learns what stands in the store, unless an ADD in flight has the address: that one will.
    pub(crate) async fn refresh(&self, key: &LeaseKey) -> Result<(), EngineError> {
        let row = self.ports.store.get(key).await?;
        let slot = self.state.lock().ledger.slot(key);
        if slot.is_none_or(|slot| slot.status != Status::Reserved) {
            self.learn_row(key, row.as_ref());
        }
        Ok(())
    }
}

pub(crate) fn lease_of(write: &Write) -> Option<&Lease> {
    match write {
        Write::Create(lease) | Write::Replace { lease, .. } => Some(lease),
        Write::Delete { .. } => None,
    }
}

pub(crate) fn random() -> Result<u128, EngineError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| EngineError::Bug { what: format!("no randomness from the kernel: {e}") })?;
    Ok(u128::from_be_bytes(bytes))
}

fn previous_row(lease: &Lease, request: &AddRequest, pool: u32, wall: u64) -> Option<Previous> {
    let LeaseState::Released { at, keep_until, .. } = lease.state else { return None };
    let seconds =
        |from: u64, to: u64| u32::try_from(to.saturating_sub(from) / 1000).unwrap_or(u32::MAX);
    let same_uid = lease.owner.is_same(&request.owner);
    let same_name = !lease.owner.name.is_empty()
        && (&lease.owner.namespace, &lease.owner.name)
            == (&request.owner.namespace, &request.owner.name);
    (same_uid || same_name).then(|| Previous {
        address: lease.address,
        pool,
        held_s: seconds(lease.bound_at.0, at.0),
        since_release_s: seconds(at.0, wall),
        same_uid,
        same_name,
        retained: keep_until.is_some_and(|until| until.0 > wall),
        resting: false,
    })
}
