//! The parts of objects that are read at all. The rest is passed over while the answer is parsed, so that it never takes
//! memory: a whole pod is some 8 KiB, of which a tenth says anything here.
//!
//! Nothing is refused: what is missing or unknown is empty. An object that could not be read would take its whole page
//! with it. Lists come in protobuf, watches and single objects in JSON (`crate::protobuf`).

use std::collections::BTreeMap;

use prost::Message;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};

use crate::protobuf::Wire;

/// Of any object.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SlimMeta {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) namespace: String,
    #[prost(string, tag = "5")]
    pub(crate) uid: String,
    #[prost(string, tag = "6")]
    pub(crate) resource_version: String,
    #[prost(btree_map = "string, string", tag = "11")]
    pub(crate) labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "12")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) owner_references: Vec<SlimOwner>,
    #[prost(message, optional, tag = "9")]
    pub(crate) deletion_timestamp: Option<SlimTime>,
    #[prost(int64, optional, tag = "10")]
    pub(crate) deletion_grace_period_seconds: Option<i64>,
}

/// That it is there matters; the time is of another clock.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct SlimTime {}

/// Of an owner reference.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(crate) struct SlimOwner {
    #[prost(string, tag = "1")]
    pub(crate) kind: String,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(string, tag = "4")]
    pub(crate) uid: String,
    #[prost(bool, optional, tag = "6")]
    pub(crate) controller: Option<bool>,
}

/// Of a pod.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(crate) struct SlimPod {
    #[prost(message, required, tag = "1")]
    pub(crate) metadata: SlimMeta,
    #[prost(message, required, tag = "2")]
    pub(crate) spec: SlimPodSpec,
    #[prost(message, required, tag = "3")]
    pub(crate) status: SlimPodStatus,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SlimPodSpec {
    #[prost(string, tag = "10")]
    pub(crate) node_name: String,
    #[prost(string, tag = "3")]
    pub(crate) restart_policy: String,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(crate) struct SlimPodStatus {
    #[prost(string, tag = "1")]
    pub(crate) phase: String,
}

/// Of a node.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(crate) struct SlimNode {
    #[prost(message, required, tag = "1")]
    pub(crate) metadata: SlimMeta,
    #[prost(message, required, tag = "2")]
    pub(crate) spec: SlimNodeSpec,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(crate) struct SlimNodeSpec {
    #[prost(message, repeated, tag = "5")]
    pub(crate) taints: Vec<SlimTaint>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(crate) struct SlimTaint {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
}

/// Of a namespace.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub(crate) struct SlimNamespace {
    #[prost(message, required, tag = "1")]
    pub(crate) metadata: SlimMeta,
}

/// An object of which not all is read.
pub(crate) trait Slim: DeserializeOwned + Wire + Clone + 'static {
    fn meta(&self) -> &SlimMeta;
}

impl<'de> Deserialize<'de> for SlimTime {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(text).map(|_| Self {})
    }
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
