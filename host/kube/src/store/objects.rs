//! Pools, reservations and policies. Mostly operators write them with kubectl; Tenure writes what comes through its own
//! API.
//!
//! A pool carries a finalizer, so that one with held leases stays until they leave. What Kubernetes let in and cannot be
//! read is left out, and told: it serves nothing. Whether a pool is served stands in its condition `Accepted`, written
//! only where it says something else.

use std::collections::HashMap;

use kube::api::{
    DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions,
};
use kube::{Api, ResourceExt as _};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use tenure_core::name::ObjectName;
use tenure_core::objects::{BadObject, Object, ObjectKind};
use tenure_store::{Acceptance, Refusal, Revision, StoreError};

use super::calls::{Calls, Failure, Patience, refused};
use super::rows::{parsed, resource};
use crate::crds::Condition;

/// On each pool that Tenure serves: a deleted pool stays until its holders have left.
const FINALIZER: &str = "tenure.dev/held-leases";
/// Objects of one LIST.
const PAGE: u32 = 500;
/// So often an object is written again because it changed between the read and the write.
const MAX_TRIES: usize = 8;

/// The objects of the API.
#[derive(Debug)]
pub(crate) struct Objects {
    pools: Api<DynamicObject>,
    reservations: Api<DynamicObject>,
    policies: Api<DynamicObject>,
}

/// What a LIST of all kinds found.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) objects: Vec<Object>,
    pub(crate) told: Told,
}

/// What it told of them besides themselves.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Those that Kubernetes let in and that cannot be read, and why.
    pub(crate) refused: Vec<(ObjectKind, ObjectName, BadObject)>,
    /// What operators are shown of them.
    pub(crate) shown: HashMap<(ObjectKind, ObjectName), Shown>,
}

/// The version of an object that operators wrote, and its condition `Accepted`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    generation: Option<i64>,
    condition: Option<Condition>,
}

// === impl Objects ===

impl Objects {
    pub(crate) fn new(client: &kube::Client) -> Self {
        let api = |kind: ObjectKind, plural: &str| {
            Api::all_with(client.clone(), &resource(kind.as_str(), plural))
        };
        Self {
            pools: api(ObjectKind::IPPool, "ippools"),
            reservations: api(ObjectKind::IPReservation, "ipreservations"),
            policies: api(ObjectKind::IPAMPolicy, "ipampolicies"),
        }
    }

    pub(super) fn api(&self, kind: ObjectKind) -> &Api<DynamicObject> {
        match kind {
            ObjectKind::IPPool => &self.pools,
            ObjectKind::IPReservation => &self.reservations,
            ObjectKind::IPAMPolicy => &self.policies,
        }
    }

    pub(crate) async fn list(
        &self,
        calls: &Calls,
        patience: &mut Patience,
    ) -> Result<Listed, StoreError> {
        let mut listed = Listed::default();
        for kind in ObjectKind::ALL {
            let (api, mut params) = (self.api(kind), ListParams::default().limit(PAGE));
            let mut items = Vec::new();
            loop {
                let page = calls.read("listing objects", patience, || api.list(&params)).await?;
                items.extend(page.items);
                match page.metadata.continue_.filter(|next| !next.is_empty()) {
                    Some(next) => params = params.continue_token(&next),
                    None => break,
                }
            }
            items.sort_by_key(|item| (item.creation_timestamp(), item.name_any()));
            for item in items {
                let Ok(name) = ObjectName::new(item.name_any()) else { continue };
                listed.told.shown.insert((kind, name.clone()), Shown::of(&item));
                match read(kind, item) {
                    Ok(object) => listed.objects.push(object),
                    Err(why) => listed.told.refused.push((kind, name, why)),
                }
            }
        }
        Ok(listed)
    }

