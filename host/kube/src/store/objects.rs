//! Pools, reservations and policies. Mostly operators write them with kubectl; Tenure writes what comes through its own
//! API.
//!
//! A pool carries a finalizer, so that one with held leases stays until they leave. What Kubernetes let in and cannot be
//! read is left out, and told: it serves nothing.

use kube::api::{
    DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions,
};
use kube::{Api, ResourceExt as _};
use serde_json::{Map, Value, json};
use tenure_core::name::ObjectName;
use tenure_core::objects::{BadObject, Object, ObjectKind};
use tenure_store::{Revision, StoreError};

use super::calls::{Calls, Failure, Patience, refused};
use super::rows::{parsed, resource};
use super::told::{Key, Told};

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
                listed.told.list((kind, name.clone()), &item);
                match read(kind, item) {
                    Ok(object) => listed.objects.push(object),
                    Err(why) => listed.told.refused.push((kind, name, why)),
                }
            }
        }
        Ok(listed)
    }

    /// Changes the status of an object by a merge patch; none if it is gone. One try.
    pub(crate) async fn patch_status(
        &self,
        (kind, name): &Key,
        patch: &Value,
        calls: &Calls,
    ) -> Result<Option<DynamicObject>, Failure> {
        let (api, params) = (self.api(*kind), PatchParams::default());
        match calls.send(api.patch_status(name.as_str(), &params, &Patch::Merge(patch))).await {
            Ok(object) => Ok(Some(object)),
            Err(Failure::Refused(status)) if status.code == 404 => Ok(None),
            Err(failure) => Err(failure),
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
