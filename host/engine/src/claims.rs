//! What agents say that they hold, after they were not heard for a while.

use tenure_core::lease::{Attachment, Generation, LeaseKey};
use tenure_core::ledger::{Print, Slot};
use tenure_store::Row;

use crate::{Engine, EngineError};

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
    /// An address without a row, or with a row of an earlier generation, is not lost: there the store is what went back.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn overtaken(&self, claims: Vec<Claim>) -> Result<Vec<Attachment>, EngineError> {
        let mut overtaken = Vec::new();
        for claim in claims {
            let known = self.state.lock().ledger.slot(&claim.key);
            if known.is_some_and(|slot| claim.is_as(&slot)) {
                continue;
            }
            let row = self.ports.store.get(&claim.key).await?;
            if row.is_some_and(|row| claim.is_lost_to(&row))
                && !overtaken.contains(&claim.attachment)
            {
                overtaken.push(claim.attachment);
            }
        }
        Ok(overtaken)
    }
}

// === impl Claim ===

impl Claim {
    fn is_as(&self, slot: &Slot) -> bool {
        slot.has_holder()
            && slot.generation == self.generation
            && slot.attachment == Print::attachment(&self.attachment)
    }

    fn is_lost_to(&self, row: &Row) -> bool {
        let lease = &row.lease;
        let is_his = lease.attachment == self.attachment && lease.has_holder();
        !is_his && lease.generation >= self.generation
    }
}
