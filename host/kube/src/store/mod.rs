//! The store on the Kubernetes API.
//!
//! It has a thread and a runtime of its own, as the file store has its writer: a commit that has begun is carried to its
//! end even if the caller goes away, and what the port asks for without `async` can wait for it from anywhere.

pub(crate) mod calls;
mod feed;
mod import;
mod known;
mod life;
mod object;
mod objects;
mod rows;
mod set;
mod told;
pub(crate) mod watch;

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use kube::{Client, Config};
use parking_lot::Mutex;
use tenure_core::lease::{Epoch, LeaseKey};
use tenure_core::name::ObjectName;
use tenure_core::objects::{BadObject, Object, ObjectKind};
use tenure_store::{
    BoxFuture, Changes, Contents, Identity, ImportMode, Listing, Revision, Row, Selection, Shown,
    Store, StoreError, Write,
};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::calls::{Calls, Failure, Patience, refused};
use self::feed::Feed;
use self::life::{Life, Lives};
use self::objects::Objects;
use self::rows::{Page, Rows};
use self::told::Told;

/// Settings of the store.
#[derive(Debug, Clone)]
pub struct KubeOptions {
    /// The namespace of the allocator, in which the store keeps its ConfigMap.
    pub namespace: String,
    /// How long one request may take.
    pub call_deadline: Duration,
    /// How long the outcome of a write is looked for before it is called unknown. Undoing a part of a batch may take as
    /// long again, so twice this lies below the time of an ADD.
    pub settle_within: Duration,
    /// Requests at once (I12).
    pub requests: usize,
    /// How long one watch lasts, more or less. A frozen one, of which nothing comes any more, is noticed some seconds later.
    pub watch_for: Duration,
    /// Commits at once; more are told to come later (I12).
    pub commits: usize,
    /// Leases of one page of a list: some MiB. For each page the API server puts all that it has in order, so that many small
    /// ones cost it more than what is in them.
    pub page: u32,
}

/// The store on the Kubernetes API. Dropping it ends what it was doing: a write under way may or may not happen.
#[derive(Debug)]
pub struct KubeStore {
    inner: Arc<Inner>,
    /// There until the store is dropped.
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Inner {
    options: KubeOptions,
    rows: Rows,
    objects: Objects,
    lives: Lives,
    life: Mutex<Life>,
    fresh: bool,
    commits: Semaphore,
    /// The revision of the first scan: feeds go on from there.
    scanned: Mutex<Option<Revision>>,
    /// What is known of objects besides what they ask for.
    told: Mutex<Told>,
}

// === impl KubeOptions ===

impl Default for KubeOptions {
    fn default() -> Self {
        Self {
            namespace: "tenure-system".to_owned(),
            call_deadline: Duration::from_secs(5),
            settle_within: Duration::from_secs(20),
            watch_for: Duration::from_secs(30),
            // The API server serves some hundred writes a second; more at once only wait there.
            requests: 64,
            // As many ADDs as wait for one pool.
            commits: 1024,
            page: 2500,
        }
    }
}

// === impl KubeStore ===

impl KubeStore {
    /// Opens the store of a cluster, and makes it if it is not there. The custom resources must have been applied.
    ///
    /// # Errors
    /// The API server cannot be reached, refuses, or lacks the custom resources.
    pub async fn open(mut config: Config, options: KubeOptions) -> Result<Self, StoreError> {
        let act = "opening the store";
        // Retries are ours: kube's would repeat a write for minutes, and not ask what became of it.
        config.default_retry = false;
        config.connect_timeout = Some(options.call_deadline);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("tenure-kube")
            .enable_all()
            .build()
            .map_err(|e| StoreError::Io { act, why: e.to_string() })?;
        let opened = runtime.spawn(Inner::open(config, options)).await;
        let inner = opened.map_err(|e| StoreError::Io { act, why: e.to_string() }).flatten();
        match inner {
            Ok(inner) => Ok(Self { inner: Arc::new(inner), runtime: Some(runtime) }),
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// Counts one further. The leader of the allocators calls it every few seconds, so that a store which is less far than
    /// somebody saw it is known to have gone back in time; here by who leads, elsewhere by the marks of agents.
    ///
    /// # Errors
    /// The API server cannot be reached or refuses: it was not counted, or it is not known.
    pub async fn tick(&self) -> Result<(), StoreError> {
        self.run(|inner| async move {
            let before = inner.life.lock().clone();
            let life = inner.change_life(|life| (life.epoch, life.is_importing)).await?;
            if life.is_same_as(&before) && life.ticks <= before.ticks {
                inner.rows.go_back();
            }
            Ok(())
        })
        .await
    }

    /// How often the life of the store was changed or counted, as far as is known here.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.inner.life.lock().ticks
    }

    /// The same, read now.
    ///
    /// # Errors
    /// The API server cannot be read, or the store's ConfigMap is gone.
    pub async fn ticks_now(&self) -> Result<u64, StoreError> {
        self.run(|inner| async move {
            let life = inner.lives.read(&inner.rows.calls, &mut inner.patience()).await?;
            let act = "reading the store's ConfigMap";
            let life =
                life.ok_or_else(|| StoreError::Io { act, why: "it was deleted".to_owned() })?;
            Ok(life.ticks)
        })
        .await
    }

    /// Objects that Kubernetes let in and that cannot be read, as of the last [`Store::objects`].
    #[must_use]
    pub fn refused_objects(&self) -> Vec<BadObject> {
        let told = self.inner.told.lock();
        told.refused.iter().map(|(_, _, why)| why.clone()).collect()
    }

    /// Runs on the store's own threads; it goes on if the caller goes away.
    async fn run<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let Some(runtime) = &self.runtime else { return Err(StoreError::Closed) };
        let task = runtime.spawn(work(self.inner.clone()));
        task.await.map_err(|_| StoreError::Closed).flatten()
    }

