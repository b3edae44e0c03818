//! What agents say that they hold, after they were not heard for a while; and what it says of a store that went back in
//! time unnoticed: etcd was restored, and other writes have brought its revision beyond the one that anybody saw.

use std::sync::Arc;

use tenure_core::lease::{Attachment, Generation, LeaseKey};
use tenure_core::ledger::{Print, Slot};
use tenure_store::Row;

use crate::census::is_contested;
use crate::{Engine, EngineError};

/// So many claims are remembered for which the store has begun a new life.
const MAX_BLAMED: usize = 10_000;

/// An address that an agent has answered and not taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whose.
    pub attachment: Attachment,
    /// The address.
    pub key: LeaseKey,
    /// Which hold of it.
    pub generation: Generation,
}

impl Engine {
    /// Which of these attachments have lost an address: it is another one's, or it was released in that generation or in a
    /// later one. What differs from what is known is read from the store now.
    ///
    /// An address without a row, or with a row of an earlier generation, is not lost: there the store is what went back. It
    /// begins a new life then, once for each such claim: a census finds what else it forgot.
    ///
    /// # Errors
    /// The store cannot be read, or a new life of it cannot be begun.
    pub async fn overtaken(
        self: &Arc<Self>,
        claims: Vec<Claim>,
    ) -> Result<Vec<Attachment>, EngineError> {
        let (mut overtaken, mut forgotten) = (Vec::new(), None);
        for claim in claims {
            let known = self.state.lock().ledger.slot(&claim.key);
            if known.is_some_and(|slot| claim.is_as(&slot)) {
                continue;
            }
            let row = self.ports.store.get(&claim.key).await?;
            if claim.is_forgotten_by(row.as_ref()) {
                forgotten.get_or_insert(claim);
            } else if row.is_some_and(|row| claim.is_lost_to(&row))
                && !overtaken.contains(&claim.attachment)
            {
                overtaken.push(claim.attachment);
            }
        }
        if let Some(claim) = forgotten {
            self.blame(&claim).await?;
        }
        Ok(overtaken)
    }

    /// While it is not known what is alive, a census is under way that will find it.
    async fn blame(self: &Arc<Self>, claim: &Claim) -> Result<(), EngineError> {
        let is_news = {
            let mut blamed = self.blamed.lock();
            if blamed.len() >= MAX_BLAMED {
                blamed.clear();
            }
            blamed.insert((claim.key.clone(), claim.generation))
        };
        if !is_news || !self.knows_what_lives() {
            return Ok(());
        }
        let what = format!(
            "{} was given {} in generation {}, of which it knows nothing",
            claim.attachment, claim.key, claim.generation.0
        );
        self.begin_anew(&what).await
    }
}

// === impl Claim ===

impl Claim {
    fn is_as(&self, slot: &Slot) -> bool {
        slot.has_holder()
            && slot.generation == self.generation
            && slot.attachment == Print::attachment(&self.attachment)
    }

    /// Generations only rise; what a census wrote begins another count.
    fn is_forgotten_by(&self, row: Option<&Row>) -> bool {
        row.is_none_or(|row| row.lease.generation < self.generation && !is_contested(&row.lease))
    }

    fn is_lost_to(&self, row: &Row) -> bool {
        let lease = &row.lease;
        let is_his = lease.attachment == self.attachment && lease.has_holder();
        !is_his && lease.generation >= self.generation
    }
}