    /// Shows whether an object is served, unless that is shown already; what is shown then.
    pub(crate) async fn show(
        &self,
        acceptance: &Acceptance,
        shown: &Shown,
        calls: &Calls,
        patience: &mut Patience,
    ) -> Result<Shown, StoreError> {
        let act = "showing whether an object is served";
        let next = shown.with(acceptance.refusal.as_ref());
        if next == *shown {
            return Ok(next);
        }
        let api = self.api(acceptance.kind);
        let patch = Patch::Merge(json!({"status": {"conditions": [next.condition]}}));
        loop {
            let params = PatchParams::default();
            match calls.send(api.patch_status(acceptance.name.as_str(), &params, &patch)).await {
                Ok(_) => return Ok(next),
                // It is gone.
                Err(Failure::Refused(status)) if status.code == 404 => return Ok(next),
                Err(Failure::Refused(status)) => return Err(refused(act, &status)),
                Err(failure) if patience.pause(&failure).await => {}
                Err(failure) => return Err(StoreError::Io { act, why: failure.to_string() }),
            }
        }
    }

    /// Asks the server whether it would take the object, and changes nothing.
    pub(crate) async fn try_put(
        &self,
        object: &Object,
        calls: &Calls,
        patience: &mut Patience,
    ) -> Result<(), StoreError> {
        self.write(object, true, calls, patience).await.map(|_| ())
    }

    /// Creates or replaces an object. A pool that is marked as deleted is deleted, and its finalizer holds it.
    pub(crate) async fn put(
        &self,
        object: &Object,
        calls: &Calls,
        patience: &mut Patience,
    ) -> Result<Revision, StoreError> {
        let written = self.write(object, false, calls, patience).await?;
        let is_deleted =
            matches!(object, Object::IPPool(pool) if pool.metadata.deletion_timestamp.is_some());
        if is_deleted && written.metadata.deletion_timestamp.is_none() {
            let api = self.api(object.kind());
            send_delete(api, &written, calls, patience).await?;
        }
        Ok(written.metadata.resource_version.as_deref().and_then(parsed).unwrap_or_default())
    }

    async fn write(
        &self,
        object: &Object,
        dry_run: bool,
        calls: &Calls,
        patience: &mut Patience,
    ) -> Result<DynamicObject, StoreError> {
        let act = "writing an object";
        let (api, name) = (self.api(object.kind()), object.name().as_str());
        let params = PostParams { dry_run, field_manager: None };
        let mut tries = 0;
        loop {
            let found = calls.read(act, patience, || api.get_opt(name)).await?;
            let sent = written(object, found.as_ref())?;
            let answer = match &found {
                None => calls.send(api.create(&params, &sent)).await,
                Some(_) => calls.send(api.replace(name, &params, &sent)).await,
            };
            tries += 1;
            match answer {
                Ok(written) => return Ok(written),
                // It came, went or changed between the read and the write.
                Err(Failure::Refused(status))
                    if matches!(status.code, 404 | 409) && tries < MAX_TRIES => {}
                Err(Failure::Refused(status)) => return Err(refused(act, &status)),
                Err(failure) if patience.pause(&failure).await => {}
                Err(failure) => return Err(StoreError::Unknown { act, why: failure.to_string() }),
            }
        }
    }

    /// Deletes an object and takes off Tenure's finalizer; false if there was none.
    pub(crate) async fn delete(
        &self,
        kind: ObjectKind,
        name: &ObjectName,
        calls: &Calls,
        patience: &mut Patience,
    ) -> Result<bool, StoreError> {
        let act = "deleting an object";
        let api = self.api(kind);
        let mut tries = 0;
        loop {
            let found = calls.read(act, patience, || api.get_opt(name.as_str())).await?;
            let Some(mut object) = found else { return Ok(tries > 0) };
            tries += 1;
            let finalizers = object.metadata.finalizers.get_or_insert_default();
            if finalizers.iter().any(|one| one == FINALIZER) {
                finalizers.retain(|one| one != FINALIZER);
                let params = PostParams::default();
                match calls.send(api.replace(name.as_str(), &params, &object)).await {
                    Ok(written) => object = written,
                    Err(Failure::Refused(status))
                        if matches!(status.code, 404 | 409) && tries < MAX_TRIES =>
                    {
                        continue;
                    }
                    Err(Failure::Refused(status)) => return Err(refused(act, &status)),
                    Err(failure) if patience.pause(&failure).await => continue,
                    Err(failure) => {
                        return Err(StoreError::Unknown { act, why: failure.to_string() });
                    }
                }
            }
            if object.metadata.deletion_timestamp.is_some()
                || send_delete(api, &object, calls, patience).await?
                || tries >= MAX_TRIES
            {
                return Ok(true);
            }
        }
    }
}

