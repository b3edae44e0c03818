//! Several rows. The API knows no transaction: the rows are written one after the other, and undone if one is refused
//! (crate documentation, "What is promised of several rows").

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tenure_core::address::Family;
use tenure_core::lease::{Lease, LeaseKey};
use tenure_store::{Revision, StoreError, Write};

use super::calls::Patience;
use super::rows::{Rows, Trouble};

/// Rows that are written at once: the API server gains little beyond (measured: 500 creates a second with 32).
pub(super) const AT_ONCE: usize = 32;

/// What became of one write.
struct Outcome {
    index: usize,
    result: Result<Done, (LeaseKey, Trouble)>,
}

/// A write that was done, with what undoes it.
struct Done {
    key: LeaseKey,
    /// What the caller is answered.
    answer: Revision,
    undo: Undo,
}

#[derive(Clone, Copy)]
enum Undo {
    /// It was created.
    Delete { written: Revision },
    /// It was replaced.
    PutBack { was: Revision, written: Revision },
    /// It was deleted.
    CreateAgain { was: Revision },
}

impl Rows {
    /// Writes a batch: all of it, or none that stays. Undoing takes as long again at most.
    pub(crate) async fn write(
        &self,
        writes: Vec<Write>,
        within: Duration,
    ) -> Result<Vec<Revision>, StoreError> {
        let patience = &Patience::new(within);
        let failed = AtomicBool::new(false);
        let mut lanes = lanes(writes).into_iter();
        let mut outcomes = Vec::new();
        // The lowest address alone: of batches that want the same pair one gets it, instead of each a half.
        if let Some(first) = lanes.next() {
            outcomes.extend(self.run(first, &failed, patience).await);
        }
        let rest = stream::iter(lanes).map(|lane| self.run(lane, &failed, patience));
        let rest: Vec<_> = rest.buffer_unordered(AT_ONCE).collect().await;
        outcomes.extend(rest.into_iter().flatten());
        outcomes.sort_by_key(|outcome| outcome.index);
        self.conclude(outcomes, within).await
    }

    /// The writes of one address, in their order, until one fails anywhere.
    async fn run(
        &self,
        lane: Vec<(usize, Write)>,
        failed: &AtomicBool,
        patience: &Patience,
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(lane.len());
        for (index, write) in lane {
            if failed.load(Ordering::Acquire) {
                break;
            }
            let key = write.key();
            let result = self.write_one(write, &mut patience.clone()).await;
            if result.is_err() {
                failed.store(true, Ordering::Release);
            }
            outcomes.push(Outcome { index, result: result.map_err(|trouble| (key, trouble)) });
        }
        outcomes
    }

    async fn write_one(&self, write: Write, patience: &mut Patience) -> Result<Done, Trouble> {
        let key = write.key();
        Ok(match write {
            Write::Create(lease) => {
                let written = self.create(&lease, patience).await?;
                Done { key, answer: written, undo: Undo::Delete { written } }
            }
            Write::Replace { lease, expect } => {
                let written = self.replace(&lease, expect, patience).await?;
                Done { key, answer: written, undo: Undo::PutBack { was: expect, written } }
            }
            Write::Delete { key, expect } => {
                self.delete(&key, expect, patience).await?;
                Done { key, answer: expect, undo: Undo::CreateAgain { was: expect } }
            }
        })
    }

    async fn conclude(
        &self,
        outcomes: Vec<Outcome>,
        within: Duration,
    ) -> Result<Vec<Revision>, StoreError> {
        let (mut done, mut first_trouble) = (Vec::new(), None);
        for Outcome { index, result } in outcomes {
            match result {
                Ok(one) => done.push(one),
                // What may have been written cannot be undone, and the rest says what it belongs to.
                Err((_, Trouble::Other(error @ StoreError::Unknown { .. }))) => return Err(error),
                Err((key, trouble)) => {
                    first_trouble.get_or_insert((index, key, trouble));
                }
            }
        }
        let Some((index, key, trouble)) = first_trouble else {
            return Ok(done.into_iter().map(|one| one.answer).collect());
        };
        let patience = Patience::new(within);
        for one in done.into_iter().rev() {
            self.undo(one, &mut patience.clone()).await?;
        }
        Err(match trouble {
            Trouble::Conflict(current) => StoreError::Conflict { index, key, current },
            Trouble::Other(error) => error,
        })
    }

    /// Undoes a write. Where somebody else has changed the row meanwhile, theirs stands.
    async fn undo(&self, done: Done, patience: &mut Patience) -> Result<(), StoreError> {
        let Done { key, undo, .. } = done;
        let result = match undo {
            Undo::Delete { written } => self.delete(&key, written, patience).await,
            Undo::PutBack { was, written } => match self.as_it_was(&key, was, patience).await? {
                Some(old) => self.replace(&old, written, patience).await.map(|_| ()),
                None => Ok(()),
            },
            Undo::CreateAgain { was } => match self.as_it_was(&key, was, patience).await? {
                Some(old) => self.create(&old, patience).await.map(|_| ()),
                None => Ok(()),
            },
        };
        match result {
            Ok(()) | Err(Trouble::Conflict(_)) => Ok(()),
            Err(Trouble::Other(error)) => Err(half_done(&error)),
        }
    }

    async fn as_it_was(
        &self,
        key: &LeaseKey,
        was: Revision,
        patience: &mut Patience,
    ) -> Result<Option<Lease>, StoreError> {
        self.get_as_of(key, was, patience).await.map_err(|error| half_done(&error))
    }
}

/// A part of a refused batch could not be undone.
fn half_done(error: &StoreError) -> StoreError {
    StoreError::Unknown { act: "undoing a part of a refused batch", why: error.to_string() }
}

/// The writes by address, the lowest first, those of one address in their order.
fn lanes(writes: Vec<Write>) -> Vec<Vec<(usize, Write)>> {
    let order = |key: LeaseKey| (key.space.clone(), key.family() == Family::V6, key.number());
    let mut numbered: Vec<(usize, Write)> = writes.into_iter().enumerate().collect();
    numbered.sort_by_cached_key(|(_, write)| order(write.key()));
    let mut lanes: Vec<Vec<(usize, Write)>> = Vec::new();
    for (index, write) in numbered {
        match lanes.last_mut() {
            Some(lane) if lane.iter().all(|(_, other)| other.key() == write.key()) => {
                lane.push((index, write));
            }
            _ => lanes.push(vec![(index, write)]),
        }
    }
    lanes
}
