//! The operator takes an address back by hand.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tenure_core::lease::{Generation, LeaseKey, LeaseState, Proof, QuarantineCause};
use tenure_core::name::SpaceName;
use tenure_core::ports::NetnsLook;
use tenure_store::Write;

use crate::views::LeaseView;
use crate::{Engine, EngineError};

/// A release by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseRequest {
    /// The address.
    pub address: IpAddr,
    /// Its routing domain.
    #[serde(default)]
    pub space: SpaceName,
    /// The generation that the operator saw: another one is refused.
    pub generation: u64,
    /// Do it although the kernel says that the holder lives. The address goes to quarantine then.
    #[serde(default)]
    pub even_if_live: bool,
    /// Why, for the record.
    #[serde(default)]
    pub reason: String,
}

impl Engine {
    /// Takes an address back. Proved gone: it rests, as after a reclaim. Unknown: it rests, on the word of the
    /// operator. Alive: refused, or with `even_if_live` quarantined; released once more it rests.
    ///
    /// # Errors
    /// Unknown address, another generation, or a live holder.
    pub async fn release_by_hand(
        self: &Arc<Self>,
        request: ReleaseRequest,
        who: &str,
    ) -> Result<LeaseView, EngineError> {
        let key = LeaseKey { space: request.space.clone(), address: request.address };
        let row = self.ports.store.get(&key).await?;
        let row = row.ok_or_else(|| EngineError::NotFound { object: format!("lease {key}") })?;
        let refused = |why: String| EngineError::Refused { object: format!("lease {key}"), why };
        let guard = self.locks.lock(&row.lease.attachment).await?;
        let row = self.ports.store.get(&key).await?.unwrap_or(row);
        if row.lease.generation != Generation(request.generation) {
            return Err(refused(format!(
                "it is of generation {} now, not {}; look at it again with `tenure describe lease {key}`",
                row.lease.generation.0, request.generation
            )));
        }
        if row.lease.is_released() {
            return Err(refused("nobody holds it".to_owned()));
        }
        let wall = self.now().wall;
        let rest_s = self.rest_of(&row.lease);
        let alive = self.says_alive(&row.lease).await?;
        let mut lease = row.lease;
        let was_quarantined = matches!(lease.state, LeaseState::Quarantined { .. });
        let lease = match (alive, was_quarantined, request.even_if_live) {
            // One look: the proof counts once the links have settled, as after a DEL.
            (NetnsLook::Gone, _, _) => lease.released(wall, Proof::None, rest_s),
            (NetnsLook::Unknown, _, _) | (NetnsLook::Alive, true, true) => {
                lease.released(wall, Proof::Operator, rest_s)
            }
            (NetnsLook::Alive, _, false) => {
                let why = "its holder's network namespace still exists; stop the container, or say --even-if-live";
                return Err(refused(why.to_owned()));
            }
            (NetnsLook::Alive, false, true) => {
                let cause = QuarantineCause::Operator(format!("{who}: {}", request.reason).into());
                lease.state = LeaseState::Quarantined { at: wall, cause };
                lease
            }
        };
        tracing::warn!(address = %key, who, reason = request.reason, state = lease.state_name(), "released by hand");
        self.commit(
            vec![Write::Replace { lease: lease.clone(), expect: row.revision }],
            vec![guard],
        )
        .await?;
        if lease.is_released() {
            self.proofs.ask_for(std::slice::from_ref(&lease), self.now().moment);
        }
        Ok(self.lease_view(lease))
    }

    async fn says_alive(
        self: &Arc<Self>,
        lease: &tenure_core::lease::Lease,
    ) -> Result<NetnsLook, EngineError> {
        use crate::again::OldHome;
        if self.old_home(lease).await? != OldHome::Standing {
            return Ok(NetnsLook::Gone);
        }
        if lease.node.agent != self.options.node.agent {
            return Ok(NetnsLook::Unknown);
        }
        let Some(netns) = lease.netns else { return Ok(NetnsLook::Unknown) };
        let look = self.blocking(move |engine| engine.ports.kernel.look()).await?;
        Ok(look.map_or(NetnsLook::Unknown, |look| look.namespace(&netns)))
    }
}
