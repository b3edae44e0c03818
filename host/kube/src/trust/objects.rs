//! The Secret and the ConfigMap of the CA, read and written.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use super::error::AuthorityError;
use super::roots::Roots;
use super::{BUNDLE, OBJECT};
use crate::store::calls::{Calls, Failure};

/// A Secret with a certificate and its key; the API server sees to it that both are there.
const TYPE: &str = "kubernetes.io/tls";

/// Conflict: it is there. (404 tells of a namespace that is not.)
const MADE_BY_OTHERS: &[u16] = &[409];
/// Not found, or conflict: it was deleted or changed.
const CHANGED_BY_OTHERS: &[u16] = &[404, 409];

/// The two objects.
#[derive(Debug)]
pub(super) struct Objects {
    secrets: Api<Secret>,
    maps: Api<ConfigMap>,
    calls: Calls,
}

// === impl Objects ===

impl Objects {
    pub(super) fn new(client: Client, namespace: &str, call_deadline: Duration) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            maps: Api::namespaced(client, namespace),
            calls: Calls::new(call_deadline, 1),
        }
    }

    pub(super) async fn map(&self) -> Result<Option<ConfigMap>, AuthorityError> {
        let read = self.calls.send(self.maps.get_opt(OBJECT)).await;
        read.map_err(|failure| failed("reading the bundle of the allocator's CA", &failure))
    }

    pub(super) async fn secret(&self) -> Result<Option<(Secret, Roots)>, AuthorityError> {
        let read = self.calls.send(self.secrets.get_opt(OBJECT)).await;
        let secret =
            read.map_err(|failure| failed("reading the Secret of the allocator's CA", &failure))?;
        let Some(secret) = secret else { return Ok(None) };
        let content = secret.data.clone().unwrap_or_default();
        let roots = Roots::read(&content).map_err(|why| AuthorityError::Unreadable {
            place: format!("Secret {OBJECT}"),
            why: why.to_string(),
        })?;
        Ok(Some((secret, roots)))
    }

    /// Makes the Secret, unless another replica was faster.
    pub(super) async fn make(&self, roots: &Roots) -> Result<(), AuthorityError> {
        let secret = Secret {
            metadata: named(),
            type_: Some(TYPE.to_owned()),
            data: Some(roots.content()),
            ..Secret::default()
        };
        let made = self.calls.send(self.secrets.create(&PostParams::default(), &secret)).await;
        let act = "making the Secret of the allocator's CA";
        settled(act, made, MADE_BY_OTHERS).map(drop)
    }

    /// Changes the Secret, unless another replica has changed it since it was read.
    pub(super) async fn replace(&self, read: Secret, roots: &Roots) -> Result<(), AuthorityError> {
        let secret = Secret { data: Some(roots.content()), ..read };
        let params = PostParams::default();
        let request = self.secrets.replace(OBJECT, &params, &secret);
        let act = "changing the Secret of the allocator's CA";
        settled(act, self.calls.send(request).await, CHANGED_BY_OTHERS).map(drop)
    }

    /// Sees to it that the ConfigMap shows this bundle. False if it was changed since it was read.
    pub(super) async fn show(
        &self,
        read: Option<ConfigMap>,
        bundle: &str,
    ) -> Result<bool, AuthorityError> {
        let act = "writing the bundle of the allocator's CA";
        let data = Some(BTreeMap::from([(BUNDLE.to_owned(), bundle.to_owned())]));
        let params = PostParams::default();
        match read {
            Some(map) if map.data == data => Ok(true),
            Some(map) => {
                let map = ConfigMap { data, ..map };
                let request = self.maps.replace(OBJECT, &params, &map);
                settled(act, self.calls.send(request).await, CHANGED_BY_OTHERS)
            }
            None => {
                let map = ConfigMap { metadata: named(), data, ..ConfigMap::default() };
                let request = self.maps.create(&params, &map);
                settled(act, self.calls.send(request).await, MADE_BY_OTHERS)
            }
        }
    }
}

/// Whether it was done; not if another was faster, as these codes tell. An unknown outcome is an error: the next look sees
/// what became of it.
fn settled<T>(
    act: &'static str,
    written: Result<T, Failure>,
    lost: &[u16],
) -> Result<bool, AuthorityError> {
    match written {
        Ok(_) => Ok(true),
        Err(Failure::Refused(status)) if lost.contains(&status.code) => Ok(false),
        Err(failure) => Err(failed(act, &failure)),
    }
}

fn failed(act: &'static str, failure: &Failure) -> AuthorityError {
    AuthorityError::Call { act, why: failure.to_string() }
}

fn named() -> ObjectMeta {
    ObjectMeta { name: Some(OBJECT.to_owned()), ..ObjectMeta::default() }
}