    /// The same for a caller who is not `async`: blocks its thread.
    fn run_blocking<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        self.begin(work)?.recv().map_err(|_| StoreError::Closed).flatten()
    }

    /// Begins it; the answer is to be waited for by a thread.
    fn begin<T, F>(
        &self,
        work: impl FnOnce(Arc<Inner>) -> F,
    ) -> Result<mpsc::Receiver<Result<T, StoreError>>, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let Some(runtime) = &self.runtime else { return Err(StoreError::Closed) };
        let (answer, answered) = mpsc::channel();
        let work = work(self.inner.clone());
        runtime.spawn(async move {
            // Nobody waits any more if it cannot be sent.
            let _ = answer.send(work.await);
        });
        Ok(answered)
    }

    fn begin_page(
        &self,
        next: Option<String>,
    ) -> Result<mpsc::Receiver<Result<Page, StoreError>>, StoreError> {
        self.begin(|inner| async move {
            inner.check_whole()?;
            inner.rows.page(next.as_deref(), &mut inner.patience()).await
        })
    }
}

impl Drop for KubeStore {
    fn drop(&mut self) {
        // It may be dropped in `async` code, which must not wait for threads.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Store for KubeStore {
    fn identity(&self) -> Identity {
        self.inner.identity()
    }

    fn scan(&self, each: &mut dyn FnMut(Row)) -> Result<(), StoreError> {
        let (mut revision, mut keys) = (None, HashSet::new());
        let mut begun = Some(self.begin_page(None)?);
        while let Some(page) = begun {
            let page = page.recv().map_err(|_| StoreError::Closed).flatten()?;
            // The server writes the next one while this one is taken in.
            begun = page.next.map(|next| self.begin_page(Some(next))).transpose()?;
            // The pages of one list show one moment.
            revision.get_or_insert(page.revision);
            keys.extend(page.rows.iter().map(|row| row.lease.key()));
            page.rows.into_iter().for_each(&mut *each);
        }
        if let Some(revision) = revision {
            self.inner.rows.known.listed(revision, &keys);
            self.inner.scanned.lock().get_or_insert(revision);
        }
        Ok(())
    }

    fn get<'a>(&'a self, key: &'a LeaseKey) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        let key = key.clone();
        Box::pin(self.run(move |inner| async move {
            inner.check_whole()?;
            inner.rows.get(&key, &mut inner.patience()).await
        }))
    }

