//! The engine of standalone mode: one redb file, one writer thread, durable when answered.
//!
//! ```text
//! commit() -> queue -> writer: group -> transaction -> two-phase commit -> answers
//! get(), scan() -> read transaction
//! ```
//!
//! Guarantees: I2 (answered means on disk, proved by the power-cut tests), I12 (the queue is bounded), I13
//! (redb's file lock), I14 (what is newer or damaged is left as it is, to the last byte).

mod disk;
mod history;
mod open;
mod overlay;
mod tables;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tenure_core::history::{EVENTS_KEPT, Entry, Kept};
use tenure_core::lease::{Epoch, LeaseKey};
use tenure_core::name::ObjectName;
use tenure_core::objects::{Object, ObjectKind};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

pub use disk::Disk;
use disk::Folder;
use tables::Batch;
use writer::{Job, QUEUE, Shared, Task, Writer};

use crate::port::{
    BoxFuture, Contents, Identity, ImportMode, Revision, Row, Store, StoreError, Write,
};

/// How a store on redb is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedbOptions {
    /// Memory for pages, in bytes. 8 MiB by default: the upper pages of any index and what was written last. More
    /// changed no rate that we measure, for the kernel caches the file too; redb's own default is 1 GiB.
    pub cache_bytes: usize,
    /// Entries of the history at most, the oldest go first; 0: none is kept, and what was kept is dropped. By default
    /// [`EVENTS_KEPT`].
    pub history_events: u64,
}

/// A store in one file.
///
/// # Assumptions
/// [`Store::get`] is called within a tokio runtime: it reads on the threads for blocking work.
#[derive(Debug)]
pub struct RedbStore {
    shared: Arc<Shared>,
    history_events: u64,
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self { cache_bytes: 8 * 1024 * 1024, history_events: EVENTS_KEPT }
    }
}

// === impl RedbStore ===

impl RedbStore {
    /// Opens `folder/tenure.redb`, or makes it (mode 0600) and the folder where there is none. Blocks
    /// for as long as it takes to read the file twice.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Newer`] and [`StoreError::Corrupt`] leave the file as it is;
    /// [`StoreError::Io`] is the disk's.
    pub fn open(folder: &Path, options: &RedbOptions) -> Result<Self, StoreError> {
        let folder = Folder::new(folder).map_err(|error| StoreError::Io {
            act: "making the folder of the store",
            why: format!("{}: {error}", folder.display()),
        })?;
        Self::open_on(folder, options)
    }

    /// The same on another disk.
    ///
    /// # Errors
    /// As [`RedbStore::open`].
    pub fn open_on(disk: impl Disk, options: &RedbOptions) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared::new(open::open_or_create(&disk, options)?));
        let (sender, queue) = mpsc::channel(QUEUE);
        let history_events = options.history_events;
        let writer = Writer { disk, options: options.clone(), shared: Arc::clone(&shared), queue };
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::Io {
                act: "starting the writer of the store",
                why: error.to_string(),
            })?;
        let (queue, writer) = (Mutex::new(Some(sender)), Mutex::new(Some(thread)));
        Ok(Self { shared, history_events, queue, writer })
    }

    /// Takes no more writes, finishes those that wait, closes the file and lets go of its lock. Blocks until
    /// then. Dropping the store does the same.
    pub fn close(&self) {
        drop(self.queue.lock().take());
        if let Some(thread) = self.writer.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the writer of the store had panicked");
        }
    }

    fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (task, answer) = Task::new(work);
        let sent = match self.queue.lock().as_ref() {
            None => Err(StoreError::Closed),
            Some(queue) => queue.try_send(Box::new(task)).map_err(|error| match error {
                TrySendError::Full(_) => StoreError::Overloaded { bound: QUEUE },
                TrySendError::Closed(_) => StoreError::Closed,
            }),
        };
        Box::pin(async move {
            sent?;
            answer.await.unwrap_or_else(|_| Err(no_answer()))
        })
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl Store for RedbStore {
    fn identity(&self) -> Identity {
        self.shared.identity()
    }

    fn scan(&self, each: &mut dyn FnMut(Row)) -> Result<(), StoreError> {
        tables::scan(&self.shared.read()?, each)
    }

    fn get<'a>(&'a self, key: &'a LeaseKey) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        let (shared, key) = (Arc::clone(&self.shared), key.clone());
        Box::pin(async move {
            let read = move || tables::get(&shared.read()?, &key);
            tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| {
                Err(StoreError::Io { act: "reading the store", why: error.to_string() })
            })
        })
    }

    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Vec<Revision>, StoreError>> {
        self.submit(move |batch| batch.commit(writes))
    }

    fn history(
        &self,
        of: Option<&LeaseKey>,
        each: &mut dyn FnMut(Entry),
    ) -> Result<Kept, StoreError> {
        history::read(&self.shared.read()?, self.history_events, of, each)
    }

    fn objects(&self) -> Result<Vec<Object>, StoreError> {
        tables::objects(&self.shared.read()?)
    }

    fn put_objects(&self, objects: Vec<Object>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.submit(move |batch| batch.put_objects(&objects))
    }

    fn delete_object<'a>(
        &'a self,
        kind: ObjectKind,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let name = name.clone();
        self.submit(move |batch| batch.delete_object(kind, &name))
    }

    fn import(
        &self,
        contents: Contents,
        mode: ImportMode,
    ) -> BoxFuture<'_, Result<Identity, StoreError>> {
        let imported = self.submit(move |batch| batch.import(contents, mode));
        Box::pin(async move {
            imported.await?;
            Ok(self.identity())
        })
    }

    fn raise_epoch(&self) -> BoxFuture<'_, Result<Epoch, StoreError>> {
        self.submit(|batch| batch.raise_epoch())
    }

    fn health(&self) -> Result<(), StoreError> {
        self.shared.health()?;
        match self.queue.lock().as_ref() {
            None => Err(StoreError::Closed),
            Some(queue) if queue.is_closed() => Err(StoreError::Closed),
            Some(queue) if queue.capacity() == 0 => Err(StoreError::Overloaded { bound: QUEUE }),
            Some(_) => Ok(()),
        }
    }
}

fn no_answer() -> StoreError {
    StoreError::Unknown {
        act: "the commit of the store",
        why: "its writer ended before it answered".to_owned(),
    }
}

#[cfg(test)]
mod tests;
