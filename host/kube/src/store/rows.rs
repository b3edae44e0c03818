//! One row: create, replace, delete and read, until the outcome is known.
//!
//! # Flow of a write
//!
//! ```text
//! send -> done                                  the revision
//!      -> refused: it is there / has changed    read it: our own mark after an unknown try: done; else a conflict
//!      -> refused for another reason            an error; nothing was written
//!      -> too many requests                     pause, send again
//!      -> unknown                               pause, send again for the same name
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kube::Api;
use kube::api::{
    ApiResource, DeleteParams, ListParams, ObjectMeta, PostParams, Preconditions, VersionMatch,
};
use kube::core::Status;
use tenure_core::lease::{Lease, LeaseKey};
use tenure_store::{Listing, Revision, Row, Selection, StoreError};
use tokio::sync::Notify;

use super::calls::{Calls, Failure, Patience, refused};
use super::known::Known;
use super::object::LeaseObject;
use crate::crds::{GROUP, VERSION};
use crate::lease::{name, selector};

/// The leases of the API.
#[derive(Debug)]
pub(crate) struct Rows {
    api: Api<LeaseObject>,
    resource: ApiResource,
    pub(crate) calls: Calls,
    /// Leases of one page of a list.
    page: u32,
    /// Rows as they were last seen.
    pub(super) known: Known,
    /// The highest revision that was given.
    highest: AtomicU64,
    /// A write or a read says that etcd is at an earlier revision than it was: the feed lists, and finds out.
    pub(super) suspect: Notify,
    /// A row was read in an earlier version than it had: whatever the revision says, etcd was restored.
    went_back: AtomicBool,
}

/// A row of the API.
#[derive(Debug, Clone)]
struct Found {
    row: Row,
    uid: Arc<str>,
    mark: String,
}

/// Why a write was not done.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Its condition did not hold.
    Conflict(Option<Box<Row>>),
    /// Anything else.
    Other(StoreError),
}

/// A page of a LIST.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) rows: Vec<Row>,
    pub(crate) revision: Revision,
    /// Where the next one begins.
    pub(crate) next: Option<String>,
}

// === impl Rows ===

impl Rows {
    pub(crate) fn new(client: kube::Client, calls: Calls, page: u32) -> Self {
        let resource = resource("IPLease", "ipleases");
        let api = Api::all_with(client, &resource);
        Self {
            api,
            resource,
            calls,
            page,
            known: Known::default(),
            highest: AtomicU64::new(0),
            suspect: Notify::new(),
            went_back: AtomicBool::new(false),
        }
    }

    pub(super) fn api(&self) -> &Api<LeaseObject> {
        &self.api
    }

    /// A row that a watch tells of.
    pub(super) fn heard(&self, object: LeaseObject) -> Result<Row, StoreError> {
        let found = found(object)?;
        self.learn(&found);
        Ok(found.row)
    }

    /// The highest revision that was given or seen at opening.
    pub(crate) fn highest(&self) -> Revision {
        Revision(self.highest.load(Ordering::Acquire))
    }

    /// The store went back in time, to this revision: what is remembered of its rows means nothing any more.
    pub(crate) fn go_back_to(&self, revision: Revision) {
        self.highest.store(revision.0, Ordering::Release);
        self.known.clear();
    }

    /// Something shows that etcd was restored: the feed lists, and tells.
    pub(crate) fn go_back(&self) {
        self.went_back.store(true, Ordering::Release);
        self.suspect.notify_one();
    }

    /// Whether something showed it, since the last call.
    pub(super) fn has_gone_back(&self) -> bool {
        self.went_back.swap(false, Ordering::AcqRel)
    }

    /// A revision was given.
    pub(crate) fn note(&self, revision: Revision) {
        self.highest.fetch_max(revision.0, Ordering::AcqRel);
    }