    fn recall(&self, key: &LeaseKey, revision: Revision) -> Option<Arc<Row>> {
        self.inner.rows.known.row(key, revision)
    }

    fn changes(&self) -> Option<Changes> {
        let (feed, changes) = Feed::new(self.inner.clone());
        self.runtime.as_ref()?.spawn(feed.run());
        Some(changes)
    }

    fn list<'a>(
        &'a self,
        selection: &'a Selection,
    ) -> BoxFuture<'a, Result<Option<Listing>, StoreError>> {
        let selection = selection.clone();
        Box::pin(self.run(move |inner| async move {
            inner.check_whole()?;
            inner.rows.select(&selection, &mut inner.patience()).await.map(Some)
        }))
    }

    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Vec<Revision>, StoreError>> {
        Box::pin(self.run(move |inner| async move {
            inner.check_whole()?;
            let bound = inner.options.commits;
            let Ok(_permit) = inner.commits.try_acquire() else {
                return Err(StoreError::Overloaded { bound });
            };
            inner.rows.write(writes, inner.options.settle_within).await
        }))
    }

    fn objects(&self) -> Result<Vec<Object>, StoreError> {
        self.run_blocking(|inner| async move {
            inner.check_whole()?;
            let listed = inner.objects.list(&inner.rows.calls, &mut inner.patience()).await?;
            let refused = &listed.told.refused;
            for (_, _, why) in refused {
                tracing::warn!(%why, "an object serves nothing");
            }
            let lost = refused.iter().find(|(kind, ..)| *kind == ObjectKind::IPReservation);
            let lost = lost.map(|(_, _, why)| why.to_string());
            inner.told.lock().take(listed.told);
            match lost {
                // Without it, addresses would be given that it keeps back.
                Some(why) => Err(StoreError::Io { act: "reading the reservations", why }),
                None => Ok(listed.objects),
            }
        })
    }

    fn show(&self, shown: Vec<Shown>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.run(move |inner| async move { inner.show(shown).await }))
    }

    fn put_objects(&self, objects: Vec<Object>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.run(move |inner| async move {
            inner.check_whole()?;
            let (calls, patience) = (&inner.rows.calls, || inner.patience());
            // There is no transaction: what the server would refuse is found before the first is written.
            if objects.len() > 1 {
                for object in &objects {
                    inner.objects.try_put(object, calls, &mut patience()).await?;
                }
            }
            for object in &objects {
                inner.rows.note(inner.objects.put(object, calls, &mut patience()).await?);
            }
            Ok(())
        }))
    }

    fn delete_object<'a>(
        &'a self,
        kind: ObjectKind,
        name: &'a ObjectName,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let name = name.clone();
        Box::pin(self.run(move |inner| async move {
            inner.check_whole()?;
            inner.objects.delete(kind, &name, &inner.rows.calls, &mut inner.patience()).await
        }))
    }

    fn import(
        &self,
        contents: Contents,
        mode: ImportMode,
    ) -> BoxFuture<'_, Result<Identity, StoreError>> {
        Box::pin(self.run(move |inner| async move {
            inner.import(contents, mode).await?;
            Ok(inner.identity())
        }))
    }

    fn raise_epoch(&self) -> BoxFuture<'_, Result<Epoch, StoreError>> {
        Box::pin(self.run(move |inner| async move {
            // A restored ConfigMap may say an earlier one than was in use.
            let known = inner.life.lock().epoch;
            let raised = |life: &Life| (next(Epoch::max(known, life.epoch)), life.is_importing);
            Ok(inner.change_life(raised).await?.epoch)
        }))
    }

    /// An API server that is away is no failure of the store: ADDs say so, and the node stays ready.
    fn health(&self) -> Result<(), StoreError> {
        self.inner.check_whole()
    }
}

