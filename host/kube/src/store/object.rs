//! A lease as the object that the API has.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::Resource;
use kube::api::{ApiResource, ObjectMeta};
use serde::{Deserialize, Deserializer, Serialize};
use tenure_core::lease::Lease;
use tenure_store::{Revision, StoreError};

use crate::lease::{LeaseSpec, labels, name};

/// The random mark of a write. It tells a write of ours, whose answer was lost, from what others wrote; and it makes each
/// write a change, where the API server would keep the version of an object that is written again as it is.
const MARK: &str = "tenure.dev/write";

/// It is written whole. Of its metadata nothing is read that is not used: managed fields are half of a new object, and to
/// read them costs more than all the rest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LeaseObject {
    #[serde(skip_deserializing)]
    api_version: String,
    #[serde(skip_deserializing)]
    kind: String,
    #[serde(deserialize_with = "used")]
    pub(super) metadata: ObjectMeta,
    pub(super) spec: LeaseSpec,
}

/// What is read of the metadata.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Used {
    name: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

impl LeaseObject {
    /// The object of a write. One empty entry of managed fields takes them off, and who keeps none is not asked for them again:
    /// to compare who owns which field costs the API server as much as all the rest of a replace, and of leases nobody but
    /// the allocator may own any. It cannot be said at the creation.
    /// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#clearing-managedfields>
    pub(super) fn new(
        lease: &Lease,
        replaces: Option<(&str, Revision)>,
        resource: &ApiResource,
    ) -> Result<Self, StoreError> {
        let mut metadata = ObjectMeta {
            name: Some(name(&lease.key())),
            labels: Some(labels(lease)),
            annotations: Some([(MARK.to_owned(), random_mark()?)].into()),
            ..ObjectMeta::default()
        };
        if let Some((of_row, expect)) = replaces {
            metadata.uid = Some(of_row.to_owned());
            metadata.resource_version = Some(expect.0.to_string());
            metadata.managed_fields = Some(vec![ManagedFieldsEntry::default()]);
        }
        let (api_version, kind) = (resource.api_version.clone(), resource.kind.clone());
        Ok(Self { api_version, kind, metadata, spec: LeaseSpec::from(lease) })
    }

    /// The mark of the write that made it what it is.
    pub(super) fn mark(&self) -> &str {
        let annotations = self.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(MARK)).map_or("", String::as_str)
    }
}

impl Resource for LeaseObject {
    type DynamicType = ApiResource;
    type Scope = kube::core::DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }
    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }
    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }
    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

fn used<'de, D: Deserializer<'de>>(metadata: D) -> Result<ObjectMeta, D::Error> {
    let Used { name, uid, resource_version, annotations } = Used::deserialize(metadata)?;
    Ok(ObjectMeta { name, uid, resource_version, annotations, ..ObjectMeta::default() })
}

fn random_mark() -> Result<String, StoreError> {
    let random = getrandom::u64()
        .map_err(|e| StoreError::Io { act: "marking a write", why: e.to_string() })?;
    Ok(format!("{random:016x}"))
}
