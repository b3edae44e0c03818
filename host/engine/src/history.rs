//! Who held an address: what operators ask after the fact. It reads the store and decides nothing.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tenure_core::history::{Gap, HeldAt, HistoryEvent, Kept, Story};
use tenure_core::lease::{Lease, LeaseKey};
use tenure_core::name::SpaceName;
use tenure_core::time::WallMs;

use crate::{Engine, EngineError};

/// What is asked of the history of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRequest {
    /// The address.
    pub address: IpAddr,
    /// Its routing domain.
    pub space: SpaceName,
    /// Who held it at this moment.
    pub at: Option<WallMs>,
    /// So many events at most, the newest.
    pub limit: usize,
}

/// The history of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryView {
    /// The address.
    pub address: IpAddr,
    /// Its routing domain.
    pub space: SpaceName,
    /// Who held it at the moment that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moment: Option<MomentView>,
    /// Its events, newest first, at most as many as asked for.
    pub items: Vec<HistoryEvent>,
    /// How many there are.
    pub total: usize,
    /// Times of which nothing is known, of any address, newest first.
    pub gaps: Vec<Gap>,
    /// How far back the store can tell.
    pub kept: Kept,
}

/// Who held an address at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MomentView {
    /// The moment.
    pub at: WallMs,
    /// Who.
    pub answer: HeldAt,
    /// The wall clock was set back around it: the events in their order tell more.
    pub clock_set_back: bool,
}

impl Engine {
    /// The history of one address, and who held it at a moment.
    ///
    /// # Errors
    /// [`EngineError::NotFound`]: it is in no pool, and nothing is kept of it. The store cannot be read.
    pub async fn history(
        self: &Arc<Self>,
        request: HistoryRequest,
    ) -> Result<HistoryView, EngineError> {
        let HistoryRequest { address, space, at, limit } = request;
        let key = LeaseKey { space, address };
        // The record first: where no event follows, it stood already when the events were read.
        let record = self.ports.store.get(&key).await?.map(|row| row.lease);
        let is_known = record.is_some() || self.state.lock().ledger.pool_of(&key).is_some();
        let read = move |engine: &Arc<Self>| engine.story(&key, record).map(|story| (key, story));
        let (key, story) = self.in_background(read).await??;
        let total = story.events().count();
        if !is_known && total == 0 {
            return Err(EngineError::NotFound { object: format!("history of {key}") });
        }
        let moment = at.map(|at| MomentView {
            at,
            answer: story.held_at(at),
            clock_set_back: story.came_twice(at),
        });
        Ok(HistoryView {
            moment,
            items: story.events().rev().take(limit).cloned().collect(),
            total,
            gaps: story.gaps().rev().cloned().collect(),
            kept: story.kept,
            address: key.address,
            space: key.space,
        })
    }

    fn story(&self, key: &LeaseKey, record: Option<Lease>) -> Result<Story, EngineError> {
        let mut entries = Vec::new();
        let kept = self.ports.store.history(Some(key), &mut |entry| entries.push(entry))?;
        Ok(Story { entries, kept, record })
    }
}