// === impl Inner ===

impl Inner {
    async fn open(config: Config, options: KubeOptions) -> Result<Self, StoreError> {
        let client = Client::try_from(config)
            .map_err(|e| StoreError::Io { act: "opening the store", why: e.to_string() })?;
        let calls = Calls::new(options.call_deadline, options.requests);
        let rows = Rows::new(client.clone(), calls, options.page);
        let lives = Lives::new(client.clone(), &options.namespace);
        let patience = || Patience::new(options.settle_within);
        let first = rows.first(&mut patience()).await?;
        let life = match lives.read(&rows.calls, &mut patience()).await? {
            Some(life) => life,
            None => {
                let epoch = next(highest_epoch(&rows, &patience).await?);
                lives.make(epoch, &rows.calls, &mut patience()).await?
            }
        };
        rows.note(first.revision);
        Ok(Self {
            fresh: first.rows.is_empty(),
            commits: Semaphore::new(options.commits),
            scanned: Mutex::default(),
            objects: Objects::new(&client),
            life: Mutex::new(life),
            told: Mutex::default(),
            options,
            rows,
            lives,
        })
    }

    fn patience(&self) -> Patience {
        Patience::new(self.options.settle_within)
    }

    fn identity(&self) -> Identity {
        let life = self.life.lock();
        Identity {
            store_id: life.store_id.clone(),
            epoch: life.epoch,
            revision: self.rows.highest(),
            fresh: self.fresh,
        }
    }

    /// What a half import has left is not to be worked on.
    fn check_whole(&self) -> Result<(), StoreError> {
        if !self.life.lock().is_importing {
            return Ok(());
        }
        let why = "an import was cut short; import again".to_owned();
        Err(StoreError::Corrupt { place: format!("ConfigMap {}", life::NAME), why })
    }

    async fn change_life(
        &self,
        change: impl Fn(&Life) -> (Epoch, bool),
    ) -> Result<Life, StoreError> {
        let life = self.lives.change(change, &self.rows.calls, &mut self.patience()).await?;
        self.take_life(life.clone());
        Ok(life)
    }

    /// Writes what is not shown yet. Of an object that the server refuses to change the others do not suffer.
    async fn show(&self, mut shown: Vec<Shown>) -> Result<(), StoreError> {
        let act = "showing the state of an object";
        shown.extend(self.told.lock().unreadable());
        let mut outcome = Ok(());
        for one in shown {
            let due = self.told.lock().due(&one, Instant::now());
            let Some((key, patch)) = due else { continue };
            match self.objects.patch_status(&key, &patch, &self.rows.calls).await {
                Ok(Some(object)) => self.told.lock().hear(key.0, &object),
                Ok(None) => {}
                Err(Failure::Refused(status)) => outcome = Err(refused(act, &status)),
                Err(failure) => return Err(StoreError::Io { act, why: failure.to_string() }),
            }
        }
        outcome
    }

    /// What the ConfigMap says, unless a later word of it is known. Says whether it is another life, or another state of it.
    fn take_life(&self, life: Life) -> bool {
        let mut present = self.life.lock();
        if !life.is_later_than(&present) {
            return false;
        }
        let is_news = !life.is_same_as(&present);
        *present = life;
        is_news
    }

    async fn all_rows(&self) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        self.rows.each_page(&|| self.patience(), |page| rows.extend(page)).await?;
        Ok(rows)
    }
}

/// The highest epoch in which a lease was bound; 0 where there is none.
async fn highest_epoch(
    rows: &Rows,
    patience: &(impl Fn() -> Patience + Sync),
) -> Result<Epoch, StoreError> {
    let mut highest = Epoch(0);
    let look = |page: Vec<Row>| {
        highest = page.iter().map(|row| row.lease.epoch).fold(highest, Epoch::max);
    };
    rows.each_page(patience, look).await?;
    Ok(highest)
}

fn next(epoch: Epoch) -> Epoch {
    Epoch(epoch.0.saturating_add(1))
}
