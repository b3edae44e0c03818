//! The one writer: a thread that turns whatever waits into one transaction (group commit).
//!
//! Flow: queue (bounded) → up to [`GROUP`] jobs → one transaction, each job seeing those before it → one
//! durable commit → answers. There is no artificial wait: while one commit syncs, the next group gathers.
//!
//! Errors: a refused job changes nothing and spoils no other. If the transaction fails before its commit,
//! nothing was written; if the commit fails, nobody knows. In both cases the database is closed and opened again:
//! after a failed fsync neither redb nor the kernel can be trusted to remember what is on disk.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use redb::{Database, ReadTransaction, ReadableDatabase};
use tokio::sync::{mpsc, oneshot};

use super::RedbOptions;
use super::disk::Disk;
use super::open::{self, Opened, failed};
use super::tables::{self, Batch, Meta};
use crate::port::{Identity, StoreError};

/// Jobs waiting at most: four full groups, about 30 ms of work at the measured 8 ms for a group, and with at
/// most a few KiB each they stay below 8 MiB. Who comes later is told to try later (invariant I12).
pub(super) const QUEUE: usize = 1024;

/// Jobs in one transaction at most. Beyond it the rate no longer grows and everyone in the group waits longer.
const GROUP: usize = 256;

const COMMIT: &str = "the commit of the store";

/// What readers and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Set by the writer only; none while the database is broken or closed.
    database: RwLock<Option<Database>>,
    /// Set by the writer only, after each commit.
    identity: Mutex<Identity>,
    /// Why writes cannot be served, if so. Set by the writer only.
    broken: Mutex<Option<StoreError>>,
}

/// Something to do in a transaction of others.
pub(super) trait Job: Send {
    /// Does it and keeps the outcome. An error spoils the whole transaction.
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError>;
    /// Tells the caller: the outcome if the transaction is durable, or its error.
    fn answer(self: Box<Self>, end: Result<(), StoreError>);
}

/// A job from a closure.
pub(super) struct Task<T, F> {
    work: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    caller: oneshot::Sender<Result<T, StoreError>>,
}

/// The state of the writer thread.
pub(super) struct Writer<D> {
    pub(super) disk: D,
    pub(super) options: RedbOptions,
    pub(super) shared: Arc<Shared>,
    pub(super) queue: mpsc::Receiver<Box<dyn Job>>,
}

enum Failure {
    /// Nothing was written.
    Before(StoreError),
    /// It may have been written.
    InCommit(StoreError),
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(Opened { database, meta, fresh }: Opened) -> Self {
        let Meta { store_id, epoch, last } = meta;
        Self {
            database: RwLock::new(Some(database)),
            identity: Mutex::new(Identity { store_id, epoch, revision: last, fresh }),
            broken: Mutex::new(None),
        }
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity.lock().clone()
    }

    pub(super) fn health(&self) -> Result<(), StoreError> {
        self.broken.lock().clone().map_or(Ok(()), Err)
    }

    /// A view of what is committed. Waits while the writer opens the database again.
    pub(super) fn read(&self) -> Result<ReadTransaction, StoreError> {
        let database = self.database.read();
        let Some(database) = database.as_ref() else {
            self.health()?;
            return Err(StoreError::Closed);
        };
        database.begin_read().map_err(failed("reading the store"))
    }

    fn meta(&self) -> Meta {
        let Identity { store_id, epoch, revision, .. } = self.identity();
        Meta { store_id, epoch, last: revision }
    }

    fn set_meta(&self, meta: &Meta) {
        let mut identity = self.identity.lock();
        identity.epoch = meta.epoch;
        identity.revision = meta.last;
    }
}

// === impl Task ===

