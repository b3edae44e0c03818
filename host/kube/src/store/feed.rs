//! What others change, as the API server's watches tell it.
//!
//! ```text
//! leases            watch from the last list on -> a row, a row that is gone
//!                   events are lost (410, a server that is at an earlier revision) -> list all, and tell which rows there are
//! pools, ...        watch -> "objects changed", once for a burst
//! the ConfigMap     watch -> the life that this store knows, then "the life changed"
//! ```
//!
//! Each watch ends after a while (`KubeOptions::watch_for`) and goes on where it was, so that a frozen one is noticed; a broken one is begun
//! again after a pause that grows. While nobody reads the changes the watches wait, and memory does not grow.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, WatchParams};
use tenure_core::objects::ObjectKind;
use tenure_store::{Change, Changes, Revision, StoreError};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Inner;
use super::life::{self, Life};
use super::rows::{parsed, row_of};
use super::watch::{Heard, Pause, Watch, Watched};

/// Changes that wait for the engine (I12).
const CHANGES: usize = 1024;
/// Changed objects rarely come alone: so long a silence ends a burst.
const GATHER: Duration = Duration::from_millis(50);

/// The uid and generation of objects by name, from watch to watch. A status that is written changes neither, and nothing
/// follows from it.
type Versions = HashMap<Option<String>, (Option<String>, Option<i64>)>;

/// The engine listens no more.
struct Closed;

/// How one kind is followed, watch after watch.
struct Course {
    /// Where the next watch begins; none where it cannot go on, and what there is must be listed.
    at: Option<Revision>,
    pause: Pause,
}

/// One feed of one listener.
pub(super) struct Feed {
    inner: Arc<Inner>,
    changes: mpsc::Sender<Change>,
}

impl Feed {
    /// A feed, and what it will tell once it runs.
    pub(super) fn new(inner: Arc<Inner>) -> (Self, Changes) {
        let (sender, changes) = mpsc::channel(CHANGES);
        (Self { inner, changes: sender }, changes)
    }

    /// Tells what changes until nobody listens any more.
    pub(super) async fn run(self) {
        let [pools, reservations, policies] = ObjectKind::ALL.map(|kind| self.objects(kind));
        // Each ends only because nobody listens: then all are over.
        tokio::select! {
            Closed = self.rows() => {}
            Closed = pools => {}
            Closed = reservations => {}
            Closed = policies => {}
            Closed = self.life() => {}
            () = self.changes.closed() => {}
        }
    }

    async fn tell(&self, change: Change) -> Result<(), Closed> {
        self.changes.send(change).await.map_err(|_| Closed)
    }

    async fn rows(&self) -> Closed {
        let mut course = Course::new(*self.inner.scanned.lock());
        while self.rows_on(&mut course).await.is_ok() {}
        Closed
    }

    /// One watch, after a list where it cannot go on.
    async fn rows_on(&self, course: &mut Course) -> Result<(), Closed> {
        if course.at.is_none() {
            match self.list_rows().await? {
                Ok(at) => course.at = Some(at),
                Err(error) => {
                    tracing::warn!(%error, "the leases cannot be listed; what others change is not heard");
                    course.pause.wait().await;
                    return Ok(());
                }
            }
        }
        let api = self.inner.rows.api();
        let Some(mut watch) = self.begin("leases", api, &WatchParams::default(), course).await
        else {
            return Ok(());
        };
        loop {
            let heard = tokio::select! {
                heard = watch.next() => heard,
                () = self.inner.rows.suspect.notified() => {
                    course.at = None;
                    return Ok(());
                }
            };
            match heard {
                Heard::Now(object) => {
                    course.pause.end();
                    match self.inner.rows.heard(object) {
                        Ok(row) => self.tell(Change::Row(Box::new(row))).await?,
                        Err(error) => tracing::error!(%error, "a lease cannot be read"),
                    }
                }
                Heard::Gone(object) => match row_of(object) {
                    Ok(row) => {
                        let (key, revision) = (row.lease.key(), row.revision);
                        self.inner.rows.known.gone(&key, revision);
                        self.tell(Change::Gone { key, revision }).await?;
                    }
                    Err(error) => tracing::error!(%error, "a lease that is gone cannot be read"),
                },
                heard => {
                    course.end("leases", watch, heard).await;
                    return Ok(());
                }
            }
        }
    }

