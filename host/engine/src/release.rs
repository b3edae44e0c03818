//! The operator takes an address back by hand.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tenure_core::lease::{Generation, Lease, LeaseKey, LeaseState, Proof, QuarantineCause};
use tenure_core::name::SpaceName;
use tenure_core::objects::BadObject;
use tenure_store::{Row, Write};

use crate::again::OldHome;
use crate::views::LeaseView;
use crate::{Engine, EngineError};

/// Longest reason of a release, in bytes: it stands in the record.
const MAX_REASON: usize = 512;

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
    /// Why, for the record, in at most 512 bytes.
    #[serde(default)]
    pub reason: String,
}

impl Engine {
    /// Takes an address back. Its holder is proved gone: it rests, as after a DEL. Not proved: it goes to quarantine, with
    /// who and why; a release of a quarantined address lets it go on the word of the operator, but what the kernel still
    /// sees on a link lingers. While the holder is seen alive both need `even_if_live`.
    ///
    /// # Errors
    /// Unknown address, another generation, nobody holds it, a live holder, or too long a reason.
    pub async fn release_by_hand(
        self: &Arc<Self>,
        request: ReleaseRequest,
        who: &str,
    ) -> Result<LeaseView, EngineError> {
        let key = LeaseKey { space: request.space.clone(), address: request.address };
        check_reason(&request.reason, &key)?;
        let row = self.ports.store.get(&key).await?;
        let row = row.ok_or_else(|| EngineError::NotFound { object: format!("lease {key}") })?;
        let guard = self.locks.lock(&row.lease.attachment).await?;
        let Row { lease, revision } = self.ports.store.get(&key).await?.unwrap_or(row);
        may_be_released(&lease, request.generation)?;
        let lease = self.released_by_hand(lease, &request, who).await?;
        tracing::warn!(address = %key, who, reason = request.reason, state = lease.state_name(), "released by hand");
        let write = Write::Replace { lease: lease.clone(), expect: revision };
        self.commit(vec![write], vec![guard]).await?;
        if lease.is_released() {
            self.proofs.ask_for(std::slice::from_ref(&lease), self.now().moment);
        }
        Ok(self.lease_view(lease))
    }

    /// The record after it.
    async fn released_by_hand(
        self: &Arc<Self>,
        mut lease: Lease,
        request: &ReleaseRequest,
        who: &str,
    ) -> Result<Lease, EngineError> {
        let (wall, rest_s) = (self.now().wall, self.rest_of(&lease));
        let is_quarantined = matches!(lease.state, LeaseState::Quarantined { .. });
        Ok(match self.old_home(&lease).await? {
            OldHome::Rebooted => lease.released(wall, Proof::Reboot, rest_s),
            // One look is no proof yet: that is found as after a DEL, once the links have settled.
            OldHome::Gone => lease.released(wall, Proof::Operator, rest_s),
            OldHome::Alive if !request.even_if_live => {
                let why = "its holder's network namespace still exists; stop the container, or say --even-if-live";
                return Err(refused(&lease, why.to_owned()));
            }
            OldHome::Alive | OldHome::Unknown if is_quarantined => {
                lease.released(wall, Proof::Operator, rest_s)
            }
            // Its holder may live: nobody else gets the address until it is proved gone, or somebody insists.
            OldHome::Alive | OldHome::Unknown => {
                let cause = QuarantineCause::Operator(who_and_why(who, &request.reason));
                lease.state = LeaseState::Quarantined { at: wall, cause };
                lease
            }
        })
    }
}

fn check_reason(reason: &str, key: &LeaseKey) -> Result<(), EngineError> {
    if reason.len() <= MAX_REASON {
        return Ok(());
    }
    let message = format!("it is longer than {MAX_REASON} bytes");
    let (object, field) = (format!("lease {key}"), "reason".to_owned());
    Err(BadObject { object, field, message }.into())
}

fn may_be_released(lease: &Lease, generation: u64) -> Result<(), EngineError> {
    if lease.generation != Generation(generation) {
        let why = format!(
            "it is of generation {} now, not {generation}; look at it again with `tenure describe lease {}`",
            lease.generation.0,
            lease.key()
        );
        return Err(refused(lease, why));
    }
    if lease.is_released() {
        return Err(refused(lease, "nobody holds it".to_owned()));
    }
    Ok(())
}

fn refused(lease: &Lease, why: String) -> EngineError {
    EngineError::Refused { object: format!("lease {}", lease.key()), why }
}

fn who_and_why(who: &str, why: &str) -> Box<str> {
    if why.is_empty() { who.into() } else { format!("{who}: {why}").into() }
}
