//! The operator's word that a machine is dead: a ConfigMap with one key for each, the uid of its Node, and the reason.
//!
//! It is an object so that it outlives the process that was told, so that all replicas hear of it, and so that
//! `kubectl` shows who is fenced.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use crate::live::{Live, Read, Unread};

/// The ConfigMap.
const NAME: &str = "tenure-fences";

/// Fences of operators.
pub(super) struct Fences {
    live: Live,
    api: Api<ConfigMap>,
    folder: String,
    deadline: Duration,
}

#[derive(Deserialize)]
struct SlimMap {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

// === impl Fences ===

impl Fences {
    pub(super) fn new(live: Live, namespace: &str, deadline: Duration) -> Self {
        let api = Api::namespaced(live.client().clone(), namespace);
        let folder = format!("/api/v1/namespaces/{namespace}/configmaps");
        Self { live, api, folder, deadline }
    }

    /// All that stand now: the uid of a Node, and why.
    pub(super) async fn read(&self) -> Result<BTreeMap<String, String>, Unread> {
        match self.live.get::<SlimMap>(&self.folder, NAME).await {
            Read::Is(map) => Ok(map.data),
            Read::Absent => Ok(BTreeMap::new()),
            Read::Silent(why) => Err(why),
        }
    }

    /// Sets one, or changes its reason.
    pub(super) async fn set(&self, uid: &str, reason: &str) -> Result<(), Unread> {
        // Somebody else may make or delete it meanwhile.
        for _ in 0..3 {
            if self.patch(json!({"data": {uid: reason}})).await? {
                return Ok(());
            }
            let map = ConfigMap {
                metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
                data: Some([(uid.to_owned(), reason.to_owned())].into()),
                ..ConfigMap::default()
            };
            match timeout(self.deadline, self.api.create(&PostParams::default(), &map)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(kube::Error::Api(status))) if status.code == 409 => {}
                Ok(Err(error)) => return Err(unread(error.to_string())),
                Err(_) => return Err(self.too_late()),
            }
        }
        Err(unread("it is made and deleted all the time".to_owned()))
    }

    /// Takes one back; there may be none.
    pub(super) async fn remove(&self, uid: &str) -> Result<(), Unread> {
        self.patch(json!({"data": {uid: null}})).await.map(|_| ())
    }

    /// False if the ConfigMap is not there.
    async fn patch(&self, change: serde_json::Value) -> Result<bool, Unread> {
        let patch = Patch::Merge(change);
        let params = PatchParams::default();
        match timeout(self.deadline, self.api.patch(NAME, &params, &patch)).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(false),
            Ok(Err(error)) => Err(unread(error.to_string())),
            Err(_) => Err(self.too_late()),
        }
    }

    fn too_late(&self) -> Unread {
        unread(format!("no answer within {:?}", self.deadline))
    }
}

fn unread(why: String) -> Unread {
    Unread { what: format!("the ConfigMap {NAME}"), why }
}
