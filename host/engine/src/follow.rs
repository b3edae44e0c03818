//! Following a store that others write as well: their rows, objects and lives, as the store tells them.
//!
//! ```text
//! rows     -> the ledger, each if it is newer than what is known (core's ledger/news.rs) -> waiters are woken
//! objects  -> pools, reservations and policies, as an apply takes them over and under the same lock
//! a life   -> everything is read anew, as after an import
//! ```
//!
//! It is for speed. What is not heard yet is met as a conflict of a conditional write, and read then; and no pool is called
//! full before the store was asked (`live.rs`).

use std::sync::Arc;
use std::time::Duration;

use tenure_core::error::{Coded as _, Kind};
use tenure_core::lease::LeaseKey;
use tenure_core::ledger::{Ledger, Now, Slot, Status};
use tenure_store::{Change, Row};

use crate::policies::policies_of;
use crate::{Engine, EngineError};

/// So many changes are taken over at once: the ledger is locked for so long.
const CHANGES_AT_ONCE: usize = 256;
/// Objects or a life that could not be read are tried again after so long.
const TRIES_APART: Duration = Duration::from_secs(1);
/// An ADD that failed halfway has long been cleared away.
const OLD_HOLD: Duration = Duration::from_secs(300);

/// What has changed and is not taken over yet.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Due {
    objects: bool,
    life: bool,
}

impl Engine {
    /// Takes over what others change in the store, until the task is dropped or the store is closed. Ends at once where
    /// nobody else writes.
    pub async fn follow(self: Arc<Self>) {
        let Some(mut changes) = self.ports.store.changes() else { return };
        let mut heard = Vec::new();
        let mut due = Due::default();
        loop {
            let again = async {
                match due == Due::default() {
                    true => std::future::pending().await,
                    false => tokio::time::sleep(TRIES_APART).await,
                }
            };
            tokio::select! {
                count = changes.recv_many(&mut heard, CHANGES_AT_ONCE) => {
                    if count == 0 {
                        return;
                    }
                }
                () = again => {}
                () = self.went_back.notified() => {
                    self.follow_back("it lacks leases that nobody deletes").await;
                }
            }
            if let Some(at) = heard.iter().position(|change| *change == Change::WentBack) {
                // What was heard before is of what is gone; what comes after must not be taken in before it is known what
                // was held.
                heard.drain(..=at);
                self.follow_back("it is at an earlier revision than it was").await;
            }
            due.objects |= heard.contains(&Change::Objects);
            due.life |= heard.contains(&Change::Life);
            self.hear(&mut heard).await;
            self.catch_up(&mut due).await;
        }
    }

    /// Takes over what was heard of rows.
    async fn hear(&self, heard: &mut Vec<Change>) {
        // An import replaces the store first and the ledger afterwards: what is heard in between belongs to the new one.
        let _gate = self.gate.read().await;
        let now = self.now();
        let mut state = self.state.lock();
        let ledger = &mut state.ledger;
        let mut news = 0;
        for change in heard.drain(..) {
            match change {
                Change::Row(row) => {
                    let Row { lease, revision } = *row;
                    news += u64::from(ledger.hear(&lease, revision.0, now));
                }
                Change::Gone { key, revision } => {
                    news += u64::from(ledger.hear_gone(&key, revision.0, now));
                }
                Change::Listed { revision, keys } => {
                    let mut gone = ledger.keys_where(|slot| slot.revision <= revision.0);
                    gone.retain(|key| !keys.contains(key));
                    if self.is_impossible(ledger, &gone, now) {
                        continue;
                    }
                    for key in gone {
                        news += u64::from(ledger.hear_gone(&key, revision.0, now));
                    }
                }
                Change::Objects | Change::Life | Change::WentBack => {}
            }
        }
        if news > 0 {
            self.counters.heard.add(news);
            state.waiting.wake();
        }
    }