impl<T, F> Task<T, F> {
    pub(super) fn new(work: F) -> (Self, oneshot::Receiver<Result<T, StoreError>>) {
        let (caller, answer) = oneshot::channel();
        (Self { work: Some(work), outcome: None, caller }, answer)
    }
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnOnce(&mut Batch<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError> {
        let Some(work) = self.work.take() else { return Ok(()) };
        match work(batch) {
            Err(spoilt) if !is_refusal(&spoilt) => Err(spoilt),
            outcome => {
                self.outcome = Some(outcome);
                Ok(())
            }
        }
    }

    fn answer(self: Box<Self>, end: Result<(), StoreError>) {
        let outcome = end.and(self.outcome.unwrap_or(Err(StoreError::Closed)));
        // A caller that went away has said so by dropping its end.
        let _ = self.caller.send(outcome);
    }
}

/// The job saw that it may not, before it changed anything.
fn is_refusal(error: &StoreError) -> bool {
    matches!(error, StoreError::Conflict { .. } | StoreError::NotEmpty { .. })
}

// === impl Writer ===

impl<D: Disk> Writer<D> {
    /// Serves until all senders are gone and the queue is empty, then closes the database.
    pub(super) fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let mut jobs = vec![first];
            while jobs.len() < GROUP
                && let Ok(job) = self.queue.try_recv()
            {
                jobs.push(job);
            }
            self.serve(jobs);
        }
        if let Some(database) = self.shared.database.write().take()
            && let Err(error) = database.close()
        {
            tracing::error!(%error, "closing the store failed; it will be repaired when opened");
        }
    }

    fn serve(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        if let Err(error) = self.ensure_open() {
            return answer_all(jobs, &Err(error));
        }
        match self.transact(&mut jobs) {
            Ok(()) => answer_all(jobs, &Ok(())),
            Err(failure) => {
                let (Failure::Before(error) | Failure::InCommit(error)) = failure;
                tracing::error!(%error, "the store is closed and opened again");
                // Answered while no reader gets in: who reads back sees what the disk has.
                let shared = Arc::clone(&self.shared);
                let mut database = shared.database.write();
                drop(database.take());
                answer_all(jobs, &Err(error));
                *database = self.reopen();
            }
        }
    }

    fn transact(&self, jobs: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        let writing = {
            let database = self.shared.database.read();
            let database = database.as_ref().ok_or(Failure::Before(StoreError::Closed))?;
            tables::begin(database).map_err(Failure::Before)?
        };
        let changed = {
            let mut batch = Batch::open(&writing, self.shared.meta(), self.options.history_events)
                .map_err(Failure::Before)?;
            for job in jobs {
                job.run(&mut batch).map_err(Failure::Before)?;
            }
            batch.finish().map_err(Failure::Before)?
        };
        let Some(meta) = changed else {
            return writing.abort().map_err(|e| Failure::Before(failed(COMMIT)(e)));
        };
        writing.commit().map_err(|error| {
            Failure::InCommit(StoreError::Unknown { act: COMMIT, why: error.to_string() })
        })?;
        self.shared.set_meta(&meta);
        Ok(())
    }

    /// A store that could not be opened again is tried once more with each group: the disk may be back.
    fn ensure_open(&self) -> Result<(), StoreError> {
        if self.shared.database.read().is_some() {
            return Ok(());
        }
        let mut database = self.shared.database.write();
        *database = self.reopen();
        if database.is_some() { Ok(()) } else { self.shared.health().and(Err(StoreError::Closed)) }
    }

    fn reopen(&self) -> Option<Database> {
        let opened = open::open(&self.disk, &self.options).and_then(|found| {
            found.ok_or_else(|| StoreError::Corrupt {
                place: self.disk.place(),
                why: "it was there and is no more".to_owned(),
            })
        });
        match opened {
            Ok(opened) => {
                self.shared.set_meta(&opened.meta);
                *self.shared.broken.lock() = None;
                Some(opened.database)
            }
            Err(error) => {
                tracing::error!(%error, "the store cannot be opened again");
                *self.shared.broken.lock() = Some(error);
                None
            }
        }
    }
}

fn answer_all(jobs: Vec<Box<dyn Job>>, end: &Result<(), StoreError>) {
    for job in jobs {
        job.answer(end.clone());
    }
}
