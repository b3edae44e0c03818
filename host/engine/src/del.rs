//! DEL.
//!
//! It needs nothing but the key, asks neither a policy nor anybody else, and succeeds when there is nothing
//! (I5). It frees only what the attachment holds in the generation that was read; the answer follows the
//! durable release. A DEL is not yet the end of the holder: the proof is looked for afterwards (`proof.rs`).

use std::sync::Arc;

use tenure_core::lease::{Lease, Proof};
use tenure_store::{Row, Write};

use crate::locks::AttachmentGuard;
use crate::{DelRequest, Engine, EngineError, SpoolInstant};

/// So often a DEL is tried again because a row changed meanwhile.
const MAX_TRIES: usize = 4;

impl Engine {
    /// Releases what an attachment holds. Any number of times, in any order.
    ///
    /// # Errors
    /// Only where the store fails: then the runtime shall try again.
    pub async fn del(self: &Arc<Self>, request: DelRequest) -> Result<(), EngineError> {
        let is_spooled = request.node.is_none() && request.bound_before.is_some();
        let guard = match is_spooled {
            true => self.locks.lock_if_idle(&request.attachment)?,
            false => self.locks.lock_for_del(&request.attachment).await?,
        };
        self.settle_doubts().await?;
        self.look_for(&request.attachment, &request.past).await?;
        let mut tries = 0;
        loop {
            let mut rows = self.held_by(&request.attachment, request.node.as_deref()).await?;
            if let Some(instant) = &request.bound_before {
                rows.retain(|row| self.was_bound_before(&row.lease, instant));
            }
            if rows.is_empty() {
                self.counters.dels_empty.one();
                return Ok(());
            }
            tries += 1;
            match self.release(rows, &guard).await {
                Ok(()) => {
                    self.counters.dels.one();
                    return Ok(());
                }
                Err(EngineError::Store(tenure_store::StoreError::Conflict { .. }))
                    if tries < MAX_TRIES =>
                {
                    self.counters.conflicts.one();
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn release(
        self: &Arc<Self>,
        rows: Vec<Row>,
        guard: &AttachmentGuard,
    ) -> Result<(), EngineError> {
        let now = self.now();
        let released = rows.into_iter().map(|Row { lease, revision }| {
            Ok(Write::Replace { lease: self.ended(lease, Proof::None)?, expect: revision })
        });
        let writes = released.collect::<Result<Vec<Write>, EngineError>>()?;
        let leases: Vec<Lease> = writes.iter().filter_map(Write::lease).cloned().collect();
        self.commit(writes, vec![guard.clone()]).await?;
        self.proofs.ask_for(&leases, now.moment);
        Ok(())
    }

    /// A DEL with an instant releases only what was bound before it, in that boot or an earlier one. What is neither
    /// certainly is kept: the kernel witness will tell.
    fn was_bound_before(&self, lease: &Lease, instant: &SpoolInstant) -> bool {
        if *lease.node.boot == *instant.boot {
            return lease.bound_boottime_ms < instant.boottime_ms;
        }
        // The instant's boot is the present one of the lease's agent, so the lease's is an earlier one.
        self.state.lock().ledger.is_present(&lease.node.agent, &instant.boot)
    }
}