    /// One row, as it stands in etcd.
    pub(crate) async fn get(
        &self,
        key: &LeaseKey,
        patience: &mut Patience,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.find(key, patience).await?.map(|found| found.row))
    }

    async fn find(
        &self,
        key: &LeaseKey,
        patience: &mut Patience,
    ) -> Result<Option<Found>, StoreError> {
        let name = name(key);
        // Known before the question was asked: what stands there now is as new.
        let before = self.known.revision(key);
        let object =
            self.calls.read("reading a lease", patience, || self.api.get_opt(&name)).await?;
        let Some(object) = object else {
            self.known.forget(key);
            return Ok(None);
        };
        let found = found(object)?;
        if found.row.lease.key() != *key {
            return Err(corrupt(&name, "it speaks of another address than its name"));
        }
        if before.is_some_and(|before| found.row.revision < before) {
            self.go_back();
        }
        self.learn(&found);
        Ok(Some(found))
    }

    /// The row as it was at a revision that it had lately: etcd keeps the past for some minutes.
    pub(crate) async fn get_as_of(
        &self,
        key: &LeaseKey,
        revision: Revision,
        patience: &mut Patience,
    ) -> Result<Option<Lease>, StoreError> {
        let params = ListParams::default()
            .fields(&format!("metadata.name={}", name(key)))
            .at(&revision.0.to_string())
            .matching(VersionMatch::Exact);
        let act = "reading a lease as it was";
        let list = self.calls.read(act, patience, || self.api.list(&params)).await?;
        list.items.into_iter().next().map(|object| found(object).map(|f| f.row.lease)).transpose()
    }

    /// One page of all leases; the pages of one LIST show one moment.
    pub(crate) async fn page(
        &self,
        next: Option<&str>,
        patience: &mut Patience,
    ) -> Result<Page, StoreError> {
        let mut params = ListParams::default().limit(self.page);
        if let Some(next) = next {
            params = params.continue_token(next);
        }
        self.list(&params, patience).await
    }

    /// One lease, if there is any, and the revision of now.
    pub(crate) async fn first(&self, patience: &mut Patience) -> Result<Page, StoreError> {
        self.list(&ListParams::default().limit(1), patience).await
    }

    /// All leases, page by page, each with a patience of its own.
    pub(crate) async fn each_page(
        &self,
        patience: &(impl Fn() -> Patience + Sync),
        mut each: impl FnMut(Vec<Row>) + Send,
    ) -> Result<(), StoreError> {
        let mut next = None;
        loop {
            let page = self.page(next.as_deref(), &mut patience()).await?;
            each(page.rows);
            next = page.next;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// All leases of a selection, as they stand in etcd.
    pub(crate) async fn select(
        &self,
        selection: &Selection,
        patience: &mut Patience,
    ) -> Result<Listing, StoreError> {
        let mut params = ListParams::default().labels(&selector(selection)).limit(self.page);
        let (mut rows, mut revision) = (Vec::new(), None);
        loop {
            let page = self.list(&params, patience).await?;
            // The pages of one list show one moment.
            let revision = *revision.get_or_insert(page.revision);
            rows.extend(page.rows);
            match page.next {
                Some(next) => params = params.continue_token(&next),
                None => return Ok(Listing { revision, rows }),
            }
        }
    }

    async fn list(&self, params: &ListParams, patience: &mut Patience) -> Result<Page, StoreError> {
        let act = "listing leases";
        let list = self.calls.read(act, patience, || self.api.list(params)).await?;
        let mut rows = Vec::with_capacity(list.items.len());
        for object in list.items {
            let found = found(object)?;
            self.learn(&found);
            rows.push(found.row);
        }
        let revision = list.metadata.resource_version.as_deref().unwrap_or_default();
        let revision = parsed(revision).ok_or_else(|| corrupt("a list", "it has no version"))?;
        let next = list.metadata.continue_.filter(|next| !next.is_empty());
        Ok(Page { rows, revision, next })
    }

    /// Takes an address that has no row.
    pub(crate) async fn create(
        &self,
        lease: &Lease,
        patience: &mut Patience,
    ) -> Result<Revision, Trouble> {
        let act = "creating a lease";
        let before = self.highest();
        let object = LeaseObject::new(lease, None, &self.resource)?;
        let params = PostParams::default();
        let mut may_be_done = false;
        loop {
            match self.calls.send(self.api.create(&params, &object)).await {
                Ok(written) => return self.done(written, before),
                Err(Failure::Refused(status)) if status.is_already_exists() => {
                    return self.settle(&object, &lease.key(), (act, may_be_done), patience).await;
                }
                Err(Failure::Refused(status)) => return Err(refused(act, &status).into()),
                Err(failure) => {
                    self.again(act, &failure, &mut may_be_done, patience).await?;
                }
            }
        }
    }

    /// Replaces the row of this revision.
    pub(crate) async fn replace(
        &self,
        lease: &Lease,
        expect: Revision,
        patience: &mut Patience,
    ) -> Result<Revision, Trouble> {
        let act = "replacing a lease";
        let before = self.highest();
        let key = lease.key();
        let uid = self.uid_of(&key, expect, patience).await?;
        let object = LeaseObject::new(lease, Some((&uid, expect)), &self.resource)?;
        let (name, params) = (name(&key), PostParams::default());
        let mut may_be_done = false;
        loop {
            match self.calls.send(self.api.replace(&name, &params, &object)).await {
                Ok(written) => return self.done(written, before),
                Err(Failure::Refused(status)) if is_conflict(&status) => {
                    return self.settle(&object, &key, (act, may_be_done), patience).await;
                }
                Err(Failure::Refused(status)) => return Err(refused(act, &status).into()),
                Err(failure) => {
                    self.again(act, &failure, &mut may_be_done, patience).await?;
                }
            }
        }
    }

    /// Deletes the row of this revision.
    pub(crate) async fn delete(
        &self,
        key: &LeaseKey,
        expect: Revision,
        patience: &mut Patience,
    ) -> Result<(), Trouble> {
        let act = "deleting a lease";
        let uid = self.uid_of(key, expect, patience).await?;
        let (name, resource_version) = (name(key), Some(expect.0.to_string()));
        let preconditions = Preconditions { resource_version, uid: Some(uid.to_string()) };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let mut may_be_done = false;
        loop {
            match self.calls.send(self.api.delete(&name, &params)).await {
                Ok(_) => {
                    self.known.gone(key, expect);
                    return Ok(());
                }
                Err(Failure::Refused(status)) if is_conflict(&status) => {
                    return match self.find(key, patience).await? {
                        // The row that was to go is gone. Whoever did it, a try of ours may have been the one.
                        None if may_be_done => Ok(()),
                        Some(found) if may_be_done && found.uid != uid => Ok(()),
                        found => Err(Trouble::Conflict(found.map(|found| Box::new(found.row)))),
                    };
                }
                Err(Failure::Refused(status)) => return Err(refused(act, &status).into()),
                Err(failure) => {
                    self.again(act, &failure, &mut may_be_done, patience).await?;
                }
            }
        }
    }

    /// The row is there, or has changed: by a try of ours whose answer was lost, or by somebody else.
    async fn settle(
        &self,
        sent: &LeaseObject,
        key: &LeaseKey,
        (act, may_be_done): (&'static str, bool),
        patience: &mut Patience,
    ) -> Result<Revision, Trouble> {
        match self.find(key, patience).await {
            Ok(Some(found)) if may_be_done && found.mark == sent.mark() => {
                self.note(found.row.revision);
                Ok(found.row.revision)
            }
            Ok(found) => Err(Trouble::Conflict(found.map(|found| Box::new(found.row)))),
            Err(error) if may_be_done => {
                Err(StoreError::Unknown { act, why: error.to_string() }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits before a write is sent again; an error where the time is over.
    async fn again(
        &self,
        act: &'static str,
        failure: &Failure,
        may_be_done: &mut bool,
        patience: &mut Patience,
    ) -> Result<(), Trouble> {
        *may_be_done |= failure.may_be_done();
        if patience.pause(failure).await {
            tracing::debug!(act, %failure, "sent again for the same name");
            return Ok(());
        }
        let why = failure.to_string();
        Err(if *may_be_done {
            StoreError::Unknown { act, why }
        } else {
            StoreError::Io { act, why }
        }
        .into())
    }

    /// A write is of a later revision than any that was given before it began, unless etcd was restored.
    fn done(&self, written: LeaseObject, before: Revision) -> Result<Revision, Trouble> {
        let found = found(written)?;
        self.learn(&found);
        self.note(found.row.revision);
        if found.row.revision < before {
            self.suspect.notify_one();
        }
        Ok(found.row.revision)
    }

    fn learn(&self, found: &Found) {
        self.known.learn(&found.row, &found.uid);
    }

    /// The uid of the row of this revision: known from when it was read or written, else read now.
    async fn uid_of(
        &self,
        key: &LeaseKey,
        expect: Revision,
        patience: &mut Patience,
    ) -> Result<Arc<str>, Trouble> {
        if let Some(uid) = self.known.uid(key, expect) {
            return Ok(uid);
        }
        match self.find(key, patience).await? {
            Some(found) if found.row.revision == expect => Ok(found.uid),
            found => Err(Trouble::Conflict(found.map(|found| Box::new(found.row)))),
        }
    }
}

// === impl Trouble ===

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Other(error)
    }
}

/// A kind of ours.
pub(crate) fn resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        api_version: format!("{GROUP}/{VERSION}"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// The number of a resourceVersion. Kubernetes says since 1.35 that it is one; etcd has always counted.
pub(crate) fn parsed(resource_version: &str) -> Option<Revision> {
    resource_version.parse().ok().map(Revision)
}

pub(crate) fn corrupt(name: &str, why: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt { place: format!("IPLease {name}"), why: why.to_string() }
}

fn found(object: LeaseObject) -> Result<Found, StoreError> {
    let mark = object.mark().to_owned();
    let ObjectMeta { name, uid, resource_version, .. } = object.metadata;
    let name = name.unwrap_or_default();
    let lease = Lease::try_from(object.spec).map_err(|why| corrupt(&name, why))?;
    let revision = resource_version.as_deref().and_then(parsed);
    let revision = revision.ok_or_else(|| corrupt(&name, "its version is no number"))?;
    Ok(Found { row: Row { lease, revision }, uid: uid.unwrap_or_default().into(), mark })
}

/// The row of an object, as it is.
pub(super) fn row_of(object: LeaseObject) -> Result<Row, StoreError> {
    found(object).map(|found| found.row)
}

/// The row is not there, or is another one than was read.
fn is_conflict(status: &Status) -> bool {
    status.code == 404 || status.code == 409
}