    /// Whether rows cannot be gone, as a list says: of an old hold nobody deletes the row, not even when it ends. Then the
    /// store went back in time; nothing of that list counts, and the follower begins a new life. Rows of ADDs that
    /// failed halfway are deleted, but soon.
    pub(crate) fn is_impossible(&self, ledger: &Ledger, gone: &[LeaseKey], now: Now) -> bool {
        let is_old = |slot: Slot| match slot.status {
            Status::Bound { since, .. } => now.moment.since(since) >= OLD_HOLD,
            _ => false,
        };
        let lost = gone.iter().find(|key| ledger.slot(key).is_some_and(is_old));
        if let Some(address) = lost {
            tracing::error!(%address, "the store has no lease any more for an address that is held");
            self.went_back.notify_one();
        }
        lost.is_some()
    }

    /// Takes over objects and lives that are due; what could not be read stays due.
    async fn catch_up(self: &Arc<Self>, due: &mut Due) {
        if due.life {
            match self.follow_life().await {
                Ok(()) => due.life = false,
                Err(error) => {
                    tracing::warn!(%error, code = error.code(), "the store has begun another life and cannot be read; it is tried again");
                }
            }
        }
        if due.objects {
            match self.follow_objects().await {
                Ok(()) => due.objects = false,
                Err(error) if matches!(error.kind(), Kind::Io | Kind::Retry) => {
                    tracing::warn!(%error, code = error.code(), "changed objects cannot be read; it is tried again");
                }
                Err(error) => {
                    due.objects = false;
                    tracing::error!(%error, code = error.code(), "changed objects cannot be taken over; those before go on serving");
                }
            }
        }
    }

    /// The store began another life that this engine has not read: somebody imported, or found that it went back in time.
    async fn follow_life(self: &Arc<Self>) -> Result<(), EngineError> {
        let one = self.objects.lock().await;
        {
            let _alone = self.gate.clone().write_owned().await;
            if self.state.lock().epoch == self.epoch() {
                return Ok(());
            }
            tracing::warn!(
                epoch = self.epoch().0,
                "another replica began a new life of the store: it is read anew"
            );
            let why = "another replica found that the store went back in time, or imported";
            self.in_background(move |engine| engine.reload(why)).await??;
        }
        drop(one);
        self.learn_if_possible().await;
        Ok(())
    }

    /// The store went back in time under this engine: it begins a new life, and nothing is given before it is known what
    /// is alive. Tried until it succeeds; meanwhile what was known goes on counting.
    async fn follow_back(self: &Arc<Self>, what: &str) {
        while let Err(error) = self.begin_anew(what).await {
            tracing::error!(%error, code = error.code(), "the store went back in time, and a new life of it cannot be begun; it is tried again");
            tokio::time::sleep(TRIES_APART).await;
        }
    }

    /// Begins a new life of a store that went back in time.
    ///
    /// # Errors
    /// The store failed: nothing has changed for this engine.
    pub async fn begin_anew(self: &Arc<Self>, what: &str) -> Result<(), EngineError> {
        let one = self.objects.lock().await;
        {
            let _alone = self.gate.clone().write_owned().await;
            let epoch = self.ports.store.raise_epoch().await?;
            tracing::error!(
                what,
                epoch = epoch.0,
                "the store went back in time: nothing is given before it is known what is alive"
            );
            let why = format!("the store went back in time: {what}");
            self.in_background(move |engine| engine.reload(&why)).await??;
        }
        drop(one);
        self.learn_if_possible().await;
        Ok(())
    }

    /// Takes over the objects as they stand in the store.
    async fn follow_objects(self: &Arc<Self>) -> Result<(), EngineError> {
        let one = self.objects.lock().await;
        let objects = self.in_background(|engine| engine.ports.store.objects()).await??;
        {
            let now = self.now();
            let mut state = self.state.lock();
            if !state.is_configured_by(&objects)? {
                state.configure(&objects, now)?;
            }
        }
        if let Some(news) = self.policy_news(policies_of(&objects)) {
            self.in_background(move |engine| engine.follow_policies(news)).await?;
        }
        drop(one);
        self.learn_if_possible().await;
        Ok(())
    }
}
