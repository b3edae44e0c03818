//! CHECK and STATUS.

use std::sync::Arc;
use std::time::Duration;

use tenure_core::address::Family;
use tenure_core::name::{NetworkName, PoolName};
use tenure_core::pool::Pool;

use crate::{CheckRequest, Engine, EngineError, Past};

impl Engine {
    /// Whether the attachment holds its lease and `prevResult` carries its addresses. Addresses that later
    /// plugins of the chain added are tolerated.
    ///
    /// # Errors
    /// [`EngineError::CheckFailed`] saying what is missing.
    pub async fn check(self: &Arc<Self>, request: CheckRequest) -> Result<(), EngineError> {
        let _guard = self.locks.lock(&request.attachment).await?;
        let past = Past::Answered(request.addresses.clone());
        if request.node.is_some() {
            self.look_for(&request.attachment, &past).await?;
        }
        let rows = self.held_now(&request.attachment, request.node.as_deref()).await?;
        let failed = |why: String| EngineError::CheckFailed {
            attachment: request.attachment.to_string(),
            why,
        };
        if rows.is_empty() {
            return Err(failed("holds no address; its lease was released or reclaimed".to_owned()));
        }
        for row in &rows {
            if !request.addresses.contains(&row.lease.address) {
                let why = format!("holds {}, which prevResult does not have", row.lease.address);
                return Err(failed(why));
            }
        }
        let families = rows.iter().map(|row| row.lease.key().family()).collect();
        if rows.first().is_some_and(|row| row.lease.families != families) {
            return Err(failed("its set of addresses is not complete".to_owned()));
        }
        Ok(())
    }

    /// Whether ADDs can be served. An exhausted pool is not a failure: a pool cut to size always is, and a
    /// failing STATUS takes the whole node out of service. Only who asks for it, naming a network and the
    /// pools of its configuration, is told.
    ///
    /// # Errors
    /// The store is broken, or nothing is free for those who asked.
    pub fn status(
        &self,
        on_exhaustion: Option<(&NetworkName, &[PoolName])>,
    ) -> Result<(), EngineError> {
        self.ports.store.health()?;
        let Some((network, pools)) = on_exhaustion else { return Ok(()) };
        let now = self.now();
        let mut state = self.state.lock();
        let serves = |pool: &Pool| {
            let spec = &pool.spec;
            let named = pools.is_empty() || pools.contains(&pool.name);
            named && !spec.disabled && (spec.networks.is_empty() || spec.networks.contains(network))
        };
        let serving: Vec<_> = state
            .ledger
            .pools()
            .enumerate()
            .filter(|(_, pool)| serves(pool))
            .map(|(index, pool)| (index, pool.family(), pool.name.clone()))
            .collect();
        for family in Family::ALL {
            let of_family = || serving.iter().filter(|(_, f, _)| *f == family);
            let pools: Vec<_> = of_family().map(|(_, _, name)| name.clone()).collect();
            let dues: Vec<_> =
                of_family().map(|(index, _, _)| state.ledger.next_due(*index, now)).collect();
            if !dues.is_empty() && !dues.contains(&Some(Duration::ZERO)) {
                let waiting = state.waiting.longest(&pools);
                let due = dues.into_iter().flatten().min();
                let counts = state.counts_of(&pools, now);
                let waited = Duration::ZERO;
                return Err(EngineError::Exhausted { family, pools, counts, due, waiting, waited });
            }
        }
        Ok(())
    }
}