    /// Tells all rows, and that these are all.
    async fn list_rows(&self) -> Result<Result<Revision, StoreError>, Closed> {
        let (mut keys, mut revision, mut next) = (HashSet::new(), None, None);
        let before = self.inner.rows.highest();
        loop {
            let page = match self.inner.rows.page(next.as_deref(), &mut self.inner.patience()).await
            {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            // A list that began later shows no earlier moment, unless etcd was restored; nor does a row get an earlier version.
            if revision.is_none() && (self.inner.rows.has_gone_back() || page.revision < before) {
                tracing::error!(
                    now = page.revision.0,
                    before = before.0,
                    "etcd, or a lease in it, is at an earlier revision than it was"
                );
                self.inner.rows.go_back_to(page.revision);
                self.tell(Change::WentBack).await?;
            }
            // The pages of one list show one moment.
            let revision = *revision.get_or_insert(page.revision);
            for row in page.rows {
                keys.insert(row.lease.key());
                self.tell(Change::Row(Box::new(row))).await?;
            }
            next = page.next;
            if next.is_none() {
                self.inner.rows.known.listed(revision, &keys);
                self.tell(Change::Listed { revision, keys }).await?;
                return Ok(Ok(revision));
            }
        }
    }

    async fn objects(&self, kind: ObjectKind) -> Closed {
        let (mut course, mut versions) = (Course::new(None), Versions::new());
        while self.objects_on(kind, &mut course, &mut versions).await.is_ok() {}
        Closed
    }

    async fn objects_on(
        &self,
        kind: ObjectKind,
        course: &mut Course,
        versions: &mut Versions,
    ) -> Result<(), Closed> {
        let (api, what) = (self.inner.objects.api(kind), kind.as_str());
        if course.at.is_none() {
            match self.present(api, ListParams::default()).await {
                Ok((_, at)) => {
                    // Some of these may be gone.
                    versions.clear();
                    self.tell(Change::Objects).await?;
                    course.at = Some(at);
                }
                Err(error) => {
                    tracing::warn!(%error, what, "objects cannot be listed; changes of them are not heard");
                    course.pause.wait().await;
                    return Ok(());
                }
            }
        }
        let Some(mut watch) = self.begin(what, api, &WatchParams::default(), course).await else {
            return Ok(());
        };
        let mut is_told = true;
        loop {
            let heard = match is_told {
                true => watch.next().await,
                false => match timeout(GATHER, watch.next()).await {
                    Ok(heard) => heard,
                    Err(_) => {
                        self.tell(Change::Objects).await?;
                        is_told = true;
                        continue;
                    }
                },
            };
            match heard {
                Heard::Now(object) => {
                    course.pause.end();
                    self.inner.told.lock().hear(kind, &object);
                    let meta = object.metadata;
                    let version = (meta.uid, meta.generation);
                    let before = versions.insert(meta.name, version.clone());
                    is_told &= before.is_some_and(|before| before == version);
                }
                Heard::Gone(object) => {
                    versions.remove(&object.metadata.name);
                    is_told = false;
                }
                heard => {
                    if !is_told {
                        self.tell(Change::Objects).await?;
                    }
                    course.end(what, watch, heard).await;
                    return Ok(());
                }
            }
        }
    }

    async fn life(&self) -> Closed {
        let mut course = Course::new(None);
        while self.life_on(&mut course).await.is_ok() {}
        Closed
    }

    async fn life_on(&self, course: &mut Course) -> Result<(), Closed> {
        let api = self.inner.lives.api();
        let fields = format!("metadata.name={}", life::NAME);
        if course.at.is_none() {
            match self.present(api, ListParams::default().fields(&fields)).await {
                Ok((map, at)) => {
                    self.hear_life(map).await?;
                    course.at = Some(at);
                }
                Err(error) => {
                    tracing::warn!(%error, "the store's ConfigMap cannot be read; a new life is not heard of");
                    course.pause.wait().await;
                    return Ok(());
                }
            }
        }
        let params = WatchParams::default().fields(&fields);
        let Some(mut watch) = self.begin("ConfigMap", api, &params, course).await else {
            return Ok(());
        };
        loop {
            match watch.next().await {
                Heard::Now(map) => {
                    course.pause.end();
                    self.hear_life(Some(map)).await?;
                }
                Heard::Gone(_) => self.hear_life(None).await?,
                heard => {
                    course.end("ConfigMap", watch, heard).await;
                    return Ok(());
                }
            }
        }
    }

    async fn hear_life(&self, map: Option<ConfigMap>) -> Result<(), Closed> {
        match map.map(Life::of) {
            Some(Ok(life)) => {
                // While an import is under way nothing here is to be worked on; its end is another change.
                if self.inner.take_life(life.clone()) && !life.is_importing {
                    self.tell(Change::Life).await?;
                }
            }
            Some(Err(error)) => tracing::error!(%error, "the store's ConfigMap cannot be read"),
            None => tracing::error!(
                "the store's ConfigMap was deleted; restart the allocators to make another store"
            ),
        }
        Ok(())
    }

    /// A watch that goes on where the one before ended; none if it did not begin.
    async fn begin<K: Watched>(
        &self,
        what: &str,
        api: &Api<K>,
        params: &WatchParams,
        course: &mut Course,
    ) -> Option<Watch<K>> {
        let options = &self.inner.options;
        let lasts = (options.call_deadline, options.watch_for);
        match Watch::begin(api, params, course.at?, lasts).await {
            Ok(watch) => Some(watch),
            Err(heard) => {
                course.pause.wait().await;
                course.go_on(what, heard);
                None
            }
        }
    }

    /// The first of a kind, and the revision of this moment.
    async fn present<K: Watched>(
        &self,
        api: &Api<K>,
        params: ListParams,
    ) -> Result<(Option<K>, Revision), StoreError> {
        let act = "listing what is watched";
        let params = params.limit(1);
        let mut patience = self.inner.patience();
        let list = self.inner.rows.calls.read(act, &mut patience, || api.list(&params)).await?;
        let version = list.metadata.resource_version.as_deref().and_then(parsed);
        let why = "a list has no version".to_owned();
        let at = version.ok_or(StoreError::Io { act, why })?;
        Ok((list.items.into_iter().next(), at))
    }
}

// === impl Course ===

impl Course {
    fn new(at: Option<Revision>) -> Self {
        Self { at, pause: Pause::new() }
    }

    /// A watch is over.
    async fn end<K: Watched>(&mut self, what: &str, watch: Watch<K>, heard: Heard<K>) {
        if watch.was_short() {
            self.pause.wait().await;
        }
        self.go_on(what, heard);
    }

    fn go_on<K>(&mut self, what: &str, heard: Heard<K>) {
        self.at = match heard {
            Heard::Ended(at) => Some(at),
            Heard::Lost(why) => {
                tracing::warn!(what, why, "events were lost; all of it is listed");
                None
            }
            Heard::Now(_) | Heard::Gone(_) => None,
        };
    }
}
