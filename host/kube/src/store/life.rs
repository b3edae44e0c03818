//! Which store it is and in which life: one ConfigMap of the allocator's namespace. Its uid is the store's id, so that one
//! that was deleted makes another store; its epoch then lies above those of all leases that are left.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tenure_core::lease::Epoch;
use tenure_store::StoreError;

use super::calls::{Calls, Failure, Patience, refused};
use super::rows::parsed;

/// The name of the ConfigMap.
pub(crate) const NAME: &str = "tenure-store";
const EPOCH: &str = "epoch";
/// How often this ConfigMap was changed. It grows by our own writes alone: unlike the revision, it is not brought back to
/// where it was by what others write after etcd was restored.
const TICKS: &str = "ticks";
/// Set while an import is under way: what the store holds then is no state of any store.
const IMPORTING: &str = "importing";

/// What the ConfigMap says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) store_id: String,
    pub(crate) epoch: Epoch,
    pub(crate) is_importing: bool,
    pub(crate) ticks: u64,
    resource_version: Option<String>,
}

/// The ConfigMap.
#[derive(Debug)]
pub(crate) struct Lives {
    api: Api<ConfigMap>,
}

// === impl Lives ===

impl Lives {
    pub(crate) fn new(client: kube::Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace) }
    }

    pub(super) fn api(&self) -> &Api<ConfigMap> {
        &self.api
    }

    pub(crate) async fn read(
        &self,
        calls: &Calls,
        patience: &mut Patience,
    ) -> Result<Option<Life>, StoreError> {
        let act = "reading the store's ConfigMap";
        let map = calls.read(act, patience, || self.api.get_opt(NAME)).await?;
        map.map(Life::of).transpose()
    }

    /// Makes the ConfigMap; where another replica was faster, theirs counts.
    pub(crate) async fn make(
        &self,
        epoch: Epoch,
        calls: &Calls,
        patience: &mut Patience,
    ) -> Result<Life, StoreError> {
        let act = "making the store's ConfigMap";
        let map = map_of((epoch, false), 1, None);
        loop {
            match calls.send(self.api.create(&PostParams::default(), &map)).await {
                Ok(map) => return Life::of(map),
                Err(Failure::Refused(status)) if status.is_already_exists() => {
                    let life = self.read(calls, patience).await?;
                    return life.ok_or_else(|| gone(act));
                }
                Err(Failure::Refused(status)) => return Err(refused(act, &status)),
                Err(failure) if patience.pause(&failure).await => {}
                Err(failure) => return Err(StoreError::Unknown { act, why: failure.to_string() }),
            }
        }
    }

    /// Changes the life by what it is now, until no other replica changed it in between. An outcome that was not known may
    /// lead to one change more: an epoch that was raised twice is as new.
    pub(crate) async fn change(
        &self,
        change: impl Fn(&Life) -> (Epoch, bool),
        calls: &Calls,
        patience: &mut Patience,
    ) -> Result<Life, StoreError> {
        let act = "changing the store's ConfigMap";
        loop {
            let life = self.read(calls, patience).await?.ok_or_else(|| gone(act))?;
            let (epoch, is_importing) = change(&life);
            let ticks = life.ticks.saturating_add(1);
            let map = map_of((epoch, is_importing), ticks, life.resource_version);
            match calls.send(self.api.replace(NAME, &PostParams::default(), &map)).await {
                Ok(map) => return Life::of(map),
                Err(Failure::Refused(status)) if status.is_conflict() => {}
                Err(Failure::Refused(status)) => return Err(refused(act, &status)),
                Err(failure) if patience.pause(&failure).await => {}
                Err(failure) => return Err(StoreError::Unknown { act, why: failure.to_string() }),
            }
        }
    }
}

// === impl Life ===

impl Life {
    pub(super) fn of(map: ConfigMap) -> Result<Self, StoreError> {
        let value = |key: &str| map.data.as_ref().and_then(|data| data.get(key));
        let epoch = value(EPOCH).and_then(|text| text.parse().ok()).map(Epoch);
        let epoch = epoch.ok_or_else(|| StoreError::Corrupt {
            place: format!("ConfigMap {NAME}"),
            why: format!("its {EPOCH} is no number"),
        })?;
        let is_importing = value(IMPORTING).is_some();
        let ticks = value(TICKS).and_then(|text| text.parse().ok()).unwrap_or(0);
        let ObjectMeta { uid, resource_version, .. } = map.metadata;
        Ok(Self { store_id: uid.unwrap_or_default(), epoch, is_importing, ticks, resource_version })
    }

    /// Whether it is the same life, in the same state.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let state = |life: &Self| (life.store_id.clone(), life.epoch, life.is_importing);
        state(self) == state(other)
    }

    /// Whether it was written after the other one: by its own count, for versions of the API server go back with a restored
    /// etcd. One that was deleted and made anew counts from the beginning.
    pub(super) fn is_later_than(&self, other: &Self) -> bool {
        if self.store_id == other.store_id {
            return (self.epoch, self.ticks) > (other.epoch, other.ticks);
        }
        let version = |life: &Self| life.resource_version.as_deref().and_then(parsed);
        version(self) > version(other)
    }
}

fn map_of(
    (epoch, is_importing): (Epoch, bool),
    ticks: u64,
    resource_version: Option<String>,
) -> ConfigMap {
    let numbers = [(EPOCH, epoch.0), (TICKS, ticks)];
    let mut data: BTreeMap<_, _> =
        numbers.map(|(key, number)| (key.to_owned(), number.to_string())).into();
    if is_importing {
        data.insert(IMPORTING.to_owned(), "true".to_owned());
    }
    let metadata =
        ObjectMeta { name: Some(NAME.to_owned()), resource_version, ..ObjectMeta::default() };
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}

fn gone(act: &'static str) -> StoreError {
    StoreError::Io { act, why: "it was deleted; start again to make another store".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_later_by_its_own_count_whatever_the_version_says() {
        let life = |store: &str, epoch, ticks, version: u64| Life {
            store_id: store.to_owned(),
            epoch: Epoch(epoch),
            is_importing: false,
            ticks,
            resource_version: Some(version.to_string()),
        };
        let known = life("a", 1, 50, 3000);
        for (heard, is_later) in [
            (life("a", 1, 51, 3001), true),
            // etcd was restored: the same life as it was, then the new one that is begun for it.
            (life("a", 1, 7, 200), false),
            (life("a", 2, 8, 900), true),
            (life("b", 1, 1, 3002), true),
            (life("b", 1, 1, 2999), false),
        ] {
            assert_eq!(heard.is_later_than(&known), is_later, "{heard:?}");
        }
    }
}