// === impl Shown ===

impl Shown {
    fn of(object: &DynamicObject) -> Self {
        let conditions = object.data.get("status").and_then(|status| status.get("conditions"));
        let conditions = conditions.and_then(|all| Vec::<Condition>::deserialize(all).ok());
        let accepted = conditions.unwrap_or_default().into_iter().find(Condition::is_accepted);
        Self { generation: object.metadata.generation, condition: accepted }
    }

    /// The same with this condition. Its time is that of its last change.
    fn with(&self, refusal: Option<&Refusal>) -> Self {
        let next = Condition::accepted(refusal, self.generation);
        let condition = match &self.condition {
            Some(before) => next.after(before),
            None => next,
        };
        Self { condition: Some(condition), ..self.clone() }
    }
}

/// Deletes exactly this object; false if it has changed meanwhile.
async fn send_delete(
    api: &Api<DynamicObject>,
    object: &DynamicObject,
    calls: &Calls,
    patience: &mut Patience,
) -> Result<bool, StoreError> {
    let act = "deleting an object";
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let preconditions = Preconditions {
        uid: object.metadata.uid.clone(),
        resource_version: object.metadata.resource_version.clone(),
    };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    loop {
        match calls.send(api.delete(name, &params)).await {
            Ok(_) => return Ok(true),
            Err(Failure::Refused(status)) if status.code == 404 => return Ok(true),
            Err(Failure::Refused(status)) if status.code == 409 => return Ok(false),
            Err(Failure::Refused(status)) => return Err(refused(act, &status)),
            Err(failure) if patience.pause(&failure).await => {}
            Err(failure) => return Err(StoreError::Unknown { act, why: failure.to_string() }),
        }
    }
}

/// The object as it is sent: what Tenure says of it, over what the server keeps for itself.
fn written(object: &Object, found: Option<&DynamicObject>) -> Result<DynamicObject, StoreError> {
    let bug =
        |why: serde_json::Error| StoreError::Io { act: "writing an object", why: why.to_string() };
    let mut value = serde_json::to_value(object).map_err(bug)?;
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("deletionTimestamp");
    }
    let mut sent: DynamicObject = serde_json::from_value(value).map_err(bug)?;
    if let Some(found) = found {
        sent.metadata.uid.clone_from(&found.metadata.uid);
        sent.metadata.resource_version.clone_from(&found.metadata.resource_version);
        sent.metadata.finalizers.clone_from(&found.metadata.finalizers);
    }
    let is_going = found.is_some_and(|found| found.metadata.deletion_timestamp.is_some());
    let finalizers = sent.metadata.finalizers.get_or_insert_default();
    // A pool that is going takes no new finalizer.
    if object.kind() == ObjectKind::IPPool
        && !is_going
        && !finalizers.iter().any(|one| one == FINALIZER)
    {
        finalizers.push(FINALIZER.to_owned());
    }
    Ok(sent)
}

/// The object as Tenure knows it: of its metadata only what operators write.
fn read(kind: ObjectKind, object: DynamicObject) -> Result<Object, BadObject> {
    let metadata = object.metadata;
    let mut kept = Map::new();
    kept.insert("name".to_owned(), json!(metadata.name));
    kept.insert("labels".to_owned(), json!(metadata.labels.unwrap_or_default()));
    kept.insert("annotations".to_owned(), json!(metadata.annotations.unwrap_or_default()));
    if let Some(time) = metadata.deletion_timestamp {
        kept.insert("deletionTimestamp".to_owned(), json!(time));
    }
    let mut value = json!({
        "apiVersion": tenure_core::objects::API_VERSION, "kind": kind.as_str(), "metadata": kept,
    });
    if let (Some(value), Some(spec)) = (value.as_object_mut(), object.data.get("spec")) {
        value.insert("spec".to_owned(), spec.clone());
    }
    Object::from_json(value)
}
