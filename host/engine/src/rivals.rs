//! A sticky key has at most one live holder (DESIGN section 4), also where other engines write the same store: two that have
//! never heard of a key can each give it an address at the same moment.
//!
//! So whoever is the first here to use a key asks the store for it once its own rows stand there, and before it answers. Of two,
//! the one that committed later sees the other, and gives its own rows up. It may be that each sees the other and both give up;
//! they decide anew a moment later, each at its own time. Neither time stamps nor revisions can tell who came first: a stamp
//! has whole seconds, and a revision changes with each write of its row.
//!
//! What was given up was answered to nobody.

use std::sync::Arc;
use std::time::Duration;

use tenure_core::lease::{Attachment, Lease, LeaseState};
use tenure_core::time::WallMs;
use tenure_store::{Row, Selection};
use tokio::time::sleep;

use crate::locks::AttachmentGuard;
use crate::unanswered::{Leaves, Written};
use crate::{Engine, EngineError};

/// Two that gave up for each other decide anew within this.
const APART_MS: u64 = 200;

impl Engine {
    /// Gives these rows, just written, up again if somebody else has their key, or if that cannot be said.
    ///
    /// # Errors
    /// [`EngineError::Overtaken`] if somebody else has it: he is known here from now on. Any other: the store cannot be read.
    pub(crate) async fn yield_to_rivals(
        self: &Arc<Self>,
        leases: &[Lease],
        guard: &AttachmentGuard,
    ) -> Result<(), EngineError> {
        let error = match self.has_rival(leases).await {
            Ok(false) => return Ok(()),
            Ok(true) => EngineError::Overtaken,
            Err(error) => error,
        };
        tracing::info!(%error, "gives up a sticky key before it was answered");
        if let Some(first) = leases.first() {
            let leaves = Leaves { key: false, rest: true };
            self.give_up(&Written::of(first), guard, leaves).await?;
        }
        let apart = getrandom::u64().unwrap_or_default() % APART_MS;
        sleep(Duration::from_millis(apart)).await;
        Err(error)
    }

    /// Whether another attachment holds the key of one of these, or another address is kept for it.
    async fn has_rival(&self, leases: &[Lease]) -> Result<bool, EngineError> {
        let mut found = false;
        for lease in leases {
            let Some(sticky) = &lease.sticky else { continue };
            let Attachment { network, ifname, .. } = lease.attachment.clone();
            let (family, key) = (lease.key().family(), sticky.key.to_string());
            let selection = Selection::Key { network, ifname, family, key };
            let Some(listing) = self.ports.store.list(&selection).await? else { return Ok(false) };
            self.counters.lists.one();
            let now = self.now();
            let mut state = self.state.lock();
            for Row { lease: other, revision } in &listing.rows {
                state.ledger.hear(other, revision.0, now);
                found |= is_rival(other, lease, now.wall);
            }
        }
        Ok(found)
    }
}

/// Labels are hashes: the records are compared.
fn is_rival(other: &Lease, lease: &Lease, wall: WallMs) -> bool {
    if other.key() == lease.key() || !shares_key(other, lease) {
        return false;
    }
    match other.state {
        LeaseState::Released { keep_until, .. } => keep_until.is_some_and(|until| until > wall),
        LeaseState::Bound | LeaseState::Quarantined { .. } => other.has_holder(),
    }
}

/// Whether both have one sticky key: it is one of its network, interface and family.
pub(crate) fn shares_key(one: &Lease, other: &Lease) -> bool {
    let place = |lease: &Lease| (lease.attachment.network.clone(), lease.attachment.ifname.clone());
    let key = |lease: &Lease| lease.sticky.as_ref().map(|sticky| sticky.key.clone());
    (one.key().family(), place(one), key(one)) == (other.key().family(), place(other), key(other))
}
