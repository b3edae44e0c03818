//! One live look at the store before a pool is called full: what others released may not have been heard, and events get
//! lost.
//!
//! A crowd shares it: each caller needs a list that *began* after it asked, and the next one that begins will do for all
//! who ask until then. Lists of one pool begin [`LISTS_APART`], so that a full pool costs the API server one a second,
//! however many ask.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use tenure_core::lease::Attachment;
use tenure_core::ledger::{Print, RowAt, Status};
use tenure_core::name::PoolName;
use tenure_store::{Listing, Revision, Selection};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::wait::Shortage;
use crate::{Engine, EngineError, Past};

/// Lists of one pool begin so far apart.
const LISTS_APART: Duration = Duration::from_secs(1);
/// So long an ADD has waited before it has its pools listed: lost events are rare, and a full pool with a long line is not.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// Pools that one ADD wants listed at once (I12). More ranked pools than this take turns.
const LISTS_AT_ONCE: usize = 16;
/// An ADD waits for lists so long at most; then it goes by what is known.
const PATIENCE: Duration = Duration::from_secs(5);

/// The live looks that one ADD takes: one while it begins to wait or before it is refused, and one before it gives up waiting.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    first: bool,
    last: bool,
}

/// The lists of each pool.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    lines: Mutex<HashMap<PoolName, Arc<Line>>>,
}

/// Those who want one pool listed.
#[derive(Debug, Default)]
struct Line {
    /// The number of the last list that has begun.
    begun: AtomicU64,
    /// Held by who lists.
    turn: tokio::sync::Mutex<Turn>,
}

#[derive(Debug, Default)]
struct Turn {
    /// The number of the last list that has ended, well or not.
    ended: u64,
    /// When it began.
    began: Option<Instant>,
}

// === impl Looks ===

impl Looks {
    /// Whether the first look is still to be taken; it counts as taken now.
    pub(crate) fn first(&mut self) -> bool {
        !std::mem::replace(&mut self.first, true)
    }

    /// The same of the last look.
    pub(crate) fn last(&mut self) -> bool {
        !std::mem::replace(&mut self.last, true)
    }
}

// === impl Engine ===

impl Engine {
    /// Lists the pools that an ADD found full, and learns what it did not know. Says whether it is worth deciding once more:
    /// not where this engine alone writes the store, and knows all.
    pub(crate) async fn look_at_store(&self, shortage: &Shortage) -> bool {
        let pools: BTreeSet<PoolName> = shortage.pools.iter().flatten().cloned().collect();
        // Together: each has a line of its own, and a turn in one may take a second.
        let mut lists = stream::iter(pools)
            .map(|pool| self.list_if_possible(pool))
            .buffer_unordered(LISTS_AT_ONCE);
        let all = async {
            let mut is_shared = false;
            while let Some(shared) = lists.next().await {
                is_shared |= shared;
            }
            is_shared
        };
        timeout(PATIENCE, all).await.unwrap_or(true)
    }

    /// The same for an ADD that waits in line meanwhile: most are served before it is worth a list.
    pub(crate) async fn look_while_waiting(&self, shortage: &Shortage) -> bool {
        sleep(LOOK_AFTER).await;
        self.look_at_store(shortage).await
    }

    async fn list_if_possible(&self, pool: PoolName) -> bool {
        self.list_once(&pool).await.unwrap_or_else(|error| {
            tracing::warn!(%error, %pool, "a full pool could not be read from the store");
            false
        })
    }

    /// Lists a pool, unless somebody does that after this caller asked. False where there is nothing to list.
    async fn list_once(&self, pool: &PoolName) -> Result<bool, EngineError> {
        let line = self.lists.lines.lock().entry(pool.clone()).or_default().clone();
        let asked = line.begun.load(Ordering::Acquire);
        let mut turn = line.turn.lock().await;
        if turn.ended > asked {
            return Ok(true);
        }
        if let Some(began) = turn.began {
            sleep_until(began + LISTS_APART).await;
        }
        // Who asks from here on needs another one.
        let number = line.begun.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        // Now: a caller whose turn for an address comes leaves in the middle.
        let before = turn.began.replace(Instant::now());
        let listed = self.list(pool).await;
        match listed {
            Ok(false) => turn.began = before,
            Ok(true) | Err(_) => turn.ended = number,
        }
        listed
    }

    /// Learns the rows of an attachment that another engine may have written, where `past` says that there may be some of
    /// which nothing has been heard here.
    pub(crate) async fn look_for(
        &self,
        attachment: &Attachment,
        past: &Past,
    ) -> Result<(), EngineError> {
        let is_known = |address: &IpAddr| {
            let state = self.state.lock();
            let rows = state.ledger.of_attachment(Print::attachment(attachment));
            rows.iter().any(|(key, _)| key.address == *address)
        };
        match past {
            Past::None => return Ok(()),
            Past::Answered(addresses) if addresses.iter().all(is_known) => return Ok(()),
            Past::Answered(_) | Past::Unsure => {}
        }
        let _gate = self.gate.read().await;
        let selection = Selection::Attachment(attachment.clone());
        let Some(listing) = self.ports.store.list(&selection).await? else { return Ok(()) };
        self.counters.lists.one();
        let now = self.now();
        let mut state = self.state.lock();
        for row in &listing.rows {
            state.ledger.hear(&row.lease, row.revision.0, now);
        }
        Ok(())
    }

    async fn list(&self, pool: &PoolName) -> Result<bool, EngineError> {
        {
            // An import replaces the store first and the ledger afterwards.
            let _gate = self.gate.read().await;
            let selection = Selection::Pool(pool.clone());
            let Some(listing) = self.ports.store.list(&selection).await? else { return Ok(false) };
            self.counters.lists.one();
            self.learn_listing(pool, listing);
        }
        self.resolve_doubts().await;
        Ok(true)
    }

    fn learn_listing(&self, pool: &PoolName, listing: Listing) {
        let now = self.now();
        let Listing { revision, rows } = listing;
        let listed: HashSet<_> = rows.iter().map(|row| row.lease.key()).collect();
        let missing = {
            let mut state = self.state.lock();
            for row in &rows {
                state.ledger.hear(&row.lease, row.revision.0, now);
            }
            let index = state.ledger.pool_named(pool);
            let is_old = |status: Status| !matches!(status, Status::Reserved { .. });
            let mut keys = index.map_or_else(Vec::new, |index| {
                state
                    .ledger
                    .keys_of_pool(index, |slot| slot.revision <= revision.0 && is_old(slot.status))
            });
            keys.retain(|key| !listed.contains(key));
            if self.is_impossible(&state.ledger, &keys, now) {
                return;
            }
            state.ledger.rows_at(&keys, |_| true)
        };
        // A row that was written for a pool of another name is in no list of this one: only what is known to be of this
        // one is gone, anything else is read.
        let is_gone = |row: &RowAt| {
            let known = self.ports.store.recall(&row.key, Revision(row.slot.revision));
            known.is_some_and(|known| known.lease.pool == *pool)
        };
        let (gone, unsure): (Vec<_>, Vec<_>) = missing.into_iter().partition(is_gone);
        self.doubt(unsure.into_iter().map(|row| row.key));
        let mut state = self.state.lock();
        for row in gone {
            state.ledger.hear_gone(&row.key, row.slot.revision, now);
        }
        state.waiting.wake();
    }
}
