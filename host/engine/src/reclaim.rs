//! Reclaim by an operator: the sweep of always, now, and again as suspects become due.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tenure_core::lease::{Attachment, Lease, Owner};
use tenure_core::name::{PoolName, SpaceName};
use tokio::time::Instant;

use crate::suspects::{SuspectView, Suspects};
use crate::{Engine, EngineError};

/// A reclaim by an operator sweeps again as suspects become due, for so long.
pub const RECLAIM_PATIENCE: Duration = Duration::from_secs(10);

/// What a reclaim by an operator did, and what is left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReclaimAnswer {
    /// Nothing was changed.
    pub dry_run: bool,
    /// Taken back meanwhile, by space and address.
    pub reclaimed: Vec<Reclaimed>,
    /// Leases that are suspect still, or of which nothing is known, by space and address.
    pub suspects: Vec<SuspectView>,
    /// So many more there are.
    pub unlisted: usize,
}

/// An address that was taken back from a holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reclaimed {
    /// The address.
    pub address: IpAddr,
    /// Its routing domain.
    pub space: SpaceName,
    /// Its pool at the time of the ADD.
    pub pool: PoolName,
    /// Who held it.
    pub attachment: Attachment,
    /// For whom.
    pub owner: Owner,
    /// The generation of that hold.
    pub generation: u64,
    /// Its end is not proved: it is quarantined.
    pub quarantined: bool,
}

/// What is taken back while an operator's reclaim runs, by whomever: the sweep in the background wakes at the same
/// moments, and what it takes back first belongs to the answer, too.
#[derive(Debug, Default)]
pub(crate) struct Takings {
    /// Held by the reclaim that runs; another one waits for it.
    turn: tokio::sync::Mutex<()>,
    /// None while none runs. Written by every commit that takes something back.
    noted: Mutex<Option<Vec<Reclaimed>>>,
}

/// Taking notes. Its end is the end of the notes, also for a caller who goes away.
struct Notes<'a> {
    takings: &'a Takings,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl Engine {
    /// Sweeps now, and again as suspects become due, for [`RECLAIM_PATIENCE`] at most. A second caller waits for the
    /// first one.
    ///
    /// # Errors
    /// The store failed.
    pub async fn reclaim_now(self: &Arc<Self>) -> Result<ReclaimAnswer, EngineError> {
        let notes = self.takings.take_notes().await;
        let until = Instant::now() + RECLAIM_PATIENCE;
        loop {
            let next = self.sweep().await?.next;
            let again = next.and_then(|next| Instant::now().checked_add(next));
            match again.filter(|again| *again <= until) {
                Some(again) => tokio::time::sleep_until(again).await,
                None => break,
            }
        }
        let Suspects { listed, unlisted } = self.suspects().await?;
        let reclaimed = notes.finish();
        Ok(ReclaimAnswer { dry_run: false, reclaimed, suspects: listed, unlisted })
    }
}

impl ReclaimAnswer {
    /// What a reclaim would look at.
    #[must_use]
    pub fn dry_run(Suspects { listed, unlisted }: Suspects) -> Self {
        Self { dry_run: true, reclaimed: Vec::new(), suspects: listed, unlisted }
    }
}

// === impl Takings ===

impl Takings {
    async fn take_notes(&self) -> Notes<'_> {
        let turn = self.turn.lock().await;
        *self.noted.lock() = Some(Vec::new());
        Notes { takings: self, _turn: turn }
    }

    /// Somebody took this lease back.
    pub(crate) fn note(&self, lease: &Lease) {
        if let Some(noted) = self.noted.lock().as_mut() {
            noted.push(Reclaimed {
                address: lease.address,
                space: lease.space.clone(),
                pool: lease.pool.clone(),
                attachment: lease.attachment.clone(),
                owner: lease.owner.clone(),
                generation: lease.generation.0,
                quarantined: !lease.is_released(),
            });
        }
    }
}

impl Notes<'_> {
    fn finish(self) -> Vec<Reclaimed> {
        let mut noted = self.takings.noted.lock().take().unwrap_or_default();
        noted.sort_by(|a, b| (&a.space, a.address).cmp(&(&b.space, b.address)));
        noted
    }
}

impl Drop for Notes<'_> {
    fn drop(&mut self) {
        *self.takings.noted.lock() = None;
    }
}
