//! The parts of objects that are read at all. The rest is passed over while the answer is parsed, so that it never takes
//! memory: a whole pod is some 8 KiB, of which a tenth says anything here.
//!
//! Nothing is refused: what is missing or unknown is empty. An object that could not be read would take its whole page
//! with it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

/// Of any object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SlimMeta {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) owner_references: Vec<SlimOwner>,
    /// That it is there matters; the time is of another clock.
    pub(crate) deletion_timestamp: Option<IgnoredAny>,
    pub(crate) deletion_grace_period_seconds: Option<i64>,
}

/// Of an owner reference.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SlimOwner {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) controller: Option<bool>,
}

/// Of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SlimPod {
    pub(crate) metadata: SlimMeta,
    pub(crate) spec: SlimPodSpec,
    pub(crate) status: SlimPodStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SlimPodSpec {
    pub(crate) node_name: String,
    pub(crate) restart_policy: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SlimPodStatus {
    pub(crate) phase: String,
}

/// Of a node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SlimNode {
    pub(crate) metadata: SlimMeta,
    pub(crate) spec: SlimNodeSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SlimNodeSpec {
    pub(crate) taints: Vec<SlimTaint>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SlimTaint {
    pub(crate) key: String,
}

/// Of a namespace.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SlimNamespace {
    pub(crate) metadata: SlimMeta,
}

/// An object of which not all is read.
pub(crate) trait Slim: DeserializeOwned + Clone + Send + 'static {
    fn meta(&self) -> &SlimMeta;
}

impl Slim for SlimPod {
    fn meta(&self) -> &SlimMeta {
        &self.metadata
    }
}

impl Slim for SlimNode {
    fn meta(&self) -> &SlimMeta {
        &self.metadata
    }
}

impl Slim for SlimNamespace {
    fn meta(&self) -> &SlimMeta {
        &self.metadata
    }
}
